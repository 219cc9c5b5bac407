"""Score functions: the relations between them, other people's layers, and numbers one can check by hand."""

import math
import os
from functools import partial

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch_geometric.nn import GATConv, GATv2Conv

from attention_core import attend, reference, scores

os.environ["KERAS_BACKEND"] = "torch"  # before the import, which would look for TensorFlow
import keras


def pair(dq=4, dk=4):
    return torch.randn(2, 3, dq, dtype=torch.float64), torch.randn(2, 5, dk, dtype=torch.float64)


def assert_near(actual, expected):
    torch.testing.assert_close(actual, expected, atol=1e-12, rtol=0)


def test_dot_of_a_worked_pair():
    q, k = torch.tensor([[1.0, 2.0]]), torch.tensor([[3.0, 4.0], [0.0, -1.0]])
    assert scores.dot(q, k).tolist() == [[11.0, -2.0]]


def test_scaled_dot_is_dot_over_the_root_of_the_width():
    q, k = pair(9, 9)
    assert_near(scores.scaled_dot(q, k), scores.dot(q, k) / 3)


def test_scaled_dot_of_unit_variance_has_unit_variance():
    q, k = torch.randn(200, 512), torch.randn(200, 512)
    assert scores.scaled_dot(q, k).std().item() == pytest.approx(1, abs=0.05)


def test_general_with_the_identity_is_dot():
    q, k = pair()
    assert_near(scores.general(q, k, torch.eye(4, dtype=q.dtype)), scores.dot(q, k))


def test_general_takes_the_query_on_the_left_of_the_weight():
    q, k = pair(2, 3)
    weight = torch.randn(2, 3, dtype=q.dtype)
    assert_near(scores.general(q, k, weight), torch.einsum("bna,ac,bmc->bnm", q, weight, k))


def test_additive_is_concat_with_stacked_weights():
    q, k = pair(4, 3)
    w_query, w_key, v = (torch.randn(*shape, dtype=q.dtype) for shape in ((6, 4), (6, 3), (6,)))
    assert_near(
        scores.concat(q, k, torch.cat([w_query, w_key], dim=1), v), scores.additive(q, k, w_query, w_key, v)
    )


def test_additive_is_bounded_by_the_norm_of_v():
    q, k = pair()
    w_query, w_key, v = (torch.randn(*shape, dtype=q.dtype) for shape in ((6, 4), (6, 4), (6,)))
    assert (scores.additive(1e6 * q, k, w_query, w_key, v).abs() <= v.abs().sum() + 1e-12).all()


@pytest.mark.parametrize(
    ("name", "shapes"),
    [
        ("dot", {}),
        ("scaled_dot", {}),
        ("general", {"weight": (4, 4)}),
        ("concat", {"weight": (6, 8), "v": (6,)}),
        ("additive", {"w_query": (6, 4), "w_key": (6, 4), "v": (6,)}),
        ("cosine", {}),
        ("gat", {"weight": (6, 4), "a": (12,)}),
        ("gat_v2", {"weight": (6, 8), "a": (6,)}),
    ],
)
def test_scores_are_their_reference_pair_by_pair(name, shapes):
    q, k = pair()
    parameters = {key: torch.randn(*shape, dtype=q.dtype) for key, shape in shapes.items()}
    arrays = {key: parameter.numpy() for key, parameter in parameters.items()}
    got = getattr(scores, name)(q, k, **parameters)
    for b, i, j in torch.cartesian_prod(torch.arange(2), torch.arange(3), torch.arange(5)).tolist():
        expected = getattr(reference, name)(q[b, i].numpy(), k[b, j].numpy(), **arrays)
        assert math.isclose(got[b, i, j].item(), expected, abs_tol=1e-12, rel_tol=0)


def test_scores_take_any_number_of_batch_axes():
    q, k = torch.randn(3, 4, dtype=torch.float64), torch.randn(2, 6, 5, 4, dtype=torch.float64)
    queries = q.expand(2, 6, 3, 4)
    assert scores.dot(queries, k).shape == (2, 6, 3, 5)
    assert_near(scores.dot(queries, k)[1, 2], scores.dot(q, k[1, 2]))


# Cosine


def test_cosine_is_dot_of_vectors_of_length_one_and_torch_s():
    q, k = pair()
    unit = torch.nn.functional.normalize
    assert_near(scores.cosine(q, k), scores.dot(unit(q, dim=-1), unit(k, dim=-1)))
    assert_near(scores.cosine(q, k), torch.cosine_similarity(q[:, :, None], k[:, None], dim=-1))


@given(st.integers(-30, 30), st.integers(-30, 30))
def test_cosine_does_not_see_lengths(power, other):
    q, k = pair()
    assert_near(scores.cosine(q * 10.0**power, k * 10.0**other), scores.cosine(q, k))


def test_cosine_with_a_zero_vector_is_zero_and_has_a_finite_gradient():
    q, k = pair()
    q[:, 1] = 0
    q.requires_grad_()
    got = scores.cosine(q, k)
    assert (got[:, 1] == 0).all()
    with torch.autograd.detect_anomaly(check_nan=True):
        (gradient,) = torch.autograd.grad(got.sum(), q)
    assert gradient.isfinite().all()


@pytest.mark.parametrize(
    ("dtype", "extreme"), [(torch.float16, 6e4), (torch.float16, 6e-8), (torch.float32, 1e38)]
)
def test_cosine_neither_overflows_nor_vanishes_at_the_ends_of_the_range(dtype, extreme):
    x = torch.full((1, 64), extreme, dtype=dtype)
    torch.testing.assert_close(scores.cosine(x, -x), torch.tensor([[-1.0]], dtype=dtype))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_cosine_in_low_precision_stays_within_the_error_budget(dtype):
    q, k = torch.randn(2, 50, 64).to(dtype), torch.randn(2, 50, 64).to(dtype)
    exact = scores.cosine(q.double(), k.double())
    plain = torch.nn.functional.normalize(q, dim=-1) @ torch.nn.functional.normalize(k, dim=-1).mT
    golden = exact.to(dtype)
    slack = 2 * (golden + 0.3 - 0.3 - golden).abs().max()
    got = scores.cosine(q, k)
    assert got.dtype == dtype
    assert (got - exact).abs().max() <= 2 * (plain - exact).abs().max() + slack


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_cosine_in_low_precision_is_rounded_once(dtype):
    q, k = torch.randn(2, 50, 64).to(dtype), torch.randn(2, 50, 64).to(dtype)
    exact = scores.cosine(q.double(), k.double())
    half_a_step = torch.finfo(dtype).eps / 2 * exact.abs()
    assert ((scores.cosine(q, k) - exact).abs() <= half_a_step + 1e-6).all()


# Graphs


def graph():
    """Eight nodes; who listens to whom, self-loops included, as a mask and as edges (source, target)."""
    mask = (torch.rand(8, 8) < 0.4) | torch.eye(8, dtype=torch.bool)
    target, source = mask.nonzero(as_tuple=True)
    return torch.randn(8, 5, dtype=torch.float64), mask, torch.stack([source, target])


def edge_weights(layer, x, edges):
    """Their weight for each edge, as a matrix of targets and sources."""
    _, (edges, alpha) = layer(x, edges, return_attention_weights=True)
    weights = torch.zeros(len(x), len(x), dtype=x.dtype)
    weights[edges[1], edges[0]] = alpha.squeeze(-1)
    return weights


def test_gat_under_the_adjacency_is_geometric_s_gat_conv():
    x, mask, edges = graph()
    layer = GATConv(5, 3, bias=False).double()
    a = torch.cat([layer.att_dst.flatten(), layer.att_src.flatten()])  # the query is the target
    weight = layer.lin.weight
    got = attend(x, x, x @ weight.mT, score=partial(scores.gat, weight=weight, a=a), mask=mask)
    assert_near(got.weights, edge_weights(layer, x, edges))
    assert_near(got.output, layer(x, edges))


def test_gat_v2_under_the_adjacency_is_geometric_s_gat_v2_conv():
    x, mask, edges = graph()
    layer = GATv2Conv(5, 3, bias=False).double()
    weight = torch.cat([layer.lin_r.weight, layer.lin_l.weight], dim=1)  # r of the target, l of the source
    score = partial(scores.gat_v2, weight=weight, a=layer.att.flatten())
    got = attend(x, x, x @ layer.lin_l.weight.mT, score=score, mask=mask)
    assert_near(got.weights, edge_weights(layer, x, edges))
    assert_near(got.output, layer(x, edges))


@given(st.integers(0, 2**32 - 1))
def test_gat_is_static_as_every_query_ranks_the_keys_alike(seed):
    torch.manual_seed(seed)
    q, k = pair()
    got = scores.gat(q, k, torch.randn(6, 4, dtype=q.dtype), torch.randn(12, dtype=q.dtype))
    ranks = got.argsort(-1)
    assert ranks.equal(ranks[:, :1].expand_as(ranks))


def test_gat_v2_is_dynamic_as_each_query_may_prefer_a_key_of_its_own():
    x = torch.eye(3)
    weight = torch.cat([torch.eye(3), -torch.eye(3)], dim=1)  # hidden: query - key, 0 where they are equal
    negative_part = -torch.ones(3)
    both = torch.cat([weight, -weight])  # |query - key|, up to the leak
    got = scores.gat_v2(x, x, both, torch.cat([negative_part, negative_part]))
    assert got.argmax(-1).tolist() == [0, 1, 2]


def test_gat_is_gat_v2_with_one_hidden_unit():
    q, k = pair()
    weight, a = torch.randn(6, 4, dtype=q.dtype), torch.randn(12, dtype=q.dtype)
    one = torch.cat([a[:6] @ weight, a[6:] @ weight])[None]
    assert_near(scores.gat_v2(q, k, one, torch.ones(1, dtype=q.dtype)), scores.gat(q, k, weight, a))


# Places instead of contents


def test_location_reads_the_query_alone_and_one_row_of_weights_a_key():
    q, k = pair(4, 3)
    weight = torch.randn(9, 4, dtype=q.dtype)
    assert_near(scores.location(q, k, weight), torch.nn.functional.linear(q, weight)[..., :5])
    assert scores.location(q, k + 1, weight).equal(scores.location(q, k, weight))


def test_positional_reads_no_content():
    q, k = pair()
    logits = torch.randn(7, 7, dtype=q.dtype)
    got = scores.positional(q, k, logits)
    assert got.equal(scores.positional(q + 1, k - 1, logits))
    assert_near(got, (logits[:3, :5] / 2).expand(2, 3, 5))


def test_positional_has_a_table_a_head_shared_by_the_batch():
    q, k = torch.randn(2, 3, 4, 8), torch.randn(2, 3, 6, 8)
    logits = torch.randn(3, 6, 6)
    torch.testing.assert_close(
        scores.positional(q, k, logits), (logits[:, :4] / math.sqrt(8)).expand(2, 3, 4, 6)
    )


@given(*(st.integers(1, 7) for _ in range(4)), st.integers(0, 3))
def test_factorized_positional_is_positional_with_the_product(n, m, d, rank, spare):
    longest = max(n, m, rank) + spare
    q, k = torch.randn(2, 3, n, d, dtype=torch.float64), torch.randn(2, 3, m, d, dtype=torch.float64)
    f_query, f_key = (torch.randn(3, longest, rank, dtype=q.dtype) for _ in range(2))
    assert_near(
        scores.factorized_positional(q, k, f_query, f_key), scores.positional(q, k, f_query @ f_key.mT)
    )


@pytest.mark.parametrize("name", ["location", "positional", "factorized_positional"])
def test_scores_by_place_are_their_reference(name, rng):
    shapes = {
        "location": {"weight": (6, 4)},
        "positional": {"logits": (2, 6, 6)},
        "factorized_positional": {"f_query": (2, 6, 2), "f_key": (2, 6, 2)},
    }
    arrays = {"query": (3, 2, 3, 4), "key": (3, 2, 5, 4), "value": (3, 2, 5, 2)} | shapes[name]
    arrays = {key: rng.normal(size=shape) for key, shape in arrays.items()}
    q, k, v, *parameters = map(torch.from_numpy, arrays.values())
    parameters = dict(zip(shapes[name], parameters, strict=True))
    got = attend(q, k, v, score=partial(getattr(scores, name), **parameters))
    for actual, expected in zip(got, getattr(reference, name)(**arrays), strict=True):
        np.testing.assert_allclose(actual, expected, atol=1e-12, rtol=0)


# Keras, whose layers take [query, value, key]


def test_dot_is_keras_attention():
    q, k = (x.float() for x in pair())
    v = torch.randn(2, 5, 6)
    output, weights = keras.layers.Attention()([q, v, k], return_attention_scores=True)
    got = attend(q, k, v, score=scores.dot)
    torch.testing.assert_close((got.output, got.weights), (output, weights))


def test_additive_without_projections_is_keras_additive_attention():
    q, k = (x.float() for x in pair())
    v = torch.randn(2, 5, 6)
    layer = keras.layers.AdditiveAttention()
    layer.build([q.shape, v.shape, k.shape])
    layer.scale.assign(torch.randn(4))
    output, weights = layer([q, v, k], return_attention_scores=True)
    score = partial(scores.additive, w_query=torch.eye(4), w_key=torch.eye(4), v=layer.scale.value.detach())
    got = attend(q, k, v, score=score)
    torch.testing.assert_close((got.output, got.weights), (output.detach(), weights.detach()))


def test_concat_of_one_shared_projection_is_keras_attention_in_concat_mode():
    q, k = (x.float() for x in pair())
    v = torch.randn(2, 5, 6)
    layer = keras.layers.Attention(score_mode="concat", use_scale=True)
    layer.build([q.shape, v.shape, k.shape])
    layer.scale.assign(0.7)
    layer.concat_score_weight.assign(1.3)  # one number for all features, where Luong has a vector
    output, weights = layer([q, v, k], return_attention_scores=True)
    both = 0.7 * torch.cat([torch.eye(4), torch.eye(4)], dim=1)
    got = attend(q, k, v, score=partial(scores.concat, weight=both, v=torch.full((4,), 1.3)))
    torch.testing.assert_close((got.output, got.weights), (output.detach(), weights.detach()))
