"""Head picker's measures and words, and its static picture: the Python twin of head_picker.js."""

from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

import numpy as np

from attention_core.figures import maps, static
from attention_core.figures.head_picker_values import Read
from attention_core.figures.ribbons import ribbons
from attention_core.figures.static import Markup, fixed, h, section

FLOW = {
    "encoder": "What each word (below) reads (above); a ribbon’s width is its weight",
    "decoder": "What it has written (above) and reads as it writes (below); width = weight",
    "cross": "What it reads in the source (above) as it writes (below); width = weight",
}
ALL = "All heads: layers down, heads across"


class Fact(NamedTuple):
    """A share of a head's weight over all rows of one sentence."""

    name: str
    on: str  # as the sentence says it
    share: float
    even: float  # what it would be, were each row spread evenly over what it may read


class At(NamedTuple):
    """What is shown of which head."""

    rows: Sequence[str]
    columns: Sequence[str]
    part: str
    layer: int
    head: int
    row: int  # -1: none is meant
    column: int = -1


def sides(read: Read, part: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Words down and across: before it writes word i, the decoder has `<s>` and the words before it."""
    if part == "encoder":
        return read.source, read.source
    return read.target, read.source if part == "cross" else ("<s>", *read.target[:-1])


def measure(weights: np.ndarray, part: str, links: Sequence[tuple[int, int]] | None) -> list[Fact]:
    """Where a head's weight is, (rows, columns), averaged over the rows: see `measure` in head_picker.js."""
    rows, columns = np.indices(weights.shape)
    may = columns <= rows if part == "decoder" else np.ones(weights.shape, dtype=bool)
    even = may / may.sum(1, keepdims=True)

    def fact(name: str, on: str, has: np.ndarray, of: Iterable[int] = range(len(weights))) -> Fact:
        of = list(of)
        return Fact(name, on, *(float((x * has)[of].sum(1).mean()) for x in (weights, even)))

    end = fact("</s>", "“</s>”", columns == weights.shape[1] - 1)
    strongest = Fact("strongest", "", float(weights.max(1).mean()), float(even.max(1).mean()))
    itself = columns == rows
    if part == "encoder":
        return [
            fact("itself", "the word itself", itself),
            fact("word before", "the word before", columns == rows - 1),
            fact("word after", "the word after", columns == rows + 1),
            end,
            strongest,
        ]
    if part == "decoder":
        return [
            fact("just written", "the word just written", itself & (rows > 0)),
            fact("the one before", "the word before that", (columns == rows - 1) & (columns > 0)),
            fact("<s>", "“<s>”", columns == 0),
            strongest,
        ]
    found = [fact("same place", "the word in the same place", itself), end, strongest]
    if links is not None:
        gold = np.zeros(weights.shape, dtype=bool)
        gold[tuple(zip(*links, strict=True))] = True
        linked = np.flatnonzero(gold.any(1)).tolist()
        found.insert(0, fact("gold links", "words that gold links join to it", gold, linked))
    return found


def placed(layer: int, head: int) -> str:
    return f"Layer {layer + 1}, head {head + 1}"


def describe(at: At, weights: np.ndarray, facts: Sequence[Fact], locked: bool = False) -> list[str]:
    """The sentence the view shows: see `describe` in head_picker.js."""
    row = at.row if at.row >= 0 else int(_open(weights, at.part)[:, at.column].argmax())
    line = weights[row, : row + 1] if at.part == "decoder" else weights[row]
    best = int(line.argmax())
    column = best if at.column < 0 else at.column
    who, word = f"Head {at.head + 1} of layer {at.layer + 1} reads “{at.columns[column]}”", at.rows[row]
    when = f"from “{word}”" if at.part == "encoder" else f"when it writes “{word}”"
    with_ = f"with weight {fixed(line[column])}"
    parts = [f"{who} most {when}, {with_}." if at.row < 0 else f"{who} {with_} {when}."]
    if len(line) == 1:
        parts.append("There is nothing else to read yet.")
    elif (ties := int((line[best] - line < 5e-4).sum())) > 1:
        parts.append(f"{ties} words share the largest weight.")
    elif column != best:
        parts.append(f"Most, {fixed(line[best])}, goes to “{at.columns[best]}”.")
    parts.append(_most(facts))
    if "<unk>" in (*at.rows, *at.columns):
        parts.append("<unk> is a word that the model does not know.")
    return [*parts, *(["Locked: press Escape to release."] if locked else [])]


def _most(facts: Sequence[Fact]) -> str:
    """The share that exceeds an even spread by most; `strongest` is of no place, and left out."""
    fact = max(facts[:-1], key=lambda each: each.share - each.even)
    return (
        f"Over the sentence {fixed(fact.share)} of its weight is on {fact.on}; spread evenly it would be "
        f"{fixed(fact.even)}."
    )


def _open(weights: np.ndarray, part: str) -> np.ndarray:
    """Weights, below all of them where nothing may be read."""
    return np.where(np.tri(*weights.shape, dtype=bool), weights, -1) if part == "decoder" else weights


# -- parts of the picture ----------------------------------------------------------------------------------


def body(read: Read, part: str, layer: int, head: int) -> tuple[Markup, ...]:
    """All heads small, where the chosen one's weight is, its matrix, a word's ribbons, the sentence."""
    weights = read.weights[part][layer, head]
    rows, columns = sides(read, part)
    row = read.homes[0 if part == "encoder" else 1]
    facts = measure(weights, part, read.links)
    at = At(rows, columns, part, layer, head, row)
    wide, causal = ".pa-wide" if len(columns) > 6 else "", part == "decoder"
    later = "; later words are not there to be read" if causal else ""
    grid = static.matrix(rows, columns, weights, len(rows), current=row, causal=causal)
    return (
        thumbnails(read.weights[part], part, layer, head),
        h("div.pa-detail", bars(facts, layer, head)),
        h(
            "div.pa-hp-words",
            section(f"matrix{wide}", f"{placed(layer, head)}: each row sums to 1{later}", grid),
            section(f"flow{wide}", FLOW[part], flow(weights, at)),
        ),
        static.sentence(describe(at, weights, facts)),
    )


def thumbnails(weights: np.ndarray, part: str, layer: int, head: int) -> Markup:
    """All heads, small and on one scale; what a decoder may not read is the card's own surface."""
    future = ~np.tri(*weights.shape[2:], dtype=bool) if part == "decoder" else None
    names = [[str(i + 1) for i in range(count)] for count in weights.shape[:2]]
    small = maps.thumbnails(weights, *names, [(layer, head)], top=1.0, dropped=future)
    return section("hp-heads", ALL, small)


def bars(facts: Sequence[Fact], layer: int, head: int) -> Markup:
    """Shares of a head's weight, and a tick at what they would be, spread evenly."""
    caption = h("p.pa-caption", f"{placed(layer, head)}: where its weight is")
    return h("div.pa-hp-facts", caption, *(_bar(fact) for fact in facts))


def _bar(fact: Fact) -> Markup:
    fill = h("b", style=f"width: {100 * fact.share:g}%; background: {static.ramp(fact.share)}")
    track = h("span.pa-hp-track", fill, h("i", style=f"left: {100 * fact.even:g}%"), aria_hidden="true")
    number = h("span", h("strong", fixed(fact.share)), f" · evenly {fixed(fact.even)}")
    return h("p.pa-hp-fact", h("span", fact.name), number, track)


def flow(weights: np.ndarray, at: At) -> Markup:
    """The words that are read above, those that read below, and ribbons between them."""
    paths = []
    for r, line in enumerate(ribbons(weights)):
        kind, opacity = ("pa-on", 0.94) if r == at.row else ("pa-off", 0.2)
        for d, w in zip(line, weights[r], strict=True):
            if w >= 0.0005:
                paths.append(h(f"path.{kind}", d=d, style=f"fill: {static.ramp(w)}; opacity: {opacity}"))
    later: Callable[[int], bool] = lambda c: at.part == "decoder" and c > at.row  # noqa: E731
    keys = [h(f"span.pa-chip{'.pa-unwritten' if later(c) else ''}", w) for c, w in enumerate(at.columns)]
    queries = [h(f"span.pa-chip{'.pa-current' if r == at.row else ''}", w) for r, w in enumerate(at.rows)]
    box = h(
        "div.pa-flowbox",
        h("div.pa-chips", *keys),
        h("svg.pa-ribbons", *paths, viewBox="0 0 1000 100", preserveAspectRatio="none"),
        h("div.pa-chips", *queries),
        aria_hidden="true",
        style=f"--columns: {max(weights.shape)}",
    )
    return static.scroll(box, max(weights.shape) > 3)
