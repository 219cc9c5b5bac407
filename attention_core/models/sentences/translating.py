"""Translating: a network with its two vocabularies; text in, text out, and the weights that made it."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from numbers import Real
from pathlib import Path
from typing import Any, ClassVar

import torch
from jaxtyping import Float
from torch import Tensor, nn

from attention_core import heads
from attention_core.datasets import Pair, detokenize, tokenize
from attention_core.models import shelf
from attention_core.models.sentences.batches import buckets, collate, padded
from attention_core.models.sentences.search import Draft, Memory, search
from attention_core.models.sentences.vocabulary import Vocabulary

TOGETHER = 128  # sentences in a batch where nothing is learned


@dataclass(frozen=True)
class Translation:
    """A sentence, its translation, and where each word of it came from."""

    text: str
    source: tuple[str, ...]  # as the model read it: `</s>` last, `<unk>` for a word that it does not know
    target: tuple[str, ...]  # `</s>` last
    weights: Float[Tensor, "target source"] | None  # None without attention
    log_probability: float  # of the target, natural logarithm


class Translating(nn.Module, ABC):
    """A model that reads a sentence and writes its translation, English to French.

    A subclass has an `encoder`, called with numbers and lengths, and a `decoder` that `search.search` can
    ask. Its forward takes a `Batch` and gives `logits` and `weights`, (batch, n, m) or None, by name. What
    else may be said to its reading, such as a temperature, passes through every method here as `reading`.
    """

    KIND: ClassVar[str]  # what its files say that they hold

    def __init__(self, source: Vocabulary, target: Vocabulary, options: dict[str, Any]):
        super().__init__()
        self.source, self.target = source, target
        self.options = options  # what `load` builds the model of, beside the vocabularies

    @abstractmethod
    def _remember(self, source: Tensor, lengths: Tensor) -> Memory:
        """What the decoder may look at, of sentences side by side."""

    def translate(
        self, text: str | Sequence[str], *, beam: int = 1, length_power: Real = 1.0, **reading
    ) -> Translation | list[Translation]:
        r"""Translate a text, or each of several: one `Translation` for one, a list for a list.

        `beam` is how many beginnings compete, 1 being greedy; of those that end, the one of the greatest
        $\ln p(y) / |y|^{a}$ wins, a being `length_power`.
        """
        _check_search(beam, length_power)
        texts = [text] if isinstance(text, str) else text
        sentences = [_tokens(one, number) for number, one in enumerate(_listed(texts))]
        found = self.translate_tokens(sentences, beam=beam, length_power=length_power, **reading)
        return found[0] if isinstance(text, str) else found

    @torch.no_grad()
    def translate_tokens(
        self, sentences: Sequence[Sequence[str]], *, beam: int = 1, length_power: Real = 1.0, **reading
    ) -> list[Translation]:
        """As `translate`, of sentences that are words already, such as the sources of a corpus."""
        _check_search(beam, length_power)
        numbers = [self.source.numbers(sentence) for sentence in sentences]
        order = sorted(range(len(numbers)), key=lambda row: len(numbers[row]))
        found: dict[int, Translation] = {}
        with evaluating(self):
            for start in range(0, len(order), TOGETHER):
                rows = order[start : start + TOGETHER]
                memory = self._remember(*padded([numbers[row] for row in rows]))
                drafts = search(self.decoder, memory, beam=beam, length_power=length_power, **reading)
                for row, draft in zip(rows, drafts, strict=True):
                    found[row] = self._translation(numbers[row], draft)
        return [found[row] for row in range(len(numbers))]

    @torch.no_grad()
    def align(self, pairs: Sequence[Pair], **reading) -> list[Float[Tensor, "target source"]]:
        """Weights of each pair's own target words, the right words having been read before each.

        Rows are target words and `</s>`, columns source words and `</s>`: what `alignment.links` takes.
        """
        pairs = checked_pairs(pairs)
        found: dict[int, Tensor] = {}
        with evaluating(self):
            for rows in buckets(pairs, TOGETHER):
                batch = collate([pairs[row] for row in rows], self.source, self.target)
                weights = self(batch, **reading).weights
                for row, one in zip(rows, weights, strict=True):
                    found[row] = one[: len(pairs[row].target) + 1, : len(pairs[row].source) + 1].clone()
        return [found[row] for row in range(len(pairs))]

    def save(self, path: Path | str) -> None:
        """Write parameters, options and vocabularies to one file, which `load` reads."""
        facts = {"options": self.options, "source": self.source.words, "target": self.target.words}
        shelf.save(Path(path), self.KIND, facts, self.state_dict())

    @classmethod
    def load(cls, path: Path | str) -> "Translating":
        """A model that was saved, ready to translate; a damaged file is refused with the remedy."""
        facts, tensors = shelf.read(Path(path), cls.KIND)
        model = cls(Vocabulary(facts["source"]), Vocabulary(facts["target"]), **facts["options"])
        model.load_state_dict(tensors)
        return model.eval()

    def _translation(self, source: Sequence[int], draft: Draft) -> Translation:
        target = self.target.spelled(draft.words)
        weights = torch.stack(draft.weights) if draft.weights else None
        text = detokenize(target[:-1], "fr")
        return Translation(text, self.source.spelled(source), target, weights, draft.log_probability)


class evaluating:
    """A model without dropout or chance for a while; afterwards in the mode it was in."""

    def __init__(self, model: nn.Module):
        self.model, self.training = model, model.training

    def __enter__(self):
        self.model.eval()

    def __exit__(self, *_):
        self.model.train(self.training)


def checked_pairs(pairs: Sequence[Pair]) -> list[Pair]:
    if isinstance(pairs, Pair) or not all(isinstance(pair, Pair) for pair in pairs):
        raise TypeError(
            "`pairs` must be a list of `datasets.Pair`, as `datasets.translation('test')` gives it; one pair "
            "is a list of one."
        )
    return list(pairs)


def check_vocabularies(source: Vocabulary, target: Vocabulary) -> None:
    for name, vocabulary in (("source", source), ("target", target)):
        if not isinstance(vocabulary, Vocabulary):
            raise TypeError(
                f"`{name}` must be a `Vocabulary`; got {type(vocabulary).__name__}. Use "
                f"`Vocabulary.build(pair.{name} for pair in pairs)`."
            )


def check_dropout(dropout: Real) -> None:
    if not isinstance(dropout, Real) or isinstance(dropout, bool) or not 0 <= dropout < 1:
        raise ValueError(f"`dropout` must be a share, at least 0 and below 1; got {dropout!r}.")


def _tokens(text: object, number: int) -> tuple[str, ...]:
    if not isinstance(text, str):
        raise TypeError(
            f"`text` must be a text or a list of them; got {type(text).__name__} as number {number}. Words "
            "that are split already go to `translate_tokens`."
        )
    tokens = tokenize(text, "en")
    if not tokens:
        raise ValueError(f"`text` must hold at least one word; got {text!r} as number {number}.")
    return tokens


def _listed(texts: object) -> list:
    if not isinstance(texts, list | tuple):
        raise TypeError(
            f"`text` must be a text or a list of them; got {type(texts).__name__}. Use `list(texts)`."
        )
    return list(texts)


def _check_search(beam: int, length_power: Real) -> None:
    heads.check_positive("beam", beam)
    if (
        not isinstance(length_power, Real)
        or isinstance(length_power, bool)
        or not 0 <= length_power < torch.inf
    ):
        raise ValueError(
            f"`length_power` must be a finite number of at least 0; got {length_power!r}. 0 compares whole "
            "probabilities, 1 their mean a word."
        )
