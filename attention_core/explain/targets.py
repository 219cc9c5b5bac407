"""Targets: which number of a model's output an explanation is about."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

Score = Callable[[Tensor, Tensor], Tensor]  # logits and CLS token after the last norm -> (batch,)

FORMS = (
    "an index, a list or integer tensor of one index an image, a tuple (a, b) for the contrast f_a - f_b, a "
    "function of the logits, or a concept vector as wide as the model's tokens"
)


def score(target: Any, batch: int, classes: int) -> Score:
    r"""One number an image, $f$, as a function of logits and of the CLS token after the last norm.

    | `target` | $f$ |
    | --- | --- |
    | `c` | $f_c$, the logit of a class |
    | a list or integer tensor (batch,) | $f_{c_i}$, another class for each image i |
    | a tuple `(a, b)`, each of the two forms above | $f_a - f_b$: what speaks for a rather than b |
    | a function of logits (batch, classes) | what it gives, (batch,) |
    | a float tensor (width,) | $v \cdot z_{cls}$: how much the image is like a concept (Brocki et al. 2023) |

    `batch` images of a model with `classes` classes; with 0 it has no head, and there is nothing to index.
    """
    if isinstance(target, tuple):
        return _contrast(target, batch, classes)
    if isinstance(target, Tensor) and target.is_floating_point():
        return _concept(target)
    if callable(target):
        return lambda logits, _: _checked(target(logits), batch)
    index = _index(target, batch, classes)
    return lambda logits, _: logits.gather(1, index.to(logits.device)[:, None]).squeeze(1)


def _contrast(target: tuple, batch: int, classes: int) -> Score:
    if len(target) != 2:
        raise ValueError(
            f"`target` as a tuple is the contrast of two classes; got {len(target)} entries. One class an "
            "image is a list or a tensor."
        )
    one, other = (_index(part, batch, classes) for part in target)
    if (one == other).any():
        raise ValueError(
            f"`target` must contrast two different classes, as f_a - f_a is 0 everywhere; got {target!r}."
        )

    def score(logits: Tensor, _: Tensor) -> Tensor:
        rows = torch.arange(batch, device=logits.device)
        return logits[rows, one.to(logits.device)] - logits[rows, other.to(logits.device)]

    return score


def _concept(vector: Tensor) -> Score:
    if vector.ndim != 1:
        raise ValueError(
            f"`target` as a float tensor is one concept vector (width,); got shape {tuple(vector.shape)}. "
            "Average the CLS tokens of what shows the concept: `captured.final[:, 0].mean(0)`."
        )

    def score(logits: Tensor, cls: Tensor) -> Tensor:
        if len(vector) != cls.shape[1]:
            raise ValueError(
                f"`target` as a concept vector must be as wide as the tokens, {cls.shape[1]}; got "
                f"{len(vector)}. Indices of classes are integers: `target.long()`."
            )
        return cls @ vector.to(cls)

    return score


def _index(target: int | Sequence[int] | Tensor, batch: int, classes: int) -> Tensor:
    """One class an image, (batch,)."""
    if classes == 0:
        raise ValueError(
            "`target` names a class, but `model` has no classes. Give a concept vector, or a function of the "
            "features that the model gives."
        )
    given = target.tolist() if isinstance(target, Tensor) else target
    given = [given] * batch if isinstance(given, int) else given
    if not isinstance(given, Sequence) or any(not isinstance(c, int) or isinstance(c, bool) for c in given):
        raise TypeError(f"`target` must be {FORMS}; got {target!r}.")
    if len(given) != batch:
        raise ValueError(
            f"`target` must name one class for each of the {batch} images; got {len(given)}. One for all is "
            "an index alone."
        )
    wrong = sorted({c for c in given if not 0 <= c < classes})
    if wrong:
        raise ValueError(
            f"`target` must be one of the model's {classes} classes, 0 to {classes - 1}; got "
            f"{', '.join(map(str, wrong))}. With names: `model.classes.index(name)`."
        )
    return torch.tensor(given)


def _checked(scores: Any, batch: int) -> Tensor:
    if not isinstance(scores, Tensor) or scores.shape != (batch,):
        got = tuple(scores.shape) if isinstance(scores, Tensor) else type(scores).__name__
        raise ValueError(
            f"`target` as a function must give one number an image, shape ({batch},); got {got}. For "
            "instance `lambda logits: logits[:, 3].sigmoid()`."
        )
    return scores
