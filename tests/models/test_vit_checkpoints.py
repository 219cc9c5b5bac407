"""Checkpoints of `transformers`: what is read from disk says the same as the model that wrote it."""

import json
import shutil
import warnings
from functools import cache
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import (
    DeiTConfig,
    DeiTForImageClassification,
    DeiTForImageClassificationWithTeacher,
    Dinov2Config,
    Dinov2ForImageClassification,
    Dinov2Model,
    Dinov2WithRegistersConfig,
    Dinov2WithRegistersForImageClassification,
    ViTConfig,
    ViTForImageClassification,
    ViTModel,
)

from attention_core.models import ViT

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
SMALL = {
    "hidden_size": 24,
    "num_hidden_layers": 3,
    "num_attention_heads": 3,
    "image_size": 20,
    "patch_size": 5,
}
OLDER = SMALL | {"intermediate_size": 40, "num_labels": 5}
NEWER = SMALL | {"mlp_ratio": 2, "num_labels": 5}
KINDS = {
    "vit": lambda: ViTForImageClassification(ViTConfig(**OLDER)),
    "vit without biases, other eps": lambda: ViTForImageClassification(
        ViTConfig(**OLDER | {"qkv_bias": False, "layer_norm_eps": 1e-3})
    ),
    "dino": lambda: ViTModel(ViTConfig(**OLDER)),
    "dino without pooler": lambda: ViTModel(ViTConfig(**OLDER), add_pooling_layer=False),
    "deit with teacher": lambda: DeiTForImageClassificationWithTeacher(DeiTConfig(**OLDER)),
    "deit": lambda: DeiTForImageClassification(DeiTConfig(**OLDER)),
    "dinov2": lambda: Dinov2ForImageClassification(Dinov2Config(**NEWER)),
    "dinov2 without labels": lambda: Dinov2Model(Dinov2Config(**NEWER)),
    "dinov2 gated": lambda: Dinov2ForImageClassification(Dinov2Config(**NEWER, use_swiglu_ffn=True)),
    "dinov2 with registers": lambda: Dinov2WithRegistersForImageClassification(
        Dinov2WithRegistersConfig(**NEWER, num_register_tokens=3)
    ),
}


@cache
def written(kind, dtype=torch.float32):
    """The model of a kind, every parameter random, and the folder that it was saved to."""
    torch.manual_seed(len(kind))
    theirs = KINDS[kind]().to(dtype).eval()
    with torch.no_grad():
        for name, parameter in theirs.named_parameters():
            parameter.normal_(mean=1.0 if "norm" in name and "weight" in name else 0.0, std=0.25)
    folder = FOLDER / f"{kind} {dtype}"
    theirs.save_pretrained(folder)
    colours = {"do_normalize": True, "image_mean": MEAN, "image_std": STD}
    (folder / "preprocessor_config.json").write_text(json.dumps(colours))
    return theirs, folder


@pytest.fixture(autouse=True, scope="module")
def _folder(tmp_path_factory):
    global FOLDER
    FOLDER = tmp_path_factory.mktemp("checkpoints")
    yield
    written.cache_clear()


def images(dtype=torch.float32, size=20):
    return torch.rand(2, 3, size, size, generator=torch.Generator().manual_seed(0), dtype=torch.float64).to(
        dtype
    )


def prepared(images):
    mean, std = (torch.tensor(x, dtype=images.dtype)[:, None, None] for x in (MEAN, STD))
    return (images - mean) / std


@torch.no_grad()
def answer(theirs, images, attention, **options):
    theirs.set_attn_implementation(attention)
    said = theirs(prepared(images), output_attentions=attention == "eager", **options)
    return said, said.logits if hasattr(said, "logits") else said.last_hidden_state[:, 0]


@torch.no_grad()
def weights(model, images):
    found, tokens = [], model.embed(images)
    for block in model.blocks:
        found.append(block.attention(block.norm1(tokens)).weights)
        tokens = block(tokens)
    return found


@pytest.mark.parametrize("kind", KINDS)
def test_logits_and_every_attention_weight_are_those_of_the_model_that_was_saved(kind):
    theirs, folder = written(kind)
    model = ViT.from_huggingface(folder)
    said, expected = answer(theirs, images(), "eager")
    assert expected.std() > 0.1  # they do say something
    torch.testing.assert_close(model(images()), expected, atol=1e-5, rtol=0)
    assert len(said.attentions) == len(model.blocks)
    for ours, theirs_ in zip(weights(model, images()), said.attentions, strict=True):
        torch.testing.assert_close(ours, theirs_, atol=1e-6, rtol=0)


@pytest.mark.parametrize("kind", KINDS)
def test_in_float64_they_agree_to_ten_digits(kind):
    """Without explicit weights there: two of the layouts take their softmax in float32."""
    theirs, folder = written(kind, torch.float64)
    model = ViT.from_huggingface(folder)
    assert model.cls_token.dtype == torch.float64
    expected = answer(theirs, images(torch.float64), "sdpa")[1]
    torch.testing.assert_close(model(images(torch.float64)), expected, atol=1e-10, rtol=0)


@pytest.mark.parametrize("kind", KINDS)
def test_images_of_another_size_are_read_with_interpolated_positions(kind):
    theirs, folder = written(kind)
    options = {} if kind.startswith("dinov2") else {"interpolate_pos_encoding": True}
    for size in (30, 10):
        expected = answer(theirs, images(size=size), "sdpa", **options)[1]
        model = ViT.from_huggingface(folder, image_size=size)
        assert model.image_size == (size, size)
        torch.testing.assert_close(model(images(size=size)), expected, atol=1e-5, rtol=0)


def test_what_the_files_say_is_taken_over():
    model = ViT.from_huggingface(written("dinov2 with registers")[1])
    assert (model.prefix, model.grid, model.pool) == (4, (4, 4), "cls_and_mean")
    assert model.options["eps"] == 1e-6
    assert tuple(model.options["mean"]), tuple(model.options["std"]) == (MEAN, STD)
    assert model.classes == ("LABEL_0", "LABEL_1", "LABEL_2", "LABEL_3", "LABEL_4")
    assert not model.training
    assert ViT.from_huggingface(written("vit")[1]).options["eps"] == 1e-12
    assert ViT.from_huggingface(written("deit")[1]).prefix == 2
    dino = ViT.from_huggingface(written("dino")[1])
    assert dino.head is None
    assert dino.classes == ()
    assert dino(images()).shape == (2, 24)


def test_sides_that_differ_are_kept_apart(tmp_path):
    oblong = ViTConfig(**OLDER | {"image_size": (10, 20), "patch_size": (5, 4)})
    theirs = ViTForImageClassification(oblong).eval()
    theirs.save_pretrained(tmp_path)
    given = images()[:, :, :10]
    with warnings.catch_warnings(action="error"):  # nothing is guessed where all is said
        model = ViT.from_huggingface(tmp_path, mean=0.0, std=1.0)
    assert model.grid == (2, 5)
    torch.testing.assert_close(model(given), theirs(given).logits, atol=1e-5, rtol=0)


def test_a_checkpoint_saved_again_by_us_comes_back(tmp_path):
    model = ViT.from_huggingface(written("dinov2 gated")[1])
    model.save(tmp_path / "it.safetensors")
    assert ViT.load(tmp_path / "it.safetensors")(images()).equal(model(images()))


@pytest.fixture
def folder(tmp_path):
    """A copy to break."""
    shutil.copytree(written("vit")[1], tmp_path / "it")
    return tmp_path / "it"


def rewrite(folder, change):
    tensors = load_file(folder / "model.safetensors")
    change(tensors)
    save_file(tensors, folder / "model.safetensors")


def reconfigure(folder, **changes):
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def test_an_older_file_of_weights_is_read_as_well(folder):
    torch.save(load_file(folder / "model.safetensors"), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()
    expected = ViT.from_huggingface(written("vit")[1])(images())
    assert ViT.from_huggingface(folder)(images()).equal(expected)


def test_half_precision_is_read_as_float32(folder):
    rewrite(folder, lambda tensors: tensors.update({k: v.half() for k, v in tensors.items()}))
    model = ViT.from_huggingface(folder)
    assert model.cls_token.dtype == torch.float32
    torch.testing.assert_close(
        model(images()), written("vit")[0](prepared(images())).logits, atol=0.05, rtol=0
    )


def test_colours_that_no_file_tells_are_halves_with_a_warning(folder):
    (folder / "preprocessor_config.json").unlink()
    with pytest.warns(UserWarning, match="`mean=` and `std=`"):
        model = ViT.from_huggingface(folder)
    assert model.options["mean"] == model.options["std"] == [0.5] * 3
    (folder / "preprocessor_config.json").write_text('{"do_normalize": false}')
    assert ViT.from_huggingface(folder).options["std"] == [1.0] * 3


@pytest.mark.parametrize("told", ['{"do_normalize": false}', '{"image_mean": [0.5, 0.5, 0.5]}'])
def test_colours_that_are_said_come_before_those_of_the_file(told, folder):
    (folder / "preprocessor_config.json").write_text(told)
    model = ViT.from_huggingface(folder, mean=0.25, std=(2.0, 3.0, 4.0))
    assert (model.options["mean"], model.options["std"]) == ([0.25] * 3, [2.0, 3.0, 4.0])


ATTENTION = "vit.encoder.layer.1.attention.attention.key.weight"
BROKEN = {
    f"lacks {ATTENTION.removeprefix('vit.')} Get the file again": lambda folder: rewrite(
        folder, lambda tensors: tensors.pop(ATTENTION)
    ),
    "holds encoder.layer.1.attention no place (32 such": lambda folder: reconfigure(
        folder, num_hidden_layers=1
    ),
    "lacks encoder.layer.3": lambda folder: reconfigure(folder, num_hidden_layers=4),
    "position_embeddings (17, 24) (26, 24) another model": lambda folder: reconfigure(folder, image_size=25),
    "intermediate.dense.weight (40, 24) (48, 24)": lambda folder: reconfigure(folder, intermediate_size=48),
    "holds 'extra.weight' (1 such": lambda folder: rewrite(
        folder, lambda tensors: tensors.update({"extra.weight": torch.zeros(2)})
    ),
    "lacks in memory save_pretrained": lambda folder: rewrite(
        folder,
        lambda tensors: tensors.update({"vit.layers.1.attention.q_proj.weight": tensors.pop(ATTENTION)}),
    ),
    "`model_type` 'clip' vit, deit, dinov2": lambda folder: reconfigure(folder, model_type="clip"),
    "`hidden_act` 'gelu' 'relu'": lambda folder: reconfigure(folder, hidden_act="relu"),
    "`patch` divide": lambda folder: reconfigure(folder, patch_size=6),
    "no config.json save_pretrained": lambda folder: (folder / "config.json").unlink(),
    "config.json is no JSON": lambda folder: (folder / "config.json").write_text("{"),
    "neither model.safetensors max_shard_size": lambda folder: (folder / "model.safetensors").unlink(),
    "model.safetensors is damaged": lambda folder: (folder / "model.safetensors").write_bytes(b"none"),
    "no folder": shutil.rmtree,
}


@pytest.mark.parametrize("words", BROKEN)
def test_what_does_not_fit_is_named_with_the_remedy(words, folder):
    BROKEN[words](folder)
    with pytest.raises((ValueError, FileNotFoundError)) as caught:
        ViT.from_huggingface(folder)
    assert [word for word in words.split() if word not in str(caught.value)] == [], str(caught.value)


def test_a_name_is_fetched(monkeypatch):
    import huggingface_hub

    asked = {}

    def fetch(name, allow_patterns):
        asked[name] = allow_patterns
        return str(written("dino")[1])

    monkeypatch.setattr(huggingface_hub, "snapshot_download", fetch)
    assert ViT.from_huggingface("facebook/dino-vits16").head is None
    assert "model.safetensors" in asked["facebook/dino-vits16"]


def test_a_name_that_cannot_be_fetched_says_so(monkeypatch):
    import huggingface_hub

    def fail(*_, **__):
        raise OSError("no network")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", fail)
    with pytest.raises(FileNotFoundError, match=r"no folder here.*no network.*give the folder"):
        ViT.from_huggingface("facebook/dino-vits16")
    with pytest.raises(FileNotFoundError, match="save_pretrained"):
        ViT.from_huggingface(Path("nowhere"))


def test_without_the_package_that_fetches_the_remedy_is_to_install_it(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "huggingface_hub", None)
    with pytest.raises(ImportError, match="pip install huggingface_hub"):
        ViT.from_huggingface("facebook/dino-vits16")
