"""The command that trains a vision transformer on generated shapes: its options, its data, its card."""

import argparse
from dataclasses import dataclass
from typing import Any

import torch

from attention_core.datasets.shapes import TAGGED, Drawn, drawn, fingerprint
from attention_core.datasets.shapes.scenes import SIZES
from attention_core.models import runs, shelf
from attention_core.models.progress import Bar
from attention_core.models.vit.model import ViT
from attention_core.models.vit.training import Recipe, Training, exact_match, label_accuracy, logits

HELP = "which shapes are in an image"
WHAT = "says which of eight shapes are in an image; see attention_core.models.ViT and datasets.shapes"
IMAGES = 20_000
TESTED = {  # what each model is stopped by, and measured on
    "train": ("validation", ("test", "single", "pair")),
    "shortcut": ("shortcut_test", ("shortcut_test",)),
}
PLAIN = {"seed": int, "epochs": int, "batch": int, "rate": float, "decay": float}
PLAIN |= {"patch": int, "width": int, "depth": int, "heads": int}


@dataclass(frozen=True)
class Data:
    """What a model is trained on, stopped by and measured on."""

    train: Drawn
    validation: Drawn
    tests: dict[str, Drawn]
    told: dict[str, Any]  # for the card


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--split", default="train", choices=list(TESTED), help="with or without planted tags")
    parser.add_argument("--size", type=int, default=48, choices=SIZES, help="pixels a side, 48 if not said")
    parser.add_argument(
        "--images", type=int, default=IMAGES, help=f"how many to train on, {IMAGES} if not said"
    )
    runs.add_recipe(parser, Recipe, PLAIN)
    runs.add_running(parser, "shapes-vit...")


def train(options: argparse.Namespace) -> int:
    """Train, and write weights and card."""
    recipe, bar = recipe_of(options), Bar()
    name = options.name or name_of(options)
    checkpoint = options.output / f"{name}.checkpoint"
    runs.check_beginning(checkpoint, options)
    data = drawn_data(options, bar)
    training = Training(
        recipe,
        data.train,
        data.validation,
        checkpoint=checkpoint,
        report=runs.Reporter(bar, recipe.epochs),
    )
    model = runs.trained(training, options, bar)

    path = options.output / f"{name}.safetensors"
    model.save(path)
    measured = metrics(model, data)
    card = runs.card_of(
        path, WHAT, command_of(options), recipe, data.told, training.progress, model, measured
    )
    shelf.write_json(options.output / f"{name}.json", card)
    checkpoint.unlink()
    bar.keep(runs.told(path, measured))
    return 0


def drawn_data(options: argparse.Namespace, bar: Bar) -> Data:
    """Images drawn anew, in a fraction of the training's time; small trials are tried on few."""
    stop, tests = TESTED[options.split]
    bar.show(0.0, f"drawing {options.images} images")
    train = drawn(options.split, options.images, size=options.size)
    count = None if options.images >= IMAGES else min(options.images, 500)
    others = {split: drawn(split, count, size=options.size) for split in {stop: None, **dict.fromkeys(tests)}}
    told = {"source": f"datasets.shapes({options.split!r}, {options.images}, size={options.size})"}
    told |= {"images": options.images, "fingerprint": fingerprint(train)}
    return Data(train, others[stop], others, told)


def metrics(model: ViT, data: Data) -> dict[str, float]:
    """Exact match and label accuracy; with tags also how often they, and stars, are said to be a star."""
    found = {}
    for split, images in data.tests.items():
        labels = torch.from_numpy(images.labels)
        said = logits(model, images)
        found[f"{split} exact match"] = exact_match(said, labels)
        found[f"{split} label accuracy"] = label_accuracy(said, labels)
        if split == "shortcut_test":
            scenes = images.scenes()
            tag, star = scenes.tags.flatten(1).any(1), scenes.masks[:, TAGGED].flatten(1).any(1)
            answers = (said[:, TAGGED] > 0).double()
            for what, rows in {"the tag alone": tag, "a star alone": star, "neither": ~tag & ~star}.items():
                found[f"{split} star said of {what}"] = float(answers[rows].mean())
    return found


def recipe_of(options: argparse.Namespace) -> Recipe:
    return Recipe(**{name: getattr(options, name) for name in PLAIN})


def name_of(options: argparse.Namespace) -> str:
    """shapes-vit, then what is not as usual: the size, the split, the seed."""
    parts = ["shapes-vit"]
    parts += [str(options.size)] if options.size != 48 else []
    parts += [options.split] if options.split != "train" else []
    parts += [str(options.seed)] if options.seed else []
    return "-".join(parts)


def command_of(options: argparse.Namespace) -> str:
    """What to type for the same weights."""
    standard = runs.standard(add_options) | {"name": name_of(options)}
    return runs.command_of(options, standard, always=("seed",))
