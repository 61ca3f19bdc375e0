"""The decay explorer: the moving average is drawn and told as computed by hand."""

import numpy as np
import pytest
from matplotlib.colors import to_hex
from pictures import (
    SVG,
    ends_and_middle,
    lines_by_label,
    painted,
    panels,
    points,
    shown,
    status,
)

from bnlab import data, figures, sliders

DIGITS = data.digits()
STEPS = 200


def batch_means():
    rng = np.random.default_rng(0)
    unit = DIGITS.x_train @ rng.normal(size=64)
    return {size: np.array([rng.choice(unit, size).mean() for _ in range(STEPS)]) for size in (4, 16, 64)}


BUILD = {"decay": lambda: sliders.decay_explorer(batch_means())}
BAD = [
    (lambda: sliders.decay_explorer([]), "batch_means"),
    (lambda: sliders.decay_explorer({}), "batch_means"),
    (lambda: sliders.decay_explorer([1.0]), "batch_means"),
    (lambda: sliders.decay_explorer([1.0, np.nan]), "batch_means"),
    (lambda: sliders.decay_explorer({4: [1.0, 2.0], 16: [1.0, -np.inf]}), "batch_means"),
    (lambda: sliders.decay_explorer({4: [1.0, 2.0], 16: [1.0, 2.0, 3.0]}), "batch_means"),
    (lambda: sliders.decay_explorer([[1.0, 2.0], [3.0, 4.0]]), "batch_means"),
]


@pytest.fixture(scope="module")
def built():
    return BUILD["decay"]()


def y_range(series):
    everything = [0.0, *np.concatenate(list(series.values()))]
    margin = 0.08 * (max(everything) - min(everything))
    return min(everything) - margin, max(everything) + margin


def test_momentum_goes_from_a_half_to_999_in_51_values_with_the_familiar_ones(built):
    momenta = [float(value) for value in built.slider.options]
    assert len(momenta) == 51
    assert momenta == sorted(set(momenta))
    assert (momenta[0], momenta[-1]) == (0.5, 0.999)
    assert {0.9, 0.95, 0.99, 0.995} <= set(momenta)
    steps = np.diff(np.log(1 - np.array(momenta)))
    assert steps.max() / steps.min() < 1.0  # all go one way
    assert np.abs(steps / steps.mean() - 1).max() < 0.6  # about as far each
    assert BUILD["decay"]().slider.value == "0.99"


@pytest.mark.parametrize("debias", [False, True])
@pytest.mark.parametrize("size", [4, 16, 64])
def test_the_moving_average_is_drawn_and_told_as_computed_by_hand(size, debias):
    explorer, series = BUILD["decay"](), batch_means()
    explorer.controls["size"].value = size
    explorer.controls["debias"].value = debias
    low, high = y_range(series)
    for index in [*ends_and_middle(explorer), explorer.slider.options.index("0.9")]:
        explorer.slider.index = index
        momentum, average, by_hand = float(explorer.slider.value), 0.0, []
        for step, value in enumerate(series[size], start=1):
            average = momentum * average + (1 - momentum) * value
            by_hand.append(average / (1 - momentum**step) if debias else average)
        half_life = np.log(0.5) / np.log(momentum)
        root = shown(explorer)
        lines = painted(panels(root)[0], "polyline")
        curve, *marker = (points(line) for found in lines.values() for line in found)
        assert next(iter(lines)) == to_hex(figures.VERMILLION)
        # The axes take 548 x 270 pixels from (74, 40) on; steps go from 0 to 201.
        expected = [74 + 548 * np.arange(1, 201) / 201, 40 + 270 * (high - np.array(by_hand)) / (high - low)]
        np.testing.assert_allclose(curve, np.transpose(expected), atol=0.06)
        for line in marker:
            np.testing.assert_allclose(line[:, 0], 74 + 548 * half_life / 201, atol=0.06)
        words = {element.text: float(element.get("x")) for element in root.iter(SVG + "text")}
        assert bool(marker) == ("half-life" in words) == (half_life < STEPS)
        if marker:
            assert abs(words["half-life"] - marker[0][0, 0]) < 10
        left = "the initial 0 taken out." if debias else f"{100 * momentum**STEPS:.1f}% still the initial 0."
        assert status(root) == (
            f"momentum {explorer.slider.value}, half-life {half_life:.1f} steps. "
            f"After 200 steps: {by_hand[-1]:.2f}, {left}"
        )
    assert f"the means of 200 batches, around {np.mean(series[size]):.2f}" in explorer.alt
    assert f"y from {low:.2f} to {high:.2f}" in explorer.alt


@pytest.mark.parametrize("size", [64, 4])
def test_the_fixed_part_of_decay_are_the_batch_means_and_their_mean(size):
    explorer, series = BUILD["decay"](), batch_means()
    explorer.controls["size"].value = size
    (axes,) = explorer._figure.axes
    lines = lines_by_label(axes)
    assert list(lines) == ["mean of one batch", "mean of all batches"]
    dots, mean = lines.values()
    np.testing.assert_array_equal(dots.get_ydata(), series[size])
    np.testing.assert_array_equal(dots.get_xdata(), np.arange(1, 201))
    np.testing.assert_allclose(mean.get_ydata(), series[size].mean())
    assert (dots.get_linestyle(), mean.get_linestyle()) == ("None", "--")
    assert axes.get_xlim() == (0, 201)
    np.testing.assert_allclose(axes.get_ylim(), y_range(series))


def test_all_frames_of_decay_are_small(built):
    assert sum(len(child.value) for child in built.stack.children) <= 250_000


def test_one_series_needs_no_batch_size():
    explorer = sliders.decay_explorer(batch_means()[16].tolist())
    assert list(explorer.controls) == ["debias"]
    assert "batch size" not in explorer.alt
    other = BUILD["decay"]()
    other.controls["size"].value = 16
    assert status(shown(explorer)) == status(shown(other))


def test_means_below_zero_pull_the_average_below_zero():
    up, down = (sliders.decay_explorer(sign * np.array([1.0, 2.0, 4.0])) for sign in (1, -1))
    for explorer in (up, down):
        explorer.slider.index = 0  # momentum .5: 0.5, 1.25, 2.625
    assert "After 3 steps: 2.62, 12.5% still" in status(shown(up))
    assert "After 3 steps: -2.62, 12.5% still" in status(shown(down))
    heights = [points(next(shown(explorer).iter(SVG + "polyline")))[:, 1] for explorer in (up, down)]
    assert (np.diff(heights[0]) < 0).all()
    assert (np.diff(heights[1]) > 0).all()


def test_debias_and_size_start_as_the_notebook_says(built):
    debias, size = built.controls.values()
    assert (debias.value, size.value, dict(size.options)) == (False, 4, {"4": 4, "16": 16, "64": 64})
    assert "debias off. batch size 4." in built.alt


def test_two_steps_are_enough_for_decay():
    explorer = sliders.decay_explorer([1.0, 3.0])
    assert "After 2 steps: 0.04, 98.0% still the initial 0." in explorer.alt


def test_a_moving_average_just_below_zero_is_written_without_a_sign():
    explorer = sliders.decay_explorer([-1e-9, -1e-9, -1e-9])
    assert "-0.00" not in explorer.alt
