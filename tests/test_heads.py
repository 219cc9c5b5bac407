"""Heads: split and merge undo each other; groups repeat neighbours, never tile."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from attention_core import heads

counts = st.integers(1, 7)


@given(counts, counts, counts)
def test_merge_undoes_split(n, count, width):
    x = torch.randn(2, n, count * width)
    assert heads.merge(heads.split(x, count)).equal(x)


@pytest.mark.usefixtures("unchecked")
def test_a_numpy_integer_counts_heads():
    x = torch.randn(2, 3, 4)
    assert heads.split(x, np.int64(2)).equal(heads.split(x, 2))


def test_a_head_gets_neighbouring_features():
    x = torch.arange(4.0).expand(1, 3, 4)
    assert heads.split(x, 2)[0, 0, 0].tolist() == [0.0, 1.0]
    assert heads.split(x, 2)[0, 1, 0].tolist() == [2.0, 3.0]


def test_heads_are_axis_minus_three():
    assert heads.split(torch.randn(5, 2, 3, 8), 4).shape == (5, 2, 4, 3, 2)


def test_groups_repeat_neighbours_and_do_not_tile():
    x = torch.tensor([0.0, 1.0]).reshape(1, 2, 1, 1)
    assert heads.repeat_groups(x, 2).flatten().tolist() == [0, 0, 1, 1]


def test_groups_repeat_as_torch_enable_gqa_does():
    q, k, v = (torch.randn(2, count, 5, 4, dtype=torch.float64) for count in (6, 2, 2))
    expected = torch.nn.functional.scaled_dot_product_attention(q, k, v, enable_gqa=True)
    repeated = (heads.repeat_groups(x, 3) for x in (k, v))
    torch.testing.assert_close(torch.nn.functional.scaled_dot_product_attention(q, *repeated), expected)
