"""TeX to MathML at build time: no script in the page, equations that screen readers know.

KaTeX (in an embedded JavaScript engine, a few milliseconds an equation) parses the TeX; browsers set
the MathML in the font that `assets` cuts down to the characters in use. KaTeX spaces its own HTML and
leaves MathML to the browser, and browsers follow MathML Core, which is smaller than MathML. So here
letters become the Unicode characters of their alphabet (`mathvariant` is gone from Core), a minus after
an operator is made a sign, function names get TeX's thin spaces, and spaces less than nothing go:
KaTeX marks them by an invisible separator, and browsers would set them as spaces. `book.css` aligns
columns.
"""

import functools
import importlib.util
import unicodedata
from pathlib import Path
from xml.etree import ElementTree

import quickjs
from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util import logging
from sphinx.util.math import get_node_equation_number
from sphinx.writers.html5 import HTML5Translator

MATHML = "http://www.w3.org/1998/Math/MathML"
ALPHABETS = {
    "bold": "MATHEMATICAL BOLD",
    "italic": "MATHEMATICAL ITALIC",
    "bold-italic": "MATHEMATICAL BOLD ITALIC",
    "double-struck": "MATHEMATICAL DOUBLE-STRUCK",
    "script": "MATHEMATICAL SCRIPT",
    "fraktur": "MATHEMATICAL FRAKTUR",
    "sans-serif": "MATHEMATICAL SANS-SERIF",
    "monospace": "MATHEMATICAL MONOSPACE",
}
# Letters that Unicode had before it had the alphabets.
EARLIER = {
    "double-struck": dict(zip("CHNPQRZ", "ℂℍℕℙℚℝℤ", strict=True)),
    "italic": {"h": "ℎ"},
    "script": dict(zip("BEFHILMRego", "ℬℰℱℋℐℒℳℛℯℊℴ", strict=True)),
    "fraktur": dict(zip("CHIRZ", "ℭℌℑℜℨ", strict=True)),
}
STRETCHING = {"∥": "‖", "∣": "|"}  # KaTeX's fences, as the operators that browsers stretch
NEGATIVE = "\N{INVISIBLE SEPARATOR}"  # after a space: this much less, where browsers can only add
APPLY = "\N{FUNCTION APPLICATION}"  # stands after a function's name
OPENING, CLOSING = ("(", "[", "{", "⟨", "|", "‖"), (")", "]", "}", "⟩", "|", "‖", "!")
log = logging.getLogger(__name__)


@functools.cache
def _renderer() -> quickjs.Function:
    origin = Path(importlib.util.find_spec("sphinxcontrib.katex").origin).parent
    context = quickjs.Context()
    context.eval("var self = globalThis;" + (origin / "katex.min.js").read_text(encoding="utf-8"))
    return context.eval(
        "(tex, display) => katex.renderToString(tex, {displayMode: display, output: 'mathml',"
        " throwOnError: true, strict: 'error'})"
    )


def in_alphabet(text: str, variant: str) -> str:
    """`text` in the Unicode alphabet that `variant` names; characters it lacks stay."""

    def one(character: str) -> str:
        if character in EARLIER.get(variant, {}):
            return EARLIER[variant][character]
        name = unicodedata.name(character, "")
        name = name.replace("LATIN CAPITAL LETTER", "CAPITAL").replace("LATIN SMALL LETTER", "SMALL")
        name = name.replace("GREEK CAPITAL LETTER", "CAPITAL").replace("GREEK SMALL LETTER", "SMALL")
        try:
            return unicodedata.lookup(f"{ALPHABETS[variant]} {name}")
        except KeyError:
            return character

    return "".join(map(one, text))


def _tag(element: ElementTree.Element) -> str:
    return element.tag.rpartition("}")[2]


def _scripted_name(element: ElementTree.Element) -> bool:
    """Whether the element is a function's name with a subscript or limit, as in log₂."""
    return _tag(element).startswith(("msu", "mund")) and any(part.text == APPLY for part in element.iter())


def _opens(element: ElementTree.Element) -> bool:
    return element.text in OPENING or (_tag(element) == "mrow" and len(element) > 0 and _opens(element[0]))


def _space(row: ElementTree.Element) -> None:
    """TeX's spacing of signs and function names, which MathML leaves to its author."""
    for child in [child for child in row if (child.text or "").endswith(NEGATIVE)]:
        row.remove(child)
    blank = [child for child in row if _tag(child) == "mspace" or (child.text or "").isspace()]
    children = [child for child in row if child not in blank]
    for before, child, after in zip([None, *children], children, [*children[1:], None], strict=False):
        if child.text in ("−", "+", "±") and _tag(child) == "mo":
            sign = before is None or (_tag(before) == "mo" and before.text not in CLOSING)
            child.set("form", "prefix" if sign else "infix")
        name_ends = child.text == APPLY or _scripted_name(child)
        if name_ends and after is not None and not _opens(after):
            row.insert(list(row).index(child) + 1, _thin_space())
        name_begins = _scripted_name(child) or (after is not None and after.text == APPLY)
        if name_begins and before is not None and _tag(before) != "mo":
            row.insert(list(row).index(child), _thin_space())


def _thin_space() -> ElementTree.Element:
    return ElementTree.Element(f"{{{MATHML}}}mspace", width="0.1667em")


def mathml(tex: str, display: bool) -> str:
    """The `<math>` element for a TeX formula; raises `quickjs.JSException` for TeX that KaTeX refuses."""
    ElementTree.register_namespace("", MATHML)
    span = ElementTree.fromstring(_renderer()(tex, display))
    math = span.find(f"{{{MATHML}}}math")
    for element in list(math.iter()):
        variant = element.get("mathvariant")
        if variant in ALPHABETS and element.text:
            element.text = in_alphabet(element.text, variant)
            del element.attrib["mathvariant"]
        if _tag(element) == "mo":
            element.text = STRETCHING.get(element.text, element.text)
        if _tag(element) in ("mrow", "mstyle", "mtd", "math"):
            _space(element)
    return ElementTree.tostring(math, encoding="unicode")


def _convert(node: nodes.Element, display: bool) -> str:
    try:
        return mathml(node.astext(), display)
    except quickjs.JSException as error:
        log.warning("this TeX cannot be set: %s\n%s", error, node.astext(), location=node)
        return ""


def visit_inline(self: HTML5Translator, node: nodes.math) -> None:
    self.body.append(_convert(node, display=False))
    raise nodes.SkipNode


def visit_block(self: HTML5Translator, node: nodes.math_block) -> None:
    self.body.append(self.starttag(node, "div", CLASS="math-block"))
    self.body.append(_convert(node, display=True))
    if node["number"]:
        number = get_node_equation_number(self, node)
        self.body.append(f'<span class="eqno">({number})')
        self.add_permalink_ref(node, "Link to this equation")
        self.body.append("</span>")
    self.body.append("</div>\n")
    raise nodes.SkipNode


def setup(app: Sphinx) -> None:
    app.add_html_math_renderer("mathml", (visit_inline, None), (visit_block, None))
    app.config.html_math_renderer = "mathml"
