import json
import re

import pytest

from attention_core.figures import Quiz

OPTIONS = [
    {"text": "It tends to `hard`.", "correct": True, "why": "Differences grow without bound."},
    {"text": "It tends to the mean.", "correct": False, "why": "That is the other end."},
]
QUESTION = {"question": "What does `softmax(s / T)` do as T < 1 falls?", "options": OPTIONS}


@pytest.fixture
def html():
    return Quiz([QUESTION, QUESTION])._repr_html_()


def test_a_question_is_a_group_of_native_radio_buttons(html):
    assert html.startswith('<section class="pa-quiz" aria-label="Check yourself">')
    assert html.count("<fieldset") == html.count("<legend>") == 2
    assert html.count('type="radio"') == 4
    assert "<script" not in html
    assert not re.search(r"\son\w+=", html)


def test_every_option_has_its_answer_in_a_region_that_speaks(html):
    for region in re.findall(r'<div class="pa-answers" role="status">(.*?)</div>', html):
        assert "Differences grow without bound." in region
        assert "That is the other end." in region
        assert "✓ Right." in region
        assert "✗ Not quite." in region


def test_answers_are_found_by_css_for_as_many_options_as_are_allowed(html):
    style = re.search(r"<style>(.*?)</style>", html, re.S)[1]
    for i in range(1, 7):
        assert f".pa-q:has(.pa-o{i} :checked) .pa-w{i}" in style
    assert re.search(r"@media print \{.*\.pa-why \{ display: block; \}", style)


def test_names_and_ids_are_unique_even_for_the_same_quiz_twice(html):
    page = html + Quiz([QUESTION, QUESTION])._repr_html_()
    ids = re.findall(r'\sid="([^"]+)"', page)
    assert len(ids) == len(set(ids)) == 8
    assert len(set(re.findall(r'\sname="([^"]+)"', page))) == 4


def test_text_is_escaped_and_backticks_become_code(html):
    assert "<code>softmax(s / T)</code> do as T &lt; 1 falls?" in html


def test_questions_come_from_a_file(tmp_path):
    path = tmp_path / "quiz.json"
    path.write_text(json.dumps([QUESTION]), encoding="utf-8")
    assert Quiz.from_file(path, title="Softmax").questions == [QUESTION]


@pytest.mark.parametrize(
    ("questions", "message"),
    [
        ([], "`questions` must be a list with at least one question"),
        (QUESTION, "wrap a single one in"),
        ([{"options": OPTIONS}], "question 1 needs a text under 'question'"),
        (
            [QUESTION, {"question": "?", "options": OPTIONS[:1]}],
            "question 2 needs 2 to 6 entries under 'options'",
        ),
        ([{"question": "?", "options": OPTIONS * 2}], "exactly one option with 'correct': true; it has 2"),
        (
            [{"question": "?", "options": [OPTIONS[1]] * 2}],
            "exactly one option with 'correct': true; it has 0",
        ),
        (
            [{"question": "?", "options": [OPTIONS[0], {"text": "b"}]}],
            "option B of question 1 needs a text under 'why'",
        ),
    ],
)
def test_a_bad_quiz_is_refused_by_name(questions, message):
    with pytest.raises(ValueError, match=message):
        Quiz(questions)
