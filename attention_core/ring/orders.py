"""Orders: which positions of the sequence each rank holds, and which of them have work for each other."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from attention_core import heads as head_axis
from attention_core import scores

ORDERS = ("contiguous", "zigzag")
TILE = 512  # positions; bounds the memory of a tile's scores, whatever n / p is


def shard(
    x: Float[Tensor, "*batch positions width"], rank: int, ranks: int, order: str = "contiguous"
) -> Float[Tensor, "*batch positions//{ranks} width"]:
    r"""The positions of one rank.

    The sequence is cut into 2p chunks. In "contiguous" order rank r holds chunks 2r and 2r + 1, that is
    positions $rn/p$ onwards; in "zigzag" order r and 2p - 1 - r, one early and one late, so that under a
    causal mask all ranks have the same work (Llama team 2024, section 3.3.2).
    """
    scores.check_sequences(x=x)
    check_order(order)
    head_axis.check_positive("ranks", ranks)
    if rank not in range(ranks):
        raise ValueError(f"`rank` must lie in 0..{ranks - 1}; got {rank!r}.")
    if x.shape[-2] % ranks:
        raise ValueError(
            f"`x` must hold a multiple of {ranks} positions, for as many ranks; got {x.shape[-2]}. "
            "Pad the sequence at its end; causal attention never looks there."
        )
    return torch.cat([x[..., own.start : own.stop, :] for own in spans(rank, ranks, x.shape[-2], order)], -2)


def unshard(
    shards: Sequence[Float[Tensor, "*batch part width"]], order: str = "contiguous"
) -> Float[Tensor, "*batch positions width"]:
    """Join the ranks' parts, rank 0 first, into the sequence. Undoes `shard`."""
    check_order(order)
    if len(shards) == 0:
        raise ValueError("`shards` must hold one tensor a rank, rank 0 first; got none.")
    scores.check_sequences(**{f"shards[{rank}]": x for rank, x in enumerate(shards)})
    for rank, x in enumerate(shards):
        if x.shape != shards[0].shape:
            raise ValueError(
                f"`shards[{rank}]` must have the shape of `shards[0]`, {tuple(shards[0].shape)}; got "
                f"{tuple(x.shape)}. `shard` cuts a sequence into equal parts."
            )
    ranks, total = len(shards), len(shards) * shards[0].shape[-2]
    pieces = {}
    for rank, x in enumerate(shards):
        sizes = [len(own) for own in spans(rank, ranks, total, order)]
        pieces |= zip(chunks(rank, ranks, order), x.split(sizes, dim=-2), strict=True)
    return torch.cat([pieces[chunk] for chunk in sorted(pieces)], dim=-2)


def chunks(rank: int, ranks: int, order: str) -> tuple[int, int]:
    """The two chunks of 2p that a rank holds; one is even and one odd in either order."""
    return (rank, 2 * ranks - 1 - rank) if order == "zigzag" else (2 * rank, 2 * rank + 1)


def holder(chunk: int, ranks: int, order: str) -> int:
    """The rank that holds a chunk."""
    return min(chunk, 2 * ranks - 1 - chunk) if order == "zigzag" else chunk // 2


def span(chunk: int, ranks: int, total: int) -> range:
    """The positions of a chunk. Of an odd n/p the even chunk has one more, so all ranks hold n/p."""
    part = total // ranks
    start, stop = ((c // 2) * part + (c % 2) * ((part + 1) // 2) for c in (chunk, chunk + 1))
    return range(start, stop)


def spans(rank: int, ranks: int, total: int, order: str) -> list[range]:
    """The positions of a rank, in the order in which it holds them."""
    return [span(chunk, ranks, total) for chunk in chunks(rank, ranks, order)]


class Tile(NamedTuple):
    """Some queries and some keys of two ranks that have work for each other."""

    rows: slice  # of the queries, where their rank holds them
    columns: slice  # of the keys
    first: int | None  # the keys' first position minus the queries'; None: every query sees every key


class Plan(NamedTuple):
    """Who holds what in one call, for n queries and m keys on each of the ranks."""

    rank: int
    ranks: int
    n: int
    m: int
    causal: bool
    order: str

    def tiles(self, source: int) -> Iterator[Tile]:
        r"""Tiles of this rank's queries and the keys of rank `source`, at most 512 x 512; none that is empty.

        Lower right: query i of all stands at key $i + p(m - n)$, and sees no later one.
        """
        shift = self.ranks * (self.m - self.n)
        for rows, queries in _pieces(self.rank, self.ranks, self.n, self.order):
            for columns, keys in _pieces(source, self.ranks, self.m, self.order):
                first = keys.start - queries.start - shift
                if not self.causal or first + len(keys) <= 1:
                    yield Tile(rows, columns, None)
                elif first < len(queries):
                    yield Tile(rows, columns, first)

    def work(self) -> int:
        """How many scores this rank computes: tiles are computed whole."""
        tiles = [tile for source in range(self.ranks) for tile in self.tiles(source)]
        return sum((t.rows.stop - t.rows.start) * (t.columns.stop - t.columns.start) for t in tiles)


def _pieces(rank: int, ranks: int, part: int, order: str) -> Iterator[tuple[slice, range]]:
    """What a rank holds in pieces of at most `TILE`: where it holds them, and which positions they are."""
    offset = 0
    for own in spans(rank, ranks, part * ranks, order):
        for start in range(own.start, own.stop, TILE):
            piece = range(start, min(start + TILE, own.stop))
            yield slice(offset, offset + len(piece)), piece
            offset += len(piece)


def check_order(order: str) -> None:
    if order not in ORDERS:
        raise ValueError(
            f'`order` must be "contiguous" or "zigzag"; got {order!r}. Contiguous: rank 0 holds the first '
            "n/p positions. Zigzag: those that `shard(x, rank, ranks, order)` gives it."
        )
