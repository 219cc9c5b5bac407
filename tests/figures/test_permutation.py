import contextlib
import itertools
import json
import shutil

import numpy as np
import pytest
import torch

from attention_core import masks, positions, reference
from attention_core.figures import Permutation, base, permutation, permutation_static, stylesheet
from attention_core.pipeline import attend

from ..browser import serving
from .test_in_browser import ROOT, write

MODULE = base.module("permutation")
MODES = ("none", "sinusoidal", "RoPE", "causal mask")
ORDERS = list(itertools.permutations(range(4)))


@pytest.fixture(scope="module")
def made():
    return Permutation()


@pytest.fixture
def figure(made):
    made.order.index, made.positions.index = 14, 0
    return made


def f(x, projections, mode):
    """One head of self-attention, written out."""
    x, projections = torch.from_numpy(np.array(x)), torch.from_numpy(projections)
    if mode == "sinusoidal":
        x = x + positions.sinusoidal(*x.shape, dtype=torch.float64)
    query, key, value = (x @ w for w in projections)
    if mode == "RoPE":
        query, key = positions.rope(query), positions.rope(key)
    mask = masks.causal(len(x)) if mode == "causal mask" else None
    return attend(query, key, value, mask=mask)


def random_cases(count=120):
    rng = np.random.default_rng(5)
    for _ in range(count):
        n, d = int(rng.integers(2, 5)), 2 * int(rng.integers(1, 9))
        yield rng.normal(size=(n, d)), rng.normal(size=(3, d, d)) / d**0.5, rng.permutation(n).tolist()


def test_without_positions_permuting_and_attending_commute():
    for x, projections, order in random_cases():
        compared = permutation.compare(x, projections, order, 0)
        np.testing.assert_allclose(compared.output, compared.expected, rtol=0, atol=1e-12)
        np.testing.assert_array_equal(compared.expected, f(x, projections, "none").output[order])


@pytest.mark.parametrize("mode", [1, 2, 3])
def test_with_positions_they_do_not(made, mode):
    for order in ORDERS[1:]:
        compared = permutation.compare(*made.vectors, order, mode)
        assert compared.gaps.max() > 0.01, (MODES[mode], order)
    assert permutation.compare(*made.vectors, ORDERS[0], mode).gaps.max() == 0


def test_what_is_compared_is_attention_cores():
    for x, projections, order in random_cases():
        for mode, name in enumerate(MODES):
            compared = permutation.compare(x, projections, order, mode)
            after = f(x[order], projections, name)
            np.testing.assert_array_equal(compared.output, after.output)
            np.testing.assert_array_equal(compared.weights, after.weights)


def test_the_matrix_is_the_first_one_with_rows_and_columns_permuted(made):
    first = f(*made.vectors, "none").weights.numpy()
    for index, order in enumerate(ORDERS):
        made.order.index, made.positions.index = index, 0
        np.testing.assert_allclose(made.weights, first[np.ix_(order, order)], rtol=0, atol=1e-12)


def test_the_figure_agrees_with_the_loops_of_the_reference(figure):
    query, key, value = (figure.vectors[0][[2, 1, 0, 3]] @ w for w in figure.vectors[1])
    slow = reference.attend(query, key, value)
    np.testing.assert_allclose(figure.compared.output, slow[0], rtol=0, atol=1e-12)


def test_the_frames_are_exact_and_within_budget(made):
    size = 16 + 4 * 8 + 4
    frames = np.frombuffer(made.view.frames, "<f8").reshape(4, 24, size)
    assert frames.shape[0] * frames.shape[1] <= base.MOST_FRAMES
    for mode in range(4):
        for index, order in enumerate(ORDERS):
            compared = permutation.compare(*made.vectors, order, mode)
            parts = [compared.weights.ravel(), compared.output.ravel(), compared.gaps]
            np.testing.assert_array_equal(frames[mode, index], np.concatenate(parts))
    biggest = Permutation("a b c d", np.ones((4, 16)))
    assert len(biggest.view.frames) <= base.MOST_BYTES


def test_the_dropdown_lists_every_order_by_its_words(made):
    assert made.order.options[0][0] == "dog bites man again"
    assert made.order.options[14][0] == "man bites dog again"
    assert made.view.orders == [list(order) for order in ORDERS]


def test_every_control_changes_the_picture_and_sends_exact_numbers(figure):
    for control, index in [
        (figure.order, 3),
        (figure.positions, 1),
        (figure.positions, 2),
        (figure.order, 23),
        (figure.positions, 3),
    ]:
        before = figure.weights, figure.static_html()
        control.index = index
        assert not np.allclose(figure.weights, before[0])
        assert figure.static_html() != before[1]
        sent = figure.view.exact
        assert (sent["order"], sent["mode"]) == (figure.order.index, figure.positions.index)
        np.testing.assert_array_equal(sent["weights"], figure.weights)
        np.testing.assert_array_equal(sent["expected"], figure.compared.expected)
        assert max(sent["gaps"]) == figure.gap


def stated(figure, mode: int, index: int) -> tuple:
    """What `describe` is told of one state."""
    now, first = figure.frames[mode][index], figure.frames[mode][0]
    gap = float(now.gaps.max())
    return figure.words, figure.orders[index], now.weights, first.weights, gap, figure.worst[mode]


def every_state(*figures):
    for figure in figures:
        for mode, index in itertools.product(range(4), range(len(figure.orders))):
            yield figure.frames[mode], stated(figure, mode, index)


@pytest.fixture(scope="module")
def some(made):
    """The first picture, one with a word that comes twice, and ones whose words are all alike or nothing."""
    alike = Permutation("a b", np.ones((2, 4)))
    nothing = Permutation("x y z", np.zeros((3, 2)))
    return made, Permutation("the dog the man"), alike, nothing


def test_python_and_javascript_say_the_same(some, javascript):
    for _, (words, order, weights, first, gap, worst) in every_state(*some):
        spoken = javascript(
            MODULE, "describe", words, list(order), weights.tolist(), first.tolist(), gap, worst
        )
        assert spoken == permutation.describe(words, order, weights, first, gap, worst)


def test_what_the_sentence_says_is_so(some):
    for line, (words, order, weights, first, gap, worst) in every_state(*some):
        lead, *rest = permutation.describe(words, order, weights, first, gap, worst)
        still = list(order) == sorted(order)
        assert ("Nothing has moved" in lead) == still
        assert ("Order matters" in lead) == (gap >= 1e-12)
        if not still:
            unchanged = np.allclose(weights, first[np.ix_(order, order)], rtol=0, atol=1e-12)
            assert ("No weight changed:" in " ".join(rest)) == unchanged
            everywhere = max(np.abs(f.output - f.expected).max() for f in line) < 1e-12
            assert ("It is so for every order" in " ".join(rest)) == everywhere


def test_a_picked_cell_is_compared_with_the_first_order(figure, javascript):
    words, order, weights, first, gap, worst = stated(figure, 2, 14)
    given = words, list(order), weights.tolist(), first.tolist(), gap, worst
    said = javascript(MODULE, "describe", *given, [0, 2])
    now, before = (f"{round(100 * w)}\u00a0%" for w in (weights[0, 2], first[2, 0]))
    assert said[0] == f"“man” gives “dog” {now} here, and {before} in the first order."
    assert javascript(MODULE, "describe", *given, [1, 1])[0].startswith("“bites” gives itself")


def test_small_numbers_are_written_alike(javascript):
    rng = np.random.default_rng(2)
    for x in [0.0, 1.0, 0.001, 9.96e-4, 1e-16, *10 ** rng.uniform(-18, 1, size=100)]:
        assert javascript(MODULE, "small", float(x)) == permutation_static.small(float(x))
    assert permutation_static.small(1.11e-16) == "1.1 × 10⁻¹⁶"
    assert permutation_static.small(9.96e-4) == "1.0 × 10⁻³"


def test_python_and_javascript_draw_the_same_threads(javascript):
    for order in [*ORDERS, (1, 0), (2, 0, 1)]:
        assert javascript(MODULE, "threads", list(order)) == permutation_static.threads(order)


def test_a_carried_word_moves_and_the_others_keep_their_order(javascript):
    assert javascript(MODULE, "carry", [3, 0, 2, 1], 0, 2) == [0, 2, 3, 1]
    for order in ORDERS:
        for start in range(4):
            for end in range(4):
                carried = list(order)
                carried.insert(end, carried.pop(start))
                assert javascript(MODULE, "carry", list(order), start, end) == carried


def test_the_static_picture_holds_both_outputs_and_the_difference(figure):
    html = figure.static_html()
    assert html.count('class="pa-strip"') == 12
    assert "largest |f(PX) − P f(X)| = <strong>" + permutation_static.small(figure.gap) in html
    assert "man, f(PX): " + ", ".join(permutation_static.fixed(x) for x in figure.compared.output[0]) in html


def test_readers_bring_their_own_words_and_vectors():
    rng = np.random.default_rng(0)
    x, projections = rng.normal(size=(3, 4)), rng.normal(size=(3, 4, 4))
    own = Permutation("a b c", x, projections, order=(1, 2, 0), positions="RoPE")
    np.testing.assert_array_equal(own.weights, f(x[[1, 2, 0]], projections, "RoPE").weights)
    assert own.order.label == "b c a"
    twice = Permutation("the dog the man")
    np.testing.assert_array_equal(twice.vectors[0][0], twice.vectors[0][2])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"words": "alone"}, "`words` must be 2 to 4 words; got 1"),
        ({"words": "far too many words here"}, "`words` must be 2 to 4 words; got 5: shorten"),
        ({"words": "a b", "embeddings": np.ones((3, 4))}, r"`embeddings` must have shape \(2, d\)"),
        ({"words": "a b", "embeddings": np.ones((2, 3))}, "with d even and at most 16"),
        ({"words": "a b", "embeddings": np.ones((2, 18))}, "with d even and at most 16"),
        ({"words": "a b", "embeddings": [[1, np.inf], [0, 0]]}, "`embeddings` must be finite"),
        ({"projections": np.ones((3, 4, 4))}, r"`projections` must have shape \(3, 8, 8\)"),
        ({"order": (0, 1, 2)}, "`order` must hold each of 0 to 3 once"),
        ({"order": (0, 1, 2, 2)}, "`order` must hold each of 0 to 3 once"),
        ({"positions": "learned"}, "`positions` must be one of 'none', 'sinusoidal', 'RoPE', 'causal mask'"),
    ],
)
def test_bad_input_is_refused_with_the_remedy(arguments, message):
    with pytest.raises(ValueError, match=message):
        Permutation(**arguments)


# -- in a real browser -------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def origin(tmp_path_factory):
    folder = tmp_path_factory.mktemp("page")
    shutil.copy(ROOT / "book" / "static" / "widget-host.js", folder)
    (folder / "figures.css").write_text(stylesheet(), encoding="utf-8")
    for theme in ("light", "dark"):
        write(folder, f"{theme}.html", [Permutation()], theme=theme)
    with serving(folder) as address:
        yield address


@pytest.fixture
def open_at(browser, origin):
    """open_at(theme, **context options) -> the live figure; `faults` of its page lists what went wrong."""
    with contextlib.ExitStack() as stack:

        def go(theme="light", **options):
            page = stack.enter_context(contextlib.closing(browser.new_context(**options))).new_page()
            page.faults = []
            page.on("pageerror", lambda e: page.faults.append(str(e)))
            page.on("console", lambda m: m.type == "error" and page.faults.append(m.text))
            page.goto(f"{origin}/{theme}.html")
            page.locator("figure[data-live]").wait_for()
            return page.locator(".pa-live")

        yield go


def drawn(live) -> dict:
    return live.locator(".pa-view").evaluate("view => ({...view.dataset})")


@pytest.mark.parametrize("width", [1280, 700, 390, 320])
def test_the_live_figure_takes_exactly_the_static_ones_place(open_at, width):
    page = open_at(viewport={"width": width, "height": 800}).page
    live, static = page.evaluate("""() => {
        const figure = document.querySelector('figure'), live = figure.offsetHeight;
        figure.removeAttribute('data-live');
        figure.querySelector('.pa-live').style.display = 'none';
        return [live, figure.offsetHeight];
    }""")
    assert abs(live - static) <= 1
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert page.faults == []


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 320])
def test_axe_finds_nothing(open_at, node_modules, theme, width):
    page = open_at(theme, viewport={"width": width, "height": 800}).page
    page.evaluate((node_modules / "axe-core" / "axe.min.js").read_text(encoding="utf-8"))
    assert (
        page.evaluate("axe.run('main').then((r) => r.violations.map((v) => [v.id, v.nodes[0].html]))") == []
    )


def order(live) -> list[int]:
    return json.loads(drawn(live)["permutation"])


def test_the_browser_draws_what_was_compared_in_every_order(open_at, made):
    live = open_at()
    for mode in range(4):
        live.get_by_role("radio").nth(mode).check()
        for index in range(24):
            live.locator("select").select_option(index=index)
            seen, frame = drawn(live), made.frames[mode][index]
            for name in ("weights", "output", "expected"):
                np.testing.assert_array_equal(json.loads(seen[name]), getattr(frame, name))
            assert float(seen["gap"]) == frame.gaps.max()
    assert live.page.faults == []


def test_a_word_is_dragged_by_mouse_and_the_dropdown_follows(open_at):
    live = open_at()
    mouse, chip = live.page.mouse, live.locator(".pa-loose").nth(2).bounding_box()
    mouse.move(chip["x"] + 20, chip["y"] + 16)
    mouse.down()
    mouse.move(chip["x"] - 2 * chip["width"], chip["y"] + 30, steps=8)
    mouse.up()
    assert order(live) == [0, 2, 1, 3]
    assert live.locator("select").input_value() == "dog man bites again"
    assert live.page.evaluate("document.activeElement.textContent") == "dog"
    assert live.locator(".pa-loose").first.evaluate("e => e.style.translate") == ""


def test_a_word_is_dragged_by_finger(open_at):
    live = open_at(viewport={"width": 390, "height": 900}, has_touch=True, is_mobile=True)
    first = live.locator(".pa-loose").first
    first.scroll_into_view_if_needed()
    chip, session = first.bounding_box(), live.page.context.new_cdp_session(live.page)
    for step in range(9):
        at = {"x": chip["x"] + 30 + step * chip["width"] / 3, "y": chip["y"] + 16}
        kind = "touchMove" if step else "touchStart"
        session.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": [at]})
    session.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})
    assert order(live) == [1, 0, 2, 3]  # "man" has passed two places
    heights = live.locator(":is(.pa-order-button, select, .pa-segment)").evaluate_all(
        "all => all.map((e) => e.offsetHeight)"
    )
    assert min(heights) >= 44


def test_words_move_by_keyboard_and_keep_the_focus(open_at):
    live = open_at()
    keys, chips = live.page.keyboard, live.locator(".pa-loose")
    assert live.locator('.pa-loose[tabindex="0"]').count() == 1
    chips.first.focus()
    keys.press("Shift+ArrowRight")
    assert order(live) == [1, 2, 0, 3]
    assert live.page.evaluate("document.activeElement.textContent") == "man"
    keys.press("End")
    keys.press("Enter")
    assert chips.last.get_attribute("aria-pressed") == "true"
    keys.press("Shift+ArrowRight")  # there is no further place
    assert order(live) == [1, 2, 0, 3]


def test_every_button_reorders(open_at):
    live = open_at()
    for name, expected in [
        ("Move right", [2, 1, 3, 0]),
        ("Reverse", [0, 3, 1, 2]),
        ("Rotate", [2, 0, 3, 1]),
        ("Move left", [0, 2, 3, 1]),
        ("Reset", [0, 1, 2, 3]),
    ]:
        live.get_by_role("button", name=name).click()
        assert order(live) == expected, name
    assert live.get_by_role("button", name="Move left").get_attribute("aria-disabled") == "true"
    assert "Nothing has moved" in live.locator(".pa-sentence").inner_text()


def test_a_cell_of_the_matrix_can_be_locked_and_released(open_at):
    live = open_at()
    live.locator(".pa-cell").nth(2).click()
    live.page.mouse.move(2, 2)
    assert "“man” gives “dog”" in live.locator(".pa-sentence").inner_text()
    live.page.keyboard.press("Escape")
    assert "Only the order changed" in live.locator(".pa-sentence").inner_text()
