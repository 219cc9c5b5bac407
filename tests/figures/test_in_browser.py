"""Saved states, drawn by the light host in a real browser, without the book around them.

Values are read from the picture, never from the control that set them.
"""

import contextlib
import hashlib
import json
import shutil
from pathlib import Path

import ipywidgets
import numpy as np
import pytest
from ipywidgets.embed import dependency_state

from attention_core.figures import AlignmentExplorer, SoftToHard, stylesheet

from ..browser import eventually, serving

ROOT = Path(__file__).parents[2]
STATE, VIEW = (f"application/vnd.jupyter.widget-{kind}+json" for kind in ("state", "view"))
PAGE = """<!doctype html><html lang="en" data-theme="{theme}"><head><meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<link rel="icon" href="data:,"><title>Figures</title>
{head}</head>
<body style="margin: 8px; font-family: sans-serif; {colours}">
<main><h1>Figures</h1>{body}</main>
<script type="{type}"{modules}>{state}</script></body></html>"""
SHIFT = """window.shift = 0;
new PerformanceObserver((list) => { for (const e of list.getEntries()) shift += e.value; })
  .observe({type: "layout-shift", buffered: true});"""


@pytest.fixture(scope="module")
def figures():
    return [AlignmentExplorer(), SoftToHard()]


def write(folder: Path, name: str, shown: list, *, files=True, theme="light") -> None:
    """A page with the saved state of `shown`, as the site's build writes it."""
    state, modules = dependency_state(shown), {}
    (folder / "figures").mkdir(exist_ok=True)
    for model, saved in state.items():
        if "_esm" in saved["state"]:
            modules[model] = f"figures/{hashlib.sha256(saved['state']['_esm'].encode()).hexdigest()[:16]}.js"
            (folder / modules[model]).write_text(saved["state"]["_esm"], encoding="utf-8")
    body = ""
    for widget in shown:
        bundle = widget._repr_mimebundle_()
        view = f'<script type="{VIEW}">{json.dumps(bundle[VIEW])}</script>'
        picture = bundle.get("text/html", '<figure data-figure="bare"></figure>')
        body += picture.replace("</figure>", f"{view}</figure>")
    head = '<script defer src="widget-host.js"></script>'
    if files:
        head += '<link rel="stylesheet" href="figures.css" data-figures-css>'
    text = PAGE.format(
        theme=theme, colours="background: #121212; color: #eee" if theme == "dark" else "background: #fff",
        head=head, body=body, type=STATE,
        modules=f" data-modules='{json.dumps(modules)}'" if files else "",
        state=json.dumps({"version_major": 2, "version_minor": 0, "state": state}).replace("</", "<\\/"),
    )  # fmt: skip
    (folder / name).write_text(text, encoding="utf-8")


@pytest.fixture(scope="module")
def folder(tmp_path_factory, figures):
    folder = tmp_path_factory.mktemp("pages")
    shutil.copy(ROOT / "book" / "static" / "widget-host.js", folder)
    (folder / "figures.css").write_text(stylesheet(), encoding="utf-8")
    write(folder, "site.html", figures)
    write(folder, "dark.html", figures, theme="dark")
    write(folder, "blob.html", figures, files=False)
    write(folder, "foreign.html", [ipywidgets.VBox([ipywidgets.Text()]), *figures])
    return folder


@pytest.fixture(scope="module")
def origin(folder):
    with serving(folder) as address:
        yield address


@pytest.fixture
def visit(browser):
    """visit(address, **context options) -> page; `page.faults` lists what went wrong on it."""
    with contextlib.ExitStack() as stack:

        def go(address, live=2, **options):
            context = stack.enter_context(contextlib.closing(browser.new_context(**options)))
            context.add_init_script(SHIFT)
            page = context.new_page()
            page.faults = []
            page.on("pageerror", lambda e: page.faults.append(str(e)))
            page.on("console", lambda m: m.type == "error" and page.faults.append(m.text))
            page.goto(address)
            if live:
                page.locator(".pa-view[data-weights]").nth(live - 1).wait_for(state="attached")
            return page

        yield go


def drawn(page, name: str) -> np.ndarray:
    selector = f'[data-figure="{name}"] [data-weights]'
    return np.array(json.loads(page.locator(selector).get_attribute("data-weights")))


def slide(locator, value: float) -> None:
    locator.evaluate(
        "(e, v) => { e.value = v; e.dispatchEvent(new Event('input', {bubbles: true})); }", value
    )


@pytest.mark.parametrize(
    "address", ["{origin}/site.html", "{origin}/a/sub/path/site.html", "{files}/blob.html"]
)
def test_the_host_draws_what_attention_core_computes(visit, origin, folder, address):
    page = visit(address.format(origin=origin, files=folder.as_uri()))
    expected = AlignmentExplorer()
    figure = page.locator('[data-figure="alignment-explorer"]')
    np.testing.assert_array_equal(drawn(page, "alignment-explorer"), expected.weights)
    for index, name in enumerate(expected.sentence.options):
        figure.get_by_role("radio", name=name).check()
        expected.sentence.index = index
        for exponent in (-4, -0.5, 0, 2.25, 4):
            slide(figure.get_by_role("slider", name="Temperature"), exponent)
            expected.temperature.value = 2.0**exponent
            np.testing.assert_allclose(drawn(page, "alignment-explorer"), expected.weights, atol=1e-7)
    soft, sliders = SoftToHard(), page.locator('[data-figure="soft-to-hard"]').get_by_role("slider").all()
    np.testing.assert_array_equal(drawn(page, "soft-to-hard"), soft.weights)
    for exponent, logits in [
        (-1.3, (5, -5, 0.5, 0, 0, 1)),
        (0.2, (0, 0, 0, 0, 0, 0)),
        (1, (1, 2, 3, 4, 5, -5)),
    ]:
        soft.temperature.value = 10.0**exponent
        slide(sliders[0], exponent)
        for control, slider, value in zip(soft.logits, sliders[1:], logits, strict=True):
            control.value = value
            slide(slider, value)
        np.testing.assert_allclose(drawn(page, "soft-to-hard"), soft.weights, atol=1e-12)
    assert page.faults == []


def test_without_its_module_a_figure_stays_static_and_says_so(visit, origin):
    page = visit(f"{origin}/blob.html", live=0)  # this policy allows no blob:, and the page names no files

    def named():
        return sorted(fault.split('"')[1] for fault in page.faults if fault.startswith("Figure "))

    assert eventually(page, named, lambda names: len(names) == 2) == ["alignment-explorer", "soft-to-hard"]
    assert page.locator("figure[data-live]").count() == 0
    assert page.locator(".pa-static").first.is_visible()


def test_a_foreign_widget_is_refused_and_its_neighbours_are_drawn(visit, origin):
    page = visit(f"{origin}/foreign.html")
    assert page.locator("figure[data-live]").count() == 2
    assert len(page.faults) == 1
    assert 'Figure "bare" stays static: TextModel is not among the widgets' in page.faults[0]


@pytest.mark.parametrize("width", [1280, 640, 320])
def test_the_live_figure_takes_exactly_the_static_ones_place(visit, origin, width):
    page = visit(f"{origin}/site.html", viewport={"width": width, "height": 800})
    heights = page.evaluate("""[...document.querySelectorAll('figure')].map((f) => {
        const live = f.offsetHeight;
        f.removeAttribute('data-live');
        f.querySelector('.pa-live').style.display = 'none';
        return [live, f.offsetHeight];
    })""")
    assert all(abs(live - static) <= 1 for live, static in heights), heights
    assert page.evaluate("shift") <= 0.02
    assert page.evaluate("document.documentElement.scrollWidth") <= width


@pytest.mark.parametrize("name", ["site", "dark"])
@pytest.mark.parametrize("width", [1280, 320])
def test_axe_finds_nothing(visit, origin, node_modules, name, width):
    script = node_modules / "axe-core" / "axe.min.js"
    page = visit(f"{origin}/{name}.html", viewport={"width": width, "height": 800})
    page.evaluate(script.read_text(encoding="utf-8"))
    found = page.evaluate("axe.run('main').then((r) => r.violations.map((v) => [v.id, v.nodes[0].html]))")
    assert found == []


def test_the_matrix_is_one_tab_stop_with_a_lock_that_opens(visit, origin):
    page = visit(f"{origin}/site.html")
    figure = page.locator('[data-figure="alignment-explorer"] .pa-live')
    view, cells = figure.locator(".pa-view"), figure.locator(".pa-cell")
    assert figure.locator('.pa-cell[tabindex="0"]').count() == 1
    cells.nth(0).focus()
    assert view.get_attribute("data-row") == "0"  # focus previews
    page.keyboard.press("ArrowDown")
    page.keyboard.press("End")
    page.keyboard.press("Enter")
    assert cells.nth(5).get_attribute("aria-selected") == "true"
    page.mouse.move(2, 2)
    figure.get_by_role("slider", name="Temperature").focus()
    assert view.get_attribute("data-row") == "1"  # locked: it stays when the focus goes
    assert "press Escape" in figure.locator(".pa-sentence").inner_text()
    page.keyboard.press("Escape")
    assert view.get_attribute("data-row") == "2"
    assert figure.locator('.pa-cell[tabindex="0"]').count() == 1


def test_playing_walks_through_the_steps_and_speaks_at_the_end(visit, origin):
    page = visit(f"{origin}/site.html")
    figure = page.locator('[data-figure="alignment-explorer"] .pa-live')
    view, spoken = figure.locator(".pa-view"), figure.locator(".pa-spoken")
    page.clock.install()
    figure.get_by_role("button", name="Play").click()
    assert view.get_attribute("data-step") == "1"
    page.clock.run_for(1200)
    assert view.get_attribute("data-step") == "2"
    page.clock.run_for(700)
    assert spoken.inner_text() == ""  # silent while it plays
    page.clock.run_for(500)
    assert view.get_attribute("data-step") == "3"
    page.clock.run_for(300)
    assert spoken.inner_text().startswith("Step 3:")
    figure.get_by_role("button", name="Previous").click()
    assert view.get_attribute("data-step") == "2"


def test_less_motion_leaves_the_steps_without_play(visit, origin):
    page = visit(f"{origin}/site.html", reduced_motion="reduce")
    figure = page.locator('[data-figure="alignment-explorer"] .pa-live')
    assert figure.get_by_role("button", name="Play").count() == 0
    figure.get_by_role("button", name="Previous").click()
    assert figure.locator(".pa-view").get_attribute("data-step") == "2"


def test_print_shows_the_static_picture_in_light_colours(visit, origin):
    page = visit(f"{origin}/dark.html")
    page.emulate_media(media="print")
    assert not page.locator(".pa-live").first.is_visible()
    card = page.locator(".pa-static > .pa-figure").first
    assert card.is_visible()
    assert card.evaluate("(e) => getComputedStyle(e).backgroundColor") == "rgb(255, 255, 255)"


def test_fingers_get_44_pixels(visit, origin):
    page = visit(
        f"{origin}/site.html", viewport={"width": 390, "height": 800}, has_touch=True, is_mobile=True
    )
    heights = page.locator(".pa-live :is(input.pa-range, .pa-segment, .pa-buttons button)").evaluate_all(
        "all => all.map((e) => e.offsetHeight)"
    )
    assert min(heights) >= 44
