"""Do the maps explain? The medians are those of the rows, and what was promised of the methods holds."""

import json
import platform
import re
import sys
from pathlib import Path
from statistics import median

import pytest

from attention_core import explain, models
from attention_core.datasets.shapes import fingerprint

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "benchmarks"))
import explain as benchmark  # noqa: E402

TEXT = benchmark.RESULT.read_text(encoding="utf-8")
RESULTS = json.loads(TEXT)
HOW, ROWS, SUMMARY, INTERVALS = (RESULTS[name] for name in ("how", "rows", "summary", "intervals"))
REFUSING = ["gradcam_literal"]  # whose gradients are 0: an error, not a map
MAPPING = [method for method in explain.METHODS if method not in REFUSING]
FAST = [method for method in MAPPING if method not in benchmark.SLOW]
BY_GRADIENT = [
    "grad_rollout", "chefer", "gradcam", "cdam", "cdam_smooth", "cdam_integrated", "cdam_value", "cdam_key",
    "cdam_layers", "legrad", "attnlrp", "gradient_x_input", "integrated_gradients",
]  # fmt: skip


def of(method, metric, model=benchmark.PLAIN):
    """A method's rows, a seed each."""
    return [row for row in ROWS if (row["model"], row["method"], row["metric"]) == (model, method, metric)]


# -- the committed results ---------------------------------------------------------------------------------


def test_the_committed_results_are_of_a_whole_run():
    assert not HOW["quick"], "run `python benchmarks/explain.py` without --quick"
    assert HOW["images"] == benchmark.COUNTS
    assert min(HOW["images"][split] for split in ("single", "pair")) >= 100
    assert {row["method"] for row in ROWS} == {*explain.METHODS, *benchmark.EXPERIMENTS}


@pytest.mark.parametrize(
    "metric", ["AUC", "deletion", "class AUC", "A/B correlation", "contrastive deletion"]
)
def test_every_method_was_measured_on_three_seeds(metric):
    for method in MAPPING:
        rows = of(method, metric)
        assert [row["seed"] for row in rows] == [0, 1, 2], method
        assert len({row["sha256"] for row in rows}) == 3
        images = HOW["images"]["pair"] // benchmark.SLOW.get(method, 1)
        if "deletion" in metric:
            images = min(images, HOW["images"]["curves"])
        assert {row["images"] for row in rows} == {images}


def test_the_images_are_those_that_the_command_draws():
    drawn = benchmark.drawn(HOW["images"])
    for split in ("single", "pair", "test", "shortcut"):
        assert RESULTS["fingerprints"][split] == fingerprint(drawn[split])


def test_the_medians_follow_from_the_rows():
    assert benchmark.summary(ROWS) == SUMMARY
    for method in MAPPING:
        found = median(row["mean"] for row in of(method, "class AUC"))
        assert SUMMARY[method]["class AUC"] == found


def test_every_mean_lies_in_its_interval():
    for row in ROWS:
        if "mean" in row:
            assert row["low"] - 1e-12 <= row["mean"] <= row["high"] + 1e-12, row
    for method, metrics in INTERVALS.items():
        for metric, (low, high) in metrics.items():
            mean = sum(row["mean"] for row in of(method, metric)) / len(of(method, metric))
            assert low - 1e-12 <= mean <= high + 1e-12, (method, metric)


def test_the_results_name_hardware_versions_and_date_but_no_machine():
    assert HOW["processor"]
    assert HOW["cores"] >= HOW["threads"] == 1
    for entry in (HOW, *ROWS):
        assert re.fullmatch(r"\d{4}-\d\d-\d\d", entry["date"])
        assert re.fullmatch(r"[0-9a-f]{7,40}", entry["commit"])
    for private in (platform.node(), str(Path.home()), str(ROOT)):
        assert private not in TEXT


def test_the_weights_of_the_first_seed_are_those_that_ship():
    for name in (benchmark.PLAIN, benchmark.TAGS):
        (sha256,) = {row["sha256"] for row in ROWS if (row["model"], row["seed"]) == (name, 0)}
        assert sha256 == models.card(name)["sha256"]


# -- what was promised: exact ------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["raw", "rollout", "flow", "random", "edges"])
def test_a_map_that_knows_no_class_does_not_tell_two_objects_apart(method):
    for row in of(method, "class AUC"):
        assert abs(row["mean"] - 0.5) <= 1e-6
        assert row["high"] - row["low"] <= 1e-6
    for row in of(method, "A/B correlation"):
        assert row["mean"] == pytest.approx(1)
    for row in of(method, "contrastive deletion"):
        assert row["mean"] == pytest.approx(0, abs=1e-9)


def test_rows_of_attention_and_of_rollout_sum_to_one():
    for row in (*of("model", "attention rows less 1"), *of("model", "rollout rows less 1")):
        assert row["mean"] < 1e-12


def test_cdam_is_the_sum_of_its_two_paths():
    for row in of("model", "CDAM less its two paths"):
        assert row["mean"] < 1e-10


def test_literal_gradcam_is_an_error_that_explains_itself():
    rows = of("gradcam_literal", "error")
    assert [row["seed"] for row in rows] == [0, 1, 2]
    for row in rows:
        assert re.search("gradients.*exactly 0.*do not reach the output.*gradcam", row["says"])
    assert all(row["metric"] == "error" for row in ROWS if row["method"] == "gradcam_literal")


# -- what was promised: statistical ------------------------------------------------------------------------


def test_the_models_know_what_they_are_asked_about():
    assert SUMMARY["model"]["exact match"] >= 0.95


@pytest.mark.parametrize("method", ["chefer", "attnlrp", "legrad", "integrated_gradients", "cdam_layers"])
def test_these_tell_two_objects_apart(method):
    assert SUMMARY[method]["class AUC"] >= 0.85


def test_gradcam_at_the_first_norm_tells_them_apart_less_well():
    assert SUMMARY["gradcam"]["class AUC"] >= 0.70


def test_cdam_tells_them_apart_and_is_contrastive():
    assert SUMMARY["cdam"]["class AUC"] >= 0.60
    assert INTERVALS["cdam"]["class AUC"][0] > 0.5
    assert all(row["low"] > 0.5 for row in of("cdam", "class AUC"))
    assert SUMMARY["cdam"]["A/B correlation"] <= -0.3


@pytest.mark.parametrize("method", BY_GRADIENT)
def test_without_the_head_a_gradients_map_is_another(method):
    assert SUMMARY[method]["randomized to head"] <= 0.5


@pytest.mark.parametrize("method", ["raw", "rollout", "edges", "random"])
def test_what_knows_no_class_does_not_see_the_head_go(method):
    assert SUMMARY[method]["randomized to head"] == pytest.approx(1)


@pytest.mark.parametrize("method", ["chefer", "cdam", "attnlrp", "gradcam"])
def test_the_planted_tag_is_where_these_peak(method):
    (row,) = of(method, "tag peak", benchmark.TAGS)
    assert row["images"] >= 100
    assert row["mean"] >= 0.9
