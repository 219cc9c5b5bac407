"""Approximations: attention that looks at fewer pairs, or at fewer keys, and what that costs in accuracy.

`linformer` mixes the keys into a few; `reformer` compares only what falls into one bucket. How far an answer
is from the exact one depends on the data: measure it, by `relative_error`.
Wrong types raise `TypeError`, wrong shapes `ValueError`, with the remedy. Inputs are never modified.
"""

import math
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from attention_core import heads, pipeline, scores
from attention_core.pipeline import Attended


def relative_error(output: Float[Tensor, "..."], exact: Float[Tensor, "..."]) -> float:
    r"""$\|o - e\| / \|e\|$ over all entries: 0 for the exact answer, about 1 for one of zeros."""
    if output.shape != exact.shape:
        raise ValueError(
            f"`output` and `exact` must have one shape; got {tuple(output.shape)} and {tuple(exact.shape)}. "
            "Both answer the same queries."
        )
    return ((output.double() - exact.double()).norm() / exact.double().norm()).item()


def linformer(
    query: Float[Tensor, "*batch n d"],
    key: Float[Tensor, "*batch m d"],
    value: Float[Tensor, "*batch m dv"],
    w_key: Float[Tensor, "rank m"],
    w_value: Float[Tensor, "rank m"],
) -> Attended:
    r"""Linformer: attention over `rank` mixtures of the m keys. Wang et al. (2020).

    $o = \mathrm{softmax}(q (E k)^\top / \sqrt d) \, F v$ with E `w_key` and F `w_value`. Weights are
    (*batch, n, rank), over the mixtures. Costs $O(n \cdot rank)$ instead of $O(nm)$; exact for E = F = I.

    There is no mask, and no causal form: each mixture holds keys of all positions, so a query that may
    not see one key may see no mixture.
    """
    scores.check_sequences(query=query, key=key, value=value)
    pipeline.check_pairs(key, value)
    _check_mixing("w_key", w_key, key)
    _check_mixing("w_value", w_value, value)
    if w_key.shape[0] != w_value.shape[0]:
        raise ValueError(
            f"`w_key` and `w_value` must have one rank; got {w_key.shape[0]} and {w_value.shape[0]}. "
            "Each mixture of keys has its mixture of values."
        )
    return pipeline.attend(query, w_key @ key, w_value @ value)  # over (*batch, rank, ...)


def reformer(
    x: Float[Tensor, "*batch n d"],
    value: Float[Tensor, "*batch n dv"],
    rotations: Float[Tensor, "rounds d half_buckets"],
    *,
    chunk: int,
    causal: bool = False,
) -> Attended:
    r"""LSH attention: a token attends to those that a hash says are alike. Kitaev et al. (2020), section 2.

    Queries and keys are one sequence: $q_i = x_i$ and $k_j = x_j / \|x_j\|$. In a round with rotation R,
    token x falls into bucket $\arg\max [xR; -xR]$. Sorted by bucket, then position, the tokens are cut into
    chunks, and each meets those of its bucket in its own chunk and the one before. Over all that it met in
    any round it attends by the softmax of $q_i^\top k_j / \sqrt d$; to itself only if it met no other.

    All randomness is in `rotations`, standard normal; half_buckets of them make 2 half_buckets buckets. More
    rounds find more of what matters, a larger `chunk` loses less of a bucket. One bucket in one chunk
    (`rotations` of zeros, `chunk` >= n) is exact. Time and memory grow as rounds n chunk, beside the sorting
    and a look at earlier rounds: a pair met twice counts once (the paper's $N_{i,j}$, appendix A).

    `causal` forbids later tokens as keys. But the sorting has seen them: a later token moves the borders
    between chunks, and so decides which earlier ones meet. Only within one chunk is the past untouched.

    The weights are None, as there would be n x n. They are the output for `value` the identity.
    """
    _check_reformer(x, value, rotations, chunk)
    exact = torch.promote_types(x.dtype, torch.float32)
    bad = ~(x.isfinite().all(-1) & value.isfinite().all(-1))[..., None]
    clean = x.to(exact).masked_fill(bad, 0.0)
    # What is bad must not reach the hash or the norm, but `attend` must see it, to spoil those that meet it.
    query, key, values = (y.masked_fill(bad, math.nan) for y in (clean, _unit(clean), value.to(exact)))

    rounds = [_sort(clean, rotation, chunk) for rotation in rotations.to(exact)]
    parts = [_attend_round(query, key, values, rounds[: r + 1], causal) for r in range(len(rounds))]
    output, _, lse = pipeline.merge(*parts)

    alone = lse == -math.inf
    own = (query * key).sum(-1) / math.sqrt(x.shape[-1])
    output = torch.where(alone[..., None], values, output).to(x.dtype)
    return Attended(output, None, torch.where(alone, own, lse))


class _Round(NamedTuple):
    """Tokens sorted by bucket, then position, and cut into chunks."""

    bucket: Int[Tensor, "*batch n"]  # of each token
    order: Int[Tensor, "*batch n"]  # the token at each place
    place: Int[Tensor, "*batch n"]  # the place of each token
    chunk: int


def _sort(x: Float[Tensor, "*batch n d"], rotation: Float[Tensor, "d half"], chunk: int) -> _Round:
    turned = x @ rotation
    bucket = torch.cat([turned, -turned], dim=-1).argmax(-1)
    order = bucket.argsort(dim=-1, stable=True)
    return _Round(bucket, order, order.argsort(-1), chunk)


def _attend_round(query: Tensor, key: Tensor, value: Tensor, rounds: list[_Round], causal: bool) -> Attended:
    """Attention in the last of the rounds, over the pairs that did not meet before."""
    own = rounds[-1]
    n, missing = query.shape[-2], -query.shape[-2] % own.chunk
    rows = torch.nn.functional.pad(own.order, (0, missing), value=n)  # n stands for no token
    rows = rows.unflatten(-1, (-1, own.chunk))  # (*batch, chunks, chunk)
    before = torch.nn.functional.pad(rows, (0, 0, 1, 0), value=n)[..., :-1, :]
    keys = torch.cat([before, rows], dim=-1)  # (*batch, chunks, 2 chunk)

    *earlier, mask = (_meet(one, rows, keys, causal) for one in rounds)
    for met in earlier:
        mask = mask & ~met
    attended = pipeline.attend(_take(query, rows), _take(key, keys), _take(value, keys), mask=mask)
    output = torch.take_along_dim(attended.output.flatten(-3, -2), own.place[..., None], dim=-2)
    return Attended(output, None, torch.take_along_dim(attended.lse.flatten(-2), own.place, dim=-1))


def _meet(one: _Round, rows: Tensor, keys: Tensor, causal: bool) -> Bool[Tensor, "*batch chunks chunk both"]:
    """Whether, in this round, each of the rows meets each of the keys: another token, not a missing one."""
    n = one.order.shape[-1]
    row_bucket, key_bucket = _take(one.bucket[..., None], rows), _take(one.bucket[..., None], keys)
    row_place, key_place = _take(one.place[..., None], rows), _take(one.place[..., None], keys)
    back = row_place // one.chunk - key_place.mT // one.chunk  # in chunks
    row, key = rows[..., :, None], keys[..., None, :]
    met = (row_bucket == key_bucket.mT) & (back >= 0) & (back <= 1) & (row != key) & (row < n) & (key < n)
    return met & (key <= row) if causal else met


def _take(x: Tensor, tokens: Int[Tensor, "*batch chunks size"]) -> Tensor:
    """Rows of x (*batch, n, width) by token, (*batch, chunks, size, width); for a missing one, any row."""
    index = tokens.clamp(max=max(x.shape[-2] - 1, 0)).flatten(-2)[..., None]
    return torch.take_along_dim(x, index, dim=-2).unflatten(-2, tokens.shape[-2:])


def _unit(x: Tensor) -> Tensor:
    """x / |x|, and 0 for 0, with a finite gradient."""
    squared = x.square().sum(-1, keepdim=True)
    return x * squared.masked_fill(squared == 0, 1.0).rsqrt()


def _check_mixing(name: str, weight: Tensor, mixed: Tensor) -> None:
    if not isinstance(weight, Tensor) or weight.dtype != mixed.dtype:
        got = getattr(weight, "dtype", type(weight).__name__)
        raise TypeError(f"`{name}` must be a tensor of the keys' dtype, {mixed.dtype}; got {got}.")
    m = mixed.shape[-2]
    if weight.ndim != 2 or weight.shape[0] == 0 or weight.shape[1] != m:
        raise ValueError(
            f"`{name}` must have shape (rank, m) = (rank, {m}), a row of shares in the {m} positions for "
            f"each mixture; got {tuple(weight.shape)}. It belongs to one length: for a shorter sequence "
            "take its first m columns."
        )
    if weight.shape[0] > m:
        raise ValueError(
            f"`{name}` must have rank at most m = {m}; got {weight.shape[0]}. More mixtures than keys cost "
            "more than `attend` and say no more: use that."
        )


def _check_reformer(x: Tensor, value: Tensor, rotations: Tensor, chunk: int) -> None:
    scores.check_sequences(x=x, value=value)
    if x.shape[-2] != value.shape[-2]:
        raise ValueError(
            f"`x` and `value` must hold the same number of positions; got {x.shape[-2]} and "
            f"{value.shape[-2]}. A sequence attends to itself."
        )
    if not isinstance(rotations, Tensor) or rotations.dtype != x.dtype:
        got = getattr(rotations, "dtype", type(rotations).__name__)
        raise TypeError(f"`rotations` must be a tensor of the dtype of `x`, {x.dtype}; got {got}.")
    d = x.shape[-1]
    if rotations.ndim != 3 or 0 in rotations.shape or rotations.shape[1] != d:
        raise ValueError(
            f"`rotations` must have shape (rounds, d, buckets / 2) = (rounds, {d}, buckets / 2); got "
            f"{tuple(rotations.shape)}. Draw them by `torch.randn`; one round is `rotations[None]`."
        )
    heads.check_positive("chunk", chunk)
