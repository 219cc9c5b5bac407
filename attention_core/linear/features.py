"""Feature maps: functions whose inner product stands for a kernel of query and key."""

import math

import torch
from jaxtyping import Float
from torch import Tensor

from attention_core.heads import check_positive


def elu_plus_one(x: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    r"""$\phi(x) = \mathrm{elu}(x) + 1$: $x + 1$ for positive x, $e^x$ for negative; always positive.

    Katharopoulos et al. (2020), equation 7. Written as the sum of both halves: torch's own `elu(x) + 1`
    rounds to 0 below -17 in float32.
    """
    # relu, not clamp: both would pass a gradient at 0. exp2, not exp: a third of the time on some CPUs.
    return x.clamp(max=0.0).mul_(math.log2(math.e)).exp2_() + x.relu()


def log_positive_features(
    x: Float[Tensor, "*batch n d"], projection: Float[Tensor, "features d"]
) -> Float[Tensor, "*batch n features"]:
    r"""$\ln \phi(x)$ for FAVOR+'s $\phi(x) = e^{Wx - \|x\|^2 / 2} / \sqrt m$ on $x \leftarrow d^{-1/4} x$.

    Over rows w of W drawn from a standard normal, $\phi(q)^\top \phi(k)$ is $e^{q^\top k / \sqrt d}$ on
    average. Choromanski et al. (2020), lemma 1. The logarithm, as the caller knows what to divide by.
    """
    features, d = projection.shape
    x = x * d**-0.25
    return x @ projection.mT - x.square().sum(-1, keepdim=True) / 2 - math.log(features) / 2


def orthogonal_features(
    features: int,
    d: int,
    *,
    generator: torch.Generator | None = None,
    dtype: torch.dtype | None = None,
    device: torch.device | str | None = None,
) -> Float[Tensor, "features d"]:
    r"""Random rows for `performer`: orthogonal in blocks of d, each as long as a standard normal vector.

    Each row by itself is standard normal, so the estimate of the softmax kernel stays unbiased; that rows of
    a block point in different directions makes its variance smaller.
    Choromanski et al. (2020). More than d rows are several independent blocks.
    """
    check_positive("features", features)
    check_positive("d", d)
    options = {"generator": generator, "dtype": dtype, "device": device}
    blocks = torch.randn(-(-features // d), d, d, **options)
    directions, upper = torch.linalg.qr(blocks)
    # QR fixes the signs by its own rule; with R's diagonal positive the directions are uniform.
    directions = directions * upper.diagonal(dim1=-2, dim2=-1).sign().unsqueeze(-2)
    lengths = torch.randn(features, d, **options).norm(dim=-1, keepdim=True)
    return lengths * directions.mT.flatten(0, 1)[:features]
