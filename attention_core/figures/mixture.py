"""One query's mixture in the plane: its weights, the values' hull, the output's way through it, the words."""

from functools import partial
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from attention_core import normalizers
from attention_core.figures.static import fixed, percent
from attention_core.pipeline import attend

MODES = ("softmax", "hard", "sink")
STEPS = 48  # points of the path that the output takes as the query grows
SLACK = 1e-9  # of equality and of the hull's edges


class State(NamedTuple):
    """One query answered: weights (m,), output (2,), and the weight that no value got."""

    weights: np.ndarray
    output: np.ndarray
    sink: float


def with_sink(scores: Tensor, mask: Tensor | None = None, temperature: float = 1.0) -> Tensor:
    """Softmax with one more logit, 0, whose weight goes to nobody: so the rest may sum to less than 1."""
    return normalizers.softmax_with_sink(scores / temperature, mask, sink=0.0)


def respond(keys: object, values: object, query: object, temperature: float, mode: int) -> State:
    """`attend` for one query, in float64."""
    soft = partial(normalizers.softmax, temperature=temperature)
    normalize = (soft, normalizers.hard, partial(with_sink, temperature=temperature))[mode]
    q, k, v = (torch.tensor(np.array(x), dtype=torch.float64) for x in ([query], keys, values))
    attended = attend(q, k, v, normalize=normalize)
    weights = attended.weights[0].numpy()
    sink = max(0.0, 1 - weights.sum()) if MODES[mode] == "sink" else 0.0
    return State(weights, attended.output[0].numpy(), float(sink))


def hull(points: object) -> list[int]:
    """Corners of the convex hull, counter-clockwise (Andrew, 1979): indices of `points`."""
    points = np.array(points, dtype=float)
    order = sorted(range(len(points)), key=lambda i: (*points[i], i))
    chains = []
    for way in (order, order[::-1]):
        chain: list[int] = []
        for i in way:
            while len(chain) >= 2 and turn(*points[chain[-2:]], points[i]) <= SLACK:
                chain.pop()
            chain.append(i)
        chains.append(chain)
    corners = chains[0][:-1] + chains[1][:-1]
    distinct = {tuple(points[i]): i for i in reversed(corners)}  # where all points are one, so are the ends
    return [i for i in corners if distinct[tuple(points[i])] == i] or order[:1]


def turn(a: np.ndarray, b: np.ndarray, c: np.ndarray) -> float:
    """Twice the area of the triangle a, b, c; positive where it turns left."""
    return float((b[0] - a[0]) * (c[1] - a[1]) - (b[1] - a[1]) * (c[0] - a[0]))


def holds(points: object, point: object) -> bool:
    """Whether the convex hull of `points` contains `point`; its edge belongs to it."""
    points, point = np.array(points, dtype=float), np.array(point, dtype=float)
    corners = points[hull(points)]
    box = (point >= corners.min(0) - SLACK) & (point <= corners.max(0) + SLACK)
    left = (turn(a, b, point) >= -SLACK for a, b in zip(corners, np.roll(corners, -1, 0), strict=True))
    return bool(box.all() and all(left))


def path(keys: object, values: object, query: np.ndarray, temperature: float, mode: int) -> np.ndarray:
    """Where the output goes as the query grows from nothing to a hundred times this plane: (STEPS, 2)."""
    length = np.hypot(*query)
    if length == 0 or MODES[mode] == "hard":
        return np.empty((0, 2))
    grown = (query / length * 3 * i / (STEPS - i) for i in range(STEPS))
    return np.array([respond(keys, values, q, temperature, mode).output for q in grown])


def describe(keys: object, values: object, query: np.ndarray, temperature: float, mode: int) -> list[str]:
    """The sentence the view shows: see `describe` in geometry.js."""
    weights, output, sink = respond(keys, values, query, temperature, mode)
    best, count = int(weights.argmax()), len(weights)
    ties = int((weights[best] - weights < SLACK).sum())
    inside = holds(values, output)
    if MODES[mode] == "hard":
        scores = np.array(keys) @ query
        level = int((scores.max() - scores < SLACK).sum())
        lead = f"Hard attention copies v{best + 1}, whatever the other values are."
        if level > 1:
            return [lead, f"{level} keys tie for the largest score, and one of them is taken."]
        return [
            lead,
            f"k{best + 1} has the largest score. Neither the query’s length nor temperature changes that.",
        ]
    if MODES[mode] == "sink":
        where = "is still inside their hull" if inside else "has left their hull"
        lead = f"The sink keeps {percent(sink)} of the weight: the output is drawn towards 0 and {where}."
        return [lead, f"The weights on the values sum to {fixed(weights.sum())}, no longer to 1."]
    if ties == count:
        why = "A query of length 0 prefers no key." if not query.any() else "Every key has the same score."
        return [f"All {count} weights are equal, so the output is the mean of the values.", why]
    if weights[best] > 0.99:
        lead = f"{percent(weights[best])} of the weight is on v{best + 1}, and the output all but sits on it."
        end = (
            "a corner of the hull: further it cannot go" if best in hull(values) else "no corner of the hull"
        )
        return [lead, f"v{best + 1} is {end}."]
    twice = respond(keys, values, 2 * query, temperature, mode).weights[best]
    where = "lies inside" if inside else "has left"
    lead = (
        f"The output is a mixture, {percent(weights[best])} v{best + 1}, and {where} the hull of the values."
    )
    if ties > 1:
        return [lead, f"{ties} keys tie for the largest weight."]
    return [
        lead,
        f"A query twice as long would be sharper: {percent(twice)} v{best + 1}."
        if twice > weights[best]
        else f"A query twice as long would give v{best + 1} {percent(twice)}.",
    ]
