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

from attention_core import places


def causal(
    n: int, m: int | None = None, align: str | None = None, *, device: torch.device | str | None = None
) -> Bool[Tensor, "n m"]:
    r"""Query i may attend to key j where $j \le i + s$; no query sees its future.

    The shift is $s = m - n$ with `align="lower_right"` and $s = 0$ with `align="upper_left"`.
    `m` defaults to n, where the two agree and `align` may be left out; elsewhere it must be said.
    Vaswani et al. (2017), section 3.2.3.
    """
    distance = places.distance(n, m, align, device)
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
    distance = places.distance(n, m, align, device)
    return (distance >= 0 if causal else distance > -size) & (distance < size)


def padding(lengths: Int[Tensor, "*batch"], m: int) -> Bool[Tensor, "*batch 1 m"]:
    """Keys before each sequence's length may be attended; the padding after it may not.

    `lengths` has the batch axes of the scores it is for: `padding(lengths, m)` broadcasts to (batch, n, m),
    and `padding(lengths[:, None], m)` to (batch, heads, n, m).
    """
    _check_integers("lengths", lengths, example="[3, 5]", one="one length a sequence")
    places.check_count("m", m)
    if lengths.numel() and (lengths.min() < 0 or lengths.max() > m):
        raise ValueError(
            f"`lengths` must lie in 0..{m}; got {lengths.min().item()}..{lengths.max().item()}. "
            "`m` is the padded length of the keys."
        )
    return torch.arange(m, device=lengths.device) < lengths[..., None, None]


def document(
    ids: Int[Tensor, "*batch n"], key_ids: Int[Tensor, "*batch m"] | None = None
) -> Bool[Tensor, "*batch n m"]:
    r"""Query i may attend to key j where both belong to one document: $\mathrm{id}_i = \mathrm{id}'_j$.

    For documents packed one after another into one sequence; `document(ids) & causal(n)` reads each on its
    own. Ids are names, not an order: any integers do. `key_ids` defaults to `ids`.

    `ids` has the batch axes of the scores it is for: `document(ids[:, None])` broadcasts over heads.
    """
    key_ids = ids if key_ids is None else key_ids
    for name, x in (("ids", ids), ("key_ids", key_ids)):
        _check_integers(name, x, example="[0, 0, 1]", one="one id a position")
        if x.ndim == 0:
            raise ValueError(f"`{name}` must have shape (*batch, sequence); got (). Use `{name}[None]`.")
    if ids.shape[:-1] != key_ids.shape[:-1]:
        raise ValueError(
            f"`ids` and `key_ids` must have the same batch axes; got {tuple(ids.shape[:-1])} and "
            f"{tuple(key_ids.shape[:-1])}. Share one over a batch with `.expand(...)`."
        )
    return ids[..., :, None] == key_ids[..., None, :]


def prefix(
    n: int,
    m: int | None = None,
    length: int | None = None,
    align: str | None = None,
    *,
    device: torch.device | str | None = None,
) -> Bool[Tensor, "n m"]:
    r"""Query i may attend to key j where $j < length$ or $j \le i + s$: causal, after a prefix that all see.

    `length=0` is `causal`, `length=m` hides nothing. `m`, `align` and the shift s as in `causal`. Prefixes of
    different lengths in a batch are `causal(n) | padding(lengths, n)`.
    Raffel et al. (2019), section 3.2.1 ("causal with prefix").
    """
    if not isinstance(length, Integral) or isinstance(length, bool):
        raise TypeError(
            f"`length` must be an integer, the number of first keys that all see; got {length!r}. "
            "Call `prefix(n, m, length)`."
        )
    distance = places.distance(n, m, align, device)
    if not 0 <= length <= distance.shape[1]:
        raise ValueError(
            f"`length` must lie in 0..{distance.shape[1]}, the number of keys; got {length}. "
            "A prefix is a part of the keys."
        )
    return (distance >= 0) | (torch.arange(distance.shape[1], device=device) < length)


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


def _check_integers(name: str, x: Tensor, *, example: str, one: str) -> None:
    if not isinstance(x, Tensor) or x.is_floating_point() or x.is_complex() or x.dtype == torch.bool:
        raise TypeError(
            f"`{name}` must be an integer tensor; got {getattr(x, 'dtype', type(x).__name__)}. "
            f"Use `torch.tensor({example})`, {one}."
        )
