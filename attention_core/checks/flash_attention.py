"""Exercises of the chapter "Flash attention": float64 inputs, masks with True = may attend."""

from math import inf, sqrt

import torch
from torch import Tensor

from attention_core import attend, masks
from attention_core.checks import Case, Exercise, Mutant
from attention_core.pipeline import Attended, merge

# --- online-softmax: sum_j e^{s_j} v_j / sum_j e^{s_j}, one score at a time


def _average(scores: Tensor, values: Tensor) -> Tensor:
    return torch.softmax(scores, -1) @ values


def _row_cases(generator: torch.Generator) -> list[Case]:
    cases = []
    for m, dv, level, hidden in ((4, 2, 0.0, 0), (6, 3, 0.0, 2), (5, 1, 1000.0, 0), (7, 2, -2000.0, 3)):
        scores = level + 2 * _normal(generator, m)
        scores[:hidden] = -inf  # masked keys come first
        cases.append({"scores": scores, "values": _normal(generator, m, dv)})
    return cases


def _online(scores: Tensor, values: Tensor, *, total_by=1, average_by=1, divide=True) -> Tensor:
    """The right loop, but with its corrections to some power."""
    largest, total, average = torch.full_like(scores[0], -inf), torch.zeros_like(scores[0]), 0.0
    for s, v in zip(scores, values, strict=True):
        larger = torch.maximum(largest, s)
        if larger > -inf:
            correction = (largest - larger).exp() if total > 0 else torch.ones_like(total)
            weight = (s - larger).exp()
            total = total * correction**total_by + weight
            average = average * correction**average_by + weight * v
        largest = larger
    return average / total if divide else average


def _online_bare(scores: Tensor, values: Tensor) -> Tensor:
    weights = scores.exp()
    return weights @ values / weights.sum()


def _online_unguarded(scores: Tensor, values: Tensor) -> Tensor:
    largest, total, average = torch.full_like(scores[0], -inf), 0.0, 0.0
    for s, v in zip(scores, values, strict=True):
        larger = torch.maximum(largest, s)
        correction, weight = (largest - larger).exp(), (s - larger).exp()
        total, average, largest = total * correction + weight, average * correction + weight * v, larger
    return average / total


def _online_in_place(scores: Tensor, values: Tensor) -> Tensor:
    scores -= scores.max()
    return torch.softmax(scores, -1) @ values


ONLINE = Exercise(
    name="online-softmax",
    reference=_average,
    cases=_row_cases,
    mutants={
        "nothing corrected": Mutant(
            lambda scores, values: _online(scores, values, total_by=0, average_by=0),
            "neither sum is corrected when the maximum rises: old terms stay relative to the old one.",
        ),
        "average not corrected": Mutant(
            lambda scores, values: _online(scores, values, average_by=0),
            "the sum is corrected when the maximum rises, but the average is not: both hold e^(s - maximum).",
        ),
        "sum not corrected": Mutant(
            lambda scores, values: _online(scores, values, total_by=0),
            "the average is corrected when the maximum rises, but the sum of exponentials is not.",
        ),
        "corrected the wrong way": Mutant(
            lambda scores, values: _online(scores, values, total_by=-1, average_by=-1),
            "the correction is upside down: a larger maximum makes old terms smaller, e^(old - new).",
        ),
        "not divided": Mutant(
            lambda scores, values: _online(scores, values, divide=False),
            "the division by the sum of exponentials is missing at the end.",
        ),
        "hard max": Mutant(
            lambda scores, values: values[scores.argmax()],
            "this is the value of the largest score: a softmax averages all of them.",
        ),
        "plain mean": Mutant(
            lambda scores, values: values.mean(0),
            "this is the plain mean of the values: the scores weigh them.",
        ),
        "no maximum": Mutant(_online_bare, "has exp overflowed? Subtract each row's maximum first."),
        "minus infinity twice": Mutant(
            _online_unguarded, "an input holds -inf: is -inf subtracted from itself?"
        ),
        "in place": Mutant(_online_in_place, "modified in place"),
    },
)

# --- merge-parts: one row's output from those of two sets of keys, by their lse


def _merged(output_a: Tensor, lse_a: Tensor, output_b: Tensor, lse_b: Tensor) -> Tensor:
    return merge(Attended(output_a, None, lse_a), Attended(output_b, None, lse_b)).output


def _part_cases(generator: torch.Generator) -> list[Case]:
    cases = []
    for n, dv, level in ((2, 2, 0.0), (3, 4, 2.0), (4, 1, 3000.0)):
        lse_a, lse_b = _normal(generator, n) + level, 2 * _normal(generator, n) + level
        cases.append(
            {
                "output_a": _normal(generator, n, dv),
                "lse_a": lse_a,
                "output_b": _normal(generator, n, dv),
                "lse_b": lse_b,
            }
        )
    cases[1]["lse_a"][0] = -inf  # saw nothing, so its output is 0
    cases[1]["output_a"][0] = 0.0
    cases[1]["lse_b"][2] = -inf
    cases[1]["output_b"][2] = 0.0
    return cases


def _mix(output_a: Tensor, share: Tensor, output_b: Tensor) -> Tensor:
    return share[:, None] * output_a + (1 - share[:, None]) * output_b


def _merge_bare(output_a: Tensor, lse_a: Tensor, output_b: Tensor, lse_b: Tensor) -> Tensor:
    return _mix(output_a, lse_a.exp() / (lse_a.exp() + lse_b.exp()), output_b)


def _merge_in_place(output_a: Tensor, lse_a: Tensor, output_b: Tensor, lse_b: Tensor) -> Tensor:
    share = torch.sigmoid(lse_a - lse_b)[:, None]
    output_a *= share
    return output_a + (1 - share) * output_b


MERGE = Exercise(
    name="merge-parts",
    reference=_merged,
    cases=_part_cases,
    mutants={
        "mean": Mutant(
            lambda output_a, lse_a, output_b, lse_b: (output_a + output_b) / 2,
            "this is the mean of the two: the part with the larger sum of exponentials counts for more.",
        ),
        "sum": Mutant(
            lambda output_a, lse_a, output_b, lse_b: output_a + output_b,
            "the outputs are added: each is an average already, and their shares must sum to one.",
        ),
        "swapped": Mutant(
            lambda output_a, lse_a, output_b, lse_b: _mix(output_b, torch.sigmoid(lse_a - lse_b), output_a),
            "the shares are exchanged: the larger lse belongs to the part that counts for more.",
        ),
        "larger wins": Mutant(
            lambda output_a, lse_a, output_b, lse_b: torch.where(
                (lse_a > lse_b)[:, None], output_a, output_b
            ),
            "the part with the larger lse takes all: the other has a share too.",
        ),
        "in base two": Mutant(
            lambda output_a, lse_a, output_b, lse_b: _mix(
                output_a, torch.sigmoid((lse_a - lse_b) * 0.6931471805599453), output_b
            ),
            "the shares are powers of 2: the lse is a natural logarithm.",
        ),
        "no maximum": Mutant(_merge_bare, "has exp overflowed?"),
        "in place": Mutant(_merge_in_place, "modified in place"),
    },
)

# --- tile-kinds: 0 empty, 1 partial, 2 full


def _kinds(mask: Tensor, rows: int, cols: int) -> Tensor:
    strips = [strip.split(cols, dim=1) for strip in mask.split(rows, dim=0)]
    return torch.tensor([[int(tile.any()) + int(tile.all()) for tile in strip] for strip in strips])


def _kind_cases(generator: torch.Generator) -> list[Case]:
    shapes = ((6, 6, 2, 3), (7, 10, 3, 4), (5, 9, 4, 2))
    made = [masks.causal(6, 6), masks.window(7, 10, 4, align="lower_right"), None]
    cases = []
    for (n, m, rows, cols), mask in zip(shapes, made, strict=True):
        mask = torch.rand(n, m, generator=generator) < 0.6 if mask is None else mask
        cases.append({"mask": mask, "rows": rows, "cols": cols})
    return cases


def _kinds_without_rest(mask: Tensor, rows: int, cols: int) -> Tensor:
    n, m = mask.shape[0] // rows * rows, mask.shape[1] // cols * cols
    return _kinds(mask[:n, :m], rows, cols)


TILE_KINDS = Exercise(
    name="tile-kinds",
    reference=_kinds,
    cases=_kind_cases,
    mutants={
        "inverted mask": Mutant(
            lambda mask, rows, cols: _kinds(~mask, rows, cols),
            "True was read as forbidden: here True = may attend.",
        ),
        "partial is full": Mutant(
            lambda mask, rows, cols: 2 * (_kinds(mask, rows, cols) > 0).long(),
            "partial tiles are counted as full: there the mask would never be asked.",
        ),
        "partial is empty": Mutant(
            lambda mask, rows, cols: 2 * (_kinds(mask, rows, cols) > 1).long(),
            "partial tiles are counted as empty: skipping them loses allowed pairs.",
        ),
        "full is partial": Mutant(
            lambda mask, rows, cols: _kinds(mask, rows, cols).clamp(max=1),
            "full tiles are counted as partial: the mask is asked where its answer is known.",
        ),
        "rows and columns exchanged": Mutant(
            lambda mask, rows, cols: _kinds(mask, cols, rows),
            "rows and columns are exchanged: a tile is rows queries high and cols keys wide.",
        ),
        "the rest dropped": Mutant(
            _kinds_without_rest,
            "the last, smaller tiles are missing: their pairs would never be computed.",
        ),
        "transposed": Mutant(
            lambda mask, rows, cols: _kinds(mask, rows, cols).mT,
            "the answer is transposed: a row of it belongs to one strip of queries.",
        ),
    },
)

# --- causal-tiles: query i sees key j where j <= i + m - n


def _causal(query: Tensor, key: Tensor, value: Tensor, tile: int) -> Tensor:
    mask = masks.causal(query.shape[0], key.shape[0], align="lower_right")
    return attend(query, key, value, mask=mask).output


def _causal_cases(generator: torch.Generator) -> list[Case]:
    return [
        {
            "query": _normal(generator, n, d),
            "key": 2 * _normal(generator, m, d),
            "value": _normal(generator, m, dv),
            "tile": tile,
        }
        for n, m, d, dv, tile in ((4, 4, 2, 2, 2), (5, 7, 4, 3, 3), (3, 8, 3, 5, 4))
    ]


def _in_tiles(query, key, value, tile, *, shift=None, causal=True, corrected=True, scaled=True, rest=True):
    """The right loop, and what can be wrong in it."""
    n, m = query.shape[0], key.shape[0]
    shift = m - n if shift is None else shift
    scale = 1 / sqrt(query.shape[1]) if scaled else 1.0
    largest, total = (torch.full((n, 1), x, dtype=query.dtype) for x in (-inf, 0.0))
    average = torch.zeros(n, value.shape[1], dtype=query.dtype)
    for start in range(0, m if rest else m // tile * tile, tile):
        keys = torch.arange(start, min(start + tile, m))
        scores = scale * query @ key[keys].mT
        if causal:
            scores = scores.masked_fill(keys > torch.arange(n)[:, None] + shift, -inf)
        larger = torch.maximum(largest, scores.amax(-1, keepdim=True))
        base = larger.masked_fill(larger == -inf, 0.0)
        correction = (largest - base).exp() if corrected else torch.ones_like(largest)
        weights = (scores - base).exp()
        total = total * correction + weights.sum(-1, keepdim=True)
        average = average * correction + weights @ value[keys]
        largest = larger
    return average / total


def _mean_of_tiles(query: Tensor, key: Tensor, value: Tensor, tile: int) -> Tensor:
    n, m = query.shape[0], key.shape[0]
    mask = masks.causal(n, m, align="lower_right")
    parts = [attend(query, key[j], value[j], mask=mask[:, j]).output for j in torch.arange(m).split(tile)]
    return torch.stack(parts).mean(0)


CAUSAL_TILES = Exercise(
    name="causal-tiles",
    reference=_causal,
    cases=_causal_cases,
    mutants={
        "not causal": Mutant(
            lambda query, key, value, tile: _in_tiles(query, key, value, tile, causal=False),
            "every query sees every key: a score right of the diagonal must become -inf.",
        ),
        "upper left": Mutant(
            lambda query, key, value, tile: _in_tiles(query, key, value, tile, shift=0),
            "aligned at the upper left: query i stands at place i + m - n.",
        ),
        "one ahead": Mutant(
            lambda query, key, value, tile: _in_tiles(
                query, key, value, tile, shift=key.shape[0] - query.shape[0] + 1
            ),
            "off by one: a query sees the key after its own place.",
        ),
        "not corrected": Mutant(
            lambda query, key, value, tile: _in_tiles(query, key, value, tile, corrected=False),
            "nothing is corrected when a later tile raises the maximum.",
        ),
        "not scaled": Mutant(
            lambda query, key, value, tile: _in_tiles(query, key, value, tile, scaled=False),
            "the scores are not divided by the square root of d.",
        ),
        "the rest dropped": Mutant(
            lambda query, key, value, tile: _in_tiles(query, key, value, tile, rest=False),
            "the last, smaller tile of keys is missing.",
        ),
        "mean of tiles": Mutant(
            _mean_of_tiles,
            "each tile is normalised alone and the results averaged: tiles share one sum of exponentials.",
        ),
    },
)

# --- flash-gradient: dK = tau dS^T Q from lse and delta


def _key_gradient(grad_output, query, key, value, output, lse) -> Tensor:
    key = key.clone().requires_grad_()
    with torch.enable_grad():
        attended = attend(query, key, value).output
    return torch.autograd.grad(attended, key, grad_output)[0]


def _gradient_cases(generator: torch.Generator) -> list[Case]:
    cases = []
    for n, m, d, dv in ((2, 3, 4, 2), (4, 3, 2, 5), (3, 5, 9, 1)):
        query, key = _normal(generator, n, d), _normal(generator, m, d)
        value, grad = _normal(generator, m, dv), _normal(generator, n, dv)
        attended = attend(query, key, value)
        cases.append(
            {
                "grad_output": grad,
                "query": query,
                "key": key,
                "value": value,
                "output": attended.output,
                "lse": attended.lse,
            }
        )
    return cases


def _by_hand(
    grad_output, query, key, value, output, lse, *, delta=None, inner=None, outer=None, weigh=True
) -> Tensor:
    """The right five lines, with other factors and another delta."""
    scale = 1 / sqrt(query.shape[-1])
    weights = ((scale if inner is None else inner) * query @ key.mT - lse[:, None]).exp()
    delta = (grad_output * output).sum(-1, keepdim=True) if delta is None else delta
    grad_scores = grad_output @ value.mT - delta
    grad_scores = weights * grad_scores if weigh else grad_scores
    return (scale if outer is None else outer) * grad_scores.mT @ query


def _query_gradient(grad_output, query, key, value, output, lse) -> Tensor:
    scale = 1 / sqrt(query.shape[-1])
    weights = (scale * query @ key.mT - lse[:, None]).exp()
    delta = (grad_output * output).sum(-1, keepdim=True)
    return scale * (weights * (grad_output @ value.mT - delta)) @ key


GRADIENT = Exercise(
    name="flash-gradient",
    reference=_key_gradient,
    cases=_gradient_cases,
    mutants={
        "no delta": Mutant(
            lambda *given: _by_hand(*given, delta=torch.zeros_like(given[5])[:, None]),
            "delta is missing: a softmax passes on only what lies above the weighted mean.",
        ),
        "delta added": Mutant(
            lambda *given: _by_hand(*given, delta=-(given[0] * given[4]).sum(-1, keepdim=True)),
            "delta is added: it must be subtracted.",
        ),
        "delta from the wrong output": Mutant(
            lambda *given: _by_hand(*given, delta=(given[0] * given[0]).sum(-1, keepdim=True)),
            "delta is the square of the output's gradient: it is its product with the output.",
        ),
        "scale forgotten outside": Mutant(
            lambda *given: _by_hand(*given, outer=1.0),
            "the scale is missing before the last product: S is the scale times Q K^T.",
        ),
        "scale forgotten inside": Mutant(
            lambda *given: _by_hand(*given, inner=1.0),
            "the scores are not scaled when the weights are made again, so they do not match the lse.",
        ),
        "weights forgotten": Mutant(
            lambda *given: _by_hand(*given, weigh=False),
            "the factor of the weights is missing in the gradient of the scores.",
        ),
        "of the queries": Mutant(
            _query_gradient,
            "this is the gradient of the queries: the keys' has a row for each key, so transpose.",
        ),
    },
)

# --- late-sink: o sigmoid(lse - b)


def _late_sink(output: Tensor, lse: Tensor, sink: float) -> Tensor:
    nothing = Attended(torch.zeros_like(output), None, torch.full_like(lse, sink))
    return merge(Attended(output, None, lse), nothing).output


def _sink_cases(generator: torch.Generator) -> list[Case]:
    return [
        {"output": _normal(generator, n, dv), "lse": _normal(generator, n) + level, "sink": level + step}
        for n, dv, level, step in ((2, 3, 0.0, 0.5), (3, 2, 2.0, -1.0), (4, 1, 2000.0, 0.0))
    ]


def _times(share):
    return lambda output, lse, sink: share(lse, sink)[:, None] * output


LATE_SINK = Exercise(
    name="late-sink",
    reference=_late_sink,
    cases=_sink_cases,
    mutants={
        "the sink's share": Mutant(
            _times(lambda lse, sink: torch.sigmoid(sink - lse)),
            "this is the sink's own share: the keys keep the rest.",
        ),
        "lse for its exponential": Mutant(
            _times(lambda lse, sink: lse / (lse + sink)),
            "shares of logarithms: the sums of exponentials are e^lse and e^sink.",
        ),
        "sink for its exponential": Mutant(
            _times(lambda lse, sink: torch.sigmoid(lse - torch.tensor(sink, dtype=lse.dtype).log())),
            "the sink is taken for a sum of exponentials: it is a score, and counts as e^sink.",
        ),
        "as if lse were zero": Mutant(
            _times(lambda lse, sink: torch.sigmoid(torch.full_like(lse, -sink))),
            "every row gives the sink the same share: a row with a large lse gives it less.",
        ),
        "unchanged": Mutant(
            lambda output, lse, sink: output.clone(),
            "the output is unchanged: the sink takes a share of every row.",
        ),
        "no maximum": Mutant(
            _times(lambda lse, sink: lse.exp() / (lse.exp() + torch.tensor(sink).exp())),
            "has exp overflowed?",
        ),
        "sink subtracted": Mutant(
            lambda output, lse, sink: output - sink,
            "the sink is subtracted from the output: it is a score, and acts through the weights.",
        ),
    },
)

EXERCISES = (ONLINE, MERGE, TILE_KINDS, CAUSAL_TILES, GRADIENT, LATE_SINK)


def _normal(generator: torch.Generator, *shape: int) -> Tensor:
    return torch.randn(*shape, generator=generator, dtype=torch.float64)
