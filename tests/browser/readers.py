"""A reader of the exported pages: the same few gestures in Chromium, in Firefox and in WebKit.

Chromium and Firefox are driven by Playwright, WebKit by Selenium, which knows WebKitGTK's MiniBrowser. All of
them are Debian's or the user's own; nothing is downloaded.
"""

import contextlib
import glob
import os
import shutil
import subprocess
import time

import chromium

# Frames as fast as they can be painted: waiting for a screen is most of what a test of a slider does. A page
# stands still when nobody moves it; JupyterLab does not, and would take the whole processor.
ANY_RATE = ["--disable-frame-rate-limit", "--disable-gpu-vsync"]
PAINTED = "() => new Promise((done) => requestAnimationFrame(() => setTimeout(done)))"
# What is an error is noted in the page itself too: WebDriver has no console.
NOTE_ERRORS = "window.errors = []; addEventListener('error', (event) => errors.push(event.message));"


class PlaywrightReader:
    """Reads with a browser that Playwright drives."""

    def __init__(self, browser):
        self.context = browser.new_context(viewport={"width": 1280, "height": 900})
        self.page = self.context.new_page()
        self.errors = []
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.page.on("console", self._note)
        self.page.on("requestfailed", lambda request: self.errors.append(f"failed: {request.url}"))
        self.page.on("request", self._asked)
        self.asked = []

    def _note(self, message):
        if message.type == "error":
            self.errors.append(message.text)

    def _asked(self, request):
        if not request.url.startswith("data:"):
            self.asked.append(request.url)

    def open(self, address):
        """Open a page and wait until it is loaded."""
        self.page.goto(address)

    def run(self, function, *arguments):
        """Return what a JavaScript function, or its promise, gives."""
        return self.page.evaluate(f"(all) => ({function})(...all)", list(arguments))

    def press(self, key):
        """Press a key."""
        self.page.keyboard.press(key)

    def drag(self, places):
        """Press the mouse at the first of the places and move it over the others, one a painted frame."""
        (x, y), *others = places
        self.page.mouse.move(x, y)
        self.page.mouse.down()
        for x, y in others:
            self.page.mouse.move(x, y)
            self.run(PAINTED)
        self.page.mouse.up()

    def close(self):
        """Close the page."""
        self.context.close()


class WebKitReader:
    """Reads with WebKitGTK's MiniBrowser, which Selenium drives."""

    asked = ()

    def __init__(self, driver):
        self.driver = driver

    @property
    def errors(self):
        """Return the errors that the page has noted."""
        return self.run("() => window.errors ?? []")

    def open(self, address):
        """Open a page and wait until it is loaded."""
        self.driver.get(address)
        self.run(f"() => {{ {NOTE_ERRORS} }}")

    def run(self, function, *arguments):
        """Return what a JavaScript function, or its promise, gives."""
        script = (
            "const done = arguments[arguments.length - 1], given = [...arguments].slice(0, -1);"
            f"Promise.resolve(({function})(...given)).then(done, (error) => done(String(error)));"
        )
        return self.driver.execute_async_script(script, *arguments)

    def press(self, key):
        """Press a key."""
        from selenium.webdriver.common.keys import Keys

        names = {"PageUp": "PAGE_UP", "PageDown": "PAGE_DOWN"}
        name = names.get(key, key.upper().replace("ARROW", "ARROW_"))
        self.driver.switch_to.active_element.send_keys(getattr(Keys, name))

    def drag(self, places):
        """Press the mouse at the first of the places and move it over the others, one a painted frame."""
        first, *others = (tuple(map(round, place)) for place in places)
        self._act(lambda pointer: pointer.move_to_location(*first).pointer_down())
        for place in others:
            self._act(lambda pointer, place=place: pointer.move_to_location(*place))
            self.run(PAINTED)
        self._act(lambda pointer: pointer.pointer_up())

    def _act(self, gesture):
        """Make one gesture of the mouse; a button stays down until it is let go."""
        from selenium.webdriver.common.action_chains import ActionBuilder

        actions = ActionBuilder(self.driver, duration=0)
        gesture(actions.pointer_action)
        actions.perform()

    def close(self):
        """Leave the page; the browser stays."""
        self.driver.get("about:blank")


def firefox():
    """Return the path of a Firefox on this machine, or None."""
    return shutil.which("firefox-esr") or shutil.which("firefox")


def mini_browser():
    """Return the path of WebKitGTK's MiniBrowser, or None."""
    found = sorted(glob.glob("/usr/lib/*/webkit2gtk-4.*/MiniBrowser"))
    needed = shutil.which("WebKitWebDriver") and shutil.which("Xvfb")
    return found[-1] if found and needed else None


@contextlib.contextmanager
def webkit_driver():
    """Yield a Selenium driver of the MiniBrowser, on a screen of its own."""
    from selenium import webdriver

    with _screen() as display:
        os.environ |= {"DISPLAY": display, "WEBKIT_DISABLE_SANDBOX_THIS_IS_DANGEROUS": "1"}
        options = webdriver.WebKitGTKOptions()
        options.binary_location = mini_browser()
        options.add_argument("--automation")
        service = webdriver.webkitgtk.service.Service(shutil.which("WebKitWebDriver"))
        driver = webdriver.WebKitGTK(options=options, service=service)
        try:
            driver.set_window_size(1280, 900)
            driver.set_script_timeout(30)
            yield driver
        finally:
            driver.quit()


@contextlib.contextmanager
def _screen():
    """Start a virtual screen; the server picks a free number and says which."""
    read, write = os.pipe()
    command = ["Xvfb", "-displayfd", str(write), "-screen", "0", "1400x1000x24"]
    server = subprocess.Popen(command, pass_fds=[write], stderr=subprocess.DEVNULL)
    os.close(write)
    before = os.environ.get("DISPLAY")
    try:
        with os.fdopen(read, encoding="ascii") as said:
            yield f":{said.readline().strip()}"
    finally:
        server.terminate()
        server.wait()
        os.environ.pop("DISPLAY", None)
        if before is not None:
            os.environ["DISPLAY"] = before


@contextlib.contextmanager
def started(name, playwright):
    """Yield a function that opens a new reader in the browser of this name; None if it is not here."""
    if name == "WebKit":
        if mini_browser() is None:
            yield None
        else:
            with webkit_driver() as driver:
                yield lambda: WebKitReader(driver)
        return
    kind, options = playwright.chromium, chromium.launch_options()
    if name == "Firefox":
        kind, options = playwright.firefox, {"executable_path": firefox(), "channel": "moz-firefox"}
        options["firefox_user_prefs"] = {"layout.frame_rate": 0}  # at any rate
    elif options:
        options["args"] += ANY_RATE
    if options is None or options["executable_path"] is None:
        yield None
        return
    browser = kind.launch(**options)
    yield lambda: PlaywrightReader(browser)
    browser.close()


def comes_true(reader, condition, *arguments, seconds=5):
    """Wait until a condition holds in the page; return whether it came to hold. Keys may arrive late."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if reader.run(condition, *arguments):
            return True
        time.sleep(0.01)
    return False
