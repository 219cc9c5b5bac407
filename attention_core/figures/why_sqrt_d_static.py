"""The static picture of `WhySqrtD`, and its sentence: the Python twin of why_sqrt_d.js."""

from collections.abc import Sequence
from numbers import Real

import numpy as np

from attention_core.figures import static
from attention_core.figures.static import Markup, fixed, h, percent, tidy

DIVISORS = ("nothing", "√d", "d")
REACH = 24  # the axis of scores runs from -24 to 24, whatever the width
BINS, BREADTH = 40, 5  # bins of the histogram, and how many root mean squares they reach to each side
NUMBERS = ("variance", "largest", "gradient", "read", "beyond", "unit")
Numbers = Sequence[float] | np.ndarray  # as `measure` lists them
CURVES = {"largest": "Largest weight", "gradient": "Gradient that survives the softmax"}


def divisor(width: int, choice: int) -> float:
    return (1.0, width**0.5, float(width))[choice]


def share(x: float) -> str:
    """A rounded percentage that never claims all or nothing."""
    return f"over {percent(0.99)}" if x >= 0.995 else f"under {percent(0.01)}" if x < 0.005 else percent(x)


def describe(width: int, choice: int, numbers: Numbers, ranges: Sequence[Real], keys: int) -> list:
    """The sentence the view shows: see `describe` in why_sqrt_d.js. `ranges`: widths, then variances."""
    by = ("Undivided", f"Divided by √{width}", f"Divided by {width}")[choice]
    variance, largest, gradient = numbers[:3]
    low, high, least, most = ranges
    peaked = (largest - 1 / keys) / (1 - 1 / keys)  # 0: all keys alike, 1: one key
    shape = "still soft"
    if peaked > 0.7:
        shape = "close to one-hot"
    elif peaked < 0.04:
        shape = "close to uniform, so it hardly chooses"
    return [
        f"{by}, the scores of vectors {width} wide have variance {tidy(variance)}.",
        f"At the powers of two from {low} to {high}, it lies between {tidy(least)} and {tidy(most)}.",
        f"The softmax is {shape}: its largest weight is {fixed(largest)} on average, and "
        f"{share(gradient)} of the gradient survives.",
    ]


def heights(measured: Numbers, width: int, choice: int) -> tuple[list[float], float]:
    """Histogram and normal curve in per cent, the higher of the two at 92."""
    deviation, unit = width**0.5 / divisor(width, choice), measured[NUMBERS.index("unit")]
    ratio = (2 * np.pi) ** 0.5 * deviation / (unit * 2 * BREADTH / BINS)
    relative = [share * ratio for share in measured[-BINS:]]
    top = 92 / max(1.0, *relative)
    return [top * x for x in relative], top


def outline(measured: Numbers, width: int, choice: int) -> str:
    """The histogram as one path: x in scores, y in per cent downwards."""
    levels, _ = heights(measured, width, choice)
    step = measured[NUMBERS.index("unit")] * 2 * BREADTH / BINS
    bars = [
        f"V{100 - y:.2f}H{step * (i + 1 - BINS / 2):.3f}" for i, y in enumerate(levels)
    ]  # fmt: skip
    return f"M{-step * BINS / 2:.3f} 100{''.join(bars)}V100Z"


def bell(measured: Numbers, width: int, choice: int) -> str:
    """The normal curve that independent entries of variance 1 would give, four deviations to each side."""
    _, top = heights(measured, width, choice)
    deviation = width**0.5 / divisor(width, choice)
    steps = [i / 8 for i in range(-32, 33)]
    return "M" + "L".join(f"{z * deviation:.3f} {100 - top * np.exp(-z * z / 2):.2f}" for z in steps)


def seen(measured: Numbers) -> tuple[str, str]:
    """What the histogram says to the ear, and what of it lies outside."""
    variance, beyond = measured[0], measured[NUMBERS.index("beyond")]
    outside = f"{percent(beyond)} lie beyond ±{REACH}" if beyond >= 0.005 else ""
    return f"Histogram of the scores: standard deviation {tidy(variance**0.5)}", outside


def spread(measured: np.ndarray, width: int, choice: int) -> Markup:
    undivided = measured.copy()
    undivided[NUMBERS.index("unit")] *= divisor(width, choice)
    label, outside = seen(measured)
    deviation = measured[0] ** 0.5
    half = 50 * min(deviation / REACH, 1)
    ticks = [
        h("span.pa-spread-tick", fixed(t, 0), style=f"left: {50 + 50 * t / REACH:.3f}%")
        for t in (-20.0, -10.0, 0.0, 10.0, 20.0)
    ]
    return h(
        "div.pa-spread",
        h(
            "svg",
            h("path.pa-spread-ghost", d=outline(undivided, width, 0)),
            h("path.pa-spread-bars", d=outline(measured, width, choice)),
            h("path.pa-spread-bell", d=bell(measured, width, choice)),
            viewBox=f"{-REACH} 0 {2 * REACH} 100", preserveAspectRatio="none", aria_hidden="true",
        ),
        h("span.pa-spread-beyond", outside),
        *ticks,
        h("div.pa-spread-sigma", style=f"left: {50 - half:.4f}%; width: {2 * half:.4f}%"),
        h("p.pa-spread-sd", f"standard deviation {tidy(deviation)}"),
        role="img",
        aria_label=label + (f"; {outside}" if outside else ""),
    )  # fmt: skip


def legend(width: int, choice: int) -> Markup:
    """The third entry keeps its place where there is nothing to compare."""
    expected = tidy(width / divisor(width, choice) ** 2)
    return h(
        "p.pa-spread-key",
        h("span", h("i.pa-spread-mine"), "measured"),
        h("span", h("i.pa-spread-normal"), f"normal, variance {expected}"),
        h("span", h("i.pa-spread-grey"), "undivided", style=None if choice else "visibility: hidden"),
    )


def bars(weights: np.ndarray) -> Markup:
    columns = [
        h(
            "div.pa-share",
            h(
                "div.pa-share-box",
                h("span.pa-share-fill", style=f"height: {100 * w:.4f}%; {static.paint(w)}"),
                h("span.pa-share-value", fixed(w), style=f"bottom: {100 * w:.4f}%"),
            ),
            h("span.pa-share-name", f"k{i}"),
        )
        for i, w in enumerate(weights, 1)
    ]
    level = h("div.pa-share-level", style=f"--at: {1 / len(weights):.6f}")
    listed = ", ".join(f"k{i} {fixed(w)}" for i, w in enumerate(weights, 1))
    size = f"--keys: {len(weights)}"
    return h("div.pa-shares", *columns, level, role="img", aria_label=f"Weights: {listed}", style=size)


def tiles(measured: Numbers, keys: int) -> Markup:
    variance, largest, gradient, read = measured[:4]
    values = {
        "variance of the scores": tidy(variance),
        "keys effectively read": f"{fixed(read, 1)} of {keys}",
        "largest weight": fixed(largest),
        "gradient that survives": share(gradient),
    }
    made = (h("div.pa-tile", h("span", k), h("strong", v)) for k, v in values.items())
    return h("div.pa-tiles", *made)


def apart(values: Sequence[float], least: float = 0.16) -> list[float]:
    """Places of labels for values in [0, 1], pushed up or down until no two touch."""
    order = sorted(range(len(values)), key=lambda i: values[i])
    places = [values[i] for i in order]
    for i in range(1, len(places)):
        places[i] = max(places[i], places[i - 1] + least)
    ceiling = 1.0
    for i in reversed(range(len(places))):
        places[i] = min(places[i], ceiling)
        ceiling = places[i] - least
    return [places[order.index(i)] for i in range(len(values))]


def along(width: Real, widths: Sequence[int]) -> float:
    """Place on the logarithmic axis of widths, in per cent."""
    return 100 * (np.log2(width) - 1) / max(len(widths) - 1, 1)


def plots(table: np.ndarray, measured: Numbers, widths: Sequence[int], width: int, choice: int) -> Markup:
    """How the softmax fares at every width: two plots, one line a divisor."""
    made = []
    for name, caption in CURVES.items():
        column = NUMBERS.index(name)
        box = plot(caption, table[..., column], measured[column], widths, along(width, widths), choice)
        made.append(h("div", h("p.pa-trends-name", caption), box))
    return h("div.pa-trends-pair", *made)


def plot(
    caption: str, values: np.ndarray, present: float, widths: Sequence[int], across: float, choice: int
) -> Markup:
    lines = [
        h("path.pa-trend-on" if c == choice else "path.pa-trend", d=line(values[:, c], widths))
        for c in sorted(range(len(DIVISORS)), key=lambda c: c == choice)  # the chosen one on top
    ]
    places = apart(values[-1].tolist())
    names = [
        h(f"span.pa-trend-name{'.pa-on' if c == choice else ''}", text, style=f"top: {100 - 100 * y:.3f}%")
        for c, (text, y) in enumerate(zip(DIVISORS, places, strict=True))
    ]
    return h(
        "div.pa-trends",
        h("svg", *lines, viewBox="0 0 100 100", preserveAspectRatio="none", aria_hidden="true"),
        h("span.pa-trend-dot", style=f"left: {across:.3f}%; top: {100 - 100 * present:.3f}%"),
        *names,
        *(h("span.pa-trend-tick", f"{d}", style=f"left: {along(d, widths):.3f}%") for d in widths[::2]),
        h("span.pa-trend-one", "1"),
        h("span.pa-trend-zero", "0"),
        role="img",
        aria_label=f"{caption} at every width; the dot is at {fixed(present)}",
    )


def line(values: np.ndarray, widths: Sequence[int]) -> str:
    points = zip(widths, values, strict=True)
    return "M" + "L".join(f"{along(d, widths):.2f} {100 - 100 * v:.2f}" for d, v in points)
