"""A view is one module and one style sheet, light enough for a page, with the colours of the design."""

import gzip
import re
import subprocess
import sys
from pathlib import Path

import pytest

from attention_core import figures
from attention_core.figures import base

HOST = Path(__file__).parents[2] / "book" / "static" / "widget-host.js"
VIEWS = [
    "alignment_explorer",
    "alignment_score",
    "soft_to_hard",
    "why_sqrt_d",
    "geometry",
    "permutation",
    "mask_editor",
    "variant_table",
    "outer_product_memory",
    "flash_tiling",
    "block_sparsity",
    "roofline",
    "timeline",
    "training_scrubber",
    "bottleneck",
    "bottleneck_measured",
    "pixel_attention",
    "vit_heads",
    "rollout",
    "class_maps",
    "faithfulness",
    "randomized_model",
    "head_picker",
    "head_ablation",
]
PALETTE = """
f7f5ec dbe5b7 a8da9a 59cf99 0bb9a8 029fac 0787a2 047097 02588d 1d4177 272f51
21252f 1e3756 014b76 006283 067990 07909c 0daa9b 34c38e 8ed186 c8dc95 f1eabc
004e9b f7f4f2 7f3800 8ac3fe 2a2725 fba861 1d3f9e cf6a00 00806a 6b9bff f0964a a6f5d6
fff 171b22 f4f6f9 20262f 1b2230 e7eaf0 566072 a3adbd d5dae2 363e4b 7b8698 7f8b9e 1d4fb8 8ab4ff a8321f ff9a86
"""


def zipped(*texts: str) -> int:
    return len(gzip.compress("".join(texts).encode(), 9, mtime=0))


@pytest.mark.parametrize("name", VIEWS)
def test_a_view_is_one_module_that_imports_nothing(name, javascript):
    module = base.module(name)
    assert not re.search(r"^\s*import\b", module, re.M)
    assert len(re.findall(r"^export default", module, re.M)) == 1
    assert javascript(module, "fixed", -1.005, 1) == "−1.0"  # the kit is in it, and it parses


def test_a_view_that_does_not_import_the_kit_is_refused():
    with pytest.raises(ValueError, match=r"must import from './kit.js' in exactly one statement"):
        base.module("heading")


@pytest.mark.parametrize("text", [*figures.modules(), HOST.read_text(encoding="utf-8")])
def test_nothing_is_evaluated_or_fetched_from_elsewhere(text):
    assert not re.search(r"\beval\s*\(|new Function|attachShadow|fetch\s*\(|XMLHttpRequest", text)
    assert set(re.findall(r"https?://[\w.]+", text)) <= {"http://www.w3.org"}


@pytest.mark.parametrize("name", VIEWS)
def test_a_figure_weighs_at_most_12_kB(name):
    assert zipped(base.module(name), base.module("heading", kit=False), base.style(name)) <= 12_000


def test_the_host_weighs_at_most_15_kB():
    assert zipped(HOST.read_text(encoding="utf-8")) <= 15_000


def test_the_style_sheet_holds_every_file_once():
    sheet = figures.stylesheet()
    for path in base.HERE.glob("*.css"):
        assert sheet.count(path.read_text(encoding="utf-8")) == 1, path.name
    command = [sys.executable, "-m", "attention_core.figures"]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout == sheet


def test_the_palette_is_the_designs():
    used = set(re.findall(r"#([0-9a-f]{3,6})\b", base.style()))
    assert set(PALETTE.split()) <= used


def test_no_text_is_smaller_than_the_smallest_size():
    sizes = [float(x) for x in re.findall(r"font-size:\s*([\d.]+)px", figures.stylesheet())]
    assert sizes
    assert min(sizes) >= 12.5


def test_widths_are_asked_of_the_figure_and_not_of_the_window():
    assert not re.search(r"@media[^{]*width", figures.stylesheet())


def test_braces_of_the_style_sheet_match():
    plain = re.sub(r"/\*.*?\*/", "", figures.stylesheet(), flags=re.S)
    assert plain.count("{") == plain.count("}")


@pytest.mark.parametrize("sheet", [name for name in VIEWS if (base.HERE / f"{name}.css").exists()])
def test_what_a_figure_styles_by_a_class_alone_is_in_no_other_figure(sheet):
    """The site links all style sheets at once: one figure's lanes would lie across another's."""
    text = (base.HERE / f"{sheet}.css").read_text(encoding="utf-8")
    lists = re.findall(r"(?m)^\s*([^{}@/]+) \{", text)
    selectors = [each.strip() for one in lists for each in one.split(",")]
    alone = {each[1:] for each in selectors if re.fullmatch(r"\.pa-[\w-]+", each)}
    for other in VIEWS:
        sources = [path for path in base.HERE.glob(f"{other}*") if path.suffix in (".js", ".py", ".css")]
        if other == sheet or other.startswith(sheet) or sheet.startswith(other):
            continue
        used = {
            name
            for path in sources
            for name in re.findall(r"(?<!--)\bpa-[\w-]+", path.read_text(encoding="utf-8"))
        }
        assert not alone & used, (other, alone & used)
