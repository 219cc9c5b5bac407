"""Grey pictures: each pixel where it belongs and as bright as it is."""

import base64
import io
import re

import numpy as np
import pytest
from PIL import Image

from attention_core.figures.pictures import SIDE, TOP, pictures, png


def decoded(html: str) -> list[np.ndarray]:
    """The pictures of a figure, read by another library."""
    found = re.findall(r"data:image/png;base64,([\w+/=]+)", html)
    return [np.asarray(Image.open(io.BytesIO(base64.b64decode(data)))) for data in found]


def test_another_library_reads_back_every_pixel(rng):
    pixels = rng.integers(0, 256, size=(5, 7), dtype=np.uint8)
    picture = Image.open(io.BytesIO(png(pixels)))
    picture.load()
    assert (picture.format, picture.mode) == ("PNG", "L")
    np.testing.assert_array_equal(np.asarray(picture), pixels)


def test_black_and_white_stand_at_the_limits_and_what_lies_beyond_is_cut():
    image = [[-1.0, 0.0, 0.5, 1.0, 2.0]]
    (drawn,) = decoded(pictures({"a": image}, alt="x")._repr_html_())
    assert drawn.tolist() == [[0, 0, 128, 255, 255]]
    (drawn,) = decoded(pictures({"a": image}, alt="x", limits=(-1, 2))._repr_html_())
    assert drawn.tolist() == [[0, 85, 128, 170, 255]]
    (drawn,) = decoded(pictures({"a": image}, alt="x", limits=None)._repr_html_())
    assert drawn.tolist() == [[0, 85, 128, 170, 255]]


def test_a_picture_without_contrast_can_be_drawn():
    with np.errstate(all="raise"):
        (drawn,) = decoded(pictures({"a": np.full((2, 2), 0.3)}, alt="x", limits=None)._repr_html_())
    assert drawn.tolist() == [[0, 0], [0, 0]]


def test_pixels_are_square_and_titles_and_notes_stand_at_their_picture():
    images = {"wide <1>": np.zeros((2, 6)), "square": np.zeros((3, 3))}
    html = pictures(images, alt="x", notes={"square": "20.0 dB"})._repr_html_()
    heights = [float(h) for h in re.findall(r'<image [^>]*height="([\d.]+)"', html)]
    assert heights == [SIDE / 3, SIDE]
    wide, square = html.split("<svg ")[1:]
    assert "wide &lt;1&gt;" in wide
    assert "dB" not in wide
    assert "20.0 dB" in square


def test_with_notes_all_pictures_keep_the_same_room_below():
    images = {"a": np.zeros((4, 4)), "b": np.zeros((4, 4))}
    html = pictures(images, alt="x", notes={"a": "1 dB"})._repr_html_()
    assert len(set(re.findall(r'viewBox="([^"]+)"', html))) == 1


def test_a_mark_frames_its_pixel():
    html = pictures({"a": np.zeros((4, 6))}, alt="x", marks={"a": (1, 2)})._repr_html_()
    box = r'<rect x="([\d.]+)" y="([\d.]+)" width="([\d.]+)" height="([\d.]+)" style="fill:none;stroke:#'
    frames = re.findall(box, html)
    assert len(frames) == 2  # dark on light
    x, y, width, height = map(float, frames[0])
    assert (x + width / 2, y + height / 2) == pytest.approx((2.5 * SIDE / 6, TOP + 1.5 * SIDE / 6), abs=0.1)
    assert width == height > SIDE / 6


def test_text_stays_readable_where_two_stand_side_by_side():
    html = pictures({"a": np.zeros((4, 4))}, alt="x", notes={"a": "n"})._repr_html_().split("</style>")[1]
    rem = 16
    basis = float(re.search(r"flex:1 1 ([\d.]+)rem", html)[1]) * rem
    smallest = min(int(size) for size in re.findall(r"font-size:(\d+)px", html))
    assert smallest * basis / SIDE >= 12.5


def test_the_alternative_text_is_there():
    html = pictures({"a": np.zeros((2, 2))}, alt='a "wall"')._repr_html_()
    assert 'aria-label="a &quot;wall&quot;"' in html
    with pytest.raises(ValueError, match="`alt` must say"):
        pictures({"a": np.zeros((2, 2))}, alt=" ")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"images": {"a": np.zeros(3)}}, r"the image 'a' must be \(rows, columns\) of finite numbers"),
        ({"images": {"a": np.zeros((0, 3))}}, r"the image 'a' must be \(rows, columns\)"),
        ({"images": {"a": np.full((2, 2), np.nan)}}, r"finite numbers; got shape \(2, 2\)"),
        ({"images": {"a": np.zeros((2, 2))}, "notes": {"b": "x"}}, "`notes` speaks of 'b'; the images are a"),
        ({"images": {"a": np.zeros((2, 2))}, "marks": {"b": (0, 0)}}, "`marks` speaks of 'b'"),
    ],
)
def test_bad_input_is_refused_with_the_remedy(arguments, message):
    with pytest.raises(ValueError, match=message):
        pictures(**arguments, alt="x")
