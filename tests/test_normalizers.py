"""Normalisers: allowed weights sum to one, forbidden ones are exactly zero."""

import itertools
import math
from functools import partial
from types import SimpleNamespace

import entmax as peer
import mpmath
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from transformers.models.gpt_oss.modeling_gpt_oss import eager_attention_forward

from attention_core import attend, normalizers
from attention_core.normalizers import (
    entmax,
    gumbel,
    hard,
    logsumexp,
    sigmoid,
    softmax,
    softmax_with_sink,
    sparsemax,
)


def drawn(scores, mask=None, temperature=1.0):
    """`gumbel` with the same draw every time."""
    return gumbel(scores, mask, temperature, generator=torch.Generator().manual_seed(0))


def adaptive(scores, mask=None, temperature=1.0):
    """`entmax` whose alpha is a tensor, here one of 1, where it is softmax."""
    return entmax(scores, mask, alpha=torch.ones(()), temperature=temperature)


sunk = partial(softmax_with_sink, sink=0.3)


def each(*functions):
    names = {sunk: "sink", drawn: "gumbel", adaptive: "entmax-1"}
    return pytest.mark.parametrize("normalize", functions, ids=lambda f: names.get(f) or f.__name__)


SMOOTH = (softmax, sparsemax, entmax, adaptive, drawn)  # in the scores, and sum to one
EVERY = each(*SMOOTH, hard, sigmoid, sunk)
WHOLE = each(*SMOOTH, hard)
TEMPERED = each(softmax, sparsemax, entmax, adaptive)


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
@TEMPERED
def test_any_temperature_near_zero_is_hard(normalize, temperature, dtype):
    scores = torch.tensor([[1.0, 3.0, 2.0], [0.0, -50.0, -3.0]], dtype=dtype, requires_grad=True)
    weights = normalize(scores, temperature=temperature)
    assert weights.equal(hard(scores))
    weights.square().sum().backward()
    assert (scores.grad == 0).all()


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32, torch.float64])
@pytest.mark.parametrize("temperature", [1e20, 1e39, 1e308, pytest.param(10**400, id="1e400")])
@TEMPERED
def test_any_large_temperature_is_uniform_over_the_allowed_keys(normalize, temperature, dtype):
    scores = torch.tensor([1.0, 3.0, 2.0], dtype=dtype)
    mask = torch.tensor([True, True, False])
    assert normalize(scores, mask, temperature=temperature).tolist() == [0.5, 0.5, 0.0]


@TEMPERED
def test_large_scores_do_not_overflow(normalize):
    assert_near(normalize(torch.tensor([1e4, 1e4])), torch.tensor([0.5, 0.5]))


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


@WHOLE
@given(data=st.data(), n=st.integers(1, 7), m=st.integers(0, 7))
def test_weights_sum_to_one_or_to_zero_in_an_empty_row(normalize, data, n, m):
    rows = data.draw(st.lists(st.lists(st.booleans(), min_size=m, max_size=m), min_size=n, max_size=n))
    mask = torch.tensor(rows, dtype=torch.bool).reshape(n, m)
    weights = normalize(torch.randn(n, m, dtype=torch.float64), mask)
    assert_near(weights.sum(-1), mask.any(-1).double())


@EVERY
def test_a_row_that_allows_nothing_gets_weights_zero(normalize):
    assert normalize(torch.randn(2, 3), torch.tensor([[True] * 3, [False] * 3]))[1].tolist() == [0, 0, 0]
    assert (normalize(torch.full((3,), -math.inf)) == 0).all()


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


@pytest.mark.parametrize("function", [*SMOOTH, sigmoid, sunk, logsumexp])
def test_gradients_of_a_row_that_allows_nothing_are_zero(function):
    scores = torch.randn(3, requires_grad=True)
    function(scores, torch.tensor([False, False, False])).sum().backward()
    assert scores.grad.tolist() == [0, 0, 0]


@pytest.mark.filterwarnings("ignore:Anomaly Detection has been enabled")
@pytest.mark.parametrize("function", [*SMOOTH, sigmoid, sunk, logsumexp])
def test_anomaly_detection_finds_no_nan_behind_a_row_that_allows_nothing(function):
    scores = torch.randn(2, 3, requires_grad=True)
    mask = torch.tensor([[False] * 3, [True] * 3])
    with torch.autograd.detect_anomaly(check_nan=True):
        function(scores, mask)[1].sum().backward()


@pytest.mark.parametrize("function", [*SMOOTH, sigmoid, sunk, logsumexp])
def test_gradients_of_masked_scores_are_right(function):
    scores = torch.randn(3, 5, dtype=torch.float64, requires_grad=True)
    mask = torch.rand(3, 5) > 0.4
    mask[:, 0] = True
    assert torch.autograd.gradcheck(lambda s: function(s, mask), scores)


@EVERY
def test_a_score_of_minus_infinity_gets_weight_zero(normalize):
    scores = torch.tensor([1.0, -math.inf, 2.0])
    mask = torch.tensor([True, False, True])
    weights = normalize(scores)
    assert weights[1] == 0
    assert_near(weights, normalize(torch.tensor([1.0, 0.0, 2.0]), mask))


@each(*SMOOTH, sunk)
def test_an_allowed_nan_spoils_its_row_and_no_other(normalize):
    scores = torch.tensor([[1.0, math.nan, 2.0], [1.0, 0.0, 2.0]])
    assert normalize(scores).isnan().tolist() == [[True] * 3, [False] * 3]


@EVERY
def test_without_any_key_there_are_no_weights(normalize):
    assert normalize(torch.zeros(2, 0)).shape == (2, 0)


@WHOLE
@given(m=st.integers(1, 7), constant=st.floats(-50, 50))
def test_a_constant_added_to_a_row_changes_nothing(normalize, m, constant):
    scores = torch.randn(3, m, dtype=torch.float64)
    assert_near(normalize(scores + constant), normalize(scores))


@each(softmax, sparsemax, entmax, adaptive, hard, sigmoid, sunk)
@given(m=st.integers(1, 7), data=st.data())
def test_permuting_the_scores_permutes_the_weights(normalize, m, data):
    order = data.draw(st.permutations(range(m)))
    scores = torch.randn(3, m, dtype=torch.float64)
    assert_near(normalize(scores[:, order]), normalize(scores)[:, order])


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@each(*SMOOTH, sigmoid, sunk)
def test_low_precision_is_the_float32_result_rounded_once(normalize, dtype):
    scores = torch.randn(4, 64).to(dtype)
    assert normalize(scores).equal(normalize(scores.float()).to(dtype))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize(
    ("normalize", "plain"),
    [
        (softmax, partial(torch.softmax, dim=-1)),
        (sigmoid, torch.sigmoid),
        (sparsemax, peer.sparsemax),
        (entmax, peer.entmax15),
    ],
    ids=["softmax", "sigmoid", "sparsemax", "entmax"],
)
def test_low_precision_errs_at_most_twice_as_much_as_a_plain_implementation(normalize, plain, dtype):
    scores = torch.randn(16, 64).to(dtype)
    exact = normalize(scores.double())
    error = (normalize(scores).double() - exact).abs().max()
    plain_error = (plain(scores).double() - exact).abs().max()
    assert error <= 2 * plain_error + 2 * (exact.to(dtype) + 0.3 - 0.3 - exact.to(dtype)).abs().max()


# sparsemax


def test_sparsemax_leaves_out_what_is_one_below_the_best():
    assert sparsemax(torch.tensor([3.0, 2.0, 2.5])).tolist() == [0.75, 0.0, 0.25]


def test_sparsemax_is_the_nearest_point_of_the_simplex():
    scores = torch.randn(200, 5, dtype=torch.float64)
    others = torch.distributions.Dirichlet(torch.ones(5, dtype=torch.float64)).sample((200, 50))
    distance = (sparsemax(scores) - scores).norm(dim=-1)
    assert (distance[:, None] <= (others - scores[:, None]).norm(dim=-1)).all()


def test_sparsemax_of_large_scores_keeps_all_digits():
    scores = torch.tensor([0.0, -0.25, -0.5], dtype=torch.float64)
    assert_near(sparsemax(scores + 1e14), torch.tensor([7, 4, 1], dtype=torch.float64) / 12)


def gradient(normalize, scores, upstream):
    leaf = scores.clone().requires_grad_()
    weights = normalize(leaf)
    return weights.detach(), torch.autograd.grad(weights, leaf, upstream)[0]


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (sparsemax, peer.sparsemax),
        (entmax, peer.entmax15),
        *((partial(entmax, alpha=a), partial(peer.entmax_bisect, alpha=a)) for a in (1.2, 1.5, 1.7, 3.0)),
    ],
    ids=["sparsemax", "entmax15", "1.2", "1.5", "1.7", "3"],
)
def test_weights_and_gradients_are_those_of_the_entmax_package(ours, theirs):
    scores = torch.randn(20, 9, dtype=torch.float64)
    upstream = torch.randn(20, 9, dtype=torch.float64)
    for actual, expected in zip(
        gradient(ours, scores, upstream), gradient(theirs, scores, upstream), strict=True
    ):
        assert_near(actual, expected)


# entmax


def exact_entmax(scores, alpha):
    """Entmax to fifty digits, by the formula in print and bisection on tau."""
    power = 1 / (mpmath.mpf(alpha) - 1)
    z = [(mpmath.mpf(alpha) - 1) * (mpmath.mpf(score) - max(scores)) for score in scores]
    low, high = mpmath.mpf(-1), mpmath.mpf(0)
    for _ in range(170):
        tau = (low + high) / 2
        weights = [max(x - tau, 0) ** power for x in z]
        low, high = (tau, high) if sum(weights) > 1 else (low, tau)
    return weights


@pytest.mark.parametrize("spread", [0.05, 1, 1e4])
@pytest.mark.parametrize("excess", [1e-12, 1e-9, 1e-6, 1e-3, 0.1, 0.499, 0.501, 0.9, 1.5, 4.0, 9.0])
def test_entmax_is_as_exact_in_float64_as_its_slope_allows_for_every_alpha(excess, spread):
    scores = spread * torch.randn(6, dtype=torch.float64)
    with mpmath.workdps(50):
        exact = exact_entmax(scores.tolist(), 1 + excess)
    expected = torch.tensor([float(x) for x in exact], dtype=torch.float64)
    weights = entmax(scores, alpha=1 + excess)
    # Above alpha = 2 the slope w^(2 - alpha) is steep at small weights, and the scores are rounded too.
    slope = expected[expected > 1e-9].min() ** min(0.0, 1 - excess)
    rounding = torch.finfo(torch.float64).eps * (scores - scores.max())[expected > 0].abs().max()
    assert_near(weights, expected, atol=2e-15 + float(slope * rounding))
    assert abs(math.fsum(weights.tolist()) - 1) <= 4e-16


def test_entmax_at_one_is_softmax_and_close_to_one_close_to_it():
    scores = torch.randn(50, 8, dtype=torch.float64)
    assert entmax(scores, alpha=1).equal(softmax(scores))
    assert_near(entmax(scores, alpha=torch.ones((), dtype=torch.float64)), softmax(scores), atol=1e-15)
    assert_near(entmax(scores, alpha=1 + 1e-9), softmax(scores), atol=1e-8)
    assert not torch.allclose(entmax(scores, alpha=1.1), softmax(scores), atol=1e-3)


def test_entmax_at_two_is_sparsemax_by_sorting_and_by_bisection():
    scores = torch.randn(50, 8, dtype=torch.float64)
    assert entmax(scores, alpha=2).equal(sparsemax(scores))
    assert_near(entmax(scores, alpha=torch.tensor(2.0)), sparsemax(scores), atol=2e-15)


@given(m=st.integers(1, 7))
def test_entmax_support_shrinks_as_alpha_grows(m):
    scores = 2 * torch.randn(5, m, dtype=torch.float64)
    supports = [entmax(scores, alpha=alpha) > 0 for alpha in (1, 1.05, 1.3, 1.5, 2, 3, 10)]
    assert supports[0].all()
    for larger, smaller in itertools.pairwise(supports):
        assert (larger | ~smaller).all()


def test_entmax_takes_one_alpha_a_head():
    scores = torch.randn(2, 3, 4, 5, dtype=torch.float64)
    alphas = torch.tensor([1.0, 1.5, 2.0], dtype=torch.float64)
    weights = entmax(scores, alpha=alphas[:, None, None])
    for h, alpha in enumerate(alphas.tolist()):
        assert_near(weights[:, h], entmax(scores[:, h], alpha=alpha), atol=2e-15)


@pytest.mark.parametrize("alpha", [1.5, 1.9, 2.0])
def test_entmax_is_exact_where_keys_crowd_at_the_edge_of_the_support(alpha):
    """The rows for which Newton's method needs most steps: the slope falls at every one."""
    distance = torch.linspace(0, 1, 100, dtype=torch.float64) ** 5
    edge = 2 ** (1 - alpha)  # two keys at 0 share all the weight
    scores = torch.cat([torch.zeros(2, dtype=torch.float64), -(edge + (1 - edge) * distance) / (alpha - 1)])
    with mpmath.workdps(50):
        expected = torch.tensor([float(x) for x in exact_entmax(scores.tolist(), alpha)], dtype=torch.float64)
    assert_near(entmax(scores, alpha=torch.tensor(alpha, dtype=torch.float64)), expected, atol=2e-15)


@pytest.mark.parametrize("alpha", [1.0, 1 + 1e-9, 1.3, 1.499, 1.501, 2.0, 3.0])
def test_entmax_gradients_are_right(alpha):
    scores = torch.randn(3, 5, dtype=torch.float64, requires_grad=True)
    alpha = torch.tensor(alpha, dtype=torch.float64)
    assert torch.autograd.gradcheck(lambda s: entmax(s, alpha=alpha), scores)


@pytest.mark.parametrize("alpha", [1.0, 1 + 1e-12, 1 + 1e-9, 1 + 1e-5, 1.01, 1.499, 1.501, 2.0, 3.0, 8.0])
def test_entmax_gradient_in_alpha_is_right_at_one_too(alpha):
    scores = torch.tensor([0.3, 0.0, -0.1, 0.25, 0.28], dtype=torch.float64)
    leaf = torch.tensor(alpha, dtype=torch.float64, requires_grad=True)
    weights = entmax(scores, alpha=leaf)
    found = torch.stack([torch.autograd.grad(w, leaf, retain_graph=True)[0] for w in weights])
    with mpmath.workdps(70):
        near, step = mpmath.mpf(alpha) + mpmath.mpf(10) ** -18, mpmath.mpf(10) ** -19
        ups, downs = (exact_entmax(scores.tolist(), a) for a in (near + step, near - step))
        slopes = [float((up - down) / (2 * step)) for up, down in zip(ups, downs, strict=True)]
    expected = torch.tensor(slopes, dtype=torch.float64)
    assert expected.abs().max() > 1e-3
    assert_near(found, expected, atol=1e-13)


def test_entmax_gradient_in_alpha_is_that_of_the_entmax_package():
    scores, upstream = torch.randn(2, 4, 7, dtype=torch.float64)
    found = []
    for function in (entmax, peer.entmax_bisect):
        alpha = torch.tensor([[1.2], [1.5], [1.7], [2.2]], dtype=torch.float64, requires_grad=True)
        found.append(torch.autograd.grad(function(scores, alpha=alpha), alpha, upstream)[0])
    assert_near(*found, atol=1e-11)


def test_entmax_gradients_stay_finite_for_huge_alpha():
    scores = torch.zeros(10, dtype=torch.float64, requires_grad=True)
    alpha = torch.tensor(1e3, dtype=torch.float64, requires_grad=True)
    weights = entmax(scores, alpha=alpha)
    assert_near(weights, torch.full_like(weights, 0.1))
    assert all(g.isfinite().all() for g in torch.autograd.grad(weights[0], (scores, alpha)))


def test_entmax_in_float32_does_not_lose_an_alpha_that_rounds_to_one():
    scores, alpha = torch.tensor([0.0, -80.0]), 1 + 5e-8
    assert torch.tensor(alpha) == 1
    ratios = entmax(scores, alpha=alpha).double() / entmax(scores.double(), alpha=alpha)
    assert_near(ratios, torch.ones(2, dtype=torch.float64), atol=4e-5)  # of softmax: 1.6e-4


def test_entmax_maps_over_rows_with_its_gradient():
    scores = torch.randn(4, 5, dtype=torch.float64)
    slopes = torch.func.vmap(torch.func.grad(lambda s: entmax(s).square().sum()))(scores)
    leaf = scores.clone().requires_grad_()
    assert_near(slopes, torch.autograd.grad(entmax(leaf).square().sum(), leaf)[0])


# sigmoid


def test_sigmoid_is_torch_sigmoid_of_the_allowed_scores_over_the_temperature():
    scores = torch.randn(5, dtype=torch.float64)
    mask = torch.tensor([True, False, True, True, False])
    assert_near(sigmoid(scores, mask, temperature=2), torch.sigmoid(scores / 2) * mask)


def test_sigmoid_near_temperature_zero_is_a_step_and_at_a_large_one_a_half():
    scores = torch.tensor([-1e-3, 0.0, 1e-3])
    assert sigmoid(scores, temperature=1e-300).tolist() == [0.0, 0.5, 1.0]
    assert sigmoid(scores, temperature=1e300).tolist() == [0.5, 0.5, 0.5]


def test_sigmoid_with_a_bias_of_minus_log_m_starts_near_the_mean():
    key, value = torch.randn(9, 4), torch.randn(9, 2)
    bias = torch.tensor(-math.log(9))
    output = attend(torch.zeros(1, 4), key, value, normalize=sigmoid, bias=bias).output
    assert_near(output, value.mean(0, keepdim=True) * 0.9, atol=1e-6)


# softmax_with_sink


def test_softmax_with_sink_is_softmax_times_the_sigmoid_of_lse_less_sink():
    scores = torch.randn(4, 6, dtype=torch.float64)
    mask = torch.rand(4, 6) > 0.3
    share = torch.sigmoid(logsumexp(scores, mask) - 0.7)[:, None]
    assert_near(softmax_with_sink(scores, mask, sink=0.7), softmax(scores, mask) * share)


def test_a_sink_of_zero_adds_one_to_the_denominator():
    scores = torch.randn(6, dtype=torch.float64)
    assert_near(softmax_with_sink(scores, sink=0), scores.exp() / (1 + scores.exp().sum()))


def test_a_sink_below_everything_is_softmax_and_one_above_takes_all():
    scores = torch.randn(6)
    assert_near(softmax_with_sink(scores, sink=-math.inf), softmax(scores), atol=1e-7)
    assert (softmax_with_sink(scores, sink=1e30) == 0).all()


def test_a_sink_may_differ_by_head_and_learn():
    scores = torch.randn(2, 3, 4, 5, dtype=torch.float64)
    sink = torch.randn(3, 1, 1, dtype=torch.float64, requires_grad=True)
    mask = torch.rand(4, 5) > 0.5
    mask[1] = False
    for h in range(3):
        alone = softmax_with_sink(scores[:, h], mask, sink=sink[h].item())
        assert_near(softmax_with_sink(scores, mask, sink=sink)[:, h], alone)
    assert torch.autograd.gradcheck(lambda z: softmax_with_sink(scores, mask, sink=z), sink)


def test_softmax_with_sink_is_gpt_oss_attention():
    query, key, value = (torch.randn(2, heads, 5, 4, dtype=torch.float64) for heads in (6, 2, 2))
    module = SimpleNamespace(
        num_key_value_groups=3, sinks=torch.randn(6, dtype=torch.float64), training=False
    )
    mask = torch.ones(5, 5, dtype=torch.bool).tril()
    hidden = torch.zeros(5, 5, dtype=torch.float64).masked_fill(~mask, -math.inf)
    output, weights = eager_attention_forward(module, query, key, value, hidden, scaling=0.5)

    normalize = partial(softmax_with_sink, sink=module.sinks[:, None, None])
    shared = (x.repeat_interleave(3, dim=1) for x in (key, value))
    ours = attend(query, *shared, mask=mask, normalize=normalize)
    assert_near(ours.weights, weights)
    assert_near(ours.output.transpose(1, 2), output)


# gumbel


def test_gumbel_draws_each_key_as_often_as_softmax_says():
    draws, scores = 100_000, torch.tensor([2.0, 0.0, 1.0, -1.0, 1.5], dtype=torch.float64)
    mask = torch.tensor([True, True, True, True, False])
    weights = gumbel(scores.expand(draws, 5), mask, straight_through=True)
    expected = softmax(scores, mask)
    deviation = (expected * (1 - expected) / draws).sqrt()
    assert ((weights.mean(0) - expected).abs() <= 4 * deviation).all()  # wrong once in 4,000 seeds


def test_gumbel_is_softmax_of_scores_and_noise():
    scores, noise = torch.randn(2, 4, 5, dtype=torch.float64)
    mask = torch.rand(4, 5) > 0.3
    expected = softmax(scores + noise, mask, temperature=0.5)
    assert_near(gumbel(scores, mask, 0.5, noise=noise), expected)


@pytest.mark.parametrize("straight_through", [False, True])
def test_gumbel_draws_as_torch_does(straight_through):
    scores = torch.randn(4, 5)
    torch.manual_seed(1)
    expected = torch.nn.functional.gumbel_softmax(scores, tau=0.7, hard=straight_through)
    torch.manual_seed(1)
    assert_near(gumbel(scores, temperature=0.7, straight_through=straight_through), expected, atol=1e-6)


def test_gumbel_repeats_with_its_generator_and_not_without():
    scores = torch.randn(4, 5)
    assert drawn(scores).equal(drawn(scores))
    assert not gumbel(scores).equal(gumbel(scores))


def test_straight_through_gives_the_one_hot_draw_with_the_gradient_of_the_soft_one():
    scores, noise, upstream = torch.randn(3, 4, 5, dtype=torch.float64)
    soft = partial(gumbel, noise=noise, temperature=0.5)
    weights, slope = gradient(partial(soft, straight_through=True), scores, upstream)
    assert weights.equal(hard(scores + noise))
    assert_near(slope, gradient(soft, scores, upstream)[1])


def test_bad_noise_behind_a_mask_stays_there():
    scores = torch.randn(3, 4, requires_grad=True)
    noise = torch.zeros(3, 4)
    mask = torch.ones(3, 4, dtype=torch.bool)
    noise[:, 1], mask[:, 1] = math.nan, False
    weights = gumbel(scores, mask, noise=noise)
    assert_near(weights, softmax(scores, mask), atol=1e-6)
    assert torch.autograd.grad(weights.square().sum(), scores)[0].isfinite().all()


# The functions' own checks


@pytest.mark.parametrize(
    ("shape", "fits"),
    [((), True), ((5,), True), ((3, 1), True), ((2, 3, 5), True), ((2, 5), False), ((1, 2, 3, 5), False)],
)
def test_a_mask_fits_where_it_broadcasts_without_growing_the_scores(shape, fits):
    assert normalizers.broadcasts(torch.Size(shape), torch.Size((2, 3, 5))) == fits
