"""Code and notebooks as `make check` wants them."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


@pytest.mark.parametrize("command", [["check"], ["format", "--check"]], ids=" ".join)
def test_ruff_finds_nothing_in_code_and_notebooks(command):
    run = subprocess.run(
        [sys.executable, "-m", "ruff", *command, "."], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, run.stdout + run.stderr


def test_notebooks_are_stripped_and_keep_their_cell_ids():
    notebooks = [str(path) for part in ("book", "chapters") for path in (ROOT / part).rglob("*.ipynb")]
    assert notebooks
    command = [sys.executable, "-m", "nbstripout", "--verify", "--keep-id", *notebooks]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stdout + run.stderr
