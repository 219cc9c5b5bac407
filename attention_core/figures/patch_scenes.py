"""What the figures of class maps are given: a model, images, classes to ask for and methods, all checked."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from attention_core import explain
from attention_core.explain import faithfulness
from attention_core.figures import base, maps

if TYPE_CHECKING:
    from attention_core.models import ViT

SHIPPED = "shapes-vit"
SCENES = (37, 57, 33)  # of the split "pair": see the figures' docstrings
RANDOM, EDGES = "random", "edges"  # the methods that never look at the model
STEPS = 32767  # of a map's largest value, as it travels


@dataclass(frozen=True, eq=False)
class Given:
    """A model, and images with what is known of them."""

    model: "ViT"
    images: Tensor  # (count, channels, height, width)
    labels: Tensor | None  # (count, classes), of `datasets.Scenes`
    masks: Tensor | None  # (count, classes, height, width)

    def __len__(self) -> int:
        return len(self.images)

    def mask(self, image: int, wanted: int) -> Tensor | None:
        """Pixels (1, height, width) of an object, None where there is none or nothing is known of it."""
        if self.masks is None or not bool(self.masks[image, wanted].any()):
            return None
        return self.masks[image, wanted][None]


def given(model: object, images: object) -> Given:
    """`model` and `images` as readers pass them; without them the model that ships, and chosen pairs."""
    from attention_core import datasets, models  # only here are they needed

    model = models.load(SHIPPED) if model is None else model
    if not isinstance(model, models.ViT) or model.head is None:
        raise TypeError(
            f"`model` must be a models.ViT with classes; got {type(model).__name__}. A checkpoint of "
            "transformers becomes one by models.ViT.from_huggingface(directory)."
        )
    if images is None:
        images = datasets.shapes("pair", max(SCENES) + 1)[list(SCENES)]
    labels = masks = None
    if isinstance(images, datasets.Scenes):
        images, labels, masks = images.images, images.labels, images.masks
        if labels.shape[1] != len(model.classes):
            raise ValueError(
                f"`images` are scenes of {labels.shape[1]} classes, and `model` has {len(model.classes)}; "
                "pass scenes.images, and `targets` among the model's own."
            )
    with torch.no_grad():
        model(images)  # what it cannot take it refuses, with the remedy
    return Given(model, images, labels, masks)


def methods_of(
    methods: Iterable[str] | None, default: Sequence[str], always: Sequence[str] = ()
) -> tuple[str, ...]:
    """Keys of `explain.METHODS`, those of `always` last."""
    chosen = tuple(default) if methods is None else (methods,) if isinstance(methods, str) else tuple(methods)
    unknown = [method for method in chosen if method not in explain.METHODS]
    if unknown or not chosen:
        raise ValueError(
            f"`methods` must be some of {', '.join(explain.METHODS)}; got {unknown[0]!r}."
            if unknown
            else f"`methods` must name at least one of {', '.join(explain.METHODS)}; got none."
        )
    return tuple(dict.fromkeys([*(m for m in chosen if m not in always), *always]))


def place(name: str, value: object, options: Sequence[object], usual: object = None) -> int:
    """Where `value` stands among `options`; the first where it is the usual one and they lack it."""
    if value not in options and value == usual:
        return 0
    if value not in options:
        raise ValueError(f"`{name}` must be one of {', '.join(map(repr, options))}; got {value!r}.")
    return options.index(value)


def classes_of(targets: object, shown: Given, each: int) -> Tensor:
    """(count, each) indices of classes: as passed, or those that are there, or the most probable."""
    count, names = len(shown), shown.model.classes
    if targets is None:
        return _there(shown, each)
    found = torch.as_tensor(targets)
    if found.ndim == 1 and each == 1:
        found = found[:, None]
    if found.is_floating_point() or found.dtype == torch.bool or found.shape != (count, each):
        what = "one class index" if each == 1 else f"{each} class indices"
        raise ValueError(
            f"`targets` must hold {what} for each of {count} images; got {str(found.dtype)[6:]} of shape "
            f"{tuple(found.shape)}. With names: model.classes.index(name)."
        )
    if found.amin() < 0 or found.amax() >= len(names):
        raise ValueError(
            f"`targets` must lie in 0..{len(names) - 1}, the classes of the model; got "
            f"{int(found.amin())}..{int(found.amax())}."
        )
    if each == 2 and bool((found[:, 0] == found[:, 1]).any()):
        raise ValueError("`targets` must be two different classes for each image, or nothing can change.")
    return found.long()


@torch.no_grad()
def _there(shown: Given, each: int) -> Tensor:
    """The first classes of the labels; where too few are true, or none are known, the most probable."""
    logits = shown.model(shown.images).cpu()
    if logits.shape[1] < each:
        raise ValueError(f"`model` must have {each} classes or more to choose from; got {logits.shape[1]}.")
    likely = logits.topk(each).indices
    if shown.labels is None:
        return likely
    rows = zip(shown.labels, likely, strict=True)
    return torch.stack([true.nonzero().flatten()[:each] if true.sum() >= each else own for true, own in rows])


def maps_of(model: "ViT", images: Tensor, wanted: Tensor, method: str) -> Tensor:
    """`explain.explain` of one class an image, (count, rows, columns); of none for what knows no class."""
    target = wanted if explain.METHODS[method].class_sensitive else None
    try:
        return explain.explain(model, images, target, method).values
    except ValueError as error:
        raise ValueError(
            f"`methods` holds {method!r}, which gives no map here. {error} Leave it out."
        ) from error


def named(shown: Given, wanted: Tensor) -> list[str]:
    """A name for each image, from its classes; a number too where two have the same."""
    names = [" and ".join(shown.model.classes[c] for c in row) for row in wanted.tolist()]
    twice = {name for name in names if names.count(name) > 1}
    return [f"{i + 1}: {name}" if name in twice else name for i, name in enumerate(names)]


def pictured(shown: Given) -> dict[str, Any]:
    """The images as a view draws them: bytes, and the sizes of picture and grid."""
    pictures = maps.rgb(shown.images)
    rows, columns = shown.model.grid
    sizes = {"height": pictures.shape[1], "width": pictures.shape[2], "rows": rows, "columns": columns}
    return {"pixels": pictures.tobytes(), "shape": sizes}


def outlined(shown: Given, image: int, wanted: int) -> list[bool]:
    """The patches that an object touches, row by row; none where it is not known."""
    mask = shown.mask(image, wanted)
    if mask is None:
        return []
    return (faithfulness.patch_masks(mask, shown.model.grid) > 0).flatten().tolist()


def sixteen_bit(found: np.ndarray) -> dict[str, Any]:
    """Maps (..., rows, columns) as `mapReader` in maps.js reads them: steps of each map's own largest value.

    Of 32767 steps the error is at most 1.6e-5 of that value. All low bytes stand before all high ones, which
    compress better by themselves.
    """
    flat = found.reshape(-1, found.shape[-2] * found.shape[-1])
    tops = np.abs(flat).max(1, keepdims=True)
    steps = np.rint(STEPS * flat / np.where(tops == 0, 1, tops)).astype("<i2")
    return {"frames": steps.reshape(-1, 1).view(np.uint8).T.tobytes(), "tops": tops[:, 0].tolist()}


def within_budget(frames: int, *parts: bytes) -> None:
    size = sum(map(len, parts))
    if frames > base.MOST_FRAMES or size > base.MOST_BYTES:
        raise ValueError(
            f"`images` and `methods` together make {frames} maps and {size} bytes; a figure carries "
            f"{base.MOST_FRAMES} maps and {base.MOST_BYTES} bytes. Pass fewer images or fewer methods."
        )
