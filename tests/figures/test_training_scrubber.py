"""The scrubber against its traces: what it draws is what training wrote, and under the right name."""

import json
import re
import shutil
from types import SimpleNamespace

import numpy as np
import pytest
from ipywidgets.embed import dependency_state

from attention_core import datasets, models
from attention_core.figures import TrainingScrubber, base, stylesheet
from attention_core.figures import training_scrubber_runs as module
from attention_core.figures import training_scrubber_static as drawing

from ..browser import serving
from .test_in_browser import ROOT, drawn, slide, visit, write  # noqa: F401

MODULE = base.module("training_scrubber")


def pair(source, target, sure, possible=()):
    return SimpleNamespace(
        source=tuple(source.split()),
        target=tuple(target.split()),
        sure=frozenset(sure),
        possible=frozenset({*sure, *possible}),
    )


GOLD = {
    "I love you": pair("I love you", "je t’ aime", {(0, 0), (1, 2), (2, 1)}),
    "look it up": pair("look it up", "cherchez -le", {(0, 0), (1, 1)}, {(0, 2)}),
    "the small dogs": pair(
        "the small dogs do not sleep",
        "les petits chiens ne dorment pas",
        {(0, 0), (1, 1), (2, 2), (4, 5), (3, 4), (5, 4)},
        {(3, 3), (5, 3)},
    ),
    "an extra word": pair("it rains", "il pleut donc", {(0, 0), (1, 1)}),
}


def trace(steps, loss, rate, sharp, seed):
    """A run by formula: losses and rates fall, and rows move from noise to gold."""
    share, rng = np.array(steps) / steps[-1], np.random.default_rng(seed)
    sentences = {}
    for name, p in GOLD.items():
        gold = module.gold_rows(len(p.target), len(p.source), p.sure, p.possible)
        logits = (1 - share)[:, None, None] * rng.normal(size=gold.shape)
        powers = np.exp(logits + sharp * share[:, None, None] * (gold > 0))
        weights = powers / powers.sum(axis=-1, keepdims=True)
        sentences[name] = SimpleNamespace(
            source=(*p.source, "</s>"), target=(*p.target, "</s>"), weights=weights
        )
    return SimpleNamespace(
        updates=np.array(steps),
        train_loss=loss * np.exp(-3 * share) + 0.05,
        validation_loss=loss * np.exp(-2.5 * share) + 0.1,
        aer=rate + (0.7 - rate) * np.exp(-4 * share),
        sentences=sentences,
    )


EMERGENT = trace([0, 10, 20, 40, 80, 160, 320, 640, 1280, 2560], 6.6, 0.12, 3.0, 0)
GUIDED = trace([0, 15, 30, 60, 120, 300, 480], 6.1, 0.03, 5.0, 1)


def make(**options):
    options = {"emergent": EMERGENT, "guided": GUIDED, "gold": GOLD} | options
    return TrainingScrubber(options.pop("emergent"), options.pop("guided"), **options)


@pytest.fixture(scope="module")
def made():
    return make(baselines={"diagonal": 0.46})


@pytest.fixture
def figure(made):
    put(made, "emergent", "I love you", 10)
    return made


def put(figure, kind, sentence, step):
    figure.training.value, figure.sentence.value = kind, sentence
    figure.step.value = min(step, figure.step.max)


def states(figure):
    """Every run, sentence and checkpoint; gold at a few checkpoints."""
    for kind, points in (("emergent", 10), ("guided", 7), ("gold", 10)):
        for sentence in GOLD:
            for step in range(1, points + 1):
                yield kind, sentence, step


def given(kind, sentence, step):
    """The matrix that the trace holds, or the rows that the links ask for."""
    if kind == "gold":
        p = GOLD[sentence]
        return module.gold_rows(len(p.target), len(p.source), p.sure, p.possible)
    return {"emergent": EMERGENT, "guided": GUIDED}[kind].sentences[sentence].weights[step - 1]


# -- what is drawn is what training wrote ------------------------------------------------------------------


def test_every_matrix_is_the_traces(figure):
    for state in states(figure):
        put(figure, *state)
        np.testing.assert_array_equal(figure.weights, given(*state))


def test_every_frame_is_the_traces_in_float32(figure):
    frames, view = np.frombuffer(figure.view.frames, "<f4"), figure.view
    assert frames.size == sum(run["size"] * len(run["steps"]) for run in view.runs)
    for kind, sentence, step in states(figure):
        if kind == "gold":
            continue
        run = next(run for run in view.runs if run["kind"] == kind)
        before = 0
        for listed in view.sentences:
            if listed["name"] == sentence:
                break
            before += len(listed["target"]) * len(listed["source"])
        expected = given(kind, sentence, step)
        start = run["offset"] + (step - 1) * run["size"] + before
        seen = frames[start : start + expected.size].reshape(expected.shape)
        np.testing.assert_array_equal(seen, expected.astype(np.float32))


def test_rows_sum_to_one_whoever_made_them(figure):
    for state in states(figure):
        put(figure, *state)
        np.testing.assert_allclose(figure.weights.sum(axis=1), 1, rtol=0, atol=1e-12)


def test_the_last_loss_is_below_the_first(figure):
    for kind in ("emergent", "guided"):
        put(figure, kind, "I love you", 1)
        first = figure.checkpoint
        figure.step.value = figure.step.max
        last = figure.checkpoint
        for name in ("train_loss", "validation_loss", "aer"):
            assert last[name] < first[name]
        assert last["updates"] > first["updates"]


def test_gold_rows_come_from_the_links():
    rows = module.gold_rows(
        3, 3, frozenset({(0, 0), (0, 2), (1, 1)}), frozenset({(0, 0), (0, 2), (1, 1), (1, 2)})
    )
    assert rows.tolist() == [[0.5, 0, 0.5, 0], [0, 1, 0, 0], [0, 0, 0, 1], [0, 0, 0, 1]]
    only_possible = module.gold_rows(1, 2, frozenset(), frozenset({(0, 0), (0, 1)}))
    assert only_possible.tolist() == [[0.5, 0.5, 0], [0, 0, 1]]


def test_words_that_read_where_gold_says_are_counted(figure):
    run = next(run for run in figure.view.runs if run["kind"] == "emergent")
    for s, (name, p) in enumerate(GOLD.items()):
        for k, weights in enumerate(EMERGENT.sentences[name].weights):
            best = weights[:-1].argmax(axis=1)
            linked = {*p.sure, *p.possible}
            free = set(range(len(p.target))) - {t for t, _ in linked}
            count = sum((t, c) in linked or (t in free and c == len(p.source)) for t, c in enumerate(best))
            assert run["agree"][k][s] == count
    assert run["agree"][-1] == [3, 2, 6, 3]


def test_curves_pass_through_the_numbers(figure):
    scale = figure.scale
    for run, source in zip(figure.view.runs, (EMERGENT, GUIDED), strict=True):
        for name, key in (("loss", "validation_loss"), ("train", "train_loss"), ("aer", "aer")):
            points = [list(map(float, p.split())) for p in run["paths"][name][1:].split("L")]
            top = scale["tops"]["aer" if name == "aer" else "loss"]
            values = getattr(source, key)
            np.testing.assert_allclose([100 - y for _, y in points], 100 * values / top, atol=0.006)
            np.testing.assert_allclose([x for x, _ in points], run["at"], atol=0.006)
        assert run["at"] == sorted(run["at"])
        assert all(0 <= value <= top for value in values)
    assert (figure.view.runs[0]["at"][0], figure.view.runs[0]["at"][-1]) == (0, 100)


def test_the_axis_is_logarithmic_from_zero_and_its_numbers_do_not_touch():
    assert drawing.across(0, 10, 2550) == 0
    assert drawing.across(2550, 10, 2550) == 100
    assert drawing.across(150, 10, 2550) == 50  # 256 = 16 * 16
    for unit, last in ((1, 9), (10, 2560), (50, 60000), (0.1, 16)):
        names, places = zip(*drawing.ticks(unit, last), strict=True)
        assert names[0] == "0"
        assert len(names) > 2
        assert min(np.diff(places)) >= 13
        assert places[-1] <= 100


def test_the_figure_stays_within_its_budget(figure):
    frames = sum(len(run["steps"]) for run in figure.view.runs) * len(figure.view.sentences)
    assert frames <= base.MOST_FRAMES
    state = dependency_state([figure])
    listed = json.dumps([s["state"] for s in state.values() if s["model_name"] == "AnyModel"])
    assert len(figure.view.frames) + len(listed) <= base.MOST_BYTES


def long(count, names):
    """A trace of `count` checkpoints of short sentences."""
    numbers = np.arange(count, dtype=float)
    one = SimpleNamespace(
        source=("a", "</s>"), target=("b", "</s>"), weights=np.tile(np.eye(2), (count, 1, 1))
    )
    columns = dict.fromkeys(("updates", "train_loss", "validation_loss", "aer"), numbers / count)
    return SimpleNamespace(**columns | {"updates": numbers}, sentences=dict.fromkeys(names, one))


def test_too_many_matrices_are_refused():
    many = {f"s{i}": pair("a", "b", {(0, 0)}) for i in range(10)}
    TrainingScrubber(long(30, many), gold=many)
    with pytest.raises(ValueError, match=r"`gold` asks for 310 matrices, 4960 bytes, .*pass fewer sentences"):
        TrainingScrubber(long(31, many), gold=many)


# -- never under another name ------------------------------------------------------------------------------


def test_every_picture_says_which_alignment_it_is(figure):
    others = {"emergent": "never shown a link", "guided": "supervision", "gold": "Nothing here is learned"}
    for kind, sentence, step in states(figure):
        put(figure, kind, sentence, step)
        told = drawing.describe(figure.scene())
        assert told[0].startswith(kind.capitalize())
        assert [name for name, words in others.items() if words in " ".join(told)] == [kind]
        assert drawing.caption(figure.scene()).startswith(kind.capitalize())
        html = figure.static_html()
        assert f'<span class="pa-segment pa-chosen">{kind}</span>' in html
        assert f"{kind}, validation" in html or kind == "gold"


@pytest.fixture
def shelf(monkeypatch):
    """Two models that ship, with their cards."""
    ships = {"translator-additive": (EMERGENT, 0.0), "translator-guided": (GUIDED, 1.0)}
    monkeypatch.setattr(models, "trace", lambda name: ships[name][0], raising=False)
    monkeypatch.setattr(models, "card", lambda name: {"recipe": {"guided": ships[name][1]}}, raising=False)


def test_models_are_given_by_name(shelf):
    figure = TrainingScrubber(gold=GOLD)
    assert figure.training.options == ("emergent", "guided", "gold")
    np.testing.assert_array_equal(figure.weights, EMERGENT.sentences["I love you"].weights[-1])
    figure.training.value = "guided"
    figure.step.value = 7
    np.testing.assert_array_equal(figure.weights, GUIDED.sentences["I love you"].weights[-1])


def test_a_guided_model_is_not_taken_for_an_emergent_one(shelf):
    with pytest.raises(ValueError, match=r"`emergent` 'translator-guided' was trained on gold.* as `guided`"):
        TrainingScrubber("translator-guided", gold=GOLD)
    with pytest.raises(
        ValueError, match=r"`guided` .* was trained without gold links; pass it as `emergent`"
    ):
        TrainingScrubber(None, "translator-additive", gold=GOLD)


def test_of_the_showcase_as_much_is_taken_as_fits(shelf, monkeypatch):
    names = [f"s{i}" for i in range(5)]
    showcase = {name: pair("a", "b", {(0, 0)}) for name in names}
    monkeypatch.setattr(datasets, "showcase", lambda: showcase, raising=False)
    assert TrainingScrubber(long(90, names)).sentence.options == ("s0", "s1", "s2")
    assert TrainingScrubber(long(60, names)).sentence.options == tuple(names)
    assert TrainingScrubber(long(60, names), long(40, names)).sentence.options == ("s0", "s1", "s2")


def test_gold_follows_the_first_run_and_names_it(figure):
    put(figure, "gold", "look it up", 4)
    told = drawing.describe(figure.scene())
    agree = figure.view.runs[0]["agree"][3][1]
    assert told[-1] == f"After 40 updates, {agree} of 2 words of the emergent model read there."


# -- controls ----------------------------------------------------------------------------------------------


def test_another_run_is_met_at_the_nearest_update(figure):
    put(figure, "emergent", "I love you", 5)  # update 80
    figure.training.value = "guided"
    assert (figure.checkpoint["updates"], figure.step.max, figure.play.max) == (60, 7, 7)
    figure.training.value = "gold"
    assert (figure.checkpoint["updates"], figure.step.max) == (40, 10)
    put(figure, "emergent", "I love you", 10)
    figure.training.value = "guided"
    assert (figure.step.value, figure.view.steps) == (7, 7)
    figure.step.value = 6  # update 300
    figure.training.value = "emergent"
    assert (figure.step.value, figure.checkpoint["updates"]) == (7, 320)


def test_a_changed_control_sends_exact_float64_to_the_view(figure):
    for state in (("guided", "look it up", 3), ("gold", "look it up", 3), ("emergent", "the small dogs", 6)):
        put(figure, *state)
        sent = figure.view.exact
        kinds = ("emergent", "guided", "gold")
        assert (kinds[sent["training"]], list(GOLD)[sent["sentence"]], sent["step"]) == state
        np.testing.assert_array_equal(np.array(sent["weights"]), given(*state))


def test_readers_bring_their_own_run():
    figure = TrainingScrubber(EMERGENT, gold={"look it up": GOLD["look it up"]}, sentence="look it up")
    assert figure.training.options == ("emergent", "gold")
    assert figure.sentence.options == ("look it up",)
    figure.training.value = "gold"
    assert figure.weights.tolist() == [[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 0, 1]]
    only_guided = TrainingScrubber(None, GUIDED, gold=GOLD)
    assert only_guided.training.options == ("guided", "gold")
    assert drawing.describe(only_guided.scene())[0].startswith("Guided")


def changed(**values):
    return SimpleNamespace(**{**vars(EMERGENT), **values})


def shown(**values):
    """The trace with something else in place of a part of "I love you"."""
    one = SimpleNamespace(**{**vars(EMERGENT.sentences["I love you"]), **values})
    return changed(sentences={**EMERGENT.sentences, "I love you": one})


LOVE = EMERGENT.sentences["I love you"].weights


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"emergent": long(1, GOLD)}, "`emergent` must be a trace with two checkpoints or more"),
        ({"emergent": 3}, "`emergent` must be a trace with two .*as `models.trace` gives it; got 3"),
        ({"gold": {"other": GOLD["I love you"]}}, "`gold` must hold the sentences whose matrices"),
        ({"gold": {"I love you": pair("a " * 16, "b", {(0, 0)})}}, "at most 15 words a side; leave it out"),
        ({"gold": {"I love you": pair("I love him", "je l’ aime", {(0, 0)})}}, "in the words of `gold`"),
        ({"sentence": "hello"}, "`sentence` must be one of 'I love you', .*; got 'hello'"),
        ({"emergent": changed(updates=EMERGENT.updates[::-1])}, "checkpoints in the order of training"),
        ({"emergent": changed(aer=np.full(10, np.nan))}, r"`emergent\.aer` must be finite"),
        ({"emergent": shown(weights=LOVE[:, :, :3])}, r"\(10, 4, 4\) for 'I love you'; got \(10, 4, 3\)"),
        ({"emergent": shown(weights=0.9 * LOVE)}, "rows sum to 1; those of 'I love you' do not"),
        ({"baselines": {"diagonal": 1.2}}, "`baselines` must lie between 0 and 1; got 1.2"),
    ],
)
def test_bad_input_is_refused_with_the_remedy(arguments, message):
    with pytest.raises(ValueError, match=message):
        make(**arguments)


# -- Python and JavaScript ---------------------------------------------------------------------------------


def stated(figure, row=-1, column=-1, locked=False):
    """The present picture as the view sees it."""
    scene = figure.scene()
    run = next(run for run in figure.view.runs if run["kind"] == scene.run["kind"])
    return {
        "run": run, "kind": scene.kind, "at": scene.at, "sentence": scene.sentence, "index": scene.index,
        "weights": scene.weights.tolist(), "row": row, "column": column, "locked": locked,
    }  # fmt: skip


def test_python_and_javascript_say_the_same(figure, javascript):
    for kind, sentence, step in list(states(figure))[::7]:
        put(figure, kind, sentence, step)
        spoken = javascript(MODULE, "describe", drawing.WORDS, stated(figure))
        assert spoken == drawing.describe(figure.scene())
        for name in drawing.WORDS["plots"]:
            assert javascript(MODULE, "spoken", drawing.WORDS, stated(figure), name) == drawing.spoken(
                figure.scene(), name
            )


def test_a_picked_cell_is_set_beside_gold(figure, javascript):
    put(figure, "emergent", "look it up", 10)
    say = lambda *at: javascript(MODULE, "describe", drawing.WORDS, stated(figure, *at))  # noqa: E731
    share = drawing.static.percent(figure.weights[0, 2])
    assert say(0, 2, True) == [
        f"Emergent, after 2,560 updates: “cherchez” takes {share} from “up”.",
        "Gold allows this link, but does not ask for it.",
        drawing.WORDS["emergent"],
        "Locked: press Escape to release.",
    ]
    assert say(0, 0)[1] == "Gold links them."
    assert say(0, 1)[1] == "Gold does not link them."
    put(figure, "gold", "look it up", 10)
    assert say(0, 2)[0] == "Gold: “cherchez” takes 0\u00a0% from “up”."


def test_python_and_javascript_go_to_the_same_update(figure, javascript):
    first, second = figure.view.runs
    for before, after in ((first, second), (second, first)):
        for step in range(1, len(before["steps"]) + 1):
            assert javascript(MODULE, "nearest", before, step, after) == module.nearest(before, step, after)


def test_numbers_of_updates_are_written_alike(figure, javascript):
    for step in (0, 7, 999, 1000, 2560, 1234567):
        assert javascript(MODULE, "counted", step) == drawing.counted(step)


# -- the static picture ------------------------------------------------------------------------------------


def test_the_static_picture_is_the_last_checkpoint_with_its_gold_framed(figure):
    html = figure.static_html()
    assert "10 of 10" in html
    for weight in LOVE[-1].ravel():
        assert f">{weight:.2f}<" in html
    assert html.count("pa-cell pa-sure") == 4  # </s> reads </s>
    assert html.count('class="pa-course-on"') == 2 + 1  # two curves, one in the legend
    assert f"<strong>{EMERGENT.aer[-1]:.2f}</strong>" in html
    assert "diagonal 0.46" in html


def test_words_of_the_reader_are_escaped():
    gold = {"<b>": pair("<i>", "b", {(0, 0)})}
    run = long(3, gold)
    run.sentences["<b>"].source = ("<i>", "</s>")
    html = TrainingScrubber(run, gold=gold).static_html()
    assert "<b>" not in html
    assert "<i>" not in html
    assert "&lt;b&gt;" in html


# -- in a browser ------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def origin(tmp_path_factory):
    folder = tmp_path_factory.mktemp("training-scrubber")
    shutil.copy(ROOT / "book" / "static" / "widget-host.js", folder)
    (folder / "figures.css").write_text(stylesheet(), encoding="utf-8")
    for theme in ("light", "dark"):
        write(folder, f"{theme}.html", [make(baselines={"diagonal": 0.46})], theme=theme)
    write(folder, "own.html", [make(guided=None, sentence="the small dogs")], theme="dark")
    gold = make()
    gold.training.value = "gold"
    write(folder, "gold.html", [gold])
    with serving(folder) as address:
        yield address


def data(page) -> dict:
    return page.locator(".pa-live .pa-view").evaluate("view => ({...view.dataset})")


def said(page) -> str:
    return page.locator(".pa-live .pa-sentence").inner_text().replace("\n", " ")


def caption(page) -> str:
    return page.locator(".pa-live .pa-matrix > .pa-caption").inner_text()


def stage(page):
    return page.locator(".pa-live input[type=range]")


def compare(page, figure):
    """What the picture holds is what Python has for the same controls."""
    seen, here = data(page), figure.scene()
    assert (seen["training"], seen["sentence"]) == (here.kind, here.sentence["name"])
    assert int(seen["step"]) == here.at + 1
    assert float(seen["update"]) == figure.checkpoint["updates"]
    np.testing.assert_allclose(json.loads(seen["weights"]), figure.weights, rtol=0, atol=1e-7)
    if not here.gold:
        for key, name in (("loss", "validation_loss"), ("train", "train_loss"), ("aer", "aer")):
            assert float(seen[key]) == figure.checkpoint[name]
    assert said(page) == " ".join(drawing.describe(here))
    assert caption(page) == drawing.caption(here)
    assert page.locator(".pa-live .pa-segment:has(:checked)").inner_text() == here.kind
    cells = page.locator(".pa-live .pa-cell").all_inner_texts()
    assert cells == [drawing.fixed(w) for w in np.float32(figure.weights).ravel().tolist()]


def test_the_host_draws_every_matrix_of_the_traces(visit, origin):  # noqa: F811
    page, figure = visit(f"{origin}/light.html", live=1), make()
    for kind in ("emergent", "guided", "gold"):
        page.get_by_role("radio", name=kind).check()
        figure.training.value = kind
        for sentence in GOLD:
            page.get_by_role("combobox", name="Sentence").select_option(sentence)
            figure.sentence.value = sentence
            for step in range(1, figure.step.max + 1, 3):
                slide(stage(page), step)
                figure.step.value = step
                compare(page, figure)
    assert page.faults == []


def test_the_dot_stands_on_the_curve_at_the_present_update(visit, origin):  # noqa: F811
    page, figure = visit(f"{origin}/light.html", live=1), make()
    for step in (1, 4, 10):
        slide(stage(page), step)
        at = figure.view.runs[0]["at"][step - 1]
        values = EMERGENT.validation_loss[step - 1], EMERGENT.aer[step - 1]
        for index, (value, name) in enumerate(zip(values, ("loss", "aer"), strict=True)):
            dot = page.locator(".pa-live .pa-course-dot").nth(index)
            left, top = (float(dot.evaluate(f"e => parseFloat(e.style.{side})")) for side in ("left", "top"))
            assert left == pytest.approx(at, abs=1e-3)
            assert top == pytest.approx(100 - 100 * value / figure.scale["tops"][name], abs=1e-3)


def test_the_run_keeps_its_update_when_it_changes(visit, origin):  # noqa: F811
    page, figure = visit(f"{origin}/light.html", live=1), make()
    for before, step, after in (
        ("emergent", 5, "guided"), ("guided", 6, "emergent"), ("gold", 10, "guided"), ("guided", 3, "gold"),
    ):  # fmt: skip
        page.get_by_role("radio", name=before).check()
        slide(stage(page), step)
        page.get_by_role("radio", name=after).check()
        put(figure, before, "I love you", step)
        figure.training.value = after
        compare(page, figure)
        here = int(stage(page).input_value()), int(stage(page).get_attribute("max"))
        assert here == (figure.step.value, figure.step.max)


def test_every_control_works_by_key(visit, origin):  # noqa: F811
    page = visit(f"{origin}/light.html", live=1)
    stage(page).focus()
    for key, step in [("Home", 1), ("ArrowRight", 2), ("End", 10), ("ArrowLeft", 9)]:
        page.keyboard.press(key)
        assert data(page)["step"] == str(step)
    for name, step in (("Previous", 8), ("Next", 9)):
        page.get_by_role("button", name=name).focus()
        page.keyboard.press("Enter")
        assert data(page)["step"] == str(step)
    page.get_by_role("radio", name="emergent").focus()
    for kind in ("guided", "gold"):
        page.keyboard.press("ArrowRight")
        assert data(page)["training"] == kind
        assert caption(page).startswith(kind.capitalize())
    page.get_by_role("combobox").focus()
    page.keyboard.press("ArrowDown")
    assert data(page)["sentence"] == "look it up"


def test_every_control_works_by_mouse(visit, origin):  # noqa: F811
    page = visit(f"{origin}/light.html", live=1)
    box = stage(page).bounding_box()
    page.mouse.click(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    assert data(page)["step"] in ("5", "6")
    page.get_by_role("button", name="Next").click()
    page.get_by_role("button", name="Previous").click()
    assert data(page)["step"] in ("5", "6")
    for kind in ("guided", "gold", "emergent"):
        page.locator(".pa-live .pa-segment", has_text=kind).click()
        assert data(page)["training"] == kind
    page.get_by_role("combobox").select_option("the small dogs")
    assert page.locator(".pa-live .pa-rowhead").first.inner_text() == "les"


def test_a_cell_is_looked_at_and_let_go(visit, origin):  # noqa: F811
    page = visit(f"{origin}/light.html", live=1)
    cells = page.locator(".pa-live .pa-cell")
    assert page.locator('.pa-live .pa-cell[tabindex="0"]').count() == 1
    cells.nth(0).focus()
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    page.mouse.move(2, 2)
    page.get_by_role("button", name="Previous").click()
    assert re.match(
        r"Emergent, after 1,280 updates: “t’” takes \d+\s% from “I”\. Gold does not link", said(page)
    )
    page.keyboard.press("Escape")
    assert said(page).startswith("Emergent, after 1,280 updates: 3 of 3 words")


def test_gold_frames_stand_on_the_links(visit, origin):  # noqa: F811
    page = visit(f"{origin}/light.html", live=1)
    page.get_by_role("combobox").select_option("look it up")
    framed = page.locator(".pa-live .pa-cell").evaluate_all(
        "all => all.map((e) => [e.classList.contains('pa-sure'), e.classList.contains('pa-possible')])"
    )
    kinds = {link: (True, False) for link in ((0, 0), (1, 1), (2, 3))} | {(0, 2): (False, True)}
    assert [tuple(cell) for cell in framed] == [
        kinds.get((t, s), (False, False)) for t in range(3) for s in range(4)
    ]


def test_play_walks_on_and_speaks_only_at_the_end(visit, origin):  # noqa: F811
    page = visit(f"{origin}/light.html", live=1)
    page.clock.install()
    spoken = page.locator(".pa-live .pa-spoken")
    page.get_by_role("button", name="Play").click()
    assert data(page)["step"] == "1"
    page.clock.run_for(510)
    assert data(page)["step"] == "2"
    page.clock.run_for(3000)
    assert spoken.inner_text() == ""
    page.clock.run_for(2000)
    assert data(page)["step"] == "10"
    assert spoken.inner_text().startswith("Emergent, after 2,560 updates")


def test_less_motion_leaves_the_steps_without_play(visit, origin):  # noqa: F811
    page = visit(f"{origin}/light.html", live=1, reduced_motion="reduce")
    assert page.get_by_role("button", name="Play").count() == 0
    page.get_by_role("button", name="Previous").click()
    assert data(page)["step"] == "9"


def test_fingers_get_44_pixels(visit, origin):  # noqa: F811
    page = visit(
        f"{origin}/light.html", live=1, viewport={"width": 390, "height": 800}, has_touch=True, is_mobile=True
    )
    parts = ".pa-live :is(input.pa-range, .pa-segment, .pa-buttons button, select)"
    assert min(page.locator(parts).evaluate_all("all => all.map((e) => e.offsetHeight)")) >= 44


@pytest.mark.parametrize("name", ["light", "dark", "own", "gold"])
@pytest.mark.parametrize("width", [1280, 700, 390, 320])
def test_it_fits_is_accessible_and_takes_its_static_pictures_place(visit, origin, node_modules, name, width):  # noqa: F811
    page = visit(f"{origin}/{name}.html", live=1, viewport={"width": width, "height": 800})
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    page.evaluate((node_modules / "axe-core" / "axe.min.js").read_text(encoding="utf-8"))
    found = page.evaluate("axe.run('main').then((r) => r.violations.map((v) => [v.id, v.nodes[0].html]))")
    assert found == []
    parts = (
        ".pa-caption, .pa-course-name, .pa-course-x, .pa-course-y, .pa-course-base, .pa-key, .pa-cell, "
        ".pa-legend, .pa-tile, .pa-sentence"
    )
    words = f"(card) => [...card.querySelectorAll('{parts}')].map((e) => e.textContent)"
    live, still = (page.locator(f"{side} .pa-figure").evaluate(words) for side in (".pa-live", ".pa-static"))
    assert live == still
    path = "[e.getAttribute('class'), e.getAttribute('d')]"
    curves = f"(card) => [...card.querySelectorAll('.pa-course-box path')].map((e) => {path})"
    live, still = (page.locator(f"{side} .pa-figure").evaluate(curves) for side in (".pa-live", ".pa-static"))
    assert live == still
    live, still = page.evaluate("""() => {
        const figure = document.querySelector('figure'), live = figure.offsetHeight;
        figure.removeAttribute('data-live');
        figure.querySelector('.pa-live').style.display = 'none';
        return [live, figure.offsetHeight];
    }""")
    assert abs(live - still) <= 1
    assert page.faults == []


# -- the runs that ship ------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def shipped():
    return TrainingScrubber()


def test_the_shipped_runs_fit_and_begin_with_i_love_you(shipped):
    assert shipped.training.options == ("emergent", "guided", "gold")
    assert shipped.sentence.options[:2] == ("I love you", "look it up")
    assert sum(len(run["steps"]) for run in shipped.runs) * len(shipped.sentences) <= base.MOST_FRAMES
    state = dependency_state([shipped])
    listed = json.dumps([s["state"] for s in state.values() if s["model_name"] == "AnyModel"])
    assert len(shipped.view.frames) + len(listed) <= base.MOST_BYTES


def test_the_shipped_runs_learn_to_translate_and_to_align(shipped):
    for run, least in zip(shipped.runs, (0.15, 0.06), strict=True):
        assert run["steps"][0] == 0
        for name in ("train", "validation", "aer"):
            assert run[name][-1] < run[name][0]
        assert run["aer"][-1] <= least
    assert [run["agree"][-1][0] for run in shipped.runs] == [3, 3]


def test_the_shipped_alignments_emerge_or_are_taught_as_their_names_say(shipped):
    for kind, run in zip(("additive", "guided"), shipped.runs, strict=True):
        trace = models.trace(f"translator-{kind}")
        for name, matrices in zip(shipped.sentence.options, zip(*run["weights"], strict=True), strict=True):
            np.testing.assert_array_equal(np.stack(matrices), trace.sentences[name].weights)
        assert bool(models.card(f"translator-{kind}")["recipe"]["guided"]) == (run["kind"] == "guided")
