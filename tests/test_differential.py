"""Differential attention: against transformers' DiffLlama, against its definition, and behind masks."""

import math

import pytest
import torch
from torch import nn
from transformers import DiffLlamaConfig
from transformers.models.diffllama.modeling_diffllama import DiffLlamaAttention

from attention_core import attend, masks
from attention_core.differential import DifferentialAttention, differential

DTYPE = torch.float64


def assert_near(actual, expected, atol=1e-12):
    torch.testing.assert_close(actual, expected, atol=atol, rtol=0)


def normal(*shape):
    return torch.randn(*shape, dtype=DTYPE)


def module(width=8, heads=2, depth=1, **options):
    """With parameters away from their start, where the norm's scale of 1 would hide a forgotten one."""
    built = DifferentialAttention(width, heads, depth, dtype=DTYPE, **options)
    for parameter in built.parameters():
        nn.init.normal_(parameter, std=0.5)
    return built


# The function


def test_it_is_the_first_map_less_lambda_times_the_second():
    (q1, q2), (k1, k2), value = normal(2, 3, 4), normal(2, 5, 4), normal(5, 6)
    got = differential(torch.cat([q1, q2], -1), torch.cat([k1, k2], -1), value, 0.7)
    weights = torch.softmax(q1 @ k1.mT / 2, -1) - 0.7 * torch.softmax(q2 @ k2.mT / 2, -1)
    assert (weights < 0).any()
    assert_near(got.weights, weights)
    assert_near(got.output, weights @ value)
    assert_near(got.lse, torch.logsumexp(q1 @ k1.mT / 2, -1))


def test_with_lambda_zero_it_is_attention_with_the_first_halves():
    query, key, value = normal(2, 3, 8), normal(2, 5, 8), normal(2, 5, 6)
    mask, bias = masks.causal(3, 5, align="lower_right"), normal(3, 5)
    got = differential(query, key, value, 0, mask=mask, bias=bias)
    expected = attend(query[..., :4], key[..., :4], value, mask=mask, bias=bias)
    for actual, wanted in zip(got, expected, strict=True):
        assert_near(actual, wanted)


def test_what_both_maps_attend_to_alike_cancels():
    query, key = (torch.cat([x, x], -1) for x in (normal(3, 4), normal(5, 4)))
    assert_near(differential(query, key, normal(5, 6), 1.0).output, torch.zeros(3, 6, dtype=DTYPE))


def test_weights_sum_to_one_less_lambda_and_to_zero_in_an_empty_row():
    mask = torch.tensor([[True, False, True], [False] * 3])
    weights = differential(normal(2, 4), normal(3, 4), normal(3, 2), 0.3, mask=mask).weights
    assert_near(weights.sum(-1), torch.tensor([0.7, 0.0], dtype=DTYPE))
    assert (weights[~mask] == 0).all()


@pytest.mark.parametrize("half", [0, 1])
def test_a_nan_in_either_map_reaches_the_rows_that_see_it_and_not_the_gradient_of_lambda(half):
    query, key, value = normal(4, 6), normal(4, 6), normal(4, 2)
    key[2, 3 * half] = math.nan
    leaves = [query, key, value, torch.tensor(0.5, dtype=DTYPE)]
    leaves = [x.requires_grad_() for x in leaves]
    got = differential(*leaves, mask=masks.causal(4))
    assert got.output.isnan().any(-1).tolist() == [False, False, True, True]
    found = torch.autograd.grad(got.output[:2].sum() + got.weights[:2, 0].sum(), leaves)
    assert all(g.isfinite().all() for g in found)


def test_gradients_are_right_that_of_lambda_too():
    leaves = [normal(3, 4), normal(5, 4), normal(5, 2), torch.tensor(0.5, dtype=DTYPE)]
    leaves = [x.requires_grad_() for x in leaves]
    mask = masks.causal(3, 5, align="lower_right")
    assert torch.autograd.gradcheck(lambda *xs: differential(*xs, mask=mask).output, leaves)


# The module


def diff_llama(heads, kv_heads, depth, width=16):
    config = DiffLlamaConfig(
        hidden_size=width,
        num_attention_heads=2 * heads,  # it counts the maps
        num_key_value_heads=2 * kv_heads,
        rms_norm_eps=1e-5,
        attn_implementation="eager",
    )
    theirs = DiffLlamaAttention(config, layer_idx=depth).to(DTYPE)
    for parameter in theirs.parameters():
        nn.init.normal_(parameter, std=0.5)
    return theirs


def paired(weight, heads):
    """Rows from DiffLlama's order of maps, all first ones and then all second ones, to ours, pair by pair.

    Its maps h and h + heads make a pair, and the value of width 2d is its value heads h and h + heads.
    The authors' own code pairs 2h and 2h + 1, which is our order.
    """
    return weight.unflatten(0, (2, heads, -1)).transpose(0, 1).flatten(0, 2)


@pytest.mark.parametrize(("heads", "kv_heads"), [(2, 2), (4, 2), (4, 1)])
@pytest.mark.parametrize("depth", [0, 3])
def test_it_is_diff_llama_attention_without_rope(heads, kv_heads, depth):
    theirs = diff_llama(heads, kv_heads, depth)
    ours = DifferentialAttention(16, heads, depth, kv_heads=kv_heads, dtype=DTYPE)
    with torch.no_grad():
        ours.to_query.weight.copy_(paired(theirs.q_proj.weight, heads))
        ours.to_key.weight.copy_(paired(theirs.k_proj.weight, kv_heads))
        ours.to_value.weight.copy_(paired(theirs.v_proj.weight, kv_heads))
        ours.to_output.weight.copy_(theirs.o_proj.weight)
        ours.lambda_query.copy_(torch.stack([theirs.lambda_q1, theirs.lambda_q2]))
        ours.lambda_key.copy_(torch.stack([theirs.lambda_k1, theirs.lambda_k2]))
        # Its norm has no scale, as ours has at the start. Its softmax and lambda are float32 in any dtype.
    x, mask = normal(2, 5, 16), masks.causal(5)
    hidden = torch.zeros(5, 5, dtype=DTYPE).masked_fill(~mask, -math.inf)
    unturned = torch.ones(1, 5, theirs.head_dim, dtype=DTYPE), torch.zeros(1, 5, theirs.head_dim, dtype=DTYPE)
    expected, _ = theirs(x, unturned, hidden[None, None])
    assert_near(ours(x, mask=mask).output, expected, atol=5e-6)


@pytest.mark.parametrize(("depth", "start"), [(0, 0.2), (1, 0.8 - 0.6 * math.exp(-0.3)), (40, 0.8)])
def test_lambda_starts_from_the_depth_and_moves_with_its_vectors(depth, start):
    built = DifferentialAttention(8, 2, depth, dtype=DTYPE)
    with torch.no_grad():
        built.lambda_query.zero_()
        assert_near(built.strength, torch.tensor(start, dtype=DTYPE), atol=1e-5)
        built.lambda_query[0] = built.lambda_key[0] = torch.tensor([1.0, 0.5])
        assert_near(built.strength, torch.tensor(start + math.exp(1.25) - 1, dtype=DTYPE), atol=1e-5)


def test_the_vectors_of_lambda_start_at_a_tenth():
    built = DifferentialAttention(256, 1)
    for vectors in (built.lambda_query, built.lambda_key):
        assert vectors.std().item() == pytest.approx(0.1, rel=0.2)  # of 256 numbers: 4.5 standard errors


def test_each_heads_output_has_root_mean_square_one_less_lambda_init_at_the_start():
    built = DifferentialAttention(8, 2, depth=3, dtype=DTYPE)
    nn.init.eye_(built.to_output.weight)
    heads = built(100 * normal(2, 5, 8)).output.unflatten(-1, (2, 4))
    expected = torch.full((2, 5, 2), 1 - built.lambda_init, dtype=DTYPE)
    assert_near(heads.square().mean(-1).sqrt(), expected, atol=1e-6)


def test_weights_and_lse_are_per_head():
    got = module()(normal(2, 3, 8), normal(2, 5, 8))
    assert got.output.shape == (2, 3, 8)
    assert got.weights.shape == (2, 2, 3, 5)
    assert got.lse.shape == (2, 2, 3)


def test_alone_a_sequence_attends_to_itself_and_value_defaults_to_key():
    built, x, memory = module(), normal(2, 3, 8), normal(2, 5, 8)
    assert_near(built(x).output, built(x, x, x).output)
    assert_near(built(x, memory).output, built(x, memory, memory).output)


def test_grouped_heads_are_full_heads_with_repeated_parameters():
    grouped, full = module(16, 4, kv_heads=2), module(16, 4)
    state = grouped.state_dict()
    for name in ("to_key.weight", "to_value.weight"):
        state[name] = state[name].unflatten(0, (2, 4)).repeat_interleave(2, dim=0).flatten(0, 1)
    full.load_state_dict(state)
    x = normal(2, 5, 16)
    assert_near(grouped(x).output, full(x).output)


@pytest.mark.parametrize("shape", [(), (5,), (3, 5), (2, 3, 5), (4, 1, 3, 5), (1, 2, 3, 5), (4, 1, 1, 5)])
def test_a_mask_broadcasts_to_batch_heads_n_m(shape):
    built, query, key = module(), normal(4, 3, 8), normal(4, 5, 8)
    mask = torch.rand(shape) > 0.4
    full = mask.expand(4, 2, 3, 5)
    assert_near(built(query, key, mask=mask).output, built(query, key, mask=full).output)


@pytest.mark.parametrize("bias", [False, True])
def test_a_query_that_may_attend_to_nothing_gives_the_output_bias_alone(bias):
    built = module(bias=bias)
    output = built(normal(2, 3, 8), mask=torch.tensor(False)).output
    expected = built.to_output.bias if bias else torch.zeros(8, dtype=DTYPE)
    assert_near(output, expected.expand(2, 3, 8))
    output.sum().backward()
    assert all(parameter.grad.isfinite().all() for parameter in built.parameters())


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_bad_padding_reaches_no_parameters_gradient(bad):
    built, clean, lengths = module(), normal(2, 4, 8), torch.tensor([2, 4])
    mask, real = masks.padding(lengths[:, None], 4), masks.padding(lengths, 4).squeeze(1)
    results = []
    for x in (clean, clean.masked_fill(~real[..., None], bad)):
        loss = built(x, mask=mask).output[real].square().sum()
        results.append(torch.autograd.grad(loss, list(built.parameters())))
    for expected, actual in zip(*results, strict=True):
        assert_near(actual, expected)


def test_one_spoiled_head_spoils_the_output_and_not_the_other_heads_weights():
    built, query, key = module(), normal(2, 3, 8), normal(2, 5, 8)
    key[:, -1] = math.nan
    mask = torch.ones(2, 3, 5, dtype=torch.bool)
    mask[0, :, -1] = False
    got = built(query, key, mask=mask[None])
    assert got.output.isnan().all()
    assert got.weights.isnan().all(-1).all(-1).tolist() == [[False, True]] * 2


def test_modules_gradients_are_right_in_every_parameter():
    built, x = module(4, 1), normal(2, 3, 4)
    names, parameters = zip(*built.named_parameters(), strict=True)
    leaves = [x.requires_grad_(), *(p.detach().requires_grad_() for p in parameters)]

    def output(x, *parameters):
        values = dict(zip(names, parameters, strict=True))
        return torch.func.functional_call(built, values, (x,), {"mask": masks.causal(3)}).output

    assert torch.autograd.gradcheck(output, leaves)


def plain(built, x):
    """The formula, straight down, in x's dtype."""
    q, k, v = (
        f(x).unflatten(-1, (2, 4)).transpose(1, 2) for f in (built.to_query, built.to_key, built.to_value)
    )
    first, second = (
        torch.softmax(a @ b.mT / math.sqrt(2), -1)
        for a, b in zip(q.chunk(2, -1), k.chunk(2, -1), strict=True)
    )
    one, two = (built.lambda_query * built.lambda_key).sum(-1).exp()
    heads = built.norm((first - (one - two + built.lambda_init) * second) @ v) * (1 - built.lambda_init)
    return built.to_output(heads.transpose(1, 2).flatten(-2))


def test_the_module_is_its_formula():
    built, x = module(), normal(2, 5, 8)
    assert_near(built(x).output, plain(built, x))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_low_precision_errs_at_most_twice_as_much_as_a_plain_implementation(dtype):
    built, x = module().to(dtype), normal(4, 16, 8).to(dtype)
    ours, theirs = built(x).output.double(), plain(built, x).double()
    exact = plain(built.to(DTYPE), x.double())
    rounded = exact.to(dtype)
    slack = 2 * (rounded + 0.3 - 0.3 - rounded).abs().max()
    assert (ours - exact).abs().max() <= 2 * (theirs - exact).abs().max() + slack


def test_autocast_may_mix_dtypes():
    with torch.autocast("cpu", dtype=torch.bfloat16):
        output = DifferentialAttention(8, 2)(torch.randn(2, 4, 8, dtype=torch.bfloat16)).output
    assert output.dtype == torch.bfloat16
