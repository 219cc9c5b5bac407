"""The classifiers of `transformers`: captured is what they compute, and they are left as they were."""

import pytest
import torch
import transformers

from attention_core import explain
from attention_core.models import ViT

from .subjects import assert_near, pictures, scattered

SIZES = {"hidden_size": 8, "num_hidden_layers": 2, "num_attention_heads": 2, "num_labels": 4}
FED = {"intermediate_size": 12, "image_size": (12, 18), "patch_size": 6, "layer_norm_eps": 1e-6}
DINO = {"image_size": 12, "patch_size": 6, "mlp_ratio": 2}
BUILT = {
    "vit": ("ViT", "ForImageClassification", FED),
    "deit": ("DeiT", "ForImageClassification", FED),
    "deit_teacher": ("DeiT", "ForImageClassificationWithTeacher", FED),
    "dinov2": ("Dinov2", "ForImageClassification", DINO),
    "dinov2_gated": ("Dinov2", "ForImageClassification", DINO | {"use_swiglu_ffn": True}),
    "dinov2_registers": ("Dinov2WithRegisters", "ForImageClassification", DINO | {"num_register_tokens": 3}),
}
PREFIX = {"deit": 2, "deit_teacher": 2, "dinov2_registers": 4}
FEW = {"integrated_gradients": {"steps": 2}, "cdam_integrated": {"steps": 2}, "cdam_smooth": {"samples": 2}}


def build(name):
    family, task, sizes = BUILT[name]
    config = getattr(transformers, f"{family}Config")(**SIZES, **sizes)
    return scattered(getattr(transformers, family + task)(config))


@pytest.fixture(params=BUILT)
def theirs(request):
    torch.manual_seed(2)
    model = build(request.param)
    images = pictures(2, 12, 12) if "dinov2" in request.param else pictures(2)
    return request.param, model, images


def test_capture_gives_what_they_compute(theirs):
    name, model, images = theirs
    seen = explain.capture(model, images)
    assert_near(
        seen.logits, model(pixel_values=images).logits, atol=1e-6
    )  # fused; their explicit softmax is float32
    assert seen.grid == ((2, 2) if "dinov2" in name else (2, 3))
    assert seen.prefix == PREFIX.get(name, 1)
    model.set_attn_implementation("eager")
    attentions = model(pixel_values=images, output_attentions=True).attentions
    for ours, matrix in zip(seen.weights, attentions, strict=True):
        assert_near(ours, matrix, atol=0)


def test_they_are_left_as_they_were(theirs):
    _, model, images = theirs
    hooks = {
        module: (dict(module._forward_hooks), dict(module._forward_pre_hooks)) for module in model.modules()
    }
    assert model.config._attn_implementation == "sdpa"
    model.train()
    for method in ("rollout", "attnlrp", "cdam_integrated"):
        explain.explain(model, images, 1, method, **FEW.get(method, {}))
    assert model.config._attn_implementation == "sdpa"
    for module in model.modules():
        assert module.training
        assert (dict(module._forward_hooks), dict(module._forward_pre_hooks)) == hooks[module]
    assert all(parameter.grad is None for parameter in model.parameters())


def test_an_error_on_the_way_leaves_them_as_they_were(theirs):
    _, model, images = theirs

    def fail(*call):
        raise RuntimeError("broken on the way")

    last = model.get_submodule("classifier" if hasattr(model, "classifier") else "cls_classifier")
    handle = last.register_forward_hook(fail)
    for method in ("rollout", "attnlrp"):
        with pytest.raises(RuntimeError, match="broken on the way"):
            explain.explain(model, images, 1, method)
    handle.remove()
    assert model.config._attn_implementation == "sdpa"
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())


@pytest.mark.parametrize("method", [name for name in explain.METHODS if name != "gradcam_literal"])
def test_every_method_works_and_treats_images_by_themselves(theirs, method):
    _, model, images = theirs
    both = explain.explain(model, images, [3, 0], method, **FEW.get(method, {})).values
    alone = explain.explain(model, images[1:], 0, method, **FEW.get(method, {})).values
    assert_near(both[1:], alone)
    assert both.abs().max() > 0


def test_token_drop_scores_the_model_without_the_token(theirs):
    """By hand: their embeddings less one, through their blocks, their norm and their classifier."""
    name, model, images = theirs
    found = explain.explain(model, images, 1, "token_drop").values.flatten(1)
    backbone = getattr(model, model.base_model_prefix)
    prefix, whole = PREFIX.get(name, 1), backbone.embeddings(images)
    model.set_attn_implementation("eager")
    for patch in range(found.shape[1]):
        place = prefix + patch

        def drop(module, inputs, tokens, place=place):
            return torch.cat([tokens[:, :place], tokens[:, place + 1 :]], dim=1)

        handle = backbone.embeddings.register_forward_hook(drop)
        without = model(pixel_values=images).logits
        handle.remove()
        assert whole.shape[1] == prefix + found.shape[1]
        assert_near(found[:, patch], (model(pixel_values=images).logits - without)[:, 1].detach())


@pytest.mark.parametrize("method", [name for name in explain.METHODS if name != "gradcam_literal"])
def test_the_same_weights_in_our_model_give_the_same_map(theirs, method, tmp_path):
    _, model, images = theirs
    model.save_pretrained(tmp_path)
    ours = ViT.from_huggingface(tmp_path, mean=0.0, std=1.0)
    found, expected = (
        explain.explain(each, images, [3, 0], method, **FEW.get(method, {})).values for each in (ours, model)
    )
    assert_near(
        found, expected, atol=1e-6 * max(1.0, expected.abs().max().item())
    )  # theirs: softmax in float32
