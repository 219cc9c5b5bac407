"""The benchmarks of flash attention: on a CPU as measured, on a GPU as far as one can check without."""

import json
import platform
import re
import statistics
import subprocess
import sys
from pathlib import Path

import pytest
import torch

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "benchmarks"))
import flash_cpu  # noqa: E402


def row(way="forward", mask="full", n=4096, rival="flash", **numbers):
    return {"pass": way, "mask": mask, "n": n, "rival": rival} | numbers


# -- on a CPU: the committed results -----------------------------------------------------------------------


@pytest.fixture(scope="module")
def results():
    return json.loads(flash_cpu.RESULT.read_text(encoding="utf-8"))


def test_the_committed_cpu_results_are_of_a_whole_run(results):
    assert not results["how"]["quick"], "run `python benchmarks/flash_cpu.py` on an idle machine"
    cases = [(row["pass"], row["mask"], row["n"], row["rival"]) for row in results["rows"]]
    assert cases == [
        (way, mask, n, rival)
        for way in flash_cpu.PASSES
        for mask in flash_cpu.MASKS
        for n in flash_cpu.SIZES
        for rival in flash_cpu.RIVALS[way]
    ]
    assert len(results["memory"]) == 2 * 2 * len(flash_cpu.REMEMBERING)


def test_ratios_and_targets_follow_from_the_repeats(results):
    by_case = {(row["pass"], row["mask"], row["n"], row["rival"]): row for row in results["rows"]}
    for (way, mask, n, rival), found in by_case.items():
        base = by_case[way, mask, n, "sdpa"]["repeats"]
        turns = [{"sdpa": a, rival: b} for a, b in zip(base, found["repeats"], strict=True)]
        assert found == pytest.approx(flash_cpu.row(way, mask, n, rival, turns), rel=1e-12)
        assert len(base) == results["how"]["repeats"]
    assert results["targets"] == flash_cpu.targets(results["rows"], results["memory"])


def test_the_cpu_results_name_hardware_versions_and_date_but_no_machine(results):
    how = results["how"]
    assert how["processor"]
    assert how["cores"] >= how["threads"] == 1
    assert re.fullmatch(r"\d+\.\d+\.\d+\S*", how["torch"])
    assert re.fullmatch(r"\d{4}-\d\d-\d\d", how["date"])
    assert re.fullmatch(r"[0-9a-f]{7,40}", how["commit"])
    text = flash_cpu.RESULT.read_text(encoding="utf-8")
    for private in (platform.node(), str(Path.home()), str(ROOT)):
        assert private not in text


def test_memory_grows_with_all_pairs_only_for_standard_attention(results):
    n = flash_cpu.MEMORY_SIZE
    all_pairs = flash_cpu.HEADS * n * n * 4
    for found in results["memory"]:
        if found["rival"] == "standard":
            assert found["bytes"] > all_pairs
        else:
            assert found["bytes"] < all_pairs / 8


# -- on a CPU: the arithmetic ------------------------------------------------------------------------------


def test_a_ratio_is_taken_turn_by_turn():
    turns = [{"sdpa": 1.0, "flash": 1.2}, {"sdpa": 2.0, "flash": 2.2}, {"sdpa": 10.0, "flash": 13.0}]
    found = flash_cpu.row("forward", "full", 64, "flash", turns)
    assert found["to_sdpa"] == 1.2  # of 1.2, 1.1 and 1.3; the medians' own ratio is 1.1
    assert found["seconds"] == 2.2
    assert (found["low"], found["high"]) == pytest.approx((1.15, 1.25))


@pytest.mark.parametrize(("reached", "met"), [(1.3, True), (1.31, False)])
def test_a_target_is_met_by_the_worst_of_the_long_lengths(reached, met):
    rows = [row(n=n, to_sdpa=ratio) for n, ratio in ((1024, 9.0), (4096, reached), (8192, 1.0))]
    memory = [row(bytes=2.9e7 if met else 3.1e7)]
    found = flash_cpu.targets(rows, memory)
    assert [(target["reached"], target["met"]) for target in found] == [
        (reached, met),
        (memory[0]["bytes"], met),
    ]


@pytest.mark.parametrize("mask", flash_cpu.MASKS)
@pytest.mark.parametrize("way", flash_cpu.PASSES)
def test_all_rivals_compute_the_same(way, mask, monkeypatch):
    monkeypatch.setattr(
        flash_cpu.torch, "compile", lambda function, **_: function
    )  # takes a compiler, a minute
    found = flash_cpu.timed(way, mask, 64, 2)
    assert [row["rival"] for row in found] == list(flash_cpu.RIVALS[way])
    assert found[0]["to_sdpa"] == 1


def test_a_rival_that_computes_something_else_is_not_timed():
    right = torch.ones(3)
    flash_cpu.check_agreement({"sdpa": lambda: right, "flash": lambda: (right + 1e-5,)})
    with pytest.raises(AssertionError, match="flash: "):
        flash_cpu.check_agreement({"sdpa": lambda: right, "flash": lambda: (right + 1e-2,)})


def test_a_quick_cpu_run_writes_a_file_that_says_it_was_one(tmp_path):
    target = tmp_path / "quick.json"
    command = [sys.executable, "benchmarks/flash_cpu.py", "--quick", "--output", str(target)]
    subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    written = json.loads(target.read_text())
    assert written["how"]["quick"] is True
    assert len(written["rows"]) == 2 * (3 + 2)
    assert all(row["seconds"] == statistics.median(row["repeats"]) for row in written["rows"])
    sdpa, flash, standard = (found["bytes"] for found in written["memory"])
    assert standard > 8 * flash_cpu.QUICK_MEMORY_SIZE**2 * 4 > max(sdpa, flash)
