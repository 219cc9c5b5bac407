import itertools
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from attention_core import attend
from attention_core.figures import Bottleneck, base, stylesheet
from attention_core.figures.bottleneck_static import describe, facts, half_life, share

from ..browser import serving
from .test_in_browser import ROOT, slide, visit, write  # noqa: F401

MODULE = base.module("bottleneck")


def by_running(length, gate):
    """What is left of each token, from the recurrence itself: one run a token, with a 1 where it stands."""
    state = np.zeros(length)
    for token in np.eye(length):
        state = gate * state + (1 - gate) * token
    return state / state[-1]


def cases(count=120):
    rng = np.random.default_rng(3)
    ends = [(2, 0.0), (60, 0.0), (2, 1.0), (60, 1.0), (60, 0.01), (60, 0.99), (9, 0.5), (3, 0.9995)]
    return [*ends, *((int(rng.integers(2, 61)), float(rng.uniform())) for _ in range(count))]


# -- what the figure claims --------------------------------------------------------------------------------


@pytest.mark.parametrize("gate", [0.05, 0.5, 0.8, 0.99])
@pytest.mark.parametrize("length", [2, 7, 60])
def test_the_state_keeps_older_tokens_less_and_direct_links_keep_all_alike(length, gate):
    state, direct = Bottleneck(length, gate).weights
    assert (np.diff(state) > 0).all()
    assert (direct == 1).all()


def test_what_is_left_is_what_the_recurrence_leaves():
    for length, gate in cases(40):
        if gate < 1:
            np.testing.assert_allclose(
                Bottleneck(length, gate).weights[0], by_running(length, gate), atol=1e-12
            )


def test_the_shares_are_attentions_with_a_fixed_bias_and_with_none():
    for length, gate in cases(20):
        state, direct = Bottleneck(length, gate).shares
        assert state.sum() == pytest.approx(1)
        nothing = torch.zeros(1, 1).double(), torch.zeros(length, 1).double()
        np.testing.assert_allclose(direct, attend(*nothing, nothing[1]).weights[0], atol=1e-15)
        if 0 < gate < 1:
            powers = gate ** np.arange(length)[::-1]
            np.testing.assert_allclose(state, powers / powers.sum(), atol=1e-12)


def test_gate_zero_keeps_the_newest_token_and_gate_one_fades_nothing():
    np.testing.assert_array_equal(Bottleneck(5, 0).weights[0], [0, 0, 0, 0, 1])
    np.testing.assert_array_equal(Bottleneck(5, 1).weights[0], np.ones(5))


def test_half_is_left_after_the_half_life():
    for _, gate in cases(30):
        if 0 < gate < 1:
            assert gate ** half_life(gate) == pytest.approx(0.5)
    assert half_life(0.5) == 1


# -- JavaScript ----------------------------------------------------------------------------------------------


def test_javascript_retains_as_attention_core_does(javascript):
    drawn = javascript(MODULE, "(all) => all.map((c) => retained(...c))", cases())
    assert len(drawn) >= 100
    for (length, gate), kept in zip(cases(), drawn, strict=True):
        np.testing.assert_allclose(kept, Bottleneck(length, gate).weights[0], atol=1e-6)


def test_python_and_javascript_say_the_same(javascript):
    said = javascript(MODULE, "(all) => all.map((c) => [describe(...c), facts(...c)])", cases())
    for (length, gate), spoken in zip(cases(), said, strict=True):
        kept = Bottleneck(length, gate).weights[0].tolist()
        assert spoken == [describe(kept, gate), facts(kept, gate)]


def test_shares_never_claim_all_or_nothing():
    assert [share(x) for x in (0, 1e-9, 0.00154, 0.064, 0.25, 0.996, 0.99999, 1)] == [
        "0\u00a0%", "under 0.01\u00a0%", "0.15\u00a0%", "6.4\u00a0%", "25\u00a0%", "99.6\u00a0%",
        "over 99.9\u00a0%", "100\u00a0%",
    ]  # fmt: skip


def test_the_sentence_is_true():
    figure = Bottleneck(30, 0.8)
    said = describe(figure.weights[0].tolist(), 0.8)
    assert said[0] == f"At gate 0.80 one state keeps {100 * 0.8**29:.2f}\u00a0% of the token 29 back."
    assert said[1].startswith("Half is gone after 3.1 tokens; 1\u00a0% or more is left of 21 of 30.")
    assert 0.8**20 >= 0.01 > 0.8**21
    assert "writes nothing" in describe(Bottleneck(5, 1).weights[0].tolist(), 1)[0]


# -- the class -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"length": 1}, "`length` must be an integer from 2 to 60; got 1"),
        ({"length": 61}, "`length` must be an integer from 2 to 60"),
        ({"length": 2.5}, "`length` must be an integer"),
        ({"gate": -0.1}, "`gate` must lie between 0 and 1"),
        ({"gate": 1.5}, "`gate` must lie between 0 and 1"),
    ],
)
def test_bad_input_is_refused_with_the_remedy(unchecked, arguments, message):
    with pytest.raises(ValueError, match=message):
        Bottleneck(**arguments)


def test_the_static_picture_has_a_bar_and_a_link_for_each_token():
    for length in (2, 8, 9, 60):
        html = Bottleneck(length, 0.7).static_html()
        assert html.count('class="pa-neck-bar"') == html.count("<path") == length
        assert (">1.00<" in html) == (length <= 8)  # numbers stand on few bars only


# -- in a browser --------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def origin(tmp_path_factory):
    folder = tmp_path_factory.mktemp("bottleneck")
    shutil.copy(ROOT / "book" / "static" / "widget-host.js", folder)
    (folder / "figures.css").write_text(stylesheet(), encoding="utf-8")
    for theme in ("light", "dark"):
        write(folder, f"{theme}.html", [Bottleneck()], theme=theme)
    write(folder, "few.html", [Bottleneck(3, 0.5)])
    write(folder, "many.html", [Bottleneck(60, 0.97)])
    with serving(folder) as address:
        yield address


def drawn(page) -> np.ndarray:
    return np.array(json.loads(page.locator(".pa-live .pa-view").get_attribute("data-weights")))


def test_the_host_draws_the_same_bars(visit, origin):  # noqa: F811
    page = visit(f"{origin}/light.html", live=1)
    length, gate = page.locator(".pa-live input[type=range]").all()
    for n, g in itertools.product((2, 5, 30, 60), (0, 0.01, 0.5, 0.93, 1)):
        slide(length, n)
        slide(gate, g)
        expected = Bottleneck(n, g)
        np.testing.assert_allclose(drawn(page), expected.weights, atol=1e-12)
        box = page.locator(".pa-live .pa-neck-box")
        tall = box.evaluate("(e) => [...e.querySelectorAll('i')].map((b) => parseFloat(b.style.height))")
        np.testing.assert_allclose(np.array(tall) / 100, expected.weights[0], atol=1e-6)
        assert page.locator(".pa-live .pa-neck-links path").count() == n
        said = page.locator(".pa-live .pa-sentence").inner_text()
        assert said == " ".join(describe(expected.weights[0].tolist(), g))
        half = page.locator(".pa-live .pa-neck-half")
        assert half.is_visible() == (0 < g < 1 and half_life(g) <= n - 0.5)
    assert page.faults == []


def test_both_controls_work_by_keyboard(visit, origin):  # noqa: F811
    page = visit(f"{origin}/light.html", live=1)
    view = page.locator(".pa-live .pa-view")
    page.locator(".pa-live input[type=range]").first.focus()
    page.keyboard.press("End")
    assert view.get_attribute("data-length") == "60"
    page.keyboard.press("Tab")
    page.keyboard.press("ArrowRight")
    assert view.get_attribute("data-gate") == "0.81"
    page.wait_for_timeout(300)
    assert page.locator(".pa-live .pa-spoken").inner_text().startswith("At gate 0.81 one state keeps")


@pytest.mark.parametrize("name", ["light", "dark", "few", "many"])
@pytest.mark.parametrize("width", [1280, 390, 320])
def test_it_fits_is_accessible_and_takes_its_static_pictures_place(visit, origin, node_modules, name, width):  # noqa: F811
    page = visit(f"{origin}/{name}.html", live=1, viewport={"width": width, "height": 800})
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    page.evaluate((Path(node_modules) / "axe-core" / "axe.min.js").read_text(encoding="utf-8"))
    assert (
        page.evaluate("axe.run('main').then((r) => r.violations.map((v) => [v.id, v.nodes[0].html]))") == []
    )
    parts = ".pa-tile, .pa-neck-ends, .pa-neck-bar, .pa-neck-half:not([hidden]), .pa-caption"
    words = f"(card) => [...card.querySelectorAll('{parts}')].map((e) => e.textContent)"
    live, still = (page.locator(f"{side} .pa-view").evaluate(words) for side in (".pa-live", ".pa-static"))
    assert live == still
    heights = page.evaluate("""[...document.querySelectorAll('figure')].map((f) => {
        const live = f.offsetHeight;
        f.removeAttribute('data-live');
        f.querySelector('.pa-live').style.display = 'none';
        return [live, f.offsetHeight];
    })""")
    assert all(abs(live - still) <= 1 for live, still in heights), heights
