"""What `Faithfulness` shows: in which order a map lets patches go, and what the model says without them."""

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from attention_core.explain import faithfulness
from attention_core.explain.faithfulness.dropping import places
from attention_core.figures.patch_scenes import Given

PARTS = 16
ORDERS = ("highest first", "lowest first")


class Run(NamedTuple):
    """All images in one order of one method's maps."""

    places: np.ndarray  # (images, rows * columns): each patch's place in the order, from 0
    shares: np.ndarray  # (points,): of the patches that are gone
    curve: np.ndarray  # (images, points): the probability of the class
    area: np.ndarray  # (images,): under the curve


def run(shown: Given, maps: Tensor, wanted: Tensor, lowest: bool) -> Run:
    """`faithfulness.curve` of the maps, or of their negatives, and the order that it goes by."""
    maps = -maps if lowest else maps
    shares, curve = faithfulness.curve(shown.model, shown.images, maps, wanted, steps=PARTS)
    order = places(maps.detach().double().flatten(1), seed=0)  # as `curve` does, ties by the same lot
    found = (order, shares, curve, torch.trapezoid(curve, shares))
    return Run(*(each.cpu().numpy() for each in found))
