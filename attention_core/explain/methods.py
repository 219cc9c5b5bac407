"""METHODS: of each way to explain what it is, whose, how to read its maps; and what it needs of the model."""

from collections.abc import Callable
from dataclasses import dataclass
from numbers import Real
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from attention_core.explain import attention, baselines, cdam, flow, gradients, perturbation, relevance
from attention_core.explain.subject import Subject

Map = Float[Tensor, "batch rows columns"]


@dataclass(frozen=True)
class Method:
    """One way to explain: `function(subject, layers, **options)` gives patch maps (batch, rows, columns)."""

    function: Callable[..., Tensor]
    title: str
    year: int  # first public appearance
    citation: str  # key in book/references.bib
    signed: bool  # negative patches speak against the target
    class_sensitive: bool  # False: one map, whatever the target
    equation: str  # LaTeX


# Each method: what it needs of the model, handed to the formula, whose docstring says the rest.


def _all(subject: Subject) -> range:
    return range(len(subject.layout.blocks))


def _one(subject: Subject, layers: Any, method: str) -> int:
    chosen = subject.layout.chosen(layers, [-1])
    if len(chosen) > 1:
        raise ValueError(f"`layers` of `{method}` is one layer; got {layers!r}.")
    return chosen[0]


def _weights(subject: Subject, layers: Any) -> Tensor:
    """Of the chosen layers, all if none are: (batch, layers, heads, n, n)."""
    chosen = subject.layout.chosen(layers, _all(subject))
    return torch.stack([subject.captured.weights[layer] for layer in chosen], dim=1)


def _weights_and_gradients(subject: Subject, layers: Any) -> tuple[Tensor, Tensor]:
    """The same, with the target's gradient of each, layer by layer in their order."""
    chosen = subject.layout.chosen(layers, _all(subject))
    weights = [subject.captured.weights[layer] for layer in chosen]
    found = gradients.gradients(subject.score, weights, subject.patches)
    return torch.stack(weights, dim=1).detach(), torch.stack(found, dim=1)


def _raw(subject: Subject, layers=None, head: int | None = None) -> Map:
    """`attention.raw` of CLS, of the last layer, or the mean over `layers`; of one `head` if it is named."""
    chosen = subject.layout.chosen(layers, [-1])
    rows = [attention.raw(subject.captured.weights[layer], head)[:, 0] for layer in chosen]
    return subject.captured.as_map(torch.stack(rows).mean(0))


def _rollout(
    subject: Subject, layers=None, residual: Real = 0.5, heads: str = "mean", discard: Real = 0.0
) -> Map:
    """`attention.rollout` of CLS, over all layers or those of `layers`."""
    joint = attention.rollout(_weights(subject, layers), residual, heads, discard)
    return subject.captured.as_map(joint[:, 0])


def _flow(subject: Subject, layers=None, residual: Real = 0.5) -> Map:
    """`flow.flow` to CLS, through all layers or those of `layers`."""
    return subject.captured.as_map(flow.flow(_weights(subject, layers), residual))


def _grad_rollout(subject: Subject, layers=None, residual: Real = 0.5, discard: Real = 0.0) -> Map:
    """`gradients.grad_rollout` of CLS, over all layers or those of `layers`."""
    joint = gradients.grad_rollout(*_weights_and_gradients(subject, layers), residual, discard)
    return subject.captured.as_map(joint[:, 0])


def _chefer(subject: Subject, layers=None) -> Map:
    """`gradients.chefer` of CLS, over all layers or those of `layers`."""
    return subject.captured.as_map(gradients.chefer(*_weights_and_gradients(subject, layers))[:, 0])


def _gradcam(subject: Subject, layers=None) -> Map:
    """`gradients.gradcam` at the first norm of the last block, or of another one."""
    tokens = subject.captured.normed[_one(subject, layers, "gradcam")]
    return _cam(subject, tokens)


def _gradcam_literal(subject: Subject, layers=None) -> Map:
    """`gradients.gradcam` at what the last block's attention gives, or another's."""
    tokens = subject.captured.attended[_one(subject, layers, "gradcam_literal")]
    return _cam(subject, tokens)


def _cam(subject: Subject, tokens: Tensor) -> Map:
    (gradient,) = gradients.gradients(subject.score, [tokens], subject.patches)
    return subject.captured.as_map(gradients.gradcam(tokens, gradient, subject.layout.prefix))


def _cdam(subject: Subject, layers=None) -> Map:
    """`cdam.cdam` at the first norm of the last block, or of another one."""
    return _cdam_layers(subject, _one(subject, layers, "cdam"))


def _cdam_layers(subject: Subject, layers=None) -> Map:
    """`cdam.cdam`, summed over the first norms of all blocks, or of those of `layers`; the sum is ours."""
    chosen = subject.layout.chosen(layers, _all(subject))
    tokens = [subject.captured.normed[layer] for layer in chosen]
    found = gradients.gradients(subject.score, tokens, subject.patches)
    scores = [cdam.cdam(one, gradient) for one, gradient in zip(tokens, found, strict=True)]
    return subject.captured.as_map(torch.stack(scores).sum(0))


def _cdam_smooth(subject: Subject, layers=None, samples: int = 50, noise: Real = 0.05, seed: int = 0) -> Map:
    """`cdam.cdam_smooth` at the first norm of the last block, or of another one."""
    layer = _one(subject, layers, "cdam_smooth")
    tokens = subject.captured.normed[layer].detach()
    _counted("samples", samples)
    return subject.captured.as_map(cdam.cdam_smooth(subject.of_normed(layer), tokens, samples, noise, seed))


def _cdam_integrated(subject: Subject, layers=None, steps: int = 32) -> Map:
    """`cdam.cdam_integrated` at the first norm of the last block, or of another one."""
    layer = _one(subject, layers, "cdam_integrated")
    tokens = subject.captured.normed[layer].detach()
    _counted("steps", steps)
    return subject.captured.as_map(cdam.cdam_integrated(subject.of_normed(layer), tokens, steps))


def _cdam_value(subject: Subject, layers=None) -> Map:
    """`cdam.cdam_path` through the values of the last block, or of another one."""
    layer = _one(subject, layers, "cdam_value")
    return _cdam_part(subject, subject.captured.values[layer], subject.layout.values[layer])


def _cdam_key(subject: Subject, layers=None) -> Map:
    """`cdam.cdam_path` through the keys of the last block, or of another one."""
    layer = _one(subject, layers, "cdam_key")
    return _cdam_part(subject, subject.captured.keys[layer], subject.layout.keys[layer])


def _cdam_part(subject: Subject, projected: Tensor, projection: nn.Linear) -> Map:
    (gradient,) = gradients.gradients(subject.score, [projected], subject.patches)
    return subject.captured.as_map(cdam.cdam_path(projected, gradient, projection.bias))


def _legrad(subject: Subject, layers=None, pool: str = "mean") -> Map:
    """`gradients.legrad` over all layers or those of `layers`; scores read the mean of all tokens."""
    pools = {
        "mean": lambda tokens: tokens.mean(1, keepdim=True).expand_as(tokens),
        "model": lambda tokens: tokens,
    }
    if pool not in pools:
        raise ValueError(
            "`pool` must be mean (of all tokens, as in the authors' code) or model (what its head reads); "
            f"got {pool!r}."
        )
    chosen = subject.layout.chosen(layers, _all(subject))
    depth = len(subject.layout.blocks)
    scores = [subject.of_tokens(pools[pool](subject.captured.tokens[layer]), depth) for layer in chosen]
    weights = [subject.captured.weights[layer] for layer in chosen]
    return subject.captured.as_map(gradients.legrad(scores, weights, subject.patches))


def _attnlrp(subject: Subject) -> Map:
    """`relevance.relevance` of the embedded patches, under `relevance.attnlrp_rules`."""
    with relevance.attnlrp_rules(subject.layout):
        tokens = subject.captured.embedded
        (gradient,) = gradients.gradients(subject.score, [tokens], subject.patches)
    return subject.captured.as_map(relevance.relevance(tokens, gradient))


def _gradient_x_input(subject: Subject) -> Map:
    """`gradients.gradient_x_input` of the images as they are given."""
    images = subject.captured.images
    (gradient,) = gradients.gradients(subject.score, [images])
    return gradients.gradient_x_input(images, gradient, subject.layout.grid)


def _integrated_gradients(subject: Subject, steps: int = 32, baseline: Real | Tensor = 0.0) -> Map:
    """`gradients.integrated_gradients` from `baseline`, a grey level or images; black if not given."""
    _counted("steps", steps)
    images = subject.images
    start = baseline.to(images) if isinstance(baseline, Tensor) else torch.full_like(images, baseline)
    start = start.expand_as(images)
    return gradients.integrated_gradients(subject.of_images, images, start, subject.layout.grid, steps)


def _token_drop(subject: Subject) -> Map:
    """`perturbation.token_drop` of the embedded patches."""
    quick = subject.without_gradients(subject.of_tokens)
    dropped = perturbation.token_drop(quick, subject.captured.embedded.detach(), subject.layout.prefix)
    return dropped.unflatten(1, subject.layout.grid)


def _occlusion(subject: Subject, fill: Real | None = None) -> Map:
    """`perturbation.occlusion` by each image's mean colour, or by the grey level `fill`."""
    quick = subject.without_gradients(subject.of_images)
    return perturbation.occlusion(quick, subject.images, subject.layout.grid, fill)


def _random(subject: Subject, seed: int = 0) -> Map:
    """`baselines.random`."""
    return baselines.random(subject.images, subject.layout.grid, seed)


def _edges(subject: Subject) -> Map:
    """`baselines.edges`."""
    return baselines.edges(subject.images, subject.layout.grid)


def _counted(name: str, count: int) -> None:
    if not isinstance(count, int) or isinstance(count, bool) or count < 1:
        raise ValueError(f"`{name}` must be a whole number, at least 1; got {count!r}.")


METHODS: dict[str, Method] = {
    "raw": Method(
        _raw, "Raw attention", 2021, "caron2021emerging", False, False,
        r"S_i = \frac{1}{H} \sum_h A^h_{0i}",
    ),
    "rollout": Method(
        _rollout, "Attention rollout", 2020, "abnar2020quantifying", False, False,
        r"S = (M^L \cdots M^1)_0,\ M^l = \tfrac12 (\bar A^l + I)",
    ),
    "flow": Method(
        _flow, "Attention flow", 2020, "abnar2020quantifying", False, False,
        r"S_i = \mathrm{maxflow}(\mathrm{cls}^L \to i^0),\ \text{capacities } M^l",
    ),
    "grad_rollout": Method(
        _grad_rollout, "Gradient rollout", 2020, "gildenblat2020exploring", False, True,
        r"M^l = \mathrm{rows}\bigl(\tfrac12 I + \tfrac12 (\mathbb E_h[A \odot \nabla A])^+\bigr)",
    ),
    "chefer": Method(
        _chefer, "Generic attention relevance", 2021, "chefer2021generic", False, True,
        r"R \leftarrow R + \mathbb E_h[(\nabla A \odot A)^+]\, R",
    ),
    "gradcam": Method(
        _gradcam, "GradCAM, at the first norm", 2016, "selvaraju2016grad", False, True,
        r"S_i = (\sum_d \alpha_d T_{id})^+,\ \alpha_d = \tfrac1N \sum_i \partial f / \partial T_{id}",
    ),
    "gradcam_literal": Method(
        _gradcam_literal, "GradCAM, at the attention's output", 2016, "selvaraju2016grad", False, True,
        r"S_i = (\sum_d \alpha_d O_{id})^+,\ \alpha_d = \tfrac1N \sum_i \partial f / \partial O_{id} = 0",
    ),
    "cdam": Method(
        _cdam, "CDAM", 2023, "brocki2023class", True, True,
        r"S_i = \sum_d T_{id}\, \partial f / \partial T_{id}",
    ),
    "cdam_smooth": Method(
        _cdam_smooth, "Smooth CDAM", 2023, "brocki2023class", True, True,
        r"S_i = \mathbb E_\epsilon \sum_d T'_{id}\, \partial f / \partial T'_{id},\ T' = T + \sigma \epsilon",
    ),
    "cdam_integrated": Method(
        _cdam_integrated, "Integrated CDAM", 2023, "brocki2023class", True, True,
        r"S_i = \sum_d T_{id} \int_0^1 \partial f(\alpha T) / \partial T_{id}\, d\alpha",
    ),
    "cdam_value": Method(
        _cdam_value, "CDAM, value path", 2023, "brocki2023class", True, True,
        r"S_i = \sum_h A^h_{0i} \langle W_V^h T_i, g^h \rangle",
    ),
    "cdam_key": Method(
        _cdam_key, "CDAM, key path", 2023, "brocki2023class", True, True,
        r"S_i = \sum_h (\partial f / \partial l^h_{0i})\, q^h_0 \cdot W_K^h T_i / \sqrt d",
    ),
    "cdam_layers": Method(
        _cdam_layers, "CDAM, summed over layers", 2023, "brocki2023class", True, True,
        r"S_i = \sum_l \sum_d T^l_{id}\, \partial f / \partial T^l_{id}",
    ),
    "legrad": Method(
        _legrad, "LeGrad", 2024, "bousselham2024legrad", False, True,
        r"S_j = \frac{1}{LHn} \sum_{l,h,i} (\partial s_l / \partial A^{lh}_{ij})^+",
    ),
    "attnlrp": Method(
        _attnlrp, "AttnLRP", 2024, "achtibat2024attnlrp", True, True,
        r"R_i = \sum_d x_{id}\, \tilde\partial f / \tilde\partial x_{id}",
    ),
    "gradient_x_input": Method(
        _gradient_x_input, "Gradient times input", 2016, "shrikumar2016not", True, True,
        r"S_i = \sum_{p \in i} x_p\, \partial f / \partial x_p",
    ),
    "integrated_gradients": Method(
        _integrated_gradients, "Integrated gradients", 2017, "sundararajan2017axiomatic", True, True,
        r"S_i = \sum_{p \in i} (x - x')_p \int_0^1 \partial f(x' + \alpha (x - x')) / \partial x_p\, d\alpha",
    ),
    "token_drop": Method(
        _token_drop, "Token drop", 2016, "li2016understanding", True, True,
        r"S_i = f(T) - f(T \setminus T_i)",
    ),
    "occlusion": Method(
        _occlusion, "Occlusion", 2013, "zeiler2013visualizing", True, True,
        r"S_i = f(x) - f(x \text{ with } i \text{ covered})",
    ),
    "random": Method(
        _random, "Random baseline", 2015, "samek2015evaluating", False, False,
        r"S_i \sim U(0, 1)",
    ),
    "edges": Method(
        _edges, "Edge baseline", 2018, "adebayo2018sanity", False, False,
        r"S_i = \sum_{p \in i} \sqrt{g_x^2 + g_y^2}",
    ),
}  # fmt: skip
