"""Hopfield retrieval: attention that descends an energy, and finds what it stored."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from attention_core import attend, hopfield, masks, reference

DTYPE = torch.float64
sizes = st.integers(1, 7)


def assert_near(actual, expected, atol=1e-12):
    torch.testing.assert_close(actual, expected, atol=atol, rtol=0)


def memory(n=3, m=5, d=4):
    return torch.randn(2, n, d, dtype=DTYPE), torch.randn(2, m, d, dtype=DTYPE)


def arrays(options):
    return {name: x.numpy() if isinstance(x, torch.Tensor) else x for name, x in options.items()}


OPTIONS = pytest.mark.parametrize(
    "options",
    [
        {},
        {"beta": 2.5},
        {"mask": torch.tensor([[True, False, True, True, False], [False] * 5, [True] * 5])},
        {"beta": 0.3, "mask": torch.rand(2, 3, 5, generator=torch.Generator().manual_seed(0)) > 0.4},
    ],
    ids=["plain", "beta", "mask", "beta-mask"],
)


@OPTIONS
def test_retrieval_agrees_with_its_reference(options):
    query, patterns = memory()
    got = hopfield.retrieve(query, patterns, steps=3, **options)
    expected = reference.hopfield(query.numpy(), patterns.numpy(), steps=3, **arrays(options))
    for actual, wanted in zip(got, expected, strict=True):
        np.testing.assert_allclose(actual, wanted, atol=1e-12, rtol=0)


@OPTIONS
def test_energy_agrees_with_its_reference(options):
    query, patterns = memory()
    expected = reference.hopfield_energy(query.numpy(), patterns.numpy(), **arrays(options))
    np.testing.assert_allclose(hopfield.energy(query, patterns, **options), expected, atol=1e-12, rtol=0)


def test_one_step_is_attention_over_the_patterns():
    query, patterns = memory()
    for actual, expected in zip(
        hopfield.retrieve(query, patterns), attend(query, patterns, patterns), strict=True
    ):
        assert_near(actual, expected)


def test_three_steps_are_one_step_three_times():
    query, patterns = memory()
    once = query
    for _ in range(3):
        once = hopfield.retrieve(once, patterns, beta=2).output
    assert_near(hopfield.retrieve(query, patterns, beta=2, steps=3).output, once)
    assert not torch.allclose(hopfield.retrieve(query, patterns, beta=2).output, once, atol=1e-3)


@given(n=sizes, m=sizes, d=sizes, beta=st.floats(0.05, 20), data=st.data())
def test_no_step_raises_the_energy(n, m, d, beta, data):
    query, patterns = (2 * x for x in memory(n, m, d))
    seed = data.draw(st.integers(0, 1000))
    mask = torch.rand(n, m, generator=torch.Generator().manual_seed(seed)) > 0.3
    before = hopfield.energy(query, patterns, beta=beta, mask=mask)
    after = hopfield.energy(
        hopfield.retrieve(query, patterns, beta=beta, mask=mask).output, patterns, beta=beta, mask=mask
    )
    assert (after <= before + 1e-12).all()


@given(n=sizes, m=sizes, d=sizes, beta=st.floats(0.05, 20))
def test_energy_is_never_negative(n, m, d, beta):
    query, patterns = (2 * x for x in memory(n, m, d))
    assert (hopfield.energy(query, patterns, beta=beta) >= -1e-12).all()


@OPTIONS
def test_the_slope_of_the_energy_is_the_query_less_what_it_retrieves(options):
    query, patterns = memory()
    query.requires_grad_()
    slope = torch.autograd.grad(hopfield.energy(query, patterns, **options).sum(), query)[0]
    assert_near(slope, query - hopfield.retrieve(query, patterns, **options).output)


@pytest.mark.parametrize("beta", [1.0, 4.0, 16.0])
def test_a_pattern_is_retrieved_up_to_an_error_exponentially_small_in_its_separation(beta):
    _, patterns = memory(m=6, d=16)
    likeness = patterns @ patterns.mT
    rivals = likeness - torch.diag(torch.full((6,), math.inf, dtype=DTYPE))
    separation = likeness.diagonal(dim1=-2, dim2=-1) - rivals.amax(-1)
    error = (hopfield.retrieve(patterns, patterns, beta=beta).output - patterns).norm(dim=-1)
    largest = patterns.norm(dim=-1).amax(-1, keepdim=True)
    assert (separation > 0).all()
    assert (error <= 2 * 5 * torch.exp(-beta * separation) * largest + 1e-12).all()


def test_the_error_falls_by_a_factor_of_e_to_the_separation_as_beta_grows_by_one():
    patterns = 2 * torch.eye(5, dtype=DTYPE)  # each separated by 4
    errors = [
        (hopfield.retrieve(patterns, patterns, beta=beta).output - patterns).norm()
        for beta in (3.0, 4.0, 5.0)
    ]
    assert_near(
        torch.stack(errors[:-1]).log() - torch.stack(errors[1:]).log(), torch.full((2,), 4.0).to(DTYPE), 1e-3
    )


def test_a_noisy_query_retrieves_its_pattern():
    patterns = torch.randn(20, 64, dtype=DTYPE)
    noisy = patterns + 0.5 * torch.randn(20, 64, dtype=DTYPE)
    assert_near(hopfield.retrieve(noisy, patterns, beta=1).output, patterns, atol=1e-3)


def test_small_beta_retrieves_the_mean_of_all_patterns():
    query, patterns = memory()
    mean = patterns.mean(-2, keepdim=True).expand_as(query)
    assert_near(hopfield.retrieve(query, patterns, beta=1e-9).output, mean, atol=1e-7)


def test_patterns_close_together_share_a_metastable_state_near_their_mean():
    centre = 4 * torch.eye(4, dtype=DTYPE)[:2]
    patterns = (centre[:, None] + 0.1 * torch.randn(2, 3, 4, dtype=DTYPE)).flatten(0, 1)  # two clusters of 3
    state = hopfield.retrieve(patterns, patterns, beta=1, steps=20).output
    assert_near(hopfield.retrieve(state, patterns, beta=1).output, state, atol=1e-9)  # a fixed point
    means = patterns.unflatten(0, (2, 3)).mean(1).repeat_interleave(3, dim=0)
    assert (state - means).norm(dim=-1).max() < 0.1 < (patterns - means).norm(dim=-1).min()


def test_energy_counts_allowed_patterns_alone():
    query, patterns = memory()
    patterns[:, 3:] *= 100
    mask = torch.tensor([True, True, True, False, False])
    assert_near(hopfield.energy(query, patterns, mask=mask), hopfield.energy(query, patterns[:, :3]))


@pytest.mark.parametrize("mask", [None, torch.zeros(3, 0, dtype=torch.bool)])
def test_an_empty_memory_retrieves_zero_where_its_energy_is_least(mask):
    query, patterns = memory(m=0)
    assert (hopfield.retrieve(query, patterns, steps=2, mask=mask).output == 0).all()
    assert_near(hopfield.energy(query, patterns, mask=mask), query.square().sum(-1) / 2)


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_a_bad_pattern_reaches_the_queries_that_see_it_and_no_other_gradient(bad):
    query, patterns = memory()
    patterns[:, -1] = bad
    mask = masks.causal(3, 5, align="lower_right")
    leaves = [query.requires_grad_(), patterns.requires_grad_()]
    states = hopfield.retrieve(*leaves, steps=3, mask=mask).output
    energies = hopfield.energy(*leaves, mask=mask)
    for found in (states.isnan().any(-1), energies.isnan()):
        assert found.tolist() == [[False, False, True]] * 2
    loss = states[:, :-1].sum() + energies[:, :-1].sum()
    assert all(g.isfinite().all() for g in torch.autograd.grad(loss, leaves))


def test_beta_may_differ_by_query():
    query, patterns = memory()
    betas = torch.tensor([0.5, 1.0, 2.0], dtype=DTYPE)
    got = hopfield.retrieve(query, patterns, beta=betas[:, None], steps=2).output
    energies = hopfield.energy(query, patterns, beta=betas[:, None])
    for i, beta in enumerate(betas.tolist()):
        alone = query[:, i : i + 1]
        assert_near(got[:, i : i + 1], hopfield.retrieve(alone, patterns, beta=beta, steps=2).output)
        assert_near(energies[:, i : i + 1], hopfield.energy(alone, patterns, beta=beta))


def test_gradients_are_right_those_of_beta_too():
    query, patterns = memory()
    beta = torch.tensor(0.8, dtype=DTYPE)
    mask = masks.causal(3, 5, align="lower_right")
    leaves = [x.requires_grad_() for x in (query, patterns, beta)]

    def both(query, patterns, beta):
        state = hopfield.retrieve(query, patterns, beta=beta, steps=2, mask=mask).output
        return state, hopfield.energy(query, patterns, beta=beta, mask=mask)

    assert torch.autograd.gradcheck(both, leaves)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_low_precision_errs_at_most_twice_as_much_as_a_plain_implementation(dtype):
    query, patterns = (x.to(dtype) for x in memory(n=8, m=32, d=16))
    exact = hopfield.retrieve(query.double(), patterns.double()).output
    plain = torch.softmax((query / 4) @ patterns.mT, dim=-1) @ patterns
    error, plain_error = (
        (x.double() - exact).abs().max() for x in (hopfield.retrieve(query, patterns).output, plain)
    )
    rounded = exact.to(dtype)
    assert error <= 2 * plain_error + 2 * (rounded + 0.3 - 0.3 - rounded).abs().max()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_energy_of_low_precision_is_that_in_float32(dtype):
    query, patterns = (x.to(dtype) for x in memory())
    energies = hopfield.energy(query, patterns, beta=0.7)
    assert energies.dtype == torch.float32
    assert energies.equal(hopfield.energy(query.float(), patterns.float(), beta=0.7))
