"""Exercises of the chapter "Do the maps explain?": one image, its tokens with CLS first, float64 numbers."""

from collections.abc import Callable
from math import sqrt

import torch
from torch import Tensor

from attention_core.checks import Case, Exercise, Mutant

# --- gradcam-map: (sum_d alpha_d T_id)^+ with alpha the mean gradient of the patches


def _gradcam(tokens: Tensor, gradient: Tensor, prefix: int) -> Tensor:
    return (tokens[prefix:] @ gradient[prefix:].mean(0)).clamp(min=0)


def _gradcam_cases(generator: torch.Generator) -> list[Case]:
    return [
        {"tokens": _normal(generator, n, d), "gradient": _normal(generator, n, d), "prefix": prefix}
        for n, d, prefix in ((3, 2, 1), (6, 3, 1), (7, 4, 2))
    ]


def _gradcam_in_place(tokens: Tensor, gradient: Tensor, prefix: int) -> Tensor:
    tokens *= gradient[prefix:].mean(0)
    return tokens.sum(-1)[prefix:].clamp(min=0)


GRADCAM = Exercise(
    name="gradcam-map",
    reference=_gradcam,
    cases=_gradcam_cases,
    mutants={
        "own gradient": Mutant(
            lambda tokens, gradient, prefix: (tokens * gradient).sum(-1)[prefix:].clamp(min=0),
            "each patch is multiplied by its own gradient, as in CDAM: here the mean over patches speaks.",
        ),
        "all tokens": Mutant(
            lambda tokens, gradient, prefix: (tokens[prefix:] @ gradient.mean(0)).clamp(min=0),
            "CLS has a say in the mean: it runs over the patches alone.",
        ),
        "no positive part": Mutant(
            lambda tokens, gradient, prefix: tokens[prefix:] @ gradient[prefix:].mean(0),
            "negative scores are left: GradCAM keeps the positive part of the sum.",
        ),
        "absolute": Mutant(
            lambda tokens, gradient, prefix: (tokens[prefix:] @ gradient[prefix:].mean(0)).abs(),
            "absolute values: what speaks against the class comes out as if it spoke for it.",
        ),
        "positive weights": Mutant(
            lambda tokens, gradient, prefix: tokens[prefix:] @ gradient[prefix:].mean(0).clamp(min=0),
            "the features' weights are cut at 0: it is the sum over features that is.",
        ),
        "prefix kept": Mutant(
            lambda tokens, gradient, prefix: (tokens @ gradient[prefix:].mean(0)).clamp(min=0),
            "CLS is still in the answer: it has no place on the map.",
        ),
        "prefix of one": Mutant(
            lambda tokens, gradient, prefix: _gradcam(tokens, gradient, 1),
            "right for one token before the patches, wrong for two: begin at `prefix`.",
        ),
        "in place": Mutant(_gradcam_in_place, "`tokens` was modified in place"),
    },
)

# --- two-paths: CDAM of one head that CLS reads, through the values and through the keys


def _head(tokens: Tensor, w_query: Tensor, w_key: Tensor, w_value: Tensor, readout: Tensor) -> list[Tensor]:
    """Scores of CLS for all tokens, its weights, and what each token's value is worth to f."""
    scores = (tokens @ w_key) @ (tokens[0] @ w_query) / sqrt(w_key.shape[1])
    return [scores, torch.softmax(scores, 0), tokens @ w_value @ readout]


def _two_paths(tokens: Tensor, w_query: Tensor, w_key: Tensor, w_value: Tensor, readout: Tensor) -> Tensor:
    scores, weights, worth = _head(tokens, w_query, w_key, w_value, readout)
    moved = weights * (worth - weights @ worth)
    return torch.stack([weights * worth, moved * scores])[:, 1:]


def _paths_cases(generator: torch.Generator) -> list[Case]:
    return [
        {
            "tokens": _normal(generator, n, width),
            "w_query": _normal(generator, width, d),
            "w_key": _normal(generator, width, d),
            "w_value": _normal(generator, width, dv),
            "readout": _normal(generator, dv),
        }
        for n, width, d, dv in ((3, 2, 2, 1), (5, 3, 2, 4), (4, 4, 3, 2))
    ]


def _paths_but(value: Callable, key: Callable) -> Callable:
    """A mutant whose two rows are these functions of scores, weights and worth."""

    def answer(tokens, w_query, w_key, w_value, readout):
        head = _head(tokens, w_query, w_key, w_value, readout)
        return torch.stack([value(*head), key(*head)])[:, 1:]

    return answer


def _by_value(scores: Tensor, weights: Tensor, worth: Tensor) -> Tensor:
    return weights * worth


def _by_key(scores: Tensor, weights: Tensor, worth: Tensor) -> Tensor:
    return weights * (worth - weights @ worth) * scores


def _paths_not_scaled(tokens, w_query, w_key, w_value, readout) -> Tensor:
    return _two_paths(tokens, w_query * sqrt(w_key.shape[1]), w_key, w_value, readout)


def _paths_in_place(tokens, w_query, w_key, w_value, readout) -> Tensor:
    answer = _two_paths(tokens, w_query, w_key, w_value, readout)
    w_value *= readout
    return answer


TWO_PATHS = Exercise(
    name="two-paths",
    reference=_two_paths,
    cases=_paths_cases,
    mutants={
        "values without weights": Mutant(
            _paths_but(lambda scores, weights, worth: worth, _by_key),
            "the value path lacks the weights: a patch counts as far as CLS reads it.",
        ),
        "weights as they are": Mutant(
            _paths_but(_by_value, lambda scores, weights, worth: weights * worth * scores),
            "the key path forgets that weights sum to 1: a patch gains by how far its worth is above f.",
        ),
        "gradient of the weights": Mutant(
            _paths_but(_by_value, lambda scores, weights, worth: worth * scores),
            "this is the derivative with respect to weights: with respect to scores, softmax comes first.",
        ),
        "key path without the key": Mutant(
            _paths_but(_by_value, lambda scores, weights, worth: weights * (worth - weights @ worth)),
            "the key path stops at the scores: multiply their derivative by the scores themselves.",
        ),
        "key path over root d twice": Mutant(
            lambda tokens, w_query, w_key, w_value, readout: (
                _two_paths(tokens, w_query, w_key, w_value, readout)
                / torch.tensor([[1.0], [sqrt(w_key.shape[1])]], dtype=torch.float64)
            ),
            "the key path is divided by the root of d once too often: the scores hold it already.",
        ),
        "not scaled": Mutant(
            _paths_not_scaled, "the scores are not divided by the square root of d, the width of the keys."
        ),
        "swapped": Mutant(
            lambda tokens, w_query, w_key, w_value, readout: _two_paths(
                tokens, w_query, w_key, w_value, readout
            ).flip(0),
            "the two rows are swapped: values first, keys second.",
        ),
        "CLS too": Mutant(
            lambda *given: torch.stack([path(*_head(*given)) for path in (_by_value, _by_key)]),
            "CLS is still in the answer: return the patches, and for CLS the query would count too.",
        ),
        "one number": Mutant(
            lambda tokens, w_query, w_key, w_value, readout: _two_paths(
                tokens, w_query, w_key, w_value, readout
            ).sum(0),
            "this is CDAM itself: keep the two paths apart, as two rows.",
        ),
        "in place": Mutant(_paths_in_place, "`w_value` was modified in place"),
    },
)

# --- discarded-rows: smallest entries of each matrix left out, half an identity added, rows divided by sums


def _kept(matrices: Tensor, share: float, protected: bool = True) -> Tensor:
    """A copy without the smallest share of each matrix; entry (0, 0) is ranked last where protected."""
    flat = matrices.flatten(1)
    ranked = flat.clone()
    ranked[:, 0] += 2.0 * protected
    smallest = ranked.argsort(-1)[:, : int(share * flat.shape[1])]
    return flat.scatter(1, smallest, 0.0).view_as(matrices)


def _mixed(matrices: Tensor, residual: float = 0.5) -> Tensor:
    return (1 - residual) * matrices + residual * torch.eye(matrices.shape[-1], dtype=matrices.dtype)


def _by_rows(matrices: Tensor) -> Tensor:
    return matrices / matrices.sum(-1, keepdim=True)


def _discarded(matrices: Tensor, share: float) -> Tensor:
    return _by_rows(_mixed(_kept(matrices, share)))


def _discarded_cases(generator: torch.Generator) -> list[Case]:
    return [
        {"matrices": torch.softmax(_normal(generator, batch, n, n), -1), "share": share}
        for batch, n, share in ((1, 3, 0.3), (3, 3, 0.3), (4, 4, 0.4), (2, 5, 0.4))
    ]


def _first_only(matrices: Tensor, share: float) -> Tensor:
    return _by_rows(_mixed(torch.cat([_kept(matrices[:1], share), matrices[1:]])))


def _no_keepdim(matrices: Tensor, share: float) -> Tensor:
    mixed = _mixed(_kept(matrices, share))
    return mixed / mixed.sum(-1)


def _by_columns(matrices: Tensor, share: float) -> Tensor:
    mixed = _mixed(_kept(matrices, share))
    return mixed / mixed.sum(-2, keepdim=True)


def _row_by_row(matrices: Tensor, share: float) -> Tensor:
    smallest = matrices.argsort(-1)[..., : int(share * matrices.shape[-1])]
    kept = matrices.scatter(-1, smallest, 0.0)
    kept[:, 0, 0] = matrices[:, 0, 0]
    return _by_rows(_mixed(kept))


def _discarded_in_place(matrices: Tensor, share: float) -> Tensor:
    answer = _discarded(matrices, share)
    matrices.copy_(_kept(matrices, share))
    return answer


DISCARDED = Exercise(
    name="discarded-rows",
    reference=_discarded,
    cases=_discarded_cases,
    mutants={
        "first image only": Mutant(
            _first_only,
            "only the first image of the batch lost its smallest weights: index every image, or scatter.",
        ),
        "no keepdim": Mutant(
            _no_keepdim,
            "divided along the wrong axis: without `keepdim=True` the sums of rows divide the columns.",
        ),
        "columns": Mutant(
            _by_columns, "columns sum to 1: it is the rows that say where a token's content comes from."
        ),
        "not divided": Mutant(
            lambda matrices, share: _mixed(_kept(matrices, share)),
            "rows do not sum to 1 any more after discarding: divide each by its sum.",
        ),
        "divided first": Mutant(
            lambda matrices, share: _kept(_mixed(matrices), share),
            "weights are dropped last, the identity's among them: drop, add the identity, then divide.",
        ),
        "no identity": Mutant(
            lambda matrices, share: _by_rows(_kept(matrices, share)),
            "the identity is missing: half of each token goes past attention.",
        ),
        "largest": Mutant(
            lambda matrices, share: _by_rows(_mixed(-_kept(-matrices, share))),
            "the largest weights were dropped, not the smallest.",
        ),
        "CLS dropped": Mutant(
            lambda matrices, share: _by_rows(_mixed(_kept(matrices, share, protected=False))),
            "entry (0, 0) was dropped somewhere: it always stays.",
        ),
        "row by row": Mutant(
            _row_by_row, "the share was taken of each row: it is of all entries of an image's matrix."
        ),
        "in place": Mutant(_discarded_in_place, "`matrices` was modified in place"),
    },
)

# --- chefer-rule: R <- R + E_h[(grad A * A)^+] R, gradients given last layer first


def _relevance(steps: Tensor, row: bool = True) -> Tensor:
    """The recursion with given matrices (layers, n, n)."""
    found = torch.eye(steps.shape[-1], dtype=steps.dtype)
    for step in steps:
        found = found + step @ found
    return found[0, 1:] if row else found[1:, 0]


def _steps(weights: Tensor, gradient: Tensor) -> Tensor:
    return (weights * gradient).clamp(min=0).mean(1)


def _chefer(weights: Tensor, hooked: Tensor) -> Tensor:
    return _relevance(_steps(weights, hooked.flip(0)))


def _chefer_cases(generator: torch.Generator) -> list[Case]:
    return [
        {
            "weights": torch.softmax(_normal(generator, layers, heads, n, n), -1),
            "hooked": _normal(generator, layers, heads, n, n),
        }
        for layers, heads, n in ((2, 1, 3), (3, 2, 4), (4, 2, 5))
    ]


def _chefer_no_identity(weights: Tensor, hooked: Tensor) -> Tensor:
    first, *later = _steps(weights, hooked.flip(0))
    for step in later:
        first = step @ first
    return first[0, 1:]


def _chefer_in_place(weights: Tensor, hooked: Tensor) -> Tensor:
    answer = _chefer(weights, hooked)
    hooked.clamp_(min=0)
    return answer


CHEFER = Exercise(
    name="chefer-rule",
    reference=_chefer,
    cases=_chefer_cases,
    mutants={
        "hook order": Mutant(
            lambda weights, hooked: _relevance(_steps(weights, hooked)),
            "each layer's weights met another layer's gradients: those came last layer first.",
        ),
        "all backwards": Mutant(
            lambda weights, hooked: _relevance(_steps(weights.flip(0), hooked)),
            "the recursion runs down: begin with the first layer, and multiply later ones on from the left.",
        ),
        "signed": Mutant(
            lambda weights, hooked: _relevance((weights * hooked.flip(0)).mean(1)),
            "negative products are left: only the positive part is carried on.",
        ),
        "mean first": Mutant(
            lambda weights, hooked: _relevance((weights * hooked.flip(0)).mean(1).clamp(min=0)),
            "heads were averaged before the positive part was taken: one head's no silenced another's yes.",
        ),
        "summed heads": Mutant(
            lambda weights, hooked: _relevance((weights * hooked.flip(0)).clamp(min=0).sum(1)),
            "the heads were added up: take their mean.",
        ),
        "gradients alone": Mutant(
            lambda weights, hooked: _relevance(hooked.flip(0).clamp(min=0).mean(1)),
            "the weights are missing: it is gradient times weight.",
        ),
        "weights alone": Mutant(
            lambda weights, hooked: _relevance(weights.mean(1)),
            "the gradients are missing: without them the map knows no class.",
        ),
        "no identity": Mutant(
            _chefer_no_identity, "R is replaced at each layer: what R held is kept, and the product added."
        ),
        "column": Mutant(
            lambda weights, hooked: _relevance(_steps(weights, hooked.flip(0)), row=False),
            "this is the column of CLS: its row says what CLS was made of.",
        ),
        "in place": Mutant(_chefer_in_place, "`hooked` was modified in place"),
    },
)

# --- class-auc: how probably a patch of the object asked for outranks one of the other object


def _class_auc(values: Tensor, asked: Tensor, other: Tensor, tie: float = 0.5) -> Tensor:
    high, low = values[asked][:, None], values[other][None, :]
    return ((high > low).double() + tie * (high == low).double()).mean()


def _auc_cases(generator: torch.Generator) -> list[Case]:
    cases = []
    for patches, ties in ((5, False), (8, True), (12, True)):
        values = _normal(generator, patches)
        values = (2 * values).round() / 2 if ties else values
        place = torch.arange(patches)
        cases.append({"values": values, "asked": place % 3 == 0, "other": place % 3 == 1})
    flat = {"values": torch.zeros(6, dtype=torch.float64), "asked": torch.arange(6) < 2}
    return [*cases, {**flat, "other": torch.arange(6) > 3}]


def _auc_in_place(values: Tensor, asked: Tensor, other: Tensor) -> Tensor:
    answer = _class_auc(values, asked, other)
    values.sub_(values.mean() + 1)
    return answer


CLASS_AUC = Exercise(
    name="class-auc",
    reference=_class_auc,
    cases=_auc_cases,
    mutants={
        "ties lose": Mutant(
            lambda values, asked, other: _class_auc(values, asked, other, 0.0),
            "equal values count as lost: a map that says nothing would score 0. Count half.",
        ),
        "ties win": Mutant(
            lambda values, asked, other: _class_auc(values, asked, other, 1.0),
            "equal values count as won: a map that says nothing would be perfect. Count half.",
        ),
        "other question": Mutant(
            lambda values, asked, other: _class_auc(values, other, asked),
            "this is the probability for the other object: patches of `asked` are to win.",
        ),
        "background": Mutant(
            lambda values, asked, other: _class_auc(values, asked, ~asked),
            "the background counts: then it helps to find any object at all.",
        ),
        "magnitude": Mutant(
            lambda values, asked, other: _class_auc(values.abs(), asked, other),
            "signs are dropped: evidence against the class would count as evidence for it.",
        ),
        "difference of means": Mutant(
            lambda values, asked, other: values[asked].mean() - values[other].mean(),
            "this depends on the scale of the map: compare patches in pairs, by order alone.",
        ),
        "best patches": Mutant(
            lambda values, asked, other: (values[asked].amax() > values[other].amax()).double(),
            "only the two best patches are compared: take all pairs.",
        ),
        "in place": Mutant(_auc_in_place, "`values` was modified in place"),
    },
)

# --- through-the-norm: the gradient before a layer norm, from the gradient behind it


def _through(x: Tensor, gradient: Tensor, eps: float) -> Tensor:
    centred = x - x.mean(-1, keepdim=True)
    deviation = (centred.square().mean(-1, keepdim=True) + eps).sqrt()
    y = centred / deviation
    along = y * (gradient * y).mean(-1, keepdim=True)
    return (gradient - gradient.mean(-1, keepdim=True) - along) / deviation


def _parts(x: Tensor, eps: float, unbiased: int = 0) -> tuple[Tensor, Tensor]:
    deviation = (x.var(-1, correction=unbiased, keepdim=True) + eps).sqrt()
    return (x - x.mean(-1, keepdim=True)) / deviation, deviation


def _through_cases(generator: torch.Generator) -> list[Case]:
    return [
        {"x": _normal(generator, n, d) + 1, "gradient": _normal(generator, n, d), "eps": eps}
        for n, d, eps in ((1, 3, 0.0), (4, 5, 0.0), (3, 4, 0.5))
    ]


def _through_but(function: Callable) -> Callable:
    """A mutant that is this function of gradient, y and the deviation."""
    return lambda x, gradient, eps: function(gradient, *_parts(x, eps))


def _less_mean(gradient: Tensor) -> Tensor:
    return gradient - gradient.mean(-1, keepdim=True)


def _through_unbiased(x: Tensor, gradient: Tensor, eps: float) -> Tensor:
    y, deviation = _parts(x, eps, unbiased=1)
    return (_less_mean(gradient) - y * (gradient * y).sum(-1, keepdim=True) / (x.shape[-1] - 1)) / deviation


def _through_in_place(x: Tensor, gradient: Tensor, eps: float) -> Tensor:
    answer = _through(x, gradient, eps)
    gradient -= gradient.mean(-1, keepdim=True)
    return answer


THROUGH = Exercise(
    name="through-the-norm",
    reference=_through,
    cases=_through_cases,
    mutants={
        "deviation held": Mutant(
            _through_but(lambda gradient, y, deviation: _less_mean(gradient) / deviation),
            "the deviation is treated as a constant: that is AttnLRP's rule, not the derivative.",
        ),
        "mean held": Mutant(
            _through_but(
                lambda gradient, y, deviation: (
                    (gradient - y * (gradient * y).mean(-1, keepdim=True)) / deviation
                )
            ),
            "the mean is treated as a constant: what is equal in all features cannot matter.",
        ),
        "both held": Mutant(
            _through_but(lambda gradient, y, deviation: gradient / deviation),
            "mean and deviation are treated as constants: both depend on x.",
        ),
        "not divided": Mutant(
            _through_but(
                lambda gradient, y, deviation: (
                    _less_mean(gradient) - y * (gradient * y).mean(-1, keepdim=True)
                )
            ),
            "the division by the deviation is missing: a longer x moves y less.",
        ),
        "sum for mean": Mutant(
            _through_but(
                lambda gradient, y, deviation: (
                    (_less_mean(gradient) - y * (gradient * y).sum(-1, keepdim=True)) / deviation
                )
            ),
            "the part along y is d times too large: it has the mean of gradient times y.",
        ),
        "unbiased": Mutant(_through_unbiased, "the variance is divided by d - 1: a layer norm divides by d."),
        "along x": Mutant(
            lambda x, gradient, eps: (
                (_less_mean(gradient) - x * (gradient * x).mean(-1, keepdim=True)) / _parts(x, eps)[1]
            ),
            "x stands where y should: the direction that drops out is that of the normed token.",
        ),
        "in place": Mutant(_through_in_place, "`gradient` was modified in place"),
    },
)

EXERCISES = (GRADCAM, TWO_PATHS, DISCARDED, CHEFER, CLASS_AUC, THROUGH)


def _normal(generator: torch.Generator, *shape: int) -> Tensor:
    return torch.randn(*shape, generator=generator, dtype=torch.float64)
