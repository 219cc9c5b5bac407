"""What attention costs: operations, traffic with slow memory, and fast memory, by schedule.

Both schedules do the same arithmetic; what differs is how often numbers cross between slow memory (a GPU's
HBM) and fast memory (its SRAM). Counts are for `heads` heads of all sequences together. Tests check the
forward formulas against accesses that `loops` counted.
"""

from typing import NamedTuple

import torch

from attention_core import heads as head_axis
from attention_core.flash.visible import Visible

_STATISTIC = 4  # bytes of a float32: lse, running maximum and sum, and scores in fast memory


class Cost(NamedTuple):
    """Of one pass. Elements are of the inputs' dtype, statistics (lse, delta) float32."""

    flops: int  # of the matrix products, a multiplication and an addition counted as two
    exponentials: int
    loads: int  # elements read from slow memory
    stores: int  # elements written to it
    statistics: int  # float32 numbers read from or written to it
    bytes: int  # all of that traffic
    sram: int  # bytes of fast memory that one tile (or row) needs at a time
    extra: int  # bytes of slow memory beyond inputs, outputs and gradients

    @property
    def intensity(self) -> float:
        """Operations a byte; below a machine's own ratio it waits for memory (Williams et al. 2009)."""
        return self.flops / self.bytes


def standard(
    n: int,
    m: int,
    d: int,
    dv: int | None = None,
    *,
    heads: int = 1,
    backward: bool = False,
    dtype: torch.dtype = torch.float16,
) -> Cost:
    r"""Three steps through slow memory: scores stored, softmax, weights stored, average.

    Forward $2nm(d + d_v)$ operations and $nd + md + md_v + nd_v + 4nm$ elements, for scores and weights are
    each written and read once: Dao et al. (2022), algorithm 0. Backward reads the kept weights, $\partial s$
    and $\partial p$ pass through memory, $2nm(2d + 2d_v)$ operations in four products (algorithm 3). Fast
    memory as for one row of the softmax. A causal mask saves nothing here: all scores are made.
    """
    dv = _check(n, m, d, dv, heads)
    size = dtype.itemsize
    if backward:
        flops, exponentials = 4 * n * m * (d + dv), 0
        # dv = w' do;  dp = do v';  ds = w (dp - delta);  dq = ds k;  dk = ds' q. Delta is summed from w dp.
        loads = (n * m + n * dv) + (n * dv + m * dv) + 2 * n * m + (n * m + m * d) + (n * m + n * d)
        stores = m * dv + n * m + n * m + n * d + m * d
    else:
        flops, exponentials = 2 * n * m * (d + dv), n * m
        loads = n * d + m * d + m * dv + 2 * n * m
        stores = 2 * n * m + n * dv
    traffic = heads * (loads + stores) * size
    return Cost(
        *(heads * count for count in (flops, exponentials, loads, stores, 0)),
        bytes=traffic,
        sram=m * _STATISTIC,
        extra=heads * 2 * n * m * size,
    )


def tiled(
    n: int,
    m: int,
    d: int,
    dv: int | None = None,
    *,
    rows: int = 128,
    cols: int = 128,
    heads: int = 1,
    causal: bool = False,
    window: int | None = None,
    backward: bool = False,
    dtype: torch.dtype = torch.float16,
) -> Cost:
    r"""Tiles of `rows` queries and `cols` keys, scores only ever in fast memory: Dao (2023), algorithms 1 and
    2.

    Forward: each of the $\lceil n / r \rceil$ tiles of queries is loaded once and reads the keys and values
    that it may see, so without a mask $nd + \lceil n/r \rceil m (d + d_v)$ loads and $nd_v$ stores, and n
    statistics. Backward makes the scores again, five products, $2nm(3d + 2d_v)$: each tile of c keys stays
    and reads the queries, $\partial o$, lse and $\delta$ that may see it, and adds to their $\partial q$,
    once read and once written. Under a mask only tiles with an allowed pair count, cut at the first and last
    key that any of their queries sees.
    """
    dv = _check(n, m, d, dv, heads)
    visible = Visible(n, m, causal, window)
    head_axis.check_positive("rows", rows)
    head_axis.check_positive("cols", cols)
    spans = [(tile.stop - tile.start, visible.keys(0, tile)) for tile in visible.row_tiles(rows)]
    pairs = sum(r * len(keys) for r, keys in spans)
    size = dtype.itemsize
    if backward:
        # Queries met by the tiles of keys: a tile of queries meets every tile that its keys touch.
        met = sum(r * (-(-keys.stop // cols) - keys.start // cols) for r, keys in spans if len(keys))
        flops = 2 * pairs * (3 * d + 2 * dv)
        loads = m * (d + dv) + met * (d + dv) + met * d + 2 * n * dv  # the last for delta, from o and do
        stores = m * (d + dv) + met * d
        statistics = 2 * met + n
        tile_bytes = (rows + cols) * (d + dv) * size + (
            2 * rows * cols + cols * (d + dv) + 2 * rows
        ) * _STATISTIC
    else:
        flops = 2 * pairs * (d + dv)
        loads = n * d + sum(len(keys) for _, keys in spans) * (d + dv)
        stores = n * dv
        statistics = n
        tile_bytes = (rows * d + cols * (d + dv)) * size + rows * (cols + dv + 2) * _STATISTIC
    traffic = heads * ((loads + stores) * size + statistics * _STATISTIC)
    return Cost(
        *(heads * count for count in (flops, pairs, loads, stores, statistics)),
        bytes=traffic,
        sram=tile_bytes,
        extra=heads * n * _STATISTIC * (2 if backward else 1),  # lse; backward delta too
    )


def _check(n: int, m: int, d: int, dv: int | None, heads: int) -> int:
    """Require counts; returns the values' width, which is the keys' where not given."""
    dv = d if dv is None else dv
    for name, count in {"n": n, "m": m, "d": d, "dv": dv, "heads": heads}.items():
        head_axis.check_positive(name, count)
    return dv
