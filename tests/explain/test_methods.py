"""What holds of every method: shapes, batches, targets, and what the record says of it."""

import importlib
import re
from pathlib import Path

import pytest
import torch

from attention_core import explain

from .subjects import DTYPE, assert_near, pictures, vit

NAMES = [name for name in explain.METHODS if name != "gradcam_literal"]  # which has no map to look at
BLIND = [name for name in NAMES if not explain.METHODS[name].class_sensitive]
SENSITIVE = [name for name in NAMES if explain.METHODS[name].class_sensitive]
FEW = {"integrated_gradients": {"steps": 2}, "cdam_integrated": {"steps": 2}, "cdam_smooth": {"samples": 2}}
each = pytest.mark.parametrize("method", NAMES)
VARIANTS = {
    "plain": {},
    "registers": {"registers": 3},
    "distilled": {"distilled": True},
    "mean": {"pool": "cls_and_mean", "registers": 1, "layer_scale": True},
    "gated": {"gated": True},
    "square": {"image_size": (12, 12), "patch": (4, 6)},
    "tall": {"image_size": (24, 12)},
}


def values(model, images, target, method):
    """With few steps or samples, where there are any."""
    return explain.explain(model, images, target, method, **FEW.get(method, {})).values


def sized(model, batch=3):
    return pictures(batch, *model.image_size)


def test_there_are_all_the_methods():
    assert list(explain.METHODS) == [
        *("raw", "rollout", "flow", "grad_rollout", "chefer", "gradcam", "gradcam_literal"),
        *("cdam", "cdam_smooth", "cdam_integrated", "cdam_value", "cdam_key", "cdam_layers"),
        *("legrad", "attnlrp", "gradient_x_input", "integrated_gradients", "token_drop", "occlusion"),
        *("random", "edges"),
    ]


@each
@pytest.mark.parametrize("options", VARIANTS.values(), ids=VARIANTS.keys())
def test_a_batch_is_its_images(method, options):
    model = vit(**options)
    images, classes = sized(model), [0, 3, 1]
    maps = values(model, images, classes, method)
    assert maps.shape == (3, *model.grid)
    assert maps.dtype == DTYPE
    assert not maps.requires_grad
    for image, target, one in zip(images, classes, maps, strict=True):
        assert_near(values(model, image[None], target, method)[0], one)


@each
def test_float32_is_float64_but_for_rounding(method):
    model, images = vit(), pictures()
    exact = values(model, images, 1, method)
    rounded = values(model.float(), images.float(), 1, method)
    assert rounded.dtype == torch.float32
    if method != "random":  # whose seed is the image's bytes
        assert_near(rounded.double(), exact, atol=float(1e-4 * exact.abs().max()))


@pytest.mark.parametrize("method", BLIND)
def test_class_blind_methods_give_one_map_for_any_target_and_say_so(method):
    model, images = vit(), pictures()
    alone = explain.explain(model, images, method=method)
    assert alone.warnings == ()
    assert not alone.class_sensitive
    for target in (0, 3, (1, 2), torch.randn(8, dtype=DTYPE)):
        found = explain.explain(model, images, target, method)
        assert torch.equal(found.values, alone.values)
        assert "knows no classes" in found.warnings[0]


@pytest.mark.parametrize("method", SENSITIVE)
def test_class_sensitive_methods_give_another_map_for_another_target(method):
    model, images = vit(), pictures()
    one, other = (explain.explain(model, images, target, method) for target in (0, 3))
    assert one.class_sensitive
    assert one.warnings == ()
    assert (one.values - other.values).abs().max() > 1e-3 * one.values.abs().max()


@each
def test_only_signed_methods_give_negative_patches(method):
    model, images = vit(), pictures(8)
    maps = torch.cat([values(model, images, target, method) for target in range(4)])
    assert explain.METHODS[method].signed == bool((maps < 0).any())


LINEAR = [  # in the gradient, so in the target
    *("cdam", "cdam_smooth", "cdam_integrated", "cdam_value", "cdam_key", "cdam_layers"),
    *("gradient_x_input", "integrated_gradients", "token_drop", "occlusion", "attnlrp"),
]


@pytest.mark.parametrize("method", LINEAR)
def test_a_contrast_is_the_difference_of_two_maps(method):
    model, images = vit(), pictures()
    a, b, contrast = (values(model, images, target, method) for target in (0, 3, (0, 3)))
    assert_near(contrast, a - b)


@pytest.mark.parametrize("method", SENSITIVE)
def test_a_function_of_logits_is_the_index_it_picks(method):
    model, images = vit(), pictures()
    picked = values(model, images, lambda logits: logits[:, 2], method)
    assert_near(picked, values(model, images, 2, method))


@pytest.mark.parametrize("method", SENSITIVE)
def test_a_concept_like_a_row_of_the_head_is_that_class(method):
    model, images = vit(), pictures()
    concept = values(model, images, model.head.weight[2].detach(), method)
    assert_near(concept, values(model, images, 2, method))


def test_a_contrast_may_be_another_for_each_image():
    model, images = vit(), pictures()
    found = explain.explain(model, images, ([0, 1, 2], torch.tensor([3, 3, 0])), "cdam").values
    for image, pair, one in zip(images, [(0, 3), (1, 3), (2, 0)], found, strict=True):
        assert_near(explain.explain(model, image[None], pair, "cdam").values[0], one)


@pytest.mark.parametrize(
    "method", ["raw", "rollout", "flow", "grad_rollout", "chefer", "legrad", "cdam_layers"]
)
def test_layers_are_taken_in_their_order_however_they_are_named(method):
    model, images = vit(), pictures()
    one = explain.explain(model, images, 1, method, layers=[0, 2]).values
    assert_near(explain.explain(model, images, 1, method, layers=(-1, 0)).values, one, atol=0)
    assert (explain.explain(model, images, 1, method).values - one).abs().max() > 1e-6


def test_a_map_that_is_zero_everywhere_says_so():
    """Of a single patch GradCAM keeps what speaks for the target, so nothing for one of f and -f."""
    model, images = vit(image_size=6), pictures(3, 6, 6)
    both = [
        explain.explain(model, images, lambda f, sign=sign: sign * f[:, 1], "gradcam") for sign in (1, -1)
    ]
    for found in both:
        blank = [image for image, one in enumerate(found.values) if (one == 0).all()]
        assert found.warnings == (
            (f"the maps of images {blank} are 0 everywhere: nothing there spoke for the target.",)
            if blank
            else ()
        )
    assert sum(len(found.warnings) for found in both) > 0


@pytest.mark.parametrize("method", explain.METHODS)
def test_help_leads_to_the_formula_which_has_an_equation_or_a_source(method):
    """`help(METHODS[...].function)` names a function of a module; the reader finds it there."""
    module, function = re.match(r"`(\w+)\.(\w+)`", explain.METHODS[method].function.__doc__).groups()
    formula = getattr(importlib.import_module(f"attention_core.explain.{module}"), function)
    assert "$" in formula.__doc__ or "(20" in formula.__doc__


def test_every_source_is_in_the_bibliography():
    text = (Path(explain.__file__).parents[2] / "book" / "references.bib").read_text(encoding="utf-8")
    for method in explain.METHODS.values():
        assert f"{{{method.citation}," in text


def test_upsampling_shows_the_patches_or_blurs_them():
    maps = torch.tensor([[[1.0, 2.0], [3.0, 4.0]]])
    assert explain.upsample(maps, (4, 6)).tolist() == [
        [[1.0] * 3 + [2.0] * 3] * 2 + [[3.0] * 3 + [4.0] * 3] * 2
    ]
    blurred = explain.upsample(maps, 4, mode="bilinear")
    assert blurred[0, :, 0].tolist() == [1.0, 1.5, 2.5, 3.0]
