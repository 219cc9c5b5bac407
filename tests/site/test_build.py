"""What the build refuses, and what it never shows: each case on a small book of its own."""

import shutil
import textwrap
from pathlib import Path

import nbformat
import pytest
import yaml

from .conftest import ROOT, build_book


@pytest.fixture
def small_book(tmp_path):
    """small_book(cells) -> folder of a one-notebook book with our configuration and a copy of the library."""
    for name in ("extensions", "static", "templates"):
        shutil.copytree(ROOT / "book" / name, tmp_path / "book" / name)
    shutil.copytree(ROOT / "attention_core", tmp_path / "attention_core")
    shutil.copy(ROOT / "book" / "references.bib", tmp_path / "book")
    (tmp_path / "book" / "report.md").write_text("# Report an error\n\nText.\n")
    config = yaml.safe_load((ROOT / "_config.yml").read_text(encoding="utf-8"))
    (tmp_path / "_config.yml").write_text(yaml.safe_dump(config))
    toc = {"format": "jb-book", "root": "book/index", "chapters": [{"file": "book/report"}]}
    (tmp_path / "_toc.yml").write_text(yaml.safe_dump(toc))

    def write(*cells: str) -> Path:
        notebook = nbformat.v4.new_notebook()
        notebook.metadata["kernelspec"] = {
            "name": "python3",
            "display_name": "Python 3",
            "language": "python",
        }
        notebook.cells = [nbformat.v4.new_markdown_cell("# Small")]
        notebook.cells += [nbformat.v4.new_code_cell(textwrap.dedent(cell)) for cell in cells]
        nbformat.write(notebook, tmp_path / "book" / "index.ipynb")
        return tmp_path

    return write


def test_a_notebook_that_raises_fails_the_build_with_its_name_and_traceback(small_book):
    run = build_book(small_book("raise RuntimeError('the kettle is empty')"))
    assert run.returncode != 0
    said = run.stdout + run.stderr
    assert "book/index" in said
    assert "RuntimeError" in said
    assert "the kettle is empty" in said


def test_a_widget_that_the_site_cannot_draw_fails_the_build(small_book):
    run = build_book(small_book("import ipywidgets\nipywidgets.ColorPicker()"))
    assert run.returncode != 0
    assert "book/index: the site cannot draw the widget ColorPicker" in run.stdout + run.stderr


def test_tex_that_cannot_be_set_fails_the_build(small_book):
    book = small_book("1 + 1")
    (book / "book" / "report.md").write_text("# Report an error\n\n$\\nosuchmacro{x}$\n")
    run = build_book(book)
    assert run.returncode != 0
    assert "this TeX cannot be set" in run.stdout + run.stderr


def test_with_a_public_repository_errors_are_reported_there(small_book):
    book = small_book("1 + 1")
    config = yaml.safe_load((book / "_config.yml").read_text())
    config["repository"] = {"url": "https://example.org/book"}
    (book / "_config.yml").write_text(yaml.safe_dump(config))
    run = build_book(book)
    assert run.returncode == 0, run.stderr
    page = (book / "_build" / "html" / "book" / "index.html").read_text()
    assert 'href="https://example.org/book/issues/new?title=Erratum%3A+book%2Findex&amp;body=Page' in page


def test_a_page_never_shows_the_numbers_of_an_older_library(small_book):
    book = small_book(
        "import sys; sys.path.insert(0, '..')",
        "import attention_core\nprint('library', attention_core.__version__)",
    )
    page = book / "_build" / "html" / "book" / "index.html"
    assert build_book(book).returncode == 0
    assert "library 0.1.0" in page.read_text()
    package = book / "attention_core" / "__init__.py"
    source = package.read_text()
    package.write_text(source + '\n__version__ = "9.9.9"\n')
    run = build_book(book)
    assert run.returncode == 0, run.stderr
    assert "library 9.9.9" in page.read_text()


def test_the_book_builds_without_a_warning(site):
    assert (site / "index.html").exists()  # the fixture builds with -W -n and fails on the first warning
