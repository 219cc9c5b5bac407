"""Head ablation: how many of its heads does a translator need?"""

from collections.abc import Iterable, Sequence
from pathlib import Path

import ipywidgets as widgets
import numpy as np
import traitlets

from attention_core.figures import base, static
from attention_core.figures import head_ablation_static as drawing
from attention_core.figures.head_ablation_values import Ablated, Patience, measure, number, subset
from attention_core.figures.head_picker_values import reader
from attention_core.figures.static import Markup
from attention_core.models.progress import Bar
from attention_core.models.transformer import PARTS, Transformer

RESULTS = base.HERE.parents[1] / "benchmarks" / "results" / "heads.json"
PAIRS = 60  # of the test set, where a model of the reader's comes without pairs


class HeadAblationView(base.View):
    _esm = base.module("head_ablation")
    _css = base.style("head_ablation")
    size = traitlets.Dict().tag(sync=True)  # layers, heads, and the axis of losses
    losses = traitlets.Dict().tag(sync=True)  # by part, a list: see `Ablated`
    told = traitlets.Unicode().tag(sync=True)
    part = traitlets.Int(0).tag(sync=True)
    # Whether each head is on, layer by layer; a click in the picture sets them too.
    head0 = traitlets.Bool(True).tag(sync=True)
    head1 = traitlets.Bool(True).tag(sync=True)
    head2 = traitlets.Bool(True).tag(sync=True)
    head3 = traitlets.Bool(True).tag(sync=True)
    head4 = traitlets.Bool(True).tag(sync=True)
    head5 = traitlets.Bool(True).tag(sync=True)
    head6 = traitlets.Bool(True).tag(sync=True)
    head7 = traitlets.Bool(True).tag(sync=True)


class HeadAblation(base.Figure):
    """The loss of a transformer without any subset of the heads of one part.

    A head is out when its columns of W^O are zero (Michel et al. 2019): the others go on as they were, and
    nothing is trained anew. The loss is the mean surprise at the right word, in nats, the right words before
    it having been read.

    Parameters
    ----------
    model
        A `models.Transformer` of at most eight heads in each part, or the name of one that ships. All its
        subsets are evaluated as the figure is made, which takes about a minute for 60 pairs and 2 x 4
        heads, and says so. Left out together with `pairs`: what `benchmarks/heads.py` measured
        of "transformer-en-fr". Or what was measured before: an `Ablated`, or the path of its file.
    pairs
        `datasets.Pair`s to measure the loss on; the first 60 of the test set if a model comes without.
    part
        "encoder", "decoder" (its attention to what it has written) or "cross".
    off
        Heads that are off at the beginning, each (layer, head) from 0.
    """

    name = "head-ablation"
    title = "Taking heads out: how many does it need?"
    question = "Switch heads off. Which is missed, and is the damage of two the sum of the damages of each?"

    def __init__(
        self,
        model: Transformer | Ablated | str | Path | None = None,
        pairs: Sequence | None = None,
        *,
        part: str = "cross",
        off: Iterable[Sequence] = (),
    ):
        if part not in PARTS:
            raise ValueError(f"`part` must be one of {', '.join(PARTS)}; got {part!r}")
        self.ablated = _ablated(model, pairs)
        self.size = (self.ablated.layers, self.ablated.heads)
        start = number(off, part, *self.size)
        self.part = widgets.ToggleButtons(
            options=list(PARTS), index=PARTS.index(part), description="Attention whose heads are switched"
        )
        self.boxes = [
            base.Checkbox(
                value=not start >> i & 1, indent=False,
                description=f"layer {i // self.size[1] + 1}, head {i % self.size[1] + 1}",
            )
            for i in range(self.size[0] * self.size[1])
        ]  # fmt: skip
        view = HeadAblationView(
            size={"layers": self.size[0], "heads": self.size[1], **axis(self.ablated)},
            losses={each: values.tolist() for each, values in self.ablated.losses.items()},
            told=self.ablated.told,
        )  # fmt: skip
        super().__init__(view, [self.part, *self.boxes])
        self.link(self.part, "index", view, "part")
        for i, box in enumerate(self.boxes):
            self.link(box, "value", view, f"head{i}")
        self.settle()

    @property
    def off(self) -> list[tuple[int, int]]:
        """(layer, head) of each that is off."""
        return subset(self._number, *self.size)

    @property
    def losses(self) -> np.ndarray:
        """(2 ^ heads,): the loss without each subset of heads of the part, in the order of `Ablated`."""
        return self.ablated.losses[self.part.value]

    @property
    def weights(self) -> np.ndarray:
        """(2 ^ heads,): by how much each subset changes the loss; 0 exactly where all heads are on."""
        return self.losses - self.losses[0]

    @property
    def loss(self) -> float:
        """Of the subset that is set, in nats a word."""
        return float(self.losses[self._number])

    @property
    def change(self) -> float:
        """Its difference to that of all heads."""
        return float(self.weights[self._number])

    @property
    def _number(self) -> int:
        return sum((not box.value) << i for i, box in enumerate(self.boxes))

    def settle(self) -> None:
        self.view.part = self.part.index
        for i, box in enumerate(self.boxes):
            setattr(self.view, f"head{i}", box.value)

    def static_settings(self) -> Sequence[Markup]:
        boxes = (static.checkbox(box.description, box.value) for box in self.boxes)
        return (static.choices(self.part.description, PARTS, self.part.index), *boxes)

    def static_body(self) -> Sequence[Markup]:
        return drawing.body(
            self.part.value, self.losses, self._number, self.size, axis(self.ablated), self.ablated.told
        )


def axis(ablated: Ablated) -> dict[str, list]:
    """Lowest and highest loss of the chart, the same for all parts, and its ticks."""
    every = np.concatenate(list(ablated.losses.values()))
    low, high = float(every.min()) / 1.3, float(every.max()) * 1.2
    decade = (1, 2, 5) if high / low < 30 else (1, 3) if high / low < 3000 else (1,)
    steps = (float(f"{m}e{e}") for e in range(-7, 7) for m in decade)
    return {"range": [low, high], "ticks": [[y, static.tidy(y)] for y in steps if low <= y <= high]}


def _ablated(model: object, pairs: Sequence | None) -> Ablated:
    """What was measured, read or measured now."""
    if isinstance(model, Ablated):
        return model
    if model is None and pairs is None:
        return Ablated.load(RESULTS)
    if isinstance(model, Path) or (isinstance(model, str) and model.endswith(".json")):
        return Ablated.load(model)
    if pairs is None:
        from attention_core import datasets  # only here are they needed

        pairs = datasets.translation("test")[:PAIRS]
    return measure(reader(model), pairs, tell=Patience(Bar(), len(pairs)))
