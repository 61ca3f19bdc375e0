"""The spread explorer: the outputs are those of the formula, whatever epsilon is."""

import re

import numpy as np
import pytest
from matplotlib.colors import to_hex
from pictures import (
    A_PIXEL,
    NUMBER,
    centre,
    ends_and_middle,
    on_page,
    points,
    read,
    shown,
    status,
    tick_names,
)

from bnlab import data, figures, sliders

DIGITS = data.digits()


def spread_batch():
    return DIGITS.x_train[:8].mean(axis=1)


BUILD = {"spread": lambda: sliders.spread_explorer(spread_batch())}
BAD = [
    (lambda: sliders.spread_explorer([]), "batch"),
    (lambda: sliders.spread_explorer([1.0]), "batch"),
    (lambda: sliders.spread_explorer([2.0, 2.0, 2.0]), "batch"),
    (lambda: sliders.spread_explorer([0.1, 0.1, 0.1]), "batch"),
    (lambda: sliders.spread_explorer([1.0, np.nan]), "batch"),
    (lambda: sliders.spread_explorer([1.0, np.inf]), "batch"),
    (lambda: sliders.spread_explorer([[1.0, 2.0]]), "batch"),
    (lambda: sliders.spread_explorer(3.0), "batch"),
    (lambda: sliders.spread_explorer("words"), "batch"),
    (lambda: sliders.spread_explorer([[1.0], [2.0, 3.0]]), "batch"),
]
EPSILONS = {0.1: "0.316", 0.001: "0.0316", 0.00001: "0.00316"}  # with their roots
every_epsilon = pytest.mark.parametrize("epsilon", EPSILONS)


@pytest.fixture(scope="module")
def built():
    return BUILD["spread"]()


def with_epsilon(epsilon):
    explorer = BUILD["spread"]()
    explorer.controls["epsilon"].value = epsilon
    return explorer


def test_the_spread_goes_from_0_to_10_and_starts_at_1(built):
    values = [float(value) for value in built.slider.options]
    assert len(values) == 52
    assert values[0] == 0
    assert values[-1] == 10
    assert values == sorted(values)
    np.testing.assert_allclose(np.diff(np.log10(values[1:])), 0.1, atol=0.003)  # even steps on a log slider
    assert BUILD["spread"]().slider.value == "1"


def test_epsilon_is_the_second_control_and_starts_at_keras_s(built):
    (epsilon,) = built.controls.values()
    assert dict(epsilon.options) == {f"{value:.5f}".rstrip("0"): value for value in EPSILONS}
    assert epsilon.value == 0.001


@every_epsilon
def test_spread_outputs_are_those_of_the_formula(epsilon):
    explorer, batch = with_epsilon(epsilon), spread_batch().astype(float)
    left, right = explorer._figure.axes
    for index in ends_and_middle(explorer):
        spread = 0 if index == 0 else 10 ** (-4 + 0.1 * (index - 1))
        x = batch.mean() + spread * (batch - batch.mean()) / batch.std()
        outputs = (x - x.mean()) / np.sqrt(x.var() + epsilon)
        ((color, (dot,)),) = read(explorer, "circle").items()
        ((marker_color, (marker,)),) = read(explorer, "polyline").items()
        ((square_color, squares),) = read(explorer, "rect", panel=1).items()
        assert color == marker_color == to_hex(figures.VERMILLION)
        assert square_color == to_hex(figures.BLUE)
        ((x_dot, y_dot),) = on_page(left, [spread], [outputs.std()])
        np.testing.assert_allclose(centre(dot), [x_dot, y_dot], atol=A_PIXEL)
        centres = [centre(square) for square in squares]
        np.testing.assert_allclose(centres, on_page(right, np.arange(1, 9), outputs), atol=A_PIXEL)
        np.testing.assert_allclose(points(marker)[:, 0], x_dot, atol=A_PIXEL)
        said = re.findall(NUMBER, status(shown(explorer)))
        assert [float(number) for number in said[:4]] == pytest.approx(
            [spread, outputs.std(), outputs.min(), outputs.max()], rel=5e-3, abs=5.1e-3
        )
        assert said[4] == explorer.controls["epsilon"].label
        assert "-0.00 " not in explorer.alt


def test_the_outputs_of_a_crooked_batch_lie_on_their_own_side():
    explorer = sliders.spread_explorer([0.0, 0.0, 0.0, 4.0])  # -0.577 three times, and 1.73
    explorer.slider.index = 51
    (squares,) = read(explorer, "rect", panel=1).values()
    right = explorer._figure.axes[1]
    expected = on_page(right, [1, 2, 3, 4], [-0.57735, -0.57735, -0.57735, 1.73205])
    np.testing.assert_allclose([centre(square) for square in squares], expected, atol=A_PIXEL)
    assert "from -0.58 to 1.73" in status(shown(explorer))


@every_epsilon
def test_the_fixed_curve_of_spread_is_the_formula_and_its_half_power_point_is_told(epsilon):
    explorer = with_epsilon(epsilon)
    (curve,) = explorer._figure.axes[0].lines
    spread, out = curve.get_data()
    np.testing.assert_allclose(spread, [0, *10 ** np.linspace(-4, 1, 51)], rtol=1e-12)
    np.testing.assert_allclose(out, spread / np.sqrt(spread**2 + epsilon), rtol=1e-12)
    assert f"0.707 at s = {EPSILONS[epsilon]}." in explorer.alt
    assert "the 8 outputs" in explorer.alt


def test_the_axes_of_spread_show_every_spread_and_outputs_of_both_signs(built):
    left, right = built._figure.axes
    assert left.get_xscale() == "symlog"
    names = tick_names(left)
    assert [float(name) for name in names.values()] == pytest.approx(list(names))
    assert left.get_xlim()[0] <= 0 < 10 <= left.get_xlim()[1]
    assert left.get_ylim() == (-0.05, 1.1)
    batch = spread_batch().astype(float)
    largest = np.abs((batch - batch.mean()) / batch.std()).max()
    np.testing.assert_allclose(right.get_ylim(), [-1.15 * largest, 1.15 * largest])
    assert tick_names(right) == {k: str(k) for k in range(1, 9)}
    (zero,) = right.lines
    assert set(zero.get_ydata()) == {0}


def test_the_dots_of_spread_stay_in_the_picture(built):
    for index in range(52):
        built.slider.index = index
        for square in read(built, "rect", panel=1)[to_hex(figures.BLUE)]:
            assert 40 <= float(square.get("y")) <= 310


def test_many_examples_are_named_at_both_ends_only():
    explorer = sliders.spread_explorer(np.arange(20.0))
    assert tick_names(explorer._figure.axes[1]) == {1: "1", 20: "20"}
    assert "the 20 outputs" in explorer.alt


def test_another_batch_gives_another_explorer():
    shifted = sliders.spread_explorer(spread_batch() + 5)
    same = BUILD["spread"]()
    assert [child.value for child in shifted.stack.children][30:] == [
        child.value for child in same.stack.children
    ][30:]  # a shift is taken out
    other = sliders.spread_explorer(DIGITS.x_train[8:16].mean(axis=1))
    assert other.alt != same.alt
