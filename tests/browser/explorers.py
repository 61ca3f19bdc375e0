"""What a learner's hands and eyes do with an explorer: find it, move it, read it.

Everything is read from the page itself. An explorer is any slider that shares its output with a picture
that has words (`svg role="img"`); which ones there are is not written down anywhere.
"""

import re
from contextlib import contextmanager
from functools import cached_property
from itertools import pairwise

from servers import code_cells

CALL = re.compile(r"(?<!def )\b(?:\w+_explorer|sliders\.Explorer)\(")
SCRIPT = """
window.explorers = {
  pictures: new Map(),
  // The parts of the page in which a slider moves a picture.
  find() {
    const found = new Set();
    for (const handle of document.querySelectorAll(".noUi-handle")) {
      let part = handle;
      while (part && !part.matches(".jp-OutputArea, body") && !part.querySelector('svg[role="img"]'))
        part = part.parentElement;
      if (part && !part.matches(".jp-OutputArea, body")) found.add(part);
    }
    return [...found];
  },
  // What one of them shows now, as a reader sees it.
  look(part) {
    const seen = (element) =>
      element.checkVisibility({opacityProperty: true, visibilityProperty: true}) &&
      element.getBoundingClientRect().width > 0 && element.getBoundingClientRect().height > 0;
    const frames = [...part.querySelectorAll('svg[role="img"]')].filter(seen);
    const image = part.querySelector("img");
    const place = (element) => {
      const box = element?.getBoundingClientRect() ?? {};
      return [box.left, box.top, box.width, box.height];
    };
    const svg = frames[0], cell = part.closest(".jp-Cell") ?? document.body;
    const round = (number) => Math.round(number * 10) / 10;
    return {
      frames: frames.length,
      marks: svg ? svg.querySelectorAll("circle, line, path, polyline, rect, text").length : 0,
      background: Boolean(image && seen(image) && image.complete && image.naturalWidth),
      apart: svg && image ? Math.max(...place(svg).map((at, k) => Math.abs(at - place(image)[k]))) : 0,
      words: svg?.getAttribute("aria-label") ?? "",
      written: svg ? [...svg.querySelectorAll("text")].map((text) => text.textContent) : [],
      picture: svg ? this.number(svg.outerHTML) : -1,
      readout: part.querySelector(".widget-readout").textContent,
      top: round(place(part)[1]), height: round(place(part)[3]), cell: round(place(cell)[3]),
    };
  },
  // A number for a picture, to compare without sending it.
  number(text) {
    if (!this.pictures.has(text)) this.pictures.set(text, this.pictures.size);
    return this.pictures.get(text);
  },
  // From here on, look each time before the browser paints.
  watch(part) {
    this.seen = [];
    const look = () => {
      const now = JSON.stringify(this.look(part));
      if (now !== this.seen.at(-1)) this.seen.push(now);
      this.next = requestAnimationFrame(look);
    };
    look();
  },
  unwatch() {
    cancelAnimationFrame(this.next);
    return this.seen.map((text) => JSON.parse(text));
  },
  painted: () => new Promise((done) => requestAnimationFrame(() => setTimeout(done))),
};
"""


def promised(path):
    """Return how many explorers the cells of a notebook make, at the least."""
    return sum(len(CALL.findall(source)) for source in code_cells(path))


def comes_true(page, condition, argument, *, seconds):
    """Wait until a condition holds on a page; return whether it came to hold."""
    from playwright.sync_api import TimeoutError

    try:
        page.wait_for_function(condition, arg=argument, timeout=1000 * seconds)
    except TimeoutError:
        return False
    return True


class Explorer:
    """A slider and its picture on a page.

    Args:
        page: the page.
        part: handle of the part of the page that holds them.
        where: front end and notebook, for messages.
        arrow: what an arrow key is called, up to "Left" and "Right".
    """

    def __init__(self, page, part, where, arrow):
        self.page, self.part, self.arrow = page, part, arrow
        self.handle = part.query_selector(".noUi-handle")
        label = part.query_selector(".widget-slider .widget-label").text_content()
        self.name = f"{where}, slider '{label}'"
        self.values = 1 + round(
            float(self.handle.get_attribute("aria-valuemax"))
            - float(self.handle.get_attribute("aria-valuemin"))
        )
        self.controls = part.query_selector_all("select, input[type=checkbox]")

    def look(self):
        """Return what is shown now."""
        return self.part.evaluate("part => explorers.look(part)")

    def press(self, key):
        """Press a key and return what is shown once the browser has painted."""
        self.page.keyboard.press(key)
        return self.part.evaluate("async part => { await explorers.painted(); return explorers.look(part) }")

    def ready(self):
        """Bring it into view and wait until it stands still there: cells above may still grow."""
        self.part.evaluate(
            """async (part) => {
                for (let still = 0, last = "", tries = 0; still < 5; tries++) {
                    if (tries > 600) throw new Error(`it does not come to rest: ${last}`);
                    const {top, bottom} = part.getBoundingClientRect();
                    const middle = (top + bottom - innerHeight) / 2;
                    if (Math.abs(middle) > 50) part.scrollIntoView({block: "center", behavior: "instant"});
                    await explorers.painted();
                    const now = JSON.stringify(explorers.look(part));
                    still = now === last ? still + 1 : 0;
                    last = now;
                }
            }"""
        )
        return self

    @contextmanager
    def watched(self):
        """Look at each frame that the browser paints meanwhile; yield the list they come in at the end.

        Each must show one drawn frame exactly on its background, and nothing may have moved or grown.
        """
        seen = []
        self.part.evaluate("part => explorers.watch(part)")
        try:
            yield seen
        finally:
            seen += self.page.evaluate("() => explorers.unwatch()")
        first = seen[0]
        for state in seen:
            shown = f"at '{state['readout']}', words '{state['words']}'"
            assert state["frames"] == 1, f"{self.name}: {state['frames']} frames at once {shown}"
            assert state["marks"], f"{self.name}: an empty frame {shown}"
            assert state["background"], f"{self.name}: no background {shown}"
            assert state["apart"] < 0.5, f"{self.name}: frame {state['apart']} px off the background {shown}"
            for size in ("top", "height", "cell"):
                assert state[size] == first[size], (
                    f"{self.name}: {size} went from {first[size]} to {state[size]} px {shown}"
                )

    def check_words(self, state):
        """Hold the readout against the words, and the words against what is written in the picture."""
        number = re.compile(rf"(?<![\w.]){re.escape(state['readout'])}(?!\w|\.\d)")
        assert number.search(state["words"]), (
            f"{self.name}: the readout is '{state['readout']}', but the words are '{state['words']}'"
        )
        assert state["words"] in state["written"], (
            f"{self.name}: the words '{state['words']}' are not written in the picture"
        )

    @cached_property
    def states(self):
        """What is shown at each value, by arrow keys from the first to the last."""
        self.handle.focus()
        states = [self.press("Home")]
        states += [self.press(f"{self.arrow}Right") for _ in range(self.values - 1)]
        for state in states:
            self.check_words(state)
        for kind in ("readout", "words", "picture"):
            for number, (one, other) in enumerate(pairwise(states)):
                assert one[kind] != other[kind], (
                    f"{self.name}: the same {kind} at positions {number} and {number + 1}: {one['words']}"
                )
        pictures = {state["picture"] for state in states}
        assert len(pictures) == self.values, f"{self.name}: {len(pictures)} pictures for {self.values} values"
        return states

    def screenshot(self):
        """Return the picture alone as PNG bytes."""
        return self.page.screenshot(clip=self.part.query_selector("img").bounding_box())

    def wait_for_another(self, picture):
        """Wait until another picture than this is shown; return whether one came."""
        other = "([part, picture]) => explorers.look(part).picture !== picture"
        return comes_true(self.page, other, [self.part, picture], seconds=15)

    def accessible(self):
        """Return [(role, name, focusable)] of what the browser tells assistive technology about it."""
        session = self.page.context.new_cdp_session(self.page)
        number = self.part.evaluate("part => explorers.find().indexOf(part)")
        where = session.send("Runtime.evaluate", {"expression": f"explorers.find()[{number}]"})
        session.send("Accessibility.enable")
        nodes = session.send("Accessibility.queryAXTree", {"objectId": where["result"]["objectId"]})["nodes"]
        session.detach()
        return [
            (
                node["role"]["value"],
                node.get("name", {}).get("value", ""),
                any(p["name"] == "focusable" and p["value"]["value"] for p in node.get("properties", [])),
            )
            for node in nodes
            if not node["ignored"]
        ]

    def words_on_screen(self):
        """Return [(words, where on the screen they are)] of the controls and of the moving part."""
        return self.part.evaluate(
            """(part) => {
                const places = [];
                for (const element of part.querySelectorAll("label, span, select, .widget-readout, text")) {
                    const {x, y, width, height} = element.getBoundingClientRect();
                    const words = element.textContent.trim();
                    if (words && width && height) places.push([words, {x, y, width, height}]);
                }
                return places;
            }"""
        )
