"""The tensors that a `score_mod` reads besides its arguments: a learned bias, a table of slopes."""

import inspect
from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, nn

from attention_core.flash.blocks import indices


def captured(score_mod: Callable[..., Tensor] | None) -> tuple[Tensor, ...]:
    """Tensors in a function's closure, globals, bound arguments or module, and in functions that it calls."""
    found: dict[int, Tensor] = {}
    seen: dict[int, object] = {}  # the objects too, so that no id is given out twice
    waiting: list[object] = [score_mod]
    while waiting:
        x = waiting.pop()
        if id(x) not in seen:
            seen[id(x)] = x
            if isinstance(x, Tensor):
                found[id(x)] = x
            waiting += _parts(x)
    return tuple(found.values())


def learned(score_mod: Callable[..., Tensor] | None, like: Tensor) -> tuple[Tensor, ...]:
    """Those that require a gradient; raises if `score_mod` reads one from where `captured` cannot look.

    Found out by calling it for one pair: what autograd then recorded must end in tensors that were found.
    """
    if score_mod is None or not torch.is_grad_enabled():
        return ()
    tensors = tuple(x for x in captured(score_mod) if x.requires_grad)
    one = slice(0, 1)
    probe = score_mod(
        like.new_zeros(1, 1, dtype=torch.promote_types(like.dtype, torch.float32)),
        *indices(0, 0, one, one, like.device),
    )
    if isinstance(probe, Tensor) and _leaves(probe, tensors) - {id(x) for x in tensors}:
        raise ValueError(
            "`score_mod` reads a tensor that requires a gradient but that is not in its closure, globals, "
            "bound arguments or `nn.Module`, so it would get none. Pass it by `functools.partial`, or "
            "`.detach()` it."
        )
    return tensors


def _parts(x: object) -> list[object]:
    """Where to look next."""
    if isinstance(x, nn.Module):
        return [*x.parameters(), *x.buffers()]
    if isinstance(x, tuple | list):
        return list(x)
    if isinstance(x, dict):
        return list(x.values())
    if isinstance(x, partial):
        return [x.func, *x.args, *x.keywords.values()]
    if inspect.ismethod(x):
        return [x.__func__, x.__self__]
    if inspect.isfunction(x) and not (x.__module__ or "").startswith("torch"):
        variables = inspect.getclosurevars(x)
        return [*variables.nonlocals.values(), *variables.globals.values(), *(x.__defaults__ or ())]
    return []


def _leaves(result: Tensor, stop: tuple[Tensor, ...]) -> set[int]:
    """Ids of the leaves that a result depends on, looking no further back than the tensors of `stop`."""
    known = {x.grad_fn for x in stop if x.grad_fn is not None}
    if result.requires_grad and result.grad_fn is None:
        return {id(result)}
    leaves, seen, waiting = set(), set(known), [result.grad_fn]
    while waiting:
        node = waiting.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        if hasattr(node, "variable"):
            leaves.add(id(node.variable))
        waiting += [before for before, _ in node.next_functions]
    return leaves
