"""The static picture of `BlockSparsity`, and its sentence: the Python twin of block_sparsity.js."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from attention_core.figures.static import Markup, h, percent

EMPTY, PARTIAL, FULL = "empty", "partial", "full"
FILLS = {  # in the picture itself too: where the style sheet is missing, it is still true
    "full": "var(--pa-s8, #02588d)",
    "idle": "color-mix(in oklab, var(--pa-warning, #a8321f) 30%, var(--pa-surface, #fff))",
    "some": "var(--pa-s5, #029fac)",
}


LOW = 80  # per cent from the top: below it, the level has its name above


class Tally(NamedTuple):
    """What one size of tile makes of a mask."""

    tile: int
    size: int  # all pairs
    empty: int  # tiles
    partial: int
    full: int
    allowed: int  # pairs
    asked: int  # pairs in partial tiles, of each of which the mask is asked
    computed: int  # pairs in partial and full tiles

    @property
    def tiles(self) -> int:
        return self.empty + self.partial + self.full


def share(part: int, whole: int) -> str:
    """A rounded percentage that never claims all or nothing."""
    x = part / whole
    if 0 < x < 0.005:
        return f"under {percent(0.01)}"
    return f"over {percent(0.99)}" if 0.995 <= x < 1 else percent(x)


def describe(line: Sequence[Tally], at: Tally, picked: str = "") -> list[str]:
    """The sentence the view shows: see `describe` in block_sparsity.js."""
    lead = (
        f"{share(at.allowed, at.size)} of the pairs are allowed; tiles of {at.tile} compute "
        f"{share(at.computed, at.size)}."
    )
    if picked:
        return [picked, lead]
    if at.empty:
        verbs = ("holds", "is") if at.empty == 1 else ("hold", "are")
        said = [f"{at.empty} of {at.tiles} tiles {verbs[0]} no allowed pair and {verbs[1]} skipped."]
    else:
        said = [f"None of the {at.tiles} tiles is empty, so nothing is skipped."]
    idle = at.computed - at.allowed
    if idle:
        said.append(f"{idle} pairs are computed and thrown away, {share(idle, at.computed)} of the work.")
    else:
        said.append("No pair is computed for nothing.")
    best = min(line, key=lambda other: other.computed)  # the first, so the smallest tile, of equals
    if best.computed < at.computed:
        said.append(
            f"Tiles of {best.tile} would compute {share(best.computed, at.size)}, but their table has "
            f"{best.tiles} entries instead of {at.tiles}."
        )
    else:
        fewest = max((o for o in line if o.computed == at.computed), key=lambda other: other.tile)
        said.append(
            f"No other size here computes less, or as little with fewer than {at.tiles} entries in its table."
            if fewest.tile == at.tile
            else f"Tiles of {fewest.tile} compute no more, and their table has {fewest.tiles} entries, "
            f"not {at.tiles}."
        )
    return [lead, *said]


def of_tile(kind: str, row: int, col: int, n: int, tile: int, pairs: int) -> str:
    """One tile in words; `pairs` of it are allowed."""
    ends = [f"{i * tile} to {min((i + 1) * tile, n) - 1}" for i in (row, col)]
    area = int(np.prod([min(tile, n - i * tile) for i in (row, col)]))
    what = {
        EMPTY: "empty and is skipped",
        PARTIAL: f"partial: {pairs} of its {area} pairs are allowed, and all {area} are computed",
        FULL: f"full: all its {area} pairs are allowed, so no mask is asked",
    }[kind]
    return f"The tile of queries {ends[0]} and keys {ends[1]} is {what}."


# -- parts of the static picture ---------------------------------------------------------------------------


def board(may: np.ndarray, kinds: np.ndarray, tile: int) -> tuple[Markup, ...]:
    """Tiles by kind; in partial ones the allowed pairs over those that are computed for nothing."""
    n = len(may)
    shapes: dict[str, list[str]] = {name: [] for name in FILLS}
    for (r, c), kind in np.ndenumerate(kinds):
        y, x = r * tile, c * tile
        height, width = min(tile, n - y), min(tile, n - x)
        if kind:
            shapes["full" if kind == 2 else "idle"].append(f"M{x} {y}h{width}v{height}h-{width}z")
        if kind == 1:
            for i in range(y, y + height):
                for start, length in _runs(may[i, x : x + width]):
                    shapes["some"].append(f"M{x + start} {i}h{length}v1h-{length}z")
    paths = [h("path", d="".join(d), style=f"fill: {FILLS[name]}") for name, d in shapes.items()]
    lines = "".join(f"M0 {i}H{n}M{i} 0V{n}" for i in range(tile, n, tile))
    svg = h("svg", *paths, h("path.pa-tile-lines", d=lines), viewBox=f"0 0 {n} {n}", aria_hidden="true")
    return (
        h("div.pa-blocktop", *_ends(n)),
        h("div.pa-blockside", *_ends(n)),
        h("div.pa-blockcells", svg),
    )


def _ends(n: int) -> tuple[Markup, Markup]:
    return h("span", "0"), h("span", str(n - 1))


def _runs(line: np.ndarray) -> list[tuple[int, int]]:
    """Start and length of each run of True."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], line.astype(np.int8), [0]])))
    return [(int(a), int(b - a)) for a, b in edges.reshape(-1, 2)]


def legend(at: Tally) -> Markup:
    """The kinds of tiles with their counts."""
    kinds = {
        "full": (at.full, "computed whole, no mask asked"),
        "partial": (at.partial, "computed whole, then masked"),
        "empty": (at.empty, "skipped"),
    }
    return h(
        "div.pa-kinds",
        *(
            h("p.pa-kind", h(f"i.pa-kind-{name}"), h("strong", str(count)), h("span", f"{name}: {what}"))
            for name, (count, what) in kinds.items()
        ),
    )


def facts(at: Tally) -> Markup:
    values = {
        "tiles skipped": share(at.empty, at.tiles),
        "pairs allowed": share(at.allowed, at.size),
        "pairs computed": share(at.computed, at.size),
        "computed for nothing": str(at.computed - at.allowed),
        "pairs asked of mask_mod": str(at.asked),
        "entries in the table": str(at.tiles),
    }
    made = (h("div.pa-tile", h("span", k), h("strong", v)) for k, v in values.items())
    return h("div.pa-tiles", *made)


def charts(line: Sequence[Tally], at: Tally) -> Markup:
    """Work and number of tiles against the size of a tile; both axes start at zero."""
    most = max(other.tiles for other in line)
    level = 100 - 100 * at.allowed / at.size
    return h(
        "div.pa-steps",
        _chart(
            "Pairs computed, at every tile size", "100 %", line, at, [o.computed / o.size for o in line],
            h(
                "span.pa-step-level.pa-low" if level > LOW else "span.pa-step-level",
                h("span", "allowed"),
                style=f"top: {level:.4f}%",
            ),
        ),
        _chart("Entries in the table of tiles", str(most), line, at, [o.tiles / most for o in line]),
    )  # fmt: skip


def _chart(name: str, top: str, line: Sequence[Tally], at: Tally, heights: Sequence[float], *more: Markup):
    points = [(along(o, line), 100 - 100 * y) for o, y in zip(line, heights, strict=True)]
    path = "M" + "L".join(f"{x:.3f} {y:.3f}" for x, y in points)
    x, y = points[line.index(at)]
    ticks = (o for o in line if o.tile % 4 == 0)
    return h(
        "div",
        h("p.pa-step-name", name),
        h(
            "div.pa-step",
            h(
                "svg",
                h("path", d=path),
                viewBox="0 0 100 100",
                preserveAspectRatio="none",
                aria_hidden="true",
            ),
            *more,
            h("span.pa-step-dot", style=f"left: {x:.4f}%; top: {y:.4f}%"),
            h("span.pa-step-top", top),
            h("span.pa-step-zero", "0"),
            *(h("span.pa-step-tick", str(o.tile), style=f"left: {along(o, line):.4f}%") for o in ticks),
            role="img",
            aria_label=name,
        ),
    )


def along(at: Tally, line: Sequence[Tally]) -> float:
    return 100 * (at.tile - line[0].tile) / (line[-1].tile - line[0].tile)
