"""Rollout: what reaches CLS through all layers of a vision transformer?"""

from collections.abc import Sequence
from numbers import Real

import ipywidgets as widgets
import numpy as np
import torch
import traitlets
from torch import Tensor, nn

from attention_core import explain
from attention_core.datasets.shapes import Scenes
from attention_core.explain.attention import raw, rollout
from attention_core.figures import base, maps, scenes, static
from attention_core.figures import rollout_static as drawing
from attention_core.figures.static import Markup, fixed

SCALE = 65535  # steps of a weight as it travels
SHARES = 11  # residual shares for which frames travel: 0 to 1


class RolloutView(base.View):
    _esm = base.module("rollout")
    _css = base.style("rollout")
    shape = traitlets.Dict().tag(sync=True)
    pictures = traitlets.Bytes().tag(sync=True)  # uint8: image, row, column, colour
    size = traitlets.List(traitlets.Int()).tag(sync=True)  # height and width of each
    frames = traitlets.Bytes().tag(sync=True)  # uint16, little endian, of CLS: image, rows, key
    objects = traitlets.List().tag(sync=True)  # of each image what it shows and where, or null
    tops = traitlets.List().tag(sync=True)  # of each image and depth the weight with the deepest colour
    image = traitlets.Int(0).tag(sync=True)
    depth = traitlets.Int(0).tag(sync=True)
    residual = traitlets.Float(0.5).tag(sync=True)


class Rollout(base.Figure):
    """Attention rollout of CLS (Abnar and Zuidema, 2020) over the picture, beside raw attention.

    Parameters
    ----------
    model
        A `models.ViT`, or an image classifier of `transformers` as `explain.capture` takes it; "shapes-vit"
        by default.
    images
        A batch as the model takes it, or `datasets.Scenes`, of which it is known what they show. Four scenes
        by default.
    image
        Which of them to begin with.
    depth
        How many layers are composed, from the first on; none gives the identity.
    residual
        The share of each token that goes past attention, 0 to 1; 1 gives the identity.
    """

    name = "rollout"
    title = "Rollout: what reaches CLS through all layers?"
    question = "Add layer after layer, then raise the residual share. What becomes of the map?"

    def __init__(
        self,
        model: nn.Module | None = None,
        images: Tensor | Scenes | None = None,
        *,
        image: int = 0,
        depth: int = 4,
        residual: Real = 0.5,
    ):
        images = scenes.drawn(4) if images is None else images
        tensor = scenes.tensor_of(images)
        with torch.no_grad():
            seen = explain.capture(scenes.shipped() if model is None else model, tensor)
        self._stacked = seen.stacked().detach().cpu().double()  # (images, layers, heads, tokens, tokens)
        self.objects = scenes.objects_of(images, seen.grid)
        count, self.layers, _, self.tokens, _ = self._stacked.shape
        self.grid, self.prefix = seen.grid, seen.prefix
        base.whole("image", image, 0, count - 1)
        base.whole("depth", depth, 0, self.layers)
        base.between("residual", residual, 0.0, 1.0)
        self._pictures = maps.rgb(tensor)
        self.image = widgets.Dropdown(options=scenes.titles(self.objects), index=image, description="Picture")
        self.depth = widgets.IntSlider(value=depth, min=0, max=self.layers, description="Layers")
        self.residual = widgets.FloatSlider(
            value=residual, min=0, max=1, step=0.1, readout_format=".1f", description="Residual share"
        )
        shape = dict(
            layers=self.layers, rows=self.grid[0], columns=self.grid[1], prefix=self.prefix,
            tokens=self.tokens, scale=SCALE, shares=SHARES,
        )  # fmt: skip
        view = RolloutView(
            shape=shape, frames=self._packed(), tops=self.tops, pictures=self._pictures.tobytes(),
            size=list(self._pictures.shape[1:3]), objects=[thing and thing.sent() for thing in self.objects],
        )  # fmt: skip
        super().__init__(view, [*([self.image] if count > 1 else []), self.depth, self.residual])
        if count > 1:
            self.link(self.image, "index", view, "image")
        self.link(self.depth, "value", view, "depth")
        self.link(self.residual, "value", view, "residual")
        for control, trait in ((self.image, "index"), (self.residual, "value")):
            control.observe(self._compute, trait)
        self.settle()
        self._compute()

    @property
    def weights(self) -> np.ndarray:
        """(tokens,): the row of CLS in the rollout, patches row by row after the `prefix`. They sum to 1."""
        return self._rolled(self.image.index, self.residual.value)[self.depth.value]

    @property
    def raw(self) -> np.ndarray:
        """(tokens,): what CLS attends to in the last of these layers, the mean of its heads."""
        return self._alone(self.image.index)[self.depth.value]

    @property
    def matrix(self) -> np.ndarray:
        """(tokens, tokens): the whole rollout."""
        chosen = self._stacked[[self.image.index], : self.depth.value]
        if not self.depth.value:
            return np.eye(self.tokens)
        return rollout(chosen, self.residual.value)[0].numpy()

    def _rolled(self, image: int, residual: Real) -> np.ndarray:
        """(layers + 1, tokens): the row of CLS at each depth."""
        stacked = self._stacked[[image]]
        rows = [rollout(stacked[:, :depth], residual)[0, 0].numpy() for depth in range(1, self.layers + 1)]
        return np.stack([np.eye(self.tokens)[0], *rows])

    def _alone(self, image: int) -> np.ndarray:
        """(layers + 1, tokens): the row of CLS in each layer; before the first it has only itself."""
        rows = raw(self._stacked[image])[:, 0].numpy()
        return np.concatenate([np.eye(self.tokens)[:1], rows])

    def _packed(self) -> bytes:
        """Of each image the layers by themselves, then rollout: share by share, at each depth."""
        count = len(self._stacked)
        size = 2 * count * (self.layers + SHARES * (self.layers + 1)) * self.tokens
        if size > base.MOST_BYTES - self._pictures.nbytes:
            raise ValueError(
                f"`images` holds {count}, whose frames are too much for one figure ({size // 1000} kB and "
                f"the pictures; {base.MOST_BYTES // 1000} kB is the most). Show fewer."
            )
        parts, self.tops = [], []
        for image in range(count):
            alone = self._alone(image)
            rolled = [self._rolled(image, k / (SHARES - 1)) for k in range(SHARES)]
            parts += [alone[1:], *rolled]
            self.tops.append(np.stack([alone, *rolled])[..., self.prefix :].max((0, 2)).tolist())
        return np.rint(np.concatenate(parts) * SCALE).astype("<u2").tobytes()

    def _compute(self, _change: dict | None = None) -> None:
        """With a kernel, the view draws these exact numbers in place of the frames."""
        image, residual = self.image.index, self.residual.value
        rows = np.concatenate([self._rolled(image, residual), self._alone(image)[1:]])
        self.view.exact = {"state": [image, residual], "rows": rows.astype("<f4").tobytes()}

    def settle(self) -> None:
        self.view.image, self.view.depth = self.image.index, self.depth.value
        self.view.residual = self.residual.value

    def static_settings(self) -> Sequence[Markup]:
        picture = static.setting("Picture", self.image.value, "pa-dropdown")
        return (
            *([picture] if len(self.objects) > 1 else []),
            static.setting(self.depth.description, str(self.depth.value)),
            static.setting(self.residual.description, fixed(self.residual.value, 1)),
        )

    def static_body(self) -> Sequence[Markup]:
        image, depth = self.image.index, self.depth.value
        objects, top = self.objects[image], self.tops[image][depth]
        rolled, alone = self._rolled(image, self.residual.value), self._alone(image)
        facts = [drawing.measure(rows[depth], self.prefix, objects) for rows in (rolled, alone)]
        patches = [rows[:, self.prefix :].reshape(-1, *self.grid) for rows in (rolled, alone)]
        said = drawing.describe(
            *facts, depth, self.residual.value, self.tokens - self.prefix, self.prefix, objects
        )
        return (
            *drawing.boards(self._pictures[image], *(maps_[depth] for maps_ in patches), top, depth, objects),
            drawing.thumbnails(*(maps_[1:] for maps_ in patches), depth),
            static.sentence(said),
        )
