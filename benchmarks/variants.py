"""What each family of attention costs as the sequence grows: time and memory against n.

    python benchmarks/variants.py [--quick] [--families linear delta_rule]

Forward only, batch 1, 8 heads of width 64 (modules: width 512, their projections included), float32, one
thread. Time is process CPU time: the median of the repeats, in each of which the families take turns, so
that a slow second of the machine hits all alike. Memory is the most that torch held at once during a call
beyond its inputs, from the profiler's record of every allocation: exact, and free of what the process held
before. A family stops where the next size would pass 2 seconds or 2 GB, and the file says so.

Writes benchmarks/results/variants.json; the page "The variants at a glance" draws it.
"""

import argparse
import contextlib
import datetime
import json
import os
import platform
import subprocess
import time
from collections.abc import Callable, Sequence
from math import ceil
from pathlib import Path
from statistics import median

import numpy as np
import torch
from torch.profiler import ProfilerActivity, profile
from variant_families import BASELINE, FAMILIES, HEADS, WIDTH

from attention_core.models.runs import processor

ROOT = Path(__file__).resolve().parent.parent
RESULT = ROOT / "benchmarks" / "results" / "variants.json"
SIZES, QUICK = (tuple(2**power for power in powers) for powers in (range(6, 14), range(4, 8)))
MOST_SECONDS, MOST_BYTES = 2.0, 2e9
SHORTEST = 0.02  # seconds: a shorter call is repeated until the clock can see it
FITTED = 4  # sizes in a fit, the largest ones


# -- measuring ---------------------------------------------------------------------------------------------


def seconds(call: Callable[[], object], times: int = 1) -> float:
    start = time.process_time()
    for _ in range(times):
        call()
    return (time.process_time() - start) / times


def settle_allocator() -> None:
    """Have freed memory kept: glibc hands blocks back to the system up to the size of the largest it has
    seen freed, and a call would pay, or not, for faulting its pages in again (1.0 or 1.8 ms, by chance)."""
    torch.empty(31 << 18)  # just under the 32 MB where its limit ends


def peak_bytes(call: Callable[[], object]) -> int:
    """The most that torch held at once during `call`, beyond what was there before."""
    os.environ.setdefault("KINETO_LOG_LEVEL", "99")  # the profiler would write two lines a call
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as record:
        kept = call()
    del kept
    events = record.profiler.kineto_results.events()
    sizes = [(event.start_ns(), event.nbytes()) for event in events if event.name() == "[memory]"]
    held = np.cumsum([size for _, size in sorted(sizes, key=lambda pair: pair[0])])
    return int(max(held.max(initial=0), 0))


def growth(rows: Sequence[dict], what: str) -> float:
    """What the next size will cost if it grows as the last step did, but two- to fourfold."""
    last = rows[-1][what]
    before = rows[-2][what] if len(rows) > 1 else last / 2
    return last * min(max(last / max(before, 1e-9), 2.0), 4.0)


def stopped(rows: Sequence[dict]) -> str:
    """Why a family goes no further, or nothing."""
    if not rows:
        return ""
    n = 2 * rows[-1]["n"]
    if growth(rows, "peak_bytes") > MOST_BYTES:
        return f"n = {n} would need more than {MOST_BYTES / 1e9:g} GB by the growth so far"
    if growth(rows, "seconds") > MOST_SECONDS:
        return f"n = {n} would take more than {MOST_SECONDS:g} s by the growth so far"
    return ""


def measure(n: int, calls: dict[str, Callable], repeats: int) -> list[dict]:
    """One row a family at this size, the families taking turns."""
    times = {name: ceil(SHORTEST / max(seconds(call), 1e-6)) for name, call in calls.items()}  # warms up too
    timed: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(repeats):
        for name, call in calls.items():
            timed[name].append(seconds(call, times[name]))
    rows = []
    for name, call in calls.items():
        took = {"seconds": median(timed[name]), "repeats": timed[name]}
        rows.append({"family": name, "n": n, **took, "peak_bytes": peak_bytes(call)})
    return rows


def prepared(names: Sequence[str], n: int) -> dict[str, Callable]:
    calls = {}
    for name in names:
        torch.manual_seed(0)
        calls[name] = FAMILIES[name].make(n)
    return calls


@torch.inference_mode()
def run(names: Sequence[str], sizes: Sequence[int], repeats: int) -> tuple[list[dict], dict[str, str]]:
    rows: list[dict] = []
    ended: dict[str, str] = {}
    for n in sizes:
        for name in names:
            reason = stopped([row for row in rows if row["family"] == name])
            if reason and name not in ended:
                ended[name] = reason
        calls = prepared([name for name in names if name not in ended], n)
        rows += measure(n, calls, repeats)
        told = (f"{row['family']} {1e3 * row['seconds']:.3g} ms" for row in rows if row["n"] == n)
        print(f"n = {n:5}:", "  ".join(told), flush=True)
    return rows, ended


# -- what the numbers say ----------------------------------------------------------------------------------


def fit(sizes: Sequence[int], values: Sequence[float]) -> dict:
    """Exponent of n by least squares in logarithms over the largest sizes; `low` and `high` are the
    smallest and largest exponent of a single doubling among them."""
    x, y = np.log2(sizes[-FITTED:]), np.log2(values[-FITTED:])
    steps = np.diff(y) / np.diff(x)
    exponent = np.polyfit(x, y, 1)[0]
    return {
        "exponent": float(exponent),
        "low": float(steps.min()),
        "high": float(steps.max()),
        "from": int(sizes[-FITTED:][0]),
        "to": int(sizes[-1]),
    }


def summary(rows: Sequence[dict]) -> dict[str, dict]:
    """By family: fitted exponents of time and memory, and the time as a multiple of the baseline's."""
    base = {row["n"]: row["seconds"] for row in rows if row["family"] == BASELINE}
    found = {}
    for name in dict.fromkeys(row["family"] for row in rows):
        own = [row for row in rows if row["family"] == name]
        found[name] = {
            "to_baseline": {str(row["n"]): row["seconds"] / base[row["n"]] for row in own if row["n"] in base}
        }
        if len(own) >= FITTED:
            for what in ("seconds", "peak_bytes"):
                found[name][what] = fit([row["n"] for row in own], [row[what] for row in own])
    return found


def there() -> list[str]:
    """The families whose functions the library has."""
    found = []
    for name, family in FAMILIES.items():
        with contextlib.suppress(ImportError, AttributeError):
            family.make(min(QUICK))
            found.append(name)
    return found


def revision() -> str:
    git = subprocess.run(
        ["git", "-C", str(ROOT), "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False
    )
    return git.stdout.strip() or "unknown"


def how(repeats: int, quick: bool) -> dict:
    return {
        "setting": f"forward, float32, batch 1, {HEADS} heads of width {WIDTH}, one thread",
        "time": f"process CPU time, median of {repeats} repeats, families taking turns",
        "memory": "most bytes that torch held at once beyond the inputs, from its profiler's record",
        "repeats": repeats,
        "quick": quick,
        "processor": processor(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "commit": revision(),
        "date": datetime.date.today().isoformat(),
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="four small sizes, two repeats: to see it run")
    parser.add_argument("--families", nargs="+", choices=list(FAMILIES), help="these beside the baseline")
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--output", type=Path, default=RESULT)
    options = parser.parse_args()
    torch.set_num_threads(1)
    settle_allocator()
    names = [name for name in there() if not options.families or name in {BASELINE, *options.families}]
    repeats = 2 if options.quick else options.repeats
    rows, ended = run(names, QUICK if options.quick else SIZES, repeats)
    kept = ("title", "note", "comparable")
    families = {name: {field: getattr(FAMILIES[name], field) for field in kept} for name in names}
    result = {"how": how(repeats, options.quick), "families": families, "stopped": ended}
    result |= {"summary": summary(rows), "rows": rows}
    options.output.parent.mkdir(parents=True, exist_ok=True)
    options.output.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    print(f"written to {options.output}")


if __name__ == "__main__":
    main()
