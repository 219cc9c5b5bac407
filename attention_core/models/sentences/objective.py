"""Surprise: how unlikely the right words seem to a model, word by word and on average."""

from collections.abc import Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn.functional import cross_entropy

from attention_core.models.sentences.batches import Batch
from attention_core.models.sentences.translating import Translating, evaluating
from attention_core.models.sentences.vocabulary import PAD


def surprise(
    logits: Float[Tensor, "batch n vocabulary"], targets: Int[Tensor, "batch n"]
) -> Float[Tensor, "batch n"]:
    """$-\\ln p$ of each right word; 0 where there is none."""
    flat = cross_entropy(logits.flatten(0, 1), targets.flatten(), ignore_index=PAD, reduction="none")
    return flat.view(targets.shape)


def mean_surprise(
    logits: Float[Tensor, "batch n vocabulary"], targets: Int[Tensor, "batch n"]
) -> Float[Tensor, ""]:
    """The mean of `surprise` over all words."""
    return surprise(logits, targets).sum() / (targets != PAD).sum()


@torch.no_grad()
def validation_loss(model: Translating, batches: Sequence[Batch]) -> float:
    """Mean surprise a word over all batches, in nats; without dropout, hard attention at its best place."""
    total, count = 0.0, 0
    with evaluating(model):
        for batch in batches:
            total += float(surprise(model(batch).logits, batch.targets).sum())
            count += int((batch.targets != PAD).sum())
    return total / count
