"""The pages of `make html` in Chromium, Firefox and WebKit: one list of promises, kept in each of them."""

import re
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urldefrag, urljoin

import export
import pytest
import recorded
from bs4 import BeautifulSoup
from promises import PROMISED, PROMISES, SCRIPT, shows_all_there_is
from readers import started
from servers import NOTEBOOKS, ROOT

from conftest import missing

PAGES = ["index.html", "README.html", *(f"{path.stem}.html" for path in NOTEBOOKS)]
TRANSLATED = [f"{language}/{path.stem}.html" for path in NOTEBOOKS for language in export.translated(path)]
SIGNS = {"zh": ("zh-Hans", "SC"), "ja": ("ja", "JP")}  # language: how HTML calls it, and whose signs it has
MOST_BYTES = 1_000_000
pytestmark = pytest.mark.timeout(900)  # the first test waits until all notebooks have been run


@pytest.fixture(scope="session")
def site(tmp_path_factory):
    """Write the pages of all notebooks, as they were recorded, and return their folder."""
    folder = tmp_path_factory.mktemp("pages") / "a school's site"  # a name as folders have them
    folder.mkdir()
    run = partial(recorded.notebook, tmp_path_factory=tmp_path_factory)
    for path in reversed(NOTEBOOKS):  # another process may be at the first ones, for the front ends
        run(path)
    assert export.write_pages(NOTEBOOKS, folder, run=run) == []
    return folder


class Quiet(SimpleHTTPRequestHandler):
    """Serves a folder and does not log."""

    def log_message(self, *_):
        """Say nothing."""


@pytest.fixture(scope="session")
def server(site):
    """Yield the address of the pages at a server on this machine."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(site)))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture(scope="module", params=["Chromium", "Firefox", "WebKit"])
def new_reader(request, playwright):
    """Yield a function that opens a page of its own in this browser."""
    with started(request.param, playwright) as opened:
        if opened is None:
            missing(f"{request.param} was not found")
        yield opened


@pytest.fixture(scope="module")
def reader_of(new_reader, site):
    """Return a function that gives the reader of a page; it stays open until another one is asked for."""
    opened = {}

    def close():
        while opened:
            opened.popitem()[1].close()

    def of(name):
        if name not in opened:
            close()
            opened[name] = new_reader()
            opened[name].open(f"{site.as_uri()}/{name}")
            opened[name].run(SCRIPT)
        return opened[name]

    yield of
    close()


@pytest.fixture
def reader(reader_of, name):
    """Yield the reader of the page of this name; what its console calls an error fails the test."""
    yield reader_of(name)
    assert not reader_of(name).errors


@pytest.mark.parametrize("name", PAGES)
def test_a_page_shows_all_there_is(reader, site, name):
    shows_all_there_is(reader, (site / name).read_text(encoding="utf-8"))
    assert set(reader.asked) <= {f"{site.as_uri()}/{name}".replace("'", "%27"), f"{site.as_uri()}/{name}"}


@pytest.mark.parametrize("promise", PROMISES, ids=lambda promise: promise.__name__)
@pytest.mark.parametrize("name", PROMISED)
def test_an_explorer_keeps_its_promises(reader, name, promise):
    promise(reader, name)


@pytest.fixture(scope="module")
def phone(new_reader, server):
    """Return a reader of the start page at a server, for other pages in a frame."""
    reader = new_reader()
    reader.open(f"{server}index.html")
    yield reader
    reader.close()


@pytest.mark.parametrize("name", PAGES)
def test_nothing_is_wider_than_a_phone(phone, name):
    """In a frame of 360 pixels: WebKit's windows are no narrower than 447."""
    wide = phone.run(
        """(name) => new Promise((done) => {
          const frame = document.createElement("iframe");
          frame.style = "width: 360px; height: 800px; border: 0";
          frame.onload = () => {
            const page = frame.contentDocument;
            const scrolls = (e) => e.closest("pre, table, .formula, .anchor-link");
            const right = (e) => e.getBoundingClientRect().right;
            const out = [...page.body.querySelectorAll("*")].filter((e) => right(e) > 360.5 && !scrolls(e));
            done([page.documentElement.scrollWidth, out.slice(0, 3).map((e) => e.outerHTML.slice(0, 90))]);
            frame.remove();
          };
          frame.src = name;
          document.body.append(frame);
        })""",
        name,
    )
    assert wide[0] <= 360  # less a bar to scroll with
    assert wide[1] == []
    assert not phone.errors


@pytest.mark.parametrize("name", PROMISED)
def test_without_script_the_first_picture_and_its_words_are_there(site, browser, name):
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(f"{site.as_uri()}/{name}")
    for figure in page.locator("figure.explorer").all():
        assert (
            figure.locator(".picture > svg").get_attribute("aria-label")
            == figure.locator("figcaption > span").inner_text()
        )
        assert figure.locator(".picture > svg path, .picture > svg polyline, .picture > svg rect").count()
    context.close()


@pytest.mark.parametrize("name", PROMISED)
def test_a_finger_reaches_the_first_and_the_last_value_and_scrolls_past(site, browser, name):
    context = browser.new_context(viewport={"width": 360, "height": 740}, has_touch=True, is_mobile=True)
    page = context.new_page()
    page.goto(f"{site.as_uri()}/{name}")
    for slider in page.locator("figure.explorer input[type=range]").all():
        slider.scroll_into_view_if_needed()
        box = slider.bounding_box()
        assert box["height"] >= 44
        assert slider.evaluate("(it) => getComputedStyle(it).touchAction") == "pan-y"
        for x, value in ((box["x"] + 3, "0"), (box["x"] + box["width"] - 3, slider.get_attribute("max"))):
            page.touchscreen.tap(x, box["y"] + box["height"] / 2)
            assert slider.input_value() == value
    context.close()


@pytest.mark.parametrize("name", PAGES)
def test_on_paper_nothing_is_cut(site, browser, name):
    context = browser.new_context(viewport={"width": 700, "height": 1000})
    page = context.new_page()
    page.goto(f"{site.as_uri()}/{name}")
    page.emulate_media(media="print")
    cut = page.evaluate(
        """() => [...document.querySelectorAll("pre, table, .formula, figure, img")]
          .filter((e) => !e.closest("details"))
          .filter((e) => e.scrollWidth > e.clientWidth + 1 || e.getBoundingClientRect().right > innerWidth)
          .map((e) => e.outerHTML.slice(0, 90))"""
    )
    assert cut == []
    assert page.locator("figure.explorer input").locator("visible=true").count() == 0
    context.close()


@pytest.mark.parametrize("name", TRANSLATED)
def test_a_translated_page_is_drawn_in_its_language(site, page, name):
    language, _, file = name.partition("/")
    page.goto(f"{site.as_uri()}/{name}")
    page.evaluate(SCRIPT)
    shown, (tag, region) = page.evaluate("() => promises.all()"), SIGNS[language]
    assert page.evaluate("() => document.documentElement.lang") == tag
    html = (site / file).read_text(encoding="utf-8")
    assert shown["formulas"] == len(BeautifulSoup(html, "html.parser").select("math"))
    assert page.evaluate("() => promises.count()") >= PROMISED.get(file, 0)
    others = {link.get_attribute("lang") for link in page.locator("nav a[hreflang]").all()}
    assert others == {"en", *(tag for tag, _ in SIGNS.values())} - {tag}
    for width in (1280, 360):
        page.set_viewport_size({"width": width, "height": 800})
        assert page.evaluate("() => document.documentElement.scrollWidth") <= width
    assert not page.errors
    drawn = fonts(page, "main p")
    if not any("CJK" in font for font in drawn):
        missing("fonts-noto-cjk is not installed")
    assert f"Noto Sans CJK {region}" in drawn, "signs of the other language"


def fonts(page, selector):
    """Return the names of the fonts in which the first such element is drawn."""
    session = page.context.new_cdp_session(page)
    session.send("DOM.enable")
    session.send("CSS.enable")
    root = session.send("DOM.getDocument")["root"]["nodeId"]
    node = session.send("DOM.querySelector", {"nodeId": root, "selector": selector})["nodeId"]
    found = session.send("CSS.getPlatformFontsForNode", {"nodeId": node})["fonts"]
    session.detach()
    return {font["familyName"] for font in found}


def test_a_link_to_a_section_leads_there(site, page):
    page.goto(f"{site.as_uri()}/00-start-here.html")
    page.get_by_role("link", name="02, ask which way round it is").first.click()
    heading = page.get_by_role("heading", name="Ask which way round it is")
    heading.wait_for()
    assert page.url.endswith("02-watch-a-moving-average-follow.html#Ask-which-way-round-it-is")
    assert -5 < heading.bounding_box()["y"] < 300


def test_all_links_between_pages_lead_to_something(site):
    soups = {
        name: BeautifulSoup((site / name).read_text(encoding="utf-8"), "html.parser")
        for name in [*PAGES, *TRANSLATED]
    }
    assert sorted(soups) == sorted(path.relative_to(site).as_posix() for path in site.rglob("*.html"))
    for name, soup in soups.items():
        for link in soup.select("a[href]"):
            if re.match(r"\w+:", link["href"]):
                continue
            target, place = map(unquote, urldefrag(urljoin(name, link["href"])))
            assert target in soups, f"{name}: {link['href']}"
            assert not place or soups[target].find(id=place), f"{name}: {link['href']}"


@pytest.mark.parametrize("name", [*PAGES, *TRANSLATED])
def test_a_page_is_one_file_of_a_megabyte_at_most(site, name):
    text = Path(site / name).read_text(encoding="utf-8")
    assert len(text.encode()) <= MOST_BYTES
    assert str(ROOT) not in text
    soup = BeautifulSoup(text, "html.parser")
    assert len(soup.select("figure.explorer")) >= PROMISED.get(name, 0)
    for code in soup.select("code, pre, script, math"):
        code.decompose()
    assert not re.search(r"\$[^$\s][^$]*\$", soup.select_one("main").text)  # a formula that was not drawn


def test_some_page_has_second_controls_and_all_their_pictures(site):
    soup = BeautifulSoup(
        (site / "02-watch-a-moving-average-follow.html").read_text(encoding="utf-8"), "html.parser"
    )
    assert [label.text.split()[0] for label in soup.select(".second label")] == ["debias", "batch"]
