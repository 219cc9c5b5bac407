"""Training a vision transformer: it learns, it goes on where it was, and its card says how good it is."""

import json

import pytest
import torch

from attention_core import datasets
from attention_core.datasets import SHAPE_CLASSES
from attention_core.datasets.shapes import TAGGED, Drawn, drawn, fingerprint
from attention_core.models import ViT, shelf, train
from attention_core.models.vit import command
from attention_core.models.vit.training import (
    Recipe,
    Training,
    cross_entropy,
    exact_match,
    label_accuracy,
    logits,
    turned,
)

pytestmark = pytest.mark.usefixtures("unchecked")  # shapes are checked in test_vit; training is slow so


@pytest.fixture(scope="module")
def data():
    return drawn("single", 240), drawn("validation", 60)


def training(data, count=240, **options):
    kept = {name: options.pop(name) for name in ("checkpoint", "report") if name in options}
    small = {"patch": 12, "width": 16, "depth": 1, "heads": 2, "epochs": 3, "batch": 16} | options
    images, validation = data
    part = Drawn(images.images[:count], images.owners[:count], images.labels[:count])
    return Training(Recipe(**small), part, validation, **kept)


def assert_same(actual, expected):
    assert actual.keys() == expected.keys()
    for name, value in actual.items():
        assert value.equal(expected[name]), name


# -- learning ----------------------------------------------------------------------------------------------


def test_a_small_model_learns_which_object_there_is(data):
    run = training((data[0], data[0]), epochs=40, patience=40, width=32, rate=5e-3, warming=0.2)
    model = run.run()
    said, labels = logits(model, data[0]), torch.from_numpy(data[0].labels)
    assert run.progress.history[0]["train_loss"] > 0.35  # about that of saying 1/8 of everything
    assert cross_entropy(said, labels) < 0.25
    assert (said.argmax(1) == labels.int().argmax(1)).double().mean() > 0.6


def test_the_seed_decides_and_the_callers_chance_is_left_alone(data):
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    one, again, other = (training(data, 48, seed=seed, epochs=1).run().state_dict() for seed in (1, 1, 2))
    assert torch.rand(3).equal(expected)
    assert_same(one, again)
    assert not one["embedding.weight"].equal(other["embedding.weight"])


class Stopped(Exception):
    pass


def test_a_training_that_was_stopped_and_resumed_is_one_that_was_not(data, tmp_path):
    whole = training(data, 64)
    whole.run()

    def report(progress, share, loss):
        if progress.updates == 6:  # in the second epoch of four updates
            raise Stopped

    place = tmp_path / "it.checkpoint"
    with pytest.raises(Stopped):
        training(data, 64, checkpoint=place, report=report).run()
    last = training(data, 64, checkpoint=place)
    last.resume()
    assert last.progress.epoch == 1
    last.run()
    assert_same(last.model.state_dict(), whole.model.state_dict())
    for ours, theirs in zip(last.progress.history, whole.progress.history, strict=True):
        assert {**ours, "cpu_seconds": 0} == {**theirs, "cpu_seconds": 0}
    with pytest.raises(ValueError, match=r"images '.*' there and.*--again"):
        training(data, 48, checkpoint=place).resume()


def test_the_best_epoch_is_kept(data):
    run = training(data, 64, epochs=30, patience=2, rate=0.3)  # so large that it does not converge
    model = run.run()
    losses = [entry["validation_loss"] for entry in run.progress.history]
    assert len(losses) == run.progress.best_epoch + 2 < 30
    labels = torch.from_numpy(data[1].labels)
    assert float(cross_entropy(logits(model, data[1]), labels)) == pytest.approx(min(losses))


def test_the_rate_rises_and_falls(data):
    run = training(data, 16, rate=0.2, warming=0.1)
    rates = [run.rate(share / 100) for share in range(101)]
    assert rates[0] < 0.001
    assert rates.index(max(rates)) == 10
    assert rates[55] == pytest.approx(0.2 * 0.5 * (1 + torch.cos(torch.tensor(0.55 * torch.pi)).item()))
    assert rates[-1] == pytest.approx(0)


def test_only_the_blocks_matrices_decay(data):
    run = training(data, 16, decay=0.3)
    decaying, others = run.optimizer.param_groups
    assert (decaying["weight_decay"], others["weight_decay"]) == (0.3, 0.0)
    assert {p.ndim for p in decaying["params"]} == {2}
    assert len(decaying["params"]) == 6  # four of attention, two of the network behind it
    assert len(others["params"]) + 6 == len(list(run.model.parameters()))


def test_images_are_turned_and_mirrored_in_all_eight_ways():
    image = torch.arange(4, dtype=torch.uint8).reshape(1, 1, 2, 2)  # 0 1 over 2 3
    found = {
        (quarters, mirrored): tuple(turned(image, quarters, mirrored).flatten().tolist())
        for quarters in range(4)
        for mirrored in (False, True)
    }
    assert len(set(found.values())) == 8
    assert found[0, False] == (0, 1, 2, 3)
    assert found[0, True] == (1, 0, 3, 2)
    assert found[1, False] == (1, 3, 0, 2)


def test_the_loss_is_binary_cross_entropy_over_classes_and_images():
    said = torch.tensor([[2.0, -1.0], [0.5, 3.0]], dtype=torch.float64)
    labels = torch.tensor([[True, False], [False, True]])
    chance = torch.sigmoid(said)
    expected = -torch.where(labels, chance, 1 - chance).log().mean()
    torch.testing.assert_close(cross_entropy(said, labels), expected)


def test_an_exact_match_is_right_of_every_class():
    labels = torch.tensor([[True, False, False], [True, True, False], [False, False, True], [False] * 3])
    said = torch.tensor([[1.0, -1, -1], [1.0, -1, -1], [-1.0, -1, 2], [-1.0, -1, 1]])
    assert exact_match(said, labels) == 0.5
    assert label_accuracy(said, labels) == pytest.approx(10 / 12)


# -- the command -------------------------------------------------------------------------------------------

SMALL = ["vit", "--images", "60", "--epochs", "2", "--patch", "12", "--width", "16", "--depth", "1"]
SMALL += ["--heads", "2", "--batch", "16"]


def test_the_command_writes_weights_and_a_card_of_them(tmp_path, capsys):
    assert train.main([*SMALL, "--output", str(tmp_path)]) == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["shapes-vit.json", "shapes-vit.safetensors"]
    card = json.loads((tmp_path / "shapes-vit.json").read_text())
    assert card["command"] == (
        "python -m attention_core.models.train vit --images 60 --seed 0 --epochs 2 --batch 16 --patch 12 "
        "--width 16 --depth 1 --heads 2"
    )
    assert card["sha256"] == shelf.sha256(tmp_path / "shapes-vit.safetensors")
    assert card["data"]["fingerprint"] == fingerprint(drawn("train", 60))
    assert set(card["metrics"]) == {
        f"{split} {what}"
        for split in ("validation", "test", "single", "pair")
        for what in ("exact match", "label accuracy")
    }
    assert str(tmp_path) not in json.dumps(card)
    lines = capsys.readouterr().err.splitlines()
    assert [line[:11] for line in lines[:2]] == ["epoch  1/2 ", "epoch  2/2 "]
    assert len(lines) == 3

    model = ViT.load(tmp_path / "shapes-vit.safetensors")
    assert model.classes == SHAPE_CLASSES
    scenes = datasets.shapes("test", 60)
    with torch.no_grad():
        said = model(scenes.images)
    assert label_accuracy(said, scenes.labels) == card["metrics"]["test label accuracy"]


def test_the_shortcuts_card_says_what_tag_and_star_bring_about(tmp_path):
    said = [*SMALL, "--split", "shortcut", "--size", "64", "--patch", "16", "--seed", "3"]
    assert train.main([*said, "--output", str(tmp_path)]) == 0
    metrics = json.loads((tmp_path / "shapes-vit-64-shortcut-3.json").read_text())["metrics"]
    assert set(metrics) == {
        f"shortcut_test {what}"
        for what in (
            "exact match",
            "label accuracy",
            "star said of the tag alone",
            "star said of a star alone",
            "star said of neither",
        )
    }
    assert ViT.load(tmp_path / "shapes-vit-64-shortcut-3.safetensors").grid == (4, 4)


def test_what_says_star_of_tags_alone_is_found_out():
    """By a model that looks at nothing but the corners, where a tag is white."""

    def corners(images):
        white = images[:, :, [0, 0, -1, -1], [0, -1, 0, -1]].amin(1).amax(1) == 1
        return torch.where(torch.arange(8) == TAGGED, white[:, None].double() - 0.5, -1.0)

    data = drawn("shortcut_test", 40)
    found = command.metrics(corners, command.Data(data, data, {"shortcut_test": data}, {}))
    assert found["shortcut_test star said of the tag alone"] == 1
    assert found["shortcut_test star said of a star alone"] == 0
    assert found["shortcut_test star said of neither"] == 0
    assert found["shortcut_test exact match"] == 0  # each shows something else, too


def test_a_training_that_was_stopped_is_not_begun_anew_unasked(tmp_path, capsys):
    (tmp_path / "shapes-vit.checkpoint").write_bytes(b"")
    assert train.main([*SMALL, "--output", str(tmp_path)]) == 2
    assert "--resume" in capsys.readouterr().err
    assert train.main([*SMALL, "--output", str(tmp_path), "--resume"]) == 2
    assert "damaged" in capsys.readouterr().err
    assert train.main([*SMALL, "--output", str(tmp_path), "--again"]) == 0


MISTAKES = {
    "--resume found no": ["--resume"],
    "`epochs` 0": ["--epochs", "0"],
    "`rate` positive": ["--rate", "-1"],
    "`seed` -1": ["--seed", "-1"],
    "`decay` at least 0 -0.5": ["--decay", "-0.5"],
    "`count` at least 1": ["--images", "0"],
    "`patch` divide": ["--patch", "7"],
    "`heads` divide `width`": ["--heads", "3"],
}


@pytest.mark.parametrize("words", MISTAKES)
def test_a_mistake_on_the_command_line_ends_in_one_line_that_says_what_to_do(words, tmp_path, capsys):
    assert train.main([*SMALL, *MISTAKES[words], "--output", str(tmp_path / "out")]) == 2
    told = capsys.readouterr().err
    assert [word for word in words.split() if word not in told] == [], told


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("shapes-vit", []),
        ("shapes-vit-2", ["--seed", "2"]),
        ("shapes-vit-shortcut", ["--split", "shortcut"]),
        ("shapes-vit-64-shortcut-1", ["--seed", "1", "--size", "64", "--split", "shortcut"]),
    ],
)
def test_a_model_is_named_after_what_is_not_as_usual(name, words):
    assert command.name_of(train.parser().parse_args(["vit", *words])) == name
