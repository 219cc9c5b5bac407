"""Do the maps explain? Every method of `explain.METHODS` on three trained vision transformers, measured.

    python benchmarks/explain.py [--table] [--quick] [--only chefer rollout] [--seeds 0] [--again]

One row a (seed, method, metric): the mean over images with its 95 % bootstrap interval. The models are
those of seeds 0, 1 and 2, trained alike; weights that are not there are trained first, some minutes each.

- Images of one object: the pointing game, mass and rank accuracy, AUC against the exact mask; and what is
  left of the class as patches are dropped, how soon it comes as they are added (deletion, insertion).
- Images of two objects, each asked for in turn, and the two averaged before any interval: the
  class-discrimination AUC (of the patches that an object covers by more than half, and of all its pixels),
  the correlation of the two maps, contrastive deletion.
- Some of the first again: how alike the map stays as the model loses what it learnt, from the head down; and
  methods that look at one layer, at each layer.
- CPU milliseconds an image, one thread.
- A model trained with planted tags, on images in which only the tag makes the class and in which the model
  loses it with the tag: the map's mass on the tag, and whether it peaks there.

Beside the methods stand "model", what it gets right and exact identities, and "permuted attention", what it
says when CLS reads the patches of the last block by shuffled weights. Attention flow takes seconds an image
and is measured on few.

Medians over the seeds, with an interval for another model and other images, come after. What was measured of
the same weights, images and code is kept in benchmarks/work/: a run that was stopped goes on there, and a
whole one takes over what parts of it (--only, --seeds, to another --output) measured; --again measures anew.
--table prints methods by metrics from the file and measures nothing.

Writes benchmarks/results/explain.json.
"""

import argparse
import ast
import copy
import datetime
import hashlib
import json
import os
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from statistics import median

import torch
from torch import Tensor

from attention_core import explain
from attention_core.datasets import Scenes, shapes
from attention_core.datasets.shapes import TAGGED, fingerprint
from attention_core.explain import attention, faithfulness
from attention_core.models import ViT, shelf, train
from attention_core.models.runs import hardware, versions

try:
    import variants
except ImportError:  # imported from elsewhere
    from benchmarks import variants

RESULT = variants.ROOT / "benchmarks" / "results" / "explain.json"
WORK = variants.ROOT / "benchmarks" / "work" / "explain"
SEEDS = (0, 1, 2)
COUNTS = {
    "single": 104, "pair": 104, "curves": 40, "test": 500, "randomized": 10, "timed": 25, "shortcut": 260,
}  # fmt: skip
QUICK = {"single": 5, "pair": 5, "curves": 2, "test": 12, "randomized": 2, "timed": 10, "shortcut": 16}
SLOW = {"flow": 20}  # that many times fewer images, one map for both classes, and no randomised models
REFUSING = ("gradcam_literal",)  # whose gradients are 0: to be an error, not a map
SMALL = ["--images", "64", "--epochs", "1", "--width", "16", "--depth", "2", "--heads", "2"]  # quick
IMAGE_SEED = 1  # of the images: training stops by those of seed 0 of "shortcut_test"
STEPS = 8  # of insertion and deletion, eight patches each
SHUFFLES = 20
OWN = 0.501  # share of a patch that makes it an object's own: above half, so that no patch is of two
BY_LAYER = ("raw", "gradcam", "cdam", "legrad")  # methods that look at one layer, if told to
PART = 40  # images at once
PLAIN, TAGS = "shapes-vit", "shapes-vit-shortcut"
EXPERIMENTS = ("model", "permuted attention")

Found = dict[str, list[float]]  # by metric: a number an image


# -- a method on images ------------------------------------------------------------------------------------


def maps_of(model: ViT, images: Tensor, target: Tensor, method: str, **options) -> Tensor:
    """Patch maps, some images at a time: gradients keep the graph of all."""
    sensitive = explain.METHODS[method].class_sensitive
    parts = zip(images.split(PART), target.split(PART), strict=True)
    found = [explain.explain(model, x, t if sensitive else None, method, **options) for x, t in parts]
    return torch.cat([one.values for one in found])


def on_single(model: ViT, method: str, scenes: Scenes, curves: int) -> Found:
    """Patches are dropped from the first `curves` images."""
    target = one_of(scenes.labels)
    masks = scenes.masks[torch.arange(len(scenes)), target]
    maps = maps_of(model, scenes.images, target, method)
    some = {"images": scenes.images[:curves], "maps": maps[:curves], "target": target[:curves]}
    found = {
        "pointing game": faithfulness.pointing_game(maps, masks),
        "mass accuracy": faithfulness.mass_accuracy(maps, masks),
        "rank accuracy": faithfulness.rank_accuracy(maps, masks),
        "AUC": faithfulness.auc(maps, masks),
        "deletion": faithfulness.deletion(model, **some, steps=STEPS),
        "insertion": faithfulness.insertion(model, **some, steps=STEPS),
    }
    return plain(found)


def on_pairs(model: ViT, method: str, scenes: Scenes, curves: int) -> Found:
    """The mean of the two questions: they hang together, so they are one number an image."""
    first, second = both_of(scenes.labels)
    one = maps_of(model, scenes.images, first, method)
    other = one if method in SLOW else maps_of(model, scenes.images, second, method)  # those know no class
    contrast = sum(
        faithfulness.contrastive_deletion(
            model, scenes.images[:curves], maps[:curves], a[:curves], b[:curves], steps=STEPS
        )
        for maps, a, b in ((one, first, second), (other, second, first))
    )
    found = {
        "class AUC": told_apart(one, other, scenes),
        "class AUC of pixels": told_apart(one, other, scenes, None),
        "A/B correlation": faithfulness.correlation(one, other),
        "contrastive deletion": contrast / 2,
    }
    return plain(found)


def told_apart(one: Tensor, other: Tensor, scenes: Scenes, share: float | None = OWN) -> Tensor:
    """The class AUC, in the mean of an image's two maps, of patches that an object covers by `share`.

    Without a share every pixel counts, and with it the many patches that an object only touches. Pairs in
    which an object covers no patch by so much are left out.
    """
    rows = torch.arange(len(scenes))
    a, b = (scenes.masks[rows, target] for target in both_of(scenes.labels))
    if share is not None:
        a, b = (faithfulness.patch_masks(mask, tuple(one.shape[1:])) >= share for mask in (a, b))
    there = a.flatten(1).any(1) & b.flatten(1).any(1)
    one, other, a, b = (each[there] for each in (one, other, a, b))
    return (faithfulness.class_auc(one, a, b) + faithfulness.class_auc(other, b, a)) / 2


def on_layers(model: ViT, method: str, single: Scenes, pairs: Scenes) -> Found:
    """A class-blind map by where the object is, the others by which object was asked for."""
    found, target = {}, one_of(single.labels)
    masks = single.masks[torch.arange(len(single)), target]
    for layer in range(len(model.blocks)):
        if explain.METHODS[method].class_sensitive:
            maps = [maps_of(model, pairs.images, t, method, layers=layer) for t in both_of(pairs.labels)]
            found[f"class AUC at layer {layer}"] = told_apart(*maps, pairs)
        else:
            maps = maps_of(model, single.images, target, method, layers=layer)
            found[f"AUC at layer {layer}"] = faithfulness.auc(maps, masks)
    return plain(found)


def on_randomized(model: ViT, method: str, scenes: Scenes) -> Found:
    """From the head down, stage by stage; and all at once but for the last block."""
    target, last = one_of(scenes.labels), len(model.blocks) - 1
    others = [name for name, _ in model.named_parameters() if not name.startswith(f"blocks.{last}.")]
    found = {}
    for word, stages in (("to", None), ("but for", {f"block {last}": others})):
        alike = faithfulness.randomization_cascade(
            model,
            scenes.images,
            lambda other, images: maps_of(other, images, target, method),
            stages=stages,
        )
        found |= {f"randomized {word} {stage}": values for stage, values in alike.items()}
    return plain(found)


def on_tags(model: ViT, method: str, scenes: Scenes) -> Found:
    target = torch.full((len(scenes),), TAGGED)
    mass, peak = faithfulness.shortcut(maps_of(model, scenes.images, target, method), scenes.tags)
    return plain({"tag mass": mass, "tag peak": peak})


def timed(model: ViT, method: str, scenes: Scenes) -> Found:
    """By fives of the images; the first five warm up."""
    parts = list(zip(scenes.images.split(5), one_of(scenes.labels).split(5), strict=True))
    found = []
    for images, target in parts:
        start = time.process_time()
        maps_of(model, images, target, method)
        found.append(1000 * (time.process_time() - start) / len(images))
    return {"CPU ms": found[1:] or found}


def one_of(labels: Tensor) -> Tensor:
    """The first class of each image."""
    return labels.float().argmax(1)


def both_of(labels: Tensor) -> tuple[Tensor, Tensor]:
    """The two classes of each image of a pair."""
    return one_of(labels), labels.shape[1] - 1 - labels.flip(1).float().argmax(1)


def plain(found: dict[str, Tensor]) -> Found:
    return {metric: values.tolist() for metric, values in found.items()}


# -- the model by itself -----------------------------------------------------------------------------------


@torch.no_grad()
def accuracy(model: ViT, scenes: Scenes) -> Found:
    right = (model(scenes.images) > 0) == scenes.labels
    return plain({"exact match": right.all(1).double(), "label accuracy": right.double().mean(1)})


def identities(model: ViT, scenes: Scenes) -> Found:
    """How far they are from exact, in float64, at worst: one number each."""
    model, images, target = copy.deepcopy(model).double(), scenes.images.double(), one_of(scenes.labels)
    whole, value, key = (maps_of(model, images, target, f"cdam{part}") for part in ("", "_value", "_key"))
    weights = torch.stack(explain.capture(model, images).weights, 1).detach()
    rollout = attention.rollout(weights)
    errors = {
        "CDAM less its two paths": whole - value - key,
        "attention rows less 1": weights.sum(-1) - 1,
        "rollout rows less 1": rollout.sum(-1) - 1,
    }
    return {name: [float(error.abs().max())] for name, error in errors.items()}


@torch.no_grad()
def shuffled(model: ViT, scenes: Scenes) -> Found:
    """How much the probability of what is there changes, and whether the answer stays: means over draws."""
    before = model(scenes.images)
    change, kept = [], []
    for seed in range(SHUFFLES):
        after = faithfulness.permuted_attention(model, scenes.images, seed=seed)
        moved = (torch.sigmoid(after) - torch.sigmoid(before)).abs() * scenes.labels
        change.append(moved.sum(1) / scenes.labels.sum(1))
        kept.append(((after > 0) == (before > 0)).all(1))
    return plain(
        {"change of p": torch.stack(change).mean(0), "answer kept": torch.stack(kept).double().mean(0)}
    )


@torch.no_grad()
def needed(model: ViT, scenes: Scenes) -> tuple[Tensor, Tensor]:
    """The images in which only the tag makes the class, and those of them whose class goes with the tag."""
    only = scenes.tags.flatten(1).any(1) & ~scenes.masks[:, TAGGED].flatten(1).any(1)
    tagged = faithfulness.patch_masks(scenes.tags, model.grid).flatten(1) > 0
    there = model(scenes.images)[:, TAGGED] > 0
    gone = model(scenes.images, keep=~tagged)[:, TAGGED] < 0
    return only, only & there & gone


# -- rows --------------------------------------------------------------------------------------------------


def measured(model: ViT, method: str, scenes: dict[str, Scenes], curves: int) -> Found | dict[str, str]:
    """All of one method on one model; of a method that is to refuse, what it says."""
    if method == "model":
        return accuracy(model, scenes["test"]) | identities(model, scenes["timed"])
    if method == "permuted attention":
        return shuffled(model, scenes["pair"])
    some = {name: few(those, method) for name, those in scenes.items()}
    single, pair = some["single"], some["pair"]
    if method in REFUSING:
        return refusal(model, method, single)
    found = on_single(model, method, single, curves) | on_pairs(model, method, pair, curves)
    if method in BY_LAYER:
        found |= on_layers(model, method, single, pair)
    if method not in SLOW:
        found |= on_randomized(model, method, some["randomized"])
    return found | timed(model, method, some["timed"])


def measured_tags(model: ViT, method: str, scenes: dict[str, Scenes], curves: int) -> Found | dict[str, str]:
    """All of one method on the model that was trained with tags."""
    only, chosen = needed(model, scenes["shortcut"])
    if method == "model":
        return {"tag needed": chosen[only].double().tolist()}
    some = few(scenes["shortcut"][chosen if chosen.any() else only], method)  # a hasty training needs none
    return refusal(model, method, some) if method in REFUSING else on_tags(model, method, some)


def few(scenes: Scenes, method: str) -> Scenes:
    """All, or of a slow method the first few."""
    return scenes[: max(1, len(scenes) // SLOW.get(method, 1))]


def refusal(model: ViT, method: str, scenes: Scenes) -> dict[str, str]:
    try:
        maps_of(model, scenes.images, one_of(scenes.labels), method)
    except ValueError as error:
        return {"error": str(error)}
    raise RuntimeError(f"{method} was to refuse, and gave maps")


def rows_of(model: str, seed: int, method: str, sha256: str, kept: dict) -> list[dict]:
    """One row a metric; `kept` is what was measured, with commit and date."""
    about = {"model": model, "seed": seed, "method": method}
    origin = {"sha256": sha256, "commit": kept["commit"], "date": kept["date"]}
    if "error" in kept["found"]:
        return [{**about, "metric": "error", "says": kept["found"]["error"], **origin}]
    return [
        {**about, "metric": metric, **interval._asdict(), "images": len(values), **origin}
        for metric, values in kept["found"].items()
        for interval in [faithfulness.interval(values)]
    ]


def summary(rows: Sequence[dict]) -> dict[str, dict[str, float]]:
    """By method and metric: the median of the seeds' means."""
    found: dict[str, dict[str, float]] = {}
    for row in rows:
        if "mean" in row:
            own = [r["mean"] for r in rows if (r["method"], r["metric"]) == (row["method"], row["metric"])]
            found.setdefault(row["method"], {})[row["metric"]] = median(own)
    return found


def intervals(tables: dict[tuple[str, str], list[list[float]]]) -> dict[str, dict[str, list[float]]]:
    """By method and metric, where there are several models: for another one and other images."""
    found: dict[str, dict[str, list[float]]] = {}
    for (method, metric), values in tables.items():
        if len(values) > 1:
            found.setdefault(method, {})[metric] = list(faithfulness.interval(values)[1:])
    return found


# -- keeping what was measured -----------------------------------------------------------------------------


def source() -> str:
    """A fingerprint of the code that makes and judges the maps, whatever its comments and docstrings say."""
    code = []
    for path in sorted((variants.ROOT / "attention_core" / "explain").rglob("*.py")):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        for node in ast.walk(tree):
            if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
                node.value.value = ""
        code.append(ast.dump(tree))
    return hashlib.sha256("\n".join(code).encode()).hexdigest()


def kept(work: Path, key: Sequence[object], measure: Callable[[], dict], again: bool) -> dict:
    """What was measured under this key before, or is now."""
    name = hashlib.sha256(json.dumps(key).encode()).hexdigest()[:24]
    path = work / f"{name}.json"
    if path.exists() and not again:
        return json.loads(path.read_text(encoding="utf-8"))
    content = {
        "found": measure(),
        "commit": variants.revision(),
        "date": datetime.date.today().isoformat(),
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    text = json.dumps(content)
    shelf.write_atomically(path, lambda temporary: temporary.write_text(text, encoding="utf-8"))
    return content


def write(path: Path, content: dict) -> None:
    """As JSON with a row a line."""
    head = json.dumps({name: value for name, value in content.items() if name != "rows"}, indent=1)
    rows = ",\n".join("  " + json.dumps(row, ensure_ascii=False) for row in content["rows"])
    text = head.removesuffix("\n}") + ',\n "rows": [\n' + rows + "\n ]\n}\n"
    path.parent.mkdir(parents=True, exist_ok=True)
    shelf.write_atomically(path, lambda temporary: temporary.write_text(text, encoding="utf-8"))


# -- the table ---------------------------------------------------------------------------------------------

COLUMNS = {
    "point": "pointing game", "mass": "mass accuracy", "rank": "rank accuracy", "AUC": "AUC",
    "del": "deletion", "ins": "insertion", "cAUC": "class AUC", "pix": "class AUC of pixels",
    "A/B": "A/B correlation",
    "contr": "contrastive deletion", "head": "randomized to head", "all": "randomized to embedding",
    "tag": "tag mass", "peak": "tag peak", "ms": "CPU ms",
}  # fmt: skip


def table(result: dict) -> str:
    """Methods by metrics, medians over the seeds; a dot where there is none."""
    lines = [f"{'':22}" + "".join(f"{short:>7}" for short in COLUMNS)]
    for method in explain.METHODS:
        found = result["summary"].get(method, {})
        numbers = [cell(metric, found.get(metric)) for metric in COLUMNS.values()]
        lines.append(f"{method:22}" + "".join(f"{number:>7}" for number in numbers))
    for method in ("model", "permuted attention"):
        lines += [
            f"{method}: {name} {value:.3g}" for name, value in result["summary"].get(method, {}).items()
        ]
    return "\n".join(lines)


def cell(metric: str, value: float | None) -> str:
    if value is None:
        return "."
    return f"{value:.0f}" if metric == "CPU ms" and value >= 10 else f"{value:.2f}"


def trained(name: str, seed: int, work: Path, quick: bool) -> tuple[ViT, str]:
    """A model with its weights' sha256: one that ships, or is there from before, or is trained now."""
    name += f"-{seed}" if seed else ""
    path = next((f for f in places(name, work, quick) if f.exists()), None)
    if path is None:
        path = work / f"{name}.safetensors"
        words = ["vit", "--seed", str(seed), "--name", name, "--output", str(work), *(SMALL if quick else [])]
        words += ["--split", "shortcut"] if name.startswith(TAGS) else []
        words += ["--resume"] if path.with_suffix(".checkpoint").exists() else []
        if train.main(words) != 0:
            raise SystemExit(f"training {name} did not end; the same command goes on")
    return ViT.load(path).eval(), shelf.sha256(path)


def places(name: str, work: Path, quick: bool) -> list[Path]:
    folders = [work] if quick else [shelf.FOLDER, work]
    return [folder / f"{name}.safetensors" for folder in folders]


# -- all of it ---------------------------------------------------------------------------------------------


def drawn(counts: dict[str, int]) -> dict[str, Scenes]:
    """The images; those that are randomized and timed are the first of one object."""
    found = {split: shapes(split, counts[split], seed=IMAGE_SEED) for split in ("single", "pair", "test")}
    found["shortcut"] = shapes("shortcut_test", counts["shortcut"], seed=IMAGE_SEED)
    found |= {name: found["single"][: counts[name]] for name in ("randomized", "timed")}
    return found


def jobs(only: Sequence[str], seeds: Sequence[int]) -> Iterator[tuple[str, int, str]]:
    """Model, seed and method, the plain models first."""
    asked = [method for method in (*explain.METHODS, *EXPERIMENTS) if method in only]
    yield from ((PLAIN, seed, method) for seed in seeds for method in asked)
    yield from ((TAGS, 0, method) for method in asked if method != "permuted attention")


def how(options: argparse.Namespace, counts: dict[str, int]) -> dict:
    return {
        "quick": options.quick,
        "images": counts,
        "slow": SLOW,
        "steps": STEPS,
        "shuffles": SHUFFLES,
        "level": 0.95,
        "time": "process CPU milliseconds an image in batches of five, one thread",
        **hardware(),
        **versions(),
        "commit": variants.revision(),
        "date": datetime.date.today().isoformat(),
    }


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    every = [*explain.METHODS, *EXPERIMENTS]
    parser.add_argument("--table", action="store_true", help="print what the file says, measure nothing")
    parser.add_argument("--quick", action="store_true", help="small training, few images: to see it run")
    parser.add_argument("--seeds", nargs="+", type=int, choices=SEEDS, default=list(SEEDS), metavar="SEED")
    parser.add_argument("--only", nargs="+", choices=every, default=every, metavar="METHOD")
    parser.add_argument("--again", action="store_true", help="measure anew what is kept already")
    parser.add_argument("--output", type=Path, default=RESULT)
    parser.add_argument("--work", type=Path, help="folder for weights and what is kept")
    options = parser.parse_args(arguments)
    if options.output == RESULT and (options.quick or options.only != every or options.seeds != list(SEEDS)):
        parser.error("part of a run has no place in the file of whole ones: name another --output")
    torch.set_num_threads(1)
    if not options.table:
        write(options.output, result(options))
    print(table(json.loads(options.output.read_text(encoding="utf-8"))))


def result(options: argparse.Namespace) -> dict:
    counts = QUICK if options.quick else COUNTS
    work = options.work or WORK / ("quick" if options.quick else "")
    scenes = drawn(counts)
    prints = {name: fingerprint(some) for name, some in scenes.items()}
    rows, tables = [], {}
    for name, seed, method in jobs(options.only, options.seeds[: 1 if options.quick else None]):
        model, sha256 = trained(name, seed, work, options.quick)
        measure = measured if name == PLAIN else measured_tags
        settings = [SLOW, STEPS, SHUFFLES, BY_LAYER, OWN, counts["curves"]]
        print(f"-- {name}, seed {seed}: {method}", flush=True)
        one = kept(
            work,
            [name, method, sha256, source(), prints, settings],
            partial(measure, model, method, scenes, counts["curves"]),
            options.again,
        )
        rows += rows_of(name, seed, method, sha256, one)
        if "error" not in one["found"]:
            for metric, values in one["found"].items():
                tables.setdefault((method, metric), []).append(values)
    head = {"how": how(options, counts), "fingerprints": prints, "summary": summary(rows)}
    return {**head, "intervals": intervals(tables), "rows": rows}


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    main()
