"""Permutation: does attention know the order of its words?"""

from collections.abc import Iterable, Sequence
from itertools import permutations
from math import factorial
from typing import NamedTuple

import ipywidgets as widgets
import numpy as np
import torch
import traitlets

from attention_core import masks, positions
from attention_core.figures import base, static
from attention_core.figures.permutation_static import flow, small, strips
from attention_core.figures.static import Markup, percent, section, setting
from attention_core.pipeline import attend

MODES = ("none", "sinusoidal", "RoPE", "causal mask")
WORDS = ("dog", "bites", "man", "again")
MOST_WORDS, WIDTH, WIDEST = 4, 8, 16
SAME = 1e-12  # below this, a difference is rounding


class Compared(NamedTuple):
    """One order, attended to after permuting and before it."""

    weights: np.ndarray  # (n, n)
    output: np.ndarray  # f(PX), (n, d)
    expected: np.ndarray  # P f(X), (n, d)

    @property
    def gaps(self) -> np.ndarray:
        """Largest difference in each row."""
        return np.abs(self.output - self.expected).max(axis=1)


def self_attention(x: np.ndarray, projections: np.ndarray, mode: int) -> tuple[np.ndarray, np.ndarray]:
    """Output and weights of one head with queries, keys and values from (3, d, d) projections."""
    n, d = x.shape
    tokens = torch.from_numpy(x.copy())
    if MODES[mode] == "sinusoidal":
        tokens = tokens + positions.sinusoidal(n, d, dtype=torch.float64)
    query, key, value = (tokens @ w for w in torch.from_numpy(projections))  # each (n, d)
    if MODES[mode] == "RoPE":
        query, key = positions.rope(query), positions.rope(key)
    mask = masks.causal(n) if MODES[mode] == "causal mask" else None
    attended = attend(query, key, value, mask=mask)
    return attended.output.numpy(), attended.weights.numpy()


def compare(x: np.ndarray, projections: np.ndarray, order: Sequence[int], mode: int) -> Compared:
    """f(PX) beside P f(X), where row i of PX is row `order[i]` of X."""
    order = list(order)
    output, weights = self_attention(x[order], projections, mode)
    before, _ = self_attention(x, projections, mode)
    return Compared(weights, output, before[order])


def moved(order: Sequence[int], weights: np.ndarray, first: np.ndarray) -> tuple[int, int, float, float]:
    """The pair of places whose weight differs most from what the same words had in the first order."""
    before = first[np.ix_(order, order)]
    row, column = np.unravel_index(np.abs(weights - before).argmax(), weights.shape)
    return int(row), int(column), float(before[row, column]), float(weights[row, column])


def describe(
    words: Sequence[str], order: Sequence[int], weights: np.ndarray, first: np.ndarray,
    gap: float, worst: float,
) -> list[str]:  # fmt: skip
    """The sentence the view shows: see `describe` in permutation.js. `worst`: the gap over all orders."""
    count, said = factorial(len(order)), [words[i] for i in order]
    bound = f"in all {count} orders the difference stays below 10⁻¹²"
    if list(order) == sorted(order):
        return [
            "Nothing has moved, so f(PX) and P f(X) are the same.",
            "Move a word: will its output vector change, or only its place?",
        ]
    if gap >= SAME:
        lead = f"Order matters: f(PX) and P f(X) differ by up to {small(gap)}."
    elif gap == 0:
        lead = "Only the order changed: f(PX) = P f(X) exactly."
    else:
        lead = f"Only the order changed: f(PX) = P f(X), to {small(gap)}."
    row, column, old, new = moved(order, weights, first)
    change = "No weight changed: the matrix holds the same numbers, its rows and columns permuted."
    if abs(new - old) >= 0.005:
        other = "itself" if row == column else f"“{said[column]}”"
        change = f"“{said[row]}” gave {other} {percent(old)}; now it gives {percent(new)}."
    elif abs(new - old) >= SAME:
        change = "No weight changed by as much as half a per cent."
    if worst < SAME:
        return [lead, change, f"It is so for every order: {bound}."]
    return [lead, change, *([] if gap >= SAME else [f"In another order the difference is {small(worst)}."])]


class PermutationView(base.View):
    _esm = base.module("permutation")
    _css = base.style("permutation")
    words = traitlets.List(traitlets.Unicode()).tag(sync=True)
    orders = traitlets.List().tag(sync=True)
    size = traitlets.Int().tag(sync=True)  # width of a vector
    limits = traitlets.List().tag(sync=True)  # the entry with the deepest colour, in each mode
    frames = traitlets.Bytes().tag(sync=True)  # float64, little endian: mode, order, (weights, output, gaps)
    order = traitlets.Int(0).tag(sync=True)
    mode = traitlets.Int(0).tag(sync=True)


class Permutation(base.Figure):
    """A few words in any order, and one head of self-attention that does or does not notice.

    Parameters
    ----------
    words
        Two to four words, or a sentence of so many.
    embeddings
        One vector a word, (n, d) with d even and at most 16; drawn from `seed` by default, a word
        that comes twice having one vector.
    projections
        Weights of query, key and value, (3, d, d); drawn from `seed` by default.
    order
        Which word stands at each place: (2, 1, 0, 3) reads "man bites dog again".
    positions
        "none", "sinusoidal", "RoPE" or "causal mask".
    """

    name = "permutation"
    title = "Permutation: does attention know the order of its words?"
    question = (
        "Predict, then move a word: does its output change, or only its place? What do positions change?"
    )

    def __init__(
        self,
        words: str | Iterable = WORDS,
        embeddings: Iterable | None = None,
        projections: Iterable | None = None,
        order: Iterable | None = None,
        positions: str = "none",
        seed: int = 8,
    ):
        self.words = check_words(words)
        n, rng = len(self.words), np.random.default_rng(seed)
        self.vectors = vectors(self.words, embeddings, projections, rng)
        self.orders = list(permutations(range(n)))
        turned = (*reversed(range(n)[:3]), *range(n)[3:]) if order is None else tuple(order)
        if turned not in self.orders:
            raise ValueError(f"`order` must hold each of 0 to {n - 1} once; got {turned}")
        if positions not in MODES:
            raise ValueError(f"`positions` must be one of {', '.join(map(repr, MODES))}; got {positions!r}")
        sentences = [" ".join(self.words[i] for i in each) for each in self.orders]
        self.order = widgets.Dropdown(
            options=list(zip(sentences, range(len(sentences)), strict=True)),
            value=self.orders.index(turned), description="Your order, PX",
        )  # fmt: skip
        self.positions = widgets.ToggleButtons(options=MODES, value=positions, description="Positions")
        self.frames = [[compare(*self.vectors, o, mode) for o in self.orders] for mode in range(len(MODES))]
        self.worst = [max(float(f.gaps.max()) for f in line) for line in self.frames]  # of all orders
        self.limits = [max(float(np.abs(f.output).max()) for f in line) or 1.0 for line in self.frames]
        packed = [
            np.concatenate([f.weights.ravel(), f.output.ravel(), f.gaps])
            for line in self.frames
            for f in line
        ]
        view = PermutationView(
            words=list(self.words), orders=[list(o) for o in self.orders], size=self.vectors[0].shape[1],
            limits=self.limits, frames=np.concatenate(packed).astype("<f8").tobytes(),
        )  # fmt: skip
        super().__init__(view, [self.order, self.positions])
        self.link(self.order, "index", view, "order")
        self.link(self.positions, "index", view, "mode")
        for control in (self.order, self.positions):
            control.observe(self._compute, "index")
        self.settle()
        self._compute()

    @property
    def compared(self) -> Compared:
        """f(PX), P f(X) and the weights for the present controls, in float64."""
        return compare(*self.vectors, self.orders[self.order.index], self.positions.index)

    @property
    def weights(self) -> np.ndarray:
        return self.compared.weights

    @property
    def gap(self) -> float:
        """The largest difference between f(PX) and P f(X)."""
        return float(self.compared.gaps.max())

    def _compute(self, _change: dict | None = None) -> None:
        """With a kernel, the view draws these exact numbers in place of the frame."""
        now = self.compared
        numbers = {key: getattr(now, key).tolist() for key in ("weights", "output", "expected", "gaps")}
        self.view.exact = {"order": self.order.index, "mode": self.positions.index, **numbers}

    def settle(self) -> None:
        self.view.order, self.view.mode = self.order.index, self.positions.index

    def static_settings(self) -> Sequence[Markup]:
        return (
            setting(self.order.description, self.order.label, "pa-dropdown"),
            static.choices(self.positions.description, MODES, self.positions.index),
        )

    def static_body(self) -> Sequence[Markup]:
        order, mode, now = self.orders[self.order.index], self.positions.index, self.compared
        said = [self.words[i] for i in order]
        first = self.frames[mode][0].weights
        grid = static.matrix(said, said, now.weights, len(said) + 1)
        return (
            section("flow", "X above, PX below: drag, or Shift + ←→", flow(self.words, order)),
            section("matrix", "Attention weights in your order", grid),
            section(
                "detail",
                "Output vectors, two ways",
                *strips(said, now.output, now.expected, self.limits[mode]),
            ),
            static.sentence(describe(self.words, order, now.weights, first, self.gap, self.worst[mode])),
        )


# -- what readers pass in ----------------------------------------------------------------------------------


def check_words(words: str | Iterable) -> tuple[str, ...]:
    listed = tuple(words.split()) if isinstance(words, str) else tuple(str(word) for word in words)
    if not 2 <= len(listed) <= MOST_WORDS:
        raise ValueError(f"`words` must be 2 to {MOST_WORDS} words; got {len(listed)}: shorten the sentence")
    return listed


def vectors(
    words: Sequence[str], embeddings: Iterable | None, projections: Iterable | None, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """A vector a word and three square matrices: the reader's, or drawn."""
    n = len(words)
    drawn = dict(zip(dict.fromkeys(words), rng.standard_normal((n, WIDTH)), strict=False))
    x = (
        np.array([drawn[word] for word in words])
        if embeddings is None
        else base.finite("embeddings", embeddings, 2)
    )
    d = x.shape[1]
    if len(x) != n or d % 2 or d > WIDEST:
        raise ValueError(
            f"`embeddings` must have shape ({n}, d), one row a word, with d even and at most {WIDEST}; "
            f"got {x.shape}"
        )
    if projections is None:
        return x, rng.standard_normal((3, d, d)) / d**0.5
    matrices = base.finite("projections", projections, 3)
    if matrices.shape != (3, d, d):
        raise ValueError(
            f"`projections` must have shape {(3, d, d)}: query, key, value; got {matrices.shape}"
        )
    return x, matrices
