"""A server on loopback and a Chromium, for all tests that need a real browser."""

import contextlib
import functools
import http.server
import os
import shutil
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import Page, Playwright

FLAGS = (
    "--no-sandbox --disable-gpu --disable-quic --no-first-run "
    "--disable-background-networking --disable-component-update --disable-sync"
)


class Handler(http.server.SimpleHTTPRequestHandler):
    """A folder at / and below /a/sub/path/, under a policy that allows no evaluation of text and no blobs."""

    policy = (
        "default-src 'self'; script-src 'self' 'unsafe-inline'; style-src 'self' 'unsafe-inline'; "
        "img-src 'self' data:"
    )

    def translate_path(self, path: str) -> str:
        return super().translate_path(path.removeprefix("/a/sub/path"))

    def end_headers(self) -> None:
        self.send_header("Content-Security-Policy", self.policy)
        super().end_headers()

    def log_message(self, *args) -> None:
        pass


@contextlib.contextmanager
def serving(folder: Path, handler: type = Handler):
    """Serve `folder` on a free port; yields the origin."""
    server = http.server.ThreadingHTTPServer(
        ("127.0.0.1", 0), functools.partial(handler, directory=str(folder))
    )
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def launch(playwright: Playwright):
    """The system's Chromium, else Playwright's own. Neither: skip by name, but fail where CI=true."""
    executable = shutil.which("chromium") or shutil.which("google-chrome")
    if executable is None and not Path(playwright.chromium.executable_path).exists():
        missing("no Chromium: the tests in a real browser need one (Debian: apt-get install chromium)")
    return playwright.chromium.launch(executable_path=executable, args=FLAGS.split())


def eventually(page: Page, read: Callable, wanted: Callable[..., bool], *, within: float = 30.0):
    """Read until it is as `wanted` or time is up; returns what was read last, for the caller's assertion.

    Pages answer at their own pace: a fixed pause fails a right page on a slow machine, and is wasted on a
    fast one. The pause goes through `page`, so that events that happen meanwhile are heard.
    """
    end = time.monotonic() + within
    while not wanted(found := read()) and time.monotonic() < end:
        page.wait_for_timeout(20)
    return found


def painted(page: Page) -> None:
    """Return when the page has drawn what it has been told so far."""
    page.evaluate("new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")


def missing(reason: str) -> None:
    """What a test needs is not on this machine."""
    if os.environ.get("CI") == "true":
        pytest.fail(reason)
    pytest.skip(reason)
