"""The subject of an explanation: a model, images, and the one number of each that is to be explained."""

from collections.abc import Callable
from functools import cached_property

import torch
from jaxtyping import Float
from torch import Tensor

from attention_core.explain.capture import Captured, captured
from attention_core.explain.layouts import Layout
from attention_core.explain.targets import Score


class Subject:
    """What a method of `METHODS` is given, inside `layout.opened()`. Scores are the target's, (batch,)."""

    def __init__(
        self, layout: Layout, images: Float[Tensor, "batch channels height width"], target: Score | None
    ):
        self.layout, self.images, self.target = layout, images.detach(), target
        self.warnings: list[str] = []

    @cached_property
    def captured(self) -> Captured:
        return captured(self.layout, self.images)

    @cached_property
    def score(self) -> Float[Tensor, " batch"]:
        """Of the images as they are, on the graph of `captured`."""
        return self.target(self.captured.logits, self.captured.final[:, 0])

    @property
    def patches(self) -> int:
        rows, columns = self.layout.grid
        return rows * columns

    def of_tokens(self, tokens: Float[Tensor, "batch n width"], first: int = 0) -> Float[Tensor, " batch"]:
        """Of tokens that go into block number `first`; after the last one, of tokens as it leaves them."""
        tokens = self.layout.run(tokens, first)
        return self.target(self.layout.read(tokens), self.layout.norm(tokens[:, 0]))

    def of_images(self, images: Float[Tensor, "batch channels height width"]) -> Float[Tensor, " batch"]:
        """Of other images, one for each."""
        last = []
        handle = self.layout.norm.register_forward_hook(lambda *call: last.append(call[2]))
        try:
            logits = self.layout.logits(images)
        finally:
            handle.remove()
        return self.target(logits, last[0][:, 0])

    def of_normed(self, layer: int) -> Callable[[Tensor], Float[Tensor, " batch"]]:
        """Of other tokens in place of those that a block's first norm gives, as a function of them."""
        came = self.captured.embedded if layer == 0 else self.captured.tokens[layer - 1]
        came = came.detach()

        def score(normed: Float[Tensor, "batch n width"]) -> Float[Tensor, " batch"]:
            handle = self.layout.norms[layer].register_forward_hook(lambda *_: normed)
            try:
                return self.of_tokens(came, layer)
            finally:
                handle.remove()

        return score

    def without_gradients(self, score: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
        """The same, where nothing is to be differentiated: half the work and less memory."""

        def quick(x: Tensor) -> Tensor:
            with torch.no_grad():
                return score(x)

        return quick
