"""What was measured of flash attention, drawn and said: nothing here is typed in, all of it is read.

`benchmarks/flash_cpu.py` and `flash_gpu.py` write such files; a rival, pass or mask that they lack is neither
drawn nor mentioned.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from attention_core.figures.loglog import growth
from attention_core.figures.plots import Number, StaticFigure
from attention_core.figures.static import fixed, h, tidy

BASELINES = ("sdpa", "cudnn")  # of a CPU, of a GPU
NAMES = {
    "sdpa": "PyTorch SDPA",
    "cudnn": "cuDNN",
    "flash": "this book’s",
    "triton": "this book’s",
    "fa2": "FlashAttention-2",
    "flex": "FlexAttention",
    "standard": "whole matrix",
}
MS, MB = 1e3, 1e-6
Case = tuple[str, str]  # pass; mask, and on a GPU width


@dataclass(frozen=True)
class FlashTimings:
    """Committed times of one machine: rows by `pass`, `mask`, `n` and `rival`, and `memory` likewise."""

    how: Mapping
    rows: Sequence[Mapping]
    memory: Sequence[Mapping] = ()

    @classmethod
    def load(cls, path: str | Path) -> "FlashTimings":
        read = json.loads(Path(path).read_text(encoding="utf-8"))
        rows = [_common(row) for row in read["rows"] if "seconds" in row]  # some rivals could not run
        return cls(read["how"], rows, read.get("memory", ()))

    @classmethod
    def found(cls, *paths: str | Path) -> list["FlashTimings"]:
        """Those of the files that there are: a machine that nobody measured has no chart."""
        return [cls.load(path) for path in paths if Path(path).exists()]

    @property
    def baseline(self) -> str:
        """What the others are compared with."""
        return next(name for name in BASELINES if any(row["rival"] == name for row in self.rows))

    def curve(self, way: str, mask: str, rival: str) -> list[tuple[Number, Number]]:
        """(n, milliseconds) of one rival."""
        return sorted((row["n"], row["seconds"] * MS) for row in self.rows if _is(row, (way, mask), rival))

    def chart(self, *ways: str) -> StaticFigure:
        """A panel for each mask of these passes, or of all, with the same axes; the caption says by what."""
        cases = [case for case in _cases(self.rows) if not ways or case[0] in ways]
        first, *others = (self._panel(*case) for case in cases)
        return replace(sum(others, start=first), caption=self.measured())

    def _panel(self, way: str, mask: str) -> StaticFigure:
        curves = {NAMES.get(rival, rival): self.curve(way, mask, rival) for rival in self._rivals()}
        curves = {name: points for name, points in curves.items() if points}
        x, y = zip(*((row["n"], row["seconds"] * MS) for row in self.rows), strict=True)
        title, baseline = _said(way, mask).capitalize(), NAMES[self.baseline]
        said = "; ".join(
            f"{name} from {tidy(ends[0][1])} at n = {ends[0][0]} to {tidy(ends[-1][1])} at n = {ends[-1][0]}"
            for name, ends in curves.items()
        )
        return growth(
            curves,
            baseline=baseline if baseline in curves else None,
            alt=f"{title}. Milliseconds against n, both axes logarithmic. {said}.",
            title=title,
            y_label="Milliseconds (logarithmic)",
            x_range=(min(x), max(*x, 2 * min(x))),  # a single length needs room too
            y_range=(min(y) * 0.8, max(y) * 1.25),
        )

    def _rivals(self) -> list[str]:
        """All that were measured, in the order of `NAMES`."""
        there = {row["rival"] for row in [*self.rows, *self.memory]}
        return [*(name for name in NAMES if name in there), *sorted(there - NAMES.keys())]

    def measured(self) -> str:
        """On what, with what and when."""
        how = self.how
        trial = "A trial at small sizes, not a result. " if how.get("quick") else ""
        memory = f"; memory: {how['memory']}" if "memory" in how else ""
        triton = f" Triton {how['triton']}," if "triton" in how else ""
        return (
            f"{trial}{how['setting'][0].upper()}{how['setting'][1:]}; {how['time']}{memory}. "
            f"{how.get('processor') or how['gpu']}, PyTorch {how['torch']},{triton} Python {how['python']}, "
            f"{how['date']}, library at {how['commit']}."
        )

    def _repr_html_(self) -> str:
        """For each case at its largest n: time beside the baseline's, how far that scattered, and memory."""
        names = ("whose", "pass", "n", f"÷ {NAMES[self.baseline].removeprefix('PyTorch ')}", "middle half")
        head = h("thead", h("tr", *(h("th", name, scope="col") for name in (*names, "extra MB, at n"))))
        body = (
            h("tr", h("th", line[0], scope="row"), *(h("td", x) for x in line[1:])) for line in self._lines()
        )
        return str(h("div.pa-costs", h("table", head, h("tbody", *body))))

    def _lines(self) -> Iterator[tuple[str, ...]]:
        for case in _cases([*self.rows, *self.memory]):
            for rival in self._rivals():
                timed = [row for row in self.rows if _is(row, case, rival)]
                held = [row for row in self.memory if _is(row, case, rival)]
                if not timed and not held:
                    continue
                last = max(timed or held, key=lambda row: row["n"])
                spread = f"{fixed(last['low'])} to {fixed(last['high'])}" if "low" in last else "–"
                memory = f"{fixed(held[-1]['bytes'] * MB, 1)} at {held[-1]['n']}" if held else "–"
                ratio = self._ratio(case, last)
                yield NAMES.get(rival, rival), _said(*case), str(last["n"]), ratio, spread, memory

    def _ratio(self, case: Case, row: Mapping) -> str:
        """Its time in units of the baseline's: as the file says, by turns, or else by the medians."""
        base = [r for r in self.rows if _is(r, case, self.baseline) and r["n"] == row["n"]]
        if "seconds" not in row or not base:
            return "–"
        return fixed(row.get("to_sdpa", row["seconds"] / base[0]["seconds"]))


def _common(row: Mapping) -> Mapping:
    """A row as `flash_cpu` writes it; `flash_gpu` says way and kind, and has several widths."""
    if "way" not in row:
        return row
    return {**row, "pass": row["way"], "mask": f"{row['kind']}, width {row['width']}"}


def _cases(rows: Sequence[Mapping]) -> list[Case]:
    """Each pass and mask once, in the order of the file."""
    return list(dict.fromkeys((row["pass"], row["mask"]) for row in rows))


def _is(row: Mapping, case: Case, rival: str) -> bool:
    return (row["pass"], row["mask"], row["rival"]) == (*case, rival)


def _said(way: str, mask: str) -> str:
    return f"{way}, {mask.replace('full', 'no mask')}"
