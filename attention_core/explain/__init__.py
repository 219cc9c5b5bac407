"""Explanations of vision transformers: which patches of an image an answer rests on, by twenty-one methods.

`explain` gives the map of one of `METHODS`; `capture` what the model computed, to make one's own from. The
formulas are functions of tensors, in the modules `attention`, `flow`, `gradients`, `cdam`, `relevance`,
`perturbation` and `baselines`. Maps are (batch, rows, columns), a number a patch; `upsample` makes pixels of
them.
"""

from attention_core.explain import faithfulness
from attention_core.explain.capture import Captured, capture
from attention_core.explain.explaining import Explanation, explain, upsample
from attention_core.explain.methods import METHODS, Method

__all__ = ["METHODS", "Captured", "Explanation", "Method", "capture", "explain", "faithfulness", "upsample"]
