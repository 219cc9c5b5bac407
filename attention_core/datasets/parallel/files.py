"""Sentence pairs from a file of one's own."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from attention_core.datasets.parallel.pair import Pair, normalised
from attention_core.datasets.parallel.text import tokenize

EMPTY, COLUMN, ENCODING, LONG, DUPLICATE = "empty", "no second column", "not UTF-8", "too long", "duplicate"


@dataclass(frozen=True)
class Corpus:
    """Pairs read from a file, and what was left out: how many lines, and the first, by reason."""

    path: Path
    pairs: list[Pair]
    skipped: dict[str, int] = field(default_factory=dict)
    first_line: dict[str, int] = field(default_factory=dict)  # counted from 1

    def __str__(self) -> str:
        read = f"{_count(len(self.pairs), 'pair')} read from {self.path}"
        if not self.skipped:
            return f"{read}; no line was skipped."
        reasons = ", ".join(
            f"{n} {reason} (first: line {self.first_line[reason]})" for reason, n in self.skipped.items()
        )
        return f"{read}; {_count(sum(self.skipped.values()), 'line')} skipped: {reasons}."


def read_pairs(path: str | Path, *, longest: int = 500) -> Corpus:
    """Read pairs from tab-separated text in UTF-8: English, French; more columns are ignored.

    That is the format of sentence collections such as Tatoeba's. Lines that cannot be used are left out and
    counted by reason: "empty" (a side without a word), "no second column", "not UTF-8", "too long" (a side
    of more than `longest` characters) and "duplicate" (the same pair but for case and final mark). The pairs
    have no gold links.

    Raises `FileNotFoundError` where there is no such file and `ValueError` where no line can be used.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"`path`: there is no file {path}. Give tab-separated text, one pair a line.")
    if isinstance(longest, bool) or not isinstance(longest, int) or longest < 1:
        raise ValueError(f"`longest` must be a number of characters, 1 or more; got {longest!r}.")
    corpus, seen = Corpus(path, []), set()
    for number, line in enumerate(_lines(path), start=1):
        pair, reason = _parse(line, longest)
        if pair:
            key = normalised(pair.source), normalised(pair.target)
            reason = DUPLICATE if key in seen else ""
            seen.add(key)
        if reason:
            corpus.skipped[reason] = corpus.skipped.get(reason, 0) + 1
            corpus.first_line.setdefault(reason, number)
        else:
            corpus.pairs.append(pair)
    if not corpus.pairs:
        raise ValueError(
            f"`path`: {corpus} Each line needs an English sentence, a tab and its French translation; "
            "save the file as UTF-8."
        )
    return corpus


def _lines(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        yield from file


def _parse(line: bytes, longest: int) -> tuple[Pair | None, str]:
    """The pair of a line, or the reason why there is none."""
    try:
        text = line.decode("utf-8").removeprefix("\N{ZERO WIDTH NO-BREAK SPACE}")
    except UnicodeDecodeError:
        return None, ENCODING
    if "\0" in text:  # UTF-16 without accents is UTF-8 full of these
        return None, ENCODING
    if not text.strip():
        return None, EMPTY
    columns = text.rstrip("\r\n").split("\t")
    if len(columns) < 2:
        return None, COLUMN
    if max(map(len, columns[:2])) > longest:
        return None, LONG
    pair = Pair(tokenize(columns[0], "en"), tokenize(columns[1], "fr"))
    return (pair, "") if pair.source and pair.target else (None, EMPTY)


def _count(n: int, what: str) -> str:
    return f"{n} {what}" + "s" * (n != 1)
