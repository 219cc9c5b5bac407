"""Alignments side by side: every weight written, every gold link framed, all of it in the alt text."""

import re

import numpy as np
import pytest

from attention_core.figures import plots
from attention_core.figures.side_by_side import side_by_side

ROWS, COLUMNS = ("cherchez", "-le"), ("look", "it", "up", "</s>")
CLASSIC = [[0.55, 0.05, 0.40], [0.04, 0.92, 0.04]]
LEARNED = [[0.91, 0.02, 0.03, 0.04], [0.01, 0.86, 0.08, 0.05]]
PANELS = {"classic": CLASSIC, "emergent": np.array(LEARNED)}


@pytest.fixture
def figure():
    return side_by_side(
        PANELS, ROWS, COLUMNS, sure={(0, 0), (1, 1)}, possible={(0, 0), (1, 1), (0, 2)}, caption="x"
    )


def test_every_panel_writes_its_weights_under_its_title(figure):
    assert len(figure.panels) == 2
    for panel, (title, matrix) in zip(figure.panels, PANELS.items(), strict=True):
        assert f">{title}</text>" in panel
        written = [float(text) for text in re.findall(r">(\d\.\d\d)</text>", panel)]
        assert written == np.ravel(matrix).tolist()


def test_a_column_stands_at_the_same_place_in_every_panel(figure):
    across = [re.findall(r'<text x="([\d.]+)" y="52.0"', panel) for panel in figure.panels]
    assert across[0] == across[1]
    assert len(across[0]) == 4  # the name is there where the matrix has no such column
    cells = [re.findall(r'<rect x="([\d.]+)" y="64"', panel) for panel in figure.panels]
    assert cells[0] == cells[1][:3]


def test_sure_links_are_dashed_and_possible_ones_dotted(figure):
    for panel in figure.panels:
        assert panel.count("stroke-dasharray:6 4") == 2
        assert panel.count("stroke-dasharray:1.5 4") == 1
    bare = side_by_side(PANELS, ROWS, COLUMNS)
    assert "stroke-dasharray" not in "".join(bare.panels)


def test_the_alt_text_reads_all_of_it_out(figure):
    assert figure.alt == (
        "classic: row cherchez: look 0.55, it 0.05, up 0.40; row -le: look 0.04, it 0.92, up 0.04. "
        "emergent: row cherchez: look 0.91, it 0.02, up 0.03, </s> 0.04; "
        "row -le: look 0.01, it 0.86, up 0.08, </s> 0.05. "
        "Dashed frames: cherchez and look, -le and it. Dotted frames: cherchez and up."
    )


def test_colours_follow_the_theme_and_text_stays_readable(figure):
    html = figure._repr_html_()
    assert not re.findall(r"#[0-9a-f]{3,6}", html.split("</style>")[1])
    assert min(int(size) for size in re.findall(r"font-size:(\d+)px", html)) * 288 / plots.UNIT >= 12.5


@pytest.mark.parametrize(
    ("panels", "message"),
    [
        ({"a": [[1.0, 0.0]]}, r"`panels` 'a' must have a row for each of 2 words.*got shape \(1, 2\)"),
        ({"a": np.eye(5)[:2]}, r"at most 4 columns; got shape \(2, 5\)"),
        ({"a": [1.0, 0.0]}, r"got shape \(2,\)"),
        ({"a": [[2.0, -1.0], [0.0, 1.0]]}, "`panels` 'a' must hold weights between 0 and 1"),
    ],
)
def test_bad_matrices_are_refused_with_the_remedy(panels, message):
    with pytest.raises(ValueError, match=message):
        side_by_side(panels, ROWS, COLUMNS)
