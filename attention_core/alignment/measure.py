"""From weights to links, and from links to the alignment error rate."""

from collections.abc import Iterable, Sequence, Set
from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from torch import Tensor

from attention_core.datasets import Pair

Links = Set[tuple[int, int]]
TOLERANCE = 1e-3  # how far a row may sum from 1: weights in half precision, or read from a file, are rounded


class Scores(NamedTuple):
    """Alignment error rate (lower is better), precision and recall, each from 0 to 1."""

    aer: float
    precision: float
    recall: float


def links(
    weights: Float[np.ndarray, "target source"] | Float[Tensor, "target source"],
) -> frozenset[tuple[int, int]]:
    r"""The link of each target word: its largest weight over all columns, `</s>` included.

    $A = \{(t, s) : s = \arg\max_j w_{tj},\ s \neq \text{</s>}\}$

    `weights` has `</s>` last on both axes, as models return it. The row of `</s>` is dropped, its column is
    not: a word that reads `</s>` most is linked to nothing, as with the NULL word of Brown et al. (1993).
    Leaving the column out before the argmax would give such a word a link that the model did not make.
    Of equal weights the first counts; a row of zeros links to nothing.

    Rows may sum to less than 1, as those of `local.local_predictive` do, but not to more. `ValueError`
    for any other matrix: scores, a transposed matrix, NaN.
    """
    matrix = _checked(weights)
    if len(matrix) < 2:
        return frozenset()
    rows = matrix[:-1]
    best, null = rows.argmax(1), matrix.shape[1] - 1
    linked = (best != null) & (rows.max(1) > 0)
    return frozenset((int(t), int(best[t])) for t in np.flatnonzero(linked))


def score(predicted: Sequence[Links], gold: Sequence[Pair]) -> Scores:
    r"""Alignment error rate, precision and recall of a corpus (Och & Ney, 2003, section 6).

    $$\mathrm{AER} = 1 - \frac{|A \cap S| + |A \cap P|}{|A| + |S|}, \quad
    \mathrm{precision} = \frac{|A \cap P|}{|A|}, \quad \mathrm{recall} = \frac{|A \cap S|}{|S|}$$

    with A the predicted links, S the sure and P the possible ones ($S \subseteq P$), all summed over the
    pairs before dividing: a long sentence counts for more than a short one. Where nothing is predicted, no
    link is wrong: precision is 1, recall 0 and the error rate 1.

    Parameters
    ----------
    predicted
        For each pair its set of links (target position, source position), without `</s>`.
    gold
        Pairs with sure and possible links.

    Raises
    ------
    ValueError
        If the numbers of sets and pairs differ, a link points outside its pair, or no pair has a sure link.
    """
    _check_lengths(predicted, gold)
    _check_inside(predicted, gold)
    found = sum(len(a) for a in predicted)
    sure = sum(len(pair.sure) for pair in gold)
    if sure == 0:
        raise ValueError(
            f"`gold` holds no sure link in its {len(gold)} pairs, so there is nothing to measure against. "
            "Pairs read from a file have none; those of datasets.translation(...) do."
        )
    right = sum(len(a & pair.possible) for a, pair in zip(predicted, gold, strict=True))
    hit = sum(len(a & pair.sure) for a, pair in zip(predicted, gold, strict=True))
    return Scores(1 - (hit + right) / (found + sure), right / found if found else 1.0, hit / sure)


def _checked(weights: object) -> np.ndarray:
    """`weights` as a float64 matrix whose rows are distributions, or less."""
    plain = weights.detach().cpu().double() if isinstance(weights, Tensor) else weights
    matrix = np.asarray(plain, dtype=np.float64)
    if matrix.ndim != 2 or matrix.size == 0:
        raise ValueError(
            f"`weights` must be one matrix, (target, source) with </s> last; got shape {matrix.shape}. "
            "For a batch call links on each matrix, without its padding."
        )
    if not np.isfinite(matrix).all() or (matrix < 0).any():
        raise ValueError(
            "`weights` holds NaN, infinite or negative entries, so these are not weights. "
            "From scores, take a softmax over the source words (the last axis) first."
        )
    rows, columns = matrix.sum(1), matrix.sum(0)
    if _are_one(columns) and not _are_one(rows):
        raise ValueError(
            f"`weights` {matrix.shape} is transposed: its columns sum to 1, its rows do not. "
            "Rows are target words and columns are source words; pass weights.T."
        )
    if (rows > 1 + TOLERANCE).any():
        raise ValueError(
            f"each row of `weights` must sum to 1 over the source words; row {rows.argmax()} sums to "
            f"{rows.max():.4g}. Normalise over the last axis, and pass one head or the mean of the heads."
        )
    return matrix


def _are_one(sums: np.ndarray) -> bool:
    return bool((np.abs(sums - 1) < TOLERANCE).all())


def _check_lengths(predicted: Sequence[Links], gold: Sequence[Pair]) -> None:
    if len(predicted) != len(gold):
        raise ValueError(
            f"`predicted` must hold one set of links for each pair of `gold`; got {len(predicted)} sets "
            f"for {len(gold)} pairs. A single sentence is a list of one set: score([links], [pair])."
        )


def _check_inside(predicted: Iterable[Links], gold: Iterable[Pair]) -> None:
    for k, (found, pair) in enumerate(zip(predicted, gold, strict=True)):
        n, m = len(pair.target), len(pair.source)
        for t, s in found:
            if not (0 <= t < n and 0 <= s < m):
                raise ValueError(
                    f"`predicted[{k}]` holds the link ({t}, {s}), but that pair has {n} target and {m} "
                    "source words. A link is (target, source), counted from 0, and </s> is no word: "
                    "is the order turned round (see transpose), or </s> not dropped (see links)?"
                )
