import numpy as np
import pytest

from attention_core.figures import base, step_chart

MODULE = base.module("faithfulness")


def test_python_and_javascript_draw_the_same_curves(javascript):
    rng = np.random.default_rng(4)
    for _ in range(100):
        low = float(rng.choice([-1.0, -0.5, 0.0]))
        xs = np.sort(rng.uniform(0, 100, 9)).tolist()
        axes = step_chart.Axes(low, 1.0, [low, 1.0], xs, [("a", 0.0)])
        ys = rng.uniform(low, 1, 9).tolist()
        assert javascript(MODULE, "course", axes.sent(), ys) == step_chart.course(axes, ys)
        assert javascript(MODULE, "climb", axes.sent(), ys[0]) == pytest.approx(step_chart.climb(axes, ys[0]))
        assert javascript(MODULE, "heard", "L", "t", ys, 3) == step_chart.heard("L", "t", ys, 3)
    assert step_chart.climb(axes, 1.0) == 100
    assert step_chart.climb(axes, low) == 0


def test_the_chosen_curve_lies_on_top_and_baselines_are_dashed():
    axes = step_chart.Axes(0.0, 1.0, [0.0], [0.0, 100.0], [], fill=True)
    drawn = step_chart.chart("L", axes, ["a", "b", "c"], [False, False, True], [[0.0, 1.0]] * 3, 0, 1)
    kinds = [part.split('"')[0] for part in drawn.split('<path class="pa-sc-')[1:]]
    assert kinds == ["area", "off", "base", "on"]
