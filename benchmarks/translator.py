"""What attention brings to translation: the translators trained anew, several seeds each, and measured.

    python benchmarks/translator.py [--quick] [--only additive guided] [--again]

One row a (kind, seed): trained by the command that the row holds, on one thread, then measured on pairs that
nobody trained on. Time is process CPU time of the training. Measured are

- exact match: greedy translations that are right to the last word, on `test`, on `held_out` (combinations of
  words that training never showed) and on `long` (longer sentences than any in training);
- BLEU by sacrebleu, tokens as they are (`tokenize="none"`), case as it is, on the same; and by the length of
  the source, `test` and `long` together;
- alignment error rate (AER) of the weights with which the model reads the right translation, `</s>` counting
  as NULL (`alignment.links`); and what it would be if the column of `</s>` were dropped before the argmax;
- in "I love you" the place that each French word reads most: je I, t’ you, aime love are 0, 2, 1;
- for additive attention error rate and exact match at several temperatures of its softmax.

The medians over the seeds, and the baselines that read the same pairs, come after. Rows that are there
already, of the same command and the same pairs, are kept; --again trains them anew. Stopped, it goes on
where it was. Weights of seed 0 stay in benchmarks/work/, from where --ship copies them into the package.

Writes benchmarks/results/translator.json.
"""

import argparse
import datetime
import json
import os
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median

import sacrebleu
import torch

from attention_core import alignment, datasets
from attention_core.datasets import Pair
from attention_core.models import Translation, Translator, shelf, train
from attention_core.models.runs import hardware, versions
from attention_core.models.translator import error_rate, exact_match
from attention_core.models.translator.command import SIZE

try:
    import variants
except ImportError:  # imported from elsewhere
    from benchmarks import variants

RESULT = variants.ROOT / "benchmarks" / "results" / "translator.json"
WORK = variants.ROOT / "benchmarks" / "work"
BANDS = ((4, 7), (8, 11), (12, 15), (16, 19), (20, 24), (25, 29), (30, 40))  # source words
MIDDLE = (12, 19)
TEMPERATURES = (0.05, 0.25, 0.5, 1.0, 2.0)
SPLITS = ("test", "held_out", "long")

# Without attention an epoch takes half the time: there it gets more of them, and is not stopped early.
LONG = ["--epochs", "10"]

# By kind: what to say to the trainer beside the seed, and how many seeds.
KINDS: dict[str, tuple[list[str], int]] = {
    "additive": (["--attention", "additive", "--trace"], 3),
    "guided": (["--attention", "additive", "--guided", "1.0", "--trace"], 3),
    "none": (["--attention", "none", *LONG], 3),
    "general": (["--attention", "general"], 1),
    "dot": (["--attention", "dot"], 1),
    "concat": (["--attention", "concat"], 1),
    "local-m": (["--attention", "local-m"], 1),
    # In a window of D = 2 it found no places: exact match .07 after four epochs.
    "local-p": (["--attention", "local-p", "--half-width", "5", "--rate", "3e-3", "--epochs", "6"], 1),
    "hard": (["--attention", "hard"], 1),
    "none-64": (["--attention", "none", *LONG, "--width", "64", "--embedding", "32"], 1),
    "none-256": (["--attention", "none", *LONG, "--width", "256", "--embedding", "128"], 1),
}
QUICK = ["--size", "60", "--epochs", "1", "--width", "16", "--embedding", "8"]


# -- measuring ---------------------------------------------------------------------------------------------


def bleu(translations: Sequence[Translation], pairs: Sequence[Pair]) -> float:
    """Corpus BLEU, 0 to 100, of the tokens as they are."""
    said = [" ".join(one.target[:-1]) for one in translations]
    right = [" ".join(pair.target) for pair in pairs]
    return sacrebleu.corpus_bleu(said, [right], tokenize="none", force=True).score


def within(band: tuple[int, int], pairs: Sequence[Pair]) -> list[int]:
    """The pairs whose source has so many words."""
    return [row for row, pair in enumerate(pairs) if band[0] <= len(pair.source) <= band[1]]


def by_length(translations: Sequence[Translation], pairs: Sequence[Pair]) -> list[dict]:
    found = []
    for band in (*BANDS, MIDDLE):
        rows = within(band, pairs)
        if rows:
            those = [translations[row] for row in rows], [pairs[row] for row in rows]
            found.append(
                {
                    "from": band[0], "to": band[1], "sentences": len(rows), "bleu": bleu(*those),
                    "exact_match": exact_match(*those),
                }
            )  # fmt: skip
    return found


def without_end(weights: torch.Tensor) -> frozenset[tuple[int, int]]:
    """Links by an argmax that leaves `</s>` out, as some count: every word then links to some word."""
    best = weights[:-1, :-1].argmax(-1)
    return frozenset((row, int(column)) for row, column in enumerate(best))


def measured(model: Translator, pairs: dict[str, list[Pair]]) -> dict:
    said = {split: model.translate_tokens([pair.source for pair in pairs[split]]) for split in SPLITS}
    found = {
        "exact_match": {split: exact_match(said[split], pairs[split]) for split in SPLITS},
        "bleu": {split: bleu(said[split], pairs[split]) for split in SPLITS},
        "by_length": by_length([*said["test"], *said["long"]], [*pairs["test"], *pairs["long"]]),
    }
    if model.attention != "none":
        splits = SPLITS[:2]
        found["aer"] = {split: error_rate(model, pairs[split]).aer for split in splits}
        found["aer_without_end"] = {
            split: alignment.score([without_end(one) for one in model.align(pairs[split])], pairs[split]).aer
            for split in splits
        }
        found["i_love_you"] = model.translate("I love you").weights[:-1].argmax(-1).tolist()
    if model.attention == "additive":
        found["temperatures"] = [at_temperature(model, pairs["test"], t) for t in TEMPERATURES]
    return found


def at_temperature(model: Translator, pairs: Sequence[Pair], temperature: float) -> dict:
    said = model.translate_tokens([pair.source for pair in pairs], temperature=temperature)
    links = [alignment.links(one) for one in model.align(pairs, temperature=temperature)]
    return {
        "temperature": temperature,
        "exact_match": exact_match(said, pairs),
        "aer": alignment.score(links, pairs).aer,
    }


# -- a row -------------------------------------------------------------------------------------------------


def row(kind: str, seed: int, pairs: dict[str, list[Pair]], quick: bool, work: Path) -> dict:
    """Train and measure one; a training that was stopped goes on."""
    folder, name = work / f"{kind}-{seed}", f"translator-{kind}"
    words = words_of(kind, seed, quick)
    resume = ["--resume"] if (folder / f"{name}.checkpoint").exists() else []
    if train.main([*words, "--name", name, "--output", str(folder), *resume]) != 0:
        raise SystemExit(f"training {kind} with seed {seed} did not end; the same command goes on")
    card = json.loads((folder / f"{name}.json").read_text(encoding="utf-8"))
    path = folder / f"{name}.safetensors"
    history = card["training"]["history"]
    return {
        "kind": kind,
        "seed": seed,
        "command": command(kind, seed, quick),
        "commit": variants.revision(),
        "date": datetime.date.today().isoformat(),
        "fingerprint": card["data"]["fingerprint"],
        "sha256": shelf.sha256(path),
        "parameters": card["parameters"],
        "width": card["recipe"]["width"],
        "cpu_seconds": card["training"]["cpu_seconds"],
        "best_epoch": card["training"]["best_epoch"],
        "validation_loss": [entry["validation_loss"] for entry in history],
        "train_loss": [entry["train_loss"] for entry in history],
        **measured(Translator.load(path), pairs),
    }


def words_of(kind: str, seed: int, quick: bool) -> list[str]:
    return ["translator", *KINDS[kind][0], "--seed", str(seed), *(QUICK if quick else [])]


def command(kind: str, seed: int, quick: bool) -> str:
    """As the card has it."""
    words = [*words_of(kind, seed, quick), "--name", f"translator-{kind}"]
    return train.command_of(train.parser().parse_args(words))


def kept(rows: Sequence[dict], kind: str, seed: int, fingerprint: str, quick: bool) -> dict | None:
    """The row that is there already, of the same command and the same pairs."""
    for one in rows:
        if (one["command"], one["fingerprint"]) == (command(kind, seed, quick), fingerprint):
            return one
    return None


# -- baselines ---------------------------------------------------------------------------------------------


def baselines(pairs: dict[str, list[Pair]]) -> dict[str, dict[str, float | str]]:
    """Error rates of aligners that translate nothing, on the same pairs; IBM models learn from `train`."""
    aligners: dict[str, Callable[[list[Pair]], list]] = {
        "oracle": alignment.oracle,
        "diagonal": alignment.diagonal,
        "IBM 1": alignment.IBM1().fit(pairs["train"]).align,
        "IBM 2": alignment.IBM2().fit(pairs["train"]).align,
        "eflomal": lambda given: alignment.eflomal(given, training=pairs["train"]),
    }
    found: dict[str, dict[str, float | str]] = {}
    for name, align in aligners.items():
        try:
            found[name] = {
                split: alignment.score(align(pairs[split]), pairs[split]).aer for split in SPLITS[:2]
            }
        except ImportError as error:
            found[name] = {"skipped": str(error)}
    return found


# -- what the rows say -------------------------------------------------------------------------------------


def summary(rows: Sequence[dict]) -> dict[str, dict]:
    """By kind: medians over its seeds, and how many they are."""
    found = {}
    for kind in dict.fromkeys(one["kind"] for one in rows):
        own = [one for one in rows if one["kind"] == kind]
        found[kind] = {"seeds": len(own), "cpu_seconds": median(one["cpu_seconds"] for one in own)}
        for what in ("exact_match", "bleu", "aer", "aer_without_end"):
            if what in own[0]:
                found[kind][what] = {split: median(one[what][split] for one in own) for split in own[0][what]}
        found[kind]["by_length"] = [
            {
                "from": band["from"],
                "to": band["to"],
                "bleu": median(one["by_length"][number]["bleu"] for one in own),
                "exact_match": median(one["by_length"][number]["exact_match"] for one in own),
            }
            for number, band in enumerate(own[0]["by_length"])
        ]
        if "temperatures" in own[0]:
            found[kind]["temperatures"] = [
                {
                    "temperature": at["temperature"],
                    "exact_match": median(one["temperatures"][number]["exact_match"] for one in own),
                    "aer": median(one["temperatures"][number]["aer"] for one in own),
                }
                for number, at in enumerate(own[0]["temperatures"])
            ]
    return found


def how(quick: bool) -> dict:
    return {
        "quick": quick,
        "time": "process CPU seconds of training and validating, one thread",
        "bleu": f"sacrebleu {sacrebleu.__version__}, tokenize='none'",
        **hardware(),
        **versions(),
        "commit": variants.revision(),
        "date": datetime.date.today().isoformat(),
    }


# -- all of it ---------------------------------------------------------------------------------------------


def write(path: Path, content: dict) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    text = json.dumps(content, indent=1, ensure_ascii=False) + "\n"
    shelf.write_atomically(path, lambda temporary: temporary.write_text(text, encoding="utf-8"))


def ship(work: Path, folder: Path) -> None:
    """Copy the weights of seed 0, with their cards and traces, to where `models.load` finds them."""
    for kind in KINDS:
        for path in sorted((work / f"{kind}-0").glob(f"translator-{kind}.*")):
            if path.suffix != ".checkpoint" and not kind.startswith("none-"):
                shutil.copyfile(path, folder / path.name)
                print(f"shipped {path.name}")


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="tiny models, one seed: to see it run")
    parser.add_argument("--only", nargs="+", choices=list(KINDS), default=list(KINDS))
    parser.add_argument("--again", action="store_true", help="train rows anew that are there already")
    parser.add_argument("--ship", action="store_true", help="only copy weights of seed 0 into the package")
    parser.add_argument("--output", type=Path, default=RESULT)
    parser.add_argument("--work", type=Path, help="folder for weights, benchmarks/work if not said")
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    options.work = options.work or WORK / ("quick" if options.quick else "")
    if options.ship:
        ship(options.work, shelf.FOLDER)
        return
    pairs = {split: datasets.translation(split)[: 20 if options.quick else None] for split in SPLITS}
    pairs["train"] = datasets.translation("train", int(QUICK[1]) if options.quick else SIZE)
    fingerprint = datasets.fingerprint(pairs["train"])
    result = json.loads(options.output.read_text(encoding="utf-8")) if options.output.exists() else {}
    rows = result.get("rows", [])
    for kind, seed in ordered(options.only, options.quick):
        one = None if options.again else kept(rows, kind, seed, fingerprint, options.quick)
        if one is None:
            print(f"-- {kind}, seed {seed}", flush=True)
            one = row(kind, seed, pairs, options.quick, options.work)
        rows = [old for old in rows if (old["kind"], old["seed"]) != (kind, seed)] + [one]
        rows.sort(key=lambda old: (list(KINDS).index(old["kind"]), old["seed"]))
        result = {
            "how": how(options.quick),
            "baselines": result.get("baselines", {}),
            "summary": summary(rows),
        }
        write(options.output, result | {"rows": rows})
    if options.again or not result["baselines"]:
        result["baselines"] = baselines(pairs)
        write(options.output, result | {"rows": rows})
    print(f"written to {options.output}")


def ordered(kinds: Sequence[str], quick: bool) -> list[tuple[str, int]]:
    """Seed 0 of every kind first: those ship."""
    asked = [(kind, seed) for kind in kinds for seed in range(1 if quick else KINDS[kind][1])]
    return sorted(asked, key=lambda one: one[1])


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    main()
