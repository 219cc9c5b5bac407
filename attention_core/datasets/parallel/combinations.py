"""Combinations of words: which ones a sentence holds, and which ones training never sees."""

import zlib
from collections.abc import Iterator

from attention_core.datasets.parallel.forms import Both, Clause, NounPhrase, Place, Pronoun, Sentence, ThereIs
from attention_core.datasets.parallel.lexicon import Features, Noun
from attention_core.datasets.parallel.phrases import object_forms

HELD = 11  # one combination in so many is held out

Combination = tuple[str, str]


def combinations(what: Sentence) -> Iterator[Combination]:
    """Each (adjective, noun) and (verb, object pronoun) of a sentence, by the English dictionary forms.

    The pronoun is named by its French form, so that "see him" and "see it" (both le) are one combination:
    otherwise the French of the one would give the other away.
    """
    head = _noun(what.first.subject) if isinstance(what.first, Clause) else None
    yield from _in_clause(what.first, head)
    for _, following in what.others:
        yield from _in_clause(following, head)


def held(combination: Combination) -> bool:
    """Whether a combination is kept for `held_out`: a checksum decides, the same for every seed."""
    return zlib.crc32(" ".join(combination).encode()) % HELD == 0


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
                yield what.verb.english, _french_pronoun(pronoun, pronoun is what.recipient)
        if what.adjective and not isinstance(what.adjective, str):
            for noun in _described(what.subject, head):
                yield what.adjective.english, noun.english
    for phrase in phrases:
        yield from _in_phrase(phrase)


def _french_pronoun(what: Pronoun, recipient: bool) -> str:
    forms = object_forms(what)
    return forms.recipient if recipient else forms.direct


def _described(subject: object, head: Noun | None) -> list[Noun]:
    if isinstance(subject, Both):
        return [subject.first.noun, subject.second.noun]
    if isinstance(subject, Features):
        return [head] if head else []
    return [subject.noun] if isinstance(subject, NounPhrase) else []


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
