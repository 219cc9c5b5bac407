"""The words and the static picture of `Faithfulness`: the Python twin of faithfulness.js."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from attention_core.figures import maps
from attention_core.figures.static import Markup, fixed, h, section
from attention_core.figures.step_chart import Axes, chart

NEAR = 0.02  # areas so near are called equal
CURVE = "Probability of {name}, by share of patches gone"
TILES = ("with all patches", "with those left", "area under the curve", "area, order by lot")


class Now(NamedTuple):
    """The present state: the curve at a step of its order."""

    gone: int  # patches
    patches: int
    whole: float  # probability with all of them
    left: float  # with what is left
    lot: float  # with as many gone by lot
    area: float  # under the curve
    chance: float  # under that of the order by lot


def describe(title: str, name: str, now: Now, lowest: bool, random: bool) -> list[str]:
    """The sentence of result; `random` where the method itself is the order by lot."""
    lead = _lead(title, name, now, lowest, random)
    return [lead, *([] if random else [_chance(now), _area(now, lowest)])]


def _lead(title: str, name: str, now: Now, lowest: bool, random: bool) -> str:
    if now.gone == 0:
        return f"With all {now.patches} patches the probability of {name} is {fixed(now.whole)}."
    if now.gone == now.patches:
        return f"Without any patch the probability of {name} is {fixed(now.left)}: there all curves end."
    before, after = fixed(now.whole), fixed(now.left)
    went = (
        "stays at" if before == after else f"{'falls' if now.left < now.whole else 'rises'} from {before} to"
    )
    which = "drawn by lot" if random else f"that {title} ranks {'lowest' if lowest else 'highest'}"
    return (
        f"Without the {now.gone} of {now.patches} patches {which}, the probability of {name} {went} {after}."
    )


def _chance(now: Now) -> str:
    if now.gone in (0, now.patches):
        return ""
    return f"Without as many drawn by lot it is {fixed(now.lot)}."


def _area(now: Now, lowest: bool) -> str:
    """Highest first, a small area is good; lowest first, a large one."""
    areas = f"The area under the curve is {fixed(now.area)}, by lot {fixed(now.chance)}"
    better = (now.area - now.chance) * (1 if lowest else -1)
    if abs(better) < NEAR:
        return f"{areas}: much the same as chance."
    if better > 0:
        return f"{areas}: {'what it ranks low can be spared' if lowest else 'what it ranks high has effect'}."
    return f"{areas}: " + (
        "low in the map is not low in effect." if lowest else "high in the map is not high in effect."
    )


def facts(now: Now) -> list[str]:
    return [fixed(x) for x in (now.whole, now.left, now.area, now.chance)]


def captions(title: str, now: Now) -> list[str]:
    """Above the map, and above what is left of the picture."""
    return [title, f"Left: {now.patches - now.gone} of {now.patches} patches"]


def removing(steps: int) -> str:
    return "Sixteenths gone" if steps == 16 else f"Parts gone, of {steps}"


# -- parts of the static picture ---------------------------------------------------------------------------


def axes(shares: np.ndarray) -> Axes:
    ticks = [("0", 0.0), ("¼", 25.0), ("½", 50.0), ("¾", 75.0), ("all", 100.0)]
    return Axes(0.0, 1.0, (0.0, 0.5, 1.0), [100 * x for x in shares.tolist()], ticks, fill=True)


def panels(
    picture: np.ndarray, values: np.ndarray, gone: np.ndarray, record: Mapping[str, Any], now: Now
) -> Markup:
    """The map, and the picture without the patches that are gone."""
    titles = captions(record["title"], now)
    board = maps.board(values, label=titles[0], picture=picture, signed=record["signed"], outline=gone)
    top = float(np.abs(values).max())
    left = maps.board(
        np.zeros(values.shape), label=titles[1], picture=picture, dropped=gone, kind=".pa-pmplain"
    )
    return h(
        "div.pa-flow.pa-pmpanels",
        maps.panel(titles[0], board, below=maps.legend(top, record["signed"])),
        maps.panel(titles[1], left),
    )


def detail(
    name: str, axes: Axes, titles: Sequence[str], dashed: Sequence[bool], curves: np.ndarray, mine: int,
    at: int, now: Now,
) -> Markup:  # fmt: skip
    label = CURVE.format(name=name)
    tiles = (
        h("div.pa-tile", h("span", tile), h("strong", text))
        for tile, text in zip(TILES, facts(now), strict=True)
    )
    drawn = chart(label, axes, titles, dashed, curves.tolist(), mine, at)
    return section("detail", label, drawn, h("div.pa-tiles", *tiles))
