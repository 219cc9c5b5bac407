"""The command that trains a transformer: its options, its card."""

import argparse

from attention_core.datasets import Pair
from attention_core.models import runs, shelf
from attention_core.models.progress import Bar
from attention_core.models.sentences import corpus
from attention_core.models.sentences.evaluation import metrics
from attention_core.models.transformer.measures import layer_error_rates
from attention_core.models.transformer.model import Transformer
from attention_core.models.transformer.training import Recipe, Training

HELP = "English to French, by attention alone"
WHAT = "English to French, an encoder-decoder transformer; see attention_core.models.Transformer"
PLAIN = {"seed": int, "epochs": int, "patience": int, "batch": int, "rate": float, "warming": float}
PLAIN |= {"width": int, "heads": int, "layers": int, "hidden": int, "dropout": float}


def add_options(parser: argparse.ArgumentParser) -> None:
    runs.add_recipe(parser, Recipe, PLAIN)
    corpus.add_options(parser)
    runs.add_running(parser, "transformer-en-fr")


def train(options: argparse.Namespace) -> int:
    """Train, choose the layer that aligns best, and write weights and card."""
    recipe, bar = recipe_of(options), Bar()
    name = options.name or name_of(options)
    checkpoint = options.output / f"{name}.checkpoint"
    runs.check_beginning(checkpoint, options)
    data = corpus.chosen(options, bar)
    training = Training(
        recipe,
        data.train,
        data.validation,
        checkpoint=checkpoint,
        report=runs.Reporter(bar, recipe.epochs),
    )
    model = runs.trained(training, options, bar)
    by_layer = choose_layer(model, data.validation)

    path = options.output / f"{name}.safetensors"
    model.save(path)
    measured = metrics(model, data.measured()) | by_layer
    card = runs.card_of(
        path, WHAT, command_of(options), recipe, data.told, training.progress, model, measured
    )
    shelf.write_json(options.output / f"{name}.json", card | {"aligning": model.aligning})
    checkpoint.unlink()
    bar.keep(runs.told(path, measured))
    return 0


def choose_layer(model: Transformer, pairs: list[Pair]) -> dict[str, float]:
    """Let the model align by the layer of the lowest error rate on these pairs; tells that of each.

    Without gold links the last layer stays.
    """
    if not any(pair.sure for pair in pairs):
        return {}
    rates = [scores.aer for scores in layer_error_rates(model, pairs)]
    model.aligning = rates.index(min(rates))
    return {f"validation AER of layer {layer}": value for layer, value in enumerate(rates)}


def recipe_of(options: argparse.Namespace) -> Recipe:
    return Recipe(**{name: getattr(options, name) for name in PLAIN})


def name_of(options: argparse.Namespace) -> str:
    return "transformer-en-fr" + (f"-{options.seed}" if options.seed else "")


def command_of(options: argparse.Namespace) -> str:
    """What to type for the same weights."""
    standard = runs.standard(add_options) | {"name": name_of(options)}
    return runs.command_of(options, standard, always=("seed",))
