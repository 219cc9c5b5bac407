"""Noun phrases, pronouns and adverbials, in English and in French at once."""

from attention_core.datasets.parallel.forms import Both, NounPhrase, Place, Pronoun
from attention_core.datasets.parallel.lexicon import (
    DETERMINERS,
    FEMININE_IT,
    FIXED,
    OBJECTS,
    POLITE_YOUR,
    SUBJECTS,
    Adjective,
    Features,
    ObjectForms,
)
from attention_core.datasets.parallel.words import Phrase, SourceWord, TargetWord, chain, word

_NOT_LIKE_A_VOWEL = ("useful",)  # spelt with a vowel, spoken with a consonant: a useful map


def subject(what: Pronoun | NounPhrase | Both | Features | None, polite: bool) -> tuple[Phrase, Features]:
    """A subject and what its verb agrees with. A command agrees with vous."""
    if what is None:
        return Phrase(), Features(4, False, False)
    if isinstance(what, Features):
        return Phrase(), what
    if isinstance(what, Pronoun):
        forms = SUBJECTS[what.english]
        return word(forms.english, forms.french), forms.features
    if isinstance(what, Both):
        pair = (
            noun_phrase(what.first, polite=polite),
            word("and", "et"),
            noun_phrase(what.second, polite=polite),
        )
        return chain(pair), what.features
    return noun_phrase(what, polite=polite), what.features


def object_forms(what: Pronoun) -> ObjectForms:
    return FEMININE_IT if what.english == "it" and what.feminine else OBJECTS[what.english]


def object_features(what: Pronoun | Features) -> Features:
    """What a participle after this object agrees with."""
    return what if isinstance(what, Features) else object_forms(what).features


def noun_phrase(
    what: NounPhrase,
    *,
    polite: bool = False,
    negated: bool = False,
    generic: bool = False,
    after_de: bool = False,
) -> Phrase:
    """A noun phrase.

    `negated`: a direct object under negation, where un, du and des become de. `generic`: object of a verb of
    liking, so that "dogs" is les chiens, not des chiens. `after_de`: behind de, which swallows a partitive.
    """
    noun = SourceWord(what.noun.plural if what.plural else what.noun.english)
    before, after = _adjective(what.before, what.features), _adjective(what.after, what.features)
    adjectives = before + after
    head = Phrase(
        [*adjectives.source, noun],
        [*before.target, TargetWord(_french_noun(what), (noun,)), *after.target],
    )
    if what.owner:
        head = _owned(what, head, noun, polite)
    else:
        reduced = negated or (what.plural and what.before is not None)
        determiner = _determiner(what, noun, head.source[0].text, polite, reduced, generic)
        head = (Phrase() if after_de and not what.determiner else determiner) + head
    if what.place:
        head = head + adverbial(what.place, polite)
    return head + _relative(what, polite) if what.relative else head


def adverbial(what: Place | str, polite: bool = False) -> Phrase:
    """A place, or fixed words such as "every day"."""
    if isinstance(what, str):
        return _fixed(what)
    governed = noun_phrase(what.what, polite=polite) if what.what.determiner else _school(what.what)
    return _fixed(what.preposition) + governed


def _french_noun(what: NounPhrase) -> str:
    return what.noun.french_plural if what.plural else what.noun.french


def _adjective(what: Adjective | None, features: Features) -> Phrase:
    return word_of_adjective(what, features) if what else Phrase()


def word_of_adjective(what: Adjective, features: Features) -> Phrase:
    """An adjective that agrees; in the masculine singular it may have a form before a vowel: bel, nouvel."""
    spoken = SourceWord(what.english)
    vowel = None if features.feminine or features.plural else what.before_vowel
    form = what.form(features.feminine, features.plural)
    return Phrase([spoken], [TargetWord(form, (spoken,), before_vowel=vowel)])


def _indefinite(following: str) -> str:
    return "an" if following[0] in "aeiou" and following not in _NOT_LIKE_A_VOWEL else "a"


def _determiner(
    what: NounPhrase, noun: SourceWord, following: str, polite: bool, reduced: bool, generic: bool
) -> Phrase:
    """The determiner. `reduced`: un, du, des are de, under negation or (des only) before an adjective."""
    name = what.determiner
    spoken = SourceWord(_indefinite(following) if name == "a" else name)
    if name in ("", "some", "any", "many", "no") or (name == "a" and reduced):
        return _partitive(what, [spoken] if name else [], noun, reduced, generic)
    forms = POLITE_YOUR if name == "your" and polite else DETERMINERS[name]
    text = forms[2] if what.plural else forms[what.noun.feminine]
    return Phrase([spoken], [TargetWord(text, (spoken,), article=name == "the")])


def _partitive(
    what: NounPhrase, spoken: list[SourceWord], noun: SourceWord, reduced: bool, generic: bool
) -> Phrase:
    """Du, de la, des; de where reduced; les where generic. Unspoken in English, it hangs on the noun."""
    sure, possible = tuple(spoken), () if spoken else (noun,)
    article = TargetWord(article_of(what), (), sure or possible, article=True)
    if generic and not spoken:
        return Phrase(spoken, [article])
    if what.determiner == "no":  # its French is ne; pas and de follow from that
        return Phrase(spoken, [TargetWord("de", (), sure)])
    if what.determiner == "many":
        return Phrase(spoken, [TargetWord("beaucoup", sure), TargetWord("de", (), sure)])
    de = TargetWord("de", sure, possible)
    return Phrase(spoken, [de] if reduced else [de, article])


def article_of(what: NounPhrase) -> str:
    """Le, la or les, before elision."""
    forms = DETERMINERS["the"]
    return forms[2] if what.plural else forms[what.noun.feminine]


def _owned(what: NounPhrase, head: Phrase, noun: SourceWord, polite: bool) -> Phrase:
    """The girl’s book, le livre de la fille: its article has no counterpart, so it hangs on the noun."""
    owner, mark = noun_phrase(what.owner, polite=polite), SourceWord("’s")
    article = TargetWord(article_of(what), (), (noun,), article=True)
    return Phrase(
        [*owner.source, mark, *head.source],
        [article, *head.target, TargetWord("de", (mark,)), *owner.target],
    )


def _relative(what: NounPhrase, polite: bool) -> Phrase:
    """Who and that: qui where the gap is the subject, que where it is the object."""
    from attention_core.datasets.parallel.clauses import clause  # a clause holds nouns, and a noun a clause

    gap = isinstance(what.relative.subject, Features)
    pronoun = "who" if gap and "person" in what.noun.classes else "that"
    return word(pronoun, "qui" if gap else "que") + clause(what.relative, polite=polite)


def _fixed(name: str) -> Phrase:
    fixed = FIXED[name]
    source = [SourceWord(text) for text in fixed.source]
    target = [
        TargetWord(
            text,
            tuple(source[s] for i, s in fixed.sure if i == t),
            tuple(source[s] for i, s in fixed.possible if i == t),
        )
        for t, text in enumerate(fixed.target)
    ]
    return Phrase(source, target)


def _school(what: NounPhrase) -> Phrase:
    """At school, à l’école: the article is French only."""
    spoken = SourceWord(what.noun.english)
    article = TargetWord(article_of(what), (), (spoken,), article=True)
    return Phrase([spoken], [article, TargetWord(what.noun.french, (spoken,))])
