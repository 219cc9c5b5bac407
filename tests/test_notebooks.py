"""The notebooks as a reader runs them: from a clean kernel, in their own folder, and in Colab."""

import subprocess
import sys
import types
from pathlib import Path

import nbclient
import nbformat
import pytest
import yaml

ROOT = Path(__file__).resolve().parents[1]
NOTEBOOKS = sorted(
    path
    for path in [*ROOT.glob("book/*.ipynb"), *ROOT.glob("chapters/*/*.ipynb")]
    if ".ipynb_checkpoints" not in path.parts
)
CHAPTERS = [path for path in NOTEBOOKS if path.is_relative_to(ROOT / "chapters")]


def name(path: Path) -> str:
    return path.stem


def code(path: Path) -> list[str]:
    return [cell.source for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "code"]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=name)
def test_runs_from_a_clean_kernel_without_a_word_on_stderr(path):
    notebook = nbformat.read(path, as_version=4)
    resources = {"metadata": {"path": str(path.parent)}}
    nbclient.NotebookClient(notebook, timeout=60, kernel_name="python3", resources=resources).execute()
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    assert outputs
    assert [output.text for output in outputs if output.get("name") == "stderr"] == []


@pytest.mark.parametrize("path", NOTEBOOKS, ids=name)
def test_holds_no_outputs_in_git(path):
    for cell in nbformat.read(path, as_version=4).cells:
        if cell.cell_type == "code":
            assert not cell.outputs
            assert cell.execution_count is None


@pytest.mark.parametrize("path", NOTEBOOKS, ids=name)
def test_needs_no_kernel_for_its_figures(path):
    assert not any("interact(" in cell or "interactive(" in cell for cell in code(path))


@pytest.fixture
def colab(monkeypatch, tmp_path):
    """colab(path, repository) runs a chapter's first cell as Colab would, with pip's part written down."""
    calls = []
    really_run = subprocess.run

    def run(command, **options):
        calls.append(command)
        return really_run(command, **options) if command[0] == "git" else None

    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(sys.modules, "google.colab", types.ModuleType("google.colab"))
    monkeypatch.setattr(subprocess, "run", run)

    def first_cell(path: Path, repository: str) -> list[list[str]]:
        cell = code(path)[0]
        assert cell.count('repository = ""') == 1
        exec(cell.replace('repository = ""', f"repository = {repository!r}"), {})
        return calls

    return first_cell


@pytest.mark.parametrize("path", CHAPTERS, ids=name)
def test_the_first_cell_fetches_the_book_in_colab(colab, path):
    clone, install = colab(path, str(ROOT))
    assert clone[:2] == ["git", "clone"]
    assert install[-1] == "./paying-attention[figures]"
    assert Path.cwd().parts[-2:] == path.parent.parts[-2:]
    assert (Path.cwd() / path.name).exists()


@pytest.mark.parametrize("path", CHAPTERS, ids=name)
def test_without_an_address_the_first_cell_says_what_to_set(colab, path):
    with pytest.raises(RuntimeError, match="set `repository`"):
        colab(path, "")


@pytest.mark.parametrize("path", CHAPTERS, ids=name)
def test_colab_and_the_site_name_the_same_repository(path):
    config = yaml.safe_load((ROOT / "_config.yml").read_text(encoding="utf-8"))
    address = config.get("repository", {}).get("url", "")
    assert f'repository = "{address}"' in code(path)[0]
