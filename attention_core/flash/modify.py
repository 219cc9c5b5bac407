"""A tile's scores through the reader's `score_mod`, and the gradient back through it."""

from collections.abc import Callable

import torch
from torch import Tensor

from attention_core.flash.blocks import indices


def modify(
    score_mod: Callable[..., Tensor], scores: Tensor, b: int, h: int, rows: slice, cols: slice
) -> Tensor:
    """What `score_mod` makes of a tile of scaled scores, checked."""
    modified = score_mod(scores, *indices(b, h, rows, cols, scores.device))
    if not isinstance(modified, Tensor) or modified.shape != scores.shape:
        got = tuple(modified.shape) if isinstance(modified, Tensor) else type(modified).__name__
        raise ValueError(
            f"`score_mod` must return one score a pair, here a tensor of shape {tuple(scores.shape)}; got "
            f"{got}. "
            "Its first argument has that shape; `q_idx` is a column and `kv_idx` a row, which broadcast "
            "to it."
        )
    return modified.to(scores.dtype)


class Modified:
    """A tile's scores after `score_mod`, and the way back through it."""

    def __init__(self, score_mod, scores: Tensor, b: int, h: int, rows: slice, cols: slice):
        self.scores, self.result = scores, None
        if score_mod is not None:
            with torch.enable_grad():
                self.scores = scores.detach().requires_grad_()
                self.result = modify(score_mod, self.scores, b, h, rows, cols)

    def logits(self, unit: float) -> Tensor:
        """The scores to go on with, times `unit`, which without a `score_mod` they already are.

        They may be overwritten: no graph of `score_mod`'s holds this copy.
        """
        return self.scores if self.result is None else self.result.detach() * unit

    def pull_back(
        self, grad: Tensor, captured: tuple[Tensor, ...], sums: tuple[Tensor | None, ...]
    ) -> Tensor:
        """The gradient by the raw scores; that by `captured` is added to `sums`."""
        if self.result is None:
            return grad
        if not self.result.requires_grad:  # score_mod let go of its score
            return torch.zeros_like(grad)
        inputs = (self.scores, *captured)
        by_scores, *by_captured = torch.autograd.grad(self.result, inputs, grad, allow_unused=True)
        for total, part in zip(sums, by_captured, strict=True):
            if part is not None:
                total.add_(part)
        return torch.zeros_like(grad) if by_scores is None else by_scores
