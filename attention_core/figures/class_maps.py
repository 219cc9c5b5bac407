"""Class maps: does a map know which of two objects it was asked for?"""

from collections.abc import Iterable, Sequence
from typing import Any

import ipywidgets as widgets
import numpy as np
import traitlets

from attention_core.figures import base, maps, static
from attention_core.figures import class_maps_static as drawing
from attention_core.figures.class_maps_values import both, facts_of, recorded, spread
from attention_core.figures.patch_scenes import (
    classes_of,
    given,
    methods_of,
    named,
    outlined,
    pictured,
    place,
    sixteen_bit,
    within_budget,
)
from attention_core.figures.static import Markup, setting

METHODS = ("raw", "rollout", "chefer", "gradcam", "cdam", "cdam_value", "legrad", "attnlrp", "token_drop")


class ClassMapsView(base.View):
    _esm = base.module("class_maps")
    _css = base.style("class_maps")
    pixels = traitlets.Bytes().tag(sync=True)  # uint8: image, row, column, colour
    frames = traitlets.Bytes().tag(sync=True)  # as `sixteen_bit` packs them: image, method, answer, patch
    tops = traitlets.List().tag(sync=True)  # the largest value of each map
    shape = traitlets.Dict().tag(sync=True)  # height and width in pixels, rows and columns of patches
    names = traitlets.List().tag(sync=True)  # of each image's two classes
    outlines = traitlets.List().tag(sync=True)  # and which patches they cover
    methods = traitlets.List().tag(sync=True)  # the last one is raw attention, which stands beside
    facts = traitlets.List().tag(sync=True)  # of each image and method, and of an even map
    image = traitlets.Int(0).tag(sync=True)
    method = traitlets.Int(0).tag(sync=True)
    answer = traitlets.Int(0).tag(sync=True)


class ClassMaps(base.Figure):
    """One image's maps for two classes, by several methods, beside raw attention, which knows no class.

    By default scenes 37, 57 and 33 of
    `datasets.shapes("pair")`: chosen for two objects far apart, of both of which the model is sure; the first
    also because the patches of highest raw attention hardly matter there, as they do in the other two. How
    methods do over many scenes is in benchmarks/results/explain.json.

    Parameters
    ----------
    model
        A `models.ViT` with classes; `models.load("shapes-vit")` by default.
    images
        `datasets.Scenes`, whose masks then say how much of a map lies on each object, or a tensor (count,
        channels, height, width) in [0, 1].
    targets
        (count, 2): for each image the classes A and B, as indices. By default the two of the labels, or else
        the two most probable.
    methods
        Keys of `explain.METHODS`.
    image, method, answer
        What to begin with: the image's number, a key, and 0 for A or 1 for B.
    """

    name = "class-maps"
    title = "Class maps: does the map know what it was asked for?"
    question = "Ask for one object, then for the other. Which methods give another map?"

    def __init__(
        self,
        model: object = None,
        images: object = None,
        *,
        targets: object = None,
        methods: Iterable[str] | None = None,
        image: int = 0,
        method: str = "chefer",
        answer: int = 0,
    ):
        self.shown = given(model, images)
        self.targets = classes_of(targets, self.shown, 2)
        self.methods = methods_of(methods, METHODS)
        first = place("image", image, range(len(self.shown)))
        chosen = place("method", method, self.methods, "chefer")
        place("answer", answer, (0, 1))
        every = (*self.methods, "raw")
        found = {name: both(self.shown, self.targets, name) for name in dict.fromkeys(every)}
        self.maps = np.stack(
            [found[name] for name in every], 1
        )  # (images, methods and raw, 2, rows, columns)
        self.facts = [
            [facts_of(pair, self.shown, i, self.targets[i].tolist())._asdict() for pair in own]
            for i, own in enumerate(self.maps)
        ]
        for i, pair in enumerate(self.targets.tolist()):
            self.facts[i].append(spread(self.shown, i, pair)._asdict())
        self.records = [recorded(name) for name in every]
        classes = self.shown.model.classes
        self.names = [[classes[c] for c in pair] for pair in self.targets.tolist()]
        self.image = widgets.Dropdown(
            options=named(self.shown, self.targets), index=first, description="Image"
        )
        titles = [(record["title"], name) for record, name in zip(self.records, self.methods, strict=False)]
        self.method = widgets.Dropdown(options=titles, index=chosen, description="Method")
        self.answer = widgets.ToggleButtons(options=drawing.LETTERS, index=answer, description="Asked for")
        view = ClassMapsView(**self._packed())
        super().__init__(view, [self.image, self.method, self.answer])
        for control in ("image", "method", "answer"):
            self.link(getattr(self, control), "index", view, control)
        self.settle()

    def _packed(self) -> dict[str, Any]:
        """Everything as the view reads it."""
        sent = pictured(self.shown) | sixteen_bit(self.maps)
        count, methods, answers = self.maps.shape[:3]
        within_budget(count * methods * answers, sent["pixels"], sent["frames"])
        self.outlines = [
            [outlined(self.shown, i, c) for c in pair] for i, pair in enumerate(self.targets.tolist())
        ]
        return sent | {
            "names": self.names, "outlines": self.outlines, "methods": self.records, "facts": self.facts,
        }  # fmt: skip

    @property
    def weights(self) -> np.ndarray:
        """(rows, columns): the map that is showing."""
        return self.maps[self.image.index, self.method.index, self.answer.index]

    @property
    def raw(self) -> np.ndarray:
        """(rows, columns): raw attention of the last layer, beside it."""
        return self.maps[self.image.index, -1, self.answer.index]

    def settle(self) -> None:
        for control in ("image", "method", "answer"):
            setattr(self.view, control, getattr(self, control).index)

    def static_settings(self) -> Sequence[Markup]:
        return (
            setting("Image", self.image.label, "pa-dropdown"),
            setting("Method", self.method.label, "pa-dropdown"),
            static.choices("Asked for", drawing.LETTERS, self.answer.index),
        )

    def static_body(self) -> Sequence[Markup]:
        i, m, answer = self.image.index, self.method.index, self.answer.index
        record, raw, facts, names = self.records[m], self.records[-1], self.facts[i], self.names[i]
        lies = [(record["title"], facts[m]), (raw["title"], facts[-2]), (drawing.EVEN, facts[-1])]
        picture = maps.rgb(self.shown.images[i : i + 1])[0]
        found = [(record, self.weights), (raw, self.raw)]
        same = self.methods[m] == "raw"
        return (
            drawing.panels(picture, found, self.outlines[i], answer, names),
            *drawing.detail(lies, answer),
            static.sentence(drawing.describe(record, facts[m], answer, names, same)),
        )
