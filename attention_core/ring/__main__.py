"""Ring attention to look at: `torchrun --nproc-per-node 2 -m attention_core.ring`, on any computer."""

import os
import time
from datetime import timedelta
from itertools import product

import torch
import torch.distributed as dist
from torch import Tensor

from attention_core import masks, pipeline
from attention_core.ring import head_exchange_attention, ring_attention, shard
from attention_core.ring.orders import ORDERS, Plan

FUNCTIONS = {"ring": ring_attention, "head exchange": head_exchange_attention}
POSITIONS, HEADS, WIDTH = 1024, 4, 32  # of the whole sequence


def main() -> None:
    if "RANK" not in os.environ:
        raise SystemExit("Ranks are started by `torchrun --nproc-per-node 2 -m attention_core.ring`.")
    torch.set_num_threads(1)
    dist.init_process_group("gloo", timeout=timedelta(seconds=60))
    rank, ranks = dist.get_rank(), dist.get_world_size()
    if POSITIONS % ranks or HEADS % ranks:
        raise SystemExit(f"{POSITIONS} positions and {HEADS} heads do not divide among {ranks} ranks.")
    try:
        found = [None] * ranks
        dist.all_gather_object(found, report(rank, ranks))
        if rank == 0:
            print(page(found), flush=True)
    finally:
        dist.destroy_process_group()


def report(rank: int, ranks: int) -> dict:
    """What one rank holds, computes and finds."""
    torch.manual_seed(0)  # every rank draws the whole sequence, to compare; it would not where it matters
    whole = [torch.randn(HEADS, POSITIONS, WIDTH, dtype=torch.float64) for _ in range(4)]
    expected = answer(pipeline.attend, *whole, mask=masks.causal(POSITIONS))
    errors, seconds = {}, {}
    for name, function in FUNCTIONS.items():
        began = time.perf_counter()
        got = answer(function, *(shard(x, rank, ranks) for x in whole), causal=True, timeout=60.0)
        seconds[name] = time.perf_counter() - began
        pairs = zip(got, (shard(x, rank, ranks) for x in expected), strict=True)
        errors[name] = [(x - y).abs().max().item() for x, y in pairs]
    part = POSITIONS // ranks
    plans = {order: Plan(rank, ranks, part, part, causal=True, order=order) for order in ORDERS}
    scores = {order: plan.work() for order, plan in plans.items()}
    return {"errors": errors, "seconds": seconds, "scores": scores}


def page(found: list[dict]) -> str:
    """The ranks' reports as two tables."""
    ranks, part = len(found), POSITIONS // len(found)
    lines = [
        f"A sequence of {POSITIONS} positions on {ranks} ranks, {part} on each: causal attention, "
        f"{HEADS} heads of width {WIDTH}, float64.",
        "",
        "Largest difference from attention in one piece",
        f"{'':16}{'rank':>4}{'output':>11}{'d query':>11}{'d key':>11}{'d value':>11}{'seconds':>11}",
    ]
    for name, rank in product(FUNCTIONS, range(ranks)):
        errors = "".join(f"{error:11.1e}" for error in found[rank]["errors"][name])
        lines.append(f"{name:16}{rank:>4}{errors}{found[rank]['seconds'][name]:11.2f}")
    held = 2 * HEADS * part * WIDTH * 8
    whole = HEADS * POSITIONS**2 * 8
    lines += [
        "",
        "Scores that each computes, holding one contiguous part or an early and a late one (zigzag, as the "
        "ring deals them)",
        f"{'':16}{'rank':>4}" + "".join(f"{order:>12}" for order in ORDERS),
    ]
    for rank in range(ranks):
        counts = "".join(f"{HEADS * found[rank]['scores'][order]:12}" for order in ORDERS)
        lines.append(f"{'':16}{rank:>4}{counts}")
    lines += [
        "",
        f"Keys and values of a rank take {held / 2**20:.2f} MiB; all scores at once would take "
        f"{whole / 2**20:.0f} MiB.",
        "What a rank holds in all is measured by `python benchmarks/ring_memory.py`.",
    ]
    return "\n".join(lines)


def answer(function, query: Tensor, key: Tensor, value: Tensor, weight: Tensor, **options) -> list[Tensor]:
    """Output and gradients, for a loss that weighs each entry of the output."""
    leaves = [x.detach().requires_grad_() for x in (query, key, value)]
    output = function(*leaves, **options).output
    return [output.detach(), *torch.autograd.grad((output * weight).sum(), leaves)]


if __name__ == "__main__":
    main()
