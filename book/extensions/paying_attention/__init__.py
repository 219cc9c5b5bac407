"""What this book adds to Jupyter Book: mathematics without scripts, figures without a kernel, light pages."""

from sphinx.application import Sphinx

from . import assets, figures, freshness, mathml, outputs, pages


def setup(app: Sphinx) -> dict:
    for part in (freshness, mathml, outputs, figures, pages, assets):
        part.setup(app)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
