import itertools
import json

import numpy as np
import pytest
import torch

from attention_core import explain
from attention_core.explain import faithfulness
from attention_core.figures import ClassMaps, base
from attention_core.figures import class_maps_static as drawing

from ..browser import serving
from .patch_figures import BAD, choose, close, fits, pages, refused, sentence, small
from .test_in_browser import drawn, visit  # noqa: F401

MODULE = base.module("class_maps")


@pytest.fixture(scope="module")
def figure():
    return ClassMaps()


def states(figure):
    """Every position of the controls."""
    every = (range(len(c.options)) for c in (figure.image, figure.method, figure.answer))
    for image, method, answer in itertools.product(*every):
        figure.image.index, figure.method.index, figure.answer.index = image, method, answer
        yield image, figure.methods[method], answer


# -- numbers -----------------------------------------------------------------------------------------------


def test_every_map_is_that_of_explain(figure):
    shown, seen = figure.shown, 0
    found = {}
    for image, method, answer in states(figure):
        key = method, answer
        if key not in found:
            target = figure.targets[:, answer] if explain.METHODS[method].class_sensitive else None
            found[key] = explain.explain(shown.model, shown.images, target, method).values.numpy()
        np.testing.assert_array_equal(figure.weights, found[key][image])
        np.testing.assert_array_equal(figure.raw, found.setdefault(("raw", answer), figure.raw[None])[image])
        seen += 1
    assert seen == 3 * 9 * 2


def test_raw_and_rollout_are_the_same_for_both_classes_and_the_others_are_not(figure):
    for m, method in enumerate(figure.methods):
        difference = np.abs(figure.maps[:, m, 0] - figure.maps[:, m, 1]).max(axis=(1, 2))
        assert [facts[m]["difference"] for facts in figure.facts] == pytest.approx(difference.tolist())
        if method in ("raw", "rollout"):
            assert (difference == 0).all()
        else:
            assert (difference > 1e-3 * np.abs(figure.maps[:, m]).max(axis=(1, 2, 3))).all(), method


def test_shares_and_correlations_are_those_of_faithfulness(figure):
    masks = figure.shown.masks
    rows = torch.arange(len(figure.shown))
    for m in range(len(figure.methods)):
        for answer in (0, 1):
            maps = torch.from_numpy(figure.maps[:, m, answer])
            for key, wanted in (("own", answer), ("other", 1 - answer)):
                expected = faithfulness.mass_accuracy(maps, masks[rows, figure.targets[:, wanted]])
                assert [facts[m][key][answer] for facts in figure.facts] == expected.tolist()
        alike = faithfulness.correlation(*torch.from_numpy(figure.maps[:, m]).unbind(1))
        assert [facts[m]["correlation"] for facts in figure.facts] == alike.tolist()


def test_a_map_spread_evenly_gets_what_the_objects_cover(figure):
    covered = figure.shown.masks.float().mean((2, 3))
    for i, pair in enumerate(figure.targets.tolist()):
        assert figure.facts[i][-1]["own"] == pytest.approx([covered[i, c].item() for c in pair])


def test_readers_bring_a_model_images_targets_and_methods():
    model, images = small(), torch.rand(2, 3, 48, 48)
    figure = ClassMaps(model, images, targets=[[1, 2], [7, 0]], methods=["cdam", "rollout"], answer=1)
    assert figure.methods == ("cdam", "rollout")
    assert figure.method.value == "cdam"
    expected = explain.explain(model, images, torch.tensor([2, 0]), "cdam").values[0]
    np.testing.assert_array_equal(figure.weights, expected)
    assert "Where the maps lie" not in figure.static_html()  # no masks, no shares
    likely = model(images).topk(2).indices
    assert torch.equal(ClassMaps(model, images, methods="raw").targets, likely)


def test_it_stays_inside_a_figures_budget(figure):
    assert np.prod(figure.maps.shape[:3]) <= base.MOST_FRAMES
    assert len(figure.view.pixels) + len(figure.view.frames) <= base.MOST_BYTES
    with pytest.raises(ValueError, match="`images` and `methods` together make 320 maps"):
        ClassMaps(small(), torch.rand(80, 3, 48, 48), methods=["edges"])


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        *BAD,
        ({"answer": 2}, ValueError, "`answer` must be one of 0, 1; got 2"),
        (
            {"targets": [0, 1]},
            ValueError,
            r"`targets` must hold 2 class indices for each of 2 images; .* \(2,\)",
        ),
        ({"targets": [[0, 8], [0, 1]]}, ValueError, r"`targets` must lie in 0\.\.7, .* got 0\.\.8"),
        ({"targets": [[0, 1], [3, 3]]}, ValueError, "`targets` must be two different classes"),
    ],
)
def test_bad_input_is_refused_with_the_remedy(unchecked, arguments, error, message):
    refused(ClassMaps, arguments, error, message)


# -- words -------------------------------------------------------------------------------------------------


def cases():
    rng = np.random.default_rng(1)
    for i in range(60):
        own, other = rng.random((2, 2)) / 2
        record = {"title": "CDAM", "signed": bool(i % 2), "blind": i % 3 == 0}
        facts = {
            "own": [None, None] if i % 5 == 4 else own.tolist(),
            "other": [None, None] if i % 5 == 4 else other.tolist(),
            "blank": [i % 7 == 6, False],
            "difference": 0.0 if i % 3 < 2 else 0.5,
            "correlation": float(rng.uniform(-1, 1)),
        }
        yield record, facts, i // 2 % 2, ["star", "ring"], i % 4 == 0


def test_python_and_javascript_say_the_same(javascript):
    many = list(cases())
    there = javascript(MODULE, "(all) => all.map((c) => [describe(...c), shares(c[1], c[2])])", many)
    assert there == [[drawing.describe(*c), drawing.shares(*c[1:3])] for c in many]


def test_the_sentence_says_whether_the_map_changed():
    figure = ClassMaps(method="rollout")
    html = figure.static_html()
    assert "gives the same map, difference 0: it has no argument for the class." in html
    figure.method.value = "attnlrp"
    assert "AttnLRP gives another map: the two correlate by " in figure.static_html()
    own = figure.facts[0][figure.method.index]["own"][0]
    assert f"{100 * own:.0f}\u00a0% of the map's positive part lies on it" in figure.static_html()


# -- in a browser ------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def origin(tmp_path_factory):
    folder = tmp_path_factory.mktemp("class-maps")
    own = ClassMaps(small(), torch.rand(1, 3, 48, 48), methods=["cdam", "raw"])
    pages(folder, ClassMaps, own=own)
    with serving(folder) as address:
        yield address


def test_the_host_draws_every_map(visit, origin, figure):  # noqa: F811
    page = visit(f"{origin}/light.html", live=1)
    view, radios = page.locator(".pa-live .pa-view"), page.locator(".pa-live input[type=radio]")
    for image, method, answer in states(figure):
        choose(page, "Image", image)
        choose(page, "Method", figure.method.index)
        radios.nth(answer).check()
        shown = [drawn(page, "class-maps"), json.loads(view.get_attribute("data-raw"))]
        close(shown, np.stack([figure.weights, figure.raw]))
        record, facts = figure.records[figure.method.index], figure.facts[image][figure.method.index]
        words = drawing.describe(record, facts, answer, figure.names[image], method == "raw")
        assert sentence(page) == " ".join(filter(None, words))
        colours = page.locator(".pa-live .pa-pm").nth(1).locator("path:not(.pa-pmedge)").count()
        assert (colours == 0) == facts["blank"][answer]
    assert page.faults == []


def test_the_class_is_asked_for_by_keyboard(visit, origin):  # noqa: F811
    page = visit(f"{origin}/light.html", live=1)
    before = drawn(page, "class-maps")
    page.locator(".pa-live input[type=radio]:checked").focus()
    page.keyboard.press("ArrowRight")
    assert not np.array_equal(drawn(page, "class-maps"), before)
    assert page.locator(".pa-live .pa-cm-asked").inner_text() == "B"
    page.wait_for_timeout(300)
    assert page.locator(".pa-live .pa-spoken").inner_text().startswith("Asked for B")


@pytest.mark.parametrize("name", ["light", "dark", "own"])
@pytest.mark.parametrize("width", [1280, 390, 320])
def test_it_fits_is_accessible_and_takes_its_static_pictures_place(visit, origin, node_modules, name, width):  # noqa: F811
    page = visit(f"{origin}/{name}.html", live=1, viewport={"width": width, "height": 800})
    parts = ".pa-caption:not([hidden] *), .pa-cm-badge, .pa-cm-row:not([hidden] *), .pa-pmlegend, .pa-pm svg"
    fits(page, width, node_modules, parts)
