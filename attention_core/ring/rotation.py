"""Ring attention: queries stay, keys and values travel, and what each block adds is merged by its lse."""

import math

import torch
import torch.distributed as dist
from jaxtyping import Float
from torch import Tensor

from attention_core import heads as head_axis
from attention_core import pipeline, scores
from attention_core.pipeline import Attended
from attention_core.ring import orders
from attention_core.ring.messages import DTYPES, Reorder, Ring
from attention_core.ring.orders import Plan


def ring_attention(
    query: Float[Tensor, "*batch n d"],
    key: Float[Tensor, "*kv_batch m d"],
    value: Float[Tensor, "*kv_batch m dv"],
    *,
    causal: bool = False,
    order: str = "contiguous",
    group: dist.ProcessGroup | None = None,
    timeout: float = 300.0,
) -> Attended:
    r"""Ring attention, of Liu et al. (2023): each rank's rows of scaled dot-product attention over all ranks.

    In step s rank r holds the keys and values of rank $r - s$, gets $(o_s, \ell_s)$ for its own queries from
    them, and passes them on: $o = \sum_s c_s o_s$ with $c = \mathrm{softmax}(\ell)$, as in `pipeline.merge`.
    Backward, $\partial o_s = c_s \, \partial o$ and
    $\partial \ell_s = c_s (\partial o^\top (o_s - o) + \partial \ell)$, and the gradients of a block travel
    with it, until after p steps it is home.

    n and m are the positions on each rank. With `causal`, query i of all pn sees keys up to $i + p(m - n)$
    (lower right). Contiguous parts would then leave the first rank idle while the last works; so they are
    exchanged into zigzag order before and back after. `order="zigzag"` says that the inputs are in it
    already (see `shard`), and so is the output: a model that shards once saves both exchanges.

    Memory is that of n and m, not of pn: a rank holds its own block, one that is worked on and one that
    arrives meanwhile; scores exist for one tile at a time. Fewer key heads than query heads are
    shared by neighbours, and travel as few as they are. Weights are None; gradients pass through output and
    lse.
    """
    ring = Ring(group, timeout)
    check(query, key, value, causal)
    orders.check_order(order)
    ring.check_alike(query, key, value, causal, orders.ORDERS.index(order))
    balance = causal and order == "contiguous" and ring.ranks > 1
    if balance:
        query, key, value = (Reorder.apply(x, ring, "contiguous", "zigzag") for x in (query, key, value))
    plan = Plan(
        rank=ring.rank,
        ranks=ring.ranks,
        n=query.shape[-2],
        m=key.shape[-2],
        causal=causal,
        order="zigzag" if balance else order,
    )
    output, lse = _Rotation.apply(query, key, value, plan, ring)
    if balance:
        output = Reorder.apply(output, ring, "zigzag", "contiguous")
        lse = Reorder.apply(lse[..., None], ring, "zigzag", "contiguous").squeeze(-1)
    return Attended(output, None, lse)


class _Rotation(torch.autograd.Function):
    """One turn of the ring forward, one backward. Sums are float32 or better, those that travel too."""

    @staticmethod
    def forward(
        ctx, query: Tensor, key: Tensor, value: Tensor, plan: Plan, ring: Ring
    ) -> tuple[Tensor, Tensor]:
        wide = torch.promote_types(query.dtype, torch.float32)
        output = query.new_zeros((*query.shape[:-1], value.shape[-1]), dtype=wide)
        lse = query.new_full(query.shape[:-1], -math.inf, dtype=wide)
        block = (key.contiguous(), value.contiguous())
        for step in range(plan.ranks):
            arriving = ring.turn(block) if step + 1 < plan.ranks else None  # travels while we compute
            for rows, columns, first in plan.tiles((plan.rank - step) % plan.ranks):
                part = _attend(query[..., rows, :], *(x[..., columns, :] for x in block), first, plan)
                before = Attended(output[..., rows, :], None, lse[..., rows])
                merged = pipeline.merge(before, Attended(part.output.to(wide), None, part.lse.to(wide)))
                output[..., rows, :], lse[..., rows] = merged.output, merged.lse
            block = block if arriving is None else arriving()
        ctx.save_for_backward(query, key, value, output, lse)
        ctx.plan, ctx.ring = plan, ring
        return output.to(query.dtype), lse

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, grad_output: Tensor, grad_lse: Tensor) -> tuple[Tensor | None, ...]:
        query, key, value, output, lse = ctx.saved_tensors
        plan, ring = ctx.plan, ctx.ring
        rows_of = (query, output, lse, grad_output.to(output.dtype), grad_lse)
        grad_query = torch.zeros_like(query, dtype=output.dtype)
        block = (key.contiguous(), value.contiguous())
        home = None
        for step in range(plan.ranks):
            arriving = ring.turn(block) if step + 1 < plan.ranks else None
            sums = _add_gradients(grad_query, rows_of, block, (plan.rank - step) % plan.ranks, plan)
            if home is not None:  # what the ranks before us found for this block
                for total, earlier in zip(sums, home(), strict=True):
                    total += earlier
            if plan.ranks > 1:
                home = ring.turn(sums, tag=1)  # travels during the next step; after the last, it is home
            block = block if arriving is None else arriving()
        grad_key, grad_value = sums if home is None else home()
        return *(x.to(query.dtype) for x in (grad_query, grad_key, grad_value)), None, None


def _attend(query: Tensor, key: Tensor, value: Tensor, first: int | None, plan: Plan) -> Attended:
    """Attention of a tile. A causal one always has a mask, behind which NaN stays in the rows that see it."""
    mask = None
    if plan.causal and first is None:
        mask = torch.ones((), dtype=torch.bool, device=query.device)
    elif plan.causal:
        own = torch.arange(query.shape[-2], device=query.device)
        mask = own[:, None] >= torch.arange(first, first + key.shape[-2], device=query.device)
    if query.ndim > 2 and query.shape[-3] != key.shape[-3]:
        key, value = (head_axis.repeat_groups(x, query.shape[-3] // x.shape[-3]) for x in (key, value))
    return pipeline.attend(query, key, value, mask=mask)


def _add_gradients(
    grad_query: Tensor, rows_of: tuple[Tensor, ...], block: tuple[Tensor, Tensor], source: int, plan: Plan
) -> tuple[Tensor, Tensor]:
    """Add to `grad_query` what the block of rank `source` gives; returns the gradients of that block."""
    sums = tuple(torch.zeros_like(x, dtype=grad_query.dtype) for x in block)
    for rows, columns, first in plan.tiles(source):
        own = [x[..., rows, :] if x.ndim == grad_query.ndim else x[..., rows] for x in rows_of]
        grads = _gradients(own, [x[..., columns, :] for x in block], first, plan)
        grad_query[..., rows, :] += grads[0]
        for total, grad in zip(sums, grads[1:], strict=True):
            total[..., columns, :] += grad
    return sums


def _gradients(
    own: list[Tensor], block: list[Tensor], first: int | None, plan: Plan
) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients of a tile's query, key and value: it is attended once more, and `merge` differentiated."""
    query, output, lse, grad_output, grad_lse = own
    grad_output = grad_output.masked_fill(output.isnan(), 0.0)  # no gradient passes a bad row
    grad_lse = grad_lse.masked_fill(lse.isnan(), 0.0)
    with torch.enable_grad():
        leaves = [x.detach().requires_grad_() for x in (query, *block)]
        part = _attend(*leaves, first, plan)
    share = (part.lse - lse).exp()
    share = share.masked_fill(share.isnan(), 0.0)  # the row is empty, -inf - -inf, or bad
    away = part.output - output
    away = away.masked_fill(away.isnan(), 0.0)
    grad_part = share[..., None] * grad_output  # (*batch, n, dv)
    grad_part_lse = share * ((grad_output * away).sum(-1) + grad_lse)
    outer = (grad_part.to(query.dtype), grad_part_lse.to(part.lse.dtype))
    return torch.autograd.grad((part.output, part.lse), leaves, outer)


def check(query: Tensor, key: Tensor, value: Tensor, causal: bool) -> None:
    """Require what a rank can tell of its own inputs, before it sends anything."""
    if not isinstance(causal, bool):
        raise TypeError(f"`causal` must be True or False; got {causal!r}. Causal is lower right.")
    scores.check_sequences(query=query)
    scores.check_sequences(key=key, value=value)
    pipeline.check_pairs(key, value)
    head_axis.check_groups(query, key)
    if query.dtype not in DTYPES:
        raise TypeError(
            f"`query` must be one of {', '.join(map(str, DTYPES))}; got {query.dtype}. Use `query.float()`."
        )
    if query.dtype != key.dtype or query.shape[-1] != key.shape[-1]:
        raise ValueError(
            f"`query` and `key` must have one width and dtype; got {query.shape[-1]} of {query.dtype} and "
            f"{key.shape[-1]} of {key.dtype}. Project both to one width."
        )
