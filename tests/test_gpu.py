"""The Triton tier against `attend` in float64, on a GPU where there is one, else in Triton's interpreter."""

import linecache
import math
import os
import random
import subprocess
import sys

import pytest
import torch

from attention_core import attend, masks
from attention_core.flash import flash_attention
from attention_core.flash.blocks import create_block_mask
from attention_core.heads import repeat_groups

pytest.importorskip("triton")

import triton
import triton.language as tl

from attention_core.flash import gpu, lowering

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
RUNS = torch.cuda.is_available() or os.environ.get("TRITON_INTERPRET") == "1"
runs = pytest.mark.skipif(
    not RUNS, reason="test_the_kernels_in_the_interpreter runs it, in a process of its own"
)


@pytest.mark.skipif(RUNS, reason="this process runs the kernels itself")
def test_the_kernels_in_the_interpreter():
    """The interpreter must be chosen before anything imports Triton, and in this process torch may have."""
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", __file__]
    environment = {**os.environ, "TRITON_INTERPRET": "1", "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]


LOW = (torch.float16, torch.bfloat16)
LOG2_E = 1 / math.log(2)


def inputs(n, m, heads=2, kv_heads=1, width=16, value_width=None, batch=1, dtype=torch.float32):
    shapes = (heads, n, width), (kv_heads, m, width), (kv_heads, m, value_width or width)
    return [torch.randn(batch, *shape, device=DEVICE).to(dtype) for shape in shapes]


def visible(query, key, *, causal=False, window=None, lengths=None, block_mask=None):
    """The mask that these arguments mean, in full."""
    n, m = query.shape[-2], key.shape[-2]
    mask = torch.ones(*query.shape[:2], n, m, dtype=torch.bool, device=DEVICE)
    if causal:
        mask &= masks.causal(n, m, align="lower_right", device=DEVICE)
    if window is not None:
        mask &= masks.window(n, m, window, align="lower_right", causal=causal, device=DEVICE)
    if lengths is not None:
        mask &= masks.padding(lengths[:, None], m)
    return mask if block_mask is None else mask & block_mask.dense().to(DEVICE)


def plain(query, key, value, *, score_mod=None, scale=None, grads=None, dtype=torch.float64, **seen):
    """Output, lse and gradients by whole matrices, each rounded to `dtype`: the equations of the kernels."""
    repeats = query.shape[1] // key.shape[1]
    query, key, value = (x.to(dtype) for x in (query, key, value))
    keys, values = repeat_groups(key, repeats), repeat_groups(value, repeats)
    exact = torch.promote_types(dtype, torch.float32)
    mask = visible(query, key, **seen)
    scale = 1 / math.sqrt(query.shape[-1]) if scale is None else scale

    scaled = ((query @ keys.mT).to(exact) * scale).requires_grad_()
    places = [torch.arange(size, device=DEVICE) for size in scaled.shape]
    b, h, i, j = (x.view([-1 if a == c else 1 for c in range(4)]) for a, x in enumerate(places))
    scores = scaled * 1.0 if score_mod is None else score_mod(scaled, b, h, i, j)
    output, _, lse = attend(query, keys, values, score=lambda q, k: scores.to(exact), mask=mask)
    output, lse = output.detach(), lse.detach()

    shift = lse.masked_fill(lse == -math.inf, 0.0)[..., None]
    weights = (scores * LOG2_E - shift * LOG2_E).exp2().masked_fill(~mask, 0.0)
    grad_output, grad_lse = grads[0].to(dtype), grads[1].to(exact)
    delta = (grad_output.to(exact) * output.to(exact)).sum(-1) - grad_lse
    grad_scores = weights * ((grad_output @ values.mT).to(exact) - delta[..., None])
    grad_scores = grad_scores.masked_fill(~mask, 0.0).detach()
    (grad_scaled,) = torch.autograd.grad(scores, scaled, grad_scores)
    grad_scaled, weights = grad_scaled.to(dtype), weights.detach().to(dtype)
    grad_query = grad_scaled @ keys * scale
    grad_key = (grad_scaled.mT @ query * scale).unflatten(1, (-1, repeats)).sum(2)
    grad_value = (weights.mT @ grad_output).unflatten(1, (-1, repeats)).sum(2)
    return output, lse, grad_query, grad_key, grad_value


def by_gpu(query, key, value, *, grads, **arguments):
    output, lse = gpu.forward(query, key, value, **arguments)
    return (
        output,
        lse,
        *gpu.backward(
            grads[0].to(output.dtype), query, key, value, output, lse, grad_lse=grads[1], **arguments
        ),
    )


def within_budget(result, golden, rough):
    """Error against float64 at most twice that of plain attention in the same precision, and rounding."""
    for name, x, exact, other in zip(("output", "lse", "dq", "dk", "dv"), result, golden, rough, strict=True):
        assert not x.isnan().any(), name
        empty = exact == -math.inf
        assert torch.equal(x == -math.inf, empty), name
        x, exact, other = (y.double()[~empty] for y in (x, exact, other))
        if x.numel():
            low = exact.to(result[0].dtype if name != "lse" else torch.float32)
            slack = 2 * ((low + 0.3 - 0.3).double() - low.double()).abs().max()
            bound = 2 * (other - exact).abs().max() + slack
            assert (x - exact).abs().max() <= bound, f"{name}: {(x - exact).abs().max():.2e} > {bound:.2e}"


@runs
def test_the_golden_gradients_are_those_of_autograd():
    """`plain` takes its gradients by the equations under test; torch takes them from `attend` alone."""
    query, key, value = (x.double().requires_grad_() for x in inputs(20, 40))
    grads = torch.randn(1, 2, 20, 16, device=DEVICE), torch.randn(1, 2, 20, device=DEVICE)
    mask = visible(query, key, causal=True, window=9)
    output, _, lse = attend(query, repeat_groups(key, 2), repeat_groups(value, 2), mask=mask)
    expected = torch.autograd.grad([output, lse], [query, key, value], [x.double() for x in grads])
    golden = plain(query.detach(), key.detach(), value.detach(), grads=grads, causal=True, window=9)
    for x, y in zip(golden, (output, lse, *expected), strict=True):
        assert (x - y).abs().max() <= 1e-12


def agrees(query, key, value, **arguments):
    shape = (*query.shape[:-1], value.shape[-1])
    grads = torch.randn(shape, device=DEVICE).to(query.dtype), torch.randn(shape[:-1], device=DEVICE)
    result = by_gpu(query, key, value, grads=grads, **arguments)
    assert [x.dtype for x in result] == [query.dtype, torch.float32, *[query.dtype] * 3]
    golden = plain(query, key, value, grads=grads, **arguments)
    rough = plain(query, key, value, grads=grads, dtype=query.dtype, **arguments)
    within_budget(result, golden, rough)


@runs
@pytest.mark.parametrize(("n", "m"), [(33, 33), (1, 70), (70, 5), (40, 75), (75, 40), (64, 32)])
@pytest.mark.parametrize(
    ("causal", "window"), [(False, None), (True, None), (True, 9), (False, 9), (True, 100)]
)
def test_band_and_lengths_of_any_size_agree_with_attend(n, m, causal, window):
    agrees(*inputs(n, m), causal=causal, window=window)


@runs
@pytest.mark.parametrize("width", [1, 7, 16, 32, 64, 80, 96, 128, 200, 256])
def test_any_width_agrees(width):
    agrees(*inputs(20, 40, width=width, batch=4), causal=True)


@runs
@pytest.mark.parametrize("dtype", LOW)
@pytest.mark.parametrize("arguments", [{}, {"causal": True}, {"causal": True, "window": 20}])
def test_low_precision_keeps_the_error_budget(dtype, arguments):
    agrees(*inputs(70, 70, width=64, dtype=dtype), **arguments)


@runs
def test_values_may_be_wider_or_narrower_than_keys():
    agrees(*inputs(20, 40, width=16, value_width=40))
    agrees(*inputs(20, 40, width=40, value_width=16))


@runs
@pytest.mark.parametrize("kv_heads", [1, 2, 6])
def test_neighbouring_heads_share_keys(kv_heads):
    agrees(*inputs(20, 40, heads=6, kv_heads=kv_heads), causal=True)


@runs
@pytest.mark.parametrize("arguments", [{}, {"causal": True}, {"window": 12}, {"causal": True, "window": 12}])
def test_keys_from_the_length_on_do_not_exist(arguments):
    lengths = torch.tensor([0, 1, 32, 45], device=DEVICE)
    agrees(*inputs(40, 60, batch=4), lengths=lengths, **arguments)


@runs
def test_scale_is_free():
    agrees(*inputs(20, 40), scale=0.01)
    agrees(*inputs(20, 40), scale=-1.0)


@runs
def test_large_scores_do_not_overflow():
    query, key, value = inputs(20, 40)
    agrees(100 * query, 100 * key, value)


@runs
@pytest.mark.parametrize(("n", "m"), [(0, 5), (5, 0)])
def test_no_queries_or_no_keys_give_empty_rows(n, m):
    query, key, value = inputs(n, m)
    output, lse = gpu.forward(query, key, value)
    grads = gpu.backward(torch.ones_like(output), query, key, value, output, lse)
    assert not output.any()
    assert (lse == -math.inf).all()
    assert [g.shape for g in grads] == [query.shape, key.shape, value.shape]
    assert not any(g.any() for g in grads)


@runs
def test_rows_that_see_nothing_are_zero_with_zero_gradients():
    query, key, value = inputs(40, 10)  # lower right: the first 30 queries come before every key
    output, lse = gpu.forward(query, key, value, causal=True)
    grad_query, _, _ = gpu.backward(torch.ones_like(output), query, key, value, output, lse, causal=True)
    assert not output[:, :, :30].any()
    assert (lse[:, :, :30] == -math.inf).all()
    assert not grad_query[:, :, :30].any()
    assert lse[:, :, 30:].isfinite().all()


# Block masks


def blocks(n, m, kind, batch=1, heads=1, block=32):
    return create_block_mask(MASK_MODS[kind], batch, heads, n, m, block=block)


MASK_MODS = {
    "documents": lambda b, h, i, j: i // 40 == j // 40,
    "band": lambda b, h, i, j: (i - j).abs() < 20,
    "by head": lambda b, h, i, j: (i >= j) | ((j < 3) & (h == 1)),
    "by sequence": lambda b, h, i, j: i % (7 + b) != j % 5,
    "first rows empty": lambda b, h, i, j: i >= j + 37,
    "nothing": lambda b, h, i, j: (i < 0) & (j < 0),
    "everything": lambda b, h, i, j: (i >= 0) & (j >= 0),
}


@runs
@pytest.mark.parametrize(
    ("kind", "batch", "heads"),
    [
        ("documents", 1, 1),
        ("band", 1, 1),
        ("by head", 1, 2),
        ("by sequence", 2, 1),
        ("by sequence", 2, 2),
        ("first rows empty", 1, 1),
        ("nothing", 1, 1),
        ("everything", 1, 1),
    ],
)
def test_block_masks_agree(kind, batch, heads):
    agrees(*inputs(100, 130, batch=batch), block_mask=blocks(100, 130, kind, batch, heads))


@runs
@pytest.mark.parametrize("block", [16, 64, (32, 64), (24, 24), 4, 200])
def test_blocks_of_any_size_agree(block):
    agrees(*inputs(100, 130), block_mask=blocks(100, 130, "by head", heads=2, block=block))


@runs
def test_a_block_mask_joins_the_other_masks():
    lengths = torch.tensor([50, 96], device=DEVICE)
    for arguments in ({"causal": True}, {"window": 30}, {"lengths": lengths}):
        agrees(*inputs(64, 96, batch=2), block_mask=blocks(64, 96, "everything"), **arguments)
        agrees(*inputs(64, 96, batch=2), block_mask=blocks(64, 96, "documents"), **arguments)


# Score modifications

SLOPES, TABLE = torch.rand(2, device=DEVICE), torch.randn(2, 300, device=DEVICE)
SCORE_MODS = {
    "alibi": lambda s, b, h, i, j: s - SLOPES[h] * (i - j).abs(),
    "soft cap": lambda s, b, h, i, j: 2 * torch.tanh(s / 2),
    "relative table": lambda s, b, h, i, j: s + TABLE[h, i - j + 100],
    "negative index": lambda s, b, h, i, j: s + TABLE[h, -1 - i],
    "causal by -inf": lambda s, b, h, i, j: torch.where(i >= j, s, -float("inf")),
    "gate": lambda s, b, h, i, j: s * torch.sigmoid(s) + 0.1 * ((i - 50) // 3 - (j - 50) % 4),
    "clamp": lambda s, b, h, i, j: s.clamp(-0.5, 0.5) ** 2,
    "logic": lambda s, b, h, i, j: torch.where((i > j) & ~(j == 3) | (b == 0), s.exp(), torch.maximum(s, -s)),
    "constant": lambda s, b, h, i, j: 0.0 * s + h,
}


@runs
@pytest.mark.parametrize("name", SCORE_MODS)
def test_score_mods_and_their_gradients_agree(name):
    agrees(*inputs(40, 60), score_mod=SCORE_MODS[name])


@runs
def test_a_score_mod_sees_scaled_scores_before_masks():
    arguments = {"score_mod": SCORE_MODS["soft cap"], "scale": 0.7, "causal": True}
    agrees(*inputs(70, 70, batch=2), lengths=torch.tensor([33, 70], device=DEVICE), **arguments)
    agrees(*inputs(70, 70), block_mask=blocks(70, 70, "documents"), **arguments)


@runs
def test_a_changed_closure_changes_the_kernel():
    slope = 0.5

    def sloped(s, b, h, i, j):
        return s * slope

    query, key, value = inputs(8, 8)
    agrees(query, key, value, score_mod=sloped)
    slope = 2.0
    agrees(query, key, value, score_mod=sloped)


@triton.jit
def squared(score, b, h, q_idx, kv_idx, captured):
    return score * score * tl.load(captured[0])


@triton.jit
def twice(score, b, h, q_idx, kv_idx, captured):
    return 2 * score * tl.load(captured[0])


@runs
def test_a_score_mod_may_be_written_in_triton_with_its_derivative():
    factor = torch.tensor([0.3], device=DEVICE)
    grads = torch.randn(1, 2, 20, 16, device=DEVICE), torch.randn(1, 2, 20, device=DEVICE)
    arrays = inputs(20, 40)
    result = by_gpu(*arrays, grads=grads, score_mod=lowering.ScoreMod(squared, twice, (factor,)))
    same = {"grads": grads, "score_mod": lambda s, b, h, i, j: s * s * factor}
    within_budget(result, plain(*arrays, **same), plain(*arrays, dtype=torch.float32, **same))


# NaN and inf


@runs
@pytest.mark.parametrize("bad", [math.nan, math.inf])
@pytest.mark.parametrize("which", ["key", "value"])
def test_a_future_key_is_not_felt_even_if_it_is_nan(bad, which):
    query, key, value = inputs(70, 70)
    sound = gpu.forward(query, key, value, causal=True)
    grad = torch.randn_like(sound[0])
    grad[:, :, 45:] = 0
    expected = gpu.backward(grad, query, key, value, *sound, causal=True)

    {"key": key, "value": value}[which][:, :, 45] = bad
    output, lse = gpu.forward(query, key, value, causal=True)
    grads = gpu.backward(grad, query, key, value, output, lse, causal=True)
    assert torch.equal(output[:, :, :45], sound[0][:, :, :45])
    assert torch.equal(lse[:, :, :45], sound[1][:, :, :45])
    assert not output[:, :, 45:].isfinite().any()
    assert torch.equal(grads[0][:, :, :45], expected[0][:, :, :45])
    for got, want in zip(grads[1:], expected[1:], strict=True):
        assert torch.equal(got[:, :, :45], want[:, :, :45])


@runs
def test_a_query_that_is_nan_spares_the_keys_it_does_not_see():
    query, key, value = inputs(70, 70)
    query[:, :, 20] = math.nan
    output, lse = gpu.forward(query, key, value, causal=True)
    _, grad_key, grad_value = gpu.backward(
        torch.ones_like(output), query, key, value, output, lse, causal=True
    )
    assert output.isnan().any(-1).nonzero()[:, 2].unique().tolist() == [20]
    assert grad_key[:, :, 21:].isfinite().all()
    assert grad_value[:, :, 21:].isfinite().all()


@runs
def test_padding_may_hold_nan():
    query, key, value = inputs(40, 60, batch=2)
    lengths = torch.tensor([33, 0], device=DEVICE)
    key[0, :, 33:] = value[0, :, 33:] = math.nan
    key[1] = value[1] = math.inf
    output, lse = gpu.forward(query, key, value, lengths=lengths)
    grads = gpu.backward(torch.ones_like(output), query, key, value, output, lse, lengths=lengths)
    assert output.isfinite().all()
    assert all(grad.isfinite().all() for grad in grads)
    assert not grads[1][0, :, 33:].any()
    assert not grads[2][0, :, 33:].any()


@runs
def test_a_block_mask_hides_nan_too():
    query, key, value = inputs(100, 100)
    key[:, :, 50] = value[:, :, 10] = math.nan
    mask = blocks(100, 100, "documents")
    output, lse = gpu.forward(query, key, value, block_mask=mask)
    assert output[:, :, :80].isnan().all()
    assert output[:, :, 80:].isfinite().all()
    assert lse[:, :, :40].isfinite().all()


@runs
def test_two_backward_passes_agree_to_the_bit_and_leave_their_inputs_alone():
    query, key, value = inputs(70, 70)
    before = [x.clone() for x in (query, key, value)]
    output, lse = gpu.forward(query, key, value, causal=True)
    first, second = (
        gpu.backward(torch.ones_like(output), query, key, value, output, lse, causal=True) for _ in range(2)
    )
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))
    assert all(torch.equal(a, b) for a, b in zip(before, (query, key, value), strict=True))


@runs
def test_views_that_are_not_contiguous_give_the_same():
    query, key, value = inputs(20, 40)
    views = [x.transpose(1, 2).contiguous().transpose(1, 2) for x in (query, key, value)]
    assert torch.equal(gpu.forward(*views)[0], gpu.forward(query, key, value)[0])
    shifted = [
        torch.cat([x[..., :1], x], -1).flatten()[1:][: x.numel()].view_as(x) for x in (query, key, value)
    ]
    assert torch.equal(gpu.forward(*shifted)[0], gpu.forward(*(x.clone() for x in shifted))[0])


# Errors


def branches(score, b, h, i, j):
    return score if i > j else -score


@runs
@pytest.mark.parametrize(
    ("score_mod", "error", "message"),
    [
        (3, TypeError, "`score_mod` must be a function"),
        (squared, TypeError, "needs its derivative beside it"),
        (branches, ValueError, "use `torch.where`"),
        (lambda s, b, h, i, j: torch.erfinv(s), ValueError, "uses `aten.erfinv.default`"),
        (lambda s, b, h, i, j: s.mean(), ValueError, "one score for each"),
        (lambda s, b, h, i, j: s + TABLE[h].sum(), ValueError, "Index every axis at once"),
    ],
)
def test_score_mods_that_cannot_be_lowered_say_why(unchecked, score_mod, error, message):
    with pytest.raises(error, match=message):
        gpu.forward(*inputs(8, 8), score_mod=score_mod)


def readers_line(error) -> str:
    """The line of the reader's that an error shows."""
    return str(error.value).split("\n\n")[1].strip()


def far_away(score, b, h, q_idx, kv_idx):
    far = (q_idx - kv_idx).abs()
    return score - torch.special.i0(far * 0.1)


CELL = """def soft(score, b, h, q_idx, kv_idx):
    doubled = score * 2
    return torch.erfinv(doubled)
"""


def from_a_cell():
    """A function as a notebook makes it: its text is in `linecache` alone."""
    name, space = "<ipython-input-7>", {"torch": torch}
    linecache.cache[name] = (len(CELL), None, CELL.splitlines(keepends=True), name)
    exec(compile(CELL, name, "exec"), space)
    return space["soft"]


@pytest.mark.parametrize(
    ("score_mod", "file", "text", "reason"),
    [
        (far_away, __file__, "return score - torch.special.i0(far * 0.1)", "`aten.i0.default`"),
        (
            lambda s, b, h, i, j: s + torch.erfinv(s),
            __file__,
            "lambda s, b, h, i, j: s + ",
            "`aten.erfinv.def",
        ),
        (from_a_cell(), "<ipython-input-7>", "return torch.erfinv(doubled)", "`aten.erfinv.default`"),
        (branches, __file__, "return score if i > j else -score", "a tensor's value, which only the running"),
        (
            lambda s, b, h, i, j: s * s.item(),
            __file__,
            "lambda s, b, h, i, j: s * s.item()",
            "a tensor's value",
        ),
        (
            lambda s, b, h, i, j: s + TABLE[h].sum(),
            __file__,
            "lambda s, b, h, i, j: s + TABLE[h]",
            "got 1 indices",
        ),
        (
            lambda s, b, h, i, j: s + s // 2,
            __file__,
            "lambda s, b, h, i, j: s + s // 2",
            "The derivative of",
        ),
    ],
)
def test_what_cannot_be_lowered_shows_the_readers_own_line(unchecked, score_mod, file, text, reason):
    with pytest.raises(ValueError, match="`score_mod`") as error:
        lowering.lower(score_mod, torch.device("cpu"))
    assert reason in str(error.value)
    assert (
        'kernel="blockwise"' in str(error.value)
        or "torch.where" in str(error.value)
        or "Index" in str(error.value)
    )
    line = readers_line(error)
    assert line.startswith(f'File "{file}", line ')
    assert text in line


@runs
def test_every_entry_of_the_results_is_written():
    """New memory holds NaN here: what a kernel left out would show."""
    torch.utils.deterministic.fill_uninitialized_memory = True
    torch.use_deterministic_algorithms(True)
    try:
        agrees(
            *inputs(40, 75, width=20, value_width=12, batch=2), lengths=torch.tensor([0, 50], device=DEVICE)
        )
        agrees(*inputs(75, 40), causal=True, window=9)
        agrees(*inputs(100, 130), block_mask=blocks(100, 130, "nothing"))
    finally:
        torch.use_deterministic_algorithms(False)


def drawn(seed):
    """One random problem: sizes, heads, widths, dtype and every restriction, each there or not."""
    rng = random.Random(seed)
    n, m, batch = rng.randint(1, 80), rng.randint(1, 80), rng.randint(1, 2)
    kv_heads = rng.randint(1, 2)
    sizes = {
        "heads": kv_heads * rng.randint(1, 2),
        "kv_heads": kv_heads,
        "width": rng.choice([8, 16, 24, 33]),
    }
    arrays = inputs(n, m, batch=batch, dtype=rng.choice([torch.float32, *LOW]), **sizes)
    arguments = {"causal": rng.random() < 0.5, "window": rng.choice([None, 1, rng.randint(1, 90)])}
    if rng.random() < 0.5:
        arguments["lengths"] = torch.tensor([rng.randint(0, m) for _ in range(batch)], device=DEVICE)
    if rng.random() < 0.5:
        kind = rng.choice(["documents", "band", "first rows empty", "by sequence"])
        arguments["block_mask"] = blocks(n, m, kind, batch=batch, block=rng.choice([16, 32, 24]))
    if rng.random() < 0.3:
        arguments["score_mod"] = SCORE_MODS[rng.choice(["soft cap", "gate"])]
    return arrays, arguments


@runs
@pytest.mark.parametrize("seed", range(24))
def test_any_restrictions_together_agree(seed):
    torch.manual_seed(seed)
    arrays, arguments = drawn(seed)
    agrees(*arrays, **arguments)


@runs
def test_the_operator_and_its_compilation_take_this_kernel(unchecked):
    arrays = [x.requires_grad_() for x in inputs(20, 40)]
    operator = torch.ops.attention_core.flash.default
    checks = ("test_schema", "test_autograd_registration", "test_faketensor")
    torch.library.opcheck(operator, (*arrays, None, True, 5, 0.5, "triton"), test_utils=checks)
    whole = torch.compile(flash_attention, fullgraph=True, backend="aot_eager")
    expected = flash_attention(*arrays, causal=True, kernel="triton")
    actual = whole(*arrays, causal=True, kernel="triton")
    assert torch.equal(actual.output, expected.output)
    both = [torch.autograd.grad(x.output.sum(), arrays) for x in (actual, expected)]
    assert all(torch.equal(a, b) for a, b in zip(*both, strict=True))


@runs
def test_unsupported_inputs_name_the_remedy(unchecked, monkeypatch):
    with pytest.raises(TypeError, match='`kernel="blockwise"` takes float64'):
        gpu.forward(*inputs(8, 8, dtype=torch.float64))
    with pytest.raises(ValueError, match=r"width of 1..256 .* got 300"):
        gpu.forward(*inputs(8, 8, width=300))
    monkeypatch.setattr(gpu, "INTERPRETED", False)
    with pytest.raises(ValueError, match="set TRITON_INTERPRET=1"):
        gpu.forward(*(x.cpu() for x in inputs(8, 8)))
