"""The timeline: dates in order, every card cites, ideas recur, and the view says what Python says."""

import json
import re
import shutil
from dataclasses import asdict, replace
from itertools import pairwise
from pathlib import Path

import pytest
from pybtex.database import parse_file

from attention_core.catalogue import VARIANTS
from attention_core.figures import Timeline, base, stylesheet, timeline, timeline_cards
from attention_core.figures.timeline_cards import CARDS, THREADS, Card, check_cards

from ..browser import serving
from .test_in_browser import write

ROOT = Path(__file__).parents[2]
MODULE = base.module("timeline")
BIBLIOGRAPHY = parse_file(ROOT / "book" / "references.bib").entries
each_card = pytest.mark.parametrize("card", CARDS, ids=lambda card: card.name)


@pytest.fixture(scope="module")
def records():
    return Timeline().view.cards


def settings():
    """Every position of both controls."""
    return [(era, thread) for era in range(len(timeline.ERAS) + 1) for thread in range(len(THREADS) + 1)]


CURRICULUM = """
cherry1953experiments broadbent1958perception sperling1960information yarbus1967eye
rumelhart1986general giles1987learning vondermalsburg1981correlation feldman1982dynamic
hinton1987using schmidhuber1992learning tomasi1998bilateral buades2005nonlocal bahdanau2014neural
wang2014attentional luong2015effective xu2015show cheng2016long parikh2016decomposable
lin2017structured paulus2017deep vaswani2017attention santoro2017simple wang2017nonlocal
velickovic2017graph devlin2018bert lee2018set fu2018dual huang2018ccnet kitaev2020reformer
wang2020linformer choromanski2020rethinking dosovitskiy2020image ramsauer2020hopfield
radford2021learning jumper2021highly su2021roformer schlag2021linear dao2022flashattention
press2021train dao2023flashattention2 ainslie2023gqa kwon2023efficient xiao2023efficient
shah2024flashattention3 deepseekai2024deepseekv2 ye2024differential dong2024flex yang2024gated
"""

# -- the cards ---------------------------------------------------------------------------------------------


def test_dates_are_in_order_from_the_fifties_to_today():
    years = [card.year for card in CARDS]
    assert years == sorted(years)
    assert years[0] == 1953
    assert years[-1] >= 2025


@each_card
def test_a_card_cites_a_source_of_its_year(card):
    entry = BIBLIOGRAPHY[card.citation]
    assert int(entry.fields["year"]) == card.year


@each_card
def test_a_cards_link_leads_to_what_it_cites(card):
    fields = BIBLIOGRAPHY[card.citation].fields
    addresses = [
        *(f"https://arxiv.org/abs/{fields[key]}" for key in ("eprint",) if key in fields),
        *(f"https://doi.org/{fields[key]}" for key in ("doi",) if key in fields),
        *(fields[key] for key in ("url",) if key in fields),
    ]
    assert card.link in (addresses or [""])


@each_card
def test_a_card_names_the_first_author_of_its_source(card):
    first = BIBLIOGRAPHY[card.citation].persons["author"][0]
    surname = " ".join([*first.prelast_names, *first.last_names])
    plain = re.sub(r"[{}]|\\.", "", surname)
    assert card.who.replace("č", "").startswith(plain.replace("č", "")) or card.who.startswith(surname[:4])


@pytest.mark.parametrize("card", [card for card in CARDS if card.variant], ids=lambda card: card.name)
def test_a_mechanisms_date_is_the_catalogues(card):
    assert (card.year, card.citation) == (VARIANTS[card.variant].year, VARIANTS[card.variant].citation)


def test_the_file_of_cards_repeats_no_date_of_the_catalogue():
    written = json.loads((ROOT / "attention_core/figures/timeline_cards.json").read_text(encoding="utf-8"))
    cited = {variant.citation for variant in VARIANTS.values()}
    mechanisms = [fields for fields in written if "variant" in fields]
    assert len(mechanisms) >= 25
    assert not any({"year", "citation"} & fields.keys() for fields in mechanisms)
    # what the catalogue knows and the card dates itself: sources that describe more than one mechanism
    doubled = {f["name"] for f in written if f.get("citation") in cited}
    assert doubled <= {"brown", "xu"}


def test_dates_of_both_places_raise(tmp_path):
    fields = {"name": "a", "title": "A", "variant": "dot", "year": 1999, "recurs": []}
    (tmp_path / "cards.json").write_text(json.dumps([fields]), encoding="utf-8")
    with pytest.raises(ValueError, match=r"card 'a' has a `variant`; leave out \['year'\]"):
        timeline_cards.read(tmp_path / "cards.json")


@each_card
def test_a_card_says_in_one_sentence_each_what_it_gave_and_lacked(card):
    for text in (card.gave, card.lacked):
        assert text[0].isupper()
        assert text.endswith(".") or text.endswith("?")
        assert 10 < len(text) <= 130


def test_ideas_recur_in_every_lane():
    for thread in THREADS:
        lane = {card.name for card in CARDS if card.thread == thread}
        assert len(lane) >= 10
        assert any(set(card.recurs) & lane for card in CARDS if card.name in lane)
    roots = [card.name for card in CARDS if not card.recurs]
    assert set(roots) == {"cherry", "widrow", "nadaraya", "kohonen", "mapping", "brown"}


def test_what_the_curriculum_lists_is_there():
    cited = {card.citation for card in CARDS}
    assert set(CURRICULUM.split()) - cited == set()
    assert "vinyals2014show" not in cited  # Show and Tell has no attention


# -- a reader's own cards ----------------------------------------------------------------------------------

ONE, TWO = CARDS[0], replace(CARDS[1], recurs=(CARDS[0].name,))


@pytest.mark.parametrize(
    ("cards", "message"),
    [
        ([], "`cards` is empty"),
        ([TWO, ONE], "takes up 'cherry', which is no earlier card"),
        ([replace(ONE, year=1999), TWO], r"in order of years; 'broadbent' \(1958\) follows 1999"),
        ([replace(ONE, thread="fashion")], "the thread of 'cherry' must be one of selection, soft weights"),
        ([ONE, replace(ONE, recurs=())], "two cards are called 'cherry'"),
    ],
)
def test_cards_that_do_not_fit_raise_with_the_remedy(cards, message):
    with pytest.raises(ValueError, match=message):
        check_cards(cards)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"era": "1066"}, "`era` must be one of 'all', '1953–79'"),
        ({"thread": "fashion"}, "`thread` must be one of 'all', 'selection'"),
        ({"card": "nobody"}, "`card` must be the name of a card, as 'cherry'; got 'nobody'"),
    ],
)
def test_bad_settings_are_refused_with_the_remedy(arguments, message):
    with pytest.raises(ValueError, match=message):
        Timeline(**arguments)


def test_a_readers_card_is_drawn_among_the_others():
    mine = Card("mine", "My <idea>", 2025, "Me", "", "", "selection", "It is new.", "Proof.", ("cherry",))
    figure = Timeline(cards=(*CARDS, mine), era="2020–", thread="selection", card="mine")
    assert figure.opened is mine
    assert "My &lt;idea&gt;" in figure.static_html()
    assert Timeline(cards=[ONE, TWO], thread="all").opened is ONE


# -- Python and JavaScript ---------------------------------------------------------------------------------


def test_both_select_the_same_cards(javascript, records):
    for era, thread in settings():
        assert javascript(MODULE, "select", records, era, thread) == timeline.select(records, era, thread)


def test_an_era_and_a_thread_hold_the_cards_that_belong_there(records):
    figure = Timeline()
    for era, thread in settings():
        figure.era.index, figure.thread.index = era, thread
        expected = [
            card
            for card in CARDS
            if (era == 0 or timeline.era_of(card.year) == era - 1)
            and (thread == 0 or card.thread == THREADS[thread - 1])
        ]
        assert figure.shown == expected


def test_both_say_the_same_of_every_card(javascript, records):
    for at in range(len(records)):
        assert javascript(MODULE, "describe", records, at) == timeline.describe(records, at)
        assert javascript(MODULE, "forebears", records, at) == timeline.forebears(records, at)
        assert javascript(MODULE, "heirs", records, at) == timeline.heirs(records, at)


def test_both_draw_the_same_map(javascript, records):
    for at, record in enumerate(records):
        assert javascript(MODULE, "place", records, at) == pytest.approx(timeline.place(records, at))
        for old in record["recurs"]:
            drawn = [timeline.line(records, old, at), javascript(MODULE, "line", records, old, at)]
            numbers = [[float(x) for x in re.findall(r"-?[\d.]+", path)] for path in drawn]
            assert numbers[0] == pytest.approx(numbers[1], abs=0.011)  # halves round to either side


def test_a_lineage_leads_back_step_by_step_to_a_beginning(records):
    for at in range(len(records)):
        line = timeline.lineage(records, at)
        assert line[-1] == at
        assert records[line[0]]["recurs"] == []
        assert all(old in records[new]["recurs"] for old, new in pairwise(line))
        assert set(line) <= set(timeline.forebears(records, at))


def test_the_gated_delta_rule_goes_back_to_1960(records):
    at = next(i for i, record in enumerate(records) if record["name"] == "gated_delta")
    lead, chain, _ = timeline.describe(records, at)
    assert lead == "“The gated delta rule” goes back 64 years, to 1960."
    assert chain.startswith("The delta rule (1960) → Fast weights that correct themselves (2021) → ")


# -- the static picture ------------------------------------------------------------------------------------


def test_the_list_and_the_open_card_are_those_of_the_controls():
    figure = Timeline(era="1980–99", thread="all", card="malsburg")
    html = figure.static_html()
    listed = re.findall(r'<span class="pa-entry(?: pa-open)?"><b>(\d+)</b><span>(.*?)</span>', html)
    assert listed == [(str(card.year), card.title) for card in figure.shown]
    assert re.search(r'pa-opened-title">Dynamic links<', html)
    figure.thread.value = "content addressing"
    assert figure.opened.name == "hopfield"  # malsburg is not listed any more


def test_an_empty_choice_says_what_to_do():
    figure = Timeline(era="2000–13", thread="scale")
    assert figure.shown == []
    assert "No card of this idea in these years: choose another, or all" in figure.static_html()


def test_every_card_stands_with_its_citation_where_no_script_runs():
    html = Timeline(era="2000–13").static_html()
    whole = html.split('<ol class="pa-whole">')[1]
    assert re.findall(r'data-cite="(\w+)"', whole) == [card.citation for card in CARDS]
    for card in CARDS:
        for text in (card.title, card.gave, card.lacked):
            assert text.replace("&", "&amp;") in whole
    assert re.search(r"\.pa-whole \{ display: none; \}", stylesheet())


# -- in a browser ------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def origin(tmp_path_factory):
    folder = tmp_path_factory.mktemp("timeline")
    shutil.copy(ROOT / "book" / "static" / "widget-host.js", folder)
    (folder / "figures.css").write_text(stylesheet(), encoding="utf-8")
    for theme in ("light", "dark"):
        write(folder, f"{theme}.html", [Timeline()], theme=theme)
    with serving(folder) as address:
        yield address


@pytest.fixture
def visit(browser, origin):
    contexts = []

    def go(theme="light", **options):
        contexts.append(browser.new_context(**options))
        page = contexts[-1].new_page()
        page.faults = []
        page.on("pageerror", lambda error: page.faults.append(str(error)))
        page.on("console", lambda message: message.type == "error" and page.faults.append(message.text))
        page.goto(f"{origin}/{theme}.html")
        if options.get("java_script_enabled", True):
            page.locator("figure[data-live]").wait_for()
        return page

    yield go
    for context in contexts:
        context.close()


def state(page) -> dict:
    return page.locator(".pa-live .pa-view").evaluate("view => ({...view.dataset})")


def test_the_view_lists_what_python_selects(visit):
    page, figure = visit(), Timeline()
    live = page.locator(".pa-live")
    for era, thread in settings():
        live.locator(".pa-segment").nth(era).click()
        live.get_by_label("Idea", exact=True).select_option(index=thread)
        figure.era.index, figure.thread.index = era, thread
        drawn = live.locator(".pa-entry:visible").all_inner_texts()
        assert [re.sub(r"\s+", " ", text) for text in drawn] == [f"{c.year} {c.title}" for c in figure.shown]
        assert live.locator(".pa-opened-title").inner_text() == figure.opened.title
        assert live.locator(".pa-card-dot.pa-shown").count() == len(figure.shown)
    assert page.faults == []


def test_by_key_the_list_is_one_stop_and_opens_each_card(visit):
    page = visit()
    live = page.locator(".pa-live")
    assert live.locator('.pa-entry[tabindex="0"]').count() == 1
    live.locator('.pa-entry[tabindex="0"]').focus()
    page.keyboard.press("Home")  # of the row; the first row is reached by arrows
    for _ in range(20):
        page.keyboard.press("ArrowUp")
    assert state(page)["open"] == "widrow"
    page.keyboard.press("ArrowDown")
    assert state(page)["open"] == "kohonen"
    assert "Correlation matrix memory" in live.locator('.pa-entry[aria-pressed="true"]').inner_text()
    assert live.locator('.pa-entry[tabindex="0"]').count() == 1
    for _ in range(20):
        page.keyboard.press("ArrowDown")
    assert state(page)["open"] == "kimi"
    box, entry = (live.locator(name).bounding_box() for name in (".pa-entries", ".pa-entry.pa-open"))
    assert box["y"] <= entry["y"]
    assert entry["y"] + entry["height"] <= box["y"] + box["height"] + 1  # scrolled into the list


def test_a_line_can_be_followed_out_of_the_era_and_the_idea(visit):
    page = visit()
    live = page.locator(".pa-live")
    live.locator(".pa-segment", has_text="2020–").click()
    live.locator(".pa-entry:visible", has_text="Fast weights that correct themselves").click()
    live.locator(".pa-jump", has_text="The delta rule").first.click()
    assert state(page)["open"] == "widrow"
    assert state(page)["era"] == "1"
    assert live.get_by_role("radio", name="1953–79").is_checked()
    live.locator(".pa-segment", has_text="2014–16").click()
    assert state(page)["open"] == "ba"
    live.locator(".pa-jump", has_text="Align and translate").click()
    assert (state(page)["open"], state(page)["thread"]) == ("bahdanau", "0")
    assert live.locator(".pa-entry:focus").count() == 1


def test_the_dot_that_is_clicked_opens(visit):
    page = visit()
    dot = page.locator('.pa-live .pa-card-dot[title^="The transformer"]').bounding_box()
    page.mouse.click(dot["x"] + dot["width"] / 2 + 3, dot["y"] + dot["height"] / 2)
    assert state(page)["open"] == "vaswani"
    assert (
        page.locator(".pa-live .pa-sentence").inner_text().startswith("“The transformer” goes back 45 years")
    )


def test_the_lines_of_the_open_card_are_marked(visit, records):
    page = visit()
    at = next(i for i, record in enumerate(records) if record["name"] == "fast_weights")
    kin = timeline.forebears(records, at)
    edges = sum(old in kin for i in kin for old in records[i]["recurs"])
    live = page.locator(".pa-live")
    assert live.locator("path.pa-kinline").count() == edges
    assert live.locator("path.pa-heirline").count() == len(timeline.heirs(records, at))


@pytest.mark.parametrize("width", [1280, 390, 320])
def test_live_and_static_take_the_same_room_and_nothing_scrolls_sideways(visit, width):
    page = visit(viewport={"width": width, "height": 800})
    heights = page.evaluate("""(() => {
        const parts = [".pa-live", ".pa-static"].map((name) => document.querySelector(name));
        parts[1].style.display = "block";
        return parts.map((part) => part.firstElementChild.getBoundingClientRect().height);
    })()""")
    assert heights[0] == pytest.approx(heights[1], abs=1)
    assert page.evaluate("document.documentElement.scrollWidth") <= width


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 320])
def test_axe_finds_nothing(visit, node_modules, theme, width):
    page = visit(theme, viewport={"width": width, "height": 800})
    page.evaluate((node_modules / "axe-core" / "axe.min.js").read_text(encoding="utf-8"))
    run = "axe.run('main').then((r) => r.violations.map((v) => [v.id, v.nodes[0].html]))"
    assert page.evaluate(run) == []
    page.evaluate("""(() => {  // and the static picture, as if there were no scripts
        document.querySelector(".pa-live").remove();
        document.querySelector("figure[data-live]").removeAttribute("data-live");
    })()""")
    assert page.locator(".pa-static .pa-entries").is_visible()
    assert page.evaluate(run) == []


def test_fingers_get_44_pixels(visit):
    page = visit(viewport={"width": 390, "height": 800}, has_touch=True, is_mobile=True)
    heights = page.locator(".pa-live :is(.pa-segment, .pa-entry:not([hidden]), .pa-jump)").evaluate_all(
        "all => all.map((e) => e.getBoundingClientRect().height)"
    )
    assert len(heights) > 20
    assert min(heights) >= 44


def test_on_paper_and_without_scripts_every_card_stands(visit):
    page = visit(java_script_enabled=False)
    assert page.locator(".pa-static .pa-whole li").count() == len(CARDS)
    assert page.locator(".pa-static .pa-whole").is_visible()
    assert page.locator(".pa-static .pa-map").is_visible()
    page = visit()
    assert not page.locator(".pa-static .pa-whole").is_visible()
    page.emulate_media(media="print")
    assert page.locator(".pa-static .pa-whole").is_visible()
    assert not page.locator(".pa-live").is_visible()


def test_a_card_is_plain_data():
    assert json.loads(json.dumps(asdict(CARDS[0])))["name"] == "cherry"
