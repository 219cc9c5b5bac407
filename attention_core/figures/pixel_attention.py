"""Pixel attention: which pixels does this pixel average, under two filters of photographs?"""

from collections.abc import Sequence
from numbers import Integral, Real

import ipywidgets as widgets
import numpy as np
import torch
import traitlets

from attention_core.figures import base, static
from attention_core.figures import pixel_attention_static as drawing
from attention_core.figures.pixel_attention_static import FILTERS, PATCH, Facts
from attention_core.figures.static import Markup, fixed, section, setting, tidy
from attention_core.pipeline import attend

LEAST, MOST = 8, 48  # pixels a side
NARROWEST, WIDEST = -5.0, -1.0  # exponents of two: 0.031 to 0.5
LOUDEST = 0.2


class PixelAttentionView(base.View):
    _esm = base.module("pixel_attention")
    _css = base.style("pixel_attention")
    picture = traitlets.Bytes().tag(sync=True)  # float32, little endian, rows x columns
    pattern = traitlets.Bytes().tag(sync=True)  # the same: noise of standard deviation 1
    rows = traitlets.Int().tag(sync=True)
    columns = traitlets.Int().tag(sync=True)
    reach = traitlets.Float(4.0).tag(sync=True)
    filter = traitlets.Int(0).tag(sync=True)
    width = traitlets.Float(0.125).tag(sync=True)
    noise = traitlets.Float(0.1).tag(sync=True)
    pixel = traitlets.List(traitlets.Int()).tag(sync=True)  # the view writes it too


class PixelAttention(base.Figure):
    r"""One pixel's attention in the bilateral filter (Tomasi and Manduchi, 1998) and in non-local means
    (Buades et al., 2005), over a picture to which noise has been added.

    Pixel $q$ gives pixel $j$ the weight $w_j \propto e^{-d_j}$, with places $p$ and brightness $v$
    $d_j = \|p_q - p_j\|^2 / 2 \sigma_s^2 + (v_q - v_j)^2 / 2 \sigma_r^2$ in the bilateral filter, and with
    patches $P$ of 7 by 7 pixels $d_j = \sum_c g_c (P_{qc} - P_{jc})^2 / h^2$ in non-local means, where the
    Gaussian $g$, of deviation 1.5 pixels, sums to 1. One control sets $\sigma_r$ or $h$.

    Parameters
    ----------
    picture
        (rows, columns), 8 to 48 each: brightness between 0 and 1, without noise. An edge above stripes by
        default.
    filter
        "bilateral" or "non-local means".
    width
        What counts as alike, $\sigma_r$ or $h$: 0.03125 to 0.5.
    noise
        Standard deviation of the noise at the start: 0 to 0.2.
    reach
        $\sigma_s$ in pixels.
    pixel
        (row, column), from 0. By default, in the lower half and away from the borders, the pixel that noise
        has brought nearest to the picture's middle brightness.
    seed
        Of the noise.
    """

    name = "pixel-attention"
    title = "Pixel attention: which pixels does this pixel average?"
    question = "Change the filter. Does noise in one pixel send its attention to the wrong stripes?"

    def __init__(
        self,
        picture: object = None,
        *,
        filter: str = "bilateral",
        width: Real = 0.125,
        noise: Real = 0.1,
        reach: Real = 4.0,
        pixel: Sequence[int] | None = None,
        seed: int = 4,
    ):
        self.picture = example() if picture is None else grey(picture)
        if filter not in FILTERS:
            raise ValueError(f"`filter` must be one of {', '.join(map(repr, FILTERS))}; got {filter!r}")
        base.between("width", width, 2**NARROWEST, 2**WIDEST)
        base.between("noise", noise, 0.0, LOUDEST)
        base.between("reach", reach, 0.5, 100.0)
        normal = np.random.default_rng(seed).normal(size=self.picture.shape)
        self.pattern = normal.astype(np.float32).astype(np.float64)  # as exact as it travels
        self.filter = widgets.ToggleButtons(
            options=FILTERS, index=FILTERS.index(filter), description="Filter"
        )
        self.width = widgets.FloatLogSlider(
            value=width, base=2, min=NARROWEST, max=WIDEST, step=0.5, readout_format=".3g",
            description="Alike within",
        )  # fmt: skip
        self.noise = widgets.FloatSlider(
            value=noise, min=0, max=LOUDEST, step=0.02, description="Noise (deviation)"
        )
        rows, columns = self.picture.shape
        view = PixelAttentionView(
            picture=self.picture.astype("<f4").tobytes(), pattern=self.pattern.astype("<f4").tobytes(),
            rows=rows, columns=columns, reach=float(reach),
        )  # fmt: skip
        controls = {"filter": self.filter, "width": self.width, "noise": self.noise}
        super().__init__(view, list(controls.values()))
        self.pixel = undecided(self.noisy, self.picture) if pixel is None else pixel
        for name, control in controls.items():
            self.link(control, "index" if name == "filter" else "value", view, name)
            control.observe(self._compute, "value")
        view.observe(self._compute, "pixel")
        self.settle()
        self._compute()

    @property
    def pixel(self) -> tuple[int, int]:
        """Row and column of the pixel that asks, which readers choose in the picture."""
        row, column = self.view.pixel
        return row, column

    @pixel.setter
    def pixel(self, pixel: Sequence[int]) -> None:
        inside = (
            isinstance(i, Integral) and 0 <= i < n for i, n in zip(pixel, self.picture.shape, strict=False)
        )
        if len(pixel) != 2 or not all(inside):
            raise ValueError(
                f"`pixel` must be a row and a column inside the picture of shape {self.picture.shape}, "
                f"counted from 0; got {pixel!r}"
            )
        self.view.pixel = [int(i) for i in pixel]

    @property
    def noisy(self) -> np.ndarray:
        """(rows, columns): the picture with as much noise as the control says."""
        return self.picture + self.noise.value * self.pattern

    @property
    def weights(self) -> np.ndarray:
        """(rows, columns): where the pixel attends. They sum to 1."""
        return weigh(self.noisy, self.pixel, self.filter.index, self.width.value, self.view.reach)

    @property
    def facts(self) -> Facts:
        """What the tiles say: the pixel's brightness in three states, and shares of its weights."""
        return drawing.measure(self.weights, self.noisy, self.picture, self.pixel)

    def _compute(self, _change: dict | None = None) -> None:
        """With a kernel, the view draws these exact numbers in place of its own."""
        state = [self.filter.index, self.width.value, self.noise.value, *self.pixel]
        self.view.exact = {"state": state, "weights": self.weights.astype("<f8").tobytes()}

    def settle(self) -> None:
        self.view.filter, self.view.width = self.filter.index, self.width.value
        self.view.noise = self.noise.value

    def static_settings(self) -> Sequence[Markup]:
        return (
            static.choices("Filter", FILTERS, self.filter.index),
            setting(self.width.description, tidy(self.width.value)),
            setting(self.noise.description, fixed(self.noise.value)),
        )

    def static_body(self) -> Sequence[Markup]:
        weights, facts, kind = self.weights, self.facts, self.filter.index
        left = drawing.board(drawing.noisy(self.noisy), self.pixel, self.picture.shape, kind, self.view.reach)
        right = drawing.map_of(weights, self.picture, self.pixel)
        return (
            section("flow", drawing.PICK, left, drawing.compared(kind, self.view.reach)),
            section("matrix", drawing.MAP, right, *drawing.legend(weights)),
            section("detail", drawing.BECOMES, drawing.tiles(facts)),
            static.sentence(drawing.describe(facts, kind, self.width.value, self.pixel)),
        )


# -- weights -----------------------------------------------------------------------------------------------


def weigh(noisy: np.ndarray, pixel: Sequence[int], kind: int, width: Real, reach: Real) -> np.ndarray:
    """Weights (rows, columns) of one pixel in the filter `FILTERS[kind]`: `attend` with one query."""
    image = torch.from_numpy(np.ascontiguousarray(noisy, dtype=np.float64))
    features = patches(image) / width if kind else places(image, reach, width)
    row, column = pixel
    asked = features[row * image.shape[1] + column, None]
    value = image.reshape(-1, 1)
    return attend(asked, features, value, score=minus_distance).weights.reshape(image.shape).numpy()


def minus_distance(query: torch.Tensor, key: torch.Tensor) -> torch.Tensor:
    """Minus half the squared distance of all pairs, (n, m): the score of kernel regression."""
    return -(query.unsqueeze(-2) - key.unsqueeze(-3)).square().sum(-1) / 2


def places(image: torch.Tensor, reach: float, width: float) -> torch.Tensor:
    """Query and key of the bilateral filter, (pixels, 3): where a pixel is, and how bright."""
    place = torch.cartesian_prod(*(torch.arange(n, dtype=image.dtype) for n in image.shape))
    return torch.cat([place / reach, image.reshape(-1, 1) / width], dim=1)


def patches(image: torch.Tensor) -> torch.Tensor:
    """Query and key of non-local means, (pixels, 49), for h = 1: what surrounds a pixel, mirrored at borders.

    The root of 2 is there because the authors write exp(-d^2 / h^2), and the score has a half.
    """
    margin = PATCH // 2
    padded = torch.nn.functional.pad(image[None, None], [margin] * 4, mode="reflect")
    windows = padded.unfold(2, PATCH, 1).unfold(3, PATCH, 1).reshape(-1, PATCH**2)
    bell = torch.exp(-8 * (torch.arange(PATCH, dtype=image.dtype) - margin).square() / (PATCH - 1) ** 2)
    return windows * (2 * torch.outer(bell, bell).flatten()).sqrt() / bell.sum()


# -- pictures ----------------------------------------------------------------------------------------------


def example(side: int = 32) -> np.ndarray:
    """Two flat areas with an edge; below them, diagonal stripes three pixels wide."""
    rows, columns = np.indices((side, side))
    bright = np.where(rows < side // 2, columns >= side // 2, (rows + columns) % 6 >= 3)
    return np.where(bright, 0.75, 0.25)


def grey(picture: object) -> np.ndarray:
    array = base.finite("picture", picture, 2)
    if not all(LEAST <= side <= MOST for side in array.shape):
        raise ValueError(f"`picture` must have {LEAST} to {MOST} rows and columns; got shape {array.shape}")
    if array.min() < 0 or array.max() > 1:
        raise ValueError(
            f"`picture` must hold brightness between 0 and 1; got {array.min():g} to {array.max():g}. "
            "Divide bytes by 255."
        )
    return array.astype(np.float32).astype(np.float64)


def undecided(noisy: np.ndarray, picture: np.ndarray) -> tuple[int, int]:
    """In the lower half, away from the borders: the pixel nearest to the middle of darkest and brightest."""
    rows, columns = noisy.shape
    top, margin = rows // 2, PATCH // 2
    middle = (picture.min() + picture.max()) / 2
    away = np.abs(noisy - middle)[top : rows - margin, margin : columns - margin]
    row, column = np.unravel_index(away.argmin(), away.shape)
    return top + int(row), margin + int(column)
