"""Files of weights: whole or refused; the models that ship are what their cards say."""

import json
import re

import pytest
import torch
from safetensors.torch import save_file

from attention_core import datasets, models
from attention_core.models import shelf
from attention_core.models.translator import ATTENTIONS, exact_match
from attention_core.models.translator.command import SIZE

from .translations import pairs, translator

TRANSLATORS = [name for name in models.names() if name.startswith("translator")]
MOST_BYTES, MOST_TRACE_BYTES = 2_000_000, 300_000


@pytest.mark.parametrize("attention", ATTENTIONS)
def test_a_saved_translator_is_the_same_when_loaded(attention, tmp_path):
    model = translator(attention, dtype=torch.float32)
    model.save(tmp_path / "it.safetensors")
    again = models.Translator.load(tmp_path / "it.safetensors")
    assert again.options == model.options
    assert (again.source, again.target) == (model.source, model.target)
    assert not again.training
    for one, two in zip(
        *(m.translate_tokens([p.source for p in pairs(4)]) for m in (model, again)), strict=True
    ):
        assert one.target == two.target
        assert one.log_probability == two.log_probability


def test_saving_twice_gives_the_same_bytes(tmp_path):
    model = translator(dtype=torch.float32)
    for name in ("one", "two"):
        model.save(tmp_path / name)
    assert shelf.sha256(tmp_path / "one") == shelf.sha256(tmp_path / "two")


def damaged(tmp_path, change):
    path = tmp_path / "translator-additive.safetensors"
    translator(dtype=torch.float32).save(path)
    path.write_bytes(change(path.read_bytes()))
    return path


def flipped(content):
    """One bit of one number in the middle."""
    place = len(content) - 2001
    return content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :]


DAMAGE = {
    "cut short": lambda content: content[: len(content) // 2],
    "empty": lambda content: b"",
    "a bit flipped": flipped,
    "text": lambda content: b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1700000\n",
    "its header overwritten": lambda content: b"\xff" * 8 + content[8:],
}


@pytest.mark.parametrize("how", DAMAGE)
def test_a_damaged_file_is_refused_with_what_to_do(how, tmp_path):
    path = damaged(tmp_path, DAMAGE[how])
    with pytest.raises(
        shelf.DamagedWeights, match=r"translator-additive\.safetensors is damaged.*Train it anew"
    ):
        models.Translator.load(path)


def test_a_file_of_another_version_or_kind_is_refused_with_what_to_do(tmp_path, monkeypatch):
    path = tmp_path / "translator-additive.safetensors"
    with monkeypatch.context() as patch:
        patch.setattr(shelf, "VERSION", 99)
        translator(dtype=torch.float32).save(path)
    with pytest.raises(
        shelf.DamagedWeights, match=r"format 99; this version .* format 1\. Train it anew with `p"
    ):
        models.Translator.load(path)
    shelf.save(path, "vit", {}, {"x": torch.ones(2)})
    with pytest.raises(shelf.DamagedWeights, match="holds a vit of format 1"):
        models.Translator.load(path)
    save_file({"x": torch.ones(2)}, path)
    with pytest.raises(shelf.DamagedWeights, match="no file of weights of this package"):
        models.Translator.load(path)


def test_a_missing_file_is_named_with_what_to_do(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no file lost\.safetensors\. Train it anew"):
        models.Translator.load(tmp_path / "lost.safetensors")


@pytest.mark.usefixtures("unchecked")
def test_an_unknown_name_is_told_what_there_is():
    with pytest.raises(ValueError, match=r"one of .*translator-additive.*got 'nonsense'") as raised:
        models.load("nonsense")
    assert all(name in str(raised.value) for name in models.names())
    with pytest.raises(ValueError, match=r"one of translator-additive, translator-guided.*trace"):
        models.trace("translator-none")


# -- what ships --------------------------------------------------------------------------------------------


def test_attention_ships_and_its_absence_and_the_guided_one():
    assert {"translator-additive", "translator-guided", "translator-none"} <= set(models.names())


@pytest.mark.parametrize("name", TRANSLATORS)
def test_what_ships_is_what_its_card_says(name):
    card = models.card(name)
    path = shelf.FOLDER / f"{name}.safetensors"
    assert path.stat().st_size < MOST_BYTES
    assert (card["name"], card["sha256"]) == (name, shelf.sha256(path))
    assert card["command"].startswith("python -m attention_core.models.train translator --attention ")
    assert re.fullmatch(r"\d{4}-\d\d-\d\d", card["date"])
    assert {"python", "torch", "numpy", "safetensors"} == card["versions"].keys()
    assert card["hardware"]["processor"]
    model = models.load(name)
    assert card["parameters"] == sum(parameter.numel() for parameter in model.parameters())
    assert (model.attention, model.options["width"]) == (card["recipe"]["attention"], card["recipe"]["width"])


@pytest.mark.usefixtures("unchecked")  # 36,000 pairs
def test_the_pairs_that_the_cards_name_are_those_of_the_package():
    found = datasets.fingerprint(datasets.translation("train", SIZE))
    assert {models.card(name)["data"]["fingerprint"] for name in TRANSLATORS} == {found}


@pytest.mark.parametrize("name", ["translator-additive", "translator-none"])
def test_a_model_that_ships_is_as_good_as_its_card_says(name):
    known = datasets.translation("test")
    found = exact_match(models.load(name).translate_tokens([pair.source for pair in known]), known)
    # Another processor rounds otherwise, and a near tie may fall the other way.
    assert found == pytest.approx(models.card(name)["metrics"]["test exact match"], abs=0.006)


@pytest.mark.parametrize("name", ["translator-guided", "translator-additive"])
def test_i_love_you_is_translated_and_aligned(name):
    found = models.load(name).translate("I love you")
    assert found.text == "je t’aime"
    assert found.target == ("je", "t’", "aime", "</s>")
    assert found.weights.argmax(-1).tolist() == [0, 2, 1, 3]


@pytest.mark.parametrize("name", ["translator-additive", "translator-guided"])
def test_a_trace_that_ships_ends_in_the_model_that_ships(name):
    path = shelf.FOLDER / f"{name}.trace.npz"
    trace = models.trace(name)
    assert path.stat().st_size < MOST_TRACE_BYTES
    assert sum(shown.weights.nbytes for shown in trace.sentences.values()) < MOST_TRACE_BYTES
    assert 12 <= len(trace) <= 25
    assert set(trace.sentences) == set(datasets.showcase())
    showcase = datasets.showcase()
    for name_of_sentence, weights in zip(
        showcase, models.load(name).align(list(showcase.values())), strict=True
    ):
        shown = trace.sentences[name_of_sentence]
        torch.testing.assert_close(torch.from_numpy(shown.weights[-1]), weights, atol=1e-4, rtol=0)
    assert trace.aer[-1] < trace.aer[0]


def test_a_cards_command_is_what_the_trainer_takes():
    from attention_core.models.train import command_of, parser

    for name in models.names():
        words = models.card(name)["command"].split()
        assert words[:3] == ["python", "-m", "attention_core.models.train"]
        assert command_of(parser().parse_args(words[3:])).split() == words
        assert json.dumps(models.card(name))
