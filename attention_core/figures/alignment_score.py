"""Alignment score: what does the error rate count?"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import ipywidgets as widgets
import numpy as np
import traitlets

from attention_core import alignment
from attention_core.figures import alignment_score_static as drawing
from attention_core.figures import base, static
from attention_core.figures.static import Markup, section, setting

MOST_WORDS = 10
Link = tuple[int, int]


class AlignmentScoreView(base.View):
    _esm = base.module("alignment_score")
    _css = base.style("alignment_score")
    examples = traitlets.List().tag(sync=True)  # a dict a sentence: words, gold links, links of each start
    example = traitlets.Int(0).tag(sync=True)
    start = traitlets.Int(0).tag(sync=True)
    gold = traitlets.Bool(True).tag(sync=True)
    toggled = traitlets.Dict().tag(
        sync=True
    )  # the cells that were turned, and in which picture: JavaScript's


class AlignmentScore(base.Figure):
    """Links that the reader draws on a sentence pair, and what the alignment error rate makes of them.

    Parameters
    ----------
    pairs
        Sentence pairs with gold links, by name; `datasets.showcase()` by default.
    proposals
        More alignments to start from, by name: for each of `pairs`, in their order, its set of links
        (target, source). "nothing", "diagonal" and "everything" are always there.
    sentence, start
        The names to begin with; the first ones by default.
    gold
        Whether the gold links are shown at first.
    """

    name = "alignment-score"
    title = "Alignment score: what does the error rate count?"
    question = "Draw links. Which cells lower the error rate, which raise it, and which leave it alone?"

    def __init__(
        self,
        pairs: Mapping[str, Any] | None = None,
        proposals: Mapping[str, Sequence[Iterable[Link]]] | None = None,
        *,
        sentence: str | None = None,
        start: str | None = None,
        gold: bool = True,
    ):
        if pairs is None:
            from attention_core import datasets  # only the default needs the data

            pairs = datasets.showcase()
        self.pairs = check_pairs(pairs)
        self.starts = starts(self.pairs, dict(proposals or {}))
        names = list(self.pairs)
        self.sentence = widgets.Dropdown(
            options=names, index=place("sentence", sentence, names), description="Sentence"
        )
        self.start = widgets.ToggleButtons(
            options=list(self.starts),
            index=place("start", start, list(self.starts)),
            description="Start from",
        )
        self.gold = base.Checkbox(value=bool(gold), description="Show the gold links", indent=False)
        view = AlignmentScoreView(examples=[self._listed(i) for i in range(len(names))])
        super().__init__(view, [self.sentence, self.start, self.gold])
        self.link(self.sentence, "index", view, "example")
        self.link(self.start, "index", view, "start")
        self.link(self.gold, "value", view, "gold")
        self.settle()

    @property
    def pair(self):
        """The sentence pair that is showing."""
        return self.pairs[self.sentence.value]

    @property
    def proposed(self) -> frozenset[Link]:
        """The links that are drawn: those of the start, less or more what the reader has turned."""
        start, turned = self.starts[self.start.value][self.sentence.index], self.view.toggled
        here = turned.get("example") == self.sentence.index and turned.get("start") == self.start.index
        return start ^ frozenset(tuple(cell) for cell in turned["cells"]) if here else start

    @property
    def scores(self) -> alignment.Scores:
        """Error rate, precision and recall of the links that are drawn."""
        return alignment.score([self.proposed], [self.pair])

    @property
    def weights(self) -> np.ndarray:
        """The links as a matrix (target, source) of 0 and 1."""
        matrix = np.zeros((len(self.pair.target), len(self.pair.source)))
        for link in self.proposed:
            matrix[link] = 1.0
        return matrix

    def _listed(self, index: int) -> dict:
        name, pair = list(self.pairs.items())[index]
        return {
            "name": name, "source": list(pair.source), "target": list(pair.target),
            "sure": ordered(pair.sure), "possible": ordered(pair.possible),
            "starts": [ordered(links[index]) for links in self.starts.values()],
        }  # fmt: skip

    def settle(self) -> None:
        self.view.example, self.view.start = self.sentence.index, self.start.index
        self.view.gold = self.gold.value

    def static_settings(self) -> Sequence[Markup]:
        return (
            setting("Sentence", self.sentence.value, "pa-dropdown"),
            static.choices("Start from", list(self.starts), self.start.index),
            static.checkbox("Show the gold links", self.gold.value),
        )

    def static_body(self) -> Sequence[Markup]:
        pair, links, shown = self.pair, self.proposed, self.gold.value
        flow = section(
            "flow.pa-wide" if len(pair.source) > 6 else "flow",
            "Your links: press a cell to draw or to remove one",
            drawing.grid(pair, links, shown),
            drawing.key(),
        )
        count = section("matrix", "The count", *drawing.counted(drawing.facts(pair, links, shown)))
        return flow, count, static.sentence(drawing.describe(pair, links, shown))


# -- what readers pass in ----------------------------------------------------------------------------------


def check_pairs(pairs: Mapping[str, Any]) -> dict[str, Any]:
    if not pairs:
        raise ValueError("`pairs` is empty; pass at least one sentence pair with gold links, by name")
    for name, pair in pairs.items():
        if not all(1 <= len(words) <= MOST_WORDS for words in (pair.source, pair.target)):
            raise ValueError(
                f"{name!r} of `pairs` must have 1 to {MOST_WORDS} words on each side; shorten it"
            )
        if not pair.sure:
            raise ValueError(f"{name!r} of `pairs` has no sure link, so there is nothing to find; mark some")
    return dict(pairs)


def starts(
    pairs: Mapping[str, Any], proposals: Mapping[str, Sequence[Iterable[Link]]]
) -> dict[str, list[frozenset[Link]]]:
    """Links to start from, by name, for each pair; the readers' own checked as `alignment.score` does."""
    every = list(pairs.values())
    full = [frozenset((t, s) for t in range(len(p.target)) for s in range(len(p.source))) for p in every]
    made = {
        "nothing": [frozenset() for _ in every],
        "diagonal": alignment.diagonal(every),
        "everything": full,
    }
    for name, links in proposals.items():
        if name in made:
            raise ValueError(f"`proposals` may not be called {name!r}: the figure has a start of that name")
        read = [frozenset((int(t), int(s)) for t, s in each) for each in links]
        alignment.score(read, every)
        made[name] = read
    return made


def place(argument: str, name: str | None, names: Sequence[str]) -> int:
    if name is not None and name not in names:
        raise ValueError(f"`{argument}` must be one of {', '.join(map(repr, names))}; got {name!r}")
    return 0 if name is None else names.index(name)


def ordered(links: Iterable[Link]) -> list[list[int]]:
    return [list(link) for link in sorted(links)]
