"""Data whose truth is known: worked alignments, generated sentence pairs with gold links, images with masks.

`digits` and `photographs` are real, and come with scikit-learn.
"""

from attention_core.datasets.parallel import (
    Corpus,
    Pair,
    detokenize,
    fingerprint,
    read_pairs,
    showcase,
    tokenize,
    translation,
)
from attention_core.datasets.real import Digits, Photograph, digits, photographs
from attention_core.datasets.shapes import SHAPE_CLASSES, Scenes, shapes
from attention_core.datasets.worked import WorkedAlignment, worked_alignments

__all__ = [
    "SHAPE_CLASSES",
    "Corpus",
    "Digits",
    "Pair",
    "Photograph",
    "Scenes",
    "WorkedAlignment",
    "detokenize",
    "digits",
    "fingerprint",
    "photographs",
    "read_pairs",
    "shapes",
    "showcase",
    "tokenize",
    "translation",
    "worked_alignments",
]
