"""Block masks: a mask cut into tiles, so that tiles without an allowed pair cost nothing."""

from collections.abc import Callable
from dataclasses import dataclass
from numbers import Integral

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from attention_core import heads as head_axis

EMPTY, PARTIAL, FULL = 0, 1, 2  # no pair of the tile may attend; some may; all may


@dataclass(frozen=True, eq=False)
class BlockMask:
    r"""A mask of n queries and m keys as tiles of `block` = (rows, columns): empty, partial or full.

    Empty tiles are skipped and full tiles need no mask, so that work falls with the tiles, not with the
    pairs. Only in partial tiles is `mask_mod` asked pair by pair. Tiles lie on a grid from the first query
    and key; the last may be shorter. `kinds` has a batch or heads axis of 1 where all share it. Dong et al.
    (2024), FlexAttention, whose `mask_mod(b, h, q_idx, kv_idx)` it takes.
    """

    kinds: Int[Tensor, "batch heads row_tiles col_tiles"]  # EMPTY, PARTIAL or FULL
    mask_mod: Callable[..., Tensor]
    block: tuple[int, int]
    n: int
    m: int

    @property
    def counts(self) -> dict[str, int]:
        """How many tiles are empty, partial and full."""
        names = {"empty": EMPTY, "partial": PARTIAL, "full": FULL}
        return {name: int((self.kinds == kind).sum()) for name, kind in names.items()}

    @property
    def sparsity(self) -> float:
        """The share of tiles that are empty, and so skipped, between 0 and 1; 0 where there are none."""
        return self.counts["empty"] / max(self.kinds.numel(), 1)

    def kind(self, b: int, h: int, row: int, col: int) -> int:
        """The kind of the tile that holds query `row` and key `col`."""
        tile = self._shared(b, h), row // self.block[0], col // self.block[1]
        return int(self.kinds[(*tile[0], *tile[1:])])

    def evaluate(self, b: int, h: int, rows: slice, cols: slice, device="cpu") -> Bool[Tensor, "r c"]:
        """What `mask_mod` says of these queries and keys, pair by pair."""
        return _evaluate(self.mask_mod, b, h, rows, cols, device)

    def dense(self) -> Bool[Tensor, "batch heads n m"]:
        """The whole mask, n by m: for drawing and checking, as it takes the memory that tiles save."""
        batch, heads = self.kinds.shape[:2]
        whole = slice(0, self.n), slice(0, self.m)
        device = self.kinds.device
        masks = [self.evaluate(b, h, *whole, device) for b in range(batch) for h in range(heads)]
        return torch.stack(masks).view(batch, heads, self.n, self.m) if masks else self.kinds.bool()

    def _shared(self, b: int, h: int) -> tuple[int, int]:
        return (b if self.kinds.shape[0] > 1 else 0), (h if self.kinds.shape[1] > 1 else 0)


def create_block_mask(
    mask_mod: Callable[..., Tensor],
    batch: int | None,
    heads: int | None,
    n: int,
    m: int,
    *,
    block: int | tuple[int, int] = 128,
    device: torch.device | str = "cpu",
) -> BlockMask:
    """Sort the tiles of a mask into empty, partial and full, by asking `mask_mod` for every pair once.

    `mask_mod(b, h, q_idx, kv_idx)` gets integer tensors, `q_idx` a column and `kv_idx` a row, and returns
    what broadcasts to (rows, columns), True = may attend. `batch` and `heads` are 1 or None where it ignores
    them. `block` is a number of positions, or two: of queries and of keys. Memory: one row of tiles at a
    time.
    """
    block = _check(mask_mod, batch, heads, n, m, block)
    batch, heads = batch or 1, heads or 1
    tiles = (-(-n // block[0]), -(-m // block[1]))
    kinds = torch.full((batch, heads, *tiles), EMPTY, dtype=torch.int8, device=device)
    for b in range(batch):
        for h in range(heads):
            for row in range(tiles[0] if m else 0):
                rows = slice(row * block[0], min((row + 1) * block[0], n))
                strip = _evaluate(mask_mod, b, h, rows, slice(0, m), device)
                kinds[b, h, row] = _sort(strip, block[1])
    return BlockMask(kinds, mask_mod, block, n, m)


def _sort(strip: Bool[Tensor, "r m"], cols: int) -> Int[Tensor, " col_tiles"]:
    some = torch.stack([tile.any() for tile in strip.split(cols, dim=1)])
    every = torch.stack([tile.all() for tile in strip.split(cols, dim=1)])
    return (some.to(torch.int8) + every.to(torch.int8)).to(torch.int8)


def _evaluate(mask_mod: Callable[..., Tensor], b: int, h: int, rows: slice, cols: slice, device) -> Tensor:
    b, h, q_idx, kv_idx = indices(b, h, rows, cols, device)
    allowed = mask_mod(b, h, q_idx, kv_idx)
    shape = (rows.stop - rows.start, cols.stop - cols.start)
    if not isinstance(allowed, Tensor) or allowed.dtype != torch.bool:
        got = getattr(allowed, "dtype", type(allowed).__name__)
        raise TypeError(
            f"`mask_mod` must return a boolean tensor, True = may attend; got {got}. "
            "Compare indices, as in `q_idx >= kv_idx`, and join with `&` and `|`, not `and` and `or`."
        )
    try:
        return allowed.expand(shape)
    except RuntimeError:
        raise ValueError(
            f"`mask_mod` must return one truth a pair, broadcasting to {shape}; got {tuple(allowed.shape)}. "
            "`q_idx` is a column and `kv_idx` a row, so comparing them gives every pair."
        ) from None


def indices(b: int, h: int, rows: slice, cols: slice, device) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """A tile's indices as `mask_mod` and `score_mod` get them: b and h numbers, a column, and a row."""
    q_idx = torch.arange(rows.start, rows.stop, device=device)[:, None]  # (r, 1)
    kv_idx = torch.arange(cols.start, cols.stop, device=device)[None]  # (1, c)
    return torch.tensor(b, device=device), torch.tensor(h, device=device), q_idx, kv_idx


def _check(mask_mod, batch, heads, n, m, block) -> tuple[int, int]:
    if not callable(mask_mod):
        raise TypeError(
            f"`mask_mod` must be a function (b, h, q_idx, kv_idx); got {type(mask_mod).__name__}. "
            "For instance `lambda b, h, q_idx, kv_idx: q_idx >= kv_idx`."
        )
    for name, count in (("batch", batch), ("heads", heads)):
        if count is not None:
            head_axis.check_positive(name, count)
    for name, count in (("n", n), ("m", m)):
        if not isinstance(count, Integral) or isinstance(count, bool) or count < 0:
            raise ValueError(f"`{name}` must be a count of positions, 0 or more; got {count!r}.")
    block = tuple(block) if isinstance(block, tuple | list) else (block, block)
    if len(block) != 2 or not all(head_axis.is_count(size) for size in block):
        raise ValueError(
            f"`block` must be a number of positions, or two (rows, columns); got {block}. For instance 128."
        )
    return block
