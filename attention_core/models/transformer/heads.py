"""Heads one by one: named by part, layer and number, and taken out."""

from collections.abc import Iterable

import torch
from torch import nn

PARTS = ("encoder", "decoder", "cross")
Head = tuple[str, int, int]  # part, layer, head, both counted from 0


def checked_heads(heads: Iterable[Head], layers: int, count: int) -> list[Head]:
    """Require heads that a transformer of so many layers, of `count` heads each, has."""
    found = []
    for head in heads:
        if not (isinstance(head, tuple) and len(head) == 3):
            raise TypeError(
                f"`heads` must hold (part, layer, head) each; got {head!r}. One head is a list of one: "
                '[("cross", 0, 3)].'
            )
        part, layer, number = head
        if part not in PARTS:
            raise ValueError(f"`heads` must name a part of {', '.join(PARTS)}; got {part!r}.")
        for name, value, size in (("layer", layer, layers), ("head", number, count)):
            if isinstance(value, bool) or not isinstance(value, int) or value not in range(size):
                raise ValueError(
                    f"`heads` must name a {name} from 0 to {size - 1}; got {value!r} in {head!r}."
                )
        found.append(head)
    return found


@torch.no_grad()
def silence(model: nn.Module, heads: Iterable[Head]) -> None:
    """Set the columns of $W^O$ by which these heads enter the sum to zero, in the model itself."""
    for part, layer, head in heads:
        stack = model.encoder if part == "encoder" else model.decoder
        block = stack.layers[layer]
        attention = block.cross if part == "cross" else block.attention
        size = attention.width // attention.heads
        attention.to_output.weight[:, head * size : (head + 1) * size] = 0
