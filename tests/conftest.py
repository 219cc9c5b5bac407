"""For all tests: one thread, seeded randomness, a switch for the shape checks, Node's packages, a browser."""

import os
import shutil
import subprocess
from pathlib import Path

import jaxtyping
import numpy as np
import pytest
import torch
from hypothesis import settings
from playwright.sync_api import sync_playwright

from .browser import launch, missing

torch.set_num_threads(1)
try:
    import torchvision  # noqa: F401
except RuntimeError:  # built for CUDA, it does not load beside a torch for the CPU
    # transformers and timm import it where they find it; nothing here calls the operators it then misses.
    for operator in ("nms", "qnms"):
        torch.library.define(f"torchvision::{operator}", "(Tensor boxes, Tensor scores, float x) -> Tensor")
os.environ["KERAS_BACKEND"] = "torch"  # read when Keras is first imported
settings.register_profile("book", deadline=None, derandomize=True, max_examples=60)
settings.load_profile("book")


@pytest.fixture(autouse=True)
def _seeded():
    torch.manual_seed(0)


@pytest.fixture
def rng():
    return np.random.default_rng(0)


@pytest.fixture
def unchecked():
    """Turn jaxtyping's run-time checks off, so that a reader's mistake meets our error and not theirs."""
    before = jaxtyping.config.jaxtyping_disable
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", before)


@pytest.fixture(scope="session")
def node_modules() -> Path:
    """The packages of tests/js, fetched on first use. No Node: skip by name, but fail where CI=true."""
    folder = Path(__file__).parent / "js"
    if shutil.which("npm") is None:
        missing(
            "no Node: the JavaScript and accessibility checks need it (Debian: apt-get install nodejs npm)"
        )
    installed = folder / "node_modules" / ".package-lock.json"
    if not installed.exists() or installed.stat().st_mtime < (folder / "package-lock.json").stat().st_mtime:
        subprocess.run(["npm", "ci", "--no-audit", "--no-fund"], cwd=folder, check=True, capture_output=True)
    return folder / "node_modules"


@pytest.fixture(scope="session")
def browser():
    with sync_playwright() as playwright:
        chromium = launch(playwright)
        yield chromium
        chromium.close()
