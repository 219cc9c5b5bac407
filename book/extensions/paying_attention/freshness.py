"""Pages never show the numbers of an older library.

The cache of executed notebooks looks at the notebooks alone. Here it gets one folder for each state of
the library and of the measured results (a hash of every file in them), and a notebook whose page was built
with another state is read again.
"""

import hashlib
import shutil
from pathlib import Path

from sphinx.application import Sphinx
from sphinx.config import Config


def library_hash(*folders: Path) -> str:
    """SHA-256 over the names and bytes of all files of the folders, shortened."""
    digest = hashlib.sha256()
    for folder in folders:
        for path in sorted(folder.rglob("*")):
            if path.is_file() and "__pycache__" not in path.parts:
                digest.update(f"{path.relative_to(folder)}\0".encode() + path.read_bytes() + b"\0")
    return digest.hexdigest()[:16]


def _key_the_cache(app: Sphinx, config: Config) -> None:
    root = Path(app.srcdir)
    state = library_hash(root / "attention_core", root / "benchmarks" / "results")
    caches = Path(app.outdir).parent / ".jupyter_cache"
    for stale in caches.glob("*"):
        if stale.name != state:
            shutil.rmtree(stale, ignore_errors=True)
    config.nb_execution_cache_path = str(caches / state)
    config.paying_attention_library = state


def _notebooks_of_another_state(app: Sphinx, env, added, changed, removed) -> list[str]:
    built_with = getattr(env, "paying_attention_library", None)
    env.paying_attention_library = app.config.paying_attention_library
    if built_with == env.paying_attention_library:
        return []
    return [name for name in env.found_docs if str(env.doc2path(name)).endswith(".ipynb")]


def setup(app: Sphinx) -> None:
    app.add_config_value("paying_attention_library", "", "")
    app.connect("config-inited", _key_the_cache)
    app.connect("env-get-outdated", _notebooks_of_another_state)
