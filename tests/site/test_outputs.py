"""TeX and sources inside a notebook's HTML outputs: set, linked, or refused."""

import sys
from types import SimpleNamespace

import pytest
from docutils import nodes
from docutils.utils import new_document
from pybtex.database import Entry, Person

from .conftest import ROOT

sys.path.insert(0, str(ROOT / "book" / "extensions"))
from paying_attention import outputs


def entry(*people: str, year: str = "2017") -> Entry:
    return Entry("misc", fields={"year": year}, persons={"author": [Person(name) for name in people]})


@pytest.fixture
def convert(monkeypatch):
    """convert(html) -> what the page gets; `convert.warnings` lists what the build would fail for."""
    warnings = []
    log = SimpleNamespace(warning=lambda text, *values, **_: warnings.append(text % values))
    monkeypatch.setattr(outputs, "log", log)
    known = SimpleNamespace(
        key="vaswani2017attention",
        citation_id="id7",
        bibliography_key=SimpleNamespace(docname="book/bibliography"),
        entry=entry("Vaswani, Ashish", "Shazeer, Noam", "Parmar, Niki"),
    )
    builder = SimpleNamespace(get_relative_uri=lambda page, target: f"{target.rpartition('/')[2]}.html")
    env = SimpleNamespace(
        app=SimpleNamespace(builder=builder),
        docname="book/page",
        get_domain=lambda name: SimpleNamespace(citations=[known]),
    )

    def run(text: str, form: str = "html") -> str:
        document = new_document("page")
        document.settings.env = env
        document += nodes.raw("", text, format=form)
        outputs.Outputs(document).run()
        return document.astext()

    run.warnings = warnings
    return run


def test_tex_in_an_output_becomes_mathml(convert):
    page = convert(r'<p><span class="pa-tex">\(a &lt; b\)</span></p>')
    assert page.startswith('<p><span class="pa-tex"><math')
    assert "\\(" not in page
    assert "&lt;" in page
    assert convert.warnings == []


def test_tex_that_means_nothing_fails_the_build(convert):
    convert(r'<span class="pa-tex">\(\nosuchmacro\)</span>')
    assert convert.warnings[0].startswith("this TeX cannot be set")


def test_a_source_is_spelled_out_and_linked(convert):
    page = convert('<cite data-cite="vaswani2017attention">Vaswani 2017</cite>')
    assert page == '<cite><a href="bibliography.html#id7">Vaswani et al., 2017</a></cite>'


def test_a_source_that_the_bibliography_lacks_fails_the_build(convert):
    convert('<cite data-cite="nobody1900nothing">Nobody 1900</cite>')
    assert convert.warnings == ["the bibliography has no entry nobody1900nothing"]


def test_other_outputs_and_other_formats_stay_as_they_are(convert):
    plain = "<p>A \\(b\\) <cite>c</cite></p>"
    assert convert(plain) == plain
    assert convert(r'<span class="pa-tex">\(a\)</span>', form="latex") == r'<span class="pa-tex">\(a\)</span>'


@pytest.mark.parametrize(
    ("people", "text"),
    [
        (["Graves, Alex"], "Graves"),
        (["Martins, André", "Astudillo, Ramón"], "Martins and Astudillo"),
        (["van den Oord, Aaron", "Li, Y", "Vinyals, O"], "van den Oord et al."),
        (["{DeepSeek-AI}"], "DeepSeek-AI"),
    ],
)
def test_authors_are_named_as_a_text_names_them(people, text):
    assert outputs.authors(entry(*people)) == text
