"""The families that variants.py measures: what is called, on which inputs, at each length.

Batch 1, 8 heads of width 64; modules have width 512 and bring their projections. A family whose function
the library lacks raises ImportError or AttributeError when it is made.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from math import log2

import torch
from torch.nn.functional import scaled_dot_product_attention

HEADS, WIDTH = 8, 64
BASELINE = "sdpa"


@dataclass(frozen=True)
class Family:
    """One line of the charts: `make(n)` gives the call to measure, its inputs already in memory."""

    title: str
    make: Callable[[int], Callable[[], object]]
    note: str = ""
    comparable: bool = True  # with the baseline: as many heads of the same width


def library(name: str):
    """A module of the library, or one function of it: `pipeline.attend`."""
    module, _, attribute = name.partition(".")
    return getattr(import_module(f"attention_core.{module}"), attribute)


def heads(n: int, count: int = 3) -> tuple[torch.Tensor, ...]:
    return torch.randn(count, 1, HEADS, n, WIDTH).unbind()


def rates(n: int) -> torch.Tensor:
    return torch.rand(1, HEADS, n)


def sides(n: int) -> tuple[int, int]:
    """Height and width of an image of n pixels: a square, or two of them side by side."""
    height = 2 ** (int(log2(n)) // 2)
    return height, n // height


def sdpa(n: int):
    return partial(scaled_dot_product_attention, *heads(n), is_causal=True)


def attend(n: int, *, mask: str = "", **options):
    if mask == "causal":
        options["mask"] = library("masks.causal")(n, n)
    if mask == "window":
        options["mask"] = library("masks.window")(n, n, 64)
    return partial(library("pipeline.attend"), *heads(n), **options)


def additive(n: int):
    score = library("scores.additive")
    weights = dict(w_query=torch.randn(WIDTH, WIDTH), w_key=torch.randn(WIDTH, WIDTH), v=torch.randn(WIDTH))
    return attend(n, score=partial(score, **weights))


def normalised(n: int, name: str, **options):
    return attend(n, normalize=partial(library(f"normalizers.{name}"), **options))


def recurrent(n: int, name: str, *, gates: int = 0):
    query, key, value = heads(n)
    key = torch.nn.functional.normalize(key, dim=-1)  # the delta rules need it, and it costs nothing here
    more = [rates(n) for _ in range(gates)]
    return partial(library(f"linear.{name}"), query, key, value, *more, mode="chunked")


def performer(n: int):
    projection = library("linear.orthogonal_features")(128, WIDTH)
    return partial(library("linear.performer"), *heads(n), projection=projection, mode="chunked")


def reformer(n: int):
    shared, value = heads(n, 2)
    rotations = torch.randn(4, WIDTH, max(n // 128, 1))
    return partial(library("approximate.reformer"), shared, value, rotations=rotations, chunk=64)


def linformer(n: int):
    mixing = torch.randn(2, min(64, n), n) / n**0.5
    return partial(library("approximate.linformer"), *heads(n), *mixing.unbind())


def over_sequence(n: int, name: str, *arguments, **options):
    """A module that takes (batch, n, width)."""
    module = library(name)(HEADS * WIDTH, HEADS, *arguments, **options).eval()
    return partial(module, torch.randn(1, n, HEADS * WIDTH))


def perceiver(n: int):
    module = library("sets.PerceiverBlock")(HEADS * WIDTH, HEADS).eval()
    return partial(module, torch.randn(1, 64, HEADS * WIDTH), torch.randn(1, n, HEADS * WIDTH))


def over_pixels(n: int, name: str):
    module = library(name)(WIDTH).eval()
    return partial(module, torch.randn(1, WIDTH, *sides(n)))


LATENT = dict(latent_width=128, head_width=WIDTH, rope_width=32)
FAMILIES = {
    "sdpa": Family("PyTorch SDPA", sdpa, "fused, causal"),
    "scaled_dot": Family("dot product", attend),
    "masked": Family("causal mask", partial(attend, mask="causal")),
    "additive": Family("additive", additive, "64 hidden units"),
    "sparsemax": Family("sparsemax", partial(normalised, name="sparsemax")),
    "entmax": Family("1.5-entmax", partial(normalised, name="entmax", alpha=1.5)),
    "linear": Family("linear", partial(recurrent, name="linear_attention")),
    "performer": Family("performer", performer, "128 orthogonal features"),
    "fast_weights": Family("fast weights", partial(recurrent, name="fast_weights")),
    "delta_rule": Family("delta rule", partial(recurrent, name="delta_rule", gates=1)),
    "gated_delta_rule": Family("gated delta", partial(recurrent, name="gated_delta_rule", gates=2)),
    "reformer": Family("reformer", reformer, "4 rounds, chunks of 64, n/64 buckets"),
    "linformer": Family("linformer", linformer, "rank 64"),
    "isab": Family("induced set", partial(over_sequence, name="sets.ISAB", inducing=64), "64 inducing"),
    "perceiver": Family("perceiver", perceiver, "64 latents"),
    "window": Family("window mask", partial(attend, mask="window"), "64 keys of all n"),
    "latent": Family("latent", partial(over_sequence, name="latent.LatentAttention", **LATENT), "latent 128"),
    "non_local": Family(
        "non-local", partial(over_pixels, name="gates.NonLocal"), "n pixels, 1 head", comparable=False
    ),
    "criss_cross": Family(
        "criss-cross", partial(over_pixels, name="gates.CrissCross"), "n pixels, 1 head", comparable=False
    ),
}
