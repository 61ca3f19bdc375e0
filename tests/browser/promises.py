"""What a page promises, held in every browser: each check reads what is shown, moves it and reads again."""

import re

from bs4 import BeautifulSoup
from explorers import promised
from readers import comes_true
from servers import NOTEBOOKS

PROMISED = {f"{path.stem}.html": promised(path) for path in NOTEBOOKS if promised(path)}
# What the checks ask the page; a reader puts it there once a page is open.
SCRIPT = """() => {
  const figures = () => [...document.querySelectorAll("figure.explorer")];
  const box = (element) => {
    const { left, top, width, height } = element.getBoundingClientRect();
    return [left, top, width, height].map((side) => Math.round(10 * side) / 10);
  };
  const folded = (element) => Boolean(element.closest("details"));
  window.promises = {
    count: () => figures().length,
    slider: (n) => figures()[n].querySelector("input[type=range]"),
    at: (n) => promises.slider(n).valueAsNumber,
    controls: (n) => [...figures()[n].querySelectorAll(".second select, .second input")],
    look(n) {
      const part = (selector) => figures()[n].querySelector(selector);
      const [image, frame, words] = ["img", ".picture > svg", "figcaption > span"].map(part);
      return {
        at: promises.at(n),
        most: Number(promises.slider(n).max),
        readout: part("output").textContent,
        spoken: promises.slider(n).getAttribute("aria-valuetext"),
        words: words.textContent,
        live: words.getAttribute("aria-live"),
        label: frame.getAttribute("aria-label"),
        frame: frame.innerHTML,
        marks: frame.querySelectorAll("path, polyline, circle, rect, text").length,
        alt: image.alt,
        drawn: image.complete && image.naturalWidth > 0,
        apart: Math.max(...box(image).map((side, k) => Math.abs(side - box(frame)[k]))),
        place: box(figures()[n]),
      };
    },
    focus(n) {
      promises.slider(n).scrollIntoView({ block: "center", behavior: "instant" });
      promises.slider(n).focus();
    },
    // From here on, look each time the page has answered the slider.
    note(n) {
      promises.answers = [promises.look(n)];
      promises.listen = () => promises.answers.push(promises.look(n));
      document.addEventListener("input", promises.listen); // after all that the page listens to
    },
    noted() {
      document.removeEventListener("input", promises.listen);
      return promises.answers;
    },
    watch(n) {
      promises.seen = new Set();
      const look = () => {
        promises.seen.add(promises.look(n).readout);
        promises.next = requestAnimationFrame(look);
      };
      look();
    },
    unwatch() {
      cancelAnimationFrame(promises.next);
      return promises.seen.size;
    },
    choose(n, k) {
      const control = promises.controls(n)[k];
      if (control.type === "checkbox") return control.click();
      control.selectedIndex = (control.selectedIndex + 1) % control.options.length;
      control.dispatchEvent(new Event("input", { bubbles: true }));
    },
    place: (n) => box(promises.slider(n)),
    outline() {
      const { outlineStyle, outlineWidth } = getComputedStyle(document.activeElement);
      return [outlineStyle, parseFloat(outlineWidth)];
    },
    all: () => ({
      heads: document.querySelectorAll("h1").length,
      unfolded: document.querySelectorAll("details[open]").length,
      formulas: [...document.querySelectorAll("math")].filter((m) => folded(m) || box(m)[2] > 0).length,
      images: [...document.querySelectorAll("img")].map(
        (i) => [i.alt.length, folded(i) || (i.complete && i.naturalWidth > 0)]
      ),
    }),
  };
}"""


def ask(reader, what, *arguments):
    """Return what the script answers."""
    return reader.run(f"(...all) => promises.{what}(...all)", *arguments)


def explorers(reader, name):
    """Return the numbers of the explorers on a page; there must be those of its notebook."""
    count = ask(reader, "count")
    assert count >= PROMISED[name]
    return range(count)


def arrives(reader, number, at):
    """Wait until a slider stands there; return what is shown then."""
    assert comes_true(reader, "(n, at) => promises.at(n) === at", number, at), f"not at {at}"
    return ask(reader, "look", number)


def stands_still(reader, number):
    """Wait until fonts are there and two frames show a slider at one place: a slow browser lays out late."""
    ready = "() => { document.fonts.ready.then(() => (window.lettered = true)); return window.lettered; }"
    assert comes_true(reader, ready), "the fonts do not come"
    still = """(n) => {
      const [now, before] = [String(promises.place(n)), window.placed];
      window.placed = now;
      return now === before;
    }"""
    assert comes_true(reader, still, number), "the slider does not come to rest"


def shows_all_there_is(reader, html):
    """Headings, formulas and pictures are there, and solutions folded."""
    shown = ask(reader, "all")
    assert (shown["heads"], shown["unfolded"]) == (1, 0)
    assert shown["formulas"] == len(BeautifulSoup(html, "html.parser").select("math"))
    assert all(words > 40 and drawn for words, drawn in shown["images"])


def says_what_it_shows(state):
    """The words of a state go together, and the frame lies on its picture."""
    assert state["readout"] == state["spoken"] != ""
    assert state["words"] == state["label"] != ""
    assert re.search(rf"(?<![\w.]){re.escape(state['readout'])}(?!\w|\.\d)", state["words"]), state["words"]
    assert state["drawn"]
    assert state["marks"]
    assert state["apart"] < 0.5
    assert len(state["alt"]) > 40
    assert state["live"] == "polite"


def follows_the_keys(reader, name):
    """Each value by arrow keys has a picture of its own, nothing jumps, and the large steps work too."""
    for number in explorers(reader, name):
        ask(reader, "focus", number)
        stands_still(reader, number)
        reader.press("Home")
        most = arrives(reader, number, 0)["most"]
        ask(reader, "note", number)
        for _ in range(most):
            reader.press("ArrowRight")
        arrives(reader, number, most)
        states = ask(reader, "noted")
        assert [state["at"] for state in states] == list(range(most + 1))
        for state in states:
            says_what_it_shows(state)
            assert state["place"] == states[0]["place"], "the page jumps"
        for kind in ("readout", "frame"):
            assert len({state[kind] for state in states}) == len(states)
        for key, back in (("PageDown", "Home"), ("PageUp", "End")):
            reader.press(back)
            start = arrives(reader, number, 0 if back == "Home" else most)
            reader.press("PageUp" if key == "PageDown" else "PageDown")
            assert comes_true(reader, "(n, start) => promises.at(n) !== start", number, start["at"]), key


def follows_a_drag_and_paints_every_value(reader, name):
    """No value is passed over while the handle is drawn from one end to the other."""
    for number in explorers(reader, name):
        ask(reader, "focus", number)
        reader.press("Home")
        most = arrives(reader, number, 0)["most"]
        left, top, width, height = ask(reader, "place", number)
        ask(reader, "watch", number)
        half = 8  # of the handle, whose middle goes from here to as far from the other end
        steps = [left + half + (width - 2 * half) * k / most for k in range(most + 1)]
        reader.drag([(x, top + height / 2) for x in [*steps, left + width]])
        arrives(reader, number, most)
        seen = ask(reader, "unwatch")
        assert seen == most + 1, f"{name}: {seen} of {most + 1} values painted"


def second_controls_lead_to_other_pictures(reader, name):
    """A list or a box changes the picture, and neither the value nor the place."""
    for number in explorers(reader, name):
        for control in range(reader.run("(n) => promises.controls(n).length", number)):
            before = ask(reader, "look", number)
            ask(reader, "choose", number, control)
            # The other picture is in the page already, but a browser may take its time to decode it.
            assert comes_true(reader, "n => promises.look(n).drawn", number), "not drawn"
            after = ask(reader, "look", number)
            assert after["frame"] != before["frame"]
            assert (after["at"], after["place"]) == (before["at"], before["place"])
            says_what_it_shows(after)


def shows_where_the_focus_is(reader, name):
    """A slider that has the focus is framed."""
    for number in explorers(reader, name):
        ask(reader, "focus", number)
        reader.press("ArrowLeft")
        style, width = ask(reader, "outline")
        assert style == "solid"
        assert width >= 2


PROMISES = [
    follows_the_keys,
    follows_a_drag_and_paints_every_value,
    second_controls_lead_to_other_pictures,
    shows_where_the_focus_is,
]
