import numpy as np
import pytest
import torch

from attention_core import normalizers
from attention_core.figures import SoftToHard, base, soft_to_hard

MODULE = base.module("soft_to_hard")


def softmax(logits, temperature):
    return normalizers.softmax(torch.tensor(np.array([logits])), temperature=temperature)[0].numpy()


def cases(count=120):
    rng = np.random.default_rng(7)
    for _ in range(count):
        yield rng.uniform(-5, 5, size=6).round(1), 10 ** rng.uniform(-1.3, 1)


def test_the_javascript_is_attention_cores_softmax(javascript):
    for logits, temperature in cases():
        drawn = javascript(MODULE, "softmax", logits.tolist(), temperature)
        np.testing.assert_allclose(drawn, softmax(logits, temperature), atol=1e-6)


def test_python_and_javascript_say_the_same(javascript):
    labels = list("abcdef")
    ties = [(np.zeros(6), 1.0), (np.array([2.0, 2, 0, 0, 0, 0]), 0.06), (np.array([2.0, 2, 0, 0, 0, 0]), 1.0)]
    ends = [(np.array([5.0, 0, 0, 0, 0, 0]), 0.06), (np.array([0.1, 0, 0, 0, 0, 0]), 10.0)]
    for logits, temperature in [*ties, *ends, *cases(20)]:
        weights = softmax(logits, temperature)
        spoken = javascript(MODULE, "describe", labels, logits.tolist(), temperature, weights.tolist())
        assert spoken == soft_to_hard.describe(labels, logits, temperature, weights)


def test_entropy_runs_from_no_bits_to_all_keys_alike(javascript):
    assert soft_to_hard.entropy(np.eye(6)[0]) == 0
    assert soft_to_hard.entropy(np.full(6, 1 / 6)) == pytest.approx(np.log2(6))
    for logits, temperature in cases(20):
        weights = softmax(logits, temperature)
        drawn = javascript(MODULE, "entropy", weights.tolist())
        assert drawn == pytest.approx(soft_to_hard.entropy(weights), abs=1e-9)


def test_cold_is_one_hot_and_hot_is_nearly_uniform():
    figure = SoftToHard(temperature=0.05)
    np.testing.assert_allclose(figure.weights, np.eye(6)[0], atol=1e-8)
    figure.temperature.value = 10.0
    assert figure.weights.max() - figure.weights.min() < 0.08
    for slider in figure.logits:
        slider.value = 1.0
    np.testing.assert_allclose(figure.weights, 1 / 6, atol=1e-15)


def test_weights_follow_every_control():
    figure = SoftToHard()
    for control in (figure.temperature, *figure.logits):
        before = figure.weights
        control.value = control.value / 2 + 0.7
        assert not np.allclose(figure.weights, before), control.description
        np.testing.assert_array_equal(np.array(figure.view.exact["weights"]), figure.weights)
    logits = [slider.value for slider in figure.logits]
    np.testing.assert_array_equal(figure.weights, softmax(logits, figure.temperature.value))


def test_temperature_one_is_a_stop_of_the_slider():
    slider = SoftToHard().temperature
    stops = slider.min + slider.step * np.arange(47)
    assert np.abs(stops).min() < 1e-9
    assert stops[-1] == pytest.approx(slider.max)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"logits": [1, 2, 3]}, "`logits` must be 6 numbers between -5 and 5"),
        ({"logits": [9, 0, 0, 0, 0, 0]}, "`logits` must be 6 numbers between -5 and 5"),
        ({"logits": [float("inf"), 0, 0, 0, 0, 0]}, "`logits` must be finite"),
        ({"labels": ["a"] * 6}, "`labels` must be 6 different names"),
        ({"temperature": 0.0}, "`temperature` must lie between 0.05 and 10"),
    ],
)
def test_bad_input_is_refused_with_the_remedy(arguments, message):
    with pytest.raises(ValueError, match=message):
        SoftToHard(**arguments)
