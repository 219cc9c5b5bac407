"""What the figures on vision are of: a model and images, the reader's own or those that ship."""

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from attention_core import datasets, models
from attention_core.datasets.shapes import SHAPE_CLASSES, Scenes

COVERED = 0.15  # the share of a patch that an object must fill for the patch to count as one of its own


class Objects(NamedTuple):
    """What is known to be in an image."""

    named: str  # "the star and the ring"
    inside: np.ndarray  # (rows, columns): which patches show it

    def sent(self) -> dict[str, object]:
        """As it travels to a view."""
        return {"named": self.named, "inside": self.inside.ravel().astype(int).tolist()}


def shipped() -> nn.Module:
    """The vision transformer of the book."""
    return models.load("shapes-vit")


def tensor_of(images: Tensor | Scenes) -> Tensor:
    """The images alone; what is no batch of them is refused."""
    images = images.images if isinstance(images, Scenes) else images
    if not isinstance(images, Tensor) or not images.is_floating_point():
        got = getattr(images, "dtype", type(images).__name__)
        raise TypeError(
            f"`images` must be a float tensor or `datasets.Scenes`; got {got}. Use `torch.as_tensor(images)"
            ".float() / 255` of bytes."
        )
    if images.ndim != 4 or len(images) == 0:
        raise ValueError(
            "`images` must have shape (batch, channels, height, width), at least one of them; got "
            f"{tuple(images.shape)}. A single image is a batch of one: `images[None]`."
        )
    return images


def drawn(count: int) -> Scenes:
    """Scenes of two objects each, no two of them of the same two: the first of their split."""
    found = datasets.shapes("pair", 8 * count)
    seen, chosen = set(), []
    for i, labels in enumerate(found.labels.tolist()):
        if tuple(labels) not in seen:
            seen.add(tuple(labels))
            chosen.append(i)
    return found[chosen[:count]]


def objects_of(images: Tensor | Scenes, grid: tuple[int, int]) -> list[Objects | None]:
    """Of each image what is in it, where that is known."""
    if not isinstance(images, Scenes):
        return [None] * len(images)
    found = []
    for labels, masks in zip(images.labels, images.masks, strict=True):
        names = [f"the {SHAPE_CLASSES[i]}" for i in labels.nonzero().flatten().tolist()]
        pixels = masks.any(0)[None, None].to(torch.float64)
        inside = torch.nn.functional.adaptive_avg_pool2d(pixels, grid)[0, 0] >= COVERED
        found.append(Objects(listed(names), inside.numpy()) if names else None)
    return found


def listed(names: list[str]) -> str:
    """Names as prose: "the star, the ring and the disc"."""
    return " and ".join(filter(None, [", ".join(names[:-1]), names[-1]]))


def titles(objects: list[Objects | None]) -> list[str]:
    """A name for each image, of which no two are alike."""
    return titled(
        [f"{i}" if thing is None else thing.named.replace("the ", "") for i, thing in enumerate(objects, 1)]
    )


def titled(names: list[str]) -> list[str]:
    """The names, those that are alike told apart by their number."""
    return [f"{name} ({i})" if names.count(name) > 1 else name for i, name in enumerate(names, 1)]
