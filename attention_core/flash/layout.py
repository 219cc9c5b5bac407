"""A block mask as the Triton kernels read it: for each row of tiles a list of those that are not empty."""

import weakref
from typing import NamedTuple

import torch
from torch import Tensor

from attention_core.flash.blocks import FULL, PARTIAL, BlockMask, create_block_mask

_made: weakref.WeakKeyDictionary[BlockMask, dict] = weakref.WeakKeyDictionary()


class Layout(NamedTuple):
    """Lists by rows, for queries that walk keys, and by columns, for keys that walk queries."""

    rows: tuple
    columns: tuple
    block: int


def layout(block_mask: BlockMask, batch: int, heads: int, device: torch.device, block: int) -> Layout:
    """The mask's lists on this device; made on first use, kept as long as the mask.

    Tiles must be square, of a power of 2 from `block` up; another mask is cut anew into tiles of `block`.
    The bits of partial tiles are one byte a pair: n * block bytes for each diagonal.
    """
    made = _made.setdefault(block_mask, {})
    key = (batch, heads, device, block)
    if key not in made:
        made[key] = _make(_square(block_mask, block), heads, device)
    return made[key]


def _square(mask: BlockMask, block: int) -> BlockMask:
    rows, cols = mask.block
    if rows == cols and rows >= block and rows & (rows - 1) == 0:
        return mask
    sizes = (*mask.kinds.shape[:2], mask.n, mask.m)
    return create_block_mask(mask.mask_mod, *sizes, block=block, device=mask.kinds.device)


def _make(mask: BlockMask, heads: int, device: torch.device) -> Layout:
    kinds = mask.kinds.to(device)  # (batch or 1, heads or 1, row_tiles, col_tiles)
    slots = (kinds == PARTIAL).flatten().cumsum(0).view_as(kinds) - 1
    if kinds.shape[0] > 1:  # lists are found by batch * heads + head, or by the head alone
        kinds, slots = (x.expand(-1, heads, -1, -1) for x in (kinds, slots))
    bits = _bits(mask, device)
    return Layout(_lists(kinds, slots, bits), _lists(kinds.mT, slots.mT, bits), mask.block[0])


def _bits(mask: BlockMask, device: torch.device) -> Tensor:
    """What the mask says pair by pair in its partial tiles, (partial tiles, block, block)."""
    block = mask.block[0]
    partial = (mask.kinds == PARTIAL).nonzero().tolist()
    bits = torch.zeros(max(len(partial), 1), block, block, dtype=torch.int8, device=device)
    for slot, (b, h, row, col) in enumerate(partial):
        queries = slice(row * block, min((row + 1) * block, mask.n))
        keys = slice(col * block, min((col + 1) * block, mask.m))
        allowed = mask.evaluate(b, h, queries, keys, device)
        bits[slot, : allowed.shape[0], : allowed.shape[1]] = allowed
    return bits


def _lists(kinds: Tensor, slots: Tensor, bits: Tensor) -> tuple:
    """Counts of partial and full tiles, then the tiles themselves, partial ones first, and their bits."""
    partial, full = kinds == PARTIAL, kinds == FULL
    order = (partial * 2 + full * 1).argsort(dim=-1, descending=True, stable=True)
    counts = torch.stack([partial.sum(-1), full.sum(-1)], dim=-1)
    tiles, slots = order.int().contiguous(), slots.gather(-1, order).clamp(min=0).int().contiguous()
    masks = kinds.shape[0] * kinds.shape[1]
    return counts.int().contiguous(), tiles, slots, bits, kinds.shape[-1], masks
