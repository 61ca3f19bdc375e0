"""Marks that move over a drawn picture: each can be an SVG string or an artist of matplotlib.

A picture with a moving part has a background that matplotlib draws once and marks for every value of a
slider. As SVG a mark is text in the pixel space of its axes, which a browser swaps at once. The same
mark can be drawn by matplotlib, for the still picture that stands in where no browser runs.
"""

from dataclasses import dataclass
from html import escape

import numpy as np

from bnlab.figures import INK

_DASHES = {"-": "", "--": "7 4", ":": "2 4"}
_FONT = "DejaVu Sans, Verdana, sans-serif"


@dataclass(frozen=True)
class Curve:
    """A line through points (x, y), arrays of one length in data units; style is "-", "--" or ":"."""

    x: np.ndarray
    y: np.ndarray
    color: str
    style: str = "-"
    width: float = 2.5
    panel: int = 0

    def draw(self, axes):
        """Draw it on matplotlib's axes and return the artists."""
        return axes.plot(self.x, self.y, self.style, color=self.color, lw=self.width * 0.75, zorder=4)

    def svg(self, axes):
        """Return it as SVG in the pixels of the axes' figure."""
        points = " ".join(f"{x:.1f},{y:.1f}" for x, y in _pixels(axes, self.x, self.y))
        return (
            f'<polyline points="{points}" fill="none" stroke="{self.color}" stroke-width="{self.width}" '
            f'stroke-linejoin="round" stroke-dasharray="{_DASHES[self.style]}"/>'
        )


@dataclass(frozen=True)
class Dots:
    """Filled circles ("o") or squares ("s") at (x, y), arrays of one length in data units."""

    x: np.ndarray
    y: np.ndarray
    color: str
    marker: str = "o"
    size: float = 9.0
    panel: int = 0

    def draw(self, axes):
        """Draw it on matplotlib's axes and return the artists."""
        look = {"color": self.color, "ms": self.size * 0.72, "mec": "white"}
        return axes.plot(self.x, self.y, self.marker, **look, clip_on=False, zorder=5)

    def svg(self, axes):
        """Return it as SVG in the pixels of the axes' figure."""
        half = self.size / 2
        paint = f'fill="{self.color}" stroke="white"'
        if self.marker == "s":
            one = f'<rect x="{{0:.1f}}" y="{{1:.1f}}" width="{self.size}" height="{self.size}" {paint}/>'
            return "".join(one.format(x - half, y - half) for x, y in _pixels(axes, self.x, self.y))
        one = f'<circle cx="{{0:.1f}}" cy="{{1:.1f}}" r="{half}" {paint}/>'
        return "".join(one.format(x, y) for x, y in _pixels(axes, self.x, self.y))


@dataclass(frozen=True)
class Bars:
    """Upright rectangles centred on x, from bottom to bottom + height, all in data units."""

    x: np.ndarray
    height: np.ndarray
    width: float
    color: str
    bottom: np.ndarray | float = 0.0
    opacity: float = 1.0
    panel: int = 0

    def draw(self, axes):
        """Draw it on matplotlib's axes and return the artists."""
        look = {"color": self.color, "ec": self.color, "alpha": self.opacity}
        return [axes.bar(self.x, self.height, self.width, self.bottom, **look, zorder=3)]

    def svg(self, axes):
        """Return it as SVG in the pixels of the axes' figure."""
        x, height = np.asarray(self.x, float), np.asarray(self.height, float)
        low = np.broadcast_to(np.asarray(self.bottom, float), height.shape)
        corners = (_pixels(axes, x - self.width / 2, low), _pixels(axes, x + self.width / 2, low + height))
        one = (
            '<rect x="{:.1f}" y="{:.1f}" width="{:.1f}" height="{:.1f}" '
            f'fill="{self.color}" fill-opacity="{self.opacity}" stroke="{self.color}"/>'
        )
        return "".join(
            one.format(min(x0, x1), min(y0, y1), abs(x1 - x0), abs(y1 - y0))
            for (x0, y0), (x1, y1) in zip(*corners, strict=True)
        )


@dataclass(frozen=True)
class Marker:
    """A straight line across the axes, upright at x or level at y, in data units; give one of the two."""

    color: str
    x: float | None = None
    y: float | None = None
    style: str = "--"
    panel: int = 0

    def draw(self, axes):
        """Draw it on matplotlib's axes and return the artists."""
        line, at = (axes.axhline, self.y) if self.x is None else (axes.axvline, self.x)
        return [line(at, color=self.color, ls=self.style, lw=1.2, zorder=3)]

    def svg(self, axes):
        """Return it as SVG in the pixels of the axes' figure."""
        (left, right), (low, high) = axes.get_xlim(), axes.get_ylim()
        xs, ys = ([left, right], [self.y] * 2) if self.x is None else ([self.x] * 2, [low, high])
        return Curve(xs, ys, self.color, self.style, 1.6).svg(axes)


@dataclass(frozen=True)
class Text:
    """Words at (x, y); align as in SVG.

    unit says what x and y count: "data" units, or fractions of the "axes" or of the whole "figure", from
    the lower left corner.
    """

    x: float
    y: float
    text: str
    color: str = INK
    align: str = "start"
    size: float = 13.0
    bold: bool = False
    unit: str = "axes"
    panel: int = 0

    def draw(self, axes):
        """Draw it on matplotlib's axes and return the artists."""
        side = {"start": "left", "middle": "center", "end": "right"}[self.align]
        return [
            axes.text(
                self.x,
                self.y,
                self.text,
                color=self.color,
                ha=side,
                fontsize=self.size * 0.72,
                weight="bold" if self.bold else "normal",
                transform=_transform(axes, self.unit),
                parse_math=False,
                zorder=6,
            )
        ]

    def svg(self, axes):
        """Return it as SVG in the pixels of the axes' figure."""
        ((x, y),) = _pixels(axes, [self.x], [self.y], unit=self.unit)
        weight = ' font-weight="bold"' if self.bold else ""
        return (
            f'<text x="{x:.1f}" y="{y:.1f}" fill="{self.color}" font-size="{self.size}" '
            f'text-anchor="{self.align}" font-family="{_FONT}"{weight}>{escape(self.text)}</text>'
        )


@dataclass(frozen=True)
class Frame:
    """What a picture shows for one value of its slider: marks, and a sentence that says the same."""

    marks: tuple = ()
    words: str = ""

    @classmethod
    def captioned(cls, marks, words):
        """Return a frame whose words also stand above the picture, from its left edge on."""
        return cls((*marks, Text(0.0125, 0.952, words, size=12.5, unit="figure")), words)

    def svg(self, figure):
        """Return the frame as one SVG element that covers the whole figure, words included."""
        width, height = figure.canvas.get_width_height()
        words = escape(self.words, quote=True)
        return (
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" '
            f'viewBox="0 0 {width} {height}" role="img" aria-label="{words}" style="display:block">'
            f"{self.content(figure)}</svg>"
        )

    def content(self, figure):
        """Return what is inside that element."""
        _hold_still(figure)
        return "".join(
            _clipped(axes, [mark for mark in self.marks if mark.panel == number])
            for number, axes in enumerate(figure.axes)
        )

    def draw(self, figure):
        """Draw the frame with matplotlib and return the artists."""
        _hold_still(figure)
        return [artist for mark in self.marks for artist in mark.draw(figure.axes[mark.panel])]


def _hold_still(figure):
    """Keep matplotlib from fitting the axes to the marks: the background under them is drawn already."""
    for axes in figure.axes:
        axes.set(xlim=axes.get_xlim(), ylim=axes.get_ylim())


def _clipped(axes, marks):
    """Cut curves and bars at the edge of their axes; leave dots and words whole, as matplotlib does here."""
    inside = "".join(mark.svg(axes) for mark in marks if not isinstance(mark, Dots | Text))
    outside = "".join(mark.svg(axes) for mark in marks if isinstance(mark, Dots | Text))
    (left, right), (bottom, top) = _pixels(axes, [0, 1], [0, 1], unit="axes").T
    box = f"{left:.1f} {top:.1f} {right - left:.1f} {bottom - top:.1f}"
    x, y, width, height = box.split()
    frame = f'<svg x="{x}" y="{y}" width="{width}" height="{height}" viewBox="{box}">'
    return f"{frame}{inside}</svg>{outside}"


def _transform(axes, unit):
    return {"data": axes.transData, "axes": axes.transAxes, "figure": axes.figure.transFigure}[unit]


def _pixels(axes, x, y, *, unit="data"):
    """Return points as rows (x, y) in pixels from the figure's upper left corner."""
    points = _transform(axes, unit).transform(np.column_stack([np.asarray(x, float), np.asarray(y, float)]))
    points[:, 1] = axes.figure.canvas.get_width_height()[1] - points[:, 1]
    return points
