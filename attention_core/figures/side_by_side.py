"""One alignment from several sources, drawn alike so that they can be compared cell by cell."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np

from attention_core.figures import plots
from attention_core.figures.plots import Number, StaticFigure

LEFT, TOP, HEIGHT = 104, 62, 44  # view-box units: row names, title and column names, one row
Links = Collection[tuple[int, int]]


def side_by_side(
    panels: Mapping[str, Any],
    rows: Sequence[str],
    columns: Sequence[str],
    *,
    sure: Links = (),
    possible: Links = (),
    caption: str = "",
) -> StaticFigure:
    """A matrix of weights for each source, all with the same words; its alt text reads them out.

    Parameters
    ----------
    panels
        By title: array or tensor of weights from 0 to 1, a row for each of `rows`. One that has fewer columns
        than there are names leaves the last ones empty, as a matrix made without `</s>` does.
    rows, columns
        The tokens along each side.
    sure, possible
        Gold links (row, column): framed with dashes, and with dots where they are possible only.
    """
    matrices = {title: _matrix(title, given, rows, columns) for title, given in panels.items()}
    maybe = set(possible) - set(sure)
    marks = {link: dash for links, dash in ((maybe, "1.5 4"), (sure, "6 4")) for link in links}
    drawn = tuple(_panel(title, matrix, rows, columns, marks) for title, matrix in matrices.items())
    parts = [_read_out(title, matrix, rows, columns) for title, matrix in matrices.items()]
    for links, kind in ((sure, "Dashed"), (maybe, "Dotted")):
        if links:
            pairs = ", ".join(f"{rows[r]} and {columns[c]}" for r, c in sorted(links))
            parts.append(f"{kind} frames: {pairs}.")
    return StaticFigure("side-by-side", drawn, " ".join(parts), caption)


def _matrix(title: str, given: Any, rows: Sequence[str], columns: Sequence[str]) -> np.ndarray:
    matrix = np.asarray(given, dtype=float)
    if matrix.ndim != 2 or len(matrix) != len(rows) or not 1 <= matrix.shape[1] <= len(columns):
        raise ValueError(
            f"`panels` {title!r} must have a row for each of {len(rows)} words and at most {len(columns)} "
            f"columns; got shape {matrix.shape}. Leave out the row of </s>?"
        )
    if not ((matrix >= 0) & (matrix <= 1 + 1e-6)).all():
        raise ValueError(f"`panels` {title!r} must hold weights between 0 and 1; take a softmax first")
    return matrix


def _read_out(title: str, matrix: np.ndarray, rows: Sequence[str], columns: Sequence[str]) -> str:
    lines = (
        f"row {name}: " + ", ".join(f"{c} {w:.2f}" for c, w in zip(columns, line, strict=False))
        for name, line in zip(rows, matrix, strict=True)
    )
    return f"{title}: {'; '.join(lines)}."


def _panel(
    title: str,
    matrix: np.ndarray,
    rows: Sequence[str],
    columns: Sequence[str],
    marks: Mapping[tuple[int, int], str],
) -> str:
    width = (plots.UNIT - LEFT - 4) / len(columns)
    drawn = [plots._text(0, 18, title, anchor="start", weight=650)]
    for j, name in enumerate(columns):
        drawn.append(plots._text(LEFT + width * (j + 0.5), TOP - 10, name, weight=650))
    for i, name in enumerate(rows):
        y = TOP + HEIGHT * i
        drawn.append(plots._text(LEFT - 14, y + HEIGHT / 2 + 6, name, anchor="end", weight=650))
        for j in range(matrix.shape[1]):
            drawn += _cell(LEFT + width * j, y, width, float(matrix[i, j]), marks.get((i, j)))
    return plots._svg(TOP + HEIGHT * len(rows) + 4, drawn)


def _cell(x: Number, y: Number, width: Number, weight: float, dash: str | None) -> list[str]:
    ink = plots._ink(weight)
    box = (
        f'<rect x="{x + 2:.1f}" y="{y + 2}" width="{width - 4:.1f}" height="{HEIGHT - 4}" rx="7" '
        f'style="fill:{plots._colour(weight)};stroke:var(--ps-line)"/>'
    )
    frame = (
        f'<rect x="{x + 6:.1f}" y="{y + 6}" width="{width - 12:.1f}" height="{HEIGHT - 12}" rx="4" '
        f'style="fill:none;stroke:{ink};stroke-width:2;stroke-linecap:round;stroke-dasharray:{dash}"/>'
    )
    number = plots._text(x + width / 2, y + HEIGHT / 2 + 6, f"{weight:.2f}", colour=ink)
    return [box, *([frame] if dash else []), number]
