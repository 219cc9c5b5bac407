"""What a vision transformer takes: images, and which of their patches to keep; checked, with the remedy."""

import torch
from torch import Tensor


def check_images(images: Tensor, channels: int, size: tuple[int, int], dtype: torch.dtype) -> None:
    """Require images (batch, channels, height, width) of the model's size and dtype, values in [0, 1]."""
    _check_type(images, dtype)
    _check_shape(images, channels, size)
    if not images.isfinite().all():
        raise ValueError(
            "`images` must hold finite numbers; got NaN or inf. Look for a division by zero where they were "
            "prepared, or fill the gaps: `images.nan_to_num(0.5)`."
        )
    low, high = (float(edge) for edge in images.detach().aminmax())
    if low < 0 or high > 1:
        remedy = (
            "Divide by 255: `images / 255`."
            if low >= 0 and high <= 255
            else "The model takes away mean and standard deviation itself: give it the image as it is, and "
            "`images.clamp(0, 1)` what resizing carried over the edge."
        )
        raise ValueError(f"`images` must lie in [0, 1]; got {low:.4g}..{high:.4g}. {remedy}")


def _check_type(images: Tensor, dtype: torch.dtype) -> None:
    if not isinstance(images, Tensor):
        raise TypeError(
            f"`images` must be a torch tensor; got {type(images).__name__}. Use `torch.as_tensor`."
        )
    if images.dtype != dtype:
        remedy = (
            f"Use `images.to({dtype}) / 255`."
            if images.dtype == torch.uint8
            else f"Use `images.to({dtype})` or `model.to({images.dtype})`."
            if images.is_floating_point()
            else f"Use `images.to({dtype})`, scaled to [0, 1]."
        )
        raise TypeError(
            f"`images` must have the dtype of the model's parameters, {dtype}; got {images.dtype}. {remedy}"
        )


def _check_shape(images: Tensor, channels: int, size: tuple[int, int]) -> None:
    height, width = size
    if images.ndim != 4 or 0 in images.shape:
        raise ValueError(
            f"`images` must have shape (batch, {channels}, {height}, {width}), at least one of them; got "
            f"{tuple(images.shape)}. A single image is a batch of one: `images[None]`."
        )
    if images.shape[1] != channels:
        remedy = (
            "Channels come first: `images.movedim(-1, 1)`."
            if images.shape[-1] == channels
            else "A grey image has to be made one of colours: `images.expand(-1, 3, -1, -1)`."
            if images.shape[1] == 1 and channels == 3
            else "Leave out what is no colour, such as transparency: `images[:, :3]`."
            if images.shape[1] == 4 and channels == 3
            else f"This model reads {channels}."
        )
        raise ValueError(
            f"`images` must have {channels} channels, on axis 1; got {tuple(images.shape)}. {remedy}"
        )
    if tuple(images.shape[2:]) != size:
        raise ValueError(
            f"`images` must be {height} x {width} pixels, as this model was built for; got "
            f"{images.shape[2]} x {images.shape[3]}. Resize them: "
            f"`torch.nn.functional.interpolate(images, {size}, mode='bilinear', antialias=True)`."
        )


def check_keep(keep: Tensor, batch: int, patches: int) -> None:
    """Require a boolean (batch, patches)."""
    if not isinstance(keep, Tensor) or keep.dtype != torch.bool:
        got = getattr(keep, "dtype", type(keep).__name__)
        raise TypeError(
            f"`keep` must be a boolean tensor, True for a patch that stays; got {got}. Use `keep.bool()`."
        )
    if keep.shape != (batch, patches):
        raise ValueError(
            f"`keep` must have shape (batch, rows * columns) = ({batch}, {patches}); got "
            f"{tuple(keep.shape)}. A map (batch, rows, columns) is made so by `keep.flatten(1)`."
        )
