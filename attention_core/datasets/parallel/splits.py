"""The splits: which sentence belongs to which, and that none leaks."""

import zlib
from collections import Counter
from collections.abc import Iterator
from functools import cache

from attention_core.datasets.parallel import clauses, sentences
from attention_core.datasets.parallel.combinations import combinations, held
from attention_core.datasets.parallel.draw import Draw
from attention_core.datasets.parallel.examples import contains_showcase
from attention_core.datasets.parallel.pair import Pair, normalised
from attention_core.datasets.parallel.words import aligned

SIZES = {"train": 12_000, "validation": 500, "test": 500, "held_out": 500, "long": 500}
LARGEST_TRAIN = 40_000
LONGEST = 20  # English tokens, the final mark included, of all splits but `long`
LONG = range(LONGEST + 1, 41)
POOL = 20_000  # sentences that validation, test and held_out are taken from
SEEN = 5  # every word of the other splits occurs at least so often in training


def translation(split: str = "train", size: int | None = None, *, seed: int = 0) -> list[Pair]:
    """English-French sentence pairs of one split, with gold links; the same ones wherever they are made.

    Parameters
    ----------
    split
        "train" (12,000 pairs), "validation", "test", "held_out" or "long" (500 each).
    size
        Only the first so many. "train" alone can be asked for more than its own size, up to 40,000.
    seed
        Another seed gives another corpus, and keeps each sentence to its split: no seed's training data holds
        a sentence of another's test.

    Raises `ValueError` for an unknown split or a size out of range.
    """
    if split not in SIZES:
        raise ValueError(f"`split` must be one of {', '.join(SIZES)}; got {split!r}.")
    most = LARGEST_TRAIN if split == "train" else SIZES[split]
    size = SIZES[split] if size is None else size
    if isinstance(size, bool) or not isinstance(size, int):
        raise TypeError(f"`size` must be a whole number of pairs; got {type(size).__name__}.")
    if not 1 <= size <= most:
        raise ValueError(f"`size` must be between 1 and {most} for {split!r}; got {size}.")
    if isinstance(seed, bool) or not isinstance(seed, int):
        raise TypeError(f"`seed` must be a whole number; got {type(seed).__name__}.")
    if split == "train":
        return _pool(seed).train(size)
    return list((_long(seed) if split == "long" else _evaluation(seed)[split])[:size])


def role(pair: Pair) -> str:
    """Train, validation or test: a checksum of the French decides, so that paraphrases stay together."""
    bucket = zlib.crc32(" ".join(normalised(pair.target)).encode()) % 1000
    return "validation" if bucket < 45 else "test" if bucket < 90 else "train"


def _stream(seed: int, name: str) -> Iterator[tuple[str, Pair]]:
    """New sentences without end, each with its split; "held_out" holds a held combination."""
    draw, seen = Draw(seed, name), set()
    make = sentences.long_sentence if name == "long" else sentences.sentence
    while True:
        what = make(draw)
        pair = aligned(clauses.sentence(what))
        key = normalised(pair.source)
        if len(key) < 2 or key in seen or contains_showcase(pair):
            continue
        seen.add(key)
        yield "held_out" if any(map(held, combinations(what))) else role(pair), pair


def _short(seed: int) -> Iterator[tuple[str, Pair]]:
    return (each for each in _stream(seed, "short") if len(each[1].source) <= LONGEST)


class _Pool:
    """The short sentences of one seed, drawn as far as anybody has asked."""

    def __init__(self, seed: int) -> None:
        self._stream = _short(seed)
        self._drawn: list[tuple[str, Pair]] = []
        self._train: list[Pair] = []

    def _draw(self) -> None:
        split, pair = next(self._stream)
        self._drawn.append((split, pair))
        if split == "train":
            self._train.append(pair)

    def train(self, size: int) -> list[Pair]:
        while len(self._train) < size:
            self._draw()
        return self._train[:size]

    def others(self) -> list[tuple[str, Pair]]:
        """The sentences among the first `POOL` that are not for training."""
        while len(self._drawn) < POOL:
            self._draw()
        return [(split, pair) for split, pair in self._drawn[:POOL] if split != "train"]


@cache
def _pool(seed: int) -> _Pool:
    return _Pool(seed)


class _Known:
    """Whether training has seen each word of a pair `SEEN` times, but never its translation."""

    def __init__(self, seed: int) -> None:
        pairs = _pool(seed).train(SIZES["train"])
        self.source = Counter(token for pair in pairs for token in pair.source)
        self.target = Counter(token for pair in pairs for token in pair.target)
        self.translations = {normalised(pair.target) for pair in pairs}

    def __call__(self, pair: Pair) -> bool:
        return (
            normalised(pair.target) not in self.translations
            and all(self.source[token] >= SEEN for token in pair.source)
            and all(self.target[token] >= SEEN for token in pair.target)
        )


@cache
def _evaluation(seed: int) -> dict[str, tuple[Pair, ...]]:
    """Validation and test as they come; held_out sentence by sentence as long as those of test."""
    known = _Known(seed)
    found = {"validation": [], "test": [], "held_out": []}
    for split, pair in _pool(seed).others():
        if known(pair):
            found[split].append(pair)
    for name in ("validation", "test"):
        del found[name][SIZES[name] :]
    found["held_out"] = _as_long(found["test"], found["held_out"])
    return {name: tuple(pairs) for name, pairs in found.items()}


def _as_long(models: list[Pair], pairs: list[Pair]) -> list[Pair]:
    """For each of `models` another pair, its source as long, or as nearly so as there is one left."""
    left = {length: [p for p in reversed(pairs) if len(p.source) == length] for length in range(LONGEST + 1)}
    found = []
    for model in models:
        wanted = len(model.source)
        nearest = min((length for length in left if left[length]), key=lambda length: abs(length - wanted))
        found.append(left[nearest].pop())
    return found


@cache
def _long(seed: int) -> tuple[Pair, ...]:
    """As many of each length; no held combination, so that length is all that is new."""
    wanted = dict.fromkeys(LONG, SIZES["long"] // len(LONG))
    known, found, stream = _Known(seed), [], _stream(seed, "long")
    while any(wanted.values()):
        split, pair = next(stream)
        if split != "held_out" and wanted.get(len(pair.source)) and known(pair):
            wanted[len(pair.source)] -= 1
            found.append(pair)
    return tuple(found)
