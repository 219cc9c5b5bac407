"""The words and the static picture of `RandomizedModel`: the Python twin of randomized_model.js."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from attention_core.figures import maps
from attention_core.figures.static import Markup, fixed, h, section
from attention_core.figures.step_chart import Axes, chart

STAYS, GOES = 0.9, 0.5  # rank correlations from which on a map is said to stay, and up to which to go
CURVE = "Rank correlation with the map as trained, from the head down"
TILES = ("modules drawn anew", "rank correlation", "probability, trained", "probability, now")


def listed(names: Sequence[str]) -> str:
    """a; a and b; a, b and c."""
    return " and ".join(filter(None, [", ".join(names[:-1]), names[-1]]))


def describe(
    method: Mapping[str, Any], name: str, stages: Sequence[str], now: Mapping[str, Any]
) -> list[str]:
    """The sentence of result; `stages` are those that are drawn anew, `now` as the figure has it."""
    if not stages:
        return [
            "Nothing is drawn anew: both maps are of the model as trained.",
            f"It gives {name} the probability {fixed(now['before'])}.",
        ]
    return [
        f"With {listed(stages)} drawn anew, {method['title']} keeps a rank correlation of "
        f"{fixed(now['alike'])} with its map as trained.",
        f"The probability of {name} was {fixed(now['before'])} and is {fixed(now['after'])}.",
        remark(method, now),
    ]


def remark(method: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    if method["aloof"]:
        return "It never looks at the model, so nothing can change it: it cannot say what the model does."
    if now["blank"]:
        return "The map has no value but one: there are no ranks left to compare."
    if now["alike"] >= STAYS:
        return (
            "What stays when what was learnt is lost cannot be about it, though it may describe "
            "something else."
        )
    if now["alike"] <= GOES:
        return "The map hangs on what was learnt there. That alone does not make it right."
    return "Part of the map hangs on what was learnt there, part of it does not."


def facts(at: int, every: int, now: Mapping[str, Any]) -> list[str]:
    return [f"{at} of {every}", *(fixed(now[key]) for key in ("alike", "before", "after"))]


def captions(title: str, stages: Sequence[str]) -> list[str]:
    """Above the map as trained, and above that of now."""
    return [f"{title}, as trained", f"Now, anew down to {stages[-1]}" if stages else "Now: as trained"]


# -- parts of the static picture ---------------------------------------------------------------------------


def axes(alike: np.ndarray, stages: Sequence[str]) -> Axes:
    """From the lowest correlation, in halves, to 1; a tick for each stage."""
    low = min(0.0, float(np.floor(2 * alike.min()) / 2))
    marks = np.arange(low, 1.01, 0.5).tolist()
    xs = [100 * i / len(stages) for i in range(len(stages) + 1)]
    short = ["none", *(stage.removeprefix("layer ").removeprefix("the ") for stage in stages)]
    short[-1] = "all"  # "embedding" would stand out of the card
    return Axes(low, 1.0, marks, xs, list(zip(short, xs, strict=True)))


def panels(picture: np.ndarray, pair: np.ndarray, record: Mapping[str, Any], stages: Sequence[str]) -> Markup:
    """The map of the model as trained, beside that of now."""
    parts = []
    for title, values in zip(captions(record["title"], stages), pair, strict=True):
        board = maps.board(values, label=title, picture=picture, signed=record["signed"])
        top = float(np.abs(values).max())
        parts.append(maps.panel(title, board, below=maps.legend(top, record["signed"])))
    return h("div.pa-flow.pa-pmpanels", *parts)


def detail(
    axes: Axes, records: Sequence[Mapping[str, Any]], alike: np.ndarray, mine: int, at: int,
    now: Mapping[str, Any],
) -> Markup:  # fmt: skip
    titles, dashed = [r["title"] for r in records], [r["aloof"] for r in records]
    told = zip(TILES, facts(at, len(axes.xs) - 1, now), strict=True)
    tiles = (h("div.pa-tile", h("span", tile), h("strong", text)) for tile, text in told)
    drawn = chart(CURVE, axes, titles, dashed, alike.tolist(), mine, at)
    return section("detail", CURVE, drawn, h("div.pa-tiles", *tiles))
