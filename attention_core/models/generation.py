"""Generation: a decoder's own choice becomes its next input, token by token."""

import math
from collections.abc import Sequence
from numbers import Integral, Real
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from attention_core import heads as head_axis
from attention_core import normalizers
from attention_core.decoding import KVCache, PagedBatch, PagedKVCache
from attention_core.models.decoder import Decoder


class Generated(NamedTuple):
    """What follows one prompt."""

    tokens: list[int]  # new ones alone, the end token included if it was chosen
    logits: Float[Tensor, "new vocabulary"]  # from which each was chosen


@torch.no_grad()
def generate(
    model: Decoder,
    prompts: Sequence[Sequence[int]],
    new: int,
    *,
    end: int | None = None,
    temperature: Real = 0.0,
    generator: torch.Generator | None = None,
    caches: Sequence[KVCache | PagedKVCache] | None = None,
) -> list[Generated]:
    r"""Continue each prompt by up to `new` tokens, or to the token `end`.

    $t_{i+1} \sim \mathrm{softmax}(z_i / T)$ with $z_i$ the logits after $t_1 \dots t_i$ and T the
    `temperature`; at T = 0 it is $\arg\max z_i$, without chance. `generator` is what chance is drawn from,
    torch's own if not given: the same seed and prompts give the same tokens.

    Without `caches` every step reads the whole text again: n tokens cost the attention of
    $1 + 2 + \dots + n$ rows. With a cache for each layer, `model.caches()` or `model.paged_caches(...)`, it
    costs n rows, and the tokens are the same. They must be empty, though pages may be in use by others; all
    pages taken are given back at the end, after an error too.

    Prompts of different lengths need no padding: the batch is read up to the end of the shortest, and from
    there on by columns, where a longer prompt puts its own token in place of a chosen one (as in the code of
    Touvron et al. 2023). So a long prompt beside a short one is read token by token, which takes longer than
    reading it at once. Texts that have ended leave the batch.
    """
    _check(model, prompts, new, end, temperature)
    memories = None if caches is None else []
    try:
        for cache in caches or []:
            memories.append(_memory(cache, len(prompts)))
        return _continue(model, prompts, new, end, temperature, generator, memories)
    finally:
        for memory in memories or []:
            if isinstance(memory, PagedBatch):
                memory.close()


def _continue(
    model: Decoder,
    prompts: Sequence[Sequence[int]],
    new: int,
    end: int | None,
    temperature: Real,
    generator: torch.Generator | None,
    memories: list[KVCache | PagedBatch] | None,
) -> list[Generated]:
    texts = [_Text(prompt) for prompt in prompts]
    going = [text for text in texts if not text.ended(new, end)]  # row by row of the batch
    read = 0  # tokens of each text that the caches hold
    while going:
        seen = min(len(text.tokens) for text in going)
        tokens = torch.tensor([text.tokens[read:seen] for text in going], device=model.embed.weight.device)
        logits = model(tokens, memories).logits[:, -1].clone()  # a view would hold those of all positions
        choosing = [row for row, text in enumerate(going) if len(text.tokens) == seen]
        chosen = choose(logits[choosing], temperature, generator).tolist()
        for row, token in zip(choosing, chosen, strict=True):
            going[row].tokens.append(token)
            going[row].logits.append(logits[row])

        read = 0 if memories is None else seen
        rows = [row for row, text in enumerate(going) if not text.ended(new, end)]
        going = [going[row] for row in rows]
        for memory in memories or []:
            memory.select(rows)
    none = model.embed.weight.new_empty(0, model.vocabulary)
    return [
        Generated(text.tokens[text.prompt :], torch.stack(text.logits) if text.logits else none)
        for text in texts
    ]


class _Text:
    """A prompt and what follows it so far."""

    def __init__(self, prompt: Sequence[int]):
        self.tokens, self.prompt = list(prompt), len(prompt)
        self.logits: list[Tensor] = []  # of the new tokens

    def ended(self, new: int, end: int | None) -> bool:
        """Whether there are `new` tokens, or the last one is `end` and not a part of the prompt."""
        return len(self.logits) == new or (len(self.logits) > 0 and self.tokens[-1] == end)


def choose(
    logits: Float[Tensor, "rows vocabulary"], temperature: Real, generator: torch.Generator | None = None
) -> Int[Tensor, " rows"]:
    """A token a row: the likeliest at temperature 0, else one drawn from the softmax."""
    if logits.isnan().any():
        raise ValueError("`logits` hold NaN, from which nothing can be chosen. Are the parameters finite?")
    if temperature == 0:
        return logits.argmax(-1)
    wide = logits.to(torch.promote_types(logits.dtype, torch.float32))
    return torch.multinomial(normalizers.softmax(wide, temperature=temperature), 1, generator=generator)[:, 0]


def _memory(cache: KVCache | PagedKVCache, batch: int) -> KVCache | PagedBatch:
    """A cache with room for a batch that begins."""
    if isinstance(cache, PagedKVCache):
        return PagedBatch(cache, [cache.open() for _ in range(batch)])
    if not isinstance(cache, KVCache):
        raise TypeError(
            f"`caches` must be of `KVCache` or `PagedKVCache`; got {type(cache).__name__}. "
            "Use `model.caches()` or `model.paged_caches(pages, page_size)`."
        )
    if cache.length > 0:
        raise ValueError(
            f"`caches` must be empty; got one of {cache.length} tokens. Use new ones, `model.caches()`."
        )
    return cache


def _check(
    model: Decoder, prompts: Sequence[Sequence[int]], new: int, end: int | None, temperature: Real
) -> None:
    if not isinstance(model, Decoder):
        raise TypeError(f"`model` must be a `Decoder`; got {type(model).__name__}.")
    for number, prompt in enumerate(prompts):
        if not isinstance(prompt, Sequence) or isinstance(prompt, str) or len(prompt) == 0:
            raise ValueError(
                f"`prompts` must be lists of at least one token each; got {prompt!r} as number {number}. "
                "One prompt is a list of one; an empty text begins with a token that means just that."
            )
        for token in prompt:
            if (
                not isinstance(token, Integral)
                or isinstance(token, bool)
                or token not in range(model.vocabulary)
            ):
                raise ValueError(
                    f"`prompts` must hold tokens 0..{model.vocabulary - 1}; got {token!r} in number {number}."
                )
    if not (head_axis.is_count(new) or (new == 0 and isinstance(new, int))):
        raise ValueError(f"`new` must be a count of tokens, 0 or more; got {new!r}.")
    if end is not None and end not in range(model.vocabulary):
        raise ValueError(
            f"`end` must be a token, 0..{model.vocabulary - 1}; got {end!r}. Leave it out to generate `new` "
            "tokens always."
        )
    if not isinstance(temperature, Real) or isinstance(temperature, bool) or not 0 <= temperature < math.inf:
        raise ValueError(
            f"`temperature` must be a finite number of at least 0; got {temperature!r}. 0 takes the "
            "likeliest token, 1 draws from the model's own distribution."
        )
