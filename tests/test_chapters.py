"""What every chapter owes its readers, whatever it is about: one contract, held to all of them."""

import json
import re
from itertools import pairwise
from pathlib import Path

import nbformat
import pytest

from .test_notebooks import CHAPTERS, ROOT, code, name

every_chapter = pytest.mark.parametrize("path", CHAPTERS, ids=name)
PLACES = "".join(p.read_text(encoding="utf-8") for p in [*CHAPTERS, *ROOT.glob("book/*.md")])


def text(path: Path) -> str:
    cells = nbformat.read(path, as_version=4).cells
    return "\n".join(cell.source for cell in cells if cell.cell_type == "markdown")


@every_chapter
def test_a_chapter_opens_with_what_it_takes_and_ends_with_what_it_gave(path):
    words = text(path)
    for part in (
        "Before you start",
        "**You will be able to**",
        "**You need**",
        "**Time**",
        "## Further reading",
        "## Quiz",
    ):
        assert part in words, part
    summary = words.split("## Summary")[1].split("## Further reading")[0]
    assert re.findall(r"(?m)^(\d)\. ", summary) == list("12345")


@every_chapter
def test_a_reader_predicts_is_contradicted_and_is_asked_of_earlier_chapters(path):
    words = text(path)
    assert words.count("Predict, then run") >= 3
    assert words.count("{admonition} Misconception") >= 2
    opening = words.split("\n## ")[0]
    if path != CHAPTERS[0]:
        assert opening.count("```{dropdown}") >= 2


@every_chapter
def test_exercises_come_in_three_tiers_with_hints_and_at_least_half_are_checked(path):
    words, cells = text(path), "\n".join(code(path))
    tiers = [words.index(f"\n### {tier}\n") for tier in ("Check", "Apply", "Extend")]
    assert tiers == sorted(tiers)
    exercises = re.findall(r"\{exercise-start\}.*?\{exercise-end\}", words, flags=re.S)
    assert 5 <= len(exercises) <= 8
    assert all(re.search(r"\*\d+ minutes, difficulty \d of 5", exercise) for exercise in exercises)
    assert all("```{dropdown} Hint" in exercise for exercise in exercises)
    asked = re.findall(r'(?m)^check\("([\w-]+)"', cells)
    assert len(asked) * 2 >= len(exercises)
    assert set(asked) == set(re.findall(r'assert check\("([\w-]+)"', cells))  # some are solved twice


@every_chapter
def test_a_quiz_has_one_right_answer_a_question_in_no_guessable_place(path):
    quiz = json.loads(path.with_suffix(".quiz.json").read_text(encoding="utf-8"))
    assert len(quiz) >= 6
    right = [[option["correct"] for option in question["options"]] for question in quiz]
    assert all(sum(options) == 1 for options in right)
    places = [options.index(True) for options in right]
    assert all(one != other for one, other in pairwise(places))
    assert set(places) == {0, 1, 2, 3}
    assert all(option["why"] for question in quiz for option in question["options"])


@every_chapter
def test_every_term_is_in_the_glossary_and_every_source_in_the_bibliography(path):
    glossary = (ROOT / "book" / "glossary.md").read_text(encoding="utf-8").lower()
    for term in re.findall(r"\{term\}`([^`]+)`", text(path)):
        entry = " ".join(re.sub(r".*<(.*)>", r"\1", term, flags=re.S).lower().split())
        assert f"\n{entry}\n" in glossary, term
    sources = (ROOT / "book" / "references.bib").read_text(encoding="utf-8")
    for keys in re.findall(r"\{cite:[pt]\}`([^`]+)`", text(path)):
        for key in keys.split(","):
            assert f"{{{key.strip()}," in sources, key


@every_chapter
def test_every_place_that_is_pointed_to_is_somewhere(path):
    for place in re.findall(r"\]\(#([\w-]+)\)", text(path)):
        assert f"({place})=" in PLACES, place
    for exercise in re.findall(r"\{ref\}`([\w-]+)`", text(path)):
        assert f":label: {exercise}" in PLACES, exercise
