"""How good a translator is: how many sentences are right to the last word, how well words are aligned."""

from collections.abc import Mapping, Sequence

from attention_core import alignment
from attention_core.datasets import Pair
from attention_core.models.sentences.translating import Translating, Translation


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


def error_rate(model: Translating, pairs: Sequence[Pair]) -> alignment.Scores:
    """Alignment error rate of the weights with which the model reads the pairs' own translations.

    By `alignment.links` and `alignment.score`: a word that looks at `</s>` most is linked to nothing.
    """
    return alignment.score([alignment.links(weights) for weights in model.align(pairs)], pairs)


def metrics(
    model: Translating, splits: Mapping[str, Sequence[Pair]], *, aligning: bool = True
) -> dict[str, float]:
    """For a card: exact match, greedy, of each split; alignment error rate where gold links are known.

    `aligning` is False for a model without attention.
    """
    found = {}
    for split, pairs in splits.items():
        translations = model.translate_tokens([pair.source for pair in pairs])
        found[f"{split} exact match"] = exact_match(translations, pairs)
        if aligning and any(pair.sure for pair in pairs):
            found[f"{split} AER"] = error_rate(model, pairs).aer
    return found
