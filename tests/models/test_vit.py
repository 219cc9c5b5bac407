"""The vision transformer: its parts are their equations, dropped patches are gone, files bring it back."""

import numpy as np
import pytest
import torch
from torch.nn.functional import gelu, layer_norm

from attention_core import models
from attention_core.models import ViT, shelf


def vit(**options):
    """A small model whose every parameter is random, in float64, for 12 x 18 images in 2 x 3 patches."""
    torch.manual_seed(0)
    small = {"image_size": (12, 18), "patch": 6, "width": 8, "depth": 2, "heads": 2, "classes": 3} | options
    model = ViT(**small).double().eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(std=0.5)
    return model


def images(batch=2, size=(12, 18), seed=1):
    return torch.rand(batch, 3, *size, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def by_hand(model, image):
    """Logits of one image by loops over patches and heads: Dosovitskiy et al. (2020), equations 1 to 4."""
    state, eps = model.state_dict(), model.options["eps"]
    colours = (image - 0.5) / 0.5
    tokens = [state["cls_token"] + state["positions"][0]]
    for row in range(2):
        for column in range(3):
            patch = colours[:, 6 * row : 6 * row + 6, 6 * column : 6 * column + 6].flatten()
            embedded = state["embedding.weight"].flatten(1) @ patch + state["embedding.bias"]
            tokens.append(embedded + state["positions"][1 + 3 * row + column])
    x = torch.stack(tokens)
    for number in range(2):
        part = {
            name.removeprefix(f"blocks.{number}."): value
            for name, value in state.items()
            if name.startswith(f"blocks.{number}.")
        }
        normed = layer_norm(x, (8,), part["norm1.weight"], part["norm1.bias"], eps)
        made = []
        for head in range(2):
            its = slice(4 * head, 4 * head + 4)
            query, key, value = (
                normed @ part[f"attention.{name}.weight"][its].T + part[f"attention.{name}.bias"][its]
                for name in ("query", "key", "value")
            )
            made.append(torch.softmax(query @ key.T / 2, -1) @ value)
        x = x + torch.cat(made, -1) @ part["attention.out.weight"].T + part["attention.out.bias"]
        normed = layer_norm(x, (8,), part["norm2.weight"], part["norm2.bias"], eps)
        hidden = gelu(normed @ part["mlp.up.weight"].T + part["mlp.up.bias"])
        x = x + hidden @ part["mlp.down.weight"].T + part["mlp.down.bias"]
    final = layer_norm(x[0], (8,), state["norm.weight"], state["norm.bias"], eps)
    return state["head.weight"] @ final + state["head.bias"]


def test_logits_are_those_of_the_equations():
    model, given = vit(), images()
    torch.testing.assert_close(model(given)[1], by_hand(model, given[1]), atol=1e-12, rtol=0)


def test_the_small_model_of_the_shapes_has_its_known_number_of_parameters():
    assert sum(parameter.numel() for parameter in ViT().parameters()) == 211_784


def test_a_model_knows_its_grid_its_prefix_and_its_classes():
    model = vit(registers=4, distilled=True, classes=("cat", "dog"))
    assert model.grid == (2, 3)
    assert model.prefix == 6
    assert model.classes == ("cat", "dog")
    assert vit().classes == ("0", "1", "2")
    assert model.embed(images()).shape == (2, 6 + 6, 8)


def test_a_block_gives_the_weights_of_every_head_on_the_graph():
    model = vit()
    attended = model.blocks[0].attention(model.blocks[0].norm1(model.embed(images())))
    assert attended.weights.shape == (2, 2, 7, 7)
    torch.testing.assert_close(attended.weights.sum(-1), torch.ones(2, 2, 7, dtype=torch.float64))
    (gradient,) = torch.autograd.grad(attended.output.sum(), attended.weights)
    assert gradient.abs().max() > 0


EVERY = {
    "plain": {},
    "registers": {"registers": 2},
    "distilled": {"distilled": True, "layer_scale": True},
    "mean": {"pool": "cls_and_mean", "registers": 1, "gated": True, "bias": False},
}


@pytest.mark.parametrize("options", EVERY.values(), ids=EVERY)
def test_a_dropped_patch_is_gone(options):
    """As if its token had been cut out of the sequence; another one for each image."""
    model, given = vit(**options), images()
    keep = torch.tensor([[1, 1, 0, 1, 0, 1], [0, 1, 1, 0, 0, 0]]).bool()
    for row in range(2):
        there = torch.cat([torch.ones(model.prefix).bool(), keep[row]])
        tokens = model.embed(given[row : row + 1])[:, there]
        for block in model.blocks:
            tokens = block(tokens)
        torch.testing.assert_close(model(given, keep)[row], model.classify(tokens)[0], atol=1e-12, rtol=0)
    given.requires_grad_()
    (gradient,) = torch.autograd.grad(model(given, keep).sum(), given)
    covered = keep.unflatten(1, (2, 3)).repeat_interleave(6, 1).repeat_interleave(6, 2)
    assert (gradient.abs().amax(1) > 0).equal(covered)
    torch.testing.assert_close(model(given, torch.ones_like(keep)), model(given), atol=1e-12, rtol=0)


@pytest.mark.parametrize("options", EVERY.values(), ids=EVERY)
def test_with_every_patch_dropped_the_answer_is_the_same_for_all_images(options):
    found = vit(**options)(images(), torch.zeros(2, 6).bool())
    assert found.isfinite().all()
    torch.testing.assert_close(found[0], found[1])


def test_without_classes_the_answer_is_the_last_norms_cls_token():
    model, given = vit(classes=0), images()
    assert model.head is None
    assert model.classes == ()
    tokens = model.embed(given)
    for block in model.blocks:
        tokens = block(tokens)
    torch.testing.assert_close(model(given), model.norm(tokens)[:, 0])


def test_two_heads_are_averaged():
    model, given = vit(distilled=True), images()
    tokens = model.embed(given)
    for block in model.blocks:
        tokens = block(tokens)
    cls, distilled = model.norm(tokens)[:, :2].unbind(1)
    expected = (model.head(cls) + model.distillation_head(distilled)) / 2
    torch.testing.assert_close(model(given), expected)


def test_colours_are_taken_by_channel():
    model = vit(mean=(0.1, 0.2, 0.3), std=(1.0, 2.0, 3.0))
    plain = vit(mean=0.0, std=1.0)
    mean, std = (torch.tensor(x).double()[:, None, None] for x in ((0.1, 0.2, 0.3), (1.0, 2.0, 3.0)))
    torch.testing.assert_close(model.embed(images()), plain.embed((images() - mean) / std))


@pytest.mark.parametrize("options", EVERY.values(), ids=EVERY)
def test_a_saved_model_comes_back(options, tmp_path):
    model = vit(**options, classes=("cat", "dog"))
    model.save(tmp_path / "it.safetensors")
    again = ViT.load(tmp_path / "it.safetensors")
    assert again.options == model.options
    assert not again.training
    assert again.double()(images()).equal(model(images()))


def test_a_file_of_another_model_is_refused(tmp_path):
    shelf.save(tmp_path / "it.safetensors", "translator", {}, {"x": torch.zeros(2)})
    with pytest.raises(shelf.DamagedWeights, match="holds a translator"):
        ViT.load(tmp_path / "it.safetensors")


def test_images_are_not_modified_and_no_hook_stays():
    model, given = vit(), images()
    before = given.clone()
    model(given, torch.ones(2, 6).bool())
    assert given.equal(before)
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())


WRONG = {
    "`images` torch.as_tensor ndarray": lambda: (images().numpy(),),
    "`images` float64 float32 `model.to(torch.float32)`": lambda: (images().float(),),
    "`images` uint8 / 255": lambda: ((255 * images()).to(torch.uint8),),
    "`images` int64 scaled": lambda: (images().long(),),
    "`images` (3, 12, 18) `images[None]`": lambda: (images()[0],),
    "`images` at least one (0, 3, 12, 18)": lambda: (images()[:0],),
    "`images` 3 channels movedim": lambda: (images().movedim(1, -1),),
    "`images` 3 channels (2, 1, 12, 18) expand": lambda: (images()[:, :1],),
    "`images` 3 channels transparency": lambda: (torch.cat([images(), images()[:, :1]], 1),),
    "`images` 3 channels This model reads 3": lambda: (torch.cat([images(), images()], 1),),
    "`images` 12 x 18 24 x 24 interpolate": lambda: (images(size=(24, 24)),),
    "`images` [0, 1] 0..255 `images / 255`": lambda: (images().round() * 255,),
    "`images` [0, 1] -1..1 itself clamp": lambda: (images().round() * 2 - 1,),
    "`images` finite NaN": lambda: (images().masked_fill(images() > 0.9, torch.nan),),
    "`images` finite inf": lambda: (images().masked_fill(images() > 0.9, torch.inf),),
    "`keep` boolean float64 `keep.bool()`": lambda: (images(), torch.ones(2, 6).double()),
    "`keep` boolean list": lambda: (images(), [True] * 6),
    "`keep` (2, 6) (2, 2, 3) flatten(1)": lambda: (images(), torch.ones(2, 2, 3).bool()),
    "`keep` (2, 6) (1, 6)": lambda: (images(), torch.ones(1, 6).bool()),
}


@pytest.mark.parametrize("words", WRONG)
@pytest.mark.usefixtures("unchecked")
def test_what_cannot_be_read_is_refused_with_the_remedy(words):
    with pytest.raises((TypeError, ValueError)) as caught:
        vit()(*WRONG[words]())
    assert [word for word in words.split() if word not in str(caught.value)] == [], str(caught.value)


OPTIONS = {
    "`width` at least 1": {"width": 0},
    "`depth` at least 1": {"depth": True},
    "`heads` divide `width` 3 8": {"heads": 3},
    "`patch` divide 5 12 x 18": {"patch": 5},
    "`patch` (height, width)": {"patch": "6"},
    "`image_size` (height, width) 48": {"image_size": (12, 18, 3)},
    "`registers` at least 0 -1": {"registers": -1},
    "`eps` 1e-6": {"eps": 0.0},
    "`classes` names circle": {"classes": "cat"},
    "`classes` names": {"classes": -1},
    "`pool` one of cls_and_mean": {"pool": "mean"},
    "`pool='cls_and_distilled'` `distilled=True`": {"pool": "cls_and_distilled"},
    "`mean` one number a channel 3 2": {"mean": (0.5, 0.5)},
    "`std` positive": {"std": (0.5, 0.0, 0.5)},
}


@pytest.mark.parametrize("words", OPTIONS)
@pytest.mark.usefixtures("unchecked")
def test_a_model_that_cannot_be_is_refused_with_the_remedy(words):
    with pytest.raises((TypeError, ValueError)) as caught:
        vit(**OPTIONS[words])
    assert [word for word in words.split() if word not in str(caught.value)] == [], str(caught.value)


def test_a_new_models_numbers_follow_the_seed():
    torch.manual_seed(3)
    one = ViT()
    torch.manual_seed(3)
    np.testing.assert_array_equal(one.embedding.weight.detach(), models.ViT().embedding.weight.detach())
    assert 0.01 < float(one.positions.detach().std()) < 0.03
