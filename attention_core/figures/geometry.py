"""Geometry: where can attention's output go, when the query may go anywhere?"""

from collections.abc import Iterable, Sequence
from numbers import Real

import ipywidgets as widgets
import numpy as np
import traitlets

from attention_core.figures import base, static
from attention_core.figures.mixture import MODES, SLACK, State, describe, hull, path, respond
from attention_core.figures.static import Markup, fixed, h, section, setting, tidy

EDGE = 3.0  # the planes reach from -EDGE to EDGE in both directions
REACH = 3.3  # with a margin for dots and names
LOW, HIGH = -4, 4  # exponents of two: temperature 1/16 to 16
STEP = 0.05  # of the query's sliders
LEGEND = (
    ("area", "hull of the values"),
    ("way", "way of the output as the query grows from 0"),
    ("drain", "pull of the sink"),
)
KEYS = ((2.5, -0.3), (2.0, 1.6), (0.6, 2.5), (-1.1, 1.9), (-2.4, 0.8), (0.5, 0.6))  # none looks down
VALUES = ((2.6, 0.2), (2.6, 1.8), (0.8, 2.7), (-1.0, 2.6), (-1.8, 2.0), (1.3, 1.2))  # 0 is outside


class GeometryView(base.View):
    _esm = base.module("geometry")
    _css = base.style("geometry")
    keys_at = traitlets.List().tag(sync=True)
    values_at = traitlets.List().tag(sync=True)
    q_x = traitlets.Float(0.0).tag(sync=True)
    q_y = traitlets.Float(0.0).tag(sync=True)
    temperature = traitlets.Float(1.0).tag(sync=True)
    mode = traitlets.Int(0).tag(sync=True)


class Geometry(base.Figure):
    """A query among keys, and the output among their values.

    Parameters
    ----------
    keys, values
        As many values as keys, 2 to 8, each two numbers between -3 and 3.
    query
        Two numbers between -3 and 3.
    temperature
        Between 1/16 and 16.
    normaliser
        "softmax", "hard", or "sink": a softmax with one more logit, 0, whose weight goes to no value.
    """

    name = "geometry"
    title = "Geometry: where can the output go?"
    question = (
        "Drag the query. Can you bring the output outside the hull of the values, or onto a corner of it?"
    )

    def __init__(
        self,
        keys: Iterable = KEYS,
        values: Iterable = VALUES,
        query: Iterable = (1.3, 0.3),
        temperature: Real = 1.0,
        normaliser: str = "softmax",
    ):
        k, v = points("keys", keys), points("values", values)
        if len(k) != len(v):
            raise ValueError(f"`values` must have one row a key, {len(k)}; got {len(v)}")
        q = points("query", [query], least=1)[0]
        base.between("temperature", temperature, 2.0**LOW, 2.0**HIGH)
        if normaliser not in MODES:
            raise ValueError(f"`normaliser` must be one of {', '.join(MODES)}; got {normaliser!r}")
        place = dict(min=-EDGE, max=EDGE, step=STEP)
        self.q_x, self.q_y = (
            widgets.FloatSlider(value=x, description=f"Query, {axis}", **place)
            for x, axis in zip(q, "xy", strict=True)
        )
        self.temperature = base.LogSlider(
            value=temperature, base=2, min=LOW, max=HIGH, step=0.25, description="Temperature",
            words=["sharper", "as is", "flatter"],
        )  # fmt: skip
        self.normaliser = widgets.ToggleButtons(
            options=MODES, index=MODES.index(normaliser), description="Normaliser"
        )
        view = GeometryView(keys_at=k.tolist(), values_at=v.tolist())
        super().__init__(view, [self.q_x, self.q_y, self.temperature, self.normaliser])
        self.link(self.q_x, "value", view, "q_x")
        self.link(self.q_y, "value", view, "q_y")
        self.link(self.temperature, "value", view, "temperature")
        self.link(self.normaliser, "index", view, "mode")
        for control in (self.q_x, self.q_y, self.temperature, self.normaliser):
            control.observe(self._compute, "value")
        self.settle()
        self._compute()

    @property
    def setting(self) -> tuple[list, list, np.ndarray, float, int]:
        """Keys, values, query, temperature and mode: what `respond` and `describe` take."""
        query = np.array([self.q_x.value, self.q_y.value])
        return self.view.keys_at, self.view.values_at, query, self.temperature.value, self.normaliser.index

    @property
    def weights(self) -> np.ndarray:
        return respond(*self.setting).weights

    @property
    def output(self) -> np.ndarray:
        return respond(*self.setting).output

    def _compute(self, _change: dict | None = None) -> None:
        """With a kernel, the view draws these exact numbers in place of its own."""
        _, _, query, temperature, mode = self.setting
        weights, output, sink = respond(*self.setting)
        at = {"query": query.tolist(), "temperature": temperature, "mode": mode}
        self.view.exact = {**at, "weights": weights.tolist(), "output": output.tolist(), "sink": sink}

    def settle(self) -> None:
        self.view.q_x, self.view.q_y = self.q_x.value, self.q_y.value
        self.view.temperature, self.view.mode = self.temperature.value, self.normaliser.index

    def static_settings(self) -> Sequence[Markup]:
        temperature = self.temperature.value
        word = self.temperature.words[0 if temperature < 1 else 2 if temperature > 1 else 1]
        return (
            *(setting(slider.description, fixed(slider.value)) for slider in (self.q_x, self.q_y)),
            setting("Temperature", f"{tidy(temperature)} · {word}"),
            static.choices("Normaliser", MODES, self.normaliser.index),
        )

    def static_body(self) -> Sequence[Markup]:
        names = [f"k{i + 1}" for i in range(len(self.view.keys_at))]
        planes = h(
            "div.pa-planes",
            plane("Query and keys, with their shadows on q", *key_plane(*self.setting)),
            plane("Values, and the output among them", *value_plane(*self.setting)),
        )
        key = h("p.pa-key", *(h("span", h(f"span.pa-{kind}key"), text) for kind, text in LEGEND))
        row = static.matrix(["q"], names, self.weights[None], 1)
        return (
            h("div.pa-flow", planes, key),
            section("detail", "Weights, the recipe of the output", row, formula(respond(*self.setting))),
            static.sentence(describe(*self.setting)),
        )


def points(name: str, given: Iterable, least: int = 2) -> np.ndarray:
    """`given` as rows of two numbers that lie on the plane."""
    array = base.finite(name, list(given), 2)
    if array.shape[1] != 2 or not least <= len(array) <= 8 or (np.abs(array) > EDGE).any():
        what = "two numbers" if name == "query" else "2 to 8 rows of two numbers"
        raise ValueError(f"`{name}` must be {what} between -3 and 3; got {array.tolist()}")
    return array


# -- parts of the static picture: see geometry.js ----------------------------------------------------------


def coordinates(*at: float) -> str:
    """On screen the second axis runs down."""
    return " ".join(f"{x:.3f}" for x in (at[0], -at[1]))


def radius(weight: float) -> float:
    """The dot's area grows with the weight; a weight of 0 leaves a dot that can still be seen."""
    return float(np.sqrt(0.012 + 0.13 * weight))


def mark(kind: str, text: str, at: Sequence[float] | np.ndarray) -> Markup:
    """A name at a place."""
    left, top = (100 * (REACH + x) / (2 * REACH) for x in (at[0], -at[1]))
    style = f"left: {left:.3f}%; top: {top:.3f}%"
    return h(f"span.pa-spot.{kind}", text, style=style)


def dots(kind: str, at: Sequence, weights: np.ndarray) -> tuple[list[Markup], list[Markup]]:
    """Circles, and their names on the side away from the middle."""
    circles, names, middle = [], [], np.mean(at, axis=0)
    for i, (place, w) in enumerate(zip(at, weights, strict=True)):
        r = radius(w)
        centre = dict(cx=f"{place[0]:.3f}", cy=f"{-place[1]:.3f}", r=f"{r:.3f}")
        circles.append(h(f"circle.pa-node.pa-{kind}", **centre, style=f"fill: {static.ramp(w)}"))
        away = place - middle if np.hypot(*(place - middle)) > SLACK else np.array([0.0, 1.0])
        beside = np.clip(
            place + away / np.hypot(*away) * (r + 0.26), -3.1, 3.1
        )  # the whole name stays on the plane
        names.append(mark(f"pa-of-{kind}", f"{kind}{i + 1}", beside))
    return circles, names


def key_plane(keys, values, query, temperature, mode) -> tuple[list[Markup], list[Markup]]:
    """The query as an arrow, and each key's shadow on its line."""
    circles, names = dots("k", keys, respond(keys, values, query, temperature, mode).weights)
    shapes = []
    if query.any():
        along = query / np.hypot(*query)
        shapes.append(h("path.pa-ray", d=f"M{coordinates(*(-9 * along))}L{coordinates(*(9 * along))}"))
        feet = [(np.array(k) @ along) * along for k in keys]
        shadows = "".join(f"M{coordinates(*k)}L{coordinates(*f)}" for k, f in zip(keys, feet, strict=True))
        shapes.append(h("path.pa-shadow", d=shadows))
    shapes += [*circles, h("path.pa-arrow", d=f"M0 0L{coordinates(*query)}")]
    return shapes, [*names, mark("pa-handle", "q", query)]


def value_plane(keys, values, query, temperature, mode) -> tuple[list[Markup], list[Markup]]:
    """The hull of the values, the way of the output through it, and a line to each ingredient."""
    weights, output, sink = respond(keys, values, query, temperature, mode)
    circles, names = dots("v", values, weights)
    shapes = [h("path.pa-hull", d="M" + "L".join(coordinates(*values[i]) for i in hull(values)) + "Z")]
    way = path(keys, values, query, temperature, mode)
    if len(way):
        shapes.append(h("path.pa-way", d="M" + "L".join(coordinates(*at) for at in way)))
        shapes.append(h("circle.pa-start", cx=f"{way[0][0]:.3f}", cy=f"{-way[0][1]:.3f}", r="0.07"))
    for v, w in zip(values, weights, strict=True):
        style = f"stroke: {static.ramp(w)}; stroke-width: {1 + 9 * w:.2f}px; opacity: {min(1, 5 * w):.3f}"
        shapes.append(h("path.pa-spoke", d=f"M{coordinates(*output)}L{coordinates(*v)}", style=style))
    if sink:
        shapes.append(h("path.pa-drain", d=f"M{coordinates(*output)}L0 0"))
    return [*shapes, *circles], [*names, mark("pa-output", "o", output)]


def plane(caption: str, shapes: Sequence[Markup], marks: Sequence[Markup]) -> Markup:
    size = f"{-REACH} {-REACH} {2 * REACH} {2 * REACH}"
    axes = h("path.pa-axes", d=f"M{-REACH} 0H{REACH}M0 {-REACH}V{REACH}")
    picture = h("svg", axes, *shapes, viewBox=size, aria_hidden="true")
    return h("div.pa-half", h("p.pa-caption", caption), h("div.pa-plane", picture, *marks))


def formula(state: State) -> Markup:
    """The output as a sum and as a point."""
    terms = " + ".join(f"{fixed(w)}\u00a0v{i + 1}" for i, w in enumerate(state.weights))
    nothing = f" + {fixed(state.sink)}\u00a0·\u00a00" if state.sink else ""
    at = ", ".join(fixed(x) for x in state.output)
    return h("p.pa-mixture", h("i", "o"), f" = {terms}{nothing} = ({at})")
