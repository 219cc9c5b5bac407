"""Exercises of the chapter "A history of paying attention": the old ideas, written by the reader. float64."""

import torch
from torch import Tensor

from attention_core import attend, linear
from attention_core.checks import Case, Exercise, Mutant

# --- kernel-regression: Nadaraya and Watson's mean, weights exp(-|q - k|^2 / (2 width^2)) over their sum


def _squared(query: Tensor, key: Tensor) -> Tensor:
    return (query[:, None, :] - key[None, :, :]).square().sum(-1)  # (n, m)


def _regression(query: Tensor, key: Tensor, value: Tensor, width: float) -> Tensor:
    return torch.softmax(-_squared(query, key) / (2 * width**2), -1) @ value


def _regression_cases(generator: torch.Generator) -> list[Case]:
    by_hand = {
        "query": torch.tensor([[1.0]], dtype=torch.float64),
        "key": torch.tensor([[0.0], [1.0], [3.0]], dtype=torch.float64),
        "value": torch.tensor([[2.0], [4.0], [9.0]], dtype=torch.float64),
        "width": 1.0,
    }
    drawn = [
        {
            "query": _normal(generator, n, d),
            "key": _normal(generator, m, d),
            "value": _normal(generator, m, dv),
            "width": width,
        }
        for n, m, d, dv, width in ((2, 5, 3, 2, 0.5), (4, 3, 2, 1, 2.0), (3, 4, 4, 3, 1.5))
    ]
    return [by_hand, *drawn]


def _unnormalised(query: Tensor, key: Tensor, value: Tensor, width: float) -> Tensor:
    return torch.exp(-_squared(query, key) / (2 * width**2)) @ value


REGRESSION = Exercise(
    name="kernel-regression",
    reference=_regression,
    cases=_regression_cases,
    mutants={
        "not normalised": Mutant(
            _unnormalised,
            "the weights do not sum to 1: divide by their sum, or the answer grows with the number of keys.",
        ),
        "distance, not its square": Mutant(
            lambda query, key, value, width: (
                torch.softmax(-_squared(query, key).sqrt() / (2 * width**2), -1) @ value
            ),
            "the distance itself is used: a Gaussian falls with the square of the distance.",
        ),
        "width not squared": Mutant(
            lambda query, key, value, width: torch.softmax(-_squared(query, key) / (2 * width), -1) @ value,
            "`width` is not squared: it is a distance, and has to be compared with one.",
        ),
        "no one half": Mutant(
            lambda query, key, value, width: torch.softmax(-_squared(query, key) / width**2, -1) @ value,
            "the factor 2 under the fraction line is missing.",
        ),
        "sign": Mutant(
            lambda query, key, value, width: torch.softmax(_squared(query, key) / (2 * width**2), -1) @ value,
            "the farthest key weighs most: a score must be larger where the distance is smaller.",
        ),
        "wrong axis": Mutant(
            lambda query, key, value, width: torch.softmax(-_squared(query, key) / (2 * width**2), 0) @ value,
            "the softmax runs over the queries: each query has its own budget, so take the last axis.",
        ),
    },
)

# --- bilateral-filter: one row of grey values; weights from place and from grey value


def _bilateral(signal: Tensor, reach: float, contrast: float) -> Tensor:
    places = torch.arange(len(signal), dtype=torch.float64)
    apart, differ = places[:, None] - places[None, :], signal[:, None] - signal[None, :]
    scores = -apart.square() / (2 * reach**2) - differ.square() / (2 * contrast**2)
    return torch.softmax(scores, -1) @ signal


def _bilateral_cases(generator: torch.Generator) -> list[Case]:
    step = torch.tensor([0.0, 0.1, 0.0, 1.0, 0.9, 1.0], dtype=torch.float64)
    return [
        {"signal": step, "reach": 1.5, "contrast": 0.2},
        {"signal": torch.rand(9, generator=generator, dtype=torch.float64), "reach": 2.0, "contrast": 0.5},
        {"signal": torch.rand(4, generator=generator, dtype=torch.float64), "reach": 0.7, "contrast": 1.5},
    ]


def _apart(signal: Tensor) -> Tensor:
    places = torch.arange(len(signal), dtype=torch.float64)
    return (places[:, None] - places[None, :]).square()


def _differ(signal: Tensor) -> Tensor:
    return (signal[:, None] - signal[None, :]).square()


def _two_softmaxes(signal: Tensor, reach: float, contrast: float) -> Tensor:
    near = torch.softmax(-_apart(signal) / (2 * reach**2), -1)
    alike = torch.softmax(-_differ(signal) / (2 * contrast**2), -1)
    return (near * alike) @ signal


def _bilateral_in_place(signal: Tensor, reach: float, contrast: float) -> Tensor:
    out = signal
    for i in range(len(signal)):
        scores = -((torch.arange(len(signal)) - i) ** 2) / (2 * reach**2)
        out[i] = torch.softmax(scores - (signal - signal[i]) ** 2 / (2 * contrast**2), -1) @ signal
    return out


BILATERAL = Exercise(
    name="bilateral-filter",
    reference=_bilateral,
    cases=_bilateral_cases,
    mutants={
        "place alone": Mutant(
            lambda signal, reach, contrast: torch.softmax(-_apart(signal) / (2 * reach**2), -1) @ signal,
            "only the places count: that is a Gaussian blur, which washes the edge away.",
        ),
        "grey value alone": Mutant(
            lambda signal, reach, contrast: torch.softmax(-_differ(signal) / (2 * contrast**2), -1) @ signal,
            "only the grey values count: pixels at the far end weigh as much as neighbours.",
        ),
        "widths swapped": Mutant(
            lambda signal, reach, contrast: _bilateral(signal, contrast, reach),
            "`reach` and `contrast` have changed places: the first is a distance in pixels.",
        ),
        "two softmaxes": Mutant(
            _two_softmaxes,
            "the two kinds of weight are normalised apart, and their products sum to less than 1: "
            "add the scores, then take one softmax.",
        ),
        "in place": Mutant(_bilateral_in_place, "modified in place"),
    },
)

# --- sigma-pi-unit: sum_j w_j prod of the inputs in conjunct j (True = belongs to it)


def _sigma_pi(inputs: Tensor, conjuncts: Tensor, weights: Tensor) -> Tensor:
    factors = torch.where(conjuncts, inputs, 1.0)  # (conjuncts, inputs)
    return weights @ factors.prod(-1)


def _sigma_pi_cases(generator: torch.Generator) -> list[Case]:
    pairs = torch.tensor([[True, False, True, False], [False, True, False, True]])
    gate = torch.tensor([[True, True, True], [True, False, False]])
    return [
        {"inputs": _normal(generator, 4), "conjuncts": pairs, "weights": _normal(generator, 2)},
        {"inputs": _normal(generator, 3), "conjuncts": gate, "weights": _normal(generator, 2)},
        {
            "inputs": _normal(generator, 6),
            "conjuncts": torch.rand(5, 6, generator=generator) < 0.5,
            "weights": _normal(generator, 5),
        },
    ]


SIGMA_PI = Exercise(
    name="sigma-pi-unit",
    reference=_sigma_pi,
    cases=_sigma_pi_cases,
    mutants={
        "sums": Mutant(
            lambda inputs, conjuncts, weights: weights @ torch.where(conjuncts, inputs, 0.0).sum(-1),
            "the inputs of a conjunct are added: this is an ordinary unit, and no input can gate another.",
        ),
        "zeros outside": Mutant(
            lambda inputs, conjuncts, weights: weights @ torch.where(conjuncts, inputs, 0.0).prod(-1),
            "inputs outside a conjunct count as 0, and so does the product: leave them out, or take 1.",
        ),
        "all inputs": Mutant(
            lambda inputs, conjuncts, weights: weights.sum() * inputs.prod(),
            "every product runs over all inputs: only those that belong to the conjunct.",
        ),
        "no weights": Mutant(
            lambda inputs, conjuncts, weights: torch.where(conjuncts, inputs, 1.0).prod(-1).sum(),
            "the products are added with equal weight: `weights` says what each one counts.",
        ),
        "product of sums": Mutant(
            lambda inputs, conjuncts, weights: (
                weights * torch.where(conjuncts, inputs, 1.0).prod(-1)
            ).prod(),
            "the conjuncts are multiplied with each other: multiply inside each, and add the results.",
        ),
    },
)

# --- fast-weight-memory: S += k v^T, then o = S^T q, token by token


def _fast(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    return linear.fast_weights(query, key, value, mode="recurrent").output


def _stream_cases(generator: torch.Generator) -> list[Case]:
    return [
        {
            "query": _normal(generator, n, d),
            "key": _normal(generator, n, d),
            "value": _normal(generator, n, dv),
        }
        for n, d, dv in ((1, 2, 2), (4, 3, 2), (6, 2, 5))
    ]


def _read_first(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    scores = torch.tril(query @ key.mT, -1)
    return scores @ value


def _with_softmax(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    causal = torch.ones(len(query), len(key), dtype=torch.bool).tril()
    return attend(query, key, value, score=lambda q, k: q @ k.mT, mask=causal).output


FAST = Exercise(
    name="fast-weight-memory",
    reference=_fast,
    cases=_stream_cases,
    mutants={
        "softmax": Mutant(
            _with_softmax,
            "there is a softmax in it: the programmer of 1992 adds products as they are.",
        ),
        "reads before it writes": Mutant(
            _read_first,
            "a token reads before it has written: its own pair must be in the matrix already.",
        ),
        "sees the future": Mutant(
            lambda query, key, value: (query @ key.mT) @ value,
            "every token reads all pairs, later ones too: read after each write, not after the last.",
        ),
        "last pair only": Mutant(
            lambda query, key, value: (query * key).sum(-1, keepdim=True) * value,
            "the matrix holds the last pair only: add the outer product to what is there.",
        ),
        "key and query swapped": Mutant(
            lambda query, key, value: torch.tril(key @ query.mT) @ value,
            "queries are written and keys read: write with the key, read with the query.",
        ),
    },
)

# --- non-local-means: a row of grey values; weights from the patches around two places


def _patches(signal: Tensor, size: int) -> Tensor:
    """(n, size): what surrounds each place; beyond the ends the last value goes on."""
    n, reach = len(signal), size // 2
    places = torch.arange(n)[:, None] + torch.arange(-reach, reach + 1)
    return signal[places.clamp(0, n - 1)]


def _non_local(signal: Tensor, size: int, width: float) -> Tensor:
    around = _patches(signal, size)
    distance = (around[:, None, :] - around[None, :, :]).square().mean(-1)
    return torch.softmax(-distance / width**2, -1) @ signal


def _non_local_cases(generator: torch.Generator) -> list[Case]:
    stripes = torch.tensor([0.0, 0.0, 1.0, 1.0] * 3, dtype=torch.float64)
    noise = 0.1 * _normal(generator, 12)
    return [
        {"signal": stripes + noise, "size": 3, "width": 0.2},
        {"signal": torch.rand(8, generator=generator, dtype=torch.float64), "size": 5, "width": 0.5},
        {"signal": torch.rand(5, generator=generator, dtype=torch.float64), "size": 1, "width": 0.3},
    ]


def _with_patches(make, signal: Tensor, size: int, width: float) -> Tensor:
    around = make(signal, size)
    distance = (around[:, None, :] - around[None, :, :]).square().mean(-1)
    return torch.softmax(-distance / width**2, -1) @ signal


def _wrapped(signal: Tensor, size: int) -> Tensor:
    reach = size // 2
    return torch.stack([signal.roll(-shift) for shift in range(-reach, reach + 1)], -1)


def _ahead(signal: Tensor, size: int) -> Tensor:
    n = len(signal)
    return signal[(torch.arange(n)[:, None] + torch.arange(size)).clamp(0, n - 1)]


def _mean_of_patches(signal: Tensor, size: int, width: float) -> Tensor:
    around = _patches(signal, size)
    distance = (around[:, None, :] - around[None, :, :]).square().mean(-1)
    return (torch.softmax(-distance / width**2, -1) @ around).mean(-1)


def _sum_of_squares(signal: Tensor, size: int, width: float) -> Tensor:
    around = _patches(signal, size)
    distance = (around[:, None, :] - around[None, :, :]).square().sum(-1)
    return torch.softmax(-distance / width**2, -1) @ signal


NON_LOCAL = Exercise(
    name="non-local-means",
    reference=_non_local,
    cases=_non_local_cases,
    mutants={
        "pixels, not patches": Mutant(
            lambda signal, size, width: _non_local(signal, 1, width),
            "single values are compared: take the whole patch around each place.",
        ),
        "round the corner": Mutant(
            lambda signal, size, width: _with_patches(_wrapped, signal, size, width),
            "the signal is bent into a ring: beyond an end its last value goes on.",
        ),
        "patch ahead": Mutant(
            lambda signal, size, width: _with_patches(_ahead, signal, size, width),
            "the patch begins at its place: it has to be centred on it.",
        ),
        "sum": Mutant(
            _sum_of_squares,
            "the squared differences are added up: take their mean, so that a width fits any size of patch.",
        ),
        "patches averaged": Mutant(
            _mean_of_patches,
            "whole patches are averaged and then blurred: the values are the centres alone.",
        ),
    },
)

# --- delta-memory: S += k (v - S^T k)^T with keys of length 1; what a key finds after all writes


def _delta(key: Tensor, value: Tensor) -> Tensor:
    return linear.delta_rule(key, key, value, torch.ones(len(key), dtype=key.dtype)).state


def _delta_cases(generator: torch.Generator) -> list[Case]:
    twice = _unit(_normal(generator, 2, 3))
    return [
        {"key": _unit(_normal(generator, 3, 4)), "value": _normal(generator, 3, 2)},
        {"key": torch.cat([twice, twice]), "value": _normal(generator, 4, 2)},
        {"key": _unit(_normal(generator, 7, 3)), "value": _normal(generator, 7, 4)},
    ]


def _forget_all(key: Tensor, value: Tensor) -> Tensor:
    return torch.outer(key[-1], value[-1])


def _wrong_error(key: Tensor, value: Tensor) -> Tensor:
    state = torch.zeros(key.shape[1], value.shape[1], dtype=key.dtype)
    for k, v in zip(key, value, strict=True):
        state = state + torch.outer(k, v + state.mT @ k)
    return state


def _old_erased_everywhere(key: Tensor, value: Tensor) -> Tensor:
    state = torch.zeros(key.shape[1], value.shape[1], dtype=key.dtype)
    for k, v in zip(key, value, strict=True):
        state = state * (1 - k[:, None]) + torch.outer(k, v)
    return state


DELTA = Exercise(
    name="delta-memory",
    reference=_delta,
    cases=_delta_cases,
    mutants={
        "only adds": Mutant(
            lambda key, value: key.mT @ value,
            "it only adds: take away what the matrix holds for the key before you write.",
        ),
        "overwrites everything": Mutant(
            _forget_all,
            "each write wipes the whole matrix: only what is found under this key may go.",
        ),
        "adds the old": Mutant(
            _wrong_error,
            "what was found is added once more: the error is the new value minus the old one.",
        ),
        "erases by entry": Mutant(
            _old_erased_everywhere,
            "rows are erased one by one: what a key finds is a product with the whole matrix, $S^\\top k$.",
        ),
        "transposed": Mutant(
            lambda key, value: _delta(key, value).mT,
            "transposed: rows belong to the entries of a key, columns to those of a value.",
        ),
    },
)

EXERCISES = (REGRESSION, BILATERAL, SIGMA_PI, FAST, NON_LOCAL, DELTA)


def _normal(generator: torch.Generator, *shape: int) -> Tensor:
    return torch.randn(*shape, generator=generator, dtype=torch.float64)


def _unit(rows: Tensor) -> Tensor:
    return rows / rows.norm(dim=-1, keepdim=True)
