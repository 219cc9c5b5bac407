"""Score functions: the relations between them and the numbers one can check by hand."""

import math

import pytest
import torch

from attention_core import reference, scores


def pair(dq=4, dk=4):
    return torch.randn(2, 3, dq, dtype=torch.float64), torch.randn(2, 5, dk, dtype=torch.float64)


def assert_near(actual, expected):
    torch.testing.assert_close(actual, expected, atol=1e-12, rtol=0)


def test_dot_of_a_worked_pair():
    q, k = torch.tensor([[1.0, 2.0]]), torch.tensor([[3.0, 4.0], [0.0, -1.0]])
    assert scores.dot(q, k).tolist() == [[11.0, -2.0]]


def test_scaled_dot_is_dot_over_the_root_of_the_width():
    q, k = pair(9, 9)
    assert_near(scores.scaled_dot(q, k), scores.dot(q, k) / 3)


def test_scaled_dot_of_unit_variance_has_unit_variance():
    q, k = torch.randn(200, 512), torch.randn(200, 512)
    assert scores.scaled_dot(q, k).std().item() == pytest.approx(1, abs=0.05)


def test_general_with_the_identity_is_dot():
    q, k = pair()
    assert_near(scores.general(q, k, torch.eye(4, dtype=q.dtype)), scores.dot(q, k))


def test_general_takes_the_query_on_the_left_of_the_weight():
    q, k = pair(2, 3)
    weight = torch.randn(2, 3, dtype=q.dtype)
    assert_near(scores.general(q, k, weight), torch.einsum("bna,ac,bmc->bnm", q, weight, k))


def test_additive_is_concat_with_stacked_weights():
    q, k = pair(4, 3)
    w_query, w_key, v = (torch.randn(*shape, dtype=q.dtype) for shape in ((6, 4), (6, 3), (6,)))
    assert_near(
        scores.concat(q, k, torch.cat([w_query, w_key], dim=1), v), scores.additive(q, k, w_query, w_key, v)
    )


def test_additive_is_bounded_by_the_norm_of_v():
    q, k = pair()
    w_query, w_key, v = (torch.randn(*shape, dtype=q.dtype) for shape in ((6, 4), (6, 4), (6,)))
    assert (scores.additive(1e6 * q, k, w_query, w_key, v).abs() <= v.abs().sum() + 1e-12).all()


@pytest.mark.parametrize(
    ("name", "shapes"),
    [
        ("dot", {}),
        ("scaled_dot", {}),
        ("general", {"weight": (4, 4)}),
        ("concat", {"weight": (6, 8), "v": (6,)}),
        ("additive", {"w_query": (6, 4), "w_key": (6, 4), "v": (6,)}),
    ],
)
def test_scores_are_their_reference_pair_by_pair(name, shapes):
    q, k = pair()
    parameters = {key: torch.randn(*shape, dtype=q.dtype) for key, shape in shapes.items()}
    arrays = {key: parameter.numpy() for key, parameter in parameters.items()}
    got = getattr(scores, name)(q, k, **parameters)
    for b, i, j in torch.cartesian_prod(torch.arange(2), torch.arange(3), torch.arange(5)).tolist():
        expected = getattr(reference, name)(q[b, i].numpy(), k[b, j].numpy(), **arrays)
        assert math.isclose(got[b, i, j].item(), expected, abs_tol=1e-12, rel_tol=0)


def test_scores_take_any_number_of_batch_axes():
    q, k = torch.randn(3, 4, dtype=torch.float64), torch.randn(2, 6, 5, 4, dtype=torch.float64)
    queries = q.expand(2, 6, 3, 4)
    assert scores.dot(queries, k).shape == (2, 6, 3, 5)
    assert_near(scores.dot(queries, k)[1, 2], scores.dot(q, k[1, 2]))
