"""Memories: attention as writing to and reading from a state."""

from functools import partial

import numpy as np
import torch

from attention_core import hopfield, linear, reference
from attention_core.catalogue.record import Equality, pick, variant

# Inputs.


def _hopfield_inputs(rng: np.random.Generator) -> dict:
    return {"query": rng.normal(size=(2, 3, 4)), "patterns": rng.normal(size=(2, 5, 4)), "steps": 2}


def _tokens(rng: np.random.Generator) -> dict:
    """Five tokens: three chunks of two, the last one not full."""
    shapes = {"query": (2, 5, 4), "key": (2, 5, 4), "value": (2, 5, 3)}
    return {name: rng.normal(size=shape) for name, shape in shapes.items()}


def _performer_inputs(rng: np.random.Generator) -> dict:
    return _tokens(rng) | {"projection": rng.normal(size=(6, 4))}


def _delta_inputs(rng: np.random.Generator) -> dict:
    return _tokens(rng) | {"beta": rng.random((2, 5))}


def _gated_inputs(rng: np.random.Generator) -> dict:
    return _delta_inputs(rng) | {"decay": rng.random((2, 5))}


# Special cases: from a variant's inputs, its own arguments and the other variant's.


def _one_step(a: dict) -> tuple[dict, dict]:
    plain = pick(a, "query", "patterns")
    return plain, {"query": a["query"], "key": a["patterns"], "value": a["patterns"]}


def _features(a: dict) -> tuple[dict, dict]:
    query, key = (np.where(x > 0, x + 1, np.exp(np.minimum(x, 0))) for x in (a["query"], a["key"]))
    total = (query * key.cumsum(-2)).sum(-1, keepdims=True)
    return a, {"query": query / total, "key": key, "value": a["value"]}


def _random_features(a: dict) -> tuple[dict, dict]:
    projection = torch.from_numpy(a["projection"])

    def feature_map(x):
        x = x / x.shape[-1] ** 0.25
        return (x @ projection.mT - x.square().sum(-1, keepdim=True) / 2).exp() / len(projection) ** 0.5

    return a, pick(a, "query", "key", "value") | {"feature_map": feature_map}


def _orthonormal(a: dict) -> tuple[dict, dict]:
    four = {name: a[name][:, :4] for name in ("query", "key", "value")}
    four["key"] = np.linalg.qr(four["key"])[0]
    return four | {"beta": np.ones((2, 4))}, four


def _token_by_token(a: dict) -> tuple[dict, dict]:
    return a | {"mode": "parallel"}, a | {"mode": "recurrent"}


def _undecayed(a: dict) -> tuple[dict, dict]:
    return a | {"decay": np.ones_like(a["decay"])}, pick(a, "query", "key", "value", "beta")


_SEQUENTIAL = {
    "query_equivariance": "a query reads what was written up to its own place",
    "key_value_invariance": "what is written when decides who reads it",
    "permutation_equivariance": "a query reads what was written up to its own place",
    "empty_rows": "takes no mask: every token reads at least itself",
    "weights_sum_to_one": "a state stands for the weights, which are never formed",
}
_ANY_SIGN = {"convex_hull": "weights may be negative, and their sum is anything"}

RECORDS = (
    variant(
        name="hopfield",
        title="Hopfield retrieval",
        year=2020,
        citation="ramsauer2020hopfield",
        family="memory",
        equation=r"\xi \leftarrow X^\top \mathrm{softmax}(\beta X \xi)",
        time="O(nmd)",
        memory="O(nm)",
        function=hopfield.retrieve,
        reference=reference.hopfield,
        inputs=_hopfield_inputs,
        equals=(Equality("scaled_dot", r"\beta = 1 / \sqrt{d},\ \text{one step}", _one_step),),
    ),
    variant(
        name="fast_weights",
        title="Fast weights",
        year=1992,
        citation="schmidhuber1992learning",
        family="memory",
        equation=r"S_t = S_{t-1} + k_t v_t^\top,\quad o_t = S_t^\top q_t",
        time="O(nd^2)",
        memory="O(d^2)",
        function=partial(linear.fast_weights, chunk=2),
        reference=reference.fast_weights,
        inputs=_tokens,
        exempt=_SEQUENTIAL | _ANY_SIGN,
    ),
    variant(
        name="linear",
        title="Linear attention",
        year=2020,
        citation="katharopoulos2020transformers",
        family="memory",
        equation=r"w_{tj} \propto \phi(q_t)^\top \phi(k_j),\quad \phi = \mathrm{elu} + 1",
        time="O(nd^2)",
        memory="O(d^2)",
        function=partial(linear.linear_attention, chunk=2),
        reference=reference.linear_attention,
        inputs=_tokens,
        exempt=_SEQUENTIAL,
        equals=(
            Equality(
                "fast_weights",
                r"q_t \leftarrow \phi(q_t) / \textstyle\sum_{j \le t} w_{tj},\ k \leftarrow \phi(k)",
                _features,
            ),
        ),
    ),
    variant(
        name="performer",
        title="Performer (FAVOR+)",
        year=2020,
        citation="choromanski2020rethinking",
        family="memory",
        equation=r"w_{tj} \propto \phi(q_t)^\top \phi(k_j),\quad \phi(x) = e^{Wx - \|x\|^2 / 2} / \sqrt{r}",
        time="O(nrd)",
        memory="O(rd)",
        function=partial(linear.performer, chunk=2),
        reference=reference.performer,
        inputs=_performer_inputs,
        exempt=_SEQUENTIAL,
        equals=(Equality("linear", r"\phi(x) = e^{Wx - \|x\|^2 / 2} / \sqrt{r}", _random_features),),
    ),
    variant(
        name="delta_rule",
        title="Delta rule",
        year=2021,
        citation="schlag2021linear",
        family="memory",
        equation=r"S_t = S_{t-1} + b_t k_t (v_t - S_{t-1}^\top k_t)^\top",
        time="O(nd^2)",
        memory="O(d^2)",
        function=partial(linear.delta_rule, chunk=2),
        reference=reference.delta_rule,
        inputs=_delta_inputs,
        exempt=_SEQUENTIAL | _ANY_SIGN,
        equals=(
            Equality("fast_weights", r"k_i^\top k_j = [\,i = j\,],\ b = 1", _orthonormal),
            Equality("delta_rule", r"\text{all tokens at once, in WY form}", _token_by_token),
        ),
    ),
    variant(
        name="gated_delta_rule",
        title="Gated delta rule",
        year=2024,
        citation="yang2024gated",
        family="memory",
        equation=r"S_t = a_t (I - b_t k_t k_t^\top) S_{t-1} + b_t k_t v_t^\top",
        time="O(nd^2)",
        memory="O(d^2)",
        function=partial(linear.gated_delta_rule, chunk=2),
        reference=reference.gated_delta_rule,
        inputs=_gated_inputs,
        exempt=_SEQUENTIAL | _ANY_SIGN,
        equals=(Equality("delta_rule", "a = 1", _undecayed),),
    ),
)
