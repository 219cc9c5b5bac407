"""Combinations of words: which ones a sentence holds, and which ones training never sees."""

from collections.abc import Iterator
from functools import cache

from attention_core.datasets.parallel.examples import shown_sentences
from attention_core.datasets.parallel.forms import Both, Clause, NounPhrase, Place, Pronoun, Sentence, ThereIs
from attention_core.datasets.parallel.lexicon import NOUNS, VERBS, Features, Noun
from attention_core.datasets.parallel.nominal import suiting

# By turns; "it" is not among them, because for things it is most of what training can show.
_PERSONS = ("me", "you", "him", "her", "us", "them")
_THINGS = ("them", "", "")  # of every third verb

Combination = tuple[str, str]


def combinations(what: Sentence) -> Iterator[Combination]:
    """Each (adjective, noun) and (verb, object pronoun) of a sentence, by the English dictionary forms."""
    head = _noun(what.first.subject) if isinstance(what.first, Clause) else None
    yield from _in_clause(what.first, head)
    for _, following in what.others:
        yield from _in_clause(following, head)


def held(combination: Combination) -> bool:
    """Whether a combination is kept for `held_out`, whatever the seed."""
    return combination in _held()


@cache
def _held() -> frozenset[Combination]:
    """One adjective of each noun that four or more suit, one pronoun of verbs, by turns."""
    found = []
    for turn, noun in enumerate(NOUNS.values()):
        fitting = suiting(noun, True) + suiting(noun, False)
        if len(fitting) >= 4:
            found.append(_by_turns(turn, [(each.english, noun.english) for each in fitting]))
    for turn, verb in enumerate(verb for verb in VERBS.values() if verb.kind not in ("motion", "be")):
        persons = verb.kind == "giving" or "person" in verb.objects
        found.append(_by_turns(turn, [(verb.english, form) for form in (_PERSONS if persons else _THINGS)]))
    return frozenset(found)


def _by_turns(turn: int, choices: list[Combination]) -> Combination:
    """The choice whose turn it is; the next one, where the showcase needs that one."""
    turned = choices[turn % len(choices) :] + choices[: turn % len(choices)]
    return next(each for each in turned if each not in _shown())


@cache
def _shown() -> frozenset[Combination]:
    return frozenset(each for what in shown_sentences() for each in combinations(what))


def _noun(what: object) -> Noun | None:
    return what.noun if isinstance(what, NounPhrase) else None


def _in_clause(what: Clause | ThereIs, head: Noun | None) -> Iterator[Combination]:
    """`head` is the noun of a subject that is left unspoken."""
    phrases = [each.what for each in what.adverbials if isinstance(each, Place)]
    if isinstance(what, ThereIs):
        phrases.append(what.what)
    else:
        phrases += [what.subject, what.object, what.recipient]
        for pronoun in (what.object, what.recipient):
            if isinstance(pronoun, Pronoun):
                yield what.verb.english, pronoun.english
        if what.adjective and not isinstance(what.adjective, str):
            for noun in _described(what.subject, head):
                yield what.adjective.english, noun.english
    for phrase in phrases:
        yield from _in_phrase(phrase)


def _described(subject: object, head: Noun | None) -> list[Noun]:
    if isinstance(subject, Both):
        return [subject.first.noun, subject.second.noun]
    if isinstance(subject, Features):
        return [head] if head else []
    return [subject.noun, *_between(subject)] if isinstance(subject, NounPhrase) else []


def _between(subject: NounPhrase) -> list[Noun]:
    """Nouns that may stand beside a verb that speaks of another: the nurse who knows the woman is old."""
    places = [subject.place] if subject.place else []
    objects = []
    if subject.relative:
        objects = [subject.relative.subject, subject.relative.object]
        places += [each for each in subject.relative.adverbials if isinstance(each, Place)]
    return [
        each.noun for each in (*objects, *(place.what for place in places)) if isinstance(each, NounPhrase)
    ]


def _in_phrase(what: object) -> Iterator[Combination]:
    if isinstance(what, Both):
        yield from _in_phrase(what.first)
        yield from _in_phrase(what.second)
    if not isinstance(what, NounPhrase):
        return
    for adjective in (what.before, what.after):
        if adjective:
            yield adjective.english, what.noun.english
    yield from _in_phrase(what.owner)
    if what.place:
        yield from _in_phrase(what.place.what)
    if what.relative:
        yield from _in_clause(what.relative, what.noun)
