"""Exercises of the chapter "Measuring alignment": boolean links (target, source), float64 numbers."""

import torch
from torch import Tensor

from attention_core.checks import Case, Exercise, Mutant

# --- error-rate: 1 - (|A and S| + |A and P|) / (|A| + |S|)


def _error_rate(links: Tensor, sure: Tensor, possible: Tensor) -> Tensor:
    hit, right = (links & sure).sum(), (links & possible).sum()
    return 1 - (hit + right).double() / (links.sum() + sure.sum())


def _rate_cases(generator: torch.Generator) -> list[Case]:
    look = {
        "links": torch.tensor([[False, False, True], [True, True, False]]),
        "sure": torch.tensor([[True, False, False], [False, True, False]]),
        "possible": torch.tensor([[True, False, True], [False, True, False]]),
    }
    nothing = {**look, "links": torch.zeros(2, 3, dtype=torch.bool)}
    return [look, nothing, *(_gold(generator, n, m, links=0.4) for n, m in ((3, 4), (5, 2), (4, 4)))]


def _rate_in_place(links: Tensor, sure: Tensor, possible: Tensor) -> Tensor:
    found = links.sum()
    hit = (links & sure).sum()
    links &= possible
    return 1 - (hit + links.sum()).double() / (found + sure.sum())


ERROR_RATE = Exercise(
    name="error-rate",
    reference=_error_rate,
    cases=_rate_cases,
    mutants={
        "similarity": Mutant(
            lambda links, sure, possible: 1 - _error_rate(links, sure, possible),
            "this is the agreement: the error rate is what it lacks to 1.",
        ),
        "sure only": Mutant(
            lambda links, sure, possible: _error_rate(links, sure, sure),
            "a possible link counts as wrong here: |A ∩ P| must count it as right.",
        ),
        "possible only": Mutant(
            lambda links, sure, possible: (
                1 - 2 * (links & possible).sum().double() / (links.sum() + sure.sum())
            ),
            "possible links count as found sure ones: one of the two intersections is with S.",
        ),
        "possible below": Mutant(
            lambda links, sure, possible: (
                1
                - ((links & sure).sum() + (links & possible).sum()).double() / (links.sum() + possible.sum())
            ),
            "|P| stands below the line: nobody has to find a link that is only possible, so it is |S|.",
        ),
        "cells": Mutant(
            lambda links, sure, possible: (links != sure).double().mean(),
            "this is the share of cells that differ: most cells are empty in both, and must not count.",
        ),
        "in place": Mutant(_rate_in_place, "modified in place"),
    },
)

# --- null-links: the argmax over all columns; a word that reads </s> most is linked to nothing


def _null_links(weights: Tensor) -> Tensor:
    best = weights[:-1].argmax(-1, keepdim=True)
    return torch.zeros_like(weights[:-1], dtype=torch.bool).scatter(-1, best, True)[:, :-1]


def _null_cases(generator: torch.Generator) -> list[Case]:
    worked = [[0.30, 0.25, 0.45], [0.10, 0.80, 0.10], [0.05, 0.15, 0.80]]
    sizes = ((4, 3), (3, 5), (6, 2), (5, 5))
    return [
        {"weights": torch.tensor(worked, dtype=torch.float64)},
        *({"weights": torch.softmax(2 * _normal(generator, n, m), -1)} for n, m in sizes),
    ]


def _one_hot(weights: Tensor, axis: int = -1) -> Tensor:
    best = weights.argmax(axis, keepdim=True)
    return torch.zeros_like(weights, dtype=torch.bool).scatter(axis, best, True)


def _null_in_place(weights: Tensor) -> Tensor:
    best = weights.max(-1, keepdim=True).values
    weights -= best
    return (weights == 0)[:-1, :-1]


NULL_LINKS = Exercise(
    name="null-links",
    reference=_null_links,
    cases=_null_cases,
    mutants={
        "column dropped first": Mutant(
            lambda weights: _one_hot(weights[:-1, :-1]),
            "the column of </s> was dropped before the argmax: a word that reads </s> most gets a link "
            "that the model did not make.",
        ),
        "row kept": Mutant(
            lambda weights: _one_hot(weights)[:, :-1],
            "the row of </s> is still there: it is no word of the translation.",
        ),
        "first row dropped": Mutant(
            lambda weights: _one_hot(weights)[1:, :-1],
            "the first row was dropped: </s> stands last.",
        ),
        "columns": Mutant(
            lambda weights: _one_hot(weights, 0)[:-1, :-1],
            "the largest of each column is linked: each target word, a row, makes the choice.",
        ),
        "one half": Mutant(
            lambda weights: (weights >= 0.5)[:-1, :-1],
            "weights are compared with one half: the largest of a row may be smaller and still be its link.",
        ),
        "in place": Mutant(_null_in_place, "modified in place"),
    },
)

# --- expected-counts: for each target word of one pair, its shares among the pair's source words, by type


def _expected_counts(theta: Tensor, source: Tensor, target: Tensor) -> Tensor:
    shares = theta[source][:, target]  # (m, n)
    shares = shares / shares.sum(0, keepdim=True)
    return torch.zeros_like(theta).index_put((source[:, None], target[None, :]), shares, accumulate=True)


def _count_cases(generator: torch.Generator) -> list[Case]:
    worked = {
        "theta": torch.tensor([[0.5, 0.5], [0.75, 0.25]], dtype=torch.float64),
        "source": torch.tensor([0, 1]),
        "target": torch.tensor([0, 1]),
    }
    drawn = (([0, 2, 1], [3, 1]), ([1, 1, 3], [0, 2, 0]), ([2], [1, 1, 3]), ([0, 1, 2, 3], [2]))
    return [
        worked,
        *(
            {
                "theta": torch.softmax(_normal(generator, 4, 4), -1),
                "source": torch.tensor(source),
                "target": torch.tensor(target),
            }
            for source, target in drawn
        ),
    ]


def _spread(theta: Tensor, source: Tensor, target: Tensor, shares: Tensor, accumulate: bool = True) -> Tensor:
    places = (source[:, None], target[None, :])
    return torch.zeros_like(theta).index_put(places, shares, accumulate=accumulate)


def _counts_overwritten(theta: Tensor, source: Tensor, target: Tensor) -> Tensor:
    counts = torch.zeros_like(theta)
    for f in target:
        total = sum(theta[e, f] for e in source)
        for e in source:
            counts[e, f] = theta[e, f] / total
    return counts


def _counts_in_place(theta: Tensor, source: Tensor, target: Tensor) -> Tensor:
    counts = _expected_counts(theta, source, target)
    theta.zero_()
    return counts


EXPECTED_COUNTS = Exercise(
    name="expected-counts",
    reference=_expected_counts,
    cases=_count_cases,
    mutants={
        "overwritten": Mutant(
            _counts_overwritten,
            "a word that stands twice in the sentence is counted once: add to the count, do not replace it.",
        ),
        "shared among targets": Mutant(
            lambda theta, source, target: _spread(
                theta,
                source,
                target,
                theta[source][:, target] / theta[source][:, target].sum(1, keepdim=True),
            ),
            "each source word is shared out among the target words: each target word has one unit.",
        ),
        "not shared": Mutant(
            lambda theta, source, target: _spread(theta, source, target, theta[source][:, target]),
            "probabilities are added as they are: divide first, so that each target word counts as one.",
        ),
        "equal shares": Mutant(
            lambda theta, source, target: _spread(
                theta,
                source,
                target,
                torch.full((len(source), len(target)), 1 / len(source), dtype=theta.dtype),
            ),
            "every source word gets the same share: that is the first round only, when theta is uniform.",
        ),
        "hard": Mutant(
            lambda theta, source, target: _spread(
                theta, source, target, _one_hot(theta[source][:, target], 0).to(theta.dtype)
            ),
            "each target word goes whole to its best source word: its share should be split.",
        ),
        "divided by source": Mutant(
            lambda theta, source, target: (
                _expected_counts(theta, source, target)
                / _expected_counts(theta, source, target).sum(1, keepdim=True).clamp_min(1e-300)
            ),
            "these are probabilities already: the division by source word comes after all sentences.",
        ),
        "in place": Mutant(_counts_in_place, "modified in place"),
    },
)

# --- best-reachable: the lowest error rate with at most one link for each target word


def _best_reachable(sure: Tensor, possible: Tensor) -> Tensor:
    hit = sure.any(-1).sum()
    found = possible.any(-1).sum()  # a possible link, where there is no sure one, never harms
    return 1 - (hit + found).double() / (found + sure.sum())


def _reach_cases(generator: torch.Generator) -> list[Case]:
    market = {
        "sure": torch.tensor([[True, False, False], [False, True, True], [False, False, False]]),
        "possible": torch.tensor([[True, False, False], [True, True, True], [False, True, False]]),
    }
    return [market, *(_gold(generator, n, m) for n, m in ((3, 4), (5, 2), (4, 4), (6, 3)))]


BEST_REACHABLE = Exercise(
    name="best-reachable",
    reference=_best_reachable,
    cases=_reach_cases,
    mutants={
        "zero": Mutant(
            lambda sure, possible: torch.zeros((), dtype=torch.float64),
            "0 is out of reach where one target word has two sure links: it may draw only one.",
        ),
        "sure links only": Mutant(
            lambda sure, possible: _best_reachable(sure, sure),
            "words without a sure link draw none here: a possible one would count as right and cost nothing.",
        ),
        "by columns": Mutant(
            lambda sure, possible: _best_reachable(sure.mT, possible.mT),
            "each source word draws one link here: the rows, target words, are to draw them.",
        ),
        "every word links": Mutant(
            lambda sure, possible: (
                1
                - (sure.any(-1).sum() + possible.any(-1).sum()).double()
                / (torch.tensor(len(sure)) + sure.sum())
            ),
            "every word draws a link here, even one that has nothing to be linked to: it may draw none.",
        ),
        "possible as sure": Mutant(
            lambda sure, possible: (
                1 - 2 * possible.any(-1).sum().double() / (possible.any(-1).sum() + sure.sum())
            ),
            "a word with nothing but a possible link counts as having found a sure one: it is not wrong.",
        ),
    },
)

# --- resampled-rates: the error rate of each resample of a corpus, from counts (sentences, 4)


def _resampled(counts: Tensor, samples: Tensor) -> Tensor:
    found, sure, hit, right = counts[samples].sum(1).unbind(-1)  # each (r,)
    return 1 - (hit + right) / (found + sure)


def _sample_cases(generator: torch.Generator) -> list[Case]:
    cases = []
    for sentences, repeats in ((2, 3), (5, 4), (8, 6)):
        sure = torch.randint(1, 9, (sentences,), generator=generator)
        found = torch.randint(1, 9, (sentences,), generator=generator)
        hit = (torch.minimum(sure, found) * torch.rand(sentences, generator=generator)).floor()
        right = hit + ((found - hit) * torch.rand(sentences, generator=generator)).floor()
        cases.append(
            {
                "counts": torch.stack([found, sure, hit, right], -1).double(),
                "samples": torch.randint(sentences, (repeats, sentences), generator=generator),
            }
        )
    return cases


def _rates(counts: Tensor) -> Tensor:
    found, sure, hit, right = counts.unbind(-1)
    return 1 - (hit + right) / (found + sure)


RESAMPLED_RATES = Exercise(
    name="resampled-rates",
    reference=_resampled,
    cases=_sample_cases,
    mutants={
        "mean of rates": Mutant(
            lambda counts, samples: _rates(counts)[samples].mean(1),
            "the rates of the sentences are averaged: add up the counts of a resample, then divide once.",
        ),
        "whole corpus": Mutant(
            lambda counts, samples: _rates(counts.sum(0)).expand(len(samples)).clone(),
            "every resample has the rate of the whole corpus: pick the sentences that `samples` names.",
        ),
        "each sentence once": Mutant(
            lambda counts, samples: torch.stack([_rates(counts[s.unique()].sum(0)) for s in samples]),
            "a sentence that was drawn twice counts once here: with replacement, it counts twice.",
        ),
        "running": Mutant(
            lambda counts, samples: _rates(counts[samples.flatten()].sum(0)).expand(len(samples)).clone(),
            "all resamples were pooled: each row of `samples` is a corpus of its own.",
        ),
        "wrong axis": Mutant(
            lambda counts, samples: _rates(counts[samples].sum(0)),
            "the sum runs over the resamples: add over the sentences of each, the second axis.",
        ),
    },
)

EXERCISES = (ERROR_RATE, NULL_LINKS, EXPECTED_COUNTS, BEST_REACHABLE, RESAMPLED_RATES)


def _normal(generator: torch.Generator, *shape: int) -> Tensor:
    return torch.randn(*shape, generator=generator, dtype=torch.float64)


def _gold(generator: torch.Generator, n: int, m: int, links: float | None = None) -> Case:
    """Random gold links, at least one of them sure; and random links where a share is given."""
    sure = torch.rand(n, m, generator=generator) < 0.3
    sure[0, 0] = True
    possible = sure | (torch.rand(n, m, generator=generator) < 0.25)
    if links is None:
        return {"sure": sure, "possible": possible}
    return {"links": torch.rand(n, m, generator=generator) < links, "sure": sure, "possible": possible}
