"""Arrays in, a matplotlib figure and its text alternative out.

One style, set here once. Every function returns `(figure, alt)`: the alternative names the kind of
picture, its axes with their ranges and what to see in it, with numbers computed from the same arrays
and rounded, so that a reader without the picture, and a test, has the same claim.

Figures are made without pyplot: no global state, nothing to close.
"""

from base64 import b64encode
from contextlib import contextmanager
from html import escape
from io import BytesIO

import numpy as np
from matplotlib import rc_context, rcdefaults, rcParams
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter
from PIL import Image

from bnlab.words import fixed, magnitude, ratio, rounded, short  # noqa: F401, magnitude is for notebooks

INK, GREY, LIGHT = "#1a1a1a", "#6b6b6b", "#d9d9d9"
# Okabe-Ito; two darkened for contrast
BLUE, VERMILLION, GREEN, PURPLE = "#0072B2", "#D55E00", "#008561", "#A8407F"
COLORS = (BLUE, VERMILLION, GREEN, PURPLE, INK)
STYLES = ("-", "--", ":", "-.", (0, (6, 2, 1, 2, 1, 2)))
MARKERS = ("o", "s", "^", "D", "v")
HATCHES = ("", "///", "...", "xx", "\\\\")
_CLOSE = {"handlelength": 2, "handletextpad": 0.6, "columnspacing": 0.9, "labelspacing": 0.25}
_LONG = 78  # characters of the labels that fit in a line above a figure
_ADDRESS = "data:image/png;base64,"
WIDTH, HEIGHT = 640, 360  # pixels a figure takes on the page
_STYLE = {
    "font.family": "DejaVu Sans",
    "font.size": 9.5,
    "axes.edgecolor": GREY,
    "axes.labelcolor": INK,
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "grid.color": LIGHT,
    "grid.linewidth": 0.7,
    "legend.frameon": False,
    "text.color": INK,
    "xtick.color": INK,
    "ytick.color": INK,
}


@contextmanager
def style():
    """Draw in the one style of this module; what the reader has set up comes back afterwards."""
    with rc_context():
        rcdefaults()
        rcParams.update(_STYLE)
        yield


def png(figure, *, scale=2):
    """Return the figure as PNG bytes, with `scale` image pixels for each pixel on the page."""
    buffer, small = BytesIO(), BytesIO()
    with style():
        figure.savefig(buffer, format="png", dpi=figure.dpi * scale)
    image = Image.open(buffer).convert("RGB")
    if image.getcolors(256) is None:
        return buffer.getvalue()
    # As a list of colours and an index a pixel it is the same picture at half the size.
    image.quantize(256, dither=Image.Dither.NONE).save(small, format="png", optimize=True)
    return small.getvalue()


def bundle(figure, alt):
    """Return (data, metadata) for Jupyter: the picture, and its text alternative as plain text."""
    width, height = figure.canvas.get_width_height()
    data = {"image/png": _base64(figure), "text/plain": alt}
    return data, {"image/png": {"width": width, "height": height}}


def image_address(figure):
    """Return the picture as an address that holds it whole."""
    return _ADDRESS + _base64(figure)


def image_html(figure, alt):
    """Return the picture as an HTML element, which gives its alternative to a screen reader."""
    return _element(figure, alt, image_address(figure))


def _base64(figure):
    return b64encode(png(figure)).decode()


def _element(figure, alt, address):
    width, height = figure.canvas.get_width_height()
    return (
        f'<img alt="{escape(alt)}" width="{width}" height="{height}" style="display:block;max-width:none" '
        f'src="{address}">'
    )


def show(figure, alt):
    """Display a figure in a notebook together with its text alternative."""
    from IPython.display import display

    data, metadata = bundle(figure, alt)
    # JupyterLab gives a PNG no alternative, so it gets HTML, which it prefers. It is drawn once for both.
    html = _element(figure, alt, _ADDRESS + data["image/png"])
    display(data | {"text/html": html}, metadata=metadata, raw=True)


@style()
def blank(*, panels=1, width=WIDTH, height=HEIGHT, ratios=None, left=74, head=40):
    """Return a figure of `width` x `height` pixels with `panels` empty axes side by side.

    The axes have a fixed place (`left` pixels for the first axis, `head` above for words), so that two
    figures made alike lie exactly on one another.
    """
    figure = Figure(figsize=(width / 100, height / 100), dpi=100, facecolor="white")
    FigureCanvasAgg(figure)
    figure.subplots(1, panels, width_ratios=ratios)
    figure.subplots_adjust(
        left=left / width, right=1 - 18 / width, bottom=50 / height, top=1 - head / height, wspace=0.28
    )
    return figure


@style()
def lines(
    series, *, xlabel, ylabel, xlim=None, ylim=None, log_x=False, log_y=False, markers=False, spell=None
):
    """Return a line chart and its alternative.

    Args:
        series: {label: (x, y)}, arrays of one length; at most five lines, told apart by colour and style.
        xlabel, ylabel: what the axes show, with the unit.
        xlim, ylim: ranges of the axes, or None to fit the data.
        log_x, log_y: logarithmic axes.
        markers: a marker at each point, for few points.
        spell: writes a value in words; `rounded` if None, `magnitude` for rounding errors.
    """
    spell = spell or rounded
    figure = blank(left=84 if log_y else 74)
    (axes,) = figure.axes
    curves(axes, series, log_x=log_x, log_y=log_y, markers=markers)
    axes.set(xlabel=xlabel, ylabel=ylabel, xlim=xlim, ylim=ylim)
    legend(axes, len(series))
    told = ends({label: y for label, (_, y) in series.items()}, spell)
    return figure, f"Line chart. {_ranges(axes)} {told}."


@style()
def bars(groups, categories, *, xlabel, ylabel, ylim=None, digits=2):
    """Return a chart of grouped bars with the values written on them, and its alternative.

    Args:
        groups: {label: values}, one value a category; at most five, told apart by colour and hatching.
        categories: the names under the bars.
        xlabel, ylabel: what the axes show, with the unit.
        ylim: range of the y axis, or None to fit the data.
        digits: digits after the point on the bars and in the alternative.
    """
    figure = blank()
    (axes,) = figure.axes
    places, width, written = np.arange(len(categories)), 0.8 / len(groups), {}
    for number, (label, values) in enumerate(groups.items()):
        at = places + (number - (len(groups) - 1) / 2) * width
        fill = "white" if HATCHES[number] else COLORS[number]
        look = {"color": fill, "edgecolor": COLORS[number], "hatch": HATCHES[number]}
        drawn = axes.bar(at, values, width * 0.94, label=label, **look)
        written[label] = [fixed(value, digits) for value in values]
        axes.bar_label(drawn, written[label], fontsize=8, padding=2)
    axes.set_xticks(places, categories)
    axes.grid(visible=False, axis="x")
    axes.set(xlabel=xlabel, ylabel=ylabel, ylim=ylim)
    legend(axes, len(groups))
    said = "; ".join(
        f"{label}: " + ", ".join(f"{name} {value}" for name, value in zip(categories, values, strict=True))
        for label, values in written.items()
    ).replace("\n", " ")
    low, high = axes.get_ylim()
    return figure, f"Bar chart. y: {ylabel}, {rounded(low)} to {rounded(high)}. {said}."


@style()
def before_and_after(x, y, *, names, xlabel):
    """Return histograms of each feature before and after a transformation, and their alternative.

    Args:
        x, y: arrays of shape (m, features) before and after.
        names: the names of the features.
        xlabel: what the values are before, with the unit; afterwards they have none.
    """
    figure = blank(panels=2)
    parts = []
    sides = ("before", x, xlabel), ("after", y, "no unit")
    for axes, (title, values, unit) in zip(figure.axes, sides, strict=True):
        edges = np.linspace(np.min(values), np.max(values), 33)
        for number, name in enumerate(names):
            color = COLORS[number]
            look = {"facecolor": f"{color}33", "edgecolor": color, "ls": STYLES[number], "lw": 1.6}
            axes.hist(values[:, number], edges, histtype="stepfilled", label=name, **look)
            mean, std = values[:, number].mean(), values[:, number].std()
            parts.append(f"{name} {title}: mean {rounded(mean)}, standard deviation {rounded(std)}")
        axes.set(xlabel=f"{title}: {unit}", ylabel="examples" if title == "before" else None)
    legend(figure.axes[0], len(names))
    return figure, f"Two histograms of {len(x)} examples, before and after. {'; '.join(parts)}."


@style()
def course(steps, gaps, ratios):
    """Return how what batch-norm layers remember comes to fit their data, and its alternative.

    On the left the gap of each layer, on the right its ratio, on a logarithmic axis. More than five layers
    are too many to tell apart: then a band holds eight of ten of them, with a line for their median, and one
    for the layer that is furthest off at the last look.

    Args:
        steps: steps at each look, shape (looks,).
        gaps: {layer: of its moving means at each look, in standard deviations of the data}; 0 fits. NaN is
            left out.
        ratios: {layer: of its moving variances to those of the data, dimensionless}; 1 fits.
    """
    figure = blank(panels=2, head=56)
    shown = [_few(gaps, ratios, values) for values in (gaps, ratios)]
    sides = (gaps, "gap of moving means (std)"), (ratios, "ratio of moving variances (no unit)")
    for axes, drawn, (values, ylabel) in zip(figure.axes, shown, sides, strict=True):
        if len(values) > len(COLORS):
            low, high = _over_layers(values, [0.1, 0.9])
            look = {"facecolor": f"{BLUE}33", "edgecolor": BLUE, "lw": 0.5}
            axes.fill_between(steps, low, high, label="8 layers of 10", **look)
        series = {label: (steps, y) for label, y in drawn.items()}
        curves(axes, series, log_x=False, log_y=values is ratios, markers=len(steps) <= 12)
        for line in axes.lines:  # of the path of a layer the end tells most
            line.set_label(_end(line.get_label(), _LONG // min(3, len(drawn))))
        axes.set(xlabel="training steps", ylabel=ylabel)
    _from_half_to_double(figure.axes[1])
    figure.axes[0].set_ylim(bottom=0)
    legend(figure.axes[0], 3)
    told = "; ".join(
        f"{label}: gap {_way(gap)}, ratio {_way(ratio)}"
        for (label, gap), ratio in zip(shown[0].items(), shown[1].values(), strict=True)
    )
    ranges = " ".join(map(_ranges, figure.axes))
    return (
        figure,
        f"Two line charts of {len(gaps)} batch-norm layer{'s' * (len(gaps) != 1)}. {ranges} {told}.",
    )


def _end(path, most):
    """Return the end of a path that has at most so many characters, if possible without a torn name."""
    if len(path) <= most:
        return path
    torn, _, whole = path[-most - 1 :].partition("/")
    return whole or torn[1:]


def _few(gaps, ratios, values):
    """Return the lines to draw of one of them, of gaps or ratios: all, or the median and the worst layer."""
    if len(values) <= len(COLORS):
        return values

    def off(name):
        return np.nan_to_num(max(gaps[name][-1], abs(np.log(ratios[name][-1]))), nan=np.inf)

    worst = max(values, key=off)
    return {"median": _over_layers(values, 0.5), f"{worst}, worst at end": values[worst]}


def _over_layers(values, share):
    """Return a quantile over the layers at each look; one that is not finite lies beyond all others."""
    table = np.nan_to_num(list(values.values()), nan=np.inf)
    return np.quantile(table, share, axis=0, method="nearest")


def _way(values):
    return f"from {ratio(values[0])} to {ratio(values[-1])}"


def _from_half_to_double(axes):
    """Let a logarithmic axis show 0.5 to 2 at least, and so many names that three of them are seen."""
    low, high = axes.get_ylim()
    axes.set_ylim(min(low, 0.45), max(high, 2.2))
    decades = np.log10(axes.get_ylim()[1] / axes.get_ylim()[0])
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if decades < 3 else (1,)))


def ends(series, spell):
    """Return in words where each line of {label: y} begins and where it ends."""
    return "; ".join(f"{label}: from {spell(y[0])} to {spell(y[-1])}" for label, y in series.items())


def curves(axes, series, *, log_x, log_y, markers=False):
    """Draw a line for each {label: (x, y)}, told apart by colour and style, on axes of the asked kind."""
    for number, (label, (x, y)) in enumerate(series.items()):
        mark = MARKERS[number] if markers else None
        axes.plot(x, y, color=COLORS[number], ls=STYLES[number], marker=mark, ms=5, lw=1.8, label=label)
    if log_x:
        axes.set_xscale("log")
        if markers or len(x) <= 10:  # few points: name them
            axes.set_xticks(next(iter(series.values()))[0])
    if log_y:
        axes.set_yscale("log")
    for axis in [axes.xaxis] * log_x + [axes.yaxis] * log_y:
        axis.set_major_formatter(short)
        axis.set_minor_formatter(NullFormatter())


def legend(axes, columns, *, low=False):
    """Put the legend above the axes, off the data; `low` leaves a line above it for moving words."""
    drawn = axes.legend(
        loc="lower left",
        bbox_to_anchor=(-0.02, 0.985 if low else 1.0),
        ncols=columns,
        fontsize=8.5,
        borderpad=0.2,
        **_CLOSE,
    )
    if columns > 2 and drawn.get_window_extent().x1 > axes.figure.bbox.x1:
        legend(axes, -(-columns // 2), low=low)  # two rows


def _ranges(axes):
    (left, right), (low, high) = axes.get_xlim(), axes.get_ylim()
    return (
        f"x: {axes.get_xlabel()}, {rounded(left)} to {rounded(right)}. "
        f"y: {axes.get_ylabel()}, {rounded(low)} to {rounded(high)}."
    )
