"""Exercises of the chapter "The alignment matrix": float64 inputs, boolean masks with True = may attend."""

from functools import partial

import torch
from torch import Tensor

from attention_core import attend, normalizers, scores
from attention_core.checks import Case, Exercise, Mutant

# --- context-vector: c = sum_j a_j h_j


def _context(weights: Tensor, states: Tensor) -> Tensor:
    return torch.einsum("j,jd->d", weights, states)


def _context_cases(generator: torch.Generator) -> list[Case]:
    classic = {
        "weights": torch.tensor([0.11, 0.01, 0.88], dtype=torch.float64),
        "states": torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]], dtype=torch.float64),
    }
    sizes = ((4, 3), (5, 2), (3, 3))
    return [
        classic,
        *({"weights": _weights(generator, m), "states": _normal(generator, m, d)} for m, d in sizes),
    ]


def _context_in_place(weights: Tensor, states: Tensor) -> Tensor:
    states *= weights[:, None]
    return states.sum(0)


CONTEXT = Exercise(
    name="context-vector",
    reference=_context,
    cases=_context_cases,
    mutants={
        "plain mean": Mutant(
            lambda weights, states: states.mean(0),
            "this is the plain mean of the states: the weights are not used.",
        ),
        "hard max": Mutant(
            lambda weights, states: states[weights.argmax()].clone(),
            "this copies the state of the strongest word: a soft lookup mixes all of them.",
        ),
        "mean of products": Mutant(
            lambda weights, states: (weights[:, None] * states).mean(0),
            "the products are averaged: the weights sum to 1 already, so add and do not divide again.",
        ),
        "wrong axis": Mutant(
            lambda weights, states: (weights[:, None] * states).sum(1),
            "the sum runs over the components of each state: add over the words, which are the first axis.",
        ),
        "in place": Mutant(_context_in_place, "modified in place"),
    },
)

# --- recover-scores: softmax(s) = a, each row of s with mean 0


def _centred_log(weights: Tensor) -> Tensor:
    logs = weights.log()
    return logs - logs.mean(-1, keepdim=True)


def _recover_cases(generator: torch.Generator) -> list[Case]:
    return [{"weights": _weights(generator, n, m)} for n, m in ((1, 3), (3, 3), (2, 5))]


def _recover_in_place(weights: Tensor) -> Tensor:
    weights.log_()
    return weights - weights.mean(-1, keepdim=True)


RECOVER = Exercise(
    name="recover-scores",
    reference=_centred_log,
    cases=_recover_cases,
    mutants={
        "not centred": Mutant(
            lambda weights: weights.log(),
            "softmax undoes this, but the rows do not have mean 0: subtract each row's mean.",
        ),
        "base 2": Mutant(
            lambda weights: weights.log2() - weights.log2().mean(-1, keepdim=True),
            "the logarithm has base 2: softmax uses e, so it needs the natural one.",
        ),
        "centred by column": Mutant(
            lambda weights: weights.log() - weights.log().mean(0, keepdim=True),
            "the mean is taken down the columns: only a shift of a whole row is free.",
        ),
        "no logarithm": Mutant(
            lambda weights: weights - weights.mean(-1, keepdim=True),
            "these are centred weights, not scores: what does exp have to be undone by?",
        ),
        "in place": Mutant(_recover_in_place, "modified in place"),
    },
)

# --- soft-alignment: softmax(Q K^T / T) V


def _soft_alignment(query: Tensor, key: Tensor, value: Tensor, temperature: float) -> Tensor:
    softmax = partial(normalizers.softmax, temperature=temperature)
    return attend(query, key, value, score=scores.dot, normalize=softmax).output


def _alignment_cases(generator: torch.Generator) -> list[Case]:
    return [
        {
            "query": size * _normal(generator, n, 3),
            "key": size * _normal(generator, m, 3),
            "value": _normal(generator, m, 3),
            "temperature": temperature,
        }
        for n, m, temperature, size in (
            (1, 3, 1.0, 1.0),
            (2, 4, 0.5, 1.0),
            (4, 2, 3.0, 1.0),
            (3, 5, 2.0, 40.0),
        )
    ]


def _alignment_in_place(query: Tensor, key: Tensor, value: Tensor, temperature: float) -> Tensor:
    query /= temperature
    return torch.softmax(query @ key.mT, -1) @ value


def _alignment_overflow(query: Tensor, key: Tensor, value: Tensor, temperature: float) -> Tensor:
    exponentials = torch.exp(query @ key.mT / temperature)
    return exponentials / exponentials.sum(-1, keepdim=True) @ value


SOFT_ALIGNMENT = Exercise(
    name="soft-alignment",
    reference=_soft_alignment,
    cases=_alignment_cases,
    mutants={
        "temperature multiplied": Mutant(
            lambda query, key, value, temperature: torch.softmax(query @ key.mT * temperature, -1) @ value,
            "temperature multiplied instead of divided: a high temperature must flatten the weights.",
        ),
        "temperature ignored": Mutant(
            lambda query, key, value, temperature: torch.softmax(query @ key.mT, -1) @ value,
            "the temperature is not used: divide the scores by it.",
        ),
        "weights divided": Mutant(
            lambda query, key, value, temperature: torch.softmax(query @ key.mT, -1) @ value / temperature,
            "the temperature divides the result: it must divide the scores, before the softmax.",
        ),
        "keys and values swapped": Mutant(
            lambda query, key, value, temperature: torch.softmax(query @ value.mT / temperature, -1) @ key,
            "keys and values swapped: the keys are matched with the query, the values are mixed.",
        ),
        "wrong axis": Mutant(
            lambda query, key, value, temperature: torch.softmax(query @ key.mT / temperature, -2) @ value,
            "the softmax runs over the queries: each query shares 1 among the keys, the last axis.",
        ),
        "hard max": Mutant(
            lambda query, key, value, temperature: value[(query @ key.mT).argmax(-1)],
            "this copies the value of the best key: that is the limit of temperature 0.",
        ),
        "scaled": Mutant(
            lambda query, key, value, temperature: _soft_alignment(query, key, value, temperature * 3**0.5),
            "the scores are divided by the square root of d as well: here only by the temperature.",
        ),
        "overflow": Mutant(_alignment_overflow, "Subtract each row's maximum"),
        "in place": Mutant(_alignment_in_place, "modified in place"),
    },
)

# --- masked-weights: softmax over the allowed scores, zero elsewhere


def _masked(scores: Tensor, mask: Tensor) -> Tensor:
    return normalizers.softmax(scores, mask)


def _masked_cases(generator: torch.Generator) -> list[Case]:
    ragged = torch.tensor([[True, True, False], [True, False, False]])
    empty = torch.tensor(
        [[True, True, False, True], [False, False, False, False], [False, True, True, False]]
    )
    return [
        {"scores": _normal(generator, 2, 3), "mask": ragged},
        {"scores": _normal(generator, 2, 3), "mask": torch.ones(2, 3, dtype=torch.bool)},
        {"scores": _normal(generator, 3, 4), "mask": empty},
        {"scores": 1000 * _normal(generator, 2, 3), "mask": ragged},
    ]


def _masked_in_place(scores: Tensor, mask: Tensor) -> Tensor:
    scores[~mask] = -torch.inf
    return torch.softmax(scores, -1).nan_to_num(0.0)


def _masked_overflow(scores: Tensor, mask: Tensor) -> Tensor:
    exponentials = torch.exp(scores) * mask
    return exponentials / exponentials.sum(-1, keepdim=True).clamp_min(1e-300)


MASKED = Exercise(
    name="masked-weights",
    reference=_masked,
    cases=_masked_cases,
    weights=True,
    mutants={
        "score zero": Mutant(
            lambda scores, mask: torch.softmax(scores * mask, -1),
            "a forbidden score was set to 0, and exp(0) = 1: minus infinity is the score with weight 0.",
        ),
        "inverted mask": Mutant(
            lambda scores, mask: torch.softmax(scores.masked_fill(mask, -torch.inf), -1).nan_to_num(0.0),
            "the mask is inverted: True means that the query may attend.",
        ),
        "large negative": Mutant(
            lambda scores, mask: torch.softmax(scores.masked_fill(~mask, -1e9), -1),
            "a row with nothing allowed came out uniform: a large negative score is not minus infinity.",
        ),
        "not renormalised": Mutant(
            lambda scores, mask: torch.softmax(scores, -1) * mask,
            "masked after the softmax: the weights that are left must be shared out anew, to sum to 1.",
        ),
        "empty row divides by zero": Mutant(
            lambda scores, mask: torch.softmax(scores.masked_fill(~mask, -torch.inf), -1),
            "dividing by a row sum that is 0",
        ),
        "overflow": Mutant(_masked_overflow, "Subtract each row's maximum"),
        "wrong axis": Mutant(
            lambda scores, mask: torch.softmax(scores.masked_fill(~mask, -torch.inf), -2).nan_to_num(0.0),
            "the softmax runs over the queries: each query shares 1 among the keys, the last axis.",
        ),
        "in place": Mutant(_masked_in_place, "modified in place"),
    },
)

# --- additive-scores: e_ij = v^T tanh(W_q q_i + W_k k_j)


def _additive_cases(generator: torch.Generator) -> list[Case]:
    return [
        {
            "query": _normal(generator, n, dq),
            "key": _normal(generator, m, dk),
            "w_query": _normal(generator, hidden, dq),
            "w_key": _normal(generator, hidden, dk),
            "v": _normal(generator, hidden),
        }
        for n, m, dq, dk, hidden in ((1, 2, 2, 2, 3), (3, 2, 2, 4, 5), (2, 4, 3, 2, 3))
    ]


def _pairs(query: Tensor, key: Tensor, w_query: Tensor, w_key: Tensor) -> Tensor:
    return (query @ w_query.mT)[:, None, :] + (key @ w_key.mT)[None, :, :]  # (n, m, hidden)


ADDITIVE = Exercise(
    name="additive-scores",
    reference=scores.additive,
    cases=_additive_cases,
    mutants={
        "no v": Mutant(
            lambda query, key, w_query, w_key, v: torch.tanh(_pairs(query, key, w_query, w_key)).sum(-1),
            "the hidden units are added with equal weight: `v` decides what each one counts.",
        ),
        "no tanh": Mutant(
            lambda query, key, w_query, w_key, v: _pairs(query, key, w_query, w_key) @ v,
            "there is no tanh: then the query only shifts its whole row, and the weights ignore it.",
        ),
        "tanh apart": Mutant(
            lambda query, key, w_query, w_key, v: (
                (torch.tanh(query @ w_query.mT) @ v)[:, None] + (torch.tanh(key @ w_key.mT) @ v)[None, :]
            ),
            "tanh is applied to query and key apart: add first, so that it sees the pair.",
        ),
        "v inside": Mutant(
            lambda query, key, w_query, w_key, v: torch.tanh(_pairs(query, key, w_query, w_key) @ v),
            "`v` is inside the tanh: it weighs the hidden units after it.",
        ),
        "transposed": Mutant(
            lambda query, key, w_query, w_key, v: (torch.tanh(_pairs(query, key, w_query, w_key)) @ v).mT,
            "transposed: rows are queries, columns are keys.",
        ),
    },
)

# --- relative-links: link every source word with at least `share` of its row's largest weight


def _relative_links(weights: Tensor, share: float) -> Tensor:
    largest = weights.max(-1, keepdim=True).values
    return (weights >= share * largest) & (weights > 0)


def _link_cases(generator: torch.Generator) -> list[Case]:
    padded = torch.tensor([[0.7, 0.3, 0.0], [0.0, 0.0, 0.0]], dtype=torch.float64)
    tied = torch.tensor([[0.5, 0.25, 0.25], [0.2, 0.4, 0.4]], dtype=torch.float64)
    return [
        {"weights": _weights(generator, 3, 3), "share": 0.5},
        {"weights": tied, "share": 0.5},
        {"weights": _weights(generator, 4, 6), "share": 1.0},
        {"weights": _weights(generator, 5, 4), "share": 0.25},
        {"weights": padded, "share": 0.3},
    ]


RELATIVE_LINKS = Exercise(
    name="relative-links",
    reference=_relative_links,
    cases=_link_cases,
    mutants={
        "absolute threshold": Mutant(
            lambda weights, share: weights >= share,
            "weights are compared with `share` itself: compare with `share` times the largest of the row.",
        ),
        "column maximum": Mutant(
            lambda weights, share: (weights >= share * weights.max(-2, keepdim=True).values) & (weights > 0),
            "the maximum is taken down the columns: each target word, a row, has its own.",
        ),
        "strict": Mutant(
            lambda weights, share: weights > share * weights.max(-1, keepdim=True).values,
            "`at least` includes equality: with a share of 1 the largest weight itself must be linked.",
        ),
        "empty row linked": Mutant(
            lambda weights, share: weights >= share * weights.max(-1, keepdim=True).values,
            "a row of zeros links to everything, because 0 >= 0: a weight of 0 is never a link.",
        ),
        "argmax only": Mutant(
            lambda weights, share: torch.zeros_like(weights, dtype=torch.bool).scatter(
                -1, weights.argmax(-1, keepdim=True), True
            ),
            "one link a row: that is the argmax, which `share` was to loosen.",
        ),
    },
)

# --- softmax-jacobian: d softmax(s / T)_i / d s_j = (p_i [i = j] - p_i p_j) / T


def _jacobian(weights: Tensor, temperature: float) -> Tensor:
    return (torch.diag(weights) - torch.outer(weights, weights)) / temperature


def _jacobian_cases(generator: torch.Generator) -> list[Case]:
    classic = torch.tensor([0.11, 0.01, 0.88], dtype=torch.float64)
    return [
        {"weights": classic, "temperature": 1.0},
        {"weights": _weights(generator, 4), "temperature": 0.5},
        {"weights": _weights(generator, 2), "temperature": 3.0},
    ]


JACOBIAN = Exercise(
    name="softmax-jacobian",
    reference=_jacobian,
    cases=_jacobian_cases,
    mutants={
        "no temperature": Mutant(
            lambda weights, temperature: torch.diag(weights) - torch.outer(weights, weights),
            "the temperature is missing: the chain rule brings the derivative of s / T.",
        ),
        "temperature multiplied": Mutant(
            lambda weights, temperature: (torch.diag(weights) - torch.outer(weights, weights)) * temperature,
            "temperature multiplied instead of divided: the derivative of s / T is 1 / T.",
        ),
        "diagonal only": Mutant(
            lambda weights, temperature: torch.diag(weights * (1 - weights)) / temperature,
            "only the diagonal is filled: raising one score also lowers every other weight.",
        ),
        "wrong sign": Mutant(
            lambda weights, temperature: (torch.outer(weights, weights) - torch.diag(weights)) / temperature,
            "the sign is turned round: raising a score must raise its own weight.",
        ),
        "no diagonal": Mutant(
            lambda weights, temperature: -torch.outer(weights, weights) / temperature,
            "the term diag(p) is missing: do the rows of your Jacobian sum to 0?",
        ),
    },
)

EXERCISES = (CONTEXT, RECOVER, SOFT_ALIGNMENT, MASKED, ADDITIVE, RELATIVE_LINKS, JACOBIAN)


def _normal(generator: torch.Generator, *shape: int) -> Tensor:
    return torch.randn(*shape, generator=generator, dtype=torch.float64)


def _weights(generator: torch.Generator, *shape: int) -> Tensor:
    return torch.softmax(_normal(generator, *shape), -1)
