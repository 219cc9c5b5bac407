"""What the trainings of `attention_core.models.train` share: options, what is told, the card."""

import argparse
import datetime
import os
import platform
import shlex
from collections.abc import Callable, Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import safetensors
import torch
from torch import nn

from attention_core.models import shelf
from attention_core.models.epochs import EpochTraining, Progress, Recipe
from attention_core.models.progress import Bar

UNTOLD = ("model", "output", "resume", "again")  # options that do not decide what comes out


class Reporter:
    """Tells of training: within an epoch on one line, after it in a line that stays."""

    def __init__(self, bar: Bar, epochs: int):
        self.bar, self.epochs, self.told = bar, epochs, 0

    def __call__(self, progress: Progress, share: float, loss: float) -> None:
        if len(progress.history) > self.told:
            self.told = len(progress.history)
            last = progress.history[-1]
            self.bar.keep(
                f"epoch {progress.epoch:2}/{self.epochs}  loss {last['train_loss']:.4f}  validation "
                f"{last['validation_loss']:.4f}  {last['cpu_seconds']:.0f} CPU s"
            )
        else:
            done = (progress.epoch + share) / self.epochs
            self.bar.show(done, f"epoch {progress.epoch + 1}/{self.epochs}  loss {loss:.4f}")


def check_beginning(checkpoint: Path, options: argparse.Namespace) -> None:
    """Neither lose an unfinished training, nor begin one where another was to go on."""
    if checkpoint.exists() and not (options.resume or options.again):
        raise ValueError(
            f"{checkpoint} holds a training that was stopped: go on with it by --resume, or begin anew by "
            "--again."
        )
    if options.resume and not checkpoint.exists():
        raise FileNotFoundError(
            f"--resume found no {checkpoint}: the training never began, or it has ended. Leave out --resume "
            "to begin."
        )


def trained(training: EpochTraining, options: argparse.Namespace, bar: Bar) -> nn.Module:
    """The model at its training's end, from the beginning or from where one was stopped."""
    if options.resume:
        training.resume()
        bar.keep(f"resumed after epoch {training.progress.epoch}")
    return training.run()


# -- the command line --------------------------------------------------------------------------------------


def add_recipe(parser: argparse.ArgumentParser, recipe: type, kinds: Mapping[str, type]) -> None:
    """An option for each of these fields of a recipe."""
    defaults = {field.name: field.default for field in fields(recipe)}
    for name, kind in kinds.items():
        default = defaults[name]
        said = f"--{name.replace('_', '-')}"
        parser.add_argument(said, type=kind, default=default, help=f"{default} if not said")


def add_running(parser: argparse.ArgumentParser, named: str) -> None:
    """Where to write, on how many threads, and what to do with a training that was stopped."""
    parser.add_argument("--output", type=Path, default=Path("trained"), help="folder to write to")
    parser.add_argument("--name", help=f"of the files, if other than {named}")
    parser.add_argument("--threads", type=int, default=1, help="1 gives the same numbers each time")
    going = parser.add_mutually_exclusive_group()
    going.add_argument("--resume", action="store_true", help="go on from the last whole epoch")
    going.add_argument("--again", action="store_true", help="begin anew where a stopped training is kept")


def standard(add_options: Callable[[argparse.ArgumentParser], None]) -> dict[str, Any]:
    """The options as they are without being said."""
    parser = argparse.ArgumentParser()
    add_options(parser)
    return vars(parser.parse_args([]))


def command_of(options: argparse.Namespace, standard: Mapping[str, Any], always: tuple[str, ...]) -> str:
    """What to type for the same weights: the options that are not as they are without being said.

    `standard` is how they are then; those of `always` are said in any case.
    """
    words = ["python", "-m", "attention_core.models.train", options.model]
    for name, value in vars(options).items():
        if name in UNTOLD or value is None or (value == standard[name] and name not in always):
            continue
        words.append(f"--{name.replace('_', '-')}")
        if value is not True:
            words.append(value.name if isinstance(value, Path) else str(value))
    return shlex.join(words)


# -- the card ----------------------------------------------------------------------------------------------


def card_of(
    path: Path,
    what: str,
    command: str,
    recipe: Recipe,
    data: Mapping[str, Any],
    progress: Progress,
    model: nn.Module,
    metrics: Mapping[str, float],
) -> dict[str, Any]:
    """The card of a model whose weights are at `path`."""
    return {
        "name": path.stem,
        "what": what,
        "command": command,
        "sha256": shelf.sha256(path),
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        "recipe": {field.name: getattr(recipe, field.name) for field in fields(recipe)},
        "data": data,
        "training": {
            "cpu_seconds": round(progress.cpu_seconds, 1),
            "best_epoch": progress.best_epoch,
            "history": progress.history,
        },
        "metrics": metrics,
        "hardware": hardware(),
        "versions": versions(),
        "date": datetime.date.today().isoformat(),
    }


def told(path: Path, metrics: Mapping[str, float]) -> str:
    """The last line: where the weights are, and how good."""
    return f"written to {path}: " + ", ".join(f"{name} {value:.3f}" for name, value in metrics.items())


def hardware() -> dict[str, Any]:
    return {"processor": processor(), "cores": os.cpu_count(), "threads": torch.get_num_threads()}


def processor() -> str:
    """The processor's model, as far as the system says."""
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def versions() -> dict[str, str]:
    found = {"python": platform.python_version(), "torch": torch.__version__, "numpy": np.__version__}
    return {**found, "safetensors": safetensors.__version__}
