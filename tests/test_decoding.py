"""Decoding: whatever is kept, forgotten, paged, shared or split, the answer is that of plain attention."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from attention_core import attend, heads, masks, reference
from attention_core.decoding import KVCache, PagedBatch, PagedKVCache, paged_attention, split_kv
from attention_core.pipeline import Attended


def assert_near(actual, expected, atol=1e-12):
    torch.testing.assert_close(actual, expected, atol=atol, rtol=0)


def assert_same(got, expected):
    for name, actual, wanted in zip(Attended._fields, got, expected, strict=True):
        assert actual.shape == wanted.shape, name
        np.testing.assert_allclose(actual, wanted, atol=1e-12, rtol=0, err_msg=name)


def normal(rng, *shape):
    return torch.from_numpy(rng.normal(size=shape))


def sequences(m=9, n=2, query_heads=4, kv_heads=2, d=4, dv=3, batch=2, seed=0):
    rng = np.random.default_rng(seed)
    shapes = ((query_heads, n, d), (kv_heads, m, d), (kv_heads, m, dv))
    return tuple(normal(rng, batch, *shape) for shape in shapes)


def repeated(query, *others):
    """Keys and values with a head for each query head."""
    return tuple(heads.repeat_groups(x, query.shape[1] // x.shape[1]) for x in others)


SIZES = st.integers(1, 7)
SEEDS = st.integers(0, 2**32 - 1)


# Split-KV


@given(n=SIZES, m=st.integers(0, 7), kv_heads=st.integers(1, 3), repeats=st.integers(1, 3), splits=SIZES)
def test_any_split_of_the_keys_is_the_whole(n, m, kv_heads, repeats, splits):
    q, k, v = sequences(m=m, n=n, query_heads=kv_heads * repeats, kv_heads=kv_heads)
    assert_same(split_kv(q, k, v, splits=splits), attend(q, *repeated(q, k, v)))


@given(SEEDS, st.sampled_from([(3, 5), (1, 3, 5), (4, 3, 5), (2, 1, 3, 5), (2, 4, 3, 5), (5,), (4, 1, 5)]))
def test_a_mask_is_cut_with_the_keys_and_stacked_with_the_heads(seed, shape):
    q, k, v = sequences(m=5, n=3, seed=seed)
    mask = torch.from_numpy(np.random.default_rng(seed).random(shape) < 0.5)
    assert_same(split_kv(q, k, v, splits=3, mask=mask), attend(q, *repeated(q, k, v), mask=mask))


def test_a_mask_with_one_entry_for_all_keys_is_cut_too():
    q, k, v = sequences(m=5, n=3)
    mask = torch.tensor([[True], [False], [True]])
    assert_same(split_kv(q, k, v, splits=2, mask=mask), attend(q, *repeated(q, k, v), mask=mask))


def test_a_sequence_without_heads_is_split_too():
    q, k, v = (x[0, 0] for x in sequences(m=5, n=3))
    assert_same(split_kv(q, k, v, splits=2), attend(q, k, v))


def test_gradients_through_a_split_are_those_of_the_whole():
    leaves = [x.requires_grad_() for x in sequences(m=7, n=3)]
    mask = masks.causal(3, 7, align="lower_right")
    results = []
    for got in (
        split_kv(*leaves, splits=3, mask=mask),
        attend(leaves[0], *repeated(*leaves), mask=mask),
    ):
        results.append(torch.autograd.grad(got.output.square().sum() + got.lse.sum(), leaves))
    for actual, expected in zip(*results, strict=True):
        assert_near(actual, expected)


def test_a_bad_key_that_only_the_last_query_sees_reaches_no_other_query_of_its_group():
    q, k, v = sequences(m=5, n=5)
    dirty = k.clone()
    dirty[:, :, -1] = math.nan
    got, expected = (split_kv(q, x, v, splits=2, mask=masks.causal(5)) for x in (dirty, k))
    assert_near(got.output[:, :, :-1], expected.output[:, :, :-1])
    assert got.output[:, :, -1].isnan().all()


# KVCache


@given(seed=SEEDS, chunks=st.lists(SIZES, min_size=1, max_size=6))
def test_a_cache_filled_in_any_pieces_is_causal_attention_over_the_text(seed, chunks):
    m = sum(chunks)
    q, k, v = sequences(m=m, n=m, seed=seed)
    expected = attend(q, *repeated(q, k, v), mask=masks.causal(m))
    cache, first = KVCache(), 0
    for new in chunks:
        own = slice(first, first + new)
        cache.append(k[:, :, own], v[:, :, own])
        got = cache.attend(q[:, :, own])
        assert_near(got.output, expected.output[:, :, own])
        assert_near(got.weights, expected.weights[:, :, own, : first + new])
        assert_near(got.lse, expected.lse[:, :, own])
        first += new


@given(
    seed=SEEDS,
    chunks=st.lists(SIZES, min_size=1, max_size=8),
    window=SIZES,
    sinks=st.integers(0, 3),
    splits=st.integers(1, 3),
)
def test_a_cache_that_forgets_answers_as_if_it_had_not(seed, chunks, window, sinks, splits):
    m = sum(chunks)
    q, k, v = sequences(m=m, n=m, seed=seed, query_heads=2, batch=1)
    cache, first = KVCache(window=window, sinks=sinks), 0
    for new in chunks:
        own, seen = slice(first, first + new), slice(first + new)
        cache.append(k[:, :, own], v[:, :, own])
        got = cache.attend(q[:, :, own], splits=splits)
        expected = reference.windowed(
            *(x.numpy() for x in (q[:, :, own], k[:, :, seen], v[:, :, seen])), window=window, sinks=sinks
        )
        np.testing.assert_allclose(got.output, expected[0], atol=1e-12, rtol=0)
        np.testing.assert_allclose(got.weights, expected[1][..., cache.positions], atol=1e-12, rtol=0)
        np.testing.assert_allclose(got.lse, expected[2], atol=1e-12, rtol=0)
        first += new


def test_a_window_keeps_its_last_tokens_and_the_sinks_however_long_the_text():
    q, k, v = sequences(m=1, n=1)
    cache = KVCache(window=4, sinks=2)
    for _ in range(100):
        cache.append(k, v)
        cache.attend(q)
    assert cache.positions == [0, 1, 96, 97, 98, 99]
    assert (cache.length, cache.capacity) == (100, 16)


def test_sinks_keep_the_weight_that_a_window_alone_would_move_elsewhere():
    q, k, v = sequences(m=6, n=1, kv_heads=4)
    k[:, :, 0] = 500 * q[:, :, 0]  # a first token that takes nearly all
    outputs = []
    for options in ({}, {"window": 2, "sinks": 1}, {"window": 2}):
        cache = KVCache(**options)
        cache.append(k, v)
        outputs.append(cache.attend(q).output)
    assert_near(outputs[1], outputs[0], atol=1e-6)
    assert (outputs[2] - outputs[0]).abs().max() > 0.1


def test_the_buffer_doubles_so_that_appending_copies_each_token_less_than_twice():
    _, k, v = sequences(m=1)
    cache, copied, capacities = KVCache(), 0, []
    for _ in range(1000):
        before = cache.capacity
        cache.append(k, v)
        if cache.capacity != before:
            copied += before
            capacities.append(cache.capacity)
    assert capacities == [16, 32, 64, 128, 256, 512, 1024]
    assert copied < 2 * 1000


def test_bytes_are_those_of_the_formula():
    _, k, v = sequences(m=64, kv_heads=2, d=4, dv=4, batch=3)
    cache = KVCache()
    cache.append(k.half(), v.half())
    assert cache.nbytes == 2 * 3 * 2 * 4 * 64 * 2  # keys and values, batch, heads, width, tokens, bytes


def test_what_was_appended_may_be_changed_afterwards_and_is_not_changed_itself():
    q, k, v = sequences(m=3, n=1)
    cache = KVCache()
    before = k.clone()
    cache.append(k, v)
    expected = cache.attend(q).output
    assert_near(k, before, atol=0)
    k.zero_()
    assert_near(cache.attend(q).output, expected, atol=0)


def test_a_cache_keeps_no_gradient_of_keys_and_gives_one_of_queries():
    q, k, v = (x.requires_grad_() for x in sequences(m=3, n=2))
    cache = KVCache()
    cache.append(k, v)
    gradients = torch.autograd.grad(cache.attend(q).output.square().sum(), (q, k, v), allow_unused=True)
    assert gradients[0].abs().sum() > 0
    assert gradients[1:] == (None, None)


@pytest.mark.parametrize("options", [{}, {"window": 3}])
def test_a_querys_gradient_is_that_of_what_was_kept_when_it_attended(options):
    q, k, v = sequences(m=3, n=1)
    found = []
    for later in (False, True):
        cache, query = KVCache(**options), q.clone().requires_grad_()
        cache.append(k, v)
        output = cache.attend(query).output
        if later:
            cache.append(-k, -v)
        found += torch.autograd.grad(output.square().sum(), query)
    assert_near(*found, atol=0)


def test_an_append_of_no_tokens_forgets_none():
    q, k, v = sequences(m=3, n=1)
    cache = KVCache(window=1)
    cache.append(k, v)
    before = cache.attend(q)
    cache.append(k[:, :, :0], v[:, :, :0])
    assert_same(cache.attend(q), before)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_a_cache_of_low_precision_answers_in_it(dtype):
    q, k, v = (x.to(dtype) for x in sequences(m=20, n=2))
    cache = KVCache()
    cache.append(k, v)
    got = cache.attend(q, splits=3)
    exact = attend(
        *(x.double() for x in (q, *repeated(q, k, v))), mask=masks.causal(2, 20, align="lower_right")
    )
    plain = attend(q, *repeated(q, k, v), mask=masks.causal(2, 20, align="lower_right"))
    atol = 2 * (exact.output.to(dtype) + 0.3 - 0.3 - exact.output.to(dtype)).abs().max()
    error, budget = ((x.output - exact.output).abs().max() for x in (got, plain))
    assert got.output.dtype == dtype
    assert got.lse.dtype == torch.float32
    assert error <= 2 * budget + atol


def test_a_free_slot_may_hold_anything():
    q, k, v = sequences(m=4, n=1)
    cache = KVCache(window=2)
    cache.append(k.clone().index_fill_(2, torch.tensor([0]), math.nan), v)  # slot 0 is NaN, and out of sight
    cache.append(k[:, :, :1], v[:, :, :1])  # takes slot 0, and leaves slots 1 and 2 free
    cache._key[:, :, 1:3] = math.nan
    cache._value[:, :, 1:3] = math.inf
    expected = attend(q, *repeated(q, *(torch.stack([x[:, :, 3], x[:, :, 0]], 2) for x in (k, v))))
    assert_same(cache.attend(q), expected)


def test_selected_sequences_answer_as_before_and_go_their_own_ways():
    q, k, v = sequences(m=5, n=1, batch=3)
    cache = KVCache(window=4, sinks=1)
    cache.append(k, v)
    before = cache.attend(q)
    rows = [1, 2, 2]
    cache.select(rows)
    assert_same(cache.attend(q[rows]), Attended(*(x[rows] for x in before)))
    cache.append(*(x[:, :, :1] for x in (k, v)))
    assert (cache.attend(q[rows]).output[1] != cache.attend(q[rows]).output[2]).any()


# Pages


@st.composite
def paged_problems(draw):
    """Pages in which a text may lie anywhere, all other places NaN, and tables that say where."""
    rng = np.random.default_rng(draw(SEEDS))
    page_size, kv_heads, batch = draw(st.integers(1, 4)), draw(st.integers(1, 2)), draw(st.integers(1, 3))
    lengths = rng.integers(0, 8, size=batch)
    columns = -(-lengths // page_size)
    pages = int(columns.sum()) + 2
    stored = [np.full((pages, kv_heads, page_size, width), math.nan) for width in (4, 3)]
    tables = np.full((batch, int(columns.max()) + 1), -1)
    free = list(rng.permutation(pages))
    for b, length in enumerate(lengths):
        tables[b, : columns[b]] = [free.pop() for _ in range(columns[b])]
        for j in range(length):
            for x in stored:
                x[tables[b, j // page_size], :, j % page_size] = rng.normal(size=(kv_heads, x.shape[-1]))
    query = rng.normal(size=(batch, kv_heads * draw(st.integers(1, 2)), draw(SIZES), 4))
    return query, *stored, tables, lengths


@given(paged_problems(), st.integers(1, 3))
def test_pages_in_any_order_are_their_reference(problem, splits):
    results = reference.paged(*problem)
    got = paged_attention(*map(torch.from_numpy, problem), splits=splits)
    assert got.weights.shape[-1] == problem[-1].max()
    for b, (output, weights, lse) in enumerate(results):
        length = problem[-1][b]
        np.testing.assert_allclose(got.output[b], output, atol=1e-12, rtol=0)
        np.testing.assert_allclose(got.weights[b, ..., :length], weights, atol=1e-12, rtol=0)
        assert (got.weights[b, ..., length:] == 0).all()
        np.testing.assert_allclose(got.lse[b], lse, atol=1e-12, rtol=0)


@given(SEEDS)
def test_pages_in_any_order_are_contiguous_attention(seed):
    q, k, v = sequences(m=12, n=3, seed=seed)
    order = torch.from_numpy(np.random.default_rng(seed).permutation(2 * 4))
    pages = []
    for x in (k, v):
        pieces = x.unflatten(2, (4, 3)).transpose(1, 2).flatten(0, 1)  # (2 * 4 pages, kv_heads, 3, width)
        pages.append(pieces[order])
    tables = order.argsort().reshape(2, 4)
    got = paged_attention(q, *pages, tables, torch.tensor([12, 12]))
    assert_same(got, attend(q, *repeated(q, k, v), mask=masks.causal(3, 12, align="lower_right")))


def test_gradients_reach_the_pages():
    q, k, v = sequences(m=4, n=2, batch=1)
    leaves = [x.requires_grad_() for x in (q, *(x.unflatten(2, (2, 2)).transpose(1, 2)[0] for x in (k, v)))]
    tables = torch.tensor([[1, 0]])
    assert torch.autograd.gradcheck(
        lambda *x: paged_attention(*x, tables, torch.tensor([3])).output, tuple(leaves)
    )


def paged_cache(pages=8, page_size=4):
    return PagedKVCache(pages, page_size, 2, 4, value_width=3, dtype=torch.float64)


def test_sequences_of_different_lengths_answer_each_as_if_alone():
    cache, contiguous, newest = paged_cache(pages=20), [], []
    numbers = [cache.open() for _ in range(3)]
    for step in range(7):  # interleaved, so that the pages of a sequence lie apart
        for b, number in enumerate(numbers[: 3 if step < 4 else 2]):
            _, k, v = sequences(m=1 + b, batch=1, seed=10 * step + b)
            cache.append(number, k[0], v[0])
            contiguous.append((number, k, v))
    q, _, _ = sequences(n=2, batch=3)
    got = cache.attend(q, numbers, splits=2)
    for b, number in enumerate(numbers):
        k, v = (torch.cat([entry[x] for entry in contiguous if entry[0] == number], 2) for x in (1, 2))
        alone = attend(
            q[b : b + 1],
            *repeated(q, k, v),
            mask=masks.causal(2, cache.length(number), align="lower_right"),
        )
        newest.append(alone)
        assert_near(got.output[b : b + 1], alone.output)
        assert_near(got.lse[b : b + 1], alone.lse)
    assert sorted(map(cache.length, numbers)) == [7, 12, 14]
    assert cache.table(numbers[0]) != sorted(cache.table(numbers[0])) or cache.table(numbers[1])[0] == 1


def test_a_fork_shares_its_pages_until_one_of_the_two_writes():
    cache = paged_cache()
    _, k, v = sequences(m=6, batch=1)
    parent = cache.open()
    cache.append(parent, k[0], v[0])
    child = cache.fork(parent)
    assert cache.free_pages == 6
    assert cache.table(child) == cache.table(parent) == [0, 1]
    assert cache.references == [2, 2, 0, 0, 0, 0, 0, 0]

    cache.append(child, k[0][:, :1], v[0][:, :1])
    assert cache.table(parent) == [0, 1]
    assert cache.table(child) == [0, 2]
    assert cache.references == [2, 1, 1, 0, 0, 0, 0, 0]


def test_what_a_fork_writes_its_parent_does_not_see():
    cache = paged_cache()
    q, k, v = sequences(m=6, n=1, batch=1)
    parent = cache.open()
    cache.append(parent, k[0], v[0])
    before = cache.attend(q, [parent])
    child = cache.fork(parent)
    cache.append(child, k[0][:, :3], v[0][:, :3])
    assert_same(cache.attend(q, [parent]), before)
    whole = [torch.cat([x, x[:, :, :3]], 2) for x in (k, v)]
    assert_same(cache.attend(q, [child]), attend(q, *repeated(q, *whole)))

    cache.append(parent, -k[0][:, :1], v[0][:, :1])  # no longer shared, so written in place
    assert cache.table(parent) == [0, 1]
    assert_same(cache.attend(q, [child]), attend(q, *repeated(q, *whole)))


def test_a_full_page_is_shared_for_ever():
    cache = paged_cache()
    _, k, v = sequences(m=4, batch=1)
    parent = cache.open()
    cache.append(parent, k[0], v[0])
    child = cache.fork(parent)
    cache.append(child, k[0][:, :1], v[0][:, :1])
    assert cache.table(child) == [0, 1]
    assert cache.references[:2] == [2, 1]


def test_closing_frees_the_pages_that_nobody_else_holds():
    cache = paged_cache()
    _, k, v = sequences(m=6, batch=1)
    parent = cache.open()
    cache.append(parent, k[0], v[0])
    child = cache.fork(parent)
    cache.append(child, k[0][:, :1], v[0][:, :1])
    cache.close(parent)
    assert cache.references == [1, 0, 1, 0, 0, 0, 0, 0]
    cache.close(child)
    assert cache.free_pages == 8


def test_a_sequence_wastes_less_than_one_page():
    cache = paged_cache(pages=64)
    for m in range(1, 14):
        number = cache.open()
        _, k, v = sequences(m=m, batch=1)
        cache.append(number, k[0], v[0])
        assert 0 <= 4 * len(cache.table(number)) - m < 4


@pytest.mark.usefixtures("unchecked")
def test_an_append_without_room_changes_nothing():
    cache = paged_cache(pages=2)
    _, k, v = sequences(m=6, batch=1)
    parent = cache.open()
    cache.append(parent, k[0], v[0])
    child = cache.fork(parent)
    state = (list(cache.references), cache.table(child), cache.key_pages.clone())
    with pytest.raises(ValueError, match=r"1 more tokens need 1 free ones; got 0 of 2\. Close a sequence"):
        cache.append(child, k[0][:, :1], v[0][:, :1])
    assert (cache.references, cache.table(child)) == state[:2]
    assert_near(cache.key_pages, state[2], atol=0)


# Batches of pages


def paged_batch(batch, pages=8, m=0):
    cache = paged_cache(pages=pages)
    own = PagedBatch(cache, [cache.open() for _ in range(batch)])
    _, k, v = sequences(m=m, batch=batch)
    own.append(k, v)
    return own


@given(
    seed=SEEDS,
    pieces=st.lists(SIZES, min_size=1, max_size=4),
    rows=st.lists(st.integers(0, 2), min_size=1, max_size=4),
)
def test_a_batch_of_pages_answers_as_a_cache_does_whatever_rows_go_on(seed, pieces, rows):
    caches = (KVCache(), paged_batch(3, pages=60))
    for step, new in enumerate(pieces):
        q, k, v = sequences(m=new, n=new, batch=3, seed=seed + step)
        for cache in caches:
            cache.append(k, v)
        assert_same(*(cache.attend(q) for cache in caches))
    for cache in caches:
        cache.select(rows)
    q, k, v = sequences(m=3, n=3, batch=len(rows), seed=seed + 99)
    for cache in caches:
        cache.append(k, v)
    assert_same(*(cache.attend(q) for cache in caches))
    caches[1].close()
    assert caches[1].cache.free_pages == 60


def test_a_row_named_twice_shares_its_full_pages_and_a_row_left_out_frees_its_own():
    own = paged_batch(3, m=6)  # two pages each
    own.select([1, 1])
    tables = [own.cache.table(sequence) for sequence in own.sequences]
    assert tables[0] == tables[1]
    assert own.cache.free_pages == 6


@given(copies=st.integers(1, 4), outside=st.integers(0, 1), m=st.integers(0, 9), new=st.integers(0, 6))
def test_pages_needed_are_the_pages_then_taken(copies, outside, m, new):
    own = paged_batch(1, pages=40, m=m)
    own.select([0] * (copies + outside))
    writers = PagedBatch(own.cache, own.sequences[:copies])
    before, needed = own.cache.free_pages, own.cache.pages_needed(writers.sequences, new)
    _, k, v = sequences(m=new, batch=copies)
    writers.append(k, v)
    assert before - own.cache.free_pages == needed
    assert [len(own.cache.table(sequence)) for sequence in writers.sequences] == [-(-(m + new) // 4)] * copies


@pytest.mark.usefixtures("unchecked")
def test_an_append_to_a_batch_without_room_for_all_changes_none():
    own = paged_batch(3, pages=5, m=4)
    with pytest.raises(ValueError, match="need 3 free ones; got 2 of 5"):
        own.append(*sequences(m=1, batch=3)[1:])
    assert [own.cache.length(sequence) for sequence in own.sequences] == [4, 4, 4]
    assert own.cache.free_pages == 2


# Mistakes


def bad_table(entry):
    q, k, v = sequences(m=3, batch=2)
    pages = [x.repeat(2, 1, 1, 1) for x in (k, v)]
    return paged_attention(q, *pages, torch.tensor([[0, 1], [2, entry]]), torch.tensor([3, 4]))


@pytest.mark.parametrize("entry", [-1, 4, 99])
@pytest.mark.usefixtures("unchecked")
def test_a_page_table_that_names_no_page_is_refused_by_place(entry):
    with pytest.raises(ValueError, match=rf"`tables`.*pages 0\.\.3.*got {entry} in column 1 of sequence 1"):
        bad_table(entry)


def cache_of(m=5, **options):
    _, k, v = sequences(m=m)
    cache = KVCache(**options)
    cache.append(k, v)
    return cache


def forgotten():
    cache, (q, k, v) = cache_of(window=2), sequences(m=1, n=3)
    cache.append(k, v)
    cache.attend(q)


def paged_call(tables=None, lengths=None):
    q, k, v = sequences(m=3, batch=2)
    tables = torch.tensor([[0], [1]]) if tables is None else tables
    return paged_attention(q, k, v, tables, torch.tensor([3, 3]) if lengths is None else lengths)


Q, K, V = sequences()
MISTAKES = {
    "`splits` integer of at least 1": lambda: split_kv(Q, K, V, splits=0),
    "`query` and `key` multiple (2, 4) (2, 3)": lambda: split_kv(
        Q, *(x[:, :1].repeat(1, 3, 1, 1) for x in (K, V))
    ),
    "`key` and `value` 8 and 9 transposed?": lambda: split_kv(Q, K[:, :, :8], V, splits=2),
    "`mask` (2, 4, 2, 9) (3, 9)": lambda: split_kv(Q, K, V, mask=torch.ones(3, 9).bool()),
    "`mask` boolean `bias=`": lambda: split_kv(Q, K, V, mask=torch.ones(2, 9)),
    "`key` list torch.as_tensor": lambda: split_kv(Q, [1.0], V),
    "`window` at least 1 0": lambda: KVCache(window=0),
    "`sinks` `window` 2": lambda: KVCache(sinks=2),
    "`sinks` -1": lambda: KVCache(window=2, sinks=-1),
    "`query` `append` 0 so far": lambda: KVCache().attend(Q),
    "`query` `append` 5 so far got 6": lambda: cache_of().attend(sequences(n=6)[0]),
    "`query` 3 tokens position 2 before 4 one `append`": forgotten,
    "`query` `query[None]`": lambda: cache_of().attend(Q[0]),
    "`key` `key[None]`": lambda: KVCache().append(K[0], V[0]),
    "`key` first ones (2, 2, 'new', 4) (1, 2, 9, 4)": lambda: cache_of().append(K[:1], V[:1]),
    "`key` float64 float32": lambda: cache_of().append(K.float(), V.float()),
    "`key` and `value` 9 and 8 positions transposed?": lambda: KVCache().append(K, V[:, :, :8]),
    "`pages` at least 1": lambda: PagedKVCache(0, 4, 2, 4),
    "`sequence` open 7": lambda: paged_cache().table(7),
    "`key` (2, 'new', 4) `key[b]`": lambda: (c := paged_cache()).append(c.open(), K, V),
    "`key` float64 float32 `dtype=torch.float32`": lambda: (c := paged_cache()).append(
        c.open(), K[0].float(), V[0].float()
    ),
    "`key` and `value` 9 and 2 positions transposed?": lambda: (c := paged_cache()).append(
        c.open(), K[0], V[0, :, :2]
    ),
    "`tables` integer float32": lambda: paged_call(tables=torch.zeros(2, 1)),
    "`tables` (batch, columns) batch 2 (1, 1)": lambda: paged_call(tables=torch.zeros(1, 1).long()),
    "`lengths` 0..3 got 3..4 1 columns": lambda: paged_call(lengths=torch.tensor([3, 4])),
    "`rows` 0..1 got 2": lambda: cache_of().select([0, 2]),
    "`rows` 0..1 got -1": lambda: cache_of().select([-1]),
    "`rows` empty `append`": lambda: KVCache().select([0]),
    "`rows` 0..2 got 3": lambda: paged_batch(3).select([3]),
    "`sequences` different one length [0, 0]": lambda: PagedBatch((c := paged_cache()), [c.open(), 0]),
    "`sequences` [0, 2] one length [0, 6] `fork`": lambda: PagedBatch(
        (c := paged_batch(2, m=6).cache), [0, c.open()]
    ),
    "`sequences` list int": lambda: PagedBatch((c := paged_cache()), c.open()),
    "`sequence` open 7 `open`": lambda: PagedBatch(paged_cache(), [7]),
    "`key` and `value` 3 sequences (2, 2, 9, 4) `select`": lambda: paged_batch(3).append(K, V),
    "`key` and `value` 3 sequences (2, 9, 4)": lambda: paged_batch(3).append(K[0], V[0]),
    "`key` torch.as_tensor list": lambda: paged_batch(3).append([1.0], V),
    "`query` and `key` multiple (2, 0) (2, 2)": lambda: split_kv(Q[:, :0], K, V),
    "`key` and `value` one device cpu meta": lambda: KVCache().append(K, V.to("meta")),
    "`key` device cpu got meta": lambda: (c := paged_cache()).append(
        c.open(), *(x[0].to("meta") for x in (K, V))
    ),
    "`dtype` floating torch.int64": lambda: PagedKVCache(4, 2, 2, 4, dtype=torch.int64),
    "`sequences` list of numbers int": lambda: (c := paged_cache()).attend(Q, c.open()),
    "`query` 1 `sequences` (2, 4, 2, 4)": lambda: (c := paged_cache()).attend(Q, [c.open()]),
    "`sequence` open got [0]": lambda: (c := paged_cache()).append([c.open()], K[0], V[0]),
    "`key_pages` room (2, 2, 0, 4)": lambda: paged_attention(
        Q, K[:, :, :0], V[:, :, :0], torch.zeros(2, 1).long(), torch.tensor([0, 0])
    ),
    "`value_pages` same pages (2, 2, 8, 3)": lambda: paged_attention(
        Q, K, V[:, :, :8], torch.zeros(2, 1).long(), torch.tensor([1, 1])
    ),
}


@pytest.mark.parametrize("words", MISTAKES)
@pytest.mark.usefixtures("unchecked")
def test_mistake_names_the_argument_what_came_and_the_remedy(words):
    with pytest.raises((TypeError, ValueError)) as raised:
        MISTAKES[words]()
    missing = [word for word in words.split() if word not in str(raised.value)]
    assert missing == [], str(raised.value)
