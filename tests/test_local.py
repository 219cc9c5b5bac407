"""Local attention: the window, the Gaussian, the prediction, and what happens at the borders."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from attention_core import attend, masks, normalizers, reference, scores
from attention_core.local import local_monotonic, local_predictive, predicted_positions


def sequences(n=3, m=5, d=4, dv=2, dtype=torch.float64):
    return tuple(torch.randn(2, length, width, dtype=dtype) for length, width in ((n, d), (m, d), (m, dv)))


def prediction(d=4, hidden=3, dtype=torch.float64):
    return torch.randn(hidden, d, dtype=dtype), torch.randn(hidden, dtype=dtype)


def assert_near(actual, expected, atol=1e-12):
    torch.testing.assert_close(actual, expected, atol=atol, rtol=0)


@st.composite
def problems(draw):
    n, m, d, dv = (draw(st.integers(1, 7)) for _ in range(4))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    arrays = [rng.normal(size=(2, *shape)) for shape in ((n, d), (m, d), (m, dv))]
    mask = rng.random((2, n, m)) < draw(st.sampled_from([0.0, 0.5, 1.0]))
    return arrays, mask, rng.normal(size=(n, m)), draw(st.integers(1, 4)), rng


# local-m


@given(problems())
def test_local_monotonic_is_its_reference_for_any_sizes_mask_and_bias(problem):
    arrays, mask, bias, half_width, _ = problem
    expected = reference.local_monotonic(*arrays, half_width, mask=mask, bias=bias)
    got = local_monotonic(
        *map(torch.from_numpy, arrays),
        half_width,
        mask=torch.from_numpy(mask),
        bias=torch.from_numpy(bias),
    )
    for actual, wanted in zip(got, expected, strict=True):
        np.testing.assert_allclose(actual, wanted, atol=1e-12, rtol=0)


def test_local_monotonic_sees_d_keys_to_either_side_and_is_cut_at_the_borders():
    weights = local_monotonic(*sequences(n=5, m=5), 1).weights
    assert (weights > 0).equal(masks.window(5, size=2, causal=False).expand(2, 5, 5))
    assert (weights > 0).sum(-1)[0].tolist() == [2, 3, 3, 3, 2]


def test_a_query_beyond_the_window_of_the_last_key_gives_zeros():
    got = local_monotonic(*sequences(n=6, m=2), 2)
    assert (got.lse[0] == -math.inf).tolist() == [False] * 4 + [True] * 2
    assert (got.output[:, 4:] == 0).all()


def test_local_monotonic_weights_sum_to_one_as_it_has_no_gaussian():
    assert_near(local_monotonic(*sequences(), 1).weights.sum(-1), torch.ones(2, 3, dtype=torch.float64))


# local-p


@given(problems(), st.booleans())
def test_local_predictive_is_its_reference_for_any_sizes_mask_bias_and_lengths(problem, padded):
    arrays, mask, bias, half_width, rng = problem
    w_position, v_position = rng.normal(size=(3, arrays[0].shape[-1])), rng.normal(size=3) * 3
    lengths = rng.integers(0, arrays[1].shape[1] + 1, size=2) if padded else None
    expected = reference.local_predictive(
        *arrays, w_position, v_position, half_width, mask=mask, bias=bias, lengths=lengths
    )
    got = local_predictive(
        *map(torch.from_numpy, (*arrays, w_position, v_position)),
        half_width,
        mask=torch.from_numpy(mask),
        bias=torch.from_numpy(bias),
        lengths=None if lengths is None else torch.from_numpy(lengths),
    )
    for actual, wanted in zip(got, expected, strict=True):
        np.testing.assert_allclose(actual, wanted, atol=1e-12, rtol=0)


def test_a_query_of_zeros_expects_its_answer_in_the_middle():
    assert predicted_positions(torch.zeros(2, 1, 4), *prediction(dtype=torch.float32), 10).tolist() == [
        [5],
        [5],
    ]


def test_predicted_positions_scale_with_each_length():
    q, parameters = torch.randn(2, 3, 4), prediction(dtype=torch.float32)
    longest = predicted_positions(q, *parameters, 8)
    got = predicted_positions(q, *parameters, 8, torch.tensor([4, 8]))
    assert_near(got, torch.stack([longest[0] / 2, longest[1]]), atol=1e-6)


def test_local_predictive_of_a_worked_row():
    q = torch.zeros(
        1, 1, 2, dtype=torch.float64
    )  # p = 2 of m = 4; scores all 0: softmax 1/3 over keys 1, 2, 3
    k, v = torch.randn(1, 4, 2, dtype=q.dtype), torch.eye(4, dtype=q.dtype)[None]
    got = local_predictive(q, k, v, *prediction(d=2), 1)
    near = math.exp(-2) / 3  # sigma = 1/2
    assert_near(got.output, torch.tensor([[[0, near, 1 / 3, near]]], dtype=q.dtype))
    assert_near(got.lse, torch.full((1, 1), math.log(3), dtype=q.dtype))


def test_the_gaussian_is_not_normalised_away():
    assert (local_predictive(*sequences(), *prediction(), 2).weights.sum(-1) < 1).all()


@pytest.mark.parametrize("energy", [-50.0, 50.0])
def test_at_either_border_a_key_is_in_reach(energy):
    q, k, v = (torch.ones_like(x) for x in sequences())
    w_position, v_position = torch.ones(1, 4, dtype=q.dtype), torch.full((1,), energy, dtype=q.dtype)
    got = local_predictive(q, k, v, w_position, v_position, 1)
    assert got.lse.isfinite().all()
    assert (got.weights.sum(-1) > 0.05).all()


def test_keys_beyond_a_length_are_inert_even_when_nan():
    q, k, v = sequences()
    lengths, parameters = torch.tensor([3, 3]), prediction()
    clean = local_predictive(q, k, v, *parameters, 4, lengths=lengths)
    k[:, 3:], v[:, 3:] = math.nan, math.inf
    for actual, expected in zip(
        local_predictive(q, k, v, *parameters, 4, lengths=lengths), clean, strict=True
    ):
        assert_near(actual, expected)


def test_a_length_of_zero_gives_zeros_and_finite_gradients():
    leaves = [x.requires_grad_() for x in (*sequences(), *prediction())]
    got = local_predictive(*leaves, 2, lengths=torch.tensor([0, 5]))
    assert (got.output[0] == 0).all()
    assert all(g.isfinite().all() for g in torch.autograd.grad(got.output.sum(), leaves))


def test_the_prediction_learns_through_the_gaussian():
    leaves = [x.requires_grad_() for x in (*sequences(), *prediction())]
    output = local_predictive(*leaves, 2).output
    assert all((g != 0).any() for g in torch.autograd.grad(output.square().sum(), leaves[3:]))


def test_a_query_that_is_not_finite_is_nan_alone_and_reaches_no_gradient():
    q, k, v = sequences()
    leaves = [x.requires_grad_() for x in (k, v, *prediction())]
    clean = local_predictive(q, *leaves, 2).output[:, [0, 2]]
    expected = torch.autograd.grad(clean.sum(), leaves)
    q[:, 1] = math.nan
    output = local_predictive(q, *leaves, 2).output
    assert output[:, 1].isnan().all()
    assert_near(output[:, [0, 2]], clean)
    for actual, wanted in zip(torch.autograd.grad(output[:, [0, 2]].sum(), leaves), expected, strict=True):
        assert_near(actual, wanted)


def test_a_query_that_is_not_finite_and_may_see_nothing_gives_zero():
    q, k, v = sequences()
    q[:, 1] = math.nan
    mask = torch.tensor([[True], [False], [True]]).expand(3, 5)
    assert (local_predictive(q, k, v, *prediction(), 2, mask=mask).output[:, 1] == 0).all()


def test_a_query_that_is_not_finite_is_nan_wherever_the_key_it_may_see_lies():
    q, k, v = sequences(n=1, m=9)
    mask = torch.arange(9) == 0  # far from the middle, which a query of zeros would predict
    got = local_predictive(q * math.nan, k, v, *prediction(), 1, mask=mask)
    assert got.output.isnan().all()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_predicted_positions_are_as_fine_as_float32_for_queries_in_low_precision(dtype):
    q, parameters = torch.randn(2, 9, 4).to(dtype), [x.to(dtype) for x in prediction()]
    exact = predicted_positions(q.double(), *(x.double() for x in parameters), 1000)
    got = predicted_positions(q, *parameters, 1000)
    assert got.dtype == torch.float32
    assert (got - exact).abs().max() < 1e-3


def test_a_wide_window_is_global_attention_under_a_wide_gaussian():
    q, k, v = sequences()
    parameters = prediction()
    distance = torch.arange(5) - predicted_positions(q, *parameters, 5).unsqueeze(-1)
    weights = attend(q, k, v, score=scores.dot).weights * torch.exp(-(distance**2) / (2 * 5**2))
    assert_near(local_predictive(q, k, v, *parameters, 10).output, weights @ v)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_local_predictive_in_low_precision_stays_within_the_error_budget(dtype):
    q, k, v = (x.to(dtype) for x in sequences(n=16, m=64, d=8, dv=8))
    parameters = [x.to(dtype) for x in prediction(d=8)]
    exact = local_predictive(q.double(), k.double(), v.double(), *(x.double() for x in parameters), 70)
    centre = 64 * torch.sigmoid(torch.tanh(q @ parameters[0].mT) @ parameters[1])  # all in dtype
    gaussian = torch.exp(-((torch.arange(64, dtype=dtype) - centre[..., None]) ** 2) / (2 * 35**2))
    plain = (normalizers.softmax(q @ k.mT) * gaussian) @ v
    golden = exact.output.to(dtype)
    slack = 2 * (golden + 0.3 - 0.3 - golden).abs().max()
    got = local_predictive(q, k, v, *parameters, 70)
    assert got.output.dtype == got.weights.dtype == dtype
    assert got.lse.dtype == torch.float32
    assert (got.output - exact.output).abs().max() <= 2 * (plain - exact.output).abs().max() + slack
