r"""IBM models 1 and 2: the alignment is a hidden variable, and expectation maximisation fills it in.

Brown et al. (1993). Each of the n target words is written by one of the m source words, or by an invisible
NULL word; which one, nobody has recorded. Model 1 thinks every choice equally likely beforehand, model 2 lets
it depend on the position. The posterior over the choices is a row of attention: see `IBM1.weights`.
"""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float64, Int64

from attention_core.alignment.lattice import SPAN, Lattice, meet, places
from attention_core.datasets import Pair


class IBM1:
    r"""IBM model 1: which words translate which, whatever their order.

    $$P(f \mid e) = \prod_{t=1}^{n} \frac{1}{m + 1} \sum_{s=0}^{m} \theta(f_t \mid e_s)$$

    with $e_0$ the NULL word. EM starts from a uniform $\theta$ and repeats: share each target word out among
    the source words that it meets in proportion to $\theta$; count the shares; divide by their sum for each
    source word. Section 4.1 of Brown et al. (1993); the factor for the target's length is left out. The
    logarithm of the likelihood is concave in $\theta$, so every start ends equally high.

    Parameters
    ----------
    iterations
        Rounds of EM, at least 1.
    null
        Whether there is a NULL word, which every pair has and which may write any target word. Without it
        the sum above runs over the m source words, and the prior is 1 / m.

    Attributes
    ----------
    perplexities
        Perplexity per target word before each round and after the last, $\exp(-\log P / N)$: it never rises.
    """

    def __init__(self, iterations: int = 10, *, null: bool = True):
        _check_positive("iterations", iterations)
        self.iterations, self.null = iterations, null
        self.perplexities: list[float] = []

    def fit(self, pairs: Sequence[Pair]) -> "IBM1":
        """Learn from the words of `pairs`, not from their links. Raises `ValueError` if there are none."""
        lattice = self._start(pairs)
        for _ in range(self.iterations):
            self._count(lattice, self._expect(lattice))
        self._expect(lattice)
        return self

    def align(self, pairs: Sequence[Pair]) -> list[frozenset[tuple[int, int]]]:
        """The likeliest source word of each target word; no link where that is NULL, or the word unknown."""
        lattice = self._meet(pairs)
        best = lattice.best(self._joint(lattice))
        return [
            frozenset((t, int(s)) for t, s in enumerate(columns) if s < len(pair.source))
            for pair, columns in zip(pairs, _split(best, [len(pair.target) for pair in pairs]), strict=True)
        ]

    def weights(self, pairs: Sequence[Pair]) -> list[Float64[np.ndarray, "target source"]]:
        r"""The posterior $P(a_t = s \mid f, e)$ of each pair, as models with attention give their weights.

        NULL is the last column, where they have `</s>`, and a last row all on NULL stands where they have the
        row of `</s>`; so `links(weights)` is what `align` gives. A word that is unknown is all on NULL.
        """
        lattice = self._meet(pairs)
        joint = self._joint(lattice)
        total = lattice.sums(joint)[lattice.word]
        posterior = np.divide(joint, total, out=np.zeros_like(joint), where=total > 0)
        matrices = []
        for pair, values in zip(pairs, self._by_pair(posterior, pairs), strict=True):
            n, m = len(pair.target), len(pair.source)
            matrix = np.zeros((n + 1, m + 1))
            matrix[:n, : m + self.null] = values.reshape(n, m + self.null)
            matrix[~matrix.any(1), m] = 1.0
            matrices.append(matrix)
        return matrices

    def translations(self, word: str | None, most: int | None = None) -> dict[str, float]:
        r"""$\theta(\cdot \mid e)$ of a source word, or of NULL (None): target words, likeliest first.

        Raises `ValueError` for a word that was not in training.
        """
        self._check_fitted()
        if word not in self._sources:
            raise ValueError(f"`word` {word!r} is no source word of the training pairs; NULL is None")
        mine = np.flatnonzero(self._source_of_cell == self._sources[word])
        mine = mine[np.argsort(-self._theta[mine], kind="stable")][:most]
        names = list(self._targets)
        return {names[self._cells[k] % len(names)]: float(self._theta[k]) for k in mine}

    # -- expectation and maximisation --------------------------------------------------------------------

    def _start(self, pairs: Sequence[Pair]) -> Lattice:
        if not any(pair.target for pair in pairs):
            raise ValueError(
                f"`pairs` must hold at least one target word to learn from; got {len(pairs)} pairs"
            )
        if not self.null and any(pair.target and not pair.source for pair in pairs):
            raise ValueError(
                "a pair of `pairs` has no source word to write its target: leave it out or set null=True"
            )
        self._sources: dict[str | None, int] = {None: 0} if self.null else {}
        self._targets: dict[str, int] = {}
        for pair in pairs:
            for word in pair.source:
                self._sources.setdefault(word, len(self._sources))
            for word in pair.target:
                self._targets.setdefault(word, len(self._targets))
        lattice = meet(pairs, self._sources, self._targets)
        self._cells, self._cell = np.unique(lattice.cell, return_inverse=True)
        self._source_of_cell = self._cells // len(self._targets)
        self._theta = np.full(len(self._cells), 1 / len(self._targets))
        self.perplexities = []
        return lattice

    def _expect(self, lattice: Lattice) -> Float64[np.ndarray, " meetings"]:
        """Each meeting's share of its target word; notes the perplexity on the way."""
        joint = self._theta[self._cell] * self._prior(lattice)
        total = lattice.sums(joint)
        self.perplexities.append(float(np.exp(-np.log(total).mean())))
        return joint / total[lattice.word]

    def _count(self, lattice: Lattice, shares: Float64[np.ndarray, " meetings"]) -> None:
        self._theta = _proportions(self._cell, shares, self._source_of_cell)

    def _prior(self, lattice: Lattice) -> Float64[np.ndarray, " meetings"]:
        """Before any word is read, each source word and NULL are equally likely."""
        return 1 / (lattice.m[lattice.word] + self.null)

    def _joint(self, lattice: Lattice) -> Float64[np.ndarray, " meetings"]:
        return _look_up(self._cells, self._theta, lattice.cell) * self._prior(lattice)

    def _meet(self, pairs: Sequence[Pair]) -> Lattice:
        self._check_fitted()
        return meet(pairs, self._sources, self._targets)

    def _by_pair(self, values: Float64[np.ndarray, " meetings"], pairs: Sequence[Pair]) -> list[np.ndarray]:
        return _split(values, [len(pair.target) * (len(pair.source) + self.null) for pair in pairs])

    def _check_fitted(self) -> None:
        if not self.perplexities:
            raise RuntimeError(f"this {type(self).__name__} has learned nothing yet: call fit(pairs) first")


class IBM2(IBM1):
    r"""IBM model 2: model 1, with a prior over positions that is learned as well.

    $$P(f \mid e) = \prod_{t=1}^{n} \sum_{s=0}^{m} \pi(s \mid t, n, m)\, \theta(f_t \mid e_s)$$

    $\pi$ starts uniform, and $\theta$ from model 1, as section 4.2 of Brown et al. (1993) advises: the
    likelihood has several maxima now. Each pair of lengths has a $\pi$ of its own; one that training did not
    see is uniform.

    Parameters
    ----------
    iterations
        Rounds of EM for model 2, at least 1.
    first
        Rounds of model 1 before them, at least 1. `perplexities` runs through both.
    null
        As in model 1.
    """

    def __init__(self, iterations: int = 10, first: int = 5, *, null: bool = True):
        super().__init__(iterations, null=null)
        _check_positive("first", first)
        self.first = first

    def fit(self, pairs: Sequence[Pair]) -> "IBM2":
        """Learn from the words of `pairs`, not from their links. Raises `ValueError` if there are none."""
        model_1 = IBM1(self.first, null=self.null).fit(pairs)
        lattice = self._start(pairs)
        self._theta = model_1._theta
        # The last comes again: as long as the prior is uniform, the two models agree.
        self.perplexities = model_1.perplexities[:-1]
        self._places, self._place = np.unique(lattice.place, return_inverse=True)
        self._row, self._pi = _rows(self._places)
        for _ in range(self.iterations):
            self._count(lattice, self._expect(lattice))
        self._expect(lattice)
        return self

    def positions(self, n: int, m: int) -> Float64[np.ndarray, "n columns"]:
        r"""$\pi(s \mid t, n, m)$: for each target position a row over the m source positions, then NULL."""
        self._check_fitted()
        columns = m + self.null
        t, s = np.divmod(np.arange(n * columns), columns)
        codes = places(np.full_like(t, m), np.full_like(t, n), t, s)
        return self._at(codes, np.full(len(t), 1 / columns)).reshape(n, columns)

    def _count(self, lattice: Lattice, shares: Float64[np.ndarray, " meetings"]) -> None:
        super()._count(lattice, shares)
        self._pi = _proportions(self._place, shares, self._row)

    def _prior(self, lattice: Lattice) -> Float64[np.ndarray, " meetings"]:
        return self._at(lattice.place, super()._prior(lattice))

    def _at(self, codes: Int64[np.ndarray, " k"], unseen: Float64[np.ndarray, " k"]) -> np.ndarray:
        return _look_up(self._places, self._pi, codes, unseen)


def _rows(known: Int64[np.ndarray, " places"]) -> tuple[np.ndarray, np.ndarray]:
    """Which (m, n, t) each place belongs to, numbered, and the uniform share of the places there."""
    _, row, size = np.unique(known // SPAN, return_inverse=True, return_counts=True)
    return row, 1 / size[row]


def _proportions(
    group: Int64[np.ndarray, " meetings"],
    shares: Float64[np.ndarray, " meetings"],
    whole: Int64[np.ndarray, " groups"],
) -> Float64[np.ndarray, " groups"]:
    """Sum the shares of each group, and divide by the sum over all groups that belong to one whole."""
    counts = np.bincount(group, shares, minlength=len(whole))
    return counts / np.bincount(whole, counts)[whole]


def _look_up(
    known: Int64[np.ndarray, " known"],
    values: Float64[np.ndarray, " known"],
    codes: Int64[np.ndarray, " k"],
    unseen: Float64[np.ndarray, " k"] | float = 0.0,
) -> Float64[np.ndarray, " k"]:
    """The value of each code; `known` is sorted, and never holds the code of an unknown word."""
    at = np.minimum(np.searchsorted(known, codes), len(known) - 1)
    return np.where(known[at] == codes, values[at], unseen)


def _split(values: np.ndarray, sizes: Sequence[int]) -> list[np.ndarray]:
    return np.split(values, np.cumsum(sizes)[:-1]) if sizes else []


def _check_positive(name: str, value: int) -> None:
    if value < 1:
        raise ValueError(f"`{name}` must be at least 1; got {value}")
