"""The lexicon: tables to be read and extended, one word a row."""

from attention_core.datasets.parallel.lexicon.adjectives import ADJECTIVES, Adjective
from attention_core.datasets.parallel.lexicon.nouns import NOUNS, Noun, nouns_of
from attention_core.datasets.parallel.lexicon.small import (
    CONJUNCTIONS,
    DETERMINERS,
    FEMININE_IT,
    FIXED,
    OBJECTS,
    POLITE_YOUR,
    SUBJECTS,
    Features,
    Fixed,
    ObjectForms,
)
from attention_core.datasets.parallel.lexicon.verbs import MODALS, VERBS, French, Verb, french_verb

__all__ = [
    "ADJECTIVES",
    "CONJUNCTIONS",
    "DETERMINERS",
    "FEMININE_IT",
    "FIXED",
    "MODALS",
    "NOUNS",
    "OBJECTS",
    "POLITE_YOUR",
    "SUBJECTS",
    "VERBS",
    "Adjective",
    "Features",
    "Fixed",
    "French",
    "Noun",
    "ObjectForms",
    "Verb",
    "french_verb",
    "nouns_of",
]
