"""How a moving average follows real batch means, momentum by momentum."""

import ipywidgets as widgets
import numpy as np

from bnlab import checks, figures, moving_average
from bnlab.figures import BLUE, INK, VERMILLION
from bnlab.sliders.explorer import Explorer, choice
from bnlab.sliders.marks import Curve, Frame, Marker, Text
from bnlab.words import fixed

__all__ = ["decay_explorer"]


def decay_explorer(batch_means):
    """Explore how a moving average follows real batch means, for 51 values of momentum.

    Args:
        batch_means: one value a step, shape (steps,), or {batch size: such values} with as many steps each.

    Returns:
        An `Explorer` over momentum from .5 to .999; second controls: debias, and batch size if several.

    Raises:
        ValueError: fewer than two steps, NaN or infinity, or numbers of steps that differ.
        TypeError: values that are no numbers.
    """
    series = _series(batch_means)
    everything = np.concatenate([[0.0], *series.values()])
    margin = 0.08 * np.ptp(everything)
    y_range = everything.min() - margin, everything.max() + margin
    momenta, first = _momenta(), next(iter(series))

    def draw(debias, size=first):
        values = series[size]
        frames = [_frame(values, momentum, debias) for momentum in momenta]
        middle, low, high = (fixed(value, 2) for value in (values.mean(), *y_range))
        about = (
            f"Dots: the means of {len(values)} batches, around {middle} (dashed line); y from {low} to "
            f"{high}, no unit. Line: their moving average, which starts at 0."
        )
        return _background(values, y_range), frames, about

    space = widgets.Layout(width="auto", margin="2px 24px 2px 2px")
    controls = {"debias": widgets.Checkbox(value=False, description="debias", indent=False, layout=space)}
    if len(series) > 1:
        controls["size"] = choice("batch size", [(str(size), size) for size in series], first)
    labels = [f"{momentum:g}" for momentum in momenta]
    return Explorer("momentum (no unit)", labels, momenta.index(0.99), draw, controls)


def _series(batch_means):
    series = batch_means if isinstance(batch_means, dict) else {"given": batch_means}
    series = {
        size: checks.finite("batch_means", values, axes=1).astype(float) for size, values in series.items()
    }
    lengths = {len(values) for values in series.values()}
    if len(lengths) != 1 or min(lengths) < 2:
        raise ValueError(
            f"batch_means has {sorted(lengths)} steps; expected the same number for all, 2 or more"
        )
    return series


def _momenta():
    # Evenly spaced on the scale of half-lives, so that each step of the slider looks like one.
    momenta = np.round(1 - np.logspace(np.log10(0.5), -3, 51), 4)
    for familiar in (0.9, 0.95, 0.99, 0.995):
        momenta[np.argmin(np.abs(momenta - familiar))] = familiar
    return momenta.tolist()


@figures.style()
def _background(batch_means, y_range):
    """Draw a dot for each batch, and the mean of them all."""
    figure = figures.blank()
    (axes,) = figure.axes
    steps = np.arange(1, len(batch_means) + 1)
    axes.plot(steps, batch_means, "o", ms=3.5, color="#8a8a8a", mec="none", label="mean of one batch")
    axes.axhline(np.mean(batch_means), color=INK, lw=1.2, ls="--", label="mean of all batches")
    axes.set(xlabel="step (one batch each)", ylabel="hidden unit (no unit)")
    axes.set(xlim=(0, len(steps) + 1), ylim=y_range)
    figures.legend(axes, 2, low=True)
    return figure


def _frame(values, momentum, debias):
    average = moving_average.trace(values, momentum=momentum, debias=debias)
    half_life = moving_average.half_life(momentum)
    left = moving_average.initial_share(momentum, len(values))
    marks = [Curve(np.arange(1, len(values) + 1), average, VERMILLION, width=3)]
    if half_life < len(values):
        place = half_life / (len(values) + 1)
        side, align = (0.01, "start") if place < 0.85 else (-0.01, "end")
        marks += [Marker(BLUE, x=half_life, style=":"), Text(place + side, 0.04, "half-life", BLUE, align)]
    return Frame.captioned(
        marks,
        f"momentum {momentum:g}, half-life {half_life:.1f} steps. "
        f"After {len(values)} steps: {fixed(average[-1], 2)}, "
        + ("the initial 0 taken out." if debias else f"{100 * left:.1f}% still the initial 0."),
    )
