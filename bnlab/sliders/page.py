"""The second face of an explorer: one element of HTML, which needs a browser and nothing else.

All pictures that the controls can lead to are in it. A native slider picks the frame; the same few lines
of script serve every explorer on a page.
"""

import itertools
import json
import re
from html import escape
from importlib import resources

import numpy as np

from bnlab import figures

ROOM = 700_000  # characters that the pictures of one explorer may take
STYLE, SCRIPT = (
    resources.files("bnlab.sliders").joinpath(name).read_text(encoding="utf-8")
    for name in ("page.css", "page.js")
)


def html(name, values, start, draw, controls, *, alone):
    """Return an explorer as HTML.

    Args:
        name, values, start, draw, controls: as `bnlab.sliders.Explorer` has them.
        alone: bring style and script along, for an output that stands by itself.
    """
    shown = ",".join(str(_position(control)) for control in controls.values())
    sets = _sets(draw, controls)
    if leave_out := bool(controls) and _size(sets.values()) > ROOM:
        sets, shown = {"": sets[shown]}, ""
    now = sets.pop(shown)
    images = list(dict.fromkeys(each["image"] for each in (now, *sets.values())))
    longest = max((words for each in (now, *sets.values()) for words in each["words"]), key=len)
    parts = [
        f"<style>{STYLE}</style><script>{SCRIPT}</script>" if alone else "",
        '<figure class="explorer">',
        _slider(name, values, start),
        _elsewhere(controls) if leave_out else _second(controls),
        _picture(now, start),
        _caption(now["words"][start], longest),
        _data("values", values),
        _data(shown, now | {"image": 0}),
        "<script>bringToLife(document.currentScript.parentNode)</script>",  # before the rest has come
        *(_data(f"image {number}", image) for number, image in enumerate(images) if number),
        *(_data(name, each | {"image": images.index(each["image"])}) for name, each in sets.items()),
        "</figure>",
    ]
    return "".join(parts)


def _size(sets):
    """Return how many characters the pictures take; one that several sets have in common counts once."""
    return sum(map(len, {each["image"] for each in sets})) + sum(
        len(_data("", each["frames"])) for each in sets
    )


def _data(name, value):
    """Return a value as data for the script, under a name."""
    text = json.dumps(value, separators=(",", ":"))
    text = text.replace("</", "<\\/")  # else a browser would take it for the end of the script
    return f'<script type="application/json" data-name="{name}">{text}</script>'


def _sets(draw, controls):
    """Return {positions of the controls: the pictures that they lead to}."""
    choices = [range(len(_options(control))) for control in controls.values()]
    return {
        ",".join(map(str, positions)): _set(
            draw,
            {
                key: _options(control)[position][1]
                for (key, control), position in zip(controls.items(), positions, strict=True)
            },
        )
        for positions in itertools.product(*choices)
    }


def _set(draw, chosen):
    figure, frames, about = draw(**chosen)
    width, height = figure.canvas.get_width_height()
    return {
        "image": figures.image_address(figure),
        "alt": about,
        "size": [width, height],
        "frames": [_shorter(frame.content(figure)) for frame in frames],
        "words": [frame.words for frame in frames],
    }


def _options(control):
    """Return [(label, value)] of a second control: a list to choose from, or a box to tick."""
    if hasattr(control, "options"):
        return [option if isinstance(option, tuple) else (str(option), option) for option in control.options]
    return [("off", False), ("on", True)]


def _position(control):
    return [value for _, value in _options(control)].index(control.value)


def label(control):
    """Return what is chosen, as the reader sees it."""
    return _options(control)[_position(control)][0]


def _slider(name, values, start):
    now = escape(str(values[start]))
    return (
        f'<div class="slider"><label>{escape(name)} <input type="range" min="0" max="{len(values) - 1}" '
        f'value="{start}" aria-valuetext="{now}"></label>'
        f'<output data-longest="{escape(max(map(str, values), key=len))}">{now}</output></div>'
    )


def _second(controls):
    parts = []
    for control in controls.values():
        named, now = escape(control.description), _position(control)
        if hasattr(control, "options"):
            options = "".join(
                f"<option{' selected' * (place == now)}>{escape(text)}</option>"
                for place, (text, _) in enumerate(_options(control))
            )
            parts.append(f"<label>{named} <select>{options}</select></label>")
        else:
            parts.append(f'<label><input type="checkbox"{" checked" * now}> {named}</label>')
    return f'<div class="second">{"".join(parts)}</div>' if parts else ""


def _elsewhere(controls):
    named = " and ".join(escape(control.description) for control in controls.values())
    return f'<p class="elsewhere">In a running notebook you can choose here, too: {named}.</p>'


def _picture(now, start):
    width, height = now["size"]
    return (
        f'<div class="picture"><img src="{now["image"]}" alt="{escape(now["alt"])}" width="{width}" '
        f'height="{height}"><svg viewBox="0 0 {width} {height}" role="img" '
        f'aria-label="{escape(now["words"][start])}">{now["frames"][start]}</svg></div>'
    )


def _caption(now, longest):
    longest, now = escape(longest), escape(now)
    return f'<figcaption data-longest="{longest}"><span aria-live="polite">{now}</span></figcaption>'


def _shorter(svg):
    """Return the same marks in fewer letters: without what the style says, and long lines by their steps."""
    svg = re.sub(r' (font-family="[^"]*"|text-anchor="start"|stroke-dasharray="")', "", svg)
    return re.sub(r'<polyline points="([^"]+)"([^>]*)/>', _by_steps, svg)


def _by_steps(found):
    """Return a line as a path in tenths of a pixel, its widths and dashes too."""
    points = np.rint(10 * np.array([point.split(",") for point in found[1].split()], float)).astype(int)
    if len(points) < 10:
        return found[0]
    (x, y), steps = points[0], " ".join(f"{x} {y}" for x, y in np.diff(points, axis=0)).replace(" -", "-")
    look = re.sub(r'(stroke-(?:width|dasharray)=")([^"]+)', _tenfold, found[2])
    return f'<path transform="scale(.1)" d="M{x} {y}l{steps}"{look}/>'


def _tenfold(found):
    return found[1] + " ".join(f"{10 * float(number):g}" for number in found[2].split())
