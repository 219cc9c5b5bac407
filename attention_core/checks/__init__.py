"""Checks for the book's exercises: run the reader's function on seeded inputs and say what went wrong.

`check("masked-weights", my_function)` prints one diagnostic, never the solution. Each chapter with exercises
has a module here whose `EXERCISES` lists them. An exercise brings a reference, inputs and mutants: known
wrong answers, each with the sentence that a reader needs who gave it.
"""

import functools
import importlib
import pkgutil
import zlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor

Case = dict[str, Any]


@dataclass(frozen=True)
class Mutant:
    """A known wrong answer, and the words that its diagnosis must contain."""

    function: Callable
    says: str


@dataclass(frozen=True)
class Exercise:
    """What is asked, on which inputs, and how it usually goes wrong.

    Parameters
    ----------
    name
        What the reader passes to `check`.
    reference
        The right answer, called with a case's values in order.
    cases
        From a seeded generator to the inputs: one dictionary a case, argument names to values.
    mutants
        At least three known wrong answers by name; the check must reject every one.
    weights
        Whether the answer's rows are attention weights, so that sums can be diagnosed.
    tolerance
        Largest absolute error that passes; inputs are float64.
    """

    name: str
    reference: Callable
    cases: Callable[[torch.Generator], Iterable[Case]]
    mutants: dict[str, Mutant]
    weights: bool = False
    tolerance: float = 1e-9

    def inputs(self) -> list[Case]:
        """The same inputs on every call, in fresh tensors; the seed depends on the name alone."""
        return list(self.cases(torch.Generator().manual_seed(zlib.crc32(self.name.encode()))))


@dataclass(frozen=True)
class Result:
    """What a check found. True exactly when the exercise is passed; a notebook shows nothing more for it."""

    exercise: str
    status: Literal["passed", "not started", "failed"]
    message: str

    def __bool__(self) -> bool:
        return self.status == "passed"

    def _ipython_display_(self) -> None:
        """Stay silent: `check` has printed the message already."""


class Attempt(NamedTuple):
    """One case after the reader's function has run on it."""

    before: Case
    after: Case
    answer: Any
    expected: Tensor


def check(name: str, function: Callable) -> Result:
    """Run `function` on the inputs of exercise `name`, print what was found and return it.

    Raises `ValueError` for an unknown name and `TypeError` for something that cannot be called. Nothing that
    `function` does wrong raises: the reader's notebook goes on.
    """
    exercise = _find(name)
    if not callable(function):
        raise TypeError(
            f"`function` must be the function itself, as in check({name!r}, f); "
            f"got {type(function).__name__}. Did you call it?"
        )
    result = _examine(exercise, function)
    print(result.message)
    return result


@functools.cache
def exercises() -> dict[str, Exercise]:
    """Every exercise of the book by name, gathered from the modules of this package."""
    found: dict[str, Exercise] = {}
    for module in pkgutil.iter_modules(__path__, f"{__name__}."):
        for exercise in importlib.import_module(module.name).EXERCISES:
            if exercise.name in found:
                raise ValueError(f"two exercises are called {exercise.name!r}; names are unique in the book")
            found[exercise.name] = exercise
    return found


def _find(name: str) -> Exercise:
    if name not in exercises():
        raise ValueError(f"no exercise is called {name!r}; the names are {', '.join(sorted(exercises()))}")
    return exercises()[name]


def _examine(exercise: Exercise, function: Callable) -> Result:
    attempts = []
    for case, before, spare in zip(exercise.inputs(), exercise.inputs(), exercise.inputs(), strict=True):
        try:
            answer = function(*case.values())
        except Exception as error:  # whatever the reader's code raises is a finding, not our failure
            raised = f"it raised {type(error).__name__} on {_describe(before)}: {error}"
            return _failed(exercise, _known_until_now(exercise, attempts, before) or raised)
        attempts.append(Attempt(before, case, answer, exercise.reference(*spare.values())))
    if all(attempt.answer is None for attempt in attempts):
        return Result(exercise.name, "not started", f"· {exercise.name}: not started (it returns None).")
    for complaint in (_nothing, _changed, _not_tensor, _not_finite):
        for attempt in attempts:
            if said := complaint(attempt):
                return _failed(exercise, f"{said} Input: {_describe(attempt.before)}.")
    return _judge_values(exercise, attempts)


def _known_until_now(exercise: Exercise, attempts: list[Attempt], before: Case) -> str | None:
    """What to say of answers that were a mutant's as far as they went, where it cannot go on either."""
    usable = all(_is_plain(attempt.answer) for attempt in attempts)
    if not usable or all(_same(a.answer, a.expected, exercise.tolerance) for a in attempts):
        return None
    for mutant in exercise.mutants.values():
        if _equals_mutant(mutant, attempts) and _raises(mutant.function, before):
            return mutant.says
    return None


def _raises(function: Callable, case: Case) -> bool:
    try:
        function(*(_copy(value) for value in case.values()))
    except Exception:
        return True
    return False


def _judge_values(exercise: Exercise, attempts: list[Attempt]) -> Result:
    wrong = [
        attempt for attempt in attempts if not _same(attempt.answer, attempt.expected, exercise.tolerance)
    ]
    if not wrong:
        count = f"{len(attempts)} inputs"
        return Result(exercise.name, "passed", f"✔ {exercise.name}: passed on {count}.")
    for mutant in exercise.mutants.values():
        if _equals_mutant(mutant, attempts):
            return _failed(exercise, mutant.says)
    complaints = [_wrong_shape, _wrong_dtype, *([_wrong_sums] if exercise.weights else []), _wrong_value]
    said = next(said for complaint in complaints if (said := complaint(wrong[0])))
    return _failed(exercise, f"{said} Input: {_describe(wrong[0].before)}.")


def _failed(exercise: Exercise, said: str) -> Result:
    return Result(exercise.name, "failed", f"✘ {exercise.name}: {said}")


def _equals_mutant(mutant: Mutant, attempts: list[Attempt]) -> bool:
    """Whether the reader's answers are this mutant's, on every case."""
    for attempt in attempts:
        try:
            suspect = mutant.function(*(_copy(value) for value in attempt.before.values()))
        except Exception:  # a mutant may be unable to run on some shapes; then the reader's answer is not its
            return False
        if not _same(attempt.answer, suspect, 1e-9):
            return False
    return True


def _same(answer: Tensor, expected: Tensor, tolerance: float) -> bool:
    if answer.shape != expected.shape or answer.dtype != expected.dtype:
        return False
    return torch.allclose(answer.detach().double(), expected.double(), rtol=0.0, atol=tolerance)


def _nothing(attempt: Attempt) -> str | None:
    if attempt.answer is None:
        return "it returned None here, though not everywhere: does every path return?"
    return None


def _changed(attempt: Attempt) -> str | None:
    for name, value in attempt.before.items():
        if isinstance(value, Tensor) and not torch.equal(value, attempt.after[name]):
            return (
                f"your input `{name}` was modified in place: work on a copy, or use operations without `_`."
            )
    return None


def _is_plain(answer: Any) -> bool:
    return isinstance(answer, Tensor) and answer.layout == torch.strided and answer.device.type == "cpu"


def _not_tensor(attempt: Attempt) -> str | None:
    answer = attempt.answer
    if _is_plain(answer):
        return None
    if isinstance(answer, Tensor):
        kind = f"{answer.device.type}, {str(answer.layout).removeprefix('torch.')}"
        return f"the answer must be a dense tensor on the CPU; got {kind}. Try .to_dense() or .cpu()."
    return (
        f"the answer must be a torch.Tensor; got {type(attempt.answer).__name__}. "
        "From numbers: torch.tensor(numbers, dtype=torch.float64); from rows: torch.stack(rows)."
    )


def _not_finite(attempt: Attempt) -> str | None:
    wrong = ~torch.isfinite(attempt.answer) & torch.isfinite(attempt.expected).all()
    if not wrong.any() or attempt.expected.dtype == torch.bool:  # then its dtype is the finding
        return None
    kind = "NaN" if torch.isnan(attempt.answer).any() else "infinity"
    emptied = any(
        isinstance(value, Tensor) and value.dtype == torch.bool and not value.any(-1).all()
        for value in attempt.before.values()
    )
    if emptied:
        cause = "are you dividing by a row sum that is 0?"
    elif any(isinstance(value, Tensor) and (value == -torch.inf).any() for value in attempt.before.values()):
        cause = "an input holds -inf: is -inf subtracted from itself?"
    elif any(
        isinstance(value, Tensor) and value.is_floating_point() and (value == 0).any()
        for value in attempt.before.values()
    ):
        cause = "an input holds 0: is its logarithm taken, or divided by?"
    else:
        cause = "has exp overflowed? Subtract each row's maximum first."
        first, *others = wrong.flatten(1).all(1).tolist() if wrong.ndim > 1 else [False]
        if first and not any(others):
            cause = "only the first row is bad: did a mask leave it nothing to attend to?"
    return f"{kind} in {100 * wrong.double().mean().item():.0f} % of entries: {cause}"


def _wrong_shape(attempt: Attempt) -> str | None:
    got, want = tuple(attempt.answer.shape), tuple(attempt.expected.shape)
    if got == want:
        return None
    hint = " It is transposed: rows are queries, columns are keys." if got == want[::-1] else ""
    return f"the answer has shape {got}; expected {want}.{hint}"


def _wrong_dtype(attempt: Attempt) -> str | None:
    got, want = attempt.answer.dtype, attempt.expected.dtype
    if got == want:
        return None
    hint = "compare with <= or ==, or add .bool()." if want == torch.bool else "add .double()."
    return f"the answer has dtype {got}; expected {want}: {hint}"


def _wrong_sums(attempt: Attempt) -> str | None:
    """For weights: negative entries, columns that sum to one instead of rows, rows with any other sum."""
    rows, columns = attempt.answer.sum(-1), attempt.answer.sum(-2)
    if (attempt.answer < 0).any():
        return f"weights cannot be negative; the smallest is {attempt.answer.min().item():.3g}."
    if torch.allclose(rows, attempt.expected.sum(-1)):
        return None
    if torch.allclose(columns, torch.ones_like(columns)):
        return "rows do not sum to 1 but columns do: the softmax runs over the wrong axis, not the last."
    row = int((rows - attempt.expected.sum(-1)).abs().argmax())
    return f"row {row} sums to {rows[row].item():.4g}; expected {attempt.expected.sum(-1)[row].item():.4g}."


def _wrong_value(attempt: Attempt) -> str:
    error = (attempt.answer.detach().double() - attempt.expected.double()).abs()
    index = [int(i) for i in torch.unravel_index(error.argmax(), error.shape)]
    yours, right = attempt.answer[tuple(index)].item(), attempt.expected[tuple(index)].item()
    largest = error.max().item()
    return f"the largest error, {largest:.3g}, is at {index}: yours {yours:.6g}, expected {right:.6g}."


def _copy(value: Any) -> Any:
    return value.clone() if isinstance(value, Tensor) else value


def _describe(case: Case) -> str:
    """Names with shapes, or with the value itself where it is a number or a tensor of up to six."""
    parts = []
    for name, value in case.items():
        if not isinstance(value, Tensor):
            parts.append(f"{name} = {value:g}")
        elif value.numel() <= 6:
            parts.append(f"{name} = {_short(value)}")
        else:
            parts.append(f"{name} {tuple(value.shape)}")
    return ", ".join(parts)


def _short(value: Tensor) -> str:
    if value.dtype == torch.bool:
        return str(value.tolist())
    return str((value.double().round(decimals=3) + 0.0).tolist())
