"""Data whose truth is known: worked alignments, and generated sentence pairs with gold links."""

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
from attention_core.datasets.worked import WorkedAlignment, worked_alignments

__all__ = [
    "Corpus",
    "Pair",
    "WorkedAlignment",
    "detokenize",
    "fingerprint",
    "read_pairs",
    "showcase",
    "tokenize",
    "translation",
    "worked_alignments",
]
