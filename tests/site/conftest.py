"""The built book, a server for it, and pages that write down everything that goes wrong."""

import functools
import subprocess
import sys
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page

from ..browser import serving

ROOT = Path(__file__).resolve().parents[2]


def build_book(folder: Path) -> subprocess.CompletedProcess:
    """The README's own build command, every page read anew, warnings as errors."""
    book = str(Path(sys.executable).with_name("jupyter-book"))
    command = [book, "build", ".", "--all", "-W", "-n", "--keep-going"]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


@pytest.fixture(scope="session")
def site() -> Path:
    run = build_book(ROOT)
    assert run.returncode == 0, f"the book does not build:\n{run.stdout[-4000:]}\n{run.stderr[-4000:]}"
    return ROOT / "_build" / "html"


@pytest.fixture(scope="session")
def pages(site: Path) -> list[str]:
    """Every page of the book, as a path below the site."""
    ours = ("book/*.html", "chapters/**/*.html", "search.html", "genindex.html")
    return sorted(str(path.relative_to(site)) for pattern in ours for path in site.glob(pattern))


@pytest.fixture(scope="session")
def origin(site: Path):
    with serving(site) as address:
        yield address


class Witness:
    """What a page did that it should not have done."""

    def __init__(self, page: Page, origin: str) -> None:
        self.faults: list[str] = []
        page.on("pageerror", lambda error: self.faults.append(f"error: {error}"))
        page.on("console", self._console)
        page.on("response", lambda r: r.status >= 400 and self.faults.append(f"{r.status}: {r.url}"))
        page.route("**/*", functools.partial(self._route, origin))

    def _console(self, message) -> None:
        if message.type in ("error", "warning"):
            self.faults.append(f"console {message.type}: {message.text}")

    def _route(self, origin: str, route) -> None:
        address = route.request.url
        if address.startswith((origin, "data:", "blob:", "file:")):
            return route.continue_()
        self.faults.append(f"another origin: {address}")
        return route.abort()


@pytest.fixture
def open_page(browser: Browser, origin: str):
    """open_page(path, **context options) -> Page; at the end of the test, no page may have done wrong."""
    opened: list[tuple[str, Witness]] = []
    contexts = []

    def open_(path: str, *, base: str = origin, **options) -> Page:
        options.setdefault("viewport", {"width": 1280, "height": 900})
        context = browser.new_context(**options)
        contexts.append(context)
        page = context.new_page()
        opened.append((path, Witness(page, base)))
        page.goto(f"{base}/{path}")
        page.wait_for_load_state("load")
        if options.get("java_script_enabled", True):
            page.wait_for_function(
                "() => [...document.querySelectorAll('script[type$=\"widget-view+json\"]')]"
                ".every(s => s.closest('figure')?.dataset.live !== undefined)"
                " && !document.documentElement.classList.contains('arriving')"
            )
        return page

    yield open_
    for context in contexts:
        context.close()
    faults = [f"{path}: {fault}" for path, witness in opened for fault in witness.faults]
    assert not faults, "\n".join(faults)
