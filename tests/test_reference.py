"""The reference itself, on numbers worked by hand: the rest of the tests trust it."""

import math

import numpy as np
import pytest

from attention_core import reference

QUERY = np.array([[[2.0, 0.0, 0.0, 0.0]]])
KEY = np.array([[[0.0] * 4, [math.log(3), 0.0, 0.0, 0.0]]])  # scores 0 and ln 3: odds of 1 to 3
VALUE = np.array([[[4.0], [8.0]]])


def test_attend_on_odds_of_one_to_three():
    output, weights, lse = reference.attend(QUERY, KEY, VALUE)
    np.testing.assert_allclose(weights, [[[0.25, 0.75]]])
    np.testing.assert_allclose(output, [[[7.0]]])
    np.testing.assert_allclose(lse, [[math.log(4)]])


def test_a_bias_of_ln_3_evens_the_odds():
    _, weights, _ = reference.attend(QUERY, KEY, VALUE, bias=np.array([math.log(3), 0.0]))
    np.testing.assert_allclose(weights, [[[0.5, 0.5]]])


def test_hard_takes_the_larger_score():
    output, _, _ = reference.attend(QUERY, KEY, VALUE, normalize=reference.hard)
    assert output.item() == 8


def test_a_masked_key_is_not_there():
    output, weights, lse = reference.attend(QUERY, KEY, VALUE, mask=np.array([True, False]))
    assert (output.item(), weights.tolist(), lse.item()) == (4, [[[1, 0]]], 0)


def test_no_allowed_key_gives_zeros():
    output, weights, lse = reference.attend(QUERY, KEY, VALUE, mask=np.array(False))
    assert (output.item(), weights.tolist(), lse.item()) == (0, [[[0, 0]]], -math.inf)


def test_a_bias_of_minus_infinity_forbids_as_a_mask_does():
    for bias, mask in (([0.0, -math.inf], [True, False]), ([-math.inf] * 2, [False] * 2)):
        by_bias = reference.attend(QUERY, KEY, VALUE, bias=np.array(bias))
        for actual, expected in zip(
            by_bias, reference.attend(QUERY, KEY, VALUE, mask=np.array(mask)), strict=True
        ):
            np.testing.assert_array_equal(actual, expected)


def test_projecting_no_position_keeps_the_width():
    assert reference.project(np.zeros((2, 0, 3)), np.zeros((4, 3))).shape == (2, 0, 4)


def test_softmax_at_temperature_one_half_squares_the_odds():
    np.testing.assert_allclose(reference.softmax([0.0, math.log(3)], temperature=0.5), [0.1, 0.9])


@pytest.mark.parametrize(
    ("name", "parameters", "expected"),
    [
        ("dot", {}, 11),
        ("scaled_dot", {}, 11 / math.sqrt(2)),
        ("general", {"weight": np.array([[0.0, 1.0], [0.0, 0.0]])}, 4),
        ("concat", {"weight": np.array([[1.0, 0, 0, -1]]), "v": np.array([2.0])}, 2 * math.tanh(-3)),
        (
            "additive",
            {"w_query": np.array([[1.0, 0]]), "w_key": np.array([[0, -1.0]]), "v": np.array([2.0])},
            2 * math.tanh(-3),
        ),
    ],
)
def test_score_of_a_worked_pair(name, parameters, expected):
    score = getattr(reference, name)(np.array([1.0, 2.0]), np.array([3.0, 4.0]), **parameters)
    assert score == pytest.approx(expected)


def test_query_head_h_uses_key_head_h_over_group():
    identity, x = np.eye(4), np.arange(8.0).reshape(1, 2, 4) / 8
    weights = {
        "w_query": identity,
        "w_key": identity[[0, 2]],
        "w_value": identity[[0, 2]],
        "w_output": identity,
    }
    output, _, _ = reference.multi_head(x[:, :1], x[:, :1], x[:, :1], heads=4, kv_heads=2, **weights)
    assert output.flatten().tolist() == [0, 0, 2 / 8, 2 / 8]
