"""How good a translator is: how many sentences are right to the last word, how well words are aligned."""

from collections.abc import Sequence

from attention_core import alignment
from attention_core.datasets import Pair
from attention_core.models.translator.model import Translation, Translator


def exact_match(translations: Sequence[Translation], pairs: Sequence[Pair]) -> float:
    """The share of sentences whose translation is the pair's own, word for word.

    Strict: another right translation counts as wrong, and one wrong word spoils its sentence.
    """
    if len(translations) != len(pairs) or len(pairs) == 0:
        raise ValueError(
            "`translations` must be as many as `pairs`, at least one; got "
            f"{len(translations)} and {len(pairs)}."
        )
    right = [one.target[:-1] == pair.target for one, pair in zip(translations, pairs, strict=True)]
    return sum(right) / len(right)


def error_rate(model: Translator, pairs: Sequence[Pair]) -> alignment.Scores:
    """Alignment error rate of the weights with which the model reads the pairs' own translations.

    By `alignment.links` and `alignment.score`: a word that looks at `</s>` most is linked to nothing.
    """
    return alignment.score([alignment.links(weights) for weights in model.align(pairs)], pairs)
