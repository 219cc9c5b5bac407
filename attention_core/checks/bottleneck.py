"""Exercises of the chapter "The bottleneck": float64 inputs, tokens oldest first."""

import torch
from torch import Tensor

from attention_core.checks import Case, Exercise, Mutant

# --- retention-weights: h = sum_j (1 - g) g^(n - 1 - j) x_j


def _ages(n: int) -> Tensor:
    """Steps since each token, oldest first: n - 1 down to 0."""
    return torch.arange(n - 1, -1, -1, dtype=torch.float64)


def _retention(n: int, gate: float) -> Tensor:
    return (1 - gate) * gate ** _ages(n)


def _retention_cases(_generator: torch.Generator) -> list[Case]:
    return [{"n": n, "gate": gate} for n, gate in ((3, 0.5), (1, 0.9), (6, 0.8), (40, 0.95))]


RETENTION = Exercise(
    name="retention-weights",
    reference=_retention,
    cases=_retention_cases,
    mutants={
        "newest first": Mutant(
            lambda n, gate: (1 - gate) * gate ** _ages(n).flip(0),
            "the order is turned round: the oldest token comes first, and it has passed most gates.",
        ),
        "nothing lost on entry": Mutant(
            lambda n, gate: gate ** _ages(n),
            "the factor 1 - g is missing: only that much of a token gets into the state.",
        ),
        "one gate too many": Mutant(
            lambda n, gate: (1 - gate) * gate ** (_ages(n) + 1),
            "one gate too many: the newest token has been written and has not passed a gate since.",
        ),
        "normalised": Mutant(
            lambda n, gate: gate ** _ages(n) / (gate ** _ages(n)).sum(),
            "the weights were made to sum to 1: what is missing belongs to the empty state at the start.",
        ),
        "entry and gate swapped": Mutant(
            lambda n, gate: gate * (1 - gate) ** _ages(n),
            "g and 1 - g are swapped: the gate multiplies the old state, 1 - g the new token.",
        ),
    },
)

# --- reversed-lags: steps between reading source word i and writing target word i


def _lags(n: int, reverse: bool) -> Tensor:
    i = torch.arange(n, dtype=torch.float64)
    read = n - 1 - i if reverse else i
    return n + i - read


def _lag_cases(_generator: torch.Generator) -> list[Case]:
    return [{"n": n, "reverse": reverse} for n in (1, 4, 9) for reverse in (False, True)]


LAGS = Exercise(
    name="reversed-lags",
    reference=_lags,
    cases=_lag_cases,
    mutants={
        "order ignored": Mutant(
            lambda n, reverse: torch.full((n,), float(n), dtype=torch.float64),
            "the order is not used: in a reversed sentence the first word is read last.",
        ),
        "target reversed too": Mutant(
            lambda n, reverse: _lags(n, reverse).flip(0),
            "the target is reversed as well: only the source is, so the first lag is the shortest.",
        ),
        "off by one": Mutant(
            lambda n, reverse: _lags(n, reverse) - 1,
            "every lag is one too small: the word read last, in step n - 1, and step n are one step apart.",
        ),
        "always reversed": Mutant(
            lambda n, reverse: _lags(n, True),
            "this is right for reversed sentences only: look at `reverse`.",
        ),
    },
)

# --- gate-bias: sigmoid(b)^k = 1/2


def _gate_bias(steps: Tensor) -> Tensor:
    gate = 0.5 ** (1 / steps)
    return torch.log(gate / (1 - gate))


def _bias_cases(generator: torch.Generator) -> list[Case]:
    drawn = 1 + 50 * torch.rand(5, generator=generator, dtype=torch.float64)
    return [{"steps": torch.tensor([1.0, 2.0, 10.0], dtype=torch.float64)}, {"steps": drawn}]


def _bias_in_place(steps: Tensor) -> Tensor:
    steps.reciprocal_()
    return torch.logit(0.5**steps)


GATE_BIAS = Exercise(
    name="gate-bias",
    reference=_gate_bias,
    cases=_bias_cases,
    mutants={
        "the gate itself": Mutant(
            lambda steps: 0.5 ** (1 / steps),
            "this is the gate: which b has it as its sigmoid?",
        ),
        "a share of 1/e": Mutant(
            lambda steps: torch.logit(torch.exp(-1 / steps)),
            "after these steps 1/e is left, about 0.37: it was to be one half.",
        ),
        "sign": Mutant(
            lambda steps: -_gate_bias(steps),
            "the sign is turned round: a long memory needs a gate near 1, so a large positive bias.",
        ),
        "half at every step": Mutant(
            lambda steps: torch.logit(1 - 0.5 / steps),
            "one half was shared out among the steps by division: gates multiply, so take a root.",
        ),
        "in place": Mutant(_bias_in_place, "modified in place"),
    },
)

# --- gated-mixture: h_t = g_t h_{t-1} + (1 - g_t) x_t as a matrix


def _mixture(gates: Tensor) -> Tensor:
    n = len(gates)
    rows = torch.zeros(n, n, dtype=gates.dtype)
    for t in range(n):
        rows[t] = gates[t] * (rows[t - 1] if t else 0.0)
        rows[t, t] = 1 - gates[t]
    return rows


def _mixture_cases(generator: torch.Generator) -> list[Case]:
    by_hand = torch.tensor([0.5, 0.5, 0.5], dtype=torch.float64)
    closed = torch.tensor([0.3, 0.9, 1.0, 0.6], dtype=torch.float64)  # the third token does not get in
    drawn = torch.rand(6, generator=generator, dtype=torch.float64)
    return [{"gates": by_hand}, {"gates": closed}, {"gates": drawn}]


def _mixture_in_place(gates: Tensor) -> Tensor:
    right = _mixture(gates)
    gates.mul_(0.5)
    return right


def _mixture_own_gate(gates: Tensor) -> Tensor:
    """Token j passes its own gate as well."""
    return _mixture(gates) * gates


MIXTURE = Exercise(
    name="gated-mixture",
    reference=_mixture,
    cases=_mixture_cases,
    mutants={
        "first gate for all": Mutant(
            lambda gates: _mixture(gates[:1].expand(len(gates))),
            "the first gate is used at every step: each step has its own.",
        ),
        "own gate too": Mutant(
            _mixture_own_gate,
            "a token passes its own gate as well: only those after it, j + 1 to t.",
        ),
        "transposed": Mutant(
            lambda gates: _mixture(gates).mT.clone(),
            "transposed: row t is the state after step t, so it ends at column t.",
        ),
        "all written in full": Mutant(
            lambda gates: _mixture(gates) / (1 - gates).clamp_min(1e-300),
            "the factor 1 - g of column j is missing: only that much of token j gets in.",
        ),
        "in place": Mutant(_mixture_in_place, "modified in place"),
    },
)

# --- unpack-bits: read n bits out of the one number h = sum_k bit_k 2^-(k+1), the newest first


def _unpack(state: Tensor, n: int) -> Tensor:
    shifts = 2.0 ** torch.arange(1, n + 1, dtype=torch.float64)
    return torch.floor(state[:, None] * shifts) % 2


def _unpack_cases(generator: torch.Generator) -> list[Case]:
    cases = [{"state": torch.tensor([0.625, 0.5, 0.0], dtype=torch.float64), "n": 3}]
    for n in (1, 8, 50):
        bits = torch.randint(0, 2, (4, n), generator=generator).double()
        weights = 0.5 ** torch.arange(1, n + 1, dtype=torch.float64)
        cases.append({"state": bits @ weights, "n": n})
    return cases


def _unpack_in_place(state: Tensor, n: int) -> Tensor:
    bits = []
    for _ in range(n):
        state *= 2
        bits.append((state >= 1).double())
        state -= bits[-1]
    return torch.stack(bits, dim=1)


def _unpack_strictly(state: Tensor, n: int) -> Tensor:
    bits, rest = [], state
    for _ in range(n):
        bits.append((2 * rest > 1).double())
        rest = 2 * rest - bits[-1]
    return torch.stack(bits, dim=1)


def _unpack_without_rest(state: Tensor, n: int) -> Tensor:
    shifts = 2.0 ** torch.arange(1, n + 1, dtype=torch.float64)
    return (state[:, None] * shifts >= 1).double()


UNPACK = Exercise(
    name="unpack-bits",
    reference=_unpack,
    cases=_unpack_cases,
    mutants={
        "oldest first": Mutant(
            lambda state, n: _unpack(state, n).flip(1),
            "the order is turned round: the newest bit is worth one half and comes first.",
        ),
        "nothing taken away": Mutant(
            _unpack_without_rest,
            "a bit that was read must be taken away: else it makes every older one look like 1.",
        ),
        "half not counted": Mutant(
            _unpack_strictly,
            "exactly one half was read as 0: a state of 0.5 has a 1 as its newest bit.",
        ),
        "float32": Mutant(
            lambda state, n: _unpack(state.float().double(), n),
            "bits past the 24th are lost: float32 keeps no more, stay in float64.",
        ),
        "in place": Mutant(_unpack_in_place, "modified in place"),
    },
)

# --- gradient-through-time: |d (u . h_n) / d x_{n-k}| in h_t = W h_{t-1} + x_t


def _through_time(weight: Tensor, readout: Tensor, n: int) -> Tensor:
    norms, gradient = [], readout
    for _ in range(n):
        norms.append(gradient.norm())
        gradient = weight.mT @ gradient
    return torch.stack(norms)


def _through_time_cases(generator: torch.Generator) -> list[Case]:
    shift = torch.tensor([[0.0, 1.0], [0.0, 0.0]], dtype=torch.float64)
    cases = [{"weight": 0.5 * torch.eye(2, dtype=torch.float64), "readout": _normal(generator, 2), "n": 4}]
    cases.append({"weight": shift, "readout": torch.tensor([3.0, 4.0], dtype=torch.float64), "n": 3})
    for d, n in ((3, 5), (4, 1)):
        cases.append({"weight": 0.6 * _normal(generator, d, d), "readout": _normal(generator, d), "n": n})
    return cases


def _by_largest_eigenvalue(weight: Tensor, readout: Tensor, n: int) -> Tensor:
    largest = torch.linalg.eigvals(weight).abs().max()
    return readout.norm() * largest ** torch.arange(n, dtype=torch.float64)


def _by_norm(weight: Tensor, readout: Tensor, n: int) -> Tensor:
    return readout.norm() * torch.linalg.matrix_norm(weight, 2) ** torch.arange(n, dtype=torch.float64)


def _through_time_in_place(weight: Tensor, readout: Tensor, n: int) -> Tensor:
    right = _through_time(weight, readout, n)
    readout.copy_(weight.mT @ readout)
    return right


THROUGH_TIME = Exercise(
    name="gradient-through-time",
    reference=_through_time,
    cases=_through_time_cases,
    mutants={
        "not transposed": Mutant(
            lambda weight, readout, n: _through_time(weight.mT, readout, n),
            "the readout is multiplied by W: a gradient runs backwards, through its transpose.",
        ),
        "largest eigenvalue": Mutant(
            _by_largest_eigenvalue,
            "powers of the largest eigenvalue: that is the rate in the long run, not the value at each step.",
        ),
        "bound": Mutant(
            _by_norm,
            "powers of the norm of W are an upper bound: follow the vector itself.",
        ),
        "oldest first": Mutant(
            lambda weight, readout, n: _through_time(weight, readout, n).flip(0),
            "the order is turned round: entry k is for the token k steps back, so the newest comes first.",
        ),
        "one step late": Mutant(
            lambda weight, readout, n: _through_time(weight, weight.mT @ readout, n),
            "one W too many: the newest token enters the last state directly.",
        ),
        "in place": Mutant(_through_time_in_place, "modified in place"),
    },
)

EXERCISES = (RETENTION, LAGS, GATE_BIAS, MIXTURE, UNPACK, THROUGH_TIME)


def _normal(generator: torch.Generator, *shape: int) -> Tensor:
    return torch.randn(*shape, generator=generator, dtype=torch.float64)
