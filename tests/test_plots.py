"""Static figures: readable without sight, on a phone and in the dark, and true to their numbers."""

import re

import numpy as np
import pytest

from attention_core.figures import plots

WEIGHTS = [[0.94, 0.02, 0.04], [0.11, 0.01, 0.88]]
ROWS, COLUMNS = ("je", "t’"), ("I", "love", "you")


def each_kind(alt):
    yield plots.heatmap(WEIGHTS, ROWS, COLUMNS, alt=alt)
    yield plots.ribbons(WEIGHTS, ROWS, COLUMNS, alt=alt)
    yield plots.lines([1, 10], {"a": [0, 1]}, alt=alt, x_label="x", y_label="y", log_x=True)
    yield plots.bars([[1, 0.25, None]], COLUMNS, alt=alt, titles=["after two"])


def test_every_figure_carries_its_alt_text_escaped():
    for figure in each_kind('a "quoted" <word>'):
        assert 'aria-label="a &quot;quoted&quot; &lt;word&gt;"' in figure._repr_html_()


def test_a_figure_without_alt_text_is_refused():
    with pytest.raises(ValueError, match="`alt` must say"):
        plots.heatmap(WEIGHTS, ROWS, COLUMNS, alt=" ")


def test_a_heatmap_prints_every_weight_and_rings_the_gold_links():
    html = plots.heatmap(WEIGHTS, ROWS, COLUMNS, alt="x", gold={(0, 0), (1, 2)})._repr_html_()
    printed = [float(text) for text in re.findall(r">(0\.\d\d)</text>", html)]
    assert printed == [weight for row in WEIGHTS for weight in row]
    assert html.count("stroke-dasharray:5 3") == 2


def test_ribbons_that_reach_one_target_word_are_as_wide_together_as_its_row_sum():
    matrix = np.array([[0.5, 0.25, 0.25], [0.1, 0.8, 0.1]])
    html = plots.ribbons(matrix, ROWS, COLUMNS, alt="x")._repr_html_()
    widths = np.array([float(w) for w in re.findall(r"h(\d+\.\d\d)C", html)]).reshape(2, 3)
    np.testing.assert_allclose(widths / widths.sum(1, keepdims=True), matrix, atol=1e-3)
    np.testing.assert_allclose(widths[0].sum(), widths[1].sum(), atol=0.03)


def test_a_line_passes_through_its_numbers_on_a_logarithmic_axis():
    figure = plots.lines(
        [1, 10, 100], {"a": [0, 1, 0]}, alt="x", x_label="x", y_label="y", log_x=True, y_range=(0, 2)
    )
    points = re.search(r'points="([^"]+)"', figure._repr_html_()).group(1).split()
    (x0, y0), (x1, y1), (x2, y2) = (tuple(map(float, point.split(","))) for point in points)
    assert x1 == pytest.approx((x0 + x2) / 2)
    assert y0 == y2
    assert y0 - y1 == pytest.approx(85)  # half of the 170 units that the range 0 to 2 takes


def test_bars_are_as_tall_as_their_numbers_and_what_has_not_come_is_an_outline():
    html = plots.bars([[1, 0.25, None], [0, 0.5, 1]], COLUMNS, alt="x", titles=["a", "b"])._repr_html_()
    tall = [float(height) for height in re.findall(r'<rect [^>]*height="([\d.]+)"', html)]
    assert [height / tall[0] for height in tall] == [1, 0.25, 0, 0.5, 1]
    assert [float(text) for text in re.findall(r">(\d\.\d\d)</text>", html)] == [1, 0.25, 0, 0.5, 1]
    assert html.count("stroke-dasharray:4 4") == 1


def test_colours_come_from_variables_that_both_themes_set():
    for figure in each_kind("x"):
        html = figure._repr_html_()
        assert not re.findall(r"#[0-9a-f]{3,6}", html.split("</style>")[1])
        used = set(re.findall(r"var\((--ps-[\w-]+)", html))
        for theme in re.findall(r"\{(--ps-0:[^}]*)\}", html):
            assert used <= set(re.findall(r"(--ps-[\w-]+):", theme))


def test_text_stays_readable_on_a_narrow_screen():
    for figure in each_kind("x"):
        html = figure._repr_html_()
        smallest = min(int(size) for size in re.findall(r"font-size:(\d+)px", html))
        assert smallest * 288 / plots.UNIT >= 12.5  # 320 px less the page's margins


def test_two_figures_stand_side_by_side_with_both_texts():
    both = plots.heatmap(WEIGHTS, ROWS, COLUMNS, alt="First.") + plots.ribbons(
        WEIGHTS, ROWS, COLUMNS, alt="Second.", caption="Below."
    )
    html = both._repr_html_()
    assert html.count("<svg") == 2
    assert 'aria-label="First. Second."' in html
    assert "<figcaption>Below.</figcaption>" in html


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: plots.heatmap(WEIGHTS, COLUMNS, ROWS, alt="x"), "the tokens ask for"),
        (lambda: plots.heatmap([[1.5]], "a", "b", alt="x"), "between 0 and 1"),
        (
            lambda: plots.lines([0, 1], {"a": [0, 1]}, alt="x", x_label="", y_label="", log_x=True),
            "every x above 0",
        ),
        (
            lambda: plots.lines([0, 1], {name: [0, 1] for name in "abcd"}, alt="x", x_label="", y_label=""),
            "three curves",
        ),
        (lambda: plots.bars([[0.5, 1.5]], "ab", alt="x", titles=["t"]), "between 0 and 1"),
        (lambda: plots.bars([[0.5]], "ab", alt="x", titles=["t"]), "2 numbers in each of 1 panels"),
        (lambda: plots.bars([[0.5, 1]], "ab", alt="x", titles=[]), "2 numbers in each of 0 panels"),
    ],
)
def test_what_cannot_be_drawn_truly_is_refused(call, words):
    with pytest.raises(ValueError, match=words):
        call()
