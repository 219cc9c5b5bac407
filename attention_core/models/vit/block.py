"""A block of a vision transformer: attention among all tokens, then a small network for each by itself."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn.functional import gelu, silu

from attention_core import heads as head_axis
from attention_core.pipeline import Attended, attend


class SelfAttention(nn.Module):
    r"""Multi-head self-attention among n tokens, with all that an explanation asks for within reach.

    $o = W^O [\mathrm{head}_1; \dots; \mathrm{head}_H]$ with
    $\mathrm{head}_h = \mathrm{attend}(W^Q_h x, W^K_h x, W^V_h x)$ as in Vaswani et al. (2017), section 3.2.2.
    The softmax is explicit, so the weights of every head are there, on the graph, at every call.

    Parameters
    ----------
    width, heads
        Features of a token, and the heads that divide them.
    bias
        Whether query, key and value add a bias; the output always does.
    """

    def __init__(self, width: int, heads: int, *, bias: bool = True):
        super().__init__()
        self.heads = heads
        self.query, self.key, self.value = (nn.Linear(width, width, bias=bias) for _ in range(3))
        self.out = nn.Linear(width, width)

    def forward(self, x: Float[Tensor, "batch n width"], mask: Bool[Tensor, "..."] | None = None) -> Attended:
        """Output (batch, n, width), weights (batch, heads, n, n), lse (batch, heads, n)."""
        projections = (self.query, self.key, self.value)
        query, key, value = (head_axis.split(project(x), self.heads) for project in projections)
        attended = attend(query, key, value, mask=mask)
        return attended._replace(output=self.out(head_axis.merge(attended.output)))


class Feed(nn.Module):
    r"""The network behind attention, for each token by itself: $W_2\,\mathrm{GELU}(W_1 x + b_1) + b_2$.

    GELU is the exact one, $x\,\Phi(x)$ of Hendrycks & Gimpel (2016), not its approximation by tanh.
    """

    def __init__(self, width: int, hidden: int):
        super().__init__()
        self.up, self.down = nn.Linear(width, hidden), nn.Linear(hidden, width)

    def forward(self, x: Float[Tensor, "batch n width"]) -> Float[Tensor, "batch n width"]:
        return self.down(gelu(self.up(x)))


class GatedFeed(nn.Module):
    r"""SwiGLU of Shazeer (2020), in the largest DINOv2.

    $W_2\,(\mathrm{SiLU}(W_g x + b_g) \odot (W_1 x + b_1)) + b_2$.
    """

    def __init__(self, width: int, hidden: int):
        super().__init__()
        self.gate, self.up = nn.Linear(width, hidden), nn.Linear(width, hidden)
        self.down = nn.Linear(hidden, width)

    def forward(self, x: Float[Tensor, "batch n width"]) -> Float[Tensor, "batch n width"]:
        return self.down(silu(self.gate(x)) * self.up(x))


class LayerScale(nn.Module):
    r"""A learned factor for each feature, $\lambda \odot x$, of Touvron et al. (2021, CaiT), section 2."""

    def __init__(self, width: int):
        super().__init__()
        self.factor = nn.Parameter(torch.ones(width))

    def forward(self, x: Float[Tensor, "batch n width"]) -> Float[Tensor, "batch n width"]:
        return x * self.factor


class Block(nn.Module):
    r"""A pre-norm block, of Dosovitskiy et al. (2020), equations 2 and 3.

    $h = x + \lambda_1 \odot \mathrm{attention}(\mathrm{norm}_1(x))$,
    $y = h + \lambda_2 \odot \mathrm{mlp}(\mathrm{norm}_2(h))$; without layer scale both $\lambda$ are 1.
    """

    def __init__(
        self,
        width: int,
        heads: int,
        hidden: int,
        *,
        eps: float,
        layer_scale: bool = False,
        gated: bool = False,
        bias: bool = True,
    ):
        super().__init__()
        self.norm1 = nn.LayerNorm(width, eps=eps)
        self.attention = SelfAttention(width, heads, bias=bias)
        self.scale1 = LayerScale(width) if layer_scale else nn.Identity()
        self.norm2 = nn.LayerNorm(width, eps=eps)
        self.mlp = (GatedFeed if gated else Feed)(width, hidden)
        self.scale2 = LayerScale(width) if layer_scale else nn.Identity()

    def forward(
        self, x: Float[Tensor, "batch n width"], mask: Bool[Tensor, "..."] | None = None
    ) -> Float[Tensor, "batch n width"]:
        """One step up; a token whose column of the mask is False exists for no other."""
        x = x + self.scale1(self.attention(self.norm1(x), mask).output)
        return x + self.scale2(self.mlp(self.norm2(x)))
