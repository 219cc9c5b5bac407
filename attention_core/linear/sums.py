r"""Causal sums of outer products: $S_t = a_t S_{t-1} + k_t v_t^\top$, read by $o_t = S_t^\top q_t$.

The same numbers by three schedules. "recurrent" follows the equation a token at a time. "chunked" cuts the
sequence: within a chunk it compares all pairs, as attention does, and only the state goes from chunk to
chunk, so the cost is $O(nCd + nd^2)$ for chunks of C tokens. "parallel" is one chunk, $O(n^2 d)$.
"""

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor


class Recurrent(NamedTuple):
    """What a recurrence gives back: for n tokens, keys of width d and values of width dv."""

    output: Float[Tensor, "*batch n dv"]
    state: Float[Tensor, "*batch d dv"]  # after the last token: the next part's `initial_state`


def decayed_sum(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    decay: Tensor | None,
    state: Tensor,
    *,
    mode: str,
    chunk: int | None,
) -> Recurrent:
    """The sum, by one of the schedules; `decay` (*batch, n), or None for one that is 1 throughout."""
    if mode == "recurrent":
        return _recurrent(query, key, value, decay, state)
    chunks = Chunks.of(query.shape[-2], mode, chunk)
    return _chunked(chunks, query, key, value, decay, state)


def decayed_average(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    decay: Tensor | None,
    state: Tensor,
    *,
    mode: str,
    chunk: int | None,
) -> Recurrent:
    r"""The sum over the sum of its weights: $o_t = S_t^\top q_t / z_t^\top q_t$, $z_t = a_t z_{t-1} + k_t$.

    z is what S would be for a value that is always 1, and the last column of the state (*batch, d, dv + 1).
    Where the denominator is 0, for a query that meets no key at all, the output is 0.
    """
    if mode == "recurrent":
        with_one = torch.nn.functional.pad(value, (0, 1), value=1.0)
        output, state = _recurrent(query, key, with_one, decay, state)
        return Recurrent(_divide(output[..., :-1], output[..., -1:]), state)
    chunks = Chunks.of(query.shape[-2], mode, chunk)
    return _chunked(chunks, query, key, value, decay, state, average=True)


def _recurrent(query: Tensor, key: Tensor, value: Tensor, decay: Tensor | None, state: Tensor) -> Recurrent:
    outputs = []
    for t in range(query.shape[-2]):
        if decay is not None:
            state = decay[..., t, None, None] * state
        state = state + key[..., t, :, None] * value[..., t, None, :]  # (*batch, d, dv)
        outputs.append(read(query, state, t))
    return Recurrent(stack(outputs, like=value), state)


def _chunked(
    chunks: "Chunks",
    query: Tensor,
    key: Tensor,
    value: Tensor,
    decay: Tensor | None,
    state: Tensor,
    *,
    average: bool = False,
) -> Recurrent:
    query, key, value = chunks.cut(query), chunks.cut(key), chunks.cut(value)  # (*batch, chunks, size, width)
    # Selected, not multiplied by 0: the product with a later key may have overflowed.
    pairs = (query @ key.mT).tril_()  # (*batch, chunks, size, size)
    survival = None
    if decay is not None:
        survival = Survival(chunks.cut(decay[..., None], fill=1.0))
        pairs = pairs * survival.between
        query = query * survival.from_start
        key = key * survival.to_end

    dv = value.shape[-1]
    starts, end = _starts(key.mT @ value, survival, state[..., :dv])  # (*batch, chunks, d, dv)
    output = (pairs @ value).add_(query @ starts)
    if average:  # a sum by itself: the product with one more column of values, all 1, takes longer
        starts, total_end = _starts(key.sum(-2).unsqueeze(-1), survival, state[..., dv:])
        # a quarter of the time of the product by a single column, `query @ starts`
        total = pairs.sum(-1, keepdim=True) + (query * starts.mT).sum(-1, keepdim=True)
        output, end = _divide(output, total), torch.cat([end, total_end], dim=-1)
    return Recurrent(chunks.join(output), end)


def _starts(written: Tensor, survival: "Survival | None", state: Tensor) -> tuple[Tensor, Tensor]:
    """The state before each chunk, given what each chunk writes, and the state after the last."""
    starts = []
    for c, own in enumerate(written.unbind(-3)):
        starts.append(state)
        state = own + (state if survival is None else survival.whole[..., c, :, :] * state)
    return torch.stack(starts, dim=-3), state


def _divide(output: Tensor, total: Tensor) -> Tensor:
    """Output over total, 0 where that is 0: x / inf is 0, forward and backward."""
    return output / total.masked_fill(total == 0, torch.inf)


class Chunks:
    """How n tokens are cut into chunks of one size, the last one filled up."""

    def __init__(self, n: int, size: int | None):
        self.n = n
        size = size or (32 if n < 256 else 64)  # measured on a CPU, at width 64
        self.size = max(1, min(size, n))
        self.count = max(1, -(-n // self.size))  # one even for no token at all

    @classmethod
    def of(cls, n: int, mode: str, size: int | None) -> "Chunks":
        """Those of a schedule: "parallel" is one chunk."""
        return cls(n, n if mode == "parallel" else size)

    def cut(self, x: Tensor, fill: float = 0.0) -> Tensor:
        """(*batch, n, width) to (*batch, chunks, size, width). Zeros write nothing; 1 decays nothing."""
        missing = self.count * self.size - self.n
        if missing:
            x = torch.nn.functional.pad(x, (0, 0, 0, missing), value=fill)
        return x.unflatten(-2, (self.count, self.size))

    def join(self, x: Tensor) -> Tensor:
        """Undoes `cut`."""
        return x.flatten(-3, -2)[..., : self.n, :]


class Survival:
    r"""What is left of a state after some tokens: products of their decays, from decays (..., size, 1).

    Products, and not the usual exponentials of sums of logarithms: a decay may be 0, whose logarithm is -inf,
    and -inf - (-inf) is NaN. The gradient is right there too.
    """

    def __init__(self, decay: Float[Tensor, "*batch size 1"]):
        size = decay.shape[-2]
        later = torch.ones(size, size, dtype=torch.bool, device=decay.device).tril(-1)
        self.between = torch.where(later, decay, 1.0).cumprod(-2)  # (..., i, j): decays after j, up to i
        self.from_start = decay[..., :1, :] * self.between[..., :1]  # (..., size, 1): from before the first
        self.to_end = self.between[..., -1:, :].mT  # (..., size, 1): after each, up to the last
        self.whole = self.from_start[..., -1:, :]  # (..., 1, 1)


def read(query: Tensor, state: Tensor, t: int) -> Float[Tensor, "*batch dv"]:
    """The state's answer to query t."""
    return (query[..., t, None, :] @ state).squeeze(-2)


def stack(outputs: list[Tensor], like: Tensor) -> Tensor:
    """Outputs, a token each, as a sequence; of no token, an empty one."""
    return torch.stack(outputs, dim=-2) if outputs else torch.zeros_like(like)
