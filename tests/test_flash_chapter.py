"""The chapter on flash attention: its kernels are good for GPUs, and it can be read without Triton."""

import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest

ROOT = Path(__file__).resolve().parents[1]
CHAPTER = ROOT / "chapters" / "4-optimizations" / "flash-attention.ipynb"
CELLS = {cell.id: cell for cell in nbformat.read(CHAPTER, as_version=4).cells}


def source(*names: str) -> str:
    return "\n\n\n".join(CELLS[name].source for name in names)


# --- for a GPU


@pytest.mark.parametrize("capability", [80, 90, 100])
@pytest.mark.parametrize(
    "cells",
    [("meet-tile", "kernel-code"), ("sol8-code", "sol8-code-2")],
    ids=["the chapter's", "the solution's"],
)
def test_a_readers_kernel_compiles_for_gpus(cells, capability, tmp_path, monkeypatch):
    pytest.importorskip("triton")
    import triton
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    if os.environ.get("TRITON_INTERPRET") == "1":
        pytest.skip("TRITON_INTERPRET=1 is set, so nothing is compiled")
    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path))
    path = tmp_path / "reader.py"
    path.write_text("import triton\nimport triton.language as tl\n\n\n" + source(*cells), encoding="utf-8")
    spec = importlib.util.spec_from_file_location("reader", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    kernel = next(x for name, x in vars(module).items() if name.endswith("_kernel"))

    constants = {"WIDTH": 64, "TILE": 32}
    types = {"m": "i32", "scale": "fp32"}
    signature = {x: "constexpr" if x in constants else types.get(x, "*fp32") for x in kernel.arg_names}
    places = {(k,): constants[x] for k, x in enumerate(kernel.arg_names) if x in constants}
    compiled = triton.compile(
        ASTSource(kernel, signature, places), target=GPUTarget("cuda", capability, 32), options={}
    )
    assert compiled.metadata.shared <= 101376  # bytes: fits capability 8.6 too, which gives a program 99 KiB
    assert len(re.findall(r"\bst\.global", compiled.asm["ptx"])) > 0


def test_the_readers_kernel_stores_its_output_and_nothing_else():
    assert source("meet-tile", "kernel-code").count("tl.store(") == 1
    assert "tl.store(output" in source("kernel-code")


# --- without Triton


def test_every_cell_that_runs_a_kernel_asks_for_triton_first():
    running = [cell for cell in CELLS.values() if re.search(r"_kernel\[|\"triton\"", cell.source)]
    code = [cell for cell in running if cell.cell_type == "code"]
    assert len(code) >= 5
    for cell in code:
        assert 'find_spec("triton")' in cell.source


def test_the_interpreter_is_asked_for_before_anything_that_might_import_triton():
    first = next(c for c in CELLS.values() if c.cell_type == "code" and "TRITON_INTERPRET" in c.source)
    before, after = first.source.split('os.environ.setdefault("TRITON_INTERPRET", "1")')
    assert re.findall(r"^import (\w+)|^from (\w+)", before, re.MULTILINE) == [("os", "")]
    assert "import torch" in after


def test_the_chapter_runs_where_there_is_no_triton(tmp_path):
    (tmp_path / "sitecustomize.py").write_text("import sys\nsys.modules['triton'] = None\n", encoding="utf-8")
    code = [cell.source for cell in CELLS.values() if cell.cell_type == "code"]
    script = tmp_path / "chapter.py"
    script.write_text("from IPython.display import display\n" + "\n\n".join(code), encoding="utf-8")
    run = subprocess.run(
        [sys.executable, script],
        cwd=CHAPTER.parent,
        env={**os.environ, "PYTHONPATH": os.pathsep.join((str(tmp_path), str(ROOT)))},
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr[-2000:]
    assert "{'blockwise': 1, 'blockwise backward': 1}" in run.stdout
