"""What the measures are given: maps and masks, checked, and laid out by patch."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor


def patch_masks(
    masks: Bool[Tensor, "batch height width"], grid: tuple[int, int]
) -> Float[Tensor, "batch rows columns"]:
    r"""How much of each patch a mask covers, from 0 to 1.

    $c_{rs} = \frac{1}{|P_{rs}|} \sum_{ij \in P_{rs}} m_{ij}$ with $P_{rs}$ the pixels of the patch.

    `grid` is the model's (rows, columns). A measure that should see whole patches takes
    `patch_masks(masks, grid) > 0` (touched) or `>= 0.5` (mostly covered) in place of the pixel masks.

    `ValueError` where the patches do not divide the image evenly, `TypeError` for masks that are not boolean.
    """
    _check_boolean(masks, "masks")
    rows, columns = grid
    height, width = masks.shape[1:]
    if rows < 1 or columns < 1 or height % rows or width % columns:
        raise ValueError(
            f"`masks` of {height} x {width} pixels do not divide into a grid of {rows} x {columns} patches. "
            "`grid` is (rows, columns) as model.grid has it; the masks must be as large as the images."
        )
    patches = masks.reshape(len(masks), rows, height // rows, columns, width // columns)
    return patches.double().mean((2, 4))


def checked_maps(maps: object, name: str = "maps") -> Float[Tensor, "batch rows columns"]:
    """The maps in float64, without their graph: comparisons of ranks must not hang on rounding."""
    if not isinstance(maps, Tensor):
        raise TypeError(
            f"`{name}` must be a tensor (batch, rows, columns); got {type(maps).__name__}. "
            "Of an Explanation pass its .values, of an array torch.as_tensor(...)."
        )
    if not maps.is_floating_point():
        raise TypeError(
            f"`{name}` must hold floating-point numbers; got {_dtype(maps)}. Pass {name}.float()."
        )
    if maps.ndim != 3 or maps.numel() == 0:
        raise ValueError(
            f"`{name}` must be (batch, rows, columns), none of them 0; got shape {tuple(maps.shape)}. "
            f"A single map is {name}[None]."
        )
    wrong = ~torch.isfinite(maps).flatten(1).all(1)
    if wrong.any():
        raise ValueError(
            f"`{name}` holds NaN or infinite values in {int(wrong.sum())} of {len(maps)} maps, first in map "
            f"{int(wrong.nonzero()[0])}: nothing can be ranked there. Look at the model's weights and input, "
            "or leave those images out."
        )
    return maps.detach().double()


def coverage(
    maps: Float[Tensor, "batch rows columns"], masks: object, name: str = "masks"
) -> Float[Tensor, "batch patches"]:
    """`patch_masks` on the grid of the maps, flat; an empty mask is an error."""
    _check_boolean(masks, name)
    if len(masks) != len(maps):
        raise ValueError(
            f"`{name}` must hold one mask for each map; got {len(masks)} masks for {len(maps)} maps. "
            "Of a Scenes pick each image's own class: scenes.masks[torch.arange(n), target]."
        )
    empty = ~masks.flatten(1).any(1)
    if empty.any():
        raise ValueError(
            f"`{name}` is empty in {int(empty.sum())} of {len(masks)} images, first in image "
            f"{int(empty.nonzero()[0])}: there is nothing that a map could find. Choose the images that show "
            f"the class, {name}.flatten(1).any(1)."
        )
    return patch_masks(masks, tuple(maps.shape[1:])).flatten(1).to(maps.device)


def check_like(others: Tensor, maps: Tensor, name: str, first: str = "maps") -> None:
    if others.shape != maps.shape:
        raise ValueError(
            f"`{first}` and `{name}` must be maps of the same images on the same grid; got shapes "
            f"{tuple(maps.shape)} and {tuple(others.shape)}."
        )


def _check_boolean(masks: object, name: str) -> None:
    if not isinstance(masks, Tensor) or masks.dtype != torch.bool:
        what = _dtype(masks) if isinstance(masks, Tensor) else type(masks).__name__
        raise TypeError(
            f"`{name}` must be a boolean tensor (batch, height, width), True on the object; got {what}. "
            f"Of shares or labels make one by comparing: {name} > 0."
        )
    if masks.ndim != 3:
        raise ValueError(
            f"`{name}` must be (batch, height, width), one mask an image; got shape {tuple(masks.shape)}. "
            "Of a Scenes pick each image's own class: scenes.masks[torch.arange(n), target]."
        )


def _dtype(tensor: Tensor) -> str:
    return str(tensor.dtype).removeprefix("torch.")
