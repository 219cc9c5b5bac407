"""ViT heads' measures and words, and the parts of its static picture: see vit_heads.js."""

from typing import NamedTuple

import numpy as np

from attention_core.figures import maps
from attention_core.figures.scenes import Objects
from attention_core.figures.static import Markup, fixed, h, percent, section

PICK = "The picture: choose a patch that asks"
ALL = "All heads: layers down, heads across"


class Shape(NamedTuple):
    """Of a model and of what travels to the view."""

    layers: int
    heads: int
    rows: int  # of patches
    columns: int
    prefix: int  # tokens before the patches
    tokens: int
    scale: int  # what a weight of 1 is in the frames
    whole: bool  # whether the rows of all tokens travel, or of CLS alone


class Facts(NamedTuple):
    held: float | None  # weight on patches that show an object, where that is known
    even: float | None  # the same of weights that are all alike
    own: float  # weight on tokens that are no patches
    half: int  # how many tokens, strongest first, hold half of the weight
    tokens: int
    distance: float | None  # how many patches far it looks on average; CLS has no place to look from
    far: float | None  # the same of weights that are all alike


def measure(weights: np.ndarray, shape: Shape, query: int, objects: Objects | None) -> Facts:
    """What is said of one row of weights, (tokens,), that the patch `query` asks for, or CLS with -1."""
    patches = weights[shape.prefix :]
    held = even = distance = far = None
    if objects is not None:
        held = float(patches[objects.inside.ravel()].sum())
        even = float(objects.inside.sum()) / len(weights)
    if query >= 0:
        row, column = np.divmod(np.arange(len(patches)), shape.columns)
        to = np.hypot(row - query // shape.columns, column - query % shape.columns)
        total = float(patches.sum())
        distance, far = float(patches @ to) / total if total > 0 else 0.0, float(to.mean())
    taken = np.cumsum(np.sort(weights)[::-1])
    half = min(int((taken < 0.5 - 1e-9).sum()) + 1, len(weights))
    return Facts(held, even, float(weights[: shape.prefix].sum()), half, len(weights), distance, far)


def placed(layer: int, head: int, heads: int) -> str:
    return f"Layer {layer + 1}, {'mean of the heads' if head == heads else f'head {head + 1}'}"


def asking(query: int, columns: int) -> str:
    return "CLS" if query < 0 else f"row {query // columns + 1}, column {query % columns + 1}"


def describe(
    facts: Facts, shape: Shape, layer: int, head: int, query: int, objects: Objects | None
) -> list[str]:
    """The sentence of result."""
    lead = f"{placed(layer, head, shape.heads)}: {asking(query, shape.columns)} puts"
    on = "a single token" if facts.half == 1 else f"{facts.half} of {facts.tokens} tokens"
    first = "CLS itself" if query < 0 else "CLS"
    if shape.prefix > 1:
        first = f"the {shape.prefix} tokens that are no patches"
    rest = [f"Of all weight, {percent(facts.own)} goes to {first}."]
    if facts.distance is not None:
        rest.append(
            f"On average it looks {fixed(facts.distance, 1)} patches far; spread evenly it would be "
            f"{fixed(facts.far, 1)}."
        )
    if facts.own > 0.5:
        rest.append("The map shows the rest: what goes to no patch has no place in the picture.")
    if objects is None:
        return [f"{lead} half of its weight on {on}.", *rest]
    return [
        f"{lead} {percent(facts.held)} of its weight on patches of {objects.named}.",
        f"Spread evenly it would be {percent(facts.even)}; half of the weight is on {on}.",
        *rest,
    ]


# -- parts of the picture ----------------------------------------------------------------------------------


def boards(
    picture: np.ndarray, weights: np.ndarray, shape: Shape, layer: int, head: int, query: int,
    objects: Objects | None,
) -> tuple[Markup, Markup]:  # fmt: skip
    """The picture in which a patch is chosen, and the map over it."""
    grid = (shape.rows, shape.columns)
    marks = [] if query < 0 else [query]
    label = "The picture, and the patch that asks"
    plain = maps.board(
        np.zeros(grid), label=label, picture=picture, marks=marks, kind=".pa-pmplain", words=label
    )
    patches = weights[shape.prefix :].reshape(grid)
    where, who = placed(layer, head, shape.heads), asking(query, shape.columns)
    laid = maps.board(
        patches, label=f"{where}, {who} asks", picture=picture, marks=marks,
        outline=None if objects is None else objects.inside,
    )  # fmt: skip
    caption = f"Attention in layer {layer + 1}, {'mean' if head == shape.heads else f'head {head + 1}'}"
    cls = h("span.pa-vhcls", "CLS asks")
    return (
        section("flow", PICK if shape.whole else f"{PICK} (with a kernel)", plain, cls),
        section("matrix", caption, laid, maps.legend(patches.max())),
    )


def thumbnails(rows: np.ndarray, shape: Shape, layer: int, head: int) -> Markup:
    """Maps (layers, heads and their mean, tokens), small, the chosen one in a frame."""
    across = [*map(str, range(1, shape.heads + 1)), "mean"]
    down = [str(i) for i in range(1, shape.layers + 1)]
    small = rows[..., shape.prefix :].reshape(*rows.shape[:2], shape.rows, shape.columns)
    return section("detail", ALL, maps.thumbnails(small, down, across, [(layer, head)]))
