"""The numbers in the text of the chapter "Measuring alignment" are those that its cells compute."""

from collections import defaultdict
from fractions import Fraction
from pathlib import Path

import nbformat
import pytest

from attention_core import alignment, datasets

CHAPTER = Path(__file__).parents[1] / "chapters" / "2-alignment" / "measuring-alignment.ipynb"


@pytest.fixture(scope="module")
def text():
    """The prose, each run of white space as one blank."""
    cells = nbformat.read(CHAPTER, as_version=4).cells
    return " ".join(" ".join(cell.source for cell in cells if cell.cell_type == "markdown").split())


@pytest.fixture(scope="module")
def sentences():
    return datasets.translation("test")


def rate(links, pairs):
    return alignment.score(links, pairs).aer


def test_rates_by_hand(text):
    pairs = datasets.showcase()
    love, look, market = (pairs[n] for n in ("I love you", "look it up", "they went to the market"))
    assert f"1 - (1 + 1)/(3 + 3) = {rate(alignment.diagonal([love]), [love]):.3f}" in text
    assert rate([{(0, 0), (1, 1)}], [look]) == rate([{(0, 0), (0, 2), (1, 1)}], [look]) == 0
    assert f"1 - (1 + 2)/(2 + 2) = {rate([{(0, 2), (1, 1)}], [look])}" in text
    assert f"1 - (4 + 5)/(5 + 5) = {rate(alignment.oracle([market]), [market]):.1f}" in text
    assert f"1 - (3 + 3)/(9 + 3) = {rate([{(t, s) for t in range(3) for s in range(3)}], [love])}" in text


def test_fractions_of_three_rounds(text):
    theta = defaultdict(lambda: Fraction(1, 2))
    pairs = [(["blue", "house"], ["maison", "bleue"]), (["house"], ["maison"])]
    for _ in range(3):
        counts = defaultdict(Fraction)
        for source, target in pairs:
            for f in target:
                for e in source:
                    counts[e, f] += theta[e, f] / sum(theta[other, f] for other in source)
        known = dict(theta)
        theta = {
            (e, f): c / sum(counts[e, other] for other in ("maison", "bleue")) for (e, f), c in counts.items()
        }
    assert known["house", "maison"] == Fraction(24, 29)
    assert known["blue", "bleue"] == Fraction(5, 8)
    assert theta["blue", "bleue"] == Fraction(93, 130)
    for fraction in (r"\frac{24}{29}", r"\frac58", r"\frac{93}{130}"):
        assert fraction in text


def test_rates_of_the_aligners_on_the_test_sentences(text, sentences):
    model_1 = alignment.IBM1(10).fit(datasets.translation("train"))
    before, after = (
        rate(alignment.diagonal(sentences), sentences),
        rate(model_1.align(sentences), sentences),
    )
    assert f"brings {before:.3f}, the diagonal’s rate, down to {after:.3f}" in text.replace("'", "’")
    assert f"stands at {rate(alignment.oracle(sentences), sentences):.3f}" in text
