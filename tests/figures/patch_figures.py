"""What the tests of figures on patch maps share: a small model, scenes, and the checks in a browser."""

import shutil

import numpy as np
import pytest
import torch

from attention_core.datasets import shapes
from attention_core.figures import stylesheet
from attention_core.models import ViT

from .test_in_browser import ROOT, write


def small(seed=0, **options) -> ViT:
    """An untrained model, whose maps are as good as any for comparing numbers."""
    torch.manual_seed(seed)
    return ViT(width=16, depth=2, heads=2, **{"classes": 8, **options}).eval()


def pairs(count=2):
    return shapes("pair", count, seed=3)


def pages(folder, make, **others) -> None:
    """light.html and dark.html of the figure as it is by default, and others by name."""
    shutil.copy(ROOT / "book" / "static" / "widget-host.js", folder)
    (folder / "figures.css").write_text(stylesheet(), encoding="utf-8")
    for theme in ("light", "dark"):
        write(folder, f"{theme}.html", [make()], theme=theme)
    for name, figure in others.items():
        write(folder, f"{name}.html", [figure])


def fits(page, width, node_modules, parts) -> None:
    """No sideways scroll, nothing for axe, and the static picture's words and room."""
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    page.evaluate((node_modules / "axe-core" / "axe.min.js").read_text(encoding="utf-8"))
    found = page.evaluate("axe.run('main').then((r) => r.violations.map((v) => [v.id, v.nodes[0].html]))")
    assert found == []
    words = f"(card) => [...card.querySelectorAll('{parts}')].map((e) => [e.textContent, e.ariaLabel])"
    live, still = (page.locator(f"{side} .pa-view").evaluate(words) for side in (".pa-live", ".pa-static"))
    assert live == still
    assert len(live) > 3
    heights = page.evaluate("""[...document.querySelectorAll('figure')].map((f) => {
        const live = f.offsetHeight;
        f.removeAttribute('data-live');
        f.querySelector('.pa-live').style.display = 'none';
        return [live, f.offsetHeight];
    })""")
    assert all(abs(live - still) <= 1 for live, still in heights), heights
    assert page.faults == []


def close(drawn, expected) -> None:
    """Every map is what was computed to half a step: they travel as 32767 steps of their largest value."""
    drawn, expected = (np.asarray(maps, dtype=float).reshape(len(expected), -1) for maps in (drawn, expected))
    half = np.abs(expected).max(1, keepdims=True) / 32767 / 2
    assert (np.abs(drawn - expected) <= 1.000001 * half).all()


def sentence(page) -> str:
    return page.locator(".pa-live .pa-sentence").inner_text().replace("\n", " ").strip()


def choose(page, name: str, index: int) -> None:
    page.locator(".pa-live .pa-settings").get_by_role("combobox", name=name).select_option(index=index)


BAD = [
    ({"model": torch.nn.Linear(2, 2)}, TypeError, "`model` must be a models.ViT with classes; got Linear"),
    ({"model": small(classes=0)}, TypeError, "`model` must be a models.ViT with classes; got ViT"),
    (
        {"model": small(classes=3)},
        ValueError,
        "`images` are scenes of 8 classes, and `model` has 3; pass scenes",
    ),
    ({"images": torch.zeros(2, 3, 9, 9)}, ValueError, "`images` must be 48 x 48 pixels"),
    ({"methods": ["raw", "magic"]}, ValueError, "`methods` must be some of raw, .*; got 'magic'"),
    (
        {"methods": ["gradcam_literal"]},
        ValueError,
        "`methods` holds 'gradcam_literal', which gives no map here",
    ),
    ({"method": "flow"}, ValueError, "`method` must be one of 'raw', .*; got 'flow'"),
    ({"image": 2}, ValueError, "`image` must be one of 0, 1; got 2"),
]


def refused(make, arguments, error, message) -> None:
    with pytest.raises(error, match=message):
        make(**{"model": small(), "images": pairs(), **arguments})
