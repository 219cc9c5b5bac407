"""Every page of the built book, in a real browser."""

import gzip
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
NOTEBOOKS = ROOT.glob("chapters/*/*.ipynb")
CHAPTERS = sorted(str(path.relative_to(ROOT).with_suffix(".html")) for path in NOTEBOOKS)


def test_the_book_has_its_landing_page_and_its_chapters(pages):
    assert "book/index.html" in pages
    assert "chapters/2-alignment/alignment-matrix.html" in pages


def test_no_page_leaves_its_origin_or_reports_an_error(pages, open_page):
    for page in pages:
        open_page(page)  # `open_page` fails the test for what any of them did


@pytest.mark.parametrize("width", [1280, 320])
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_axe_finds_nothing(pages, open_page, node_modules, theme, width):
    axe = (node_modules / "axe-core" / "axe.min.js").read_text(encoding="utf-8")
    found = []
    for path in pages:
        page = open_page(path, viewport={"width": width, "height": 900}, color_scheme=theme)
        page.evaluate("Promise.all(document.getAnimations().map(animation => animation.finished))")
        page.add_script_tag(content=axe)
        for violation in page.evaluate("axe.run().then(result => result.violations)"):
            nodes = "; ".join(node["html"][:160] for node in violation["nodes"][:3])
            found.append(f"{path}: {violation['id']} ({violation['help']}): {nodes}")
    assert not found, "\n".join(found)


def test_no_page_scrolls_sideways_on_a_phone(pages, open_page):
    wide = {}
    for path in pages:
        page = open_page(path, viewport={"width": 320, "height": 700})
        over = page.evaluate("document.scrollingElement.scrollWidth - innerWidth")
        if over > 0:
            wide[path] = over
    assert not wide


def test_every_equation_is_set_in_the_mathematics_font(pages, open_page):
    counted = 0
    for path in pages:
        page = open_page(path)
        page.evaluate("document.fonts.ready")
        boxes = page.evaluate(
            "[...document.querySelectorAll('main math')].filter(m => m.checkVisibility())"
            ".map(m => [m.getBoundingClientRect().width, m.getBoundingClientRect().height])"
        )
        assert all(width > 2 and height > 2 for width, height in boxes), path
        if boxes:
            font = "[...document.fonts].find(face => face.family.includes('STIX Two Math'))?.status"
            assert page.evaluate(font) == "loaded", path
        text = page.evaluate("document.querySelector('main').innerText")
        assert "\\frac" not in text
        assert "$$" not in text
        counted += len(boxes)
    assert counted > 20


def test_nothing_gapes_behind_a_root(pages, open_page):
    """A browser reserves the widest size of the root sign, so the font's sizes must be about equally wide."""
    counted = 0
    for path in pages:
        page = open_page(path)
        page.evaluate("document.fonts.ready")
        gaps = page.evaluate(
            "[...document.querySelectorAll('main msqrt')].filter(root => root.checkVisibility()).map(root =>"
            " (root.getBoundingClientRect().right - root.lastElementChild.getBoundingClientRect().right)"
            " / parseFloat(getComputedStyle(root).fontSize))"
        )
        assert all(abs(gap) < 0.1 for gap in gaps), f"{path}: {max(gaps):.2f} em"
        counted += len(gaps)
    assert counted > 5


def test_no_two_elements_of_a_page_share_an_id(pages, open_page):
    for path in pages:
        ids = open_page(path).evaluate(
            "[...document.querySelectorAll('main [id]')].map(element => element.id)"
        )
        assert sorted(ids) == sorted(set(ids)), path


def test_search_finds_a_known_term(open_page):
    page = open_page("search.html?q=temperature")
    page.wait_for_selector("#search-results li a")
    assert "alignment" in page.inner_text("#search-results").lower()


def test_every_page_says_its_edition_and_how_to_report_an_error(pages, open_page):
    for path in pages:
        page = open_page(path)
        assert page.get_attribute(".extra_footer time", "datetime")
        link = page.locator(".extra_footer a", has_text="Report an error")
        link.click()
        page.locator("article h1", has_text="Report an error").wait_for()


def test_the_report_is_copied_with_page_and_edition(open_page):
    page = open_page("book/report.html?page=book/glossary", permissions=["clipboard-read", "clipboard-write"])
    page.fill("form.erratum textarea[name=where]", "The second row sums to 1.1.")
    page.click("form.erratum button")
    page.wait_for_function("() => document.querySelector('form.erratum output').textContent.length > 0")
    copied = page.evaluate("navigator.clipboard.readText()")
    assert "page: book/glossary" in copied
    assert "The second row sums to 1.1." in copied
    assert "edition: 20" in copied


def test_no_page_names_the_machine_that_built_it(site):
    for path in site.rglob("*"):
        if path.suffix in {".html", ".js", ".css", ".ipynb", ".json"}:
            text = path.read_text(encoding="utf-8", errors="replace")
            for private in (str(ROOT), str(Path.home()) + "/", "/tmp/ipykernel"):
                assert private not in text, f"{path.relative_to(site)} holds {private}"


@pytest.mark.parametrize("page", CHAPTERS)
def test_a_chapter_stays_light(site, open_page, page):
    """What a first visit to a chapter transfers, compressed as a web server would: 350 kB at most."""
    opened = open_page(page)
    opened.wait_for_load_state("networkidle")
    addresses = opened.evaluate("performance.getEntriesByType('resource').map(entry => entry.name)")
    addresses.append(opened.url)
    files = {address.split("?")[0].split("/", 3)[3] for address in addresses if address.startswith("http")}
    size = sum(len(gzip.compress((site / file).read_bytes())) for file in files)
    assert size <= 350_000, size


def test_the_host_of_the_figures_weighs_at_most_15_kB(site):
    assert len(gzip.compress((site / "_static" / "widget-host.js").read_bytes())) <= 15_000


@pytest.mark.parametrize("page", CHAPTERS)
def test_drawings_have_no_class_that_the_theme_styles(site, open_page, page):
    """Bootstrap's `row` once gave each map of a gallery a gutter."""
    sheet = (site / "_static" / "styles" / "bootstrap.css").read_text(encoding="utf-8")
    theirs = set(re.findall(r"\.([A-Za-z][\w-]*)", sheet))
    assert {"row", "col", "card"} <= theirs
    inside = "[...document.querySelectorAll(':is(.pa-drawing, .pa-card-host, .pa-quiz) *')]"
    ours = open_page(page).evaluate(f"{inside}.flatMap((element) => [...element.classList])")
    assert not set(ours) & theirs


def test_a_dark_screen_prints_in_light_colours(open_page):
    page = open_page("book/glossary.html", color_scheme="dark")
    theme = "document.documentElement.dataset.theme"
    assert page.evaluate(theme) == "dark"
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    assert page.evaluate(theme) == "light"
    page.evaluate("dispatchEvent(new Event('afterprint'))")
    assert page.evaluate(theme) == "dark"
