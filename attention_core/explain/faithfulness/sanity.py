"""Does the map depend on the model, and on what it really uses? Tests that many a good-looking map fails."""

import copy
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from attention_core import heads
from attention_core.explain.faithfulness.discrimination import correlation
from attention_core.explain.faithfulness.given import checked_maps, coverage
from attention_core.explain.faithfulness.localization import mass, pointing_game

Explainer = Callable[[nn.Module, Tensor], Tensor]
REST = "embedding"  # what no other stage names


def randomization_cascade(
    model: nn.Module,
    images: Float[Tensor, "batch channels height width"],
    explain: Explainer,
    *,
    stages: Mapping[str, Sequence[str]] | None = None,
    cascade: bool = True,
    ranks: bool = True,
    seed: int = 0,
) -> dict[str, Float[Tensor, " batch"]]:
    r"""How alike a map stays as the model loses what it learnt, stage by stage (Adebayo et al., 2018).

    $$\rho(s(x; \theta), \; s(x; \theta'_k))$$

    with $\theta'_k$ the parameters of the first k stages drawn anew, the others as trained, and $\rho$
    Spearman's rank correlation of the two maps of each image (`correlation`). Stages go down from the head.
    A map that stays alike after the model has forgotten its classes cannot explain them.

    Each tensor is drawn from a normal distribution of its own mean and standard deviation, so that signals
    keep their scale and a map changes for what was learnt. The test is one-sided: a random map passes it,
    so passing says nothing good of a map (Binder et al., 2022).

    Parameters
    ----------
    model
        Copied; the one that is given is not changed.
    explain
        Called as `explain(model, images)` with each of the randomised models; gives maps (batch, rows,
        columns), for instance `lambda model, images: explain.explain(model, images, target,
        "chefer").values`.
    stages
        By name, in order, how the names of its parameters begin: `{"head": ["classifier"], ...}`. If not
        given, those of `models.ViT`: the head with the last norm, the blocks from the last, and
        "embedding", all else.
    cascade
        Draw each stage in addition to those before it; if False, each stage alone and the rest as trained.
    ranks
        Spearman's correlation; if False, Pearson's.
    seed
        Of the drawing. A stage is drawn alike in the cascade and alone.

    Returns
    -------
    dict
        By stage, for each image a correlation from -1 to 1. 1: nothing changed. Unrelated maps are near 0.

    Raises
    ------
    ValueError
        If a stage names no parameter, or `explain` gives no maps.
    """
    stages = _stages(model) if stages is None else stages
    names = _names(model, stages)
    before = checked_maps(explain(model, images), "explain(model, images)")
    found, lost = {}, []
    for stage in stages:
        lost = [*lost, *names[stage]] if cascade else names[stage]
        after = explain(randomized(model, lost, seed=seed), images)
        found[stage] = correlation(before, checked_maps(after, "explain(model, images)"), ranks=ranks)
    return found


@torch.no_grad()
def randomized(model: nn.Module, names: Sequence[str], *, seed: int = 0) -> nn.Module:
    """A copy of the model whose parameters of these names are drawn anew, of their own mean and deviation."""
    other = copy.deepcopy(model)
    parameters = dict(other.named_parameters())
    for number, name in enumerate(parameters):
        if name in names:  # by its number in the model: the same draw whatever else is drawn
            generator = torch.Generator().manual_seed(seed * len(parameters) + number)
            values = parameters[name]
            noise = torch.randn(values.shape, generator=generator, dtype=torch.float64)
            mean, deviation = values.double().mean().cpu(), values.double().std(correction=0).cpu()
            values.copy_(mean + deviation * noise)
    return other


def _stages(model: nn.Module) -> dict[str, list[str]]:
    """Of a `models.ViT`, from the head down."""
    blocks, head = getattr(model, "blocks", None), getattr(model, "head", None)
    if not isinstance(blocks, nn.ModuleList) or not isinstance(head, nn.Module):
        raise ValueError(
            f"`stages` must say in which order {type(model).__name__} forgets, by the names of its "
            'parameters: stages={"head": ["classifier"], "block 11": ["vit.encoder.layer.11."], ...}. '
            "Only models.ViT with classes has stages of its own."
        )
    downwards = {f"block {number}": [f"blocks.{number}."] for number in reversed(range(len(blocks)))}
    return {"head": ["head.", "distillation_head.", "norm."], **downwards, REST: []}


def _names(model: nn.Module, stages: Mapping[str, Sequence[str]]) -> dict[str, list[str]]:
    """The parameters of each stage; those that no stage names belong to the one that names none."""
    every = [name for name, _ in model.named_parameters()]
    found = {stage: [n for n in every if n.startswith(tuple(begin))] for stage, begin in stages.items()}
    named = {name for own in found.values() for name in own}
    for stage, begin in stages.items():
        if not begin:
            found[stage] = [name for name in every if name not in named]
        if not found[stage]:
            raise ValueError(
                f'`stages["{stage}"]` names no parameter of {type(model).__name__}: none begins with '
                f"{list(begin)}. The first of them is {every[0]!r}; see model.named_parameters()."
            )
    return found


class Shortcut(NamedTuple):
    """Of each image how much of the map lies on the tag, 0 to 1, and whether it peaks there, 0 or 1."""

    mass: Float[Tensor, " batch"]
    peak: Float[Tensor, " batch"]


def shortcut(maps: Float[Tensor, "batch rows columns"], tags: Bool[Tensor, "batch height width"]) -> Shortcut:
    r"""Does the map show the planted tag, of a model that is known to go by it?

    $$\mathrm{mass} = \frac{\sum_{p \in T} s_p^+}{\sum_p s_p^+}, \qquad
    \mathrm{peak} = [\arg\max_p s_p \in T]$$

    with T the patches that the tag touches: the tag is smaller than a patch, and no patch map can be finer.
    The test of a spurious cue planted on purpose (Adebayo et al., 2020). Take images in which the tag is
    why the model says the class: then the explanation is known, and high is right. The rules of
    `mass_accuracy` and `pointing_game` hold for ties and for maps without positive values.

    Range 0 to 1 both. Chance, and a constant map, gives the share of patches that the tag touches.
    """
    values = checked_maps(maps)
    touched = coverage(values, tags, "tags") > 0
    return Shortcut(mass(values, touched.double()), pointing_game(values, touched.reshape(values.shape)))


@torch.no_grad()
def permuted_attention(
    model: nn.Module,
    images: Float[Tensor, "batch channels height width"],
    *,
    layer: int = -1,
    seed: int = 0,
) -> Float[Tensor, "batch classes"]:
    r"""What the model says when CLS reads the patches of one layer by weights that were shuffled among them.

    $A_{h,0,\pi(j)} \leftarrow A_{h,0,j}$ for the patches j, with a permutation $\pi$ for each image and
    head; all else is computed as ever. The test of Jain & Wallace (2019): if other weights give the same
    answer, the weights did not matter. Weights keep their values and sum, and each image keeps its tokens;
    what the permutation breaks is which is whose.

    `model` is a `models.ViT`, `layer` one of its blocks. Returns logits; compare with `model(images)`.
    """
    blocks = list(getattr(model, "blocks", []))
    if not -len(blocks) <= layer < len(blocks):
        raise ValueError(
            f"`layer` must be one of {len(blocks)} blocks of the model, {-len(blocks)}..{len(blocks) - 1}; "
            f"got {layer}. Models other than models.ViT come by models.ViT.from_huggingface(...)."
        )
    tokens = model.embed(images)
    for number, block in enumerate(blocks):
        if number == layer % len(blocks):
            tokens = _shuffled(block, tokens, model.prefix, seed)
        else:
            tokens = block(tokens)
    return model.classify(tokens)


def _shuffled(
    block: nn.Module, tokens: Float[Tensor, "batch n width"], prefix: int, seed: int
) -> Float[Tensor, "batch n width"]:
    """The block's step with the row of CLS shuffled among the patches."""
    normed, attention = block.norm1(tokens), block.attention
    weights = attention(normed).weights.clone()
    row = weights[:, :, 0, prefix:]  # (batch, heads, patches)
    generator = torch.Generator().manual_seed(seed)
    order = torch.rand(row.shape, generator=generator).argsort(-1).to(row.device)
    weights[:, :, 0, prefix:] = row.gather(-1, order)
    value = heads.split(attention.value(normed), attention.heads)
    tokens = tokens + block.scale1(attention.out(heads.merge(weights @ value)))
    return tokens + block.scale2(block.mlp(block.norm2(tokens)))
