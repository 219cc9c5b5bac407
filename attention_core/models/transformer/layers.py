"""The layers of the transformer: attention and a small network, each beside the path that x itself takes."""

from collections.abc import Callable
from functools import partial

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from attention_core import pipeline
from attention_core.decoding import KVCache
from attention_core.models.decoder import through
from attention_core.multihead import MultiHeadAttention
from attention_core.pipeline import Attended


class FeedForward(nn.Module):
    r"""The network for each word by itself: $W_2 \max(0, W_1 x + b_1) + b_2$, equation 2 of the paper."""

    def __init__(self, width: int, hidden: int):
        super().__init__()
        self.up, self.down = nn.Linear(width, hidden), nn.Linear(hidden, width)

    def forward(self, x: Float[Tensor, "batch n width"]) -> Float[Tensor, "batch n width"]:
        return self.down(torch.relu(self.up(x)))


class EncoderLayer(nn.Module):
    r"""A layer of the encoder: $h = x + \mathrm{attention}(\bar x)$, $y = h + \mathrm{feed}(\bar h)$.

    $\bar x$ is x under a layer norm. Vaswani et al. (2017), section 3.1, have the norm after the sum,
    $\mathrm{norm}(x + \mathrm{attention}(x))$; here it comes before each part (pre-norm), so that x itself
    goes through all layers unchanged. Gradients near the output are then no larger than elsewhere, and
    training needs no long warm-up (Xiong et al. 2020).
    """

    def __init__(self, width: int, heads: int, hidden: int, dropout: float):
        super().__init__()
        self.attention_norm, self.feed_norm = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attention = MultiHeadAttention(width, heads)
        self.feed = FeedForward(width, hidden)
        self.dropout = nn.Dropout(dropout)

    def forward(
        self, x: Float[Tensor, "batch m width"], mask: Bool[Tensor, "batch 1 1 m"] | None
    ) -> tuple[Float[Tensor, "batch m width"], Attended]:
        """One step up, and the attention of all heads; a source word that is padding exists for no other."""
        attended = self.attention(self.attention_norm(x), mask=mask)
        hidden = x + self.dropout(attended.output)
        return hidden + self.dropout(self.feed(self.feed_norm(hidden))), attended


class DecoderLayer(nn.Module):
    r"""A layer of the decoder, which reads what is written so far, then the source s, then thinks.

    $g = x + \mathrm{attention}(\bar x)$ over the target's words up to each, itself included;
    $h = g + \mathrm{cross}(\bar g, s)$; $y = h + \mathrm{feed}(\bar h)$. Pre-norm as `EncoderLayer`.
    """

    def __init__(self, width: int, heads: int, hidden: int, dropout: float):
        super().__init__()
        self.attention_norm, self.cross_norm, self.feed_norm = (nn.LayerNorm(width) for _ in range(3))
        self.attention = MultiHeadAttention(width, heads)
        self.cross = MultiHeadAttention(width, heads)
        self.feed = FeedForward(width, hidden)
        self.dropout = nn.Dropout(dropout)

    def forward(
        self,
        x: Float[Tensor, "batch n width"],
        states: Float[Tensor, "batch m width"],
        mask: Bool[Tensor, "batch 1 1 m"] | None,
        visible: Bool[Tensor, "n n"] | KVCache,
    ) -> tuple[Float[Tensor, "batch n width"], Attended, Attended]:
        """One step up, with both attentions of all heads: to the target's words, and to the source's.

        `visible` says which target words see which; or it is a cache, in which those before these are kept.
        """
        attend = (
            partial(through, visible)
            if isinstance(visible, KVCache)
            else partial(pipeline.attend, mask=visible)
        )
        attended = self._own(self.attention_norm(x), attend)
        x = x + self.dropout(attended.output)
        crossed = self.cross(self.cross_norm(x), states, mask=mask)
        x = x + self.dropout(crossed.output)
        return x + self.dropout(self.feed(self.feed_norm(x))), attended, crossed

    def _own(self, x: Tensor, attend: Callable[[Tensor, Tensor, Tensor], Attended]) -> Attended:
        attended = attend(*self.attention.project(x, x, x))
        return attended._replace(output=self.attention.join(attended.output))
