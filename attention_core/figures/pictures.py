"""Grey pictures in the book's house style, as inline PNG: what a filter of pixels was given and what it gave.

Other figures are drawn in colours that follow the theme; a photograph is not, and looks the same in both.
"""

import base64
import struct
import zlib
from collections.abc import Mapping
from html import escape
from typing import Any

import numpy as np

from attention_core.figures.plots import StaticFigure

SIDE = 180  # view-box width: four stand in a row of a page, two on a phone, where 16 px text is still 13 px
TOP, FOOT, MARK = 28, 28, 4  # room above and below a picture, and the frame's distance from what it marks


def pictures(
    images: Mapping[str, Any],
    *,
    alt: str,
    notes: Mapping[str, str] | None = None,
    marks: Mapping[str, tuple[int, int]] | None = None,
    limits: tuple[int | float, int | float] | None = (0.0, 1.0),
    caption: str = "",
) -> StaticFigure:
    """Grey pictures side by side, black at the lower limit and white at the upper; pixels stay square.

    Parameters
    ----------
    images
        Arrays or tensors (rows, columns) by the title that stands above each.
    alt
        What the pictures say, in words.
    notes
        A line below a picture, by its title.
    marks
        A pixel (row, column) to frame, by title.
    limits
        Values drawn black and white; None takes the extremes of each picture by itself, as for weights.

    Raises `ValueError` for what is not a picture, and for a note or mark without one.
    """
    for what, named in (("notes", notes or {}), ("marks", marks or {})):
        if unknown := set(named) - set(images):
            raise ValueError(f"`{what}` speaks of {sorted(unknown)[0]!r}; the images are {', '.join(images)}")
    panels = tuple(
        _panel(name, _image(name, image), limits, notes and notes.get(name, ""), (marks or {}).get(name))
        for name, image in images.items()
    )
    return StaticFigure("pictures", panels, alt, caption)


def png(pixels: np.ndarray) -> bytes:
    """A PNG of uint8, 8 bits a colour: grey of (rows, columns), coloured of (rows, columns, 3)."""
    rows, columns = pixels.shape[:2]
    header = struct.pack(">IIBBBBB", columns, rows, 8, 2 if pixels.ndim == 3 else 0, 0, 0, 0)
    colours = pixels.reshape(rows, -1)
    lines = np.concatenate([np.zeros((rows, 1), np.uint8), colours], axis=1)  # filter 0 before each row
    parts = ((b"IHDR", header), (b"IDAT", zlib.compress(lines.tobytes(), 9)), (b"IEND", b""))
    chunks = (
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in parts
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


def _image(name: str, image: Any) -> np.ndarray:
    array = np.asarray(image, dtype=float)
    if array.ndim != 2 or not array.size or not np.isfinite(array).all():
        raise ValueError(
            f"the image {name!r} must be (rows, columns) of finite numbers; got shape {array.shape}"
        )
    return array


def _panel(
    name: str,
    image: np.ndarray,
    limits: tuple[int | float, int | float] | None,
    note: str | None,
    mark: tuple[int, int] | None,
) -> str:
    """One SVG; a note of None, unlike an empty one, takes no room."""
    low, high = limits or (float(image.min()), float(image.max()))
    grey = np.clip((image - low) / ((high - low) or 1.0), 0, 1)
    data = base64.b64encode(png(np.rint(255 * grey).astype(np.uint8))).decode()
    rows, columns = image.shape
    tall = SIDE * rows / columns
    parts = [
        f'<image x="0" y="{TOP}" width="{SIDE}" height="{tall:.1f}" preserveAspectRatio="none" '
        f'style="image-rendering:pixelated" href="data:image/png;base64,{data}"/>',
        f'<rect x=".5" y="{TOP}.5" width="{SIDE - 1}" height="{tall - 1:.1f}" '
        'style="fill:none;stroke:var(--ps-line)"/>',
        _line(18, name, 650),
    ]
    if mark is not None:
        parts.append(_frame(mark, SIDE / columns))
    if note:
        parts.append(_line(TOP + tall + 20, note, 400))
    height = TOP + tall + (4 if note is None else FOOT)
    box = f'viewBox="0 0 {SIDE} {height:.0f}" style="flex:1 1 9rem;max-width:12rem"'
    return f'<svg {box} aria-hidden="true">{"".join(parts)}</svg>'


def _frame(mark: tuple[int, int], pixel: int | float) -> str:
    """A frame round one pixel, dark on light, so that it shows on black and on white."""
    row, column = mark
    x, y, side = column * pixel - MARK, TOP + row * pixel - MARK, pixel + 2 * MARK
    box = f'x="{x:.1f}" y="{y:.1f}" width="{side:.1f}" height="{side:.1f}"'
    return (
        f'<rect {box} style="fill:none;stroke:#fff;stroke-width:4"/>'
        f'<rect {box} style="fill:none;stroke:#000;stroke-width:2"/>'
    )


def _line(y: int | float, text: str, weight: int) -> str:
    style = f"fill:var(--ps-ink);font-size:16px;font-weight:{weight}"
    return f'<text x="0" y="{y:.1f}" style="{style}">{escape(text)}</text>'
