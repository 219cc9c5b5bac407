"""What every page carries: the edition's date, how to report an error, scripts that hold nothing up."""

import datetime
import html
import os
import re
import subprocess
from pathlib import Path
from urllib.parse import urlencode

import yaml
from sphinx.application import Sphinx
from sphinx.builders.html._assets import _JavaScript
from sphinx.config import Config

LICENCE = "https://creativecommons.org/licenses/by/4.0/"


def edition(folder: str) -> str:
    """The date of the text: SOURCE_DATE_EPOCH where set, else of the last commit, else today."""
    if epoch := os.environ.get("SOURCE_DATE_EPOCH"):
        return datetime.datetime.fromtimestamp(int(epoch), datetime.UTC).date().isoformat()
    try:
        git = ["git", "-C", folder, "log", "-1", "--format=%cs"]
        return subprocess.run(git, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):  # a copy without its history
        return datetime.date.today().isoformat()


def _report(app: Sphinx, page: str, context: dict) -> str:
    repository = app.config.paying_attention_repository
    if not repository:
        here = page == "book/report"  # the theme takes a link to the page itself for a selector
        return context["pathto"]("book/report") + ("" if here else "?" + urlencode({"page": page}))
    edition = app.config.paying_attention_edition
    text = f"Page: {page}\nEdition: {edition}\n\nWhat is wrong, and how do you know?\n"
    return f"{repository}/issues/new?" + html.escape(urlencode({"title": f"Erratum: {page}", "body": text}))


def _footer(app: Sphinx, page: str, template: str, context: dict, doctree) -> None:
    context["theme_extra_footer"] = (
        f"<p>Edition of {_in_words(app.config.paying_attention_edition)}. "
        f'<a href="{_report(app, page, context)}">Report an error on this page</a>. '
        f'Text <a href="{LICENCE}">CC BY 4.0</a>, code MIT.</p>'
    )


def _in_words(date: str) -> str:
    day = datetime.date.fromisoformat(date)
    return f'<time datetime="{date}">{day.day} {day:%B %Y}</time>'


# Browsers let no page read another from a disk, where the search would want to quote what it found.
NO_SUMMARIES = "if (location.protocol === 'file:') DOCUMENTATION_OPTIONS.SHOW_SEARCH_SUMMARY = false;"


def _defer(app: Sphinx, page: str, template: str, context: dict, doctree) -> None:
    """Let no script stand before the first paint: files wait for the page, and inline code for the files."""
    if page == "search":  # its template calls at once what these files define
        app.add_js_file(None, body=NO_SUMMARIES)
    else:
        context["script_files"] = [_deferred(script) for script in context.get("script_files", [])]


def _deferred(script):
    attributes = getattr(script, "attributes", {})
    if not hasattr(script, "attributes") or {"type", "async"} & attributes.keys():
        return script
    if script.filename:
        return _JavaScript(script.filename, priority=script.priority, **{"defer": "defer", **attributes})
    body = attributes.get("body", "")
    if "DOCUMENTATION_OPTIONS" not in body:
        return script
    later = f"addEventListener('DOMContentLoaded', () => {{ {body} }});"
    return _JavaScript(None, priority=script.priority, **{**attributes, "body": later})


# What readers and assistive technology would stumble over in the markup of the theme and of extensions.
REPAIRS = {
    r' role="doc-biblioentry"': ' role="listitem"',  # a deprecated role; the list around it wants items
    r' aria-label="Toggle hidden content"': "",  # hides the words that a sighted reader sees
    r' id="(exercise|solution)-content"': "",  # the same on every exercise of a page
    r'<span class="(?:n|nn|p|w)">([^<]*)</span>': r"\1",  # code in the colour of plain text
    # no comma or full stop alone at the start of a line
    r'(<math xmlns="[^"]*">(?:(?!</math>).)*</math>[,.;:!?)’]+)': r'<span class="together">\1</span>',
}


def _repair(app: Sphinx, page: str, template: str, context: dict, doctree) -> None:
    for found, better in REPAIRS.items():
        context["body"] = re.sub(found, better, context.get("body", ""), flags=re.S)


def _read_settings(app: Sphinx, config: Config) -> None:
    config.paying_attention_edition = edition(str(app.srcdir))
    # Jupyter Book would pass the address in the theme's options, but ours replace those.
    settings = yaml.safe_load((Path(app.srcdir) / "_config.yml").read_text(encoding="utf-8"))
    config.paying_attention_repository = settings.get("repository", {}).get("url", "")


def setup(app: Sphinx) -> None:
    app.add_config_value("paying_attention_edition", "", "html")
    app.add_config_value("paying_attention_repository", "", "html")
    app.connect("config-inited", _read_settings)
    app.connect("html-page-context", _footer)
    app.connect("html-page-context", _defer, priority=950)
    app.connect("html-page-context", _repair)
