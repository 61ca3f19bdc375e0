"""How one image's class probabilities depend on the other images in its batch."""

import numpy as np

from bnlab import checks, figures
from bnlab.figures import BLUE, VERMILLION
from bnlab.sliders.explorer import Explorer
from bnlab.sliders.marks import Bars, Frame

__all__ = ["mates_explorer"]


def mates_explorer(training, inference, *, label):
    """Explore how one image's class probabilities depend on the other images in its batch.

    Args:
        training: probabilities in training mode, shape (values, classes); row k with k mates replaced.
        inference: probabilities in inference mode, of the same shape.
        label: the true class of the image.

    Returns:
        An `Explorer` over the number of replaced mates.

    Raises:
        ValueError: a shape that does not fit, values that are no probabilities, or no such class as label.
        TypeError: values that are no numbers.
    """
    training, inference = _probabilities("training", training), _probabilities("inference", inference)
    if training.shape != inference.shape or len(training) < 2:
        raise ValueError(
            f"inference has shape {inference.shape}; expected {training.shape} with two rows or more"
        )
    (values, classes), mates = training.shape, len(training) - 1
    if label not in range(classes):
        raise ValueError(f"label is {label!r}; expected a class from 0 to {classes - 1}")
    spread = np.ptp(inference, axis=0).max()

    def draw():
        rows = enumerate(zip(training, inference, strict=True))
        frames = [_frame(f"{replaced} of {mates}", *row, label) for replaced, row in rows]
        about = (
            f"Bar chart of the probabilities of {classes} classes for one image of a {label}. "
            f"In inference mode none changes by more than {spread:.2f} over the whole slider."
        )
        return _background(inference[0]), frames, about

    return Explorer(f"replaced mates (of {mates})", [str(replaced) for replaced in range(values)], 0, draw)


def _probabilities(name, rows):
    rows = checks.finite(name, rows, axes=2).astype(float)
    if (rows < 0).any() or not np.allclose(rows.sum(axis=1), 1, atol=1e-5):
        raise ValueError(f"{name} holds rows that do not add up to 1; expected probabilities")
    return rows


@figures.style()
def _background(inference):
    """Draw the probability of each class in inference mode."""
    figure = figures.blank()
    (axes,) = figure.axes
    places = np.arange(len(inference))
    look = {"color": "white", "edgecolor": VERMILLION, "hatch": "///"}
    axes.bar(places + 0.2, inference, 0.38, **look, label="inference mode")
    axes.bar([0], [0], 0, color=BLUE, label="training mode (moves)")
    axes.set_xticks(places, map(str, places))
    axes.grid(visible=False, axis="x")
    axes.set(xlabel="class", ylabel="probability (no unit)")
    axes.set(xlim=(-0.6, len(places) - 0.4), ylim=(0, 1.05))
    figures.legend(axes, 2, low=True)
    return figure


def _frame(replaced, training, inference, label):
    bars = Bars(np.arange(len(training)) - 0.2, training, 0.38, BLUE)
    return Frame.captioned(
        [bars],
        f"{replaced} mates replaced, image of a {label}: training mode says {_said(training)}, "
        f"inference mode {_said(inference)}.",
    )


def _said(probabilities):
    return f"{np.argmax(probabilities)} ({100 * probabilities.max():.0f}%)"
