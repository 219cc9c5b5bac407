"""The package's shape: imports point downwards, and the reference stands alone."""

import ast
import subprocess
import sys
import tomllib
from pathlib import Path

import attention_core
from attention_core import reference

ROOT = Path(attention_core.__file__).parents[1]


def nodes(module):
    return list(ast.walk(ast.parse(Path(module.__file__).read_text(encoding="utf-8"))))


def imported(tree):
    for node in tree:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield "." * node.level + (node.module or "")


def test_modules_import_only_from_layers_below():
    lint = Path(sys.executable).parent / "lint-imports"
    run = subprocess.run([lint, "--no-cache"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stdout + run.stderr


def test_reference_imports_numpy_and_the_standard_library_alone():
    roots = {name.split(".")[0] for name in imported(nodes(reference))}
    assert roots <= {"numpy"} | sys.stdlib_module_names


def test_reference_has_no_matrix_product():
    tree = nodes(reference)
    products = [
        node.lineno
        for node in tree
        if isinstance(node, ast.BinOp | ast.AugAssign) and isinstance(node.op, ast.MatMult)
    ]
    named = {"dot", "einsum", "matmul", "inner", "tensordot", "vdot", "matvec", "vecmat", "linalg"}
    calls = [
        node.attr
        for node in tree
        if isinstance(node, ast.Attribute)
        and isinstance(node.value, ast.Name)
        and node.value.id == "np"
        and node.attr in named
    ]
    assert (products, calls) == ([], [])


def test_the_version_is_that_of_the_metadata():
    metadata = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    assert attention_core.__version__ == metadata["project"]["version"]
