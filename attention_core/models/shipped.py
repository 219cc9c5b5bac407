"""The models that ship: `load` brings one by name, `trace` shows how it came to be what it is."""

import json
from typing import Any

from attention_core.models import shelf
from attention_core.models.transformer import Transformer
from attention_core.models.translator import Trace, Translator
from attention_core.models.vit import ViT

MODELS = {
    "translator": Translator,
    "transformer": Transformer,
    "shapes": ViT,
}  # by the first part of the name


def names() -> list[str]:
    """Of all models that `load` knows."""
    return sorted(path.stem for path in shelf.FOLDER.glob("*.safetensors"))


def load(name: str) -> Translator | Transformer | ViT:
    """A trained model that came with the package, ready to use and offline: `load("translator-additive")`.

    Its card, `card(name)`, says how it was trained and how good it is. An unknown name or a damaged file is
    refused with what there is, or what to do.
    """
    _check(name, names(), "model")
    return MODELS[name.partition("-")[0]].load(shelf.FOLDER / f"{name}.safetensors")


def card(name: str) -> dict[str, Any]:
    """The model card: command, seed, data, hardware, versions, time and metrics."""
    _check(name, names(), "model")
    return json.loads((shelf.FOLDER / f"{name}.json").read_text(encoding="utf-8"))


def trace(name: str) -> Trace:
    """How the model came about: losses, error rate and alignments at several points of its training."""
    traced = sorted(path.name.removesuffix(".trace.npz") for path in shelf.FOLDER.glob("*.trace.npz"))
    _check(name, traced, "trace")
    return Trace.read(shelf.FOLDER / f"{name}.trace.npz")


def _check(name: str, there: list[str], what: str) -> None:
    if name not in there:
        raise ValueError(
            f"`name` must be one of {', '.join(there)}, of which a {what} ships; got {name!r}. To train one, "
            "see `python -m attention_core.models.train --help`."
        )
