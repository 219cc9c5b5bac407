"""Normalisers: from scores to weights. Every function is `f(scores, mask=None, ...) -> weights`.

They work on the last axis and keep the scores' shape and dtype; inside, statistics are float32 or better.
Where the mask (True = may attend) forbids, or the score is -inf, the weight is exactly 0.
A row that allows nothing gets weights 0 and finite gradients: never NaN, never a uniform row.
"""

from attention_core.normalizers.dense import gumbel, hard, sigmoid, softmax, softmax_with_sink
from attention_core.normalizers.rows import broadcasts, check_mask, check_number, logsumexp, per_row
from attention_core.normalizers.sparse import entmax, sparsemax

__all__ = [
    "broadcasts",
    "check_mask",
    "check_number",
    "entmax",
    "gumbel",
    "hard",
    "logsumexp",
    "per_row",
    "sigmoid",
    "softmax",
    "softmax_with_sink",
    "sparsemax",
]
