"""Which sentences are sensible: statements, commands, questions, there is; drawn at random."""

from dataclasses import replace

from attention_core.datasets.parallel import nominal, phrases, verbal
from attention_core.datasets.parallel.draw import Draw
from attention_core.datasets.parallel.forms import Both, Clause, NounPhrase, Pronoun, Sentence, ThereIs
from attention_core.datasets.parallel.lexicon import NOUNS, VERBS, Features, Noun, nouns_of
from attention_core.datasets.parallel.nominal import Scene

_NEVER_ORDERED = ("have", "want", "need", "love", "lose", "see", "find", "arrive", "be")
_ORDERED = tuple(verb for verb in VERBS.values() if verb.english not in _NEVER_ORDERED)
_ORDERED_PARTICLES = tuple(verb for verb in _ORDERED if verb.kind == "particle")
_ORDERED_GIVING = tuple(verb for verb in _ORDERED if verb.kind == "giving")
_ASKED_WHAT = ("eat", "drink", "read", "write", "see", "buy", "take", "want", "look at", "look up",
               "open", "find", "throw away", "pick up", "turn on", "write down", "put on")  # fmt: skip
_ASKED_WHERE = ("work", "sing", "play", "sleep", "go")
_EXISTING = tuple(
    noun
    for noun in nouns_of("portable", "thing", "clothes", "food", "drink", "person", "animal", "vehicle")
    if "kin" not in noun.classes
)


def sentence(draw: Draw) -> Sentence:
    """A sentence of one or two clauses."""
    make = draw.weighted(
        ((_one, 35), (_command, 15), (_question, 12), (_there, 7), (_two, 19), (_same, 6), (_it, 6))
    )
    return make(draw)


def long_sentence(draw: Draw) -> Sentence:
    """A sentence of two to six clauses, told in one tense."""
    opening = draw.weighted(((_one, 5), (_there, 1), (_it, 2), (_same, 2)))(draw)
    others = list(opening.others)
    for _ in range(draw.one((1, 2, 2, 3, 3, 4))):
        last = others[-1][0] if others else ""
        conjunction = draw.one([each for each in ("and", "but", "because") if each != last])
        others.append((conjunction, verbal.clause(draw, Scene(later=True), tense=opening.first.tense)))
    return replace(opening, others=tuple(others), stop=_stop(draw))


def _stop(draw: Draw) -> str:
    return "." if draw.chance(0.55) else ""


def _one(draw: Draw) -> Sentence:
    tense = draw.weighted(verbal.TENSES)
    first = verbal.clause(draw, Scene(), tense=tense)
    timed = any(isinstance(each, str) for each in first.adverbials)
    free = (
        not timed
        and first.tense == tense
        and first.verb.english not in ("be", "love")
        and not first.frequency
    )
    opening = nominal.time(draw, tense) if free and first.negation != "never" and draw.chance(0.07) else ""
    return Sentence(first, stop=_stop(draw), opening=opening)


def _two(draw: Draw) -> Sentence:
    first = verbal.clause(draw, Scene())
    conjunction = draw.one(("and", "but", "because", "when"))
    if conjunction == "when" and first.tense != "present":
        conjunction = "because"
    second = verbal.clause(draw, Scene(later=True), tense=first.tense)
    return Sentence(first, ((conjunction, second),), _stop(draw))


def _same(draw: Draw) -> Sentence:
    """She opens the door and sees the garden: one subject, spoken once."""
    first = verbal.clause(draw, Scene())
    while _reaches_on(first):
        first = verbal.clause(draw, Scene())
    second = verbal.clause(draw, Scene(later=True), *_again(first), tense=first.tense)
    return Sentence(first, (("and", second),), _stop(draw))


def _reaches_on(what: Clause) -> bool:
    """Whether "and work" behind it could be read in two ways: I must sing and work, boys who sing and work.

    "Is big and is small" is left out too.
    """
    related = isinstance(what.object, NounPhrase) and what.object.relative is not None
    return bool(what.modal) or what.negation in ("not", "n’t") or related or what.verb.english == "be"


def _again(what: Clause) -> tuple[Features, Noun]:
    """The clause's subject once more, unspoken, and its noun."""
    who = what.subject
    if isinstance(who, NounPhrase):
        return who.features, who.noun
    features = who.features if isinstance(who, Both) else phrases.subject(who, False)[1]
    return features, NOUNS["friend"]


def _it(draw: Draw) -> Sentence:
    """I see the apple and I eat it: "it" takes the gender of the noun that it stands for."""
    noun = draw.one(nouns_of("food", "readable", "portable", "clothes", "device", "entry", "opening"))
    verbs = [v for v in verbal.taking(noun) if v.english not in ("have", "want", "love")]
    first, second = draw.one(verbs), draw.one(verbs)
    if first is second:
        return _it(draw)
    who = nominal.subject(draw, ("person",), Scene())
    tense = verbal.told(first, verbal.told(second, verbal.agreeing(second, draw.weighted(verbal.TENSES))))
    named = nominal.noun_phrase(draw, noun, "object", Scene())
    while named.plural or named.owner or named.determiner in ("every", ""):
        named = nominal.noun_phrase(draw, noun, "object", Scene())
    again = (
        nominal.pronoun_subject(draw, Scene(later=True))
        if draw.chance(0.5)
        else _again(Clause(who, first))[0]
    )
    it = Clause(again, second, tense, object=Pronoun("it", noun.feminine))
    conjunction = "and" if isinstance(again, Features) or draw.chance(0.6) else draw.one(("but", "because"))
    return Sentence(Clause(who, first, tense, object=named), ((conjunction, it),), _stop(draw))


def _order(draw: Draw, scene: Scene) -> Clause:
    verb = draw.one(draw.weighted(((_ORDERED, 60), (_ORDERED_PARTICLES, 30), (_ORDERED_GIVING, 10))))
    negation = draw.weighted((("", 76), ("not", 10), ("n’t", 8), ("never", 6)))
    return verbal.furnished(draw, scene, Clause(None, verb, negation=negation))


def _command(draw: Draw) -> Sentence:
    """Look it up. You and your are left out of most: they would have to be polite."""
    first = _order(draw, Scene(you=False))
    if isinstance(first.object, NounPhrase) and first.object.determiner == "their" and draw.chance(0.5):
        first = replace(first, object=replace(first.object, determiner="your"))
    if not draw.chance(0.12):
        return Sentence(first, stop=_stop(draw))
    return Sentence(first, (("and", _order(draw, Scene(later=True, you=False))),), _stop(draw))


def _there(draw: Draw) -> Sentence:
    noun = draw.one(_EXISTING)
    what = nominal.noun_phrase(draw, noun, "there", Scene())
    what = verbal.related(draw, Scene(), what, 0.25) if what.determiner != "no" else what
    where = () if what.relative else (nominal.whereabouts(draw, noun, Scene()),) if draw.chance(0.85) else ()
    tense = "future" if draw.chance(0.15) else "present"
    return Sentence(ThereIs(what, tense, where), stop=_stop(draw))


def _question(draw: Draw) -> Sentence:
    make = draw.weighted(((_yes_or_no, 50), (_what, 14), (_where, 12), (_why, 12), (_who, 12)))
    return Sentence(make(draw), stop="?")


def _yes_or_no(draw: Draw) -> Clause:
    what = verbal.clause(draw, Scene())
    while what.negation or (what.modal == "want" and isinstance(what.subject, NounPhrase)):
        what = verbal.clause(draw, Scene())
    return replace(what, question="yes", frequency="")


def _what(draw: Draw) -> Clause:
    verb = VERBS[draw.one(_ASKED_WHAT)]
    times = (nominal.time(draw, "present"),) if draw.chance(0.4) and verb.english != "want" else ()
    return Clause(Pronoun("you"), verb, adverbials=times, question="what")


def _where(draw: Draw) -> Clause:
    if draw.chance(0.4):
        times = (nominal.time(draw, "present"),) if draw.chance(0.5) else ()
        return Clause(Pronoun("you"), VERBS[draw.one(_ASKED_WHERE)], adverbials=times, question="where")
    noun = draw.one(nouns_of("portable", "thing", "clothes", "person", "animal", "vehicle", "goal"))
    return Clause(nominal.noun_phrase(draw, noun, "known", Scene()), VERBS["be"], question="where")


def _why(draw: Draw) -> Clause:
    what = _yes_or_no(draw)
    timeless = not any(isinstance(each, str) for each in what.adverbials) and what.verb.english != "be"
    return replace(what, question="when" if timeless and draw.chance(0.4) else "why")


def _who(draw: Draw) -> Clause:
    return verbal.clause(draw, Scene(), Pronoun("who"), NOUNS["friend"])
