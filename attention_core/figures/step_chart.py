"""One curve a method over the steps of a figure, without JavaScript: the Python twin of step_chart.js."""

from collections.abc import Sequence
from numbers import Real
from typing import Any, NamedTuple

from attention_core.figures.static import Markup, fixed, h

PENS = {  # for pages without the style sheet
    "on": "fill: none; stroke: var(--pa-accent, #1d4fb8)",
    "base": "fill: none; stroke: var(--pa-muted, #566072)",
    "off": "fill: none; stroke: var(--pa-control, #7b8698)",
}


class Axes(NamedTuple):
    low: float  # of the vertical axis
    high: float
    marks: Sequence[float]  # on it
    xs: Sequence[float]  # of each step, in per cent
    ticks: Sequence[tuple[str, float]]  # below, with their place in per cent
    fill: bool = False  # whether the area under the chosen curve is shaded

    def sent(self) -> dict[str, Any]:
        """As the view reads it."""
        return {**self._asdict(), "ticks": [list(tick) for tick in self.ticks]}


def climb(axes: Axes, y: Real) -> Real:
    """Place of a value on the vertical axis, in per cent from below."""
    return 100 * (y - axes.low) / (axes.high - axes.low)


def course(axes: Axes, ys: Sequence[Real]) -> str:
    points = (f"{_two(x)} {_two(100 - climb(axes, y))}" for x, y in zip(axes.xs, ys, strict=True))
    return "M" + "L".join(points)


def _two(x: Real) -> str:
    return fixed(x).replace("−", "-")


def heard(label: str, title: str, ys: Sequence[Real], at: int) -> str:
    return f"{label}. {title}: {fixed(ys[0])} at first, {fixed(ys[at])} here, {fixed(ys[-1])} at the end"


def chart(
    label: str,
    axes: Axes,
    titles: Sequence[str],
    dashed: Sequence[bool],
    curves: Sequence,
    mine: int,
    at: int,
) -> Markup:
    """The chart and its key; `dashed` are the curves of baselines, `mine` the chosen one, `at` the step."""
    kinds = ["on" if i == mine else "base" if dashed[i] else "off" for i in range(len(titles))]
    order = [i for i in range(len(titles)) if i != mine] + [mine]
    lines = [h(f"path.pa-sc-{kinds[i]}", d=course(axes, curves[i]), style=PENS[kinds[i]]) for i in order]
    if axes.fill:
        d = f"{course(axes, curves[mine])}V100H{axes.xs[0]:g}Z"
        lines.insert(0, h("path.pa-sc-area", d=d, fill="none"))
    svg = h("svg", *lines, viewBox="0 0 100 100", preserveAspectRatio="none", aria_hidden="true")
    left, bottom = f"left: {axes.xs[at]}%", f"bottom: {climb(axes, curves[mine][at])}%"
    marks = (
        h("span.pa-sc-y", h("span", fixed(mark, 1)), style=f"bottom: {climb(axes, mark)}%")
        for mark in axes.marks
    )
    ticks = (h("span.pa-sc-x", text, style=f"left: {x}%") for text, x in axes.ticks)
    parts = (*marks, h("span.pa-sc-at", style=left), svg, h("span.pa-sc-dot", style=f"{left}; {bottom}"))
    box = h(
        "div.pa-sc-box", *parts, *ticks, role="img", aria_label=heard(label, titles[mine], curves[mine], at)
    )
    return h("div", box, _key(titles[mine], kinds))


def _key(title: str, kinds: Sequence[str]) -> Markup:
    names = {"on": title, "off": "other methods", "base": "baselines"}
    spans = (h("span", h(f"i.pa-sc-{kind}"), name) for kind, name in names.items() if kind in kinds)
    return h("p.pa-key.pa-sc-key", *spans)
