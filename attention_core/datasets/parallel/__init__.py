"""English-French sentence pairs from a grammar, with gold word alignments."""

from attention_core.datasets.parallel.examples import showcase
from attention_core.datasets.parallel.files import Corpus, read_pairs
from attention_core.datasets.parallel.pair import Pair, fingerprint, normalised
from attention_core.datasets.parallel.splits import SIZES, translation
from attention_core.datasets.parallel.text import detokenize, tokenize

__all__ = [
    "SIZES",
    "Corpus",
    "Pair",
    "detokenize",
    "fingerprint",
    "normalised",
    "read_pairs",
    "showcase",
    "tokenize",
    "translation",
]
