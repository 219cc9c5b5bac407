"""Heads: one wide sequence seen as several narrow ones, and back. Heads are axis -3, just a batch axis."""

from numbers import Integral

from jaxtyping import Float
from torch import Tensor


def split(x: Float[Tensor, "*batch n width"], heads: int) -> Float[Tensor, "*batch {heads} n head_width"]:
    """Cut the width into `heads` equal parts: head h gets features h * head_width onwards.

    Vaswani et al. (2017), section 3.2.2. Undone by `merge`.
    """
    _check(x, axes=2, layout="(*batch, sequence, width)")
    check_positive("heads", heads)
    if x.shape[-1] % heads:
        raise ValueError(
            f"`heads` must divide the width; got width {x.shape[-1]} and {heads} heads. "
            "Choose a width that is a multiple of `heads`."
        )
    return x.unflatten(-1, (heads, x.shape[-1] // heads)).transpose(-2, -3)


def merge(x: Float[Tensor, "*batch heads n head_width"]) -> Float[Tensor, "*batch n width"]:
    """Concatenate the heads' features again, head 0 first. Undoes `split`."""
    _check(x, axes=3, layout="(*batch, heads, sequence, width)")
    return x.transpose(-2, -3).flatten(-2)


def repeat_groups(
    x: Float[Tensor, "*batch kv_heads m d"], repeats: int
) -> Float[Tensor, "*batch kv_heads*{repeats} m d"]:
    """Give each key/value head to `repeats` neighbouring query heads: 0 0 1 1, never 0 1 0 1.

    Tiling has the same shape and silently pairs every query head with the wrong keys.
    Ainslie et al. (2023), section 2.2.
    """
    _check(x, axes=3, layout="(*batch, kv_heads, sequence, width)")
    check_positive("repeats", repeats)
    return x.repeat_interleave(repeats, dim=-3)


def check_groups(query: Tensor, key: Tensor) -> None:
    """Require (*batch, heads, n, d) and (*batch, kv_heads, m, d), heads a multiple of kv_heads, if any."""
    heads, kv_heads = (x.shape[-3] if x.ndim > 2 else 1 for x in (query, key))
    grouped = 0 < kv_heads <= heads and heads % kv_heads == 0
    if query.ndim != key.ndim or query.shape[:-3] != key.shape[:-3] or not grouped:
        raise ValueError(
            "`query` and `key` must have the same batch axes, save that axis -3 of `query`, the heads, may "
            f"be a multiple of that of `key`; got {tuple(query.shape[:-2])} and {tuple(key.shape[:-2])}. "
            "Layout is (*batch, heads, sequence, width)."
        )


def is_count(x: object) -> bool:
    """Whether x is an integer of at least 1; True is none here, though Python says that it is."""
    return isinstance(x, Integral) and not isinstance(x, bool) and x >= 1


def check_positive(name: str, count: int) -> None:
    """Require a count for the argument `name`."""
    if not is_count(count):
        raise ValueError(f"`{name}` must be an integer of at least 1; got {count!r}.")


def _check(x: Tensor, axes: int, layout: str) -> None:
    if not isinstance(x, Tensor):
        raise TypeError(f"`x` must be a torch tensor; got {type(x).__name__}. Use `torch.as_tensor`.")
    if x.ndim < axes:
        raise ValueError(f"`x` must have shape {layout}; got {tuple(x.shape)}.")
