import itertools
import json

import numpy as np
import pytest
import torch

from attention_core import explain
from attention_core.explain import faithfulness
from attention_core.figures import Faithfulness, base
from attention_core.figures import faithfulness_static as drawing

from ..browser import serving
from .patch_figures import BAD, choose, fits, pages, refused, sentence, small
from .test_in_browser import drawn, slide, visit  # noqa: F401

MODULE = base.module("faithfulness")


@pytest.fixture(scope="module")
def figure():
    return Faithfulness()


def maps(figure, method):
    target = figure.targets if explain.METHODS[method].class_sensitive else None
    return explain.explain(figure.shown.model, figure.shown.images, target, method).values


# -- numbers -----------------------------------------------------------------------------------------------


def test_every_curve_is_that_of_faithfulness(figure):
    shown = figure.shown
    for order, sign in enumerate((1, -1)):
        figure.order.index = order
        for m, method in enumerate(figure.methods):
            found = maps(figure, method)
            shares, curve = faithfulness.curve(shown.model, shown.images, sign * found, figure.targets)
            area = faithfulness.deletion(shown.model, shown.images, sign * found, figure.targets)
            for image in range(len(shown)):
                figure.image.index, figure.method.index = image, m
                np.testing.assert_array_equal(figure.weights[m], curve[image])
                assert figure.now.area == pytest.approx(area[image].item(), abs=1e-12)
            assert (shares * 64).tolist() == figure.counts
    figure.order.index = 0


def test_the_scenes_are_what_the_docstring_says_that_they_were_chosen_for(figure):
    raw = figure.runs[0][figure.methods.index("raw")]
    assert raw.area[0] > 0.8
    assert raw.area[1:].max() < 0.3
    with torch.no_grad():
        sure = torch.sigmoid(figure.shown.model(figure.shown.images))[figure.shown.labels]
    assert sure.min() > 0.98


def test_all_curves_begin_and_end_together(figure):
    for order, image in itertools.product((0, 1), range(3)):
        figure.order.index, figure.image.index = order, image
        assert (np.ptp(figure.weights[:, [0, -1]], axis=0) == 0).all()
        assert figure.weights[0, 0] > 0.99
        if order == 0:  # but not in between
            assert np.ptp(figure.weights, axis=0).max() > 0.5
    figure.order.index = figure.image.index = 0


def test_patches_go_in_the_order_of_the_map(figure):
    model, images, figure.image.index = figure.shown.model, figure.shown.images, 0
    for order, m in itertools.product((0, 1), range(len(figure.methods))):
        figure.order.index, figure.method.index, figure.removed.value = order, m, 5
        gone, values = figure.gone, figure.maps[0, m]
        assert gone.sum() == 20
        if order == 0:
            assert values[gone].min() >= values[~gone].max()
        else:
            assert values[gone].max() <= values[~gone].min()
        keep = torch.from_numpy(~gone.ravel())[None]
        with torch.no_grad():
            left = torch.sigmoid(model(images[:1], keep=keep)[0, figure.targets[0]])
        assert figure.now.left == pytest.approx(left.item(), abs=1e-6)
    figure.order.index = figure.method.index = figure.removed.value = 0


def test_readers_bring_a_model_images_targets_and_methods():
    model, images = small(), torch.rand(2, 3, 48, 48)
    figure = Faithfulness(model, images, targets=[1, 7], methods=["edges", "cdam"], image=1, removed=1)
    assert figure.methods == ("cdam", "random", "edges")
    assert figure.gone.all()
    _, expected = faithfulness.curve(
        model, images, explain.explain(model, images, [1, 7], "cdam").values, torch.tensor([1, 7])
    )
    np.testing.assert_array_equal(figure.weights[0], expected[1])
    assert torch.equal(Faithfulness(model, images, methods="raw").targets, model(images).argmax(1))


def test_it_stays_inside_a_figures_budget(figure):
    view = figure.view
    assert len(view.pixels) + len(view.frames) + len(view.places) + len(view.curves) <= base.MOST_BYTES


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        *BAD,
        ({"removed": 1.5}, ValueError, "`removed` must lie between 0 and 1; got 1.5"),
        (
            {"targets": [[0, 1], [1, 2]]},
            ValueError,
            r"`targets` must hold one class index for each of 2 images",
        ),
    ],
)
def test_bad_input_is_refused_with_the_remedy(unchecked, arguments, error, message):
    refused(Faithfulness, arguments, error, message)


# -- words -------------------------------------------------------------------------------------------------


def cases():
    rng = np.random.default_rng(2)
    for i in range(120):
        whole, left, lot, area = rng.random(4).tolist()
        now = drawing.Now(
            gone=[0, 16, 64][i % 3], patches=64, whole=whole, left=whole if i % 11 == 0 else left, lot=lot,
            area=area, chance=area + 0.01 if i % 5 == 0 else rng.random(),
        )  # fmt: skip
        yield "CDAM", "star", now, bool(i % 2), i % 7 == 0


def test_python_and_javascript_say_the_same(javascript):
    many = list(cases())
    sent = [[*case[:2], case[2]._asdict(), *case[3:]] for case in many]
    there = javascript(
        MODULE, "(all) => all.map((c) => [describe(...c), facts(c[2]), captions(c[0], c[2])])", sent
    )
    expected = [[drawing.describe(*c), drawing.facts(c[2]), drawing.captions(c[0], c[2])] for c in many]
    assert there == expected
    assert len({words[-1].rpartition(":")[2] for words, *_ in expected}) > 5  # every remark was made


def test_a_map_is_judged_against_chance_in_the_direction_of_its_order():
    now = drawing.Now(gone=16, patches=64, whole=0.9, left=0.1, lot=0.8, area=0.2, chance=0.6)
    assert drawing.describe("X", "star", now, False, False)[-1].endswith("what it ranks high has effect.")
    assert drawing.describe("X", "star", now, True, False)[-1].endswith(
        "low in the map is not low in effect."
    )
    worse = now._replace(area=0.9)
    said = drawing.describe("X", "star", worse, False, False)[-1]
    assert said.endswith("high in the map is not high in effect.")


# -- in a browser ------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def origin(tmp_path_factory):
    folder = tmp_path_factory.mktemp("faithfulness")
    own = Faithfulness(small(), torch.rand(1, 3, 48, 48), methods=["cdam"], removed=0.5)
    pages(folder, Faithfulness, own=own)
    with serving(folder) as address:
        yield address


def test_the_host_draws_what_attention_core_computes(visit, origin, figure):  # noqa: F811
    page = visit(f"{origin}/light.html", live=1)
    view, radios = page.locator(".pa-live .pa-view"), page.locator(".pa-live input[type=radio]")
    slider = page.locator(".pa-live input[type=range]")
    for image, m, order, step in [*itertools.product((0, 2), (0, 3, 6, 7, 8), (0, 1), (0, 5, 16))]:
        choose(page, "Image", image)
        choose(page, "Method", m)
        radios.nth(order).check()
        slide(slider, step)
        figure.image.index, figure.method.index = image, m
        figure.order.index, figure.removed.value = order, step
        np.testing.assert_allclose(drawn(page, "faithfulness"), figure.weights, atol=1e-7)
        assert json.loads(view.get_attribute("data-gone")) == figure.gone.ravel().astype(int).tolist()
        hatched = page.locator(".pa-live .pa-pmplain .pa-pmgone").count()
        assert bool(hatched) == (step > 0)
        lot = figure.methods[m] == "random"
        name = figure.shown.model.classes[int(figure.targets[image])]
        words = drawing.describe(figure.titles[m], name, figure.now, order == 1, lot)
        assert sentence(page) == " ".join(filter(None, words))
        tiles = page.locator(".pa-live .pa-tile strong").all_inner_texts()
        assert tiles == drawing.facts(figure.now)
    assert page.faults == []


def test_patches_are_taken_away_by_keyboard_and_by_steps(visit, origin):  # noqa: F811
    page = visit(f"{origin}/light.html", live=1)
    view = page.locator(".pa-live .pa-view")
    page.locator(".pa-live input[type=range]").focus()
    for key, step in (("ArrowRight", "1"), ("End", "16"), ("Home", "0")):
        page.keyboard.press(key)
        assert view.get_attribute("data-step") == step
    page.get_by_role("button", name="Next").click()
    assert view.get_attribute("data-gone").count("1") == 4
    page.wait_for_timeout(300)
    assert page.locator(".pa-live .pa-spoken").inner_text().startswith("Without the 4 of 64 patches")


@pytest.mark.parametrize("name", ["light", "dark", "own"])
@pytest.mark.parametrize("width", [1280, 390, 320])
def test_it_fits_is_accessible_and_takes_its_static_pictures_place(visit, origin, node_modules, name, width):  # noqa: F811
    page = visit(f"{origin}/{name}.html", live=1, viewport={"width": width, "height": 800})
    fits(page, width, node_modules, ".pa-caption, .pa-tile, .pa-key, .pa-sc-box, .pa-pmlegend, .pa-pm svg")
