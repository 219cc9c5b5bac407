"""A map over a picture: Python and JavaScript draw it alike, and zero lets the picture through."""

import io
import json
import re

import numpy as np
import pytest
import torch
from PIL import Image

from attention_core.figures import base, maps, patch_scenes, pictures

from .patch_figures import close

SOURCE = "".join((base.HERE / f"{name}.js").read_text(encoding="utf-8") for name in base.SHARED)
MODULE = re.sub(r"(?m)^import .*\n", "", SOURCE)


def cases(count=120):
    rng = np.random.default_rng(3)
    for i in range(count):
        shape = tuple(rng.integers(1, 12, 2))
        values = rng.normal(size=shape) if i % 2 else rng.random(shape)
        values[rng.random(shape) < 0.2] = 0
        yield (
            values, bool(i % 2), [None, 0.5, 0.0][i % 3],
            *(rng.random(shape) < 0.3 if i % 4 == part else None for part in (0, 1)),
        )  # fmt: skip


def test_python_and_javascript_lay_the_same_paths_over_a_picture(javascript):
    seen = set()
    for values, signed, top, dropped, outline in cases():
        look = dict(signed=signed, dropped=dropped, outline=outline, **({} if top is None else {"top": top}))
        ours = maps.layers(values, **look)
        sent = {
            name: part.ravel().tolist() if isinstance(part, np.ndarray) else part
            for name, part in look.items()
        }
        there = javascript(MODULE, "layers", values.ravel().tolist(), values.shape[1], sent)
        assert there == [list(layer) for layer in ours]
        words = javascript(MODULE, "alternative", "Map", values.ravel().tolist(), values.shape[1], signed)
        assert words == maps.alternative("Map", values, signed)
        seen |= {re.sub(r"\d", "", name) for name, _, _ in ours}
    parts = {"t", "neg", "pos", "gone", "hatch", "minus", "minus pa-pmdeep", "edge"}
    assert seen == {f"pa-pm{part}" for part in parts}


def test_a_patch_is_a_stroke_of_its_place_and_neighbours_alike_are_one():
    assert maps.layers(np.array([[0.0, 1.0], [0.5, 0.5]])) == [
        ("pa-pmt20", "M1 0h1", 0.92), ("pa-pmt10", "M0 1h2", 0.61)
    ]  # fmt: skip


def test_zero_lets_the_picture_through_and_is_the_middle_of_a_signed_map():
    assert maps.layers(np.zeros((3, 3))) == []
    assert maps.layers(np.zeros((3, 3)), signed=True) == []
    names = [name for name, _, _ in maps.layers(np.array([[-1.0, 0.0, 1.0]]), signed=True)]
    assert names == ["pa-pmneg", "pa-pmpos", "pa-pmminus pa-pmdeep"]


def test_the_sign_is_never_in_the_colour_alone():
    drawn = dict((name, d) for name, d, _ in maps.layers(np.array([[-0.3, 0.3, -1.0, -0.7]]), signed=True))
    assert drawn["pa-pmminus"] == "M0.3 0h.4"
    assert drawn["pa-pmminus pa-pmdeep"] == "M2.3 0h.4M3.3 0h.4"


def test_levels_follow_the_ramp_of_the_design():
    sheet = (base.HERE / "shades.css").read_text(encoding="utf-8")
    for step in range(1, maps.STEPS + 1):
        low, high = step // 2, (step + 1) // 2
        colour = f"var(--pa-s{high})"
        if low != high:
            colour = f"color-mix(in oklab, {colour}, var(--pa-s{low}))"
        assert f".pa-pmt{step} {{ stroke: {colour}; }}" in sheet


def test_colours_travel_as_bytes(rng):
    images = torch.from_numpy(rng.random((2, 3, 4, 6)))
    sent = maps.rgb(images)
    given = 255 * images.permute(0, 2, 3, 1).numpy()
    assert np.abs(sent - given).max() <= 255 / (maps.SHADES - 1) / 2 + 0.5  # the nearest shade
    assert len(np.unique(sent)) <= maps.SHADES
    assert sent.dtype == np.uint8
    picture = Image.open(io.BytesIO(pictures.png(sent[1])))
    picture.load()
    assert picture.mode == "RGB"
    np.testing.assert_array_equal(np.asarray(picture), sent[1])


def test_maps_travel_in_sixteen_bits_of_their_own_largest_value(rng, javascript):
    size = 10.0 ** rng.integers(-6, 4, (120, 1, 1))
    found = rng.normal(size=(120, 3, 4)) * size * (rng.random((120, 3, 4)) < 0.8)
    found[7] = 0
    sent = patch_scenes.sixteen_bit(found)
    read = """(bytes, tops) => {
        const next = mapReader(new DataView(new Uint8Array(bytes).buffer), tops, 12);
        return tops.map((_, i) => next(i));
    }"""
    there = javascript(MODULE, read, list(sent["frames"]), sent["tops"])
    close(there, found)
    assert not np.any(there[7])
    assert len(sent["frames"]) == 2 * found.size


def test_large_grey_and_normalised_images_can_be_looked_at():
    assert maps.rgb(torch.rand(1, 3, 224, 112)).shape == (1, 96, 48, 3)
    grey = maps.rgb(torch.rand(1, 1, 4, 4))
    assert (grey == grey[..., :1]).all()
    stretched = maps.rgb(torch.linspace(-2, 2, 48).reshape(1, 3, 4, 4))
    assert (stretched.min(), stretched.max()) == (0, 255)


def test_the_static_board_has_its_words_and_frames():
    html = maps.board(np.eye(2), label="Eye", marks=[2], picture=np.zeros((4, 4, 3), np.uint8))
    assert 'aria-label="Eye: 2 by 2 patches. Largest 1.000 in row 1, column 1."' in html
    assert 'style="top: 50%; left: 0%; width: 50%; height: 50%"' in html
    assert "data:image/png;base64," in html
    assert "pa-pmbare" in maps.board(np.eye(2), label="Eye")


@pytest.mark.parametrize("signed", [False, True])
def test_the_legend_names_both_ends(signed):
    html = maps.legend(0.0314, signed, ("against", "for"))
    assert re.sub("<[^>]*>", " ", html).split() == (
        ["against", "−0.031", "+0.031", "for"] if signed else ["against", "0", "0.031", "for"]
    )


def test_the_module_of_a_view_with_maps_holds_kit_and_maps_once(tmp_path, monkeypatch, javascript):
    for name in base.SHARED:
        (tmp_path / f"{name}.js").write_text((base.HERE / f"{name}.js").read_text(encoding="utf-8"))
    (tmp_path / "own.js").write_text(
        'import { h } from "./kit.js";\nimport { layers } from "./maps.js";\n'
        "export const own = () => layers([1], 1);\n"
    )
    (tmp_path / "bare.js").write_text('import { layers } from "./maps.js";\n')
    monkeypatch.setattr(base, "HERE", tmp_path)
    module = base.module.__wrapped__("own")
    assert not re.search(r"(?m)^import", module)
    assert javascript(module, "own") == [["pa-pmt20", "M0 0h1", 0.92]]
    with pytest.raises(ValueError, match=r"bare.js must import from './kit.js' .* found 0"):
        base.module.__wrapped__("bare")
    assert json.dumps(module).count("export function patchMap") == 1
