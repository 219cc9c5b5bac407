"""Progress on one line: rewritten in a terminal, one line an epoch where nobody watches."""

import sys
import time
from typing import TextIO

WIDTH = 24  # of the bar
EVERY = 0.2  # seconds between two writings


class Bar:
    """A line that says how far something has come.

    In a terminal `show` rewrites the line; `keep` ends it. Elsewhere, in a log or a pipe, only what is kept
    is written.
    """

    def __init__(self, stream: TextIO | None = None):
        self.stream = sys.stderr if stream is None else stream
        self.live = self.stream.isatty()
        self.shown = -EVERY

    def show(self, share: float, text: str) -> None:
        """The bar at this share of the whole, and a few words."""
        now = time.monotonic()
        if self.live and now - self.shown >= EVERY:
            self.shown = now
            full = round(WIDTH * min(max(share, 0.0), 1.0))
            self.stream.write(f"\r\x1b[K[{'#' * full}{'.' * (WIDTH - full)}] {share:4.0%}  {text}")
            self.stream.flush()

    def keep(self, text: str) -> None:
        """A line that stays."""
        self.stream.write(f"\r\x1b[K{text}\n" if self.live else f"{text}\n")
        self.stream.flush()
