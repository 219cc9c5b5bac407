"""CDAM: its split by path, its trap before the norm, and its means over altered tokens."""

import pytest
import torch

from attention_core import explain
from attention_core.explain import cdam

from .subjects import DTYPE, assert_near, pictures, vit

TARGET = 2


def value(model, images, method, **options):
    return explain.explain(model, images, TARGET, method, **options).values


def test_cdam_is_tokens_times_gradients_at_the_last_first_norm():
    model, images = vit(), pictures()
    seen = explain.capture(model, images)
    tokens = seen.normed[-1]
    (gradient,) = torch.autograd.grad(seen.logits[:, TARGET].sum(), [tokens])
    expected = [[sum(tokens[b, i] * gradient[b, i]).item() for i in range(1, 7)] for b in range(3)]
    assert_near(value(model, images, "cdam").flatten(1), torch.tensor(expected, dtype=DTYPE))


@pytest.mark.parametrize(
    "options", [{}, {"registers": 2}, {"bias": False}, {"layer_scale": True, "distilled": True}]
)
def test_value_and_key_path_add_up_to_cdam(options):
    model, images = vit(**options), pictures()
    if (
        model.pool == "cls_and_distilled"
    ):  # the distillation token asks a question of its own, the patches none
        model.pool, model.distillation_head = "cls", None
    whole = value(model, images, "cdam")
    parts = [value(model, images, method) for method in ("cdam_value", "cdam_key")]
    assert_near(sum(parts), whole, atol=1e-12)
    assert min(part.abs().max() for part in parts) > 1e-3 * whole.abs().max()


def test_a_head_that_reads_patches_asks_by_them_too():
    model, images = vit(pool="cls_and_mean"), pictures()
    missing = (
        value(model, images, "cdam") - value(model, images, "cdam_value") - value(model, images, "cdam_key")
    )
    assert missing.abs().max() > 1e-3
    seen = explain.capture(model, images)
    (gradient,) = torch.autograd.grad(seen.logits[:, TARGET].sum(), [seen.queries[-1]])
    asked = cdam.cdam_path(seen.queries[-1], gradient, model.blocks[-1].attention.query.bias)
    assert_near(missing, seen.as_map(asked), atol=1e-12)


def test_the_value_path_is_what_cls_hears_of_each_patch():
    """CLS's weight times what the value does to the score, summed over heads, from the model's matrices."""
    model, images = vit(), pictures()
    seen, attention = explain.capture(model, images), model.blocks[-1].attention
    (of_output,) = torch.autograd.grad(seen.logits[:, TARGET].sum(), [seen.attended[-1]])
    pull = of_output[:, 0] @ attention.out.weight  # the gradient of the heads' outputs for CLS, side by side
    expected = torch.zeros(3, 7, dtype=DTYPE)
    for head in range(2):
        rows = slice(4 * head, 4 * head + 4)
        content = seen.normed[-1] @ attention.value.weight[rows].T
        expected += seen.weights[-1][:, head, 0] * (content @ pull[:, rows, None]).squeeze(-1)
    assert_near(value(model, images, "cdam_value"), seen.as_map(expected))


def test_the_key_path_is_what_each_patch_does_to_the_listening_of_cls():
    model, images = vit(), pictures()
    seen, attention = explain.capture(model, images), model.blocks[-1].attention
    (of_weights,) = torch.autograd.grad(seen.logits[:, TARGET].sum(), [seen.weights[-1]])
    expected = torch.zeros(3, 7, dtype=DTYPE)
    for head in range(2):
        rows = slice(4 * head, 4 * head + 4)
        weights, slope = seen.weights[-1][:, head, 0], of_weights[:, head, 0]
        of_logits = weights * (slope - (weights * slope).sum(1, keepdim=True))  # through the softmax
        question = seen.queries[-1][:, 0, rows, None]
        content = seen.normed[-1] @ attention.key.weight[rows].T
        expected += of_logits * (content @ question).squeeze(-1) / 2  # sqrt(4)
    assert_near(value(model, images, "cdam_key"), seen.as_map(expected))


def test_before_the_norm_the_patches_vanish():
    """A norm does not feel the length of a token, so nothing is left but its eps and rounding."""
    model, images = vit(eps=1e-12), pictures()
    seen = explain.capture(model, images)
    before = seen.tokens[-2]
    (gradient,) = torch.autograd.grad(seen.logits[:, TARGET].sum(), [before])
    vanished = seen.as_map(cdam.cdam(before, gradient))
    assert vanished.abs().max() < 1e-10
    assert gradient[:, 1:].abs().max() > 1e-2
    assert value(model, images, "cdam").abs().max() > 1e-2


def test_summed_over_layers_is_the_sum_of_each():
    model, images = vit(), pictures()
    single = [value(model, images, "cdam", layers=layer) for layer in range(3)]
    assert_near(value(model, images, "cdam_layers"), sum(single))
    assert_near(value(model, images, "cdam_layers", layers=[0, -1]), single[0] + single[2])


@pytest.mark.parametrize("layer", [0, 1, 2])
def test_smooth_without_noise_is_cdam(layer):
    model, images = vit(), pictures()
    smooth = value(model, images, "cdam_smooth", layers=layer, noise=0.0, samples=2)
    assert_near(smooth, value(model, images, "cdam", layers=layer))


def test_smooth_is_the_mean_over_noisy_tokens():
    model, images = vit(), pictures()
    seen, block = explain.capture(model, images), model.blocks[-1]
    tokens, came = seen.normed[-1].detach(), seen.tokens[-2].detach()
    generator, maps = torch.Generator().manual_seed(7), []
    for _ in range(3):
        epsilon = torch.randn(7, 8, generator=generator, dtype=DTYPE)
        spread = torch.stack([0.2 * (one.max() - one.min()) for one in tokens])
        noisy = (tokens + spread[:, None, None] * epsilon).requires_grad_()
        x = came + block.attention(noisy).output
        x = x + block.mlp(block.norm2(x))
        (gradient,) = torch.autograd.grad(model.classify(x)[:, TARGET].sum(), [noisy])
        maps.append((noisy * gradient).sum(-1))
    expected = seen.as_map(sum(maps) / 3).detach()
    assert_near(value(model, images, "cdam_smooth", samples=3, noise=0.2, seed=7), expected)


def test_integrated_is_complete():
    """All tokens together give what the block's attention has over reading zeros."""
    model, images = vit(), pictures()
    seen, block = explain.capture(model, images), model.blocks[-1]
    came = seen.tokens[-2].detach()

    def score(normed):
        x = came + block.attention(normed).output
        return model.classify(x + block.mlp(block.norm2(x)))[:, TARGET]

    tokens = seen.normed[-1].detach()
    scores = cdam.cdam_integrated(score, tokens, steps=60)
    assert_near(scores.sum(1), (score(tokens) - score(torch.zeros_like(tokens))).detach(), atol=1e-3)
    assert_near(value(model, images, "cdam_integrated", steps=60), seen.as_map(scores))
