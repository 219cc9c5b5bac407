"""Normalisers that give every allowed key some weight, and `hard`, which they approach."""

from numbers import Real

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from attention_core.normalizers import rows


def softmax(
    scores: Float[Tensor, "*rows m"], mask: Bool[Tensor, "..."] | None = None, temperature: Real = 1.0
) -> Float[Tensor, "*rows m"]:
    r"""Softmax over the allowed keys A: $w_j = e^{s_j/T} / \sum_{k \in A} e^{s_k/T}$.

    A temperature T below 1 sharpens towards `hard`, above 1 flattens towards the mean of the allowed values.
    """
    rows.check_temperature(temperature)
    logits, forbidden = rows.prepare(scores, mask)
    weights = torch.softmax(rows.temper(logits, temperature), dim=-1)
    return weights.masked_fill(forbidden, 0.0).to(scores.dtype)  # in an empty row it was uniform


def hard(
    scores: Float[Tensor, "*rows m"], mask: Bool[Tensor, "..."] | None = None
) -> Float[Tensor, "*rows m"]:
    r"""One-hot argmax over the allowed keys A: $w_j = [\,j = \arg\max_{k \in A} s_k\,]$.

    A tie goes to the first maximum, so the limit $T \to 0$ of `softmax` (which shares it) is met only where
    the maximum is unique. Piecewise constant: no gradient reaches the scores.
    Xu et al. (2015), section 4.1, sample the location instead; this is their choice at its most likely.
    """
    logits, forbidden = rows.prepare(scores, mask)
    weights = torch.zeros_like(scores)
    if scores.shape[-1] == 0:  # no key at all, so no argmax
        return weights
    best = logits.argmax(-1, keepdim=True)  # of an empty row: any key, forbidden like the rest
    return weights.scatter(-1, best, 1.0).masked_fill(forbidden, 0.0)


def sigmoid(
    scores: Float[Tensor, "*rows m"], mask: Bool[Tensor, "..."] | None = None, temperature: Real = 1.0
) -> Float[Tensor, "*rows m"]:
    r"""Each key on its own: $w_j = \sigma(s_j/T) = 1 / (1 + e^{-s_j/T})$ for the allowed keys.

    Keys do not compete, so a row's weights sum to anything between 0 and the number of keys, and a constant
    added to the row changes them. Ramapuram et al. (2024) add the constant $-\ln m$ for m keys, so that the
    sum starts near 1: `attend(query, key, value, normalize=sigmoid, bias=torch.tensor(-math.log(m)))`.
    """
    rows.check_temperature(temperature)
    logits, forbidden = rows.prepare(scores, mask)
    weights = torch.sigmoid(logits / rows.representable(temperature, logits.dtype))
    return weights.masked_fill(forbidden, 0.0).to(scores.dtype)


def softmax_with_sink(
    scores: Float[Tensor, "*rows m"], mask: Bool[Tensor, "..."] | None = None, *, sink: Real | Tensor
) -> Float[Tensor, "*rows m"]:
    r"""Softmax that may leave weight unused: $w_j = e^{s_j} / (e^{z} + \sum_{k \in A} e^{s_k})$, z the sink.

    The sink is one more logit, whose own weight is dropped: a key with value 0. A row sums to less than 1, by
    what the sink took: the weights are $\mathrm{softmax}(s)\,\sigma(\mathrm{lse}(s) - z)$.

    `sink` is a number, or a tensor with one logit a row, broadcast to (*rows, 1), and gradients reach it: one
    a head, as gpt-oss learns them (OpenAI 2025), has shape (heads, 1, 1). At 0 the denominator is softmax's
    plus one (Miller 2023); at -inf this is softmax.
    """
    logits, forbidden = rows.prepare(scores, mask)
    _check_sink(sink)
    logit = rows.per_row("sink", sink, logits)  # (*rows, 1)
    weights = torch.softmax(torch.cat([logits, logit], dim=-1), dim=-1)[..., :-1]
    return weights.masked_fill(forbidden, 0.0).to(scores.dtype)


def gumbel(
    scores: Float[Tensor, "*rows m"],
    mask: Bool[Tensor, "..."] | None = None,
    temperature: Real = 1.0,
    *,
    noise: Float[Tensor, "*rows m"] | None = None,
    generator: torch.Generator | None = None,
    straight_through: bool = False,
) -> Float[Tensor, "*rows m"]:
    r"""Gumbel-softmax, a differentiable draw of one key: $w = \mathrm{softmax}((s + g)/T)$.

    With $g_j = -\ln(-\ln u_j)$ and u uniform on (0, 1), the largest $s_j + g_j$ is at key j with probability
    $\mathrm{softmax}(s)_j$, whatever T; as T falls, the weights approach that one-hot draw.
    Jang, Gu & Poole (2016), equation 2, and Maddison, Mnih & Teh (2016).

    `noise` is g, of the scores' shape; without it, it is drawn from `generator`, or from torch's own.
    `straight_through` gives the one-hot draw itself, `hard(s + g)`, with the gradient of the soft weights.
    """
    rows.check_temperature(temperature)
    logits, forbidden = rows.prepare(scores, mask)
    if noise is None:
        noise = -torch.empty_like(logits).exponential_(generator=generator).log()  # -ln u is exponential
    _check_noise(noise, logits)
    # Where a score is forbidden so is its noise: an empty row stays 0, and a NaN there goes no further.
    noisy = torch.where(forbidden, logits, logits + noise.to(logits.dtype))
    weights = torch.softmax(rows.temper(noisy, temperature), dim=-1).masked_fill(forbidden, 0.0)
    if straight_through:
        weights = hard(noisy.detach(), ~forbidden) + (weights - weights.detach())  # the bracket is 0
    return weights.to(scores.dtype)


def _check_sink(sink: Real | Tensor) -> None:
    if isinstance(sink, Real) and not sink < float("inf"):  # false for NaN
        raise ValueError(
            f"`sink` must be below inf; got {sink}. A sink that takes everything leaves weights 0: "
            "multiply the values by 0."
        )


def _check_noise(noise: Tensor, logits: Tensor) -> None:
    if not isinstance(noise, Tensor) or not noise.is_floating_point():
        got = getattr(noise, "dtype", type(noise).__name__)
        raise TypeError(
            f"`noise` must be a floating tensor; got {got}. Leave it out to have it drawn, or use "
            "`-torch.rand(scores.shape).log().neg().log()`."
        )
    if noise.shape != logits.shape:
        raise ValueError(
            f"`noise` must have the scores' shape {tuple(logits.shape)}, one draw a score; "
            f"got {tuple(noise.shape)}. Draws shared by rows can be said with `.expand`."
        )
