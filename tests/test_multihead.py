"""Multi-head attention: against torch's module, against its definition, and behind masks."""

import math

import pytest
import torch
from torch import nn

from attention_core import attend, masks
from attention_core.multihead import MultiHeadAttention


def assert_near(actual, expected, atol=1e-12):
    torch.testing.assert_close(actual, expected, atol=atol, rtol=0)


def torch_module(width=6, heads=3, **options):
    module = nn.MultiheadAttention(width, heads, dtype=torch.float64, **options)
    for parameter in module.parameters():  # torch's zero biases would hide a forgotten bias
        nn.init.normal_(parameter)
    return module


def inputs(width=6, key_width=6, value_width=6):
    shapes = ((2, 4, width), (2, 5, key_width), (2, 5, value_width))
    return tuple(torch.randn(*shape, dtype=torch.float64) for shape in shapes)


VARIETIES = pytest.mark.parametrize(
    "options",
    [
        {},
        {"bias": False},
        {"kdim": 3, "vdim": 2},
        {"kdim": 3, "vdim": 2, "bias": False},
        {"kdim": 3},
        {"batch_first": False},
        {"dropout": 0.0},
    ],
    ids=str,
)


def as_in_keras(module, theirs):
    """Give a layer of Keras our parameters; it keeps them as (in, heads, width) and (heads, width, out)."""

    def by_head(x, heads):
        return x.unflatten(0, (heads, -1))

    for name, ours, heads in (
        ("query", module.to_query, module.heads),
        ("key", module.to_key, module.kv_heads),
        ("value", module.to_value, module.kv_heads),
    ):
        weight = by_head(ours.weight, heads).permute(2, 0, 1)
        getattr(theirs, f"_{name}_dense").set_weights([weight.detach(), by_head(ours.bias, heads).detach()])
    output = module.to_output
    theirs._output_dense.set_weights([by_head(output.weight.T, module.heads).detach(), output.bias.detach()])


@pytest.mark.parametrize("kv_heads", [4, 2, 1])
def test_keras_gives_the_same_output_and_weights(kv_heads):
    from keras import layers  # slow to import

    module = MultiHeadAttention(8, 4, kv_heads=kv_heads, dtype=torch.float64)
    for projection in (module.to_query, module.to_key, module.to_value, module.to_output):
        nn.init.normal_(projection.bias)
    if kv_heads == 4:
        theirs = layers.MultiHeadAttention(4, 2, dtype="float64")
    else:
        theirs = layers.GroupQueryAttention(2, 4, kv_heads, dtype="float64")
    q, k, v = inputs(8, 8, 8)
    theirs(q, v, k)  # makes its parameters
    as_in_keras(module, theirs)
    mask = masks.causal(4, 5, align="lower_right")
    output, weights = theirs(
        q, v, k, attention_mask=mask.expand(2, -1, -1), return_attention_scores=True, use_causal_mask=False
    )
    ours = module(q, k, v, mask=mask)
    assert_near(ours.output, output)
    assert_near(ours.weights, weights)


@VARIETIES
def test_from_torch_gives_torch_output_and_weights(options):
    theirs = torch_module(**{"batch_first": True} | options)
    q, k, v = inputs(6, theirs.kdim, theirs.vdim)
    ours = MultiHeadAttention.from_torch(theirs)(q, k, v)
    if not theirs.batch_first:
        q, k, v = (x.transpose(0, 1) for x in (q, k, v))
    output, weights = theirs(q, k, v, average_attn_weights=False)
    assert_near(ours.output, output if theirs.batch_first else output.transpose(0, 1))
    assert_near(ours.weights, weights)


def test_from_torch_agrees_under_torch_masks_turned_round():
    theirs = torch_module(batch_first=True)
    q, k, v = inputs()
    padding = torch.tensor([[False, False, False, True, True], [False] * 5])
    attn_mask = torch.ones(4, 5, dtype=torch.bool).triu(2)
    expected, _ = theirs(q, k, v, key_padding_mask=padding, attn_mask=attn_mask)
    mask = masks.from_torch_mha(padding)[:, None, None] & masks.from_torch_mha(attn_mask)
    assert_near(MultiHeadAttention.from_torch(theirs)(q, k, v, mask=mask).output, expected)


def test_from_torch_agrees_under_a_mask_for_each_sequence_and_head():
    theirs = torch_module(batch_first=True)
    q, k, v = inputs()
    attn_mask = torch.rand(2 * 3, 4, 5) > 0.5
    attn_mask[..., 0] = False
    expected, _ = theirs(q, k, v, attn_mask=attn_mask)
    mask = masks.from_torch_mha(attn_mask).unflatten(0, (2, 3))
    assert_near(MultiHeadAttention.from_torch(theirs)(q, k, v, mask=mask).output, expected)


def test_from_torch_agrees_under_a_float_bias():
    theirs = torch_module(batch_first=True)
    q, k, v = inputs()
    bias = torch.randn(4, 5, dtype=torch.float64)
    expected, _ = theirs(q, k, v, attn_mask=bias)
    assert_near(MultiHeadAttention.from_torch(theirs)(q, k, v, bias=bias).output, expected)


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_from_torch_keeps_the_dtype(dtype):
    copy = MultiHeadAttention.from_torch(nn.MultiheadAttention(4, 2, dtype=dtype))
    assert {parameter.dtype for parameter in copy.parameters()} == {dtype}


def test_from_torch_copies_and_does_not_share():
    theirs = torch_module()
    before = theirs.out_proj.weight.clone()
    ours = MultiHeadAttention.from_torch(theirs)
    nn.init.zeros_(ours.to_output.weight)
    assert theirs.out_proj.weight.equal(before)


def test_from_torch_keeps_evaluation_mode():
    assert not MultiHeadAttention.from_torch(torch_module(dropout=0.5).eval()).training


def test_concat_then_project_is_the_sum_over_heads():
    module = MultiHeadAttention(6, 3, bias=False, dtype=torch.float64)
    q, k, v = inputs()
    by_head = zip(
        module.to_query.weight.chunk(3),
        module.to_key.weight.chunk(3),
        module.to_value.weight.chunk(3),
        module.to_output.weight.chunk(3, dim=1),
        strict=True,
    )
    total = sum(attend(q @ a.mT, k @ b.mT, v @ c.mT).output @ o.mT for a, b, c, o in by_head)
    assert_near(module(q, k, v).output, total)


def test_one_identity_head_is_scaled_dot():
    module = MultiHeadAttention(4, 1, bias=False, dtype=torch.float64)
    for projection in (module.to_query, module.to_key, module.to_value, module.to_output):
        nn.init.eye_(projection.weight)
    q, k, v = inputs(4, 4, 4)
    assert_near(module(q, k, v).output, attend(q, k, v).output)


def test_grouped_heads_are_full_heads_with_repeated_parameters():
    grouped = MultiHeadAttention(8, 4, kv_heads=2, dtype=torch.float64)
    full = MultiHeadAttention(8, 4, dtype=torch.float64)
    state = grouped.state_dict()
    for name in ("to_key.weight", "to_key.bias", "to_value.weight", "to_value.bias"):
        state[name] = state[name].unflatten(0, (2, 2)).repeat_interleave(2, dim=0).flatten(0, 1)
    full.load_state_dict(state)
    q, k, v = inputs(8, 8, 8)
    assert_near(grouped(q, k, v).output, full(q, k, v).output)


def test_one_key_value_head_is_multi_query_attention():
    module = MultiHeadAttention(8, 4, kv_heads=1)
    assert module.to_key.out_features == 2
    assert module(torch.randn(2, 3, 8)).weights.shape == (2, 4, 3, 3)


def test_alone_a_sequence_attends_to_itself():
    module = MultiHeadAttention(6, 3, dtype=torch.float64)
    x = inputs()[0]
    assert_near(module(x).output, module(x, x, x).output)


def test_value_defaults_to_key():
    module = MultiHeadAttention(6, 3, dtype=torch.float64)
    q, k, _ = inputs()
    assert_near(module(q, k).output, module(q, k, k).output)


def test_weights_and_lse_are_per_head():
    got = MultiHeadAttention(6, 3, dtype=torch.float64)(*inputs())
    assert got.weights.shape == (2, 3, 4, 5)
    assert got.lse.shape == (2, 3, 4)


@pytest.mark.parametrize(
    "shape", [(), (5,), (4, 5), (3, 4, 5), (2, 1, 4, 5), (1, 3, 4, 5), (2, 3, 4, 5), (2, 1, 1, 5)]
)
def test_a_mask_broadcasts_to_batch_heads_n_m(shape):
    module = MultiHeadAttention(6, 3, dtype=torch.float64)
    q, k, v = inputs()
    mask = torch.rand(shape) > 0.4
    full = mask.expand(2, 3, 4, 5)
    assert_near(module(q, k, v, mask=mask).output, module(q, k, v, mask=full).output)


def test_a_query_that_may_attend_to_nothing_gives_the_output_bias():
    module = MultiHeadAttention(6, 3, dtype=torch.float64)
    nn.init.normal_(module.to_output.bias)
    got = module(*inputs(), mask=torch.tensor(False))
    assert_near(got.output, module.to_output.bias.expand(2, 4, 6))


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_bad_padding_reaches_no_parameters_gradient(bad):
    module = MultiHeadAttention(6, 3, dtype=torch.float64)
    lengths = torch.tensor([2, 4])
    clean, mask = inputs()[0], masks.padding(lengths[:, None], 4)
    real = masks.padding(lengths, 4).squeeze(1)  # (batch, n)
    results = []
    for x in (clean, clean.masked_fill(~real[..., None], bad)):
        loss = module(x, mask=mask).output[real].square().sum()
        results.append(torch.autograd.grad(loss, module.parameters()))
    for expected, actual in zip(*results, strict=True):
        assert_near(actual, expected)


def test_under_a_causal_mask_a_nan_reaches_the_rows_that_see_it_and_no_other():
    module = MultiHeadAttention(6, 3, dtype=torch.float64)
    x = inputs()[0]
    x[:, 2] = math.nan
    assert module(x, mask=masks.causal(4)).output.isnan().any(-1).tolist() == [[False, False, True, True]] * 2


def test_a_nan_bias_reaches_the_rows_that_see_it_and_no_parameters_gradient():
    module = MultiHeadAttention(6, 3, dtype=torch.float64)
    bias = torch.tensor([0.0, 0.0, 0.0, math.nan], dtype=torch.float64)
    output = module(inputs()[0], mask=masks.causal(4), bias=bias).output
    assert output.isnan().any(-1).tolist() == [[False, False, False, True]] * 2
    found = torch.autograd.grad(output[:, :-1].sum(), module.parameters())
    assert all(gradient.isfinite().all() for gradient in found)


def test_autocast_may_mix_dtypes():
    with torch.autocast("cpu", dtype=torch.bfloat16):
        output = MultiHeadAttention(6, 3)(torch.randn(2, 4, 6, dtype=torch.bfloat16)).output
    assert output.dtype == torch.bfloat16


def test_one_spoiled_head_spoils_the_output_and_not_the_other_heads_weights():
    module = MultiHeadAttention(6, 3, dtype=torch.float64)
    q, k, v = inputs()
    k[:, -1] = math.nan
    mask = torch.ones(3, 4, 5, dtype=torch.bool)
    mask[1:, :, -1] = False
    got = module(q, k, v, mask=mask)
    assert got.output.isnan().all()
    assert got.weights.isnan().all(-1).all(-1).tolist() == [[True, False, False]] * 2


def test_modules_gradients_are_right():
    module = MultiHeadAttention(4, 2, kv_heads=1, dtype=torch.float64)
    mask = masks.causal(4, 5, align="lower_right")
    leaves = [x.requires_grad_() for x in inputs(4, 4, 4)]
    assert torch.autograd.gradcheck(lambda *xs: module(*xs, mask=mask).output, leaves)
