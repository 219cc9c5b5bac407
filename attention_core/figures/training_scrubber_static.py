"""The static picture of `TrainingScrubber`, and its sentence: the Python twin of training_scrubber.js."""

from collections.abc import Mapping, Sequence
from numbers import Real
from typing import NamedTuple

import numpy as np

from attention_core.figures import static
from attention_core.figures.static import Markup, fixed, h

EMERGENT, GUIDED, GOLD = KINDS = ("emergent", "guided", "gold")
WORDS: dict = {  # the view has these same words, and fills the same gaps
    EMERGENT: "It was never shown a link, only sentences and their translations.",
    GUIDED: "It was shown the gold links of its training sentences: supervision, not discovery.",
    GOLD: "Nothing here is learned: a word that has several sure links is shared between them.",
    "agrees": "{kind}, after {updates} updates: {agree} of {rows} words read where gold allows.",
    "links": "Gold: the links of “{name}”.",
    "meanwhile": "After {updates} updates, {agree} of {rows} words of the {kind} model read there.",
    "cell": "{kind}, after {updates} updates: “{target}” takes {share} from “{source}”.",
    "shares": "Gold: “{target}” takes {share} from “{source}”.",
    "sure": "Gold links them.",
    "possible": "Gold allows this link, but does not ask for it.",
    "unlinked": "Gold does not link them.",
    "all": "Validation: loss {loss}, alignment error rate {aer}.",
    "locked": "Locked: press Escape to release.",
    "caption": "{kind} weights, after {updates} updates (each row sums to 1)",
    "goldcaption": "Gold links, not learned (each row sums to 1)",
    "plots": {"loss": "Loss, cross-entropy in nats a word", "aer": "Alignment error rate"},
    "tiles": ["validation loss", "training loss", "alignment error rate", "words read where gold allows"],
}


class Scene(NamedTuple):
    """All that one picture shows; for gold, `run` is the run that its marker follows."""

    run: Mapping
    runs: Sequence[Mapping]
    kind: str
    at: int  # the checkpoint, from 0
    sentence: Mapping
    index: int  # of the sentence
    weights: np.ndarray
    scale: Mapping

    @property
    def gold(self) -> bool:
        return self.kind == GOLD


def counted(x: Real) -> str:
    return f"{x:,.0f}"


def gaps(scene: Scene) -> dict[str, object]:
    """What may stand in the gaps of `WORDS`."""
    run, at = scene.run, scene.at
    return {
        "kind": scene.kind.capitalize() if not scene.gold else run["kind"],
        "updates": counted(run["steps"][at]), "name": scene.sentence["name"],
        "agree": run["agree"][at][scene.index], "rows": len(scene.sentence["target"]) - 1,
        "loss": fixed(run["validation"][at]), "aer": fixed(run["aer"][at]),
    }  # fmt: skip


def describe(scene: Scene) -> list[str]:
    """The sentence of result, while no cell is picked."""
    parts = ("links", GOLD, "meanwhile") if scene.gold else ("agrees", scene.kind, "all")
    return [WORDS[part].format(**gaps(scene)) for part in parts]


def caption(scene: Scene) -> str:
    return WORDS["goldcaption" if scene.gold else "caption"].format(**gaps(scene))


# -- curves ------------------------------------------------------------------------------------------------


def across(step: Real, unit: Real, last: Real) -> float:
    """Place of an update on the axis, in per cent: logarithmic, but from 0. `unit`: the first checkpoint."""
    return float(100 * np.log1p(step / unit) / np.log1p(last / unit))


def ticks(unit: Real, last: Real, apart: Real = 13) -> list[tuple[str, float]]:
    """Round numbers of updates that do not touch, with their places."""
    round_ones = [m * 10**e for e in range(8) for m in (1, 2, 5) if m * 10**e <= last]
    kept = [("0", 0.0)]
    for step in round_ones:
        at = across(step, unit, last)
        if at - kept[-1][1] >= apart:
            kept.append((f"{step // 1000}k" if step >= 1000 else str(step), at))
    return kept


def path(places: Sequence[Real], values: Sequence[Real], top: Real) -> str:
    """One curve in a box of 100 x 100."""
    return "M" + "L".join(f"{x:.2f} {100 - 100 * y / top:.2f}" for x, y in zip(places, values, strict=True))


def others_of(scene: Scene) -> list[Mapping]:
    """The runs that are drawn grey."""
    return [run for run in scene.runs if scene.gold or run is not scene.run]


def plot(scene: Scene, name: str) -> Markup:
    """One quantity over training: the chosen run coloured, the other grey, and where the slider stands."""
    run, top = scene.run, scene.scale["tops"][name]
    x = run["at"][scene.at]
    others = [h(f"path.pa-course-{r['kind']}", d=r["paths"][name]) for r in others_of(scene)]
    mine = [] if scene.gold else [h("path.pa-course-on", d=run["paths"][name])]
    if name == "loss" and not scene.gold:
        mine.insert(0, h("path.pa-course-train", d=run["paths"]["train"]))
    value = 0.0 if scene.gold else run["validation" if name == "loss" else "aer"][scene.at]
    dots = [h("span.pa-course-dot", style=f"left: {x:.3f}%; top: {100 - 100 * value / top:.3f}%")]
    if scene.gold:
        dots = [h("span.pa-course-zero")] if name == "aer" else []
    marks = [(f"{mark:g}", 100 - 100 * mark / top) for mark in scene.scale["marks"][name]]
    box = h(
        "div.pa-course-box",
        h("svg", *others, *mine, viewBox="0 0 100 100", preserveAspectRatio="none", aria_hidden="true"),
        *(baseline(*line) for line in (scene.scale["baselines"] if name == "aer" else [])),
        h("span.pa-course-at", style=f"left: {x:.3f}%"),
        *dots,
        *(h("span.pa-course-y", text, style=f"top: {y:.3f}%") for text, y in marks),
        *(
            h("span.pa-course-x", text, style=f"left: {at:.3f}%")
            for text, at in (scene.scale["ticks"] if name == "aer" else [])
        ),
        role="img",
        aria_label=spoken(scene, name),
    )
    return h("div.pa-course-plot", h("p.pa-course-name", WORDS["plots"][name]), box)


def baseline(name: str, value: Real, y: Real) -> Markup:
    text = h("span", f"{name} {fixed(value)}")
    return h("span.pa-course-base", text, style=f"top: {y:.3f}%")


def spoken(scene: Scene, name: str) -> str:
    """What a curve says to the ear."""
    if scene.gold:
        return f"{WORDS['plots'][name]}: gold is not trained"
    values = scene.run["validation" if name == "loss" else "aer"]
    return (
        f"{WORDS['plots'][name]} of the {scene.kind} model: {fixed(values[0])} at first, "
        f"{fixed(values[scene.at])} here, {fixed(values[-1])} at the end"
    )


def legend(scene: Scene) -> Markup:
    """Which line is which; the label of the run that is drawn comes first."""
    lines = [("on", f"{scene.kind}, validation"), ("train", f"{scene.kind}, training")]
    if scene.gold:
        lines = [("on", "gold: none, by definition")]
    lines += [(r["kind"], r["kind"]) for r in others_of(scene)]
    return h("p.pa-key.pa-course-legend", *(h("span", h(f"i.pa-course-{css}"), text) for css, text in lines))


# -- matrix and tiles --------------------------------------------------------------------------------------


def grid(sentence: Mapping, weights: np.ndarray) -> Markup:
    """Every row, the cells that gold links framed."""
    source = sentence["source"]
    frames = {link: f".pa-{kind}" for kind in ("possible", "sure") for link in sentence[kind]}
    head = h("tr", h("td.pa-corner"), *(h("th.pa-colhead", name, scope="col") for name in source))
    lines = []
    for r, name in enumerate(sentence["target"]):
        cells = [
            h(f"td.pa-cell{frames.get((r, c), '')}", fixed(w), style=static.paint(w))
            for c, w in enumerate(weights[r])
        ]
        lines.append(h("tr", h("th.pa-rowhead", name, scope="row"), *cells))
    table = h("table.pa-grid", h("thead", head), h("tbody", *lines), style=f"--columns: {len(source)}")
    return static.scroll(table, len(source) > 3)


def tiles(scene: Scene) -> Markup:
    run, at = scene.run, scene.at
    rows = len(scene.sentence["target"]) - 1
    values = [fixed(run["validation"][at]), fixed(run["train"][at]), fixed(run["aer"][at])]
    agree = run["agree"][at][scene.index]
    if scene.gold:
        values, agree = ["–", "–", fixed(0.0)], rows
    said = zip(WORDS["tiles"], [*values, f"{agree} of {rows}"], strict=True)
    return h("div.pa-tiles", *(h("div.pa-tile", h("span", k), h("strong", v)) for k, v in said))


def fit(sentence: Mapping) -> str:
    """Small cells for many words, and the whole width of the card for more."""
    return (".pa-snug" if len(sentence["source"]) > 5 else "") + (
        ".pa-wide" if len(sentence["source"]) > 8 else ""
    )


def body(scene: Scene) -> Sequence[Markup]:
    wide = fit(scene.sentence)
    key = h("p.pa-legend", h("i.pa-sure"), "sure link", h("i.pa-possible"), "possible link")
    return (
        h(f"div.pa-flow{wide}", plot(scene, "loss"), plot(scene, "aer"), legend(scene)),
        static.section(f"matrix{wide}", caption(scene), grid(scene.sentence, scene.weights), key),
        h("div.pa-detail", tiles(scene)),
        static.sentence(describe(scene)),
    )
