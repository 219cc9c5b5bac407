"""Sets: blocks that do not care for order. Parameters come under the names of the module's `state_dict`."""

import numpy as np
from torch import Tensor
from torch.func import functional_call

from attention_core import reference
from attention_core.catalogue.record import Equality, drawn, variant
from attention_core.pipeline import Attended
from attention_core.sets import ISAB, MAB, PMA, PerceiverBlock

# Functions: modules as functions of their parameters. On the meta device they are shapes only.


def set_attention(
    query: Tensor, key: Tensor, heads: int, *, mask=None, bias=None, **parameters: Tensor
) -> Attended:
    """A set reads another: `MAB`."""
    module = MAB(query.shape[-1], heads, key_width=key.shape[-1], device="meta")
    return functional_call(module, parameters, (query, key), {"mask": mask, "bias": bias})


def isab(x: Tensor, heads: int, **parameters: Tensor) -> Attended:
    """A set reads its own summary: `ISAB`."""
    module = ISAB(x.shape[-1], heads, len(parameters["points"]), device="meta")
    return functional_call(module, parameters, (x,))


def pma(key: Tensor, heads: int, *, mask=None, **parameters: Tensor) -> Attended:
    """A set is pooled: `PMA`."""
    module = PMA(key.shape[-1], heads, len(parameters["seeds"]), device="meta")
    return functional_call(module, parameters, (key,), {"mask": mask})


def perceiver(
    query: Tensor, key: Tensor, heads: int, *, mask=None, bias=None, **parameters: Tensor
) -> Attended:
    """Latents read the inputs, then each other: `PerceiverBlock` with one layer."""
    module = PerceiverBlock(query.shape[-1], heads, key_width=key.shape[-1], device="meta")
    return functional_call(module, parameters, (query, key), {"mask": mask, "bias": bias})


# Inputs.


def _set_inputs(rng: np.random.Generator) -> dict:
    sequences = {"query": rng.normal(size=(2, 3, 4)), "key": rng.normal(size=(2, 5, 3)), "heads": 2}
    return sequences | drawn(rng, MAB(4, 2, key_width=3, device="meta"))


def _isab_inputs(rng: np.random.Generator) -> dict:
    return {"x": rng.normal(size=(2, 5, 4)), "heads": 2} | drawn(rng, ISAB(4, 2, 3, device="meta"))


def _pma_inputs(rng: np.random.Generator) -> dict:
    return {"key": rng.normal(size=(2, 5, 4)), "heads": 2} | drawn(rng, PMA(4, 2, 3, device="meta"))


def _perceiver_inputs(rng: np.random.Generator) -> dict:
    sequences = {"query": rng.normal(size=(2, 3, 4)), "key": rng.normal(size=(2, 5, 3)), "heads": 2}
    return sequences | drawn(rng, PerceiverBlock(4, 2, key_width=3, device="meta"))


# Special cases: from a variant's inputs, its own arguments and the other variant's.


def _summary_is_key(a: dict) -> tuple[dict, dict]:
    points = np.broadcast_to(a["points"], (len(a["x"]), *a["points"].shape))
    summary, _, _ = reference.set_attention(points, a["x"], a["heads"], **reference.within(a, "summary"))
    other = {"query": a["x"], "key": summary, "heads": a["heads"]}
    return a, other | reference.within(a, "spread")


def _seeds_are_queries(a: dict) -> tuple[dict, dict]:
    features = np.maximum(a["key"] @ a["feed.weight"].T + a["feed.bias"], 0.0)
    seeds = np.stack([a["seeds"]] * len(features))
    other = {"query": seeds, "key": features, "heads": a["heads"]}
    return a, other | reference.within(a, "block")


_RESIDUAL = "the residual path carries the query on beside its attention"
_NORMED = "layer normalisation leaves the hull of the values"

RECORDS = (
    variant(
        name="set_attention",
        title="Set attention (multihead attention block)",
        year=2018,
        citation="lee2018set",
        family="set",
        equation=r"o = \mathrm{LN}(h + \mathrm{rFF}(h)),"
        r"\quad h = \mathrm{LN}(x + \mathrm{Multihead}(x, y, y))",
        time="O(nmd + (n + m)d^2)",
        memory="O(Hnm + (n + m)d)",
        function=set_attention,
        reference=reference.set_attention,
        inputs=_set_inputs,
        exempt={"empty_rows": _RESIDUAL, "convex_hull": _NORMED},
    ),
    variant(
        name="isab",
        title="Induced set attention",
        year=2018,
        citation="lee2018set",
        family="set",
        equation=r"o = \mathrm{MAB}(x, \mathrm{MAB}(p, x)),\ p \in \mathbb{R}^{r \times d} \text{ learned}",
        time="O(nrd + nd^2)",
        memory="O(Hnr + nd)",
        function=isab,
        reference=reference.isab,
        inputs=_isab_inputs,
        exempt={
            "query_equivariance": "queries and keys are one set: permuting it permutes both",
            "key_value_invariance": "queries and keys are one set: permuting it permutes both",
            "masked_keys_inert": "every element reaches every other through the inducing points",
            "prefix_causality": "every element reaches every other through the inducing points",
            "empty_rows": _RESIDUAL,
            "convex_hull": _NORMED,
        },
        equals=(Equality("set_attention", r"y = \mathrm{MAB}(p, x)", _summary_is_key),),
    ),
    variant(
        name="pma",
        title="Pooling by multihead attention",
        year=2018,
        citation="lee2018set",
        family="set",
        equation=r"o = \mathrm{MAB}(s, \mathrm{rFF}(x)),\ s \in \mathbb{R}^{r \times d} \text{ learned}",
        time="O(mrd + md^2)",
        memory="O(Hmr + md)",
        function=pma,
        reference=reference.pma,
        inputs=_pma_inputs,
        exempt={
            "query_equivariance": "the queries are learned seeds, not an input",
            "empty_rows": _RESIDUAL,
            "convex_hull": _NORMED,
        },
        equals=(Equality("set_attention", r"x = s,\ y = \mathrm{rFF}(x)", _seeds_are_queries),),
    ),
    variant(
        name="perceiver",
        title="Perceiver block",
        year=2021,
        citation="jaegle2021perceiver",
        family="set",
        equation=r"z \leftarrow z + \mathrm{Multihead}(\mathrm{LN}(z), \mathrm{LN}(x), \mathrm{LN}(x)),\quad"
        r" z \leftarrow z + \mathrm{MLP}(\mathrm{LN}(z)), \text{ then the same with } x = z",
        time="O(nmd + n^2 d + (n + m)d^2)",
        memory="O(Hnm + Hn^2 + (n + m)d)",
        function=perceiver,
        reference=reference.perceiver,
        inputs=_perceiver_inputs,
        exempt={
            "masked_keys_inert": "the latents tell each other what they have read",
            "prefix_causality": "the latents tell each other what they have read",
            "empty_rows": _RESIDUAL,
            "convex_hull": "residual paths and an MLP leave the hull",
        },
    ),
)
