"""The catalogue: one record for each mechanism in the book.

The contract tests, the page "The variants at a glance" and the timeline are made from it.
`python -m attention_core.catalogue` prints it.
"""

from attention_core.catalogue import (
    approximate,
    architectures,
    images,
    memory,
    normalizers,
    positions,
    schedules,
    scores,
    sets,
)
from attention_core.catalogue.record import LAWS, Equality, Variant

__all__ = ["LAWS", "VARIANTS", "Equality", "Variant", "table"]

_FAMILIES = (scores, normalizers, positions, architectures, memory, sets, images, approximate, schedules)

VARIANTS: dict[str, Variant] = {record.name: record for family in _FAMILIES for record in family.RECORDS}


def table() -> str:
    """The catalogue as text, a line each."""
    header = ("name", "year", "title", "citation", "time", "memory", "equation")
    rows = [header, *([str(getattr(variant, field)) for field in header] for variant in VARIANTS.values())]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in rows]
    return "\n".join(line.rstrip() for line in lines)
