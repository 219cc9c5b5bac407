"""The network: a stack of layers reads, another writes. Numbers in, logits out, and every head's weights."""

from typing import NamedTuple

from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from attention_core import masks, positions
from attention_core.decoding import KVCache
from attention_core.models.transformer.layers import DecoderLayer, EncoderLayer
from attention_core.pipeline import Attended


class Memory(NamedTuple):
    """What the encoder leaves of a batch of sentences, and how it read them."""

    states: Float[Tensor, "batch m width"]
    lengths: Int[Tensor, " batch"]
    mask: Bool[Tensor, "batch 1 1 m"] | None  # None where no sentence is padded
    attended: tuple[Attended, ...]  # a layer each, weights (batch, heads, m, m)

    def select(self, rows: Int[Tensor, " chosen"]) -> "Memory":
        """Those sentences of the batch, in that order, for a search, which asks for no encoder's weights."""
        mask = None if self.mask is None else self.mask[rows]
        return Memory(self.states[rows], self.lengths[rows], mask, ())


class State(NamedTuple):
    """Where a decoder stands in its sentences: a cache for each layer, and how many words they hold."""

    caches: tuple[KVCache, ...]
    place: int

    def select(self, rows: Int[Tensor, " chosen"]) -> "State":
        """Those sentences, in that order; the caches themselves forget the others."""
        for cache in self.caches:
            cache.select(rows.tolist())
        return self


class Written(NamedTuple):
    """What a decoder says to n words."""

    logits: Float[Tensor, "batch n vocabulary"]  # of the word that follows each
    weights: Float[Tensor, "batch n m"]  # of the cross-attention in the layer `aligning`, mean over heads
    attended: tuple[Attended, ...]  # a layer each, weights (batch, heads, n, places so far)
    crossed: tuple[Attended, ...]  # a layer each, weights (batch, heads, n, m)
    state: State | None


class Embedding(nn.Embedding):
    r"""Words and where they stand: $\sqrt{d}\, E_t + P_p$ with `positions.sinusoidal` P; then dropout.

    Vaswani et al. (2017), sections 3.4 and 3.5. E begins with variance 1/d, so that word and place weigh
    about the same, and as the matrix out of the decoder it gives logits of variance about 1.
    """

    def __init__(self, vocabulary: int, width: int, dropout: float):
        super().__init__(vocabulary, width)
        nn.init.normal_(self.weight, std=width**-0.5)
        self.dropout = nn.Dropout(dropout)

    def forward(self, words: Int[Tensor, "batch n"], place: int = 0) -> Float[Tensor, "batch n width"]:
        embedded = super().forward(words)
        count, width = embedded.shape[1:]
        places = positions.sinusoidal(place + count, width, dtype=embedded.dtype, device=embedded.device)
        return self.dropout(width**0.5 * embedded + places[place:])


class Encoder(nn.Module):
    """Reads a source: its words' embeddings, through all layers, under a last norm."""

    def __init__(self, vocabulary: int, width: int, heads: int, layers: int, hidden: int, dropout: float):
        super().__init__()
        self.embed = Embedding(vocabulary, width, dropout)
        self.layers = nn.ModuleList(EncoderLayer(width, heads, hidden, dropout) for _ in range(layers))
        self.norm = nn.LayerNorm(width)

    def forward(self, source: Int[Tensor, "batch m"], lengths: Int[Tensor, " batch"]) -> Memory:
        padded = bool((lengths < source.shape[1]).any())
        mask = masks.padding(lengths[:, None], source.shape[1]) if padded else None  # for all heads
        x, seen = self.embed(source), []
        for layer in self.layers:
            x, attended = layer(x, mask)
            seen.append(attended)
        return Memory(self.norm(x), lengths, mask, tuple(seen))


class Decoder(nn.Module):
    r"""Writes word by word: logits $E\,\mathrm{norm}(y)$ of the word that follows each, y the last layer's.

    E is the embedding of the target words, one matrix in and out (Press & Wolf 2016; Vaswani et al. 2017,
    section 3.4). `aligning` is the layer whose cross-attention tells where a word comes from.
    """

    def __init__(
        self,
        vocabulary: int,
        width: int,
        heads: int,
        layers: int,
        hidden: int,
        dropout: float,
        aligning: int,
    ):
        super().__init__()
        self.aligning = aligning
        self.embed = Embedding(vocabulary, width, dropout)
        self.layers = nn.ModuleList(DecoderLayer(width, heads, hidden, dropout) for _ in range(layers))
        self.norm = nn.LayerNorm(width)

    def start(self, memory: Memory) -> State:
        """Before the first word."""
        return State(tuple(KVCache() for _ in self.layers), 0)

    def forward(self, memory: Memory, words: Int[Tensor, "batch n"], state: State | None = None) -> Written:
        """Read n words and say what follows each: all of a sentence, or those that come after a state."""
        place, count = 0 if state is None else state.place, words.shape[1]
        causal = masks.causal(count, device=words.device)
        keeping = [causal] * len(self.layers) if state is None else state.caches
        x, seen, crossed = self.embed(words, place), [], []
        for layer, visible in zip(self.layers, keeping, strict=True):
            x, own, cross = layer(x, memory.states, memory.mask, visible)
            seen.append(own)
            crossed.append(cross)
        logits = self.norm(x) @ self.embed.weight.mT
        weights = crossed[self.aligning].weights.mean(1)
        after = None if state is None else State(state.caches, place + count)
        return Written(logits, weights, tuple(seen), tuple(crossed), after)
