"""Maps of a target's gradients, with respect to attention weights, tokens or pixels."""

from collections.abc import Callable, Sequence
from numbers import Real

import torch
from jaxtyping import Float
from torch import Tensor

from attention_core.explain.attention import compose, with_residual, without_smallest


def gradients(
    score: Float[Tensor, " batch"], tensors: Sequence[Tensor], patches: int = 0
) -> tuple[Tensor, ...]:
    r"""$\partial f / \partial x$ for each tensor x of a batch, each image's score having its own gradient.

    No parameter's `.grad` is touched. The last `patches` entries of axis 1 (or, of attention weights, of the
    keys) are those of patches: an image none of whose patches gets any gradient, in any tensor, raises
    `ValueError`, as its map would be 0 everywhere and an honest colour scale would still make a picture of
    it.
    """
    if not score.requires_grad:
        raise ValueError(
            "`target` does not depend on the image: nothing has a gradient. Compute it from the logits that "
            "the function is given, without `.detach()` or `.item()`."
        )
    found = torch.autograd.grad(score.sum(), tensors, retain_graph=True, allow_unused=True)
    found = tuple(
        torch.zeros_like(x) if gradient is None else gradient
        for gradient, x in zip(found, tensors, strict=True)
    )
    if patches:
        _check_reached(found, patches)
    return found


def _check_reached(found: Sequence[Tensor], patches: int) -> None:
    axis = {3: 1, 4: 3}  # tokens (batch, n, width), weights (batch, heads, n, n): the keys
    parts = [g.narrow(axis[g.ndim], g.shape[axis[g.ndim]] - patches, patches).flatten(1) for g in found]
    reached = torch.stack([(part != 0).any(1) for part in parts]).any(0)
    if not reached.all():
        images = (~reached).nonzero().flatten().tolist()
        raise ValueError(
            f"all gradients of the patches are exactly 0 in images {images}: these tokens do not reach the "
            "output. Behind the last block's attention a head that reads CLS alone sees no patch any more. "
            "Look where patches still count: at the last block's first norm (`method='gradcam'`), or in an "
            "earlier layer."
        )


def grad_rollout(
    weights: Float[Tensor, "batch layers heads n n"],
    gradient: Float[Tensor, "batch layers heads n n"],
    residual: Real = 0.5,
    discard: Real = 0.0,
) -> Float[Tensor, "batch n n"]:
    r"""Gradient attention rollout, of Gildenblat (2020): rollout of weights times gradients.

    $\tilde A = M^L \cdots M^1$ with $M^l = \mathrm{rows}(\rho I + (1 - \rho)\, (\frac{1}{H} \sum_h A^h \odot
    \nabla A^h)^+)$: heads are averaged first, then what is negative is dropped; `discard` as in `fuse`.

    Gradients in the order of the layers. (A backward hook that appends to a list meets the last layer first,
    and so pairs each layer's weights with another's gradients; nothing crashes.)
    """
    matrix = without_smallest((weights * gradient).mean(-3).clamp(min=0.0), discard)
    return compose(with_residual(matrix, residual))


def chefer(
    weights: Float[Tensor, "batch layers heads n n"], gradient: Float[Tensor, "batch layers heads n n"]
) -> Float[Tensor, "batch n n"]:
    r"""Relevance of Chefer et al. (2021, ICCV), equations 5 and 6.

    $R \leftarrow R + \bar A^l R$ over the layers in order, from $R = I$, with $\bar A^l = \frac{1}{H} \sum_h
    (\nabla A^h \odot A^h)^+$: dropped first, then averaged, unlike `grad_rollout`. The map is the row of CLS,
    never negative.
    """
    step = (weights * gradient).clamp(min=0.0).mean(-3)  # (batch, layers, n, n)
    relevance = torch.eye(step.shape[-1], dtype=step.dtype, device=step.device).expand(len(step), -1, -1)
    for matrix in step.unbind(1):
        relevance = relevance + matrix @ relevance
    return relevance


def gradcam(
    tokens: Float[Tensor, "batch n width"], gradient: Float[Tensor, "batch n width"], prefix: int = 1
) -> Float[Tensor, "batch n"]:
    r"""GradCAM of Selvaraju et al. (2016), equations 1 and 2: tokens are places, features are channels.

    $S_i = (\sum_d \alpha_d T_{id})^+$ with $\alpha_d = \frac{1}{N} \sum_{i \in patches} \partial f / \partial
    T_{id}$: one weight a feature, the mean over the N patches, so a patch counts by what it holds and not by
    its own gradient.

    Which tokens? Gildenblat's library puts them at the last block's first norm. At the output of the last
    attention, the nearest to GradCAM's "last convolutional layer", the gradients are 0 where the head reads
    CLS alone. The `prefix` tokens before the patches get a score too, but no say in the mean.
    """
    alpha = gradient[:, prefix:].mean(1, keepdim=True)
    return (tokens * alpha).sum(-1).clamp(min=0.0)


def legrad(
    scores: Sequence[Float[Tensor, " batch"]],
    weights: Sequence[Float[Tensor, "batch heads n n"]],
    patches: int = 0,
) -> Float[Tensor, "batch n"]:
    r"""LeGrad, of Bousselham et al. (2024), section 3: what each layer's own score gains by more attention.

    $S_j = \frac{1}{L} \sum_l \frac{1}{Hn} \sum_{h,i} (\partial s_l / \partial A^{lh}_{ij})^+$: the gradient
    itself, not times the weights, averaged over heads h and queries i, then over layers. $s_l$ is what the
    last norm and the head make of layer l's tokens pooled, so its gradient passes through block l alone. The
    authors' code scales the sum to [0, 1] for each image; this does not.
    """
    maps = []
    for score, matrix in zip(scores, weights, strict=True):
        (gradient,) = gradients(score, [matrix], patches)
        maps.append(gradient.clamp(min=0.0).mean((1, 2)))
    return torch.stack(maps).mean(0)


def gradient_x_input(
    images: Float[Tensor, "batch channels height width"],
    gradient: Float[Tensor, "batch channels height width"],
    grid: tuple[int, int],
) -> Float[Tensor, "batch rows columns"]:
    r"""Gradient times input, of Shrikumar et al. (2016): $x_p\, \partial f / \partial x_p$.

    Summed over the pixels and colours p of each patch. A black pixel scores 0 whatever it means: black is the
    silent baseline of the product.
    """
    return per_patch(images * gradient, grid)


def integrated_gradients(
    score: Callable[[Tensor], Float[Tensor, " batch"]],
    images: Float[Tensor, "batch channels height width"],
    baseline: Float[Tensor, "batch channels height width"],
    grid: tuple[int, int],
    steps: int = 32,
) -> Float[Tensor, "batch rows columns"]:
    r"""Integrated gradients, of Sundararajan et al. (2017), equation 1, by the midpoint rule.

    $S_p = (x_p - x'_p) \int_0^1 \partial f(x' + \alpha (x - x')) / \partial x_p\, d\alpha \approx (x_p -
    x'_p) \frac{1}{m} \sum_{k=1}^{m} \partial f(x' + \frac{k - 1/2}{m} (x - x')) / \partial x_p$, summed over
    the pixels and colours of each patch.

    Complete: all pixels together give $f(x) - f(x')$, but for the rule's error, which falls with $1/m^2$.
    `score` is f, of images; costs `steps` forward and backward passes.
    """
    total = torch.zeros_like(images)
    for step in range(steps):
        point = (baseline + (step + 0.5) / steps * (images - baseline)).detach().requires_grad_()
        (gradient,) = torch.autograd.grad(score(point).sum(), [point])
        total += gradient
    return per_patch((images - baseline) * total / steps, grid)


def per_patch(
    pixels: Float[Tensor, "batch channels height width"], grid: tuple[int, int]
) -> Float[Tensor, "batch rows columns"]:
    """Sums over the pixels and colours of each patch; a rest that no patch covers is left out."""
    (rows, columns), (height, width) = grid, pixels.shape[-2:]
    down, across = height // rows, width // columns
    covered = pixels[..., : rows * down, : columns * across]
    return covered.unflatten(-1, (columns, across)).unflatten(-3, (rows, down)).sum((1, 3, 5))
