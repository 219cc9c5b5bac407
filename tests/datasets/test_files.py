"""Pairs from a file: what is read, what is left out and said."""

import pytest

from attention_core.datasets import read_pairs


@pytest.fixture
def written(tmp_path):
    def write(content, name="pairs.tsv"):
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    return write


def test_two_columns_are_read_and_more_ignored(written):
    corpus = read_pairs(written("I love you.\tJe t'aime.\tCC-BY (France)\t#1\nLook it up!\tCherchez-le !\n"))
    assert [(pair.source, pair.target) for pair in corpus.pairs] == [
        (("I", "love", "you", "."), ("je", "t’", "aime", ".")),
        (("look", "it", "up", "!"), ("cherchez", "-le", "!")),
    ]
    assert all(pair.possible == pair.sure == frozenset() for pair in corpus.pairs)
    assert corpus.skipped == {}
    assert str(corpus) == f"2 pairs read from {corpus.path}; no line was skipped."


MIXED = (
    b"\xef\xbb\xbfGo.\tVa.\r\n"  # 1: a byte order mark
    b"\n"  # 2
    b"no tab here\n"  # 3
    b"caf\xe9\tcaf\xe9\n"  # 4: Latin-1
    + b"a" * 10_000 + b"\tb\n"  # 5
    + b"GO!\tva !\n"  # 6: line 1 again
    b"\tseul\n"  # 7
    b"alone\t\n"  # 8
    b"Run.\tCours."  # 9: no newline at the end
)  # fmt: skip


def test_unusable_lines_are_counted_by_reason_with_the_first_of_each(written):
    corpus = read_pairs(written(MIXED))
    assert [pair.target for pair in corpus.pairs] == [("va", "."), ("cours", ".")]
    assert corpus.skipped == {
        "empty": 3,
        "no second column": 1,
        "not UTF-8": 1,
        "too long": 1,
        "duplicate": 1,
    }
    assert corpus.first_line == {
        "empty": 2,
        "no second column": 3,
        "not UTF-8": 4,
        "too long": 5,
        "duplicate": 6,
    }


def test_a_corpus_says_itself_in_one_sentence(written):
    path = written(MIXED)
    assert str(read_pairs(path)) == (
        f"2 pairs read from {path}; 7 lines skipped: 3 empty (first: line 2), 1 no second column "
        "(first: line 3), 1 not UTF-8 (first: line 4), 1 too long (first: line 5), 1 duplicate "
        "(first: line 6)."
    )


def test_longest_counts_characters_of_either_side(written):
    path = written("abc\tabcdef\nabcdef\tabc\nab\tab\n")
    assert read_pairs(path, longest=5).skipped == {"too long": 2}
    assert read_pairs(path, longest=6).skipped == {}


def test_one_sentence_may_have_two_translations(written):
    assert len(read_pairs(written("Run.\tCours.\nRun.\tCourez.\n")).pairs) == 2


@pytest.mark.parametrize(
    "content",
    [b"", b"\n\n", b"Go.;Va.\n", "Go.\tVa.\n".encode("utf-16"), b"caf\xe9\tcaf\xe9\n"],
    ids=["nothing", "empty lines", "semicolons", "UTF-16", "Latin-1"],
)
def test_a_file_without_a_usable_line_is_refused_with_the_remedy(written, content):
    with pytest.raises(ValueError, match=r"0 pairs read .* an English sentence, a tab .* UTF-8"):
        read_pairs(written(content))


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"there is no file .*nowhere\.tsv"):
        read_pairs(tmp_path / "nowhere.tsv")
    with pytest.raises(FileNotFoundError, match="there is no file"):
        read_pairs(tmp_path)


@pytest.mark.parametrize("longest", [0, -1, True, 2.5])
def test_a_wrong_limit_is_refused(written, longest):
    with pytest.raises(ValueError, match="`longest` must be a number of characters"):
        read_pairs(written("a\tb\n"), longest=longest)
