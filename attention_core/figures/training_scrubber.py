"""Training scrubber: when, in the course of training, does the alignment appear?"""

from collections.abc import Mapping, Sequence
from itertools import islice
from numbers import Real

import ipywidgets as widgets
import numpy as np
import traitlets

from attention_core.figures import base, static
from attention_core.figures import training_scrubber_static as drawing
from attention_core.figures.static import Markup
from attention_core.figures.training_scrubber_runs import (
    fetch,
    listed,
    nearest,
    read,
    scaled,
    shared,
    within_budget,
)
from attention_core.figures.training_scrubber_static import EMERGENT, GOLD, GUIDED


class TrainingScrubberView(base.View):
    _esm = base.module("training_scrubber")
    _css = base.style("training_scrubber")
    runs = traitlets.List().tag(sync=True)  # a dict a run: kind, steps, losses, error rates, curves
    sentences = traitlets.List().tag(sync=True)  # a dict a sentence: tokens, gold links and rows
    frames = traitlets.Bytes().tag(sync=True)  # float32, little endian: run, checkpoint, sentence, cell
    scale = traitlets.Dict().tag(sync=True)
    words = traitlets.Dict().tag(sync=True)
    training = traitlets.Int(0).tag(sync=True)  # a place in `runs`, or one further: gold
    sentence = traitlets.Int(0).tag(sync=True)
    step = traitlets.Int(1).tag(sync=True)
    steps = traitlets.Int(1).tag(sync=True)


class TrainingScrubber(base.Figure):
    """One sentence's alignment at every checkpoint of a training run, beside the loss and the error rate.

    Parameters
    ----------
    emergent
        The trace of a run that saw sentences and translations only, or the name of a model that ships;
        "translator-additive" where both runs are left out. A trace is what `models.trace` gives and
        `models.train --trace` writes: its arrays `updates`, `train_loss`, `validation_loss` and `aer` have an
        entry a checkpoint, and `sentences[name].weights` is (checkpoints, target, source).
    guided
        The trace or name of a run that was trained on gold links too. It is never shown under another name.
    gold
        The sentences with their links, by name; as many of `datasets.showcase()` as fit where left out.
    baselines
        Alignment error rates to compare with, by name: grey lines.
    sentence
        The name of the one to begin with; the first by default.
    """

    name = "training-scrubber"
    title = "Training: when does the alignment appear?"
    question = "Drag through the training. Which is learned first: what to write, or where to read?"

    def __init__(
        self,
        emergent: object = None,
        guided: object = None,
        *,
        gold: Mapping | None = None,
        baselines: Mapping[str, Real] | None = None,
        sentence: str | None = None,
    ):
        if emergent is None and guided is None:
            emergent, guided = "translator-additive", "translator-guided"
        given = {kind: trace for kind, trace in ((EMERGENT, emergent), (GUIDED, guided)) if trace is not None}
        traces = {kind: fetch(kind, trace) for kind, trace in given.items()}
        if gold is None:
            from attention_core import datasets

            room = base.MOST_FRAMES // sum(len(trace.updates) for trace in traces.values())
            gold = dict(islice(datasets.showcase().items(), room))
        names = shared(traces, gold)
        self.sentences = [listed(name, gold[name]) for name in names]
        self.runs = [read(kind, trace, self.sentences) for kind, trace in traces.items()]
        within_budget(self.runs, self.sentences)
        for rate in (baselines or {}).values():
            base.between("baselines", rate, 0.0, 1.0)
        self.scale = scaled(self.runs, dict(baselines or {}))
        if sentence is not None and sentence not in names:
            raise ValueError(f"`sentence` must be one of {', '.join(map(repr, names))}; got {sentence!r}")
        start = 0 if sentence is None else names.index(sentence)
        last = len(self.runs[0]["steps"])
        kinds = [*(run["kind"] for run in self.runs), GOLD]
        self.training = widgets.ToggleButtons(options=kinds, index=0, description="Alignment")
        self.sentence = widgets.Dropdown(options=names, index=start, description="Sentence")
        self.play = widgets.Play(value=last, min=1, max=last, interval=500, description="Playback")
        self.play.show_repeat = False
        self.step = widgets.IntSlider(value=last, min=1, max=last, description="Stage")
        view = TrainingScrubberView(words=drawing.WORDS, scale=self.scale, **self._packed())
        super().__init__(view, [self.training, self.sentence], [self.play, self.step])
        self.link(self.training, "index", view, "training")
        self.link(self.sentence, "index", view, "sentence")
        self.link(self.step, "value", view, "step")
        self.link(self.play, "value", self.step, "value")
        self.link(self.play, "playing", view, "playing")
        self.link(view, "steps", self.step, "max")
        self.link(view, "steps", self.play, "max")
        self._shown = self.run
        self.training.observe(self._turn, "index")
        for control, trait in ((self.sentence, "index"), (self.step, "value")):
            control.observe(self._compute, trait)
        self.settle()
        self._compute()

    @property
    def run(self) -> dict:
        """The run that is showing; for gold, the first, which its marker follows."""
        return self.runs[self.training.index % len(self.runs)]

    @property
    def checkpoint(self) -> dict[str, object]:
        """What was measured at the checkpoint that is showing: updates, train_loss, validation_loss, aer."""
        keys = {"updates": "steps", "train_loss": "train", "validation_loss": "validation", "aer": "aer"}
        return {name: self.run[key][self._at] for name, key in keys.items()}

    @property
    def weights(self) -> np.ndarray:
        """(target, source) of the present sentence, `</s>` last on both; for gold, rows from links."""
        if self.training.value == GOLD:
            return np.array(self.sentences[self.sentence.index]["gold"])
        return self.run["weights"][self._at][self.sentence.index]

    @property
    def _at(self) -> int:
        return min(self.step.value, len(self.run["steps"])) - 1

    def _packed(self) -> dict[str, object]:
        """Runs, sentences and matrices as the view reads them."""
        size = sum(len(s["target"]) * len(s["source"]) for s in self.sentences)
        offsets = np.cumsum([0, *(size * len(run["steps"]) for run in self.runs)])
        runs = [
            {key: value for key, value in run.items() if key != "weights"}
            | {"offset": int(offset), "size": size}
            for run, offset in zip(self.runs, offsets[:-1], strict=True)
        ]
        flat = [w.ravel() for run in self.runs for checkpoint in run["weights"] for w in checkpoint]
        return {
            "runs": runs,
            "sentences": self.sentences,
            "frames": np.concatenate(flat).astype("<f4").tobytes(),
        }

    def _turn(self, _change: dict) -> None:
        """Another run has checkpoints of its own: go to the nearest update, as the browser does."""
        step, last = nearest(self._shown, self.step.value, self.run), len(self.run["steps"])
        self._shown = self.run
        for control in (self.step, self.play):
            control.max = last
            control.value = step
        self.view.steps = last
        self._compute()

    def _compute(self, _change: dict | None = None) -> None:
        """With a kernel, the view draws these exact numbers in place of the frame."""
        at = {"training": self.training.index, "sentence": self.sentence.index, "step": self._at + 1}
        self.view.exact = {**at, "weights": self.weights.tolist()}

    def settle(self) -> None:
        view = self.view
        view.training, view.sentence = self.training.index, self.sentence.index
        view.step, view.steps = self.step.value, self.step.max

    def static_settings(self) -> Sequence[Markup]:
        kinds = list(self.training.options)
        return (
            static.choices("Alignment", kinds, self.training.index),
            static.setting("Sentence", self.sentence.value, "pa-dropdown"),
        )

    def static_transport(self) -> Sequence[Markup]:
        return (static.setting("Stage", f"{self.step.value} of {self.step.max}"),)

    def static_body(self) -> Sequence[Markup]:
        return drawing.body(self.scene())

    def scene(self) -> drawing.Scene:
        """All that the present picture shows."""
        index = self.sentence.index
        return drawing.Scene(
            run=self.run, runs=self.runs, kind=self.training.value, at=self._at, index=index,
            sentence=self.sentences[index], weights=self.weights, scale=self.scale,
        )  # fmt: skip
