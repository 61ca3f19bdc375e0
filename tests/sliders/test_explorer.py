"""Any explorer: it is found, it can be read, and what is shown is the frame that the slider picks."""

import itertools
import re
import struct
from base64 import b64decode
from html import escape
from importlib import import_module
from itertools import combinations
from pathlib import Path
from xml.etree import ElementTree

import ipywidgets as widgets
import matplotlib
import pytest
from ipywidgets.widgets.widget import _instances
from ipywidgets.widgets.widget_link import DirectionalLink
from matplotlib.font_manager import FontProperties
from matplotlib.text import Text as DrawnText
from pictures import READABLE, SVG, background, contrast, ends_and_middle, shown, status

from bnlab import figures, sliders
from bnlab.sliders.marks import Frame, Marker, Text

MACHINERY = {"__init__", "explorer", "marks", "page"}
# An explorer's own test file says how to build it, and with what it cannot be built.
ROOMS = sorted({path.stem for path in Path(sliders.__file__).parent.glob("*.py")} - MACHINERY)
TESTS = {room: import_module(f"test_{room}") for room in ROOMS}
BUILD = {name: build for tests in TESTS.values() for name, build in tests.BUILD.items()}
BAD = [case for tests in TESTS.values() for case in tests.BAD]
PAPER = figures.blank()  # to measure words on
every = pytest.mark.parametrize("name", BUILD)


@pytest.fixture(scope="module")
def built():
    """Return the explorers, for tests that only look and move the slider."""
    return {name: build() for name, build in BUILD.items()}


def settings(explorer):
    """Set each second control to each of its values, one after the other, and yield the control."""
    for control in explorer.controls.values():
        for value in values_of(control):
            control.value = value
            yield control


@pytest.mark.parametrize("room", ROOMS)
def test_every_room_of_the_sliders_gives_an_explorer(room):
    given = import_module(f"bnlab.sliders.{room}").__all__
    assert [name for name in given if name.endswith("_explorer")] == [f"{room}_explorer"]
    for name in given:
        assert getattr(sliders, name) is getattr(import_module(f"bnlab.sliders.{room}"), name)
        assert name in sliders.__all__


def test_the_rooms_are_those_that_the_notebooks_open():
    assert {"decay", "mates", "spread", "sweep", "wiring"} <= set(ROOMS)
    assert {"Explorer", "SidePanel", "Wiring"} <= set(sliders.__all__)


@pytest.fixture(scope="module")
def still():
    """Return what stands still in each explorer, as it starts and with each setting of its controls."""
    drawn = {}
    for name, build in BUILD.items():
        explorer = build()
        drawn[name] = [explorer._figure, *(explorer._figure for _ in settings(explorer))]
        for figure in drawn[name]:
            figure.canvas.draw()
    return drawn


@every
@pytest.mark.parametrize("check", READABLE, ids=lambda check: check.__name__)
def test_what_stands_still_can_be_read(name, check, still):
    for figure in still[name]:
        check(figure)


@every
def test_there_is_a_frame_for_each_value_and_no_two_are_alike(name, built):
    frames = [child.value for child in built[name].stack.children]
    assert len(frames) == len(built[name].slider.options) == len(set(built[name].slider.options))
    assert len(set(frames)) == len(frames)


@every
def test_the_browser_itself_picks_the_frame(name):
    explorer = BUILD[name]()
    (link,) = [
        w for w in _instances.values() if isinstance(w, DirectionalLink) and w.source[0] is explorer.slider
    ]
    assert link.source == (explorer.slider, "index")
    assert link.target == (explorer.stack, "selected_index")
    assert explorer.stack.selected_index == explorer.slider.index
    before = [background(explorer), *(child.value for child in explorer.stack.children)]
    explorer.slider.index = 0
    assert [background(explorer), *(child.value for child in explorer.stack.children)] == before


@every
def test_the_frames_lie_on_the_picture(name, built):
    *_, grid = built[name].children
    picture, stack = grid.children
    assert stack is built[name].stack
    for widget in (picture, stack, *stack.children):
        assert (widget.layout.width, widget.layout.height, widget.layout.margin) == ("640px", "360px", "0")
    assert picture.layout.grid_area == stack.layout.grid_area == "1 / 1 / 2 / 2"
    assert built[name].slider.layout.width == "640px"


@every
def test_the_words_of_a_frame_are_its_label_its_status_line_and_the_end_of_the_alternative(name, built):
    explorer = built[name]
    for _ in range(len(explorer.slider.options)):
        root = shown(explorer)
        assert root.get("role") == "img"
        assert root.get("aria-label") == status(root)
        assert explorer.alt.endswith(" " + status(root))
        explorer.slider.index = (explorer.slider.index + 1) % len(explorer.slider.options)


@every
def test_the_alternative_names_the_control_its_range_and_its_value(name, built):
    explorer = built[name]
    first, *_, last = values = explorer.slider.options
    for _ in ends_and_middle(explorer):
        assert explorer.alt.startswith(
            f"Slider: {explorer.slider.description}, {len(values)} values from {first} to {last}, "
            f"here {explorer.slider.value}."
        )
        assert "\n" not in explorer.alt
    assert re.search(r"\((of|unit|squared unit|no unit)", explorer.slider.description)


@every
def test_the_words_fit_into_the_picture_in_every_frame(name):
    explorer = BUILD[name]()
    frames = {child.value for child in explorer.stack.children}
    for _ in settings(explorer):
        frames |= {child.value for child in explorer.stack.children}
    for frame in frames:
        for element in ElementTree.fromstring(frame).iter(SVG + "text"):
            width = words_width(element)
            left = (
                float(element.get("x"))
                - {"start": 0, "middle": width / 2, "end": width}[element.get("text-anchor")]
            )
            assert left >= 0
            assert left + width <= 640 - 8, element.text


def words_width(element):
    points = float(element.get("font-size")) * 0.72  # of which there are 72 to 100 pixels
    font = FontProperties(family="DejaVu Sans", weight=element.get("font-weight", "normal"), size=points)
    text = PAPER.text(0, 0, element.text, fontproperties=font, parse_math=False)
    width = text.get_window_extent().width
    text.remove()
    return width


def test_a_line_that_is_too_long_would_be_seen():
    figure = figures.blank()
    frame = ElementTree.fromstring(
        Frame((Text(0.0125, 0.952, "m" * 60, size=12.5, unit="figure"),)).svg(figure)
    )
    assert words_width(next(frame.iter(SVG + "text"))) > 640


@every
def test_words_lie_apart_from_the_picture_s_own(name, built):
    explorer = built[name]
    figure = explorer._figure
    for index in ends_and_middle(explorer):
        artists = explorer._frames[index].draw(figure)
        figure.canvas.draw()
        moving = [artist for artist in artists if isinstance(artist, DrawnText)]
        fixed = [
            text for axes in figure.axes for text in axes.texts if text.get_text() and text not in moving
        ]
        fixed += [axes.get_legend() for axes in figure.axes if axes.get_legend()]
        fixed += [label for axes in figure.axes for label in (axes.xaxis.label, axes.yaxis.label)]
        boxes = [artist.get_window_extent() for artist in moving + fixed]
        assert len(moving) >= 1
        for one, other in combinations(range(len(boxes)), 2):
            if one < len(moving):
                both = boxes[one].padded(-0.5), boxes[other]
                assert not both[0].overlaps(both[1]), moving[one].get_text()
        for artist in artists:
            artist.remove()


@every
def test_contrast_of_the_moving_part_is_enough(name, built):
    for frame in built[name]._frames:
        for mark in frame.marks:
            assert contrast(mark.color) >= (4.5 if isinstance(mark, Text) else 3), mark


@every
def test_the_picture_is_an_image_with_a_text_alternative(name, built):
    image = ElementTree.fromstring(background(built[name]).removesuffix(">") + "/>")
    assert (image.get("width"), image.get("height")) == ("640", "360")
    assert image.get("alt") in built[name].alt
    assert len(image.get("alt")) > 50
    picture = b64decode(image.get("src").removeprefix("data:image/png;base64,"))
    assert struct.unpack(">II", picture[16:24]) == (1280, 720)


@every
def test_a_bundle_holds_the_slider_the_picture_and_the_words(name):
    explorer = BUILD[name]()
    for index in ends_and_middle(explorer):
        bundle, metadata = explorer._repr_mimebundle_()
        assert set(bundle) == {"application/vnd.jupyter.widget-view+json", "image/png", "text/plain"}
        view = bundle["application/vnd.jupyter.widget-view+json"]
        assert view == {"version_major": 2, "version_minor": 0, "model_id": explorer.model_id}
        assert bundle["text/plain"] == explorer.alt
        assert explorer.slider.options[index] in bundle["text/plain"]
        assert metadata == {"image/png": {"width": 640, "height": 360}}


@every
def test_showing_an_explorer_leaves_its_picture_as_it_was(name):
    explorer = BUILD[name]()
    figure, bare = explorer._figure, figures.image_html(explorer._figure, explorer._about)
    assert bare == background(explorer)
    pictures = set()
    for _ in ends_and_middle(explorer):
        first, second = (explorer._repr_mimebundle_()[0]["image/png"] for _ in range(2))
        assert first == second
        pictures.add(first)
        assert explorer._figure is figure
        assert figures.image_html(explorer._figure, explorer._about) == bare
    assert len(pictures) == 3


@every
def test_the_still_picture_is_the_frame_that_the_slider_picks(name):
    explorer = BUILD[name]()
    for _ in itertools.chain(["as it starts"], settings(explorer)):
        figure = explorer._figure
        assert background(explorer) == figures.image_html(figure, explorer._about)
        for index in ends_and_middle(explorer):
            frame = explorer._frames[index]
            assert explorer.stack.children[index].value == frame.svg(figure)
            with figures.style():
                artists = frame.draw(figure)
            expected = figures.png(figure)
            for artist in artists:
                artist.remove()
            assert b64decode(explorer._repr_mimebundle_()[0]["image/png"]) == expected


@every
def test_the_words_of_a_frame_name_the_value_that_the_slider_shows(name, built):
    explorer = built[name]
    for index, value in enumerate(explorer.slider.options):
        explorer.slider.index = index
        assert re.search(rf"(?<![\w.]){re.escape(value)}(?!\w|\.\d)", status(shown(explorer)))


def test_ipython_shows_an_explorer_as_this_bundle(built):
    from IPython.core.formatters import DisplayFormatter

    shown_data, _ = DisplayFormatter().format(built["mates"])
    assert shown_data == built["mates"]._repr_mimebundle_()[0]


def test_the_image_s_alternative_is_escaped():
    words = 'a "quoted" <b> & c'
    explorer = sliders.Explorer("x (no unit)", ["0"], 0, lambda: (figures.blank(), [Frame()], words))
    assert f'<img alt="{escape(words)}" ' in background(explorer)


@every
def test_a_second_control_draws_everything_anew_and_back_again_the_same(name):
    explorer = BUILD[name]()
    children, widgets_before = explorer.stack.children, len(_instances)
    for control in explorer.controls.values():
        start, met = control.value, {}
        for value in (start, *values_of(control), start):
            control.value = value
            frames = [child.value for child in children]
            assert met.setdefault(value, (frames, background(explorer))) == (frames, background(explorer))
            assert _said(control) in explorer.alt
            assert explorer._repr_mimebundle_()[0]["text/plain"] == explorer.alt
        assert len(met) >= 2
        for (one, _), (other, _) in combinations(met.values(), 2):
            assert all(a != b for a, b in zip(one, other, strict=True))
    assert explorer.stack.children is children
    assert len(_instances) == widgets_before


@pytest.mark.parametrize(
    ("name", "control", "stays"),
    [("spread", "epsilon", False), ("decay", "debias", True), ("decay", "size", False)],
)
def test_a_second_control_changes_what_stands_still_only_where_it_must(name, control, stays):
    explorer = BUILD[name]()
    before, control = background(explorer), explorer.controls[control]
    for value in set(values_of(control)) - {control.value}:
        control.value = value
        assert (background(explorer) == before) == stays


def values_of(control):
    return (True, False) if control.value in (True, False) else [value for _, value in control.options]


def _said(control):
    value = (
        control.label if isinstance(control, widgets.Dropdown) else {True: "on", False: "off"}[control.value]
    )
    return f" {control.description} {value}."


def test_the_second_controls_can_be_seen_and_named():
    for name, controls in {
        "spread": ["epsilon"],
        "decay": ["debias", "size"],
        "mates": [],
        "wiring": [],
    }.items():
        explorer = BUILD[name]()
        assert list(explorer.controls) == controls
        rows = [row for row in explorer.children if isinstance(row, widgets.HBox)]
        assert [child for row in rows for child in row.children] == list(explorer.controls.values())
        assert all(control.description for control in explorer.controls.values())


@every
def test_the_reader_s_own_settings_leave_an_explorer_alone(name):
    before = {key: matplotlib.rcParams[key] for key in matplotlib.rcParams if key != "backend"}
    plain = BUILD[name]()
    bundle = plain._repr_mimebundle_()[0]
    assert {key: matplotlib.rcParams[key] for key in before} == before
    own = {
        "font.size": 30,
        "font.family": "serif",
        "axes.facecolor": "black",
        "lines.marker": "x",
        "patch.linewidth": 7,
        "patch.force_edgecolor": True,
    }
    with matplotlib.rc_context(own):
        other = BUILD[name]()
        assert other._repr_mimebundle_()[0]["image/png"] == bundle["image/png"]
    assert background(other) == background(plain)
    assert [child.value for child in other.stack.children] == [child.value for child in plain.stack.children]


@pytest.mark.parametrize(
    ("call", "names"),
    [
        *BAD,
        (lambda: sliders.Explorer("x", ["a"], 1, lambda: None), "start"),
        (lambda: sliders.Explorer("x", ["a"], -1, lambda: None), "start"),
        (lambda: sliders.Explorer("x", [], 0, lambda: None), "start"),
        (lambda: sliders.Explorer("x", ["a", "b"], 0, lambda: (figures.blank(), [Frame()], "")), "1 frames"),
    ],
)
def test_bad_input_is_refused_in_one_sentence_that_names_it(call, names):
    before = len(_instances)
    with pytest.raises((TypeError, ValueError), match=names) as caught:
        call()
    message = str(caught.value)
    assert "expected" in message
    assert "\n" not in message
    assert ". " not in message
    assert len(_instances) == before


def test_an_explorer_can_be_made_of_any_figure_and_frames():
    def draw(level):
        frames = [Frame((Marker(figures.BLUE, y=value / 10),), f"{value}") for value in range(3)]
        return figures.blank(width=300, height=200), frames, f"A line, level {level}."

    level = widgets.Dropdown(options=[("low", 1), ("high", 2)], value=1, description="level")
    explorer = sliders.Explorer("height (no unit)", ["0", "1", "2"], 1, draw, {"level": level})
    assert (
        explorer.alt
        == "Slider: height (no unit), 3 values from 0 to 2, here 1. level low. A line, level 1. 1"
    )
    assert explorer.stack.selected_index == 1
    level.value = 2
    assert "A line, level 2." in background(explorer)
    assert explorer._repr_mimebundle_()[1] == {"image/png": {"width": 300, "height": 200}}
