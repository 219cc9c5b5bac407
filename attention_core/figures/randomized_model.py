"""Randomised model: does a map notice that the model has forgotten what it learnt?"""

from collections.abc import Iterable, Sequence
from typing import Any

import ipywidgets as widgets
import numpy as np
import traitlets

from attention_core import explain
from attention_core.figures import base, maps, static
from attention_core.figures import randomized_model_static as drawing
from attention_core.figures.patch_scenes import (
    EDGES,
    RANDOM,
    classes_of,
    given,
    methods_of,
    named,
    pictured,
    place,
    sixteen_bit,
    within_budget,
)
from attention_core.figures.randomized_model_values import Cascade, answers, cascade
from attention_core.figures.static import Markup, setting

METHODS = ("raw", "rollout", "chefer", "gradcam", "cdam", "legrad", "attnlrp", EDGES)


class RandomizedModelView(base.View):
    _esm = base.module("randomized_model")
    _css = base.style("randomized_model")
    pixels = traitlets.Bytes().tag(sync=True)  # uint8: image, row, column, colour
    frames = traitlets.Bytes().tag(sync=True)  # as `sixteen_bit` packs them: image, method, stage, patch
    tops = traitlets.List().tag(sync=True)  # the largest value of each map
    alike = traitlets.Bytes().tag(sync=True)  # float32: rank correlations of image, method, stage
    answers = traitlets.List().tag(sync=True)  # the class's probability, of image and stage
    shape = traitlets.Dict().tag(sync=True)
    names = traitlets.List().tag(sync=True)  # of each image's class
    methods = traitlets.List().tag(sync=True)
    stages = traitlets.List().tag(sync=True)  # in the order in which they are drawn anew
    axes = traitlets.Dict().tag(sync=True)
    image = traitlets.Int(0).tag(sync=True)
    method = traitlets.Int(0).tag(sync=True)
    layers = traitlets.Int(0).tag(sync=True)


class RandomizedModel(base.Figure):
    """A map of the model as trained, beside that of one whose modules are drawn anew, from the head down.

    The model parameter randomisation test of Adebayo et al. (2018), as
    `explain.faithfulness.randomization_cascade` runs it. By default scenes 37, 57 and 33 of
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
        Keys of `explain.METHODS`.
    image, method
        What to begin with: the image's number, and a key.
    layers
        How many modules are drawn anew at the start.
    seed
        Of the drawing.
    """

    name = "randomized-model"
    title = "Randomise the model: does the map notice?"
    question = "Draw the head anew, then layer after layer. Which map stays when what was learnt is gone?"

    def __init__(
        self,
        model: object = None,
        images: object = None,
        *,
        targets: object = None,
        methods: Iterable[str] | None = None,
        image: int = 0,
        method: str = "rollout",
        layers: int = 0,
        seed: int = 0,
    ):
        self.shown = given(model, images)
        self.targets = classes_of(targets, self.shown, 1)[:, 0]
        self.methods = methods_of(methods, METHODS)
        first = place("image", image, range(len(self.shown)))
        chosen = place("method", method, self.methods, "rollout")
        self._randomize(seed)
        base.whole("layers", layers, 0, len(self.stages))
        self.image = widgets.Dropdown(
            options=named(self.shown, self.targets[:, None]), index=first, description="Image and class"
        )
        titles = [record["title"] for record in self.records]
        self.method = widgets.Dropdown(
            options=list(zip(titles, self.methods, strict=True)), index=chosen, description="Method"
        )
        last = len(self.stages)
        self.play = widgets.Play(value=layers, min=0, max=last, interval=900, description="Playback")
        self.play.show_repeat = False
        self.layers = widgets.IntSlider(value=layers, min=0, max=last, description="Drawn anew")
        view = RandomizedModelView(**self._packed())
        super().__init__(view, [self.image, self.method], [self.play, self.layers])
        self.link(self.image, "index", view, "image")
        self.link(self.method, "index", view, "method")
        self.link(self.layers, "value", view, "layers")
        self.link(self.play, "value", self.layers, "value")
        self.link(self.play, "playing", view, "playing")
        self.settle()

    def _randomize(self, seed: int) -> None:
        """Maps and correlations of all methods, and what the models answer, at every stage."""
        answered = answers(self.shown, self.targets, seed)
        self.stages = list(answered)[1:]
        self.answers = np.stack(list(answered.values()), 1)  # (images, stages + 1)
        self.cascades: list[Cascade] = [
            cascade(self.shown, self.targets, name, seed) for name in self.methods
        ]
        self.records = [
            {"title": record.title, "signed": record.signed, "aloof": name in (RANDOM, EDGES)}
            for name in self.methods
            for record in [explain.METHODS[name]]
        ]

    def _packed(self) -> dict[str, Any]:
        """Everything as the view reads it."""
        frames = np.stack(
            [one.maps for one in self.cascades], 1
        )  # (images, methods, stages + 1, rows, columns)
        alike = np.stack([one.correlation for one in self.cascades], 1)
        sent = pictured(self.shown) | sixteen_bit(frames) | {"alike": base.float32(alike)}
        within_budget(
            int(np.prod(frames.shape[:3])), *(part for part in sent.values() if isinstance(part, bytes))
        )
        self.axes = drawing.axes(alike, self.stages)
        return sent | {
            "answers": self.answers.tolist(),
            "names": [self.shown.model.classes[c] for c in self.targets.tolist()],
            "methods": self.records,
            "stages": self.stages,
            "axes": self.axes.sent(),
        }

    @property
    def weights(self) -> np.ndarray:
        """(2, rows, columns): the map of the model as trained, and of the model as it is now."""
        return self.cascades[self.method.index].maps[self.image.index][[0, self.layers.value]]

    @property
    def correlations(self) -> np.ndarray:
        """(methods, stages + 1): how alike the present image's maps stay, Spearman's rank correlation."""
        return np.stack([one.correlation[self.image.index] for one in self.cascades])

    @property
    def now(self) -> dict[str, Any]:
        """What tiles and sentence say."""
        i, at = self.image.index, self.layers.value
        before, after = self.answers[i, 0], self.answers[i, at]
        return {
            "alike": float(self.correlations[self.method.index, at]),
            "blank": any(one.min() == one.max() for one in self.weights),
            "before": float(before), "after": float(after),
        }  # fmt: skip

    def settle(self) -> None:
        self.view.image, self.view.method = self.image.index, self.method.index
        self.view.layers = self.layers.value

    def static_settings(self) -> Sequence[Markup]:
        return (
            setting("Image and class", self.image.label, "pa-dropdown"),
            setting("Method", self.method.label, "pa-dropdown"),
        )

    def static_transport(self) -> Sequence[Markup]:
        return (setting(self.layers.description, str(self.layers.value)),)

    def static_body(self) -> Sequence[Markup]:
        i, m, at, now = self.image.index, self.method.index, self.layers.value, self.now
        record, stages = self.records[m], self.stages[:at]
        name = self.shown.model.classes[int(self.targets[i])]
        picture = maps.rgb(self.shown.images[i : i + 1])[0]
        return (
            drawing.panels(picture, self.weights, record, stages),
            drawing.detail(self.axes, self.records, self.correlations, m, at, now),
            static.sentence(drawing.describe(record, name, stages, now)),
        )
