"""Training a vision transformer to say which objects are in an image, each yes or no."""

from dataclasses import asdict, dataclass
from math import inf
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Bool, Float, UInt8
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits

from attention_core.datasets import SHAPE_CLASSES
from attention_core.datasets.shapes import Drawn, fingerprint
from attention_core.models import epochs
from attention_core.models.epochs import EpochTraining, Report, check_recipe
from attention_core.models.vit.model import ViT

TOGETHER = 250  # images in a batch where nothing is learned


@dataclass(frozen=True)
class Recipe:
    """All that decides what training gives, but for the images."""

    seed: int = 0
    epochs: int = 8
    patience: int = 8  # epochs without a better validation loss before it stops
    batch: int = 32  # images
    rate: float = 2e-3  # of AdamW, at its highest
    warming: float = 0.03  # share of all epochs over which the rate rises to that
    decay: float = 0.05  # of the weights
    clip: float = 1.0  # longest gradient
    patch: int = 6
    width: int = 64
    depth: int = 4
    heads: int = 4

    def vit(self, size: int) -> ViT:
        """An untrained model for images of this size."""
        return ViT(
            image_size=size, patch=self.patch, width=self.width, depth=self.depth, heads=self.heads,
            classes=SHAPE_CLASSES,
        )  # fmt: skip


class Training(EpochTraining):
    r"""`EpochTraining` of a vision transformer.

    The loss is binary cross entropy of each class by itself, averaged over images and classes: a logit l
    says with probability $\sigma(l)$ that its class is there, whatever else is. Every batch is turned by a
    quarter, a half or not, and mirrored or not, by chance.

    Parameters
    ----------
    recipe, checkpoint, report
        As there.
    images, validation
        What is learned from, and what says when to stop.
    """

    def __init__(
        self,
        recipe: Recipe,
        images: Drawn,
        validation: Drawn,
        *,
        checkpoint: Path | None = None,
        report: Report | None = None,
    ):
        _check(recipe)
        self.images, self.labels = torch.from_numpy(images.images), torch.from_numpy(images.labels)
        self.validation, self.fingerprint = validation, fingerprint(images)
        super().__init__(recipe, checkpoint=checkpoint, report=report)

    def built(self) -> ViT:
        return self.recipe.vit(self.images.shape[-1])

    def chosen_optimizer(self) -> torch.optim.Optimizer:
        """AdamW, of Loshchilov & Hutter (2017), whose decay spares what is no matrix."""
        matrices = [p for p in self.model.blocks.parameters() if p.ndim > 1]
        ids = {id(p) for p in matrices}
        others = [p for p in self.model.parameters() if id(p) not in ids]
        groups = [{"params": matrices, "weight_decay": self.recipe.decay}, {"params": others}]
        return torch.optim.AdamW(groups, lr=self.recipe.rate, betas=(0.9, 0.99), weight_decay=0.0)

    def identity(self) -> dict[str, Any]:
        return {**asdict(self.recipe), "images": self.fingerprint}

    def batches(self, generator: torch.Generator) -> list[Tensor]:
        return list(torch.randperm(len(self.images), generator=generator).split(self.recipe.batch))

    def loss(self, batch: Tensor) -> tuple[Tensor, Tensor]:
        images = turned(self.images[batch], int(torch.randint(4, ())), bool(torch.randint(2, ())))
        found = cross_entropy(self.model(as_floats(images)), self.labels[batch])
        return found, found

    def validation_loss(self) -> float:
        found = logits(self.model, self.validation)
        return float(cross_entropy(found, torch.from_numpy(self.validation.labels)))

    def rate(self, share: float) -> float:
        """Half a cosine, but at the beginning rising from nothing."""
        return epochs.warmed(self.recipe, share)


def turned(
    images: UInt8[Tensor, "batch 3 size size"], quarters: int, mirrored: bool
) -> UInt8[Tensor, "batch 3 size size"]:
    """Images turned by so many quarters, and mirrored or not."""
    images = torch.rot90(images, quarters, (2, 3))
    return images.flip(3) if mirrored else images


def as_floats(images: UInt8[Tensor, "..."]) -> Float[Tensor, "..."]:
    return images.float() / 255


def cross_entropy(
    logits: Float[Tensor, "batch classes"], labels: Bool[Tensor, "batch classes"]
) -> Float[Tensor, ""]:
    return binary_cross_entropy_with_logits(logits, labels.to(logits.dtype))


@torch.no_grad()
def logits(model: ViT, data: Drawn) -> Float[Tensor, "batch classes"]:
    """Of all images, a few at a time."""
    return torch.cat([model(as_floats(part)) for part in torch.from_numpy(data.images).split(TOGETHER)])


def exact_match(logits: Float[Tensor, "batch classes"], labels: Bool[Tensor, "batch classes"]) -> float:
    """Share of images of which each class is rightly said to be there or not: its logit above 0 or not."""
    return float(((logits > 0) == labels).all(-1).double().mean())


def label_accuracy(logits: Float[Tensor, "batch classes"], labels: Bool[Tensor, "batch classes"]) -> float:
    """Share of right answers, over images and classes."""
    return float(((logits > 0) == labels).double().mean())


def _check(recipe: Recipe) -> None:
    check_recipe(recipe)
    epochs.check_warming(recipe.warming)
    if not 0 <= recipe.decay < inf:
        raise ValueError(f"`decay` must be a number of at least 0; got {recipe.decay!r}.")
