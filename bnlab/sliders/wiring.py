"""Which operations of a v1 graph one training step executes, wiring by wiring."""

import re
from typing import NamedTuple

import numpy as np
from matplotlib.patches import Rectangle

from bnlab import figures
from bnlab.figures import BLUE, GREEN, GREY, VERMILLION
from bnlab.sliders.explorer import Explorer
from bnlab.sliders.marks import Bars, Curve, Frame, Text

__all__ = ["Wiring", "wiring_explorer"]

_BOX_SIZE = (2.2, 0.8)
_BOXES = {  # name: x, y, label, regular expression for the names of its operations, from their start
    "hidden": (1.6, 5.3, "hidden layer", "hidden$"),
    "moments": (1.6, 3.7, "batch statistics", "(?!gradients).*/moments/mean$"),
    "normalize": (5.0, 5.3, "normalize", "(?!gradients).*/batchnorm/add_1$"),
    "entropy": (8.4, 5.3, "cross-entropy", "SparseSoftmaxCrossEntropy"),
    "loss": (5.0, 3.9, "loss, their mean", "loss$"),
    "gradients": (8.4, 3.2, "gradients", "gradients/"),
    "train": (8.4, 0.8, "train_op", "train_op"),
    "update": (1.6, 2.2, "2 update operations", ".*AssignMovingAvg.*/AssignSub"),
    "moving": (1.6, 0.7, "moving_mean,\nmoving_variance", ".*AssignMovingAvg.*/AssignSub"),
}
_ARROWS = [
    ("hidden", "moments"),
    ("hidden", "normalize"),
    ("moments", "normalize"),
    ("normalize", "entropy"),
    ("entropy", "loss"),
    ("entropy", "gradients"),
    ("gradients", "train"),
    ("moments", "update"),
    ("update", "moving"),
]


class Wiring(NamedTuple):
    """One way to run a train step: what `session.run` executed, and why the updates were among it."""

    executed: tuple  # names of the operations that ran
    tied: bool  # the train operation depends on the updates
    fetched: bool  # session.run was asked for the updates by name


def wiring_explorer(wirings):
    """Explore which operations of a v1 graph `session.run` executes, one wiring after the other.

    Args:
        wirings: {name: Wiring}, two or more, of a graph whose operations are called as in the notebook
            on update operations: "hidden", "loss", "train_op" and a v1 batch-norm layer.

    Returns:
        An `Explorer` over the wirings.

    Raises:
        ValueError: fewer than two wirings, or one that executed no operation of the picture.
    """
    if len(wirings) < 2:
        raise ValueError(f"wirings has {len(wirings)} entries; expected two or more")
    for name, wiring in wirings.items():
        if not _lit_boxes(wiring):
            raise ValueError(
                f"wirings[{name!r}] executed no operation of the picture; expected operation names"
            )

    def draw():
        frames = [_frame(name, wiring) for name, wiring in wirings.items()]
        about = f"A training step as a graph of {len(_BOXES)} boxes; those that ran are filled and ticked."
        return _background(), frames, about

    return Explorer(f"wiring (of {len(wirings)})", list(wirings), 0, draw)


@figures.style()
def _background():
    """Draw the graph of boxes and arrows, none of it lit, in a picture of 10 by 6 units."""
    figure = figures.blank()
    (axes,) = figure.axes
    axes.set(xlim=(0, 10), ylim=(0, 6))
    axes.axis("off")
    figure.subplots_adjust(left=0.01, right=0.99, bottom=0.01, top=0.91)
    look = {"arrowstyle": "-|>", "color": GREY, "lw": 1.1}
    for start, end in _ARROWS:
        axes.annotate("", xy=_edge(end, start), xytext=_edge(start, end), arrowprops=look)
    width, height = _BOX_SIZE
    for x, y, label, _ in _BOXES.values():
        axes.text(x, y, label, ha="center", va="center", fontsize=8.5, zorder=5)
        corner = x - width / 2, y - height / 2
        axes.add_patch(Rectangle(corner, *_BOX_SIZE, facecolor="white", edgecolor=GREY, lw=1, zorder=2))
    return figure


def _edge(box, towards):
    """Return where the line from the centre of a box towards another box leaves the first."""
    x, y = _BOXES[box][:2]
    dx, dy = np.subtract(_BOXES[towards][:2], (x, y))
    width, height = _BOX_SIZE
    share = min(width / 2 / max(abs(dx), 1e-9), height / 2 / max(abs(dy), 1e-9))
    return x + share * dx, y + share * dy


def _lit_boxes(wiring):
    return {
        name
        for name, (_, _, _, pattern) in _BOXES.items()
        if any(re.match(pattern, operation) for operation in wiring.executed)
    }


def _frame(name, wiring):
    lit = _lit_boxes(wiring)
    width, height = _BOX_SIZE
    x, y = (np.array([_BOXES[box][axis] for box in sorted(lit)]) for axis in (0, 1))
    marks = [Bars(x, np.full(len(x), height), width, BLUE, bottom=y - height / 2, opacity=0.22)]
    marks += [
        Text(at - width / 2, up + height / 2 + 0.1, "✓", BLUE, bold=True, unit="data")
        for at, up in zip(x, y, strict=True)
    ]
    start, end = _BOXES["update"][0] + width / 2, _BOXES["train"][0] - width / 2
    if wiring.tied:
        marks += [
            Curve([start, end], [2.1, 1.0], GREEN, "--", 3),
            Text(3.2, 1.15, "control dependency", unit="data"),
        ]
    if wiring.fetched:
        marks += [
            Curve([start, 4.2], [2.4, 2.8], VERMILLION, ":", 3),
            Text(4.3, 2.75, "asked for in session.run", unit="data"),
        ]
    did = (
        "ran, so the moving statistics moved"
        if "update" in lit
        else "did not run, so the moving statistics stay 0 and 1"
    )
    return Frame.captioned(marks, f"Wiring '{name}': the update operations {did}.")
