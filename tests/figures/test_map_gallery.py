"""The gallery of maps: each patch where it belongs and as strong as it is, and light enough for a page."""

import base64
import gzip
import io
import re

import numpy as np
import pytest
import torch
from PIL import Image

from attention_core import datasets, explain, models
from attention_core.figures import map_gallery
from attention_core.figures.gallery import STEPS
from attention_core.figures.maps import rgb

from ..browser import serving


def cells(html: str) -> list[str]:
    """The SVG of each map, without the pictures."""
    return [svg for svg in re.findall(r"<svg.*?</svg>", html) if "<use" in svg]


def levels(svg: str, rows: int, columns: int) -> np.ndarray:
    """Signed levels of one map, read back from its strokes."""
    found = np.zeros((rows, columns), int)
    for kind, step, d in re.findall(r'<path class="([tnp])(\d+)" d="([^"]*)"/>', svg):
        for column, row, run in re.findall(r"M(\d+) (\d+)h(\d+)", d):
            at = slice(int(column), int(column) + int(run))
            assert not found[int(row), at].any()
            found[int(row), at] = int(step) * (-1 if kind == "n" else 1)
    return found


def test_every_patch_is_read_back_at_its_level_whatever_the_sign(rng):
    values = torch.from_numpy(rng.normal(size=(2, 3, 5)))
    html = map_gallery(torch.rand(2, 3, 6, 10), {"a": values, "b": values.abs()}, alt="x")._repr_html_()
    drawn = [levels(svg, 3, 5) for svg in cells(html)]
    for (picture, name), found in zip([(0, "a"), (0, "b"), (1, "a"), (1, "b")], drawn, strict=True):
        value = values[picture].numpy() if name == "a" else values[picture].abs().numpy()
        share = value / np.abs(value).max()  # each map to its own largest
        expected = np.sign(share) * np.floor(np.abs(share) * STEPS + 0.5)
        np.testing.assert_array_equal(found, expected)


def test_a_negative_patch_carries_a_minus_and_an_unsigned_map_none():
    values = torch.tensor([[[-1.0, 1.0, -0.3, 0.0]]])
    html = map_gallery(torch.rand(1, 3, 4, 4), {"a": values, "b": values.clamp(min=0)}, alt="x")._repr_html_()
    signed, unsigned = cells(html)
    bars = re.findall(r'class="(m d|m)" d="([^"]*)"', signed)
    assert bars == [("m d", "M0.3 0h.4"), ("m", "M2.3 0h.4")]
    assert re.findall('class="([^"]*)"', unsigned) == ["t10"]


def test_what_an_explanation_says_of_its_sign_counts():
    values = torch.rand(1, 2, 2)
    made = explain.Explanation(values, signed=True, class_sensitive=True, method="x")
    html = map_gallery(torch.rand(1, 3, 4, 4), {"signed": made}, alt="x")._repr_html_()
    assert set(re.findall(r'<path class="([tnp])\d', html)) == {"p"}
    assert "+ for" in html
    assert "largest</span>" not in html  # no key for a ramp that is not there


def test_a_picture_is_in_the_page_once_and_all_its_maps_refer_to_it(rng):
    images = torch.from_numpy(rng.random((2, 3, 4, 4)))
    maps = {"a": torch.rand(2, 2, 2), "b": torch.rand(2, 2, 2)}
    html = map_gallery(images, maps, alt="x")._repr_html_()
    pictures = re.findall(r'<image id="(\w+)" href="data:image/png;base64,([^"]+)"', html)
    assert len(pictures) == 2
    for (name, data), image in zip(pictures, images, strict=True):
        assert html.count(f'<use href="#{name}"/>') == 2
        pixels = np.asarray(Image.open(io.BytesIO(base64.b64decode(data))))
        np.testing.assert_array_equal(pixels, rgb(image[None])[0])
    other = map_gallery(images.flip(0), maps, alt="x")._repr_html_()
    assert not {name for name, _ in pictures} & set(re.findall(r'<image id="(\w+)"', other))


def test_rows_are_named_and_columns_by_their_methods():
    html = map_gallery(
        torch.rand(2, 3, 4, 4), {"raw <1>": torch.rand(2, 2, 2)}, rows=["asked: star", "asked: ring"], alt="x"
    )._repr_html_()
    text = re.sub(r"<style>.*?</style>|<[^>]*>", " ", html)
    assert text.split()[:8] == ["asked:", "star", "raw", "&lt;1&gt;", "asked:", "ring", "raw", "&lt;1&gt;"]


def test_the_alternative_text_and_how_maps_are_scaled_are_there():
    shown = map_gallery(torch.rand(1, 3, 4, 4), {"a": -torch.rand(1, 2, 2)}, alt='the "maps"', caption="Six.")
    html = shown._repr_html_()
    assert 'aria-label="the &quot;maps&quot;"' in html
    assert (
        "Six. Each map is scaled to its own largest absolute value. A minus marks patches below zero." in html
    )
    with pytest.raises(ValueError, match="`alt` must say"):
        map_gallery(torch.rand(1, 3, 4, 4), {"a": torch.rand(1, 2, 2)}, alt=" ")


def test_a_map_of_zeros_shows_the_picture_alone():
    with np.errstate(all="raise"):
        html = map_gallery(torch.rand(1, 3, 4, 4), {"a": torch.zeros(1, 2, 2)}, alt="x")._repr_html_()
    assert "<path" not in html


@pytest.fixture(scope="module")
def scenes():
    return datasets.shapes("pair", 6)


@pytest.fixture(scope="module")
def gallery(scenes):
    """Six pictures under twelve methods that are quick enough."""
    model, target = models.load("shapes-vit"), [int(labels.nonzero()[0]) for labels in scenes.labels]
    slow = {"flow", "gradcam_literal", "occlusion", "cdam_smooth", "cdam_integrated", "integrated"}
    quick = [name for name in explain.METHODS if name not in slow][:12]
    maps = {name: explain.explain(model, scenes.images, target, name) for name in quick}
    assert len(maps) == 12
    return map_gallery(scenes, maps, alt="maps", caption="Twelve methods.")


def test_six_pictures_under_twelve_methods_are_light(gallery):
    html = gallery._repr_html_().encode()
    assert len(html) <= 150_000
    assert len(gzip.compress(html, 9, mtime=0)) <= 40_000


def test_even_maps_without_any_pattern_are_light(scenes, rng):
    noise = {f"method {i}": torch.from_numpy(rng.normal(size=(6, 8, 8))) for i in range(12)}
    html = map_gallery(scenes, noise, alt="x")._repr_html_().encode()
    assert len(html) <= 150_000
    assert len(gzip.compress(html, 9, mtime=0)) <= 40_000


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("width", [900, 320])
def test_it_fits_is_accessible_and_shows_pictures_through_its_maps(
    gallery, browser, node_modules, tmp_path, theme, width
):
    (tmp_path / "page.html").write_text(
        f'<!doctype html><html lang="en" data-theme="{theme}"><head><meta charset="utf-8"><title>x</title>'
        '<meta name="viewport" content="width=device-width"><link rel="icon" href="data:,"></head><body '
        f'style="background: {"#121212" if theme == "dark" else "#fff"}"><main><h1 style="color: '
        f'{"#fff" if theme == "dark" else "#000"}">x</h1>{gallery._repr_html_()}</main></body></html>',
        encoding="utf-8",
    )
    with serving(tmp_path) as origin:
        page = browser.new_page(viewport={"width": width, "height": 800})
        page.goto(f"{origin}/page.html")
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        page.evaluate((node_modules / "axe-core" / "axe.min.js").read_text(encoding="utf-8"))
        assert page.evaluate("axe.run('main').then((r) => r.violations.map((v) => v.id))") == []
        sizes = page.locator(".pa-gallery .line > span").evaluate_all(
            "all => all.map((e) => [parseFloat(getComputedStyle(e).fontSize), e.offsetWidth, e.scrollWidth])"
        )
        assert min(size for size, _, _ in sizes) >= 12.5
        assert all(inner <= outer for _, outer, inner in sizes)
        drawn = page.locator(".pa-gallery .t10").first.evaluate(
            "(e) => [getComputedStyle(e).stroke, getComputedStyle(e).strokeOpacity]"
        )
        assert drawn == [{"light": "rgb(39, 47, 81)", "dark": "rgb(241, 234, 188)"}[theme], "0.92"]
        page.emulate_media(media="print")
        assert page.locator(".pa-gallery svg").first.is_visible()
        page.close()


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"maps": {}}, ValueError, "`maps` must hold at least one map"),
        (
            {"maps": {"a": torch.rand(3, 2, 2)}},
            ValueError,
            r"`maps` 'a' must have shape \(2, rows, columns\)",
        ),
        ({"maps": {"a": torch.rand(2, 2)}}, ValueError, r"a map for each image; got \(2, 2\)"),
        ({"maps": {"a": torch.full((2, 2, 2), torch.nan)}}, ValueError, "`maps` 'a' must be finite"),
        ({"maps": {"a": np.zeros((2, 2, 2))}}, TypeError, "`maps` 'a' must be what `explain` gives"),
        ({"rows": ["one"]}, ValueError, "`rows` must have a note for each of 2 images; got 1"),
        ({"images": torch.zeros(3, 4, 4)}, ValueError, r"`images` must have shape \(batch, channels"),
        ({"images": np.zeros((2, 3, 4, 4))}, TypeError, "`images` must be a float tensor"),
    ],
)
def test_bad_input_is_refused_with_the_remedy(unchecked, arguments, error, message):
    usual = {"images": torch.rand(2, 3, 4, 4), "maps": {"a": torch.rand(2, 2, 2)}, "alt": "x"}
    with pytest.raises(error, match=message):
        map_gallery(**{**usual, **arguments})
