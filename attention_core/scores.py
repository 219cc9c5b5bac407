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
from torch.nn.functional import leaky_relu

_LEAK = 0.2  # slope below zero in both papers of graph attention


def dot(query: Float[Tensor, "*batch n d"], key: Float[Tensor, "*batch m d"]) -> Float[Tensor, "*batch n m"]:
    r"""Dot product, of Luong et al. (2015), section 3.1: $e_{ij} = q_i^\top k_j$.

    Its variance grows with the width d; see `scaled_dot`.
    """
    check_sequences(query=query, key=key)
    _check_one_width(query, key, "For two widths use `general`, whose `weight` has shape (dq, dk).")
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


def cosine(
    query: Float[Tensor, "*batch n d"], key: Float[Tensor, "*batch m d"]
) -> Float[Tensor, "*batch n m"]:
    r"""Cosine similarity: $e_{ij} = q_i^\top k_j / (\|q_i\| \|k_j\|)$, between -1 and 1.

    Content addressing of Graves et al. (2014), equation 6; their key strength $\beta$ is a `temperature` of
    $1/\beta$, without which a softmax of numbers this small is nearly uniform.
    A zero vector has no direction: its cosine with anything is 0, its gradient finite.
    """
    check_sequences(query=query, key=key)
    _check_one_width(query, key, "Project one to the other's width first.")
    return (_direction(query) @ _direction(key).mT).to(query.dtype)


def general(
    query: Float[Tensor, "*batch n dq"],
    key: Float[Tensor, "*batch m dk"],
    weight: Float[Tensor, "dq dk"],
) -> Float[Tensor, "*batch n m"]:
    r"""General (bilinear) score of Luong et al. (2015), section 3.1: $e_{ij} = q_i^\top W k_j$.

    $W = I$ gives `dot`; $W$ also lets the widths dq and dk differ.
    """
    check_sequences(query=query, key=key)
    check_parameter("weight", weight, like=query, dq=query.shape[-1], dk=key.shape[-1])
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
    check_vector("v", v, like=query)
    check_parameter("weight", weight, like=query, hidden=len(v), dq_plus_dk=query.shape[-1] + key.shape[-1])
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
    check_vector("v", v, like=query)
    check_parameter("w_query", w_query, like=query, hidden=len(v), dq=query.shape[-1])
    check_parameter("w_key", w_key, like=query, hidden=len(v), dk=key.shape[-1])
    hidden = (query @ w_query.mT).unsqueeze(-2) + (key @ w_key.mT).unsqueeze(-3)  # (*batch, n, m, hidden)
    return torch.tanh(hidden) @ v


def gat(
    query: Float[Tensor, "*batch n d"],
    key: Float[Tensor, "*batch m d"],
    weight: Float[Tensor, "hidden d"],
    a: Float[Tensor, " two_hidden"],
) -> Float[Tensor, "*batch n m"]:
    r"""Graph attention of Velickovic et al. (2017), equation 3.

    $e_{ij} = \mathrm{LeakyReLU}(a^\top [W q_i; W k_j])$, slope 0.2 below zero. A graph's edges are the mask;
    the values of their layer are $W k_j$. As $a_1^\top W q_i + a_2^\top W k_j$ with $a = [a_1; a_2]$, no pair
    need be concatenated; but then every query ranks the keys alike, which `gat_v2` mends.
    """
    check_sequences(query=query, key=key)
    _check_one_width(query, key, "For two widths use `gat_v2`, whose `weight` is (hidden, dq + dk).")
    check_vector("a", a, like=query)
    if len(a) % 2:
        raise ValueError(f"`a` must have shape (2 * hidden,), query half first; got {tuple(a.shape)}.")
    check_parameter("weight", weight, like=query, hidden=len(a) // 2, d=query.shape[-1])
    a_query, a_key = a.chunk(2)
    of_query = (query @ weight.mT) @ a_query  # (*batch, n)
    of_key = (key @ weight.mT) @ a_key  # (*batch, m)
    return leaky_relu(of_query.unsqueeze(-1) + of_key.unsqueeze(-2), _LEAK)


def gat_v2(
    query: Float[Tensor, "*batch n dq"],
    key: Float[Tensor, "*batch m dk"],
    weight: Float[Tensor, "hidden dq_plus_dk"],
    a: Float[Tensor, " hidden"],
) -> Float[Tensor, "*batch n m"]:
    r"""Graph attention of Brody et al. (2021), eq. 7: $e_{ij} = a^\top \mathrm{LeakyReLU}(W [q_i; k_j])$.

    $a$ comes after the nonlinearity, so that each query may rank the keys in its own way; `gat` is the case
    of one hidden unit. Query first in the concatenation; slope 0.2 below zero. $O(nm \cdot hidden)$ memory.
    """
    check_sequences(query=query, key=key)
    dq = query.shape[-1]
    check_vector("a", a, like=query)
    check_parameter("weight", weight, like=query, hidden=len(a), dq_plus_dk=dq + key.shape[-1])
    of_query = query @ weight[:, :dq].mT  # (*batch, n, hidden)
    of_key = key @ weight[:, dq:].mT  # (*batch, m, hidden)
    return leaky_relu(of_query.unsqueeze(-2) + of_key.unsqueeze(-3), _LEAK) @ a


def location(
    query: Float[Tensor, "*batch n dq"],
    key: Float[Tensor, "*batch m dk"],
    weight: Float[Tensor, "longest dq"],
) -> Float[Tensor, "*batch n m"]:
    r"""Location score of Luong et al. (2015), equation 8: $e_{ij} = w_j^\top q_i$, $w_j$ being row j of $W$.

    The query says where to look without seeing what is there: of the keys only their number m counts, by
    which $W$ is cut. With the query $[\text{embedding}; \text{hidden state}]$ it is the fully connected
    attention of PyTorch's sequence-to-sequence tutorial, biases omitted.
    """
    check_sequences(query=query, key=key)
    m = key.shape[-2]
    _check_table("weight", weight, like=query, rows=m)
    check_parameter("weight", weight, like=query, longest=weight.shape[-2], dq=query.shape[-1])
    return query @ weight[:m].mT


def positional(
    query: Float[Tensor, "*batch n d"],
    key: Float[Tensor, "*batch m d"],
    logits: Float[Tensor, "*heads longest longest"],
) -> Float[Tensor, "*batch n m"]:
    r"""Positional attention of Luo et al. (2024): learned logits, $e_{ij} = P_{ij} / \sqrt d$.

    No content: of query and key only their numbers n and m count, by which P is cut, and the width d. P is
    shared by the batch, or has its last axes: (heads, longest, longest).
    """
    check_sequences(query=query, key=key)
    n, m = query.shape[-2], key.shape[-2]
    _check_table("logits", logits, like=query, rows=max(n, m))
    if logits.shape[-1] != logits.shape[-2]:
        raise ValueError(
            f"`logits` must be square, (*heads, longest, longest); got {tuple(logits.shape)}. "
            "Two thin factors of it go to `factorized_positional`."
        )
    return (logits[..., :n, :m] / math.sqrt(query.shape[-1])).expand(*query.shape[:-2], n, m)


def factorized_positional(
    query: Float[Tensor, "*batch n d"],
    key: Float[Tensor, "*batch m d"],
    f_query: Float[Tensor, "*heads longest rank"],
    f_key: Float[Tensor, "*heads longest rank"],
) -> Float[Tensor, "*batch n m"]:
    r"""Factorised positional attention of Luo et al. (2024): `positional` with $P = F_1 F_2^\top$."""
    check_sequences(query=query, key=key)
    n, m = query.shape[-2], key.shape[-2]
    for name, factor in (("f_query", f_query), ("f_key", f_key)):
        _check_table(name, factor, like=query, rows=max(n, m))
    if f_query.shape != f_key.shape or f_query.shape[-1] > f_query.shape[-2]:
        raise ValueError(
            "`f_query` and `f_key` must have one shape (*heads, longest, rank) with rank <= longest; got "
            f"{tuple(f_query.shape)} and {tuple(f_key.shape)}. For full rank use `positional`."
        )
    scores = (f_query[..., :n, :] / math.sqrt(query.shape[-1])) @ f_key[..., :m, :].mT
    return scores.expand(*query.shape[:-2], n, m)


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


def _direction(x: Float[Tensor, "*batch n d"]) -> Float[Tensor, "*batch n d"]:
    """Each vector over its length, in float32 or better; a zero vector stays zero."""
    x = x.to(torch.promote_types(x.dtype, torch.float32))
    largest = x.detach().abs().amax(-1, keepdim=True)
    zero = largest == 0
    x = x / largest.masked_fill(zero, 1.0)  # or a square could overflow, or vanish
    return x / torch.linalg.vector_norm(x, dim=-1, keepdim=True).masked_fill(zero, 1.0)


def _check_one_width(query: Tensor, key: Tensor, remedy: str) -> None:
    if query.shape[-1] != key.shape[-1]:
        raise ValueError(
            f"`query` and `key` must have one width; got {query.shape[-1]} and {key.shape[-1]}. {remedy}"
        )


def _check_table(name: str, x: Tensor, *, like: Tensor, rows: int) -> None:
    """Require a learned row for each position, shared by the batch or with its last axes."""
    _check_float(name, x)
    _check_dtype(name, x, "query", like)
    batch, heads = like.shape[:-2], x.shape[:-2]
    if x.ndim < 2 or heads != batch[len(batch) - len(heads) :]:
        raise ValueError(
            f"`{name}` must have two axes, after none or the last of the batch axes {tuple(batch)}; "
            f"got {tuple(x.shape)}. Layout is (*batch, heads, sequence, width)."
        )
    if x.shape[-2] < rows:
        raise ValueError(
            f"`{name}` holds {x.shape[-2]} positions; got sequences of {rows}. "
            "Learn a longer table, or cut the sequences."
        )


def check_parameter(name: str, x: Tensor, *, like: Tensor, **sizes: int) -> None:
    _check_float(name, x)
    _check_dtype(name, x, "query", like)
    if tuple(x.shape) != tuple(sizes.values()):
        raise ValueError(
            f"`{name}` must have shape ({', '.join(sizes)}) = {tuple(sizes.values())} "
            f"for these queries and keys; got {tuple(x.shape)}."
        )


def check_vector(name: str, x: Tensor, *, like: Tensor) -> None:
    _check_float(name, x)
    check_parameter(name, x, like=like, hidden=x.numel())


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
