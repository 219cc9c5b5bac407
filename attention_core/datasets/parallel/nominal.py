"""Which noun phrases, pronouns and adverbials are sensible where; drawn at random."""

from dataclasses import dataclass
from functools import cache

from attention_core.datasets.parallel.draw import Draw
from attention_core.datasets.parallel.forms import Both, NounPhrase, Place, Pronoun
from attention_core.datasets.parallel.lexicon import (
    ADJECTIVES,
    FIXED,
    NOUNS,
    OBJECTS,
    Adjective,
    Noun,
    nouns_of,
)

_POSSESSIVES = ("my", "your", "his", "her", "our", "their")
_NOT_OWNED = ("man", "woman", "boy", "girl", "royal", "place", "high", "transport", "owl", "hotel",
              "hospital", "church", "tree", "bird", "opening", "word")  # fmt: skip
_OWNERS = (
    "friend",
    "teacher",
    "doctor",
    "mother",
    "father",
    "sister",
    "brother",
    "nurse",
    "child",
)
# "You" is an object more often than a subject: a form that is nearly always a subject says little for itself
# where it is an object, and its neighbours say it instead.
_PERSONS = (("I", 20), ("you", 2), ("he", 10), ("she", 12), ("we", 20), ("they", 14))
_TALKED_TO = ("me", "you")  # as objects four times as often as the others
_AROUND = ("behind", "in front of", "near")
_TIMES = ("today", "now", "yesterday", "tomorrow", "every day", "in the morning", "at night", "this evening",
          "last week", "next year")  # fmt: skip


@dataclass(frozen=True)
class Scene:
    """What the words around allow.

    `later`: another clause came before, and "it", "them" or "they" might stand for a noun of it. `inner`:
    inside a relative clause, which holds no other. `you`: whether you and your may stand; commands say vous.
    """

    later: bool = False
    inner: bool = False
    you: bool = True


@cache
def suiting(noun: Noun, before: bool) -> tuple[Adjective, ...]:
    """The adjectives that suit a noun and stand before it in French, or after it."""
    return tuple(a for a in ADJECTIVES.values() if a.before == before and noun.is_a(a.classes))


def noun_phrase(draw: Draw, noun: Noun, use: str, scene: Scene, negated: bool = False) -> NounPhrase:
    """A noun with a determiner and perhaps adjectives or an owner.

    `use` is subject, object, love (generic without a determiner), need (nothing partitive), known (the, this
    or somebody's, no owner) or there (indefinite).
    """
    plural = bool(noun.plural) and draw.chance(0.4)
    owned = not noun.is_a(_NOT_OWNED)
    determiner = draw.weighted(_determiners(noun, plural, use, owned))
    if determiner == "some" and negated:
        determiner = "any"
    if determiner == "possessive":
        determiner = draw.one(_POSSESSIVES if scene.you else _POSSESSIVES[2:])
    if determiner == "the" and owned and use not in ("known", "there") and draw.chance(0.2):
        whose = draw.one(_OWNERS)
        if whose != noun.english:
            return NounPhrase(
                noun, "the", plural, owner=NounPhrase(NOUNS[whose], draw.one(("the", "my", "his")))
            )
    before, after = _adjectives(draw, noun)
    return NounPhrase(noun, determiner, plural, before, after)


@cache
def _determiners(noun: Noun, plural: bool, use: str, owned: bool) -> tuple[tuple[str, float], ...]:
    """What may stand before the noun, each with its weight."""
    mine = [("possessive", 25.0)] if owned else []
    if noun.is_a(("kin",)):
        return (("the", 8.0), *mine)
    if use == "there":
        return _indefinite(noun, plural)
    partitive = [("", 20.0)] if use in ("object", "love") else []
    partitive += [("some", 20.0)] if use == "object" else []
    if noun.mass:
        return (("the", 28.0), ("this", 8.0), *mine, *partitive)
    if plural:
        counted = [("two", 7.0), ("three", 7.0)] if use in ("object", "subject", "need") else []
        many = [("many", 7.0)] if use == "object" else []
        return (("the", 25.0), ("these", 10.0), *mine, *partitive, *counted, *many)
    single = [("a", 24.0)] if use in ("object", "subject", "need") else []
    every = [("every", 4.0)] if use in ("object", "subject") else []
    return (("the", 34.0), ("this", 10.0), *single, *every, *mine)


def _indefinite(noun: Noun, plural: bool) -> tuple[tuple[str, float], ...]:
    if noun.mass:
        return (("", 20.0), ("some", 20.0), ("no", 18.0))
    if plural:
        return (("", 15.0), ("some", 20.0), ("two", 10.0), ("three", 10.0), ("many", 15.0), ("no", 15.0))
    return (("a", 50.0), ("no", 10.0))


def _adjectives(draw: Draw, noun: Noun) -> tuple[Adjective | None, Adjective | None]:
    if noun.is_a(("kin",)) or not draw.chance(0.55):
        return None, None
    before, after = suiting(noun, True), suiting(noun, False)
    both = draw.chance(0.15)
    first = draw.chance(len(before) / max(1, len(before) + 2 * len(after)))
    return (
        draw.one(before) if before and (first or both) else None,
        draw.one(after) if after and (not first or both) else None,
    )


def subject(draw: Draw, classes: tuple[str, ...], scene: Scene) -> Pronoun | NounPhrase | Both:
    """Who or what does it: one of these classes."""
    if "person" in classes and draw.chance(0.66):
        return pronoun_subject(draw, scene)
    noun = draw.one(nouns_of(*classes))
    first = noun_phrase(draw, noun, "subject", scene)
    if noun.is_a(("person",)) and not first.owner and first.determiner not in ("every", "two", "three"):
        other = draw.one(nouns_of("person"))
        if draw.chance(0.15) and other is not noun:
            return Both(_bare(first), _bare(noun_phrase(draw, other, "known", scene)))
    return first


def _bare(what: NounPhrase) -> NounPhrase:
    """The noun phrase without adjectives."""
    return NounPhrase(what.noun, what.determiner, what.plural)


def pronoun_subject(draw: Draw, scene: Scene) -> Pronoun:
    barred = ("they",) * scene.later + ("you",) * (not scene.you)
    return Pronoun(draw.weighted([row for row in _PERSONS if row[0] not in barred]))


def person_pronoun(draw: Draw, doer: object, scene: Scene, plural: bool = True) -> Pronoun:
    """An object pronoun for a person, not the doer; None as doer is the one who is ordered."""
    said = doer.english if isinstance(doer, Pronoun) else ""
    barred = {"I": ("me", "us"), "we": ("me", "us"), "you": ("you",)}.get(said, ())
    barred += ("you",) * (not scene.you or doer is None) + ("them",) * (not plural)
    allowed = [each for each in OBJECTS if each not in ("it", *barred)]
    return Pronoun(draw.weighted([(each, 4 if each in _TALKED_TO else 1) for each in allowed]))


def place(draw: Draw, prepositions: tuple[str, ...], scene: Scene) -> Place | None:
    """Somewhere, by one of the prepositions that a verb of motion or rest allows; "alone" is nowhere."""
    preposition = draw.one(prepositions)
    if preposition == "alone":
        return None
    if preposition in ("to", "at", "from"):
        return _goal(draw, preposition)
    if preposition == "with":
        whom = noun_phrase(draw, draw.one(nouns_of("person")), "known", scene)
        return Place(preposition, whom)
    kinds = {"in": ("inside",), "on": ("furniture",), "under": ("furniture", "tree")}
    classes = kinds.get(preposition, ("building", "plant", "car", "door", "market", "station", "high"))
    return Place(preposition, _short(draw, draw.one(nouns_of(*classes)), scene))


def _goal(draw: Draw, preposition: str) -> Place:
    noun = draw.one(nouns_of("goal"))
    if noun.english == "school" and draw.chance(0.6):
        return Place(preposition, NounPhrase(noun, ""))
    return Place(preposition, NounPhrase(noun, "the", bool(noun.plural) and draw.chance(0.1)))


def _short(draw: Draw, noun: Noun, scene: Scene) -> NounPhrase:
    """Most places are named without an adjective, and singular."""
    what = noun_phrase(draw, noun, "known", scene)
    if draw.chance(0.3):
        return what
    return NounPhrase(noun, "this" if what.determiner == "these" else what.determiner)


def whereabouts(draw: Draw, noun: Noun, scene: Scene) -> Place:
    """Where a thing, a person or an animal can be."""
    if noun.is_a(("person", "animal")):
        return place(draw, ("in", "in", *_AROUND), scene)
    if not noun.is_a(("clothes", "thing", "readable", "food", "drink", "portable")):
        return place(draw, _AROUND, scene)
    container = draw.one(nouns_of(*(("bottle",) if noun.is_a(("drink",)) else ("bag", "box"))))
    if draw.chance(0.3) and not noun.is_a(("container", "device", "umbrella", "soup")):
        return Place("in", _short(draw, container, scene))
    return place(draw, ("on", "on", "under", "near"), scene)


def time(draw: Draw, tense: str) -> str:
    return draw.one(_times(tense))


@cache
def _times(tense: str) -> tuple[str, ...]:
    return tuple(name for name in _TIMES if tense in FIXED[name].tenses)
