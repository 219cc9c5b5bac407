"""Roofline: what does tiling save, operations or bytes, and when does that save time?"""

from collections.abc import Sequence

import ipywidgets as widgets
import numpy as np
import torch
import traitlets

from attention_core.figures import base, static
from attention_core.figures.roofline_static import (
    ARITHMETIC,
    COLS,
    GPU,
    GROWTH,
    TIMES,
    Counts,
    curves,
    describe,
    facts,
    roof,
    source,
    times,
)
from attention_core.figures.static import Markup, h, section, setting
from attention_core.flash import cost

KEYS = ("all", "causal")
LIMITS = {"n": (7, 20), "d": (4, 8), "rows": (4, 10)}  # powers of two
# Dense bfloat16: the sheets of the last three print the rate with sparsity, which is twice as high.
# Fast memory: shared memory by compute capability (nvidia2024cuda), and 65536 registers of 4 bytes.
GPUS = (
    GPU("A100 SXM 80 GB", 312e12, 2039e9, (164 + 256) * 1024, "nvidia2022a100"),
    GPU("H100 SXM", 1979e12 / 2, 3.35e12, (228 + 256) * 1024, "nvidia2023h100"),
    GPU("H200 SXM", 1979e12 / 2, 4.8e12, (228 + 256) * 1024, "nvidia2024h200"),
    GPU("L4", 242e12 / 2, 300e9, (100 + 256) * 1024, "nvidia2023l4"),
)


def counts(n: int, d: int, rows: int, causal: bool) -> dict[str, Counts]:
    """`flash.cost` of one head in bfloat16: standard, tiled, and the least that any schedule must move.

    The least is that of a single tile which holds all queries, so that keys and values are read once.
    """
    tile = dict(cols=COLS, causal=causal, dtype=torch.bfloat16)
    made = {
        "standard": cost.standard(n, n, d, dtype=torch.bfloat16),
        "tiled": cost.tiled(n, n, d, rows=rows, **tile),
    }
    least = cost.tiled(n, n, d, rows=n, **tile)._replace(flops=made["tiled"].flops)
    return {name: Counts(c.flops, c.bytes, c.sram) for name, c in (made | {"once": least}).items()}


class RooflineView(base.View):
    _esm = base.module("roofline")
    _css = base.style("roofline")
    gpus = traitlets.List(traitlets.Dict()).tag(sync=True)
    n = traitlets.Float(4096.0).tag(sync=True)
    d = traitlets.Float(128.0).tag(sync=True)
    rows = traitlets.Float(128.0).tag(sync=True)
    causal = traitlets.Int(0).tag(sync=True)
    gpu = traitlets.Int(1).tag(sync=True)


class Roofline(base.Figure):
    """Operations and bytes of the standard and the tiled schedule at every length, under a GPU's roof.

    All counts are whole numbers below 2**53 and so exact in JavaScript too.

    Parameters
    ----------
    n, d, rows
        Tokens (128 to 2**20), head width (16 to 256), rows of a tile of queries (16 to 1024).
    causal
        Whether a query reads only keys up to its own.
    gpu
        Name of one of `gpus`.
    gpus
        `GPU` records of your own in place of the four published ones.
    """

    name = "roofline"
    title = "Roofline: what does tiling save?"
    question = (
        "Operations or bytes? Predict which of the two falls, how fast each grows with n, and who waits."
    )

    def __init__(
        self,
        n: int = 4096,
        d: int = 128,
        rows: int = 128,
        *,
        causal: bool = False,
        gpu: str | None = None,
        gpus: Sequence[GPU] = GPUS,
    ):
        given = {"n": n, "d": d, "rows": rows}
        for name, value in given.items():
            low, high = LIMITS[name]
            base.whole(name, value, 2**low, 2**high)
        self.gpus = checked(gpus)
        names = [g.name for g in self.gpus]
        if gpu is not None and gpu not in names:
            raise ValueError(f"`gpu` must be one of {', '.join(map(repr, names))}; got {gpu!r}")
        slider = lambda label, name: base.LogSlider(  # noqa: E731
            value=given[name], base=2, min=LIMITS[name][0], max=LIMITS[name][1], step=1, readout_format="d",
            description=label,
        )  # fmt: skip
        self.n, self.d = slider("Length n", "n"), slider("Head width d", "d")
        self.rows = slider("Queries a tile r", "rows")
        self.causal = widgets.ToggleButtons(options=KEYS, index=int(causal), description="Keys")
        first = gpu or (names[1] if gpus is GPUS else names[0])
        self.gpu = widgets.Dropdown(options=names, value=first, description="GPU")
        view = RooflineView(gpus=[g.sent for g in self.gpus])
        super().__init__(view, (self.n, self.d, self.rows, self.causal, self.gpu))
        for name in ("n", "d", "rows"):
            self.link(getattr(self, name), "value", view, name)
        self.link(self.causal, "index", view, "causal")
        self.link(self.gpu, "index", view, "gpu")
        self.settle()

    @property
    def at(self) -> tuple[int, int, int, bool]:
        """n, d, rows and causal, whole even where a slider is set from Python to something between."""
        sizes = (min(max(round(getattr(self, name).value), 2**low), 2**high)
                 for name, (low, high) in LIMITS.items())  # fmt: skip
        return *sizes, bool(self.causal.index)

    @property
    def counts(self) -> dict[str, Counts]:
        """Operations, bytes and fast memory of the schedules, from `flash.cost`."""
        return counts(*self.at)

    @property
    def chosen(self) -> GPU:
        return self.gpus[self.gpu.index]

    @property
    def bounds(self) -> dict[str, float]:
        """Seconds that each schedule needs at least, if all its counted traffic reaches slow memory."""
        return {name: max(self.chosen.times(c)) for name, c in self.counts.items()}

    @property
    def weights(self) -> np.ndarray:
        """Operations, bytes and bound in seconds: a row each for standard, tiled, and inputs read once."""
        return np.array([[c.flops, c.bytes, self.bounds[name]] for name, c in self.counts.items()])

    def settle(self) -> None:
        for name in ("n", "d", "rows"):
            setattr(self.view, name, getattr(self, name).value)
        self.view.causal, self.view.gpu = self.causal.index, self.gpu.index

    def static_settings(self) -> Sequence[Markup]:
        sliders = (
            setting(x.description, str(y))
            for x, y in zip((self.n, self.d, self.rows), self.at[:3], strict=True)
        )
        return (
            *sliders,
            static.choices(self.causal.description, KEYS, self.causal.index),
            setting(self.gpu.description, self.gpu.value, "pa-dropdown"),
        )

    def static_body(self) -> Sequence[Markup]:
        n, d, rows, causal = self.at
        lengths = [2**i for i in range(LIMITS["n"][0], LIMITS["n"][1] + 1)]
        grown = [counts(m, d, rows, causal) for m in lengths]
        here, twice, gpu = self.counts, counts(2 * n, d, rows, causal), self.chosen
        return (
            section("flow", GROWTH, curves(n, lengths, grown, here, twice)),
            section(
                "detail",
                f"{gpu.name}: {ARITHMETIC}",
                h("div.pa-roofs", roof(gpu, here), times(gpu, here)),
                h("p.pa-caption.pa-roofnote", TIMES),
                facts(d, rows, gpu, here),
                h("p.pa-caption.pa-roofnote", source(gpu)),
            ),
            static.sentence(describe(n, rows, gpu, here, twice)),
        )


def checked(gpus: Sequence[GPU]) -> tuple[GPU, ...]:
    """The reader's own GPUs, complete and positive."""
    gpus = tuple(gpus)
    if not gpus or not all(isinstance(g, GPU) for g in gpus):
        raise TypeError("`gpus` must be `GPU` records, at least one: GPU(name, peak, bandwidth, sram)")
    for g in gpus:
        if not all(np.isfinite(x) and x > 0 for x in (g.peak, g.bandwidth, g.sram)):
            raise ValueError(
                f"`gpus` must have a positive peak (FLOP/s), bandwidth (bytes/s) and sram (bytes); got {g}"
            )
    if len({g.name for g in gpus}) < len(gpus):
        raise ValueError(f"`gpus` must have different names; got {[g.name for g in gpus]}")
    return gpus
