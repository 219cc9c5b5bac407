"""Words that know where they came from, and the two rules that French spelling applies to neighbours.

Grammar builds a sentence twice, as `SourceWord`s and as `TargetWord`s that point to them. `aligned` then
elides (le arbre: l’ arbre), contracts (de le: du) and turns pointers into positions: so gold links are free.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from attention_core.datasets.parallel.pair import Pair

# What a word becomes before a vowel sound: elided, or in a form of its own.
BEFORE_VOWEL = {
    "je": "j’",
    "me": "m’",
    "te": "t’",
    "le": "l’",
    "la": "l’",
    "ne": "n’",
    "de": "d’",
    "que": "qu’",
    "ce": "cet",
    "ma": "mon",
    "ta": "ton",
    "sa": "son",
}
# Preposition and article become one word, unless the article was elided.
CONTRACTIONS = {("de", "le"): "du", ("de", "les"): "des", ("à", "le"): "au", ("à", "les"): "aux"}
# The h of these is "aspirated": it counts as a consonant (le hibou), the h of all others does not (l’homme).
ASPIRATED = ("hibou", "hiboux", "héros", "haut", "haute", "hauts", "hautes")
_VOWELS = tuple("aeiouyhâàéèêëîïôœûù")


@dataclass(frozen=True, slots=True, eq=False)
class SourceWord:
    """An English word; two of the same spelling are two words."""

    text: str


@dataclass(frozen=True, slots=True, eq=False)
class TargetWord:
    """A French word, and the English words that it is linked to: surely, or only possibly."""

    text: str
    sure: tuple[SourceWord, ...] = ()
    possible: tuple[SourceWord, ...] = ()
    before_vowel: str | None = None  # the form before a vowel, where BEFORE_VOWEL does not say
    article: bool = False  # only an article contracts: de les voir, but des livres

    def merged(self, other: "TargetWord", text: str) -> "TargetWord":
        """One word for both, with the links of both."""
        return TargetWord(text, self.sure + other.sure, self.possible + other.possible)


@dataclass(frozen=True, slots=True)
class Phrase:
    """A piece of a sentence in both languages."""

    source: list[SourceWord] = field(default_factory=list)
    target: list[TargetWord] = field(default_factory=list)

    def __add__(self, other: "Phrase") -> "Phrase":
        return Phrase(self.source + other.source, self.target + other.target)


def chain(phrases: Iterable[Phrase]) -> Phrase:
    """The phrases one after the other, in the same order in both languages."""
    return sum(phrases, Phrase())


def word(source: str, target: str) -> Phrase:
    """One word for one word, surely linked."""
    spoken = SourceWord(source)
    return Phrase([spoken], [TargetWord(target, (spoken,))])


def starts_with_vowel(text: str) -> bool:
    """Whether a French word begins with a vowel sound; h is silent unless `ASPIRATED`."""
    return text.startswith(_VOWELS) and text not in ASPIRATED


def elided(words: Sequence[TargetWord]) -> list[TargetWord]:
    """Every word in the form that the word after it asks for."""
    result = list(words)
    for i, (this, following) in enumerate(pairwise(words)):
        form = this.before_vowel or BEFORE_VOWEL.get(this.text)
        if form and starts_with_vowel(following.text):
            result[i] = TargetWord(form, this.sure, this.possible, None, this.article)
    return result


def contracted(words: Sequence[TargetWord]) -> list[TargetWord]:
    """Prepositions merged with the articles after them. Elide first: de l’ ami stays."""
    result: list[TargetWord] = []
    for this in words:
        text = CONTRACTIONS.get((result[-1].text, this.text)) if result and this.article else None
        if text:
            result[-1] = result[-1].merged(this, text)
        else:
            result.append(this)
    return result


def aligned(phrase: Phrase) -> Pair:
    """The finished pair: French spelling applied, pointers turned into links."""
    target = contracted(elided(phrase.target))
    position = {id(spoken): s for s, spoken in enumerate(phrase.source)}
    sure = frozenset((t, position[id(s)]) for t, this in enumerate(target) for s in this.sure)
    possible = frozenset((t, position[id(s)]) for t, this in enumerate(target) for s in this.possible)
    source = tuple(spoken.text for spoken in phrase.source)
    return Pair(source, tuple(this.text for this in target), sure, sure | possible)
