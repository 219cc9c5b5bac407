"""Block sparsity: which tiles of a mask can be skipped, and what does the size of a tile change?"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import ipywidgets as widgets
import numpy as np
import torch
import traitlets

from attention_core.figures import base, static
from attention_core.figures.block_sparsity_static import Tally, board, charts, describe, facts, legend
from attention_core.figures.mask_rules import Rules, allowed, code
from attention_core.figures.static import Markup, h, section, setting
from attention_core.flash import BlockMask, create_block_mask
from attention_core.flash.blocks import FULL, PARTIAL

TILES = range(4, 33)  # positions along each side of a tile
SHORTEST, LONGEST = 32, 128  # of a sequence
OWN = "your own"
BOARD = "Queries down, keys across, cut into tiles"
COUNTED = "Counts for this mask and this tile"
SPELLED = "As code: FlexAttention’s create_block_mask says BLOCK_SIZE where this library says block"


class Mask(NamedTuple):
    """A mask and the code that says it."""

    mask_mod: Callable[..., torch.Tensor]
    setup: str  # what `line` needs, or nothing
    line: str  # what `mask_mod` returns


def masks(n: int) -> dict[str, Mask]:
    """The masks to choose from, by what the reader sees in the list."""
    rules = {
        "causal": Rules(n),
        "causal, window 16": Rules(n, window=16),
        "causal, window 4": Rules(n, window=4),
        "window 16, both ways": Rules(n, causal=0, window=16),
        "prefix 20, then causal": Rules(n, prefix=20),
        "prefix 4, then window 16": Rules(n, prefix=4, window=16),
        "3 documents": Rules(n, causal=0, documents=3),
        "3 documents, causal": Rules(n, documents=3),
    }
    strided = Mask(
        lambda b, h, q_idx, kv_idx: (q_idx >= kv_idx) & (kv_idx % 8 == 0),
        "",
        "(q_idx >= kv_idx) & (kv_idx % 8 == 0)",
    )
    return {name: _ruled(rule) for name, rule in rules.items()} | {"causal, every 8th key": strided}


def _ruled(rules: Rules) -> Mask:
    pairs, said = torch.from_numpy(allowed(rules)), code(rules)
    return Mask(lambda b, h, q_idx, kv_idx: pairs[q_idx, kv_idx], said["setup"], said["mask_mod"])


def tally(blocks: BlockMask) -> Tally:
    """Counts of tiles, and of the pairs in them: a tile at the edge may be shorter."""
    kinds = blocks.kinds[0, 0].numpy()
    sides = [np.minimum(size, length - np.arange(0, length, size))
             for size, length in zip(blocks.block, (blocks.n, blocks.m), strict=True)]  # fmt: skip
    area = np.outer(*sides)
    return Tally(
        tile=blocks.block[0],
        size=blocks.n * blocks.m,
        **blocks.counts,
        allowed=int(blocks.dense().sum()),
        asked=int(area[kinds == PARTIAL].sum()),
        computed=int(area[kinds == PARTIAL].sum() + area[kinds == FULL].sum()),
    )


class BlockSparsityView(base.View):
    _esm = base.module("block_sparsity")
    _css = base.style("block_sparsity")
    n = traitlets.Int().tag(sync=True)
    least = traitlets.Int(TILES[0]).tag(sync=True)  # the smallest tile
    most = traitlets.Int(TILES[-1]).tag(sync=True)
    codes = traitlets.List(traitlets.Unicode()).tag(sync=True)  # without the call
    pairs = traitlets.Bytes().tag(sync=True)  # a bit a pair, mask after mask
    kinds = traitlets.Bytes().tag(sync=True)  # a byte a tile: for each mask, for each size, row by row
    mask = traitlets.Int(0).tag(sync=True)
    tile = traitlets.Int(8).tag(sync=True)


class BlockSparsity(base.Figure):
    """A mask cut into tiles: full, partial or empty; the work that is left, and what the tiles cost.

    The counts are whole numbers from `flash.create_block_mask`, for every mask and every size of a tile, so
    the picture without a kernel is as exact as with one.

    Parameters
    ----------
    mask_mod
        A mask of your own, `f(b, h, q_idx, kv_idx)` as for `flash.create_block_mask`; it heads the list.
    n
        Tokens, 32 to 128.
    mask
        Where the list starts: one of `masks(n)`, or "your own".
    tile
        Where the slider starts, 4 to 32.
    """

    name = "block-sparsity"
    title = "Block sparsity: which tiles can be skipped?"
    question = (
        "Two masks can allow equally few pairs and leave very different work. Predict which, then drag "
        "the tile size."
    )

    def __init__(
        self,
        mask_mod: Callable[..., torch.Tensor] | None = None,
        *,
        n: int = 64,
        mask: str | None = None,
        tile: int = 8,
    ):
        base.whole("n", n, SHORTEST, LONGEST)
        base.whole("tile", tile, TILES[0], TILES[-1])
        self.n = n
        self.masks = masks(n)
        if mask_mod is not None:
            self.masks = {OWN: Mask(mask_mod, "# mask_mod is your own", "")} | self.masks
        names = list(self.masks)
        if mask is not None and mask not in names:
            raise ValueError(f"`mask` must be one of {', '.join(map(repr, names))}; got {mask!r}")
        self.kind = widgets.Dropdown(options=names, value=mask or names[0], description="Mask")
        self.tile = widgets.IntSlider(value=tile, min=TILES[0], max=TILES[-1], description="Tile size")
        frames = [[self._cut(name, size) for size in TILES] for name in names]
        self.tallies = [[tally(blocks) for blocks in line] for line in frames]
        view = BlockSparsityView(
            n=n,
            codes=[self._mask_code(name) for name in names],
            pairs=b"".join(np.packbits(line[0].dense().numpy()).tobytes() for line in frames),
            kinds=b"".join(blocks.kinds.numpy().tobytes() for line in frames for blocks in line),
        )
        super().__init__(view, (self.kind, self.tile))
        self.link(self.kind, "index", view, "mask")
        self.link(self.tile, "value", view, "tile")
        self.settle()

    @property
    def block_mask(self) -> BlockMask:
        """What the controls say, to be passed to `flash_attention`."""
        return self._cut(self.kind.value, self.tile.value)

    @property
    def mask(self) -> np.ndarray:
        """(n, n), True = may attend."""
        return self.block_mask.dense()[0, 0].numpy()

    @property
    def weights(self) -> np.ndarray:
        """The kinds of the tiles, 0 empty, 1 partial, 2 full: (row tiles, column tiles)."""
        return self.block_mask.kinds[0, 0].numpy()

    @property
    def tally(self) -> Tally:
        """Counts of tiles and of pairs."""
        return self.tallies[self.kind.index][self.tile.value - TILES[0]]

    @property
    def code(self) -> str:
        """The code below the picture."""
        call = f"create_block_mask(mask_mod, None, None, {self.n}, {self.n}, block={self.tile.value})"
        return f"{self._mask_code(self.kind.value)}\nblock_mask = {call}"

    def _cut(self, name: str, tile: int) -> BlockMask:
        return create_block_mask(self.masks[name].mask_mod, None, None, self.n, self.n, block=tile)

    def _mask_code(self, name: str) -> str:
        mask = self.masks[name]
        said = f"def mask_mod(b, h, q_idx, kv_idx):\n    return {mask.line}" if mask.line else ""
        return "\n".join(part for part in (mask.setup, said) if part)

    def settle(self) -> None:
        self.view.mask, self.view.tile = self.kind.index, self.tile.value

    def static_settings(self) -> Sequence[Markup]:
        return (
            setting(self.kind.description, self.kind.value, "pa-dropdown"),
            setting(self.tile.description, str(self.tile.value)),
        )

    def static_body(self) -> Sequence[Markup]:
        line, at = self.tallies[self.kind.index], self.tally
        left = h("div.pa-blocks", *board(self.mask, self.weights, self.tile.value))
        right = h("div.pa-blockfacts", legend(at), charts(line, at))
        kinds = ((text, ".pa-dim" if text.endswith(":") else "") for text in self.code.split("\n"))
        pre = h("pre.pa-blockcode", *(h(f"span.pa-blockline{kind}", text) for text, kind in kinds))
        return (
            section("flow", BOARD, h("div.pa-blockboard", left, right)),
            section("detail", COUNTED, facts(at), h("p.pa-caption.pa-spelled", SPELLED), pre),
            static.sentence(describe(line, at)),
        )
