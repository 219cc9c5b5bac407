"""Which pairs of query and key exist, tile by tile: what the tiers skip, compute whole, or mask."""

import math
from collections.abc import Iterator
from functools import lru_cache
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from attention_core.flash.blocks import EMPTY, FULL, BlockMask

_STRIP = 256  # keys


class Visible(NamedTuple):
    r"""The allowed pairs of n queries and m keys: every restriction below that is given must allow a pair.

    Query i's own place among the keys is $p = i + m - n$ (lower right). `causal` allows $j \le p$; `window` w
    allows $p - w < j \le p$, or $|p - j| < w$ where not causal; `lengths` allows $j <$ its sequence's length.
    """

    n: int
    m: int
    causal: bool = False
    window: int | None = None
    lengths: tuple[int, ...] | None = None  # one a sequence of the batch
    block_mask: BlockMask | None = None
    device: torch.device | str = "cpu"

    def tile(self, rows: int, cols: int) -> tuple[int, int]:
        """The tile to use, this one or a block mask's own, so that its tiles can be skipped."""
        return (rows, cols) if self.block_mask is None else self.block_mask.block

    def keys(self, b: int, rows: slice) -> range:
        """From the first to the last key that any of these queries may see, by all but the block mask."""
        shift = self.m - self.n
        first, last = 0, self.m if self.lengths is None else self.lengths[b]
        if self.causal:
            last = min(last, rows.stop + shift)
        elif self.window is not None:
            last = min(last, rows.stop - 1 + shift + self.window)
        if self.window is not None:
            first = max(first, rows.start + shift - self.window + 1)
        return range(first, max(first, last))

    def tiles(
        self, b: int, h: int, rows: slice, cols: int
    ) -> Iterator[tuple[slice, Float[Tensor, "r c"] | None]]:
        """The tiles of `cols` keys that these queries need, each with a ceiling for its scores.

        It is inf where a pair may attend and -inf where not, so that `minimum(scores, ceiling)` masks, on a
        CPU in a tenth of the time of filling by a boolean, and an inf score too. None: all may attend.
        """
        keys = self.keys(b, rows)
        start = keys.start - keys.start % cols  # tiles lie on one grid, that of the block mask
        for begin in range(start, keys.stop, cols) if keys else ():
            tile = slice(max(begin, keys.start), min(begin + cols, keys.stop))
            kind = FULL if self.block_mask is None else self.block_mask.kind(b, h, rows.start, begin)
            if kind != EMPTY:
                yield tile, self._ceiling(b, h, rows, tile, full=kind == FULL)

    def strips(
        self, b: int, h: int, rows: slice, cols: int
    ) -> Iterator[tuple[slice, slice, Float[Tensor, "r c"] | None]]:
        """`tiles`, each with the queries it is for; those that a causal mask cuts, in strips of fewer keys.

        A strip leaves out the queries before its first key, none of which sees any of it: of a tile of 512 by
        512 on the diagonal, a quarter.
        """
        for tile, ceiling in self.tiles(b, h, rows, cols):
            own = rows.start + self.m - self.n  # the first query's own place
            if not self.causal or tile.stop - 1 <= own:
                yield rows, tile, ceiling
                continue
            for start in range(tile.start, tile.stop, _STRIP):
                strip = slice(start, min(start + _STRIP, tile.stop))
                blind = max(0, start - own)
                part = ceiling[blind:, strip.start - tile.start : strip.stop - tile.start]
                yield slice(rows.start + blind, rows.stop), strip, part

    def row_tiles(self, rows: int) -> Iterator[slice]:
        """The queries, `rows` at a time; the last tile may be shorter."""
        return (slice(start, min(start + rows, self.n)) for start in range(0, self.n, rows))

    def _ceiling(self, b: int, h: int, rows: slice, cols: slice, full: bool) -> Tensor | None:
        """The tile's ceiling, where it needs one. Its keys lie within `keys`, so within the length."""
        own = slice(rows.start + self.m - self.n, rows.stop + self.m - self.n)  # their own places
        ahead = self.causal and cols.stop - 1 > own.start
        far = self.window is not None and (
            cols.start <= own.stop - 1 - self.window or cols.stop - 1 >= own.start + self.window
        )
        ceiling = None
        if ahead or far:
            size = (rows.stop - rows.start, cols.stop - cols.start)
            ceiling = _band(own.start - cols.start, *size, self.causal, self.window, self.device)
        if not full:
            allowed = self.block_mask.evaluate(b, h, rows, cols, self.device)
            partial = _as_ceiling(allowed)
            ceiling = partial if ceiling is None else torch.minimum(ceiling, partial)
        return ceiling


# A causal or windowed run meets few different bands, each many times, and making one costs half of a product.
@lru_cache(maxsize=8)
def _band(
    offset: int, r: int, c: int, causal: bool, window: int | None, device: torch.device | str
) -> Float[Tensor, "r c"]:
    """The ceiling of r queries, the first of which has its own place `offset` keys after the first of c."""
    distance = torch.arange(r, device=device)[:, None] + offset - torch.arange(c, device=device)  # (r, c)
    allowed = distance >= 0 if causal else torch.ones_like(distance, dtype=torch.bool)
    if window is not None:
        allowed = allowed & (distance.abs() < window)
    return _as_ceiling(allowed)


def _as_ceiling(allowed: Bool[Tensor, "r c"]) -> Float[Tensor, "r c"]:
    return torch.where(allowed, math.inf, -math.inf)


def head_indices(query: Tensor, key: Tensor) -> list[tuple[int, int, int]]:
    """(sequence, key/value head, query head); neighbours share a key/value head."""
    batch, heads = query.shape[:2]
    group = heads // key.shape[1]
    return [(b, h // group, h) for b in range(batch) for h in range(heads)]
