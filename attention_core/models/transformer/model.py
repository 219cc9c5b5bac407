"""Transformer: the encoder-decoder of Vaswani et al. (2017), every head of which can be looked at."""

import copy
from collections.abc import Iterable, Sequence
from numbers import Real
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from attention_core import heads as head_axis
from attention_core.datasets import Pair, detokenize, tokenize
from attention_core.models.sentences.batches import Batch, collate
from attention_core.models.sentences.translating import (
    Translating,
    Translation,
    check_dropout,
    check_vocabularies,
    evaluating,
)
from attention_core.models.sentences.vocabulary import Vocabulary
from attention_core.models.transformer.heads import Head, checked_heads, silence
from attention_core.models.transformer.network import Decoder, Encoder, Memory
from attention_core.pipeline import Attended


class Decoded(NamedTuple):
    """What a transformer says to n target words, having read m source words, and where it looked."""

    logits: Float[Tensor, "batch n vocabulary"]  # of the word that follows each
    weights: Float[Tensor, "batch n m"]  # cross-attention of the layer `aligning`, mean over heads
    encoder: tuple[Attended, ...]  # a layer each, weights (batch, heads, m, m)
    decoder: tuple[Attended, ...]  # weights (batch, heads, n, n): query i is the place of target word i
    cross: tuple[Attended, ...]  # weights (batch, heads, n, m)


class Reading(NamedTuple):
    """One sentence, its translation, and the weights of every head of every layer."""

    text: str  # the translation
    source: tuple[str, ...]  # as in `Translation`: `</s>` last
    target: tuple[str, ...]  # `</s>` last
    encoder: Float[Tensor, "layers heads source source"]
    decoder: Float[Tensor, "layers heads target target"]  # row i writes target word i; key j is what it read
    cross: Float[Tensor, "layers heads target source"]


class Transformer(Translating):
    r"""The transformer of Vaswani et al. (2017), with its norms before each part and not behind it.

    $p(y \mid x) = \prod_t p(y_t \mid y_{<t}, x)$. The encoder's layers are `EncoderLayer`, the decoder's
    `DecoderLayer`: see there for the equations. Places are told by `positions.sinusoidal` alone.

    Parameters
    ----------
    source, target
        The vocabularies of the two languages.
    width, heads, layers
        Features of a word, heads in each attention, which divide it, and layers in each of the two stacks.
    hidden
        Features inside each layer's feed-forward part; 2 `width` if not given (the paper has 4).
    dropout
        Share left out in training of the embedded words' features and of what each part adds.
    aligning
        The layer, from 0, whose cross-attention `translate` and `align` give as weights; the last, if not
        given.
    """

    KIND = "transformer"

    def __init__(
        self,
        source: Vocabulary,
        target: Vocabulary,
        *,
        width: int = 64,
        heads: int = 4,
        layers: int = 2,
        hidden: int | None = None,
        dropout: Real = 0.1,
        aligning: int | None = None,
    ):
        hidden = 2 * width if hidden is None else hidden
        _check_options(source, target, width, layers, hidden, dropout)
        aligning = layers - 1 if aligning is None else aligning
        options = {"width": width, "heads": heads, "layers": layers, "hidden": hidden, "dropout": dropout}
        super().__init__(source, target, options)
        sizes = (width, heads, layers, hidden, dropout)
        self.encoder = Encoder(len(source), *sizes)
        self.decoder = Decoder(len(target), *sizes, aligning=0)
        self.aligning = aligning

    @property
    def aligning(self) -> int:
        """The layer whose cross-attention is given as weights."""
        return self.decoder.aligning

    @aligning.setter
    def aligning(self, layer: int) -> None:
        layers = len(self.decoder.layers)
        if isinstance(layer, bool) or not isinstance(layer, int) or layer not in range(layers):
            raise ValueError(f"`aligning` must be a layer from 0 to {layers - 1}; got {layer!r}.")
        self.decoder.aligning = self.options["aligning"] = layer

    def forward(self, batch: Batch) -> Decoded:
        """What it says to each word of the right answer, having read the right words before it."""
        memory = self._remember(batch.source, batch.lengths)
        written = self.decoder(memory, batch.inputs)
        return Decoded(written.logits, written.weights, memory.attended, written.attended, written.crossed)

    def translate(
        self, text: str | Sequence[str], *, beam: int = 1, length_power: Real = 1.0
    ) -> Translation | list[Translation]:
        r"""Translate a text, or each of several: one `Translation` for one, a list for a list.

        `beam` is how many beginnings compete, 1 being greedy; of those that end, the one of the greatest
        $\ln p(y) / |y|^{a}$ wins, a being `length_power`. Its weights are those of the cross-attention in
        the layer `aligning`, averaged over the heads.
        """
        return super().translate(text, beam=beam, length_power=length_power)

    def translate_tokens(
        self, sentences: Sequence[Sequence[str]], *, beam: int = 1, length_power: Real = 1.0
    ) -> list[Translation]:
        """As `translate`, of sentences that are words already, such as the sources of a corpus."""
        return super().translate_tokens(sentences, beam=beam, length_power=length_power)

    def align(self, pairs: Sequence[Pair]) -> list[Float[Tensor, "target source"]]:
        """Weights of each pair's own target words, the right words having been read before each.

        Rows are target words and `</s>`, columns source words and `</s>`: what `alignment.links` takes.
        They are the mean over the heads of the layer `aligning`; `read` gives each head of each layer.
        """
        return super().align(pairs)

    @torch.no_grad()
    def read(self, text: str | Sequence[str], target: str | Sequence[str] | None = None) -> Reading:
        """One sentence with every head's weights: of its own translation, or of the `target` given.

        `text` and `target` are a text each, or words already. A row of `decoder` is the query from which a
        target word was written; it has read `<s>` and the words before, so its key j is the word before
        target word j, and key 0 is `<s>`.
        """
        words = _words("text", text, "en")
        if target is None:
            target = self.translate_tokens([words])[0].target[:-1]
        said = _words("target", target, "fr", empty=True)
        pair = Pair(words, said)
        batch = collate([pair], self.source, self.target)
        with evaluating(self):
            decoded = self(batch)
        parts = (decoded.encoder, decoded.decoder, decoded.cross)
        weights = (torch.stack([attended.weights[0] for attended in part]) for part in parts)
        spelled = self.target.spelled(batch.targets[0].tolist())
        source = self.source.spelled(batch.source[0].tolist())
        return Reading(detokenize(spelled[:-1], "fr"), source, spelled, *weights)

    def without(self, heads: Iterable[Head]) -> "Transformer":
        r"""A copy that lacks these heads, each (part, layer, head), counted from 0.

        Parts are "encoder", "decoder" (its attention to the target) and "cross". As
        $o = \sum_h W^O_h \mathrm{head}_h + b$, a head is out exactly when its columns of $W^O$ are zero: the
        others go on as they were (Michel et al. 2019, section 2.3; Voita et al. 2019).
        """
        heads = checked_heads(heads, self.options["layers"], self.options["heads"])
        found = copy.deepcopy(self)
        silence(found, heads)
        return found

    def _remember(self, source: Int[Tensor, "batch m"], lengths: Int[Tensor, " batch"]) -> Memory:
        return self.encoder(source, lengths)


def _words(name: str, said: str | Sequence[str], language: str, *, empty: bool = False) -> tuple[str, ...]:
    words = tokenize(said, language) if isinstance(said, str) else said
    if not isinstance(words, list | tuple) or not all(isinstance(word, str) for word in words):
        raise TypeError(
            f"`{name}` must be one text, or its words as a list; got {said!r}. Several sentences are read "
            "one by one."
        )
    if not words and not empty:
        raise ValueError(f"`{name}` must hold at least one word; got {said!r}.")
    return tuple(words)


def _check_options(
    source: Vocabulary, target: Vocabulary, width: int, layers: int, hidden: int, dropout: Real
) -> None:
    check_vocabularies(source, target)
    for name, count in (("width", width), ("layers", layers), ("hidden", hidden)):
        head_axis.check_positive(name, count)
    if width % 2:
        raise ValueError(
            f"`width` must be even, as positions are sines and cosines in pairs; got {width}. "
            f"Use {width + 1}."
        )
    check_dropout(dropout)
