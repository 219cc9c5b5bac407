"""A sentence pair with its gold links, drawn as text, normalised, and fingerprinted."""

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass

Links = frozenset[tuple[int, int]]


@dataclass(frozen=True)
class Pair:
    """A sentence and its translation. Links are (target position, source position), the matrix's own order.

    `sure` links carry the meaning; `possible` holds those and the ones that only grammar asks for (defined in
    `attention_core.datasets.parallel`). Both are empty where nobody has marked the links.
    """

    source: tuple[str, ...]
    target: tuple[str, ...]
    sure: Links = frozenset()
    possible: Links = frozenset()

    def __post_init__(self) -> None:
        if not self.sure <= self.possible:
            raise ValueError(
                f"`possible` must hold every link of `sure`; it lacks {sorted(self.sure - self.possible)}. "
                "Give their union."
            )
        for t, s in self.possible:
            if not (0 <= t < len(self.target) and 0 <= s < len(self.source)):
                raise ValueError(
                    f"link {(t, s)} lies outside {len(self.target)} target and {len(self.source)} source "
                    "words. Links are (target position, source position), counted from 0."
                )

    @property
    def monotone(self) -> bool:
        """Whether no two sure links cross: the words that are surely linked come in the same order."""
        links = sorted(self.sure)
        return not any(a[0] < b[0] and a[1] > b[1] for a in links for b in links)

    def draw(self) -> str:
        """The links as a grid: a row a target word, ■ sure, □ only possible, · none."""
        margin = max(map(len, self.target), default=0)
        lines = [" " * margin + "  " + "  ".join(self.source)]
        for t, word in enumerate(self.target):
            marks = (self._mark(t, s).center(len(text)) for s, text in enumerate(self.source))
            lines.append(f"{word:<{margin}}  {'  '.join(marks)}".rstrip())
        return "\n".join(lines)

    def _mark(self, t: int, s: int) -> str:
        return "■" if (t, s) in self.sure else "□" if (t, s) in self.possible else "·"


def normalised(tokens: tuple[str, ...]) -> tuple[str, ...]:
    """The tokens in lower case, without the mark that ends the sentence: what counts as the same sentence."""
    end = len(tokens) - (bool(tokens) and tokens[-1] in (".", "!", "?", "…"))
    return tuple(token.lower() for token in tokens[:end])


def fingerprint(pairs: Iterable[Pair]) -> str:
    """SHA-256 (64 hexadecimal digits) of the pairs' words and links, in their order."""
    digest = hashlib.sha256()
    for pair in pairs:
        content = [pair.source, pair.target, sorted(pair.sure), sorted(pair.possible)]
        digest.update(json.dumps(content, ensure_ascii=False).encode() + b"\n")
    return digest.hexdigest()
