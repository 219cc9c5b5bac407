import contextlib
import json
import shutil

import numpy as np
import pytest
import torch

from attention_core import normalizers, scores
from attention_core.figures import WhySqrtD, base, stylesheet, why_sqrt_d, why_sqrt_d_static

from ..browser import serving
from .test_in_browser import ROOT, slide, write

MODULE = base.module("why_sqrt_d")


@pytest.fixture(scope="module")
def made():
    return WhySqrtD()


@pytest.fixture
def figure(made):
    made.width.value, made.divide.value = 64, "nothing"
    return made


def sampling(width: int, rows: int, keys: int) -> tuple[float, float]:
    r"""Mean and standard deviation of the mean of s^2 over rows of keys that share a standard normal query.

    Given q, s ~ N(0, |q|^2), so the mean of m squares has variance 2 |q|^4 / m; and |q|^2 ~ chi^2(d).
    """
    fourth = width**2 + 2 * width  # E |q|^4
    return width, ((2 * width + 2 * fourth / keys) / rows) ** 0.5


def test_the_variance_of_the_scores_is_the_width_before_and_one_after(made):
    rows, keys = made.key.shape[:2]
    for i, width in enumerate(made.widths):
        expected, deviation = sampling(width, rows, keys)
        undivided, by_root, by_width = made.table[i, :, 0]
        assert abs(undivided - expected) <= 3 * deviation, width
        assert abs(by_root - 1) <= 3 * deviation / width
        assert by_root == pytest.approx(undivided / width, rel=1e-12)
        assert by_width == pytest.approx(undivided / width**2, rel=1e-12)


def test_every_score_is_attention_cores(figure):
    for width in (2, 16, 512):
        for choice, by in enumerate(("nothing", "√d", "d")):
            figure.width.value, figure.divide.value = width, by
            query, key = (
                torch.from_numpy(figure.query[:, None, :width]),
                torch.from_numpy(figure.key[..., :width]),
            )
            logits = (scores.dot, scores.scaled_dot, lambda q, k, d=width: scores.dot(q, k) / d)[choice](
                query, key
            )
            weights = normalizers.softmax(logits)[:, 0]
            np.testing.assert_allclose(figure.weights, weights[0], rtol=0, atol=1e-12)
            assert figure.numbers["variance"] == pytest.approx(logits.numpy().var(), rel=1e-12)
            assert figure.numbers["largest"] == pytest.approx(weights.amax(-1).mean().item(), rel=1e-12)


def test_undivided_the_softmax_saturates_and_its_gradient_dies(made):
    largest, gradient = made.table[:, 0, 1], made.table[:, 0, 2]
    assert (np.diff(largest) > 0).all()
    assert (np.diff(gradient) < 0).all()
    assert largest[-1] > 0.95
    assert gradient[-1] < 0.1


def test_divided_by_the_root_nothing_moves(made):
    assert np.ptp(made.table[:, 1, 1]) < 0.05
    assert np.ptp(made.table[:, 1, 2]) < 0.03


def test_divided_by_the_width_it_ends_up_uniform(made):
    assert made.table[-1, 2, 1] < 1.1 / made.key.shape[1]
    assert made.table[-1, 2, 2] > 0.99


def test_the_gradient_is_the_trace_of_the_jacobian(made):
    logits = torch.from_numpy(np.einsum("rd,rmd->rm", made.query[:4, :4], made.key[:4, :, :4]))
    traces = [
        torch.autograd.functional.jacobian(lambda s: normalizers.softmax(s[None])[0], row).trace()
        for row in logits
    ]
    few = why_sqrt_d.measure(made.query[:4], made.key[:4], 4, 0)
    assert few[2] * (1 - 1 / 8) == pytest.approx(np.mean(traces), rel=1e-12)


def test_the_histogram_counts_every_score(made):
    for width, line in zip(made.widths, made.table, strict=True):
        for choice, numbers in enumerate(line):
            logits = np.einsum("rd,rmd->rm", made.query[:, :width], made.key[..., :width])
            logits = logits / why_sqrt_d.divisor(width, choice)
            unit = np.sqrt((logits**2).mean())
            assert numbers[5] == pytest.approx(unit, rel=1e-12)
            assert numbers[-40:].sum() == pytest.approx((np.abs(logits) <= 5 * unit).mean(), abs=1e-12)
            assert numbers[4] == pytest.approx((np.abs(logits) > 24).mean(), abs=1e-12)


def test_the_frames_are_what_was_measured(made):
    frames = np.frombuffer(made.view.frames, "<f4").reshape(made.table.shape)
    np.testing.assert_array_equal(frames, made.table.astype(np.float32))
    assert frames.shape[0] * frames.shape[1] <= base.MOST_FRAMES
    assert len(made.view.frames) <= base.MOST_BYTES


def test_every_control_changes_the_picture_and_sends_exact_numbers(figure):
    for control, value in (
        (figure.width, 8),
        (figure.divide, "√d"),
        (figure.divide, "d"),
        (figure.width, 512),
    ):
        before = figure.weights, figure.static_html()
        control.value = value
        assert not np.allclose(figure.weights, before[0])
        assert figure.static_html() != before[1]
        sent = figure.view.exact
        assert (sent["asked"], sent["choice"]) == (figure.width.value, figure.divide.index)
        np.testing.assert_array_equal(sent["numbers"][6:-40], figure.weights)


def test_a_width_between_the_stops_is_measured_exactly(figure):
    figure.width.value = 100.0
    assert figure.present == figure.view.exact["width"] == 100
    assert figure.numbers["variance"] == pytest.approx(100, rel=0.1)


def test_the_stops_of_the_slider_are_the_frames(made):
    slider = made.width
    assert [slider.base**x for x in range(int(slider.min), int(slider.max) + 1)] == made.widths
    assert slider.step == 1


def cases(figure):
    ends = figure.widths[0], figure.widths[-1]
    for i, width in enumerate(figure.widths):
        for choice in range(3):
            variances = figure.table[:, choice, 0]
            yield (
                width,
                choice,
                figure.table[i, choice],
                (*ends, float(variances.min()), float(variances.max())),
            )


def test_python_and_javascript_say_the_same(made, javascript):
    for width, choice, numbers, ranges in cases(made):
        given = width, choice, numbers.tolist(), ranges, 8
        assert javascript(MODULE, "describe", *given) == why_sqrt_d.describe(*given)


def test_what_the_sentence_says_is_so(made):
    for width, choice, numbers, ranges in cases(made):
        text = " ".join(why_sqrt_d.describe(width, choice, numbers, ranges, 8))
        assert ("one-hot" in text) == (numbers[1] > 0.7375)
        assert ("uniform" in text) == (numbers[1] < 0.16)
        assert not (choice == 1 and "soft:" not in text)
        assert "100" not in text or width == 100


def test_python_and_javascript_draw_the_same_shapes(made, javascript):
    rng = np.random.default_rng(3)
    for width, choice, numbers, _ in cases(made):
        for shape in ("outline", "bell"):
            drawn = javascript(MODULE, shape, numbers.tolist(), width, choice)
            same = getattr(why_sqrt_d_static, shape)(numbers.tolist(), width, choice)
            np.testing.assert_allclose(points(drawn), points(same), atol=0.011)
    for _ in range(100):
        values = rng.uniform(0, 1, size=3).round(2).tolist()
        np.testing.assert_allclose(
            javascript(MODULE, "apart", values), why_sqrt_d_static.apart(values), atol=1e-12
        )


def points(path: str) -> list[float]:
    for letter in "MLVHZ":
        path = path.replace(letter, " ")
    return [float(x) for x in path.split()]


def test_the_curve_holds_as_much_as_the_histogram(made):
    """Both on one scale: the area under each is one score's share of the whole."""
    for width, choice, numbers, _ in cases(made):
        levels, top = why_sqrt_d_static.heights(numbers, width, choice)
        deviation = width**0.5 / why_sqrt_d.divisor(width, choice)
        area = sum(levels) * numbers[5] / 4
        assert area == pytest.approx(top * deviation * (2 * np.pi) ** 0.5, rel=0.01)
        assert max(*levels, top) == pytest.approx(92)


def test_labels_of_curves_never_touch_and_stay_inside():
    rng = np.random.default_rng(0)
    for values in rng.uniform(0, 1, size=(100, 3)) ** 0.25:  # crowded at the top
        places = sorted(why_sqrt_d_static.apart(values.tolist()))
        assert np.diff(places).min() >= 0.16 - 1e-12
        assert places[-1] <= 1


def test_readers_bring_a_sampler_or_vectors_of_their_own():
    wide = WhySqrtD(sample=lambda rng, size: rng.choice([-1.0, 1.0], size), divide="√d")
    assert wide.numbers["variance"] == pytest.approx(1, abs=0.1)
    rng = np.random.default_rng(1)
    own = WhySqrtD(query=rng.normal(size=(5, 20)), key=rng.normal(size=(3, 20)), width=16)
    assert (own.widths, own.weights.shape) == ([2, 4, 8, 16], (3,))
    assert "k3" in own.static_html()
    assert "k4" not in own.static_html()
    each = WhySqrtD(query=np.ones((2, 2)), key=np.zeros((2, 2, 2)), width=2)  # nothing to tell the keys apart
    assert each.weights.tolist() == [0.5, 0.5]
    assert "close to uniform" in each.static_html()
    assert json.loads(json.dumps(each.view.exact))["numbers"][0] == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"width": 1}, "`width` must lie between 2 and 512"),
        ({"width": 1024}, "`width` must lie between 2 and 512"),
        ({"divide": "d²"}, "`divide` must be one of 'nothing', '√d', 'd'"),
        ({"query": np.ones((2, 4))}, "`key` is missing; give query and key, or neither"),
        ({"key": np.ones((2, 4))}, "`query` is missing"),
        ({"query": np.ones((2, 4)), "key": np.ones((9, 4))}, "with m from 2 to 8"),
        ({"query": np.ones((2, 4)), "key": np.ones((3, 5))}, r"`key` must have shape \(m, D\)"),
        ({"query": np.ones((2, 4)), "key": np.ones((3, 3, 4))}, r"`key` must have shape \(m, D\)"),
        ({"query": np.full((2, 4), np.nan), "key": np.ones((3, 4))}, "`query` must be finite"),
        ({"sample": lambda rng, size: np.ones(size[1:])}, r"`sample` must have 2 dimension\(s\)"),
        (
            {"sample": lambda rng, size: np.ones([1] * len(size))},
            r"must return an array of shape \(512, 512\)",
        ),
    ],
)
def test_bad_input_is_refused_with_the_remedy(arguments, message):
    with pytest.raises(ValueError, match=message):
        WhySqrtD(**arguments)


def test_a_sampler_that_is_no_function_is_refused(unchecked):
    with pytest.raises(TypeError, match=r"`sample` must be a function of \(rng, size\); got str"):
        WhySqrtD(sample="normal")


# -- in a real browser -------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def origin(tmp_path_factory):
    folder = tmp_path_factory.mktemp("page")
    shutil.copy(ROOT / "book" / "static" / "widget-host.js", folder)
    (folder / "figures.css").write_text(stylesheet(), encoding="utf-8")
    for theme in ("light", "dark"):
        write(folder, f"{theme}.html", [WhySqrtD()], theme=theme)
    with serving(folder) as address:
        yield address


@pytest.fixture
def open_at(browser, origin):
    """open_at(theme, **context options) -> the live figure; `faults` of its page lists what went wrong."""
    with contextlib.ExitStack() as stack:

        def go(theme="light", **options):
            page = stack.enter_context(contextlib.closing(browser.new_context(**options))).new_page()
            page.faults = []
            page.on("pageerror", lambda e: page.faults.append(str(e)))
            page.on("console", lambda m: m.type == "error" and page.faults.append(m.text))
            page.goto(f"{origin}/{theme}.html")
            page.locator("figure[data-live]").wait_for()
            return page.locator(".pa-live")

        yield go


def drawn(live) -> dict:
    return live.locator(".pa-view").evaluate("view => ({...view.dataset})")


@pytest.mark.parametrize("width", [1280, 700, 390, 320])
def test_the_live_figure_takes_exactly_the_static_ones_place(open_at, width):
    page = open_at(viewport={"width": width, "height": 800}).page
    live, static = page.evaluate("""() => {
        const figure = document.querySelector('figure'), live = figure.offsetHeight;
        figure.removeAttribute('data-live');
        figure.querySelector('.pa-live').style.display = 'none';
        return [live, figure.offsetHeight];
    }""")
    assert abs(live - static) <= 1
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert page.faults == []


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 320])
def test_axe_finds_nothing(open_at, node_modules, theme, width):
    page = open_at(theme, viewport={"width": width, "height": 800}).page
    page.evaluate((node_modules / "axe-core" / "axe.min.js").read_text(encoding="utf-8"))
    assert (
        page.evaluate("axe.run('main').then((r) => r.violations.map((v) => [v.id, v.nodes[0].html]))") == []
    )


def test_the_browser_draws_what_was_measured_at_every_stop(open_at, made):
    live = open_at()
    for choice in range(3):
        live.get_by_role("radio").nth(choice).check()
        for i, width in enumerate(made.widths):
            slide(live.get_by_role("slider"), i + 1)
            seen, numbers = drawn(live), made.table[i, choice]
            assert (seen["width"], seen["divide"]) == (str(width), why_sqrt_d.DIVISORS[choice])
            np.testing.assert_allclose(json.loads(seen["weights"]), numbers[6:-40], rtol=0, atol=1e-6)
            np.testing.assert_allclose(json.loads(seen["histogram"]), numbers[-40:], rtol=0, atol=1e-6)
            for name, place in (("variance", 0), ("largest", 1), ("gradient", 2), ("read", 3)):
                assert float(seen[name]) == pytest.approx(numbers[place], rel=1e-6)
    assert live.page.faults == []


def test_both_controls_work_by_keyboard(open_at):
    live = open_at()
    live.get_by_role("slider").focus()
    live.page.keyboard.press("End")
    assert (drawn(live)["width"], drawn(live)["divide"]) == ("512", "nothing")
    live.page.keyboard.press("Tab")
    live.page.keyboard.press("ArrowRight")
    assert drawn(live)["divide"] == "√d"
    assert "Divided by √512" in live.locator(".pa-sentence").inner_text()
    live.get_by_text("variance of the scores").wait_for()


def test_what_is_undivided_stays_behind_as_a_shadow(open_at):
    live = open_at()
    ghost, mine = (live.locator(f".pa-spread-{name}") for name in ("ghost", "bars"))
    before = ghost.get_attribute("d")
    assert before == mine.get_attribute("d")
    live.get_by_role("radio").nth(1).check()
    assert mine.get_attribute("d") != before
    np.testing.assert_allclose(points(ghost.get_attribute("d")), points(before), atol=0.011)
