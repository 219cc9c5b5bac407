import itertools
import shutil
from types import SimpleNamespace
from typing import ClassVar

import numpy as np
import pytest
import torch
from ipywidgets.embed import dependency_state

from attention_core import datasets, models, normalizers
from attention_core.figures import AlignmentExplorer, alignment_explorer, base, stylesheet

from ..browser import serving
from .test_in_browser import ROOT, drawn, visit, write  # noqa: F401

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


# -- what a trained model makes of a sentence --------------------------------------------------------------


class Stub:
    """Answers as a translator does, from a table; a word that is not in it is `<unk>`."""

    attention = "additive"
    words: ClassVar = {"I": ("je", 0), "love": ("aime", 2), "you": ("t’", 1)}

    def __init__(self, loss=0.0):
        self.asked, self.loss = [], loss

    def translate(self, text):
        self.asked.append(text)
        tokens = text.split()
        order = sorted(range(len(tokens)), key=lambda i: self.words.get(tokens[i], ("", i))[1])
        source = [*(t if t in self.words else "<unk>" for t in tokens), "</s>"]
        target = [*(self.words.get(tokens[i], ("<unk>",))[0] for i in order), "</s>"]
        weights = torch.full((len(target), len(source)), 0.04 / (len(source) - 1), dtype=torch.float32)
        weights[range(len(target)), [*order, len(tokens)]] = 0.96 - self.loss
        return SimpleNamespace(
            text=" ".join(target[:-1]), source=tuple(source), target=tuple(target), weights=weights
        )


@pytest.fixture
def asked():
    return AlignmentExplorer.from_translator(Stub(), ["I love you", "you love"], note="From a table.")


def test_a_translators_weights_are_drawn_as_it_gave_them(asked):
    assert asked.weights.argmax(axis=1).tolist() == [0, 2, 1, 3]
    np.testing.assert_allclose(asked.weights.sum(axis=1), 1, rtol=0, atol=1e-12)
    np.testing.assert_allclose(asked.weights, Stub().translate("I love you").weights, atol=1e-6)
    assert asked.example.target == ("je", "t’", "aime", "</s>")
    assert asked.sentence.options == ("I love you", "you love")
    assert type(asked.sentence).__name__ == "Dropdown"


def test_the_sentence_says_where_learned_weights_come_from(asked, javascript):
    asked.temperature.value = 2.0
    told = alignment_explorer.describe(asked.example, asked.weights, 2.0, 1)
    assert told[-2:] == [
        "Temperature 2 flattens every row; the translation is kept.",
        "From a table.",
    ]
    at = {"row": 1, "column": -1, "written": 4, "locked": False}
    frame = {"weights": asked.weights.tolist(), "temperature": 2.0}
    module = base.module("alignment_explorer")
    assert javascript(module, "describe", asked.view.examples[0], frame, at) == told
    plain = AlignmentExplorer.from_translator(Stub(), "I love you")
    assert plain.example.note == "Weights learned by a translator with additive attention."


@pytest.mark.parametrize(
    ("guided", "taught"), [(0.0, "on sentences and translations alone"), (1.0, "on gold links too")]
)
def test_a_model_that_ships_is_named_with_its_seed(monkeypatch, guided, taught):
    card = {"recipe": {"guided": guided, "seed": 7}}
    monkeypatch.setattr(models, "card", {"translator-x": card}.__getitem__, raising=False)
    monkeypatch.setattr(models, "load", {"translator-x": Stub()}.__getitem__, raising=False)
    figure = AlignmentExplorer.from_translator("translator-x", ["I love you"])
    assert figure.example.note == f"Weights learned by translator-x (seed 7), trained {taught}."
    assert figure.example.note in figure.static_html()


def test_the_guided_translator_reads_the_last_word_second():
    figure = AlignmentExplorer.from_translator("translator-guided", ["I love you", "look it up"])
    assert figure.example.target == ("je", "t’", "aime", "</s>")
    assert figure.weights.argmax(axis=1).tolist() == [0, 2, 1, 3]
    for index in (0, 1):
        figure.sentence.index = index
        np.testing.assert_allclose(figure.weights.sum(axis=1), 1, rtol=0, atol=1e-12)
    note = figure.example.note
    assert note.startswith("Weights learned by translator-guided (seed ")
    assert note.endswith("trained on gold links too.")


def test_an_unknown_word_is_drawn_as_one(asked):
    asked.add("I love turnips")
    assert asked.example.source == ("I", "love", "<unk>", "</s>")
    assert "&lt;unk&gt;" in asked.static_html()


def test_one_more_sentence_is_translated_and_shown(asked):
    asked.temperature.value = 0.5
    example = asked.add("you I")
    assert (asked.sentence.index, asked.sentence.value, asked.example) == (2, "you I", example)
    assert (asked.step.value, asked.step.max) == (3, 3)
    exact = asked.view.exact
    assert (exact["example"], exact["temperature"]) == (2, 0.5)
    np.testing.assert_array_equal(np.array(exact["weights"]), softmax(example.scores, 0.5))
    assert [listed["name"] for listed in asked.view.examples] == ["I love you", "you love", "you I"]
    start, grid = asked.view.examples[2]["offset"], asked.view.grid
    frames = np.frombuffer(asked.view.frames, "<f4")[start:].reshape(grid["count"], 3, 3)
    at_one = round(-grid["low"] / grid["step"])
    np.testing.assert_array_equal(frames[at_one], softmax(example.scores, 1.0).astype(np.float32))


def test_a_sentence_that_is_there_is_only_turned_to(asked):
    asked.add("you love")
    assert (asked.sentence.index, len(asked.examples)) == (1, 2)
    assert asked.translator.asked == ["I love you", "you love"]


def test_a_sentence_too_many_leaves_the_figure_as_it_was():
    figure = AlignmentExplorer.from_translator(Stub(), [f"I love you {i}" for i in range(60)])
    with pytest.raises(ValueError, match="`examples` holds 61 alignments, too many"):
        figure.add("you I")
    assert (len(figure.examples), figure.sentence.index) == (60, 0)


def test_a_box_takes_the_readers_sentence(asked):
    box, answer, figure = asked.ask().children
    assert figure is asked
    box.value = "you love I"
    assert (answer.value, asked.example.name) == ("je t’aime", "you love I")
    box.value = "love you madly now"
    assert answer.value == "t’aime &lt;unk&gt; &lt;unk&gt; (2 words are unknown to the model: &lt;unk&gt;)"
    box.value = "word " * 16
    assert "must be a list of 1 to 16 words; split the sentence" in answer.value
    assert asked.example.name == "love you madly now"
    box.value = "  "
    assert asked.example.name == "love you madly now"


def test_what_a_page_saves_of_it_holds_no_box(asked):
    names = {m["model_name"] for m in dependency_state([asked]).values()}
    assert "TextModel" not in names
    assert "TextModel" in {m["model_name"] for m in dependency_state([asked.ask()]).values()}


@pytest.mark.parametrize(
    ("translator", "sentences", "error", "message"),
    [
        (Stub(loss=0.3), "I love you", ValueError, r"the rows of this one do not sum to 1 .local-p"),
        (Stub(), [3], TypeError, "`sentences` must be texts; got int: 3"),
        (Stub(), [], ValueError, "`examples` is empty"),
        (Stub(), "I " * 16, ValueError, "must be a list of 1 to 16 words; split"),
    ],
)
def test_what_cannot_be_translated_is_refused_with_the_remedy(
    unchecked, translator, sentences, error, message
):
    with pytest.raises(error, match=message):
        AlignmentExplorer.from_translator(translator, sentences)


def test_a_translator_without_attention_is_refused():
    bare = SimpleNamespace(
        translate=lambda text: SimpleNamespace(text="", source=("</s>",), target=("</s>",), weights=None),
        attention="none",
    )
    with pytest.raises(ValueError, match="`translator` has no attention, so there is nothing to draw; load"):
        AlignmentExplorer.from_translator(bare, "I love you")


def test_only_a_figure_of_a_translator_takes_more_sentences(figure):
    with pytest.raises(ValueError, match="`add` needs a translator; make the figure with `from_translator`"):
        figure.add("I love you")


@pytest.fixture(scope="module")
def origin(tmp_path_factory):
    folder = tmp_path_factory.mktemp("alignment-explorer")
    shutil.copy(ROOT / "book" / "static" / "widget-host.js", folder)
    (folder / "figures.css").write_text(stylesheet(), encoding="utf-8")
    sentences = ["I love you", "love you", "you love the small dogs that sing"]
    for theme in ("light", "dark"):
        figure = AlignmentExplorer.from_translator(Stub(), sentences, note="From a table.")
        write(folder, f"{theme}.html", [figure], theme=theme)
    with serving(folder) as address:
        yield address


def test_the_host_draws_a_translators_weights_for_every_sentence(visit, origin):  # noqa: F811
    page = visit(f"{origin}/light.html", live=1)
    for sentence in ("love you", "you love the small dogs that sing", "I love you"):
        page.get_by_role("combobox", name="Sentence").select_option(sentence)
        expected = Stub().translate(sentence)
        np.testing.assert_allclose(drawn(page, "alignment-explorer"), expected.weights, rtol=0, atol=1e-6)
        assert tuple(page.locator(".pa-live .pa-rowhead").all_inner_texts()) == expected.target
    assert "From a table." in page.locator(".pa-live .pa-sentence").inner_text()
    assert page.locator(".pa-live input:not([type=range])").count() == 0  # no box where there is no kernel
    assert page.faults == []


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390, 320])
def test_it_fits_is_accessible_and_takes_its_static_pictures_place(visit, origin, node_modules, theme, width):  # noqa: F811
    page = visit(f"{origin}/{theme}.html", live=1, viewport={"width": width, "height": 800})
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    page.evaluate((node_modules / "axe-core" / "axe.min.js").read_text(encoding="utf-8"))
    found = page.evaluate("axe.run('main').then((r) => r.violations.map((v) => [v.id, v.nodes[0].html]))")
    assert found == []
    live, still = page.evaluate("""() => {
        const figure = document.querySelector('figure'), live = figure.offsetHeight;
        figure.removeAttribute('data-live');
        figure.querySelector('.pa-live').style.display = 'none';
        return [live, figure.offsetHeight];
    }""")
    assert abs(live - still) <= 1
