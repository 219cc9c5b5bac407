"""Contract tests, generated from the catalogue: reference, gradients, every law, every special case."""

import inspect
import math
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_map

from attention_core.catalogue import LAWS, VARIANTS

each_variant = pytest.mark.parametrize("variant", VARIANTS.values(), ids=VARIANTS.keys())

KEYS = ("key", "value", "patterns", "x", "image", "beta", "decay")  # what a query looks at
SEQUENCES = ("query", *KEYS)
PAIRS = ("mask", "bias", "noise")  # something for each query and key


def takes_mask(variant):
    return "mask" in inspect.signature(variant.function).parameters


each_masked_variant = pytest.mark.parametrize(
    "variant", list(filter(takes_mask, VARIANTS.values())), ids=lambda variant: variant.name
)


def assert_near(actual, expected, atol=1e-12):
    torch.testing.assert_close(actual, expected, atol=atol, rtol=0, equal_nan=True)


def tensors(arguments):
    return {
        name: torch.from_numpy(value) if isinstance(value, np.ndarray) else value
        for name, value in arguments.items()
    }


def gradients(loss, leaves):
    return torch.autograd.grad(loss, leaves, materialize_grads=True)  # hard: none reaches the scores


def floats(arguments):
    return [name for name, x in arguments.items() if isinstance(x, torch.Tensor) and x.is_floating_point()]


def positions(name, x):
    """x with its positions on axis -2, as a view: an image's pixels, a list of numbers, or a sequence."""
    if name == "image":
        return x.flatten(-2).mT
    return x[..., None] if name in ("beta", "decay") else x


def reordered(name, x, order):
    rows = positions(name, x)[..., order, :]
    if name == "image":
        return rows.mT.reshape(x.shape)
    return rows[..., 0] if name in ("beta", "decay") else rows


def rows(arguments, output):
    """The output a row for each query."""
    return positions("image" if "image" in arguments else "query", output)


def sizes(variant, arguments):
    n = rows(arguments, variant.function(**arguments)[0]).shape[-2]
    name = next(name for name in KEYS if name in arguments)
    return n, positions(name, arguments[name]).shape[-2]


def causal(variant, arguments):
    """The arguments under a causal mask, or as they are if the variant knows no other way."""
    if not takes_mask(variant):
        return dict(arguments)
    n, m = sizes(variant, arguments)
    return arguments | {"mask": torch.ones(n, m, dtype=torch.bool).tril(m - n)}


def permuted(arguments, queries=None, keys=None):
    changed = dict(arguments)
    for names, order in (("query",), queries), (KEYS, keys):
        for name in names:
            if order is not None and name in changed:
                changed[name] = reordered(name, changed[name], order)
    for name in PAIRS:
        if name in changed:
            x = changed[name]
            x = x if queries is None else x[..., queries, :]
            changed[name] = x if keys is None else x[..., keys]
    return changed


# Every variant


@each_variant
def test_agrees_with_its_reference(variant, rng):
    arguments = variant.inputs(rng)
    expected = variant.reference(**arguments)
    for actual, wanted in zip(variant.function(**tensors(arguments)), expected, strict=True):
        np.testing.assert_allclose(actual, wanted, atol=1e-12, rtol=0)


@each_masked_variant
def test_agrees_with_its_reference_under_a_random_mask_with_empty_rows(variant, rng):
    arguments = variant.inputs(rng)
    n, m = sizes(variant, tensors(arguments))
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
def test_gives_a_named_tuple_with_the_output_first(variant, rng):
    result = variant.function(**tensors(variant.inputs(rng)))
    assert result._fields[0] == "output"


@each_variant
def test_leaves_its_inputs_alone(variant, rng):
    arguments = tensors(variant.inputs(rng))
    before = {name: arguments[name].clone() for name in floats(arguments)}
    variant.function(**arguments)
    assert all(arguments[name].equal(copy) for name, copy in before.items())


class Rounding(TorchDispatchMode):
    """A plain implementation in low precision: the same operations, each with its result rounded."""

    def __init__(self, dtype):
        super().__init__()
        self.dtype = dtype

    def __torch_dispatch__(self, operation, types, arguments=(), options=None):
        result = operation(*arguments, **(options or {}))
        aliases = [returned.alias_info for returned in operation._schema.returns]
        if any(alias is not None and not alias.is_write for alias in aliases):
            return result  # a view: rounded already

        def rounded(x):
            if not isinstance(x, torch.Tensor) or x.dtype != torch.float64:
                return x
            return x.copy_(x.to(self.dtype)) if any(aliases) else x.to(self.dtype).double()

        return tree_map(rounded, result)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=["float16", "bfloat16"])
@each_variant
def test_low_precision_costs_at_most_twice_what_rounding_each_operation_costs(variant, dtype, rng):
    arguments = tensors(variant.inputs(rng))
    low = {name: arguments[name].to(dtype) for name in floats(arguments)}
    exact = {name: x.double() for name, x in low.items()}
    golden = variant.function(**arguments | exact).output
    actual = variant.function(**arguments | low).output
    with Rounding(dtype):
        plain = variant.function(**arguments | exact).output
    once = (golden.to(dtype) + 0.3 - 0.3).double()  # what rounding alone costs
    budget = 2 * (plain - golden).abs().max() + 2 * (once - golden).abs().max()
    assert actual.dtype == dtype
    assert (actual.double() - golden).abs().max() <= budget


# Laws


def shape_and_dtype(variant, arguments):
    expected = variant.reference(
        **{name: x.numpy() if isinstance(x, torch.Tensor) else x for name, x in arguments.items()}
    )
    for dtype in (torch.float64, torch.float32):
        cast = arguments | {name: arguments[name].to(dtype) for name in floats(arguments)}
        for got, wanted in zip(variant.function(**cast), expected, strict=True):
            assert got.shape == wanted.shape
            assert got.dtype == dtype


def query_equivariance(variant, arguments):
    order = torch.randperm(arguments["query"].shape[-2])
    output = variant.function(**arguments).output
    assert_near(variant.function(**permuted(arguments, queries=order)).output, output[..., order, :])


def key_value_invariance(variant, arguments):
    name = next(name for name in ("key", "patterns") if name in arguments)
    order = torch.randperm(arguments[name].shape[-2])
    assert_near(
        variant.function(**permuted(arguments, keys=order)).output, variant.function(**arguments).output
    )


def permutation_equivariance(variant, arguments):
    n, m = sizes(variant, arguments)
    one_sequence = "x" in arguments or "image" in arguments
    keys = torch.randperm(m)
    queries = keys if one_sequence else torch.randperm(n) if "query" in arguments else torch.arange(n)
    before = rows(arguments, variant.function(**arguments).output)
    after = rows(arguments, variant.function(**permuted(arguments, queries, keys)).output)
    assert_near(after, before[..., queries, :])


def masked_keys_inert(variant, arguments):
    """The last key is bad: rows that may not see it have the answer and the gradients they had."""
    names = floats(arguments)
    results = []
    for bad in (0.5, math.nan, math.inf):
        inputs = causal(variant, arguments)
        for name in KEYS:
            if name in inputs:
                inputs[name] = inputs[name].clone()
                positions(name, inputs[name])[..., -1, :] = bad
        leaves = [inputs[name].detach().requires_grad_() for name in names]
        got = variant.function(**inputs | dict(zip(names, leaves, strict=True)))
        blind = rows(arguments, got.output)[..., :-1, :]
        weights = getattr(got, "weights", None)
        seen = [] if weights is None else [weights[..., :-1, :]]
        results.append((blind, *seen, *gradients(blind.square().sum(), leaves)))
    for dirty in results[1:]:
        for actual, expected in zip(dirty, results[0], strict=True):
            assert actual.isfinite().all()
            assert_near(actual, expected)


def prefix_causality(variant, arguments):
    inputs = causal(variant, arguments)
    n, m = sizes(variant, arguments)
    before = rows(arguments, variant.function(**inputs).output)
    for row in range(n - 1):
        later = row + 1 + m - n  # the first key that the row may not see
        changed = inputs | {name: inputs[name].clone() for name in KEYS if name in inputs}
        for name in KEYS:
            if name in changed:
                tail = positions(name, changed[name])[..., later:, :]
                tail += torch.linspace(1, 2, tail.shape[-1])  # a layer norm takes a constant away
        after = rows(arguments, variant.function(**changed).output)
        assert_near(after[..., : row + 1, :], before[..., : row + 1, :])


def empty_rows(variant, arguments):
    assert takes_mask(variant)
    n, m = sizes(variant, arguments)
    mask = torch.ones(n, m, dtype=torch.bool)
    mask[1] = False
    leaves = [arguments[name].requires_grad_() for name in floats(arguments)]
    got = variant.function(**arguments | {"mask": mask})
    assert (rows(arguments, got.output)[..., 1, :] == 0).all()
    assert (got.weights[..., 1, :] == 0).all()
    assert (got.lse[..., 1] == -math.inf).all()
    assert all(g.isfinite().all() for g in gradients(got.output.sum(), leaves))


def weights_sum_to_one(variant, arguments):
    weights = variant.function(**arguments).weights
    assert (weights >= 0).all()
    assert_near(weights.sum(-1), torch.ones_like(weights[..., 0]))


def convex_hull(variant, arguments):
    output = variant.function(**arguments).output
    value = next(arguments[name] for name in ("value", "patterns", "key", "x") if name in arguments)
    assert output.shape[-1] == value.shape[-1]
    assert (output <= value.amax(-2, keepdim=True) + 1e-12).all()
    assert (output >= value.amin(-2, keepdim=True) - 1e-12).all()


def batch_invariance(variant, arguments):
    together = variant.function(**arguments)
    names = [name for name in (*SEQUENCES, "noise") if name in arguments]
    for b in range(2):
        alone = variant.function(**arguments | {name: arguments[name][b : b + 1] for name in names})
        for actual, expected in zip(alone, together, strict=True):
            assert_near(actual, expected[b : b + 1])


CHECKS = {
    check.__name__: check
    for check in (
        shape_and_dtype,
        query_equivariance,
        key_value_invariance,
        permutation_equivariance,
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
    with pytest.raises((AssertionError, AttributeError, KeyError, StopIteration)):
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
def test_special_case_is_the_other_variant_whatever_is_drawn(variant, equality):
    for seed in range(30):  # an equality that needs scores well apart must see to it
        own, others = equality.specialise(variant.inputs(np.random.default_rng(seed)))
        actual = variant.function(**tensors(own)).output
        expected = VARIANTS[equality.other].function(**tensors(others)).output
        assert_near(actual, expected, atol=equality.tolerance)


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
