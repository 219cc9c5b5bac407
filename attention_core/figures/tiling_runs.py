"""What a schedule of attention does, step by step: the loops of `attention_core.flash`, recorded.

Bytes count an element of an input, a score or a weight as 2 (float16, the dtype of `flash.cost`), and the lse
as 4. The values themselves are float64, so that a difference from exact attention is rounding and no more.
"""

import math
from typing import NamedTuple

import numpy as np
import torch

from attention_core import masks
from attention_core.flash import cost, loops
from attention_core.flash.visible import Visible
from attention_core.pipeline import Attended, attend

KERNELS = ("standard", "flash")
TILES = (8, 16, 32)  # queries, and keys, of a tile
ELEMENT, STATISTIC = 2, 4  # bytes
TILE, SCORES, SOFTMAX, AVERAGE = range(4)  # phases: flash has the first, standard the other three
PHASES = {"scores": SCORES, "weights": SOFTMAX, "output": AVERAGE}  # by what a step stores

Inputs = tuple[np.ndarray, np.ndarray, np.ndarray]  # query (n, d), key (m, d), value (m, dv)


class Traffic(NamedTuple):
    """Bytes that have crossed between slow and fast memory."""

    loaded: int = 0
    stored: int = 0

    @property
    def bytes(self) -> int:
        return self.loaded + self.stored


class Step(NamedTuple):
    """A tile (of flash) or a band of rows (of one of the three passes), and what is known after it."""

    phase: int
    rows: slice
    cols: slice
    traffic: Traffic  # so far
    maximum: np.ndarray  # (r,): of each query so far; nothing while it is not known
    total: np.ndarray  # (r,)


class Run(NamedTuple):
    """One schedule with one size of tile, from the first access of slow memory to the last."""

    steps: list[Step]
    scores: np.ndarray  # (n, m), all that were ever made; NaN where none was
    output: np.ndarray  # (n, dv)
    cost: cost.Cost  # what the formula says of it
    sram: dict[int, dict[str, int]]  # bytes in fast memory by phase and part


class Ledger(loops.SlowMemory):
    """Slow memory that also writes down every access, and the traffic after it."""

    def __init__(self, **arrays: np.ndarray):
        super().__init__(**arrays)
        self.lines: list[tuple[str, slice, Traffic]] = []
        self.traffic = Traffic()

    def load(self, name: str, *index: int | slice) -> np.ndarray:
        part = super().load(name, *index)
        loaded, stored = self.traffic
        self._write(name, index, Traffic(loaded + part.size * _size(name), stored))
        return part

    def store(self, name: str, *index: int | slice, part: np.ndarray) -> None:
        super().store(name, *index, part=part)
        loaded, stored = self.traffic
        self._write(name, index, Traffic(loaded, stored + part.size * _size(name)))

    def _write(self, name: str, index: tuple, traffic: Traffic) -> None:
        self.traffic = traffic
        self.lines.append((name, index[-1], traffic))


def _size(name: str) -> int:
    return STATISTIC if name == "lse" else ELEMENT


def exact(inputs: Inputs, causal: bool) -> Attended:
    """`attend`, the whole matrix at once, in float64."""
    query, key, value = (torch.from_numpy(x) for x in inputs)
    mask = masks.causal(len(query), len(key), align="lower_right") if causal else None
    return attend(query, key, value, mask=mask)


def record(inputs: Inputs, kernel: str, tile: int, causal: bool) -> Run:
    """Run one schedule of `flash.loops` on these inputs, and note its steps."""
    (n, d), (m, dv) = inputs[0].shape, inputs[2].shape
    room = {name: np.full((n, m), np.nan) for name in ("scores", "weights")}
    arrays = dict(zip(("query", "key", "value"), (x[None, None] for x in inputs), strict=True))
    memory = Ledger(**arrays, output=np.full((1, 1, n, dv), np.nan), lse=np.full((1, 1, n), np.nan), **room)
    visible, scale = Visible(n, m, causal), 1 / math.sqrt(d)
    if kernel == "flash":
        met: list[loops.Met] = []
        loops.tiled(memory, visible, 0, 0, scale, tile=(tile, tile), watch=met.append)
        steps, formula = _tiles(memory, met), cost.tiled(n, m, d, dv, rows=tile, cols=tile, causal=causal)
        for each in met:
            memory.arrays["scores"][each.rows, each.cols] = each.scores
    else:
        loops.standard(memory, visible, 0, 0, scale, rows=tile)
        steps, formula = _passes(memory, causal), cost.standard(n, m, d, dv)
    sram = _sram(kernel, tile, m, d, dv)
    return Run(steps, memory.arrays["scores"], memory.arrays["output"][0, 0], formula, sram)


def _tiles(memory: Ledger, met: list[loops.Met]) -> list[Step]:
    """A step for each tile of values that was loaded; the output's store belongs to the row's last one."""
    steps: list[Step] = []
    for name, _, traffic in memory.lines:
        if name == "value":
            rows, cols, _, maximum, total = met[len(steps)]
            steps.append(Step(TILE, rows, cols, traffic, maximum[:, 0], total[:, 0]))
        elif name in ("output", "lse"):
            steps[-1] = steps[-1]._replace(traffic=traffic)
    return steps


def _passes(memory: Ledger, causal: bool) -> list[Step]:
    """A step for each band that was stored: of scores, of weights, of output."""
    scores = memory.arrays["scores"]
    masked = np.where(allowed(*scores.shape, causal), scores, -np.inf)
    maximum = masked.max(axis=1)
    total = np.exp(masked - maximum[:, None]).sum(axis=1)
    steps, cols, nothing = [], slice(0, scores.shape[1]), np.empty(0)
    for (name, rows, traffic), (_, _, before) in zip(memory.lines[1:], memory.lines, strict=False):
        if traffic.stored > before.stored:
            known = (nothing, nothing) if name == "scores" else (maximum[rows], total[rows])
            steps.append(Step(PHASES[name], rows, cols, traffic, *known))
    return steps


def allowed(n: int, m: int, causal: bool) -> np.ndarray:
    """(n, m), True = may attend."""
    return masks.causal(n, m, align="lower_right").numpy() if causal else np.ones((n, m), bool)


def _sram(kernel: str, tile: int, m: int, d: int, dv: int) -> dict[int, dict[str, int]]:
    """Room for what each phase holds: the inputs' parts in their own dtype, what is computed in float32."""
    if kernel == "flash":
        parts = {
            "Q": tile * d * ELEMENT, "K": tile * d * ELEMENT, "V": tile * dv * ELEMENT,
            "S": tile * tile * STATISTIC, "O,m,ℓ": tile * (dv + 2) * STATISTIC,
        }  # fmt: skip
        return {TILE: parts}
    band = tile * m * STATISTIC
    return {
        SCORES: {"Q": tile * d * ELEMENT, "K": m * d * ELEMENT, "S": band},
        SOFTMAX: {"S": band},
        AVERAGE: {"V": m * dv * ELEMENT, "A": band, "O": tile * dv * STATISTIC},
    }


def telling(scores: np.ndarray, rows: slice, tile: int, causal: bool) -> int:
    """The query whose maximum rises most often as keys arrive by the tile; of equals, the furthest."""
    masked = np.where(allowed(*scores.shape, causal), scores, -np.inf)[rows]
    tops = np.stack(
        [masked[:, start : start + tile].max(axis=1) for start in range(0, scores.shape[1], tile)]
    )
    running = np.maximum.accumulate(tops)  # (tiles, r)
    rises = (running[1:] > running[:-1]).sum(axis=0)
    return rows.start + int(np.lexsort((running[-1] - running[0], rises))[-1])
