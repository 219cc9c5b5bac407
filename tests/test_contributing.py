"""CONTRIBUTING's example, done to a copy of the library: the contract tests pick the newcomer up."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
BLOCK = re.compile(r"`([\w/.]+)`:\n\n```\w+\n(.*?)```", re.S)


@pytest.fixture
def newcomer(tmp_path):
    """A copy of the library in which CONTRIBUTING's blocks stand where it puts them."""
    shutil.copytree(ROOT / "attention_core", tmp_path / "attention_core")
    for name in ("pyproject.toml", "tests/__init__.py", "tests/conftest.py", "tests/browser.py"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / name)
    shutil.copy(ROOT / "tests/test_catalogue.py", tmp_path / "tests")
    (tmp_path / "book").mkdir()
    shutil.copy(ROOT / "book/references.bib", tmp_path / "book")

    blocks = dict(BLOCK.findall((ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")))
    for name, text in blocks.items():
        file = tmp_path / name
        before = file.read_text(encoding="utf-8")
        if "RECORDS = (\n" in before:
            after = before.replace("RECORDS = (\n", f"RECORDS = (\n{text}")
        else:
            after = f"{before}\n\n{text}"
        file.write_text(after, encoding="utf-8")
    assert len(blocks) == 4
    return tmp_path


def contract(folder):
    """The contract tests of the newcomer: exit code and report."""
    command = [sys.executable, "-m", "pytest", "tests/test_catalogue.py", "-k", "distance"]
    run = subprocess.run([*command, "-p", "no:cacheprovider"], cwd=folder, capture_output=True, text=True)
    return run.returncode, run.stdout


def test_four_files_are_enough(newcomer):
    code, report = contract(newcomer)
    assert code == 0, report
    laws = 10
    assert int(re.search(r"(\d+) passed", report)[1]) > laws + 5


def test_the_newcomer_as_it_stands_is_as_ruff_wants_it(newcomer):
    for command in (["check", "--no-cache"], ["format", "--check", "--no-cache"]):
        ruff = [sys.executable, "-m", "ruff", *command, "attention_core"]
        run = subprocess.run(ruff, cwd=newcomer, capture_output=True, text=True)
        assert run.returncode == 0, run.stdout


def test_a_wrong_newcomer_is_caught(newcomer):
    file = newcomer / "attention_core/scores.py"
    wrong = file.read_text(encoding="utf-8").replace(".square().sum(-1) / 2", ".square().sum(-1)")
    file.write_text(wrong, encoding="utf-8")
    code, report = contract(newcomer)
    assert code == 1
    assert "test_agrees_with_its_reference[distance]" in report
