"""Multi-head latent attention: keys and values rebuilt from one small latent, or never built at all."""

import math
from functools import partial
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Shaped
from torch import Tensor, nn

from attention_core import heads as head_axis
from attention_core import pipeline, scores
from attention_core.multihead import check_input, check_visible, quarantine
from attention_core.pipeline import Attended
from attention_core.positions import rope


class Compressed(NamedTuple):
    """All that is kept of m tokens: what a cache holds while decoding."""

    latent: Float[Tensor, "batch m latent_width"]
    rope_key: Float[Tensor, "batch m rope_width"]  # already turned to its position; one for all heads


class LatentAttention(nn.Module):
    r"""Multi-head latent attention (MLA), of DeepSeek-AI (2024), section 2.1.

    Of each token $c_j = \mathrm{norm}(W^{DKV} x_j)$ and $k^R_j = \mathrm{RoPE}_j(W^{KR} x_j)$ are kept;
    $k_{j,h} = [W^{UK}_h c_j; k^R_j]$ and $v_{j,h} = W^{UV}_h c_j$; on the query's side
    $q_{i,h} = [W^{UQ}_h c^Q_i; \mathrm{RoPE}_i(W^{QR}_h c^Q_i)]$, $c^Q_i = \mathrm{norm}(W^{DQ} x_i)$, and
    $e_{ij} = q_{i,h}^\top k_{j,h} / \sqrt{d_{nope} + d_{rope}}$; then $o = W^O [\mathrm{head}_1; \dots]$.

    A rotation between $W^{UQ}$ and $W^{UK}$ would keep the two from being multiplied together; so position
    has features of its own (decoupled RoPE, in interleaved pairs), whose key the heads share.
    The RMS norms are those of the released models. No projection has a bias.

    Parameters
    ----------
    width
        Features of the input and of the output.
    heads
        Number of heads.
    latent_width
        Features of the latent $c$ from which all heads' keys and values are made.
    head_width
        Features of each head's query and key that carry no position ($d_{nope}$).
    rope_width
        Features that carry nothing but position ($d_{rope}$); even.
    value_width
        Features of each head's value; `head_width` if not given.
    query_latent_width
        Features of the queries' own latent $c^Q$; without it queries are projected from x directly, as in the
        smaller released model. It saves no cache, only activations while training.
    base
        Of the rotations' wavelengths, as in `positions.rope`.
    """

    def __init__(
        self,
        width: int,
        heads: int,
        *,
        latent_width: int,
        head_width: int,
        rope_width: int,
        value_width: int | None = None,
        query_latent_width: int | None = None,
        base: float = 10000.0,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ):
        super().__init__()
        value_width = head_width if value_width is None else value_width
        _check_sizes(
            width=width,
            heads=heads,
            latent_width=latent_width,
            head_width=head_width,
            rope_width=rope_width,
            value_width=value_width,
            query_latent_width=1 if query_latent_width is None else query_latent_width,
        )
        self.width, self.heads, self.latent_width = width, heads, latent_width
        self.head_width, self.rope_width, self.value_width = head_width, rope_width, value_width
        self.base = base

        options = {"device": device, "dtype": dtype}
        self.to_query_latent = self.query_norm = None
        if query_latent_width is not None:
            self.to_query_latent = nn.Linear(width, query_latent_width, bias=False, **options)
            self.query_norm = nn.RMSNorm(query_latent_width, eps=1e-6, **options)
        query_width = heads * (head_width + rope_width)
        self.to_query = nn.Linear(query_latent_width or width, query_width, bias=False, **options)
        self.to_latent = nn.Linear(width, latent_width, bias=False, **options)
        self.to_rope_key = nn.Linear(width, rope_width, bias=False, **options)
        self.latent_norm = nn.RMSNorm(latent_width, eps=1e-6, **options)
        self.to_key = nn.Linear(latent_width, heads * head_width, bias=False, **options)
        self.to_value = nn.Linear(latent_width, heads * value_width, bias=False, **options)
        self.to_output = nn.Linear(heads * value_width, width, bias=False, **options)
        self.reset_parameters()

    @property
    def cache_width(self) -> int:
        """Numbers kept of each token; full heads keep heads * (head_width + rope_width + value_width)."""
        return self.latent_width + self.rope_width

    def reset_parameters(self) -> None:
        """Glorot-uniform weights, drawn from torch's global generator; norms of gain 1."""
        for module in self.children():
            if isinstance(module, nn.Linear):
                nn.init.xavier_uniform_(module.weight)
            else:
                module.reset_parameters()

    def compress(
        self,
        x: Float[Tensor, "batch m {self.width}"],
        *,
        positions: Shaped[Tensor, " m"] | None = None,
    ) -> Compressed:
        """What attention will need of the tokens x, at `positions` (0, 1, ... if not given).

        Append the parts along the tokens to grow a cache, and give it to `forward` as `memory`.
        """
        self._check_x(x)
        positions = _check_positions(positions, x.shape[1], start=0, device=x.device)
        rope_key = self._rotate(self.to_rope_key(x), positions)  # (batch, m, rope_width)
        return Compressed(self.latent_norm(self.to_latent(x)), rope_key)

    def forward(
        self,
        x: Float[Tensor, "batch n {self.width}"],
        memory: Compressed | None = None,
        *,
        mask: Bool[Tensor, "..."] | None = None,
        bias: Float[Tensor, "..."] | None = None,
        positions: Shaped[Tensor, " n"] | None = None,
        absorbed: bool = False,
    ) -> Attended:
        r"""Attend from x to itself, or to a `memory` that `compress` made (of x too, if x is to see itself).

        `positions` are x's own: by default 0, 1, ..., and with a memory of m tokens its last n places.
        `mask` and `bias` broadcast to (batch, heads, n, m).
        Output is (batch, n, width), weights (batch, heads, n, m), lse (batch, heads, n).

        `absorbed=True` gives the same without ever building a head's keys or values: by
        $q^\top (W^{UK} c) = (W^{UK\top} q)^\top c$ the query goes down to the latent instead, where all heads
        share one key $[c; k^R]$ and one value $c$, and $W^{UV}$ is applied to the averages. Cheaper where n
        is much smaller than m, as in decoding. The scale remains that of the heads' width.

        A query that may attend to nothing gives output 0.
        """
        self._check(x, memory, mask, bias)
        m = x.shape[1] if memory is None else memory.latent.shape[1]
        positions = _check_positions(positions, x.shape[1], start=m - x.shape[1], device=x.device)

        source = x if memory is None else torch.cat(memory, dim=-1)
        (x, source, _, bias), spoiled = quarantine(x, source, source, mask, bias)
        if memory is None:
            memory = self.compress(source, positions=positions)
        else:
            memory = Compressed(*source.split([self.latent_width, self.rope_width], dim=-1))

        attend = self._absorbed if absorbed else self._expanded
        attended = attend(*self._queries(x, positions), memory, mask, bias)
        output = self.to_output(head_axis.merge(attended.output))  # (batch, n, width)
        return pipeline.spoil(attended._replace(output=output), spoiled)

    def _queries(self, x: Tensor, positions: Tensor) -> tuple[Tensor, Tensor]:
        """Each head's query without position and its query of position alone."""
        if self.to_query_latent is not None:
            x = self.query_norm(self.to_query_latent(x))
        query = head_axis.split(self.to_query(x), self.heads)  # (batch, heads, n, head_width + rope_width)
        content, turned = query.split([self.head_width, self.rope_width], dim=-1)
        return content, self._rotate(turned, positions)

    def _expanded(
        self, content: Tensor, turned: Tensor, memory: Compressed, mask: Tensor | None, bias: Tensor | None
    ) -> Attended:
        """Every head with keys and values of its own."""
        key = head_axis.split(self.to_key(memory.latent), self.heads)  # (batch, heads, m, head_width)
        value = head_axis.split(self.to_value(memory.latent), self.heads)  # (batch, heads, m, value_width)
        rope_key = memory.rope_key[:, None].expand(-1, self.heads, -1, -1)
        query = torch.cat([content, turned], dim=-1)
        key = torch.cat([key, rope_key], dim=-1)
        return pipeline.attend(query, key, value, mask=mask, bias=bias)

    def _absorbed(
        self, content: Tensor, turned: Tensor, memory: Compressed, mask: Tensor | None, bias: Tensor | None
    ) -> Attended:
        """All heads over the latent itself: heads * n queries of one key/value head, so no key is copied."""
        heads, n = content.shape[1:3]
        w_key = self.to_key.weight.unflatten(0, (heads, -1))  # (heads, head_width, latent_width)
        w_value = self.to_value.weight.unflatten(0, (heads, -1))  # (heads, value_width, latent_width)
        shape = (*content.shape[:3], memory.latent.shape[1])  # (batch, heads, n, m)
        mask, bias = (None if x is None else x.expand(shape).flatten(1, 2) for x in (mask, bias))

        attended = pipeline.attend(
            torch.cat([content @ w_key, turned], dim=-1).flatten(1, 2),  # (batch, heads * n, cache_width)
            torch.cat(memory, dim=-1),  # (batch, m, cache_width)
            memory.latent,
            score=partial(_scaled_for, width=self.head_width + self.rope_width),
            mask=mask,
            bias=bias,
        )
        attended = Attended(*(x.unflatten(1, (heads, n)) for x in attended))
        return attended._replace(output=attended.output @ w_value.mT)  # (batch, heads, n, value_width)

    def _rotate(self, x: Tensor, positions: Tensor) -> Tensor:
        return rope(x, positions=positions, pairing="interleaved", base=self.base)

    def _check_x(self, x: Tensor) -> None:
        scores.check_sequences(x=x)
        check_input("x", x, self.width, self.to_query.weight)

    def _check(self, x: Tensor, memory: Compressed | None, mask: Tensor | None, bias: Tensor | None) -> None:
        self._check_x(x)
        m = x.shape[1]
        if memory is not None:
            m = _check_memory(memory, x, self.latent_width, self.rope_width)
        check_visible(mask, bias, torch.Size((len(x), self.heads, x.shape[1], m)))


def _scaled_for(query: Tensor, key: Tensor, width: int) -> Tensor:
    """Scaled dot product, by a width other than that of the vectors."""
    return scores.dot(query / math.sqrt(width), key)


def _check_sizes(**sizes: int) -> None:
    for name, size in sizes.items():
        head_axis.check_positive(name, size)
    if sizes["rope_width"] % 2:
        raise ValueError(f"`rope_width` must be even, as features turn in pairs; got {sizes['rope_width']}.")


def _check_positions(positions: Tensor | None, n: int, *, start: int, device: torch.device) -> Tensor:
    """The positions given, or `start` and the n - 1 after it."""
    if positions is not None:
        return positions  # `positions.rope` checks them
    if start < 0:
        raise ValueError(
            f"`memory` must hold the n = {n} tokens of `x` too, or `positions` be given; "
            f"got a memory of {n + start}. Append `compress(x)` to it."
        )
    return torch.arange(start, start + n, device=device)


def _check_memory(memory: Compressed, x: Tensor, latent_width: int, rope_width: int) -> int:
    """Require a memory of `compress`; returns its number of tokens."""
    if not isinstance(memory, Compressed):
        raise TypeError(
            f"`memory` must be what `compress(x)` returns, a `Compressed`; got {type(memory).__name__}."
        )
    for name, part in memory._asdict().items():  # one by one: autocast may give them different dtypes
        scores.check_sequences(**{f"memory.{name}": part})
    m = memory.latent.shape[-2]
    expected = ((len(x), m, latent_width), (len(x), m, rope_width))
    got = tuple(tuple(part.shape) for part in memory)
    if got != expected:
        raise ValueError(
            f"`memory` must hold a latent and a rope key of shapes {expected[0]} and {expected[1]}; got "
            f"{got[0]} and {got[1]}. Join caches along the tokens, axis 1."
        )
    if not torch.is_autocast_enabled(x.device.type):
        for part in memory:
            if part.dtype != x.dtype:
                raise TypeError(
                    f"`memory` must have the dtype of `x`, {x.dtype}; got {part.dtype}. "
                    "Compress with the module as it is now."
                )
    return m
