"""Attention by the Triton kernels: checks what they can run, chooses tiles, launches.

On (batch, heads, sequence, width) tensors of an NVIDIA GPU, or on any CPU in Triton's interpreter, which
`TRITON_INTERPRET=1` in the environment turns on before this module is first imported.
"""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
import triton
import triton.language as tl
from jaxtyping import Float, Int
from torch import Tensor

from attention_core.flash import kernels, kernels_backward, lowering
from attention_core.flash.layout import layout
from attention_core.flash.lowering import ScoreMod

INTERPRETED = not isinstance(kernels.forward, triton.JITFunction)
WIDEST = 256
DTYPES = (torch.float16, torch.bfloat16, torch.float32)


class Tiles(NamedTuple):
    """How a kernel cuts the work: tile sizes, warps a program, and loads under way at once."""

    queries: int
    keys: int
    warps: int = 4
    stages: int = 2
    registers: int | None = 255  # left to choose, the assembler may spill a few to fit in one more program

    @property
    def options(self) -> dict[str, int | None]:
        """As Triton calls them."""
        return {"num_warps": self.warps, "num_stages": self.stages, "maxnreg": self.registers}


# By compute capability, by kernel, then by the padded width up to which it holds. Found by compiling for each
# and reading the registers: large tiles that spill nothing, with whatever lengths.
TILES = {
    80: {
        "forward": {64: Tiles(128, 32, 8, 2), 128: Tiles(64, 64, 8, 2), 256: Tiles(64, 32, 8, 2)},
        "backward_query": {64: Tiles(64, 64, 8, 2), 128: Tiles(64, 32, 4, 2), 256: Tiles(64, 16, 8, 2)},
        "backward_key": {64: Tiles(32, 64, 8, 2), 128: Tiles(32, 64, 8, 2), 256: Tiles(16, 64, 8, 2)},
    },
    90: {
        "forward": {64: Tiles(128, 64, 4, 3), 128: Tiles(128, 128, 8, 2), 256: Tiles(64, 64, 8, 2)},
        "backward_query": {64: Tiles(64, 64, 4, 2), 128: Tiles(64, 64, 4, 2), 256: Tiles(64, 32, 8, 2)},
        "backward_key": {64: Tiles(64, 128, 8, 2), 128: Tiles(32, 128, 8, 1), 256: Tiles(32, 64, 8, 2)},
    },
    100: {
        "forward": {64: Tiles(128, 64, 4, 3), 128: Tiles(128, 128, 8, 2, None), 256: Tiles(64, 64, 8, 2)},
        "backward_query": {64: Tiles(64, 64, 4, 2), 128: Tiles(64, 64, 4, 2), 256: Tiles(64, 32, 8, 2)},
        "backward_key": {64: Tiles(64, 128, 8, 1), 128: Tiles(32, 128, 8, 1), 256: Tiles(32, 64, 8, 1)},
    },
}
# With a `score_mod` or a block mask a tile needs more registers: what spills nothing, with one or all.
MODIFIED_TILES = {
    80: {
        "forward": {64: Tiles(128, 32, 8, 2), 128: Tiles(64, 32, 8, 2), 256: Tiles(64, 16, 8, 2)},
        "backward_query": {64: Tiles(64, 64, 8, 2), 128: Tiles(64, 32, 4, 2), 256: Tiles(64, 16, 8, 2)},
        "backward_key": {64: Tiles(16, 64, 8, 2), 128: Tiles(16, 64, 8, 2), 256: Tiles(16, 64, 8, 2)},
    },
    90: {
        "forward": {64: Tiles(128, 32, 8, 2), 128: Tiles(64, 64, 8, 2), 256: Tiles(64, 16, 8, 2)},
        "backward_query": {64: Tiles(64, 64, 8, 2), 128: Tiles(64, 32, 4, 2), 256: Tiles(64, 16, 8, 2)},
        "backward_key": {64: Tiles(32, 64, 8, 2), 128: Tiles(16, 64, 8, 2), 256: Tiles(16, 64, 8, 2)},
    },
    100: {
        "forward": {64: Tiles(128, 32, 8, 2), 128: Tiles(64, 64, 8, 2), 256: Tiles(64, 16, 8, 2)},
        "backward_query": {64: Tiles(64, 64, 8, 2), 128: Tiles(64, 32, 4, 2), 256: Tiles(64, 16, 8, 2)},
        "backward_key": {64: Tiles(16, 64, 8, 1), 128: Tiles(16, 64, 8, 1), 256: Tiles(16, 64, 8, 1)},
    },
}
# float32 has no matrix unit, and its tiles are small on any GPU: a thread holds much of what it multiplies.
SINGLE_TILES = {
    "forward": {64: Tiles(32, 32, 8, 1), 128: Tiles(16, 16, 8, 2), 256: Tiles(16, 16, 8, 2)},
    "backward_query": {64: Tiles(32, 32, 8, 1), 128: Tiles(16, 32, 8, 1), 256: Tiles(16, 16, 8, 1)},
    "backward_key": {64: Tiles(32, 32, 8, 1), 128: Tiles(16, 32, 8, 1), 256: Tiles(16, 16, 8, 1)},
}
INTERPRETER_TILES = Tiles(32, 32)  # small, so that short sequences already have tiles of every kind
BLOCK = 32 if INTERPRETED else 128  # a block mask's smallest tiles: none of the kernels' is larger


def forward(
    query: Float[Tensor, "batch heads n d"],
    key: Float[Tensor, "batch kv_heads m d"],
    value: Float[Tensor, "batch kv_heads m dv"],
    *,
    causal: bool = False,
    window: int | None = None,
    score_mod: Callable | ScoreMod | None = None,
    block_mask: Any = None,
    scale: float | None = None,
    lengths: Int[Tensor, " batch"] | None = None,
) -> tuple[Float[Tensor, "batch heads n dv"], Float[Tensor, "batch heads n"]]:
    r"""Output $o_i = \sum_j p_{ij} v_j$ and natural lse $\ell_i$, $p_{ij} = \exp(s_{ij} - \ell_i)$.

    As `flash_attention`, whose arguments these are; memory beyond the results O(1) in n and m, but for a
    block mask's partial tiles. lse is float32. A query that sees nothing gives output 0 and lse -inf.

    NaN and inf stay hidden where a mask hides them: beyond `lengths`, before and after the band.
    """
    problem = _Problem(query, key, value, causal, window, score_mod, block_mask, scale, lengths)
    batch, heads, n, _ = query.shape
    output = query.new_empty(batch, heads, n, problem.value.shape[-1])
    lse = query.new_empty(batch, heads, n, dtype=torch.float32)
    if problem.empty:
        output.zero_()
        lse.fill_(-math.inf)
    else:
        problem.launch("forward", output, lse)
    return output[..., : value.shape[-1]], lse


def backward(
    grad_output: Float[Tensor, "batch heads n dv"],
    query: Float[Tensor, "batch heads n d"],
    key: Float[Tensor, "batch kv_heads m d"],
    value: Float[Tensor, "batch kv_heads m dv"],
    output: Float[Tensor, "batch heads n dv"],
    lse: Float[Tensor, "batch heads n"],
    *,
    grad_lse: Float[Tensor, "batch heads n"] | None = None,
    causal: bool = False,
    window: int | None = None,
    score_mod: Callable | ScoreMod | None = None,
    block_mask: Any = None,
    scale: float | None = None,
    lengths: Int[Tensor, " batch"] | None = None,
) -> tuple[
    Float[Tensor, "batch heads n d"],
    Float[Tensor, "batch kv_heads m d"],
    Float[Tensor, "batch kv_heads m dv"],
]:
    r"""Gradients of query, key and value, from `forward`'s results and with the same keywords.

    $\partial s_{ij} = p_{ij} (\partial o_i \cdot v_j - D_i)$ with $D_i = \partial o_i \cdot o_i -
    \partial\ell_i$, the weights $p$ recomputed tile by tile. Every sum has one fixed order, so that two runs
    agree to the bit. Dao (2023), algorithm 2.
    """
    problem = _Problem(query, key, value, causal, window, score_mod, block_mask, scale, lengths)
    grads = tuple(torch.empty_like(x) for x in (problem.query, problem.key, problem.value))
    if problem.empty:
        for grad in grads:
            grad.zero_()
    else:
        shift, delta = torch.empty_like(lse), torch.empty_like(lse)
        grad_lse = None if grad_lse is None else grad_lse.float().contiguous()
        grad_output = _aligned(grad_output)
        problem.launch_rows(_aligned(output), grad_output, lse.contiguous(), grad_lse, shift, delta)
        problem.launch("backward_query", grad_output, shift, delta, grads[0])
        for wanted in key_launches(max(problem.width, problem.value_width)):
            problem.launch("backward_key", grad_output, shift, delta, *grads[1:], WANTED=wanted)
    return tuple(grad[..., : x.shape[-1]] for grad, x in zip(grads, (query, key, value), strict=True))


class _Problem:
    """One call's inputs, checked and made ready for any of the kernels."""

    def __init__(self, query, key, value, causal, window, score_mod, block_mask, scale, lengths):
        _check(query, key, value)
        self.query, self.key, self.value = _aligned(query), _aligned(key), _aligned(value)
        self.batch, self.heads, self.n, self.width = self.query.shape
        self.kv_heads, self.m, self.value_width = self.value.shape[1:]
        self.empty = 0 in (self.batch, self.heads, self.n, self.kv_heads, self.m)
        self.scale = 1 / math.sqrt(query.shape[-1]) if scale is None else float(scale)
        self.score_mod = lowering.lower(score_mod, query.device)
        self.nearest, self.farthest = _band(self.n, self.m, causal, window)
        self.lengths = (
            None if lengths is None else lengths.to(query.device).clamp(0, self.m).int().contiguous()
        )
        self.layout, self.mask_all = None, False
        if block_mask is not None:
            self.layout = layout(block_mask, self.batch, self.heads, query.device, BLOCK)
            restricted = causal or window is not None or lengths is not None
            self.mask_all = restricted or self.m % self.layout.block != 0

    def launch(self, name: str, *tensors: Tensor, **constants: str) -> None:
        """Run a kernel that visits tiles, on the inputs and these further tensors."""
        tiles = self._tiles(name)
        by_key = name == "backward_key"
        matrices, count = (self.kv_heads, self.m) if by_key else (self.heads, self.n)
        grid = (self.batch * matrices * triton.cdiv(count, tiles.keys if by_key else tiles.queries),)
        blocks = self.layout and (self.layout.columns if by_key else self.layout.rows)
        derivative = {} if name == "forward" else {"SCORE_GRAD": self.score_mod.derivative}
        self._run(name, grid, tiles,
            self.query, self.key, self.value, *tensors, self.lengths, blocks, self.score_mod.captured,
            self.n, self.m, self.nearest, self.farthest, self.scale, self.heads, self.heads // self.kv_heads,
            WIDTH=self.width, VALUE_WIDTH=self.value_width,
            PADDED=_padded(self.width), VALUE_PADDED=_padded(self.value_width),
            QUERIES=tiles.queries, KEYS=tiles.keys, BLOCK=self.layout.block if self.layout else 0,
            DOT=dot_type(self.query.dtype), SCORE_MOD=self.score_mod.function, MASK_ALL=self.mask_all,
            **derivative, **constants,
        )  # fmt: skip

    def launch_rows(self, *tensors: Tensor | None) -> None:
        """Run the kernel that prepares the backward pass, row by row."""
        tiles = self._tiles("backward_query")
        grid = (self.batch * self.heads * triton.cdiv(self.n, tiles.queries),)
        self._run("backward_rows", grid, tiles, *tensors, self.n,
            VALUE_WIDTH=self.value_width, VALUE_PADDED=_padded(self.value_width), QUERIES=tiles.queries,
        )  # fmt: skip

    def _tiles(self, name: str) -> Tiles:
        modified = self.layout is not None or self.score_mod.function is not None
        width = max(self.width, self.value_width)
        return tiles_for(name, self.query.dtype, width, modified, capability(self.query.device))

    def _run(self, name: str, grid: tuple[int], tiles: Tiles, *arguments, **constants) -> None:
        kernel = getattr(kernels if name == "forward" else kernels_backward, name)
        if INTERPRETED:
            kernel[grid](*arguments, **constants)
            return
        with torch.cuda.device(self.query.device):
            triton.set_allocator(_allocate)  # for descriptors; by thread, and autograd has its own
            kernel[grid](*arguments, **constants, **tiles.options)


def tiles_for(name: str, dtype: torch.dtype, width: int, modified: bool, capability: int) -> Tiles:
    """The tiles of the kernel `name` for a dtype and the larger of the two widths.

    `modified` says that there is a `score_mod` or a block mask.
    """
    if INTERPRETED:
        return INTERPRETER_TILES
    tables = (MODIFIED_TILES if modified else TILES)[capability]
    table = (SINGLE_TILES if dtype == torch.float32 else tables)[name]
    return next(tiles for widest, tiles in table.items() if width <= widest)


def capability(device: torch.device) -> int:
    """The generation whose tiles to take: 90 and 100 have matrix units of their own, others that of 80."""
    if INTERPRETED:
        return 80
    major, _ = torch.cuda.get_device_capability(device)
    return 10 * major if major in (9, 10) else 80


def key_launches(width: int) -> tuple[str, ...]:
    """What each launch of `backward_key` sums: above width 128 both sums at once would not fit."""
    return ("both",) if width <= 128 else ("key", "value")


def dot_type(dtype: torch.dtype) -> tl.dtype:
    """What matrix products take; the interpreter multiplies bfloat16 as if it were integers, so not that."""
    if dtype == torch.bfloat16:
        return tl.float32 if INTERPRETED else tl.bfloat16
    return tl.float16 if dtype == torch.float16 else tl.float32


def _band(n: int, m: int, causal: bool, window: int | None) -> tuple[int, int]:
    """The least and greatest i - j at which query i sees key j; its own place is key i + m - n."""
    anywhere = n + m
    reach = anywhere if window is None else window - 1
    nearest = 0 if causal else -reach
    return nearest + n - m, reach + n - m


def _padded(width: int) -> int:
    """Tiles are powers of 2, and a matrix product is at least 16 wide."""
    return max(16, triton.next_power_of_2(width))


def _aligned(x: Tensor) -> Tensor:
    """x, or a copy, as descriptors need it: rows without gaps, of a multiple of 16 bytes, as is the address.

    Columns of zeros change no score.
    """
    rest = -x.shape[-1] % (16 // x.element_size())
    x = torch.nn.functional.pad(x, (0, rest)) if rest else x.contiguous()
    return x if x.data_ptr() % 16 == 0 else x.clone()


def _allocate(size: int, alignment: int, stream: int | None) -> Tensor:
    return torch.empty(size, dtype=torch.int8, device="cuda")


def _check(query: Tensor, key: Tensor, value: Tensor) -> None:
    """Require what the kernels can run; shapes are those that `flash_attention` has checked."""
    if not INTERPRETED and not query.is_cuda:
        raise ValueError(
            f'`query` must be on an NVIDIA GPU; got {query.device}. Use `kernel="blockwise"`, '
            "or set TRITON_INTERPRET=1 in the environment before Python starts, to run its kernels slowly."
        )
    if query.dtype not in DTYPES or not query.dtype == key.dtype == value.dtype:
        raise TypeError(
            f'`kernel="triton"` takes query, key and value of one dtype, {DTYPES}; got {query.dtype}, '
            f'{key.dtype} and {value.dtype}. Convert them; `kernel="blockwise"` takes float64.'
        )
    for name, x in (("query", query), ("value", value)):
        if not 1 <= x.shape[-1] <= WIDEST:
            raise ValueError(
                f'`{name}` must have a width of 1..{WIDEST} for `kernel="triton"`, whose tiles hold no more; '
                f'got {x.shape[-1]}. Use more heads or `kernel="blockwise"`.'
            )
