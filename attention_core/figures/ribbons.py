"""Ribbons from words to words: the Python twin of ribbons.js."""

import numpy as np

from attention_core.figures.static import fixed


def ribbons(weights: np.ndarray) -> list[list[str]]:
    """Paths of the ribbons in a box of 1000 x 100: see `ribbons` in ribbons.js."""
    n, m = weights.shape
    pitch = 1000 / max(n, m)
    room = 0.76 * pitch
    used = np.zeros(m)
    shrink = 1 / np.maximum(1, weights.sum(axis=0))
    paths = []
    for r, row in enumerate(weights):
        to = ((max(n, m) - n) / 2 + r + 0.12) * pitch
        paths.append([])
        for c, w in enumerate(row):
            start = ((max(n, m) - m) / 2 + c + 0.12) * pitch + used[c] * room * shrink[c]
            a, b, p, q = (fixed(x, 1) for x in (start, start + w * room * shrink[c], to, to + w * room))
            paths[-1].append(f"M{a} 0C{a} 55 {p} 45 {p} 100L{q} 100C{q} 45 {b} 55 {b} 0Z")
            used[c] += w
            to += w * room
    return paths
