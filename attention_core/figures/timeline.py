"""Timeline: seventy years of attention, and which ideas came back."""

from collections.abc import Sequence

import ipywidgets as widgets
import traitlets

from attention_core.figures import base, static
from attention_core.figures.static import Markup, h, section, setting
from attention_core.figures.timeline_cards import CARDS, THREADS, Card, check_cards

ERAS = ((1953, 1979), (1980, 1999), (2000, 2013), (2014, 2016), (2017, 2019), (2020, 9999))
LANE, RISE = 20, 15  # per cent of the map: height of a lane, and how far a line rises above its ends
MOST = 6  # cards to jump to in one row


def era_of(year: int) -> int:
    """Place of the era in `ERAS`; what is older than all belongs to the first."""
    return max((i for i, (first, _) in enumerate(ERAS) if first <= year), default=0)


def era_label(era: int) -> str:
    first, last = ERAS[era]
    return f"{first}–" if last > 2100 else f"{first}–{last % 100:02d}"


# -- what the controls ask for: twins of the functions in timeline.js --------------------------------------


def select(records: Sequence[dict], era: int, thread: int) -> list[int]:
    """Places of the cards of an era and a thread; 0 stands for all of either."""
    return [
        i
        for i, record in enumerate(records)
        if era in (0, record["era"] + 1) and thread in (0, record["thread"] + 1)
    ]


def oldest(records: Sequence[dict], at: int) -> int:
    """The first card that can be reached from the one at `at` by going back along lines."""
    return min((oldest(records, old) for old in records[at]["recurs"]), default=at)


def lineage(records: Sequence[dict], at: int) -> list[int]:
    """From the oldest card that can be reached, along lines, to the card at `at`."""
    line = [at]
    while earlier := records[line[0]]["recurs"]:
        line.insert(0, min(earlier, key=lambda old: oldest(records, old)))
    return line


def forebears(records: Sequence[dict], at: int) -> list[int]:
    """All cards that the one at `at` takes up, directly or not, with itself, in order of time."""
    found = {at}
    for i in range(at, -1, -1):
        if i in found:
            found.update(records[i]["recurs"])
    return sorted(found)


def heirs(records: Sequence[dict], at: int) -> list[int]:
    return [i for i, record in enumerate(records) if at in record["recurs"]]


def name(record: dict) -> str:
    return f"{record['title']} ({record['year']})"


def describe(records: Sequence[dict], at: int) -> list[str]:
    """The sentence the view shows: see `describe` in timeline.js."""
    line, later = lineage(records, at), heirs(records, at)
    title = records[at]["title"]
    again = (
        f"{len(later)} later card{' takes' if len(later) == 1 else 's take'} it up again."
        if later
        else "No later card here takes it up yet."
    )
    if len(line) == 1:
        return [f"With “{title}” something begins: no earlier card has it.", again]
    years = records[at]["year"] - records[line[0]]["year"]
    lead = f"“{title}” goes back {years} years, to {records[line[0]]['year']}."
    return [lead, " → ".join(name(records[i]) for i in line) + ".", again]


class TimelineView(base.View):
    _esm = base.module("timeline")
    _css = base.style("timeline")
    cards = traitlets.List().tag(sync=True)
    threads = traitlets.List(traitlets.Unicode()).tag(sync=True)
    eras = traitlets.List(traitlets.Unicode()).tag(sync=True)
    era = traitlets.Int(0).tag(sync=True)  # 0 for all, else a place in `eras`, from 1
    thread = traitlets.Int(0).tag(sync=True)
    card = traitlets.Int(0).tag(sync=True)


class Timeline(base.Figure):
    """Cards of what each idea gave and lacked, and lines to where its idea had come up before.

    Parameters
    ----------
    cards
        `timeline_cards.Card` records in order of time; the book's where left out.
    era, thread
        Which to show at first: an era as the buttons name it, or "all"; one of `THREADS`, or "all".
    card
        Name of the card that is open at first, if era and thread show it.
    """

    name = "timeline"
    title = "Timeline: which ideas came back?"
    question = (
        "Choose an idea, or an era. Then open a card and follow its lines: where had it come up before?"
    )

    def __init__(
        self,
        cards: Sequence[Card] | None = None,
        era: str = "all",
        thread: str = "fast memory",
        card: str = "fast_weights",
    ):
        self.cards = check_cards(CARDS if cards is None else cards)
        eras = ["all", *map(era_label, range(len(ERAS)))]
        threads = ["all", *THREADS]
        for what, value, known in (("era", era, eras), ("thread", thread, threads)):
            if value not in known:
                raise ValueError(f"`{what}` must be one of {', '.join(map(repr, known))}; got {value!r}")
        names = [one.name for one in self.cards]
        self.era = widgets.ToggleButtons(options=eras, value=era, description="Years")
        self.thread = widgets.Dropdown(options=threads, value=thread, description="Idea")
        if cards is None and card not in names:
            raise ValueError(f"`card` must be the name of a card, as {names[0]!r}; got {card!r}")
        at_first = names.index(card) if card in names else 0
        view = TimelineView(
            cards=[record(one, names) for one in self.cards], threads=list(THREADS), eras=eras[1:],
            card=at_first,
        )  # fmt: skip
        super().__init__(view, [self.era, self.thread])
        self.link(self.era, "index", view, "era")
        self.link(self.thread, "index", view, "thread")
        self.settle()

    def settle(self) -> None:
        self.view.era, self.view.thread = self.era.index, self.thread.index

    @property
    def shown(self) -> list[Card]:
        """The cards that stand in the list now."""
        return [self.cards[i] for i in select(self.view.cards, self.era.index, self.thread.index)]

    @property
    def opened(self) -> Card:
        """The card that is open now."""
        return self.cards[self._at()]

    def _at(self) -> int:
        shown = select(self.view.cards, self.era.index, self.thread.index)
        return self.view.card if self.view.card in shown or not shown else shown[0]

    def static_settings(self) -> Sequence[Markup]:
        return (
            static.choices(self.era.description, self.era.options, self.era.index),
            setting(self.thread.description, self.thread.value, "pa-dropdown"),
        )

    def static_body(self) -> Sequence[Markup]:
        records, at = self.view.cards, self._at()
        shown = select(records, self.era.index, self.thread.index)
        rows = [
            h("span.pa-entry.pa-open" if i == at else "span.pa-entry", h("b", str(records[i]["year"])),
              h("span", records[i]["title"]))
            for i in shown
        ]  # fmt: skip
        listing = h("div.pa-entries", *rows, tabindex=0, role="group", aria_label="Cards; scrolls")
        return (
            section("flow", MAP, drawn_map(records, shown, at)),
            section("detail", counted(records, shown), h("div.pa-shelf", listing, open_card(records, at))),
            static.sentence(describe(records, at)),
            whole(records),
        )


MAP = "A dot is a card, a line leads from an idea to where it comes back: likeness, not influence"


def record(one: Card, names: Sequence[str]) -> dict:
    """A card as the view takes it, with places for names."""
    return {
        "name": one.name, "title": one.title, "year": one.year, "who": one.who, "link": one.link,
        "citation": one.citation, "thread": THREADS.index(one.thread), "era": era_of(one.year),
        "gave": one.gave, "lacked": one.lacked, "recurs": [names.index(other) for other in one.recurs],
        "variant": one.variant,
    }  # fmt: skip


# -- parts of the static picture: see timeline.js ----------------------------------------------------------


def counted(records: Sequence[dict], shown: Sequence[int]) -> str:
    if not shown:
        return "No card of this idea in these years: choose another, or all"
    return f"{len(shown)} of {len(records)} cards"


def place(records: Sequence[dict], i: int) -> tuple[float, float]:
    """Left and top of a dot, in per cent: cards in order of time, a lane for each idea."""
    return 100 * (i + 0.5) / len(records), LANE * (records[i]["thread"] + 0.62)


def line(records: Sequence[dict], old: int, new: int) -> str:
    """SVG path from an idea to where it comes back, in a box of 100 by 100."""
    (x0, y0), (x1, y1) = place(records, old), place(records, new)
    return f"M{x0:.2f} {y0:.2f}C{x0:.2f} {y0 - RISE:.2f} {x1:.2f} {y1 - RISE:.2f} {x1:.2f} {y1:.2f}"


def drawn_map(records: Sequence[dict], shown: Sequence[int], at: int) -> Markup:
    kin = set(forebears(records, at))
    pairs = [(old, new) for new, one in enumerate(records) for old in one["recurs"]]
    classes = {
        (old, new): "path.pa-kinline" if {old, new} <= kin else "path.pa-heirline" if old == at else "path"
        for old, new in pairs
    }
    paths = [h(classes[pair], d=line(records, *pair)) for pair in pairs]
    svg = h("svg", *paths, viewBox="0 0 100 100", preserveAspectRatio="none", aria_hidden="true")
    dots = []
    for i in range(len(records)):
        left, top = place(records, i)
        marks = "".join(
            mark
            for mark, on in ((".pa-shown", i in shown), (".pa-kin-dot", i in kin), (".pa-here", i == at))
            if on
        )
        dots.append(h(f"span.pa-card-dot{marks}", style=f"left: {left:.3f}%; top: {top:.2f}%"))
    lanes = [
        h("span.pa-idea-lane", name, style=f"top: {LANE * i}%; border-color: var(--pa-line, #d5dae2)")
        for i, name in enumerate(THREADS)
    ]
    starts = sorted({one["era"]: i for i, one in reversed(list(enumerate(records)))}.values())
    ticks = []
    for i, after in zip(starts, [*starts[1:], len(records) + 1], strict=True):
        crowded = ".pa-crowded" if after <= len(records) and (after - i) / len(records) < 0.08 else ""
        year = h("span", str(records[i]["year"]))
        ticks.append(h(f"span.pa-era-tick{crowded}", year, style=f"left: {100 * i / len(records):.3f}%"))
    label = f"Map of {len(records)} cards; the lines of “{records[at]['title']}” are marked"
    drawing = h("div.pa-map-plot", *lanes, *ticks, svg, *dots)
    return h("div.pa-map", drawing, role="img", aria_label=label)


def open_card(records: Sequence[dict], at: int) -> Markup:
    one = records[at]
    who = h("a", one["who"], href=one["link"]) if one["link"] else h("span", one["who"])
    return h(
        "div.pa-opened",
        h("p.pa-opened-when", f"{one['year']} · {THREADS[one['thread']]}"),
        h("p.pa-opened-title", one["title"]),
        h("p.pa-opened-who", who),
        fact("Gave", one["gave"]),
        fact("Lacked", one["lacked"]),
        jumps("Takes up", records, one["recurs"]),
        jumps("Comes back in", records, heirs(records, at)),
    )


def fact(term: str, text: str) -> Markup:
    return h("p.pa-fact", h("b", term), f" {text}")


def jumps(term: str, records: Sequence[dict], places: Sequence[int]) -> Markup:
    links = [
        h("span.pa-jump", h("b", str(records[i]["year"])), f" {records[i]['title']}") for i in places[:MOST]
    ]
    more = f"and {len(places) - MOST} more" if len(places) > MOST else "" if places else "nothing here"
    rest = [h("span.pa-none", more)] if more else []
    return h("div.pa-jumps", h("span.pa-jumps-term", term), *links, *rest)


def whole(records: Sequence[dict]) -> Markup:
    """Every card with its citation, for paper and where no script runs; hidden otherwise."""
    items = []
    for one in records:
        cite = h("cite", f"{one['who']} {one['year']}", data_cite=one["citation"])
        again = "; ".join(name(records[i]) for i in one["recurs"])
        items.append(
            h(
                "li",
                h("b", f"{one['year']} {one['title']}"),
                " (",
                cite,
                f"). {one['gave']} ",
                h("span", f"Lacked: {one['lacked']}"),
                f" Takes up: {again}." if again else "",
            )
        )
    return h("ol.pa-whole", *items)
