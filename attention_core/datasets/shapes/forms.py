"""The eight classes: where a shape ends, how its surface varies, and around which hue it is coloured.

A shape is a signed distance in its own coordinates, in which it fits the unit circle: negative inside, and
near its edge as many radii from it as it says. A texture is a number in [0, 1], from the deep tone of the
hue to the light one. Both are functions of x (to the right) and y (downwards).
"""

from collections.abc import Callable
from dataclasses import dataclass
from math import sqrt

import numpy as np
from jaxtyping import Float64

Plane = Float64[np.ndarray, "height width"]
HALF, ROOT = 0.5, sqrt(3) / 2  # cosine and sine of 60 degrees
SIN36, COS36 = 0.5877852522924731, 0.8090169943749475
SIN72, COS72 = 0.9510565162951535, 0.30901699437494745


@dataclass(frozen=True)
class Form:
    """A class of objects."""

    name: str
    hue: float  # the middle of its hues, in turns: 0 red, 1/3 green, 2/3 blue
    shape: Callable[[Plane, Plane], Plane]
    texture: Callable[[Plane, Plane], Plane]


def length(x: Plane, y: Plane) -> Plane:
    return np.sqrt(x * x + y * y)


def odd(x: Plane) -> Plane:
    """1 where the floor is odd, else 0: stripes one unit wide."""
    whole = np.floor(x)
    return whole - 2 * np.floor(whole / 2)


# -- shapes ------------------------------------------------------------------------------------------------


def disc(x: Plane, y: Plane) -> Plane:
    return length(x, y) - 0.9


def square(x: Plane, y: Plane) -> Plane:
    return np.maximum(np.abs(x), np.abs(y)) - 0.71


def triangle(x: Plane, y: Plane) -> Plane:
    """Equilateral, point upwards."""
    return np.maximum(ROOT * np.abs(x) - HALF * y, y) - 0.5


def star(x: Plane, y: Plane) -> Plane:
    """Five points: folded along its axes of symmetry until only one edge is left."""
    x, y = np.abs(x), -y
    for sine, cosine in ((SIN72, -COS72), (SIN36, COS36)):  # mirrors at 108 and 36 degrees from the top
        over = np.maximum(cosine * x - sine * y, 0.0)
        x, y = x - 2 * cosine * over, y + 2 * sine * over
    x = np.abs(x)
    # what is left lies between the point (0, 1) and the notch at 36 degrees, `notch` from the centre
    notch = 0.5
    across, along = 1 - notch * COS36, notch * SIN36
    return (across * x + along * (y - 1)) / sqrt(across * across + along * along)


def ring(x: Plane, y: Plane) -> Plane:
    return np.abs(length(x, y) - 0.66) - 0.28


def cross(x: Plane, y: Plane) -> Plane:
    x, y = np.abs(x), np.abs(y)
    return np.maximum(np.minimum(x, y) - 0.32, np.maximum(x, y) - 0.92)


def crescent(x: Plane, y: Plane) -> Plane:
    """A disc without another, beside its middle."""
    return np.maximum(length(x, y) - 0.98, 0.74 - length(x - 0.46, y))


def heart(x: Plane, y: Plane) -> Plane:
    """A square on its corner, and a disc on each of its upper edges."""
    y = y - 0.06
    u, v = (x + y) * sqrt(0.5), (y - x) * sqrt(0.5)  # downwards to the right, downwards to the left
    side = 0.48
    box = np.maximum(np.abs(u), np.abs(v)) - side
    return np.minimum(box, np.minimum(length(u + side, v), length(u, v + side)) - side)


# -- textures ----------------------------------------------------------------------------------------------


def target(x: Plane, y: Plane) -> Plane:
    """Rings around the middle."""
    return 1 - odd(length(x, y) / 0.3)


def checks(x: Plane, y: Plane) -> Plane:
    return 1 - np.abs(odd((x + 0.71) / 0.4734) - odd((y + 0.71) / 0.4734))


def stripes(x: Plane, y: Plane) -> Plane:
    """Parallel to the base."""
    return 1 - odd((y - 0.5) / 0.27)


def glow(x: Plane, y: Plane) -> Plane:
    """From a light middle to deep points."""
    return np.minimum(np.maximum(1.2 - 1.3 * length(x, y), 0.0), 1.0)


def segments(x: Plane, y: Plane) -> Plane:
    """Eight, by turns: the sign of cos(4 angle), a polynomial of the coordinates."""
    squares = x * x + y * y
    return (8 * x * x * x * x - 8 * x * x * squares + squares * squares > 0) * 1.0


def inlay(x: Plane, y: Plane) -> Plane:
    """A light cross in a deep one."""
    return (cross(x, y) < -0.15) * 1.0


def sheen(x: Plane, y: Plane) -> Plane:
    """Ever lighter along the crescent, from one horn to the other."""
    return np.minimum(np.maximum(0.6 + 0.5 * y, 0.0), 1.0)


def halves(x: Plane, y: Plane) -> Plane:
    """Light on one side of the middle, deep on the other."""
    return (x < 0) * 1.0


FORMS = (
    Form("disc", 0 / 8, disc, target),
    Form("square", 5 / 8, square, checks),
    Form("triangle", 1 / 8, triangle, stripes),
    Form("star", 2 / 8, star, glow),
    Form("ring", 3 / 8, ring, segments),
    Form("cross", 6 / 8, cross, inlay),
    Form("crescent", 4 / 8, crescent, sheen),
    Form("heart", 7 / 8, heart, halves),
)
SHAPE_CLASSES = tuple(form.name for form in FORMS)
