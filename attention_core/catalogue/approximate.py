"""Approximations: fewer keys, or fewer pairs."""

import numpy as np
import torch
from torch import Tensor

from attention_core import approximate, reference
from attention_core.catalogue.record import Equality, pick, sequences, variant
from attention_core.pipeline import Attended

# Functions: every one returns output, weights and lse.


def reformer(x: Tensor, value: Tensor, rotations: Tensor, *, chunk: int, causal: bool = False) -> Attended:
    """`approximate.reformer` with its weights, which are its output for the identity."""
    n = x.shape[-2]
    each = torch.eye(n, dtype=x.dtype, device=x.device).expand(*x.shape[:-1], n)
    weights = approximate.reformer(x, each, rotations, chunk=chunk, causal=causal).output
    return approximate.reformer(x, value, rotations, chunk=chunk, causal=causal)._replace(weights=weights)


# Inputs.


def _linformer_inputs(rng: np.random.Generator) -> dict:
    return sequences(rng) | {"w_key": rng.normal(size=(3, 5)), "w_value": rng.normal(size=(3, 5))}


def _reformer_inputs(rng: np.random.Generator) -> dict:
    x, value, rotations = (rng.normal(size=shape) for shape in ((2, 8, 4), (2, 8, 2), (2, 4, 1)))
    return {"x": x, "value": value, "rotations": rotations, "chunk": 2, "causal": True}


# Special cases: from a variant's inputs, its own arguments and the other variant's.


def _unmixed(a: dict) -> tuple[dict, dict]:
    plain = pick(a, "query", "key", "value")
    return plain | dict.fromkeys(("w_key", "w_value"), np.eye(a["key"].shape[-2])), plain


def _one_bucket(a: dict) -> tuple[dict, dict]:
    x, n = a["x"], a["x"].shape[-2]
    whole = a | {"rotations": np.zeros_like(a["rotations"]), "chunk": n, "causal": False}
    unit = x / np.linalg.norm(x, axis=-1, keepdims=True)
    return whole, {"query": x, "key": unit, "value": a["value"], "mask": ~np.eye(n, dtype=bool)}


_NO_MASK = "takes no mask: a mixture of keys is seen as a whole"
_BORDERS = "every token, even a later one, moves the borders between chunks"
_ONE_SEQUENCE = "queries and keys are one sequence: permuting it permutes both"

RECORDS = (
    variant(
        name="linformer",
        title="Linformer",
        year=2020,
        citation="wang2020linformer",
        family="approximation",
        equation=r"o = \mathrm{softmax}(q (E k)^\top / \sqrt{d}) \, F v",
        time="O((n + m)dr)",
        memory="O(nr + rd)",
        function=approximate.linformer,
        reference=reference.linformer,
        inputs=_linformer_inputs,
        exempt={
            "key_value_invariance": "the mixing weights belong to places, not to keys",
            "permutation_equivariance": "the mixing weights belong to places, not to keys",
            "masked_keys_inert": _NO_MASK,
            "prefix_causality": "every mixture of keys holds later ones too",
            "empty_rows": _NO_MASK,
            "convex_hull": "the hull is that of the mixed values",
        },
        equals=(Equality("scaled_dot", "E = F = I", _unmixed),),
    ),
    variant(
        name="reformer",
        title="LSH attention (Reformer)",
        year=2020,
        citation="kitaev2020reformer",
        family="approximation",
        equation=r"e_{ij} = q_i^\top q_j / (\|q_j\| \sqrt{d}) \text{ where } h(q_i) = h(q_j)",
        time=r"O(n \log n + ncd)",  # a round, for chunks of c tokens
        memory="O(nc + nd)",
        function=reformer,
        reference=reference.reformer,
        inputs=_reformer_inputs,
        exempt={
            "query_equivariance": _ONE_SEQUENCE,
            "key_value_invariance": _ONE_SEQUENCE,
            "permutation_equivariance": "within a bucket the tokens are sorted by place",
            "masked_keys_inert": _BORDERS,
            "prefix_causality": _BORDERS,
            "empty_rows": "takes no mask, and a token that meets no other sees itself",
        },
        equals=(
            Equality(
                "scaled_dot", r"h = \text{const},\ k_j = q_j / \|q_j\|,\ j \ne i \text{ alone}", _one_bucket
            ),
        ),
    ),
)
