"""Exercises of the chapter "Scaled dot-product attention": float64 inputs, masks with True = may attend."""

from math import sqrt

import torch
from torch import Tensor

from attention_core import attend, masks, normalizers, scores
from attention_core.checks import Case, Exercise, Mutant

# --- scaled-attention: softmax(Q K^T / sqrt(d)) V


def _scaled(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    return attend(query, key, value).output


def _scaled_cases(generator: torch.Generator) -> list[Case]:
    return [
        {
            "query": size * _normal(generator, n, d),
            "key": size * _normal(generator, m, d),
            "value": _normal(generator, m, dv),
        }
        for n, m, d, dv, size in (
            (1, 3, 2, 2, 1.0),
            (2, 5, 4, 4, 1.0),
            (4, 2, 3, 5, 1.0),  # another width for the values, after two where they can be mistaken
            (3, 4, 2, 3, 100.0),  # rows so far apart that each needs its own maximum taken away
        )
    ]


def _weigh(query: Tensor, key: Tensor, divisor: float, axis: int = -1) -> Tensor:
    return torch.softmax(query @ key.mT / divisor, axis)


def _scaled_in_place(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    query /= sqrt(query.shape[-1])
    return torch.softmax(query @ key.mT, -1) @ value


def _scaled_overflow(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    exponentials = torch.exp(query @ key.mT / sqrt(query.shape[-1]))
    return exponentials / exponentials.sum(-1, keepdim=True) @ value


def _scaled_one_maximum(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    row_scores = query @ key.mT / sqrt(query.shape[-1])
    exponentials = torch.exp(row_scores - row_scores.max())
    return exponentials / exponentials.sum(-1, keepdim=True) @ value


SCALED = Exercise(
    name="scaled-attention",
    reference=_scaled,
    cases=_scaled_cases,
    mutants={
        "not scaled": Mutant(
            lambda query, key, value: _weigh(query, key, 1.0) @ value,
            "the scores are not divided by the square root of d.",
        ),
        "divided by d": Mutant(
            lambda query, key, value: _weigh(query, key, float(query.shape[-1])) @ value,
            "the scores are divided by d: the standard deviation of a sum of d terms is its square root.",
        ),
        "number of keys": Mutant(
            lambda query, key, value: _weigh(query, key, sqrt(key.shape[-2])) @ value,
            "divided by the root of the number of keys: d is the width, the last axis of the queries.",
        ),
        "number of queries": Mutant(
            lambda query, key, value: _weigh(query, key, sqrt(query.shape[-2])) @ value,
            "divided by the root of the number of queries: d is the width, the last axis of the queries.",
        ),
        "width of the values": Mutant(
            lambda query, key, value: _weigh(query, key, sqrt(value.shape[-1])) @ value,
            "divided by the root of the values' width: the scores are sums over the queries' width.",
        ),
        "multiplied": Mutant(
            lambda query, key, value: _weigh(query, key, 1 / sqrt(query.shape[-1])) @ value,
            "multiplied by the square root of d: divide, so that wide vectors do not score higher.",
        ),
        "softmax twice": Mutant(
            lambda query, key, value: torch.softmax(_weigh(query, key, sqrt(query.shape[-1])), -1) @ value,
            "the softmax is taken twice: what comes out of the first one are the weights.",
        ),
        "weights divided": Mutant(
            lambda query, key, value: _weigh(query, key, 1.0) @ value / sqrt(query.shape[-1]),
            "the division comes after the softmax: it belongs to the scores.",
        ),
        "wrong axis": Mutant(
            lambda query, key, value: _weigh(query, key, sqrt(query.shape[-1]), -2) @ value,
            "the softmax runs over the queries: each query shares 1 among the keys, the last axis.",
        ),
        "keys and values swapped": Mutant(
            lambda query, key, value: _weigh(query, value, sqrt(query.shape[-1])) @ key,
            "keys and values swapped: the keys are matched with the query, the values are mixed.",
        ),
        "hard max": Mutant(
            lambda query, key, value: value[(query @ key.mT).argmax(-1)],
            "this copies the value of the best key: a softmax mixes all of them.",
        ),
        "overflow": Mutant(_scaled_overflow, "Subtract each row's maximum"),
        "one maximum for all": Mutant(
            _scaled_one_maximum,
            "NaN in 67 % of entries: has exp overflowed? Subtract each row's maximum first.",
        ),
        "in place": Mutant(_scaled_in_place, "modified in place"),
    },
)

# --- causal-mask: query i of n sees key j of m where j <= i + m - n


def _lower_right(n: int, m: int) -> Tensor:
    return masks.causal(n, m, align="lower_right")


def _triangle(n: int, m: int, shift: int) -> Tensor:
    return torch.ones(n, m, dtype=torch.bool).tril(shift)


CAUSAL = Exercise(
    name="causal-mask",
    reference=_lower_right,
    cases=lambda generator: [{"n": n, "m": m} for n, m in ((3, 3), (2, 5), (1, 4), (4, 2))],
    mutants={
        "upper left": Mutant(
            lambda n, m: _triangle(n, m, 0),
            "aligned at the upper left: the last query is the newest token and must see the last key.",
        ),
        "not itself": Mutant(
            lambda n, m: _triangle(n, m, m - n - 1),
            "off by one: a query sees its own position too.",
        ),
        "one ahead": Mutant(
            lambda n, m: _triangle(n, m, m - n + 1),
            "off by one: every query sees one position of its future.",
        ),
        "inverted": Mutant(
            lambda n, m: ~_triangle(n, m, m - n),
            "the mask is inverted: True means that the query may attend.",
        ),
        "upper triangle": Mutant(
            lambda n, m: torch.ones(n, m, dtype=torch.bool).triu(m - n),
            "this is the upper triangle: the past has the smaller positions, on the left.",
        ),
        "shift reversed": Mutant(
            lambda n, m: _triangle(n, m, n - m),
            "the shift has the wrong sign: m - n keys came before the first query.",
        ),
        "never empty": Mutant(
            lambda n, m: _triangle(n, m, max(m - n, 0)),
            "right where n <= m; with more queries than keys the first ones come before every key.",
        ),
        "numbers": Mutant(
            lambda n, m: _triangle(n, m, m - n).double(),
            "numbers in place of truth values, torch.float64; expected torch.bool: compare with <=.",
        ),
        "bias": Mutant(
            lambda n, m: torch.zeros(n, m).masked_fill(~_triangle(n, m, m - n), -torch.inf),
            "this is a bias, to be added to scores: a mask is boolean, True = may attend.",
        ),
    },
)

# --- causal-self-attention: attend(X W_Q, X W_K, X W_V) under a causal mask


def _projected_scores(x: Tensor, w_query: Tensor, w_key: Tensor) -> Tensor:
    return scores.scaled_dot(x @ w_query, x @ w_key)


def _causal_self(x: Tensor, w_query: Tensor, w_key: Tensor, w_value: Tensor, shift: int = 0) -> Tensor:
    row_scores = _projected_scores(x, w_query, w_key)
    return normalizers.softmax(row_scores, _triangle(len(x), len(x), shift)) @ (x @ w_value)


def _self_cases(generator: torch.Generator) -> list[Case]:
    return [
        {
            "x": _normal(generator, n, width),
            "w_query": _normal(generator, width, d),
            "w_key": _normal(generator, width, d),
            "w_value": _normal(generator, width, dv),
        }
        for n, width, d, dv in ((2, 3, 2, 3), (4, 3, 4, 2), (5, 2, 3, 2))
    ]


def _zeroed_after(x: Tensor, w_query: Tensor, w_key: Tensor, w_value: Tensor) -> Tensor:
    shares = torch.softmax(_projected_scores(x, w_query, w_key), -1)
    return shares.tril() @ (x @ w_value)


def _upside_down(x: Tensor, w_query: Tensor, w_key: Tensor, w_value: Tensor) -> Tensor:
    ahead = _triangle(len(x), len(x), 0).mT
    return normalizers.softmax(_projected_scores(x, w_query, w_key), ahead) @ (x @ w_value)


def _score_zero(x: Tensor, w_query: Tensor, w_key: Tensor, w_value: Tensor) -> Tensor:
    return torch.softmax(_projected_scores(x, w_query, w_key).tril(), -1) @ (x @ w_value)


def _self_in_place(x: Tensor, w_query: Tensor, w_key: Tensor, w_value: Tensor) -> Tensor:
    answer = _causal_self(x, w_query, w_key, w_value)
    w_query /= sqrt(w_query.shape[-1])
    return answer


def _self_hard(x: Tensor, w_query: Tensor, w_key: Tensor, w_value: Tensor) -> Tensor:
    past = _triangle(len(x), len(x), 0)
    best = _projected_scores(x, w_query, w_key).masked_fill(~past, -torch.inf).argmax(-1)
    return (x @ w_value)[best]


CAUSAL_SELF = Exercise(
    name="causal-self-attention",
    reference=_causal_self,
    cases=_self_cases,
    mutants={
        "no mask": Mutant(
            lambda x, w_query, w_key, w_value: attend(x @ w_query, x @ w_key, x @ w_value).output,
            "there is no mask: every row reads the whole sequence, its future included.",
        ),
        "zeroed after": Mutant(
            _zeroed_after,
            "masked after the softmax: the future still stands in the denominator of every row.",
        ),
        "score zero": Mutant(
            _score_zero,
            "a forbidden score was set to 0, and exp(0) = 1: minus infinity is the score with weight 0.",
        ),
        "not itself": Mutant(
            lambda x, w_query, w_key, w_value: _causal_self(x, w_query, w_key, w_value, -1),
            "off by one: a token sees itself too, so the first row is not empty.",
        ),
        "one ahead": Mutant(
            lambda x, w_query, w_key, w_value: _causal_self(x, w_query, w_key, w_value, 1),
            "off by one: every token sees the next one.",
        ),
        "upside down": Mutant(
            _upside_down, "the triangle is upside down: each token sees itself and its future."
        ),
        "not scaled": Mutant(
            lambda x, w_query, w_key, w_value: _causal_self(
                x, w_query * sqrt(w_query.shape[-1]), w_key, w_value
            ),
            "the scores are not divided by the square root of d, the width of the queries.",
        ),
        "width of the tokens": Mutant(
            lambda x, w_query, w_key, w_value: _causal_self(
                x, w_query * sqrt(w_query.shape[-1] / x.shape[-1]), w_key, w_value
            ),
            "divided by the root of the tokens' width: d is the width after projection.",
        ),
        "divided by d": Mutant(
            lambda x, w_query, w_key, w_value: _causal_self(
                x, w_query / sqrt(w_query.shape[-1]), w_key, w_value
            ),
            "divided by d: it is the square root of d, the width of the queries.",
        ),
        "length of the text": Mutant(
            lambda x, w_query, w_key, w_value: _causal_self(
                x, w_query * sqrt(w_query.shape[-1] / len(x)), w_key, w_value
            ),
            "divided by the root of the number of tokens: d is the width after projection.",
        ),
        "hard max": Mutant(
            _self_hard, "this copies the value of the best past token: a softmax mixes all of them."
        ),
        "roles swapped": Mutant(
            lambda x, w_query, w_key, w_value: _causal_self(x, w_key, w_query, w_value),
            "queries and keys swapped: rows of the scores belong to x @ w_query.",
        ),
        "values not projected": Mutant(
            lambda x, w_query, w_key, w_value: _causal_self(x, w_query, w_key, torch.eye(x.shape[-1]).to(x)),
            "the tokens themselves are mixed: mix their values, x @ w_value.",
        ),
        "in place": Mutant(_self_in_place, "modified in place"),
    },
)

# --- packed-mask: several documents in one row, each causal by itself


def _packed(ids: Tensor) -> Tensor:
    return masks.document(ids) & masks.causal(len(ids))


def _packed_cases(generator: torch.Generator) -> list[Case]:
    rows = ([0, 0, 1, 1, 1], [3, 3, 1, 2, 2, 2], [5], [0, 0, 0, 0])
    return [{"ids": torch.tensor(row)} for row in rows]


PACKED = Exercise(
    name="packed-mask",
    reference=_packed,
    cases=_packed_cases,
    mutants={
        "not causal": Mutant(
            lambda ids: masks.document(ids),
            "the documents are kept apart, but inside each the future is visible.",
        ),
        "one document": Mutant(
            lambda ids: masks.causal(len(ids)),
            "this is one causal triangle: a document must not read the one before it.",
        ),
        "not itself": Mutant(
            lambda ids: _packed(ids).tril(-1),
            "off by one: a query sees its own position too.",
        ),
        "later documents": Mutant(
            lambda ids: masks.causal(len(ids)) & (ids[:, None] >= ids[None, :]),
            "ids are compared by size: they are names, so compare them for equality.",
        ),
        "upside down": Mutant(
            lambda ids: masks.document(ids) & masks.causal(len(ids)).mT,
            "the triangle is upside down: each token sees itself and the rest of its document.",
        ),
        "inverted": Mutant(
            lambda ids: ~_packed(ids),
            "the mask is inverted: True means that the query may attend.",
        ),
        "either": Mutant(
            lambda ids: masks.document(ids) | masks.causal(len(ids)),
            "joined by *or*: a pair has to be in one document *and* in causal order.",
        ),
    },
)

# --- jacobian-norm: the Frobenius norm of diag(w) - w w^T for each row


def _jacobian_norm(weights: Tensor) -> Tensor:
    full = torch.diag_embed(weights) - weights[:, :, None] * weights[:, None, :]
    return torch.linalg.matrix_norm(full)


def _norm_cases(generator: torch.Generator) -> list[Case]:
    edges = torch.tensor([[1.0, 0.0, 0.0], [0.5, 0.5, 0.0], [0.25, 0.5, 0.25]], dtype=torch.float64)
    return [
        {"weights": edges},
        *({"weights": torch.softmax(_normal(generator, n, m), -1)} for n, m in ((3, 3), (2, 5), (4, 2))),
    ]


def _norm_by_sums(weights: Tensor, axis: int = -1) -> Tensor:
    squares, cubes = weights.square().sum(axis), weights.pow(3).sum(axis)
    return squares - 2 * cubes + squares.square()


def _norm_in_place(weights: Tensor) -> Tensor:
    answer = _jacobian_norm(weights)
    weights.square_()
    return answer


JACOBIAN_NORM = Exercise(
    name="jacobian-norm",
    reference=_jacobian_norm,
    cases=_norm_cases,
    mutants={
        "no root": Mutant(_norm_by_sums, "this is the square of the norm: the root is missing."),
        "trace": Mutant(
            lambda weights: 1 - weights.square().sum(-1),
            "this is the trace, the sum of the diagonal: the norm takes squares of all entries.",
        ),
        "diagonal only": Mutant(
            lambda weights: (weights * (1 - weights)).norm(dim=-1),
            "only the diagonal is counted: off it stand m(m - 1) products of two weights.",
        ),
        "outer product only": Mutant(
            lambda weights: weights.square().sum(-1),
            "this is the norm of the outer product alone: the term diag(w) is missing.",
        ),
        "spectral": Mutant(
            lambda weights: torch.linalg.matrix_norm(
                torch.diag_embed(weights) - weights[:, :, None] * weights[:, None, :], ord=2
            ),
            "this is the largest singular value: the Frobenius norm is the root of the sum of squares.",
        ),
        "wrong axis": Mutant(
            lambda weights: _norm_by_sums(weights, 0).clamp_min(0).sqrt(),
            "the sums run down the columns: each row of weights has a Jacobian of its own.",
        ),
        "in place": Mutant(_norm_in_place, "modified in place"),
    },
)

# --- cosine-scores: g cos(q_i, k_j)


def _cosine(query: Tensor, key: Tensor, gain: float) -> Tensor:
    return gain * scores.cosine(query, key)


def _cosine_cases(generator: torch.Generator) -> list[Case]:
    return [
        {
            "query": size * _normal(generator, n, d),
            "key": _normal(generator, m, d),
            "gain": gain,
        }
        for n, m, d, size, gain in ((1, 3, 2, 1.0, 1.5), (3, 2, 4, 1.0, 8.0), (2, 4, 3, 100.0, 0.5))
    ]


def _unit(x: Tensor, axis: int = -1) -> Tensor:
    return x / x.norm(dim=axis, keepdim=True)


def _cosine_in_place(query: Tensor, key: Tensor, gain: float) -> Tensor:
    query /= query.norm(dim=-1, keepdim=True)
    return gain * query @ _unit(key).mT


COSINE = Exercise(
    name="cosine-scores",
    reference=_cosine,
    cases=_cosine_cases,
    mutants={
        "keys as they are": Mutant(
            lambda query, key, gain: gain * _unit(query) @ key.mT,
            "the keys keep their lengths: a long key would still win everywhere.",
        ),
        "queries as they are": Mutant(
            lambda query, key, gain: gain * query @ _unit(key).mT,
            "the queries keep their lengths: a long query still sharpens its row without bound.",
        ),
        "no gain": Mutant(
            lambda query, key, gain: _unit(query) @ _unit(key).mT,
            "the gain is missing: scores between -1 and 1 can only give weights that are nearly equal.",
        ),
        "divided by the gain": Mutant(
            lambda query, key, gain: _unit(query) @ _unit(key).mT / gain,
            "divided by the gain: a large gain has to sharpen.",
        ),
        "square root as well": Mutant(
            lambda query, key, gain: gain * _unit(query) @ _unit(key).mT / sqrt(query.shape[-1]),
            "divided by the square root of d as well: cosines do not grow with the width.",
        ),
        "squared lengths": Mutant(
            lambda query, key, gain: (
                gain * scores.dot(query, key) / (query.square().sum(-1)[:, None] * key.square().sum(-1))
            ),
            "divided by squared lengths: the root is missing.",
        ),
        "one length for all": Mutant(
            lambda query, key, gain: gain * query / query.norm() @ (key / key.norm()).mT,
            "one length for the whole matrix: each token's own vector, the last axis, gets length 1.",
        ),
        "sum of sizes": Mutant(
            lambda query, key, gain: (
                gain * query / query.abs().sum(-1, keepdim=True) @ (key / key.abs().sum(-1, keepdim=True)).mT
            ),
            "divided by the sum of absolute entries: the length is the root of the sum of squares.",
        ),
        "along the sequence": Mutant(
            lambda query, key, gain: gain * _unit(query, -2) @ _unit(key, -2).mT,
            "normalised along the sequence: each token's own vector, the last axis, gets length 1.",
        ),
        "in place": Mutant(_cosine_in_place, "modified in place"),
    },
)

EXERCISES = (SCALED, CAUSAL, CAUSAL_SELF, PACKED, JACOBIAN_NORM, COSINE)


def _normal(generator: torch.Generator, *shape: int) -> Tensor:
    return torch.randn(*shape, generator=generator, dtype=torch.float64)
