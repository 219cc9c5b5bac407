"""Split-KV: the keys in parts, each attended by itself, joined by their lse; and groups of query heads."""

from itertools import pairwise

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from attention_core import heads as head_axis
from attention_core import normalizers, pipeline, scores
from attention_core.pipeline import Attended


def split_kv(
    query: Float[Tensor, "*batch n d"],
    key: Float[Tensor, "*kv_batch m d"],
    value: Float[Tensor, "*kv_batch m dv"],
    *,
    splits: int = 1,
    mask: Bool[Tensor, "..."] | None = None,
) -> Attended:
    r"""Scaled dot-product attention with the keys in `splits` parts, of Dao et al. (2023, Flash-Decoding).

    $(o_p, \ell_p) = \mathrm{attend}(q, k_p, v_p)$ for each part p, and $o = \sum_p c_p o_p$ with
    $c = \mathrm{softmax}(\ell)$: exact, for any number of parts.

    A single query has one row of scores and so keeps one processor busy; P parts keep P busy, and then wait
    for one small sum. Here the parts run one after another: it is the arithmetic that is shown.

    Where axis -3 of the keys, the heads, is shorter than that of the queries, neighbouring query heads share
    one key head. They are stacked as further queries, so that a shared key is read once and never repeated.

    `mask` broadcasts to (*batch, n, m). Returns what `pipeline.attend` returns, its weights over all m keys.
    """
    head_axis.check_positive("splits", splits)
    _check(query, key, value)
    shape = torch.Size((*query.shape[:-1], key.shape[-2]))
    normalizers.check_mask(mask, shape)
    repeats = _repeats(query, key)

    stacked = _stack(query, repeats)  # (*batch, kv_heads, repeats * n, d)
    mask = None if mask is None else _stack_mask(mask, shape, repeats)
    bounds = [key.shape[-2] * p // splits for p in range(splits + 1)]
    parts = []
    for first, end in pairwise(bounds):
        own = slice(first, end)
        visible = None if mask is None else mask[..., own]
        parts.append(pipeline.attend(stacked, key[..., own, :], value[..., own, :], mask=visible))
    return _unstack(parts[0] if splits == 1 else pipeline.merge(*parts), repeats)


def _repeats(query: Tensor, key: Tensor) -> int:
    """How many query heads share each key head."""
    return 1 if query.ndim == 2 else query.shape[-3] // key.shape[-3]


def _stack(x: Tensor, repeats: int) -> Tensor:
    """(*batch, kv_heads * repeats, n, d) to (*batch, kv_heads, repeats * n, d)."""
    return x if repeats == 1 else x.unflatten(-3, (-1, repeats)).flatten(-3, -2)


def _stack_mask(mask: Tensor, shape: torch.Size, repeats: int) -> Tensor:
    """The mask with an entry a key, and a row for each of the stacked queries."""
    mask = mask.expand(*mask.shape[:-2], *shape[-2:])  # (..., n, m)
    if mask.ndim == 2 or mask.shape[-3] == 1:  # one for all heads
        return torch.cat([mask] * repeats, dim=-2)
    return _stack(mask, repeats)


def _unstack(attended: Attended, repeats: int) -> Attended:
    """Undo `_stack` in the result."""
    if repeats == 1:
        return attended
    output, weights, lse = attended
    weights = None if weights is None else weights.unflatten(-2, (repeats, -1)).flatten(-4, -3)
    return Attended(
        output=output.unflatten(-2, (repeats, -1)).flatten(-4, -3),  # (*batch, heads, n, dv)
        weights=weights,
        lse=lse.unflatten(-1, (repeats, -1)).flatten(-3, -2),
    )


def _check(query: Tensor, key: Tensor, value: Tensor) -> None:
    scores.check_sequences(query=query)
    scores.check_sequences(key=key, value=value)
    pipeline.check_pairs(key, value)
    head_axis.check_groups(query, key)
