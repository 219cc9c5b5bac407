"""Training a transformer: its recipe and its loss."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from attention_core.datasets import Pair, fingerprint
from attention_core.models import epochs
from attention_core.models.epochs import EpochTraining, Report
from attention_core.models.sentences.batches import Batch, buckets, collate
from attention_core.models.sentences.corpus import check_given
from attention_core.models.sentences.objective import mean_surprise, validation_loss
from attention_core.models.sentences.vocabulary import Vocabulary
from attention_core.models.transformer.model import Transformer


@dataclass(frozen=True)
class Recipe:
    """All that decides what training gives, but for the pairs."""

    seed: int = 0
    epochs: int = 6
    patience: int = 3  # epochs without a better validation loss before it stops
    batch: int = 64  # pairs
    rate: float = 4e-3  # of Adam, at its highest
    warming: float = 0.05  # share of all epochs over which the rate rises to that
    clip: float = 1.0  # longest gradient
    width: int = 64
    heads: int = 4
    layers: int = 2
    hidden: int = 128
    dropout: float = 0.1

    def transformer(self, pairs: Sequence[Pair]) -> Transformer:
        """An untrained model for these pairs."""
        return Transformer(
            Vocabulary.build(pair.source for pair in pairs),
            Vocabulary.build(pair.target for pair in pairs),
            width=self.width,
            heads=self.heads,
            layers=self.layers,
            hidden=self.hidden,
            dropout=self.dropout,
        )


class Training(EpochTraining):
    r"""`EpochTraining` of a transformer; the loss is the mean surprise a word, in nats.

    Adam has $\beta_2 = 0.98$, as in Vaswani et al. (2017), section 5.3. The rate rises over `warming`
    and falls along half a cosine, where theirs falls as one over the square root of the updates.

    Parameters
    ----------
    recipe, checkpoint, report
        As there.
    pairs, validation
        What is learned from, and what says when to stop.
    """

    def __init__(
        self,
        recipe: Recipe,
        pairs: Sequence[Pair],
        validation: Sequence[Pair],
        *,
        checkpoint: Path | None = None,
        report: Report | None = None,
    ):
        epochs.check_recipe(recipe)
        epochs.check_warming(recipe.warming)
        check_given(pairs, validation)
        self.pairs = list(pairs)
        super().__init__(recipe, checkpoint=checkpoint, report=report)
        self.validation = [self._collated(validation, rows) for rows in buckets(validation, 2 * recipe.batch)]

    def built(self) -> Transformer:
        return self.recipe.transformer(self.pairs)

    def chosen_optimizer(self) -> torch.optim.Optimizer:
        return torch.optim.Adam(self.model.parameters(), lr=self.recipe.rate, betas=(0.9, 0.98), eps=1e-9)

    def identity(self) -> dict[str, Any]:
        return {**asdict(self.recipe), "pairs": fingerprint(self.pairs)}

    def batches(self, generator: torch.Generator) -> list[list[int]]:
        return buckets(self.pairs, self.recipe.batch, generator)

    def loss(self, batch: Sequence[int]) -> tuple[Tensor, Tensor]:
        collated = self._collated(self.pairs, batch)
        found = mean_surprise(self.model(collated).logits, collated.targets)
        return found, found

    def validation_loss(self) -> float:
        return validation_loss(self.model, self.validation)

    def rate(self, share: float) -> float:
        """Half a cosine, but at the beginning rising from nothing."""
        return epochs.warmed(self.recipe, share)

    def _collated(self, pairs: Sequence[Pair], rows: Sequence[int]) -> Batch:
        return collate([pairs[row] for row in rows], self.model.source, self.model.target)
