"""What training makes small: surprise at the right words; for some, wrong alignments; for hard, bad luck."""

from typing import NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from attention_core import normalizers
from attention_core.models.sentences.batches import Batch
from attention_core.models.sentences.objective import surprise
from attention_core.models.sentences.vocabulary import PAD
from attention_core.models.translator.model import Translator

ENTROPY = 0.01  # of Xu et al. (2015), their lambda_e: against settling before anything is learned
MEMORY = 0.9  # of the baseline, a moving average over batches, as theirs
REWARD = 0.1  # weight of the rewards, their lambda_r: with 1 the noise drowns what soft reading teaches
EXPECTED = 0.5  # the share of sentences that are read softly, as theirs: with 0 next to nothing was learned


class Loss(NamedTuple):
    """A batch's loss, and the part of it that different models are compared by."""

    total: Float[Tensor, ""]  # what the gradient is of
    surprise: Float[Tensor, ""]  # mean of -ln p(right word), in nats


def misalignment(weights: Float[Tensor, "batch n m"], gold: Bool[Tensor, "batch n m"]) -> Float[Tensor, ""]:
    r"""Guided alignment: the mean of $-\ln \sum_{j \in G_t} w_{tj}$ over the rows t with gold links $G_t$.

    The cross-entropy of Chen et al. (2016), with the attention's mass on all of a word's links
    in place of a share for each: "look up" may be read at either word.
    """
    linked = gold.any(-1)
    if not linked.any():
        return weights.sum() * 0.0
    mass = (weights * gold).sum(-1)[linked]
    return -(mass + torch.finfo(mass.dtype).tiny).log().mean()


class Draws:
    """A normaliser that draws one place a row, and remembers how likely that was.

    A share `expected` of the sentences, chosen by lot, gets the expectation of the draw instead: the soft
    weights, through which the scores have a gradient of their own. There nothing was drawn: log 1 is 0.
    """

    def __init__(self, generator: torch.Generator | None = None, expected: float = 0.0):
        self.generator, self.expected = generator, expected
        self.softly: Bool[Tensor, "batch 1"] | None = None  # chosen once, for all words of a sentence
        self.log_probabilities: list[Float[Tensor, "batch n"]] = []
        self.entropies: list[Float[Tensor, "batch n"]] = []

    def __call__(self, scores: Tensor, mask: Tensor | None = None) -> Tensor:
        chances = normalizers.softmax(scores, mask)
        place = torch.multinomial(chances.detach().flatten(0, -2), 1, generator=self.generator)
        drawn = torch.zeros_like(chances).scatter(-1, place.view(*chances.shape[:-1], 1), 1.0)
        logs = chances.clamp_min(torch.finfo(chances.dtype).tiny).log()
        if self.softly is None:
            self.softly = torch.rand(len(scores), 1, generator=self.generator) < self.expected
        self.log_probabilities.append((drawn * logs).sum(-1).masked_fill(self.softly, 0.0))
        self.entropies.append(-(chances * logs).sum(-1).masked_fill(self.softly, 0.0))
        return torch.where(self.softly[..., None], chances, drawn)


class Reinforce:
    r"""The gradient of hard attention, by REINFORCE (Williams 1992; Xu et al. 2015, section 4.1).

    A drawn place $s_t$ passes no gradient to the scores. Instead
    $\nabla E[R] = E[\sum_t (R_t - b_t)\, \nabla \ln p(s_t)]$, with $R_t = \sum_{t' \ge t} \ln p(y_{t'})$,
    what is said from t on, since no draw changes what was said before it. The baseline
    $b_t = (n - t)\, \bar r$, $\bar r$ the moving average of a word's log-probability, changes no expectation:
    it makes the estimate less noisy. `gradient_noise` measures by how much. The loss has `weight` times that
    gradient, and that of the entropy of the draws, times `ENTROPY`.
    """

    def __init__(self, baseline: bool = True, weight: float = REWARD):
        self.baseline, self.weight = baseline, weight
        self.average: float | None = None  # of ln p(right word), over batches

    def loss(
        self, said: Float[Tensor, "batch n"], words: Bool[Tensor, "batch n"], draws: Draws
    ) -> Float[Tensor, ""]:
        """A loss with that gradient; `said` are the right words' log-probabilities, 0 where there is none."""
        said = said.detach()
        rewards = said.flip(1).cumsum(1).flip(1)  # R_t
        if self.baseline:
            remaining = words.flip(1).cumsum(1).flip(1)
            rewards = rewards - remaining * self._expected(said, words)
        chosen, entropy = (torch.cat(parts, dim=1) for parts in (draws.log_probabilities, draws.entropies))
        return -((self.weight * rewards * chosen + ENTROPY * entropy) * words).sum() / words.sum()

    def _expected(self, said: Tensor, words: Tensor) -> float:
        """The average before this batch, which is then taken into it."""
        new = float(said.sum() / words.sum())
        expected = new if self.average is None else self.average
        self.average = MEMORY * expected + (1 - MEMORY) * new
        return expected


def loss(
    model: Translator,
    batch: Batch,
    *,
    guided: float = 0.0,
    reinforce: Reinforce | None = None,
    expected: float = 0.0,
) -> Loss:
    """The loss of a batch in training: surprise, `guided` times misalignment, and REINFORCE's for `hard`.

    Of `expected`, the share of sentences that `hard` reads softly, see `Draws`.
    """
    draws = Draws(expected=expected) if model.attention == "hard" else None
    decoded = model(batch, normalize=draws)
    each, words = surprise(decoded.logits, batch.targets), batch.targets != PAD
    mean = each.sum() / words.sum()
    total = mean
    if guided:
        total = total + guided * misalignment(decoded.weights, batch.gold)
    if draws is not None:
        total = total + (reinforce or Reinforce()).loss(-each, words, draws)
    return Loss(total, mean)
