"""Errors teach: every mistake names the argument, what came, and the remedy. And shapes are checked."""

from functools import partial

import jaxtyping
import numpy as np
import pytest
import torch
from torch import nn

import attention_core
from attention_core import attend, heads, masks, normalizers, scores
from attention_core.multihead import MultiHeadAttention
from attention_core.pipeline import merge

Q, K, V = torch.zeros(2, 3, 4), torch.zeros(2, 5, 4), torch.zeros(2, 5, 6)
PART = attend(Q, K, V)
MODULE = MultiHeadAttention(4, 2)
SQUARE = torch.zeros(2, 3, 4)


def case(error, words, function, *arguments, **options):
    return pytest.param(error, words, partial(function, *arguments, **options), id=" ".join(words))


MISTAKES = [
    # attend
    case(
        TypeError,
        ["`mask`", "float32", "True = may attend", "`bias=`"],
        attend,
        Q,
        K,
        V,
        mask=torch.zeros(3, 5),
    ),
    case(TypeError, ["`mask`", "int64", "torch.bool"], attend, Q, K, V, mask=torch.ones(3, 5).long()),
    case(
        TypeError, ["`mask`", "ndarray", "torch.as_tensor"], attend, Q, K, V, mask=np.ones((3, 5), dtype=bool)
    ),
    case(TypeError, ["`bias`", "torch.bool", "`mask=`"], attend, Q, K, V, bias=torch.ones(3, 5).bool()),
    case(TypeError, ["`bias`", "int64", ".float()"], attend, Q, K, V, bias=torch.ones(3, 5).long()),
    case(TypeError, ["`query`", "ndarray", "torch.as_tensor"], attend, Q.numpy(), K, V),
    case(TypeError, ["`value`", "list", "torch.as_tensor"], attend, Q, K, [[1.0]]),
    case(TypeError, ["`key`", "int64", "`key.float()`"], attend, Q, K.long(), V),
    case(TypeError, ["`query` and `value`", "float64", "`value.to(query.dtype)`"], attend, Q, K, V.double()),
    case(ValueError, ["`query`", "(4,)", "`query[None]`"], attend, Q[0, 0], K, V),
    case(ValueError, ["`query`", "(2, 3, 0)", "width >= 1"], attend, Q[..., :0], K, V),
    case(ValueError, ["`query` and `key`", "(2,) and (1,)", ".expand("], attend, Q, K[:1], V[:1]),
    case(ValueError, ["`key` and `value`", "5 and 4", "transposed?"], attend, Q, K, V[:, :4]),
    case(ValueError, ["`query` and `key`", "4 and 3", "`general`"], attend, Q, K[..., :3], V),
    case(ValueError, ["`mask`", "(2, 3, 5)", "(5, 3)"], attend, Q, K, V, mask=torch.ones(5, 3).bool()),
    case(ValueError, ["`mask`", "(2, 1, 3, 5)"], attend, Q, K, V, mask=torch.ones(2, 1, 3, 5).bool()),
    case(
        ValueError, ["`bias`", "(2, 3, 5)", "(5, 3)", "(heads, n, m)"], attend, Q, K, V, bias=torch.ones(5, 3)
    ),
    case(ValueError, ["`score`", "(2, 3, 5)", "(2, 5, 3)"], attend, Q, K, V, score=lambda q, k: k @ q.mT),
    case(TypeError, ["`score`", "f(query, key)", "str"], attend, Q, K, V, score="dot"),
    case(TypeError, ["`score`", "float"], attend, Q, K, V, score=lambda q, k: 1.0),
    case(TypeError, ["`normalize`", "f(scores, mask)", "NoneType"], attend, Q, K, V, normalize=None),
    case(
        ValueError,
        ["`normalize`", "(2, 3, 5)", "(2, 3)"],
        attend,
        Q,
        K,
        V,
        normalize=lambda scores, mask: scores.sum(-1),
    ),
    # merge
    case(ValueError, ["`merge`", "at least one", "merge(*parts)"], merge),
    case(TypeError, ["`parts`", "list", "merge(*parts)"], merge, [PART, PART]),
    case(ValueError, ["`parts`", "`lse`", "None"], merge, PART._replace(lse=None)),
    case(ValueError, ["same queries", "(2, 3, 6)", "(2, 2, 6)"], merge, PART, attend(Q[:, :2], K, V)),
    case(
        TypeError,
        ["`parts`", "one dtype", "float32", "float64"],
        merge,
        PART,
        attend(Q.double(), K.double(), V.double()),
    ),
    case(ValueError, ["`lse`", "(2, 2, 3)", "(2, 3, 4)", "before"], merge, MODULE(Q), MODULE(Q)),
    # scores
    case(ValueError, ["`query` and `key`", "`general`", "(dq, dk)"], scores.dot, Q, V),
    case(
        ValueError, ["`weight`", "(dq, dk) = (4, 6)", "got (6, 4)"], scores.general, Q, V, torch.zeros(6, 4)
    ),
    case(
        TypeError, ["`weight`", "`weight.to(query.dtype)`"], scores.general, Q, V, torch.zeros(4, 6).double()
    ),
    case(
        ValueError,
        ["`weight`", "(hidden, dq_plus_dk) = (7, 10)"],
        partial(scores.concat, weight=torch.zeros(7, 4), v=torch.zeros(7)),
        Q,
        V,
    ),
    case(
        ValueError,
        ["`w_key`", "(hidden, dk) = (7, 6)", "got (7, 4)"],
        partial(scores.additive, w_query=torch.zeros(7, 4), w_key=torch.zeros(7, 4), v=torch.zeros(7)),
        Q,
        V,
    ),
    case(
        ValueError,
        ["`v`", "(hidden)", "got (7, 1)"],
        partial(scores.additive, w_query=torch.zeros(7, 4), w_key=torch.zeros(7, 6), v=torch.zeros(7, 1)),
        Q,
        V,
    ),
    case(
        TypeError,
        ["`v`", "ndarray", "torch.as_tensor"],
        partial(scores.additive, w_query=torch.zeros(7, 4), w_key=torch.zeros(7, 6), v=np.zeros(7)),
        Q,
        V,
    ),
    case(TypeError, ["`v`", "list"], partial(scores.concat, weight=torch.zeros(7, 10), v=[0.0] * 7), Q, V),
    # masks
    case(ValueError, ["`align`", "n = 2, m = 3", '"lower_right"', '"upper_left"'], masks.causal, 2, 3),
    case(ValueError, ["`align`", "'x'", "decoding", "`is_causal`"], masks.causal, 3, 3, align="x"),
    case(ValueError, ["`align`", "n = 2, m = 3", '"lower_right"'], masks.window, 2, 3, 1),
    case(ValueError, ["`size`", "got 0", "counting itself"], masks.window, 3, 3, 0),
    case(ValueError, ["`size`", "got None", "counting itself"], masks.window, 3),
    case(ValueError, ["`size`", "got 1.5", "integer"], masks.window, 3, 3, 1.5),
    case(ValueError, ["`size`", "got True", "integer"], masks.window, 3, 3, True),
    case(ValueError, ["`n`", "0 or more", "-1"], masks.causal, -1),
    case(TypeError, ["`n`", "integer", "float"], masks.causal, 3.0),
    case(TypeError, ["`lengths`", "float32", "torch.tensor([3, 5])"], masks.padding, torch.tensor([1.0]), 3),
    case(TypeError, ["`lengths`", "list"], masks.padding, [1, 2], 3),
    case(ValueError, ["`lengths`", "0..3", "1..4"], masks.padding, torch.tensor([1, 4]), 3),
    case(ValueError, ["`mask`", "bias", "`bias=`"], masks.from_torch_mha, torch.tensor([0.5])),
    case(
        TypeError,
        ["`mask`", "uint8", "mask.bool()"],
        masks.from_torch_mha,
        torch.tensor([1], dtype=torch.uint8),
    ),
    # normalizers
    case(ValueError, ["`temperature`", "got 0", "`normalizers.hard`"], normalizers.softmax, Q, temperature=0),
    case(ValueError, ["`temperature`", "got -1", "positive"], normalizers.softmax, Q, temperature=-1.0),
    case(ValueError, ["`temperature`", "inf", "uniform"], normalizers.softmax, Q, temperature=float("inf")),
    case(ValueError, ["`temperature`", "nan", "finite"], normalizers.softmax, Q, temperature=float("nan")),
    case(TypeError, ["`temperature`", "str"], normalizers.softmax, Q, temperature="1"),
    case(TypeError, ["`temperature`", "bool"], normalizers.softmax, Q, temperature=True),
    case(
        TypeError, ["`temperature`", "Tensor", "divide"], normalizers.softmax, Q, temperature=torch.ones(())
    ),
    case(TypeError, ["`scores`", "int64", ".float()"], normalizers.softmax, Q.long()),
    case(TypeError, ["`mask`", "`bias=`"], normalizers.hard, Q, torch.zeros(3, 4)),
    case(ValueError, ["`mask`", "(2, 3, 4)", "(7,)"], normalizers.logsumexp, Q, torch.ones(7).bool()),
    # heads
    case(ValueError, ["`heads`", "width 4", "3 heads", "multiple"], heads.split, Q, 3),
    case(ValueError, ["`heads`", "got 0"], heads.split, Q, 0),
    case(ValueError, ["`heads`", "got True"], heads.split, Q, True),
    case(ValueError, ["`x`", "(*batch, heads, sequence, width)", "(3, 4)"], heads.merge, Q[0]),
    case(ValueError, ["`repeats`", "got 0"], heads.repeat_groups, Q, 0),
    case(TypeError, ["`x`", "ndarray"], heads.merge, Q.numpy()),
    # MultiHeadAttention
    case(ValueError, ["`heads`", "divides `width`", "width = 5"], MultiHeadAttention, 5, 2),
    case(ValueError, ["`kv_heads`", "divides `heads`", "heads = 4"], MultiHeadAttention, 8, 4, kv_heads=3),
    case(ValueError, ["`kv_heads`", "got kv_heads = 0"], MultiHeadAttention, 8, 4, kv_heads=0),
    case(ValueError, ["`heads`", "heads = True"], MultiHeadAttention, 4, True),
    case(ValueError, ["`key_width`", "at least 1", "got 0"], MultiHeadAttention, 4, 2, key_width=0),
    case(ValueError, ["`value_width`", "integer", "got 2.5"], MultiHeadAttention, 4, 2, value_width=2.5),
    case(TypeError, ["`query`", "float32", "float64", "`query.to("], MODULE, SQUARE.double()),
    case(ValueError, ["`query`", "(batch, sequence, 4)", "(2, 3, 5)"], MODULE, torch.zeros(2, 3, 5)),
    case(ValueError, ["`query`", "(3, 4)", "`query[None]`"], MODULE, SQUARE[0]),
    case(ValueError, ["`value`", "without a `key`"], MODULE, SQUARE, value=SQUARE),
    case(
        ValueError,
        ["one a sequence", "`mask[:, None]`", "`mask[None]`"],
        MODULE,
        SQUARE,
        mask=torch.ones(2, 3, 3).bool(),
    ),
    case(
        ValueError,
        ["(2, 2, 3, 3)", "(3, 3, 3)", "`mask[:, None]`"],
        MODULE,
        SQUARE,
        mask=torch.ones(3, 3, 3).bool(),
    ),
    case(TypeError, ["`mask`", "`bias=`"], MODULE, SQUARE, mask=torch.zeros(3, 3)),
    case(TypeError, ["`bias`", "`mask=`"], MODULE, SQUARE, bias=torch.zeros(3, 3).bool()),
    case(
        ValueError,
        ["`module`", "add_bias_kv"],
        MultiHeadAttention.from_torch,
        nn.MultiheadAttention(4, 2, add_bias_kv=True),
    ),
    case(
        ValueError,
        ["`module`", "add_zero_attn"],
        MultiHeadAttention.from_torch,
        nn.MultiheadAttention(4, 2, add_zero_attn=True),
    ),
    case(
        ValueError,
        ["`module`", "dropout=0.1", "`module.eval()`"],
        MultiHeadAttention.from_torch,
        nn.MultiheadAttention(4, 2, dropout=0.1),
    ),
    case(TypeError, ["`module`", "Linear"], MultiHeadAttention.from_torch, nn.Linear(4, 4)),
]


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(("error", "words", "mistake"), MISTAKES)
def test_mistake_names_the_argument_what_came_and_the_remedy(error, words, mistake):
    with pytest.raises(error) as raised:
        mistake()
    message = str(raised.value)
    assert [word for word in words if word not in message] == []


def test_shapes_are_checked_at_run_time_in_these_tests():
    with pytest.raises(jaxtyping.TypeCheckError, match="key"):
        scores.dot(torch.zeros(2, 3), torch.zeros(2, 4))


@pytest.mark.usefixtures("unchecked")
def test_the_unchecked_fixture_lets_our_own_error_through():
    with pytest.raises(ValueError, match="`general`"):
        scores.dot(torch.zeros(2, 3), torch.zeros(2, 4))


def test_the_package_reexports_attend_attended_and_the_version():
    assert attention_core.__all__ == ["Attended", "__version__", "attend"]
