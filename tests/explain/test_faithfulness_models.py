"""Measures that run a model: on one whose every answer is known by hand, and on a vision transformer."""

import numpy as np
import pytest
import torch
from torch import nn

from attention_core import heads
from attention_core.explain import faithfulness as f
from attention_core.explain.faithfulness import dropping, sanity
from attention_core.models import ViT


class Additive(nn.Module):
    """Each class is the sum of its own patches: what a map should be is known exactly."""

    def __init__(self, weights):
        super().__init__()
        self.weights = nn.Parameter(torch.tensor(weights, dtype=torch.float32))  # (patches, classes)

    def forward(self, images, keep=None):
        keep = torch.ones(len(images), len(self.weights)).bool() if keep is None else keep
        return keep.float() @ self.weights


IMAGES = torch.zeros(1, 1, 4, 4)
KNOWN = Additive([[0.6, 0.0], [0.4, 0.0], [0.0, 0.3], [0.0, 0.7]])  # two patches for each of two classes
AS_IT_IS = {"output": lambda logits: logits}


@pytest.fixture
def vit():
    torch.manual_seed(1)
    model = ViT(image_size=(12, 18), patch=6, width=16, depth=3, heads=2, classes=5, registers=1)
    for parameter in model.parameters():  # far from where training begins, so that all has an effect
        nn.init.normal_(parameter, std=0.4)
    return model.eval()


@pytest.fixture
def images():
    return torch.rand(4, 3, 12, 18, generator=torch.Generator().manual_seed(2))


def grid(*values):
    return torch.tensor(values, dtype=torch.float32).reshape(1, 2, 2)


# -- dropping tokens ---------------------------------------------------------------------------------------


def test_the_curve_by_hand():
    shares, found = f.curve(KNOWN, IMAGES, grid(4, 3, 2, 1), 0, **AS_IT_IS)
    assert shares.tolist() == [0, 0.25, 0.5, 0.75, 1]
    assert found[0].tolist() == pytest.approx([1, 0.4, 0, 0, 0])
    shares, found = f.curve(KNOWN, IMAGES, grid(4, 3, 2, 1), 1, insert=True, **AS_IT_IS)
    assert found[0].tolist() == pytest.approx([0, 0, 0, 0.3, 1])


def test_deletion_and_insertion_by_hand():
    best, worst = grid(4, 3, 0, 0), grid(0, 1, 4, 4)
    assert f.deletion(KNOWN, IMAGES, best, 0, **AS_IT_IS).item() == pytest.approx((1 / 2 + 0.4) / 4)
    assert f.insertion(KNOWN, IMAGES, best, 0, **AS_IT_IS).item() == pytest.approx((0.6 + 1 + 1 + 1 / 2) / 4)
    assert f.deletion(KNOWN, IMAGES, worst, 0, **AS_IT_IS).item() == pytest.approx((0.5 + 1 + 1 + 0.6) / 4)


def test_contrastive_deletion_by_hand():
    # the patches of class 0 go first: class 0 has lost 0.6, 1, 1, 1 where class 1 has lost 0, 0, 0.3, 1
    found = f.contrastive_deletion(KNOWN, IMAGES, grid(4, 3, 2, 1), 0, 1, **AS_IT_IS)
    assert found.item() == pytest.approx((0.6 + 1 + 0.7 + 0 / 2) / 4)
    turned = f.contrastive_deletion(KNOWN, IMAGES, grid(4, 3, 2, 1), 1, 0, **AS_IT_IS)
    assert turned.item() == pytest.approx(-found.item())


def test_a_map_blind_to_the_target_gains_no_contrast(vit, images):
    maps = torch.rand(4, 2, 3)
    maps[0] = 0.5  # ties go the same way for both targets
    one = f.contrastive_deletion(vit, images, maps, [0, 1, 2, 3], [1, 2, 3, 4])
    other = f.contrastive_deletion(vit, images, maps, [1, 2, 3, 4], [0, 1, 2, 3])
    assert one.abs().min() > 1e-4
    assert (one + other).abs().max() < 1e-12


def test_inserting_is_dropping_read_backwards(vit, images):
    maps = torch.randn(4, 2, 3)
    _, dropped = f.curve(vit, images, -maps, 2)
    _, inserted = f.curve(vit, images, maps, 2, insert=True)
    assert inserted.equal(dropped.flip(1))


def test_a_curve_runs_from_the_whole_image_to_none_of_its_patches(vit, images):
    _, found = f.curve(vit, images, torch.rand(4, 2, 3), [0, 1, 2, 3])
    rows = torch.arange(4)
    with torch.no_grad():
        whole = torch.sigmoid(vit(images))[rows, rows]
        none = torch.sigmoid(vit(images, keep=torch.zeros(4, 6).bool()))[rows, rows]
    torch.testing.assert_close(found[:, 0].float(), whole)
    torch.testing.assert_close(found[:, -1].float(), none)


def test_dropped_patches_are_gone_whatever_they_show(vit, images):
    maps = torch.rand(4, 2, 3)
    highest = maps.flatten(1).argmax(1)
    other = images.clone()
    for image, patch in enumerate(highest.tolist()):
        row, column = 6 * (patch // 3), 6 * (patch % 3)
        other[image, :, row : row + 6, column : column + 6] = 1.0
    _, first = f.curve(vit, images, maps, 0)
    _, second = f.curve(vit, other, maps, 0)
    torch.testing.assert_close(first[:, 1:], second[:, 1:])
    assert (first[:, 0] - second[:, 0]).abs().min() > 1e-4


def test_steps_divide_the_patches_and_are_never_more_than_they():
    four = f.curve(KNOWN, IMAGES, grid(4, 3, 2, 1), 0, steps=100)[0]
    two = f.curve(KNOWN, IMAGES, grid(4, 3, 2, 1), 0, steps=2)[0]
    three = f.curve(KNOWN, IMAGES, grid(4, 3, 2, 1), 0, steps=3)[0]
    assert (len(four), two.tolist(), three.tolist()) == (5, [0, 0.5, 1], [0, 0.25, 0.75, 1])


def test_the_output_may_be_that_of_exclusive_classes(vit, images):
    softmax = lambda logits: torch.softmax(logits, -1)  # noqa: E731
    curves = [f.curve(vit, images, torch.ones(4, 2, 3), c, output=softmax)[1] for c in range(5)]
    torch.testing.assert_close(sum(curves), torch.ones_like(curves[0]))


def test_equal_values_go_by_lot_and_higher_ones_first():
    values = torch.tensor([[2.0, 1.0, 1.0, 3.0, 1.0]]).expand(600, -1)
    place = dropping.places(values, seed=0)
    assert set(place[:, 3].tolist()) == {0}
    assert set(place[:, 0].tolist()) == {1}
    for patch in (1, 2, 4):  # each at each of the three places left, about a third of the time
        counts = np.bincount(place[:, patch], minlength=5)
        assert counts[:2].sum() == 0
        assert counts[2:].min() > 150
    assert place.equal(dropping.places(values, seed=0))
    assert not place.equal(dropping.places(values, seed=1))


def test_the_model_keeps_its_mode_and_gets_no_gradient(vit, images):
    vit.train()
    state = {name: value.clone() for name, value in vit.state_dict().items()}
    found = f.deletion(vit, images, torch.rand(4, 2, 3), 0)
    assert vit.training
    assert not found.requires_grad
    assert all(value.equal(state[name]) for name, value in vit.state_dict().items())
    assert all(parameter.grad is None for parameter in vit.parameters())


# -- randomising the model ---------------------------------------------------------------------------------


def weights_of_cls(model, images):
    """A class-blind map: what CLS reads in the first block."""
    block = model.blocks[0]
    weights = block.attention(block.norm1(model.embed(images))).weights
    return weights[:, :, 0, model.prefix :].mean(1).reshape(len(images), *model.grid)


def by_head(model, images):
    """A map that knows the class: the tokens behind the last block, read by the head's first row."""
    tokens = model.embed(images)
    for block in model.blocks:
        tokens = block(tokens)
    return (model.norm(tokens)[:, model.prefix :] @ model.head.weight[0]).reshape(len(images), *model.grid)


def test_a_map_changes_from_the_stage_on_that_it_depends_on(vit, images):
    with torch.no_grad():
        blind = f.randomization_cascade(vit, images, weights_of_cls)
        aware = f.randomization_cascade(vit, images, by_head)
    assert list(blind) == list(aware) == ["head", "block 2", "block 1", "block 0", "embedding"]
    for stage in ("head", "block 2", "block 1"):  # the first block is still the trained one
        assert blind[stage].tolist() == pytest.approx([1] * 4)
    assert blind["block 0"].mean() < 0.9
    assert aware["head"].mean() < 0.9


def test_alone_each_stage_is_drawn_as_in_the_cascade_and_the_rest_stays(vit, images):
    with torch.no_grad():
        alone = f.randomization_cascade(vit, images, by_head, cascade=False)
        together = f.randomization_cascade(vit, images, by_head)
        first = f.randomization_cascade(vit, images, weights_of_cls, cascade=False)
    assert alone["head"].equal(together["head"])
    assert not alone["block 2"].equal(together["block 2"])
    assert first["block 1"].tolist() == pytest.approx([1] * 4)
    assert first["embedding"].mean() < 0.9


def test_every_parameter_has_one_stage(vit):
    names = sanity._names(vit, sanity._stages(vit))
    assert sorted(name for own in names.values() for name in own) == sorted(
        name for name, _ in vit.named_parameters()
    )
    assert {"norm.weight", "head.bias"} <= set(names["head"])
    assert {"cls_token", "positions", "register_tokens", "embedding.weight"} == set(names["embedding"]) - {
        "embedding.bias"
    }


def test_parameters_are_drawn_anew_with_their_own_mean_and_deviation():
    model = nn.Linear(300, 200)
    with torch.no_grad():
        model.weight.mul_(0.1).add_(3)
    before = model.weight.detach().clone()
    other = f.randomized(model, ["weight"], seed=5)
    assert model.weight.equal(before)
    assert other.bias.equal(model.bias)
    assert other.weight.mean().item() == pytest.approx(before.mean().item(), rel=1e-4)
    assert other.weight.std().item() == pytest.approx(before.std().item(), rel=0.02)
    assert abs(np.corrcoef(other.weight.detach().flatten(), before.flatten())[0, 1]) < 0.02
    assert other.weight.equal(f.randomized(model, ["weight"], seed=5).weight)
    assert not other.weight.equal(f.randomized(model, ["weight"], seed=6).weight)


def test_a_parameter_is_drawn_alike_whatever_else_is_and_unlike_its_neighbours():
    model = nn.Sequential(nn.Linear(6, 6), nn.Linear(6, 6))
    alone = f.randomized(model, ["1.weight"])
    together = f.randomized(model, ["0.weight", "1.weight"])
    assert alone[1].weight.equal(together[1].weight)
    drawn = [(weight - weight.mean()) / weight.std() for weight in (together[0].weight, together[1].weight)]
    assert (drawn[0] - drawn[1]).abs().max() > 0.1


def test_stages_of_other_models_are_named_by_their_parameters():
    model = nn.Sequential(nn.Flatten(), nn.Linear(4, 4), nn.Tanh(), nn.Linear(4, 4))
    explain = lambda model, images: model(images).reshape(-1, 2, 2)  # noqa: E731
    stages = {"top": ["3."], "rest": []}
    found = f.randomization_cascade(model, torch.rand(3, 1, 2, 2), explain, stages=stages)
    assert list(found) == ["top", "rest"]
    assert found["top"].shape == (3,)


# -- permuting attention -----------------------------------------------------------------------------------


@pytest.mark.parametrize("layer", [2, 0])
def test_permuting_shuffles_what_cls_reads_of_the_patches_and_nothing_else(vit, images, layer, monkeypatch):
    vit, images = vit.double(), images.double()
    seen, merge = [], heads.merge
    monkeypatch.setattr(heads, "merge", lambda x: (seen.append(x), merge(x))[1])
    found = f.permuted_attention(vit, images, layer=layer)
    plain, shuffled = seen[layer], seen[layer + 1]  # what the heads read at this block, as ever and shuffled
    assert shuffled[:, :, 1:].equal(plain[:, :, 1:])
    with torch.no_grad():
        tokens = vit.embed(images)
        for before in vit.blocks[:layer]:
            tokens = before(tokens)
        block = vit.blocks[layer]
        normed = block.norm1(tokens)
        # Eight tokens, eight features a head: which weights CLS read them by can be solved for.
        value = heads.split(block.attention.value(normed), 2)
        after = torch.linalg.solve(value, shuffled[:, :, :1], left=False)[:, :, 0]
        weights = block.attention(normed).weights[:, :, 0]
        torch.testing.assert_close(after[..., :2], weights[..., :2])  # CLS itself and the register
        torch.testing.assert_close(after[..., 2:].sort().values, weights[..., 2:].sort().values)
        assert (after - weights).abs().amax(-1).median() > 0.01
        tokens = tokens + block.attention.out(merge(shuffled))
        tokens = tokens + block.mlp(block.norm2(tokens))
        for behind in vit.blocks[layer + 1 :]:
            tokens = behind(tokens)
        torch.testing.assert_close(found, vit.classify(tokens))


def test_where_all_patches_are_alike_permuting_changes_nothing(vit):
    with torch.no_grad():
        vit.positions.zero_()
    images = torch.full((2, 3, 12, 18), 0.3)
    with torch.no_grad():
        torch.testing.assert_close(f.permuted_attention(vit, images), vit(images))


def test_permuting_is_seeded_and_leaves_the_model_as_it_was(vit, images):
    state = {name: value.clone() for name, value in vit.state_dict().items()}
    first = f.permuted_attention(vit, images, seed=3)
    assert first.equal(f.permuted_attention(vit, images, seed=3))
    assert not first.equal(f.permuted_attention(vit, images, seed=4))
    assert all(value.equal(state[name]) for name, value in vit.state_dict().items())
    assert not any(module._forward_hooks for module in vit.modules())
