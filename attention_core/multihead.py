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
        if key is None and value is not None:
            raise ValueError("`value` came without a `key`; give both, or neither for self-attention.")
        key = query if key is None else key
        value = key if value is None else value
        self._check(query, key, value, mask, bias)

        # Before the projections, whose weights would meet a NaN input in their gradient; (batch, 1, ...) for
        # the heads' axis of the mask.
        (*clean, bias), spoiled = pipeline.quarantine(
            query[:, None], key[:, None], value[:, None], mask, bias
        )
        query, key, value = (x.squeeze(1) for x in clean)
        attended = pipeline.attend(
            head_axis.split(self.to_query(query), self.heads),  # (batch, heads, n, width / heads)
            self._split_groups(self.to_key(key)),  # (batch, heads, m, width / heads)
            self._split_groups(self.to_value(value)),
            mask=mask,
            bias=bias,
        )
        output = self.to_output(head_axis.merge(attended.output))  # (batch, n, width)
        if spoiled is not None:  # one spoiled head spoils the sum over heads
            spoiled = spoiled._replace(output=spoiled.output.any(1))
        return pipeline.spoil(attended._replace(output=output), spoiled)

    def _split_groups(
        self, x: Float[Tensor, "batch m kv_total"]
    ) -> Float[Tensor, "batch heads m head_width"]:
        return head_axis.repeat_groups(head_axis.split(x, self.kv_heads), self.heads // self.kv_heads)

    def _check(
        self, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, bias: Tensor | None
    ) -> None:
        widths = {"query": self.width, "key": self.key_width, "value": self.value_width}
        scores.check_sequences(query=query, key=key, value=value)
        for (name, width), x in zip(widths.items(), (query, key, value), strict=True):
            if x.ndim != 3 or x.shape[-1] != width:
                raise ValueError(
                    f"`{name}` must have shape (batch, sequence, {width}); got {tuple(x.shape)}. "
                    f"A single sequence is a batch of one: `{name}[None]`."
                )
        dtype = self.to_query.weight.dtype
        if query.dtype != dtype and not torch.is_autocast_enabled(query.device.type):
            raise TypeError(
                f"`query` must have the dtype of the module's parameters, {dtype}; got {query.dtype}. "
                f"Use `query.to({dtype})` or `module.to({query.dtype})`."
            )
        shape = torch.Size((query.shape[0], self.heads, query.shape[1], key.shape[1]))
        normalizers.check_mask(mask, shape)
        pipeline.check_bias(bias, shape)
        if mask is not None and mask.ndim == 3 and 1 < mask.shape[0] == query.shape[0] == self.heads:
            raise ValueError(
                f"`mask` of shape {tuple(mask.shape)} could mean one a sequence or one a head, as there are "
                f"{self.heads} of both. Say `mask[:, None]` for one a sequence, `mask[None]` for one a head."
            )

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


def _check_divides(name: str, part: int, whole_name: str, whole: int) -> None:
    if not head_axis.is_count(part) or not head_axis.is_count(whole) or whole % part:
        raise ValueError(
            f"`{name}` must be a positive integer that divides `{whole_name}`; got {name} = {part!r} and "
            f"{whole_name} = {whole!r}. Choose a {whole_name} that is a multiple of {name}."
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
