r"""Local attention: a window over the keys, either beside the query or where the query expects its answer.

Luong et al. (2015), section 3.2, between soft attention, which looks everywhere, and hard attention, which
looks at one place and has no gradient. D is the half width: a window reaches D positions to either side.
Positions count from 0. Masks, biases and errors as in `pipeline.attend`.
"""

from collections.abc import Callable

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from attention_core import heads, masks, normalizers, pipeline, scores
from attention_core.pipeline import Attended


def local_monotonic(
    query: Float[Tensor, "*batch n dq"],
    key: Float[Tensor, "*batch m dk"],
    value: Float[Tensor, "*batch m dv"],
    half_width: int,
    *,
    score: Callable[..., Tensor] = scores.dot,
    mask: Bool[Tensor, "..."] | None = None,
    bias: Float[Tensor, "..."] | None = None,
) -> Attended:
    r"""Local attention with monotonic alignment (local-m): query t attends to keys $t - D, \dots, t + D$.

    $o_t = \sum_s w_{ts} v_s$ with $w_t$ the softmax of the scores in the window, D being `half_width`: it is
    `masks.window` of size D + 1, both ways, from the first query at the first key (`align="upper_left"`).
    There is no Gaussian here; see `local_predictive`.

    At the borders the window is cut. A query more than D beyond the last key sees nothing, and gives 0.
    """
    heads.check_positive("half_width", half_width)
    scores.check_sequences(query=query, key=key, value=value)
    n, m = query.shape[-2], key.shape[-2]
    window = masks.window(n, m, half_width + 1, "upper_left", causal=False, device=query.device)
    if mask is not None:
        normalizers.check_mask(mask, torch.Size((*query.shape[:-1], m)))
        window = window & mask
    return pipeline.attend(query, key, value, score=score, mask=window, bias=bias)


def local_predictive(
    query: Float[Tensor, "*batch n dq"],
    key: Float[Tensor, "*batch m dk"],
    value: Float[Tensor, "*batch m dv"],
    w_position: Float[Tensor, "hidden dq"],
    v_position: Float[Tensor, " hidden"],
    half_width: int,
    *,
    score: Callable[..., Tensor] = scores.dot,
    mask: Bool[Tensor, "..."] | None = None,
    bias: Float[Tensor, "..."] | None = None,
    lengths: Int[Tensor, "*batch"] | None = None,
) -> Attended:
    r"""Local attention with predictive alignment (local-p), around the position that the query predicts.

    $w_{ts} = \mathrm{softmax}_s(e_{ts}) \exp(-(s - p_t)^2 / 2\sigma^2)$ over the keys with
    $|s - p_t| \le D$, $\sigma = D/2$, D being `half_width`; $p_t$ as in `predicted_positions`.
    Equation 10 of Luong et al. (2015).

    The product is not normalised again, so weights sum to less than 1, and an answer shrinks where the window
    hits on nothing. $p_t$ is real and learns through the Gaussian; the window's edge passes no gradient.
    lse is that of the scores in the window, before the Gaussian.

    At the borders the window is cut; as D >= 1 and $0 \le p_t \le S$, a key is always in reach. `lengths` are
    the S of sequences padded to m: where it is given, keys from S on are hidden. It defaults to m.
    A query that is not finite predicts no position, and so its answer is NaN if the mask allows it any key.
    """
    heads.check_positive("half_width", half_width)
    scores.check_sequences(query=query, key=key, value=value)
    m = key.shape[-2]
    visible = _visible(mask, lengths, query, m)  # (*batch, n, m)
    sound = query.isfinite().all(-1, keepdim=True)  # (*batch, n, 1)
    centre = predicted_positions(query.masked_fill(~sound, 0.0), w_position, v_position, m, lengths)

    distance = torch.arange(m, device=query.device) - centre.unsqueeze(-1)  # (*batch, n, m)
    window = visible & ((distance.abs() <= half_width) | ~sound)
    sigma = half_width / 2
    gaussian = torch.exp(-(distance**2) / (2 * sigma**2))

    def normalize(logits: Tensor, window: Tensor) -> Tensor:
        return normalizers.softmax(logits, window) * gaussian

    return pipeline.attend(query, key, value, score=score, mask=window, bias=bias, normalize=normalize)


def predicted_positions(
    query: Float[Tensor, "*batch n dq"],
    w_position: Float[Tensor, "hidden dq"],
    v_position: Float[Tensor, " hidden"],
    m: int,
    lengths: Int[Tensor, "*batch"] | None = None,
) -> Float[Tensor, "*batch n"]:
    r"""Where each query expects its answer: $p_t = S \, \mathrm{sigmoid}(v_p^\top \tanh(W_p q_t))$.

    Real, from 0 to S: the sequence's length in `lengths`, or m. In float32 or better, as a position in a long
    sequence needs. Equation 9 of Luong et al. (2015).
    """
    scores.check_sequences(query=query)
    scores.check_vector("v_position", v_position, like=query)
    scores.check_parameter("w_position", w_position, like=query, hidden=len(v_position), dq=query.shape[-1])
    if lengths is not None:
        _check_lengths(lengths, query, m)
    wide = torch.promote_types(query.dtype, torch.float32)
    hidden = torch.tanh(query.to(wide) @ w_position.to(wide).mT)  # (*batch, n, hidden)
    share = torch.sigmoid(hidden @ v_position.to(wide))  # (*batch, n)
    return share * (m if lengths is None else lengths.unsqueeze(-1))


def _visible(
    mask: Tensor | None, lengths: Tensor | None, query: Tensor, m: int
) -> Bool[Tensor, "*batch n m"]:
    """What may be attended before any window: what the mask allows and the lengths hold."""
    shape = torch.Size((*query.shape[:-1], m))
    normalizers.check_mask(mask, shape)
    visible = torch.ones(shape, dtype=torch.bool, device=query.device)
    if mask is not None:
        visible = visible & mask
    if lengths is not None:
        _check_lengths(lengths, query, m)
        visible = visible & masks.padding(lengths, m)
    return visible


def _check_lengths(lengths: Tensor, query: Tensor, m: int) -> None:
    masks.padding(lengths, m)  # integers in 0..m
    if lengths.shape != query.shape[:-2]:
        raise ValueError(
            f"`lengths` must hold one length a sequence, shape {tuple(query.shape[:-2])}; got "
            f"{tuple(lengths.shape)}. Share them over heads with `lengths[:, None].expand(-1, heads)`."
        )
