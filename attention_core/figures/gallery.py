"""Maps of many methods over the same pictures, small and side by side: a method a column, a picture a row.

A picture is in the page once, and every map over it refers to it; a map is a stroke for each level of its
colour, so that six pictures under twelve methods weigh less than one photograph.
"""

import hashlib
from collections.abc import Mapping, Sequence

import numpy as np
from torch import Tensor

from attention_core.datasets.shapes import Scenes
from attention_core.explain import Explanation
from attention_core.figures import maps as drawing
from attention_core.figures import scenes
from attention_core.figures.plots import StaticFigure
from attention_core.figures.static import Markup, h

MANY = 6  # with more maps than so many a picture is drawn as large as four of them
STEPS = 10  # shades of one hue, as many as the ramp has stops: a map is looked at, not read off
SCALED = "Each map is scaled to its own largest absolute value."
BARRED = "A minus marks patches below zero."
SHORT = {"neg": "n", "pos": "p", "minus": "m", "minus pa-pmdeep": "m d"}  # classes, as each is there often


def _style() -> str:
    levels = range(1, STEPS + 1)
    over, signed = ([drawing.opacity(k / STEPS, kind) for k in levels] for kind in (False, True))
    rules = [f"stroke:var(--ps-{k});stroke-opacity:{over[k - 1]}" for k in levels]
    shades = [f".pa-gallery .t{k}{{{rule}}}" for k, rule in zip(levels, rules, strict=True)]
    shades += [f".pa-gallery :is(.n{k},.p{k}){{stroke-opacity:{signed[k - 1]}}}" for k in levels]
    dark = "html[data-theme=dark] .pa-gallery,body[data-jp-theme-light=false] .pa-gallery"
    return (
        ".pa-gallery{--pg-n:#004e9b;--pg-0:#f7f4f2;--pg-p:#7f3800;--pg-s:#fff;flex:1 1 100%;min-width:0}"
        "@media not print{" + dark + "{--pg-n:#8ac3fe;--pg-0:#2a2725;--pg-p:#fba861;--pg-s:#171b22}}"
        ".pa-gallery .line{display:grid;grid-template-columns:repeat(auto-fill,minmax(84px,1fr));"
        "gap:10px 8px;align-content:start;margin:0 0 20px;break-inside:avoid}"
        ".pa-gallery .line>span{font-size:13px;line-height:16px;overflow-wrap:anywhere}"
        ".pa-gallery .line>span:first-child{font-weight:650}"
        f".pa-gallery .line:has(>:nth-child({MANY + 2}))"
        "{grid-template-columns:repeat(auto-fill,minmax(78px,1fr))}"
        f".pa-gallery .line:has(>:nth-child({MANY + 2}))>span:first-child{{grid-area:span 2/span 2}}"
        ".pa-drawing .pa-gallery svg{max-width:none;margin:0 0 4px;border-radius:3px;background:var(--pg-s);"
        "print-color-adjust:exact;-webkit-print-color-adjust:exact}"
        ".pa-gallery g{stroke-width:1px;fill:none;shape-rendering:crispEdges}"
        ".pa-gallery use{opacity:.55;filter:saturate(.7)}"
        + "".join(shades)
        + ".pa-gallery [class^=n]{stroke:var(--pg-n)}.pa-gallery [class^=p]{stroke:var(--pg-p)}"
        ".pa-gallery .m{stroke:var(--ps-ink);stroke-width:.12}.pa-gallery .d{stroke:var(--pg-s)}"
        ".pa-gallery .key{display:flex;flex-wrap:wrap;gap:4px 24px;font-size:13px;color:var(--ps-muted)}"
        ".pa-gallery .key i{display:inline-block;width:80px;height:10px;margin:0 8px;border-radius:5px;"
        "box-shadow:inset 0 0 0 1px var(--ps-line)}"
    )


def map_gallery(
    images: Tensor | Scenes,
    maps: Mapping[str, Explanation | Tensor],
    *,
    rows: Sequence[str] | None = None,
    alt: str,
    caption: str = "",
) -> StaticFigure:
    """Each picture, and beside it each method's map laid over it.

    Parameters
    ----------
    images
        (batch, channels, height, width), or `datasets.Scenes`.
    maps
        By the name that stands below: what `explain` gives, or a tensor (batch, rows, columns). Signed
        explanations, and tensors with a negative number, take the diverging ramp.
    rows
        A note for each picture, such as the class that was asked for.
    alt
        What the maps show, in words.

    Raises `ValueError` for maps that are not finite, or not of these images.
    """
    tensor = scenes.tensor_of(images)
    notes = [""] * len(tensor) if rows is None else list(rows)
    if len(notes) != len(tensor):
        raise ValueError(f"`rows` must have a note for each of {len(tensor)} images; got {len(notes)}")
    laid = {name: _checked(name, given, len(tensor)) for name, given in maps.items()}
    if not laid:
        raise ValueError("`maps` must hold at least one map by its name; got none")
    pictures = drawing.rgb(tensor)
    unique = hashlib.sha256(pictures.tobytes() + repr((notes, list(laid))).encode()).hexdigest()[:6]
    lines = [
        _row(
            f"pg{unique}{i}",
            pictures[i],
            notes[i],
            {name: (v[i], signed) for name, (v, signed) in laid.items()},
        )
        for i in range(len(pictures))
    ]
    signed = {signed for _, signed in laid.values()}
    body = h("div.pa-gallery", h("style", Markup(_style())), *lines, _key(signed))
    said = " ".join(filter(None, (caption, SCALED, BARRED if True in signed else "")))
    return StaticFigure("map-gallery", (str(body),), alt, said)


def _checked(name: str, given: Explanation | Tensor, count: int) -> tuple[np.ndarray, bool]:
    """Values (batch, rows, columns), and whether they are signed."""
    if not isinstance(given, Explanation | Tensor):
        raise TypeError(
            f"`maps` {name!r} must be what `explain` gives, or a tensor; got {type(given).__name__}. "
            "Use `torch.as_tensor`."
        )
    values = given.values if isinstance(given, Explanation) else given
    if values.ndim != 3 or len(values) != count or not values.numel():
        raise ValueError(
            f"`maps` {name!r} must have shape ({count}, rows, columns), a map for each image; got "
            f"{tuple(values.shape)}"
        )
    if not values.isfinite().all():
        raise ValueError(f"`maps` {name!r} must be finite; replace NaN and infinity before drawing")
    array = values.detach().cpu().double().numpy()
    return array, given.signed if isinstance(given, Explanation) else bool((array < 0).any())


def _row(key: str, picture: np.ndarray, note: str, laid: Mapping[str, tuple[np.ndarray, bool]]) -> Markup:
    """The picture, which all its maps refer to, and the maps."""
    height, width = picture.shape[:2]
    box = f"0 0 {width} {height}"
    shown = h("image", id=key, href=drawing.address(picture), width=width, height=height)
    cells = [h("span", h("svg", shown, viewBox=box), note or "picture")]
    for name, (values, signed) in laid.items():
        rows, columns = values.shape
        # A patch is a unit of the strokes; the group scales it to the picture.
        scale = f"scale({width / columns:g} {height / rows:g}) translate(0 .5)"
        paths = drawing.by_level(values, STEPS, signed)
        order = sorted(paths, key=lambda path: path in drawing.LAST)
        strokes = "".join(f'<path class="{_class(path)}" d="{paths[path]}"/>' for path in order)
        under = Markup(f'<use href="#{key}"/>')
        cells.append(h("span", h("svg", under, h("g", Markup(strokes), transform=scale), viewBox=box), name))
    return h("div.line", *cells)  # "row" is Bootstrap's, with gutters


def _class(path: str) -> str:
    if path in SHORT:
        return SHORT[path]
    kind, step = path.split(" ")
    return f"{SHORT.get(kind, kind)}{step}"


def _key(signed: set[bool]) -> Markup:
    """What the two ramps mean, for those that are there."""
    stops = ",".join(f"var(--ps-{k})" for k in range(11))
    bars = {
        False: ("0", f"linear-gradient(90deg,{stops})", "largest"),
        True: ("− against", "linear-gradient(90deg,var(--pg-n),var(--pg-0),var(--pg-p))", "+ for"),
    }
    made = [
        h("span", low, h("i", style=f"background:{ramp}"), high)
        for kind, (low, ramp, high) in bars.items()
        if kind in signed
    ]
    return h("div.key", *made)
