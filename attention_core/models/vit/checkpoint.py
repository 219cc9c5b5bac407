"""Checkpoints in the layout of `transformers`: ViT, DINO, DeiT and DINOv2, as they lie on disk.

The names of parameters on disk are those of the first releases; in memory, newer releases rename them. What
is read here are files, and no `transformers` is needed to read them.
"""

import json
import pickle
import warnings
from collections.abc import Mapping, Sequence
from numbers import Real
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

FILES = ("config.json", "preprocessor_config.json", "model.safetensors", "pytorch_model.bin")
LAYOUTS = ("vit", "deit", "dinov2", "dinov2_with_registers")  # `model_type` of a config; DINO's is vit
UNREAD = ("pooler.", "embeddings.mask_token")  # of pre-training; they do not reach the head
DEFAULTS = {  # of the configs, which may leave them out
    "hidden_size": 768, "num_hidden_layers": 12, "num_attention_heads": 12, "intermediate_size": 3072,
    "hidden_act": "gelu", "image_size": 224, "patch_size": 16, "num_channels": 3, "qkv_bias": True,
    "layer_norm_eps": 1e-12, "mlp_ratio": 4, "use_swiglu_ffn": False, "num_register_tokens": 4,
}  # fmt: skip
NEWER = {"layer_norm_eps": 1e-6}  # those of both DINOv2 layouts that differ
PARTS = {  # ours: theirs, in a block
    "attention.query": "attention.attention.query",
    "attention.key": "attention.attention.key",
    "attention.value": "attention.attention.value",
    "attention.out": "attention.output.dense",
}
OLDER_PARTS = PARTS | {
    "norm1": "layernorm_before", "norm2": "layernorm_after", "mlp.up": "intermediate.dense",
    "mlp.down": "output.dense",
}  # fmt: skip
NEWER_PARTS = PARTS | {
    "norm1": "norm1", "norm2": "norm2", "scale1": "layer_scale1", "scale2": "layer_scale2",
    "mlp.up": "mlp.fc1", "mlp.down": "mlp.fc2",
}  # fmt: skip
GATED_PARTS = NEWER_PARTS | {
    "mlp.up": "mlp.weights_in",
    "mlp.gate": "mlp.weights_in",
    "mlp.down": "mlp.weights_out",
}
OUTER = {
    "cls_token": "embeddings.cls_token",
    "distillation_token": "embeddings.distillation_token",
    "register_tokens": "embeddings.register_tokens",
    "positions": "embeddings.position_embeddings",
    "embedding": "embeddings.patch_embeddings.projection",
    "norm": "layernorm",
}


def options_of(
    config: Mapping[str, Any], tensors: Mapping[str, Tensor], colours: Mapping[str, Real | Sequence[Real]]
) -> dict[str, Any]:
    """What `ViT` is built with, as config and file have it."""
    kind = config["model_type"]
    newer = kind.startswith("dinov2")
    config = DEFAULTS | (NEWER if newer else {}) | config
    heads = [name for name in ("classifier.weight", "cls_classifier.weight") if name in tensors]
    classes = len(tensors[heads[0]]) if heads else 0
    gated, width = newer and config["use_swiglu_ffn"], config["hidden_size"]
    if config["hidden_act"] != "gelu" and not gated:
        raise ValueError(
            f"`hidden_act` of config.json must be 'gelu', which the blocks here have; got "
            f"{config['hidden_act']!r}. Such a model cannot be read."
        )
    hidden = int(width * config["mlp_ratio"]) if newer else config["intermediate_size"]
    return {
        "image_size": config["image_size"],
        "patch": config["patch_size"],
        "channels": config["num_channels"],
        "width": width,
        "depth": config["num_hidden_layers"],
        "heads": config["num_attention_heads"],
        "hidden": (int(hidden * 2 / 3) + 7) // 8 * 8 if gated else hidden,
        "classes": _names(config.get("id2label"), classes),
        "registers": config["num_register_tokens"] if kind == "dinov2_with_registers" else 0,
        "distilled": kind == "deit",
        "pool": _pool(heads, newer),
        "eps": config["layer_norm_eps"],
        "layer_scale": newer,
        "gated": gated,
        "bias": config["qkv_bias"],
        **colours,
    }


def renamed(
    tensors: Mapping[str, Tensor], expected: Mapping[str, Tensor], kind: str, gated: bool
) -> dict[str, Tensor]:
    """The file's tensors under our names, every one of them used and of the `expected` shape."""
    tensors = {name.removeprefix(f"{kind}."): tensor for name, tensor in tensors.items()}
    found, used = {}, set()
    for name, ours in expected.items():
        theirs = _theirs(name, kind, gated, tensors)
        if theirs not in tensors:
            raise ValueError(_missing(theirs, tensors))
        used.add(theirs)
        found[name] = _shaped(name, theirs, tensors[theirs], ours, gated)
    extra = [name for name in tensors if name not in used and not name.startswith(UNREAD)]
    if extra:
        raise ValueError(
            f"the checkpoint holds {extra[0]!r}, which a {kind} model of its config.json has no place for "
            f"({len(extra)} such in all). Is config.json that of another model?"
        )
    return found


def resized(
    positions: Float[Tensor, "n width"], first: int, old: tuple[int, int], new: tuple[int, int], smooth: bool
) -> Float[Tensor, "m width"]:
    """Positions of another grid of patches: the `first` as they are, the others interpolated bicubically.

    `smooth` filters before a grid gets smaller (antialias), as DINOv2 with registers does.
    """
    own, grid = positions[:first], positions[first:].mT.unflatten(1, old)  # (width, rows, columns)
    grid = torch.nn.functional.interpolate(
        grid[None], size=new, mode="bicubic", align_corners=False, antialias=smooth
    )
    return torch.cat([own, grid[0].flatten(1).mT])


# -- files -------------------------------------------------------------------------------------------------


def found(directory: Path | str) -> Path:
    """The folder of a checkpoint: this one, or of what `huggingface_hub` fetches by this name."""
    return Path(directory) if Path(directory).is_dir() else _fetched(str(directory))


def read(folder: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Config and tensors of a checkpoint."""
    config = _json(folder / "config.json")
    if config.get("model_type") not in LAYOUTS:
        raise ValueError(
            f"`model_type` of config.json must be one of {', '.join(LAYOUTS)} (DINO's is vit); got "
            f"{config.get('model_type')!r}. Other models have other parts, and cannot be read."
        )
    return config, _tensors(folder)


def _fetched(name: str) -> Path:
    if name.count("/") != 1 or name.startswith((".", "/", "~")):
        raise FileNotFoundError(
            f"`directory` must be a folder with config.json and model.safetensors, as `save_pretrained` "
            f"leaves it, or a name such as 'facebook/dino-vits16'; there is no folder {name!r}."
        )
    try:
        from huggingface_hub import snapshot_download
    except ImportError as error:
        raise ImportError(
            f"to fetch {name!r}, install huggingface_hub: `python -m pip install huggingface_hub`. A folder "
            "that holds the checkpoint already needs nothing."
        ) from error
    try:
        return Path(snapshot_download(name, allow_patterns=list(FILES)))
    except (OSError, ValueError) as error:
        raise FileNotFoundError(
            f"{name!r} is no folder here, and could not be fetched ({error}). Fetch it elsewhere, and give "
            "the folder."
        ) from error


def _json(path: Path) -> dict[str, Any]:
    if not path.exists():
        raise FileNotFoundError(
            f"there is no {path.name} in {path.parent.name}. Save the model with `save_pretrained`."
        )
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path.name} is no JSON ({error}). Get the file again.") from error


def _tensors(folder: Path) -> dict[str, Tensor]:
    """All of the file, in float32 or float64."""
    path = next((folder / name for name in FILES[2:] if (folder / name).exists()), None)
    if path is None:
        raise FileNotFoundError(
            f"there is neither model.safetensors nor pytorch_model.bin in {folder.name}. Of a model in "
            "several files, save it again with `save_pretrained(..., max_shard_size='100GB')`."
        )
    try:
        found = load_file(path) if path.suffix == ".safetensors" else torch.load(path, weights_only=True)
    except (SafetensorError, RuntimeError, EOFError, pickle.UnpicklingError) as error:
        raise ValueError(f"{path.name} is damaged ({error}). Get the file again.") from error
    kept = {torch.float64: torch.float64}
    return {name: tensor.to(kept.get(tensor.dtype, torch.float32)) for name, tensor in found.items()}


def colours(
    folder: Path, mean: Real | Sequence[Real] | None, std: Real | Sequence[Real] | None
) -> dict[str, Real | Sequence[Real]]:
    """What images are freed of: as said, else as the folder's preprocessor_config.json has it."""
    said = {name: number for name, number in (("mean", mean), ("std", std)) if number is not None}
    path = folder / "preprocessor_config.json"
    if not path.exists():
        if len(said) < 2:
            warnings.warn(
                f"there is no {path.name} in {folder.name}: colours are taken as less 0.5 and over 0.5, as "
                "those of the first ViT. If the model was trained on others, say `mean=` and `std=`.",
                stacklevel=3,
            )
        return said
    told = _json(path)
    if not told.get("do_normalize", True):
        return {"mean": 0.0, "std": 1.0} | said
    return {name: told[f"image_{name}"] for name in ("mean", "std") if f"image_{name}" in told} | said


# -- names and shapes --------------------------------------------------------------------------------------


def _theirs(name: str, kind: str, gated: bool, tensors: Mapping[str, Tensor]) -> str:
    """The name on disk of a parameter here."""
    if name in OUTER:
        return OUTER[name]
    module, _, last = name.rpartition(".")
    if name.startswith("blocks."):
        _, number, part = module.split(".", 2)
        parts = OLDER_PARTS if kind in ("vit", "deit") else GATED_PARTS if gated else NEWER_PARTS
        return f"encoder.layer.{number}.{parts[part]}.{'lambda1' if last == 'factor' else last}"
    if module == "distillation_head":
        return f"distillation_classifier.{last}"
    if module == "head":
        return f"cls_classifier.{last}" if "cls_classifier.weight" in tensors else f"classifier.{last}"
    return f"{OUTER[module]}.{last}"


def _shaped(name: str, theirs: str, tensor: Tensor, ours: Tensor, gated: bool) -> Tensor:
    """A tensor as it is kept here: tokens without axes of size 1, the gate apart from what it gates."""
    if name in ("cls_token", "distillation_token", "register_tokens", "positions"):
        tensor = tensor[0] if tensor.ndim == 3 and len(tensor) == 1 else tensor
        tensor = tensor[0] if tensor.ndim > ours.ndim and len(tensor) == 1 else tensor
    elif gated and name.rpartition(".")[0].endswith((".gate", ".up")):
        tensor = tensor.chunk(2)[0 if ".gate." in name else 1]
    if tensor.shape != ours.shape:
        raise ValueError(
            f"{theirs!r} of the checkpoint has shape {tuple(tensor.shape)}, where config.json asks for "
            f"{tuple(ours.shape)}. Is config.json that of another model?"
        )
    return tensor


def _missing(name: str, tensors: Mapping[str, Tensor]) -> str:
    if any(".q_proj." in there for there in tensors):
        return (
            f"the checkpoint lacks {name!r}: its names are those of `transformers` in memory. Write it with "
            "`model.save_pretrained(...)`, not `torch.save(model.state_dict(), ...)`."
        )
    return (
        f"the checkpoint lacks {name!r}, which its config.json asks for. Get the file again, or the "
        "config.json that belongs to it."
    )


def _pool(heads: Sequence[str], newer: bool) -> str:
    if "cls_classifier.weight" in heads:
        return "cls_and_distilled"
    return "cls_and_mean" if newer and heads else "cls"


def _names(given: Mapping[str, str] | None, count: int) -> int | list[str]:
    """The classes' names, if there is one for each."""
    named = {int(number): name for number, name in (given or {}).items()}
    return [named[number] for number in range(count)] if sorted(named) == list(range(count)) else count
