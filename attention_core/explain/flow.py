"""Attention flow: how much of CLS can come from an input token, if weights are the widths of pipes."""

from numbers import Real

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from attention_core.explain.attention import fuse, with_residual

TINY = 1e-13  # less room than this is a full pipe, less held than this an empty token
FAR = 1e6  # steps to the bottom from where no way leads there


def flow(
    weights: Float[Tensor, "batch layers heads n n"], residual: Real = 0.5, query: int = 0
) -> Float[Tensor, "batch n"]:
    r"""Attention flow, of Abnar & Zuidema (2020), section 3: for each input token, a maximum flow.

    A graph has a node for each token before and after every layer. From token i above layer l to token j
    below it leads a pipe as wide as entry ij of $M^l$, attention and residual as in `rollout`, heads
    averaged. Token j's score is the largest flow from `query` (CLS) at the top down to j at the bottom, in
    which what leaves a node is what came in, and no pipe takes more than its width: between 0 and 1. Where
    rollout multiplies the widths along a path, flow takes the narrowest. The authors' code divides a query's
    scores by their sum, which changes no order.

    Exact but for rounding: computed in float64, within 1e-9 of the maximum. Costs one maximum flow for each
    of n tokens, several thousand times the work of rollout: for a few images.
    """
    matrices = with_residual(fuse(weights.detach().double(), "mean"), residual)
    scores = torch.stack([maximum_flows(one, query) for one in matrices])
    broken = ~matrices.isfinite().flatten(1).all(1, keepdim=True)  # nothing flows through NaN: say so
    return scores.masked_fill(broken, torch.nan).to(weights.dtype)


def maximum_flows(matrices: Float[Tensor, "layers n n"], query: int = 0) -> Float[Tensor, " n"]:
    """The maximum flow from token `query` on top to each token at the bottom, taken by itself.

    Push-relabel (Goldberg & Tarjan 1988): a token that holds something pushes it to neighbours one step
    nearer to the bottom, down a pipe with room or back up one in use, until nothing held can get there any
    more. Steps are counted anew before each sweep. The tokens of one layer are no neighbours, so all push at
    once, and all n problems run side by side: they differ in the pipes of the first layer, of which each
    keeps one column.
    """
    first, *between, top = matrices if len(matrices) > 1 else (matrices[0], None)
    if top is None:
        return first[query]
    n = len(first)
    network = _Network(
        held=[top[query].repeat(n, 1)] + [torch.zeros_like(first) for _ in between],
        room=[matrix.repeat(n, 1, 1) for matrix in reversed(between)] + [first.mT[..., None].clone()],
    )
    scores, places = first.new_zeros(n), torch.arange(n, device=first.device)
    while len(places):
        busy = network.sweep()
        if 2 * busy.sum() <= len(places):  # go on with those that are not done
            scores[places] = network.arrived.squeeze(1)
            network, places = network.only(busy), places[busy]
    return scores


class _Network:
    """Levels of tokens from the top down, and what the pipes between them still take, for each problem."""

    def __init__(self, held: list[Tensor], room: list[Tensor], used: list[Tensor] | None = None):
        self.held = held  # a level each: (problems, n)
        self.room = room  # below each level: (problems, n, n), and (problems, n, 1) to the bottom
        self.used = [torch.zeros_like(pipes) for pipes in room] if used is None else used
        self.arrived = torch.zeros_like(held[0][:, :1])

    def only(self, problems: Bool[Tensor, " problems"]) -> "_Network":
        """Some of the problems, as far as they are."""
        parts = ([x[problems] for x in part] for part in (self.held, self.room, self.used))
        network = _Network(*parts)
        network.arrived = self.arrived[problems]
        return network

    def sweep(self) -> Bool[Tensor, " problems"]:
        """Push everything once, top down; says which problems had anything to push."""
        steps = self._steps()
        able = [(held > TINY) & (step < FAR) for held, step in zip(self.held, steps, strict=True)]
        for level, held in enumerate(self.held):
            bottom = level + 1 == len(self.held)
            below = self.arrived if bottom else self.held[level + 1]
            goal = steps[0].new_zeros(len(held), 1) if bottom else steps[level + 1]
            nearer = steps[level][..., None] == goal[:, None] + 1
            _push(held, below, self.room[level], self.used[level], nearer)
            if level:  # back up: the pipes' other ends, so transposed
                nearer = steps[level][..., None] == steps[level - 1][:, None] + 1
                used, room = self.used[level - 1].mT, self.room[level - 1].mT
                _push(held, self.held[level - 1], used, room, nearer)
        return torch.stack([some.any(1) for some in able]).any(0)

    def _steps(self) -> list[Float[Tensor, "problems n"]]:
        """How many pipes lie between each token and the bottom, by those that have room or are in use."""
        down = [(pipes <= TINY).float() * FAR for pipes in self.room]
        up = [(pipes <= TINY).float() * FAR for pipes in self.used]
        steps = [torch.full_like(held, FAR, dtype=torch.float32) for held in self.held]
        while True:
            before = [step.clone() for step in steps]
            for level in reversed(range(len(steps))):  # bottom up, so that one round finds all straight ways
                below = (
                    steps[level + 1] if level + 1 < len(steps) else steps[level].new_zeros(len(steps[0]), 1)
                )
                ways = [(down[level] + below[:, None]).amin(-1) + 1]
                if level:
                    ways.append((up[level - 1] + steps[level - 1][..., None]).amin(-2) + 1)
                steps[level] = torch.stack(ways).amin(0).clamp(max=FAR)
            if all(torch.equal(one, other) for one, other in zip(before, steps, strict=True)):
                return steps


def _push(
    held: Float[Tensor, "problems n"],
    goal: Float[Tensor, "problems m"],
    room: Float[Tensor, "problems n m"],
    used: Float[Tensor, "problems n m"],
    nearer: Bool[Tensor, "problems n m"],
) -> None:
    """Move what tokens hold into pipes that lead nearer, one after the other, in place."""
    takes = room * (nearer & (room > TINY))
    before = takes.cumsum(-1) - takes
    moved = (held[..., None] - before).clamp(min=0.0).minimum(takes)
    room -= moved
    used += moved
    held -= moved.sum(-1)
    goal += moved.sum(-2)
