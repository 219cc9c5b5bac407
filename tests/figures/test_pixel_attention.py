import re
import shutil

import numpy as np
import pytest
import torch

from attention_core import attend
from attention_core.figures import PixelAttention, base, pixel_attention, stylesheet
from attention_core.figures import pixel_attention_static as drawing

from ..browser import eventually, serving
from .test_in_browser import ROOT, drawn, slide, visit, write  # noqa: F401

MODULE = base.module("pixel_attention")
KINDS = (0, 1)


def kernel(query, key):
    """Score of kernel regression, opened into products: not the figure's own."""
    lengths = query.square().sum(-1, keepdim=True) + key.square().sum(-1)
    return query @ key.mT - lengths / 2


def expected(noisy, pixel, kind, width, reach):
    """`attend` over features that are put together pixel by pixel."""
    (rows, columns), margin = noisy.shape, 3
    bell = np.exp(-((np.arange(7) - margin) ** 2) / (2 * 1.5**2))
    importance = np.outer(bell, bell) / bell.sum() ** 2
    padded = np.pad(noisy, margin, mode="reflect")
    features = []
    for r, c in np.ndindex(rows, columns):
        around = padded[r : r + 7, c : c + 7]
        far = np.sqrt(2 * importance) * around / width
        features.append(far.ravel() if kind else [r / reach, c / reach, noisy[r, c] / width])
    features = torch.tensor(np.array(features))
    value = torch.from_numpy(noisy.reshape(-1, 1).copy())
    asked = features[pixel[0] * columns + pixel[1]][None]
    found = attend(asked, features, value, score=kernel)
    return found.weights.reshape(rows, columns).numpy(), found.output.item()


def random_cases(count=120):
    rng = np.random.default_rng(5)
    for i in range(count):
        rows, columns = rng.integers(8, 15, 2)
        noisy = rng.random((rows, columns)) + 0.1 * rng.normal(size=(rows, columns))
        pixel = int(rng.integers(rows)), int(rng.integers(columns))
        yield noisy, pixel, i % 2, float(2 ** rng.uniform(-5, -1)), float(rng.uniform(0.5, 9))


def setting(noisy, kind, width, reach):
    rows, columns = noisy.shape
    return {"rows": rows, "columns": columns, "filter": kind, "width": width, "reach": reach}


# -- numbers and words -------------------------------------------------------------------------------------


def test_the_javascript_weighs_as_attention_core_does(javascript):
    for noisy, pixel, kind, width, reach in random_cases():
        weights, mean = expected(noisy, pixel, kind, width, reach)
        found = javascript(MODULE, "weigh", noisy.ravel().tolist(), setting(noisy, kind, width, reach), pixel)
        np.testing.assert_allclose(np.reshape(found, noisy.shape), weights, rtol=0, atol=1e-12)
        ours = pixel_attention.weigh(noisy, pixel, kind, width, reach)
        np.testing.assert_allclose(ours, weights, rtol=0, atol=1e-12)
        assert drawing.measure(ours, noisy, noisy, pixel).mean == pytest.approx(mean, abs=1e-12)


def test_python_and_javascript_measure_and_say_the_same(javascript):
    rng = np.random.default_rng(6)
    said = set()
    for noisy, pixel, kind, width, reach in random_cases():
        truth = rng.choice([0.25, 0.5, 0.75], size=noisy.shape)
        weights = pixel_attention.weigh(noisy, pixel, kind, width, reach)
        facts = drawing.measure(weights, noisy, truth, pixel)
        flat = [array.ravel().tolist() for array in (weights, noisy, truth)]
        at = pixel[0] * noisy.shape[1] + pixel[1]
        there = javascript(MODULE, "measure", *flat, at)
        assert list(there) == list(facts._fields)
        assert list(there.values()) == pytest.approx(list(facts), abs=1e-12)
        assert javascript(MODULE, "listed", facts._asdict()) == [list(line) for line in drawing.listed(facts)]
        for share in (facts.own, 0.97):
            told = facts._replace(own=share)
            words = drawing.describe(told, kind, width, pixel)
            assert javascript(MODULE, "describe", told._asdict(), kind, width, pixel) == words
            said.add(re.sub(r"[\d.]+", "#", words[-1]))
    assert len(said) == 7  # every remark was made
    for kind in KINDS:
        assert javascript(MODULE, "note", kind, 4.0) == drawing.note(kind, 4.0)


def test_python_and_javascript_draw_the_same_map(javascript):
    figure = PixelAttention(filter="non-local means")
    weights, columns = figure.weights, figure.picture.shape[1]
    static = re.findall(r'<path d="([^"]*)" style', drawing.map_of(weights, figure.picture, figure.pixel))
    live = javascript(MODULE, "shades", weights.ravel().tolist(), columns)[1:]
    assert static == [path for path in live if path]
    at = figure.pixel[0] * columns + figure.pixel[1]
    edge = javascript(MODULE, "edges", figure.picture.ravel().tolist(), setting(weights, 1, 0.1, 4.0), at)
    assert edge == drawing.edges(drawing.alike(figure.picture, figure.pixel))
    assert edge


def test_noise_in_one_pixel_fools_one_brightness_and_not_a_patch():
    figure = PixelAttention()
    assert abs(figure.facts.noisy - 0.5) < 0.02  # half way between dark and light
    assert 0.4 < figure.facts.own < 0.6
    figure.filter.value = "non-local means"
    assert figure.facts.own > 0.97
    assert abs(figure.facts.mean - figure.facts.truth) < 0.05
    figure.filter.value, figure.noise.value = "bilateral", 0.0
    assert figure.facts.own > 0.99  # without noise its brightness is enough


def test_the_most_narrow_width_leaves_a_patch_alone_with_itself():
    figure = PixelAttention(filter="non-local means", width=2**-5)
    assert figure.facts.itself > 0.99
    assert figure.facts.half == 1
    assert "on a single pixel" in figure.static_html()


def test_half_of_the_weight_is_counted_from_the_strongest():
    weights = np.array([[0.1, 0.3], [0.2, 0.4]])
    assert drawing.measure(weights, weights, weights, (0, 0)).half == 2
    assert drawing.measure(np.full((2, 2), 0.25), weights, weights, (0, 0)).half == 2  # exactly a half


def test_the_map_bounds_its_own_shade():
    inside = np.array([[True, False], [True, True]])
    assert sorted(re.findall(r"M\d+ \d+[hv]1", drawing.edges(inside))) == ["M1 0v1", "M1 1h1"]


def test_every_control_and_the_pixel_change_the_weights_and_send_them_exactly():
    figure = PixelAttention()
    for change in (
        lambda: setattr(figure.filter, "value", "non-local means"),
        lambda: setattr(figure.width, "value", 0.25),
        lambda: setattr(figure.noise, "value", 0.16),
        lambda: setattr(figure, "pixel", (3, 5)),
        lambda: setattr(figure.view, "pixel", [30, 1]),  # as the view does
    ):
        before = figure.weights
        change()
        assert not np.allclose(before, figure.weights)
        sent = figure.view.exact
        np.testing.assert_array_equal(np.frombuffer(sent["weights"], "<f8"), figure.weights.ravel())
        assert sent["state"][3:] == list(figure.pixel)
    assert figure.pixel == (30, 1)
    noisy = figure.picture + 0.16 * figure.pattern
    np.testing.assert_array_equal(figure.noisy, noisy)
    weights, mean = expected(noisy, (30, 1), 1, 0.25, 4.0)
    np.testing.assert_allclose(figure.weights, weights, atol=1e-12)
    assert figure.facts.mean == pytest.approx(mean, abs=1e-12)


def test_readers_bring_their_own_picture():
    picture = np.random.default_rng(0).random((9, 13))
    figure = PixelAttention(torch.from_numpy(picture), pixel=(8, 12), filter="non-local means")
    assert figure.weights.shape == (9, 13)
    np.testing.assert_allclose(figure.picture, picture, atol=1e-7)
    sent = figure.view.picture
    np.testing.assert_array_equal(np.frombuffer(sent, "<f4"), figure.picture.ravel().astype(np.float32))
    for side in (8, 48):
        row, column = PixelAttention(np.zeros((side, side))).pixel
        assert 3 <= row < side - 3
        assert 3 <= column < side - 3


def test_it_stays_inside_a_figures_budget():
    figure = PixelAttention(np.random.default_rng(0).random((48, 48)))
    sent = figure.view.picture + figure.view.pattern + figure.view.exact["weights"]
    assert len(sent) <= base.MOST_BYTES


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"picture": np.zeros((7, 9))}, r"`picture` must have 8 to 48 rows and columns; got shape \(7, 9\)"),
        ({"picture": np.zeros((9, 49))}, r"8 to 48 rows and columns; got shape \(9, 49\)"),
        ({"picture": np.zeros((3, 9, 9))}, "`picture` must have 2 dimension"),
        ({"picture": np.full((9, 9), 255)}, "between 0 and 1; got 255 to 255. Divide bytes by 255"),
        ({"filter": "median"}, "`filter` must be one of 'bilateral', 'non-local means'; got 'median'"),
        ({"width": 0.01}, "`width` must lie between 0.03125 and 0.5; got 0.01"),
        ({"noise": 0.3}, "`noise` must lie between 0 and 0.2; got 0.3"),
        ({"reach": 0.0}, "`reach` must lie between 0.5 and 100"),
        ({"pixel": (32, 0)}, r"inside the picture of shape \(32, 32\), counted from 0; got \(32, 0\)"),
        ({"pixel": (-1, 0)}, "`pixel` must be a row and a column"),
        ({"pixel": (1,)}, "`pixel` must be a row and a column"),
    ],
)
def test_bad_input_is_refused_with_the_remedy(unchecked, arguments, message):
    with pytest.raises(ValueError, match=message):
        PixelAttention(**arguments)


# -- in a browser ------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def origin(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pixel-attention")
    shutil.copy(ROOT / "book" / "static" / "widget-host.js", folder)
    (folder / "figures.css").write_text(stylesheet(), encoding="utf-8")
    for theme in ("light", "dark"):
        write(folder, f"{theme}.html", [PixelAttention()], theme=theme)
    own = np.random.default_rng(2).random((10, 24))
    write(folder, "own.html", [PixelAttention(own, filter="non-local means", pixel=(0, 23), reach=2.0)])
    with serving(folder) as address:
        yield address


def sentence(page) -> str:
    return page.locator(".pa-live .pa-sentence").inner_text().replace("\n", " ")


def at(page) -> tuple[int, int]:
    view = page.locator(".pa-live .pa-view")
    return int(view.get_attribute("data-row")), int(view.get_attribute("data-column"))


def shows(page, figure, tolerance=1e-12) -> None:
    """Map, tiles and words are those of the figure."""
    seen = drawn(page, "pixel-attention").reshape(figure.picture.shape)
    np.testing.assert_allclose(seen, figure.weights, rtol=0, atol=tolerance)
    assert at(page) == figure.pixel
    facts = figure.facts
    told = page.locator(".pa-live .pa-view").evaluate("view => ({...view.dataset})")
    assert [float(told[name]) for name in facts._fields] == pytest.approx(list(facts), abs=1e-9)
    values = page.locator(".pa-live .pa-tile strong").all_inner_texts()
    assert values == [text for _, text, _ in drawing.listed(facts)]
    kind, width = figure.filter.index, figure.width.value
    assert sentence(page) == " ".join(drawing.describe(facts, kind, width, figure.pixel))


def test_the_host_draws_what_attention_core_computes(visit, origin):  # noqa: F811
    page, figure = visit(f"{origin}/light.html", live=1), PixelAttention()
    shows(page, figure, tolerance=0)  # the first state is Python's own
    width, noise = page.locator(".pa-live input[type=range]").all()
    for kind, exponent, loud in [(1, -3, 0.1), (1, -4.5, 0.1), (0, -2, 0.2), (0, -5, 0), (1, -1, 0.06)]:
        page.locator(".pa-live input[type=radio]").nth(kind).check()
        slide(width, exponent)
        slide(noise, loud)
        figure.filter.index, figure.width.value, figure.noise.value = kind, 2.0**exponent, loud
        shows(page, figure)
        note = page.locator(".pa-live .pa-pxnote").first.inner_text()
        assert note == drawing.note(kind, 4.0)
    assert page.faults == []


def test_a_picture_of_the_readers_is_drawn(visit, origin):  # noqa: F811
    page = visit(f"{origin}/own.html", live=1)
    own = np.random.default_rng(2).random((10, 24))
    figure = PixelAttention(own, filter="non-local means", pixel=(0, 23), reach=2.0)
    shows(page, figure, tolerance=0)
    page.locator(".pa-live input[type=radio]").first.check()
    figure.filter.index = 0
    shows(page, figure)
    page.locator(".pa-live .pa-pxpick").focus()
    for key in ("PageDown", "Home"):
        page.keyboard.press(key)
    figure.pixel = (9, 0)
    shows(page, figure)
    assert page.faults == []


def test_the_canvas_shows_the_noisy_greys(visit, origin):  # noqa: F811
    page, figure = visit(f"{origin}/light.html", live=1), PixelAttention()
    read = """() => {
        const canvas = document.querySelector('.pa-live canvas');
        return [...canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data];
    }"""
    noise = page.locator(".pa-live input[type=range]").nth(1)
    for loud in (0.1, 0.2, 0):
        slide(noise, loud)
        figure.noise.value = loud
        pixels = np.reshape(page.evaluate(read), (32, 32, 4))
        grey = np.rint(255 * np.clip(figure.noisy, 0, 1))
        assert np.abs(pixels[..., :3] - grey[..., None]).max() <= 1
        assert pixels[..., 3].min() == 255


def test_zero_fades_into_the_surface_in_both_themes(visit, origin):  # noqa: F811
    """The colours are CSS variables, so the map follows the theme without being drawn again."""
    page = visit(f"{origin}/light.html", live=1)
    colours = """() => {
        const map = document.querySelector('.pa-live .pa-pxmap');
        const drawn = [...map.querySelectorAll('path[style]')].filter((path) => path.getAttribute('d'));
        return [map, drawn.at(-1)].map((part, i) => getComputedStyle(part)[['backgroundColor', 'fill'][i]]);
    }"""
    most = set()
    for theme, zero in (("light", "rgb(247, 245, 236)"), ("dark", "rgb(33, 37, 47)")):
        page.evaluate(f"document.documentElement.dataset.theme = '{theme}'")
        background, fill = page.evaluate(colours)
        assert background == zero
        most.add(fill)
    assert len(most) == 2


def test_arrows_move_the_pixel_with_one_tab_stop(visit, origin):  # noqa: F811
    page, figure = visit(f"{origin}/light.html", live=1), PixelAttention()
    home = figure.pixel
    assert page.locator('.pa-live .pa-view [tabindex="0"]').count() == 1
    page.locator(".pa-live .pa-pxpick").focus()
    assert at(page) == home  # focus alone moves nothing
    for key, place in [
        ("ArrowUp", (home[0] - 1, home[1])), ("ArrowLeft", (home[0] - 1, home[1] - 1)),
        ("Home", (home[0] - 1, 0)), ("ArrowLeft", (home[0] - 1, 0)), ("PageUp", (0, 0)), ("ArrowUp", (0, 0)),
        ("End", (0, 31)), ("ArrowRight", (0, 31)), ("PageDown", (31, 31)), ("ArrowDown", (31, 31)),
    ]:  # fmt: skip
        page.keyboard.press(key)
        figure.pixel = place
        shows(page, figure)
    spoken = page.locator(".pa-live .pa-spoken")
    last = "Row 31, column 31 puts"
    assert eventually(page, spoken.inner_text, lambda text: text.startswith(last)).startswith(last)
    page.keyboard.press("Escape")
    assert at(page) == home


def test_the_pointer_previews_a_pixel_and_a_click_keeps_it(visit, origin):  # noqa: F811
    page = visit(f"{origin}/light.html", live=1, viewport={"width": 1280, "height": 1200})
    figure, box = PixelAttention(), page.locator(".pa-live .pa-pxpick").bounding_box()
    home = figure.pixel

    def centre(row, column):
        return box["x"] + (column + 0.5) * box["width"] / 32, box["y"] + (row + 0.5) * box["height"] / 32

    page.mouse.move(*centre(3, 9))
    assert at(page) == (3, 9)
    page.mouse.move(5, 5)
    assert at(page) == home
    page.mouse.click(*centre(20, 4))
    page.mouse.move(5, 5)
    figure.pixel = (20, 4)
    shows(page, figure)
    for mark in page.locator(".pa-live .pa-pxmark").all():
        board, frame = mark.locator("..").bounding_box(), mark.bounding_box()
        assert frame["x"] - board["x"] == pytest.approx(4 * board["width"] / 32, abs=0.5)
        assert frame["y"] - board["y"] == pytest.approx(20 * board["height"] / 32, abs=0.5)
    page.keyboard.press("Escape")
    assert at(page) == home
    assert page.faults == []


def test_a_finger_chooses_a_pixel(visit, origin):  # noqa: F811
    phone = {"viewport": {"width": 390, "height": 1800}, "has_touch": True, "is_mobile": True}
    page = visit(f"{origin}/light.html", live=1, **phone)
    box = page.locator(".pa-live .pa-pxpick").bounding_box()
    page.touchscreen.tap(box["x"] + 2.5 * box["width"] / 32, box["y"] + 10.5 * box["height"] / 32)
    assert eventually(page, lambda: at(page), lambda place: place == (10, 2)) == (10, 2)


def test_without_scripts_and_in_print_the_static_picture_stands(visit, origin):  # noqa: F811
    page = visit(f"{origin}/dark.html", live=0, java_script_enabled=False)
    assert page.locator(".pa-static .pa-pxmap path").count() > 20
    assert page.locator(".pa-static .pa-sentence").is_visible()
    page = visit(f"{origin}/dark.html", live=1)
    page.emulate_media(media="print")
    assert page.locator(".pa-static .pa-pxboard svg").first.is_visible()
    assert not page.locator(".pa-live").is_visible()


@pytest.mark.parametrize("name", ["light", "dark", "own"])
@pytest.mark.parametrize("width", [1280, 700, 390, 320])
def test_it_fits_is_accessible_and_takes_its_static_pictures_place(visit, origin, node_modules, name, width):  # noqa: F811
    page = visit(f"{origin}/{name}.html", live=1, viewport={"width": width, "height": 800})
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    page.evaluate((node_modules / "axe-core" / "axe.min.js").read_text(encoding="utf-8"))
    assert (
        page.evaluate("axe.run('main').then((r) => r.violations.map((v) => [v.id, v.nodes[0].html]))") == []
    )
    words = (
        "(card) => [...card.querySelectorAll('.pa-tile, .pa-caption, .pa-legend')].map((e) => e.textContent)"
    )
    live, still = (page.locator(f"{side} .pa-view").evaluate(words) for side in (".pa-live", ".pa-static"))
    assert live == still
    heights = page.evaluate("""[...document.querySelectorAll('figure')].map((f) => {
        const live = f.offsetHeight;
        f.removeAttribute('data-live');
        f.querySelector('.pa-live').style.display = 'none';
        return [live, f.offsetHeight];
    })""")
    assert all(abs(live - still) <= 1 for live, still in heights), heights
