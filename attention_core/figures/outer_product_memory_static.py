"""Parts of the static picture of an outer-product memory: see outer_product_memory.js."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from attention_core.figures import outer_product_memory_words as words
from attention_core.figures.outer_product_memory_runs import Answers, Facts, Run, curve, facts, measure
from attention_core.figures.outer_product_memory_words import WORDS, against, below, describe
from attention_core.figures.static import Markup, fixed, h, section, sentence, tidy

LEVELS = 12
PLAIN = {  # for pages that lack the style sheet
    "paper": "fill: var(--pa-zero, #f7f4f2)", "neg": "fill: var(--pa-neg, #004e9b)",
    "pos": "fill: var(--pa-pos, #7f3800)", "minus": "stroke: var(--pa-ink, #1b2230)",
    "deep": "stroke: var(--pa-surface, #fff)",
}  # fmt: skip
PENS = {
    "on": "fill: none; stroke: var(--pa-accent, #1d4fb8)",
    "off": "fill: none; stroke: var(--pa-control, #7b8698)",
    "base": "fill: none; stroke: var(--pa-control, #7b8698)",
}


class Scene(NamedTuple):
    runs: Sequence[Run]  # by each rule
    rule: int
    t: int  # how many pairs are written
    decay: float
    top: float  # the number of the deepest colour

    @property
    def run(self) -> Run:
        return self.runs[self.rule]


def _key(run: Run, i: int) -> str:
    """Name of the key of pair i; of none, before the first."""
    return f"k{below(run.pairs.ids[i] + 1 if i >= 0 else 0)}"


# -- sheets of cells ---------------------------------------------------------------------------------------


def shades(rows: np.ndarray, top: float, tall: float = 1.0) -> list[tuple[str, str, float]]:
    """Cells as paths, one a sign and shade, on paper; a row is `tall` of its height."""
    paths = {"paper": ""}

    def add(name: str, d: str) -> None:
        paths[name] = paths.get(name, "") + d

    for r, row in enumerate(rows.tolist()):
        add("paper", f"M0 {r}h{len(row)}v{tall:g}H0z")
        for c, x in enumerate(row):
            level = min(math.floor(abs(x) / top * LEVELS + 0.5), LEVELS)
            if level:
                add(f"{'neg' if x < 0 else 'pos'} {level}", f"M{c} {r}h1v{tall:g}h-1z")
            if x < 0 and level > 2:
                add("minus" if level < 7 else "deep", f"M{c}.3 {r + tall / 2:.2f}h.4")
    last = {"minus": 1, "deep": 2}
    return [_shade(name, paths[name]) for name in sorted(paths, key=lambda name: last.get(name, 0))]


def _shade(name: str, d: str) -> tuple[str, str, float]:
    kind, _, level = name.partition(" ")
    return kind, d, round((int(level or LEVELS) / LEVELS) ** 0.7, 2)


def sheet(rows: np.ndarray, scene: Scene, high: int | None = None, tall: float = 1.0) -> Markup:
    columns = rows.shape[1]
    paths = (
        h(f"path.pa-om-{name}", d=d, fill_opacity=f"{share:g}", style=PLAIN[name])
        for name, d, share in shades(rows, scene.top, tall)
    )
    box = dict(viewBox=f"0 0 {columns} {high or len(rows) or 1}", preserveAspectRatio="none")
    return h("svg.pa-om-sheet", *paths, **box, aria_hidden="true")


# -- parts of the picture ----------------------------------------------------------------------------------


def body(scene: Scene) -> tuple[Markup, ...]:
    run, t = scene.run, scene.t
    seen = measure(run, t)
    said = describe(
        facts(run, t), facts(scene.runs[against(scene.rule)], t), scene.rule, against(scene.rule), scene.decay
    )
    top = f"{scene.top:g}"
    legend = h("div.pa-legend.pa-om-legend", f"−{top}", h("span"), f"+{top}", aria_hidden="true")
    below_ = h("div.pa-om-below", h("div", *chart(scene)), tiles(facts(run, t)))
    return (
        h("div.pa-flow", h("div.pa-om-boards", writing(scene), asking(scene, seen)), legend),
        section("matrix", "What the memory S answers to each key", table(scene, seen)),
        section("detail", WORDS["caption"], below_),
        sentence(said),
    )


def writing(scene: Scene) -> Markup:
    """The pair that has just been written, and the outer product that it added."""
    run, t, i = scene.run, scene.t, scene.t - 1
    if not t:
        nothing = np.zeros((0, 1))
        added = np.zeros(run.states.shape[1:])
        return _board(scene, "Nothing written", 0, [None] * 3, nothing, added, "nothing to add")
    key, value, written = run.pairs.key[i].numpy(), run.pairs.value[i].numpy(), run.written[i]
    read = value - written if scene.rule else None
    note = f"outer product, added to {f'{tidy(scene.decay)} ' if scene.rule == 2 else ''}S"
    empty = "" if scene.rule else "not read"
    vectors, added = [value, read, written], np.outer(key, written)
    return _board(scene, f"Write pair {t}", t, vectors, key[:, None], added, note, empty=empty)


def asking(scene: Scene, seen: Answers) -> Markup:
    """The memory, and what it answers to the newest key."""
    run, t, i = scene.run, scene.t, scene.t - 1
    d, wide = run.states.shape[1:]
    note = f"S, {d} × {wide}, after {t} write{'' if t == 1 else 's'}"
    names = ("", "− answer", "= error")
    if not t:
        nothing = np.zeros((0, 1))
        return _board(scene, "Nothing to ask for", 0, [None] * 3, nothing, run.states[0], note, names=names)
    value, answer = run.pairs.value[i].numpy(), seen.answers[i]
    vectors, key = [value, answer, value - answer], run.pairs.key[i].numpy()[:, None]
    return _board(scene, f"Ask for pair {t}", t, vectors, key, run.states[t], note, names=names)


def _board(
    scene: Scene,
    said: str,
    pair: int,
    vectors: Sequence[np.ndarray | None],
    key: np.ndarray,
    matrix: np.ndarray,
    note: str,
    *,
    names: Sequence[str] = ("", "− read", "= write"),
    empty: str = "",
) -> Markup:
    wide = matrix.shape[1]
    strips = [np.zeros((0, wide)) if v is None else v[None] for v in vectors]
    tags = [h("span.pa-om-v", f"v{below(pair)}"), *(h("span", name) for name in names[1:])]
    rows = [part for tag, strip in zip(tags, strips, strict=True) for part in (tag, sheet(strip, scene))]
    grid = h(
        "div.pa-om-grid",
        *rows,
        h("span.pa-om-k", _key(scene.run, pair - 1)),
        h("i"),
        sheet(key, scene),
        sheet(matrix, scene),
        h("span.pa-om-blank", empty),
        h("span.pa-om-note", note),
    )
    return h("div.pa-om-board", h("p.pa-caption", said), grid)


def table(scene: Scene, seen: Answers) -> Markup:
    """Of every pair the value that was stored, the answer to its key, and their cosine."""
    run, t = scene.run, scene.t
    pairs = len(run.written)
    heads = (h("span.pa-om-head", name, aria_hidden="true") for name in ("key", "stored", "answer", "cosine"))
    sheets = (sheet(x, scene, pairs, 0.84) for x in (run.pairs.value[:t].numpy(), seen.answers))
    lines = h("div.pa-om-lines", *(_line(run, i, t, seen) for i in range(pairs)))
    return h("div.pa-om-table", *heads, *sheets, lines, style=f"--pairs: {pairs}")


def _line(run: Run, i: int, t: int, seen: Answers) -> Markup:
    name, known = h("b", _key(run, i)), i < t
    if not known:
        bar = h("span.pa-om-bar", h("i"))
        return h("div.pa-om-line.pa-om-unwritten", name, bar, h("span", "·"), h("span"))
    now, good, cosine = seen.current[i], seen.right[i], seen.cosines[i]
    fill = "var(--pa-accent, #1d4fb8)" if now else "var(--pa-control, #7b8698)"
    bar = h("span.pa-om-bar", h("i", style=f"width: {100 * max(0, cosine):.4g}%; background: {fill}"))
    mark = h("span.pa-om-wrong" if now and not good else "span", ("✓" if good else "✗") if now else "old")
    selected = "true" if i == t - 1 else None  # framed, as in the live picture
    line = "div.pa-om-line" if now else "div.pa-om-line.pa-om-old"
    return h(line, name, bar, h("span", fixed(cosine)), mark, data_asked=selected)


def ceiling(curves: Sequence[Sequence[float]]) -> float:
    """Highest mark of the chart: the next half."""
    return max(0.5, math.ceil(2 * max(max(ys) for ys in curves) - 1e-9) / 2)


def landmark(ids: Sequence[int], width: int) -> tuple[int, str] | None:
    """The place on the axis worth a line: where keys come again, else where they are as many as the width."""
    for t, i in enumerate(ids):
        if i in ids[:t]:
            return t + 1, "a key again"
    return (width, f"width {width}") if width < len(ids) else None


def chart(scene: Scene) -> tuple[Markup, Markup]:
    """The mean error by all three rules; the chosen one in the accent."""
    curves = [curve(run) for run in scene.runs]
    pairs, high, rule, t = len(curves[0]), ceiling(curves), scene.rule, scene.t
    order = [i for i in range(3) if i != rule]
    pens = {rule: "on", order[0]: "off", order[1]: "base"}
    lines = [(pens[i], _course(curves[i], high)) for i in (*order, rule)]
    paths = (h(f"path.pa-om-{pen}", d=d, style=PENS[pen]) for pen, d in lines)
    svg = h("svg", *paths, viewBox="0 0 100 100", preserveAspectRatio="none", aria_hidden="true")
    marks = (h("span.pa-om-y", h("span", fixed(high * i / 2)), style=f"bottom: {50 * i}%") for i in range(3))
    line, at, dot = landmark(scene.run.pairs.ids, scene.run.states.shape[1]), [], []
    mark = []
    if line:
        late = ".pa-om-late" if line[0] > pairs / 2 else ""
        mark = [h(f"span.pa-om-mark{late}", line[1], style=_left(line[0], pairs))]
    if t:
        left, top = _left(t, pairs), f"top: {100 - 100 * curves[rule][t - 1] / high:.4g}%"
        at, dot = [h("span.pa-om-at", style=left)], [h("span.pa-om-dot", style=f"{left}; {top}")]
    places = (1, math.floor(pairs / 2 + 0.5), pairs)
    ticks = (h("span.pa-om-x", str(place), style=_left(place, pairs)) for place in places)
    said = dict(role="img", aria_label=words.heard(curves, rule, t))
    key = (h("span", h(f"i.pa-om-{pens[i]}"), WORDS["names"][i][4:]) for i in (rule, *order))
    box = h("div.pa-om-chart", *marks, *mark, *at, svg, *dot, *ticks, **said)
    return box, h("p.pa-key.pa-om-key", *key)


def _across(t: int, pairs: int) -> float:
    return 100 * (t - 1) / (pairs - 1)


def _left(t: int, pairs: int) -> str:
    return f"left: {_across(t, pairs):g}%"


def _course(ys: Sequence[float], high: float) -> str:
    points = ((_across(t, len(ys)), 100 - 100 * y / high) for t, y in enumerate(ys, 1))
    return "M" + "L".join(f"{_two(x)} {_two(y)}" for x, y in points)


def _two(x: float) -> str:
    return fixed(x).replace("−", "-")


def tiles(f: Facts | None) -> Markup:
    values = ["–"] * 4
    if f is not None:
        values = [f"{f.right} of {f.keys}", fixed(f.error), fixed(f.cosine)]
        values.append(fixed(f.before) if f.times > 1 else "–")
    shown = zip(WORDS["tiles"], values, strict=True)
    return h("div.pa-tiles", *(h("div.pa-tile", h("span", k), h("strong", v)) for k, v in shown))
