"""How noisy hard attention's gradient is: REINFORCE, with its baseline and without."""

from collections.abc import Sequence
from typing import NamedTuple

import torch

from attention_core import heads
from attention_core.datasets import Pair
from attention_core.models.sentences.batches import collate
from attention_core.models.translator.model import Translator
from attention_core.models.translator.objective import Reinforce, loss


class Noise(NamedTuple):
    """Of the gradient of one batch by the parameters of the score, over many draws."""

    signal: float  # squared length of the mean gradient, less what chance adds to it; may come out below 0
    variance: float  # mean squared distance of a single draw's gradient from it

    @property
    def ratio(self) -> float:
        """Variance for each unit of signal: about how many draws must be averaged until they are even."""
        return self.variance / self.signal if self.signal > 0 else float("inf")


def gradient_noise(
    model: Translator, pairs: Sequence[Pair], *, draws: int = 100, baseline: bool = True, seed: int = 0
) -> Noise:
    r"""Signal and variance of $g = \partial L / \partial \theta$, $\theta$ the parameters of the score.

    With $\bar g$ the mean of N draws and $V = \frac{1}{N-1} \sum_k |g_k - \bar g|^2$, the signal is
    $|\bar g|^2 - V/N$, which has no bias. The model is as in translating, without dropout, so that in soft
    attention nothing varies and V is 0; in `hard` the places alone are drawn. The baseline, a moving average,
    is that after ten batches like this one. The model's own gradients are left as they are.
    """
    heads.check_positive("draws", draws)
    if model.decoder.attention is None or draws < 2:
        raise ValueError(
            f"`gradient_noise` needs attention and at least two `draws`; got {model.attention!r} and {draws}."
        )
    batch = collate(list(pairs), model.source, model.target)
    parameters = list(model.decoder.attention.parameters())
    reinforce, training = Reinforce(baseline), model.training
    model.eval()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        for _ in range(10):
            loss(model, batch, reinforce=reinforce)
        found = []
        for _ in range(draws):
            total = loss(model, batch, reinforce=reinforce).total
            gradient = torch.autograd.grad(total, parameters)
            found.append(torch.cat([one.flatten() for one in gradient]).double())
    model.train(training)
    gradients = torch.stack(found)
    variance = float(gradients.var(0).sum())
    return Noise(float(gradients.mean(0).square().sum()) - variance / draws, variance)
