"""AttnLRP: each rule keeps relevance, and together they hand it back operation by operation."""

import math

import pytest
import torch
from torch import nn

from attention_core import explain
from attention_core.explain import relevance
from attention_core.explain.layouts import layout

from .subjects import DTYPE, assert_near, pictures, scattered, vit

TARGET = 2


def handed_back(x, y):
    """Relevance of x where that of y is y's own entries: gradient times input, and what was there to give."""
    (gradient,) = torch.autograd.grad(y.square().sum() / 2, [x], retain_graph=True)
    return (gradient * x).sum(-1), y.square().sum(-1)


def test_the_rules_change_no_number():
    model, images = vit(), pictures()
    with relevance.attnlrp_rules(layout(model, images)):
        changed = model(images)
    assert_near(changed, model(images), atol=1e-12)


def test_a_norm_keeps_relevance():
    norm = scattered(nn.LayerNorm(5))
    nn.init.zeros_(norm.bias)
    x = torch.randn(3, 5, dtype=DTYPE, requires_grad=True)
    assert_near(relevance.centred(x, norm), norm(x), atol=1e-14)
    given, there = handed_back(x, relevance.centred(x, norm))
    assert_near(given, there)
    starved, _ = handed_back(x, norm(x))
    assert starved.abs().max() < 1e-4 * there.abs().max()  # differentiated through: nothing but its eps


@pytest.mark.parametrize("nonlinear", [nn.functional.gelu, nn.functional.silu, torch.relu])
def test_a_nonlinearity_keeps_relevance_and_zero_breaks_nothing(nonlinear):
    x = torch.tensor([[-1.5, -1e-9, 0.0, 0.7, 2.0]], dtype=DTYPE, requires_grad=True)
    y = relevance.ratio(x, nonlinear(x))
    assert_near(y, nonlinear(x), atol=1e-14)
    given, there = handed_back(x, y)
    assert_near(given, there)
    assert torch.autograd.grad(y.sum(), [x])[0].isfinite().all()


def test_a_product_gives_half_to_each_factor():
    one = torch.randn(2, 3, 4, dtype=DTYPE, requires_grad=True)
    other = torch.randn(2, 4, 5, dtype=DTYPE, requires_grad=True)
    y = relevance.scaled(one, 0.5) @ relevance.scaled(other, 0.5)
    gradients = torch.autograd.grad(y.square().sum() / 2, [one, other])
    shares = [(x * gradient).sum((1, 2)) for x, gradient in zip((one, other), gradients, strict=True)]
    assert_near(shares[0], shares[1])
    assert_near(sum(shares), y.square().sum((1, 2)))


@pytest.mark.parametrize("options", [{}, {"gated": True}, {"layer_scale": True, "registers": 1}])
def test_all_relevance_is_accounted_for(options):
    """The logit is what tokens, biases and softmaxes took of it; nothing else takes or gives any."""
    model, images = vit(**options), pictures(1)
    with relevance.attnlrp_rules(layout(model, images)):
        seen = explain.capture(model, images)
    biases = [p for name, p in model.named_parameters() if name.endswith("bias") and "embedding" not in name]
    tensors = [seen.embedded, *biases, *seen.weights, *seen.queries]
    gradients = torch.autograd.grad(seen.logits[0, TARGET], tensors)
    tokens, *others = ((g * x).sum() for g, x in zip(gradients, tensors, strict=True))
    of_biases, of_weights, of_scores = others[:-6], others[-6:-3], others[-3:]  # q k is the scores
    softmaxes = [
        (into - out) / 2 for into, out in zip(of_weights, of_scores, strict=True)
    ]  # half goes to values
    assert_near(tokens + sum(of_biases) + sum(softmaxes), seen.logits[0, TARGET])
    assert min(map(abs, (tokens, sum(of_biases), sum(softmaxes)))) > 1e-3


def test_attnlrp_is_relevance_handed_back_operation_by_operation():
    """The rules as the paper writes them, of relevances and never of gradients, from logit to tokens."""
    model, images = vit(), pictures()
    found = explain.explain(model, images, TARGET, "attnlrp").values
    for image, values in zip(images, found, strict=True):
        expected = back_to_tokens(model, image)[1:].reshape(2, 3)
        assert_near(values, expected, atol=1e-9)


def through_linear(relevance, x, weight, y):
    """Equation 8 with epsilon 0: $R_i = x_i \\sum_j W_{ji} R_j / y_j$, biases in y."""
    return x * ((relevance / y) @ weight)


def through_norm(relevance, x, norm):
    """Proposition 3.4: the deviation is a constant, so this is a linear layer: centre, then scale."""
    n = x.shape[-1]
    deviation = (x.var(-1, unbiased=False, keepdim=True) + norm.eps).sqrt()
    centre = torch.eye(n, dtype=DTYPE) - 1 / n
    y = x @ centre / deviation * norm.weight + norm.bias
    return x * ((relevance / y * norm.weight / deviation) @ centre)


def through_product(relevance, one, other):
    """Proposition 3.3, of `one @ other`: half to each."""
    ratio = relevance / (2 * (one @ other))
    return one * (ratio @ other.mT), other * (one.mT @ ratio)


def through_softmax(relevance, x, s):
    """Proposition 3.1."""
    return x * (relevance - s * relevance.sum(-1, keepdim=True))


@torch.no_grad()
def back_to_tokens(model, image):
    inputs = [model.embed(image[None])[0]]
    for block in model.blocks:
        inputs.append(block(inputs[-1][None])[0])
    last = inputs.pop()
    normed = model.norm(last)
    logits = model.head(normed[0])
    wanted = torch.zeros_like(logits)
    wanted[TARGET] = logits[TARGET]
    at_cls = through_linear(wanted, normed[0], model.head.weight, logits)
    relevance = torch.zeros_like(last)
    relevance[0] = through_norm(at_cls[None], last[:1], model.norm)[0]
    for block, x in zip(reversed(model.blocks), reversed(inputs), strict=True):
        relevance = back_through(block, x, relevance)
    return relevance.sum(-1)


def back_through(block, x, relevance):
    attended = block.attention(block.norm1(x)[None]).output[0]
    middle = x + attended
    normed = block.norm2(middle)
    hidden = block.mlp.up(normed)
    active = nn.functional.gelu(hidden)
    fed = block.mlp.down(active)
    share = relevance / (middle + fed)  # a sum, by equation 8
    at_active = through_linear(share * fed, active, block.mlp.down.weight, fed)  # GELU: identity, equation 9
    at_normed = through_linear(at_active, normed, block.mlp.up.weight, hidden)
    relevance = share * middle + through_norm(at_normed, middle, block.norm2)
    share = relevance / middle
    at_normed = back_through_attention(block.attention, block.norm1(x), share * attended)
    return share * x + through_norm(at_normed, x, block.norm1)


def back_through_attention(attention, x, relevance):
    query, key, value = (part(x) for part in (attention.query, attention.key, attention.value))
    heads, width = attention.heads, x.shape[1] // attention.heads
    split = [part.unflatten(1, (heads, width)).transpose(0, 1) for part in (query, key, value)]
    scores = split[0] @ split[1].mT
    weights = torch.softmax(scores / math.sqrt(width), dim=-1)
    joined = (weights @ split[2]).transpose(0, 1).flatten(1)
    at_joined = through_linear(relevance, joined, attention.out.weight, attention.out(joined))
    at_heads = at_joined.unflatten(1, (heads, width)).transpose(0, 1)
    at_weights, at_value = through_product(at_heads, weights, split[2])
    at_scores = through_softmax(at_weights, scores / math.sqrt(width), weights)
    at_query, at_key = through_product(at_scores, split[0], split[1].mT)
    total = torch.zeros_like(x)
    for part, y, at in (
        (attention.query, query, at_query),
        (attention.key, key, at_key.mT),
        (attention.value, value, at_value),
    ):
        total += through_linear(at.transpose(0, 1).flatten(1), x, part.weight, y)
    return total
