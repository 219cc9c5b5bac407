"""What the chapter "Many heads" says is what its cells compute; its exercises are the library's."""

import copy
import math
import re
from itertools import combinations
from pathlib import Path

import nbformat
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from attention_core import alignment, attend, masks, models
from attention_core.catalogue import VARIANTS
from attention_core.checks import exercises
from attention_core.datasets import translation
from attention_core.figures import HeadAblation
from attention_core.latent import Compressed, LatentAttention
from attention_core.multihead import MultiHeadAttention

ROOT = Path(__file__).parents[1]
CHAPTER = ROOT / "chapters" / "3-variants" / "many-heads.ipynb"
CELLS = {cell.id: cell.source for cell in nbformat.read(CHAPTER, as_version=4).cells}
EACH = [(layer, head) for layer in (0, 1) for head in range(4)]


@pytest.fixture(scope="module")
def text():
    """The prose, each run of white space as one blank."""
    cells = nbformat.read(CHAPTER, as_version=4).cells
    return " ".join(" ".join(cell.source for cell in cells if cell.cell_type == "markdown").split())


@pytest.fixture
def run():
    """run(*names) gives the names that those cells define, run one after another as in the notebook."""
    before = torch.get_default_dtype()

    def cells(*names: str) -> dict:
        space = {}
        for name in ("imports", *names):
            exec(CELLS[name], space)
        return space

    yield cells
    torch.set_default_dtype(before)
    torch.set_printoptions(profile="default")


# -- the example by hand -----------------------------------------------------------------------------------


def test_one_row_mixes_what_two_rows_keep_apart(run, text):
    space = run("example", "one-head")
    said = {}
    for sentence in space["sentences"]:
        x = space["tokens"](sentence)
        said[sentence] = [space["head"](x, space[w]).output[1].tolist() for w in ("both", "left", "right")]
    one, other = said.values()
    assert one[0] == pytest.approx([0.45, 0.1, 0.45])
    assert other[0] == pytest.approx(one[0])
    assert one[1] == pytest.approx([0.8, 0.1, 0.1])
    assert other[1] == pytest.approx([0.1, 0.1, 0.8])
    assert "Its weights are $0.8, 0.1, 0.1$" in text
    assert "It receives *dog* 0.45, *bites* 0.1, *man* 0.45." in text


def test_shares_of_one_row_sum_to_one(run, text):
    space = run("example", "one-head", "recover")
    rows = torch.rand(20, 3).softmax(-1)
    for row in rows:
        share = space["recovered"](row @ space["x"][..., :3])
        expected = row[[0, 2]].square() / row[[0, 2]].square().sum()
        torch.testing.assert_close(share, expected)
    unequal = [0.64 / 0.65, 0.01 / 0.65]
    assert f"With 0.8 to 0.1 it is {unequal[0]:.3f} and {unequal[1]:.3f}" in text
    assert f"Of who bites {0.36 / 0.45:.2f}, of who is bitten {0.09 / 0.45:.2f}" in text
    torch.testing.assert_close(space["recovered"](space["two"]), torch.ones(2))


def test_pencil_and_paper(run, text):
    space = run("example", "one-head")
    x = space["tokens"]("man bites man")
    for wish in ("left", "right", "both"):
        assert space["head"](x, space[wish]).output[1].tolist() == pytest.approx([0, 0.1, 0.9])
    layer = MultiHeadAttention(768, 12, bias=False, device="meta")
    few = MultiHeadAttention(768, 12, kv_heads=4, bias=False, device="meta")
    for count in (
        sum(p.numel() for p in layer.parameters()),
        sum(p.numel() for p in layer.parameters()) // 12,
        sum(p.numel() for p in few.parameters()),
    ):
        assert f"{count:,}".replace(",", "\\,") in text


def test_a_cut_sentence_has_two_quarters_of_zeros(run):
    space = run("example", "one-head", "loop", "trap-code")
    full = torch.autograd.functional.jacobian(
        lambda x: space["layer"](x, cut="sentence"), space["four_words"]
    )
    strength = full.square().sum((1, 3)).sqrt()
    assert (strength[:2, 2:] == 0).all()
    assert (strength[2:, :2] == 0).all()
    whole = torch.autograd.functional.jacobian(lambda x: space["layer"](x, cut="width"), space["four_words"])
    assert (whole.square().sum((1, 3)) > 0).all()


def test_what_heads_cost(run, capsys):
    run("price-code")
    rows = re.findall(
        r"(\d+) heads: (\d+) parameters, (\d+) products, (\d+) weights", capsys.readouterr().out
    )
    assert [int(heads) for heads, *_ in rows] == [1, 8, 64]
    assert {int(count) for _, count, *_ in rows} == {4 * 512**2}
    assert {int(products) for *_, products, _ in rows} == {4 * 100 * 512**2 + 2 * 100**2 * 512}
    assert [int(made) for *_, made in rows] == [10000, 80000, 640000]


# -- rank ----------------------------------------------------------------------------------------------------


def test_of_keys_of_width_one_two_can_win():
    query, key = torch.randn(500, 1), torch.randn(50, 1)
    assert len((query @ key.mT).argmax(-1).unique()) == 2


def test_a_diagonal_of_four_points_cannot_be_had():
    """Where two opposite corners lie equally far, one of the others lies at least as far."""
    for _ in range(200):
        angle = torch.sort(torch.rand(4) * 2 * math.pi).values
        corner = torch.stack([angle.cos(), angle.sin()], -1).double()
        side = corner[2] - corner[0]
        normal = torch.stack([-side[1], side[0]])
        for query in (normal, -normal):  # corners 0 and 2 score alike
            score = corner @ query
            assert score[[1, 3]].max() >= score[0] - 1e-9


def test_width_three_has_all_pairs_and_two_has_not(run):
    space = run("pairs")
    worst = {width: (space["fit"](width) * (space["pairs"] > 0)).sum(-1).min().item() for width in (1, 2, 3)}
    assert worst[3] > 0.99
    assert worst[1] < worst[2] < 0.8
    assert len(list(combinations(range(4), 2))) == len(space["pairs"])


# -- who asks whom -------------------------------------------------------------------------------------------


def test_an_encoder_decoder_looks_where_a_prefix_mask_does():
    both = torch.zeros(6, 6, dtype=torch.bool)
    both[:3, :3] = True  # the encoder
    both[3:, 3:] = masks.causal(3)  # the decoder's own
    both[3:, :3] = True  # cross-attention
    assert torch.equal(both, masks.prefix(6, 6, 3))


def test_only_the_fully_connected_row_stays(run):
    space = run("five-code")
    states = space["states"]
    before, after = space["five"](states), space["five"](states[[2, 1, 0]])
    moved = {name: (before[name].weights[1] - after[name].weights[1]).abs().max().item() for name in before}
    assert moved.pop("fully_connected") == 0
    assert len(moved) == 4
    assert min(moved.values()) > 0.01
    assert VARIANTS["fully_connected"].citation == "robertson2017translation"


# -- the trained transformer ---------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def model():
    torch.set_num_threads(1)
    return models.load("transformer-en-fr")


@pytest.fixture(scope="module")
def pairs():
    return translation("test")[:200]


@pytest.fixture(scope="module")
def readings(model, pairs):
    return [model.read(pair.source, pair.target) for pair in pairs]


def rate(readings, pairs, heads):
    rows = [torch.stack([r.cross[at] for at in heads]).mean(0) for r in readings]
    return alignment.score([alignment.links(w) for w in rows], pairs).aer


@pytest.fixture(scope="module")
def best(model):
    tried = translation("validation")[:200]
    read = [model.read(pair.source, pair.target) for pair in tried]
    return min(EACH, key=lambda at: rate(read, tried, [at]))


def right(model, pairs):
    made = model.translate_tokens([pair.source for pair in pairs])
    return sum(m.target[:-1] == p.target for m, p in zip(made, pairs, strict=True)) / len(pairs)


def test_it_translates_and_aligns_better_than_the_translators():
    said = {name: models.card(name)["metrics"] for name in ("transformer-en-fr", "translator-additive")}
    ours, theirs = said.values()
    assert ours["test exact match"] > theirs["test exact match"]
    assert ours["test AER"] < theirs["test AER"]


def test_error_rates_of_heads_and_means(readings, pairs, best, text):
    rates = {at: rate(readings, pairs, [at]) for at in EACH}
    diagonal = alignment.score(alignment.diagonal(pairs), pairs).aer
    assert best == (1, 0)
    assert (
        f"has an error rate of {rates[best]:.3f}; the worst has {max(rates.values()):.3f}, more than" in text
    )
    assert max(rates.values()) > diagonal
    means = [rate(readings, pairs, [(layer, head) for head in range(4)]) for layer in (0, 1)]
    assert f"the mean of the second layer has {means[1]:.3f}, better than any of the four" in text
    assert means[1] < min(rates.values())
    assert f"the first layer has {means[0]:.3f}" in text


def test_jobs_of_heads(run, readings, text):
    space = run("jobs")
    tops = {}
    for part in ("encoder", "decoder"):
        for layer, head in EACH:
            matrices = [getattr(reading, part)[layer, head] for reading in readings]
            found = {name: space["share"](matrices, place) for name, place in space["rules"].items()}
            top = max(found, key=found.get)
            tops[part, layer, head] = (top, found[top])
    assert [at for at, (_, share) in tops.items() if share > 0.5] == [("decoder", 0, 0)]
    assert tops["decoder", 0, 0][0] == "itself"
    assert "One of these sixteen spends more than half of its weight on such a place: head 1 in the" in text
    assert "No head of the encoder reaches 0.36." in text
    assert max(share for (part, *_), (_, share) in tops.items() if part == "encoder") < 0.36


def test_share_is_the_mean_weight_on_a_place(run):
    space = run("jobs")
    w = torch.tensor([[0.5, 0.3, 0.2], [0.1, 0.2, 0.7], [0.6, 0.3, 0.1]])
    found = {name: space["share"]([w], place) for name, place in space["rules"].items()}
    expected = {
        "itself": 0.8 / 3, "the one before": 0.4 / 3, "the one after": 1.0 / 3,
        "the first": 1.2 / 3, "the last": 1.0 / 3,
    }  # fmt: skip
    assert found == pytest.approx(expected)


def test_four_heads_cost_more_than_each(model, pairs, text):
    whole = models.transformer.surprise(model, pairs)

    def cost(heads):
        return models.transformer.surprise(model.without(heads), pairs) - whole

    times = {}
    for part, layer in (("cross", 0), ("cross", 1), ("encoder", 0)):
        four = [(part, layer, head) for head in range(4)]
        times[part, layer] = cost(four) / sum(cost([head]) for head in four)
    assert "in the cross-attention six and seven times the sum" in text
    assert sorted(int(times["cross", layer]) for layer in (0, 1)) == [6, 7]
    assert 1 < times["encoder", 0] < 1.5  # "with or without the others"
    assert cost([("encoder", 0, head) for head in range(4)]) < 0.03  # "there is little to miss"


def test_subsets_that_can_go(text):
    ablated = HeadAblation().ablated
    cheapest = {}
    for part, count in (("encoder", 4), ("cross", 2)):
        losses = ablated.losses[part]
        cost, number = min((losses[k] - losses[0], k) for k in range(len(losses)) if k.bit_count() == count)
        cheapest[part] = [EACH[i] for i in range(8) if number >> i & 1], f"{cost:.3f}"
    assert cheapest["encoder"][0] == [(0, 0), (0, 1), (0, 3), (1, 0)]
    assert cheapest["cross"][0] == [(0, 0), (0, 1)]
    assert f"heads 1, 2 and 4 of layer 1 and head 1 of layer 2, at {cheapest['encoder'][1]} nats" in text
    assert f"the two are heads 1 and 2 of layer 1, at {cheapest['cross'][1]}." in text


def test_the_head_that_aligns_best_is_not_missed_most(model, readings, pairs, best, text):
    kept = {at: right(model.without([("cross", *at)]), pairs) for at in EACH}
    assert f"Without the best aligned head of the second layer {100 * kept[best]:g} % of the" in text
    assert f"Without head 4 it is {100 * kept[1, 3]:g} %" in text
    assert f"the worst of the layer, {100 * kept[1, 1]:g} %" in text
    worst = max(range(4), key=lambda head: rate(readings, pairs, [(1, head)]))
    assert worst == 1
    assert min(kept, key=kept.get) == (1, 3)


def test_without_an_encoder_two_thirds_are_right(model, pairs, text):
    deaf = model.without([("encoder", *at) for at in EACH])
    assert "Nearly two thirds of the translations are still exactly right" in text
    assert 0.6 < right(deaf, pairs) < 2 / 3


def test_pooled_heads_translate_little(run, model, pairs, text):
    pooled = run("pool-code")["pooled"]
    assert "Little does." in text
    for groups in (1, 2):
        assert right(pooled(model, groups), pairs) < 0.2
    same = pooled(model, 4)
    for one, other in zip(same.parameters(), model.parameters(), strict=True):
        assert torch.equal(one, other)
    halves = pooled(model, 2).encoder.layers[0].attention
    key = halves.to_key.weight.unflatten(0, (4, -1))
    assert torch.equal(key[0], key[1])
    assert not torch.equal(key[1], key[2])
    before = model.encoder.layers[0].attention.to_key.weight.unflatten(0, (4, -1))
    torch.testing.assert_close(key[2], (before[2] + before[3]) / 2)


# -- caches --------------------------------------------------------------------------------------------------


def test_bytes_a_token(run, text):
    kib = run("cache-code")["kib_a_token"]
    assert [kib(80, 2 * kv_heads * 128) for kv_heads in (64, 8, 1)] == [2560, 320, 40]
    assert (512 + 64) / (2 * 128) == 2.25
    assert "as small as a cache with 2.25 groups" in text


def test_absorbing_pays_for_one_word_and_not_for_a_hundred(run, capsys):
    run("latent-code")
    lines = re.findall(r"(\d+) new, +(\w+): +([\d.]+) million", capsys.readouterr().out)
    count = {(int(new), name): float(million) for new, name, million in lines}
    assert count[1, "absorbed"] < count[1, "naive"] / 5
    assert count[100, "absorbed"] > count[100, "naive"]


# -- exercises against the library ---------------------------------------------------------------------------


def test_terms_add_up_to_the_layer():
    for case in exercises()["head-terms"].inputs():
        output, w_output = case.values()
        joined = output.transpose(0, 1).flatten(1) @ w_output
        torch.testing.assert_close(exercises()["head-terms"].reference(**case).sum(0), joined)


def test_cross_exercise_is_torchs_module():
    for case in exercises()["cross-heads"].inputs():
        x, memory, w_query, w_key, w_value, w_output, heads = case.values()
        theirs = nn.MultiheadAttention(x.shape[-1], heads, bias=False, batch_first=True, dtype=x.dtype)
        with torch.no_grad():
            theirs.in_proj_weight.copy_(torch.cat([w_query, w_key, w_value], 1).mT)
            theirs.out_proj.weight.copy_(w_output.mT)
            expected = theirs(x[None], memory[None], memory[None])[0][0]
        torch.testing.assert_close(exercises()["cross-heads"].reference(*case.values()), expected)


def test_grouped_exercise_is_torchs():
    for case in exercises()["grouped-heads"].inputs():
        query, key, value = (x[None] for x in case.values())
        expected = F.scaled_dot_product_attention(query, key, value, enable_gqa=True)[0]
        torch.testing.assert_close(exercises()["grouped-heads"].reference(**case), expected)


def test_pooled_exercise_keeps_a_layer_whose_groups_agree():
    """Where the heads of a group are equal, the mean is each of them: then pooled is grouped."""
    exercise = exercises()["pooled-heads"]
    grouped = MultiHeadAttention(8, 4, kv_heads=2, bias=False, dtype=torch.float64)
    parameters = grouped.state_dict()
    many = MultiHeadAttention(8, 4, bias=False, dtype=torch.float64)
    for name in ("to_key.weight", "to_value.weight"):
        parameters[name] = parameters[name].unflatten(0, (2, 2)).repeat_interleave(2, 0).flatten(0, 1)
    many.load_state_dict(parameters)
    pooled = copy.deepcopy(grouped)
    with torch.no_grad():
        for name in ("to_key", "to_value"):
            weight = exercise.reference(getattr(many, name).weight, 4, 2)
            getattr(pooled, name).weight.copy_(weight)
    x = torch.randn(1, 5, 8, dtype=torch.float64)
    torch.testing.assert_close(pooled(x).output, many(x).output)


def test_absorbed_exercise_is_latent_attention_without_positions():
    exercise = exercises()["absorbed-heads"]
    for case in exercise.inputs():
        query, latent, w_key, w_value = case.values()
        heads, n, d = query.shape
        layer = LatentAttention(
            heads * d, heads, latent_width=latent.shape[-1], head_width=d, rope_width=2,
            value_width=w_value.shape[1], dtype=torch.float64,
        )  # fmt: skip
        turned = torch.zeros(1, heads, n, 2, dtype=torch.float64)
        memory = Compressed(latent[None], torch.zeros(1, len(latent), 2, dtype=torch.float64))
        with torch.no_grad():
            layer.to_key.weight.copy_(w_key.flatten(0, 1))
            layer.to_value.weight.copy_(w_value.flatten(0, 1))
            scaled = query[None] * math.sqrt((d + 2) / d)  # its root holds the rotary features as well
            found = layer._absorbed(scaled, turned, memory, None, None).output[0]
        torch.testing.assert_close(exercise.reference(**case), found)


def test_joint_exercise_allows_what_the_transformers_layers_do():
    for case in exercises()["joint-mask"].inputs():
        source, target = case.values()
        mask = exercises()["joint-mask"].reference(**case)
        assert mask[:source, :source].all()
        assert not mask[:source, source:].any()
        assert mask[source:, :source].all()
        assert torch.equal(mask[source:, source:], masks.causal(target))


def test_heads_split_and_attend_as_in_the_loop(run):
    space = run("loop")
    x, w = torch.randn(5, 6), torch.randn(4, 6, 6)
    loop = space["with_loop"](x, *w, heads=3)
    torch.testing.assert_close(space["with_reshape"](x, *w, heads=3), loop)
    assert not torch.allclose(space["with_loop"](x, *w, heads=1), loop)
    single = attend(x @ w[0], x @ w[1], x @ w[2]).output @ w[3]
    torch.testing.assert_close(space["with_loop"](x, *w, heads=1), single)
