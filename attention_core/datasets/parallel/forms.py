"""What a sentence says, before any word order: records that `phrases` and `clauses` put into words."""

from dataclasses import dataclass

from attention_core.datasets.parallel.lexicon import Adjective, Features, Noun, Verb


@dataclass(frozen=True)
class Pronoun:
    """A pronoun by its English form, subject ("I", "who") or object ("me", "it").

    `feminine` is for an "it" that stands for a feminine noun of the same sentence; else "it" is masculine.
    """

    english: str
    feminine: bool = False


@dataclass(frozen=True)
class NounPhrase:
    """A noun with what belongs to it. `determiner` "" is none (bread), "some" and "any" partitive."""

    noun: Noun
    determiner: str = "the"
    plural: bool = False
    before: Adjective | None = None  # stands before the noun in French too
    after: Adjective | None = None  # moves behind it
    owner: "NounPhrase | None" = None  # the girl’s book; takes the place of the determiner
    place: "Place | None" = None
    relative: "Clause | None" = None  # its gap is a subject or an object of `Features`

    @property
    def features(self) -> Features:
        return Features(5 if self.plural else 2, self.noun.feminine, self.plural)


@dataclass(frozen=True)
class Both:
    """Two noun phrases joined by "and": plural, and masculine unless both are feminine."""

    first: NounPhrase
    second: NounPhrase

    @property
    def features(self) -> Features:
        feminine = self.first.noun.feminine and self.second.noun.feminine
        return Features(5, feminine, True)


@dataclass(frozen=True)
class Place:
    """A preposition, by its English form, and what it governs. Without an article: at school."""

    preposition: str
    what: NounPhrase


@dataclass(frozen=True)
class Clause:
    """One verb and all that goes with it.

    `subject` None is a command, whose French is polite (cherchez); `Features` is a subject left unspoken.
    """

    subject: "Pronoun | NounPhrase | Both | Features | None"
    verb: Verb
    tense: str = "present"  # past, future
    negation: str = ""  # not, n’t, never
    modal: str = ""  # want, can, must
    object: "NounPhrase | Pronoun | Features | None" = None
    recipient: "NounPhrase | Pronoun | None" = None
    adjective: Adjective | str | None = None  # of "be"; "hungry" and its like take avoir
    frequency: str = ""  # often, always
    adverbials: "tuple[Place | str, ...]" = ()
    split: bool = False  # the particle stands behind the object: turn the lamp off
    question: str = ""  # yes, what, why, when, where


@dataclass(frozen=True)
class ThereIs:
    """There is, il y a. With `determiner` "no" of what there is: il n’y a pas de."""

    what: NounPhrase
    tense: str = "present"
    adverbials: "tuple[Place | str, ...]" = ()


@dataclass(frozen=True)
class Sentence:
    """Clauses, each but the first behind its conjunction (and, but, because, when), and the final mark."""

    first: Clause | ThereIs
    others: tuple[tuple[str, Clause | ThereIs], ...] = ()
    stop: str = ""
    opening: str = ""  # an adverbial that comes first
