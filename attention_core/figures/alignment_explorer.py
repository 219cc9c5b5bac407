"""Alignment explorer: which source word is the decoder reading?"""

from collections.abc import Iterable, Mapping, Sequence
from html import escape
from numbers import Real

import ipywidgets as widgets
import numpy as np
import torch
import traitlets

from attention_core import normalizers
from attention_core.figures import base, static
from attention_core.figures.alignment_explorer_examples import (
    Example,
    again,
    answered,
    check,
    learned,
    provenance,
    sourced,
)
from attention_core.figures.ribbons import ribbons
from attention_core.figures.static import Markup, fixed, h, percent, section, setting, tidy

LOW, HIGH = -4, 4  # exponents of two: temperature 1/16 to 16
STEPS = (0.125, 0.25, 0.5, 1.0, 2.0)  # the finest that keeps the frames within budget is used


def soften(scores: np.ndarray, temperature: float) -> np.ndarray:
    """Weights of one alignment at one temperature, in float64."""
    logits = torch.from_numpy(np.array(scores, np.float64))  # a copy: torch warns of read-only arrays
    return normalizers.softmax(logits, temperature=temperature).numpy()


def describe(example, weights: np.ndarray, temperature: float, row: int) -> list[str]:
    """The sentence the view shows for one written row: see `describe` in alignment_explorer.js."""
    line = weights[row]
    best = int(line.argmax())
    ties = int((line[best] - line < 1e-9).sum())
    parts = [
        f"Step {row + 1}: {percent(line[best])} of the weight is on “{example.source[best]}” "
        f"as the decoder writes “{example.target[row]}”."
    ]
    if ties > 1:
        parts.append(f"{ties} words tie for the largest weight.")
    elif best != row:
        parts.append(
            f"Off the diagonal: word {row + 1} of the translation reads word {best + 1} of the source."
        )
    else:
        parts.append("On the diagonal: same place in both sentences.")
    if temperature != 1:
        does = "sharpens" if temperature < 1 else "flattens"
        parts.append(f"Temperature {tidy(temperature)} {does} {again(example)}.")
    return [*parts, provenance(example)]


class AlignmentView(base.View):
    _esm = base.module("alignment_explorer")
    _css = base.style("alignment_explorer")
    examples = traitlets.List().tag(sync=True)
    frames = traitlets.Bytes().tag(sync=True)  # float32, little endian: example, temperature, row, column
    grid = traitlets.Dict().tag(sync=True)  # the temperatures of the frames, as exponents of two
    example = traitlets.Int(0).tag(sync=True)
    temperature = traitlets.Float(1.0).tag(sync=True)
    step = traitlets.Int(1).tag(sync=True)
    steps = traitlets.Int(1).tag(sync=True)


class AlignmentExplorer(base.Figure):
    """Ribbons, matrix and recipe of a worked alignment, one decoder step after the other.

    Parameters
    ----------
    examples
        Worked alignments (`attention_core.datasets.worked_alignments()` by default), or a mapping of them.
    temperature
        Between 1/16 and 16; the scores are divided by it before the softmax.
    dropdown
        Whether the sentences stand in a list; where left out, if there are more than four.

    Your own sentence: `AlignmentExplorer.from_weights(source, target, weights)`, or `from_translator` for
    what a trained model makes of it.
    """

    translator, note = None, ""  # set by `from_translator`
    name = "alignment-explorer"
    title = "Alignment: which source word is the decoder reading?"
    question = "Step through the translation. Is the strongest weight always on the diagonal?"

    def __init__(
        self,
        examples: Mapping | Iterable | None = None,
        *,
        temperature: Real = 1.0,
        dropdown: bool | None = None,
    ):
        if examples is None:
            from attention_core import datasets  # only the default needs the data

            examples = datasets.worked_alignments()
        self.examples = list(examples.values() if isinstance(examples, Mapping) else examples)
        if not self.examples:
            raise ValueError("`examples` is empty; pass at least one worked alignment")
        for example in self.examples:
            check(example)
        base.between("temperature", temperature, 2.0**LOW, 2.0**HIGH)
        frames, listed, grid = self._frames()
        last = len(self.examples[0].target)
        view = AlignmentView(
            examples=listed, frames=frames, grid=grid, temperature=temperature, step=last, steps=last
        )
        listed_in = len(self.examples) > 4 if dropdown is None else dropdown
        chooser = widgets.Dropdown if listed_in else widgets.ToggleButtons
        self.sentence = chooser(options=[e.name for e in self.examples], index=0, description="Sentence")
        self.temperature = base.LogSlider(
            value=temperature, base=2, min=LOW, max=HIGH, step=grid["step"], description="Temperature",
            words=["sharper", "as is", "flatter"],
        )  # fmt: skip
        self.play = widgets.Play(value=last, min=1, max=last, interval=1200, description="Playback")
        self.step = widgets.IntSlider(value=last, min=1, max=last, description="Step")
        self.play.show_repeat = False
        super().__init__(view, [self.sentence, self.temperature], [self.play, self.step])
        self.link(self.sentence, "index", view, "example")
        self.link(self.temperature, "value", view, "temperature")
        self.link(self.step, "value", view, "step")
        self.link(self.play, "value", self.step, "value")
        self.link(self.play, "playing", view, "playing")
        self.link(view, "steps", self.step, "max")
        self.link(view, "steps", self.play, "max")
        self.sentence.observe(self._turn, "index")
        self.temperature.observe(self._compute, "value")
        self._compute()

    @classmethod
    def from_weights(
        cls,
        source: Iterable[str],
        target: Iterable[str],
        weights,
        *,
        name: str = "yours",
        temperature: Real = 1.0,
    ) -> "AlignmentExplorer":
        """Your own alignment: `weights` has one row a target word, each summing to 1."""
        array = base.finite("weights", weights, 2)
        if (array < 0).any() or not np.allclose(array.sum(axis=1), 1, atol=1e-6):
            raise ValueError(
                "`weights` must be non-negative with every row summing to 1; divide each row by its sum, "
                f"or pass scores to `from_scores`. Row sums: {array.sum(axis=1).round(4).tolist()}"
            )
        with np.errstate(divide="ignore"):  # a weight of 0 is a score of minus infinity
            return cls.from_scores(source, target, np.log(array), name=name, temperature=temperature)

    @classmethod
    def from_scores(
        cls,
        source: Iterable[str],
        target: Iterable[str],
        scores,
        *,
        name: str = "yours",
        temperature: Real = 1.0,
    ) -> "AlignmentExplorer":
        """Your own scores before the softmax; minus infinity where a word may not be read."""
        read = lambda words: tuple(words.split() if isinstance(words, str) else map(str, words))  # noqa: E731
        array = base.finite("scores", scores, 2)
        example = Example(name, read(source), read(target), np.empty(0), array)
        check(example)
        return cls([example], temperature=temperature)

    @classmethod
    def from_translator(
        cls,
        translator,
        sentences: str | Sequence[str],
        *,
        note: str | None = None,
        temperature: Real = 1.0,
    ) -> "AlignmentExplorer":
        """What a trained model attends to as it translates each sentence; a word it does not know is `<unk>`.

        Parameters
        ----------
        translator
            The name of a model that ships, such as "translator-additive", or a translator of your own; with
            attention whose rows sum to 1.
        sentences
            In English; one or several. In a running notebook `figure.add(sentence)` translates one more, and
            `figure.ask()` is the figure below a box to type one in.
        note
            Where the weights come from, in one sentence; for a model that ships, its card says so.
        temperature
            Of the picture: the model itself translates at temperature 1.
        """
        translator, told = sourced(translator)
        note = told if note is None else note
        texts = [sentences] if isinstance(sentences, str) else list(sentences)
        figure = cls(
            [learned(translator, text, note) for text in texts], temperature=temperature, dropdown=True
        )
        figure.translator, figure.note = translator, note
        return figure

    def add(self, sentence: str) -> Example:
        """Translate one more sentence and show it; for a figure made by `from_translator`."""
        if self.translator is None:
            raise ValueError("`add` needs a translator; make the figure with `from_translator`")
        names = [example.name for example in self.examples]
        if sentence not in names:
            self.examples.append(learned(self.translator, sentence, self.note))
            try:
                frames, listed, grid = self._frames()
            except ValueError:
                self.examples.pop()
                raise
            with self.view.hold_sync():
                self.view.frames, self.view.grid, self.view.examples = frames, grid, listed
            self.temperature.step = grid["step"]
            names.append(sentence)
            with self.sentence.hold_sync():
                self.sentence.options, self.sentence.index = names, len(names) - 1
        self.sentence.index = names.index(sentence)
        return self.example

    def ask(self) -> widgets.VBox:
        """The figure below a box for your own sentence. It needs a running kernel; a page cannot hold it."""
        box = widgets.Text(
            description="Your sentence", placeholder="in English, then Enter", continuous_update=False,
            style={"description_width": "initial"}, layout={"width": "min(100%, 32em)"},
        )  # fmt: skip
        answer = widgets.HTML()

        def reply(change: dict) -> None:
            if not change["new"].strip():
                return
            try:
                self.add(change["new"].strip())
            except (TypeError, ValueError) as error:
                answer.value = escape(str(error))
            else:
                answer.value = escape(answered(self.example))

        box.observe(reply, "value")
        return widgets.VBox([box, answer, self])

    @property
    def example(self):
        """The worked alignment that is showing."""
        return self.examples[self.sentence.index]

    @property
    def weights(self) -> np.ndarray:
        return soften(self.example.scores, self.temperature.value)

    def _frames(self) -> tuple[bytes, list[dict], dict]:
        """Every example at every temperature of the slider, as float32."""
        cells = sum(len(e.target) * len(e.source) for e in self.examples)
        for step in STEPS:
            count = int((HIGH - LOW) / step) + 1
            frames, size = count * len(self.examples), 4 * count * cells
            if frames <= base.MOST_FRAMES and size <= base.MOST_BYTES:
                break
        else:
            raise ValueError(f"`examples` holds {len(self.examples)} alignments, too many for one figure")
        chunks, listed, offset = [], [], 0
        for e in self.examples:
            for k in range(count):
                chunks.append(soften(e.scores, 2.0 ** (LOW + k * step)).astype("<f4").ravel())
            words = {"name": e.name, "source": list(e.source), "target": list(e.target)}
            told = {"provenance": provenance(e), "again": again(e)}
            listed.append({**words, **told, "offset": offset})
            offset += count * len(e.source) * len(e.target)
        return np.concatenate(chunks).tobytes(), listed, {"low": LOW, "step": step, "count": count}

    def _turn(self, _change: dict) -> None:
        """Another sentence has another number of steps; show it whole, unless the browser has done so."""
        last = len(self.example.target)
        if self.step.max != last:
            for control in (self.step, self.play):
                control.max = last
                control.value = last
            self.view.steps = last
        self._compute()

    def _compute(self, _change: dict | None = None) -> None:
        """With a kernel, the view draws these exact numbers in place of the nearest frame."""
        index, temperature = self.sentence.index, self.temperature.value
        self.view.exact = {"example": index, "temperature": temperature, "weights": self.weights.tolist()}

    def settle(self) -> None:
        self.view.example, self.view.temperature, self.view.step = (
            self.sentence.index,
            self.temperature.value,
            self.step.value,
        )

    def static_settings(self) -> Sequence[Markup]:
        temperature, names = self.temperature.value, [example.name for example in self.examples]
        word = self.temperature.words[0 if temperature < 1 else 2 if temperature > 1 else 1]
        sentence = (
            static.choices("Sentence", names, self.sentence.index)
            if isinstance(self.sentence, widgets.ToggleButtons)
            else setting("Sentence", self.example.name, "pa-dropdown")
        )
        return sentence, setting("Temperature", f"{tidy(temperature)} · {word}")

    def static_transport(self) -> Sequence[Markup]:
        return (setting("Step", f"{self.step.value} of {self.step.max}"),)

    def static_body(self) -> Sequence[Markup]:
        example, weights, written = self.example, self.weights, self.step.value
        wide = ".pa-wide" if len(example.source) > 6 else ""
        legend = h("div.pa-legend", "0", h("span"), "1", aria_hidden="true")
        grid = static.matrix(example.target, example.source, weights, written)
        recipe = recipe_of(example.source, weights[written - 1], written)
        return (
            section(
                "flow" + wide, "Flow of attention (ribbon width = weight)", flow(example, weights, written)
            ),
            section("matrix" + wide, "Attention weights (each row sums to 1)", grid, legend),
            section("detail", "Recipe for the context vector", *recipe),
            static.sentence(describe(example, weights, self.temperature.value, written - 1)),
        )


# -- parts of the static picture: see alignment_explorer.js ------------------------------------------------


def flow(example, weights: np.ndarray, written: int) -> Markup:
    """Words above, translation below, and the ribbons of the rows written so far."""
    state = [".pa-unwritten" if r >= written else "" for r in range(len(example.target))]
    state[written - 1] = ".pa-current"
    paths = []
    for r, line in enumerate(ribbons(weights)[:written]):
        kind, opacity = ("pa-on", 0.94) if r == written - 1 else ("pa-off", 0.2)
        for d, w in zip(line, weights[r], strict=True):
            if w >= 0.0005:
                paths.append(h(f"path.{kind}", d=d, style=f"fill: {static.ramp(w)}; opacity: {opacity}"))
    columns = max(weights.shape)
    box = h(
        "div.pa-flowbox",
        h("div.pa-chips", *(h("span.pa-chip", word) for word in example.source)),
        h("svg.pa-ribbons", *paths, viewBox="0 0 1000 100", preserveAspectRatio="none"),
        h(
            "div.pa-chips",
            *(h(f"span.pa-chip{css}", w) for w, css in zip(example.target, state, strict=True)),
        ),
        aria_hidden="true",
        style=f"--columns: {columns}",
    )
    return static.scroll(box, columns > 3)


def recipe_of(source: Sequence[str], row: np.ndarray, step: int) -> tuple[Markup, Markup]:
    """The context vector as a bar of its ingredients, and as a sum."""
    parts = [
        h(
            "span.pa-part",
            f"{word} {percent(w)}" if w >= 0.18 else "",
            style=f"flex-grow: {w:.6f}; {static.paint(w)}",
        )
        for word, w in zip(source, row, strict=True)
    ]
    terms = " + ".join(f"{fixed(w)}\u00a0h({word})" for word, w in zip(source, row, strict=True))
    formula = h("p.pa-formula", h("i", "c"), h("sub", step), f" = {terms}")
    return h("div.pa-recipe", *parts, aria_hidden="true"), formula
