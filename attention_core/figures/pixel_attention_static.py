"""Pixel attention's measures and words, and the parts of its static picture: see pixel_attention.js."""

import base64
from collections.abc import Sequence
from numbers import Real
from typing import NamedTuple

import numpy as np

from attention_core.figures import static
from attention_core.figures.pictures import png
from attention_core.figures.static import Markup, fixed, h, percent, tidy

FILTERS = ("bilateral", "non-local means")
PATCH = 7  # pixels a side
LEVELS = 64  # shades of the map
ALIKE = 0.1  # a true brightness so near counts as the same shade
PICK = "The noisy picture: choose a pixel"
MAP = "Its weights over all pixels"
BECOMES = "What becomes of the pixel"


class Facts(NamedTuple):
    noisy: float
    mean: float  # what the filter makes of it
    truth: float
    own: float  # weight on pixels of its own true brightness
    itself: float  # weight on itself
    half: int  # how many pixels, strongest first, hold half of the weight


def measure(weights: np.ndarray, noisy: np.ndarray, picture: np.ndarray, pixel: Sequence[int]) -> Facts:
    at = tuple(pixel)
    held = np.cumsum(np.sort(weights, axis=None)[::-1])
    return Facts(
        float(noisy[at]),
        float((weights * noisy).sum()),
        float(picture[at]),
        float(weights[alike(picture, at)].sum()),
        float(weights[at]),
        int((held < 0.5 - 1e-9).sum()) + 1,
    )


def alike(picture: np.ndarray, pixel: Sequence[int]) -> np.ndarray:
    """Which pixels are in truth as bright as this one."""
    return np.abs(picture - picture[tuple(pixel)]) <= ALIKE


def describe(facts: Facts, kind: int, width: Real, pixel: Sequence[int]) -> list[str]:
    """The sentence of result."""
    row, column = pixel
    on = "a single pixel" if facts.half == 1 else f"{facts.half} pixels"
    return [
        f"Row {row}, column {column} puts {percent(facts.own)} of its weight on pixels of its own "
        "true shade.",
        f"Half of all weight is on {on}, and the mean is {fixed(facts.mean)}; with its noise the pixel was "
        f"{fixed(facts.noisy)}, in truth it is {fixed(facts.truth)}.",
        remark(facts, kind, width),
    ]


def remark(facts: Facts, kind: int, width: Real) -> str:
    moved, (one, many) = abs(facts.noisy - facts.truth), (("pixel", "pixels"), ("patch", "patches"))[kind]
    if facts.itself > 0.5:
        return f"It attends mostly to itself: within {tidy(width)} hardly any other {one} is alike."
    if facts.own >= 0.95 and kind:
        return f"{PATCH**2} pixels together say which shade this is."
    if facts.own >= 0.95:
        return "Brightness and place were enough here."
    if not kind and moved >= width:
        return f"All it knows of itself is one brightness, and noise has moved that by {fixed(moved)}."
    return f"Within {tidy(width)}, {many} of another shade count as alike too."


# -- parts of the picture ----------------------------------------------------------------------------------


def noisy(image: np.ndarray) -> Markup:
    """The grey picture; its colours are the photograph's, in both themes."""
    rows, columns = image.shape
    data = base64.b64encode(png(np.rint(255 * np.clip(image, 0, 1)).astype(np.uint8))).decode()
    picture = h(
        "image", href=f"data:image/png;base64,{data}", width=columns, height=rows,
        preserveAspectRatio="none", style="image-rendering: pixelated",
    )  # fmt: skip
    return h("svg", picture, viewBox=f"0 0 {columns} {rows}", role="img", aria_label=named(rows, columns))


def named(rows: int, columns: int) -> str:
    return f"The picture with noise, {rows} by {columns} pixels"


def board(picture: Markup, pixel: Sequence[int], shape: Sequence[int], kind: int, reach: Real) -> Markup:
    """The noisy picture, a frame round the pixel, and round what is compared or what is near."""
    size = PATCH if kind else 4 * reach
    scope = f"span.pa-pxscope{'' if kind else '.pa-pxround'}"
    inner = h("div.pa-pxclip", h(scope, style=frame(pixel, shape, size)))
    mark = h("span.pa-pxmark", style=frame(pixel, shape, 1))
    return h("div.pa-pxboard", picture, inner, mark, style=ratio(shape))


def ratio(shape: Sequence[int]) -> str:
    rows, columns = shape
    return f"aspect-ratio: {columns} / {rows}"


def frame(pixel: Sequence[int], shape: Sequence[int], size: Real) -> str:
    """Where a square of `size` pixels round this one lies, in per cent of the picture."""
    (row, column), (rows, columns) = pixel, shape
    sides = {
        "top": (row + 0.5 - size / 2) / rows, "left": (column + 0.5 - size / 2) / columns,
        "width": size / columns, "height": size / rows,
    }  # fmt: skip
    return "; ".join(f"{side}: {100 * x:.4f}%" for side, x in sides.items())


def compared(kind: int, reach: Real) -> Markup:
    return h("p.pa-caption.pa-pxnote", note(kind, reach))


def note(kind: int, reach: Real) -> str:
    if kind:
        return f"Compared: the {PATCH} × {PATCH} patch in the frame. Place does not count."
    return f"Compared: one brightness, and place (circle: twice the reach of {tidy(reach)} pixels)."


def map_of(weights: np.ndarray, picture: np.ndarray, pixel: Sequence[int]) -> Markup:
    """A path for each shade, and lines round the pixels of the same true brightness."""
    rows, columns = weights.shape
    shades: dict[int, list[str]] = {}
    steps = np.floor(np.sqrt(weights / weights.max()) * LEVELS + 0.5).astype(int)  # JavaScript's rounding
    for i, j in np.argwhere(steps > 0):
        shades.setdefault(int(steps[i, j]), []).append(f"M{j} {i}h1v1h-1z")
    paths = [
        h("path", d="".join(d), style=f"fill: {static.ramp(t / LEVELS)}") for t, d in sorted(shades.items())
    ]
    svg = h(
        "svg", *paths, h("path.pa-pxedge", d=edges(alike(picture, pixel))), viewBox=f"0 0 {columns} {rows}",
        role="img", aria_label="Map of the weights",
    )  # fmt: skip
    mark = h("span.pa-pxmark", style=frame(pixel, weights.shape, 1))
    return h("div.pa-pxboard.pa-pxmap", svg, mark, style=ratio(weights.shape))


def edges(inside: np.ndarray) -> str:
    """SVG path between pixels of which one is inside and the other is not."""
    across = [f"M{j} {i + 1}h1" for i, j in np.argwhere(inside[1:] != inside[:-1])]
    down = [f"M{j + 1} {i}v1" for i, j in np.argwhere(inside[:, 1:] != inside[:, :-1])]
    return "".join(across + down)


def legend(weights: np.ndarray) -> tuple[Markup, Markup]:
    most = h("em", f"{tidy(weights.max(), 2)}, square-root scale")
    bar = h("div.pa-legend", "0", h("span"), most, aria_hidden="true")
    return bar, h("p.pa-caption.pa-pxnote", "Lines: borders of its own true shade.")


def tiles(facts: Facts) -> Markup:
    """Three brightnesses, each beside its grey, and three shares."""
    made = [
        h("div.pa-tile", h("span", name), h("strong", *swatch(shade), text))
        for name, text, shade in listed(facts)
    ]
    return h("div.pa-tiles", *made)


def listed(facts: Facts) -> list[tuple[str, str, float | None]]:
    """Name, value, and the grey to show."""
    return [
        ("with its noise", fixed(facts.noisy), facts.noisy),
        ("after the filter", fixed(facts.mean), facts.mean),
        ("in truth", fixed(facts.truth), facts.truth),
        ("weight on own shade", percent(facts.own), None),
        ("weight on itself", percent(facts.itself), None),
        ("pixels with half of it", str(facts.half), None),
    ]


def swatch(shade: float | None) -> tuple[Markup, ...]:
    if shade is None:
        return ()
    level = int(np.floor(255 * min(max(shade, 0.0), 1.0) + 0.5))
    return (h("i.pa-pxswatch", style=f"background: rgb({level}, {level}, {level})", aria_hidden="true"),)
