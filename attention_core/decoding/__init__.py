r"""Decoding: one new query at a time against keys and values that are kept, so that each is made only once.

`KVCache` keeps them in one buffer, and may forget; `PagedKVCache` keeps them in pages of fixed size, which
sequences share until they differ, and a `PagedBatch` is some of these; `split_kv` cuts the keys so that one
query can occupy a whole processor. They only move keys and values: the mathematics is `pipeline.attend`,
joined by `pipeline.merge`, and the answer is that of attention over the same keys in one piece.

Layout is (batch, heads, n, d) for queries and (batch, kv_heads, m, d) for keys and values; the number of
query heads is a multiple of `kv_heads`, and neighbours share. The n queries are the newest of the m tokens
(`align="lower_right"`): append the keys of these tokens first, then attend.
Wrong types raise `TypeError`, wrong shapes `ValueError`, with the remedy. Inputs are never modified.
"""

from attention_core.decoding.batch import PagedBatch
from attention_core.decoding.cache import KVCache
from attention_core.decoding.paged import PagedKVCache, paged_attention
from attention_core.decoding.split import split_kv

__all__ = ["KVCache", "PagedBatch", "PagedKVCache", "paged_attention", "split_kv"]
