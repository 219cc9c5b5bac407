"""The figures' JavaScript: its types, and the host's rules. Needs Node; readers of the book do not."""

import re
import subprocess
from pathlib import Path

HERE = Path(__file__).parent


def run(*command: str) -> None:
    done = subprocess.run(command, cwd=HERE, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]


def test_types_hold(node_modules):
    run("node", str(node_modules / "typescript/bin/tsc"), "--noEmit")


def test_the_host_and_the_kit_keep_their_rules(node_modules):
    run("node", "--test", *sorted(path.name for path in HERE.glob("*.test.mjs")))


def test_the_lock_file_names_exact_versions_and_no_addresses():
    lock = (HERE / "package-lock.json").read_text(encoding="utf-8")
    assert '"resolved"' not in lock
    manifest = (HERE / "package.json").read_text(encoding="utf-8")
    versions = re.search(r'"devDependencies": \{(.*?)\}', manifest, re.S)[1]
    assert all(re.fullmatch(r"[\d.]+", v) for v in re.findall(r': "([^"]+)"', versions))
