"""Pairs written into one matrix, by three rules, and how well the matrix answers to each key afterwards."""

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from attention_core import linear

RULES = ("sum", "delta", "gated")
EXACT = 1e-6  # an error below this is called none: what travels has the precision of float32


class Pairs(NamedTuple):
    key: Tensor  # (n, d), float64, each of length 1
    value: Tensor  # (n, dv), float64
    ids: tuple[int, ...]  # of each pair the first that has its key


class Run(NamedTuple):
    """One rule's way through the pairs."""

    pairs: Pairs
    decay: float  # what is left of the memory at each write
    states: np.ndarray  # (n + 1, d, dv): empty, then after each write
    written: np.ndarray  # (n, dv): a write adds the outer product of the key and this


class Answers(NamedTuple):
    """What a memory says to the first t keys."""

    answers: np.ndarray  # (t, dv)
    cosines: np.ndarray  # (t,): with the value that was stored; 0 for an answer of 0
    errors: np.ndarray  # (t,): distance to that value, relative to its length
    right: list[bool]  # nearer to it than to any other value written so far
    current: list[bool]  # the key has not been written again


class Facts(NamedTuple):
    """What the sentence and the tiles say."""

    written: int
    width: int
    keys: int  # different ones
    right: int  # of them
    error: float  # their mean
    worst: float
    newest: float  # error of the pair written last
    cosine: float  # of the answer to its key with its value
    times: int  # how often that key has been written
    before: float  # cosine of the same answer with the value it had before
    overlap: float  # largest |cosine| between two different keys


def draw(pairs: int, width: int, wide: int, orthogonal: bool, again: bool, seed: int) -> Pairs:
    """Random pairs of length 1; with `again`, half as many keys as the memory is wide, in turn.

    No more than `width` keys can be orthogonal: each further `width` of them are a new orthogonal set, turned
    at random.
    """
    generator = torch.Generator().manual_seed(seed)
    value = _unit(torch.randn(pairs, wide, generator=generator, dtype=torch.float64))
    if orthogonal:
        key = linear.orthogonal_features(pairs, width, generator=generator, dtype=torch.float64)
    else:
        key = torch.randn(pairs, width, generator=generator, dtype=torch.float64)
    ids = tuple(i % (width // 2) if again else i for i in range(pairs))
    return Pairs(_unit(key)[list(ids)], value, ids)


def _unit(x: Tensor) -> Tensor:
    return x / x.norm(dim=-1, keepdim=True)


def write(pairs: Pairs, rule: str, decay: float) -> Run:
    """Every state of `linear`'s recurrences, a pair at a time."""
    key, value, _ = pairs
    kept = decay if rule == "gated" else 1.0
    ones = torch.ones(1, dtype=key.dtype)
    states = [torch.zeros(key.shape[1], value.shape[1], dtype=key.dtype)]
    for t in range(len(key)):
        given = dict(mode="recurrent", initial_state=states[-1])
        pair = key[t : t + 1], key[t : t + 1], value[t : t + 1]
        if rule == "sum":
            after = linear.fast_weights(*pair, **given)
        elif rule == "delta":
            after = linear.delta_rule(*pair, ones, **given)
        else:
            after = linear.gated_delta_rule(*pair, ones, kept * ones, **given)
        states.append(after.state)
    stacked = torch.stack(states)
    added = stacked[1:] - kept * stacked[:-1]  # the outer product of a key of length 1 and what is written
    return Run(pairs, kept, stacked.numpy(), torch.einsum("td,tdv->tv", key, added).numpy())


def measure(run: Run, t: int) -> Answers:
    """What the memory after t writes answers to each of their keys."""
    key, value = (x[:t].numpy() for x in run.pairs[:2])
    answers = key @ run.states[t]
    off = np.linalg.norm(answers[:, None] - value[None], axis=-1)  # (t, t)
    own, lengths = off.diagonal(), np.linalg.norm(value, axis=-1)
    sizes = np.linalg.norm(answers, axis=-1)
    cosines = (answers * value).sum(-1) / np.where(sizes > 0, sizes * lengths, np.inf)
    same = np.linalg.norm(value[:, None] - value[None], axis=-1) < EXACT
    right = (same | (off > own[:, None] + EXACT)).all(-1)  # where old and new are as near, it cannot tell
    ids = run.pairs.ids[:t]
    current = [i not in ids[at + 1 :] for at, i in enumerate(ids)]
    return Answers(answers, cosines, own / lengths, right.tolist(), current)


def facts(run: Run, t: int) -> Facts | None:
    """None before the first write."""
    if t == 0:
        return None
    seen, ids = measure(run, t), run.pairs.ids[:t]
    now = np.array(seen.current)
    errors = seen.errors[now]
    key = run.pairs.key[:t][now].numpy()
    overlaps = np.abs(key @ key.T - np.eye(len(key)))
    mine = [at for at, i in enumerate(ids) if i == ids[-1]]
    before = 0.0
    if len(mine) > 1:
        answer, old = seen.answers[-1], run.pairs.value[mine[-2]].numpy()
        length = np.linalg.norm(answer) * np.linalg.norm(old)
        before = float(answer @ old / length) if length > 0 else 0.0
    return Facts(
        t, key.shape[1], len(errors), int(np.array(seen.right)[now].sum()), float(errors.mean()),
        float(errors.max()), float(seen.errors[-1]), float(seen.cosines[-1]), len(mine), before,
        float(overlaps.max()),
    )  # fmt: skip


def curve(run: Run) -> list[float]:
    """Mean error after each write."""
    return [facts(run, t).error for t in range(1, len(run.written) + 1)]


def same_keys(key: Tensor) -> tuple[int, ...]:
    """Of each key the first that is equal to it."""
    close = torch.cdist(key, key, compute_mode="donot_use_mm_for_euclid_dist") < 1e-9
    return tuple(int(row.nonzero()[0, 0]) for row in close)
