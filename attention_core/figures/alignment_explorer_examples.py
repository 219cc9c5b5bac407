"""Sentence pairs that the alignment explorer can show, checked; also what a trained model makes of one."""

from dataclasses import dataclass

import numpy as np
import torch

from attention_core.figures import base

MOST_WORDS = 16
PROVENANCE = {
    "classic": "Weights from the classic worked example.",
    "illustrative": "Weights set by hand to illustrate, not learned.",
}


@dataclass(frozen=True)
class Example:
    """One sentence pair, with the shape of `datasets.WorkedAlignment`; made by `from_weights` and others."""

    name: str
    source: tuple[str, ...]
    target: tuple[str, ...]
    weights: np.ndarray
    scores: np.ndarray
    kind: str = "own"
    note: str = "Weights as given."


def provenance(example) -> str:
    return PROVENANCE.get(example.kind) or str(example.note)


def again(example) -> str:
    """What a temperature does to the rows: a translation that a model has made is not made anew."""
    return "every row; the translation is kept" if example.kind == "learned" else "every row"


def check(example) -> None:
    """Raise unless words and scores fit together; the message names the argument."""
    for side in ("source", "target"):
        words = getattr(example, side)
        if isinstance(words, str) or not 1 <= len(words) <= MOST_WORDS:
            raise ValueError(
                f"`{side}` of {example.name!r} must be a list of 1 to {MOST_WORDS} words; split the sentence"
            )
    shape = (len(example.target), len(example.source))
    scores = base.finite("scores", example.scores, 2)
    if scores.shape != shape:
        raise ValueError(
            f"`weights` of {example.name!r} must have one row a target word and one column a source word, "
            f"{shape}; got {scores.shape}. Transpose them?"
        )
    if np.isneginf(scores).all(axis=1).any():
        raise ValueError(f"`scores` of {example.name!r} has a row in which no word may be read")


def learned(translator, sentence: str, note: str) -> Example:
    """Words and weights of one translation; the scores are the weights' logarithms."""
    if not isinstance(sentence, str):
        raise TypeError(f"`sentences` must be texts; got {type(sentence).__name__}: {sentence!r:.60}")
    made = translator.translate(sentence)
    if made.weights is None:
        raise ValueError(
            "`translator` has no attention, so there is nothing to draw; load another, such as "
            "`models.load('translator-additive')`"
        )
    weights = base.finite("weights", torch.as_tensor(made.weights, dtype=torch.float64).numpy(), 2)
    if not np.allclose(weights.sum(axis=1), 1, atol=1e-3):
        raise ValueError(
            "`translator` must spend each row's whole attention, and the rows of this one do not sum to 1 "
            "(local-p leaves them so); draw its weights with `plots.heatmap`"
        )
    with np.errstate(divide="ignore"):  # a weight of 0 is a score of minus infinity
        scores = np.log(weights)
    example = Example(sentence, tuple(made.source), tuple(made.target), weights, scores, "learned", note)
    check(example)
    return example


def sourced(translator) -> tuple[object, str]:
    """The model, loaded if only its name was given, and the sentence that says what its weights come from."""
    if not isinstance(translator, str):
        return translator, f"Weights learned by a translator with {translator.attention} attention."
    from attention_core import models  # only here are they needed

    recipe = models.card(translator)["recipe"]
    taught = "on gold links too" if recipe["guided"] else "on sentences and translations alone"
    told = f"Weights learned by {translator} (seed {recipe['seed']}), trained {taught}."
    return models.load(translator), told


def answered(example: Example) -> str:
    """What the box says after a sentence: the translation, and what the model did not know."""
    from attention_core import datasets

    text = datasets.detokenize([word for word in example.target if word != "</s>"], "fr")
    unknown = example.source.count("<unk>")
    words = "1 word is" if unknown == 1 else f"{unknown} words are"
    return text + (f" ({words} unknown to the model: <unk>)" if unknown else "")
