"""Capture: all that was computed, on the graph, and no trace in the model, not even after an error."""

import copy

import pytest
import torch
from torch import nn

from attention_core import explain

from .subjects import DTYPE, assert_near, pictures, vit

HOOKS = [name for name in vars(nn.Module()) if name.endswith("hooks")]
each_method = pytest.mark.parametrize(
    "method", [name for name in explain.METHODS if name != "gradcam_literal"]
)


def state(model):
    """All that a method could leave behind."""
    modules = [
        (
            module.training,
            {name: list(getattr(module, name).items()) for name in HOOKS},
            module.forward.__func__,
        )
        for module in model.modules()
    ]
    parameters = [(p.requires_grad, p.grad, p._version, p.detach().clone()) for p in model.parameters()]
    return modules, parameters


def assert_same(before, after):
    assert before[0] == after[0]
    for (wanted, grad, version, value), now in zip(before[1], after[1], strict=True):
        assert wanted == now[0]
        assert grad is now[1] if grad is None else torch.equal(grad, now[1])
        assert version == now[2]
        assert torch.equal(value, now[3])


def in_use():
    """A model as one finds it: one part training, one parameter frozen, one with a gradient, one hook."""
    model = vit()
    model.blocks[1].train()
    model.head.bias.requires_grad_(False)
    model.norm.weight.grad = torch.ones_like(model.norm.weight)
    model.blocks[0].register_forward_hook(lambda *call: None)
    return model


@each_method
def test_a_method_leaves_no_trace(method):
    model = in_use()
    before = copy.copy(state(model))
    explain.explain(model, pictures(), 1, method=method)
    assert_same(before, state(model))


def test_capture_leaves_no_trace():
    model = in_use()
    before = state(model)
    explain.capture(model, pictures())
    assert_same(before, state(model))


@pytest.mark.parametrize(
    "method", ["raw", "attnlrp", "cdam_smooth", "integrated_gradients", "legrad", "occlusion"]
)
@pytest.mark.parametrize("part", ["blocks.2.mlp.down", "norm", "blocks.0.attention.value"])
def test_an_error_on_the_way_leaves_no_trace(method, part):
    model, calls = in_use(), []

    def fail_later(*call):
        calls.append(call)
        raise RuntimeError("broken on the way")

    model.get_submodule(part).register_forward_hook(fail_later)
    before = state(model)
    with pytest.raises(RuntimeError, match="broken on the way"):
        explain.explain(model, pictures(), 1, method=method)
    assert calls
    assert_same(before, state(model))


@pytest.mark.parametrize(
    "method", ["cdam_smooth", "cdam_integrated", "integrated_gradients", "token_drop", "legrad"]
)
def test_an_error_in_a_later_run_leaves_no_trace(method):
    """Those that run the model, or the end of it, again and again: the third time it breaks."""
    model, calls = in_use(), []

    def fail_later(*call):
        calls.append(call)
        if len(calls) == 3:
            raise RuntimeError("broken on the way")

    model.norm.register_forward_hook(fail_later)
    before = state(model)
    with pytest.raises(RuntimeError, match="broken on the way"):
        explain.explain(model, pictures(), 1, method=method)
    assert_same(before, state(model))


def test_images_are_not_modified_and_get_no_gradient():
    images = pictures().requires_grad_()
    before = images.detach().clone()
    for method in explain.METHODS:
        if method != "gradcam_literal":
            explain.explain(vit(), images, 1, method=method)
    assert torch.equal(images, before)
    assert images.grad is None


def test_capture_gives_what_the_model_computes():
    model, images = vit(), pictures()
    seen = explain.capture(model, images)
    assert_near(seen.logits, model(images), atol=0)
    assert_near(seen.embedded, model.embed(images), atol=0)
    x = seen.embedded
    for layer, block in enumerate(model.blocks):
        normed = block.norm1(x)
        attended = block.attention(normed)
        assert_near(seen.normed[layer], normed, atol=0)
        assert_near(seen.weights[layer], attended.weights, atol=0)
        assert_near(seen.attended[layer], attended.output, atol=0)
        assert_near(seen.queries[layer], block.attention.query(normed), atol=0)
        assert_near(seen.keys[layer], block.attention.key(normed), atol=0)
        assert_near(seen.values[layer], block.attention.value(normed), atol=0)
        x = block(x)
        assert_near(seen.tokens[layer], x, atol=0)
    assert_near(seen.final, model.norm(x), atol=0)
    assert (seen.grid, seen.prefix) == ((2, 3), 1)


@pytest.mark.parametrize("context", [torch.no_grad, torch.inference_mode])
def test_gradients_reach_everything_though_nothing_wants_them(context):
    model = vit().requires_grad_(False)
    with context():
        seen = explain.capture(model, pictures())
    tensors = [seen.images, seen.embedded, *seen.normed, *seen.weights, *seen.tokens[:-1]]
    for gradient in torch.autograd.grad(seen.logits[:, 0].sum(), tensors):
        assert gradient.abs().max() > 0


def test_dropout_is_off_inside_and_on_again_after():
    model, images = vit(), pictures()
    expected = explain.capture(model, images).logits
    model.blocks[0].scale1 = nn.Dropout(0.5)
    model.train()
    assert_near(explain.capture(model, images).logits, expected, atol=0)
    assert model.blocks[0].scale1.training


def test_rows_of_weights_sum_to_one():
    weights = explain.capture(vit(), pictures()).stacked()
    assert weights.shape == (3, 3, 2, 7, 7)
    assert_near(weights.sum(-1), torch.ones(3, 3, 2, 7, dtype=DTYPE), atol=1e-14)
