"""What a vision transformer is built with: checked, and put as its files keep it."""

from collections.abc import Sequence
from numbers import Real

from attention_core import heads as head_axis

POOLS = ("cls", "cls_and_mean", "cls_and_distilled")


def checked_options(**options) -> dict:
    """The options as they are kept and saved: sizes in pairs, colours in lists, classes by name."""
    for name in ("channels", "width", "depth", "heads", "hidden"):
        head_axis.check_positive(name, options[name])
    size, patch = pair("image_size", options["image_size"]), pair("patch", options["patch"])
    if any(side % part for side, part in zip(size, patch, strict=True)):
        raise ValueError(
            f"`patch` must divide `image_size`; got {patch[0]} x {patch[1]} in {size[0]} x {size[1]}. "
            f"Choose sides that are multiples of the patch's."
        )
    if options["width"] % options["heads"]:
        raise ValueError(
            f"`heads` must divide `width`; got {options['heads']} and {options['width']}. Choose `width` as "
            "a multiple of `heads`."
        )
    registers, eps = options["registers"], options["eps"]
    if isinstance(registers, bool) or not isinstance(registers, int) or registers < 0:
        raise ValueError(f"`registers` must be a whole number of tokens, at least 0; got {registers!r}.")
    if isinstance(eps, bool) or not isinstance(eps, Real) or not 0 < eps < 1:
        raise ValueError(f"`eps` must be a small positive number; got {eps!r}. Usual are 1e-6 and 1e-12.")
    return options | {
        "image_size": size,
        "patch": patch,
        "classes": _names(options["classes"]),
        "pool": _pool(options["pool"], options["distilled"]),
        "mean": _colours("mean", options["mean"], options["channels"]),
        "std": _colours("std", options["std"], options["channels"]),
    }


def pair(name: str, size: int | Sequence[int]) -> list[int]:
    pair = [size, size] if head_axis.is_count(size) else size
    if not isinstance(pair, list | tuple) or len(pair) != 2 or not all(map(head_axis.is_count, pair)):
        raise ValueError(
            f"`{name}` must be a side in pixels, or (height, width); got {size!r}. For instance 48."
        )
    return [int(side) for side in pair]


def _names(classes: int | Sequence[str]) -> list[str]:
    if isinstance(classes, int) and not isinstance(classes, bool) and classes >= 0:
        return [str(number) for number in range(classes)]
    if not isinstance(classes, list | tuple) or not all(isinstance(name, str) for name in classes):
        raise TypeError(
            f"`classes` must be names, or how many there are; got {classes!r}. For instance "
            "`classes=('circle', 'square')` or `classes=2`."
        )
    return list(classes)


def _pool(pool: str | None, distilled: bool) -> str:
    if pool is None:
        return "cls_and_distilled" if distilled else "cls"
    if pool not in POOLS:
        raise ValueError(f"`pool` must be one of {', '.join(POOLS)}; got {pool!r}.")
    if pool == "cls_and_distilled" and not distilled:
        raise ValueError("`pool='cls_and_distilled'` needs a distillation token: `distilled=True`.")
    return pool


def _colours(name: str, numbers: Real | Sequence[Real], channels: int) -> list[float]:
    """One number a channel."""
    given = [numbers] * channels if isinstance(numbers, Real) else list(numbers)
    if len(given) != channels:
        raise ValueError(f"`{name}` must have one number a channel, {channels}; got {len(given)}.")
    if name == "std" and not all(number > 0 for number in given):
        raise ValueError(f"`std` must be positive, as colours are divided by it; got {numbers!r}.")
    return [float(number) for number in given]
