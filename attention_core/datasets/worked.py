"""Two alignments small enough to check by hand, reused wherever the book needs a matrix of weights."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Float64


@dataclass(frozen=True, eq=False)
class WorkedAlignment:
    """Attention weights from each target word to the source words; every row sums to exactly 1.

    `kind` is "classic" for a matrix that the literature prints, "illustrative" for one made for this book.
    """

    name: str
    source: tuple[str, ...]
    target: tuple[str, ...]
    weights: Float64[np.ndarray, "target source"]
    kind: Literal["classic", "illustrative"]
    note: str

    @property
    def scores(self) -> Float64[np.ndarray, "target source"]:
        """Scores whose softmax is `weights`: their natural logarithm, so that every row's lse is 0."""
        return np.log(self.weights)


def worked_alignments() -> dict[str, WorkedAlignment]:
    """The worked alignments by name: "I love you" and "look it up"."""
    love = WorkedAlignment(
        name="I love you",
        source=("I", "love", "you"),
        target=("je", "t’", "aime"),
        weights=_hundredths([[94, 2, 4], [11, 1, 88], [3, 95, 2]]),
        kind="classic",
        note="The textbook matrix for English to French. The object moves before the verb, so the alignment "
        "leaves the diagonal. A model trained afresh finds the same pattern, not the same numbers.",
    )
    look = WorkedAlignment(
        name="look it up",
        source=("look", "it", "up"),
        target=("cherchez", "-le"),
        weights=_hundredths([[55, 5, 40], [4, 92, 4]]),
        kind="illustrative",
        note="Set by hand, not learned: one French verb stands for the two halves of an English one, "
        "so its row splits between them.",
    )
    return {alignment.name: alignment for alignment in (love, look)}


def _hundredths(rows: list[list[int]]) -> Float64[np.ndarray, "target source"]:
    weights = np.array(rows, dtype=np.float64) / 100
    weights.setflags(write=False)
    return weights
