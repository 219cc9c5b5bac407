"""A few lines of the library's own source, to be explained where they stand."""

import importlib.util
from dataclasses import dataclass
from pathlib import Path
from textwrap import dedent, wrap

WIDTH = 80  # characters of code that a page shows without scrolling


@dataclass(frozen=True)
class Listing:
    """Lines of Python that a notebook shows as code."""

    source: str

    def __str__(self) -> str:
        return self.source

    def _repr_markdown_(self) -> str:
        return f"```python\n{self.source}\n```"


def excerpt(module: str, first: str, last: str) -> Listing:
    """The lines of a module from the one line that contains `first` to the next that contains `last`.

    Read as text, so that a module can be shown on a machine that cannot import it; comments that make a line
    too wide for a page stand above it. Raises `ValueError` if either end is not there: a page must not show
    other code than its text explains.
    """
    spec = importlib.util.find_spec(module)
    if spec is None or spec.origin is None:
        raise ValueError(f"`module` must be a Python module that is installed; got {module!r}.")
    lines = Path(spec.origin).read_text(encoding="utf-8").splitlines()
    starts = [k for k, line in enumerate(lines) if first in line]
    if len(starts) != 1:
        raise ValueError(f"`first` must stand in one line of {module}; {first!r} stands in {len(starts)}.")
    end = next((k for k in range(starts[0], len(lines)) if last in lines[k]), None)
    if end is None:
        raise ValueError(f"`last` must stand at or after `first` in {module}; {last!r} does not.")
    shown = dedent("\n".join(lines[starts[0] : end + 1])).splitlines()
    return Listing("\n".join(part for line in shown for part in _narrow(line)))


def _narrow(line: str) -> list[str]:
    """A line, above it the comment at its end where both together would be too wide."""
    code, mark, comment = line.rpartition("  # ")
    if len(line) <= WIDTH or not mark:
        return [line]
    indent = code[: len(code) - len(code.lstrip())] + "# "
    return [*wrap(comment, WIDTH, initial_indent=indent, subsequent_indent=indent), code]
