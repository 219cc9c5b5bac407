"""From a plan to pixels: a clouded ground, bars that mean nothing, the objects, a tag in a corner."""

from functools import cache

import numpy as np
from jaxtyping import Float64, UInt8

from attention_core.datasets.shapes.chance import Draw
from attention_core.datasets.shapes.forms import FORMS, Plane
from attention_core.datasets.shapes.plan import SIDE, Object, Plan

Picture = Float64[np.ndarray, "channels height width"]
Owners = UInt8[np.ndarray, "height width"]

NOTHING, TAG = 0, len(FORMS) + 1  # what a pixel shows; between them the classes, counted from 1
TAG_SIDE = 5
FINE = 2  # points a pixel's side that an object's colour is taken at
CLOUDS = ((4, 0.5), (8, 0.3), (16, 0.2))  # cells a side and weight of the layers of noise


def paint(draw: Draw, plan: Plan, size: int) -> tuple[UInt8[np.ndarray, "channels height width"], Owners]:
    """The image in 256 steps a colour, and what each of its pixels shows."""
    picture = ground(draw, size)
    for _ in range(2 + draw.below(4)):
        add_bar(draw, picture)
    owners = np.zeros((size, size), np.uint8)
    for one in plan.objects:
        add_object(one, picture, owners)
    if plan.corner is not None:
        add_tag(plan.corner, picture, owners)
    return np.floor(255 * picture + 0.5).astype(np.uint8), owners


def colour(hue: float, saturation: float, value: float) -> Float64[np.ndarray, "3 1 1"]:
    """Red, green and blue of a hue in turns: each falls from `value` with its distance round the circle."""
    channels = []
    for own in (0.0, 1 / 3, 2 / 3):
        away = abs((hue - own + 0.5) % 1.0 - 0.5)  # at most half a turn
        channels.append(value * (1 - saturation * min(max(6 * away - 1, 0.0), 1.0)))
    return np.array(channels)[:, None, None]


# -- the ground --------------------------------------------------------------------------------------------


def ground(draw: Draw, size: int) -> Picture:
    """Value noise in three layers, from a dark muted colour to a less dark one of a kindred hue."""
    clouds = sum(weight * noise(draw, cells, size) for cells, weight in CLOUDS)
    hue = draw.between(0.0, 1.0)
    dark = colour(hue, draw.between(0.15, 0.45), draw.between(0.08, 0.25))
    light = colour((hue + draw.between(-0.15, 0.15)) % 1.0, draw.between(0.1, 0.35), draw.between(0.35, 0.6))
    return dark + (light - dark) * clouds


def noise(draw: Draw, cells: int, size: int) -> Float64[np.ndarray, "size size"]:
    """Random numbers on a grid of cells, and between them smoothly from one to the next."""
    corners = draw.uniform(cells + 1, cells + 1)
    low, share = _cells(cells, size)
    rows = corners[low] + (corners[low + 1] - corners[low]) * share[:, None]  # (size, cells + 1)
    return rows[:, low] + (rows[:, low + 1] - rows[:, low]) * share


@cache
def _cells(cells: int, size: int) -> tuple[np.ndarray, np.ndarray]:
    """For each pixel its cell, and how far into it, along 3 t^2 - 2 t^3, it lies."""
    place = (np.arange(size) + 0.5) * (cells / size)
    low = np.floor(place).astype(np.int64)
    share = place - low
    return low, share * share * (3 - 2 * share)


def add_bar(draw: Draw, picture: Picture) -> None:
    """A straight bar of any colour, darker and duller than an object: edges that mean nothing."""
    scale = picture.shape[-1] / SIDE
    (x, y), (along, across) = (SIDE * draw.uniform(2)).tolist(), draw.direction()
    half_length, half_width = draw.between(5.0, 16.0), draw.between(0.5, 1.5)
    tone = colour(draw.between(0.0, 1.0), draw.between(0.1, 0.5), draw.between(0.15, 0.65))
    right, down = _points(picture.shape[-1])
    right, down = right / scale - x, down / scale - y
    ahead, aside = right * along + down * across, down * along - right * across
    outside = np.maximum(np.abs(ahead) - half_length, np.abs(aside) - half_width) * scale
    _cover(picture, tone, np.minimum(np.maximum(0.5 - outside, 0.0), 1.0))


@cache
def _points(size: int) -> tuple[np.ndarray, np.ndarray]:
    """Middles of the pixels, to the right (1, size) and down (size, 1)."""
    middles = np.arange(size) + 0.5
    return middles[None], middles[:, None]


def _cover(picture: Picture, tone: np.ndarray, share: np.ndarray) -> None:
    picture += (tone - picture) * share


# -- objects -----------------------------------------------------------------------------------------------


def add_object(one: Object, picture: Picture, owners: Owners) -> None:
    """Draw an object into the window that holds it; its pixels are those whose middle lies inside."""
    scale, form = picture.shape[-1] / SIDE, FORMS[one.form]
    radius = one.radius * scale
    top, left = (int(middle * scale - radius) - 1 for middle in (one.y, one.x))
    side = int(2 * radius) + 4
    bottom, right = min(top + side, len(owners)), min(left + side, len(owners))
    top, left = max(top, 0), max(left, 0)
    window = (slice(top, bottom), slice(left, right))

    fine = _local(one, scale, window, FINE)
    outside = form.shape(*fine) * radius  # in pixels
    shade = form.texture(*fine)
    share = np.minimum(np.maximum(0.5 - FINE * outside, 0.0), 1.0)
    rim = np.minimum(np.maximum(outside + 1.2, 0.0), 1.0)  # darker in the last pixel, which sets it off
    deep, light = (colour(one.hue, *tone) for tone in _tones(one))
    drawn = (deep + (light - deep) * shade) * (1 - 0.45 * rim)
    share, drawn = _averaged(share), _averaged(drawn * share)
    part = picture[:, *window]
    part *= 1 - share
    part += drawn
    inside = form.shape(*_local(one, scale, window, 1)) < 0
    owners[window][inside] = one.form + 1


def _tones(one: Object) -> tuple[tuple[float, float], tuple[float, float]]:
    """Saturation and value of the deep and of the light tone."""
    return (min(one.saturation + 0.1, 1.0), 0.55 * one.light), (one.saturation - 0.15, one.light)


def _local(one: Object, scale: float, window: tuple[slice, slice], fine: int) -> tuple[Plane, Plane]:
    """The window's points in the object's own coordinates, `fine` a pixel each way."""
    rows, columns = window
    y = (np.arange(rows.start * fine, rows.stop * fine) + 0.5) / fine / scale - one.y
    x = (np.arange(columns.start * fine, columns.stop * fine) + 0.5) / fine / scale - one.x
    (cosine, sine), radius = one.turn, one.radius
    x, y = x[None] / radius, y[:, None] / radius
    return x * cosine + y * sine, y * cosine - x * sine


def _averaged(x: np.ndarray) -> np.ndarray:
    """The mean over each pixel's points."""
    over_rows = x[..., 0::2, :] + x[..., 1::2, :]
    return (over_rows[..., 0::2] + over_rows[..., 1::2]) * 0.25


# -- the tag -----------------------------------------------------------------------------------------------


def add_tag(corner: int, picture: Picture, owners: Owners) -> None:
    """A white square with a dark cross in it, 5 x 5 pixels whatever the image's size, over what is there."""
    size = len(owners)
    rows = slice(0, TAG_SIDE) if corner < 2 else slice(size - TAG_SIDE, size)
    columns = slice(0, TAG_SIDE) if corner % 2 == 0 else slice(size - TAG_SIDE, size)
    pattern = np.ones((TAG_SIDE, TAG_SIDE))
    pattern[2, 1:4] = pattern[1:4, 2] = 0.1
    picture[:, rows, columns] = pattern
    owners[rows, columns] = TAG
