"""The shelf of trained weights: files that know what they hold, each beside a card that says how it was made.

A file is safetensors, with one entry of metadata: JSON of its kind, its format's version, what is needed to
build the model anew, and a digest of all numbers, by which damage is found. `load` and `trace` read those
that ship with the package.
"""

import contextlib
import hashlib
import json
import os
import pickle
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as as_bytes
from torch import Tensor

FOLDER = Path(__file__).with_name("weights")
VERSION = 1  # of the files; a change of a model that old weights do not fit raises it
ENTRY = "attention_core"  # one entry: several would be written in no fixed order, and the bytes would differ


class DamagedWeights(ValueError):
    """A file of weights that cannot be trusted, and what to do about it."""


def retrain(name: str) -> str:
    """What a reader can do about a missing or damaged file of that name."""
    if (card := FOLDER / f"{name}.json").exists():
        with contextlib.suppress(ValueError, KeyError):
            command = json.loads(card.read_text(encoding="utf-8"))["command"]
            return f"Train it anew with `{command}`"
    return "Train it anew with `python -m attention_core.models.train`, or get the file again"


def save(path: Path, kind: str, facts: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> None:
    """Write a model of a `kind`: `facts` are what `read` returns beside its tensors."""
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    entry = {"kind": kind, "version": VERSION, "digest": digest(tensors), **facts}
    metadata = {ENTRY: json.dumps(entry, ensure_ascii=False)}
    write_atomically(path, lambda temporary: temporary.write_bytes(as_bytes(tensors, metadata)))


def read(path: Path, kind: str) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Facts and tensors of a file that `save` wrote; `DamagedWeights` if it is not that any more."""
    remedy = retrain(path.stem)
    if not path.exists():
        raise FileNotFoundError(f"there is no file {path.name}. {remedy}.")
    try:
        with safe_open(path, framework="pt") as file:
            entry = json.loads((file.metadata() or {})[ENTRY])
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, KeyError, ValueError, OSError) as error:
        raise DamagedWeights(
            f"{path.name} is damaged, or no file of weights of this package ({error}). {remedy}."
        ) from error
    if (entry.get("kind"), entry.get("version")) != (kind, VERSION):
        raise DamagedWeights(
            f"{path.name} holds a {entry.get('kind')} of format {entry.get('version')}; this version of the "
            f"package reads a {kind} of format {VERSION}. {remedy}."
        )
    if entry.get("digest") != digest(tensors):
        raise DamagedWeights(
            f"{path.name} is damaged: its numbers are not those it was saved with. {remedy}."
        )
    return entry, tensors


def digest(tensors: Mapping[str, Tensor]) -> str:
    """SHA-256 of all numbers, with their names, types and shapes."""
    found = hashlib.sha256()
    for name, tensor in sorted(tensors.items()):
        found.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        found.update(tensor.contiguous().view(torch.uint8).numpy().tobytes())
    return found.hexdigest()


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def write_atomically(path: Path, write: Callable[[Path], None]) -> None:
    """Have `write` fill a file beside `path`, then move it there: whoever reads `path` finds a whole file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        write(temporary)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    text = json.dumps(content, indent=1, ensure_ascii=False) + "\n"
    write_atomically(path, lambda temporary: temporary.write_text(text, encoding="utf-8"))


def read_checkpoint(path: Path) -> dict[str, Any]:
    """The state that training left, as `torch.save` wrote it; of tensors and plain values alone."""
    if not path.exists():
        raise FileNotFoundError(f"there is no checkpoint {path}. Leave out --resume to begin.")
    try:
        return torch.load(path, weights_only=True)
    except (RuntimeError, EOFError, pickle.UnpicklingError) as error:
        raise DamagedWeights(
            f"the checkpoint {path} is damaged ({error}). Begin anew with --again."
        ) from error
