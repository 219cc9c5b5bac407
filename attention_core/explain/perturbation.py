"""Maps made by taking parts away: what the score loses without a patch is what the patch was worth."""

from collections.abc import Callable
from numbers import Real

import torch
from jaxtyping import Float
from torch import Tensor


def token_drop(
    score: Callable[[Tensor], Float[Tensor, " batch"]],
    tokens: Float[Tensor, "batch n width"],
    prefix: int = 1,
) -> Float[Tensor, "batch patches"]:
    r"""Each patch's token left out: $S_i = f(T) - f(T \setminus T_i)$, the erasure of Li et al. (2016).

    `tokens` are those that the first block reads, positions added, the `prefix` before the patches; `score`
    is f, of any number of tokens. Attention needs no fixed number of keys, so the patch is truly gone, and
    nothing false stands in its place. Costs a forward pass for each patch.
    """
    whole = score(tokens)
    places = torch.arange(tokens.shape[1], device=tokens.device)
    without = [score(tokens[:, places != place]) for place in places[prefix:].tolist()]
    return whole[:, None] - torch.stack(without, dim=1)


def occlusion(
    score: Callable[[Tensor], Float[Tensor, " batch"]],
    images: Float[Tensor, "batch channels height width"],
    grid: tuple[int, int],
    fill: Real | None = None,
) -> Float[Tensor, "batch rows columns"]:
    r"""Each patch covered: $S_i = f(x) - f(x^{(i)})$, of Zeiler & Fergus (2013), section 4.2.

    With the image's mean colour, or with `fill` in all channels. The cover is itself something to see, maybe
    nothing the model met in training: compare `token_drop`. Costs a forward pass for each patch.
    """
    (rows, columns), (height, width) = grid, images.shape[-2:]
    down, across = height // rows, width // columns
    cover = images.mean((2, 3), keepdim=True) if fill is None else torch.full_like(images[..., :1, :1], fill)
    whole, scores = score(images), []
    for row in range(rows):
        for column in range(columns):
            covered = images.clone()
            covered[..., row * down : (row + 1) * down, column * across : (column + 1) * across] = cover
            scores.append(whole - score(covered))
    return torch.stack(scores, dim=1).unflatten(1, grid)
