"""What `RandomizedModel` shows: maps of a model that forgets, module by module, and how alike they stay."""

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from torch import Tensor

from attention_core.explain import faithfulness
from attention_core.figures.patch_scenes import Given, maps_of

if TYPE_CHECKING:
    from attention_core.models import ViT


class Cascade(NamedTuple):
    """One method on all images; stage 0 is the model as trained."""

    maps: np.ndarray  # (images, stages, rows, columns)
    correlation: np.ndarray  # (images, stages): Spearman's, with the map of stage 0


def cascade(shown: Given, wanted: Tensor, method: str, seed: int) -> Cascade:
    """`faithfulness.randomization_cascade`, and the maps that it compares."""
    seen: list[Tensor] = []

    def explain(model: "ViT", images: Tensor) -> Tensor:
        seen.append(maps_of(model, images, wanted, method))
        return seen[-1]

    alike = faithfulness.randomization_cascade(shown.model, shown.images, explain, seed=seed)
    trained = faithfulness.correlation(seen[0], seen[0], ranks=True)
    correlation = torch.stack([trained, *alike.values()], 1)
    return Cascade(torch.stack(seen, 1).double().cpu().numpy(), correlation.cpu().numpy())


@torch.no_grad()
def answers(shown: Given, wanted: Tensor, seed: int) -> dict[str, np.ndarray]:
    """By stage, "trained" first and else as a sentence names it: the class's probability, (images,)."""
    seen: list[np.ndarray] = []

    def answer(model: "ViT", images: Tensor) -> Tensor:
        logits = model(images).gather(1, wanted.to(images.device)[:, None])
        seen.append(torch.sigmoid(logits.double()).squeeze(1).cpu().numpy())
        return logits[..., None]  # in place of a map: the cascade asks for one

    stages = faithfulness.randomization_cascade(shown.model, shown.images, answer, seed=seed)
    return dict(zip(["trained", *map(named, stages)], seen, strict=True))


def named(stage: str) -> str:
    """A stage of the cascade in a sentence: blocks count from 0 there, layers from 1 in the book."""
    word, _, number = stage.partition(" ")
    return f"layer {int(number) + 1}" if word == "block" else f"the {stage}"
