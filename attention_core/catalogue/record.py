"""What the catalogue says of a mechanism: its laws, its special cases, and the record itself."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
from torch import nn

LAWS = {
    "shape_and_dtype": "everything given back has the reference's shape and the inputs' dtype",
    "query_equivariance": "permuting the queries permutes the output alike",
    "key_value_invariance": "permuting keys and values together changes nothing",
    "permutation_equivariance": "permuting all sequences permutes the output alike: f(PX) = P f(X)",
    "masked_keys_inert": "a key a row may not see cannot change that row or its gradients, even when NaN",
    "prefix_causality": "under a causal mask a row does not depend on what comes later",
    "empty_rows": "a query that may attend to nothing gives output 0, weights 0, lse −∞, finite gradients",
    "weights_sum_to_one": "weights are non-negative and sum to one over the allowed keys",
    "convex_hull": "the output lies between the smallest and the largest value in every coordinate",
    "batch_invariance": "a sequence gives the same alone as in a batch",
}


@dataclass(frozen=True)
class Equality:
    """A special case of one variant that is another variant.

    `specialise` takes the variant's inputs and returns two sets of keyword arguments, the variant's own and
    the other's, for which their outputs agree within `tolerance` (absolute, in float64).
    """

    other: str  # key in VARIANTS
    when: str  # LaTeX
    specialise: Callable[[dict], tuple[dict, dict]]
    tolerance: float = 1e-12


@dataclass(frozen=True)
class Variant:
    """One mechanism: what it is, what it costs, and two independent implementations of it."""

    name: str
    title: str
    year: int  # first public appearance
    citation: str  # key in book/references.bib
    family: str
    equation: str  # LaTeX
    time: str  # LaTeX, in n queries, m keys, width d
    memory: str  # LaTeX, beyond inputs and output
    function: Callable  # of torch tensors; modules wrapped as functions of their parameters
    reference: Callable  # of numpy arrays, with the same keyword arguments
    inputs: Callable[[np.random.Generator], dict]  # small random float64 arrays or plain values
    laws: frozenset[str]
    exempt: dict[str, str]  # law -> why it does not hold
    equals: tuple[Equality, ...] = ()

    def __post_init__(self):
        wrong = self.laws ^ self.exempt.keys() ^ LAWS.keys()
        if wrong:
            raise ValueError(
                f"`laws` and `exempt` of {self.name!r} must share out LAWS, each law held, or exempt with "
                f"its reason, and never both; see {sorted(wrong)}."
            )


def variant(*, exempt: dict[str, str] | None = None, **fields) -> Variant:
    """A variant that holds every law it is not exempt from."""
    exempt = exempt or {}
    return Variant(laws=frozenset(LAWS.keys() - exempt.keys()), exempt=exempt, **fields)


def scored(attend: Callable, score: Callable) -> Callable:
    """Attention with one score function, whose parameters become keyword arguments."""

    def attention(query, key, value, *, mask=None, bias=None, **parameters):
        return attend(query, key, value, score=partial(score, **parameters), mask=mask, bias=bias)

    return attention


def sequences(rng: np.random.Generator, *, key_width: int = 4) -> dict:
    """Batch 2, n = 3 queries of width 4, m = 5 keys, values of width 2."""
    shapes = {"query": (2, 3, 4), "key": (2, 5, key_width), "value": (2, 5, 2)}
    return {name: rng.normal(size=shape) for name, shape in shapes.items()}


def pick(arguments: dict, *names: str) -> dict:
    return {name: arguments[name] for name in names}


def drawn(rng: np.random.Generator, module: nn.Module) -> dict:
    """Random parameters for a module, under the names of its `state_dict`; it may be on the meta device."""
    return {name: rng.normal(size=tuple(parameter.shape)) for name, parameter in module.named_parameters()}
