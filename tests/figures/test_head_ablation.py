import itertools
import json
import re
import shutil

import numpy as np
import pytest
import torch

from attention_core import datasets
from attention_core.figures import HeadAblation, base, stylesheet
from attention_core.figures import head_ablation_static as drawing
from attention_core.figures.head_ablation import axis
from attention_core.figures.head_ablation_values import Ablated, Patience, measure, number, subset
from attention_core.models import Transformer, Vocabulary
from attention_core.models.progress import Bar
from attention_core.models.transformer import PARTS, surprise

from ..browser import eventually, serving
from .patch_figures import fits, sentence
from .test_in_browser import ROOT, drawn, visit, write  # noqa: F401

MODULE = base.module("head_ablation")
PAIRS = list(datasets.showcase().values())[:4]


def made(seed=0, layers=2, heads=4) -> Ablated:
    """Invented losses, which grow as heads go, most of them."""
    rng, count = np.random.default_rng(seed), layers * heads
    off = np.array([i.bit_count() for i in range(2**count)])
    part = lambda: (0.02 * np.exp(0.6 * off * rng.uniform(0.3, 1.2, 2**count))).round(6)  # noqa: E731
    losses = {name: part() for name in PARTS}
    losses["encoder"][1], losses["encoder"][2] = 0.015, 0.0203  # better without; hardly missed
    return Ablated(layers, heads, losses, "Invented, on no pairs.")


def small(layers=2, heads=2, seed=4) -> Transformer:
    torch.manual_seed(seed)
    sides = (Vocabulary.build(words) for words in ([p.source for p in PAIRS], [p.target for p in PAIRS]))
    return Transformer(*sides, width=8, heads=heads, layers=layers)


# -- numbers -------------------------------------------------------------------------------------------------


def test_every_loss_is_that_of_the_model_without_those_heads():
    model = small()
    found = measure(model, PAIRS)
    assert (found.layers, found.heads) == (2, 2)
    for part, off in itertools.product(PARTS, range(16)):
        heads = [(part, i // 2, i % 2) for i in range(4) if off >> i & 1]
        assert found.losses[part][off] == pytest.approx(surprise(model.without(heads), PAIRS), abs=1e-6)


def test_measuring_leaves_the_model_as_it_was():
    model = small().train()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    measure(model, PAIRS)
    assert model.training
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())


def test_with_all_heads_on_nothing_changes_at_all():
    for figure in (HeadAblation(made()), HeadAblation(small(), PAIRS), HeadAblation()):
        for part in range(3):
            figure.part.index = part
            assert figure.change == 0
            assert figure.weights[0] == 0
            assert figure.off == []


def test_switches_say_which_heads_are_off():
    figure = HeadAblation(made(), part="decoder", off=[(0, 1), ("decoder", 1, 3)])
    assert figure.off == [(0, 1), (1, 3)]
    assert [box.value for box in figure.boxes] == [True, False, True, True, True, True, True, False]
    assert figure.loss == made().losses["decoder"][2 + 128]
    figure.boxes[0].value = False
    assert figure.off == [(0, 0), (0, 1), (1, 3)]
    assert figure.change == made().losses["decoder"][1 + 2 + 128] - made().losses["decoder"][0]
    assert number(figure.off, "decoder", 2, 4) == 131
    assert subset(131, 2, 4) == figure.off


def test_columns_hold_the_subsets_of_one_size_from_best_to_worst():
    losses = made().losses["cross"].tolist()
    by_size = drawing.ordered(losses)
    assert [len(those) for those in by_size] == [1, 8, 28, 56, 70, 56, 28, 8, 1]
    assert sorted(itertools.chain(*by_size)) == list(range(256))
    at, pitch = drawing.places(losses, (0.01, 10.0)), 100 / 9
    for on, those in enumerate(by_size):
        across = [at[off][0] for off in those]
        assert across == sorted(across)
        assert pitch * on < across[0] <= across[-1] < pitch * (on + 1)
        assert [losses[off] for off in those] == sorted(losses[off] for off in those)
        for off in those:
            assert at[off][1] == pytest.approx(100 * np.log(losses[off] / 0.01) / np.log(1000))


@pytest.mark.parametrize("top", [0.03, 3.0, 300.0])
def test_the_axis_holds_every_loss_and_a_few_ticks(top):
    ablated = made()
    ablated.losses["cross"][255] = top
    found = axis(ablated)
    low, high = found["range"]
    assert all(low < x < high for losses in ablated.losses.values() for x in losses)
    assert 2 <= len(found["ticks"]) <= 9
    assert all(low <= y <= high for y, _ in found["ticks"])


def test_it_stays_inside_a_figures_budget():
    state = HeadAblation(made()).view.get_state()
    assert len(json.dumps({name: state[name] for name in ("losses", "size", "told")})) <= 20_000


# -- words ---------------------------------------------------------------------------------------------------


def cases():
    rng = np.random.default_rng(3)
    for seed, (layers, heads) in enumerate([(2, 4), (3, 2), (1, 2), (4, 2)]):
        ablated = made(seed, layers, heads)
        every = 2 ** (layers * heads) - 1
        some = {0, 1, 2, every, every - 1, *rng.integers(0, every, 40).tolist()}
        for part, off in itertools.product(PARTS, sorted(some)):
            yield part, ablated.losses[part].tolist(), int(off), (layers, heads)


def test_python_and_javascript_say_the_same(javascript):
    many = [(part, losses, off, {"layers": a, "heads": b}) for part, losses, off, (a, b) in cases()]
    said = javascript(MODULE, "(all) => all.map((c) => [describe(...c), facts(c[1], c[2])])", many)
    assert len(many) > 200
    ours = [[drawing.describe(*case), drawing.facts(case[1], case[2])] for case in cases()]
    assert said == ours
    words = " ".join(itertools.chain(*(parts for parts, _ in ours)))
    for piece in ("rises from", "falls from", "stays at", "it is the best.", "it is number", "alone, head"):
        assert piece in words, piece


def test_python_and_javascript_place_the_same_dots(javascript):
    for seed in range(4):
        losses = made(seed).losses["encoder"].tolist()
        at = drawing.places(losses, (0.01, 5.0))
        there = javascript(MODULE, "places", losses, [0.01, 5.0])
        np.testing.assert_allclose(there, at, rtol=0, atol=1e-9)
        assert javascript(MODULE, "ordered", losses) == drawing.ordered(losses)


def test_the_sentence_names_the_heads_and_both_losses():
    losses = [0.03] * 256
    losses[2], losses[32], losses[34], losses[255] = 0.04, 0.05, 0.41, 2.31
    assert drawing.describe("cross", losses, 2, (2, 4))[:2] == [
        "Without head 2 of layer 1 the loss rises from 0.030 to 0.040 nats a word.",
        "Of 8 ways to leave out 1 it is number 7; the best leaves out head 1 of layer 1: 0.030.",
    ]
    both = drawing.describe("cross", losses, 34, (2, 4))
    assert both[0].startswith(
        "Without head 2 of layer 1 and head 2 of layer 2 the loss rises from 0.030 to 0.410"
    )
    assert both[1] == "One at a time these heads cost +0.030 in all, together +0.380."
    none = drawing.describe("cross", losses, 255, (2, 4))
    assert (
        none[0] == "Without any head of the cross-attention the loss rises from 0.030 to 2.310 nats a word."
    )
    assert drawing.describe("cross", losses, 0, (2, 4))[:2] == [
        "With all 8 heads of the cross-attention the loss is 0.030 nats a word.",
        "Without any of them it is 2.310.",
    ]
    assert drawing.named(0b11010011, (2, 4)) == "heads 1 and 2 of layer 1 and heads 1, 3 and 4 of layer 2"


# -- readers' own --------------------------------------------------------------------------------------------


def test_readers_bring_their_own_model_and_pairs(capsys):
    model = small(layers=3)
    figure = HeadAblation(model, PAIRS, part="encoder", off=[(2, 1)])
    assert len(figure.boxes) == 6
    assert figure.loss == pytest.approx(surprise(model.without([("encoder", 2, 1)]), PAIRS), abs=1e-6)
    assert "4 pairs, " in figure.static_html()
    assert "measured when the figure was made." in figure.static_html()
    assert figure.view.head6  # of a head that there is not
    capsys.readouterr()


def test_a_long_measuring_says_how_long_it_takes(monkeypatch, capsys):
    now = iter([0.0, 0.5, 2.0, 3.0])
    monkeypatch.setattr("attention_core.figures.head_ablation_values.time.process_time", lambda: next(now))
    tell = Patience(Bar(), 60)
    tell(0.01, "encoder")
    assert capsys.readouterr().err == ""
    tell(0.05, "encoder")
    tell(0.08, "encoder")
    assert capsys.readouterr().err == (
        "the loss on 60 pairs without every subset of heads: about 40 s of one processor core\n"
    )


def test_a_file_is_read_by_part(tmp_path):
    ablated, path = made(), tmp_path / "heads.json"
    how = {"processor": "a processor", "torch": "2.0", "date": "2026-11-26", "commit": "abc1234"}
    content = {
        "how": how, "model": {"name": "some", "layers": 2, "heads": 4},
        "data": {"split": "test", "pairs": 1200, "words": 1},
        "rows": [{"part": part, "losses": ablated.losses[part].tolist()} for part in PARTS],
    }  # fmt: skip
    path.write_text(json.dumps(content))
    figure = HeadAblation(path, off=[(1, 1)])
    assert figure.loss == ablated.losses["cross"][32]
    told = "some on 1,200 pairs of test, 1 target word. a processor, PyTorch 2.0, 2026-11-26, library at "
    assert figure.view.told == f"{told}abc1234."
    how["quick"] = True
    path.write_text(json.dumps(content))
    assert HeadAblation(str(path)).view.told.startswith("A trial on few pairs, not a result.")
    path.write_text(json.dumps(content | {"rows": content["rows"][1:]}))
    with pytest.raises(ValueError, match=r"`path` must hold a row of each part; .* lacks encoder"):
        HeadAblation(path)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"part": "all"}, ValueError, "`part` must be one of encoder, decoder, cross; got 'all'"),
        ({"off": [(0, 4)]}, ValueError, r"`off` must name a head from 0 to 3; got \(0, 4\)"),
        ({"off": [(2, 0)]}, ValueError, r"`off` must name a layer from 0 to 1; got \(2, 0\)"),
        ({"off": [("encoder", 0, 0)]}, ValueError, r"`off` must hold \(layer, head\) of the cross, or"),
        ({"off": [(True, 0)]}, ValueError, "`off` must name a layer from 0 to 1"),
        ({"model": small(3, 4), "pairs": PAIRS}, ValueError, r"`model` has 3 x 4 heads .* 2\^12 subsets"),
        ({"model": small(), "pairs": []}, ValueError, "`pairs` must hold at least one pair"),
        ({"model": torch.nn.Linear(2, 2)}, TypeError, "`model` must be a models.Transformer, .* got Linear"),
    ],
)
def test_bad_input_is_refused_with_the_remedy(unchecked, arguments, error, message):
    with pytest.raises(error, match=message):
        HeadAblation(**{"model": made(), **arguments})


# -- in a browser --------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def origin(tmp_path_factory):
    folder = tmp_path_factory.mktemp("head-ablation")
    shutil.copy(ROOT / "book" / "static" / "widget-host.js", folder)
    (folder / "figures.css").write_text(stylesheet(), encoding="utf-8")
    for theme in ("light", "dark"):
        write(folder, f"{theme}.html", [HeadAblation(made(), off=[(1, 2)])], theme=theme)
    write(folder, "own.html", [HeadAblation(made(2, 3, 2), part="encoder", off=[(0, 0), (2, 1)])])
    with serving(folder) as address:
        yield address


def told(page) -> dict[str, str]:
    return page.locator(".pa-live .pa-view").evaluate("view => ({...view.dataset})")


def shows(page, figure, off=None) -> None:
    """The picture is of the figure's state: all changes of loss, the mark's place, tiles and words."""
    losses = figure.losses.tolist()
    off = number(figure.off, figure.part.value, *figure.size) if off is None else off
    assert drawn(page, "head-ablation").tolist() == figure.weights.tolist()
    assert int(told(page)["off"]) == off
    at = drawing.places(losses, tuple(axis(figure.ablated)["range"]))
    found = page.locator(".pa-live .pa-ha-dot").evaluate("e => [e.style.left, e.style.bottom]")
    np.testing.assert_allclose([float(x.strip("%")) for x in found], at[off], atol=1e-3)
    paths = page.locator(".pa-live .pa-ha-box path").evaluate_all("all => all.map(p => p.getAttribute('d'))")
    best = [at[those[0]] for those in drawing.ordered(losses)]
    points = [re.findall(r"[\d.]+ [\d.]+", d) for d in paths]
    for ours, theirs in zip((at, best, best), points, strict=True):
        places = [[float(x) for x in point.split(" ")] for point in theirs]
        np.testing.assert_allclose(places, [(x, 100 - y) for x, y in ours], rtol=0, atol=0.0051)
    assert page.locator(".pa-live .pa-tile strong").all_inner_texts() == drawing.facts(losses, off)
    assert sentence(page) == " ".join(drawing.describe(figure.part.value, losses, off, figure.size))


@pytest.mark.parametrize("name", ["light", "own"])
def test_every_control_moves_the_picture(visit, origin, name):  # noqa: F811
    page = visit(f"{origin}/{name}.html", live=1)
    figure = HeadAblation(made(), off=[(1, 2)])
    if name == "own":
        figure = HeadAblation(made(2, 3, 2), part="encoder", off=[(0, 0), (2, 1)])
    shows(page, figure)
    boxes = page.locator(".pa-live input[type=checkbox]")
    for i, box in enumerate(figure.boxes):
        boxes.nth(i).click()
        box.value = not box.value
        shows(page, figure)
    for part in (1, 2, 0):
        page.locator(".pa-live input[type=radio]").nth(part).check()
        figure.part.index = part
        shows(page, figure)
    assert page.faults == []


def test_controls_work_by_keyboard_and_the_sentence_is_spoken(visit, origin):  # noqa: F811
    page, figure = visit(f"{origin}/light.html", live=1), HeadAblation(made(), off=[(1, 2)])
    page.locator(".pa-live input[type=radio]:checked").focus()
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("Tab")
    page.keyboard.press("Space")
    figure.part.index, figure.boxes[0].value = 1, False
    shows(page, figure)
    spoken = page.locator(".pa-live .pa-spoken")
    heard = eventually(page, spoken.inner_text, lambda text: text.startswith("Without head 1 of layer 1"))
    assert heard.startswith("Without head 1 of layer 1 and head 3 of layer 2 the loss")


def test_a_number_on_the_axis_sets_the_best_subset_of_its_size(visit, origin):  # noqa: F811
    page, figure = visit(f"{origin}/light.html", live=1), HeadAblation(made(), off=[(1, 2)])
    keys = page.locator(".pa-live .pa-ha-axis button")
    best = [those[0] for those in drawing.ordered(figure.losses.tolist())]
    assert page.locator('.pa-live .pa-ha-axis [tabindex="0"]').count() == 1
    keys.nth(5).hover()
    shows(page, figure, best[5])  # looked at
    page.mouse.move(2, 2)
    shows(page, figure)
    keys.nth(5).click()
    page.mouse.move(2, 2)
    page.locator(".pa-live input[type=radio]:checked").focus()
    for i, box in enumerate(figure.boxes):
        box.value = not best[5] >> i & 1
    shows(page, figure)
    ticked = page.locator(".pa-live input[type=checkbox]").evaluate_all("all => all.map(b => b.checked)")
    assert ticked == [box.value for box in figure.boxes]
    keys.nth(5).focus()
    page.keyboard.press("ArrowLeft")
    shows(page, figure, best[4])
    page.keyboard.press("Home")
    page.keyboard.press("Enter")
    assert page.locator(".pa-live input[type=checkbox]:checked").count() == 0
    assert keys.nth(0).get_attribute("aria-pressed") == "true"


def test_pointing_at_a_dot_shows_its_subset_and_a_click_sets_it(visit, origin):  # noqa: F811
    page, figure = visit(f"{origin}/light.html", live=1), HeadAblation(made(), off=[(1, 2)])
    losses = figure.losses.tolist()
    at = drawing.places(losses, tuple(axis(figure.ablated)["range"]))
    box = page.locator(".pa-live .pa-ha-box").bounding_box()
    worst = drawing.ordered(losses)[2][-1]  # high above the axis
    x, y = box["x"] + at[worst][0] / 100 * box["width"], box["y"] + (1 - at[worst][1] / 100) * box["height"]
    page.mouse.move(x, y)
    shows(page, figure, worst)
    page.mouse.move(2, 2)
    shows(page, figure)
    page.mouse.click(x, y)
    page.mouse.move(2, 2)
    for i, box in enumerate(figure.boxes):
        box.value = not worst >> i & 1
    shows(page, figure)


@pytest.mark.parametrize("name", ["light", "dark", "own"])
@pytest.mark.parametrize("width", [1280, 390, 320])
def test_it_fits_is_accessible_and_takes_its_static_pictures_place(visit, origin, node_modules, name, width):  # noqa: F811
    page = visit(f"{origin}/{name}.html", live=1, viewport={"width": width, "height": 800})
    parts = ".pa-tile, .pa-caption, .pa-ha-key span, .pa-ha-box, .pa-ha-y, .pa-ha-base, .pa-sentence"
    fits(page, width, node_modules, parts)


def test_print_keeps_the_first_state(visit, origin):  # noqa: F811
    page = visit(f"{origin}/dark.html", live=1)
    page.locator(".pa-live input[type=checkbox]").nth(0).click()
    page.emulate_media(media="print")
    assert not page.locator(".pa-live").is_visible()
    text = page.locator(".pa-static .pa-sentence").inner_text()
    assert text.startswith("Without head 3 of layer 2 the loss")
