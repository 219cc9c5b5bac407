"""AttnLRP: relevance handed back from the output, as a gradient whose rules are changed on the way."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from jaxtyping import Float
from torch import Tensor, nn

from attention_core.explain.layouts import Feed, Layout


class _Scaled(torch.autograd.Function):
    """The same number, whose gradient is multiplied."""

    @staticmethod
    def forward(ctx, x: Tensor, factor: float) -> Tensor:
        ctx.factor = factor
        return x.view_as(x)

    @staticmethod
    def backward(ctx, gradient: Tensor) -> tuple[Tensor, None]:
        return ctx.factor * gradient, None


def scaled(x: Tensor, factor: float) -> Tensor:
    r"""x, with $\partial f / \partial x$ multiplied by `factor`.

    For the uniform rule, Achtibat et al. (2024), proposition 3.3: of a product both factors get half of the
    relevance, since each alone would claim all of it.
    """
    return _Scaled.apply(x, factor)


def ratio(x: Float[Tensor, "*shape"], y: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    r"""y, as x times the constant y / x: the identity rule, Achtibat et al. (2024), equation 9.

    All relevance of y, a nonlinearity of x, goes to x. Where x is 0 nothing can be handed on, and the
    constant is 0.
    """
    constant = torch.where(x == 0, torch.zeros_like(x), y / torch.where(x == 0, torch.ones_like(x), x))
    return x * constant.detach()


def centred(x: Float[Tensor, "*batch width"], norm: nn.LayerNorm) -> Float[Tensor, "*batch width"]:
    r"""A layer norm with its standard deviation as a constant: Achtibat et al. (2024), proposition 3.4.

    $\gamma \odot (x - \bar x) / \sigma + \beta$ with $\sigma$ held: linear in x, so it keeps relevance.
    Differentiated through $\sigma$, a norm gives its input no relevance at all: that is why plain gradient
    times input starves.
    """
    deviation = (x.var(-1, unbiased=False, keepdim=True) + norm.eps).sqrt().detach()
    y = (x - x.mean(-1, keepdim=True)) / deviation
    y = y if norm.weight is None else y * norm.weight
    return y if norm.bias is None else y + norm.bias


@contextmanager
def attnlrp_rules(parts: Layout) -> Iterator[None]:
    r"""Inside, the model computes the same, but gradients follow the rules of Achtibat et al. (2024).

    Gradient times input under these rules is relevance, from the logit, $R = f$, back to the tokens:

    | operation | rule | as a gradient |
    | --- | --- | --- |
    | linear layer, sum | $\epsilon \to 0$, equation 8 | its own |
    | softmax $s$ of $x$ | $R_i = x_i (R_i - s_i \sum_j R_j)$, proposition 3.1 | its own |
    | product of weights and values | half to each, proposition 3.3 | of values times 1/2 |
    | product of queries and keys | half to each, of the weights' half | of queries and keys times 1/4 |
    | GELU, SiLU | identity, equation 9 | `ratio` |
    | layer norm | identity, proposition 3.4 | `centred` |
    | SwiGLU's product | half to each, proposition 3.2 | as of values |

    For vision transformers the authors recommend the $\gamma$ rule in linear layers, with a $\gamma$ tuned
    for each model, to be rid of noise; there is none here. Biases and the softmax take relevance out, nothing
    adds any.
    """
    handles = []
    try:
        for module in (*parts.queries, *parts.keys):
            handles.append(module.register_forward_hook(lambda _, inputs, y: scaled(y, 0.25)))
        for module in parts.values:
            handles.append(module.register_forward_hook(lambda _, inputs, y: scaled(y, 0.5)))
        for module in parts.model.modules():
            if isinstance(module, nn.LayerNorm):
                handles.append(module.register_forward_hook(lambda norm, inputs, y: centred(inputs[0], norm)))
        for feed in parts.feeds:
            handles.extend(_feed_rules(feed))
        yield
    finally:
        for handle in handles:
            handle.remove()


def _feed_rules(feed: Feed) -> list:
    """Hooks on a block's network: what enters its last layer is written anew, from what its first gave."""
    seen = {}

    def keep(name: str):
        return lambda module, inputs, y: seen.update({name: y})

    def rewrite(module: nn.Module, inputs: tuple) -> tuple:
        up, active = seen["up"], inputs[0]
        if feed.gate is None:
            return (ratio(up, active), *inputs[1:])
        halves = (scaled(ratio(seen[name], active), 0.5) for name in ("up", "gate"))
        return (sum(halves) - active.detach(), *inputs[1:])  # each is a whole in value, and half in gradient

    handles = [feed.up.register_forward_hook(keep("up"))]
    if feed.gate is not None:
        handles.append(feed.gate.register_forward_hook(keep("gate")))
    return [*handles, feed.down.register_forward_pre_hook(rewrite)]


def relevance(
    tokens: Float[Tensor, "batch n width"], gradient: Float[Tensor, "batch n width"]
) -> Float[Tensor, "batch n"]:
    r"""$R_i = \sum_d x_{id}\, \partial f / \partial x_{id}$, with the gradient of `attnlrp_rules`.

    Of the embedded patches, each with its position, as the first block reads them. Without biases, and but
    for what softmax takes, the tokens' relevances sum to f.
    """
    return (tokens * gradient).sum(-1)
