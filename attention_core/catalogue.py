"""The catalogue: one record for each mechanism in the book.

The contract tests, the table "The variants at a glance", the API pages and the timeline are made from it.
`python -m attention_core.catalogue` prints it.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from torch import Tensor

from attention_core import masks, normalizers, pipeline, reference, scores
from attention_core.multihead import MultiHeadAttention
from attention_core.pipeline import Attended

LAWS = {
    "shape_and_dtype": "output, weights and lse have the promised shapes and the inputs' dtype",
    "query_equivariance": "permuting the queries permutes the output alike",
    "key_value_invariance": "permuting keys and values together changes nothing",
    "masked_keys_inert": "a key a row may not see cannot change that row or its gradients, even when NaN",
    "prefix_causality": "under a causal mask a row does not depend on what comes later",
    "empty_rows": "a query that may attend to nothing gives 0, weights 0, lse -inf, finite gradients",
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


def _variant(*, exempt: dict[str, str] | None = None, **fields) -> Variant:
    """A variant that holds every law it is not exempt from."""
    exempt = exempt or {}
    return Variant(laws=frozenset(LAWS.keys() - exempt.keys()), exempt=exempt, **fields)


# Functions: every one returns output, weights and lse.


def _scored(attend: Callable, score: Callable) -> Callable:
    """Attention with one score function, whose parameters become keyword arguments."""

    def attention(query, key, value, *, mask=None, bias=None, **parameters):
        return attend(query, key, value, score=partial(score, **parameters), mask=mask, bias=bias)

    return attention


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


# Inputs: batch 2, n = 3 queries of width 4, m = 5 keys of width 4, values of width 2.


def _sequences(rng: np.random.Generator, *, key_width: int = 4) -> dict:
    shapes = {"query": (2, 3, 4), "key": (2, 5, key_width), "value": (2, 5, 2)}
    return {name: rng.normal(size=shape) for name, shape in shapes.items()}


def _general_inputs(rng: np.random.Generator) -> dict:
    return _sequences(rng, key_width=3) | {"weight": rng.normal(size=(4, 3))}


def _concat_inputs(rng: np.random.Generator) -> dict:
    return _sequences(rng, key_width=3) | {"weight": rng.normal(size=(6, 7)), "v": rng.normal(size=6)}


def _additive_inputs(rng: np.random.Generator) -> dict:
    w_query, w_key, v = rng.normal(size=(6, 4)), rng.normal(size=(6, 3)), rng.normal(size=6)
    return _sequences(rng, key_width=3) | {"w_query": w_query, "w_key": w_key, "v": v}


def _masked_inputs(rng: np.random.Generator) -> dict:
    return _sequences(rng) | {"mask": masks.causal(3, 5, align="lower_right").numpy()}


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


# Special cases: from a variant's inputs, its own arguments and the other variant's.


def _pick(arguments: dict, *names: str) -> dict:
    return {name: arguments[name] for name in names}


def _identity_weight(a: dict) -> tuple[dict, dict]:
    plain = _pick(a, "query", "value") | {"key": a["query"][:, [0, 1, 2, 0, 1]]}
    return plain | {"weight": np.eye(a["query"].shape[-1])}, plain


def _scaled_query(a: dict) -> tuple[dict, dict]:
    return a, a | {"query": a["query"] / np.sqrt(a["query"].shape[-1])}


def _split_weight(a: dict) -> tuple[dict, dict]:
    dq = a["query"].shape[-1]
    halves = {"w_query": a["weight"][:, :dq], "w_key": a["weight"][:, dq:]}
    return a, _pick(a, "query", "key", "value", "v") | halves


def _projected(a: dict) -> tuple[dict, dict]:
    x = a["x"]
    return a, {"query": x @ a["w_query"].T, "key": x @ a["w_key"].T, "value": x @ a["w_value"].T}


def _everything_visible(a: dict) -> tuple[dict, dict]:
    return a | {"mask": np.ones((3, 5), dtype=bool)}, _pick(a, "query", "key", "value")


def _one_identity_head(a: dict) -> tuple[dict, dict]:
    x = {"query": a["query"], "key": a["query"][:, ::-1].copy(), "value": a["query"] ** 3}
    names = ("w_query", "w_key", "w_value", "w_output")
    return x | dict.fromkeys(names, np.eye(x["query"].shape[-1])) | {"heads": 1}, x


def _repeated_groups(a: dict) -> tuple[dict, dict]:
    def repeat(weight):  # two features a head: rows 0 1 0 1 2 3 2 3
        return weight.reshape(2, 2, -1).repeat(2, axis=0).reshape(8, -1)

    repeated = a | {"w_key": repeat(a["w_key"]), "w_value": repeat(a["w_value"])}
    repeated.pop("kv_heads")
    return a, repeated


def _cold(a: dict) -> tuple[dict, dict]:
    return a, a | {"query": a["query"] * 1e6}


_PROJECTED_OUTPUT = "the output projection leaves the hull of the values"
_ONE_SEQUENCE = "queries and keys are one sequence: permuting it permutes both"

_RECORDS = (
    _variant(
        name="dot",
        title="Dot-product attention",
        year=2015,
        citation="luong2015effective",
        family="score",
        equation=r"e_{ij} = q_i^\top k_j",
        time="O(nmd)",
        memory="O(nm)",
        function=_scored(pipeline.attend, scores.dot),
        reference=_scored(reference.attend, reference.dot),
        inputs=_sequences,
    ),
    _variant(
        name="scaled_dot",
        title="Scaled dot-product attention",
        year=2017,
        citation="vaswani2017attention",
        family="score",
        equation=r"e_{ij} = q_i^\top k_j / \sqrt{d}",
        time="O(nmd)",
        memory="O(nm)",
        function=_scored(pipeline.attend, scores.scaled_dot),
        reference=_scored(reference.attend, reference.scaled_dot),
        inputs=_sequences,
        equals=(Equality("dot", r"q \leftarrow q / \sqrt{d}", _scaled_query),),
    ),
    _variant(
        name="general",
        title="General (bilinear) attention",
        year=2015,
        citation="luong2015effective",
        family="score",
        equation=r"e_{ij} = q_i^\top W k_j",
        time="O(nmd + nd^2)",
        memory="O(nm + nd)",
        function=_scored(pipeline.attend, scores.general),
        reference=_scored(reference.attend, reference.general),
        inputs=_general_inputs,
        equals=(Equality("dot", "W = I", _identity_weight),),
    ),
    _variant(
        name="concat",
        title="Concat attention",
        year=2015,
        citation="luong2015effective",
        family="score",
        equation=r"e_{ij} = v^\top \tanh(W [q_i; k_j])",
        time="O(nmd^2)",
        memory="O(nmd)",
        function=_scored(pipeline.attend, scores.concat),
        reference=_scored(reference.attend, reference.concat),
        inputs=_concat_inputs,
        equals=(Equality("additive", r"W = [W_q\ W_k]", _split_weight),),
    ),
    _variant(
        name="additive",
        title="Additive attention",
        year=2014,
        citation="bahdanau2014neural",
        family="score",
        equation=r"e_{ij} = v^\top \tanh(W_q q_i + W_k k_j)",
        time="O(nmd + (n + m)d^2)",
        memory="O(nmd)",
        function=_scored(pipeline.attend, scores.additive),
        reference=_scored(reference.attend, reference.additive),
        inputs=_additive_inputs,
    ),
    _variant(
        name="self_attention",
        title="Self-attention",
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
            "convex_hull": "the hull is that of the projected values, not of the inputs",
        },
        equals=(Equality("scaled_dot", r"q = W_q x,\ k = W_k x,\ v = W_v x", _projected),),
    ),
    _variant(
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
        equals=(Equality("scaled_dot", r"\text{mask all true}", _everything_visible),),
    ),
    _variant(
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
    _variant(
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
    _variant(
        name="hard",
        title="Hard attention",
        year=2015,
        citation="xu2015show",
        family="normaliser",
        equation=r"w_{ij} = [\,j = \arg\max_k e_{ik}\,]",
        time="O(nmd)",
        memory="O(nm)",
        function=partial(pipeline.attend, normalize=normalizers.hard),
        reference=partial(reference.attend, normalize=reference.hard),
        inputs=_sequences,
        equals=(Equality("scaled_dot", r"T \to 0 \text{ on the right}", _cold),),
    ),
)

VARIANTS: dict[str, Variant] = {variant.name: variant for variant in _RECORDS}


def table() -> str:
    """The catalogue as text, a line each."""
    header = ("name", "year", "title", "citation", "time", "memory", "equation")
    rows = [header, *([str(getattr(variant, field)) for field in header] for variant in VARIANTS.values())]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in rows]
    return "\n".join(line.rstrip() for line in lines)


if __name__ == "__main__":
    print(table())
