"""The sweep explorer: dots on the curves that are read off, and dots over names at their side."""

from dataclasses import FrozenInstanceError, fields, replace

import numpy as np
import pytest
from matplotlib.colors import to_hex
from pictures import (
    A_PIXEL,
    centre,
    ends_and_middle,
    legend_labels,
    lines_by_label,
    on_page,
    points,
    read,
    shown,
    status,
    tick_names,
)

from bnlab import figures, sliders

SWEPT = np.array([1e-5, 1e-4, 1e-3, 1e-2, 0.1])
MISFITS = {"as posted": np.abs(SWEPT - 1e-3) + 1e-7, "with Bessel": SWEPT + 0.1}
SIDE = sliders.SidePanel(
    names=["first", "second", "third"],
    ylabel="output (no unit)",
    ylim=(-1, 2),
    moving={"yours": np.linspace(-0.8, 1.7, 15).reshape(5, 3)},
    fixed={"printed": [1.09, -0.56, 1.64]},
)
THREE = {
    label: sign * np.linspace(0.1, 1.5, 15).reshape(5, 3) for label, sign in (("a", 1), ("b", -1), ("c", 0.5))
}


def sweep(**changes):
    usual = {"start": 1e-3, "ylabel": "largest misfit (no unit)", "log_x": True, "log_y": True}
    return sliders.sweep_explorer("epsilon (squared unit of x)", SWEPT, MISFITS, **usual | changes)


def curve(values=SWEPT, **changes):
    return sliders.sweep_explorer(
        "x", values, **{"curves": {"y": SWEPT}, "start": 0.1, "ylabel": "y"} | changes
    )


BUILD = {
    "sweep": lambda: sweep(spell=figures.magnitude),
    "sweep with side panel": lambda: sweep(beside=SIDE),
}
BAD = [
    (lambda: sweep(start=0.5), "start"),
    (lambda: curve([1.0], curves={"y": [1.0]}, start=1.0), "values"),
    (lambda: curve([1.0, 1.0001], curves={"y": [1, 2]}, start=1.0), "values"),
    (lambda: curve([1.0, np.nan], curves={"y": [1, 2]}, start=1.0), "values"),
    (lambda: curve(curves={}), "curves"),
    (lambda: curve(curves={str(k): SWEPT for k in range(6)}), "curves"),
    (lambda: curve(curves={"y": [1.0]}), r"curves\['y'\]"),
    (lambda: curve(curves={"y": SWEPT * np.nan}), "curves"),
    (lambda: curve(curves={"y": -SWEPT}, log_y=True), "curves.*log_y"),
    (lambda: curve(-SWEPT, start=-0.1, log_x=True), "values.*log_x"),
    (lambda: sweep(beside=replace(SIDE, moving={"yours": np.ones((5, 2))})), "beside.moving"),
    (lambda: sweep(beside=replace(SIDE, moving={"yours": np.ones(3)})), "beside.moving"),
    (lambda: sweep(beside=replace(SIDE, fixed={"printed": np.ones(2)})), "beside.fixed"),
    (lambda: sweep(beside=replace(SIDE, fixed={"printed": [1, 2, np.inf]})), "beside.fixed"),
]


@pytest.fixture(scope="module")
def built():
    return {name: build() for name, build in BUILD.items()}


def dot_colors(explorer, panel=0):
    """Return {colour: where its dots lie} in a panel, circles and squares alike."""
    found = read(explorer, "circle", panel) | read(explorer, "rect", panel)
    return {color: np.array([centre(shape) for shape in shapes]) for color, shapes in found.items()}


def test_a_sweep_puts_a_dot_on_each_curve_and_reads_it_off(built):
    for name, spell in (("sweep", figures.magnitude), ("sweep with side panel", figures.rounded)):
        explorer = built[name]
        axes = explorer._figure.axes[0]
        for index, value in enumerate(SWEPT):
            explorer.slider.index = index
            dots = dot_colors(explorer)
            lines = lines_by_label(axes)
            assert list(dots) == [to_hex(line.get_color()) for line in lines.values()]
            for line, curve in zip(lines.values(), MISFITS.values(), strict=True):
                expected = on_page(axes, [value], [curve[index]])
                np.testing.assert_allclose(dots[to_hex(line.get_color())], expected, atol=A_PIXEL)
            ((marker,),) = read(explorer, "polyline").values()
            np.testing.assert_allclose(points(marker)[:, 0], expected[0, 0], atol=A_PIXEL)
            said = ", ".join(f"{label} {spell(curve[index])}" for label, curve in MISFITS.items())
            assert status(shown(explorer)) == f"epsilon {explorer.slider.value}: {said}."
            assert float(explorer.slider.value) == value


def test_the_fixed_part_of_a_sweep_are_its_curves_and_where_they_begin_and_end(built):
    lines = lines_by_label(built["sweep with side panel"]._figure.axes[0])
    assert list(lines) == list(MISFITS)
    for label, line in lines.items():
        np.testing.assert_array_equal(line.get_data(), [SWEPT, MISFITS[label]])
    assert (
        "Line chart of largest misfit (no unit). "
        "as posted: from 0.00099 to 0.099; with Bessel: from 0.1 to 0.2."
        in built["sweep with side panel"].alt
    )
    assert "as posted: from 1e-3 to 1e-1; with Bessel: from 1e-1 to 1e-1." in built["sweep"].alt


@pytest.mark.parametrize("log_x", [True, False])
@pytest.mark.parametrize("log_y", [True, False])
def test_the_axes_of_a_sweep_are_as_asked_for(log_x, log_y):
    fitted, asked = (sweep(log_x=log_x, log_y=log_y, ylim=ylim)._figure.axes[0] for ylim in (None, (1e-4, 5)))
    for axes in (fitted, asked):
        assert (axes.get_xscale() == "log", axes.get_yscale() == "log") == (log_x, log_y)
        assert (axes.get_xlabel(), axes.get_ylabel()) == (
            "epsilon (squared unit of x)",
            "largest misfit (no unit)",
        )
    assert asked.get_ylim() == (1e-4, 5)
    low, high = fitted.get_ylim()
    assert low < 1e-7 + 1e-12
    assert 0.2 < high < 1


def test_a_curve_below_zero_is_drawn_and_read_off_below_zero():
    values, y = [1.0, 2.0, 3.0], [5.0, -2.0, -7.0]
    explorer = sliders.sweep_explorer("time (steps)", values, {"one": y}, start=2, ylabel="y (no unit)")
    assert explorer.slider.index == 1
    (axes,) = explorer._figure.axes
    assert axes.get_legend() is None  # one curve needs none
    np.testing.assert_array_equal(axes.lines[0].get_data(), [values, y])
    for index, said in zip(ends_and_middle(explorer), ("1: one 5", "2: one -2", "3: one -7"), strict=True):
        assert status(shown(explorer)) == f"time {said}."
        (dots,) = dot_colors(explorer).values()
        np.testing.assert_allclose(dots, on_page(axes, [values[index]], [y[index]]), atol=A_PIXEL)


def test_a_side_panel_holds_moving_dots_against_fixed_ones(built):
    explorer = built["sweep with side panel"]
    right = explorer._figure.axes[1]
    assert tick_names(right) == dict(enumerate(SIDE.names))
    assert right.get_ylim() == SIDE.ylim
    assert right.get_ylabel() == SIDE.ylabel
    lines = lines_by_label(right)
    assert list(lines) == ["printed", "yours"]
    np.testing.assert_array_equal(lines["printed"].get_data(), [[0, 1, 2], SIDE.fixed["printed"]])
    for index in ends_and_middle(explorer):
        ((color, dots),) = dot_colors(explorer, panel=1).items()
        assert color == to_hex(lines["yours"].get_color())
        np.testing.assert_allclose(dots, on_page(right, [0, 1, 2], SIDE.moving["yours"][index]), atol=A_PIXEL)
    assert (
        " Right, dots: output (no unit) of first, second, third. Held against printed: 1.09, -0.56, 1.64."
        in explorer.alt
    )


def test_dots_of_several_labels_stand_beside_each_other_in_the_colours_of_the_legend():
    explorer = sweep(beside=replace(SIDE, moving=THREE, fixed={}))
    right = explorer._figure.axes[1]
    lines = lines_by_label(right)
    assert legend_labels(right) == list(lines) == list(THREE)
    assert [line.get_marker() for line in lines.values()] == ["o", "s", "o"]
    for index in ends_and_middle(explorer):
        dots = dot_colors(explorer, panel=1)
        assert len(dots) == 3
        for aside, (label, values) in zip((-0.16, 0, 0.16), THREE.items(), strict=True):
            expected = on_page(right, np.arange(3) + aside, values[index])
            np.testing.assert_allclose(dots[to_hex(lines[label].get_color())], expected, atol=A_PIXEL)
    assert {*read(explorer, "circle", 1)} == {to_hex(lines[label].get_color()) for label in "ac"}
    assert "Held against" not in explorer.alt


def test_fixed_dots_alone_need_no_legend_and_may_be_left_out():
    bare = sliders.SidePanel(names=list("abc"), ylabel="y", ylim=(0, 2), moving={"one": np.ones((5, 3))})
    assert bare.fixed == {}
    assert sweep(beside=bare)._figure.axes[1].get_legend() is None


def test_a_side_panel_is_made_by_names_and_stays_as_it_is():
    assert [field.name for field in fields(SIDE)] == ["names", "ylabel", "ylim", "moving", "fixed"]
    with pytest.raises(TypeError, match="positional"):
        sliders.SidePanel(["a"], "y", (0, 1), {})
    with pytest.raises(FrozenInstanceError):
        SIDE.ylim = (0, 1)
