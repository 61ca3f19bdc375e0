"""A picture with a moving part, and the explorers made with it.

matplotlib draws what does not move, once. The moving part is computed for every value of the slider
before anything is shown, and the browser swaps it: no kernel takes part, so no value is skipped on a
slow line, and an exported page works too. A second control may draw everything anew, in the kernel.

The mathematics is in `batch_norm` and `moving_average`; here it is only put into pictures.
"""

import re
from typing import NamedTuple

import ipywidgets as widgets
import numpy as np

from bnlab import batch_norm, figures, moving_average
from bnlab.figures import BLUE, COLORS, GREEN, GREY, INK, VERMILLION
from bnlab.overlays import Bars, Curve, Dots, Frame, Marker, Text

_SAME_CELL = "1 / 1 / 2 / 2"  # of a grid: what lies there lies on top of one another


class Explorer(widgets.VBox):
    """A slider, a picture and its moving part.

    Args:
        name: what the slider sets, with its unit or "no unit".
        values: the slider's values as words, one a frame.
        start: index of the value shown first.
        draw: function of the second controls' values, by keyword, that returns (figure, frames, alt): the
            fixed part, a `Frame` for each value, and a sentence on what the picture shows.
        controls: second controls by keyword: {keyword: widget with a value}.

    Attributes:
        slider: the main slider; `slider.index` picks the frame in the browser.
        stack: one HTML widget a frame.
        controls: the second controls by keyword.
        alt: the text alternative of what is shown now.

    Raises:
        ValueError: start is no index of values, or draw returns more or fewer frames than values.
    """

    def __init__(self, name, values, start, draw, controls=None):
        if not 0 <= start < len(values):
            raise ValueError(f"start is {start}; expected an index of the {len(values)} values")
        self._name, self._values, self._draw = name, list(values), draw
        self.controls = controls or {}
        self._figure, self._frames, self._about = self._drawn()
        width, height = self._figure.canvas.get_width_height()
        place = {
            "width": f"{width}px",
            "height": f"{height}px",
            "margin": "0",
            "grid_area": _SAME_CELL,
        }
        self._background = widgets.HTML(
            figures.image_html(self._figure, self._about), layout=widgets.Layout(**place)
        )
        overlays = [widgets.HTML(frame.svg(self._figure), layout=_flat(place)) for frame in self._frames]
        self.stack = widgets.Stack(
            overlays, selected_index=start, layout=widgets.Layout(**place, overflow="hidden")
        )
        self.slider = widgets.SelectionSlider(
            options=self._values,
            index=start,
            description=name,
            tooltip=name,  # without one, hovering shows "null" and the accessibility tree has no name
            style={"description_width": "initial", "handle_color": GREY},
            layout=widgets.Layout(width=f"{width}px"),
        )
        self._link = widgets.jslink((self.slider, "index"), (self.stack, "selected_index"))
        for control in self.controls.values():
            control.observe(self._redraw, names="value")
        picture = widgets.GridBox(
            [self._background, self.stack],
            layout=widgets.Layout(width=f"{width}px", height=f"{height}px", overflow="hidden"),
        )
        rows = [
            self.slider,
            *([widgets.HBox(list(self.controls.values()))] if self.controls else []),
            picture,
        ]
        super().__init__(rows)

    @property
    def alt(self):
        """Return the text alternative of what is shown now: the control, the picture, its state."""
        first, last, now = self._values[0], self._values[-1], self._values[self.slider.index]
        chosen = "".join(f" {control.description} {_shown(control)}." for control in self.controls.values())
        return (
            f"Slider: {self._name}, {len(self._values)} values from {first} to {last}, here {now}.{chosen} "
            f"{self._about} {self._frames[self.slider.index].words}"
        )

    def _repr_mimebundle_(self, **_):
        # One output: the slider in JupyterLab, the picture on a page without kernel, the words for all.
        with figures.style():
            artists = self._frames[self.slider.index].draw(self._figure)
        data, metadata = figures.bundle(self._figure, self.alt)
        for artist in artists:
            artist.remove()
        view = {"version_major": 2, "version_minor": 0, "model_id": self.model_id}
        return {"application/vnd.jupyter.widget-view+json": view, **data}, metadata

    def _drawn(self):
        figure, frames, about = self._draw(**{key: control.value for key, control in self.controls.items()})
        if len(frames) != len(self._values):
            raise ValueError(f"draw returned {len(frames)} frames; expected {len(self._values)}, one a value")
        return figure, frames, about

    def _redraw(self, _):
        self._figure, self._frames, self._about = self._drawn()
        self._background.value = figures.image_html(self._figure, self._about)
        for overlay, frame in zip(self.stack.children, self._frames, strict=True):
            overlay.value = frame.svg(self._figure)


class Beside(NamedTuple):
    """What is seen at each value of a sweep, in a second panel: dots over names."""

    names: list  # under the dots
    ylabel: str  # what the dots show, with its unit
    ylim: tuple  # range of the y axis
    moving: dict  # {label: array of shape (values, names)}, at most five
    fixed: dict  # {label: array of shape (names,)}, what the dots are held against; may be empty


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
        beside: a `Beside` for a second panel, or None.
        spell: writes a value of a curve in words; `figures.rounded` if None.

    Returns:
        An `Explorer` over the values.

    Raises:
        ValueError: shapes that do not fit, NaN or infinity, no such value as start, nothing to draw, values
            that read alike or that a logarithmic axis cannot show.
    """
    spell = spell or figures.rounded
    values = _finite("values", values, dimensions=1)
    labels = [figures.rounded(value) for value in values]
    if len(values) < 2 or len(set(labels)) < len(labels):
        raise ValueError("values has fewer than two, or some that read alike; expected two or more different")
    if not 1 <= len(curves) <= len(figures.COLORS):
        raise ValueError(f"curves has {len(curves)} entries; expected 1 to {len(figures.COLORS)}")
    curves = {label: _finite(f"curves[{label!r}]", y, dimensions=1) for label, y in curves.items()}
    for label, y in curves.items():
        if y.shape != values.shape:
            raise ValueError(
                f"curves[{label!r}] has shape {y.shape}; expected {values.shape}, that of values"
            )
        if log_y and (y <= 0).any():
            raise ValueError(f"curves[{label!r}] holds 0 or less; expected positive values with log_y")
    if log_x and (values <= 0).any():
        raise ValueError("values holds 0 or less; expected positive values with log_x")
    if start not in values:
        raise ValueError(f"start is {start}; expected one of the values")
    if beside is not None:
        _check_beside(beside, len(values))

    def draw():
        figure = figures.sweep_background(
            values, curves, xlabel=name, ylabel=ylabel, ylim=ylim, log_x=log_x, log_y=log_y, beside=beside
        )
        frames = [_sweep_frame(name, labels, curves, beside, spell, *at) for at in enumerate(values)]
        second = _said_beside(beside) if beside else ""
        return figure, frames, f"Line chart of {ylabel}. {figures.ends(curves, spell)}.{second}"

    return Explorer(name, labels, list(values).index(start), draw)


def _check_beside(beside, count):
    shape = (count, len(beside.names))
    for label, dots in beside.moving.items():
        if _finite(f"beside.moving[{label!r}]", dots, dimensions=2).shape != shape:
            raise ValueError(f"beside.moving[{label!r}] has shape {np.shape(dots)}; expected {shape}")
    for label, dots in beside.fixed.items():
        if _finite(f"beside.fixed[{label!r}]", dots, dimensions=1).shape != shape[1:]:
            raise ValueError(f"beside.fixed[{label!r}] has shape {np.shape(dots)}; expected {shape[1:]}")


def _said_beside(beside):
    against = "; ".join(
        f"{label}: " + ", ".join(map(figures.rounded, dots)) for label, dots in beside.fixed.items()
    )
    return f" Right, dots: {beside.ylabel} of {', '.join(beside.names)}." + (
        f" Held against {against}." if against else ""
    )


def _sweep_frame(name, labels, curves, beside, spell, index, value):
    read = ", ".join(f"{label} {spell(y[index])}" for label, y in curves.items())
    words = f"{name.partition(' (')[0]} {labels[index]}: {read}."
    marks = [Marker(INK, x=value)]
    marks += [
        Dots([value], [y[index]], color, size=12) for y, color in zip(curves.values(), COLORS, strict=False)
    ]
    for number, dots in enumerate(beside.moving.values() if beside else ()):
        places = np.arange(len(beside.names)) + 0.16 * (number - (len(beside.moving) - 1) / 2)
        marks.append(Dots(places, dots[index], COLORS[number], "os"[number % 2], panel=1))
    return Frame((*marks, _status(words)), words)


def spread_explorer(batch):
    """Explore what a batch comes out as when its values draw together.

    The batch is moved and stretched to every spread from 0 to 10, keeping its mean, and normalized.

    Args:
        batch: the values of one feature, shape (m,), two or more and not all the same.

    Returns:
        An `Explorer` over the spread, with epsilon as second control.

    Raises:
        ValueError: batch has another shape, is not finite or has no spread to begin with.
    """
    batch = _finite("batch", batch, dimensions=1)
    if np.ptp(batch) == 0:
        raise ValueError("batch has no spread; expected two or more values that differ")
    shape = (batch - batch.mean()) / batch.std()
    spreads = np.concatenate([[0.0], np.logspace(-4, 1, 51)])
    limit = 1.15 * np.abs(shape).max()

    def draw(epsilon):
        batches = [(batch.mean() + spread * shape)[:, np.newaxis] for spread in spreads]
        outputs = [
            batch_norm.normalize(x, *batch_norm.batch_moments(x), epsilon=epsilon)[:, 0] for x in batches
        ]
        curve = spreads / np.sqrt(spreads**2 + epsilon)
        figure = figures.spread_background(spreads, curve, limit, len(batch))
        frames = [_spread_frame(*row, epsilon) for row in zip(spreads, curve, outputs, strict=True)]
        about = (
            "Left, a curve: spread of the outputs against spread of the inputs, s / sqrt(s^2 + epsilon); "
            f"it passes 0.707 at s = {figures.rounded(np.sqrt(epsilon))}. "
            f"Right: the {len(batch)} outputs as dots."
        )
        return figure, frames, about

    epsilon = _choice(
        "epsilon (squared unit of x)", [("0.1", 0.1), ("0.001", 0.001), ("0.00001", 0.00001)], 0.001
    )
    labels = [figures.rounded(spread) for spread in spreads]
    return Explorer(
        "spread of the batch (unit of x)",
        labels,
        int(np.argmin(np.abs(spreads - 1))),
        draw,
        {"epsilon": epsilon},
    )


def decay_explorer(batch_means):
    """Explore how a moving average follows real batch means, for 51 values of momentum.

    Args:
        batch_means: one value a step, shape (steps,), or {batch size: such values} with as many steps each.

    Returns:
        An `Explorer` over momentum from .5 to .999; second controls: debias, and batch size if several.

    Raises:
        ValueError: fewer than two steps, NaN or infinity, or numbers of steps that differ.
    """
    series = batch_means if isinstance(batch_means, dict) else {"given": batch_means}
    series = {size: _finite("batch_means", values, dimensions=1) for size, values in series.items()}
    lengths = {len(values) for values in series.values()}
    if len(lengths) != 1 or min(lengths) < 2:
        raise ValueError(
            f"batch_means has {sorted(lengths)} steps; expected the same number for all, 2 or more"
        )
    everything = np.concatenate([[0.0], *series.values()])
    margin = 0.08 * np.ptp(everything)
    y_range = everything.min() - margin, everything.max() + margin
    # Evenly spaced on the scale of half-lives, so that each step of the slider looks like one.
    momenta = np.round(1 - np.logspace(np.log10(0.5), -3, 51), 4)
    for familiar in (0.9, 0.95, 0.99, 0.995):
        momenta[np.argmin(np.abs(momenta - familiar))] = familiar
    momenta = momenta.tolist()

    first = next(iter(series))

    def draw(debias, size=first):
        values = series[size]
        figure = figures.decay_background(values, y_range)
        frames = [_decay_frame(values, momentum, debias) for momentum in momenta]
        middle, low, high = (figures.fixed(value, 2) for value in (values.mean(), *y_range))
        about = (
            f"Dots: the means of {len(values)} batches, around {middle} (dashed line); y from {low} to "
            f"{high}, no unit. Line: their moving average, which starts at 0."
        )
        return figure, frames, about

    controls = {
        "debias": widgets.Checkbox(
            value=False,
            description="debias",
            indent=False,
            layout=widgets.Layout(width="auto", margin="2px 24px 2px 2px"),
        )
    }
    if len(series) > 1:
        controls["size"] = _choice("batch size", [(str(size), size) for size in series], first)
    labels = [f"{momentum:g}" for momentum in momenta]
    return Explorer("momentum (no unit)", labels, momenta.index(0.99), draw, controls)


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
    """
    training = _finite("training", training, dimensions=2)
    inference = _finite("inference", inference, dimensions=2)
    if training.shape != inference.shape or len(training) < 2:
        raise ValueError(
            f"inference has shape {inference.shape}; expected {training.shape} with two rows or more"
        )
    for name, rows in (("training", training), ("inference", inference)):
        if (rows < 0).any() or not np.allclose(rows.sum(axis=1), 1, atol=1e-5):
            raise ValueError(f"{name} holds rows that do not add up to 1; expected probabilities")
    if label not in range(training.shape[1]):
        raise ValueError(f"label is {label!r}; expected a class from 0 to {training.shape[1] - 1}")
    mates = len(training) - 1
    spread = np.ptp(inference, axis=0).max()

    def draw():
        figure = figures.mates_background([str(c) for c in range(training.shape[1])], inference[0])
        frames = [
            _mates_frame(replaced, mates, training[replaced], inference[replaced], label)
            for replaced in range(mates + 1)
        ]
        about = (
            f"Bar chart of the probabilities of {training.shape[1]} classes for one image of a {label}. "
            f"In inference mode none changes by more than {spread:.2f} over the whole slider."
        )
        return figure, frames, about

    labels = [str(replaced) for replaced in range(mates + 1)]
    return Explorer(f"replaced mates (of {mates})", labels, 0, draw)


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
        boxes = {name: box[:3] for name, box in _BOXES.items()}
        figure = figures.wiring_background(boxes, _ARROWS, box_size=_BOX_SIZE)
        frames = [_wiring_frame(name, wiring) for name, wiring in wirings.items()]
        about = f"A training step as a graph of {len(boxes)} boxes; those that ran are filled and ticked."
        return figure, frames, about

    return Explorer(f"wiring (of {len(wirings)})", list(wirings), 0, draw)


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


def _lit_boxes(wiring):
    return {
        name
        for name, (_, _, _, pattern) in _BOXES.items()
        if any(re.match(pattern, operation) for operation in wiring.executed)
    }


def _wiring_frame(name, wiring):
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
    ran = "update" in lit
    words = f"Wiring '{name}': the update operations " + (
        "ran, so the moving statistics moved."
        if ran
        else "did not run, so the moving statistics stay 0 and 1."
    )
    return Frame((*marks, _status(words)), words)


def _spread_frame(spread, output_spread, outputs, epsilon):
    words = (
        f"Spread of the inputs {figures.rounded(spread)}, of the outputs {output_spread:.3f}: "
        f"from {figures.fixed(outputs.min(), 2)} to {figures.fixed(outputs.max(), 2)} "
        f"(epsilon {np.format_float_positional(epsilon)})."
    )
    places = np.arange(1, len(outputs) + 1)
    marks = (
        Marker(VERMILLION, x=spread),
        Dots([spread], [output_spread], VERMILLION, size=12),
        Dots(places, outputs, BLUE, "s", panel=1),
        _status(words),
    )
    return Frame(marks, words)


def _decay_frame(values, momentum, debias):
    average = moving_average.trace(values, momentum=momentum, debias=debias)
    steps = np.arange(1, len(values) + 1)
    half_life = moving_average.half_life(momentum)
    left = moving_average.initial_share(momentum, len(values))
    words = (
        f"momentum {momentum:g}, half-life {half_life:.1f} steps. "
        f"After {len(values)} steps: {figures.fixed(average[-1], 2)}, "
        + ("the initial 0 taken out." if debias else f"{100 * left:.1f}% still the initial 0.")
    )
    marks = [Curve(steps, average, VERMILLION, width=3), _status(words)]
    if half_life < len(values):
        place = half_life / (len(values) + 1)
        fits = place < 0.85
        marks += [
            Marker(BLUE, x=half_life, style=":"),
            Text(place + (0.01 if fits else -0.01), 0.04, "half-life", BLUE, "start" if fits else "end"),
        ]
    return Frame(tuple(marks), words)


def _mates_frame(replaced, mates, training, inference, label):
    said = {name: (int(np.argmax(p)), 100 * p.max()) for name, p in (("t", training), ("i", inference))}
    words = (
        f"{replaced} of {mates} mates replaced, image of a {label}: training mode says {said['t'][0]} "
        f"({said['t'][1]:.0f}%), inference mode {said['i'][0]} ({said['i'][1]:.0f}%)."
    )
    bars = Bars(np.arange(len(training)) - 0.2, training, 0.38, BLUE)
    return Frame((bars, _status(words)), words)


def _status(words):
    """Put the state of the picture in words above it, from its left edge on."""
    return Text(0.0125, 0.952, words, size=12.5, unit="figure")


def _choice(description, options, value):
    return widgets.Dropdown(
        options=options,
        value=value,
        description=description,
        style={"description_width": "initial"},
    )


def _shown(control):
    return control.label if isinstance(control, widgets.Dropdown) else "on" if control.value else "off"


def _flat(place):
    return widgets.Layout(**{key: value for key, value in place.items() if key != "grid_area"})


def _finite(name, values, *, dimensions):
    try:
        array = np.asarray(values, dtype=float)
    except (TypeError, ValueError):
        raise ValueError(f"{name} is no array of numbers; expected {dimensions} axes of them") from None
    if array.ndim != dimensions or array.size == 0:
        raise ValueError(f"{name} has shape {array.shape}; expected {dimensions} axes and at least one value")
    if not np.isfinite(array).all():
        raise ValueError(f"{name} holds NaN or infinity; expected finite values")
    return array
