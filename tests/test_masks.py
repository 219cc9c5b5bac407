"""Masks: True = may attend, both alignments, and torch's opposite convention."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from attention_core import masks, reference

sizes = st.integers(0, 7)
alignments = st.sampled_from(["lower_right", "upper_left"])


def shift(n, m, align):
    return m - n if align == "lower_right" else 0


@given(sizes, sizes, alignments)
def test_causal_is_its_reference(n, m, align):
    assert masks.causal(n, m, align).tolist() == reference.causal(n, m, shift(n, m, align)).tolist()


@given(sizes, sizes, st.integers(1, 9), alignments, st.booleans())
def test_window_is_its_reference(n, m, size, align, causal):
    expected = reference.window(n, m, size, shift(n, m, align), causal)
    assert masks.window(n, m, size, align, causal=causal).tolist() == expected.tolist()


@given(st.lists(st.integers(0, 2), max_size=7), st.lists(st.integers(0, 2), max_size=7))
def test_document_is_its_reference(ids, key_ids):
    ids, key_ids = np.array(ids, dtype=np.int64), np.array(key_ids, dtype=np.int64)
    got = masks.document(torch.from_numpy(ids), torch.from_numpy(key_ids))
    assert got.tolist() == reference.document(ids, key_ids).tolist()


@given(sizes, sizes, alignments, st.data())
def test_prefix_is_its_reference(n, m, align, data):
    length = data.draw(st.integers(0, m))
    expected = reference.prefix(n, m, length, shift(n, m, align))
    assert masks.prefix(n, m, length, align).tolist() == expected.tolist()


def test_lower_right_lets_the_newest_query_see_every_key():
    assert masks.causal(1, 4, align="lower_right").tolist() == [[True] * 4]


def test_upper_left_lets_the_first_query_see_the_first_key_alone():
    assert masks.causal(1, 4, align="upper_left").tolist() == [[True, False, False, False]]


def test_lower_right_with_fewer_keys_leaves_the_first_queries_empty():
    assert masks.causal(3, 1, align="lower_right").tolist() == [[False], [False], [True]]


def test_square_causal_needs_no_alignment():
    assert masks.causal(4).equal(torch.ones(4, 4, dtype=torch.bool).tril())


@pytest.mark.parametrize("size", [1, 2, 3])
def test_a_window_of_w_attends_exactly_w_keys(size):
    assert masks.window(8, size=size).sum(-1)[size - 1 :].tolist() == [size] * (9 - size)


def test_a_window_of_one_sees_itself_alone():
    assert masks.window(5, 5, 1).equal(torch.eye(5, dtype=torch.bool))


@given(st.integers(1, 7), st.integers(1, 7), alignments)
def test_a_window_as_long_as_the_keys_is_causal(n, m, align):
    assert masks.window(n, m, max(n, m), align).equal(masks.causal(n, m, align))


def test_a_two_sided_window_is_symmetric():
    mask = masks.window(6, size=3, causal=False)
    assert mask.equal(mask.T)
    assert mask[3].tolist() == [False, True, True, True, True, True]


def test_padding_allows_the_keys_before_each_length():
    expected = [[[True, False, False]], [[True, True, True]], [[False, False, False]]]
    assert masks.padding(torch.tensor([1, 3, 0]), 3).tolist() == expected


def test_padding_of_lengths_with_a_heads_axis_broadcasts_over_heads():
    assert masks.padding(torch.tensor([1, 3])[:, None], 3).shape == (2, 1, 1, 3)


def test_documents_are_blocks_and_may_return():
    expected = [[1, 1, 0, 1], [1, 1, 0, 1], [0, 0, 1, 0], [1, 1, 0, 1]]
    assert masks.document(torch.tensor([7, 7, 2, 7])).int().tolist() == expected


def test_document_ids_of_queries_and_keys_may_differ_in_length():
    mask = masks.document(torch.tensor([[0, 1], [5, 5]]), torch.tensor([[1, 0, 0], [4, 5, 6]]))
    assert mask.int().tolist() == [[[0, 1, 1], [1, 0, 0]], [[0, 1, 0], [0, 1, 0]]]


def test_packed_documents_are_read_as_if_each_were_alone():
    mask = masks.document(torch.tensor([0, 0, 0, 1, 1])) & masks.causal(5)
    assert mask.equal(torch.block_diag(masks.causal(3), masks.causal(2)).bool())


def test_document_ids_with_a_heads_axis_broadcast_over_heads():
    assert masks.document(torch.zeros(2, 1, 3, dtype=torch.int32)).shape == (2, 1, 3, 3)


def test_a_prefix_of_two_is_visible_to_the_first_query():
    expected = [[1, 1, 0, 0], [1, 1, 0, 0], [1, 1, 1, 0], [1, 1, 1, 1]]
    assert masks.prefix(4, 4, 2).int().tolist() == expected


@given(sizes, sizes, alignments)
def test_a_prefix_of_none_is_causal_and_of_all_hides_nothing(n, m, align):
    assert masks.prefix(n, m, 0, align).equal(masks.causal(n, m, align))
    assert masks.prefix(n, m, m, align).all()


def test_prefixes_of_different_lengths_are_causal_or_padding():
    mask = masks.causal(4) | masks.padding(torch.tensor([1, 3]), 4)
    assert mask.equal(torch.stack([masks.prefix(4, 4, 1), masks.prefix(4, 4, 3)]))


def test_masks_combine_by_and():
    mask = masks.causal(3) & masks.padding(torch.tensor([2]), 3)
    assert mask.int().tolist() == [[[1, 0, 0], [1, 1, 0], [1, 1, 0]]]


def test_torch_mha_true_becomes_false():
    assert masks.from_torch_mha(torch.tensor([True, False])).tolist() == [False, True]


def test_torch_square_subsequent_mask_becomes_causal():
    assert masks.from_torch_mha(nn.Transformer.generate_square_subsequent_mask(4)).equal(masks.causal(4))


def test_from_torch_mha_does_not_modify_its_input():
    mask = torch.tensor([True, False])
    masks.from_torch_mha(mask)
    assert mask.tolist() == [True, False]
