r"""The linear family: attention whose past fits into one matrix, the state, written and read token by token.

Every function is `f(query, key, value, ...) -> Recurrent(output, state)`, causal by construction: token t
writes, then reads. Heads are batch axes. There is no hidden scaling and no normalisation of keys.

Three keywords everywhere. `mode` chooses among schedules of the same numbers (see `sums`): "chunked", the
default and the fastest on all but the shortest sequences, in chunks of `chunk` tokens (32 by default, 64 from
256 tokens on); "recurrent", a token at a time, as one decodes; "parallel", the whole sequence as one
chunk. `initial_state` continues from the `state` of an earlier part: a sequence may be cut anywhere.

Sums are kept in float32 or better, and so is the state; the output has the inputs' dtype. A token that holds
NaN or inf spoils its own output, all later ones and the state: nothing before it, gradients included.
Wrong types raise `TypeError`, wrong shapes `ValueError`, with the remedy. Inputs are never modified.
"""

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

from attention_core.linear import checks, features
from attention_core.linear.delta import delta_sum
from attention_core.linear.features import elu_plus_one, orthogonal_features
from attention_core.linear.sums import Recurrent, decayed_average, decayed_sum

__all__ = [
    "Recurrent",
    "delta_rule",
    "elu_plus_one",
    "fast_weights",
    "gated_delta_rule",
    "linear_attention",
    "orthogonal_features",
    "performer",
]


def fast_weights(
    query: Float[Tensor, "*batch n d"],
    key: Float[Tensor, "*batch n d"],
    value: Float[Tensor, "*batch n dv"],
    *,
    mode: str = "chunked",
    chunk: int | None = None,
    initial_state: Float[Tensor, "*batch d dv"] | None = None,
) -> Recurrent:
    r"""Fast weights: a matrix programmed by outer products, of Schmidhuber (1992).

    $S_t = S_{t-1} + k_t v_t^\top$ and $o_t = S_t^\top q_t$. Unfolded it is causal attention with the raw dot
    products for weights, $o_t = \sum_{j \le t} (q_t^\top k_j) v_j$.
    """
    checks.check(query, key, value, mode, chunk)
    state = checks.initial(initial_state, query, (query.shape[-1], value.shape[-1]), "(*batch, d, dv)")
    clean, spoiled = checks.quarantine(query, key, value)
    result = decayed_sum(*clean, None, state, mode=mode, chunk=chunk)
    return checks.spoil(result, spoiled, query.dtype)


def linear_attention(
    query: Float[Tensor, "*batch n d"],
    key: Float[Tensor, "*batch n d"],
    value: Float[Tensor, "*batch n dv"],
    *,
    feature_map: Callable[[Tensor], Tensor] = elu_plus_one,
    mode: str = "chunked",
    chunk: int | None = None,
    initial_state: Float[Tensor, "*batch features dv+1"] | None = None,
) -> Recurrent:
    r"""Linear attention, of Katharopoulos et al. (2020), section 3.3.

    $o_t = \frac{\sum_{j \le t} \phi(q_t)^\top \phi(k_j) \, v_j}{\sum_{j \le t} \phi(q_t)^\top \phi(k_j)}$, an
    average of the values if the feature map is positive. `feature_map` takes (*batch, n, d) to
    (*batch, n, features), each token by itself, and must not give negative numbers.

    The denominator is the sum for one more value, always 1. So the state is (*batch, features, dv + 1):
    $\sum_j \phi(k_j) [v_j; 1]^\top$, the normaliser in its last column. Where it is 0, the output is 0.
    """
    checks.check(query, key, value, mode, chunk)
    (query_, key_, value_), spoiled = checks.quarantine(query, key, value)
    query_, key_ = checks.apply_features(feature_map, query_, key_)
    shape = (query_.shape[-1], value.shape[-1] + 1)
    state = checks.initial(initial_state, query, shape, "(*batch, features, dv + 1)")
    result = decayed_average(query_, key_, value_, None, state, mode=mode, chunk=chunk)
    return checks.spoil(result, spoiled, query.dtype)


def performer(
    query: Float[Tensor, "*batch n d"],
    key: Float[Tensor, "*batch n d"],
    value: Float[Tensor, "*batch n dv"],
    projection: Float[Tensor, "features d"],
    *,
    mode: str = "chunked",
    chunk: int | None = None,
    initial_state: Float[Tensor, "*batch features dv+2"] | None = None,
) -> Recurrent:
    r"""Performer: causal softmax attention, estimated by random features. Choromanski et al. (2020).

    Linear attention with FAVOR+'s $\phi(x) = e^{Wx - \|x\|^2/2} / \sqrt m$ on queries and keys times
    $d^{-1/4}$, for a random `projection` W of m rows (`orthogonal_features`): $\phi(q)^\top \phi(k)$ is
    $e^{q^\top k / \sqrt d}$ on average. Once the error is small it falls as $1/\sqrt m$. But the variance
    grows exponentially with the lengths of q and k: those of standard normal entries are already too long
    at d = 16, where four times the features take a fifth off the error and not half.

    An exponential needs a shift. A query's own largest exponent cancels in the ratio. The keys' largest
    over the sequence cancels too, but is the future's: where it lets an earlier key underflow, or meets an
    epsilon, it shows in earlier outputs. So it is the largest up to now, $c_t$, and when that grows the state
    decays by $e^{c_{t-1} - c_t}$, as in the online softmax. The state is (*batch, features, dv + 2):
    $e^{-c} \sum_j \phi(k_j) [v_j; 1]^\top$ and, in each row of its last column, c.
    """
    checks.check(query, key, value, mode, chunk)
    checks.check_projection(projection, query)
    shape = (len(projection), value.shape[-1] + 2)
    state = checks.initial(initial_state, query, shape, "(*batch, features, dv + 2)")
    (query_, key_, value_), spoiled = checks.quarantine(query, key, value)

    projection = projection.to(query_.dtype)
    query_ = features.log_positive_features(query_, projection)  # (*batch, n, features)
    key_ = features.log_positive_features(key_, projection)
    sums, start = state[..., :-1], state[..., :1, -1]  # start (*batch, 1)
    if initial_state is None:
        start = torch.full_like(start, -torch.inf)
    peaks = torch.cat([start, key_.amax(-1)], dim=-1).cummax(-1).values  # (*batch, 1 + n)
    query_ = (query_ - query_.detach().amax(-1, keepdim=True)).exp()
    key_ = (key_ - peaks[..., 1:, None]).exp()
    decay = (peaks[..., :-1] - peaks[..., 1:]).exp()

    result = decayed_average(query_, key_, value_, decay, sums, mode=mode, chunk=chunk)
    last = peaks[..., -1:, None].expand(*sums.shape[:-1], 1)
    carried = torch.cat([result.state, last], dim=-1)
    return checks.spoil(result._replace(state=carried), spoiled, query.dtype)


def delta_rule(
    query: Float[Tensor, "*batch n d"],
    key: Float[Tensor, "*batch n d"],
    value: Float[Tensor, "*batch n dv"],
    beta: Float[Tensor, "*batch n"],
    *,
    mode: str = "chunked",
    chunk: int | None = None,
    initial_state: Float[Tensor, "*batch d dv"] | None = None,
) -> Recurrent:
    r"""The delta rule: fast weights that correct themselves. Schlag, Irie & Schmidhuber (2021), section 4.2.

    $S_t = S_{t-1} + b_t k_t (v_t - S_{t-1}^\top k_t)^\top$ and $o_t = S_t^\top q_t$: what the memory holds
    for the key is moved towards the new value, by the fraction $b_t \|k_t\|^2$. With keys of length 1 and
    $b_t = 1$ it is overwritten; beyond $b_t \|k_t\|^2 = 2$ the recurrence grows without bound.

    It overwrites: a key bound again gives the newer value. It is no larger a memory: keys that overlap
    overwrite a part of each other too.
    """
    checks.check(query, key, value, mode, chunk, beta=beta)
    state = checks.initial(initial_state, query, (query.shape[-1], value.shape[-1]), "(*batch, d, dv)")
    clean, spoiled = checks.quarantine(query, key, value, beta)
    result = delta_sum(*clean, None, state, mode=mode, chunk=chunk)
    return checks.spoil(result, spoiled, query.dtype)


def gated_delta_rule(
    query: Float[Tensor, "*batch n d"],
    key: Float[Tensor, "*batch n d"],
    value: Float[Tensor, "*batch n dv"],
    beta: Float[Tensor, "*batch n"],
    decay: Float[Tensor, "*batch n"],
    *,
    mode: str = "chunked",
    chunk: int | None = None,
    initial_state: Float[Tensor, "*batch d dv"] | None = None,
) -> Recurrent:
    r"""The gated delta rule, of Yang, Kautz & Hatamizadeh (2024).

    $S_t = a_t (I - b_t k_t k_t^\top) S_{t-1} + b_t k_t v_t^\top$ and $o_t = S_t^\top q_t$. The memory decays
    before it is read, for the correction too. `decay` $a_t$ is the factor itself, not its logarithm: 1 keeps
    everything and is `delta_rule`, 0 forgets everything.
    """
    checks.check(query, key, value, mode, chunk, beta=beta, decay=decay)
    state = checks.initial(initial_state, query, (query.shape[-1], value.shape[-1]), "(*batch, d, dv)")
    clean, spoiled = checks.quarantine(query, key, value, beta, decay)
    result = delta_sum(*clean, state, mode=mode, chunk=chunk)
    return checks.spoil(result, spoiled, query.dtype)
