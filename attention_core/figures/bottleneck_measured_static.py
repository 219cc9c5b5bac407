"""The static picture of `BottleneckMeasured`, and its sentence: the Python twin of bottleneck_measured.js."""

from collections.abc import Mapping, Sequence
from numbers import Real
from typing import Any

from attention_core.figures.static import Markup, fixed, h

Band = tuple[int, int | None]  # shortest and longest sentence, in words; None: no longest
Readers = Sequence[Mapping[str, Any]]  # width, and BLEU by band: median over seeds, lowest, highest
NAMES = ("attention", "its seeds", "one vector", "its seeds")
ABOVE = "BLEU of the translations (higher is better) against words in the sentence"


def said(band: Band) -> str:
    return f"{band[0]}+" if band[1] is None else f"{band[0]}–{band[1]}"


def words(band: Band) -> str:
    return f"{band[0]} words or more" if band[1] is None else f"{band[0]} to {band[1]} words"


def place(bands: Sequence[Band], length: int) -> int:
    """The band that holds a length, or the nearest."""
    fits = (i for i, (_, high) in enumerate(bands) if high is None or length <= high)
    return next(fits, len(bands) - 1)


def score(x: Real) -> str:
    return fixed(x, 1)


def describe(bands: Sequence[Band], trained: int, readers: Readers, chosen: int, at: int) -> list[str]:
    """The sentence the view shows: see `describe` in bottleneck_measured.js."""
    attention, vector = readers[0]["bleu"], readers[1 + chosen]["bleu"]
    others = [r for i, r in enumerate(readers[1:]) if i != chosen]
    parts = [
        f"At {words(bands[at])} attention scores {score(attention[at])} BLEU, one vector of width "
        f"{readers[1 + chosen]['width']} scores {score(vector[at])}."
    ]
    if others:
        listed = "; ".join(f"width {r['width']} scores {score(r['bleu'][at])}" for r in others)
        parts.append(f"W{listed[1:]}.")
    loses = (
        f"from the shortest sentences to these attention loses {score(attention[0] - attention[at])}, "
        f"the vector {score(vector[0] - vector[at])}."
    )
    beyond = f"No sentence in training was longer than {trained} words; "
    parts.append(beyond + loses if bands[at][0] > trained else f"F{loses[1:]}")
    return parts


def facts(readers: Readers, chosen: int, at: int) -> list[str]:
    pair = readers[0], readers[1 + chosen]
    return [
        text
        for r in pair
        for text in (score(r["bleu"][at]), f"{score(r['low'][at])} to {score(r['high'][at])}")
    ]


# -- parts of the static picture ---------------------------------------------------------------------------


def across(i: int, n: int) -> Real:
    return 100 * (i + 0.5) / n


def _path(ys: Sequence[Real]) -> str:
    return "M" + "L".join(f"{across(i, len(ys)):.2f} {100 - y:.2f}" for i, y in enumerate(ys))


def _spread(reader: Mapping[str, Any]) -> str:
    """The band between the lowest and the highest seed."""
    back = _path(reader["low"])[1:].split("L")[::-1]
    return f"{_path(reader['high'])}L{'L'.join(back)}Z"


def chart(bands: Sequence[Band], trained: int, readers: Readers, chosen: int, at: int) -> Markup:
    """Both curves with their seeds, the other widths, and the zone of lengths that training never saw."""
    n, shown = len(bands), {0: 0, 1 + chosen: 1}
    first = next((i for i, (low, _) in enumerate(bands) if low > trained), None)
    zone = h("span", "longer than any in training")
    zones = [] if first is None else [h("div.pa-mb-zone", zone, style=f"left: {100 * first / n:.4f}%")]
    grid = [h("span.pa-mb-y", h("span", str(t)), style=f"bottom: {t}%") for t in (0, 25, 50, 75, 100)]
    areas, lines = zip(
        *(
            (
                h(f"path.pa-mb-area{f'.pa-mb-area-{shown[i]}' if i in shown else ''}", d=_spread(r)),
                h(f"path.pa-mb-line{f'.pa-mb-{shown[i]}' if i in shown else ''}", d=_path(r["bleu"])),
            )
            for i, r in enumerate(readers)
        ),
        strict=True,
    )
    left = f"left: {across(at, n):.4f}%"
    dots = [
        h(f"span.pa-mb-dot.pa-mb-dot-{j}", style=f"{left}; bottom: {readers[i]['bleu'][at]:.3f}%")
        for i, j in shown.items()
    ]
    ticks = [h("span.pa-mb-x", said(b), style=f"left: {across(i, n):.4f}%") for i, b in enumerate(bands)]
    pair = zip(bands, readers[0]["bleu"], readers[1 + chosen]["bleu"], strict=True)
    label = "; ".join(f"{said(b)} words: attention {score(x)}, one vector {score(y)}" for b, x, y in pair)
    svg = h("svg", *areas, *lines, viewBox="0 0 100 100", preserveAspectRatio="none", aria_hidden="true")
    parts = (*zones, *grid, svg, h("span.pa-mb-at", style=left), *dots, *ticks)
    return h("div.pa-mb-box", *parts, role="img", aria_label=label)


def key(readers: Readers, chosen: int) -> Markup:
    names = ["attention", f"one vector of width {readers[1 + chosen]['width']}", "its other widths"]
    names = names[: min(len(readers), 3)]
    return h("p.pa-mb-key", *(h("span", h(f"i.pa-mb-key-{i}"), name) for i, name in enumerate(names)))


def tiles(readers: Readers, chosen: int, at: int) -> Markup:
    pairs = zip(NAMES, facts(readers, chosen, at), strict=True)
    return h("div.pa-tiles", *(h("div.pa-tile", h("span", name), h("strong", text)) for name, text in pairs))
