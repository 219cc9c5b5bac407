r"""What happens without the patches that a map points to? Measures that run the model, one number an image.

Patches are not painted over but dropped: the model is called with `keep`, and the tokens that it leaves out
do not exist for attention. A grey or blurred patch is a new thing in the image, on which the model was
never trained, and what it then says is partly about the grey; a transformer reads any number of tokens
(Jain et al., 2022). What stays is still fewer patches than in training: the model's own answer without any
is part of each curve.

Patches go by the value of the map. Equal ones go in an order drawn by lot (`seed`), never in that of
reading, so that a constant map does what chance does.
"""

import inspect
from collections.abc import Callable, Sequence
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from attention_core.explain.faithfulness.given import checked_maps

Target = int | Sequence[int] | Tensor


def deletion(
    model: nn.Module,
    images: Float[Tensor, "batch channels height width"],
    maps: Float[Tensor, "batch rows columns"],
    target: Any,
    *,
    steps: int = 16,
    output: Callable[[Tensor], Tensor] = torch.sigmoid,
    seed: int = 0,
) -> Float[Tensor, " batch"]:
    r"""How much of the class survives as patches go, highest first (Petsiuk et al., 2018, by dropping).

    $$\int_0^1 p_c(x \text{ without its highest share } u \text{ of patches}) \, du$$

    by the trapezoidal rule over `steps` equal parts (or as many as there are patches). Lower is better: the
    probability falls at once where the map puts first what the model needs.

    Range 0 to 1. Chance is what a random map gives for this model and these images; there is no fixed value.
    See `curve` for the arguments.
    """
    shares, found = curve(model, images, maps, target, steps=steps, output=output, seed=seed)
    return torch.trapezoid(found, shares)


def insertion(
    model: nn.Module,
    images: Float[Tensor, "batch channels height width"],
    maps: Float[Tensor, "batch rows columns"],
    target: Any,
    *,
    steps: int = 16,
    output: Callable[[Tensor], Tensor] = torch.sigmoid,
    seed: int = 0,
) -> Float[Tensor, " batch"]:
    r"""How soon the class is there as patches come, highest first (Petsiuk et al., 2018, by dropping).

    $$\int_0^1 p_c(\text{only the highest share } u \text{ of the patches of } x) \, du$$

    as in `deletion`, beginning with no patch at all. Higher is better: few patches suffice where the map
    puts first what the model needs.

    Range 0 to 1. Chance is what a random map gives for this model and these images; there is no fixed value.
    See `curve` for the arguments.
    """
    shares, found = curve(model, images, maps, target, steps=steps, output=output, seed=seed, insert=True)
    return torch.trapezoid(found, shares)


def contrastive_deletion(
    model: nn.Module,
    images: Float[Tensor, "batch channels height width"],
    maps: Float[Tensor, "batch rows columns"],
    target: Any,
    other: Any,
    *,
    steps: int = 16,
    output: Callable[[Tensor], Tensor] = torch.sigmoid,
    seed: int = 0,
) -> Float[Tensor, " batch"]:
    r"""How much more the class asked for loses than another that is there too, as patches go, highest first.

    $$\int_0^1 [p_a(x) - p_a(x_u)] - [p_b(x) - p_b(x_u)] \, du, \qquad
    x_u = x \text{ without its highest share } u \text{ of patches}$$

    with a the class that the map explains (`target`) and b another that the image shows (`other`): `deletion`
    turned round, less the same for the other class. Finding every object costs both classes alike and gains
    nothing. No paper's measure in this form; the deletion curve is that of Petsiuk et al. (2018).

    Range -1 to 1 where the model sees both classes and sees neither without patches. Chance gives 0, and a
    map that does not depend on the target gives exactly 0 in the mean over both targets of an image: take
    that mean. See `curve` for the arguments.
    """
    options = {"steps": steps, "output": output, "seed": seed}
    shares, asked, beside = _curves(model, images, maps, (target, other), **options)
    lost = (asked[:, :1] - asked) - (beside[:, :1] - beside)
    return torch.trapezoid(lost, shares)


def curve(
    model: nn.Module,
    images: Float[Tensor, "batch channels height width"],
    maps: Float[Tensor, "batch rows columns"],
    target: Any,
    *,
    steps: int = 16,
    output: Callable[[Tensor], Tensor] = torch.sigmoid,
    seed: int = 0,
    insert: bool = False,
) -> tuple[Float[Tensor, " points"], Float[Tensor, "batch points"]]:
    """The shares of patches dropped (or inserted), from 0 to 1, and the probability of the class at each.

    Parameters
    ----------
    model
        Called as `model(images, keep=...)` with keep (batch, rows * columns) boolean, as `models.ViT` is;
        gives logits (batch, classes). Neither its mode nor its parameters are changed, and no gradient is
        kept.
    images, maps
        A map for each image, on the model's grid.
    target
        The class, an index for all images or one for each.
    steps
        Into how many parts the patches are divided; never more than there are patches.
    output
        From logits to what is measured: the sigmoid for labels that may occur together; for exclusive classes
        `functools.partial(torch.softmax, dim=-1)`.
    seed
        Of the order of equal values.
    insert
        Begin with no patches and add the highest first, in place of dropping the highest from all.

    Raises
    ------
    TypeError
        If the model takes no `keep`, or the target is no index.
    ValueError
        For NaN in maps or logits, a map too few, an index outside the classes, fewer than one step.
    """
    options = {"steps": steps, "output": output, "seed": seed, "insert": insert}
    shares, found = _curves(model, images, maps, (target,), **options)
    return shares, found


@torch.no_grad()
def _curves(
    model: nn.Module,
    images: Tensor,
    maps: Tensor,
    targets: tuple[Any, ...],
    *,
    steps: int,
    output: Callable[[Tensor], Tensor],
    seed: int,
    insert: bool = False,
) -> tuple[Tensor, ...]:
    """The shares, and a curve (batch, points) for each of the targets, all along the order of one map."""
    values = checked_maps(maps).flatten(1)
    _check_call(model, images, values, steps)
    place = places(values, seed)
    patches = values.shape[1]
    counts = torch.linspace(0, patches, min(steps, patches) + 1).round().long().tolist()
    found = []
    for count in counts:
        keep = (place < count) if insert else (place >= count)
        found.append(output(_logits(model, images, keep.to(images.device))).double())
    points = torch.stack(found, 1)  # (batch, points, classes)
    chosen = (
        indices(target, points, name) for target, name in zip(targets, ("target", "other"), strict=False)
    )
    rows = torch.arange(len(points), device=points.device)
    shares = torch.tensor(counts, device=points.device).double() / patches
    return shares, *(points[rows, :, index] for index in chosen)


def places(values: Float[Tensor, "batch patches"], seed: int) -> Int[Tensor, "batch patches"]:
    """Each patch's place in the order from the highest value, from 0; equal values in an order by lot."""
    generator = torch.Generator().manual_seed(seed)
    lot = torch.rand(values.shape, generator=generator).argsort(1).to(values.device)
    order = lot.gather(1, values.gather(1, lot).argsort(dim=1, descending=True, stable=True))
    return order.argsort(1)


def indices(target: Any, outputs: Tensor, name: str = "target") -> Int[Tensor, " batch"]:
    """A class for each image, from one for all or one each."""
    batch, classes = len(outputs), outputs.shape[-1]
    index = torch.as_tensor(target, device=outputs.device)
    if index.is_floating_point() or index.is_complex() or index.dtype == torch.bool:
        raise TypeError(
            f"`{name}` must be the index of a class, or one for each image; got "
            f"{str(index.dtype).removeprefix('torch.')}. Of labels (batch, classes) choose one class each."
        )
    if index.ndim > 1 or (index.ndim == 1 and len(index) != batch):
        raise ValueError(
            f"`{name}` must be one index, or one for each of {batch} images; got shape {tuple(index.shape)}."
        )
    if index.amin() < 0 or index.amax() >= classes:
        raise ValueError(
            f"`{name}` must lie in 0..{classes - 1}, the classes of the model; got "
            f"{int(index.min())}..{int(index.max())}."
        )
    return index.expand(batch).long()


def _logits(model: nn.Module, images: Tensor, keep: Bool[Tensor, "batch patches"]) -> Tensor:
    logits = model(images, keep=keep)
    if not torch.isfinite(logits).all():
        left = int(keep[0].sum())
        raise ValueError(
            f"the model gave NaN or infinite logits with {left} of {keep.shape[1]} patches kept: a curve "
            "would hide it. Look at its weights, and at how it takes `keep`: does a token attend to nothing?"
        )
    return logits


def _check_call(model: Any, images: Tensor, values: Tensor, steps: int) -> None:
    called = model.forward if isinstance(model, nn.Module) else model
    if "keep" not in inspect.signature(called).parameters:
        raise TypeError(
            f"`model` must take `keep`, the patches that stay, as models.ViT does; {type(model).__name__} "
            "does not. Load the checkpoint by models.ViT.from_huggingface(...), or wrap the model so that it "
            "drops the other tokens after the embedding."
        )
    if len(images) != len(values):
        raise ValueError(f"`maps` must hold one map for each of {len(images)} images; got {len(values)}.")
    if steps < 1:
        raise ValueError(f"`steps` must be at least 1 (16 is usual); got {steps}.")
