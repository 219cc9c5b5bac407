"""Chance and arithmetic that come out the same everywhere, to the last bit.

Of NumPy's generators only the stream of raw bits is promised to stay, not what `uniform` or `normal` make of
it: so numbers are made here, from `Philox.random_raw`. Philox is a counter under a key, which is why image
1000 of a split can be drawn without the 999 before it. Drawing uses +, -, *, / and square roots, which
IEEE 754 fixes, and no sine, exponential or matrix product, whose last bit is the machine's affair.
"""

import hashlib

import numpy as np
from jaxtyping import Float64


class Draw:
    """The chance of one image: number `number` of the stream of that `split` and `seed`.

    The key is the first 16 bytes of the SHA-256 of "shapes, `split`, seed `seed`", and the counter starts at
    `number` times 2^128: more bits than any image takes.
    """

    def __init__(self, split: str, seed: int, number: int):
        self._bits = np.random.Philox(key=key(split, seed), counter=[0, 0, number, 0])

    def uniform(self, *shape: int) -> Float64[np.ndarray, "..."]:
        """Numbers in [0, 1), multiples of 2^-53."""
        count = 1
        for size in shape:
            count *= size
        return (self._bits.random_raw(count) >> np.uint64(11)).reshape(shape) * 2.0**-53

    def between(self, low: float, high: float) -> float:
        return low + (high - low) * float(self.uniform(1)[0])

    def chance(self, probability: float) -> bool:
        return self.between(0.0, 1.0) < probability

    def below(self, count: int) -> int:
        """One of 0, ..., count - 1."""
        return int(self.between(0.0, float(count)))

    def some(self, count: int, of: int) -> list[int]:
        """So many different ones of 0, ..., of - 1, in random order."""
        left = list(range(of))
        return [left.pop(self.below(len(left))) for _ in range(count)]

    def direction(self) -> tuple[float, float]:
        """A unit vector in any direction, without sine or cosine: a point of the disc, stretched."""
        while True:
            x, y = (2 * self.uniform(2) - 1).tolist()
            if 0.01 < (square := x * x + y * y) <= 1:
                length = float(np.sqrt(square))
                return x / length, y / length


def key(split: str, seed: int) -> int:
    digest = hashlib.sha256(f"shapes, {split}, seed {seed}".encode()).digest()
    return int.from_bytes(digest[:16], "big")
