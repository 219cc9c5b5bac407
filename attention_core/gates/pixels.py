"""Attention between pixels, or between channels: a softmax over the image, not a gate on it."""

from typing import NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from attention_core import heads, normalizers, pipeline, scores
from attention_core.gates.image import check_image, hidden_channels, to_image, to_pixels
from attention_core.pipeline import Attended

_MODES = ("embedded_gaussian", "gaussian", "dot_product")


class NonLocal(nn.Module):
    r"""Non-local block, of Wang et al. (2017), section 3: self-attention over the pixels, added to the image.

    $o_i = x_i + W_z \sum_j w_{ij} g_j$ with $g = W_g x$, $\theta = W_\theta x$, $\phi = W_\phi x$ and, by
    `mode`,

    - "embedded_gaussian": $w_{ij} = \mathrm{softmax}_j(\theta_i^\top \phi_j)$;
    - "gaussian": $w_{ij} = \mathrm{softmax}_j(x_i^\top x_j)$;
    - "dot_product": $w_{ij} = \theta_i^\top \phi_j / m$ for the m pixels that i may see; such weights may be
      negative and sum to anything.

    None divides by $\sqrt d$. Every W is a 1 x 1 convolution; $W_z$ starts at 0, the block as the identity.

    Parameters
    ----------
    channels
        Channels of the image.
    inner
        Channels of $\theta$, $\phi$ and $g$; half of `channels` if not given.
    mode
        How pixels are compared, as above.
    residual
        Whether the image is added; without, the output is $W_z \sum_j w_{ij} g_j$ alone.
    bias
        Whether the projections add a bias.
    """

    def __init__(
        self,
        channels: int,
        inner: int | None = None,
        *,
        mode: str = "embedded_gaussian",
        residual: bool = True,
        bias: bool = True,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ):
        super().__init__()
        heads.check_positive("channels", channels)
        inner = max(channels // 2, 1) if inner is None else inner
        heads.check_positive("inner", inner)
        if mode not in _MODES:
            raise ValueError(f"`mode` must be one of {', '.join(map(repr, _MODES))}; got {mode!r}.")
        options = {"bias": bias, "device": device, "dtype": dtype}
        self.channels, self.mode, self.residual = channels, mode, residual
        self.to_query = self.to_key = None
        if mode != "gaussian":
            self.to_query = nn.Linear(channels, inner, **options)
            self.to_key = nn.Linear(channels, inner, **options)
        self.to_value = nn.Linear(channels, inner, **options)
        self.to_output = nn.Linear(inner, channels, **options)
        for parameter in self.to_output.parameters():
            nn.init.zeros_(parameter)

    def forward(
        self,
        image: Float[Tensor, "batch {self.channels} height width"],
        *,
        mask: Bool[Tensor, "..."] | None = None,
    ) -> Attended:
        """Let every pixel attend to every pixel.

        `mask` broadcasts to (batch, h * w, h * w), pixels row by row. That is the shape of the weights; lse
        is (batch, h * w) and the output an image. A pixel that may see nothing adds the output's bias alone.
        """
        check_image(image, self.channels, self.to_value.weight)
        height, width = image.shape[2:]
        x = to_pixels(image)  # (batch, h * w, channels)
        normalizers.check_mask(mask, torch.Size((*x.shape[:2], x.shape[1])))

        (x, _, _, _), spoiled = pipeline.quarantine(x, x, x, mask, None)
        value = self.to_value(x)
        if self.mode == "gaussian":
            query = key = x.to(value.dtype)  # autocast may have chosen it
        else:
            query, key = self.to_query(x), self.to_key(x)
        normalize = _mean if self.mode == "dot_product" else normalizers.softmax
        attended = pipeline.attend(query, key, value, score=scores.dot, mask=mask, normalize=normalize)
        attended = pipeline.spoil(attended._replace(output=self.to_output(attended.output)), spoiled)
        output = to_image(attended.output, height, width)
        return attended._replace(output=image + output if self.residual else output)


class DualAttended(NamedTuple):
    """What dual attention gives back."""

    output: Float[Tensor, "batch channels height width"]
    position: Float[Tensor, "batch pixels pixels"]  # weights of each pixel on each, row by row
    channel: Float[Tensor, "batch channels channels"]  # weights of each channel on each


class DualAttention(nn.Module):
    r"""Dual attention, of Fu et al. (2018), section 3: pixels attend to pixels, channels to channels.

    $p_i = x_i + \alpha \sum_j \mathrm{softmax}_j(q_i^\top k_j) v_j$ over pixels, with q, k and v projected
    from x; $c_a = x_a + \beta \sum_b \mathrm{softmax}_b(x_a^\top x_b) x_b$ over channels, each the vector
    of its pixels, nothing projected. The output is $p + c$: at the start $2x$, as the learned $\alpha$ and
    $\beta$ start at 0. The paper's convolutions before and after the two branches are left out.

    Parameters
    ----------
    channels
        Channels of the image.
    reduction
        Divides `channels` to give those of queries and keys: the paper's 8 by default, or `channels` where
        there are fewer.
    unlike
        Whether channels look for those *least* like them. The authors' released code takes the softmax of
        $\max_b e_{ab} - e_{ab}$; it looks like the usual shift against overflow but turns the sign, so that
        its weights are $\mathrm{softmax}(-e)$. The default is the paper's equation.
    """

    def __init__(
        self,
        channels: int,
        reduction: int | None = None,
        *,
        unlike: bool = False,
        bias: bool = True,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ):
        super().__init__()
        inner = hidden_channels(channels, reduction, usual=8)
        options = {"device": device, "dtype": dtype}
        self.channels, self.unlike = channels, unlike
        self.to_query = nn.Linear(channels, inner, bias=bias, **options)
        self.to_key = nn.Linear(channels, inner, bias=bias, **options)
        self.to_value = nn.Linear(channels, channels, bias=bias, **options)
        self.position_scale = nn.Parameter(torch.zeros((), **options))
        self.channel_scale = nn.Parameter(torch.zeros((), **options))

    def forward(self, image: Float[Tensor, "batch {self.channels} height width"]) -> DualAttended:
        """Attend over pixels and over channels, and add the two."""
        check_image(image, self.channels, self.to_value.weight)
        x = to_pixels(image)  # (batch, h * w, channels)
        query, key, value = self.to_query(x), self.to_key(x), self.to_value(x)
        position = pipeline.attend(query, key, value, score=scores.dot)

        maps = x.mT  # (batch, channels, h * w): each channel is a vector
        channel = pipeline.attend(-maps if self.unlike else maps, maps, maps, score=scores.dot)

        by_position = x + self.position_scale * position.output
        by_channel = x + self.channel_scale * channel.output.mT
        output = to_image(by_position + by_channel, *image.shape[2:])
        return DualAttended(output, position.weights, channel.weights)


class CrissCross(nn.Module):
    r"""Criss-cross attention, of Huang et al. (2018), section 3: each pixel attends to its column and row.

    $o_i = x_i + \gamma \sum_{j \in C_i} \mathrm{softmax}_j(q_i^\top k_j) v_j$ over the h + w - 1 pixels
    $C_i$ of i's column and row, itself counted once; repeated `recurrence` times with the same parameters.
    After two, every pixel has heard of every other, for $O(hw(h + w))$ instead of $O((hw)^2)$. $\gamma$
    starts at 0. The column (without i) and the row are two softmaxes over disjoint keys, so
    `pipeline.merge` joins them.

    Parameters
    ----------
    channels
        Channels of the image.
    reduction
        Divides `channels` to give those of queries and keys: the paper's 8 by default, or `channels` where
        there are fewer.
    recurrence
        How often to attend.
    """

    def __init__(
        self,
        channels: int,
        reduction: int | None = None,
        recurrence: int = 2,
        *,
        bias: bool = True,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ):
        super().__init__()
        inner = hidden_channels(channels, reduction, usual=8)
        heads.check_positive("recurrence", recurrence)
        options = {"device": device, "dtype": dtype}
        self.channels, self.recurrence = channels, recurrence
        self.to_query = nn.Linear(channels, inner, bias=bias, **options)
        self.to_key = nn.Linear(channels, inner, bias=bias, **options)
        self.to_value = nn.Linear(channels, channels, bias=bias, **options)
        self.scale = nn.Parameter(torch.zeros((), **options))

    def forward(self, image: Float[Tensor, "batch {self.channels} height width"]) -> Attended:
        """Attend along columns and rows, `recurrence` times.

        Output is an image; weights (batch, h * w, h + w) and lse (batch, h * w), pixels row by row, are of
        the last time. A pixel's weights are first those on its column from the top, where its own is 0,
        then those on its row from the left.
        """
        check_image(image, self.channels, self.to_value.weight)
        for _ in range(self.recurrence):
            attended = self._once(image)
            image = image + self.scale * attended.output.movedim(-1, 1)
        return Attended(image, attended.weights.flatten(1, 2), attended.lse.flatten(1, 2))

    def _once(self, image: Tensor) -> Attended:
        """Attention of each pixel to its cross, not yet added to the image; batch axes (batch, h, w)."""
        x = image.movedim(1, -1)  # (batch, h, w, channels)
        projected = [self.to_query(x), self.to_key(x), self.to_value(x)]
        others = ~torch.eye(x.shape[1], dtype=torch.bool, device=x.device)
        columns = pipeline.attend(
            *(part.transpose(1, 2) for part in projected), score=scores.dot, mask=others
        )  # (batch, w, h, ...)
        rows = pipeline.attend(*projected, score=scores.dot)  # (batch, h, w, ...)
        return pipeline.merge(Attended(*(part.transpose(1, 2) for part in columns)), rows)


def _mean(logits: Tensor, mask: Tensor | None = None) -> Tensor:
    """Scores over the number of allowed keys, instead of a softmax; 0 where nothing is allowed."""
    if mask is None:
        return logits / logits.shape[-1]
    mask = mask.expand(logits.shape)
    return (logits / mask.sum(-1, keepdim=True).clamp(min=1)).masked_fill(~mask, 0.0)
