"""Marks over a picture: as SVG they lie where matplotlib paints the same mark, and they say their words."""

from xml.etree import ElementTree

import numpy as np
import pytest
from matplotlib.colors import to_rgb

from bnlab import figures
from bnlab.sliders.marks import Bars, Curve, Dots, Frame, Marker, Text

SVG = "{http://www.w3.org/2000/svg}"
NEAR = 2.0  # pixels: edges are smoothed, and the ends and corners of lines differ a little
COLOR = "#0072B2"
# scale: how the axes are set, x and y of three points inside, and bars (x, width, bottom, height) inside.
SCALES = {
    "linear": (
        {"xlim": (0, 10), "ylim": (-5, 5)},
        ([1, 4, 9], [-4, 3, 0.5]),
        ([2, 5, 8], 1.5, [0, -1, 0], [3, 2, -4]),
    ),
    "log": (
        {"xscale": "log", "yscale": "log", "xlim": (1e-3, 1e3), "ylim": (1e-2, 1e2)},
        ([2e-3, 1, 400], [0.02, 60, 1]),
        ([0.01, 1, 100], 0.008, [0.1, 0.5, 0.02], [3, 20, 1]),
    ),
    "symlog": (
        {"xscale": "symlog", "yscale": "symlog", "xlim": (-30, 30), "ylim": (-50, 50)},
        ([-20, 0, 9], [-30, 0.5, 40]),
        ([-10, 0, 10], 1.5, [0, -1, 0], [30, 2, -20]),
    ),
    "upside down": (
        {"xlim": (10, 0), "ylim": (5, -5)},
        ([1, 4, 9], [-4, 3, 0.5]),
        ([2, 5, 8], 1.5, [0, -1, 0], [3, 2, -4]),
    ),
}
on_every_scale = pytest.mark.parametrize("scale", SCALES)
in_both_panels = pytest.mark.parametrize("panel", [0, 1])


def blank(scale="linear"):
    """Return a figure of two panels on which nothing is to be seen, not even the axes."""
    figure = figures.blank(panels=2)
    for axes in figure.axes:
        axes.set(**SCALES[scale][0])
        axes.set_axis_off()
    assert (pixels(figure) == 255).all()
    return figure


def pixels(figure):
    figure.canvas.draw()
    return np.asarray(figure.canvas.buffer_rgba())[..., :3].copy()


def painted(figure):
    """Return left, top, right and bottom of what is painted, in pixels from the upper left corner."""
    rows, columns = np.nonzero((pixels(figure) < 160).any(axis=-1))
    return columns.min(), rows.min(), columns.max() + 1, rows.max() + 1


def parsed(mark, figure):
    return ElementTree.fromstring(Frame((mark,), "words").svg(figure))


def vertices(element):
    """Return the points that a shape is made of, and how far its paint reaches around them."""
    number = {key: float(value) for key, value in element.items() if value.replace(".", "", 1).isdigit()}
    if element.tag == SVG + "polyline":
        points = [tuple(map(float, point.split(","))) for point in element.get("points").split()]
        return np.array(points), number["stroke-width"] / 2
    if element.tag == SVG + "circle":
        return np.array([(float(element.get("cx")), float(element.get("cy")))]), number["r"]
    assert element.tag == SVG + "rect"
    left, top = float(element.get("x")), float(element.get("y"))
    return np.array([(left, top), (left + number["width"], top + number["height"])]), 0.0


def shapes(root):
    """Return (element, box it is cut at) for each shape of a frame."""
    found = []
    for child in root:
        if child.tag == SVG + "svg":
            left, top, width, height = (float(child.get(key)) for key in ("x", "y", "width", "height"))
            assert child.get("viewBox").split() == [child.get(k) for k in ("x", "y", "width", "height")]
            found += [(shape, (left, top, left + width, top + height)) for shape in child]
        else:
            found.append((child, (-1e6, -1e6, 1e6, 1e6)))
    return found


def covered(root):
    """Return left, top, right and bottom of what the shapes of a frame cover."""
    boxes = []
    for element, (left, top, right, bottom) in shapes(root):
        points, reach = vertices(element)
        low, high = points.min(axis=0) - reach, points.max(axis=0) + reach
        boxes.append((max(low[0], left), max(low[1], top), min(high[0], right), min(high[1], bottom)))
    boxes = np.array(boxes)
    return *boxes[:, :2].min(axis=0), *boxes[:, 2:].max(axis=0)


def marks(scale, panel):
    _, (x, y), (at, width, bottom, height) = SCALES[scale]
    return {
        "curve": Curve(x, y, COLOR, panel=panel),
        "thick curve": Curve(x, y, COLOR, width=5, panel=panel),
        "circles": Dots(x, y, COLOR, panel=panel),
        "squares": Dots(x, y, COLOR, "s", size=14, panel=panel),
        "one dot": Dots([x[1]], [y[1]], COLOR, panel=panel),
        "bars": Bars(at, height, width, COLOR, bottom=bottom, panel=panel),
        "one bar": Bars([at[1]], [height[1]], width, COLOR, bottom=bottom[1], panel=panel),
        "upright marker": Marker(COLOR, x=x[1], style="-", panel=panel),
        "level marker": Marker(COLOR, y=y[1], style="-", panel=panel),
    }


@on_every_scale
@in_both_panels
@pytest.mark.parametrize("kind", marks("linear", 0))
def test_a_mark_lies_where_matplotlib_paints_it(kind, scale, panel):
    mark, figure = marks(scale, panel)[kind], blank(scale)
    root = parsed(mark, figure)
    mark.draw(figure.axes[panel])
    np.testing.assert_allclose(covered(root), painted(figure), atol=NEAR)


@on_every_scale
@in_both_panels
@pytest.mark.parametrize("kind", ["curve", "circles", "squares", "bars"])
def test_every_point_of_a_mark_is_painted_in_its_colour(kind, scale, panel):
    mark, figure = marks(scale, panel)[kind], blank(scale)
    elements = [element for element, _ in shapes(parsed(mark, figure))]
    mark.draw(figure.axes[panel])
    image = pixels(figure) / 255
    # Of a line each corner, of other shapes the middle.
    points = [vertices(element)[0] for element in elements]
    middles = points[0] if kind == "curve" else np.array([corners.mean(axis=0) for corners in points])
    assert len(middles) == 3
    for x, y in middles:
        around = image[int(y) - 1 : int(y) + 2, int(x) - 1 : int(x) + 2].reshape(-1, 3)
        assert np.abs(around - to_rgb(COLOR)).max(axis=1).min() < 0.02


@pytest.mark.parametrize("style", ["-", "--", ":"])
@pytest.mark.parametrize("direction", ["x", "y"])
def test_a_marker_of_any_style_lies_across_the_whole_axes(style, direction):
    figure = blank()
    mark = Marker(COLOR, **{direction: 2.0}, style=style, panel=1)
    ((element, cut),) = shapes(parsed(mark, figure))
    (start, end), _ = vertices(element)
    mark.draw(figure.axes[1])
    paint, one_dash = np.array(painted(figure)), 11
    across, along = ((0, 2), (1, 3)) if direction == "x" else ((1, 3), (0, 2))
    np.testing.assert_allclose(paint[list(across)], start[across[0]], atol=NEAR)
    np.testing.assert_allclose(paint[list(along)], np.array(cut)[list(along)], atol=one_dash)
    assert sorted((start[along[0]], end[along[0]])) == pytest.approx([cut[along[0]], cut[along[1]]], abs=0.11)
    assert bool(element.get("stroke-dasharray")) == (style != "-")


def test_the_styles_of_lines_are_told_apart():
    axes = blank().axes[0]
    assert len({Curve([0, 1], [0, 1], COLOR, style).svg(axes) for style in ("-", "--", ":")}) == 3


@pytest.mark.parametrize("opacity", [1.0, 0.22])
def test_bars_are_as_opaque_as_matplotlib_paints_them(opacity):
    figure = blank()
    mark = Bars([5], [4], 6, COLOR, opacity=opacity)
    ((element, _),) = shapes(parsed(mark, figure))
    mark.draw(figure.axes[0])
    x, y = vertices(element)[0].mean(axis=0).astype(int)
    expected = opacity * np.array(to_rgb(element.get("fill"))) + 1 - opacity
    np.testing.assert_allclose(pixels(figure)[y, x] / 255, expected, atol=0.02)
    assert float(element.get("fill-opacity")) == opacity


@pytest.mark.parametrize("align", ["start", "middle", "end"])
@pytest.mark.parametrize(("unit", "x", "y"), [("data", 6, 1), ("axes", 0.5, 0.04), ("figure", 0.5, 0.95)])
@in_both_panels
def test_words_start_and_stand_where_matplotlib_writes_them(align, unit, x, y, panel):
    figure = blank()
    mark = Text(x, y, "HEH", COLOR, align, size=14, bold=True, unit=unit, panel=panel)
    ((element, _),) = shapes(parsed(mark, figure))
    mark.draw(figure.axes[panel])
    left, top, right, bottom = painted(figure)
    anchor = {"start": left, "middle": (left + right) / 2, "end": right}[element.get("text-anchor")]
    assert float(element.get("x")) == pytest.approx(anchor, abs=NEAR)
    assert float(element.get("y")) == pytest.approx(bottom, abs=NEAR)
    # A capital of DejaVu Sans is 0.73 of the font's size.
    assert bottom - top == pytest.approx(0.73 * float(element.get("font-size")), abs=NEAR)
    assert element.get("font-weight") == "bold"


def test_the_same_place_in_another_panel_is_another_place():
    figure = blank()
    lefts = [covered(parsed(marks("linear", panel)["curve"], figure))[0] for panel in (0, 1)]
    assert lefts[1] - lefts[0] > 200


@pytest.mark.parametrize(
    "mark",
    [
        Curve([-20, 30], [2, 2], COLOR),
        Curve([3, 3], [-50, 50], COLOR, width=4),
        Curve([5, 5, 30], [-3, 3, 3], COLOR),
        Bars([1, 5], [40, -40], 1, COLOR),
        Bars([-0.5], [2], 4, COLOR),
    ],
)
@in_both_panels
def test_curves_and_bars_are_cut_at_the_axes_as_matplotlib_cuts_them(mark, panel):
    figure = blank()
    moved = type(mark)(**{**mark.__dict__, "panel": panel})
    root = parsed(moved, figure)
    moved.draw(figure.axes[panel])
    np.testing.assert_allclose(covered(root), painted(figure), atol=NEAR)
    (element, cut), *_ = shapes(root)
    points = vertices(element)[0]
    assert (points.min(axis=0) < cut[:2]).any() or (points.max(axis=0) > cut[2:]).any()
    box = figure.axes[panel].bbox
    np.testing.assert_allclose(cut, (box.x0, 360 - box.y1, box.x1, 360 - box.y0), atol=0.11)


@pytest.mark.parametrize("mark", [Dots([0, 10], [5, -5], COLOR), Dots([10.3], [0], COLOR, "s")])
def test_dots_at_the_edge_stay_whole(mark):
    figure = blank()
    root = parsed(mark, figure)
    mark.draw(figure.axes[0])
    np.testing.assert_allclose(covered(root), painted(figure), atol=NEAR)
    assert all(cut[0] < 0 for _, cut in shapes(root))


def test_words_outside_the_axes_stay_whole():
    figure = blank()
    ((_, cut),) = shapes(parsed(Text(0, 1.1, "above"), figure))
    assert cut[0] < 0


def test_a_frame_is_an_image_with_its_words_as_label_and_as_large_as_the_figure():
    figure = blank()
    root = ElementTree.fromstring(Frame((), "what is seen").svg(figure))
    assert (root.get("role"), root.get("aria-label")) == ("img", "what is seen")
    assert (root.get("width"), root.get("height"), root.get("viewBox")) == ("640", "360", "0 0 640 360")


@pytest.mark.parametrize("words", ["a < b & c > d", 'it\'s "quoted"', "</text></svg>", "½ ✓ 中"])
def test_words_come_through_whole_whatever_is_in_them(words):
    root = ElementTree.fromstring(Frame((Text(0, 0, words),), words).svg(blank()))
    assert root.get("aria-label") == words
    assert [element.text for element in root.iter(SVG + "text")] == [words]
    assert len(list(root.iter())) == 4  # the frame, one cut a panel, the words


def test_a_frame_is_well_formed_with_every_kind_of_mark_in_every_panel():
    figure = blank()
    every = (*marks("linear", 0).values(), *marks("linear", 1).values(), Text(0, 0, "0"), Text(0, 1, "1"))
    found = [element.tag.removeprefix(SVG) for element, _ in shapes(parsed_frame(every, figure))]
    counts = {tag: found.count(tag) for tag in found}
    assert counts == {"polyline": 8, "circle": 8, "rect": 14, "text": 2}


def parsed_frame(several, figure):
    return ElementTree.fromstring(Frame(several, "words").svg(figure))


def test_marks_can_be_taken_off_and_leave_the_figure_as_it_was():
    figure = figures.blank(panels=2)
    for axes in figure.axes:
        axes.bar([1, 2], [3, 4])  # the limits are left to matplotlib
    before, limits = pixels(figure), [(axes.get_xlim(), axes.get_ylim()) for axes in figure.axes]
    children = [len(axes.get_children()) for axes in figure.axes]
    every = [
        mark
        for panel in (0, 1)
        for mark in (
            Curve([-5, 9], [-5, 9], COLOR, panel=panel),
            Dots([-3], [20], COLOR, panel=panel),
            Bars([-2], [9], 1, COLOR, panel=panel),
            Marker(COLOR, x=12, panel=panel),
            Marker(COLOR, y=-8, panel=panel),
            Text(0.5, 0.5, "words", panel=panel),
        )
    ]
    artists = Frame(tuple(every)).draw(figure)
    assert (pixels(figure) != before).any()
    # Marks do not move the axes: as SVG they lie over a background that is drawn already.
    assert [(axes.get_xlim(), axes.get_ylim()) for axes in figure.axes] == limits
    for artist in artists:
        artist.remove()
    np.testing.assert_array_equal(pixels(figure), before)
    assert [len(axes.get_children()) for axes in figure.axes] == children
    assert [len(axes.containers) for axes in figure.axes] == [1, 1]


def test_marks_over_a_figure_never_drawn_leave_its_limits_to_its_own_data():
    figure, drawn = (figures.blank() for _ in range(2))
    for each in (figure, drawn):
        each.axes[0].plot([1, 2], [30, 40])
    frame = Frame((Dots([50], [0], COLOR), Dots([1], [30], COLOR)))
    (_, (element, _)) = shapes(ElementTree.fromstring(frame.svg(figure)))
    frame.draw(figure)
    pixels(figure)
    x, y = figure.axes[0].transData.transform((1, 30))
    np.testing.assert_allclose(vertices(element)[0], [(x, 360 - y)], atol=0.1)
    assert figure.axes[0].get_xlim() == drawn.axes[0].get_xlim()
    assert figure.axes[0].get_ylim() == drawn.axes[0].get_ylim()


def test_a_dollar_is_a_dollar_in_both():
    figure = blank()
    (artist,) = Text(0.1, 0.5, "$1 or $2").draw(figure.axes[0])
    assert not artist.get_parse_math()
    assert "$1 or $2" in Text(0.1, 0.5, "$1 or $2").svg(figure.axes[0])
