"""What no model must lose to, and what no model with one link a word can beat."""

from collections.abc import Sequence

from attention_core.datasets import Pair


def diagonal(pairs: Sequence[Pair]) -> list[frozenset[tuple[int, int]]]:
    r"""Link each target word to the source word at the same relative place; it reads no words at all.

    $s = \lfloor (t + 1/2)\, m / n \rfloor$ for target position t of n, source positions 0 to m - 1.
    """
    return [
        frozenset(
            (t, (2 * t + 1) * len(pair.source) // (2 * len(pair.target)))
            for t in range(len(pair.target))
            if pair.source
        )
        for pair in pairs
    ]


def oracle(pairs: Sequence[Pair]) -> list[frozenset[tuple[int, int]]]:
    """The lowest error rate within reach of one link or none for each target word; it looks at the gold.

    A word takes a sure link if it has one, else a possible one, else none. This is optimal word by word: a
    link adds 1 to the denominator |A| + |S| of the error rate, and 2, 1 or 0 to the numerator, which is
    never larger; so a sure link always helps, a possible one never harms, and any other never helps.
    """
    return [
        frozenset(
            min(choice)
            for t in range(len(pair.target))
            if (choice := _of(t, pair.sure) or _of(t, pair.possible))
        )
        for pair in pairs
    ]


def _of(t: int, links: frozenset[tuple[int, int]]) -> list[tuple[int, int]]:
    return [link for link in links if link[0] == t]
