"""Interactive figures on static pages.

A figure's output holds two things: the standard widget view, and its static picture. The page gets
both, in one `<figure>`: `widget-host.js` draws the first, and the second stands where scripts do not
run. A widget that the host cannot draw fails the build here, rather than a reader later.
"""

import hashlib
import html
import json
import re
from pathlib import Path

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.errors import ExtensionError
from sphinx.transforms.post_transforms import SphinxPostTransform

from attention_core.figures import base, stylesheet

STATE = "application/vnd.jupyter.widget-state+json"
VIEW = "application/vnd.jupyter.widget-view+json"
CONTROLS = frozenset(
    {"FloatSlider", "FloatLogSlider", "IntSlider", "ToggleButtons", "Dropdown", "Checkbox", "Play"}
    | {"Box", "HBox", "VBox", "Link", "DirectionalLink"}
)

# Fetch the views with the page rather than after it. On a disk there are no modules to fetch (see the host).
PRELOAD = """if (location.protocol !== "file:") for (const href of %s)
  document.head.append(Object.assign(document.createElement("link"), {rel: "modulepreload", href}));"""


class OneFigure(SphinxPostTransform):
    """Put the widget's view inside the `<figure>` that holds its static picture."""

    default_priority = 3  # before MyST-NB chooses one of the two

    def run(self, **kwargs) -> None:
        for bundle in list(self.document.findall(nodes.container)):
            if bundle.get("nb_element") != "mime_bundle":
                continue
            kinds = {child["mime_type"]: child for child in bundle.children}
            if not {VIEW, "text/html"} <= kinds.keys():
                continue
            view, picture = (next(kinds[kind].findall(nodes.raw)) for kind in (VIEW, "text/html"))
            before, closing, after = picture.astext().rpartition("</figure>")
            page = nodes.raw("", before + view.astext() + closing + after, format="html")
            picture.replace_self(page)
            bundle.remove(kinds[VIEW])


def _modules(state: dict, static: Path) -> tuple[dict[str, str], list[str]]:
    """Write the ES modules of the views: {model id: path below `_static`}, and all paths, in order of need.

    What views share is written once and imported: a page of four figures fetches one kit, the next page none.
    """
    paths, needed = {}, {}
    for model_id, model in state.items():
        source = model["state"].get("_esm")
        if source:
            names, own = _parts(source)
            needed |= {path: None for path, _ in (_shared(name, static) for name in names)}
            paths[model_id] = _write(_imports(names, static) + own, static)
            needed[paths[model_id]] = None
    return paths, list(needed)


def _parts(source: str) -> tuple[list[str], str]:
    """A view's module: what it shares with others, by name, and the view's own text."""
    names = []
    for name in base.SHARED:
        if source.startswith(base.part(name)):
            names.append(name)
            source = source.removeprefix(base.part(name))
    return names, source


def _shared(name: str, static: Path) -> tuple[str, list[str]]:
    """The file of one shared part, which imports what it uses and no more, and the names that it exports."""
    text = base.part(name)
    uses = [other for other in base.shared(name) if other != name]
    exported = re.findall(r"^export (?:const|function) (\w+)", text, flags=re.M)
    return _write(_imports(uses, static) + text, static), exported


def _imports(names: list[str], static: Path) -> str:
    parts = (_shared(name, static) for name in names)
    return "".join(f'import {{ {", ".join(made)} }} from "./{Path(path).name}";\n' for path, made in parts)


def _write(source: str, static: Path) -> str:
    path = f"figures/{hashlib.sha256(source.encode()).hexdigest()[:16]}.js"
    (static / path).parent.mkdir(parents=True, exist_ok=True)
    (static / path).write_text(source, encoding="utf-8")
    return path


def _check(page: str, state: dict) -> None:
    kinds = {model["model_name"].removesuffix("Model") for model in state.values()}
    outside = sorted(k for k in kinds - CONTROLS - {"Any"} if not k.endswith(("Layout", "Style")))
    if outside:
        raise ExtensionError(
            f"{page}: the site cannot draw the widget {', '.join(outside)}. "
            f"Use one of {', '.join(sorted(CONTROLS))}, or an anywidget view."
        )


def _state_for_the_host(app: Sphinx, page: str, template: str, context: dict, doctree) -> None:
    """Move the widget state out of the head, to where the host finds it before the first figure."""
    scripts = context.get("script_files", [])
    for script in [s for s in scripts if getattr(s, "attributes", {}).get("type") == STATE]:
        scripts.remove(script)
        body = script.attributes["body"]
        state = json.loads(body)["state"]
        _check(page, state)
        modules, needed = _modules(state, Path(app.outdir) / "_static")
        known = html.escape(json.dumps(modules))
        state = f'<script type="{STATE}" data-modules="{known}">{body}</script>\n'
        context["body"] = state + context["body"]
        app.add_js_file("widget-host.js", loading_method="async")
        addresses = [context["pathto"](f"_static/{path}", 1) for path in needed]
        app.add_js_file(None, body=PRELOAD % json.dumps(addresses))


def _stylesheet(app: Sphinx) -> None:
    file = Path(app.outdir) / "_static" / "figures.css"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(stylesheet(), encoding="utf-8")


def _leave_out_what_no_page_names(app: Sphinx, error: Exception | None) -> None:
    """Delete the modules of earlier builds: they are named by their content, so none is overwritten."""
    if error or app.builder.format != "html":
        return
    pages = (path.read_text(encoding="utf-8") for path in Path(app.outdir).rglob("*.html"))
    named = {name for page in pages for name in re.findall(r"figures/([0-9a-f]{16}\.js)", page)}
    for path in (Path(app.outdir) / "_static" / "figures").glob("*.js"):
        if path.name not in named:
            path.unlink()


def setup(app: Sphinx) -> None:
    app.add_post_transform(OneFigure)
    app.connect("builder-inited", _stylesheet)
    app.connect("html-page-context", _state_for_the_host, priority=900)
    app.connect("build-finished", _leave_out_what_no_page_names)
