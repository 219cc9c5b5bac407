"""Messages between the ranks: posted before work that needs them not, awaited after it, never for ever."""

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from numbers import Real
from typing import NamedTuple

import torch
import torch.distributed as dist
from torch import Tensor

from attention_core.ring import orders

DTYPES = (torch.float16, torch.bfloat16, torch.float32, torch.float64)


class Message(NamedTuple):
    """A tensor and the rank, within the group, that it goes to or comes from."""

    tensor: Tensor
    peer: int


class Ring:
    """The ranks of a process group, each of which passes to the next, and the last to the first."""

    def __init__(self, group: dist.ProcessGroup | None, timeout: float):
        if not dist.is_available() or not dist.is_initialized():
            raise ValueError(
                "`group` must be a process group; got none, not even a default one. Call "
                "`torch.distributed.init_process_group` on every rank, started by `torchrun`."
            )
        if not isinstance(timeout, Real) or isinstance(timeout, bool) or not 0 < timeout < math.inf:
            raise ValueError(f"`timeout` must be a number of seconds, more than 0; got {timeout!r}.")
        self.group, self.timeout = group, timeout
        self.rank, self.ranks = dist.get_rank(group), dist.get_world_size(group)
        if self.rank < 0:
            raise ValueError("`group` must have this process as a member. Only its members call.")

    def post(self, sends: list[Message], receives: list[Message], tag: int = 0) -> Callable[[], None]:
        """Start to send and to receive; returns the function that waits until all is done.

        Between two ranks, messages of one tag arrive in the order in which they are posted.
        """
        operations = [
            dist.P2POp(operation, tensor, group=self.group, group_peer=peer, tag=tag)
            for operation, messages in ((dist.isend, sends), (dist.irecv, receives))
            for tensor, peer in messages
            if tensor.numel()
        ]
        if not operations:
            return lambda: None
        with self._explained():
            works = dist.batch_isend_irecv(operations)
        # On NCCL a wait is queued on the GPU's stream; with a time limit it would stop the host instead.
        limit = () if operations[0].tensor.is_cuda else (timedelta(seconds=self.timeout),)

        def wait() -> None:
            with self._explained():
                for work in works:
                    work.wait(*limit)
            operations.clear()  # until here what is being sent must not be freed

        return wait

    def turn(self, tensors: tuple[Tensor, ...], tag: int = 0) -> Callable[[], tuple[Tensor, ...]]:
        """Start to pass these to the next rank; returns the function that waits for the previous one's."""
        arriving = tuple(torch.empty_like(x) for x in tensors)
        following, previous = (self.rank + 1) % self.ranks, (self.rank - 1) % self.ranks
        wait = self.post(
            [Message(x, following) for x in tensors], [Message(x, previous) for x in arriving], tag
        )

        def result() -> tuple[Tensor, ...]:
            wait()
            return arriving

        return result

    @contextmanager
    def _explained(self) -> Iterator[None]:
        """Say which ranks did not answer, in place of a line from the depths of a transport."""
        try:
            yield
        except RuntimeError as error:
            raise RuntimeError(
                f"rank {self.rank} of {self.ranks} waited for the others in vain, for {self.timeout:g} s at "
                "most: one has died, or has not made the same call. Its own output tells why; start all "
                f"ranks again. A call that may take longer has `timeout=`. ({error})"
            ) from error

    def check_alike(self, query: Tensor, key: Tensor, value: Tensor, *settings: int) -> None:
        """Require that all ranks call with the same shapes, dtype and settings: else they would misread."""
        facts = [DTYPES.index(query.dtype), *settings, *query.shape, *key.shape, *value.shape]
        own = torch.tensor([len(facts), *facts, *[0] * 64][:64], device=query.device)
        others = {rank: torch.empty_like(own) for rank in range(self.ranks) if rank != self.rank}
        self.post([Message(own, rank) for rank in others], [Message(x, rank) for rank, x in others.items()])()
        for rank, theirs in others.items():
            if not theirs.equal(own):
                raise ValueError(
                    "`query`, `key` and `value` must have the same shapes and dtype on every rank, and the "
                    f"other arguments be the same; got something else on rank {rank} than on {self.rank}, "
                    f"where shapes are {tuple(query.shape)}, {tuple(key.shape)} and {tuple(value.shape)}. "
                    "Pad the sequence to a multiple of the ranks, and `shard` it."
                )


class Reorder(torch.autograd.Function):
    """Every rank's positions, (*batch, n/p, width), from one order into another; backward, the way back."""

    @staticmethod
    def forward(ctx, x: Tensor, ring: Ring, source: str, target: str) -> Tensor:
        ctx.ring, ctx.source, ctx.target = ring, source, target
        return _reorder(x, ring, source, target)

    @staticmethod
    def backward(ctx, gradient: Tensor) -> tuple[Tensor, None, None, None]:
        return _reorder(gradient, ctx.ring, ctx.target, ctx.source), None, None, None


def _reorder(x: Tensor, ring: Ring, source: str, target: str) -> Tensor:
    rank, ranks, total = ring.rank, ring.ranks, x.shape[-2] * ring.ranks
    held, wanted = orders.chunks(rank, ranks, source), orders.chunks(rank, ranks, target)
    sizes = [len(orders.span(chunk, ranks, total)) for chunk in held]
    have = {c: part.contiguous() for c, part in zip(held, x.split(sizes, dim=-2), strict=True)}
    get = {
        c: have[c]
        if c in have
        else x.new_empty(*x.shape[:-2], len(orders.span(c, ranks, total)), x.shape[-1])
        for c in wanted
    }
    ring.post(
        [Message(have[c], orders.holder(c, ranks, target)) for c in sorted(have) if c not in get],
        [Message(get[c], orders.holder(c, ranks, source)) for c in sorted(get) if c not in have],
    )()
    return torch.cat([get[c] for c in wanted], dim=-2)
