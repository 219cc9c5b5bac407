"""Soft to hard: what does temperature do to a softmax?"""

from collections.abc import Iterable, Sequence
from numbers import Real

import ipywidgets as widgets
import numpy as np
import torch
import traitlets

from attention_core import normalizers
from attention_core.figures import base, static
from attention_core.figures.static import Markup, fixed, h, section, setting, tidy

KEYS = 6
LOW, HIGH = -1.3, 1.0  # exponents of ten: 0.05 to 10, on a grid that holds temperature 1
MOST = np.log2(KEYS)
CURVE = "Entropy at every temperature (log scale)"


def soften(logits: Iterable, temperature: float) -> np.ndarray:
    scores = torch.tensor([list(logits)], dtype=torch.float64)
    return normalizers.softmax(scores, temperature=temperature)[0].numpy()


def entropy(weights: np.ndarray) -> float:
    """In bits; a weight of zero adds nothing."""
    positive = weights[weights > 0]
    return float(-(positive * np.log2(positive)).sum())


def hard(logits: np.ndarray) -> np.ndarray:
    """The limit T -> 0: the largest logits share everything."""
    top = logits == logits.max()
    return top / top.sum()


def describe(labels: Sequence[str], logits: np.ndarray, temperature: float, weights: np.ndarray) -> list[str]:
    """The sentence the view shows: see `describe` in soft_to_hard.js."""
    effective, best = 2 ** entropy(weights), int(logits.argmax())
    winners = int((logits == logits.max()).sum())
    read = f"about {fixed(effective, 1)} of {KEYS} keys"
    lead = f"At temperature {tidy(temperature, 2)} the softmax reads {read}."
    if winners == KEYS:
        return [lead, "All logits are equal, so no temperature can tell the keys apart."]
    tie = f", one of {winners} that tie" if winners > 1 else ""
    share = f"{static.percent(weights[best])} is on “{labels[best]}”{tie}."
    if effective < winners + 0.05:
        return [lead, share, "Close to the hard limit: colder changes nothing you can see."]
    if effective > KEYS - 0.05:
        return [lead, share, "Close to the uniform limit: the logits hardly matter."]
    left = "only the tied keys are" if winners > 1 else "it alone is"
    return [lead, share, f"Colder, {left} left; hotter, every key tends to {static.percent(1 / KEYS)}."]


class SoftToHardView(base.View):
    _esm = base.module("soft_to_hard")
    _css = base.style("soft_to_hard")
    labels = traitlets.List(traitlets.Unicode()).tag(sync=True)
    temperature = traitlets.Float(1.0).tag(sync=True)
    logit_1 = traitlets.Float(0.0).tag(sync=True)
    logit_2 = traitlets.Float(0.0).tag(sync=True)
    logit_3 = traitlets.Float(0.0).tag(sync=True)
    logit_4 = traitlets.Float(0.0).tag(sync=True)
    logit_5 = traitlets.Float(0.0).tag(sync=True)
    logit_6 = traitlets.Float(0.0).tag(sync=True)


class SoftToHard(base.Figure):
    """Six logits and one temperature, from one key to all keys alike.

    Parameters
    ----------
    logits
        Six numbers between -5 and 5.
    labels
        Six names of keys; k1 to k6 by default.
    temperature
        Between 0.05 and 10.
    """

    name = "soft-to-hard"
    title = "Soft to hard: what does temperature do to a softmax?"
    question = (
        "Drag the temperature. When does the softmax become a choice of one key, and when no choice at all?"
    )

    def __init__(
        self,
        logits: Iterable = (2.0, 1.0, 0.5, 0.0, -1.0, -2.0),
        labels: Iterable | None = None,
        temperature: Real = 1.0,
    ):
        values = base.finite("logits", logits, 1)
        if len(values) != KEYS or (np.abs(values) > 5).any():
            raise ValueError(f"`logits` must be {KEYS} numbers between -5 and 5; got {values.tolist()}")
        names = [f"k{i + 1}" for i in range(KEYS)] if labels is None else [str(label) for label in labels]
        if len(names) != KEYS or len(set(names)) != KEYS:
            raise ValueError(f"`labels` must be {KEYS} different names, one a logit; got {names}")
        base.between("temperature", temperature, 0.05, 10.0)
        self.temperature = base.LogSlider(
            value=max(temperature, 10**LOW), base=10, min=LOW, max=HIGH, step=0.05, readout_format=".2g",
            description="Temperature", words=["sharper", "plain softmax", "flatter"],
        )  # fmt: skip
        self.logits = [
            widgets.FloatSlider(value=x, min=-5, max=5, step=0.25, description=name)
            for x, name in zip(values.tolist(), names, strict=True)
        ]
        group = widgets.HBox(self.logits).add_class("pa-logits")
        view = SoftToHardView(labels=names)
        super().__init__(view, [self.temperature, group])
        self.link(self.temperature, "value", view, "temperature")
        for i, slider in enumerate(self.logits, 1):
            self.link(slider, "value", view, f"logit_{i}")
        for control in (self.temperature, *self.logits):
            control.observe(self._compute, "value")
        self.settle()
        self._compute()

    @property
    def weights(self) -> np.ndarray:
        return soften([slider.value for slider in self.logits], self.temperature.value)

    def _compute(self, _change: dict | None = None) -> None:
        """With a kernel, the view draws these exact numbers in place of its own."""
        logits, temperature = [slider.value for slider in self.logits], self.temperature.value
        self.view.exact = {"logits": logits, "temperature": temperature, "weights": self.weights.tolist()}

    def settle(self) -> None:
        self.view.temperature = self.temperature.value
        for i, slider in enumerate(self.logits, 1):
            setattr(self.view, f"logit_{i}", slider.value)

    def static_settings(self) -> Sequence[Markup]:
        temperature = self.temperature.value
        word = self.temperature.words[0 if temperature < 1 else 2 if temperature > 1 else 1]
        logits = (setting(slider.description, fixed(slider.value)) for slider in self.logits)
        return setting("Temperature", f"{tidy(temperature, 2)} · {word}"), h("div.pa-logits", *logits)

    def static_body(self) -> Sequence[Markup]:
        logits = np.array([slider.value for slider in self.logits])
        labels, weights, temperature = self.view.labels, self.weights, self.temperature.value
        key = h(
            "p.pa-key",
            h("span", h("span.pa-hardkey"), "hard limit (temperature → 0)"),
            h("span", h("span.pa-uniformkey"), "uniform limit (→ ∞)"),
        )
        return (
            section(
                "flow", "Weights, softmax(logits ÷ temperature)", bars(labels, weights, hard(logits)), key
            ),
            section("detail", CURVE, plot(logits, temperature, entropy(weights)), tiles(weights)),
            static.sentence(describe(labels, logits, temperature, weights)),
        )


# -- parts of the static picture: see soft_to_hard.js ------------------------------------------------------


def bars(labels: Sequence[str], weights: np.ndarray, limit: np.ndarray) -> Markup:
    """One bar a key; dashed, where the hard and the uniform limit would put it."""
    columns = [
        h(
            "div.pa-bar",
            h(
                "div.pa-barbox",
                h("span.pa-ghost", style=f"height: {100 * ghost:.4f}%", hidden=None if ghost > 0 else ""),
                h("span.pa-fill", style=f"height: {100 * w:.4f}%; {static.paint(w)}"),
                h("span.pa-barvalue", fixed(w), style=f"bottom: {100 * w:.4f}%"),
            ),
            h("span.pa-barname.pa-best" if ghost > 0 else "span.pa-barname", name),
        )
        for name, w, ghost in zip(labels, weights, limit, strict=True)
    ]
    listed = ", ".join(f"{name} {fixed(w)}" for name, w in zip(labels, weights, strict=True))
    uniform = h("div.pa-uniform", style=f"--at: {1 / KEYS:.6f}")
    return h("div.pa-bars", *columns, uniform, role="img", aria_label=f"Weights: {listed}")


def across(temperature: float) -> str:
    """Place on the logarithmic axis."""
    return f"left: {100 * (np.log10(temperature) - LOW) / (HIGH - LOW):.3f}%"


def plot(logits: np.ndarray, temperature: float, bits: float) -> Markup:
    """Entropy over the whole range of temperatures, and a dot at this one."""
    places = np.arange(61) / 60
    at_each = [entropy(soften(logits, 10.0 ** (LOW + (HIGH - LOW) * x))) for x in places]
    curve = "L".join(
        f"{100 * x:.2f} {100 - 100 * y / MOST:.2f}" for x, y in zip(places, at_each, strict=True)
    )
    path = h("path.pa-curve", d=f"M{curve}")
    return h(
        "div.pa-plot",
        h("svg", path, viewBox="0 0 100 100", preserveAspectRatio="none", aria_hidden="true"),
        h("span.pa-dot", style=f"{across(temperature)}; top: {100 - 100 * bits / MOST:.3f}%"),
        h("span.pa-ceiling", f"{fixed(MOST)} bits: all {KEYS} keys alike"),
        h("span.pa-floor", "0 bits: one key"),
        *(h("span.pa-tick", f"{t:g}", style=across(t)) for t in (0.1, 1.0, 10.0)),
        role="img",
        aria_label=f"Entropy curve; the dot is at {fixed(bits)} bits",
    )


def tiles(weights: np.ndarray) -> Markup:
    bits = entropy(weights)
    values = {
        "entropy": f"{fixed(bits)} bits",
        "effective keys": f"{fixed(2**bits, 1)} of {KEYS}",
        "largest weight": fixed(weights.max()),
    }
    return h("div.pa-tiles", *(h("div.pa-tile", h("span", k), h("strong", v)) for k, v in values.items()))
