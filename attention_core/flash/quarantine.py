"""NaN and inf kept from the queries that may not see them, without an n by m mask."""

import torch
from jaxtyping import Float
from torch import Tensor

from attention_core.flash.visible import Visible, head_indices
from attention_core.pipeline import Spoiled


def quarantine(
    query: Tensor, key: Tensor, value: Tensor, visible: Visible
) -> tuple[tuple[Tensor, Tensor, Tensor], Spoiled | None]:
    """As `pipeline.quarantine`, but tile by tile, and only where something is not finite."""
    inputs = (query, key, value)
    if all(_is_finite(x) for x in inputs):
        return inputs, None
    sound = [x.isfinite().all(-1) for x in inputs]
    spoiled = Spoiled(*(torch.zeros_like(sound[0]) for _ in range(2)))
    rows, cols = visible.tile(512, 512)
    for b, kv, h in head_indices(query, key):
        for tile_rows in visible.row_tiles(rows):
            for tile_cols, ceiling in visible.tiles(b, h, tile_rows, cols):
                sound_scores = sound[0][b, h, tile_rows, None] & sound[1][b, kv, tile_cols]  # (r, c)
                sound_output = sound_scores & sound[2][b, kv, tile_cols]
                for seen, tile_sound in zip(spoiled, (sound_scores, sound_output), strict=True):
                    bad = ~tile_sound if ceiling is None else ~tile_sound & (ceiling > 0)
                    seen[b, h, tile_rows] |= bad.any(-1)
    return tuple(finite(x) for x in inputs), spoiled


def _is_finite(x: Tensor) -> bool:
    """Whether every entry is. By their sum, which takes a hundredth of a forward pass and no memory."""
    return bool(x.sum(dtype=torch.promote_types(x.dtype, torch.float32)).isfinite())


def finite(x: Float[Tensor, "*batch n d"]) -> Float[Tensor, "*batch n d"]:
    """With 0 for each row that holds NaN or inf."""
    return x if _is_finite(x) else x.masked_fill(~x.isfinite().all(-1, keepdim=True), 0.0)
