"""Measures on maps alone: against figures worked out by hand, and against their definition pixel by pixel."""

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from attention_core.explain import faithfulness as f

# A grid of 2 x 2 patches on 4 x 4 pixels: the object fills the first patch and a quarter of the second.
MASK = torch.tensor([[1, 1, 1, 0], [1, 1, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0]]).bool()[None]
LAST = torch.tensor([[0, 0, 0, 0], [0, 0, 0, 0], [0, 0, 1, 1], [0, 0, 1, 1]]).bool()[None]


def grid(*values):
    """One map of 2 x 2."""
    return torch.tensor(values, dtype=torch.float32).reshape(1, 2, 2)


@st.composite
def scenes(draw, least=1):
    """A map of few different values, and two masks that share no pixel, neither of them empty."""
    rows, columns, patch = draw(st.integers(1, 3)), draw(st.integers(1, 3)), draw(st.integers(1, 2))
    values = draw(st.lists(st.integers(-2, 2), min_size=rows * columns, max_size=rows * columns))
    count = rows * columns * patch * patch
    owner = draw(st.permutations([0, 1, 2] * count).map(lambda drawn: drawn[:count]))
    owner = torch.tensor(owner).reshape(1, rows * patch, columns * patch)
    maps = torch.tensor(values, dtype=torch.float64).reshape(1, rows, columns)
    return maps, owner == 1, owner == 2


def enlarged(maps, mask):
    """The map at every pixel, without smoothing."""
    rows, columns = mask.shape[1] // maps.shape[1], mask.shape[2] // maps.shape[2]
    return maps.repeat_interleave(rows, 1).repeat_interleave(columns, 2)


def wins(first, second):
    """How often a value of the first outranks one of the second, pair by pair."""
    return np.mean([(a > b) + (a == b) / 2 for a, b in itertools.product(first.tolist(), second.tolist())])


# -- where the object is -----------------------------------------------------------------------------------


def test_a_patch_counts_by_the_share_that_the_mask_covers():
    assert f.patch_masks(MASK, (2, 2)).tolist() == [[[1.0, 0.25], [0.0, 0.0]]]
    assert f.patch_masks(MASK, (1, 2)).tolist() == [[[0.5, 0.125]]]
    assert f.patch_masks(MASK, (4, 4)).equal(MASK.double())


def test_the_peak_is_a_hit_where_its_patch_touches_the_object():
    assert f.pointing_game(grid(3, 1, 2, 0), MASK).tolist() == [1.0]
    assert f.pointing_game(grid(1, 3, 2, 0), MASK).tolist() == [1.0]  # touched by a quarter
    assert f.pointing_game(grid(1, 2, 3, 0), MASK).tolist() == [0.0]


def test_of_several_peaks_each_counts_for_its_part():
    assert f.pointing_game(grid(3, 1, 3, 0), MASK).tolist() == [0.5]
    assert f.pointing_game(grid(3, 3, 3, 0), MASK).item() == pytest.approx(2 / 3)


def test_mass_by_hand_where_negative_values_are_no_evidence():
    assert f.mass_accuracy(grid(6, 2, 2, 0), MASK).item() == pytest.approx((6 + 2 / 4) / 10)
    assert f.mass_accuracy(grid(6, 2, 2, -90), MASK).item() == pytest.approx((6 + 2 / 4) / 10)
    assert f.mass_accuracy(grid(-6, 0, 2, 0), MASK).item() == 0.0


def test_mass_keeps_its_digits_at_any_scale():
    one = torch.tensor([[[6.0, 2.0], [2.0, 0.0]]], dtype=torch.float64)
    for scale in (1e-300, 1e300, 5e-324):
        assert f.mass_accuracy(one * scale, MASK).item() == pytest.approx(0.65)


def test_rank_accuracy_by_hand_takes_as_many_pixels_as_the_object_has():
    # five pixels: all four of the highest patch and one of the next, which stands for its patch's share
    assert f.rank_accuracy(grid(9, 5, 1, 0), MASK).item() == pytest.approx((4 + 1 / 4) / 5)
    assert f.rank_accuracy(grid(9, 1, 5, 0), MASK).item() == pytest.approx(4 / 5)
    assert f.rank_accuracy(grid(0, 1, 9, 5), MASK).item() == 0.0
    assert f.rank_accuracy(grid(9, 5, 5, 0), MASK).item() == pytest.approx((4 + 1 / 8) / 5)


def test_auc_by_hand():
    # 5 pixels against 11: 4 win all, 1 ties with its own patch's 3 and wins 8
    assert f.auc(grid(9, 5, 1, 0), MASK).item() == pytest.approx((4 * 11 + 3 / 2 + 8) / 55)
    assert f.auc(grid(9, 1, 1, 1), LAST).item() == pytest.approx((4 * 0 + 8 / 2) / 12)
    assert f.auc(grid(0, 0, 0, 1), LAST).item() == 1.0


@given(scenes())
def test_every_measure_of_place_is_that_of_the_enlarged_map(scene):
    maps, mask, _ = scene
    if not mask.any() or mask.all():
        return
    values = enlarged(maps, mask)
    inside, outside = values[mask], values[~mask]
    assert f.auc(maps, mask).item() == pytest.approx(wins(inside, outside), abs=1e-12)
    positive = values.clamp(min=0) if (values > 0).any() else torch.ones_like(values)
    assert f.mass_accuracy(maps, mask).item() == pytest.approx((positive[mask].sum() / positive.sum()).item())


@pytest.mark.parametrize("values", [(1, 1, 0, 0), (2, 1, 1, 1), (0, 0, 0, 0), (1, 0, 1, 0)], ids=str)
def test_rank_accuracy_and_pointing_are_means_over_all_orders_of_the_ties(values):
    mask = torch.tensor([[[1, 0], [0, 1]]]).bool()
    ranks, peaks = [], []
    for order in itertools.permutations(range(4)):
        best = sorted(range(4), key=lambda patch, order=order: (-values[patch], order[patch]))
        ranks.append(mask.flatten()[best[:2]].double().mean())
        peaks.append(mask.flatten()[best[0]].double())
    assert f.rank_accuracy(grid(*values), mask).item() == pytest.approx(np.mean(ranks))
    assert f.pointing_game(grid(*values), mask).item() == pytest.approx(np.mean(peaks))


@pytest.mark.parametrize("constant", [0.0, 3.5, -1.0])
def test_a_constant_map_gets_what_chance_gets(constant):
    maps = torch.full((1, 2, 2), constant)
    assert f.pointing_game(maps, MASK).item() == 2 / 4  # patches that touch the object
    assert f.mass_accuracy(maps, MASK).item() == 5 / 16  # pixels of the object
    assert f.rank_accuracy(maps, MASK).item() == pytest.approx(5 / 16)
    assert f.auc(maps, MASK).item() == 0.5
    assert f.class_auc(maps, MASK, LAST).item() == 0.5


def test_random_maps_come_to_chance_in_the_mean():
    maps, mask = torch.rand(2000, 2, 2), MASK.expand(2000, -1, -1)
    for measure, chance in ((f.pointing_game, 0.5), (f.rank_accuracy, 5 / 16), (f.auc, 0.5)):
        low, high = f.interval(measure(maps, mask), level=0.999)[1:]
        assert low < chance < high


@given(scenes())
def test_measures_of_order_do_not_see_the_scale_of_values(scene):
    maps, mask, _ = scene
    if not mask.any() or mask.all():
        return
    for measure in (f.pointing_game, f.rank_accuracy, f.auc):
        assert measure(maps, mask).equal(measure(torch.exp(3 * maps) - 7, mask))


def test_images_of_a_batch_do_not_meet():
    maps, masks = torch.rand(5, 2, 2), torch.cat([MASK, LAST, MASK, LAST, MASK])
    for measure in (f.pointing_game, f.mass_accuracy, f.rank_accuracy, f.auc):
        alone = torch.cat([measure(maps[i : i + 1], masks[i : i + 1]) for i in range(5)])
        assert measure(maps, masks).equal(alone)


def test_grids_need_not_be_square():
    mask = torch.zeros(1, 4, 12, dtype=torch.bool)
    mask[:, 2:, 8:] = True
    maps = torch.zeros(1, 2, 3)
    maps[0, 1, 2] = 1
    for measure in (f.pointing_game, f.mass_accuracy, f.rank_accuracy, f.auc):
        assert measure(maps, mask).item() == 1.0


def test_maps_are_neither_changed_nor_kept_on_the_graph():
    maps = torch.rand(1, 2, 2, requires_grad=True)
    before = maps.detach().clone()
    for found in (f.auc(maps, MASK), f.mass_accuracy(maps, MASK), f.class_auc(maps, MASK, LAST)):
        assert not found.requires_grad
    assert maps.equal(before)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_measures_take_every_precision(dtype):
    assert f.auc(grid(9, 5, 1, 0).to(dtype), MASK).equal(f.auc(grid(9, 5, 1, 0), MASK))


# -- which object was asked for ----------------------------------------------------------------------------


def test_class_auc_by_hand_leaves_the_background_out():
    # 5 pixels against 4: the quarter patch loses to the other object, the full one wins
    assert f.class_auc(grid(9, 1, 50, 5), MASK, LAST).item() == pytest.approx(16 / 20)
    assert f.class_auc(grid(9, 5, 50, 5), MASK, LAST).item() == pytest.approx((16 + 4 / 2) / 20)


@given(scenes())
def test_class_auc_is_that_of_the_enlarged_map_and_half_for_a_map_blind_to_the_class(scene):
    maps, mask, other = scene
    if not mask.any() or not other.any():
        return
    values = enlarged(maps, mask)
    asked, beside = f.class_auc(maps, mask, other), f.class_auc(maps, other, mask)
    assert asked.item() == pytest.approx(wins(values[mask], values[other]), abs=1e-12)
    assert ((asked + beside) / 2).item() == pytest.approx(0.5, abs=1e-12)


def test_correlation_is_that_of_scipy():
    first, second = torch.randn(6, 3, 4), torch.randn(6, 3, 4).round()  # the second with ties
    for ranks, theirs in ((False, stats.pearsonr), (True, stats.spearmanr)):
        right = [theirs(a.flatten(), b.flatten()).statistic for a, b in zip(first, second, strict=True)]
        assert f.correlation(first, second, ranks=ranks).tolist() == pytest.approx(right)


def test_correlation_of_opposites_is_minus_one_at_any_scale():
    maps = torch.rand(2, 3, 3, dtype=torch.float64)
    for scale in (1e-200, 1.0, 1e200):
        assert f.correlation(maps, -scale * maps).tolist() == pytest.approx([-1, -1])
        assert f.correlation(scale * maps, maps, ranks=True).tolist() == pytest.approx([1, 1])


def test_a_constant_map_is_like_another_constant_one_and_like_no_other():
    flat, maps = torch.zeros(1, 2, 2), grid(1, 2, 3, 4)
    for ranks in (False, True):
        assert f.correlation(flat, flat + 3, ranks=ranks).tolist() == [1.0]
        assert f.correlation(flat, maps, ranks=ranks).tolist() == [0.0]
        assert f.correlation(maps, flat + 0.1, ranks=ranks).tolist() == [0.0]


# -- the tag -----------------------------------------------------------------------------------------------


def test_the_tag_is_the_patch_that_it_touches():
    tag = torch.zeros(1, 4, 4, dtype=torch.bool)
    tag[0, 3, 3] = True
    mass, peak = f.shortcut(grid(1, 0, 2, 5), tag)
    assert (mass.item(), peak.item()) == (pytest.approx(5 / 8), 1.0)
    mass, peak = f.shortcut(grid(5, -3, 2, 1), tag)
    assert (mass.item(), peak.item()) == (pytest.approx(1 / 8), 0.0)
    mass, peak = f.shortcut(torch.zeros(1, 2, 2), tag)
    assert (mass.item(), peak.item()) == (1 / 4, 1 / 4)


# -- how sure ----------------------------------------------------------------------------------------------


def test_the_interval_of_two_values_by_hand():
    # resampled means are 0, 1/2 and 1 with probabilities 1/4, 1/2, 1/4
    assert f.interval([0.0, 1.0]) == (0.5, 0.0, 1.0)
    assert f.interval([0.0, 1.0], level=0.4) == (0.5, 0.5, 0.5)


def test_the_interval_is_that_of_scipy():
    values = np.random.default_rng(1).gamma(2.0, size=80)
    ours = f.interval(values, resamples=20_000)
    theirs = stats.bootstrap(
        (values,), np.mean, n_resamples=20_000, method="percentile", random_state=np.random.default_rng(2)
    ).confidence_interval
    assert ours.mean == pytest.approx(values.mean())
    assert (ours.low, ours.high) == pytest.approx(tuple(theirs), abs=0.05 * values.std() / 80**0.5)


def test_intervals_hold_the_true_mean_as_often_as_they_say():
    draws = np.random.default_rng(0).uniform(size=(400, 100))
    held = [low < 0.5 < high for _, low, high in (f.interval(row, resamples=500) for row in draws)]
    assert 0.92 <= np.mean(held) <= 0.98


def test_over_models_the_interval_holds_the_mean_for_another_model():
    rng, held, naive = np.random.default_rng(0), [], []
    for _ in range(300):  # models differ more than the mean over images is unsure
        table = rng.normal(size=(8, 1)) + rng.normal(size=(1, 60)) + rng.normal(size=(8, 60))
        low, high = f.interval(table, resamples=400)[1:]
        held.append(low < 0 < high)
        low, high = f.interval(table.mean(0), resamples=400)[1:]
        naive.append(low < 0 < high)
    assert 0.85 <= np.mean(held) <= 0.99
    assert np.mean(naive) < 0.7


def test_one_model_in_a_table_is_that_model_alone():
    values = torch.rand(30)
    assert f.interval(values[None]) == f.interval(values) == f.interval(values.tolist())


def test_an_interval_is_seeded_and_of_equal_values_a_point():
    values = torch.rand(30)
    assert f.interval(values, seed=3) == f.interval(values, seed=3) != f.interval(values, seed=4)
    assert f.interval([0.1] * 7) == (0.1, 0.1, 0.1)
    assert f.interval([0.7]) == (0.7, 0.7, 0.7)


def test_a_higher_level_is_wider():
    values = torch.rand(50)
    narrow, wide = f.interval(values, level=0.5), f.interval(values, level=0.99)
    assert wide.low < narrow.low < narrow.mean < narrow.high < wide.high
