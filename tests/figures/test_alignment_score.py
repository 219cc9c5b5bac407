import contextlib
import json
import shutil

import numpy as np
import pytest

from attention_core import alignment, datasets
from attention_core.datasets import Pair
from attention_core.figures import AlignmentScore, alignment_score_static, base, stylesheet

from ..browser import eventually, serving
from .test_in_browser import ROOT, write

MODULE = base.module("alignment_score")
LOVE = Pair(
    ("I", "love", "you"), ("je", "t’", "aime"), frozenset({(0, 0), (1, 2), (2, 1)}),
    frozenset({(0, 0), (1, 2), (2, 1)}),
)  # fmt: skip
LOOK = Pair(
    ("look", "it", "up"),
    ("cherchez", "-le"),
    frozenset({(0, 0), (1, 1)}),
    frozenset({(0, 0), (0, 2), (1, 1)}),
)
PAIRS = {"I love you": LOVE, "look it up": LOOK}
PROPOSALS = {"mine": [{(0, 0), (1, 1)}, {(0, 2), (1, 1)}]}


def listed(links) -> list[list[int]]:
    return [list(link) for link in sorted(links)]


def as_example(pair, *starts) -> dict:
    """A pair as the view is told of it."""
    words = {"name": "x", "source": list(pair.source), "target": list(pair.target)}
    return {**words, "sure": listed(pair.sure), "possible": listed(pair.possible), "starts": list(starts)}


def random_cases(count=120):
    rng = np.random.default_rng(3)
    for _ in range(count):
        n, m = rng.integers(1, 6, 2)
        sure, possible, links = (
            frozenset((int(t), int(s)) for t in range(n) for s in range(m) if rng.random() < share)
            for share in (0.3, 0.3, rng.random())
        )
        sure = sure or frozenset({(0, 0)})
        words = [tuple(f"{letter}{i}" for i in range(k)) for letter, k in (("s", m), ("t", n))]
        yield Pair(*words, sure, sure | possible), links


# -- numbers and words -------------------------------------------------------------------------------------


def test_the_javascript_is_attention_cores_score(javascript):
    for pair, links in random_cases():
        drawn = javascript(MODULE, "measure", listed(links), listed(pair.sure), listed(pair.possible))
        scores = alignment.score([links], [pair])
        assert [drawn[name] for name in ("aer", "precision", "recall")] == pytest.approx(scores, abs=1e-12)


def test_python_and_javascript_say_the_same(javascript):
    for pair, links in random_cases():
        for shown in (True, False):
            given = as_example(pair), listed(links), shown
            assert javascript(MODULE, "describe", *given) == alignment_score_static.describe(
                pair, links, shown
            )
            count = javascript(MODULE, "measure", listed(links), listed(pair.sure), listed(pair.possible))
            facts = javascript(MODULE, "facts", count, shown)
            assert facts == alignment_score_static.facts(pair, links, shown)


def test_the_sentence_names_what_is_wrong_and_what_is_missed():
    said = alignment_score_static.describe(LOVE, frozenset({(0, 0), (1, 1)}), True)
    lead = "Error rate 0.600: 1 of 2 proposed links are possible, 1 of 3 sure links are found."
    assert said == [lead, "Wrong: t’–love.", "Missed: t’–you, aime–love."]
    assert alignment_score_static.describe(LOOK, LOOK.possible, True)[-1].startswith("Links that are only")
    assert "Nothing is wrong" in alignment_score_static.describe(LOOK, LOOK.sure, True)[-1]
    assert "nothing found" in alignment_score_static.describe(LOOK, frozenset(), True)[-1]


def test_nothing_of_the_gold_is_told_before_it_is_shown():
    hidden = AlignmentScore(PAIRS, start="diagonal", gold=False)
    html = hidden.static_html()
    assert "0.6" not in html.split('class="pa-view"')[1]
    assert "pa-cell pa-link pa-on pa-sure" not in html
    assert "1 − (? + ?) / (3 + ?) = ?" in html
    assert "3 links are proposed." in html


def test_a_picked_cell_says_what_it_would_change(javascript):
    example = as_example(LOOK)
    said = javascript(MODULE, "describe", example, [[0, 0]], True, [1, 1])
    assert said == [
        "“-le” with “it”: a sure link, missed.",
        "With it the error rate would be 0.000; it is 0.333.",
    ]
    said = javascript(MODULE, "describe", example, [[0, 0], [0, 1]], True, [0, 1])
    assert said[0] == "“cherchez” with “it”: proposed, and wrong."
    assert said[1] == "Without it the error rate would be 0.333; it is 0.500."


def test_turned_cells_count_for_the_start_on_which_they_were_turned(javascript):
    example = as_example(LOOK, [], [[0, 0], [1, 1]])
    turned = {"example": 0, "start": 1, "cells": [[1, 1], [0, 2]]}
    assert javascript(MODULE, "linksOf", example, 0, 1, turned) == [[0, 0], [0, 2]]
    assert javascript(MODULE, "linksOf", example, 0, 0, turned) == []
    assert javascript(MODULE, "linksOf", example, 1, 1, turned) == [[0, 0], [1, 1]]
    assert javascript(MODULE, "linksOf", example, 0, 1, {}) == [[0, 0], [1, 1]]


def test_python_follows_the_readers_cells():
    figure = AlignmentScore(PAIRS, PROPOSALS, sentence="look it up", start="mine")
    assert figure.proposed == {(0, 2), (1, 1)}
    figure.view.toggled = {"example": 1, "start": 3, "cells": [[0, 2], [0, 0]]}
    assert figure.proposed == {(0, 0), (1, 1)}
    assert figure.scores == alignment.score([LOOK.sure], [LOOK]) == (0.0, 1.0, 1.0)
    assert figure.weights.tolist() == [[1, 0, 0], [0, 1, 0]]
    figure.start.value = "diagonal"
    assert figure.proposed == alignment.diagonal([LOOK])[0]


def test_every_control_changes_the_picture():
    figure = AlignmentScore(PAIRS)
    seen = {figure.static_html()}
    for control, value in [
        (figure.start, "diagonal"), (figure.start, "everything"), (figure.sentence, "look it up"),
        (figure.gold, False),
    ]:  # fmt: skip
        control.value = value
        seen.add(figure.static_html())
    assert len(seen) == 5


def test_the_books_own_sentences_are_there_by_default():
    figure = AlignmentScore()
    assert list(figure.pairs) == list(datasets.showcase())
    assert [len(view["starts"]) for view in figure.view.examples] == [3] * len(figure.pairs)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"pairs": {}}, "`pairs` is empty"),
        ({"pairs": {"bare": Pair(("a",), ("b",))}}, "'bare' of `pairs` has no sure link"),
        (
            {"pairs": {"long": Pair(("a",) * 11, ("b",), frozenset(), frozenset())}},
            "1 to 10 words.*shorten it",
        ),
        ({"sentence": "look"}, "`sentence` must be one of 'I love you', 'look it up'; got 'look'"),
        ({"start": "gold"}, "`start` must be one of 'nothing', 'diagonal', 'everything'; got 'gold'"),
        ({"proposals": {"mine": [{(0, 0)}]}}, "got 1 sets for 2 pairs"),
        ({"proposals": {"mine": [{(3, 0)}, set()]}}, r"holds the link \(3, 0\)"),
        ({"proposals": {"diagonal": [set(), set()]}}, "may not be called 'diagonal'"),
    ],
)
def test_bad_input_is_refused_with_the_remedy(arguments, message):
    with pytest.raises(ValueError, match=message):
        AlignmentScore(**{"pairs": PAIRS, **arguments})


# -- in a real browser -------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def origin(tmp_path_factory):
    folder = tmp_path_factory.mktemp("page")
    shutil.copy(ROOT / "book" / "static" / "widget-host.js", folder)
    (folder / "figures.css").write_text(stylesheet(), encoding="utf-8")
    for theme in ("light", "dark"):
        write(folder, f"{theme}.html", [AlignmentScore(PAIRS, PROPOSALS, start="diagonal")], theme=theme)
    write(folder, "book.html", [AlignmentScore(start="everything")])
    long = "she will give you the key that you lost"
    write(folder, "long.html", [AlignmentScore(sentence=long, start="diagonal", gold=False)])
    with serving(folder) as address:
        yield address


@pytest.fixture
def open_at(browser, origin):
    """open_at(page, **context options) -> the live figure; `faults` of its page lists what went wrong."""
    with contextlib.ExitStack() as stack:

        def go(name="light", **options):
            page = stack.enter_context(contextlib.closing(browser.new_context(**options))).new_page()
            page.faults = []
            page.on("pageerror", lambda e: page.faults.append(str(e)))
            page.on("console", lambda m: m.type == "error" and page.faults.append(m.text))
            page.goto(f"{origin}/{name}.html")
            page.locator("figure[data-live]").wait_for()
            return page.locator(".pa-live")

        yield go


def drawn(live) -> dict:
    return live.locator(".pa-view").evaluate("view => ({...view.dataset})")


def shows(live, links, pair) -> None:
    """The picture, its numbers and its words are those of `links`."""
    seen = drawn(live)
    matrix = np.zeros((len(pair.target), len(pair.source)), int)
    for link in links:
        matrix[link] = 1
    assert json.loads(seen["weights"]) == matrix.tolist()
    scores = alignment.score([links], [pair])
    assert [float(seen[name]) for name in scores._fields] == pytest.approx(scores, abs=1e-12)
    cells = live.locator(".pa-link").evaluate_all("all => all.map(e => e.classList.contains('pa-on'))")
    assert cells == [bool(x) for x in matrix.ravel()]
    figures = live.locator(".pa-tile strong").all_inner_texts()
    assert figures == list(alignment_score_static.facts(pair, links, True).values())[:3]


def test_the_browser_draws_and_counts_every_start(open_at):
    live = open_at()
    figure = AlignmentScore(PAIRS, PROPOSALS)
    for sentence, pair in PAIRS.items():
        live.locator("select").select_option(sentence)
        figure.sentence.value = sentence
        for start in figure.starts:
            live.get_by_role("radio", name=start).check()
            figure.start.value = start
            shows(live, figure.proposed, pair)
            said = live.locator(".pa-sentence").inner_text()
            assert said == " ".join(alignment_score_static.describe(pair, figure.proposed, True))
    assert live.page.faults == []


def test_cells_are_turned_by_mouse_and_forgotten_with_the_start(open_at):
    live = open_at()
    cells = live.locator(".pa-link")
    cells.nth(4).click()  # t’ with love
    cells.nth(5).click()
    live.page.mouse.move(2, 2)
    shows(live, {(0, 0), (1, 2), (2, 2)}, LOVE)
    assert live.locator(".pa-sentence").inner_text().startswith("Error rate 0.333")
    live.get_by_role("radio", name="nothing").check()
    shows(live, set(), LOVE)


def test_cells_are_turned_by_keyboard_with_one_tab_stop(open_at):
    live = open_at()
    cells, keys = live.locator(".pa-link"), live.page.keyboard
    assert live.locator('.pa-link[tabindex="0"]').count() == 1
    cells.first.focus()
    keys.press("ArrowDown")
    keys.press("End")
    assert live.locator(".pa-sentence").inner_text().startswith("“t’” with “you”: a sure link, missed.")
    keys.press("Enter")
    assert cells.nth(5).get_attribute("aria-selected") == "true"
    shows(live, {(0, 0), (1, 1), (1, 2), (2, 2)}, LOVE)
    keys.press("Space")
    shows(live, {(0, 0), (1, 1), (2, 2)}, LOVE)
    spoken = live.locator(".pa-spoken")
    assert eventually(live.page, spoken.inner_text, lambda text: "missed" in text)


def test_gold_can_be_hidden_and_shown(open_at):
    live = open_at()
    live.get_by_role("checkbox").uncheck()
    assert drawn(live)["gold"] == "false"
    assert live.locator(".pa-link.pa-sure, .pa-link.pa-possible").count() == 0
    assert live.locator(".pa-tile strong").last.inner_text() == "?"
    assert live.locator(".pa-link").nth(0).get_attribute("aria-label") == "je with I: proposed"
    live.get_by_role("checkbox").check()
    assert live.locator(".pa-link.pa-sure").count() == 3
    assert live.locator(".pa-link").nth(0).get_attribute("aria-label").endswith("proposed, and a sure link")


@pytest.mark.parametrize("name", ["light", "book", "long"])
@pytest.mark.parametrize("width", [1280, 700, 390, 320])
def test_the_live_figure_takes_exactly_the_static_ones_place(open_at, name, width):
    page = open_at(name, viewport={"width": width, "height": 800}).page
    live, static = page.evaluate("""() => {
        const figure = document.querySelector('figure'), live = figure.offsetHeight;
        figure.removeAttribute('data-live');
        figure.querySelector('.pa-live').style.display = 'none';
        return [live, figure.offsetHeight];
    }""")
    assert abs(live - static) <= 1
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert page.faults == []


@pytest.mark.parametrize("name", ["light", "dark", "long"])
@pytest.mark.parametrize("width", [1280, 320])
def test_axe_finds_nothing(open_at, node_modules, name, width):
    page = open_at(name, viewport={"width": width, "height": 800}).page
    page.evaluate((node_modules / "axe-core" / "axe.min.js").read_text(encoding="utf-8"))
    assert (
        page.evaluate("axe.run('main').then((r) => r.violations.map((v) => [v.id, v.nodes[0].html]))") == []
    )


def test_fingers_get_44_pixels(open_at):
    live = open_at(viewport={"width": 390, "height": 900}, has_touch=True, is_mobile=True)
    sizes = live.locator(":is(.pa-link, select, .pa-segment)").evaluate_all(
        "all => all.map((e) => Math.min(e.offsetHeight, e.offsetWidth))"
    )
    assert min(sizes) >= 44
    live.locator(".pa-link").nth(5).tap()
    assert json.loads(drawn(live)["weights"])[1] == [0, 1, 1]
