"""Faithfulness: what happens to the class without the patches that a map ranks first?"""

from collections.abc import Iterable, Sequence
from numbers import Real
from typing import Any

import ipywidgets as widgets
import numpy as np
import traitlets

from attention_core import explain
from attention_core.figures import base, maps, static
from attention_core.figures import faithfulness_static as drawing
from attention_core.figures.faithfulness_values import ORDERS, Run, run
from attention_core.figures.patch_scenes import (
    EDGES,
    RANDOM,
    classes_of,
    given,
    maps_of,
    methods_of,
    named,
    pictured,
    place,
    sixteen_bit,
    within_budget,
)
from attention_core.figures.static import Markup, setting

METHODS = ("raw", "rollout", "chefer", "gradcam", "cdam", "legrad", "attnlrp")
BASELINES = (RANDOM, EDGES)


class FaithfulnessView(base.View):
    _esm = base.module("faithfulness")
    _css = base.style("faithfulness")
    pixels = traitlets.Bytes().tag(sync=True)  # uint8: image, row, column, colour
    frames = traitlets.Bytes().tag(sync=True)  # as `sixteen_bit` packs them: maps of image, method, patch
    tops = traitlets.List().tag(sync=True)  # the largest value of each map
    places = traitlets.Bytes().tag(sync=True)  # uint16, little endian: image, order, method, patch
    curves = traitlets.Bytes().tag(sync=True)  # float32: image, order, method, point
    areas = traitlets.List().tag(sync=True)  # of image, order, method
    shape = traitlets.Dict().tag(sync=True)
    names = traitlets.List().tag(sync=True)  # of each image's class
    methods = traitlets.List().tag(sync=True)
    counts = traitlets.List().tag(sync=True)  # patches that are gone at each step
    axes = traitlets.Dict().tag(sync=True)
    image = traitlets.Int(0).tag(sync=True)
    method = traitlets.Int(0).tag(sync=True)
    order = traitlets.Int(0).tag(sync=True)
    step = traitlets.Int(0).tag(sync=True)


class Faithfulness(base.Figure):
    """An image that loses its patches in the order of a map, and the probability of its class meanwhile.

    Patches are dropped, not painted over: `explain.faithfulness.curve`. By default scenes 37, 57 and 33 of
    `datasets.shapes("pair")`: chosen for two objects far apart, of both of which the model is sure; the first
    also because the patches of highest raw attention hardly matter there, as they do in the other two. How
    methods do over many scenes is in benchmarks/results/explain.json.

    Parameters
    ----------
    model
        A `models.ViT` with classes; `models.load("shapes-vit")` by default.
    images
        `datasets.Scenes`, or a tensor (count, channels, height, width) in [0, 1].
    targets
        (count,): the class of each image, an index. By default the first of the labels, or else the most
        probable.
    methods
        Keys of `explain.METHODS`; the baselines "random", one order by lot, and "edges" are always there.
    image, method
        What to begin with: the image's number, and a key.
    removed
        The share of patches that are gone at the start, 0 to 1, in sixteenths.
    """

    name = "faithfulness"
    title = "Faithfulness: is what ranks high what has effect?"
    question = "Take away the patches that a map ranks highest. Which map makes the class go first?"

    def __init__(
        self,
        model: object = None,
        images: object = None,
        *,
        targets: object = None,
        methods: Iterable[str] | None = None,
        image: int = 0,
        method: str = "attnlrp",
        removed: Real = 0,
    ):
        self.shown = given(model, images)
        self.targets = classes_of(targets, self.shown, 1)[:, 0]
        self.methods = methods_of(methods, METHODS, BASELINES)
        first = place("image", image, range(len(self.shown)))
        chosen = place("method", method, self.methods, "attnlrp")
        base.between("removed", removed, 0.0, 1.0)
        self._measure()
        steps = len(self.counts) - 1
        start = round(removed * steps)
        self.image = widgets.Dropdown(
            options=named(self.shown, self.targets[:, None]), index=first, description="Image and class"
        )
        self.method = widgets.Dropdown(
            options=list(zip(self.titles, self.methods, strict=True)), index=chosen, description="Method"
        )
        self.order = widgets.ToggleButtons(options=ORDERS, index=0, description="What goes first")
        self.play = widgets.Play(value=start, min=0, max=steps, interval=450, description="Playback")
        self.play.show_repeat = False
        self.removed = widgets.IntSlider(value=start, min=0, max=steps, description=drawing.removing(steps))
        view = FaithfulnessView(**self._packed())
        super().__init__(view, [self.image, self.method, self.order], [self.play, self.removed])
        for control in ("image", "method", "order"):
            self.link(getattr(self, control), "index", view, control)
        self.link(self.removed, "value", view, "step")
        self.link(self.play, "value", self.removed, "value")
        self.link(self.play, "playing", view, "playing")
        self.settle()

    def _measure(self) -> None:
        """Maps, orders and curves of all methods."""
        self.titles = [explain.METHODS[name].title for name in self.methods]
        found = [maps_of(self.shown.model, self.shown.images, self.targets, name) for name in self.methods]
        self.maps = np.stack(
            [one.double().cpu().numpy() for one in found], 1
        )  # (images, methods, rows, columns)
        self.runs: list[list[Run]] = [
            [run(self.shown, one, self.targets, lowest) for one in found] for lowest in (False, True)
        ]
        shares = self.runs[0][0].shares
        self.counts = [round(x) for x in (shares * self.maps[0, 0].size).tolist()]

    def _packed(self) -> dict[str, Any]:
        """Everything as the view reads it."""
        by_image = [
            [[run._replace(places=run.places[i], curve=run.curve[i], area=run.area[i]) for run in runs]
             for runs in self.runs]
            for i in range(len(self.shown))
        ]  # fmt: skip
        flat = [run for orders in by_image for runs in orders for run in runs]
        sent = pictured(self.shown) | {
            **sixteen_bit(self.maps),
            "places": np.concatenate([run.places for run in flat]).astype("<u2").tobytes(),
            "curves": base.float32(run.curve for run in flat),
        }
        within_budget(len(flat), *(part for part in sent.values() if isinstance(part, bytes)))
        self.axes = drawing.axes(self.runs[0][0].shares)
        return sent | {
            "areas": [[[float(run.area) for run in runs] for runs in orders] for orders in by_image],
            "names": [self.shown.model.classes[c] for c in self.targets.tolist()],
            "methods": [self._record(name) for name in self.methods],
            "counts": self.counts,
            "axes": self.axes.sent(),
        }

    def _record(self, name: str) -> dict[str, Any]:
        record = explain.METHODS[name]
        return {"title": record.title, "signed": record.signed, "baseline": name in BASELINES}

    @property
    def weights(self) -> np.ndarray:
        """(methods, points): the probability of the present image's class along each method's order."""
        return np.stack([run.curve[self.image.index] for run in self.runs[self.order.index]])

    @property
    def gone(self) -> np.ndarray:
        """(rows, columns): which patches are gone."""
        own = self.runs[self.order.index][self.method.index].places[self.image.index]
        return (own < self.counts[self.removed.value]).reshape(self.maps.shape[2:])

    @property
    def now(self) -> drawing.Now:
        """What tiles and sentence say."""
        curves, at, m = self.weights, self.removed.value, self.method.index
        lot = self.methods.index(RANDOM)
        area = [run.area[self.image.index] for run in self.runs[self.order.index]]
        return drawing.Now(
            gone=self.counts[at], patches=self.counts[-1],
            whole=float(curves[m, 0]), left=float(curves[m, at]),
            lot=float(curves[lot, at]), area=float(area[m]), chance=float(area[lot]),
        )  # fmt: skip

    def settle(self) -> None:
        for control in ("image", "method", "order"):
            setattr(self.view, control, getattr(self, control).index)
        self.view.step = self.removed.value

    def static_settings(self) -> Sequence[Markup]:
        return (
            setting("Image and class", self.image.label, "pa-dropdown"),
            setting("Method", self.method.label, "pa-dropdown"),
            static.choices("What goes first", ORDERS, self.order.index),
        )

    def static_transport(self) -> Sequence[Markup]:
        return (setting(self.removed.description, str(self.removed.value)),)

    def static_body(self) -> Sequence[Markup]:
        i, m, lowest = self.image.index, self.method.index, self.order.index == 1
        now, record = self.now, self._record(self.methods[m])
        name = self.shown.model.classes[int(self.targets[i])]
        picture = maps.rgb(self.shown.images[i : i + 1])[0]
        dashed = [method in BASELINES for method in self.methods]
        return (
            drawing.panels(picture, self.maps[i, m], self.gone, record, now),
            drawing.detail(name, self.axes, self.titles, dashed, self.weights, m, self.removed.value, now),
            static.sentence(drawing.describe(record["title"], name, now, lowest, self.methods[m] == RANDOM)),
        )
