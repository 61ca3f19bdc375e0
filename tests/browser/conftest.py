"""A real Chromium for the tests of this folder: Debian's or the user's own, never a download."""

import importlib.util
import os
import sys

import chromium
import player
import pytest
import recorded
from explorers import SCRIPT
from servers import Server

# Usually JupyterLab lays out what is out of sight when it has nothing else to do. In a page in which many
# notebooks were opened it sometimes does not; live notebooks have a page each and are laid out as usual.
ALL_AT_ONCE = {"@jupyterlab/notebook-extension/tracker": '{"windowingMode": "none"}'}


def missing(reason):
    """Skip with a reason; fail where a browser is required, so that no test goes missing unseen."""
    if os.environ.get("BNLAB_REQUIRE_BROWSER"):
        pytest.fail(f"BNLAB_REQUIRE_BROWSER is set, but {reason}")
    pytest.skip(f"no browser tests: {reason}")


@pytest.fixture(scope="session")
def playwright():
    """Yield Playwright, which runs once in a process."""
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        missing("playwright is not installed (pip install -e '.[dev]')")
    with sync_playwright() as playwright:
        yield playwright


def options_of_chromium():
    """Return what starts Chromium."""
    options = chromium.launch_options()
    if options is None:
        missing(f"none of {', '.join(chromium.NAMES)} was found")
    return options


@pytest.fixture(scope="session")
def browser(playwright):
    """Yield a running Chromium, driven by Playwright."""
    running = playwright.chromium.launch(**options_of_chromium())
    yield running
    running.close()


@pytest.fixture(scope="session")
def reading(playwright, tmp_path_factory):
    """Yield Chromium as somebody keeps it who opens many notebooks: scripts are loaded and compiled once."""
    options = options_of_chromium() | {"viewport": {"width": 1280, "height": 900}, "reduced_motion": "reduce"}
    context = playwright.chromium.launch_persistent_context(tmp_path_factory.mktemp("profile"), **options)
    context.add_init_script(SCRIPT)
    yield context
    context.close()


@pytest.fixture
def page(browser):
    """Yield a page of its own, 1280 x 900, which collects what the console calls an error."""
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    page = context.new_page()
    page.errors = []
    page.on("pageerror", lambda error: page.errors.append(str(error)))
    page.on("console", lambda message: page.errors.append(message.text) if message.type == "error" else None)
    yield page
    context.close()


@pytest.fixture(scope="session")
def serve(tmp_path_factory):
    """Return a function that gives the running server of a front end; one runs at a time.

    It plays the notebooks as they were recorded, or, asked for a live one, runs them in usual kernels.
    """
    running = {}

    def stop():
        while running:
            running.popitem()[1].stop()

    def played(name):
        recording = recorded.folder(tmp_path_factory) / name
        return [sys.executable, player.__file__, "-f", "{connection_file}", f"--Player.recording={recording}"]

    def start(front_end, *, live=False):
        if (front_end, live) not in running:
            stop()
            if importlib.util.find_spec(front_end.command[0]) is None:
                missing(f"{front_end.command[0]} is not installed (pip install -e '.[dev]')")
            folder = tmp_path_factory.mktemp("server")
            how = {} if live else {"kernel_of": played, "settings": ALL_AT_ONCE}
            running[front_end, live] = Server(front_end.command, front_end.token, folder, **how)
        return running[front_end, live]

    yield start
    stop()
