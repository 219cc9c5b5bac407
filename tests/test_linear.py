"""The linear family: one recurrence by three schedules, cut anywhere; other people's code; what may leak."""

import math
from functools import partial

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from performer_pytorch import performer_pytorch as peer
from torch.nn.functional import scaled_dot_product_attention as sdpa
from transformers.models.qwen3_next import modeling_qwen3_next as qwen

from attention_core import attend, linear, masks, reference

NAMES = ("fast_weights", "linear_attention", "performer", "delta_rule", "gated_delta_rule")
MODES = ("recurrent", "parallel", "chunked")
each_function = pytest.mark.parametrize("name", NAMES)
each_mode = pytest.mark.parametrize("mode", MODES)


def assert_near(actual, expected, atol=1e-12):
    torch.testing.assert_close(actual, expected, atol=atol, rtol=0)


def arrays(name, rng, n=7, d=4, dv=3, batch=(2,), features=5):
    """Arguments of one of the functions."""
    arguments = {"query": (n, d), "key": (n, d), "value": (n, dv)}
    arguments = {each: rng.normal(size=(*batch, *shape)) for each, shape in arguments.items()}
    if "delta" in name:
        arguments["beta"] = rng.random((*batch, n))
    if "gated" in name:
        arguments["decay"] = rng.random((*batch, n))
    if name == "performer":
        arguments["projection"] = rng.normal(size=(features, d))
    return arguments


def some(name, seed=0, **sizes):
    """The same as tensors."""
    found = arrays(name, np.random.default_rng(seed), **sizes)
    return {each: torch.from_numpy(x) for each, x in found.items()}


def part(arguments, own):
    """The tokens of a slice."""
    axes = {"query": -2, "key": -2, "value": -2, "beta": -1, "decay": -1}
    return {
        each: x[..., own, :] if axes.get(each) == -2 else x[..., own] if each in axes else x
        for each, x in arguments.items()
    }


def units(*shape):
    x = torch.randn(*shape, dtype=torch.float64)
    return x / x.norm(dim=-1, keepdim=True)


# One recurrence, three schedules


@st.composite
def problems(draw):
    name = draw(st.sampled_from(NAMES))
    n, d, dv, features = (draw(st.integers(1, 7)) for _ in range(4))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    arguments = arrays(name, rng, n, d, dv, draw(st.sampled_from([(), (2,), (2, 3)])), features)
    if "decay" in arguments and draw(st.booleans()):
        arguments["decay"][..., rng.integers(n)] = 0
    return name, arguments, rng


@given(problems(), st.sampled_from(MODES), st.integers(1, 8))
def test_every_schedule_is_the_loop_for_any_sizes_and_from_any_state(problem, mode, chunk):
    name, arguments, rng = problem
    before = getattr(reference, name)(**arguments)[1]
    arguments["initial_state"] = before + (0 if name == "performer" else rng.normal(size=before.shape))
    expected = getattr(reference, name)(**arguments)
    given_ = {each: torch.from_numpy(x) for each, x in arguments.items()}
    got = getattr(linear, name)(**given_, mode=mode, chunk=chunk)
    for actual, wanted in zip(got, expected, strict=True):
        scale = max(1.0, np.abs(wanted).max())  # a normaliser that a random state brings near 0
        np.testing.assert_allclose(actual / scale, wanted / scale, atol=1e-12, rtol=0)


@each_mode
@each_function
def test_a_sequence_may_be_cut_anywhere(name, mode):
    function, arguments = partial(getattr(linear, name), mode=mode, chunk=3), some(name)
    whole = function(**arguments)
    for cut in range(8):
        first = function(**part(arguments, slice(cut)))
        second = function(**part(arguments, slice(cut, None)), initial_state=first.state)
        assert_near(torch.cat([first.output, second.output], dim=-2), whole.output)
        assert_near(second.state, whole.state)


@each_mode
@each_function
def test_gradients_pass_through_the_first_and_the_last_state(name, mode):
    function, arguments = getattr(linear, name), some(name, n=5)
    if "decay" in arguments:
        arguments["decay"][:, 2] = 0  # a product with a 0 still has a gradient
    arguments["initial_state"] = function(**some(name, seed=1, n=2)).state
    leaves = [x.requires_grad_() for x in arguments.values()]

    def both(*values):
        return tuple(function(**dict(zip(arguments, values, strict=True)), mode=mode, chunk=2))

    assert torch.autograd.gradcheck(both, leaves)


@each_function
def test_zeros_are_the_state_to_start_from(name):
    arguments = some(name)
    plain = getattr(linear, name)(**arguments)
    zeros = getattr(linear, name)(**arguments, initial_state=torch.zeros_like(plain.state))
    assert_near(plain.output, zeros.output)


@each_mode
@each_function
def test_no_token_leaves_the_state_as_it_was(name, mode):
    before = getattr(linear, name)(**some(name)).state
    empty = part(some(name), slice(0))
    got = getattr(linear, name)(**empty, mode=mode, initial_state=before)
    assert got.output.shape == (2, 0, 3)
    assert_near(got.state, before)


# A token that is not finite


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
@each_mode
@each_function
def test_a_bad_token_spoils_itself_and_what_follows_but_nothing_before(name, mode, bad):
    function = partial(getattr(linear, name), mode=mode, chunk=3)
    for spoilt in some(name).keys() - {"projection"}:
        results = []
        for poison in (0.5, bad):
            arguments = some(name)
            arguments[spoilt].select(1, 4)[:1] = poison
            leaves = [x.requires_grad_() for x in arguments.values()]
            got = function(**arguments)
            gradients = torch.autograd.grad(got.output[0, :4].square().sum(), leaves)
            results.append((got, gradients))
        (clean, wanted), (dirty, gradients) = results
        after = 5 if spoilt == "query" else 7  # a bad query is its own trouble
        assert_near(dirty.output[0, :4], clean.output[0, :4])
        assert dirty.output[0, 4:after].isnan().all()
        assert_near(dirty.output[0, after:], clean.output[0, after:])
        assert dirty.state[0].isnan().all() == (spoilt != "query")
        assert_near(dirty.output[1], clean.output[1])
        for actual, expected in zip(gradients, wanted, strict=True):
            assert_near(actual, expected)


@pytest.mark.parametrize("name", ["fast_weights", "delta_rule", "gated_delta_rule"])
def test_a_later_product_that_overflows_stays_later(name):
    arguments = some(name)
    arguments["key"][:, -1] = 1e200
    arguments["query"][:, 1] = 1e200  # in one chunk with that key
    got = getattr(linear, name)(**arguments).output[:, :-1]
    alone = getattr(linear, name)(**part(arguments, slice(6))).output
    assert got.isfinite().all()
    torch.testing.assert_close(got, alone, atol=1e-12, rtol=1e-12)


# Special cases


def test_fast_weights_are_unnormalised_causal_linear_attention():
    a = some("fast_weights", n=33)
    pairs = (a["query"] @ a["key"].mT).tril()
    assert_near(linear.fast_weights(**a, chunk=8).output, pairs @ a["value"])


def test_linear_attention_is_attend_with_the_logarithm_of_the_features_product_for_a_score():
    a = some("linear_attention", n=9)

    def score(query, key):
        return (linear.elu_plus_one(query) @ linear.elu_plus_one(key).mT).log()

    assert_near(linear.linear_attention(**a).output, attend(**a, score=score, mask=masks.causal(9)).output)


def test_linear_attention_on_positive_features_as_they_are_is_fast_weights_for_values_and_for_ones():
    a = {name: x.abs() for name, x in some("fast_weights").items()}
    total = linear.fast_weights(**a | {"value": torch.ones_like(a["value"])}).output
    got = linear.linear_attention(**a, feature_map=lambda x: x).output
    assert_near(got, linear.fast_weights(**a).output / total)


def test_linear_attention_without_any_matching_key_gives_zeros_and_finite_gradients():
    a = some("linear_attention")
    a["query"] = a["query"].requires_grad_()
    got = linear.linear_attention(**a, feature_map=lambda x: x * 0)
    assert (got.output == 0).all()
    got.output.sum().backward()
    assert (a["query"].grad == 0).all()


@each_mode
def test_the_gated_rule_with_decay_1_is_the_delta_rule(mode):
    a = some("delta_rule")
    gated = linear.gated_delta_rule(**a, decay=torch.ones_like(a["beta"]), mode=mode, chunk=3)
    for actual, expected in zip(gated, linear.delta_rule(**a), strict=True):
        assert_near(actual, expected)


@each_mode
def test_decay_0_leaves_the_token_itself(mode):
    a = some("gated_delta_rule") | {"decay": torch.zeros(2, 7, dtype=torch.float64)}
    own = a["beta"][..., None] * (a["query"] * a["key"]).sum(-1, keepdim=True) * a["value"]
    assert_near(linear.gated_delta_rule(**a, mode=mode, chunk=3).output, own)


def test_the_delta_rule_with_orthonormal_keys_and_beta_1_is_fast_weights():
    a = some("fast_weights", n=6, d=6)
    a["key"] = torch.linalg.qr(a["key"])[0].contiguous()
    ones = torch.ones(2, 6, dtype=torch.float64)
    for actual, expected in zip(
        linear.delta_rule(**a, beta=ones, chunk=4), linear.fast_weights(**a), strict=True
    ):
        assert_near(actual, expected)


@pytest.mark.parametrize("chunk", [1, 7, 64, 100, 1000])
def test_long_sequences_do_not_depend_on_the_chunk(chunk):
    a = some("gated_delta_rule", n=130, d=16, dv=8)
    a["key"] = a["key"] / a["key"].norm(dim=-1, keepdim=True)
    for actual, expected in zip(
        linear.gated_delta_rule(**a, chunk=chunk),
        linear.gated_delta_rule(**a, mode="recurrent"),
        strict=True,
    ):
        assert_near(actual, expected)


# The delta rule overwrites; it is no larger


def recall(state, key, value):
    """How often the value nearest to what the memory says for a key is the right one."""
    return ((key @ state) @ value.mT).argmax(-1).eq(torch.arange(key.shape[-2])).double().mean().item()


def test_a_key_bound_again_gives_the_newer_value_by_the_delta_rule_alone():
    key, old, new = units(100, 8, 32), units(100, 8, 32), units(100, 8, 32)
    keys, values = torch.cat([key, key], dim=-2), torch.cat([old, new], dim=-2)
    choices = torch.cat([new, old], dim=-2)
    added = linear.fast_weights(keys, keys, values)
    corrected = linear.delta_rule(keys, keys, values, torch.ones(100, 16, dtype=torch.float64))
    assert recall(added.state, key, choices) < 0.6
    assert recall(corrected.state, key, choices) > 0.99


def test_with_every_key_new_the_delta_rule_errs_less_and_recalls_less():
    key, value = units(100, 32, 32), units(100, 32, 32)
    added = linear.fast_weights(key, key, value).state
    corrected = linear.delta_rule(key, key, value, torch.ones(100, 32, dtype=torch.float64)).state
    assert recall(added, key, value) > recall(corrected, key, value) + 0.1

    def error(state):
        return (key @ state - value).square().sum(-1).mean()

    assert error(added) > error(corrected) + 0.3


# Performer


@pytest.mark.parametrize("causal", [True, False], ids=["causal", "last query of all"])
def test_performer_is_performer_pytorch_without_its_epsilon(causal):
    a = some("performer", n=9, batch=(2, 3))
    kernel = partial(peer.softmax_kernel, projection_matrix=a["projection"], eps=0)
    query, key = kernel(a["query"], is_query=True), kernel(a["key"], is_query=False)
    got = linear.performer(**a).output
    if causal:
        assert_near(got, peer.causal_linear_attention_noncuda(query, key, a["value"], eps=0))
    else:
        assert_near(got[..., -1, :], peer.linear_attention(query, key, a["value"])[..., -1, :])


@each_mode
def test_performer_does_not_see_its_future(mode):
    a = some("performer", n=12)
    a["projection"] *= 4
    longer = a | {"key": a["key"].clone()}
    longer["key"][:, -1] = a["projection"][0] * 4**0.25  # its exponent is the largest that a row allows
    longer["key"].requires_grad_()
    got = linear.performer(**longer, mode=mode, chunk=5).output[:, :-1]
    assert_near(got, linear.performer(**a, mode=mode, chunk=5).output[:, :-1])
    assert (torch.autograd.grad(got.sum(), longer["key"])[0][:, -1] == 0).all()


def test_a_largest_exponent_of_the_whole_sequence_with_an_epsilon_does_see_it():
    a = some("performer", n=12, batch=(2, 3))
    outputs = []
    for length in (1, 30):
        key = a["key"].clone()
        key[..., -1, :] *= length
        kernel = partial(peer.softmax_kernel, projection_matrix=a["projection"])
        features = kernel(a["query"], is_query=True), kernel(key, is_query=False)
        outputs.append(peer.causal_linear_attention_noncuda(*features, a["value"])[..., :-1, :])
    assert (outputs[0] - outputs[1]).abs().max() > 0.1


def test_performer_in_float32_stands_keys_whose_features_would_overflow_or_vanish():
    a = {name: x.float() for name, x in some("performer", n=12).items()}
    a["key"][:, :6] *= 25  # |x|^2 / 2 of several hundred: every feature below the least float32
    a["projection"] *= 12  # and later ones above the largest
    exact = linear.performer(**{name: x.double() for name, x in a.items()})
    got = linear.performer(**a, chunk=4)
    assert got.state.isfinite().all()
    assert_near(got.output.double(), exact.output, atol=1e-3)
    first = linear.performer(**part(a, slice(5)))
    second = linear.performer(**part(a, slice(5, None)), initial_state=first.state)
    assert_near(torch.cat([first.output, second.output], dim=-2), got.output, atol=1e-4)


def test_performer_nears_softmax_attention_as_one_over_the_root_of_its_features():
    def error(features):
        total = 0.0
        for seed in range(8):
            generator = torch.Generator().manual_seed(seed)
            q, k, v = (torch.randn(32, 16, generator=generator, dtype=torch.float64) for _ in range(3))
            rows = linear.orthogonal_features(features, 16, generator=generator, dtype=torch.float64)
            exact = sdpa(q / 2, k / 2, v, is_causal=True)
            total += (linear.performer(q / 2, k / 2, v, rows).output - exact).square().mean().item()
        return math.sqrt(total / 8)

    few, many = error(32), error(2048)  # 64 times the features: an eighth of the error
    assert 5 < few / many < 13


def test_for_long_queries_and_keys_more_features_help_performer_little():
    def error(features):
        total = 0.0
        for seed in range(8):
            generator = torch.Generator().manual_seed(seed)
            q, k, v = (torch.randn(32, 16, generator=generator, dtype=torch.float64) for _ in range(3))
            rows = linear.orthogonal_features(features, 16, generator=generator, dtype=torch.float64)
            exact = sdpa(q, k, v, is_causal=True)
            total += (linear.performer(q, k, v, rows).output - exact).square().mean().item()
        return math.sqrt(total / 8)

    assert 1.05 < error(64) / error(256) < 1.5  # and not 2, as for short ones


def test_orthogonal_features_are_orthogonal_in_blocks_and_as_long_as_normal_vectors():
    rows = linear.orthogonal_features(
        4000, 8, generator=torch.Generator().manual_seed(0), dtype=torch.float64
    )
    lengths = rows.norm(dim=-1)
    directions = (rows / lengths[:, None]).unflatten(0, (500, 8))
    assert_near(directions @ directions.mT, torch.eye(8, dtype=torch.float64).expand(500, 8, 8))
    assert lengths.square().mean() == pytest.approx(8, rel=0.03)
    assert lengths.square().var() == pytest.approx(16, rel=0.1)  # chi squared: twice its mean
    assert_near(rows.mean(0), torch.zeros(8, dtype=torch.float64), atol=0.06)
    assert_near(rows.mT @ rows / 4000, torch.eye(8, dtype=torch.float64), atol=0.07)


def test_orthogonal_features_of_one_seed_are_the_same_and_any_number_will_do():
    first, again = (
        linear.orthogonal_features(5, 3, generator=torch.Generator().manual_seed(1)) for _ in "ab"
    )
    assert first.shape == (5, 3)
    assert first.equal(again)


def test_elu_plus_one_is_torch_elu_and_positive_where_that_rounds_to_zero():
    x = torch.tensor([-80.0, -20.0, -1.0, 0.0, 1.0, 30.0], requires_grad=True)
    got = linear.elu_plus_one(x)
    assert (got > 0).all()
    assert_near(got, torch.nn.functional.elu(x) + 1, atol=1e-7)
    got.sum().backward()
    assert_near(x.grad, torch.minimum(x.exp(), torch.ones(6)))


# Other people's delta rule


@pytest.mark.parametrize("theirs", [qwen.torch_chunk_gated_delta_rule, qwen.torch_recurrent_gated_delta_rule])
def test_the_gated_rule_is_that_of_qwen3_next(theirs):
    a = some("gated_delta_rule", n=150, d=8, dv=5, batch=(2, 3))
    a["key"] = a["key"] / a["key"].norm(dim=-1, keepdim=True)
    a["decay"] = 0.5 + a["decay"] / 2
    start = torch.randn(2, 3, 8, 5)
    # Theirs works in float32, on (batch, n, heads, width), divides the query by sqrt(d), and takes ln decay.
    query, key, value = (a[name].float().transpose(1, 2) for name in ("query", "key", "value"))
    output, state = theirs(
        query * math.sqrt(8),
        key,
        value,
        g=a["decay"].log().float().transpose(1, 2),
        beta=a["beta"].float().transpose(1, 2),
        initial_state=start,
        output_final_state=True,
    )
    got = linear.gated_delta_rule(**a, initial_state=start.double())
    assert_near(output.transpose(1, 2).double(), got.output, atol=2e-5)
    assert_near(state.double(), got.state, atol=2e-5)


# Low precision


def plainly(query, key, value, beta, decay):
    """The gated rule as it stands, every step rounded to the inputs' dtype."""
    state, outputs = torch.zeros(*key.shape[:-2], key.shape[-1], value.shape[-1], dtype=key.dtype), []
    for t in range(key.shape[-2]):
        state = decay[..., t, None, None] * state
        known = (key[..., t, None, :] @ state)[..., 0, :]
        wrong = beta[..., t, None] * (value[..., t, :] - known)
        state = state + key[..., t, :, None] * wrong[..., None, :]
        outputs.append((query[..., t, None, :] @ state)[..., 0, :])
    return torch.stack(outputs, dim=-2)


@each_mode
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_low_precision_costs_at_most_twice_what_a_plain_implementation_costs(dtype, mode):
    a = some("gated_delta_rule", n=200, d=16, dv=8)
    a["key"] = a["key"] / a["key"].norm(dim=-1, keepdim=True)
    low = {name: x.to(dtype) for name, x in a.items()}
    golden = plainly(*(x.double() for x in low.values()))
    got = linear.gated_delta_rule(**low, mode=mode)
    rounded = golden.to(dtype)
    atol = 2 * (rounded + 0.3 - 0.3 - rounded).abs().max().double()
    budget = 2 * (plainly(*low.values()).double() - golden).abs().max() + atol
    assert got.output.dtype == dtype
    assert (got.output.double() - golden).abs().max() <= budget


@each_function
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_the_state_is_kept_in_float32(name, dtype):
    low = {each: x.to(dtype) for each, x in some(name).items()}
    first = getattr(linear, name)(**low)
    again = getattr(linear, name)(**low, initial_state=first.state)
    assert (first.state.dtype, again.output.dtype) == (torch.float32, dtype)
