"""Traces: how an alignment comes about, recorded while a translator learns."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float, Int

from attention_core import alignment
from attention_core.datasets import Pair
from attention_core.models import shelf
from attention_core.models.sentences.batches import buckets, collate
from attention_core.models.sentences.objective import validation_loss
from attention_core.models.translator.model import Translator

FIRST, GROWTH = 10, 1.42  # updates: the first after none, and how much later each next one comes
COLUMNS = ("updates", "epochs", "train_loss", "validation_loss", "aer")


@dataclass(frozen=True, eq=False)
class Shown:
    """One sentence's weights at every checkpoint, its own translation being read word by word."""

    source: tuple[str, ...]  # `</s>` last
    target: tuple[str, ...]  # `</s>` last
    weights: Float[np.ndarray, "checkpoints target source"]


@dataclass(frozen=True, eq=False)
class Trace:
    """A translator at several points of its training, from untrained to the one that ships.

    Losses are the mean surprise a word in nats, without dropout, on a fixed part of the training pairs and
    of the validation pairs; `aer` is the alignment error rate on the same validation pairs.
    """

    updates: Int[np.ndarray, " checkpoints"]
    epochs: Float[np.ndarray, " checkpoints"]  # finished, with the share of the one under way
    train_loss: Float[np.ndarray, " checkpoints"]
    validation_loss: Float[np.ndarray, " checkpoints"]
    aer: Float[np.ndarray, " checkpoints"]
    sentences: Mapping[str, Shown]

    def __len__(self) -> int:
        return len(self.updates)

    def save(self, path: Path) -> None:
        """As an npz of plain arrays."""
        arrays = {name: getattr(self, name) for name in COLUMNS}
        for name, shown in self.sentences.items():
            arrays[f"source/{name}"], arrays[f"target/{name}"] = (
                np.array(shown.source),
                np.array(shown.target),
            )
            arrays[f"weights/{name}"] = shown.weights

        def write(temporary: Path) -> None:
            with temporary.open("wb") as file:
                np.savez_compressed(file, **arrays)

        shelf.write_atomically(path, write)

    @classmethod
    def read(cls, path: Path) -> "Trace":
        with np.load(path, allow_pickle=False) as file:
            names = [key.removeprefix("weights/") for key in file.files if key.startswith("weights/")]
            sentences = {
                name: Shown(
                    tuple(file[f"source/{name}"].tolist()),
                    tuple(file[f"target/{name}"].tolist()),
                    file[f"weights/{name}"],
                )
                for name in names
            }
            return cls(**{name: file[name] for name in COLUMNS}, sentences=sentences)


class Tracer:
    """Records a model whenever it has had as many updates as are due: 0, 10, and then ever more rarely."""

    def __init__(self, train: Sequence[Pair], validation: Sequence[Pair], showcase: Mapping[str, Pair]):
        self.train, self.validation, self.showcase = list(train), list(validation), dict(showcase)
        self.rows: list[dict[str, float]] = []
        self.weights: dict[str, list[np.ndarray]] = {name: [] for name in showcase}

    def record_if_due(self, model: Translator, updates: int, epochs: float) -> None:
        if updates in due(updates) and not any(row["updates"] == updates for row in self.rows):
            self.record(model, updates, epochs)

    def record(self, model: Translator, updates: int, epochs: float) -> None:
        """Measure the model as it is; its chance and its mode stay as they are."""
        predicted = [alignment.links(weights) for weights in model.align(self.validation)]
        self.rows.append(
            {
                "updates": updates,
                "epochs": epochs,
                "train_loss": _surprise(model, self.train),
                "validation_loss": _surprise(model, self.validation),
                "aer": alignment.score(predicted, self.validation).aer,
            }
        )
        for name, weights in zip(self.showcase, model.align(list(self.showcase.values())), strict=True):
            self.weights[name].append(weights.numpy().astype(np.float32))

    def trace(self, model: Translator, updates: int, epochs: float) -> Trace:
        """The trace to the model that was kept, which is its last checkpoint: later ones are dropped."""
        kept = [number for number, row in enumerate(self.rows) if row["updates"] < updates]
        final = Tracer(self.train, self.validation, self.showcase)
        final.rows = [self.rows[number] for number in kept]
        final.weights = {name: [seen[number] for number in kept] for name, seen in self.weights.items()}
        final.record(model, updates, epochs)
        return final._finished()

    def _finished(self) -> Trace:
        columns = {name: np.array([float(row[name]) for row in self.rows]) for name in COLUMNS}
        columns["updates"] = columns["updates"].astype(np.int64)
        sentences = {
            name: Shown((*pair.source, "</s>"), (*pair.target, "</s>"), np.stack(self.weights[name]))
            for name, pair in self.showcase.items()
        }
        return Trace(**columns, sentences=sentences)

    def state(self) -> dict:
        """For a checkpoint: plain values alone."""
        weights = {name: [one.tolist() for one in seen] for name, seen in self.weights.items()}
        return {"rows": self.rows, "weights": weights}

    def restore(self, state: dict) -> None:
        self.rows = list(state["rows"])
        self.weights = {
            name: [np.array(one, dtype=np.float32) for one in seen] for name, seen in state["weights"].items()
        }


def due(most: int) -> set[int]:
    """The numbers of updates, up to `most`, at which a model is recorded."""
    found, step = {0}, float(FIRST)
    while round(step) <= most:
        found.add(round(step))
        step *= GROWTH
    return found


def _surprise(model: Translator, pairs: Sequence[Pair]) -> float:
    batches = [
        collate([pairs[row] for row in rows], model.source, model.target) for rows in buckets(pairs, 128)
    ]
    return validation_loss(model, batches)
