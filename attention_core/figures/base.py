"""What every interactive figure shares: the card, its fallback, and how a view's one ES module is made.

A figure is ordinary ipywidgets (real controls, joined by `jslink`) around one anywidget view. The same
saved state is drawn by JupyterLab, by the stock embed and by the site's light host; none of the links
needs a kernel. Without JavaScript, and in print, a static picture of the first state takes its place.
"""

import re
from collections.abc import Iterable, Sequence
from functools import cache
from numbers import Integral, Real
from pathlib import Path

import anywidget
import ipywidgets as widgets
import numpy as np
import traitlets

from attention_core.figures.static import Markup, h

HERE = Path(__file__).parent
MOST_FRAMES, MOST_BYTES = 300, 300_000  # a figure's budget, before compression


# -- one module and one style sheet a view ---------------------------------------------------------------


SHARED = ("kit", "shades", "maps", "thumbnails", "step_chart", "ribbons")  # what views import, in this order
IMPORT = re.compile(r'^import \{[^}]*\} from "\./(\w+)\.js";\n', re.M)


@cache
def module(name: str, *, kit: bool = True) -> str:
    """The ES module of one view: the kit, what else is shared, then the view without its imports of them.

    Joining takes the place of a bundler: nothing built is committed, and nobody needs Node.
    """
    if not kit:
        return part(name)
    found = IMPORT.findall(_script(name)).count("kit")
    if found != 1:
        raise ValueError(f"{name}.js must import from './kit.js' in exactly one statement; found {found}")
    return "".join(map(part, [*shared(name), name]))


@cache
def part(name: str) -> str:
    """One source file as modules hold it, without its imports of what is shared.

    Comments with lines to themselves stay behind, as every page carries this text, and so do types in lines.
    """
    source = IMPORT.sub("", _script(name))
    source = re.sub(r"^[ \t]*/\*\*.*?\*/[ \t]*\n?", "", source, flags=re.M | re.S)
    source = re.sub(r"/\*\* @type [^\n]*?\*/ ?", "", source)
    return re.sub(r"^[ \t]*(//.*)?\n", "", source, flags=re.M)


def shared(name: str) -> list[str]:
    """What a view shares with others: the kit, and what it or a file that it imports has imported."""
    found, ahead = {"kit"}, [name]
    while ahead:
        new = set(IMPORT.findall(_script(ahead.pop()))) - found
        found |= new
        ahead += new
    return [each for each in SHARED if each in found]


def _script(name: str) -> str:
    return (HERE / f"{name}.js").read_text(encoding="utf-8")


@cache
def style(name: str | None = None) -> str:
    """The kit's style sheet, followed by those of what else a figure shares, and by its own.

    Without comments and indentation, as every figure carries it.
    """
    names = [*shared(name), name] if name else ["kit"]
    sheet = "".join((HERE / f"{each}.css").read_text(encoding="utf-8") for each in names)
    return re.sub(r"^\s+", "", re.sub(r"/\*.*?\*/", "", sheet, flags=re.S), flags=re.M)


# -- checking what readers pass in -----------------------------------------------------------------------


def finite(name: str, values: object, ndim: int) -> np.ndarray:
    """`values` as float64 of `ndim` dimensions; anything else raises and names the argument."""
    try:
        array = np.array(values, dtype=np.float64)
    except (TypeError, ValueError):
        raise ValueError(f"`{name}` must be a rectangular array of numbers; got {values!r:.60}") from None
    if array.ndim != ndim or array.size == 0:
        raise ValueError(f"`{name}` must have {ndim} dimension(s) and not be empty; got shape {array.shape}")
    if np.isnan(array).any() or np.isposinf(array).any():
        raise ValueError(f"`{name}` must be finite; replace NaN and infinity before drawing")
    return array


def between(name: str, value: Real, low: float, high: float) -> float:
    if not low <= value <= high:
        raise ValueError(f"`{name}` must lie between {low:g} and {high:g}; got {value!r}")
    return float(value)


def whole(name: str, value: object, low: int, high: int, note: str = "") -> int:
    """An integer from `low` to `high`; `note` says what else may be passed."""
    if not isinstance(value, Integral) or isinstance(value, bool) or not low <= value <= high:
        raise ValueError(f"`{name}` must be an integer from {low} to {high}{note}; got {value!r}")
    return int(value)


# -- what travels to a view ------------------------------------------------------------------------------


def float32(arrays: Iterable[np.ndarray]) -> bytes:
    """One after another as float32, little endian, as `DataView.getFloat32(4 * i, true)` reads them."""
    return np.concatenate([np.ravel(array) for array in arrays]).astype("<f4").tobytes()


# -- widgets ---------------------------------------------------------------------------------------------


class LogSlider(widgets.FloatLogSlider):
    """A `FloatLogSlider` that can say in words what below, at and above 1 mean; other hosts ignore them."""

    words = traitlets.List(traitlets.Unicode(), allow_none=True, default_value=None).tag(sync=True)


class Checkbox(widgets.Checkbox):
    """Saved with its value: ipywidgets leaves `False` out, and its own front end then reads `undefined`."""

    def get_state(self, key=None, drop_defaults=False):
        return super().get_state(key)


class Drawn(anywidget.AnyWidget):
    """A view whose saved state is whole: no host but Python knows its defaults, and `_esm` is one of them."""

    def get_state(self, key=None, drop_defaults=False):
        return super().get_state(key)


class Heading(Drawn):
    """Title and question."""

    _esm = module("heading", kit=False)
    title = traitlets.Unicode().tag(sync=True)
    question = traitlets.Unicode().tag(sync=True)


class View(Drawn):
    """Base of the one picture in a figure; `exact` holds what Python computed for the present controls."""

    exact = traitlets.Dict().tag(sync=True)
    playing = traitlets.Bool(False).tag(sync=True)


class Figure(widgets.VBox):
    """A card: heading, settings, one picture, and transport where the picture has steps.

    Subclasses set `name`, `title`, `question`, and write `static_body`, the picture of the first state.
    """

    name = title = question = ""

    def __init__(
        self,
        view: View,
        settings: Sequence[widgets.Widget],
        transport: Sequence[widgets.Widget] = (),
        **kwargs,
    ):
        self.view = view
        self.heading = Heading(title=self.title, question=self.question)
        parts = [self.heading, widgets.HBox(list(settings)), view]
        classes = ["pa-heading", "pa-settings", "pa-view"]
        if transport:
            parts.append(widgets.HBox(list(transport)))
            classes.append("pa-transport")
        for part, css in zip(parts, classes, strict=True):
            part.add_class(css)
        self.links: list[widgets.Widget] = []
        super().__init__(parts, **kwargs)
        self.add_class("pa-figure").add_class(f"pa-{self.name}")

    def link(self, source: widgets.Widget, key: str, target: widgets.Widget, target_key: str) -> None:
        """Join two traits in the browser, and keep the link so that it is saved with the rest."""
        self.links.append(widgets.jslink((source, key), (target, target_key)))

    @property
    def weights(self) -> np.ndarray:
        """What the picture shows for the present controls, recomputed in float64."""
        raise NotImplementedError

    def settle(self) -> None:
        """Give the view the controls' values. Only before it is shown: after that the links do so, and a
        second writer with a kernel's delay would fight them."""
        raise NotImplementedError

    def static_settings(self) -> Sequence[Markup]:
        raise NotImplementedError

    def static_body(self) -> Sequence[Markup]:
        raise NotImplementedError

    def static_transport(self) -> Sequence[Markup]:
        return ()

    def static_html(self) -> str:
        """The picture of the present state without JavaScript; laid out as the live one, to the pixel."""
        heading = h("div.pa-heading", h("p.pa-title", self.title), h("p.pa-question", self.question))
        transport = self.static_transport()
        card = h(
            f"div.pa-figure.pa-{self.name}",
            heading,
            h("div.pa-settings", *self.static_settings()),
            h("div.pa-view", *self.static_body()),
            *([h("div.pa-transport", *transport)] if transport else []),
        )
        host = dict(data_figure=self.name, aria_label=self.title)
        return str(h("figure.pa-card-host", h("div.pa-static", card), **host))

    def _repr_mimebundle_(self, **kwargs):
        self.settle()
        bundle = super()._repr_mimebundle_(**kwargs)
        if isinstance(bundle, dict):
            bundle["text/html"] = self.static_html()
        return bundle
