"""PagedBatch: some sequences of a `PagedKVCache` as one batch, with the calls of a `KVCache`."""

from collections.abc import Sequence

from jaxtyping import Float
from torch import Tensor

from attention_core import scores
from attention_core.decoding.cache import check_rows
from attention_core.decoding.paged import PagedKVCache, check_numbers
from attention_core.pipeline import Attended


class PagedBatch:
    """Sequences of one length that grow in step, as those of a `KVCache` do, in pages.

    Other sequences may live in the same pages. A call that raises has changed nothing.

    Parameters
    ----------
    cache
        Where the pages are.
    sequences
        Numbers of open sequences, each once; row b of a batch belongs to `sequences[b]`.
    """

    def __init__(self, cache: PagedKVCache, sequences: Sequence[int]):
        check_numbers(sequences)
        lengths = {cache.length(sequence) for sequence in sequences}
        if len(lengths) > 1 or len(set(sequences)) < len(sequences):
            raise ValueError(
                "`sequences` must be different ones of one length, as they grow in step; got numbers "
                f"{list(sequences)} with lengths {sorted(lengths)}. `fork` one that is to be there twice."
            )
        self.cache, self.sequences = cache, list(sequences)

    @property
    def length(self) -> int:
        """How many tokens each sequence holds."""
        return self.cache.length(self.sequences[0]) if self.sequences else 0

    def append(
        self, key: Float[Tensor, "batch kv_heads new d"], value: Float[Tensor, "batch kv_heads new dv"]
    ) -> None:
        """Keep the keys and values of the next `new` tokens of each sequence."""
        scores.check_sequences(key=key, value=value)
        if key.ndim != 4 or len(key) != len(self.sequences):
            raise ValueError(
                "`key` and `value` must have shape (batch, kv_heads, new, width), with the "
                f"{len(self.sequences)} sequences of the batch; got {tuple(key.shape)} and "
                f"{tuple(value.shape)}. `select` the rows that go on."
            )
        self.cache.check_room(self.sequences, key.shape[2])
        for sequence, keys, values in zip(self.sequences, key, value, strict=True):
            self.cache.append(sequence, keys, values)

    def attend(self, query: Float[Tensor, "batch heads n d"], *, splits: int = 1) -> Attended:
        """Attention of the n newest tokens of each sequence; see `paged_attention`."""
        return self.cache.attend(query, self.sequences, splits=splits)

    def select(self, rows: Sequence[int]) -> None:
        """Keep these rows, in this order: one that is named twice is forked, one that is not is closed."""
        check_rows(rows, len(self.sequences))
        before, kept = self.sequences, []
        for row in rows:
            sequence = before[row]
            kept.append(self.cache.fork(sequence) if sequence in kept else sequence)
        self.sequences = kept
        for sequence in before:
            if sequence not in kept:
                self.cache.close(sequence)

    def close(self) -> None:
        """Give all pages back."""
        self.select([])
