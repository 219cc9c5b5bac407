r"""The delta rule: $S_t = a_t (I - b_t k_t k_t^\top) S_{t-1} + b_t k_t v_t^\top$, and $o_t = S_t^\top q_t$.

It is a decayed sum of $k_t u_t^\top$, where $u_t = b_t (v_t - a_t S_{t-1}^\top k_t)$ is what the memory has
wrong about $v_t$. Within a chunk that starts from $S$, the u solve a triangular system, the WY form of
Yang et al. (2024, arXiv 2406.06484), with decay of Yang, Kautz & Hatamizadeh (2024, arXiv 2412.06464):
$u_t + b_t \sum_{j < t} a_{j+1} \cdots a_t (k_t^\top k_j) u_j = b_t (v_t - a_1 \cdots a_t S^\top k_t)$.
"""

import torch
from torch import Tensor

from attention_core.linear.sums import Chunks, Recurrent, Survival, read, stack


def delta_sum(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    beta: Tensor,
    decay: Tensor | None,
    state: Tensor,
    *,
    mode: str,
    chunk: int | None,
) -> Recurrent:
    """The rule, by one of the schedules of `sums`; `decay` (*batch, n), or None for 1 throughout."""
    if mode == "recurrent":
        return _recurrent(query, key, value, beta, decay, state)
    chunks = Chunks.of(query.shape[-2], mode, chunk)
    return _chunked(chunks, query, key, value, beta, decay, state)


def _recurrent(
    query: Tensor, key: Tensor, value: Tensor, beta: Tensor, decay: Tensor | None, state: Tensor
) -> Recurrent:
    outputs = []
    for t in range(query.shape[-2]):
        if decay is not None:
            state = decay[..., t, None, None] * state
        surprise = beta[..., t, None] * (value[..., t, :] - read(key, state, t))  # (*batch, dv)
        state = state + key[..., t, :, None] * surprise[..., None, :]
        outputs.append(read(query, state, t))
    return Recurrent(stack(outputs, like=value), state)


def _chunked(
    chunks: Chunks,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    beta: Tensor,
    decay: Tensor | None,
    state: Tensor,
) -> Recurrent:
    query, key, value = chunks.cut(query), chunks.cut(key), chunks.cut(value)  # (*batch, chunks, size, width)
    beta = chunks.cut(beta[..., None])
    scaled = beta * key
    overlaps = (scaled @ key.mT).tril(-1)  # (*batch, chunks, size, size)
    pairs = (query @ key.mT).tril()
    survival = None
    if decay is not None:
        survival = Survival(chunks.cut(decay[..., None], fill=1.0))
        overlaps, pairs = overlaps * survival.between, pairs * survival.between
        query, scaled = query * survival.from_start, scaled * survival.from_start
        key = key * survival.to_end

    by_chunk = (x.unbind(-3) for x in (overlaps, beta * value, scaled, key))
    starts, surprises = [], []
    for c, (overlap, wanted, reader, writer) in enumerate(zip(*by_chunk, strict=True)):
        starts.append(state)
        surprises.append(_solve(overlap, wanted - reader @ state))
        kept = state if survival is None else survival.whole[..., c, :, :] * state
        state = kept + writer.mT @ surprises[-1]
    output = pairs @ torch.stack(surprises, dim=-3) + query @ torch.stack(starts, dim=-3)
    return Recurrent(chunks.join(output), state)


def _solve(overlap: Tensor, right: Tensor) -> Tensor:
    r"""u of $(I + L) u = r$ with L strictly lower triangular, its diagonal and above never read.

    Transposed, $u^\top (I + L)^\top = r^\top$: LAPACK's column order is then ours, which saves it two copies
    (1.7 against 2.9 ms for 128 systems of 64 x 64).
    """
    return torch.linalg.solve_triangular(overlap.mT, right.mT, upper=True, left=False, unitriangular=True).mT
