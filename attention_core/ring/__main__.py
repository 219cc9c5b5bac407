"""Ring attention to look at: `torchrun --nproc-per-node 2 -m attention_core.ring`, on any computer."""

import os
import time
from datetime import timedelta

import torch
import torch.distributed as dist
from torch import Tensor

from attention_core import masks, pipeline
from attention_core.ring import head_exchange_attention, ring_attention, shard
from attention_core.ring.orders import Plan

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
        reports = [None] * ranks
        dist.all_gather_object(reports, report(rank, ranks))
        if rank == 0:
            print(headline(ranks), *reports, sep="\n", flush=True)
    finally:
        dist.destroy_process_group()


def headline(ranks: int) -> str:
    return (
        f"Causal attention: {ranks} ranks, {POSITIONS} positions, {HEADS} heads of width {WIDTH}, float64.\n"
        "Differences from attention in one piece, of the output and of the largest gradient."
    )


def report(rank: int, ranks: int) -> str:
    """What one rank holds, computes and finds."""
    torch.manual_seed(0)  # every rank draws the whole sequence, to compare; it would not where it matters
    whole = [torch.randn(HEADS, POSITIONS, WIDTH, dtype=torch.float64) for _ in range(4)]
    expected = answer(pipeline.attend, *whole, mask=masks.causal(POSITIONS))
    lines = []
    for name, function in (("ring", ring_attention), ("head exchange", head_exchange_attention)):
        began = time.perf_counter()
        got = answer(function, *(shard(x, rank, ranks) for x in whole), causal=True, timeout=60.0)
        seconds = time.perf_counter() - began
        errors = [(x - shard(y, rank, ranks)).abs().max().item() for x, y in zip(got, expected, strict=True)]
        lines.append(f"  {name}: {errors[0]:.1e}, {max(errors[1:]):.1e} in {seconds:.2f} s")
    part = POSITIONS // ranks
    scores = {
        order: Plan(rank, ranks, part, part, causal=True, order=order).work()
        for order in ("contiguous", "zigzag")
    }
    held = 2 * HEADS * part * WIDTH * 8
    return "\n".join(
        [
            f"rank {rank}: keys and values of {part} positions, {held / 2**20:.2f} MiB; scores a head: "
            f"{scores['zigzag']} in zigzag order, {scores['contiguous']} in contiguous",
            *lines,
        ]
    )


def answer(function, query: Tensor, key: Tensor, value: Tensor, weight: Tensor, **options) -> list[Tensor]:
    """Output and gradients, for a loss that weighs each entry of the output."""
    leaves = [x.detach().requires_grad_() for x in (query, key, value)]
    output = function(*leaves, **options).output
    return [output.detach(), *torch.autograd.grad((output * weight).sum(), leaves)]


if __name__ == "__main__":
    main()
