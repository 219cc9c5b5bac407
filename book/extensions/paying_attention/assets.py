"""Light pages: only the glyphs in use, one stylesheet of rules in use, nothing that no page asks for.

The theme brings 1.5 MB of icon script and fonts; the mathematics font has 1.5 MB. Both are cut down
to the characters that the built pages hold, which leaves some tens of kilobytes.
"""

import importlib.util
import logging
import re
import shutil
import unicodedata
from pathlib import Path

from fontTools import subset
from fontTools.ttLib import TTFont
from sphinx.application import Sphinx

from . import trim
from .mathml import in_alphabet

AWESOME = Path("vendor/fontawesome/6.5.2")
THEME_SHEETS = ("styles/theme.css", "styles/bootstrap.css", "styles/pydata-sphinx-theme.css")
logging.getLogger("fontTools").setLevel(logging.WARNING)


def _even_roots(face: TTFont) -> None:
    """Make all sizes of the root as wide as the smallest.

    Chromium reserves the widest of them for every root, which in STIX leaves a gap of
    0.4 em after a plain one. In TeX's own fonts they are about equally wide as well.
    """
    variants, glyphs, metrics = face["MATH"].table.MathVariants, face["glyf"], face["hmtx"]
    name = face.getBestCmap()[ord("√")]
    made = variants.VertGlyphConstruction[variants.VertGlyphCoverage.glyphs.index(name)]
    sizes = {variant.VariantGlyph for variant in made.MathGlyphVariantRecord}
    sizes |= {part.glyph for part in made.GlyphAssembly.PartRecords}
    width = metrics[name][0]
    for other in sizes - {name}:
        factor = width / metrics[other][0]
        glyphs[other].coordinates.scale((factor, 1))
        glyphs[other].coordinates.toInt()
        glyphs[other].recalcBounds(glyphs)
        metrics[other] = (width, glyphs[other].xMin)


def _cut(font: Path, target: Path, characters: set[str]) -> None:
    """Write the WOFF2 of `font` with only `characters` and what setting them needs, stretchy parts too.

    Of the features stay those that browsers ask for in mathematics: smaller indices, dotless letters under
    accents, flatter accents, composition. Hints for coarse screens would be a quarter of the file.
    """
    options = subset.Options(
        flavor="woff2",
        layout_features=["ssty", "dtls", "flac", "ccmp"],
        hinting=False,
        desubroutinize=True,
        notdef_outline=True,
    )
    face = TTFont(font)
    cutter = subset.Subsetter(options)
    cutter.populate(unicodes=map(ord, characters))
    cutter.subset(face)
    if "MATH" in face:
        _even_roots(face)
    target.parent.mkdir(parents=True, exist_ok=True)
    subset.save_font(face, str(target), options)


def _mathematics(pages: list[str], static: Path) -> None:
    text = "".join(
        re.sub(r"<[^>]*>", "", math) for page in pages for math in re.findall(r"<math.*?</math>", page, re.S)
    )
    plain = set(text) | set("0123456789+−=()[]{}|‖√∑∏∫.,")
    letters = {c for c in plain if c.isalpha()}
    italic = {in_alphabet(c, "italic") for c in letters}  # browsers set a single <mi> letter in italics
    folder = Path(importlib.util.find_spec("ziamath").origin).parent / "fonts"
    wanted = {c for c in plain | italic if not unicodedata.category(c).startswith("C")}
    _cut(folder / "STIXTwoMath-Regular.ttf", static / "fonts" / "mathematics.woff2", wanted)


def _icons(pages: list[str], static: Path) -> str:
    """Cut the icon font; return the CSS for the icons in use."""
    css = (static / AWESOME / "css" / "all.min.css").read_text(encoding="utf-8")
    used = set(re.findall(r"\bfa-[a-z-]+", " ".join(re.findall(r'class="[^"]*\bfa-[^"]*"', "".join(pages)))))
    codes = {
        name: code
        for names, code in re.findall(r'((?:\.fa-[a-z0-9-]+:before,?)+)\{content:"\\([0-9a-f]+)"\}', css)
        for name in re.findall(r"fa-[a-z0-9-]+", names)
        if name in used
    }
    theme = (static / "styles" / "pydata-sphinx-theme.css").read_text(encoding="utf-8")
    characters = {chr(int(code, 16)) for code in codes.values()}
    characters |= set("".join(re.findall(r'--pst-icon-[a-z-]+:"(.)"', theme)))  # admonitions, external links
    _cut(static / AWESOME / "webfonts" / "fa-solid-900.ttf", static / "fonts" / "icons.woff2", characters)
    rules = "".join(f'.{name}::before{{content:"\\{code}"}}' for name, code in sorted(codes.items()))
    return (
        '@font-face{font-family:"Icons";font-weight:900;font-display:block;src:url(fonts/icons.woff2)}'
        ':root{--fa-font-solid:normal 900 1em/1 "Icons"}'
        ".fa-solid,.fas{font:var(--fa-font-solid);display:inline-block}.fa-lg{font-size:1.25em}" + rules
    )


def _stylesheet(app: Sphinx, static: Path, icons: str) -> str:
    """The theme's, the extensions' and the book's styles in the order in which a page would link them."""
    sheets = sorted(app.builder._orig_css_files, key=lambda sheet: sheet.priority)
    linked = [str(sheet.filename).split("?")[0] for sheet in sheets]
    names = dict.fromkeys([*THEME_SHEETS, *linked])
    parts = [(static / name.removeprefix("_static/")).read_text(encoding="utf-8") for name in names]
    return icons + "\n".join(
        re.sub(r"/\*# sourceMappingURL.*?\*/|@charset[^;]*;", "", part) for part in parts
    )


def _one_link(app: Sphinx, page: str, template: str, context: dict, doctree) -> None:
    context["css_files"] = []  # the template links `site.css`, which holds them all


def _lighten(app: Sphinx, error: Exception | None) -> None:
    if error or app.builder.format != "html":
        return
    static = Path(app.outdir) / "_static"
    html = (path for path in Path(app.outdir).rglob("*.html") if "_static" not in path.parts)
    pages = [path.read_text(encoding="utf-8") for path in html]
    _mathematics(pages, static)
    icons = _icons(pages, static)
    scripts = [path.read_text(encoding="utf-8") for path in static.rglob("*.js")]
    css = trim.trimmed(_stylesheet(app, static, icons), trim.words([*pages, *scripts]))
    (static / "site.css").write_text(css, encoding="utf-8")
    shutil.rmtree(static / "vendor")
    for leftover in [*static.rglob("*.map"), *static.rglob("*.LICENSE.txt")]:
        leftover.unlink()


def setup(app: Sphinx) -> None:
    app.connect("html-page-context", _one_link, priority=950)
    app.connect("build-finished", _lighten, priority=900)
