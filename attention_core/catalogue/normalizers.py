"""Normalisers: from scores to weights."""

from collections.abc import Callable
from functools import partial

import numpy as np

from attention_core import normalizers, pipeline, reference
from attention_core.catalogue.record import Equality, pick, sequences, variant


def normalized(attend: Callable, normalize: Callable) -> Callable:
    """Attention with one normaliser, whose parameters become keyword arguments."""

    def attention(query, key, value, *, mask=None, bias=None, **parameters):
        return attend(query, key, value, normalize=partial(normalize, **parameters), mask=mask, bias=bias)

    return attention


# Inputs. Numbers that have a gradient are arrays without axes.


def _values_far_from_zero(rng: np.random.Generator) -> dict:
    return sequences(rng) | {"value": rng.uniform(2.0, 3.0, size=(2, 5, 2))}


def _entmax_inputs(rng: np.random.Generator) -> dict:
    return sequences(rng) | {"alpha": rng.uniform(1.3, 1.7, size=())}


def _sink_inputs(rng: np.random.Generator) -> dict:
    return _values_far_from_zero(rng) | {"sink": rng.normal(size=())}


def _gumbel_inputs(rng: np.random.Generator) -> dict:
    return sequences(rng) | {"noise": rng.gumbel(size=(2, 3, 5)), "temperature": 0.7}


# Special cases: from a variant's inputs, its own arguments and the other variant's.


def _ahead(a: dict, lead: float) -> dict:
    """The queries times a number, so that every query's best score leads by `lead` or more."""
    scores = np.sort(a["query"] @ a["key"].mT / np.sqrt(a["query"].shape[-1]), axis=-1)
    return a | {"query": a["query"] * lead / (scores[..., -1] - scores[..., -2]).min()}


def _cold(a: dict) -> tuple[dict, dict]:
    return a, _ahead(a, 1e3)  # e^-1000 is 0


def _apart(a: dict) -> tuple[dict, dict]:
    return _ahead(a, 2.0), a


def _one_key(a: dict) -> tuple[dict, dict]:
    one = pick(a, "query") | {"key": a["key"][:, :1], "value": a["value"][:, :1]}
    return one | {"sink": np.zeros(())}, one


def _key_of_value_zero(a: dict) -> tuple[dict, dict]:
    """One more key, whose score is the sink whatever the query, by a feature that no other key has."""
    rescale = np.sqrt(5 / 4)  # queries are divided by the root of a width of 5, not of 4
    query = np.pad(rescale * a["query"], ((0, 0), (0, 0), (0, 1)), constant_values=1.0)
    key = np.pad(a["key"], ((0, 0), (0, 1), (0, 1)))
    key[:, -1, -1] = a["sink"] * np.sqrt(5)
    return a, {"query": query, "key": key, "value": np.pad(a["value"], ((0, 0), (0, 1), (0, 0)))}


def _sink_below_all(a: dict) -> tuple[dict, dict]:
    return a | {"sink": np.array(-np.inf)}, pick(a, "query", "key", "value")


def _alpha(number: float) -> Callable[[dict], tuple[dict, dict]]:
    return lambda a: (a | {"alpha": np.array(number)}, pick(a, "query", "key", "value"))


def _no_noise(a: dict) -> tuple[dict, dict]:
    return a | {"noise": 0 * a["noise"], "temperature": 1.0}, pick(a, "query", "key", "value")


def _no_noise_straight_through(a: dict) -> tuple[dict, dict]:
    silent, plain = _no_noise(a)
    return silent | {"straight_through": True}, plain


RECORDS = (
    variant(
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
        inputs=sequences,
        equals=(Equality("scaled_dot", r"T \to 0 \text{ on the right}", _cold),),
    ),
    variant(
        name="gumbel",
        title="Gumbel-softmax attention",
        year=2016,
        citation="jang2016categorical",
        family="normaliser",
        equation=r"w_i = \mathrm{softmax}((e_i + g_i) / T),\quad g_{ij} = -\ln(-\ln u_{ij})",
        time="O(nmd)",
        memory="O(nm)",
        function=normalized(pipeline.attend, normalizers.gumbel),
        reference=reference.gumbel,
        inputs=_gumbel_inputs,
        equals=(
            Equality("scaled_dot", r"g = 0,\ T = 1", _no_noise),
            Equality("hard", r"g = 0,\ \text{straight through}", _no_noise_straight_through),
        ),
    ),
    variant(
        name="sparsemax",
        title="Sparsemax attention",
        year=2016,
        citation="martins2016softmax",
        family="normaliser",
        equation=r"w_{ij} = [e_{ij} - \tau_i]_+",
        time=r"O(nmd + nm \log m)",
        memory="O(nm)",
        function=partial(pipeline.attend, normalize=normalizers.sparsemax),
        reference=partial(reference.attend, normalize=reference.sparsemax),
        inputs=sequences,
        equals=(Equality("hard", r"\text{best score ahead by } 1", _apart),),
    ),
    variant(
        name="entmax",
        title="Entmax attention",
        year=2019,
        citation="peters2019sparse",
        family="normaliser",
        equation=r"w_{ij} = [(\alpha - 1) e_{ij} - \tau_i]_+^{1/(\alpha - 1)}",
        time="O(nmd)",
        memory="O(nm)",
        function=normalized(pipeline.attend, normalizers.entmax),
        reference=normalized(reference.attend, reference.entmax),
        inputs=_entmax_inputs,
        equals=(
            Equality("scaled_dot", r"\alpha = 1", _alpha(1.0)),
            Equality("sparsemax", r"\alpha = 2", _alpha(2.0)),
        ),
    ),
    variant(
        name="sink",
        title="Attention with a sink",
        year=2023,
        citation="miller2023attention",
        family="normaliser",
        equation=r"w_{ij} = e^{e_{ij}} / (e^{z} + \textstyle\sum_k e^{e_{ik}})",
        time="O(nmd)",
        memory="O(nm)",
        function=normalized(pipeline.attend, normalizers.softmax_with_sink),
        reference=normalized(reference.attend, reference.softmax_with_sink),
        inputs=_sink_inputs,
        exempt={
            "weights_sum_to_one": "the sink takes some of the weight, and gives nothing for it",
            "convex_hull": "the sink stands for a value of 0, which pulls the output out",
        },
        equals=(
            Equality("scaled_dot", r"z \to -\infty", _sink_below_all),
            Equality(
                "scaled_dot", r"\text{a key more, of score } z \text{ and value } 0", _key_of_value_zero
            ),
            Equality("sigmoid", r"m = 1,\ z = 0", _one_key),
        ),
    ),
    variant(
        name="sigmoid",
        title="Sigmoid attention",
        year=2024,
        citation="ramapuram2024theory",
        family="normaliser",
        equation=r"w_{ij} = 1 / (1 + e^{-e_{ij}})",
        time="O(nmd)",
        memory="O(nm)",
        function=partial(pipeline.attend, normalize=normalizers.sigmoid),
        reference=partial(reference.attend, normalize=reference.sigmoid),
        inputs=_values_far_from_zero,
        exempt={
            "weights_sum_to_one": "each key is weighed on its own, and none yields to another",
            "convex_hull": "the weights' sum is free, and scales the output",
        },
    ),
)
