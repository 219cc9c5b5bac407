"""The bridge to eflomal: what goes over it, what comes back, and that it leaves nothing behind."""

import os
import subprocess
import sys
import tempfile

import numpy as np
import pytest

from attention_core import alignment
from attention_core.datasets import Pair

from .pairs import pair


def shifted(rng, pairs):
    """Words that translate one to one, behind one that nothing translates: no link is its own transpose."""
    made = []
    for _ in range(pairs):
        words = rng.choice(12, rng.integers(3, 7), replace=False)
        source, target = (" ".join(f"{letter}{k}" for k in words) for letter in "st")
        made.append(pair(source, f"le {target}", {(t + 1, t) for t in range(len(words))}))
    return made


CORPUS = shifted(np.random.default_rng(0), 300)
ALONE = pair("s3 s1 s2 s0", "le t3 t1 t2 t0", {(1, 0), (2, 1), (3, 2), (4, 3)})


def test_links_come_back_as_target_and_source_for_each_pair():
    for links in alignment.eflomal_directions(CORPUS):
        assert alignment.score(links, CORPUS).aer < 0.02


def test_directions_are_merged_as_asked(monkeypatch):
    both = alignment.bridge.Directions([frozenset({(0, 0), (1, 1)})], [frozenset({(0, 0)})])
    monkeypatch.setattr(alignment.bridge, "eflomal_directions", lambda pairs, **options: both)
    assert alignment.eflomal(CORPUS) == [{(0, 0), (1, 1)}]
    assert alignment.eflomal(CORPUS, method="intersection") == [{(0, 0)}]


def test_training_pairs_are_counted_and_left_out():
    assert alignment.eflomal([ALONE], training=CORPUS) == [ALONE.sure]


def test_priors_of_an_earlier_run_align_a_pair_alone():
    priors = alignment.eflomal_priors(CORPUS, alignment.eflomal_directions(CORPUS))
    assert alignment.eflomal([ALONE], priors=priors) == [ALONE.sure]


def test_priors_count_links_by_words_with_case_folded():
    gold = [frozenset(p.sure) for p in CORPUS]
    shouted = [Pair(tuple(w.upper() for w in p.source), p.target, p.sure, p.possible) for p in CORPUS]
    priors = alignment.eflomal_priors(shouted, alignment.bridge.Directions(gold, gold))
    assert f"LEX\ts3\tt3\t{sum('s3' in p.source for p in CORPUS)}" in priors
    assert not any(line.startswith("LEX\ts3\tt1\t") for line in priors)


def test_nothing_is_left_in_the_temporary_folder(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    priors = alignment.eflomal_priors(CORPUS, alignment.eflomal_directions(CORPUS))
    alignment.eflomal(CORPUS, priors=priors)
    assert os.listdir(tmp_path) == []


def test_without_the_package_the_error_says_how_to_get_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "eflomal", None)
    with pytest.raises(ImportError, match="pip install eflomal"):
        alignment.eflomal(CORPUS)
    with pytest.raises(ImportError, match="pip install eflomal"):
        alignment.eflomal_priors(CORPUS, alignment.bridge.Directions([], []))


def test_the_library_does_not_import_the_package_by_itself():
    code = "import sys, attention_core.alignment; sys.exit('eflomal' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize(
    ("pairs", "options", "says"),
    [
        ([], {}, "`pairs` is empty"),
        ([pair("a", "")], {}, "one side of .* has none: leave it out"),
        ([pair("a", "b")], {"model": 4}, "`model` must be 1 .* got 4"),
        ([pair("a", "b")], {"training": [pair("", "b")]}, "leave it out"),
    ],
    ids=["empty", "one-sided", "model", "training"],
)
def test_what_eflomal_cannot_align_is_refused_with_the_remedy(pairs, options, says):
    with pytest.raises(ValueError, match=says):
        alignment.eflomal(pairs, **options)


def test_a_token_with_white_space_is_refused():
    spaced = Pair(("New York",), ("x",), frozenset(), frozenset())
    with pytest.raises(ValueError, match=r"white space.*New York"):
        alignment.eflomal([spaced])
