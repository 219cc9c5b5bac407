"""Capture: one forward pass that keeps what a model computed on its way, and leaves no trace."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from attention_core.explain.layouts import Layout, layout


@dataclass(frozen=True, eq=False)
class Captured:
    """What one forward pass computed, on the graph: n tokens, of which the first `prefix` are no patches."""

    images: Float[Tensor, "batch channels h w"]  # a copy, from which all else was computed
    embedded: Float[Tensor, "batch n width"]  # what the first block reads
    normed: tuple[Float[Tensor, "batch n width"], ...]  # what each block's first norm gives its attention
    queries: tuple[Float[Tensor, "batch n width"], ...]  # projected, the heads side by side
    keys: tuple[Float[Tensor, "batch n width"], ...]
    values: tuple[Float[Tensor, "batch n width"], ...]
    weights: tuple[Float[Tensor, "batch heads n n"], ...]  # rows are queries and sum to 1
    attended: tuple[Float[Tensor, "batch n width"], ...]  # what attention gives, before scale and sum
    tokens: tuple[Float[Tensor, "batch n width"], ...]  # what each block gives
    final: Float[Tensor, "batch n width"]  # after the last norm
    logits: Float[Tensor, "batch outputs"]
    prefix: int  # tokens before the patches: CLS, distillation, registers
    grid: tuple[int, int]  # rows and columns of patches

    def as_map(self, scores: Float[Tensor, "batch n"]) -> Float[Tensor, "batch rows columns"]:
        """Scores of all tokens, as a map of the patches' own."""
        return scores[:, self.prefix :].unflatten(1, self.grid)

    def stacked(self) -> Float[Tensor, "batch layers heads n n"]:
        """The weights of all layers in one tensor."""
        return torch.stack(self.weights, dim=1)


def capture(model: nn.Module, images: Float[Tensor, "batch channels height width"]) -> Captured:
    """Run the model once, and keep what it computed.

    `model` is a `models.ViT`, or an image classifier of `transformers` (ViT, DeiT, DINOv2); `images` are as
    the model takes them: in [0, 1] for ours, normalised pixel values for theirs.

    Everything hangs on one graph that begins at `.images`, so `torch.autograd.grad` reaches it even where no
    parameter wants gradients, or the caller forbade them. Inside, attention computes its softmax explicitly
    and dropout is off. Hooks, training mode and the choice of softmax are put back at the end, also after an
    error; parameters and their `.grad` are never touched.
    """
    check_images(images)
    return captured(layout(model, images), images)


def captured(parts: Layout, images: Tensor) -> Captured:
    """`capture` of a model whose layout is known."""
    with parts.opened():
        images = images.detach().clone().requires_grad_()
        with recorded(parts) as seen:
            logits = parts.logits(images)
    weights = tuple(seen["weights"])
    _check_weights(weights, parts)
    names = ("normed", "queries", "keys", "values", "attended", "tokens")
    return Captured(
        images=images,
        embedded=seen["embedded"][0],
        weights=weights,
        **{name: tuple(seen[name]) for name in names},
        final=seen["final"][0],
        logits=logits,
        prefix=parts.prefix,
        grid=parts.grid,
    )


@contextmanager
def recorded(parts: Layout) -> Iterator[dict[str, list]]:
    """Lists that fill, layer after layer, while the model runs inside."""
    seen = {name: [] for name in ("embedded", "weights", "attended", "final")}
    handles = []

    def keep(name: str, modules: tuple[nn.Module, ...]) -> None:
        seen[name] = []
        for module in modules:
            handles.append(module.register_forward_hook(lambda *call: seen[name].append(call[2])))

    def attention(module: nn.Module, inputs: tuple, output: tuple) -> None:
        seen["attended"].append(output[0])
        seen["weights"].append(output[1])

    try:
        entrance = parts.blocks[0]
        handles.append(entrance.register_forward_pre_hook(lambda _, x: seen["embedded"].append(x[0])))
        for module in parts.attentions:
            handles.append(module.register_forward_hook(attention))
        keep("normed", parts.norms)
        keep("queries", parts.queries)
        keep("keys", parts.keys)
        keep("values", parts.values)
        keep("tokens", parts.blocks)
        keep("final", (parts.norm,))
        yield seen
    finally:
        for handle in handles:
            handle.remove()


def check_images(images: Tensor) -> None:
    """Require a batch of images; size and range are the model's affair, whose errors say what it takes."""
    if not isinstance(images, Tensor) or not images.is_floating_point():
        got = getattr(images, "dtype", type(images).__name__)
        raise TypeError(f"`images` must be a float tensor; got {got}. Use `torch.as_tensor(images).float()`.")
    if images.ndim != 4 or len(images) == 0:
        raise ValueError(
            f"`images` must have shape (batch, channels, height, width), at least one of them; got "
            f"{tuple(images.shape)}. A single image is a batch of one: `images[None]`."
        )


def _check_weights(weights: tuple[Tensor | None, ...], parts: Layout) -> None:
    hidden = [layer for layer, matrix in enumerate(weights) if matrix is None]
    if hidden or len(weights) != len(parts.blocks):
        raise ValueError(
            f"`model` must show its attention weights; layers {hidden or 'all'} gave none, as fused "
            "attention never writes them down. Choose an attention that does: of `transformers`, "
            '`attn_implementation="eager"`; of a `models.ViT`, its own.'
        )
