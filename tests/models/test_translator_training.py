"""Training a translator: it learns, it stops, it goes on where it was; objectives are their equations."""

import math
import os
import signal
import subprocess
import sys
import time
from functools import partial
from itertools import count, pairwise, product
from pathlib import Path

import numpy as np
import pytest
import torch

from attention_core import alignment, datasets, models
from attention_core.models import epochs, shelf, train
from attention_core.models.epochs import rate
from attention_core.models.progress import Bar
from attention_core.models.sentences.batches import buckets, collate
from attention_core.models.sentences.objective import surprise, validation_loss
from attention_core.models.sentences.vocabulary import PAD
from attention_core.models.translator import (
    ATTENTIONS,
    Trace,
    Tracer,
    error_rate,
    exact_match,
    gradient_noise,
)
from attention_core.models.translator.objective import (
    Draws,
    Reinforce,
    loss,
    misalignment,
)
from attention_core.models.translator.traces import due

from .translations import pairs, recipe, training, translator

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.usefixtures(
    "unchecked"
)  # shapes are checked in test_translator; training is slow so


def assert_same(actual, expected):
    assert actual.keys() == expected.keys()
    for name, value in actual.items():
        assert value.equal(expected[name]), name


# -- learning ----------------------------------------------------------------------------------------------


def test_a_translator_learns_a_small_language():
    run = training(count=400, epochs=8, width=32, rate=0.02, dropout=0.0)
    before, fresh = training(width=32).model.eval(), pairs(60, seed=2)
    model = run.run()
    sources = [one.source for one in fresh]
    assert exact_match(before.translate_tokens(sources), fresh) < 0.1
    assert exact_match(model.translate_tokens(sources), fresh) > 0.9
    assert validation_loss(model, run.validation) == pytest.approx(run.progress.best_loss)


@pytest.mark.parametrize("attention", ATTENTIONS)
def test_every_attention_trains_to_less_surprise(attention):
    run = training(attention, epochs=2)
    begun = validation_loss(run.model, run.validation)
    run.run()
    assert run.progress.best_loss < begun - 0.3


def test_guidance_lowers_the_error_rate():
    fresh = pairs(60, seed=2)
    left, guided = (
        error_rate(training(count=300, epochs=6, guided=weight, rate=0.02, dropout=0.0).run(), fresh).aer
        for weight in (0.0, 1.0)
    )
    assert guided < 0.05
    assert guided < left - 0.1


def test_training_stops_after_epochs_that_bring_nothing_and_keeps_the_best():
    run = training(count=64, epochs=30, patience=2, rate=0.3)  # so large that it does not converge
    model = run.run()
    progress = run.progress
    assert progress.epoch == progress.best_epoch + 2 < 30
    losses = [entry["validation_loss"] for entry in progress.history]
    assert losses.index(min(losses)) + 1 == progress.best_epoch
    assert validation_loss(model, run.validation) == pytest.approx(min(losses))


def test_the_seed_decides_and_the_callers_chance_is_left_alone():
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    begun = [training(seed=seed).model.state_dict()["encoder.embed.weight"] for seed in (1, 2)]
    assert not begun[0].equal(begun[1])
    one, two = (training(count=48, seed=1, epochs=1).run().state_dict() for _ in range(2))
    assert torch.rand(3).equal(expected)
    assert_same(one, two)


def test_the_rate_falls_along_half_a_cosine():
    assert [rate(recipe(rate=0.2), share) for share in (0, 0.5, 1)] == pytest.approx([0.2, 0.1, 0.0])


# -- going on ----------------------------------------------------------------------------------------------


class Stopped(Exception):
    pass


def batches(count):
    """How many an epoch of so many pairs has."""
    return len(buckets(pairs(count), recipe().batch))


def stopping(after):
    """A reporter that raises after so many updates."""

    def report(progress, share, loss):
        if progress.updates == after:
            raise Stopped

    return report


@pytest.mark.parametrize("attention", ["additive", "hard", "local_p"])
def test_a_training_that_was_stopped_and_resumed_is_one_that_was_not(attention, tmp_path):
    whole = training(
        attention, count=64, epochs=4, tracer=Tracer(pairs(8), pairs(8, 1), {"one": pairs(1)[0]})
    )
    whole.run()
    place = tmp_path / "it.checkpoint"
    for after in (batches(64) + 2, 3 * batches(64) + 2):  # in the second epoch, in the fourth
        part = training(
            attention,
            count=64,
            epochs=4,
            checkpoint=place,
            report=stopping(after),
            tracer=Tracer(pairs(8), pairs(8, 1), {"one": pairs(1)[0]}),
        )
        if place.exists():
            part.resume()
        with pytest.raises(Stopped):
            part.run()
    last = training(
        attention,
        count=64,
        epochs=4,
        checkpoint=place,
        tracer=Tracer(pairs(8), pairs(8, 1), {"one": pairs(1)[0]}),
    )
    last.resume()
    assert last.progress.epoch == 3
    last.run()
    assert_same(last.model.state_dict(), whole.model.state_dict())
    assert_same(last.best, whole.best)
    timeless = [
        [{k: v for k, v in entry.items() if k != "cpu_seconds"} for entry in run.progress.history]
        for run in (last, whole)
    ]
    assert timeless[0] == timeless[1]
    assert last.tracer.rows == whole.tracer.rows
    for one, two in zip(last.tracer.weights["one"], whole.tracer.weights["one"], strict=True):
        np.testing.assert_array_equal(one, two)


def test_seconds_add_up_over_interruptions(tmp_path, monkeypatch):
    """By a clock that moves on by one whenever it is asked."""
    ticks = count()
    monkeypatch.setattr(epochs.time, "process_time", lambda: float(next(ticks)))
    whole = training(count=48)
    whole.run()
    place = tmp_path / "it.checkpoint"
    with pytest.raises(Stopped):
        training(count=48, checkpoint=place, report=stopping(batches(48) + 2)).run()
    last = training(count=48, checkpoint=place)
    last.resume()
    last.run()
    for run in (whole, last):
        seconds = [entry["cpu_seconds"] for entry in run.progress.history]
        assert seconds == [seconds[0], 2 * seconds[0], 3 * seconds[0]]
        assert run.progress.cpu_seconds == seconds[-1] > 0


def test_a_checkpoint_of_another_training_is_refused_by_what_differs(tmp_path):
    place = tmp_path / "it.checkpoint"
    with pytest.raises(Stopped):
        training(count=48, checkpoint=place, report=stopping(batches(48) + 2)).run()
    with pytest.raises(ValueError, match=r"seed 0 there and 1 here.*--again"):
        training(count=48, seed=1, checkpoint=place).resume()
    with pytest.raises(ValueError, match=r"pairs '.*' there and"):
        training(count=47, checkpoint=place).resume()


def test_a_damaged_checkpoint_is_refused_with_what_to_do(tmp_path):
    place = tmp_path / "it.checkpoint"
    training(count=48, epochs=1, checkpoint=place).run()
    place.write_bytes(place.read_bytes()[:1000])
    with pytest.raises(shelf.DamagedWeights, match=r"damaged.*--again"):
        training(checkpoint=place).resume()


def test_a_write_that_fails_leaves_the_file_as_it_was_and_nothing_beside_it(tmp_path):
    place = tmp_path / "file"
    place.write_text("whole")

    def broken(path):
        path.write_text("ha")
        raise Stopped

    with pytest.raises(Stopped):
        shelf.write_atomically(place, broken)
    assert place.read_text() == "whole"
    assert list(tmp_path.iterdir()) == [place]


# -- objectives --------------------------------------------------------------------------------------------


def test_surprise_is_that_of_the_right_words_and_none_where_there_is_no_word():
    logits, targets = torch.randn(2, 3, 5, dtype=torch.float64), torch.tensor([[4, 3, 2], [4, 2, PAD]])
    expected = [
        [-torch.log_softmax(logits[b, t], 0)[targets[b, t]].item() for t in range(3)] for b in range(2)
    ]
    expected[1][2] = 0.0
    np.testing.assert_allclose(surprise(logits, targets), expected, atol=1e-12)


def test_misalignment_is_the_mean_surprise_at_the_mass_on_gold():
    weights = torch.tensor([[[0.2, 0.3, 0.5], [0.6, 0.4, 0.0], [0.1, 0.1, 0.8]]])
    gold = torch.tensor([[[True, True, False], [False, False, False], [False, False, True]]])
    assert misalignment(weights, gold).item() == pytest.approx(-(math.log(0.5) + math.log(0.8)) / 2)
    assert misalignment(weights, torch.zeros_like(gold)) == 0


def test_mass_on_no_gold_is_a_finite_loss():
    weights = torch.tensor([[[1.0, 0.0]]], requires_grad=True)
    found = misalignment(weights, torch.tensor([[[False, True]]]))
    found.backward()
    assert found.isfinite()
    assert weights.grad.isfinite().all()


def test_guidance_is_added_with_its_weight():
    model = translator().eval()
    batch = collate(pairs(8), model.source, model.target)
    plain, guided = (loss(model, batch, guided=weight) for weight in (0.0, 0.7))
    extra = misalignment(model(batch).weights, batch.gold)
    assert guided.surprise == plain.surprise == plain.total
    torch.testing.assert_close(guided.total, plain.total + 0.7 * extra)


def test_places_are_drawn_as_often_as_the_softmax_says():
    scores, draws = torch.tensor([1.0, 0.0, -1.0]), Draws(torch.Generator().manual_seed(0))
    drawn = draws(scores.expand(1, 20_000, 3))
    chances = torch.softmax(scores, 0)
    assert drawn.sum(-1).eq(1).all()
    torch.testing.assert_close(drawn.mean((0, 1)), chances, atol=0.01, rtol=0)
    torch.testing.assert_close(draws.log_probabilities[0], (drawn * chances.log()).sum(-1))
    torch.testing.assert_close(draws.entropies[0][0, 0], -(chances * chances.log()).sum())


def test_hidden_places_are_never_drawn():
    mask = torch.tensor([True, False, True])
    assert (Draws()(torch.zeros(1, 500, 3), mask)[..., 1] == 0).all()


def test_a_sentence_is_read_softly_from_beginning_to_end_or_not_at_all():
    scores, draws = torch.randn(400, 1, 3, requires_grad=True), Draws(expected=0.25)
    first, second = draws(scores), draws(scores)
    chances = torch.softmax(scores, -1)
    softly = (first == chances).flatten(1).all(1)
    assert 60 < softly.sum() < 140  # of 400, a quarter
    assert softly.equal((second == chances).flatten(1).all(1))
    assert (first[~softly].amax(-1) == 1).all()
    for logs in draws.log_probabilities:
        assert logs[softly].eq(0).all()
        assert logs[~softly].lt(0).all()
    (gradient,) = torch.autograd.grad(first[..., 0].sum(), scores)
    assert gradient[softly].flatten(1).any(1).all()  # as in soft attention
    assert not gradient[~softly].any()


def test_reinforce_has_the_gradient_of_the_expected_reward():
    """By hand: two places, two words, the second depending on both draws; the mean over all draws."""
    scores = torch.tensor([[[0.3, -0.4], [0.9, 0.1]]], dtype=torch.float64, requires_grad=True)
    first_said = torch.tensor([-1.0, -3.0], dtype=torch.float64)  # by the first place
    second_said = torch.tensor([[-0.5, -2.0], [-4.0, -0.1]], dtype=torch.float64)  # by both
    words = torch.ones(1, 2, dtype=torch.bool)
    chances = torch.softmax(scores, -1)[0]
    joint = chances[0][:, None] * chances[1]
    expected = -(joint * (first_said[:, None] + second_said)).sum() / 2
    (wanted,) = torch.autograd.grad(expected, scores, retain_graph=True)
    for average in (None, -1.7):  # a baseline changes nothing on average
        found = torch.zeros_like(scores)
        for first, second in product((0, 1), repeat=2):
            draws, logs = Draws(), torch.log_softmax(scores, -1)[0]
            draws.log_probabilities.append(torch.stack([logs[0, first], logs[1, second]])[None])
            draws.entropies.append(torch.zeros(1, 2))
            reinforce = Reinforce(baseline=average is not None, weight=1.0)
            reinforce.average = average
            rewards = torch.stack([first_said[first], second_said[first, second]])[None]
            one = reinforce.loss(rewards, words, draws)
            found += joint[first, second].item() * torch.autograd.grad(one, scores, retain_graph=True)[0]
        torch.testing.assert_close(found, wanted, atol=1e-12, rtol=0)


def test_rewards_count_by_their_weight():
    draws, words = Draws(), torch.ones(1, 2, dtype=torch.bool)
    draws.log_probabilities.append(torch.tensor([[-0.3, -0.7]]))
    draws.entropies.append(torch.zeros(1, 2))
    said = torch.tensor([[-1.0, -3.0]])
    whole, tenth = (Reinforce(weight=weight).loss(said, words, draws).item() for weight in (1.0, 0.1))
    assert abs(whole) > 0.1
    assert tenth == pytest.approx(whole / 10)


def test_the_baseline_makes_the_gradient_less_noisy():
    model = translator("hard", dtype=torch.float64)
    model.load_state_dict({name: 0.4 * value for name, value in model.state_dict().items()})
    with_baseline, without = (
        gradient_noise(model, pairs(8), draws=30, baseline=baseline) for baseline in (True, False)
    )
    assert with_baseline.variance < without.variance / 2
    assert gradient_noise(translator("additive"), pairs(8), draws=3).variance == pytest.approx(0, abs=1e-20)


def test_measuring_noise_leaves_model_and_chance_alone():
    model = translator("hard").train()
    state, before = torch.get_rng_state(), {k: v.clone() for k, v in model.state_dict().items()}
    gradient_noise(model, pairs(4), draws=3)
    assert torch.get_rng_state().equal(state)
    assert model.training
    assert all(parameter.grad is None for parameter in model.parameters())
    assert_same(model.state_dict(), before)


# -- traces ------------------------------------------------------------------------------------------------


def test_checkpoints_come_ever_more_rarely():
    steps = sorted(due(3000))
    assert steps[:3] == [0, 10, 14]
    assert 12 <= len(steps) <= 25
    assert all(later > sooner for sooner, later in pairwise(steps[1:]))


def test_a_trace_goes_from_the_untrained_model_to_the_one_that_is_kept(tmp_path):
    showcase = {"one": pairs(1)[0], "another": pairs(2)[1]}
    tracer = Tracer(pairs(16), pairs(16, 1), showcase)
    run = training(count=96, epochs=4, tracer=tracer)
    untrained = run.model.align([showcase["one"]])[0]
    model = run.run()
    best = run.progress.history[run.progress.best_epoch - 1]
    trace = tracer.trace(model, best["updates"], best["epoch"])
    shown = trace.sentences["one"]
    assert len(trace) == len(shown.weights) == len(trace.aer)
    assert trace.updates[0] == 0
    assert trace.updates[-1] == best["updates"]
    assert (np.diff(trace.updates) > 0).all()
    np.testing.assert_allclose(shown.weights[0], untrained, atol=1e-6)
    np.testing.assert_allclose(shown.weights[-1], model.align([showcase["one"]])[0], atol=1e-6)
    assert trace.validation_loss[-1] < trace.validation_loss[0]
    predicted = [alignment.links(one) for one in model.align(pairs(16, 1))]
    assert trace.aer[-1] == alignment.score(predicted, pairs(16, 1)).aer

    early = tracer.trace(model, 12, 2)  # as if the second epoch had been the best
    assert early.updates[-1] == 12 > early.updates[-2]
    assert set(early.updates[:-1]) == {update for update in trace.updates if update < 12}

    trace.save(tmp_path / "it.trace.npz")
    again = Trace.read(tmp_path / "it.trace.npz")
    assert again.sentences["one"].target == (*showcase["one"].target, "</s>")
    np.testing.assert_array_equal(again.sentences["another"].weights, trace.sentences["another"].weights)
    np.testing.assert_array_equal(again.aer, trace.aer)


def test_a_tracer_changes_nothing_that_is_learned():
    traced = training(
        "hard", count=48, epochs=1, tracer=Tracer(pairs(8), pairs(8), {"one": pairs(1)[0]})
    ).run()
    assert_same(traced.state_dict(), training("hard", count=48, epochs=1).run().state_dict())


# -- the command -------------------------------------------------------------------------------------------

SMALL = ["translator", "--width", "16", "--embedding", "8", "--size", "300", "--batch", "16"]


def command(*words):
    return [sys.executable, "-m", "attention_core.models.train", *words]


def environment():
    return os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}


@pytest.fixture
def small_data(monkeypatch):
    """The small language in place of the large one."""
    splits = {"train": (300, 0), "validation": (40, 1), "test": (40, 2), "held_out": (40, 3)}
    monkeypatch.setattr(datasets, "translation", lambda split, size=None: pairs(*splits[split])[:size])
    monkeypatch.setattr(datasets, "showcase", lambda: {"one": pairs(1)[0]})


@pytest.mark.usefixtures("small_data")
def test_the_command_writes_weights_a_card_and_a_trace(tmp_path, capsys):
    said = [*SMALL, "--attention", "local-m", "--epochs", "2", "--trace", "--output", str(tmp_path)]
    assert train.main(said) == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "translator-local-m.json", "translator-local-m.safetensors", "translator-local-m.trace.npz"
    ]  # fmt: skip
    card = shelf.json.loads((tmp_path / "translator-local-m.json").read_text())
    assert card["command"] == (
        "python -m attention_core.models.train translator --attention local-m --seed 0 --epochs 2 --batch 16 "
        "--width 16 --embedding 8 --size 300 --trace"
    )
    assert card["sha256"] == shelf.sha256(tmp_path / "translator-local-m.safetensors")
    assert set(card["metrics"]) == {
        f"{split} {what}" for split in ("validation", "test", "held_out") for what in ("exact match", "AER")
    }
    assert {"processor", "cores", "threads"} == card["hardware"].keys()
    assert str(tmp_path) not in shelf.json.dumps(card)
    lines = capsys.readouterr().err.splitlines()
    assert [line[:9] for line in lines[:2]] == [
        "epoch  1/",
        "epoch  2/",
    ]  # a line an epoch where no one looks
    assert len(lines) == 3

    model = models.Translator.load(tmp_path / "translator-local-m.safetensors")
    assert (
        exact_match(model.translate_tokens([one.source for one in pairs(40, 2)]), pairs(40, 2))
        == (card["metrics"]["test exact match"])
    )


def test_interrupting_the_command_loses_an_epoch_at_most_and_resuming_gives_the_same(tmp_path):
    corpus = tmp_path / "small.tsv"
    lines = ["\t".join((" ".join(one.source), " ".join(one.target))) for one in pairs(600)]
    corpus.write_text("\n".join(lines), encoding="utf-8")
    small = ["translator", "--width", "16", "--embedding", "8", "--batch", "8", "--corpus", str(corpus)]
    small += ["--epochs", "2"]
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    place = cut / "translator-additive.checkpoint"
    process = subprocess.Popen(
        command(*small, "--output", str(cut)),
        env=environment(),
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=partial(signal.signal, signal.SIGINT, signal.SIG_DFL),  # heard even if we were told not to
    )
    deadline = time.monotonic() + 240
    while not place.exists() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    told = process.communicate(timeout=60)[1]
    assert process.returncode == 130
    assert "--resume" in told.splitlines()[-1]
    assert "Traceback" not in told
    assert [path.name for path in cut.iterdir()] == [place.name]
    assert shelf.read_checkpoint(place)["progress"]["epoch"] == 1

    assert train.main([*small, "--output", str(cut)]) == 2  # it does not begin anew unasked
    assert place.exists()
    assert train.main([*small, "--output", str(cut), "--resume"]) == 0
    assert train.main([*small, "--output", str(whole)]) == 0
    one, two = (shelf.sha256(folder / "translator-additive.safetensors") for folder in (cut, whole))
    assert one == two


def test_a_corpus_of_ones_own_is_read_past_what_is_wrong_in_it(tmp_path, capsys):
    corpus = tmp_path / "mine.tsv"
    good = ["\t".join((" ".join(one.source), " ".join(one.target), "CC-BY")) for one in pairs(60)]
    bad = [b"no tab at all", b"\xff\xfe\t\xff", b"", b"\t", b"cat\t", b"x" * 9000 + b"\ty", b"\x00\t\x00"]
    corpus.write_bytes(b"\n".join([*bad, *(line.encode() for line in good), b"'\";--\t</s> <pad>"]))
    said = ["translator", "--attention", "none", "--corpus", str(corpus), "--output", str(tmp_path / "out")]
    assert train.main([*said, "--width", "16", "--embedding", "8", "--epochs", "1"]) == 0
    told = capsys.readouterr().err
    assert "skipped" in told.splitlines()[0]
    card = shelf.json.loads((tmp_path / "out" / "translator-none.json").read_text())
    assert card["data"]["source"] == "mine.tsv"
    assert sum(card["data"]["skipped"].values()) >= len(bad) - 1
    assert set(card["metrics"]) == {"validation exact match"}
    assert "--corpus mine.tsv" in card["command"]
    assert str(tmp_path) not in shelf.json.dumps(card)


MISTAKES = {
    "no file": lambda tmp: ["--corpus", str(tmp / "nowhere.tsv")],
    "--resume found no": lambda tmp: ["--resume"],
    "`guided` needs pairs with gold links": lambda tmp: ["--guided", "1", "--corpus", str(written(tmp))],
    "`guided` needs attention": lambda tmp: ["--guided", "1", "--attention", "none"],
    "`input_feeding`": lambda tmp: ["--input-feeding"],
    "`epochs` 0": lambda tmp: ["--epochs", "0"],
    "`rate` positive": lambda tmp: ["--rate", "-1"],
    "`width` even": lambda tmp: ["--width", "7"],
    "`seed` -1": lambda tmp: ["--seed", "-1"],
    "at least two pairs": lambda tmp: ["--corpus", str(written(tmp, 1))],
}


def written(folder, count=40):
    path = folder / "some.tsv"
    path.write_text("\n".join(f"cat {n}\tchat {n}" for n in range(count)), encoding="utf-8")
    return path


@pytest.mark.parametrize("words", MISTAKES)
@pytest.mark.usefixtures("small_data")
def test_a_mistake_on_the_command_line_ends_in_one_line_that_says_what_to_do(words, tmp_path, capsys):
    assert train.main(["translator", *MISTAKES[words](tmp_path), "--output", str(tmp_path / "out")]) == 2
    told = capsys.readouterr().err
    assert [word for word in words.split() if word not in told] == [], told
    assert len(told.splitlines()[-1]) > 20


# -- progress ----------------------------------------------------------------------------------------------


class Screen:
    def __init__(self, live):
        self.live, self.text = live, ""

    def isatty(self):
        return self.live

    def write(self, text):
        self.text += text

    def flush(self):
        pass


def test_a_terminal_sees_one_line_rewritten_and_a_log_only_what_is_kept():
    for live in (True, False):
        screen = Screen(live)
        bar = Bar(screen)
        bar.show(0.5, "epoch 1/2")
        bar.keep("epoch 1/2 done")
        if live:
            assert screen.text.startswith("\r\x1b[K[############............]  50%  epoch 1/2\r\x1b[K")
            assert screen.text.count("\n") == 1
        else:
            assert screen.text == "epoch 1/2 done\n"
