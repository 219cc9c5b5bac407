"""Maps of attention weights alone: what one layer shows, what all compose to. They know no class."""

from numbers import Real

import torch
from jaxtyping import Float
from torch import Tensor

FUSIONS = {"mean": lambda weights: weights.mean(-3), "max": lambda w: w.amax(-3), "min": lambda w: w.amin(-3)}


def raw(weights: Float[Tensor, "*batch heads n n"], head: int | None = None) -> Float[Tensor, "*batch n n"]:
    r"""Attention as one layer shows it: the mean over its heads, or one head by itself.

    $\bar A = \frac{1}{H} \sum_h A^h$; its row of CLS is the map of Caron et al. (2021, DINO), section 4.2.2.
    """
    if head is None:
        return weights.mean(-3)
    heads = weights.shape[-3]
    if not isinstance(head, int) or isinstance(head, bool) or not 0 <= head < heads:
        raise ValueError(
            f"`head` must be one of this layer's {heads}, 0 to {heads - 1}; got {head!r}. None is their mean."
        )
    return weights[..., head, :, :]


def fuse(
    weights: Float[Tensor, "*batch heads n n"], heads: str = "mean", discard: Real = 0.0
) -> Float[Tensor, "*batch n n"]:
    """One matrix of several heads, with the smallest weights left out.

    `heads` is "mean", "max" or "min", entry by entry. `discard` is the share, of the entries of each matrix,
    that is set to 0, smallest first; only the weight of CLS for itself always stays. Both are later practice
    (Gildenblat 2020), not Abnar & Zuidema's. Rows need not sum to 1 afterwards.
    """
    if heads not in FUSIONS:
        raise ValueError(f"`heads` must be one of {', '.join(FUSIONS)}; got {heads!r}.")
    if isinstance(discard, bool) or not isinstance(discard, Real) or not 0 <= discard < 1:
        raise ValueError(f"`discard` must be a share, from 0 to below 1; got {discard!r}.")
    return without_smallest(FUSIONS[heads](weights), discard)


def without_smallest(matrix: Float[Tensor, "*batch n n"], share: Real) -> Float[Tensor, "*batch n n"]:
    """A copy with that share of each matrix's entries set to 0, smallest first, but never entry (0, 0)."""
    flat = matrix.flatten(-2)
    ranked = torch.cat([flat[..., :1] + flat.amax(-1, keepdim=True) + 1, flat[..., 1:]], dim=-1)
    smallest = ranked.argsort(dim=-1, stable=True)[..., : int(share * flat.shape[-1])]
    return flat.scatter(-1, smallest, 0.0).unflatten(-1, matrix.shape[-2:])


def with_residual(matrix: Float[Tensor, "*batch n n"], residual: Real = 0.5) -> Float[Tensor, "*batch n n"]:
    r"""What a layer passes on, $\rho I + (1 - \rho) A$: the tokens that go past attention, and attention.

    Abnar & Zuidema (2020), section 3, with $\rho = 0.5$; the rows are divided by their sums as they need not
    be 1 after `fuse`. (Each row by its own sum: without `keepdim=True` a square matrix takes the wrong one,
    silently.)
    """
    if isinstance(residual, bool) or not isinstance(residual, Real) or not 0 <= residual <= 1:
        raise ValueError(f"`residual` must be a share, from 0 to 1; got {residual!r}.")
    identity = torch.eye(matrix.shape[-1], dtype=matrix.dtype, device=matrix.device)
    mixed = residual * identity + (1 - residual) * matrix
    return mixed / mixed.sum(-1, keepdim=True)


def compose(matrices: Float[Tensor, "*batch layers n n"]) -> Float[Tensor, "*batch n n"]:
    r"""The matrix product over layers, later ones on the left: $M^L \cdots M^2 M^1$.

    Row i says from which of the first layer's tokens the last layer's token i comes: the sum over all paths
    of the product of the weights on the path. No dot product, and no commuting.
    """
    product, *later = matrices.unbind(-3)
    for matrix in later:
        product = matrix @ product
    return product


def rollout(
    weights: Float[Tensor, "batch layers heads n n"],
    residual: Real = 0.5,
    heads: str = "mean",
    discard: Real = 0.0,
) -> Float[Tensor, "batch n n"]:
    r"""Attention rollout, of Abnar & Zuidema (2020), section 3, equation 1.

    $\tilde A = M^L \cdots M^2 M^1$ with $M^l = \mathrm{rows}(\rho I + (1 - \rho) \bar A^l)$, where $\bar A^l$
    is `fuse` of layer l's heads, and rows() divides each row by its sum.

    `weights` of the layers in their order; every row of the result sums to 1. `residual` is $\rho$: 0 forgets
    the tokens that go past attention, 1 gives the identity.
    """
    return compose(with_residual(fuse(weights, heads, discard), residual))
