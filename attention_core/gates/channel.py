"""Channel gates: one number between 0 and 1 for each channel, from what the whole image shows."""

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn

from attention_core import heads
from attention_core.gates.image import Gated, check_image, check_odd, hidden_channels


class SqueezeExcitation(nn.Module):
    r"""Squeeze-and-excitation, of Hu et al. (2017), section 3.

    $z_c = \frac{1}{hw} \sum_{ij} x_{c,ij}$, $g = \sigma(W_2 \max(0, W_1 z + b_1) + b_2)$ and $o_c = g_c x_c$:
    each channel is turned down by what all channels show on average. The paper's equations omit the biases.

    Parameters
    ----------
    channels
        Channels of the image.
    reduction
        Divides `channels` to give the bottleneck's, rounded down: the paper's 16 by default, or `channels`
        where there are fewer.
    bias
        Whether the two layers add a bias.
    """

    def __init__(
        self,
        channels: int,
        reduction: int | None = None,
        *,
        bias: bool = True,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ):
        super().__init__()
        hidden = hidden_channels(channels, reduction, usual=16)
        options = {"bias": bias, "device": device, "dtype": dtype}
        self.channels = channels
        self.to_hidden = nn.Linear(channels, hidden, **options)
        self.to_gate = nn.Linear(hidden, channels, **options)

    def forward(self, image: Float[Tensor, "batch {self.channels} height width"]) -> Gated:
        """Gate the channels; the gate is (batch, channels, 1, 1)."""
        check_image(image, self.channels, self.to_gate.weight)
        squeezed = image.mean((2, 3))  # (batch, channels)
        hidden = torch.relu(self.to_hidden(squeezed))
        gate = torch.sigmoid(self.to_gate(hidden))[..., None, None]
        return Gated(image * gate, gate)


class ChannelGate(nn.Module):
    r"""CBAM's channel gate, of Woo et al. (2018), section 3.

    $g = \sigma(\mathrm{MLP}(z^{avg}) + \mathrm{MLP}(z^{max}))$ with one MLP, $W_2 \max(0, W_1 z)$, for each
    channel's mean and its maximum: squeeze-and-excitation that also sees the one strongest place.

    Parameters
    ----------
    channels
        Channels of the image.
    reduction
        Divides `channels` to give the bottleneck's, rounded down: the paper's 16 by default, or `channels`
        where there are fewer.
    bias
        Whether the MLP's layers add a bias; the paper's equation has none.
    """

    def __init__(
        self,
        channels: int,
        reduction: int | None = None,
        *,
        bias: bool = False,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ):
        super().__init__()
        hidden = hidden_channels(channels, reduction, usual=16)
        options = {"bias": bias, "device": device, "dtype": dtype}
        self.channels = channels
        self.to_hidden = nn.Linear(channels, hidden, **options)
        self.to_gate = nn.Linear(hidden, channels, **options)

    def forward(self, image: Float[Tensor, "batch {self.channels} height width"]) -> Gated:
        """Gate the channels; the gate is (batch, channels, 1, 1)."""
        check_image(image, self.channels, self.to_gate.weight)
        pooled = torch.stack([image.mean((2, 3)), image.amax((2, 3))])  # (2, batch, channels)
        logits = self.to_gate(torch.relu(self.to_hidden(pooled))).sum(0)  # (batch, channels)
        gate = torch.sigmoid(logits)[..., None, None]
        return Gated(image * gate, gate)


class ECA(nn.Module):
    r"""Efficient channel attention, of Wang et al. (2019), section 3.

    $g = \sigma(w * z)$: the channels' means $z$, convolved along the channels with one kernel of k weights,
    zeros beyond the ends. No bottleneck, and k parameters in all; a gate sees only its k nearest channels.

    Parameters
    ----------
    channels
        Channels of the image.
    kernel
        The number k, odd. If not given, $t = \lfloor (\log_2 C + 1) / 2 \rfloor$, or t + 1 if that is even:
        the more channels, the wider.
    """

    def __init__(
        self,
        channels: int,
        kernel: int | None = None,
        *,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ):
        super().__init__()
        heads.check_positive("channels", channels)
        if kernel is None:
            width = int((math.log2(channels) + 1) / 2)
            kernel = max(width if width % 2 else width + 1, 1)
        check_odd("kernel", kernel)
        self.channels = channels
        self.along = nn.Conv1d(1, 1, kernel, padding=kernel // 2, bias=False, device=device, dtype=dtype)

    def forward(self, image: Float[Tensor, "batch {self.channels} height width"]) -> Gated:
        """Gate the channels; the gate is (batch, channels, 1, 1)."""
        check_image(image, self.channels, self.along.weight)
        squeezed = image.mean((2, 3))[:, None]  # (batch, 1, channels)
        gate = torch.sigmoid(self.along(squeezed)).mT[..., None]  # (batch, channels, 1, 1)
        return Gated(image * gate, gate)
