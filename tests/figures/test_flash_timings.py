"""Measured times of flash attention, drawn and said: all of it from the file, and nothing that it lacks."""

import json
import re
from pathlib import Path

import pytest

from attention_core.figures.flash_timings import FlashTimings

RESULTS = Path(__file__).resolve().parents[2] / "benchmarks" / "results"
HOW = dict(setting="float32", time="process time", memory="resident", quick=False, processor="A Processor")
HOW |= dict(cores=2, threads=1, torch="2.13.0", python="3.11.7", date="2026-11-25", commit="abc1234")


def row(way, mask, n, rival, seconds, ratio):
    spread = {"to_sdpa": ratio, "low": ratio - 0.1, "high": ratio + 0.1}
    return {"pass": way, "mask": mask, "n": n, "rival": rival, "seconds": seconds, "repeats": []} | spread


@pytest.fixture
def timings():
    rows = [
        row("forward", "full", 1024, "sdpa", 0.010, 1.0),
        row("forward", "full", 1024, "flash", 0.012, 1.2),
        row("forward", "full", 2048, "sdpa", 0.040, 1.0),
        row("forward", "full", 2048, "flash", 0.044, 1.1),
        row("backward", "causal", 1024, "sdpa", 0.020, 1.0),
        row("backward", "causal", 1024, "flash", 0.030, 1.5),
    ]
    memory = [
        {"pass": "forward", "mask": "full", "n": 4096, "rival": "flash", "bytes": 17e6},
        {"pass": "forward", "mask": "full", "n": 4096, "rival": "standard", "bytes": 1038e6},
    ]
    return FlashTimings(how=HOW, rows=rows, memory=memory)


def test_there_is_a_panel_for_each_case_and_a_line_for_each_rival(timings):
    both = timings.chart()
    assert len(both.panels) == 2
    (forward,) = timings.chart("forward").panels
    assert "Forward, no mask" in forward
    assert forward.count("<polyline") == 2
    assert "FlexAttention" not in forward  # it was not measured


def test_the_alt_text_holds_the_numbers_of_the_file(timings):
    alt = timings.chart("forward").alt
    assert "this book’s from 12 at n = 1024 to 44 at n = 2048" in alt
    assert "PyTorch SDPA from 10 at n = 1024 to 40 at n = 2048" in alt


def test_the_caption_names_processor_versions_and_date(timings):
    caption = timings.chart("forward").caption
    for said in ("A Processor", "PyTorch 2.13.0", "Python 3.11.7", "2026-11-25", "abc1234"):
        assert said in caption


def test_a_trial_is_called_a_trial(timings):
    trial = FlashTimings(how=HOW | {"quick": True}, rows=timings.rows)
    assert trial.chart().caption.startswith("A trial at small sizes, not a result.")


def test_the_table_gives_ratio_spread_and_memory_at_the_largest_length(timings):
    html = timings._repr_html_()
    cells = [re.findall(r"<t[hd][^>]*>([^<]*)</t[hd]>", line) for line in html.split("<tr>")]
    assert ["this book’s", "forward, no mask", "2048", "1.10", "1.00 to 1.20", "17.0 at 4096"] in cells
    assert ["this book’s", "backward, causal", "1024", "1.50", "1.40 to 1.60", "–"] in cells
    assert ["whole matrix", "forward, no mask", "4096", "–", "–", "1038.0 at 4096"] in cells
    assert all(cells[1])  # no column without a name


def test_a_single_length_can_be_drawn(timings):
    (panel,) = FlashTimings(how=HOW, rows=timings.rows[:2]).chart().panels
    assert panel.count("<circle") == 2


def test_a_machine_that_nobody_measured_has_no_chart(tmp_path):
    assert FlashTimings.found(tmp_path / "flash_gpu.json") == []


def test_keys_that_are_not_drawn_do_not_matter(tmp_path, timings):
    path = tmp_path / "flash_cpu.json"
    path.write_text(json.dumps({"how": HOW, "rows": timings.rows, "notes": "more"}), encoding="utf-8")
    (found,) = FlashTimings.found(path)
    assert found.curve("forward", "full", "sdpa") == [(1024, 10.0), (2048, 40.0)]


@pytest.mark.parametrize("path", sorted(RESULTS.glob("flash_[cg]pu.json")), ids=lambda path: path.stem)
def test_committed_results_can_be_drawn(path):
    timings = FlashTimings.load(path)
    assert timings.chart().panels
    assert not timings.how.get("quick"), "a trial was committed as a result"


def test_what_a_gpu_measured_is_drawn_beside_cudnn_and_named(tmp_path):
    def gpu_row(rival, seconds):
        case = {"way": "forward", "kind": "full", "width": 128, "n": 1024, "rival": rival}
        return case | ({"seconds": seconds} if seconds else {"failed": "no such kernel"})

    how = {name: HOW[name] for name in ("setting", "time", "python", "torch", "commit", "date")}
    how |= {"gpu": "A GPU", "triton": "3.7.1", "quick": False}
    rows = [gpu_row("cudnn", 0.001), gpu_row("triton", 0.0012), gpu_row("flex", None)]
    path = tmp_path / "flash_gpu.json"
    path.write_text(json.dumps({"how": how, "rows": rows, "checks": []}), encoding="utf-8")
    (found,) = FlashTimings.found(path)
    figure = found.chart("forward")
    assert "Forward, no mask, width 128" in figure.panels[0]
    assert figure.panels[0].count("<polyline") == 2  # one could not run
    assert "A GPU, PyTorch 2.13.0, Triton 3.7.1" in figure.caption
    assert "÷ cuDNN" in found._repr_html_()
    assert ">1.20<" in found._repr_html_()
