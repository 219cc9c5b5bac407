"""Layouts: where vision transformers keep their parts, ours and those of `transformers`."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from attention_core.models.vit import ViT

BACKBONES = {  # classifiers of `transformers`, and the attribute under which each keeps its transformer
    "ViTForImageClassification": "vit",
    "DeiTForImageClassification": "deit",
    "DeiTForImageClassificationWithTeacher": "deit",
    "Dinov2ForImageClassification": "dinov2",
    "Dinov2WithRegistersForImageClassification": "dinov2_with_registers",
}


class Feed(NamedTuple):
    """The linear layers of a block's network: into it, into its gate if it has one, and out of it."""

    up: nn.Module
    gate: nn.Module | None
    down: nn.Module


@dataclass(frozen=True, eq=False)
class Layout:
    """The parts of a pre-norm vision transformer, block by block from the image to the logits."""

    model: nn.Module
    blocks: tuple[nn.Module, ...]
    norms: tuple[nn.Module, ...]  # each block's first norm
    attentions: tuple[nn.Module, ...]  # each gives output and weights, in a tuple
    queries: tuple[nn.Module, ...]  # the projections: (batch, n, width)
    keys: tuple[nn.Module, ...]
    values: tuple[nn.Module, ...]
    feeds: tuple[Feed, ...]
    norm: nn.Module  # the last one
    read: Callable[[Tensor], Tensor]  # tokens (batch, n, width) as they leave a block -> logits
    logits: Callable[[Tensor], Tensor]  # images -> logits
    grid: tuple[int, int]  # rows and columns of patches
    prefix: int  # tokens before the patches
    classes: int  # 0: a model without a head
    configs: tuple = ()  # of `transformers`: they choose how the softmax is computed

    def run(self, tokens: Float[Tensor, "batch n width"], first: int = 0) -> Float[Tensor, "batch n width"]:
        """What the blocks from number `first` on make of tokens."""
        for block in self.blocks[first:]:
            tokens = block(tokens)
        return tokens

    @contextmanager
    def opened(self) -> Iterator[None]:
        """Explicit softmax, no dropout and gradients, inside only: everything is put back, come what may."""
        training = [(module, module.training) for module in self.model.modules()]
        softmaxes = [(config, config._attn_implementation) for config in self.configs]
        try:
            self.model.eval()
            for config in self.configs:
                config._attn_implementation = "eager"
            with torch.inference_mode(False), torch.enable_grad():
                yield
        finally:
            for module, flag in training:
                module.training = flag
            for config, softmax in softmaxes:
                config._attn_implementation = softmax

    def chosen(self, layers: int | Sequence[int] | None, default: Sequence[int]) -> list[int]:
        """Numbers of layers, from 0, ascending; -1 is the last. `default` where `layers` is None."""
        if layers is None:
            layers = default
        given = [layers] if isinstance(layers, int | str) else list(layers)
        depth = len(self.blocks)
        for layer in given:
            if not isinstance(layer, int) or isinstance(layer, bool):
                raise TypeError(
                    f"`layers` must be whole numbers; got {layer!r}. Count from 0, or from -1 backwards."
                )
            if not -depth <= layer < depth:
                raise ValueError(
                    f"`layers` must name layers that exist: this model has {depth}, 0 to {depth - 1} (or -1 "
                    f"to {-depth} from the end); got {layer}."
                )
        found = sorted(layer % depth for layer in given)
        if not found or len(set(found)) < len(found):
            raise ValueError(f"`layers` must name at least one layer, and none twice; got {layers!r}.")
        return found


def layout(model: nn.Module, images: Float[Tensor, "batch channels height width"]) -> Layout:
    """The parts of our `ViT`, or of an image classifier of `transformers`: ViT, DeiT, DINOv2."""
    if isinstance(model, ViT):
        return _ours(model)
    for base in type(model).__mro__:
        if base.__module__.startswith("transformers.") and base.__name__ in BACKBONES:
            return _theirs(model, base.__name__, images)
    raise TypeError(
        f"`model` must be a `models.ViT`, or one of `transformers`: {', '.join(BACKBONES)}; got "
        f"{type(model).__name__}. Unwrap a compiled or parallel model; a bare encoder needs its classifier."
    )


def _ours(model: ViT) -> Layout:
    blocks = tuple(model.blocks)
    return Layout(
        model=model,
        blocks=blocks,
        norms=tuple(block.norm1 for block in blocks),
        attentions=tuple(block.attention for block in blocks),
        queries=tuple(block.attention.query for block in blocks),
        keys=tuple(block.attention.key for block in blocks),
        values=tuple(block.attention.value for block in blocks),
        feeds=tuple(Feed(block.mlp.up, getattr(block.mlp, "gate", None), block.mlp.down) for block in blocks),
        norm=model.norm,
        read=model.classify,
        logits=model,
        grid=model.grid,
        prefix=model.prefix,
        classes=len(model.classes),
    )


def _theirs(model: nn.Module, family: str, images: Tensor) -> Layout:
    backbone = getattr(model, BACKBONES[family])
    blocks = tuple(backbone.encoder.layer if hasattr(backbone, "encoder") else backbone.layers)
    attentions = tuple(block.attention for block in blocks)
    if not all(hasattr(attention, "q_proj") for attention in attentions):
        raise ValueError(
            "`model` keeps its attention as an older `transformers` did; its parts are known from version 5 "
            'on. Use `pip install "transformers>=5"`, or read the checkpoint with '
            "`models.ViT.from_huggingface`."
        )
    patch, (height, width) = backbone.embeddings.patch_embeddings.patch_size, images.shape[-2:]
    down, across = (patch, patch) if isinstance(patch, int) else patch
    grid = (height // down, width // across)
    return Layout(
        model=model,
        blocks=blocks,
        norms=tuple(getattr(block, "norm1", getattr(block, "layernorm_before", None)) for block in blocks),
        attentions=attentions,
        queries=tuple(attention.q_proj for attention in attentions),
        keys=tuple(attention.k_proj for attention in attentions),
        values=tuple(attention.v_proj for attention in attentions),
        feeds=tuple(_feed(block.mlp) for block in blocks),
        norm=backbone.layernorm,
        read=lambda tokens: _their_head(model, family, backbone.layernorm(tokens)),
        logits=lambda images: model(pixel_values=images).logits,
        grid=grid,
        prefix=_their_prefix(family, model.config),
        classes=model.config.num_labels,
        configs=tuple({id(attention.config): attention.config for attention in attentions}.values()),
    )


def _feed(mlp: nn.Module) -> Feed:
    if hasattr(mlp, "gate_proj"):
        return Feed(mlp.up_proj, mlp.gate_proj, mlp.down_proj)
    return Feed(mlp.fc1, None, mlp.fc2)


def _their_prefix(family: str, config) -> int:
    """CLS, and the distillation token or the registers."""
    return 1 + family.startswith("DeiT") + getattr(config, "num_register_tokens", 0)


def _their_head(model: nn.Module, family: str, tokens: Tensor) -> Tensor:
    """What the classifier makes of tokens after the last norm: of CLS, and in some families of others too."""
    if family.endswith("WithTeacher"):
        return (model.cls_classifier(tokens[:, 0]) + model.distillation_classifier(tokens[:, 1])) / 2
    if family.startswith("Dinov2"):
        patches = tokens[:, _their_prefix(family, model.config) :]
        return model.classifier(torch.cat([tokens[:, 0], patches.mean(1)], dim=1))
    return model.classifier(tokens[:, 0])
