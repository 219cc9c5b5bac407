"""What every training does: epochs, early stopping, checkpoints. `EpochTraining` leaves the rest open."""

import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from math import inf
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from attention_core import heads
from attention_core.models import shelf


@runtime_checkable
class Recipe(Protocol):
    """What a recipe, a frozen dataclass of plain values, has at least."""

    seed: int
    epochs: int  # at most
    patience: int  # epochs without a better validation loss before it stops
    batch: int
    rate: float  # of Adam, at its highest
    clip: float  # longest gradient


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


Report = Callable[[Progress, float, float], None]


class EpochTraining(ABC):
    """One training run: `run` goes to its end, from wherever its checkpoint stands.

    Parameters
    ----------
    recipe
        What to train and how.
    checkpoint
        Where to keep the state after each epoch, if anywhere. It is written beside its place and then moved
        there, so that whatever stops the process leaves a whole one, at most an epoch old.
    report
        Called with (progress, share of the epoch done, mean loss of the epoch so far) after each batch.

    Continued from a checkpoint, on one thread, training gives bit for bit what it would have given.
    """

    def __init__(self, recipe: Recipe, *, checkpoint: Path | None = None, report: Report | None = None):
        self.recipe, self.checkpoint = recipe, checkpoint
        self.report = report or (lambda *_: None)
        self.progress = Progress()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(recipe.seed)
            self.model = self.built()
            self.random = torch.get_rng_state()
        self.optimizer = self.chosen_optimizer()
        self.best = copied(self.model)

    @abstractmethod
    def built(self) -> nn.Module:
        """The untrained model."""

    @abstractmethod
    def identity(self) -> dict[str, Any]:
        """What must be the same for a checkpoint to be continued."""

    @abstractmethod
    def batches(self, generator: torch.Generator) -> Sequence[Any]:
        """What an epoch goes through, in its order."""

    @abstractmethod
    def loss(self, batch: Any) -> tuple[Tensor, Tensor]:
        """What is minimised, and what is told of it."""

    @abstractmethod
    def validation_loss(self) -> float:
        """What decides which epoch was the best."""

    def chosen_optimizer(self) -> torch.optim.Optimizer:
        return torch.optim.Adam(self.model.parameters(), lr=self.recipe.rate)

    def rate(self, share: float) -> float:
        """Adam's step length after this share of all epochs."""
        return rate(self.recipe, share)

    def watch(self, epochs: float) -> None:  # noqa: B027 (most have nothing to see)
        """Look at the model before an update; the time that it takes is none of training's."""

    def run(self) -> nn.Module:
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

    def state(self) -> dict[str, Any]:
        return {
            "identity": self.identity(),
            "model": self.model.state_dict(),
            "best": self.best,
            "optimizer": self.optimizer.state_dict(),
            "random": self.random,
            "progress": asdict(self.progress),
        }

    def restore(self, state: dict[str, Any]) -> None:
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
        self.progress = Progress(**state["progress"])

    def _epoch(self) -> None:
        start, progress, total, watched = time.process_time(), self.progress, 0.0, 0.0
        self.model.train()
        generator = torch.Generator().manual_seed(1000 * self.recipe.seed + progress.epoch)
        batches = self.batches(generator)
        for number, batch in enumerate(batches):
            epochs = progress.epoch + number / len(batches)
            watched += self._watched(epochs)
            total += self._update(batch, epochs / self.recipe.epochs)
            progress.updates += 1
            self.report(progress, (number + 1) / len(batches), total / (number + 1))
        progress.epoch += 1
        found = self.validation_loss()
        if found < progress.best_loss:
            progress.best_loss, progress.best_epoch = found, progress.epoch
            self.best = copied(self.model)
        progress.cpu_seconds += time.process_time() - start - watched
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

    def _watched(self, epochs: float) -> float:
        start = time.process_time()
        self.watch(epochs)
        return time.process_time() - start

    def _update(self, batch: Any, share: float) -> float:
        """One step of Adam, at the rate of this share of all epochs; returns the loss before it."""
        for group in self.optimizer.param_groups:
            group["lr"] = self.rate(share)
        self.optimizer.zero_grad()
        loss, told = self.loss(batch)
        loss.backward()
        nn.utils.clip_grad_norm_(self.model.parameters(), self.recipe.clip)
        self.optimizer.step()
        return float(told.detach())


def rate(recipe: Recipe, share: float) -> float:
    r"""Half a cosine over all epochs, from the recipe's rate to 0: $\frac{r}{2} (1 + \cos \pi x)$."""
    return recipe.rate * 0.5 * (1 + torch.cos(torch.tensor(torch.pi * share)).item())


def warmed(recipe: Recipe, share: float) -> float:
    """`rate`, but rising from nothing over the recipe's `warming`, a share of all epochs."""
    return min(1.0, (share + 1e-4) / recipe.warming) * rate(recipe, share)


def copied(model: nn.Module) -> dict[str, Tensor]:
    return {name: value.detach().clone() for name, value in model.state_dict().items()}


def check_recipe(recipe: Recipe) -> None:
    """Require counts, a seed, and numbers that something can be learned by."""
    for name in ("epochs", "patience", "batch"):
        heads.check_positive(name, getattr(recipe, name))
    if not isinstance(recipe.seed, int) or isinstance(recipe.seed, bool) or recipe.seed < 0:
        raise ValueError(f"`seed` must be an integer of at least 0; got {recipe.seed!r}.")
    for name, number in (("rate", recipe.rate), ("clip", recipe.clip)):
        if not 0 < number < inf:
            raise ValueError(f"`{name}` must be a positive number; got {number!r}.")


def check_warming(warming: float) -> None:
    if not 0 < warming <= 1:
        raise ValueError(f"`warming` must be a share of the epochs, above 0; got {warming!r}.")
