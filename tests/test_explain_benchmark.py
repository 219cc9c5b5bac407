"""The benchmark of the maps: what it computes, and what it keeps."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from attention_core import explain, models
from attention_core.datasets import SHAPE_CLASSES, shapes
from attention_core.explain.faithfulness import patch_masks

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "benchmarks"))
import explain as benchmark  # noqa: E402


def test_the_two_classes_of_a_pair_are_found_in_their_order():
    labels = torch.zeros(3, 8).bool()
    for row, (a, b) in enumerate([(0, 7), (2, 3), (1, 6)]):
        labels[row, [a, b]] = True
    first, second = benchmark.both_of(labels)
    assert (first.tolist(), second.tolist()) == ([0, 2, 1], [7, 3, 6])


def test_two_objects_are_told_apart_by_the_patches_that_are_their_own():
    scenes = shapes("pair", 6)
    rows = torch.arange(6)
    own = [patch_masks(scenes.masks[rows, target], (8, 8)) for target in benchmark.both_of(scenes.labels)]
    # Right where an object covers more than half, wrong where it covers less, as it is on most patches.
    one, other = ((cover > 0.5).double() - (cover > 0).double() / 2 for cover in own)
    assert benchmark.told_apart(one, other, scenes).tolist() == [1.0] * 6
    assert benchmark.told_apart(one, other, scenes, None).max() < 1
    assert benchmark.told_apart(one, one, scenes).tolist() == pytest.approx([0.5] * 6)
    assert benchmark.told_apart(one, one, scenes, None).tolist() == pytest.approx([0.5] * 6)


def test_a_row_holds_the_mean_and_its_interval_and_an_error_holds_its_words():
    kept = {"found": {"AUC": [0.0, 1.0]}, "commit": "abc1234", "date": "2026-01-01"}
    (row,) = benchmark.rows_of("shapes-vit", 1, "raw", "f00", kept)
    assert (row["mean"], row["low"], row["high"], row["images"], row["seed"]) == (0.5, 0.0, 1.0, 2, 1)
    (row,) = benchmark.rows_of("shapes-vit", 1, "raw", "f00", kept | {"found": {"error": "no"}})
    assert (row["metric"], row["says"]) == ("error", "no")


def test_the_summary_takes_the_median_of_the_seeds():
    rows = [{"method": "a", "metric": "m", "mean": mean} for mean in (0.1, 0.9, 0.3)]
    assert benchmark.summary([*rows, {"method": "b", "metric": "error", "says": "no"}]) == {"a": {"m": 0.3}}


def test_what_was_measured_is_kept_by_its_key(tmp_path):
    calls = []
    measure = lambda: calls.append(1) or {"AUC": [1.0]}  # noqa: E731
    first = benchmark.kept(tmp_path, ["a", 1], measure, False)
    assert benchmark.kept(tmp_path, ["a", 1], measure, False) == first
    assert len(calls) == 1
    benchmark.kept(tmp_path, ["a", 2], measure, False)
    benchmark.kept(tmp_path, ["a", 1], measure, True)
    assert len(calls) == 3


def test_the_table_has_a_line_for_every_method_and_a_dot_for_what_there_is_not():
    result = {"summary": {"chefer": {"class AUC": 0.876, "CPU ms": 12.3}, "model": {"exact match": 0.5}}}
    head, *lines = benchmark.table(result).splitlines()
    assert [line.split()[0] for line in lines[: len(explain.METHODS)]] == list(explain.METHODS)
    (line,) = [line for line in lines if line.startswith("chefer")]
    cells = dict(zip(head.split(), line.split()[1:], strict=True))
    assert (cells["cAUC"], cells["ms"], cells["AUC"]) == ("0.88", "12", ".")
    assert lines[-1] == "model: exact match 0.5"


def test_the_file_holds_a_row_a_line(tmp_path):
    content = {"how": {"quick": True}, "rows": [{"a": 1}, {"a": 2}]}
    benchmark.write(tmp_path / "file.json", content)
    text = (tmp_path / "file.json").read_text(encoding="utf-8")
    assert json.loads(text) == content
    assert [line for line in text.splitlines() if '"a"' in line] == ['  {"a": 1},', '  {"a": 2}']


def test_part_of_a_run_has_no_place_in_the_file_of_whole_ones(capsys):
    for words in (["--quick"], ["--only", "raw"], ["--seeds", "1"]):
        with pytest.raises(SystemExit):
            benchmark.main(words)
        assert "name another --output" in capsys.readouterr().err


def test_code_is_the_same_whatever_its_words_say(tmp_path, monkeypatch):
    folder = tmp_path / "attention_core" / "explain"
    folder.mkdir(parents=True)
    monkeypatch.setattr(benchmark.variants, "ROOT", tmp_path)
    prints = []
    for text in ('"""One."""\nx = 1', '"""Two."""\nx = 1  # why', '"""One."""\nx = 2'):
        (folder / "module.py").write_text(text, encoding="utf-8")
        prints.append(benchmark.source())
    assert prints[0] == prints[1] != prints[2]


def test_a_slow_method_is_measured_on_fewer_images_and_no_method_on_none():
    scenes = shapes("single", 7)
    assert len(benchmark.few(scenes, "chefer")) == 7
    assert len(benchmark.few(scenes, "flow")) == 1


def test_a_method_that_is_to_refuse_must():
    model = models.ViT(width=16, depth=1, heads=2, classes=SHAPE_CLASSES).eval()
    scenes = shapes("single", 2)
    assert "exactly 0" in benchmark.refusal(model, "gradcam_literal", scenes)["error"]
    with pytest.raises(RuntimeError, match="chefer was to refuse"):
        benchmark.refusal(model, "chefer", scenes)


def test_a_quick_run_writes_rows_and_a_second_measures_nothing(tmp_path):
    target = tmp_path / "quick.json"
    command = [sys.executable, "benchmarks/explain.py", "--quick", "--only", "raw", "cdam", "gradcam_literal"]
    command += ["model", "permuted attention", "--output", str(target), "--work", str(tmp_path / "work")]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True, env=environment)
    written = json.loads(target.read_text(encoding="utf-8"))
    assert written["how"]["quick"] is True
    rows = [row for row in written["rows"] if row["method"] == "raw" and row["metric"] == "class AUC"]
    assert [row["mean"] for row in rows] == pytest.approx([0.5])
    files = {path: path.stat().st_mtime_ns for path in (tmp_path / "work").rglob("*.json")}
    second = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True, env=environment)
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "work").rglob("*.json")} == files
    assert json.loads(target.read_text(encoding="utf-8"))["rows"] == written["rows"]
    assert second.stdout.count("cdam") > 1
