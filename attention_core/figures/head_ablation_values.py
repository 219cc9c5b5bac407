"""What the head ablation shows: the loss without each subset of a transformer's heads, measured or read.

`benchmarks/heads.py` measures the model that ships, once, and writes what `Ablated.load` reads.
"""

import json
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from attention_core.datasets import Pair
from attention_core.models.progress import Bar
from attention_core.models.transformer import PARTS, Evaluator, Transformer

MOST_HEADS = 8  # of a part: 256 subsets
DIGITS = 6  # of a loss, as it is kept; so a difference of two that are alike is 0

Tell = Callable[[float, str], None]  # hears how much of the whole is done, and of what


@dataclass(frozen=True)
class Ablated:
    """Mean surprise at a target word, in nats, without each subset of heads.

    Parameters
    ----------
    layers, heads
        Of the model.
    losses
        By part ("encoder", "decoder", "cross") a number for each subset: in the number of a subset, bit
        `layer * heads + head` is set where that head is off. Number 0 is the model as it is.
    told
        Of what and how it was measured.
    """

    layers: int
    heads: int
    losses: Mapping[str, np.ndarray]
    told: str

    @classmethod
    def load(cls, path: str | Path) -> "Ablated":
        """The file of `benchmarks/heads.py`."""
        read = json.loads(Path(path).read_text(encoding="utf-8"))
        losses = {row["part"]: np.array(row["losses"]) for row in read["rows"]}
        if missing := [part for part in PARTS if part not in losses]:
            raise ValueError(f"`path` must hold a row of each part; {path} lacks {', '.join(missing)}")
        return cls(read["model"]["layers"], read["model"]["heads"], losses, _told(read))


def subset(number: int, layers: int, heads: int) -> list[tuple[int, int]]:
    """(layer, head) of each that is off in the subset of this number."""
    return [divmod(bit, heads) for bit in range(layers * heads) if number >> bit & 1]


def number(off: Iterable[Sequence], part: str, layers: int, heads: int) -> int:
    """The number of a subset, whose heads are (layer, head), or (part, layer, head) of this part."""
    found = 0
    for each in off:
        named = tuple(each)[-2:]
        if len(each) not in (2, 3) or (len(each) == 3 and each[0] != part):
            raise ValueError(
                f'`off` must hold (layer, head) of the {part}, or ("{part}", layer, head); got {each!r}'
            )
        for name, value, size in zip(("layer", "head"), named, (layers, heads), strict=True):
            if isinstance(value, bool) or not isinstance(value, int | np.integer) or value not in range(size):
                raise ValueError(f"`off` must name a {name} from 0 to {size - 1}; got {each!r}")
        found |= 1 << (named[0] * heads + named[1])
    return found


def measure(model: Transformer, pairs: Sequence[Pair], *, tell: Tell | None = None) -> Ablated:
    """The loss without each subset of heads of each part: 3 x 2^(layers x heads) evaluations."""
    layers, heads = (model.options[name] for name in ("layers", "heads"))
    if layers * heads > MOST_HEADS:
        raise ValueError(
            f"`model` has {layers} x {heads} heads in a part, whose 2^{layers * heads} subsets are too many; "
            f"at most {MOST_HEADS} can be switched one by one"
        )
    count, losses, evaluate = 2 ** (layers * heads), {}, Evaluator(model, pairs)
    for done, part in enumerate(PARTS):
        losses[part] = np.empty(count)
        for i in range(count):
            off = [(part, *each) for each in subset(i, layers, heads)]
            losses[part][i] = round(evaluate(off), DIGITS)
            if tell is not None:
                tell((done * count + i + 1) / (len(PARTS) * count), part)
    words = sum(len(pair.target) + 1 for pair in pairs)
    told = f"{_many(len(pairs), 'pair')}, {_many(words, 'target word')}; measured when the figure was made."
    return Ablated(layers, heads, losses, told)


class Patience:
    """Says once how long the measuring will take, and in a terminal how far it has come."""

    def __init__(self, bar: Bar, pairs: int):
        self.bar, self.pairs, self.began, self.said = bar, pairs, time.process_time(), False

    def __call__(self, share: float, part: str) -> None:
        spent = time.process_time() - self.began
        if not self.said and spent > 1:
            self.said = True
            self.bar.keep(
                f"the loss on {self.pairs} pairs without every subset of heads: about "
                f"{spent / share:.0f} s of one processor core"
            )
        self.bar.show(share, part)


def _many(count: int, what: str) -> str:
    return f"{count:,} {what}{'' if count == 1 else 's'}"


def _told(read: Mapping[str, Any]) -> str:
    how, data = read["how"], read["data"]
    trial = "A trial on few pairs, not a result. " if how.get("quick") else ""
    return (
        f"{trial}{read['model']['name']} on {_many(data['pairs'], 'pair')} of {data['split']}, "
        f"{_many(data['words'], 'target word')}. {how['processor']}, PyTorch {how['torch']}, {how['date']}, "
        f"library at {how['commit']}."
    )
