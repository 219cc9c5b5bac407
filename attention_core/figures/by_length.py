"""What was measured of translators by sentence length, drawn and said: nothing is typed in, all is read.

`benchmarks/translator.py` writes the file; see `ByLength.load`.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from attention_core.figures.bottleneck_measured_static import Band


@dataclass(frozen=True)
class ByLength:
    """BLEU by length of the source sentence, one row a seed.

    Parameters
    ----------
    bands
        Shortest and longest length in words of each column, in order; None for no longest.
    trained
        Words in the longest sentence of the training set.
    attention
        A row of BLEU (0 to 100) for each seed, a column for each band.
    none
        By the width of the state, the same for models without attention.
    how
        What was measured on: `processor`, `cores`, `torch`, `python`, `date`, `commit`.
    """

    bands: Sequence[Band]
    trained: int
    attention: Sequence[Sequence[float]]
    none: Mapping[int, Sequence[Sequence[float]]]
    how: Mapping[str, Any]

    @property
    def readers(self) -> list[dict[str, Any]]:
        """Attention first, then each width: medians over seeds, and their range."""
        rows = [(0, self.attention), *sorted(self.none.items())]
        return [{"width": width, **_middle(seeds)} for width, seeds in rows]

    @classmethod
    def load(cls, path: str | Path) -> "ByLength":
        read = json.loads(Path(path).read_text(encoding="utf-8"))
        return cls(**read)

    def measured(self) -> str:
        """On what, with what and when."""
        how = self.how
        return (
            f"Median of {len(self.attention)} seeds; {how['processor']}, PyTorch {how['torch']}, "
            f"{how['date']}, library at {how['commit']}."
        )


def _middle(seeds: Sequence[Sequence[float]]) -> dict[str, list[float]]:
    columns = list(zip(*seeds, strict=True))
    return {
        "bleu": [float(median(c)) for c in columns],
        "low": [float(min(c)) for c in columns],
        "high": [float(max(c)) for c in columns],
    }
