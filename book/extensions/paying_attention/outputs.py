r"""What a notebook's HTML outputs may hold besides HTML: TeX, and sources.

JupyterLab sets TeX between \( and \) wherever it stands in an output; here `<span class="pa-tex">` becomes
MathML. `<cite data-cite="key">` becomes author, year and a link into the bibliography.
"""

import html
import re
from functools import partial

import quickjs
from docutils import nodes
from sphinx.application import Sphinx
from sphinx.transforms.post_transforms import SphinxPostTransform
from sphinx.util import logging

from .mathml import mathml

TEX = re.compile(r'<span class="pa-tex">\\\((.*?)\\\)</span>', re.S)
CITE = re.compile(r'<cite data-cite="([^"]+)">.*?</cite>', re.S)
log = logging.getLogger(__name__)


def authors(entry) -> str:
    """The surnames as a text cites them: one, two joined, or the first of many."""
    names = [" ".join([*person.prelast_names, *person.last_names]) for person in entry.persons["author"]]
    plain = [name.replace("{", "").replace("}", "") for name in names]
    return plain[0] + (" et al." if len(plain) > 2 else f" and {plain[1]}" if len(plain) == 2 else "")


class Outputs(SphinxPostTransform):
    """Sets what raw HTML holds, in every output at once."""

    default_priority = 20  # after MyST-NB has chosen among an output's kinds

    def run(self, **kwargs) -> None:
        for node in list(self.document.findall(nodes.raw)):
            text = node.astext()
            if node.get("format") == "html" and ("pa-tex" in text or "data-cite" in text):
                text = TEX.sub(partial(self._set, node), text)
                text = CITE.sub(partial(self._cite, node), text)
                node.replace_self(nodes.raw("", text, format="html"))

    def _set(self, node: nodes.raw, found: re.Match) -> str:
        tex = html.unescape(found[1])
        try:
            return f'<span class="pa-tex">{mathml(tex, display=False)}</span>'
        except quickjs.JSException as error:
            log.warning("this TeX cannot be set: %s\n%s", error, tex, location=node)
            return ""

    def _cite(self, node: nodes.raw, found: re.Match) -> str:
        key = found[1]
        known = {citation.key: citation for citation in self.env.get_domain("cite").citations}
        if key not in known:
            log.warning("the bibliography has no entry %s", key, location=node)
            return ""
        citation = known[key]
        page = self.app.builder.get_relative_uri(self.env.docname, citation.bibliography_key.docname)
        text = html.escape(f"{authors(citation.entry)}, {citation.entry.fields['year']}")
        return f'<cite><a href="{page}#{citation.citation_id}">{text}</a></cite>'


def setup(app: Sphinx) -> None:
    app.add_post_transform(Outputs)
