"""Growth: how cost rises with size, both on logarithmic axes, every line named where it ends.

A straight line is a power of n, and its slope the exponent. The baseline is grey, the subjects are not.
"""

from collections.abc import Mapping, Sequence
from math import ceil, floor, log2, log10

from attention_core.figures import plots
from attention_core.figures.plots import Number, StaticFigure

Curve = Sequence[tuple[Number, Number]]
PENS = (("accent", ""), ("warning", "9 5"), ("ink", "2 5"), ("accent", "12 4 2 4"), ("ink", "18 5"))
LEFT, RIGHT, HEIGHT, GAP = 46, 238, 190, 19  # view-box units; names stand right of RIGHT


def growth(
    series: Mapping[str, Curve],
    *,
    baseline: str | None = None,
    alt: str,
    title: str,
    y_label: str,
    y_range: tuple[Number, Number],
    x_range: tuple[Number, Number],
    caption: str = "",
    x_label: str = "n (logarithmic)",
) -> StaticFigure:
    """Up to five subjects and a baseline, as (n, cost) points; both axes are logarithmic.

    Parameters
    ----------
    series
        Points by name, each positive; the name stands at the last one.
    baseline
        The one of `series` that is drawn in grey, as what the others are compared with.
    x_range, y_range
        Ends of the axes: the same for panels that are to be compared.
    """
    subjects = [name for name in series if name != baseline]
    if len(subjects) > len(PENS):
        raise ValueError(
            f"`series` may hold {len(PENS)} subjects, which dashes tell apart; got {len(subjects)}"
        )
    if any(not (x > 0 and y > 0) for points in series.values() for x, y in points):
        raise ValueError("`series` must hold positive numbers: a logarithmic axis has no zero")
    top = 66
    bottom = top + HEIGHT

    def place(x: Number, y: Number) -> tuple[Number, Number]:
        across = (log2(x) - log2(x_range[0])) / (log2(x_range[1]) - log2(x_range[0]))
        up = (log10(y) - log10(y_range[0])) / (log10(y_range[1]) - log10(y_range[0]))
        return LEFT + across * (RIGHT - LEFT), bottom - up * HEIGHT

    marks = [plots._text(0, 18, title, anchor="start", weight=650)]
    marks.append(plots._text(0, 44, y_label, anchor="start", colour="var(--ps-muted)"))
    marks += _axes(place, x_range, y_range, bottom, x_label)
    ends = {name: place(*points[-1])[1] for name, points in series.items()}
    pens = dict(zip(subjects, PENS, strict=False)) | ({baseline: ("muted", "")} if baseline else {})
    for name, at in _apart(ends, top, bottom).items():
        marks += _curve(name, [place(x, y) for x, y in series[name]], *pens[name], at)
    return StaticFigure("growth", (plots._svg(bottom + 56, marks),), alt, caption)


def power(exponent: int) -> str:
    """10 to a power, with the digits raised."""
    return "10" + str(exponent).translate(str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"))


def _axes(place, x_range, y_range, bottom: Number, x_label: str) -> list[str]:
    marks = []
    for exponent in range(ceil(log10(y_range[0])), floor(log10(y_range[1])) + 1):
        y = place(x_range[0], 10.0**exponent)[1]
        marks.append(f'<path d="M{LEFT} {y:.1f}H{RIGHT}" style="stroke:var(--ps-line)"/>')
        marks.append(plots._text(LEFT - 6, y + 5, power(exponent), anchor="end", colour="var(--ps-muted)"))
    for exponent in range(ceil(log2(x_range[0])), floor(log2(x_range[1])) + 1, 2):
        x = place(2**exponent, y_range[0])[0]
        marks.append(f'<path d="M{x:.1f} {bottom}v6" style="stroke:var(--ps-muted)"/>')
        marks.append(plots._text(x, bottom + 23, f"{2**exponent}", colour="var(--ps-muted)"))
    marks.append(plots._text((LEFT + RIGHT) / 2, bottom + 46, x_label, colour="var(--ps-muted)"))
    return marks


def _curve(name: str, points, colour: str, dash: str, at: Number) -> list[str]:
    """The line, a dot at each size, its name at `at` and a thread from the last dot to the name."""
    pen = f"fill:none;stroke:var(--ps-{colour});stroke-width:2.5"
    thread = f"fill:none;stroke:var(--ps-{colour});stroke-opacity:.45"
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    x, y = points[-1]
    return [
        f'<path d="M{x:.1f} {y:.1f}L{RIGHT + 6} {at:.1f}" style="{thread}"/>',
        f'<polyline points="{path}" style="{pen};stroke-dasharray:{dash or "none"}"/>',
        *(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="2.5" style="fill:var(--ps-{colour})"/>' for x, y in points),
        plots._text(RIGHT + 10, at + 5, name, anchor="start", colour=f"var(--ps-{colour})"),
    ]


def _apart(ends: Mapping[str, Number], top: Number, bottom: Number) -> dict[str, Number]:
    """Heights for the names, near the ends of their lines and at least GAP apart."""
    order = sorted(ends, key=ends.__getitem__)
    heights: list[Number] = []
    for name in order:
        heights.append(max(ends[name], heights[-1] + GAP if heights else top))
    lowest = bottom
    for i in range(len(heights) - 1, -1, -1):  # what was pushed off the panel comes back up
        heights[i] = min(heights[i], lowest)
        lowest = heights[i] - GAP
    return dict(zip(order, heights, strict=True))
