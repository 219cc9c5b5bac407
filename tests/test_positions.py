"""Positions: what turns, what adds, and what depends on distance alone; against transformers."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from transformers import LlamaConfig, T5Config
from transformers.models.bloom.modeling_bloom import build_alibi_tensor
from transformers.models.gptj import modeling_gptj as gptj
from transformers.models.llama import modeling_llama as llama
from transformers.models.t5.modeling_t5 import T5Attention

from attention_core import attend, masks, reference, scores
from attention_core.positions import alibi, rope, sinusoidal, t5_bias, t5_buckets

sizes = st.integers(1, 7)
alignments = st.sampled_from(["lower_right", "upper_left"])
pairings = st.sampled_from(["interleaved", "half"])


def normal(*shape):
    return torch.randn(*shape, dtype=torch.float64)


def assert_near(actual, expected, atol=1e-12):
    torch.testing.assert_close(actual, expected, atol=atol, rtol=0)


def shift(n, m, align):
    return m - n if align == "lower_right" else 0


# RoPE


def test_rope_turns_one_pair_by_its_position_in_radians():
    x = torch.tensor([[1.0, 0.0]] * 3, dtype=torch.float64)
    turned = rope(x, torch.tensor([0, 1, -2]))
    assert_near(turned, torch.tensor([[math.cos(a), math.sin(a)] for a in (0, 1, -2)], dtype=x.dtype))


def test_rope_at_position_zero_changes_nothing():
    x = normal(2, 1, 6)
    assert rope(x).equal(x)


@given(sizes, st.integers(1, 4), pairings, st.sampled_from([10, 10000]), st.integers(0, 2**32 - 1))
def test_rope_is_its_reference(n, half, pairing, base, seed):
    rng = np.random.default_rng(seed)
    x, positions = rng.normal(size=(2, n, 2 * half)), rng.normal(size=n) * 100
    got = rope(torch.from_numpy(x), torch.from_numpy(positions), pairing, base)
    np.testing.assert_allclose(got, reference.rope(x, positions, pairing, base), atol=1e-12, rtol=0)


@given(sizes, sizes, st.integers(1, 4), st.integers(-1000, 1000), pairings)
def test_rope_scores_depend_on_distance_alone(n, m, half, moved, pairing):
    q, k = normal(2, n, 2 * half), normal(2, m, 2 * half)
    here = scores.dot(rope(q, torch.arange(n), pairing), rope(k, torch.arange(m), pairing))
    there = scores.dot(rope(q, torch.arange(n) + moved, pairing), rope(k, torch.arange(m) + moved, pairing))
    assert_near(there, here, atol=1e-11)  # angles of up to 1000 radians are rounded at 1e-13


@given(sizes, st.integers(1, 4), pairings)
def test_rope_keeps_norms(n, half, pairing):
    x = normal(n, 2 * half)
    turned = rope(x, 1000 * torch.rand(n), pairing)
    assert_near(turned.norm(dim=-1), x.norm(dim=-1))


def test_the_two_pairings_are_one_turn_of_reordered_features():
    x = normal(2, 5, 8)
    order = torch.tensor([0, 2, 4, 6, 1, 3, 5, 7])
    assert_near(rope(x[..., order], pairing="half"), rope(x)[..., order])


def test_rope_half_is_llama():
    config = LlamaConfig(hidden_size=16, num_attention_heads=2, head_dim=8)
    x = torch.randn(2, 2, 7, 8)
    cos, sin = llama.LlamaRotaryEmbedding(config)(x, torch.arange(7)[None])
    expected, _ = llama.apply_rotary_pos_emb(x, x, cos, sin)
    torch.testing.assert_close(rope(x, pairing="half"), expected, atol=2e-6, rtol=0)


def test_rope_interleaved_is_gptj():
    x = torch.randn(2, 7, 3, 8)  # (batch, n, heads, d), as there
    sin, cos = gptj.create_sinusoidal_positions(7, 8)[None].chunk(2, dim=-1)
    expected = gptj.apply_rotary_pos_emb(x, sin, cos)
    torch.testing.assert_close(rope(x.transpose(1, 2)).transpose(1, 2), expected, atol=2e-6, rtol=0)


def test_rope_at_a_far_position_is_right_in_float32_where_float32_angles_are_not():
    x, far = torch.ones(1, 64), torch.tensor([1_000_003])
    exact = torch.from_numpy(reference.rope(x.double().numpy(), far.numpy()))
    assert (rope(x, far) - exact).abs().max() < 1e-6
    frequencies = 10000 ** -(torch.arange(0, 64, 2) / 64)
    angles = far * frequencies  # in float32
    plain = torch.stack([angles.cos() - angles.sin(), angles.sin() + angles.cos()], -1).flatten(-2)
    assert (plain - exact).abs().max() > 1e-3


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_rope_in_low_precision_stays_within_the_error_budget(dtype):
    x = torch.randn(2, 300, 64).to(dtype)
    exact = rope(x.double())
    angles = torch.arange(300)[:, None] * 10000 ** -(torch.arange(0, 64, 2) / 64)
    cos, sin = angles.cos().to(dtype), angles.sin().to(dtype)
    one, other = x[..., 0::2], x[..., 1::2]
    plain = torch.stack([one * cos - other * sin, one * sin + other * cos], -1).flatten(-2)
    slack = 2 * (exact.to(dtype) + 0.3 - 0.3 - exact.to(dtype)).abs().max()
    assert rope(x).dtype == dtype
    assert (rope(x) - exact).abs().max() <= 2 * (plain - exact).abs().max() + slack


def test_rope_passes_gradients_to_x_and_to_real_positions():
    x, positions = normal(2, 3, 4).requires_grad_(), normal(3).requires_grad_()
    assert torch.autograd.gradcheck(rope, (x, positions))


# ALiBi


@pytest.mark.parametrize("heads", [1, 2, 3, 6, 8, 12, 16, 20, 31, 32])
def test_alibi_is_bloom_up_to_a_constant_a_row(heads):
    bloom = build_alibi_tensor(torch.ones(1, 9), heads, torch.float32)  # (heads, 1, m): slope * j
    difference = bloom - alibi(heads, 9)
    torch.testing.assert_close(difference, difference[..., :1].expand(-1, -1, 9), atol=1e-5, rtol=0)


def test_alibi_of_eight_heads_halves_its_slopes_from_one_half():
    assert (-alibi(8, 2)[:, 1, 0]).tolist() == [2.0**-h for h in range(1, 9)]


def test_alibi_of_three_heads_takes_two_slopes_and_the_first_of_the_doubled_set():
    assert (-alibi(3, 2)[:, 1, 0]).tolist() == [2.0**-4, 2.0**-8, 2.0**-2]


@given(st.integers(1, 12), sizes, sizes, alignments)
def test_alibi_is_its_reference(heads, n, m, align):
    expected = reference.alibi(heads, n, m, shift(n, m, align))
    np.testing.assert_allclose(alibi(heads, n, m, align, dtype=torch.float64), expected, atol=1e-14, rtol=0)


@given(st.integers(1, 4), sizes, st.integers(0, 2**32 - 1))
def test_under_a_causal_mask_alibi_is_slope_times_the_key(heads, n, seed):
    torch.manual_seed(seed)
    q, k, v = (normal(2, heads, n, 4) for _ in range(3))
    distance = alibi(heads, n, dtype=torch.float64)
    rising = -distance[:, -1:, :1] / max(n - 1, 1) * torch.arange(n)  # (heads, 1, n): +s j
    by_distance = attend(q, k, v, mask=masks.causal(n), bias=distance)
    by_key = attend(q, k, v, mask=masks.causal(n), bias=rising)
    assert_near(by_distance.output, by_key.output)
    assert_near(by_distance.weights, by_key.weights)


@given(sizes, sizes, st.integers(0, 2**32 - 1))
def test_alibi_left_unaligned_counts_from_the_last_key_and_alignment_changes_no_weight(n, m, seed):
    torch.manual_seed(seed)
    unaligned = alibi(12, n, m, dtype=torch.float64)
    assert torch.equal(unaligned, alibi(12, n, m, "lower_right", dtype=torch.float64))
    q, k, v = normal(2, 12, n, 4), normal(2, 12, m, 4), normal(2, 12, m, 3)
    causal = masks.causal(n, m, "lower_right")
    first_at_first = attend(q, k, v, mask=causal, bias=alibi(12, n, m, "upper_left", dtype=torch.float64))
    assert_near(first_at_first.weights, attend(q, k, v, mask=causal, bias=unaligned).weights)


def test_without_a_mask_alibi_would_favour_the_future():
    assert (alibi(2, 5).diff(dim=-1) > 0).all()


# T5


@pytest.mark.parametrize("bidirectional", [True, False])
@pytest.mark.parametrize(("buckets", "max_distance"), [(32, 128), (32, 100), (8, 20), (64, 4096)])
def test_t5_buckets_are_those_of_transformers(bidirectional, buckets, max_distance):
    offset = torch.arange(-5000, 5001)
    got = t5_buckets(offset, buckets, bidirectional=bidirectional, max_distance=max_distance)
    expected = T5Attention._relative_position_bucket(offset, bidirectional, buckets, max_distance)
    assert got.equal(expected)


@given(st.integers(-300, 300), st.integers(2, 20), st.booleans(), st.integers(12, 200))
def test_t5_bucket_is_its_reference(offset, half, bidirectional, max_distance):
    got = t5_buckets(
        torch.tensor([offset]), 2 * half, bidirectional=bidirectional, max_distance=max_distance + half
    )
    expected = reference.t5_bucket(offset, 2 * half, bidirectional, max_distance + half)
    assert got.tolist() == [expected]


@given(sizes, sizes, alignments, st.booleans())
def test_t5_bias_is_its_reference(n, m, align, bidirectional):
    weight = normal(8, 3)
    got = t5_bias(n, m, weight, bidirectional=bidirectional, max_distance=5, align=align)
    expected = reference.t5_bias(n, m, weight.numpy(), shift(n, m, align), bidirectional, 5)
    np.testing.assert_array_equal(got, expected)


def test_t5_bias_and_attention_are_those_of_transformers():
    config = T5Config(d_model=8, d_kv=4, num_heads=2, dropout_rate=0.0)
    layer = T5Attention(config, has_relative_attention_bias=True).eval().double()
    x = normal(2, 9, 8)
    q, k, v = (linear(x).unflatten(-1, (2, 4)).transpose(1, 2) for linear in (layer.q, layer.k, layer.v))
    bias = t5_bias(9, 9, layer.relative_attention_bias.weight)
    heads = attend(q, k, v, score=scores.dot, bias=bias).output  # no 1 / sqrt(d)
    assert_near(layer.o(heads.transpose(1, 2).flatten(-2)), layer(x)[0])


def test_t5_bias_teaches_only_the_buckets_it_used():
    weight = normal(32, 2).requires_grad_()
    t5_bias(3, 3, weight).sum().backward()
    used = weight.grad.ne(0).any(-1).nonzero().flatten().tolist()
    assert used == [0, 1, 2, 17, 18]
    assert weight.grad[0].tolist() == [3, 3]


def test_t5_decoders_put_all_of_the_future_in_the_bucket_of_the_present():
    assert t5_buckets(torch.tensor([0, 1, 50]), bidirectional=False).tolist() == [0, 0, 0]


def test_t5_buckets_take_narrow_integers_too():
    assert t5_buckets(torch.tensor([-128, 3], dtype=torch.int8)).tolist() == [15, 19]  # 128 is no int8


# Sinusoids


def test_sinusoidal_of_a_worked_position():
    expected = [math.sin(2), math.cos(2), math.sin(0.02), math.cos(0.02)]
    assert_near(sinusoidal(3, 4, dtype=torch.float64)[2], torch.tensor(expected, dtype=torch.float64))


@given(sizes, st.integers(1, 4), st.sampled_from([10, 10000]))
def test_sinusoidal_is_its_reference(n, half, base):
    got = sinusoidal(n, 2 * half, base, dtype=torch.float64)
    np.testing.assert_allclose(got, reference.sinusoidal(n, 2 * half, base), atol=1e-14, rtol=0)


@given(sizes, st.integers(1, 4), st.integers(0, 50))
def test_a_shift_of_sinusoids_is_a_turn_by_rope(n, half, moved):
    table = sinusoidal(n + moved, 2 * half, dtype=torch.float64)
    clocks = table.unflatten(-1, (half, 2)).flip(-1).flatten(-2)  # (cos, sin) for each pair
    assert_near(rope(clocks[:n], torch.full((n,), moved)), clocks[moved:])


def test_sinusoidal_is_close_to_float64_at_far_positions():
    far = sinusoidal(100_000, 2)[-1]
    assert far.dtype == torch.float32
    assert_near(far.double(), sinusoidal(100_000, 2, dtype=torch.float64)[-1], atol=1e-7)
