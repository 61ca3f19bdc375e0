"""What is really drawn: read back from matplotlib's artists, and from the SVG of a frame."""

import re
from collections import defaultdict
from itertools import combinations
from xml.etree import ElementTree

import numpy as np
from matplotlib.colors import to_hex, to_rgba

SVG = "{http://www.w3.org/2000/svg}"
NUMBER = r"-?\d+(?:\.\d+)?"
A_PIXEL = 0.06  # coordinates in SVG have one digit after the point


def ends_and_middle(explorer):
    """Move the slider to both ends and the middle, and yield its index."""
    count = len(explorer.slider.options)
    for index in (0, count // 2, count - 1):
        explorer.slider.index = index
        yield index


def shown(explorer):
    """Return what a browser shows now: the frame that the slider's index picks, as XML."""
    return ElementTree.fromstring(explorer.stack.children[explorer.slider.index].value)


def status(root):
    """Return the words above the picture: the only ones that lie there."""
    (words,) = [element.text for element in root.iter(SVG + "text") if float(element.get("y")) < 25]
    return words


def background(explorer):
    """Return the picture that does not move, as HTML."""
    return explorer.children[-1].children[0].value


def on_page(axes, x, y):
    """Return points of the picture's axes as rows (x, y) in pixels from the upper left corner."""
    return axes.transData.transform(np.column_stack([x, y])) * [1, -1] + [0, 360]


def points(polyline):
    """Return the points of a line as rows (x, y) in pixels."""
    return np.array([list(map(float, point.split(","))) for point in polyline.get("points").split()])


def corners(rectangle):
    """Return the upper left and the lower right corner of a rectangle in pixels."""
    left, top, width, height = (float(rectangle.get(key)) for key in ("x", "y", "width", "height"))
    return np.array([[left, top], [left + width, top + height]])


def centre(shape):
    """Return where the middle of a circle or a rectangle lies in pixels."""
    if shape.tag == SVG + "circle":
        return np.array([float(shape.get("cx")), float(shape.get("cy"))])
    return corners(shape).mean(axis=0)


def panels(root):
    """Return the shapes of a frame for each panel, in the order they are painted."""
    found = []
    for child in root:
        if child.tag == SVG + "svg":  # what is cut at the edges of the axes; what is not cut comes after it
            found.append(list(child))
        else:
            found[-1].append(child)
    return found


def painted(shapes, tag):
    """Return {colour: the shapes of one kind}."""
    found = defaultdict(list)
    for shape in shapes:
        if shape.tag == SVG + tag:
            fill = shape.get("fill")
            found[to_hex(shape.get("stroke") if fill == "none" else fill)].append(shape)
    return dict(found)


def read(explorer, tag, panel=0):
    """Return {colour: the shapes of one kind} of a panel of the frame that is shown now."""
    return painted(panels(shown(explorer))[panel], tag)


def lines_by_label(axes):
    """Return {label: line} of the lines that the legend names, if their colours and markers are its own."""
    lines = {line.get_label(): line for line in axes.lines if not line.get_label().startswith("_")}
    if axes.get_legend():
        shown = dict(zip(legend_labels(axes), axes.get_legend().get_lines(), strict=True))
        assert list(shown) == list(lines)
        for label, line in lines.items():
            for look in ("color", "linestyle", "marker", "markerfacecolor"):
                assert getattr(line, f"get_{look}")() == getattr(shown[label], f"get_{look}")(), (label, look)
    return lines


def legend_labels(axes):
    """Return what the legend says."""
    return [text.get_text() for text in axes.get_legend().get_texts()]


def tick_names(axes):
    """Return {place: name} of the x axis."""
    labels = [text.get_text() for text in axes.get_xticklabels()]
    return dict(zip(axes.get_xticks().tolist(), labels, strict=True))


def words_of(figure):
    """Return the pieces of text that are really drawn, with the box of each."""
    found = []
    for axes in figure.axes:
        found += [axes.title, *axes.texts]
        found += axes.get_legend().get_texts() if axes.get_legend() else []
        for axis in (axes.xaxis, axes.yaxis) if axes.axison else ():
            low, high = sorted(axis.get_view_interval())
            ticks = [*axis.get_major_ticks(), *axis.get_minor_ticks()]
            found += [axis.label, *(tick.label1 for tick in ticks if low <= tick.get_loc() <= high)]
    seen = [text for text in found if text.get_text() and text.get_visible()]
    return [(text, text.get_window_extent()) for text in seen]


def contrast(color, other="white"):
    """Return WCAG's contrast of two colours, 1 to 21."""

    def luminance(color):
        channels = np.array(to_rgba(color)[:3])
        low = channels <= 0.04045
        return np.where(low, channels / 12.92, ((channels + 0.055) / 1.055) ** 2.4) @ [0.2126, 0.7152, 0.0722]

    dark, light = sorted([luminance(color), luminance(other)])
    return (light + 0.05) / (dark + 0.05)


def no_word_leaves_the_figure(figure):
    for text, box in words_of(figure):
        inside = box.x0 >= 0 and box.y0 >= 0 and box.x1 <= 640 and box.y1 <= 360
        assert inside, f"{text.get_text()!r} lies at {box.extents.round()}"


def no_word_lies_on_another(figure):
    for (one, box), (other, other_box) in combinations(words_of(figure), 2):
        assert not box.padded(-0.5).overlaps(other_box), f"{one.get_text()!r} on {other.get_text()!r}"


def the_legend_is_on_the_figure_and_off_the_data(figure):
    for axes in figure.axes:
        if axes.get_legend():
            box = axes.get_legend().get_window_extent()
            assert box.x0 >= 0
            assert box.x1 <= 640
            assert box.y1 <= 360
            assert not any(box.overlaps(other.bbox) for other in figure.axes)
    labels = [label for axes in figure.axes if axes.get_legend() for label in legend_labels(axes)]
    assert len(set(labels)) == len(labels)


def words_are_plain_and_short_numbers(figure):
    texts = [text.get_text() for text, _ in words_of(figure)]
    assert len(texts) >= 3
    assert not [text for text in texts if set(text) & set("$\\{}")]


def every_axis_says_what_it_shows_and_has_at_least_three_ticks(figure):
    assert figure.axes[0].get_ylabel() or not figure.axes[0].axison
    for axes in figure.axes:
        if axes.axison:
            labels = [text.get_text() for text, _ in words_of(figure) if text in axes.get_xticklabels()]
            assert len(labels) >= (min(3, len(axes.containers[0])) if axes.containers else 3)
            assert axes.get_xlabel() or all(label.isalpha() for label in labels)


def contrast_is_enough_for_words_and_for_lines(figure):
    for text, _ in words_of(figure):
        assert contrast(text.get_color()) >= 4.5, text.get_text()
    for axes in figure.axes:
        legend = axes.get_legend()
        lines = [*axes.lines, *(legend.get_lines() if legend else [])]
        patches = [*axes.patches, *(legend.get_patches() if legend else [])]
        arrows = [text.arrow_patch for text in axes.texts if getattr(text, "arrow_patch", None)]
        for line in lines:
            filled = line.get_linestyle() == "None" and line.get_markerfacecolor() != "none"
            assert contrast(line.get_markerfacecolor() if filled else line.get_color()) >= 3, line.get_label()
        for patch in [*patches, *arrows, *axes.spines.values()]:
            if patch.get_visible() and patch is not axes.patch:
                assert contrast(patch.get_edgecolor()) >= 3


READABLE = (
    no_word_leaves_the_figure,
    no_word_lies_on_another,
    the_legend_is_on_the_figure_and_off_the_data,
    words_are_plain_and_short_numbers,
    every_axis_says_what_it_shows_and_has_at_least_three_ticks,
    contrast_is_enough_for_words_and_for_lines,
)


def path_points(path):
    """Return the points of a path that is written by its steps, in tenths of a pixel."""
    start, steps = path["d"].removeprefix("M").split("l")
    numbers = [np.array(re.findall(r"-?\d+", part), int).reshape(-1, 2) for part in (start, steps)]
    return np.cumsum(np.concatenate(numbers), axis=0) / 10
