"""A picture with a map of patches over it, as maps.js draws it: what the figures on vision share.

`board` is the picture, faded, and over it the map: zero lets the picture through, the largest absolute value
hides most of it. Unsigned maps take the sequential ramp; signed ones the diverging one, where a negative
patch also carries a minus. A figure's view imports `patchMap` and `mapLegend` from "./maps.js"::

    const map = patchMap({ rows, columns, label: "Attention of CLS", pick: (patch, how) => ... });
    map.show(bytes, from, height, width);                       // a picture of `picture_bytes`
    map.draw(values, { top, signed, marks: [9], dropped, outline });

and its Python side gives the same arguments to `board`, which takes exactly the same room.
"""

import base64
from collections.abc import Sequence
from numbers import Real

import numpy as np
import torch
from torch import Tensor

from attention_core.figures.pictures import png
from attention_core.figures.static import LIGHT, Markup, fixed, h, tidy

STEPS, BARRED = 20, 3  # shades of one hue; from which on a negative patch carries its minus
LAST = ("gone", "hatch", "minus", "minus pa-pmdeep", "edge")  # drawn over the colours, in this order
SIDE = 96  # pixels: the most that a picture keeps of a side, as it is only looked at
SHADES = 32  # of each colour, for the same reason: noise in fewer shades travels in two thirds of the bytes
PLAIN = {  # strokes for pages that lack the style sheet
    "neg": "#004e9b", "pos": "#7f3800", "gone": "#fff", "hatch": "#7b8698", "minus": "#1b2230",
    "minus pa-pmdeep": "#fff", "edge": "#1b2230",
}  # fmt: skip
WIDTHS = {"hatch": 0.05, "minus": 0.1, "minus pa-pmdeep": 0.1, "edge": 0.05}


def rgb(images: Tensor) -> np.ndarray:
    """Images (batch, channels, height, width) as bytes to look at: (batch, height, width, 3) uint8.

    Larger ones than `SIDE` are shrunk, and colours rounded to `SHADES`. Values outside [0, 1], as of
    normalised pixels, are stretched from the lowest to the highest of the image; of other than three channels
    the mean is shown in grey.
    """
    images = images.detach().cpu().float()
    low, high = (getattr(images.flatten(1), name)(1)[:, None, None, None] for name in ("amin", "amax"))
    if low.min() < 0 or high.max() > 1:
        images = (images - low) / (high - low).clamp(min=1e-12)
    if images.shape[1] != 3:
        images = images.mean(1, keepdim=True).expand(-1, 3, -1, -1)
    if (most := max(images.shape[-2:])) > SIDE:
        size = [max(1, round(side * SIDE / most)) for side in images.shape[-2:]]
        images = torch.nn.functional.interpolate(images, size, mode="area")
    shades = (images * (SHADES - 1)).round() * (255 / (SHADES - 1))
    return shades.round().byte().permute(0, 2, 3, 1).contiguous().numpy()


def layers(
    values: np.ndarray,
    *,
    signed: bool = False,
    top: Real | None = None,
    dropped: np.ndarray | None = None,
    outline: np.ndarray | None = None,
) -> list[tuple[str, str, float]]:
    """What is drawn over the picture, (class, SVG path, opacity): see `layers` in maps.js.

    `values`, `dropped` (patches taken out of the image) and `outline` (patches to draw a line round) are
    (rows, columns); colours are scaled to `top`, by default the largest absolute value.
    """
    paths = by_level(values, STEPS, signed, top, dropped)
    if outline is not None:
        paths["edge"] = edges(np.asarray(outline, dtype=bool))
    names = sorted(paths, key=lambda name: LAST.index(name) if name in LAST else -1)
    return [_layer(name, paths[name]) for name in names]


def by_level(
    values: np.ndarray,
    steps: int,
    signed: bool = False,
    top: Real | None = None,
    dropped: np.ndarray | None = None,
) -> dict[str, str]:
    """SVG path of each shade, "t 7" or, of a signed map, "neg 7" and "pos 7", and of what marks patches."""
    top = float(np.abs(values).max()) if top is None else top
    share = np.abs(values) / top if top > 0 else np.zeros(values.shape)
    level = np.minimum(np.floor(share * steps + 0.5), steps).astype(int)
    gone = np.zeros(values.shape, bool) if dropped is None else np.asarray(dropped, dtype=bool)
    paths: dict[str, str] = {}

    def add(name: str, d: str) -> None:
        paths[name] = paths.get(name, "") + d

    for r, line in enumerate(values):
        states = zip(level[r].tolist(), (line < 0).tolist(), gone[r].tolist(), strict=True)
        names = [_named(*state, signed) for state in states]
        start = 0
        for c, name in enumerate(names):
            if name == "gone":
                add("hatch", f"M{c} {r}.5l1 -1")
            if name.startswith("neg") and level[r, c] * STEPS >= BARRED * steps:
                add("minus" if level[r, c] < steps / 2 else "minus pa-pmdeep", f"M{c}.3 {r}h.4")
            if c + 1 < len(names) and names[c + 1] == name:
                continue
            if name:
                add(name, f"M{start} {r}h{c + 1 - start}")
            start = c + 1
    return paths


def _named(level: int, negative: bool, gone: bool, signed: bool) -> str:
    if gone:
        return "gone"
    if level == 0 or (negative and not signed):
        return ""
    return f"{('neg' if negative else 'pos') if signed else 't'} {level}"


def _layer(name: str, d: str) -> tuple[str, str, float]:
    if name in LAST:
        return f"pa-pm{name}", d, 1.0
    kind, step = name.split(" ")
    return f"pa-pm{kind}{step if kind == 't' else ''}", d, opacity(int(step) / STEPS, kind != "t")


def opacity(share: float, signed: bool) -> float:
    """How much of the picture a colour hides."""
    return round(0.92 * share ** (0.8 if signed else 0.6), 2)


def edges(inside: np.ndarray) -> str:
    """SVG path round the patches that are inside."""
    rows, columns = inside.shape
    wide = np.pad(inside, 1)
    d = ""
    for r in range(rows + 1):
        for c in range(columns + 1):
            here = wide[r + 1, c + 1]
            if here != wide[r, c + 1]:
                d += f"M{c} {r - 0.5:g}h1"
            if here != wide[r + 1, c]:
                d += f"M{c} {r - 0.5:g}v1"
    return d


def alternative(label: str, values: np.ndarray, signed: bool = False) -> str:
    """A map in words; one that is 0 everywhere has none, and is only what its label says."""
    rows, columns = values.shape
    if not values.any():
        return f"{label}."

    def where(at: int) -> str:
        return f"{fixed(values.flat[at], 3)} in row {at // columns + 1}, column {at % columns + 1}"

    low = int(values.argmin())
    lowest = f", lowest {where(low)}" if signed and values.flat[low] < 0 else ""
    return f"{label}: {rows} by {columns} patches. Largest {where(int(values.argmax()))}{lowest}."


def board(
    values: np.ndarray,
    *,
    label: str,
    picture: np.ndarray | None = None,
    marks: Sequence[int] = (),
    signed: bool = False,
    kind: str = "",
    words: str | None = None,
    **look: object,
) -> Markup:
    """The map over `picture` (height, width, 3) of bytes, or on the bare surface; `marks` get a frame.

    `look` is that of `layers`; `kind` adds a class; `words` stand in for the text alternative.
    """
    rows, columns = values.shape
    svg = h(
        "svg", h("g", *strokes(values, signed=signed, **look), transform="translate(0 .5)"), fill="none",
        viewBox=f"0 0 {columns} {rows}", preserveAspectRatio="none", role="img",
        aria_label=alternative(label, values, signed) if words is None else words,
    )  # fmt: skip
    frames = h(
        "div.pa-pmframes",
        *(h("span.pa-pmmark", style=frame(at, values.shape)) for at in marks), aria_hidden="true",
    )  # fmt: skip
    tall, wide = values.shape if picture is None else picture.shape[:2]
    shown = () if picture is None else (image(picture),)
    bare = ".pa-pmbare" if picture is None else ""
    return h(f"div.pa-pm{bare}{kind}", *shown, svg, frames, style=f"aspect-ratio: {wide} / {tall}")


def panel(caption: str, shown: Markup, *over: Markup, below: Markup | None = None) -> Markup:
    """A board below its caption, with what lies over it and stands under it: a column of `pa-pmpanels`."""
    foot = () if below is None else (below,)
    return h("div.pa-pmpanel", h("p.pa-caption", caption), h("div.pa-pmover", shown, *over), *foot)


def strokes(values: np.ndarray, **look: object) -> list[Markup]:
    """The paths of `layers` as elements, with colours for pages that lack the style sheet."""
    return [
        h("path", d=d, stroke_opacity=f"{share:g}", **{"class": name}, **_plain(name.removeprefix("pa-pm")))
        for name, d, share in layers(values, **look)
    ]


def image(picture: np.ndarray) -> Markup:
    """A picture of bytes, inline."""
    made = h("img", alt="", src=address(picture))
    return Markup(made.removesuffix("</img>"))


def address(picture: np.ndarray) -> str:
    """A picture of bytes as a data address."""
    return f"data:image/png;base64,{base64.b64encode(png(picture)).decode()}"


def _plain(name: str) -> dict[str, object]:
    if name[0] == "t":
        step = int(name[1:])
        return {"stroke": LIGHT[(step + 1) // 2]}
    width = {"stroke_width": WIDTHS[name]} if name in WIDTHS else {}
    return {"stroke": PLAIN[name], **width}


def frame(at: int, shape: Sequence[int]) -> str:
    """Where a patch lies, in per cent."""
    rows, columns = shape
    sides = {"top": at // columns / rows, "left": at % columns / columns, "width": 1 / columns}
    sides["height"] = 1 / rows
    return "; ".join(f"{side}: {100 * x:g}%" for side, x in sides.items())


def legend(top: Real, signed: bool = False, ends: tuple[str, str] = ("", "")) -> Markup:
    """The scale of a map, with words beside its two ends."""
    low = " ".join(filter(None, (ends[0], f"−{tidy(top, 2)}" if signed else "0")))
    high = " ".join(filter(None, (f"{'+' if signed else ''}{tidy(top, 2)}", ends[1])))
    kind = ".pa-pmsigned" if signed else ""
    return h(f"div.pa-legend.pa-pmlegend{kind}", low, h("span"), h("em", high), aria_hidden="true")


def thumbnails(
    values: np.ndarray,
    down: Sequence[str],
    across: Sequence[str],
    chosen: Sequence[tuple[int, int]],
    **look: object,
) -> Markup:
    """Small maps (down, across, rows, columns) in a grid, each to its own scale, the chosen ones framed."""
    cells = [h("span", text) for text in ("", *across)]
    for i, name in enumerate(down):
        cells.append(h("span", name))
        for j, map_ in enumerate(values[i]):
            rows, columns = map_.shape
            ink = h("g", *strokes(map_, **look), transform="translate(0 .5)")
            svg = h("svg", ink, viewBox=f"0 0 {columns} {rows}", fill="none", aria_hidden="true")
            cells.append(h(f"span.pa-pmthumb{'.pa-pmchosen' if (i, j) in chosen else ''}", svg))
    return h("div.pa-pmgrid", *cells, style=f"--across: {len(across)}")
