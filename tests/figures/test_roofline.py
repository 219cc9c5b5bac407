import json
import re
import shutil
from math import log2
from pathlib import Path

import numpy as np
import pytest
import torch

from attention_core.figures import Roofline, base, stylesheet
from attention_core.figures.roofline import GPUS, counts
from attention_core.figures.roofline_static import (
    COLS,
    GPU,
    INTENSITY,
    RATE,
    describe,
    kib,
    seconds,
    si,
    slope,
)
from attention_core.flash import cost

from ..browser import serving
from .test_in_browser import ROOT, slide, visit, write  # noqa: F401

MODULE = base.module("roofline")
BIBLIOGRAPHY = (ROOT / "book" / "references.bib").read_text(encoding="utf-8")
H100 = next(gpu for gpu in GPUS if gpu.name == "H100 SXM")


def random_inputs(count=160):
    """Lengths that are powers of two and lengths that are not, shorter than a tile and much longer."""
    rng = np.random.default_rng(5)
    for i in range(count):
        n = 2 ** rng.uniform(7, 20)
        n = 2 ** round(log2(n)) if i % 2 else round(n)
        rows = 2 ** rng.uniform(4, 10)
        yield n, round(2 ** rng.uniform(4, 8)), 2 ** round(log2(rows)) if i % 2 else round(rows), bool(i % 3)


def short_inputs():
    """Few enough tiles for `cost.tiled` to walk through in no time."""
    return [case for case in random_inputs(400) if case[0] / case[2] < 20_000]


def expected(n, d, rows, causal):
    dtype = torch.bfloat16
    standard = cost.standard(n, n, d, dtype=dtype)
    tiled = cost.tiled(n, n, d, rows=rows, cols=COLS, causal=causal, dtype=dtype)
    return standard, tiled


def test_javascript_counts_as_attention_core_does(javascript):
    cases = short_inputs()
    assert len(cases) >= 200
    sizes = [case[0] for case in cases]
    assert max(sizes) > 2**19
    assert min(sizes) < 2**8
    counted = javascript(MODULE, "(all) => all.map((c) => counts(...c))", cases)
    for case, live in zip(cases, counted, strict=True):
        standard, tiled = expected(*case)
        for found, made in zip(live, (standard, tiled), strict=False):
            for name in ("flops", "bytes", "sram"):
                assert found[name] == pytest.approx(getattr(made, name), rel=1e-6), (case, name)
                assert found[name] == getattr(made, name)  # whole numbers below 2**53: to the last digit
        n, d, _, causal = case
        once = cost.tiled(n, n, d, rows=n, cols=COLS, causal=causal, dtype=torch.bfloat16)
        assert live[2]["bytes"] == once.bytes == 8 * n * d + 4 * n
        assert live[2]["flops"] == tiled.flops


def test_the_figures_counts_are_attention_cores():
    for case in short_inputs()[:40]:
        standard, tiled = expected(*case)
        made = counts(*case)
        assert (made["standard"].flops, made["standard"].bytes) == (standard.flops, standard.bytes)
        assert (made["tiled"].flops, made["tiled"].bytes) == (tiled.flops, tiled.bytes)
        assert made["tiled"].intensity == tiled.intensity
        assert made["tiled"].sram == tiled.sram


# -- what the figure says of growth ------------------------------------------------------------------------


def slopes(n, d=128, rows=128, causal=False):
    here, twice = counts(n, d, rows, causal), counts(2 * n, d, rows, causal)
    return {(s, what): slope(here[s], twice[s], what) for s in here for what in ("flops", "bytes")}


@pytest.mark.parametrize("causal", [False, True])
def test_operations_have_slope_two_in_both_schedules(causal):
    for n in (2**14, 2**19):
        found = slopes(n, causal=causal)
        assert found["standard", "flops"] == 2
        assert found["tiled", "flops"] == pytest.approx(2, abs=0.012 if causal else 1e-12)


def test_the_standard_schedules_bytes_tend_to_slope_two():
    found = [slopes(2**i)["standard", "bytes"] for i in range(7, 20)]
    assert found == sorted(found)
    assert found[-1] == pytest.approx(2, abs=1e-3)


def test_tiled_bytes_have_slope_one_only_while_one_tile_holds_every_query():
    rows = 1024
    for n in (128, 256, 512):  # n to 2n, still a single tile
        found = slopes(n, rows=rows)
        assert found["tiled", "bytes"] == found["once", "bytes"] == 1
        assert counts(n, 128, rows, False)["tiled"].bytes == counts(n, 128, rows, False)["once"].bytes
    after = [slopes(2**i, rows=rows)["tiled", "bytes"] for i in range(10, 20)]
    assert after == sorted(after)
    assert after[0] > 1.3
    assert after[-1] == pytest.approx(2, abs=3e-3)  # read again for every tile: n squared once more


def test_inputs_read_once_have_slope_one_everywhere():
    for i in range(7, 20):
        assert slopes(2**i)["once", "bytes"] == 1


@pytest.mark.parametrize("d", [64, 128])
@pytest.mark.parametrize("rows", [32, 128, 512])
def test_operations_a_byte_tend_to_half_the_width_and_to_the_rows_of_a_tile(d, rows):
    long = counts(2**20, d, rows, False)
    assert long["standard"].intensity == pytest.approx(d / 2, rel=2e-3)
    assert long["tiled"].intensity == pytest.approx(rows, rel=2e-3)
    assert long["standard"].bytes / long["tiled"].bytes == pytest.approx(rows / (d / 2), rel=4e-3)


def test_small_tiles_move_more_than_the_standard_schedule():
    made = counts(2**14, 256, 32, False)
    assert made["tiled"].bytes > 3 * made["standard"].bytes
    twice = counts(2**15, 256, 32, False)
    assert "times more bytes than" in describe(2**14, 32, H100, made, twice)[0]


# -- the roof ------------------------------------------------------------------------------------------------


def test_a_bound_is_the_longer_of_arithmetic_and_traffic():
    figure = Roofline(n=2**14, d=64, rows=256, gpu="A100 SXM 80 GB")
    assert figure.chosen.ridge == pytest.approx(312e12 / 2039e9)
    for name, made in zip(("standard", "tiled"), expected(2**14, 64, 256, False), strict=True):
        assert figure.bounds[name] == max(made.flops / 312e12, made.bytes / 2039e9)
        memory = made.intensity < figure.chosen.ridge
        assert (figure.bounds[name] == made.bytes / 2039e9) == memory
    assert figure.bounds["once"] <= min(figure.bounds["standard"], figure.bounds["tiled"])
    np.testing.assert_array_equal(figure.weights[:, 2], list(figure.bounds.values()))


def test_published_numbers_cite_their_sheets():
    for gpu in GPUS:
        entry = re.search(rf"@misc{{{gpu.citation},.*?\n}}", BIBLIOGRAPHY, re.S)
        assert entry, gpu.citation
        note = entry[0].replace("\n", " ")
        peak, speed = (
            float(re.search(pattern, note)[1]) for pattern in (r"([\d.]+) TFLOP/s", r"([\d.]+) [TG]B/s")
        )
        dense = peak / 2 if "with sparsity" in note else peak
        assert gpu.peak == dense * 1e12
        assert gpu.bandwidth == speed * (1e12 if f"{speed:g} TB/s" in note else 1e9)
    assert "@misc{nvidia2024cuda," in BIBLIOGRAPHY


def test_times_are_called_a_bound_wherever_they_stand():
    html = Roofline().static_html()
    assert html.count("A bound, not a measurement") == 1
    assert "A bound, not a measurement" in MODULE


# -- words ---------------------------------------------------------------------------------------------------


def sent(schedules):
    return [c._asdict() for c in schedules.values()]


def test_python_and_javascript_say_the_same(javascript):
    cases = []
    for i, (n, d, rows, causal) in enumerate(short_inputs()):
        gpu = GPUS[i % len(GPUS)]
        cases.append((n, rows, gpu, counts(n, d, rows, causal), counts(2 * n, d, rows, causal)))
    plain = [(n, rows, gpu.sent, sent(here), sent(twice)) for n, rows, gpu, here, twice in cases]
    spoken = javascript(MODULE, "(all) => all.map((c) => describe(...c))", plain)
    assert spoken == [describe(*case) for case in cases]
    said = {line.split(" ")[-3] for lines in spoken for line in lines[3:4]}
    assert len(said) > 2  # more than one kind of ending was met


def test_numbers_are_written_alike(javascript):
    rng = np.random.default_rng(2)
    numbers = [
        *(10 ** rng.uniform(-2, 17, 300)),
        999.4,
        999.5,
        42.25,
        2.125,
        1e3,
        8388608,
        1,
        0.0625,
        1024512,
    ]
    written = javascript(MODULE, "(all) => all.map((x) => [si(x, 'B'), seconds(x / 1e9), kib(x)])", numbers)
    assert written == [[si(x, "B"), seconds(x / 1e9), kib(x)] for x in numbers]
    assert si(8388608, "B") == "8.39\u00a0MB"
    assert si(999.6, "B") == "1\u00a0kB"
    assert seconds(8.68e-6) == "8.68\u00a0µs"


def test_the_sentence_is_true():
    figure = Roofline(n=4096, d=128, rows=128, gpu="H100 SXM")
    at, twice = figure.counts, counts(8192, 128, 128, False)
    said = describe(4096, 128, H100, at, twice)
    assert said[0].startswith("At n = 4096 tiling moves 2 times fewer bytes than the standard schedule")
    assert said[1] == "The arithmetic is the same."
    assert said[3].endswith("so both wait for memory: 62.1 and 124.")
    assert len(said) == 4
    wide = describe(4096, 512, GPUS[0], counts(4096, 128, 512, False), counts(8192, 128, 512, False))
    assert "waits for memory, the tiled one, at 455, for arithmetic" in wide[3]
    assert wide[4] == "A tile of 512 by 64 needs 548\u00a0KiB of fast memory, more than a multiprocessor has."
    half = describe(2**16, 128, H100, counts(2**16, 128, 128, True), counts(2**17, 128, 128, True))
    assert half[1] == "Under the causal mask it computes 50\u00a0% of the pairs."


# -- the class -------------------------------------------------------------------------------------------


def test_every_control_changes_the_numbers():
    figure = Roofline()
    for control, name, value in [
        (figure.n, "value", 2**17), (figure.d, "value", 64), (figure.rows, "value", 256),
        (figure.causal, "index", 1), (figure.gpu, "value", "L4"),
    ]:  # fmt: skip
        before = figure.weights
        setattr(control, name, value)
        assert not np.array_equal(figure.weights, before), control.description
    assert figure.at == (2**17, 64, 256, True)


def test_a_length_between_the_stops_is_counted_exactly():
    figure = Roofline()
    figure.n.value = 3000.0
    assert figure.counts["tiled"].bytes == expected(3000, 128, 128, False)[1].bytes
    assert "At n = 3000 tiling" in figure.static_html()


def test_the_static_picture_is_of_the_present_state():
    figure = Roofline()
    before = figure.static_html()
    figure.rows.value = 512
    after = figure._repr_mimebundle_()["text/html"]
    assert figure.view.rows == 512
    assert "r = 512" in after
    assert "r = 512" not in before
    assert f"{figure.counts['tiled'].intensity:.0f} FLOP a byte" in after


def test_readers_bring_their_own_gpus():
    mine = GPU("mine", 10e12, 1e12, 48 * 1024)
    figure = Roofline(gpus=[mine, *GPUS])
    assert figure.gpu.value == "mine"
    assert figure.chosen.ridge == 10
    html = figure.static_html()
    assert "both wait for arithmetic" in html
    assert "mine, as given: 10 TFLOP/s" in html


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"n": 64}, ValueError, "`n` must be an integer from 128 to 1048576; got 64"),
        ({"d": 512}, ValueError, "`d` must be an integer from 16 to 256"),
        ({"rows": 8}, ValueError, "`rows` must be an integer from 16 to 1024"),
        ({"gpu": "H300"}, ValueError, "`gpu` must be one of 'A100 SXM 80 GB', .*; got 'H300'"),
        ({"gpus": []}, TypeError, "`gpus` must be `GPU` records, at least one"),
        ({"gpus": ["H100"]}, TypeError, "`gpus` must be `GPU` records"),
        ({"gpus": [GPU("x", 0, 1, 1)]}, ValueError, "`gpus` must have a positive peak"),
        ({"gpus": [H100, H100]}, ValueError, "`gpus` must have different names"),
    ],
)
def test_bad_input_is_refused_with_the_remedy(unchecked, arguments, error, message):
    with pytest.raises(error, match=message):
        Roofline(**arguments)


# -- in a browser ------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def origin(tmp_path_factory):
    folder = tmp_path_factory.mktemp("roofline")
    shutil.copy(ROOT / "book" / "static" / "widget-host.js", folder)
    (folder / "figures.css").write_text(stylesheet(), encoding="utf-8")
    for theme in ("light", "dark"):
        write(folder, f"{theme}.html", [Roofline()], theme=theme)
    own = Roofline(n=2**18, d=64, rows=512, causal=True, gpus=[GPU("mine", 10e12, 1e12, 48 * 1024)])
    write(folder, "own.html", [own])
    with serving(folder) as address:
        yield address


def sentence(page) -> str:
    return page.locator(".pa-live .pa-sentence").inner_text().replace("\n", " ")


def test_the_host_draws_what_flash_cost_counts(visit, origin):  # noqa: F811
    page, figure = visit(f"{origin}/light.html", live=1), Roofline()
    view, sliders = page.locator(".pa-live .pa-view"), page.locator(".pa-live input[type=range]").all()
    radios, select = page.locator(".pa-live input[type=radio]").all(), page.locator(".pa-live select")
    for n, d, rows, causal, gpu in [(7, 4, 4, 0, 0), (14, 6, 8, 1, 1), (17, 8, 10, 0, 2), (12, 7, 7, 1, 3)]:
        for slider, control, power in zip(
            sliders, (figure.n, figure.d, figure.rows), (n, d, rows), strict=True
        ):
            slide(slider, power)
            control.value = 2**power
        radios[causal].check()
        select.select_option(index=gpu)
        figure.causal.index, figure.gpu.index = causal, gpu
        drawn = json.loads(view.get_attribute("data-weights"))
        standard, tiled = expected(*figure.at)
        assert [line[:2] for line in drawn[:2]] == [[c.flops, c.bytes] for c in (standard, tiled)]
        np.testing.assert_allclose(drawn, figure.weights, rtol=1e-12)
        here, twice = figure.counts, counts(2 * figure.at[0], *figure.at[1:])
        found = json.loads(view.get_attribute("data-slopes"))
        assert found[1] == pytest.approx([slope(here[s], twice[s], "bytes") for s in here], abs=1e-12)
        assert sentence(page) == " ".join(describe(figure.at[0], figure.at[2], figure.chosen, here, twice))
        bounds = page.locator(".pa-live .pa-time-bound strong").all_inner_texts()
        times = [max(figure.chosen.times(c)) for c in here.values()]
        assert bounds == [seconds(t) for t in times]
    assert page.faults == []


PLACE = """(name) => {
    const dot = document.querySelector(`.pa-live .pa-rooftop .pa-dot-${name}`).getBoundingClientRect();
    const box = document.querySelector('.pa-live .pa-rooftop svg').getBoundingClientRect();
    return [(dot.x + dot.width / 2 - box.x) / box.width, (dot.y + dot.height / 2 - box.y) / box.height];
}"""


def test_schedules_stand_on_the_roof(visit, origin):  # noqa: F811
    page, figure = visit(f"{origin}/light.html", live=1), Roofline()
    for name, made in figure.counts.items():
        x, y = page.evaluate(PLACE, name)
        low, high = INTENSITY
        assert low * (high / low) ** x == pytest.approx(made.intensity, rel=0.05)
        low, high = RATE
        reached = min(figure.chosen.peak, figure.chosen.bandwidth * made.intensity)
        assert low * (high / low) ** (1 - y) == pytest.approx(reached, rel=0.05)


def test_all_controls_work_by_keyboard(visit, origin):  # noqa: F811
    page = visit(f"{origin}/light.html", live=1)
    view = page.locator(".pa-live .pa-view")
    page.locator(".pa-live input[type=range]").first.focus()
    page.keyboard.press("End")
    assert view.get_attribute("data-n") == str(2**20)
    for name, key, value in [
        ("d", "Home", "16"), ("rows", "ArrowRight", "256"), ("causal", "ArrowRight", "1"),
        ("gpu", "End", "L4"),
    ]:  # fmt: skip
        page.keyboard.press("Tab")
        page.keyboard.press(key)
        assert view.get_attribute(f"data-{name}") == value
    page.wait_for_timeout(300)
    assert page.locator(".pa-live .pa-spoken").inner_text().startswith("At n = 1048576 tiling moves")


@pytest.mark.parametrize("name", ["light", "dark", "own"])
@pytest.mark.parametrize("width", [1280, 700, 390, 320])
def test_it_fits_is_accessible_and_takes_its_static_pictures_place(visit, origin, node_modules, name, width):  # noqa: F811
    page = visit(f"{origin}/{name}.html", live=1, viewport={"width": width, "height": 800})
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    page.evaluate((Path(node_modules) / "axe-core" / "axe.min.js").read_text(encoding="utf-8"))
    assert (
        page.evaluate("axe.run('main').then((r) => r.violations.map((v) => [v.id, v.nodes[0].html]))") == []
    )
    parts = ".pa-tile, .pa-roof, .pa-roof-name, .pa-roof-key span, .pa-time, .pa-time-name, .pa-caption"
    words = f"(card) => [...card.querySelectorAll('{parts}')].map((e) => e.textContent)"
    live, still = (page.locator(f"{side} .pa-view").evaluate(words) for side in (".pa-live", ".pa-static"))
    assert live == still
    heights = page.evaluate("""[...document.querySelectorAll('figure')].map((f) => {
        const live = f.offsetHeight;
        f.removeAttribute('data-live');
        f.querySelector('.pa-live').style.display = 'none';
        return [live, f.offsetHeight];
    })""")
    assert all(abs(live - still) <= 1 for live, still in heights), heights
