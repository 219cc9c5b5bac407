"""Head exchange: for the time of the attention each rank holds whole sequences, of some of the heads."""

import torch
import torch.distributed as dist
from jaxtyping import Float
from torch import Tensor

from attention_core import heads as head_axis
from attention_core import masks, pipeline
from attention_core.pipeline import Attended
from attention_core.ring.messages import Message, Ring
from attention_core.ring.rotation import check


def head_exchange_attention(
    query: Float[Tensor, "*batch heads n d"],
    key: Float[Tensor, "*batch kv_heads m d"],
    value: Float[Tensor, "*batch kv_heads m dv"],
    *,
    causal: bool = False,
    group: dist.ProcessGroup | None = None,
    timeout: float = 300.0,
) -> Attended:
    r"""Attention by exchange of heads, of Jacobs et al. (2023, DeepSpeed-Ulysses).

    From (heads, n) on each of p ranks to (heads/p, pn), attention there, and back. Results are those of
    `ring_attention` in contiguous order.

    With n positions on each rank, the exchanges send O(n) from each, where the ring sends O(pn), and causal
    work is balanced by itself. But p must divide the heads, those of the keys too, and each rank holds whole
    sequences: here their scores as well, $(pn)^2$ for each of heads/p heads.
    """
    ring = Ring(group, timeout)
    check(query, key, value, causal)
    for name, x in (("query", query), ("key", key)):
        if x.ndim < 3 or x.shape[-3] % ring.ranks:
            raise ValueError(
                f"`{name}` must have a multiple of {ring.ranks} heads (axis -3), for as many ranks; got "
                f"shape {tuple(x.shape)}. Repeat keys by `heads.repeat_groups`; `ring_attention` takes any."
            )
    ring.check_alike(query, key, value, causal)

    # (*batch, heads, n, d) to (*batch, heads/p, pn, d)
    query, key, value = (_Exchange.apply(x, ring, -3, -2) for x in (query, key, value))
    repeats = query.shape[-3] // key.shape[-3]
    key, value = (head_axis.repeat_groups(x, repeats) for x in (key, value))
    mask = None
    if causal:
        mask = masks.causal(query.shape[-2], key.shape[-2], align="lower_right", device=query.device)
    attended = pipeline.attend(query, key, value, mask=mask)
    output = _Exchange.apply(attended.output, ring, -2, -3)  # (*batch, heads, n, dv)
    lse = _Exchange.apply(attended.lse[..., None], ring, -2, -3).squeeze(-1)
    return Attended(output, None, lse)


class _Exchange(torch.autograd.Function):
    """Give each rank its part of axis `cut`, and join the parts that come along axis `join`."""

    @staticmethod
    def forward(ctx, x: Tensor, ring: Ring, cut: int, join: int) -> Tensor:
        ctx.ring, ctx.cut, ctx.join = ring, cut, join
        return _exchange(x, ring, cut, join)

    @staticmethod
    def backward(ctx, gradient: Tensor) -> tuple[Tensor, None, None, None]:
        return _exchange(gradient, ctx.ring, ctx.join, ctx.cut), None, None, None


def _exchange(x: Tensor, ring: Ring, cut: int, join: int) -> Tensor:
    parts = [part.contiguous() for part in x.tensor_split(ring.ranks, dim=cut)]
    arriving = [part if rank == ring.rank else torch.empty_like(part) for rank, part in enumerate(parts)]
    others = [rank for rank in range(ring.ranks) if rank != ring.rank]
    ring.post([Message(parts[r], r) for r in others], [Message(arriving[r], r) for r in others])()
    return torch.cat(arriving, dim=join)
