"""Data whose truth is known: the book's worked alignments."""

from attention_core.datasets.worked import WorkedAlignment, worked_alignments

__all__ = ["WorkedAlignment", "worked_alignments"]
