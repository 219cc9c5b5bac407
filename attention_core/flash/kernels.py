"""Attention in Triton, forward: a kernel that never writes a score to memory. `gpu` calls it.

A program owns one tile of queries, keeps it on the chip, and walks over tiles of keys and values.
The way back is in `kernels_backward`, and shares what comes before `attend_tile` here.

Query i sees key j where `nearest <= i - j <= farthest` and j < length: causal masks, windows and n != m are
choices of these two numbers. Tiles that nobody sees are not visited, tiles that all see need no mask.

Scores are in base 2 (`exp2` is one instruction), statistics and sums in float32. A tensor descriptor reads
zeros outside its sequence or width and drops what is stored there: no size need be a multiple of a tile.
In a masked tile what is hidden is made finite before it meets a weight of 0, since 0 * NaN = NaN.

Dao (2023), "FlashAttention-2", algorithm 1. `no_type_check` keeps run-time type checkers away:
Triton compiles the source text, and a wrapped function has none.
"""

from typing import no_type_check

import triton
import triton.language as tl

LOG2_E = tl.constexpr(1.4426950408889634)
LOG_2 = tl.constexpr(0.6931471805599453)
INFINITY = tl.constexpr(float("inf"))
# Sizes for which Triton would compile a kernel anew where one is 1 or a multiple of 16. They decide no load's
# width, and so one program, of which the tests read the registers, serves all of them.
NUMBERS = ("n", "m", "nearest", "farthest", "heads", "group")


@triton.jit
@no_type_check
def matrix_of(x, index, length, count, WIDTH: tl.constexpr, ROWS: tl.constexpr, PADDED: tl.constexpr):
    """Matrix `index` of x (matrices, count, WIDTH), of which `length` rows exist, for `load` and `store`.

    A tensor descriptor; of float32 the address: no matrix unit multiplies it, and what a descriptor fetches
    lies so that a thread would hold whole rows, more than it has registers.
    """
    start = x + index.to(tl.int64) * count * WIDTH
    if x.dtype.element_ty == tl.float32:
        matrix = start
    else:
        matrix = tl.make_tensor_descriptor(start, [length, WIDTH], [WIDTH, 1], [ROWS, PADDED])
    return matrix


@triton.jit
@no_type_check
def places(first, length, WIDTH: tl.constexpr, ROWS: tl.constexpr, PADDED: tl.constexpr):
    """Where the numbers of a tile lie in their matrix, and which of them exist."""
    rows, columns = (first + tl.arange(0, ROWS))[:, None], tl.arange(0, PADDED)[None, :]
    return rows.to(tl.int64) * WIDTH + columns, (rows < length) & (columns < WIDTH)


@triton.jit
@no_type_check
def load(matrix, first, length, WIDTH: tl.constexpr, ROWS: tl.constexpr, PADDED: tl.constexpr):
    """The tile (ROWS, PADDED) whose first row this is; zeros where there is nothing."""
    if matrix.dtype.is_ptr():
        place, exists = places(first, length, WIDTH, ROWS, PADDED)
        tile = tl.load(matrix + place, mask=exists, other=0.0)
    else:
        tile = matrix.load([first, 0])
    return tile


@triton.jit
@no_type_check
def store(tile, matrix, first, length, WIDTH: tl.constexpr, ROWS: tl.constexpr, PADDED: tl.constexpr):
    """Write a tile; what lies outside the matrix is dropped."""
    if matrix.dtype.is_ptr():
        place, exists = places(first, length, WIDTH, ROWS, PADDED)
        tl.store(matrix + place, tile, mask=exists)
    else:
        matrix.store([first, 0], tile)


@triton.jit
@no_type_check
def owned(count, ROWS: tl.constexpr):
    """Which matrix, and which of its tiles of ROWS, this program owns."""
    tiles = tl.cdiv(count, ROWS)
    return tl.program_id(0) // tiles, tl.program_id(0) % tiles


@triton.jit
@no_type_check
def finite(x):
    """x with 0 for NaN and inf."""
    return tl.where(tl.abs(x) < INFINITY, x, 0.0)


@triton.jit
@no_type_check
def tiles_seen(seen_from, seen_to, whole_from, whole_to, limit, whole_limit, TILE: tl.constexpr):
    """Which tiles to visit, given the first and last position seen by one and by all of the owned rows.

    Returns the first tile, how many masked ones follow it, then how many whole ones, then masked ones again.
    """
    first = tl.maximum(seen_from, 0) // TILE
    end = tl.maximum(tl.cdiv(tl.maximum(tl.minimum(seen_to + 1, limit), 0), TILE), first)
    whole = tl.minimum(tl.maximum(tl.cdiv(tl.maximum(whole_from, 0), TILE), first), end)
    whole_end = tl.maximum(tl.minimum(whole_to + 1, whole_limit), 0) // TILE
    whole_end = tl.minimum(tl.maximum(whole_end, whole), end)
    return first, whole - first, whole_end - whole, end - whole_end


@triton.jit
@no_type_check
def scores_of(left, right, scale, b, h, i, j, captured, SCORE_MOD: tl.constexpr):
    """Scores of queries i with keys j, scaled and modified, in base 2; and unmodified, in base e."""
    score = tl.dot(left, tl.trans(right), input_precision="ieee")
    if SCORE_MOD is None:
        modified = score * (scale * LOG2_E)
    else:
        score = score * scale
        modified = SCORE_MOD(score, b, h, i, j, captured) * LOG2_E
    return modified, score


@triton.jit
@no_type_check
def visible(i, j, allowed_by, BLOCK: tl.constexpr):
    """Whether query i sees key j, where a partial tile of a block mask has its own say in `bits`."""
    nearest, farthest, length, bits = allowed_by
    allowed = (i - j >= nearest) & (i - j <= farthest) & (j < length)
    if bits is not None:
        allowed &= tl.load(bits + i % BLOCK * BLOCK + j % BLOCK) != 0
    return allowed


@triton.jit
@no_type_check
def listed(blocks, matrix, tile, n_blocks, ROWS: tl.constexpr, COLUMNS: tl.constexpr, BLOCK: tl.constexpr):
    """Where a block mask lists what the owned tile sees; how many masked and how many whole tiles that is."""
    counts, _tiles, _slots, _bits, longest, masks = blocks
    row = (matrix % masks).to(tl.int64) * n_blocks + tile * ROWS // BLOCK
    masked = tl.load(counts + 2 * row) * (BLOCK // COLUMNS)
    return row * longest, masked, tl.load(counts + 2 * row + 1) * (BLOCK // COLUMNS)


@triton.jit
@no_type_check
def listed_tile(blocks, place, step, COLUMNS: tl.constexpr, BLOCK: tl.constexpr):
    """Where the tile of this step starts, and its bits."""
    _counts, tiles, slots, bits, _longest, _masks = blocks
    entry = place + step // (BLOCK // COLUMNS)
    start = tl.load(tiles + entry) * BLOCK + step % (BLOCK // COLUMNS) * COLUMNS
    return start, bits + tl.load(slots + entry).to(tl.int64) * BLOCK * BLOCK


@triton.jit
@no_type_check
def attend_tile(
    state, query, keys, values, start, i, allowed_by, scored_by,
    WIDTH: tl.constexpr, VALUE_WIDTH: tl.constexpr, KEYS: tl.constexpr, BLOCK: tl.constexpr,
    DOT: tl.constexpr, SCORE_MOD: tl.constexpr, MASKED: tl.constexpr,
):  # fmt: skip
    r"""One step of the online softmax: $m' = \max(m, \max_j s_j)$, and all sums rescaled by $2^{m - m'}$."""
    output, largest, total = state
    scale, b, h, captured = scored_by
    _nearest, _farthest, length, _bits = allowed_by
    j = (start + tl.arange(0, KEYS))[None, :]
    key = load(keys, start, length, WIDTH, KEYS, query.shape[1]).to(DOT)
    score, _ = scores_of(query, key, scale, b, h, i, j, captured, SCORE_MOD)  # (QUERIES, KEYS)
    if MASKED:
        allowed = visible(i, j, allowed_by, BLOCK)
        score = tl.where(allowed, score, -INFINITY)

    larger = tl.maximum(largest, tl.max(score, 1))
    reference = tl.where(larger == -INFINITY, 0.0, larger)  # nothing seen yet: -inf - -inf would be NaN
    weights = tl.exp2(score - reference[:, None])
    rescale = tl.exp2(largest - reference)
    total = total * rescale + tl.sum(weights, 1)

    value = load(values, start, length, VALUE_WIDTH, KEYS, output.shape[1]).to(DOT)
    if MASKED:  # a value that is not finite reaches the rows that see it, through the weights, and no others
        sound = tl.min((tl.abs(value) < INFINITY).to(tl.int32), 1) != 0  # (KEYS,)
        weights = tl.where(allowed & ~sound[None, :], float("nan"), weights)
        value = finite(value)
    output = tl.dot(weights.to(DOT), value, output * rescale[:, None], input_precision="ieee")
    return output, larger, total


@triton.jit(do_not_specialize=NUMBERS)
@no_type_check
def forward(
    query, key, value, output, lse, lengths, blocks, captured, n, m, nearest, farthest, scale, heads, group,
    WIDTH: tl.constexpr, VALUE_WIDTH: tl.constexpr, PADDED: tl.constexpr, VALUE_PADDED: tl.constexpr,
    QUERIES: tl.constexpr, KEYS: tl.constexpr, BLOCK: tl.constexpr, DOT: tl.constexpr,
    SCORE_MOD: tl.constexpr, MASK_ALL: tl.constexpr,
):  # fmt: skip
    """`output` and `lse` of one tile of queries of one head: Dao (2023), algorithm 1."""
    matrix, tile = owned(n, QUERIES)  # matrix: batch * heads + head
    tile = tl.cdiv(n, QUERIES) - 1 - tile  # last rows first: under a causal mask they have most to do
    top, bottom = tile * QUERIES, tl.minimum((tile + 1) * QUERIES, n) - 1
    length = m
    if lengths is not None:
        length = tl.load(lengths + matrix // heads)
    rows = top + tl.arange(0, QUERIES)
    i = rows[:, None]
    keys = matrix_of(key, matrix // group, length, m, WIDTH, KEYS, PADDED)
    values = matrix_of(value, matrix // group, length, m, VALUE_WIDTH, KEYS, VALUE_PADDED)
    queries = matrix_of(query, matrix, n, n, WIDTH, QUERIES, PADDED)
    own = load(queries, top, n, WIDTH, QUERIES, PADDED).to(DOT)

    state = (
        tl.zeros([QUERIES, VALUE_PADDED], tl.float32),
        tl.full([QUERIES], -INFINITY, tl.float32),
        tl.zeros([QUERIES], tl.float32),
    )
    scored_by = (scale, matrix // heads, matrix % heads, captured)
    if blocks is None:
        first, left, whole, right = tiles_seen(
            top - farthest, bottom - nearest, bottom - farthest, top - nearest, length, length, KEYS
        )
        masked = left + right
    else:
        place, masked, whole = listed(blocks, matrix, tile, tl.cdiv(n, BLOCK), QUERIES, KEYS, BLOCK)

    for step in range(whole):
        if blocks is None:
            start = (first + left + step) * KEYS
        else:
            start, _ = listed_tile(blocks, place, masked + step, KEYS, BLOCK)
        allowed_by = (nearest, farthest, length, None)
        state = attend_tile(
            state, own, keys, values, start, i, allowed_by, scored_by, WIDTH, VALUE_WIDTH,
            KEYS, BLOCK, DOT, SCORE_MOD, MASK_ALL,
        )  # fmt: skip
    for step in range(masked):
        if blocks is None:
            start, bits = (first + step + tl.where(step < left, 0, whole)) * KEYS, None
        else:
            start, bits = listed_tile(blocks, place, step, KEYS, BLOCK)
        allowed_by = (nearest, farthest, length, bits)
        state = attend_tile(
            state, own, keys, values, start, i, allowed_by, scored_by, WIDTH, VALUE_WIDTH,
            KEYS, BLOCK, DOT, SCORE_MOD, True,
        )  # fmt: skip

    result, largest, total = state
    divisor = tl.where(total == 0, 1.0, total)  # a row that saw nothing stays 0
    result = result / divisor[:, None]
    outputs = matrix_of(output, matrix, n, n, VALUE_WIDTH, QUERIES, VALUE_PADDED)
    store(result.to(output.dtype.element_ty), outputs, top, n, VALUE_WIDTH, QUERIES, VALUE_PADDED)
    row_lse = tl.where(total == 0, -INFINITY, (largest + tl.log2(divisor)) * LOG_2)
    tl.store(lse + matrix.to(tl.int64) * n + rows, row_lse, mask=rows < n)
