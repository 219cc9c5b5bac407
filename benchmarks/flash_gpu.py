"""The Triton kernels on a GPU against cuDNN, FlashAttention-2 and FlexAttention; but first, are they right?

    python benchmarks/flash_gpu.py [--quick] [--widths 64 128] [--sizes 1024 4096]

bfloat16, batch * n = 16384 and heads * width = 2048 throughout, n from 1024 to 16384, full and causal; then
with a `score_mod` (a soft cap) and with block masks (documents, a window), where FlexAttention alone can do
the same; its compilation is dear, so it runs at three lengths, and no more once `--seconds` have passed.
Forward, and backward alone. Speed is in TFLOP/s, counting the products of the pairs that may
attend: 4 n m d a head forward, 2.5 times that backward, half where causal; what a kernel computes again or
in vain is not counted. Rivals take turns, each turn a burst between two events of the GPU; the median counts.
cuDNN and FlashAttention-2 are torch's own, by `sdpa_kernel`; FlexAttention is compiled.

Correctness comes first, and a fault ends the run: output, lse and gradients within twice the error of plain
attention in bfloat16, by float64, into outputs that held NaN before. In Triton's interpreter
(TRITON_INTERPRET=1) `--check` does the same at small sizes, without a GPU.

Writes benchmarks/results/flash_gpu.json.
"""

import argparse
import contextlib
import json
import math
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import product
from pathlib import Path
from statistics import median
from typing import NamedTuple

import torch
import variants
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.attention.flex_attention import create_block_mask as flex_block_mask
from torch.nn.attention.flex_attention import flex_attention
from torch.nn.functional import scaled_dot_product_attention

from attention_core import attend
from attention_core.flash import create_block_mask, flash_attention

RESULT = variants.ROOT / "benchmarks" / "results" / "flash_gpu.json"
TOKENS, MODEL_WIDTH = 16384, 2048  # batch * n, heads * width
SIZES, QUICK = (1024, 2048, 4096, 8192, 16384), (1024,)
FLEX_SIZES = (1024, 4096, 16384)
WIDTHS = (64, 128)
KINDS = ("full", "causal", "soft cap", "documents", "window")
PASSES = ("forward", "backward")
OURS, BASELINE = "triton", "cudnn"
DOCUMENT, WINDOW = 1000, 512
SECONDS = 0.02  # of GPU time in one turn

# The least share of cuDNN's speed, by pass and width.
LEAST = {("forward", 128): 0.75, ("forward", 64): 0.85, ("backward", 128): 0.60, ("backward", 64): 0.65}


class Case(NamedTuple):
    """One line of the table."""

    way: str  # "forward" or "backward"
    kind: str
    width: int
    n: int

    @property
    def shape(self) -> tuple[int, int, int, int]:
        return max(TOKENS // self.n, 1), MODEL_WIDTH // self.width, self.n, self.width


# -- what is asked of each ---------------------------------------------------------------------------------


def soft_cap(score, b, h, q_idx, kv_idx):
    return 20 * torch.tanh(score / 20)


def documents(b, h, q_idx, kv_idx):
    return (q_idx // DOCUMENT == kv_idx // DOCUMENT) & (q_idx >= kv_idx)


def window(b, h, q_idx, kv_idx):
    return (q_idx >= kv_idx) & (q_idx - kv_idx < WINDOW)


def causal(b, h, q_idx, kv_idx):
    return q_idx >= kv_idx


MASK_MODS = {"documents": documents, "window": window}


def pairs(kind: str, n: int) -> int:
    """How many pairs of a query and a key may attend."""
    if kind == "causal":
        return n * (n + 1) // 2
    if kind == "documents":
        whole, rest = divmod(n, DOCUMENT)
        return whole * pairs("causal", DOCUMENT) + pairs("causal", rest)
    if kind == "window":
        return pairs("causal", min(n, WINDOW)) + max(n - WINDOW, 0) * WINDOW
    return n * n


def flops(case: Case) -> float:
    """Of the products that the equations need, a multiplication and an addition counted as two."""
    batch, heads, n, width = case.shape
    forward = 4 * batch * heads * pairs(case.kind, n) * width  # q k and w v
    return forward if case.way == "forward" else 2.5 * forward  # five products for two


def options(kind: str, n: int, device: str) -> dict:
    """The keyword arguments of `flash_attention`."""
    if kind in MASK_MODS:
        return {"block_mask": create_block_mask(MASK_MODS[kind], None, None, n, n, device=device)}
    return {"causal": {"causal": True}, "soft cap": {"score_mod": soft_cap}}.get(kind, {})


def ours(kind: str, n: int, device: str) -> Callable[..., Tensor]:
    same = options(kind, n, device)
    return lambda *inputs: flash_attention(*inputs, kernel="triton", **same).output


def by_backend(backend: SDPBackend, kind: str, n: int, device: str) -> Callable[..., Tensor]:
    def attention(*inputs):
        with sdpa_kernel(backend):
            return scaled_dot_product_attention(*inputs, is_causal=kind == "causal")

    return attention


def flex(kind: str, n: int, device: str) -> Callable[..., Tensor]:
    mod = causal if kind == "causal" else MASK_MODS.get(kind)
    mask = None if mod is None else flex_block_mask(mod, None, None, n, n, device=device)
    same = {"block_mask": mask, "score_mod": soft_cap if kind == "soft cap" else None}
    return partial(torch.compile(flex_attention, dynamic=False), **same)


MAKERS = {
    OURS: ours,
    BASELINE: partial(by_backend, SDPBackend.CUDNN_ATTENTION),
    "fa2": partial(by_backend, SDPBackend.FLASH_ATTENTION),
    "flex": flex,
}


def rivals(case: Case) -> list[str]:
    """Those who can compute it, FlexAttention only where it is compiled."""
    able = MAKERS if case.kind in ("full", "causal") else (OURS, "flex")
    return [name for name in able if name != "flex" or case.n in FLEX_SIZES]


# -- whether it is right -----------------------------------------------------------------------------------


def checked(kind: str, shape: tuple[int, int, int, int], device: str) -> dict[str, float]:
    """Errors as shares of what is allowed, by result; raises where one is above 1, or not a number."""
    torch.manual_seed(0)
    *inputs, grad = (torch.randn(shape, device=device, dtype=torch.bfloat16) for _ in range(4))
    same = options(kind, shape[-2], device)
    with poisoned():
        actual = with_gradients(lambda *x: flash_attention(*x, kernel="triton", **same), inputs, grad)
    plain = partial(by_matrices, kind)
    golden = with_gradients(plain, [x.double() for x in inputs], grad.double())
    rough = with_gradients(plain, inputs, grad)
    shares = {}
    for name, x, exact, other in zip(("output", "lse", "dq", "dk", "dv"), actual, golden, rough, strict=True):
        low = exact.to(x.dtype)
        slack = 2 * ((low + 0.3 - 0.3).double() - exact).abs().max()
        allowed = 2 * (other.double() - exact).abs().max() + slack
        shares[name] = float((x.double() - exact).abs().max() / allowed)
    bad = {name: share for name, share in shares.items() if not share <= 1}
    if bad:
        raise SystemExit(f"WRONG: {kind}, {shape}: {bad} times the allowed error. Nothing is timed.")
    return shares


def by_matrices(kind: str, query: Tensor, key: Tensor, value: Tensor):
    """The same through whole matrices."""
    batch, heads, n, width = query.shape
    b, h, i, j = (torch.arange(k, device=query.device) for k in (batch, heads, n, n))
    place = (b[:, None, None, None], h[:, None, None], i[:, None], j)
    mod = causal if kind == "causal" else MASK_MODS.get(kind)

    def score(q, k):
        scores = q @ k.mT / math.sqrt(width)
        return soft_cap(scores, *place) if kind == "soft cap" else scores

    return attend(query, key, value, score=score, mask=None if mod is None else mod(*place))


def with_gradients(function: Callable, inputs: Sequence[Tensor], grad: Tensor) -> list[Tensor]:
    leaves = [x.detach().requires_grad_() for x in inputs]
    attended = function(*leaves)
    grads = torch.autograd.grad(attended.output, leaves, grad)
    return [x.detach() for x in (attended.output, attended.lse, *grads)]


@contextlib.contextmanager
def poisoned() -> Iterator[None]:
    """New memory holds NaN, so that what a kernel forgets to write is seen."""
    before = torch.utils.deterministic.fill_uninitialized_memory, torch.are_deterministic_algorithms_enabled()
    torch.utils.deterministic.fill_uninitialized_memory = True
    torch.use_deterministic_algorithms(True, warn_only=True)
    try:
        yield
    finally:
        torch.utils.deterministic.fill_uninitialized_memory = before[0]
        torch.use_deterministic_algorithms(before[1])


def check_all(device: str, small: bool) -> list[dict]:
    sizes = [(1, 2, 40, 16)] if small else [(2, 3, 2000, 64), (1, 2, 2000, 128)]  # no whole number of tiles
    found = []
    for kind, shape in product(KINDS, sizes):
        shares = checked(kind, shape, device)
        worst = max(shares, key=shares.get)
        print(
            f"right: {kind:10} {shape}: at most {shares[worst]:.2f} of the error allowed ({worst})",
            flush=True,
        )
        found.append({"kind": kind, "shape": shape, "shares": shares})
    return found


# -- how fast it is ----------------------------------------------------------------------------------------


def measured(case: Case, repeats: int, device: str, late: bool = False) -> list[dict]:
    """A row a rival; one that cannot run says why, and our own kernel must."""
    torch.compiler.reset()  # or the ninth length would meet the limit on recompilations, and run unfused
    torch.manual_seed(0)
    *inputs, grad = (torch.randn(case.shape, device=device, dtype=torch.bfloat16) for _ in range(4))
    calls, rows = {}, []
    for name in rivals(case):
        if late and name == "flex":
            rows.append(case._asdict() | {"rival": name, "failed": "left out, to end in time"})
            continue
        try:
            calls[name] = prepared(case.way, MAKERS[name](case.kind, case.n, device), inputs, grad)
            calls[name]()  # compiles
        except RuntimeError as error:
            if name == OURS:
                raise
            calls.pop(name, None)
            rows.append(case._asdict() | {"rival": name, "failed": str(error).partition("\n")[0][:200]})
    times = {name: math.ceil(SECONDS / max(burst(call, 3), 1e-6)) for name, call in calls.items()}
    turns = [{name: burst(call, times[name]) for name, call in calls.items()} for _ in range(repeats)]
    return [row(case, name, [turn[name] for turn in turns]) for name in calls] + rows


def prepared(way: str, function: Callable, inputs: Sequence[Tensor], grad: Tensor) -> Callable[[], object]:
    if way == "forward":
        return torch.no_grad()(partial(function, *inputs))
    leaves = [x.detach().requires_grad_() for x in inputs]
    output = function(*leaves)
    return lambda: torch.autograd.grad(output, leaves, grad, retain_graph=True)


def burst(call: Callable[[], object], times: int) -> float:
    """Seconds of one call, on the GPU's own clock."""
    start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    start.record()
    for _ in range(times):
        call()
    end.record()
    end.synchronize()
    return start.elapsed_time(end) / 1e3 / times


def row(case: Case, name: str, repeats: list[float]) -> dict:
    seconds = median(repeats)
    speed = flops(case) / seconds / 1e12
    return case._asdict() | {"rival": name, "seconds": seconds, "repeats": repeats, "tflops": speed}


def ratio(rows: Sequence[dict], case: Case, other: str) -> float | None:
    """Our speed as a multiple of another's."""
    speeds = {
        r["rival"]: r["tflops"] for r in rows if Case(*(r[x] for x in Case._fields)) == case and "tflops" in r
    }
    return speeds[OURS] / speeds[other] if {OURS, other} <= speeds.keys() else None


def targets(rows: Sequence[dict]) -> list[dict]:
    """What was aimed at, the worst that was reached, and whether that is enough."""
    cases = list(dict.fromkeys(Case(*(r[x] for x in Case._fields)) for r in rows))
    aims = [
        (f"{way}, width {width}: of cuDNN's speed", least, BASELINE, (way, width, ("full", "causal")))
        for (way, width), least in LEAST.items()
    ]
    aims.append(("forward, width 128: of FlashAttention-2's speed", 1.2, "fa2", ("forward", 128, KINDS)))
    aims += [(f"{way}: of FlexAttention's speed", 1.0, "flex", (way, None, KINDS)) for way in PASSES]
    found = []
    for what, least, other, (way, width, kinds) in aims:
        chosen = [c for c in cases if c.way == way and width in (None, c.width) and c.kind in kinds]
        reached = [x for x in (ratio(rows, c, other) for c in chosen) if x is not None]
        if reached:
            found.append(
                {"what": what, "least": least, "reached": min(reached), "met": min(reached) >= least}
            )
    return found


def table(rows: Sequence[dict]) -> str:
    """TFLOP/s by case, a column a rival, and our share of the best other."""
    lines = [
        f"{'pass':8} {'kind':9} {'width':>5} {'n':>5} "
        + " ".join(f"{name:>7}" for name in MAKERS)
        + "  to best"
    ]
    for case in dict.fromkeys(Case(*(r[x] for x in Case._fields)) for r in rows):
        own = {r["rival"]: r.get("tflops") for r in rows if Case(*(r[x] for x in Case._fields)) == case}
        cells = " ".join(f"{own[name]:7.0f}" if own.get(name) else f"{'-':>7}" for name in MAKERS)
        others = [speed for name, speed in own.items() if name != OURS and speed]
        share = f"{own[OURS] / max(others):9.2f}" if own.get(OURS) and others else f"{'-':>9}"
        lines.append(f"{case.way:8} {case.kind:9} {case.width:5} {case.n:5} {cells}{share}")
    return "\n".join(lines)


# -- the run -----------------------------------------------------------------------------------------------


def hardware() -> dict:
    """GPU, driver and versions."""
    import triton

    ask = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
    driver = subprocess.run(ask, capture_output=True, text=True, check=False).stdout.split("\n")[0].strip()
    names = {
        "gpu": torch.cuda.get_device_name(),
        "driver": driver or "unknown",
        "cuda": torch.version.cuda,
        "cudnn": torch.backends.cudnn.version(),
        "triton": triton.__version__,
    }
    return names | {name: variants.how(0, False)[name] for name in ("python", "torch", "commit", "date")}


def no_gpu() -> str | None:
    """Why nothing can be measured here, with the remedy."""
    if not torch.cuda.is_available():
        return (
            f"No GPU: torch {torch.__version__} sees none. Run this on a machine with an NVIDIA GPU and a "
            "torch built for CUDA; without one, `TRITON_INTERPRET=1 python benchmarks/flash_gpu.py --check` "
            "tries the kernels at small sizes."
        )
    if os.environ.get("TRITON_INTERPRET") == "1":
        return "TRITON_INTERPRET=1 is set, so the kernels would be interpreted. Unset it to measure."
    return None


def parsed(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="n = 1024 alone, three repeats")
    parser.add_argument("--check", action="store_true", help="only whether the kernels are right")
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=KINDS)
    parser.add_argument("--passes", nargs="+", choices=PASSES, default=PASSES)
    parser.add_argument("--widths", nargs="+", type=int, choices=(16, 32, 64, 128, 256), default=WIDTHS)
    parser.add_argument("--sizes", nargs="+", type=int, default=None)
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--seconds", type=float, default=450, help="the time after which flex is left out")
    parser.add_argument("--output", type=Path, default=RESULT)
    options = parser.parse_args(arguments)
    options.sizes = options.sizes or (QUICK if options.quick else SIZES)
    options.repeats = 3 if options.quick else options.repeats
    return options


def main() -> None:
    asked = parsed()
    interpreted = asked.check and os.environ.get("TRITON_INTERPRET") == "1"
    if (why := no_gpu()) and not interpreted:
        sys.exit(why)
    device = "cpu" if interpreted else "cuda"
    checks = check_all(device, small=interpreted)
    if asked.check:
        return
    rows, start = [], time.monotonic()
    for case in map(Case._make, product(asked.passes, asked.kinds, asked.widths, asked.sizes)):
        rows += measured(case, asked.repeats, device, late=time.monotonic() - start > asked.seconds)
        print(table(rows).splitlines()[-1], flush=True)
    how = hardware() | {
        "setting": f"bfloat16, batch * n = {TOKENS}, heads * width = {MODEL_WIDTH}",
        "time": f"GPU events, median of {asked.repeats} turns of about {SECONDS} s, rivals taking turns",
        "repeats": asked.repeats,
        "quick": asked.quick,
    }
    result = {"how": how, "targets": targets(rows), "checks": checks, "rows": rows}
    asked.output.parent.mkdir(parents=True, exist_ok=True)
    asked.output.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    print(table(rows))
    for target in result["targets"]:
        verdict = "met" if target["met"] else "MISSED"
        print(f"{target['what']}: {target['reached']:.2f}, at least {target['least']}: {verdict}")
    print(f"written to {asked.output}")


if __name__ == "__main__":
    main()
