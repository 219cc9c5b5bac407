"""Two directions, one alignment: models that give each word at most one link are run both ways and merged.

Forward links come from a model of the target given the source, backward links from one of the source given
the target. Both are written (target, source) here.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace

from attention_core.alignment.measure import Links
from attention_core.datasets import Pair

NEIGHBOURS = ((-1, 0), (0, -1), (1, 0), (0, 1), (-1, -1), (-1, 1), (1, -1), (1, 1))


def transpose(links: Links) -> frozenset[tuple[int, int]]:
    """The same links with target and source exchanged."""
    return frozenset((s, t) for t, s in links)


def reverse(pairs: Sequence[Pair]) -> list[Pair]:
    """Each pair with source and target exchanged, gold links included: what a backward model is fitted to.

    Its answers are then (source, target) as seen from here: `transpose` them.
    """
    return [
        replace(
            pair,
            source=pair.target,
            target=pair.source,
            sure=transpose(pair.sure),
            possible=transpose(pair.possible),
        )
        for pair in pairs
    ]


def symmetrize(
    forward: Sequence[Links], backward: Sequence[Links], method: str = "intersection"
) -> list[frozenset[tuple[int, int]]]:
    """Merge the links of both directions, pair by pair.

    Parameters
    ----------
    forward, backward
        For each pair its set of links, both (target, source).
    method
        "intersection": what both found; precise. "union": what either found; complete.
        "grow_diag_final_and", of Koehn et al. (2005): from the intersection grow to neighbours in the union
        that link a word still without a link, then add links between two words that both have none.

    Raises
    ------
    ValueError
        If the lengths differ or the method is unknown.
    """
    if method not in METHODS:
        raise ValueError(f"`method` must be one of {', '.join(METHODS)}; got {method!r}")
    if len(forward) != len(backward):
        raise ValueError(
            f"`forward` and `backward` must be of the same pairs; got {len(forward)} and {len(backward)} sets"
        )
    return [METHODS[method](frozenset(f), frozenset(b)) for f, b in zip(forward, backward, strict=True)]


def _grow_diag_final_and(forward: Links, backward: Links) -> frozenset[tuple[int, int]]:
    """The steps in their published order, which counts: a link made early can forbid one made later."""
    made = _grown(forward & backward, forward | backward)
    for direction in (forward, backward):
        for t, s in sorted(direction):
            if all(t != row for row, _ in made) and all(s != column for _, column in made):
                made.add((t, s))
    return frozenset(made)


def _grown(start: Links, union: Links) -> set[tuple[int, int]]:
    """Sweep over the links, adding neighbours out of `union`, until a sweep adds nothing."""
    made = set(start)
    rows, columns = {t for t, _ in made}, {s for _, s in made}
    before = -1
    while before < len(made):
        before = len(made)
        for t, s in sorted(union):
            for dt, ds in NEIGHBOURS if (t, s) in made else ():
                new = (t + dt, s + ds)
                if new in union and (new[0] not in rows or new[1] not in columns):
                    made.add(new)
                    rows.add(new[0])
                    columns.add(new[1])
    return made


METHODS: dict[str, Callable[[Links, Links], frozenset[tuple[int, int]]]] = {
    "intersection": lambda forward, backward: forward & backward,
    "union": lambda forward, backward: forward | backward,
    "grow_diag_final_and": _grow_diag_final_and,
}
