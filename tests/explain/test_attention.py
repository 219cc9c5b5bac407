"""Rollout and flow: against loops, closed forms and networkx."""

import networkx
import pytest
import torch

from attention_core import explain
from attention_core.explain import attention, flow

from .subjects import DTYPE, assert_near, pictures, vit


def weights(batch=2, layers=3, heads=2, n=5, sharpness=2.0):
    return torch.softmax(sharpness * torch.randn(batch, layers, heads, n, n, dtype=DTYPE), dim=-1)


def looped_rollout(weights, residual, heads, discard):
    """Entry by entry, one image and one layer after the other."""
    batch, layers, _, n, _ = weights.shape
    fused = {"mean": lambda h: sum(h) / len(h), "max": max, "min": min}[heads]
    result = torch.zeros(batch, n, n, dtype=DTYPE)
    for image in range(batch):
        joint = [[float(i == j) for j in range(n)] for i in range(n)]
        for layer in range(layers):
            entries = {
                (i, j): fused([float(h[i, j]) for h in weights[image, layer]])
                for i in range(n)
                for j in range(n)
            }
            order = sorted((place for place in entries if place != (0, 0)), key=entries.get)
            for place in order[: int(discard * n * n)]:
                entries[place] = 0.0
            rows = []
            for i in range(n):
                row = [(1 - residual) * entries[i, j] + residual * (i == j) for j in range(n)]
                rows.append([entry / sum(row) for entry in row])
            joint = [[sum(rows[i][k] * joint[k][j] for k in range(n)) for j in range(n)] for i in range(n)]
        result[image] = torch.tensor(joint, dtype=DTYPE)
    return result


@pytest.mark.parametrize("heads", ["mean", "max", "min"])
@pytest.mark.parametrize("residual", [0.0, 0.3, 0.5])
@pytest.mark.parametrize("discard", [0.0, 0.4, 0.9])
def test_rollout_is_the_loop_over_entries(heads, residual, discard):
    residual = residual or 0.0 if discard < 0.9 else 0.5  # with nothing left and no residual a row has no sum
    drawn = weights()
    assert_near(
        attention.rollout(drawn, residual, heads, discard), looped_rollout(drawn, residual, heads, discard)
    )


@pytest.mark.parametrize("heads", ["mean", "max", "min"])
@pytest.mark.parametrize("discard", [0.0, 0.9])
def test_rows_of_rollout_sum_to_one(heads, discard):
    joint = attention.rollout(weights(), heads=heads, discard=discard)
    assert_near(joint.sum(-1), torch.ones(2, 5, dtype=DTYPE), atol=1e-14)


def test_rollout_of_residual_alone_is_the_identity():
    assert_near(attention.rollout(weights(), residual=1), torch.eye(5, dtype=DTYPE).expand(2, 5, 5), atol=0)


def test_rollout_multiplies_later_layers_on_the_left():
    drawn = weights(layers=2, heads=1)
    first, second = drawn[:, 0, 0], drawn[:, 1, 0]
    joint = attention.rollout(drawn, residual=0)
    assert_near(joint, second @ first)
    assert (joint - first @ second).abs().max() > 0.05


def test_discarding_spares_the_inputs_and_treats_every_image_alike():
    drawn = weights()
    before = drawn.clone()
    both = attention.rollout(drawn, discard=0.5)
    assert torch.equal(drawn, before)
    assert_near(both[1:], attention.rollout(drawn[1:], discard=0.5), atol=0)


def test_raw_is_the_mean_of_the_heads_or_one_of_them():
    model, images = vit(), pictures()
    last = explain.capture(model, images).weights[-1][:, :, 0, 1:].unflatten(-1, (2, 3))
    assert_near(explain.explain(model, images, method="raw").values, last.mean(1), atol=0)
    for head in range(2):
        assert_near(explain.explain(model, images, method="raw", head=head).values, last[:, head], atol=0)


# flow


def networkx_flow(matrices, query):
    """The maximum flow to each token, of somebody else's."""
    graph, (layers, n, _) = networkx.DiGraph(), matrices.shape
    for layer in range(layers):
        for i in range(n):
            for j in range(n):
                graph.add_edge((layer + 1, i), (layer, j), capacity=float(matrices[layer, i, j]))
    return [networkx.maximum_flow_value(graph, (layers, query), (0, token)) for token in range(n)]


@pytest.mark.parametrize(("layers", "n"), [(1, 4), (2, 6), (3, 6), (4, 6), (5, 5)])
@pytest.mark.parametrize("sharpness", [1.0, 8.0])
@pytest.mark.parametrize("residual", [0.0, 0.1, 0.5])
def test_flow_is_that_of_networkx(layers, n, sharpness, residual):
    drawn = weights(batch=1, layers=layers, n=n, sharpness=sharpness)
    matrices = attention.with_residual(attention.fuse(drawn), residual)[0]
    expected = torch.tensor(networkx_flow(matrices, query=1), dtype=DTYPE)
    assert_near(flow.flow(drawn, residual, query=1)[0], expected, atol=1e-9)


def test_flow_through_two_layers_has_a_closed_form():
    """One step down, the narrower of the two pipes on each way: no way shares a pipe with another."""
    drawn = weights(layers=2, n=6)
    first, second = attention.with_residual(attention.fuse(drawn)).unbind(1)
    narrowest = torch.minimum(second[:, 0, :, None], first).sum(1)
    assert_near(flow.flow(drawn), narrowest, atol=1e-12)


def test_flow_has_to_turn_back_where_the_first_way_was_greedy():
    """Two tokens: one way down uses a pipe that both need, and only by taking it back do both get through."""
    top = torch.tensor([[0.5, 0.5], [0.0, 1.0]], dtype=DTYPE)
    middle = torch.tensor([[0.5, 0.5], [0.5, 0.0]], dtype=DTYPE)
    last = torch.tensor([[0.5, 0.0], [0.5, 0.0]], dtype=DTYPE)
    flows = flow.maximum_flows(torch.stack([last, middle, top]))
    assert_near(flows, torch.tensor([1.0, 0.0], dtype=DTYPE), atol=1e-12)


def test_flow_keeps_the_dtype():
    assert flow.flow(weights(n=3).float()).dtype == torch.float32
