"""Bottleneck: what does one state keep of a long sentence?"""

from collections.abc import Sequence
from math import log
from numbers import Real

import ipywidgets as widgets
import numpy as np
import torch
import traitlets

from attention_core import attend
from attention_core.figures import base, static
from attention_core.figures.bottleneck_static import ABOVE, BELOW, describe, links, retention, tiles
from attention_core.figures.static import Markup, fixed, h, section, setting

SHORTEST, LONGEST = 2, 60


def shares(length: int, gate: Real) -> np.ndarray:
    r"""Weights of `length` tokens, oldest first, in the state and under equal attention: (2, length).

    The state $h_t = g h_{t-1} + (1-g) x_t$ is attention whose scores nobody learned: $k \ln g$ for the token
    $k$ steps back. The direct links score every token alike. Both rows sum to one.
    """
    back = torch.arange(length - 1, -1, -1, dtype=torch.float64)
    fade = back * log(gate) if gate > 0 else torch.where(back > 0, -torch.inf, 0.0).double()
    same = torch.zeros(1, 1, dtype=torch.float64), torch.zeros(length, 1, dtype=torch.float64)
    rows = [attend(*same, same[1], bias=bias[None]).weights[0] for bias in (fade, torch.zeros_like(fade))]
    return torch.stack(rows).numpy()


class BottleneckView(base.View):
    _esm = base.module("bottleneck")
    _css = base.style("bottleneck")
    length = traitlets.Int(30).tag(sync=True)
    gate = traitlets.Float(0.8).tag(sync=True)


class Bottleneck(base.Figure):
    """A gated state reads a sentence; what is left of each token at its end, beside a direct link to each.

    Parameters
    ----------
    length
        Tokens, 2 to 60.
    gate
        Between 0 (each token replaces the state) and 1 (none gets in).
    """

    name = "bottleneck"
    title = "Bottleneck: what does one state keep of a long sentence?"
    question = (
        "Predict how much is left of the first of 30 tokens. Which gate would you choose, and at what price?"
    )

    def __init__(self, length: int = 30, gate: Real = 0.8):
        base.whole("length", length, SHORTEST, LONGEST)
        base.between("gate", gate, 0.0, 1.0)
        self.length = widgets.IntSlider(value=length, min=SHORTEST, max=LONGEST, description="Length")
        self.gate = widgets.FloatSlider(value=gate, min=0, max=1, step=0.01, description="Gate g")
        view = BottleneckView()
        super().__init__(view, [self.length, self.gate])
        self.link(self.length, "value", view, "length")
        self.link(self.gate, "value", view, "gate")
        self.settle()

    @property
    def shares(self) -> np.ndarray:
        """What each token, oldest first, weighs in the state and under equal attention: (2, length)."""
        return shares(self.length.value, self.gate.value)

    @property
    def weights(self) -> np.ndarray:
        """The same beside the newest token: what is left through the state, and on a direct link."""
        both = self.shares
        return both / both[:, -1:]

    def settle(self) -> None:
        self.view.length, self.view.gate = self.length.value, self.gate.value

    def static_settings(self) -> Sequence[Markup]:
        return setting("Length", str(self.length.value)), setting("Gate g", fixed(self.gate.value))

    def static_body(self) -> Sequence[Markup]:
        kept, gate = self.weights[0].tolist(), self.gate.value
        picture = h("div.pa-neck", *retention(kept, gate), links(len(kept)))
        return (
            section("flow", ABOVE, picture, h("p.pa-caption.pa-neck-below", BELOW)),
            section("detail", "", tiles(kept, gate)),
            static.sentence(describe(kept, gate)),
        )
