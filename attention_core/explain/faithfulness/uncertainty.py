"""How sure a mean is: bootstrap intervals over images, and over models where there are several."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from torch import Tensor


class Interval(NamedTuple):
    """A mean and the ends of its interval."""

    mean: float
    low: float
    high: float


def interval(
    values: Tensor | np.ndarray | Sequence[float] | Sequence[Sequence[float]],
    *,
    level: float = 0.95,
    resamples: int = 2000,
    seed: int = 0,
) -> Interval:
    r"""The mean of `values` with its percentile bootstrap interval (Efron & Tibshirani, 1993, chapter 13).

    Images are drawn anew with replacement, as many as there are, `resamples` times; the interval runs
    between the $(1 - level)/2$ and $(1 + level)/2$ quantiles of the means. Seeded: the same values give the
    same ends.

    Parameters
    ----------
    values
        One number an image (images,), or (models, images): several models, trained alike, on the same images.
        Then models and images are both drawn anew, independently, and the mean is over what both drew (the
        pigeonhole bootstrap of Owen, 2007): the interval is for another model of this kind on other images.
        It is cautious, and with three models no more than rough. What hangs together within an image (two
        targets of a pair) must be averaged before.
    level
        The share of such intervals that should hold the true mean.
    resamples
        How many times to draw.
    seed
        Of the drawing.

    Returns
    -------
    Interval
        (mean, low, high). Of a single image, or of equal values, both ends are the mean.

    Raises
    ------
    ValueError
        For no values, NaN, more than two axes, a level outside (0, 1) or no resamples.
    """
    table = _table(values)
    if not 0 < level < 1:
        raise ValueError(f"`level` must lie between 0 and 1, as 0.95 does; got {level}.")
    if resamples < 1:
        raise ValueError(f"`resamples` must be at least 1 (2000 is usual); got {resamples}.")
    rng = np.random.default_rng(seed)
    models, images = table.shape
    # How often each was drawn, as weights that sum to 1: a mean is then weights @ table @ weights.
    by_model = rng.multinomial(models, np.full(models, 1 / models), size=resamples) / models
    by_image = rng.multinomial(images, np.full(images, 1 / images), size=resamples) / images
    means = ((by_model @ table) * by_image).sum(1)
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
    if np.ptp(table) == 0:  # else mean and ends would differ by rounding
        return Interval(*[float(table[0, 0])] * 3)
    return Interval(float(table.mean()), float(low), float(high))


def _table(values: object) -> np.ndarray:
    plain = values.detach().cpu().double().numpy() if isinstance(values, Tensor) else values
    table = np.asarray(plain, dtype=np.float64)
    if table.ndim == 1:
        table = table[None]
    if table.ndim != 2 or table.size == 0:
        raise ValueError(
            f"`values` must hold one number an image, (images,) or (models, images); got shape "
            f"{np.shape(plain)}."
        )
    if not np.isfinite(table).all():
        raise ValueError(
            f"`values` holds {int((~np.isfinite(table)).sum())} NaN or infinite numbers of {table.size}. "
            "An interval over what is left would hide them: find out which images they come from."
        )
    return table
