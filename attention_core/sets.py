"""Attention over sets: blocks that do not care for order, and summaries of a fixed size.

A block's residual path carries each row on beside its attention. So a query that may attend to nothing still
has an output, made of itself: only its weights are 0 and its lse -inf.
"""

import math
from collections.abc import Callable

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from attention_core import heads as head_axis
from attention_core import scores
from attention_core.multihead import MultiHeadAttention
from attention_core.pipeline import Attended


class MAB(nn.Module):
    r"""Multihead attention block, of Lee et al. (2018), section 3.1.

    $\mathrm{MAB}(X, Y) = \mathrm{LN}(H + \mathrm{rFF}(H))$ with
    $H = \mathrm{LN}(X + \mathrm{Multihead}(X, Y, Y))$: a transformer's encoder layer, without positions.
    The row-wise feed-forward is one layer, $\mathrm{rFF}(h) = \max(0, W h + b)$, as in the authors' code.
    $\mathrm{MAB}(X, X)$ is their set attention block, SAB.

    Parameters
    ----------
    width
        Features of the query and of the output.
    heads
        Number of heads; divides `width`.
    key_width
        Features of the key, if other than `width`.
    """

    def __init__(
        self,
        width: int,
        heads: int,
        *,
        key_width: int | None = None,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ):
        super().__init__()
        options = {"device": device, "dtype": dtype}
        self.width, self.heads = width, heads
        self.attention = MultiHeadAttention(
            width, heads, key_width=key_width, value_width=key_width, **options
        )
        self.attention_norm = nn.LayerNorm(width, **options)
        self.feed = nn.Linear(width, width, **options)
        self.feed_norm = nn.LayerNorm(width, **options)

    def forward(
        self,
        query: Float[Tensor, "batch n {self.width}"],
        key: Float[Tensor, "batch m key_width"] | None = None,
        *,
        mask: Bool[Tensor, "..."] | None = None,
        bias: Float[Tensor, "..."] | None = None,
    ) -> Attended:
        """Let each element of `query` attend to the set `key`; alone, a set attends to itself.

        `mask` and `bias` broadcast to (batch, heads, n, m); for sets of several sizes, padded to one of them,
        `masks.padding(lengths[:, None], m)`.
        Output is (batch, n, width), weights (batch, heads, n, m), lse (batch, heads, n).
        """
        attended = self.attention(query, key, mask=mask, bias=bias)
        return attended._replace(output=_by_row(self._finish, query + attended.output))

    def _finish(self, x: Tensor) -> Tensor:
        hidden = self.attention_norm(x)
        return self.feed_norm(hidden + torch.relu(self.feed(hidden)))


class ISAB(nn.Module):
    r"""Induced set attention block, of Lee et al. (2018), section 3.1.

    $\mathrm{ISAB}(X) = \mathrm{MAB}(X, H)$ with $H = \mathrm{MAB}(I, X)$: learned inducing points $I$ read
    the set, and its elements read them, in $O(n \cdot inducing)$ instead of $O(n^2)$.
    Permuting the set permutes the output.

    Parameters
    ----------
    width
        Features of the set's elements and of the output.
    heads
        Number of heads in both blocks; divides `width`.
    inducing
        Number of inducing points.
    """

    def __init__(
        self,
        width: int,
        heads: int,
        inducing: int,
        *,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ):
        super().__init__()
        head_axis.check_positive("inducing", inducing)
        options = {"device": device, "dtype": dtype}
        self.width = width
        self.summary = MAB(width, heads, **options)
        self.spread = MAB(width, heads, **options)
        self.points = nn.Parameter(torch.empty(inducing, width, **options))
        nn.init.xavier_uniform_(self.points)

    def forward(
        self, x: Float[Tensor, "batch n {self.width}"], *, mask: Bool[Tensor, "..."] | None = None
    ) -> Attended:
        """Attend from each element to the set's summary.

        `mask` says which elements the inducing points may see, and broadcasts to (batch, heads, inducing, n):
        for sets padded to one size, `masks.padding(lengths[:, None], n)`. What an element sees of another
        passes through all inducing points, so no mask of pairs of elements could be kept. Rows of padding
        are answered like the others, and are to be left out of what follows.

        Output is (batch, n, width); weights (batch, heads, n, inducing) and lse (batch, heads, n) are those
        from the elements to the inducing points, and `summarise` gives those of the other half.
        """
        summary = self.summarise(x, mask=mask).output.to(x.dtype)  # (batch, inducing, width)
        # A mask, though it hides nothing: a NaN in padding is to stay in its own row, backward too.
        seen = None if mask is None else torch.ones((), dtype=torch.bool, device=x.device)
        return self.spread(x, summary, mask=seen)

    def summarise(
        self, x: Float[Tensor, "batch n {self.width}"], *, mask: Bool[Tensor, "..."] | None = None
    ) -> Attended:
        r"""The first half, $H = \mathrm{MAB}(I, X)$: output (batch, inducing, width), weights with n keys."""
        _check_set("x", x, self.width)
        return self.summary(self.points.to(x.dtype).expand(len(x), -1, -1), x, mask=mask)


class PMA(nn.Module):
    r"""Pooling by multihead attention, of Lee et al. (2018), section 3.2.

    $\mathrm{PMA}(X) = \mathrm{MAB}(S, \mathrm{rFF}(X))$ with learned seeds $S$, one for each vector wanted of
    the set, and $\mathrm{rFF}(x) = \max(0, W x + b)$. Permuting the set changes nothing.

    Parameters
    ----------
    width
        Features of the set's elements and of the output.
    heads
        Number of heads; divides `width`.
    seeds
        Number of vectors to pool the set into.
    """

    def __init__(
        self,
        width: int,
        heads: int,
        seeds: int = 1,
        *,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ):
        super().__init__()
        head_axis.check_positive("seeds", seeds)
        options = {"device": device, "dtype": dtype}
        self.width = width
        self.block = MAB(width, heads, **options)
        self.feed = nn.Linear(width, width, **options)
        self.seeds = nn.Parameter(torch.empty(seeds, width, **options))
        nn.init.xavier_uniform_(self.seeds)

    def forward(
        self, x: Float[Tensor, "batch m {self.width}"], *, mask: Bool[Tensor, "..."] | None = None
    ) -> Attended:
        """Pool the set.

        `mask` says which elements the seeds may see, and broadcasts to (batch, heads, seeds, m): for sets
        padded to one size, `masks.padding(lengths[:, None], m)`. Of an empty set the seeds speak alone.
        Output is (batch, seeds, width), weights (batch, heads, seeds, m), lse (batch, heads, seeds).
        """
        _check_set("x", x, self.width)
        features = _by_row(lambda rows: torch.relu(self.feed(rows)), x)
        return self.block(self.seeds.to(features.dtype).expand(len(x), -1, -1), features, mask=mask)


class PerceiverBlock(nn.Module):
    r"""Perceiver block, of Jaegle et al. (2021), section 3: latents read the inputs, then think.

    $z \leftarrow z + \mathrm{Multihead}(\mathrm{LN}(z), \mathrm{LN}(x), \mathrm{LN}(x))$, then
    $z \leftarrow z + \mathrm{MLP}(\mathrm{LN}(z))$; and the same again `layers` times, z attending to itself.
    The MLP has one hidden layer, with GELU. With n latents and m inputs, attention costs $O(nm)$ and then
    $O(n^2)$ a layer: linear in the inputs, of which there may be as many as an image has pixels.

    Parameters
    ----------
    width
        Features of the latents and of the output.
    heads
        Number of heads in every attention; divides `width`.
    key_width
        Features of the inputs, if other than `width`.
    layers
        Number of self-attention layers after the inputs are read.
    widening
        Hidden features of the MLPs, as a multiple of `width`.
    """

    def __init__(
        self,
        width: int,
        heads: int,
        *,
        key_width: int | None = None,
        layers: int = 1,
        widening: int = 1,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ):
        super().__init__()
        head_axis.check_positive("layers", layers)
        options = {"widening": widening, "device": device, "dtype": dtype}
        self.width, self.heads = width, heads
        self.key_width = width if key_width is None else key_width
        self.read = _Layer(width, heads, key_width=self.key_width, **options)
        self.think = nn.ModuleList(_Layer(width, heads, **options) for _ in range(layers))

    def forward(
        self,
        query: Float[Tensor, "batch n {self.width}"],
        key: Float[Tensor, "batch m {self.key_width}"],
        *,
        mask: Bool[Tensor, "..."] | None = None,
        bias: Float[Tensor, "..."] | None = None,
    ) -> Attended:
        """Let the latents `query` read the inputs `key`, then attend to each other.

        `mask` and `bias` broadcast to (batch, heads, n, m) and concern the reading alone: among themselves
        the latents see everything, so one that has read a NaN passes it to all.
        Output is (batch, n, width); the reading's weights (batch, heads, n, m) and lse (batch, heads, n).
        """
        _check_set("query", query, self.width)
        _check_set("key", key, self.key_width)
        attended = self.read(query, key, mask=mask, bias=bias)
        latents = attended.output
        for layer in self.think:
            latents = layer(latents).output
        return attended._replace(output=latents)


class _Layer(nn.Module):
    """Attention and an MLP, each normalising what it is given and adding to it (pre-norm)."""

    def __init__(self, width: int, heads: int, *, key_width: int | None = None, widening: int, **options):
        super().__init__()
        head_axis.check_positive("widening", widening)
        self.attention = MultiHeadAttention(
            width, heads, key_width=key_width, value_width=key_width, **options
        )
        self.query_norm = nn.LayerNorm(width, **options)
        self.key_norm = None if key_width is None else nn.LayerNorm(key_width, **options)
        self.mlp = nn.Sequential(
            nn.LayerNorm(width, **options),
            nn.Linear(width, widening * width, **options),
            nn.GELU(),
            nn.Linear(widening * width, width, **options),
        )

    def forward(self, query: Tensor, key: Tensor | None = None, *, mask=None, bias=None) -> Attended:
        own = _by_row(self.query_norm, query)
        key = own if key is None else _by_row(self.key_norm, key)
        attended = self.attention(own, key, mask=mask, bias=bias)
        hidden = query + attended.output
        return attended._replace(output=hidden + _by_row(self.mlp, hidden))


def _by_row(function: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """A function of single rows, NaN for a row that is not finite.

    Such a row is 0 inside, so that it reaches no parameter's gradient: 0 * NaN would be NaN there even if the
    row is masked from all that follows.
    """
    bad = ~x.isfinite().all(-1, keepdim=True)
    return function(x.masked_fill(bad, 0.0)).masked_fill(bad, math.nan)


def _check_set(name: str, x: Tensor, width: int) -> None:
    scores.check_sequences(**{name: x})
    if x.ndim != 3 or x.shape[-1] != width:
        raise ValueError(
            f"`{name}` must have shape (batch, elements, {width}); got {tuple(x.shape)}. "
            f"A single set is a batch of one: `{name}[None]`."
        )
