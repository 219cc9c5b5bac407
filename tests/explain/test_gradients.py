"""Maps of gradients: against loops over finite differences, against captum, and against what they promise."""

import pytest
import torch
from captum.attr import InputXGradient, IntegratedGradients

from attention_core import explain
from attention_core.explain import gradients

from .by_hand import differences, read, tokens_by_hand
from .subjects import DTYPE, assert_near, pictures, vit

TARGET = 2


@pytest.fixture(scope="module")
def one():
    """A model, an image, its weights, and the gradient of one logit for each, found without autograd."""
    torch.manual_seed(1)
    model, images = vit(), pictures(1)
    return model, images, *differences(model, images[0], lambda tokens: read(model, tokens[-1])[TARGET])


def test_the_forward_pass_by_hand_is_the_model(one):
    model, images, weights, _ = one
    assert_near(read(model, tokens_by_hand(model, images[0])[0][-1]), model(images)[0], atol=1e-12)
    assert_near(weights, explain.capture(model, images).stacked()[0], atol=1e-12)


def test_chefer_is_the_loop_over_tokens(one):
    model, images, weights, gradient = one
    layers, heads, n, _ = weights.shape
    relevance = [[float(i == j) for j in range(n)] for i in range(n)]
    for layer in range(layers):
        step = [
            [
                sum(max(float(gradient[layer, h, i, j] * weights[layer, h, i, j]), 0.0) for h in range(heads))
                / heads
                for j in range(n)
            ]
            for i in range(n)
        ]
        relevance = [
            [relevance[i][j] + sum(step[i][k] * relevance[k][j] for k in range(n)) for j in range(n)]
            for i in range(n)
        ]
    expected = torch.tensor(relevance[0][1:], dtype=DTYPE).reshape(1, 2, 3)
    assert_near(explain.explain(model, images, TARGET, "chefer").values, expected, atol=1e-7)


def test_grad_rollout_is_the_loop_over_layers(one):
    model, images, weights, gradient = one
    joint = torch.eye(7, dtype=DTYPE)
    for matrix, slope in zip(weights, gradient, strict=True):
        fused = sum(a * g for a, g in zip(matrix, slope, strict=True)) / len(matrix)
        mixed = torch.eye(7, dtype=DTYPE) / 2 + fused * (fused > 0) / 2
        joint = torch.stack([row / row.sum() for row in mixed]) @ joint
    found = explain.explain(model, images, TARGET, "grad_rollout").values
    assert_near(found, joint[0, 1:].reshape(1, 2, 3), atol=1e-7)


def test_gradients_in_reverse_order_are_another_map(one):
    """What a list filled by backward hooks gives, without an error."""
    _, _, weights, gradient = (part[None] if isinstance(part, torch.Tensor) else part for part in one)
    right = gradients.grad_rollout(weights, gradient)
    assert (right - gradients.grad_rollout(weights, gradient.flip(1))).abs().max() > 1e-3


@pytest.mark.parametrize("pool", ["mean", "model"])
def test_legrad_is_the_mean_over_layers_of_their_own_scores(one, pool):
    model, images, *_ = one
    expected = torch.zeros(7, dtype=DTYPE)
    for layer in range(3):

        def own(tokens, layer=layer):
            pooled = tokens[layer].mean(0, keepdim=True) if pool == "mean" else tokens[layer]
            return read(model, pooled)[TARGET]

        _, gradient = differences(model, images[0], own)
        for h in range(2):
            for i in range(7):
                expected += gradient[layer, h, i].clamp(min=0) / (3 * 2 * 7)
    found = explain.explain(model, images, TARGET, "legrad", pool=pool).values
    assert_near(found, expected[1:].reshape(1, 2, 3), atol=1e-7)


def test_gradcam_weighs_features_by_their_mean_over_the_patches():
    model, images = vit(registers=2), pictures()
    seen = explain.capture(model, images)
    tokens = seen.normed[-1]
    (gradient,) = torch.autograd.grad(seen.logits[:, TARGET].sum(), [tokens])
    for found, own, slope in zip(
        explain.explain(model, images, TARGET, "gradcam").values, tokens, gradient, strict=True
    ):
        alpha = sum(slope[3:]) / 6  # CLS and two registers have no say
        scores = [max((own[3 + i] @ alpha).item(), 0.0) for i in range(6)]
        assert_near(found.flatten(), torch.tensor(scores, dtype=DTYPE))


def test_gradcam_at_the_attentions_output_explains_why_it_cannot():
    with pytest.raises(
        ValueError, match=r"exactly 0 in images \[0, 1, 2\]: these tokens do not reach the output"
    ):
        explain.explain(vit(), pictures(), TARGET, "gradcam_literal")


def test_gradcam_at_the_attentions_output_works_in_an_earlier_layer():
    found = explain.explain(vit(), pictures(), TARGET, "gradcam_literal", layers=1)
    assert found.values.max() > 0


def test_gradcam_at_the_attentions_output_works_for_a_head_that_reads_patches():
    found = explain.explain(vit(pool="cls_and_mean"), pictures(), TARGET, "gradcam_literal")
    assert found.values.max() > 0


# pixels


def per_patch(pixels):
    """Sums over colours and 6 x 6 pixels, patch by patch."""
    rows = [
        [pixels[:, :, 6 * r : 6 * r + 6, 6 * c : 6 * c + 6].sum((1, 2, 3)) for c in range(3)]
        for r in range(2)
    ]
    return torch.stack([torch.stack(row, -1) for row in rows], 1)


def test_gradient_times_input_is_that_of_captum():
    model, images = vit(), pictures()
    expected = per_patch(InputXGradient(model).attribute(images.clone().requires_grad_(), target=TARGET))
    assert_near(explain.explain(model, images, TARGET, "gradient_x_input").values, expected.detach())


@pytest.mark.parametrize("baseline", [0.0, 0.5])
def test_integrated_gradients_are_those_of_captum(baseline):
    model, images = vit(), pictures()
    theirs = IntegratedGradients(model).attribute(
        images, baseline, target=TARGET, n_steps=20, method="riemann_middle"
    )
    found = explain.explain(model, images, TARGET, "integrated_gradients", steps=20, baseline=baseline)
    assert_near(found.values, per_patch(theirs).detach(), atol=1e-6)  # captum's steps are float32


@pytest.mark.parametrize("baseline", [0.0, 0.5, torch.full((1, 3, 12, 18), 0.25, dtype=DTYPE)])
def test_integrated_gradients_are_complete(baseline):
    """All patches together give what the image has over the baseline; the error falls as steps squared."""
    model, images = vit(), pictures()
    start = baseline if isinstance(baseline, torch.Tensor) else torch.full_like(images, baseline)
    gained = (model(images) - model(start.expand_as(images)))[:, TARGET]
    errors = []
    for steps in (20, 40):
        found = explain.explain(model, images, TARGET, "integrated_gradients", steps=steps, baseline=baseline)
        errors.append((found.values.sum((1, 2)) - gained).abs().max().item())
    assert errors[1] < 1e-2
    assert errors[0] / errors[1] == pytest.approx(4, rel=0.25)


def test_a_rest_that_no_patch_covers_is_left_out():
    pixels = torch.ones(1, 1, 5, 7)
    assert gradients.per_patch(pixels, (2, 3)).tolist() == [[[4.0] * 3] * 2]
