"""Exercises of the chapter "Attention maps in a vision transformer": float64 numbers, boolean masks."""

import torch
from torch import Tensor

from attention_core.checks import Case, Exercise, Mutant

# --- patchify: an image (channels, height, width) as patches (rows * columns, channels * side * side)


def _cut(image: Tensor, side: int) -> Tensor:
    """(channels, rows, side, columns, side)."""
    return image.unflatten(2, (-1, side)).unflatten(1, (-1, side))


def _patchify(image: Tensor, side: int, order: tuple[int, ...] = (1, 3, 0, 2, 4)) -> Tensor:
    return _cut(image, side).permute(order).flatten(2).flatten(0, 1)


def _patchify_cases(generator: torch.Generator) -> list[Case]:
    sizes = ((1, 4, 4, 2), (3, 4, 6, 2), (2, 9, 6, 3))
    return [{"image": _normal(generator, *shape), "side": side} for *shape, side in sizes]


def _patchify_in_place(image: Tensor, side: int) -> Tensor:
    answer = _patchify(image, side)
    image -= 0.5
    return answer


PATCHIFY = Exercise(
    name="patchify",
    reference=_patchify,
    cases=_patchify_cases,
    mutants={
        "strips": Mutant(
            lambda image, side: image.reshape(-1, len(image) * side * side),
            "these are strips: a reshape alone reads whole rows of the image, across several patches.",
        ),
        "channels last": Mutant(
            lambda image, side: _patchify(image, side, (1, 3, 2, 4, 0)),
            "the channels come last inside each patch: first all of one channel, as in the weights of E.",
        ),
        "column by column": Mutant(
            lambda image, side: _patchify(image, side, (3, 1, 0, 2, 4)),
            "the patches are read column by column: row by row, as the tokens stand.",
        ),
        "turned inside": Mutant(
            lambda image, side: _patchify(image, side, (1, 3, 0, 4, 2)),
            "the pixels of each patch are read column by column: row by row.",
        ),
        "one channel a patch": Mutant(
            lambda image, side: _cut(image, side).permute(0, 1, 3, 2, 4).flatten(3).flatten(0, 2),
            "each channel has patches of its own here: a patch holds all its channels.",
        ),
        "transposed": Mutant(
            lambda image, side: _patchify(image, side).mT,
            "It is transposed: each row is a patch, as `unfold` has them in columns.",
        ),
        "in place": Mutant(_patchify_in_place, "modified in place"),
    },
)

# --- patch-shares: what share of each patch a mask covers


def _shares(mask: Tensor, side: int) -> Tensor:
    return _cut(mask.double()[None], side)[0].mean((1, 3))


def _mask_cases(generator: torch.Generator) -> list[Case]:
    sizes = ((4, 4, 2), (6, 9, 3), (8, 4, 4), (6, 4, 2))
    return [{"mask": torch.rand(h, w, generator=generator) < 0.4, "side": side} for h, w, side in sizes]


PATCH_SHARES = Exercise(
    name="patch-shares",
    reference=_shares,
    cases=_mask_cases,
    mutants={
        "touched": Mutant(
            lambda mask, side: (_shares(mask, side) > 0).double(),
            "a patch that is touched counts as covered: it should count by the part that is.",
        ),
        "majority": Mutant(
            lambda mask, side: (_shares(mask, side) >= 0.5).double(),
            "patches are rounded to covered or not: one with a quarter on the object counts 0.25.",
        ),
        "counts": Mutant(
            lambda mask, side: _shares(mask, side) * side * side,
            "these are numbers of pixels: divide by how many a patch has.",
        ),
        "one pixel": Mutant(
            lambda mask, side: mask[::side, ::side].double(),
            "only the first pixel of each patch is asked: all of them count.",
        ),
        "of the object": Mutant(
            lambda mask, side: _shares(mask, side) / _shares(mask, side).sum(),
            "these sum to 1, the object's share in each patch: asked is the share of each patch on it.",
        ),
        "the ground": Mutant(
            lambda mask, side: 1 - _shares(mask, side),
            "this is the share that the mask leaves free: True is the object.",
        ),
        "strips": Mutant(
            lambda mask, side: (
                mask.double()
                .reshape(-1, side * side)
                .mean(1)
                .unflatten(0, (len(mask) // side, mask.shape[1] // side))
            ),
            "the mask is cut into strips: a reshape alone runs along whole rows, across patches.",
        ),
    },
)

# --- neighbourhood: how much of what patches give to patches stays within a square of the grid


def _among(weights: Tensor) -> Tensor:
    shares = weights[:, 1:, 1:]
    return shares / shares.sum(-1, keepdim=True)


def _near(n: int, columns: int, radius: int) -> Tensor:
    index = torch.arange(n)
    down, across = index // columns, index % columns
    return _within(down, radius) & _within(across, radius)


def _within(place: Tensor, radius: int) -> Tensor:
    return (place[:, None] - place).abs() <= radius


def _neighbourhood(weights: Tensor, columns: int, radius: int) -> Tensor:
    shares = _among(weights)
    return (shares * _near(shares.shape[-1], columns, radius)).sum(-1).mean(-1)


def _neighbourhood_cases(generator: torch.Generator) -> list[Case]:
    return [
        {
            "weights": torch.softmax(_normal(generator, heads, 1 + rows * columns, 1 + rows * columns), -1),
            "columns": columns,
            "radius": radius,
        }
        for heads, rows, columns, radius in ((2, 3, 4, 1), (1, 5, 3, 1), (3, 4, 4, 2), (2, 2, 5, 0))
    ]


def _by_index(weights: Tensor, columns: int, radius: int) -> Tensor:
    shares = _among(weights)
    return (shares * _within(torch.arange(shares.shape[-1]), radius)).sum(-1).mean(-1)


def _city_blocks(weights: Tensor, columns: int, radius: int) -> Tensor:
    shares = _among(weights)
    index = torch.arange(shares.shape[-1])
    down, across = index // columns, index % columns
    steps = (down[:, None] - down).abs() + (across[:, None] - across).abs()
    return (shares * (steps <= radius)).sum(-1).mean(-1)


def _columns_as_rows(weights: Tensor, columns: int, radius: int) -> Tensor:
    shares = _among(weights)
    return (shares * _near(shares.shape[-1], shares.shape[-1] // columns, radius)).sum(-1).mean(-1)


def _cls_kept(weights: Tensor, columns: int, radius: int) -> Tensor:
    patches = weights[:, 1:, 1:]
    return (patches * _near(patches.shape[-1], columns, radius)).sum(-1).mean(-1)


def _neighbourhood_in_place(weights: Tensor, columns: int, radius: int) -> Tensor:
    answer = _neighbourhood(weights, columns, radius)
    weights /= weights.sum(-1, keepdim=True) + 1
    return answer


NEIGHBOURHOOD = Exercise(
    name="neighbourhood",
    reference=_neighbourhood,
    cases=_neighbourhood_cases,
    mutants={
        "CLS kept": Mutant(
            _cls_kept,
            "what goes to CLS still counts in the whole: divide each row by what it gives to patches.",
        ),
        "by index": Mutant(
            _by_index,
            "distance is taken along the list of patches: the last of a row and the first of the next are "
            "neighbours there, and not in the picture.",
        ),
        "city blocks": Mutant(
            _city_blocks,
            "rows and columns away are added up: each of the two may reach the radius.",
        ),
        "rows for columns": Mutant(
            _columns_as_rows,
            "the grid is turned: `columns` is how many patches stand in a row.",
        ),
        "not itself": Mutant(
            lambda weights, columns, radius: (
                (_among(weights) * _near(weights.shape[-1] - 1, columns, radius).fill_diagonal_(False))
                .sum(-1)
                .mean(-1)
            ),
            "the patch itself is left out: it belongs to its neighbourhood.",
        ),
        "excluding the radius": Mutant(
            lambda weights, columns, radius: _neighbourhood(weights, columns, radius - 1),
            "off by one: a patch exactly `radius` away is still a neighbour.",
        ),
        "by key": Mutant(
            lambda weights, columns, radius: _neighbourhood(weights.mT, columns, radius),
            "rows and columns of the weights are swapped: the rows ask.",
        ),
        "CLS asks": Mutant(
            lambda weights, columns, radius: (
                _among(weights) * _near(weights.shape[-1] - 1, columns, radius)
            ).sum(-1)[:, 0],
            "only the first patch is asked: take the mean over all that ask.",
        ),
        "in place": Mutant(_neighbourhood_in_place, "modified in place"),
    },
)

# --- rollout: the product over layers of residual * I + (1 - residual) * mean over heads


def _mixed(weights: Tensor, residual: float) -> Tensor:
    identity = torch.eye(weights.shape[-1], dtype=weights.dtype)
    return residual * identity + (1 - residual) * weights.mean(1)


def _rollout(weights: Tensor, residual: float) -> Tensor:
    product, *later = _mixed(weights, residual)
    for matrix in later:
        product = matrix @ product
    return product


def _rollout_cases(generator: torch.Generator) -> list[Case]:
    return [
        {"weights": torch.softmax(2 * _normal(generator, layers, heads, n, n), -1), "residual": residual}
        for layers, heads, n, residual in ((2, 1, 3, 0.5), (3, 2, 4, 0.25), (4, 3, 3, 0.7), (1, 2, 2, 0.2))
    ]


def _rollout_entries(weights: Tensor, residual: float) -> Tensor:
    return _mixed(weights, residual).prod(0)


def _rollout_of(weights: Tensor, fused: Tensor, residual: float) -> Tensor:
    """Rollout of one fused matrix a layer."""
    return _rollout(fused[:, None], residual)


def _rollout_sum(weights: Tensor, residual: float) -> Tensor:
    identity = torch.eye(weights.shape[-1], dtype=weights.dtype)
    product = identity
    for layer in weights.mean(1):
        product = (identity + layer) @ product
    return product


def _rollout_in_place(weights: Tensor, residual: float) -> Tensor:
    answer = _rollout(weights, residual)
    weights *= 1 - residual
    return answer


ROLLOUT = Exercise(
    name="rollout",
    reference=_rollout,
    cases=_rollout_cases,
    weights=True,
    mutants={
        "earliest on the left": Mutant(
            lambda weights, residual: _rollout(weights.flip(0), residual),
            "the layers are multiplied in the wrong order: each new layer comes to the left.",
        ),
        "entry by entry": Mutant(
            _rollout_entries,
            "the layers are multiplied entry by entry: that allows only ways on which each layer takes the "
            "same step.",
        ),
        "average": Mutant(
            lambda weights, residual: _mixed(weights, residual).mean(0),
            "this is the average of the layers: the product adds up ways through all of them.",
        ),
        "no residual": Mutant(
            lambda weights, residual: _rollout(weights, 0.0),
            "the residual is missing: a token is added to, and not replaced.",
        ),
        "swapped shares": Mutant(
            lambda weights, residual: _rollout(weights, 1 - residual),
            "the two shares are swapped: `residual` is that of the identity.",
        ),
        "always half": Mutant(
            lambda weights, residual: _rollout(weights, 0.5),
            "identity and attention count half each, whatever `residual` says.",
        ),
        "not shares": Mutant(
            _rollout_sum,
            "A + I is not divided: rows sum to 2 in each layer, and grow.",
        ),
        "maximum of heads": Mutant(
            lambda weights, residual: _rollout_of(weights, weights.amax(1), residual),
            "the heads are fused by their maximum: average them.",
        ),
        "first head": Mutant(
            lambda weights, residual: _rollout_of(weights, weights[:, 0], residual),
            "only the first head is used: average all of them.",
        ),
        "last layer": Mutant(
            lambda weights, residual: _mixed(weights, residual)[-1],
            "this is the last layer alone: multiply by those below it.",
        ),
        "in place": Mutant(_rollout_in_place, "modified in place"),
    },
)

# --- pointing-game: does the largest value stand on a patch that touches the object, ties by their part


def _peaks(maps: Tensor) -> Tensor:
    values = maps.flatten(1)
    return values == values.amax(1, keepdim=True)


def _pointing(maps: Tensor, shares: Tensor) -> Tensor:
    peaks = _peaks(maps)
    return (peaks & (shares.flatten(1) > 0)).sum(1).double() / peaks.sum(1)


def _pointing_cases(generator: torch.Generator) -> list[Case]:
    cases = []
    for pictures, rows, columns in ((6, 2, 3), (8, 3, 3), (5, 4, 2)):
        shares = torch.rand(pictures, rows, columns, generator=generator, dtype=torch.float64)
        shares = (shares - 0.4).clamp_min(0)
        maps = torch.randint(4, shares.shape, generator=generator).double() - 1
        maps[0] = -1.0  # the same everywhere
        cases.append({"maps": maps, "shares": shares})
    return cases


def _pointing_gathered(maps: Tensor, shares: Tensor, threshold: float = 0.0) -> Tensor:
    return (shares.flatten(1).gather(1, maps.flatten(1).argmax(1, keepdim=True)) > threshold)[:, 0].double()


def _pointing_in_place(maps: Tensor, shares: Tensor) -> Tensor:
    answer = _pointing(maps, shares)
    maps -= maps.amax((1, 2), keepdim=True)
    return answer


POINTING_GAME = Exercise(
    name="pointing-game",
    reference=_pointing,
    cases=_pointing_cases,
    mutants={
        "first of equals": Mutant(
            _pointing_gathered,
            "of several equal maxima only the first is asked: a constant map would be judged by its corner.",
        ),
        "best of equals": Mutant(
            lambda maps, shares: (_peaks(maps) & (shares.flatten(1) > 0)).any(1).double(),
            "one hit among several equal maxima counts as a whole: a constant map would be perfect.",
        ),
        "all of equals": Mutant(
            lambda maps, shares: (~_peaks(maps) | (shares.flatten(1) > 0)).all(1).double(),
            "all of several equal maxima must hit here: each counts for its part.",
        ),
        "by its share": Mutant(
            lambda maps, shares: (_peaks(maps) * shares.flatten(1)).sum(1) / _peaks(maps).sum(1),
            "a hit counts by how much of the patch is covered: to touch the object is a whole hit.",
        ),
        "mostly covered": Mutant(
            lambda maps, shares: (
                (_peaks(maps) & (shares.flatten(1) >= 0.5)).sum(1).double() / _peaks(maps).sum(1)
            ),
            "only a patch that is half covered counts as a hit: a share above 0 is enough.",
        ),
        "smallest": Mutant(
            lambda maps, shares: _pointing(-maps, shares),
            "the smallest value is taken: the game asks for the largest.",
        ),
        "over all pictures": Mutant(
            lambda maps, shares: _pointing(maps, shares).mean().expand(len(maps)).clone(),
            "this is the mean over the pictures: return a number for each.",
        ),
        "in place": Mutant(_pointing_in_place, "modified in place"),
    },
)

# --- two-layer-flow: sum over k of min(upper[i, k], lower[k, j])


def _two_layer_flow(upper: Tensor, lower: Tensor) -> Tensor:
    return torch.minimum(upper[:, :, None], lower[None]).sum(1)


def _flow_cases(generator: torch.Generator) -> list[Case]:
    worked = {
        "upper": torch.tensor([[0.5, 0.25, 0.25], [0, 1, 0], [0, 0, 1]], dtype=torch.float64),
        "lower": torch.tensor([[1, 0, 0], [0, 1, 0], [0, 0.5, 0.5]], dtype=torch.float64),
    }
    drawn = [
        {name: torch.softmax(2 * _normal(generator, n, n), -1) for name in ("upper", "lower")}
        for n in (2, 4, 6)
    ]
    return [worked, *drawn]


def _flow_in_place(upper: Tensor, lower: Tensor) -> Tensor:
    answer = _two_layer_flow(upper, lower)
    lower.clamp_(max=0.1)
    return answer


TWO_LAYER_FLOW = Exercise(
    name="two-layer-flow",
    reference=_two_layer_flow,
    cases=_flow_cases,
    mutants={
        "rollout": Mutant(
            lambda upper, lower: upper @ lower,
            "this is rollout: along a way, the narrower pipe counts, and not the product.",
        ),
        "widest way": Mutant(
            lambda upper, lower: torch.minimum(upper[:, :, None], lower[None]).amax(1),
            "only the best way is counted: water takes all of them at once.",
        ),
        "min of sums": Mutant(
            lambda upper, lower: torch.minimum(upper.sum(-1)[:, None], lower.sum(0)[None]),
            "what leaves the top and what reaches the bottom are compared: each way has its own narrow pipe.",
        ),
        "swapped": Mutant(
            lambda upper, lower: _two_layer_flow(lower, upper),
            "the layers are swapped: water runs through `upper` first.",
        ),
        "entry by entry": Mutant(
            lambda upper, lower: torch.minimum(upper, lower),
            "pipes of the same place are compared: a way goes i to k, then k to j, for any k.",
        ),
        "bottom to top": Mutant(
            lambda upper, lower: _two_layer_flow(upper, lower).mT,
            "It runs from the bottom to the top: rows are tokens on top.",
        ),
        "shares": Mutant(
            lambda upper, lower: (
                _two_layer_flow(upper, lower) / _two_layer_flow(upper, lower).sum(-1, keepdim=True)
            ),
            "the rows are divided by their sums: each pair is asked by itself, and the sum may pass 1.",
        ),
        "wider pipe": Mutant(
            lambda upper, lower: torch.maximum(upper[:, :, None], lower[None]).sum(1),
            "the wider pipe of each way is taken: the narrower one holds the water back.",
        ),
        "in place": Mutant(_flow_in_place, "modified in place"),
    },
)

EXERCISES = (PATCHIFY, PATCH_SHARES, NEIGHBOURHOOD, ROLLOUT, POINTING_GAME, TWO_LAYER_FLOW)


def _normal(generator: torch.Generator, *shape: int) -> Tensor:
    return torch.randn(*shape, generator=generator, dtype=torch.float64)
