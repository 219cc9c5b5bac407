"""What a rank of ring attention holds, measured: one sequence in one piece, and on 1, 2, 4 and 8 processes.

    python benchmarks/ring_memory.py [--positions 2048] [--ranks 1 2 4 8]

Causal attention, forward and backward, float32, gloo. Counted on every rank: its inputs, by their size, and
the most bytes that torch held at once beyond them, from the profiler's record of every allocation: output,
gradients, the blocks that travel, the scores of one tile.

"In one piece" is `pipeline.attend`, whose scores are n x n. One rank alone has no more than a tile of them,
and nothing travels. Of two ranks and more each holds keys, values and their gradients also while they arrive
and leave: beside what is its own, up to five times the keys and values of one rank. What a rank holds depends
on n / p, the tile apart: twice the ranks, half the memory, or the same for a text twice as long.

Writes benchmarks/results/ring_memory.json.
"""

import argparse
import datetime
import json
import multiprocessing
import os
import platform
import tempfile
from pathlib import Path

import torch
import torch.distributed as dist
from variants import peak_bytes, revision

from attention_core import masks, pipeline
from attention_core.models.runs import processor
from attention_core.ring import orders, ring_attention, shard

ROOT = Path(__file__).resolve().parent.parent
RESULT = ROOT / "benchmarks" / "results" / "ring_memory.json"
HEADS, WIDTH, TILE = 4, 64, 128


def gradients(function, *inputs: torch.Tensor, **options) -> list[torch.Tensor]:
    """Output and gradients, all held at the end."""
    output = function(*inputs, **options).output
    return [output, *torch.autograd.grad(output.sum(), inputs)]


def in_one_piece(positions: int) -> dict:
    inputs = [torch.randn(HEADS, positions, WIDTH, requires_grad=True) for _ in range(3)]
    mask = masks.causal(positions)
    peak = peak_bytes(lambda: gradients(pipeline.attend, *inputs, mask=mask))
    return {"ranks": 0, "rank": 0, "input_bytes": sum(x.nbytes for x in inputs), "peak_bytes": peak}


def measure(rank: int, ranks: int, positions: int, folder: str) -> None:
    """One rank: what its inputs take, and the peak beyond them; written to a file of its own."""
    torch.set_num_threads(1)
    store = dist.FileStore(f"{folder}/store-{ranks}", ranks)
    dist.init_process_group("gloo", store=store, rank=rank, world_size=ranks)
    generator = torch.Generator().manual_seed(0)
    whole = [torch.randn(HEADS, positions, WIDTH, generator=generator) for _ in range(3)]
    query, key, value = (shard(x, rank, ranks).requires_grad_() for x in whole)
    del whole

    orders.TILE = TILE
    row = {
        "ranks": ranks,
        "rank": rank,
        "input_bytes": sum(x.nbytes for x in (query, key, value)),
        "peak_bytes": peak_bytes(lambda: gradients(ring_attention, query, key, value, causal=True)),
    }
    Path(folder, f"{ranks}-{rank}.json").write_text(json.dumps(row), encoding="utf-8")
    dist.barrier()
    dist.destroy_process_group()


def run(counts: list[int], positions: int) -> list[dict]:
    """One row a process."""
    context, rows = multiprocessing.get_context("spawn"), []
    with tempfile.TemporaryDirectory() as folder:
        for ranks in counts:
            processes = [
                context.Process(target=measure, args=(rank, ranks, positions, folder))
                for rank in range(ranks)
            ]
            for process in processes:
                process.start()
            for process in processes:
                process.join()
            if any(process.exitcode for process in processes):
                raise SystemExit(f"A process of {ranks} failed; its message stands above.")
            files = [Path(folder, f"{ranks}-{rank}.json") for rank in range(ranks)]
            rows += [json.loads(file.read_text(encoding="utf-8")) for file in files]
    return rows


def summary(rows: list[dict]) -> dict[str, dict]:
    """By number of ranks, 0 for one piece: what the fullest rank holds, and as a part of the row before."""
    found, before = {}, None
    for ranks in sorted({row["ranks"] for row in rows}):
        held = max(row["input_bytes"] + row["peak_bytes"] for row in rows if row["ranks"] == ranks)
        found[str(ranks)] = {"held_bytes": held, "to_before": None if before is None else held / before}
        before = held
    return found


def table(rows: list[dict]) -> str:
    lines = [f"{'ranks':>12}  {'inputs':>10}  {'beyond them':>12}  {'together':>10}  to the row before"]
    for ranks, found in summary(rows).items():
        own = max((row for row in rows if str(row["ranks"]) == ranks), key=lambda row: row["peak_bytes"])
        sizes = (own["input_bytes"], own["peak_bytes"], found["held_bytes"])
        cells = (f"{size / 2**20:.2f} MiB" for size in sizes)
        ratio = "" if found["to_before"] is None else f"{found['to_before']:.2f}"
        name = "in one piece" if ranks == "0" else ranks
        lines.append("{:>12}  {:>10}  {:>12}  {:>10}  {}".format(name, *cells, ratio))
    return "\n".join(lines)


def how(positions: int) -> dict:
    return {
        "setting": f"causal, forward and backward, float32, {HEADS} heads of width {WIDTH}, gloo",
        "memory": "most bytes that torch held at once beyond the inputs, from its profiler's record",
        "positions": positions,
        "tile": TILE,
        "processor": processor(),
        "cores": os.cpu_count(),
        "threads": 1,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "commit": revision(),
        "date": datetime.date.today().isoformat(),
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--positions", type=int, default=2048)
    parser.add_argument("--ranks", type=int, nargs="+", default=[1, 2, 4, 8])
    parser.add_argument("--output", type=Path, default=RESULT)
    options = parser.parse_args()
    rows = [in_one_piece(options.positions), *run(options.ranks, options.positions)]
    print(f"{options.positions} positions, {HEADS} heads of width {WIDTH}; the fullest of the ranks\n")
    print(table(rows))
    result = {"how": how(options.positions), "summary": summary(rows), "rows": rows}
    options.output.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    print(f"written to {options.output}")


if __name__ == "__main__":
    main()
