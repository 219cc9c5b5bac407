"""Flash attention on a CPU against torch's own: time forward and backward, and extra memory.

    python benchmarks/flash_cpu.py [--quick] [--repeats 9]

Batch 1, 8 heads of width 64, float32, one thread, full and causal. Time is process CPU time. Each case (a
pass, a mask, a length) is measured in a process of its own, where the rivals take turns: a ratio is the
median, over the turns, of one time by torch SDPA's in the same turn, so that a slow second of the machine
hits both. The spread is from the quarter to the three-quarter point of those ratios. Before anything is
timed, all must agree with SDPA.

Rivals: `flash` is `flash_attention`, `sdpa` torch's `scaled_dot_product_attention`, `flex` FlexAttention
compiled for the CPU (forward only, it has no backward there). Backward is the backward pass alone.

Extra memory, at n = 4096: how far one call raises the resident set above what it was with its inputs there,
each rival in a process of its own. The output (8 MB) is in it, forward, and the three gradients too,
backward. `standard` is `attend`, which holds all pairs.

Writes benchmarks/results/flash_cpu.json.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
from collections.abc import Callable, Sequence
from functools import partial
from itertools import product
from math import ceil
from pathlib import Path
from statistics import median, quantiles

import torch
import variants
from torch.nn.attention.flex_attention import create_block_mask, flex_attention
from torch.nn.functional import scaled_dot_product_attention

from attention_core import attend, masks
from attention_core.flash import flash_attention

RESULT = variants.ROOT / "benchmarks" / "results" / "flash_cpu.json"
HEADS, WIDTH = 8, 64
SIZES, QUICK = (1024, 2048, 4096, 8192), (256,)
MEMORY_SIZE, QUICK_MEMORY_SIZE = 4096, 512
PASSES, MASKS = ("forward", "backward"), ("full", "causal")
RIVALS = {"forward": ("sdpa", "flash", "flex"), "backward": ("sdpa", "flash")}
REMEMBERING = ("sdpa", "flash", "standard")
MB = 1e6

# From 4096 keys on: the most that `flash` may take of SDPA's time; and of memory, forward.
LONG = 4096
MOST = {("forward", "full"): 1.3, ("forward", "causal"): 1.5, ("backward", "full"): 1.25}
MOST |= {("backward", "causal"): 1.25}
MOST_EXTRA = 30 * MB


# -- the rivals --------------------------------------------------------------------------------------------


def rival(name: str, n: int, causal: bool) -> Callable[..., torch.Tensor]:
    """A function of query, key and value that returns the output."""
    if name == "sdpa":
        return partial(scaled_dot_product_attention, is_causal=causal)
    if name == "flash":
        return lambda *inputs: flash_attention(*inputs, causal=causal, kernel="blockwise").output
    if name == "standard":
        mask = masks.causal(n, n) if causal else None
        return lambda *inputs: attend(*inputs, mask=mask).output
    block_mask = None
    if causal:
        block_mask = create_block_mask(lambda b, h, i, j: i >= j, None, None, n, n, device="cpu")
    return partial(torch.compile(flex_attention, dynamic=False), block_mask=block_mask)


def inputs(n: int, backward: bool = False) -> list[torch.Tensor]:
    torch.manual_seed(0)
    return [torch.randn(1, HEADS, n, WIDTH, requires_grad=backward) for _ in range(3)]


def prepared(way: str, function: Callable, sequences: list[torch.Tensor]) -> Callable[[], object]:
    """The call to measure. Backward: the graph is there, and kept, so that it alone is in the call."""
    if way == "forward":
        return torch.inference_mode()(partial(function, *sequences))
    output = function(*sequences)
    grad = torch.ones_like(output)
    return lambda: torch.autograd.grad(output, sequences, grad, retain_graph=True)


# -- time --------------------------------------------------------------------------------------------------


def timed(way: str, mask: str, n: int, repeats: int) -> list[dict]:
    """One row a rival: its times, and their ratios to SDPA's of the same turn."""
    sequences = inputs(n, way == "backward")
    calls = {name: prepared(way, rival(name, n, mask == "causal"), sequences) for name in RIVALS[way]}
    check_agreement(calls)
    times = {name: ceil(variants.SHORTEST / variants.seconds(call)) for name, call in calls.items()}
    turns = [
        {name: variants.seconds(call, times[name]) for name, call in calls.items()} for _ in range(repeats)
    ]
    return [row(way, mask, n, name, turns) for name in calls]


def row(way: str, mask: str, n: int, name: str, turns: Sequence[dict[str, float]]) -> dict:
    own = [turn[name] for turn in turns]
    ratios = [turn[name] / turn["sdpa"] for turn in turns]
    low, _, high = quantiles(ratios, n=4, method="inclusive")
    return {
        "pass": way, "mask": mask, "n": n, "rival": name, "seconds": median(own), "repeats": own,
        "to_sdpa": median(ratios), "low": low, "high": high,
    }  # fmt: skip


def check_agreement(calls: dict[str, Callable]) -> None:
    """Whoever computes something else has no time worth knowing."""
    expected = listed(calls["sdpa"]())
    for name, call in calls.items():
        for actual, wanted in zip(listed(call()), expected, strict=True):
            torch.testing.assert_close(actual, wanted, atol=1e-4, rtol=1e-4, msg=lambda m: f"{name}: {m}")  # noqa: B023


def listed(result: object) -> Sequence[torch.Tensor]:
    return result if isinstance(result, tuple | list) else [result]


# -- memory ------------------------------------------------------------------------------------------------


def extra_memory(way: str, mask: str, n: int, name: str) -> dict:
    """Bytes that the process grows by, at most, during one call; this process has done nothing before."""
    for size in (128, n):  # the first leaves behind what stays: code, threads, small buffers
        call = prepared(way, rival(name, size, mask == "causal"), inputs(size, way == "backward"))
        before, kept = resident(), call()
    # Upper bound: had imports once taken more than the call, it would be charged with the difference.
    grown = most_resident() - before
    del kept
    return {"pass": way, "mask": mask, "n": n, "rival": name, "bytes": grown}


def resident() -> int:
    """Bytes of this process in memory now; without Linux's file, the most so far."""
    try:
        return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()
    except OSError:
        return most_resident()


def most_resident() -> int:
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


# -- all cases ---------------------------------------------------------------------------------------------


def alone(*case: object) -> list[dict]:
    """`case` in a process of its own; what it measured."""
    command = [sys.executable, __file__, "--case", *map(str, case)]
    environment = dict(os.environ)
    if case[0] == "memory":  # what is freed goes back to the system, or a call could live on what was there
        environment["MALLOC_MMAP_THRESHOLD_"] = environment["MALLOC_TRIM_THRESHOLD_"] = "65536"
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, env=environment)
    return json.loads(done.stdout.splitlines()[-1])


def case(kind: str, way: str, mask: str, n: str, last: str) -> list[dict]:
    if kind == "time":
        variants.settle_allocator()
        return timed(way, mask, int(n), int(last))
    return [extra_memory(way, mask, int(n), last)]


def run(quick: bool, repeats: int) -> tuple[list[dict], list[dict]]:
    rows, memory = [], []
    for way, mask, n in product(PASSES, MASKS, QUICK if quick else SIZES):
        rows += alone("time", way, mask, n, repeats)
        print(told(rows[-len(RIVALS[way]) :]), flush=True)
    memory_size = QUICK_MEMORY_SIZE if quick else MEMORY_SIZE
    for way, mask in [("forward", "full")] if quick else product(PASSES, MASKS):
        for name in REMEMBERING:
            memory += alone("memory", way, mask, memory_size, name)
        held = "  ".join(f"{found['rival']} {found['bytes'] / MB:.0f} MB" for found in memory[-3:])
        print(f"{way:8} {mask:6} n = {memory_size:4}: {held}", flush=True)
    return rows, memory


def told(rows: Sequence[dict]) -> str:
    first = rows[0]
    said = [f"{first['pass']:8} {first['mask']:6} n = {first['n']:4}: sdpa {1e3 * first['seconds']:.0f} ms"]
    said += [
        f"{row['rival']} x {row['to_sdpa']:.2f} ({row['low']:.2f}-{row['high']:.2f})" for row in rows[1:]
    ]
    return "  ".join(said)


def targets(rows: Sequence[dict], memory: Sequence[dict]) -> list[dict]:
    """What was aimed at, the worst that was reached, and whether that is enough."""
    found = []
    for (way, mask), most in MOST.items():
        reached = [row["to_sdpa"] for row in ours(rows, way, mask) if row["n"] >= LONG]
        found += [(f"{way}, {mask}, n >= {LONG}", most, max(reached))] if reached else []
    for mask in MASKS:
        held = [row["bytes"] for row in ours(memory, "forward", mask)]
        found += [(f"extra bytes forward, {mask}", MOST_EXTRA, max(held))] if held else []
    return [{"what": what, "most": most, "reached": x, "met": x <= most} for what, most, x in found]


def ours(rows: Sequence[dict], way: str, mask: str) -> list[dict]:
    return [row for row in rows if (row["pass"], row["mask"], row["rival"]) == (way, mask, "flash")]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="one small size, two repeats: to see it run")
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--output", type=Path, default=RESULT)
    parser.add_argument("--case", nargs=5, help=argparse.SUPPRESS)  # what `alone` runs
    options = parser.parse_args()
    torch.set_num_threads(1)
    if options.case:
        print(json.dumps(case(*options.case)))
        return
    repeats = 2 if options.quick else options.repeats
    how = variants.how(repeats, options.quick) | {
        "setting": f"float32, batch 1, {HEADS} heads of width {WIDTH}, one thread, each case a process",
        "time": "process CPU time; ratios to SDPA by turn: median, and quarter to three-quarter point",
        "memory": "how far one call raised the resident set, results included",
    }
    rows, memory = run(options.quick, repeats)
    result = {"how": how, "targets": targets(rows, memory), "memory": memory, "rows": rows}
    options.output.parent.mkdir(parents=True, exist_ok=True)
    options.output.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    for target in result["targets"]:
        verdict = "met" if target["met"] else "MISSED"
        print(f"{target['what']}: {target['reached']:.4g}, at most {target['most']:.4g}: {verdict}")
    print(f"written to {options.output}")


if __name__ == "__main__":
    main()
