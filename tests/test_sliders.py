"""The explorers: every frame holds the right numbers, in the picture and in words, without a kernel."""

import re
import struct
from base64 import b64decode
from html import escape
from itertools import combinations
from xml.etree import ElementTree

import ipywidgets as widgets
import matplotlib
import numpy as np
import pytest
from ipywidgets.widgets.widget import _instances
from ipywidgets.widgets.widget_link import Link
from matplotlib.font_manager import FontProperties
from matplotlib.text import Text as DrawnText
from test_figures import contrast

from bnlab import data, figures, sliders
from bnlab.overlays import Frame, Marker, Text

SVG = "{http://www.w3.org/2000/svg}"
DIGITS = data.digits()
NUMBER = r"-?\d+(?:\.\d+)?"
# What session.run executes for one training step: names from a run of the notebook on update operations.
FORWARD = (
    "_SOURCE",
    "hidden/ReadVariableOp",
    "hidden",
    "batch_normalization/moments/mean",
    "batch_normalization/cond/Identity",
    "batch_normalization/batchnorm/add_1",
    "SparseSoftmaxCrossEntropyWithLogits/SparseSoftmaxCrossEntropyWithLogits",
    "gradients/loss_grad/truediv",
    "gradients/batch_normalization/moments/mean_grad/truediv",
    "gradients/batch_normalization/batchnorm/add_1_grad/Sum",
    "train_op/update_Variable/ResourceApplyGradientDescent",
    "train_op",
)
UPDATES = (
    "batch_normalization/cond_2/then/_18/AssignMovingAvg/AssignSubVariableOp",
    "batch_normalization/cond_3/then/_32/AssignMovingAvg/AssignSubVariableOp",
)
WIRINGS = {  # name: runs the updates, tied, fetched
    "tied": (True, True, False),
    "fetched": (True, False, True),
    "both": (True, True, True),
    "forgotten": (False, False, False),
    "early": (False, False, False),
}
STEPS = 200
PAPER = figures.blank()  # to measure words on


# ---- the explorers as the notebooks build them ---------------------------------------------------


def spread_batch():
    return DIGITS.x_train[:8].mean(axis=1)


def batch_means():
    rng = np.random.default_rng(0)
    unit = DIGITS.x_train @ rng.normal(size=64)
    return {size: np.array([rng.choice(unit, size).mean() for _ in range(STEPS)]) for size in (4, 16, 64)}


def softmax(logits):
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)


def probabilities():
    """Return one digit's class probabilities in both modes, as its 31 mates are replaced one by one."""
    rng = np.random.default_rng(0)
    x, weights = DIGITS.x_train.astype(float), rng.normal(size=(64, 10))
    x = x @ weights
    image, mates = x[4:5], x[rng.choice(len(x), 31, replace=False)]
    same = x[DIGITS.y_train == 4][:31]
    batches = [np.concatenate([image, same[:k], mates[k:]]) for k in range(32)]
    training = [3 * ((b - b.mean(axis=0)) / np.sqrt(b.var(axis=0) + 1e-3))[:1] for b in batches]
    inference = 3 * (image - x.mean(axis=0)) / np.sqrt(x.var(axis=0) + 1e-3)
    return softmax(np.concatenate(training)), np.repeat(softmax(inference), 32, axis=0)


def wirings():
    return {
        name: sliders.Wiring(FORWARD + (UPDATES if runs else ()), tied=tied, fetched=fetched)
        for name, (runs, tied, fetched) in WIRINGS.items()
    }


SWEPT = np.array([1e-5, 1e-4, 1e-3, 1e-2, 0.1])
MISFITS = {"as posted": np.abs(SWEPT - 1e-3) + 1e-7, "with Bessel": SWEPT + 0.1}
OUTPUTS = sliders.Beside(
    ["first", "second", "third"],
    "output (no unit)",
    (0, 2),
    {"yours": np.linspace(0.8, 1.7, 15).reshape(5, 3)},
    {"printed": [1.09, 1.56, 1.64]},
)


def sweep(**changes):
    usual = {"start": 1e-3, "ylabel": "largest misfit (no unit)", "log_x": True, "log_y": True}
    return sliders.sweep_explorer("epsilon (squared unit of x)", SWEPT, MISFITS, **usual | changes)


BUILD = {
    "spread": lambda: sliders.spread_explorer(spread_batch()),
    "decay": lambda: sliders.decay_explorer(batch_means()),
    "mates": lambda: sliders.mates_explorer(*probabilities(), label=4),
    "wiring": lambda: sliders.wiring_explorer(wirings()),
    "sweep": lambda: sweep(spell=figures.magnitude),
    "sweep beside": lambda: sweep(beside=OUTPUTS),
}
COUNT = {"spread": 52, "decay": 51, "mates": 32, "wiring": 5, "sweep": 5, "sweep beside": 5}
every = pytest.mark.parametrize("name", BUILD)


@pytest.fixture(scope="module")
def built():
    """Return the four explorers, for tests that only look and move the slider."""
    return {name: build() for name, build in BUILD.items()}


def ends_and_middle(explorer):
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
    return explorer.children[-1].children[0].value


def points(polyline):
    return np.array([list(map(float, point.split(","))) for point in polyline.get("points").split()])


def on_page(axes, x, y):
    """Return points of the picture's axes as rows (x, y) in pixels from the upper left corner."""
    return axes.transData.transform(np.column_stack([x, y])) * [1, -1] + [0, 360]


# ---- any explorer --------------------------------------------------------------------------------


@every
def test_there_is_a_frame_for_each_value_and_no_two_are_alike(name, built):
    frames = [child.value for child in built[name].stack.children]
    assert (
        len(frames) == len(built[name].slider.options) == len(set(built[name].slider.options)) == COUNT[name]
    )
    assert len(set(frames)) == len(frames)


@every
def test_the_browser_itself_picks_the_frame(name):
    explorer = BUILD[name]()
    (link,) = [w for w in _instances.values() if isinstance(w, Link) and w.source[0] is explorer.slider]
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
    first, last = explorer.slider.options[0], explorer.slider.options[-1]
    for _ in ends_and_middle(explorer):
        assert explorer.alt.startswith(
            f"Slider: {explorer.slider.description}, {COUNT[name]} values from {first} to {last}, "
            f"here {explorer.slider.value}."
        )
        assert "\n" not in explorer.alt
    assert re.search(r"\((of|unit|squared unit|no unit)", explorer.slider.description)


@every
def test_the_words_fit_into_the_picture_in_every_frame(name):
    explorer = BUILD[name]()
    frames = {child.value for child in explorer.stack.children}
    for control in explorer.controls.values():
        for value in (True, False) if control.value in (True, False) else [v for _, v in control.options]:
            control.value = value
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


def test_ipython_shows_an_explorer_as_this_bundle(built):
    from IPython.core.formatters import DisplayFormatter

    shown_data, _ = DisplayFormatter().format(built["mates"])
    assert shown_data == built["mates"]._repr_mimebundle_()[0]


def test_the_image_s_alternative_is_escaped():
    words = 'a "quoted" <b> & c'
    explorer = sliders.Explorer("x (no unit)", ["0"], 0, lambda: (figures.blank(), [Frame()], words))
    assert f'<img alt="{escape(words)}" ' in background(explorer)


@pytest.mark.parametrize(
    ("name", "control", "values"),
    [
        ("spread", "epsilon", (0.1, 0.00001)),
        ("decay", "debias", (True,)),
        ("decay", "size", (16, 64)),
    ],
)
def test_a_second_control_draws_everything_anew_and_back_again_the_same(name, control, values):
    explorer = BUILD[name]()
    control = explorer.controls[control]
    start, widgets_before = control.value, len(_instances)
    frames, picture = [child.value for child in explorer.stack.children], background(explorer)
    children = explorer.stack.children
    met = [frames]
    for value in values:
        control.value = value
        met.append([child.value for child in explorer.stack.children])
        assert (background(explorer) == picture) == (value is True)  # dots stay where they are
        assert _said(control) in explorer.alt
        assert explorer._repr_mimebundle_()[0]["text/plain"] == explorer.alt
    for one, other in combinations(met, 2):
        assert all(a != b for a, b in zip(one, other, strict=True))
    control.value = start
    assert [child.value for child in explorer.stack.children] == frames
    assert background(explorer) == picture
    assert explorer.stack.children is children
    assert len(_instances) == widgets_before


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


# ---- spread --------------------------------------------------------------------------------------


def test_the_spread_goes_from_0_to_10_and_starts_at_1(built):
    values = [float(value) for value in built["spread"].slider.options]
    assert values[0] == 0
    assert values[-1] == 10
    assert values == sorted(values)
    np.testing.assert_allclose(np.diff(np.log10(values[1:])), 0.1, atol=0.003)  # even steps on a log slider
    assert BUILD["spread"]().slider.value == "1"


@pytest.mark.parametrize("epsilon", [0.1, 0.001, 0.00001])
def test_spread_outputs_are_those_of_the_formula(epsilon):
    explorer, batch = BUILD["spread"](), spread_batch().astype(float)
    explorer.controls["epsilon"].value = epsilon
    left, right = explorer._figure.axes
    for index in ends_and_middle(explorer):
        spread = 0 if index == 0 else 10 ** (-4 + 0.1 * (index - 1))
        x = batch.mean() + spread * (batch - batch.mean()) / batch.std()
        outputs = (x - x.mean()) / np.sqrt(x.var() + epsilon)
        root = shown(explorer)
        (dot,) = root.iter(SVG + "circle")
        ((x_dot, y_dot),) = on_page(left, [spread], [outputs.std()])
        assert [float(dot.get("cx")), float(dot.get("cy"))] == pytest.approx([x_dot, y_dot], abs=0.06)
        squares = list(root.iter(SVG + "rect"))
        centres = [
            [float(square.get(k)) + float(square.get("width")) / 2 for k in "xy"] for square in squares
        ]
        np.testing.assert_allclose(centres, on_page(right, np.arange(1, 9), outputs), atol=0.06)
        (marker,) = root.iter(SVG + "polyline")
        np.testing.assert_allclose(points(marker)[:, 0], x_dot, atol=0.06)
        said = re.findall(NUMBER, status(root))
        assert [float(number) for number in said[:4]] == pytest.approx(
            [spread, outputs.std(), outputs.min(), outputs.max()], rel=5e-3, abs=5.1e-3
        )
        assert said[4] == explorer.controls["epsilon"].label
        assert "-0.00 " not in explorer.alt


def test_the_fixed_curve_of_spread_is_the_formula_and_its_half_power_point_is_told(built):
    curve = built["spread"]._figure.axes[0].lines[0]
    spread, out = curve.get_data()
    np.testing.assert_allclose(out, spread / np.sqrt(spread**2 + 1e-3), rtol=1e-12)
    assert "0.707 at s = 0.0316" in built["spread"].alt
    assert "the 8 outputs" in built["spread"].alt


def test_the_dots_of_spread_stay_in_the_picture(built):
    for child in built["spread"].stack.children:
        for square in ElementTree.fromstring(child.value).iter(SVG + "rect"):
            assert 40 <= float(square.get("y")) <= 310


def test_another_batch_gives_another_explorer():
    shifted = sliders.spread_explorer(spread_batch() + 5)
    same = BUILD["spread"]()
    assert [child.value for child in shifted.stack.children][30:] == [
        child.value for child in same.stack.children
    ][30:]  # a shift is taken out
    other = sliders.spread_explorer(DIGITS.x_train[8:16].mean(axis=1))
    assert other.alt != same.alt


# ---- decay ---------------------------------------------------------------------------------------


def test_momentum_goes_from_a_half_to_999_in_51_values_with_the_familiar_ones(built):
    momenta = [float(value) for value in built["decay"].slider.options]
    assert len(momenta) == 51
    assert momenta == sorted(set(momenta))
    assert (momenta[0], momenta[-1]) == (0.5, 0.999)
    assert {0.9, 0.95, 0.99, 0.995} <= set(momenta)
    steps = np.diff(np.log(1 - np.array(momenta)))
    assert steps.max() / steps.min() < 1.0  # all go one way
    assert np.abs(steps / steps.mean() - 1).max() < 0.6  # about as far each
    assert BUILD["decay"]().slider.value == "0.99"


@pytest.mark.parametrize("debias", [False, True])
@pytest.mark.parametrize("size", [4, 16, 64])
def test_the_moving_average_is_drawn_and_told_as_computed_by_hand(size, debias):
    explorer, series = BUILD["decay"](), batch_means()
    explorer.controls["size"].value = size
    explorer.controls["debias"].value = debias
    everything = [0.0, *np.concatenate(list(series.values()))]
    margin = 0.08 * (max(everything) - min(everything))
    low, high = min(everything) - margin, max(everything) + margin
    for index in [*ends_and_middle(explorer), explorer.slider.options.index("0.9")]:
        explorer.slider.index = index
        momentum, average, by_hand = float(explorer.slider.value), 0.0, []
        for step, value in enumerate(series[size], start=1):
            average = momentum * average + (1 - momentum) * value
            by_hand.append(average / (1 - momentum**step) if debias else average)
        half_life = np.log(0.5) / np.log(momentum)
        root = shown(explorer)
        curve, *marker = (points(line) for line in root.iter(SVG + "polyline"))
        # The axes take 548 x 270 pixels from (74, 40) on; steps go from 0 to 201.
        expected = [74 + 548 * np.arange(1, 201) / 201, 40 + 270 * (high - np.array(by_hand)) / (high - low)]
        np.testing.assert_allclose(curve, np.transpose(expected), atol=0.06)
        for line in marker:
            np.testing.assert_allclose(line[:, 0], 74 + 548 * half_life / 201, atol=0.06)
        words = [element.text for element in root.iter(SVG + "text")]
        assert bool(marker) == ("half-life" in words) == (half_life < STEPS)
        left = "the initial 0 taken out." if debias else f"{100 * momentum**STEPS:.1f}% still the initial 0."
        assert status(root) == (
            f"momentum {explorer.slider.value}, half-life {half_life:.1f} steps. "
            f"After 200 steps: {by_hand[-1]:.2f}, {left}"
        )
    assert f"the means of 200 batches, around {np.mean(series[size]):.2f}" in explorer.alt
    assert f"y from {low:.2f} to {high:.2f}" in explorer.alt


def test_the_fixed_part_of_decay_are_the_batch_means_and_their_mean():
    explorer, series = BUILD["decay"](), batch_means()
    for size in (64, 4):
        explorer.controls["size"].value = size
        dots, mean = explorer._figure.axes[0].lines
        np.testing.assert_array_equal(dots.get_ydata(), series[size])
        np.testing.assert_array_equal(dots.get_xdata(), np.arange(1, 201))
        np.testing.assert_allclose(mean.get_ydata(), series[size].mean())


def test_all_frames_of_decay_are_small(built):
    assert sum(len(child.value) for child in built["decay"].stack.children) <= 250_000


def test_one_series_needs_no_batch_size():
    explorer = sliders.decay_explorer(batch_means()[16].tolist())
    assert list(explorer.controls) == ["debias"]
    assert "batch size" not in explorer.alt
    other = BUILD["decay"]()
    other.controls["size"].value = 16
    assert status(shown(explorer)) == status(shown(other))


def test_two_steps_are_enough_for_decay():
    explorer = sliders.decay_explorer([1.0, 3.0])
    assert "After 2 steps: 0.04, 98.0% still the initial 0." in explorer.alt


def test_a_moving_average_just_below_zero_is_written_without_a_sign():
    explorer = sliders.decay_explorer([-1e-9, -1e-9, -1e-9])
    assert "-0.00" not in explorer.alt


# ---- mates ---------------------------------------------------------------------------------------


def test_each_frame_of_mates_shows_and_tells_the_probabilities_of_its_row(built):
    explorer, (training, inference) = built["mates"], probabilities()
    for index in ends_and_middle(explorer):
        root = shown(explorer)
        bars = list(root.iter(SVG + "rect"))
        heights = np.array([float(bar.get("height")) for bar in bars])
        np.testing.assert_allclose(heights, 270 / 1.05 * training[index], atol=0.11)
        bottoms = [float(bar.get("y")) + float(bar.get("height")) for bar in bars]
        np.testing.assert_allclose(bottoms, 310, atol=0.11)
        inner = next(root.iter(SVG + "svg")).find(SVG + "svg")  # nothing is cut off at the sides
        assert float(bars[0].get("x")) > float(inner.get("x"))
        assert status(root) == (
            f"{index} of 31 mates replaced, image of a 4: training mode says {training[index].argmax()} "
            f"({100 * training[index].max():.0f}%), inference mode {inference[index].argmax()} "
            f"({100 * inference[index].max():.0f}%)."
        )
    assert list(explorer.slider.options) == [str(k) for k in range(32)]
    assert "none changes by more than 0.00" in explorer.alt


def test_the_fixed_bars_of_mates_are_those_of_inference(built):
    (axes,) = built["mates"]._figure.axes
    heights = [patch.get_height() for patch in axes.containers[0]]
    np.testing.assert_array_equal(heights, probabilities()[1][0])
    labels = [text.get_text() for text in axes.get_xticklabels()]
    assert labels == list("0123456789")


def test_training_and_inference_bars_stand_side_by_side(built):
    explorer = built["mates"]
    (axes,) = explorer._figure.axes
    fixed = [patch.get_window_extent() for patch in axes.containers[0]]
    moving = [float(bar.get("x")) + float(bar.get("width")) for bar in shown(explorer).iter(SVG + "rect")]
    for box, right in zip(fixed, moving, strict=True):
        assert 0 < box.x0 - right < 6


def test_the_largest_change_in_inference_mode_is_told():
    training, inference = probabilities()
    inference = inference.copy()
    inference[5] = np.roll(inference[5], 1)
    explorer = sliders.mates_explorer(training, inference, label=4)
    change = np.ptp(inference, axis=0).max()
    assert change > 0.1
    assert f"none changes by more than {change:.2f} over" in explorer.alt


def test_float32_probabilities_are_good_enough():
    training, inference = (rows.astype(np.float32) for rows in probabilities())
    sliders.mates_explorer(training, inference, label=np.int64(4))


# ---- wiring --------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", WIRINGS)
def test_the_operations_that_ran_are_lit_and_ticked(name, built):
    explorer = built["wiring"]
    explorer.slider.value = name
    runs, tied, fetched = WIRINGS[name]
    root, (axes,) = shown(explorer), explorer._figure.axes
    lit = set()
    rectangles = [
        [float(bar.get(key)) for key in ("x", "y", "width", "height")] for bar in root.iter(SVG + "rect")
    ]
    for label in axes.texts:
        if label.get_text():
            ((x, y),) = on_page(axes, *[[value] for value in label.get_position()])
            inside = [r for r in rectangles if r[0] < x < r[0] + r[2] and r[1] < y < r[1] + r[3]]
            lit |= {label.get_text().replace("\n", " ")} if inside else set()
    always = {"hidden layer", "batch statistics", "normalize", "cross-entropy", "gradients", "train_op"}
    updates = {"2 update operations", "moving_mean, moving_variance"}
    assert lit == always | (updates if runs else set())
    words = [element.text for element in root.iter(SVG + "text")]
    assert words.count("✓") == len(rectangles) == len(lit)
    assert ("control dependency" in words) == tied
    assert ("asked for in session.run" in words) == fetched
    assert len(list(root.iter(SVG + "polyline"))) == tied + fetched
    assert status(root).startswith(f"Wiring '{name}': the update operations ")
    assert ("did not run" in status(root)) == (not runs)
    assert ("stay 0 and 1" in explorer.alt) == (not runs)


def test_lit_boxes_cover_the_boxes_of_the_picture(built):
    explorer = built["wiring"]
    explorer.slider.value = "both"
    (axes,) = explorer._figure.axes
    boxes = [patch.get_window_extent() for patch in axes.patches if patch.get_width() < 5]
    boxes = {(round(box.x0), round(360 - box.y1), round(box.width), round(box.height)) for box in boxes}
    lit = {
        tuple(round(float(bar.get(key))) for key in ("x", "y", "width", "height"))
        for bar in shown(explorer).iter(SVG + "rect")
    }
    assert len(boxes) == 9
    assert len(lit) == 8
    assert all(any(np.abs(np.subtract(one, box)).max() <= 1 for box in boxes) for one in lit)


@pytest.mark.parametrize(
    ("operations", "count"),
    [
        (("loss",), 1),
        (("loss/reduction_indices",), 0),
        (("gradients/batch_normalization/moments/mean_grad/Shape",), 1),  # of the gradients, not the moments
        (("batch_normalization/AssignMovingAvg/AssignSubVariableOp",), 2),  # the update and what it writes
        (("scope/batch_normalization_7/AssignMovingAvg_1/AssignSubVariableOp",), 2),
        (("batch_normalization/AssignMovingAvg/ReadVariableOp",), 0),  # a reader is no update
    ],
)
def test_a_box_is_lit_by_its_own_operations_only(operations, count):
    forward = ("hidden",)
    explorer = sliders.wiring_explorer(
        {
            "one": sliders.Wiring(forward + operations, False, False),
            "two": sliders.Wiring(forward, False, False),
        }
    )
    assert len(list(shown(explorer).iter(SVG + "rect"))) == 1 + count


def test_a_wiring_may_be_called_anything():
    names = ["<b>&\"'$x$", "two"]
    explorer = sliders.wiring_explorer(dict(zip(names, wirings().values(), strict=False)))
    assert names[0] in shown(explorer).get("aria-label")
    assert names[0] in explorer._repr_mimebundle_()[0]["text/plain"]


# ---- sweep ---------------------------------------------------------------------------------------


def test_a_sweep_puts_a_dot_on_each_curve_and_reads_it_off(built):
    for name, spell in (("sweep", figures.magnitude), ("sweep beside", figures.rounded)):
        explorer = built[name]
        axes = explorer._figure.axes[0]
        for index, value in enumerate(SWEPT):
            explorer.slider.index = index
            root = shown(explorer)
            read = [(float(c.get("cx")), float(c.get("cy"))) for c in root.findall(f"{SVG}circle")]
            for label, curve in MISFITS.items():
                ((x, y),) = on_page(axes, [value], [curve[index]])
                assert any(abs(x - at) < 0.1 and abs(y - up) < 0.1 for at, up in read)
                assert f"{label} {spell(curve[index])}" in root.get("aria-label")


def test_a_sweep_holds_moving_dots_against_fixed_ones(built):
    explorer = built["sweep beside"]
    right = explorer._figure.axes[1]
    assert [text.get_text() for text in right.get_xticklabels()] == OUTPUTS.names
    np.testing.assert_array_equal(right.lines[0].get_ydata(), OUTPUTS.fixed["printed"])
    for index in (0, 4):
        marks = [mark for mark in explorer._frames[index].marks if mark.panel == 1]
        np.testing.assert_array_equal(marks[0].y, OUTPUTS.moving["yours"][index])


# ---- bad input -----------------------------------------------------------------------------------

FAIR = np.full((3, 2), 0.5)
ONE_WIRING = {"tied": sliders.Wiring(FORWARD, tied=True, fetched=False)}


@pytest.mark.parametrize(
    ("call", "names"),
    [
        (lambda: sliders.spread_explorer([]), "batch"),
        (lambda: sliders.spread_explorer([1.0]), "batch"),
        (lambda: sliders.spread_explorer([2.0, 2.0, 2.0]), "batch"),
        (lambda: sliders.spread_explorer([0.1, 0.1, 0.1]), "batch"),
        (lambda: sliders.spread_explorer([1.0, np.nan]), "batch"),
        (lambda: sliders.spread_explorer([1.0, np.inf]), "batch"),
        (lambda: sliders.spread_explorer([[1.0, 2.0]]), "batch"),
        (lambda: sliders.spread_explorer(3.0), "batch"),
        (lambda: sliders.spread_explorer("words"), "batch"),
        (lambda: sliders.spread_explorer([[1.0], [2.0, 3.0]]), "batch"),
        (lambda: sliders.decay_explorer([]), "batch_means"),
        (lambda: sliders.decay_explorer({}), "batch_means"),
        (lambda: sliders.decay_explorer([1.0]), "batch_means"),
        (lambda: sliders.decay_explorer([1.0, np.nan]), "batch_means"),
        (lambda: sliders.decay_explorer({4: [1.0, 2.0], 16: [1.0, -np.inf]}), "batch_means"),
        (lambda: sliders.decay_explorer({4: [1.0, 2.0], 16: [1.0, 2.0, 3.0]}), "batch_means"),
        (lambda: sliders.decay_explorer([[1.0, 2.0], [3.0, 4.0]]), "batch_means"),
        (lambda: sliders.mates_explorer([], FAIR, label=0), "training"),
        (lambda: sliders.mates_explorer(FAIR, [], label=0), "inference"),
        (lambda: sliders.mates_explorer(FAIR, FAIR[:2], label=0), "inference"),
        (lambda: sliders.mates_explorer(FAIR[:1], FAIR[:1], label=0), "two rows"),
        (lambda: sliders.mates_explorer(FAIR * np.nan, FAIR, label=0), "training"),
        (lambda: sliders.mates_explorer(FAIR, FAIR * np.inf, label=0), "inference"),
        (lambda: sliders.mates_explorer(FAIR * 1.01, FAIR, label=0), "training"),
        (lambda: sliders.mates_explorer(FAIR, FAIR * 0.99, label=0), "inference"),
        (lambda: sliders.mates_explorer(FAIR + np.array([1, -1]), FAIR, label=0), "training"),
        (lambda: sliders.mates_explorer(FAIR, FAIR, label=2), "label"),
        (lambda: sliders.mates_explorer(FAIR, FAIR, label=-1), "label"),
        (lambda: sliders.wiring_explorer({}), "wirings"),
        (lambda: sliders.wiring_explorer(ONE_WIRING), "wirings"),
        (
            lambda: sliders.wiring_explorer(ONE_WIRING | {"x": sliders.Wiring((), False, False)}),
            r"wirings\['x'\]",
        ),
        (
            lambda: sliders.wiring_explorer(ONE_WIRING | {"x": sliders.Wiring(("a", "xloss"), False, False)}),
            r"wirings\['x'\]",
        ),
        (lambda: sweep(start=0.5), "start"),
        (lambda: sliders.sweep_explorer("x", [1.0], {"y": [1.0]}, start=1.0, ylabel="y"), "values"),
        (lambda: sliders.sweep_explorer("x", [1.0, 1.0001], {"y": [1, 2]}, start=1.0, ylabel="y"), "values"),
        (lambda: sliders.sweep_explorer("x", [1.0, np.nan], {"y": [1, 2]}, start=1.0, ylabel="y"), "values"),
        (lambda: sliders.sweep_explorer("x", SWEPT, {}, start=0.1, ylabel="y"), "curves"),
        (lambda: sliders.sweep_explorer("x", SWEPT, {"y": [1.0]}, start=0.1, ylabel="y"), r"curves\['y'\]"),
        (lambda: sliders.sweep_explorer("x", SWEPT, {"y": SWEPT * np.nan}, start=0.1, ylabel="y"), "curves"),
        (
            lambda: sliders.sweep_explorer("x", SWEPT, {"y": -SWEPT}, start=0.1, ylabel="y", log_y=True),
            "curves.*log_y",
        ),
        (
            lambda: sliders.sweep_explorer("x", -SWEPT, {"y": SWEPT}, start=-0.1, ylabel="y", log_x=True),
            "values.*log_x",
        ),
        (lambda: sweep(beside=OUTPUTS._replace(moving={"yours": np.ones((5, 2))})), "beside.moving"),
        (lambda: sweep(beside=OUTPUTS._replace(fixed={"printed": np.ones(2)})), "beside.fixed"),
        (lambda: sliders.Explorer("x", ["a"], 1, lambda: None), "start"),
        (lambda: sliders.Explorer("x", ["a"], -1, lambda: None), "start"),
        (lambda: sliders.Explorer("x", [], 0, lambda: None), "start"),
        (lambda: sliders.Explorer("x", ["a", "b"], 0, lambda: (figures.blank(), [Frame()], "")), "1 frames"),
    ],
)
def test_bad_input_is_refused_in_one_sentence_that_names_it(call, names):
    before = len(_instances)
    with pytest.raises(ValueError, match=names) as caught:
        call()
    message = str(caught.value)
    assert "expected" in message
    assert "\n" not in message
    assert ". " not in message
    assert len(_instances) == before


# ---- an explorer of one's own --------------------------------------------------------------------


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
