"""Does the map know which object was asked for? Measures on images of two objects, one number an image."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from attention_core.explain.faithfulness.given import check_like, checked_maps, coverage
from attention_core.explain.faithfulness.localization import outranks


def class_auc(
    maps: Float[Tensor, "batch rows columns"],
    masks: Bool[Tensor, "batch height width"],
    others: Bool[Tensor, "batch height width"],
) -> Float[Tensor, " batch"]:
    r"""The probability that a pixel of the object asked for outranks one of the other object.

    $$\Pr(s_p > s_q) + \tfrac12 \Pr(s_p = s_q), \qquad p \in M, \; q \in M'$$

    with M the mask of the class that the map explains (`masks`) and M' that of another one in the same
    image (`others`): `auc` with the background left out, so that it is no help to find *some* object. Ties
    count half. No paper's measure in this form; it is the class-wise counterpart of the area under the ROC
    curve (Fawcett, 2006).

    Range 0 to 1, 1 only where no patch touches both. Chance, and a constant map, gives 1/2. A single number
    of a class-blind map may be anything (one object is always the more salient), but that of the other
    question is then one minus it: take the mean over both targets of each image, `class_auc(a, mask_a,
    mask_b)` and `class_auc(b, mask_b, mask_a)`, which is 1/2 for every map that does not depend on the
    target.
    """
    maps = checked_maps(maps)
    target, other = coverage(maps, masks), coverage(maps, others, "others")
    if masks.shape == others.shape:
        both = (masks & others).flatten(1).any(1)
        if both.any():
            raise ValueError(
                f"`masks` and `others` share pixels in {int(both.sum())} of {len(both)} images, first in "
                f"image {int(both.nonzero()[0])}: they must be of two different objects."
            )
    return outranks(maps, target, other)


def correlation(
    maps: Float[Tensor, "batch rows columns"],
    others: Float[Tensor, "batch rows columns"],
    *,
    ranks: bool = False,
) -> Float[Tensor, " batch"]:
    r"""How alike two maps of an image are: Pearson's correlation, or Spearman's of their ranks.

    $$\frac{\sum_p (s_p - \bar s)(t_p - \bar t)}{\sqrt{\sum_p (s_p - \bar s)^2 \sum_p (t_p - \bar t)^2}}$$

    With `ranks` values are replaced by their ranks, equal ones by the mean of theirs (Spearman's
    coefficient, as Adebayo et al. (2018) compare maps). Maps for two targets of one image show whether the
    target matters: 1 for a class-blind method, negative where evidence for the one is evidence against the
    other.

    Range -1 to 1, unrelated maps near 0. A constant map has no correlation: it gives 0 beside a map that is
    not constant, and 1 beside another constant one, for between those nothing has changed.
    """
    first, second = checked_maps(maps), checked_maps(others, "others")
    check_like(second, first, "others")
    constant = [(one == one[:, :1, :1]).flatten(1).all(1) for one in (first, second)]
    if ranks:
        first, second = midranks(first), midranks(second)
    a, b = (_unit(one.flatten(1)) for one in (first, second))
    found = (a * b).sum(1).clamp(-1, 1)
    either, both = constant[0] | constant[1], constant[0] & constant[1]
    return torch.where(either, both.double(), found)


def _unit(values: Float[Tensor, "batch patches"]) -> Float[Tensor, "batch patches"]:
    """Centred, of length 1; scaled first, as squares of tiny values vanish."""
    centred = values - values.mean(1, keepdim=True)
    tiny = torch.finfo(values.dtype).tiny
    scaled = centred / centred.abs().amax(1, keepdim=True).clamp(min=tiny)
    return scaled / scaled.norm(dim=1, keepdim=True).clamp(min=tiny)


def midranks(maps: Float[Tensor, "batch rows columns"]) -> Float[Tensor, "batch rows columns"]:
    """Ranks from 0 within each map; equal values share the mean of theirs."""
    found = []
    for values in maps.flatten(1):
        _, which, counts = values.unique(return_inverse=True, return_counts=True)
        last = counts.cumsum(0).double()
        found.append((last - (counts + 1) / 2)[which])
    return torch.stack(found).reshape(maps.shape)
