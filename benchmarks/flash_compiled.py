"""What Triton makes of the flash kernels for three generations of GPUs, found out without one.

    python benchmarks/flash_compiled.py [--capabilities 90] [--widths 64 128] [--dtypes bfloat16] ...

Compiles each kernel with the tiles that `kernel="triton"` takes, for every dtype, width class and kind of
restriction, and reads the result: matrix instructions, registers, spills, shared memory, the assembler's
warnings. A compilation "succeeds" with more shared memory than the GPU has, with spills, and with matrix
instructions that wait for each other; so each row lists its `faults`. Some 2 to 17 s a kernel.

Writes benchmarks/results/flash_compiled.json after each row, with a fingerprint of what the compiler was
given: rows of the file whose fingerprint still holds are kept, unless `--again`. The whole matrix takes an
hour of one core; the tests compile a part of it that covers the rest.
"""

import argparse
import contextlib
import datetime
import hashlib
import io
import json
import multiprocessing
import os
import re
import subprocess
import tempfile
from collections import Counter
from collections.abc import Sequence
from itertools import product
from pathlib import Path

import torch
import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

from attention_core.flash import gpu, kernels, kernels_backward, lowering

ROOT = Path(__file__).resolve().parent.parent
RESULT = ROOT / "benchmarks" / "results" / "flash_compiled.json"
TOOLS = Path(triton.__file__).parent / "backends" / "nvidia" / "bin"

# The second word of a name says which sum a launch of `backward_key` makes, where it makes only one.
KERNELS = (
    "forward",
    "backward_query",
    "backward_key",
    "backward_key key",
    "backward_key value",
    "backward_rows",
)
DTYPES = ("bfloat16", "float16", "float32")
WIDTHS = (16, 32, 64, 128, 256)  # to one of these the kernels pad; 80 and 96 are 128 with empty columns
FEATURES = ("plain", "lengths", "block mask", "score_mod", "all")
CAPABILITIES = (80, 90, 100)
CASE = ("kernel", "dtype", "width", "features", "capability")  # the keys of a row that name it
# Bytes that one program may have. 8.0 itself has 166912; 8.6, 8.9 and 12.0, which take its tiles, have these.
SHARED = {80: 101_376, 90: 232_448, 100: 232_448}
# Instructions of the matrix unit: by warp, by four warps (wgmma), by a whole program (tcgen05).
PRODUCT = {80: "HMMA", 90: "HGMMA", 100: "UTCHMMA"}
POINTERS = {"float16": "*fp16", "bfloat16": "*bf16", "float32": "*fp32"}
TABLE = torch.zeros(300)
# Triton counts a constant to the first kernel it hashes that uses it: in one order always, then.
for kernel in (
    kernels.forward, kernels_backward.backward_query, kernels_backward.backward_key,
    kernels_backward.backward_rows,
):  # fmt: skip
    kernel.cache_key  # noqa: B018


def relative(score, b, h, q_idx, kv_idx):
    """A `score_mod` as large as they come: a lookup, and an exponential with its derivative."""
    return torch.tanh(score) + TABLE[q_idx - kv_idx + 100]


# The kernel quotes the line above with its place, which would make fingerprints depend on the checkout.
relative.__code__ = relative.__code__.replace(co_filename="<relative>", co_firstlineno=1)


def tiles_of(name: str, dtype: str, width: int, features: str, capability: int) -> gpu.Tiles:
    """The tiles that the launch takes."""
    name = "backward_query" if name == "backward_rows" else name.split()[0]
    return gpu.tiles_for(name, getattr(torch, dtype), width, features not in ("plain", "lengths"), capability)


def source(name: str, dtype: str, width: int, features: str, capability: int) -> tuple[ASTSource, dict]:
    """The kernel as `gpu` launches it, and its launch options."""
    name, _, wanted = name.partition(" ")
    kernel = getattr(kernels if name == "forward" else kernels_backward, name)
    has = {feature: features in (feature, "all") for feature in FEATURES[1:]}
    block = gpu.BLOCK if has["block mask"] else 0
    tiles = tiles_of(name, dtype, width, features, capability)
    mod = lowering.lower(relative if has["score_mod"] else None, torch.device("cpu"))
    padded = gpu._padded(width)
    constants = {
        "WIDTH": width, "VALUE_WIDTH": width, "PADDED": padded, "VALUE_PADDED": padded,
        "QUERIES": tiles.queries, "KEYS": tiles.keys, "BLOCK": block,
        "DOT": gpu.dot_type(getattr(torch, dtype)), "SCORE_MOD": mod.function, "SCORE_GRAD": mod.derivative,
        "MASK_ALL": bool(block),  # as it must be where m is not a multiple of the block
        "WANTED": wanted or "both",
    }  # fmt: skip
    constants |= {} if has["lengths"] else {"lengths": None}
    constants |= {} if has["block mask"] else {"blocks": None}
    arrays = ("query", "key", "value", "output", "grad_output", "grad_query", "grad_key", "grad_value")
    types = dict.fromkeys(arrays, POINTERS[dtype]) | dict.fromkeys(
        ("lse", "grad_lse", "shift", "delta"), "*fp32"
    )
    aligned = set(types)
    types |= dict.fromkeys(("n", "m", "nearest", "farthest", "heads", "group"), "i32")
    types |= {"scale": "fp32", "lengths": "*i32", "captured": ("*fp32",) * len(mod.captured)}
    types |= {"blocks": ("*i32", "*i32", "*i32", "*i8", "i32", "i32")}
    places = dict(enumerate(kernel.arg_names))
    multiples = {(k,) for k, x in places.items() if x in aligned}  # of 16, the addresses
    if has["block mask"]:
        multiples |= {(kernel.arg_names.index("blocks"), k) for k in range(4)}
    made = ASTSource(
        kernel,
        {x: "constexpr" if x in constants else types[x] for x in kernel.arg_names},
        {(k,): constants[x] for k, x in places.items() if x in constants},
        {place: [["tt.divisibility", 16]] for place in multiples},
    )
    return made, tiles.options


def compiled(name: str, dtype: str, width: int, features: str, capability: int) -> dict:
    """What came of it: a row."""
    row = dict(zip(CASE, (name, dtype, width, features, capability), strict=True))
    made, options = source(name, dtype, width, features, capability)
    with (
        tempfile.TemporaryDirectory() as folder,
        environment(TRITON_CACHE_DIR=folder, TRITON_DUMP_PTXAS_LOG="1"),  # nothing old, and the warnings
        contextlib.redirect_stdout(io.StringIO()) as log,
    ):
        kernel = triton.compile(made, target=GPUTarget("cuda", capability, 32), options=options)
        instructions = disassembled(kernel.asm["cubin"], Path(folder))
    row |= {"tiles": tiles_of(name, dtype, width, features, capability)}
    row |= {"shared": kernel.metadata.shared} | read(log.getvalue())
    row["instructions"] = {x: instructions[x] for x in ("HMMA", "HGMMA", "UTCHMMA", "UTMALDG", "FFMA")}
    row["local"] = instructions["LDL"] + instructions["STL"]
    return row | {"faults": faults(row)}


def read(log: str) -> dict:
    """The assembler's own account."""
    stack, stores, loads = (
        int(re.search(rf"(\d+) bytes {what}", log)[1])
        for what in ("stack frame", "spill stores", "spill loads")
    )
    registers = int(re.search(r"Used (\d+) registers", log)[1])
    # Without its introduction and the kernel's name; the same is said once for each loop.
    warnings = sorted(set(re.findall(r"\((C\d{4}\)[^\n]*?)(?: in (?:the )?function[^\n]*)?\n", log)))
    return {"registers": registers, "stack": stack, "spilled": stores + loads, "warnings": warnings}


def disassembled(cubin: bytes, folder: Path) -> Counter:
    """How often each instruction occurs."""
    file = folder / "kernel.cubin"
    file.write_bytes(cubin)
    command = [TOOLS / "nvdisasm", "-c", file]
    code = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return Counter(re.findall(r"^\s*(?:/\*\w+\*/)?\s*(?:@!?U?P\w+\s+)?([A-Z][A-Z0-9]+)", code, re.MULTILINE))


def faults(row: dict) -> list[str]:
    """What would make the kernel slow, or keep it from starting."""
    found = []
    if row["stack"] or row["spilled"] or row["local"]:
        found.append(f"spills: {row['stack']} bytes of stack, {row['local']} accesses to it")
    if row["shared"] > SHARED[row["capability"]]:
        found.append(f"needs {row['shared']} bytes of shared memory, of {SHARED[row['capability']]}")
    # C7510 to C7512: products that could run beside each other wait. Others only say what was inserted.
    found += [f"the assembler warns: {warning}" for warning in row["warnings"] if "serialized" in warning]
    if row["kernel"] == "backward_rows":
        return found  # has no products
    expected = {PRODUCT[row["capability"]]} if row["dtype"] != "float32" else set()
    units = {x for x in PRODUCT.values() if row["instructions"][x]}
    if units != expected:
        found.append(f"multiplies by {sorted(units)}, not by {sorted(expected)}")
    described = row["capability"] >= 90 and row["dtype"] != "float32"  # float32 is loaded by address
    if described and not row["instructions"]["UTMALDG"]:
        found.append("loads no tile by TMA")
    return found


@contextlib.contextmanager
def environment(**variables: str):
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name) if value is None else os.environ.update({name: value})


def configurations(kernels, dtypes, widths, features, capabilities) -> list[tuple]:
    """Every combination that the dispatch can choose."""
    return [
        (name, dtype, width, has, capability)
        for name, dtype, width, has, capability in product(kernels, dtypes, widths, features, capabilities)
        if launched(name, width, has)
    ]


def launched(name: str, width: int, features: str) -> bool:
    """Whether `gpu` ever does: the kernel for rows knows no restrictions, that for keys sums two or one."""
    if name.startswith("backward_key"):
        return (name.partition(" ")[2] or "both") in gpu.key_launches(width)
    return name != "backward_rows" or features == "plain"


def fingerprint(case: tuple) -> str:
    """Of all that decides what comes of a case: the kernel and what it calls, constants, options, Triton."""
    made, options = source(*case)
    text = f"{made.hash()} {sorted(options.items())} {triton.__version__}"
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def compiled_or_failed(case: tuple) -> dict:
    try:
        return compiled(*case)
    except Exception as error:
        fault = f"does not compile: {type(error).__name__}: {str(error)[:200]}"
        return dict(zip(CASE, case, strict=True)) | {"faults": [fault]}


def run(cases: Sequence[tuple], processes: int, output: Path, again: bool) -> list[dict]:
    """The rows of these cases: those that the file holds, and the rest anew. The file keeps all others."""
    prints = {case: fingerprint(case) for case in cases}
    rows = recorded(output)
    rest = [case for case in cases if again or rows.get(case, {}).get("fingerprint") != prints[case]]
    with multiprocessing.get_context("spawn").Pool(processes) as pool:
        for case, row in zip(rest, pool.imap(compiled_or_failed, rest), strict=True):
            rows[case] = row | {"fingerprint": prints[case]}
            write(rows, output)
            print(told(row), flush=True)
    return [rows[case] for case in cases]


def recorded(output: Path) -> dict[tuple, dict]:
    if not output.exists():
        return {}
    rows = json.loads(output.read_text(encoding="utf-8"))["rows"]
    return {tuple(row[key] for key in CASE): row for row in rows}


def write(rows: dict[tuple, dict], output: Path) -> None:
    how = {
        "triton": triton.__version__,
        "torch": torch.__version__,
        "date": datetime.date.today().isoformat(),
    }
    output.parent.mkdir(parents=True, exist_ok=True)
    lines = ",\n  ".join(
        json.dumps(rows[case]) for case in sorted(rows)
    )  # a row a line: readable differences
    text = json.dumps({"how": how, "rows": []}, indent=1).replace('"rows": []', f'"rows": [\n  {lines}\n ]')
    output.write_text(text + "\n", encoding="utf-8")


def told(row: dict) -> str:
    what = (
        f"sm_{row['capability']:<3} {row['kernel']:14} {row['dtype']:8} {row['width']:3} {row['features']:10}"
    )
    if "tiles" in row:
        what += f" {tuple(row['tiles'])!s:18} {row['registers']:3} registers {row['shared']:6} bytes"
    return f"{what}  {'; '.join(row['faults']) or 'clean'}"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    for name, choices in (
        ("kernels", KERNELS), ("dtypes", DTYPES), ("widths", WIDTHS), ("features", FEATURES),
        ("capabilities", CAPABILITIES),
    ):  # fmt: skip
        parser.add_argument(f"--{name}", nargs="+", type=type(choices[0]), choices=choices, default=choices)
    parser.add_argument("--processes", type=int, default=os.cpu_count())
    parser.add_argument("--output", type=Path, default=RESULT)
    parser.add_argument("--again", action="store_true", help="compile what the file already holds too")
    options = parser.parse_args()
    chosen = (options.kernels, options.dtypes, options.widths, options.features, options.capabilities)
    rows = run(configurations(*chosen), options.processes, options.output, options.again)
    print(
        f"{sum(bool(row['faults']) for row in rows)} of {len(rows)} with faults; written to {options.output}"
    )


if __name__ == "__main__":
    main()
