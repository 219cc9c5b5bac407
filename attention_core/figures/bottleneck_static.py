"""The static picture of `Bottleneck`, and its sentence: the Python twin of bottleneck.js."""

from collections.abc import Sequence
from math import inf, log
from numbers import Real

from attention_core.figures import static
from attention_core.figures.static import Markup, fixed, h

SPELLED = 8  # tokens up to which every bar carries its number
ABOVE = "Through one state: what is left of each token, beside the newest"
BELOW = "Direct links: one step from every token, nothing fades on the way"
LINK = "A direct link is one step long for every token, the oldest like the newest."
ENDS = {
    0: (
        "At gate 0 the state is the newest token and nothing else.",
        "Each new token writes over all that was there.",
    ),
    1: (
        "At gate 1 the state keeps everything and writes nothing.",
        "No token can fade, because none ever gets in.",
    ),
}
NAMES = ("half is left after", "left of the oldest", "tokens with 1\u00a0% or more", "written of each token")


def half_life(gate: Real) -> Real:
    """Tokens after which half is left."""
    return {0: 0.0, 1: inf}[gate] if gate in (0, 1) else log(0.5) / log(gate)


def share(x: Real) -> str:
    """A share in per cent that never claims all or nothing where it is not."""
    if x in (0, 1):
        return f"{100 * x:.0f}\u00a0%"
    if x < 1e-4:
        return "under 0.01\u00a0%"
    if x > 0.999:
        return "over 99.9\u00a0%"
    return f"{fixed(100 * x, 2 if x < 0.01 else 1 if x < 0.1 or x > 0.99 else 0)}\u00a0%"


def alive(kept: Sequence[Real]) -> int:
    """How many tokens keep a hundredth or more."""
    return sum(x >= 0.01 for x in kept)


def tokens(half: Real) -> str:
    return {inf: "never", 0: "at once"}.get(half) or f"{fixed(half, 1)} tokens"


def describe(kept: Sequence[Real], gate: Real) -> list[str]:
    """The sentence the view shows: see `describe` in bottleneck.js."""
    n = len(kept)
    if gate in ENDS:
        return [*ENDS[gate], LINK]
    return [
        f"At gate {fixed(gate)} one state keeps {share(kept[0])} of the token {n - 1} back.",
        f"Half is gone after {tokens(half_life(gate))}; 1\u00a0% or more is left of {alive(kept)} of {n}.",
        LINK,
    ]


def facts(kept: Sequence[Real], gate: Real) -> list[str]:
    return [tokens(half_life(gate)), share(kept[0]), f"{alive(kept)} of {len(kept)}", share(1 - gate)]


# -- parts of the static picture ---------------------------------------------------------------------------


def middle(j: Real, n: int) -> Real:
    """Middle of token j, in per cent."""
    return 100 * (j + 0.5) / n


def retention(kept: Sequence[Real], gate: Real) -> tuple[Markup, Markup]:
    """A bar for each token, and the point where half is left."""
    n, half = len(kept), half_life(gate)
    grid = (
        h("div.pa-neck-line", h("span", text), style=f"bottom: {100 * y:g}%")
        for y, text in ((1, "1"), (0.5, "½"))
    )
    bars = h("div.pa-neck-bars", *(_bar(x, n <= SPELLED) for x in kept), style=f"--tokens: {n}")
    at = middle(n - 1 - half, n)
    mark = h(
        "div.pa-neck-half.pa-neck-early" if at < 50 else "div.pa-neck-half",
        h("span", f"half left, {fixed(half, 1)} back"),
        style=f"left: {at:.4f}%",
    )
    said = f"Through the state: {share(kept[0])} of the oldest of {n} tokens is left, all of the newest"
    there = (mark,) if half > 0 and at >= 0 else ()
    box = h("div.pa-neck-box", *grid, bars, *there, role="img", aria_label=said)
    return box, h("p.pa-neck-ends", h("span", f"oldest, {n - 1} back"), h("span", "newest"))


def _bar(x: Real, spelled: bool) -> Markup:
    number = (h("span", fixed(x), style=f"bottom: {100 * x:.4f}%"),) if spelled else ()
    bar = h("i", style=f"height: {100 * x:.4f}%; background: {static.ramp(x)}")
    return h("div.pa-neck-bar", bar, *number)


def links(n: int) -> Markup:
    """A curve from every token to the reader."""
    curves = (
        h(
            "path",
            d=f"M{middle(j, n):.2f} 0C{middle(j, n):.2f} 60 50 40 50 100",
            style="fill: none; stroke: var(--pa-s7, #047097)",
        )
        for j in range(n)
    )
    fan = h("svg", *curves, viewBox="0 0 100 100", preserveAspectRatio="none", aria_hidden="true")
    said = f"{n} direct links to the reader, all alike"
    return h("div.pa-neck-links", fan, h("span.pa-neck-reader", "reader"), role="img", aria_label=said)


def tiles(kept: Sequence[Real], gate: Real) -> Markup:
    pairs = zip(NAMES, facts(kept, gate), strict=True)
    return h("div.pa-tiles", *(h("div.pa-tile", h("span", name), h("strong", text)) for name, text in pairs))
