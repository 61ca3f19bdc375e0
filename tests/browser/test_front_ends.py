"""Every explorer of every notebook, in the front ends where learners open them, by hand and by eye.

The explorers are found by opening the notebooks and running all cells: a new notebook is covered as it is.
What the cells give was recorded once and is played to each front end, so that nothing is waited for.
"""

from io import BytesIO

import front_ends
import numpy as np
import pytest
import recorded
from front_ends import CASES, ERRORS
from matplotlib.image import imread


@pytest.fixture(scope="module", params=CASES, ids=[f"{front_end}-{path.stem}" for front_end, path in CASES])
def opened(request, reading, serve, tmp_path_factory):
    """Yield a notebook that was opened and played from its recording."""
    front_end, path = request.param
    recorded.notebook(path, tmp_path_factory)
    with front_ends.opened(front_end, path, serve(front_end), reading) as notebook:
        yield notebook


def test_arrow_keys_show_a_picture_of_its_own_for_each_value(opened):
    for explorer in opened.in_turn():
        explorer.handle.focus()
        with explorer.watched():
            first = explorer.press("Home")
            pixels = explorer.screenshot()
            there = explorer.states
            assert there[0] == first
            assert explorer.screenshot() != pixels, f"{explorer.name}: the same pixels at both ends"
            past = explorer.press(f"{explorer.arrow}Right")
            assert past == there[-1], f"{explorer.name}: the slider goes on past its end"
            back = [past] + [explorer.press(f"{explorer.arrow}Left") for _ in there[1:]]
            assert back == there[::-1], f"{explorer.name}: other pictures on the way back"
            assert explorer.press("End") == past, f"{explorer.name}: End does not show the last value"
        focused = explorer.handle.evaluate("handle => handle === document.activeElement")
        assert focused, f"{explorer.name}: the slider lost the focus"


def test_a_drag_paints_every_value_and_no_blank_frame(opened):
    for explorer in opened.in_turn():
        expected = {state["readout"]: state["picture"] for state in explorer.states}
        explorer.handle.focus()
        explorer.press("Home")
        track = explorer.part.query_selector(".noUi-base").bounding_box()
        middle, mouse = track["y"] + track["height"] / 2, explorer.page.mouse
        places = [track["x"] + track["width"] * k / (explorer.values - 1) for k in range(explorer.values)]
        mouse.move(places[0], middle)
        with explorer.watched() as seen:
            mouse.down()
            for place in places:
                mouse.move(place, middle)
                explorer.page.evaluate("() => explorers.painted()")
            mouse.move(places[0], middle, steps=5)  # and back as fast as a hand goes
            explorer.page.evaluate("() => explorers.painted()")
            mouse.up()
        for state in seen:
            assert expected[state["readout"]] == state["picture"], (
                f"{explorer.name}: the readout is '{state['readout']}', the picture is of '{state['words']}'"
            )
        missed = expected.keys() - {state["readout"] for state in seen}
        assert not missed, f"{explorer.name}: never painted in a drag over all values: {sorted(missed)}"
        assert seen[-1]["readout"] == next(iter(expected)), f"{explorer.name}: not back at the start"


def test_pictures_have_words_and_everything_is_reached_by_keyboard(opened):
    for explorer in opened.in_turn():
        tree = explorer.accessible()
        shown = explorer.look()
        images = [name for role, name, _ in tree if role in ("image", "img")]
        assert shown["words"] in images, f"{explorer.name}: the words of the frame are not exposed: {images}"
        assert len(images) == 2, f"{explorer.name}: not a picture and its moving part: {images}"
        assert all(images), f"{explorer.name}: a picture without words: {images}"
        operable = [(role, name) for role, name, focusable in tree if focusable]
        assert "slider" in dict(operable), f"{explorer.name}: no slider in the accessibility tree: {operable}"
        for role, name in operable:
            assert name or role not in ("combobox", "checkbox"), f"{explorer.name}: a {role} without a name"
        hovered = explorer.part.evaluate(
            """(part) => [...part.querySelectorAll("[title=null]")]
                .filter((element) => element.offsetParent).map((element) => element.outerHTML)"""
        )
        assert not hovered, f"{explorer.name}: hovering shows 'null' at {hovered}"
        explorer.handle.focus()
        explorer.page.keyboard.press("Shift+Tab")
        reached = []
        for _ in range(10):
            explorer.page.keyboard.press("Tab")
            reached.append(explorer.page.evaluate_handle("() => document.activeElement"))
        for part in (explorer.handle, *explorer.controls):
            found = any(part.evaluate("(part, other) => part === other", other) for other in reached)
            assert found, f"{explorer.name}: not reached by Tab: {part.evaluate('p => p.outerHTML')[:200]}"


def test_every_picture_has_words_with_numbers(opened):
    pictures = opened.page.locator(".jp-OutputArea-output img")
    words = pictures.evaluate_all("images => images.map((image) => image.alt)")
    assert len(words) >= len(opened.explorers)
    for alt in words:
        assert len(alt) >= 60, f"{opened.where}: a picture with the words '{alt}'"
        assert any(letter.isdigit() for letter in alt), f"{opened.where}: no number in '{alt}'"


def test_text_stands_out_in_every_theme(opened):
    page, themes = opened.page, opened.front_end.themes
    change = "theme => jupyterapp.commands.execute('apputils:change-theme', {theme})"
    changed = "theme => document.body.dataset.jpThemeName === theme"
    for theme in [*themes, *themes[:1]] or ["its only theme"]:
        if themes:
            page.evaluate(change, theme)
            page.wait_for_function(changed, arg=theme)
        for explorer in opened.in_turn():
            handle = around(explorer.handle.bounding_box(), 8)
            for state in ("focus", "blur"):
                explorer.handle.evaluate("(handle, state) => handle[state]()", state)
                screen = screen_with(explorer.page, handle, 3)
                ratio = contrast(screen, handle)
                assert ratio >= 3, f"{explorer.name}, {theme}: contrast {ratio:.1f} of the handle, {state}"
            for words, place in explorer.words_on_screen():
                ratio = contrast(screen, place)
                assert ratio >= 4.5, f"{explorer.name}, {theme}: contrast {ratio:.1f} of '{words}'"


def around(place, pixels):
    """Return a larger part of the screen."""
    return {
        "x": place["x"] - pixels,
        "y": place["y"] - pixels,
        "width": place["width"] + 2 * pixels,
        "height": place["height"] + 2 * pixels,
    }


def screen_with(page, place, least):
    """Return what is on the screen once a place has this contrast, or as it is after two seconds.

    A theme comes with style sheets, and a focus with a transition: one painted frame may be too early.
    """
    for _ in range(20):
        page.evaluate("() => explorers.painted()")
        screen = imread(BytesIO(page.screenshot()))[..., :3]
        if contrast(screen, place) >= least:
            break
        page.wait_for_timeout(100)
    return screen


def contrast(screen, place):
    """Return the greatest contrast to the prevailing colour in a part of the screen, as WCAG counts it."""
    left, top = int(place["x"]), int(place["y"])
    part = screen[top : int(top + place["height"]) + 1, left : int(left + place["width"]) + 1]
    colors, counts = np.unique(part.reshape(-1, 3), axis=0, return_counts=True)
    linear = np.where(colors <= 0.04045, colors / 12.92, ((colors + 0.055) / 1.055) ** 2.4)
    light = linear @ [0.2126, 0.7152, 0.0722] + 0.05
    ground = light[counts.argmax()]
    return (np.maximum(light, ground) / np.minimum(light, ground)).max()


def test_a_notebook_has_one_title_and_no_errors(opened):
    titles = opened.page.locator(".jp-Notebook h1").all_text_contents()
    assert len(titles) == 1, f"{opened.where}: {len(titles)} headings of the first level: {titles}"
    shown = opened.page.locator(ERRORS).all_text_contents()
    assert not shown, f"{opened.where}: errors on the page: {shown}"
    broken = opened.page.get_by_text("Error displaying widget").count()
    assert not broken, f"{opened.where}: {broken} widgets could not be displayed"
    assert not opened.page.errors, f"{opened.where}: the console says {opened.page.errors}"
