"""Pictures: what the words claim is computed, everything can be read, and nothing global is touched."""

import struct
import subprocess
import sys
from base64 import b64decode
from functools import cache
from io import BytesIO

import matplotlib
import numpy as np
import pictures
import pytest
from PIL import Image

from bnlab import batch_norm, data, figures, moving_average, words

PIXELS = data.digits().x_train[:, [10, 20, 35]] * [1, 4, 16]
LOOKS = (20, 50, 100, 200, 400)
WAYS = ["as posted", "never updated", "decay .999", "decay .9", "population"]


def shares():
    steps = np.arange(1, 5001)
    return {f"momentum {m}": (steps, moving_average.initial_share(m, steps)) for m in (0.9, 0.99, 0.999)}


def four_lines(shift=0.0):
    momenta = (0.5, 0.9, 0.99, 0.999)
    return {f"momentum {m}": (LOOKS, np.linspace(0.9 - m / 2, 0.95, 5) + shift) for m in momenta}


def normalized():
    return batch_norm.normalize(PIXELS, *batch_norm.batch_moments(PIXELS))


def courses(count, looks=21):
    """Return (steps, gaps, ratios) of layers that come to fit, the later ones more slowly."""
    steps, names = (
        np.linspace(0, 400, looks),
        [f"stage_1/block/batch_normalization_{k}" for k in range(count)],
    )
    left = {name: np.exp(-steps / (50 + 150 * k / count)) for k, name in enumerate(names)}
    ratios = {name: 1 + (-0.9 + 5 * k / count) * left[name] for k, name in enumerate(names)}
    return steps, {name: 0.03 + (2 + k / count) * left[name] for k, name in enumerate(names)}, ratios


# What the notebooks draw, and each function's optional ways.
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
    "course of one layer": lambda: figures.course(*courses(1, looks=5)),
    "course of five layers": lambda: figures.course(*courses(5)),
    "course of fifty layers": lambda: figures.course(*courses(50)),
}
WITH_WORDS = ["lines, logarithmic", "lines with markers", "bars", "before and after", "course of one layer"]
everything = pytest.mark.parametrize("name", DRAWN)


@cache
def made(name):
    return DRAWN[name]()[0]


def drawn(name):
    made(name).canvas.draw()  # on the page: a picture in a file has left its words where they are there
    return made(name)


@pytest.mark.parametrize("name", WITH_WORDS)
def test_an_alternative_is_one_line_that_starts_with_the_kind_of_picture(name):
    alt = DRAWN[name]()[1]
    assert alt.startswith(("Line chart. ", "Bar chart. ", "Two histograms ", "Two line charts "))
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


def tuned():
    """Return two lines that go below zero and up again, and one that goes the other way."""
    x = np.array([1.0, 3.0, 10.0])
    return {"down": (x, np.array([2.0, -1.0, 0.5])), "up": (x + 1, np.array([-4.0, 0.0, 1.0]))}


@pytest.mark.parametrize("markers", [True, False])
@pytest.mark.parametrize("log_x", [True, False])
def test_lines_are_drawn_through_their_points_in_the_look_that_the_legend_names(log_x, markers):
    figure, alt = figures.lines(tuned(), xlabel="x", ylabel="y", log_x=log_x, markers=markers)
    (axes,) = figure.axes
    lines = pictures.lines_by_label(axes)
    assert list(lines) == list(tuned())
    for number, (label, points) in enumerate(tuned().items()):
        np.testing.assert_array_equal(lines[label].get_data(), points)
        assert lines[label].get_color() == figures.COLORS[number]
        assert lines[label].get_linestyle() == figures.STYLES[number]
        assert lines[label].get_marker() == (figures.MARKERS[number] if markers else "None")
    assert axes.get_xscale() == ("log" if log_x else "linear")
    assert alt.endswith(" down: from 2 to 0.5; up: from -4 to 1.")


@pytest.mark.parametrize("log_y", [True, False])
def test_the_ranges_that_lines_tell_are_those_of_the_axes(log_y):
    series = {"one": ([1, 2], [0.5, 70])}
    for xlim, ylim in ((None, None), ((0.5, 4), (0.1, 300))):
        figure, alt = figures.lines(series, xlabel="x", ylabel="y", xlim=xlim, ylim=ylim, log_y=log_y)
        (axes,) = figure.axes
        (left, right), (low, high) = axes.get_xlim(), axes.get_ylim()
        assert axes.get_yscale() == ("log" if log_y else "linear")
        assert f" x: x, {left:.3g} to {right:.3g}. y: y, {low:.3g} to {high:.3g}. " in alt
        assert left < 1 < 2 < right
        assert low < 0.5 < 70 < high
        if xlim:
            assert (left, right, low, high) == (*xlim, *ylim)


def test_lines_are_told_in_the_spelling_asked_for():
    series = {"one": ([1, 2], [3e-7, 0.2])}
    told = {
        spell: figures.lines(series, xlabel="x", ylabel="y", spell=spell)[1].rpartition("one: ")[2]
        for spell in (None, figures.magnitude, "{:.1f}".format)
    }
    assert list(told.values()) == ["from 3e-7 to 0.2.", "from 1e-7 to 1e-1.", "from 0.0 to 0.2."]


@pytest.mark.parametrize("ylim", [None, (-3, 4)])
@pytest.mark.parametrize("digits", [0, 2])
def test_bars_stand_over_their_names_as_high_as_the_words_on_them_and_in_the_alternative(digits, ylim):
    groups = {"one": [1.26, -2.0, 0.5], "two": [0.25, 3.0, -1.75]}
    names = ["first", "second", "third"]
    figure, alt = figures.bars(groups, names, xlabel="x", ylabel="y", ylim=ylim, digits=digits)
    figure.canvas.draw()
    (axes,) = figure.axes
    assert pictures.tick_names(axes) == dict(enumerate(names))
    assert pictures.legend_labels(axes) == [bars.get_label() for bars in axes.containers] == list(groups)
    for number, (bars, shown) in enumerate(
        zip(axes.containers, axes.get_legend().get_patches(), strict=True)
    ):
        label, values = list(groups.items())[number]
        np.testing.assert_array_equal([bar.get_height() for bar in bars], values)
        assert {bar.get_edgecolor() for bar in bars} == {shown.get_edgecolor()}
        assert (
            {bar.get_hatch() or "" for bar in bars} == {shown.get_hatch() or ""} == {figures.HATCHES[number]}
        )
        for place, (bar, value) in enumerate(zip(bars, values, strict=True)):
            # The first group on the left of the name, the second on its right.
            assert bar.get_x() + bar.get_width() / 2 == pytest.approx(place + (-0.2, 0.2)[number])
            (written,) = [text for text in axes.texts if over(text, bar)]
            assert float(written.get_text()) == pytest.approx(value, abs=0.5 * 10**-digits)
            assert f"{names[place]} {written.get_text()}" in alt.partition(f"{label}: ")[2].partition(";")[0]
    if ylim:
        assert axes.get_ylim() == ylim
    low, high = axes.get_ylim()
    assert alt.startswith(f"Bar chart. y: y, {low:.3g} to {high:.3g}. ")


def over(text, bar):
    """Return whether a text lies directly above a bar, or below one that goes down."""
    words, box = text.get_window_extent(), bar.get_window_extent()
    middle = (words.x0 + words.x1) / 2
    end = box.y1 - words.y0 if bar.get_height() > 0 else words.y1 - box.y0
    return box.x0 < middle < box.x1 and abs(end) < 10


def test_histograms_count_the_values_before_on_the_left_and_after_on_the_right():
    rng = np.random.default_rng(0)
    before = rng.normal(size=(200, 2)) * [1, 5] + [-7, 3]
    after = -before / 10 + rng.normal(size=(200, 2))
    figure, alt = figures.before_and_after(before, after, names=["a", "b"], xlabel="brightness")
    assert [axes.get_xlabel() for axes in figure.axes] == ["before: brightness", "after: no unit"]
    assert pictures.legend_labels(figure.axes[0]) == ["a", "b"]
    for axes, values, title in zip(figure.axes, (before, after), ("before", "after"), strict=True):
        edges = np.linspace(values.min(), values.max(), 33)
        for feature, (name, outline) in enumerate(zip("ab", axes.patches, strict=True)):
            counts, _ = np.histogram(values[:, feature], edges)
            np.testing.assert_allclose(heights(outline, edges), counts)
            assert outline.get_label() == name
            mean, std = values[:, feature].mean(), values[:, feature].std()
            assert f"{name} {title}: mean {mean:.3g}, standard deviation {std:.3g}" in alt
        shown = figure.axes[0].get_legend().get_patches()
        assert [patch.get_edgecolor() for patch in axes.patches] == [p.get_edgecolor() for p in shown]


def heights(outline, edges):
    """Return how high the outline of a histogram is over the middle of each interval."""
    x, y = outline.get_xy().T
    middles = (edges[:-1] + edges[1:]) / 2
    over = [(np.minimum(x[:-1], x[1:]) < m) & (m < np.maximum(x[:-1], x[1:])) for m in middles]
    return [y[:-1][piece].max() for piece in over]


def test_a_course_draws_and_tells_the_gap_and_the_ratio_of_each_layer():
    steps, gaps = (
        np.array([0, 100, 150]),
        {"a": np.array([1.5, 0.5, 0.25]), "b": np.array([9, np.nan, 0.001])},
    )
    ratios = {"a": np.array([0.1, 0.5, 1.25]), "b": np.array([40.0, np.nan, 1.0])}
    figure, alt = figures.course(steps, gaps, ratios)
    for axes, values in zip(figure.axes, (gaps, ratios), strict=True):
        assert {line.get_label(): line.get_ydata().tolist() for line in axes.lines}["a"] == values[
            "a"
        ].tolist()
        np.testing.assert_array_equal([line.get_ydata() for line in axes.lines], list(values.values()))
    assert [axes.get_yscale() for axes in figure.axes] == ["linear", "log"]
    assert alt.startswith(
        "Two line charts of 2 batch-norm layers. x: training steps, -7.5 to 158. y: gap of "
    )
    assert alt.endswith(
        " a: gap from 1.50 to 0.25, ratio from 0.10 to 1.25; b: gap from 9.00 to 1e-03, "
        "ratio from 40.00 to 1.00."
    )
    gaps["b"][-1] = np.nan
    assert "b: gap from 9.00 to not finite" in figures.course(steps, gaps, ratios)[1]


@pytest.mark.parametrize("worst_gap", [np.nan, 2.0, 0.1])
def test_a_course_of_many_layers_draws_most_in_a_band_and_the_worst_by_name(worst_gap):
    steps, gaps, ratios = courses(11)
    name = list(gaps)[4]
    gaps[name] = np.r_[gaps[name][:-1], worst_gap]
    ratios[name] = np.r_[ratios[name][:-1], 1 / 9]
    figure, alt = figures.course(steps, gaps, ratios)
    for axes, values in zip(figure.axes, (gaps, ratios), strict=True):
        median, worst = axes.lines
        ordered = np.sort(np.nan_to_num(list(values.values()), nan=np.inf), axis=0)
        np.testing.assert_array_equal(median.get_ydata(), ordered[5])
        np.testing.assert_array_equal(worst.get_ydata(), values[name])
        (band,) = axes.collections
        corners = band.get_paths()[0].vertices
        assert (corners[:, 1].min(), corners[:, 1].max()) == (ordered[1].min(), ordered[9].max())
    assert pictures.legend_labels(figure.axes[0])[0] == "8 layers of 10"
    assert f"{name}, worst at end: gap from" in alt
    assert f"{name}, worst at end".endswith(pictures.legend_labels(figure.axes[0])[2])
    assert "median: gap from 2.48 to" in alt


def test_layers_whose_names_end_alike_keep_a_line_each():
    steps, gaps, ratios = courses(2)
    names = [f"{way}/layer_with_a_really_long_name/batch_normalization" for way in ("left", "right")]
    figure, _ = figures.course(
        steps, *(dict(zip(names, values.values(), strict=True)) for values in (gaps, ratios))
    )
    assert [len(axes.lines) for axes in figure.axes] == [2, 2]


def test_a_long_path_is_cut_between_names():
    figure, _ = figures.course(*courses(5))
    assert pictures.legend_labels(figure.axes[0]) == [f"batch_normalization_{k}" for k in range(5)]


@everything
def test_a_figure_has_the_fixed_size_on_the_page_and_twice_as_many_pixels_in_the_file(name):
    figure = drawn(name)
    assert figure.canvas.get_width_height() == (figures.WIDTH, figures.HEIGHT) == (640, 360)
    image = figures.png(figure)
    assert struct.unpack(">II", image[16:24]) == (1280, 720)
    assert image == figures.png(figure)


@everything
@pytest.mark.parametrize("check", pictures.READABLE, ids=lambda check: check.__name__)
def test_a_figure_can_be_read(name, check):
    check(drawn(name))


def test_contrast_is_computed_as_wcag_does():
    assert pictures.contrast("black") == pytest.approx(21)
    assert pictures.contrast("#777777") == pytest.approx(4.48, abs=0.01)


def test_colour_is_never_the_only_cue():
    assert len(figures.COLORS) == len(set(figures.STYLES)) == len(set(figures.MARKERS)) == 5
    assert len(set(figures.HATCHES)) == 5
    (axes,) = drawn("lines with markers").axes
    assert len({(line.get_linestyle(), line.get_marker()) for line in axes.lines}) == 4
    (axes,) = drawn("bars in five groups").axes
    assert len({group[0].get_hatch() for group in axes.containers}) == 5


@pytest.mark.parametrize(("value", "said"), [(1e-6, "1e-6"), (0.0001, "0.0001"), (1e8, "1e8"), (2.5, "2.5")])
def test_powers_of_ten_are_written_short(value, said):
    figure, _ = figures.lines({"one": ([0, value], [0, value])}, xlabel="x", ylabel="y", log_x=True)
    assert figure.axes[0].xaxis.get_major_formatter()(value) == said
    assert figures.rounded(value) == said


def test_the_spelling_of_numbers_is_within_a_notebook_s_reach():
    assert (figures.fixed, figures.magnitude, figures.rounded) == (
        words.fixed,
        words.magnitude,
        words.rounded,
    )


def test_figures_made_alike_lie_on_one_another():
    first, second = (figures.blank(panels=2, ratios=(3, 2)) for _ in range(2))
    assert [axes.bbox.extents.tolist() for axes in first.axes] == [
        axes.bbox.extents.tolist() for axes in second.axes
    ]
    assert figures.blank(width=300, height=200).canvas.get_width_height() == (300, 200)


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
        encoding="utf-8",
    )
    assert run.returncode == 0, run.stderr
    assert run.stdout.split()[-1] == "False"


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


@pytest.mark.parametrize("colours", ["few", "many"])
def test_a_png_is_pixel_for_pixel_what_matplotlib_draws(colours):
    figure = figures.blank()
    if colours == "many":
        figure.axes[0].scatter(np.linspace(0, 1, 500), np.linspace(0, 1, 500), c=np.arange(500))
    plain = BytesIO()
    with figures.style():
        figure.savefig(plain, format="png", dpi=2 * figure.dpi)
    ours = figures.png(figure)
    one, other = (Image.open(file).convert("RGB") for file in (plain, BytesIO(ours)))
    assert np.array_equal(one, other)
    assert (len(ours) < 0.7 * len(plain.getvalue())) == (colours == "few")
