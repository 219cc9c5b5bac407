"""Attention in Triton, backward: the scores once more, tile by tile, and their gradients. `gpu` calls it.

    backward_rows    owns queries:                what both kernels below need to know of each row
    backward_query   owns queries, walks keys:    the queries' gradient
    backward_key     owns keys, walks queries:    the keys' and the values' gradient

Seven matrix products (above width 128 eight) where a single kernel would need five, but every sum is one
program's own: no atomics, so that two runs agree to the bit. As in `kernels`, NaN and inf stay hidden where
a mask hides them.

Dao (2023), "FlashAttention-2", algorithm 2.
"""

from typing import no_type_check

import triton
import triton.language as tl

from attention_core.flash.kernels import (
    INFINITY,
    LOG2_E,
    NUMBERS,
    finite,
    listed,
    listed_tile,
    load,
    matrix_of,
    owned,
    scores_of,
    store,
    tiles_seen,
    visible,
)


@triton.jit(do_not_specialize=NUMBERS)
@no_type_check
def backward_rows(
    output, grad_output, lse, grad_lse, shift, delta, n,
    VALUE_WIDTH: tl.constexpr, VALUE_PADDED: tl.constexpr, QUERIES: tl.constexpr,
):  # fmt: skip
    r"""Per query `shift`, its lse in base 2, and `delta`, $D_i = o_i \cdot \partial o_i - \partial\ell_i$.

    Rows that saw nothing, or something not finite, get shift inf: all their weights then are 0.
    """
    matrix, tile = owned(n, QUERIES)
    top = tile * QUERIES
    rows = top + tl.arange(0, QUERIES)
    place = matrix.to(tl.int64) * n + rows
    outputs = matrix_of(output, matrix, n, n, VALUE_WIDTH, QUERIES, VALUE_PADDED)
    grads = matrix_of(grad_output, matrix, n, n, VALUE_WIDTH, QUERIES, VALUE_PADDED)
    out = load(outputs, top, n, VALUE_WIDTH, QUERIES, VALUE_PADDED).to(tl.float32)
    grad = load(grads, top, n, VALUE_WIDTH, QUERIES, VALUE_PADDED)
    row_lse = tl.load(lse + place, mask=rows < n, other=0.0)
    row_delta = tl.sum(out * grad.to(tl.float32), 1)
    if grad_lse is not None:
        row_delta -= tl.load(grad_lse + place, mask=rows < n, other=0.0)
    sound = (tl.min((tl.abs(out) < INFINITY).to(tl.int32), 1) != 0) & (tl.abs(row_lse) < INFINITY)
    tl.store(shift + place, tl.where(sound, row_lse * LOG2_E, INFINITY), mask=rows < n)
    tl.store(delta + place, tl.where(sound, row_delta, 0.0), mask=rows < n)


@triton.jit
@no_type_check
def backward_tile(
    left, right, value_left, value_right, shift, delta, i, j, allowed_by, scored_by,
    BLOCK: tl.constexpr, SCORE_MOD: tl.constexpr, SCORE_GRAD: tl.constexpr, MASKED: tl.constexpr,
):  # fmt: skip
    r"""Weights $p$ and score gradients $\partial s = p (\partial p - D)$ of a tile, recomputed.

    Either way round: with queries on the left and keys on the right, or transposed.
    """
    scale, b, h, captured = scored_by
    score, plain = scores_of(left, right, scale, b, h, i, j, captured, SCORE_MOD)
    weights = tl.exp2(score - shift)
    grad_weights = tl.dot(value_left, tl.trans(value_right), input_precision="ieee")
    grad_score = weights * (grad_weights - delta)
    if SCORE_MOD is not None:
        grad_score = grad_score * SCORE_GRAD(plain, b, h, i, j, captured)
    if MASKED:
        allowed = visible(i, j, allowed_by, BLOCK)
        weights = tl.where(allowed, weights, 0.0)
        grad_score = tl.where(allowed, grad_score, 0.0)
    return weights, grad_score


@triton.jit
@no_type_check
def query_tile(
    grad, query, grad_output, keys, values, shift, delta, start, i, allowed_by, scored_by,
    WIDTH: tl.constexpr, VALUE_WIDTH: tl.constexpr, KEYS: tl.constexpr, BLOCK: tl.constexpr,
    DOT: tl.constexpr, SCORE_MOD: tl.constexpr, SCORE_GRAD: tl.constexpr, MASKED: tl.constexpr,
):  # fmt: skip
    r"""$\partial q_i \mathrel{+}= \sum_j \partial s_{ij} k_j$ over one tile of keys."""
    _nearest, _farthest, length, _bits = allowed_by
    j = (start + tl.arange(0, KEYS))[None, :]
    key = load(keys, start, length, WIDTH, KEYS, query.shape[1]).to(DOT)
    value = load(values, start, length, VALUE_WIDTH, KEYS, grad_output.shape[1]).to(DOT)
    _, grad_score = backward_tile(
        query, key, grad_output, value, shift, delta, i, j, allowed_by, scored_by,
        BLOCK, SCORE_MOD, SCORE_GRAD, MASKED,
    )  # fmt: skip
    if MASKED:
        key = finite(key)
    return tl.dot(grad_score.to(DOT), key, grad, input_precision="ieee")


@triton.jit(do_not_specialize=NUMBERS)
@no_type_check
def backward_query(
    query, key, value, grad_output, shift, delta, grad_query, lengths, blocks, captured,
    n, m, nearest, farthest, scale, heads, group,
    WIDTH: tl.constexpr, VALUE_WIDTH: tl.constexpr, PADDED: tl.constexpr, VALUE_PADDED: tl.constexpr,
    QUERIES: tl.constexpr, KEYS: tl.constexpr, BLOCK: tl.constexpr, DOT: tl.constexpr,
    SCORE_MOD: tl.constexpr, SCORE_GRAD: tl.constexpr, MASK_ALL: tl.constexpr,
):  # fmt: skip
    """The gradient of one tile of queries; it visits the keys that `forward` visits."""
    matrix, tile = owned(n, QUERIES)
    tile = tl.cdiv(n, QUERIES) - 1 - tile
    top, bottom = tile * QUERIES, tl.minimum((tile + 1) * QUERIES, n) - 1
    length = m
    if lengths is not None:
        length = tl.load(lengths + matrix // heads)
    rows = top + tl.arange(0, QUERIES)
    i = rows[:, None]
    keys = matrix_of(key, matrix // group, length, m, WIDTH, KEYS, PADDED)
    values = matrix_of(value, matrix // group, length, m, VALUE_WIDTH, KEYS, VALUE_PADDED)
    queries = matrix_of(query, matrix, n, n, WIDTH, QUERIES, PADDED)
    grads = matrix_of(grad_output, matrix, n, n, VALUE_WIDTH, QUERIES, VALUE_PADDED)
    own = load(queries, top, n, WIDTH, QUERIES, PADDED).to(DOT)
    own_grad = load(grads, top, n, VALUE_WIDTH, QUERIES, VALUE_PADDED).to(DOT)
    row_place = matrix.to(tl.int64) * n + i
    row_shift = tl.load(shift + row_place, mask=i < n, other=INFINITY)  # (QUERIES, 1)
    row_delta = tl.load(delta + row_place, mask=i < n, other=0.0)

    grad = tl.zeros([QUERIES, PADDED], tl.float32)
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
        grad = query_tile(
            grad, own, own_grad, keys, values, row_shift, row_delta, start, i, allowed_by,
            scored_by, WIDTH, VALUE_WIDTH, KEYS, BLOCK, DOT, SCORE_MOD, SCORE_GRAD, MASK_ALL,
        )  # fmt: skip
    for step in range(masked):
        if blocks is None:
            start, bits = (first + step + tl.where(step < left, 0, whole)) * KEYS, None
        else:
            start, bits = listed_tile(blocks, place, step, KEYS, BLOCK)
        allowed_by = (nearest, farthest, length, bits)
        grad = query_tile(
            grad, own, own_grad, keys, values, row_shift, row_delta, start, i, allowed_by,
            scored_by, WIDTH, VALUE_WIDTH, KEYS, BLOCK, DOT, SCORE_MOD, SCORE_GRAD, True,
        )  # fmt: skip

    results = matrix_of(grad_query, matrix, n, n, WIDTH, QUERIES, PADDED)
    store((grad * scale).to(grad_query.dtype.element_ty), results, top, n, WIDTH, QUERIES, PADDED)


@triton.jit
@no_type_check
def key_tile(
    state, key, value, queries, grads, shift, delta, n, start, j, allowed_by, scored_by,
    WIDTH: tl.constexpr, VALUE_WIDTH: tl.constexpr, QUERIES: tl.constexpr, BLOCK: tl.constexpr,
    DOT: tl.constexpr, SCORE_MOD: tl.constexpr, SCORE_GRAD: tl.constexpr, MASKED: tl.constexpr,
    WANTED: tl.constexpr,
):  # fmt: skip
    r"""$\partial k_j \mathrel{+}= \sum_i \partial s_{ij} q_i$ and $\partial v_j \mathrel{+}= \sum_i p_{ij}
    \partial o_i$ over one tile of queries.

    Transposed, (KEYS, QUERIES), so that both products take their left factor from registers. A sum that is
    not `WANTED` stays 0, and what only it would need is not computed.
    """
    grad_key, grad_value = state
    i = (start + tl.arange(0, QUERIES))[None, :]
    query = load(queries, start, n, WIDTH, QUERIES, key.shape[1]).to(DOT)
    grad_output = load(grads, start, n, VALUE_WIDTH, QUERIES, value.shape[1]).to(DOT)
    row_shift = tl.load(shift + i, mask=i < n, other=INFINITY)
    row_delta = tl.load(delta + i, mask=i < n, other=0.0)
    weights, grad_score = backward_tile(
        key, query, value, grad_output, row_shift, row_delta, i, j, allowed_by, scored_by,
        BLOCK, SCORE_MOD, SCORE_GRAD, MASKED,
    )  # fmt: skip
    if MASKED:
        query = finite(query)
    if WANTED != "key":
        grad_value = tl.dot(weights.to(DOT), grad_output, grad_value, input_precision="ieee")
    if WANTED != "value":
        grad_key = tl.dot(grad_score.to(DOT), query, grad_key, input_precision="ieee")
    return grad_key, grad_value


@triton.jit(do_not_specialize=NUMBERS)
@no_type_check
def backward_key(
    query, key, value, grad_output, shift, delta, grad_key, grad_value, lengths, blocks, captured,
    n, m, nearest, farthest, scale, heads, group,
    WIDTH: tl.constexpr, VALUE_WIDTH: tl.constexpr, PADDED: tl.constexpr, VALUE_PADDED: tl.constexpr,
    QUERIES: tl.constexpr, KEYS: tl.constexpr, BLOCK: tl.constexpr, DOT: tl.constexpr,
    SCORE_MOD: tl.constexpr, SCORE_GRAD: tl.constexpr, MASK_ALL: tl.constexpr,
    WANTED: tl.constexpr,
):  # fmt: skip
    """The gradients of one tile of keys and values, summed over the query heads that share them.

    `WANTED` is "both", "key" or "value": two sums of width 256 leave a program too few registers.
    """
    shared, tile = owned(m, KEYS)  # shared: batch * kv_heads + kv_head
    b = shared // (heads // group)
    length = m
    if lengths is not None:
        length = tl.load(lengths + b)
    top, bottom = tile * KEYS, tl.minimum((tile + 1) * KEYS, length) - 1
    j = (top + tl.arange(0, KEYS))[:, None]
    keys = matrix_of(key, shared, m, m, WIDTH, KEYS, PADDED)
    values = matrix_of(value, shared, m, m, VALUE_WIDTH, KEYS, VALUE_PADDED)
    own = load(keys, top, m, WIDTH, KEYS, PADDED).to(DOT)
    own_value = load(values, top, m, VALUE_WIDTH, KEYS, VALUE_PADDED).to(DOT)
    limit = tl.where(top < length, n, 0)
    whole_limit = tl.cdiv(limit, QUERIES) * QUERIES  # queries after the last weigh 0 without a mask

    state = (tl.zeros([KEYS, PADDED], tl.float32), tl.zeros([KEYS, VALUE_PADDED], tl.float32))
    for member in range(group):
        matrix = shared * group + member
        queries = matrix_of(query, matrix, n, n, WIDTH, QUERIES, PADDED)
        grads = matrix_of(grad_output, matrix, n, n, VALUE_WIDTH, QUERIES, VALUE_PADDED)
        row_shift, row_delta = shift + matrix.to(tl.int64) * n, delta + matrix.to(tl.int64) * n
        scored_by = (scale, b, matrix % heads, captured)
        if blocks is None:
            first, left, whole, right = tiles_seen(
                top + nearest,
                bottom + farthest,
                bottom + nearest,
                top + farthest,
                limit,
                whole_limit,
                QUERIES,
            )
            masked = left + right
        else:
            place, masked, whole = listed(blocks, matrix, tile, tl.cdiv(m, BLOCK), KEYS, QUERIES, BLOCK)

        for step in range(whole):
            if blocks is None:
                start = (first + left + step) * QUERIES
            else:
                start, _ = listed_tile(blocks, place, masked + step, QUERIES, BLOCK)
            allowed_by = (nearest, farthest, length, None)
            state = key_tile(
                state, own, own_value, queries, grads, row_shift, row_delta, n, start, j, allowed_by,
                scored_by, WIDTH, VALUE_WIDTH, QUERIES, BLOCK, DOT, SCORE_MOD, SCORE_GRAD, MASK_ALL, WANTED,
            )  # fmt: skip
        for step in range(masked):
            if blocks is None:
                start, bits = (first + step + tl.where(step < left, 0, whole)) * QUERIES, None
            else:
                start, bits = listed_tile(blocks, place, step, QUERIES, BLOCK)
            allowed_by = (nearest, farthest, length, bits)
            state = key_tile(
                state, own, own_value, queries, grads, row_shift, row_delta, n, start, j, allowed_by,
                scored_by, WIDTH, VALUE_WIDTH, QUERIES, BLOCK, DOT, SCORE_MOD, SCORE_GRAD, True, WANTED,
            )  # fmt: skip

    total_key, total_value = state
    exists = j < length
    if WANTED != "value":
        total_key = tl.where(exists, total_key * scale, 0.0).to(grad_key.dtype.element_ty)
        keys = matrix_of(grad_key, shared, m, m, WIDTH, KEYS, PADDED)
        store(total_key, keys, top, m, WIDTH, KEYS, PADDED)
    if WANTED != "key":
        total_value = tl.where(exists, total_value, 0.0).to(grad_value.dtype.element_ty)
        values = matrix_of(grad_value, shared, m, m, VALUE_WIDTH, KEYS, VALUE_PADDED)
        store(total_value, values, top, m, VALUE_WIDTH, KEYS, VALUE_PADDED)
