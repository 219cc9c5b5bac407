"""The pairs that a training command is given: ours, generated anew, or a file of one's own."""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

from attention_core import datasets
from attention_core.datasets import Pair
from attention_core.models.progress import Bar

SIZE = 36_000  # few epochs of many pairs generalise better than many of few, in the same time
SHARE, MOST = 0.05, 500  # of a corpus of one's own: what is kept for validation


@dataclass(frozen=True)
class Data:
    """What a model is trained on, stopped by and measured on."""

    train: list[Pair]
    validation: list[Pair]
    tests: dict[str, list[Pair]]
    told: dict[str, Any]  # for the card

    def measured(self) -> dict[str, list[Pair]]:
        """By split, all pairs that the model did not learn from."""
        return {"validation": self.validation, **self.tests}


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--corpus", type=Path, help="a file of pairs, a tab between them, in place of ours")
    parser.add_argument(
        "--size", type=int, default=SIZE, help=f"pairs of ours to train on, {SIZE} if not said"
    )


def chosen(options: argparse.Namespace, bar: Bar) -> Data:
    """What the options ask for."""
    return read(options.corpus, options.seed, bar) if options.corpus else generated(options.size)


def generated(size: int) -> Data:
    train = datasets.translation("train", size)
    validation, *tested = (  # small trials are tried on few
        datasets.translation(split)[:size] for split in ("validation", "test", "held_out")
    )
    tests = dict(zip(("test", "held_out"), tested, strict=True))
    told = {"source": "datasets.translation", "pairs": len(train), "fingerprint": datasets.fingerprint(train)}
    return Data(train, validation, tests, told)


def read(path: Path, seed: int, bar: Bar) -> Data:
    """A file of one's own, a seeded part of which is kept for validation."""
    bar.show(0.0, f"reading {path.name}")
    corpus = datasets.read_pairs(path)
    skipped = ", ".join(f"{count} {reason}" for reason, count in corpus.skipped.items() if count)
    bar.keep(f"{len(corpus.pairs)} pairs from {path.name}; skipped: {skipped or 'none'}")
    pairs = list(corpus.pairs)
    if len(pairs) < 2:
        raise ValueError(
            f"--corpus needs at least two pairs, one to validate on; {path.name} holds {len(pairs)}. Each "
            "line is a sentence, a tab, and its translation."
        )
    Random(seed).shuffle(pairs)
    kept = min(MOST, max(1, round(SHARE * len(pairs))))
    told = {"source": path.name, "pairs": len(pairs) - kept, "skipped": dict(corpus.skipped)}
    told["fingerprint"] = datasets.fingerprint(pairs[kept:])
    return Data(pairs[kept:], pairs[:kept], {}, told)


def check_given(pairs: Sequence[Pair], validation: Sequence[Pair]) -> None:
    """Require pairs to learn from and pairs to stop by."""
    for name, given in (("pairs", pairs), ("validation", validation)):
        if len(given) == 0:
            raise ValueError(f"`{name}` must hold at least one pair; got none.")
