"""The pages of `make html`, opened from a folder and from a server, with the way outside blocked."""

import re
import subprocess
import sys
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urldefrag

import pytest
from bs4 import BeautifulSoup
from explorers import SCRIPT, Explorer, promised
from servers import NOTEBOOKS, ROOT

from conftest import missing

PAGES = ["index.html", "README.html", *(f"{path.stem}.html" for path in NOTEBOOKS)]
MOVING = [f"{path.stem}.html" for path in NOTEBOOKS if promised(path)]
PROMISED = {f"{path.stem}.html": promised(path) for path in NOTEBOOKS}


@pytest.fixture(scope="session")
def site(browser, tmp_path_factory):  # noqa: ARG001 (no build without a browser)
    """Build all pages with the command, once, and return their folder."""
    folder = tmp_path_factory.mktemp("pages") / "a school's site"  # a name as folders have them
    command = [sys.executable, str(ROOT / "tools" / "export.py"), "--to", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=folder.parent)
    if done.returncode and done.stderr.startswith(("npm could not fetch", "npm, which fetches")):
        missing(done.stderr.splitlines()[0])
    assert done.returncode == 0, done.stderr
    assert re.search(r"^together +[\d,]+ kB$", done.stdout, re.MULTILINE), done.stdout
    return folder


class Quiet(SimpleHTTPRequestHandler):
    """Serves a folder and does not log."""

    def log_message(self, *_):
        """Say nothing."""


@pytest.fixture(scope="module", params=["folder", "server"])
def address(request, site):
    """Yield where the pages are, with a slash at the end: on the disk, or at a server."""
    if request.param == "folder":
        yield f"{site.as_uri()}/"
        return
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(site)))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def visit(page, address):
    """Return a function that opens a page; what leaves the site, fails or is an error fails the test."""
    wrong = page.errors

    def judge(route):
        url = route.request.url
        if url.startswith((address, "data:", "blob:")):
            route.continue_()
        else:
            wrong.append(f"asked for {url}")
            route.abort()

    page.context.route("**/*", judge)
    page.add_init_script(SCRIPT)
    page.on("requestfailed", lambda request: wrong.append(f"failed: {request.url}"))
    page.on(
        "response",
        lambda answer: wrong.append(f"{answer.status}: {answer.url}") if answer.status >= 400 else 0,
    )

    def visit(name):
        page.goto(address + name)
        page.wait_for_function("() => MathJax.startup.document !== undefined")
        page.evaluate("() => MathJax.startup.promise")
        page.wait_for_function(
            "count => explorers.find().filter((part) => explorers.look(part).background).length >= count",
            arg=PROMISED.get(name, 0),
            timeout=15_000,
        )
        return page

    yield visit
    assert not wrong, wrong


def explorers_on(page, name):
    parts = page.evaluate_handle("() => explorers.find()").get_properties().values()
    found = [Explorer(page, part.as_element(), name, "Arrow") for part in parts]
    assert len(found) >= PROMISED[name]
    for explorer in found:
        yield explorer.ready()


@pytest.mark.parametrize("name", PAGES)
def test_a_page_shows_its_maths_and_asks_for_nothing_outside(visit, name, site):
    page = visit(name)
    soup = BeautifulSoup((site / name).read_text(encoding="utf-8"), "html.parser")
    for code in soup.select("code, pre"):
        code.decompose()
    text = " ".join(part.text for part in soup.select(".prose"))
    written = len(re.findall(r"\$\$.+?\$\$|\$[^$]+\$", text, re.DOTALL))
    assert page.locator("mjx-container > svg").count() == written  # a brace is an svg inside
    assert page.locator("mjx-assistive-mml math").count() == written
    assert page.locator("mjx-merror, [data-mml-node=merror]").count() == 0
    assert page.locator("h1").count() == 1
    for image in page.locator("img").all():
        assert len(image.get_attribute("alt")) > 40
    assert not page.locator("details[open]").count()


@pytest.mark.parametrize("name", MOVING)
def test_keys_and_a_drag_show_a_picture_of_its_own_for_each_value(visit, name):
    page = visit(name)
    for explorer in explorers_on(page, name):
        with explorer.watched():
            there = explorer.states
            assert explorer.press("ArrowRight") == there[-1]
            said = [line.text_content() for line in page.locator(".now").all()]
            assert there[-1]["words"] in said
            assert explorer.handle.get_attribute("aria-valuetext") == there[-1]["readout"]
            assert explorer.press("Home") == there[0]
            assert explorer.press("End") == there[-1]
        label = explorer.part.query_selector(".widget-slider .widget-label").text_content()
        assert explorer.handle.get_attribute("aria-label") == label != ""
        explorer.press("Home")
        track = explorer.part.query_selector(".noUi-base").bounding_box()
        middle = track["y"] + track["height"] / 2
        places = [track["x"] + track["width"] * k / (explorer.values - 1) for k in range(explorer.values)]
        page.mouse.move(places[0], middle)
        with explorer.watched() as seen:
            page.mouse.down()
            for place in places:
                page.mouse.move(place, middle)
                page.evaluate("() => explorers.painted()")
            page.mouse.up()
        expected = {state["readout"]: state["picture"] for state in there}
        assert {state["readout"]: state["picture"] for state in seen} == expected


@pytest.mark.parametrize("name", MOVING)
def test_second_controls_are_disabled_and_the_page_says_so_once(visit, name):
    page = visit(name)
    controls = [control for explorer in explorers_on(page, name) for control in explorer.controls]
    assert all(control.is_disabled() for control in controls)
    assert page.locator(".note").count() == bool(controls)


def test_some_page_has_second_controls(visit):
    page = visit("02-watch-a-moving-average-follow.html")
    assert page.locator(".explorer :disabled").count() >= 2
    loaded = page.evaluate(
        "async () => (await document.fonts.load('900 14px \"Font Awesome 5 Free\"')).length"
    )
    assert loaded, "the font of the widgets' icons is not beside the page"


@pytest.mark.parametrize("name", MOVING)
def test_on_a_phone_nothing_is_cut_off(visit, page, name):
    page.set_viewport_size({"width": 400, "height": 800})
    visit(name)
    assert page.evaluate("() => document.documentElement.scrollWidth") == 400
    for explorer in explorers_on(page, name):
        with explorer.watched():
            explorer.handle.focus()
            last = explorer.press("End")
        for part in explorer.part.query_selector_all('img, svg[role="img"], .noUi-target, .widget-readout'):
            box = part.bounding_box()
            assert box["x"] >= 0
            assert box["x"] + box["width"] <= 400
        assert page.get_by_text(last["words"], exact=True).locator("visible=true").count() >= 1


def test_a_link_to_a_section_leads_there(visit, page):
    visit("00-start-here.html")
    page.get_by_role("link", name="02, ask which way round it is").click()
    heading = page.get_by_role("heading", name="Ask which way round it is")
    heading.wait_for()
    assert page.url.endswith("02-watch-a-moving-average-follow.html#Ask-which-way-round-it-is")
    page.wait_for_function("() => explorers.find().length > 0")
    page.evaluate("() => MathJax.startup.promise")
    assert -5 < heading.bounding_box()["y"] < 300


def test_all_links_between_pages_lead_to_something(site):
    soups = {name: BeautifulSoup((site / name).read_text(encoding="utf-8"), "html.parser") for name in PAGES}
    assert sorted(soups) == sorted(path.name for path in site.glob("*.html"))
    for name, soup in soups.items():
        for link in soup.select("a[href]"):
            if re.match(r"\w+:", link["href"]):
                continue
            target, place = map(unquote, urldefrag(link["href"]))
            where = soups[target or name]
            assert not place or where.find(id=place), f"{name}: {link['href']}"


def test_every_explorer_of_the_notebooks_is_on_a_page(site):
    assert MOVING
    for name in MOVING:
        soup = BeautifulSoup((site / name).read_text(encoding="utf-8"), "html.parser")
        assert len(soup.select(".explorer")) >= PROMISED[name]
        assert not Path(site / name).read_text(encoding="utf-8").count(str(ROOT))
