"""Merging two directions, step by step and against the published steps written out as a grid."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from attention_core import alignment

from .pairs import LOOK

cells = st.frozensets(st.tuples(st.integers(0, 4), st.integers(0, 4)))


def merge(forward, backward, method):
    return alignment.symmetrize([forward], [backward], method=method)[0]


def as_published(forward, backward, n, m):
    """Grow-diag-final-and as Koehn et al. (2005) print it: loops over a grid of n by m."""
    grid = [[(i, j) in forward and (i, j) in backward for j in range(m)] for i in range(n)]

    def aligned_row(i):
        return any(grid[i])

    def aligned_column(j):
        return any(row[j] for row in grid)

    grown = True
    while grown:
        grown = False
        for i in range(n):
            for j in range(m):
                if not grid[i][j]:
                    continue
                for a, b in [(-1, 0), (0, -1), (1, 0), (0, 1), (-1, -1), (-1, 1), (1, -1), (1, 1)]:
                    x, y = i + a, j + b
                    inside = 0 <= x < n and 0 <= y < m
                    if inside and not (aligned_row(x) and aligned_column(y)) and (x, y) in forward | backward:
                        grid[x][y] = grown = True
    for direction in (forward, backward):
        for i in range(n):
            for j in range(m):
                if not aligned_row(i) and not aligned_column(j) and (i, j) in direction:
                    grid[i][j] = True
    return {(i, j) for i in range(n) for j in range(m) if grid[i][j]}


def test_intersection_and_union():
    assert merge({(0, 0), (1, 1)}, {(0, 0), (1, 2)}, "intersection") == {(0, 0)}
    assert merge({(0, 0), (1, 1)}, {(0, 0), (1, 2)}, "union") == {(0, 0), (1, 1), (1, 2)}
    assert alignment.symmetrize([{(0, 0)}], [set()]) == [frozenset()]


def test_grow_diag_final_and_step_by_step():
    forward = {(0, 0), (1, 0), (2, 2), (4, 4)}
    backward = {(0, 0), (0, 1), (2, 2), (3, 2)}
    # both: (0,0) and (2,2). grown: (1,0), (0,1) beside the first, (3,2) beside the second, each frees a word.
    # (4,4) has no neighbour, but both its words are free: the final step adds it.
    assert merge(forward, backward, "grow_diag_final_and") == forward | backward


def test_grow_leaves_a_neighbour_whose_words_both_have_links():
    forward = {(0, 0), (1, 1), (1, 0)}
    assert merge(forward, {(0, 0), (1, 1)}, "grow_diag_final_and") == {(0, 0), (1, 1)}


def test_final_and_leaves_a_link_of_which_one_word_has_another():
    forward = {(0, 0), (0, 3)}
    assert merge(forward, {(0, 0)}, "grow_diag_final_and") == {(0, 0)}


def test_nothing_in_common_leaves_only_the_final_step_and_forward_goes_first():
    assert merge({(0, 0)}, {(0, 1), (1, 1)}, "grow_diag_final_and") == {(0, 0), (1, 1)}


@given(cells, cells)
def test_grow_diag_final_and_is_what_was_published(forward, backward):
    """nltk's function of this name is no witness: it looks for positions among the names of its own table,
    finds none, and so returns the union."""
    assert merge(forward, backward, "grow_diag_final_and") == as_published(forward, backward, 5, 5)


@given(cells, cells)
def test_grow_diag_final_and_lies_between_intersection_and_union(forward, backward):
    merged = merge(forward, backward, "grow_diag_final_and")
    assert forward & backward <= merged <= forward | backward


def test_reverse_exchanges_words_and_links_and_twice_is_nothing():
    turned = alignment.reverse([LOOK])[0]
    assert (turned.source, turned.target) == (LOOK.target, LOOK.source)
    assert turned.sure == {(0, 0), (1, 1)}
    assert turned.possible == {(0, 0), (1, 1), (2, 0)} == alignment.transpose(LOOK.possible)
    assert alignment.reverse([turned]) == [LOOK]


def test_an_unknown_method_lists_the_known_ones():
    with pytest.raises(ValueError, match=r"`method`.*intersection, union, grow_diag_final_and; got 'gdfa'"):
        alignment.symmetrize([set()], [set()], method="gdfa")


def test_directions_of_different_length_are_refused():
    with pytest.raises(ValueError, match=r"`forward` and `backward`.*got 1 and 2 sets"):
        alignment.symmetrize([set()], [set(), set()])
