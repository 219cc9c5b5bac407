"""The command that trains a translator: its options, its data, its card."""

import argparse
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

from attention_core import datasets
from attention_core.datasets import Pair
from attention_core.models import runs, shelf
from attention_core.models.progress import Bar
from attention_core.models.translator.attention import ATTENTIONS
from attention_core.models.translator.evaluation import error_rate, exact_match
from attention_core.models.translator.model import Translator
from attention_core.models.translator.traces import Tracer
from attention_core.models.translator.training import Recipe, Training

HELP = "English to French"
WHAT = "English to French, a GRU encoder and decoder; see attention_core.models.Translator"
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


def add_options(parser: argparse.ArgumentParser) -> None:
    kinds = [hyphened(kind) for kind in ATTENTIONS]
    parser.add_argument(
        "--attention", type=hyphened, default="additive", choices=kinds, metavar="|".join(kinds)
    )
    runs.add_recipe(parser, Recipe, PLAIN)
    parser.add_argument("--input-feeding", action="store_true", help="the decoder reads its last answer")
    parser.add_argument("--corpus", type=Path, help="a file of pairs, a tab between them, in place of ours")
    parser.add_argument(
        "--size", type=int, default=SIZE, help=f"pairs of ours to train on, {SIZE} if not said"
    )
    parser.add_argument("--trace", action="store_true", help="record alignments along the way")
    runs.add_running(parser, "translator-...")


def train(options: argparse.Namespace) -> int:
    """Train, and write weights, card and trace."""
    recipe, bar = recipe_of(options), Bar()
    name = options.name or name_of(recipe)
    checkpoint = options.output / f"{name}.checkpoint"
    runs.check_beginning(checkpoint, options)
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
        report=runs.Reporter(bar, recipe.epochs),
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
    measured = metrics(model, data)
    card = runs.card_of(
        path, WHAT, command_of(options), recipe, data.told, training.progress, model, measured
    )
    shelf.write_json(options.output / f"{name}.json", card)
    checkpoint.unlink()
    bar.keep(runs.told(path, measured))
    return 0


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


def metrics(model: Translator, data: Data) -> dict[str, float]:
    """Exact match, greedy, and where gold links are known the alignment error rate."""
    found = {}
    for split, pairs in {"validation": data.validation, **data.tests}.items():
        translations = model.translate_tokens([pair.source for pair in pairs])
        found[f"{split} exact match"] = exact_match(translations, pairs)
        if model.attention != "none" and any(pair.sure for pair in pairs):
            found[f"{split} AER"] = error_rate(model, pairs).aer
    return found


def recipe_of(options: argparse.Namespace) -> Recipe:
    plain = {name: getattr(options, name) for name in PLAIN}
    return Recipe(attention=options.attention.replace("-", "_"), input_feeding=options.input_feeding, **plain)


def name_of(recipe: Recipe) -> str:
    if recipe.guided:
        return "translator-guided" + ("" if recipe.attention == "additive" else f"-{recipe.attention}")
    return f"translator-{recipe.attention}".replace("_", "-")


def command_of(options: argparse.Namespace) -> str:
    """What to type for the same weights."""
    standard = runs.standard(add_options) | {"name": name_of(recipe_of(options))}
    return runs.command_of(options, standard, always=("attention", "seed"))


def hyphened(kind: str) -> str:
    return kind.replace("_", "-")
