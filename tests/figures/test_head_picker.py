import itertools
import json
import shutil

import numpy as np
import pytest
import torch

from attention_core import datasets, models
from attention_core.figures import HeadPicker, base, maps, stylesheet
from attention_core.figures import head_picker_static as drawing
from attention_core.figures.head_picker import SCALE
from attention_core.figures.head_picker_values import OURS
from attention_core.figures.ribbons import ribbons
from attention_core.models import Transformer, Vocabulary
from attention_core.models.transformer import PARTS

from ..browser import eventually, serving
from .patch_figures import choose, fits, sentence
from .test_in_browser import ROOT, drawn, visit, write  # noqa: F401

MODULE = base.module("head_picker")
STEP = 0.5 / SCALE + 1e-9  # how far a weight that travelled may be from what it was
PAIRS = list(datasets.showcase().values())


@pytest.fixture(scope="module")
def own():
    """An untrained model of the reader's, of another size: three layers of two heads."""
    torch.manual_seed(3)
    sides = (Vocabulary.build(words) for words in ([p.source for p in PAIRS], [p.target for p in PAIRS]))
    return Transformer(*sides, width=8, heads=2, layers=3).eval()


@pytest.fixture(scope="module")
def model():
    return models.load("transformer-en-fr")


@pytest.fixture(scope="module")
def figure(model):
    return HeadPicker(model)


def reading(own, text="I love you"):
    """What an untrained model reads beside the right translation: its own would go on without an end."""
    pair = datasets.showcase()[text]
    return own.read(list(pair.source), list(pair.target))


# -- numbers -------------------------------------------------------------------------------------------------


def test_weights_are_the_models_at_every_position_of_every_control(model, figure):
    for index, text in enumerate(OURS):
        expected = model.read(text)
        for number, part in enumerate(PARTS):
            figure.sentence.index, figure.part.index = index, number
            for layer, head in itertools.product(range(2), range(4)):
                figure.layer, figure.head = layer, head
                exact = getattr(expected, part)[layer, head].double().numpy()
                np.testing.assert_array_equal(figure.weights, exact)
                np.testing.assert_allclose(figure.weights.sum(1), 1, rtol=0, atol=1e-5)
    figure.sentence.index, figure.part.index, figure.layer, figure.head = 0, 2, 0, 0


def test_what_travels_is_the_attention_to_half_a_step(model, figure):
    low, high = np.frombuffer(figure.view.frames, np.uint8).astype(int).reshape(2, -1)
    sent, size = (low + 256 * high) / SCALE, 0
    for text, listed in zip(OURS, figure.view.sentences, strict=True):
        expected = model.read(text)
        flat = np.concatenate([getattr(expected, part).double().numpy().ravel() for part in PARTS])
        assert listed["offset"] == size
        np.testing.assert_allclose(sent[size : size + flat.size], flat, rtol=0, atol=STEP)
        size += flat.size
    assert size == sent.size


def test_the_kernel_sends_exact_rows_of_all_heads_of_the_part_that_is_shown(model, figure):
    for index, part in ((3, 1), (1, 0), (0, 2)):
        figure.sentence.index, figure.part.index = index, part
        assert figure.view.exact["state"] == [index, part]
        exact = np.frombuffer(figure.view.exact["rows"], "<f4")
        expected = getattr(model.read(list(OURS)[index]), PARTS[part])
        np.testing.assert_allclose(exact.reshape(expected.shape), expected, rtol=0, atol=1e-7)


def test_it_stays_inside_a_figures_budget(figure):
    assert len(figure.view.frames) + len(figure.view.exact["rows"]) <= base.MOST_BYTES
    assert len(OURS) * 3 * 2 * 4 <= base.MOST_FRAMES


def test_the_decoder_never_reads_the_word_it_is_to_write(figure):
    for read in figure.sentences:
        future = ~np.tri(len(read.target), dtype=bool)
        assert (read.weights["decoder"][..., future] == 0).all()


def test_gold_links_are_there_where_the_translation_is_the_one_they_are_of(model, own):
    known = datasets.showcase()
    for text, read in zip(OURS, HeadPicker(model).sentences, strict=True):
        right = read.target[:-1] == known[text].target
        assert read.links == (sorted(known[text].possible) if right else None)
    other = model.read("I love you", "je vous aime")
    assert HeadPicker(text=other).read.links is None
    assert "gold links" not in {fact.name for fact in HeadPicker(text=other).facts}


def test_the_sentences_of_the_book_are_translated_right_and_begin_at_the_word_meant(figure):
    known = datasets.showcase()
    for text, (source, target) in OURS.items():
        read = figure.sentences[list(OURS).index(text)]
        assert read.target[:-1] == known[text].target
        assert (read.source[read.homes[0]], read.target[read.homes[1]]) == (source, target)


def test_facts_count_weight_by_place():
    weights = np.array([[0.1, 0.6, 0.3], [0.2, 0.3, 0.5], [0.7, 0.2, 0.1]])
    found = {fact.name: fact for fact in drawing.measure(weights, "encoder", None)}
    assert found["itself"][2:] == pytest.approx((0.5 / 3, 1 / 3))
    assert found["word before"][2:] == pytest.approx((0.4 / 3, 2 / 9))
    assert found["word after"][2:] == pytest.approx((1.1 / 3, 2 / 9))
    assert found["</s>"][2:] == pytest.approx((0.9 / 3, 1 / 3))
    assert found["strongest"][2:] == pytest.approx((1.8 / 3, 1 / 3))
    cross = {fact.name: fact for fact in drawing.measure(weights, "cross", [(0, 1), (0, 2), (2, 0)])}
    assert cross["gold links"][2:] == pytest.approx((1.6 / 2, (2 / 3 + 1 / 3) / 2))
    assert cross["same place"][2:] == pytest.approx((0.5 / 3, 1 / 3))


def test_facts_of_the_decoder_spread_evenly_over_what_is_written():
    weights = np.array([[1, 0, 0], [0.4, 0.6, 0], [0.2, 0.5, 0.3]])
    found = {fact.name: fact for fact in drawing.measure(weights, "decoder", None)}
    assert found["just written"][2:] == pytest.approx((0.9 / 3, (1 / 2 + 1 / 3) / 3))
    assert found["the one before"][2:] == pytest.approx((0.5 / 3, 1 / 9))
    assert found["<s>"][2:] == pytest.approx((1.6 / 3, (1 + 1 / 2 + 1 / 3) / 3))
    assert found["strongest"][2:] == pytest.approx((2.1 / 3, (1 + 1 / 2 + 1 / 3) / 3))


# -- words ---------------------------------------------------------------------------------------------------


def cases(count=120):
    rng = np.random.default_rng(5)
    for i in range(count):
        part = PARTS[i % 3]
        n, m = rng.integers(1, 7, 2)
        m = m if part == "cross" else n
        weights = rng.dirichlet(np.full(m, 0.4), n)
        if part == "decoder":
            weights = np.tril(weights + 1e-9)
            weights /= weights.sum(1, keepdims=True)
        if i % 5 == 0:
            weights = (
                np.full((n, m), 1 / m) if part != "decoder" else np.tri(n) / np.arange(1, n + 1)[:, None]
            )
        source = (*(f"s{j}" for j in range(m - 1)), "</s>")
        target = (*("<unk>" if i % 7 == j else f"t{j}" for j in range(n - 1)), "</s>")
        links = [(r, c) for r in range(n) for c in range(m) if rng.random() < 0.3]
        row = int(rng.integers(-1, n))
        may = m if part != "decoder" or row < 0 else row + 1
        column = int(rng.integers(-1 if row >= 0 else 0, may))
        yield weights, part, (source, target), links if links and i % 2 else None, row, column


def test_python_and_javascript_measure_and_say_the_same(javascript):
    said = set()
    for weights, part, (source, target), links, row, column in cases():
        read = drawing.Read("", source, target, links, (0, 0), {})
        rows, columns = drawing.sides(read, part)
        sides = javascript(MODULE, "sides", {"source": source, "target": target}, part)
        assert sides == [list(rows), list(columns)]
        ragged = [
            line[: r + 1].tolist() if part == "decoder" else line.tolist() for r, line in enumerate(weights)
        ]
        facts = drawing.measure(weights, part, links)
        there = javascript(MODULE, "measure", ragged, part, links)
        for ours, theirs in zip(facts, there, strict=True):
            assert (theirs["name"], theirs["on"]) == (ours.name, ours.on)
            assert (theirs["share"], theirs["even"]) == pytest.approx((ours.share, ours.even), abs=1e-12)
        at = drawing.At(rows, columns, part, 1, 2, row, column)
        words = drawing.describe(at, weights, facts, locked=row == 0)
        sent = [fact._asdict() for fact in facts]
        assert words == javascript(MODULE, "describe", at._asdict(), ragged, sent, row == 0)
        said |= {part.split(" ")[0] for part in words[1:]} | {words[0].split(" reads ")[0]}
    assert {"Head 3 of layer 2", "There", "Most,", "Over", "<unk>", "Locked:"} <= said
    assert any(word.isdigit() for word in said)  # ties were among the cases


def test_the_sentence_says_which_word_is_read_and_how_much_of_it_a_head_reads(figure):
    figure.sentence.index, figure.part.index, figure.layer, figure.head = 0, 2, 1, 2
    read, line = figure.read, figure.weights[2]
    text = drawing.describe(
        drawing.At(*drawing.sides(read, "cross"), "cross", 1, 2, 2), figure.weights, figure.facts
    )
    best = read.source[line.argmax()]
    assert text[0] == f"Head 3 of layer 2 reads “{best}” with weight {line.max():.2f} when it writes “aime”."
    assert "</strong> Over the sentence " in figure.static_html()
    figure.layer = figure.head = 0


def test_the_static_picture_has_no_cell_for_what_is_not_written(figure):
    figure.sentence.index, figure.part.index = 0, 1
    html, n = figure.static_html(), len(figure.read.target)
    figure.part.index = 2
    assert html.count('class="pa-cell"') == n * (n + 1) // 2
    assert html.count("pa-unwritten") == n - 1 - figure.read.homes[1]  # words above that come later
    assert figure.static_html().count('class="pa-cell"') == n * len(figure.read.source)


# -- readers' own --------------------------------------------------------------------------------------------


def test_readers_bring_their_own_text(model):
    single = HeadPicker(text="the red cat sleeps", part="encoder", layer=1, head=3)
    expected = model.read("the red cat sleeps").encoder[1, 3].double().numpy()
    np.testing.assert_array_equal(single.weights, expected)
    assert single.sentence not in single.children[1].children
    assert "Sentence" not in single.static_html()
    assert single.read.source == ("the", "red", "cat", "sleeps", "</s>")
    two = HeadPicker("transformer-en-fr", ["they sing", "they sing"])
    assert two.sentence.options == ("they sing (1)", "they sing (2)")


def test_a_word_that_the_model_does_not_know_is_told():
    figure = HeadPicker(text="I love xylophones")
    assert "<unk>" in figure.read.source
    assert "&lt;unk&gt; is a word that the model does not know." in figure.static_html()


def test_readers_bring_their_own_model_and_translation(own):
    figure = HeadPicker(own, [reading(own), reading(own, "look it up")], part="decoder", layer=2, head=1)
    figure.sentence.index = 1
    np.testing.assert_array_equal(figure.weights, reading(own, "look it up").decoder[2, 1].double().numpy())
    assert figure.read.target == ("cherchez", "-le", "</s>")
    assert figure.view.shape == {"layers": 3, "heads": 2, "scale": SCALE}


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"part": "middle"}, ValueError, "`part` must be one of encoder, decoder, cross; got 'middle'"),
        ({"layer": 2}, ValueError, "`layer` must be an integer from 0 to 1; got 2"),
        ({"head": True}, ValueError, "`head` must be an integer from 0 to 3; got True"),
        ({"text": []}, ValueError, "`text` is empty; pass a sentence, or leave it out"),
        ({"text": [3]}, TypeError, r"`text` must be a sentence, a list of them, .* got \['int'\]"),
        (
            {"text": "I love you " * 6},
            ValueError,
            r"`text` number 0 has a source of 19 tokens, .* Shorten it",
        ),
        (
            {"text": ["I love you"] * 13},
            ValueError,
            r"13 sentences, whose 312 matrices are too many .* fewer",
        ),
        ({"model": torch.nn.Linear(2, 2)}, TypeError, "`model` must be a models.Transformer, .* got Linear"),
        ({"model": "translator-dot"}, TypeError, "`model` must be .* got Translator. Other models have no"),
        ({"model": "nobody"}, ValueError, "`name` must be one of .*transformer-en-fr"),
    ],
)
def test_bad_input_is_refused_with_the_remedy(unchecked, arguments, error, message):
    with pytest.raises(error, match=message):
        HeadPicker(**arguments)


def test_readings_of_models_of_other_sizes_do_not_mix(unchecked, model, own):
    with pytest.raises(ValueError, match="`text` holds readings of models of different size"):
        HeadPicker(text=[reading(own), model.read("I love you")])


# -- in a browser --------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def origin(tmp_path_factory, own):
    folder = tmp_path_factory.mktemp("head-picker")
    shutil.copy(ROOT / "book" / "static" / "widget-host.js", folder)
    (folder / "figures.css").write_text(stylesheet(), encoding="utf-8")
    for theme in ("light", "dark"):
        write(folder, f"{theme}.html", [HeadPicker()], theme=theme)
    write(folder, "decoder.html", [HeadPicker(text=OURS.keys(), part="decoder", layer=1, head=1)])
    write(folder, "own.html", [HeadPicker(own, reading(own), part="encoder", layer=2, head=1)])
    with serving(folder) as address:
        yield address


def told(page) -> dict[str, str]:
    return page.locator(".pa-live .pa-view").evaluate("view => ({...view.dataset})")


def cells(page) -> list[list[str]]:
    return page.locator(".pa-live .pa-grid tbody tr").evaluate_all(
        "rows => rows.map(r => [...r.querySelectorAll('[role=gridcell]')].map(c => c.textContent))"
    )


def shows(page, figure, row=None, column=-1, locked=False, tolerance=STEP) -> None:
    """Every part of the picture is of the figure's state: numbers, ribbons, small pictures, words."""
    part, read = figure.part.value, figure.read
    row = read.homes[0 if part == "encoder" else 1] if row is None else row
    ragged = json.loads(told(page)["weights"])
    weights = np.array([line + [0.0] * (figure.weights.shape[1] - len(line)) for line in ragged])
    np.testing.assert_allclose(weights, figure.weights, rtol=0, atol=tolerance)
    assert [len(line) for line in ragged] == [
        r + 1 if part == "decoder" else weights.shape[1] for r in range(len(weights))
    ]
    assert cells(page) == [[drawing.fixed(float(w)) for w in line] for line in ragged]
    rows, columns = drawing.sides(read, part)
    heads = page.locator(".pa-live .pa-grid :is(.pa-colhead, .pa-rowhead)").all_inner_texts()
    assert heads == [*columns, *rows]
    paths = page.locator(".pa-live .pa-ribbons path").evaluate_all(
        "all => all.map(p => [p.getAttribute('d'), p.classList.contains('pa-on')])"
    )
    assert [d for d, _ in paths] == list(itertools.chain(*ribbons(weights)))
    on = [
        weights[r, c] >= 0.0005 and row in (r, -1) and column in (c, -1)
        for r, c in itertools.product(range(len(rows)), range(len(columns)))
    ]
    assert [lit for _, lit in paths] == on
    facts = drawing.measure(weights, part, read.links)
    at = drawing.At(rows, columns, part, figure.layer, figure.head, row, column)
    assert sentence(page) == " ".join(drawing.describe(at, weights, facts, locked))
    bars = page.locator(".pa-live .pa-hp-fact").all_inner_texts()
    numbers = [f"{f.name}\n{drawing.fixed(f.share)} · evenly {drawing.fixed(f.even)}" for f in facts]
    assert [bar.replace("\n\n", "\n") for bar in bars] == numbers


def small(page) -> list[list[list[str]]]:
    return page.locator(".pa-live .pa-pmthumb").evaluate_all(
        "all => all.map(t => [...t.querySelectorAll('path')].map(p => [p.getAttribute('class'), "
        "p.getAttribute('d')]))"
    )


def test_the_host_draws_what_attention_core_computes(visit, origin):  # noqa: F811
    page, figure = visit(f"{origin}/light.html", live=1), HeadPicker()
    shows(page, figure, tolerance=1e-7)  # the first state is Python's own
    for index, part, (layer, head) in [(4, 1, (1, 3)), (2, 0, (0, 1)), (3, 2, (1, 2)), (1, 1, (0, 0))]:
        choose(page, "Sentence", index)
        page.locator(".pa-live input[type=radio]").nth(part).check()
        page.locator(".pa-live .pa-pmthumb").nth(4 * layer + head).click()
        page.mouse.move(2, 2)
        figure.sentence.index, figure.part.index, figure.layer, figure.head = index, part, layer, head
        shows(page, figure)
        dropped = ~np.tri(len(figure.read.target), dtype=bool) if part == 1 else None
        sent = np.rint(figure.read.weights[figure.part.value] * SCALE) / SCALE
        if figure.view.exact["state"] == [0, 2]:
            sent = figure.read.weights[figure.part.value]
        expected = [
            [[kind, d] for kind, d, _ in maps.layers(sent[i, j], top=1.0, dropped=dropped)]
            for i, j in itertools.product(range(2), range(4))
        ]
        assert small(page) == expected
    assert page.faults == []


def test_pointing_at_a_head_shows_it_and_a_click_keeps_it(visit, origin):  # noqa: F811
    page, figure = visit(f"{origin}/light.html", live=1), HeadPicker()
    thumbs = page.locator(".pa-live .pa-pmthumb")
    thumbs.nth(6).hover()
    figure.layer, figure.head = 1, 2
    shows(page, figure, tolerance=1e-7)
    assert thumbs.nth(0).get_attribute("aria-pressed") == "true"
    page.mouse.move(2, 2)
    figure.layer, figure.head = 0, 0
    shows(page, figure, tolerance=1e-7)
    thumbs.nth(6).click()
    page.mouse.move(2, 2)
    figure.layer, figure.head = 1, 2
    shows(page, figure, tolerance=1e-7)
    assert page.locator('.pa-live .pa-pmthumb[aria-pressed="true"]').get_attribute("aria-label") == (
        "Layer 2, head 3"
    )


def test_heads_are_one_tab_stop_in_which_arrows_show_and_enter_keeps(visit, origin):  # noqa: F811
    page, figure = visit(f"{origin}/light.html", live=1), HeadPicker()
    assert page.locator('.pa-live .pa-pmgrid [tabindex="0"]').count() == 1
    page.locator(".pa-live input[type=radio]:checked").focus()
    page.keyboard.press("Tab")
    for key, place in (
        ("ArrowRight", (0, 1)),
        ("ArrowDown", (1, 1)),
        ("End", (1, 3)),
        ("ArrowRight", (1, 3)),
    ):
        page.keyboard.press(key)
        figure.layer, figure.head = place
        shows(page, figure, tolerance=1e-7)
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    assert told(page)["layer"] + told(page)["head"] == "13"
    spoken = page.locator(".pa-live .pa-spoken")
    heard = eventually(page, spoken.inner_text, lambda text: "Head 4 of layer 2" in text)
    assert "Head 4 of layer 2 reads" in heard


@pytest.mark.parametrize("name", ["light", "decoder"])
def test_words_preview_lock_and_let_go(visit, origin, name):  # noqa: F811
    page, figure = visit(f"{origin}/{name}.html", live=1), HeadPicker()
    if name == "decoder":
        figure = HeadPicker(text=OURS.keys(), part="decoder", layer=1, head=1)
    matrix = page.locator(".pa-live .pa-grid")
    assert matrix.locator('[tabindex="0"]').count() == 1
    matrix.locator("tbody tr").nth(1).locator("[role=gridcell]").nth(0).hover()
    shows(page, figure, 1, 0, tolerance=1e-7)
    page.mouse.move(2, 2)
    shows(page, figure, tolerance=1e-7)
    page.locator(".pa-live .pa-chips").nth(0).locator("button").nth(1).focus()
    shows(page, figure, -1, 1, tolerance=1e-7)
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    page.locator(".pa-live select").focus()
    shows(page, figure, 1, locked=True, tolerance=1e-7)
    assert page.locator('.pa-live .pa-chip[aria-pressed="true"]').inner_text() == figure.read.target[1]
    page.keyboard.press("Escape")
    shows(page, figure, tolerance=1e-7)
    page.keyboard.press("Tab")


def test_in_the_decoder_words_that_come_later_are_dotted_and_said_to_be(visit, origin):  # noqa: F811
    page = visit(f"{origin}/decoder.html", live=1)
    above, below = (page.locator(".pa-live .pa-chips").nth(i).locator("button") for i in range(2))
    below.nth(1).click()
    dotted = above.evaluate_all("all => all.map(e => e.classList.contains('pa-unwritten'))")
    assert dotted == [False, False, True, True]
    assert above.nth(2).get_attribute("aria-label") == "t’, not yet written"
    assert page.locator(".pa-live .pa-grid tbody tr").nth(1).locator("[role=gridcell]").count() == 2


@pytest.mark.parametrize("name", ["light", "dark", "decoder", "own"])
@pytest.mark.parametrize("width", [1280, 390, 320])
def test_it_fits_is_accessible_and_takes_its_static_pictures_place(visit, origin, node_modules, name, width):  # noqa: F811
    page = visit(f"{origin}/{name}.html", live=1, viewport={"width": width, "height": 800})
    chips = [page.locator(f"{side} .pa-chip").all_text_contents() for side in (".pa-live", ".pa-static")]
    assert chips[0] == chips[1]
    fits(page, width, node_modules, ".pa-hp-fact, .pa-caption, .pa-cell, .pa-sentence")


def test_what_is_left_in_print_is_the_first_state(visit, origin):  # noqa: F811
    page = visit(f"{origin}/dark.html", live=1)
    page.locator(".pa-live .pa-pmthumb").nth(7).click()
    page.emulate_media(media="print")
    assert not page.locator(".pa-live").is_visible()
    assert page.locator(".pa-static .pa-sentence").inner_text().startswith("Head 1 of layer 1")
