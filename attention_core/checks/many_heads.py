"""Exercises of the chapter "Many heads": float64 inputs, heads before the sequence."""

from math import sqrt

import torch
from torch import Tensor

from attention_core import attend, heads, masks, scores
from attention_core.checks import Case, Exercise, Mutant

# --- split-heads: one wide sequence seen as several narrow ones


def _split_cases(generator: torch.Generator) -> list[Case]:
    return [
        {"x": _normal(generator, n, width), "heads": count}
        for n, width, count in ((3, 4, 2), (2, 6, 3), (4, 4, 1), (5, 8, 4))
    ]


def _split_in_place(x: Tensor, count: int) -> Tensor:
    answer = heads.split(x, count).clone()
    x.zero_()
    return answer


SPLIT = Exercise(
    name="split-heads",
    reference=heads.split,
    cases=_split_cases,
    mutants={
        "reshape alone": Mutant(
            lambda x, heads: x.reshape(heads, len(x), -1),
            "the sentence is cut, not the width: head 0 holds whole tokens. Cut the last axis first.",
        ),
        "not transposed": Mutant(
            lambda x, heads: x.reshape(len(x), heads, -1),
            "the width is cut, but the tokens are still the first axis: the heads come before them.",
        ),
        "strided": Mutant(
            lambda x, heads: x.reshape(len(x), -1, heads).permute(2, 0, 1),
            "the features are dealt out like cards: head 0 gets the first features in a row, then head 1.",
        ),
        "transposed inside": Mutant(
            lambda x, count: heads.split(x, count).mT,
            "each head is transposed: its rows are tokens, its columns features.",
        ),
        "last head first": Mutant(
            lambda x, count: heads.split(x, count).flip(0),
            "the heads come in the wrong order: head 0 gets the first features.",
        ),
        "in place": Mutant(_split_in_place, "modified in place"),
    },
)

# --- head-terms: what each head adds to the layer's output


def _terms(output: Tensor, w_output: Tensor) -> Tensor:
    return output @ w_output.unflatten(0, (len(output), -1))


def _terms_cases(generator: torch.Generator) -> list[Case]:
    return [
        {
            "output": _normal(generator, count, n, width),
            "w_output": _normal(generator, count * width, out),
        }
        for count, n, width, out in ((2, 3, 2, 4), (3, 2, 3, 9), (1, 2, 2, 3), (2, 2, 4, 8))
    ]


def _terms_in_place(output: Tensor, w_output: Tensor) -> Tensor:
    answer = _terms(output, w_output)
    w_output *= 2
    return answer


TERMS = Exercise(
    name="head-terms",
    reference=_terms,
    cases=_terms_cases,
    mutants={
        "sum": Mutant(
            lambda output, w_output: _terms(output, w_output).sum(0),
            "this is the layer's output, the sum: each head's own term is asked for, (heads, n, c).",
        ),
        "equal shares": Mutant(
            lambda output, w_output: (
                _terms(output, w_output).mean(0, keepdim=True).expand(len(output), -1, -1)
            ),
            "all heads get the same term: each has rows of the output matrix to itself.",
        ),
        "strided rows": Mutant(
            lambda output, w_output: output @ w_output.unflatten(0, (-1, len(output))).transpose(0, 1),
            "the rows are dealt out like cards: head 0 owns the first rows in one block, then comes head 1.",
        ),
        "reversed": Mutant(
            lambda output, w_output: output @ w_output.unflatten(0, (len(output), -1)).flip(0),
            "the blocks of rows are in the wrong order: head 0 owns the first.",
        ),
        "first block for all": Mutant(
            lambda output, w_output: output @ w_output[: output.shape[-1]],
            "every head uses the first block of rows: each has its own.",
        ),
        "not projected": Mutant(
            lambda output, w_output: output,
            "these are the heads' outputs as they were: each has to pass through its block of the matrix.",
        ),
        "in place": Mutant(_terms_in_place, "modified in place"),
    },
)

# --- cross-heads: multi-head attention of one sequence to another


def _cross(
    x: Tensor,
    memory: Tensor,
    w_query: Tensor,
    w_key: Tensor,
    w_value: Tensor,
    w_output: Tensor,
    count: int,
    *,
    factor: float = 1.0,
) -> Tensor:
    query, key, value = (
        heads.split(z, count) for z in (factor * x @ w_query, memory @ w_key, memory @ w_value)
    )
    return heads.merge(attend(query, key, value).output) @ w_output


def _cross_cases(generator: torch.Generator) -> list[Case]:
    names = ("w_query", "w_key", "w_value", "w_output")
    return [
        {
            "x": _normal(generator, n, width),
            "memory": _normal(generator, m, width),
            **{name: _normal(generator, width, width) for name in names},
            "heads": count,
        }
        for n, m, width, count in ((3, 3, 4, 2), (2, 5, 6, 3), (4, 2, 6, 2))
    ]


def _cross_wrong_cut(x, memory, w_query, w_key, w_value, w_output, count):
    cut = (z.reshape(count, len(z), -1) for z in (x @ w_query, memory @ w_key, memory @ w_value))
    return attend(*cut).output.reshape(len(x), -1) @ w_output


def _cross_wrong_join(x, memory, w_query, w_key, w_value, w_output, count):
    query, key, value = (heads.split(z, count) for z in (x @ w_query, memory @ w_key, memory @ w_value))
    return attend(query, key, value).output.reshape(len(x), -1) @ w_output


def _cross_one_row(x, memory, w_query, w_key, w_value, w_output, count):
    query, key, value = (heads.split(z, count) for z in (x @ w_query, memory @ w_key, memory @ w_value))
    weights = attend(query, key, value).weights.mean(0)
    return weights @ memory @ w_value @ w_output


def _cross_in_place(x, memory, w_query, w_key, w_value, w_output, count):
    answer = _cross(x, memory, w_query, w_key, w_value, w_output, count)
    memory.zero_()
    return answer


CROSS = Exercise(
    name="cross-heads",
    reference=_cross,
    cases=_cross_cases,
    mutants={
        "self": Mutant(
            lambda x, memory, *rest: _cross(x, x, *rest),
            "x attends to itself: keys and values are projected from the memory.",
        ),
        "roles swapped": Mutant(
            lambda x, memory, *rest: _cross(memory, x, *rest),
            "the memory asks and x answers: queries come from x, one output for each of its rows.",
        ),
        "keys and values swapped": Mutant(
            lambda x, memory, w_query, w_key, w_value, w_output, count: _cross(
                x, memory, w_query, w_value, w_key, w_output, count
            ),
            "keys and values swapped: w_key makes what is compared, w_value what is handed over.",
        ),
        "one head": Mutant(
            lambda x, memory, w_query, w_key, w_value, w_output, count: _cross(
                x, memory, w_query, w_key, w_value, w_output, 1
            ),
            "this is one wide head: the width has to be cut before the scores.",
        ),
        "scaled by the whole width": Mutant(
            lambda *inputs: _cross(*inputs, factor=1 / sqrt(inputs[-1])),
            "divided by the root of the layer's width: a head's scores are sums over its own, c / heads.",
        ),
        "not scaled": Mutant(
            lambda *inputs: _cross(*inputs, factor=sqrt(inputs[0].shape[-1] / inputs[-1])),
            "the scores are not divided by the root of a head's width.",
        ),
        "no output matrix": Mutant(
            lambda x, memory, w_query, w_key, w_value, w_output, count: _cross(
                x, memory, w_query, w_key, w_value, torch.eye(x.shape[-1]).to(x), count
            ),
            "the heads stand side by side: the output matrix has to add them up.",
        ),
        "wrong cut": Mutant(
            _cross_wrong_cut,
            "reshaped without a transpose: each head holds a piece of the sentence, not of the width.",
        ),
        "wrong join": Mutant(
            _cross_wrong_join,
            "joined without a transpose: the heads of one token have to stand side by side again.",
        ),
        "one row for all": Mutant(
            _cross_one_row,
            "the weights are averaged over the heads: each mixes its own values with its own row.",
        ),
        "in place": Mutant(_cross_in_place, "modified in place"),
    },
)

# --- joint-mask: an encoder-decoder's masks over [source; target], in one picture


def _joint(source: int, target: int) -> Tensor:
    return masks.prefix(source + target, source + target, source)


JOINT = Exercise(
    name="joint-mask",
    reference=_joint,
    cases=lambda generator: [
        {"source": source, "target": target} for source, target in ((3, 3), (2, 4), (4, 1), (1, 2))
    ],
    mutants={
        "causal": Mutant(
            lambda source, target: masks.causal(source + target),
            "causal throughout: source tokens see the whole source, before and after them.",
        ),
        "everything": Mutant(
            lambda source, target: torch.ones(source + target, source + target, dtype=torch.bool),
            "nothing is hidden: the target must not see its future, nor the source the target.",
        ),
        "source reads target": Mutant(
            lambda source, target: _joint(source, target) | (torch.arange(source + target) < source)[:, None],
            "source tokens see the target: the encoder has finished before the decoder begins.",
        ),
        "two blocks": Mutant(
            lambda source, target: (
                _joint(source, target)
                & ~(
                    (torch.arange(source + target) >= source)[:, None]
                    & (torch.arange(source + target) < source)
                )
            ),
            "target tokens do not see the source: that is what cross-attention is for.",
        ),
        "future of the target": Mutant(
            lambda source, target: (
                _joint(source, target) | (torch.arange(source + target) >= source)[:, None]
            ),
            "target tokens see their future.",
        ),
        "not itself": Mutant(
            lambda source, target: (
                _joint(source, target)
                & ~(torch.eye(source + target, dtype=torch.bool) & (torch.arange(source + target) >= source))
            ),
            "off by one: a target token sees its own position too.",
        ),
        "one too many": Mutant(
            lambda source, target: masks.prefix(source + target, source + target, source + 1),
            "off by one: the first target token is visible to the source.",
        ),
        "inverted": Mutant(
            lambda source, target: ~_joint(source, target),
            "the mask is inverted: True means that the query may attend.",
        ),
        "transposed": Mutant(
            lambda source, target: _joint(source, target).mT,
            "rows and columns swapped: rows ask, columns are seen.",
        ),
    },
)

# --- grouped-heads: several query heads share one head of keys and values


def _grouped(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    repeats = len(query) // len(key)
    return attend(query, *(heads.repeat_groups(x, repeats) for x in (key, value))).output


def _grouped_cases(generator: torch.Generator) -> list[Case]:
    return [
        {
            "query": _normal(generator, count, n, d),
            "key": _normal(generator, groups, m, d),
            "value": _normal(generator, groups, m, dv),
        }
        for count, groups, n, m, d, dv in (
            (4, 2, 2, 3, 2, 2),
            (6, 3, 1, 4, 3, 2),
            (6, 2, 3, 2, 2, 3),
            (4, 1, 2, 3, 2, 2),
        )
    ]


def _grouped_tiled(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    repeats = len(query) // len(key)
    return attend(query, key.repeat(repeats, 1, 1), value.repeat(repeats, 1, 1)).output


def _grouped_pooled_queries(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    pooled = query.unflatten(0, (len(key), -1)).mean(1)  # (groups, n, d)
    return heads.repeat_groups(attend(pooled, key, value).output, len(query) // len(key))


def _grouped_in_place(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    answer = _grouped(query, key, value)
    query /= sqrt(query.shape[-1])
    return answer


GROUPED = Exercise(
    name="grouped-heads",
    reference=_grouped,
    cases=_grouped_cases,
    mutants={
        "tiled": Mutant(
            _grouped_tiled,
            "tiled, 0 1 0 1: neighbouring query heads share, 0 0 1 1, as `repeat_interleave` gives.",
        ),
        "first head for all": Mutant(
            lambda query, key, value: _grouped(query, key[:1], value[:1]),
            "all query heads read the first key/value head: there are several groups.",
        ),
        "averaged": Mutant(
            lambda query, key, value: _grouped(query, *(x.mean(0, keepdim=True) for x in (key, value))),
            "keys and values are averaged over the groups: each group keeps its own.",
        ),
        "queries averaged": Mutant(
            _grouped_pooled_queries,
            "the queries of a group are averaged: each query head keeps a row of weights of its own.",
        ),
        "not scaled": Mutant(
            lambda query, key, value: _grouped(query * sqrt(query.shape[-1]), key, value),
            "the scores are not divided by the root of a head's width.",
        ),
        "groups reversed": Mutant(
            lambda query, key, value: _grouped(query, key.flip(0), value.flip(0)),
            "the groups come in the wrong order: the first query heads read key/value head 0.",
        ),
        "keys and values swapped": Mutant(
            lambda query, key, value: _grouped(query, value, key),
            "keys and values swapped: the keys are matched with the query, the values are mixed.",
        ),
        "in place": Mutant(_grouped_in_place, "modified in place"),
    },
)

# --- pooled-heads: a projection of many heads, averaged into one of few


def _pooled(weight: Tensor, count: int, groups: int) -> Tensor:
    return weight.unflatten(0, (groups, count // groups, -1)).mean(1).flatten(0, 1)


def _pooled_cases(generator: torch.Generator) -> list[Case]:
    return [
        {"weight": _normal(generator, count * width, columns), "heads": count, "groups": groups}
        for count, groups, width, columns in ((4, 2, 3, 2), (4, 1, 2, 3), (6, 3, 2, 4), (2, 2, 2, 2))
    ]


def _pooled_in_place(weight: Tensor, count: int, groups: int) -> Tensor:
    answer = _pooled(weight, count, groups)
    weight /= count
    return answer


POOLED = Exercise(
    name="pooled-heads",
    reference=_pooled,
    cases=_pooled_cases,
    mutants={
        "summed": Mutant(
            lambda weight, heads, groups: _pooled(weight, heads, groups) * (heads // groups),
            "the heads of a group are summed: a group is their mean, or its scores grow with its size.",
        ),
        "first of each group": Mutant(
            lambda weight, heads, groups: weight.unflatten(0, (groups, heads // groups, -1))[:, 0].flatten(
                0, 1
            ),
            "the first head of each group is kept and the rest thrown away: take the mean.",
        ),
        "strided": Mutant(
            lambda weight, heads, groups: (
                weight.unflatten(0, (heads // groups, groups, -1)).mean(0).flatten(0, 1)
            ),
            "every so many-th head is pooled: a group is made of neighbours, which share it afterwards.",
        ),
        "rows": Mutant(
            lambda weight, heads, groups: weight.unflatten(0, (-1, heads // groups)).mean(1),
            "neighbouring rows are averaged: feature 0 of one head goes with feature 0 of the next.",
        ),
        "repeated": Mutant(
            lambda weight, heads, groups: (
                _pooled(weight, heads, groups)
                .unflatten(0, (groups, -1))
                .repeat_interleave(heads // groups, 0)
                .flatten(0, 1)
            ),
            "the means are repeated for every head: the cache is smaller only if each is kept once.",
        ),
        "in place": Mutant(_pooled_in_place, "modified in place"),
    },
)

# --- absorbed-heads: latent attention without any head's keys or values


def _absorbed(
    query: Tensor, latent: Tensor, w_key: Tensor, w_value: Tensor, *, scaled_for: int | None = None
) -> Tensor:
    key, value = latent @ w_key.mT, latent @ w_value.mT  # (heads, m, width): what the reader need not build
    width = query.shape[-1] if scaled_for is None else scaled_for
    return torch.softmax(scores.dot(query, key) / sqrt(width), -1) @ value


def _absorbed_cases(generator: torch.Generator) -> list[Case]:
    return [
        {
            "query": _normal(generator, count, n, d),
            "latent": _normal(generator, m, width),
            "w_key": _normal(generator, count, d, width),
            "w_value": _normal(generator, count, dv, width),
        }
        for count, n, m, d, dv, width in ((2, 2, 3, 2, 2, 4), (3, 1, 5, 2, 3, 6), (2, 3, 4, 3, 2, 5))
    ]


def _absorbed_latents(query: Tensor, latent: Tensor, w_key: Tensor, w_value: Tensor) -> Tensor:
    return torch.softmax(scores.scaled_dot(query, latent @ w_key.mT), -1) @ latent


def _absorbed_in_place(query: Tensor, latent: Tensor, w_key: Tensor, w_value: Tensor) -> Tensor:
    answer = _absorbed(query, latent, w_key, w_value)
    query /= sqrt(query.shape[-1])
    return answer


ABSORBED = Exercise(
    name="absorbed-heads",
    reference=_absorbed,
    cases=_absorbed_cases,
    mutants={
        "scaled for the latent": Mutant(
            lambda query, latent, w_key, w_value: _absorbed(
                query, latent, w_key, w_value, scaled_for=latent.shape[-1]
            ),
            "divided by the root of the latent's width: the scores are still those of the heads' width.",
        ),
        "not scaled": Mutant(
            lambda query, latent, w_key, w_value: _absorbed(query, latent, w_key, w_value, scaled_for=1),
            "the scores are not divided by the root of a head's width.",
        ),
        "latents handed over": Mutant(
            _absorbed_latents,
            "these are averages of latents: each head's value matrix has still to be applied, once.",
        ),
        "one head's keys": Mutant(
            lambda query, latent, w_key, w_value: _absorbed(
                query, latent, w_key[:1].expand_as(w_key), w_value
            ),
            "every query goes through the first head's key matrix: each head has its own.",
        ),
        "one head's values": Mutant(
            lambda query, latent, w_key, w_value: _absorbed(
                query, latent, w_key, w_value[:1].expand_as(w_value)
            ),
            "every average goes through the first head's value matrix: each head has its own.",
        ),
        "heads averaged": Mutant(
            lambda query, latent, w_key, w_value: (
                _absorbed(query, latent, w_key, w_value).mean(0, keepdim=True).expand(len(query), -1, -1)
            ),
            "the heads are averaged: they stay apart until the output matrix.",
        ),
        "in place": Mutant(_absorbed_in_place, "modified in place"),
    },
)

EXERCISES = (SPLIT, TERMS, CROSS, JOINT, GROUPED, POOLED, ABSORBED)


def _normal(generator: torch.Generator, *shape: int) -> Tensor:
    return torch.randn(*shape, generator=generator, dtype=torch.float64)
