"""The static picture of `BottleneckMeasured`, and its sentence: the Python twin of bottleneck_measured.js."""

from collections.abc import Mapping, Sequence
from numbers import Real
from typing import Any

from attention_core.figures.static import Markup, fixed, h

Band = tuple[int, int]  # shortest and longest sentence, in tokens
Readers = Sequence[Mapping[str, Any]]  # width, seeds, and BLEU by band: their median, lowest, highest
NAMES = ("attention", "its seeds", "one vector", "its seeds")
PENS = {  # of the curves: attention, the vector chosen, its other widths; for pages without the style sheet
    0: "fill: none; stroke: var(--pa-accent, #1d4fb8)",
    1: "fill: none; stroke: var(--pa-control, #7b8698)",
    None: "fill: none; stroke: var(--pa-control, #7b8698)",
}
ABOVE = "BLEU of the translations (higher is better) against tokens in the sentence"


def said(band: Band) -> str:
    return f"{band[0]}–{band[1]}"


def middle(band: Band) -> Real:
    return (band[0] + band[1]) / 2


def place(bands: Sequence[Band], length: int) -> int:
    """The band that holds a length, or the nearest."""
    fits = (i for i, (_, high) in enumerate(bands) if length <= high)
    return next(fits, len(bands) - 1)


def score(x: Real) -> str:
    return fixed(x, 1)


def describe(bands: Sequence[Band], trained: int, readers: Readers, chosen: int, at: int) -> list[str]:
    """The sentence the view shows: see `describe` in bottleneck_measured.js."""
    attention, vector = readers[0]["bleu"], readers[1 + chosen]["bleu"]
    others = [r for i, r in enumerate(readers[1:]) if i != chosen]
    parts = [
        f"At {bands[at][0]} to {bands[at][1]} tokens attention scores {score(attention[at])} BLEU, "
        f"one vector of width {readers[1 + chosen]['width']} scores {score(vector[at])}."
    ]
    if others:
        listed = "; ".join(f"width {r['width']} scores {score(r['bleu'][at])}" for r in others)
        parts.append(f"W{listed[1:]}.")
    loses = (
        f"from the shortest sentences to these attention loses {score(attention[0] - attention[at])}, "
        f"the vector {score(vector[0] - vector[at])}."
    )
    beyond = f"No sentence in training had more than {trained} tokens; "
    parts.append(beyond + loses if middle(bands[at]) > trained else f"F{loses[1:]}")
    return parts


def facts(readers: Readers, chosen: int, at: int) -> list[str]:
    pair = readers[0], readers[1 + chosen]
    return [text for r in pair for text in (score(r["bleu"][at]), _seeds(r, at))]


def _seeds(reader: Mapping[str, Any], at: int) -> str:
    return f"{score(reader['low'][at])} to {score(reader['high'][at])}" if reader["seeds"] > 1 else "one only"


# -- parts of the static picture ---------------------------------------------------------------------------


def across(bands: Sequence[Band], length: Real) -> Real:
    """Place of a length on the axis, in per cent."""
    shortest, longest = bands[0][0], bands[-1][1]
    return 100 * (length - shortest + 0.5) / (longest - shortest + 1)


def path(bands: Sequence[Band], ys: Sequence[Real]) -> str:
    points = (f"{across(bands, middle(b)):.2f} {100 - y:.2f}" for b, y in zip(bands, ys, strict=True))
    return "M" + "L".join(points)


def _spread(bands: Sequence[Band], reader: Mapping[str, Any]) -> str:
    """The band between the lowest and the highest seed."""
    back = path(bands, reader["low"])[1:].split("L")[::-1]
    return f"{path(bands, reader['high'])}L{'L'.join(back)}Z"


def chart(bands: Sequence[Band], trained: int, readers: Readers, chosen: int, at: int) -> Markup:
    """Both curves with their seeds, the other widths, and the zone of lengths that training never saw."""
    shown = {0: 0, 1 + chosen: 1}
    parts = (*_zone(bands, trained), *_grid(), _strip(bands, at), _curves(bands, readers, shown))
    dots = (_dot(bands, readers[i], at, j) for i, j in shown.items())
    fives = (t for t in range(5, bands[-1][1] + 1, 5) if t >= bands[0][0])
    ticks = (h("span.pa-mb-x", str(t), style=f"left: {across(bands, t):.4f}%") for t in fives)
    pair = zip(bands, readers[0]["bleu"], readers[1 + chosen]["bleu"], strict=True)
    label = "; ".join(f"{said(b)} tokens: attention {score(x)}, one vector {score(y)}" for b, x, y in pair)
    return h("div.pa-mb-box", *parts, *dots, *ticks, role="img", aria_label=label)


def _zone(bands: Sequence[Band], trained: int) -> list[Markup]:
    if trained >= bands[-1][1]:
        return []
    left = f"left: {across(bands, trained + 0.5):.4f}%"
    return [h("div.pa-mb-zone", h("span", "longer than any in training"), style=left)]


def _grid() -> list[Markup]:
    return [h("span.pa-mb-y", h("span", str(t)), style=f"bottom: {t}%") for t in (0, 25, 50, 75, 100)]


def _strip(bands: Sequence[Band], at: int) -> Markup:
    """The lengths that were measured together."""
    left, right = across(bands, bands[at][0] - 0.5), across(bands, bands[at][1] + 0.5)
    return h("span.pa-mb-at", style=f"left: {left:.4f}%; width: {right - left:.4f}%")


def _curves(bands: Sequence[Band], readers: Readers, shown: Mapping[int, int]) -> Markup:
    areas, lines = [], []
    for i, reader in enumerate(readers):
        on = shown.get(i)
        area, line = ("", "") if on is None else (f".pa-mb-area-{on}", f".pa-mb-{on}")
        areas.append(h(f"path.pa-mb-area{area}", d=_spread(bands, reader), fill="none"))
        lines.append(h(f"path.pa-mb-line{line}", d=path(bands, reader["bleu"]), style=PENS[on]))
    return h("svg", *areas, *lines, viewBox="0 0 100 100", preserveAspectRatio="none", aria_hidden="true")


def _dot(bands: Sequence[Band], reader: Mapping[str, Any], at: int, j: int) -> Markup:
    left, bottom = across(bands, middle(bands[at])), reader["bleu"][at]
    return h(f"span.pa-mb-dot.pa-mb-dot-{j}", style=f"left: {left:.4f}%; bottom: {bottom:.3f}%")


def key(readers: Readers, chosen: int) -> Markup:
    names = ["attention", f"one vector of width {readers[1 + chosen]['width']}", "its other widths"]
    names = names[: min(len(readers), 3)]
    return h("p.pa-mb-key", *(h("span", h(f"i.pa-mb-key-{i}"), name) for i, name in enumerate(names)))


def tiles(readers: Readers, chosen: int, at: int) -> Markup:
    pairs = zip(NAMES, facts(readers, chosen, at), strict=True)
    return h("div.pa-tiles", *(h("div.pa-tile", h("span", name), h("strong", text)) for name, text in pairs))
