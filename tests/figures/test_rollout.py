import json
import re
import shutil

import numpy as np
import pytest
import torch

from attention_core import datasets, explain, models
from attention_core.explain.attention import raw, rollout
from attention_core.figures import Rollout, base, maps, stylesheet
from attention_core.figures import rollout_static as drawing
from attention_core.figures.rollout import SCALE, SHARES
from attention_core.figures.scenes import Objects

from ..browser import eventually, serving
from .test_in_browser import ROOT, drawn, slide, visit, write  # noqa: F401

MODULE = base.module("rollout")
STEP = 0.5 / SCALE + 1e-9  # how far a weight that travelled may be from what it was


@pytest.fixture(scope="module")
def model():
    return models.load("shapes-vit")


@pytest.fixture(scope="module")
def own():
    """A model of the reader's, of other sizes: 2 x 3 patches, two layers, three heads and a register."""
    torch.manual_seed(4)
    vit = models.ViT(image_size=(8, 12), patch=4, width=12, depth=2, heads=3, registers=1, classes=2)
    return vit.eval(), torch.rand(3, 3, 8, 12)


def by_hand(model, images, depth, residual):
    """Rollout of every image (images, tokens, tokens), layer by layer."""
    product = None
    for weights in explain.capture(model, images).weights[:depth]:
        mixed = residual * torch.eye(weights.shape[-1]) + (1 - residual) * weights.detach().double().mean(1)
        product = mixed if product is None else mixed @ product
    return product.numpy()


# -- numbers and words -------------------------------------------------------------------------------------


def test_weights_are_the_product_of_the_layers_at_several_positions(own):
    model, images = own
    figure = Rollout(model, images, depth=2)
    for image, depth, residual in [(0, 2, 0.5), (2, 1, 0.0), (1, 2, 0.3), (0, 1, 0.9)]:
        figure.image.index, figure.depth.value, figure.residual.value = image, depth, residual
        expected = by_hand(model, images, depth, residual)[image]
        np.testing.assert_allclose(figure.matrix, expected, rtol=0, atol=1e-7)
        np.testing.assert_allclose(figure.weights, expected[0], rtol=0, atol=1e-7)
        np.testing.assert_allclose(figure.matrix.sum(1), 1, rtol=0, atol=1e-9)
        alone = raw(explain.capture(model, images).weights[depth - 1][image].detach())[0]
        np.testing.assert_allclose(figure.raw, alone, rtol=0, atol=1e-7)


def test_a_residual_share_of_1_and_no_layer_give_the_identity(model):
    figure = Rollout(model, residual=1.0)
    for depth in range(5):
        figure.depth.value = depth
        np.testing.assert_array_equal(figure.matrix, np.eye(65))
        assert figure.weights.tolist() == [1.0] + [0.0] * 64
    figure.residual.value, figure.depth.value = 0.4, 0
    np.testing.assert_array_equal(figure.matrix, np.eye(65))
    np.testing.assert_array_equal(figure.weights, np.eye(65)[0])
    assert figure.weights[1:].max() == 0  # the map is empty


def test_what_travels_is_rollout_to_half_a_step(model):
    figure = Rollout(model)
    images = figure_images(figure)
    sent = np.frombuffer(figure.view.frames, "<u2").reshape(4, 4 + SHARES * 5, 65) / SCALE
    np.testing.assert_allclose(sent.sum(-1), 1, rtol=0, atol=65 * STEP)
    stacked = explain.capture(model, images).stacked().detach().double()
    np.testing.assert_allclose(sent[:, :4], raw(stacked)[:, :, 0], rtol=0, atol=STEP)
    for share in range(SHARES):
        rows = sent[:, 4 + 5 * share : 9 + 5 * share]
        np.testing.assert_array_equal(rows[:, 0], np.eye(65)[:1].repeat(4, axis=0))
        for depth in range(1, 5):
            expected = rollout(stacked[:, :depth], share / 10)[:, 0]
            np.testing.assert_allclose(rows[:, depth], expected, rtol=0, atol=STEP)


def figure_images(figure):
    """The images that are shown, found again among the scenes by their colours."""
    shown = np.frombuffer(figure.view.pictures, np.uint8).reshape(4, 48, 48, 3)
    pool = datasets.shapes("pair", 32).images
    bytes_ = maps.rgb(pool)
    found = [next(i for i, image in enumerate(bytes_) if (image == one).all()) for one in shown]
    return pool[found]


def test_the_scale_holds_raw_attention_and_every_residual_share(model):
    """So a map that fades has less weight: its colours are not stretched anew."""
    figure, above = Rollout(model), set()
    for image, depth in ((0, 1), (0, 4), (1, 4), (2, 2), (3, 4)):
        figure.image.index, figure.depth.value = image, depth
        rolled = []
        for share in np.linspace(0, 1, SHARES):
            figure.residual.value = share
            rolled.append(figure.weights[1:].max())
        alone = figure.raw[1:].max()
        assert figure.tops[image][depth] == pytest.approx(max(alone, *rolled), abs=1e-12)
        above.add(bool(max(rolled) > alone))
    assert above == {False, True}
    assert figure.tops[1][0] == 0


def test_it_stays_inside_a_figures_budget(model):
    view = Rollout(model).view
    assert len(view.frames) + len(view.pictures) + len(view.exact["rows"]) <= base.MOST_BYTES
    assert 4 * SHARES * 5 <= base.MOST_FRAMES


def test_the_four_scenes_differ_in_what_they_show(model):
    assert len(set(Rollout(model).image.options)) == 4


def test_the_kernel_sends_exact_rows_for_any_residual_share(own):
    model, images = own
    figure = Rollout(model, images, depth=1, residual=0.37)
    assert figure.view.exact["state"] == [0, 0.37]
    rows = np.frombuffer(figure.view.exact["rows"], "<f4").reshape(3 + 2, 8)
    np.testing.assert_allclose(rows[2], by_hand(model, images, 2, 0.37)[0, 0], atol=1e-7)
    figure.image.index = 2
    assert figure.view.exact["state"] == [2, 0.37]


def cases(count=150):
    rng = np.random.default_rng(8)
    for i in range(count):
        rows, columns, prefix = (*rng.integers(1, 7, 2), int(rng.integers(1, 3)))
        pair = rng.dirichlet(np.full(rows * columns + prefix, 0.3), size=2)
        if i % 10 == 0:
            pair[1] = np.eye(len(pair[1]))[0]
        objects = Objects("the star", rng.random((rows, columns)) < 0.4) if i % 3 else None
        yield *pair, prefix, objects, int(rng.integers(0, 4)), float(rng.choice([0, 0.3, 0.5, 1]))


def test_python_and_javascript_measure_and_say_the_same(javascript):
    leads = set()
    for rolled, alone, prefix, objects, depth, residual in cases():
        facts, sent = (
            [drawing.measure(w, prefix, objects) for w in (rolled, alone)],
            objects and objects.sent(),
        )
        for weights, ours in zip((rolled, alone), facts, strict=True):
            there = javascript(MODULE, "measure", weights.tolist(), prefix, sent)
            for name, value in ours._asdict().items():
                assert there[name] == (value if value is None else pytest.approx(value, abs=1e-12))
        patches = len(rolled) - prefix
        words = drawing.describe(*facts, depth, residual, patches, prefix, objects)
        given = [each._asdict() for each in facts]
        assert words == javascript(MODULE, "describe", *given, depth, residual, patches, prefix, sent)
        leads.add(re.sub(r"\d+", "#", words[0]))
    assert any("is the identity" in lead for lead in leads)
    assert any("gives patches nothing" in lead for lead in leads)
    assert any(lead.startswith("Through no layer") for lead in leads)


def test_facts_count_what_patches_get():
    things = Objects("the star", np.array([[False, True, True]]))
    facts = drawing.measure(np.array([0.2, 0.5, 0.1, 0.2]), 1, things)
    assert facts == pytest.approx((0.2, 1, 0.375))
    assert drawing.measure(np.array([1.0, 0, 0, 0]), 1, things).held is None


def test_with_the_identity_the_sentence_says_that_the_map_is_empty(model):
    figure = Rollout(model, residual=1.0)
    html = figure.static_html()
    assert "rollout is the identity" in html
    assert "CLS keeps 100\u00a0%" in html
    figure.residual.value, figure.depth.value = 0.5, 0
    assert "Through no layer at all CLS is still itself: the identity." in figure.static_html()


# -- readers' own ------------------------------------------------------------------------------------------


def test_readers_bring_their_own_model_and_images(own):
    model, images = own
    figure = Rollout(model, images[:1], depth=1, residual=0.2)
    assert figure.weights.shape == (8,)
    assert "Picture" not in figure.static_html()
    assert "the 2 tokens that are no patches keep" in figure.static_html()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"image": -1}, "`image` must be an integer from 0 to 2; got -1"),
        ({"depth": 3}, "`depth` must be an integer from 0 to 2; got 3"),
        ({"depth": 1.5}, "`depth` must be an integer"),
        ({"residual": 1.2}, "`residual` must lie between 0 and 1; got 1.2"),
        ({"images": torch.zeros(0, 3, 8, 12)}, "at least one of them"),
    ],
)
def test_bad_input_is_refused_with_the_remedy(unchecked, own, arguments, message):
    model, images = own
    with pytest.raises(ValueError, match=message):
        Rollout(model, **{"images": images, "depth": 1, **arguments})


def test_too_many_images_are_refused_with_the_remedy(unchecked, own):
    model, _ = own
    with pytest.raises(ValueError, match=r"`images` holds 400, .* too much for one figure .* Show fewer"):
        Rollout(model, torch.rand(1, 3, 8, 12).expand(400, -1, -1, -1), depth=1)


# -- in a browser ------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def origin(tmp_path_factory, own):
    folder = tmp_path_factory.mktemp("rollout")
    shutil.copy(ROOT / "book" / "static" / "widget-host.js", folder)
    (folder / "figures.css").write_text(stylesheet(), encoding="utf-8")
    for theme in ("light", "dark"):
        write(folder, f"{theme}.html", [Rollout()], theme=theme)
    write(folder, "own.html", [Rollout(*own, depth=2, residual=0.37)])
    with serving(folder) as address:
        yield address


def shows(page, figure, tolerance=STEP) -> None:
    """The two maps are of the figure's state, its numbers and its words."""
    told = page.locator(".pa-live .pa-view").evaluate("view => ({...view.dataset})")
    weights = drawn(page, "rollout")
    np.testing.assert_allclose(weights, figure.weights, rtol=0, atol=tolerance)
    alone = np.array(json.loads(told["raw"]))
    np.testing.assert_allclose(alone, figure.raw, rtol=0, atol=tolerance)
    depth, residual, prefix = figure.depth.value, figure.residual.value, figure.prefix
    assert (int(told["depth"]), float(told["residual"])) == (depth, pytest.approx(residual))
    objects = figure.objects[figure.image.index]
    facts = [drawing.measure(each, prefix, objects) for each in (weights, alone)]
    said = drawing.describe(*facts, depth, residual, len(weights) - prefix, prefix, objects)
    assert page.locator(".pa-live .pa-sentence").inner_text().replace("\n", " ") == " ".join(said)
    patches = [each[prefix:].reshape(figure.grid) for each in (weights, alone)]
    look = {
        "top": figure.tops[figure.image.index][depth],
        "outline": None if objects is None else objects.inside,
    }
    for board, map_ in zip(page.locator(".pa-live .pa-pm").all(), patches, strict=True):
        found = board.locator("path").evaluate_all("all => all.map((p) => p.getAttribute('d'))")
        assert found == [d for _, d, _ in maps.layers(map_, **look)]


def test_the_host_draws_what_attention_core_computes(visit, origin):  # noqa: F811
    page, figure = visit(f"{origin}/light.html", live=1), Rollout()
    shows(page, figure, tolerance=1e-7)  # the first state is Python's own
    depth, residual = page.locator(".pa-live input[type=range]").all()
    for image, layers, share in [(1, 3, 0.2), (3, 1, 0), (2, 0, 0.5), (0, 4, 1), (0, 4, 0.9), (0, 2, 0.5)]:
        page.locator(".pa-live select").select_option(index=image)
        slide(depth, layers)
        slide(residual, share)
        figure.image.index, figure.depth.value, figure.residual.value = image, layers, share
        shows(page, figure)
    assert page.faults == []


def test_the_keyboard_moves_every_slider(visit, origin):  # noqa: F811
    page, figure = visit(f"{origin}/light.html", live=1), Rollout()
    depth, residual = page.locator(".pa-live input[type=range]").all()
    depth.focus()
    page.keyboard.press("Home")
    figure.depth.value = 0
    shows(page, figure, tolerance=1e-7)
    assert page.locator(".pa-live .pa-flow path:not(.pa-pmedge)").count() == 0  # an empty map
    page.keyboard.press("ArrowRight")
    residual.focus()
    page.keyboard.press("ArrowRight")
    figure.depth.value, figure.residual.value = 1, 0.6
    shows(page, figure)
    page.keyboard.press("End")
    figure.residual.value = 1.0
    shows(page, figure)
    spoken = page.locator(".pa-live .pa-spoken")
    assert "identity" in eventually(page, spoken.inner_text, lambda text: "identity" in text)


def test_a_small_map_chooses_its_depth(visit, origin):  # noqa: F811
    page, figure = visit(f"{origin}/light.html", live=1), Rollout()
    thumbs = page.locator(".pa-live .pa-pmthumb")
    for at, depth in ((1, 2), (4 + 2, 3)):
        thumbs.nth(at).click()
        figure.depth.value = depth
        shows(page, figure, tolerance=1e-7)
        assert page.locator(".pa-live input[type=range]").first.input_value() == str(depth)
    assert page.locator('.pa-live .pa-pmthumb[aria-pressed="true"]').count() == 2
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("Enter")
    figure.depth.value = 2
    shows(page, figure, tolerance=1e-7)


def test_models_of_the_readers_are_drawn(visit, origin, own):  # noqa: F811
    page, figure = visit(f"{origin}/own.html", live=1), Rollout(*own, depth=2, residual=0.37)
    shows(page, figure, tolerance=1e-7)
    page.locator(".pa-live select").select_option(
        index=1
    )  # without a kernel: the nearest share, and it says so
    figure.image.index, figure.residual.value = 1, 0.4
    shows(page, figure)
    assert page.faults == []


def test_without_scripts_and_in_print_the_static_picture_stands(visit, origin):  # noqa: F811
    page = visit(f"{origin}/dark.html", live=0, java_script_enabled=False)
    assert page.locator(".pa-static .pa-pm path").count() > 5
    assert page.locator(".pa-static .pa-sentence").is_visible()
    page = visit(f"{origin}/dark.html", live=1)
    page.emulate_media(media="print")
    assert page.locator(".pa-static .pa-pm svg").first.is_visible()
    assert not page.locator(".pa-live").is_visible()


@pytest.mark.parametrize("name", ["light", "dark", "own"])
@pytest.mark.parametrize("width", [1280, 700, 390, 320])
def test_it_fits_is_accessible_and_takes_its_static_pictures_place(visit, origin, node_modules, name, width):  # noqa: F811
    page = visit(f"{origin}/{name}.html", live=1, viewport={"width": width, "height": 800})
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    page.evaluate((node_modules / "axe-core" / "axe.min.js").read_text(encoding="utf-8"))
    assert (
        page.evaluate("axe.run('main').then((r) => r.violations.map((v) => [v.id, v.nodes[0].html]))") == []
    )
    same = """(card) => [...card.querySelectorAll('.pa-caption, .pa-legend, .pa-sentence, path')]
        .map((e) => e.getAttribute('d') ?? e.textContent)"""
    live, still = (page.locator(f"{side} .pa-view").evaluate(same) for side in (".pa-live", ".pa-static"))
    assert live == still
    heights = page.evaluate("""[...document.querySelectorAll('figure')].map((f) => {
        const live = f.offsetHeight;
        f.removeAttribute('data-live');
        f.querySelector('.pa-live').style.display = 'none';
        return [live, f.offsetHeight];
    })""")
    assert all(abs(live - still) <= 1 for live, still in heights), heights
