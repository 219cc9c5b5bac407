"""What Triton makes of the kernels for a GPU, found out without one: instructions, registers, memory."""

import re
import subprocess
from collections import Counter
from pathlib import Path

import pytest
import torch

pytest.importorskip("triton")

import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

from attention_core.flash import gpu, kernels, kernels_backward, lowering

pytestmark = pytest.mark.skipif(gpu.INTERPRETED, reason="TRITON_INTERPRET=1 is set, so nothing is compiled")
TOOLS = Path(triton.__file__).parent / "backends" / "nvidia" / "bin"
POINTERS = {torch.float16: "*fp16", torch.bfloat16: "*bf16", torch.float32: "*fp32"}
NAMES = ("forward", "backward_query", "backward_key")
SHARED = 232448  # bytes a program may have on compute capability 9.0; compilation succeeds above it too


@pytest.fixture(autouse=True)
def _own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path))


def compiled(name, dtype=torch.bfloat16, width=64, capability=90, *, full=False):
    """The kernel as `gpu` launches it; `full` has lengths, a block mask and a score_mod with a table."""
    kernel = getattr(kernels if name == "forward" else kernels_backward, name)
    tiles = gpu.tiles_for(name, dtype, width)
    table = torch.zeros(300)
    mod = lowering.lower(
        (lambda s, b, h, i, j: torch.tanh(s) + table[i - j + 100]) if full else None, torch.device("cpu")
    )
    padded = gpu._padded(width)
    constants = {
        "WIDTH": width, "VALUE_WIDTH": width, "PADDED": padded, "VALUE_PADDED": padded,
        "QUERIES": tiles.queries, "KEYS": tiles.keys, "BLOCK": 128 if full else 0, "DOT": gpu.dot_type(dtype),
        "SCORE_MOD": mod.function, "SCORE_GRAD": mod.derivative, "MASK_ALL": full,
    }  # fmt: skip
    constants |= {} if full else {"lengths": None, "blocks": None}
    types = dict.fromkeys(("query", "key", "value", "output", "grad_output"), POINTERS[dtype])
    types |= dict.fromkeys(("grad_query", "grad_key", "grad_value"), POINTERS[dtype])
    types |= dict.fromkeys(("lse", "shift", "delta"), "*fp32")
    aligned = set(types)
    types |= dict.fromkeys(("n", "m", "nearest", "farthest", "heads", "group"), "i32")
    types |= {"scale": "fp32", "lengths": "*i32", "captured": ("*fp32",) * len(mod.captured)}
    types |= {"blocks": ("*i32", "*i32", "*i32", "*i8", "i32", "i32")}
    signature = {x: "constexpr" if x in constants else types[x] for x in kernel.arg_names}
    places = dict(enumerate(kernel.arg_names))
    source = ASTSource(
        kernel,
        signature,
        {(k,): constants[x] for k, x in places.items() if x in constants},
        {(k,): [["tt.divisibility", 16]] for k, x in places.items() if x in aligned},
    )
    options = {"num_warps": tiles.warps, "num_stages": tiles.stages}
    return triton.compile(source, target=GPUTarget("cuda", capability, 32), options=options)


def inspected(kernel, folder):
    """How often each instruction occurs, and the bytes of stack a thread takes."""
    file = folder / "kernel.cubin"
    file.write_bytes(kernel.asm["cubin"])
    usage, code = (
        subprocess.run([TOOLS / tool, option, file], capture_output=True, text=True, check=True).stdout
        for tool, option in (("cuobjdump", "-res-usage"), ("nvdisasm", "-c"))
    )
    words = re.findall(r"^\s*(?:/\*\w+\*/)?\s*(?:@!?U?P\w+\s+)?([A-Z][A-Z0-9]+)", code, re.MULTILINE)
    return Counter(words), int(re.search(r"STACK:(\d+)", usage).group(1))


@pytest.mark.parametrize("width", [64, 128])
@pytest.mark.parametrize("name", NAMES)
def test_on_hopper_products_are_wgmma_loads_are_tma_and_nothing_spills(name, width, tmp_path):
    kernel = compiled(name, width=width)
    instructions, stack = inspected(kernel, tmp_path)
    assert instructions["HGMMA"] > 0
    assert instructions["HMMA"] == 0
    assert instructions["UTMALDG"] > 0
    assert stack == instructions["LDL"] == instructions["STL"] == 0
    assert kernel.metadata.shared <= SHARED


@pytest.mark.parametrize("name", NAMES)
def test_the_widest_heads_fit_on_hopper(name, tmp_path):
    kernel = compiled(name, width=256)
    assert inspected(kernel, tmp_path)[0]["HGMMA"] > 0
    assert kernel.metadata.shared <= SHARED


@pytest.mark.parametrize("name", NAMES)
def test_score_mods_block_masks_and_lengths_compile(name, tmp_path):
    assert inspected(compiled(name, full=True), tmp_path)[0]["HGMMA"] > 0


@pytest.mark.parametrize(("capability", "product"), [(80, "HMMA"), (100, "UTCHMMA")])
def test_other_generations_use_their_own_matrix_units(capability, product, tmp_path):
    for name in NAMES:
        kernel = compiled(name, torch.float16, capability=capability)
        assert inspected(kernel, tmp_path)[0][product] > 0


@pytest.mark.parametrize("name", NAMES[:2])
def test_float32_is_multiplied_exactly(name, tmp_path):
    kernel = compiled(name, torch.float32)
    instructions, _ = inspected(kernel, tmp_path)
    assert instructions["FFMA"] > 0
    assert instructions["HGMMA"] == instructions["HMMA"] == 0  # TF32 would keep 10 bits of 23
    assert kernel.metadata.shared <= SHARED
