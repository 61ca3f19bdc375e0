"""A picture with a moving part.

matplotlib draws what does not move, once. The moving part is computed for every value of the slider
before anything is shown, and the browser swaps it: no kernel takes part, so no value is skipped on a
slow line, and an exported page works too. A second control may draw everything anew, in the kernel.

It has two faces: widgets where ipywidgets 8 can be had, and else one element of HTML (`page`).
"""

import os

import ipywidgets as widgets

from bnlab import figures
from bnlab.sliders import page

__all__ = ["Explorer"]

FACE = "BNLAB_FACE"  # an environment variable; "page" adds the second face to the first, for `make html`

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
        self._name, self._values, self._start, self._draw = name, list(values), start, draw
        self.controls = controls or {}
        self._figure, self._frames, self._about = self._drawn(**self._chosen())
        self._live = hasattr(widgets, "Stack")
        super().__init__(self._parts() if self._live else [])

    _ipython_display_ = None  # that of ipywidgets 7 would come before our own

    def _parts(self):
        """Return the widgets of the first face, from above."""
        width, height = (f"{pixels}px" for pixels in self._figure.canvas.get_width_height())
        size = {"width": width, "height": height}
        place = {**size, "margin": "0", "grid_area": _SAME_CELL}
        self._background = widgets.HTML(
            figures.image_html(self._figure, self._about), layout=widgets.Layout(**place)
        )
        self.stack = widgets.Stack(
            [
                widgets.HTML(frame.svg(self._figure), layout=widgets.Layout(**size, margin="0"))
                for frame in self._frames
            ],
            selected_index=self._start,
            layout=widgets.Layout(**place, overflow="hidden"),
        )
        self.slider = _slider(self._name, self._values, self._start, width)
        # One way: on a slow line an echo of where the slider was would take it back there.
        self._link = widgets.jsdlink((self.slider, "index"), (self.stack, "selected_index"))
        for control in self.controls.values():
            control.observe(self._redraw, names="value")
        second = [widgets.HBox(list(self.controls.values()))] if self.controls else []
        picture = widgets.GridBox(
            [self._background, self.stack], layout=widgets.Layout(**size, overflow="hidden")
        )
        return [self.slider, *second, picture]

    @property
    def _index(self):
        return self.slider.index if self._live else self._start

    @property
    def alt(self):
        """Return the text alternative of what is shown now: the control, the picture, its state."""
        first, last, now = self._values[0], self._values[-1], self._values[self._index]
        chosen = "".join(
            f" {control.description} {page.label(control)}." for control in self.controls.values()
        )
        return (
            f"Slider: {self._name}, {len(self._values)} values from {first} to {last}, here {now}.{chosen} "
            f"{self._about} {self._frames[self._index].words}"
        )

    def _repr_mimebundle_(self, **_):
        if not self._live:
            return {"text/html": self._html(alone=True), "text/plain": self.alt}, {}
        # One output: the slider in JupyterLab, the picture on a page without kernel, the words for all.
        with figures.style():
            artists = self._frames[self.slider.index].draw(self._figure)
        data, metadata = figures.bundle(self._figure, self.alt)
        for artist in artists:
            artist.remove()
        view = {"version_major": 2, "version_minor": 0, "model_id": self.model_id}
        if os.environ.get(FACE) == "page":
            data["text/html"] = self._html(alone=False)  # the page brings style and script
        return {"application/vnd.jupyter.widget-view+json": view, **data}, metadata

    def _html(self, *, alone):
        parts = self._name, self._values, self._start, self._drawn, self.controls
        return page.html(*parts, alone=alone)

    def _chosen(self):
        return {key: control.value for key, control in self.controls.items()}

    def _drawn(self, **chosen):
        figure, frames, about = self._draw(**chosen)
        if len(frames) != len(self._values):
            raise ValueError(f"draw returned {len(frames)} frames; expected {len(self._values)}, one a value")
        return figure, frames, about

    def _redraw(self, _):
        self._figure, self._frames, self._about = self._drawn(**self._chosen())
        self._background.value = figures.image_html(self._figure, self._about)
        for overlay, frame in zip(self.stack.children, self._frames, strict=True):
            overlay.value = frame.svg(self._figure)


def choice(description, options, value):
    """Return a second control that chooses from [(label, value)]."""
    return widgets.Dropdown(
        options=options, value=value, description=description, style={"description_width": "initial"}
    )


def _slider(name, values, start, width):
    return widgets.SelectionSlider(
        options=values,
        index=start,
        description=name,
        tooltip=name,  # without one, hovering shows "null" and the accessibility tree has no name
        style={"description_width": "initial", "handle_color": figures.GREY},
        layout=widgets.Layout(width=width),
    )
