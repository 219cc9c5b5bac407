"""What goes wrong with a reader's input, and the words that say what to do."""

from functools import partial

import pytest
import torch
import transformers
from torch import nn

from attention_core import explain
from attention_core.explain import attention
from attention_core.pipeline import Attended

from .subjects import DTYPE, pictures, vit

MODEL, IMAGES = vit(), pictures()
pytestmark = pytest.mark.usefixtures("unchecked")


class Fused(nn.Module):
    """Attention that gives no weights."""

    def __init__(self, inner):
        super().__init__()
        self.inner = inner
        self.query, self.key, self.value, self.out = inner.query, inner.key, inner.value, inner.out

    def forward(self, x, mask=None):
        return self.inner(x, mask)._replace(weights=None, lse=None)


def fused():
    model = vit()
    model.blocks[1].attention = Fused(model.blocks[1].attention)
    assert isinstance(model.blocks[1].attention(torch.zeros(1, 7, 8, dtype=DTYPE)), Attended)
    return model


def broken():
    model = vit()
    nn.init.constant_(model.norm.weight, float("nan"))
    return model


def bare():
    sizes = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 8}
    return transformers.ViTModel(transformers.ViTConfig(**sizes, image_size=12, patch_size=6))


def case(error, words, target=None, method="cdam", model=MODEL, images=IMAGES, **options):
    call = partial(explain.explain, model, images, target, method, **options)
    return pytest.param(error, words, call, id=" ".join(words))


MISTAKES = [
    case(ValueError, ["`method`", "one of raw, rollout", "'gradcam++'"], 1, "gradcam++"),
    case(
        TypeError, ["`rollout`", "`discrad`", "`residual`, `heads`, `discard`"], method="rollout", discrad=0.9
    ),
    case(TypeError, ["`chefer`", "`discard`", "it takes none"], 1, "chefer", discard=0.9),
    case(
        TypeError, ["`model`", "models.ViT", "ViTForImageClassification", "Linear"], 1, model=nn.Linear(2, 2)
    ),
    case(TypeError, ["`model`", "ViTModel", "a bare encoder needs its classifier"], 1, model=bare()),
    case(TypeError, ["`images`", "float tensor", "list"], 1, images=[1.0]),
    case(
        TypeError, ["`images`", "uint8", ".float()"], 1, images=torch.zeros(1, 3, 12, 18, dtype=torch.uint8)
    ),
    case(ValueError, ["`images`", "(3, 12, 18)", "`images[None]`"], 1, images=IMAGES[0]),
    case(ValueError, ["`images`", "(0, 3, 12, 18)", "at least one"], 1, images=IMAGES[:0]),
    case(ValueError, ["`images`", "12 x 18", "24 x 24", "Resize"], 1, images=pictures(1, 24, 24)),
    case(ValueError, ["`target` must say what `cdam` is to explain", "got None", "contrast"]),
    case(ValueError, ["`target`", "4 classes, 0 to 3", "got 4", "model.classes.index"], 4),
    case(ValueError, ["`target`", "4 classes, 0 to 3", "got -1"], -1),
    case(ValueError, ["`target`", "0 to 3", "got 7, 9"], [9, 0, 7]),
    case(ValueError, ["`target`", "each of the 3 images", "got 2"], [0, 1]),
    case(TypeError, ["`target`", "an index", "True"], True),
    case(TypeError, ["`target`", "an index", "'circle'"], "circle"),
    case(TypeError, ["`target`", "an index", "1.5"], 1.5),
    case(ValueError, ["`target`", "contrast of two classes", "3 entries", "is a list"], (0, 1, 2)),
    case(ValueError, ["`target`", "two different classes", "(1, 1)"], (1, 1)),
    case(ValueError, ["`target`", "two different classes"], ([0, 1, 2], [1, 1, 0])),
    case(ValueError, ["`target`", "0 to 3", "got 4"], (4, 1)),
    case(ValueError, ["`target`", "as wide as the tokens, 8", "got 4", "`target.long()`"], torch.ones(4)),
    case(ValueError, ["`target`", "one concept vector (width,)", "(3, 8)", ".mean(0)"], torch.ones(3, 8)),
    case(ValueError, ["`target`", "shape (3,)", "got (3, 4)"], lambda logits: logits),
    case(ValueError, ["`target`", "shape (3,)", "got float"], lambda logits: 0.5),
    case(ValueError, ["`target` does not depend on the image"], lambda logits: torch.ones(3)),
    case(ValueError, ["`target` does not depend on the image"], lambda logits: logits[:, 0].detach()),
    case(ValueError, ["`target` names a class", "no classes", "concept vector"], 0, model=vit(classes=0)),
    case(ValueError, ["`layers`", "this model has 3, 0 to 2", "-3 from the end", "got 3"], 1, layers=3),
    case(ValueError, ["`layers`", "0 to 2", "got -4"], method="rollout", layers=[0, -4]),
    case(ValueError, ["`layers`", "at least one", "[]"], method="rollout", layers=[]),
    case(ValueError, ["`layers`", "none twice", "[2, -1]"], method="rollout", layers=[2, -1]),
    case(TypeError, ["`layers`", "whole numbers", "1.5"], method="rollout", layers=[1.5]),
    case(TypeError, ["`layers`", "whole numbers", "'last'"], method="rollout", layers="last"),
    case(ValueError, ["`layers` of `cdam` is one layer", "[0, 1]"], 1, layers=[0, 1]),
    case(ValueError, ["`layers` means nothing to `occlusion`", "Leave it out"], 1, "occlusion", layers=1),
    case(ValueError, ["`heads`", "mean, max, min", "'sum'"], method="rollout", heads="sum"),
    case(ValueError, ["`discard`", "from 0 to below 1", "1.0"], method="rollout", discard=1.0),
    case(ValueError, ["`residual`", "from 0 to 1", "2"], method="rollout", residual=2),
    case(ValueError, ["`head`", "0 to 1", "got 2"], method="raw", head=2),
    case(ValueError, ["`pool`", "mean", "model", "'cls'"], 1, "legrad", pool="cls"),
    case(ValueError, ["`steps`", "at least 1", "0"], 1, "integrated_gradients", steps=0),
    case(ValueError, ["`samples`", "at least 1", "True"], 1, "cdam_smooth", samples=True),
    case(ValueError, ["these tokens do not reach the output", "`method='gradcam'`"], 1, "gradcam_literal"),
    case(
        ValueError,
        ["`model` must show its attention weights", "layers [1]", "eager"],
        method="raw",
        model=fused(),
    ),
    case(ValueError, ["`cdam` gave NaN or inf for images [0, 1, 2]", "no picture"], 1, model=broken()),
    case(
        ValueError,
        ["`rollout` gave NaN", "images [0, 1, 2]"],
        method="rollout",
        residual=0,
        heads="min",
        discard=0.99,
    ),
]


@pytest.mark.parametrize(("error", "words", "call"), MISTAKES)
def test_the_error_says_what_to_do(error, words, call):
    with pytest.raises(error) as caught:
        call()
    for word in words:
        assert word in str(caught.value)


LOOKING = [name for name in explain.METHODS if name not in ("random", "edges")]


@pytest.mark.parametrize("method", LOOKING)
@pytest.mark.parametrize("part", ["blocks.0.norm1.weight", "norm.bias"])
def test_no_map_hides_a_broken_model(method, part):
    """NaN at the entrance, or at the exit, where no gradient meets it, nor any class-blind method."""
    model = vit()
    nn.init.constant_(model.get_parameter(part), float("nan"))
    if part == "norm.bias" and not explain.METHODS[method].class_sensitive:
        assert explain.explain(model, IMAGES, method=method).values.isfinite().all()
        return
    with pytest.raises(ValueError, match=r"NaN or inf for images|do not reach the output"):
        explain.explain(model, IMAGES, 1, method)


def test_upsampling_knows_two_ways():
    with pytest.raises(ValueError, match="nearest or bilinear; got 'cubic'"):
        explain.upsample(torch.zeros(1, 2, 2), 4, mode="cubic")


def test_a_share_is_no_yes_or_no():
    with pytest.raises(ValueError, match="`residual` must be a share"):
        attention.with_residual(torch.eye(2), residual=True)
