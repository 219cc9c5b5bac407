"""Places: where each query stands among the keys, which masks and positions must count alike."""

from numbers import Integral

import torch
from jaxtyping import Int
from torch import Tensor

_ALIGN = """"lower_right" lets the last query see the last key (decoding: the queries are the newest of m); \
"upper_left" lets query i see keys 0..i (torch's `is_causal`)"""


def distance(
    n: int, m: int | None, align: str | None, device: torch.device | str | None
) -> Int[Tensor, "n m"]:
    r"""How far back key j lies from query i, $i + s - j$: 0 is the query's own place, ahead it is negative.

    The shift is $s = m - n$ with `align="lower_right"` and $s = 0$ with `align="upper_left"`.
    `m` defaults to n, where the two agree and `align` may be None; elsewhere it must be said.
    """
    m = n if m is None else m
    check_count("n", n)
    check_count("m", m)
    if align not in (None, "lower_right", "upper_left"):
        raise ValueError(f"`align` must be one of two choices; got {align!r}. {_ALIGN}.")
    if align is None and n != m:
        raise ValueError(f"`align` must be said where n != m; got n = {n}, m = {m}. {_ALIGN}.")
    shift = 0 if align == "upper_left" else m - n
    own = torch.arange(n, device=device) + shift
    return own[:, None] - torch.arange(m, device=device)


def check_count(name: str, count: int) -> None:
    """Require a count of positions, or of anything else, for the argument `name`."""
    if not isinstance(count, Integral) or isinstance(count, bool):
        raise TypeError(f"`{name}` must be an integer count; got {type(count).__name__}.")
    if count < 0:
        raise ValueError(f"`{name}` must be a count, 0 or more; got {count}.")
