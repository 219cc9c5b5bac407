"""What the training scrubber reads of a trace: numbers and matrices, checked, and the axes they share."""

from collections.abc import Mapping, Sequence
from numbers import Real

import numpy as np

from attention_core.figures import base
from attention_core.figures import training_scrubber_static as drawing
from attention_core.figures.training_scrubber_static import EMERGENT, GUIDED

STOP = "</s>"  # last on both sides of every matrix
MOST_WORDS = 16


def nearest(before: Mapping, step: int, after: Mapping) -> int:
    """The checkpoint of `after`, from 1, whose update is nearest to that of checkpoint `step` of `before`."""
    update = before["steps"][min(step, len(before["steps"])) - 1]
    return 1 + int(np.argmin([abs(other - update) for other in after["steps"]]))


def gold_rows(target: int, source: int, sure: frozenset, possible: frozenset) -> np.ndarray:
    """Rows (target + 1, source + 1) from links: a word's share is spread evenly over what it is linked to.

    Sure links where there are any, else possible ones; a word with neither reads `</s>`, as `</s>` does.
    """
    rows = np.zeros((target + 1, source + 1))
    for t in range(target + 1):
        linked = [s for i, s in sure if i == t] or [s for i, s in possible if i == t] or [source]
        rows[t, linked] = 1 / len(linked)
    return rows


# -- what readers pass in ----------------------------------------------------------------------------------


def fetch(kind: str, given: object) -> object:
    """The trace itself, or that of a model that ships; what its card says of gold links must fit its kind."""
    if not isinstance(given, str):
        return given
    from attention_core import models  # only here are they needed

    supervised = bool(models.card(given)["recipe"]["guided"])
    if supervised != (kind == GUIDED):
        how, other = ("on", GUIDED) if supervised else ("without", EMERGENT)
        raise ValueError(f"`{kind}` {given!r} was trained {how} gold links; pass it as `{other}`")
    return models.trace(given)


def shared(traces: Mapping[str, object], gold: Mapping) -> list[str]:
    """Names of the sentences that every trace and `gold` hold, in gold's order."""
    for kind, trace in traces.items():
        if not hasattr(trace, "sentences") or len(trace.updates) < 2:
            raise ValueError(
                f"`{kind}` must be a trace with two checkpoints or more, as `models.trace` gives it; got "
                f"{trace!r:.60}"
            )
    names = [name for name in gold if all(name in trace.sentences for trace in traces.values())]
    if not names:
        raise ValueError("`gold` must hold the sentences whose matrices the traces hold; they share no name")
    return names


def listed(name: str, pair: object) -> dict:
    """One sentence as the view reads it."""
    source, target = list(pair.source), list(pair.target)
    if max(len(source), len(target)) >= MOST_WORDS:
        raise ValueError(f"`gold` {name!r} must have at most {MOST_WORDS - 1} words a side; leave it out")
    rows = gold_rows(len(target), len(source), pair.sure, pair.possible)
    sure = {*pair.sure, *((int(t), len(source)) for t in np.flatnonzero(rows[:, -1]))}  # </s> reads </s>
    links = {"sure": sorted(sure), "possible": sorted({*pair.possible} - sure)}
    tokens = {"source": [*source, STOP], "target": [*target, STOP]}
    return {"name": name, **tokens, **links, "gold": rows.tolist()}


def read(kind: str, trace: object, sentences: Sequence[Mapping]) -> dict:
    """One run: what was measured at each checkpoint, and the matrices in float64."""
    columns = {"steps": "updates", "train": "train_loss", "validation": "validation_loss", "aer": "aer"}
    run: dict = {"kind": kind}
    for key, name in columns.items():
        run[key] = base.finite(f"{kind}.{name}", getattr(trace, name), 1).tolist()
    if (np.diff(run["steps"]) <= 0).any():
        raise ValueError(f"`{kind}` must hold checkpoints in the order of training; got {run['steps']}")
    stacks = [stack(kind, trace.sentences[s["name"]], s, len(run["steps"])) for s in sentences]
    run["weights"] = list(zip(*stacks, strict=True))  # by checkpoint, then by sentence
    run["agree"] = [[agree(w, s) for w, s in zip(ws, sentences, strict=True)] for ws in run["weights"]]
    return run


def stack(kind: str, shown: object, sentence: Mapping, count: int) -> np.ndarray:
    """One sentence's matrices (checkpoints, target, source)."""
    name, words = sentence["name"], (sentence["source"], sentence["target"])
    if (list(shown.source), list(shown.target)) != words:
        raise ValueError(
            f"`{kind}` must hold {name!r} in the words of `gold`, {STOP!r} last on both sides: {words}; got "
            f"{(list(shown.source), list(shown.target))}"
        )
    array = base.finite(f"{kind}.weights", shown.weights, 3)
    shape = (count, len(sentence["target"]), len(sentence["source"]))
    if array.shape != shape:
        raise ValueError(
            f"`{kind}` must hold weights (checkpoints, target words, source words), {shape} for {name!r}; "
            f"got {array.shape}"
        )
    if (array < 0).any() or not np.allclose(array.sum(axis=-1), 1, atol=1e-3):
        raise ValueError(f"`{kind}` must hold weights whose rows sum to 1; those of {name!r} do not")
    return array


def agree(weights: np.ndarray, sentence: Mapping) -> int:
    """How many target words have their largest weight on a sure or possible link; `</s>` does not count."""
    linked = {*sentence["sure"], *sentence["possible"]}
    return sum((t, int(s)) in linked for t, s in enumerate(weights[:-1].argmax(axis=1)))


def within_budget(runs: Sequence[Mapping], sentences: Sequence[Mapping]) -> None:
    frames = len(sentences) * sum(len(run["steps"]) for run in runs)
    size = 4 * sum(w.size for run in runs for checkpoint in run["weights"] for w in checkpoint)
    if frames > base.MOST_FRAMES or size > base.MOST_BYTES:
        raise ValueError(
            f"`gold` asks for {frames} matrices, {size} bytes, more than the {base.MOST_FRAMES} and "
            f"{base.MOST_BYTES} of one figure; pass fewer sentences"
        )


def scaled(runs: Sequence[dict], baselines: Mapping[str, Real]) -> dict:
    """The axes that all runs share; writes the paths of the curves into `runs`."""
    unit = min(step for run in runs for step in run["steps"] if step > 0)
    last = max(run["steps"][-1] for run in runs)
    rates = [*baselines.values(), *(rate for run in runs for rate in run["aer"])]
    losses = [loss for run in runs for name in ("train", "validation") for loss in run[name]]
    tops = {"loss": float(np.ceil(max(losses))), "aer": float(np.ceil(10 * max(rates)) / 10)}
    for run in runs:
        run["at"] = [drawing.across(step, unit, last) for step in run["steps"]]
        drawn = {"loss": ("validation", "loss"), "train": ("train", "loss"), "aer": ("aer", "aer")}
        run["paths"] = {
            name: drawing.path(run["at"], run[values], tops[axis]) for name, (values, axis) in drawn.items()
        }
    places = [(name, float(rate), 100 - 100 * rate / tops["aer"]) for name, rate in baselines.items()]
    marks = {name: [0.0, top] for name, top in tops.items()}
    return {"tops": tops, "marks": marks, "ticks": drawing.ticks(unit, last), "baselines": places}
