"""Ring attention: on any number of ranks, in any order, each has its rows of plain attention, and no more."""

import math
import multiprocessing
import os
import subprocess
import sys
import time
import weakref
from datetime import timedelta
from itertools import product
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
from hypothesis import given
from hypothesis import strategies as st
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from attention_core import attend, heads, masks
from attention_core.ring import __main__ as demonstration
from attention_core.ring import head_exchange_attention, messages, orders, ring_attention, rotation
from attention_core.ring.orders import ORDERS, Plan, shard, unshard

ROOT = Path(__file__).resolve().parents[1]
RANKS = 4
GROUPS = {2: [0, 1], 3: [0, 1, 2], 4: [0, 1, 2, 3]}


def assert_near(actual, expected, atol=1e-12):
    torch.testing.assert_close(actual, expected, atol=atol, rtol=0)


def sequences(n, m, ranks, query_heads=4, kv_heads=4, dtype=torch.float64, seed=0):
    """The whole of query, key, value, and of a weight for each entry of the output."""
    generator = torch.Generator().manual_seed(seed)
    shapes = ((query_heads, n, 4), (kv_heads, m, 4), (kv_heads, m, 3), (query_heads, n, 3))
    return [
        torch.randn(2, h, length * ranks, width, generator=generator, dtype=torch.float64).to(dtype)
        for h, length, width in shapes
    ]


def answers(function, query, key, value, weight):
    """Output, lse and gradients, for a loss that is bad itself, and its gradient with it, where they are."""
    leaves = [x.detach().requires_grad_() for x in (query, key, value)]
    got = function(*leaves)
    lse = got.lse.masked_fill(got.lse == -math.inf, 0.0)
    loss = (got.output.square() * weight).sum() + (lse.square() * weight[..., 0]).sum()
    return [got.output.detach(), got.lse.detach(), *torch.autograd.grad(loss, leaves)]


def whole(causal):
    def function(query, key, value):
        repeats = query.shape[-3] // key.shape[-3]
        mask = masks.causal(query.shape[-2], key.shape[-2], align="lower_right") if causal else None
        return attend(query, *(heads.repeat_groups(x, repeats) for x in (key, value)), mask=mask)

    return function


def own_rows(x, rank, ranks, order):
    """This rank's part, of lse too."""
    return shard(x[..., None], rank, ranks, order)[..., 0] if x.ndim == 3 else shard(x, rank, ranks, order)


# What the ranks do, each in a process of its own; results go into a file.

SHAPES = {"even": (4, 4), "odd": (5, 5), "fewer queries": (2, 5), "more queries": (5, 2), "single": (1, 1)}
SHAPES |= {"no keys": (3, 0), "no queries": (0, 3)}
CALLS = ((False, "contiguous"), (True, "contiguous"), (True, "zigzag"))
EXACT = [(ranks, *call, shape) for ranks, call, shape in product(GROUPS, CALLS, SHAPES)]


def exact(group, ranks, causal, order, shape):
    """Differences from plain attention: of output, lse and the gradients of query, key and value."""
    rank = dist.get_rank(group)
    tile, kv_heads = (512, 4) if shape == "even" else (2, 2)
    inputs = sequences(*SHAPES[shape], ranks, kv_heads=kv_heads)
    expected = answers(whole(causal), *inputs)
    orders.TILE = tile
    got = answers(
        lambda q, k, v: ring_attention(q, k, v, causal=causal, order=order, group=group),
        *(shard(x, rank, ranks, order) for x in inputs),
    )
    orders.TILE = 512
    return differences(got, expected, rank, ranks, order)


def differences(got, expected, rank, ranks, order="contiguous"):
    found = []
    for actual, wanted in zip(got, expected, strict=True):
        wanted = own_rows(wanted, rank, ranks, order)
        difference = (actual - wanted).abs().masked_fill(actual == wanted, 0.0)  # both may be -inf
        found.append(
            max(difference.flatten().tolist(), default=0.0) if difference.isfinite().all() else math.inf
        )
    return found


def exchanged(group, ranks, causal, kv_heads):
    rank = dist.get_rank(group)
    inputs = sequences(3, 5, ranks, kv_heads=kv_heads)
    got = answers(
        lambda q, k, v: head_exchange_attention(q, k, v, causal=causal, group=group),
        *(shard(x, rank, ranks) for x in inputs),
    )
    return differences(got, answers(whole(causal), *inputs), rank, ranks)


def spoiled(group, bad, place):
    """A last position that is not finite: are the results those of plain attention, which rows are bad?"""
    rank = dist.get_rank(group)
    inputs = sequences(3, 3, RANKS)
    inputs[place][..., -1, :] = bad
    expected = answers(whole(causal=True), *inputs)
    got = answers(
        lambda q, k, v: ring_attention(q, k, v, causal=True, group=group),
        *(shard(x, rank, RANKS) for x in inputs),
    )
    same = [
        torch.allclose(
            actual, own_rows(wanted, rank, RANKS, "contiguous"), atol=1e-12, rtol=0, equal_nan=True
        )
        for actual, wanted in zip(got, expected, strict=True)
    ]
    finite = [x.isfinite().all().item() for x in got[2:]]
    return same, finite, got[0].isnan().any(-1).any(0).any(0).tolist()


def low_precision(group, dtype):
    """For output and gradients: the error, and what it may be."""
    rank = dist.get_rank(group)
    inputs = sequences(16, 16, RANKS, dtype=dtype)
    golden = answers(whole(causal=True), *(x.double() for x in inputs))
    plain = answers(whole(causal=True), *inputs)
    got = answers(
        lambda q, k, v: ring_attention(q, k, v, causal=True, group=group),
        *(shard(x, rank, RANKS) for x in inputs),
    )
    pairs = []
    for actual, naive, wanted in zip(got, plain, golden, strict=True):
        rounded = wanted.to(actual.dtype)
        atol = 2 * (rounded + 0.3 - 0.3 - rounded).abs().max()
        error = (actual - own_rows(wanted, rank, RANKS, "contiguous")).abs().max()
        pairs.append((error.item(), (2 * (naive - wanted).abs().max() + atol).item()))
    return pairs, [x.dtype for x in got]


def events(group):
    """What happens in which order on one turn, forward and backward."""
    seen = []
    turn, plain = messages.Ring.turn, rotation.pipeline.attend

    def watched_turn(self, tensors, tag=0):
        seen.append(f"post {tag}")
        wait = turn(self, tensors, tag)
        return lambda: (seen.append(f"wait {tag}"), wait())[1]

    messages.Ring.turn = watched_turn
    rotation.pipeline.attend = lambda *x, **options: (seen.append("attend"), plain(*x, **options))[1]
    rank = dist.get_rank(group)
    parts = [shard(x, rank, 2).requires_grad_() for x in sequences(4, 4, 2)]
    orders_of = {}
    output = ring_attention(*parts[:3], group=group, order="zigzag").output
    orders_of["forward"] = compressed(seen)
    seen.clear()
    output.sum().backward()
    orders_of["backward"] = compressed(seen)
    messages.Ring.turn, rotation.pipeline.attend = turn, plain
    return orders_of


def compressed(seen):
    """Without repetitions."""
    return [event for i, event in enumerate(seen) if i == 0 or seen[i - 1] != event]


def work(group):
    """How many scores this rank computes under a causal mask, from contiguous parts."""
    counted, plain = [], rotation.pipeline.attend

    def counting(query, key, value, **options):
        counted.append(query.shape[-2] * key.shape[-2])
        return plain(query, key, value, **options)

    rotation.pipeline.attend = counting
    orders.TILE = 8
    rank = dist.get_rank(group)
    ring_attention(*(shard(x, rank, RANKS) for x in sequences(32, 32, RANKS)[:3]), causal=True, group=group)
    orders.TILE, rotation.pipeline.attend = 512, plain
    return sum(counted)


class Peak(TorchDispatchMode):
    """The most bytes alive at once of all that is made under it."""

    def __init__(self):
        super().__init__()
        self.now = self.peak = 0
        self.known = set()

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        result = function(*args, **(kwargs or {}))
        for x in tree_leaves(result):
            if isinstance(x, torch.Tensor) and id(x.untyped_storage()) not in self.known:
                self.add(x.untyped_storage())
        return result

    def add(self, storage):
        self.known.add(id(storage))
        self.now += storage.nbytes()
        self.peak = max(self.peak, self.now)
        weakref.finalize(storage, self.remove, id(storage), storage.nbytes())

    def remove(self, name, size):
        self.known.discard(name)
        self.now -= size


def memory(group, ranks):
    """Peak bytes beyond the inputs, forward and backward, of a sequence of one length for any group."""
    rank = dist.get_rank(group)
    generator = torch.Generator().manual_seed(0)
    whole = [torch.randn(4, 512, 64, generator=generator) for _ in range(3)]
    parts = [shard(x, rank, ranks).requires_grad_() for x in whole]
    orders.TILE = 16
    with Peak() as peak:
        ring_attention(*parts, causal=True, group=group).output.sum().backward()
    orders.TILE = 512
    return peak.peak


def mistake(function):
    began = time.monotonic()
    try:
        function()
    except (ValueError, RuntimeError) as error:
        return type(error).__name__, str(error), time.monotonic() - began
    return "nothing", "", time.monotonic() - began


def run_rank(rank, folder):
    torch.set_num_threads(1)
    store = dist.FileStore(f"{folder}/store", RANKS)
    dist.init_process_group("gloo", store=store, rank=rank, world_size=RANKS, timeout=timedelta(seconds=120))
    groups = {ranks: dist.new_group(members) for ranks, members in GROUPS.items()}
    groups |= {name: dist.new_group([0, 1]) for name in ("unlike", "left")}  # to be broken
    found = {}

    for case in EXACT:
        if rank in GROUPS[case[0]]:
            found[case] = exact(groups[case[0]], *case)
    for case in product((2, 4), (False, True), (2, 4)):
        if rank in GROUPS[case[0]] and case[2] >= case[0]:
            found["exchanged", *case] = exchanged(groups[case[0]], *case)
    for bad, place in product((math.nan, math.inf), range(3)):
        found["spoiled", str(bad), place] = spoiled(groups[4], bad, place)
    for dtype in (torch.float16, torch.bfloat16):
        found["low", dtype] = low_precision(groups[4], dtype)
    if rank in GROUPS[2]:
        found["events"] = events(groups[2])
        found["memory", 2] = memory(groups[2], 2)
    found["work"] = work(groups[4])
    found["memory", 4] = memory(groups[4], 4)

    odd = [x[..., : 3 + (rank == 2), :] for x in sequences(4, 4, 1)[:3]]
    found["unlike"] = mistake(lambda: ring_attention(*odd, group=groups[4]))
    same = sequences(4, 4, 1)[:3]
    if rank == 0:  # rank 1 does not come
        found["late"] = mistake(lambda: ring_attention(*same, group=groups[2], timeout=1.0))
        found["unlike causal"] = mistake(lambda: ring_attention(*same, causal=True, group=groups["unlike"]))
        left = [x.requires_grad_() for x in sequences(4, 4, 1)[:3]]
        output = ring_attention(*left, group=groups["left"], timeout=1.0).output
        found["left"] = mistake(lambda: output.sum().backward())
    if rank == 1:
        found["unlike causal"] = mistake(lambda: ring_attention(*same, group=groups["unlike"]))
        ring_attention(*same, group=groups["left"])  # and no backward
    dist.barrier()
    if rank == 3:
        torch.save(found, f"{folder}/{rank}.pt")
        os._exit(0)  # dies without a word
    found["dead"] = mistake(lambda: ring_attention(*same, group=groups[4], timeout=20.0))
    torch.save(found, f"{folder}/{rank}.pt")
    os._exit(0)  # a group with a dead member cannot be taken down in order


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    """What each rank found; the processes are started once, as importing torch takes them seconds."""
    folder = tmp_path_factory.mktemp("ring")
    context = multiprocessing.get_context("spawn")
    processes = [context.Process(target=run_rank, args=(rank, str(folder))) for rank in range(RANKS)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(timeout=240)
    hanging = [process for process in processes if process.is_alive()]
    for process in hanging:
        process.kill()
    assert hanging == []
    assert [process.exitcode for process in processes] == [0] * RANKS
    return [torch.load(folder / f"{rank}.pt", weights_only=False) for rank in range(RANKS)]


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    """A group of this process alone, where shapes are checked."""
    store = dist.FileStore(str(tmp_path_factory.mktemp("alone") / "store"), 1)
    dist.init_process_group("gloo", store=store, rank=0, world_size=1)
    yield
    dist.destroy_process_group()


# Exactness


@pytest.mark.parametrize(
    ("ranks", "causal", "order", "shape"), EXACT, ids=lambda x: x if isinstance(x, str) else repr(x)
)
def test_each_rank_has_its_rows_of_plain_attention_and_their_gradients(found, ranks, causal, order, shape):
    for rank in GROUPS[ranks]:
        assert max(found[rank][ranks, causal, order, shape]) <= 1e-12


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize(("ranks", "kv_heads"), [(2, 2), (2, 4), (4, 4)])
def test_exchanging_heads_is_plain_attention_too(found, ranks, causal, kv_heads):
    for rank in GROUPS[ranks]:
        assert max(found[rank]["exchanged", ranks, causal, kv_heads]) <= 1e-12


@pytest.mark.parametrize("bad", [math.nan, math.inf])
@pytest.mark.parametrize("place", [0, 1, 2])
def test_a_bad_last_position_reaches_no_row_before_it_on_any_rank_nor_their_gradients(found, bad, place):
    for one in found:
        same, finite_gradients, bad_rows = one["spoiled", str(bad), place]
        assert same == [True] * 5
        assert finite_gradients == [True] * 3
        assert bad_rows == [False, False, one is found[-1]]


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_low_precision_errs_at_most_twice_as_much_as_plain_attention(found, dtype):
    for one in found:
        pairs, dtypes = one["low", dtype]
        assert [error <= budget for error, budget in pairs] == [True] * 5
        assert dtypes == [dtype, torch.float32, dtype, dtype, dtype]


def test_one_rank_alone_is_plain_attention(alone):
    for causal, order in product((False, True), ORDERS):
        inputs = sequences(5, 5, 1, kv_heads=2)
        got = answers(lambda *x, c=causal, o=order: ring_attention(*x, causal=c, order=o), *inputs)
        for actual, expected in zip(got, answers(whole(causal), *inputs), strict=True):
            assert_near(actual, shard(expected[..., None], 0, 1)[..., 0] if expected.ndim == 3 else expected)


@pytest.mark.parametrize("function", [ring_attention, head_exchange_attention])
def test_gradients_are_those_of_finite_differences(alone, function):
    leaves = tuple(x[:1, :2].requires_grad_() for x in sequences(3, 4, 1)[:3])
    assert torch.autograd.gradcheck(lambda *x: function(*x, causal=True)[::2], leaves)


def test_a_sequence_without_heads_goes_round_too(alone):
    q, k, v = (x[0, 0] for x in sequences(3, 4, 1)[:3])
    assert_near(ring_attention(q, k, v).output, attend(q, k, v).output)


def test_inputs_are_not_modified_and_weights_are_none(alone):
    inputs = sequences(3, 3, 1)[:3]
    before = [x.clone() for x in inputs]
    assert ring_attention(*inputs, causal=True).weights is None
    for x, copy in zip(inputs, before, strict=True):
        assert_near(x, copy, atol=0)


# Schedule


def test_blocks_travel_while_the_ranks_compute(found):
    for rank in GROUPS[2]:
        seen = found[rank]["events"]
        assert seen["forward"] == ["post 0", "attend", "wait 0", "attend"]
        assert seen["backward"] == [
            "post 0",
            "attend",
            "post 1",
            "wait 0",
            "attend",
            "wait 1",
            "post 1",
            "wait 1",
        ]


def test_all_ranks_have_the_same_causal_work_which_is_little_more_than_half(found):
    counted = [one["work"] for one in found]
    assert len(set(counted)) == 1
    n = 32 * RANKS
    assert sum(counted) == n * (n + 8) / 2  # tiles of 8; those on the diagonal are computed whole


def test_twice_the_ranks_need_half_the_memory_each(found):
    for one in found[:2]:  # a little more than half, as the scratch of one tile is the same for both
        assert one["memory", 4] <= 0.6 * one["memory", 2]


def test_contiguous_order_would_leave_the_first_rank_idle_and_zigzag_does_not():
    work = {
        order: [Plan(rank, 8, 64, 64, causal=True, order=order).work() for rank in range(8)]
        for order in ORDERS
    }
    assert len(set(work["zigzag"])) == 1
    assert work["contiguous"][-1] > 8 * work["contiguous"][0]


# Orders


@given(ranks=st.integers(1, 5), part=st.integers(0, 7), order=st.sampled_from(ORDERS))
def test_unshard_undoes_shard(ranks, part, order):
    x = torch.arange(2.0 * ranks * part).reshape(ranks * part, 2)
    shards = [shard(x, rank, ranks, order) for rank in range(ranks)]
    assert {len(own) for own in shards} == {part}
    assert_near(unshard(shards, order), x, atol=0)


def test_zigzag_pairs_an_early_chunk_with_a_late_one():
    x = torch.arange(8.0)[:, None]
    assert [shard(x, rank, 2, "zigzag").squeeze(1).tolist() for rank in range(2)] == [
        [0, 1, 6, 7],
        [2, 3, 4, 5],
    ]


@given(
    ranks=st.integers(1, 4),
    n=st.integers(0, 9),
    m=st.integers(0, 9),
    order=st.sampled_from(ORDERS),
    causal=st.booleans(),
    tile=st.sampled_from([1, 2, 3, 512]),
)
def test_tiles_hold_every_allowed_pair_once_and_no_tile_is_empty(ranks, n, m, order, causal, tile):
    before, orders.TILE = orders.TILE, tile
    seen = torch.zeros(ranks * n, ranks * m)
    places = [
        [
            torch.tensor([i for own in orders.spans(r, ranks, ranks * part, order) for i in own]).long()
            for r in range(ranks)
        ]
        for part in (n, m)
    ]
    for rank, source in product(range(ranks), range(ranks)):
        for rows, columns, first in Plan(rank, ranks, n, m, causal, order).tiles(source):
            own, keys = places[0][rank][rows], places[1][source][columns]
            pairs = torch.ones(len(own), len(keys))
            if first is not None:
                pairs = (torch.arange(len(own))[:, None] >= torch.arange(first, first + len(keys))).float()
            assert pairs.any()
            seen[own[:, None], keys] += pairs
    orders.TILE = before
    expected = torch.ones(ranks * n, ranks * m).bool()
    if causal:
        expected = masks.causal(ranks * n, ranks * m, align="lower_right")
    assert_near(seen, expected.float(), atol=0)


# Failures


def test_a_rank_that_does_not_come_is_waited_for_so_long_and_no_longer(found):
    kind, message, seconds = found[0]["late"]
    assert kind == "RuntimeError"
    assert "rank 0 of 2 waited" in message
    assert "`timeout=`" in message
    assert 0.9 < seconds < 10


def test_a_rank_that_dies_is_an_error_on_the_others_and_no_hang(found):
    for one in found[:3]:
        kind, message, seconds = one["dead"]
        assert kind == "RuntimeError"
        assert "one has died" in message
        assert seconds < 30


def test_ranks_with_different_shapes_are_told_so(found):
    for rank, one in enumerate(found):
        kind, message, _ = one["unlike"]
        assert kind == "ValueError"
        assert "same shapes and dtype on every rank" in message
        assert f"on rank {0 if rank == 2 else 2} than on {rank}" in message


def test_ranks_that_differ_in_what_they_ask_are_told_so(found):
    for one in found[:2]:
        kind, message, _ = one["unlike causal"]
        assert kind == "ValueError"
        assert "the other arguments be the same" in message


def test_a_backward_that_the_others_do_not_join_is_an_error_and_no_hang(found):
    kind, message, seconds = found[0]["left"]
    assert kind == "RuntimeError"
    assert "has not made the same call" in message
    assert seconds < 10


def test_the_demonstration_runs_on_two_processes():
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    run = subprocess.run(
        [*command, "-m", "attention_core.ring"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    rows = [line for line in run.stdout.splitlines() if line.startswith(("ring ", "head exchange "))]
    errors = [float(word) for row in rows for word in row.split()[-5:-1]]
    assert len(errors) == 2 * 2 * 4  # functions, ranks, output and gradients
    assert max(errors) <= 1e-12


def test_the_demonstration_says_how_it_is_started(monkeypatch):
    monkeypatch.delenv("RANK", raising=False)
    with pytest.raises(SystemExit, match=r"torchrun --nproc-per-node 2 -m attention_core\.ring"):
        demonstration.main()


# Mistakes

X = torch.zeros(2, 4, 6, 4)
MISTAKES = {
    "`query` torch.as_tensor list": lambda: ring_attention([1.0], X, X),
    "`key` and `value` 6 and 5 transposed?": lambda: ring_attention(X, X, X[:, :, :5]),
    "`query` and `key` multiple (2, 4) (2, 3)": lambda: ring_attention(X, X[:, :3], X[:, :3]),
    "`query` and `key` float32 float64 dtype": lambda: ring_attention(X, X.double(), X.double()),
    "`query` and `key` one width 4 3": lambda: ring_attention(X, X[..., :3], X),
    "`order` 'striped' contiguous zigzag shard": lambda: ring_attention(X, X, X, order="striped"),
    "`query` multiple of 1 heads `ring_attention`": lambda: head_exchange_attention(*[X[0, 0]] * 3),
    "`x` multiple of 4 6 Pad": lambda: shard(X, 0, 4),
    "`rank` 0..1 2": lambda: shard(X, 2, 2),
    "`ranks` at least 1": lambda: shard(X, 0, 0),
    "`order` 'zag'": lambda: unshard([X], "zag"),
    "`shards` one tensor a rank none": lambda: unshard([]),
    "`shards[1]` (2, 4, 6, 4) (2, 4, 5, 4) `shard`": lambda: unshard([X, X[:, :, :5]]),
    "`timeout` seconds more than 0 got 0": lambda: ring_attention(X, X, X, timeout=0),
    "`timeout` got -1": lambda: head_exchange_attention(X, X, X, timeout=-1),
    "`timeout` got nan": lambda: ring_attention(X, X, X, timeout=math.nan),
    "`timeout` got inf": lambda: ring_attention(X, X, X, timeout=math.inf),
    "`timeout` got 'soon'": lambda: ring_attention(X, X, X, timeout="soon"),
    "`causal` True or False 'lower_right'": lambda: ring_attention(X, X, X, causal="lower_right"),
    "`causal` True or False 'no'": lambda: head_exchange_attention(X, X, X, causal="no"),
    "`query` float8_e4m3fn float16 float64": lambda: ring_attention(*[X.to(torch.float8_e4m3fn)] * 3),
    "`query` and `key` multiple (2, 0) (2, 4)": lambda: ring_attention(X[:, :0], X, X),
}


@pytest.mark.parametrize("words", MISTAKES)
@pytest.mark.usefixtures("unchecked")
def test_mistake_names_the_argument_what_came_and_the_remedy(alone, words):
    with pytest.raises((TypeError, ValueError)) as raised:
        MISTAKES[words]()
    assert [word for word in words.split() if word not in str(raised.value)] == [], str(raised.value)


@pytest.mark.usefixtures("unchecked")
def test_without_a_process_group_the_remedy_is_torchrun(monkeypatch):
    monkeypatch.setattr(dist, "is_initialized", lambda: False)
    with pytest.raises(ValueError, match=r"`group`.*init_process_group.*torchrun"):
        ring_attention(X, X, X)
