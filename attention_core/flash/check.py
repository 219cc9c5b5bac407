"""What `flash_attention` requires of its arguments; each mistake is told with its remedy."""

import math
from collections.abc import Callable
from numbers import Real

import torch
from torch import Tensor

from attention_core import heads as head_axis
from attention_core import scores
from attention_core.flash.blocks import BlockMask
from attention_core.flash.choice import is_triton_pair


def check(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    causal: bool,
    window: int | None,
    score_mod: Callable[..., Tensor] | None,
    block_mask: BlockMask | None,
    scale: float | None,
    lengths: Tensor | None,
) -> None:
    """Check everything but whether the kernel asked for can run."""
    _check_sequences(query, key, value)
    _check_options(causal, window, score_mod, scale)
    heads = query.shape[-3] if query.ndim > 2 else 1
    batch = query.shape[0] if query.ndim > 3 else 1
    if block_mask is not None:
        _check_block_mask(block_mask, (batch, heads, query.shape[-2], key.shape[-2]))
    if lengths is not None:
        _check_lengths(lengths, query, key)


def _check_sequences(query: Tensor, key: Tensor, value: Tensor) -> None:
    for name, x in (("query", query), ("key", key), ("value", value)):
        scores.check_sequences(**{name: x})
        if x.ndim > 4:
            raise ValueError(
                f"`{name}` must have shape (batch, heads, sequence, width), or lack the first or the "
                f"first two; got {tuple(x.shape)}. Join batch axes: `{name}.flatten(0, -4)`."
            )
    scores.check_sequences(key=key, value=value)  # one batch and as many heads
    heads = [x.shape[-3] if x.ndim > 2 else 1 for x in (query, key)]
    if query.ndim != key.ndim or query.shape[:-3] != key.shape[:-3]:
        raise ValueError(
            "`query` and `key` must have the same batch axes; got "
            f"{tuple(query.shape)} and {tuple(key.shape)}. Share one over a batch with `.expand(...)`."
        )
    if heads[1] == 0 or heads[0] % heads[1]:
        raise ValueError(
            f"`query` must have a multiple of `key`'s heads, which neighbours share; got {heads[0]} and "
            f"{heads[1]}. "
            "Layout is (batch, heads, sequence, width): is an axis transposed?"
        )
    if query.dtype != key.dtype:
        raise TypeError(
            f"`query` and `key` must have one dtype; got {query.dtype} and {key.dtype}. "
            "Use `key.to(query.dtype)`."
        )
    if not query.device == key.device == value.device:
        raise ValueError(
            "`query`, `key` and `value` must be on one device; got "
            f"{query.device}, {key.device} and {value.device}. Use `key.to(query.device)`."
        )
    if query.shape[-1] != key.shape[-1]:
        raise ValueError(
            f"`query` and `key` must have one width; got {query.shape[-1]} and {key.shape[-1]}. "
            "Project one to the other's width first."
        )
    if key.shape[-2] != value.shape[-2]:
        raise ValueError(
            f"`key` and `value` must hold the same number of positions; got {key.shape[-2]} and "
            f"{value.shape[-2]}. Layout is (batch, heads, sequence, width): is an axis transposed?"
        )


def _check_options(causal: bool, window: int | None, score_mod, scale: float | None) -> None:
    if not isinstance(causal, bool):
        raise TypeError(f"`causal` must be True or False; got {causal!r}. A mask goes in `block_mask=`.")
    if window is not None and not head_axis.is_count(window):
        raise ValueError(
            f"`window` must be an integer of at least 1; got {window!r}. A window of w attends exactly w "
            "keys, counting itself, so `window=1` sees only itself."
        )
    if score_mod is not None and not callable(score_mod) and not is_triton_pair(score_mod):
        raise TypeError(
            f"`score_mod` must be a function (score, b, h, q_idx, kv_idx); got {type(score_mod).__name__}. "
            "For instance `lambda score, b, h, q_idx, kv_idx: score - (q_idx - kv_idx).abs()`."
        )
    if scale is not None and (not isinstance(scale, Real) or isinstance(scale, bool)):
        raise TypeError(
            f"`scale` must be a number; got {type(scale).__name__}. Leave it out for 1 / sqrt(width); a "
            "learned temperature multiplies `query`."
        )
    if scale is not None and not math.isfinite(scale):
        raise ValueError(f"`scale` must be finite; got {scale}. Leave it out for 1 / sqrt(width).")


def _check_block_mask(block_mask: BlockMask, shape: tuple[int, int, int, int]) -> None:
    if not isinstance(block_mask, BlockMask):
        raise TypeError(
            f"`block_mask` must be a `BlockMask`; got {type(block_mask).__name__}. "
            "Make one by `create_block_mask(mask_mod, batch, heads, n, m)`."
        )
    batch, heads, n, m = shape
    own = (*block_mask.kinds.shape[:2], block_mask.n, block_mask.m)
    if own[0] not in (1, batch) or own[1] not in (1, heads) or own[2:] != (n, m):
        raise ValueError(
            f"`block_mask` must be made for batch, heads, n, m = {shape}, or batch or heads of 1; got {own}. "
            f"Call `create_block_mask(mask_mod, {batch}, {heads}, {n}, {m})`."
        )


def _check_lengths(lengths: Tensor, query: Tensor, key: Tensor) -> None:
    if not isinstance(lengths, Tensor) or lengths.dtype not in (torch.int32, torch.int64):
        got = getattr(lengths, "dtype", type(lengths).__name__)
        raise TypeError(
            f"`lengths` must be an integer tensor; got {got}. Use `torch.tensor([3, 5])`, one length a "
            "sequence."
        )
    if query.ndim != 4 or lengths.shape != query.shape[:1]:
        raise ValueError(
            "`lengths` must hold one length a sequence, shape (batch,) for a query (batch, heads, n, "
            f"width); got {tuple(lengths.shape)} for {tuple(query.shape)}. Keys from there on do not exist."
        )
    if torch.compiler.is_compiling():  # the numbers are not known yet
        return
    if lengths.numel() and (lengths.min() < 0 or lengths.max() > key.shape[-2]):
        raise ValueError(
            f"`lengths` must lie in 0..{key.shape[-2]}, the number of keys; got {lengths.tolist()}. "
            "They count the keys of each sequence, before its padding."
        )
