"""The rest of `flash`: block masks, the choice of a kernel, its errors, and what it costs."""

import math
import subprocess
import sys
from functools import partial

import numpy as np
import pytest
import torch

from attention_core import flash, masks
from attention_core.flash import (
    BlockMask,
    choice,
    cost,
    create_block_mask,
    explain_choice,
    flash_attention,
    loops,
)
from attention_core.flash.visible import Visible

Q, K, V = torch.zeros(2, 4, 5, 8), torch.zeros(2, 2, 7, 8), torch.zeros(2, 2, 7, 6)


def causal_mod(b, h, q_idx, kv_idx):
    return q_idx >= kv_idx


# Block masks


@pytest.mark.parametrize("block", [1, 3, (2, 5), 16], ids=str)
def test_tiles_are_empty_full_or_partial_as_their_pairs_are(block):
    block_mask = create_block_mask(causal_mod, None, None, 11, 13, block=block)
    rows, cols = block_mask.block
    for row, strip in enumerate(masks.causal(11, 13, "upper_left").split(rows)):
        for col, tile in enumerate(strip.split(cols, dim=1)):
            kind = 2 if tile.all() else 1 if tile.any() else 0
            assert block_mask.kinds[0, 0, row, col] == kind


def test_counts_and_sparsity_of_a_causal_mask_in_four_by_four_tiles():
    block_mask = create_block_mask(causal_mod, 2, 3, 64, 64, block=16)
    assert block_mask.counts == {"empty": 36, "partial": 24, "full": 36}  # 6, 4 and 6 in each of 6 heads
    assert block_mask.sparsity == 36 / 96


def test_the_dense_mask_has_every_sequence_and_head():
    ids = torch.tensor([[0, 0, 1, 1], [0, 1, 1, 1]])

    def mask_mod(b, h, q_idx, kv_idx):
        return (ids[b, q_idx] == ids[b, kv_idx]) & (q_idx >= kv_idx + h)

    block_mask = create_block_mask(mask_mod, 2, 3, 4, 4, block=2)
    distance = torch.arange(4)[:, None] - torch.arange(4)
    expected = masks.document(ids)[:, None] & (distance >= torch.arange(3)[:, None, None])
    assert torch.equal(block_mask.dense(), expected)


def test_empty_tiles_are_never_asked_and_full_ones_not_again():
    asked = []

    def mask_mod(b, h, q_idx, kv_idx):
        asked.append((int(q_idx[0]), int(kv_idx[0, 0])))
        return q_idx >= kv_idx

    block_mask = create_block_mask(mask_mod, 1, 1, 12, 12, block=4)
    asked.clear()
    x = torch.randn(1, 1, 12, 8)
    flash_attention(x, x, x, block_mask=block_mask)
    assert asked == [(0, 0), (4, 4), (8, 8)]


# Which kernel


def test_on_a_cpu_auto_is_blockwise_and_says_so():
    chosen = explain_choice(Q, K, V)
    assert chosen.kernel == "blockwise"
    assert "on a CPU" in str(chosen)


@pytest.mark.parametrize(
    ("dtype", "width", "kernel", "because"),
    [
        (torch.float16, 64, "triton", "NVIDIA GPU"),
        (torch.bfloat16, 256, "triton", "NVIDIA GPU"),
        (torch.float64, 64, "blockwise", "float64"),
        (torch.float16, 257, "blockwise", "257"),
    ],
)
def test_on_a_gpu_auto_goes_by_dtype_and_width(monkeypatch, dtype, width, kernel, because):
    monkeypatch.setattr(choice, "find_spec", lambda name: object())
    x = on_gpu(dtype, width)
    chosen = choice.choose(x, x, x)
    assert chosen.kernel == kernel
    assert because in chosen.reason


class OnGPU(torch.Tensor):
    """A tensor that says it is on a GPU, which is all that the choice asks of it."""

    device = torch.device("cuda")


def on_gpu(dtype, width):
    return torch.zeros(1, 1, 8, width, dtype=dtype).as_subclass(OnGPU)


def test_without_triton_auto_on_a_gpu_is_blockwise_and_says_so(monkeypatch):
    monkeypatch.setattr(choice, "find_spec", lambda name: None)
    x = on_gpu(torch.float16, 64)
    assert choice.choose(x, x, x).kernel == "blockwise"
    assert "pip install triton" in choice.choose(x, x, x).reason


def test_a_learned_score_mod_keeps_auto_from_triton(monkeypatch):
    monkeypatch.setattr(choice, "find_spec", lambda name: object())
    slope = torch.ones((), requires_grad=True)
    x = on_gpu(torch.float16, 64)
    assert choice.choose(x, x, x, score_mod=lambda s, b, h, i, j: s * slope).kernel == "blockwise"
    assert choice.choose(x, x, x, score_mod=lambda s, b, h, i, j: s * 2).kernel == "triton"


def test_calls_count_the_kernel_that_ran():
    flash.calls.clear()
    x = torch.randn(1, 1, 3, 2, requires_grad=True)
    flash_attention(x, x, x).output.sum().backward()
    flash_attention(x.detach(), x.detach(), x.detach(), kernel="numpy")
    assert flash.calls == {"blockwise": 1, "blockwise backward": 1, "numpy": 1}


def test_flash_imports_and_runs_without_triton():
    program = """
import sys
sys.modules["triton"] = None  # as if it were not installed
import torch
from attention_core import flash
x = torch.randn(1, 1, 3, 16, requires_grad=True)
flash.flash_attention(x, x, x, causal=True).output.sum().backward()
print(flash.calls["blockwise backward"])
"""
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert (run.stdout, run.returncode) == ("1\n", 0), run.stderr


# Errors


def case(error, words, function, *arguments, **options):
    return pytest.param(error, words, partial(function, *arguments, **options), id=" ".join(words))


THREE_HEADS = (torch.zeros(2, 3, 7, 8),) * 2
LEARNED = Q.clone().requires_grad_()
OTHER = create_block_mask(causal_mod, 1, 1, 5, 8)


def mistake(error, words, *inputs, **options):
    return case(error, words, flash_attention, *(inputs or (Q, K, V)), **options)


def tiles(error, words, mask_mod=causal_mod, batch=1, heads=1, n=5, m=7, **options):
    return case(error, words, create_block_mask, mask_mod, batch, heads, n, m, **options)


MISTAKES = [
    mistake(TypeError, ["`query`", "ndarray", "torch.as_tensor"], Q.numpy(), K, V),
    mistake(TypeError, ["`key`", "int64", "`key.float()`"], Q, K.long(), V),
    mistake(TypeError, ["`query` and `key`", "float64", "`key.to(query.dtype)`"], Q, K.double(), V.double()),
    mistake(TypeError, ["`key` and `value`", "float64"], Q, K, V.double()),
    mistake(ValueError, ["`query`", "(1, 2, 4, 5, 8)", "flatten(0, -4)"], Q[None], K[None], V[None]),
    mistake(ValueError, ["`query` and `key`", "batch axes", ".expand("], Q, K[:1], V[:1]),
    mistake(ValueError, ["`query`", "multiple", "4 and 3", "transposed?"], Q, *THREE_HEADS),
    mistake(ValueError, ["`query` and `key`", "one width", "8 and 6"], Q, V, V),
    mistake(ValueError, ["`key` and `value`", "positions", "7 and 6"], Q, K, V[:, :, :6]),
    mistake(ValueError, ["`key` and `value`", "batch axes"], Q, K, V[:, :1]),
    mistake(ValueError, ["`query`, `key` and `value`", "one device", "meta"], Q, K.to("meta"), V.to("meta")),
    mistake(TypeError, ["`causal`", "`block_mask=`"], causal=torch.ones(5, 7).bool()),
    mistake(ValueError, ["`window`", "got 0", "`window=1`"], window=0),
    mistake(ValueError, ["`window`", "got True"], window=True),
    mistake(TypeError, ["`score_mod`", "Tensor", "q_idx"], score_mod=torch.zeros(5, 7)),
    mistake(ValueError, ["`score_mod`", "(5, 7)", "(5, 1)"], score_mod=lambda s, b, h, i, j: s[:, :1]),
    mistake(ValueError, ["`score_mod`", "(5, 7)", "int"], score_mod=lambda s, b, h, i, j: 1),
    mistake(TypeError, ["`scale`", "Tensor", "`query`"], scale=torch.ones(())),
    mistake(ValueError, ["`scale`", "finite", "nan"], scale=float("nan")),
    mistake(TypeError, ["`block_mask`", "Tensor", "`create_block_mask("], block_mask=torch.ones(5, 7).bool()),
    mistake(ValueError, ["`block_mask`", "(2, 4, 5, 7)", "(1, 1, 5, 8)"], block_mask=OTHER),
    mistake(TypeError, ["`lengths`", "float32", "torch.tensor([3, 5])"], lengths=torch.ones(2)),
    mistake(ValueError, ["`lengths`", "(batch,)", "(3,)"], lengths=torch.ones(3).long()),
    mistake(ValueError, ["`lengths`", "0..7", "[3, 8]"], lengths=torch.tensor([3, 8])),
    mistake(ValueError, ["`kernel`", "blockwise", "'fast'"], kernel="fast"),
    mistake(ValueError, ["`kernel`", "hopper", "not there", "triton"], kernel="hopper"),
    mistake(ValueError, ["`kernel`", "gradient", "no_grad"], LEARNED, K, V, kernel="numpy"),
    tiles(TypeError, ["`mask_mod`", "Tensor", "q_idx >= kv_idx"], torch.ones(5, 7)),
    tiles(TypeError, ["`mask_mod`", "int64", "`&`"], lambda b, h, i, j: i - j),
    tiles(ValueError, ["`mask_mod`", "(5, 7)", "(7, 5)"], lambda b, h, i, j: (i >= j).mT),
    tiles(ValueError, ["`batch`", "at least 1", "0"], batch=0),
    tiles(ValueError, ["`heads`", "at least 1"], heads=1.5),
    tiles(ValueError, ["`m`", "0 or more", "-1"], m=-1),
    tiles(ValueError, ["`block`", "128"], block=0),
    tiles(ValueError, ["`block`", "(1, 2, 3)"], block=(1, 2, 3)),
    case(ValueError, ["`n`", "at least 1"], cost.standard, 0, 1, 1),
    case(ValueError, ["`rows`", "at least 1"], cost.tiled, 1, 1, 1, rows=0),
]


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(("error", "words", "call"), MISTAKES)
def test_a_mistake_is_told_with_its_remedy(error, words, call):
    with pytest.raises(error) as raised:
        call()
    assert [word for word in words if word not in str(raised.value)] == []


def test_triton_without_a_gpu_or_its_interpreter_names_both(monkeypatch):
    monkeypatch.setattr(choice, "find_spec", lambda name: object())
    monkeypatch.delenv("TRITON_INTERPRET", raising=False)
    with pytest.raises(ValueError, match=r"`kernel` .*triton.*`\.cuda\(\)`.*TRITON_INTERPRET=1"):
        flash_attention(Q, K, V, kernel="triton")


def test_triton_that_is_not_installed_says_how(monkeypatch):
    monkeypatch.setattr(choice, "find_spec", lambda name: None)
    with pytest.raises(ValueError, match=r"`kernel` .*pip install triton"):
        flash_attention(Q, K, V, kernel="triton")


# Strips


def test_strips_hold_every_allowed_pair_once_and_fewer_others_than_tiles():
    visible = Visible(600, 640, causal=True, window=500)
    held, computed, in_tiles = torch.zeros(600, 640), 0, 0
    for rows in visible.row_tiles(512):
        for seeing, keys, ceiling in visible.strips(0, 0, rows, 512):
            held[seeing, keys] += 1 if ceiling is None else (ceiling == math.inf).float()
            computed += held[seeing, keys].numel()
        tiles = [tile for tile, _ in visible.tiles(0, 0, rows, 512)]
        in_tiles += sum((rows.stop - rows.start) * (tile.stop - tile.start) for tile in tiles)
    assert torch.equal(held.bool(), masks.window(600, 640, 500, align="lower_right"))
    assert held.max() == 1
    assert computed < 0.85 * in_tiles


# Cost


def counted(schedule, n, m, d, dv, **room):
    inputs = torch.randn(1, 1, n, d), torch.randn(1, 1, m, d), torch.randn(1, 1, m, dv)
    memory = loops.slow_memory(*inputs, **room)
    schedule(memory)
    return memory, inputs


@pytest.mark.parametrize(("n", "m", "d", "dv"), [(64, 64, 8, 8), (50, 70, 6, 4), (7, 3, 5, 2)])
@pytest.mark.parametrize("options", [{}, {"causal": True}, {"causal": True, "window": 9}, {"window": 20}])
@pytest.mark.parametrize("tile", [(16, 16), (8, 32), (100, 5)], ids=str)
def test_tiled_cost_is_what_the_loop_reads_and_writes(n, m, d, dv, options, tile):
    visible = Visible(n, m, **options)
    schedule = partial(loops.tiled, visible=visible, b=0, h=0, scale=1.0, tile=tile)
    memory, _ = counted(schedule, n, m, d, dv)
    formula = cost.tiled(n, m, d, dv, rows=tile[0], cols=tile[1], **options)
    assert memory.loads == formula.loads
    assert memory.stores == formula.stores + formula.statistics


def test_standard_cost_is_what_three_steps_read_and_write():
    n, m, d, dv = 50, 70, 6, 4
    room = {name: np.zeros((n, m), np.float32) for name in ("scores", "weights")}
    visible = Visible(n, m, causal=True)
    schedule = partial(loops.standard, visible=visible, b=0, h=0, scale=1.0, rows=16)
    memory, inputs = counted(schedule, n, m, d, dv, **room)
    formula = cost.standard(n, m, d, dv)
    assert (memory.loads, memory.stores) == (formula.loads, formula.stores)
    expected = flash_attention(*inputs, causal=True, scale=1.0).output
    torch.testing.assert_close(torch.from_numpy(memory.arrays["output"]), expected, atol=1e-5, rtol=0)


def test_both_schedules_do_the_same_products_forward():
    assert cost.tiled(1000, 700, 64).flops == cost.standard(1000, 700, 64).flops == 4 * 1000 * 700 * 64


def test_backward_does_five_products_for_four():
    tiled, standard = (
        schedule(512, 512, 64, backward=True).flops for schedule in (cost.tiled, cost.standard)
    )
    assert tiled / standard == 5 / 4


def test_backward_reads_queries_once_a_tile_of_keys():
    n, m, d, cols = 256, 512, 64, 128
    formula = cost.tiled(n, m, d, cols=cols, backward=True)
    per_tile = n * 3 * d  # query, the output's gradient, and the query's gradient so far
    assert formula.loads == 2 * m * d + (m // cols) * per_tile + 2 * n * d
    assert formula.stores == 2 * m * d + (m // cols) * n * d


def test_a_causal_mask_nears_half_the_work_as_tiles_shrink():
    shares = [cost.tiled(4096, 4096, 64, rows=r, cols=r, causal=True).flops for r in (1024, 128, 1)]
    shares = [share / cost.tiled(4096, 4096, 64).flops for share in shares]
    assert shares == [0.625, 0.515625, 0.5 + 0.5 / 4096]


def test_bytes_follow_the_dtype_and_heads():
    half, single = (cost.tiled(512, 512, 64, dtype=dtype) for dtype in (torch.float16, torch.float32))
    assert single.bytes - half.bytes == 2 * (half.loads + half.stores)
    assert cost.tiled(512, 512, 64, heads=8).bytes == 8 * half.bytes
    assert cost.tiled(512, 512, 64, heads=8).sram == half.sram


def test_extra_memory_is_linear_where_the_standard_one_is_quadratic():
    for schedule, ratio in ((cost.standard, 4), (cost.tiled, 2)):
        assert schedule(2048, 2048, 64).extra == ratio * schedule(1024, 1024, 64).extra


def test_taller_tiles_do_more_operations_a_byte():
    low, high = (cost.tiled(512, 512, 64, rows=rows) for rows in (128, 256))
    assert low.intensity == low.flops / low.bytes
    assert high.intensity > low.intensity > cost.standard(512, 512, 64).intensity
    assert high.sram > low.sram  # which is what taller tiles cost


def test_the_forward_tile_in_fast_memory_is_what_the_loop_holds():
    # Queries, keys and values in half precision; scores, average, maximum and sum in single.
    tile = cost.tiled(512, 512, 64, 32, rows=16, cols=8)
    assert tile.sram == (16 * 64 + 8 * 64 + 8 * 32) * 2 + (16 * 8 + 16 * 32 + 2 * 16) * 4


def test_block_masks_are_made_by_create_block_mask():
    assert isinstance(OTHER, BlockMask)
