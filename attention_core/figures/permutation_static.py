"""The static picture of `Permutation`: the Python twin of what permutation.js draws."""

from collections.abc import Sequence

import numpy as np

from attention_core.figures.static import Markup, fixed, h, tidy

NEGATIVE, ZERO, POSITIVE = (
    "var(--pa-neg, #004e9b)",
    "var(--pa-zero, #f7f4f2)",
    "var(--pa-pos, #7f3800)",
)


def small(x: float) -> str:
    """Two figures, as a power of ten below 0.001."""
    if x == 0 or x >= 0.001:
        return tidy(x, 2)
    digits, exponent = f"{x:.1e}".split("e-")
    return f"{digits} × 10⁻{''.join('⁰¹²³⁴⁵⁶⁷⁸⁹'[int(i)] for i in exponent.lstrip('0'))}"


def threads(order: Sequence[int]) -> list[str]:
    """A path from each place of PX to where its word stood in X, in a box of 1000 x 100."""
    pitch = 1000 / len(order)
    ends = [((i + 0.5) * pitch, (place + 0.5) * pitch) for place, i in enumerate(order)]
    return [f"M{a:.1f} 0C{a:.1f} 55 {b:.1f} 45 {b:.1f} 100" for a, b in ends]


def flow(words: Sequence[str], order: Sequence[int]) -> Markup:
    """The first word is the picked one, as in the live figure before anything is pressed."""
    paths = [
        h("path.pa-thread-on" if i == 0 else "path.pa-thread", d=d)
        for i, d in zip(order, threads(order), strict=True)
    ]
    above = (h("span.pa-chip", word) for word in words)
    below = (
        h("span.pa-chip.pa-loose.pa-picked" if i == 0 else "span.pa-chip.pa-loose", words[i]) for i in order
    )
    buttons = (h("span.pa-order-button", text) for text in ("◀", "▶", "Reverse", "Rotate", "Reset"))
    return h(
        "div.pa-orders",
        h("div.pa-chips", *above),
        h("svg.pa-threads", *paths, viewBox="0 0 1000 100", preserveAspectRatio="none"),
        h("div.pa-chips", *below),
        h("div.pa-order-buttons", *buttons),
        aria_hidden="true",
        style=f"--columns: {len(words)}",
    )


def diverge(t: float) -> str:
    """CSS colour of a number in [-1, 1]."""
    side = NEGATIVE if t < 0 else POSITIVE
    return f"color-mix(in oklab, {side} {100 * min(abs(t), 1):.2f}%, {ZERO})"


def strip(values: np.ndarray, limit: float, label: str) -> Markup:
    cells = (h("span", style=f"background: {diverge(x / limit)}") for x in values)
    return h("div.pa-strip", *cells, role="img", aria_label=f"{label}: {', '.join(map(fixed, values))}")


def strips(
    words: Sequence[str], output: np.ndarray, expected: np.ndarray, limit: float
) -> tuple[Markup, Markup]:
    """One line a word: f(PX), P f(X), their difference, and its largest entry."""
    gaps = np.abs(output - expected).max(axis=1)
    heads = ("", "f(PX)", "P f(X)", "difference", "largest")
    head = h("div.pa-vector.pa-vector-head", *(h("span", text) for text in heads), aria_hidden="true")
    lines = [
        h(
            "div.pa-vector",
            h("strong.pa-vector-word", word),
            strip(a, limit, f"{word}, f(PX)"),
            strip(b, limit, f"{word}, P f(X)"),
            strip(a - b, limit, f"{word}, difference"),
            h("span.pa-vector-gap", small(gap)),
        )
        for word, a, b, gap in zip(words, output, expected, gaps, strict=True)
    ]
    scale = h(
        "div.pa-diverging", h("i", fixed(-limit, 1)), h("span"), h("i", fixed(limit, 1)), aria_hidden="true"
    )
    total = h("p.pa-total", "largest |f(PX) − P f(X)| = ", h("strong", small(gaps.max())))
    return h("div.pa-vectors", head, *lines), h("div.pa-vector-foot", total, scale)
