"""Questions that answer back: native radio buttons, an explanation for every option, no JavaScript."""

import hashlib
import html
import itertools
import json
import re
from collections.abc import Iterable, Mapping
from pathlib import Path

from attention_core.figures.static import Markup, h

STYLE = Path(__file__).with_name("quiz.css").read_text(encoding="utf-8")
MOST_OPTIONS = 6  # quiz.css has as many rules
_copies = itertools.count(1)  # the same quiz twice on a page must not share names


def prose(text: str) -> Markup:
    """Escaped text; spans between backticks become code."""
    return Markup(re.sub(r"`([^`]+)`", r"<code>\1</code>", html.escape(text, quote=False)))


def check(questions: object) -> list[Mapping]:
    """Raise unless every question has options, exactly one right, each with its reason."""
    single = isinstance(questions, str | Mapping) or not isinstance(questions, Iterable)
    listed = [] if single else list(questions)
    if not listed:
        raise ValueError("`questions` must be a list with at least one question; wrap a single one in [ ]")
    for number, question in enumerate(listed, 1):
        where = f"question {number}"
        if not isinstance(question, Mapping) or not str(question.get("question", "")).strip():
            raise ValueError(f"{where} needs a text under 'question'")
        options = question.get("options")
        if not isinstance(options, list | tuple) or not 2 <= len(options) <= MOST_OPTIONS:
            raise ValueError(f"{where} needs 2 to {MOST_OPTIONS} entries under 'options'")
        for letter, option in zip("ABCDEF", options, strict=False):
            for key in ("text", "why"):
                if not isinstance(option, Mapping) or not str(option.get(key, "")).strip():
                    raise ValueError(f"option {letter} of {where} needs a text under '{key}'")
        right = sum(option.get("correct") is True for option in options)
        if right != 1:
            raise ValueError(f"{where} must have exactly one option with 'correct': true; it has {right}")
    return listed


class Quiz:
    """Multiple-choice questions, answered at once.

    Parameters
    ----------
    questions
        `[{"question": ..., "options": [{"text": ..., "correct": bool, "why": ...}, ...]}, ...]`.
        Text may hold `code` between backticks.
    title
        What a screen reader calls the section.
    """

    def __init__(self, questions: Iterable, title: str = "Check yourself"):
        self.questions = check(questions)
        self.title = title

    @classmethod
    def from_file(cls, path: str | Path, **kwargs) -> "Quiz":
        """Questions from a JSON file."""
        return cls(json.loads(Path(path).read_text(encoding="utf-8")), **kwargs)

    def _repr_html_(self) -> str:
        digest = hashlib.sha256(json.dumps(self.questions, sort_keys=True).encode()).hexdigest()[:8]
        name = f"pa-quiz-{digest}-{next(_copies)}"
        fields = (_field(f"{name}-{i}", i, question) for i, question in enumerate(self.questions, 1))
        return str(h("section.pa-quiz", h("style", Markup(STYLE)), *fields, aria_label=self.title))


def _field(name: str, number: int, question: Mapping) -> Markup:
    """One question; the answer to each option waits in a region that speaks when it appears."""
    options, answers = [], []
    for i, option in enumerate(question["options"], 1):
        button = h("input", type="radio", name=name, value=i, id=f"{name}-{i}").removesuffix("</input>")
        options.append(h(f"label.pa-option.pa-o{i}", Markup(button), h("span", prose(option["text"]))))
        kind, mark = ("right", "✓ Right.") if option.get("correct") is True else ("wrong", "✗ Not quite.")
        which = h("span.pa-which", f"Option {'ABCDEF'[i - 1]}: ")  # in print, where all answers show
        answers.append(
            h(f"p.pa-why.pa-w{i}.pa-{kind}", which, h("span.pa-mark", mark), " ", prose(option["why"]))
        )
    legend = h("legend", f"{number}. ", prose(question["question"]))
    return h("fieldset.pa-q", legend, *options, h("div.pa-answers", *answers, role="status"))
