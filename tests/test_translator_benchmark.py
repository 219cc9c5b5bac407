"""What attention brings to translation: medians are those of the rows, and keep what was promised."""

import json
import os
import platform
import re
import subprocess
import sys
from pathlib import Path
from statistics import median

import pytest
import torch

from attention_core import models
from attention_core.datasets import Pair
from attention_core.models import Translation, shelf

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "benchmarks"))
import translator  # noqa: E402

TEXT = translator.RESULT.read_text(encoding="utf-8")
RESULTS = json.loads(TEXT)
ROWS, SUMMARY = RESULTS["rows"], RESULTS["summary"]


def of(kind):
    return [row for row in ROWS if row["kind"] == kind]


def band(kind, first, last):
    """The medians of a kind at sources of so many words."""
    (found,) = [one for one in SUMMARY[kind]["by_length"] if (one["from"], one["to"]) == (first, last)]
    return found


# -- the committed results ---------------------------------------------------------------------------------


def test_the_committed_results_are_of_whole_runs_of_this_corpus():
    assert not RESULTS["how"]["quick"], "run `python benchmarks/translator.py` without --quick"
    fingerprint = models.card("translator-additive")["data"]["fingerprint"]  # which is tested
    assert {row["fingerprint"] for row in ROWS} == {fingerprint}
    for row in ROWS:
        assert row["command"] == translator.command(row["kind"], row["seed"], quick=False)


@pytest.mark.parametrize("kind", ["additive", "guided", "none"])
def test_what_is_promised_of_medians_has_three_seeds(kind):
    assert [row["seed"] for row in of(kind)] == [0, 1, 2]
    assert len({row["sha256"] for row in of(kind)}) == 3


def test_the_summary_follows_from_the_rows():
    assert translator.summary(ROWS) == SUMMARY
    for kind, found in SUMMARY.items():
        assert found["exact_match"]["test"] == median(row["exact_match"]["test"] for row in of(kind))


def test_the_results_name_hardware_versions_and_date_but_no_machine():
    how = RESULTS["how"]
    assert how["processor"]
    assert how["cores"] >= how["threads"] == 1
    for entry in (how, *ROWS):
        assert re.fullmatch(r"\d{4}-\d\d-\d\d", entry["date"])
        assert re.fullmatch(r"[0-9a-f]{7,40}", entry["commit"])
    for private in (platform.node(), str(Path.home()), str(ROOT)):
        assert private not in TEXT


def test_the_weights_that_ship_are_those_of_the_first_seed():
    for kind in SUMMARY:
        name = f"translator-{kind}"
        if name in models.names():
            card, (row, *_) = models.card(name), of(kind)
            assert row["seed"] == 0
            assert (card["sha256"], card["command"]) == (row["sha256"], row["command"])
            assert card["metrics"]["test exact match"] == row["exact_match"]["test"]


# -- what was promised -------------------------------------------------------------------------------------


def test_additive_attention_translates_and_aligns_within_three_minutes():
    additive = SUMMARY["additive"]
    assert additive["exact_match"]["test"] >= 0.80
    assert additive["exact_match"]["held_out"] >= 0.72
    assert additive["aer"]["test"] <= 0.15
    assert additive["cpu_seconds"] <= 180


def test_most_trainings_read_i_love_you_as_a_person_would_and_so_does_the_one_that_ships():
    read = [row["i_love_you"] for row in of("additive")]
    assert read.count([0, 2, 1]) > len(read) / 2
    weights = models.load("translator-additive").translate("I love you").weights
    assert weights[:-1].argmax(-1).tolist() == read[0] == [0, 2, 1]


def test_gold_links_bring_the_error_rate_down():
    assert SUMMARY["guided"]["aer"]["test"] <= 0.06


def test_attention_is_worth_thirty_bleu_on_long_sentences():
    first, last = translator.MIDDLE
    assert band("additive", first, last)["bleu"] - band("none", first, last)["bleu"] >= 30


def test_without_attention_training_had_more_time_and_had_come_to_rest():
    assert SUMMARY["none"]["cpu_seconds"] >= SUMMARY["additive"]["cpu_seconds"]
    for row in of("none"):
        before, last = row["validation_loss"][-2:]
        assert abs(before - last) < 0.02 * last  # the last epoch changed it by less than 2 %


def test_additive_attention_lies_between_the_oracle_and_the_diagonal():
    found = RESULTS["baselines"]
    assert set(found) == {"oracle", "diagonal", "IBM 1", "IBM 2", "eflomal"}
    assert found["oracle"]["test"] < SUMMARY["additive"]["aer"]["test"] < found["diagonal"]["test"]


# -- the arithmetic ----------------------------------------------------------------------------------------


def said(*words):
    return Translation("", (), (*words, "</s>"), None, 0.0)


def pair(source, target):
    return Pair(tuple(source.split()), tuple(target.split()), frozenset(), frozenset())


def test_bleu_takes_tokens_as_they_are():
    right = pair("I love you and her", "je t’ aime et/ou -le .")
    assert translator.bleu([said(*right.target)], [right]) == pytest.approx(100)
    half = translator.bleu([said("je", "t’", "aime", "beaucoup", "-le", ".")], [right])
    assert half == pytest.approx(100 * (5 / 6 * 3 / 5 * 1 / 4 * (1 / 2) / 3) ** 0.25)  # smoothed 4-grams


def test_bands_hold_the_sentences_of_their_lengths():
    known = [pair(" ".join("a" * n), "b") for n in (3, 4, 7, 8, 40)]
    assert translator.within((4, 7), known) == [1, 2]
    found = translator.by_length([said("b")] * 5, known)
    assert [(one["from"], one["sentences"]) for one in found] == [(4, 2), (8, 1), (30, 1)]
    edges = [edge for first, last in translator.BANDS for edge in (first, last)]
    assert edges == sorted(edges)


def test_without_the_end_every_word_links_to_a_word():
    weights = torch.tensor([[0.1, 0.2, 0.7], [0.6, 0.3, 0.1], [0.0, 0.0, 1.0]])
    assert translator.without_end(weights) == {(0, 1), (1, 0)}


def test_rows_are_kept_by_command_and_pairs():
    rows = [{"command": translator.command("none", 1, False), "fingerprint": "abc", "seed": 1}]
    assert translator.kept(rows, "none", 1, "abc", False) is rows[0]
    assert translator.kept(rows, "none", 1, "abd", False) is None
    assert translator.kept(rows, "none", 2, "abc", False) is None
    assert translator.kept(rows, "none", 1, "abc", True) is None


def test_the_first_seeds_of_all_kinds_come_first():
    order = translator.ordered(["none", "additive"], quick=False)
    assert order[:2] == [("none", 0), ("additive", 0)]
    assert translator.ordered(["none"], quick=True) == [("none", 0)]


def test_a_quick_run_writes_rows_and_a_second_trains_nothing(tmp_path):
    target = tmp_path / "quick.json"
    command = [sys.executable, "benchmarks/translator.py", "--quick", "--only", "additive", "none"]
    command += ["--output", str(target), "--work", str(tmp_path / "work")]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    first = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True, env=environment)
    assert first.stdout.count("--") == 2
    written = json.loads(target.read_text(encoding="utf-8"))
    assert written["how"]["quick"] is True
    assert [row["kind"] for row in written["rows"]] == ["additive", "none"]
    path = tmp_path / "work" / "additive-0" / "translator-additive.safetensors"
    assert written["rows"][0]["sha256"] == shelf.sha256(path)
    assert [at["temperature"] for at in written["rows"][0]["temperatures"]] == list(translator.TEMPERATURES)
    assert "aer" not in written["rows"][1]
    second = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True, env=environment)
    assert "--" not in second.stdout
    assert json.loads(target.read_text(encoding="utf-8"))["rows"] == written["rows"]
