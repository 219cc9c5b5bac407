"""Score functions: how well each query matches each key, before any normalisation.

Every function is `f(query, key, *parameters) -> scores`. Bind the parameters to use one in `attend`:
`attend(query, key, value, score=partial(general, weight=weight))`.

Shapes: n queries of width dq, m keys of width dk; d where the two widths must agree.
Wrong types raise `TypeError`, wrong shapes `ValueError`; each names the argument and the remedy.
"""

import math

import torch
from jaxtyping import Float
from torch import Tensor


def dot(query: Float[Tensor, "*batch n d"], key: Float[Tensor, "*batch m d"]) -> Float[Tensor, "*batch n m"]:
    r"""Dot product, of Luong et al. (2015), section 3.1: $e_{ij} = q_i^\top k_j$.

    Its variance grows with the width d; see `scaled_dot`.
    """
    check_sequences(query=query, key=key)
    if query.shape[-1] != key.shape[-1]:
        raise ValueError(
            f"`query` and `key` must have one width; got {query.shape[-1]} and {key.shape[-1]}. "
            "For two widths use `general`, whose `weight` has shape (dq, dk)."
        )
    return query @ key.mT


def scaled_dot(
    query: Float[Tensor, "*batch n d"], key: Float[Tensor, "*batch m d"]
) -> Float[Tensor, "*batch n m"]:
    r"""Scaled dot product, of Vaswani et al. (2017), equation 1: $e_{ij} = q_i^\top k_j / \sqrt d$.

    For entries of mean 0 and variance 1 the sum of d products has variance d (their footnote 4);
    dividing by $\sqrt d$ makes it 1 again, so that the softmax is not driven to one-hot by width alone.
    """
    check_sequences(query=query, key=key)
    # Scaled before the product: in float16 the unscaled sum can overflow at 65504.
    return dot(query / math.sqrt(query.shape[-1]), key)


def general(
    query: Float[Tensor, "*batch n dq"],
    key: Float[Tensor, "*batch m dk"],
    weight: Float[Tensor, "dq dk"],
) -> Float[Tensor, "*batch n m"]:
    r"""General (bilinear) score of Luong et al. (2015), section 3.1: $e_{ij} = q_i^\top W k_j$.

    $W = I$ gives `dot`; $W$ also lets the widths dq and dk differ.
    """
    check_sequences(query=query, key=key)
    _check_parameter("weight", weight, like=query, dq=query.shape[-1], dk=key.shape[-1])
    return query @ weight @ key.mT


def concat(
    query: Float[Tensor, "*batch n dq"],
    key: Float[Tensor, "*batch m dk"],
    weight: Float[Tensor, "hidden dq_plus_dk"],
    v: Float[Tensor, " hidden"],
) -> Float[Tensor, "*batch n m"]:
    r"""Concat score of Luong et al. (2015), section 3.1: $e_{ij} = v^\top \tanh(W [q_i; k_j])$.

    The query comes first in the concatenation. Materialises every pair, $O(nm(d_q + d_k))$ memory;
    `additive` with $W = [W_q\ W_k]$ is the same number for less.
    """
    check_sequences(query=query, key=key)
    _check_vector("v", v, like=query)
    _check_parameter("weight", weight, like=query, hidden=len(v), dq_plus_dk=query.shape[-1] + key.shape[-1])
    n, m = query.shape[-2], key.shape[-2]
    queries = query.unsqueeze(-2).expand(*query.shape[:-1], m, -1)  # (*batch, n, m, dq)
    keys = key.unsqueeze(-3).expand(*key.shape[:-2], n, -1, -1)  # (*batch, n, m, dk)
    pairs = torch.cat([queries, keys], dim=-1)
    return torch.tanh(pairs @ weight.mT) @ v


def additive(
    query: Float[Tensor, "*batch n dq"],
    key: Float[Tensor, "*batch m dk"],
    w_query: Float[Tensor, "hidden dq"],
    w_key: Float[Tensor, "hidden dk"],
    v: Float[Tensor, " hidden"],
) -> Float[Tensor, "*batch n m"]:
    r"""Additive score of Bahdanau et al. (2014), appendix A.1.2.

    $e_{ij} = v^\top \tanh(W_q q_i + W_k k_j)$, biases omitted as in print.

    Costs $O(nm \cdot hidden)$ memory: every pair gets its own hidden layer.
    Bounded by $\|v\|_1$, so unlike a dot product it needs no $1/\sqrt d$.
    """
    check_sequences(query=query, key=key)
    _check_vector("v", v, like=query)
    _check_parameter("w_query", w_query, like=query, hidden=len(v), dq=query.shape[-1])
    _check_parameter("w_key", w_key, like=query, hidden=len(v), dk=key.shape[-1])
    hidden = (query @ w_query.mT).unsqueeze(-2) + (key @ w_key.mT).unsqueeze(-3)  # (*batch, n, m, hidden)
    return torch.tanh(hidden) @ v


def check_sequences(**tensors: Tensor) -> None:
    """Require floating tensors (*batch, sequence, width) of one dtype and one batch."""
    for name, x in tensors.items():
        _check_float(name, x)
        if x.ndim < 2 or x.shape[-1] == 0:
            raise ValueError(
                f"`{name}` must have shape (*batch, sequence, width >= 1); got {tuple(x.shape)}. "
                f"One vector is a sequence of one: `{name}[None]`."
            )
    (first, reference), *others = tensors.items()
    for name, x in others:
        _check_dtype(name, x, first, reference)
        if x.shape[:-2] != reference.shape[:-2]:
            raise ValueError(
                f"`{first}` and `{name}` must have the same batch axes; got {tuple(reference.shape[:-2])} "
                f"and {tuple(x.shape[:-2])}. Share one over a batch with `.expand(...)`."
            )


def _check_parameter(name: str, x: Tensor, *, like: Tensor, **sizes: int) -> None:
    _check_float(name, x)
    _check_dtype(name, x, "query", like)
    if tuple(x.shape) != tuple(sizes.values()):
        raise ValueError(
            f"`{name}` must have shape ({', '.join(sizes)}) = {tuple(sizes.values())} "
            f"for these queries and keys; got {tuple(x.shape)}."
        )


def _check_vector(name: str, x: Tensor, *, like: Tensor) -> None:
    _check_float(name, x)
    _check_parameter(name, x, like=like, hidden=x.numel())


def _check_float(name: str, x: Tensor) -> None:
    if not isinstance(x, Tensor):
        raise TypeError(f"`{name}` must be a torch tensor; got {type(x).__name__}. Use `torch.as_tensor`.")
    if not x.is_floating_point():
        raise TypeError(
            f"`{name}` must be floating point; got {x.dtype}. Use `{name}.float()`: "
            "attention takes averages, and an integer cannot hold one."
        )


def _check_dtype(name: str, x: Tensor, first: str, reference: Tensor) -> None:
    if x.dtype != reference.dtype:
        raise TypeError(
            f"`{first}` and `{name}` must have one dtype; got {reference.dtype} and {x.dtype}. "
            f"Use `{name}.to({first}.dtype)`."
        )
