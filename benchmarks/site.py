"""How fast a chapter appears: this book beside the same book built as Jupyter Book builds it.

    python benchmarks/site.py [--page chapters/2-alignment/alignment-matrix] [--repeats 5]

Both sites are built from the same sources and served from this machine, gzipped, to Chromium slowed
down four times, over 10 Mbit/s with 40 ms of latency. The stock build keeps the theme's own scripts and
icons, MathJax and the standard widget embed (html-manager), all hosted here, so that no other server is
measured.
The stock build needs `npm ci` in tests/js. Writes benchmarks/results/site.json.
"""

import argparse
import contextlib
import datetime
import functools
import gzip
import http.server
import json
import mimetypes
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

import anywidget
import yaml
from playwright.sync_api import Browser, sync_playwright

from attention_core.models.runs import processor

ROOT = Path(__file__).resolve().parent.parent
MODULES = ROOT / "tests" / "js" / "node_modules"
RESULT = ROOT / "benchmarks" / "results" / "site.json"
NETWORK = {"offline": False, "latency": 40, "downloadThroughput": 10e6 / 8, "uploadThroughput": 10e6 / 8}
CPU_SLOWDOWN = 4
FLAGS = (
    "--no-sandbox --disable-gpu --disable-quic --no-first-run "
    "--disable-background-networking --disable-component-update --disable-sync"
)

# Runs in the page before anything else: the first pixel, the first figure, what moved, how long keys take.
WATCH = """
window.seen = {shift: 0, keys: []};
const watch = (type, use, more) => new PerformanceObserver(l => l.getEntries().forEach(use)).observe({type, buffered: true, ...more});
watch('paint', e => { if (e.name === 'first-contentful-paint') seen.paint = e.startTime; });
watch('layout-shift', e => { if (!e.hadRecentInput) seen.shift += e.value; });
watch('event', e => { if (e.name === 'keydown') seen.keys.push(e.duration); }, {durationThreshold: 16});
const figure = () => {
  const drawn = [...document.querySelectorAll('[data-weights]')].find(e => e.dataset.weights.length > 2);
  if (drawn) requestAnimationFrame(() => setTimeout(() => { seen.figure = performance.now(); }));
  else requestAnimationFrame(figure);
};
figure();
"""  # noqa: E501


class Gzipped(http.server.SimpleHTTPRequestHandler):
    """Static files, compressed once and kept, as a web server in front of a book would."""

    protocol_version = "HTTP/1.1"
    cache: dict[str, bytes] = {}  # noqa: RUF012

    def do_GET(self) -> None:
        path = Path(self.translate_path(self.path))
        if path.is_dir():
            path /= "index.html"
        if not path.is_file():
            return self.send_error(404)
        body = path.read_bytes()
        kind = mimetypes.guess_type(path.name)[0] or "application/octet-stream"
        self.send_response(200)
        if not kind.startswith(("font/", "image/png")):
            body = self.cache.setdefault(str(path), gzip.compress(body, 9))
            self.send_header("Content-Encoding", "gzip")
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args) -> None:
        pass


@contextlib.contextmanager
def serving(folder: Path):
    server = http.server.ThreadingHTTPServer(
        ("127.0.0.1", 0), functools.partial(Gzipped, directory=str(folder))
    )
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()


def build(source: Path) -> Path:
    command = [str(Path(sys.executable).with_name("jupyter-book")), "build", str(source), "--all"]
    print("building", source, flush=True)
    run = subprocess.run(command, cwd=source, capture_output=True, text=True)
    if run.returncode:
        raise SystemExit(run.stdout + run.stderr)
    return source / "_build" / "html"


def stock(folder: Path) -> Path:
    """The same book as Jupyter Book builds it, except that what it takes from a CDN lies beside it."""
    if not (MODULES / "mathjax").is_dir():
        raise SystemExit("The stock build needs its scripts: run `npm ci` in tests/js first.")
    for name in ("book", "chapters", "attention_core", "benchmarks/results"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "_toc.yml", folder)
    config = yaml.safe_load((ROOT / "_config.yml").read_text(encoding="utf-8"))
    settings = config["sphinx"]["config"]
    del config["sphinx"]["local_extensions"]
    for ours in ("templates_path", "html_js_files", "html_sidebars"):
        del settings[ours]
    settings["extensions"].remove("paying_attention")
    settings["html_css_files"] = []
    settings["mathjax_path"] = "mathjax/tex-mml-chtml.js"
    settings["nb_ipywidgets_js"] = {
        "widgets/require.js": {},
        "widgets/embed-amd.js": {"data-jupyter-widgets-cdn": "/_static/widgets/"},
    }
    (folder / "_config.yml").write_text(yaml.safe_dump(config, sort_keys=False), encoding="utf-8")
    static = folder / "book" / "static"
    shutil.copytree(MODULES / "mathjax" / "es5", static / "mathjax")
    (static / "widgets").mkdir()
    shutil.copy(MODULES / "requirejs" / "require.js", static / "widgets")
    shutil.copy(MODULES / "@jupyter-widgets" / "html-manager" / "dist" / "embed-amd.js", static / "widgets")
    amd = Path(anywidget.__file__).parent / "nbextension" / "index.js"
    minor = ".".join(anywidget.__version__.split(".")[:2])
    view = static / "widgets" / f"anywidget@~{minor}.*" / "dist" / "index.js"
    view.parent.mkdir(parents=True)
    shutil.copy(amd, view)
    return build(folder)


def visit(browser: Browser, address: str, slow: bool) -> dict[str, float]:
    """Open the page once with an empty cache; return what was seen, in milliseconds and bytes."""
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    page = context.new_page()
    client = context.new_cdp_session(page)
    client.send("Network.enable")
    if slow:
        client.send("Network.emulateNetworkConditions", NETWORK)
        client.send("Emulation.setCPUThrottlingRate", {"rate": CPU_SLOWDOWN})
    received: list[float] = []
    client.on("Network.loadingFinished", lambda event: received.append(event["encodedDataLength"]))
    page.add_init_script(WATCH)
    page.goto(address, wait_until="load", timeout=120_000)
    page.wait_for_function("window.seen.figure", timeout=120_000)
    page.wait_for_timeout(1000)
    loaded = sum(received)
    page.locator("[role=slider], .pa-live input[type=range]").first.focus()
    for turn in range(20):
        page.keyboard.press("ArrowLeft" if turn % 2 else "ArrowRight")
        page.wait_for_timeout(150)
    seen = page.evaluate("window.seen")
    context.close()
    # The browser rounds event times to 8 ms and reports from 16 ms on: a key not reported took less.
    keys = sorted(seen["keys"] + [16.0] * (20 - len(seen["keys"])))
    return {
        "first contentful paint, ms": seen["paint"],
        "first figure drawn, ms": seen["figure"],
        "key to paint, ms (16 = at most)": statistics.median(keys),
        "layout shift": seen["shift"],
        "received, kB": loaded / 1000,
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--page", default="chapters/2-alignment/alignment-matrix")
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    results = {}
    with tempfile.TemporaryDirectory() as temporary, sync_playwright() as playwright:
        sites = {"ours": build(ROOT), "stock": stock(Path(temporary) / "stock")}
        executable = shutil.which("chromium") or shutil.which("google-chrome")
        browser = playwright.chromium.launch(executable_path=executable, args=FLAGS.split())
        version = browser.version
        for slow in (True, False):
            for name, folder in sites.items():
                with serving(folder) as origin:
                    address = f"{origin}/{options.page}.html"
                    runs = [visit(browser, address, slow) for _ in range(options.repeats)]
                speed = "slowed" if slow else "full speed"
                results[f"{name}, {speed}"] = {k: statistics.median(r[k] for r in runs) for k in runs[0]}
        browser.close()
    report(results, options, version)


def report(results: dict, options: argparse.Namespace, browser: str) -> None:
    measures = next(iter(results.values()))
    print(f"\n{'':34}" + "".join(f"{name:>20}" for name in results))
    for measure in measures:
        print(f"{measure:34}" + "".join(f"{values[measure]:20.3g}" for values in results.values()))
    for speed in ("slowed", "full speed"):
        ratio = (
            results[f"ours, {speed}"]["first figure drawn, ms"]
            / results[f"stock, {speed}"]["first figure drawn, ms"]
        )
        print(f"first figure drawn, ours / stock, {speed}: {ratio:.3f}")
    how = {
        "page": options.page,
        "repeats": options.repeats,
        "statistic": "median",
        "slowed": f"CPU x{CPU_SLOWDOWN}, 10 Mbit/s, 40 ms, gzip, empty cache",
        "browser": f"Chromium {browser}",
        "processor": processor(),
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "date": datetime.date.today().isoformat(),
    }
    RESULT.parent.mkdir(exist_ok=True)
    RESULT.write_text(json.dumps({"how": how, "results": results}, indent=2) + "\n", encoding="utf-8")
    print(f"written to {RESULT.relative_to(ROOT)}")


if __name__ == "__main__":
    main()
