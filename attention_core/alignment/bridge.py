"""A bridge to eflomal, the aligner of Östling & Tiedemann (2016): a Bayesian HMM with fertility, by sampling.

The package is neither imported nor needed until one of these functions is called. It is under the GPL and
has no part in the library. It folds case, and draws its random numbers afresh: two runs differ a little.
"""

import tempfile
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

from attention_core.alignment.directions import symmetrize, transpose
from attention_core.alignment.measure import Links
from attention_core.datasets import Pair


class Directions(NamedTuple):
    """For each pair the links of either direction, both written (target, source)."""

    forward: list[frozenset[tuple[int, int]]]
    backward: list[frozenset[tuple[int, int]]]


def eflomal(
    pairs: Sequence[Pair],
    *,
    training: Sequence[Pair] = (),
    priors: Sequence[str] | None = None,
    method: str = "union",
    model: int = 3,
    samplers: int = 3,
) -> list[frozenset[tuple[int, int]]]:
    """Align `pairs` with eflomal, both ways, and merge the directions.

    Parameters
    ----------
    pairs
        Pairs to align; their gold links are not looked at.
    training
        More pairs, aligned together with them so that words are counted on more text, and then left out.
    priors
        What `eflomal_priors` took from an earlier run: a few pairs can then be aligned alone.
    method
        How `symmetrize` merges the directions.
    model
        1: IBM model 1; 2: HMM; 3: HMM with fertility.
    samplers
        Independent samplers whose counts are added.

    Raises
    ------
    ImportError
        If the package is not installed.
    ValueError
        If there is nothing to align, a pair lacks the words of one side, or a token holds white space.
    """
    both = eflomal_directions(pairs, training=training, priors=priors, model=model, samplers=samplers)
    return symmetrize(*both, method=method)


def eflomal_directions(
    pairs: Sequence[Pair],
    *,
    training: Sequence[Pair] = (),
    priors: Sequence[str] | None = None,
    model: int = 3,
    samplers: int = 3,
) -> Directions:
    """As `eflomal`, but the two directions as they are."""
    package = _package()
    everything = [*training, *pairs]
    _check(pairs, everything, model)
    aligner = package.Aligner(model=model, n_samplers=samplers)
    with tempfile.TemporaryDirectory(prefix="eflomal-") as folder:
        forward, backward = Path(folder, "forward"), Path(folder, "backward")
        aligner.align(
            [" ".join(pair.source) for pair in everything],
            [" ".join(pair.target) for pair in everything],
            links_filename_fwd=str(forward),
            links_filename_rev=str(backward),
            priors_input=priors,
        )
        read = [_links(path.read_text(encoding="ascii")) for path in (forward, backward)]
    return Directions(*(links[len(training) :] for links in read))


def eflomal_priors(pairs: Sequence[Pair], directions: Directions) -> list[str]:
    """What `directions`, links of `pairs`, say of words, jumps and fertilities: for `priors` of another run.

    The lines are eflomal's own format, one count a line. Gold links will do as well as an aligner's.
    """
    package = _package()
    folded = [[" ".join(words).lower() for words in (pair.source, pair.target)] for pair in pairs]
    written = [[_written(links) for links in direction] for direction in directions]
    counts = package.calculate_priors(*map(list, zip(*folded, strict=True)), *written)
    with tempfile.TemporaryFile("w+", encoding="utf-8") as file:
        package.write_priors(file, *counts)
        file.seek(0)
        return file.read().splitlines()


def _package() -> ModuleType:
    try:
        import eflomal
    except ImportError as error:
        raise ImportError(
            "eflomal is not installed: pip install eflomal (it compiles a small C program; GPL)"
        ) from error
    return eflomal


def _check(pairs: Sequence[Pair], everything: Sequence[Pair], model: int) -> None:
    if not pairs:
        raise ValueError("`pairs` is empty: eflomal needs at least one pair to align")
    if model not in (1, 2, 3):
        raise ValueError(f"`model` must be 1 (IBM 1), 2 (HMM) or 3 (HMM with fertility); got {model}")
    for pair in everything:
        words = (*pair.source, *pair.target)
        if not pair.source or not pair.target:
            raise ValueError(
                f"eflomal aligns words with words, but one side of {pair} has none: leave it out"
            )
        if any(word.split() != [word] for word in words):
            raise ValueError(
                f"tokens must not be empty or hold white space, eflomal's separator; got {words}"
            )


def _links(text: str) -> list[frozenset[tuple[int, int]]]:
    """eflomal writes a line a pair, and source-target."""
    lines = text.split("\n")[:-1]
    return [frozenset(tuple(map(int, link.split("-")))[::-1] for link in line.split()) for line in lines]


def _written(links: Links) -> str:
    return " ".join(f"{s}-{t}" for s, t in sorted(transpose(links)))
