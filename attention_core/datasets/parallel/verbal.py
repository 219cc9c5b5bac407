"""Which clauses are sensible; drawn at random."""

from dataclasses import replace
from functools import cache

from attention_core.datasets.parallel import nominal
from attention_core.datasets.parallel.draw import Draw
from attention_core.datasets.parallel.forms import Both, Clause, NounPhrase, Pronoun
from attention_core.datasets.parallel.lexicon import (
    ADJECTIVES,
    FIXED,
    NOUNS,
    VERBS,
    Features,
    Noun,
    Verb,
    nouns_of,
)
from attention_core.datasets.parallel.nominal import Scene

Subject = Pronoun | NounPhrase | Both | Features
TENSES = (("present", 40), ("past", 33), ("future", 27))
_BEFORE_NOW = (("present", 22), ("past", 68), ("future", 10))
_KINDS = (
    ("particle", 26),
    ("plain", 36),
    ("preposition", 8),
    ("giving", 13),
    ("motion", 22),
    ("be", 12),
    ("feel", 5),
)
_NO_MODAL = ("have", "want", "need", "love")
# Verbs whose participle is met in all four forms; more would make many rare words.
_AGREEING = ("see", "eat", "write", "buy", "find", "lose", "take", "pick up")
_FAVOURED = ("love", "eat")  # of the showcase; three times as often as others
_STEADY = ("love", "have", "need", "want")
_SLOWLY = ("eat", "drink", "read", "write", "work", "look over", "open", "close")
_WELL = ("sing", "work", "sleep", "play")
_AT_HOME = ("eat", "drink", "read", "sleep", "work", "sing", "play", "arrive", "write")
_OF_PERSONS = tuple(each for each in ADJECTIVES.values() if "person" in each.classes)
_SAID_OF = tuple(
    noun for noun in NOUNS.values() if nominal.suiting(noun, True) + nominal.suiting(noun, False)
)
# What can change: only these are denied with "never" or told of the future.
_STATES = ("happy", "sad", "tired", "open", "closed", "empty", "broken", "hot", "cold", "good", "bad",
           "expensive", "dangerous", "kind", "beautiful", "useful", "important",
           "fresh")  # fmt: skip
_RELATED = ("the", "a", "this", "these", "two", "three", "many")
_SOMEWHERE = ("portable", "thing", "person", "animal", "clothes", "vehicle")


@cache
def verbs(kind: str, doer: Noun | None) -> tuple[Verb, ...]:
    """The verbs of one kind that this noun, or anybody, can do; the favoured ones three times."""
    able = tuple(v for v in VERBS.values() if v.kind == kind and (doer is None or doer.is_a(v.subjects)))
    return able + 2 * tuple(v for v in able if v.english in _FAVOURED)


def clause(
    draw: Draw, scene: Scene, who: Subject | None = None, head: Noun | None = None, tense: str = ""
) -> Clause:
    """A statement, perhaps about a given subject; `head` is the noun of one that is left unspoken."""
    tense = tense or draw.weighted(TENSES)
    head = who.noun if isinstance(who, NounPhrase) else head or (NOUNS["friend"] if who else None)
    kind = draw.weighted(_KINDS)
    if kind == "be" or (kind == "feel" and head and not head.is_a(("person",))):
        return be(draw, scene, who, head, tense)
    if kind == "feel":
        return _feel(draw, scene, who, tense)
    able = verbs(kind, head) or verbs("plain", head)
    if not able:
        return be(draw, scene, who, head, tense)
    verb = draw.one(able)
    who = who or nominal.subject(draw, verb.subjects, scene)
    negation = draw.weighted((("", 80), ("not", 9), ("n’t", 6), ("never", 5)))
    modal = ""
    if tense == "present" and verb.english not in _NO_MODAL and draw.chance(0.3):
        modal = draw.one(("want", "can", "must"))
        negation = "not" if negation == "n’t" and modal != "want" else negation
    if isinstance(who, NounPhrase) and who.determiner == "every":
        negation = ""
    return furnished(draw, scene, Clause(who, verb, told(verb, tense, negation), negation, modal))


def told(verb: Verb, tense: str, negation: str = "") -> str:
    """The tense, unless the verb has none such, or one that English does not show (I put)."""
    if tense not in verb.tenses or (tense == "past" and not verb.forms[2] and negation not in ("not", "n’t")):
        return "present"
    return tense


def furnished(draw: Draw, scene: Scene, what: Clause) -> Clause:
    """The clause with objects, places and times that suit its verb."""
    if what.verb.kind == "motion":
        found = nominal.place(draw, what.verb.objects, scene)
        what = replace(what, adverbials=(found,) if found else ())
    elif what.verb.kind == "giving":
        noun = draw.one(nouns_of(*what.verb.objects))
        what = replace(what, object=thing(draw, scene, what, noun), recipient=_recipient(draw, scene, what))
    elif what.object is None:
        what = replace(what, object=_object(draw, scene, what))
    if what.verb.kind == "particle" and isinstance(what.object, NounPhrase) and not what.object.relative:
        what = replace(what, split=draw.chance(0.45))
    return _adverbs(draw, scene, what)


def _object(draw: Draw, scene: Scene, what: Clause) -> NounPhrase | Pronoun:
    noun = draw.one(nouns_of(*what.verb.objects))
    person = noun.is_a(("person",))
    if not what.verb.idiom and draw.chance(0.65 if person else 0.5):
        named = scene.later or isinstance(what.subject, Features) or _names_more(what.subject)
        if person:
            return nominal.person_pronoun(draw, what.subject, scene, plural=not named)
        if not named:
            return Pronoun(draw.weighted((("it", 3), ("them", 2))))
    return thing(draw, scene, what, noun)


def _names_more(who: Subject | None) -> bool:
    """Whether the subject brings a noun along that "it" or "them" could be taken for."""
    return isinstance(who, NounPhrase) and bool(who.relative or who.owner or who.place)


def thing(draw: Draw, scene: Scene, what: Clause, noun: Noun) -> NounPhrase:
    """An object that is named. With a recipient it has a determiner: is her water given to her, or hers?"""
    use = what.verb.english if what.verb.english in ("love", "need") else "object"
    found = nominal.noun_phrase(draw, noun, use, scene, negated=bool(what.negation))
    if what.verb.kind == "giving":
        return found if found.determiner else replace(found, determiner="the")
    found = related(draw, scene, found, 0.22)
    same = found.relative and found.relative.verb is what.verb  # I lose the key that I lose
    return replace(found, relative=None) if same else found


def _recipient(draw: Draw, scene: Scene, what: Clause) -> NounPhrase | Pronoun:
    if draw.chance(0.6):
        return nominal.person_pronoun(draw, what.subject, scene, plural=not scene.later)
    return nominal.noun_phrase(draw, draw.one(nouns_of("person")), "known", scene)


def _adverbs(draw: Draw, scene: Scene, what: Clause) -> Clause:
    """Frequency before the verb, or manner, place and time behind it."""
    name, found = what.verb.english, list(what.adverbials)
    if isinstance(what.object, NounPhrase) and what.object.relative:
        return what  # what came next would seem to belong to the relative clause
    if not found and name in _AT_HOME and draw.chance(0.12):
        found.append("at home")
    manner = [each for each, names in (("slowly", _SLOWLY), ("well", _WELL)) if name in names]
    manner = [
        each for each in manner if what.tense in FIXED[each].tenses and not (what.modal and each == "well")
    ]
    if manner and draw.chance(0.22):
        found.insert(0, draw.one(manner))
    plain = not (what.negation or what.modal or what.question or what.subject is None)
    if plain and draw.chance(0.12):
        often = "often" if what.tense == "past" or draw.chance(0.5) else "always"
        return replace(what, adverbials=tuple(found), frequency=often)
    if name not in _STEADY and what.negation != "never" and not scene.inner and draw.chance(0.15):
        found.append(nominal.time(draw, what.tense))
    return replace(what, adverbials=tuple(found))


def related(draw: Draw, scene: Scene, what: NounPhrase, probability: float) -> NounPhrase:
    """The noun phrase, perhaps with a relative clause; never with one inside another, nor behind an owner."""
    if scene.inner or what.owner or what.determiner not in _RELATED or not draw.chance(probability):
        return what
    return replace(what, relative=_relative(draw, replace(scene, inner=True), what))


def _relative(draw: Draw, scene: Scene, what: NounPhrase) -> Clause:
    acts = what.noun.is_a(("person", "animal"))
    if acts and draw.chance(0.5):
        return clause(draw, scene, what.features, what.noun)
    fitting = taking(what.noun)
    if not fitting or (draw.chance(0.3) and not (what.before or what.after)):
        return be(draw, scene, what.features, what.noun, draw.weighted(TENSES))
    preferred = tuple(verb for verb in fitting if verb.english in _AGREEING)
    verb = draw.one(preferred if preferred and draw.chance(0.75) else fitting)
    if draw.chance(0.7):
        who = nominal.pronoun_subject(draw, scene)
    else:
        who = nominal.noun_phrase(draw, draw.one(nouns_of("person")), "known", scene)
    return Clause(who, verb, told(verb, agreeing(verb, draw.weighted(_BEFORE_NOW))), object=what.features)


def agreeing(verb: Verb, tense: str) -> str:
    """The tense, with a past only of the verbs that are to agree with an object before them."""
    return "present" if tense == "past" and verb.english not in _AGREEING else tense


@cache
def taking(noun: Noun) -> tuple[Verb, ...]:
    """The verbs whose direct object a noun can be, in a relative clause."""
    kinds = ("particle", "plain", "preposition")
    return tuple(v for v in VERBS.values() if v.kind in kinds and noun.is_a(v.objects) and not v.idiom)


def be(draw: Draw, scene: Scene, who: Subject | None, head: Noun | None, tense: str) -> Clause:
    """It is red, it is on the table."""
    if who is None and draw.chance(0.3):
        who, head = nominal.pronoun_subject(draw, scene), NOUNS["friend"]
    if who is None:
        head = draw.one(_SAID_OF)
        who = related(draw, scene, nominal.noun_phrase(draw, head, "subject", scene), 0.15)
    negation = draw.weighted((("", 82), ("not", 8), ("n’t", 6), ("never", 4)))
    if isinstance(who, NounPhrase) and who.determiner == "every":
        negation = ""
    what = Clause(who, VERBS["be"], tense if tense == "future" and draw.chance(0.6) else "present", negation)
    said = nominal.suiting(head, True) + nominal.suiting(head, False)
    if isinstance(who, Pronoun | Both) or not said:
        said = _OF_PERSONS
    if head.is_a(_SOMEWHERE) and draw.chance(0.35):
        return replace(what, adverbials=(nominal.whereabouts(draw, head, scene),))
    quality = draw.one(said)
    if quality.english not in _STATES:
        what = replace(what, tense="present", negation="not" if negation == "never" else negation)
    if isinstance(who, NounPhrase):
        what = replace(
            what, subject=replace(who, before=None, after=None)
        )  # the red hat is not said to be red
    return replace(what, adjective=quality)


def _feel(draw: Draw, scene: Scene, who: Subject | None, tense: str) -> Clause:
    """I am hungry, j’ai faim."""
    who = who or nominal.subject(draw, ("person",), scene)
    negation = draw.weighted((("", 80), ("not", 10), ("n’t", 6), ("never", 4)))
    if isinstance(who, NounPhrase) and who.determiner == "every":
        negation = ""
    feeling = draw.one(("hungry", "thirsty", "right", "afraid"))
    feared = None
    if feeling == "afraid" and draw.chance(0.8):
        feared = nominal.noun_phrase(draw, draw.one(nouns_of("animal", "doctor", "trip")), "known", scene)
    told_in = "future" if tense == "future" and draw.chance(0.6) else "present"
    return Clause(who, VERBS["be"], told_in, negation, object=feared, adjective=feeling)
