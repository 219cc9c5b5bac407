"""TeX to MathML: what browsers need beyond what KaTeX writes."""

import sys

import pytest

from .conftest import ROOT

sys.path.insert(0, str(ROOT / "book" / "extensions"))
from paying_attention.mathml import mathml


def formula(tex: str) -> str:
    """The MathML without the TeX it carries along."""
    return mathml(tex, display=False).partition("<annotation")[0]


@pytest.mark.parametrize(
    ("tex", "letter"),
    [(r"\mathbf{x}", "𝐱"), (r"\mathbb{R}", "ℝ"), (r"\mathcal{L}", "ℒ"), (r"\boldsymbol{\alpha}", "𝜶")],
)
def test_alphabets_become_unicode_letters(tex, letter):
    assert f">{letter}<" in formula(tex)
    assert "mathvariant" not in formula(tex)


def test_a_minus_after_an_equals_sign_is_a_sign():
    assert '<mo form="prefix">−</mo>' in formula("a = -2")
    assert '<mo form="prefix">−</mo>' in formula(r"1,\ -2")
    assert '<mo form="infix">−</mo>' in formula("a - 2")
    assert '<mo form="infix">−</mo>' in formula("f(x) - 2")


def test_function_names_get_a_thin_space():
    assert "mspace" in formula(r"\exp x")
    assert "mspace" in formula(r"\log_2 x")
    assert "mspace" not in formula(r"\exp(x)")
    assert "mspace" not in formula(r"\exp\left(x\right)")


def test_a_negative_space_is_no_space():
    for tex in (r"a\!b", r"\operatorname{softmax}\!\left(x\right)", r"\operatorname{Var}\!\big[x\big]"):
        assert "mtext" not in formula(tex)
        assert "mspace" not in formula(tex)


def test_the_source_stays_for_whoever_copies_it():
    assert r"\frac{1}{2}</annotation>" in mathml(r"\frac{1}{2}", display=True)


def test_tex_that_means_nothing_raises():
    with pytest.raises(Exception, match="nosuchmacro"):
        mathml(r"\nosuchmacro", display=False)
