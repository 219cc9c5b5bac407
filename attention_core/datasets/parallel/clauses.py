"""Clauses and sentences: where verb, negation, pronouns and particles stand in each language."""

from dataclasses import dataclass

from attention_core.datasets.parallel import phrases
from attention_core.datasets.parallel.forms import Clause, NounPhrase, Pronoun, Sentence, ThereIs
from attention_core.datasets.parallel.lexicon import CONJUNCTIONS, MODALS, Features, french_verb
from attention_core.datasets.parallel.words import Phrase, SourceWord, TargetWord, chain, word

FEELINGS = {"hungry": "faim", "thirsty": "soif", "right": "raison", "afraid": "peur"}  # be hungry, avoir faim
_BE = ("am", "are", "is", "are", "are", "are")
_ASKING = {"what": "que", "where": "où", "why": "pourquoi", "when": "quand"}
_HAVE, _ETRE = french_verb("avoir"), french_verb("être")


@dataclass
class _Verbs:
    """The English verb group by its parts; None is a part that this clause lacks."""

    verb: SourceWord
    helper: SourceWord | None = None  # do, did, will, can, must
    negation: SourceWord | None = None  # not, n’t, never
    wish: SourceWord | None = None  # want
    to: SourceWord | None = None
    second: SourceWord | None = None  # up, at
    frequency: Phrase | None = None

    def linked(self, *parts: str) -> tuple[SourceWord, ...]:
        words = (getattr(self, part) for part in parts)
        return tuple(each for each in words if each is not None)


def sentence(what: Sentence) -> Phrase:
    """A whole sentence, its mark included."""
    polite = isinstance(what.first, Clause) and what.first.subject is None
    parts = [phrases.adverbial(what.opening)] if what.opening else []
    parts.append(_any_clause(what.first, polite))
    for conjunction, following in what.others:
        parts += [_conjunction(conjunction), _any_clause(following, polite)]
    return chain([*parts, word(what.stop, what.stop)] if what.stop else parts)


def clause(what: Clause, polite: bool = False) -> Phrase:
    """One clause in both languages."""
    subject, features = phrases.subject(what.subject, polite)
    verbs, objects = _english_verbs(what, features), _objects(what, polite)
    rest = _adjective(what, features) + chain(phrases.adverbial(each, polite) for each in what.adverbials)
    asked = _asked(what, verbs)
    finite, after = _predicate(what, features, verbs, objects)
    source = [*asked.source, *_english(what, subject, verbs, objects), *rest.source]
    if _inverted(what):
        target = [*asked.target, *finite, *_behind_the_verb(subject), *after, *rest.target]
    else:
        target = [*asked.target, *subject.target, *finite, *after, *rest.target]
    return Phrase(source, target)


# --- English


def _english_verbs(what: Clause, features: Features) -> _Verbs:
    helper = _helper(what, features)
    bare = helper is not None or what.subject is None
    wish = (
        SourceWord(_inflected(("want", "wants", "wanted"), what, features, bare))
        if what.modal == "want"
        else None
    )
    main = _inflected(what.verb.forms, what, features, bare or wish is not None)
    if what.verb.english == "be" and not bare:
        main = _BE[features.person]
    negation = helper if helper and helper.text == "cannot" else what.negation and SourceWord(what.negation)
    return _Verbs(
        verb=SourceWord(main),
        helper=helper,
        negation=negation or None,
        wish=wish,
        to=SourceWord("to") if wish else None,
        second=SourceWord(what.verb.second) if what.verb.second else None,
        frequency=phrases.adverbial(what.frequency) if what.frequency else None,
    )


def _helper(what: Clause, features: Features) -> SourceWord | None:
    """Do, does, did, will, can or must, where the clause has one. Will n’t is wo n’t."""
    if what.modal in ("can", "must"):
        return SourceWord("cannot" if (what.modal, what.negation) == ("can", "not") else what.modal)
    if what.tense == "future":
        return SourceWord("wo" if what.negation == "n’t" else "will")
    if what.verb.english == "be" or not (what.question or what.negation in ("not", "n’t")):
        return None
    if what.tense == "past":
        return SourceWord("did")
    return SourceWord("does" if features.person == 2 else "do")


def _inflected(forms: tuple[str, str, str], what: Clause, features: Features, bare: bool) -> str:
    if bare:
        return forms[0]
    if what.tense == "past":
        return forms[2]
    return forms[1] if features.person == 2 else forms[0]


def _english(what: Clause, subject: Phrase, verbs: _Verbs, objects: "_Objects") -> list[SourceWord]:
    """Everything from the subject to the last object; what a question puts first is left out."""
    often = verbs.frequency.source if verbs.frequency else []
    main = verbs.linked("wish", "to", "verb")
    if what.verb.english == "be" and not verbs.helper:
        group = [*main, *verbs.linked("negation"), *often]
    else:
        group = [*verbs.linked("helper", "negation"), *often, *main]
    group = [each for i, each in enumerate(group) if each not in group[:i]]  # cannot is helper and negation
    if what.question:
        group.remove(verbs.helper or verbs.verb)
    second = list(verbs.linked("second"))
    behind = what.verb.kind == "particle" and (what.split or isinstance(what.object, Pronoun))
    direct = [*objects.direct, *second] if behind else [*second, *objects.direct]
    first = objects.recipient if isinstance(what.recipient, Pronoun) else []
    last = [] if isinstance(what.recipient, Pronoun) else objects.recipient
    return [*subject.source, *group, *first, *([] if what.adjective else direct), *last]


# --- French


def _predicate(
    what: Clause, features: Features, verbs: _Verbs, objects: "_Objects"
) -> tuple[list[TargetWord], list[TargetWord]]:
    """The words up to the finite verb, and those from there to the last object."""
    negation = verbs.linked("negation")
    ne = [TargetWord("ne", negation)] if negation else []
    second = []
    if what.negation == "never":
        second = [TargetWord("jamais", negation)]
    elif negation:
        second = [TargetWord("pas", (), negation)]
    if verbs.frequency:
        second = verbs.frequency.target
    finite, rest = _verb_words(what, features, verbs)
    if what.subject is None and not negation:
        return [finite], [*objects.enclitics, *second, *rest, *objects.after]
    if what.modal:
        return [*ne, finite], [*second, *objects.clitics, *rest, *objects.after]
    return [*ne, *objects.clitics, finite], [*second, *rest, *objects.after]


def _verb_words(what: Clause, features: Features, verbs: _Verbs) -> tuple[TargetWord, list[TargetWord]]:
    """The finite verb, and the infinitive or participle that it needs."""
    french, main = what.verb.french, verbs.linked("verb")
    idiom = [TargetWord(text, *((main,) if i == 0 else ((), main))) for i, text in enumerate(what.verb.idiom)]
    if what.modal:
        modal = verbs.linked("wish") or verbs.linked("helper")
        finite = TargetWord(MODALS[what.modal].present[features.person], modal, verbs.linked("helper"))
        return finite, [TargetWord(french.infinitive, main, verbs.linked("to", "second"))]
    if what.tense == "past":
        auxiliary = _ETRE if french.with_etre else _HAVE
        finite = TargetWord(auxiliary.present[features.person], (), verbs.linked("helper") or main)
        return finite, [TargetWord(_participle(what, features), main, verbs.linked("second"))]
    if isinstance(what.adjective, str):
        french = _HAVE
    forms = french.future if what.tense == "future" else french.present
    sure, possible = ((), main) if idiom else (main, ())
    return TargetWord(forms[features.person], sure, possible + verbs.linked("helper", "second")), idiom


def _participle(what: Clause, features: Features) -> str:
    """With être it agrees with the subject, with avoir with a direct object that precedes it."""
    french = what.verb.french
    if french.with_etre:
        return french.agreeing(features.feminine, features.plural)
    if isinstance(what.object, Pronoun | Features):
        _, feminine, plural = phrases.object_features(what.object)
        return french.agreeing(feminine, plural)
    return french.participle


@dataclass
class _Objects:
    """The objects in English, and in French by their place: before the verb, hung on it, or after it."""

    direct: list[SourceWord]
    recipient: list[SourceWord]
    clitics: list[TargetWord]
    enclitics: list[TargetWord]
    after: list[TargetWord]


def _objects(what: Clause, polite: bool) -> _Objects:
    found = _Objects([], [], [], [], [])
    if isinstance(what.object, NounPhrase) and not what.adjective:
        phrase = phrases.noun_phrase(
            what.object,
            polite=polite,
            negated=bool(what.negation) and not what.verb.idiom,
            generic=what.verb.english == "love",
            after_de=bool(what.verb.idiom),
        )
        found.direct, found.after = phrase.source, phrase.target
    if isinstance(what.object, Pronoun):
        forms = phrases.object_forms(what.object)
        found.direct = _clitic(found, what.object, forms.direct, forms.direct_after)
    if isinstance(what.recipient, Pronoun):
        forms = phrases.object_forms(what.recipient)
        found.recipient = _clitic(found, what.recipient, forms.recipient, forms.recipient_after)
    elif what.recipient:
        to = phrases.adverbial("to") + phrases.noun_phrase(what.recipient, polite=polite)
        found.recipient, found.after = to.source, found.after + to.target
    return found


def _clitic(found: _Objects, what: Pronoun, before: str, after: str) -> list[SourceWord]:
    spoken = SourceWord(what.english)
    found.clitics.append(TargetWord(before, (spoken,)))
    found.enclitics.append(TargetWord(after, (spoken,)))
    return [spoken]


def _adjective(what: Clause, features: Features) -> Phrase:
    """After "be": an adjective that agrees, or a feeling that French has (avoir faim, avoir peur de)."""
    if what.adjective is None:
        return Phrase()
    if not isinstance(what.adjective, str):
        return phrases.word_of_adjective(what.adjective, features)
    feeling = word(what.adjective, FEELINGS[what.adjective])
    if what.object is None:
        return feeling
    return feeling + word("of", "de") + phrases.noun_phrase(what.object, after_de=True)


# --- questions, there is, and what joins clauses


def _inverted(what: Clause) -> bool:
    """Whether the French subject stands behind the verb; elsewhere est-ce que asks."""
    are_you = what.verb.english == "be" and what.subject == Pronoun("you")
    return what.question in ("what", "where") or (what.question == "yes" and are_you)


def _behind_the_verb(subject: Phrase) -> list[TargetWord]:
    """A subject after its verb; tu hangs on by a hyphen."""
    return [TargetWord("-tu", each.sure) if each.text == "tu" else each for each in subject.target]


def _asked(what: Clause, verbs: _Verbs) -> Phrase:
    """What a question begins with. Est-ce que hangs on do, will or be, possibly."""
    if not what.question:
        return Phrase()
    front = verbs.helper or verbs.verb
    asked = word(what.question, _ASKING[what.question]) if what.question in _ASKING else Phrase()
    marker = [] if _inverted(what) else [TargetWord(text, (), (front,)) for text in ("est", "-ce", "que")]
    return Phrase([*asked.source, front], [*asked.target, *marker])


def _any_clause(what: Clause | ThereIs, polite: bool) -> Phrase:
    return there_is(what) if isinstance(what, ThereIs) else clause(what, polite)


def there_is(what: ThereIs) -> Phrase:
    """There is, il y a: y stands for "there" and a for "is"; il is possible."""
    none = what.what.determiner == "no"
    phrase = phrases.noun_phrase(what.what, negated=none)
    there, will = SourceWord("there"), [SourceWord("will")] if what.tense == "future" else []
    be = SourceWord("be" if will else "are" if what.what.plural else "is")
    finite = TargetWord((_HAVE.future if will else _HAVE.present)[2], (be,), tuple(will))
    no = (phrase.source[0],)
    ne, pas = ([TargetWord("ne", no)], [TargetWord("pas", (), no)]) if none else ([], [])
    target = [TargetWord("il", (), (there,)), *ne, TargetWord("y", (there,)), finite, *pas, *phrase.target]
    return Phrase([there, *will, be, *phrase.source], target) + chain(map(phrases.adverbial, what.adverbials))


def _conjunction(name: str) -> Phrase:
    """And, but, because, when. The que of parce que is possible."""
    source, target = CONJUNCTIONS[name]
    spoken = [SourceWord(text) for text in source]
    if len(source) == len(target):
        return Phrase(spoken, [TargetWord(t, (s,)) for s, t in zip(spoken, target, strict=True)])
    return Phrase(spoken, [TargetWord("parce", tuple(spoken)), TargetWord("que", (), tuple(spoken))])
