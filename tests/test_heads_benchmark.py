"""Heads taken out: the committed losses can be recomputed, and what was promised of them holds."""

import json
import os
import platform
import random
import re
import subprocess
import sys
from pathlib import Path

import pytest

from attention_core import datasets, models
from attention_core.figures import HeadAblation
from attention_core.figures.head_ablation_values import subset
from attention_core.models import shelf
from attention_core.models.transformer import PARTS, Evaluator, surprise

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "benchmarks"))
import heads  # noqa: E402

TEXT = heads.RESULT.read_text(encoding="utf-8")
RESULTS = json.loads(TEXT)
ROWS = {row["part"]: row for row in RESULTS["rows"]}
SIZE = (RESULTS["model"]["layers"], RESULTS["model"]["heads"])


@pytest.fixture(scope="module")
def model():
    return models.load(RESULTS["model"]["name"])


@pytest.fixture(scope="module")
def pairs():
    return datasets.translation(RESULTS["data"]["split"])


# -- the committed results ---------------------------------------------------------------------------------


def test_the_committed_results_are_of_a_whole_run_of_the_weights_that_ship(pairs):
    assert not RESULTS["how"]["quick"], "run `python benchmarks/heads.py` without --quick"
    assert RESULTS["model"]["sha256"] == shelf.sha256(shelf.FOLDER / f"{heads.NAME}.safetensors")
    assert RESULTS["data"]["fingerprint"] == datasets.fingerprint(pairs)
    assert RESULTS["data"]["pairs"] == len(pairs)
    assert RESULTS["data"]["words"] == sum(len(pair.target) + 1 for pair in pairs)
    assert list(ROWS) == list(PARTS)
    assert all(len(row["losses"]) == 2 ** (SIZE[0] * SIZE[1]) for row in ROWS.values())


def test_a_few_losses_drawn_at_random_come_out_again(model, pairs):
    draw = random.Random(0)
    evaluate = Evaluator(model, pairs)
    with pytest.raises(ValueError, match="`heads` must name a part of encoder, decoder, cross; got 'both'"):
        evaluate([("both", 0, 0)])
    for part in PARTS:
        for off in draw.sample(range(256), 3):
            found = evaluate([(part, *head) for head in subset(off, *SIZE)])
            assert ROWS[part]["losses"][off] == pytest.approx(found, abs=2e-5), (part, off)
    off = draw.randrange(1, 256)
    plain = surprise(model.without([("cross", *head) for head in subset(off, *SIZE)]), pairs)
    assert ROWS["cross"]["losses"][off] == pytest.approx(plain, abs=2e-5)


def test_all_parts_have_the_same_loss_with_all_heads_on():
    assert len({row["losses"][0] for row in ROWS.values()}) == 1


def test_single_heads_and_the_best_of_each_size_follow_from_the_losses():
    for row in ROWS.values():
        losses, count = row["losses"], SIZE[0] * SIZE[1]
        assert [one["off"] for one in row["alone"]] == [
            [list(subset(1 << i, *SIZE)[0])] for i in range(count)
        ]
        assert [one["loss"] for one in row["alone"]] == [losses[1 << i] for i in range(count)]
        for on, one in enumerate(row["best"]):
            those = [off for off in range(2**count) if count - off.bit_count() == on]
            assert one["on"] == on
            assert one["loss"] == min(losses[off] for off in those)
            assert len(one["off"]) == count - on


def test_how_many_sentences_are_right_without_a_head_comes_out_again(model, pairs):
    (one, *_) = ROWS["cross"]["alone"]
    some = pairs[: RESULTS["data"]["translated"]]
    said = model.without([("cross", *one["off"][0])]).translate_tokens([pair.source for pair in some])
    assert one["exact_match"] == pytest.approx(
        heads.exact_match(said, some), abs=0.006
    )  # a sentence more or less


def test_the_figure_draws_what_was_committed():
    figure = HeadAblation(part="decoder", off=[(0, 0), (1, 1)])
    assert figure.loss == ROWS["decoder"]["losses"][1 + 32]
    for name in PARTS:
        figure.part.value = name
        assert figure.losses.tolist() == ROWS[name]["losses"]
    assert RESULTS["how"]["commit"] in figure.view.told


def test_the_results_name_hardware_versions_and_date_but_no_machine():
    how = RESULTS["how"]
    assert how["processor"]
    assert how["cores"] >= how["threads"] == 1
    assert re.fullmatch(r"\d{4}-\d\d-\d\d", how["date"])
    assert re.fullmatch(r"[0-9a-f]{7,40}", how["commit"])
    for private in (platform.node(), str(Path.home()), str(ROOT)):
        assert private not in TEXT


# -- the script --------------------------------------------------------------------------------------------


def test_a_quick_run_writes_what_the_figure_reads(tmp_path):
    target = tmp_path / "quick.json"
    command = [sys.executable, "benchmarks/heads.py", "--quick", "--output", str(target)]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    subprocess.run(command, cwd=ROOT, capture_output=True, check=True, env=environment)
    figure = HeadAblation(target)
    assert figure.view.told.startswith(
        "A trial on few pairs, not a result. transformer-en-fr on 4 pairs of test"
    )
    assert figure.losses.shape == (256,)
    refused = subprocess.run(
        command[:-2], cwd=ROOT, capture_output=True, text=True, env=environment, check=False
    )
    assert refused.returncode == 2
    assert "a trial has no place in the file of whole runs" in refused.stderr
