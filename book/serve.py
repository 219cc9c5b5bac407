"""Serve the built book on this machine alone: `python book/serve.py --port 8000`."""

import argparse
import errno
import functools
import http.server
from pathlib import Path

SITE = Path(__file__).resolve().parent.parent / "_build" / "html"


class Quiet(http.server.SimpleHTTPRequestHandler):
    """Serves files; says only what went wrong."""

    def log_request(self, code="-", size="-") -> None:
        if str(code) >= "400":
            super().log_request(code, size)


def bind(port: int, tries: int = 20) -> http.server.ThreadingHTTPServer:
    """A server on `port`, or on the next free one after it; says so when that is another one."""
    handler = functools.partial(Quiet, directory=str(SITE))
    for candidate in range(port, min(port + tries, 65536)):
        try:
            server = http.server.ThreadingHTTPServer(("127.0.0.1", candidate), handler)
        except OSError as error:
            if error.errno not in (errno.EADDRINUSE, errno.EACCES):
                raise
            continue
        if candidate != port:
            print(f"Port {port} is taken; using {candidate}, the next free one.", flush=True)
        return server
    raise SystemExit(
        f"Ports {port} to {port + tries - 1} are all taken: choose another with `make serve PORT=...`."
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, default=8000, help="the port to try first")
    port = parser.parse_args().port
    if not 1 <= port <= 65535:
        parser.error(f"--port must lie in 1..65535; got {port}")
    if not (SITE / "index.html").exists():
        raise SystemExit(f"There is no built book in {SITE.relative_to(Path.cwd())}: run `make book` first.")
    server = bind(port)
    print(f"Paying Attention is at http://127.0.0.1:{server.server_port}/  (Ctrl+C stops it)", flush=True)
    try:
        server.serve_forever()
    except KeyboardInterrupt:
        print()


if __name__ == "__main__":
    main()
