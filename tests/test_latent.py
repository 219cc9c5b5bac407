"""Latent attention: against the released models' code, absorbed against expanded, and as a cache."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode
from transformers.models.deepseek_v2 import modeling_deepseek_v2 as v2
from transformers.models.deepseek_v3 import modeling_deepseek_v3 as v3

from attention_core import masks, reference
from attention_core.latent import Compressed, LatentAttention

SIZES = {"latent_width": 5, "head_width": 4, "rope_width": 2, "value_width": 3}
DTYPE = torch.float64

both_query_paths = pytest.mark.parametrize("query_latent_width", [None, 7])
both_orders = pytest.mark.parametrize("absorbed", [False, True])


def assert_near(actual, expected, atol=1e-12):
    torch.testing.assert_close(actual, expected, atol=atol, rtol=0)


def built(width=6, heads=3, **options):
    module = LatentAttention(width, heads, dtype=DTYPE, **SIZES | options)
    for parameter in module.parameters():  # the norms' gains of 1 would hide a forgotten gain
        nn.init.normal_(parameter)
    return module


def sequence(n=4, width=6):
    return torch.randn(2, n, width, dtype=DTYPE)


def joined(*parts):
    return Compressed(*(torch.cat(same, dim=1) for same in zip(*parts, strict=True)))


# The released models


def copied(theirs):
    """Ours with the weights of a released model's attention; it packs keys with values, head by head."""
    asking = theirs.q_lora_rank
    ours = LatentAttention(
        theirs.hidden_size,
        theirs.num_heads,
        latent_width=theirs.kv_lora_rank,
        head_width=theirs.qk_nope_head_dim,
        rope_width=theirs.qk_rope_head_dim,
        value_width=theirs.v_head_dim,
        query_latent_width=asking,
        dtype=DTYPE,
    )
    latent, rope_key = theirs.kv_a_proj_with_mqa.weight.split([ours.latent_width, ours.rope_width])
    packed = theirs.kv_b_proj.weight.unflatten(0, (ours.heads, -1))
    key, value = packed.split([ours.head_width, ours.value_width], dim=1)
    sources = {
        "to_query": (theirs.q_proj if asking is None else theirs.q_b_proj).weight,
        "to_latent": latent,
        "to_rope_key": rope_key,
        "latent_norm": theirs.kv_a_layernorm.weight,
        "to_key": key.flatten(0, 1),
        "to_value": value.flatten(0, 1),
        "to_output": theirs.o_proj.weight,
    }
    if asking is not None:
        sources |= {"to_query_latent": theirs.q_a_proj.weight, "query_norm": theirs.q_a_layernorm.weight}
    ours.load_state_dict({f"{name}.weight": weight for name, weight in sources.items()})
    return ours


def released(attention, config, asking):
    """A released model's attention, in float64 throughout: its own norms round to float32."""
    theirs = attention(
        config(
            hidden_size=6,
            num_attention_heads=3,
            num_key_value_heads=3,
            q_lora_rank=asking,
            kv_lora_rank=5,
            qk_nope_head_dim=4,
            qk_rope_head_dim=4,
            v_head_dim=3,
            attention_bias=False,
            attn_implementation="sdpa",  # "eager" takes its softmax in float32
        ),
        layer_idx=0,
    ).to(DTYPE)
    theirs.kv_a_layernorm = nn.RMSNorm(5, eps=1e-6, dtype=DTYPE)
    if asking is not None:
        theirs.q_a_layernorm = nn.RMSNorm(asking, eps=1e-6, dtype=DTYPE)
    for parameter in theirs.parameters():
        nn.init.normal_(parameter)
    return theirs


def angles(n, width):
    """Of rotary pairs, (1, n, width / 2), in float64, which their own module has not."""
    frequencies = 10000.0 ** (-torch.arange(0, width, 2, dtype=DTYPE) / width)
    return torch.arange(n, dtype=DTYPE)[None, :, None] * frequencies


@both_orders
@both_query_paths
def test_the_output_is_that_of_deepseek_v3(query_latent_width, absorbed):
    theirs = released(v3.DeepseekV3Attention, v3.DeepseekV3Config, query_latent_width)
    x, turns = sequence(), angles(4, 4).repeat(1, 1, 2)
    bias = torch.zeros(4, 4, dtype=DTYPE).masked_fill(~masks.causal(4), -math.inf)
    expected, _ = theirs(x, (turns.cos(), turns.sin()), bias[None, None])
    assert_near(copied(theirs)(x, mask=masks.causal(4), absorbed=absorbed).output, expected)


@both_query_paths
def test_the_output_is_that_of_deepseek_v2(query_latent_width, monkeypatch):
    theirs = released(v2.DeepseekV2Attention, v2.DeepseekV2Config, query_latent_width)

    def rotated(query, key, turns):  # theirs goes through float32; the same complex product in float64
        pairs = (torch.view_as_complex(x.unflatten(-1, (-1, 2)).contiguous()) for x in (query, key))
        return tuple(torch.view_as_real(pair * turns[:, None]).flatten(-2) for pair in pairs)

    monkeypatch.setattr(v2, "apply_rotary_emb", rotated)
    x, turns = sequence(), torch.polar(torch.ones(1, dtype=DTYPE), angles(4, 4))
    bias = torch.zeros(4, 4, dtype=DTYPE).masked_fill(~masks.causal(4), -math.inf)
    expected, _ = theirs(x, bias[None, None], position_embeddings=turns)
    assert_near(copied(theirs)(x, mask=masks.causal(4)).output, expected)


# Absorbed


@given(
    sizes=st.tuples(*[st.integers(1, 7)] * 6),
    rope_width=st.sampled_from([2, 4, 6]),
    asking=st.sampled_from([None, 3]),
    seed=st.integers(0, 2**16),
)
def test_absorbed_is_expanded_in_output_weights_lse_and_gradients(sizes, rope_width, asking, seed):
    torch.manual_seed(seed)
    n, width, heads, latent_width, head_width, value_width = sizes
    module = built(
        width,
        heads,
        latent_width=latent_width,
        head_width=head_width,
        rope_width=rope_width,
        value_width=value_width,
        query_latent_width=asking,
    )
    x, mask = sequence(n, width), torch.rand(2, heads, n, n) > 0.4  # rows without a key among them
    results = []
    for absorbed in (False, True):
        leaf = x.clone().requires_grad_()
        got = module(leaf, mask=mask, absorbed=absorbed)
        loss = got.output.square().sum()
        results.append((*got, *torch.autograd.grad(loss, [leaf, *module.parameters()])))
    for expected, actual in zip(*results, strict=True):
        scale = max(1.0, expected[expected.isfinite()].abs().max().item() if expected.numel() else 1.0)
        assert_near(actual, expected, atol=1e-12 * scale)


@pytest.mark.parametrize("shape", [(), (5,), (4, 5), (3, 4, 5), (2, 1, 4, 5), (2, 3, 4, 5)])
def test_absorbed_takes_masks_and_biases_of_every_shape(shape):
    module, x, memory = built(), sequence(4), built().compress(sequence(5))
    options = {"mask": torch.rand(shape) > 0.3, "bias": torch.randn(shape, dtype=DTYPE)}
    expected, actual = (module(x, memory, absorbed=order, **options) for order in (False, True))
    for got, wanted in zip(actual, expected, strict=True):
        assert_near(got, wanted)


class Largest(TorchDispatchMode):
    """The size of the largest tensor that an operation gives."""

    size = 0

    def __torch_dispatch__(self, operation, types, arguments=(), options=None):
        result = operation(*arguments, **(options or {}))
        tensors = result if isinstance(result, (tuple, list)) else (result,)
        sizes = [x.untyped_storage().nbytes() for x in tensors if isinstance(x, torch.Tensor)]
        self.size = max([self.size, *sizes])
        return result


def test_absorbed_never_builds_the_keys_of_the_heads():
    options = {"latent_width": 8, "head_width": 16, "value_width": 16, "rope_width": 4}
    module = built(16, 8, **options)
    memory, x = module.compress(sequence(200, 16)), sequence(1, 16)
    used = {}
    for absorbed in (False, True):
        with torch.no_grad(), Largest() as largest:
            module(x, memory, absorbed=absorbed)
        used[absorbed] = largest.size
    keys = 2 * 8 * 200 * 16 * 8  # batch * heads * m * head_width, 8 bytes each
    assert used[False] >= keys
    assert used[True] < keys / 4


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
def test_absorbed_in_low_precision_is_as_near_as_expanded(dtype):
    module = LatentAttention(16, 4, latent_width=12, head_width=8, rope_width=4, dtype=DTYPE)
    module.to(dtype)
    x = sequence(32, 16).to(dtype)
    plain, absorbed = (module(x, absorbed=order).output.double() for order in (False, True))
    golden = module.double()(x.double()).output
    rounding = (golden.to(dtype) + 0.3 - 0.3).double()
    budget = 2 * (plain - golden).abs().max() + 2 * (rounding - golden).abs().max()
    assert (absorbed - golden).abs().max() <= budget


# The cache


@both_orders
def test_decoding_step_by_step_equals_the_whole(absorbed):
    module, x = built(query_latent_width=7), sequence(6)
    whole = module(x, mask=masks.causal(6)).output
    memory, rows = None, []
    for i in range(6):
        new = module.compress(x[:, i : i + 1], positions=torch.tensor([i]))
        memory = new if memory is None else joined(memory, new)
        rows.append(module(x[:, i : i + 1], memory, absorbed=absorbed).output)
    assert_near(torch.cat(rows, dim=1), whole)


def test_a_chunk_of_queries_sees_the_memory_under_a_lower_right_mask():
    module, x = built(), sequence(6)
    whole = module(x, mask=masks.causal(6)).output
    mask = masks.causal(2, 6, align="lower_right")
    assert_near(module(x[:, 4:], module.compress(x), mask=mask).output, whole[:, 4:])


def test_the_cache_width_counts_what_is_kept_of_a_token():
    module = built()
    kept = module.compress(sequence(1))
    assert module.cache_width == sum(part[0, 0].numel() for part in kept) == 7


def test_moving_all_positions_alike_changes_nothing():
    module, x = built(), sequence()
    there = module(x, positions=torch.arange(100, 104)).output
    assert_near(there, module(x).output)


def test_positions_matter():
    module, x = built(), sequence()
    apart = module(x, positions=torch.tensor([0, 5, 10, 15])).output
    assert (apart - module(x).output).abs().max() > 1e-3


def test_the_rotary_key_is_one_for_all_heads_and_the_last_features_of_each_query():
    """With a latent of gain 0 nothing but positions and the shared key is left of the scores."""
    module, x = built(), sequence()
    nn.init.zeros_(module.to_key.weight)
    query = module.to_query(x).unflatten(-1, (3, 6))[..., 4:]  # (batch, n, heads, rope_width)
    key = module.compress(x).rope_key.detach().numpy()
    turned = [reference.rope(query[:, :, h].detach().numpy()) for h in range(3)]
    scores = np.stack([np.einsum("bir,bjr->bij", one, key) for one in turned], axis=1) / math.sqrt(4 + 2)
    assert_near(module(x).weights, torch.from_numpy(scores).softmax(-1))


# Masks and what stands behind them


@both_orders
def test_a_query_that_may_attend_to_nothing_gives_zero(absorbed):
    got = built()(sequence(), mask=torch.tensor(False), absorbed=absorbed)
    assert (got.output == 0).all()
    assert (got.weights == 0).all()
    assert (got.lse == -math.inf).all()


@both_orders
@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_bad_padding_reaches_no_parameters_gradient(bad, absorbed):
    module, lengths, clean = built(query_latent_width=7), torch.tensor([2, 4]), sequence()
    mask, real = masks.padding(lengths[:, None], 4), masks.padding(lengths, 4).squeeze(1)
    results = []
    for x in (clean, clean.masked_fill(~real[..., None], bad)):
        loss = module(x, mask=mask, absorbed=absorbed).output[real].square().sum()
        results.append(torch.autograd.grad(loss, module.parameters()))
    for expected, actual in zip(*results, strict=True):
        assert_near(actual, expected)


@both_orders
def test_a_nan_in_the_memory_reaches_the_rows_that_see_it_and_no_gradient_of_the_others(absorbed):
    module, x = built(), sequence()
    memory = Compressed(*(part.detach() for part in module.compress(x)))
    memory.latent[:, 3] = math.nan
    output = module(x, memory, mask=masks.causal(4), absorbed=absorbed).output
    assert output.isnan().any(-1).tolist() == [[False, False, False, True]] * 2
    used = [module.to_query.weight, module.to_key.weight, module.to_value.weight, module.to_output.weight]
    assert all(grad.isfinite().all() for grad in torch.autograd.grad(output[:, :3].sum(), used))


def test_one_mask_for_each_head_is_kept_apart():
    module, x = built(), sequence()
    mask = torch.ones(3, 4, 4, dtype=torch.bool)
    mask[1] = False
    for absorbed in (False, True):
        empty = (module(x, mask=mask, absorbed=absorbed).weights == 0).all(-1).all(-1)
        assert empty.tolist() == [[False, True, False]] * 2


@both_orders
def test_autocast_may_mix_dtypes(absorbed):
    module = LatentAttention(6, 3, **SIZES)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        x = torch.randn(2, 4, 6, dtype=torch.bfloat16)
        assert module(x, absorbed=absorbed).output.dtype == torch.bfloat16


def test_without_a_value_width_values_are_as_wide_as_the_heads():
    module = LatentAttention(6, 3, latent_width=5, head_width=4, rope_width=2)
    assert module.to_value.out_features == 3 * 4
