"""Paged attention: keys and values in pages of one size, found through a table for each sequence."""

from collections import Counter
from collections.abc import Sequence
from numbers import Integral

import torch
from jaxtyping import Float, Int
from torch import Tensor

from attention_core import heads as head_axis
from attention_core import pipeline, scores
from attention_core.decoding.split import split_kv
from attention_core.pipeline import Attended


def paged_attention(
    query: Float[Tensor, "batch heads n d"],
    key_pages: Float[Tensor, "pages kv_heads page_size d"],
    value_pages: Float[Tensor, "pages kv_heads page_size dv"],
    tables: Int[Tensor, "batch columns"],
    lengths: Int[Tensor, " batch"],
    *,
    splits: int = 1,
) -> Attended:
    r"""Attention through page tables, of Kwon et al. (2023), section 4.1.

    Token j of sequence b is in page $T_{b,\lfloor j / s \rfloor}$ at place $j \bmod s$, of pages of size s;
    given these keys, causal attention of the n newest of `lengths[b]` tokens. Where n exceeds a length, the
    first queries see nothing. Which page holds what is of no consequence, nor what else is in the pages.

    Table entries after the last needed are not read (-1, say). Table columns are attended in `splits` parts,
    of which one at a time is gathered. The weights' last axis is m, the largest length.
    """
    head_axis.check_positive("splits", splits)
    _check_pages(query, key_pages, value_pages)
    _check_tables(query, key_pages, tables, lengths)
    n, page_size = query.shape[2], key_pages.shape[2]
    m = int(lengths.max()) if len(lengths) else 0
    last_seen = lengths[:, None, None, None] - n + torch.arange(n, device=lengths.device)[:, None]

    parts, first = [], 0
    for columns in tables[:, : -(-m // page_size)].tensor_split(splits, dim=1):
        end = min(first + columns.shape[1] * page_size, m)
        key, value = (_gather(pages, columns)[:, :, : end - first] for pages in (key_pages, value_pages))
        places = torch.arange(first, end, device=lengths.device)
        mask = places <= last_seen  # (batch, 1, n, end - first)
        parts.append(split_kv(query, key, value, mask=None if mask.all() else mask))
        first = end
    return pipeline.merge(*parts)


class PagedKVCache:
    """Keys and values of many sequences of different lengths in one pool of pages, of Kwon et al. (2023).

    A sequence takes a page when its last one is full, so it wastes less than one; a closed sequence's pages
    are anyone's. A `fork` shares all pages of its parent, at no cost; who first writes into a shared page
    gets a copy of it (copy on write, section 4.4 there). So a prompt with many answers is kept once.

    Kept are copies without gradients. A call that raises has changed nothing.

    Parameters
    ----------
    pages, page_size
        Number of pages, and tokens in each.
    kv_heads, width, value_width
        Sizes of keys and values; `value_width` defaults to `width`.
    """

    def __init__(
        self,
        pages: int,
        page_size: int,
        kv_heads: int,
        width: int,
        *,
        value_width: int | None = None,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ):
        value_width = width if value_width is None else value_width
        sizes = {"pages": pages, "page_size": page_size, "kv_heads": kv_heads}
        for name, size in (*sizes.items(), ("width", width), ("value_width", value_width)):
            head_axis.check_positive(name, size)
        if dtype is not None and not dtype.is_floating_point:
            raise TypeError(f"`dtype` must be a floating one, as keys and values are; got {dtype}.")
        self.page_size = page_size
        self.key_pages = torch.empty(pages, kv_heads, page_size, width, device=device, dtype=dtype)
        self.value_pages = torch.empty(pages, kv_heads, page_size, value_width, device=device, dtype=dtype)
        self.references = [0] * pages  # how many sequences hold each page
        self._tables: dict[int, list[int]] = {}
        self._lengths: dict[int, int] = {}
        self._opened = 0

    @property
    def free_pages(self) -> int:
        """How many pages no sequence holds."""
        return self.references.count(0)

    def table(self, sequence: int) -> list[int]:
        """The pages of a sequence, in the order of its tokens."""
        self._check_open(sequence)
        return list(self._tables[sequence])

    def length(self, sequence: int) -> int:
        """How many tokens a sequence holds."""
        self._check_open(sequence)
        return self._lengths[sequence]

    def open(self) -> int:
        """Begin an empty sequence; returns its number, by which all other calls know it."""
        number = self._opened
        self._opened += 1
        self._tables[number], self._lengths[number] = [], 0
        return number

    def fork(self, sequence: int) -> int:
        """Begin a sequence with all tokens of another so far, whose pages it shares."""
        self._check_open(sequence)
        number = self.open()
        self._tables[number], self._lengths[number] = self.table(sequence), self.length(sequence)
        for page in self._tables[number]:
            self.references[page] += 1
        return number

    def close(self, sequence: int) -> None:
        """Forget a sequence. Pages that no other one holds become free."""
        self._check_open(sequence)
        for page in self._tables.pop(sequence):
            self.references[page] -= 1
        del self._lengths[sequence]

    def append(
        self, sequence: int, key: Float[Tensor, "kv_heads new d"], value: Float[Tensor, "kv_heads new dv"]
    ) -> None:
        """Keep the keys and values of the next `new` tokens of one sequence."""
        self._check_open(sequence)
        self._check_new(key, value)
        new, length = key.shape[1], self._lengths[sequence]
        self.check_room([sequence], new)
        self._make_room(sequence, new)
        places = torch.arange(length, length + new)
        table = torch.tensor(self._tables[sequence], dtype=torch.long)
        pages = table[places // self.page_size].to(self.key_pages.device)
        places = (places % self.page_size).to(self.key_pages.device)
        self.key_pages[pages, :, places] = key.detach().transpose(0, 1)  # (new, kv_heads, d)
        self.value_pages[pages, :, places] = value.detach().transpose(0, 1)
        self._lengths[sequence] += new

    def attend(
        self, query: Float[Tensor, "batch heads n d"], sequences: Sequence[int], *, splits: int = 1
    ) -> Attended:
        """Attention of the n newest tokens of each of the sequences; see `paged_attention`."""
        self._check_batch(query, sequences)
        lengths = torch.tensor([self.length(sequence) for sequence in sequences], dtype=torch.long)
        tables = [self.table(sequence) for sequence in sequences]
        columns = max(map(len, tables), default=0)
        padded = [table + [-1] * (columns - len(table)) for table in tables]
        tables = torch.tensor(padded, dtype=torch.long).reshape(len(sequences), columns)
        device = self.key_pages.device
        return paged_attention(
            query, self.key_pages, self.value_pages, tables.to(device), lengths.to(device), splits=splits
        )

    def pages_needed(self, sequences: Sequence[int], new: int) -> int:
        """How many free pages `new` more tokens of each of these sequences take."""
        needed, writers = 0, Counter()
        for sequence in sequences:
            needed += -(-(self.length(sequence) + new) // self.page_size) - len(self._tables[sequence])
            writers.update(self._written_next(sequence, new))
        # Each writer into a shared page takes a copy, but for the last that holds it.
        return needed + sum(min(count, self.references[page] - 1) for page, count in writers.items())

    def check_room(self, sequences: Sequence[int], new: int) -> None:
        """Require pages for `new` more tokens of each of these sequences."""
        needed = self.pages_needed(sequences, new)
        if needed > self.free_pages:
            raise ValueError(
                f"`pages`: {new} more tokens need {needed} free ones; got {self.free_pages} of "
                f"{len(self.references)}. Close a sequence, or build the cache with more `pages`."
            )

    def _make_room(self, sequence: int, new: int) -> None:
        """Give a sequence pages of its own for `new` tokens; its last one is copied if it is shared."""
        needed = self.pages_needed([sequence], new)
        free = [page for page, count in enumerate(self.references) if count == 0][:needed]
        for page in free:
            self.references[page] = 1
        table = self._tables[sequence]
        for shared in self._written_next(sequence, new):
            if self.references[shared] > 1:
                table[-1] = free.pop(0)
                self.references[shared] -= 1
                for pages in (self.key_pages, self.value_pages):
                    pages[table[-1]] = pages[shared]
        table.extend(free)

    def _written_next(self, sequence: int, new: int) -> list[int]:
        """The page that holds tokens already and will get some of the next, if there is one."""
        partly = new > 0 and self._lengths[sequence] % self.page_size > 0
        return self._tables[sequence][-1:] if partly else []

    def _check_batch(self, query: Tensor, sequences: Sequence[int]) -> None:
        check_numbers(sequences)
        scores.check_sequences(query=query)
        if len(query) != len(sequences):
            raise ValueError(
                f"`query` must have a row for each of the {len(sequences)} `sequences`; got shape "
                f"{tuple(query.shape)}, which is (batch, heads, n, width)."
            )

    def _check_open(self, sequence: int) -> None:
        if not isinstance(sequence, Integral) or sequence not in self._tables:
            raise ValueError(
                f"`sequence` must be the number of an open sequence, of {sorted(self._tables)}; "
                f"got {sequence!r}. Numbers come from `open` and `fork`, and end with `close`."
            )

    def _check_new(self, key: Tensor, value: Tensor) -> None:
        scores.check_sequences(key=key, value=value)
        pipeline.check_pairs(key, value)
        for name, x, pages in (("key", key, self.key_pages), ("value", value, self.value_pages)):
            if x.ndim != 3 or (x.shape[0], x.shape[2]) != (pages.shape[1], pages.shape[3]):
                raise ValueError(
                    f"`{name}` must have shape {(pages.shape[1], 'new', pages.shape[3])}, the tokens of one "
                    f"sequence; got {tuple(x.shape)}. Append to one sequence at a time: `{name}[b]`."
                )
            if (x.dtype, x.device) != (pages.dtype, pages.device):
                raise TypeError(
                    f"`{name}` must have the dtype and device of the pages, {pages.dtype} on {pages.device}; "
                    f"got {x.dtype} on {x.device}. Use `{name}.to(...)`, or build the cache with "
                    f"`dtype={x.dtype}`."
                )


def check_numbers(sequences: Sequence[int]) -> None:
    """Require a list of sequences' numbers; which of them are open, the cache knows."""
    if not isinstance(sequences, Sequence):
        raise TypeError(
            f"`sequences` must be a list of numbers; got {type(sequences).__name__}. One is a list of one."
        )


def _gather(pages: Tensor, columns: Tensor) -> Tensor:
    """The pages of a part of the tables, side by side: (batch, kv_heads, columns * page_size, width)."""
    columns = columns.clamp(0, len(pages) - 1)
    return pages.transpose(0, 1)[:, columns].flatten(2, 3).transpose(0, 1)  # copied once


def _check_pages(query: Tensor, key_pages: Tensor, value_pages: Tensor) -> None:
    scores.check_sequences(query=query)
    scores.check_sequences(key_pages=key_pages, value_pages=value_pages)
    for name, x, layout in (
        ("query", query, "(batch, heads, n, width)"),
        ("key_pages", key_pages, "(pages, kv_heads, page_size, width)"),
        ("value_pages", value_pages, "(pages, kv_heads, page_size, width)"),
    ):
        if x.ndim != 4 or (x is not query and x.shape[:3] != key_pages.shape[:3]):
            raise ValueError(
                f"`{name}` must have shape {layout}, the same pages for keys and values; "
                f"got {tuple(x.shape)} beside `key_pages` of {tuple(key_pages.shape)}."
            )
    if key_pages.shape[2] == 0:
        raise ValueError(f"`key_pages` must have room in each page; got {tuple(key_pages.shape)}.")


def _check_tables(query: Tensor, key_pages: Tensor, tables: Tensor, lengths: Tensor) -> None:
    batch, (pages, _, page_size, _) = query.shape[0], key_pages.shape
    for name, x, shape in (("tables", tables, "(batch, columns)"), ("lengths", lengths, "(batch)")):
        integers = isinstance(x, Tensor) and x.dtype in (torch.int32, torch.int64)
        if not integers:
            got = getattr(x, "dtype", type(x).__name__)
            raise TypeError(f"`{name}` must be an integer tensor; got {got}. Use `torch.as_tensor({name})`.")
        if x.ndim != shape.count(",") + 1 or x.shape[0] != batch:
            raise ValueError(
                f"`{name}` must have shape {shape} with batch {batch}, as `query`; got {tuple(x.shape)}."
            )
    room = tables.shape[1] * page_size
    if ((lengths < 0) | (lengths > room)).any():
        raise ValueError(
            f"`lengths` must lie in 0..{room}, as `tables` has {tables.shape[1]} columns of {page_size} "
            f"tokens; got {lengths.min()}..{lengths.max()}. Give each sequence a page for all its tokens."
        )
    first = torch.arange(tables.shape[1], device=tables.device) * page_size
    wrong = ((tables < 0) | (tables >= pages)) & (first < lengths[:, None])
    if wrong.any():
        b, column = wrong.nonzero()[0].tolist()
        raise ValueError(
            f"`tables` must name pages 0..{pages - 1} wherever a token is; got {int(tables[b, column])} in "
            f"column {column} of sequence {b}, of {int(lengths[b])} tokens. Was its page taken away?"
        )
