"""Why 1/sqrt(d): what does the width of the vectors do to a softmax?"""

from collections.abc import Callable, Iterable, Sequence

import ipywidgets as widgets
import numpy as np
import torch
import traitlets

from attention_core import normalizers, scores
from attention_core.figures import base, static
from attention_core.figures.static import Markup, section, setting
from attention_core.figures.why_sqrt_d_static import (
    BINS,
    BREADTH,
    DIVISORS,
    NUMBERS,
    REACH,
    bars,
    describe,
    divisor,
    legend,
    plots,
    spread,
    tiles,
)

ROWS, KEYS, WIDEST = 512, 8, 512


def measure(query: np.ndarray, key: np.ndarray, width: int, choice: int) -> np.ndarray:
    r"""All numbers of one picture: those of `NUMBERS`, the first row of weights, the histogram.

    Query (rows, D) meets its own keys (rows, m, D) in their first `width` entries. Means are over rows.
    The gradient is the trace of the softmax's Jacobian, $\sum_j w_j (1 - w_j)$, as a share of the most
    it can be, $1 - 1/m$. The histogram counts scores in units of their root mean square.
    """
    q, k = (torch.from_numpy(x[..., :width].copy()) for x in (query[:, None], key))
    logits = scores.dot(q, k)[:, 0] / divisor(width, choice)  # (rows, m)
    weights = normalizers.softmax(logits)
    unit = float(logits.square().mean().sqrt()) or 1.0
    counts, _ = np.histogram(logits.numpy() / unit, BINS, (-BREADTH, BREADTH))
    most = 1 - 1 / weights.shape[-1]
    numbers = [
        logits.var(correction=0),
        weights.amax(-1).mean(),
        (weights * (1 - weights)).sum(-1).mean() / most,
        (torch.special.entr(weights).sum(-1)).exp().mean(),
        (logits.abs() > REACH).double().mean(),
        unit,
    ]
    return np.concatenate([np.array(numbers, np.float64), weights[0].numpy(), counts / logits.numel()])


class WhySqrtDView(base.View):
    _esm = base.module("why_sqrt_d")
    _css = base.style("why_sqrt_d")
    count = traitlets.Int().tag(sync=True)  # keys a query
    rows = traitlets.Int().tag(sync=True)
    widths = traitlets.List(traitlets.Int()).tag(sync=True)
    frames = traitlets.Bytes().tag(sync=True)  # float32, little endian: width, divisor, numbers of `measure`
    width = traitlets.Float(2.0).tag(sync=True)
    choice = traitlets.Int(0).tag(sync=True)


class WhySqrtD(base.Figure):
    """Random queries and keys of growing width: their scores, one softmax, and what is left of its gradient.

    Parameters
    ----------
    sample
        `sample(rng, size)` draws the entries; standard normal by default.
    query, key
        Vectors of your own in place of drawn ones: (rows, D), and (m, D) or (rows, m, D) with m from 2 to 8.
        Narrower widths take their first entries.
    width
        Between 2 and D, or 512.
    divide
        "nothing", "√d" or "d".
    seed
        Of the drawn entries.
    """

    name = "why-sqrt-d"
    title = "Why 1/√d: what does width do to a softmax?"
    question = (
        "Predict, then drag: as vectors get wider, does the softmax stay soft? Which divisor leaves it alone?"
    )

    def __init__(
        self,
        sample: Callable | None = None,
        query: Iterable | None = None,
        key: Iterable | None = None,
        width: int = 64,
        divide: str = "nothing",
        seed: int = 0,
    ):
        self.query, self.key = (
            given(query, key) if query is not None or key is not None else drawn(sample, seed)
        )
        self.widths = [2**i for i in range(1, int(np.log2(self.query.shape[-1])) + 1)]
        base.between("width", width, 2.0, float(self.widths[-1]))
        if divide not in DIVISORS:
            raise ValueError(f"`divide` must be one of {', '.join(map(repr, DIVISORS))}; got {divide!r}")
        self.width = base.LogSlider(
            value=width, base=2, min=1, max=len(self.widths), step=1, readout_format=".3g",
            description="Width d",
        )  # fmt: skip
        self.divide = widgets.ToggleButtons(
            options=DIVISORS, value=divide, description="Divide the scores by"
        )
        self.table = np.array(
            [[measure(self.query, self.key, d, c) for c in range(len(DIVISORS))] for d in self.widths]
        )  # (width, divisor, number)
        view = WhySqrtDView(
            count=self.key.shape[1], rows=len(self.query), widths=self.widths,
            frames=self.table.astype("<f4").tobytes(),
        )  # fmt: skip
        super().__init__(view, [self.width, self.divide])
        self.link(self.width, "value", view, "width")
        self.link(self.divide, "index", view, "choice")
        for control in (self.width, self.divide):
            control.observe(self._compute, "value")
        self.settle()
        self._compute()

    @property
    def present(self) -> int:
        """The width of the picture, whole even where the slider is set from Python to something between."""
        return int(min(max(round(self.width.value), 2), self.widths[-1]))

    @property
    def numbers(self) -> dict[str, float]:
        """What is measured of the scores and of the softmax for the present controls, in float64."""
        return dict(zip(NUMBERS, self._measured()[: len(NUMBERS)].tolist(), strict=True))

    @property
    def weights(self) -> np.ndarray:
        return self._measured()[len(NUMBERS) : -BINS]

    def _measured(self) -> np.ndarray:
        return measure(self.query, self.key, self.present, self.divide.index)

    def _compute(self, _change: dict | None = None) -> None:
        """With a kernel, the view draws these exact numbers in place of the nearest frame."""
        at = {"asked": self.width.value, "width": self.present, "choice": self.divide.index}
        self.view.exact = {**at, "numbers": self._measured().tolist()}

    def settle(self) -> None:
        self.view.width, self.view.choice = self.width.value, self.divide.index

    def static_settings(self) -> Sequence[Markup]:
        label = self.divide.description
        return setting("Width d", f"{self.present}"), static.choices(label, DIVISORS, self.divide.index)

    def static_body(self) -> Sequence[Markup]:
        width, choice, keys = self.present, self.divide.index, self.key.shape[1]
        measured, variances = self._measured(), self.table[:, choice, 0]
        ranges = self.widths[0], self.widths[-1], variances.min(), variances.max()
        return (
            section(
                "flow",
                f"Scores of {len(self.query) * keys} pairs, drawn to one height",
                spread(measured, width, choice),
                legend(width, choice),
            ),
            section("matrix", "One query’s softmax (dashed: all keys alike)", bars(self.weights)),
            section(
                "detail",
                f"Means over {len(self.query)} queries. "
                "Gradient: Σ w(1 − w), as a share of the most it can be",
                tiles(measured, keys),
                plots(self.table, measured, self.widths, width, choice),
            ),
            static.sentence(describe(width, choice, measured, ranges, keys)),
        )


# -- what readers pass in ----------------------------------------------------------------------------------


def drawn(sample: Callable | None, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Queries (rows, 512), and keys (rows, 8, 512) that no two queries share: rows are independent."""
    if sample is not None and not callable(sample):
        raise TypeError(f"`sample` must be a function of (rng, size); got {type(sample).__name__}")
    rng = np.random.default_rng(seed)
    sizes = {"query": (ROWS, WIDEST), "key": (ROWS, KEYS, WIDEST)}
    if sample is None:
        return tuple(rng.standard_normal(size) for size in sizes.values())
    made = [base.finite("sample", sample(rng, size), len(size)) for size in sizes.values()]
    for array, size in zip(made, sizes.values(), strict=True):
        if array.shape != size:
            raise ValueError(f"`sample(rng, size)` must return an array of shape {size}; got {array.shape}")
    return tuple(made)


def given(query: Iterable | None, key: Iterable | None) -> tuple[np.ndarray, np.ndarray]:
    """A reader's own vectors; keys (m, D) serve every query."""
    if query is None or key is None:
        raise ValueError(f"`{'key' if key is None else 'query'}` is missing; give query and key, or neither")
    q = base.finite("query", query, 2)
    k = base.finite("key", key, 3 if np.ndim(key) == 3 else 2)
    if k.ndim == 2:
        k = np.broadcast_to(k, (len(q), *k.shape))
    if k.shape[0] != len(q) or k.shape[-1] != q.shape[-1] or not 2 <= k.shape[1] <= KEYS or q.shape[-1] < 2:
        raise ValueError(
            f"`key` must have shape (m, D) or (rows, m, D) to go with `query` (rows, D), with m from 2 to "
            f"{KEYS} and D at least 2; got {np.shape(key)} and {q.shape}"
        )
    return q, k
