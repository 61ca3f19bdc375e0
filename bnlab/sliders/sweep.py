"""Curves over one quantity: the slider carries a line along them and reads them off."""

from dataclasses import dataclass, field

import numpy as np

from bnlab import checks, figures
from bnlab.figures import COLORS, GREY, INK
from bnlab.sliders.explorer import Explorer
from bnlab.sliders.marks import Dots, Frame, Marker
from bnlab.words import rounded

__all__ = ["SidePanel", "sweep_explorer"]


@dataclass(frozen=True, kw_only=True)
class SidePanel:
    """What is seen at each value of a sweep, in a second panel: dots over names."""

    names: list  # under the dots
    ylabel: str  # what the dots show, with its unit
    ylim: tuple  # range of the y axis
    moving: dict  # {label: array of shape (values, names)}, at most five
    fixed: dict = field(default_factory=dict)  # {label: shape (names,)}, what the dots are held against

    def check(self, count):
        """Check that there are dots for each of `count` values and for each name."""
        shape = (count, len(self.names))
        for label, dots in self.moving.items():
            _shaped(f"beside.moving[{label!r}]", dots, shape)
        for label, dots in self.fixed.items():
            _shaped(f"beside.fixed[{label!r}]", dots, shape[1:])

    def said(self):
        """Return what the panel shows in words."""
        held = [f"{label}: " + ", ".join(map(rounded, dots)) for label, dots in self.fixed.items()]
        against = f" Held against {'; '.join(held)}." if held else ""
        return f" Right, dots: {self.ylabel} of {', '.join(self.names)}.{against}"

    def draw(self, axes):
        """Draw what stands still, and room for what moves."""
        places = np.arange(len(self.names))
        for label, y in self.fixed.items():
            axes.plot(places, y, "D", ms=9, mfc="none", mec=INK, mew=1.4, label=label)
        for number, label in enumerate(self.moving):
            axes.plot([], [], "os"[number % 2], color=COLORS[number], ms=6, label=label)
        axes.axhline(0, color=GREY, lw=0.8)
        crowded = sum(map(len, self.names)) > 20
        axes.set_xticks(places, self.names, fontsize=8 if crowded else None)
        axes.set_ylabel(self.ylabel, labelpad=1)
        axes.set(ylim=self.ylim, xlim=(-0.6, len(places) - 0.4))
        if len(self.fixed) + len(self.moving) > 1:
            figures.legend(axes, 3, low=True)

    def marks(self, index):
        """Return the dots at one value of the sweep, those of each label a little beside the others."""
        places, middle = np.arange(len(self.names)), (len(self.moving) - 1) / 2
        return [
            Dots(places + 0.16 * (number - middle), dots[index], COLORS[number], "os"[number % 2], panel=1)
            for number, dots in enumerate(self.moving.values())
        ]


def sweep_explorer(
    name, values, curves, *, start, ylabel, ylim=None, log_x=False, log_y=False, beside=None, spell=None
):
    """Explore curves over one quantity: the slider carries a line along them and reads them off.

    Args:
        name: what is swept, with its unit or "no unit".
        values: where, shape (values,), two or more, no two alike in three digits.
        curves: {short label: array of shape (values,)}, at most five.
        start: the one of the values that is shown first.
        ylabel: what the curves show, with the unit.
        ylim: range of the y axis, or None to fit the curves.
        log_x, log_y: logarithmic axes; all values, or all curves, must be positive.
        beside: a `SidePanel` for a second panel, or None.
        spell: writes a value of a curve in words; `figures.rounded` if None.

    Returns:
        An `Explorer` over the values.

    Raises:
        ValueError: shapes that do not fit, NaN or infinity, no such value as start, nothing to draw, values
            that read alike or that a logarithmic axis cannot show.
        TypeError: values that are no numbers.
    """
    spell = spell or rounded
    values = _values(values, start, log_x)
    curves = _curves(curves, values.shape, log_y)
    if beside:
        beside.check(len(values))
    labels = [rounded(value) for value in values]

    def draw():
        axes = {"xlabel": name, "ylabel": ylabel, "ylim": ylim}
        figure = _background(values, curves, beside, log_x=log_x, log_y=log_y, **axes)
        frames = [_frame(name, *at, curves, beside, spell) for at in enumerate(values)]
        second = beside.said() if beside else ""
        return figure, frames, f"Line chart of {ylabel}. {figures.ends(curves, spell)}.{second}"

    return Explorer(name, labels, list(values).index(start), draw)


def _values(values, start, log_x):
    values = checks.finite("values", values, axes=1).astype(float)
    if len(values) < 2 or len({rounded(value) for value in values}) < len(values):
        raise ValueError("values has fewer than two, or some that read alike; expected two or more different")
    if log_x and (values <= 0).any():
        raise ValueError("values holds 0 or less; expected positive values with log_x")
    if start not in values:
        raise ValueError(f"start is {start}; expected one of the values")
    return values


def _curves(curves, shape, log_y):
    if not 1 <= len(curves) <= len(COLORS):
        raise ValueError(f"curves has {len(curves)} entries; expected 1 to {len(COLORS)}")
    curves = {label: _shaped(f"curves[{label!r}]", y, shape) for label, y in curves.items()}
    for label, y in curves.items():
        if log_y and (y <= 0).any():
            raise ValueError(f"curves[{label!r}] holds 0 or less; expected positive values with log_y")
    return curves


def _shaped(name, values, shape):
    array = checks.finite(name, values, axes=len(shape)).astype(float)
    if array.shape != shape:
        raise ValueError(f"{name} has shape {array.shape}; expected {shape}")
    return array


@figures.style()
def _background(values, curves, beside, *, log_x, log_y, **labels):
    """Draw a line for each curve, and room for what is seen at one value."""
    panels = {"panels": 2, "ratios": (3, 2)} if beside else {}
    figure = figures.blank(**panels, left=84 if log_y else 74, head=48)
    axes = figure.axes[0]
    figures.curves(axes, {label: (values, y) for label, y in curves.items()}, log_x=log_x, log_y=log_y)
    axes.set(**labels)
    if len(curves) > 1:
        figures.legend(axes, len(curves), low=True)
    if beside:
        beside.draw(figure.axes[1])
    return figure


def _frame(name, index, value, curves, beside, spell):
    marks = [Marker(INK, x=value)]
    marks += [
        Dots([value], [y[index]], color, size=12) for y, color in zip(curves.values(), COLORS, strict=False)
    ]
    read = ", ".join(f"{label} {spell(y[index])}" for label, y in curves.items())
    return Frame.captioned(
        [*marks, *(beside.marks(index) if beside else ())],
        f"{name.partition(' (')[0]} {rounded(value)}: {read}.",
    )
