"""Head ablation's words and its static picture: the Python twin of head_ablation.js."""

from collections.abc import Sequence
from math import log

import numpy as np

from attention_core.figures.head_ablation_values import subset
from attention_core.figures.scenes import listed
from attention_core.figures.static import Markup, fixed, h, section, sentence

WHERE = {"encoder": "the encoder", "decoder": "the decoder", "cross": "the cross-attention"}
ABOVE = "Loss (nats a word, log scale) of every subset; in each column from best to worst"
BELOW = "heads that are on: press a number for the best subset of that size"
TILES = ("heads on", "loss", "change", "one at a time, in all")
Size = tuple[int, int]  # layers, heads
Place = tuple[float, float]  # in per cent


def loss(x: float) -> str:
    return fixed(x, 3)


def signed(x: float) -> str:
    return ("" if x < 0 else "+") + fixed(x, 3)


def named(off: int, size: Size) -> str:
    """The heads that are off, in words."""
    groups: dict[int, list[str]] = {}
    for layer, head in subset(off, *size):
        groups.setdefault(layer, []).append(str(head + 1))
    return listed(
        [
            f"head{'s' if heads[1:] else ''} {listed(heads)} of layer {layer + 1}"
            for layer, heads in groups.items()
        ]
    )


def ordered(losses: Sequence[float]) -> list[list[int]]:
    """The subsets by how many heads are on, each from the least loss to the largest."""
    count = len(losses).bit_length() - 1
    found: list[list[int]] = [[] for _ in range(count + 1)]
    for off in sorted(range(len(losses)), key=lambda off: (losses[off], off)):
        found[count - off.bit_count()].append(off)
    return found


def places(losses: Sequence[float], scale: tuple[float, float]) -> list[Place]:
    """Where each subset stands: see `places` in head_ablation.js."""
    by_size = ordered(losses)
    pitch, found = 100 / len(by_size), [(0.0, 0.0)] * len(losses)
    for on, those in enumerate(by_size):
        for rank, off in enumerate(those):
            across = pitch * (on + 0.5 + 0.8 * ((rank + 0.5) / len(those) - 0.5))
            found[off] = (across, climb(losses[off], scale))
    return found


def climb(x: float, scale: tuple[float, float]) -> float:
    """Height of a loss, in per cent."""
    return 100 * log(x / scale[0]) / log(scale[1] / scale[0])


def facts(losses: Sequence[float], off: int) -> list[str]:
    """What the tiles say."""
    count, gone = len(losses).bit_length() - 1, off.bit_count()
    change = signed(losses[off] - losses[0])
    single = signed(apart(losses, off)) if gone else "none is off"
    return [f"{count - gone} of {count}", loss(losses[off]), change, single]


def apart(losses: Sequence[float], off: int) -> float:
    """What the heads that are off cost one at a time, in all."""
    total = 0.0
    for bit in range(off.bit_length()):
        if off >> bit & 1:
            total += losses[1 << bit] - losses[0]
    return total


def describe(part: str, losses: Sequence[float], off: int, size: Size) -> list[str]:
    """The sentence the view shows: see `describe` in head_ablation.js."""
    every, by_size, change = len(losses) - 1, ordered(losses), losses[off] - losses[0]
    count, gone = every.bit_length(), off.bit_count()
    if off == 0:
        return _whole(part, losses, size)
    before, after = loss(losses[0]), loss(losses[off])
    moved = f"{'falls' if change < 0 else 'rises'} from {before} to {after}"
    moved = f"stays at {after}" if before == after else moved
    who = f"any head of {WHERE[part]}" if off == every else named(off, size)
    parts = [f"Without {who} the loss {moved} nats a word."]
    if gone > 1:
        parts.append(
            f"One at a time these heads cost {signed(apart(losses, off))} in all, together {signed(change)}."
        )
    if off == every:
        one = by_size[1][0]
        parts.append(f"With one of them alone, {named(every - one, size)}, it is {loss(losses[one])}.")
        return parts
    ways = by_size[count - gone]
    best = (
        f"number {ways.index(off) + 1}; the best leaves out {named(ways[0], size)}: {loss(losses[ways[0]])}"
    )
    parts.append(f"Of {len(ways)} ways to leave out {gone} it is {'the best' if ways[0] == off else best}.")
    if count - gone > 1:
        least = _left(losses, off)[0]
        parts.append(f"Next, {named(least, size)} would be missed least {_costs(losses, off, least)}.")
    return parts


def _whole(part: str, losses: Sequence[float], size: Size) -> list[str]:
    least, *_, most = _left(losses, 0)
    return [
        f"With all {size[0] * size[1]} heads of {WHERE[part]} the loss is {loss(losses[0])} nats a word.",
        f"Without any of them it is {loss(losses[-1])}.",
        f"Of single heads, {named(least, size)} would be missed least {_costs(losses, 0, least)}, "
        f"{named(most, size)} most {_costs(losses, 0, most)}.",
    ]


def _left(losses: Sequence[float], off: int) -> list[int]:
    """Each head that is on, as the number of itself alone, from the one that costs least to take out."""
    bits = [1 << bit for bit in range(len(losses).bit_length() - 1) if not off >> bit & 1]
    return sorted(bits, key=lambda bit: (losses[off + bit], bit))


def _costs(losses: Sequence[float], off: int, bit: int) -> str:
    return f"({signed(losses[off + bit] - losses[off])})"


# -- parts of the picture ----------------------------------------------------------------------------------


def body(
    part: str, losses: np.ndarray, off: int, size: Size, axis: dict[str, list], told: str
) -> tuple[Markup, ...]:
    """The chart with its axis of sizes, the tiles, and the sentence."""
    losses = losses.tolist()
    best = [those[0] for those in ordered(losses)]
    keys = [h("span.pa-chosen" if off == best[on] else "span", str(on)) for on in range(len(best))]
    pairs = zip(TILES, facts(losses, off), strict=True)
    tiles = h("div.pa-tiles", *(h("div.pa-tile", h("span", name), h("strong", text)) for name, text in pairs))
    below = h("p.pa-caption.pa-ha-below", BELOW)
    axis_of_sizes = h("div.pa-ha-axis", *keys)
    return (
        section("flow", ABOVE, chart(losses, best, off, axis), axis_of_sizes, below, legend()),
        section("detail", told, tiles),
        sentence(describe(part, losses, off, size)),
    )


def chart(losses: Sequence[float], best: Sequence[int], off: int, axis: dict[str, list]) -> Markup:
    """Every subset as a dot, the best of each size joined by a line, the one that is set on top."""
    scale = tuple(axis["range"])
    at = places(losses, scale)
    ticks = [
        h("span.pa-ha-y", h("span", text), style=f"bottom: {climb(y, scale):.4f}%")
        for y, text in axis["ticks"]
    ]
    said = ", ".join(f"{on}: {loss(losses[off])}" for on, off in enumerate(best))
    lines = h(
        "svg",
        _path("dots", dots(at), "var(--pa-control, #7b8698)"),
        _path("best", course([at[i] for i in best]), "var(--pa-ink, #1b2230)"),
        _path("bests", dots([at[i] for i in best]), "var(--pa-ink, #1b2230)"),
        viewBox="0 0 100 100", preserveAspectRatio="none", aria_hidden="true",
    )  # fmt: skip
    return h(
        "div.pa-ha-box",
        *ticks,
        h("span.pa-ha-base", h("span", "all heads"), style=f"bottom: {at[0][1]:.4f}%"),
        lines,
        h("span.pa-ha-dot", style=f"left: {at[off][0]:.4f}%; bottom: {at[off][1]:.4f}%"),
        role="img",
        aria_label=f"Loss of the best subset by heads that are on: {said}",
    )


def _path(name: str, d: str, stroke: str) -> Markup:
    return h(f"path.pa-ha-{name}", d=d, style=f"fill: none; stroke: {stroke}")


def dots(at: Sequence[Place]) -> str:
    """A dot at each place, as one path: lines of no length with round ends."""
    return "".join(f"M{fixed(x)} {fixed(100 - y)}h0" for x, y in at)


def course(at: Sequence[Place]) -> str:
    return "M" + "L".join(f"{fixed(x)} {fixed(100 - y)}" for x, y in at)


def legend() -> Markup:
    names = ("one subset", "the best of its size", "the one that is set")
    return h("p.pa-ha-key", *(h("span", h(f"i.pa-ha-key-{i}"), name) for i, name in enumerate(names)))
