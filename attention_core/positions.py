r"""Positions: what tells attention the order of a sequence, of which scores alone know nothing.

Three ways: turn queries and keys (`rope`), add a bias to the scores (`alibi`, `t5_bias`), or add vectors to
the inputs (`sinusoidal`). Positions count from 0. Where a query attends to m keys other than itself, query i
stands at key i + s: $s = m - n$ with `align="lower_right"`, $s = 0$ with `align="upper_left"`; see `masks`.

Wrong types raise `TypeError`, wrong shapes and sizes `ValueError`; each names the argument and the remedy.
"""

import bisect
import math
from numbers import Integral, Real

import torch
from jaxtyping import Float, Int, Shaped
from torch import Tensor

from attention_core import places


def rope(
    x: Float[Tensor, "*batch n d"],
    positions: Shaped[Tensor, " n"] | None = None,
    pairing: str = "interleaved",
    base: Real = 10000,
) -> Float[Tensor, "*batch n d"]:
    r"""Rotary positions, of Su et al. (2021), section 3.4.2: pair c of the features turns by $p \, \theta_c$.

    $(x, y) \mapsto (x \cos p\theta_c - y \sin p\theta_c,\ x \sin p\theta_c + y \cos p\theta_c)$ with
    $\theta_c = base^{-2c/d}$. Norms stay, and $\langle R_p q, R_r k \rangle$ depends on $p - r$ alone.

    `pairing="interleaved"` turns features 2c and 2c + 1 (the paper, GPT-J); `"half"` turns c and c + d/2
    (Llama, GPT-NeoX). Weights trained with one are useless with the other, and no shape tells.

    `positions` are numbers, 0..n-1 unless given. Angles are float64: in float32 the one at position $10^6$
    is off by several hundredths of a radian. The turn itself is float32 or better.
    """
    _check_rotated(x, positions, pairing)
    _check_base(base)
    n, d = x.shape[-2:]
    positions = torch.arange(n, device=x.device) if positions is None else positions
    angles = _angles(positions, d, base)  # (n, d / 2)
    wide = torch.promote_types(x.dtype, torch.float32)
    cos, sin = angles.cos().to(wide), angles.sin().to(wide)

    interleaved = pairing == "interleaved"
    first, second = (x[..., 0::2], x[..., 1::2]) if interleaved else x.chunk(2, dim=-1)
    turned = (first * cos - second * sin, first * sin + second * cos)  # each (*batch, n, d / 2)
    joined = torch.stack(turned, dim=-1).flatten(-2) if interleaved else torch.cat(turned, dim=-1)
    return joined.to(x.dtype)


def alibi(
    heads: int,
    n: int,
    m: int | None = None,
    align: str = "lower_right",
    *,
    device: torch.device | str | None = None,
    dtype: torch.dtype | None = None,
) -> Float[Tensor, "{heads} n m"]:
    r"""Linear biases (ALiBi) of Press et al. (2021), section 3: $b_{hij} = -s_h (i - j)$.

    The further back a key, the less it counts; nothing is learned. For causal attention only: ahead of the
    query the same line goes on upwards and would favour the future, so pass `mask=masks.causal(n)` as well.
    Under that mask $+s_h j$ gives the same weights, as $-s_h i$ is the same for a whole row. So `align`
    changes no weight either, and unlike elsewhere may be left out where n != m: distances then count from
    the last key, as in decoding.

    Slopes: $s_h = 2^{-8h/H}$, h = 1..H, if H is a power of two. Otherwise those of the lower power of two,
    then every other slope of twice that power, as in the authors' code.
    """
    if not isinstance(heads, Integral) or isinstance(heads, bool) or heads < 1:
        raise ValueError(f"`heads` must be an integer of at least 1; got {heads!r}. There is a slope a head.")
    slopes = torch.tensor(_slopes(heads), dtype=torch.float64, device=device)
    bias = slopes[:, None, None] * -places.distance(n, m, align, device)  # (heads, n, m)
    return bias.to(torch.get_default_dtype() if dtype is None else dtype)


def t5_bias(
    n: int,
    m: int,
    weight: Float[Tensor, "buckets heads"],
    *,
    bidirectional: bool = True,
    max_distance: int = 128,
    align: str | None = None,
) -> Float[Tensor, "heads n m"]:
    r"""Learned relative bias of Raffel et al. (2019), section 2.1: $b_{hij} = W_{\mathrm{bucket}(j - i), h}$.

    A number for each head and each of the `t5_buckets`; $W$ has shape (buckets, heads).
    T5 itself adds it to plain dot products: no $1/\sqrt d$, so use `score=scores.dot`, not `scaled_dot`.
    Encoders are bidirectional. Decoders are not, and put all of the future in the bucket of the query's own
    place: they need a causal mask too.
    """
    if not isinstance(weight, Tensor) or not weight.is_floating_point():
        got = getattr(weight, "dtype", type(weight).__name__)
        raise TypeError(f"`weight` must be a float tensor (buckets, heads); got {got}. Use `nn.Parameter`.")
    if weight.ndim != 2:
        raise ValueError(
            f"`weight` must have shape (buckets, heads); got {tuple(weight.shape)}. "
            "For one head add an axis: `weight[:, None]`."
        )
    buckets = t5_buckets(
        -places.distance(n, m, align, weight.device),  # key minus query
        len(weight),
        bidirectional=bidirectional,
        max_distance=max_distance,
    )
    return weight[buckets].movedim(-1, 0)  # (n, m, heads) -> (heads, n, m)


def t5_buckets(
    offset: Int[Tensor, "*shape"],
    buckets: int = 32,
    *,
    bidirectional: bool = True,
    max_distance: int = 128,
) -> Int[Tensor, "*shape"]:
    r"""The bucket 0..buckets-1 of each offset $j - i$, key minus query, as in T5 (Raffel et al. 2019).

    Of B buckets the first $E = \lfloor B/2 \rfloor$ hold one distance r each, 0 to E - 1. The others grow:
    $E + \lfloor (B - E) \log(r/E) / \log(D/E) \rfloor$, and the last holds every distance from about D on.

    `bidirectional` gives each direction half of the buckets, the keys behind the query first. Otherwise B is
    all of them, for the keys behind; those ahead share bucket 0. Bounds are exact, where floating logarithms
    can miss an integer.
    """
    if not isinstance(offset, Tensor) or offset.is_floating_point() or offset.dtype == torch.bool:
        got = getattr(offset, "dtype", type(offset).__name__)
        raise TypeError(
            f"`offset` must be an integer tensor; got {got}. Use `torch.tensor([-1, 0, 1])`, key minus query."
        )
    share = _check_buckets(buckets, bidirectional, max_distance)
    bounds = torch.tensor(_bucket_bounds(share, max_distance), device=offset.device)
    offset = offset.long()
    distance = offset.abs() if bidirectional else (-offset).clamp(min=0)
    bucket = torch.bucketize(distance, bounds, right=True)  # how many bounds the distance has reached
    return bucket + share * (offset > 0) if bidirectional else bucket


def sinusoidal(
    n: int,
    d: int,
    base: Real = 10000,
    *,
    device: torch.device | str | None = None,
    dtype: torch.dtype | None = None,
) -> Float[Tensor, "n {d}"]:
    r"""Sinusoidal positions of Vaswani et al. (2017), section 3.5, to be added to the inputs.

    $P_{p,2c} = \sin(p\,\theta_c)$ and $P_{p,2c+1} = \cos(p\,\theta_c)$ with $\theta_c = base^{-2c/d}$: clocks
    of d/2 speeds. Row p + r is row p turned by a matrix that depends on r alone, as `rope` turns.
    Angles are float64.
    """
    places.check_count("n", n)
    places.check_count("d", d)
    if d % 2 or d == 0:
        raise ValueError(f"`d` must be even and positive, as each sine has its cosine; got {d}. Use {d + 1}.")
    _check_base(base)
    angles = _angles(torch.arange(n, device=device), d, base)  # (n, d / 2)
    table = torch.stack([angles.sin(), angles.cos()], dim=-1).flatten(-2)  # (n, d)
    return table.to(torch.get_default_dtype() if dtype is None else dtype)


def _angles(positions: Shaped[Tensor, " n"], d: int, base: Real) -> Float[Tensor, "n half"]:
    pair = torch.arange(0, d, 2, dtype=torch.float64, device=positions.device)
    return positions.to(torch.float64)[:, None] * float(base) ** (-pair / d)


def _slopes(heads: int) -> list[float]:
    power = 1 << (int(heads).bit_length() - 1)  # the largest power of two that is not above
    slopes = [2 ** (-8 * (h + 1) / power) for h in range(power)]
    between = [2 ** (-8 * (h + 1) / (2 * power)) for h in range(0, 2 * power, 2)]
    return slopes + between[: heads - power]


def _bucket_bounds(buckets: int, max_distance: int) -> list[int]:
    """The first distance of bucket 1, of bucket 2, and so on.

    Bucket E + k begins where $r \\ge E (D/E)^{k/L}$, L = B - E; raised to the power L, that is in integers.
    """
    exact = buckets // 2
    growing = buckets - exact
    starts = [
        bisect.bisect_left(
            range(max_distance), exact ** (growing - k) * max_distance**k, key=lambda r: r**growing
        )
        for k in range(1, growing)
    ]
    return [*range(1, exact + 1), *starts]


def _check_rotated(x: Tensor, positions: Tensor | None, pairing: str) -> None:
    if not isinstance(x, Tensor) or not x.is_floating_point():
        got = getattr(x, "dtype", type(x).__name__)
        raise TypeError(f"`x` must be a floating tensor; got {got}. Use `torch.as_tensor(x).float()`.")
    if x.ndim < 2 or x.shape[-1] % 2 or x.shape[-1] == 0:
        raise ValueError(
            f"`x` must have shape (*batch, sequence, width), its width even, as features turn in pairs; got "
            f"{tuple(x.shape)}. To turn a part: `torch.cat([rope(x[..., :4]), x[..., 4:]], dim=-1)`."
        )
    if pairing not in ("interleaved", "half"):
        raise ValueError(
            f'`pairing` must be "interleaved" (features 2c and 2c + 1) or "half" (c and c + d/2); '
            f"got {pairing!r}."
        )
    if positions is None:
        return
    if not isinstance(positions, Tensor) or positions.dtype == torch.bool or positions.is_complex():
        got = getattr(positions, "dtype", type(positions).__name__)
        raise TypeError(f"`positions` must be a tensor of numbers; got {got}. Use `torch.tensor([0, 1])`.")
    if positions.shape != x.shape[-2:-1]:
        raise ValueError(
            f"`positions` must hold one number a position, shape {tuple(x.shape[-2:-1])}; "
            f"got {tuple(positions.shape)}. The whole batch shares them."
        )


def _check_base(base: Real) -> None:
    if not isinstance(base, Real) or isinstance(base, bool) or not 0 < base < math.inf:
        raise ValueError(f"`base` must be a positive finite number; got {base!r}. 10000 is usual.")


def _check_buckets(buckets: int, bidirectional: bool, max_distance: int) -> int:
    """Check the numbers, and return how many buckets a direction has."""
    places.check_count("buckets", buckets)
    places.check_count("max_distance", max_distance)
    share = buckets // 2 if bidirectional else buckets
    if share < 2 or (bidirectional and buckets % 2):
        raise ValueError(
            f"`buckets` must be at least 2 a direction; got {buckets} with bidirectional = {bidirectional}. "
            "Bidirectional needs an even number of at least 4: `weight` has a row a bucket."
        )
    if max_distance <= share // 2:
        raise ValueError(
            f"`max_distance` must exceed the {share // 2} distances that have a bucket each; "
            f"got {max_distance}. T5 has 128, with 32 buckets."
        )
    return share
