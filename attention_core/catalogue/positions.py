"""Positions: what tells attention the order of a sequence, and windows that follow it."""

import numpy as np
from torch import Tensor

from attention_core import local, masks, pipeline, positions, reference, scores
from attention_core.catalogue.record import Equality, pick, sequences, variant
from attention_core.pipeline import Attended

# Functions: attention with each scheme; the last query stands at the last key.


def rope(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    query_positions: Tensor,
    key_positions: Tensor,
    pairing: str = "interleaved",
    base: float = 10000,
    *,
    mask=None,
    bias=None,
) -> Attended:
    """Queries and keys turned by their positions; values stay."""
    (query, key, value, bias), spoiled = pipeline.quarantine(query, key, value, mask, bias)
    query = positions.rope(query, query_positions, pairing, base)
    key = positions.rope(key, key_positions, pairing, base)
    return pipeline.spoil(pipeline.attend(query, key, value, mask=mask, bias=bias), spoiled)


def alibi(query: Tensor, key: Tensor, value: Tensor, *, mask=None, bias=None) -> Attended:
    """A linear bias a head, for (batch, heads, n, d)."""
    heads, n, m = query.shape[-3], query.shape[-2], key.shape[-2]
    slope = positions.alibi(heads, n, m, "lower_right", device=query.device, dtype=query.dtype)
    return pipeline.attend(query, key, value, mask=mask, bias=slope if bias is None else bias + slope)


def t5_bias(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    weight: Tensor,
    bidirectional: bool = True,
    max_distance: int = 128,
    *,
    mask=None,
    bias=None,
) -> Attended:
    """A learned bias for each bucket of distances, for (batch, heads, n, d); plain dot products."""
    learned = positions.t5_bias(
        query.shape[-2],
        key.shape[-2],
        weight,
        bidirectional=bidirectional,
        max_distance=max_distance,
        align="lower_right",
    )
    bias = learned if bias is None else bias + learned
    return pipeline.attend(query, key, value, score=scores.dot, mask=mask, bias=bias)


def sinusoidal(x: Tensor, *, mask=None, bias=None) -> Attended:
    """A sequence attends to itself, sines and cosines of its positions added."""
    x = x + positions.sinusoidal(*x.shape[-2:], device=x.device, dtype=x.dtype)
    return pipeline.attend(x, x, x, mask=mask, bias=bias)


# Inputs.


def _rope_inputs(rng: np.random.Generator) -> dict:
    return sequences(rng) | {"query_positions": np.arange(2, 5), "key_positions": np.arange(5)}


def _heads(rng: np.random.Generator) -> dict:
    shapes = {"query": (2, 3, 3, 4), "key": (2, 3, 5, 4), "value": (2, 3, 5, 2)}
    return {name: rng.normal(size=shape) for name, shape in shapes.items()}


def _t5_inputs(rng: np.random.Generator) -> dict:
    return _heads(rng) | {"weight": rng.normal(size=(8, 3)), "max_distance": 5}


def _x(rng: np.random.Generator) -> dict:
    return {"x": rng.normal(size=(2, 5, 4))}


def _monotonic_inputs(rng: np.random.Generator) -> dict:
    return sequences(rng) | {"half_width": 2}


def _predictive_inputs(rng: np.random.Generator) -> dict:
    a = sequences(rng)
    prediction = {"w_position": rng.normal(size=(6, 4)), "v_position": rng.normal(size=6)}
    far_from_zero = {"value": a["value"] + 3}
    return a | far_from_zero | prediction | {"half_width": 2}


# Special cases: from a variant's inputs, its own arguments and the other variant's.


def _one_position(a: dict) -> tuple[dict, dict]:
    same = {"query_positions": np.full(3, 7), "key_positions": np.full(5, 7)}
    return a | same, pick(a, "query", "key", "value")


def _all_moved(a: dict) -> tuple[dict, dict]:
    moved = {name: a[name] + 11 for name in ("query_positions", "key_positions")}
    return a | moved, a


def _rising_bias(a: dict) -> tuple[dict, dict]:
    causal = a | {"mask": masks.causal(3, 5, align="lower_right").numpy()}
    slopes = np.array(reference.slopes(3))[:, None, None]
    return causal, causal | {"bias": slopes * np.arange(5)}


def _no_bias(a: dict) -> tuple[dict, dict]:
    return a | {"weight": np.zeros_like(a["weight"])}, pick(a, "query", "key", "value")


def _bias_of_slopes(a: dict) -> tuple[dict, dict]:
    """Five keys fit in the buckets that hold one distance each."""
    causal = {"mask": masks.causal(3, 5, align="lower_right").numpy()}
    distance = np.arange(32)[:, None]
    weight = -distance * np.array(reference.slopes(3))  # (buckets, heads)
    other = pick(a, "query", "key", "value") | causal
    own = other | {"query": a["query"] / 2, "weight": weight, "bidirectional": False}  # sqrt(d) = 2
    return own, other


def _positions_added(a: dict) -> tuple[dict, dict]:
    x = a["x"] + reference.sinusoidal(5, 4)
    return a, {"query": x, "key": x, "value": x}


def _whole_window(a: dict) -> tuple[dict, dict]:
    return a | {"half_width": 5}, pick(a, "query", "key", "value")


def _flat_gaussian(a: dict) -> tuple[dict, dict]:
    return a | {"half_width": 10**8}, pick(a, "query", "key", "value")


_ORDER = {
    "query_equivariance": "a query's place counts, besides its content",
    "key_value_invariance": "a key's place counts, besides its content",
    "permutation_equivariance": "it is there to tell one order from another",
}

RECORDS = (
    variant(
        name="rope",
        title="Rotary positions (RoPE)",
        year=2021,
        citation="su2021roformer",
        family="position",
        equation=r"e_{ij} = (R_i q_i)^\top R_j k_j / \sqrt{d} = q_i^\top R_{j - i} k_j / \sqrt{d}",
        time="O(nmd)",
        memory="O(nm + (n + m)d)",
        function=rope,
        reference=reference.rope_attention,
        inputs=_rope_inputs,
        exempt=_ORDER,
        equals=(
            Equality("scaled_dot", r"\text{all positions equal}", _one_position),
            Equality("rope", r"\text{all positions moved alike}", _all_moved),
        ),
    ),
    variant(
        name="alibi",
        title="Linear biases (ALiBi)",
        year=2021,
        citation="press2021train",
        family="position",
        equation=r"e_{hij} = q_i^\top k_j / \sqrt{d} - s_h (i - j)",
        time="O(nmd)",
        memory="O(nm)",
        function=alibi,
        reference=reference.alibi_attention,
        inputs=_heads,
        exempt={  # and no more: what a query's place adds, -s_h i, is the same for its whole row
            "key_value_invariance": _ORDER["key_value_invariance"],
            "permutation_equivariance": _ORDER["permutation_equivariance"],
        },
        equals=(Equality("scaled_dot", r"\text{bias } s_h j,\ \text{causal}", _rising_bias),),
    ),
    variant(
        name="t5_bias",
        title="Relative position bias (T5)",
        year=2019,
        citation="raffel2019exploring",
        family="position",
        equation=r"e_{hij} = q_i^\top k_j + W_{\mathrm{bucket}(j - i), h}",
        time="O(nmd)",
        memory="O(nm)",
        function=t5_bias,
        reference=reference.t5_attention,
        inputs=_t5_inputs,
        exempt=_ORDER,
        equals=(
            Equality("dot", "W = 0", _no_bias),
            Equality(
                "alibi",
                r"W_{b,h} = -s_h b,\ q \leftarrow q / \sqrt d,\ \text{causal, distances below } B/2",
                _bias_of_slopes,
            ),
        ),
    ),
    variant(
        name="sinusoidal",
        title="Sinusoidal positions",
        year=2017,
        citation="vaswani2017attention",
        family="position",
        equation=r"x_p \leftarrow x_p + P_p,\ P_{p,2c} = \sin(p\,\theta_c),\ P_{p,2c+1} = \cos(p\,\theta_c)",
        time="O(n^2 d)",
        memory="O(n^2 + nd)",
        function=sinusoidal,
        reference=reference.sinusoidal_attention,
        inputs=_x,
        exempt=_ORDER | {"convex_hull": "the values too have positions added, so theirs is the hull"},
        equals=(Equality("scaled_dot", r"q = k = v = x + P", _positions_added),),
    ),
    variant(
        name="local_monotonic",
        title="Local attention, monotonic (local-m)",
        year=2015,
        citation="luong2015effective",
        family="local",
        equation=r"w_{ts} = \mathrm{softmax}_{|s - t| \le D}(e_{ts})",
        time="O(nmd)",  # of this dense form; the window alone would need O(nDd)
        memory="O(nm)",
        function=local.local_monotonic,
        reference=reference.local_monotonic,
        inputs=_monotonic_inputs,
        exempt=_ORDER,
        equals=(Equality("dot", r"D \ge \max(n, m)", _whole_window),),
    ),
    variant(
        name="local_predictive",
        title="Local attention, predictive (local-p)",
        year=2015,
        citation="luong2015effective",
        family="local",
        equation=(
            r"w_{ts} = \mathrm{softmax}_{|s - p_t| \le D}(e_{ts})\, e^{-(s - p_t)^2 / 2\sigma^2},\quad "
            r"p_t = S\, \mathrm{sigmoid}(v_p^\top \tanh(W_p q_t)),\ \sigma = D/2"
        ),
        time="O(nmd + nd^2)",
        memory="O(nm + nd)",
        function=local.local_predictive,
        reference=reference.local_predictive,
        inputs=_predictive_inputs,
        exempt={
            "key_value_invariance": "the window is laid over the keys' places, not over the keys",
            "permutation_equivariance": "the window is laid over the keys' places, not over the keys",
            "weights_sum_to_one": "after the softmax a Gaussian takes its part",
            "convex_hull": "weights sum to less than one, which draws answers towards zero",
        },
        equals=(Equality("dot", r"D \to \infty", _flat_gaussian),),
    ),
)
