"""Spatial gates: one number between 0 and 1 for each place; and channel and place together."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from attention_core.gates.channel import ChannelGate
from attention_core.gates.image import Gated, check_image, check_odd


class SpatialGate(nn.Module):
    r"""CBAM's spatial gate, of Woo et al. (2018), section 3.

    $g = \sigma(w * [x^{avg}; x^{max}])$: the channels' mean and maximum, in this order, are a picture of two
    channels, which one convolution, with zeros beyond the edges, turns into one number for each place.

    Parameters
    ----------
    kernel
        Side of the convolution's square kernel, odd; the paper found 7 better than 3.
    """

    def __init__(
        self, kernel: int = 7, *, device: torch.device | str | None = None, dtype: torch.dtype | None = None
    ):
        super().__init__()
        check_odd("kernel", kernel)
        self.around = nn.Conv2d(2, 1, kernel, padding=kernel // 2, bias=False, device=device, dtype=dtype)

    def forward(self, image: Float[Tensor, "batch channels height width"]) -> Gated:
        """Gate the places; the gate is (batch, 1, height, width)."""
        check_image(image, None, self.around.weight)
        pooled = torch.stack([image.mean(1), image.amax(1)], dim=1)  # (batch, 2, height, width)
        gate = torch.sigmoid(self.around(pooled))
        return Gated(image * gate, gate)


class CBAM(nn.Module):
    r"""Convolutional block attention module, of Woo et al. (2018), section 3: channels first, then places.

    $x' = g^c(x)\, x$, then $o = g^s(x')\, x'$; the gate of the whole is the product $g^c(x)\, g^s(x')$.

    Parameters
    ----------
    channels
        Channels of the image.
    reduction
        Of the channel gate's bottleneck: see `ChannelGate`.
    kernel
        Side of the spatial gate's kernel: see `SpatialGate`.
    bias
        Whether the channel gate's layers add a bias.
    """

    def __init__(
        self,
        channels: int,
        reduction: int | None = None,
        kernel: int = 7,
        *,
        bias: bool = False,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ):
        super().__init__()
        options = {"device": device, "dtype": dtype}
        self.channels = channels
        self.channel = ChannelGate(channels, reduction, bias=bias, **options)
        self.spatial = SpatialGate(kernel, **options)

    def forward(self, image: Float[Tensor, "batch {self.channels} height width"]) -> Gated:
        """Gate channels, then places; the gate has the image's shape."""
        refined, by_channel = self.channel(image)
        by_place = self.spatial(refined).gate
        gate = by_channel * by_place  # (batch, channels, height, width)
        return Gated(image * gate, gate)
