"""The translator's attention: parameters only; scores, windows and normalisers are the library's."""

from collections.abc import Callable
from functools import partial
from numbers import Real
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from attention_core import local, normalizers, pipeline, scores
from attention_core.pipeline import Attended

ATTENTIONS = ("none", "additive", "dot", "general", "concat", "local_m", "local_p", "hard")
SCORE = {"local_m": "general", "local_p": "general", "hard": "additive"}  # of the others: their own name
EARLY = ("additive", "hard")  # asked by the previous state, before the decoder moves on

_COLDEST = 1e-4  # a window's scores are divided by T as they are; below, float32 could overflow


class Memory(NamedTuple):
    """What the encoder leaves of a batch of sentences, and what a decoder may look at."""

    states: Float[Tensor, "batch m width"]  # h_j, both directions side by side
    keys: Float[Tensor, "batch m key_width"]  # what the scores compare: h_j, or as `Attention.keys` has it
    summary: Float[Tensor, "batch width"]  # each direction's last state
    initial: Float[Tensor, "batch width"]  # s_0, the decoder's first state
    lengths: Int[Tensor, " batch"]
    mask: Bool[Tensor, "batch 1 m"] | None  # None where no sentence is padded

    def select(self, rows: Int[Tensor, " chosen"]) -> "Memory":
        """Those sentences of the batch, in that order; one may come several times."""
        return Memory(*(None if part is None else part[rows] for part in self))


class Attention(nn.Module):
    r"""Where a decoder state looks: $c = \sum_j w_j h_j$ over the encoder's states $h_j$.

    `kind` is one of `ATTENTIONS` but `none`; W and v are learned, q the query, a decoder state:

    - `additive`: $v^\top \tanh(W_q q + W_k h_j)$, softmax (Bahdanau et al. 2014)
    - `dot`, `general`, `concat`: $q^\top h_j$, $q^\top W h_j$, $v^\top \tanh(W [q; h_j])$, softmax
      (Luong et al. 2015)
    - `local_m`, `local_p`: `general` in a window of `half_width` to either side (`local.local_monotonic`,
      `local.local_predictive`; of the latter a row's weights sum to less than 1)
    - `hard`: one place alone (Xu et al. 2015), with the scores of `additive`: the best one, but in training
      one drawn from the softmax.
    """

    def __init__(self, kind: str, width: int, half_width: int = 2):
        super().__init__()
        self.kind, self.width, self.half_width = kind, width, half_width
        self.function = getattr(scores, SCORE.get(kind, kind))
        shapes = {
            "dot": {},
            "general": {"weight": (width, width)},
            "concat": {"weight": (width, 2 * width), "v": (width,)},
            "additive": {"w_query": (width, width), "w_key": (width, width), "v": (width,)},
        }[SCORE.get(kind, kind)]
        self.score = nn.ParameterDict({name: torch.empty(shape) for name, shape in shapes.items()})
        if kind == "local_p":
            self.w_position = nn.Parameter(torch.empty(width, width))
            self.v_position = nn.Parameter(torch.empty(width))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Even attention at first: v, or the W of `general`, is 0 (Bahdanau et al. 2014, appendix B.1).

        Every other entry is uniform, of variance 1 / (number of inputs).
        """
        for parameter in self.parameters():
            bound = (3 / parameter.shape[-1]) ** 0.5
            nn.init.uniform_(parameter, -bound, bound)
        last = self.score.get("v", self.score.get("weight"))
        if last is not None:
            nn.init.zeros_(last)

    def keys(self, states: Float[Tensor, "batch m {self.width}"]) -> Float[Tensor, "batch m key_width"]:
        """What scores compare with: the states, but for `additive` $W_k h_j$, once for all words to come."""
        return states @ self.score["w_key"].mT if "w_key" in self.score else states

    def _bound(self) -> dict[str, Tensor]:
        """Of the score; its keys being projected already, the identity stands in for $W_k$."""
        found = dict(self.score)
        if "w_key" in found:
            found["w_key"] = torch.eye(len(found["v"]), dtype=found["v"].dtype, device=found["v"].device)
        return found

    def forward(
        self,
        query: Float[Tensor, "batch n {self.width}"],
        memory: Memory,
        *,
        place: int = 0,
        temperature: Real = 1.0,
        normalize: Callable[..., Tensor] | None = None,
    ) -> Attended:
        """Output (batch, n, width), weights (batch, n, m) and lse of queries at target places from `place`.

        The scores are divided by `temperature`. `normalize` takes the normaliser's place, where there is no
        window: that is how hard attention draws in training.
        """
        inputs = (query, memory.keys, memory.states)
        score = partial(self.function, **self._bound())
        if self.kind == "local_m":
            # The function's first query stands at the first key, so the places before are filled with copies.
            before = query[:, :1].expand(-1, place, -1)
            inputs = (torch.cat([before, query], dim=1), *inputs[1:])
            attended = local.local_monotonic(
                *inputs, self.half_width, score=_cooled(score, temperature), mask=memory.mask
            )
            return Attended(*(part[:, place:] for part in attended))
        if self.kind == "local_p":
            prediction = (self.w_position, self.v_position, self.half_width)
            return local.local_predictive(
                *inputs, *prediction, score=_cooled(score, temperature), lengths=memory.lengths
            )
        if normalize is None:
            soft = partial(normalizers.softmax, temperature=temperature)
            normalize = normalizers.hard if self.kind == "hard" else soft
        return pipeline.attend(*inputs, score=score, mask=memory.mask, normalize=normalize)


def _cooled(score: Callable[..., Tensor], temperature: Real) -> Callable[..., Tensor]:
    """Scores over T, for windows, whose softmax takes no temperature."""
    normalizers.rows.check_temperature(temperature)
    if temperature == 1:
        return score
    return lambda query, key: score(query, key) / max(float(temperature), _COLDEST)
