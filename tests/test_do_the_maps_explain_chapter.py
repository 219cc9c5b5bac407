"""What the chapter "Do the maps explain?" says is what its cells compute; its exercises are the library's."""

import copy
import json
import math
import re
from pathlib import Path

import nbformat
import pytest
import torch

from attention_core import datasets, explain, models
from attention_core.checks import exercises
from attention_core.explain import attention, faithfulness, gradients

ROOT = Path(__file__).parents[1]
CHAPTER = ROOT / "chapters" / "6-seeing" / "do-the-maps-explain.ipynb"


@pytest.fixture(scope="module")
def text():
    """The prose, each run of white space as one blank."""
    cells = nbformat.read(CHAPTER, as_version=4).cells
    return " ".join(" ".join(cell.source for cell in cells if cell.cell_type == "markdown").split())


@pytest.fixture(scope="module")
def model():
    torch.set_num_threads(1)
    return models.load("shapes-vit").eval()


@pytest.fixture(scope="module")
def pairs():
    return datasets.shapes("pair", 40)


@pytest.fixture(scope="module")
def both(pairs):
    first, second = pairs.labels.float().topk(2).indices.sort(-1).values.unbind(-1)
    return first, second


def test_the_example_by_hand(text):
    key = torch.tensor([0.0, math.log(2), math.log(2)], dtype=torch.float64, requires_grad=True)
    value = torch.tensor([0.0, 5.0, 1.0], dtype=torch.float64, requires_grad=True)
    f = torch.softmax(key, 0) @ value
    by_key, by_value = torch.autograd.grad(f, (key, value))
    assert f"= {f.item():.1f}$. How much of it" in text
    assert [f"{x:.2f}" for x in by_key[1:].tolist()] == ["1.04", "-0.56"]
    one, two = ((value * by_value + key * by_key)[1:]).tolist()
    assert f"2 + 0.721 = {one:.3f}" in text
    assert f"0.4 - 0.388 = {two:.3f}" in text
    without = torch.softmax(key[:2], 0) @ value[:2]
    assert without.item() == pytest.approx(10 / 3)
    assert f"rises by {(without - f).item():.3f} when the patch is gone" in text


@pytest.mark.parametrize("method", ["legrad", "attnlrp"])
def test_equations_are_those_of_the_library(text, method):
    assert explain.METHODS[method].equation in text


def test_the_number_of_methods(text):
    assert f"All {len(explain.METHODS)} are listed" in text


# -- exercises against the library: checks import nothing of explain, and say the same ---------------------


def test_gradcam_exercise_is_the_library():
    exercise = exercises()["gradcam-map"]
    for case in exercise.inputs():
        tokens, gradient, prefix = case.values()
        ours = gradients.gradcam(tokens[None], gradient[None], prefix)[0, prefix:]
        torch.testing.assert_close(exercise.reference(**case), ours)


def test_discarding_exercise_is_the_library():
    exercise = exercises()["discarded-rows"]
    for case in exercise.inputs():
        ours = attention.with_residual(attention.without_smallest(*case.values()))
        torch.testing.assert_close(exercise.reference(**case), ours)


def test_chefer_exercise_is_the_library():
    exercise = exercises()["chefer-rule"]
    for case in exercise.inputs():
        weights, hooked = case.values()
        ours = gradients.chefer(weights[None], hooked.flip(0)[None])[0, 0, 1:]
        torch.testing.assert_close(exercise.reference(**case), ours)


def test_class_auc_exercise_is_the_library():
    exercise = exercises()["class-auc"]
    for case in exercise.inputs():
        values, asked, other = (x[None, None] for x in case.values())
        ours = faithfulness.class_auc(values, asked, other)[0]
        torch.testing.assert_close(exercise.reference(**case), ours)


def test_two_paths_exercise_is_a_gradient_times_input():
    exercise = exercises()["two-paths"]
    for case in exercise.inputs():
        tokens, w_query, w_key, w_value, readout = case.values()
        entered = [tokens.clone().requires_grad_() for _ in range(2)]  # once as values, once as keys
        query = (tokens @ w_query)[:1]
        weights = torch.softmax(query @ (entered[1] @ w_key).mT / math.sqrt(w_key.shape[1]), -1)
        f = (weights @ entered[0] @ w_value @ readout).sum()
        found = torch.autograd.grad(f, entered)
        paths = torch.stack([(x * g).sum(-1)[1:] for x, g in zip(entered, found, strict=True)])
        torch.testing.assert_close(exercise.reference(**case), paths.detach())


def test_norm_exercise_is_the_derivative():
    exercise = exercises()["through-the-norm"]
    for case in exercise.inputs():
        x, gradient, eps = case["x"].clone().requires_grad_(), case["gradient"], case["eps"]
        y = torch.nn.functional.layer_norm(x, x.shape[-1:], eps=eps)
        (found,) = torch.autograd.grad(y, x, gradient)
        torch.testing.assert_close(exercise.reference(**case), found)


# -- what the prose claims of the shipped model ------------------------------------------------------------


def test_maps_of_weights_alone_win_half(model, pairs, both):
    rows = torch.arange(len(pairs))
    masks = [pairs.masks[rows, one] for one in both]
    for method in ("raw", "rollout", "edges"):
        maps = explain.explain(model, pairs.images, method=method).values
        won = faithfulness.class_auc(maps, *masks) + faithfulness.class_auc(maps, *masks[::-1])
        torch.testing.assert_close(won / 2, torch.full_like(won, 0.5))


def around(model, images, target):
    """Token times gradient of patches before the last norm, behind it, and at the attention's output."""
    seen = explain.capture(model, images)
    f = seen.logits.gather(1, target[:, None]).sum()
    tokens = (seen.tokens[-2], seen.normed[-1], seen.attended[-1])
    found = torch.autograd.grad(f, tokens)
    return [seen.as_map((x * g).sum(-1)).detach() for x, g in zip(tokens, found, strict=True)]


def test_what_leaks_through_the_norm(model, pairs, both):
    silent, spoken, nothing = around(model, pairs.images, both[0])
    assert silent.abs().amax((1, 2)).median() < 1e-6 * spoken.abs().amax((1, 2)).median()
    assert nothing.abs().max() == 0
    assert faithfulness.correlation(silent, spoken).mean() > 0.5  # "still resembles the right one"
    finer = copy.deepcopy(model)
    finer.blocks[-1].norm1.eps = 1e-12
    rounding, _, _ = around(finer, pairs.images, both[0])
    assert faithfulness.correlation(rounding, spoken).mean() < 0.1  # "rounding alone is left"
    assert faithfulness.correlation(rounding.abs(), spoken.abs()).mean() > 0.7  # "lights up the shapes"
    large = spoken.abs() > spoken.abs().amax((1, 2), keepdim=True) / 5
    signs = (rounding.sign() == spoken.sign())[large].double().mean()
    assert 0.3 < signs < 0.7  # "as if drawn by lot"
    exact, images = copy.deepcopy(model).double(), pairs.images.double()
    leak, right, _ = around(exact, images, both[0])
    assert faithfulness.correlation(leak, right).mean() > 0.9


@pytest.fixture(scope="module")
def singles():
    return datasets.shapes("single", 40)


@pytest.fixture(scope="module")
def only(singles):
    return singles.labels.float().argmax(1)


def mean(values):
    return f"{values.mean().item():.2f}"


def test_what_shuffling_a_layer_leaves(model, pairs, text):
    with torch.no_grad():
        named = model(pairs.images) > 0
        early = model.classify(explain.capture(model, pairs.images).tokens[-2]) > 0
    kept = {}
    for layer in (0, -1):
        draws = [
            faithfulness.permuted_attention(model, pairs.images, layer=layer, seed=seed) > 0
            for seed in range(5)
        ]
        kept[layer] = torch.stack([(draw == named).all(1).double().mean() for draw in draws]).mean().item()
    assert "In the first layer four answers of five survive. In the last one a third do" in text
    assert kept[0] == pytest.approx(4 / 5, abs=0.05)
    assert kept[-1] == pytest.approx(1 / 3, abs=0.05)
    assert "one block earlier, and it names the right shapes in half of the pictures" in text
    assert (early == named).all(1).double().mean().item() == pytest.approx(1 / 2, abs=0.08)


def test_the_orders_that_erase_fastest(model, singles, only, text):
    area = {}
    for method in ("edges", "rollout", "legrad", "chefer", "raw", "cdam", "random"):
        maps = explain.explain(model, singles.images[:24], only[:24], method).values
        found = faithfulness.deletion(model, singles.images[:24], maps, only[:24], steps=8)
        area[method] = found.mean().item()
    assert "erase the answer as fast as the best" in text
    assert max(area["edges"], area["rollout"]) < min(area.values()) + 0.005
    assert max(area["legrad"], area["chefer"]) < area["raw"] - 0.1  # "are faster"
    assert area["raw"] < area["cdam"] < area["random"] - 0.2  # "though CDAM's is not"


def test_the_numbers_beside_the_table(model, singles, only, pairs, both, text):
    rows = torch.arange(len(pairs))
    there = singles.masks[rows, only]
    own = [faithfulness.patch_masks(pairs.masks[rows, one], model.grid) > 0.5 for one in both]
    has = own[0].flatten(1).any(1) & own[1].flatten(1).any(1)
    masks = [mask[has] for mask in own]
    area, told, alike, peak = {}, {}, {}, {}
    for method in ("edges", "rollout", "chefer", "gradcam", "cdam", "cdam_value", "legrad", "attnlrp"):
        maps = explain.explain(model, singles.images, only, method).values
        area[method], peak[method] = (
            measure(maps, there) for measure in (faithfulness.auc, faithfulness.pointing_game)
        )
        one, other = (explain.explain(model, pairs.images, t, method).values for t in both)
        told[method] = (
            faithfulness.class_auc(one[has], *masks) + faithfulness.class_auc(other[has], *masks[::-1])
        ) / 2
        alike[method] = faithfulness.correlation(one, other)
    assert f"with an AUC of {mean(area['edges'])}, is the edge filter" in text
    for method in ("chefer", "cdam", "legrad", "attnlrp"):
        assert peak[method].min() == 1, method  # "in every single picture"
    assert max(a.mean() for a in area.values()) == area["edges"].mean()
    assert f"leads with {mean(told['chefer'])}, GradCAM and CDAM come last with " in text
    assert f"come last with {mean(told['gradcam'])} and {mean(told['cdam'])}." in text
    assert min(told[method].mean() for method in told) == 0.5
    for method in ("chefer", "gradcam", "cdam", "cdam_value", "legrad", "attnlrp"):
        assert faithfulness.interval(told[method]).low > 0.5, method
        assert told[method].mean() >= min(told["gradcam"].mean(), told["cdam"].mean())
    assert f"an AUC of {mean(area['attnlrp'])} on single shapes" in text
    assert f"covers badly, AUC {mean(area['cdam'])}," in text
    assert f"has {mean(area['cdam_value'])}, {mean(told['cdam_value'])} and a contrast of" in text
    assert alike["gradcam"].mean() < alike["legrad"].mean()  # "by A/B one would have put LeGrad behind"
    assert told["legrad"].mean() > told["gradcam"].mean() + 0.1


def test_contrast(model, pairs, both, text):
    images, (a, b) = pairs.images[:16], (one[:16] for one in both)
    contrast = {}
    for method in ("chefer", "legrad", "gradcam", "cdam", "cdam_value", "cdam_layers", "attnlrp"):
        turns = [(explain.explain(model, images, t, method).values, t, o) for t, o in ((a, b), (b, a))]
        found = [faithfulness.contrastive_deletion(model, images, *turn, steps=8) for turn in turns]
        contrast[method] = ((found[0] + found[1]) / 2).mean().item()
    least = sorted(contrast, key=contrast.get)[:2]
    assert least == ["chefer", "legrad"]
    assert (
        f"Chefer's rule has {contrast['chefer']:.2f} and LeGrad {contrast['legrad']:.2f}, the least" in text
    )
    assert f"AttnLRP, at {contrast['attnlrp']:.2f}, also has a sign" in text
    assert f"and a contrast of {contrast['cdam_value']:.2f}, as good as anything" in text
    assert contrast["cdam_value"] > max(contrast.values()) - 0.01


def test_sizes_of_the_two_paths(model, pairs, both, text):
    exact, images = copy.deepcopy(model).double(), pairs.images[:8].double()
    names = ("cdam", "cdam_value", "cdam_key")
    whole, value, key = (explain.explain(exact, images, both[0][:8], name).values for name in names)
    assert (whole - value - key).abs().max() < 1e-10
    assert f"{key.abs().mean():.3f} on average against {value.abs().mean():.3f}." in text


def test_who_finds_the_tag(text):
    tagged = models.load("shapes-vit-shortcut").eval()
    clues = datasets.shapes("shortcut_test", 120)
    on_tag = faithfulness.patch_masks(clues.tags, tagged.grid).flatten(1) > 0
    star = tagged.classes.index("star")
    alone = on_tag.any(1) & ~clues.masks[:, star].flatten(1).any(1)
    with torch.no_grad():
        gone = tagged(clues.images, keep=~on_tag)[:, star] < 0
        because = alone & gone & (tagged(clues.images)[:, star] > 0)
    assert int(alone.sum()) == int(because.sum()) == 60
    assert "The tag was the reason in all 60." in text
    some = clues[because]
    found = {
        method: faithfulness.shortcut(
            explain.explain(tagged, some.images, [star] * 60, method).values, some.tags
        )
        for method in ("edges", "raw", "rollout", "cdam", "gradcam", "chefer", "attnlrp", "legrad")
    }
    for method in ("edges", "cdam", "gradcam", "chefer", "attnlrp"):
        assert found[method].peak.min() == 1, method
    assert f"the mass is one, with {mean(found['edges'].mass)} for the edges" in text
    assert min(found[method].mass.mean() for method in ("cdam", "gradcam")) > 0.9  # "nearly all"
    assert found["legrad"].peak.mean() > 0.9
    assert found["legrad"].mass.mean() < 0.2  # "spreads the rest thinly"
    assert found["raw"].peak.mean().item() == pytest.approx(3 / 4, abs=0.05)
    assert f"Rollout does in {100 * found['rollout'].peak.mean():.0f} of 100." in text


@pytest.fixture(scope="module")
def result():
    return json.loads((ROOT / "benchmarks" / "results" / "explain.json").read_text(encoding="utf-8"))


def test_the_table_reads_names_that_the_file_has(result):
    source = " ".join(cell.source for cell in nbformat.read(CHAPTER, as_version=4).cells)
    names = re.search(r"short = \{(.*?)\}", source, re.S)[1]
    for metric in re.findall(r': "([^"]+)"', names):
        assert metric in result["summary"]["chefer"], metric


def test_one_seed_of_three_hardly_minds_a_shuffled_last_layer(result, text):
    kept = [row["mean"] for row in result["rows"] if row["metric"] == "answer kept"]
    assert len(kept) == 3
    assert "One of the three hardly minds." in text
    assert sorted(kept)[-1] > 0.8
    assert sorted(kept)[-2] < 0.5
    right = [row["mean"] for row in result["rows"] if row["metric"] == "exact match"]
    assert len(right) == 3
    assert "all three are right in 0.95 of fresh pictures or more" in text
    assert min(right) >= 0.95


def test_the_tags_model_was_trained_as_the_text_says(text):
    epochs = {name: models.card(name)["recipe"]["epochs"] for name in models.names() if "shapes" in name}
    assert epochs.pop("shapes-vit-shortcut") == 3
    assert set(epochs.values()) == {8}
    assert "trained for three epochs and not, like the others, for eight" in text


def test_the_medians_of_three_seeds(result, text):
    found = {
        metric: {method: row[metric] for method, row in result["summary"].items() if metric in row}
        for metric in ("class AUC", "contrastive deletion", "AUC")
    }
    told, contrast, area = found.values()
    assert f"tells the two shapes apart best, {told['chefer']:.2f}, before LeGrad and AttnLRP" in text
    assert f"{told['legrad']:.2f}" == f"{told['attnlrp']:.2f}"
    assert f"before LeGrad and AttnLRP with {told['legrad']:.2f}," in text
    assert f"{contrast['chefer']:.2f} against AttnLRP's {contrast['attnlrp']:.2f}." in text
    assert contrast["legrad"] < contrast["chefer"] < min(contrast[m] for m in ("gradcam", "cdam", "attnlrp"))
    assert f"CDAM has {told['cdam']:.2f}, its value path {told['cdam_value']:.2f}." in text
    assert f"filter's AUC of {area['edges']:.2f} is matched by LeGrad alone" in text
    assert [m for m, value in area.items() if f"{value:.2f}" == f"{area['edges']:.2f}"] == ["legrad", "edges"]
    assert max(area.values()) < area["edges"] + 0.005
    assert area["flow"] < area["random"]
    assert f"Its class AUC is {told['token_drop']:.2f}." in text


def test_the_erratum_is_on_its_page(text):
    assert "[](#erratum-cdam)" in text
    assert "(erratum-cdam)=" in (ROOT / "book" / "errata.md").read_text(encoding="utf-8")
