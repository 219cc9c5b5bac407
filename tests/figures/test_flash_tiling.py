import itertools
import json
import math
import shutil

import numpy as np
import pytest
from ipywidgets.embed import dependency_state

from attention_core import reference
from attention_core.figures import FlashTiling, base, stylesheet, tiling_runs
from attention_core.figures import flash_tiling as module
from attention_core.figures import flash_tiling_static as drawing
from attention_core.flash import cost, loops
from attention_core.flash.visible import Visible

from ..browser import serving
from .test_in_browser import ROOT, drawn, slide, visit, write  # noqa: F401

MODULE = base.module("flash_tiling")
STATES = list(itertools.product(("standard", "flash"), (8, 16, 32), (False, True)))
SIZES = [(64, 64, 16, 16), (50, 61, 5, 3), (8, 64, 4, 7), (2, 2, 1, 1)]


def inputs(n, m, d, dv, seed=0):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(n, d)), rng.normal(size=(m, d)), rng.normal(size=(m, dv))


def named(query, key, value):
    return {"query": query, "key": key, "value": value}


@pytest.fixture(scope="module")
def made():
    return FlashTiling()


@pytest.fixture
def figure(made):
    put(made, "flash", 16, False, 7)
    return made


def put(figure, kernel, tile, causal, step):
    figure.kernel.value, figure.tile.value, figure.causal.value = kernel, tile, causal
    figure.step.value = step


def scene(figure, step):
    return figure.scene(figure.kernel.value, figure.tile.value, figure.causal.value, step)


def allowed(n, m, causal):
    """Query i sees keys to its own place, where the last query sees the last key."""
    return np.array([[not causal or j <= i + m - n for j in range(m)] for i in range(n)])


# -- what the schedules do ---------------------------------------------------------------------------------


@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize("causal", [False, True])
def test_every_schedule_ends_at_exact_attention(size, causal):
    given = inputs(*size)
    mask = allowed(*size[:2], causal)
    slow = reference.attend(*given, mask=mask)[0]
    for kernel, tile in itertools.product(("standard", "flash"), (8, 16, 32)):
        run = tiling_runs.record(given, kernel, tile, causal)
        np.testing.assert_allclose(run.output, slow, rtol=0, atol=1e-12)


def test_the_difference_that_the_figure_states_is_the_one_from_exact_attention(made):
    for kernel, tile, causal in STATES:
        put(made, kernel, tile, causal, 1)
        slow = reference.attend(*made.inputs, mask=allowed(64, 64, causal))[0]
        assert made.difference < 1e-12
        assert (
            abs(made.difference - np.abs(made.output - slow).max()) < 2e-15
        )  # the two exact ones differ too
        assert drawing.small(made.difference) in " ".join(drawing.describe(scene(made, 1)))


def test_a_schedule_that_is_not_exact_says_so(made, monkeypatch):
    """The sentence's number is computed: an output that is off by 0.25 is reported as 0.25."""
    run = made.runs["flash", 16, False]
    off = run._replace(output=run.output + 0.25)
    monkeypatch.setitem(made.runs, ("flash", 16, False), off)
    said = drawing.describe(made.scene("flash", 16, False, 16))[0]
    assert said.endswith("the largest difference from exact attention is 0.25.")


@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize("tile", [8, 16, 32])
@pytest.mark.parametrize("causal", [False, True])
def test_the_traffic_of_flash_is_the_formulas_and_the_loops(size, tile, causal):
    n, m, d, dv = size
    given = inputs(*size)
    total = tiling_runs.record(given, "flash", tile, causal).steps[-1].traffic
    formula = cost.tiled(n, m, d, dv, rows=tile, cols=tile, causal=causal)
    assert total.bytes == formula.bytes
    assert total.loaded == 2 * formula.loads
    arrays = dict(zip(("query", "key", "value"), (x[None, None] for x in given), strict=True))
    memory = loops.SlowMemory(**arrays, output=np.empty((1, 1, n, dv)), lse=np.empty((1, 1, n)))
    loops.tiled(memory, Visible(n, m, causal), 0, 0, 1.0, tile=(tile, tile))
    assert total == (2 * memory.loads, 2 * (memory.stores - n) + 4 * n)  # lse is float32


@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize("tile", [8, 16, 32])
def test_the_traffic_of_the_standard_schedule_is_the_formulas_causal_or_not(size, tile):
    formula = cost.standard(*size)
    for causal in (False, True):
        run = tiling_runs.record(inputs(*size), "standard", tile, causal)
        assert run.steps[-1].traffic == (2 * formula.loads, 2 * formula.stores)
        assert run.steps[-1].traffic.bytes == formula.bytes


def test_traffic_never_falls_and_every_step_moves_something(made):
    for run in made.runs.values():
        moved = [step.traffic.bytes for step in run.steps]
        assert moved[0] > 0
        assert (np.diff(moved) > 0).all()


@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize("causal", [False, True])
def test_a_tile_is_a_step_unless_the_mask_empties_it(size, causal):
    n, m = size[:2]
    may = allowed(n, m, causal)
    for tile in (8, 16, 32):
        run = tiling_runs.record(inputs(*size), "flash", tile, causal)
        places = [(s.rows.start, s.cols.start) for s in run.steps]
        grid = itertools.product(range(0, n, tile), range(0, m, tile))
        assert places == [(r, c) for r, c in grid if may[r : r + tile, c : c + tile].any()]


@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize("causal", [False, True])
def test_maximum_and_sum_are_those_of_the_keys_met_so_far(size, causal):
    query, key, _ = given = inputs(*size)
    scores = np.where(allowed(*size[:2], causal), query @ key.T / math.sqrt(size[2]), -np.inf)
    for tile in (8, 16, 32):
        for step in tiling_runs.record(given, "flash", tile, causal).steps:
            met = scores[step.rows, : step.cols.stop]
            np.testing.assert_allclose(step.maximum, met.max(axis=1), rtol=0, atol=1e-12)
            total = np.exp(met - met.max(axis=1, keepdims=True)).sum(axis=1)
            np.testing.assert_allclose(step.total, total, rtol=1e-12)
        for step in tiling_runs.record(given, "standard", tile, causal).steps:
            known = [] if step.phase == tiling_runs.SCORES else scores[step.rows].max(axis=1)
            np.testing.assert_allclose(step.maximum, known, rtol=0, atol=1e-12)


def test_what_is_in_fast_memory_adds_up_to_the_formulas(made):
    for tile in (8, 16, 32):
        run = made.runs["flash", tile, False]
        assert sum(run.sram[tiling_runs.TILE].values()) == run.cost.sram
        assert run.cost == cost.tiled(64, 64, 16, rows=tile, cols=tile)
    over = [drawing.sram(made.runs["flash", t, False], 0, 4096)["over"] for t in (8, 16, 32)]
    assert over == [False, False, True]  # the figure's question has one answer


def test_larger_tiles_move_fewer_bytes(made):
    for causal in (False, True):
        moved = [made.runs["flash", t, causal].steps[-1].traffic.bytes for t in (8, 16, 32)]
        assert moved == sorted(moved, reverse=True)


def test_the_query_shown_first_is_one_whose_maximum_rises_most_often(made):
    for causal, tile in itertools.product((False, True), (8, 16, 32)):
        steps = made.runs["flash", tile, causal].steps
        for start in range(0, 64, tile):
            tops = np.array([s.maximum for s in steps if s.rows.start == start])
            rises = (np.diff(tops, axis=0) > 0).sum(axis=0)
            query = tiling_runs.telling(
                made.runs["flash", tile, causal].scores, slice(start, start + tile), tile, causal
            )
            assert rises[query - start] == rises.max()


# -- what travels to the view ------------------------------------------------------------------------------


def test_the_frames_are_within_budget(made):
    view = made.view
    raw = sum(len(getattr(view, name)) for name in ("table", "statistics", "scores", "weights"))
    assert sum(run["count"] for run in view.runs) <= base.MOST_FRAMES
    assert raw + len(json.dumps([view.runs, view.words])) <= base.MOST_BYTES
    largest = FlashTiling(*inputs(64, 64, 64, 64)).view
    assert sum(run["count"] for run in largest.runs) == sum(run["count"] for run in view.runs)


def test_the_frames_hold_every_step_exactly_and_the_matrices_to_their_stated_scale(made):
    view = made.view
    table = np.frombuffer(view.table, "<i4").reshape(-1, 8)
    statistics = np.frombuffer(view.statistics, "<f8").reshape(-1, 2)
    row = offset = 0
    for listed, run in zip(view.runs, made.runs.values(), strict=True):
        assert (listed["first"], listed["count"]) == (row, len(run.steps))
        assert listed["statistics"] == offset
        for step in run.steps:
            phase, r0, r1, c0, c1, loaded, stored, query = table[row]
            assert (phase, loaded, stored) == (step.phase, *step.traffic)
            assert (slice(r0, r1), slice(c0, c1)) == (step.rows, step.cols)
            assert r0 <= query < r1
            part = statistics[offset : offset + len(step.maximum)]
            np.testing.assert_array_equal(part, np.stack([step.maximum, step.total], axis=1))
            row, offset = row + 1, offset + len(step.maximum)
    assert (row, offset) == (len(table), len(statistics))
    low, pitch = view.scale
    query, key, _ = made.inputs
    scores = low + pitch * np.frombuffer(view.scores, "<u2").reshape(64, 64)
    np.testing.assert_allclose(scores, query @ key.T / 4, rtol=0, atol=0.501 * pitch)
    weights = np.frombuffer(view.weights, "<u2").reshape(2, 64, 64) / 65535
    for causal in (False, True):
        exact = reference.attend(*made.inputs, mask=allowed(64, 64, causal))[1]
        np.testing.assert_allclose(weights[int(causal)], exact, rtol=0, atol=0.501 / 65535)


VIEW = """(state, kind) => {
    const bytes = (name) => new DataView(new Uint8Array(state[name]).buffer);
    const model = { get: (name) => (["table", "statistics"].includes(name) ? bytes(name) : state[name]) };
    const runs = read(model), [n, m] = state.size, all = [];
    [0, 1].forEach((kernel) => [8, 16, 32].forEach((tile, t) => [false, true].forEach((causal, c) => {
        const index = (k) => (k * 3 + t) * 2 + c;
        const run = runs[index(kernel)], other = runs[index(1 - kernel)];
        run.steps.forEach((step, at) => [step.query, step.r1 - 1].forEach((query) => {
            const scene = { run, other, at, tile, causal, query, n, m };
            const states = boxes(scene).map((box) => box.state).join(" ");
            all.push([describe(scene, state.words), states, rescale(scene)]);
        }));
    })));
    return all;
}"""


@pytest.mark.parametrize("size", [None, (50, 61, 5, 3)], ids=str)
def test_python_and_javascript_say_and_mark_the_same(size, javascript):
    figure = FlashTiling(*(inputs(*size) if size else ()))
    names = ("size", "runs", "words")
    state = {name: json.loads(json.dumps(getattr(figure.view, name))) for name in names}
    state |= {name: list(getattr(figure.view, name)) for name in ("table", "statistics")}
    seen = iter(javascript(MODULE, VIEW, state))
    for kernel, tile, causal in STATES:
        for at, step in enumerate(figure.runs[kernel, tile, causal].steps):
            first = figure.scene(kernel, tile, causal, at + 1)
            for each in (first, first._replace(query=step.rows.stop - 1)):
                said, marks, factor = next(seen)
                assert said == drawing.describe(each)
                assert marks.split() == [state or "none" for state, *_ in drawing.boxes(each)]
                expected = drawing.rescale(each)
                assert factor == (None if expected is None else pytest.approx(expected, rel=1e-14))
    assert next(seen, None) is None


def test_what_the_sentence_says_of_the_maximum_is_so(made):
    query, key, _ = made.inputs
    scores = query @ key.T / 4
    for tile in (8, 16, 32):
        for at, step in enumerate(made.runs["flash", tile, False].steps[:-1]):
            here = made.scene("flash", tile, False, at + 1)
            said = drawing.describe(here)[0]
            old, new = scores[here.query, : step.cols.start], scores[here.query, step.cols]
            kind = "begin" if not len(old) else "larger score" if new.max() > old.max() else "did not rise"
            assert kind in said
            if kind == "larger score":
                assert said.endswith(f"multiplied by {math.exp(old.max() - new.max()):.2f}.")


@pytest.mark.parametrize(
    ("state", "sentences"),
    [
        (
            ("flash", 32, False, 4),
            ["12,544 bytes instead of 40,960, and", "No score was ever stored.", "needs 9.3\u00a0KiB"],
        ),
        (("flash", 8, True, 36), ["22,784 bytes instead of 40,960", "28 of 64 tiles were skipped"]),
        (("flash", 16, False, 7), ["8.6\u00a0KiB moved so far.", "20,736 bytes in all, standard 40,960"]),
        (("standard", 16, True, 12), ["4,096 of each, were stored", "The mask saved nothing"]),
        (("standard", 16, False, 5), ["Pass 2 of 3: the scores of queries 0 to 15 are loaded again"]),
    ],
)  # fmt: skip
def test_the_sentence_of_some_states(made, state, sentences):
    said = " ".join(drawing.describe(made.scene(*state)))
    for sentence in sentences:
        assert sentence in said


# -- controls, values, errors ------------------------------------------------------------------------------


def test_values_are_read_from_python(figure):
    assert figure.traffic == figure.run.steps[6].traffic
    loaded = 2 * 256 + 7 * 512  # two tiles of queries, seven of keys and values, of 16 x 16 elements each
    assert figure.traffic == (2 * loaded, 2 * 256 + 4 * 16)
    exact = reference.attend(*figure.inputs)
    np.testing.assert_allclose(figure.weights, exact[1], rtol=0, atol=1e-12)
    np.testing.assert_allclose(figure.output, exact[0], rtol=0, atol=1e-12)
    figure.causal.value = True
    masked = reference.attend(*figure.inputs, mask=allowed(64, 64, True))
    np.testing.assert_allclose(figure.weights, masked[1], rtol=0, atol=1e-12)
    np.testing.assert_allclose(figure.output, masked[0], rtol=0, atol=1e-12)


def test_another_schedule_is_entered_as_far_as_this_one_was(figure, javascript):
    for kernel, tile, causal in STATES:
        for control, value in ((figure.kernel, kernel), (figure.tile, tile), (figure.causal, causal)):
            step, before = figure.step.value, figure.step.max
            control.value = value
            last = len(figure.run.steps)
            assert (figure.step.max, figure.play.max, figure.view.steps) == (last, last, last)
            assert figure.play.value == figure.step.value
            assert abs(figure.step.value / last - step / before) <= max(0.5 / last, 1 / last - step / before)
    every = [(s, a, b) for a in (3, 4, 12, 64) for b in (3, 10, 36) for s in (1, a // 2, a)]
    seen = javascript(MODULE, "(all) => all.map((each) => movedOn(...each))", every)
    assert seen == [module.moved_on(*each) for each in every]
    assert all(1 <= step <= b for step, (_, _, b) in zip(seen, every, strict=True))
    assert module.moved_on(12, 12, 64) == 64  # whoever is at the end stays there
    assert module.moved_on(1, 64, 3) == 1


def test_the_checkbox_is_saved_with_its_value(made):
    """Without it, ipywidgets' own front end links `undefined` to the view."""
    made.causal.value = False
    saved = dependency_state([made], drop_defaults=True)[made.causal.model_id]
    assert saved["model_name"] == "CheckboxModel"
    assert saved["state"]["value"] is False


def test_readers_bring_their_own_queries_keys_and_values():
    query, key, value = given = inputs(9, 30, 4, 2)
    figure = FlashTiling(query=query, key=key, value=value, causal=True, tile=8)
    exact = reference.attend(*given, mask=allowed(9, 30, True))
    np.testing.assert_allclose(figure.weights, exact[1], rtol=0, atol=1e-12)
    np.testing.assert_allclose(figure.output, exact[0], rtol=0, atol=1e-12)
    assert figure.run.steps[3].cols == slice(24, 29)  # query 7, the last but one, sees all keys but one
    assert figure.view.size == [9, 30]
    given[0][:] = 0  # the reader's arrays are not the figure's
    assert figure.inputs[0].any()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"query": np.ones((4, 2))}, "`key` is missing: pass query, key and value together"),
        (named(*inputs(65, 65, 2, 2)), "`query` must hold 2 to 64 tokens"),
        (named(*inputs(9, 9, 65, 2)), "of width at most 64"),
        (named(*inputs(9, 8, 2, 2)), "`query` must not be longer than `key`"),
        (named(np.ones((4, 2)), np.ones((4, 3)), np.ones((4, 3))), "must be as wide as `query`, 2; got 3"),
        (named(np.ones((4, 2)), np.ones((4, 2)), np.ones((5, 2))), "must have one row a key, 4; got 5"),
        (named(np.full((4, 2), -np.inf), np.ones((4, 2)), np.ones((4, 2))), "`query` must be finite"),
        ({"tile": 12}, "`tile` must be one of 8, 16, 32; got 12"),
        ({"kernel": "fast"}, "`kernel` must be one of 'standard', 'flash'; got 'fast'"),
        ({"step": 17}, "`step` must be an integer from 1 to 16, the steps of this schedule; got 17"),
        ({"sram": 0}, "`sram` must lie between 1 and"),
    ],
)  # fmt: skip
def test_bad_input_is_refused_with_the_remedy(unchecked, arguments, message):
    with pytest.raises(ValueError, match=message):
        FlashTiling(**arguments)


# -- the static picture ------------------------------------------------------------------------------------


def test_the_static_picture_is_the_seventh_tile_of_sixteen(figure):
    html = figure.static_html()
    assert html.count("pa-tilebox pa-made") == 6 + 1  # and one in the legend
    assert html.count("pa-tilebox pa-none") == 9
    assert html.count("h1v1h-1z") == 256
    assert "7 of 16" in html
    assert "<strong>8.6\u00a0KiB</strong>" in html
    assert html.count("<rect") == 48
    step = figure.now
    i = scene(figure, 7).query - step.rows.start
    assert f"<strong>{step.maximum[i]:.2f}</strong>" in html
    assert f"<strong>{step.total[i]:.2f}</strong>" in html


def test_skipped_tiles_are_hatched_and_masked_pairs_left_bare(figure):
    put(figure, "flash", 16, True, 3)
    html = figure.static_html()
    assert html.count("pa-tilebox pa-skipped") == 6 + 1
    assert html.count("h1v1h-1z") == 16 * 17 / 2  # the third tile lies on the diagonal


# -- in a browser ------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def origin(tmp_path_factory):
    folder = tmp_path_factory.mktemp("flash-tiling")
    shutil.copy(ROOT / "book" / "static" / "widget-host.js", folder)
    (folder / "figures.css").write_text(stylesheet(), encoding="utf-8")
    for theme in ("light", "dark"):
        write(folder, f"{theme}.html", [FlashTiling()], theme=theme)
    write(folder, "causal.html", [FlashTiling(tile=8, causal=True, step=20)], theme="dark")
    write(folder, "standard.html", [FlashTiling(kernel="standard", causal=True, step=6)])
    write(folder, "own.html", [FlashTiling(*inputs(9, 30, 4, 2), tile=8, causal=True)])
    with serving(folder) as address:
        yield address


def sentence(page) -> str:
    return page.locator(".pa-live .pa-sentence").inner_text().replace("\n", " ")


def data(page) -> dict:
    return page.locator(".pa-live .pa-view").evaluate("view => ({...view.dataset})")


def choose(page, kernel, tile, causal):
    page.get_by_role("radio", name=kernel).check()
    page.get_by_role("radio", name=str(tile), exact=True).check()
    page.get_by_role("checkbox", name="causal mask").set_checked(causal)


def compare(page, figure):
    """What the picture holds is what Python has for the same controls."""
    here, seen = scene(figure, figure.step.value), data(page)
    assert (seen["kernel"], int(seen["tile"])) == (figure.kernel.value, figure.tile.value)
    assert (int(seen["loaded"]), int(seen["stored"])) == figure.traffic
    assert float(seen["difference"]) == figure.difference
    assert int(seen["sram"]) == sum(figure.run.sram[figure.now.phase].values())
    assert int(seen["query"]) == here.query
    known = drawing.known(figure.now, here.query)
    assert (seen["maximum"], seen["total"]) == ("", "") if known is None else True
    if known:
        assert (float(seen["maximum"]), float(seen["total"])) == known
    factor = drawing.rescale(here)
    assert (seen["rescale"] == "") == (factor is None)
    assert factor is None or float(seen["rescale"]) == pytest.approx(factor, rel=1e-14)
    states = [state for state, *_ in drawing.boxes(here)]
    assert seen["boxes"] == "".join((state or "none")[0] for state in states)
    assert int(seen["skipped"]) == states.count("skipped")
    bars = json.loads(seen["bars"])
    may = allowed(*here.scores.shape, here.causal)[here.query, : figure.now.cols.stop]
    line = here.scores[here.query, : figure.now.cols.stop][may]
    if known:
        np.testing.assert_allclose(bars, np.exp(line - known[0]), rtol=0, atol=2e-4)  # of 16-bit scores
        if figure.now.phase == tiling_runs.TILE:
            assert sum(bars) == pytest.approx(known[1], rel=2e-4)  # the bars add up to the running sum
    assert sentence(page) == " ".join(drawing.describe(here))


def test_the_host_draws_what_attention_core_computes(visit, origin):  # noqa: F811
    page, figure = visit(f"{origin}/light.html", live=1), FlashTiling()
    compare(page, figure)
    for kernel, tile, causal in STATES:
        choose(page, kernel, tile, causal)
        put(figure, kernel, tile, causal, figure.step.value)
        np.testing.assert_allclose(drawn(page, "flash-tiling"), figure.weights, rtol=0, atol=1e-5)
        last = len(figure.run.steps)
        for step in {1, last // 3 + 1, 2 * last // 3, last}:
            slide(page.locator(".pa-live input[type=range]"), step)
            figure.step.value = step
            compare(page, figure)
    assert page.faults == []


def test_a_readers_own_problem_is_drawn(visit, origin):  # noqa: F811
    page = visit(f"{origin}/own.html", live=1)
    figure = FlashTiling(*inputs(9, 30, 4, 2), tile=8, causal=True)
    compare(page, figure)
    choose(page, "standard", 32, False)
    put(figure, "standard", 32, False, figure.step.value)
    compare(page, figure)


def test_the_step_keeps_its_place_when_the_schedule_changes(visit, origin):  # noqa: F811
    page, figure = visit(f"{origin}/light.html", live=1), FlashTiling()
    chosen = [("flash", 8, False), ("flash", 32, True), ("standard", 8, True), ("flash", 16, False)]
    for kernel, tile, causal in chosen:
        choose(page, kernel, tile, causal)
        figure.kernel.value, figure.tile.value, figure.causal.value = kernel, tile, causal
        assert int(data(page)["step"]) == figure.step.value
        slider = page.locator(".pa-live input[type=range]")
        assert (int(slider.input_value()), int(slider.get_attribute("max"))) == (
            figure.step.value,
            len(figure.run.steps),
        )


def test_the_drawn_cells_are_the_tiles_and_their_colours_the_ramp(visit, origin):  # noqa: F811
    page, figure = visit(f"{origin}/light.html", live=1), FlashTiling()
    seen = page.locator(".pa-live .pa-tilecells path").evaluate_all(
        "all => all.map((p) => [p.getAttribute('d'), p.style.fill])"
    )
    paths = {d: fill for d, fill in seen if d}
    here = scene(figure, 7)
    cells = [cell for d in paths for cell in d.replace("h1v1h-1z", "").split("M")[1:]]
    rows, cols = here.now.rows, here.now.cols
    assert sorted(cells) == sorted(
        f"{j} {i}" for i in range(*rows.indices(64)) for j in range(*cols.indices(64))
    )
    top = here.scores[rows, cols].argmax()
    share = drawing.shares(here, weights=False)[rows, cols]
    level = drawing.shade(share.ravel()[top])
    i, j = divmod(int(top), 16)
    fill = next(fill for d, fill in paths.items() if f"M{cols.start + j} {rows.start + i}h" in d)
    assert f"var(--pa-s{min(int(10 * level), 9) + 1}) " in fill


def test_the_step_moves_by_slider_key_button_and_mouse(visit, origin):  # noqa: F811
    page = visit(f"{origin}/light.html", live=1)
    slider = page.locator(".pa-live input[type=range]")
    slider.focus()
    for key, step in [("ArrowRight", 8), ("ArrowLeft", 7), ("End", 16), ("Home", 1)]:
        page.keyboard.press(key)
        assert int(data(page)["step"]) == step
    page.get_by_role("button", name="Next").click()
    assert int(data(page)["step"]) == 2
    page.get_by_role("button", name="Previous").click()
    assert int(data(page)["step"]) == 1
    box = slider.bounding_box()
    page.mouse.click(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    assert int(data(page)["step"]) in (8, 9)
    assert page.locator(".pa-live .pa-segment").count() == 5
    page.get_by_role("radio", name="flash").focus()
    page.keyboard.press("ArrowLeft")
    assert data(page)["kernel"] == "standard"
    page.get_by_role("checkbox", name="causal mask").focus()
    page.keyboard.press("Space")
    assert data(page)["causal"] == "true"


def test_a_query_is_looked_at_by_pointer_and_by_key_and_let_go(visit, origin):  # noqa: F811
    page, figure = visit(f"{origin}/light.html", live=1), FlashTiling()
    lines = page.locator(".pa-live [role=option]:not([hidden])")
    assert lines.count() == 16
    assert page.locator('.pa-live [role=option][tabindex="0"]').count() == 1
    first = scene(figure, 7)
    lines.nth(2).hover()
    assert data(page)["query"] == "18"
    assert sentence(page) == " ".join(drawing.describe(first._replace(query=18)))
    page.mouse.move(2, 2)
    assert data(page)["query"] == str(first.query)
    lines.nth(0).focus()
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    page.get_by_role("button", name="Next").click()
    assert data(page)["query"] == "17"  # kept, and the tile's next keys are met
    seen = data(page)
    assert (float(seen["maximum"]), float(seen["total"])) == drawing.known(figure.run.steps[7], 17)
    page.keyboard.press("Escape")
    assert data(page)["query"] == str(scene(figure, 8).query)
    assert page.locator(".pa-live .pa-querytag").inner_text() == data(page)["query"]


def test_bars_shrink_when_the_maximum_rises(visit, origin):  # noqa: F811
    page, figure = visit(f"{origin}/light.html", live=1), FlashTiling()
    before = None
    for step in (5, 6, 7, 8):
        slide(page.locator(".pa-live input[type=range]"), step)
        heights = page.locator(".pa-live .pa-online rect").evaluate_all(
            "all => all.map((r) => Number(r.getAttribute('height')))"
        )
        if before:
            factor = drawing.rescale(scene(figure, step))
            np.testing.assert_allclose(heights[: len(before)], factor * np.array(before), atol=0.02)
        before = heights


def test_play_walks_on_and_speaks_only_at_the_end(visit, origin):  # noqa: F811
    page = visit(f"{origin}/light.html", live=1)
    page.clock.install()
    slide(page.locator(".pa-live input[type=range]"), 14)
    page.clock.run_for(300)
    spoken = page.locator(".pa-live .pa-spoken")
    said = spoken.inner_text()
    page.get_by_role("button", name="Play").click()
    page.clock.run_for(1000)
    assert data(page)["step"] == "15"
    assert spoken.inner_text() == said
    page.clock.run_for(1300)
    assert data(page)["step"] == "16"
    assert spoken.inner_text().startswith("20,736 bytes instead of 40,960")


def test_less_motion_leaves_the_steps_without_play(visit, origin):  # noqa: F811
    page = visit(f"{origin}/light.html", live=1, reduced_motion="reduce")
    assert page.get_by_role("button", name="Play").count() == 0
    page.get_by_role("button", name="Next").click()
    assert data(page)["step"] == "8"


def test_fingers_get_44_pixels(visit, origin):  # noqa: F811
    page = visit(
        f"{origin}/light.html", live=1, viewport={"width": 390, "height": 800}, has_touch=True, is_mobile=True
    )
    heights = page.locator(
        ".pa-live :is(input.pa-range, .pa-segment, .pa-buttons button, .pa-check)"
    ).evaluate_all("all => all.map((e) => e.offsetHeight)")
    assert min(heights) >= 44


@pytest.mark.parametrize("name", ["light", "dark", "causal", "standard", "own"])
@pytest.mark.parametrize("width", [1280, 700, 390, 320])
def test_it_fits_is_accessible_and_takes_its_static_pictures_place(visit, origin, node_modules, name, width):  # noqa: F811
    page = visit(f"{origin}/{name}.html", live=1, viewport={"width": width, "height": 800})
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    page.evaluate((node_modules / "axe-core" / "axe.min.js").read_text(encoding="utf-8"))
    found = page.evaluate("axe.run('main').then((r) => r.violations.map((v) => [v.id, v.nodes[0].html]))")
    assert found == []
    parts = ".pa-caption, .pa-bytes, .pa-key, .pa-sram, .pa-tile, .pa-tiling b, .pa-querytag, .pa-sentence"
    words = f"(card) => [...card.querySelectorAll('{parts}')].map((e) => e.textContent)"
    live, still = (page.locator(f"{side} .pa-figure").evaluate(words) for side in (".pa-live", ".pa-static"))
    assert live == still
    live, still = page.evaluate("""() => {
        const figure = document.querySelector('figure'), live = figure.offsetHeight;
        figure.removeAttribute('data-live');
        figure.querySelector('.pa-live').style.display = 'none';
        return [live, figure.offsetHeight];
    }""")
    assert abs(live - still) <= 1
    assert page.faults == []
