"""Word alignment: the error rate against gold links, its baselines, and the models that align by counting.

A link is a pair (target position, source position), counted from 0: the order of an alignment matrix, target
by source. One definition holds wherever the book prints an alignment error rate: weights over the end marker
`</s>` count as links to nothing (`links`), and counts are summed over the corpus before dividing (`score`).
"""

from attention_core.alignment.baselines import diagonal, oracle
from attention_core.alignment.bridge import eflomal, eflomal_directions, eflomal_priors
from attention_core.alignment.directions import METHODS, reverse, symmetrize, transpose
from attention_core.alignment.ibm import IBM1, IBM2
from attention_core.alignment.measure import Links, Scores, links, score

__all__ = [
    "IBM1",
    "IBM2",
    "METHODS",
    "Links",
    "Scores",
    "diagonal",
    "eflomal",
    "eflomal_directions",
    "eflomal_priors",
    "links",
    "oracle",
    "reverse",
    "score",
    "symmetrize",
    "transpose",
]
