"""What is to be in an image, before anything is drawn: in pixels of 48, whatever size it is drawn at."""

from dataclasses import dataclass

from attention_core.datasets.shapes.chance import Draw
from attention_core.datasets.shapes.forms import FORMS, SHAPE_CLASSES

SIDE = 48.0
SMALLEST, LARGEST = 7.0, 10.0  # radii of the circles that objects fit
APART = 1.5  # between two objects' circles, and between them and the edge
HUES = 0.065  # turns to either side of a class's own; neighbours are 0.125 apart, so that they just overlap
TAGGED = SHAPE_CLASSES.index("star")  # the class that a planted tag stands for
PLANTED, SHOWN = 0.4, 0.25  # in "shortcut": chance of a tag, and of an object of its class
CORNERS = 4  # top left, top right, bottom left, bottom right


@dataclass(frozen=True)
class Object:
    """One object of an image."""

    form: int  # index into FORMS
    x: float
    y: float
    radius: float
    turn: tuple[float, float]  # cosine and sine of the angle it is turned by, clockwise
    hue: float
    saturation: float
    light: float


@dataclass(frozen=True)
class Plan:
    """The objects of an image, and the corner that a tag is planted in, if any."""

    objects: tuple[Object, ...]
    corner: int | None = None

    @property
    def labels(self) -> set[int]:
        """What is said to be there: a tag speaks for its class as its object does."""
        planted = set() if self.corner is None else {TAGGED}
        return {one.form for one in self.objects} | planted


def plan(draw: Draw, split: str, number: int) -> Plan:
    """Image `number` of a split."""
    if split in ("shortcut", "shortcut_test"):
        return _shortcut(draw, split, number)
    count = {"single": 1, "pair": 2}.get(split) or 1 + draw.below(3)
    return Plan(_placed(draw, draw.some(count, len(FORMS))))


def _shortcut(draw: Draw, split: str, number: int) -> Plan:
    """Tag and object by chance, independently; in the test by turns: tag, object, tag, neither."""
    others = [form for form in range(len(FORMS)) if form != TAGGED]
    if split == "shortcut":
        planted, shown = draw.chance(PLANTED), draw.chance(SHOWN)
    else:
        planted, shown = number % 4 in (0, 2), number % 4 == 1
    chosen = [others[place] for place in draw.some(1 + draw.below(3) - shown, len(others))]
    forms = [TAGGED, *chosen] if shown else chosen
    corner = draw.below(CORNERS)
    return Plan(_placed(draw, forms), corner if planted else None)


def _placed(draw: Draw, forms: list[int]) -> tuple[Object, ...]:
    """Objects of these forms where they do not touch; all of them anew where one finds no place."""
    while True:
        placed: list[Object] = []
        for form in forms:
            if (one := _fitting(draw, form, placed)) is None:
                break
            placed.append(one)
        else:
            return tuple(placed)


def _fitting(draw: Draw, form: int, placed: list[Object], trials: int = 30) -> Object | None:
    radius = draw.between(SMALLEST, LARGEST)
    for _ in range(trials):
        x, y = (draw.between(radius + APART, SIDE - radius - APART) for _ in range(2))
        if all(_clear(x, y, radius, other) for other in placed):
            hue = FORMS[form].hue + draw.between(-HUES, HUES)
            look = (hue - hue // 1, draw.between(0.6, 0.9), draw.between(0.85, 1.0))
            return Object(form, x, y, radius, draw.direction(), *look)
    return None


def _clear(x: float, y: float, radius: float, other: Object) -> bool:
    across, down, reach = x - other.x, y - other.y, radius + other.radius + APART
    return across * across + down * down >= reach * reach
