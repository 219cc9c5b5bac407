"""The static picture of a figure: HTML with the same classes, numbers and colours that kit.js makes.

It stands where scripts do not run: in print, with JavaScript off, and until the live figure is complete.
Layout and wording follow the kit, so that nothing on the page moves when the live figure takes its place.
"""

import html
from collections.abc import Sequence
from decimal import ROUND_HALF_UP, Decimal

import numpy as np

# fmt: off
LIGHT = ("#f7f5ec", "#dbe5b7", "#a8da9a", "#59cf99", "#0bb9a8", "#029fac",
         "#0787a2", "#047097", "#02588d", "#1d4177", "#272f51")
# fmt: on


class Markup(str):
    """Text that is HTML already, and must not be escaped again."""


def h(tag: str, *children: object, **attributes: object) -> Markup:
    """One element: `h("td.pa-cell", "0.94", style=...)`. Plain strings are escaped; `_` stands for `-`."""
    name, *classes = tag.split(".")
    if classes:
        attributes = {"class": " ".join(classes), **attributes}
    given = "".join(
        f' {key.replace("_", "-")}="{html.escape(str(value), quote=True)}"'
        for key, value in attributes.items()
        if value is not None
    )
    inner = "".join(c if isinstance(c, Markup) else html.escape(str(c), quote=False) for c in children)
    return Markup(f"<{name}{given}>{inner}</{name}>")


def fixed(x: float, digits: int = 2) -> str:
    """A number with a true minus, never minus zero; ties away from zero, as JavaScript's `toFixed`."""
    text = f"{Decimal(float(x)).quantize(Decimal(1).scaleb(-digits), ROUND_HALF_UP):f}"
    return text.replace("-", "" if float(text) == 0 else "−")


def tidy(x: float, digits: int = 3) -> str:
    """Three figures at most, no trailing zeros."""
    return np.format_float_positional(float(f"{x:.{digits}g}"), trim="-").replace("-", "−")


def percent(x: float) -> str:
    """The space before the sign does not break."""
    return f"{int(np.floor(100 * x + 0.5))}\u00a0%"


def ramp(t: float) -> str:
    """CSS colour of a weight in [0, 1], with the light stops for pages that lack the style sheet."""
    x = 10 * min(max(float(t), 0.0), 1.0)
    i = min(int(x), 9)
    over, under = (f"var(--pa-s{j}, {LIGHT[j]})" for j in (i + 1, i))
    return f"color-mix(in oklab, {over} {100 * (x - i):.2f}%, {under})"


def paint(t: float) -> str:
    """Inline style of a cell: its colour, and the ink that can be read on it."""
    name, light = ("low", "#000") if t < 0.44 else ("mid", "#000") if t < 0.64 else ("high", "#fff")
    return f"background: {ramp(t)}; color: var(--pa-ink-{name}, {light})"


def section(area: str, caption: str, *content: Markup) -> Markup:
    """A caption over its content."""
    return h(f"div.pa-{area}", h("p.pa-caption", caption), *content)


def sentence(parts: Sequence[str]) -> Markup:
    """The sentence of result: the claim in bold, then what qualifies it."""
    lead, *rest = parts
    return h("div.pa-result", h("p.pa-sentence", h("strong", lead), f" {' '.join(rest)}"))


def setting(label: str, value: str, kind: str = "pa-slider") -> Markup:
    """A control as a name and a value, in the room that the live one takes."""
    return h(f"div.pa-control.{kind}", h("span.pa-label", label), h("span.pa-value", value))


def choices(label: str, options: Sequence[str], chosen: int) -> Markup:
    """Toggle buttons that cannot be pressed."""
    spans = [
        h("span.pa-segment.pa-chosen" if i == chosen else "span.pa-segment", option)
        for i, option in enumerate(options)
    ]
    return h("div.pa-control.pa-toggles", h("span.pa-label", label), h("span.pa-segments.pa-input", *spans))


def checkbox(label: str, checked: bool) -> Markup:
    """A box that cannot be ticked."""
    fill = "var(--pa-accent, #1d4fb8)" if checked else "none"
    box = h(
        "b",
        "✓" if checked else "",
        style=f"width: 20px; height: 20px; line-height: 20px; text-align: center; border-radius: 4px; "
        f"background: {fill}; color: var(--pa-on-accent, #fff); "
        "box-shadow: inset 0 0 0 1px var(--pa-control, #7b8698)",
    )
    return h("span.pa-check", box, label)


def scroll(content: Markup, wide: bool) -> Markup:
    """A box that scrolls sideways; by keyboard too, where it is wide enough to need it."""
    return h(
        "div.pa-scroll",
        content,
        **(dict(tabindex=0, role="group", aria_label="Scrolls sideways") if wide else {}),
    )


def matrix(
    rows: Sequence[str],
    columns: Sequence[str],
    weights: np.ndarray,
    written: int,
    *,
    current: int | None = None,
    causal: bool = False,
) -> Markup:
    """The grid of weights, the last written row (or `current`) outlined, rows beyond it empty.

    A `causal` one has no cell above its diagonal.
    """
    current = written - 1 if current is None else current
    head = h("tr", h("td.pa-corner"), *(h("th.pa-colhead", name, scope="col") for name in columns))
    lines = []
    for r, name in enumerate(rows):
        cells = [
            h("td.pa-cell", fixed(w), style=paint(w)) if r < written else h("td.pa-cell.pa-unwritten", "·")
            for w in (weights[r, : r + 1] if causal else weights[r])
        ]
        line = "tr.pa-current" if r == current else "tr"
        lines.append(h(line, h("th.pa-rowhead", name, scope="row"), *cells))
    table = h("table.pa-grid", h("thead", head), h("tbody", *lines), style=f"--columns: {len(columns)}")
    return scroll(table, len(columns) > 3)
