import itertools
import shutil

import numpy as np
import pytest
import torch

from attention_core import masks
from attention_core.figures import MaskEditor, base, mask_rules, stylesheet
from attention_core.figures.mask_rules import Rules
from attention_core.pipeline import attend

from ..browser import eventually, serving
from .test_in_browser import ROOT, drawn, slide, visit, write  # noqa: F401

MODULE = base.module("mask_editor")
COMPUTE = "(s, r, o) => compute((i, j) => s[i][j], r, o ? (i, j) => o[i][j] : undefined)"
DESCRIBE = (
    "(s, r, o, c) => { const own = o ? (i, j) => o[i][j] : undefined; "
    "return describe(compute((i, j) => s[i][j], r, own), r, own, c); }"
)


@pytest.fixture(scope="module")
def scores():
    return MaskEditor().scores


def every_rule():
    """All combinations of rules, on and off, at two lengths."""
    some = itertools.product((8, 13), (0, 1), (0, 1, 5, 32), (0, 1, 3, 16), (1, 2, 3), (0.0, 0.0625), (0, 20))
    return [Rules(*chosen) for chosen in some]


def random_rules(count=130):
    rng = np.random.default_rng(3)
    for i in range(count):
        n = 64 if i < 3 else int(rng.integers(8, 33))
        yield Rules(
            n, causal=int(rng.integers(2)), window=int(rng.integers(12)) * (i % 2),
            prefix=int(rng.integers(8)) * (i % 3 > 0), documents=int(rng.integers(1, 4)),
            alibi=int(rng.integers(17)) / 16, softcap=int(rng.integers(51)) * (i % 2),
        )  # fmt: skip


def own_mask(n, seed=0):
    """Half the pairs, and a row that may read nothing."""
    mask = np.random.default_rng(seed).random((n, n)) < 0.5
    mask[2] = False
    return mask


def expected(scores, rules, own=None):
    """`attend` with the mask and the bias of the rules, put together pair by pair."""
    n = rules.n
    ends = {1: (), 2: (n * 2 // 5,), 3: (n * 3 // 10, n * 7 // 10)}[rules.documents]
    document = [sum(i >= end for end in ends) for i in range(n)]
    mask = torch.zeros(n, n, dtype=torch.bool)
    for i, j in itertools.product(range(n), repeat=2):
        near = (not rules.causal or j <= i) and (not rules.window or abs(i - j) < rules.window)
        mask[i, j] = (near or j < rules.prefix) and document[i] == document[j]
    if own is not None:
        mask &= torch.from_numpy(own[:n, :n])
    place = torch.arange(n, dtype=torch.float64)
    raw = torch.tensor(scores[:n, :n])
    capped = rules.softcap * torch.tanh(raw / rules.softcap) if rules.softcap else raw
    blank = torch.zeros(n, 1, dtype=torch.float64)
    bias = rules.alibi * (place[None] - place[:, None])
    return mask.numpy(), attend(blank, blank, blank, score=lambda q, k: capped, mask=mask, bias=bias).weights


def test_the_weights_are_attention_cores(javascript, scores):
    for rules in random_rules():
        mask, weights = expected(scores, rules)
        drawing = mask_rules.compute(scores, rules)
        np.testing.assert_array_equal(drawing.allowed, mask)
        np.testing.assert_allclose(drawing.weights, weights, atol=1e-12)
        live = javascript(MODULE, COMPUTE, scores[: rules.n, : rules.n].tolist(), rules._asdict(), None)
        np.testing.assert_array_equal(live["allowed"], mask)
        np.testing.assert_allclose(live["weights"], weights, atol=1e-12)
        np.testing.assert_allclose(live["adjusted"], drawing.adjusted, atol=1e-12)


def test_a_mask_of_the_readers_makes_the_rules_stricter(javascript, scores):
    own = own_mask(64)
    for rules in list(random_rules(40))[3:]:
        mask, weights = expected(scores, rules, own)
        assert (mask <= own[: rules.n, : rules.n]).all()
        drawing = mask_rules.compute(scores, rules, own)
        np.testing.assert_array_equal(drawing.allowed, mask)
        np.testing.assert_allclose(drawing.weights, weights, atol=1e-12)
        assert not drawing.weights[2].any()  # it may read nothing: zeros
        live = javascript(
            MODULE, COMPUTE, scores[: rules.n, : rules.n].tolist(), rules._asdict(), own.tolist()
        )
        np.testing.assert_array_equal(live["allowed"], mask)
        np.testing.assert_allclose(live["weights"], weights, atol=1e-12)


def test_causal_leaves_no_weight_on_the_future(javascript, scores):
    for rules in random_rules():
        weights = mask_rules.compute(scores, rules._replace(causal=1)).weights
        ahead = np.triu(np.ones(weights.shape, bool), 1)
        ahead[:, : rules.prefix] = False  # a prefix is seen by all
        assert weights[ahead].max() == 0
        plain = rules._replace(causal=1, prefix=0)
        live = javascript(MODULE, COMPUTE, scores[: rules.n, : rules.n].tolist(), plain._asdict(), None)
        assert np.triu(live["weights"], 1).max() == 0


@pytest.mark.parametrize("size", [1, 2, 7, 32])
def test_a_row_of_a_window_has_exactly_as_many_keys(size):
    figure = MaskEditor(n=40, window=size)
    assert figure.mask.sum(axis=1).tolist() == [min(size, i + 1) for i in range(40)]
    assert (figure.weights > 0).sum(axis=1).tolist() == [min(size, i + 1) for i in range(40)]


def test_rows_sum_to_one_and_none_is_empty(scores):
    for rules in random_rules(60):
        np.testing.assert_allclose(mask_rules.compute(scores, rules).weights.sum(axis=1), 1, atol=1e-12)


# -- the code ----------------------------------------------------------------------------------------------


def run(script, own=None):
    """The script's two functions and its mask, as a reader gets them by pasting it."""
    names = {name: getattr(masks, name) for name in ("causal", "window", "prefix", "padding", "document")}
    space = {"torch": torch, **names, "own": None if own is None else torch.from_numpy(own)}
    exec(script, space)
    return space["mask_mod"], space["score_mod"], space["mask"]


def pairs(n):
    place = torch.arange(n)
    return None, None, place[:, None], place[None]


@pytest.mark.parametrize("given", [False, True])
def test_both_codes_say_the_mask_of_every_combination(given, scores):
    own = own_mask(16) if given else None
    for rules in every_rule():
        drawing = mask_rules.compute(scores, rules, own)
        mask_mod, score_mod, mask = run(mask_rules.script(rules, given), own)
        said = mask_mod(*pairs(rules.n)).expand(rules.n, rules.n)
        np.testing.assert_array_equal(said.numpy(), drawing.allowed, err_msg=str(rules))
        ours = torch.ones(rules.n, rules.n, dtype=torch.bool) if mask is None else mask
        np.testing.assert_array_equal(ours.expand(rules.n, rules.n).numpy(), drawing.allowed, str(rules))
        adjusted = score_mod(torch.tensor(scores[: rules.n, : rules.n]), *pairs(rules.n))
        np.testing.assert_allclose(adjusted.numpy(), drawing.adjusted, atol=1e-12)


@pytest.mark.parametrize("given", [False, True])
def test_python_and_javascript_write_the_same_code(given, javascript):
    every = every_rule() + list(random_rules())
    written = javascript(
        MODULE,
        f"(all) => all.map((r) => script(r, {str(given).lower()}))",
        [rules._asdict() for rules in every],
    )
    assert written == [mask_rules.script(rules, given) for rules in every]


@pytest.mark.parametrize(
    ("rules", "lines"),
    [
        (Rules(24), ["return q_idx >= kv_idx", "return score", "mask = causal(24)"]),
        (Rules(24, causal=0), ["return kv_idx >= 0", "mask = None"]),
        (
            Rules(24, window=8),
            ["return (q_idx >= kv_idx) & (q_idx - kv_idx < 8)", "mask = causal(24) & window(24, size=8)"],
        ),
        (Rules(24, causal=0, window=8), ["abs(q_idx - kv_idx) < 8", "window(24, size=8, causal=False)"]),
        (Rules(24, prefix=3), ["(q_idx >= kv_idx) | (kv_idx < 3)", "mask = prefix(24, length=3)"]),
        (Rules(10, documents=2), ["doc_id = torch.tensor([0] * 4 + [1] * 6)", "& document(doc_id)"]),
        (
            Rules(24, softcap=20, alibi=0.25),
            ["return 20 * torch.tanh(score / 20) + 0.25 * (kv_idx - q_idx)"],
        ),
    ],
)
def test_the_code_is_short(rules, lines):
    script = mask_rules.script(rules)
    for line in lines:
        assert line in script


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    "rules",
    [
        Rules(24),
        Rules(24, causal=0),
        Rules(24, causal=0, window=5, alibi=0.125),
        Rules(32, window=9, prefix=4, documents=2, alibi=0.125, softcap=5),
        Rules(17, prefix=3, documents=3, softcap=20),
    ],
)
def test_flex_attention_takes_the_code_as_it_is(rules):
    from torch.nn.attention.flex_attention import create_block_mask, flex_attention

    mask_mod, score_mod, mask = run(mask_rules.script(rules))
    query, key, value = torch.randn(3, 1, 1, rules.n, 16, dtype=torch.float64)
    block_mask = create_block_mask(mask_mod, None, None, rules.n, rules.n, device="cpu")
    theirs = flex_attention(query, key, value, score_mod=score_mod, block_mask=block_mask)

    def score(query, key):
        return score_mod(query @ key.mT / 4, *pairs(rules.n))

    ours = attend(query[0, 0], key[0, 0], value[0, 0], score=score, mask=mask).output
    torch.testing.assert_close(theirs[0, 0], ours, atol=1e-9, rtol=0)


# -- words, controls, errors -------------------------------------------------------------------------------


def test_python_and_javascript_say_the_same(javascript, scores):
    rng = np.random.default_rng(8)
    own = own_mask(64)
    flat = np.zeros((64, 64))
    for rules in list(random_rules(50))[3:]:
        n = rules.n
        for given, mine, cell in [
            (scores, None, None),
            (scores, own, None),
            (flat, own, (2, 0)),
            (scores, None, tuple(rng.integers(n, size=2).tolist())),
            (50 * scores, own, tuple(rng.integers(n, size=2).tolist())),
        ]:
            sent = None if mine is None else mine.tolist()
            spoken = javascript(MODULE, DESCRIBE, given[:n, :n].tolist(), rules._asdict(), sent, cell)
            assert spoken == mask_rules.describe(given, rules, mine, cell)


def test_the_sentence_is_true(scores):
    own = own_mask(64)
    assert (
        mask_rules.describe(scores, Rules(24))[0] == "300 of 576 pairs may be read, 52\u00a0% of the matrix."
    )
    everything = mask_rules.describe(scores, Rules(24, causal=0, prefix=3))
    assert everything[0] == "Every query may read every key, all 576 pairs."
    assert "The prefix adds no pair." in everything
    assert "No query reads a key ahead of it." in mask_rules.describe(scores, Rules(24, prefix=1))
    ahead = "Ahead of itself a query reads only the prefix, keys 0 to 4."
    assert ahead in mask_rules.describe(scores, Rules(24, prefix=5))
    barred = mask_rules.describe(scores, Rules(24), None, (3, 9))
    assert barred[0] == "Query 3 may not read key 9: its weight is exactly 0."
    empty = mask_rules.describe(scores, Rules(24), own, (2, 0))
    assert empty[1] == "Query 2 may read nothing, so its weights are zeros."
    blind = int((~mask_rules.allowed(Rules(24), own).any(axis=1)).sum())
    assert mask_rules.describe(scores, Rules(24), own)[-1].endswith(f"all zeros: {blind}.")


def test_every_control_changes_the_weights_and_sends_them_exactly():
    figure = MaskEditor()
    changes = [
        (figure.n, "value", 30), (figure.window, "value", 6), (figure.prefix, "value", 2),
        (figure.documents, "index", 1), (figure.documents, "index", 2), (figure.alibi, "value", 0.5),
        (figure.softcap, "value", 3), (figure.direction, "index", 0),
    ]  # fmt: skip
    for control, name, value in changes:
        before = figure.weights
        setattr(control, name, value)
        after = figure.weights
        assert before.shape != after.shape or not np.allclose(before, after), control.description
        sent = np.frombuffer(figure.view.exact["weights"], "<f8").reshape(after.shape)
        np.testing.assert_array_equal(sent, after)
        assert figure.view.exact["rules"] == list(figure.rules)
    _, weights = expected(figure.scores, figure.rules)
    np.testing.assert_allclose(figure.weights, weights, atol=1e-12)


def test_the_static_picture_is_of_the_present_state():
    figure = MaskEditor(n=12, window=3)
    html = figure.static_html()
    assert html.count("M0 0h1v1h-1z") == 1
    assert html.count("h1v1h-1z") == figure.mask.sum()
    figure.direction.index = 0
    assert figure.static_html().count("h1v1h-1z") == figure.mask.sum() > 33
    assert figure.code.split("\n")[1].strip() in figure.static_html().replace("&lt;", "<").replace(
        "&amp;", "&"
    )
    bundle = figure._repr_mimebundle_()
    assert figure.view.causal == 0
    assert 'class="pa-code"' in bundle["text/html"]


def test_readers_bring_their_own_scores_and_mask():
    raw, own = np.random.default_rng(1).normal(size=(10, 10)), own_mask(10)
    figure = MaskEditor(raw, own, n=10, causal=False)
    assert figure.n.max == 10
    _, weights = expected(raw, Rules(10, causal=0), own)
    np.testing.assert_allclose(figure.weights, weights, atol=1e-15)
    assert "own[q_idx, kv_idx]" in figure.code
    np.testing.assert_array_equal(run(figure.code, own)[2].numpy(), own)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"scores": np.zeros((9, 8))}, ValueError, "`scores` must be square, 8 to 64 tokens"),
        ({"scores": np.zeros((7, 7))}, ValueError, "`scores` must be square, 8 to 64 tokens"),
        ({"scores": np.full((9, 9), -np.inf)}, ValueError, "What may not be read goes in `mask=`"),
        ({"scores": np.full((9, 9), np.nan)}, ValueError, "`scores` must be finite"),
        (
            {"mask": np.zeros((64, 64))},
            TypeError,
            "`mask` must be boolean with True = may attend; got float64",
        ),
        (
            {"mask": np.zeros((8, 8), bool)},
            ValueError,
            r"must have the scores' shape \(64, 64\); got \(8, 8\)",
        ),
        ({"n": 65}, ValueError, "`n` must be an integer from 8 to 64; got 65"),
        ({"scores": np.zeros((9, 9)), "n": 10}, ValueError, "`n` must be an integer from 8 to 9; got 10"),
        ({"window": -1}, ValueError, "`window` must be an integer from 0 to 32"),
        ({"prefix": 17}, ValueError, "`prefix` must be an integer from 0 to 16"),
        ({"documents": 0}, ValueError, "`documents` must be an integer from 1 to 3"),
        ({"softcap": 51}, ValueError, "`softcap` must be an integer from 0 to 50"),
        ({"alibi": -0.5}, ValueError, "`alibi` must lie between 0 and 1"),
    ],
)
def test_bad_input_is_refused_with_the_remedy(unchecked, arguments, error, message):
    with pytest.raises(error, match=message):
        MaskEditor(**arguments)


# -- in a browser ------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def origin(tmp_path_factory):
    folder = tmp_path_factory.mktemp("mask-editor")
    shutil.copy(ROOT / "book" / "static" / "widget-host.js", folder)
    (folder / "figures.css").write_text(stylesheet(), encoding="utf-8")
    for theme in ("light", "dark"):
        write(folder, f"{theme}.html", [MaskEditor()], theme=theme)
    write(folder, "rich.html", [MaskEditor(n=40, window=9, prefix=4, documents=2, alibi=0.125, softcap=5)])
    write(folder, "own.html", [MaskEditor(mask=own_mask(64))])
    with serving(folder) as address:
        yield address


def sentence(page) -> str:
    return page.locator(".pa-live .pa-sentence").inner_text().replace("\n", " ")


def test_the_host_draws_what_attention_core_computes(visit, origin):  # noqa: F811
    page, figure = visit(f"{origin}/light.html", live=1), MaskEditor()
    sliders = page.locator(".pa-live input[type=range]").all()
    radios = page.locator(".pa-live input[type=radio]").all()
    controls = (figure.n, figure.window, figure.prefix, figure.alibi, figure.softcap)
    for direction, document, values in [
        (1, 0, (24, 0, 0, 0, 0)), (0, 1, (9, 3, 2, 0.25, 0)), (1, 2, (64, 12, 5, 0, 7)),
        (0, 0, (8, 0, 0, 1, 50)),
    ]:  # fmt: skip
        radios[direction].check()
        radios[2 + document].check()
        figure.direction.index, figure.documents.index = direction, document
        for slider, control, value in zip(sliders, controls, values, strict=True):
            slide(slider, value)
            control.value = value
        np.testing.assert_allclose(drawn(page, "mask-editor"), figure.weights, atol=1e-12)
        view = page.locator(".pa-live .pa-view")
        seen = [[c == "1" for c in line] for line in view.get_attribute("data-mask").split()]
        np.testing.assert_array_equal(seen, figure.mask)
        assert page.locator(".pa-live .pa-code").inner_text().rstrip() == figure.code
        assert view.get_attribute("data-code") == figure.code
        assert sentence(page) == " ".join(mask_rules.describe(figure.scores, figure.rules))
    assert page.faults == []


def test_a_mask_of_the_readers_is_drawn(visit, origin):  # noqa: F811
    page, figure = visit(f"{origin}/own.html", live=1), MaskEditor(mask=own_mask(64))
    np.testing.assert_array_equal(drawn(page, "mask-editor"), figure.weights)
    slide(page.locator(".pa-live input[type=range]").first, 12)
    figure.n.value = 12
    np.testing.assert_allclose(drawn(page, "mask-editor"), figure.weights, atol=1e-12)


PIXEL = """([row, column]) => {
    const canvas = document.querySelector('.pa-live canvas');
    const { n } = JSON.parse(document.querySelector('.pa-live .pa-view').dataset.rules);
    const at = (i) => Math.floor((i + 0.5) * canvas.width / n);
    return [...canvas.getContext('2d').getImageData(at(column), at(row), 1, 1).data];
}"""


def test_the_canvas_is_sharp_and_follows_the_theme(visit, origin):  # noqa: F811
    page = visit(f"{origin}/light.html", live=1, device_scale_factor=2)
    sizes = page.evaluate(
        "(() => { const c = document.querySelector('.pa-live canvas'); return [c.width, c.clientWidth]; })()"
    )
    assert sizes[0] == pytest.approx(2 * sizes[1], abs=1)
    assert page.evaluate(PIXEL, [0, 0]) == pytest.approx([0x27, 0x2F, 0x51, 255], abs=3)  # a weight of 1
    assert page.evaluate(PIXEL, [0, 5])[3] == 0  # nothing is painted where nothing may be read
    page.evaluate("document.documentElement.dataset.theme = 'dark'")
    bright = pytest.approx([0xF1, 0xEA, 0xBC, 255], abs=3)
    assert eventually(page, lambda: page.evaluate(PIXEL, [0, 0]), lambda ink: ink == bright) == bright
    slide(page.locator(".pa-live input[type=range]").first, 64)
    assert eventually(page, lambda: page.evaluate(PIXEL, [0, 0]), lambda ink: ink == bright) == bright
    page.set_viewport_size({"width": 400, "height": 800})
    narrow = eventually(
        page,
        lambda: page.evaluate(
            "(() => { const c = document.querySelector('.pa-live canvas');"
            " return [c.width, c.clientWidth]; })()"
        ),
        lambda size: size[1] < sizes[1] and abs(size[0] - 2 * size[1]) <= 1,
    )
    assert narrow[0] == pytest.approx(2 * narrow[1], abs=1)
    assert narrow[1] < sizes[1]


def test_arrows_move_a_cell_that_the_sentence_reads(visit, origin):  # noqa: F811
    page, figure = visit(f"{origin}/light.html", live=1), MaskEditor()
    view, cells = page.locator(".pa-live .pa-view"), page.locator(".pa-live .pa-cells")

    def at():
        return int(view.get_attribute("data-row")), int(view.get_attribute("data-column"))

    assert page.locator('.pa-live .pa-view [tabindex="0"]').count() == 1
    assert at() == (16, int(figure.weights[16].argmax()))
    cells.focus()
    assert sentence(page).startswith("300 of 576 pairs")  # focus alone picks nothing
    for key, place in [
        ("Home", (16, 0)), ("ArrowRight", (16, 1)), ("ArrowUp", (15, 1)), ("PageUp", (0, 1)),
        ("ArrowUp", (0, 1)), ("End", (0, 23)), ("PageDown", (23, 23)), ("ArrowDown", (23, 23)),
        ("ArrowLeft", (23, 22)),
    ]:  # fmt: skip
        page.keyboard.press(key)
        assert at() == place
        said = mask_rules.describe(figure.scores, figure.rules, None, place)
        assert sentence(page) == " ".join(said)
    spoken = page.locator(".pa-live .pa-spoken")
    last = "Query 23 gives key 22"
    assert eventually(page, spoken.inner_text, lambda text: text.startswith(last)).startswith(last)
    page.keyboard.press("Escape")
    assert at()[0] == 16
    assert sentence(page).startswith("300 of 576 pairs")


def test_the_pointer_previews_a_cell_and_a_click_keeps_it(visit, origin):  # noqa: F811
    page = visit(f"{origin}/light.html", live=1, viewport={"width": 1280, "height": 1200})
    view, box = page.locator(".pa-live .pa-view"), page.locator(".pa-live .pa-cells").bounding_box()

    def centre(row, column):
        return box["x"] + (column + 0.5) * box["width"] / 24, box["y"] + (row + 0.5) * box["height"] / 24

    page.mouse.move(*centre(3, 9))
    assert sentence(page).startswith("Query 3 may not read key 9")
    page.mouse.move(5, 5)
    assert view.get_attribute("data-row") == "16"
    page.mouse.click(*centre(20, 4))
    page.mouse.move(5, 5)
    assert sentence(page).startswith("Query 20 gives key 4 a weight of")
    steps = page.locator(".pa-live .pa-maskstep strong").all_inner_texts()
    figure = MaskEditor()
    assert steps[-1] == f"{figure.weights[20, 4]:.3f}"
    assert float(steps[0].replace("−", "-")) == pytest.approx(figure.scores[20, 4], abs=0.0051)
    slide(page.locator(".pa-live input[type=range]").first, 12)  # the kept cell is no more
    assert view.get_attribute("data-row") == "8"
    assert page.faults == []


def test_a_finger_reads_a_cell(visit, origin):  # noqa: F811
    page = visit(
        f"{origin}/light.html",
        live=1,
        viewport={"width": 390, "height": 1800},
        has_touch=True,
        is_mobile=True,
    )
    box = page.locator(".pa-live .pa-cells").bounding_box()
    page.touchscreen.tap(box["x"] + 2.5 * box["width"] / 24, box["y"] + 10.5 * box["height"] / 24)
    read = "Query 10 gives key 2 a weight of"
    assert eventually(page, lambda: sentence(page), lambda text: text.startswith(read)).startswith(read)


@pytest.mark.parametrize("name", ["light", "dark", "rich"])
@pytest.mark.parametrize("width", [1280, 700, 320])
def test_it_fits_is_accessible_and_takes_its_static_pictures_place(visit, origin, node_modules, name, width):  # noqa: F811
    page = visit(f"{origin}/{name}.html", live=1, viewport={"width": width, "height": 800})
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    page.evaluate((node_modules / "axe-core" / "axe.min.js").read_text(encoding="utf-8"))
    assert (
        page.evaluate("axe.run('main').then((r) => r.violations.map((v) => [v.id, v.nodes[0].html]))") == []
    )
    parts = ".pa-tile, .pa-maskstep, .pa-codeline, .pa-at, .pa-most"
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
