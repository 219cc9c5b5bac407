"""Modern Hopfield networks: attention as the retrieval step of an associative memory, with its energy."""

import math
from functools import partial
from numbers import Real

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from attention_core import heads, normalizers, pipeline, scores
from attention_core.pipeline import Attended


def retrieve(
    query: Float[Tensor, "*batch n d"],
    patterns: Float[Tensor, "*batch m d"],
    *,
    beta: Real | Float[Tensor, "..."] | None = None,
    steps: int = 1,
    mask: Bool[Tensor, "..."] | None = None,
) -> Attended:
    r"""Retrieve stored patterns: $\xi \leftarrow X^\top \mathrm{softmax}(\beta X \xi)$, `steps` times.

    Each query $\xi$ becomes the average of the patterns, the rows of X, weighted by how alike they are to it.
    Ramsauer et al. (2020), section 2. With one step and $\beta = 1/\sqrt d$, the default, this is
    `attend(query, patterns, patterns)`. No step raises `energy`.

    Large $\beta$ retrieves the pattern nearest the query, if it stands well apart from the others; small
    $\beta$ retrieves an average of several, near 0 of all. `beta` is a positive number, or a tensor that
    broadcasts to (*batch, n, 1). `mask`, True = may see, broadcasts to (*batch, n, m).

    Weights and lse are those of the last step. A query that sees no pattern gives output 0.
    """
    _check_memory(query, patterns)
    beta = _inverse_temperature(beta, query)
    if not heads.is_count(steps):
        raise ValueError(
            f"`steps` must be an integer of at least 1; got {steps!r}. The query itself is what 0 steps give."
        )
    for _ in range(steps):
        attended = pipeline.attend(query, patterns, patterns, score=partial(_likeness, beta=beta), mask=mask)
        query = attended.output
    return attended


def energy(
    query: Float[Tensor, "*batch n d"],
    patterns: Float[Tensor, "*batch m d"],
    *,
    beta: Real | Float[Tensor, "..."] | None = None,
    mask: Bool[Tensor, "..."] | None = None,
) -> Float[Tensor, "*batch n"]:
    r"""Energy of a query in the memory, which `retrieve` lowers.

    $E(\xi) = -\beta^{-1} \ln \sum_{j=1}^N e^{\beta x_j \cdot \xi} + \tfrac12 \xi \cdot \xi + \beta^{-1} \ln N
    + \tfrac12 M^2$, over the N patterns that the query may see, M the largest of their norms.
    Ramsauer et al. (2020), section 2. The last two terms do not depend on $\xi$; they keep $E \ge 0$.

    `beta` and `mask` are those of `retrieve`. In float32 or better. A query that sees no pattern has the
    energy $\tfrac12 \xi \cdot \xi$, which is least at the 0 that `retrieve` gives.
    """
    _check_memory(query, patterns)
    shape = torch.Size((*query.shape[:-1], patterns.shape[-2]))
    normalizers.check_mask(mask, shape)
    (query, patterns, _, _), spoiled = pipeline.quarantine(query, patterns, patterns, mask, None)
    dtype = torch.promote_types(query.dtype, torch.float32)
    query, patterns = query.to(dtype), patterns.to(dtype)
    beta = _inverse_temperature(beta, query)

    seen = torch.ones(shape, dtype=torch.bool, device=query.device) if mask is None else mask.expand(shape)
    count = seen.sum(-1, dtype=dtype).clamp(min=1)  # (*batch, n); the logarithm of an integer is float32
    lse = normalizers.logsumexp(_likeness(query, patterns, beta=beta), mask)
    lse = lse.masked_fill(~seen.any(-1), 0.0)
    squares = patterns.square().sum(-1)[..., None, :].expand(shape)  # (*batch, n, m)
    largest = _largest(squares.masked_fill(~seen, 0.0))

    attraction = (lse - count.log()) / beta.squeeze(-1)
    energies = -attraction + query.square().sum(-1) / 2 + largest / 2
    return energies if spoiled is None else energies.masked_fill(spoiled.scores, math.nan)


def _likeness(query: Tensor, patterns: Tensor, *, beta: Tensor) -> Float[Tensor, "*batch n m"]:
    return scores.dot(beta * query, patterns)


def _largest(squares: Float[Tensor, "*batch n m"]) -> Float[Tensor, "*batch n"]:
    """The largest of each row, 0 of none."""
    return squares.amax(-1) if squares.shape[-1] else squares.sum(-1)


def _check_memory(query: Tensor, patterns: Tensor) -> None:
    scores.check_sequences(query=query, patterns=patterns)
    if query.shape[-1] != patterns.shape[-1]:
        raise ValueError(
            f"`query` and `patterns` must have one width, as a query becomes a pattern; got "
            f"{query.shape[-1]} and {patterns.shape[-1]}. Project one to the other's width first."
        )


def _inverse_temperature(beta: Real | Tensor | None, query: Tensor) -> Float[Tensor, "*batch n 1"]:
    """Beta, or its default, as a tensor with one number a query."""
    beta = 1 / math.sqrt(query.shape[-1]) if beta is None else beta
    if isinstance(beta, Real) and not 0 < beta < math.inf:
        raise ValueError(
            f"`beta` must be positive and finite; got {beta}. It is an inverse temperature: for the one most "
            "alike pattern use `attend(..., normalize=normalizers.hard)`."
        )
    return normalizers.per_row("beta", beta, query)
