"""Masks: which query may attend to which key. Boolean, True = may attend.

A mask broadcasts to the scores (*batch, n, m), so masks combine with `&`:
`causal(n) & padding(lengths, n)`. The opposite convention lives in `torch.nn.MultiheadAttention`;
`from_torch_mha` converts from it.

Sizes are counts of positions; a wrong one raises `ValueError`, a wrong type `TypeError`.
"""

import math
from numbers import Integral

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

_ALIGN = """"lower_right" lets the last query see the last key (decoding: the queries are the newest of m); \
"upper_left" lets query i see keys 0..i (torch's `is_causal`)"""


def causal(
    n: int, m: int | None = None, align: str | None = None, *, device: torch.device | str | None = None
) -> Bool[Tensor, "n m"]:
    r"""Query i may attend to key j where $j \le i + s$; no query sees its future.

    The shift is $s = m - n$ with `align="lower_right"` and $s = 0$ with `align="upper_left"`.
    `m` defaults to n, where the two agree and `align` may be left out; elsewhere it must be said.
    Vaswani et al. (2017), section 3.2.3.
    """
    distance = _distance(n, m, align, device)
    return distance >= 0


def window(
    n: int,
    m: int | None = None,
    size: int | None = None,
    align: str | None = None,
    *,
    causal: bool = True,
    device: torch.device | str | None = None,
) -> Bool[Tensor, "n m"]:
    r"""Sliding window: query i may attend to the `size` keys $i - size + 1, \dots, i$, itself included.

    With `causal=False` it looks both ways, at every key with $|i - j| < size$.
    `m` and `align` as in `causal`: "itself" is key $i + s$.
    """
    if not isinstance(size, Integral) or isinstance(size, bool) or size < 1:
        raise ValueError(
            f"`size` must be an integer of at least 1; got {size}. A window of w attends exactly w keys, "
            "counting itself, so `size=1` sees only itself."
        )
    distance = _distance(n, m, align, device)
    return (distance >= 0 if causal else distance > -size) & (distance < size)


def padding(lengths: Int[Tensor, "*batch"], m: int) -> Bool[Tensor, "*batch 1 m"]:
    """Keys before each sequence's length may be attended; the padding after it may not.

    `lengths` has the batch axes of the scores it is for: `padding(lengths, m)` broadcasts to (batch, n, m),
    and `padding(lengths[:, None], m)` to (batch, heads, n, m).
    """
    if not isinstance(lengths, Tensor) or lengths.is_floating_point() or lengths.dtype == torch.bool:
        raise TypeError(
            f"`lengths` must be an integer tensor; got {getattr(lengths, 'dtype', type(lengths).__name__)}. "
            "Use `torch.tensor([3, 5])`, one length a sequence."
        )
    _check_count("m", m)
    if lengths.numel() and (lengths.min() < 0 or lengths.max() > m):
        raise ValueError(
            f"`lengths` must lie in 0..{m}; got {lengths.min().item()}..{lengths.max().item()}. "
            "`m` is the padded length of the keys."
        )
    return torch.arange(m, device=lengths.device) < lengths[..., None, None]


def from_torch_mha(mask: Bool[Tensor, "..."] | Float[Tensor, "..."]) -> Bool[Tensor, "..."]:
    """Turn a mask of `torch.nn.MultiheadAttention` into one of ours, of the same shape.

    There, a boolean True means *may not attend* (both `attn_mask` and `key_padding_mask`), the opposite of
    torch's own `scaled_dot_product_attention` and of this package: the two readings differ silently.
    A float mask of 0 and -inf (`generate_square_subsequent_mask`) converts too; any other float is a bias.

    A (batch, m) `key_padding_mask` still needs its axes: `from_torch_mha(mask)[:, None, None]`;
    a (batch * heads, n, m) `attn_mask` needs `.unflatten(0, (batch, heads))`.
    """
    if not isinstance(mask, Tensor) or not (mask.dtype == torch.bool or mask.is_floating_point()):
        raise TypeError(
            "`mask` must be a boolean or float tensor of `nn.MultiheadAttention`; "
            f"got {getattr(mask, 'dtype', type(mask).__name__)}. Use `mask.bool()`."
        )
    if mask.dtype == torch.bool:
        return ~mask
    if not ((mask == 0) | (mask == -math.inf)).all():
        raise ValueError(
            "`mask` holds floats other than 0 and -inf, so it is a bias: pass it, as it is, as `bias=`."
        )
    return mask == 0


def _distance(n: int, m: int | None, align: str | None, device) -> Int[Tensor, "n m"]:
    """How far back key j lies from query i, in positions; 0 is the query's own place."""
    m = n if m is None else m
    _check_count("n", n)
    _check_count("m", m)
    if align not in (None, "lower_right", "upper_left"):
        raise ValueError(f"`align` must be one of two choices; got {align!r}. {_ALIGN}.")
    if align is None and n != m:
        raise ValueError(f"`align` must be said where n != m; got n = {n}, m = {m}. {_ALIGN}.")
    shift = 0 if align == "upper_left" else m - n
    own = torch.arange(n, device=device) + shift
    return own[:, None] - torch.arange(m, device=device)


def _check_count(name: str, count: int) -> None:
    if not isinstance(count, Integral) or isinstance(count, bool):
        raise TypeError(f"`{name}` must be an integer count of positions; got {type(count).__name__}.")
    if count < 0:
        raise ValueError(f"`{name}` must be a count of positions, 0 or more; got {count}.")
