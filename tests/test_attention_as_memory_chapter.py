"""What the chapter "Attention as a memory that is written to" says is what its cells compute."""

import contextlib
import io
import json
import math
import re
from itertools import pairwise
from pathlib import Path

import nbformat
import pytest
import torch

from attention_core import linear
from attention_core.checks import exercises
from attention_core.linear.sums import Survival

ROOT = Path(__file__).resolve().parents[1]
CHAPTER = ROOT / "chapters" / "3-variants" / "attention-as-memory.ipynb"
CELLS = {cell.id: cell.source for cell in nbformat.read(CHAPTER, as_version=4).cells}
KINDS = {cell.id: cell.cell_type for cell in nbformat.read(CHAPTER, as_version=4).cells}
QUIZ = json.loads(CHAPTER.with_suffix("").with_suffix(".quiz.json").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def text():
    """The prose, each run of white space as one blank."""
    return " ".join(" ".join(s for name, s in CELLS.items() if KINDS[name] == "markdown").split())


@pytest.fixture(scope="module")
def ran():
    """The names that the chapter's cells leave behind; under "printed", what each of them printed."""
    before, threads = torch.get_default_dtype(), torch.get_num_threads()
    scope: dict = {"printed": {}}
    with contextlib.chdir(CHAPTER.parent):
        for name, source in CELLS.items():
            if KINDS[name] == "code":
                out = io.StringIO()
                with contextlib.redirect_stdout(out):
                    exec(compile(source, name, "exec"), scope)
                scope["printed"][name] = out.getvalue()
    yield scope
    torch.set_default_dtype(before)
    torch.set_num_threads(threads)
    torch.set_printoptions(profile="default")


def as_double(rows):
    return torch.tensor(rows, dtype=torch.float64)


KEY = as_double([[1, 0], [0, 1], [0.6, 0.8]])
ROOM = as_double([[3, 1], [1, 2], [5, 0]])
ONES = torch.ones(3, dtype=torch.float64)


def near(found, *wanted, by=0.005):
    return found.flatten().tolist() == pytest.approx(wanted, abs=by)


# --- numbers that are worked out in the text


def test_what_the_archive_and_the_state_weigh(text):
    token = 32 * 8 * 128 * 2 * 2  # layers, heads, width, key and value, bytes
    assert token == 128 * 1024
    assert round(token * 100_000 / 1e9) == 13
    assert 32 * 8 * 128 * 128 * 2 == 8 * 2**20
    for said in ("128 KiB for each token", "13 gigabytes", "In the model above that is 8 MiB"):
        assert said in text


def test_the_porters_directory(text):
    two = linear.fast_weights(KEY[:2], KEY[:2], ROOM[:2]).state
    assert near(two, 3, 1, 1, 2)
    assert near(KEY[2] @ two, 2.6, 2.2)
    three = linear.fast_weights(KEY, KEY, ROOM).state
    assert near(three, 6, 1, 5, 2)
    assert near(KEY[0] @ three, 6, 1)
    assert "= (2.6, 2.2)$: where nothing was written" in text
    assert r"S^\top k_A = (6, 1)" in text
    moved = two + torch.outer(KEY[0], as_double([1, 4]))
    assert near(KEY[0] @ moved, 4, 5)
    assert "answers $(4, 5)$ from now on" in text


def test_the_delta_rule_by_hand(text):
    states = [linear.delta_rule(KEY[:n], KEY[:n], ROOM[:n], ONES[:n]).state for n in (2, 3)]
    assert near(ROOM[2] - KEY[2] @ states[0], 2.4, -2.2)
    assert near(KEY[2] @ states[1], 5, 0)
    assert near(KEY[0] @ states[1], 4.44, -0.32)
    assert "= (2.4, -2.2)$, not $(5, 0)$, and she then reads exactly $(5, 0)$" in text
    assert "Ada now reads a floor of 4.44, and not 6" in text


def test_linear_attention_by_hand(text, ran):
    features = linear.elu_plus_one(KEY)
    assert near(features, 2, 1, 1, 2, 1.6, 1.8)
    weights = features @ features[0]
    assert near(weights, 5, 4, 5)
    assert near(weights @ ROOM / weights.sum(), 3.14, 0.93)
    assert r"= (3.14,\, 0.93)" in text
    assert "3.1429, 0.9286" in ran["printed"]["linear-loop"]


def test_where_the_costs_cross(text):
    d = 128
    assert 2 * 256**2 * d == 4 * 256 * d**2
    assert 2 * 64 * d == d**2
    assert "$d = 128$, the two do equal work at $n = 2d = 256$, and from $n = d/2 = 64$ on" in text


def test_features_for_a_tenth(text):
    need = [100 * (math.exp(length) - 1) for length in (4, 16)]
    assert round(need[0]) == 5360
    assert 8.5e8 < need[1] < 9.5e8
    assert "$100\\,(e^4 - 1) = 5360$ features, then $100\\,(e^{16} - 1)$, nine hundred million" in text


@pytest.mark.parametrize(("q", "k"), [([0.6, 0.0], [0.6, 0.0]), ([0.5, 0.5], [0.3, -0.6])])
def test_the_variance_of_the_estimate_is_the_formulas(q, k):
    q, k = as_double(q), as_double(k)
    w = torch.randn(400_000, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    products = (w @ q - q @ q / 2).exp() * (w @ k - k @ k / 2).exp()
    true = (q @ k).exp()
    assert products.mean() == pytest.approx(float(true), rel=0.02)
    expected = ((q + k) @ (q + k)).exp() - 1
    assert products.var() / true**2 == pytest.approx(float(expected), rel=0.1)


def test_the_counting_argument(text):
    bits = 32 * 32 * 16
    assert bits == 16384
    assert bits // math.log2(64) == 2730
    assert r"$n \le 16384 / 6 = 2730$" in text
    assert 128 * 2 * 32 == 8192
    assert "to 8192 numbers at 128 pairs, against the matrix's 1024" in text


def test_half_lives(text):
    assert round(32 * math.log(2)) == 22
    assert round(math.log(2) / -math.log(0.97)) == 23
    assert f"{(31 / 32) ** 64:.2f}" == "0.13"
    assert "$d \\ln 2$ writes, 22 of them here" in text
    assert r"the half-life $\ln 2 / (-\ln 0.97) = 23$ tokens" in text


# --- numbers that cells compute


def test_rank_and_sharpness(ran):
    assert [int(x) for x in re.findall(r"(\d+)\n", ran["printed"]["rank"])] == [8, 64]
    assert ran["used"]["softmax"][-1] < 1.2
    assert min(ran["used"]["elu + 1"]) > 60


def test_the_performers_errors(text, ran):
    small, middle, large = ran["errors"].values()
    for fewer, more in pairwise(small):
        assert 0.4 < more / fewer < 0.7  # "four times the features, about half the error"
    assert 0.4 < middle[-1] < 0.5
    assert "4096 features leave an error of more than four tenths" in text
    assert min(large) > 0.9  # "nothing helps"
    assert "two thousand tokens would take less room" in text
    assert 2 * 2000 < 4096


def test_the_capacity_is_as_predicted(ran):
    for n, (added, best, soft) in zip(ran["loads"], ran["measured"].tolist(), strict=True):
        assert added == pytest.approx(math.sqrt((n - 1) / 32), rel=0.05)
        assert best == pytest.approx(math.sqrt(max(0, 1 - 32 / n)), abs=0.01)
        assert soft < 1e-4  # "less than one part in ten thousand"


def test_what_is_left_after_later_writes(ran):
    left = {name: share.tolist() for name, share in ran["left"].items()}
    assert left["sum"] == pytest.approx([1.0] * 65)
    assert left["delta"][22] == pytest.approx(0.5, abs=0.04)
    assert left["delta"][64] == pytest.approx((31 / 32) ** 64, abs=0.03)
    assert left["gated delta"][22] == pytest.approx(0.25, abs=0.04)


def test_a_new_chapter_and_a_stranger(text, ran):
    found = re.findall(r"error (\S+), length of an answer to a stranger (\S+)", ran["printed"]["new-chapter"])
    added, delta, gated = ([float(x) for x in row] for row in found)
    assert added[0] > 2
    assert abs(delta[0] - gated[0]) < 0.15  # "the delta rule needs no gate"
    assert 0.9 < delta[1] < 1.1  # "an answer of full length"
    assert gated[1] < 0.55
    assert "an answer of full length for a stranger, made of 256 people" in text


def test_what_is_said_of_the_measured_costs(text, ran):
    costs, names = ran["costs"], ran["names"]
    at_64 = [costs.ratios(name)[64] for name in names]
    assert 2 <= min(at_64) < 2.5
    assert 8 <= max(at_64) < 8.5
    assert "At 64 tokens each of the five is slower than the quadratic one, two to eight times" in text
    beside = [costs.ratios("delta_rule", "fast_weights")[n] for n in (1024, 2048, 4096, 8192)]
    assert 1.7 < sum(beside) / 4 < 2.3
    assert "about twice as slow as the sum" in text


def test_the_two_papers(text, ran):
    once, four = ({n: row for n, row in zip(ran["writes"], ran["papers"][t], strict=True)} for t in (1, 4))
    assert all(row["softmax"] > 0.995 for row in once.values())
    assert all(row["softmax"] < 0.4 for row in four.values())
    assert abs(four[32]["softmax"] - four[32]["sum"]) < 0.08  # "no better than the sum"
    assert 0.96 <= four[32]["delta"] < 0.995
    assert "misses one answer in fifty or so" in text
    assert all(once[n]["delta"] < once[n]["sum"] for n in (32, 64, 128))
    assert once[128]["Performer"] < once[16]["sum"] - 0.4
    assert once[64]["elu + 1"] < 0.15  # "hardly tells random keys apart"
    assert 256 * 33 // (32 * 32) == 8
    assert "eight times the state of the sum" in text


def test_what_the_network_learned(text, ran):
    last = {name: float(curve[-50:].mean()) for name, curve in ran["curves"].items()}
    assert 0.36 < last["delta, keys and β as drawn"] < 0.44
    assert "four answers in ten are right" in text
    assert 0.8 < last["delta, keys learn too"] < 0.9
    assert "With keys that may learn, more than eight" in text
    assert last["delta, keys and β learn"] > 0.99
    assert "and is practically always right" in text
    for name in ("sum, all learns", "softmax, all learns"):
        assert abs(last[name] - 2 / 3) < 0.03
    assert "stays at two thirds" in text
    assert last["softmax, recency"] > 0.97
    printed = ran["printed"]["train-run"]
    rumour = float(re.search(r"keys and β learn: .* rumour (\S+)", printed)[1])
    assert 0.15 < rumour < 0.25
    assert "only about a fifth of a rumour's surprise" in text
    assert 24 * 2 * 16 == 768
    assert "24 keys and values in store, 768 numbers, where the matrix has 256" in text


# --- exercises against the library


def test_chunk_exercise_gives_the_librarys_state():
    for case in exercises()["delta-chunk"].inputs():
        state, key, value, beta = case.values()
        u = exercises()["delta-chunk"].reference(**case)
        ours = linear.delta_rule(key, key, value, beta, initial_state=state).state
        torch.testing.assert_close(state + key.mT @ u, ours)


def test_unwriting_exercise_undoes_the_library():
    for case in exercises()["unwrite"].inputs():
        before = exercises()["unwrite"].reference(**case)
        key, value, beta = case["key"][None], case["value"][None], torch.tensor([case["beta"]]).double()
        again = linear.delta_rule(key, key, value, beta, initial_state=before).state
        torch.testing.assert_close(again, case["state"])


def test_survival_exercise_is_the_librarys():
    for case in exercises()["survival-matrix"].inputs():
        ours = Survival(case["decay"][:, None]).between.tril()
        torch.testing.assert_close(exercises()["survival-matrix"].reference(**case), ours)


def test_features_exercise_is_right_on_average():
    features = exercises()["random-features"].reference
    w = torch.randn(200_000, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    q, k = as_double([[0.5, -0.3, 0.2, 0.4]]), as_double([[0.1, 0.6, -0.2, 0.7]])
    estimate = (features(q, w) * features(k, w)).sum()
    assert estimate.item() == pytest.approx(math.exp(float((q * k).sum()) / 2), rel=0.01)


def test_the_pencil_exercise(text):
    order = [2, 0]  # Cleo, Ada
    added = linear.fast_weights(KEY[order], KEY[order], ROOM[order]).state
    assert near(KEY[2] @ added, 6.8, 0.6)
    assert "= (6.8, 0.6)$" in text
    cleo = linear.delta_rule(KEY[2:], KEY[2:], ROOM[2:], ONES[:1]).state
    assert near(ROOM[0] - KEY[0] @ cleo, 0, 1)
    both = linear.delta_rule(KEY[order], KEY[order], ROOM[order], ONES[:2]).state
    assert near(KEY[2] @ both, 5, 0.6)
    assert "= (5, 0.6)$: only the door is spoiled" in text
    gated = linear.gated_delta_rule(KEY[:2], KEY[:2], ROOM[:2], ONES[:2], ONES[:2] / 2).state
    assert near(KEY[0] @ gated, 1.5, 0.5)
    mean = (0.6 * ROOM[0] + 0.8 * ROOM[1]) / 1.4
    assert near(mean, 1.857, 1.571, by=0.0005)
    assert "/1.4 = (1.857, 1.571)$" in text


# --- the quiz, and the exercises


def test_numbers_of_the_quiz():
    whole = json.dumps(QUIZ, ensure_ascii=False)
    for said, value in (
        ("0.9⁵ = 0.59", 0.9**5),
        ("0.9¹⁰ = 0.35", 0.9**10),
        ("ln 2 / (−ln 0.9) = 6.6", math.log(2) / -math.log(0.9)),
        ("√(31/64) = 0.7", math.sqrt(31 / 64)),
    ):
        assert said in whole
        digits = len(said.split(".")[-1])
        assert round(value, digits) == float(said.split("= ")[1])


def test_every_exercise_is_checked_and_solved():
    started = set(re.findall(r"check\(\"([\w-]+)\", my_", "\n".join(CELLS.values())))
    solved = set(re.findall(r"assert check\(\"([\w-]+)\"", "\n".join(CELLS.values())))
    from attention_core.checks import attention_as_memory

    assert started == solved == {exercise.name for exercise in attention_as_memory.EXERCISES}
