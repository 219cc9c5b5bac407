"""`flash_attention` on a CPU: `attend` on another schedule, whatever the tiles, the masks and the dtype."""

import math
import subprocess
import sys
from functools import partial

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.nn.attention.flex_attention import flex_attention
from torch.nn.functional import scaled_dot_product_attention as sdpa

from attention_core import attend, masks, positions
from attention_core.flash import blockwise, create_block_mask, flash_attention, loops
from attention_core.heads import repeat_groups
from attention_core.pipeline import merge

TIERS = [blockwise, loops]
KERNELS = ["blockwise", "numpy"]


def sequences(n=13, m=17, d=6, dv=3, batch=2, heads=4, kv_heads=2, dtype=torch.float64):
    shapes = (heads, n, d), (kv_heads, m, d), (kv_heads, m, dv)
    return tuple(torch.randn(batch, *shape, dtype=dtype) for shape in shapes)


def assert_near(actual, expected, atol=1e-12):
    torch.testing.assert_close(actual, expected, atol=atol, rtol=0)


def pairs(n, m, causal, window, lengths=None):
    """The mask that the options mean, n by m."""
    mask = torch.ones(n, m, dtype=torch.bool)
    if causal:
        mask = mask & masks.causal(n, m, "lower_right")
    if window is not None:
        mask = mask & masks.window(n, m, window, "lower_right", causal=causal)
    return mask if lengths is None else mask & masks.padding(lengths[:, None], m)


def dense(query, key, value, **options):
    repeats = query.shape[-3] // key.shape[-3]
    return attend(query, repeat_groups(key, repeats), repeat_groups(value, repeats), **options)


def loss(attended, weights):
    """A number that depends on every output and on every lse that is finite."""
    output, lse = attended.output, attended.lse.masked_fill(attended.lse == -math.inf, 0.0)
    return (output * weights[0]).sum() + (lse * weights[1]).sum()


def gradients(function, *inputs, weights):
    inputs = tuple(x.detach().requires_grad_() for x in inputs)
    return torch.autograd.grad(loss(function(*inputs), weights), inputs)


def assert_same(function, other, *inputs):
    """Output, lse and all gradients."""
    expected = other(*inputs)
    weights = torch.randn_like(expected.output), torch.randn_like(expected.lse)
    actual = function(*inputs)
    assert_near(actual.output, expected.output)
    assert_near(actual.lse, expected.lse)
    for a, b in zip(
        gradients(function, *inputs, weights=weights), gradients(other, *inputs, weights=weights), strict=True
    ):
        assert_near(a, b)


# It is attention


@pytest.mark.parametrize("lengths", [None, [17, 9], [0, 1]], ids=str)
@pytest.mark.parametrize("window", [None, 1, 4, 40])
@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("tile", [(1, 3), (4, 5), (64, 64)], ids=str)
@pytest.mark.parametrize("tier", TIERS, ids=lambda tier: tier.__name__.split(".")[-1])
@pytest.mark.parametrize("size", [1, 30])  # scores of some 50: the torch tier then needs their maximum
def test_any_tiles_give_attention(size, tier, tile, causal, window, lengths):
    q, k, v = sequences()
    q = q * size
    lengths = None if lengths is None else torch.tensor(lengths)
    output, lse = tier.forward(q, k, v, causal=causal, window=window, lengths=lengths, tile=tile)
    expected = dense(q, k, v, mask=pairs(13, 17, causal, window, lengths))
    assert_near(output, expected.output)
    assert_near(lse, expected.lse)


@pytest.mark.parametrize("lengths", [None, [17, 9], [0, 1]], ids=str)
@pytest.mark.parametrize("window", [None, 1, 4])
@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("tile", [(1, 3), (4, 5), (64, 64)], ids=str)
def test_any_tiles_give_its_gradients_by_output_and_lse(tile, causal, window, lengths):
    q, k, v = sequences()
    lengths = None if lengths is None else torch.tensor(lengths)
    weights = torch.randn(2, 4, 13, 3, dtype=torch.float64), torch.randn(2, 4, 13, dtype=torch.float64)
    options = {"causal": causal, "window": window, "lengths": lengths}
    output, lse = blockwise.forward(q, k, v, **options)
    ours = blockwise.backward(weights[0], q, k, v, output, lse, grad_lse=weights[1], tile=tile, **options)
    mask = pairs(13, 17, causal, window, lengths)
    for a, b in zip(ours[:3], gradients(partial(dense, mask=mask), q, k, v, weights=weights), strict=True):
        assert_near(a, b)


@given(
    n=st.integers(1, 7),
    m=st.integers(1, 7),
    d=st.integers(1, 7),
    dv=st.integers(1, 7),
    groups=st.sampled_from([(1, 1), (3, 1), (4, 2)]),
    causal=st.booleans(),
    window=st.none() | st.integers(1, 7),
    size=st.sampled_from([1, 30]),
    seed=st.integers(0, 99),
)
def test_every_small_size_gives_attention_and_its_gradients(n, m, d, dv, groups, causal, window, size, seed):
    torch.manual_seed(seed)
    q, k, v = sequences(n, m, d, dv, 1, *groups)
    q = q * size
    lengths = torch.randint(0, m + 1, (1,))
    options = {"causal": causal, "window": window, "lengths": lengths}
    assert_same(
        partial(flash_attention, **options),
        partial(dense, mask=pairs(n, m, causal, window, lengths)),
        q,
        k,
        v,
    )


@pytest.mark.parametrize("n", [511, 512, 513, 1100])
@pytest.mark.parametrize("causal", [False, True])
def test_long_sequences_cross_the_tiles_that_are_used(n, causal):
    q, k, v = sequences(n, n + 5, batch=1, heads=1, kv_heads=1)
    options = {"causal": causal, "window": 600}
    assert_same(
        partial(flash_attention, **options), partial(dense, mask=pairs(n, n + 5, causal, 600)), q, k, v
    )


def test_it_is_torch_sdpa_with_grouped_heads():
    q, k, v = sequences()
    assert_near(flash_attention(q, k, v).output, sdpa(q, k, v, enable_gqa=True))
    assert_near(
        flash_attention(q, k[..., :13, :], v[..., :13, :], causal=True).output,
        sdpa(q, k[..., :13, :], v[..., :13, :], is_causal=True, enable_gqa=True),
    )


@pytest.mark.parametrize("kernel", KERNELS)
def test_scale_replaces_the_root_of_the_width(kernel):
    q, k, v = sequences()
    expected = dense(q * 0.3 * math.sqrt(6), k, v)
    assert_near(flash_attention(q, k, v, scale=0.3, kernel=kernel).output, expected.output)


@pytest.mark.parametrize("axes", [1, 2])
def test_batch_and_heads_may_be_absent(axes):
    q, k, v = sequences(batch=1, heads=1, kv_heads=1)
    whole = flash_attention(q, k, v, causal=True)
    part = flash_attention(*(x[(0,) * axes] for x in (q, k, v)), causal=True)
    assert_near(part.output, whole.output[(0,) * axes])
    assert_near(part.lse, whole.lse[(0,) * axes])


def test_parts_over_disjoint_keys_merge_into_the_whole():
    q, k, v = sequences()
    assert_same(
        lambda q, k, v: merge(
            *(flash_attention(q, k[..., s, :], v[..., s, :]) for s in (slice(0, 5), slice(5, 17)))
        ),
        flash_attention,
        q,
        k,
        v,
    )


@pytest.mark.parametrize(("batch", "n", "m"), [(0, 3, 3), (2, 0, 3), (2, 3, 0)])
@pytest.mark.parametrize("kernel", KERNELS)
def test_nothing_in_nothing_out(batch, n, m, kernel):
    attended = flash_attention(*sequences(n, m, batch=batch), causal=True, kernel=kernel)
    assert attended.output.shape == (batch, 4, n, 3)
    assert (attended.output == 0).all()
    assert (attended.lse == -math.inf).all()


def test_inputs_are_left_as_they_were():
    inputs = tuple(x.requires_grad_() for x in sequences())
    before = [x.detach().clone() for x in inputs]
    flash_attention(*inputs, causal=True, score_mod=lambda s, b, h, i, j: s).output.sum().backward()
    assert all(torch.equal(x, old) for x, old in zip(inputs, before, strict=True))


def test_gradcheck():
    inputs = tuple(x.requires_grad_() for x in sequences(4, 5, 3, 2, batch=1, heads=2, kv_heads=1))
    for part in (0, 2):
        assert torch.autograd.gradcheck(lambda *x, part=part: flash_attention(*x, window=3)[part], inputs)


# score_mod and block masks


def softcap(score, b, h, q_idx, kv_idx):
    return 2 * torch.tanh(score / 2)


def relative(score, b, h, q_idx, kv_idx):
    return score * (h + 1) - (q_idx - kv_idx).abs() * 0.1 + b


@pytest.mark.parametrize("score_mod", [softcap, relative])
@pytest.mark.parametrize("kernel", KERNELS)
def test_score_mod_is_flex_attentions(score_mod, kernel):
    q, k, v = (x.float() for x in sequences())
    expected = flex_attention(q, k, v, score_mod=score_mod, enable_gqa=True)
    actual = flash_attention(q, k, v, score_mod=score_mod, kernel=kernel).output
    assert_near(actual, expected, atol=2e-6)


@pytest.mark.parametrize("causal", [False, True])
def test_score_mod_has_its_gradient(causal):
    q, k, v = sequences()
    tile = torch.arange(2)[:, None, None, None], torch.arange(4)[:, None, None]
    where = *tile, torch.arange(13)[:, None], torch.arange(17)

    def score(query, key):
        scaled = query @ key.mT / math.sqrt(6)
        return relative(softcap(scaled, *where), *where)

    def both(*arguments):
        return relative(softcap(*arguments), *arguments[1:])

    expected = partial(dense, score=score, mask=pairs(13, 17, causal, None))
    assert_same(partial(flash_attention, score_mod=both, causal=causal), expected, q, k, v)


@pytest.mark.parametrize("leaf", [True, False])
def test_a_bias_that_score_mod_reads_gets_its_gradient(leaf):
    q, k, v = sequences()
    table = torch.randn(4, 13, 17, dtype=torch.float64)

    def ours(query, key, value, table):
        bias = table if leaf else table * 2
        return flash_attention(
            query, key, value, causal=True, score_mod=lambda s, b, h, i, j: s + bias[h, i, j]
        )

    def expected(query, key, value, table):
        return dense(
            query, key, value, bias=table if leaf else table * 2, mask=masks.causal(13, 17, "lower_right")
        )

    assert_same(ours, expected, q, k, v, table)


def test_so_do_a_module_and_a_bound_argument():
    q, k, v = sequences()
    module = nn.Embedding(4, 1).double()
    slope = torch.tensor(0.5, dtype=torch.float64, requires_grad=True)

    def biased(slope, score, b, h, q_idx, kv_idx):
        return score * slope + module(h)

    flash_attention(q, k, v, score_mod=partial(biased, slope)).lse.sum().backward()
    assert_near(
        module.weight.grad, torch.full((4, 1), 26.0, dtype=torch.float64)
    )  # 2 sequences of 13 queries
    assert slope.grad.abs() > 0


def test_a_learned_tensor_that_cannot_be_found_is_refused():
    class Hidden:
        def __init__(self):
            self.bias = torch.zeros((), requires_grad=True)

        def __call__(self, score, b, h, q_idx, kv_idx):
            return score + self.bias

    with pytest.raises(ValueError, match=r"`score_mod` reads a tensor .*functools.partial"):
        flash_attention(*sequences(), score_mod=Hidden())


def test_a_score_of_minus_infinity_masks():
    q, k, v = sequences()
    assert_same(
        partial(flash_attention, score_mod=lambda s, b, h, i, j: torch.where(i + 4 >= j, s, -math.inf)),
        partial(flash_attention, causal=True),
        q,
        k,
        v,
    )


def test_alibi_as_score_mod_is_alibi_as_bias():
    q, k, v = sequences(17)
    bias = positions.alibi(4, 17, 17).double()
    assert_same(
        partial(flash_attention, score_mod=lambda s, b, h, i, j: s + bias[h, i, j]),
        partial(dense, bias=bias),
        q,
        k,
        v,
    )


@pytest.mark.parametrize("block", [(4, 5), (3, 8), 128], ids=str)
@pytest.mark.parametrize("options", [{}, {"causal": True}, {"window": 4}], ids=str)
def test_a_block_mask_is_its_mask(block, options):
    q, k, v = sequences()
    block_mask = create_block_mask(
        lambda b, h, i, j: (i // 4 == j // 5) | (j == h), 2, 4, 13, 17, block=block
    )
    mask = block_mask.dense() & pairs(13, 17, options.get("causal", False), options.get("window"))
    ours = partial(flash_attention, block_mask=block_mask, **options)
    assert_same(ours, partial(dense, mask=mask), q, k, v)
    assert_near(ours(q, k, v, kernel="numpy").output, dense(q, k, v, mask=mask).output)


# What may not be seen


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_padding_that_is_not_finite_stays_unseen(kernel, bad):
    q, k, v = sequences()
    lengths = torch.tensor([17, 9])
    clean = flash_attention(q, k, v, lengths=lengths, kernel=kernel)
    k[1, :, 9:], v[1, :, 9:] = bad, bad
    spoiled = flash_attention(q, k, v, lengths=lengths, kernel=kernel)
    assert_near(spoiled.output, clean.output)
    assert_near(spoiled.lse, clean.lse)


@pytest.mark.parametrize("kernel", KERNELS)
def test_a_bad_key_within_a_tile_reaches_only_the_queries_that_may_see_it(kernel):
    q, k, v = sequences()
    k[0, 0, 10] = math.nan
    v[1, 1, 12] = math.inf
    mask = pairs(13, 17, True, None)
    actual, expected = flash_attention(q, k, v, causal=True, kernel=kernel), dense(q, k, v, mask=mask)
    torch.testing.assert_close(actual.output, expected.output, atol=1e-12, rtol=0, equal_nan=True)
    torch.testing.assert_close(actual.lse, expected.lse, atol=1e-12, rtol=0, equal_nan=True)
    assert actual.output.isnan().any()
    assert actual.output.isfinite().any()


def test_nor_does_it_reach_their_gradients():
    q, k, v = sequences()
    k[0, 0, 10], v[1, 1, 12], q[1, 3, 2] = math.nan, math.inf, math.nan
    weights = torch.randn(2, 4, 13, 3, dtype=torch.float64), torch.zeros(2, 4, 13, dtype=torch.float64)
    ours = gradients(partial(flash_attention, causal=True), q, k, v, weights=weights)
    theirs = gradients(partial(dense, mask=pairs(13, 17, True, None)), q, k, v, weights=weights)
    for a, b in zip(ours, theirs, strict=True):
        assert_near(a, b)
        assert a.isfinite().all()


def test_an_empty_row_has_gradient_zero():
    q, k, v = (x.requires_grad_() for x in sequences(17, 13))  # the first 4 queries precede every key
    attended = flash_attention(q, k, v, causal=True)
    assert (attended.lse[..., :4] == -math.inf).all()
    attended.output.sum().backward()
    assert (q.grad[..., :4, :] == 0).all()
    assert all(x.grad.isfinite().all() for x in (q, k, v))


# Low precision


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16], ids=str)
@pytest.mark.parametrize("causal", [False, True])
def test_low_precision_stays_within_twice_the_plain_error(dtype, causal):
    exact = sequences(600, 600, 80, 80, batch=1)
    low = tuple(x.to(dtype) for x in exact)
    golden_inputs = tuple(x.double() for x in low)
    mask = pairs(600, 600, causal, None)
    weights = torch.randn(1, 4, 600, 80), torch.zeros(1, 4, 600)

    def results(function, inputs):
        by = gradients(function, *inputs, weights=tuple(x.to(inputs[0].dtype) for x in weights))
        return [function(*inputs).output, *by]

    golden = results(partial(dense, mask=mask), golden_inputs)
    plain = results(partial(dense, mask=mask), low)
    ours = results(partial(flash_attention, causal=causal), low)
    for exact, theirs, x in zip(golden, plain, ours, strict=True):
        assert x.dtype == dtype
        rounded = exact.to(dtype)
        slack = 2 * (rounded + 0.3 - 0.3 - rounded).abs().max().double()
        assert (x.double() - exact).abs().max() <= 2 * (theirs.double() - exact).abs().max() + slack


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
def test_lse_is_float32_in_low_precision(dtype):
    assert flash_attention(*sequences(dtype=dtype)).lse.dtype == torch.float32


def test_scores_of_thousands_neither_overflow_nor_lose_more_than_their_own_digits():
    q, k, v = sequences()
    q = (q * 1000).requires_grad_()
    ours, expected = flash_attention(q, k, v), dense(q, k, v)
    assert ours.lse.abs().max() > 1000  # exp would overflow at 710
    assert_near(ours.output, expected.output, atol=1e-12 * 1000)
    assert_near(ours.lse, expected.lse, atol=1e-12 * 1000)
    ours.output.sum().backward()
    assert q.grad.isfinite().all()


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("value", [1e-30, 1.0, 1e35])
@pytest.mark.parametrize("largest", [22, 23, 88, 700])  # 22 is 31.7 in base 2, 88 still an exponential's
def test_float32_gives_a_softmax_whatever_scores_and_values_share_a_size(largest, value, sign):
    k = torch.eye(8).repeat(40, 1)[None, None]
    q = torch.full((1, 1, 5, 8), 0.0)
    q[..., 0] = sign * largest * math.sqrt(8)
    v = value * torch.rand(1, 1, 320, 3)
    ours = blockwise.forward(q, k, v, tile=(2, 64))
    expected = dense(*(x.double() for x in (q, k, v)))
    torch.testing.assert_close(ours[0].double(), expected.output, rtol=1e-5, atol=0)
    torch.testing.assert_close(ours[1].double(), expected.lse, rtol=1e-6, atol=0)


@pytest.mark.parametrize("score_mod", [None, lambda score, b, h, i, j: score + 200.0 * j])
def test_a_maximum_is_kept_where_lengths_do_not_bound_the_scores(monkeypatch, score_mod):
    shifts = []
    shift = blockwise._Row._shift
    monkeypatch.setattr(blockwise._Row, "_shift", lambda *a: (shifts.append(1), shift(*a)))
    q, k, v = sequences(dtype=torch.float32)
    assert flash_attention(q, k, v, score_mod=score_mod, kernel="blockwise").output.isfinite().all()
    assert bool(shifts) == (score_mod is not None)
    flash_attention(q * 100, k, v, kernel="blockwise")
    assert shifts


# torch


@pytest.mark.parametrize("options", [(None, False, None), ("lengths", True, 4)], ids=str)
def test_torch_accepts_the_operator(options):
    inputs = tuple(x.requires_grad_() for x in sequences())
    lengths = None if options[0] is None else torch.tensor([17, 9])
    operator = torch.ops.attention_core.flash.default
    torch.library.opcheck(operator, (*inputs, lengths, *options[1:], 0.5, "blockwise"))


@pytest.mark.usefixtures("unchecked")
def test_torch_compiles_it_whole():
    inputs = tuple(x.requires_grad_() for x in sequences())
    function = partial(flash_attention, causal=True, window=5)
    compiled = torch.compile(function, fullgraph=True, backend="aot_eager")
    weights = torch.randn(2, 4, 13, 3, dtype=torch.float64), torch.randn(2, 4, 13, dtype=torch.float64)
    for a, b in zip(
        gradients(compiled, *inputs, weights=weights),
        gradients(function, *inputs, weights=weights),
        strict=True,
    ):
        assert_near(a, b)


def test_a_second_derivative_is_refused():
    q, k, v = (x.requires_grad_() for x in sequences())
    for options in ({}, {"score_mod": softcap}):
        (grad,) = torch.autograd.grad(flash_attention(q, k, v, **options).output.sum(), q, create_graph=True)
        with pytest.raises(RuntimeError):
            torch.autograd.grad(grad.sum(), q)


def test_no_matrix_of_all_pairs_is_ever_held():
    program = """
import resource, torch
from attention_core.flash import flash_attention
torch.set_num_threads(1)
def peak(): return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
def run(n):
    x = torch.randn(1, 8, n, 64, requires_grad=True)
    flash_attention(x, x, x, causal=True).output.sum().backward()
run(600)
before = peak()
run(4096)
print(peak() - before)
"""
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    # Input, output, their gradients and the three summed into one are 8 MiB each; all pairs would be 512 MiB.
    assert float(run.stdout) < 6 * 8 + 30
