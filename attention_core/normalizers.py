"""Normalisers: from scores to weights. Every function is `f(scores, mask=None, ...) -> weights`.

They work on the last axis and keep the scores' shape and dtype; inside, statistics are float32 or better.
Where the mask (True = may attend) forbids, or the score is -inf, the weight is exactly 0.
A row that allows nothing gets weights 0 and finite gradients: never NaN, never a uniform row.
"""

import math
from numbers import Real

import torch
from jaxtyping import Bool, Float
from torch import Tensor


def softmax(
    scores: Float[Tensor, "*rows m"], mask: Bool[Tensor, "..."] | None = None, temperature: Real = 1.0
) -> Float[Tensor, "*rows m"]:
    r"""Softmax over the allowed keys A: $w_j = e^{s_j/T} / \sum_{k \in A} e^{s_k/T}$.

    A temperature T below 1 sharpens towards `hard`, above 1 flattens towards the mean of the allowed values.
    """
    _check_temperature(temperature)
    logits, forbidden = _logits(scores, mask)
    weights = torch.softmax(_temper(logits, temperature), dim=-1)
    return weights.masked_fill(forbidden, 0.0).to(scores.dtype)  # in an empty row it was uniform


def hard(
    scores: Float[Tensor, "*rows m"], mask: Bool[Tensor, "..."] | None = None
) -> Float[Tensor, "*rows m"]:
    r"""One-hot argmax over the allowed keys A: $w_j = [\,j = \arg\max_{k \in A} s_k\,]$.

    A tie goes to the first maximum, so the limit $T \to 0$ of `softmax` (which shares it) is met only where
    the maximum is unique. Piecewise constant: no gradient reaches the scores.
    Xu et al. (2015), section 4.1, sample the location instead; this is their choice at its most likely.
    """
    logits, forbidden = _logits(scores, mask)
    weights = torch.zeros_like(scores)
    if scores.shape[-1] == 0:  # no key at all, so no argmax
        return weights
    best = logits.argmax(-1, keepdim=True)  # of an empty row: any key, forbidden like the rest
    return weights.scatter(-1, best, 1.0).masked_fill(forbidden, 0.0)


def logsumexp(
    scores: Float[Tensor, "*rows m"], mask: Bool[Tensor, "..."] | None = None
) -> Float[Tensor, "*rows"]:
    r"""$\ln \sum_{j \in A} e^{s_j}$ over the allowed keys A; -inf where nothing is allowed.

    In float32 or better whatever the scores' dtype: results are merged by it. `torch.logsumexp` alone has
    the same value, but a NaN gradient in a row of -inf.
    """
    logits, forbidden = _logits(scores, mask)
    return torch.logsumexp(logits, dim=-1).masked_fill(forbidden.all(-1), -math.inf)


def check_mask(mask: Tensor | None, shape: torch.Size) -> None:
    """Require no mask, or a boolean one that broadcasts to the scores' `shape`."""
    if mask is None:
        return
    got = mask.dtype if isinstance(mask, Tensor) else type(mask).__name__
    if got != torch.bool:
        floating = isinstance(mask, Tensor) and mask.is_floating_point()
        remedy = (
            "A float bias goes in `bias=`." if floating else "Use `torch.as_tensor(mask, dtype=torch.bool)`."
        )
        raise TypeError(f"`mask` must be a boolean tensor with True = may attend; got {got}. {remedy}")
    if not broadcasts(mask.shape, shape):
        raise ValueError(
            f"`mask` must broadcast to the scores' shape {tuple(shape)}; got {tuple(mask.shape)}. "
            "One mask a sequence needs an axis for the heads: `mask[:, None]`."
        )


def broadcasts(shape: torch.Size, to: torch.Size) -> bool:
    """Whether `shape` expands to `to` without changing it."""
    sizes = zip(reversed(shape), reversed(to), strict=False)
    return len(shape) <= len(to) and all(size in (1, target) for size, target in sizes)


def _logits(scores: Tensor, mask: Tensor | None) -> tuple[Tensor, Bool[Tensor, "*rows m"]]:
    """Scores in float32 or better, -inf where forbidden; and where that is: by the mask, or by a -inf score.

    In a row that is -inf throughout, softmax and logsumexp have a NaN gradient, at which anomaly detection
    stops even if it goes no further. So a row that allows nothing is 0 instead, for the caller to overrule.
    """
    if not isinstance(scores, Tensor) or not scores.is_floating_point():
        got = getattr(scores, "dtype", type(scores).__name__)
        raise TypeError(
            f"`scores` must be a floating tensor; got {got}. Use `torch.as_tensor(scores).float()`."
        )
    check_mask(mask, scores.shape)
    forbidden = scores == -math.inf
    if mask is not None:
        forbidden = forbidden | ~mask
    logits = scores.to(torch.promote_types(scores.dtype, torch.float32))
    empty = forbidden.all(-1, keepdim=True)  # (*rows, 1)
    fill = torch.zeros_like(empty, dtype=logits.dtype).masked_fill(~empty, -math.inf)
    return torch.where(forbidden, fill, logits), forbidden


def _temper(logits: Tensor, temperature: Real) -> Tensor:
    """Logits over T, up to a shift of each row, which softmax does not see.

    The shift brings the largest to 0, so that however small T is none overflows to +inf. T itself must not
    round to 0 or inf in the logits' dtype: 0 / 0 and -inf / inf are NaN.
    """
    if temperature == 1 or logits.shape[-1] == 0:  # without a key there is no largest
        return logits
    limits = torch.finfo(logits.dtype)
    temperature = float(min(max(temperature, limits.tiny), limits.max))
    return (logits - logits.detach().amax(-1, keepdim=True)) / temperature


def _check_temperature(temperature: Real) -> None:
    if not isinstance(temperature, Real) or isinstance(temperature, bool):
        raise TypeError(
            f"`temperature` must be a number; got {type(temperature).__name__}. "
            "To learn one, divide the scores by it yourself."
        )
    if not 0 < temperature < math.inf:
        raise ValueError(
            f"`temperature` must be positive and finite; got {temperature}. For T = 0 use "
            "`normalizers.hard`; for infinite T, uniform weights, multiply the scores by 0."
        )
