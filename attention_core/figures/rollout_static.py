"""Rollout's measures and words, and the parts of its static picture: see rollout.js."""

from numbers import Real
from typing import NamedTuple

import numpy as np

from attention_core.figures import maps
from attention_core.figures.scenes import Objects
from attention_core.figures.static import Markup, h, percent, section, tidy


class Facts(NamedTuple):
    own: float  # weight on tokens that are no patches
    half: int  # how many patches, strongest first, hold half of what all patches get
    held: float | None  # of what patches get, the share of those that show an object, where that is known


def measure(weights: np.ndarray, prefix: int, objects: Objects | None) -> Facts:
    """What is said of one row of weights, (tokens,)."""
    patches = weights[prefix:]
    total = float(patches.sum())
    taken = np.cumsum(np.sort(patches)[::-1])
    half = min(int((taken < total / 2 - 1e-9).sum()) + 1, len(patches))
    held = None
    if objects is not None and total > 0:
        held = float(patches[objects.inside.ravel()].sum()) / total
    return Facts(float(weights[:prefix].sum()), half, held)


def through(depth: int) -> str:
    return "no layer" if depth == 0 else "layer 1" if depth == 1 else f"layers 1 to {depth}"


def describe(
    rolled: Facts, raw: Facts, depth: int, residual: Real, patches: int, prefix: int, objects: Objects | None
) -> list[str]:
    """The sentence of result: `rolled` is of rollout, `raw` of the last layer alone."""
    if depth == 0:
        return [
            "Through no layer at all CLS is still itself: the identity.",
            "No weight has reached a patch, and the map is empty.",
        ]
    if residual == 1:
        return [
            f"Through {through(depth)} CLS keeps 100\u00a0%: with a residual share of 1 rollout is the "
            "identity.",
            "All that goes past attention stays where it was, and the map is empty.",
        ]
    own = f"the {prefix} tokens that are no patches keep" if prefix > 1 else "CLS keeps"
    if rolled.half == raw.half:
        change = "as many as"
    else:
        change = "more than" if rolled.half > raw.half else "fewer than"
    spread = f"Half of what patches get is on {rolled.half} of {patches}, {change} in layer {depth} alone"
    rest = [f"{spread} ({raw.half})."]
    if objects is None or rolled.held is None:
        lead = f"Through {through(depth)} {own} {percent(rolled.own)}, in layer {depth} alone"
        return [f"{lead} {percent(raw.own)}.", *rest]
    alone = f"in layer {depth} alone it is {percent(raw.held)}" if raw.held is not None else None
    return [
        f"Through {through(depth)}, {percent(rolled.held)} of what patches get is on {objects.named}; "
        f"{alone or f'layer {depth} alone gives patches nothing'}.",
        *rest,
        f"With a residual share of {tidy(residual)}, {own} {percent(rolled.own)}.",
    ]


# -- parts of the picture ----------------------------------------------------------------------------------


def boards(
    picture: np.ndarray, rolled: np.ndarray, raw: np.ndarray, top: float, depth: int, objects: Objects | None
) -> tuple[Markup, Markup]:
    """Rollout, and raw attention of its last layer, (rows, columns) each, over the picture in one scale."""
    look = dict(picture=picture, top=top, outline=None if objects is None else objects.inside)
    left = maps.board(rolled, label=f"Rollout through {through(depth)}", **look)
    right = maps.board(raw, label=f"Layer {depth} alone" if depth else "No layer", **look)
    note = h("p.pa-caption.pa-ronote", "One scale for both, at any residual share.")
    caption = f"Raw attention of layer {depth}" if depth else "No layer, no attention"
    return (
        section("flow", f"Rollout through {through(depth)}", left, maps.legend(top)),
        section("matrix", caption, right, note),
    )


def thumbnails(rolled: np.ndarray, raw: np.ndarray, depth: int) -> Markup:
    """Both (layers, rows, columns), small; those of the present depth are framed."""
    across = [str(layer) for layer in range(1, len(raw) + 1)]
    chosen = [(0, depth - 1), (1, depth - 1)]
    grid = maps.thumbnails(np.stack([rolled, raw]), ["rollout", "raw"], across, chosen)
    return section("detail", "Layer by layer, each to its own scale", grid)
