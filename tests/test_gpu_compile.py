"""What Triton makes of the kernels for a GPU, found out without one: instructions, registers, memory.

`python benchmarks/flash_compiled.py` compiles every configuration; here is a part that covers it. On each
generation of GPUs every row of both tables of tiles, with the most that can come with it: lengths for plain
tiles; lengths, a block mask and a `score_mod` at once for modified ones. Less holds fewer registers, as do
narrower heads in the tiles of their class. bfloat16 stands for float16, whose programs differ in the type of
a product alone; float32, with tiles of its own, is compiled for all three.
"""

import json
import sys
from pathlib import Path

import pytest
import torch

pytest.importorskip("triton")

import triton

from attention_core.flash import gpu, lowering

sys.path.insert(0, str(Path(__file__).parents[1] / "benchmarks"))
import flash_compiled

compiles = pytest.mark.skipif(gpu.INTERPRETED, reason="TRITON_INTERPRET=1 is set, so nothing is compiled")
PRODUCTS = flash_compiled.KERNELS[:-1]
CLASSES = (64, 128, 256)  # widths at which the tiles change
LAUNCHED = [
    (name, width) for name in PRODUCTS for width in CLASSES if flash_compiled.launched(name, width, "all")
]


def sound(*case):
    row = flash_compiled.compiled(*case)
    assert row["faults"] == [], flash_compiled.told(row)
    return row


@compiles
@pytest.mark.parametrize("features", ["lengths", "all"])
@pytest.mark.parametrize(("name", "width"), LAUNCHED)
@pytest.mark.parametrize("capability", flash_compiled.CAPABILITIES)
def test_no_tile_spills_and_each_generation_multiplies_in_its_own_unit(capability, name, width, features):
    sound(name, "bfloat16", width, features, capability)


@compiles
@pytest.mark.parametrize("width", [64, 128])
@pytest.mark.parametrize("capability", flash_compiled.CAPABILITIES)
def test_nor_does_a_score_mod_alone_spill_where_two_sums_are_kept(capability, width):
    """With less to keep the assembler is bolder: at these it spilled where with all at once it did not."""
    sound("backward_key", "bfloat16", width, "score_mod", capability)


@compiles
@pytest.mark.parametrize(("name", "width"), LAUNCHED)
@pytest.mark.parametrize("capability", flash_compiled.CAPABILITIES)
def test_float32_is_multiplied_exactly_and_spills_nothing(capability, name, width):
    """TF32, in the matrix unit, would keep 10 bits of 23."""
    row = sound(name, "float32", width, "all", capability)
    assert row["instructions"]["FFMA"] > 0


@compiles
def test_the_kernel_for_rows_compiles():
    sound("backward_rows", "bfloat16", 128, "plain", 90)


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
        ({"capability": 80, "shared": 101377}, "of 101376"),
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
    by_key = 4 * 1 + 1 * 2  # up to width 128 one launch makes both sums, at 256 each has its own
    assert len(cases) == len(set(cases)) == 3 * 3 * (5 * (5 + 5 + by_key) + 5)


def test_the_committed_record_holds_every_configuration_as_it_is_now_without_a_fault():
    choices = (flash_compiled.KERNELS, flash_compiled.DTYPES, flash_compiled.WIDTHS)
    cases = flash_compiled.configurations(*choices, flash_compiled.FEATURES, flash_compiled.CAPABILITIES)
    rows = flash_compiled.recorded(flash_compiled.RESULT)
    assert set(rows) == set(cases)
    assert not [case for case, row in rows.items() if row["faults"]]
    if json.loads(flash_compiled.RESULT.read_text())["how"]["triton"] == triton.__version__:
        stale = [case for case in cases if rows[case]["fingerprint"] != flash_compiled.fingerprint(case)]
        assert not stale, "run `python benchmarks/flash_compiled.py`"


@pytest.mark.parametrize("tables", [gpu.TILES, gpu.MODIFIED_TILES], ids=["plain", "modified"])
def test_the_tables_of_tiles_hold_what_is_compiled_and_nothing_else(tables):
    assert set(tables) == set(flash_compiled.CAPABILITIES)
    for table in (*tables.values(), gpu.SINGLE_TILES):
        assert set(table) == {name.split()[0] for name in PRODUCTS}
        assert all(tuple(rows) == CLASSES and max(rows) == gpu.WIDEST for rows in table.values())


@compiles
@pytest.mark.parametrize("name", ["forward", "backward_query", "backward_key", "backward_rows"])
def test_sizes_do_not_change_the_program(name):
    """Triton would make another where one is 1 or a multiple of 16, and no test here would have seen it."""
    made, _ = flash_compiled.source(name, "bfloat16", 64, "plain", 90)
    numbers = {x for x, kind in made.signature.items() if kind == "i32"}
    assert numbers
    assert numbers <= {x.name for x in made.fn.params if x.do_not_specialize}


@compiles
def test_no_tile_is_larger_than_the_smallest_block_of_a_mask():
    """A program walks the tiles of one block at a time."""
    for tables in (gpu.TILES, gpu.MODIFIED_TILES):
        for table in tables.values():
            tiles = [tile for rows in table.values() for tile in rows.values()]
            assert max(max(tile.queries, tile.keys) for tile in tiles) <= gpu.BLOCK


@compiles
@pytest.mark.parametrize(
    ("device", "tables"),
    [((8, 0), 80), ((8, 9), 80), ((9, 0), 90), ((10, 0), 100), ((10, 3), 100), ((12, 0), 80)],
)
def test_a_device_takes_the_tiles_of_the_matrix_unit_it_has(device, tables, monkeypatch):
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _: device)
    assert gpu.capability(torch.device("cuda")) == tables
