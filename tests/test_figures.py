"""Pictures: what the words claim is computed, everything can be read, and nothing global is touched."""

import struct
import subprocess
import sys
from base64 import b64decode
from functools import cache
from itertools import combinations

import matplotlib
import numpy as np
import pytest
from matplotlib.colors import to_rgba

from bnlab import batch_norm, data, figures, moving_average

PIXELS = data.digits().x_train[:, [10, 20, 35]] * [1, 4, 16]
LOOKS = (20, 50, 100, 200, 400)
WAYS = ["as posted", "never updated", "decay .999", "decay .9", "population"]
BOXES = {"one": (2, 5, "batch statistics"), "two": (8, 5, "train_op"), "three": (5, 1.5, "two\nlines")}


def shares():
    steps = np.arange(1, 5001)
    return {f"momentum {m}": (steps, moving_average.initial_share(m, steps)) for m in (0.9, 0.99, 0.999)}


def four_lines(shift=0.0):
    momenta = (0.5, 0.9, 0.99, 0.999)
    return {f"momentum {m}": (LOOKS, np.linspace(0.9 - m / 2, 0.95, 5) + shift) for m in momenta}


def normalized():
    return batch_norm.normalize(PIXELS, *batch_norm.batch_moments(PIXELS))


def spread_background():
    spreads = np.concatenate([[0], np.logspace(-4, 1, 51)])
    return figures.spread_background(spreads, spreads / np.sqrt(spreads**2 + 1e-3), 1.7, 8), None


# What the notebooks draw, and each function's optional ways; without alternative: parts of an explorer.
DRAWN = {
    "lines, logarithmic": lambda: figures.lines(
        shares(),
        xlabel="steps (number of updates)",
        ylabel="share of the start (no unit)",
        xlim=(1, 5000),
        log_x=True,
    ),
    "lines with markers": lambda: figures.lines(
        four_lines(), xlabel="steps", ylabel="accuracy (share)", ylim=(0, 1), log_x=True, markers=True
    ),
    "lines over seven decades": lambda: figures.lines(
        {"one": (np.logspace(-4, 3, 20), np.arange(20.0))}, xlabel="x", ylabel="y", log_x=True
    ),
    "lines, both axes logarithmic": lambda: figures.lines(
        {"one": (np.logspace(0, 8, 9), np.logspace(-7, 1, 9))}, xlabel="x", ylabel="y", log_x=True, log_y=True
    ),
    "five lines": lambda: figures.lines(
        {f"a line called {name}": ([0, 1], [0, name]) for name in range(5)}, xlabel="x", ylabel="y"
    ),
    "bars": lambda: figures.bars(
        {"training set": [0.44, 0.36, 0.43, 0.99, 0.99], "test set": [0.41, 0.34, 0.4, 0.85, 0.85]},
        WAYS,
        xlabel="statistics used for testing",
        ylabel="accuracy after 501 steps (share)",
        ylim=(0, 1.12),
    ),
    "bars in five groups": lambda: figures.bars(
        {f"group {k}": [0.1 * k + 0.2, 0.9 - 0.1 * k] for k in range(5)},
        ["one", "two"],
        xlabel="x",
        ylabel="y",
    ),
    "before and after": lambda: figures.before_and_after(
        PIXELS, normalized(), names=["pixel 10", "pixel 20", "pixel 35"], xlabel="brightness"
    ),
    "spread background": spread_background,
    "decay background": lambda: (figures.decay_background(np.linspace(-3, 1, 200), (-3.5, 1.5)), None),
    "mates background": lambda: (figures.mates_background(list("0123456789"), np.full(10, 0.1)), None),
    "wiring background": lambda: (
        figures.wiring_background(BOXES, [("one", "two"), ("two", "three")], box_size=(2.2, 0.8)),
        None,
    ),
}
WITH_WORDS = ["lines, logarithmic", "lines with markers", "bars", "before and after"]
everything = pytest.mark.parametrize("name", DRAWN)


@cache
def made(name):
    return DRAWN[name]()[0]


def drawn(name):
    made(name).canvas.draw()  # on the page: a picture in a file has left its words where they are there
    return made(name)


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


# ---- what the words claim ----------------------------------------------------------------------


@pytest.mark.parametrize("name", WITH_WORDS)
def test_an_alternative_is_one_line_that_starts_with_the_kind_of_picture(name):
    alt = DRAWN[name]()[1]
    assert alt.startswith(("Line chart. ", "Bar chart. ", "Two histograms "))
    assert alt.endswith(".")
    assert "\n" not in alt


def test_lines_tell_their_axes_with_ranges_and_where_each_line_goes():
    x = np.array([1.0, 2.0, 4.0])
    series = {"up": (x, 10 * x), "down": (x, -x / 3)}
    _, alt = figures.lines(series, xlabel="steps", ylabel="loss (no unit)", xlim=(0, 5), ylim=(-20, 60))
    assert alt == (
        "Line chart. x: steps, 0 to 5. y: loss (no unit), -20 to 60. "
        "up: from 10 to 40; down: from -0.333 to -1.33."
    )
    series["up"] = (x, 11 * x)
    _, changed = figures.lines(series, xlabel="steps", ylabel="loss (no unit)", xlim=(0, 5), ylim=(-20, 60))
    assert "up: from 11 to 44" in changed


def test_ranges_that_are_fitted_to_the_data_are_told_too():
    alts = [
        figures.lines({"one": ([0, 1], [0, top])}, xlabel="x", ylabel="y")[1].split("one:")[0]
        for top in (1, 100)
    ]
    assert "y: y, -0.05 to 1.05" in alts[0]
    assert "y: y, -5 to 105" in alts[1]


def test_bars_tell_each_value_and_write_the_same_on_it():
    groups = {"training": [0.914, 0.5], "inference": [0.706, 0.25]}
    figure, alt = figures.bars(groups, ["tied", "for\ngotten"], xlabel="x", ylabel="share", ylim=(0, 1))
    assert alt == (
        "Bar chart. y: share, 0 to 1. training: tied 0.91, for gotten 0.50; "
        "inference: tied 0.71, for gotten 0.25."
    )
    assert [text.get_text() for text in figure.axes[0].texts] == ["0.91", "0.50", "0.71", "0.25"]
    groups["inference"][1] = 0.3
    assert "for gotten 0.30" in figures.bars(groups, ["tied", "for\ngotten"], xlabel="x", ylabel="share")[1]


def test_bars_are_rounded_as_asked():
    _, alt = figures.bars({"one": [1.23456]}, ["a"], xlabel="x", ylabel="y", digits=4)
    assert "a 1.2346" in alt


def test_histograms_tell_the_moments_of_each_feature_before_and_after():
    y = normalized()
    _, alt = figures.before_and_after(PIXELS, y, names=["a", "b", "c"], xlabel="brightness")
    assert alt.startswith("Two histograms of 1197 examples, before and after. ")
    for name, before, after in zip("abc", PIXELS.T, y.T, strict=True):
        assert f"{name} before: mean {before.mean():.3g}, standard deviation {before.std():.3g}" in alt
        assert f"{name} after: mean 0, standard deviation {after.std():.3g}" in alt
    _, other = figures.before_and_after(PIXELS + 1, y, names=["a", "b", "c"], xlabel="brightness")
    assert f"a before: mean {PIXELS[:, 0].mean() + 1:.3g}" in other


def test_a_mean_that_rounding_left_below_zero_is_written_as_zero():
    # Its sign depends on the machine, and the stored notebook's text is compared.
    x = np.array([[-1e-17], [0.0]])
    _, alt = figures.before_and_after(x, x, names=["a"], xlabel="x")
    assert "-0.00" not in alt
    _, alt = figures.bars({"one": [-1e-17]}, ["a"], xlabel="x", ylabel="y", ylim=(-1, 1))
    assert "-0.00" not in alt


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (0.0012345, "0.00123"),
        (-2.6951, "-2.7"),
        (1234.5, "1230"),
        (1e-12, "0"),
        (-1e-12, "0"),
        (5000, "5000"),
    ],
)
def test_numbers_in_words_have_three_digits(value, said):
    assert figures.rounded(value) == said


# ---- what can be read --------------------------------------------------------------------------


@everything
def test_a_figure_has_the_fixed_size_on_the_page_and_twice_as_many_pixels_in_the_file(name):
    figure = drawn(name)
    assert figure.canvas.get_width_height() == (figures.WIDTH, figures.HEIGHT) == (640, 360)
    image = figures.png(figure)
    assert struct.unpack(">II", image[16:24]) == (1280, 720)
    assert image == figures.png(figure)


@everything
def test_no_word_leaves_the_figure(name):
    for text, box in words_of(drawn(name)):
        inside = box.x0 >= 0 and box.y0 >= 0 and box.x1 <= 640 and box.y1 <= 360
        assert inside, f"{text.get_text()!r} lies at {box.extents.round()}"


@everything
def test_no_word_lies_on_another(name):
    for (one, box), (other, other_box) in combinations(words_of(drawn(name)), 2):
        assert not box.padded(-0.5).overlaps(other_box), f"{one.get_text()!r} on {other.get_text()!r}"


@everything
def test_the_legend_is_on_the_figure_and_off_the_data(name):
    figure = drawn(name)
    legends = [axes.get_legend() for axes in figure.axes if axes.get_legend()]
    for legend in legends:
        box = legend.get_window_extent()
        assert box.x0 >= 0
        assert box.x1 <= 640
        assert box.y1 <= 360
        assert not any(box.overlaps(axes.bbox) for axes in figure.axes)
    labels = [text.get_text() for legend in legends for text in legend.get_texts()]
    assert len(set(labels)) == len(labels)


@everything
def test_words_are_plain_and_short_numbers(name):
    texts = [text.get_text() for text, _ in words_of(drawn(name))]
    assert len(texts) >= len(BOXES)
    assert not [text for text in texts if set(text) & set("$\\{}")]


@pytest.mark.parametrize("name", [name for name in DRAWN if name != "wiring background"])
def test_every_axis_says_what_it_shows_and_has_at_least_three_ticks(name):
    figure = drawn(name)
    assert all(axes.get_xlabel() for axes in figure.axes)
    assert figure.axes[0].get_ylabel()
    for axes in figure.axes:
        labels = [text.get_text() for text, _ in words_of(figure) if text in axes.get_xticklabels()]
        assert len(labels) >= (2 if "bars" in name else 3)


@everything
def test_contrast_is_enough_for_words_and_for_lines(name):
    figure = drawn(name)
    for text, _ in words_of(figure):
        assert contrast(text.get_color()) >= 4.5, text.get_text()
    for axes in figure.axes:
        legend = axes.get_legend()
        lines = [*axes.lines, *(legend.get_lines() if legend else [])]
        patches = [*axes.patches, *(legend.get_patches() if legend else [])]
        arrows = [text.arrow_patch for text in axes.texts if getattr(text, "arrow_patch", None)]
        for line in lines:
            color = line.get_markerfacecolor() if line.get_linestyle() == "None" else line.get_color()
            assert contrast(color) >= 3, line.get_label()
        for patch in [*patches, *arrows, *axes.spines.values()]:
            if not patch.get_visible() or patch is axes.patch:
                continue
            assert contrast(patch.get_edgecolor()) >= 3


def test_contrast_is_computed_as_wcag_does():
    assert contrast("black") == pytest.approx(21)
    assert contrast("#777777") == pytest.approx(4.48, abs=0.01)


def test_colour_is_never_the_only_cue():
    assert len(figures.COLORS) == len(set(figures.STYLES)) == len(set(figures.MARKERS)) == 5
    assert len(set(figures.HATCHES)) == 5
    (axes,) = drawn("lines with markers").axes
    assert len({(line.get_linestyle(), line.get_marker()) for line in axes.lines}) == 4
    (axes,) = drawn("bars in five groups").axes
    assert len({group[0].get_hatch() for group in axes.containers}) == 5


def test_boxes_hold_their_words_and_arrows_end_at_their_edges():
    (axes,) = drawn("wiring background").axes
    boxes = [patch.get_window_extent() for patch in axes.patches]
    labels = [text for text in axes.texts if text.get_text()]
    assert [text.get_text() for text in labels] == [label for *_, label in BOXES.values()]
    for text in labels:
        words = text.get_window_extent()
        assert any(
            box.x0 < words.x0 and words.x1 < box.x1 and box.y0 < words.y0 < words.y1 < box.y1 for box in boxes
        )


@pytest.mark.parametrize(
    ("towards", "leaves_at"),
    [
        ((9, 3), (4, 3)),
        ((1, 3), (2, 3)),
        ((3, 9), (3, 4)),
        ((3, 0), (3, 2)),
        ((5, 5), (4, 4)),
        ((5, 4), (4, 3.5)),
    ],
)
def test_an_arrow_leaves_a_box_at_its_edge_straight_towards_the_other(towards, leaves_at):
    assert figures.edge_point((3, 3, "from"), (*towards, "to"), (2, 2)) == pytest.approx(leaves_at)


@pytest.mark.parametrize(
    ("value", "said"), [(3e-7, "1e-7"), (-4e-7, "1e-6"), (0.0, "0"), (1.2e5, "1e5"), (1.0, "1e0")]
)
def test_a_rounding_error_is_told_as_a_power_of_ten(value, said):
    assert figures.magnitude(value) == said


@pytest.mark.parametrize(("value", "said"), [(1e-6, "1e-6"), (0.0001, "0.0001"), (1e8, "1e8"), (2.5, "2.5")])
def test_powers_of_ten_are_written_short(value, said):
    figure, _ = figures.lines({"one": ([0, value], [0, value])}, xlabel="x", ylabel="y", log_x=True)
    assert figure.axes[0].xaxis.get_major_formatter()(value) == said
    assert figures.rounded(value) == said


def test_figures_made_alike_lie_on_one_another():
    first, second = (figures.blank(panels=2, ratios=(3, 2)) for _ in range(2))
    assert [axes.bbox.extents.tolist() for axes in first.axes] == [
        axes.bbox.extents.tolist() for axes in second.axes
    ]
    assert figures.blank(width=300, height=200).canvas.get_width_height() == (300, 200)


# ---- nothing global ----------------------------------------------------------------------------


def settings():
    # To look at the backend would choose one.
    return {name: matplotlib.rcParams[name] for name in matplotlib.rcParams if name != "backend"}


@everything
def test_the_settings_of_matplotlib_stay_as_they_were(name):
    before = settings()
    figures.png(DRAWN[name]()[0])
    assert settings() == before


@everything
def test_a_reader_s_own_settings_leave_the_picture_alone(name):
    plain = figures.png(drawn(name))
    own = {
        "font.size": 30,
        "font.family": "serif",
        "figure.dpi": 50,
        "savefig.dpi": 50,
        "axes.facecolor": "black",
        "savefig.facecolor": "black",
        "lines.linewidth": 9,
        "axes.linewidth": 9,
        "axes.labelsize": "small",
        "xtick.labelsize": 40,
        "legend.fontsize": 40,
        "hatch.linewidth": 5,
        "axes.xmargin": 0.3,
    }
    with matplotlib.rc_context(own):
        assert figures.png(DRAWN[name]()[0]) == plain


def test_drawing_and_showing_never_touches_pyplot():
    code = (
        "import sys, test_figures as t\n"
        "for name in t.DRAWN: t.figures.bundle(t.DRAWN[name]()[0], name)\n"
        "t.figures.show(*t.DRAWN['bars']())\n"
        "print('matplotlib.pyplot' in sys.modules)"
    )
    run = subprocess.run(
        [sys.executable, "-c", code],
        cwd=__file__.rpartition("test_figures")[0] or ".",
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0, run.stderr
    assert run.stdout.split()[-1] == "False"


# ---- in a notebook -----------------------------------------------------------------------------


def test_a_bundle_is_the_picture_with_its_size_and_the_words():
    figure, alt = DRAWN["bars"]()
    bundle, metadata = figures.bundle(figure, alt)
    assert set(bundle) == {"image/png", "text/plain"}
    assert bundle["text/plain"] == alt
    assert b64decode(bundle["image/png"]) == figures.png(figure)
    assert metadata == {"image/png": {"width": 640, "height": 360}}


def test_show_publishes_one_raw_bundle(monkeypatch):
    from IPython.core import display_functions

    published = []
    monkeypatch.setattr("IPython.core.interactiveshell.InteractiveShell.initialized", lambda: True)
    monkeypatch.setattr(
        display_functions, "publish_display_data", lambda **everything: published.append(everything)
    )
    figure, alt = DRAWN["bars"]()
    assert figures.show(figure, alt) is None
    ((message),) = published
    data, metadata = figures.bundle(figure, alt)
    assert message["metadata"] == metadata
    assert message["data"] == data | {"text/html": figures.image_html(figure, alt)}


def test_the_picture_in_html_is_the_same_one_with_its_words_escaped():
    figure, _ = DRAWN["bars"]()
    html = figures.image_html(figure, 'where "a" < b')
    assert 'alt="where &quot;a&quot; &lt; b"' in html
    assert b64decode(html.partition("base64,")[2].partition('"')[0]) == figures.png(figure)
