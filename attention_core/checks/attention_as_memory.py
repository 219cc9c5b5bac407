"""Exercises of the chapter "Attention as a memory that is written to": float64 inputs, all causal."""

from math import sqrt

import torch
from torch import Tensor

from attention_core import linear
from attention_core.checks import Case, Exercise, Mutant

# --- linear-average: sum_{j <= t} (phi_t . phi_j) v_j / sum_{j <= t} (phi_t . phi_j), features given


def _average(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    return linear.linear_attention(query, key, value, feature_map=lambda x: x).output


def _feature_cases(generator: torch.Generator) -> list[Case]:
    sizes = ((2, 3, 2), (4, 2, 3), (5, 6, 1))
    return [
        {
            "query": _uniform(generator, n, r),
            "key": _uniform(generator, n, r),
            "value": _normal(generator, n, dv),
        }
        for n, r, dv in sizes
    ]


def _averaged(query: Tensor, key: Tensor, value: Tensor, *, mask=lambda w: w.tril(), total=None) -> Tensor:
    """The right sum, with another mask or another denominator."""
    weights = mask(query @ key.mT)
    return weights @ value / (weights.sum(-1, keepdim=True) if total is None else total(weights))


LINEAR_AVERAGE = Exercise(
    name="linear-average",
    reference=_average,
    cases=_feature_cases,
    mutants={
        "not divided": Mutant(
            lambda query, key, value: _averaged(query, key, value, total=lambda w: 1.0),
            "this is the sum: divide each row by the sum of its weights.",
        ),
        "not causal": Mutant(
            lambda query, key, value: _averaged(query, key, value, mask=lambda w: w),
            "every token reads the whole sequence: token t may use what was written up to t.",
        ),
        "future in the total": Mutant(
            lambda query, key, value: (
                (query @ key.mT).tril() @ value / (query @ key.mT).sum(-1, keepdim=True)
            ),
            "the denominator holds later keys: mask before you sum.",
        ),
        "divided by the count": Mutant(
            lambda query, key, value: _averaged(
                query, key, value, total=lambda w: torch.arange(1.0, len(w) + 1, dtype=w.dtype)[:, None]
            ),
            "divided by the number of tokens: the weights do not sum to it.",
        ),
        "softmax again": Mutant(
            lambda query, key, value: _averaged(
                query, key, value, mask=lambda w: torch.softmax(w.masked_fill(w.tril() == 0, -torch.inf), -1)
            ),
            "there is a softmax in it: the products of features are the weights already.",
        ),
        "reads before it writes": Mutant(
            lambda query, key, value: _averaged(
                query,
                key,
                value,
                mask=lambda w: w.tril(-1),
                total=lambda w: w.sum(-1, keepdim=True).clamp_min(1e-30),
            ),
            "a token does not read its own pair: write first, then read.",
        ),
    },
)

# --- random-features: phi(x) = e^{W x' - |x'|^2 / 2} / sqrt r with x' = x / d^{1/4}


def _features(x: Tensor, projection: Tensor) -> Tensor:
    return linear.features.log_positive_features(x, projection).exp()


def _projection_cases(generator: torch.Generator) -> list[Case]:
    return [
        {"x": _normal(generator, n, d), "projection": _normal(generator, r, d)}
        for n, d, r in ((1, 2, 3), (3, 4, 6), (4, 9, 2))
    ]


def _positive(x: Tensor, projection: Tensor, *, width=0.25, norm=0.5, by=0.5) -> Tensor:
    """The right features, with other powers of d and r and another share of the squared length."""
    features, d = projection.shape
    x = x / d**width
    return (x @ projection.mT - norm * x.square().sum(-1, keepdim=True)).exp() / features**by


RANDOM_FEATURES = Exercise(
    name="random-features",
    reference=_features,
    cases=_projection_cases,
    mutants={
        "no scale": Mutant(
            lambda x, projection: _positive(x, projection, width=0),
            "x is not scaled: e^(q.k / sqrt d) needs a fourth root of d on either side.",
        ),
        "square root of d": Mutant(
            lambda x, projection: _positive(x, projection, width=0.5),
            "x is divided by the square root of d, and so is the other side: together that is d.",
        ),
        "no length": Mutant(
            lambda x, projection: _positive(x, projection, norm=0),
            "the squared length is missing: the mean of e^(w.x) alone is e^(|x|^2 / 2).",
        ),
        "whole length": Mutant(
            lambda x, projection: _positive(x, projection, norm=1),
            "the squared length is to be halved.",
        ),
        "not averaged": Mutant(
            lambda x, projection: _positive(x, projection, by=0),
            "a mean over r rows needs a 1/r, a square root of it in each of the two factors.",
        ),
        "averaged twice": Mutant(
            lambda x, projection: _positive(x, projection, by=1),
            "1/r in each factor is 1/r^2 in the product.",
        ),
        "length of the scaled rows only": Mutant(
            lambda x, projection: (
                (x @ projection.mT / projection.shape[1] ** 0.25 - x.square().sum(-1, keepdim=True) / 2).exp()
                / sqrt(len(projection))
            ),
            "the length is that of x before scaling: both terms need the scaled x.",
        ),
    },
)

# --- survival-matrix: product of the decays after j up to i, for j <= i


def _survival(decay: Tensor) -> Tensor:
    n = len(decay)
    rows = [
        [decay[j + 1 : i + 1].prod() if j <= i else decay.new_zeros(()) for j in range(n)] for i in range(n)
    ]
    return torch.stack([torch.stack(row) for row in rows])


def _decay_cases(generator: torch.Generator) -> list[Case]:
    cases = [{"decay": 0.2 + 0.8 * _uniform(generator, n)} for n in (2, 4, 5)]
    cases[-1]["decay"][2] = 0.0  # a gate that shuts
    return cases


def _by_logarithms(decay: Tensor) -> Tensor:
    total = decay.log().cumsum(0)
    return (total[:, None] - total[None, :]).exp().tril()


def _between(decay: Tensor, first: int, last: int) -> Tensor:
    """Products from `first` after j to `last` after i."""
    n = len(decay)
    rows = [[decay[j + first : i + last].prod() for j in range(n)] for i in range(n)]
    return torch.stack([torch.stack(row) for row in rows]).tril()


SURVIVAL = Exercise(
    name="survival-matrix",
    reference=_survival,
    cases=_decay_cases,
    mutants={
        "by logarithms": Mutant(_by_logarithms, "an input holds 0: is its logarithm taken, or divided by?"),
        "own gate too": Mutant(
            lambda decay: _between(decay, 0, 1),
            "a pair is weakened by the gate of its own token: the memory decays before it is written to.",
        ),
        "one gate short": Mutant(
            lambda decay: _between(decay, 1, 0),
            "the gate of the reading token is missing: the memory decays before it is read.",
        ),
        "transposed": Mutant(
            lambda decay: _survival(decay).mT,
            "it is transposed: rows read, columns were written.",
        ),
        "the future too": Mutant(
            lambda decay: torch.where(
                torch.ones(len(decay), len(decay), dtype=torch.bool).tril(),
                _survival(decay),
                torch.ones((), dtype=decay.dtype),
            ),
            "above the diagonal stand ones: what is not written yet has no share.",
        ),
        "a power of the last gate": Mutant(
            lambda decay: (
                decay[:, None]
                ** (torch.arange(len(decay))[:, None] - torch.arange(len(decay))[None]).clamp_min(0)
            ).tril(),
            "one gate is taken for all: each token has its own.",
        ),
    },
)

# --- chunked-sum: fast weights, pairs within a chunk and a state between chunks


def _fast_weights(query: Tensor, key: Tensor, value: Tensor, chunk: int) -> Tensor:
    return linear.fast_weights(query, key, value).output


def _chunk_cases(generator: torch.Generator) -> list[Case]:
    return [
        {
            "query": _normal(generator, n, d),
            "key": _normal(generator, n, d),
            "value": _normal(generator, n, dv),
            "chunk": chunk,
        }
        for n, d, dv, chunk in ((4, 2, 3, 2), (7, 3, 2, 3), (5, 4, 4, 8))
    ]


def _in_chunks(
    query, key, value, chunk, *, within=True, carry=1.0, add=True, causal=True, late=False
) -> Tensor:
    """The right loop over chunks, with a part left out or done twice."""
    state, outputs = torch.zeros(key.shape[1], value.shape[1], dtype=key.dtype), []
    for q, k, v in zip(query.split(chunk), key.split(chunk), value.split(chunk), strict=True):
        own = k.mT @ v
        if late:
            state = state + own
        pairs = q @ k.mT
        output = carry * q @ state
        outputs.append(output + (pairs.tril() if causal else pairs) @ v if within else output)
        if not late:
            state = state + own if add else own
    return torch.cat(outputs)


CHUNKED_SUM = Exercise(
    name="chunked-sum",
    reference=_fast_weights,
    cases=_chunk_cases,
    mutants={
        "chunks apart": Mutant(
            lambda *given: _in_chunks(*given, carry=0.0),
            "every chunk begins with an empty memory: hand the state on.",
        ),
        "state alone": Mutant(
            lambda *given: _in_chunks(*given, within=False),
            "tokens of one chunk do not see each other: their pairs are missing.",
        ),
        "not causal within": Mutant(
            lambda *given: _in_chunks(*given, causal=False),
            "within a chunk a token sees later ones: take the lower triangle.",
        ),
        "counted twice": Mutant(
            lambda *given: _in_chunks(*given, late=True),
            "a chunk's own pairs are counted twice: read the state before the chunk is added to it.",
        ),
        "replaced": Mutant(
            lambda *given: _in_chunks(*given, add=False),
            "the state holds the last chunk only: add to it.",
        ),
        "the rest dropped": Mutant(
            lambda query, key, value, chunk: _in_chunks(query, key, value, chunk)[
                : max(len(query) // chunk * chunk, 1)
            ],
            "the last, smaller chunk is missing.",
        ),
    },
)

# --- delta-chunk: (I + L) U = diag(beta) (V - K S), L the strictly lower part of diag(beta) K K^T


def _surprises(state: Tensor, key: Tensor, value: Tensor, beta: Tensor) -> Tensor:
    written = []
    for k, v, b in zip(key, value, beta, strict=True):
        written.append(b * (v - state.mT @ k))
        state = state + torch.outer(k, written[-1])
    return torch.stack(written)


def _delta_cases(generator: torch.Generator) -> list[Case]:
    return [
        {
            "state": _normal(generator, d, dv),
            "key": _unit(_normal(generator, c, d)),
            "value": _normal(generator, c, dv),
            "beta": 0.1 + 0.9 * _uniform(generator, c),
        }
        for c, d, dv in ((2, 2, 3), (4, 3, 2), (5, 6, 1))
    ]


def _solved(state, key, value, beta, *, overlap=None, right=None, sign=1.0) -> Tensor:
    """The right system, with another left or right side."""
    beta = beta[:, None]
    lower = (beta * (key @ key.mT)).tril(-1) if overlap is None else overlap(key, beta)
    wanted = beta * (value - key @ state) if right is None else right(beta)
    return torch.linalg.solve(torch.eye(len(key), dtype=key.dtype) + sign * lower, wanted)


DELTA_CHUNK = Exercise(
    name="delta-chunk",
    reference=_surprises,
    cases=_delta_cases,
    mutants={
        "no overlaps": Mutant(
            lambda *given: _solved(*given, sign=0.0),
            "every token compares with the memory before the chunk: it must see the writes in between.",
        ),
        "overlaps added": Mutant(
            lambda *given: _solved(*given, sign=-1.0),
            "the sign of the overlaps is wrong: what is already there is taken away.",
        ),
        "diagonal too": Mutant(
            lambda *given: _solved(*given, overlap=lambda key, beta: (beta * (key @ key.mT)).tril()),
            "the diagonal is in it twice: a token does not overlap with itself before it has written.",
        ),
        "all pairs": Mutant(
            lambda *given: _solved(
                *given,
                overlap=lambda key, beta: beta * (key @ key.mT) * (1 - torch.eye(len(key), dtype=key.dtype)),
            ),
            "later tokens overlap with earlier ones: take the strictly lower triangle.",
        ),
        "no beta on the left": Mutant(
            lambda *given: _solved(*given, overlap=lambda key, beta: (key @ key.mT).tril(-1)),
            "beta is missing in the overlaps.",
        ),
        "beta of the column": Mutant(
            lambda *given: _solved(*given, overlap=lambda key, beta: (beta.mT * (key @ key.mT)).tril(-1)),
            "the overlaps carry the beta of the earlier token: it is the writing one's.",
        ),
        "no beta on the right": Mutant(
            lambda *given: _solved(*given, right=lambda beta: given[2] - given[1] @ given[0]),
            "beta is missing on the right-hand side.",
        ),
        "empty memory": Mutant(
            lambda *given: _solved(*given, right=lambda beta: beta * given[2]),
            "the memory before the chunk is not asked.",
        ),
    },
)

# --- unwrite: S_before from S_after = S_before + beta k (v - S_before^T k)^T


def _unwritten(state: Tensor, key: Tensor, value: Tensor, beta: float) -> Tensor:
    keep = torch.eye(len(key), dtype=key.dtype) - beta * torch.outer(key, key)
    return torch.linalg.solve(keep, state - beta * torch.outer(key, value))


def _after_cases(generator: torch.Generator) -> list[Case]:
    cases = []
    for d, dv, length, beta in ((2, 2, 1.0, 0.5), (3, 2, 1.0, 0.9), (4, 3, 0.7, 1.5)):
        key, value = length * _unit(_normal(generator, d)), _normal(generator, dv)
        before = _normal(generator, d, dv)
        after = before + beta * torch.outer(key, value - before.mT @ key)
        cases.append({"state": after, "key": key, "value": value, "beta": beta})
    return cases


def _undone(state, key, value, beta, *, factor=lambda b, s: b / (1 - b * s)) -> Tensor:
    surprise = value - state.mT @ key  # of the state after
    return state - factor(beta, key @ key) * torch.outer(key, surprise)


UNWRITE = Exercise(
    name="unwrite",
    reference=_unwritten,
    cases=_after_cases,
    mutants={
        "surprise of the state after": Mutant(
            lambda *given: _undone(*given, factor=lambda b, s: b),
            "this is the surprise left after writing: the one before was larger, by 1 / (1 - beta |k|^2).",
        ),
        "as a sum": Mutant(
            lambda state, key, value, beta: state - beta * torch.outer(key, value),
            "this undoes a sum: the delta rule also took away what it found.",
        ),
        "written once more": Mutant(
            lambda *given: _undone(*given, factor=lambda b, s: -b),
            "this writes the pair a second time.",
        ),
        "keys of length one": Mutant(
            lambda *given: _undone(*given, factor=lambda b, s: b / (1 - b)),
            "the length of the key is missing: 1 - beta |k|^2, and not every key has length 1.",
        ),
        "length not squared": Mutant(
            lambda *given: _undone(*given, factor=lambda b, s: b / (1 - b * s.sqrt())),
            "the length of the key enters squared.",
        ),
        "transposed": Mutant(
            lambda *given: _unwritten(*given).mT,
            "transposed",
        ),
    },
)

EXERCISES = (LINEAR_AVERAGE, RANDOM_FEATURES, SURVIVAL, CHUNKED_SUM, DELTA_CHUNK, UNWRITE)


def _normal(generator: torch.Generator, *shape: int) -> Tensor:
    return torch.randn(*shape, generator=generator, dtype=torch.float64)


def _uniform(generator: torch.Generator, *shape: int) -> Tensor:
    return torch.rand(*shape, generator=generator, dtype=torch.float64)


def _unit(x: Tensor) -> Tensor:
    return x / x.norm(dim=-1, keepdim=True)
