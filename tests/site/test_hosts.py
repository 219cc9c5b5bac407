"""The same widget state and the same notebook in the two other places where readers meet them."""

import contextlib
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import anywidget
import nbformat
import numpy as np
import pytest

from attention_core import models
from attention_core.datasets import worked_alignments
from attention_core.figures import base

from ..browser import Handler, eventually, serving
from .conftest import ROOT
from .test_figures import CHAPTER, SINGLE, softmax
from .test_pages import CHAPTERS

STATE = re.compile(r'<script type="application/vnd\.jupyter\.widget-state\+json"[^>]*>(.*?)</script>', re.S)
VIEW = re.compile(r'<script type="application/vnd\.jupyter\.widget-view\+json">.*?</script>', re.S)


class Plain(Handler):
    policy = (
        "default-src 'self' 'unsafe-inline' 'unsafe-eval' data: blob:"  # require.js and the embed need more
    )


@pytest.fixture
def stock_embed(site, tmp_path, node_modules):
    """stock_embed(chapter) serves its saved state, drawn by ipywidgets' own embed, all of it from here."""
    shutil.copy(node_modules / "requirejs" / "require.js", tmp_path)
    shutil.copy(node_modules / "@jupyter-widgets" / "html-manager" / "dist" / "embed-amd.js", tmp_path)
    minor = ".".join(anywidget.__version__.split(".")[:2])
    module = tmp_path / "cdn" / f"anywidget@~{minor}.*" / "dist" / "index.js"
    module.parent.mkdir(parents=True)
    shutil.copy(Path(anywidget.__file__).parent / "nbextension" / "index.js", module)

    def page(chapter: str) -> str:
        html = (site / chapter).read_text(encoding="utf-8")
        views = "\n".join(f"<main>{view}</main>" for view in VIEW.findall(html))
        (tmp_path / "index.html").write_text(
            f'<!doctype html><meta charset="utf-8"><link rel="icon" href="data:,"><title>Stock</title>'
            f'<script src="require.js"></script>'
            f'<script src="embed-amd.js" data-jupyter-widgets-cdn="/cdn/"></script>'
            f'<script type="application/vnd.jupyter.widget-state+json">{STATE.search(html).group(1)}</script>'
            f"{views}",
            encoding="utf-8",
        )
        return address

    with serving(tmp_path, Plain) as address:
        yield page


@pytest.mark.parametrize("chapter", CHAPTERS)
def test_the_stock_embed_draws_every_figure_of_a_chapter(stock_embed, browser, open_page, chapter):
    """The sentence of result is made from all that a figure shows: the same one in both hosts."""
    sentences = "[...document.querySelectorAll('.pa-live .pa-sentence')].map((p) => p.textContent.trim())"
    ours = open_page(chapter)
    ours.wait_for_function("() => !document.querySelector('figure[data-figure]:not([data-live])')")
    expected = ours.evaluate(sentences)
    assert expected
    page, faults = browser.new_page(viewport={"width": 1280, "height": 2400}), []
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.goto(stock_embed(chapter))
    page.wait_for_function(f"() => document.querySelectorAll('.pa-sentence').length === {len(expected)}")
    assert page.evaluate(sentences.replace(".pa-live ", "")) == expected
    assert faults == []
    page.close()


def test_the_stock_embed_draws_the_same_figures(stock_embed, browser):
    page = browser.new_page(viewport={"width": 1280, "height": 2400})
    page.goto(stock_embed(CHAPTER))
    page.wait_for_selector(".pa-soft-to-hard .pa-view[data-weights]")
    view = page.locator(".pa-alignment-explorer .pa-view[data-weights]").first
    matrix = np.array(json.loads(view.get_attribute("data-weights")))
    np.testing.assert_allclose(matrix, worked_alignments()["I love you"].weights, rtol=0, atol=SINGLE)

    page.locator(".pa-alignment-explorer .pa-settings .noUi-handle").first.focus()
    page.keyboard.press("ArrowLeft")
    page.wait_for_function(
        "() => +document.querySelector('.pa-alignment-explorer [data-temperature]').dataset.temperature < 1"
    )
    expected = softmax(
        worked_alignments()["I love you"].scores, float(view.get_attribute("data-temperature"))
    )
    np.testing.assert_allclose(json.loads(view.get_attribute("data-weights")), expected, rtol=0, atol=SINGLE)
    page.close()


@pytest.fixture
def lab(tmp_path):
    """JupyterLab on a copy of the chapter, with nobody's settings."""
    shutil.copytree(ROOT / "chapters" / "2-alignment", tmp_path / "work")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    settings = {
        "JUPYTER_CONFIG_DIR": str(tmp_path / "config"),
        "JUPYTERLAB_SETTINGS_DIR": str(tmp_path / "user"),
    }
    command = [sys.executable, "-m", "jupyter", "lab", "--no-browser", "--allow-root", f"--port={port}"]
    ours = [
        "--IdentityProvider.token=",
        "--ServerApp.port_retries=0",
        f"--ServerApp.root_dir={tmp_path / 'work'}",
    ]
    server = subprocess.Popen(
        [*command, *ours],
        env={**os.environ, **settings},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    address = f"http://127.0.0.1:{port}"
    try:
        for _ in range(240):
            with contextlib.suppress(urllib.error.URLError):
                urllib.request.urlopen(address + "/api/status")
                break
            assert server.poll() is None, "JupyterLab has ended before it answered"
            time.sleep(0.5)
        else:
            pytest.fail("JupyterLab has not answered within two minutes")
        yield address
    finally:
        server.terminate()
        server.wait()


def scroll_to(page, selector: str):
    """JupyterLab keeps only the cells near the window in the page: scroll until the wanted one is there."""
    notebook = page.locator(".jp-WindowedPanel-outer").first
    for _ in range(400):
        if page.locator(selector).count():
            page.locator(selector).first.scroll_into_view_if_needed()
            return page.locator(selector).first
        at_the_end = "b.scrollTop + b.clientHeight > b.scrollHeight - 2"
        notebook.evaluate(f"b => b.scrollTo(0, {at_the_end} ? 0 : b.scrollTop + 500)")
        page.wait_for_timeout(300)
    raise AssertionError(f"no {selector} in the notebook")


def test_the_notebook_is_live_in_jupyterlab(lab, browser):
    page = browser.new_page(viewport={"width": 1400, "height": 1000})
    page.goto(f"{lab}/lab/tree/alignment-matrix.ipynb")
    page.wait_for_selector(".jp-Notebook .jp-Cell", timeout=60_000)
    page.get_by_text("Python 3 (ipykernel) | Idle").wait_for(timeout=60_000)
    page.get_by_role("menuitem", name="Run", exact=True).click()
    page.get_by_text("Run All Cells", exact=True).click()
    view = scroll_to(page, ".pa-alignment-explorer .pa-view[data-weights]")
    page.locator(".pa-alignment-explorer .pa-settings .noUi-handle").first.focus()
    page.keyboard.press("ArrowLeft")
    scores = worked_alignments()["I love you"].scores

    def seen():
        temperature = float(view.get_attribute("data-temperature"))
        matrix = np.array(json.loads(view.get_attribute("data-weights")))
        return temperature, np.abs(matrix - softmax(scores, temperature)).max()

    # the frame comes at once, the kernel's exact float64 values a moment later
    temperature, error = eventually(page, seen, lambda now: now[0] < 1 and now[1] < 1e-14)
    assert temperature < 1
    assert error < 1e-14
    assert scroll_to(page, ".pa-soft-to-hard .pa-view[data-weights]").is_visible()
    assert page.get_by_text("javascript error").count() == 0
    page.close()


ASK = """from attention_core.figures import AlignmentExplorer
AlignmentExplorer.from_translator("translator-additive", ["I love you"]).ask()"""


def test_a_readers_sentence_is_translated_in_jupyterlab(lab, tmp_path, browser):
    kernel = {"name": "python3", "display_name": "Python 3 (ipykernel)", "language": "python"}
    notebook = nbformat.v4.new_notebook(
        cells=[nbformat.v4.new_code_cell(ASK)],
        metadata={"kernelspec": kernel},  # or JupyterLab asks for one
    )
    nbformat.write(notebook, tmp_path / "work" / "ask.ipynb")
    page = browser.new_page(viewport={"width": 1400, "height": 1000})
    page.goto(f"{lab}/lab/tree/ask.ipynb")
    page.wait_for_selector(".jp-Notebook .jp-Cell", timeout=60_000)
    page.get_by_text("Python 3 (ipykernel) | Idle").wait_for(timeout=60_000)
    page.get_by_role("menuitem", name="Run", exact=True).click()
    page.get_by_text("Run All Cells", exact=True).click()
    view = page.locator(".pa-alignment-explorer .pa-view[data-weights]")
    view.wait_for(timeout=60_000)

    sentence = "I love the zeppelin"  # a word that no vocabulary of the book holds
    page.get_by_label("Your sentence").fill(sentence)
    page.keyboard.press("Enter")
    shown = eventually(page, lambda: view.get_attribute("data-example"), lambda name: name == sentence)
    assert shown == sentence
    expected = models.load("translator-additive").translate(sentence)
    np.testing.assert_allclose(json.loads(view.get_attribute("data-weights")), expected.weights, atol=1e-6)
    heads = page.locator(".pa-alignment-explorer .pa-colhead").all_inner_texts()
    assert heads == ["I", "love", "the", "<unk>", "</s>"]
    assert page.get_by_text("1 word is unknown to the model: <unk>").is_visible()
    page.close()


def test_what_views_share_is_fetched_once(site):
    """Each view's module is what the widget state holds, less what is shared, which has a file of its own."""
    folder = site / "_static" / "figures"
    files = {path.name: path.read_text(encoding="utf-8") for path in folder.glob("*.js")}
    imported = re.compile(r'^import .* from "\./([0-9a-f]{16}\.js)";\n', re.M)
    for part in base.SHARED:
        holders = [name for name, text in files.items() if base.part(part) in text]
        assert len(holders) == 1, part
        assert imported.sub("", files[holders[0]]) == base.part(part)
    imports = {name for text in files.values() for name in imported.findall(text)}
    assert len(imports) == len(base.SHARED)
    assert imports <= files.keys()
