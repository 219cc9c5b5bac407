"""What the blocks for images share: their layout, the checks of it, and what a gate gives back."""

from typing import NamedTuple

from jaxtyping import Float
from torch import Tensor

from attention_core import heads, scores
from attention_core.multihead import check_dtype


class Gated(NamedTuple):
    """What a gate gives back; `output` is `image * gate`."""

    output: Float[Tensor, "batch channels height width"]
    gate: Float[Tensor, "..."]  # between 0 and 1; of size 1 along the axes that share it


def to_pixels(image: Float[Tensor, "batch channels h w"]) -> Float[Tensor, "batch h*w channels"]:
    """The image as a sequence of pixels, row by row from the top."""
    return image.flatten(2).mT


def to_image(
    pixels: Float[Tensor, "batch {h*w} channels"], h: int, w: int
) -> Float[Tensor, "batch channels {h} {w}"]:
    """Undoes `to_pixels`."""
    return pixels.mT.unflatten(2, (h, w))


def hidden_channels(channels: int, reduction: int | None, usual: int) -> int:
    """A bottleneck's channels, `channels // reduction`, at least one; by default as the paper has it."""
    heads.check_positive("channels", channels)
    if reduction is None:
        reduction = min(usual, channels)
    heads.check_positive("reduction", reduction)
    if reduction > channels:
        raise ValueError(
            f"`reduction` must leave at least one channel of {channels}; got {reduction}. "
            f"Use `reduction={channels}` or less."
        )
    return channels // reduction


def check_odd(name: str, size: int) -> None:
    """Require an odd kernel, which has a middle."""
    heads.check_positive(name, size)
    if size % 2 == 0:
        raise ValueError(
            f"`{name}` must be odd, so that it has a middle and the image keeps its size; got {size}. "
            f"Use {size - 1} or {size + 1}."
        )


def check_image(image: Tensor, channels: int | None, parameter: Tensor) -> None:
    """Require an image of the channels and dtype that the module was built for, with at least one pixel."""
    if not isinstance(image, Tensor):
        raise TypeError(f"`image` must be a torch tensor; got {type(image).__name__}. Use `torch.as_tensor`.")
    if image.ndim != 4:
        raise ValueError(
            f"`image` must have shape (batch, channels, height, width); got {tuple(image.shape)}. "
            "A single image is a batch of one: `image[None]`."
        )
    if 0 in image.shape[1:]:
        raise ValueError(
            f"`image` must have at least one channel and one pixel; got {tuple(image.shape)}. "
            "Of an empty one there is no mean."
        )
    scores.check_sequences(image=image)
    if channels is not None and image.shape[1] != channels:
        raise ValueError(
            f"`image` must have the {channels} channels this module was built for, on axis 1; got "
            f"{tuple(image.shape)}. If channels come last, `image.movedim(-1, 1)`."
        )
    check_dtype("image", image, parameter)
