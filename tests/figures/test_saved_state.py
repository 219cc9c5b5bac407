"""What a notebook saves of a figure: its static picture, and state complete enough for any host."""

import re

import ipywidgets
import pytest
from ipywidgets.embed import dependency_state

from attention_core.figures import FIGURES

# The closed set of the site's light host.
CONTROLS = {"FloatSlider", "FloatLogSlider", "IntSlider", "ToggleButtons", "Dropdown", "Checkbox", "Play"}
CLOSED = CONTROLS | {"Box", "HBox", "VBox", "Link", "DirectionalLink", "Any"}


@pytest.fixture(params=sorted(FIGURES))
def figure(request):
    return FIGURES[request.param]()


def kinds(figure) -> list[str]:
    return [m["model_name"].removesuffix("Model") for m in dependency_state([figure]).values()]


def test_a_figure_is_a_box_of_ordinary_widgets(figure):
    assert isinstance(figure, ipywidgets.VBox)
    assert "pa-figure" in figure._dom_classes
    outside = [k for k in kinds(figure) if k not in CLOSED and not k.endswith(("Layout", "Style"))]
    assert outside == []


def test_saving_without_defaults_keeps_the_views_whole(figure):
    state = dependency_state([figure], drop_defaults=True)
    views = [m["state"] for m in state.values() if m["model_name"] == "AnyModel"]
    assert len(views) == 2
    assert all("_esm" in view for view in views)
    saved = state[figure.view.model_id]
    bytes_apart = {buffer["path"][0] for buffer in saved.get("buffers", [])}
    assert set(figure.view.keys) == set(saved["state"]) | bytes_apart


def test_every_link_is_saved(figure):
    assert len(figure.links) > 0
    assert kinds(figure).count("Link") == len(figure.links)


def test_every_control_is_linked_to_something(figure):
    ends = {end[0].model_id for link in figure.links for end in (link.source, link.target)}
    state = dependency_state([figure])
    loose = [
        i for i, m in state.items() if m["model_name"].removesuffix("Model") in CONTROLS and i not in ends
    ]
    assert loose == []


def test_settings_come_before_the_picture_and_transport_after(figure):
    order = [child._dom_classes[0] for child in figure.children]
    assert order[:3] == ["pa-heading", "pa-settings", "pa-view"]
    assert order[3:] in ([], ["pa-transport"])


def test_one_picture_a_figure(figure):
    assert sum("pa-view" in child._dom_classes for child in figure.children) == 1


def test_the_bundle_holds_the_view_and_the_static_picture(figure):
    bundle = figure._repr_mimebundle_()
    assert bundle["application/vnd.jupyter.widget-view+json"]["model_id"] == figure.model_id
    html = bundle["text/html"]
    assert html.startswith('<figure class="pa-card-host"')
    assert html.endswith("</figure>")
    assert html.count("</figure>") == 1
    assert f'data-figure="{figure.name}"' in html
    assert re.search(r'aria-label="[^"]{10,}"', html)
    assert "<script" not in html


def test_the_static_picture_has_its_title_and_says_what_it_means(figure):
    html = figure._repr_mimebundle_()["text/html"]
    assert figure.title in html
    assert re.search(r'<p class="pa-sentence"><strong>[^<]+</strong>[^<]+</p>', html)


# They draw their weights, or have none.
UNWRITTEN = {"mask-editor", "variants-at-a-glance", "block-sparsity", "roofline", "flash-tiling", "timeline"}
UNWRITTEN |= {"bottleneck", "bottleneck-measured", "alignment-score", "pixel-attention"}
UNWRITTEN |= {"vit-heads", "rollout", "outer-product-memory"}
UNWRITTEN |= {"class-maps", "faithfulness", "randomized-model"}
UNWRITTEN |= {"head-ablation"}


@pytest.mark.parametrize("name", sorted(FIGURES.keys() - UNWRITTEN))
def test_the_static_picture_writes_the_weights_out(name):
    figure = FIGURES[name]()
    html = figure._repr_mimebundle_()["text/html"]
    for weight in figure.weights.ravel():
        assert f">{weight:.2f}<" in html


def controls(widget):
    if type(widget).__name__.removesuffix("Model") in CONTROLS - {"Play"} | {"LogSlider"}:
        yield widget
    for child in getattr(widget, "children", ()):
        yield from controls(child)


def another_value(control):
    """One of its values that it has not now."""
    if hasattr(control, "options"):
        return next(value for _, value in control._options_full if value != control.value)
    if isinstance(control, ipywidgets.Checkbox):
        return not control.value
    low, high = control.min, control.max
    if hasattr(control, "base"):
        low, high = control.base**low, control.base**high
    return low if control.value != low else high


def drawn(figure):
    figure.settle()
    return *figure.static_body(), getattr(figure, "table", "")  # a figure may rule a table below itself


def test_the_static_picture_is_of_the_present_state(figure):
    found = list(controls(figure))
    assert found
    for control in found:
        before = drawn(figure)
        control.value = another_value(control)
        assert drawn(figure) != before, control.description


def test_every_colour_of_the_static_picture_works_without_the_style_sheet(figure):
    html = figure._repr_mimebundle_()["text/html"]
    colours = re.findall(r"var\(([^)]*)\)", html)
    # Strokes of maps have a plain colour, which the style sheet's wins over; one figure has no picture.
    assert colours or 'stroke="#' in html or figure.name == "variants-at-a-glance"
    assert all("#" in colour for colour in colours)


def test_words_of_the_reader_are_escaped():
    figure = FIGURES["soft-to-hard"](labels=["<b>", '"', "&", "d", "e", "f"])
    html = figure._repr_mimebundle_()["text/html"]
    assert "<b>" not in html
    assert "&lt;b&gt;" in html
