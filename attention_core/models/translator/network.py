"""The network: a bidirectional GRU reads, a GRU writes, attention lies between. Numbers in, logits out."""

from collections.abc import Callable
from numbers import Real
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from attention_core import masks
from attention_core.models.translator.attention import EARLY, Attention, Memory
from attention_core.pipeline import Attended

OWN = -1.0  # h_j = (1 - z) n + z h_{j-1}: an update gate z of 0.27, not 0.5


class State(NamedTuple):
    """Where a decoder stands in its sentences."""

    hidden: Float[Tensor, "batch width"]  # s_t
    fed: Float[Tensor, "batch width"]  # the last attentional vector, for input feeding
    place: int  # how many words have been read

    def select(self, rows: Int[Tensor, " chosen"]) -> "State":
        return State(self.hidden[rows], self.fed[rows], self.place)


class Decoded(NamedTuple):
    """What a decoder says to n words."""

    logits: Float[Tensor, "batch n vocabulary"]  # of the word that follows each
    weights: Float[Tensor, "batch n m"] | None  # None: it has no attention
    state: State


class Encoder(nn.Module):
    r"""A bidirectional GRU: $h_j = [\overrightarrow h_j; \overleftarrow h_j]$, each half as wide.

    Section 3.2 of Bahdanau et al. (2014). The decoder begins at
    $s_0 = \tanh(W [\overrightarrow h_m; \overleftarrow h_1] + b)$, both directions' last states (theirs has
    the second alone).

    With `own` states begin as nearly those of their own words, and learn from there how far to remember: the
    bias of the update gates is `OWN` at first. What is read at $h_j$ is then first of all word j. A summary,
    which has to hold a whole sentence, begins without.
    """

    def __init__(self, vocabulary: int, embedding: int, width: int, dropout: float, own: bool):
        super().__init__()
        self.embed = nn.Embedding(vocabulary, embedding)
        self.recur = nn.GRU(embedding, width // 2, batch_first=True, bidirectional=True)
        self.bridge = nn.Linear(width, width)
        self.dropout = nn.Dropout(dropout)
        if own:
            with torch.no_grad():
                for bias in (self.recur.bias_ih_l0, self.recur.bias_ih_l0_reverse):
                    _, update, _ = bias.chunk(3)
                    update += OWN

    def forward(self, source: Int[Tensor, "batch m"], lengths: Int[Tensor, " batch"]) -> Memory:
        embedded = self.dropout(self.embed(source))
        padded = bool((lengths < source.shape[1]).any())
        if padded:  # packed, so that the way back begins at each sentence's own end
            packed = pack_padded_sequence(embedded, lengths, batch_first=True, enforce_sorted=False)
            states, last = self.recur(packed)
            states, _ = pad_packed_sequence(states, batch_first=True, total_length=source.shape[1])
        else:
            states, last = self.recur(embedded)
        summary = torch.cat([last[0], last[1]], dim=-1)
        mask = masks.padding(lengths, source.shape[1]) if padded else None
        return Memory(states, states, summary, torch.tanh(self.bridge(summary)), lengths, mask)


class Decoder(nn.Module):
    r"""A GRU that writes word by word; y is the embedded previous word, $c_t$ what attention answers.

    - `additive`, `hard` (Bahdanau et al. 2014): the *previous* state asks,
      $c_t = \mathrm{attend}(s_{t-1}, h)$, $s_t = \mathrm{GRU}([y_{t-1}; c_t], s_{t-1})$, and
      $o_t = \tanh(W [s_t; c_t; y_{t-1}])$, their g of equation 4.
    - the others (Luong et al. 2015): the *current* state asks, $s_t = \mathrm{GRU}(y_{t-1}, s_{t-1})$,
      $c_t = \mathrm{attend}(s_t, h)$, $o_t = \tanh(W [c_t; s_t])$, their equation 5; no answer enters the
      state, so all states come first, in one call, and all answers after them. With `input_feeding`
      (section 3.3) the GRU reads $[y_{t-1}; o_{t-1}]$, and that is lost.
    - `none`: as the first, but $c_t$ is one vector throughout, the encoder's summary (Cho et al. 2014).

    The next word's logits are $U o_t + b$.
    """

    def __init__(
        self,
        vocabulary: int,
        attention: str,
        embedding: int,
        width: int,
        dropout: float,
        input_feeding: bool,
        half_width: int,
    ):
        super().__init__()
        self.early, self.input_feeding = attention in EARLY, input_feeding
        self.attention = None if attention == "none" else Attention(attention, width, half_width)
        early = self.early or self.attention is None
        self.embed = nn.Embedding(vocabulary, embedding)
        self.recur = nn.GRU(embedding + width * (early or input_feeding), width, batch_first=True)
        self.readout = nn.Linear(2 * width + embedding * early, width, bias=False)
        self.unembed = nn.Linear(width, vocabulary)
        self.dropout = nn.Dropout(dropout)

    def prepare(self, memory: Memory) -> Memory:
        """The encoder's memory, made ready for this decoder to attend to."""
        return memory if self.attention is None else memory._replace(keys=self.attention.keys(memory.states))

    def start(self, memory: Memory) -> State:
        return State(memory.initial, torch.zeros_like(memory.initial), 0)

    def forward(
        self,
        memory: Memory,
        words: Int[Tensor, "batch n"],
        state: State,
        *,
        temperature: Real = 1.0,
        normalize: Callable[..., Tensor] | None = None,
    ) -> Decoded:
        """Read n words and say what follows each: a whole sentence in training, one word in translating."""
        options = {"temperature": temperature, "normalize": normalize}
        embedded = self.dropout(self.embed(words))
        if self.attention is None:
            read = self._without(memory, embedded, state)
        elif self.early:
            read = self._asking_before(memory, embedded, state, options)
        elif self.input_feeding:
            read = self._feeding(memory, embedded, state, options)
        else:
            read = self._asking_after(memory, embedded, state, options)
        output, weights, hidden = read
        after = State(hidden, output[:, -1], state.place + words.shape[1])
        return Decoded(self.unembed(self.dropout(output)), weights, after)

    def _without(self, memory: Memory, embedded: Tensor, state: State) -> tuple[Tensor, None, Tensor]:
        context = memory.summary[:, None].expand(-1, embedded.shape[1], -1)
        hidden, last = self._moved(torch.cat([embedded, context], dim=-1), state.hidden)
        return self._read(hidden, context, embedded), None, last

    def _asking_before(
        self, memory: Memory, embedded: Tensor, state: State, options: dict
    ) -> tuple[Tensor, Tensor, Tensor]:
        hidden, states, answers = state.hidden, [], []
        for step, word in enumerate(embedded.split(1, dim=1)):
            answers.append(self.attention(hidden[:, None], memory, place=state.place + step, **options))
            moved, hidden = self._moved(torch.cat([word, answers[-1].output], dim=-1), hidden)
            states.append(moved)
        context, weights, _ = _joined(answers)
        return self._read(torch.cat(states, dim=1), context, embedded), weights, hidden

    def _asking_after(
        self, memory: Memory, inputs: Tensor, state: State, options: dict
    ) -> tuple[Tensor, Tensor, Tensor]:
        hidden, last = self._moved(inputs, state.hidden)
        answer = self.attention(hidden, memory, place=state.place, **options)
        return self._read(answer.output, hidden), answer.weights, last

    def _feeding(
        self, memory: Memory, embedded: Tensor, state: State, options: dict
    ) -> tuple[Tensor, Tensor, Tensor]:
        outputs, weights = [], []
        for word in embedded.split(1, dim=1):
            inputs = torch.cat([word, state.fed[:, None]], dim=-1)
            output, row, hidden = self._asking_after(memory, inputs, state, options)
            state = State(hidden, output[:, 0], state.place + 1)
            outputs.append(output)
            weights.append(row)
        return torch.cat(outputs, dim=1), torch.cat(weights, dim=1), state.hidden

    def _moved(self, inputs: Tensor, hidden: Tensor) -> tuple[Tensor, Tensor]:
        """All states (batch, n, width), and the last of them (batch, width)."""
        states, last = self.recur(inputs, hidden[None])
        return states, last[0]

    def _read(self, *parts: Tensor) -> Tensor:
        return torch.tanh(self.readout(torch.cat(parts, dim=-1)))


def _joined(answers: list[Attended]) -> Attended:
    """Single queries' answers as those of a sequence."""
    return Attended(*(torch.cat(parts, dim=1) for parts in zip(*answers, strict=True)))
