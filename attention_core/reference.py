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


def cosine(query: np.ndarray, key: np.ndarray) -> float:
    """q . k / (|q| |k|), 0 for a vector of zeros"""
    lengths = math.sqrt(inner(query, query)) * math.sqrt(inner(key, key))
    return inner(query, key) / lengths if lengths else 0.0


def gat(query: np.ndarray, key: np.ndarray, weight: np.ndarray, a: np.ndarray) -> float:
    """LeakyReLU(a . [W q; W k])"""
    return leaky(inner(a, np.concatenate([apply(weight, query), apply(weight, key)])))


def gat_v2(query: np.ndarray, key: np.ndarray, weight: np.ndarray, a: np.ndarray) -> float:
    """a . LeakyReLU(W [q; k])"""
    return inner(a, np.array([leaky(x) for x in apply(weight, np.concatenate([query, key]))]))


def leaky(x: float) -> float:
    """x, or a fifth of it below zero"""
    return float(x) if x > 0 else 0.2 * float(x)


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


def sigmoid(scores: list[float], temperature: float = 1.0) -> list[float]:
    """1 / (1 + e^(-s/T)), each score on its own."""
    return [1 / (1 + math.exp(-score / temperature)) for score in scores]


def sparsemax(scores: list[float], temperature: float = 1.0) -> list[float]:
    """[s/T - tau]_+, tau from the longest run of best scores that all stay positive."""
    z = [score / temperature for score in scores]
    best = sorted(z, reverse=True)
    for k in range(1, len(z) + 1):
        if 1 + k * best[k - 1] > sum(best[:k]):
            tau = (sum(best[:k]) - 1) / k
    return [max(0.0, x - tau) for x in z]


def entmax(scores: list[float], alpha: float | np.ndarray = 1.5, temperature: float = 1.0) -> list[float]:
    """[(alpha - 1) s/T - tau]_+ ^ (1 / (alpha - 1)), tau halved in on from where the best key takes all."""
    alpha = float(alpha)
    if alpha == 1:
        return softmax(scores, temperature)
    z = [(alpha - 1) * (score - max(scores)) / temperature for score in scores]
    low, high = -1.0, 0.0
    for _ in range(100):
        tau = (low + high) / 2
        weights = [max(0.0, x - tau) ** (1 / (alpha - 1)) for x in z]
        low, high = (tau, high) if sum(weights) > 1 else (low, tau)
    return weights


def softmax_with_sink(scores: list[float], sink: float | np.ndarray = 0.0) -> list[float]:
    """Softmax with one more score, the sink, whose weight nobody gets."""
    return softmax([*scores, float(sink)])[:-1]


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


def document(ids: np.ndarray, key_ids: np.ndarray) -> np.ndarray:
    """Query i of one sequence sees the keys with its own id."""
    n, m = len(ids), len(key_ids)
    return np.array([[a == b for b in key_ids] for a in ids], dtype=bool).reshape(n, m)


def prefix(n: int, m: int, length: int, shift: int) -> np.ndarray:
    """Query i sees keys j <= i + shift, and every query the first `length`."""
    seen = [[j <= i + shift or j < length for j in range(m)] for i in range(n)]
    return np.array(seen, dtype=bool).reshape(n, m)


# Positions: places, which count from 0, instead of contents.


def rotate(
    x: np.ndarray, position: float, pairing: str = "interleaved", base: int | float = 10000
) -> np.ndarray:
    """One vector (d,), its pairs of features turned one after another by position * base^(-2c/d)."""
    d = len(x)
    turned = np.zeros(d)
    for c in range(d // 2):
        one, other = (2 * c, 2 * c + 1) if pairing == "interleaved" else (c, c + d // 2)
        angle = float(position) / base ** (2 * c / d)
        turned[one] = x[one] * math.cos(angle) - x[other] * math.sin(angle)
        turned[other] = x[one] * math.sin(angle) + x[other] * math.cos(angle)
    return turned


def rope(
    x: np.ndarray,
    positions: np.ndarray | None = None,
    pairing: str = "interleaved",
    base: int | float = 10000,
) -> np.ndarray:
    """Every vector of x (*batch, n, d) turned by its position."""
    turned = np.zeros(x.shape)
    for b in np.ndindex(*x.shape[:-1]):
        position = b[-1] if positions is None else positions[b[-1]]
        turned[b] = rotate(x[b], float(position), pairing, base)
    return turned


def slopes(heads: int) -> list[float]:
    """One a head: a geometric series, or that of the lower power of two and some of the doubled one's."""
    power = 1
    while 2 * power <= heads:
        power *= 2
    own = [2 ** (-8 * h / power) for h in range(1, power + 1)]
    return own if power == heads else own + slopes(2 * power)[0::2][: heads - power]


def alibi(heads: int, n: int, m: int, shift: int) -> np.ndarray:
    """-slope * (i + shift - j), (heads, n, m)."""
    bias = np.zeros((heads, n, m))
    for h, i, j in np.ndindex(heads, n, m):
        bias[h, i, j] = -slopes(heads)[h] * (i + shift - j)
    return bias


def t5_bucket(offset: int, buckets: int, bidirectional: bool = True, max_distance: int = 128) -> int:
    """The bucket of a key `offset` places ahead, by counting up from bucket to bucket."""
    if bidirectional:
        half = buckets // 2
        return (half if offset > 0 else 0) + t5_bucket(-abs(offset), half, False, max_distance)
    distance, exact = max(0, -offset), buckets // 2
    if distance < exact:
        return distance
    bucket, growing = exact, buckets - exact
    for k in range(1, growing):
        if distance**growing >= exact ** (growing - k) * max_distance**k:  # distance >= E (D/E)^(k/L)
            bucket = exact + k
    return bucket


def t5_bias(
    n: int, m: int, weight: np.ndarray, shift: int, bidirectional: bool = True, max_distance: int = 128
) -> np.ndarray:
    """A learned number for each bucket and head: (buckets, heads) to (heads, n, m)."""
    bias = np.zeros((weight.shape[1], n, m))
    for h, i, j in np.ndindex(*bias.shape):
        bias[h, i, j] = weight[t5_bucket(j - i - shift, len(weight), bidirectional, max_distance), h]
    return bias


def sinusoidal(n: int, d: int, base: int | float = 10000) -> np.ndarray:
    """sin and cos of position / base^(2c/d), by turns."""
    table = np.zeros((n, d))
    for position, c in np.ndindex(n, d):
        angle = position / base ** (c // 2 * 2 / d)
        table[position, c] = math.cos(angle) if c % 2 else math.sin(angle)
    return table


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


def encoder_decoder_dot(
    query: np.ndarray, key: np.ndarray, *, mask: np.ndarray | None = None, bias: np.ndarray | None = None
) -> Result:
    """Decoder states attend to encoder states, which are keys and values at once."""
    return attend(query, key, key, score=dot, mask=mask, bias=bias)


def encoder_decoder_qkv(
    query: np.ndarray,
    key: np.ndarray,
    w_query: np.ndarray,
    w_key: np.ndarray,
    w_value: np.ndarray,
    *,
    mask: np.ndarray | None = None,
    bias: np.ndarray | None = None,
) -> Result:
    """Queries are projected from one sequence, keys and values from another."""
    q, k, v = project(query, w_query), project(key, w_key), project(key, w_value)
    return attend(q, k, v, mask=mask, bias=bias)


def encoder_only_dot(
    x: np.ndarray, *, mask: np.ndarray | None = None, bias: np.ndarray | None = None
) -> Result:
    """A sequence attends to itself without projections."""
    return attend(x, x, x, score=dot, mask=mask, bias=bias)


def fully_connected(
    query: np.ndarray,
    key: np.ndarray,
    weight: np.ndarray,
    *,
    mask: np.ndarray | None = None,
    bias: np.ndarray | None = None,
) -> Result:
    """Scores are a linear layer's of the query alone, one a place: given as a bias to scores of 0."""
    shape = (*query.shape[:-1], key.shape[-2])
    scores = project(query, weight)[..., : key.shape[-2]] + np.broadcast_to(
        0.0 if bias is None else bias, shape
    )
    return attend(query, key, key, score=lambda q, k: 0.0, mask=mask, bias=scores)


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


# A random draw, a difference of two maps, an associative memory.


def gumbel(
    query: np.ndarray,
    key: np.ndarray,
    value: np.ndarray,
    noise: np.ndarray,
    *,
    temperature: float = 1.0,
    straight_through: bool = False,
    mask: np.ndarray | None = None,
    bias: np.ndarray | None = None,
) -> Result:
    """Noise added to the scores before they are normalised; the lse is that of the scores without it."""
    normalize = hard if straight_through else lambda scores: softmax(scores, temperature)
    noisy = noise if bias is None else noise + bias
    output, weights, _ = attend(query, key, value, normalize=normalize, mask=mask, bias=noisy)
    return output, weights, attend(query, key, value, mask=mask, bias=bias)[2]


def differential(
    query: np.ndarray,
    key: np.ndarray,
    value: np.ndarray,
    w_query: np.ndarray,
    w_key: np.ndarray,
    w_value: np.ndarray,
    w_output: np.ndarray,
    lambda_query: np.ndarray,
    lambda_key: np.ndarray,
    scale: np.ndarray,
    heads: int,
    *,
    depth: int = 0,
    kv_heads: int | None = None,
    mask: np.ndarray | None = None,
    bias: np.ndarray | None = None,
) -> Result:
    """Each head is one attention map less lambda times another, over one value twice their width; normed."""
    kv_heads = heads if kv_heads is None else kv_heads
    batch, n, m = len(query), query.shape[-2], key.shape[-2]
    mask = np.broadcast_to(True if mask is None else mask, (batch, heads, n, m))
    bias = np.broadcast_to(0.0 if bias is None else bias, (batch, heads, n, m))
    lambda_init = 0.8 - 0.6 * math.exp(-0.3 * depth)
    first, second = (math.exp(inner(q, k)) for q, k in zip(lambda_query, lambda_key, strict=True))
    strength = first - second + lambda_init

    width, group = len(w_query) // heads, heads // kv_heads
    half = width // 2
    results = []
    for h in range(heads):
        start, shared = h * width, h // group * width
        v = project(value, w_value[shared : shared + width])
        maps = []
        for part in (0, half):
            q = project(query, w_query[start + part : start + part + half])
            k = project(key, w_key[shared + part : shared + part + half])
            maps.append(attend(q, k, v, mask=mask[:, h], bias=bias[:, h]))
        (output, weights, lse), (other_output, other_weights, _) = maps
        normed = rms_norm(output - strength * other_output, scale)
        results.append(((1 - lambda_init) * normed, weights - strength * other_weights, lse))
    outputs, weights, lses = zip(*results, strict=True)
    return project(np.concatenate(outputs, axis=-1), w_output), np.stack(weights, 1), np.stack(lses, 1)


def rms_norm(x: np.ndarray, scale: np.ndarray, tiny: float = 1e-5) -> np.ndarray:
    """x / sqrt(mean of x^2 + tiny) over the last axis, times a scale for each feature."""
    normed = np.zeros_like(x)
    for place in np.ndindex(*x.shape[:-1]):
        normed[place] = x[place] / math.sqrt(inner(x[place], x[place]) / x.shape[-1] + tiny) * scale
    return normed


def hopfield(
    query: np.ndarray,
    patterns: np.ndarray,
    *,
    beta: float | None = None,
    steps: int = 1,
    mask: np.ndarray | None = None,
) -> Result:
    """A state becomes the average of the patterns, weighted by likeness; again for each step."""
    beta = 1 / math.sqrt(query.shape[-1]) if beta is None else float(beta)
    for _ in range(steps):
        result = attend(query, patterns, patterns, score=lambda q, k: beta * inner(q, k), mask=mask)
        query = result[0]
    return result


def hopfield_energy(
    query: np.ndarray, patterns: np.ndarray, *, beta: float | None = None, mask: np.ndarray | None = None
) -> np.ndarray:
    """-lse(beta x . q) / beta + q . q / 2 + ln N / beta + M^2 / 2, over the patterns x a query may see."""
    beta = 1 / math.sqrt(query.shape[-1]) if beta is None else float(beta)
    mask = np.broadcast_to(True if mask is None else mask, (*query.shape[:-1], patterns.shape[-2]))
    energies = np.zeros(query.shape[:-1])
    for place in np.ndindex(*energies.shape):
        q, stored = query[place], patterns[place[:-1]]
        memory = [x for x, seen in zip(stored, mask[place], strict=True) if seen]
        energies[place] = inner(q, q) / 2
        if memory:
            energies[place] -= logsumexp([beta * inner(x, q) for x in memory]) / beta
            energies[place] += math.log(len(memory)) / beta + max(inner(x, x) for x in memory) / 2
    return energies


# Attention by place: the place decides through a bias, through turned vectors, or through a window.


def attend_by_place(
    query: np.ndarray,
    key: np.ndarray,
    value: np.ndarray,
    place: Callable[[tuple, int, int], float],
    *,
    mask: np.ndarray | None = None,
    bias: np.ndarray | None = None,
    score: Callable[..., float] = lambda query, key: 0.0,
) -> Result:
    """Attention with `place(batch index, i, j)` added to every score, which is 0 of itself."""
    scores = np.zeros((*query.shape[:-1], key.shape[-2]))
    for *b, i, j in np.ndindex(*scores.shape):
        scores[(*b, i, j)] = place(tuple(b), i, j)
    scores = scores if bias is None else scores + bias
    return attend(query, key, value, score=score, mask=mask, bias=scores)


def location(query, key, value, weight: np.ndarray, *, mask=None, bias=None) -> Result:
    """Scores w_j . q_i."""
    return attend_by_place(
        query, key, value, lambda b, i, j: inner(weight[j], query[b][i]), mask=mask, bias=bias
    )


def positional(query, key, value, logits: np.ndarray, *, mask=None, bias=None) -> Result:
    """Scores P_ij / sqrt(d); P (longest, longest), or one a head."""
    root, own = math.sqrt(query.shape[-1]), logits.ndim - 2
    return attend_by_place(
        query, key, value, lambda b, i, j: logits[b[len(b) - own :]][i, j] / root, mask=mask, bias=bias
    )


def factorized_positional(
    query, key, value, f_query: np.ndarray, f_key: np.ndarray, *, mask=None, bias=None
) -> Result:
    """Scores f_i . f'_j / sqrt(d); factors (longest, rank), or one a head."""
    root, own = math.sqrt(query.shape[-1]), f_query.ndim - 2

    def place(b: tuple, i: int, j: int) -> float:
        head = b[len(b) - own :]
        return inner(f_query[head][i], f_key[head][j]) / root

    return attend_by_place(query, key, value, place, mask=mask, bias=bias)


def rope_attention(
    query,
    key,
    value,
    query_positions: np.ndarray,
    key_positions: np.ndarray,
    pairing: str = "interleaved",
    base: int | float = 10000,
    *,
    mask=None,
    bias=None,
) -> Result:
    """Scaled dot-product attention of turned queries and keys."""
    query, key = rope(query, query_positions, pairing, base), rope(key, key_positions, pairing, base)
    return attend(query, key, value, mask=mask, bias=bias)


def alibi_attention(query, key, value, *, mask=None, bias=None) -> Result:
    """Scaled dot-product attention of (*batch, heads, n, d), a slope a head; last query at the last key."""
    heads, n, m = query.shape[-3], query.shape[-2], key.shape[-2]
    slope = alibi(heads, n, m, m - n)
    return attend_by_place(
        query, key, value, lambda b, i, j: slope[b[-1], i, j], mask=mask, bias=bias, score=scaled_dot
    )


def t5_attention(
    query,
    key,
    value,
    weight: np.ndarray,
    bidirectional: bool = True,
    max_distance: int = 128,
    *,
    mask=None,
    bias=None,
) -> Result:
    """Attention of (*batch, heads, n, d) by dot product and learned bias; last query at the last key."""
    n, m = query.shape[-2], key.shape[-2]
    learned = t5_bias(n, m, weight, m - n, bidirectional, max_distance)
    return attend_by_place(
        query, key, value, lambda b, i, j: learned[b[-1], i, j], mask=mask, bias=bias, score=dot
    )


def sinusoidal_attention(x: np.ndarray, *, mask=None, bias=None) -> Result:
    """A sequence attends to itself, positions added."""
    x = x + sinusoidal(*x.shape[-2:])
    return attend(x, x, x, mask=mask, bias=bias)


def local_monotonic(
    query,
    key,
    value,
    half_width: int,
    *,
    score: Callable[..., float] = dot,
    mask: np.ndarray | None = None,
    bias: np.ndarray | None = None,
) -> Result:
    """Query t sees keys t-D..t+D."""
    near = np.zeros((query.shape[-2], key.shape[-2]), dtype=bool)
    for t, s in np.ndindex(*near.shape):
        near[t, s] = t - half_width <= s <= t + half_width
    return attend(query, key, value, score=score, mask=near if mask is None else near & mask, bias=bias)


def local_predictive(
    query,
    key,
    value,
    w_position: np.ndarray,
    v_position: np.ndarray,
    half_width: int,
    *,
    score: Callable[..., float] = dot,
    mask: np.ndarray | None = None,
    bias: np.ndarray | None = None,
    lengths: np.ndarray | None = None,
) -> Result:
    """Softmax over the window around the predicted position, times a Gaussian; then the sum of the values."""
    shape = (*query.shape[:-1], key.shape[-2])
    near, gauss = np.zeros(shape, dtype=bool), np.zeros(shape)
    for *b, t, s in np.ndindex(*shape):
        b = tuple(b)
        length = shape[-1] if lengths is None else int(lengths[b])
        energy = inner(v_position, np.tanh(apply(w_position, query[b][t])))
        centre = length / (1 + math.exp(-energy))
        near[(*b, t, s)] = abs(s - centre) <= half_width and s < length
        gauss[(*b, t, s)] = math.exp(-((s - centre) ** 2) / (2 * (half_width / 2) ** 2))
    near = near if mask is None else near & mask
    _, weights, lse = attend(query, key, value, score=score, mask=near, bias=bias)
    weights = weights * gauss
    output = np.zeros((*shape[:-1], value.shape[-1]))
    for *b, t, s in np.ndindex(*shape):
        output[(*b, t)] += weights[(*b, t, s)] * value[tuple(b)][s]
    return output, weights, lse


# Modules with many parameters: these come under the names that the module's `state_dict` gives them.


def within(parameters: dict[str, np.ndarray], part: str) -> dict[str, np.ndarray]:
    """The parameters of one part of a module, under the names that they have there."""
    return {
        name.removeprefix(f"{part}."): value
        for name, value in parameters.items()
        if name.startswith(f"{part}.")
    }


def linear(x: np.ndarray, parameters: dict[str, np.ndarray]) -> np.ndarray:
    """W x + b for every position of a batch; no b where none is given."""
    return project(x, parameters["weight"]) + parameters.get("bias", 0.0)


def layer_norm(x: np.ndarray, parameters: dict[str, np.ndarray]) -> np.ndarray:
    """Each vector shifted to mean 0, scaled to variance 1, then stretched and shifted by what was learned."""
    normed = np.zeros(x.shape)
    for b in np.ndindex(*x.shape[:-1]):
        mean = sum(x[b]) / len(x[b])
        variance = sum((entry - mean) ** 2 for entry in x[b]) / len(x[b])
        normed[b] = [(entry - mean) / math.sqrt(variance + 1e-5) for entry in x[b]]
    return normed * parameters["weight"] + parameters["bias"]


def by_head(
    query: np.ndarray, key: np.ndarray, value: np.ndarray, mask: np.ndarray | None, bias: np.ndarray | None
) -> Result:
    """Attention of heads that lie on axis 1; the outputs side by side in the width, as in `multi_head`."""
    heads = query.shape[1]
    shape = (*query.shape[:3], key.shape[2])
    mask = np.broadcast_to(True if mask is None else mask, shape)
    bias = np.broadcast_to(0.0 if bias is None else bias, shape)
    results = [
        attend(query[:, h], key[:, h], value[:, h], mask=mask[:, h], bias=bias[:, h]) for h in range(heads)
    ]
    outputs, weights, lses = zip(*results, strict=True)
    return np.concatenate(outputs, axis=-1), np.stack(weights, 1), np.stack(lses, 1)


def split(x: np.ndarray, heads: int) -> np.ndarray:
    """(batch, n, width) to (batch, heads, n, width / heads), neighbouring features together."""
    width = x.shape[-1] // heads
    return np.stack([x[..., h * width : (h + 1) * width] for h in range(heads)], axis=1)


# Latent attention.


def latent(
    x: np.ndarray,
    heads: int,
    *,
    mask: np.ndarray | None = None,
    bias: np.ndarray | None = None,
    absorbed: bool = False,
    **parameters: np.ndarray,
) -> Result:
    """Every head's keys and values written out; `absorbed`, an order of multiplication, is nothing here."""
    asking = x
    if "to_query_latent.weight" in parameters:
        asking = linear(x, within(parameters, "to_query_latent"))
        asking = rms_norm(asking, parameters["query_norm.weight"], tiny=1e-6)
    stored = linear(x, within(parameters, "to_latent"))
    stored = rms_norm(stored, parameters["latent_norm.weight"], tiny=1e-6)
    rope_key = rope(linear(x, within(parameters, "to_rope_key")))

    query = split(linear(asking, within(parameters, "to_query")), heads)
    content = query.shape[-1] - rope_key.shape[-1]
    query = np.concatenate([query[..., :content], rope(query[..., content:])], axis=-1)
    key = split(linear(stored, within(parameters, "to_key")), heads)
    key = np.concatenate([key, np.stack([rope_key] * heads, axis=1)], axis=-1)
    value = split(linear(stored, within(parameters, "to_value")), heads)
    output, weights, lse = by_head(query, key, value, mask, bias)
    return linear(output, within(parameters, "to_output")), weights, lse


# Sets.


def biased_multi_head(
    query: np.ndarray, key: np.ndarray, heads: int, parameters: dict[str, np.ndarray], mask=None, bias=None
) -> Result:
    """Multi-head attention whose projections add biases."""
    q = split(linear(query, within(parameters, "to_query")), heads)
    k = split(linear(key, within(parameters, "to_key")), heads)
    v = split(linear(key, within(parameters, "to_value")), heads)
    output, weights, lse = by_head(q, k, v, mask, bias)
    return linear(output, within(parameters, "to_output")), weights, lse


def set_attention(
    query: np.ndarray,
    key: np.ndarray,
    heads: int,
    *,
    mask: np.ndarray | None = None,
    bias: np.ndarray | None = None,
    **parameters: np.ndarray,
) -> Result:
    """MAB: attention added and normalised, then a feed-forward layer added and normalised."""
    output, weights, lse = biased_multi_head(
        query, key, heads, within(parameters, "attention"), mask=mask, bias=bias
    )
    hidden = layer_norm(query + output, within(parameters, "attention_norm"))
    fed = np.maximum(0.0, linear(hidden, within(parameters, "feed")))
    return layer_norm(hidden + fed, within(parameters, "feed_norm")), weights, lse


def isab(x: np.ndarray, heads: int, *, points: np.ndarray, **parameters: np.ndarray) -> Result:
    """The points attend to the set, then the set to what they found."""
    points = np.stack([points] * len(x))
    summary, _, _ = set_attention(points, x, heads, **within(parameters, "summary"))
    return set_attention(x, summary, heads, **within(parameters, "spread"))


def pma(
    key: np.ndarray,
    heads: int,
    *,
    seeds: np.ndarray,
    mask: np.ndarray | None = None,
    **parameters: np.ndarray,
) -> Result:
    """The seeds attend to the set, each element of which was fed through a layer before."""
    features = np.maximum(0.0, linear(key, within(parameters, "feed")))
    seeds = np.stack([seeds] * len(key))
    return set_attention(seeds, features, heads, mask=mask, **within(parameters, "block"))


def perceiver(
    query: np.ndarray,
    key: np.ndarray,
    heads: int,
    *,
    layers: int = 1,
    mask: np.ndarray | None = None,
    bias: np.ndarray | None = None,
    **parameters: np.ndarray,
) -> Result:
    """The latents attend to the inputs, then `layers` times to each other; each time an MLP follows."""
    read = within(parameters, "read")
    inputs = layer_norm(key, within(read, "key_norm"))
    latents, weights, lse = perceiver_layer(query, inputs, heads, read, mask=mask, bias=bias)
    for layer in range(layers):
        latents, _, _ = perceiver_layer(latents, None, heads, within(parameters, f"think.{layer}"))
    return latents, weights, lse


def perceiver_layer(
    query: np.ndarray,
    key: np.ndarray | None,
    heads: int,
    parameters: dict[str, np.ndarray],
    mask=None,
    bias=None,
) -> Result:
    """Attention and an MLP, each of what was normalised first, and added to what was not."""
    own = layer_norm(query, within(parameters, "query_norm"))
    key = own if key is None else key
    output, weights, lse = biased_multi_head(
        own, key, heads, within(parameters, "attention"), mask=mask, bias=bias
    )
    hidden = query + output
    wide = linear(layer_norm(hidden, within(parameters, "mlp.0")), within(parameters, "mlp.1"))
    wide = np.array([entry / 2 * (1 + math.erf(entry / math.sqrt(2))) for entry in wide.flat])  # GELU
    wide = wide.reshape(*hidden.shape[:-1], -1)
    return hidden + linear(wide, within(parameters, "mlp.3")), weights, lse


# Images (batch, channels, height, width): gates, and attention between pixels, row by row from the top.


def sigmoid_gate(logit: float) -> float:
    """1 / (1 + e^-x)"""
    return 1 / (1 + math.exp(-logit))


def pixels(image: np.ndarray) -> np.ndarray:
    """The image as a sequence (batch, h * w, channels)."""
    return np.stack([image[:, :, y, x] for y, x in np.ndindex(*image.shape[2:])], axis=1)


def unpixels(sequence: np.ndarray, h: int, w: int) -> np.ndarray:
    """A sequence (batch, h * w, channels) as an image again."""
    image = np.zeros((len(sequence), sequence.shape[-1], h, w))
    for place, (y, x) in enumerate(np.ndindex(h, w)):
        image[:, :, y, x] = sequence[:, place]
    return image


def squeeze_excitation(image: np.ndarray, **parameters: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """One gate a channel, from the means of all channels."""
    means = np.array([[[channel.mean() for channel in one]] for one in image])  # (batch, 1, channels)
    hidden = np.maximum(0.0, linear(means, within(parameters, "to_hidden")))
    logits = linear(hidden, within(parameters, "to_gate"))[:, 0]
    return gated(image, [[[[sigmoid_gate(logit)]] for logit in one] for one in logits])


def eca(image: np.ndarray, **parameters: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """One gate a channel, from the means of the channels next to it."""
    kernel = parameters["along.weight"][0, 0]
    gate = np.zeros((*image.shape[:2], 1, 1))
    for b, c in np.ndindex(*image.shape[:2]):
        logit = 0.0
        for k, weight in enumerate(kernel):
            neighbour = c + k - len(kernel) // 2
            if 0 <= neighbour < image.shape[1]:
                logit += weight * image[b, neighbour].mean()
        gate[b, c] = sigmoid_gate(logit)
    return gated(image, gate)


def channel_gate(image: np.ndarray, **parameters: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """One gate a channel, from means and maxima of all channels."""
    logits = 0.0
    for pool in (np.mean, np.max):
        pooled = np.array([[[pool(channel) for channel in one]] for one in image])  # (batch, 1, channels)
        hidden = np.maximum(0.0, linear(pooled, within(parameters, "to_hidden")))
        logits = logits + linear(hidden, within(parameters, "to_gate"))[:, 0]
    return gated(image, [[[[sigmoid_gate(logit)]] for logit in one] for one in logits])


def spatial_gate(image: np.ndarray, **parameters: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """One gate a place, from the channels' means and maxima around it."""
    kernels = parameters["around.weight"][0]
    (batch, _, height, width), reach = image.shape, kernels.shape[-1] // 2
    gate = np.zeros((batch, 1, height, width))
    for b, y, x in np.ndindex(batch, height, width):
        logit = 0.0
        for dy, dx in np.ndindex(*kernels.shape[1:]):
            row, column = y + dy - reach, x + dx - reach
            if 0 <= row < height and 0 <= column < width:
                channels = image[b, :, row, column]
                logit += kernels[0, dy, dx] * channels.mean() + kernels[1, dy, dx] * channels.max()
        gate[b, 0, y, x] = sigmoid_gate(logit)
    return gated(image, gate)


def cbam(image: np.ndarray, **parameters: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The channels gated, then the places of what is left."""
    refined, by_channel = channel_gate(image, **within(parameters, "channel"))
    _, by_place = spatial_gate(refined, **within(parameters, "spatial"))
    return gated(image, by_channel * by_place)


def gated(image: np.ndarray, gate) -> tuple[np.ndarray, np.ndarray]:
    """The image times its gate, and the gate."""
    gate = np.array(gate)
    return image * gate, gate


def non_local(
    image: np.ndarray,
    *,
    residual: bool = True,
    as_sequence: bool = False,
    mask: np.ndarray | None = None,
    **parameters: np.ndarray,
) -> Result:
    """Every pixel attends to every pixel; the result is projected and added to the image."""
    x = pixels(image)
    query, key, value = (linear(x, within(parameters, f"to_{name}")) for name in ("query", "key", "value"))
    output, weights, lse = attend(query, key, value, score=dot, mask=mask)
    output = linear(output, within(parameters, "to_output")) + (x if residual else 0.0)
    return output if as_sequence else unpixels(output, *image.shape[2:]), weights, lse


def dual_attention(
    image: np.ndarray, *, unlike: bool = False, **parameters: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Pixels attend to pixels and channels to channels; the image is added to each."""
    x = pixels(image)
    query, key, value = (linear(x, within(parameters, f"to_{name}")) for name in ("query", "key", "value"))
    by_position, position, _ = attend(query, key, value, score=dot)
    maps = np.stack([x[..., c] for c in range(x.shape[-1])], axis=1)  # (batch, channels, h * w)
    by_channel, channel, _ = attend(-maps if unlike else maps, maps, maps, score=dot)
    output = 2 * x + parameters["position_scale"] * by_position
    output = output + parameters["channel_scale"] * np.moveaxis(by_channel, 1, 2)
    return unpixels(output, *image.shape[2:]), position, channel


def criss_cross(image: np.ndarray, *, recurrence: int = 2, **parameters: np.ndarray) -> Result:
    """Every pixel attends to its column and its row, itself once, `recurrence` times."""
    batch, _, height, width = image.shape
    for _ in range(recurrence):
        query, key, value = (
            unpixels(linear(pixels(image), within(parameters, f"to_{name}")), height, width)
            for name in ("query", "key", "value")
        )
        found = np.zeros(image.shape)
        weights = np.zeros((batch, height * width, height + width))
        lse = np.zeros((batch, height * width))
        for b, y, x in np.ndindex(batch, height, width):
            cross = {row: (row, x) for row in range(height) if row != y}
            cross |= {height + column: (y, column) for column in range(width)}
            scores = [dot(query[b, :, y, x], key[b, :, *place]) for place in cross.values()]
            lse[b, y * width + x] = logsumexp(scores)
            for (entry, place), weight in zip(cross.items(), softmax(scores), strict=True):
                weights[b, y * width + x, entry] = weight
                found[b, :, y, x] += weight * value[b, :, *place]
        image = image + parameters["scale"] * found
    return image, weights, lse


# The linear family: the past as one matrix (d, dv), written and read a token at a time.

Recurrence = tuple[np.ndarray, np.ndarray]  # output (n, dv), state (d, dv), after batch axes


def fast_weights(query, key, value, *, initial_state: np.ndarray | None = None) -> Recurrence:
    """The gated delta rule without correction: the memory is only added to."""
    return recur(query, key, value, corrects=False, initial_state=initial_state)


def delta_rule(query, key, value, beta, *, initial_state: np.ndarray | None = None) -> Recurrence:
    """S += b k (v - S^T k)^T."""
    return recur(query, key, value, beta, initial_state=initial_state)


def gated_delta_rule(
    query, key, value, beta, decay, *, initial_state: np.ndarray | None = None
) -> Recurrence:
    """S <- a S, then S += b k (v - S^T k)^T."""
    return recur(query, key, value, beta, decay, initial_state=initial_state)


def recur(
    query: np.ndarray,
    key: np.ndarray,
    value: np.ndarray,
    beta: np.ndarray | None = None,
    decay: np.ndarray | None = None,
    *,
    corrects: bool = True,
    initial_state: np.ndarray | None = None,
) -> Recurrence:
    """Decay, write b k (v - what the memory says)^T, or b k v^T where it does not correct; then read."""
    batch, n, d, dv = query.shape[:-2], query.shape[-2], query.shape[-1], value.shape[-1]
    beta = np.ones((*batch, n)) if beta is None else beta
    decay = np.ones((*batch, n)) if decay is None else decay
    output = np.zeros((*batch, n, dv))
    state = np.zeros((*batch, d, dv)) if initial_state is None else initial_state.copy()
    for b in np.ndindex(*batch):
        for t in range(n):
            state[b] *= decay[b][t]
            known = apply(state[b].T, key[b][t]) if corrects else np.zeros(dv)
            for i in range(d):
                state[b][i] += beta[b][t] * key[b][t, i] * (value[b][t] - known)
            output[b][t] = apply(state[b].T, query[b][t])
    return output, state


def elu_plus_one(vector: np.ndarray) -> np.ndarray:
    """x + 1 where x is positive, e^x elsewhere."""
    return np.array([x + 1 if x > 0 else math.exp(x) for x in vector])


def linear_attention(
    query: np.ndarray,
    key: np.ndarray,
    value: np.ndarray,
    *,
    feature_map: Callable[[np.ndarray], np.ndarray] = elu_plus_one,
    initial_state: np.ndarray | None = None,
) -> Recurrence:
    """Weights phi(q_t) . phi(k_j) over j <= t, divided by their sum, which is the state's last column."""
    query, key = (np.apply_along_axis(feature_map, -1, x) for x in (query, key))
    return normalised_sum(query, key, value, initial_state)


def normalised_sum(query, key, value, initial_state: np.ndarray | None = None) -> Recurrence:
    """Fast weights for the values and a 1, then the values' part over the 1's; 0 where that is 0."""
    ones = np.ones((*value.shape[:-1], 1))
    value_and_one = np.concatenate([value, ones], axis=-1)
    sums, state = fast_weights(query, key, value_and_one, initial_state=initial_state)
    output = np.zeros(value.shape)
    for t in np.ndindex(*value.shape[:-1]):
        if sums[t][-1] != 0:
            output[t] = sums[t][:-1] / sums[t][-1]
    return output, state


def positive_features(x: np.ndarray, projection: np.ndarray) -> np.ndarray:
    """e^(W x - |x|^2 / 2) / sqrt(m) on x / d^(1/4), for one vector."""
    x = x / len(x) ** 0.25
    return np.exp(apply(projection, x) - inner(x, x) / 2) / math.sqrt(len(projection))


def performer(
    query, key, value, projection: np.ndarray, *, initial_state: np.ndarray | None = None
) -> Recurrence:
    """Linear attention with positive features, none shifted; the state is divided by e^c only at the end."""
    features = [np.apply_along_axis(positive_features, -1, x, projection) for x in (query, key)]
    sums, peak = None, np.full(query.shape[:-2], -math.inf)
    if initial_state is not None:
        peak = initial_state[..., 0, -1]
        sums = initial_state[..., :-1] * np.exp(peak)[..., None, None]
    output, state = normalised_sum(*features, value, sums)
    for b in np.ndindex(*query.shape[:-2]):
        peak[b] = max([peak[b], *(math.log(max(phi)) for phi in features[1][b])])
    last = np.broadcast_to(peak[..., None, None], (*state.shape[:-1], 1))
    return output, np.concatenate([state / np.exp(peak)[..., None, None], last], axis=-1)


# Approximations.


def flash(query, key, value, *, block=None, mask: np.ndarray | None = None) -> Result:
    """Attention with one key at a time; `block`, how many a faster version takes at once, changes nothing."""
    return flex(query, key, value, np.zeros((query.shape[-2], key.shape[-2])), mask=mask)


def flex(
    query: np.ndarray,
    key: np.ndarray,
    value: np.ndarray,
    bias: np.ndarray,
    *,
    cap: float | None = None,
    block=None,
    mask: np.ndarray | None = None,
) -> Result:
    """Online softmax over cap tanh(s / cap) + bias: a query remembers a maximum, a sum and an average."""
    batch, n, m = query.shape[:-2], query.shape[-2], key.shape[-2]
    mask = np.broadcast_to(True if mask is None else mask, (*batch, n, m))
    bias = np.broadcast_to(bias, (*batch, n, m))
    output, weights, lse = (
        np.zeros((*batch, n, value.shape[-1])),
        np.zeros((*batch, n, m)),
        np.zeros((*batch, n)),
    )
    for *b, i in np.ndindex(*batch, n):
        b = tuple(b)
        peak, total, average, met = -math.inf, 0.0, np.zeros(value.shape[-1]), {}
        for j in range(m):
            if mask[b][i, j]:
                score = scaled_dot(query[b][i], key[b][j])
                score = (score if cap is None else cap * math.tanh(score / cap)) + bias[b][i, j]
                met[j] = score
                higher = max(peak, score)
                shrunk, weight = math.exp(peak - higher), math.exp(score - higher)
                total, average = shrunk * total + weight, shrunk * average + weight * value[b][j]
                peak = higher
        lse[b][i] = peak + math.log(total) if met else -math.inf
        output[b][i] = average / total if met else 0.0
        for j, score in met.items():
            weights[b][i, j] = math.exp(score - lse[b][i])
    return output, weights, lse


def linformer(query, key, value, w_key: np.ndarray, w_value: np.ndarray) -> Result:
    """Attention over mixtures of the keys: row r of `w_key` says how much of each key is in mixture r."""
    return attend(query, mix(w_key, key), mix(w_value, value))


def mix(weight: np.ndarray, x: np.ndarray) -> np.ndarray:
    """Sums of positions: (rank, m) and (*batch, m, width) to (*batch, rank, width)."""
    mixtures = np.zeros((*x.shape[:-2], len(weight), x.shape[-1]))
    for b in np.ndindex(*x.shape[:-2]):
        for r, shares in enumerate(weight):
            for share, position in zip(shares, x[b], strict=True):
                mixtures[b][r] += share * position
    return mixtures


def reformer(
    x: np.ndarray, value: np.ndarray, rotations: np.ndarray, *, chunk: int, causal: bool = False
) -> Result:
    """Softmax attention of each token to all those that it met in any round; to itself only if to none."""
    key = np.zeros_like(x)
    mask = np.zeros((*x.shape[:-1], x.shape[-2]), dtype=bool)
    for b in np.ndindex(*x.shape[:-2]):
        for j, position in enumerate(x[b]):
            length = math.sqrt(inner(position, position))
            key[b][j] = position / length if length > 0 else 0.0
        for i, others in enumerate(meetings(x[b], rotations, chunk)):
            others = {j for j in others if j != i and not (causal and j > i)}
            for j in others or {i}:
                mask[b][i, j] = True
    return attend(x, key, value, mask=mask)


def meetings(x: np.ndarray, rotations: np.ndarray, chunk: int) -> list[set[int]]:
    """For each token of a sequence, all that share a bucket with it, in its chunk or the one before."""
    met: list[set[int]] = [set() for _ in x]
    for rotation in rotations:
        turned = [apply(rotation.T, position) for position in x]
        buckets = [int(np.argmax(np.concatenate([y, -y]))) for y in turned]
        order = sorted(range(len(x)), key=lambda j: (buckets[j], j))
        for place, i in enumerate(order):
            first = max(place // chunk - 1, 0) * chunk
            last = (place // chunk + 1) * chunk
            met[i] |= {j for j in order[first:last] if buckets[j] == buckets[i]}
    return met


# Decoding: the newest queries, and keys that are kept in a window with sinks, or in pages.


def windowed(
    query: np.ndarray, key: np.ndarray, value: np.ndarray, *, window: int | None = None, sinks: int = 0
) -> Result:
    """Each of the n newest of m tokens sees the last `window` up to its own, and the first `sinks`."""
    mask = np.zeros((query.shape[-2], key.shape[-2]), dtype=bool)
    for i, j in np.ndindex(*mask.shape):
        back = i + key.shape[-2] - query.shape[-2] - j
        mask[i, j] = back >= 0 and (window is None or back < window or j < sinks)
    return attend(query, key, value, mask=mask)


def paged(
    query: np.ndarray, key_pages: np.ndarray, value_pages: np.ndarray, tables: np.ndarray, lengths: np.ndarray
) -> list[Result]:
    """For each sequence, keys and values out of their pages a token at a time, then `windowed`."""
    heads, kv_heads, page_size = query.shape[1], key_pages.shape[1], key_pages.shape[2]
    results = []
    for b, length in enumerate(lengths):
        key, value = (np.zeros((heads, length, pages.shape[-1])) for pages in (key_pages, value_pages))
        for h, j in np.ndindex(heads, int(length)):
            page, place, group = tables[b][j // page_size], j % page_size, h * kv_heads // heads
            key[h, j] = key_pages[page][group][place]
            value[h, j] = value_pages[page][group][place]
        results.append(windowed(query[b], key, value))
    return results
