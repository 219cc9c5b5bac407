r"""Is the map where the object is? Measures against exact masks, one number an image.

Maps are patch maps (batch, rows, columns), masks are pixel masks (batch, height, width). A patch stands for
all its pixels: each measure is that of the map enlarged to the pixels without smoothing
(`explain.upsample`, nearest), so one that is covered by half counts by half. Masks on the grid itself,
`patch_masks(masks, grid) >= 0.5`, measure whole patches.

Equal values are never ranked by their place in memory: each measure is the mean over all orders of its
ties, so that a constant map gets exactly what chance gets. Empty masks, NaN and infinite values are errors.

A map can be where the object is without having anything to do with what the model did: an edge filter scores
well here. See `class_auc` and `contrastive_deletion` for measures that it fails.
"""

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from attention_core.explain.faithfulness.given import checked_maps, coverage


def pointing_game(
    maps: Float[Tensor, "batch rows columns"], masks: Bool[Tensor, "batch height width"]
) -> Float[Tensor, " batch"]:
    r"""Does the map peak on the object? 1 for a hit, 0 for a miss (Zhang et al., 2016).

    $$\frac{|\{p \in M : c_p > 0\}|}{|M|}, \qquad M = \arg\max_p s_p$$

    with $s_p$ the map at patch p and $c_p$ the share of the patch that the mask covers. The peak is a
    patch, and a patch that touches the object is a hit: a tolerance, where the paper allows 15 pixels
    around the object. Of several equal maxima each counts for its part; quantus takes the best of them,
    which makes a constant map perfect.

    Range 0 to 1. Chance, and a constant map, gives the share of patches that touch the object.
    """
    maps = checked_maps(maps)
    touched = coverage(maps, masks) > 0
    values = maps.flatten(1)
    peaks = values == values.amax(1, keepdim=True)
    return (peaks & touched).sum(1).double() / peaks.sum(1)


def mass_accuracy(
    maps: Float[Tensor, "batch rows columns"], masks: Bool[Tensor, "batch height width"]
) -> Float[Tensor, " batch"]:
    r"""How much of the map lies on the object: relevance mass accuracy (Arras et al., 2020).

    $$\frac{\sum_p c_p \, s_p^+}{\sum_p s_p^+}$$

    with $c_p$ the share of patch p that the mask covers. Only positive values are evidence for the class:
    the negative ones of a signed map are left out. A map without positive values says nothing of where, and
    counts as a constant one.

    Range 0 to 1, but 1 only if the object fills some patch: the most that can be had is the largest $c_p$.
    Chance, and a constant map, gives the share of the image that the object covers. Depends on the map's
    zero and scale of values: compare methods by `auc`, which does not.
    """
    maps = checked_maps(maps)
    covered = coverage(maps, masks)
    return mass(maps, covered)


def mass(
    maps: Float[Tensor, "batch rows columns"], weights: Float[Tensor, "batch patches"]
) -> Float[Tensor, " batch"]:
    """The weighted mean of `weights` by the positive values of the maps; by ones where there are none."""
    positive = maps.flatten(1).clamp(min=0)
    # Divided by the largest first: neither tiny nor huge values lose digits in the sum.
    largest = positive.amax(1, keepdim=True)
    scaled = torch.where(largest > 0, positive / largest.clamp(min=torch.finfo(positive.dtype).tiny), 1.0)
    return (weights * scaled).sum(1) / scaled.sum(1)


def rank_accuracy(
    maps: Float[Tensor, "batch rows columns"], masks: Bool[Tensor, "batch height width"]
) -> Float[Tensor, " batch"]:
    r"""Of the K highest pixels, how many lie on the object: relevance rank accuracy (Arras et al., 2020).

    $$\frac{|\{p_1, \dots, p_K\} \cap M|}{K}, \qquad s_{p_1} \ge s_{p_2} \ge \dots, \quad K = |M|$$

    with M the object's pixels. All pixels of a patch have its value; where the K-th pixel falls
    within equal ones, those left to choose count by the share of them that is on the object.

    Range 0 to 1. Chance, and a constant map, gives the share of the image that the object covers. Depends
    on the order of values alone.
    """
    maps = checked_maps(maps)
    covered = coverage(maps, masks)
    rows = zip(maps.flatten(1), covered, strict=True)
    return torch.stack([_hits(values, on) / on.sum() for values, on in rows])


def _hits(values: Float[Tensor, " patches"], covered: Float[Tensor, " patches"]) -> Float[Tensor, ""]:
    """Of the highest pixels, as many as are covered: how many of them are; in units of a patch."""
    hits, sizes = (by_value(values, weights).flip(0) for weights in (covered, torch.ones_like(covered)))
    before = sizes.cumsum(0) - sizes
    taken = (covered.sum() - before).clamp(min=0).minimum(sizes)
    return (hits * taken / sizes).sum()


def auc(
    maps: Float[Tensor, "batch rows columns"], masks: Bool[Tensor, "batch height width"]
) -> Float[Tensor, " batch"]:
    r"""The probability that a pixel of the object outranks one of the rest: the area under the ROC curve.

    $$\mathrm{AUC} = \Pr(s_p > s_q) + \tfrac12 \Pr(s_p = s_q), \qquad p \in M, \; q \notin M$$

    which is the Mann-Whitney statistic over $|M| |\bar M|$ (Fawcett, 2006). Ties count half, as in
    the trapezoidal rule: patches that the object covers in part tie with themselves, which keeps a patch map
    below 1 unless the mask is made of whole patches.

    Range 0 to 1. Chance, and a constant map, gives 1/2. Depends on the order of values alone. A mask that
    covers the whole image leaves nothing to compare with: `ValueError`.
    """
    maps = checked_maps(maps)
    covered = coverage(maps, masks)
    full = (covered == 1).all(1)
    if full.any():
        raise ValueError(
            f"`masks` covers the whole image in {int(full.sum())} of {len(full)} images, first in image "
            f"{int(full.nonzero()[0])}: no pixel is left for the object to outrank. Leave those images out."
        )
    return outranks(maps, covered, 1 - covered)


def outranks(
    maps: Float[Tensor, "batch rows columns"],
    winners: Float[Tensor, "batch patches"],
    losers: Float[Tensor, "batch patches"],
) -> Float[Tensor, " batch"]:
    """How probably a patch drawn by the weights `winners` has the higher value than one by `losers`."""
    found = []
    for values, up, down in zip(maps.flatten(1), winners, losers, strict=True):
        wins, losses = by_value(values, up), by_value(values, down)
        below = losses.cumsum(0) - losses
        found.append((wins * (below + losses / 2)).sum() / (up.sum() * down.sum()))
    return torch.stack(found)


def by_value(
    values: Float[Tensor, " patches"], weights: Float[Tensor, " patches"]
) -> Float[Tensor, " ranks"]:
    """The sum of weights at each different value, lowest value first."""
    different, which = values.unique(return_inverse=True)
    return weights.new_zeros(len(different)).index_add(0, which, weights)
