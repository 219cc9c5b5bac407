"""The page "The variants at a glance" as built: generated whole, set, linked and light."""

import gzip
import re

import pytest

from attention_core.catalogue import VARIANTS

PAGE = "book/variants-at-a-glance.html"


def test_every_mechanism_has_its_row_set_in_mathematics(open_page):
    page = open_page(PAGE)
    rows = page.locator("main .pa-variant")
    names = set(rows.evaluate_all("all => all.map(row => row.dataset.name)"))
    assert names == set(VARIANTS)
    assert rows.evaluate_all("all => all.every(row => row.querySelectorAll('math').length >= 3)")
    assert "\\(" not in page.inner_text("main")


def test_every_source_leads_to_its_entry_in_the_bibliography(site, open_page):
    links = open_page(PAGE).locator("main .pa-source a")
    addresses = links.evaluate_all("all => all.map(link => link.getAttribute('href'))")
    assert len(addresses) == len(VARIANTS)
    bibliography = (site / "book" / "bibliography.html").read_text(encoding="utf-8")
    ids = set(re.findall(r'id="([^"]+)"', bibliography))
    for address in addresses:
        file, _, anchor = address.partition("#")
        assert file == "bibliography.html"
        assert anchor in ids


def test_every_link_of_the_page_to_a_row_finds_it(open_page):
    links = open_page(PAGE).locator('main a[href^="#variant-"]')
    targets = set(links.evaluate_all("all => all.map(link => link.getAttribute('href').slice(1))"))
    assert len(targets) > 10
    assert targets <= {f"variant-{name}" for name in VARIANTS}


def test_the_controls_move_the_rows(open_page):
    page = open_page(PAGE)
    page.locator(".pa-live").get_by_label("Holds the law").select_option("convex hull")
    shown = page.locator("main .pa-variant:visible").evaluate_all("all => all.map(row => row.dataset.name)")
    assert set(shown) == {name for name, variant in VARIANTS.items() if "convex_hull" in variant.laws}


def test_without_scripts_the_whole_table_stands(open_page):
    page = open_page(PAGE, java_script_enabled=False)
    assert page.locator("main .pa-variant:visible").count() == len(VARIANTS)


def test_the_books_own_search_finds_a_row(open_page):
    page = open_page("search.html?q=criss-cross")
    page.wait_for_selector("#search-results li a")
    assert "variants at a glance" in page.inner_text("#search-results").lower()


@pytest.mark.parametrize("width", [320, 1280])
def test_wide_equations_can_be_scrolled_by_keyboard(open_page, width):
    page = open_page(PAGE, viewport={"width": width, "height": 900})
    stuck = page.locator("main .pa-equation").evaluate_all(
        "all => all.filter(box => box.scrollWidth > box.clientWidth + 1 && box.tabIndex !== 0).length"
    )
    assert stuck == 0


def test_the_page_stays_light(site, open_page):
    """What a first visit transfers, compressed as a web server would: 350 kB at most."""
    page = open_page(PAGE)
    page.wait_for_load_state("networkidle")
    addresses = page.evaluate("performance.getEntriesByType('resource').map(entry => entry.name)")
    addresses.append(page.url)
    files = {address.split("?")[0].split("/", 3)[3] for address in addresses if address.startswith("http")}
    size = sum(len(gzip.compress((site / file).read_bytes())) for file in files)
    assert size <= 350_000, size
