"""The torch tier: online softmax over tiles forward, recomputation of the tiles backward. The CPU's path.

Nothing of size n by m is ever held: a tile of scores lives in one small buffer, and what a query must
remember of the tiles before is a maximum, a sum and an average.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from attention_core.flash.blocks import BlockMask
from attention_core.flash.modify import Modified, modify
from attention_core.flash.quarantine import finite, quarantine
from attention_core.flash.visible import Visible, head_indices
from attention_core.pipeline import Attended, spoil

# (queries, keys) of a tile. Measured in float32 at width 64 on one core with 1 MiB of second-level cache:
# larger spills out of it, smaller pays Python's 5 microseconds a call.
_FORWARD, _BACKWARD = (512, 512), (512, 256)
_BITS = math.log2(math.e)  # a natural logarithm times this is one in base 2
# Scores and values this small need no maximum: no sum of 2^score v overflows, and none is lost.
_TAME, _TAME_VALUE = 32.0, 2.0**32


class Gradients(NamedTuple):
    """Of a loss, by the three inputs and by the tensors that `score_mod` holds."""

    query: Float[Tensor, "batch heads n d"]
    key: Float[Tensor, "batch kv_heads m d"]
    value: Float[Tensor, "batch kv_heads m dv"]
    captured: tuple[Tensor | None, ...] = ()


def forward(
    query: Float[Tensor, "batch heads n d"],
    key: Float[Tensor, "batch kv_heads m d"],
    value: Float[Tensor, "batch kv_heads m dv"],
    *,
    causal: bool = False,
    window: int | None = None,
    score_mod: Callable[..., Tensor] | None = None,
    block_mask: BlockMask | None = None,
    scale: float | None = None,
    lengths: Tensor | None = None,
    tile: tuple[int, int] | None = None,
) -> tuple[Float[Tensor, "batch heads n dv"], Float[Tensor, "batch heads n"]]:
    r"""Output and lse of attention, tile by tile: FlashAttention-2's loop (Dao 2023, algorithm 1).

    A query carries $(\mu, \ell, o)$ and meets a tile of scores $s$ with values $v$:
    $\mu' = \max(\mu, \max_j s_j)$, $p_j = e^{s_j - \mu'}$, $c = e^{\mu - \mu'}$,
    $\ell' = c\,\ell + \sum_j p_j$, $o' = c\,o + \sum_j p_j v_j$. At the end $o / \ell$ and
    $\mathrm{lse} = \mu + \ln \ell$. Scores and sums are float32 or better; `tile` is (queries, keys).

    The maximum is there to keep $e^s$ in range. Where $|s| \le \|q\| \|k\|$ shows that it is, for the longest
    query and key, $\mu$ stays 0: two passes fewer over every tile, 7 % of
    the time at n = 4096.
    """
    visible = _visible(query, key, causal, window, block_mask, lengths)
    (query, key, value), spoiled = quarantine(query, key, value, visible)
    rows, cols = visible.tile(*(tile or _FORWARD))
    exact = torch.promote_types(query.dtype, torch.float32)
    scale = 1 / math.sqrt(query.shape[-1]) if scale is None else scale
    unit = (
        _BITS if score_mod is None else 1.0
    )  # scores in base 2 at once, unless a reader's function sees them
    tame = score_mod is None and _tame(query, key, value, scale * unit)
    buffer = query.new_empty(min(rows, visible.n) * min(cols, visible.m), dtype=exact)

    output = query.new_empty(*query.shape[:-1], value.shape[-1])
    lse = query.new_empty(query.shape[:-1], dtype=exact)
    for b, kv, h in head_indices(query, key):
        keys, values = key[b, kv].to(exact), value[b, kv].to(exact)
        for tile_rows in visible.row_tiles(rows):
            queries = query[b, h, tile_rows].to(exact) * (scale * unit)
            row = _Row(queries, values.shape[-1], tame)
            for seeing, tile_cols, ceiling in visible.strips(b, h, tile_rows, cols):
                own = slice(seeing.start - tile_rows.start, None)
                scores = _product(buffer, queries[own], keys[tile_cols].mT)  # (r, c)
                if score_mod is not None:
                    scores.copy_(modify(score_mod, scores, b, h, seeing, tile_cols)).mul_(_BITS)
                _lower(scores, ceiling)
                row.meet(own, scores, values[tile_cols])
            output[b, h, tile_rows], lse[b, h, tile_rows] = row.finish()
    attended = spoil(Attended(output, None, lse), spoiled)
    return attended.output, attended.lse


class _Row:
    """What a tile of queries remembers of the keys it has met: maximum, sum, and unfinished average.

    Scores are in base 2, times log2 e: torch's `exp2` takes a third of the time of its `exp`. If they are
    `tame`, 0 serves for the maximum.
    """

    def __init__(self, queries: Float[Tensor, "r d"], dv: int, tame: bool):
        r = queries.shape[0]
        self.tame = tame
        self.maximum = queries.new_full((r, 1), 0.0 if tame else -math.inf)
        self.total = queries.new_zeros(r, 1)
        self.average = queries.new_zeros(r, dv)

    def meet(self, own: slice, scores: Float[Tensor, "r c"], values: Float[Tensor, "c dv"]) -> None:
        """Let these queries take in one tile; `scores` is overwritten, as a copy would cost a tenth more."""
        if not self.tame:
            self._shift(own, scores)
        weights = scores.exp2_()
        self.total[own].add_(weights.sum(-1, keepdim=True))
        self.average[own].addmm_(weights, values)

    def _shift(self, own: slice, scores: Float[Tensor, "r c"]) -> None:
        """Measure the scores, and what was summed before, from the maximum up to now."""
        before = self.maximum[own]
        maximum = torch.maximum(before, scores.amax(-1, keepdim=True))
        # A query that has met no allowed key has maximum -inf, and -inf - -inf is NaN: it gets 0 for a shift.
        shift = maximum.masked_fill(maximum == -math.inf, 0.0)
        scores.sub_(shift)
        correction = (before - shift).exp2_()
        self.total[own].mul_(correction)
        self.average[own].mul_(correction)
        before.copy_(maximum)

    def finish(self) -> tuple[Float[Tensor, "r dv"], Float[Tensor, " r"]]:
        """Output and lse; 0 and -inf for a query that met no key."""
        empty = self.total == 0
        output = self.average / self.total.masked_fill(empty, 1.0)
        lse = self.maximum + self.total.log2()  # -inf where empty
        return output, lse.squeeze(-1) / _BITS


def backward(
    grad_output: Float[Tensor, "batch heads n dv"],
    query: Float[Tensor, "batch heads n d"],
    key: Float[Tensor, "batch kv_heads m d"],
    value: Float[Tensor, "batch kv_heads m dv"],
    output: Float[Tensor, "batch heads n dv"],
    lse: Float[Tensor, "batch heads n"],
    *,
    grad_lse: Float[Tensor, "batch heads n"] | None = None,
    causal: bool = False,
    window: int | None = None,
    score_mod: Callable[..., Tensor] | None = None,
    block_mask: BlockMask | None = None,
    scale: float | None = None,
    lengths: Tensor | None = None,
    captured: tuple[Tensor, ...] = (),
    tile: tuple[int, int] | None = None,
) -> Gradients:
    r"""Gradients, from output and lse alone: each tile of weights is made again, in five products a tile.

    $p = e^{s - \mathrm{lse}}$, $\partial v = p^\top \partial o$, $\partial p = \partial o\, v^\top$,
    $\partial s = p (\partial p - \delta)$ with $\delta_i = \partial o_i \cdot o_i - \partial\mathrm{lse}_i$,
    $\partial q = \partial s\, k$, $\partial k = \partial s^\top q$: Dao (2023), algorithm 2. The lse, which
    has the gradient $p$ by the scores, joins in through $\delta$. `captured` are tensors that `score_mod`
    reads.
    """
    visible = _visible(query, key, causal, window, block_mask, lengths)
    query, key, value = (finite(x) for x in (query, key, value))
    rows, cols = visible.tile(*(tile or _BACKWARD))
    exact = torch.promote_types(query.dtype, torch.float32)
    scale = 1 / math.sqrt(query.shape[-1]) if scale is None else scale
    unit = _BITS if score_mod is None else 1.0
    room = min(rows, visible.n) * min(cols, visible.m)
    buffers = [query.new_empty(room, dtype=exact) for _ in range(2)]
    grad_output, lse, delta = _settle(grad_output, output, lse, grad_lse)

    grads = Gradients(*(torch.zeros_like(x) for x in (query, key, value)), _zeros(captured))
    group = query.shape[1] // key.shape[1]
    for b, kv, h in head_indices(query, key):
        if h % group == 0:  # a new key/value head, of which its group adds up
            keys, values = key[b, kv].to(exact), value[b, kv].to(exact)
            grad_keys, grad_values = torch.zeros_like(keys), torch.zeros_like(values)
        for tile_rows in visible.row_tiles(rows):
            queries = query[b, h, tile_rows].to(exact) * (scale * unit)
            grad_rows = grad_output[b, h, tile_rows].to(exact)
            grad_queries = torch.zeros_like(queries)
            for seeing, tile_cols, ceiling in visible.strips(b, h, tile_rows, cols):
                own = slice(seeing.start - tile_rows.start, None)
                scores = _product(buffers[0], queries[own], keys[tile_cols].mT)  # (r, c)
                modified = Modified(score_mod, scores, b, h, seeing, tile_cols)
                logits = _lower(modified.logits(_BITS), ceiling)
                weights = logits.sub_(lse[b, h, seeing, None]).exp2_()
                grad_values[tile_cols].addmm_(weights.mT, grad_rows[own])
                grad_scores = _product(buffers[1], grad_rows[own], values[tile_cols].mT)
                grad_scores.sub_(delta[b, h, seeing, None]).mul_(weights)
                grad_scores = modified.pull_back(grad_scores, captured, grads.captured)
                grad_queries[own].addmm_(grad_scores, keys[tile_cols])
                grad_keys[tile_cols].addmm_(grad_scores.mT, queries[own])
            grads.query[b, h, tile_rows] = grad_queries.mul_(scale)
        if (h + 1) % group == 0:
            grads.key[b, kv], grads.value[b, kv] = grad_keys.div_(unit), grad_values
    return grads


def _settle(grad_output: Tensor, output: Tensor, lse: Tensor, grad_lse: Tensor | None) -> tuple[Tensor, ...]:
    """Output's gradient, lse in base 2 and delta, such that spoiled and empty queries pass no gradient on."""
    spoiled = output.isnan().any(-1, keepdim=True)
    if spoiled.any():
        grad_output, output = (x.masked_fill(spoiled, 0.0) for x in (grad_output, output))
    delta = (grad_output.to(lse.dtype) * output).sum(-1)  # (batch, heads, n)
    if grad_lse is not None:
        delta = delta - grad_lse.masked_fill(~lse.isfinite(), 0.0)
    return grad_output, (lse * _BITS).masked_fill(~lse.isfinite(), math.inf), delta  # 2^(s - inf) is 0


def _tame(query: Tensor, key: Tensor, value: Tensor, scale: float) -> bool:
    """Whether lengths alone show that 2^score stays in range, for every pair: by Cauchy and Schwarz."""
    if not (query.numel() and key.numel() and value.numel()):
        return False
    longest = [x.norm(dim=-1, dtype=torch.promote_types(x.dtype, torch.float32)).max() for x in (query, key)]
    most = longest[0] * longest[1] * abs(scale)
    return bool((most <= _TAME) & (value.abs().max() <= _TAME_VALUE))


def _lower(scores: Float[Tensor, "r c"], ceiling: Float[Tensor, "r c"] | None) -> Float[Tensor, "r c"]:
    """Mask a tile in place."""
    return scores if ceiling is None else torch.minimum(scores, ceiling, out=scores)


def _visible(query: Tensor, key: Tensor, causal, window, block_mask, lengths) -> Visible:
    lengths = None if lengths is None else tuple(lengths.tolist())
    return Visible(query.shape[-2], key.shape[-2], causal, window, lengths, block_mask, query.device)


def _product(buffer: Tensor, a: Float[Tensor, "r k"], b: Float[Tensor, "k c"]) -> Float[Tensor, "r c"]:
    """a b, into the start of a buffer that is used again and again."""
    r, c = a.shape[0], b.shape[1]
    return torch.mm(a, b, out=buffer[: r * c].view(r, c))


def _zeros(captured: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    return tuple(torch.zeros_like(x) for x in captured)
