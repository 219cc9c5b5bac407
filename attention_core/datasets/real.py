"""Real images that come with scikit-learn: handwritten digits, and two photographs."""

from dataclasses import dataclass
from types import ModuleType

import numpy as np
import torch
from jaxtyping import Float, Int64
from torch import Tensor

from attention_core.datasets.shapes.scenes import Batch


@dataclass(frozen=True, eq=False)
class Digits(Batch):
    """Handwritten digits, batch first."""

    images: Float[Tensor, "batch 1 8 8"]  # in [0, 1], white on black
    labels: Int64[Tensor, " batch"]  # 0 to 9


@dataclass(frozen=True, eq=False)
class Photograph:
    """A photograph, what it shows and whose it is."""

    image: Float[Tensor, "3 height width"]  # in [0, 1]
    title: str
    credit: str


def digits() -> Digits:
    """1797 handwritten digits of 8 x 8 pixels in 17 steps of grey (Alpaydin & Kaynak 1998, the test set).

    From scikit-learn (Pedregosa et al. 2011), which has to be installed; nothing is fetched.
    """
    found = _sklearn_datasets("digits").load_digits()
    images = torch.from_numpy(found.images.astype(np.float32)) / 16
    return Digits(images[:, None], torch.from_numpy(found.target.astype(np.int64)))


def photographs() -> dict[str, Photograph]:
    """Two photographs of 427 x 640 pixels, "china" and "flower".

    From scikit-learn (Pedregosa et al. 2011), which has to be installed, with Pillow; nothing is fetched.
    """
    load = _sklearn_datasets("photographs").load_sample_image
    told = {
        "china": ("The Summer Palace in Beijing", "danielbuechele on Flickr, CC BY 2.0"),
        "flower": ("A dahlia", "vultilion on Flickr, CC BY 2.0"),
    }
    return {name: Photograph(_image(load(f"{name}.jpg")), *about) for name, about in told.items()}


def _image(pixels: np.ndarray) -> Float[Tensor, "3 height width"]:
    return torch.from_numpy(pixels.copy()).movedim(-1, 0).float() / 255


def _sklearn_datasets(what: str) -> ModuleType:
    try:
        from sklearn import datasets
    except ImportError as error:
        raise ImportError(
            f"`datasets.{what}` needs scikit-learn, whose images these are. Install it: "
            "`python -m pip install scikit-learn pillow`."
        ) from error
    return datasets
