"""The figures on the built pages: what they draw is what `attention_core` computes, by key and by mouse.

Throughout, what is compared is what a view says it has drawn, never what its control shows.
"""

import functools
import json
import math
import time

import numpy as np
import pytest
import torch

from attention_core import normalizers
from attention_core.datasets import worked_alignments

from ..browser import Handler, eventually, painted, serving

CHAPTER = "chapters/2-alignment/alignment-matrix.html"
SINGLE = 1e-6  # frames travel as float32


def figure(page, name: str):
    return page.locator(f"main figure[data-figure={name}]").first


def drawn(fig) -> dict[str, str]:
    """Everything the view says of its picture."""
    return fig.locator(".pa-live .pa-view").evaluate("view => ({...view.dataset})")


def weights(fig) -> np.ndarray:
    return np.array(json.loads(drawn(fig)["weights"]))


def softmax(scores, temperature: float) -> np.ndarray:
    scores = torch.as_tensor(np.asarray(scores, dtype=np.float64))
    return normalizers.softmax(scores, temperature=temperature).numpy()


def controls(fig):
    """Every range, radio, select, checkbox and transport button in the figure."""
    return fig.locator(".pa-live :is(input, select, .pa-transport button)").all()


def test_every_figure_is_live_on_every_page(pages, open_page):
    counted = 0
    for path in pages:
        page = open_page(path)
        for fig in page.locator("figure[data-figure]").all():
            assert fig.get_attribute("data-live") is not None, path
            assert fig.locator(".pa-live .pa-view").is_visible(), path
            assert not fig.locator(".pa-static").is_visible(), path
            counted += 1
    assert counted >= 3


ROOM = """host => {
    const [live, still] = [host.querySelector(".pa-live"), host.querySelector(".pa-static")];
    still.style.display = "block";
    return [live, still].map(part => part.firstElementChild.getBoundingClientRect().height);
}"""


@pytest.mark.parametrize("width", [390, 1280])
def test_a_live_figure_takes_the_room_of_its_static_picture(pages, open_page, width):
    counted = 0
    for path in pages:
        page = open_page(path, viewport={"width": width, "height": 900})
        for fig in page.locator("figure[data-figure]").all():
            live, still = fig.evaluate(ROOM)
            assert live == pytest.approx(still, abs=1), f"{path}: {fig.get_attribute('data-figure')}"
            counted += 1
    assert counted >= 8


KEYS = {
    "range": ["ArrowLeft", "ArrowRight", "Home", "End"],
    "radio": ["Space", "ArrowRight"],
    "button": ["Enter"],
}
REMEMBER = """view => {
    const look = () => (view.pictures ??= new Set()).add(JSON.stringify({...view.dataset}));
    look();
    new MutationObserver(look).observe(view, {attributes: true});
}"""


@pytest.mark.parametrize("name", ["alignment-explorer", "soft-to-hard"])
def test_no_control_is_inert_to_the_keyboard(open_page, name):
    moved = 0
    for index in range(len(controls(figure(open_page(CHAPTER), name)))):
        page = open_page(CHAPTER)  # a fresh one for each, so that what still plays moves nothing for another
        fig = figure(page, name)
        control, view = controls(fig)[index], fig.locator(".pa-live .pa-view")
        if control.get_attribute("aria-disabled") == "true":  # at the last step there is no next one
            fig.locator(".pa-live").get_by_role("button", name="Previous").click()
        view.evaluate(REMEMBER)
        control.focus()
        for key in KEYS[control.get_attribute("type")]:
            page.keyboard.press(key)
        count = functools.partial(view.evaluate, "view => view.pictures.size")
        pictures = eventually(page, count, lambda seen: seen > 1)
        label = control.get_attribute("aria-label") or control.get_attribute("aria-valuetext")
        assert pictures > 1, f"{name}: {label} is inert"
        moved += 1
    assert moved >= 3


@pytest.mark.parametrize("name", ["alignment-explorer", "soft-to-hard"])
def test_every_slider_follows_the_mouse(open_page, name):
    page = open_page(CHAPTER)
    fig = figure(page, name)
    sliders = fig.locator(".pa-live input[type=range]").all()
    for slider in sliders:
        slider.scroll_into_view_if_needed()
        box = slider.bounding_box()
        pictures = []
        for part in (0.1, 0.9):
            page.mouse.click(box["x"] + part * box["width"], box["y"] + box["height"] / 2)
            painted(page)
            pictures.append(drawn(fig))
        assert pictures[0] != pictures[1], slider.get_attribute("aria-valuetext")
    assert len(sliders) >= 2


@pytest.mark.parametrize("sentence", list(worked_alignments()))
def test_the_explorer_draws_the_softmax_at_every_temperature(open_page, sentence):
    page = open_page(CHAPTER)
    fig = figure(page, "alignment-explorer")
    fig.locator(".pa-live label", has_text=sentence).click()
    slider = fig.locator(".pa-settings input[type=range]")
    scores = worked_alignments()[sentence].scores
    slider.focus()
    page.keyboard.press("Home")
    low, high, step = (float(slider.get_attribute(name)) for name in ("min", "max", "step"))
    for position in range(round((high - low) / step) + 1):
        picture = drawn(fig)
        assert picture["example"] == sentence
        assert float(picture["temperature"]) == pytest.approx(2 ** (low + position * step), rel=1e-6)
        expected = softmax(scores, float(picture["temperature"]))
        np.testing.assert_allclose(json.loads(picture["weights"]), expected, rtol=0, atol=SINGLE)
        page.keyboard.press("ArrowRight")


def test_the_classic_matrix_reads_je_from_i_t_from_you_aime_from_love(open_page):
    page = open_page(CHAPTER)
    matrix = weights(figure(page, "alignment-explorer"))
    assert matrix.argmax(axis=1).tolist() == [0, 2, 1]
    np.testing.assert_allclose(matrix.sum(axis=1), 1, rtol=0, atol=SINGLE)


def test_a_step_back_hides_the_last_word(open_page):
    page = open_page(CHAPTER)
    fig = figure(page, "alignment-explorer")
    assert drawn(fig)["step"] == "3"
    fig.locator(".pa-live").get_by_role("button", name="Previous").click()
    assert drawn(fig)["step"] == "2"
    assert "Step 2" in fig.locator(".pa-live .pa-sentence").inner_text()
    assert "0.95" not in fig.locator(".pa-live table").inner_text()


def test_soft_to_hard_draws_the_softmax_of_its_logits(open_page):
    page = open_page(CHAPTER)
    fig = figure(page, "soft-to-hard")
    rng = np.random.default_rng(0)
    sliders = fig.locator(".pa-live input[type=range]").all()
    assert len(sliders) == 7
    for _ in range(25):
        slider = sliders[rng.integers(len(sliders))]
        low, high = float(slider.get_attribute("min")), float(slider.get_attribute("max"))
        slider.evaluate(
            "(s, v) => { s.value = v; s.dispatchEvent(new Event('input', {bubbles: true})); }",
            rng.uniform(low, high),
        )
        painted(page)
        picture = drawn(fig)
        expected = softmax(json.loads(picture["logits"]), float(picture["temperature"]))
        np.testing.assert_allclose(json.loads(picture["weights"]), expected, rtol=0, atol=1e-12)
        entropy = -sum(w * math.log2(w) for w in expected if w > 0)
        assert float(picture["entropy"]) == pytest.approx(entropy, abs=1e-9)


def test_cold_is_one_hot_and_hot_is_nearly_uniform(open_page):
    page = open_page(CHAPTER)
    fig = figure(page, "soft-to-hard")
    fig.locator(".pa-live input[type=range]").first.focus()
    page.keyboard.press("Home")
    assert weights(fig).max() > 1 - 1e-6
    page.keyboard.press("End")
    assert np.ptp(weights(fig)) < 0.1


def test_without_scripts_the_static_picture_and_its_sentence_stand(open_page):
    page = open_page(CHAPTER, java_script_enabled=False)
    for name, words in (("alignment-explorer", "Step 3"), ("soft-to-hard", "temperature 1")):
        static = figure(page, name).locator(".pa-static")
        assert static.is_visible()
        assert words in static.inner_text()
    assert "0.94" in figure(page, "alignment-explorer").locator(".pa-static").inner_text()


def test_in_print_the_static_picture_stands(open_page):
    page = open_page(CHAPTER)
    page.emulate_media(media="print")
    for name in ("alignment-explorer", "soft-to-hard"):
        assert figure(page, name).locator(".pa-static").is_visible()
        assert not figure(page, name).locator(".pa-live").is_visible()


def test_figures_work_below_a_sub_path(open_page, origin):
    page = open_page(CHAPTER, base=f"{origin}/a/sub/path")  # what is asked for outside it is a fault
    assert weights(figure(page, "alignment-explorer")).shape == (3, 3)


def test_figures_work_from_a_disk(site, open_page):
    page = open_page(CHAPTER, base=f"file://{site}")
    fig = figure(page, "alignment-explorer")
    fig.locator(".pa-live").get_by_role("button", name="Previous").click()
    assert drawn(fig)["step"] == "2"


SHIFT = """window.shift = 0;
    const add = entry => { if (!entry.hadRecentInput) window.shift += entry.value; };
    new PerformanceObserver(list => list.getEntries().forEach(add))
        .observe({type: 'layout-shift', buffered: true});
"""


class Halting(Handler):
    """The text of a page, then nothing for a while, then the contents that stand beside it."""

    def copyfile(self, source, outputfile) -> None:
        text, beside, rest = source.read().partition(b'<div class="bd-sidebar-secondary')
        outputfile.write(text)
        if beside:
            outputfile.flush()
            time.sleep(0.5)
        outputfile.write(beside + rest)


def shift(context, address: str) -> float:
    """The layout shift of a page from its first paint until all has arrived and is drawn."""
    page = context.new_page()
    page.add_init_script(SHIFT)
    page.goto(address, wait_until="networkidle")
    page.wait_for_function(
        "() => [...document.querySelectorAll('figure[data-figure]')]"
        ".every(figure => figure.dataset.live !== undefined)"
    )
    page.evaluate("document.fonts.ready")
    painted(page)
    total = page.evaluate("window.shift")
    page.close()
    return total


def test_nothing_moves_while_the_page_loads(browser, origin):
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    for path in ("book/index.html", CHAPTER):
        assert shift(context, f"{origin}/{path}") <= 0.02, path
    context.close()


@pytest.mark.parametrize("width", [390, 1280])
def test_nothing_moves_when_a_page_arrives_in_two_pieces(site, pages, browser, width):
    context = browser.new_context(viewport={"width": width, "height": 900})
    with serving(site, Halting) as address:
        shifts = {path: shift(context, f"{address}/{path}") for path in pages}
    assert max(shifts.values()) <= 0.02, shifts
    context.close()


def test_a_figure_that_cannot_be_drawn_keeps_its_static_picture(site, tmp_path, browser):
    """A widget that the host does not know: the reader keeps the picture, the console says which and why."""
    import shutil

    copy = tmp_path / "html"
    shutil.copytree(site, copy)
    path = copy / CHAPTER
    path.write_text(path.read_text().replace('"IntSliderModel"', '"ColorPickerModel"'))
    with serving(copy) as address:
        page = browser.new_page()
        said = []
        page.on("console", lambda message: message.type == "error" and said.append(message.text))
        page.goto(f"{address}/{CHAPTER}")
        page.wait_for_function(
            "() => document.querySelector('[data-figure=soft-to-hard]').dataset.live !== undefined"
        )
        assert figure(page, "alignment-explorer").locator(".pa-static").is_visible()
        assert any("alignment-explorer" in text and "ColorPicker" in text for text in said), said
        page.close()
