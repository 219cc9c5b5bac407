"""Baselines: maps that know nothing of the model. What does no better than they do explains nothing."""

import zlib

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import conv2d, pad

from attention_core.explain.gradients import per_patch


def random(
    images: Float[Tensor, "batch channels height width"], grid: tuple[int, int], seed: int = 0
) -> Float[Tensor, "batch rows columns"]:
    """Uniform noise in [0, 1), as in the random order of patches of Samek et al. (2015).

    Seeded by each image's own bytes and `seed`, so that an image has one map, whatever batch it stands in.
    """
    maps = []
    for image in images.detach().cpu():
        own = zlib.crc32(image.contiguous().view(torch.uint8).numpy().tobytes(), seed)
        generator = torch.Generator().manual_seed(own)  # of which it reads 32 bits, so they must hold both
        maps.append(torch.rand(grid, generator=generator, dtype=images.dtype))
    return torch.stack(maps).to(images.device)


def edges(
    images: Float[Tensor, "batch channels height width"], grid: tuple[int, int]
) -> Float[Tensor, "batch rows columns"]:
    r"""How strong the edges are in each patch: the edge detector of Adebayo et al. (2018), section 5.

    $\sqrt{g_x^2 + g_y^2}$ of the mean over the channels, summed over the patch, with Sobel's filters $g_x =
    \frac{1}{8} [1\ 2\ 1]^\top [-1\ 0\ 1]$ and $g_y = g_x^\top$; beyond its borders the image goes on as it
    ends.
    """
    grey = pad(images.mean(1, keepdim=True), (1, 1, 1, 1), mode="replicate")
    across = torch.tensor([[-1.0, 0.0, 1.0], [-2.0, 0.0, 2.0], [-1.0, 0.0, 1.0]], dtype=images.dtype) / 8
    filters = torch.stack([across, across.mT])[:, None].to(images.device)
    return per_patch(conv2d(grey, filters).norm(dim=1, keepdim=True), grid)
