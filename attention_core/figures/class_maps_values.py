"""What `ClassMaps` shows: each method's map for each of two classes, and how much of it lies where."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from attention_core import explain
from attention_core.explain import faithfulness
from attention_core.figures.patch_scenes import Given, maps_of

Share = float | None  # of the positive map on an object; None where no such object is known


class Facts(NamedTuple):
    """Of one image and method; pairs are asked for A, asked for B."""

    own: tuple[Share, Share]  # share of the positive map on the object asked for
    other: tuple[Share, Share]  # and on the other one
    blank: tuple[bool, bool]  # 0 everywhere
    difference: float  # the largest between the two maps, in any patch
    correlation: float  # of the two, Pearson's


def both(shown: Given, pairs: Tensor, method: str) -> np.ndarray:
    """(images, 2, rows, columns): the map asked for A, then for B."""
    maps = [maps_of(shown.model, shown.images, wanted, method).cpu() for wanted in pairs.T]
    return torch.stack(maps, 1).double().numpy()


def facts_of(maps: np.ndarray, shown: Given, image: int, pair: Sequence[int]) -> Facts:
    """Of one image's two maps (2, rows, columns)."""
    one, other = torch.as_tensor(maps)[:, None]
    return Facts(
        own=tuple(_share(found, shown, image, c) for found, c in zip((one, other), pair, strict=True)),
        other=tuple(
            _share(found, shown, image, c) for found, c in zip((one, other), pair[::-1], strict=True)
        ),
        blank=tuple(not bool(found.any()) for found in (one, other)),
        difference=float((one - other).abs().max()),
        correlation=faithfulness.correlation(one, other).item(),
    )


def spread(shown: Given, image: int, pair: Sequence[int]) -> Facts:
    """The same of a map that is equal everywhere: what chance gives."""
    return facts_of(np.ones((2, *shown.model.grid)), shown, image, pair)


def _share(found: Tensor, shown: Given, image: int, wanted: int) -> Share:
    mask = shown.mask(image, wanted)
    return None if mask is None else faithfulness.mass_accuracy(found, mask.to(found.device)).item()


def recorded(method: str) -> dict[str, Any]:
    """What the view has to know of a method."""
    record = explain.METHODS[method]
    return {"title": record.title, "signed": record.signed, "blind": not record.class_sensitive}
