"""From a reader's `score_mod` in torch to the same function, and its derivative, in Triton.

The function is run once on one number while torch writes down each operation; each is then written as a line
of Triton, beside the reader's own. The derivative is the same trick played on `torch.func.vjp` of it.
"""

import functools
import inspect
import linecache
import os
import sys
from collections.abc import Callable
from types import FrameType
from typing import NamedTuple, no_type_check

import jaxtyping
import torch
import triton
import triton.language as tl
from torch import Tensor
from torch._decomp import core_aten_decompositions
from torch.fx import traceback
from torch.fx.experimental.proxy_tensor import make_fx
from torch.overrides import TorchFunctionMode

# Whose lines are not the reader's: torch's, and those of the checks that tests wrap around this module.
_OTHERS = (*(os.path.dirname(x.__file__) + os.sep for x in (torch, jaxtyping)), "<@beartype(")
_SIGNATURE = "score_mod(score, b, h, q_idx, kv_idx)"
_ARGUMENTS = ("score", "b", "h", "q_idx", "kv_idx")
_TEMPLATES = {
    "add": "({0} + {1})",
    "sub": "({0} - {1})",
    "mul": "({0} * {1})",
    "div": "({0} / {1})",
    "neg": "(-{0})",
    "abs": "tl.abs({0})",
    "exp": "tl.exp({0})",
    "exp2": "tl.exp2({0})",
    "log": "tl.log({0})",
    "log2": "tl.log2({0})",
    "floor": "tl.floor({0})",
    "ceil": "tl.ceil({0})",
    "sqrt": "tl.sqrt({0})",
    "rsqrt": "(1.0 / tl.sqrt({0}))",
    "reciprocal": "(1.0 / {0})",
    "sin": "tl.sin({0})",
    "cos": "tl.cos({0})",
    "sigmoid": "(1.0 / (1.0 + tl.exp(-{0})))",
    "tanh": "tanh({0})",
    "relu": "tl.maximum({0}, 0.0)",
    "where": "tl.where({0}, {1}, {2})",
    "maximum": "tl.maximum({0}, {1})",
    "minimum": "tl.minimum({0}, {1})",
    "remainder": "({0} - floor_divide({0}, {1}) * {1})",
    "floor_divide": "floor_divide({0}, {1})",
    "remainder of floats": "({0} - tl.floor({0} / {1}) * {1})",
    "floor_divide of floats": "tl.floor({0} / {1})",
    "lt": "({0} < {1})",
    "le": "({0} <= {1})",
    "gt": "({0} > {1})",
    "ge": "({0} >= {1})",
    "eq": "({0} == {1})",
    "ne": "({0} != {1})",
    "bitwise_and": "({0} & {1})",
    "bitwise_or": "({0} | {1})",
    "logical_and": "(({0} != 0) & ({1} != 0))",
    "logical_or": "(({0} != 0) | ({1} != 0))",
    "logical_not": "({0} == 0)",
    "sign": "(tl.where({0} > 0, 1.0, 0.0) - tl.where({0} < 0, 1.0, 0.0))",
}
_OF_FLOATS = {"exp", "exp2", "log", "log2", "sqrt", "rsqrt", "sin", "cos", "sigmoid", "tanh"}
_SAME = {"alias", "clone", "detach", "view", "expand", "lift_fresh_copy", "lift_fresh", "_unsafe_view"}
_DTYPES = {
    torch.float32: "tl.float32",
    torch.int32: "tl.int32",
    torch.int64: "tl.int64",
    torch.bool: "tl.int1",
}


class ScoreMod(NamedTuple):
    """A score modification for the Triton kernels; both functions are decorated with `@triton.jit`.

    `function(score, b, h, q_idx, kv_idx, captured)` gives the new score, `derivative` of the same arguments
    its derivative by the old one. `captured` is the tuple of tensors, of which the functions get pointers.
    """

    function: Callable
    derivative: Callable
    captured: tuple[Tensor, ...] = ()


def lower(score_mod: Callable | ScoreMod | None, device: torch.device) -> ScoreMod:
    r"""The Triton form of `score_mod(score, b, h, q_idx, kv_idx)`, with $\partial s' / \partial s$.

    Arithmetic, comparisons, `where`, `clamp`, `exp`, `log`, `tanh` and the like, and lookups such as
    `table[h, q_idx - kv_idx]` in tensors it captures; `ScoreMod` takes anything else, in Triton. A lookup
    outside its table reads the nearest entry. Captured tensors get no gradient.

    Raises `TypeError` or `ValueError` that names the operation and the remedy.
    """
    if score_mod is None:
        return ScoreMod(None, None)
    if isinstance(score_mod, ScoreMod):
        return score_mod
    if not callable(score_mod):
        raise TypeError(
            f"`score_mod` must be a function {_SIGNATURE} of tensors; got {type(score_mod).__name__}."
        )
    if isinstance(score_mod, triton.runtime.jit.KernelInterface):
        raise TypeError(
            "`score_mod` in Triton needs its derivative beside it; got a `@triton.jit` function alone. "
            "Pass `lowering.ScoreMod(function, derivative)`, or the function in torch, to be differentiated."
        )
    return _lower(score_mod, _captured_by(score_mod), device)


def _captured_by(score_mod: Callable) -> tuple:
    """What else the function's result depends on, so that a changed closure is not met by an old kernel."""
    try:
        found = inspect.getclosurevars(score_mod)
    except TypeError:  # not a plain function, for instance a partial
        return ()
    values = (*found.nonlocals.values(), *found.globals.values())
    return tuple(x if isinstance(x, bool | int | float | str) else id(x) for x in values)


@functools.lru_cache(maxsize=64)
def _lower(score_mod: Callable, _captured: tuple, device: torch.device) -> ScoreMod:
    def derivative(score, *places):
        modified, pull_back = torch.func.vjp(lambda x: score_mod(x, *places), score)
        return pull_back(torch.ones_like(modified))[0]

    captured: list[Tensor] = []
    function = compiled(_source(_trace(score_mod, device), captured))
    try:
        return ScoreMod(function, compiled(_source(_trace(derivative, device), captured)), tuple(captured))
    except ValueError as error:
        code = getattr(score_mod, "__code__", None)
        line = code and _quoted(code.co_filename, code.co_firstlineno)
        raise ValueError(
            f"The derivative of `score_mod`, unlike itself, cannot be had{_shown(line)} {error}"
        ) from error


def _trace(function: Callable, device: torch.device) -> torch.fx.GraphModule:
    """The operations of the function on one score, as a graph; each knows the reader's line it came from."""
    score = torch.zeros(1, 1, device=device)
    places = [torch.zeros(1, 1, dtype=torch.int32, device=device) for _ in range(4)]

    def followed(*arguments):
        with _Lines():
            return function(*arguments)

    try:
        result = function(score, *places)
        pure = torch.func.functionalize(followed)  # without operations in place
        with traceback.preserve_node_meta():
            graph = make_fx(pure, decomposition_table=core_aten_decompositions())(score, *places)
    except Exception as error:
        reason = str(error).strip().partition("\n")[0]
        if "tracing tensor" in reason:  # by `if`, `int()`, `.item()` and the like
            reason = "it asks for a tensor's value, which only the running kernel knows"
        raise ValueError(
            f"`score_mod` could not be followed on a tensor: {reason}{_shown(_line_of(error))} It must be "
            f"{_SIGNATURE} without `if` on tensors (use `torch.where`) and without side effects."
        ) from error
    if not isinstance(result, Tensor) or result.shape != score.shape:
        got = tuple(result.shape) if isinstance(result, Tensor) else type(result).__name__
        raise ValueError(f"`score_mod` must return one score for each it is given; got {got} for (1, 1).")
    graph.graph.eliminate_dead_code()
    return graph


class _Lines(TorchFunctionMode):
    """Has each operation remember which line of the reader's asked for it, through torch's own notes."""

    def __torch_function__(self, func, types, args=(), kwargs=None):
        traceback.set_stack_trace([_readers_line(sys._getframe(1)) or " "])  # " ": none, and not the last one
        return func(*args, **(kwargs or {}))


def _readers_line(frame: FrameType | None) -> str:
    """File, number and text of the innermost line that is not of torch or this module."""
    while frame is not None and frame.f_code.co_filename.startswith(_OTHERS):
        frame = frame.f_back
    if frame is None or frame.f_code.co_filename == __file__:
        return ""
    return _quoted(frame.f_code.co_filename, frame.f_lineno)


def _line_of(error: BaseException) -> str:
    """The reader's innermost line on the way to an error."""
    found, step = "", error.__traceback__
    while step is not None:
        file = step.tb_frame.f_code.co_filename
        if file != __file__ and not file.startswith(_OTHERS):
            found = _quoted(file, step.tb_lineno)
        step = step.tb_next
    return found


def _quoted(file: str, number: int) -> str:
    text = linecache.getline(file, number).strip()  # knows the cells of a notebook too
    return f'File "{file}", line {number}' + (f": {text}" if text else "")


def _shown(line: str | None) -> str:
    """The end of a sentence: the line below it, if there is one."""
    return f":\n\n    {line}\n\n" if line and line.strip() else "."


def _source(graph: torch.fx.GraphModule, captured: list[Tensor]) -> str:
    """The graph as the text of a Triton function; appends the tensors it looks things up in."""
    names: dict = {}
    lines = []
    placeholders = iter(_ARGUMENTS)
    for node in graph.graph.nodes:
        if node.op == "placeholder":
            names[node] = next(placeholders)
        elif node.op == "get_attr":
            names[node] = _capture(getattr(graph, node.target), captured)
        elif node.op == "output":
            result = node.args[0][0] if isinstance(node.args[0], list | tuple) else node.args[0]
            lines.append(f"    return {names[result]}")
        else:
            names[node] = f"x{len(names)}"
            lines.append(f"    {names[node]} = {_expression(node, names)}{_comment(node)}")
    return "\n".join([f"def score_function({', '.join(_ARGUMENTS)}, captured):", *lines, ""])


def _comment(node: torch.fx.Node) -> str:
    """The reader's line, so that Triton's own errors, which quote the text made here, show it."""
    line = (node.stack_trace or "").strip()
    return f"  # {line}" if line else ""


def _capture(tensor: Tensor, captured: list[Tensor]) -> str:
    """The text that reads a captured scalar; for a table, `_lookup` does the reading."""
    place = next((k for k, x in enumerate(captured) if x is tensor), len(captured))
    if place == len(captured):
        captured.append(tensor)
    return f"tl.load(captured[{place}])" if tensor.ndim == 0 else f"captured[{place}]"


def _expression(node: torch.fx.Node, names: dict) -> str:
    name = node.target.__name__.split(".")[0]
    args = [_text(x, names) for x in node.args]
    if name in _OF_FLOATS:  # which torch gives of whole numbers too
        args[0] = f"({args[0]}).to(tl.float32)"
    if name in _SAME:
        return args[0]
    if name == "index":
        return _lookup(node, names)
    if name == "_to_copy":
        dtype = node.kwargs.get("dtype")
        return args[0] if dtype is None else f"({args[0]}).to({_DTYPES.get(dtype, 'tl.float32')})"
    if name in ("full_like", "full", "scalar_tensor"):
        return args[-1]
    if name == "clamp":
        low, high = [*args[1:], None, None][:2]
        text = args[0] if low in (None, "None") else f"tl.maximum({args[0]}, {low})"
        return text if high in (None, "None") else f"tl.minimum({text}, {high})"
    if name == "pow" and isinstance(node.args[1], int | float):
        return _power(args[0], node.args[1])
    if node.kwargs.get("rounding_mode") == "floor":
        name = "floor_divide"
    if name in ("floor_divide", "remainder") and node.meta["val"].dtype.is_floating_point:
        name += " of floats"
    special = {v for k, v in node.kwargs.items() if k in ("alpha", "rounding_mode")} - {1, "floor"}
    if name == "bitwise_not":
        return f"({args[0]} == 0)" if node.meta["val"].dtype == torch.bool else f"(~{args[0]})"
    if name not in _TEMPLATES or special:
        raise ValueError(
            f"`score_mod` uses `{node.target}`, for which there is no line of Triton here"
            f"{_shown(node.stack_trace)} "
            'Write it with arithmetic, comparisons and `torch.where`, or use `kernel="blockwise"`.'
        )
    return _TEMPLATES[name].format(*args)


def _power(x: str, exponent: int | float) -> str:
    if exponent in (1, 2, 3, 4):
        return f"({' * '.join([x] * int(exponent))})"
    if exponent in (-1, -2, -3, -4):
        return f"(1.0 / {_power(x, -exponent)})"
    if exponent in (0.5, -0.5):
        return f"tl.sqrt({x})" if exponent > 0 else f"(1.0 / tl.sqrt({x}))"
    if exponent == int(exponent):
        raise ValueError(
            f"`score_mod` takes a power of {exponent}, for which there is no line of Triton here. Multiply "
            "lower powers: `(s**4)**2`."
        )
    return f"tl.exp2({exponent!r} * tl.log2({x}))"  # of a negative number NaN, as in torch


def _lookup(node: torch.fx.Node, names: dict) -> str:
    """`table[a, b]` as one load; indices are wrapped as in Python and held inside the table."""
    table, indices = node.args[0], node.args[1]
    shape = table.meta["val"].shape if "val" in table.meta else None
    if shape is None or len(indices) != len(shape) or any(index is None for index in indices):
        raise ValueError(
            "`score_mod` must look up single numbers, one index an axis, in tensors it captures; got "
            f"{len(indices)} indices for {'a result' if shape is None else f'shape {tuple(shape)}'}"
            f"{_shown(node.stack_trace)} "
            "Index every axis at once: `table[b, h, q_idx, kv_idx]`."
        )
    place = "0"
    for index, size in zip(indices, shape, strict=True):
        place = f"({place}) * {size} + wrapped({names[index]}, {size})"
    return f"tl.load({names[table]} + {place})"


def _text(x: object, names: dict) -> str:
    if isinstance(x, torch.fx.Node):
        return names[x]
    if isinstance(x, float) and (x != x or x in (float("inf"), -float("inf"))):
        return f'float("{x}")'
    return repr(x)


@triton.jit
@no_type_check
def tanh(x):
    """Triton has none that the interpreter knows. Near 0 a series, since 1 - exp(-2x) would cancel there."""
    x = x.to(tl.float32)
    small = tl.exp(-2.0 * tl.abs(x))
    large = (1.0 - small) / (1.0 + small)
    y = x * x
    series = 1.0 + y * (-1 / 3 + y * (2 / 15 + y * (-17 / 315 + y * (62 / 2835 - y * (1382 / 155925)))))
    return tl.where(tl.abs(x) < 0.3, x * series, tl.where(x < 0, -large, large))


@triton.jit
@no_type_check
def floor_divide(a, b):
    """Rounded down as in Python, where the processor rounds towards 0."""
    quotient = a // b
    rest = a - quotient * b
    return tl.where((rest != 0) & ((rest < 0) != (b < 0)), quotient - 1, quotient)


@triton.jit
@no_type_check
def wrapped(index, size):
    """The index counted from the end where it is negative, held inside 0..size-1."""
    index = tl.where(index < 0, index + size, index)
    return tl.minimum(tl.maximum(index, 0), size - 1)


@functools.lru_cache(maxsize=256)
def compiled(source: str) -> Callable:
    """The text as a `@triton.jit` function; Triton reads it back through `linecache`, so it is put there."""
    name = f"<score_mod {hash(source):x}>"
    linecache.cache[name] = (len(source), None, source.splitlines(keepends=True), name)
    space = {"tl": tl, "tanh": tanh, "wrapped": wrapped, "floor_divide": floor_divide, "__name__": __name__}
    exec(compile(source, name, "exec"), space)
    return triton.jit(space["score_function"])
