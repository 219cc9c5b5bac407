"""The error rate against figures worked out by hand, and the one definition of a link."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from attention_core import alignment

from .pairs import LOOK, LOVE, pair

# rows je, t’, aime and </s>; columns I, love, you and </s>
WEIGHTS = np.array(
    [
        [0.90, 0.02, 0.04, 0.04],
        [0.11, 0.01, 0.38, 0.50],  # of the words it reads "you" most, but </s> more
        [0.03, 0.90, 0.02, 0.05],
        [0.00, 0.00, 0.10, 0.90],
    ]
)


def test_a_row_that_reads_the_end_marker_most_is_linked_to_nothing():
    assert alignment.links(WEIGHTS) == {(0, 0), (2, 1)}


def test_the_row_of_the_end_marker_makes_no_link():
    weights = WEIGHTS.copy()
    weights[-1] = [1.0, 0.0, 0.0, 0.0]
    assert alignment.links(weights) == {(0, 0), (2, 1)}


def test_of_equal_weights_the_first_counts_and_a_row_of_zeros_links_to_nothing():
    weights = np.array([[0.5, 0.5, 0.0], [0.0, 0.0, 0.0], [0.0, 0.0, 1.0]])
    assert alignment.links(weights) == {(0, 0)}


def test_weights_may_come_as_a_tensor_with_a_gradient_or_in_half_precision():
    tensor = torch.tensor(WEIGHTS, requires_grad=True)
    assert alignment.links(tensor) == alignment.links(WEIGHTS)
    assert alignment.links(tensor.detach().to(torch.bfloat16)) == alignment.links(WEIGHTS)


def test_rows_may_sum_to_less_than_one_as_those_of_local_predictive_attention_do():
    assert alignment.links(0.7 * WEIGHTS) == alignment.links(WEIGHTS)


def test_links_hold_plain_integers_that_json_and_sets_take():
    assert all(type(place) is int for link in alignment.links(WEIGHTS) for place in link)


def test_i_love_you_by_hand():
    # A has the two of three sure links: 1 - (2 + 2) / (2 + 3)
    scores = alignment.score([alignment.links(WEIGHTS)], [LOVE])
    assert scores == pytest.approx((0.2, 1.0, 2 / 3))


def test_look_it_up_by_hand_where_a_possible_link_costs_nothing_and_a_wrong_one_does():
    assert alignment.score([{(0, 0), (1, 1)}], [LOOK]) == pytest.approx((0.0, 1.0, 1.0))
    assert alignment.score([{(0, 0), (0, 2), (1, 1)}], [LOOK]) == pytest.approx((0.0, 1.0, 1.0))
    assert alignment.score([{(0, 2), (1, 1)}], [LOOK]) == pytest.approx((0.25, 1.0, 0.5))
    assert alignment.score([{(0, 1), (1, 1)}], [LOOK]) == pytest.approx((0.5, 0.5, 0.5))


def test_a_corpus_is_summed_before_it_is_divided():
    # one wrong of one link, and three right of three: 1 - (3 + 3) / (4 + 5), not the mean of 1 and 0
    found = [{(0, 1)}, {(0, 0), (1, 2), (2, 1)}]
    assert alignment.score(found, [LOOK, LOVE]) == pytest.approx((1 - 6 / 9, 3 / 4, 3 / 5))


def test_predicting_nothing_makes_no_wrong_link_and_finds_none():
    assert alignment.score([set()], [LOVE]) == (1.0, 1.0, 0.0)


def test_a_pair_without_sure_links_may_stand_among_others():
    assert alignment.score([{(0, 0)}, set(LOVE.sure)], [pair("oh", "ah"), LOVE]).precision == 3 / 4


@given(
    st.sets(st.tuples(st.integers(0, 3), st.integers(0, 4))),
    st.sets(st.tuples(st.integers(0, 3), st.integers(0, 4)), min_size=1),
    st.sets(st.tuples(st.integers(0, 3), st.integers(0, 4))),
)
def test_error_rate_is_between_0_and_1_and_0_exactly_between_sure_and_possible(found, sure, possible):
    gold = pair("a b c d e", "v w x y", sure, possible)
    aer, precision, recall = alignment.score([found], [gold])
    assert 0 <= aer <= 1
    assert (aer == 0) == (gold.sure <= found <= gold.possible)
    assert (precision, recall) == (1.0, 1.0) or aer > 0
    if gold.sure == gold.possible:  # then it is 1 - F1
        f1 = 2 * precision * recall / (precision + recall) if found & gold.sure else 0.0
        assert aer == pytest.approx(1 - f1)


# -- bad input -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("weights", "says"),
    [
        (np.array([[0.9, 0.6, 0.0], [0.1, 0.4, 1.0]]), "is transposed.*pass weights.T"),
        (np.full((3, 3), 0.5), "must sum to 1.*row 0 sums to 1.5.*last axis"),
        (np.array([[2.0, -1.0], [0.0, 1.0]]), "negative.*take a softmax"),
        (np.array([[np.nan, 1.0], [0.0, 1.0]]), "NaN.*take a softmax"),
        (np.full((2, 3, 3), 1 / 3), r"one matrix.*got shape \(2, 3, 3\).*on each matrix"),
        (np.zeros((0, 0)), "one matrix"),
    ],
    ids=["transposed", "sums to more", "scores", "nan", "batch", "empty"],
)
@pytest.mark.usefixtures("unchecked")
def test_what_is_no_matrix_of_weights_is_refused_with_the_remedy(weights, says):
    with pytest.raises(ValueError, match=f"(?s)`weights`.*{says}"):
        alignment.links(weights)


@pytest.mark.parametrize(
    ("found", "gold", "says"),
    [
        ([{(0, 0)}], [LOVE, LOOK], "1 sets for 2 pairs.*list of one set"),
        ([{(0, 3)}], [LOVE], r"predicted\[0\]. holds the link \(0, 3\).*3 target and 3 source.*</s>"),
        ([{(-1, 0)}], [LOVE], r"\(-1, 0\)"),
        ([set(), {(2, 0)}], [LOVE, LOOK], r"predicted\[1\].*\(2, 0\).*transpose"),
        ([{(0, 0)}], [pair("a", "b")], "no sure link in its 1 pairs.*datasets.translation"),
        ([], [], "no sure link in its 0 pairs"),
    ],
    ids=["lengths", "outside", "negative", "order", "no gold", "no pairs"],
)
def test_what_cannot_be_scored_is_refused_with_the_remedy(found, gold, says):
    with pytest.raises(ValueError, match=f"(?s){says}"):
        alignment.score(found, gold)
