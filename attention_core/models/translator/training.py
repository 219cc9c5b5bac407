"""Training a translator: what it learns from, by which loss, and what its checkpoints keep."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from math import inf
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from attention_core.datasets import Pair, fingerprint
from attention_core.models.epochs import EpochTraining, Report, check_recipe
from attention_core.models.sentences.batches import Batch, buckets, collate
from attention_core.models.sentences.corpus import check_given
from attention_core.models.sentences.objective import validation_loss
from attention_core.models.sentences.vocabulary import Vocabulary
from attention_core.models.translator.model import Translator
from attention_core.models.translator.objective import EXPECTED, Reinforce, loss
from attention_core.models.translator.traces import Tracer


@dataclass(frozen=True)
class Recipe:
    """All that decides what training gives, but for the pairs."""

    attention: str = "additive"
    guided: float = 0.0  # weight of `objective.misalignment`
    seed: int = 0
    epochs: int = 4  # at most
    patience: int = 3  # epochs without a better validation loss before it stops
    batch: int = 64  # pairs
    rate: float = 6e-3  # of Adam, at first; it falls to 0 along half a cosine over all epochs
    clip: float = 1.0  # longest gradient
    width: int = 128
    embedding: int = 64
    dropout: float = 0.1
    input_feeding: bool = False
    half_width: int = 2
    minimum: int = 1  # times that a word is seen before it is in the vocabulary
    most: int | None = None  # words in a vocabulary

    def translator(self, pairs: Sequence[Pair]) -> Translator:
        """An untrained model for these pairs."""
        options = {"minimum": self.minimum, "most": self.most}
        return Translator(
            Vocabulary.build((pair.source for pair in pairs), **options),
            Vocabulary.build((pair.target for pair in pairs), **options),
            attention=self.attention,
            width=self.width,
            embedding=self.embedding,
            dropout=self.dropout,
            input_feeding=self.input_feeding,
            half_width=self.half_width,
        )


class Training(EpochTraining):
    """`EpochTraining` of a translator.

    Parameters
    ----------
    recipe, checkpoint, report
        As there.
    pairs, validation
        What is learned from, and what says when to stop.
    tracer
        Records the model along the way, if given.
    """

    def __init__(
        self,
        recipe: Recipe,
        pairs: Sequence[Pair],
        validation: Sequence[Pair],
        *,
        checkpoint: Path | None = None,
        report: Report | None = None,
        tracer: Tracer | None = None,
    ):
        _check(recipe, pairs, validation)
        self.pairs, self.tracer, self.reinforce = list(pairs), tracer, Reinforce()
        super().__init__(recipe, checkpoint=checkpoint, report=report)
        self.validation = [self._collated(validation, rows) for rows in buckets(validation, 2 * recipe.batch)]

    def built(self) -> Translator:
        return self.recipe.translator(self.pairs)

    def identity(self) -> dict[str, Any]:
        return {**asdict(self.recipe), "pairs": fingerprint(self.pairs)}

    def batches(self, generator: torch.Generator) -> list[list[int]]:
        return buckets(self.pairs, self.recipe.batch, generator)

    def loss(self, batch: Sequence[int]) -> tuple[Tensor, Tensor]:
        options = {"guided": self.recipe.guided, "reinforce": self.reinforce, "expected": EXPECTED}
        found = loss(self.model, self._collated(self.pairs, batch), **options)
        return found.total, found.surprise

    def validation_loss(self) -> float:
        return validation_loss(self.model, self.validation)

    def watch(self, epochs: float) -> None:
        """Record what is due."""
        if self.tracer is not None:
            self.tracer.record_if_due(self.model, self.progress.updates, epochs)

    def state(self) -> dict[str, Any]:
        traced = None if self.tracer is None else self.tracer.state()
        return {**super().state(), "average": self.reinforce.average, "trace": traced}

    def restore(self, state: dict[str, Any]) -> None:
        super().restore(state)
        self.reinforce.average = state["average"]
        if self.tracer is not None and state["trace"] is not None:
            self.tracer.restore(state["trace"])

    def _collated(self, pairs: Sequence[Pair], rows: Sequence[int]) -> Batch:
        return collate([pairs[row] for row in rows], self.model.source, self.model.target)


def _check(recipe: Recipe, pairs: Sequence[Pair], validation: Sequence[Pair]) -> None:
    check_recipe(recipe)
    check_given(pairs, validation)
    if not 0 <= recipe.guided < inf:
        raise ValueError(f"`guided` must be a number of at least 0; got {recipe.guided!r}.")
    if recipe.guided and recipe.attention in ("none", "hard"):
        raise ValueError(
            f"`guided` needs attention with a gradient; got {recipe.attention!r}. Use 'additive'."
        )
    if recipe.guided and not any(pair.possible for pair in pairs):
        raise ValueError(
            "`guided` needs pairs with gold links; got none. Those of `datasets.translation` have them, "
            "pairs read from a file have not: leave `guided` out."
        )
