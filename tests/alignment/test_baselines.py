"""The two lines that every error rate is printed between."""

from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from attention_core import alignment

from .pairs import LOOK, LOVE, pair

cells = st.sets(st.tuples(st.integers(0, 2), st.integers(0, 2)))


def test_diagonal_keeps_the_relative_place():
    assert alignment.diagonal([LOVE]) == [{(0, 0), (1, 1), (2, 2)}]
    assert alignment.diagonal([pair("a b c d", "x y")]) == [{(0, 1), (1, 3)}]
    assert alignment.diagonal([pair("a b", "v w x y z")]) == [{(0, 0), (1, 0), (2, 1), (3, 1), (4, 1)}]
    assert alignment.diagonal([pair("", "x"), pair("a", "")]) == [frozenset(), frozenset()]


def test_diagonal_is_wrong_twice_in_three_on_i_love_you():
    assert alignment.score(alignment.diagonal([LOVE]), [LOVE]).aer == pytest.approx(2 / 3)


def test_oracle_links_each_word_once_a_sure_link_first():
    assert alignment.oracle([LOVE, LOOK]) == [LOVE.sure, LOOK.sure]
    assert alignment.oracle([pair("a b", "x y z", {(0, 1)}, {(0, 0), (1, 1)})]) == [{(0, 1), (1, 1)}]


def test_oracle_cannot_reach_zero_where_one_word_has_two_sure_links():
    two = pair("look up", "cherchez", {(0, 0), (0, 1)})
    assert alignment.score(alignment.oracle([two]), [two]).aer == pytest.approx(1 / 3)


@given(st.sets(st.tuples(st.integers(0, 2), st.integers(0, 2)), min_size=1), cells, cells, cells)
def test_no_choice_of_one_link_or_none_a_word_does_better(sure, possible, sure_2, possible_2):
    gold = [pair("a b c", "x y z", sure, possible), pair("a b c", "x y z", sure_2, possible_2)]
    every = [
        frozenset((t, s) for t, s in enumerate(choice) if s is not None)
        for choice in product((None, 0, 1, 2), repeat=3)
    ]
    # the error rate of a corpus is no sum over its pairs, so both are chosen together, by what they count
    counts = [{(len(a), len(a & pair.sure) + len(a & pair.possible)) for a in every} for pair in gold]
    total = sum(len(pair.sure) for pair in gold)
    best = min(1 - (h1 + h2) / (n1 + n2 + total) for (n1, h1), (n2, h2) in product(*counts))
    assert alignment.score(alignment.oracle(gold), gold).aer == pytest.approx(best)
