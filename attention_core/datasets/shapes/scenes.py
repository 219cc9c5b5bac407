"""Images with all that is known of them, and the splits they come in."""

import hashlib
from dataclasses import dataclass, fields
from numbers import Integral

import numpy as np
import torch
from jaxtyping import Bool, Float, UInt8
from torch import Tensor

from attention_core.datasets.shapes.chance import Draw
from attention_core.datasets.shapes.forms import SHAPE_CLASSES
from attention_core.datasets.shapes.paint import TAG, paint
from attention_core.datasets.shapes.plan import plan

COUNTS = {"train": 2000, "validation": 500, "test": 1000, "single": 500, "pair": 500}
COUNTS |= {"shortcut": 2000, "shortcut_test": 500}
SIZES = (48, 64)


class Batch:
    """Tensors under names, batch first, of which some rows can be taken."""

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, which: int | slice | list[int] | Tensor) -> "Batch":
        """Some of them, in the order said; of one number a batch of one."""
        if isinstance(which, Integral) and not isinstance(which, bool):
            if not -len(self) <= which < len(self):
                raise IndexError(f"`which` must lie in {-len(self)}..{len(self) - 1}; got {which}.")
            which = [int(which) % len(self)]
        return type(self)(**{field.name: getattr(self, field.name)[which] for field in fields(self)})


@dataclass(frozen=True, eq=False)
class Scenes(Batch):
    """Images and what is true of them."""

    images: Float[Tensor, "batch 3 height width"]  # in [0, 1]
    labels: Bool[Tensor, "batch classes"]  # which classes are there
    masks: Bool[Tensor, "batch classes height width"]  # the visible pixels of each
    tags: Bool[Tensor, "batch height width"]  # those of a planted tag


@dataclass(frozen=True, eq=False)
class Drawn:
    """The same as it is drawn: a byte a colour, and for each pixel what it shows. A fifth of the memory."""

    images: UInt8[np.ndarray, "batch 3 height width"]
    owners: UInt8[np.ndarray, "batch height width"]  # 0 nothing, then the classes from 1, last a tag
    labels: Bool[np.ndarray, "batch classes"]

    def scenes(self) -> Scenes:
        owners = torch.from_numpy(self.owners)
        classes = torch.arange(1, len(SHAPE_CLASSES) + 1, dtype=torch.uint8)[:, None, None]
        return Scenes(
            images=torch.from_numpy(self.images).float() / 255,
            labels=torch.from_numpy(self.labels),
            masks=owners[:, None] == classes,
            tags=owners == TAG,
        )


def shapes(split: str = "train", count: int | None = None, *, size: int = 48, seed: int = 0) -> Scenes:
    """Images of one to three objects of eight classes, with the exact pixels of each.

    Parameters
    ----------
    split
        "train", "validation" and "test" have one to three objects of different classes, "single" one and
        "pair" two. In "shortcut" a tag in a corner counts as a star, with a star or without one; images of
        "shortcut_test" show by turns the tag alone, a star alone, the tag alone, and neither.
    count
        The first so many; any number. Left out, 2000 of "train" and "shortcut", 1000 of "test", else 500.
    size
        Pixels a side, 48 or 64: the same scenes, drawn at that size.
    seed
        Another seed gives other images. No two splits or seeds share one.

    An image of 48 pixels takes 48 kB in memory, and about a millisecond to draw. Raises `ValueError` for an
    unknown split, a size other than these two or a count below 1.
    """
    return drawn(split, count, size=size, seed=seed).scenes()


def drawn(split: str = "train", count: int | None = None, *, size: int = 48, seed: int = 0) -> Drawn:
    """As `shapes`, as bytes: what training keeps."""
    count = checked(split, count, size, seed)
    images, owners = np.empty((count, 3, size, size), np.uint8), np.empty((count, size, size), np.uint8)
    labels = np.zeros((count, len(SHAPE_CLASSES)), bool)
    for number in range(count):
        draw = Draw(split, seed, number)
        scene = plan(draw, split, number)
        images[number], owners[number] = paint(draw, scene, size)
        labels[number, sorted(scene.labels)] = True
    return Drawn(images, owners, labels)


def fingerprint(data: Scenes | Drawn) -> str:
    """SHA-256 of the images in 256 steps, of what each pixel shows, and of the labels."""
    data = data if isinstance(data, Drawn) else _as_drawn(data)
    found = hashlib.sha256(f"{data.images.shape}\n".encode())
    for part in (data.images, data.owners, data.labels):
        found.update(np.ascontiguousarray(part))
    return found.hexdigest()


def _as_drawn(scenes: Scenes) -> Drawn:
    shown = torch.cat([scenes.masks, scenes.tags[:, None]], dim=1)  # one of them at most is True
    numbers = torch.arange(1, TAG + 1, dtype=torch.uint8)[:, None, None]
    return Drawn(
        images=(255 * scenes.images).round().to(torch.uint8).numpy(),
        owners=(shown * numbers).amax(1).numpy(),
        labels=scenes.labels.numpy(),
    )


def checked(split: str, count: int | None, size: int, seed: int) -> int:
    """Require a split, size and seed that there are; returns how many images are wanted."""
    if split not in COUNTS:
        raise ValueError(f"`split` must be one of {', '.join(COUNTS)}; got {split!r}.")
    count = COUNTS[split] if count is None else count
    if isinstance(count, bool) or not isinstance(count, Integral):
        raise TypeError(f"`count` must be a whole number of images; got {type(count).__name__}.")
    if count < 1:
        raise ValueError(f"`count` must be at least 1; got {count}. Leave it out for {COUNTS[split]}.")
    if size not in SIZES or isinstance(size, bool):
        raise ValueError(
            f"`size` must be 48 or 64 pixels; got {size!r}. Resize with "
            "`torch.nn.functional.interpolate` for another, masks by mode='nearest'."
        )
    if isinstance(seed, bool) or not isinstance(seed, Integral):
        raise TypeError(f"`seed` must be a whole number; got {type(seed).__name__}.")
    return int(count)
