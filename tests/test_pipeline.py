"""`attend` and `merge`: against torch, behind masks, in low precision, and in parts."""

import math
from functools import partial

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn.functional import scaled_dot_product_attention as sdpa

from attention_core import Attended, attend, masks, normalizers, reference, scores
from attention_core.pipeline import merge


def sequences(n=3, m=5, d=4, dv=2, batch=(2,), dtype=torch.float64):
    return tuple(
        torch.randn(*batch, length, width, dtype=dtype) for length, width in ((n, d), (m, d), (m, dv))
    )


def assert_near(actual, expected, atol=1e-12):
    torch.testing.assert_close(actual, expected, atol=atol, rtol=0)


def gradients(loss, *inputs):
    return torch.autograd.grad(loss, inputs)


# Against torch


def test_attend_is_torch_sdpa():
    q, k, v = sequences()
    assert_near(attend(q, k, v).output, sdpa(q, k, v))


def test_attend_is_torch_sdpa_under_a_boolean_mask():
    q, k, v = sequences()
    mask = torch.rand(2, 3, 5) > 0.4
    mask[..., 0] = True
    assert_near(attend(q, k, v, mask=mask).output, sdpa(q, k, v, attn_mask=mask))


def test_attend_is_torch_sdpa_under_a_float_bias():
    q, k, v = sequences()
    bias = torch.randn(3, 5, dtype=torch.float64)
    assert_near(attend(q, k, v, bias=bias).output, sdpa(q, k, v, attn_mask=bias))


def test_upper_left_is_torch_is_causal():
    q, k, v = sequences(n=3, m=5)
    mask = masks.causal(3, 5, align="upper_left")
    assert_near(attend(q, k, v, mask=mask).output, sdpa(q, k, v, is_causal=True))


def test_lse_is_torch_logsumexp_of_the_scores():
    q, k, v = sequences()
    assert_near(attend(q, k, v).lse, torch.logsumexp(q @ k.mT / 2, -1))


# Properties


@st.composite
def problems(draw):
    n, m, d, dv = (draw(st.integers(1, 7)) for _ in range(4))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    arrays = [rng.normal(size=(2, *shape)) for shape in ((n, d), (m, d), (m, dv))]
    allowed = draw(st.sampled_from([0.0, 0.3, 0.7, 1.0]))
    return arrays, rng.random((2, n, m)) < allowed, rng.normal(size=(n, m))


@given(problems())
def test_attend_is_its_reference_for_any_sizes_mask_and_bias(problem):
    arrays, mask, bias = problem
    expected = reference.attend(*arrays, mask=mask, bias=bias)
    tensors = map(torch.from_numpy, arrays)
    got = attend(*tensors, mask=torch.from_numpy(mask), bias=torch.from_numpy(bias))
    for actual, wanted in zip(got, expected, strict=True):
        np.testing.assert_allclose(actual, wanted, atol=1e-12, rtol=0)


@given(problems())
def test_gradients_are_finite_for_any_sizes_and_mask(problem):
    arrays, mask, bias = problem
    inputs = [torch.from_numpy(array).requires_grad_() for array in (*arrays, bias)]
    got = attend(*inputs[:3], mask=torch.from_numpy(mask), bias=inputs[3])
    seen = got.lse > -math.inf
    loss = got.output.sum() + got.weights.square().sum() + got.lse[seen].sum()
    assert all(gradient.isfinite().all() for gradient in gradients(loss, *inputs))


@given(problems(), st.integers(0, 7))
def test_merging_two_halves_of_the_keys_is_attention_over_all(problem, cut):
    arrays, mask, _ = problem
    q, k, v = map(torch.from_numpy, arrays)
    mask = torch.from_numpy(mask)
    parts = [attend(q, k[:, own], v[:, own], mask=mask[..., own]) for own in (slice(cut), slice(cut, None))]
    for actual, wanted in zip(merge(*parts), attend(q, k, v, mask=mask), strict=True):
        assert_near(actual, wanted)


# Nothing to attend to


def test_an_empty_row_gives_zeros_and_no_lse():
    mask = torch.ones(3, 5, dtype=torch.bool)
    mask[1] = False
    got = attend(*sequences(), mask=mask)
    assert (got.output[:, 1] == 0).all()
    assert (got.weights[:, 1] == 0).all()
    assert (got.lse[:, 1] == -math.inf).all()


def test_a_row_emptied_by_a_bias_of_minus_infinity_gives_zeros_and_finite_gradients():
    q, k, v = (x.requires_grad_() for x in sequences())
    bias = torch.zeros(3, 5, dtype=torch.float64)
    bias[1] = -math.inf
    got = attend(q, k, v, bias=bias)
    assert (got.output[:, 1] == 0).all()
    assert all(gradient.isfinite().all() for gradient in gradients(got.output.sum(), q, k, v))


def test_attention_over_no_keys_gives_zeros():
    q, k, v = sequences(m=0)
    got = attend(q, k, v)
    assert (got.output == 0).all()
    assert (got.lse == -math.inf).all()


def test_a_loss_through_the_lse_of_an_empty_row_has_finite_gradients():
    q, k, v = (x.requires_grad_() for x in sequences())
    got = attend(
        q, k, v, mask=masks.causal(3, 5, align="lower_right") & torch.tensor([[False], [True], [True]])
    )
    assert all(g.isfinite().all() for g in gradients(got.lse.exp().sum() + got.output.sum(), q, k, v))


# NaN behind a mask

BAD = pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])


@pytest.fixture
def causal_pair():
    """Inputs, a copy whose last position is bad, and the causal mask: only the last row sees it."""

    def make(bad, spoil=("key", "value")):
        clean = dict(zip(("query", "key", "value"), sequences(n=4, m=4), strict=True))
        dirty = {name: x.clone() for name, x in clean.items()}
        for name in spoil:
            dirty[name][:, -1] = bad
        return clean, dirty, masks.causal(4)

    return make


@BAD
@pytest.mark.parametrize("place", ["query", "key", "value"])
def test_rows_that_may_not_see_a_bad_entry_keep_their_answer(causal_pair, bad, place):
    clean, dirty, mask = causal_pair(bad, spoil=[place])
    expected, got = attend(**clean, mask=mask), attend(**dirty, mask=mask)
    assert_near(got.output[:, :-1], expected.output[:, :-1])
    assert_near(got.weights[:, :-1], expected.weights[:, :-1])
    assert_near(got.lse[:, :-1], expected.lse[:, :-1])


@BAD
@pytest.mark.parametrize("place", ["query", "key", "value"])
def test_rows_that_may_see_a_bad_entry_are_nan(causal_pair, bad, place):
    _, dirty, mask = causal_pair(bad, spoil=[place])
    assert attend(**dirty, mask=mask).output[:, -1].isnan().all()


@pytest.mark.parametrize("place", ["query", "key", "value"])
def test_weights_and_lse_are_nan_with_a_bad_score_and_not_with_a_bad_value(causal_pair, place):
    _, dirty, mask = causal_pair(math.nan, spoil=[place])
    got = attend(**dirty, mask=mask)
    from_scores = place != "value"
    assert got.weights[:, -1].isnan().all() == from_scores
    assert got.lse[:, -1].isnan().all() == from_scores


@BAD
@pytest.mark.parametrize("place", ["query", "key", "value"])
def test_gradients_of_rows_that_may_not_see_a_bad_entry_are_those_without_it(causal_pair, bad, place):
    clean, dirty, mask = causal_pair(bad, spoil=[place])
    results = []
    for inputs in (clean, dirty):
        leaves = {name: x.requires_grad_() for name, x in inputs.items()}
        got = attend(**leaves, mask=mask)
        loss = (got.output[:, :-1] ** 2).sum() + got.weights[:, :-1].square().sum() + got.lse[:, :-1].sum()
        results.append(gradients(loss, *leaves.values()))
    for expected, actual in zip(*results, strict=True):
        assert_near(actual, expected)


@BAD
def test_a_bad_query_that_may_attend_to_nothing_reaches_no_gradient(bad):
    q, k, v = sequences()
    q[:, 1] = bad
    mask = torch.ones(3, 5, dtype=torch.bool)
    mask[1] = False
    leaves = [x.requires_grad_() for x in (q, k, v)]
    got = attend(*leaves, mask=mask)
    assert got.output.isfinite().all()
    assert all(gradient.isfinite().all() for gradient in gradients(got.output.sum(), *leaves))


def test_a_bad_score_parameter_is_not_hidden():
    q, k, v = sequences()
    weight = torch.full((4, 4), math.nan, dtype=torch.float64)
    mask = masks.causal(3, 5, align="lower_right")
    assert attend(q, k, v, score=partial(scores.general, weight=weight), mask=mask).output.isnan().all()


def test_gradients_of_a_score_parameter_stay_clean_of_a_masked_bad_key():
    q, k, v = sequences()
    k[:, -1] = math.nan
    weight = torch.randn(4, 4, dtype=torch.float64, requires_grad=True)
    mask = torch.tensor([True, True, True, True, False])
    got = attend(q, k, v, score=partial(scores.general, weight=weight), mask=mask)
    assert gradients(got.output.sum(), weight)[0].isfinite().all()


def test_a_bias_of_nan_behind_the_mask_stays_there():
    q, k, v = (x.requires_grad_() for x in sequences())
    bias = torch.zeros(3, 5, dtype=torch.float64)
    bias[0, 4] = math.nan
    got = attend(q, k, v, mask=masks.causal(3, 5, align="lower_right"), bias=bias)
    assert got.output.isfinite().all()
    assert all(gradient.isfinite().all() for gradient in gradients(got.output.sum(), q, k, v))


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_a_bad_bias_reaches_the_rows_that_see_it_and_no_other_rows_gradient(bad):
    bias = torch.zeros(4, dtype=torch.float64)
    bias[-1] = bad
    leaves = [x.requires_grad_() for x in (*sequences(n=4, m=4), bias)]
    got = attend(*leaves[:3], mask=masks.causal(4), bias=bias)
    assert got.output.isnan().any(-1).tolist() == [[False, False, False, True]] * 2
    loss = got.output[:, :-1].sum() + got.lse[:, :-1].sum()
    assert all(gradient.isfinite().all() for gradient in gradients(loss, *leaves))


# Choices of the four words


def test_temperature_to_zero_is_one_hot():
    q, k, v = sequences()
    cold = attend(q, k, v, normalize=partial(normalizers.softmax, temperature=1e-9)).weights
    assert_near(cold, attend(q, k, v, normalize=normalizers.hard).weights)


def test_temperature_to_infinity_is_the_mean_of_the_values():
    q, k, v = sequences()
    hot = attend(q, k, v, normalize=partial(normalizers.softmax, temperature=1e15)).output
    assert_near(hot, v.mean(-2, keepdim=True).expand(-1, 3, -1))


@pytest.mark.parametrize("normalize", [normalizers.hard, partial(normalizers.softmax, temperature=3.0)])
def test_lse_does_not_depend_on_the_normaliser(normalize):
    q, k, v = sequences()
    assert_near(attend(q, k, v, normalize=normalize).lse, attend(q, k, v).lse)


def test_hard_attention_copies_one_value():
    q, k, v = sequences()
    best = (q @ k.mT).argmax(-1)
    expected = v.take_along_dim(best[..., None], dim=-2)
    assert_near(attend(q, k, v, normalize=normalizers.hard).output, expected)


@pytest.mark.parametrize("mask", [None, torch.eye(3, 5, dtype=torch.bool)])
def test_inputs_are_never_modified(mask):
    q, k, v = sequences()
    k[:, -1] = math.nan
    bias = torch.randn(3, 5, dtype=torch.float64)
    before = [x.clone() for x in (q, k, v, bias)]
    attend(q, k, v, mask=mask, bias=bias)
    for x, copy in zip((q, k, v, bias), before, strict=True):
        torch.testing.assert_close(x, copy, equal_nan=True, atol=0, rtol=0)


# Low precision

HALVES = pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])


def plain(q, k, v):
    """What one writes first: everything in the inputs' own precision."""
    return torch.softmax(q @ k.mT / math.sqrt(q.shape[-1]), -1) @ v


@HALVES
def test_low_precision_errs_at_most_twice_as_much_as_a_plain_implementation(dtype):
    inputs = [x.to(dtype) for x in sequences(n=32, m=64, d=64, dv=64, batch=(8,))]
    exact = plain(*(x.double() for x in inputs))
    error = (attend(*inputs).output - exact).square().mean().sqrt()
    assert error <= 2 * (plain(*inputs) - exact).square().mean().sqrt()


@HALVES
def test_low_precision_weights_and_output_keep_the_dtype_and_lse_is_float32(dtype):
    got = attend(*(x.to(dtype) for x in sequences()))
    assert (got.output.dtype, got.weights.dtype, got.lse.dtype) == (dtype, dtype, torch.float32)


@HALVES
def test_a_softmax_over_many_keys_does_not_lose_the_small_ones(dtype):
    logits = torch.zeros(1, 4096, dtype=dtype)
    assert_near(normalizers.logsumexp(logits), torch.tensor([math.log(4096)]), atol=1e-5)


def test_scaled_dot_does_not_overflow_in_half_precision_before_it_is_scaled():
    q = torch.full((1, 64), 40.0, dtype=torch.float16)
    assert scores.scaled_dot(q, q).item() == 40 * 40 * 64 / 8


# Merge


def test_merge_does_not_depend_on_the_grouping():
    q, k, v = sequences(m=6)
    a, b, c = (attend(q, k[:, own], v[:, own]) for own in (slice(2), slice(2, 3), slice(3, 6)))
    for actual, wanted in zip(merge(merge(a, b), c), merge(a, merge(b, c)), strict=True):
        assert_near(actual, wanted)


def test_a_part_that_saw_no_key_drops_out():
    q, k, v = sequences()
    whole, nothing = attend(q, k, v), attend(q, k[:, :0], v[:, :0])
    for actual, wanted in zip(merge(nothing, whole), whole, strict=True):
        assert_near(actual, wanted)


def test_merging_parts_that_all_saw_nothing_gives_zeros():
    q, k, v = sequences()
    nothing = attend(q, k, v, mask=torch.tensor(False))
    got = merge(nothing, nothing)
    assert (got.output == 0).all()
    assert (got.lse == -math.inf).all()


def test_gradients_through_merge_are_those_of_the_whole_even_in_empty_rows():
    q, k, v = (x.requires_grad_() for x in sequences())
    mask = masks.causal(3, 5, align="upper_left") & torch.tensor([[True], [False], [True]])
    parts = [attend(q, k[:, own], v[:, own], mask=mask[:, own]) for own in (slice(2), slice(2, None))]
    expected = gradients(attend(q, k, v, mask=mask).output.square().sum(), q, k, v)
    for actual, wanted in zip(gradients(merge(*parts).output.square().sum(), q, k, v), expected, strict=True):
        assert_near(actual, wanted)


@BAD
@pytest.mark.parametrize("place", ["query", "key", "value"])
@pytest.mark.parametrize("field", Attended._fields)
def test_merge_keeps_a_bad_entry_in_the_rows_that_see_it(causal_pair, bad, place, field):
    _, dirty, mask = causal_pair(bad, spoil=[place])
    q, k, v = (x.requires_grad_() for x in dirty.values())
    parts = [attend(q, k[:, own], v[:, own], mask=mask[:, own]) for own in (slice(2), slice(2, None))]
    results = []
    for got in (merge(*parts), attend(q, k, v, mask=mask)):
        answer = getattr(got, field)
        rows = answer[:, :-1].square().sum()
        results.append((answer.isnan(), *torch.autograd.grad(rows, (q, k, v), materialize_grads=True)))
    for actual, expected in zip(*results, strict=True):
        assert_near(actual, expected)


def test_merge_without_one_parts_weights_has_none():
    part = attend(*sequences())
    assert merge(part, part._replace(weights=None)).weights is None


def test_merge_keeps_a_low_precision_dtype():
    part = attend(*sequences(dtype=torch.bfloat16))
    got = merge(part, part)
    assert (got.output.dtype, got.weights.dtype, got.lse.dtype) == (
        torch.bfloat16,
        torch.bfloat16,
        torch.float32,
    )


def test_attended_always_has_three_fields():
    assert Attended._fields == ("output", "weights", "lse")
