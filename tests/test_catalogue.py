"""Contract tests, generated from the catalogue: reference, gradients, every law, every special case."""

import math
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from attention_core import Attended
from attention_core.catalogue import LAWS, VARIANTS

each_variant = pytest.mark.parametrize("variant", VARIANTS.values(), ids=VARIANTS.keys())

SEQUENCES = ("query", "key", "value", "x")
KEYS = ("key", "value", "x")


def assert_near(actual, expected, atol=1e-12):
    torch.testing.assert_close(actual, expected, atol=atol, rtol=0)


def tensors(arguments):
    return {
        name: torch.from_numpy(value) if isinstance(value, np.ndarray) else value
        for name, value in arguments.items()
    }


def gradients(loss, leaves):
    return torch.autograd.grad(loss, leaves, materialize_grads=True)  # hard: none reaches the scores


def floats(arguments):
    return [name for name, x in arguments.items() if isinstance(x, torch.Tensor) and x.is_floating_point()]


def sizes(arguments):
    query, key = (arguments.get(name, arguments.get("x")) for name in ("query", "key"))
    return query.shape[-2], key.shape[-2]


def causal(arguments):
    n, m = sizes(arguments)
    return torch.ones(n, m, dtype=torch.bool).tril(m - n)


# Every variant


@each_variant
def test_agrees_with_its_reference(variant, rng):
    arguments = variant.inputs(rng)
    expected = variant.reference(**arguments)
    for actual, wanted in zip(variant.function(**tensors(arguments)), expected, strict=True):
        np.testing.assert_allclose(actual, wanted, atol=1e-12, rtol=0)


@each_variant
def test_agrees_with_its_reference_under_a_random_mask_with_empty_rows(variant, rng):
    arguments = variant.inputs(rng)
    n, m = sizes(arguments)
    mask = rng.random((n, m)) < 0.6
    mask[1] = False
    expected = variant.reference(**arguments | {"mask": mask})
    for actual, wanted in zip(variant.function(**tensors(arguments | {"mask": mask})), expected, strict=True):
        np.testing.assert_allclose(actual, wanted, atol=1e-12, rtol=0)


@each_variant
def test_gradients_are_right(variant, rng):
    arguments = tensors(variant.inputs(rng))
    names = floats(arguments)
    leaves = [arguments[name].requires_grad_() for name in names]

    def output(*values):
        return variant.function(**arguments | dict(zip(names, values, strict=True))).output

    assert torch.autograd.gradcheck(output, leaves)


@each_variant
def test_gives_attended(variant, rng):
    assert isinstance(variant.function(**tensors(variant.inputs(rng))), Attended)


@each_variant
def test_leaves_its_inputs_alone(variant, rng):
    arguments = tensors(variant.inputs(rng))
    before = {name: arguments[name].clone() for name in floats(arguments)}
    variant.function(**arguments)
    assert all(arguments[name].equal(copy) for name, copy in before.items())


# Laws


def shape_and_dtype(variant, arguments):
    n, m = sizes(arguments)
    for dtype in (torch.float64, torch.float32):
        cast = arguments | {name: arguments[name].to(dtype) for name in floats(arguments)}
        got = variant.function(**cast)
        assert got.output.shape[:2] == (2, n)
        assert got.weights.shape == (*got.lse.shape, m)
        assert got.lse.shape[-1] == n
        assert {x.dtype for x in got} == {dtype}


def query_equivariance(variant, arguments):
    order = torch.randperm(arguments["query"].shape[-2])
    permuted = arguments | {"query": arguments["query"][:, order]}
    if "mask" in arguments:
        permuted["mask"] = arguments["mask"][order]
    assert_near(variant.function(**permuted).output, variant.function(**arguments).output[:, order])


def key_value_invariance(variant, arguments):
    order = torch.randperm(arguments["key"].shape[-2])
    permuted = arguments | {name: arguments[name][:, order] for name in ("key", "value")}
    if "mask" in arguments:
        permuted["mask"] = arguments["mask"][:, order]
    assert_near(variant.function(**permuted).output, variant.function(**arguments).output)


def masked_keys_inert(variant, arguments):
    """The last key is bad: rows that may not see it have the answer and the gradients they had."""
    mask = causal(arguments)
    names = floats(arguments)
    results = []
    for bad in (0.5, math.nan, math.inf):
        inputs = arguments | {"mask": mask}
        for name in KEYS:
            if name in inputs:
                inputs[name] = inputs[name].clone()
                inputs[name][:, -1] = bad
        leaves = [inputs[name].detach().requires_grad_() for name in names]
        got = variant.function(**inputs | dict(zip(names, leaves, strict=True)))
        blind = got.output[:, :-1]
        results.append((blind, got.weights[..., :-1, :], *gradients(blind.square().sum(), leaves)))
    for dirty in results[1:]:
        for actual, expected in zip(dirty, results[0], strict=True):
            assert_near(actual, expected)


def prefix_causality(variant, arguments):
    inputs = arguments | {"mask": causal(arguments)}
    n, m = sizes(arguments)
    before = variant.function(**inputs).output
    for row in range(n - 1):
        later = row + 1 + m - n  # the first key that the row may not see
        changed = inputs | {name: inputs[name].clone() for name in KEYS if name in inputs}
        for name in KEYS:
            if name in changed:
                changed[name][:, later:] += 1
        assert_near(variant.function(**changed).output[:, : row + 1], before[:, : row + 1])


def empty_rows(variant, arguments):
    n, m = sizes(arguments)
    mask = torch.ones(n, m, dtype=torch.bool)
    mask[1] = False
    leaves = [arguments[name].requires_grad_() for name in floats(arguments)]
    got = variant.function(**arguments | {"mask": mask})
    assert (got.output[:, 1] == 0).all()
    assert (got.weights[..., 1, :] == 0).all()
    assert (got.lse[..., 1] == -math.inf).all()
    assert all(g.isfinite().all() for g in gradients(got.output.sum(), leaves))


def weights_sum_to_one(variant, arguments):
    weights = variant.function(**arguments).weights
    assert (weights >= 0).all()
    assert_near(weights.sum(-1), torch.ones_like(weights[..., 0]))


def convex_hull(variant, arguments):
    output, value = variant.function(**arguments).output, arguments["value"]
    assert output.shape[-1] == value.shape[-1]
    assert (output <= value.amax(-2, keepdim=True) + 1e-12).all()
    assert (output >= value.amin(-2, keepdim=True) - 1e-12).all()


def batch_invariance(variant, arguments):
    together = variant.function(**arguments)
    for b in range(2):
        alone = variant.function(
            **arguments | {name: arguments[name][b : b + 1] for name in SEQUENCES if name in arguments}
        )
        for actual, expected in zip(alone, together, strict=True):
            assert_near(actual, expected[b : b + 1])


CHECKS = {
    check.__name__: check
    for check in (
        shape_and_dtype,
        query_equivariance,
        key_value_invariance,
        masked_keys_inert,
        prefix_causality,
        empty_rows,
        weights_sum_to_one,
        convex_hull,
        batch_invariance,
    )
}


@pytest.mark.parametrize(
    ("variant", "law"),
    [
        pytest.param(variant, law, id=f"{name}-{law}")
        for name, variant in VARIANTS.items()
        for law in sorted(variant.laws)
    ],
)
def test_law_holds(variant, law, rng):
    CHECKS[law](variant, tensors(variant.inputs(rng)))


def test_every_law_has_a_check():
    assert CHECKS.keys() == LAWS.keys()


@pytest.mark.parametrize(
    ("variant", "law"),
    [
        pytest.param(variant, law, id=f"{name}-{law}")
        for name, variant in VARIANTS.items()
        for law in variant.exempt
    ],
)
def test_an_exemption_is_needed_and_has_its_reason(variant, law, rng):
    assert len(variant.exempt[law].split()) > 3
    with pytest.raises((AssertionError, KeyError)):
        CHECKS[law](variant, tensors(variant.inputs(rng)))


def test_a_law_neither_held_nor_exempt_is_refused():
    variant = VARIANTS["multi_head"]
    fields = {name: getattr(variant, name) for name in variant.__dataclass_fields__}
    with pytest.raises(ValueError, match="convex_hull"):
        type(variant)(**fields | {"exempt": {}})


# Special cases


@pytest.mark.parametrize(
    ("variant", "equality"),
    [
        pytest.param(variant, equality, id=f"{name}-{equality.other}")
        for name, variant in VARIANTS.items()
        for equality in variant.equals
    ],
)
def test_special_case_is_the_other_variant(variant, equality, rng):
    own, others = equality.specialise(variant.inputs(rng))
    actual = variant.function(**tensors(own)).output
    assert_near(actual, VARIANTS[equality.other].function(**tensors(others)).output, atol=equality.tolerance)


# The record


@each_variant
def test_equation_has_balanced_braces_and_no_dollar(variant):
    for latex in (variant.equation, variant.time, variant.memory):
        assert latex.count("{") == latex.count("}")
        assert "$" not in latex


@each_variant
def test_year_is_that_of_its_citation(variant):
    assert str(variant.year) in variant.citation


@each_variant
def test_citation_is_in_the_bibliography(variant):
    bibliography = Path(__file__).parents[1] / "book" / "references.bib"
    assert f"{{{variant.citation}," in bibliography.read_text(encoding="utf-8")


def test_names_are_the_keys():
    assert all(name == variant.name for name, variant in VARIANTS.items())


def test_catalogue_prints_a_line_for_each_variant():
    command = [sys.executable, "-m", "attention_core.catalogue"]
    lines = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    assert [re.split(r"\s", line)[0] for line in lines] == ["name", *VARIANTS]
