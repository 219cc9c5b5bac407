"""The one idea: score -> bias and mask -> normalise -> combine. `attend` is that sentence in code."""

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from attention_core import normalizers, scores


class Attended(NamedTuple):
    """What attention gives back, always all three: for n queries, m keys and values of width dv."""

    output: Float[Tensor, "*batch n dv"]
    weights: Float[Tensor, "*batch n m"] | None  # None: never materialised (flash)
    lse: Float[Tensor, "*batch n"] | None  # natural logsumexp of the allowed scores, whatever the normaliser


def attend(
    query: Float[Tensor, "*batch n dq"],
    key: Float[Tensor, "*batch m dk"],
    value: Float[Tensor, "*batch m dv"],
    *,
    score: Callable[..., Tensor] = scores.scaled_dot,
    mask: Bool[Tensor, "..."] | None = None,
    bias: Float[Tensor, "..."] | None = None,
    normalize: Callable[..., Tensor] = normalizers.softmax,
) -> Attended:
    r"""Attention: each query's average of the values, weighted by how well the query matches their keys.

    $o_i = \sum_{j \in A_i} w_{ij} v_j$ with $w_i = \mathrm{normalize}(s_i)$ over the allowed keys $A_i$ and
    $s_{ij} = \mathrm{score}(q_i, k_j) + b_{ij}$; as it stands it is Vaswani et al. (2017), equation 1.

    `mask` is boolean, True = may attend; `bias` is float, added to the scores; both broadcast to them.
    `score` and `normalize` are any `f(query, key)` and `f(scores, mask)`; bind parameters with `partial`.
    Output and weights have the inputs' dtype; lse is float32 or better. Inputs are never modified.

    A query that may attend to nothing gives output 0, weights 0, lse -inf and finite gradients.
    What a row may not see, it cannot feel, even if that is NaN or inf: see `quarantine`.

    Wrong types raise `TypeError`, wrong shapes `ValueError`, with the remedy.
    """
    shape = _check(query, key, value, mask, bias)
    _check_functions(score, normalize)
    (query, key, value, bias), spoiled = quarantine(query, key, value, mask, bias)

    logits = score(query, key)  # (*batch, n, m)
    _check_result("score", logits, shape)
    if bias is not None:
        logits = logits + bias
    weights = normalize(logits, mask)
    _check_result("normalize", weights, shape)
    weights = weights.to(value.dtype)
    output = weights @ value  # (*batch, n, dv)

    return spoil(Attended(output, weights, normalizers.logsumexp(logits, mask)), spoiled)


def merge(*parts: Attended) -> Attended:
    r"""Join softmax attention over disjoint sets of keys into attention over all of them.

    $o = \sum_p c_p o_p$ with $c = \mathrm{softmax}(\ell)$, $\ell_p$ the parts' lse: attention over the parts.
    Exact, in any order and grouping, for softmax at temperature 1. A part that saw no key drops out.
    A row that is NaN in one part is NaN in the whole, and in no other row's gradient.

    Weights are concatenated along the keys in the order given, or None if any part has none.
    The identity is that of Milakov & Gimelshein (2018), section 3.1.
    """
    _check_parts(parts)
    spoiled = Spoiled(
        scores=torch.stack([part.lse.isnan() for part in parts]).any(0),
        output=torch.stack([part.output.isnan().any(-1) for part in parts]).any(0),
    )
    parts = [_fill(part, spoiled, 0.0) for part in parts]  # so that no sound part meets a NaN in its gradient

    part_lse = torch.stack([part.lse for part in parts], dim=-1)  # (*batch, n, parts)
    shares = normalizers.softmax(part_lse).unbind(-1)
    lse = normalizers.logsumexp(part_lse)

    dtype = parts[0].output.dtype
    output = sum(share[..., None] * part.output for share, part in zip(shares, parts, strict=True)).to(dtype)
    weights = None
    if all(part.weights is not None for part in parts):
        by_part = [share[..., None] * part.weights for share, part in zip(shares, parts, strict=True)]
        weights = torch.cat(by_part, dim=-1).to(dtype)
    return spoil(Attended(output, weights, lse), spoiled)


class Spoiled(NamedTuple):
    """Which queries may see something that is not finite, and so have no finite answer."""

    scores: Bool[Tensor, "*batch n"]  # in their own entries, a key's or a bias: no weights or lse either
    output: Bool[Tensor, "*batch n"]  # in those or a value's


def quarantine(
    query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, bias: Tensor | None
) -> tuple[tuple[Tensor, Tensor, Tensor, Tensor | None], Spoiled | None]:
    r"""Put 0 for each row that holds NaN or inf, and say which queries may see one; undone by `spoil`.

    A weight of 0 does not hide a NaN: $0 \cdot \mathrm{NaN} = \mathrm{NaN}$, forward in $w v$ and backward in
    $(\partial s) k$. Under a causal mask, one bad last key would reach every query's gradient. So all
    arithmetic is done on finite numbers, and the rows that deserve NaN get it at the very end.

    Projections before `attend` have the same trouble, $(\partial k) x$: quarantine their inputs and spoil the
    result, as `multihead` does. Of a bias single entries are replaced, other than -inf, which is an honest
    one: it gives weight 0. Without a mask everything is visible and nothing is done.
    No branch depends on the data, so nothing waits for a GPU.
    """
    if mask is None:
        return (query, key, value, bias), None
    sound_query, sound_key, sound_value = (x.isfinite().all(-1, keepdim=True) for x in (query, key, value))
    sound_scores = sound_query & sound_key.mT  # (*batch, n, m)
    if bias is not None:
        sound_bias = bias < math.inf  # false for NaN
        sound_scores = sound_scores & sound_bias
        bias = bias.masked_fill(~sound_bias, 0.0)
    spoils_scores = (mask & ~sound_scores).any(-1)  # (*batch, n)
    spoils_output = spoils_scores | (mask & ~sound_value.mT).any(-1)
    clean = (
        query.masked_fill(~sound_query, 0.0),
        key.masked_fill(~sound_key, 0.0),
        value.masked_fill(~sound_value, 0.0),
        bias,
    )
    return clean, Spoiled(spoils_scores, spoils_output)


def spoil(attended: Attended, spoiled: Spoiled | None) -> Attended:
    """Make the spoiled rows NaN, so that they are seen; no gradient passes through them."""
    return attended if spoiled is None else _fill(attended, spoiled, math.nan)


def _fill(attended: Attended, spoiled: Spoiled, number: float) -> Attended:
    """Put `number` in the spoiled rows."""
    output, weights, lse = attended
    return Attended(
        output=output.masked_fill(spoiled.output[..., None], number),
        weights=None if weights is None else weights.masked_fill(spoiled.scores[..., None], number),
        lse=lse.masked_fill(spoiled.scores, number),
    )


def check_pairs(key: Tensor, value: Tensor) -> None:
    """Require a value for each key."""
    if key.shape[-2] != value.shape[-2]:
        raise ValueError(
            f"`key` and `value` must hold the same number of positions; got {key.shape[-2]} and "
            f"{value.shape[-2]}. Layout is (*batch, heads, sequence, width): is an axis transposed?"
        )


def check_bias(bias: Tensor | None, shape: torch.Size) -> None:
    """Require no bias, or a float one that broadcasts to the scores' `shape`."""
    if bias is None:
        return
    if not isinstance(bias, Tensor) or not bias.is_floating_point():
        got = getattr(bias, "dtype", type(bias).__name__)
        remedy = (
            "A boolean mask goes in `mask=`." if got == torch.bool else "Use `torch.as_tensor(bias).float()`."
        )
        raise TypeError(f"`bias` must be a float tensor, added to the scores; got {got}. {remedy}")
    if not normalizers.broadcasts(bias.shape, shape):
        raise ValueError(
            f"`bias` must broadcast to the scores' shape {tuple(shape)}; got {tuple(bias.shape)}. "
            "One bias a head has shape (heads, n, m)."
        )


def _check(query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, bias: Tensor | None) -> torch.Size:
    """Check `attend`'s arguments; returns the shape (*batch, n, m) of the scores."""
    scores.check_sequences(query=query, key=key, value=value)
    check_pairs(key, value)
    shape = torch.Size((*query.shape[:-1], key.shape[-2]))
    normalizers.check_mask(mask, shape)
    check_bias(bias, shape)
    return shape


def _check_functions(score: Callable[..., Tensor], normalize: Callable[..., Tensor]) -> None:
    for name, function, signature, example in (
        ("score", score, "f(query, key)", "scores.dot"),
        ("normalize", normalize, "f(scores, mask)", "normalizers.hard"),
    ):
        if not callable(function):
            raise TypeError(
                f"`{name}` must be a function {signature}; got {type(function).__name__}. "
                f"For instance `{example}`, without calling it."
            )


def _check_result(name: str, result: Tensor, shape: torch.Size) -> None:
    if not isinstance(result, Tensor):
        raise TypeError(
            f"`{name}` must return a torch tensor of shape {tuple(shape)}; got {type(result).__name__}."
        )
    if result.shape != shape:
        raise ValueError(
            f"`{name}` must give one number for each query and key, shape {tuple(shape)}; "
            f"got {tuple(result.shape)}."
        )


def _check_parts(parts: tuple[Attended, ...]) -> None:
    if not parts:
        raise ValueError("`merge` needs at least one part; got none. Unpack a list: `merge(*parts)`.")
    for part in parts:
        if not isinstance(part, Attended):
            raise TypeError(
                f"`parts` must be `Attended`; got {type(part).__name__}. Unpack a list: `merge(*parts)`."
            )
        if part.lse is None:
            raise ValueError("`parts` must carry their `lse`, by which they are weighed; got None in one.")
        if part.output.shape != parts[0].output.shape:
            raise ValueError(
                "`parts` must answer the same queries, over different keys; got outputs of shapes "
                f"{tuple(parts[0].output.shape)} and {tuple(part.output.shape)}."
            )
        if part.output.dtype != parts[0].output.dtype:
            raise TypeError(
                f"`parts` must have outputs of one dtype; got {parts[0].output.dtype} and "
                f"{part.output.dtype}. Convert the inputs of `attend`, before anything is rounded."
            )
        if part.lse.shape != part.output.shape[:-1]:
            raise ValueError(
                f"`parts` must have one `lse` an output; got shapes {tuple(part.lse.shape)} and "
                f"{tuple(part.output.shape)}. Merge heads by themselves, before they are projected together."
            )
