import itertools
import json
import re
import shutil

import numpy as np
import pytest
import torch

from attention_core import linear
from attention_core.figures import OuterProductMemory, base, stylesheet
from attention_core.figures import outer_product_memory_runs as runs
from attention_core.figures import outer_product_memory_static as drawing
from attention_core.figures import outer_product_memory_words as words
from attention_core.figures.outer_product_memory import KINDS, TASKS, WIDTHS
from attention_core.figures.outer_product_memory_runs import RULES, Pairs, facts, measure, write

from ..browser import eventually, serving
from .test_in_browser import ROOT, drawn, slide, visit  # noqa: F401
from .test_in_browser import write as save

MODULE = base.module("outer_product_memory")
PAIRS = 24
TRAVELLED = 1e-6  # what float32 costs


@pytest.fixture(scope="module")
def figure():
    return OuterProductMemory()


def unit(x):
    return x / x.norm(dim=-1, keepdim=True)


def own(n=6, d=3, dv=5, seed=3):
    """Pairs of the reader's: the first key comes again as the last."""
    torch.manual_seed(seed)
    keys, values = unit(torch.randn(n, d, dtype=torch.float64)), 3 * torch.randn(n, dv, dtype=torch.float64)
    keys[-1] = keys[0]
    return keys, values


def turn(figure, task="overload", keys="random", rule="sum", width=8, step=12):
    figure.task.value, figure.kind.value, figure.rule.value = task, keys, rule
    figure.size.value, figure.step.value = width, step
    return figure


# -- laws --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("rule", ["sum", "delta"])
def test_orthogonal_keys_are_exact_up_to_the_width_and_not_beyond(figure, width, rule):
    turn(figure, keys="orthogonal", rule=rule, width=width)
    for step in range(1, width + 1):
        figure.step.value = step
        np.testing.assert_allclose(figure.answers, figure.value[:step], rtol=0, atol=1e-12)
        assert all(figure.measured.right)
    figure.step.value = width + 1
    assert figure.measured.errors.max() > 0.3


@pytest.mark.parametrize(("width", "keys", "rule"), itertools.product(WIDTHS, KINDS, ["delta", "gated"]))
def test_delta_rebinding_is_1(figure, width, keys, rule):
    turn(figure, "rebind", keys, rule, width)
    for step in range(width // 2 + 1, PAIRS + 1):
        figure.step.value = step
        assert figure.measured.cosines[-1] == pytest.approx(1, abs=1e-12)
        assert figure.measured.errors[-1] < 1e-12


@pytest.mark.parametrize("width", WIDTHS)
def test_a_sum_answers_with_all_that_was_written_to_a_key(figure, width):
    turn(figure, "rebind", "orthogonal", "sum", width)
    for step in (width // 2, width // 2 + 1, PAIRS):
        figure.step.value = step
        same = np.arange(step) % (width // 2) == (step - 1) % (width // 2)
        np.testing.assert_allclose(figure.answers[-1], figure.value[:step][same].sum(0), atol=1e-12)
        assert (figure.measured.cosines[-1] > 1 - 1e-9) == (step == width // 2)


def test_a_sum_cannot_tell_the_new_value_from_the_old(figure):
    """The answer, old + new, is as far from the one as from the other: neither is right."""
    turn(figure, "rebind", "orthogonal", "sum", 8, 8)
    np.testing.assert_allclose(figure.measured.errors, 1, atol=1e-12)
    assert facts(figure.run, 8).right == 0
    np.testing.assert_allclose(figure.measured.cosines[:4], figure.measured.cosines[4:], atol=1e-12)


@pytest.mark.parametrize("width", WIDTHS)
def test_random_keys_disturb_each_other_while_there_is_room(figure, width):
    for rule in RULES:
        turn(figure, rule=rule, width=width, step=1)
        assert figure.measured.errors[0] < 1e-12
        figure.step.value = 2
        assert figure.measured.errors[0] > 0.01
        assert (figure.measured.errors[1] < 1e-12) == (rule != "sum")


@pytest.mark.parametrize(("width", "keys"), itertools.product(WIDTHS, KINDS))
def test_no_matrix_at_all_keeps_more_pairs_than_it_is_wide(figure, width, keys):
    turn(figure, keys=keys, width=width)
    for step in (width, width + 1, PAIRS):
        key, value = figure.key[:step], figure.value[:step]
        best = key @ np.linalg.lstsq(key, value, rcond=None)[0]
        assert (np.abs(best - value).max() < 1e-9) == (step <= width)


def test_independent_keys_written_again_and_again_converge_by_the_delta_rule():
    keys, values = own(4, 8, 5)
    keys[-1] = unit(torch.arange(1.0, 9.0, dtype=torch.float64))
    shown = OuterProductMemory(keys.repeat(6, 1), values.repeat(6, 1), rule="delta", step=24)
    errors = runs.curve(shown.run)[3::4]
    assert errors == sorted(errors, reverse=True)
    assert errors[-1] < 0.1 < errors[0]
    assert min(runs.curve(shown.runs[0][0])[7::4]) > 0.9  # a sum only grows


# -- numbers -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("task", "keys", "width"), itertools.product(TASKS, KINDS, WIDTHS))
def test_the_memory_is_that_of_the_library_at_every_step(figure, task, keys, width):
    for rule in RULES:
        turn(figure, task, keys, rule, width)
        key, value = (torch.from_numpy(x) for x in (figure.key, figure.value))
        for step in (0, 1, 7, PAIRS):
            figure.step.value = step
            pair, ones = (key[:step], key[:step], value[:step]), torch.ones(step, dtype=torch.float64)
            if rule == "sum":
                expected = linear.fast_weights(*pair).state
            elif rule == "delta":
                expected = linear.delta_rule(*pair, ones).state
            else:
                expected = linear.gated_delta_rule(*pair, ones, 0.9 * ones).state
            np.testing.assert_allclose(figure.memory, expected, rtol=0, atol=1e-12)
            np.testing.assert_allclose(figure.answers, key[:step] @ expected, rtol=0, atol=1e-12)
            np.testing.assert_array_equal(figure.weights, figure.memory)


def test_a_write_adds_the_outer_product_of_the_key_and_what_is_written(figure):
    for rule, kept in (("sum", 1), ("delta", 1), ("gated", 0.9)):
        run = turn(figure, rule=rule).run
        for t in range(PAIRS):
            before = kept * run.states[t]
            wanted = run.pairs.value[t].numpy() - (0 if rule == "sum" else run.pairs.key[t].numpy() @ before)
            np.testing.assert_allclose(run.written[t], wanted, atol=1e-12)
            np.testing.assert_allclose(
                run.states[t + 1], before + np.outer(run.pairs.key[t], wanted), atol=1e-12
            )


def test_keys_have_length_1_come_in_orthogonal_sets_and_come_again_where_they_should(figure):
    for width, keys, task in itertools.product(WIDTHS, KINDS, TASKS):
        key = turn(figure, task, keys, width=width).key
        np.testing.assert_allclose(np.linalg.norm(key, axis=1), 1, atol=1e-12)
        np.testing.assert_allclose(np.linalg.norm(figure.value, axis=1), 1, atol=1e-12)
        different = len(np.unique(key.round(9), axis=0))
        assert different == (PAIRS if task == "overload" else width // 2)
        if keys == "orthogonal" and task == "overload":
            for start in range(0, PAIRS, width):
                part = key[start : start + width]
                np.testing.assert_allclose(part @ part.T, np.eye(len(part)), atol=1e-12)


def test_an_answer_is_right_where_no_other_value_is_as_near():
    key = torch.eye(3, dtype=torch.float64)
    value = torch.tensor([[1.0, 0], [0, 1], [1, 0.2]], dtype=torch.float64)
    run = write(Pairs(key, value, (0, 1, 2)), "sum", 0.9)
    moved = run._replace(states=run.states + np.array([[0, 0.3], [0, 0], [0, 0]]))
    assert measure(run, 3).right == [True] * 3
    assert measure(moved, 3).right == [False, True, True]  # (1, 0.3) is nearer to the third
    assert measure(moved, 2).right == [True, True]  # which is not written yet
    assert measure(moved, 3).errors[0] == pytest.approx(0.3)
    assert measure(moved, 3).cosines[0] == pytest.approx(1 / np.hypot(1, 0.3))


def test_it_stays_inside_a_figures_budget(figure):
    frames = sum(len(by_rule) for by_rule in figure.runs)
    assert frames == 36 <= base.MOST_FRAMES
    numbers = 4 * PAIRS * (8 + 4 * (4 + 8 + 16) + 36 * 8)
    assert len(figure.view.numbers) == numbers <= base.MOST_BYTES


def test_what_travels_are_the_librarys_numbers(figure):
    sent = np.frombuffer(figure.view.numbers, "<f4")
    at = PAIRS * 8
    np.testing.assert_allclose(sent[:at].reshape(PAIRS, 8), figure.value, atol=1e-7)
    for width, keys, task in itertools.product(WIDTHS, KINDS, TASKS):
        turn(figure, task, keys, width=width)
        size = PAIRS * width
        np.testing.assert_allclose(sent[at : at + size].reshape(PAIRS, width), figure.key, atol=1e-7)
        at += size
        for rule in RULES:
            figure.rule.value = rule
            np.testing.assert_allclose(sent[at : at + 192].reshape(-1, 8), figure.run.written, atol=5e-7)
            at += 192
    assert at == len(sent)


# -- the view computes what the library does ---------------------------------------------------------------


def cases(count=120):
    torch.manual_seed(11)
    for i in range(count):
        n, d, dv = (int(torch.randint(1, most, ())) for most in (9, 6, 6))
        ids = [int(torch.randint(0, t + 1, ())) for t in range(n)]
        ids = tuple(first if ids[first] == first else t for t, first in enumerate(ids))
        key = unit(torch.randn(n, d, dtype=torch.float64))[list(ids)]
        value = torch.randn(n, dv, dtype=torch.float64) * float(torch.rand(()) * 3 + 0.1)
        yield (
            write(Pairs(key, value, ids), RULES[i % 3], float(torch.rand(()))),
            int(torch.randint(0, n + 1, ())),
        )


def sent(run):
    key, value = (x.numpy().astype(np.float32).tolist() for x in run.pairs[:2])
    written = run.written.astype(np.float32).tolist()
    return dict(key=key, value=value, ids=list(run.pairs.ids), written=written, decay=run.decay)


def test_javascript_writes_and_reads_as_the_library_does(javascript):
    kinds = set()
    for run, t in cases():
        given = sent(run)
        states = javascript(MODULE, "replay", given["key"], given["written"], run.decay)
        np.testing.assert_allclose(states, run.states, rtol=0, atol=TRAVELLED * 3)
        given["states"] = states
        seen, expected = javascript(MODULE, "measure", given, t), measure(run, t)
        for name in ("cosines", "errors", "right", "current"):
            np.testing.assert_allclose(seen[name], getattr(expected, name), rtol=0, atol=1e-5, err_msg=name)
        np.testing.assert_allclose(
            np.reshape(seen["answers"], expected.answers.shape), expected.answers, atol=1e-5
        )
        there, here = javascript(MODULE, "summary", given, t), facts(run, t)
        if here is None:
            assert there is None
            continue
        for name, value in here._asdict().items():
            assert there[name] == pytest.approx(value, abs=1e-5), name
        kinds.add((here.times > 1, here.right < here.keys))
    assert len(kinds) == 4


def test_javascript_is_exact_where_nothing_is_rounded(javascript):
    """The same, of numbers that did not travel: to 1e-12."""
    for run, t in cases():
        key, value = (x.tolist() for x in run.pairs[:2])
        states = javascript(MODULE, "replay", key, run.written.tolist(), run.decay)
        np.testing.assert_allclose(states, run.states, rtol=0, atol=1e-12)
        given = dict(key=key, value=value, ids=list(run.pairs.ids), states=run.states.tolist())
        seen, expected = javascript(MODULE, "measure", given, t), measure(run, t)
        np.testing.assert_allclose(seen["errors"], expected.errors, rtol=0, atol=1e-12)
        np.testing.assert_allclose(seen["cosines"], expected.cosines, rtol=0, atol=1e-12)


def test_python_and_javascript_say_the_same(figure, javascript):
    said = set()
    for width, keys, task in itertools.product(WIDTHS, KINDS, TASKS):
        by_rule = turn(figure, task, keys, width=width)._by_rule
        for rule, step in itertools.product(range(3), (0, 1, 3, 4, 8, 9, 16, 24)):
            rival = words.against(rule)
            mine, other = facts(by_rule[rule], step), facts(by_rule[rival], step)
            here = words.describe(mine, other, rule, rival, 0.9)
            given = [f and f._asdict() for f in (mine, other)]
            assert here == javascript(MODULE, "describe", *given, rule, rival, 0.9, words.WORDS)
            assert "{" not in "".join(here)
            said.add(here[-1].split(",")[0])
            said |= {re.sub(r"[\d.]+", "#", part) for part in here}
    heard = " ".join(said)
    for key in ("exactly", "added", "taken", "newest", "one", "orthogonal"):
        assert re.sub(r"[\d.]+", "#", words.WORDS[key]) in heard, key
    for start in (
        "No # keys are independent",
        "The keys overlap",
        "By comparison",
        "Each write leaves",
        "Nothing is",
    ):
        assert start in heard, start
    assert "directions are taken: the next key must overlap" in heard


def test_python_and_javascript_draw_the_same_cells_and_axes(javascript):
    rng = np.random.default_rng(2)
    kinds = set()
    for i in range(100):
        rows = rng.normal(size=rng.integers(1, 6, 2)) * rng.choice([0.1, 0.5, 2])
        top, tall = float(rng.choice([1, 2.5])), float(rng.choice([1, 0.84]))
        here = drawing.shades(rows, top, tall)
        assert [list(each) for each in here] == javascript(MODULE, "shades", rows.tolist(), top, tall)
        kinds |= {name for name, _, _ in here}
        curves = (rng.random((3, 4)) * i / 20).tolist()
        assert drawing.ceiling(curves) == javascript(MODULE, "ceiling", curves)
        ids, width = [int(rng.integers(0, t + 1)) if i % 2 else t for t in range(5)], int(rng.integers(1, 8))
        landmark = drawing.landmark(ids, width)
        assert (landmark and list(landmark)) == javascript(MODULE, "landmark", ids, width)
    assert kinds == {"paper", "neg", "pos", "minus", "deep"}
    assert drawing.landmark([0, 1, 0], 2) == (3, "a key again")
    assert drawing.landmark([0, 1, 2], 2) == (2, "width 2")
    assert drawing.landmark([0, 1, 2], 3) is None


# -- words -------------------------------------------------------------------------------------------------


def sentence_of(figure):
    text = re.search(r'<p class="pa-sentence">(.*?)</p>', figure.static_html())[1]
    return re.sub(r"<[^>]+>", "", text)


def test_the_sentence_gives_the_result_in_numbers(figure):
    turn(figure, keys="orthogonal", step=8)
    assert sentence_of(figure).startswith("After 8 pairs in a memory 8 wide the sum answers all exactly.")
    turn(figure, rule="delta", step=12)
    seen, rival = facts(figure.run, 12), facts(figure.runs[4][0], 12)
    said = sentence_of(figure)
    assert f"the delta rule answers {seen.right} of 12 right, with a mean error of {seen.error:.2f}." in said
    assert "The newest pair is exact." in said
    assert f"the sum answers {rival.right} of 12 right, with a mean error of {rival.error:.2f}." in said
    assert "No 12 keys are independent in 8 dimensions, so no rule can keep just any values for them." in said
    turn(figure, "rebind", "orthogonal", "delta", 8, 6)
    assert "written 2 times: the delta rule answers with cosine 1.00 to the new value" in sentence_of(figure)
    figure.rule.value = "sum"
    before, new = figure.value[[1, 5]]
    cosine = (before + new) @ new / np.linalg.norm(before + new)
    assert f"the sum answers with cosine {cosine:.2f} to the new value and {cosine:.2f} to" in sentence_of(
        figure
    )


# -- readers' own ------------------------------------------------------------------------------------------


def test_readers_bring_their_own_pairs():
    keys, values = own()
    kept = keys.clone(), values.clone()
    figure = OuterProductMemory(keys.float(), values, rule="delta")
    assert figure.key.shape == (6, 3)
    assert figure.value.shape == (6, 5)
    assert figure.step.value == 6
    np.testing.assert_allclose(figure.answers[-1], values[-1], atol=1e-9)
    assert figure.run.pairs.ids == (0, 1, 2, 3, 4, 0)
    html = figure.static_html()
    assert "Width" not in html
    assert "The newest key has been written 2 times: the delta rule" in html
    assert float(figure._top) >= float(values.abs().max()) - 0.1
    torch.testing.assert_close((keys, values), kept, rtol=0, atol=0)
    listed = OuterProductMemory([[1, 0], [0, 1]], [[1], [-2]])
    np.testing.assert_array_equal(listed.answers, [[1], [-2]])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"rule": "hebb"}, "`rule` must be one of 'sum', 'delta', 'gated'; got 'hebb'"),
        ({"task": "forget"}, "`task` must be one of 'overload', 'rebind'; got 'forget'"),
        (
            {"keys": "equal"},
            r"`keys` must be one of 'random', 'orthogonal'; or give a matrix .*; got 'equal'",
        ),
        ({"width": 5}, "`width` must be one of 4, 8 and 16; got 5"),
        ({"pairs": 25}, "`pairs` must be an integer from 2 to 24; got 25"),
        ({"step": 25}, "`step` must be an integer from 0 to 24; got 25"),
        ({"decay": 1.5}, "`decay` must lie between 0 and 1; got 1.5"),
        ({"values": [[1.0]]}, "`values` go with keys of your own: give a matrix"),
        ({"keys": [[1.0, 0]]}, "`keys` of your own need `values`, one a key"),
        ({"keys": [[1.0, 0]], "values": [[1.0]]}, "`keys` must be 2 to 24, a row each; got 1"),
        ({"keys": [[1.0], [1]], "values": [[1.0]] * 3}, "`values` must be as many as `keys`, 2; got 3"),
        (
            {"keys": [[1.0], [2]], "values": [[1.0]] * 2},
            r"length 1, .* row 1 has 2. Divide: keys / keys.norm",
        ),
        ({"keys": [[1.0], [1]], "values": [[1.0], [0]]}, "`values` must not be 0, .* row 1 is"),
        ({"keys": [[1.0], [1]], "values": np.ones((2, 17))}, "`values` can be at most 16 wide here; got 17"),
        ({"keys": [[1.0], [1]], "values": [[1.0], [-np.inf]]}, "`values` must be finite"),
        ({"keys": torch.ones(2), "values": [[1.0], [1]]}, r"`keys` must have 2 dimension\(s\)"),
    ],
)
def test_bad_input_is_refused_with_the_remedy(unchecked, arguments, message):
    with pytest.raises(ValueError, match=message):
        OuterProductMemory(**arguments)


# -- in a browser ------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def origin(tmp_path_factory):
    folder = tmp_path_factory.mktemp("memory")
    shutil.copy(ROOT / "book" / "static" / "widget-host.js", folder)
    (folder / "figures.css").write_text(stylesheet(), encoding="utf-8")
    for theme in ("light", "dark"):
        save(folder, f"{theme}.html", [OuterProductMemory()], theme=theme)
    save(folder, "rebind.html", [OuterProductMemory("orthogonal", rule="delta", task="rebind", width=16)])
    save(folder, "empty.html", [OuterProductMemory(width=4, step=0)])
    save(folder, "own.html", [OuterProductMemory(*own(), rule="gated", decay=0.7)])
    with serving(folder) as address:
        yield address


def scene_of(figure):
    return drawing.Scene(figure._by_rule, figure.rule.index, figure.step.value, figure.decay, figure._top)


def cells(page):
    """What every sheet of cells shows: its paths with their shades."""
    return page.locator(".pa-live .pa-om-sheet").evaluate_all(
        "all => all.map((s) => [...s.children].map((p) => "
        "[p.className.baseVal, p.getAttribute('d'), Number(p.getAttribute('fill-opacity'))]))"
    )


def shows(page, figure, asked=None):
    """The picture is of the figure's state: numbers, cells, rows, curves and words."""
    told = page.locator(".pa-live .pa-view").evaluate("view => ({...view.dataset})")
    np.testing.assert_allclose(drawn(page, "outer-product-memory"), figure.memory, rtol=0, atol=TRAVELLED)
    t, seen, run = figure.step.value, figure.measured, figure.run
    there = json.loads(told["seen"])
    np.testing.assert_allclose(
        np.reshape(there["answers"], seen.answers.shape), seen.answers, rtol=0, atol=TRAVELLED
    )
    for name in ("cosines", "errors"):
        np.testing.assert_allclose(there[name], getattr(seen, name), rtol=0, atol=TRAVELLED * 5)
    assert (there["right"], there["current"]) == (seen.right, seen.current)
    np.testing.assert_allclose(json.loads(told["curve"]), runs.curve(run), rtol=0, atol=TRAVELLED * 5)

    said = drawing.body(scene_of(figure))[-1]
    assert page.locator(".pa-live .pa-sentence").inner_text() == re.sub(r"<[^>]+>", "", said)
    rows = page.locator(".pa-live .pa-om-line")
    marks = rows.locator("span:last-child").all_inner_texts()
    wanted = [
        "old" if not now else "✓" if good else "✗" for good, now in zip(seen.right, seen.current, strict=True)
    ]
    assert marks == wanted + [""] * (len(run.written) - t)
    widths = rows.locator(".pa-om-bar i").evaluate_all("all => all.map((i) => parseFloat(i.style.width))")
    np.testing.assert_allclose(widths[:t], 100 * np.maximum(seen.cosines, 0), atol=1e-3)
    assert not any(widths[t:])

    asked = t - 1 if asked is None else asked
    shown = cells(page)
    assert len(shown) == 12
    if t:
        key, value = run.pairs.key.numpy(), run.pairs.value.numpy()
        read = value[t - 1] - run.written[t - 1]
        answer = seen.answers[asked]
        sheets = [
            value[t - 1][None], read[None] if figure.rule.index else np.zeros((0, 1)),
            run.written[t - 1][None], key[t - 1][:, None], np.outer(key[t - 1], run.written[t - 1]),
            value[asked][None], answer[None], (value[asked] - answer)[None], key[asked][:, None],
            figure.memory,
        ]  # fmt: skip
        assert [*map(len, shown[:10])] == [len(drawing.shades(x, figure._top)) for x in sheets]
        for found, sheet in zip(shown, sheets, strict=False):
            same_shades(found, drawing.shades(sheet, figure._top))
        same_shades(shown[10], drawing.shades(value[:t], figure._top, 0.84))
        same_shades(shown[11], drawing.shades(seen.answers, figure._top, 0.84))
        chosen = page.locator('.pa-live [role=option][aria-selected="true"]')
        assert chosen.evaluate_all("all => all.map((e) => e.dataset.pick)") == [str(asked)]


def same_shades(found, expected):
    assert [(name.removeprefix("pa-om-"), d, share) for name, d, share in found] == [
        (name, d, pytest.approx(share)) for name, d, share in expected
    ]


def press(page, name):
    page.locator(".pa-live").get_by_role("radio", name=name, exact=True).check(force=True)


def test_the_host_draws_what_attention_core_computes(visit, origin):  # noqa: F811
    page, figure = visit(f"{origin}/light.html", live=1), OuterProductMemory()
    shows(page, figure)
    step = page.locator(".pa-live input[type=range]")
    for task, keys, rule, width, t in [
        ("overload", "orthogonal", "sum", 8, 8), ("overload", "orthogonal", "delta", 8, 9),
        ("rebind", "orthogonal", "sum", 8, 7), ("rebind", "random", "gated", 16, 24),
        ("rebind", "random", "delta", 4, 3), ("overload", "random", "delta", 16, 1),
        ("overload", "random", "gated", 4, 0),
    ]:  # fmt: skip
        for name in (task, keys, rule, str(width)):
            press(page, name)
        slide(step, t)
        shows(page, turn(figure, task, keys, rule, width, t))
    assert page.faults == []


def test_mouse_and_keyboard_move_every_control(visit, origin):  # noqa: F811
    page, figure = visit(f"{origin}/light.html", live=1), OuterProductMemory()
    live = page.locator(".pa-live")
    for name in ("rebind", "orthogonal", "gated", "16"):
        live.locator(".pa-segment", has_text=re.compile(f"^{name}$")).click()
    shows(page, turn(figure, "rebind", "orthogonal", "gated", 16))
    for name in ("rebind", "orthogonal", "gated", "16"):
        live.get_by_role("radio", name=name, exact=True).focus()
        page.keyboard.press("ArrowLeft")
    shows(page, turn(figure, "overload", "random", "delta", 8))
    live.locator("input[type=range]").focus()
    page.keyboard.press("End")
    shows(page, turn(figure, rule="delta", step=24))
    page.keyboard.press("ArrowLeft")
    shows(page, turn(figure, rule="delta", step=23))
    page.keyboard.press("Home")
    shows(page, turn(figure, rule="delta", step=0))
    live.get_by_role("button", name="Next").click()
    shows(page, turn(figure, rule="delta", step=1))
    spoken = live.locator(".pa-spoken")
    heard = eventually(page, spoken.inner_text, lambda text: text.startswith("After 1 pair "))
    assert "One pair alone has nothing to disturb it." in heard


def test_any_pair_can_be_asked_for_and_let_go(visit, origin):  # noqa: F811
    page, figure = visit(f"{origin}/light.html", live=1), OuterProductMemory()
    picks = page.locator(".pa-live [role=option]")
    picks.nth(3).click()
    page.mouse.move(2, 2)
    shows(page, figure, asked=3)
    captions = page.locator(".pa-live .pa-om-board .pa-caption")
    assert captions.all_inner_texts() == ["Write pair 12", "Ask for pair 4 (Escape lets go)"]
    slide(page.locator(".pa-live input[type=range]"), 20)
    shows(page, turn(figure, step=20), asked=3)  # it stays while pairs are written
    slide(page.locator(".pa-live input[type=range]"), 2)
    shows(page, turn(figure, step=2))  # not written yet: the newest instead
    page.keyboard.press("Escape")
    assert page.locator('.pa-live [role=option][tabindex="0"]').count() == 1
    picks.nth(3).focus()
    page.keyboard.press("Home")
    for _ in range(3):
        page.keyboard.press("ArrowUp")
    shows(page, figure, asked=0)
    page.keyboard.press("Enter")
    page.locator(".pa-live input[type=range]").focus()
    shows(page, figure, asked=0)
    page.keyboard.press("Escape")
    shows(page, figure)
    assert picks.nth(0).get_attribute("aria-label").startswith("pair 1: cosine ")
    assert picks.nth(9).get_attribute("aria-label") == "pair 10: not written yet"


def test_playing_writes_pair_by_pair_and_speaks_at_the_end(visit, origin):  # noqa: F811
    page = visit(f"{origin}/empty.html", live=1)
    figure = OuterProductMemory(width=4, step=0)
    shows(page, figure)
    page.clock.install()
    page.locator(".pa-live").get_by_role("button", name="Play").click()
    view, spoken = page.locator(".pa-live .pa-view"), page.locator(".pa-live .pa-spoken")
    page.clock.run_for(2000)
    assert view.get_attribute("data-step") == "2"
    assert spoken.inner_text() == ""
    page.clock.run_for(24 * 900)
    assert view.get_attribute("data-step") == "24"
    assert spoken.inner_text().startswith("After 24 pairs in a memory 4 wide the sum ")
    turn(figure, width=4, step=24)
    shows(page, figure)


def test_less_motion_leaves_the_steps_without_play(visit, origin):  # noqa: F811
    page = visit(f"{origin}/light.html", live=1, reduced_motion="reduce")
    live = page.locator(".pa-live")
    assert live.get_by_role("button", name="Play").count() == 0
    live.get_by_role("button", name="Previous").click()
    assert live.locator(".pa-view").get_attribute("data-step") == "11"


def test_pairs_of_the_readers_are_drawn(visit, origin):  # noqa: F811
    page, figure = visit(f"{origin}/own.html", live=1), OuterProductMemory(*own(), rule="gated", decay=0.7)
    shows(page, figure)
    press(page, "sum")
    figure.rule.value = "sum"
    shows(page, figure)
    slide(page.locator(".pa-live input[type=range]"), 3)
    figure.step.value = 3
    shows(page, figure)
    assert page.faults == []


def test_without_scripts_and_in_print_the_static_picture_stands(visit, origin):  # noqa: F811
    page = visit(f"{origin}/dark.html", live=0, java_script_enabled=False)
    assert page.locator(".pa-static .pa-om-sheet path").count() > 60
    assert page.locator(".pa-static .pa-sentence").is_visible()
    page = visit(f"{origin}/dark.html", live=1)
    page.emulate_media(media="print")
    assert page.locator(".pa-static .pa-om-table").is_visible()
    assert not page.locator(".pa-live").is_visible()


@pytest.mark.parametrize("name", ["light", "dark", "rebind", "empty", "own"])
@pytest.mark.parametrize("width", [1280, 700, 390, 320])
def test_it_fits_is_accessible_and_takes_its_static_pictures_place(visit, origin, node_modules, name, width):  # noqa: F811
    page = visit(f"{origin}/{name}.html", live=1, viewport={"width": width, "height": 800})
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    page.evaluate((node_modules / "axe-core" / "axe.min.js").read_text(encoding="utf-8"))
    assert (
        page.evaluate("axe.run('main').then((r) => r.violations.map((v) => [v.id, v.nodes[0].html]))") == []
    )
    same = """(card) => [...card.querySelectorAll(`.pa-caption, .pa-legend, .pa-sentence, .pa-om-grid > *,
        .pa-om-head, .pa-om-line > *, .pa-om-sheet > path, .pa-om-chart > *,
        .pa-om-chart path, .pa-key, .pa-tile`)]
        .filter((e) => !e.hidden).map((e) => [e.textContent, e.getAttribute('d') ?? ''])"""
    live, static = (page.locator(f"figure > .{side}").evaluate(same) for side in ("pa-live", "pa-static"))
    assert live == static
    heights = page.evaluate("""[...document.querySelectorAll('figure')].map((f) => {
        const live = f.offsetHeight;
        f.removeAttribute('data-live');
        f.querySelector('.pa-live').style.display = 'none';
        return [live, f.offsetHeight];
    })""")
    assert all(abs(live - static) <= 1 for live, static in heights), heights
    assert page.evaluate("shift") <= 0.02


@pytest.mark.parametrize("width", [1280, 320])
def test_no_word_of_the_picture_is_cut_or_overlaps(visit, origin, width):  # noqa: F811
    page = visit(f"{origin}/light.html", live=1, viewport={"width": width, "height": 800})
    press(page, "gated")
    press(page, "16")
    wide = page.locator(
        ".pa-live :is(.pa-om-note, .pa-om-head, .pa-om-line > *, .pa-om-grid > span)"
    ).evaluate_all(
        "all => all.filter((e) => e.clientWidth && e.scrollWidth > e.clientWidth + 1)"
        ".map((e) => e.textContent)"
    )
    assert wide == []
