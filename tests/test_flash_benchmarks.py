"""The benchmarks of flash attention: on a CPU as measured, on a GPU as far as one can check without."""

import json
import os
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
import flash_gpu  # noqa: E402
from flash_gpu import Case  # noqa: E402


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
        again = flash_cpu.row(way, mask, n, rival, turns)
        assert found.keys() == again.keys()
        assert found["repeats"] == again["repeats"]
        for key in ("seconds", "to_sdpa", "low", "high"):
            assert found[key] == pytest.approx(again[key], rel=1e-12), (way, mask, n, rival, key)
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


# -- on a GPU: what can be told without one ----------------------------------------------------------------


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU: it would measure")
def test_without_a_gpu_it_says_what_to_do():
    command = [sys.executable, "benchmarks/flash_gpu.py", "--quick"]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert run.returncode == 1
    for words in ("No GPU", torch.__version__, "NVIDIA GPU", "--check"):
        assert words in run.stderr
    assert "Traceback" not in run.stderr


def test_it_does_not_time_the_interpreter(monkeypatch):
    monkeypatch.setattr(flash_gpu.torch.cuda, "is_available", lambda: True)
    monkeypatch.setenv("TRITON_INTERPRET", "1")
    assert "Unset it" in flash_gpu.no_gpu()
    monkeypatch.delenv("TRITON_INTERPRET")
    assert flash_gpu.no_gpu() is None


def test_the_kernels_are_checked_through_the_interpreter():
    command = [sys.executable, "benchmarks/flash_gpu.py", "--check"]
    environment = {**os.environ, "TRITON_INTERPRET": "1"}
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, env=environment, check=False)
    assert run.returncode == 0, run.stderr
    assert [line.split()[1] for line in run.stdout.splitlines()] == [
        "full",
        "causal",
        "soft",
        "documents",
        "window",
    ]


@pytest.mark.parametrize("kind", flash_gpu.KINDS)
def test_a_wrong_result_ends_the_run(kind, monkeypatch):
    right = flash_gpu.partial(flash_gpu.by_matrices, kind)
    monkeypatch.setattr(flash_gpu, "flash_attention", lambda *x, **_: right(*x))
    shares = flash_gpu.checked(kind, (1, 2, 30, 16), "cpu")
    assert max(shares.values()) <= 1
    monkeypatch.setattr(flash_gpu, "flash_attention", lambda q, k, v, **_: right(q, k, v * 1.05))
    with pytest.raises(SystemExit, match=f"WRONG: {kind}.*output"):
        flash_gpu.checked(kind, (1, 2, 30, 16), "cpu")


def test_what_a_kernel_forgets_to_write_is_nan():
    with flash_gpu.poisoned():
        assert torch.empty(1000).isnan().all()
    assert not torch.are_deterministic_algorithms_enabled()


@pytest.mark.parametrize("n", [1, 511, 512, 513, 1000, 1024, 2500])
@pytest.mark.parametrize("kind", flash_gpu.KINDS)
def test_the_pairs_that_are_counted_are_those_of_the_mask(kind, n):
    mod = flash_gpu.MASK_MODS.get(kind, flash_gpu.causal if kind == "causal" else None)
    i = torch.arange(n)
    expected = n * n if mod is None else int(mod(0, 0, i[:, None], i).sum())
    assert flash_gpu.pairs(kind, n) == expected


def test_flops_are_those_of_the_literature():
    whole = Case("forward", "full", 128, 16384)
    assert whole.shape == (1, 16, 16384, 128)
    assert flash_gpu.flops(whole) == 4 * 16 * 16384**2 * 128
    assert flash_gpu.flops(whole._replace(way="backward")) == 2.5 * flash_gpu.flops(whole)
    assert flash_gpu.flops(whole._replace(kind="causal")) == pytest.approx(
        flash_gpu.flops(whole) / 2, rel=1e-3
    )


@pytest.mark.parametrize("n", flash_gpu.SIZES)
@pytest.mark.parametrize("width", flash_gpu.WIDTHS)
def test_tokens_and_width_stay_the_same(width, n):
    batch, heads, *rest = Case("forward", "full", width, n).shape
    assert (batch * n, heads * width, rest) == (flash_gpu.TOKENS, flash_gpu.MODEL_WIDTH, [n, width])


def gpu_rows(**speeds):
    cases = [Case(way, "full", width, 1024) for way in flash_gpu.PASSES for width in (64, 128)]
    return [case._asdict() | {"rival": name, "tflops": x} for case in cases for name, x in speeds.items()]


def test_targets_are_ratios_to_each_rival():
    found = {t["what"]: t for t in flash_gpu.targets(gpu_rows(triton=70.0, cudnn=100.0, fa2=50.0, flex=80.0))}
    assert found["forward, width 128: of cuDNN's speed"]["reached"] == 0.7
    assert not found["forward, width 128: of cuDNN's speed"]["met"]
    assert found["backward, width 64: of cuDNN's speed"]["met"]
    assert found["forward, width 128: of FlashAttention-2's speed"]["reached"] == 1.4
    assert not found["backward: of FlexAttention's speed"]["met"]


def test_a_rival_that_failed_has_no_ratio_and_a_dash():
    rows = gpu_rows(triton=70.0, fa2=50.0)
    rows += [row | {"rival": "cudnn", "failed": "no kernel"} for row in gpu_rows(cudnn=1.0)]
    for row in rows[-4:]:
        del row["tflops"]
    assert all("cuDNN" not in target["what"] for target in flash_gpu.targets(rows))
    line = flash_gpu.table(rows).splitlines()[1].split()
    assert line == ["forward", "full", "64", "1024", "70", "-", "50", "-", "1.40"]


def test_a_row_has_the_median_and_its_speed():
    case = Case("forward", "full", 64, 1024)
    found = flash_gpu.row(case, "triton", [3.0, 1.0, 2.0])
    assert found["seconds"] == 2.0
    assert found["tflops"] == flash_gpu.flops(case) / 2e12
    assert json.loads(json.dumps(found)) == found
    assert found.keys() == {"way", "kind", "width", "n", "rival", "seconds", "repeats", "tflops"}


def test_flex_runs_alone_beside_ours_where_only_it_can_and_at_few_lengths():
    assert flash_gpu.rivals(Case("forward", "soft cap", 64, 1024)) == ["triton", "flex"]
    assert flash_gpu.rivals(Case("forward", "causal", 64, 2048)) == ["triton", "cudnn", "fa2"]


def test_arguments_choose_cases_and_quick_is_small():
    assert flash_gpu.parsed([]).sizes == flash_gpu.SIZES
    quick = flash_gpu.parsed(["--quick", "--widths", "64", "--kinds", "causal"])
    assert (quick.sizes, quick.widths, quick.kinds, quick.repeats) == ((1024,), [64], ["causal"], 3)
    with pytest.raises(SystemExit):
        flash_gpu.parsed(["--kinds", "sideways"])
