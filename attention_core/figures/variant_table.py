r"""The variants at a glance: the catalogue as a page, and controls that narrow it down.

The table is plain HTML and stands by itself: in print, without scripts, for search engines. The figure
above it only hides and orders its rows. Equations are TeX between \( and \), which JupyterLab sets in
outputs and the site turns into MathML when it builds; sources are <cite data-cite="key">.
"""

import itertools
import re
from collections.abc import Mapping, Sequence

import ipywidgets as widgets
import traitlets
from IPython.display import HTML, display

from attention_core.catalogue import LAWS, VARIANTS, Variant
from attention_core.figures import base, static
from attention_core.figures.static import Markup, h, setting

ORDERS = ("year", "name", "family")
_copies = itertools.count(1)  # two tables on a page must not share a name


def words(law: str) -> str:
    return law.replace("_", " ")


def counted(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def facts(variants: Mapping[str, Variant]) -> list[dict]:
    """What the controls ask about each variant."""
    return [
        {
            "name": name,
            "title": variant.title,
            "year": variant.year,
            "family": variant.family,
            "citation": variant.citation,
            "exempt": sorted(variant.exempt),
            "relations": sum(equality.other in variants for equality in variant.equals),
        }
        for name, variant in variants.items()
    ]


def select(records: Sequence[dict], asked: dict) -> list[int]:
    """Places of the records that match, in the order asked for: see `select` in variant_table.js."""
    families = list(dict.fromkeys(record["family"] for record in records))
    sought = asked["search"].lower().split()

    def matches(record: dict) -> bool:
        text = " ".join(str(record[key]) for key in ("name", "title", "year", "family", "citation")).lower()
        return (
            asked["family"] in ("", record["family"])
            and record["year"] <= asked["year"]
            and asked["law"] not in record["exempt"]
            and all(word in text for word in sought)
        )

    def place(i: int) -> tuple:
        record = records[i]
        family = families.index(record["family"]) if asked["order"] == "family" else 0
        name = record["title"].lower() if asked["order"] == "name" else ""
        return family, name, 0 if name else record["year"], i

    return sorted((i for i, record in enumerate(records) if matches(record)), key=place)


def describe(records: Sequence[dict], asked: dict, shown: Sequence[int]) -> list[str]:
    """The sentence the view shows: see `describe` in variant_table.js."""
    if not shown:
        return ["No mechanism matches.", "Clear the search, or widen family, years and law."]
    years = [records[i]["year"] for i in shown]
    span = f"from {min(years)} to {max(years)}" if min(years) < max(years) else f"from {min(years)}"
    if len(shown) == len(records):
        free = sum(not record["exempt"] for record in records)
        relations = counted(sum(record["relations"] for record in records), "relation")
        hold = "holds" if free == 1 else "hold"
        return [
            f"{counted(len(records), 'mechanism')}, {span}.",
            f"{relations} among them; {free} of {len(records)} {hold} every law.",
        ]
    lead = f"{len(shown)} of {counted(len(records), 'mechanism')}, {span}."
    if asked["law"]:
        exempt = sum(asked["law"] in record["exempt"] for record in records)
        law = f"the law “{words(asked['law'])}”"
        if not exempt:
            return [lead, f"Not one of all {len(records)} breaks {law}."]
        hold = "does not hold" if exempt == 1 else "do not hold"
        return [lead, f"Of all {len(records)}, {exempt} {hold} {law}; a row says why."]
    if len(shown) <= 3:
        return [lead, ", ".join(records[i]["title"] for i in shown) + "."]
    return [lead, "Open a row for its relations and laws."]


class VariantTableView(base.View):
    _esm = base.module("variant_table")
    _css = base.style("variant_table")
    records = traitlets.List().tag(sync=True)
    families = traitlets.List(traitlets.Unicode()).tag(sync=True)
    laws = traitlets.List(traitlets.Unicode()).tag(sync=True)
    table = traitlets.Unicode().tag(sync=True)  # names the table in the page
    family = traitlets.Int(0).tag(sync=True)  # 0 for all, else a place in `families`, from 1
    law = traitlets.Int(0).tag(sync=True)
    year = traitlets.Int(0).tag(sync=True)
    order = traitlets.Int(0).tag(sync=True)
    search = traitlets.Unicode("").tag(sync=True)


class VariantTable(base.Figure):
    """Every mechanism of the catalogue: equation, cost, source, relations and laws.

    Parameters
    ----------
    variants
        Records by name; the book's catalogue where left out. Your own can stand among them:
        `VariantTable(VARIANTS | {"mine": variant(name="mine", ...)})`.
    """

    name = "variants-at-a-glance"
    title = "Find a mechanism"
    question = (
        "Which mechanisms came first, which keep a law you care about, and which are one another in disguise?"
    )

    def __init__(self, variants: Mapping[str, Variant] | None = None):
        self.variants = dict(VARIANTS if variants is None else variants)
        if not self.variants:
            raise ValueError("`variants` is empty; give at least one record, or leave it out")
        years = [variant.year for variant in self.variants.values()]
        families = list(dict.fromkeys(variant.family for variant in self.variants.values()))
        self.family = widgets.Dropdown(options=["all", *families], index=0, description="Family")
        self.law = widgets.Dropdown(options=["any", *map(words, LAWS)], index=0, description="Holds the law")
        self.year = widgets.IntSlider(
            value=max(years), min=min(years), max=max(years), description="Up to year"
        )
        self.order = widgets.Dropdown(options=list(ORDERS), index=0, description="In order of")
        view = VariantTableView(
            records=facts(self.variants),
            families=families,
            laws=list(LAWS),
            table=f"variants-{next(_copies)}",
        )
        super().__init__(view, [self.family, self.law, self.order, self.year])
        for control, key in (
            (self.family, "index"),
            (self.law, "index"),
            (self.year, "value"),
            (self.order, "index"),
        ):
            self.link(control, key, view, self._name_of(control))
        self.settle()

    def _name_of(self, control: widgets.Widget) -> str:
        return next(name for name in ("family", "law", "year", "order") if getattr(self, name) is control)

    def settle(self) -> None:
        self.view.family, self.view.law = self.family.index, self.law.index
        self.view.year, self.view.order = self.year.value, self.order.index

    @property
    def asked(self) -> dict:
        """What the controls ask for."""
        families, laws = ["", *self.view.families], ["", *self.view.laws]
        return {
            "family": families[self.family.index],
            "law": laws[self.law.index],
            "year": self.year.value,
            "order": ORDERS[self.order.index],
            "search": self.view.search,
        }

    @property
    def shown(self) -> list[str]:
        """Names of the rows that stand in the table now, in their order."""
        return [self.view.records[i]["name"] for i in select(self.view.records, self.asked)]

    def static_settings(self) -> Sequence[Markup]:
        chosen = [
            setting(control.description, control.options[control.index], "pa-dropdown")
            for control in (self.family, self.law, self.order)
        ]
        return *chosen, setting("Up to year", str(self.year.value))

    def static_body(self) -> Sequence[Markup]:
        records = self.view.records
        box = h(
            "div.pa-search.pa-control",
            h("span.pa-label", "Search"),
            h("span.pa-value", self.view.search or "—"),
        )
        return box, static.sentence(describe(records, self.asked, select(records, self.asked)))

    @property
    def table(self) -> Markup:
        """The table itself, in the order and with the rows of the present state."""
        rows = (row(name, self.variants) for name in self.shown)
        hosted = dict(data_variants=self.view.table, aria_label="Every mechanism of the book")
        return h("section.pa-variants", h("ul.pa-variant-list", *rows), **hosted)

    def _ipython_display_(self) -> None:
        display(self._repr_mimebundle_(), raw=True)
        display(HTML(self.table))


# -- the table ---------------------------------------------------------------------------------------------


def tex(formula: str) -> Markup:
    return h("span.pa-tex", rf"\({formula}\)")


def equation(formula: str) -> Markup:
    r"""A formula in pieces, cut where TeX has a \quad, so that it can break there on a narrow screen."""
    return h("div.pa-equation", *(tex(piece) for piece in re.split(r"\s*\\q?quad\s*", formula) if piece))


def source(variant: Variant) -> Markup:
    """Who and when: spelled out by the site, which knows the bibliography."""
    author, year = re.match(r"([a-z]+)(\d{4})", variant.citation).groups()
    return h("cite", f"{author.capitalize()} {year}", data_cite=variant.citation)


def relation(other: Variant, when: str, *, itself: bool = False) -> Markup:
    name = "itself" if itself else h("a", other.title, href=f"#variant-{other.name}")
    return h("li", name, " when ", tex(when))


def entry(term: str, *content: object) -> Markup:
    return h("div", h("dt", term), h("dd", *content))


def details(variant: Variant, variants: Mapping[str, Variant]) -> Markup:
    """What opens under a row: relations both ways, laws, exemptions with their reasons."""
    to = [
        relation(variants[e.other], e.when, itself=e.other == variant.name)
        for e in variant.equals
        if e.other in variants
    ]
    back = [
        relation(other, e.when)
        for other in variants.values()
        for e in other.equals
        if e.other == variant.name and other is not variant
    ]
    held = [words(law) for law in LAWS if law in variant.laws]
    reasons = [h("li", h("b", words(law)), f": {why}") for law, why in sorted(variant.exempt.items())]
    parts = [
        *([entry("Becomes", h("ul", *to))] if to else []),
        *([entry("Reached from", h("ul", *back))] if back else []),
        entry("Holds", ", ".join(held) or "no law"),
        *([entry("Does not hold", h("ul", *reasons))] if reasons else []),
        entry("In the library", h("code", f'VARIANTS["{variant.name}"]')),
    ]
    relations = counted(len(to) + len(back), "relation")
    short = f"{relations}, {len(held)} of {len(LAWS)} laws"
    about = h("span.pa-spoken", f" of {variant.title}")
    return h("details", h("summary", short, about), h("dl.pa-facts", *parts))


def row(name: str, variants: Mapping[str, Variant]) -> Markup:
    variant = variants[name]
    return h(
        "li.pa-variant",
        h("span.pa-year", str(variant.year)),
        h(
            "div.pa-variant-head",
            h("h3.pa-variant-name", variant.title),
            h("p.pa-source", source(variant), " · ", variant.family),
        ),
        equation(variant.equation),
        h("dl.pa-cost", entry("time", tex(variant.time)), entry("memory", tex(variant.memory))),
        details(variant, variants),
        id=f"variant-{name}",
        data_name=name,
    )
