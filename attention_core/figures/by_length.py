"""What was measured of translators by sentence length, drawn and said: nothing is typed in, all is read.

`benchmarks/translator.py` writes the file; see `ByLength.load`.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

from attention_core.datasets.parallel.splits import LONGEST
from attention_core.figures.bottleneck_measured_static import Band
from attention_core.figures.plots import Number


@dataclass(frozen=True)
class ByLength:
    """BLEU by length of the source sentence, one row a seed.

    Parameters
    ----------
    bands
        Shortest and longest length in tokens of each column, in order.
    trained
        Tokens in the longest sentence of the training set.
    attention
        A row of BLEU (0 to 100) for each seed, a column for each band.
    none
        By the width of the state, the same for models without attention.
    how
        What was measured on: `processor`, `torch`, `date`, `commit`; `quick` where it was but a trial.
    validation
        By the width of the state and then by seed, the validation loss after every epoch without attention.
    """

    bands: Sequence[Band]
    trained: int
    attention: Sequence[Sequence[Number]]
    none: Mapping[int, Sequence[Sequence[Number]]]
    how: Mapping[str, Any]
    validation: Mapping[int, Sequence[Sequence[Number]]] = field(default_factory=dict)

    @classmethod
    def load(cls, path: str | Path) -> "ByLength":
        read = json.loads(Path(path).read_text(encoding="utf-8"))
        rows = sorted(read["rows"], key=lambda row: (row["width"], row["seed"]))
        own = [row for row in rows if row["kind"] == "additive"]
        none: dict[int, list[Mapping]] = {}
        for row in rows:
            if row["kind"].partition("-")[0] == "none":
                none.setdefault(row["width"], []).append(row)
        if not own or not none:
            raise ValueError(f"`path` must hold rows of kind additive and none; {path} lacks one of them")
        bands = _apart([(band["from"], band["to"]) for band in own[0]["by_length"]])
        return cls(
            bands,
            LONGEST,
            [_scores(row, bands) for row in own],
            {width: [_scores(row, bands) for row in group] for width, group in none.items()},
            read["how"],
            {width: [row["validation_loss"] for row in group] for width, group in none.items()},
        )

    @property
    def readers(self) -> list[dict[str, Any]]:
        """Attention first, then each width: medians over seeds, and their range."""
        rows = [(0, self.attention), *sorted(self.none.items())]
        return [{"width": width, "seeds": len(seeds), **_middle(seeds)} for width, seeds in rows]

    def measured(self) -> str:
        """How many seeds, on what, with what and when."""
        how = self.how
        trial = "A trial with tiny models, not a result. " if how.get("quick") else ""
        seeds = {width: len(rows) for width, rows in self.none.items()}
        said = ", ".join(f"{count} at width {width}" for width, count in seeds.items())
        return (
            f"{trial}Medians over seeds: {len(self.attention)} with attention, without it {said}. "
            f"{how['processor']}, PyTorch {how['torch']}, {how['date']}, library at {how['commit']}."
        )


def _apart(bands: Sequence[Band]) -> list[Band]:
    """Those that begin where others have ended: a file may hold pooled bands after them."""
    kept: list[Band] = []
    for low, high in bands:
        if not kept or low > kept[-1][1]:
            kept.append((low, high))
    return kept


def _scores(row: Mapping, bands: Sequence[Band]) -> list[Number]:
    by_band = {(band["from"], band["to"]): band["bleu"] for band in row["by_length"]}
    return [by_band[band] for band in bands]


def _middle(seeds: Sequence[Sequence[Number]]) -> dict[str, list[Number]]:
    columns = list(zip(*seeds, strict=True))
    return {
        "bleu": [float(median(c)) for c in columns],
        "low": [float(min(c)) for c in columns],
        "high": [float(max(c)) for c in columns],
    }
