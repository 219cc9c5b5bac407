"""Differential attention: one attention map less another, so that what both attend to cancels."""

import math
from numbers import Real

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from attention_core import heads as head_axis
from attention_core import normalizers, pipeline, scores
from attention_core.multihead import check_attention, defaults, quarantine
from attention_core.pipeline import Attended


def differential(
    query: Float[Tensor, "*batch n two_d"],
    key: Float[Tensor, "*batch m two_d"],
    value: Float[Tensor, "*batch m dv"],
    strength: Real | Float[Tensor, ""],
    *,
    mask: Bool[Tensor, "..."] | None = None,
    bias: Float[Tensor, "..."] | None = None,
) -> Attended:
    r"""The difference of two attention maps over the same values, of Ye et al. (2024), equation 1.

    $o = (A_1 - \lambda A_2) v$ with $A_g = \mathrm{softmax}(q_g k_g^\top / \sqrt d)$, where $q = [q_1; q_2]$
    and $k = [k_1; k_2]$ are two halves of width d, and $\lambda$ is the `strength`, a number or a 0-d tensor.

    `mask` and `bias` are those of `pipeline.attend`, for both maps alike. Weights are $A_1 - \lambda A_2$:
    they may be negative, and sum to $1 - \lambda$. The lse is that of the first map's scores.
    """
    scores.check_sequences(query=query, key=key, value=value)
    _check_halves(query, key)
    pipeline.check_pairs(key, value)
    _check_strength(strength)
    shape = torch.Size((*query.shape[:-1], key.shape[-2]))
    normalizers.check_mask(mask, shape)
    pipeline.check_bias(bias, shape)
    # Over both halves at once: the gradient of the strength would meet a NaN in either map.
    (query, key, value, bias), spoiled = pipeline.quarantine(query, key, value, mask, bias)

    first, second = (
        pipeline.attend(q, k, value, mask=mask, bias=bias)
        for q, k in zip(query.chunk(2, -1), key.chunk(2, -1), strict=True)
    )
    output = first.output - strength * second.output  # (*batch, n, dv)
    weights = first.weights - strength * second.weights  # (*batch, n, m)
    return pipeline.spoil(Attended(output, weights, first.lse), spoiled)


class DifferentialAttention(nn.Module):
    r"""Multi-head differential attention, of Ye et al. (2024), section 2.1.

    $\mathrm{head}_h = (1 - \lambda_{\mathrm{init}})\, \mathrm{RMSNorm}((A_{h1} - \lambda A_{h2}) v_h)$ and
    $o = W^O [\mathrm{head}_1; \dots; \mathrm{head}_H]$, with one $\lambda$ for all heads,
    $e^{\lambda_{q1} \cdot \lambda_{k1}} - e^{\lambda_{q2} \cdot \lambda_{k2}} + \lambda_{\mathrm{init}}$,
    and $\lambda_{\mathrm{init}} = 0.8 - 0.6\, e^{-0.3\, \mathrm{depth}}$.

    A head has a value of width `width / heads`, and two queries and keys of half that width, side by side.
    So at equal cost there are half as many heads as in multi-head attention. The norm is taken over each
    head's output by itself, with one learned scale shared by the heads; $1 - \lambda_{\mathrm{init}}$
    brings the gradients to the size of multi-head attention's.

    Parameters
    ----------
    width
        Features of input and output.
    heads
        Number of heads, each a pair of maps; twice this divides `width`.
    depth
        Index of the layer, from 0 (the paper counts from 1, and subtracts it).
    kv_heads
        Number of key/value heads; divides `heads`, and defaults to it.
    bias
        Whether the four projections add a bias; the paper's do not.
    """

    def __init__(
        self,
        width: int,
        heads: int,
        depth: int = 0,
        *,
        kv_heads: int | None = None,
        bias: bool = False,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ):
        super().__init__()
        kv_heads = heads if kv_heads is None else kv_heads
        _check_sizes(width, heads, depth, kv_heads)
        self.width, self.heads, self.kv_heads, self.depth = width, heads, kv_heads, depth
        self.lambda_init = 0.8 - 0.6 * math.exp(-0.3 * depth)

        head_width = width // heads
        options = {"device": device, "dtype": dtype}
        self.to_query = nn.Linear(width, width, bias=bias, **options)
        self.to_key = nn.Linear(width, kv_heads * head_width, bias=bias, **options)
        self.to_value = nn.Linear(width, kv_heads * head_width, bias=bias, **options)
        self.to_output = nn.Linear(width, width, bias=bias, **options)
        self.lambda_query = nn.Parameter(torch.empty(2, head_width // 2, **options))  # one row a map
        self.lambda_key = nn.Parameter(torch.empty(2, head_width // 2, **options))
        self.norm = nn.RMSNorm(head_width, eps=1e-5, **options)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Glorot-uniform weights, zero biases, and the authors' lambdas, of standard deviation 0.1."""
        for projection in (self.to_query, self.to_key, self.to_value, self.to_output):
            nn.init.xavier_uniform_(projection.weight)
            if projection.bias is not None:
                nn.init.zeros_(projection.bias)
        nn.init.normal_(self.lambda_query, std=0.1)
        nn.init.normal_(self.lambda_key, std=0.1)
        nn.init.ones_(self.norm.weight)

    @property
    def strength(self) -> Float[Tensor, ""]:
        """Lambda as it stands, in float32 or better."""
        dtype = torch.promote_types(self.lambda_query.dtype, torch.float32)
        agreement = (self.lambda_query.to(dtype) * self.lambda_key.to(dtype)).sum(-1)  # (2,)
        first, second = agreement.exp()
        return first - second + self.lambda_init

    def forward(
        self,
        query: Float[Tensor, "batch n {self.width}"],
        key: Float[Tensor, "batch m {self.width}"] | None = None,
        value: Float[Tensor, "batch m {self.width}"] | None = None,
        *,
        mask: Bool[Tensor, "..."] | None = None,
        bias: Float[Tensor, "..."] | None = None,
    ) -> Attended:
        """Attend from query to key and value; alone, a sequence attends to itself.

        `key` defaults to `query`, `value` to `key`. `mask` and `bias` broadcast to (batch, heads, n, m).
        Output is (batch, n, width), weights (batch, heads, n, m), lse (batch, heads, n) of the first map.

        A query that may attend to nothing gets zeros from every head.
        """
        key, value = defaults(query, key, value)
        widths = (self.width,) * 3
        check_attention((query, key, value), widths, self.heads, self.to_query.weight, mask, bias)

        (query, key, value, bias), spoiled = quarantine(query, key, value, mask, bias)
        attended = differential(
            head_axis.split(self.to_query(query), self.heads),  # (batch, heads, n, width / heads)
            _split_groups(self.to_key(key), self.kv_heads, self.heads),  # (batch, heads, m, width / heads)
            _split_groups(self.to_value(value), self.kv_heads, self.heads),
            self.strength,
            mask=mask,
            bias=bias,
        )
        wide = attended.output.to(self.norm.weight.dtype)  # under autocast the two may differ
        normed = self.norm(wide) * (1 - self.lambda_init)  # (batch, heads, n, width / heads)
        output = self.to_output(head_axis.merge(normed))  # (batch, n, width)
        return pipeline.spoil(attended._replace(output=output), spoiled)


def _split_groups(
    x: Float[Tensor, "batch m kv_total"], kv_heads: int, heads: int
) -> Float[Tensor, "batch {heads} m head_width"]:
    """Projected keys or values, cut into `kv_heads` and those repeated for `heads`."""
    return head_axis.repeat_groups(head_axis.split(x, kv_heads), heads // kv_heads)


def _check_halves(query: Tensor, key: Tensor) -> None:
    if query.shape[-1] != key.shape[-1] or query.shape[-1] % 2:
        raise ValueError(
            "`query` and `key` must hold two halves of one width, one for each map; got widths "
            f"{query.shape[-1]} and {key.shape[-1]}. Join halves with `torch.cat([first, second], dim=-1)`."
        )


def _check_strength(strength: Real | Tensor) -> None:
    normalizers.check_number("strength", strength)
    if isinstance(strength, Tensor) and strength.ndim > 0:
        raise ValueError(
            f"`strength` must be one number, as a 0-d tensor; got shape {tuple(strength.shape)}. "
            "Use `strength.squeeze()`."
        )


def _check_sizes(width: int, heads: int, depth: int, kv_heads: int) -> None:
    head_axis.check_positive("heads", heads)
    head_axis.check_positive("kv_heads", kv_heads)
    if not head_axis.is_count(width) or width % (2 * heads):
        raise ValueError(
            f"`width` must be a multiple of 2 * heads, as a head is two maps; got width = {width!r} and "
            f"heads = {heads}. Halve the heads of a multi-head layer of this width."
        )
    if heads % kv_heads:
        raise ValueError(
            f"`kv_heads` must divide `heads`; got kv_heads = {kv_heads} and heads = {heads}. "
            "Choose heads that are a multiple of kv_heads."
        )
    if not (head_axis.is_count(depth) or (depth == 0 and not isinstance(depth, bool))):
        raise ValueError(
            f"`depth` must be an integer of at least 0, the layer's index from 0; got {depth!r}."
        )
