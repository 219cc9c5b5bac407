"""Outer-product memory: how many pairs can a matrix hold, and what happens when a key is written twice?"""

from collections.abc import Sequence
from itertools import product
from numbers import Real

import ipywidgets as widgets
import numpy as np
import torch
import traitlets
from torch import Tensor

from attention_core.figures import base, static
from attention_core.figures import outer_product_memory_static as drawing
from attention_core.figures.outer_product_memory_runs import (
    RULES,
    Answers,
    Pairs,
    Run,
    draw,
    measure,
    same_keys,
    write,
)
from attention_core.figures.outer_product_memory_words import WORDS
from attention_core.figures.static import Markup

WIDTHS = (4, 8, 16)
KINDS, TASKS = ("random", "orthogonal"), ("overload", "rebind")
LABELS = ("sum", "delta", "gated")
WIDE = 8  # of the values that are drawn
LEAST, MOST, WIDEST = 2, 24, 16


class OuterProductMemoryView(base.View):
    _esm = base.module("outer_product_memory")
    _css = base.style("outer_product_memory")
    # pairs, width of a value, decay, top of the colours; of every scene (width, kind, task) its width and ids
    shape = traitlets.Dict().tag(sync=True)
    # float32, little endian: values; then of every scene its keys, and what each rule writes
    numbers = traitlets.Bytes().tag(sync=True)
    words = traitlets.Dict().tag(sync=True)
    task = traitlets.Int(0).tag(sync=True)
    kind = traitlets.Int(0).tag(sync=True)
    rule = traitlets.Int(0).tag(sync=True)
    size = traitlets.Int(1).tag(sync=True)
    step = traitlets.Int(0).tag(sync=True)


class OuterProductMemory(base.Figure):
    r"""Pairs of key and value written into one matrix, a pair at a time, and what it answers to every key.

    "sum" is $S_t = S_{t-1} + k_t v_t^\top$ (`linear.fast_weights`), "delta" takes out what the memory answers
    to the key before it writes (`linear.delta_rule`, $\beta = 1$), and "gated" lets the memory decay first
    (`linear.gated_delta_rule`). All keys have length 1; asked with k, the memory answers $S^\top k$.

    Parameters
    ----------
    keys
        "random" directions, or "orthogonal": as many as the memory is wide, then another such set. Or your
        own, (n, d): 2 to 24 of length 1, at most 16 wide; equal rows are one key written again.
    values
        (n, dv), at most 16 wide, none of them 0, for keys of your own. Else random ones, 8 wide.
    width
        4, 8 or 16: that of the keys that are drawn.
    pairs
        2 to 24 of them are drawn.
    rule
        "sum", "delta" or "gated".
    task
        "overload": every key is new. "rebind": half as many keys as the memory is wide come in turn, again
        and again, each time with a new value.
    step
        How many pairs are written at first; 12 by default, or all if they are fewer.
    decay
        What a write by "gated" leaves of the memory, 0 to 1.
    seed
        Of the pairs that are drawn.
    """

    name = "outer-product-memory"
    title = "A matrix as memory: written pair by pair, read by a key"
    question = (
        "How many pairs can the matrix hold before its answers blur? What does it say when a key is written "
        "a second time?"
    )

    def __init__(
        self,
        keys: object = "random",
        values: object = None,
        *,
        width: int = 8,
        pairs: int = 24,
        rule: str = "sum",
        task: str = "overload",
        step: int | None = None,
        decay: Real = 0.9,
        seed: int = 0,
    ):
        _among("rule", rule, RULES)
        _among("task", task, TASKS)
        self.decay = base.between("decay", decay, 0.0, 1.0)
        self.own = not isinstance(keys, str)
        if self.own:
            scenes = [checked(keys, values)]
        else:
            _among("keys", keys, KINDS, "; or give a matrix (n, d) and `values`")
            if values is not None:
                raise ValueError("`values` go with keys of your own: give a matrix (n, d) as `keys` too")
            base.whole("pairs", pairs, LEAST, MOST)
            if width not in WIDTHS:
                raise ValueError(f"`width` must be one of 4, 8 and 16; got {width!r}")
            scenes = [
                draw(pairs, d, WIDE, kind == "orthogonal", t == "rebind", seed)
                for d, kind, t in product(WIDTHS, KINDS, TASKS)
            ]
        self.runs = [[write(scene, each, self.decay) for each in RULES] for scene in scenes]
        self.pairs = len(scenes[0].key)
        start = min(12, self.pairs) if step is None else base.whole("step", step, 0, self.pairs)

        self.task = _toggles("Task", TASKS, task)
        self.kind = _toggles("Keys", KINDS, "random" if self.own else keys)
        self.size = widgets.ToggleButtons(
            options=[(str(d), d) for d in WIDTHS], value=WIDTHS[1] if self.own else width, description="Width"
        )
        self.rule = _toggles("Rule", RULES, rule)
        self.play = widgets.Play(value=start, min=0, max=self.pairs, interval=900, description="Playback")
        self.play.show_repeat = False
        self.step = widgets.IntSlider(value=start, min=0, max=self.pairs, description="Pairs written")
        self._settings = [self.rule] if self.own else [self.task, self.kind, self.rule, self.size]
        view = OuterProductMemoryView(shape=self._shape(scenes), numbers=self._packed(), words=WORDS)
        super().__init__(view, self._settings, [self.play, self.step])
        for control, name in (
            (self.task, "task"),
            (self.kind, "kind"),
            (self.rule, "rule"),
            (self.size, "size"),
        ):
            if control in self._settings:
                self.link(control, "index", view, name)
        self.link(self.step, "value", view, "step")
        self.link(self.play, "value", self.step, "value")
        self.link(self.play, "playing", view, "playing")
        self.settle()

    # -- what can be read from Python --------------------------------------------------------------------

    @property
    def run(self) -> Run:
        """The rule's way through the pairs that the controls name."""
        return self._by_rule[self.rule.index]

    @property
    def key(self) -> np.ndarray:
        """(n, d): all keys, in the order in which they are written."""
        return self.run.pairs.key.numpy()

    @property
    def value(self) -> np.ndarray:
        """(n, dv): all values."""
        return self.run.pairs.value.numpy()

    @property
    def memory(self) -> np.ndarray:
        """(d, dv): the matrix after the writes so far."""
        return self.run.states[self.step.value]

    weights = memory

    @property
    def answers(self) -> np.ndarray:
        """(t, dv): what the memory answers to each key that has been written."""
        return self.measured.answers

    @property
    def measured(self) -> Answers:
        """The answers, their cosines and errors, and which are right."""
        return measure(self.run, self.step.value)

    # -- joining -----------------------------------------------------------------------------------------

    @property
    def _by_rule(self) -> list[Run]:
        if self.own:
            return self.runs[0]
        return self.runs[(self.size.index * 2 + self.kind.index) * 2 + self.task.index]

    def _shape(self, scenes: Sequence[Pairs]) -> dict:
        top = 1.0
        if self.own:
            top = float(f"{max(1.0, float(scenes[0].value.abs().max())):.2g}")
        self._top = top
        return dict(
            pairs=self.pairs, wide=scenes[0].value.shape[1], widths=[s.key.shape[1] for s in scenes],
            decay=self.decay, top=top, ids=[list(scene.ids) for scene in scenes],
        )  # fmt: skip

    def _packed(self) -> bytes:
        arrays = [self.runs[0][0].pairs.value.numpy()]
        for by_rule in self.runs:
            arrays += [by_rule[0].pairs.key.numpy(), *(run.written for run in by_rule)]
        return base.float32(arrays)

    def settle(self) -> None:
        self.view.task, self.view.kind = self.task.index, self.kind.index
        self.view.rule, self.view.size = self.rule.index, self.size.index
        self.view.step = self.step.value

    def static_settings(self) -> Sequence[Markup]:
        return [
            static.choices(control.description, [label for label, _ in control._options_full], control.index)
            for control in self._settings
        ]

    def static_transport(self) -> Sequence[Markup]:
        return (static.setting(self.step.description, str(self.step.value)),)

    def static_body(self) -> Sequence[Markup]:
        scene = drawing.Scene(self._by_rule, self.rule.index, self.step.value, self.decay, self._top)
        return drawing.body(scene)


def _toggles(name: str, options: Sequence[str], chosen: str) -> widgets.ToggleButtons:
    return widgets.ToggleButtons(options=list(options), value=chosen, description=name)


def _among(name: str, value: object, options: Sequence[str], extra: str = "") -> None:
    if value not in options:
        raise ValueError(f"`{name}` must be one of {', '.join(map(repr, options))}{extra}; got {value!r}")


def checked(keys: object, values: object) -> Pairs:
    """Pairs of the reader's own."""
    if values is None:
        raise ValueError("`keys` of your own need `values`, one a key: a matrix (n, dv)")
    key, value = (_matrix(name, given) for name, given in (("keys", keys), ("values", values)))
    if not LEAST <= len(key) <= MOST:
        raise ValueError(f"`keys` must be {LEAST} to {MOST}, a row each; got {len(key)}")
    if len(key) != len(value):
        raise ValueError(f"`values` must be as many as `keys`, {len(key)}; got {len(value)}")
    lengths = key.norm(dim=-1)
    if (off := (lengths - 1).abs()).max() > 1e-4:
        row = int(off.argmax())
        raise ValueError(
            f"`keys` must have length 1, so that a write at full strength is exact; row {row} has "
            f"{lengths[row]:.3g}. Divide: keys / keys.norm(dim=-1, keepdim=True)"
        )
    if (gone := value.norm(dim=-1) == 0).any():
        row = int(gone.int().argmax())
        raise ValueError(f"`values` must not be 0, as errors are relative to their length; row {row} is")
    key = key / lengths[:, None]
    return Pairs(key, value, same_keys(key))


def _matrix(name: str, given: object) -> Tensor:
    if isinstance(given, Tensor):
        given = given.detach().cpu().double().numpy()
    array = base.finite(name, given, 2)
    if array.shape[1] > WIDEST:
        raise ValueError(f"`{name}` can be at most {WIDEST} wide here; got {array.shape[1]}")
    if np.isinf(array).any():
        raise ValueError(f"`{name}` must be finite; replace NaN and infinity before drawing")
    return torch.from_numpy(array)
