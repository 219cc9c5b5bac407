import itertools
import json
import shutil
from pathlib import Path
from statistics import median

import numpy as np
import pytest

from attention_core import datasets
from attention_core.figures import base, stylesheet
from attention_core.figures.bottleneck_measured import RESULTS, BottleneckMeasured
from attention_core.figures.bottleneck_measured_static import describe, facts, place, said
from attention_core.figures.bottleneck_measured_static import path as static_path
from attention_core.figures.by_length import ByLength

from ..browser import serving
from .test_in_browser import ROOT, slide, visit, write  # noqa: F401

MODULE = base.module("bottleneck_measured")
BANDS = ((4, 7), (8, 11), (12, 15), (16, 19), (20, 24), (25, 29), (30, 40))
HOW = dict(processor="A Processor", torch="2.13.0", date="2026-11-26", commit="abc1234")


def results(seed=0, bands=BANDS, trained=20, widths=(64, 128, 256)) -> ByLength:
    """Three seeds of invented scores, which fall with length."""
    rng = np.random.default_rng(seed)
    falling = lambda: np.sort(rng.uniform(0, 100, (3, len(bands))))[:, ::-1].tolist()  # noqa: E731
    none = {w: falling()[: 3 if w > 64 else 1] for w in widths}  # a single seed of the narrowest
    return ByLength(bands, trained, falling(), none, HOW)


# -- the numbers ---------------------------------------------------------------------------------------------


def test_what_is_drawn_is_the_median_of_the_seeds():
    given = results()
    for width in given.none:
        figure = BottleneckMeasured(given, width=width)
        for row, seeds in zip(figure.weights, (given.attention, given.none[width]), strict=True):
            assert row.tolist() == [median(column) for column in zip(*seeds, strict=True)]


def test_what_is_drawn_is_what_was_committed():
    rows = json.loads(RESULTS.read_text(encoding="utf-8"))["rows"]
    figure = BottleneckMeasured()
    bands = [(b["from"], b["to"]) for b in rows[0]["by_length"]]
    assert {tuple(band) for band in figure.results.bands} <= set(bands)
    assert figure.results.bands[0][0] == 4
    assert figure.results.bands[-1][1] == 40
    for reader in figure.readers:
        kind, width = ("none", reader["width"]) if reader["width"] else ("additive", 128)
        own = [r for r in rows if r["kind"].split("-")[0] == kind and r["width"] == width]
        assert reader["seeds"] == len(own) > 0
        for band, drawn in zip(figure.results.bands, reader["bleu"], strict=True):
            assert drawn == median(r["by_length"][bands.index(tuple(band))]["bleu"] for r in own)


def test_the_longest_sentence_of_training_is_the_one_that_the_figure_marks():
    longest = max(len(pair.source) for pair in datasets.translation("validation"))
    assert BottleneckMeasured().results.trained == longest


def test_with_one_width_there_is_nothing_to_choose():
    figure = BottleneckMeasured(results(widths=(128,)))
    assert [link.source[0].description for link in figure.links] == ["Tokens in the sentence"]
    assert "Width of the one vector" not in figure.static_html()


def test_the_range_is_that_of_the_seeds():
    given = results()
    for reader, seeds in zip(given.readers, [given.attention, *given.none.values()], strict=True):
        np.testing.assert_array_equal(reader["low"], np.min(seeds, axis=0))
        np.testing.assert_array_equal(reader["high"], np.max(seeds, axis=0))


def saved(kinds, **changes):
    """A file as `benchmarks/translator.py` writes it, a pooled band behind the others."""
    score = lambda i, seed: 90.0 - 10 * i - seed  # noqa: E731
    rows = [
        {
            "kind": kind, "seed": seed, "width": width, "validation_loss": [2.0, 1.0 + seed],
            "by_length": [
                {"from": low, "to": high, "bleu": score(i, seed) if kind == "additive" else 1.0 + seed}
                for i, (low, high) in enumerate((*BANDS, (12, 19)))
            ],
        }
        for kind, width, seed in kinds
    ]  # fmt: skip
    return json.dumps({"how": HOW, "rows": rows, "summary": {}, "baselines": {}} | changes)


def test_a_file_is_read_by_kind_width_and_seed_without_its_pooled_bands(tmp_path):
    path = tmp_path / "translator.json"
    order = [
        ("none-256", 256, 0),
        ("additive", 128, 1),
        ("dot", 128, 0),
        ("none", 128, 0),
        ("additive", 128, 0),
    ]
    path.write_text(saved(order), encoding="utf-8")
    read = ByLength.load(path)
    assert tuple(read.bands) == BANDS
    assert read.attention == [[90.0 - 10 * i - seed for i in range(7)] for seed in (0, 1)]
    assert read.none == {128: [[1.0] * 7], 256: [[1.0] * 7]}
    assert read.validation == {128: [[2.0, 1.0]], 256: [[2.0, 1.0]]}
    assert "not a result" not in read.measured()
    path.write_text(saved(order, how=HOW | {"quick": True}), encoding="utf-8")
    assert "not a result" in ByLength.load(path).measured()


def test_a_file_without_one_of_the_two_is_refused(tmp_path):
    path = tmp_path / "translator.json"
    path.write_text(saved([("additive", 128, 0)]), encoding="utf-8")
    with pytest.raises(ValueError, match="must hold rows of kind additive and none"):
        BottleneckMeasured(path)


def test_every_length_lies_in_its_band():
    for length in range(4, 41):
        low, high = BANDS[place(BANDS, length)]
        assert low <= length <= high


def test_a_curve_passes_through_the_middle_of_every_band(javascript):
    ys = np.linspace(95, 5, len(BANDS)).tolist()
    drawn = javascript(MODULE, "path", BANDS, ys)
    points = [tuple(map(float, point.split())) for point in drawn[1:].split("L")]
    for (low, high), y, (across, down) in zip(BANDS, ys, points, strict=True):
        assert across == pytest.approx(100 * ((low + high) / 2 - 3.5) / 37, abs=0.01)
        assert down == pytest.approx(100 - y, abs=0.01)
    assert drawn == static_path(BANDS, ys)


# -- words ---------------------------------------------------------------------------------------------------


def cases():
    short = dict(bands=((3, 6), (7, 12)), trained=12, widths=(32,))
    for seed in range(6):
        for given in (results(seed), results(seed, **short)):
            for chosen, at in itertools.product(range(len(given.none)), range(len(given.bands))):
                yield given.bands, given.trained, given.readers, chosen, at


def test_python_and_javascript_say_the_same(javascript):
    many = list(cases())
    spoken = javascript(MODULE, "(all) => all.map((c) => [describe(...c), facts(...c.slice(2))])", many)
    assert len(many) > 100
    assert spoken == [[describe(*case), facts(*case[2:])] for case in many]


def test_the_sentence_names_both_scores_and_says_where_training_ended():
    figure = BottleneckMeasured(results(), width=128, length=21)
    text = " ".join(describe(BANDS, 20, figure.readers, 1, 4))
    attention, vector = figure.weights[:, 4]
    assert f"At 20 to 24 tokens attention scores {attention:.1f} BLEU" in text
    assert f"one vector of width 128 scores {vector:.1f}." in text
    assert "No sentence in training had more than 20 tokens; from the shortest" in text
    assert "in training" not in " ".join(describe(BANDS, 20, figure.readers, 1, 3))
    assert f"Width 64 scores {figure.readers[1]['bleu'][4]:.1f}; width 256 scores" in text


def test_a_single_seed_has_no_range():
    assert facts(results().readers, 0, 2)[3] == "one only"
    assert " to " in facts(results().readers, 1, 2)[3]


# -- the class -----------------------------------------------------------------------------------------------


def test_the_shaded_zone_begins_after_the_longest_sentence_of_training():
    for trained in (20, 7, 39):  # 37 lengths from 4 to 40
        html = BottleneckMeasured(results(trained=trained)).static_html()
        assert f'class="pa-mb-zone" style="left: {100 * (trained - 3) / 37:.4f}%"' in html
    assert "pa-mb-zone" not in BottleneckMeasured(results(bands=BANDS[:4])).static_html()


def test_the_source_of_the_numbers_stands_in_the_picture():
    html = BottleneckMeasured(results()).static_html()
    for part in ("3 with attention, without it 1 at width 64, 3 at width 128", *HOW.values()):
        assert part in html


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"width": 100}, "`width` must be one of 64, 128, 256; got 100"),
        ({"length": 3}, "`length` must be an integer from 4 to 40; got 3"),
        ({"length": 99}, "`length` must be an integer from 4 to 40"),
    ],
)
def test_bad_input_is_refused_with_the_remedy(unchecked, arguments, message):
    with pytest.raises(ValueError, match=message):
        BottleneckMeasured(results(), **arguments)


# -- in a browser --------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def origin(tmp_path_factory):
    folder = tmp_path_factory.mktemp("measured")
    shutil.copy(ROOT / "book" / "static" / "widget-host.js", folder)
    (folder / "figures.css").write_text(stylesheet(), encoding="utf-8")
    for theme in ("light", "dark"):
        write(folder, f"{theme}.html", [BottleneckMeasured(results())], theme=theme)
    one = results(bands=((3, 6), (7, 12)), trained=12, widths=(32,))
    write(folder, "one.html", [BottleneckMeasured(one, length=9)])
    with serving(folder) as address:
        yield address


def test_the_host_draws_the_chosen_curves(visit, origin):  # noqa: F811
    page, figure = visit(f"{origin}/light.html", live=1), BottleneckMeasured(results())
    view, radios = page.locator(".pa-live .pa-view"), page.locator(".pa-live input[type=radio]").all()
    for index, length in itertools.product(range(3), (4, 11, 12, 19, 20, 40)):
        radios[index].check()
        slide(page.locator(".pa-live input[type=range]"), length)
        figure.width.index, figure.length.value = index, length
        drawn = json.loads(view.get_attribute("data-weights"))
        assert drawn == figure.weights.tolist()
        assert view.get_attribute("data-band") == said(BANDS[figure.band])
        heights = page.locator(".pa-live .pa-mb-dot").evaluate_all("all => all.map((e) => e.style.bottom)")
        at = figure.weights[:, figure.band]
        np.testing.assert_allclose([float(x.strip("%")) for x in heights], at, atol=1e-3)
        text = describe(BANDS, 20, figure.readers, index, figure.band)
        assert page.locator(".pa-live .pa-sentence").inner_text() == " ".join(text)
    assert page.faults == []


def test_both_controls_work_by_keyboard(visit, origin):  # noqa: F811
    page = visit(f"{origin}/light.html", live=1)
    view = page.locator(".pa-live .pa-view")
    page.locator(".pa-live input[type=radio]:checked").focus()
    page.keyboard.press("ArrowRight")
    assert view.get_attribute("data-width") == "256"
    page.keyboard.press("Tab")
    page.keyboard.press("End")
    assert view.get_attribute("data-band") == "30–40"
    page.wait_for_timeout(300)
    assert page.locator(".pa-live .pa-spoken").inner_text().startswith("At 30 to 40 tokens attention scores")


@pytest.mark.parametrize("name", ["light", "dark", "one"])
@pytest.mark.parametrize("width", [1280, 390, 320])
def test_it_fits_is_accessible_and_takes_its_static_pictures_place(visit, origin, node_modules, name, width):  # noqa: F811
    page = visit(f"{origin}/{name}.html", live=1, viewport={"width": width, "height": 800})
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    page.evaluate((Path(node_modules) / "axe-core" / "axe.min.js").read_text(encoding="utf-8"))
    assert (
        page.evaluate("axe.run('main').then((r) => r.violations.map((v) => [v.id, v.nodes[0].html]))") == []
    )
    parts = ".pa-tile, .pa-mb-zone, .pa-mb-x, .pa-mb-y, .pa-mb-key, .pa-caption, .pa-mb-box"
    words = f"""(card) => [...card.querySelectorAll('{parts}')].map((e) => [e.textContent, e.ariaLabel])"""
    live, still = (page.locator(f"{side} .pa-view").evaluate(words) for side in (".pa-live", ".pa-static"))
    assert live == still
    heights = page.evaluate("""[...document.querySelectorAll('figure')].map((f) => {
        const live = f.offsetHeight;
        f.removeAttribute('data-live');
        f.querySelector('.pa-live').style.display = 'none';
        return [live, f.offsetHeight];
    })""")
    assert all(abs(live - still) <= 1 for live, still in heights), heights
