"""Which kernel runs: asked for by name, or chosen, and then said why. None gives way to another silently."""

import os
from collections import Counter
from collections.abc import Callable
from importlib.util import find_spec
from typing import NamedTuple

import torch
from torch import Tensor

from attention_core.flash.captured import captured

KERNELS = ("auto", "numpy", "blockwise", "triton", "hopper")

# How often each kernel ran, "... backward" included: `calls.clear()`, attend, look.
calls: Counter[str] = Counter()

_TRITON_DTYPES = (torch.float16, torch.bfloat16, torch.float32)
_WIDEST = 256  # a tile of wider queries and keys does not fit fast memory


class Choice(NamedTuple):
    """The kernel that runs, and why."""

    kernel: str
    reason: str

    def __str__(self) -> str:
        return f"{self.kernel}: {self.reason}"


def choose(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    kernel: str = "auto",
    score_mod: Callable[..., Tensor] | None = None,
) -> Choice:
    """The kernel for these inputs, by device, dtype, width and `score_mod`; raises if it cannot run."""
    if kernel not in KERNELS:
        raise ValueError(f"`kernel` must be one of {', '.join(KERNELS)}; got {kernel!r}.")
    if kernel == "hopper":
        raise ValueError(
            '`kernel` "hopper" is not there: no kernel for compute capability 9.0 alone is written. '
            'Use `kernel="triton"`, which runs on such a GPU too, or `kernel="auto"`.'
        )
    obstacle = _triton_obstacle(query, value, score_mod)
    if kernel == "triton" and obstacle:
        raise ValueError(f'`kernel` "triton" cannot run here: {obstacle}')
    if kernel == "auto":
        kernel, reason = _best(query, obstacle)
    else:
        reason = "asked for by name."
    if kernel in ("numpy", "blockwise") and is_triton_pair(score_mod):
        raise TypeError(
            f'`score_mod` is written in Triton, which kernel "{kernel}" cannot call. Give a function of '
            'torch tensors (score, b, h, q_idx, kv_idx), or use `kernel="triton"`.'
        )
    return Choice(kernel, reason)


def is_triton_pair(score_mod: object) -> bool:
    """Whether a `score_mod` is a Triton function with its derivative, `lowering.ScoreMod`, and not one of
    torch.

    Asked by its fields, because its class can only be imported where Triton is installed.
    """
    return hasattr(score_mod, "function") and hasattr(score_mod, "derivative")


def _best(query: Tensor, obstacle: str | None) -> tuple[str, str]:
    if query.device.type != "cuda":
        return "blockwise", f"on a {query.device.type.upper()}, tiles in torch are the fast path."
    if obstacle:
        return "blockwise", f"Triton cannot: {obstacle}"
    return "triton", "on an NVIDIA GPU, at a dtype and width that its kernels cover."


def _triton_obstacle(query: Tensor, value: Tensor, score_mod: Callable[..., Tensor] | None) -> str | None:
    """What keeps the Triton tier from running, with the remedy; None if nothing does."""
    if find_spec("triton") is None:
        return "Triton is not installed; on Linux, `pip install triton==3.7.1`."
    if query.device.type != "cuda" and os.environ.get("TRITON_INTERPRET") != "1":
        return (
            f"the tensors are on a {query.device.type.upper()} and Triton compiles for GPUs. Move them with "
            "`.cuda()`, or set TRITON_INTERPRET=1 before Python starts, to interpret the kernels slowly."
        )
    if query.dtype not in _TRITON_DTYPES:
        return (
            f'its products are in float32 at best; got {query.dtype}. Use `.float()` or `kernel="blockwise"`.'
        )
    if max(query.shape[-1], value.shape[-1]) > _WIDEST:
        widest = max(query.shape[-1], value.shape[-1])
        return f'its tiles hold widths to {_WIDEST}; got {widest}. Use more heads or `kernel="blockwise"`.'
    if any(x.requires_grad for x in captured(score_mod)) and torch.is_grad_enabled():
        return (
            "`score_mod` reads a tensor that requires a gradient, which its kernels do not give. Use "
            '`kernel="blockwise"`, or `.detach()` the tensor.'
        )
    return None
