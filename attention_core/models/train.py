"""Train a model that ships, or one of your own.

    python -m attention_core.models.train translator --attention additive [--guided 1.0] [--seed 0]
    python -m attention_core.models.train translator --attention general --corpus english-french.tsv

Writes the weights, their card and, with --trace, the trace of the training to --output. After every epoch
the whole state is kept there too: what stops the process costs an epoch at most, and the same command with
--resume goes on as if nothing had been.
"""

import argparse
import datetime
import os
import platform
import shlex
import sys
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import safetensors
import torch

from attention_core import datasets
from attention_core.datasets import Pair
from attention_core.models import shelf
from attention_core.models.progress import Bar
from attention_core.models.translator import (
    ATTENTIONS,
    Progress,
    Recipe,
    Tracer,
    Training,
    Translator,
    error_rate,
    exact_match,
)

SIZE = 36_000  # few epochs of many pairs generalise better than many of few, in the same time
WATCHED = 256  # pairs of each split that a trace measures on
SHARE, MOST = 0.05, 500  # of a corpus of one's own: what is kept for validation
PLAIN = {"guided": float, "seed": int, "epochs": int, "patience": int, "batch": int, "rate": float}
PLAIN |= {"width": int, "embedding": int, "dropout": float, "half_width": int, "minimum": int, "most": int}


@dataclass(frozen=True)
class Data:
    """What a translator is trained on, stopped by and measured on."""

    train: list[Pair]
    validation: list[Pair]
    tests: dict[str, list[Pair]]
    told: dict[str, Any]  # for the card


def main(arguments: Sequence[str] | None = None) -> int:
    options = parser().parse_args(arguments)
    torch.set_num_threads(options.threads)
    try:
        return train_translator(options)
    except KeyboardInterrupt:
        sys.stderr.write(
            "\nStopped. All epochs that were finished are kept: the same with --resume goes on.\n"
        )
        return 130
    except (ValueError, TypeError, FileNotFoundError) as error:
        sys.stderr.write(f"{error}\n")
        return 2


def train_translator(options: argparse.Namespace) -> int:
    recipe, bar = recipe_of(options), Bar()
    name = options.name or name_of(recipe)
    checkpoint = options.output / f"{name}.checkpoint"
    check_beginning(checkpoint, options)
    data = corpus_data(options, bar) if options.corpus else generated_data(options)
    tracer = (
        Tracer(data.train[:WATCHED], data.validation[:WATCHED], datasets.showcase())
        if options.trace
        else None
    )
    training = Training(
        recipe,
        data.train,
        data.validation,
        checkpoint=checkpoint,
        report=Reporter(bar, recipe),
        tracer=tracer,
    )
    if options.resume:
        training.resume()
        bar.keep(f"resumed after epoch {training.progress.epoch}")
    model = training.run()

    path = options.output / f"{name}.safetensors"
    model.save(path)
    if tracer is not None:
        best = training.progress.history[training.progress.best_epoch - 1]
        trace = tracer.trace(model, int(best["updates"]), best["epoch"])
        trace.save(options.output / f"{name}.trace.npz")
    card = card_of(name, options, recipe, data, training.progress, model, path)
    shelf.write_json(options.output / f"{name}.json", card)
    checkpoint.unlink()
    told = ", ".join(f"{metric} {value:.3f}" for metric, value in card["metrics"].items())
    bar.keep(f"written to {path}: {told}")
    return 0


class Reporter:
    """Tells of training: within an epoch on one line, after it in a line that stays."""

    def __init__(self, bar: Bar, recipe: Recipe):
        self.bar, self.recipe, self.told = bar, recipe, 0

    def __call__(self, progress: Progress, share: float, loss: float) -> None:
        if len(progress.history) > self.told:
            self.told = len(progress.history)
            last = progress.history[-1]
            self.bar.keep(
                f"epoch {progress.epoch:2}/{self.recipe.epochs}  loss {last['train_loss']:.4f}  validation "
                f"{last['validation_loss']:.4f}  {last['cpu_seconds']:.0f} CPU s"
            )
        else:
            done = (progress.epoch + share) / self.recipe.epochs
            self.bar.show(done, f"epoch {progress.epoch + 1}/{self.recipe.epochs}  loss {loss:.4f}")


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


# -- data --------------------------------------------------------------------------------------------------


def generated_data(options: argparse.Namespace) -> Data:
    train = datasets.translation("train", options.size)
    validation, *tested = (  # small trials are tried on few
        datasets.translation(split)[: options.size] for split in ("validation", "test", "held_out")
    )
    tests = dict(zip(("test", "held_out"), tested, strict=True))
    told = {"source": "datasets.translation", "pairs": len(train), "fingerprint": datasets.fingerprint(train)}
    return Data(train, validation, tests, told)


def corpus_data(options: argparse.Namespace, bar: Bar) -> Data:
    """A file of one's own, a seeded part of which is kept for validation."""
    bar.show(0.0, f"reading {options.corpus.name}")
    corpus = datasets.read_pairs(options.corpus)
    skipped = ", ".join(f"{count} {reason}" for reason, count in corpus.skipped.items() if count)
    bar.keep(f"{len(corpus.pairs)} pairs from {options.corpus.name}; skipped: {skipped or 'none'}")
    pairs = list(corpus.pairs)
    if len(pairs) < 2:
        raise ValueError(
            f"--corpus needs at least two pairs, one to validate on; {options.corpus.name} holds "
            f"{len(pairs)}. Each line is a sentence, a tab, and its translation."
        )
    Random(options.seed).shuffle(pairs)
    kept = min(MOST, max(1, round(SHARE * len(pairs))))
    told = {"source": options.corpus.name, "pairs": len(pairs) - kept, "skipped": dict(corpus.skipped)}
    told["fingerprint"] = datasets.fingerprint(pairs[kept:])
    return Data(pairs[kept:], pairs[:kept], {}, told)


# -- the card ----------------------------------------------------------------------------------------------


def card_of(
    name: str,
    options: argparse.Namespace,
    recipe: Recipe,
    data: Data,
    progress: Progress,
    model: Translator,
    path: Path,
) -> dict[str, Any]:
    return {
        "name": name,
        "what": "English to French, a GRU encoder and decoder; see attention_core.models.Translator",
        "command": command_of(options),
        "sha256": shelf.sha256(path),
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        "recipe": {field.name: getattr(recipe, field.name) for field in fields(recipe)},
        "data": data.told,
        "training": {
            "cpu_seconds": round(progress.cpu_seconds, 1),
            "best_epoch": progress.best_epoch,
            "history": progress.history,
        },
        "metrics": metrics(model, data),
        "hardware": hardware(),
        "versions": versions(),
        "date": datetime.date.today().isoformat(),
    }


def metrics(model: Translator, data: Data) -> dict[str, float]:
    """Exact match, greedy, and where gold links are known the alignment error rate."""
    found = {}
    for split, pairs in {"validation": data.validation, **data.tests}.items():
        translations = model.translate_tokens([pair.source for pair in pairs])
        found[f"{split} exact match"] = exact_match(translations, pairs)
        if model.attention != "none" and any(pair.sure for pair in pairs):
            found[f"{split} AER"] = error_rate(model, pairs).aer
    return found


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


# -- the command line --------------------------------------------------------------------------------------


def parser() -> argparse.ArgumentParser:
    whole = argparse.ArgumentParser(
        prog="python -m attention_core.models.train",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    one = whole.add_subparsers(dest="model", required=True).add_parser("translator", help="English to French")
    kinds = [kind.replace("_", "-") for kind in ATTENTIONS]
    one.add_argument(
        "--attention", default="additive", choices=sorted({*ATTENTIONS, *kinds}), metavar="|".join(kinds)
    )
    for name, kind in PLAIN.items():
        default = {field.name: field.default for field in fields(Recipe)}[name]
        one.add_argument(
            f"--{name.replace('_', '-')}", type=kind, default=default, help=f"{default} if not said"
        )
    one.add_argument("--input-feeding", action="store_true", help="the decoder reads its last answer")
    one.add_argument("--corpus", type=Path, help="a file of pairs, a tab between the two, in place of ours")
    one.add_argument("--size", type=int, default=SIZE, help=f"pairs of ours to train on, {SIZE} if not said")
    one.add_argument("--trace", action="store_true", help="record alignments along the way")
    one.add_argument("--output", type=Path, default=Path("trained"), help="folder to write to")
    one.add_argument("--name", help="of the files, if other than translator-...")
    one.add_argument("--threads", type=int, default=1, help="1 gives the same numbers each time")
    going = one.add_mutually_exclusive_group()
    going.add_argument("--resume", action="store_true", help="go on from the last whole epoch")
    going.add_argument("--again", action="store_true", help="begin anew where a stopped training is kept")
    return whole


def recipe_of(options: argparse.Namespace) -> Recipe:
    plain = {name: getattr(options, name) for name in PLAIN}
    return Recipe(attention=options.attention.replace("-", "_"), input_feeding=options.input_feeding, **plain)


def name_of(recipe: Recipe) -> str:
    if recipe.guided:
        return "translator-guided" + ("" if recipe.attention == "additive" else f"-{recipe.attention}")
    return f"translator-{recipe.attention}".replace("_", "-")


def command_of(options: argparse.Namespace) -> str:
    """What to type for the same weights: the options that are not as they are without being said."""
    standard = vars(parser().parse_args(["translator"])) | {"name": name_of(recipe_of(options))}
    words = ["python", "-m", "attention_core.models.train", "translator"]
    for name, value in vars(options).items():
        said = f"--{name.replace('_', '-')}"
        if (
            name in ("model", "output", "resume", "again")
            or value is None
            or (value == standard[name] and name not in ("attention", "seed"))
        ):
            continue
        if value is True:
            words.append(said)
        else:
            plain = value.name if isinstance(value, Path) else str(value)
            words += [said, plain.replace("_", "-") if name == "attention" else plain]
    return shlex.join(words)


if __name__ == "__main__":
    sys.exit(main())
