"""The NumPy tier: the tiled loop as the derivation has it, and a count of every access to slow memory.

Forward only, and slow. It is here to be read, and to check `cost`'s formulas against accesses that were
counted.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from attention_core.flash.blocks import BlockMask, indices
from attention_core.flash.quarantine import quarantine
from attention_core.flash.visible import Visible, head_indices
from attention_core.pipeline import Attended, spoil

_TILE = (64, 64)  # queries, keys


class SlowMemory:
    """Arrays that can only be read and written in parts, and that count the elements: `loads`, `stores`."""

    def __init__(self, **arrays: np.ndarray):
        self.arrays = arrays
        self.loads = self.stores = 0

    def load(self, name: str, *index: int | slice) -> np.ndarray:
        part = self.arrays[name][index]
        self.loads += part.size
        return part.copy()

    def store(self, name: str, *index: int | slice, part: np.ndarray) -> None:
        self.arrays[name][index] = part
        self.stores += part.size


class Met(NamedTuple):
    """What `tiled` knows of a tile of queries once it has met a tile of keys."""

    rows: slice
    cols: slice
    scores: np.ndarray  # (r, c), -inf where a pair may not attend
    maximum: np.ndarray  # (r, 1), of the scores so far
    total: np.ndarray  # (r, 1), of exp(score - maximum) so far


def forward(
    query: Float[Tensor, "batch heads n d"],
    key: Float[Tensor, "batch kv_heads m d"],
    value: Float[Tensor, "batch kv_heads m dv"],
    *,
    causal: bool = False,
    window: int | None = None,
    score_mod: Callable[..., Tensor] | None = None,
    block_mask: BlockMask | None = None,
    scale: float | None = None,
    lengths: Tensor | None = None,
    tile: tuple[int, int] = _TILE,
) -> tuple[Float[Tensor, "batch heads n dv"], Float[Tensor, "batch heads n"]]:
    """Output and lse; `blockwise.forward` in NumPy, and `tiled` for every head."""
    lengths = None if lengths is None else tuple(lengths.tolist())
    visible = Visible(query.shape[-2], key.shape[-2], causal, window, lengths, block_mask, query.device)
    scale = 1 / math.sqrt(query.shape[-1]) if scale is None else scale
    (query, key, value), spoiled = quarantine(query, key, value, visible)
    memory = slow_memory(query, key, value)
    for b, _, h in head_indices(query, key):
        tiled(memory, visible, b, h, scale, score_mod, tile)
    output, lse = (torch.from_numpy(memory.arrays[name]).to(query.device) for name in ("output", "lse"))
    attended = spoil(Attended(output.to(query.dtype), None, lse), spoiled)
    return attended.output, attended.lse


def slow_memory(query: Tensor, key: Tensor, value: Tensor, **more: np.ndarray) -> SlowMemory:
    """The three inputs, and room for output and lse, in float32 or better."""
    exact = torch.promote_types(query.dtype, torch.float32)
    query, key, value = (x.detach().cpu().to(exact).numpy() for x in (query, key, value))
    output = np.full((*query.shape[:-1], value.shape[-1]), np.nan, query.dtype)
    lse = np.full(query.shape[:-1], np.nan, query.dtype)
    return SlowMemory(query=query, key=key, value=value, output=output, lse=lse, **more)


def tiled(
    memory: SlowMemory,
    visible: Visible,
    b: int,
    h: int,
    scale: float,
    score_mod: Callable[..., Tensor] | None = None,
    tile: tuple[int, int] = _TILE,
    watch: Callable[[Met], None] | None = None,
) -> None:
    r"""One head of attention with an n by m matrix nowhere: Dao (2023), algorithm 1.

    A tile of queries is loaded once, meets every tile of keys and values that it may see, and its output and
    lse are stored once. Between tiles only the running maximum, sum and average stay in fast memory; `watch`
    is shown them after each.
    """
    kv = h // (memory.arrays["query"].shape[1] // memory.arrays["key"].shape[1])
    rows, cols = visible.tile(*tile)
    for tile_rows in visible.row_tiles(rows):
        queries = memory.load("query", b, h, tile_rows) * scale
        maximum = np.full((len(queries), 1), -np.inf, queries.dtype)
        total = np.zeros_like(maximum)
        average = np.zeros((len(queries), memory.arrays["value"].shape[-1]), queries.dtype)
        for tile_cols, ceiling in visible.tiles(b, h, tile_rows, cols):
            keys, values = (memory.load(name, b, kv, tile_cols) for name in ("key", "value"))
            scores = queries @ keys.T  # (r, c)
            if score_mod is not None:
                scores = _modify(score_mod, scores, b, h, tile_rows, tile_cols)
            if ceiling is not None:
                scores = np.minimum(scores, ceiling.cpu().numpy())
            risen = np.maximum(maximum, scores.max(-1, keepdims=True))
            shift = np.where(risen == -np.inf, 0, risen)  # or a query without a key would meet -inf - -inf
            weights = np.exp(scores - shift)
            correction = np.exp(maximum - shift)
            total = total * correction + weights.sum(-1, keepdims=True)
            average = average * correction + weights @ values
            maximum = risen
            if watch is not None:
                watch(Met(tile_rows, tile_cols, scores, maximum, total))
        empty = total == 0
        total[empty] = 1  # whose average is 0 and whose maximum is -inf
        memory.store("output", b, h, tile_rows, part=average / total)
        memory.store("lse", b, h, tile_rows, part=(maximum + np.log(total))[:, 0])


def standard(memory: SlowMemory, visible: Visible, b: int, h: int, scale: float, rows: int = 64) -> None:
    """The same head in three separate steps, through `scores` and `weights` in slow memory.

    As a library without fused kernels does it: scores are stored whole, loaded for the softmax, its weights
    stored whole, and loaded again for the average (Dao et al. 2022, algorithm 0). Each pass holds what it
    needs of keys or values in fast memory throughout, the best case for it. `memory` needs `scores` and
    `weights`, (n, m).
    """
    keys = memory.load("key", b, h)
    for tile in visible.row_tiles(rows):
        memory.store("scores", tile, part=memory.load("query", b, h, tile) * scale @ keys.T)
    for tile in visible.row_tiles(rows):
        scores = memory.load("scores", tile)
        masked = np.full_like(scores, -np.inf)
        for cols, ceiling in visible.tiles(b, h, tile, visible.m):
            masked[:, cols] = np.minimum(
                scores[:, cols], np.inf if ceiling is None else ceiling.cpu().numpy()
            )
        weights = np.exp(masked - masked.max(-1, keepdims=True))
        memory.store("weights", tile, part=weights / weights.sum(-1, keepdims=True))
    values = memory.load("value", b, h)
    for tile in visible.row_tiles(rows):
        memory.store("output", b, h, tile, part=memory.load("weights", tile) @ values)


def _modify(score_mod: Callable[..., Tensor], scores: np.ndarray, b: int, h: int, *tile: slice) -> np.ndarray:
    with torch.no_grad():
        modified = score_mod(torch.from_numpy(scores), *indices(b, h, *tile, "cpu"))
        return modified.expand(scores.shape).to(torch.from_numpy(scores).dtype).numpy()
