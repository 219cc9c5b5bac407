"""What Triton makes of the kernels for a GPU, found out without one: instructions, registers, memory.

`python benchmarks/flash_compiled.py` compiles every configuration; here is a part that covers it. On Hopper
all tiles that the tables hold, bare and with everything at once (lengths, a block mask and a `score_mod`: it
holds the most registers). A narrower head takes the tiles of its class with less to keep. bfloat16 stands for
float16, whose programs differ in the type of a product alone; other generations are seen at their fullest.
"""

import sys
from pathlib import Path

import pytest
import torch

pytest.importorskip("triton")

from attention_core.flash import gpu, lowering

sys.path.insert(0, str(Path(__file__).parents[1] / "benchmarks"))
import flash_compiled

compiles = pytest.mark.skipif(gpu.INTERPRETED, reason="TRITON_INTERPRET=1 is set, so nothing is compiled")
PRODUCTS = ("forward", "backward_query", "backward_key")


@compiles
@pytest.mark.parametrize("features", ["plain", "all"])
@pytest.mark.parametrize("width", [64, 128, 256])
@pytest.mark.parametrize("name", PRODUCTS)
def test_on_hopper_products_are_wgmma_loads_are_tma_and_nothing_spills(name, width, features):
    row = flash_compiled.compiled(name, "bfloat16", width, features, 90)
    if (name, width) == ("backward_key", 256):  # two sums of 64 by 256 in float32: said in `gpu.TILES`
        assert 0 < row["stack"] <= 32
        assert all("spills" in fault for fault in row["faults"])
    else:
        assert row["faults"] == []
    assert row["instructions"]["HGMMA"] > 0
    assert row["instructions"]["HMMA"] == 0
    assert row["instructions"]["UTMALDG"] > 0


@compiles
@pytest.mark.parametrize("capability", [80, 100])
@pytest.mark.parametrize("name", PRODUCTS)
def test_other_generations_use_their_own_matrix_units_and_spill_nothing(name, capability):
    assert flash_compiled.compiled(name, "float16", 128, "all", capability)["faults"] == []


@compiles
@pytest.mark.parametrize("name", PRODUCTS)
def test_float32_is_multiplied_exactly(name):
    row = flash_compiled.compiled(name, "float32", 64, "plain", 90)
    assert row["faults"] == []  # TF32, in the matrix unit, would keep 10 bits of 23
    assert row["instructions"]["FFMA"] > 0


@compiles
def test_the_kernel_for_rows_compiles():
    assert flash_compiled.compiled("backward_rows", "bfloat16", 128, "plain", 90)["faults"] == []


def everything(score, b, h, q_idx, kv_idx):
    """Each operation that has its line of Triton, of whole numbers too."""
    far, x = (q_idx - kv_idx).abs(), score * score + 1
    whole = (q_idx // 3 + kv_idx % 4).clamp(0, 9) + torch.where((h > 1) & ~(b == 0) | (far != 2), 1, 2)
    roots = torch.sqrt(far + 1) + torch.rsqrt(far + 1) + far.float().log2() + torch.exp2(-far)
    waves = score.sin() + score.cos() + score.tanh() + score.sigmoid() + score.exp() + x.log() + x.log2()
    powers = x**2 + x**-3 + x**0.5 + x**-0.5 + x**2.5 + 1 / x
    steps = torch.floor(far / 3) + torch.ceil(far / 2) + far.float() % 2.5 + torch.sign(score).detach()
    return waves + powers + torch.maximum(score, -score) + score.relu() + whole + roots + steps


@compiles
def test_every_operation_a_score_mod_may_use_compiles(monkeypatch):
    monkeypatch.setattr(flash_compiled, "relative", everything)
    row = flash_compiled.compiled("backward_query", "float32", 16, "score_mod", 90)
    assert row["registers"] > 0


@compiles
def test_what_triton_refuses_it_shows_at_the_readers_line():
    """Its errors quote the text that was made, and each line of that names the reader's."""
    made = lowering._source(lowering._trace(everything, torch.device("cpu")), [])
    lines = [line for line in made.splitlines() if " = " in line]
    assert all(f'# File "{__file__}", line ' in line for line in lines)
    assert "powers = x**2 + x**-3" in made


# -- what is read off ---------------------------------------------------------------------------------------

LOG = """ptxas info    : Compiling entry function 'forward' for 'sm_90a'
ptxas info    : Function properties for forward
    {stack} bytes stack frame, {spill} bytes spill stores, {spill} bytes spill loads
ptxas info    : Used 168 registers, used 1 barriers
ptxas info    : (C7511) Potential Performance Loss: wgmma.mma_async instructions are serialized due to x in \
function 'forward'
"""


def row(**changed):
    sound = {
        "kernel": "forward", "dtype": "bfloat16", "capability": 90, "stack": 0, "spilled": 0, "local": 0,
        "shared": 232448, "warnings": [], "instructions": dict.fromkeys(("HMMA", "UTCHMMA", "FFMA"), 0)
        | {"HGMMA": 9, "UTMALDG": 2},
    }  # fmt: skip
    return sound | changed


def test_the_assemblers_account_is_read_with_its_warnings():
    found = flash_compiled.read(LOG.format(stack=8, spill=12))
    assert (found["registers"], found["stack"], found["spilled"]) == (168, 8, 24)
    assert len(found["warnings"]) == 1
    assert "C7511" in found["warnings"][0]
    assert flash_compiled.faults(row(warnings=found["warnings"])) != []


def test_a_sound_kernel_has_no_faults():
    assert flash_compiled.faults(row()) == []


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"stack": 8}, "spills"),
        ({"local": 1}, "spills"),
        ({"shared": 232449}, "shared memory"),
        ({"capability": 80, "shared": 166913}, "of 166912"),
        ({"instructions": {"HMMA": 9, "HGMMA": 0, "UTCHMMA": 0, "UTMALDG": 2}}, "HMMA"),
        ({"instructions": {"HMMA": 1, "HGMMA": 9, "UTCHMMA": 0, "UTMALDG": 2}}, "HMMA"),
        ({"instructions": {"HMMA": 0, "HGMMA": 9, "UTCHMMA": 0, "UTMALDG": 0}}, "TMA"),
        ({"dtype": "float32"}, "not by []"),
    ],
)
def test_each_fault_is_told(changed, words):
    assert words in "; ".join(flash_compiled.faults(row(**changed)))


def test_every_configuration_is_in_the_matrix_once():
    f = flash_compiled
    cases = f.configurations(f.KERNELS, f.DTYPES, f.WIDTHS, f.FEATURES, f.CAPABILITIES)
    assert len(cases) == len(set(cases)) == 3 * 5 * 3 * (3 * 5 + 1)
    for name in PRODUCTS:
        for table in (gpu.TILES, gpu.MODIFIED_TILES):
            assert max(table[name]) == gpu.WIDEST
