import re
import shutil

import numpy as np
import pytest
import torch

from attention_core import datasets, explain, models
from attention_core.explain.attention import raw
from attention_core.figures import VitHeads, base, maps, stylesheet
from attention_core.figures import vit_heads_static as drawing
from attention_core.figures.scenes import Objects
from attention_core.figures.vit_heads import SCALE

from ..browser import eventually, serving
from .test_in_browser import ROOT, drawn, slide, visit, write  # noqa: F401

MODULE = base.module("vit_heads")
STEP = 0.5 / SCALE + 1e-9  # how far a weight that travelled may be from what it was


@pytest.fixture(scope="module")
def model():
    return models.load("shapes-vit")


@pytest.fixture(scope="module")
def figure(model):
    return VitHeads(model)


@pytest.fixture(scope="module")
def own():
    """A model of the reader's, of other sizes: 2 x 3 patches, two layers, three heads and a register."""
    torch.manual_seed(4)
    vit = models.ViT(image_size=(8, 12), patch=4, width=12, depth=2, heads=3, registers=1, classes=2)
    return vit.eval(), torch.rand(3, 3, 8, 12)


def captured(model, images):
    """(images, layers, heads, tokens, tokens) in float64 arithmetic, to compare with."""
    return explain.capture(model, images).stacked().detach().double().numpy()


# -- numbers and words -------------------------------------------------------------------------------------


def test_weights_are_the_captured_ones_at_several_positions_of_every_control(model):
    figure = VitHeads(model)
    scenes = datasets.shapes("pair", 2).images  # the first two scenes differ, so they are those shown
    expected = captured(model, scenes)
    for image, layer, head, patch in [
        (0, 3, 0, None), (0, 0, 2, (0, 0)), (1, 1, 3, (7, 7)), (1, 2, None, (3, 5)), (0, 3, None, None)
    ]:  # fmt: skip
        figure.image.index, figure.layer.value, figure.patch = image, layer + 1, patch
        figure.head.index = 4 if head is None else head
        token = 0 if patch is None else 1 + 8 * patch[0] + patch[1]
        matrix = raw(torch.from_numpy(expected[image, layer]), head)
        np.testing.assert_allclose(figure.weights, matrix[token], rtol=0, atol=1e-7)
        assert figure.weights.sum() == pytest.approx(1, abs=1e-6)


def test_what_travels_is_the_captured_attention_to_half_a_step(figure, model):
    expected = captured(model, datasets.shapes("pair", 2).images)
    low, high = np.frombuffer(figure.view.frames, np.uint8).astype(int).reshape(2, -1)
    sent = (low + 256 * high).reshape(expected.shape) / SCALE
    np.testing.assert_allclose(sent, expected, rtol=0, atol=STEP)
    np.testing.assert_allclose(sent.sum(-1), 1, rtol=0, atol=65 * STEP)
    assert figure.shape.whole


def test_it_stays_inside_a_figures_budget(figure):
    view = figure.view
    assert len(view.frames) + len(view.pictures) + len(view.exact["rows"]) <= base.MOST_BYTES


def test_pictures_travel_as_maps_draw_them(figure):
    images = datasets.shapes("pair", 2).images
    sent = np.frombuffer(figure.view.pictures, np.uint8).reshape(2, 48, 48, 3)
    np.testing.assert_array_equal(sent, maps.rgb(images))


def test_the_kernel_sends_exact_rows_for_the_patch_that_the_view_asks_for(model):
    figure = VitHeads(model)
    expected = captured(model, datasets.shapes("pair", 2).images)
    for image, query in [(0, -1), (0, 13), (1, 13), (1, 60)]:
        figure.image.index = image
        figure.view.query = query  # as the view does
        assert figure.view.exact["state"] == [image, query]
        rows = np.frombuffer(figure.view.exact["rows"], "<f4").reshape(4, 4, 65)
        np.testing.assert_allclose(rows, expected[image, :, :, query + 1 if query >= 0 else 0], atol=1e-7)
    assert figure.patch == (7, 4)


def cases(count=150):
    rng = np.random.default_rng(7)
    for i in range(count):
        rows, columns, prefix = (*rng.integers(1, 7, 2), rng.integers(1, 4))
        weights = rng.dirichlet(np.full(rows * columns + prefix, 0.3))
        shape = drawing.Shape(2, 3, int(rows), int(columns), int(prefix), len(weights), SCALE, True)
        query = int(rng.integers(-1, rows * columns))
        inside = rng.random((rows, columns)) < 0.4
        yield weights, shape, query, Objects("the star", inside) if i % 3 else None


def test_python_and_javascript_measure_and_say_the_same(javascript):
    said = set()
    for weights, shape, query, objects in cases():
        facts = drawing.measure(weights, shape, query, objects)
        sent = objects and objects.sent()
        there = javascript(MODULE, "measure", weights.tolist(), shape._asdict(), query, sent)
        assert list(there) == list(facts._fields)
        for name, ours in facts._asdict().items():
            assert there[name] == (ours if ours is None else pytest.approx(ours, abs=1e-12)), name
        for layer, head in ((0, 0), (1, 3)):
            words = drawing.describe(facts, shape, layer, head, query, objects)
            assert words == javascript(
                MODULE, "describe", facts._asdict(), shape._asdict(), layer, head, query, sent
            )
            said |= {re.sub(r"[\d.]+", "#", part) for part in words[-1:]}
    assert any(part.startswith("The map shows the rest") for part in said)
    assert any(part.startswith("On average") for part in said)


def test_the_mean_in_javascript_is_that_of_the_heads(javascript, rng):
    for _ in range(100):
        rows = rng.random((rng.integers(1, 6), 5))
        found = javascript(MODULE, "mean", rows.tolist())
        np.testing.assert_allclose(found, rows.mean(0), rtol=0, atol=1e-12)


def test_facts_count_weight_distance_and_tokens():
    shape = drawing.Shape(1, 1, 1, 3, 1, 4, SCALE, True)
    things = Objects("the star", np.array([[False, False, True]]))
    facts = drawing.measure(np.array([0.2, 0.4, 0.1, 0.3]), shape, 0, things)
    assert facts == pytest.approx((0.3, 0.25, 0.2, 2, 4, (0.1 + 2 * 0.3) / 0.8, 1.0))
    facts = drawing.measure(np.array([0.2, 0.4, 0.1, 0.3]), shape, -1, None)
    assert facts == (None, None, 0.2, 2, 4, None, None)
    assert drawing.measure(np.array([1.0, 0, 0, 0]), shape, 1, None).distance == 0
    assert drawing.measure(np.full(4, 0.25), shape, -1, None).half == 2  # exactly a half


def test_the_star_of_a_scene_is_where_its_mask_is(figure):
    inside = figure.objects[0].inside
    masks = datasets.shapes("pair", 1).masks[0].any(0).float()
    share = masks.reshape(8, 6, 8, 6).mean((1, 3)).numpy()
    np.testing.assert_array_equal(inside, share >= 0.15)
    assert figure.objects[0].named == "the star and the ring"


# -- readers' own ------------------------------------------------------------------------------------------


def test_readers_bring_their_own_model_and_images(own):
    model, images = own
    figure = VitHeads(model, images, image=2, layer=1, head=None, patch=(1, 2))
    expected = captured(model, images)
    assert figure.shape == (2, 3, 2, 3, 2, 8, SCALE, True)
    np.testing.assert_allclose(figure.weights, expected[2, 1, :, 2 + 5].mean(0), atol=1e-7)
    assert figure.image.options == ("1", "2", "3")
    assert "the 2 tokens that are no patches" in figure.static_html()
    single = VitHeads(model, images[:1], layer=0)
    assert single.image not in single.children[1].children
    assert "Picture" not in single.static_html()


def test_a_transformer_of_hugging_face_is_accepted():
    transformers = pytest.importorskip("transformers")
    config = transformers.ViTConfig(
        hidden_size=12, num_hidden_layers=2, num_attention_heads=3, intermediate_size=12, image_size=8,
        patch_size=4, num_labels=2,
    )  # fmt: skip
    torch.manual_seed(0)
    model = transformers.ViTForImageClassification(config).eval()
    images = torch.randn(2, 3, 8, 8)  # normalised pixels
    figure = VitHeads(model, images, layer=1, patch=(0, 1))
    np.testing.assert_allclose(figure.weights, captured(model, images)[0, 1, 0, 2], atol=1e-7)
    shown = np.frombuffer(figure.view.pictures, np.uint8)
    assert (shown.min(), shown.max()) == (0, 255)


def test_of_a_large_model_only_cls_travels():
    torch.manual_seed(0)
    model = models.ViT(image_size=112, patch=8, width=12, depth=3, heads=2, classes=2).eval()
    images = torch.rand(1, 3, 112, 112)
    figure = VitHeads(model, images, layer=2, patch=(3, 3))
    assert not figure.shape.whole
    assert len(figure.view.frames) == 3 * 2 * 197 * 2
    low, high = np.frombuffer(figure.view.frames, np.uint8).astype(int).reshape(2, -1)
    expected = captured(model, images)[0, :, :, 0]
    np.testing.assert_allclose((low + 256 * high).reshape(3, 2, 197) / SCALE, expected, atol=STEP)
    exact = np.frombuffer(figure.view.exact["rows"], "<f4").reshape(3, 2, 197)
    np.testing.assert_allclose(exact, captured(model, images)[0, :, :, 1 + 3 * 14 + 3], atol=1e-7)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"image": 3}, ValueError, "`image` must be an integer from 0 to 2; got 3"),
        ({"layer": 2}, ValueError, "`layer` must be an integer from 0 to 1; got 2"),
        ({"layer": True}, ValueError, "`layer` must be an integer"),
        (
            {"head": 3},
            ValueError,
            r"`head` must be an integer from 0 to 2 \(None: the mean of all\); got 3",
        ),
        ({"patch": (2, 0)}, ValueError, r"`patch` must be the row and column of one of 2 x 3 patches"),
        ({"patch": (0,)}, ValueError, r"counted from 0, or None for CLS; got \(0,\)"),
        ({"images": np.zeros((1, 3, 8, 12))}, TypeError, "`images` must be a float tensor or"),
        (
            {"images": torch.zeros(3, 8, 12)},
            ValueError,
            r"A single image is a batch of one: `images\[None\]`",
        ),
    ],
)
def test_bad_input_is_refused_with_the_remedy(unchecked, own, arguments, error, message):
    model, images = own
    with pytest.raises(error, match=message):
        VitHeads(model, **{"images": images, "layer": 0, **arguments})


def test_too_many_images_are_refused_with_the_remedy(unchecked):
    model = models.ViT(image_size=112, patch=8, width=12, depth=3, heads=2, classes=2).eval()
    with pytest.raises(ValueError, match=r"`images` holds 120, .* even of CLS alone .* Show fewer"):
        VitHeads(model, torch.rand(1, 3, 112, 112).expand(120, -1, -1, -1), layer=0)


# -- in a browser ------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def origin(tmp_path_factory, own):
    folder = tmp_path_factory.mktemp("vit-heads")
    shutil.copy(ROOT / "book" / "static" / "widget-host.js", folder)
    (folder / "figures.css").write_text(stylesheet(), encoding="utf-8")
    for theme in ("light", "dark"):
        write(folder, f"{theme}.html", [VitHeads()], theme=theme)
    write(folder, "own.html", [VitHeads(*own, layer=1, patch=(1, 2))])
    torch.manual_seed(0)
    large = models.ViT(image_size=112, patch=8, width=12, depth=3, heads=2, classes=2).eval()
    write(folder, "large.html", [VitHeads(large, torch.rand(1, 3, 112, 112), layer=2)])
    with serving(folder) as address:
        yield address


def told(page) -> dict[str, str]:
    return page.locator(".pa-live .pa-view").evaluate("view => ({...view.dataset})")


def sentence(page) -> str:
    return page.locator(".pa-live .pa-sentence").inner_text().replace("\n", " ")


def shows(page, figure, tolerance=STEP) -> None:
    """The picture is of the figure's state, its numbers and its words."""
    weights, query = drawn(page, "vit-heads"), figure.view.query
    np.testing.assert_allclose(weights, figure.weights, rtol=0, atol=tolerance)
    place = [figure.image.index, figure.layer.value - 1, figure.head.index, query]
    assert [int(told(page)[name]) for name in ("image", "layer", "head", "query")] == place
    objects = figure.objects[place[0]]
    facts = drawing.measure(weights, figure.shape, query, objects)
    assert sentence(page) == " ".join(drawing.describe(facts, figure.shape, *place[1:], objects))
    paths = ".pa-live .pa-matrix .pa-pm path"
    found = page.locator(paths).evaluate_all(
        "all => all.map(p => [p.getAttribute('class'), p.getAttribute('d')])"
    )
    patches = weights[figure.shape.prefix :].reshape(figure.shape.rows, figure.shape.columns)
    inside = None if objects is None else objects.inside
    assert found == [[kind, d] for kind, d, _ in maps.layers(patches, outline=inside)]


def test_the_host_draws_what_attention_core_computes(visit, origin):  # noqa: F811
    page, figure = visit(f"{origin}/light.html", live=1), VitHeads()
    shows(page, figure, tolerance=1e-7)  # the first state is Python's own
    for image, layer, head, patch in [
        (0, 2, 1, (2, 5)),
        (1, 1, 4, (7, 0)),
        (1, 4, 3, (3, 3)),
        (0, 3, 2, (0, 7)),
    ]:
        page.locator(".pa-live select").select_option(index=image)
        slide(page.locator(".pa-live input[type=range]"), layer)
        page.locator(".pa-live input[type=radio]").nth(head).check()
        page.locator(".pa-live .pa-pmpatch").nth(8 * patch[0] + patch[1]).click()
        figure.image.index, figure.layer.value, figure.head.index, figure.patch = image, layer, head, patch
        shows(page, figure)
    page.locator(".pa-live .pa-vhcls").click()
    figure.patch = None
    shows(page, figure)
    assert page.faults == []


def test_a_small_map_chooses_its_layer_and_head(visit, origin):  # noqa: F811
    page, figure = visit(f"{origin}/light.html", live=1), VitHeads()
    thumbs = page.locator(".pa-live .pa-pmthumb")
    assert thumbs.count() == 4 * 5
    thumbs.nth(1 * 5 + 2).click()
    figure.layer.value, figure.head.index = 2, 2
    shows(page, figure)
    assert page.locator(".pa-live input[type=radio]").nth(2).is_checked()
    assert page.locator(".pa-live input[type=range]").input_value() == "2"
    page.keyboard.press("ArrowDown")
    page.keyboard.press("End")
    page.keyboard.press("Enter")
    figure.layer.value, figure.head.index = 3, 4
    shows(page, figure)
    assert page.locator('.pa-live .pa-pmgrid [tabindex="0"]').count() == 1
    assert page.locator('.pa-live .pa-pmthumb[aria-pressed="true"]').get_attribute("aria-label") == (
        "Layer 3, mean of the heads"
    )


def test_arrows_preview_enter_keeps_and_escape_goes_back(visit, origin):  # noqa: F811
    page, figure = visit(f"{origin}/light.html", live=1), VitHeads()
    assert page.locator('.pa-live .pa-pmpatches [tabindex="0"]').count() == 1
    page.locator(".pa-live .pa-pmpatch").first.focus()
    for key, patch in (
        ("ArrowRight", (0, 1)),
        ("ArrowDown", (1, 1)),
        ("End", (1, 7)),
        ("ArrowRight", (1, 7)),
    ):
        page.keyboard.press(key)
        figure.patch = patch
        shows(page, figure)
    page.keyboard.press("Enter")
    page.locator(".pa-live input[type=range]").focus()
    shows(page, figure)  # kept
    spoken = page.locator(".pa-live .pa-spoken")
    heard = eventually(page, spoken.inner_text, lambda text: "row 2, column 8" in text)
    assert heard.startswith("Layer 4, head 1: row 2, column 8 puts")
    page.keyboard.press("Escape")
    figure.patch = None
    shows(page, figure, tolerance=1e-7)


def test_the_pointer_previews_a_patch_and_a_click_keeps_it(visit, origin):  # noqa: F811
    page, figure = visit(f"{origin}/light.html", live=1), VitHeads()
    patches = page.locator(".pa-live .pa-pmpatch")
    patches.nth(21).hover()
    assert told(page)["query"] == "21"
    page.mouse.move(5, 5)
    assert told(page)["query"] == "-1"
    patches.nth(21).click()
    page.mouse.move(5, 5)
    figure.patch = (2, 5)
    shows(page, figure)
    for board in page.locator(".pa-live .pa-pm").all():
        box, frame = board.bounding_box(), board.locator(".pa-pmmark").bounding_box()
        assert frame["x"] - box["x"] == pytest.approx(5 * box["width"] / 8, abs=0.5)
        assert frame["y"] - box["y"] == pytest.approx(2 * box["height"] / 8, abs=0.5)


def test_a_finger_chooses_a_patch(visit, origin):  # noqa: F811
    phone = {"viewport": {"width": 390, "height": 1800}, "has_touch": True, "is_mobile": True}
    page = visit(f"{origin}/light.html", live=1, **phone)
    page.locator(".pa-live .pa-pmpatch").nth(30).tap()
    assert eventually(page, lambda: told(page)["query"], lambda query: query == "30") == "30"


def test_models_of_the_readers_are_drawn(visit, origin, own):  # noqa: F811
    page, figure = visit(f"{origin}/own.html", live=1), VitHeads(*own, layer=1, patch=(1, 2))
    shows(page, figure, tolerance=1e-7)
    page.locator(".pa-live .pa-pmpatch").nth(1).click()
    page.locator(".pa-live input[type=radio]").nth(3).check()
    figure.patch, figure.head.index = (0, 1), 3
    shows(page, figure)
    assert page.faults == []


def test_what_did_not_travel_is_not_invented(visit, origin):  # noqa: F811
    """Without a kernel there are no weights of a large model's patches: hovering them changes nothing."""
    page = visit(f"{origin}/large.html", live=1)
    before = drawn(page, "vit-heads")
    page.locator(".pa-live .pa-pmpatch").nth(20).hover()
    page.locator(".pa-live .pa-pmpatch").nth(20).click()
    assert told(page)["query"] == "-1"
    np.testing.assert_array_equal(drawn(page, "vit-heads"), before)
    assert page.faults == []


def test_the_canvas_shows_the_picture(visit, origin):  # noqa: F811
    page = visit(f"{origin}/light.html", live=1)
    read = """i => {
        const canvas = document.querySelectorAll('.pa-live canvas')[i];
        return [...canvas.getContext('2d').getImageData(0, 0, 48, 48).data];
    }"""
    images = maps.rgb(datasets.shapes("pair", 2).images)
    for image in (1, 0):
        page.locator(".pa-live select").select_option(index=image)
        for canvas in (0, 1):
            pixels = np.reshape(page.evaluate(read, canvas), (48, 48, 4))
            np.testing.assert_array_equal(pixels[..., :3], images[image])


def test_without_scripts_and_in_print_the_static_picture_stands(visit, origin):  # noqa: F811
    page = visit(f"{origin}/dark.html", live=0, java_script_enabled=False)
    assert page.locator(".pa-static .pa-pm path").count() > 5
    assert page.locator(".pa-static .pa-sentence").is_visible()
    page = visit(f"{origin}/dark.html", live=1)
    page.emulate_media(media="print")
    assert page.locator(".pa-static .pa-pm svg").first.is_visible()
    assert not page.locator(".pa-live").is_visible()


def test_map_and_small_maps_are_the_same_without_scripts(visit, origin):  # noqa: F811
    page = visit(f"{origin}/light.html", live=1)
    read = """(view) => [...view.querySelectorAll('svg g')].map(
        (ink) => [...ink.children].map((path) => path.getAttribute('d')))"""
    live, still = (page.locator(f"{side} .pa-view").evaluate(read) for side in (".pa-live", ".pa-static"))
    assert live == still
    assert len(live) == 2 + 20


@pytest.mark.parametrize("name", ["light", "dark", "own", "large"])
@pytest.mark.parametrize("width", [1280, 700, 390, 320])
def test_it_fits_is_accessible_and_takes_its_static_pictures_place(visit, origin, node_modules, name, width):  # noqa: F811
    page = visit(f"{origin}/{name}.html", live=1, viewport={"width": width, "height": 800})
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    page.evaluate((node_modules / "axe-core" / "axe.min.js").read_text(encoding="utf-8"))
    assert (
        page.evaluate("axe.run('main').then((r) => r.violations.map((v) => [v.id, v.nodes[0].html]))") == []
    )
    words = """(card) => [...card.querySelectorAll('.pa-caption, .pa-legend, .pa-sentence')]
        .map((e) => e.textContent)"""
    live, still = (page.locator(f"{side} .pa-view").evaluate(words) for side in (".pa-live", ".pa-static"))
    assert live == still
    heights = page.evaluate("""[...document.querySelectorAll('figure')].map((f) => {
        const live = f.offsetHeight;
        f.removeAttribute('data-live');
        f.querySelector('.pa-live').style.display = 'none';
        return [live, f.offsetHeight];
    })""")
    assert all(abs(live - still) <= 1 for live, still in heights), heights
