"""Search: the words that a translator says, the likeliest one each time or the best of a beam."""

from numbers import Real
from typing import Any, NamedTuple, Protocol, runtime_checkable

import torch
from jaxtyping import Float, Int
from torch import Tensor

from attention_core.models.sentences.vocabulary import BEGIN, END, PAD


@runtime_checkable
class Selectable(Protocol):
    """What is kept for each sentence of a batch: `select` gives that of some of them, in their order."""

    def select(self, rows: Int[Tensor, " chosen"]) -> "Selectable": ...


@runtime_checkable
class Memory(Selectable, Protocol):
    """What an encoder leaves of a batch of sentences."""

    lengths: Int[Tensor, " batch"]


@runtime_checkable
class Said(Protocol):
    """What a decoder says to n words, and where it stands after them."""

    logits: Float[Tensor, "batch n vocabulary"]
    weights: Float[Tensor, "batch n m"] | None
    state: Selectable


@runtime_checkable
class Decoder(Protocol):
    """What a search can ask for the next word."""

    def start(self, memory: Any) -> Any: ...

    def __call__(self, memory: Any, words: Int[Tensor, "batch n"], state: Any, **reading) -> Said: ...


class Draft(NamedTuple):
    """A translation under way, or at its end."""

    sentence: int  # of which in the batch
    words: tuple[int, ...]
    log_probability: float  # natural logarithm, of all its words
    weights: tuple[Float[Tensor, " m"], ...]  # a row a word; empty where there is no attention

    def worth(self, length_power: Real) -> float:
        return self.log_probability / len(self.words) ** length_power


def longest_allowed(source: int) -> int:
    """The most words for a source of this length, `</s>` counted in both."""
    return 2 * source + 10


@torch.no_grad()
def search(decoder: Decoder, memory: Memory, *, beam: int, length_power: Real, **reading) -> list[Draft]:
    r"""For each sentence the translation y of the greatest $\ln p(y) / |y|^a$ that a beam finds.

    A beam of k goes on with the k likeliest beginnings of each sentence; one that has come to `</s>` is kept
    aside, and its place stays empty (Sutskever et al. 2014). A beam of 1 is greedy.

    a is `length_power`, and |y| counts `</s>`: at 0 short translations win, as each word makes y less likely;
    at 1 the mean a word counts. A translation `longest_allowed` long must end in `</s>`.
    `reading` goes to the decoder, at each word.
    """
    lengths = memory.lengths.tolist()
    ended: list[list[Draft]] = [[] for _ in lengths]
    drafts = [Draft(sentence, (), 0.0, ()) for sentence in range(len(lengths))]
    state = decoder.start(memory)
    while drafts:
        last = torch.tensor([[draft.words[-1] if draft.words else BEGIN] for draft in drafts])
        decoded = decoder(memory, last, state, **reading)
        chances = torch.log_softmax(decoded.logits[:, 0].double(), dim=-1)
        chances[:, [PAD, BEGIN]] = -torch.inf
        full = [len(draft.words) + 1 == longest_allowed(lengths[draft.sentence]) for draft in drafts]
        chances[torch.tensor(full), :END] = chances[torch.tensor(full), END + 1 :] = -torch.inf

        drafts, kept = _advance(drafts, chances, decoded.weights, ended, beam)
        rows = torch.tensor(kept, dtype=torch.long)
        memory, state = memory.select(rows), decoded.state.select(rows)
    best = [max(found, key=lambda draft: draft.worth(length_power)) for found in ended]
    return [
        draft._replace(weights=tuple(row[:length] for row in draft.weights))
        for draft, length in zip(best, lengths, strict=True)
    ]


def _advance(
    drafts: list[Draft],
    chances: Float[Tensor, "drafts vocabulary"],
    weights: Float[Tensor, "drafts 1 m"] | None,
    ended: list[list[Draft]],
    beam: int,
) -> tuple[list[Draft], list[int]]:
    """Each sentence's best drafts one word on, and which row of the batch each comes from; what ends is put
    into `ended`."""
    top = chances.topk(min(beam, chances.shape[1]), dim=-1)
    candidates: dict[int, list[tuple[float, int, int]]] = {}
    for row, (values, words) in enumerate(zip(top.values.tolist(), top.indices.tolist(), strict=True)):
        draft = drafts[row]
        found = candidates.setdefault(draft.sentence, [])
        found += [
            (draft.log_probability + value, row, word) for value, word in zip(values, words, strict=True)
        ]

    going, kept = [], []
    for sentence, found in candidates.items():
        likely = sorted(found, key=lambda one: -one[0])[: beam - len(ended[sentence])]
        for total, row, word in likely:
            if total == -torch.inf:
                continue
            seen = drafts[row].weights if weights is None else (*drafts[row].weights, weights[row, 0])
            draft = Draft(sentence, (*drafts[row].words, word), total, seen)
            if word == END:
                ended[sentence].append(draft)
            else:
                going.append(draft)
                kept.append(row)
    return going, kept
