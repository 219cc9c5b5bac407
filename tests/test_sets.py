"""Attention over sets: against PyTorch Geometric and transformers, in any order, padded and empty."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch_geometric.nn.aggr import utils as geometric
from transformers import PerceiverConfig
from transformers.models.perceiver.modeling_perceiver import PerceiverLayer

from attention_core import masks
from attention_core.multihead import MultiHeadAttention
from attention_core.sets import ISAB, MAB, PMA, PerceiverBlock

DTYPE = torch.float64
LENGTHS = torch.tensor([2, 5])
REAL = masks.padding(LENGTHS, 5).squeeze(1)  # (batch, n)
PADDING = masks.padding(LENGTHS[:, None], 5)  # (batch, 1, 1, n)


def assert_near(actual, expected, atol=1e-12):
    torch.testing.assert_close(actual, expected, atol=atol, rtol=0)


def scattered(module):
    """Random gains and biases too: at 1 and 0 a forgotten one would not show."""
    for parameter in module.parameters():
        nn.init.normal_(parameter)
    return module.to(DTYPE)


def elements(n=5, width=6):
    return torch.randn(2, n, width, dtype=DTYPE)


def mab(**options):
    return scattered(MAB(6, 3, **options))


def isab():
    return scattered(ISAB(6, 3, 4))


def pma():
    return scattered(PMA(6, 3, 2))


def perceiver(**options):
    return scattered(PerceiverBlock(6, 3, **options))


# PyTorch Geometric


def fill_mab(ours, theirs):
    ours.attention = MultiHeadAttention.from_torch(theirs.attn)
    ours.attention_norm.load_state_dict(theirs.layer_norm1.state_dict())
    ours.feed.load_state_dict(theirs.lin.state_dict())
    ours.feed_norm.load_state_dict(theirs.layer_norm2.state_dict())


def test_mab_is_that_of_pytorch_geometric():
    theirs = scattered(geometric.MultiheadAttentionBlock(6, 3))
    ours = mab()
    fill_mab(ours, theirs)
    query, key = elements(4), elements(5)
    assert_near(ours(query, key).output, theirs(query, key))
    assert_near(ours(query, key, mask=PADDING).output, theirs(query, key, y_mask=REAL))


def test_mab_alone_is_their_set_attention_block():
    theirs = scattered(geometric.SetAttentionBlock(6, 3))
    ours = mab()
    fill_mab(ours, theirs.mab)
    assert_near(ours(x := elements()).output, theirs(x))


def test_isab_is_that_of_pytorch_geometric():
    theirs = scattered(geometric.InducedSetAttentionBlock(6, 4, 3))
    ours = isab()
    fill_mab(ours.summary, theirs.mab1)
    fill_mab(ours.spread, theirs.mab2)
    ours.points = nn.Parameter(theirs.ind[0])
    x = elements()
    assert_near(ours(x).output, theirs(x))
    # Rows of padding differ: theirs leave attention out of them.
    assert_near(ours(x, mask=PADDING).output[REAL], theirs(x, REAL)[REAL])


def test_pma_is_that_of_pytorch_geometric():
    theirs = scattered(geometric.PoolingByMultiheadAttention(6, 2, 3))
    ours = pma()
    fill_mab(ours.block, theirs.mab)
    ours.feed.load_state_dict(theirs.lin.state_dict())
    ours.seeds = nn.Parameter(theirs.seed[0])
    x = elements()
    assert_near(ours(x).output, theirs(x))
    assert_near(ours(x, mask=PADDING).output, theirs(x, REAL))


# transformers


def fill_layer(ours, theirs):
    """From their `PerceiverLayer`, whose attention keeps its norms with it."""
    attention = theirs.attention.self
    ours.query_norm.load_state_dict(attention.layernorm1.state_dict())
    if ours.key_norm is not None:
        ours.key_norm.load_state_dict(attention.layernorm2.state_dict())
    ours.attention.to_query.load_state_dict(attention.query.state_dict())
    ours.attention.to_key.load_state_dict(attention.key.state_dict())
    ours.attention.to_value.load_state_dict(attention.value.state_dict())
    ours.attention.to_output.load_state_dict(theirs.attention.output.dense.state_dict())
    ours.mlp[0].load_state_dict(theirs.layernorm.state_dict())
    ours.mlp[1].load_state_dict(theirs.mlp.dense1.state_dict())
    ours.mlp[3].load_state_dict(theirs.mlp.dense2.state_dict())


def test_the_perceiver_block_is_one_cross_and_two_self_attention_layers_of_transformers():
    config = PerceiverConfig(hidden_act="gelu", cross_attention_shape_for_attention="q")
    options = {"num_heads": 3, "q_dim": 6, "widening_factor": 2}
    read = scattered(PerceiverLayer(config, is_cross_attention=True, kv_dim=4, **options)).eval()
    think = [scattered(PerceiverLayer(config, kv_dim=6, **options)).eval() for _ in range(2)]
    ours = perceiver(key_width=4, layers=2, widening=2)
    fill_layer(ours.read, read)
    for layer, theirs in zip(ours.think, think, strict=True):
        fill_layer(layer, theirs)

    latents, inputs = elements(3), elements(5, width=4)
    hidden = torch.zeros(2, 1, 1, 5, dtype=DTYPE).masked_fill(~PADDING, -math.inf)
    expected, weights = read(latents, inputs=inputs, inputs_mask=hidden, output_attentions=True)
    for theirs in think:
        (expected,) = theirs(expected)
    got = ours(latents, inputs, mask=PADDING)
    assert_near(got.output, expected)
    assert_near(got.weights, weights)


# Order


@given(n=st.integers(1, 7), seed=st.integers(0, 2**16))
def test_permuting_a_set_permutes_what_mab_and_isab_say_of_it(n, seed):
    torch.manual_seed(seed)
    x, order = elements(n), torch.randperm(n)
    for module in (mab(), isab()):
        assert_near(module(x[:, order]).output, module(x).output[:, order])


@given(n=st.integers(1, 7), seed=st.integers(0, 2**16))
def test_permuting_a_set_changes_nothing_in_what_pma_and_perceiver_say_of_it(n, seed):
    torch.manual_seed(seed)
    x, order, latents = elements(n), torch.randperm(n), elements(3)
    pool, block = pma(), perceiver()
    assert_near(pool(x[:, order]).output, pool(x).output)
    assert_near(block(latents, x[:, order]).output, block(latents, x).output)


# Shapes


def test_isab_gives_the_weights_from_elements_to_inducing_points():
    module, x = isab(), elements()
    got, summary = module(x), module.summarise(x)
    assert got.output.shape == (2, 5, 6)
    assert got.weights.shape == (2, 3, 5, 4)
    assert got.lse.shape == (2, 3, 5)
    assert summary.output.shape == (2, 4, 6)
    assert summary.weights.shape == (2, 3, 4, 5)


def test_the_two_halves_of_isab_compose_to_weights_of_elements_on_elements():
    module, x = isab(), elements()
    composed = module(x).weights @ module.summarise(x, mask=PADDING).weights
    assert_near(composed.sum(-1), torch.ones(2, 3, 5, dtype=DTYPE))
    assert (composed[0, ..., 2:] == 0).all()


def test_pma_gives_a_row_for_each_seed():
    got = pma()(elements())
    assert (got.output.shape, got.weights.shape) == ((2, 2, 6), (2, 3, 2, 5))


class Largest(TorchDispatchMode):
    """The number of entries of the largest tensor that an operation gives."""

    size = 0

    def __torch_dispatch__(self, operation, types, arguments=(), options=None):
        result = operation(*arguments, **(options or {}))
        tensors = result if isinstance(result, (tuple, list)) else (result,)
        self.size = max([self.size, *(x.numel() for x in tensors if isinstance(x, torch.Tensor))])
        return result


@pytest.mark.parametrize("build", [isab, pma, perceiver])
def test_memory_is_linear_in_the_size_of_the_set(build):
    module, sizes = build(), {}
    for n in (100, 400):
        arguments = (elements(3), elements(n)) if build is perceiver else (elements(n),)
        with torch.no_grad(), Largest() as largest:
            module(*arguments)
        sizes[n] = largest.size
    assert sizes[400] == 4 * sizes[100]


# Padded and empty sets


def test_a_padded_set_says_what_it_says_alone():
    x, latents = elements(), elements(3)
    for module, arguments in ((isab(), ()), (pma(), ()), (perceiver(), (latents,)), (mab(), (latents,))):
        padded = module(*arguments, x, mask=PADDING).output
        alone = module(*(part[:1] for part in arguments), x[:1, :2]).output
        rows = slice(2) if isinstance(module, ISAB) else slice(None)
        assert_near(padded[:1, rows], alone[:, rows])


def test_an_empty_set_leaves_weights_of_zero_and_a_finite_output_and_gradients():
    x, latents = elements(), elements(3)
    mask = torch.tensor([True, False])[:, None, None, None]  # the second set is empty
    for module, arguments in ((pma(), ()), (perceiver(), (latents,)), (mab(), (latents,))):
        got = module(*arguments, x, mask=mask)
        assert (got.weights[1] == 0).all()
        assert (got.lse[1] == -math.inf).all()
        assert got.output.isfinite().all()
        assert all(g.isfinite().all() for g in torch.autograd.grad(got.output.sum(), module.parameters()))


def test_a_set_of_no_element_at_all_is_pooled_to_what_the_seeds_say():
    module = pma()
    nothing = module(elements(0)).output
    assert_near(nothing, module(elements(), mask=torch.tensor(False)).output)


def test_an_isab_whose_set_is_empty_is_finite():
    module = isab()
    output = module(elements(), mask=torch.tensor(False)).output
    assert output.isfinite().all()
    assert all(g.isfinite().all() for g in torch.autograd.grad(output.sum(), module.parameters()))


@pytest.mark.parametrize("bad", [math.nan, math.inf])
@pytest.mark.parametrize("build", [mab, isab, pma, perceiver])
def test_bad_padding_reaches_no_output_and_no_parameters_gradient(build, bad):
    module, clean, latents = build(), elements(), elements(3)
    results = []
    for x in (clean, clean.masked_fill(~REAL[..., None], bad)):
        output = module(*([latents] if build is perceiver else []), x, mask=PADDING).output
        seen = output[REAL] if build in (mab, isab) else output
        results.append((seen, *torch.autograd.grad(seen.square().sum(), module.parameters())))
    for expected, actual in zip(*results, strict=True):
        assert_near(actual, expected)


def test_a_nan_element_spoils_its_own_row_and_those_that_see_it():
    x = elements()
    x[:, 2] = math.nan
    spoiled = mab()(x, mask=masks.causal(5)).output.isnan().any(-1)
    assert spoiled.tolist() == [[False, False, True, True, True]] * 2
    blind = mab()(x, elements(), mask=torch.tensor(False)).output.isnan().any(-1)
    assert blind.tolist() == [[False, False, True, False, False]] * 2


def test_a_latent_that_read_a_nan_tells_all():
    x = elements()
    x[:, 4] = math.nan
    mask = torch.ones(3, 5, dtype=torch.bool)
    mask[1:, 4] = False  # only the first latent reads it
    assert perceiver()(elements(3), x, mask=mask).output.isnan().all()
    mask[0, 4] = False
    assert perceiver()(elements(3), x, mask=mask).output.isfinite().all()


# Widths, devices and dtypes


def test_keys_may_have_a_width_of_their_own():
    assert mab(key_width=2)(elements(3), elements(5, width=2)).output.shape == (2, 3, 6)
    assert perceiver(key_width=2)(elements(3), elements(5, width=2)).output.shape == (2, 3, 6)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("build", [mab, isab, pma, perceiver])
def test_autocast_may_mix_dtypes(build, dtype):
    module, x = build().float(), torch.randn(2, 5, 6, dtype=dtype)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        output = module(*([x] if build is perceiver else []), x).output
    assert output.isfinite().all()
