"""ViT heads: where does a patch look, in each head of a vision transformer?"""

from collections.abc import Sequence

import ipywidgets as widgets
import numpy as np
import torch
import traitlets
from torch import Tensor, nn

from attention_core import explain
from attention_core.datasets.shapes import Scenes
from attention_core.figures import base, maps, scenes, static
from attention_core.figures import vit_heads_static as drawing
from attention_core.figures.static import Markup
from attention_core.figures.vit_heads_static import Facts, Shape

SCALE = (
    4095  # steps of a weight as it travels: with 65535 a page would be 50 kB heavier, for digits nobody sees
)
ROOM = 275_000  # bytes of weights; the rest of a figure's budget is for pictures


class VitHeadsView(base.View):
    _esm = base.module("vit_heads")
    _css = base.style("vit_heads")
    shape = traitlets.Dict().tag(sync=True)
    pictures = traitlets.Bytes().tag(sync=True)  # uint8: image, row, column, colour
    size = traitlets.List(traitlets.Int()).tag(sync=True)  # height and width of each
    # uint16, all low bytes before all high ones: image, layer, head, query, key
    frames = traitlets.Bytes().tag(sync=True)
    objects = traitlets.List().tag(sync=True)  # of each image what it shows and where, or null
    image = traitlets.Int(0).tag(sync=True)
    layer = traitlets.Int(1).tag(sync=True)  # from 1, as readers count
    head = traitlets.Int(0).tag(sync=True)  # one more than there are: their mean
    query = traitlets.Int(-1).tag(
        sync=True
    )  # the patch that asks, row by row, or -1: CLS; the view writes it too


class VitHeads(base.Figure):
    """One token's attention in each head of a vision transformer, over the picture.

    Parameters
    ----------
    model
        A `models.ViT`, or an image classifier of `transformers` as `explain.capture` takes it; "shapes-vit"
        by default.
    images
        A batch as the model takes it, or `datasets.Scenes`, of which it is known what they show. Two scenes
        by default. Of a large model, or of many images, only what CLS attends to travels to a page without a
        kernel.
    image
        Which of them to begin with.
    layer, head
        From 0; a head of None is the mean of all.
    patch
        (row, column) of the patch that asks, from 0; None is CLS.
    """

    name = "vit-heads"
    title = "Heads of a vision transformer: where does this patch look?"
    question = (
        "Choose a patch, or CLS. Do heads look at the same things? How far in layer 1, and in the last?"
    )

    def __init__(
        self,
        model: nn.Module | None = None,
        images: Tensor | Scenes | None = None,
        *,
        image: int = 0,
        layer: int = 3,
        head: int | None = 0,
        patch: Sequence[int] | None = None,
    ):
        images = scenes.drawn(2) if images is None else images
        tensor = scenes.tensor_of(images)
        with torch.no_grad():
            seen = explain.capture(scenes.shipped() if model is None else model, tensor)
        self._rows = seen.stacked().detach().cpu().numpy()  # (images, layers, heads, tokens, tokens)
        self.objects = scenes.objects_of(images, seen.grid)
        count, layers, heads, tokens, _ = self._rows.shape
        frames, whole = packed(self._rows)
        self.shape = Shape(layers, heads, *seen.grid, seen.prefix, tokens, SCALE, whole)
        base.whole("image", image, 0, count - 1)
        base.whole("layer", layer, 0, layers - 1)
        if head is not None:
            base.whole("head", head, 0, heads - 1, " (None: the mean of all)")
        self._pictures = maps.rgb(tensor)
        self.image = widgets.Dropdown(options=scenes.titles(self.objects), index=image, description="Picture")
        self.layer = widgets.IntSlider(value=layer + 1, min=1, max=layers, description="Layer")
        self.head = widgets.ToggleButtons(
            options=[*map(str, range(1, heads + 1)), "mean"],
            index=heads if head is None else head,
            description="Head",
        )
        view = VitHeadsView(
            shape=self.shape._asdict(), frames=frames, pictures=self._pictures.tobytes(),
            size=list(self._pictures.shape[1:3]), objects=[thing and thing.sent() for thing in self.objects],
        )  # fmt: skip
        super().__init__(view, [*([self.image] if count > 1 else []), self.layer, self.head])
        if count > 1:
            self.link(self.image, "index", view, "image")
        self.link(self.layer, "value", view, "layer")
        self.link(self.head, "index", view, "head")
        self.patch = patch
        self.image.observe(self._compute, "index")
        view.observe(self._compute, "query")
        self.settle()
        self._compute()

    @property
    def patch(self) -> tuple[int, int] | None:
        """Row and column of the patch that asks, which readers choose in the picture; None: CLS."""
        query = self.view.query
        return None if query < 0 else divmod(query, self.shape.columns)

    @patch.setter
    def patch(self, patch: Sequence[int] | None) -> None:
        self.view.query = -1 if patch is None else place(patch, self.shape)

    @property
    def weights(self) -> np.ndarray:
        """(tokens,): where the token attends, patches row by row after the `prefix`. They sum to 1."""
        return self.rows[self.layer.value - 1, self.head.index]

    @property
    def rows(self) -> np.ndarray:
        """(layers, heads + 1, tokens): the same of all heads, last their mean."""
        token = 0 if self.patch is None else self.shape.prefix + self.view.query
        rows = self._rows[self.image.index, :, :, token].astype(np.float64)
        return np.concatenate([rows, rows.mean(1, keepdims=True)], axis=1)

    @property
    def facts(self) -> Facts:
        """What the sentence says."""
        return drawing.measure(self.weights, self.shape, self.view.query, self.objects[self.image.index])

    def _compute(self, _change: dict | None = None) -> None:
        """With a kernel, the view draws these exact numbers in place of the frames."""
        rows = self.rows[:, :-1].astype("<f4").tobytes()
        self.view.exact = {"state": [self.image.index, self.view.query], "rows": rows}

    def settle(self) -> None:
        self.view.image, self.view.layer = self.image.index, self.layer.value
        self.view.head = self.head.index

    def static_settings(self) -> Sequence[Markup]:
        picture = static.setting("Picture", self.image.value, "pa-dropdown")
        return (
            *([picture] if len(self.objects) > 1 else []),
            static.setting("Layer", f"{self.layer.value} of {self.layer.max}"),
            static.choices("Head", self.head.options, self.head.index),
        )

    def static_body(self) -> Sequence[Markup]:
        image, layer, head = self.image.index, self.layer.value - 1, self.head.index
        at, objects = (layer, head, self.view.query), self.objects[image]
        return (
            *drawing.boards(self._pictures[image], self.weights, self.shape, *at, objects),
            drawing.thumbnails(self.rows, self.shape, layer, head),
            static.sentence(drawing.describe(self.facts, self.shape, *at, objects)),
        )


def packed(rows: np.ndarray) -> tuple[bytes, bool]:
    """Weights (images, layers, heads, query, key) as they travel, and whether all queries do or CLS alone."""
    whole = rows.size * 2 <= ROOM
    if not whole:
        rows = rows[:, :, :, :1]
        if rows.size * 2 > ROOM:
            raise ValueError(
                f"`images` holds {len(rows)}, whose attention is too much for one figure even of CLS alone "
                f"({rows.size * 2 // 1000} kB of {ROOM // 1000}). Show fewer."
            )
    steps = np.rint(rows.astype(np.float64) * SCALE).astype("<u2")
    return steps.reshape(-1, 1).view(np.uint8).T.tobytes(), whole  # apart, bytes compress to four fifths


def place(patch: Sequence[int], shape: Shape) -> int:
    """The number of a patch; one that is not there raises."""
    grid = (shape.rows, shape.columns)
    fits = len(patch) == 2 and all(
        isinstance(i, int | np.integer) and 0 <= i < n for i, n in zip(patch, grid, strict=True)
    )
    if not fits:
        raise ValueError(
            f"`patch` must be the row and column of one of {shape.rows} x {shape.columns} patches, counted "
            f"from 0, or None for CLS; got {patch!r}"
        )
    row, column = patch
    return int(row * shape.columns + column)
