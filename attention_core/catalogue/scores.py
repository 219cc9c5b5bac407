"""Score functions: how well a query matches a key."""

import numpy as np

from attention_core import pipeline, reference, scores
from attention_core.catalogue.record import Equality, pick, scored, sequences, variant

# Inputs.


def _general_inputs(rng: np.random.Generator) -> dict:
    return sequences(rng, key_width=3) | {"weight": rng.normal(size=(4, 3))}


def _concat_inputs(rng: np.random.Generator) -> dict:
    return sequences(rng, key_width=3) | {"weight": rng.normal(size=(6, 7)), "v": rng.normal(size=6)}


def _additive_inputs(rng: np.random.Generator) -> dict:
    w_query, w_key, v = rng.normal(size=(6, 4)), rng.normal(size=(6, 3)), rng.normal(size=6)
    return sequences(rng, key_width=3) | {"w_query": w_query, "w_key": w_key, "v": v}


def _gat_inputs(rng: np.random.Generator) -> dict:
    return sequences(rng) | {"weight": rng.normal(size=(6, 4)), "a": rng.normal(size=12)}


def _gat_v2_inputs(rng: np.random.Generator) -> dict:
    return sequences(rng) | {"weight": rng.normal(size=(6, 8)), "a": rng.normal(size=6)}


def _location_inputs(rng: np.random.Generator) -> dict:
    return sequences(rng) | {"weight": rng.normal(size=(6, 4))}


def _positional_inputs(rng: np.random.Generator) -> dict:
    return sequences(rng) | {"logits": rng.normal(size=(6, 6))}


def _factorized_inputs(rng: np.random.Generator) -> dict:
    return sequences(rng) | {"f_query": rng.normal(size=(6, 2)), "f_key": rng.normal(size=(6, 2))}


# Special cases: from a variant's inputs, its own arguments and the other variant's.


def _identity_weight(a: dict) -> tuple[dict, dict]:
    plain = pick(a, "query", "value") | {"key": a["query"][:, [0, 1, 2, 0, 1]]}
    return plain | {"weight": np.eye(a["query"].shape[-1])}, plain


def _scaled_query(a: dict) -> tuple[dict, dict]:
    return a, a | {"query": a["query"] / np.sqrt(a["query"].shape[-1])}


def _split_weight(a: dict) -> tuple[dict, dict]:
    dq = a["query"].shape[-1]
    halves = {"w_query": a["weight"][:, :dq], "w_key": a["weight"][:, dq:]}
    return a, pick(a, "query", "key", "value", "v") | halves


def _unit_vectors(a: dict) -> tuple[dict, dict]:
    units = {name: a[name] / np.linalg.norm(a[name], axis=-1, keepdims=True) for name in ("query", "key")}
    return a, a | units


def _one_hidden_unit(a: dict) -> tuple[dict, dict]:
    row = a["weight"][:1]  # (1, dq + dk)
    halves = np.stack([row[0, :4], row[0, 4:]])  # two hidden units: one for the query, one for the key
    selected = np.array([1.0, 0.0, 0.0, 1.0])
    return a | {"weight": row, "a": np.ones(1)}, a | {"weight": halves, "a": selected}


def _one_hot_queries(a: dict) -> tuple[dict, dict]:
    one_hot = np.broadcast_to(np.eye(3, 4), (2, 3, 4)).copy()
    logits = np.zeros((6, 6))
    logits[:4] = 2 * a["weight"].T  # sqrt(d) = 2
    own = a | {"query": one_hot}
    return own, pick(own, "query", "key", "value") | {"logits": logits}


def _product_of_factors(a: dict) -> tuple[dict, dict]:
    return a, pick(a, "query", "key", "value") | {"logits": a["f_query"] @ a["f_key"].T}


_BY_PLACE = {
    "key_value_invariance": "a score belongs to the key's place, whatever stands there",
    "permutation_equivariance": "a score belongs to the key's place, whatever stands there",
}
_BY_BOTH_PLACES = _BY_PLACE | {"query_equivariance": "a score belongs to the query's place, not to the query"}


RECORDS = (
    variant(
        name="dot",
        title="Dot-product attention",
        year=2015,
        citation="luong2015effective",
        family="score",
        equation=r"e_{ij} = q_i^\top k_j",
        time="O(nmd)",
        memory="O(nm)",
        function=scored(pipeline.attend, scores.dot),
        reference=scored(reference.attend, reference.dot),
        inputs=sequences,
    ),
    variant(
        name="scaled_dot",
        title="Scaled dot-product attention",
        year=2017,
        citation="vaswani2017attention",
        family="score",
        equation=r"e_{ij} = q_i^\top k_j / \sqrt{d}",
        time="O(nmd)",
        memory="O(nm)",
        function=scored(pipeline.attend, scores.scaled_dot),
        reference=scored(reference.attend, reference.scaled_dot),
        inputs=sequences,
        equals=(Equality("dot", r"q \leftarrow q / \sqrt{d}", _scaled_query),),
    ),
    variant(
        name="general",
        title="General (bilinear) attention",
        year=2015,
        citation="luong2015effective",
        family="score",
        equation=r"e_{ij} = q_i^\top W k_j",
        time="O(nmd + nd^2)",
        memory="O(nm + nd)",
        function=scored(pipeline.attend, scores.general),
        reference=scored(reference.attend, reference.general),
        inputs=_general_inputs,
        equals=(Equality("dot", "W = I", _identity_weight),),
    ),
    variant(
        name="concat",
        title="Concat attention",
        year=2015,
        citation="luong2015effective",
        family="score",
        equation=r"e_{ij} = v^\top \tanh(W [q_i; k_j])",
        time="O(nmd^2)",
        memory="O(nmd)",
        function=scored(pipeline.attend, scores.concat),
        reference=scored(reference.attend, reference.concat),
        inputs=_concat_inputs,
        equals=(Equality("additive", r"W = [W_q\ W_k]", _split_weight),),
    ),
    variant(
        name="additive",
        title="Additive attention",
        year=2014,
        citation="bahdanau2014neural",
        family="score",
        equation=r"e_{ij} = v^\top \tanh(W_q q_i + W_k k_j)",
        time="O(nmd + (n + m)d^2)",
        memory="O(nmd)",
        function=scored(pipeline.attend, scores.additive),
        reference=scored(reference.attend, reference.additive),
        inputs=_additive_inputs,
    ),
    variant(
        name="cosine",
        title="Cosine (content-addressed) attention",
        year=2014,
        citation="graves2014neural",
        family="score",
        equation=r"e_{ij} = q_i^\top k_j / (\|q_i\| \|k_j\|)",
        time="O(nmd)",
        memory="O(nm + (n + m)d)",
        function=scored(pipeline.attend, scores.cosine),
        reference=scored(reference.attend, reference.cosine),
        inputs=sequences,
        equals=(Equality("dot", r"q \leftarrow q / \|q\|,\ k \leftarrow k / \|k\|", _unit_vectors),),
    ),
    variant(
        name="gat",
        title="Graph attention (GAT)",
        year=2017,
        citation="velickovic2017graph",
        family="score",
        equation=r"e_{ij} = \mathrm{LeakyReLU}(a^\top [W q_i; W k_j])",
        time="O(nmd + (n + m)d^2)",
        memory="O(nm + (n + m)d)",
        function=scored(pipeline.attend, scores.gat),
        reference=scored(reference.attend, reference.gat),
        inputs=_gat_inputs,
    ),
    variant(
        name="gat_v2",
        title="Dynamic graph attention (GATv2)",
        year=2021,
        citation="brody2021how",
        family="score",
        equation=r"e_{ij} = a^\top \mathrm{LeakyReLU}(W [q_i; k_j])",
        time="O(nmd + (n + m)d^2)",
        memory="O(nmd)",
        function=scored(pipeline.attend, scores.gat_v2),
        reference=scored(reference.attend, reference.gat_v2),
        inputs=_gat_v2_inputs,
        equals=(Equality("gat", r"\text{one hidden unit, } a = 1", _one_hidden_unit),),
    ),
    variant(
        name="location",
        title="Location-based attention",
        year=2015,
        citation="luong2015effective",
        family="score",
        equation=r"e_{ij} = w_j^\top q_i",
        time="O(nmd)",
        memory="O(nm)",
        function=scored(pipeline.attend, scores.location),
        reference=reference.location,
        inputs=_location_inputs,
        exempt=_BY_PLACE,
        equals=(Equality("positional", r"q_i = \text{one-hot},\ P = \sqrt d\, W^\top", _one_hot_queries),),
    ),
    variant(
        name="positional",
        title="Positional attention",
        year=2024,
        citation="luo2024learning",
        family="score",
        equation=r"e_{ij} = P_{ij} / \sqrt{d}",
        time="O(nmd)",
        memory="O(nm)",
        function=scored(pipeline.attend, scores.positional),
        reference=reference.positional,
        inputs=_positional_inputs,
        exempt=_BY_BOTH_PLACES,
    ),
    variant(
        name="factorized_positional",
        title="Factorised positional attention",
        year=2024,
        citation="luo2024learning",
        family="score",
        equation=r"e_{ij} = f_i^\top f'_j / \sqrt{d}",
        time="O(nm(d + k))",
        memory="O(nm + nk)",
        function=scored(pipeline.attend, scores.factorized_positional),
        reference=reference.factorized_positional,
        inputs=_factorized_inputs,
        exempt=_BY_BOTH_PLACES,
        equals=(Equality("positional", r"P = F_1 F_2^\top", _product_of_factors),),
    ),
)
