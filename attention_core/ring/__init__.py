r"""Attention over a sequence that no single processor holds: each of p ranks has n/p of its positions.

`ring_attention` keeps the queries where they are and passes keys and values around; `head_exchange_attention`
deals out heads instead of positions for the time of the attention. Both give each rank its rows of what
`pipeline.attend` gives for the whole sequence, forward and backward, on `torch.distributed` (gloo or NCCL).
`shard` and `unshard` cut a sequence into the ranks' parts and join them again.

Every rank of the group has to call, with inputs of the same shapes. Layout is (*batch, heads, n, width).
Wrong types raise `TypeError`, wrong shapes `ValueError`, with the remedy; a rank that does not answer within
`timeout` seconds raises `RuntimeError`. (On NCCL waiting belongs to the GPU, and the time-out to the process
group: `init_process_group(timeout=)`.) To see it run: `torchrun --nproc-per-node 2 -m attention_core.ring`.
"""

from attention_core.ring.exchange import head_exchange_attention
from attention_core.ring.orders import shard, unshard
from attention_core.ring.rotation import ring_attention

__all__ = ["head_exchange_attention", "ring_attention", "shard", "unshard"]
