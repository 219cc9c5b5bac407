"""How many of its heads a translator needs: the transformer that ships, without every subset of them.

    python benchmarks/heads.py [--quick] [--model NAME] [--output FILE]

One row a part: attention in the encoder, in the decoder, and from decoder to encoder ("cross"). A head is
taken out by zeroing its columns of the output projection, which is exact; nothing is trained anew, and heads
of the other parts stay. Measured on the pairs of `test`, one thread, are

- `losses`: the mean cross-entropy of a target word in nats, the right words before it having been read, for
  each of the 2^(layers x heads) subsets. In the number of a subset, bit layer * heads + head is set where
  that head is off; so number 0 is the model as it is;
- `alone`: without each single head, also the share of sentences that are translated right to the last word
  (greedy), of the first 200 only, for without heads translations get long;
- `best`: the subset of the least loss among those that leave so many heads on, and the same share.

Writes benchmarks/results/heads.json, which `figures.HeadAblation` draws.
"""

import argparse
import datetime
import os
import time
from collections.abc import Sequence
from pathlib import Path

import torch

from attention_core import datasets, models
from attention_core.datasets import Pair
from attention_core.figures.head_ablation_static import ordered
from attention_core.figures.head_ablation_values import DIGITS, measure, subset
from attention_core.models import Transformer, shelf
from attention_core.models.progress import Bar
from attention_core.models.runs import hardware, versions
from attention_core.models.sentences import exact_match

try:
    import variants
    from translator import write
except ImportError:  # imported from elsewhere
    from benchmarks import variants
    from benchmarks.translator import write

RESULT = variants.ROOT / "benchmarks" / "results" / "heads.json"
NAME, SPLIT, QUICK = "transformer-en-fr", "test", 4
TRANSLATED = 200


def row(model: Transformer, part: str, losses: Sequence[float], pairs: Sequence[Pair]) -> dict:
    """What was measured of one part, and how many sentences come out right without some of its heads."""
    pairs = pairs[:TRANSLATED]
    size = model.options["layers"], model.options["heads"]

    def without(off: int) -> dict:
        heads = subset(off, *size)
        said = model.without([(part, *head) for head in heads]).translate_tokens([p.source for p in pairs])
        return {
            "off": [list(head) for head in heads],
            "loss": losses[off],
            "exact_match": round(exact_match(said, pairs), DIGITS),
        }

    best = [those[0] for those in ordered(losses)]
    return {
        "part": part,
        "losses": list(losses),
        "alone": [without(1 << bit) for bit in range(size[0] * size[1])],
        "best": [{"on": on, **without(off)} for on, off in enumerate(best)],
    }


def result(name: str, pairs: Sequence[Pair], quick: bool) -> dict:
    model, bar, began = models.load(name), Bar(), time.process_time()
    ablated = measure(model, pairs, tell=bar.show)
    rows = []
    for part, losses in ablated.losses.items():
        bar.keep(f"{part}: exact match without some heads")
        rows.append(row(model, part, losses.tolist(), pairs))
    return {
        "how": {
            "quick": quick,
            "cpu_seconds": round(time.process_time() - began, 1),
            **hardware(),
            **versions(),
            "commit": variants.revision(),
            "date": datetime.date.today().isoformat(),
        },
        "model": {
            "name": name,
            "sha256": shelf.sha256(shelf.FOLDER / f"{name}.safetensors"),
            "layers": ablated.layers,
            "heads": ablated.heads,
        },
        "data": {
            "split": SPLIT,
            "pairs": len(pairs),
            "translated": min(len(pairs), TRANSLATED),
            "words": sum(len(pair.target) + 1 for pair in pairs),  # `</s>` is one
            "fingerprint": datasets.fingerprint(pairs),
        },
        "rows": rows,
    }


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help=f"{QUICK} pairs: to see it run")
    parser.add_argument("--model", default=NAME, help="another that ships")
    parser.add_argument("--output", type=Path, default=RESULT)
    options = parser.parse_args(arguments)
    if options.output == RESULT and (options.quick or options.model != NAME):
        parser.error("a trial has no place in the file of whole runs: name another --output")
    torch.set_num_threads(1)
    pairs = datasets.translation(SPLIT)[: QUICK if options.quick else None]
    write(options.output, result(options.model, pairs, options.quick))
    print(f"written to {options.output}")


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    main()
