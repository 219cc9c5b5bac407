"""Rows of scores, made ready for a normaliser: checked, masked, in float32 or better."""

import math
from numbers import Real

import torch
from jaxtyping import Bool, Float
from torch import Tensor


def logsumexp(
    scores: Float[Tensor, "*rows m"], mask: Bool[Tensor, "..."] | None = None
) -> Float[Tensor, "*rows"]:
    r"""$\ln \sum_{j \in A} e^{s_j}$ over the allowed keys A; -inf where nothing is allowed.

    In float32 or better whatever the scores' dtype: results are merged by it. `torch.logsumexp` alone has
    the same value, but a NaN gradient in a row of -inf.
    """
    logits, forbidden = prepare(scores, mask)
    return torch.logsumexp(logits, dim=-1).masked_fill(_throughout(forbidden).squeeze(-1), -math.inf)


def prepare(scores: Tensor, mask: Tensor | None) -> tuple[Tensor, Bool[Tensor, "*rows m"]]:
    """Scores in float32 or better, -inf where forbidden; and where that is: by the mask, or by a -inf score.

    In a row that is -inf throughout, softmax and logsumexp have a NaN gradient, at which anomaly detection
    stops even if it goes no further. So a row that allows nothing is 0 instead, for the caller to overrule.
    """
    if not isinstance(scores, Tensor) or not scores.is_floating_point():
        got = getattr(scores, "dtype", type(scores).__name__)
        raise TypeError(
            f"`scores` must be a floating tensor; got {got}. Use `torch.as_tensor(scores).float()`."
        )
    if scores.ndim == 0:
        raise ValueError("`scores` must have an axis of keys, the last; got (). One score is `scores[None]`.")
    check_mask(mask, scores.shape)
    forbidden = scores == -math.inf
    if mask is not None:
        forbidden = forbidden | ~mask
    logits = scores.to(torch.promote_types(scores.dtype, torch.float32))
    empty = _throughout(forbidden)
    fill = torch.zeros_like(empty, dtype=logits.dtype).masked_fill(~empty, -math.inf)
    return torch.where(forbidden, fill, logits), forbidden


def _throughout(rows: Bool[Tensor, "*rows m"]) -> Bool[Tensor, "*rows 1"]:
    """Whether a row is True throughout. `all` says the same; on a CPU this takes a fifth of its time."""
    if rows.shape[-1] == 0:
        return rows.all(-1, keepdim=True)
    return rows.view(torch.uint8).amin(-1, keepdim=True).bool()


def temper(logits: Tensor, temperature: Real) -> Tensor:
    """Logits over T, up to a shift of each row, which softmax does not see.

    The shift brings the largest to 0, so that however small T is none overflows to +inf.
    """
    return logits if temperature == 1 else centre(logits) / representable(temperature, logits.dtype)


def centre(logits: Tensor) -> Tensor:
    """Logits less their row's largest, which is a constant to the gradient: the shift changes no weight."""
    if logits.shape[-1] == 0:  # without a key there is no largest
        return logits
    return logits - logits.detach().amax(-1, keepdim=True)


def representable(temperature: Real, dtype: torch.dtype) -> float:
    """T, or the nearest that is neither 0 nor inf in the logits' dtype: 0 / 0 and -inf / inf are NaN."""
    limits = torch.finfo(dtype)
    return float(min(max(temperature, limits.tiny), limits.max))


def check_temperature(temperature: Real) -> None:
    """Require a positive, finite number."""
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


def per_row(name: str, value: Real | Tensor, logits: Tensor) -> Float[Tensor, "*rows 1"]:
    """A number, or a tensor with one number a row, as a tensor that has one for every row of the logits."""
    check_number(name, value)
    shape = torch.Size((*logits.shape[:-1], 1))
    if not isinstance(value, Tensor):
        return torch.full(shape, float(value), dtype=logits.dtype, device=logits.device)
    if not broadcasts(value.shape, shape):
        raise ValueError(
            f"`{name}` must broadcast to {tuple(shape)}, one number a row of the scores; got "
            f"{tuple(value.shape)}. One a head has shape (heads, 1, 1)."
        )
    return value.to(logits.dtype).expand(shape)


def check_number(name: str, value: Real | Tensor) -> None:
    """Require a number, or a tensor of them."""
    number = isinstance(value, Real) and not isinstance(value, bool)
    if not number and not (isinstance(value, Tensor) and value.is_floating_point()):
        got = getattr(value, "dtype", type(value).__name__)
        raise TypeError(
            f"`{name}` must be a number or a floating tensor; got {got}. "
            f"Use `torch.as_tensor({name}).float()`."
        )
