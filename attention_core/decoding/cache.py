"""KVCache: the keys and values of a batch of sequences, in one buffer that grows, and may forget."""

from collections.abc import Sequence

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from attention_core import heads as head_axis
from attention_core import pipeline, scores
from attention_core.decoding.split import split_kv
from attention_core.pipeline import Attended

_FIRST = 16  # slots of the first buffer


class KVCache:
    r"""Keys and values of all tokens so far, or of the `sinks` first and the last `window` of them.

    A query at position i attends to the keys $j \le i$ with $i - j < window$ or $j < sinks$. A key that no
    later query can see is forgotten at the next `append`, and its slot used again.
    Without a window, a layer keeps $2 \, d \, H_{kv} \, m$ numbers for each sequence, all of which each new
    token reads; with one, at most $sinks + window - 1$ tokens and those of one `append`.

    The sinks are of Xiao et al. (2023): softmax has to put its weight somewhere, a model learns to put spare
    weight on the first tokens, and a window that forgets them ruins it. There, keys are rotated to their
    place in the cache; here they stay as they were appended, rotated to their place in the text if at all.

    The buffer doubles when it is full, so that n appends of one token copy fewer than 2n of them. Attention
    asks for no order of its keys, so a new one goes wherever a slot is free: nothing is ever moved up.
    Kept are copies without gradients; of the queries of `attend` there are gradients.

    Parameters
    ----------
    window
        How many tokens a query sees, itself included; all, if not given.
    sinks
        How many first tokens every query sees besides. Without a window it says nothing, and must be 0.
    """

    def __init__(self, *, window: int | None = None, sinks: int = 0):
        check_window(window, sinks)
        self.window, self.sinks = window, sinks
        self.length = 0  # tokens appended so far, forgotten ones included
        self._kept_from = 0  # of the tokens after the sinks, the first that is still held
        # Of the token in each slot; -1: free. Kept on the CPU, where looking at it waits for nothing.
        self._places = torch.full((0,), -1)
        self._key = self._value = None

    @property
    def positions(self) -> list[int]:
        """Places in the text of the tokens held, in order."""
        return sorted(self._places[self._places >= 0].tolist())

    @property
    def capacity(self) -> int:
        """Slots for tokens in the buffer."""
        return len(self._places)

    @property
    def nbytes(self) -> int:
        """Bytes of the buffer, free slots included."""
        return 0 if self._key is None else self._key.nbytes + self._value.nbytes

    def append(
        self, key: Float[Tensor, "batch kv_heads new d"], value: Float[Tensor, "batch kv_heads new dv"]
    ) -> None:
        """Keep the keys and values of the next `new` tokens; the first call fixes all other sizes."""
        self._check(key, value)
        if self._key is None:
            self._key, self._value = (x[:, :, :0].detach().clone() for x in (key, value))
        new = key.shape[2]
        if new == 0:
            return
        self._forget()
        slots = self._free_slots(new)
        self._places[slots] = torch.arange(self.length, self.length + new)
        self.length += new
        slots = slots.to(key.device)
        self._key[:, :, slots] = key.detach()
        self._value[:, :, slots] = value.detach()

    def attend(self, query: Float[Tensor, "batch heads n d"], *, splits: int = 1) -> Attended:
        """Attention of the n newest tokens, whose keys are already appended, to all that they may see.

        `splits` as in `split_kv`. The columns of the weights belong to `positions`.
        """
        self._check_query(query)
        slots = torch.nonzero(self._places >= 0).squeeze(-1)
        places, device = self._places[slots], query.device
        own = torch.arange(self.length - query.shape[2], self.length)
        mask = visible(own, places, self.window, self.sinks)  # (n, slots)
        mask = None if mask.all() else mask.to(device)
        # Without a gap, as always without a window, the buffer is read as it is, not copied.
        read = slice(len(slots)) if slots[-1] < len(slots) else slots.to(device)
        key, value = self._key[:, :, read], self._value[:, :, read]
        if query.requires_grad and torch.is_grad_enabled():
            key, value = key.clone(), value.clone()  # backward needs them as they are now
        attended = split_kv(query, key, value, splits=splits, mask=mask)
        return attended._replace(weights=attended.weights[..., places.argsort().to(device)])

    def select(self, rows: Sequence[int]) -> None:
        """Keep these sequences of the batch, in this order; one that is named twice is kept twice."""
        if self._key is None:
            raise ValueError("`rows` must name sequences of the cache; it is empty. Call `append` first.")
        check_rows(rows, len(self._key))
        if list(rows) == list(range(len(self._key))):
            return
        self._key, self._value = (x[list(rows)] for x in (self._key, self._value))

    def _forget(self) -> None:
        """Free the slots of those tokens that the next one cannot see."""
        if self.window is None:
            return
        self._kept_from = max(self._kept_from, self.length - self.window + 1)
        self._places[(self._places >= self.sinks) & (self._places < self._kept_from)] = -1

    def _free_slots(self, count: int) -> Tensor:
        """The first free slots, of a larger buffer if there are too few."""
        held = int((self._places >= 0).sum())
        if held + count > self.capacity:
            more = max(held + count, 2 * self.capacity, _FIRST) - self.capacity
            self._places = torch.cat([self._places, torch.full((more,), -1)])
            self._key, self._value = (
                torch.cat([x, x.new_empty(*x.shape[:2], more, x.shape[3])], dim=2)
                for x in (self._key, self._value)
            )
        return torch.nonzero(self._places < 0).squeeze(-1)[:count]

    def _check(self, key: Tensor, value: Tensor) -> None:
        scores.check_sequences(key=key, value=value)
        pipeline.check_pairs(key, value)
        for name, x, kept in (("key", key, self._key), ("value", value, self._value)):
            if x.ndim != 4:
                raise ValueError(
                    f"`{name}` must have shape (batch, kv_heads, new, width); got {tuple(x.shape)}. "
                    f"One sequence is a batch of one: `{name}[None]`."
                )
            if x.device != key.device:
                raise TypeError(
                    f"`key` and `value` must be on one device; got {key.device} and {value.device}. "
                    "Use `value.to(key.device)`."
                )
            if kept is not None and (x.shape[:2], x.shape[3]) != (kept.shape[:2], kept.shape[3]):
                raise ValueError(
                    f"`{name}` must have the batch, heads and width of the first ones, "
                    f"{(*kept.shape[:2], 'new', kept.shape[3])}; got {tuple(x.shape)}. "
                    "Begin another cache for another batch."
                )
            if kept is not None and (x.dtype, x.device) != (kept.dtype, kept.device):
                raise TypeError(
                    f"`{name}` must have the dtype and device of the first ones, {kept.dtype} on "
                    f"{kept.device}; got {x.dtype} on {x.device}. Use `{name}.to(...)`."
                )

    def _check_query(self, query: Tensor) -> None:
        scores.check_sequences(query=query)
        if query.ndim != 4:
            raise ValueError(
                f"`query` must have shape (batch, heads, n, width); got {tuple(query.shape)}. "
                "One sequence is a batch of one: `query[None]`."
            )
        first = self.length - query.shape[2]
        if first < 0 or self.length == 0:
            raise ValueError(
                f"`query` must be the newest of the tokens appended, {self.length} so far; got "
                f"{query.shape[2]}. Call `append` with their keys and values first."
            )
        if self.window is not None and max(self.sinks, first - self.window + 1) < self._kept_from:
            raise ValueError(
                f"`query` holds {query.shape[2]} tokens, and the first of them sees back to position "
                f"{max(self.sinks, first - self.window + 1)}; all before {self._kept_from} is forgotten. "
                "Attend with the tokens of one `append` before the next."
            )


def visible(
    own: Int[Tensor, " n"], places: Int[Tensor, " m"], window: int | None, sinks: int
) -> Bool[Tensor, "n m"]:
    """Which tokens, by their places in the text, those at the places `own` may attend to."""
    distance = own[:, None] - places
    if window is None:
        return distance >= 0
    return (distance >= 0) & ((distance < window) | (places < sinks))


def check_window(window: int | None, sinks: int) -> None:
    """Require a window and sinks that a `KVCache` can have."""
    if window is not None:
        head_axis.check_positive("window", window)
    if not (head_axis.is_count(sinks) and window is not None) and (sinks != 0 or isinstance(sinks, bool)):
        raise ValueError(
            f"`sinks` must be an integer of at least 0, and comes with a `window`; got {sinks!r} with "
            f"`window={window!r}`. Without a window all tokens are seen, the first ones too."
        )


def check_rows(rows: Sequence[int], batch: int) -> None:
    """Require numbers of sequences in a batch."""
    wrong = [row for row in rows if row not in range(batch)]
    if wrong:
        raise ValueError(f"`rows` must lie in 0..{batch - 1}, the sequences of the batch; got {wrong[0]!r}.")
