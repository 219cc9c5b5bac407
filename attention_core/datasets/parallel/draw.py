"""Chance that comes out the same everywhere: everything is drawn by `random.Random(seed).random()`.

From one version to the next Python promises the sequence of that method alone, not of `choice` or `shuffle`.
"""

import hashlib
import random
from collections.abc import Sequence
from typing import TypeVar

Thing = TypeVar("Thing")


class Draw:
    """Random choices from one seed; `stream` names their use, so that no two uses repeat each other."""

    def __init__(self, seed: int, stream: str) -> None:
        digest = hashlib.sha256(f"{stream} {seed}".encode()).digest()
        self._random = random.Random(int.from_bytes(digest[:8], "big")).random

    def chance(self, probability: float) -> bool:
        return self._random() < probability

    def one(self, things: Sequence[Thing]) -> Thing:
        return things[int(self._random() * len(things))]

    def weighted(self, things: Sequence[tuple[Thing, float | int]]) -> Thing:
        """One of the things, each with its weight; the weights need not sum to 1."""
        left = self._random() * sum(weight for _, weight in things)
        for thing, weight in things:
            left -= weight
            if left < 0:
                return thing
        return things[-1][0]
