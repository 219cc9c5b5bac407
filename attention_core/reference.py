"""Reference: every mechanism once more in NumPy, as loops over queries and keys, to check the rest against.

Slow on purpose. Nothing here is vectorised over positions and nothing is shared with the other modules, so
that an error there is not repeated here. Masks: boolean, True = may attend. Where a query may attend to
nothing: output 0, weights 0, lse -inf.
"""

import math
from collections.abc import Callable

import numpy as np

Result = tuple[
    np.ndarray, np.ndarray, np.ndarray
]  # output (n, dv), weights (n, m), lse (n), after batch axes


def inner(a: np.ndarray, b: np.ndarray) -> float:
    """Sum of the products of two vectors' entries."""
    return sum(float(x) * float(y) for x, y in zip(a, b, strict=True))


def apply(matrix: np.ndarray, vector: np.ndarray) -> np.ndarray:
    """Matrix times vector, a row at a time."""
    return np.array([inner(row, vector) for row in matrix])


# Scores: of one query (dq,) and one key (dk,), a number.


def dot(query: np.ndarray, key: np.ndarray) -> float:
    """q . k"""
    return inner(query, key)


def scaled_dot(query: np.ndarray, key: np.ndarray) -> float:
    """q . k / sqrt(d)"""
    return inner(query, key) / math.sqrt(len(query))


def general(query: np.ndarray, key: np.ndarray, weight: np.ndarray) -> float:
    """q . (W k)"""
    return inner(query, apply(weight, key))


def concat(query: np.ndarray, key: np.ndarray, weight: np.ndarray, v: np.ndarray) -> float:
    """v . tanh(W [q; k])"""
    return inner(v, np.tanh(apply(weight, np.concatenate([query, key]))))


def additive(
    query: np.ndarray, key: np.ndarray, w_query: np.ndarray, w_key: np.ndarray, v: np.ndarray
) -> float:
    """v . tanh(W_q q + W_k k)"""
    return inner(v, np.tanh(apply(w_query, query) + apply(w_key, key)))


# Normalisers: of one query's allowed scores, a list; at least one.


def softmax(scores: list[float], temperature: float = 1.0) -> list[float]:
    """e^(s/T) / sum e^(s/T), shifted by the largest score so that nothing overflows."""
    peak = max(scores)
    powers = [math.exp((score - peak) / temperature) for score in scores]
    return [power / sum(powers) for power in powers]


def hard(scores: list[float]) -> list[float]:
    """1 for the first largest score, 0 for the others."""
    best = scores.index(max(scores))
    return [float(j == best) for j in range(len(scores))]


def logsumexp(scores: list[float]) -> float:
    """ln sum e^s, -inf for no scores."""
    if not scores:
        return -math.inf
    peak = max(scores)
    return peak + math.log(sum(math.exp(score - peak) for score in scores))


# Masks: a loop over the pairs.


def causal(n: int, m: int, shift: int) -> np.ndarray:
    """Query i sees keys j <= i + shift."""
    return np.array([[j <= i + shift for j in range(m)] for i in range(n)], dtype=bool).reshape(n, m)


def window(n: int, m: int, size: int, shift: int, causal: bool = True) -> np.ndarray:
    """Query i, at position p = i + shift, sees the keys p-size+1..p; both ways where not causal."""
    mask = np.zeros((n, m), dtype=bool)
    for i in range(n):
        last = i + shift if causal else i + shift + size - 1
        for j in range(i + shift - size + 1, last + 1):
            if 0 <= j < m:
                mask[i, j] = True
    return mask


# Attention.


def attend(
    query: np.ndarray,
    key: np.ndarray,
    value: np.ndarray,
    *,
    score: Callable[..., float] = scaled_dot,
    mask: np.ndarray | None = None,
    bias: np.ndarray | None = None,
    normalize: Callable[[list[float]], list[float]] = softmax,
) -> Result:
    """Attention as in `pipeline.attend`, one sequence of the batch at a time; a bias of -inf forbids too."""
    batch, n, m = query.shape[:-2], query.shape[-2], key.shape[-2]
    mask = np.broadcast_to(True if mask is None else mask, (*batch, n, m))
    bias = np.broadcast_to(0.0 if bias is None else bias, (*batch, n, m))
    output = np.zeros((*batch, n, value.shape[-1]))
    weights = np.zeros((*batch, n, m))
    lse = np.zeros((*batch, n))
    for b in np.ndindex(*batch):
        for i in range(n):
            allowed = [j for j in range(m) if mask[b][i, j] and bias[b][i, j] != -math.inf]
            scores = [score(query[b][i], key[b][j]) + bias[b][i, j] for j in allowed]
            lse[b][i] = logsumexp(scores)
            for j, weight in zip(allowed, normalize(scores) if scores else [], strict=True):
                weights[b][i, j] = weight
                output[b][i] += weight * value[b][j]
    return output, weights, lse


def self_attention(
    x: np.ndarray,
    w_query: np.ndarray,
    w_key: np.ndarray,
    w_value: np.ndarray,
    *,
    mask: np.ndarray | None = None,
    bias: np.ndarray | None = None,
) -> Result:
    """A sequence (batch, n, width) attends to itself, through three projections (out, width)."""
    query, key, value = (project(x, weight) for weight in (w_query, w_key, w_value))
    return attend(query, key, value, mask=mask, bias=bias)


def multi_head(
    query: np.ndarray,
    key: np.ndarray,
    value: np.ndarray,
    w_query: np.ndarray,
    w_key: np.ndarray,
    w_value: np.ndarray,
    w_output: np.ndarray,
    heads: int,
    *,
    kv_heads: int | None = None,
    mask: np.ndarray | None = None,
    bias: np.ndarray | None = None,
) -> Result:
    """Heads one at a time, concatenated and projected; query head h uses key/value head h // group."""
    kv_heads = heads if kv_heads is None else kv_heads
    batch, n, m = len(query), query.shape[-2], key.shape[-2]
    mask = np.broadcast_to(True if mask is None else mask, (batch, heads, n, m))
    bias = np.broadcast_to(0.0 if bias is None else bias, (batch, heads, n, m))
    width, group = len(w_query) // heads, heads // kv_heads
    results = []
    for h in range(heads):
        own = slice(h * width, (h + 1) * width)
        shared = slice(h // group * width, (h // group + 1) * width)
        q, k, v = project(query, w_query[own]), project(key, w_key[shared]), project(value, w_value[shared])
        results.append(attend(q, k, v, mask=mask[:, h], bias=bias[:, h]))
    outputs, weights, lses = zip(*results, strict=True)
    return project(np.concatenate(outputs, axis=-1), w_output), np.stack(weights, 1), np.stack(lses, 1)


def project(x: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """W x for every position of a batch: (batch, n, width) and (out, width) to (batch, n, out)."""
    projected = np.array([[apply(weight, position) for position in sequence] for sequence in x])
    return projected.reshape(*x.shape[:-1], len(weight))  # which no position at all would not say
