"""The cards of the timeline: what each idea gave, what it lacked, and where it had come up before.

They stand in `timeline_cards.json`. A card of a mechanism that is in the catalogue names it in `variant`, and
takes year and citation from there. All other years are those of the first public appearance, as in
`book/references.bib`, whose keys the citations are.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from attention_core.catalogue import VARIANTS

THREADS = ("selection", "soft weights", "fast memory", "content addressing", "scale")


@dataclass(frozen=True)
class Card:
    """One idea: who had it when, in one sentence each what it gave and lacked.

    `recurs` names earlier cards whose idea comes back here. That is likeness, not influence: the authors may
    never have heard of each other. `link` is the primary source's address, empty where there is none.
    """

    name: str
    title: str
    year: int
    who: str
    citation: str
    link: str
    thread: str
    gave: str
    lacked: str
    recurs: tuple[str, ...] = ()
    variant: str = ""  # its name in the catalogue


def read(path: Path) -> tuple[Card, ...]:
    """Cards from a file, checked; dates of mechanisms from the catalogue alone."""
    cards = []
    for fields in json.loads(path.read_text(encoding="utf-8")):
        if "variant" in fields:
            variant = VARIANTS[fields["variant"]]
            dated = {"year": variant.year, "citation": variant.citation}
            if doubled := fields.keys() & dated.keys():
                raise ValueError(f"card {fields['name']!r} has a `variant`; leave out {sorted(doubled)}")
            fields |= dated
        cards.append(Card(**fields | {"recurs": tuple(fields["recurs"])}))
    return check_cards(cards)


def check_cards(cards: Sequence[Card]) -> tuple[Card, ...]:
    """`cards` as they are, if dates ascend, threads are known and ideas recur from earlier cards only."""
    cards = tuple(cards)
    if not cards:
        raise ValueError("`cards` is empty; give at least one, or leave it out")
    seen: dict[str, Card] = {}
    for one in cards:
        name = one.name
        if seen and one.year < (last := cards[len(seen) - 1]).year:
            raise ValueError(f"`cards` must be in order of years; {name!r} ({one.year}) follows {last.year}")
        if one.thread not in THREADS:
            raise ValueError(
                f"the thread of {name!r} must be one of {', '.join(THREADS)}; got {one.thread!r}"
            )
        if unknown := [other for other in one.recurs if other not in seen]:
            raise ValueError(f"{name!r} takes up {unknown[0]!r}, which is no earlier card: list it first")
        if name in seen:
            raise ValueError(f"two cards are called {name!r}; names must differ")
        seen[name] = one
    return cards


CARDS = read(Path(__file__).with_name("timeline_cards.json"))
