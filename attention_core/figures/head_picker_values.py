"""What the head picker shows: sentences of the book or of the reader, as a transformer reads them."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import torch

from attention_core import datasets, models
from attention_core.models.transformer import PARTS, Reading, Transformer

SHIPPED = "transformer-en-fr"
# Word order; a pronoun behind a command; ne ... pas and an adjective behind; a participle and an adjective
# that agree across a distance; "you" once object, once subject. With each the words that are shown first.
OURS = {
    "I love you": ("love", "aime"),
    "look it up": ("it", "-le"),
    "she does not see the red car": ("red", "rouge"),
    "the letter that she wrote is long": ("long", "longue"),
    "she will give you the key that you lost": ("lost", "perdue"),
}
MOST_WORDS = 16


@dataclass(frozen=True)
class Read:
    """A sentence as a transformer read it."""

    name: str
    source: tuple[str, ...]  # `</s>` last
    target: tuple[str, ...]  # `</s>` last
    links: list[tuple[int, int]] | None  # gold links (target, source), where the translation is the known one
    homes: tuple[int, int]  # the word of the source, and of the target, that is shown first
    weights: dict[str, np.ndarray]  # by part: (layers, heads, rows, columns)

    def sent(self, offset: int) -> dict[str, object]:
        """As it travels to a view, apart from its weights, which begin at `offset`."""
        links = None if self.links is None else [list(link) for link in self.links]
        words = {"name": self.name, "source": list(self.source), "target": list(self.target)}
        return {**words, "links": links, "homes": list(self.homes), "offset": offset}


def read(model: Transformer | str | None, text: str | Reading | Iterable[str | Reading] | None) -> list[Read]:
    """Each sentence of `text`, read by the model; the book's own where `text` is None."""
    texts = list(OURS) if text is None else [text] if isinstance(text, str | Reading) else list(text)
    if not texts:
        raise ValueError("`text` is empty; pass a sentence, or leave it out for those of the book")
    if not all(isinstance(each, str | Reading) for each in texts):
        raise TypeError(
            "`text` must be a sentence, a list of them, or what `model.read` makes of one; got "
            f"{[type(each).__name__ for each in texts]}"
        )
    if any(isinstance(each, str) for each in texts):
        model = reader(model)
    readings = [model.read(each) if isinstance(each, str) else each for each in texts]
    if len({tuple(reading.cross.shape[:2]) for reading in readings}) > 1:
        raise ValueError("`text` holds readings of models of different size; make a figure of each")
    return [_named(i, each, reading) for i, (each, reading) in enumerate(zip(texts, readings, strict=True))]


def reader(model: Transformer | str | None) -> Transformer:
    """The model itself, the one that has the name, or the one that ships."""
    if model is None or isinstance(model, str):
        model = models.load(model or SHIPPED)
    if not isinstance(model, Transformer):
        raise TypeError(
            "`model` must be a models.Transformer, or the name of one that ships; got "
            f"{type(model).__name__}. Other models have no heads to pick."
        )
    return model


def _named(number: int, text: str | Reading, reading: Reading) -> Read:
    for side in ("source", "target"):
        if len(words := getattr(reading, side)) > MOST_WORDS:
            raise ValueError(
                f"`text` number {number} has a {side} of {len(words)} tokens, `</s>` included; a figure has "
                f"room for {MOST_WORDS}. Shorten it: {' '.join(words)!r}"
            )
    name = text if isinstance(text, str) else datasets.detokenize(reading.source[:-1], "en")
    homes = OURS.get(name, ("", ""))
    return Read(
        name, reading.source, reading.target, _links(name, reading),
        (_home(reading.source, homes[0]), _home(reading.target, homes[1])),
        {part: _array(getattr(reading, part)) for part in PARTS},
    )  # fmt: skip


def _array(weights: torch.Tensor) -> np.ndarray:
    return weights.detach().cpu().to(torch.float64).numpy()


def _links(name: str, reading: Reading) -> list[tuple[int, int]] | None:
    """Gold links of a sentence that has them, if the translation is the one they are of."""
    pair = datasets.showcase().get(name)
    if pair is None or (pair.source, pair.target) != (reading.source[:-1], reading.target[:-1]):
        return None
    return sorted(pair.possible)


def _home(words: tuple[str, ...], wanted: str) -> int:
    """The place of a word, or of the last before `</s>`."""
    return words.index(wanted) if wanted in words else max(len(words) - 2, 0)
