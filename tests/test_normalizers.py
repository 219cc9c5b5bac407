"""Normalisers: allowed weights sum to one, forbidden ones are exactly zero."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from attention_core import normalizers
from attention_core.normalizers import hard, logsumexp, softmax

EVERY = pytest.mark.parametrize("normalize", [softmax, hard])


def assert_near(actual, expected, atol=1e-12):
    torch.testing.assert_close(actual, expected, atol=atol, rtol=0)


def test_softmax_is_torch_softmax():
    scores = torch.randn(2, 3, 5, dtype=torch.float64)
    assert_near(softmax(scores), torch.softmax(scores, -1))


def test_softmax_under_a_mask_is_softmax_of_the_allowed_scores():
    scores = torch.randn(5, dtype=torch.float64)
    mask = torch.tensor([True, False, True, True, False])
    assert_near(softmax(scores, mask)[mask], torch.softmax(scores[mask], -1))


def test_softmax_divides_by_the_temperature():
    scores = torch.randn(5, dtype=torch.float64)
    assert_near(softmax(scores, temperature=2), torch.softmax(scores / 2, -1))


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32, torch.float64])
@pytest.mark.parametrize("temperature", [1e-38, 1e-40, 1e-300, 5e-324])
def test_softmax_at_any_temperature_near_zero_is_hard(temperature, dtype):
    scores = torch.tensor([[1.0, 3.0, 2.0], [0.0, -50.0, -3.0]], dtype=dtype, requires_grad=True)
    weights = softmax(scores, temperature=temperature)
    assert weights.equal(hard(scores))
    weights.square().sum().backward()
    assert (scores.grad == 0).all()


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32, torch.float64])
@pytest.mark.parametrize("temperature", [1e20, 1e39, 1e308, pytest.param(10**400, id="1e400")])
def test_softmax_at_any_large_temperature_is_uniform_over_the_allowed_keys(temperature, dtype):
    scores = torch.tensor([1.0, 3.0, 2.0], dtype=dtype)
    mask = torch.tensor([True, True, False])
    assert softmax(scores, mask, temperature=temperature).tolist() == [0.5, 0.5, 0.0]


def test_softmax_of_large_scores_does_not_overflow():
    assert_near(softmax(torch.tensor([1e4, 1e4])), torch.tensor([0.5, 0.5]))


def test_hard_gives_a_tie_to_the_first_maximum():
    assert hard(torch.tensor([1.0, 3.0, 3.0, 2.0])).tolist() == [0, 1, 0, 0]


def test_hard_looks_at_allowed_keys_only():
    assert hard(torch.tensor([1.0, 3.0, 2.0]), torch.tensor([True, False, True])).tolist() == [0, 0, 1]


def test_hard_passes_no_gradient_to_the_scores():
    assert not hard(torch.randn(3, requires_grad=True)).requires_grad


@EVERY
def test_forbidden_weights_are_exactly_zero(normalize):
    mask = torch.rand(20, 7) > 0.5
    assert (normalize(torch.randn(20, 7), mask)[~mask] == 0).all()


@EVERY
@given(data=st.data(), n=st.integers(1, 7), m=st.integers(0, 7))
def test_weights_sum_to_one_or_to_zero_in_an_empty_row(normalize, data, n, m):
    rows = data.draw(st.lists(st.lists(st.booleans(), min_size=m, max_size=m), min_size=n, max_size=n))
    mask = torch.tensor(rows, dtype=torch.bool).reshape(n, m)
    weights = normalize(torch.randn(n, m, dtype=torch.float64), mask)
    assert_near(weights.sum(-1), mask.any(-1).double())


@EVERY
def test_a_forbidden_nan_does_not_count(normalize):
    scores = torch.tensor([1.0, math.nan, 2.0])
    mask = torch.tensor([True, False, True])
    assert_near(normalize(scores, mask), normalize(scores.nan_to_num(), mask))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
@EVERY
def test_weights_keep_the_dtype_of_the_scores(normalize, dtype):
    assert normalize(torch.randn(3, dtype=dtype)).dtype == dtype


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_low_precision_softmax_is_the_float32_one_rounded_once(dtype):
    scores = torch.randn(4, 64).to(dtype)
    assert softmax(scores, temperature=3).equal(torch.softmax(scores.float() / 3, -1).to(dtype))


def test_logsumexp_is_torch_logsumexp_of_the_allowed_scores():
    scores = torch.randn(5, dtype=torch.float64)
    mask = torch.tensor([True, False, True, True, False])
    assert_near(logsumexp(scores, mask), torch.logsumexp(scores[mask], -1))


@pytest.mark.parametrize("function", [softmax, logsumexp])
def test_gradients_of_a_row_that_allows_nothing_are_zero(function):
    scores = torch.randn(3, requires_grad=True)
    function(scores, torch.tensor([False, False, False])).sum().backward()
    assert scores.grad.tolist() == [0, 0, 0]


@pytest.mark.filterwarnings("ignore:Anomaly Detection has been enabled")
@pytest.mark.parametrize("function", [softmax, logsumexp])
def test_anomaly_detection_finds_no_nan_behind_a_row_that_allows_nothing(function):
    scores = torch.randn(2, 3, requires_grad=True)
    mask = torch.tensor([[False] * 3, [True] * 3])
    with torch.autograd.detect_anomaly(check_nan=True):
        function(scores, mask)[1].sum().backward()


@pytest.mark.parametrize("function", [softmax, logsumexp])
def test_gradients_of_masked_scores_are_right(function):
    scores = torch.randn(3, 5, dtype=torch.float64, requires_grad=True)
    mask = torch.rand(3, 5) > 0.4
    mask[:, 0] = True
    assert torch.autograd.gradcheck(lambda s: function(s, mask), scores)


@pytest.mark.parametrize(
    ("shape", "fits"),
    [((), True), ((5,), True), ((3, 1), True), ((2, 3, 5), True), ((2, 5), False), ((1, 2, 3, 5), False)],
)
def test_a_mask_fits_where_it_broadcasts_without_growing_the_scores(shape, fits):
    assert normalizers.broadcasts(torch.Size(shape), torch.Size((2, 3, 5))) == fits
