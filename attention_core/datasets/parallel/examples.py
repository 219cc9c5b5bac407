"""The showcase: a few sentences to look at, which no split contains, not even as a part."""

from functools import cache

from attention_core.datasets.parallel.clauses import sentence
from attention_core.datasets.parallel.forms import Clause, NounPhrase, Place, Pronoun, Sentence, ThereIs
from attention_core.datasets.parallel.lexicon import ADJECTIVES, NOUNS, VERBS
from attention_core.datasets.parallel.pair import Pair, normalised
from attention_core.datasets.parallel.text import detokenize
from attention_core.datasets.parallel.words import aligned


def showcase() -> dict[str, Pair]:
    """Short sentences that show reordering, by their English text, with gold links.

    Order of adjectives, ne ... pas, particles, pronouns before the verb, relative clauses whose participle
    agrees, il y a, possession, contraction. All are kept out of every split, even as part of a sentence.
    """
    return dict(_showcase())


@cache
def _showcase() -> tuple[tuple[str, Pair], ...]:
    pairs = [aligned(sentence(each)) for each in shown_sentences()]
    return tuple((detokenize(pair.source, "en"), pair) for pair in pairs)


def shown_sentences() -> list[Sentence]:
    """What the sentences of the showcase say."""
    return [Sentence(each) for each in _clauses()]


def _clauses() -> list[Clause | ThereIs]:
    noun, verb, adjective, pronoun = NOUNS, VERBS, ADJECTIVES, Pronoun
    red_car = NounPhrase(noun["car"], after=adjective["red"])
    lost = Clause(pronoun("you"), verb["lose"], "past", object=NounPhrase(noun["key"]).features)
    key = NounPhrase(noun["key"], relative=lost)
    wrote = Clause(pronoun("she"), verb["write"], "past", object=NounPhrase(noun["letter"]).features)
    horse = NounPhrase(noun["horse"], "a", before=adjective["beautiful"])
    return [
        Clause(pronoun("I"), verb["love"], object=pronoun("you")),
        Clause(None, verb["look up"], object=pronoun("it")),
        Clause(pronoun("she"), verb["see"], negation="not", object=red_car),
        Clause(None, verb["turn off"], object=NounPhrase(noun["lamp"]), split=True),
        Clause(pronoun("he"), verb["see"], modal="want", object=pronoun("us")),
        ThereIs(NounPhrase(noun["milk"], "no"), adverbials=(Place("in", NounPhrase(noun["bottle"])),)),
        Clause(NounPhrase(noun["letter"], relative=wrote), verb["be"], adjective=adjective["long"]),
        Clause(pronoun("she"), verb["give"], "future", object=key, recipient=pronoun("you")),
        Clause(NounPhrase(noun["brother"], owner=NounPhrase(noun["girl"])), verb["have"], object=horse),
        Clause(pronoun("they"), verb["go"], "past", adverbials=(Place("to", NounPhrase(noun["market"])),)),
        Clause(pronoun("you"), verb["eat"], question="what", adverbials=("in the morning",)),
    ]


def contains_showcase(pair: Pair) -> bool:
    """Whether a sentence of the showcase is part of either side, word for word."""
    sides = (_spaced(pair.source), _spaced(pair.target))
    return any(source in sides[0] or target in sides[1] for source, target in _spaced_showcase())


@cache
def _spaced_showcase() -> tuple[tuple[str, str], ...]:
    return tuple((_spaced(pair.source), _spaced(pair.target)) for _, pair in _showcase())


def _spaced(tokens: tuple[str, ...]) -> str:
    return f" {' '.join(normalised(tokens))} "
