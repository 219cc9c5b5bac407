"""Training a transformer: it learns, it is the same each time, it goes on; the command and its card."""

import json
from itertools import pairwise

import pytest
import torch

from attention_core import datasets
from attention_core.models import Transformer, shelf, train
from attention_core.models.sentences.batches import collate
from attention_core.models.sentences.evaluation import error_rate, exact_match
from attention_core.models.sentences.objective import validation_loss
from attention_core.models.sentences.vocabulary import PAD
from attention_core.models.transformer import Recipe, Training, command, layer_error_rates

from .translations import pairs

pytestmark = pytest.mark.usefixtures("unchecked")  # shapes are checked in test_transformer
SIZES = {"width": 16, "heads": 2, "layers": 2, "hidden": 32, "batch": 16, "epochs": 3, "rate": 0.01}


def training(count=200, checkpoint=None, report=None, **options):
    recipe = Recipe(**(SIZES | options))
    return Training(recipe, pairs(count), pairs(40, seed=1), checkpoint=checkpoint, report=report)


def assert_same(actual, expected):
    assert actual.keys() == expected.keys()
    for name, value in actual.items():
        assert value.equal(expected[name]), name


def test_a_transformer_learns_a_small_language_and_where_its_words_come_from():
    run = training(count=400, epochs=12, width=32, hidden=64, dropout=0.0)
    before, fresh = training(width=32).model.eval(), pairs(60, seed=2)
    model = run.run()
    sources = [one.source for one in fresh]
    assert exact_match(before.translate_tokens(sources), fresh) < 0.1
    assert exact_match(model.translate_tokens(sources), fresh) > 0.9
    assert validation_loss(model, run.validation) == pytest.approx(run.progress.best_loss)
    aligned = min(scores.aer for scores in layer_error_rates(model, fresh))
    assert aligned < min(scores.aer for scores in layer_error_rates(before, fresh)) - 0.2


def test_the_loss_is_the_mean_surprise_at_the_right_words():
    run = training(dropout=0.0)
    batch = collate(run.pairs[:20], run.model.source, run.model.target)
    logs = torch.log_softmax(run.model(batch).logits, dim=-1)
    said = batch.targets != PAD
    expected = -logs.gather(-1, batch.targets[..., None])[..., 0][said].mean()
    assert not said.all()  # some of it is padding
    for found in run.loss(range(20)):
        torch.testing.assert_close(found, expected)


def test_the_rate_rises_from_nothing_and_falls_to_nothing():
    run = training(rate=0.2, warming=0.1)
    rising = [run.rate(share) for share in (0, 0.02, 0.05, 0.09)]
    falling = [run.rate(share) for share in (0.1, 0.3, 0.6, 1)]
    assert all(one < two for one, two in pairwise(rising))
    assert all(one > two for one, two in pairwise(falling))
    assert rising[0] < 0.001
    assert falling[0] == pytest.approx(0.2, rel=0.05)
    assert falling[-1] == pytest.approx(0, abs=1e-12)


def test_the_seed_decides_and_the_callers_chance_is_left_alone():
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    begun = [training(seed=seed).model.state_dict()["encoder.embed.weight"] for seed in (1, 2)]
    assert not begun[0].equal(begun[1])
    one, two = (training(count=48, seed=1, epochs=1).run().state_dict() for _ in range(2))
    assert torch.rand(3).equal(expected)
    assert_same(one, two)


class Stopped(Exception):
    pass


def test_a_training_that_was_stopped_and_resumed_is_one_that_was_not(tmp_path):
    def report(progress, share, loss):
        if progress.updates == updates[0] + 2:  # in the second epoch
            raise Stopped

    whole, place = training(count=64), tmp_path / "it.checkpoint"
    expected = whole.run().state_dict()
    updates = [entry["updates"] for entry in whole.progress.history]
    with pytest.raises(Stopped):
        training(count=64, checkpoint=place, report=report).run()
    rest = training(count=64, checkpoint=place)
    rest.resume()
    assert rest.progress.epoch == 1
    assert_same(rest.run().state_dict(), expected)
    with pytest.raises(ValueError, match=r"heads 2 there and 4 here.*--again"):
        training(count=64, heads=4, checkpoint=place).resume()


# -- the command -------------------------------------------------------------------------------------------

SMALL = ["transformer", "--width", "16", "--hidden", "32", "--size", "300", "--batch", "16", "--epochs", "2"]


@pytest.fixture
def small_data(monkeypatch):
    """The small language in place of the large one."""
    splits = {"train": (300, 0), "validation": (40, 1), "test": (40, 2), "held_out": (40, 3)}
    monkeypatch.setattr(datasets, "translation", lambda split, size=None: pairs(*splits[split])[:size])


@pytest.mark.usefixtures("small_data")
def test_the_command_writes_weights_and_a_card_of_them(tmp_path, capsys):
    assert train.main([*SMALL, "--output", str(tmp_path)]) == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "transformer-en-fr.json", "transformer-en-fr.safetensors"
    ]  # fmt: skip
    card = json.loads((tmp_path / "transformer-en-fr.json").read_text())
    assert card["command"] == (
        "python -m attention_core.models.train transformer --seed 0 --epochs 2 --batch 16 --width 16 "
        "--hidden 32 --size 300"
    )
    assert card["sha256"] == shelf.sha256(tmp_path / "transformer-en-fr.safetensors")
    assert card["data"]["fingerprint"] == datasets.fingerprint(pairs(300))
    assert str(tmp_path) not in json.dumps(card)
    lines = capsys.readouterr().err.splitlines()
    assert [line[:11] for line in lines[:2]] == ["epoch  1/2 ", "epoch  2/2 "]
    assert len(lines) == 3

    model = Transformer.load(tmp_path / "transformer-en-fr.safetensors")
    metrics, known = card["metrics"], pairs(40, 2)
    assert (
        exact_match(model.translate_tokens([one.source for one in known]), known)
        == (metrics["test exact match"])
    )
    assert error_rate(model, known).aer == metrics["test AER"]
    by_layer = [metrics[f"validation AER of layer {layer}"] for layer in (0, 1)]
    assert by_layer == [scores.aer for scores in layer_error_rates(model, pairs(40, 1))]
    assert model.aligning == card["aligning"] == by_layer.index(min(by_layer))
    assert metrics["validation AER"] == min(by_layer)


def test_a_corpus_without_gold_links_gives_no_error_rate_and_leaves_the_last_layer(tmp_path):
    corpus = tmp_path / "mine.tsv"
    lines = ["\t".join((" ".join(one.source), " ".join(one.target))) for one in pairs(60)]
    corpus.write_text("\n".join(lines), encoding="utf-8")
    said = [
        *SMALL,
        "--epochs",
        "1",
        "--corpus",
        str(corpus),
        "--output",
        str(tmp_path / "out"),
        "--seed",
        "2",
    ]
    assert train.main(said) == 0
    card = json.loads((tmp_path / "out" / "transformer-en-fr-2.json").read_text())
    assert set(card["metrics"]) == {"validation exact match"}
    assert card["data"]["source"] == "mine.tsv"
    assert card["aligning"] == 1


MISTAKES = {
    "--resume found no": ["--resume"],
    "`epochs` 0": ["--epochs", "0"],
    "`rate` positive": ["--rate", "-1"],
    "`seed` -1": ["--seed", "-1"],
    "`warming` share 0.0": ["--warming", "0"],
    "`heads` divides `width`": ["--heads", "3"],
    "`width` even": ["--width", "7"],
}


@pytest.mark.parametrize("words", MISTAKES)
@pytest.mark.usefixtures("small_data")
def test_a_mistake_on_the_command_line_ends_in_one_line_that_says_what_to_do(words, tmp_path, capsys):
    assert train.main([*SMALL, *MISTAKES[words], "--output", str(tmp_path / "out")]) == 2
    told = capsys.readouterr().err
    assert [word for word in words.split() if word not in told] == [], told


@pytest.mark.parametrize("given", ["pairs", "validation"])
def test_nothing_to_learn_from_or_to_stop_by_is_refused(given):
    both = {"pairs": pairs(2), "validation": pairs(2)} | {given: []}
    with pytest.raises(ValueError, match=f"`{given}` must hold at least one pair"):
        Training(Recipe(**SIZES), both["pairs"], both["validation"])


def test_a_seed_other_than_the_first_is_in_the_name():
    for name, words in {"transformer-en-fr": [], "transformer-en-fr-3": ["--seed", "3"]}.items():
        assert command.name_of(train.parser().parse_args(["transformer", *words])) == name
