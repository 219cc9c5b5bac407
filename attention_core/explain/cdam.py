"""Class-discriminative attention maps: tokens times gradients, inside a block and not before it."""

from collections.abc import Callable
from numbers import Real

import torch
from jaxtyping import Float
from torch import Tensor


def cdam(
    tokens: Float[Tensor, "batch n width"], gradient: Float[Tensor, "batch n width"]
) -> Float[Tensor, "batch n"]:
    r"""CDAM, of Brocki et al. (2023), section 3: $S_i = \sum_d T_{id}\, \partial f / \partial T_{id}$.

    T is what the last block's first norm gives its attention, as in the authors' code. Signed: a negative
    patch speaks against the class. The gradient is with respect to all tokens, not to CLS alone.

    Not before the norm: there f does not change when a patch's token x is scaled, as the norm divides by its
    length, so by Euler $\sum_d x_d\, \partial f / \partial x_d = 0$ (exactly, if the norm's eps were 0). What
    is left is rounding and eps, and dividing by the largest makes a picture of it.
    """
    return (tokens * gradient).sum(-1)


def cdam_smooth(
    score: Callable[[Tensor], Float[Tensor, " batch"]],
    tokens: Float[Tensor, "batch n width"],
    samples: int = 50,
    noise: Real = 0.05,
    seed: int = 0,
) -> Float[Tensor, "batch n"]:
    r"""Smooth CDAM (Brocki et al. 2023): the mean of CDAM over `samples` noisy copies of the tokens.

    $S_i = \frac{1}{m} \sum_k \sum_d T^k_{id}\, \partial f / \partial T^k_{id}$ with $T^k = T + \sigma
    \epsilon^k$, $\epsilon$ standard normal, and $\sigma$ = `noise` times the difference of each image's
    largest and smallest entry. The authors' code adds the noise to the block's input, before the norm; here
    it is on the tokens themselves.

    `score` is f, of T with the rest of the block's input held. All images get the same $\epsilon$, from
    `seed`.
    """
    generator = torch.Generator().manual_seed(seed)
    deviation = noise * (tokens.amax((1, 2)) - tokens.amin((1, 2)))[:, None, None]
    total = torch.zeros_like(tokens[..., 0])
    for _ in range(samples):
        epsilon = torch.randn(tokens.shape[1:], generator=generator, dtype=torch.float64).to(tokens)
        noisy = (tokens + deviation * epsilon).detach().requires_grad_()
        (gradient,) = torch.autograd.grad(score(noisy).sum(), [noisy])
        total += cdam(noisy.detach(), gradient)
    return total / samples


def cdam_integrated(
    score: Callable[[Tensor], Float[Tensor, " batch"]],
    tokens: Float[Tensor, "batch n width"],
    steps: int = 32,
) -> Float[Tensor, "batch n"]:
    r"""Integrated CDAM (Brocki et al. 2023): integrated gradients of the tokens, from none to all of them.

    $S_i = \sum_d T_{id} \int_0^1 \partial f(\alpha T) / \partial T_{id}\, d\alpha$, by the midpoint rule,
    with $\alpha T$ after the norm and the rest of the block's input held. Complete: all tokens, CLS among
    them, sum to $f(T) - f(0)$. (The authors' code scales the block's input by $\alpha$ instead, before the
    norm, which undoes it: T stays the same all along, and only the tokens that go past attention grow.)
    """
    total = torch.zeros_like(tokens)
    for step in range(steps):
        point = ((step + 0.5) / steps * tokens).detach().requires_grad_()
        (gradient,) = torch.autograd.grad(score(point).sum(), [point])
        total += gradient
    return cdam(tokens, total / steps)


def cdam_path(
    projected: Float[Tensor, "batch n width"],
    gradient: Float[Tensor, "batch n width"],
    bias: Float[Tensor, " width"] | None,
) -> Float[Tensor, "batch n"]:
    r"""CDAM through one projection, $u_i = W T_i + b$: $\sum_d (W T_i)_d\, \partial f / \partial u_{id}$.

    T enters attention three times, as query, key and value, so by the chain rule CDAM is the sum of three
    such parts:

    - values: for a head that reads CLS, $\sum_h A^h_{0i} \langle W_V^h T_i, g^h \rangle$, g the gradient of
      what CLS's attention gives: what patch i says, as far as CLS listens;
    - keys: $\sum_h (\partial f / \partial l^h_{0i})\, q^h_0 \cdot (W_K^h T_i) / \sqrt d$: what it does to
      CLS's listening;
    - queries: of CLS alone in the last block, as no patch's own question reaches the output.

    So in the last block a patch's CDAM is its value part plus its key part, exactly. The split is ours.
    """
    content = projected if bias is None else projected - bias
    return (content * gradient).sum(-1)
