"""Schedules: the same sum in another order, so that no matrix of all pairs is ever held."""

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from attention_core import masks, positions, reference
from attention_core.catalogue.record import Equality, pick, sequences, variant
from attention_core.flash import BlockMask, create_block_mask, flash_attention
from attention_core.pipeline import Attended

# Functions: every one returns output, weights and lse. A mask is cut into tiles, as the schedules want it.


def flash(
    query: Tensor, key: Tensor, value: Tensor, *, block: tuple[int, int] = (2, 2), mask: Tensor | None = None
) -> Attended:
    """`flash_attention` in tiles of `block`, with the weights that it never holds."""
    return _with_weights(query, key, value, block_mask=_tiles(query, key, block, mask))


def flex(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    bias: Tensor,
    *,
    cap: float | None = None,
    block: tuple[int, int] = (2, 2),
    mask: Tensor | None = None,
) -> Attended:
    """`flash_attention` with a `score_mod` that caps the score softly and then looks up a bias for it."""

    def score_mod(score, b, h, q_idx, kv_idx):
        capped = score if cap is None else cap * torch.tanh(score / cap)
        return capped + (bias[q_idx, kv_idx] if bias.ndim == 2 else bias[h, q_idx, kv_idx])

    return _with_weights(query, key, value, score_mod=score_mod, block_mask=_tiles(query, key, block, mask))


def _tiles(query: Tensor, key: Tensor, block: tuple[int, int], mask: Tensor | None) -> BlockMask:
    n, m = query.shape[-2], key.shape[-2]
    allowed = torch.ones(n, m, dtype=torch.bool, device=query.device) if mask is None else mask
    mask_mod = lambda b, h, q_idx, kv_idx: allowed[q_idx, kv_idx]  # noqa: E731
    return create_block_mask(mask_mod, None, None, n, m, block=block, device=query.device)


def _with_weights(query: Tensor, key: Tensor, value: Tensor, **options: Callable | BlockMask) -> Attended:
    """The weights are what the schedule gives for the identity as values."""
    m = key.shape[-2]
    each = torch.eye(m, dtype=key.dtype, device=key.device).expand(*key.shape[:-1], m)
    weights = flash_attention(query, key, each, **options).output
    return flash_attention(query, key, value, **options)._replace(weights=weights)


# Inputs.


def _flash_inputs(rng: np.random.Generator) -> dict:
    return sequences(rng) | {"block": (2, 3)}  # of 3 queries and 5 keys: neither is a multiple


def _flex_inputs(rng: np.random.Generator) -> dict:
    return _flash_inputs(rng) | {"bias": rng.normal(size=(3, 5)), "cap": 1.5}


# Special cases: from a variant's inputs, its own arguments and the other variant's.


def _tile_by_tile(a: dict) -> tuple[dict, dict]:
    return a, pick(a, "query", "key", "value")


def _pair_by_pair(a: dict) -> tuple[dict, dict]:
    masked = pick(a, "query", "key", "value") | {"mask": masks.causal(3, 5, align="lower_right").numpy()}
    return masked | {"block": (1, 1)}, masked


def _unmodified(a: dict) -> tuple[dict, dict]:
    return a | {"bias": np.zeros_like(a["bias"]), "cap": None}, pick(a, "query", "key", "value", "block")


def _sloped(a: dict) -> tuple[dict, dict]:
    plain = pick(a, "query", "key", "value")  # two sequences, taken as two heads
    slopes = positions.alibi(2, 3, 5, "lower_right").double().numpy()
    return plain | {"bias": slopes, "block": a["block"]}, plain


def _masked_by_tiles(a: dict) -> tuple[dict, dict]:
    seen = masks.causal(3, 5, align="lower_right").numpy()
    own = a | {"bias": np.zeros_like(a["bias"]), "cap": None, "mask": seen}
    return own, pick(a, "query", "key", "value") | {"mask": seen}


RECORDS = (
    variant(
        name="flash",
        title="Flash attention",
        year=2022,
        citation="dao2022flashattention",
        family="schedule",
        equation=r"\mu' = \max(\mu, \max_j e_j),\quad"
        r" \ell' = e^{\mu - \mu'} \ell + \sum_j e^{e_j - \mu'},\quad"
        r" o' = e^{\mu - \mu'} o + \sum_j e^{e_j - \mu'} v_j",
        time="O(nmd)",
        memory="O(n)",
        function=flash,
        reference=reference.flash,
        inputs=_flash_inputs,
        equals=(
            Equality("scaled_dot", r"\text{any tiles}", _tile_by_tile),
            Equality("masked", r"\text{tiles that hide nothing but the future}", _pair_by_pair),
        ),
    ),
    variant(
        name="flex",
        title="FlexAttention",
        year=2024,
        citation="dong2024flex",
        family="schedule",
        equation=r"e_{ij} = \mathrm{score\_mod}(q_i^\top k_j / \sqrt{d},\, i,\, j)"
        r" \text{ where } \mathrm{mask\_mod}(i, j)",
        time="O(nmd)",  # and less by the tiles that the mask leaves empty
        memory="O(n)",
        function=flex,
        reference=reference.flex,
        inputs=_flex_inputs,
        equals=(
            Equality("flash", r"\mathrm{score\_mod}(s) = s", _unmodified),
            Equality("alibi", r"\mathrm{score\_mod}(s) = s - m_h (i - j)", _sloped),
            Equality("masked", r"\mathrm{mask\_mod}(i, j) = [\,j \le i + m - n\,]", _masked_by_tiles),
        ),
    ),
)
