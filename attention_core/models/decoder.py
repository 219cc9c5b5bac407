"""Decoder: a decoder-only transformer, whose one forward path runs with caches and without."""

from collections.abc import Callable, Sequence
from functools import partial
from numbers import Real
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from attention_core import heads as head_axis
from attention_core.decoding import KVCache, PagedBatch, PagedKVCache, split_kv
from attention_core.decoding.cache import check_window, visible
from attention_core.multihead import MultiHeadAttention
from attention_core.pipeline import Attended
from attention_core.positions import rope


class Decoded(NamedTuple):
    """What a decoder gives back for n tokens, always both."""

    logits: Float[Tensor, "batch n vocabulary"]  # of the token that follows each
    attended: tuple[Attended, ...]  # of each layer: output (batch, heads, n, head_width), weights, lse


class DecoderLayer(nn.Module):
    r"""A layer of Touvron et al. (2023, LLaMA), section 2.2.

    $h = x + W^O [\mathrm{head}_1; \dots; \mathrm{head}_H]$ of
    $\mathrm{head} = \mathrm{attend}(R_i W^Q \bar x_i,\ R_j W^K \bar x_j,\ W^V \bar x_j)$ over $j \le i$, and
    $y = h + W^{down}(\mathrm{SiLU}(W^{gate} \bar h) \odot W^{up} \bar h)$ (SwiGLU, Shazeer 2020).

    $\bar x$ is x under an RMS norm (Zhang & Sennrich 2019), which comes before each part so that x itself
    goes through all layers unchanged; $R_i$ is `positions.rope` at place i. No projection has a bias.

    Parameters
    ----------
    width, heads, kv_heads
        As of `MultiHeadAttention`; the heads' width, width / heads, is even.
    hidden
        Features inside the gated part.
    base
        Of the rotations' wavelengths, as in `positions.rope`.
    """

    def __init__(
        self,
        width: int,
        heads: int,
        *,
        kv_heads: int | None = None,
        hidden: int,
        base: Real = 10000,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ):
        super().__init__()
        head_axis.check_positive("hidden", hidden)
        options = {"device": device, "dtype": dtype}
        self.width, self.base = width, base
        self.attention_norm = nn.RMSNorm(width, eps=1e-6, **options)
        self.attention = MultiHeadAttention(width, heads, kv_heads=kv_heads, bias=False, **options)
        if width // heads % 2:
            raise ValueError(
                "`width` must be an even multiple of `heads`, as features turn in pairs; got "
                f"width = {width} and heads = {heads}, which makes heads {width // heads} wide."
            )
        self.feed_norm = nn.RMSNorm(width, eps=1e-6, **options)
        self.gate = nn.Linear(width, hidden, bias=False, **options)
        self.up = nn.Linear(width, hidden, bias=False, **options)
        self.down = nn.Linear(hidden, width, bias=False, **options)

    def forward(
        self,
        x: Float[Tensor, "batch n {self.width}"],
        positions: Int[Tensor, " n"],
        attend: Callable[[Tensor, Tensor, Tensor], Attended],
    ) -> tuple[Float[Tensor, "batch n {self.width}"], Attended]:
        """One step up. `attend` gets query (batch, heads, n, d), key and value (batch, kv_heads, n, d).

        What it lets each query see, and where keys are kept, is its affair: this is where caches come in.
        """
        normed = self.attention_norm(x)
        query, key, value = self.attention.project(normed, normed, normed)
        query, key = (rope(y, positions, base=self.base) for y in (query, key))
        attended = attend(query, key, value)
        hidden = x + self.attention.join(attended.output)
        normed = self.feed_norm(hidden)
        fed = self.down(nn.functional.silu(self.gate(normed)) * self.up(normed))
        return hidden + fed, attended


class Decoder(nn.Module):
    r"""A decoder-only transformer: of each token, the logits of the next.

    $x^0 = E_t$, $x^{l+1} = \mathrm{layer}_l(x^l)$ as in `DecoderLayer`, and logits $U\,\mathrm{norm}(x^L)$.
    Decoder-only is Liu et al. (2018); the parts are those of Touvron et al. (2023, LLaMA).

    Parameters
    ----------
    vocabulary
        Number of tokens, which are 0 to vocabulary - 1.
    width, layers, heads, kv_heads
        Features of a token, layers, and heads in each; `kv_heads` divides `heads`, which divides `width`.
    hidden
        Features inside each layer's gated part; 8/3 of `width` if not given, so that its three matrices have
        as many parameters as two of 4 `width`, the usual feed-forward part.
    window, sinks
        What a query sees, as of a `KVCache`: the last `window` tokens, itself included, and the `sinks`
        first. No parameter depends on them, so a model trained without may be given them afterwards.
        A token still hears of those further back, through the layers: each looks back `window - 1` more.
    tied
        Whether U is E, the one matrix for tokens in and out (Press & Wolf 2016).
    base
        Of the rotations' wavelengths, as in `positions.rope`.
    """

    def __init__(
        self,
        vocabulary: int,
        width: int,
        layers: int,
        heads: int,
        *,
        kv_heads: int | None = None,
        hidden: int | None = None,
        window: int | None = None,
        sinks: int = 0,
        tied: bool = True,
        base: Real = 10000,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ):
        super().__init__()
        head_axis.check_positive("vocabulary", vocabulary)
        head_axis.check_positive("layers", layers)
        head_axis.check_positive("width", width)
        check_window(window, sinks)
        hidden = max(8 * width // 3, 1) if hidden is None else hidden
        options = {"device": device, "dtype": dtype}
        self.vocabulary, self.width, self.window, self.sinks = vocabulary, width, window, sinks
        self.embed = nn.Embedding(vocabulary, width, **options)
        self.layers = nn.ModuleList(
            DecoderLayer(width, heads, kv_heads=kv_heads, hidden=hidden, base=base, **options)
            for _ in range(layers)
        )
        self.norm = nn.RMSNorm(width, eps=1e-6, **options)
        self.unembed = nn.Linear(width, vocabulary, bias=False, **options)
        if tied:
            self.unembed.weight = self.embed.weight
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Matrices from a normal distribution of standard deviation 0.02, as GPT-2's; norms of gain 1."""
        for parameter in self.parameters():
            if parameter.ndim == 2:
                nn.init.normal_(parameter, std=0.02)
            else:
                nn.init.ones_(parameter)

    def forward(
        self,
        tokens: Int[Tensor, "batch n"],
        caches: Sequence[KVCache | PagedBatch] | None = None,
    ) -> Decoded:
        """Logits of the token after each of the tokens.

        With `caches`, one for each layer, the tokens follow those that the caches hold, and are kept there
        too. The result is the same as that of the whole text at once, but no gradient reaches what is kept.
        """
        start = self._check(tokens, caches)
        positions = torch.arange(start, start + tokens.shape[1], device=tokens.device)
        if caches is None:
            mask = visible(positions, positions, self.window, self.sinks)
            attends = [partial(split_kv, mask=mask)] * len(self.layers)
        else:
            attends = [partial(through, cache) for cache in caches]

        x, seen = self.embed(tokens), []
        for layer, attend in zip(self.layers, attends, strict=True):
            x, attended = layer(x, positions, attend)
            seen.append(attended)
        return Decoded(self.unembed(self.norm(x)), tuple(seen))

    def caches(self) -> list[KVCache]:
        """An empty `KVCache` for each layer, which forgets what the model's window no longer shows."""
        return [KVCache(window=self.window, sinks=self.sinks) for _ in self.layers]

    def paged_caches(self, pages: int, page_size: int) -> list[PagedKVCache]:
        """An empty `PagedKVCache` for each layer, of so many pages of so many tokens."""
        attention, weight = self.layers[0].attention, self.embed.weight
        options = {"device": weight.device, "dtype": weight.dtype}
        sizes = (attention.kv_heads, attention.width // attention.heads)
        return [PagedKVCache(pages, page_size, *sizes, **options) for _ in self.layers]

    def _check(self, tokens: Tensor, caches: Sequence[KVCache | PagedBatch] | None) -> int:
        """Check the arguments; returns how many tokens the caches hold."""
        if not isinstance(tokens, Tensor) or tokens.dtype not in (torch.int32, torch.int64):
            got = getattr(tokens, "dtype", type(tokens).__name__)
            raise TypeError(f"`tokens` must be an integer tensor; got {got}. Use `torch.tensor([[1, 2]])`.")
        if tokens.ndim != 2 or tokens.shape[1] == 0:
            raise ValueError(
                f"`tokens` must have shape (batch, n), n at least 1; got {tuple(tokens.shape)}. "
                "One text is a batch of one: `tokens[None]`."
            )
        if ((tokens < 0) | (tokens >= self.vocabulary)).any():
            raise ValueError(
                f"`tokens` must lie in 0..{self.vocabulary - 1}, the vocabulary; got "
                f"{int(tokens.min())}..{int(tokens.max())}."
            )
        return 0 if caches is None else _check_caches(caches, self)


def through(cache: KVCache | PagedBatch, query: Tensor, key: Tensor, value: Tensor) -> Attended:
    """Attention to what a cache holds and to this, which it will hold from now on."""
    cache.append(key, value)
    return cache.attend(query)


def _check_caches(caches: Sequence[KVCache | PagedBatch], model: Decoder) -> int:
    """Require a cache a layer, that are in step and forget what the model does; returns their length."""
    for cache in caches:
        if not isinstance(cache, KVCache | PagedBatch):
            raise TypeError(
                f"`caches` must be of `KVCache` or `PagedBatch`; got {type(cache).__name__}. Use "
                "`model.caches()`; sequences of a `PagedKVCache` are put together by `PagedBatch`."
            )
        rule = (cache.window, cache.sinks) if isinstance(cache, KVCache) else (None, 0)
        if rule != (model.window, model.sinks):
            raise ValueError(
                f"`caches` must have the window and sinks of the model, {model.window} and {model.sinks}; "
                f"got {rule[0]} and {rule[1]} in a {type(cache).__name__}. Use `model.caches()`; "
                "pages forget nothing, so a model with a window takes none."
            )
    lengths = [cache.length for cache in caches]
    if len(set(map(id, caches))) != len(model.layers) or len(caches) != len(model.layers):
        raise ValueError(
            f"`caches` must hold one for each of the {len(model.layers)} layers; got {len(caches)}, of which "
            f"{len(set(map(id, caches)))} differ. Use `model.caches()`."
        )
    if len(set(lengths)) > 1:
        raise ValueError(
            f"`caches` must hold the same tokens; got lengths {lengths}. After an error, begin anew with "
            "`model.caches()`."
        )
    return lengths[0]
