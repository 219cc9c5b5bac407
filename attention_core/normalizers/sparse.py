"""Normalisers that give the worst keys no weight at all: `sparsemax`, and `entmax` between it and softmax."""

import itertools
import math
from numbers import Real

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.autograd.function import once_differentiable

from attention_core.normalizers import rows
from attention_core.normalizers.dense import softmax


def sparsemax(
    scores: Float[Tensor, "*rows m"], mask: Bool[Tensor, "..."] | None = None, temperature: Real = 1.0
) -> Float[Tensor, "*rows m"]:
    r"""Sparsemax: $w_j = [z_j - \tau]_+$ with $z = s/T$ and $\tau$ such that the allowed weights sum to 1.

    It is the point of the simplex nearest to z. With z sorted downwards, the support is the first k scores
    for the largest k with $1 + k z_k > \sum_{j \le k} z_j$, and $\tau = (\sum_{j \le k} z_j - 1) / k$.
    Its gradient is $\partial z_j$ less the mean of $\partial z$ over the support; outside it, 0.

    Martins & Astudillo (2016), equation 2 and algorithm 1. Costs $O(m \log m)$ a row, for sorting.
    """
    rows.check_temperature(temperature)
    logits, forbidden = rows.prepare(scores, mask)
    if scores.shape[-1] == 0:
        return torch.zeros_like(scores)
    z = rows.centre(logits) / rows.representable(temperature, logits.dtype)

    ordered = z.sort(dim=-1, descending=True).values
    sums = ordered.cumsum(-1)
    counts = torch.arange(1, z.shape[-1] + 1, device=z.device)
    size = (1 + counts * ordered > sums).sum(-1, keepdim=True).clamp(min=1)  # 0 only where all is NaN
    tau = (sums.gather(-1, size - 1) - 1) / size  # (*rows, 1)

    weights = (z - tau).clamp(min=0.0)
    return weights.masked_fill(forbidden, 0.0).to(scores.dtype)


def entmax(
    scores: Float[Tensor, "*rows m"],
    mask: Bool[Tensor, "..."] | None = None,
    alpha: Real | Float[Tensor, "..."] = 1.5,
    temperature: Real = 1.0,
) -> Float[Tensor, "*rows m"]:
    r"""Entmax: $w_j = [(\alpha - 1) z_j - \tau]_+^{1/(\alpha - 1)}$, $z = s/T$, the weights summing to 1.

    $\alpha = 1$ is `softmax`, as a limit, and $\alpha = 2$ `sparsemax`; a larger one gives fewer keys weight.
    `alpha` is a number of at least 1, or a tensor with one a row, broadcast to (*rows, 1), and gradients
    reach it, at 1 and near it too: one a head has shape (heads, 1, 1). To learn one, use 1 + softplus(a).

    Peters, Niculae & Martins (2019), section 3; its gradient in alpha: Correia, Niculae & Martins (2019).
    Costs $O(m)$ a pass over the scores, to find $\tau$. Up to $\alpha = 2$ Newton's method takes as many as
    suffice for any scores (22 at 1.5 for 1024 keys, in float32 14); above, bisection takes 60 (31).
    """
    rows.check_temperature(temperature)
    _check_alpha(alpha)
    if isinstance(alpha, Real) and alpha in (1, 2):
        return (softmax if alpha == 1 else sparsemax)(scores, mask, temperature)
    logits, forbidden = rows.prepare(scores, mask)
    excess = rows.per_row("alpha", alpha - 1, logits)  # (*rows, 1); in float32, alpha itself may round to 1
    if scores.shape[-1] == 0:
        return torch.zeros_like(scores)
    z = rows.centre(logits) / rows.representable(temperature, logits.dtype)
    return _Entmax.apply(z, excess, _largest(alpha) - 1).masked_fill(forbidden, 0.0).to(scores.dtype)


class _Entmax(torch.autograd.Function):
    r"""Entmax of rows z whose largest is 0, with $\epsilon = \alpha - 1 \ge 0$, and its exact gradient.

    The root is sought as $\theta = -\ln \max_j w_j$ and not as $\tau$:
    $w_j = e^{-\theta} (1 + \epsilon z_j e^{\epsilon\theta})_+^{1/\epsilon}$, where $0 \le \theta \le \ln m$
    for every $\epsilon$. So nothing cancels as $\epsilon \to 0$, where $\tau \to -1$ and the power diverges,
    nor for large $\epsilon$, where $\tau$ and $\epsilon z_j$ agree in all digits.
    """

    generate_vmap_rule = True

    @staticmethod
    def forward(z: Tensor, excess: Tensor, largest: float) -> Tensor:
        excess = excess.clamp(min=math.sqrt(torch.finfo(z.dtype).tiny))  # 0 / 0 at 0; it makes no difference
        theta = (_newton if largest <= 1 else _bisection)(z, excess, largest)
        weights = _powers(z, excess, theta)
        return weights / weights.sum(-1, keepdim=True)

    @staticmethod
    def setup_context(ctx, inputs: tuple[Tensor, Tensor, float], output: Tensor) -> None:
        ctx.save_for_backward(output, inputs[1])

    @staticmethod
    @once_differentiable
    def backward(ctx, upstream: Tensor) -> tuple[Tensor, Tensor, None]:
        r"""As $w_j = (1 + \epsilon (z_j - t))^{1/\epsilon}$ on the support, $\partial w = D - q \sum_j D_j$.

        D is the change at fixed t, for z $D_j = w_j^{1-\epsilon} \partial z_j$; the rest keeps the sum at 1
        by moving t, and q is $w^{1-\epsilon}$ divided by its sum.
        """
        weights, excess = ctx.saved_tensors
        log_weights = weights.log()  # -inf outside the support
        slopes = ((1 - excess) * log_weights).masked_fill(weights == 0, -math.inf)
        shares = torch.softmax(slopes, dim=-1)
        relative = upstream - (shares * upstream).sum(-1, keepdim=True)
        largest = torch.finfo(weights.dtype).max  # large alpha: steeper than can be represented
        to_z = slopes.exp().clamp(max=largest) * relative
        to_excess = (_change_by_excess(weights, log_weights, excess) * relative).sum(-1, keepdim=True)
        return to_z, to_excess, None


def _newton(z: Tensor, excess: Tensor, largest: float) -> Tensor:
    r"""The root $\theta$ where $\epsilon \le 1$, by Newton's method in $s = e^{-\epsilon\theta}$.

    With $\Sigma$ the sum of the weights, $N = \Sigma^\epsilon$ is the norm of $(s + \epsilon z)_+$ with
    exponent $1/\epsilon$, so it is convex in s: from s = 1 the steps for N = 1 come down to the root and
    never pass it, and need no bracket. Solved for N and not for $\Sigma$, as N is nearly linear for
    $\epsilon \to 0$. A step is $-\epsilon\Delta\theta = \ln (1 + \Sigma (\Sigma^{-\epsilon} - 1) / D)$, where
    $D = -\partial\Sigma / \partial\theta$ is the sum of $w_j / (1 + \epsilon z_j e^{\epsilon\theta})$.
    """
    theta = torch.zeros_like(excess)
    for _ in range(_passes(z.shape[-1], largest, torch.finfo(z.dtype).eps)):
        inner = _inner(z, excess, theta)
        powers = inner.log1p().div_(excess).sub_(theta).exp_()
        total = powers.sum(-1, keepdim=True)
        inner.masked_fill_(inner == -1, 0.0)  # outside the support, where 0 / 0 would be NaN
        steepness = powers.div_(inner.add_(1)).sum(-1, keepdim=True)
        change = total * torch.expm1(-excess * total.log()) / steepness
        theta = theta - torch.log1p(change) / excess
    return theta


def _passes(m: int, excess: float, precision: float) -> int:
    r"""Newton steps that bring $\theta$ within `precision` whatever the m scores; more for larger $\epsilon$.

    Let h be N - 1 and g the slope of N, at least 1 and at most $m^\epsilon$. As N is convex, a step from h
    and g to h' and g' has $h'/h + g'/g \le 1$. So $h_k \le h_0 (1 - m^{-\epsilon/k})^k$ after k of them, as a
    geometric mean is at most the arithmetic one; $h_0 \le m^\epsilon - 1$, and the error is at most
    $h_k / \epsilon$. (Most scores need half as many; to see it, a GPU would have to be waited for.)
    """
    excess = max(excess, precision)
    growth = excess * math.log(max(m, 2))  # $\ln m^\epsilon$
    wanted = excess * precision / math.expm1(growth)
    return next(k for k in itertools.count(1) if (-math.expm1(-growth / k)) ** k <= wanted)


def _bisection(z: Tensor, excess: Tensor, _: float) -> Tensor:
    r"""The root $\theta$ for any $\epsilon$: above 1, the slope is infinite where a key joins the support."""
    low = torch.zeros_like(excess)
    high = torch.full_like(excess, math.log(z.shape[-1]))
    for _ in range(round(-math.log2(torch.finfo(z.dtype).eps)) + 8):
        middle = (low + high) / 2
        too_much = _powers(z, excess, middle).sum(-1, keepdim=True) > 1
        low = torch.where(too_much, middle, low)
        high = torch.where(too_much, high, middle)
    return low


def _powers(z: Tensor, excess: Tensor, theta: Tensor) -> Tensor:
    r"""$e^{-\theta} (1 + \epsilon z_j e^{\epsilon\theta})_+^{1/\epsilon}$, by logarithms."""
    return _inner(z, excess, theta).log1p_().div_(excess).sub_(theta).exp_()  # in place: allocating is dear


def _inner(z: Tensor, excess: Tensor, theta: Tensor) -> Tensor:
    r"""$\epsilon z_j e^{\epsilon\theta}$, or -1 where it is less, in memory of its own."""
    scale = excess * (excess * theta).exp()
    return (z * scale.clamp(max=torch.finfo(z.dtype).max)).clamp_min_(-1.0)  # 0 * inf would be NaN


def _change_by_excess(weights: Tensor, log_weights: Tensor, excess: Tensor) -> Tensor:
    r"""Change of each weight with $\epsilon$ at fixed t, up to a multiple of $w^{1-\epsilon}$.

    It is $(w (1 + a) - w^{1-\epsilon}) / \epsilon^2$ with $a = -\epsilon \ln w$. Where $\epsilon$ is small
    the terms cancel: there it is $-w \ln^2 w\, \varphi(a)$. Where it is large the second may overflow, and
    is left out: moving t makes good any multiple of it.
    """
    a = -excess * log_weights
    far = weights * (1 + a) / excess.square()
    near = -weights * log_weights.square() * _phi(a)
    return torch.where(excess < 0.5, near, far).masked_fill(weights == 0, 0.0)


def _phi(a: Tensor) -> Tensor:
    r"""$(e^a - 1 - a) / a^2$, which is 1/2 at 0; below 1/2 by its series, as the difference would cancel."""
    series = torch.zeros_like(a)
    for k in range(16, 1, -1):
        series = series * a + 1 / math.factorial(k)
    return torch.where(a < 0.5, series, (torch.expm1(a) - a) / a.square())


def _check_alpha(alpha: Real | Tensor) -> None:
    """Require 1 or more; if they lie on a GPU, this waits for it."""
    rows.check_number("alpha", alpha)
    if isinstance(alpha, Tensor):
        if not ((alpha >= 1) & (alpha < math.inf)).all():
            raise ValueError(
                f"`alpha` must be finite and at least 1; got {alpha.min().item()} to {alpha.max().item()}. "
                "To learn one, let it be `1 + torch.nn.functional.softplus(parameter)`."
            )
    elif not 1 <= alpha < math.inf:
        raise ValueError(
            f"`alpha` must be finite and at least 1; got {alpha}. 1 is `normalizers.softmax`, 2 is "
            "`normalizers.sparsemax`; for the limit of infinite alpha use `normalizers.hard`."
        )


def _largest(alpha: Real | Tensor) -> float:
    """The largest alpha; like its check, this waits for a GPU where they are a tensor."""
    if not isinstance(alpha, Tensor):
        return float(alpha)
    return alpha.detach().max().item() if alpha.numel() else 1.0
