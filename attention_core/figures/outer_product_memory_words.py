"""What an outer-product memory says: the view fills in the same words."""

from collections.abc import Sequence

from attention_core.figures.outer_product_memory_runs import EXACT, Facts
from attention_core.figures.static import fixed

WORDS = {  # the view reads them too
    "names": ["the sum", "the delta rule", "the gated delta rule"],
    "tiles": ["answered right", "mean error", "cosine, newest", "cosine, old value"],
    "caption": "Mean error of all answers, ‖answer − value‖ ÷ ‖value‖, against pairs written",
    "chart": "Mean error by {name}: {here} here, {end} at the end; by {one} {first}, by {two} {second}",
    "nothing": [
        "Nothing is written yet: the memory is zero, and answers zero to every key.",
        "Write the first pair.",
    ],
    "exactly": "all exactly",
    "partly": "{right} of {keys} right, with a mean error of {error}",
    "again": "The newest key has been written {times} times: {name} answers with cosine {cosine} to the new "
    "value and {before} to the one before.",
    "added": "It adds up all that was ever written to a key.",
    "taken": "What it held for this key was taken out first.",
    "both": "Of the {keys} keys it answers {mine}; {rival} {theirs}.",
    "after": "After {pairs} in a memory {width} wide {name} answers {mine}.",
    "newest": "The newest pair is exact.",
    "fades": "Each write leaves {decay} of what was there.",
    "rival": "By comparison, {rival} answers {theirs}.",
    "full": "No {keys} keys are independent in {width} dimensions, so no rule can keep just any values for "
    "them.",
    "overlap": "The keys overlap, by a cosine of up to {overlap}, so pairs disturb each other while there is "
    "still room.",
    "one": "One pair alone has nothing to disturb it.",
    "taken_up": "The keys are orthogonal and do not disturb each other, but all {width} directions are "
    "taken: the next key must overlap.",
    "orthogonal": "The keys are orthogonal, so pairs do not disturb each other.",
}


def below(i: int) -> str:
    """Subscript; 0 stands for none."""
    return str(i or "").translate(str.maketrans("0123456789", "₀₁₂₃₄₅₆₇₈₉"))


def against(rule: int) -> int:
    """Which rule a rule is compared with."""
    return 0 if rule == 1 else 1


def describe(f: Facts | None, other: Facts | None, rule: int, rival: int, decay: float) -> list[str]:
    """The sentence of result; `other` is of the rule to compare with, the `rival`."""
    if f is None or other is None:
        return WORDS["nothing"]
    names = WORDS["names"]
    values = f._asdict() | dict(
        mine=_count(f), theirs=_count(other), name=names[rule], rival=names[rival], decay=fixed(decay),
        pairs=f"{f.written} pair{'' if f.written == 1 else 's'}",
        cosine=fixed(f.cosine), before=fixed(f.before), overlap=fixed(f.overlap),
    )  # fmt: skip
    said = _again(f, rule) if f.times > 1 else _after(f, other, rule)
    return [WORDS[key].format(**values) for key in said if key]


def _count(f: Facts) -> str:
    kind = "exactly" if f.worst < EXACT else "partly"
    return WORDS[kind].format(right=f.right, keys=f.keys, error=fixed(f.error))


def _newest(f: Facts) -> str:
    return "newest" if f.newest < EXACT <= f.worst else ""


def _again(f: Facts, rule: int) -> tuple[str, ...]:
    return "again", "taken" if rule else "added", _newest(f), "fades" if rule == 2 else "", "both"


def _after(f: Facts, other: Facts, rule: int) -> tuple[str, ...]:
    rival = "rival" if max(f.worst, other.worst) >= EXACT else ""
    return "after", _newest(f), "fades" if rule == 2 else "", rival, _why(f)


def _why(f: Facts) -> str:
    if f.keys > f.width:
        return "full"
    if f.overlap >= EXACT:
        return "overlap"
    if f.keys == 1:
        return "one"
    return "taken_up" if f.keys == f.width else "orthogonal"


def heard(curves: Sequence[Sequence[float]], rule: int, t: int) -> str:
    """What the chart says to the ear."""
    one, two = (i for i in range(3) if i != rule)
    names, ends = WORDS["names"], [fixed(ys[-1]) for ys in curves]
    return WORDS["chart"].format(
        name=names[rule], here=fixed(curves[rule][t - 1] if t else 0.0), end=ends[rule],
        one=names[one], first=ends[one], two=names[two], second=ends[two],
    )  # fmt: skip
