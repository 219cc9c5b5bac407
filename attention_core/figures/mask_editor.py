"""Mask editor: which keys may each query read, and what line of code says so?"""

from collections.abc import Sequence

import ipywidgets as widgets
import numpy as np
import traitlets

from attention_core.figures import base, static
from attention_core.figures.mask_rules import Drawing, Rules, allowed, compute, describe, script, start
from attention_core.figures.static import Markup, fixed, h, percent, section, setting

LEAST, MOST = 8, 64  # tokens
DIRECTIONS = ("all", "causal")
LEVELS = 64  # shades of a cell
CAPTION = "Weights under these rules: queries q down, keys k across"
SPELLED = "The same rules as code, for torch’s FlexAttention and for attention_core"


class MaskEditorView(base.View):
    _esm = base.module("mask_editor")
    _css = base.style("mask_editor")
    scores = traitlets.Bytes().tag(sync=True)  # float32, little endian, size x size
    own = traitlets.Bytes().tag(sync=True)  # one byte a pair, or nothing
    size = traitlets.Int(MOST).tag(sync=True)
    n = traitlets.Int(24).tag(sync=True)
    causal = traitlets.Int(1).tag(sync=True)
    window = traitlets.Int(0).tag(sync=True)
    prefix = traitlets.Int(0).tag(sync=True)
    documents = traitlets.Int(0).tag(sync=True)  # how many more than one
    alibi = traitlets.Float(0.0).tag(sync=True)
    softcap = traitlets.Int(0).tag(sync=True)


class MaskEditor(base.Figure):
    """Rules that combine into one mask, the weights they leave, and the code that says the same.

    Parameters
    ----------
    scores
        Square, 8 to 64 tokens: scores before any rule. Fixed random ones by default.
    mask
        Square and boolean, as large as the scores: a mask of your own (True = may attend), which the
        rules can only make stricter.
    n, causal, window, prefix, documents, alibi, softcap
        Where the controls start. 0 leaves a rule out, and so does one document.
    """

    name = "mask-editor"
    title = "Mask editor: which keys may each query read?"
    question = (
        "Combine the rules. Guess what each will hide, and which line of code says so, before you look."
    )

    def __init__(
        self,
        scores: object = None,
        mask: object = None,
        *,
        n: int = 24,
        causal: bool = True,
        window: int = 0,
        prefix: int = 0,
        documents: int = 1,
        alibi: float = 0.0,
        softcap: int = 0,
    ):
        self.scores = example() if scores is None else square(scores)
        self.own = None if mask is None else boolean(mask, len(self.scores))
        size = len(self.scores)
        counts = {
            "n": (n, LEAST, size), "window": (window, 0, 32), "prefix": (prefix, 0, 16),
            "documents": (documents, 1, 3), "softcap": (softcap, 0, 50),
        }  # fmt: skip
        for name, (value, low, high) in counts.items():
            base.whole(name, value, low, high)
        base.between("alibi", alibi, 0.0, 1.0)
        slider = lambda label, name: widgets.IntSlider(  # noqa: E731
            value=counts[name][0], min=counts[name][1], max=counts[name][2], description=label
        )
        self.direction = widgets.ToggleButtons(options=DIRECTIONS, index=int(causal), description="Direction")
        self.documents = widgets.ToggleButtons(
            options=["1", "2", "3"], index=documents - 1, description="Documents"
        )
        self.n, self.window = slider("Tokens n", "n"), slider("Window (0: none)", "window")
        self.prefix, self.softcap = slider("Prefix", "prefix"), slider("Softcap (0: none)", "softcap")
        self.alibi = widgets.FloatSlider(
            value=alibi, min=0, max=1, step=0.0625, readout_format=".4g", description="ALiBi slope"
        )
        view = MaskEditorView(
            scores=self.scores.astype("<f4").tobytes(),
            own=b"" if self.own is None else self.own.astype(np.uint8).tobytes(),
            size=size,
        )
        controls = (
            self.direction,
            self.documents,
            self.n,
            self.window,
            self.prefix,
            self.alibi,
            self.softcap,
        )
        super().__init__(view, controls)
        names = ("causal", "documents", "n", "window", "prefix", "alibi", "softcap")
        for control, name in zip(controls, names, strict=True):
            self.link(control, "index" if isinstance(control, widgets.ToggleButtons) else "value", view, name)
            control.observe(self._compute, "value")
        self.settle()
        self._compute()

    @property
    def rules(self) -> Rules:
        """What the controls say."""
        values = (x.value for x in (self.window, self.prefix))
        return Rules(
            self.n.value,
            self.direction.index,
            *values,
            self.documents.index + 1,
            self.alibi.value,
            self.softcap.value,
        )

    @property
    def mask(self) -> np.ndarray:
        """(n, n), True = may attend."""
        return allowed(self.rules, self.own)

    @property
    def weights(self) -> np.ndarray:
        return compute(self.scores, self.rules, self.own).weights

    @property
    def code(self) -> str:
        """The code below the matrix. It takes `torch`, and `causal`, `window` and so on from `masks`."""
        return script(self.rules, self.own is not None)

    def _compute(self, _change: dict | None = None) -> None:
        """With a kernel, the view draws these exact numbers in place of its own."""
        self.view.exact = {"rules": list(self.rules), "weights": self.weights.astype("<f8").tobytes()}

    def settle(self) -> None:
        rules = self.rules._asdict()
        rules["documents"] -= 1
        for name, value in rules.items():
            setattr(self.view, name, value)

    def static_settings(self) -> Sequence[Markup]:
        sliders = (self.n, self.window, self.prefix, self.alibi, self.softcap)
        slope = np.format_float_positional(self.alibi.value, precision=4, fractional=False, trim="-")
        return (
            static.choices("Direction", DIRECTIONS, self.direction.index),
            static.choices("Documents", self.documents.options, self.documents.index),
            *(setting(x.description, slope if x is self.alibi else str(x.value)) for x in sliders),
        )

    def static_body(self) -> Sequence[Markup]:
        drawing, rules = compute(self.scores, self.rules, self.own), self.rules
        row, column = start(drawing.weights)
        left = h(
            "div.pa-board", *board(drawing.allowed, drawing.weights, row, column), *row_bars(drawing, row)
        )
        right = h(
            "div.pa-maskfacts", tiles(drawing, row), *cell_of(self.scores, drawing, row, column), *legend()
        )
        kinds = ((line, ".pa-dim" if line.endswith(":") else "") for line in self.code.split("\n"))
        pre = h("pre.pa-code", *(h(f"span.pa-codeline{kind}", line) for line, kind in kinds))
        return (
            section("flow", CAPTION, h("div.pa-editor", left, right)),
            section("detail", SPELLED, pre),
            static.sentence(describe(self.scores, rules, self.own)),
        )


# -- checking what readers pass in -------------------------------------------------------------------------


def example() -> np.ndarray:
    """Scores of 64 random queries and keys of width 16, the queries of length 8."""
    query, key = np.random.default_rng(12).normal(size=(2, MOST, 16))
    return (query @ key.T / 2).astype(np.float32).astype(np.float64)  # as exact as it travels


def square(scores: object) -> np.ndarray:
    array = base.finite("scores", scores, 2)
    if array.shape[0] != array.shape[1] or not LEAST <= len(array) <= MOST or np.isinf(array).any():
        raise ValueError(
            f"`scores` must be square, {LEAST} to {MOST} tokens, and finite; got shape {array.shape}. "
            "What may not be read goes in `mask=`."
        )
    return array


def boolean(mask: object, size: int) -> np.ndarray:
    array = np.array(mask)
    if array.dtype != bool:
        raise TypeError(f"`mask` must be boolean with True = may attend; got {array.dtype}")
    if array.shape != (size, size):
        raise ValueError(f"`mask` must have the scores' shape {(size, size)}; got {array.shape}")
    return array


# -- parts of the static picture: see mask_editor.js -------------------------------------------------------


def shade(weight: float) -> float:
    """The square root lets small weights be told apart; as many steps as the canvas has colours."""
    return round(float(np.sqrt(weight)) * LEVELS) / LEVELS


def board(may: np.ndarray, weights: np.ndarray, row: int, column: int) -> tuple[Markup, ...]:
    """The matrix: a path for each shade, and hatching where no path lies."""
    n = len(may)
    shades: dict[float, list[str]] = {}
    for i, j in np.argwhere(may):
        shades.setdefault(shade(weights[i, j]), []).append(f"M{j} {i}h1v1h-1z")
    paths = [h("path", d="".join(d), style=f"fill: {static.ramp(t)}") for t, d in sorted(shades.items())]
    lines = "".join(f"M0 {i}H{n}M{i} 0V{n}" for i in range(1, n))
    svg = h("svg", *paths, h("path.pa-lines", d=lines), viewBox=f"0 0 {n} {n}", aria_hidden="true")
    return (
        h("div.pa-top", h("span.pa-at.pa-atk", f"k{column}", style=f"left: {middle(column, n)}")),
        h("div.pa-side", h("span.pa-at.pa-atq", f"q{row}", style=f"top: {middle(row, n)}")),
        h(
            "div.pa-cells",
            svg,
            h("span.pa-rowline", style=f"top: {100 * row / n:.4f}%; height: {100 / n:.4f}%"),
            h(
                "span.pa-cellmark",
                style=f"top: {100 * row / n:.4f}%; left: {100 * column / n:.4f}%; width: {100 / n:.4f}%; "
                f"height: {100 / n:.4f}%",
            ),
        ),
    )


def middle(i: int, n: int) -> str:
    return f"{100 * (i + 0.5) / n:.4f}%"


def row_bars(drawing: Drawing, row: int) -> tuple[Markup, Markup]:
    """The current row once more, as bars below its columns; the tallest is the largest weight."""
    line, may = drawing.weights[row], drawing.allowed[row]
    top = line.max() or 1.0
    bars = [
        h(
            "span.pa-open" if open_ else "span",
            h("span", style=f"height: {100 * w / top:.3f}%; background: {static.ramp(shade(w))}"),
        )
        for w, open_ in zip(line, may, strict=True)
    ]
    return h("span.pa-most", fixed(line.max())), h("div.pa-rowbars", *bars)


def tiles(drawing: Drawing, row: int) -> Markup:
    may = drawing.allowed
    values = {
        "pairs allowed": f"{may.sum()} of {may.size}",
        "share": percent(may.mean()),
        f"keys of query {row}": f"{may[row].sum()} of {len(may)}",
        "keys a query (mean)": fixed(may.sum() / len(may), 1),
    }
    return h("div.pa-tiles", *(h("div.pa-tile", h("span", k), h("strong", v)) for k, v in values.items()))


def cell_of(scores: np.ndarray, drawing: Drawing, row: int, column: int) -> tuple[Markup, Markup]:
    """One cell from its score to its weight."""
    may, adjusted = drawing.allowed[row, column], drawing.adjusted[row, column]
    steps = {
        "score": fixed(scores[row, column]),
        "after score_mod": fixed(adjusted),
        "after mask_mod": fixed(adjusted) if may else "−∞",
        "weight, after the softmax": fixed(drawing.weights[row, column], 3),
    }
    lines = (h("p.pa-maskstep", h("span", k), h("strong", v)) for k, v in steps.items())
    return h("p.pa-caption.pa-ofcell", f"Query {row}, key {column}"), h("div.pa-masksteps", *lines)


def legend() -> tuple[Markup, Markup]:
    return (
        h("div.pa-legend", "0", h("span"), "1", h("em", "square-root scale"), aria_hidden="true"),
        h("p.pa-legend", h("i.pa-hatch"), "may not be read"),
    )
