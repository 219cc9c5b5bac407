"""The words and the static picture of `ClassMaps`: the Python twin of class_maps.js."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from attention_core.figures import maps
from attention_core.figures.static import Markup, fixed, h, percent, section

LETTERS = ("A", "B")
ENDS = ("against", "for it")  # what the ends of a signed map's scale mean
WHERE = "Where the maps lie: shares of what is positive"
EVEN = "A map spread evenly"
KEY = ("on what is asked for", "on the other", "on neither")
Record = Mapping[str, Any]  # title, signed, blind: see `recorded`
Facts = Mapping[str, Any]  # those of class_maps_values


# -- words -------------------------------------------------------------------------------------------------


def describe(record: Record, facts: Facts, answer: int, names: Sequence[str], raw: bool) -> list[str]:
    """The sentence of result; `raw` where the method is the one that stands beside it anyway."""
    return [
        _where(record, facts, answer, names),
        _changed(record, facts, f"{LETTERS[1 - answer]}, the {names[1 - answer]}"),
        "" if raw else "Raw attention, beside it, is the same for both.",
    ]


def _where(record: Record, facts: Facts, answer: int, names: Sequence[str]) -> str:
    asked, own, other = f"Asked for {LETTERS[answer]}, the {names[answer]}", facts["own"], facts["other"]
    if facts["blank"][answer]:
        return f"{asked}, the map is 0 everywhere: nothing here spoke for it."
    if own[answer] is None or other[answer] is None:
        return f"{asked}: {record['title']}."
    what = "the map's positive part" if record["signed"] else "the map"
    return (
        f"{asked}: {percent(own[answer])} of {what} lies on it, {percent(other[answer])} on the "
        f"{names[1 - answer]}."
    )


def _changed(record: Record, facts: Facts, other: str) -> str:
    if facts["difference"] == 0:
        why = ": it has no argument for the class" if record["blind"] else ""
        return f"Asked for {other}, {record['title']} gives the same map, difference 0{why}."
    return (
        f"Asked for {other}, {record['title']} gives another map: the two correlate by "
        f"{fixed(facts['correlation'])}."
    )


def shares(facts: Facts, answer: int) -> list[float] | None:
    """On the object asked for, on the other, on neither; None where that is not known or nothing is there."""
    own, other = facts["own"][answer], facts["other"][answer]
    if own is None or other is None or facts["blank"][answer]:
        return None
    return [own, other, max(1 - own - other, 0)]


def captions(record: Record, raw: Record, answer: int, names: Sequence[str]) -> list[str]:
    """Above the picture, the map, and raw attention."""
    pair = ", ".join(f"{letter}: {name}" for letter, name in zip(LETTERS, names, strict=True))
    return [
        f"The picture. {pair}",
        f"{record['title']}, asked for {LETTERS[answer]}",
        f"{raw['title']}, last layer",
    ]


# -- parts of the static picture ---------------------------------------------------------------------------


def panels(
    picture: np.ndarray, found: Sequence[tuple[Record, np.ndarray]], lines: Sequence[Sequence[bool]],
    answer: int, names: Sequence[str],
) -> Markup:  # fmt: skip
    """The picture with its two objects, the map, and raw attention."""
    (record, shown), (raw, _) = found
    shape = shown.shape
    both = np.logical_or(*lines).reshape(shape) if all(lines) else None
    asked = np.reshape(lines[answer], shape) if all(lines) else None
    titles = captions(record, raw, answer, names)
    plain = maps.board(np.zeros(shape), label=titles[0], picture=picture, outline=both, kind=".pa-pmplain")
    letters = [badge(LETTERS[i], line, shape, i == answer) for i, line in enumerate(lines) if line]
    parts = [maps.panel(titles[0], plain, *letters)]
    for (own, values), title in zip(found, titles[1:], strict=True):
        board = maps.board(values, label=title, picture=picture, signed=own["signed"], outline=asked)
        scale = maps.legend(float(np.abs(values).max()), own["signed"], ENDS if own["signed"] else ("", ""))
        parts.append(maps.panel(title, board, below=scale))
    return h("div.pa-flow.pa-wide.pa-pmpanels", *parts)


def badge(letter: str, line: Sequence[bool], shape: Sequence[int], asked: bool) -> Markup:
    kind = ".pa-cm-asked" if asked else ""
    return h(f"span.pa-cm-badge{kind}", letter, style=spot(line, shape), aria_hidden="true")


def spot(line: Sequence[bool], shape: Sequence[int]) -> str:
    """The upper left corner of the first patch that an object touches, in per cent."""
    row, column = divmod(list(line).index(True), shape[1])
    top, left = row / shape[0], column / shape[1]
    return f"top: {100 * top:g}%; left: {100 * left:g}%"


def detail(found: Sequence[tuple[str, Facts]], answer: int) -> list[Markup]:
    """How much of each map lies where, as bars; nothing where no masks are known."""
    if any(share is None for share in (*found[0][1]["own"], *found[0][1]["other"])):
        return []
    bars = (_bar(title, shares(facts, answer)) for title, facts in found)
    key = h("p.pa-key", *(h("span", h(f"i.pa-cm-{i}"), name) for i, name in enumerate(KEY)))
    return [section("detail", WHERE, *bars, key)]


def _bar(title: str, found: Sequence[float] | None) -> Markup:
    """One map's shares, as a bar and in numbers."""
    inner = (h(f"i.pa-cm-{i}", style=f"width: {100 * x:.3f}%") for i, x in enumerate(found or (0, 0, 0)))
    text = " · ".join(percent(x) for x in found) if found else "nothing is positive"
    return h(
        "div.pa-cm-row", h("span", title), h("strong", text), h("div.pa-cm-bar", *inner, aria_hidden="true")
    )
