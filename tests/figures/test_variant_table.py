"""The variants at a glance: every record whole on the page, and controls that find what they say."""

import html
import itertools
import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from attention_core.catalogue import LAWS, VARIANTS
from attention_core.figures import VariantTable, base, stylesheet, variant_table
from attention_core.figures.kinship import Kinship, Laws

from ..browser import serving
from .test_in_browser import write

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def table():
    return VariantTable()


def rows(page: str) -> dict[str, str]:
    """The HTML of each row by its variant's name."""
    found = re.findall(r'<li class="pa-variant" id="variant-(\w+)".*?</details></li>', page, re.S)
    parts = re.findall(r'(<li class="pa-variant" id="variant-\w+".*?</details></li>)', page, re.S)
    return dict(zip(found, parts, strict=True))


def set_tex(formula: str) -> str:
    return rf'<span class="pa-tex">\({html.escape(formula, quote=False)}\)</span>'


def settings(figure, rng) -> None:
    """A random position of every control, and now and then a word to look for."""
    figure.family.index = int(rng.integers(len(figure.family.options)) * rng.integers(2))
    figure.law.index = int(rng.integers(len(figure.law.options)) * rng.integers(2))
    figure.order.index = int(rng.integers(len(figure.order.options)))
    figure.year.value = int(rng.integers(figure.year.min, figure.year.max + 1))
    word = str(rng.choice(["", "", "Attention", "dot  product", "vaswani", "20", "no such word"]))
    figure.view.search = word


# -- the table ---------------------------------------------------------------------------------------------


def test_every_record_has_its_row_with_title_year_source_and_cost(table):
    found = rows(table.table)
    assert set(found) == set(VARIANTS)
    for name, variant in VARIANTS.items():
        row = found[name]
        for text in (variant.title, variant.family):
            assert html.escape(text, quote=False) in row
        assert f'<span class="pa-year">{variant.year}</span>' in row
        assert f'<cite data-cite="{variant.citation}">' in row
        assert set_tex(variant.time) in row
        assert set_tex(variant.memory) in row


def test_an_equation_is_cut_only_where_it_has_a_quad(table):
    for name, row in rows(table.table).items():
        block = re.search(r'<div class="pa-equation">(.*?)</div>', row, re.S)[1]
        pieces = [html.unescape(piece) for piece in re.findall(r"\\\((.*?)\\\)</span>", block, re.S)]
        plain = re.sub(r"\\q?quad|\s", "", VARIANTS[name].equation)
        assert re.sub(r"\s", "", "".join(pieces)) == plain, name


def test_a_relation_stands_under_both_its_ends_with_its_condition(table):
    found, seen = rows(table.table), 0
    for name, variant in VARIANTS.items():
        for equality in variant.equals:
            assert equality.other in found
            assert set_tex(equality.when) in found[name]
            assert set_tex(equality.when) in found[equality.other]
            if equality.other != name:
                assert f'href="#variant-{equality.other}"' in found[name]
                assert f'href="#variant-{name}"' in found[equality.other]
            seen += 1
    assert seen > 10


def test_every_law_is_held_or_its_exemption_explained(table):
    found = rows(table.table)
    for name, variant in VARIANTS.items():
        held = re.search(r"<dt>Holds</dt><dd>(.*?)</dd>", found[name])[1].split(", ")
        assert held == [variant_table.words(law) for law in LAWS if law in variant.laws] or not variant.laws
        for law, why in variant.exempt.items():
            entry = f"<b>{variant_table.words(law)}</b>: {html.escape(why, quote=False)}"
            assert entry in found[name]


def test_every_source_is_in_the_bibliography():
    keys = set(re.findall(r"^@\w+\{(\w+),", (ROOT / "book" / "references.bib").read_text(), re.M))
    assert {variant.citation for variant in VARIANTS.values()} <= keys


def test_readers_records_stand_among_the_books_and_are_escaped():
    mine = replace(VARIANTS["dot"], name="mine", title="<b>Mine</b>", equation="a < b")
    figure = VariantTable(VARIANTS | {"mine": mine})
    row = rows(figure.table)["mine"]
    assert "&lt;b&gt;Mine" in row
    assert "<b>Mine" not in row
    assert r"\(a &lt; b\)" in row


def test_an_empty_table_is_refused():
    with pytest.raises(ValueError, match="`variants` is empty; give at least one record"):
        VariantTable({})


def test_a_notebook_shows_the_controls_and_the_table(monkeypatch):
    shown = []
    monkeypatch.setattr(variant_table, "display", lambda output, **_: shown.append(output))
    figure = VariantTable()
    figure._ipython_display_()
    bundle, page = shown
    assert bundle["application/vnd.jupyter.widget-view+json"]["model_id"] == figure.model_id
    assert rows(page.data).keys() == VARIANTS.keys()


def test_two_tables_have_two_names():
    names = [figure.view.table for figure in (VariantTable(), VariantTable())]
    assert names[0] != names[1]


# -- the controls ------------------------------------------------------------------------------------------


def test_at_first_everything_is_shown_from_the_oldest_on(table):
    figure = VariantTable()
    assert set(figure.shown) == set(VARIANTS)
    years = [VARIANTS[name].year for name in figure.shown]
    assert years == sorted(years)


def test_a_law_keeps_those_that_hold_it():
    figure = VariantTable()
    for law, description in zip(LAWS, figure.law.options[1:], strict=True):
        figure.law.value = description
        assert set(figure.shown) == {name for name, variant in VARIANTS.items() if law in variant.laws}


def test_a_family_keeps_its_members():
    figure = VariantTable()
    for family in figure.family.options[1:]:
        figure.family.value = family
        assert set(figure.shown) == {name for name, variant in VARIANTS.items() if variant.family == family}


def test_a_year_keeps_what_was_there_by_then():
    figure = VariantTable()
    for year in range(figure.year.min, figure.year.max + 1):
        figure.year.value = year
        assert set(figure.shown) == {name for name, variant in VARIANTS.items() if variant.year <= year}


def test_by_name_titles_are_in_alphabetical_order():
    figure = VariantTable()
    figure.order.value = "name"
    titles = [VARIANTS[name].title.lower() for name in figure.shown]
    assert titles == sorted(titles)


def test_by_family_no_family_is_torn_apart():
    figure = VariantTable()
    figure.order.value = "family"
    families = [VARIANTS[name].family for name in figure.shown]
    assert len(list(itertools.groupby(families))) == len(set(families))


def test_all_words_of_a_search_must_be_there():
    figure = VariantTable()
    figure.view.search = "LUONG  2015"
    assert set(figure.shown) == {
        n for n, variant in VARIANTS.items() if variant.citation.startswith("luong2015")
    }


def test_python_and_javascript_select_order_and_say_the_same(javascript):
    figure, rng = VariantTable(), np.random.default_rng(0)
    module, seen = base.module("variant_table"), set()
    for _ in range(150):
        settings(figure, rng)
        records, asked = figure.view.records, figure.asked
        chosen = javascript(module, "select", records, asked)
        assert chosen == variant_table.select(records, asked)
        said = javascript(module, "describe", records, asked, chosen)
        assert said == variant_table.describe(records, asked, chosen)
        seen.add(re.sub(r"\d+", "", " ".join(said)))
    assert len(seen) > 10  # no matter how the dice fall: many kinds of answers were compared


@pytest.mark.parametrize("count", [0, 1, 2])
def test_the_sentence_counts_those_that_break_a_law(javascript, count):
    records = [
        {"name": str(i), "title": str(i), "year": 2000, "exempt": ["x"] if i < count else []}
        for i in range(4)
    ]
    asked, shown = {"law": "x"}, list(range(count, 3))
    said = variant_table.describe(records, asked, shown)
    assert javascript(base.module("variant_table"), "describe", records, asked, shown) == said
    expected = ["Not one of all 4 breaks", "Of all 4, 1 does not hold", "Of all 4, 2 do not hold"][count]
    assert said[1].startswith(expected)


# -- who becomes whom --------------------------------------------------------------------------------------


def test_every_relation_is_in_the_tree_once_with_its_condition():
    page = Kinship()._repr_html_()
    for name, variant in VARIANTS.items():
        assert f'href="#variant-{name}"' in page
        for equality in variant.equals:
            if equality.other != name:
                assert set_tex(equality.when) in page


def test_what_stands_under_a_mechanism_becomes_it():
    kinship = Kinship()
    for name, (above, when) in kinship.parents.items():
        assert (above, when) in {(equality.other, equality.when) for equality in VARIANTS[name].equals}
        seen = [name]
        while seen[-1] in kinship.parents:
            seen.append(kinship.parents[seen[-1]][0])
            assert len(seen) == len(set(seen))  # no circle


def test_chains_of_relations_are_followed_to_their_ends():
    tied = Kinship().tied_to("dot")
    assert {"scaled_dot", "masked", "grouped_query"} <= tied  # at once, in two steps, in three
    assert "dot" not in tied
    assert "squeeze_excitation" not in tied


def test_a_circle_of_relations_is_no_endless_tree():
    a, b = VARIANTS["additive"], VARIANTS["concat"]
    there, back = (
        replace(VARIANTS["dot"].equals[0] if VARIANTS["dot"].equals else b.equals[0], other=o) for o in "ba"
    )
    circle = {"a": replace(a, name="a", equals=(there,)), "b": replace(b, name="b", equals=(back,))}
    kinship = Kinship(circle)
    assert len(kinship.roots) == 1
    assert len(kinship.parents) == 1


def test_the_laws_are_listed_with_what_they_promise():
    page = html.unescape(Laws()._repr_html_())
    for law, promise in LAWS.items():
        assert variant_table.words(law).capitalize() in page
        assert promise[1:] in page


# -- in a browser ------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def folder(tmp_path_factory, table):
    folder = tmp_path_factory.mktemp("variants")
    (folder / "widget-host.js").write_text((ROOT / "book" / "static" / "widget-host.js").read_text())
    (folder / "figures.css").write_text(stylesheet(), encoding="utf-8")
    for theme in ("light", "dark"):
        write(folder, f"{theme}.html", [table], theme=theme)
        page = folder / f"{theme}.html"
        page.write_text(page.read_text().replace("</main>", f"<h2>Table</h2>{table.table}</main>"))
    return folder


@pytest.fixture
def visit(browser, folder):
    contexts = []
    with serving(folder) as origin:

        def go(name="light", **options):
            contexts.append(browser.new_context(**options))
            page = contexts[-1].new_page()
            page.goto(f"{origin}/{name}.html")
            if options.get("java_script_enabled", True):
                page.locator(".pa-view[data-shown]").wait_for(state="attached")
            return page

        yield go
        for context in contexts:
            context.close()


def standing(page) -> list[str]:
    """The rows that a reader sees, in the order of the page."""
    return page.locator(".pa-variant:visible").evaluate_all("all => all.map(row => row.dataset.name)")


def test_the_controls_move_the_rows_of_the_table(visit):
    page, figure = visit(), VariantTable()
    assert standing(page) == figure.shown
    live = page.locator(".pa-live")
    live.get_by_label("Holds the law").select_option("convex hull")
    live.get_by_label("In order of").select_option("name")
    figure.law.value, figure.order.value = "convex hull", "name"
    assert standing(page) == figure.shown
    live.get_by_role("slider").focus()
    page.keyboard.press("ArrowLeft")
    figure.year.value -= 1
    assert standing(page) == figure.shown
    live.get_by_role("searchbox").press_sequentially("dot")
    figure.view.search = "dot"
    assert standing(page) == figure.shown
    assert json.loads(page.locator(".pa-live .pa-view").get_attribute("data-shown")) == figure.shown
    live.get_by_role("searchbox").fill("")
    live.get_by_label("Family").select_option("score")
    figure.view.search, figure.family.value = "", "score"
    assert standing(page) == figure.shown


def test_a_row_opens_by_keyboard_and_a_link_opens_the_row_it_leads_to(visit):
    page = visit()
    row = page.locator("#variant-scaled_dot")
    row.locator("summary").focus()
    page.keyboard.press("Enter")
    assert row.locator("dl.pa-facts").is_visible()
    page.locator(".pa-live").get_by_role("searchbox").fill("scaled_dot")
    assert standing(page) == ["scaled_dot"]
    row.locator('a[href="#variant-dot"]').first.click()
    assert page.locator("#variant-dot dl.pa-facts").is_visible()  # the search that hid it is cleared
    assert standing(page) == VariantTable().shown


def test_without_scripts_and_in_print_the_whole_table_stands(visit):
    page = visit(java_script_enabled=False)
    assert standing(page) == VariantTable().shown
    page = visit()
    page.emulate_media(media="print")
    assert page.locator("#variant-dot dl.pa-facts").is_visible()  # printed open


@pytest.mark.parametrize("name", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 320])
def test_axe_finds_nothing_with_a_row_open(visit, node_modules, name, width):
    page = visit(name, viewport={"width": width, "height": 800})
    page.locator("#variant-multi_head summary").click()
    page.evaluate((node_modules / "axe-core" / "axe.min.js").read_text(encoding="utf-8"))
    found = page.evaluate("axe.run('main').then((r) => r.violations.map((v) => [v.id, v.nodes[0].html]))")
    assert [
        fault for fault in found if fault[0] != "scrollable-region-focusable"
    ] == []  # TeX is not set here
    assert page.evaluate("document.documentElement.scrollWidth") <= width


@pytest.mark.parametrize("width", [1280, 390])
def test_the_static_card_is_as_high_as_the_live_one(visit, width):
    page = visit(viewport={"width": width, "height": 900})
    live = page.locator(".pa-live").bounding_box()["height"]
    page.evaluate("delete document.querySelector('figure').dataset.live")
    page.evaluate("document.querySelector('.pa-live').hidden = true")
    assert abs(page.locator(".pa-static").bounding_box()["height"] - live) <= 1


def test_the_view_weighs_little():
    import gzip

    parts = base.module("variant_table"), base.module("heading", kit=False), base.style("variant_table")
    assert len(gzip.compress("".join(parts).encode(), 9)) <= 12_000
