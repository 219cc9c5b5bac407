"""The static picture of `AlignmentScore`: the Python twin of what alignment_score.js draws."""

from collections.abc import Iterable, Set
from typing import Any

from attention_core import alignment
from attention_core.figures import static
from attention_core.figures.static import Markup, fixed, h

Links = Set[tuple[int, int]]
MARKS = {"sure": ("○", "✓"), "possible": ("", "✓"), "none": ("", "×")}


def gold_of(pair: Any, link: tuple[int, int]) -> str:
    return "sure" if link in pair.sure else "possible" if link in pair.possible else "none"


def describe(pair: Any, links: Links, shown: bool) -> list[str]:
    """The sentence the view shows: see `describe` in alignment_score.js."""
    if not shown:
        return [
            f"{len(links)} {'link is' if len(links) == 1 else 'links are'} proposed.",
            "Show the gold links to count them.",
        ]
    aer = alignment.score([links], [pair]).aer
    wrong, missed = sorted(links - pair.possible), sorted(pair.sure - links)
    said = [
        f"Error rate {fixed(aer, 3)}: {len(links & pair.possible)} of {len(links)} proposed links are "
        f"possible, {len(links & pair.sure)} of {len(pair.sure)} sure links are found."
    ]
    if not links:
        said.append("Where nothing is proposed, nothing is wrong, and nothing found.")
    if wrong:
        said.append(f"{len(wrong)} are wrong." if len(wrong) > 3 else f"Wrong: {named(pair, wrong)}.")
    if links and missed:
        said.append(f"{len(missed)} are missed." if len(missed) > 3 else f"Missed: {named(pair, missed)}.")
    if aer == 0:
        more = len(links) > len(pair.sure)
        said.append(
            "Links that are only possible cost nothing."
            if more
            else "Nothing is wrong, and nothing sure is missed."
        )
    return said


def named(pair: Any, links: Iterable[tuple[int, int]]) -> str:
    return ", ".join(f"{pair.target[t]}–{pair.source[s]}" for t, s in links)


def facts(pair: Any, links: Links, shown: bool) -> dict[str, str]:
    """What stands in the tiles and in the formula."""
    aer, precision, recall = alignment.score([links], [pair])
    found, sure = len(links), len(pair.sure)
    hit, right = len(links & pair.sure), len(links & pair.possible)

    def known(text: object) -> str:
        return str(text) if shown else "?"

    rate = known(fixed(aer, 3))
    return {
        "precision, |A∩P| of |A|": f"{known(right)} of {found}: {known(fixed(precision))}",
        "recall, |A∩S| of |S|": f"{known(hit)} of {known(sure)}: {known(fixed(recall))}",
        "error rate": rate,
        "AER = 1 − (|A∩S| + |A∩P|) / (|A| + |S|)": (
            f"1 − ({known(hit)} + {known(right)}) / ({found} + {known(sure)}) = {rate}"
        ),
    }


def grid(pair: Any, links: Links, shown: bool) -> Markup:
    head = h("tr", h("td.pa-corner"), *(h("th.pa-colhead", word, scope="col") for word in pair.source))
    lines = []
    for t, word in enumerate(pair.target):
        cells = []
        for s in range(len(pair.source)):
            on, kind = (t, s) in links, gold_of(pair, (t, s))
            css = f"td.pa-cell.pa-link{'.pa-on' if on else ''}{f'.pa-{kind}' if shown else ''}"
            cells.append(h(css, MARKS[kind][on] if shown else "●" if on else ""))
        lines.append(h("tr", h("th.pa-rowhead", word, scope="row"), *cells))
    table = h("table.pa-grid", h("thead", head), h("tbody", *lines), style=f"--columns: {len(pair.source)}")
    return static.scroll(table, len(pair.source) > 3)


def key() -> Markup:
    names = ("sure", "possible", "proposed")
    return h("p.pa-key", *(h("span", h(f"i.pa-{name}"), name) for name in names))


def counted(said: dict[str, str]) -> tuple[Markup, Markup]:
    lines = [(h("span", name), h("strong", value)) for name, value in said.items()]
    return h("div.pa-tiles", *(h("div.pa-tile", *line) for line in lines[:3])), h("p.pa-count", *lines[3])
