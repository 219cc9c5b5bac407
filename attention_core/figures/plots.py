"""Static figures in the book's house style: a matrix, ribbons, a line plot, bars, as inline SVG.

Every figure needs alt text. Colours are CSS variables, so that one picture serves light, dark and print.
Nothing here moves; what a reader can change is a widget (see the other modules of this package).
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from math import isfinite, log10
from typing import Any

import numpy as np

RAMPS = (  # light, dark: eleven steps from weight 0 to weight 1
    "#f7f5ec #dbe5b7 #a8da9a #59cf99 #0bb9a8 #029fac #0787a2 #047097 #02588d #1d4177 #272f51",
    "#21252f #1e3756 #014b76 #006283 #067990 #07909c #0daa9b #34c38e #8ed186 #c8dc95 #f1eabc",
)
CHROME = {  # name: (light, dark); the site's and the widgets' own variables win where they are set
    "ink": ("#1b2230", "#e7eaf0"),
    "muted": ("#566072", "#a3adbd"),
    "line": ("#d5dae2", "#363e4b"),
    "accent": ("#1d4fb8", "#8ab4ff"),
    "warning": ("#a8321f", "#ff9a86"),
}
# Ink on a cell is pure black or white and flips at t = 0.64 in the light theme, 0.44 in the dark one.
INKS = {"low": ("#000", "#fff"), "middle": ("#000", "#000"), "high": ("#fff", "#000")}
Number = int | float
UNIT = 360  # view-box width of a panel: 16 px text stays above 12.5 px on a 320 px screen


def _theme(index: int) -> str:
    """The variables of one theme, 0 light and 1 dark."""
    ramp = "".join(f"--ps-{step}:{colour};" for step, colour in enumerate(RAMPS[index].split()))
    chrome = "".join(f"--ps-{name}:var(--pa-{name},{pair[index]});" for name, pair in CHROME.items())
    return ramp + chrome + "".join(f"--ps-on-{name}:{pair[index]};" for name, pair in INKS.items())


STYLE = (
    f".pa-drawing{{{_theme(0)}margin:1.25rem 0;color:var(--ps-ink)}}"
    f"html[data-theme=dark] .pa-drawing,body[data-jp-theme-light=false] .pa-drawing{{{_theme(1)}}}"
    # The site's theme puts a pale box behind every output in its dark mode.
    "html[data-theme] .bd-content div.cell_output .text_html:has(figure.pa-drawing)"
    "{background:none;color:inherit;padding:0}"
    ".pa-drawing .panels{display:flex;flex-wrap:wrap;gap:1rem 2rem}"
    ".pa-drawing svg{display:block;width:100%;max-width:23rem;height:auto;flex:1 1 17rem;font-family:inherit;"
    "font-variant-numeric:tabular-nums}"
    ".pa-drawing figcaption{font-size:.875rem;font-weight:400;margin-top:.5rem;color:var(--ps-muted);"
    "text-align:start}"
)


@dataclass(frozen=True)
class StaticFigure:
    """One or more SVG panels with alt text and a caption; a notebook shows it, and `+` puts two side by side.

    Raises `ValueError` without alt text: a reader who cannot see the picture needs what it says.
    """

    kind: str
    panels: tuple[str, ...]
    alt: str
    caption: str = ""

    def __post_init__(self) -> None:
        if not self.alt.strip():
            raise ValueError("`alt` must say in words what the figure shows; got an empty text")

    def __add__(self, other: "StaticFigure") -> "StaticFigure":
        caption = " ".join(filter(None, (self.caption, other.caption)))
        return StaticFigure(self.kind, self.panels + other.panels, f"{self.alt} {other.alt}", caption)

    def _repr_html_(self) -> str:
        caption = f"<figcaption>{escape(self.caption)}</figcaption>" if self.caption else ""
        return (
            f'<figure class="pa-drawing" data-figure-static="{escape(self.kind)}"><style>{STYLE}</style>'
            f'<div class="panels" role="img" aria-label="{escape(self.alt)}">{"".join(self.panels)}</div>'
            f"{caption}</figure>"
        )


def heatmap(
    weights: Any,
    rows: Sequence[str],
    columns: Sequence[str],
    *,
    alt: str,
    title: str = "",
    caption: str = "",
    gold: Collection[tuple[int, int]] = (),
) -> StaticFigure:
    """A matrix of weights in [0, 1], rows down and columns across; `gold` pairs (row, column) get a ring.

    Parameters
    ----------
    weights
        Array or tensor (rows, columns) of numbers from 0 to 1.
    rows, columns
        The tokens along each side.
    alt
        What the picture says, in words.
    gold
        Links that a person would draw, as (row, column).
    """
    matrix = _matrix(weights, rows, columns)
    left, top = 100, 64 if title else 36
    width, height = (UNIT - left - 4) / len(columns), 52
    marks = [_text(0, 18, title, anchor="start", weight=650)] if title else []
    marks += [_text(left + width * (j + 0.5), top - 12, name, weight=650) for j, name in enumerate(columns)]
    for i, name in enumerate(rows):
        y = top + height * i
        marks.append(_text(left - 14, y + height / 2 + 6, name, anchor="end", weight=650))
        for j in range(len(columns)):
            x, weight = left + width * j, float(matrix[i, j])
            marks.append(
                f'<rect x="{x + 2:.1f}" y="{y + 2}" width="{width - 4:.1f}" height="{height - 4}" rx="7" '
                f'style="fill:{_colour(weight)};stroke:var(--ps-line)"/>'
            )
            if (i, j) in set(gold):
                marks.append(
                    f'<rect x="{x + 7:.1f}" y="{y + 7}" width="{width - 14:.1f}" height="{height - 14}" '
                    f'rx="4" style="fill:none;stroke:{_ink(weight)};stroke-width:2;stroke-dasharray:5 3"/>'
                )
            marks.append(_text(x + width / 2, y + height / 2 + 6, f"{weight:.2f}", colour=_ink(weight)))
    return StaticFigure("heatmap", (_svg(top + height * len(rows) + 4, marks),), alt, caption)


def ribbons(
    weights: Any, rows: Sequence[str], columns: Sequence[str], *, alt: str, title: str = "", caption: str = ""
) -> StaticFigure:
    """The same matrix as flow: the source (columns) above, the target (rows) below, widths are weights.

    What reaches one target word fills its chip exactly when its row sums to one.
    """
    matrix = _matrix(weights, rows, columns)
    top = 30 if title else 2
    chip, bottom = 36, top + 190
    source, target = _chips(len(columns)), _chips(len(rows))
    # One scale for both sides: a weight of 1 is a target chip wide, or less where a source word gives more.
    unit = min(target[0][1], source[0][1] / max(1.0, float(matrix.sum(0).max())))
    marks = [_text(0, 18, title, anchor="start", weight=650)] if title else []
    leaving = [x + (w - unit * total) / 2 for (x, w), total in zip(source, matrix.sum(0), strict=True)]
    for i, (x, w) in enumerate(target):
        arriving = x + (w - unit * float(matrix[i].sum())) / 2
        for j in range(len(columns)):
            wide = unit * float(matrix[i, j])
            marks.append(
                _ribbon(leaving[j], arriving, wide, top + chip, bottom, _colour(float(matrix[i, j])))
            )
            leaving[j] += wide
            arriving += wide
    for chips, names, y in ((source, columns, top), (target, rows, bottom)):
        for (x, w), name in zip(chips, names, strict=True):
            marks.append(
                f'<rect x="{x:.1f}" y="{y}" width="{w:.1f}" height="{chip}" rx="8" '
                'style="fill:none;stroke:var(--ps-muted)"/>'
            )
            marks.append(_text(x + w / 2, y + 24, name, weight=650))
    return StaticFigure("ribbons", (_svg(bottom + chip + 3, marks),), alt, caption)


def lines(
    x: Any,
    series: Mapping[str, Any],
    *,
    alt: str,
    x_label: str,
    y_label: str,
    title: str = "",
    caption: str = "",
    log_x: bool = False,
    y_range: tuple[Number, Number] | None = None,
) -> StaticFigure:
    """Up to three curves over one axis, told apart by dash and a label as well as by colour.

    Parameters
    ----------
    x, series
        Abscissae, and ordinates of the same length by name.
    log_x
        Powers of ten as ticks; every `x` must be positive.
    y_range
        Lowest and highest ordinate drawn; from the data where it is left out.
    """
    if len(series) > 3:
        raise ValueError(f"`series` may hold three curves, which dashes tell apart; got {len(series)}")
    x = np.asarray(x, dtype=float)
    if log_x and (x <= 0).any():
        raise ValueError("`log_x` needs every x above 0")
    across = np.log10(x) if log_x else x
    curves = {name: np.asarray(y, dtype=float) for name, y in series.items()}
    low, high = y_range or (min(y.min() for y in curves.values()), max(y.max() for y in curves.values()))
    left, right, key = 52, UNIT - 22, 26 * len(curves)
    top = key + (34 if title else 10) + (32 if y_label else 12)
    bottom = top + 170

    def place(u: Number, v: Number) -> tuple[Number, Number]:
        share = (u - across[0]) / (across[-1] - across[0])
        return left + share * (right - left), bottom - (v - low) / (high - low) * (bottom - top)

    marks = [_text(0, 18, title, anchor="start", weight=650)] if title else []
    marks.append(_text(0, top - 16, y_label, anchor="start", colour="var(--ps-muted)"))
    for tick in _ticks(low, high):
        y = place(across[0], tick)[1]
        marks.append(f'<path d="M{left} {y:.1f}H{right}" style="stroke:var(--ps-line)"/>')
        marks.append(_text(left - 8, y + 5, _number(tick), anchor="end", colour="var(--ps-muted)"))
    for tick in _decades(x[0], x[-1]) if log_x else _ticks(x[0], x[-1]):
        at = place(log10(tick) if log_x else tick, low)[0]
        marks.append(f'<path d="M{at:.1f} {bottom}v6" style="stroke:var(--ps-muted)"/>')
        marks.append(_text(at, bottom + 23, _number(tick), colour="var(--ps-muted)"))
    marks.append(_text((left + right) / 2, bottom + 46, x_label, colour="var(--ps-muted)"))
    pens = (("accent", ""), ("warning", "9 5"), ("ink", "2 5"))
    for index, ((name, y), (colour, dash)) in enumerate(zip(curves.items(), pens, strict=False)):
        pen = f'style="fill:none;stroke:var(--ps-{colour});stroke-width:3;stroke-dasharray:{dash or "none"}"'
        points = " ".join(
            f"{a:.1f},{b:.1f}" for a, b in (place(u, v) for u, v in zip(across, y, strict=True))
        )
        marks.append(f'<polyline points="{points}" {pen}/>')
        at = (34 if title else 10) + 26 * index
        marks.append(f'<path d="M0 {at + 6}h34" {pen}/>')
        marks.append(_text(44, at + 11, name, anchor="start"))
    return StaticFigure("lines", (_svg(bottom + 56, marks),), alt, caption)


def bars(
    heights: Sequence[Sequence[Number | None]],
    names: Sequence[str],
    *,
    alt: str,
    titles: Sequence[str],
    caption: str = "",
) -> StaticFigure:
    """One panel a list of heights from 0 to 1, a bar for each name; None stands for what has not come yet.

    Parameters
    ----------
    heights
        A list for each panel, in it a number for each of `names`.
    titles
        One above each panel.
    """
    if any(len(row) != len(names) for row in heights) or len(titles) != len(heights):
        raise ValueError(
            f"`heights` must hold {len(names)} numbers in each of {len(titles)} panels, as `names` says"
        )
    if any(h is not None and not 0 <= h <= 1 for row in heights for h in row):
        raise ValueError("`heights` must lie between 0 and 1, for all panels share that scale")
    panels = (_bar_panel(row, names, title) for row, title in zip(heights, titles, strict=True))
    return StaticFigure("bars", tuple(panels), alt, caption)


def _bar_panel(row: Sequence[Number | None], names: Sequence[str], title: str) -> str:
    top, bottom = 54, 154
    marks = [_text(0, 18, title, anchor="start", weight=650)]
    marks.append(f'<path d="M0 {bottom}H{UNIT}" style="stroke:var(--ps-muted)"/>')
    for (x, width), height, name in zip(_chips(len(names)), row, names, strict=True):
        middle, tall = x + width / 2, (height or 0) * (bottom - top)
        if height is None:
            marks.append(
                f'<path d="M{x:.1f} {bottom}V{top}h{width:.1f}V{bottom}" '
                'style="fill:none;stroke:var(--ps-line);stroke-width:2;stroke-dasharray:4 4"/>'
            )
        else:
            box = f'x="{x:.1f}" y="{bottom - tall:.2f}" width="{width:.1f}" height="{tall:.2f}"'
            marks.append(f'<rect {box} style="fill:var(--ps-accent)"/>')
            marks.append(_text(middle, bottom - tall - 8, f"{height:.2f}"))
        colour = "var(--ps-muted)" if height is None else ""
        marks.append(_text(middle, bottom + 22, name, colour=colour, weight=650))
    return _svg(bottom + 34, marks)


def _matrix(weights: Any, rows: Sequence[str], columns: Sequence[str]) -> np.ndarray:
    matrix = np.asarray(weights, dtype=float)
    if matrix.shape != (len(rows), len(columns)):
        raise ValueError(
            f"`weights` has shape {matrix.shape}; the tokens ask for {(len(rows), len(columns))}"
        )
    if not ((matrix >= 0) & (matrix <= 1 + 1e-9)).all():
        raise ValueError("`weights` must lie between 0 and 1, for the ramp has no other colours")
    return matrix


def _svg(height: Number, marks: Sequence[str]) -> str:
    return f'<svg viewBox="0 0 {UNIT} {height:.0f}" aria-hidden="true">{"".join(marks)}</svg>'


def _text(
    x: Number, y: Number, text: str, *, anchor: str = "middle", colour: str = "", weight: int = 400
) -> str:
    style = f"fill:{colour or 'var(--ps-ink)'};font-size:16px;font-weight:{weight};text-anchor:{anchor}"
    return f'<text x="{x:.1f}" y="{y:.1f}" style="{style}">{escape(text)}</text>'


def _colour(weight: Number) -> str:
    """The ramp at `weight`, mixed by CSS between its two nearest steps so that it follows the theme."""
    step, share = divmod(10 * min(weight, 1.0), 1)
    if share < 0.005:
        return f"var(--ps-{int(step)})"
    return f"color-mix(in oklab,var(--ps-{int(step) + 1}) {100 * share:.0f}%,var(--ps-{int(step)}))"


def _ink(weight: Number) -> str:
    return f"var(--ps-on-{'low' if weight < 0.44 else 'middle' if weight < 0.64 else 'high'})"


def _chips(count: int) -> list[tuple[Number, Number]]:
    """Left edge and width of `count` chips across the panel."""
    pitch = UNIT / count
    width = min(100.0, pitch - 12)
    return [(pitch * index + (pitch - width) / 2, width) for index in range(count)]


def _ribbon(start: Number, end: Number, wide: Number, top: Number, bottom: Number, colour: str) -> str:
    middle = (top + bottom) / 2
    down = f"M{start:.1f} {top:.0f}C{start:.1f} {middle:.0f} {end:.1f} {middle:.0f} {end:.1f} {bottom:.0f}"
    back = f"{end + wide:.1f} {middle:.0f} {start + wide:.1f} {middle:.0f} {start + wide:.1f} {top:.0f}"
    return (
        f'<path d="{down}h{wide:.2f}C{back}Z" style="fill:{colour};stroke:var(--ps-muted);stroke-width:.4"/>'
    )


def _ticks(low: Number, high: Number) -> list[float]:
    """Three to six round numbers from low to high."""
    span = high - low
    for step in (m * 10.0**e for e in range(-6, 7) for m in (1, 2, 5)):
        if span / step <= 5:
            break
    return [step * k for k in range(int(np.ceil(low / step - 1e-9)), int(np.floor(high / step + 1e-9)) + 1)]


def _decades(low: Number, high: Number) -> list[float]:
    first, last = int(np.ceil(log10(low) - 1e-9)), int(np.floor(log10(high) + 1e-9))
    return [10.0**power for power in range(first, last + 1)]


def _number(value: Number) -> str:
    """Four digits at most, with a true minus."""
    if not isfinite(value):
        raise ValueError(f"cannot label {value}")
    return f"{round(value, 6):.4g}".replace("-", "\u2212")
