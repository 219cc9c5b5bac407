"""Flash tiling: which tile size moves the fewest bytes, and does the answer stay exact?"""

from collections.abc import Sequence

import ipywidgets as widgets
import numpy as np
import traitlets

from attention_core.figures import base, static
from attention_core.figures import flash_tiling_static as drawing
from attention_core.figures.static import Markup
from attention_core.figures.tiling_runs import (
    KERNELS,
    TILES,
    Inputs,
    Run,
    Step,
    Traffic,
    exact,
    record,
    telling,
)

LEAST, MOST, WIDEST = 2, 64, 64  # tokens, and width of a vector
COARSE = 65535  # scores and weights travel as 16 bits


class FlashTilingView(base.View):
    _esm = base.module("flash_tiling")
    _css = base.style("flash_tiling")
    size = traitlets.List().tag(sync=True)  # n, m
    runs = traitlets.List().tag(sync=True)  # kernel, tile, causal: see `_packed`
    # int32, little endian, eight a step: phase, first and last row and column (the last not included), bytes
    # loaded and stored, and the query to look at
    table = traitlets.Bytes().tag(sync=True)
    statistics = traitlets.Bytes().tag(sync=True)  # float64: maximum, total of each query of each step
    scores = traitlets.Bytes().tag(sync=True)  # uint16, n x m: a score is scale[0] + scale[1] * byte pair
    scale = traitlets.List().tag(sync=True)
    weights = traitlets.Bytes().tag(sync=True)  # uint16, without a mask and with it: 65535 is a weight of 1
    words = traitlets.Dict().tag(sync=True)
    kernel = traitlets.Int(1).tag(sync=True)
    tile = traitlets.Int(1).tag(sync=True)
    causal = traitlets.Bool(False).tag(sync=True)
    step = traitlets.Int(1).tag(sync=True)
    steps = traitlets.Int(1).tag(sync=True)


class FlashTiling(base.Figure):
    """The same attention by two schedules, one step of either at a time, and the bytes that each moves.

    Parameters
    ----------
    query, key, value
        (n, d), (m, d) and (m, dv), 2 to 64 tokens, n at most m; 64 drifting random vectors of width 16 by
        default. A causal mask is aligned to the lower right.
    tile
        8, 16 or 32: queries, and keys, of a tile.
    causal
        Whether a query sees the keys up to its own place only.
    kernel
        "standard" or "flash".
    step
        Where to start; 7 by default, or the last if there are fewer.
    sram
        Bytes of fast memory that a tile should fit in.
    """

    name = "flash-tiling"
    title = "Flash attention: one tile at a time, and still exact"
    question = (
        "Which tile size moves the fewest bytes and still fits in SRAM, the fast memory? "
        "What becomes of the scores?"
    )

    def __init__(
        self,
        query: object = None,
        key: object = None,
        value: object = None,
        *,
        tile: int = 16,
        causal: bool = False,
        kernel: str = "flash",
        step: int | None = None,
        sram: int = 4096,
    ):
        self.inputs = checked(query, key, value)
        if kernel not in KERNELS:
            raise ValueError(f"`kernel` must be one of {', '.join(map(repr, KERNELS))}; got {kernel!r}")
        if tile not in TILES:
            raise ValueError(f"`tile` must be one of {', '.join(map(str, TILES))}; got {tile!r}")
        base.between("sram", sram, 1.0, 2.0**20)
        self.capacity = int(sram)
        self.runs = {
            (k, t, c): record(self.inputs, k, t, c) for k in KERNELS for t in TILES for c in (False, True)
        }
        self.kernel = widgets.ToggleButtons(options=KERNELS, value=kernel, description="Schedule")
        self.tile = widgets.ToggleButtons(
            options=[(str(t), t) for t in TILES], value=tile, description="Tile size"
        )
        self.causal = base.Checkbox(value=bool(causal), description="causal mask", indent=False)
        last = len(self.run.steps)
        start = min(7, last) if step is None else step
        if start not in range(1, last + 1):
            raise ValueError(
                f"`step` must be an integer from 1 to {last}, the steps of this schedule; got {step!r}"
            )
        self.play = widgets.Play(value=start, min=1, max=last, interval=900, description="Playback")
        self.step = widgets.IntSlider(value=start, min=1, max=last, description="Step")
        self.play.show_repeat = False
        view = FlashTilingView(size=[len(self.inputs[0]), len(self.inputs[1])], **self._packed())
        super().__init__(view, [self.kernel, self.tile, self.causal], [self.play, self.step])
        self.link(self.kernel, "index", view, "kernel")
        self.link(self.tile, "index", view, "tile")
        self.link(self.causal, "value", view, "causal")
        self.link(self.step, "value", view, "step")
        self.link(self.play, "value", self.step, "value")
        self.link(self.play, "playing", view, "playing")
        self.link(view, "steps", self.step, "max")
        self.link(view, "steps", self.play, "max")
        for control in (self.kernel, self.tile, self.causal):
            control.observe(self._turn, "value")
        self.settle()

    @property
    def run(self) -> Run:
        """What the schedule that the controls name does, from its first step to its last."""
        return self.runs[self.kernel.value, self.tile.value, self.causal.value]

    @property
    def now(self) -> Step:
        """The step that is showing."""
        return self.run.steps[self.step.value - 1]

    @property
    def traffic(self) -> Traffic:
        """Bytes loaded and stored up to the step that is showing."""
        return self.now.traffic

    @property
    def weights(self) -> np.ndarray:
        """(n, m), which flash never makes."""
        return exact(self.inputs, self.causal.value).weights.numpy()

    @property
    def output(self) -> np.ndarray:
        """(n, dv), as the schedule left it in slow memory."""
        return self.run.output

    @property
    def difference(self) -> float:
        """The largest difference between the schedule's output and exact attention."""
        return difference(self.inputs, self.run, self.causal.value)

    def _packed(self) -> dict[str, object]:
        """Every run as the view reads it."""
        rows, statistics, listed = [], [], []
        for (kernel, tile, causal), run in self.runs.items():
            scene = self.scene(kernel, tile, causal, 1)
            listed.append(
                {
                    "first": len(rows), "count": len(run.steps), "statistics": sum(map(len, statistics)) // 2,
                    "bytes": run.cost.bytes, "difference": scene.difference,
                    "whole": drawing.overall(scene), "end": drawing.ending(scene),
                    "sram": {phase: drawing.sram(run, phase, self.capacity) for phase in run.sram},
                }
            )  # fmt: skip
            for step in run.steps:
                span = step.rows.start, step.rows.stop, step.cols.start, step.cols.stop
                rows.append((step.phase, *span, *step.traffic, telling(run.scores, step.rows, tile, causal)))
                statistics.append(np.stack([step.maximum, step.total], axis=1).ravel())
        scores = self.runs["standard", TILES[0], False].scores
        low, high = scores.min(), scores.max()
        pitch = (high - low) / COARSE or 1.0
        coarse = lambda x: np.rint(x).astype("<u2").tobytes()  # noqa: E731
        return {
            "runs": listed,
            "table": np.array(rows, "<i4").tobytes(),
            "statistics": np.concatenate(statistics).astype("<f8").tobytes(),
            "scores": coarse((scores - low) / pitch),
            "scale": [float(low), float(pitch)],
            "weights": coarse(COARSE * np.stack([exact(self.inputs, c).weights for c in (False, True)])),
            "words": drawing.WORDS,
        }

    def _turn(self, _change: dict) -> None:
        """Another schedule has another number of steps; go as far into it, unless the browser has done so."""
        last, before = len(self.run.steps), self.step.max
        if before != last:
            step = moved_on(self.step.value, before, last)
            for control in (self.step, self.play):
                control.max = last
                control.value = step
            self.view.steps = last

    def settle(self) -> None:
        view = self.view
        view.kernel, view.tile, view.causal = self.kernel.index, self.tile.index, self.causal.value
        view.step, view.steps = self.step.value, self.step.max

    def static_settings(self) -> Sequence[Markup]:
        return (
            static.choices("Schedule", KERNELS, self.kernel.index),
            static.choices("Tile size", [str(t) for t in TILES], self.tile.index),
            static.checkbox(self.causal.description, self.causal.value),
        )

    def static_transport(self) -> Sequence[Markup]:
        return (static.setting("Step", f"{self.step.value} of {self.step.max}"),)

    def static_body(self) -> Sequence[Markup]:
        scene = self.scene(self.kernel.value, self.tile.value, self.causal.value, self.step.value)
        return (
            static.section("flow", drawing.WORDS["captions"][scene.now.phase], *drawing.board(scene)),
            static.h("div.pa-matrix", *drawing.facts(scene)),
            static.sentence(drawing.describe(scene)),
        )

    def scene(self, kernel: str, tile: int, causal: bool, step: int) -> drawing.Scene:
        """All that one picture shows."""
        run, other = (self.runs[k, tile, causal] for k in (kernel, *(set(KERNELS) - {kernel})))
        return drawing.Scene(
            run=run, other=other, at=step - 1, tile=tile, causal=causal,
            query=telling(run.scores, run.steps[step - 1].rows, tile, causal),
            scores=self.runs["standard", TILES[0], False].scores,
            weights=exact(self.inputs, causal).weights.numpy(),
            difference=difference(self.inputs, run, causal), capacity=self.capacity,
        )  # fmt: skip


def difference(inputs: Inputs, run: Run, causal: bool) -> float:
    return float(np.abs(run.output - exact(inputs, causal).output.numpy()).max())


def moved_on(step: int, before: int, last: int) -> int:
    """The step of `last` that is as far on as `step` was of `before`."""
    return max(1, (2 * step * last + before) // (2 * before))


# -- what readers pass in ----------------------------------------------------------------------------------


def example() -> Inputs:
    """64 queries, keys and values of width 16, each sequence a noise that drifts."""
    rng = np.random.default_rng(4)
    noise = rng.normal(size=(3, MOST + 4, 16))
    drift = sum(noise[:, i : MOST + i] for i in range(5)) / 5**0.5
    query, key, value = 0.8 * drift + 0.6 * rng.normal(size=drift.shape)
    return query, key, value


def checked(query: object, key: object, value: object) -> Inputs:
    given = {"query": query, "key": key, "value": value}
    missing = [name for name, x in given.items() if x is None]
    if len(missing) == 3:
        return example()
    if missing:
        raise ValueError(
            f"`{missing[0]}` is missing: pass query, key and value together, or none of the three"
        )
    arrays = {name: base.finite(name, x, 2) for name, x in given.items()}
    for name, array in arrays.items():
        if np.isinf(array).any():
            raise ValueError(f"`{name}` must be finite; replace NaN and infinity before drawing")
        if not LEAST <= len(array) <= MOST or array.shape[1] > WIDEST:
            raise ValueError(
                f"`{name}` must hold {LEAST} to {MOST} tokens of width at most {WIDEST}; got {array.shape}"
            )
    query, key, value = arrays.values()
    if query.shape[1] != key.shape[1]:
        raise ValueError(f"`key` must be as wide as `query`, {query.shape[1]}; got {key.shape[1]}")
    if len(value) != len(key):
        raise ValueError(f"`value` must have one row a key, {len(key)}; got {len(value)}")
    if len(query) > len(key):
        raise ValueError(
            "`query` must not be longer than `key`, or a causal mask would leave its first rows no key; "
            f"got {len(query)} and {len(key)} tokens"
        )
    return query, key, value
