"""The closed classes: pronouns, determiners, prepositions, adverbs; with links where these are phrases."""

from typing import NamedTuple


class Features(NamedTuple):
    """What a verb or an adjective agrees with; `person` is 0..5 for je, tu, il, nous, vous, ils.

    As a subject or an object it stands for one that is not spoken: the gap in a relative clause.
    """

    person: int
    feminine: bool
    plural: bool


class SubjectForms(NamedTuple):
    english: str
    french: str
    features: Features


# Masculine where English does not tell.
SUBJECTS = {
    row.english: row
    for row in (
        SubjectForms("I", "je", Features(0, False, False)),
        SubjectForms("you", "tu", Features(1, False, False)),
        SubjectForms("he", "il", Features(2, False, False)),
        SubjectForms("she", "elle", Features(2, True, False)),
        SubjectForms("we", "nous", Features(3, False, True)),
        SubjectForms("they", "ils", Features(5, False, True)),
        SubjectForms("who", "qui", Features(2, False, False)),
    )
}


class ObjectForms(NamedTuple):
    """Before the verb as object and as recipient, after an imperative as either, and the features."""

    direct: str
    recipient: str
    direct_after: str
    recipient_after: str
    features: Features


OBJECTS = {
    "me": ObjectForms("me", "me", "-moi", "-moi", Features(0, False, False)),
    "you": ObjectForms("te", "te", "", "", Features(1, False, False)),  # no command is given to oneself
    "him": ObjectForms("le", "lui", "-le", "-lui", Features(2, False, False)),
    "her": ObjectForms("la", "lui", "-la", "-lui", Features(2, True, False)),
    "it": ObjectForms("le", "", "-le", "", Features(2, False, False)),
    "us": ObjectForms("nous", "nous", "-nous", "-nous", Features(3, False, True)),
    "them": ObjectForms("les", "leur", "-les", "-leur", Features(5, False, True)),
}
FEMININE_IT = ObjectForms(
    "la", "", "-la", "", Features(2, True, False)
)  # where it stands for a feminine noun

# Masculine, feminine, plural. In a command "your" is votre, vos.
DETERMINERS = {
    "the": ("le", "la", "les"),
    "a": ("un", "une", ""),
    "this": ("ce", "cette", ""),
    "these": ("", "", "ces"),
    "my": ("mon", "ma", "mes"),
    "your": ("ton", "ta", "tes"),
    "his": ("son", "sa", "ses"),
    "her": ("son", "sa", "ses"),
    "our": ("notre", "notre", "nos"),
    "their": ("leur", "leur", "leurs"),
    "two": ("", "", "deux"),
    "three": ("", "", "trois"),
    "every": ("chaque", "chaque", ""),
}
POLITE_YOUR = ("votre", "votre", "vos")


class Fixed(NamedTuple):
    """Words that are translated as one piece; `sure` and `possible` are links (target, source)."""

    source: tuple[str, ...]
    target: tuple[str, ...]
    sure: tuple[tuple[int, int], ...]
    possible: tuple[tuple[int, int], ...]
    tenses: tuple[str, ...]


# English | French | links target-source, "?" between them where only possible | tenses it can go with
_FIXED = """
in                | dans              | 0-0         |
on                | sur               | 0-0         |
under             | sous              | 0-0         |
behind            | derrière          | 0-0         |
in front of       | devant            | 0?0 0-1 0?2 |
near              | près de           | 0-0 1?0     |
at                | à                 | 0-0         |
to                | à                 | 0-0         |
from              | de                | 0-0         |
with              | avec              | 0-0         |
for               | pour              | 0-0         |
today             | aujourd’hui       | 0-0         | present past future
now               | maintenant        | 0-0         | present
yesterday         | hier              | 0-0         | past
tomorrow          | demain            | 0-0         | future
every day         | tous les jours    | 0-0 1?0 2-1 | present
in the morning    | le matin          | 0?0 0-1 1-2 | present future
at night          | la nuit           | 0?0 1-1     | present future
this evening      | ce soir           | 0-0 1-1     | present future
last week         | la semaine dernière | 0?1 1-1 2-0 | past
next year         | l’ année prochaine | 0?1 1-1 2-0 | future
at home           | à la maison       | 0-0 1?1 2-1 | present past future
slowly            | lentement         | 0-0         | present past future
well              | bien              | 0-0         | present future
often             | souvent           | 0-0         | present past future
always            | toujours          | 0-0         | present future
"""


def _links(cell: str, mark: str) -> tuple[tuple[int, int], ...]:
    return tuple((int(t), int(s)) for t, _, s in (word.partition(mark) for word in cell.split()) if s)


def _fixed(row: str) -> Fixed:
    source, target, links, tenses = row.split("|")
    return Fixed(
        tuple(source.split()),
        tuple(target.split()),
        _links(links, "-"),
        _links(links, "?"),
        tuple(tenses.split()),
    )


FIXED = {" ".join(fixed.source): fixed for fixed in map(_fixed, _FIXED.strip().splitlines())}
CONJUNCTIONS = {
    "and": (("and",), ("et",)),
    "but": ((",", "but"), (",", "mais")),
    "because": (("because",), ("parce", "que")),
    "when": (("when",), ("quand",)),
}
