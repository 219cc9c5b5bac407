import itertools

import numpy as np
import pytest
import torch

from attention_core import datasets, normalizers
from attention_core.figures import AlignmentExplorer, alignment_explorer, base

SOURCE, TARGET = ("a", "b", "c"), ("d", "e")
WEIGHTS = [[0.5, 0.3, 0.2], [0.1, 0.1, 0.8]]


@pytest.fixture
def figure():
    return AlignmentExplorer()


def softmax(scores, temperature):
    return normalizers.softmax(torch.tensor(np.array(scores)), temperature=temperature).numpy()


def test_the_classic_example_reads_the_last_word_second(figure):
    assert figure.example.name == "I love you"
    assert figure.weights.argmax(axis=1).tolist() == [0, 2, 1]
    np.testing.assert_allclose(figure.weights, datasets.worked_alignments()["I love you"].weights, atol=1e-12)


def test_rows_sum_to_one_at_every_temperature(figure):
    for temperature in 2.0 ** np.linspace(-4, 4, 9):
        figure.temperature.value = temperature
        np.testing.assert_allclose(figure.weights.sum(axis=1), 1, atol=1e-12)


def test_every_frame_is_the_softmax_to_float32(figure):
    grid, frames = figure.view.grid, np.frombuffer(figure.view.frames, "<f4")
    for example, listed in zip(figure.examples, figure.view.examples, strict=True):
        shape = len(example.target), len(example.source)
        start = listed["offset"]
        for k in range(grid["count"]):
            exact = softmax(example.scores, 2.0 ** (grid["low"] + k * grid["step"]))
            drawn = frames[start + k * exact.size : start + (k + 1) * exact.size].reshape(shape)
            np.testing.assert_array_equal(drawn, exact.astype(np.float32))
    assert start + grid["count"] * exact.size == frames.size


def test_the_frames_are_where_the_slider_stops(figure):
    slider, grid = figure.temperature, figure.view.grid
    assert (slider.base, slider.min, slider.max) == (2, -4, 4)
    assert slider.min + (grid["count"] - 1) * slider.step == slider.max
    assert slider.step == grid["step"]


def test_frames_stay_within_budget_however_many_words():
    rng = np.random.default_rng(0)
    for count in (1, 3, 5, 40):
        words = tuple(f"w{i}" for i in range(16))
        many = [
            alignment_explorer.Example(f"s{i}", words, words, np.empty(0), rng.normal(size=(16, 16)))
            for i in range(count)
        ]
        view = AlignmentExplorer(many).view
        assert len(view.frames) <= base.MOST_BYTES
        assert count * view.grid["count"] <= base.MOST_FRAMES


def test_more_alignments_than_any_figure_can_hold_are_refused():
    one = alignment_explorer.Example("s", SOURCE, TARGET, np.empty(0), np.zeros((2, 3)))
    with pytest.raises(ValueError, match="`examples` holds 61 alignments, too many"):
        AlignmentExplorer([one] * 61)


def test_controls_change_the_weights(figure):
    before = figure.weights
    figure.temperature.value = 4.0
    assert not np.allclose(figure.weights, before)
    np.testing.assert_array_equal(figure.weights, softmax(figure.example.scores, 4.0))
    figure.sentence.index = 1
    assert figure.example.name == "look it up"
    assert figure.weights.shape == (2, 3)


def test_a_changed_control_sends_exact_float64_to_the_view(figure):
    figure.sentence.index = 1
    figure.temperature.value = 1.37  # not a stop of the slider
    sent = figure.view.exact
    assert (sent["example"], sent["temperature"]) == (1, 1.37)
    np.testing.assert_array_equal(np.array(sent["weights"]), figure.weights)


def test_another_sentence_is_shown_whole(figure):
    assert (figure.step.value, figure.step.max) == (3, 3)
    figure.sentence.index = 1
    assert (figure.step.value, figure.step.max, figure.play.max, figure.view.steps) == (2, 2, 2, 2)


def test_more_than_four_sentences_are_a_dropdown():
    many = [
        alignment_explorer.Example(f"s{i}", SOURCE, TARGET, np.empty(0), np.zeros((2, 3))) for i in range(5)
    ]
    assert type(AlignmentExplorer(many).sentence).__name__ == "Dropdown"
    assert type(AlignmentExplorer(many[:4]).sentence).__name__ == "ToggleButtons"


def test_readers_bring_their_own_sentence():
    figure = AlignmentExplorer.from_weights("a b c", "d e", WEIGHTS, name="mine")
    np.testing.assert_allclose(figure.weights, WEIGHTS, atol=1e-12)
    assert figure.sentence.options == ("mine",)
    scored = AlignmentExplorer.from_scores(SOURCE, TARGET, np.log(WEIGHTS))
    np.testing.assert_allclose(scored.weights, WEIGHTS, atol=1e-12)


def test_a_weight_of_zero_stays_zero_at_every_temperature():
    figure = AlignmentExplorer.from_weights("a b", "c", [[1.0, 0.0]])
    figure.temperature.value = 16.0
    assert figure.weights.tolist() == [[1.0, 0.0]]


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        (
            [[0.5, 0.3, 0.3], [0.1, 0.1, 0.8]],
            "`weights` must be non-negative with every row summing to 1; divide",
        ),
        ([[1.5, -0.3, -0.2], [0.1, 0.1, 0.8]], "`weights` must be non-negative"),
        ([[np.nan, 0.5, 0.5], [0.1, 0.1, 0.8]], "`weights` must be finite"),
        (
            [[0.5, 0.5], [0.5, 0.5], [0.5, 0.5]],
            r"one column a source word, \(2, 3\); got \(3, 2\). Transpose",
        ),
        ([0.5, 0.3, 0.2], r"`weights` must have 2 dimension\(s\)"),
        ([[1.0], [0.5, 0.5]], "`weights` must be a rectangular array of numbers"),
    ],
)
def test_bad_weights_are_refused_with_the_remedy(weights, message):
    with pytest.raises(ValueError, match=message):
        AlignmentExplorer.from_weights(SOURCE, TARGET, weights)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (((), TARGET, np.zeros((2, 1))), "`source` of 'yours' must be a list of 1 to 16 words"),
        (
            (SOURCE, "w " * 17, np.zeros((17, 3))),
            "`target` of 'yours' must be a list of 1 to 16 words; split",
        ),
        ((SOURCE, TARGET, np.full((2, 3), -np.inf)), "has a row in which no word may be read"),
    ],
)
def test_bad_sentences_are_refused_with_the_remedy(arguments, message):
    with pytest.raises(ValueError, match=message):
        AlignmentExplorer.from_scores(*arguments)


@pytest.mark.parametrize("temperature", [0.0, -1.0, 17.0, float("nan")])
def test_a_temperature_off_the_slider_is_refused(temperature):
    with pytest.raises(ValueError, match=r"`temperature` must lie between 0\.0625 and 16"):
        AlignmentExplorer(temperature=temperature)


def test_no_examples_are_refused():
    with pytest.raises(ValueError, match="`examples` is empty"):
        AlignmentExplorer([])


@pytest.mark.parametrize("temperature", [0.0625, 1.0, 2.5, 16.0])
@pytest.mark.parametrize("index", [0, 1])
def test_python_and_javascript_say_the_same(figure, javascript, index, temperature):
    figure.sentence.index, figure.temperature.value = index, temperature
    weights = figure.weights
    frame = {"weights": weights.tolist(), "temperature": temperature}
    for row in range(len(weights)):
        at = {"row": row, "column": -1, "written": len(weights), "locked": False}
        spoken = javascript(
            base.module("alignment_explorer"), "describe", figure.view.examples[index], frame, at
        )
        assert spoken == alignment_explorer.describe(figure.example, weights, temperature, row)


def test_python_and_javascript_draw_the_same_ribbons(javascript):
    rng = np.random.default_rng(0)
    for n, m in [(1, 1), (3, 3), (2, 5), (6, 2)]:
        weights = softmax(rng.normal(size=(n, m)), 0.7)
        drawn = javascript(base.module("alignment_explorer"), "ribbons", weights.tolist())
        assert drawn == alignment_explorer.ribbons(weights)


def test_the_ribbons_of_a_row_fill_its_chip():
    for line in alignment_explorer.ribbons(np.array(WEIGHTS)):
        ends = [[float(path.split("100L")[i].split()[-1 if i == 0 else 0]) for i in (0, 1)] for path in line]
        assert all(abs(a[1] - b[0]) <= 0.1 for a, b in itertools.pairwise(ends))
        assert ends[-1][1] - ends[0][0] == pytest.approx(0.76 * 1000 / 3, abs=0.15)
