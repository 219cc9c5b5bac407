"""Multi-head attention as a module: it holds parameters; `pipeline.attend` does the mathematics."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from attention_core import heads as head_axis
from attention_core import normalizers, pipeline, scores
from attention_core.pipeline import Attended


class MultiHeadAttention(nn.Module):
    r"""Multi-head attention, of Vaswani et al. (2017), section 3.2.2.

    $\mathrm{head}_h = \mathrm{attend}(W^Q_h x_q, W^K_h x_k, W^V_h x_v)$ and
    $o = W^O [\mathrm{head}_1; \dots; \mathrm{head}_H]$, each head `width / heads` wide.

    Parameters
    ----------
    width
        Features of the query and of the output.
    heads
        Number of query heads; divides `width`.
    kv_heads
        Number of key/value heads; divides `heads`, and defaults to it. Fewer is grouped-query attention
        (Ainslie et al. 2023); one is multi-query attention (Shazeer 2019).
    key_width, value_width
        Features of the key and value inputs, if other than `width` (torch's `kdim` and `vdim`).
    bias
        Whether the four projections add a bias.
    """

    def __init__(
        self,
        width: int,
        heads: int,
        *,
        kv_heads: int | None = None,
        key_width: int | None = None,
        value_width: int | None = None,
        bias: bool = True,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ):
        super().__init__()
        kv_heads = heads if kv_heads is None else kv_heads
        _check_divides("heads", heads, "width", width)
        _check_divides("kv_heads", kv_heads, "heads", heads)
        self.width, self.heads, self.kv_heads = width, heads, kv_heads
        self.key_width = width if key_width is None else key_width
        self.value_width = width if value_width is None else value_width
        head_axis.check_positive("key_width", self.key_width)
        head_axis.check_positive("value_width", self.value_width)

        kv_total = kv_heads * (width // heads)
        options = {"bias": bias, "device": device, "dtype": dtype}
        self.to_query = nn.Linear(width, width, **options)
        self.to_key = nn.Linear(self.key_width, kv_total, **options)
        self.to_value = nn.Linear(self.value_width, kv_total, **options)
        self.to_output = nn.Linear(width, width, **options)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Glorot-uniform weights and zero biases, drawn from torch's global generator."""
        for projection in (self.to_query, self.to_key, self.to_value, self.to_output):
            nn.init.xavier_uniform_(projection.weight)
            if projection.bias is not None:
                nn.init.zeros_(projection.bias)

    def forward(
        self,
        query: Float[Tensor, "batch n {self.width}"],
        key: Float[Tensor, "batch m {self.key_width}"] | None = None,
        value: Float[Tensor, "batch m {self.value_width}"] | None = None,
        *,
        mask: Bool[Tensor, "..."] | None = None,
        bias: Float[Tensor, "..."] | None = None,
    ) -> Attended:
        """Attend from query to key and value; alone, a sequence attends to itself.

        `key` defaults to `query`, `value` to `key`. `mask` and `bias` broadcast to (batch, heads, n, m).
        Output is (batch, n, width), weights (batch, heads, n, m), lse (batch, heads, n).

        A query that may attend to nothing gets zeros from every head, so its output is the last bias alone.
        """
        key, value = defaults(query, key, value)
        widths = (self.width, self.key_width, self.value_width)
        check_attention((query, key, value), widths, self.heads, self.to_query.weight, mask, bias)

        (query, key, value, bias), spoiled = quarantine(query, key, value, mask, bias)
        query, key, value = self.project(query, key, value)
        key, value = (head_axis.repeat_groups(x, self.heads // self.kv_heads) for x in (key, value))
        attended = pipeline.attend(query, key, value, mask=mask, bias=bias)
        return pipeline.spoil(attended._replace(output=self.join(attended.output)), spoiled)

    def project(
        self,
        query: Float[Tensor, "batch n {self.width}"],
        key: Float[Tensor, "batch m {self.key_width}"],
        value: Float[Tensor, "batch m {self.value_width}"],
    ) -> tuple[
        Float[Tensor, "batch {self.heads} n head_width"],
        Float[Tensor, "batch {self.kv_heads} m head_width"],
        Float[Tensor, "batch {self.kv_heads} m head_width"],
    ]:
        """Each head's query, and each key/value head's key and value: not repeated, as a cache keeps them."""
        return (
            head_axis.split(self.to_query(query), self.heads),
            head_axis.split(self.to_key(key), self.kv_heads),
            head_axis.split(self.to_value(value), self.kv_heads),
        )

    def join(
        self, output: Float[Tensor, "batch {self.heads} n head_width"]
    ) -> Float[Tensor, "batch n {self.width}"]:
        """The heads' outputs side by side, projected together: $W^O [head_1; ...; head_H]$."""
        return self.to_output(head_axis.merge(output))

    @classmethod
    def from_torch(cls, module: nn.MultiheadAttention) -> "MultiHeadAttention":
        """Copy a `torch.nn.MultiheadAttention`, its dtype, device and training mode included.

        Ours is batch first whatever the module's `batch_first`, and returns the weights per head, which torch
        gives with `average_attn_weights=False`. Its masks mean the opposite: see `masks.from_torch_mha`.
        Dropout has no counterpart here, so a module that would drop weights is refused; so are
        `add_bias_kv` and `add_zero_attn`, which add a key that no input holds.
        """
        _check_representable(module)
        weights = module.in_proj_weight
        if weights is None:  # torch packs the three only where kdim and vdim equal embed_dim
            weights = (module.q_proj_weight, module.k_proj_weight, module.v_proj_weight)
        else:
            weights = weights.chunk(3)
        biases = (None,) * 3 if module.in_proj_bias is None else module.in_proj_bias.chunk(3)

        copy = cls(
            module.embed_dim,
            module.num_heads,
            key_width=module.kdim,
            value_width=module.vdim,
            bias=module.in_proj_bias is not None,
            device=weights[0].device,
            dtype=weights[0].dtype,
        )
        sources = zip((*weights, module.out_proj.weight), (*biases, module.out_proj.bias), strict=True)
        projections = (copy.to_query, copy.to_key, copy.to_value, copy.to_output)
        with torch.no_grad():
            for projection, (weight, bias) in zip(projections, sources, strict=True):
                projection.weight.copy_(weight)
                if bias is not None:
                    projection.bias.copy_(bias)
        return copy.train(module.training)


def defaults(query: Tensor, key: Tensor | None, value: Tensor | None) -> tuple[Tensor, Tensor]:
    """Key and value: a sequence alone attends to itself, and keys without values are both."""
    if key is None and value is not None:
        raise ValueError("`value` came without a `key`; give both, or neither for self-attention.")
    key = query if key is None else key
    return key, key if value is None else value


def quarantine(
    query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, bias: Tensor | None
) -> tuple[tuple[Tensor, Tensor, Tensor, Tensor | None], pipeline.Spoiled | None]:
    """`pipeline.quarantine` of a module's inputs (batch, sequence, width), for a mask that has heads.

    It comes before the projections, whose weights would meet a NaN input in their gradient. Output is spoiled
    as the module gives it, (batch, n, width): one spoiled head spoils the sum over heads.
    """
    with_heads = (x[:, None] for x in (query, key, value))  # (batch, 1, sequence, width)
    (*clean, bias), spoiled = pipeline.quarantine(*with_heads, mask, bias)
    if spoiled is not None:
        spoiled = spoiled._replace(output=spoiled.output.any(1))
    return (*(x.squeeze(1) for x in clean), bias), spoiled


def check_attention(
    inputs: tuple[Tensor, Tensor, Tensor],
    widths: tuple[int, int, int],
    heads: int,
    parameter: Tensor,
    mask: Tensor | None,
    bias: Tensor | None,
) -> None:
    """Require query, key and value, mask and bias, that a module of these widths and heads can take."""
    named = dict(zip(("query", "key", "value"), inputs, strict=True))
    scores.check_sequences(**named)
    for (name, x), width in zip(named.items(), widths, strict=True):
        check_input(name, x, width, parameter)
    query, key, value = inputs
    pipeline.check_pairs(key, value)
    check_visible(mask, bias, torch.Size((len(query), heads, query.shape[1], key.shape[1])))


def check_input(name: str, x: Tensor, width: int, parameter: Tensor) -> None:
    """Require a sequence (batch, sequence, width) of the parameters' dtype."""
    if x.ndim != 3 or x.shape[-1] != width:
        raise ValueError(
            f"`{name}` must have shape (batch, sequence, {width}); got {tuple(x.shape)}. "
            f"A single sequence is a batch of one: `{name}[None]`."
        )
    check_dtype(name, x, parameter)


def check_dtype(name: str, x: Tensor, parameter: Tensor) -> None:
    """Require the dtype of a module's parameters, but where autocast chooses."""
    if x.dtype != parameter.dtype and not torch.is_autocast_enabled(x.device.type):
        raise TypeError(
            f"`{name}` must have the dtype of the module's parameters, {parameter.dtype}; got {x.dtype}. "
            f"Use `{name}.to({parameter.dtype})` or `module.to({x.dtype})`."
        )


def check_visible(mask: Tensor | None, bias: Tensor | None, shape: torch.Size) -> None:
    """Require a mask and a bias for scores of `shape` (batch, heads, n, m), the mask's axes beyond doubt."""
    normalizers.check_mask(mask, shape)
    pipeline.check_bias(bias, shape)
    batch, heads = shape[:2]
    if mask is not None and mask.ndim == 3 and 1 < mask.shape[0] == batch == heads:
        raise ValueError(
            f"`mask` of shape {tuple(mask.shape)} could mean one a sequence or one a head, as there are "
            f"{heads} of both. Say `mask[:, None]` for one a sequence, `mask[None]` for one a head."
        )


def _check_divides(name: str, part: int, whole_name: str, whole: int) -> None:
    if not head_axis.is_count(part) or not head_axis.is_count(whole) or whole % part:
        raise ValueError(
            f"`{name}` must be a positive integer that divides `{whole_name}`; got {name} = {part!r} and "
            f"{whole_name} = {whole!r}. Choose `{whole_name}` as a multiple of `{name}`."
        )


def _check_representable(module: nn.MultiheadAttention) -> None:
    if not isinstance(module, nn.MultiheadAttention):
        raise TypeError(f"`module` must be a `torch.nn.MultiheadAttention`; got {type(module).__name__}.")
    if module.bias_k is not None or module.bias_v is not None:
        raise ValueError("`module` has `add_bias_kv=True`, a learned extra key; rebuild it without.")
    if module.add_zero_attn:
        raise ValueError("`module` has `add_zero_attn=True`, an extra key of zeros; rebuild it without.")
    if module.training and module.dropout > 0:
        raise ValueError(
            f"`module` is in training mode with `dropout={module.dropout}`, which has no counterpart here. "
            "Call `module.eval()` first, or build it with `dropout=0`."
        )
