"""Sentences side by side: padded to one length, or sorted so that hardly any padding is needed."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from attention_core.datasets import Pair
from attention_core.models.sentences.vocabulary import BEGIN, PAD, Vocabulary


class Batch(NamedTuple):
    """Pairs as numbers; every sentence ends in `</s>`, and `<pad>` fills the rest."""

    source: Int[Tensor, "batch m"]
    lengths: Int[Tensor, " batch"]  # of the sources, `</s>` included
    inputs: Int[Tensor, "batch n"]  # what the decoder reads: `<s>`, then the target without its `</s>`
    targets: Int[Tensor, "batch n"]  # what it should say
    gold: Bool[Tensor, "batch n m"]  # where a target word's links are, its sure ones if it has any


def collate(pairs: Sequence[Pair], source: Vocabulary, target: Vocabulary) -> Batch:
    """The pairs of one batch, in their order."""
    sources, lengths = padded([source.numbers(pair.source) for pair in pairs])
    targets, _ = padded([target.numbers(pair.target) for pair in pairs])
    inputs = torch.cat([torch.full((len(pairs), 1), BEGIN), targets[:, :-1]], dim=1)
    gold = torch.zeros(len(pairs), targets.shape[1], sources.shape[1], dtype=torch.bool)
    links = [(row, *link) for row, pair in enumerate(pairs) for link in _settled(pair)]
    if links:
        gold[tuple(torch.tensor(links).mT)] = True
    return Batch(sources, lengths, inputs, targets, gold)


def _settled(pair: Pair) -> list[tuple[int, int]]:
    """The sure links, and of words that have none the possible ones."""
    settled = {t for t, _ in pair.sure}
    return [*pair.sure, *(link for link in pair.possible if link[0] not in settled)]


def padded(sentences: Sequence[Sequence[int]]) -> tuple[Int[Tensor, "batch m"], Int[Tensor, " batch"]]:
    """Sentences as one tensor, and how long each is."""
    longest = max(len(sentence) for sentence in sentences)
    rows = [[*sentence, *[PAD] * (longest - len(sentence))] for sentence in sentences]
    return torch.tensor(rows), torch.tensor([len(sentence) for sentence in sentences])


def buckets(pairs: Sequence[Pair], size: int, generator: torch.Generator | None = None) -> list[list[int]]:
    """Which pairs make each batch of at most `size`: sources of one length, targets of nearly one.

    So no source is padded, and nothing is computed for places that hold no word. With a generator pairs of
    the same lengths, and the batches, come in random order; without, the shortest come first.
    """
    order = (
        range(len(pairs)) if generator is None else torch.randperm(len(pairs), generator=generator).tolist()
    )
    lengths: dict[int, list[int]] = {}
    for number in order:
        lengths.setdefault(len(pairs[number].source), []).append(number)
    batches = []
    for _, numbers in sorted(lengths.items()):
        numbers.sort(key=lambda number: len(pairs[number].target))  # stable: ties stay in random order
        batches += [numbers[start : start + size] for start in range(0, len(numbers), size)]
    if generator is None:
        return batches
    return [batches[number] for number in torch.randperm(len(batches), generator=generator).tolist()]
