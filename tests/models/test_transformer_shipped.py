"""The transformer that ships: what its card says, what it says, and that no head of it is needed alone."""

import re

import pytest

from attention_core import datasets, models
from attention_core.models import shelf
from attention_core.models.sentences.corpus import SIZE
from attention_core.models.sentences.evaluation import error_rate, exact_match
from attention_core.models.transformer import PARTS, layer_error_rates, surprise

NAME = "transformer-en-fr"
MOST_BYTES = 2_000_000


@pytest.fixture(scope="module")
def model():
    return models.load(NAME)


def test_it_is_what_its_card_says(model):
    card, path = models.card(NAME), shelf.FOLDER / f"{NAME}.safetensors"
    assert path.stat().st_size < MOST_BYTES
    assert (card["name"], card["sha256"]) == (NAME, shelf.sha256(path))
    assert card["command"] == "python -m attention_core.models.train transformer --seed 0"
    assert re.fullmatch(r"\d{4}-\d\d-\d\d", card["date"])
    assert card["versions"].keys() == {"python", "torch", "numpy", "safetensors"}
    assert card["hardware"]["processor"]
    assert card["parameters"] == sum(parameter.numel() for parameter in model.parameters())
    sizes = {name: card["recipe"][name] for name in ("width", "heads", "layers", "hidden", "dropout")}
    assert model.options == sizes | {"aligning": card["aligning"]}
    assert card["training"]["history"][-1]["updates"] == 3438
    assert card["training"]["cpu_seconds"] < 240


@pytest.mark.usefixtures("unchecked")  # 36,000 pairs
def test_the_pairs_that_the_card_names_are_those_of_the_package():
    found = datasets.fingerprint(datasets.translation("train", SIZE))
    assert models.card(NAME)["data"] == {
        "source": "datasets.translation", "pairs": SIZE, "fingerprint": found
    }  # fmt: skip


def test_it_is_as_good_as_its_card_says(model):
    metrics, known = models.card(NAME)["metrics"], datasets.translation("test")
    found = exact_match(model.translate_tokens([pair.source for pair in known]), known)
    # Another processor rounds otherwise, and a near tie may fall the other way.
    assert found == pytest.approx(metrics["test exact match"], abs=0.006)
    assert found > 0.9
    assert error_rate(model, known).aer == pytest.approx(metrics["test AER"], abs=0.003)


def test_it_aligns_by_the_layer_that_aligns_best(model):
    metrics, known = models.card(NAME)["metrics"], datasets.translation("validation")
    rates = [scores.aer for scores in layer_error_rates(model, known)]
    told = [metrics[f"validation AER of layer {layer}"] for layer in range(len(rates))]
    assert rates == pytest.approx(told, abs=0.003)
    assert rates.index(min(rates)) == model.aligning == models.card(NAME)["aligning"]


SAID = {
    "I love you": ("je t’aime", [0, 2, 1, 3]),
    "look it up": ("cherchez-le", [0, 1, 3]),
    "he gives us the key": ("il nous donne la clé", [0, 2, 1, 3, 4, 5]),
    "the small black dog eats some bread.": (
        "le petit chien noir mange du pain.", [0, 1, 3, 2, 4, 5, 6, 7, 8]
    ),
    "I do not eat bread.": ("je ne mange pas de pain.", None),
}  # fmt: skip


@pytest.mark.parametrize("text", SAID)
def test_what_it_says_and_where_each_word_looks(model, text):
    french, places = SAID[text]
    found = model.translate(text)
    assert found.text == french
    assert places is None or found.weights.argmax(-1).tolist() == places


def test_a_reading_of_it_has_two_layers_of_four_heads(model):
    reading = model.read("I love you")
    assert reading.target == ("je", "t’", "aime", "</s>")
    assert [weights.shape for weights in reading[3:]] == [(2, 4, 4, 4)] * 3


@pytest.mark.parametrize("part", PARTS)
def test_one_head_less_costs_little_and_all_of_a_part_much(model, part):
    known = datasets.translation("validation")[:60]
    whole = surprise(model, known)
    heads = [(part, layer, head) for layer in range(2) for head in range(4)]
    lost = [surprise(model.without([head]), known) - whole for head in heads]
    everything = surprise(model.without(heads), known) - whole
    assert whole < 0.05
    assert max(lost) < 0.2
    assert everything > 1.5 * max(lost)
