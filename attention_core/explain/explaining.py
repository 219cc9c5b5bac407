"""`explain`: one call for every method, with what has to be known to read its maps."""

import inspect
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from jaxtyping import Float
from torch import Tensor, nn

from attention_core.explain.capture import check_images
from attention_core.explain.layouts import layout
from attention_core.explain.methods import METHODS, Method
from attention_core.explain.subject import Subject
from attention_core.explain.targets import FORMS, score


@dataclass(frozen=True, eq=False)
class Explanation:
    """Patch maps of a batch of images, and what has to be known to read them."""

    values: Float[Tensor, "batch rows columns"]
    signed: bool
    class_sensitive: bool
    method: str
    warnings: tuple[str, ...] = ()


def explain(
    model: nn.Module,
    images: Float[Tensor, "batch channels height width"],
    target: Any = None,
    method: str = "rollout",
    layers: int | Sequence[int] | None = None,
    **options: Any,
) -> Explanation:
    """Where in the images is what the model's answer rests on, by one of `METHODS`.

    Parameters
    ----------
    model, images
        As of `capture`; the model is left as it was.
    target
        What is to be explained: see `targets.score`. Needed by class-sensitive methods; the others give the
        same map for any, and say so in `warnings`.
    method
        A key of `METHODS`.
    layers
        Numbers from 0, or from -1 backwards; if not given the method's own choice, all or the last. Methods
        that look at no layer take none.
    options
        The method's own, such as `discard=0.9` of rollout or `steps=64` of integrated gradients.

    A map with NaN or inf in it is never given back: `ValueError`, as for all that cannot be explained.
    """
    record = _record(method)
    check_images(images)
    parts = layout(model, images)
    arguments = _arguments(record, method, layers, options)
    if record.class_sensitive and target is None:
        raise ValueError(f"`target` must say what `{method}` is to explain; got None. It is {FORMS}.")
    wanted = None if target is None else score(target, len(images), parts.classes)
    with parts.opened():
        subject = Subject(parts, images, wanted)
        values = record.function(subject, **arguments).detach()
        _check_finite(values, f"`{method}` gave")
        if record.class_sensitive:  # of a logit that is NaN the gradient may yet be finite
            _check_finite(subject.score.detach()[:, None], "the model's output, `target`, is")
    if target is not None and not record.class_sensitive:
        subject.warnings.append(
            f"`{method}` knows no classes: its map is the same for every `target`, this one included."
        )
    blank = (values == 0).all(-1).all(-1).nonzero().flatten().tolist()
    if blank:
        subject.warnings.append(
            f"the maps of images {blank} are 0 everywhere: nothing there spoke for the target."
        )
    return Explanation(values, record.signed, record.class_sensitive, method, tuple(subject.warnings))


def upsample(
    values: Float[Tensor, "batch rows columns"], size: int | tuple[int, int], mode: str = "nearest"
) -> Float[Tensor, "batch height width"]:
    """Patch maps as pixel maps of `size`, (height, width): "nearest" shows the patches, "bilinear" blurs."""
    if mode not in ("nearest", "bilinear"):
        raise ValueError(f"`mode` must be nearest or bilinear; got {mode!r}.")
    size = (size, size) if isinstance(size, int) else tuple(size)
    options = {"mode": "nearest-exact"} if mode == "nearest" else {"mode": mode, "align_corners": False}
    return nn.functional.interpolate(values[:, None], size, **options).squeeze(1)


def _record(method: str) -> Method:
    if method not in METHODS:
        raise ValueError(f"`method` must be one of {', '.join(METHODS)}; got {method!r}.")
    return METHODS[method]


def _arguments(record: Method, method: str, layers: Any, options: dict) -> dict:
    """The keyword arguments of a method's function, each known to it."""
    known = [
        name for name in inspect.signature(record.function).parameters if name not in ("subject", "layers")
    ]
    unknown = [name for name in options if name not in known]
    if unknown:
        raise TypeError(
            f"`{method}` has no option {', '.join(f'`{name}`' for name in unknown)}; it takes "
            f"{', '.join(f'`{name}`' for name in known) or 'none'}."
        )
    if "layers" in inspect.signature(record.function).parameters:
        return {"layers": layers, **options}
    if layers is not None:
        raise ValueError(
            f"`layers` means nothing to `{method}`, which looks at no layer; got {layers!r}. Leave it out."
        )
    return options


def _check_finite(values: Tensor, what: str) -> None:
    broken = (~values.isfinite()).flatten(1).any(1).nonzero().flatten().tolist()
    if broken:
        raise ValueError(
            f"{what} NaN or inf for images {broken}, which no picture should hide. Look for them "
            "in the model's parameters and in its logits: `model(images).isfinite()`."
        )
