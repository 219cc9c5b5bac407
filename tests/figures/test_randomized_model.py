import itertools
import json

import numpy as np
import pytest
import torch

from attention_core import explain
from attention_core.explain import faithfulness
from attention_core.figures import RandomizedModel, base
from attention_core.figures import randomized_model_static as drawing

from ..browser import serving
from .patch_figures import BAD, choose, close, fits, pages, pairs, refused, sentence, small
from .test_in_browser import drawn, slide, visit  # noqa: F401

MODULE = base.module("randomized_model")


@pytest.fixture(scope="module")
def figure():
    return RandomizedModel()


def maps(figure, model, method):
    target = figure.targets if explain.METHODS[method].class_sensitive else None
    return explain.explain(model, figure.shown.images, target, method).values


# -- numbers -----------------------------------------------------------------------------------------------


def test_every_correlation_is_that_of_the_cascade(figure):
    shown = figure.shown
    for m, method in enumerate(figure.methods):
        alike = faithfulness.randomization_cascade(
            shown.model, shown.images, lambda model, _, method=method: maps(figure, model, method)
        )
        for image in range(len(shown)):
            figure.image.index = image
            expected = [1.0, *(values[image].item() for values in alike.values())]
            np.testing.assert_allclose(figure.correlations[m], expected, atol=1e-12)
    assert figure.stages == ["the head", "layer 4", "layer 3", "layer 2", "layer 1", "the embedding"]
    figure.image.index = 0


def test_maps_and_answers_are_those_of_the_randomised_model(figure):
    shown, names = figure.shown, [name for name, _ in figure.shown.model.named_parameters()]
    begin = ["head.", "norm.", "blocks.3.", "blocks.2."]
    for layers, lost in ((0, ()), (1, begin[:2]), (3, begin)):
        chosen = [name for name in names if name.startswith(tuple(lost))] if lost else []
        model = faithfulness.randomized(shown.model, chosen)
        figure.layers.value = layers
        for m, method in enumerate(figure.methods):
            figure.method.index = m
            np.testing.assert_array_equal(figure.weights[1], maps(figure, model, method)[0])
            np.testing.assert_array_equal(figure.weights[0], maps(figure, shown.model, method)[0])
        with torch.no_grad():
            expected = torch.sigmoid(model(shown.images)[0, figure.targets[0]]).item()
        assert figure.now["after"] == pytest.approx(expected, abs=1e-7)


def test_rollout_hardly_notices_the_head_edges_never_and_gradients_do(figure):
    figure.image.index = 0
    alike = dict(zip(figure.methods, figure.correlations, strict=True))
    np.testing.assert_allclose(alike["edges"], 1, atol=1e-12)
    np.testing.assert_allclose(alike["rollout"][:2], 1, atol=1e-12)  # it does not reach the head
    assert alike["raw"][1] == pytest.approx(1)
    for method in ("chefer", "cdam", "attnlrp"):
        assert alike[method][1] < 0.9
        assert alike[method].min() < 0.5


def test_another_seed_draws_another_model():
    given = dict(model=small(), images=pairs(), methods=["cdam"])
    one, same, other = (RandomizedModel(**given, seed=seed, layers=3).weights for seed in (0, 0, 1))
    np.testing.assert_array_equal(one, same)
    np.testing.assert_array_equal(one[0], other[0])
    assert not np.array_equal(one[1], other[1])


def test_readers_bring_a_model_images_targets_and_methods():
    model, images = small(), torch.rand(2, 3, 48, 48)
    figure = RandomizedModel(model, images, targets=[1, 7], methods=["cdam"], image=1)
    assert len(figure.stages) == 4
    expected = explain.explain(model, images, [1, 7], "cdam").values[1]
    np.testing.assert_array_equal(figure.weights[0], expected)


def test_it_stays_inside_a_figures_budget(figure):
    assert len(figure.shown) * len(figure.methods) * 7 <= base.MOST_FRAMES
    assert len(figure.view.pixels) + len(figure.view.frames) + len(figure.view.alike) <= base.MOST_BYTES


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [*BAD, ({"layers": 5}, ValueError, "`layers` must be an integer from 0 to 4; got 5")],
)
def test_bad_input_is_refused_with_the_remedy(unchecked, arguments, error, message):
    refused(RandomizedModel, arguments, error, message)


# -- words -------------------------------------------------------------------------------------------------


def cases():
    stages = ["the head", "layer 2", "layer 1", "the embedding"]
    alikes = (-0.3, 0.5, 0.7, 0.9, 1.0)
    for aloof, blank, alike, at in itertools.product((False, True), (False, True), alikes, range(5)):
        now = {"alike": alike, "blank": blank, "before": 0.98, "after": 0.125}
        yield {"title": "CDAM", "signed": True, "aloof": aloof}, "star", stages[:at], now


def test_python_and_javascript_say_the_same(javascript):
    many = list(cases())
    run = "(all) => all.map((c) => [describe(...c), facts(c[2].length, 4, c[3]), captions(c[1], c[2])])"
    expected = [
        [drawing.describe(*c), drawing.facts(len(c[2]), 4, c[3]), drawing.captions(c[1], c[2])] for c in many
    ]
    assert javascript(MODULE, run, many) == expected
    assert len({words[-1] for words, *_ in expected}) == 6  # every remark was made


def test_stages_are_listed_as_in_a_sentence():
    figure = RandomizedModel(small(), pairs(), layers=3, methods=["rollout"])
    assert "With the head, layer 2 and layer 1 drawn anew, Attention rollout keeps" in figure.static_html()


# -- in a browser ------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def origin(tmp_path_factory):
    folder = tmp_path_factory.mktemp("randomized-model")
    own = RandomizedModel(small(), torch.rand(1, 3, 48, 48), methods=["cdam", "raw"], layers=2)
    pages(folder, RandomizedModel, own=own)
    with serving(folder) as address:
        yield address


def test_the_host_draws_what_attention_core_computes(visit, origin, figure):  # noqa: F811
    page = visit(f"{origin}/light.html", live=1)
    view, slider = page.locator(".pa-live .pa-view"), page.locator(".pa-live input[type=range]")
    for image, m, at in itertools.product((0, 2), range(len(figure.methods)), (0, 1, 4, 6)):
        choose(page, "Image", image)
        choose(page, "Method", m)
        slide(slider, at)
        figure.image.index, figure.method.index, figure.layers.value = image, m, at
        close(drawn(page, "randomized-model"), figure.weights)
        seen = json.loads(view.get_attribute("data-correlations"))
        np.testing.assert_allclose(seen, figure.correlations, atol=1e-7)
        name = figure.shown.model.classes[int(figure.targets[image])]
        words = drawing.describe(figure.records[m], name, figure.stages[:at], figure.now)
        assert sentence(page) == " ".join(words)
        tiles = page.locator(".pa-live .pa-tile strong").all_inner_texts()
        assert tiles == drawing.facts(at, 6, figure.now)
    assert page.faults == []


def test_modules_are_drawn_anew_by_keyboard_and_by_steps(visit, origin):  # noqa: F811
    page = visit(f"{origin}/light.html", live=1)
    view = page.locator(".pa-live .pa-view")
    page.locator(".pa-live input[type=range]").focus()
    for key, layers in (("ArrowRight", "1"), ("End", "6"), ("Home", "0")):
        page.keyboard.press(key)
        assert view.get_attribute("data-layers") == layers
    page.get_by_role("button", name="Next").click()
    assert view.get_attribute("data-layers") == "1"
    page.wait_for_timeout(300)
    assert page.locator(".pa-live .pa-spoken").inner_text().startswith("With the head drawn anew")


@pytest.mark.parametrize("name", ["light", "dark", "own"])
@pytest.mark.parametrize("width", [1280, 390, 320])
def test_it_fits_is_accessible_and_takes_its_static_pictures_place(visit, origin, node_modules, name, width):  # noqa: F811
    page = visit(f"{origin}/{name}.html", live=1, viewport={"width": width, "height": 800})
    fits(page, width, node_modules, ".pa-caption, .pa-tile, .pa-key, .pa-sc-box, .pa-pmlegend, .pa-pm svg")
