"""Excerpts of the library's source: what stands in the file, and nothing when the text no longer fits."""

import sys
from pathlib import Path

import pytest

import attention_core
from attention_core.figures.listing import excerpt

KERNELS = "attention_core.flash.kernels"


def test_lines_come_from_the_file_without_their_common_indent():
    shown = str(excerpt(KERNELS, "larger = tl.maximum", "total = total * rescale"))
    first, *_, last = shown.splitlines()
    assert first.startswith("larger = tl.maximum(")
    assert last.startswith("total = total * rescale")


def test_a_notebook_gets_code_that_its_site_can_colour():
    markdown = excerpt(KERNELS, "larger = tl.maximum", "rescale =")._repr_markdown_()
    assert markdown.startswith("```python\nlarger")
    assert markdown.endswith("\n```")


def test_a_comment_that_would_run_off_the_page_stands_above_its_line_and_no_code_is_lost():
    first, last = "value = load(values", "return output, larger, total"
    shown = str(excerpt(KERNELS, first, last))
    assert "\n# a value that is not finite" in shown
    assert "\nif MASKED:\n" in shown
    source = (Path(attention_core.__file__).parent / "flash" / "kernels.py").read_text(encoding="utf-8")
    part = source[source.index(first) : source.index(last) + len(last)]
    assert code_of(shown) == code_of(part)


def code_of(source):
    return [line.split("#")[0].strip() for line in source.splitlines() if line.split("#")[0].strip()]


def test_source_can_be_shown_where_it_cannot_be_imported(monkeypatch):
    monkeypatch.setitem(sys.modules, "triton", None)
    monkeypatch.delitem(sys.modules, KERNELS, raising=False)
    assert "tl.maximum" in str(excerpt(KERNELS, "larger = tl.maximum", "rescale ="))


@pytest.mark.parametrize(
    ("first", "last", "words"),
    [
        ("no such line", "return", "stands in 0"),
        ("tl.load(", "return", "`first` must stand in one line"),
        ("larger = tl.maximum", "no such line", "`last` must stand at or after"),
    ],
)
def test_a_line_that_is_gone_or_ambiguous_is_refused(first, last, words):
    with pytest.raises(ValueError, match=words):
        excerpt(KERNELS, first, last)


def test_a_module_that_is_not_there_is_refused():
    with pytest.raises(ValueError, match="`module` must be a Python module"):
        excerpt("attention_core.flash.absent", "a", "b")
