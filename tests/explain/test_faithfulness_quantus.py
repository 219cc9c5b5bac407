"""The measures of place agree with quantus (Hedström et al., 2022), where the two define the same.

Differences are on purpose and are shown here: quantus counts the best of several equal maxima, orders equal
values by their place in memory, and divides by the whole of a signed map, negative values included.
"""

import warnings

import numpy as np
import pytest
import torch

from attention_core.explain import faithfulness as f

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import quantus

PLAIN = {"abs": False, "normalise": False, "disable_warnings": True}
SAME = {
    "pointing game": (f.pointing_game, quantus.PointingGame(**PLAIN)),
    "mass accuracy": (f.mass_accuracy, quantus.RelevanceMassAccuracy(**PLAIN)),
    "rank accuracy": (f.rank_accuracy, quantus.RelevanceRankAccuracy(**PLAIN)),
    "AUC": (f.auc, quantus.AUC(**PLAIN)),
}


@pytest.fixture
def masks():
    """Discs of many sizes."""
    rng, (y, x) = np.random.default_rng(3), np.mgrid[:24, :24]
    discs = [((y - a) ** 2 + (x - b) ** 2) < r**2 for a, b, r in rng.uniform(4, 12, size=(40, 3))]
    return torch.as_tensor(np.array(discs))


def theirs(metric, maps, masks):
    images, labels = np.zeros((len(maps), 1, *masks.shape[1:])), np.zeros(len(maps), dtype=int)
    attributions, segments = maps[:, None].numpy(), masks[:, None].numpy()
    found = metric(
        model=None, x_batch=images, y_batch=labels, a_batch=attributions, s_batch=segments, channel_first=True
    )
    return [float(value) for value in found]


def enlarged(maps, factor):
    return maps.repeat_interleave(factor, 1).repeat_interleave(factor, 2)


@pytest.mark.parametrize("name", SAME)
def test_on_maps_of_pixels_without_ties_all_four_agree(name, masks):
    ours, metric = SAME[name]
    maps = torch.rand(len(masks), 24, 24, dtype=torch.float64) ** 4
    found = ours(maps, masks)
    assert found.tolist() == pytest.approx(theirs(metric, maps, masks), abs=1e-12)
    assert found.std() > 0.01  # not one value for all


@pytest.mark.parametrize("name", ["pointing game", "mass accuracy", "AUC"])
def test_on_patch_maps_ours_is_theirs_of_the_enlarged_map(name, masks):
    ours, metric = SAME[name]
    maps = torch.rand(len(masks), 4, 4, dtype=torch.float64)
    found = ours(maps, masks)
    assert found.tolist() == pytest.approx(theirs(metric, enlarged(maps, 6), masks), abs=1e-12)
    assert found.std() > 0.01


def test_on_patch_maps_rank_accuracy_is_theirs_in_the_mean_over_the_order_of_ties(masks):
    maps = torch.rand(len(masks), 4, 4, dtype=torch.float64)
    lots = 1e-9 * torch.rand(300, len(masks), 24, 24, dtype=torch.float64)
    metric = SAME["rank accuracy"][1]
    every = np.array([theirs(metric, enlarged(maps, 6) + lot, masks) for lot in lots])
    found = f.rank_accuracy(maps, masks).numpy()
    error = every.std(0) / len(lots) ** 0.5
    assert (np.abs(found - every.mean(0)) <= 4 * error + 1e-12).all()


def test_where_they_differ(masks):
    tied = torch.rand(len(masks), 24, 24, dtype=torch.float64).clamp(max=0.5)  # half of all are maxima
    assert theirs(SAME["pointing game"][1], tied, masks) == [1.0] * len(masks)
    share = ((tied == 0.5) & masks).sum((1, 2)) / (tied == 0.5).sum((1, 2))
    assert f.pointing_game(tied, masks).tolist() == pytest.approx(share.tolist())
    signed = torch.randn(len(masks), 24, 24, dtype=torch.float64)
    mass = theirs(SAME["mass accuracy"][1], signed, masks)
    assert not 0 <= min(mass) <= max(mass) <= 1  # divided by a sum that may be near 0 or negative
    ours = f.mass_accuracy(signed, masks)
    assert ours.tolist() == pytest.approx(theirs(SAME["mass accuracy"][1], signed.clamp(min=0), masks))
