"""Approximations: exact where they promise it, near where they do not, and against other people's code."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from linformer import LinformerSelfAttention
from transformers import ReformerConfig
from transformers.models.reformer.modeling_reformer import LSHSelfAttention

from attention_core import attend, masks, reference
from attention_core.approximate import linformer, reformer, relative_error


def assert_near(actual, expected, atol=1e-12):
    torch.testing.assert_close(actual, expected, atol=atol, rtol=0)


def normal(*shape):
    return torch.randn(*shape, dtype=torch.float64)


def one_bucket(rounds=1, d=4):
    return torch.zeros(rounds, d, 2, dtype=torch.float64)


def shared(x, value, causal=False):
    """Attention of a sequence to itself, without its own place, as `attend` says it."""
    n = x.shape[-2]
    mask = ~torch.eye(n, dtype=torch.bool)
    if causal:
        mask = mask & masks.causal(n)
        mask[0, 0] = True  # it has nothing else
    return attend(x, x / x.norm(dim=-1, keepdim=True), value, mask=mask)


def clustered(seed, n=128, d=16):
    """A sequence of eight kinds of token, and values."""
    generator = torch.Generator().manual_seed(seed)
    kinds = torch.randn(8, d, generator=generator, dtype=torch.float64)
    x = 4 * kinds[torch.randint(8, (n,), generator=generator)]
    x += torch.randn(n, d, generator=generator, dtype=torch.float64)
    return x, torch.randn(n, 8, generator=generator, dtype=torch.float64), generator


# Linformer


def test_linformer_with_identity_mixing_is_attention():
    query, key, value = normal(2, 3, 4), normal(2, 5, 4), normal(2, 5, 6)
    eye = torch.eye(5, dtype=torch.float64)
    for actual, expected in zip(
        linformer(query, key, value, eye, eye), attend(query, key, value), strict=True
    ):
        assert_near(actual, expected)


def test_linformer_is_the_linformer_package():
    theirs = LinformerSelfAttention(8, seq_len=6, k=3, heads=2).double()
    x = normal(2, 6, 8)
    with torch.no_grad():
        theirs.to_out.weight.copy_(torch.eye(8))
        theirs.to_out.bias.zero_()
        query, key, value = (
            each(x).unflatten(-1, (2, 4)).transpose(1, 2) for each in (theirs.to_q, theirs.to_k, theirs.to_v)
        )
        got = linformer(query, key, value, theirs.proj_k.T, theirs.proj_v.T)
        assert_near(got.output.transpose(1, 2).flatten(-2), theirs(x))


def test_linformer_errs_less_with_each_doubling_of_its_rank_until_it_holds_the_sequence():
    """Keys and values in eight runs, mixed by averaging neighbours: exact from rank 8 on."""
    errors = []
    for rank in (1, 2, 4, 8, 16):
        torch.manual_seed(0)
        query, key, value = normal(6, 64, 16), normal(6, 8, 16), normal(6, 8, 16)
        key, value = (x.repeat_interleave(8, dim=-2) for x in (key, value))
        average = torch.eye(rank, dtype=torch.float64).repeat_interleave(64 // rank, dim=1) * rank / 64
        exact = attend(query, key, value).output
        errors.append(relative_error(linformer(query, key, value, average, average).output, exact))
    assert errors[0] > errors[1] > errors[2] > 0.3
    assert max(errors[3:]) < 1e-12


# Reformer


@st.composite
def problems(draw):
    n, d, dv, half, rounds = (draw(st.integers(1, 7)) for _ in range(5))
    batch = draw(st.sampled_from([(), (2,), (2, 3)]))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    x, value = rng.normal(size=(*batch, n, d)), rng.normal(size=(*batch, n, dv))
    return x, value, rng.normal(size=(rounds, d, half)), draw(st.integers(1, 8)), draw(st.booleans())


@given(problems())
def test_reformer_is_its_reference_for_any_sizes(problem):
    x, value, rotations, chunk, causal = problem
    expected = reference.reformer(x, value, rotations, chunk=chunk, causal=causal)
    got = reformer(*map(torch.from_numpy, (x, value, rotations)), chunk=chunk, causal=causal)
    np.testing.assert_allclose(got.output, expected[0], atol=1e-12, rtol=0)
    np.testing.assert_allclose(got.lse, expected[2], atol=1e-12, rtol=0)


@pytest.mark.parametrize("rounds", [1, 3])
@pytest.mark.parametrize("causal", [False, True])
def test_one_bucket_in_one_chunk_is_exact_and_no_pair_counts_twice(causal, rounds):
    x, value = normal(2, 9, 4), normal(2, 9, 3)
    got = reformer(x, value, one_bucket(rounds), chunk=9, causal=causal)
    expected = shared(x, value, causal)
    assert_near(got.output, expected.output)
    assert_near(got.lse, expected.lse)


def test_a_token_alone_in_its_bucket_attends_to_itself():
    x = torch.tensor([[1.0, 0.1], [-1.0, 0.2], [-2.0, 0.1]], dtype=torch.float64)
    value = normal(3, 2)
    rotations = torch.tensor([[[1.0], [0.0]]], dtype=torch.float64)  # one bucket for each sign of x[0]
    got = reformer(x, value, rotations, chunk=3)
    assert_near(got.output, value[[0, 2, 1]])
    assert_near(got.lse[0], x[0].norm() / math.sqrt(2))


def test_chunks_meet_themselves_and_the_one_before():
    weights = reformer(normal(6, 4), torch.eye(6, dtype=torch.float64), one_bucket(), chunk=2).output
    place = torch.arange(6) // 2
    back = place[:, None] - place
    expected = (back >= 0) & (back <= 1) & ~torch.eye(6, dtype=torch.bool)
    assert ((weights > 0) == expected).all()


def test_more_rounds_err_less():
    def error(rounds):
        total = 0.0
        for seed in range(6):
            x, value, generator = clustered(seed)
            rotations = torch.randn(rounds, 16, 4, generator=generator, dtype=torch.float64)
            exact = shared(x, value).output
            total += relative_error(reformer(x, value, rotations, chunk=16).output, exact)
        return total / 6

    errors = [error(rounds) for rounds in (1, 4, 16)]
    assert errors[0] > 1.5 * errors[1] > 1.5 * 1.5 * errors[2]


def test_a_later_token_moves_the_borders_of_chunks_though_it_is_no_key():
    signs = torch.tensor([1, 1, -1, -1, -1, -1, -1, -1])
    x, value = normal(8, 4), normal(8, 3)
    x[:, 0] = x[:, 0].abs() * signs
    other = torch.cat([x[:-1], -x[-1:]])  # it joins the first bucket, before the others
    rotations = torch.eye(4, 1, dtype=torch.float64)[None]  # one bucket for each sign of x[0]
    for chunk, moves in ((2, True), (8, False)):
        before, after = (
            reformer(each, value, rotations, chunk=chunk, causal=True).output[:-1] for each in (x, other)
        )
        assert ((before - after).abs().max() > 0.01) == moves


@pytest.mark.parametrize("bad", [math.nan, math.inf])
@pytest.mark.parametrize("spoilt", [0, 1], ids=["x", "value"])
def test_a_bad_last_token_stays_behind_the_causal_mask(spoilt, bad):
    results = []
    for poison in (0.0, bad):
        torch.manual_seed(0)
        leaves = [normal(2, 6, 4), normal(2, 6, 3)]
        leaves[0][:, -1] = 0.0  # what stands in for a bad token when buckets are found
        leaves[spoilt][:, -1] = poison
        leaves = [x.requires_grad_() for x in leaves]
        got = reformer(*leaves, normal(2, 4, 2), chunk=3, causal=True)
        gradients = torch.autograd.grad(got.output[:, :-1].square().sum(), leaves)
        results.append((got.output[:, :-1], got.lse[:, :-1], *gradients))
    assert got.output[:, -1].isnan().all()
    for actual, expected in zip(*results, strict=True):
        assert_near(actual, expected)


def test_a_token_of_zeros_has_finite_gradients():
    x, value = torch.zeros(1, 3, 4, requires_grad=True), torch.randn(1, 3, 2)
    reformer(x, value, torch.zeros(1, 4, 2), chunk=3).output.square().sum().backward()
    assert x.grad.isfinite().all()


def test_no_token_at_all_gives_no_output():
    got = reformer(normal(2, 0, 4), normal(2, 0, 3), normal(1, 4, 2), chunk=3)
    assert (got.output.shape, got.lse.shape) == ((2, 0, 3), (2, 0))


@pytest.mark.parametrize("causal", [False, True])
def test_reformer_is_that_of_transformers_where_all_fall_into_one_bucket(causal):
    config = ReformerConfig(
        hidden_size=8,
        num_attention_heads=2,
        attention_head_size=4,
        lsh_attn_chunk_length=3,
        num_buckets=2,
        num_hashes=1,
        is_decoder=causal,
        lsh_attention_probs_dropout_prob=0.0,
        axial_pos_embds=False,
    )
    theirs = LSHSelfAttention(config).double().eval()
    x = normal(2, 6, 8)  # two chunks, which look back in a ring: each meets all
    with torch.no_grad():
        buckets = torch.zeros(2, 2, 1, 6, dtype=torch.long)
        wanted = theirs(x, num_hashes=1, buckets=buckets.flatten(2)).hidden_states
        query, value = (
            each(x).unflatten(-1, (2, 4)).transpose(1, 2) for each in (theirs.query_key, theirs.value)
        )
    # Theirs does not divide scores by sqrt(d), so queries of twice the length undo it for ours; and it adds
    # 1e-6 to the mean square of a key before it takes the root.
    got = reformer(2 * query, value, one_bucket(), chunk=6, causal=causal).output
    assert_near(got.transpose(1, 2).flatten(-2), wanted, atol=1e-5)


# The error


def test_the_relative_error_is_0_for_the_exact_answer_and_1_for_zeros():
    exact = normal(3, 4)
    assert relative_error(exact, exact) == 0
    assert relative_error(torch.zeros_like(exact), exact) == pytest.approx(1)
    assert relative_error(exact * 1.1, exact) == pytest.approx(0.1)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_reformer_in_low_precision_is_the_float32_one_rounded(dtype):
    x, value, rotations = (y.to(dtype) for y in (normal(2, 9, 4), normal(2, 9, 3), normal(2, 4, 2)))
    got = reformer(x, value, rotations, chunk=3)
    exact = reformer(x.float(), value.float(), rotations.float(), chunk=3)
    assert got.output.equal(exact.output.to(dtype))
    assert got.lse.dtype == torch.float32
