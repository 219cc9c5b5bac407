"""Measured costs, drawn and said: all numbers come from the file, and no family that it lacks."""

import itertools
import re

import pytest

from attention_core.figures import loglog
from attention_core.figures.costs import Costs

N = (64, 128, 256, 512)


def results(seconds: dict, *, quick: bool = False, **changes) -> Costs:
    rows = [
        {"family": name, "n": n, "seconds": value, "repeats": [value], "peak_bytes": 4 * n}
        for name, values in seconds.items()
        for n, value in zip(N, values, strict=False)
    ]
    fit = {"exponent": 1.98, "low": 1.91, "high": 2.04, "from": 64, "to": 512}
    how = dict(setting="forward", time="median", memory="peak", quick=quick, processor="A Processor", cores=2)
    how |= dict(threads=1, torch="2.13.0", python="3.11.7", date="2026-11-22", commit="abc1234")
    families = {n: {"title": n.upper(), "note": "a note", "comparable": n != "pixels"} for n in seconds}
    summary = {name: {"to_baseline": {}, "seconds": fit, "peak_bytes": fit} for name in seconds}
    given = dict(how=how, families=families, stopped={}, summary=summary, rows=rows)
    return Costs(**(given | changes))


@pytest.fixture
def costs():
    compared = {"fast": (0.5, 1, 2, 4), "late": (3, 3, 3, 3), "slow": (2, 4, 8, 20), "pixels": (1, 1)}
    return results({"sdpa": (1, 2, 4, 8)} | compared)


def test_ahead_means_ahead_at_every_larger_size(costs):
    assert costs.ahead_from("fast") == 64
    assert costs.ahead_from("late") == 256
    assert costs.ahead_from("slow") is None
    wavering = results({"sdpa": (1, 1, 1, 1), "x": (0.5, 2, 0.5, 0.5)})
    assert wavering.ahead_from("x") == 256


def test_sentences_follow_from_the_numbers(costs):
    said = costs.beside("sdpa", "fast", "late", "slow", "absent").replace("\u00a0", " ")
    assert said == (
        "Beside SDPA: **FAST** is faster at every size, 2 times as fast at n = 512; "
        "**LATE** is faster from n = 256 on, 2.7 times as fast at n = 512; "
        "**SLOW** takes 2.5 times as long at n = 512."
    )


def test_a_family_that_was_not_measured_is_not_mentioned(costs):
    assert costs.beside("sdpa", "absent") == ""
    assert costs.beside("absent", "fast") == ""
    html = costs.chart("Title", "fast", "absent")._repr_html_()
    assert "FAST" in html
    assert "ABSENT" not in html


def test_the_table_has_a_line_a_family_and_no_ratio_where_the_work_differs(costs):
    lines = re.findall(r"<tr>(<th scope=\"row\">.*?)</tr>", costs._repr_html_())
    assert len(lines) == 5
    assert "1.98" in lines[0]
    assert "1.9 to 2.0" in lines[0]
    assert "0.50 at 512" in lines[1]
    assert lines[4].endswith("<td>–</td>")


def test_what_ended_early_is_said_with_its_reason(costs):
    assert costs.ends() == "Every line runs to the largest size."
    reason = "n = 256 would take more than 2 s"
    short = results({"sdpa": (1, 2), "a": (1, 2)}, stopped={"sdpa": reason, "a": reason})
    assert short.ends() == "Lines that end early: SDPA, A (n = 256 would take more than 2 s)."


def test_hardware_versions_date_and_commit_are_named(costs):
    said = costs.measured()
    for part in ("A Processor", "1 of 2 cores", "PyTorch 2.13.0", "2026-11-22", "abc1234"):
        assert part in said
    assert "not a result" not in said
    assert "not a result" in results({"sdpa": (1, 2)}, quick=True).measured()


# -- the picture -------------------------------------------------------------------------------------------


def points(html: str) -> list[list[tuple[float, float]]]:
    lines = re.findall(r'polyline points="([^"]+)"', html)
    return [[tuple(map(float, point.split(","))) for point in line.split()] for line in lines]


def draw(series, **options):
    given = dict(alt="x", title="t", y_label="y", x_range=(1, 16), y_range=(1, 1000))
    return loglog.growth(series, **(given | options))._repr_html_()


def test_a_power_is_a_straight_line():
    line = sorted(points(draw({"a": [(n, 2.0 * n**2) for n in (1, 2, 4, 8)]}))[0])
    steps = [(b[0] - a[0], b[1] - a[1]) for a, b in itertools.pairwise(line)]
    for step in steps[1:]:
        assert step == pytest.approx(steps[0], abs=0.11)


def test_an_exponent_twice_as_large_is_twice_as_steep():
    html = draw({"a": [(1, 1), (8, 8)], "b": [(1, 1), (8, 64)]})
    rises = sorted(line[0][1] - line[1][1] for line in points(html))
    assert rises[1] == pytest.approx(2 * rises[0], abs=0.2)


def test_every_line_is_named_and_names_keep_apart():
    html = draw({name: [(1, 10), (16, 100 + i)] for i, name in enumerate("abcde")})
    heights = [
        float(y) for y, name in re.findall(r'<text x="[\d.]+" y="([\d.]+)"[^>]*>([abcde])</text>', html)
    ]
    assert len(heights) == 5
    assert all(b - a >= 18.9 for a, b in itertools.pairwise(sorted(heights)))


def test_the_baseline_is_grey_and_the_subjects_are_not():
    html = draw({"base": [(1, 1), (2, 2)], "a": [(1, 2), (2, 4)]}, baseline="base")
    pens = re.findall(r"polyline[^>]*stroke:var\(--ps-(\w+)\)", html)
    assert sorted(pens) == ["accent", "muted"]


def test_small_and_large_powers_of_ten_are_written_with_raised_digits():
    assert [loglog.power(k) for k in (-2, 0, 13)] == ["10⁻²", "10⁰", "10¹³"]


@pytest.mark.parametrize(
    ("series", "words"),
    [
        ({"a": [(1, 0.0)]}, "a logarithmic axis has no zero"),
        ({name: [(1, 1)] for name in "abcdef"}, "may hold 5 subjects"),
    ],
)
def test_what_cannot_be_drawn_truly_is_refused(series, words):
    with pytest.raises(ValueError, match=words):
        draw(series)
