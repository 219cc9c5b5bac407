"""Training: epochs, early stopping, and checkpoints from which it continues as if it had never stopped."""

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from math import inf
from pathlib import Path

import torch
from torch import nn

from attention_core import heads
from attention_core.datasets import Pair, fingerprint
from attention_core.models import shelf
from attention_core.models.translator.batches import Batch, buckets, collate
from attention_core.models.translator.model import Translator
from attention_core.models.translator.objective import Reinforce, loss, validation_loss
from attention_core.models.translator.traces import Tracer
from attention_core.models.translator.vocabulary import Vocabulary


@dataclass(frozen=True)
class Recipe:
    """All that decides what training gives, but for the pairs."""

    attention: str = "additive"
    guided: float = 0.0  # weight of `objective.misalignment`
    seed: int = 0
    epochs: int = 4  # at most
    patience: int = 3  # epochs without a better validation loss before it stops
    batch: int = 64  # pairs
    rate: float = 6e-3  # of Adam, at first; it falls to 0 along half a cosine over all epochs
    clip: float = 1.0  # longest gradient
    width: int = 128
    embedding: int = 64
    dropout: float = 0.1
    input_feeding: bool = False
    half_width: int = 2
    minimum: int = 1  # times that a word is seen before it is in the vocabulary
    most: int | None = None  # words in a vocabulary

    def translator(self, pairs: Sequence[Pair]) -> Translator:
        """An untrained model for these pairs."""
        options = {"minimum": self.minimum, "most": self.most}
        return Translator(
            Vocabulary.build((pair.source for pair in pairs), **options),
            Vocabulary.build((pair.target for pair in pairs), **options),
            attention=self.attention,
            width=self.width,
            embedding=self.embedding,
            dropout=self.dropout,
            input_feeding=self.input_feeding,
            half_width=self.half_width,
        )


@dataclass
class Progress:
    """How far training has come."""

    epoch: int = 0  # finished
    updates: int = 0
    best_epoch: int = 0
    best_loss: float = inf
    cpu_seconds: float = 0.0  # of this process and those before it
    history: list[dict[str, float]] = field(default_factory=list)  # an entry an epoch
    finished: bool = False


class Training:
    """One training run: `run` goes to its end, from wherever its checkpoint stands.

    Parameters
    ----------
    recipe
        What to train and how.
    pairs, validation
        What is learned from, and what says when to stop.
    checkpoint
        Where to keep the state after each epoch, if anywhere. It is written beside its place and then moved
        there, so that whatever stops the process leaves a whole one, at most an epoch old.
    report
        Called with (progress, share of the epoch done, mean loss of the epoch so far) after each batch.
    tracer
        Records the model along the way, if given.

    Continued from a checkpoint, on one thread, training gives bit for bit what it would have given.
    """

    def __init__(
        self,
        recipe: Recipe,
        pairs: Sequence[Pair],
        validation: Sequence[Pair],
        *,
        checkpoint: Path | None = None,
        report: Callable[[Progress, float, float], None] | None = None,
        tracer: Tracer | None = None,
    ):
        _check(recipe, pairs, validation)
        self.recipe, self.pairs, self.checkpoint = recipe, list(pairs), checkpoint
        self.report, self.tracer = report or (lambda *_: None), tracer
        self.progress, self.reinforce = Progress(), Reinforce()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(recipe.seed)
            self.model = recipe.translator(pairs)
            self.random = torch.get_rng_state()
        self.optimizer = torch.optim.Adam(self.model.parameters(), lr=recipe.rate)
        self.best = _copied(self.model)
        self.validation = [self._collated(validation, rows) for rows in buckets(validation, 2 * recipe.batch)]

    def run(self) -> Translator:
        """Train to the end; returns the model as it was after its best epoch."""
        with torch.random.fork_rng(devices=[]):  # the caller's own chance is left as it was
            torch.set_rng_state(self.random)
            while not self.progress.finished:
                self._epoch()
                self.random = torch.get_rng_state()
                self.save()
        self.model.load_state_dict(self.best)
        return self.model.eval()

    def save(self) -> None:
        if self.checkpoint is not None:
            shelf.write_atomically(self.checkpoint, lambda path: torch.save(self.state(), path))

    def resume(self) -> None:
        """Take up the state that the checkpoint holds."""
        self.restore(shelf.read_checkpoint(self.checkpoint))

    def state(self) -> dict:
        return {
            "identity": self.identity(),
            "model": self.model.state_dict(),
            "best": self.best,
            "optimizer": self.optimizer.state_dict(),
            "random": self.random,
            "average": self.reinforce.average,
            "progress": asdict(self.progress),
            "trace": None if self.tracer is None else self.tracer.state(),
        }

    def restore(self, state: dict) -> None:
        here, there = self.identity(), state["identity"]
        differing = [name for name in here if here[name] != there.get(name)]
        if differing:
            told = ", ".join(
                f"{name} {there.get(name)!r} there and {here[name]!r} here" for name in differing
            )
            raise ValueError(
                f"the checkpoint {self.checkpoint} is of another training: {told}. Resume with the options "
                "that it was begun with, or begin anew with --again."
            )
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.best, self.random = state["best"], state["random"]
        self.reinforce.average = state["average"]
        self.progress = Progress(**state["progress"])
        if self.tracer is not None and state["trace"] is not None:
            self.tracer.restore(state["trace"])

    def identity(self) -> dict:
        """What must be the same for a checkpoint to be continued."""
        return {**asdict(self.recipe), "pairs": fingerprint(self.pairs)}

    def _epoch(self) -> None:
        start, progress, total = time.process_time(), self.progress, 0.0
        self.model.train()
        generator = torch.Generator().manual_seed(1000 * self.recipe.seed + progress.epoch)
        batches = buckets(self.pairs, self.recipe.batch, generator)
        paused = 0.0
        for number, rows in enumerate(batches):
            epochs = progress.epoch + number / len(batches)
            paused += self._trace(epochs)
            total += self._update(self._collated(self.pairs, rows), epochs / self.recipe.epochs)
            progress.updates += 1
            self.report(progress, (number + 1) / len(batches), total / (number + 1))
        progress.epoch += 1
        found = validation_loss(self.model, self.validation)
        if found < progress.best_loss:
            progress.best_loss, progress.best_epoch = found, progress.epoch
            self.best = _copied(self.model)
        progress.cpu_seconds += time.process_time() - start - paused
        stalled = progress.epoch - progress.best_epoch >= self.recipe.patience
        progress.finished = stalled or progress.epoch == self.recipe.epochs
        progress.history.append(
            {
                "epoch": progress.epoch,
                "updates": progress.updates,
                "train_loss": total / len(batches),
                "validation_loss": found,
                "cpu_seconds": progress.cpu_seconds,
            }
        )
        self.report(progress, 1.0, total / len(batches))

    def _update(self, batch: Batch, share: float) -> float:
        """One step of Adam, at the rate of this share of all epochs; returns the loss before it."""
        for group in self.optimizer.param_groups:
            group["lr"] = rate(self.recipe, share)
        self.optimizer.zero_grad()
        found = loss(self.model, batch, guided=self.recipe.guided, reinforce=self.reinforce)
        found.total.backward()
        nn.utils.clip_grad_norm_(self.model.parameters(), self.recipe.clip)
        self.optimizer.step()
        return float(found.surprise.detach())

    def _trace(self, epochs: float) -> float:
        """Record what is due; returns the seconds that it took, which are none of training's."""
        start = time.process_time()
        if self.tracer is not None:
            self.tracer.record_if_due(self.model, self.progress.updates, epochs)
        return time.process_time() - start

    def _collated(self, pairs: Sequence[Pair], rows: Sequence[int]) -> Batch:
        return collate([pairs[row] for row in rows], self.model.source, self.model.target)


def rate(recipe: Recipe, share: float) -> float:
    r"""Adam's step length after this share of all epochs: $\frac{r}{2} (1 + \cos \pi x)$."""
    return recipe.rate * 0.5 * (1 + torch.cos(torch.tensor(torch.pi * share)).item())


def _copied(model: nn.Module) -> dict[str, torch.Tensor]:
    return {name: value.detach().clone() for name, value in model.state_dict().items()}


def _check(recipe: Recipe, pairs: Sequence[Pair], validation: Sequence[Pair]) -> None:
    for name in ("epochs", "patience", "batch"):
        heads.check_positive(name, getattr(recipe, name))
    if not isinstance(recipe.seed, int) or isinstance(recipe.seed, bool) or recipe.seed < 0:
        raise ValueError(f"`seed` must be an integer of at least 0; got {recipe.seed!r}.")
    for name, number in (("rate", recipe.rate), ("clip", recipe.clip)):
        if not 0 < number < inf:
            raise ValueError(f"`{name}` must be a positive number; got {number!r}.")
    for name, given in (("pairs", pairs), ("validation", validation)):
        if len(given) == 0:
            raise ValueError(f"`{name}` must hold at least one pair; got none.")
    if not 0 <= recipe.guided < inf:
        raise ValueError(f"`guided` must be a number of at least 0; got {recipe.guided!r}.")
    if recipe.guided and recipe.attention in ("none", "hard"):
        raise ValueError(
            f"`guided` needs attention with a gradient; got {recipe.attention!r}. Use 'additive'."
        )
    if recipe.guided and not any(pair.possible for pair in pairs):
        raise ValueError(
            "`guided` needs pairs with gold links; got none. Those of `datasets.translation` have them, "
            "pairs read from a file have not: leave `guided` out."
        )
