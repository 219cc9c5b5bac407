"""The command that trains a translator: its options, its card."""

import argparse

from attention_core import datasets
from attention_core.models import runs, shelf
from attention_core.models.progress import Bar
from attention_core.models.sentences import corpus
from attention_core.models.sentences.evaluation import metrics
from attention_core.models.translator.attention import ATTENTIONS
from attention_core.models.translator.traces import Tracer
from attention_core.models.translator.training import Recipe, Training

HELP = "English to French"
WHAT = "English to French, a GRU encoder and decoder; see attention_core.models.Translator"
SIZE = corpus.SIZE
WATCHED = 256  # pairs of each split that a trace measures on
PLAIN = {"guided": float, "seed": int, "epochs": int, "patience": int, "batch": int, "rate": float}
PLAIN |= {"width": int, "embedding": int, "dropout": float, "half_width": int, "minimum": int, "most": int}


def add_options(parser: argparse.ArgumentParser) -> None:
    kinds = [hyphened(kind) for kind in ATTENTIONS]
    parser.add_argument(
        "--attention", type=hyphened, default="additive", choices=kinds, metavar="|".join(kinds)
    )
    runs.add_recipe(parser, Recipe, PLAIN)
    parser.add_argument("--input-feeding", action="store_true", help="the decoder reads its last answer")
    corpus.add_options(parser)
    parser.add_argument("--trace", action="store_true", help="record alignments along the way")
    runs.add_running(parser, "translator-...")


def train(options: argparse.Namespace) -> int:
    """Train, and write weights, card and trace."""
    recipe, bar = recipe_of(options), Bar()
    name = options.name or name_of(recipe)
    checkpoint = options.output / f"{name}.checkpoint"
    runs.check_beginning(checkpoint, options)
    data = corpus.chosen(options, bar)
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
    model = runs.trained(training, options, bar)

    path = options.output / f"{name}.safetensors"
    model.save(path)
    if tracer is not None:
        best = training.progress.history[training.progress.best_epoch - 1]
        trace = tracer.trace(model, int(best["updates"]), best["epoch"])
        trace.save(options.output / f"{name}.trace.npz")
    measured = metrics(model, data.measured(), aligning=recipe.attention != "none")
    card = runs.card_of(
        path, WHAT, command_of(options), recipe, data.told, training.progress, model, measured
    )
    shelf.write_json(options.output / f"{name}.json", card)
    checkpoint.unlink()
    bar.keep(runs.told(path, measured))
    return 0


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
