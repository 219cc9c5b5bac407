"""Bottleneck measured: what does looking back buy a translator, and up to which length?"""

from collections.abc import Sequence
from pathlib import Path

import ipywidgets as widgets
import numpy as np
import traitlets

from attention_core.figures import base, static
from attention_core.figures.bottleneck_measured_static import ABOVE, chart, describe, key, place, tiles
from attention_core.figures.by_length import ByLength
from attention_core.figures.static import Markup, section, setting

RESULTS = base.HERE.parents[1] / "benchmarks" / "results" / "translator.json"


class BottleneckMeasuredView(base.View):
    _esm = base.module("bottleneck_measured")
    _css = base.style("bottleneck_measured")
    bands = traitlets.List().tag(sync=True)
    readers = traitlets.List(traitlets.Dict()).tag(sync=True)
    trained = traitlets.Int().tag(sync=True)
    source = traitlets.Unicode().tag(sync=True)
    width = traitlets.Int(0).tag(sync=True)
    length = traitlets.Int(14).tag(sync=True)


class BottleneckMeasured(base.Figure):
    """BLEU against the length of the source sentence, with attention and through one vector of some widths.

    Parameters
    ----------
    results
        Measurements, or the path of `benchmarks/results/translator.json`; the committed file by default.
    width
        Of the vector that is compared first; the middle one by default.
    length
        Tokens in the sentence at which the curves are read.
    """

    name = "bottleneck-measured"
    title = "Bottleneck measured: what does looking back buy?"
    question = "Predict: where do the curves part, and what does attention do in the shaded zone?"

    def __init__(
        self, results: ByLength | str | Path | None = None, width: int | None = None, length: int = 14
    ):
        self.results = results if isinstance(results, ByLength) else ByLength.load(results or RESULTS)
        self.readers = self.results.readers
        widths = [reader["width"] for reader in self.readers[1:]]
        if width is not None and width not in widths:
            raise ValueError(f"`width` must be one of {', '.join(map(str, widths))}; got {width!r}")
        bands = self.results.bands
        shortest, longest = bands[0][0], bands[-1][1]
        base.whole("length", length, shortest, longest)
        self.width = widgets.ToggleButtons(
            options=[str(w) for w in widths],
            index=widths.index(width) if width else len(widths) // 2,
            description="Width of the one vector",
        )
        self.length = widgets.IntSlider(
            value=length, min=shortest, max=longest, description="Tokens in the sentence"
        )
        view = BottleneckMeasuredView(
            bands=[list(band) for band in bands],
            readers=self.readers,
            trained=self.results.trained,
            source=self.results.measured(),
        )
        choices = [self.width] if len(widths) > 1 else []  # where there is nothing to choose, no control
        super().__init__(view, [*choices, self.length])
        if choices:
            self.link(self.width, "index", view, "width")
        self.link(self.length, "value", view, "length")
        self.settle()

    @property
    def weights(self) -> np.ndarray:
        """BLEU, median over seeds: a row for attention, one for the vector chosen; a column for each band."""
        return np.array([self.readers[i]["bleu"] for i in (0, 1 + self.width.index)])

    @property
    def band(self) -> int:
        return place(self.results.bands, self.length.value)

    def settle(self) -> None:
        self.view.width, self.view.length = self.width.index, self.length.value

    def static_settings(self) -> Sequence[Markup]:
        options = self.width.options
        chosen = [static.choices(self.width.description, options, self.width.index)] if options[1:] else []
        return (*chosen, setting(self.length.description, str(self.length.value)))

    def static_body(self) -> Sequence[Markup]:
        chosen, at, results = self.width.index, self.band, self.results
        return (
            section(
                "flow",
                ABOVE,
                chart(results.bands, results.trained, self.readers, chosen, at),
                key(self.readers, chosen),
            ),
            section("detail", results.measured(), tiles(self.readers, chosen, at)),
            static.sentence(describe(results.bands, results.trained, self.readers, chosen, at)),
        )
