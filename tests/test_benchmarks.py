"""The benchmarks: what they measure is what was asked, and what they committed can be recomputed."""

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
import ring_memory  # noqa: E402
import variant_families  # noqa: E402
import variants  # noqa: E402

RESULTS = json.loads(variants.RESULT.read_text(encoding="utf-8"))
RING = json.loads(ring_memory.RESULT.read_text(encoding="utf-8"))


# -- the committed results ---------------------------------------------------------------------------------


def test_the_committed_results_are_of_a_whole_run():
    assert not RESULTS["how"]["quick"], "run `python benchmarks/variants.py` on an idle machine"
    assert RESULTS["how"]["repeats"] >= 5
    for name in RESULTS["families"]:
        reached = max(row["n"] for row in RESULTS["rows"] if row["family"] == name)
        assert reached == max(variants.SIZES) or name in RESULTS["stopped"]


def test_every_median_is_that_of_its_repeats():
    for row in RESULTS["rows"]:
        assert len(row["repeats"]) == RESULTS["how"]["repeats"]
        assert row["seconds"] == statistics.median(row["repeats"])


def test_exponents_and_ratios_follow_from_the_rows():
    again = variants.summary(RESULTS["rows"])
    assert again.keys() == RESULTS["summary"].keys()
    for name, found in again.items():
        for what, numbers in found.items():
            assert RESULTS["summary"][name][what] == pytest.approx(numbers, rel=1e-9), (name, what)


@pytest.mark.parametrize("module", [variants, ring_memory], ids=lambda module: module.__name__)
def test_the_results_name_hardware_versions_and_date_but_no_machine(module):
    text = module.RESULT.read_text(encoding="utf-8")
    how = json.loads(text)["how"]
    assert how["processor"]
    assert how["cores"] >= how["threads"] == 1
    assert re.fullmatch(r"\d+\.\d+\.\d+\S*", how["torch"])
    assert re.fullmatch(r"3\.\d+\.\d+", how["python"])
    assert re.fullmatch(r"\d{4}-\d\d-\d\d", how["date"])
    assert re.fullmatch(r"[0-9a-f]{7,40}", how["commit"])
    for private in (platform.node(), str(Path.home()), str(ROOT)):
        assert private not in text


# -- the arithmetic ----------------------------------------------------------------------------------------


def test_a_power_law_is_fitted_exactly_on_the_last_sizes():
    sizes = [2**k for k in range(6, 12)]
    values = [7.0, 9.0] + [3e-6 * n**1.5 for n in sizes[2:]]
    found = variants.fit(sizes, values)
    assert [found[key] for key in ("exponent", "low", "high")] == pytest.approx([1.5] * 3)
    assert (found["from"], found["to"]) == (256, 2048)


def test_low_and_high_are_the_exponents_of_single_doublings():
    found = variants.fit([1, 2, 4, 8], [1.0, 2.0, 8.0, 16.0])
    assert (found["low"], found["high"]) == pytest.approx((1, 2))
    assert found["low"] < found["exponent"] < found["high"]


@pytest.mark.parametrize(
    ("last", "reason"),
    [
        ({"seconds": 0.6, "peak_bytes": 1}, "would take more than 2 s"),
        ({"seconds": 0.1, "peak_bytes": 0.6e9}, "would need more than 2 GB"),
        ({"seconds": 0.4, "peak_bytes": 0.4e9}, ""),
    ],
)
def test_a_quadratic_family_stops_before_the_size_that_is_too_much(last, reason):
    before = {key: value / 4 for key, value in last.items()}
    found = variants.stopped([{"n": 512} | before, {"n": 1024} | last])
    assert found.startswith("n = 2048") == bool(reason)
    assert reason in found


def test_nothing_stops_before_it_began():
    assert variants.stopped([]) == ""


def test_the_peak_is_what_is_held_at_once_and_not_the_sum():
    def one_after_another():
        for _ in range(5):
            torch.ones(100_000)

    def together():
        return [torch.ones(100_000) for _ in range(5)]

    assert variants.peak_bytes(one_after_another) == pytest.approx(4e5, rel=0.01)
    assert variants.peak_bytes(together) == pytest.approx(2e6, rel=0.01)


def test_what_was_there_before_does_not_count():
    big = torch.ones(1_000_000)
    assert variants.peak_bytes(lambda: big[:1000] + 1) == pytest.approx(4e3, rel=0.1)


def test_the_ratio_is_to_the_baseline_at_the_same_size():
    rows = [
        {"family": family, "n": n, "seconds": seconds, "peak_bytes": 1}
        for family, n, seconds in [
            ("sdpa", 64, 2.0),
            ("sdpa", 128, 8.0),
            ("linear", 64, 3.0),
            ("linear", 128, 6.0),
        ]
    ]
    assert variants.summary(rows)["linear"]["to_baseline"] == {"64": 1.5, "128": 0.75}


# -- the families ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", variant_families.FAMILIES)
def test_each_family_runs_at_a_small_size(name):
    result = variant_families.FAMILIES[name].make(32)()
    output = result if isinstance(result, torch.Tensor) else result[0]
    assert output.isfinite().all()


@pytest.mark.parametrize(("n", "expected"), [(16, (4, 4)), (32, (4, 8)), (8192, (64, 128))])
def test_an_image_has_n_pixels(n, expected):
    assert variant_families.sides(n) == expected


def test_causal_families_compute_what_the_baseline_computes():
    torch.manual_seed(0)
    baseline = variant_families.FAMILIES["sdpa"].make(32)()
    torch.manual_seed(0)
    masked = variant_families.FAMILIES["masked"].make(32)().output
    torch.testing.assert_close(masked, baseline)


def test_a_quick_run_writes_a_file_that_says_it_was_one(tmp_path):
    target = tmp_path / "quick.json"
    command = [
        sys.executable,
        "benchmarks/variants.py",
        "--quick",
        "--families",
        "linear",
        "--output",
        str(target),
    ]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert run.stderr == ""
    written = json.loads(target.read_text())
    assert written["how"]["quick"] is True
    assert set(written["families"]) == {"sdpa", "linear"}
    assert {row["n"] for row in written["rows"]} == set(variants.QUICK)
    assert all(row["seconds"] == statistics.median(row["repeats"]) for row in written["rows"])


# -- the ring's memory -------------------------------------------------------------------------------------


def test_what_the_ring_holds_is_summed_up_from_its_rows():
    assert ring_memory.summary(RING["rows"]) == RING["summary"]
    assert {(row["ranks"], row["rank"]) for row in RING["rows"]} == {
        (0, 0),
        *((ranks, rank) for ranks in (1, 2, 4, 8) for rank in range(ranks)),
    }


def test_twice_the_ranks_hold_half_each_and_the_scratch_of_one_tile():
    for ranks in ("4", "8"):
        assert 0.5 < RING["summary"][ranks]["to_before"] < 0.66
    assert RING["summary"]["8"]["held_bytes"] < RING["summary"]["1"]["held_bytes"] / 2
    assert RING["summary"]["8"]["held_bytes"] < RING["summary"]["0"]["held_bytes"] / 40


def test_a_small_ring_is_measured_and_written(tmp_path):
    target = tmp_path / "ring.json"
    command = [sys.executable, "benchmarks/ring_memory.py", "--positions", "64", "--ranks", "2"]
    run = subprocess.run(
        [*command, "--output", str(target)], cwd=ROOT, capture_output=True, text=True, check=True
    )
    written = json.loads(target.read_text())
    assert [(row["ranks"], row["rank"]) for row in written["rows"]] == [(0, 0), (2, 0), (2, 1)]
    assert written["rows"][1]["input_bytes"] == 3 * 4 * 32 * 64 * 4  # three inputs, heads, positions, width
    assert "in one piece" in run.stdout
