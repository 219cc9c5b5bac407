"""Head picker: what does each head of a translator read?"""

from collections.abc import Iterable, Sequence

import ipywidgets as widgets
import numpy as np
import traitlets

from attention_core.figures import base, static
from attention_core.figures import head_picker_static as drawing
from attention_core.figures.head_picker_static import Fact
from attention_core.figures.head_picker_values import Read, read
from attention_core.figures.scenes import titled
from attention_core.figures.static import Markup
from attention_core.models.transformer import PARTS, Reading, Transformer

SCALE = 4095  # steps of a weight as it travels: as fine as 65535 to the eye, and lighter


class HeadPickerView(base.View):
    _esm = base.module("head_picker")
    _css = base.style("head_picker")
    shape = traitlets.Dict().tag(sync=True)
    sentences = traitlets.List().tag(sync=True)
    # uint16, all low bytes before all high ones: sentence, part, layer, head, row, column
    frames = traitlets.Bytes().tag(sync=True)
    example = traitlets.Int(0).tag(sync=True)
    part = traitlets.Int(0).tag(sync=True)
    layer = traitlets.Int(0).tag(sync=True)  # from 0; the view writes it too, as it does `head`
    head = traitlets.Int(0).tag(sync=True)


class HeadPicker(base.Figure):
    """All heads of a transformer on one sentence, small; one of them large, and a word's weights as ribbons.

    Parameters
    ----------
    model
        A `models.Transformer`, or the name of one that ships; "transformer-en-fr" by default.
    text
        A sentence in English, which the model translates, or several; or what `model.read` made of one, for
        instance with a translation of your own. A few of the book's by default.
    part
        "encoder", "decoder" (its attention to what it has written) or "cross".
    layer, head
        From 0.
    """

    name = "head-picker"
    title = "Heads of a translator: what does each head read?"
    question = "Point at a head. Which one looks one word back, and which finds the word to translate?"

    def __init__(
        self,
        model: Transformer | str | None = None,
        text: str | Reading | Iterable[str | Reading] | None = None,
        *,
        part: str = "cross",
        layer: int = 0,
        head: int = 0,
    ):
        if part not in PARTS:
            raise ValueError(f"`part` must be one of {', '.join(PARTS)}; got {part!r}")
        self.sentences = read(model, text)
        layers, heads = self.sentences[0].weights[part].shape[:2]
        frames, offsets = packed(self.sentences)
        self.sentence = widgets.Dropdown(
            options=titled([each.name for each in self.sentences]), index=0, description="Sentence"
        )
        self.part = widgets.ToggleButtons(
            options=list(PARTS), index=PARTS.index(part), description="Attention"
        )
        view = HeadPickerView(
            shape={"layers": layers, "heads": heads, "scale": SCALE}, frames=frames,
            sentences=[each.sent(at) for each, at in zip(self.sentences, offsets, strict=True)],
        )  # fmt: skip
        super().__init__(view, [*([self.sentence] if self.sentences[1:] else []), self.part])
        self.layer, self.head = layer, head
        if self.sentences[1:]:
            self.link(self.sentence, "index", view, "example")
        self.link(self.part, "index", view, "part")
        for control in (self.sentence, self.part):
            control.observe(self._compute, "index")
        self.settle()
        self._compute()

    @property
    def layer(self) -> int:
        """The layer of the head that is shown, from 0; readers choose it among the small pictures."""
        return self.view.layer

    @layer.setter
    def layer(self, layer: int) -> None:
        self.view.layer = base.whole("layer", layer, 0, self.view.shape["layers"] - 1)

    @property
    def head(self) -> int:
        """The head that is shown, from 0."""
        return self.view.head

    @head.setter
    def head(self, head: int) -> None:
        self.view.head = base.whole("head", head, 0, self.view.shape["heads"] - 1)

    @property
    def read(self) -> Read:
        """The sentence that is shown: its words, and the weights of all heads by part."""
        return self.sentences[self.sentence.index]

    @property
    def weights(self) -> np.ndarray:
        """(rows, columns) of the head that is shown: row i is what word i reads, and sums to 1.

        Row i of the decoder writes word i of the translation; its column 0 is `<s>`, column j word j - 1.
        """
        return self.read.weights[self.part.value][self.layer, self.head]

    @property
    def facts(self) -> list[Fact]:
        """Where the head's weight is over the whole sentence."""
        return drawing.measure(self.weights, self.part.value, self.read.links)

    def _compute(self, _change: dict | None = None) -> None:
        """With a kernel, the view draws these exact numbers in place of the frames."""
        rows = self.read.weights[self.part.value].astype("<f4").tobytes()
        self.view.exact = {"state": [self.sentence.index, self.part.index], "rows": rows}

    def settle(self) -> None:
        self.view.example, self.view.part = self.sentence.index, self.part.index

    def static_settings(self) -> Sequence[Markup]:
        sentence = static.setting("Sentence", self.sentence.value, "pa-dropdown")
        part = static.choices(self.part.description, PARTS, self.part.index)
        return (*([sentence] if self.sentences[1:] else []), part)

    def static_body(self) -> Sequence[Markup]:
        return drawing.body(self.read, self.part.value, self.layer, self.head)


def packed(sentences: Sequence[Read]) -> tuple[bytes, list[int]]:
    """All weights as they travel, and at which of them each sentence begins."""
    flat = [[each.weights[part].ravel() for part in PARTS] for each in sentences]
    sizes = [sum(map(len, parts)) for parts in flat]
    count = sum(np.prod(each.weights[part].shape[:2]) for each in sentences for part in PARTS)
    if count > base.MOST_FRAMES or 2 * sum(sizes) > base.MOST_BYTES:
        raise ValueError(
            f"`text` holds {len(sentences)} sentences, whose {count} matrices are too many for one figure "
            f"(at most {base.MOST_FRAMES}, and {base.MOST_BYTES // 1000} kB). Show fewer."
        )
    steps = np.rint(np.concatenate([part for parts in flat for part in parts]) * SCALE).astype("<u2")
    bytes_ = steps.reshape(-1, 1).view(np.uint8).T.tobytes()  # low and high apart, they compress better
    return bytes_, [0, *np.cumsum(sizes).tolist()[:-1]]
