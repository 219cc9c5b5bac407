"""A corpus as one long list of meetings: every target word with every source word of its pair, and NULL.

The EM of the IBM models needs sums over these meetings alone, so that flat arrays do what four nested loops
over pairs, target words and source words would.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64, Int64

from attention_core.datasets import Pair

UNKNOWN = -1


@dataclass(frozen=True, eq=False)
class Lattice:
    """The meetings of a corpus, ordered by pair, then target word, then source word, NULL last.

    Attributes
    ----------
    word
        Which target word of the corpus, counted through, a meeting belongs to.
    column
        Which source word: 0 to m - 1, and m for NULL.
    cell
        Code of the two word types, source x target; negative where one was never seen in training.
    place
        Code of (m, n, t, column), what the positions of model 2 depend on.
    m, n, row
        Lengths of source and target, and target position, of each target word.
    """

    word: Int64[np.ndarray, " meetings"]
    column: Int64[np.ndarray, " meetings"]
    cell: Int64[np.ndarray, " meetings"]
    place: Int64[np.ndarray, " meetings"]
    m: Int64[np.ndarray, " words"]
    n: Int64[np.ndarray, " words"]
    row: Int64[np.ndarray, " words"]

    def sums(self, values: Float64[np.ndarray, " meetings"]) -> Float64[np.ndarray, " words"]:
        """Sum over the source words that each target word meets."""
        return np.bincount(self.word, values, minlength=len(self.m)).astype(
            np.float64
        )  # of nothing: integers

    def best(self, values: Float64[np.ndarray, " meetings"]) -> Int64[np.ndarray, " words"]:
        """The first column with the largest value, for each target word; NULL where all values are 0."""
        largest = np.zeros(len(self.m))
        np.maximum.at(largest, self.word, values)
        winners = np.flatnonzero((values == largest[self.word]) & (values > 0))
        found, first = np.unique(self.word[winners], return_index=True)
        best = self.m.copy()
        best[found] = self.column[winners[first]]
        return best


def meet(pairs: Sequence[Pair], sources: dict[str | None, int], targets: dict[str, int]) -> Lattice:
    """Lay out a corpus; `sources` and `targets` number the word types, None being NULL, if there is one."""
    null = [None] if None in sources else []
    m = np.array([len(pair.source) for pair in pairs], dtype=np.int64)
    n = np.array([len(pair.target) for pair in pairs], dtype=np.int64)
    source = _numbers([word for pair in pairs for word in [*pair.source, *null]], sources)
    target = _numbers([word for pair in pairs for word in pair.target], targets)

    pair_of_word = np.repeat(np.arange(len(pairs)), n)
    row = _within(n)
    m_of_word, n_of_word = m[pair_of_word], n[pair_of_word]
    columns = m + len(null)
    word = np.repeat(np.arange(len(row)), columns[pair_of_word])
    column = _within(columns[pair_of_word])
    first = np.cumsum(columns) - columns  # where each pair's source words start
    s, t = source[first[pair_of_word[word]] + column], target[word]

    cell = np.where(t == UNKNOWN, UNKNOWN, s * len(targets) + t)  # an unknown s makes it negative too
    place = places(m_of_word[word], n_of_word[word], row[word], column)
    return Lattice(word, column, cell, place, m_of_word, n_of_word, row)


SPAN = 1 << 15  # longer than any sentence: four numbers below it share one 64-bit code


def places(m: np.ndarray, n: np.ndarray, row: np.ndarray, column: np.ndarray) -> np.ndarray:
    return ((m * SPAN + n) * SPAN + row) * SPAN + column


def _numbers(words: list, index: dict) -> Int64[np.ndarray, " words"]:
    return np.array([index.get(word, UNKNOWN) for word in words], dtype=np.int64)


def _within(sizes: np.ndarray) -> np.ndarray:
    """0, 1, ... up to each size in turn: [2, 3] gives 0 1 0 1 2."""
    return np.arange(sizes.sum()) - np.repeat(np.cumsum(sizes) - sizes, sizes)
