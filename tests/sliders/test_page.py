"""The second face: the same picture and frames as widgets show, in one element of HTML."""

import json
import subprocess
import sys

import ipywidgets as widgets
import numpy as np
import pytest
from bs4 import BeautifulSoup
from pictures import path_points

from bnlab import figures, sliders
from bnlab.sliders import page
from bnlab.sliders.explorer import FACE
from bnlab.sliders.marks import Curve, Frame

MEANS = np.random.default_rng(0).normal(size=(2, 60)).cumsum(axis=1)


def decay():
    return sliders.decay_explorer({4: MEANS[0], 16: MEANS[1]})


@pytest.fixture
def on_a_page(monkeypatch):
    monkeypatch.setenv(FACE, "page")


def element(explorer):
    data, _ = explorer._repr_mimebundle_()
    assert data["text/plain"] == explorer.alt
    return BeautifulSoup(data["text/html"], "html.parser")


def stored(soup):
    """Return what the script reads, by its names; images are put in their places."""
    data = {
        one["data-name"]: json.loads(one.string) for one in soup.select('script[type="application/json"]')
    }
    images = [soup.img["src"], *(value for name, value in data.items() if name.startswith("image "))]
    sets = {name: value for name, value in data.items() if isinstance(value, dict)}
    return {"values": data["values"], "images": images, "sets": sets}


@pytest.mark.usefixtures("on_a_page")
def test_it_names_its_control_and_says_what_it_shows():
    soup = element(decay())
    slider = soup.select_one("label > input[type=range]")
    assert slider.parent.text.strip() == "momentum (no unit)"
    now = stored(soup)["values"][int(slider["value"])]
    assert now == slider["aria-valuetext"] == soup.select_one("output").text == "0.99"
    assert (slider["min"], int(slider["max"])) == ("0", len(stored(soup)["values"]) - 1)
    words = soup.select_one("figcaption > span[aria-live=polite]").text
    assert words == soup.select_one(".picture > svg[role=img]")["aria-label"]
    assert words.startswith("momentum 0.99, half-life 69.0 steps.")
    assert soup.select_one(".picture > img")["alt"].startswith("Dots: the means of 60 batches")
    assert not soup.select("style")  # the page has it
    (call,) = soup.select("script:not([type])")
    assert call.string == "bringToLife(document.currentScript.parentNode)"
    assert [one["data-name"] for one in call.find_previous_siblings("script")] == ["0,0", "values"]


def test_it_has_the_pictures_of_the_first_face(monkeypatch):
    live = decay()
    faces = {}
    for debias in (False, True):
        for size in (4, 16):
            live.controls["debias"].value, live.controls["size"].value = debias, size
            faces[f"{int(debias)},{[4, 16].index(size)}"] = (
                live._background.value,
                [child.value for child in live.stack.children],
            )
    monkeypatch.setenv(FACE, "page")
    data = stored(element(decay()))
    assert set(data["sets"]) == set(faces)
    assert len(data["images"]) == 2  # debias has the same background
    for key, (background, frames) in faces.items():
        shown = data["sets"][key]
        assert data["images"][shown["image"]] in background
        for frame, words, live_frame in zip(shown["frames"], shown["words"], frames, strict=True):
            ours, theirs = (BeautifulSoup(text, "html.parser") for text in (frame, live_frame))
            assert [text.text for text in ours.select("text")] == [
                text.text for text in theirs.select("text")
            ]
            assert theirs.svg["aria-label"] == words
            curve = np.array([p.split(",") for p in theirs.polyline["points"].split()], float)
            np.testing.assert_allclose(path_points(ours.path), curve, atol=1e-9)


def test_a_short_line_stays_and_a_long_one_is_written_by_its_steps():
    figure = figures.blank()
    for points, kind in ((5, "polyline"), (40, "path")):
        x = np.linspace(0, 1, points)
        svg = Frame((Curve(x, np.sin(9 * x), "#000000", "--", 3),)).content(figure)
        before, after = (BeautifulSoup(text, "html.parser") for text in (svg, page._shorter(svg)))
        line = after.select_one(kind)
        assert line["stroke-dasharray"] == ("7 4" if kind == "polyline" else "70 40")
        assert float(line["stroke-width"]) == (3 if kind == "polyline" else 30)
        if kind == "path":
            points = np.array([p.split(",") for p in before.polyline["points"].split()], float)
            np.testing.assert_allclose(path_points(line), points, atol=1e-9)


@pytest.mark.usefixtures("on_a_page")
def test_what_does_not_fit_is_left_out_and_said(monkeypatch):
    whole = element(decay())
    assert [label.text.strip().split()[0] for label in whole.select(".second label")] == ["debias", "batch"]
    assert [option.text for option in whole.select("option")] == ["4", "16"]
    monkeypatch.setattr(page, "ROOM", 1000)
    small = element(decay())
    assert not small.select(".second")
    assert small.select_one(".elsewhere").text.endswith("choose here, too: debias and batch size.")
    assert list(stored(small)["sets"]) == [""]
    assert stored(small)["sets"][""]["frames"] == stored(whole)["sets"]["0,0"]["frames"]


@pytest.mark.usefixtures("on_a_page")
def test_words_of_any_kind_stay_words():
    def draw():
        frames = [Frame((Curve([0, 1], [0, 1], "#000000"),), words) for words in ("a </script> <b>", 'b "c"')]
        return figures.blank(), frames, "A <line> & more."

    html = sliders.Explorer("<n>", ["</script>", "1"], 0, draw)._repr_mimebundle_()[0]["text/html"]
    soup = BeautifulSoup(html, "html.parser")
    assert len(soup.select("script")) == 3
    assert stored(soup)["values"] == ["</script>", "1"]
    assert soup.select_one("figcaption > span").text == "a </script> <b>"
    assert soup.img["alt"] == "A <line> & more."
    assert soup.label.text.strip() == "<n>"


@pytest.mark.usefixtures("on_a_page")
def test_a_frame_that_is_missing_behind_another_choice_is_an_error_here_too():
    def draw(more):
        frames = [Frame((Curve([0, 1], [0, 1], "#000000"),), words) for words in ("a", "b")]
        return figures.blank(), frames[: 1 if more else 2], "A line."

    explorer = sliders.Explorer("n", ["0", "1"], 0, draw, {"more": widgets.Checkbox(description="more")})
    with pytest.raises(ValueError, match="draw returned 1 frames; expected 2, one a value"):
        explorer._repr_mimebundle_()


def test_without_ipywidgets_8_it_brings_all_it_needs(monkeypatch):
    """Colab has ipywidgets 7: no Stack, and a display method of its own that would come first."""
    monkeypatch.delattr(widgets, "Stack")
    monkeypatch.setattr(widgets.VBox, "_ipython_display_", pytest.fail, raising=False)
    explorer = decay()
    soup = element(explorer)
    assert page.STYLE in str(soup.style.string)
    assert page.SCRIPT in str(soup.select("script")[0].string)
    assert explorer._ipython_display_ is None
    assert not hasattr(explorer, "slider")
    assert "0.99" in explorer.alt


def test_colab_is_played_from_the_first_import_on():
    code = """
        import ipywidgets
        del ipywidgets.Stack
        from IPython.core.interactiveshell import InteractiveShell
        from bnlab import sliders
        shell = InteractiveShell.instance()
        data, _ = shell.display_formatter.format(sliders.decay_explorer([0.0, 1.0, 2.0]))
        assert "<figure" in data["text/html"]
        assert not any("widget-view" in kind for kind in data)
    """
    run = [sys.executable, "-c", "\n".join(line[8:] for line in code.splitlines())]
    assert subprocess.run(run, capture_output=True, encoding="utf-8", timeout=120).stderr == ""


def test_script_and_style_ask_for_nothing_outside():
    for text in (page.STYLE, page.SCRIPT):
        assert "http" not in text
        assert "url(" not in text
        assert "import" not in text
    assert len(page.SCRIPT.splitlines()) <= 40
