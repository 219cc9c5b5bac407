"""The numbers in the text of the chapter "Attention maps ..." are those that its cells compute."""

from fractions import Fraction
from pathlib import Path

import nbformat
import pytest
import torch
from torch.nn import functional as F

from attention_core import datasets, explain, models
from attention_core.explain import attention, faithfulness, flow

CHAPTER = Path(__file__).parents[1] / "chapters" / "6-seeing" / "attention-maps.ipynb"


@pytest.fixture(scope="module")
def text():
    """The prose, each run of white space as one blank."""
    cells = nbformat.read(CHAPTER, as_version=4).cells
    return " ".join(" ".join(cell.source for cell in cells if cell.cell_type == "markdown").split())


@pytest.fixture(scope="module")
def model():
    return models.load("shapes-vit")


@pytest.fixture(scope="module")
def single():
    return datasets.shapes("single", 100)


@pytest.fixture(scope="module")
def masks(single):
    return single.masks[torch.arange(100), single.labels.float().argmax(1)]


@pytest.fixture(scope="module")
def seen(model, single):
    with torch.no_grad():
        return explain.capture(model, single.images)


@pytest.fixture(scope="module")
def weights(seen):
    return seen.stacked().detach()


@pytest.fixture(scope="module")
def scores(model, single, masks, seen, weights):
    """Pointing game and AUC of each map of the table."""
    maps = {
        f"layer {k + 1}": explain.explain(model, single.images, method="raw", layers=k).values
        for k in range(4)
    }
    maps["mean"] = explain.explain(model, single.images, method="raw", layers=range(4)).values
    maps |= {
        name: explain.explain(model, single.images, method=name).values
        for name in ("rollout", "edges", "random")
    }
    maps["reversed"] = seen.as_map(attention.rollout(weights.flip(1))[:, 0])
    return {
        name: (faithfulness.pointing_game(found, masks).mean(), faithfulness.auc(found, masks).mean())
        for name, found in maps.items()
    }


def test_accuracy_and_what_shuffling_costs(text, model):
    test = datasets.shapes("test", 500)

    def exact(images):
        with torch.no_grad():
            return int(((model(images) > 0) == test.labels).all(1).sum())

    def shuffled(seed):
        order = torch.randperm(64, generator=torch.Generator().manual_seed(seed))
        return F.fold(F.unfold(test.images, 6, stride=6)[:, :, order], 48, 6, stride=6)

    right = exact(test.images)
    assert f"all eight answers right in {right / 500:.3f} of the pictures" in text
    lost = right - min(exact(shuffled(seed)) for seed in range(5))
    words = ("none", "one", "two", "three", "four", "five", "six", "seven", "eight")
    assert f"at worst {words[lost]} of the five hundred pictures are lost" in text
    places = model.positions.data[1:].clone()
    try:
        model.positions.data[1:] = places.mean(0)
        assert 0 <= right - exact(test.images) <= lost  # "in both cases"
    finally:
        model.positions.data[1:] = places
    assert round(float((~test.labels).float().mean()), 2) == 0.75
    assert "three answers in four are *no*" in text


def test_two_heads_are_as_the_text_has_them(text, weights, single, masks):
    itself = weights[:, :, :, 0, 0].mean(0)
    assert itself.argmax() == 0  # layer 1, head 1
    assert f"in layer 1, head 1, CLS keeps to itself {itself[0, 0]:.2f} of what" in text
    shares = faithfulness.patch_masks(masks, (8, 8))
    row = F.normalize(weights[:, :, :, 0, 1:].double(), p=1, dim=-1)
    each = (row * shares.flatten(1)[:, None, None]).sum(-1)
    on_object = each.mean(0)
    by_layer = [f"{share:.2f}" for share in on_object.mean(1)]
    first, second, third, last = by_layer
    assert (
        f"In the *first*, {first}; then it falls to {second} and {third}, and the last layer has {last}"
        in text
    )
    assert first == max(by_layer)
    low, high = (f"{edge:.2f}" for edge in on_object[0].aminmax())
    assert f"in layer 1 they go from {low} to {high}" in text
    assert f"The objects cover {shares.mean():.3f} of the pictures" in text


def test_heads_of_the_last_layer_read_some_shapes_and_not_others(text, model, weights, single, masks):
    shares = faithfulness.patch_masks(masks, (8, 8))
    row = F.normalize(weights[:, :, :, 0, 1:].double(), p=1, dim=-1)
    each = (row * shares.flatten(1)[:, None, None]).sum(-1)
    by_shape = {name: each[single.labels[:, k]].mean(0) for k, name in enumerate(model.classes)}
    star, heart = by_shape["star"][3, 3], by_shape["heart"][3, 0]
    assert f"Head 4 puts {star:.2f} of its attention on a star and nothing on a cross" in text
    assert f"head 1 puts {heart:.2f} on a heart and nothing on a ring" in text
    assert max(by_shape["cross"][3, 3], by_shape["ring"][3, 0]) < 0.005
    found = torch.stack(list(by_shape.values()))
    assert (found.amax(0) > 0.3).all()  # each finds some shapes
    assert (found.amin(0) < shares.mean()).all()  # and gives others less than chance


def test_heads_of_the_last_layer_on_the_star_and_the_ring_of_the_figure(text, model):
    scene = datasets.shapes("pair", 1)
    with torch.no_grad():
        row = explain.capture(model, scene.images).weights[3][0, :, 0, 1:]
    touched = [
        (faithfulness.patch_masks(scene.masks[:, model.classes.index(name)], (8, 8)) > 0).flatten()
        for name in ("star", "ring")
    ]
    star, ring = ((row * on).sum(-1) / row.sum(-1) for on in touched)
    assert "In layer 4, head 4 sees the star and head 2 the ring, while head 1 avoids both." in text
    assert star[3] > 0.9
    assert ring[1] > 0.9
    assert star[0] + ring[0] < 0.05


def test_every_head_looks_as_far_as_equal_weights_would(text, weights):
    grid = torch.cartesian_prod(torch.arange(8.0), torch.arange(8.0))
    apart = 6 * torch.cdist(grid, grid)
    among = F.normalize(weights[..., 1:, 1:], p=1, dim=-1)
    distance = (among * apart).sum(-1).mean((0, 3))
    assert (distance - apart.mean()).abs().max() < 2
    assert f"within two pixels of {apart.mean():.1f}" in text


def test_values_differ_by_five_to_seven_and_another_token_leads_in_one_row_of_five(
    text, model, seen, weights
):
    ratios, others = [], []
    for layer in range(4):
        out = model.blocks[layer].attention.out.weight.detach().unflatten(1, (4, 16))
        values = seen.values[layer].detach().unflatten(2, (4, 16))
        lengths = torch.einsum("bjhd,whd->bhjw", values, out).norm(dim=-1)
        row = weights[:, layer, :, 0]
        others.append((row.argmax(-1) != (row * lengths).argmax(-1)).float().mean())
        ratios.append((lengths.amax(-1) / lengths.amin(-1)).median())
    assert all(4.5 < ratio < 7.5 for ratio in ratios)
    assert abs(sum(others) / 4 - 1 / 5) < 0.02
    assert "a factor of five to seven, and in about one row of five" in text


def test_over_half_of_a_change_is_in_other_tokens(text, model, single):
    changed = single.images[:1].clone()
    changed[:, :, 24:30, 24:30] = 1 - changed[:, :, 24:30, 24:30]
    with torch.no_grad():
        before, after = (explain.capture(model, images).tokens for images in (single.images[:1], changed))
    for a, b in zip(before, after, strict=True):
        moved = (a - b).norm(dim=-1)[0]
        assert (moved > 0).all()
        assert moved[37] / moved.sum() < 0.45
    assert "Well over half of what the change has done is then in *other* tokens" in text


def test_three_tokens_by_hand(text):
    half = Fraction(1, 2)
    first = [[1, 0, 0], [0, 1, 0], [0, 1, 0]]
    second = [[0, half, half], [0, 1, 0], [0, 0, 1]]
    below, above = (
        [[half * (w + (i == j)) for j, w in enumerate(row)] for i, row in enumerate(rows)]
        for rows in (first, second)
    )

    def of_cls(upper, lower):
        return [sum(upper[0][k] * lower[k][j] for k in range(3)) for j in range(3)]

    assert of_cls(above, below) == [half, Fraction(3, 8), Fraction(1, 8)]
    assert of_cls(below, above) == [half, Fraction(1, 4), Fraction(1, 4)]
    two = torch.tensor([[[float(w) for w in row] for row in rows] for rows in (first, second)])
    assert attention.rollout(two[None, :, None])[0, 0].tolist() == [0.5, 0.375, 0.125]
    assert flow.flow(two[None, :, None])[0].tolist() == [0.5, 0.5, 0.25]
    assert r"rollout says $(\tfrac12, \tfrac38, \tfrac18)$" in text
    assert r"flow says $(\tfrac12, \tfrac12, \tfrac14)$" in text
    assert r"gives CLS the row $(\tfrac12, \tfrac14, \tfrac14)$" in text


def test_scores_of_the_maps(text, scores):
    hits = {name: round(100 * float(hit)) for name, (hit, _) in scores.items()}
    area = {name: f"{auc:.3f}" for name, (_, auc) in scores.items()}
    said = f"in {hits['layer 1']} pictures of 100, the edge filter in {hits['edges']}"
    assert f"first layer points at the object {said}, rollout in {hits['rollout']}," in text
    assert f"the last layer's attention in {hits['layer 4']}. By AUC" in text
    assert f"{area['edges']} to rollout's {area['rollout']}" in text
    assert area["edges"] == max(area.values())
    assert f"in {hits['reversed']} pictures instead of {hits['rollout']}. By AUC it loses" in text
    assert float(scores["rollout"][1] - scores["reversed"][1]) == pytest.approx(0.04, abs=0.005)
    layers = [f"layer {k}" for k in range(1, 5)]
    for measure in (0, 1):
        found = [scores[name][measure] for name in layers]
        assert found.index(max(found)) == 0  # the first is best
        assert found.index(min(found)) == 2  # the third worst
    best = max(*(scores[name][1] for name in layers), scores["mean"][1])
    assert min(scores["rollout"][1], scores["reversed"][1]) > best


def test_other_trainings_rank_the_maps_otherwise_but_the_edge_filter_first(text, single, masks, scores):
    found = {}
    for name in ("shapes-vit-1", "shapes-vit-2"):
        with torch.no_grad():
            other = explain.capture(models.load(name), single.images)
        w = other.stacked().detach()
        joint = {"first": w[:, 0].mean(1), "mean": w.mean((1, 2)), "rollout": attention.rollout(w)}
        joint["reversed"] = attention.rollout(w.flip(1))
        found[name] = {
            key: float(faithfulness.auc(other.as_map(x[:, 0]), masks).mean()) for key, x in joint.items()
        }
    second, third = found.values()
    assert "In the second training, rollout comes last of the four and its reverse before it" in text
    assert min(second, key=second.get) == "rollout"
    assert max(second, key=second.get) == "first"
    assert second["reversed"] > second["rollout"]
    assert "In the third the first layer and rollout are about equal." in text
    assert abs(third["first"] - third["rollout"]) < 0.02
    assert f"the edge filter, at {scores['edges'][1]:.3f}, is ahead of everything" in text
    assert scores["edges"][1] > max(*second.values(), *third.values())


def test_the_wrong_order_changes_entries_by_as_much_as_is_said(text, weights):
    change = (attention.rollout(weights.flip(1)) - attention.rollout(weights)).abs().max()
    assert f"single entries change by up to {change:.2f}" in text
    errata = CHAPTER.parents[2] / "book" / "errata.md"
    assert f"the order changes entries by up to {change:.2f}." in errata.read_text(encoding="utf-8")


def test_a_blur_raises_the_score(text, model, single, masks):
    rolled = explain.explain(model, single.images, method="rollout").values
    plain, smooth = (
        faithfulness.auc(explain.upsample(rolled, 48, mode), masks).mean() for mode in ("nearest", "bilinear")
    )
    assert f"raises rollout's AUC from {plain:.3f} to {smooth:.3f}" in text


def test_what_dividing_does_to_the_identity(text, weights):
    kept = []
    for options in ({"heads": "max"}, {"heads": "min"}, {"discard": 0.9}):
        row = attention.fuse(weights, **options)[..., 0, :].sum(-1).mean()
        kept.append(float(1 / (1 + row)))
    assert kept == pytest.approx([0.27, 0.96, 2 / 3], abs=0.02)
    assert "little more than a quarter; the minimum turns it into nearly all" in text
    assert "discarding into two thirds" in text


def test_the_network_sees_three_shapes_in_a_dahlia(text, model):
    square = datasets.photographs()["flower"].image[None, :, :, 106:533]
    small = F.interpolate(square, (48, 48), mode="bilinear", antialias=True).clamp(0, 1)
    with torch.no_grad():
        said = dict(zip(model.classes, model(small)[0].sigmoid().tolist(), strict=True))
    assert sorted(said, key=said.get)[-3:] == ["crescent", "triangle", "disc"]
    assert said["disc"] > 0.99
    assert said["triangle"] > 0.8
    assert 0.5 < said["crescent"] < 0.8
    assert "It sees a disc in the dahlia, and a triangle, and perhaps a crescent." in text
