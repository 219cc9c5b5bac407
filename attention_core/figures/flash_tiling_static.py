"""The static picture of `FlashTiling`: the Python twin of what flash_tiling.js draws."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from attention_core.figures.permutation_static import small
from attention_core.figures.static import Markup, fixed, h, ramp
from attention_core.figures.tiling_runs import AVERAGE, SCORES, SOFTMAX, TILE, Run, Step, allowed

LEVELS = 32  # shades of a cell


class Scene(NamedTuple):
    """All that one picture shows."""

    run: Run
    other: Run  # of the other schedule
    at: int  # the step, from 0
    tile: int
    causal: bool
    query: int
    scores: np.ndarray  # (n, m), all of them
    weights: np.ndarray
    difference: float
    capacity: int

    @property
    def now(self) -> Step:
        return self.run.steps[self.at]

    @property
    def flash(self) -> bool:
        return self.now.phase == TILE

    @property
    def last(self) -> bool:
        return self.at == len(self.run.steps) - 1


# -- words -------------------------------------------------------------------------------------------------

_WHOLE = "Query {query}: all scores and their maximum m (top), weights e^(s−m) that add up to ℓ (bottom)"
WORDS: dict = {  # the view has these same words, and fills the same gaps
    "begins": "Tile ({row}, {column}): query {query} meets its first keys, so its maximum and sum begin.",
    "rose": "Tile ({row}, {column}): a larger score appeared for query {query}, so its old sum and output "
    "are multiplied by {factor}.",
    "stayed": "Tile ({row}, {column}): the maximum of query {query} did not rise, so its old sum stays "
    "as it is.",
    SCORES: "Pass 1 of 3: the scores of queries {first} to {last} are made, and stored.",
    SOFTMAX: "Pass 2 of 3: the scores of queries {first} to {last} are loaded again, their weights stored.",
    AVERAGE: "Pass 3 of 3: the weights of queries {first} to {last} are loaded again, their output stored.",
    "moved": "{moved} moved so far.",
    "captions": {
        TILE: "Scores S = QKᵀ/√d, a tile at a time",
        SCORES: "Scores S = QKᵀ/√d, a band at a time",
        SOFTMAX: "Weights A = softmax S, a band at a time",
        AVERAGE: "Weights A, loaded again for O = AV",
    },
    "legends": {
        TILE: [("now", "in SRAM now"), ("made", "used, never stored"), ("skipped", "skipped")],
        SCORES: [("now", "in SRAM now"), ("stored", "stored in HBM")],
        SOFTMAX: [("now", "in SRAM now"), ("stored", "stored in HBM"), ("skipped", "masked")],
        AVERAGE: [("now", "in SRAM now"), ("stored", "stored in HBM"), ("skipped", "masked")],
    },
    "online": {
        TILE: "Query {query}: scores and their maximum m so far (top), "
        "weights e^(s−m) that add up to ℓ (bottom)",
        SCORES: "Query {query}: all its scores; its maximum and weights wait until they are loaded again",
        SOFTMAX: _WHOLE,
        AVERAGE: _WHOLE,
    },
    "tiles": ["max m", "sum ℓ", "old ℓ ×"],
}


def kib(count: int) -> str:
    return f"{fixed(count / 1024, 1)}\u00a0KiB"


def before(scene: Scene) -> tuple[float, float] | None:
    """Running maximum and sum of the query before this tile; None where this tile is its first."""
    if scene.now.cols.start == 0 or not scene.flash:
        return None
    return known(scene.run.steps[scene.at - 1], scene.query)


def known(step: Step, query: int) -> tuple[float, float] | None:
    """Running maximum and sum of a query after a step."""
    i = query - step.rows.start
    return (float(step.maximum[i]), float(step.total[i])) if len(step.maximum) else None


def rescale(scene: Scene) -> float | None:
    """What the old sum is multiplied by: e to the old maximum minus the new one."""
    old, new = before(scene), known(scene.now, scene.query)
    return None if old is None else float(np.exp(old[0] - new[0]))


def describe(scene: Scene) -> list[str]:
    """The sentence of result."""
    if scene.last:
        return ending(scene)
    step, factor = scene.now, rescale(scene)
    happens = step.phase or ("begins" if factor is None else "rose" if factor < 1 else "stayed")
    values = {
        "row": step.rows.start // scene.tile + 1, "column": step.cols.start // scene.tile + 1,
        "query": scene.query, "first": step.rows.start, "last": step.rows.stop - 1,
        "factor": fixed(1.0 if factor is None else factor), "moved": kib(step.traffic.bytes),
    }  # fmt: skip
    return [WORDS[happens].format(**values), WORDS["moved"].format(**values), overall(scene)]


def overall(scene: Scene) -> str:
    """What the schedule moves from its first step to its last, and how exact it is."""
    total, instead = (run.steps[-1].traffic.bytes for run in (scene.run, scene.other))
    name, other = ("Flash", "standard") if scene.flash else ("Standard", "flash")
    return f"{name} moves {total:,} bytes in all, {other} {instead:,}; {exactly(scene)}."


def exactly(scene: Scene) -> str:
    return f"the largest difference from exact attention is {small(scene.difference)}"


def ending(scene: Scene) -> list[str]:
    """What can be said once the schedule is through."""
    n, m = scene.scores.shape
    total, instead = (run.steps[-1].traffic.bytes for run in (scene.run, scene.other))
    said = [f"{total:,} bytes instead of {instead:,}, and {exactly(scene)}."]
    if not scene.flash:
        said.append(f"Scores and weights, {n * m:,} of each, were stored and loaded again.")
        return [*said, "The mask saved nothing: every score was made."] if scene.causal else said
    said.append("No score was ever stored.")
    tiles, needs = -(-n // scene.tile) * -(-m // scene.tile), scene.run.cost.sram
    skipped = tiles - len(scene.run.steps)
    if skipped:
        said.append(f"{skipped} of {tiles} tiles were skipped: the mask leaves them no pair.")
    if needs > scene.capacity:
        said.append(f"But a tile needs {kib(needs)} of SRAM, and there are {kib(scene.capacity)}.")
    return said


# -- the board ---------------------------------------------------------------------------------------------


def shade(t: float) -> float:
    return int(np.floor(t * LEVELS + 0.5)) / LEVELS


def shares(scene: Scene, weights: bool) -> np.ndarray:
    """Every cell's place on the ramp: a score's between the extremes, the square root of a weight."""
    if weights:
        return np.sqrt(scene.weights)
    low, high = scene.scores.min(), scene.scores.max()
    return (scene.scores - low) / ((high - low) or 1.0)


def boxes(scene: Scene) -> Iterator[tuple[str, slice, slice]]:
    """Every tile or band, with what has become of it: now, made, stored, skipped or nothing."""
    n, m = scene.scores.shape
    wide = scene.tile if scene.flash else m
    place = {(s.phase, s.rows.start, s.cols.start): i for i, s in enumerate(scene.run.steps)}
    for r in range(0, n, scene.tile):
        for c in range(0, m, wide):
            i = place.get((scene.now.phase, r, c))
            state = "skipped" if i is None else "now" if i == scene.at else ""
            if not state and (i < scene.at or scene.now.phase > SCORES):
                state = "made" if scene.flash else "stored"
            yield state, slice(r, min(r + scene.tile, n)), slice(c, min(c + wide, m))


def share(part: slice, size: int, start: str, length: str) -> str:
    return f"{start}: {100 * part.start / size:.4f}%; {length}: {100 * (part.stop - part.start) / size:.4f}%"


def at(rows: slice, cols: slice, n: int, m: int) -> str:
    return f"{share(rows, n, 'top', 'height')}; {share(cols, m, 'left', 'width')}"


def cells(scene: Scene, rows: slice, cols: slice, weights: bool) -> list[Markup]:
    """A path for each shade; the mask's pairs stay bare."""
    may = allowed(*scene.scores.shape, scene.causal and (scene.flash or weights))
    t = shares(scene, weights)
    shades: dict[float, list[str]] = {}
    for i in range(rows.start, rows.stop):
        for j in range(cols.start, cols.stop):
            if may[i, j]:
                shades.setdefault(shade(t[i, j]), []).append(f"M{j} {i}h1v1h-1z")
    return [h("path", d="".join(d), style=f"fill: {ramp(level)}") for level, d in sorted(shades.items())]


def board(scene: Scene) -> tuple[Markup, ...]:
    """Keys and values above, queries on the left, output on the right, and the matrix that joins them."""
    n, m = scene.scores.shape
    now, tile = scene.now, scene.tile
    spans, faded, bright, under = [], [], [], ""
    for state, rows, cols in boxes(scene):
        spans.append(h(f"span.pa-tilebox.pa-{state or 'none'}", style=at(rows, cols, n, m)))
        if state == "now":
            bright += cells(scene, rows, cols, now.phase > SCORES)
        elif state == "stored":
            done = now.phase == AVERAGE or (now.phase == SOFTMAX and rows.start < now.rows.start)
            faded += cells(scene, rows, cols, done)
            may = allowed(n, m, scene.causal and done)
            under += "".join(f"M0 {i}h{may[i].sum()}v1H0z" for i in range(rows.start, rows.stop))
    svg = h(
        "svg", h("path.pa-under", d=under), h("g.pa-faded", *faded), h("g", *bright), viewBox=f"0 0 {m} {n}",
        preserveAspectRatio="none", aria_hidden="true",
    )  # fmt: skip
    row = slice(scene.query, scene.query + 1)
    grid = h(
        "div.pa-tilecells", h("div.pa-boxes", *spans), svg,
        h("span.pa-boxline", style=at(now.rows, now.cols, n, m)),
        h("span.pa-queryline", style=at(row, now.cols, n, m)),
        h("span.pa-querytag", scene.query, style=f"top: {100 * (scene.query + 0.5) / n:.4f}%"),
        style=f"aspect-ratio: {m} / {n}",
    )  # fmt: skip
    held = scene.run.sram[now.phase]
    whole, nothing = slice(0, m), slice(0, 0)
    k, v = ((now.cols if scene.flash else whole) if name in held else nothing for name in ("K", "V"))
    q = now.rows if "Q" in held else nothing
    hole, letter = h("i"), lambda name: h("b", name, aria_hidden="true")
    parts = (
        hole, h("div.pa-lane.pa-lane-k", *strip(m, tile, k)), letter("K"),
        hole, h("div.pa-lane.pa-lane-v", *strip(m, tile, v)), letter("V"),
        letter("Q"), hole, letter("O"),
        h("div.pa-lane.pa-lane-q.pa-down", *strip(n, tile, q)), grid,
        h("div.pa-lane.pa-lane-o.pa-down", *outputs(scene)),
    )  # fmt: skip
    return h("div.pa-tiling", *parts), legend(scene)


def strip(size: int, tile: int, held: slice) -> list[Markup]:
    """One input, tile by tile; those in fast memory are full in colour."""
    return [
        h(
            "span.pa-held" if held.start <= start < held.stop else "span",
            style=f"flex-grow: {min(tile, size - start)}",
        )
        for start in range(0, size, tile)
    ]


def outputs(scene: Scene) -> list[Markup]:
    """The output, tile by tile, as full as its sum is."""
    n = len(scene.scores)
    spans = []
    for start in range(0, n, scene.tile):
        mine = [
            i for i, s in enumerate(scene.run.steps)
            if s.rows.start == start and s.phase in (TILE, AVERAGE)
        ]  # fmt: skip
        full = sum(i <= scene.at for i in mine) / len(mine)
        held = scene.now.phase in (TILE, AVERAGE) and scene.now.rows.start == start
        spans.append(
            h(
                "span.pa-held" if held else "span",
                h("i", style=f"height: {100 * full:.4f}%"),
                style=f"flex-grow: {min(scene.tile, n - start)}",
            )
        )
    return spans


def legend(scene: Scene) -> Markup:
    kinds = WORDS["legends"][scene.now.phase][: 3 if scene.causal else 2]
    return h("p.pa-key.pa-tilekey", *(h("span", h(f"i.pa-tilebox.pa-{kind}"), text) for kind, text in kinds))


# -- the facts beside it -----------------------------------------------------------------------------------


def facts(scene: Scene) -> tuple[Markup, ...]:
    return (*traffic(scene), *fast_memory(scene), *online(scene))


def traffic(scene: Scene) -> tuple[Markup, ...]:
    runs = (scene.other, scene.run) if scene.flash else (scene.run, scene.other)
    most = max(run.steps[-1].traffic.bytes for run in runs)
    lines = []
    for name, run in zip(("Standard", "Flash"), runs, strict=True):
        total = run.steps[-1].traffic
        seen = scene.now.traffic if run is scene.run else total
        line = "div.pa-bytes.pa-subject" if run is scene.run else "div.pa-bytes"
        bar = h(
            "span.pa-membar",
            h("i.pa-in", style=f"width: {100 * seen.loaded / most:.4f}%"),
            h("i.pa-out", style=f"width: {100 * seen.stored / most:.4f}%"),
            h("i.pa-whole", style=f"left: {100 * total.bytes / most:.4f}%"),
        )
        lines.append(h(line, h("span", name), bar, h("strong", kib(seen.bytes))))
    seen = scene.now.traffic
    key = h(
        "p.pa-key.pa-tilekey",
        h("span", h("i.pa-in"), f"loaded {kib(seen.loaded)}"),
        h("span", h("i.pa-out"), f"stored {kib(seen.stored)}"),
        h("span", h("i.pa-whole"), "at the end"),
    )
    return h("p.pa-caption", "Bytes between HBM (slow) and SRAM (fast)"), *lines, key


def sram(run: Run, phase: int, capacity: int) -> dict:
    """What fast memory holds in a phase, against what there is of it; lengths in per cent of the bar."""
    parts = run.sram[phase]
    room = sum(parts.values())
    widest = max(room, capacity)
    return {
        "bytes": room,
        "over": room > capacity,
        "said": f"In SRAM: {kib(room)}{', more than' if room > capacity else ' of'} {kib(capacity)}",
        "parts": [(name, 100 * size / widest) for name, size in parts.items()],
        "mark": 100 * capacity / widest,
    }


def fast_memory(scene: Scene) -> tuple[Markup, Markup]:
    held = sram(scene.run, scene.now.phase, scene.capacity)
    spans = [
        h(f"span.pa-part-{name[0].lower()}", name, style=f"width: {width:.4f}%")
        for name, width in held["parts"]
    ]
    caption = h("p.pa-caption.pa-over" if held["over"] else "p.pa-caption", held["said"])
    return caption, h("div.pa-sram", *spans, h("i.pa-whole", style=f"left: {held['mark']:.4f}%"))


def online(scene: Scene) -> tuple[Markup, ...]:
    """One query's scores and running maximum above, the weights that add up to its sum below."""
    n, m = scene.scores.shape
    query, now = scene.query, scene.now
    line, may = scene.scores[query], allowed(n, m, scene.causal)[query]
    low, high = line.min(), line.max()
    height = lambda s: 4 + 36 * (high - s) / ((high - low) or 1.0)  # noqa: E731
    seen = range(now.cols.stop)
    state = known(now, query)
    points, bars = [], []
    for j in seen:
        if not may[j] and now.phase != SCORES:
            continue
        fresh = j >= now.cols.start
        points.append(h("path.pa-fresh" if fresh else "path", d=f"M{j + 0.1:.1f} {height(line[j]):.2f}h0.8"))
        if state:
            e = float(np.exp(line[j] - state[0]))
            fill = f"fill: {ramp(shade(min(e, 1)))}" if fresh else None
            bars.append(
                h("rect", x=f"{j + 0.1:.1f}", y=f"{96 - 44 * e:.2f}", width="0.8",
                  height=f"{44 * e:.2f}", style=fill)
            )  # fmt: skip
    paths = [h("path.pa-running", d=running(scene, height))] if state else []
    svg = h(
        "svg.pa-online", h("path.pa-axis", d=f"M0 48H{m}M0 96H{m}"), *points, *paths, *bars,
        viewBox=f"0 0 {m} 100", preserveAspectRatio="none", aria_hidden="true",
    )  # fmt: skip
    factor = rescale(scene)
    values = [*(state or (None, None)), factor]
    tiles = [
        h("div.pa-tile", h("span", name), h("strong", "–" if x is None else fixed(x)))
        for name, x in zip(WORDS["tiles"], values, strict=True)
    ]
    return (
        h("p.pa-caption.pa-oftile", WORDS["online"][now.phase].format(query=query)),
        svg,
        h("div.pa-tiles", *tiles),
    )


def running(scene: Scene, height) -> str:
    """The running maximum as a stair, a step a tile."""
    start = scene.now.rows.start
    mine = [
        s for s in scene.run.steps[: scene.at + 1] if s.phase == scene.now.phase and s.rows.start == start
    ]
    path = ""
    for step in mine:
        top = f"{height(known(step, scene.query)[0]):.2f}"
        path += f"{'V' if path else 'M0 '}{top}H{step.cols.stop}"
    return path
