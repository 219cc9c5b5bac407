"""Exact attention whose memory grows with n, not n squared: tiles, online softmax, recomputation.

`flash_attention` is `attend` for scaled dot products on another schedule; by Dao et al. (2022) and Dao
(2023). The same sum is written three times: `loops` in NumPy to be read, `blockwise` in torch for a CPU,
`gpu` in Triton. `cost` counts what each schedule moves.
"""

import math
from collections.abc import Callable
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from attention_core.flash import cost
from attention_core.flash.blocks import BlockMask, create_block_mask
from attention_core.flash.check import check
from attention_core.flash.choice import KERNELS, Choice, calls, choose
from attention_core.flash.differentiate import attend as _attend
from attention_core.pipeline import Attended

__all__ = [
    "KERNELS",
    "BlockMask",
    "Choice",
    "calls",
    "cost",
    "create_block_mask",
    "explain_choice",
    "flash_attention",
]


def flash_attention(
    query: Float[Tensor, "*batch_heads n d"],
    key: Float[Tensor, "*batch_kv_heads m d"],
    value: Float[Tensor, "*batch_kv_heads m dv"],
    *,
    causal: bool = False,
    window: int | None = None,
    score_mod: Callable[..., Tensor] | Any | None = None,
    block_mask: BlockMask | None = None,
    scale: float | None = None,
    lengths: Int[Tensor, " batch"] | None = None,
    kernel: str = "auto",
) -> Attended:
    r"""Softmax attention, $o_i = \sum_j e^{s_{ij} - \mathrm{lse}_i} v_j$, without an n by m matrix anywhere.

    $s_{ij} = \mathrm{score\_mod}(\tau\, q_i \cdot k_j)$ over the allowed pairs, $\tau$ the `scale`.

    Parameters
    ----------
    query, key, value
        (batch, heads, sequence, width), as torch's `scaled_dot_product_attention`; batch, or batch and heads,
        may be absent. Query heads are a multiple of key heads; neighbours share, as by `heads.repeat_groups`.
    causal
        Query i sees keys to its own place $p = i + m - n$: where n != m, the last query sees the last key.
    window
        Exactly that many keys, the query's own included; both ways, $|p - j| < w$, where not causal.
    score_mod
        FlexAttention's `f(score, b, h, q_idx, kv_idx)`, of tensors: acts on a tile of scaled scores before
        any mask, with `q_idx` a column and `kv_idx` a row. Tensors that it reads from outside get gradients
        too ("blockwise").
    block_mask
        From `create_block_mask`. All restrictions that are given must allow a pair.
    scale
        A number, $1 / \sqrt d$ by default.
    lengths
        (batch,): keys from there on do not exist. `causal` and `window` still count places in the full m.
    kernel
        "auto", or one of `KERNELS`; see `explain_choice`. "numpy" has no gradient.

    Returns output, weights None and lse, in float32 or better, all differentiable once. A query that may
    attend to nothing gets output 0, lse -inf and gradient 0. One that may see a NaN or inf gets NaN; no other
    one does. Raises `TypeError` or `ValueError` with the remedy; a kernel that cannot run raises, and none
    replaces it.
    """
    check(query, key, value, causal, window, score_mod, block_mask, scale, lengths)
    if kernel == "numpy" and torch.is_grad_enabled() and any(x.requires_grad for x in (query, key, value)):
        raise ValueError(
            '`kernel` "numpy" computes no gradient, and an input requires one. Call it under '
            '`torch.no_grad()`, or use `kernel="blockwise"`.'
        )
    absent = 4 - query.ndim
    output, lse = _attend(
        *(x[(None,) * absent] for x in (query, key, value)),
        causal=causal,
        window=None if window is None else int(window),
        score_mod=score_mod,
        block_mask=block_mask,
        scale=1 / math.sqrt(query.shape[-1]) if scale is None else float(scale),
        lengths=lengths,
        kernel=kernel,
    )
    return Attended(output[(0,) * absent], None, lse[(0,) * absent])


def explain_choice(
    query: Float[Tensor, "*batch_heads n d"],
    key: Float[Tensor, "*batch_kv_heads m d"],
    value: Float[Tensor, "*batch_kv_heads m dv"],
    *,
    kernel: str = "auto",
    score_mod: Callable[..., Tensor] | Any | None = None,
    **options: Any,
) -> Choice:
    """Which kernel `flash_attention` would run for these arguments, and why: `print` it."""
    check(query, key, value, score_mod=score_mod, **_DEFAULTS | options)
    return choose(query, key, value, kernel, score_mod)


_DEFAULTS = {"causal": False, "window": None, "block_mask": None, "scale": None, "lengths": None}
