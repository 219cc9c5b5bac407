"""What was measured of each family's cost, drawn and said: nothing here is typed in, all of it is read.

`benchmarks/variants.py` writes the file; a family that it lacks is neither drawn nor mentioned.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from attention_core.figures.loglog import growth
from attention_core.figures.plots import Number, StaticFigure
from attention_core.figures.static import Markup, fixed, h, tidy

BASELINE = "sdpa"
SECONDS, BYTES = "seconds", "peak_bytes"
UNITS = {SECONDS: ("Time, milliseconds", 1e3), BYTES: ("Memory beyond the inputs, MB", 1e-6)}


@dataclass(frozen=True)
class Costs:
    """The committed measurements of time and memory against n."""

    how: Mapping
    families: Mapping[str, Mapping]
    stopped: Mapping[str, str]
    summary: Mapping[str, Mapping]
    rows: Sequence[Mapping]

    @classmethod
    def load(cls, path: str | Path) -> "Costs":
        return cls(**json.loads(Path(path).read_text(encoding="utf-8")))

    def curve(self, family: str, what: str) -> list[tuple[Number, Number]]:
        """(n, milliseconds) or (n, MB); what took no memory at all has no place on a logarithmic axis."""
        factor = UNITS[what][1]
        return [(r["n"], r[what] * factor) for r in self.rows if r["family"] == family and r[what] > 0]

    def _ends(self, what: str) -> tuple[tuple[Number, Number], tuple[Number, Number]]:
        points = [point for family in self.families for point in self.curve(family, what)]
        (x, y) = zip(*points, strict=True)
        return (min(x), max(x)), (min(y) * 0.8, max(y) * 1.25)

    def chart(self, title: str, *families: str) -> StaticFigure:
        """Time and memory of these families beside the baseline; the axes are the same in every chart."""
        time, memory = (self._panel(title, what, families) for what in (SECONDS, BYTES))
        return time + memory

    def _panel(self, title: str, what: str, families: Sequence[str]) -> StaticFigure:
        there = [name for name in (BASELINE, *families) if self.curve(name, what)]
        across, up = self._ends(what)
        label = UNITS[what][0]
        said = "; ".join(self._in_words(name, what) for name in there)
        return growth(
            {self.families[name]["title"]: self.curve(name, what) for name in there},
            baseline=self.families[BASELINE]["title"],
            alt=f"{title}. {label}, against n, both axes logarithmic. {said}.",
            title=title,
            y_label=label,
            x_range=across,
            y_range=up,
        )

    def _in_words(self, name: str, what: str) -> str:
        (n, first), *_, (m, last) = self.curve(name, what)
        unit = "milliseconds" if what == SECONDS else "megabytes"
        return f"{self.families[name]['title']} from {first:.3g} at n = {n} to {last:.3g} {unit} at n = {m}"

    # -- in words --------------------------------------------------------------------------------------

    def ratios(self, family: str, other: str = BASELINE) -> dict[int, Number]:
        """Time of one family divided by that of another, at every size that both reached."""
        own, base = ({r["n"]: r[SECONDS] for r in self.rows if r["family"] == f} for f in (family, other))
        return {n: own[n] / base[n] for n in sorted(own.keys() & base.keys())}

    def ahead_from(self, family: str, other: str = BASELINE) -> int | None:
        """The smallest size from which, and at every larger one, the first is faster than the other."""
        ahead = None
        for n, ratio in reversed(self.ratios(family, other).items()):
            if ratio >= 1:
                break
            ahead = n
        return ahead

    def beside(self, other: str, *families: str) -> str:
        """For each family: from where it is faster than the other, or by how much it is slower."""
        there = [name for name in families if self.ratios(name, other)]
        said = "; ".join(self._beside(name, other) for name in there)
        return f"Beside {self.families[other]['title']}: {said}." if said else ""

    def _beside(self, name: str, other: str) -> str:
        title, ratios = self.families[name]["title"], self.ratios(name, other)
        first, last = min(ratios), max(ratios)
        ahead = self.ahead_from(name, other)
        if ahead is None:
            return f"**{title}** takes {tidy(ratios[last], 2)} times as long at {_length(last)}"
        since = "at every size" if ahead == first else f"from {_length(ahead)} on"
        times = f"{tidy(1 / ratios[last], 2)} times as fast at {_length(last)}"
        return f"**{title}** is faster {since}, {times}"

    def ends(self) -> str:
        """Where families stopped, and why."""
        if not self.stopped:
            return "Every line runs to the largest size."
        by_reason: dict[str, list[str]] = {}
        for name, reason in self.stopped.items():
            by_reason.setdefault(reason, []).append(self.families[name]["title"])
        listed = (f"{', '.join(titles)} ({reason})" for reason, titles in by_reason.items())
        return f"Lines that end early: {'; '.join(listed)}."

    def measured(self) -> str:
        """On what, with what and when."""
        how = self.how
        trial = "A trial at small sizes, not a result. " if how["quick"] else ""
        return (
            f"{trial}{how['setting'].capitalize()}; {how['time']}; {how['memory']}. {how['processor']}, "
            f"{how['threads']} of {how['cores']} cores, PyTorch {how['torch']}, Python {how['python']}, "
            f"{how['date']}, library at {how['commit']}."
        )

    def _repr_html_(self) -> str:
        """The fitted exponents as a table, and the time beside the baseline's at the largest size."""
        names = ("family", "time", "memory", "÷ SDPA")
        head = h("thead", h("tr", *(h("th", name, scope="col") for name in names)))
        body = h("tbody", *(self._line(name) for name in self.summary if SECONDS in self.summary[name]))
        return str(h("div.pa-costs", h("table", head, body)))

    def _line(self, name: str) -> Markup:
        found = self.summary[name]
        family, ratios = self.families[name], self.ratios(name)
        ratio = f"{fixed(ratios[max(ratios)])} at {max(ratios)}" if family["comparable"] else "–"
        cells = (h("td", _exponent(found.get(what))) for what in (SECONDS, BYTES))
        head = h("th", family["title"], " ", h("small", family["note"]), scope="row")
        return h("tr", head, *cells, h("td", ratio))


def _length(n: int) -> str:
    """Does not break at the end of a line."""
    return f"n\u00a0=\u00a0{n}"


def _exponent(fit: Mapping | None) -> Markup:
    """n to the fitted power, and the smallest and largest power of a single doubling."""
    if fit is None:
        return Markup("–")
    span = f"{fixed(fit['low'], 1)} to {fixed(fit['high'], 1)}"
    return Markup(f"<i>n</i><sup>{fixed(fit['exponent'])}</sup> {h('small', span)}")
