"""The worked alignments: every number a reader will check by hand."""

import dataclasses

import numpy as np
import pytest
import torch

from attention_core import normalizers
from attention_core.datasets import worked_alignments

ALIGNMENTS = worked_alignments()
each_alignment = pytest.mark.parametrize("alignment", ALIGNMENTS.values(), ids=ALIGNMENTS.keys())


@each_alignment
def test_rows_sum_to_exactly_one(alignment):
    assert alignment.weights.sum(axis=-1).tolist() == [1.0] * len(alignment.target)


@each_alignment
def test_weights_are_target_by_source_in_float64(alignment):
    assert alignment.weights.shape == (len(alignment.target), len(alignment.source))
    assert alignment.weights.dtype == np.float64


@each_alignment
def test_softmax_of_the_scores_gives_the_weights_back(alignment):
    weights = normalizers.softmax(torch.from_numpy(alignment.scores))
    np.testing.assert_allclose(weights, alignment.weights, atol=1e-15)


@each_alignment
def test_an_alignment_cannot_be_changed(alignment):
    with pytest.raises(ValueError, match="read-only"):
        alignment.weights[0, 0] = 0
    with pytest.raises(dataclasses.FrozenInstanceError):
        alignment.kind = "learned"


def test_i_love_you_is_the_textbook_matrix():
    alignment = ALIGNMENTS["I love you"]
    assert alignment.source == ("I", "love", "you")
    assert alignment.target == ("je", "t’", "aime")
    assert alignment.weights.tolist() == [[0.94, 0.02, 0.04], [0.11, 0.01, 0.88], [0.03, 0.95, 0.02]]
    assert alignment.kind == "classic"


def test_the_object_moves_before_the_verb():
    assert ALIGNMENTS["I love you"].weights.argmax(axis=-1).tolist() == [0, 2, 1]


def test_one_french_verb_attends_to_both_halves_of_the_english_one():
    alignment = ALIGNMENTS["look it up"]
    assert [alignment.source[j] for j in np.argsort(alignment.weights[0])[::-1][:2]] == ["look", "up"]


def test_what_was_set_by_hand_says_so():
    alignment = ALIGNMENTS["look it up"]
    assert alignment.kind == "illustrative"
    assert "set by hand, not learned" in alignment.note.lower()
