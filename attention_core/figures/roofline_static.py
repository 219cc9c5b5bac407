"""The static picture of `Roofline`, and its sentence: the Python twin of roofline.js."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import ROUND_HALF_UP, Decimal
from math import floor, log2
from numbers import Real
from typing import Any, NamedTuple

from attention_core.figures.static import Markup, fixed, h

COLS = 64  # keys a tile
NAMES = {"standard": "standard", "tiled": "tiled", "once": "inputs once"}
GROWTH = "Against n, both axes logarithmic: a straight line is a power of n, its slope the exponent"
ARITHMETIC = "how fast it can compute at so many operations a byte"
TIMES = (
    "A bound, not a measurement: the longer of arithmetic at the peak rate and traffic at full bandwidth, if "
    "all traffic counted reaches slow memory. A cache may serve what is read again: the least that any "
    "schedule needs is that of inputs once."
)
Range = tuple[Real, Real]  # ends of a logarithmic axis
LENGTHS, FLOPS, BYTES = (2.0**7, 2.0**20), (1e6, 1e16), (1e4, 1e14)
INTENSITY, RATE = (2.0**2, 2.0**19), (0.5e12, 4e15)


class Counts(NamedTuple):
    """One head, forward."""

    flops: int
    bytes: int
    sram: int

    @property
    def intensity(self) -> float:
        return self.flops / self.bytes


Schedules = Mapping[str, Counts]


@dataclass(frozen=True)
class GPU:
    """A GPU by its published numbers."""

    name: str
    peak: Real  # FLOP/s of dense bfloat16 products
    bandwidth: Real  # bytes/s of its slow memory
    sram: Real  # bytes of fast memory in one multiprocessor: shared memory and registers
    citation: str = ""  # key in book/references.bib

    @property
    def ridge(self) -> float:
        """Operations a byte from which on it waits for arithmetic, not for memory."""
        return self.peak / self.bandwidth

    @property
    def sent(self) -> dict[str, Any]:
        """What its view needs to know."""
        return {k: getattr(self, k) for k in ("name", "peak", "bandwidth", "sram")} | {
            "published": bool(self.citation)
        }

    def times(self, counts: Counts) -> tuple[float, float]:
        """Seconds of arithmetic and of traffic, each at its peak."""
        return counts.flops / self.peak, counts.bytes / self.bandwidth


# -- numbers in words --------------------------------------------------------------------------------------


def three(x: Real) -> str:
    """Three figures at most, ties away from zero, as JavaScript's `toPrecision`."""
    exact = Decimal(x)
    return f"{exact.quantize(Decimal(1).scaleb(exact.adjusted() - 2), ROUND_HALF_UP).normalize():f}"


def si(x: Real, unit: str, prefixes: Sequence[str] = ("", "k", "M", "G", "T", "P")) -> str:
    """8388608 bytes are 8.39 MB."""
    i = 0
    while x >= 999.5 and i < len(prefixes) - 1:
        x, i = x / 1000, i + 1
    return f"{three(x)}\u00a0{prefixes[i]}{unit}"


def seconds(x: Real) -> str:
    return si(1e9 * x, "s", ("n", "µ", "m", ""))


def kib(x: Real) -> str:
    return f"{three(x / 1024) if x < 1024000 else floor(x / 1024 + 0.5)}\u00a0KiB"


def slope(at: Counts, twice: Counts, what: str) -> float:
    """Exponent of n between n and 2n."""
    return log2(getattr(twice, what) / getattr(at, what))


def describe(n: int, rows: int, gpu: GPU, at: Schedules, twice: Schedules) -> list[str]:
    """The sentence the view shows: see `describe` in roofline.js."""
    standard, tiled, once = at["standard"], at["tiled"], at["once"]
    ratio = standard.bytes / tiled.bytes
    much = "about as many bytes as"
    if ratio >= 1.05:
        much = f"{three(ratio)} times fewer bytes than"
    elif ratio <= 0.95:
        much = f"{three(1 / ratio)} times more bytes than"
    moved = f"{si(tiled.bytes, 'B')} against {si(standard.bytes, 'B')}"
    lead = f"At n = {n} tiling moves {much} the standard schedule: {moved}."
    part = tiled.flops / standard.flops
    work = (
        "The arithmetic is the same."
        if part == 1
        else f"Under the causal mask it computes {fixed(100 * part, 0)}\u00a0% of the pairs."
    )
    grows = (
        f"From n to 2n its traffic grows {three(twice['tiled'].bytes / tiled.bytes)} times; only inputs read "
        f"once would grow {three(twice['once'].bytes / once.bytes)} times."
    )
    waits = ["memory" if c.intensity < gpu.ridge else "arithmetic" for c in (standard, tiled)]
    low, high = three(standard.intensity), three(tiled.intensity)
    who = (
        f"both wait for {waits[0]}: {low} and {high}."
        if waits[0] == waits[1]
        else f"the standard one, at {low}, waits for {waits[0]}, the tiled one, at {high}, for {waits[1]}."
    )
    where = f"{gpu.name} turns from memory to arithmetic at {three(gpu.ridge)} operations a byte, so {who}"
    said = [lead, work, grows, where]
    if tiled.sram > gpu.sram:
        said.append(
            f"A tile of {rows} by {COLS} needs {kib(tiled.sram)} of fast memory, more than a "
            "multiprocessor has."
        )
    return said


# -- parts of the static picture ---------------------------------------------------------------------------


def share(x: Real, ends: Range) -> float:
    """Place on a logarithmic axis, in per cent."""
    return 100 * log2(x / ends[0]) / log2(ends[1] / ends[0])


def put(x: Real, y: Real, across: Range, up: Range) -> str:
    return f"left: {share(x, across):.4f}%; top: {100 - share(y, up):.4f}%"


def line(points: Sequence[tuple[Real, Real]], across: Range, up: Range) -> str:
    return "M" + "L".join(f"{share(x, across):.3f} {100 - share(y, up):.3f}" for x, y in points)


TICKS_N = {2**7: "128", 2**10: "1k", 2**13: "8k", 2**16: "64k", 2**20: "1M"}
TICKS_FLOPS = {1e6: "1 M", 1e9: "1 G", 1e12: "1 T", 1e15: "1 P"}
TICKS_BYTES = {1e6: "1 MB", 1e9: "1 GB", 1e12: "1 TB"}
TICKS_INTENSITY = {4: "4", 32: "32", 256: "256", 2**11: "2k", 2**14: "16k", 2**17: "128k"}
TICKS_RATE = {1e12: "1", 1e13: "10", 1e14: "100", 1e15: "1000"}


def axes(across: Range, up: Range, x: Mapping[Real, str], y: Mapping[Real, str]) -> list[Markup]:
    return [
        *(
            h("span.pa-roof-y", h("span", text), style=f"top: {100 - share(at, up):.4f}%")
            for at, text in y.items()
        ),
        *(h("span.pa-roof-x", text, style=f"left: {share(at, across):.4f}%") for at, text in x.items()),
    ]


def picture(*paths: Markup) -> Markup:
    return h("svg", *paths, viewBox="0 0 100 100", preserveAspectRatio="none", aria_hidden="true")


def curves(
    n: int, lengths: Sequence[int], grown: Sequence[Schedules], at: Schedules, twice: Schedules
) -> Markup:
    drawn = n, lengths, grown, at, twice
    return h(
        "div.pa-growths",
        _curve("Operations (FLOP)", "flops", FLOPS, TICKS_FLOPS, ("standard", "tiled"), *drawn),
        _curve("Bytes to and from slow memory", "bytes", BYTES, TICKS_BYTES, tuple(NAMES), *drawn),
    )  # fmt: skip


PENS = {
    "standard": "fill: none; stroke: var(--pa-control, #7b8698)",
    "tiled": "fill: none; stroke: var(--pa-accent, #1d4fb8)",
    "once": "fill: none; stroke: var(--pa-ink, #1b2230)",
}


def _curve(name, what, up, ticks, schedules, n, lengths, grown, at, twice) -> Markup:
    paths = [
        h(f"path.pa-line-{s}", style=PENS[s],
          d=line([(m, getattr(c[s], what)) for m, c in zip(lengths, grown, strict=True)], LENGTHS, up))
        for s in schedules
    ]  # fmt: skip
    dots = (
        h(f"span.pa-roof-dot.pa-dot-{s}", style=put(n, getattr(at[s], what), LENGTHS, up)) for s in schedules
    )
    return h(
        "div",
        h("p.pa-roof-name", name),
        h(
            "div.pa-roof.pa-growth",
            *axes(LENGTHS, up, TICKS_N, ticks),
            picture(*paths),
            h("span.pa-roof-at", style=f"left: {share(n, LENGTHS):.4f}%"),
            *dots,
            role="img",
            aria_label=name,
        ),
        h(
            "p.pa-roof-key",
            *(
                h("span", h(f"i.pa-key-{s}"), f"{NAMES[s]}: slope {fixed(slope(at[s], twice[s], what))}")
                for s in schedules
            ),
        ),
    )


def roof(gpu: GPU, at: Schedules) -> Markup:
    """The most that can be computed a second, and where on that roof each schedule stands."""
    corner = min(max(gpu.ridge, INTENSITY[0]), INTENSITY[1])
    ends = [INTENSITY[0], corner, INTENSITY[1]]
    edge = line([(x, min(gpu.peak, gpu.bandwidth * x)) for x in ends], INTENSITY, RATE)
    tags = (
        h(
            f"span.pa-roof-dot.pa-dot-{s}",
            h("span", s[0].upper()),
            style=put(c.intensity, min(gpu.peak, gpu.bandwidth * c.intensity), INTENSITY, RATE),
        )
        for s, c in at.items()
    )
    return h(
        "div",
        h("p.pa-roof-name", "TFLOP/s at most, against FLOP a byte"),
        h(
            "div.pa-roof.pa-rooftop",
            *axes(INTENSITY, RATE, TICKS_INTENSITY, TICKS_RATE),
            picture(
                h("path.pa-roof-under", d=f"{edge}L100 100L0 100Z", style="fill: var(--pa-raised, #f4f6f9)"),
                h("path.pa-roof-edge", d=edge, style="fill: none; stroke: var(--pa-ink, #1b2230)"),
            ),
            h(
                "span.pa-ridge",
                h("span", f"ridge {three(gpu.ridge)}"),
                style=f"left: {share(corner, INTENSITY):.4f}%",
            ),
            *tags,
            role="img",
            aria_label="Roofline",
        ),
    )


def times(gpu: GPU, at: Schedules) -> Markup:
    """Two bars a schedule; the longer one is its bound."""
    spent = {s: gpu.times(c) for s, c in at.items()}
    most = max(max(pair) for pair in spent.values())
    groups = []
    for s, pair in spent.items():
        head = h("p.pa-time-name", h("b", s[0].upper()), f"{NAMES[s]}: {three(at[s].intensity)} FLOP a byte")
        bars = (
            h(
                "p.pa-time.pa-time-bound" if x == max(pair) else "p.pa-time",
                h("span", kind),
                h("i", h("i", style=f"width: {100 * x / most:.4f}%")),
                h("strong", seconds(x)),
            )
            for kind, x in zip(("arithmetic", "traffic"), pair, strict=True)
        )
        groups.append(h(f"div.pa-times-{s}", head, *bars))
    return h("div.pa-times", *groups)


def facts(d: int, rows: int, gpu: GPU, at: Schedules) -> Markup:
    values = {
        "S tends to, FLOP a byte": f"d/2 = {three(d / 2)}",
        "T tends to, FLOP a byte": f"r = {rows}",
        "ridge, FLOP a byte": three(gpu.ridge),
        "fast memory of a tile": f"{kib(at['tiled'].sram)} of {kib(gpu.sram)}",
    }
    made = (h("div.pa-tile", h("span", k), h("strong", v)) for k, v in values.items())
    return h("div.pa-tiles", *made)


def source(gpu: GPU) -> str:
    by = "published by NVIDIA" if gpu.citation else "as given"
    return (
        f"{gpu.name}, {by}: {three(gpu.peak / 1e12)} TFLOP/s of dense bfloat16, {si(gpu.bandwidth, 'B/s')}, "
        f"{kib(gpu.sram)} of shared memory and registers in a multiprocessor. Counts are for one head, "
        "forward."
    )
