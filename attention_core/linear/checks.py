"""What the recurrences ask of their arguments, and how a token that is not finite is kept from the others."""

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from jaxtyping import Bool
from torch import Tensor

from attention_core import heads, pipeline, scores
from attention_core.linear.sums import Recurrent

MODES = ("recurrent", "parallel", "chunked")


def check(query: Tensor, key: Tensor, value: Tensor, mode: str, chunk: int | None, **gates: Tensor) -> None:
    """Require three sequences of as many tokens, gates of one number a token, and a known schedule."""
    scores.check_sequences(query=query, key=key, value=value)
    if query.shape != key.shape:
        raise ValueError(
            f"`query` and `key` must have one shape (*batch, n, d); got {tuple(query.shape)} and "
            f"{tuple(key.shape)}. The recurrence is causal: token t writes its key, then asks its query."
        )
    pipeline.check_pairs(key, value)
    for name, gate in gates.items():
        _check_gate(name, gate, query)
    if mode not in MODES:
        raise ValueError(f"`mode` must be one of {', '.join(map(repr, MODES))}; got {mode!r}.")
    if chunk is not None:
        heads.check_positive("chunk", chunk)


def apply_features(
    feature_map: Callable[[Tensor], Tensor], query: Tensor, key: Tensor
) -> tuple[Tensor, Tensor]:
    """The features of both, with all that the recurrence will need of them."""
    if not callable(feature_map):
        raise TypeError(
            f"`feature_map` must be a function f(x) -> features; got {type(feature_map).__name__}. "
            "For instance `linear.elu_plus_one`, without calling it."
        )
    positions = query.shape[:-1]
    query, key = feature_map(query), feature_map(key)
    scores.check_sequences(**{"feature_map(query)": query, "feature_map(key)": key})
    if query.shape != key.shape or query.shape[:-1] != positions:
        raise ValueError(
            f"`feature_map` must give each token its features, shape (*batch, n, features) = "
            f"{(*positions, 'features')}; got {tuple(query.shape)} and {tuple(key.shape)}."
        )
    return query, key


def check_projection(projection: Tensor, like: Tensor) -> None:
    """Require a matrix (features, d) of the queries' dtype."""
    if not isinstance(projection, Tensor) or projection.dtype != like.dtype:
        got = getattr(projection, "dtype", type(projection).__name__)
        raise TypeError(
            f"`projection` must be a tensor of the queries' dtype, {like.dtype}; got {got}. "
            f"Draw one by `linear.orthogonal_features(..., dtype={like.dtype})`."
        )
    d = like.shape[-1]
    if projection.ndim != 2 or projection.shape[0] == 0 or projection.shape[1] != d:
        raise ValueError(
            f"`projection` must have shape (features, d) = (features, {d}); got {tuple(projection.shape)}. "
            f"Draw one by `linear.orthogonal_features(features, {d})`."
        )


def initial(state: Tensor | None, query: Tensor, shape: tuple[int, int], holds: str) -> Tensor:
    """The state to start from, zeros if none came: (*batch, *shape), float32 or better."""
    shape = (*query.shape[:-2], *shape)
    dtype = exact_dtype(query)
    if state is None:
        return query.new_zeros(shape, dtype=dtype)
    if not isinstance(state, Tensor) or state.dtype != dtype:
        got = getattr(state, "dtype", type(state).__name__)
        raise TypeError(
            f"`initial_state` must be a {dtype} tensor for queries of {query.dtype}, as sums over a sequence "
            f"are kept in float32 or better; got {got}. Pass on the `state` of the part before."
        )
    if state.shape != shape:
        raise ValueError(
            f"`initial_state` must have shape {holds} = {shape} for these queries and values; got "
            f"{tuple(state.shape)}. Pass on the `state` of the part before, or None to start from nothing."
        )
    return state


def exact_dtype(x: Tensor) -> torch.dtype:
    return torch.promote_types(x.dtype, torch.float32)


class Spoiled(NamedTuple):
    """Whose output and which states something that is not finite spoils."""

    tokens: Bool[Tensor, "*batch n"]
    state: Bool[Tensor, "*batch"]


def quarantine(
    query: Tensor, key: Tensor, value: Tensor, *gates: Tensor
) -> tuple[tuple[Tensor, ...], Spoiled | None]:
    """Put 0 for NaN and inf, in float32 or better; and say what they spoil, None if there is none.

    A bad key, value or gate is in the state from its token on; a bad query is its own trouble. Within a chunk
    all tokens meet in matrix products, where 0 * NaN would bring the future to the past: see
    `pipeline.quarantine`. The cleaned rows are spoiled later, so what stands in for them does not matter.
    """
    tensors = (query, key, value, *gates)
    exact = exact_dtype(query)
    if _surely_finite(tensors):
        return tuple(x.to(exact) for x in tensors), None
    bad_query, *bad_others = (_bad(x) for x in (query, key, value, *(gate[..., None] for gate in gates)))
    bad = torch.stack(bad_others).any(0)
    spoiled = bad.cumsum(-1) > 0  # once written, for good
    clean = (x.to(exact).nan_to_num(0.0, 0.0, 0.0) for x in tensors)
    return tuple(clean), Spoiled(spoiled | bad_query, bad.any(-1))


def spoil(result: Recurrent, spoiled: Spoiled | None, dtype: torch.dtype) -> Recurrent:
    """Make NaN what is spoiled, so that it is seen; no gradient passes. The output gets the inputs' dtype."""
    output = result.output.to(dtype)
    if spoiled is None:
        return result._replace(output=output)
    return Recurrent(
        output.masked_fill(spoiled.tokens[..., None], math.nan),
        result.state.masked_fill(spoiled.state[..., None, None], math.nan),
    )


def _surely_finite(tensors: tuple[Tensor, ...]) -> bool:
    """Whether a sum shows, for next to nothing, that all is finite: a sixth of the time at n = 256.

    On a CPU alone, as reading the sum would wait for a GPU; and not where a tensor has no truth value.
    """
    if torch.compiler.is_compiling() or any(x.device.type != "cpu" for x in tensors):
        return False
    try:
        return all(math.isfinite(x.detach().sum().item()) for x in tensors)
    except RuntimeError:  # within torch.func.vmap
        return False


def _bad(x: Tensor) -> Bool[Tensor, "*batch n"]:
    # A twentieth of the time of `isfinite().all(-1)` on a CPU: 0 times a finite number is 0, else NaN.
    return (x.detach() * 0).sum(-1) != 0


def _check_gate(name: str, gate: Tensor, query: Tensor) -> None:
    if not isinstance(gate, Tensor) or gate.dtype != query.dtype:
        got = getattr(gate, "dtype", type(gate).__name__)
        raise TypeError(f"`{name}` must be a tensor of the queries' dtype, {query.dtype}; got {got}.")
    if gate.shape != query.shape[:-1]:
        raise ValueError(
            f"`{name}` must hold one number a token, shape (*batch, n) = {tuple(query.shape[:-1])}; got "
            f"{tuple(gate.shape)}. One for a whole sequence: `{name}[..., None].expand(...)`."
        )
