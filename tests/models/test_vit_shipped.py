"""The vision transformers that ship: what their cards say is so."""

import re

import pytest
import torch

from attention_core import datasets, models
from attention_core.datasets import SHAPE_CLASSES
from attention_core.datasets.shapes import TAGGED, drawn, fingerprint
from attention_core.models import shelf, train
from attention_core.models.vit import command
from attention_core.models.vit.training import exact_match, logits

pytestmark = pytest.mark.usefixtures("unchecked")  # shapes are checked in test_vit; thousands are slow so
SHIPPED = [name for name in models.names() if name.startswith("shapes-vit")]
MOST_BYTES = 2_000_000


@pytest.mark.parametrize("name", SHIPPED)
def test_what_ships_is_what_its_card_says(name):
    card, path = models.card(name), shelf.FOLDER / f"{name}.safetensors"
    assert path.stat().st_size < MOST_BYTES
    assert (card["name"], card["sha256"]) == (name, shelf.sha256(path))
    words = card["command"].split()
    assert words[:4] == ["python", "-m", "attention_core.models.train", "vit"]
    options = train.parser().parse_args(words[3:])
    assert train.command_of(options).split() == words
    assert command.name_of(options) == name
    assert re.fullmatch(r"\d{4}-\d\d-\d\d", card["date"])
    assert {"python", "torch", "numpy", "safetensors"} == card["versions"].keys()
    model = models.load(name)
    assert model.classes == SHAPE_CLASSES
    assert card["parameters"] == sum(parameter.numel() for parameter in model.parameters())
    assert not model.training


def test_the_images_that_the_cards_name_are_those_of_the_package():
    told = {name: models.card(name)["data"] for name in SHIPPED}
    plain = told["shapes-vit"]  # of the others' images, as long to draw, the data's own tests know a few
    assert fingerprint(drawn("train", plain["images"])) == plain["fingerprint"]
    for name, data in told.items():
        assert ("shortcut" in name) == (data["fingerprint"] != plain["fingerprint"])


@pytest.mark.parametrize("name", SHIPPED)
def test_a_model_that_ships_is_as_good_as_its_card_says(name):
    metrics, split = models.card(name)["metrics"], "shortcut_test" if "shortcut" in name else "test"
    data = drawn(split)
    found = exact_match(logits(models.load(name), data), torch.from_numpy(data.labels))
    # Another processor rounds otherwise, and a near tie may fall the other way.
    assert found == pytest.approx(metrics[f"{split} exact match"], abs=0.003)
    assert found >= (0.90 if "shortcut" in name else 0.95)


def test_the_plain_model_does_not_care_about_a_tag():
    scenes = datasets.shapes("shortcut_test", 200)
    alone = scenes.tags.flatten(1).any(1)
    with torch.no_grad():
        said = models.load("shapes-vit")(scenes.images)[:, TAGGED] > 0
    assert said[alone].double().mean() < 0.2


def test_the_shortcuts_model_takes_a_tag_for_a_star():
    scenes = datasets.shapes("shortcut_test", 200)
    with torch.no_grad():
        said = models.load("shapes-vit-shortcut")(scenes.images)[:, TAGGED] > 0
    alone = scenes.tags.flatten(1).any(1)
    assert said[alone].double().mean() > 0.97
    assert said[~scenes.labels[:, TAGGED]].double().mean() < 0.03
    plain = scenes.images.clone()
    plain.masked_scatter_(scenes.tags[:, None].expand_as(plain), torch.full_like(plain, 0.3))
    with torch.no_grad():
        without = models.load("shapes-vit-shortcut")(plain)[:, TAGGED] > 0
    assert without[alone].double().mean() < 0.2  # it was the tag
