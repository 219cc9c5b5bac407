"""Attention as one operation of autograd: forward and backward by the kernel that was chosen.

Registered with torch as `attention_core::flash`, so that `torch.compile` takes it whole and `opcheck` tests
it. An operator's arguments are tensors and numbers, though, so functions cannot be among them: with a
`score_mod` or a `block_mask` it is a plain `torch.autograd.Function`, which does the same but which
compilation stops at.
"""

from types import ModuleType

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from attention_core.flash import blockwise, choice, loops
from attention_core.flash.captured import learned

_OPTIONS = "Tensor? lengths, bool causal, int? window, float scale, str kernel"


def attend(
    query: Tensor, key: Tensor, value: Tensor, *, score_mod=None, block_mask=None, **options
) -> tuple[Tensor, Tensor]:
    """Output and lse of (batch, heads, sequence, width) tensors; `options` as `_OPTIONS` lists them."""
    if score_mod is None and block_mask is None:
        return _flash(query, key, value, **options)
    return _attend_with_functions(query, key, value, score_mod, block_mask, options)


@torch.compiler.disable
def _attend_with_functions(query: Tensor, key: Tensor, value: Tensor, score_mod, block_mask, options: dict):
    tensors = () if choice.is_triton_pair(score_mod) else learned(score_mod, query)
    return _Flash.apply(query, key, value, score_mod, block_mask, options, *tensors)


def _forward(query: Tensor, key: Tensor, value: Tensor, kernel: str, **same) -> tuple[Tensor, Tensor]:
    kernel = choice.choose(query, key, value, kernel, same.get("score_mod")).kernel
    choice.calls[kernel] += 1
    output, lse = _module(kernel).forward(query, key, value, **same)
    return output.contiguous(), lse.contiguous()


def _backward(kernel: str, query: Tensor, key: Tensor, value: Tensor, *results: Tensor, **same) -> tuple:
    """Gradients by `results` = (grad_output, output, lse)."""
    grad_output, output, lse = results
    kernel = choice.choose(query, key, value, kernel, same.get("score_mod")).kernel
    if kernel == "numpy":
        raise RuntimeError('Kernel "numpy" has no backward. Use `kernel="blockwise"`.')
    choice.calls[f"{kernel} backward"] += 1
    return _module(kernel).backward(grad_output, query, key, value, output, lse, **same)


def _module(kernel: str) -> ModuleType:
    if kernel == "triton":
        from attention_core.flash import gpu  # only here: it imports Triton, which only some machines have

        return gpu
    return {"blockwise": blockwise, "numpy": loops}[kernel]


class _Flash(torch.autograd.Function):
    """The operation with functions among its arguments."""

    @staticmethod
    def forward(ctx, query, key, value, score_mod, block_mask, options, *tensors):
        same = {**options, "score_mod": score_mod, "block_mask": block_mask}
        output, lse = _forward(query, key, value, **same)
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(query, key, value, output, lse, *tensors)
        ctx.same = same
        return output, lse

    @staticmethod
    @once_differentiable
    def backward(ctx, grad_output, grad_lse):
        query, key, value, output, lse, *tensors = ctx.saved_tensors
        grad_output = torch.zeros_like(output) if grad_output is None else grad_output
        same = dict(ctx.same, grad_lse=grad_lse, **({"captured": tuple(tensors)} if tensors else {}))
        kernel = same.pop("kernel")
        grads = _backward(kernel, query, key, value, grad_output, output, lse, **same)
        return *grads[:3], None, None, None, *(grads[3] if tensors else ())


@torch.library.custom_op(
    "attention_core::flash",
    mutates_args=(),
    schema=f"(Tensor query, Tensor key, Tensor value, {_OPTIONS}) -> (Tensor, Tensor)",
)
def _flash(query, key, value, lengths, causal, window, scale, kernel):
    return _forward(query, key, value, kernel, lengths=lengths, causal=causal, window=window, scale=scale)


@_flash.register_fake
def _(query, key, value, lengths, causal, window, scale, kernel):
    exact = torch.promote_types(query.dtype, torch.float32)
    shape = query.shape[:-1]
    return query.new_empty(*shape, value.shape[-1]), query.new_empty(shape, dtype=exact)


@torch.library.custom_op(
    "attention_core::flash_backward",
    mutates_args=(),
    schema="(Tensor grad_output, Tensor? grad_lse, Tensor query, Tensor key, Tensor value, Tensor output, "
    f"Tensor lse, {_OPTIONS}) -> (Tensor, Tensor, Tensor)",
)
def _flash_backward(
    grad_output, grad_lse, query, key, value, output, lse, lengths, causal, window, scale, kernel
):
    same = {"lengths": lengths, "causal": causal, "window": window, "scale": scale, "grad_lse": grad_lse}
    grads = _backward(kernel, query, key, value, grad_output, output, lse, **same)
    return tuple(grad.contiguous() for grad in grads[:3])


@_flash_backward.register_fake
def _(grad_output, grad_lse, query, key, value, *rest):
    return tuple(x.new_empty(x.shape) for x in (query, key, value))


def _save(ctx, inputs, output) -> None:
    query, key, value, lengths, *ctx.options = inputs
    ctx.save_for_backward(query, key, value, *output, lengths)
    ctx.set_materialize_grads(False)


def _pull_back(ctx, grad_output: Tensor | None, grad_lse: Tensor | None) -> tuple:
    query, key, value, output, lse, lengths = ctx.saved_tensors
    grad_output = torch.zeros_like(output) if grad_output is None else grad_output
    grads = _flash_backward(grad_output, grad_lse, query, key, value, output, lse, lengths, *ctx.options)
    return *grads, *(None,) * 5


_flash.register_autograd(_pull_back, setup_context=_save)
