"""Architectures: what attends to what, through which projections, under which mask."""

from functools import partial

import numpy as np
import torch
from torch import Tensor

from attention_core import masks, pipeline, reference, scores
from attention_core.catalogue.record import Equality, drawn, pick, sequences, variant
from attention_core.differential import DifferentialAttention
from attention_core.latent import LatentAttention
from attention_core.multihead import MultiHeadAttention
from attention_core.pipeline import Attended

# Functions: an article's five ways to wire attention, and modules as functions of their parameters.


def encoder_decoder_dot(query: Tensor, key: Tensor, *, mask=None, bias=None) -> Attended:
    """Decoder states attend to encoder states, which are both keys and values."""
    return pipeline.attend(query, key, key, score=scores.dot, mask=mask, bias=bias)


def encoder_decoder_qkv(
    query: Tensor, key: Tensor, w_query: Tensor, w_key: Tensor, w_value: Tensor, *, mask=None, bias=None
) -> Attended:
    """Cross-attention: the decoder projects its queries, the encoder its keys and values; (out, width)."""
    (query, key, _, bias), spoiled = pipeline.quarantine(query, key, key, mask, bias)
    projected = query @ w_query.mT, key @ w_key.mT, key @ w_value.mT
    return pipeline.spoil(pipeline.attend(*projected, mask=mask, bias=bias), spoiled)


def encoder_only_dot(x: Tensor, *, mask=None, bias=None) -> Attended:
    """A sequence attends to itself as it is: the scores are its auto-correlation."""
    return pipeline.attend(x, x, x, score=scores.dot, mask=mask, bias=bias)


def fully_connected(query: Tensor, key: Tensor, weight: Tensor, *, mask=None, bias=None) -> Attended:
    """A layer reads the decoder alone, [embedding; state], and names places, not contents."""
    score = partial(scores.location, weight=weight)
    return pipeline.attend(query, key, key, score=score, mask=mask, bias=bias)


def self_attention(
    x: Tensor, w_query: Tensor, w_key: Tensor, w_value: Tensor, *, mask=None, bias=None
) -> Attended:
    """A sequence attends to itself through three projections (out, width)."""
    (x, _, _, bias), spoiled = pipeline.quarantine(x, x, x, mask, bias)
    attended = pipeline.attend(x @ w_query.mT, x @ w_key.mT, x @ w_value.mT, mask=mask, bias=bias)
    return pipeline.spoil(attended, spoiled)


def multi_head(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    w_query: Tensor,
    w_key: Tensor,
    w_value: Tensor,
    w_output: Tensor,
    heads: int,
    *,
    kv_heads: int | None = None,
    mask: Tensor | None = None,
    bias: Tensor | None = None,
) -> Attended:
    """`MultiHeadAttention` without biases, as a function of its projections (out, in)."""
    module = MultiHeadAttention(
        len(w_query),
        heads,
        kv_heads=kv_heads,
        key_width=key.shape[-1],
        value_width=value.shape[-1],
        bias=False,
        device="meta",  # shapes only: the parameters are the arguments
    )
    parameters = {
        "to_query.weight": w_query,
        "to_key.weight": w_key,
        "to_value.weight": w_value,
        "to_output.weight": w_output,
    }
    return torch.func.functional_call(module, parameters, (query, key, value), {"mask": mask, "bias": bias})


def differential(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    w_query: Tensor,
    w_key: Tensor,
    w_value: Tensor,
    w_output: Tensor,
    lambda_query: Tensor,
    lambda_key: Tensor,
    scale: Tensor,
    heads: int,
    *,
    depth: int = 0,
    kv_heads: int | None = None,
    mask: Tensor | None = None,
    bias: Tensor | None = None,
) -> Attended:
    """`DifferentialAttention` as a function of its projections (out, in), lambda vectors and norm's scale."""
    module = DifferentialAttention(len(w_query), heads, depth, kv_heads=kv_heads, device="meta")
    parameters = {
        "to_query.weight": w_query,
        "to_key.weight": w_key,
        "to_value.weight": w_value,
        "to_output.weight": w_output,
        "lambda_query": lambda_query,
        "lambda_key": lambda_key,
        "norm.weight": scale,
    }
    return torch.func.functional_call(module, parameters, (query, key, value), {"mask": mask, "bias": bias})


def latent(
    x: Tensor, heads: int, *, mask=None, bias=None, absorbed: bool = False, **parameters: Tensor
) -> Attended:
    """`LatentAttention`, its parameters under the names of its `state_dict`."""
    asking, rope_width = parameters.get("to_query_latent.weight"), len(parameters["to_rope_key.weight"])
    module = LatentAttention(
        x.shape[-1],
        heads,
        latent_width=len(parameters["to_latent.weight"]),
        head_width=len(parameters["to_key.weight"]) // heads,
        rope_width=rope_width,
        value_width=len(parameters["to_value.weight"]) // heads,
        query_latent_width=None if asking is None else len(asking),
        device="meta",
    )
    options = {"mask": mask, "bias": bias, "absorbed": absorbed}
    return torch.func.functional_call(module, parameters, (x,), options)


# Inputs.


def _states(rng: np.random.Generator) -> dict:
    return pick(sequences(rng), "query", "key")


def _encoder_inputs(rng: np.random.Generator) -> dict:
    return {"x": rng.normal(size=(2, 5, 4))}


def _cross_inputs(rng: np.random.Generator) -> dict:
    shapes = {"query": (2, 3, 4), "key": (2, 5, 3), "w_query": (4, 4), "w_key": (4, 3), "w_value": (2, 3)}
    return {name: rng.normal(size=shape) for name, shape in shapes.items()}


def _fully_connected_inputs(rng: np.random.Generator) -> dict:
    return _states(rng) | {"weight": rng.normal(size=(6, 4))}  # up to six places


def _masked_inputs(rng: np.random.Generator) -> dict:
    return sequences(rng) | {"mask": masks.causal(3, 5, align="lower_right").numpy()}


def _self_inputs(rng: np.random.Generator) -> dict:
    projections = {name: rng.normal(size=(4, 4)) for name in ("w_query", "w_key", "w_value")}
    return {"x": rng.normal(size=(2, 5, 4))} | projections


def _heads_inputs(rng: np.random.Generator, *, heads: int = 2, kv_heads: int = 2) -> dict:
    width, kv_width = 2 * heads, 2 * kv_heads
    sequences = {"query": (2, 3, width), "key": (2, 5, 3), "value": (2, 5, 2)}
    weights = {
        "w_query": (width, width),
        "w_key": (kv_width, 3),
        "w_value": (kv_width, 2),
        "w_output": (width, width),
    }
    return {name: rng.normal(size=shape) for name, shape in (sequences | weights).items()} | {"heads": heads}


def _grouped_inputs(rng: np.random.Generator) -> dict:
    return _heads_inputs(rng, heads=4, kv_heads=2) | {"kv_heads": 2}


def _one_group_inputs(rng: np.random.Generator) -> dict:
    return _heads_inputs(rng, heads=4, kv_heads=1) | {"kv_heads": 1}


def _differential_inputs(rng: np.random.Generator) -> dict:
    sequences = {"query": (2, 3, 8), "key": (2, 5, 8), "value": (2, 5, 8)}
    weights = {"w_query": (8, 8), "w_key": (4, 8), "w_value": (4, 8), "w_output": (8, 8)}
    lambdas = {"lambda_query": (2, 2), "lambda_key": (2, 2), "scale": (4,)}
    shapes = sequences | weights | lambdas
    arrays = {name: rng.normal(size=shape) for name, shape in shapes.items()}
    return arrays | {"heads": 2, "kv_heads": 1, "depth": 1}


def _latent_inputs(rng: np.random.Generator) -> dict:
    sizes = {"latent_width": 3, "head_width": 2, "rope_width": 2, "value_width": 3, "query_latent_width": 3}
    module = LatentAttention(4, 2, **sizes, device="meta")
    return {"x": rng.normal(size=(2, 5, 4)), "heads": 2} | drawn(rng, module)


# Special cases: from a variant's inputs, its own arguments and the other variant's.


def _values_are_keys(a: dict) -> tuple[dict, dict]:
    return a, a | {"value": a["key"]}


def _both_are_x(a: dict) -> tuple[dict, dict]:
    return a, {"query": a["x"], "key": a["x"]}


def _cross_projected(a: dict) -> tuple[dict, dict]:
    q, x = a["query"], a["key"]
    return a, {"query": q @ a["w_query"].T, "key": x @ a["w_key"].T, "value": x @ a["w_value"].T}


def _decoder_is_encoder(a: dict) -> tuple[dict, dict]:
    return a, pick(a, "w_query", "w_key", "w_value") | {"query": a["x"], "key": a["x"]}


def _no_projection(a: dict) -> tuple[dict, dict]:
    identity = np.eye(a["x"].shape[-1])
    scaled = identity * np.sqrt(len(identity))  # undoes the division by sqrt(d)
    return pick(a, "x") | {"w_query": scaled, "w_key": identity, "w_value": identity}, pick(a, "x")


def _projected(a: dict) -> tuple[dict, dict]:
    x = a["x"]
    return a, {"query": x @ a["w_query"].T, "key": x @ a["w_key"].T, "value": x @ a["w_value"].T}


def _everything_visible(a: dict) -> tuple[dict, dict]:
    return a | {"mask": np.ones((3, 5), dtype=bool)}, pick(a, "query", "key", "value")


def _window_of_all(a: dict) -> tuple[dict, dict]:
    return a | {"mask": masks.window(3, 5, 5, "lower_right").numpy()}, a


def _one_identity_head(a: dict) -> tuple[dict, dict]:
    x = {"query": a["query"], "key": a["query"][:, ::-1].copy(), "value": a["query"] ** 3}
    names = ("w_query", "w_key", "w_value", "w_output")
    return x | dict.fromkeys(names, np.eye(x["query"].shape[-1])) | {"heads": 1}, x


def _repeated_groups(a: dict) -> tuple[dict, dict]:
    groups, repeats = a["kv_heads"], a["heads"] // a["kv_heads"]

    def repeat(weight):  # two features a head; of two groups: rows 0 1 0 1 2 3 2 3
        return weight.reshape(groups, 2, -1).repeat(repeats, axis=0).reshape(2 * a["heads"], -1)

    repeated = a | {"w_key": repeat(a["w_key"]), "w_value": repeat(a["w_value"])}
    repeated.pop("kv_heads")
    return a, repeated


def _absorbed(a: dict) -> tuple[dict, dict]:
    return a | {"absorbed": True}, a | {"absorbed": False}


_PROJECTED_OUTPUT = "the output projection leaves the hull of the values"
_PROJECTED_VALUES = "the hull is that of the projected values, not of the inputs"
_ONE_SEQUENCE = "queries and keys are one sequence: permuting it permutes both"

RECORDS = (
    variant(
        name="encoder_decoder_dot",
        title="Encoder-decoder attention, dot product",
        year=2015,
        citation="luong2015effective",
        family="architecture",
        equation=r"o_i = \sum_j \mathrm{softmax}_j(q_i^\top k_j)\, k_j",
        time="O(nmd)",
        memory="O(nm)",
        function=encoder_decoder_dot,
        reference=reference.encoder_decoder_dot,
        inputs=_states,
        equals=(Equality("dot", "v = k", _values_are_keys),),
    ),
    variant(
        name="encoder_decoder_qkv",
        title="Cross-attention (encoder-decoder, QKV)",
        year=2017,
        citation="vaswani2017attention",
        family="architecture",
        equation=r"q_i = W_q y_i,\quad k_j = W_k x_j,\quad v_j = W_v x_j",
        time="O(nmd + (n + m)d^2)",
        memory="O(nm + (n + m)d)",
        function=encoder_decoder_qkv,
        reference=reference.encoder_decoder_qkv,
        inputs=_cross_inputs,
        exempt={"convex_hull": _PROJECTED_VALUES},
        equals=(Equality("scaled_dot", r"q = W_q y,\ k = W_k x,\ v = W_v x", _cross_projected),),
    ),
    variant(
        name="encoder_only_dot",
        title="Encoder-only attention, dot product",
        year=2017,
        citation="wang2017nonlocal",
        family="architecture",
        equation=r"o_i = \sum_j \mathrm{softmax}_j(x_i^\top x_j)\, x_j",
        time="O(n^2 d)",
        memory="O(n^2)",
        function=encoder_only_dot,
        reference=reference.encoder_only_dot,
        inputs=_encoder_inputs,
        exempt={"query_equivariance": _ONE_SEQUENCE, "key_value_invariance": _ONE_SEQUENCE},
        equals=(Equality("encoder_decoder_dot", "y = x", _both_are_x),),
    ),
    variant(
        name="fully_connected",
        title="Fully connected attention",
        year=2017,
        citation="robertson2017translation",
        family="architecture",
        equation=r"e_i = W [\mathrm{emb}_i; s_i],\quad o_i = \sum_j \mathrm{softmax}_j(e_{ij})\, h_j",
        time="O(nmd)",
        memory="O(nm + md)",
        function=fully_connected,
        reference=reference.fully_connected,
        inputs=_fully_connected_inputs,
        exempt={
            "key_value_invariance": "the scores name places, so it matters which key stands where",
            "permutation_equivariance": "the scores name places, so it matters which key stands where",
        },
        equals=(Equality("location", "v = k", _values_are_keys),),
    ),
    variant(
        name="self_attention",
        title="Self-attention (encoder-only, QKV)",
        year=2016,  # as intra-attention; projected queries, keys and values came in 2017
        citation="cheng2016long",
        family="architecture",
        equation=r"q_i = W_q x_i,\quad k_j = W_k x_j,\quad v_j = W_v x_j",
        time="O(n^2 d + nd^2)",
        memory="O(n^2 + nd)",
        function=self_attention,
        reference=reference.self_attention,
        inputs=_self_inputs,
        exempt={
            "query_equivariance": _ONE_SEQUENCE,
            "key_value_invariance": _ONE_SEQUENCE,
            "convex_hull": _PROJECTED_VALUES,
        },
        equals=(
            Equality("scaled_dot", r"q = W_q x,\ k = W_k x,\ v = W_v x", _projected),
            Equality("encoder_decoder_qkv", "y = x", _decoder_is_encoder),
            Equality("encoder_only_dot", r"W_q = \sqrt{d}\, I,\ W_k = W_v = I", _no_projection),
        ),
    ),
    variant(
        name="masked",
        title="Masked (causal) attention",
        year=2017,
        citation="vaswani2017attention",
        family="mask",
        equation=r"e_{ij} = -\infty \text{ where } j > i + (m - n)",
        time="O(nmd)",
        memory="O(nm)",
        function=pipeline.attend,
        reference=reference.attend,
        inputs=_masked_inputs,
        equals=(
            Equality("scaled_dot", r"\text{mask all true}", _everything_visible),
            Equality("masked", r"\text{its mask is a window of } w \ge m \text{ keys}", _window_of_all),
        ),
    ),
    variant(
        name="multi_head",
        title="Multi-head attention",
        year=2017,
        citation="vaswani2017attention",
        family="architecture",
        equation=r"o = W^O [\mathrm{head}_1; \dots; \mathrm{head}_H]",
        time="O(nmd + (n + m)d^2)",
        memory="O(Hnm + (n + m)d)",
        function=multi_head,
        reference=reference.multi_head,
        inputs=_heads_inputs,
        exempt={"convex_hull": _PROJECTED_OUTPUT},
        equals=(Equality("scaled_dot", r"H = 1,\ W^Q = W^K = W^V = W^O = I", _one_identity_head),),
    ),
    variant(
        name="grouped_query",
        title="Grouped-query attention",
        year=2023,
        citation="ainslie2023gqa",
        family="architecture",
        equation=r"\mathrm{head}_h = \mathrm{attend}(q_h, k_g, v_g),\quad g = \lfloor hG/H \rfloor",
        time="O(nmd + (n + m)d^2)",
        memory="O(Hnm + nd + mdG/H)",
        function=multi_head,
        reference=reference.multi_head,
        inputs=_grouped_inputs,
        exempt={"convex_hull": _PROJECTED_OUTPUT},
        equals=(Equality("multi_head", r"W^K, W^V \text{ repeated } H/G \text{ times}", _repeated_groups),),
    ),
    variant(
        name="multi_query",
        title="Multi-query attention",
        year=2019,
        citation="shazeer2019fast",
        family="architecture",
        equation=r"\mathrm{head}_h = \mathrm{attend}(q_h, k, v)",
        time="O(nmd + nd^2 + md^2/H)",
        memory="O(Hnm + nd + md/H)",
        function=multi_head,
        reference=reference.multi_head,
        inputs=_one_group_inputs,
        exempt={"convex_hull": _PROJECTED_OUTPUT},
        equals=(Equality("multi_head", r"W^K, W^V \text{ repeated } H \text{ times}", _repeated_groups),),
    ),
    variant(
        name="differential",
        title="Differential attention",
        year=2024,
        citation="ye2024differential",
        family="architecture",
        equation=r"\mathrm{head}_h = (1 - \lambda_0)\, \mathrm{RMSNorm}((A_{h1} - \lambda A_{h2}) v_h)",
        time="O(nmd + (n + m)d^2)",
        memory="O(Hnm + (n + m)d)",
        function=differential,
        reference=reference.differential,
        inputs=_differential_inputs,
        exempt={
            "weights_sum_to_one": "the difference of two maps sums to 1 - lambda, and may be negative",
            "convex_hull": _PROJECTED_OUTPUT,
        },
    ),
    variant(
        name="latent",
        title="Multi-head latent attention",
        year=2024,
        citation="deepseekai2024deepseekv2",
        family="architecture",
        equation=r"c_j = \mathrm{norm}(W^{DKV} x_j),\quad"
        r" e_{ij} = \frac{q_i^\top W^{UK}_h c_j + q^{R\top}_i k^R_j}{\sqrt{d_{nope} + d_{rope}}},\quad"
        r" v_j = W^{UV}_h c_j",
        time="O(n^2 d + nd^2)",
        memory="O(Hn^2 + nd)",
        function=latent,
        reference=reference.latent,
        inputs=_latent_inputs,
        exempt={
            "query_equivariance": _ONE_SEQUENCE,
            "key_value_invariance": _ONE_SEQUENCE,
            "permutation_equivariance": "rotary positions tell the places apart",
            "convex_hull": _PROJECTED_OUTPUT,
        },
        equals=(Equality("latent", r"q^\top (W^{UK} c) = (W^{UK\top} q)^\top c", _absorbed),),
    ),
)
