"""The mates explorer: each frame shows and tells the probabilities of its row."""

import numpy as np
import pytest
from matplotlib.colors import to_hex
from pictures import (
    SVG,
    corners,
    ends_and_middle,
    legend_labels,
    on_page,
    panels,
    read,
    shown,
    status,
    tick_names,
)

from bnlab import data, figures, sliders

DIGITS = data.digits()
FAIR = np.full((3, 2), 0.5)


def softmax(logits):
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)


def probabilities():
    """Return one digit's class probabilities in both modes, as its 31 mates are replaced one by one."""
    rng = np.random.default_rng(0)
    x, weights = DIGITS.x_train.astype(float), rng.normal(size=(64, 10))
    x = x @ weights
    image, mates = x[4:5], x[rng.choice(len(x), 31, replace=False)]
    same = x[DIGITS.y_train == 4][:31]
    batches = [np.concatenate([image, same[:k], mates[k:]]) for k in range(32)]
    training = [3 * ((b - b.mean(axis=0)) / np.sqrt(b.var(axis=0) + 1e-3))[:1] for b in batches]
    inference = 3 * (image - x.mean(axis=0)) / np.sqrt(x.var(axis=0) + 1e-3)
    return softmax(np.concatenate(training)), np.repeat(softmax(inference), 32, axis=0)


BUILD = {"mates": lambda: sliders.mates_explorer(*probabilities(), label=4)}
BAD = [
    (lambda: sliders.mates_explorer([], FAIR, label=0), "training"),
    (lambda: sliders.mates_explorer(FAIR, [], label=0), "inference"),
    (lambda: sliders.mates_explorer(FAIR, FAIR[:2], label=0), "inference"),
    (lambda: sliders.mates_explorer(FAIR[:1], FAIR[:1], label=0), "two rows"),
    (lambda: sliders.mates_explorer(FAIR * np.nan, FAIR, label=0), "training"),
    (lambda: sliders.mates_explorer(FAIR, FAIR * np.inf, label=0), "inference"),
    (lambda: sliders.mates_explorer(FAIR * 1.01, FAIR, label=0), "training"),
    (lambda: sliders.mates_explorer(FAIR, FAIR * 0.99, label=0), "inference"),
    (lambda: sliders.mates_explorer(FAIR + np.array([1, -1]), FAIR, label=0), "training"),
    (lambda: sliders.mates_explorer(FAIR, FAIR, label=2), "label"),
    (lambda: sliders.mates_explorer(FAIR, FAIR, label=-1), "label"),
]


@pytest.fixture(scope="module")
def built():
    return BUILD["mates"]()


def test_each_frame_of_mates_shows_and_tells_the_probabilities_of_its_row(built):
    explorer, (training, inference) = built, probabilities()
    (axes,) = explorer._figure.axes
    for index in ends_and_middle(explorer):
        root = shown(explorer)
        ((color, bars),) = read(explorer, "rect").items()
        assert color == to_hex(figures.BLUE)
        heights = np.array([float(bar.get("height")) for bar in bars])
        np.testing.assert_allclose(heights, 270 / 1.05 * training[index], atol=0.11)
        bottoms = [corners(bar)[1, 1] for bar in bars]
        np.testing.assert_allclose(bottoms, 310, atol=0.11)
        # The bar of class k stands on the left of k.
        sides = [on_page(axes, np.arange(10) + side, np.zeros(10))[:, 0] for side in (-0.39, -0.01)]
        np.testing.assert_allclose([corners(bar)[:, 0] for bar in bars], np.transpose(sides), atol=0.11)
        inner = next(root.iter(SVG + "svg")).find(SVG + "svg")  # nothing is cut off at the sides
        assert float(bars[0].get("x")) > float(inner.get("x"))
        assert status(root) == (
            f"{index} of 31 mates replaced, image of a 4: training mode says {training[index].argmax()} "
            f"({100 * training[index].max():.0f}%), inference mode {inference[index].argmax()} "
            f"({100 * inference[index].max():.0f}%)."
        )
    assert list(explorer.slider.options) == [str(k) for k in range(32)]
    assert "none changes by more than 0.00" in explorer.alt


def test_the_two_modes_are_not_confused():
    training, inference = np.array([[0.2, 0.7, 0.1], [0.9, 0.1, 0.0]]), np.array([[0.1, 0.3, 0.6]] * 2)
    explorer = sliders.mates_explorer(training, inference, label=2)
    assert status(shown(explorer)) == (
        "0 of 1 mates replaced, image of a 2: training mode says 1 (70%), inference mode 2 (60%)."
    )
    explorer.slider.index = 1
    assert status(shown(explorer)) == (
        "1 of 1 mates replaced, image of a 2: training mode says 0 (90%), inference mode 2 (60%)."
    )
    assert [patch.get_height() for patch in explorer._figure.axes[0].containers[0]] == [0.1, 0.3, 0.6]


def test_the_fixed_bars_of_mates_are_those_of_inference(built):
    (axes,) = built._figure.axes
    fixed, legend_only = axes.containers
    heights = [patch.get_height() for patch in fixed]
    np.testing.assert_array_equal(heights, probabilities()[1][0])
    # The bar of class k stands on the right of k, over its name.
    np.testing.assert_allclose([patch.get_x() for patch in fixed], np.arange(10) + 0.01)
    assert tick_names(axes) == {k: str(k) for k in range(10)}
    assert axes.get_ylim() == (0, 1.05)
    assert legend_labels(axes) == [fixed.get_label(), legend_only.get_label()]
    assert legend_labels(axes) == ["inference mode", "training mode (moves)"]
    hatched, plain = axes.get_legend().get_patches()
    assert hatched.get_hatch() == fixed[0].get_hatch() == "///"
    assert to_hex(plain.get_facecolor()) == to_hex(figures.BLUE)


def test_training_and_inference_bars_stand_side_by_side(built):
    (axes,) = built._figure.axes
    fixed = [patch.get_window_extent() for patch in axes.containers[0]]
    moving = [corners(bar)[1, 0] for bar in panels(shown(built))[0] if bar.tag == SVG + "rect"]
    for box, right in zip(fixed, moving, strict=True):
        assert 0 < box.x0 - right < 6


def test_the_largest_change_in_inference_mode_is_told():
    training, inference = probabilities()
    inference = inference.copy()
    inference[5] = np.roll(inference[5], 1)
    explorer = sliders.mates_explorer(training, inference, label=4)
    change = np.ptp(inference, axis=0).max()
    assert change > 0.1
    assert f"none changes by more than {change:.2f} over" in explorer.alt


def test_float32_probabilities_are_good_enough():
    training, inference = (rows.astype(np.float32) for rows in probabilities())
    sliders.mates_explorer(training, inference, label=np.int64(4))
