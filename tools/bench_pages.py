"""Measures how soon the largest page is alive, and how its sliders keep up, beside a page made with plotly.

From opening a page to a slider that has moved, in Chromium: as it is, and on a slow line (1.6 Mbit/s, 150 ms)
with a processor that is four times slower. plotly shows the same curves and is asked only if it is installed.
"""

import gzip
import importlib.util
import statistics
import sys
import tempfile
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import chromium
import execute
import export
import numpy as np
from tables import table, verdict

from bnlab import moving_average

SLOW = {"offline": False, "latency": 150, "downloadThroughput": 1.6e6 / 8, "uploadThroughput": 1.6e6 / 8}
PRESSES = 40
# Notes when a slider has been moved and painted for the first time.
ALIVE = """
(function wait() {
  const slider = document.querySelector("figure.explorer[data-alive] input[type=range]");
  const rival = document.querySelector(".slider-grip-rect") && document.querySelector(".js-plotly-plot");
  const painted = () => requestAnimationFrame(() => setTimeout(() => { window.alive = performance.now(); }));
  if (slider) {
    slider.stepUp();
    slider.dispatchEvent(new Event("input", { bubbles: true }));
    painted();
  } else if (rival) {
    Plotly.animate(rival, ["0"], { mode: "immediate", frame: { duration: 0 } }).then(painted);
  } else requestAnimationFrame(wait);
})();
"""
KEYS = """() => {
  window.times = [];
  addEventListener("keydown", (event) => requestAnimationFrame(() => setTimeout(
    () => times.push(performance.now() - event.timeStamp))), true);
  document.querySelector("input[type=range]").focus();
}"""


class _Compressing(SimpleHTTPRequestHandler):
    """Sends pages compressed, as GitHub Pages and most servers do."""

    def do_GET(self):
        body = gzip.compress(Path(self.translate_path(self.path)).read_bytes())
        self.send_response(200)
        self.send_header("Content-Type", "text/html; charset=utf-8")
        self.send_header("Content-Encoding", "gzip")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


def pages():
    """Return the table of seconds, bytes and milliseconds."""
    options = chromium.launch_options()
    if options is None:
        sys.exit(f"none of {', '.join(chromium.NAMES)} was found")
    from playwright.sync_api import sync_playwright

    with tempfile.TemporaryDirectory() as name, sync_playwright() as playwright:
        folder = Path(name)
        if wrong := export.write_pages(sorted(execute.NOTEBOOKS.glob("[0-9][0-9]-*.ipynb")), folder):
            sys.exit("\n".join(wrong))
        moving = [
            path for path in folder.glob("*.html") if '<figure class="explorer' in path.read_text("utf-8")
        ]
        worst = max(moving, key=lambda path: path.stat().st_size)
        server = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Compressing, directory=name))
        threading.Thread(target=server.serve_forever, daemon=True).start()
        browser = playwright.chromium.launch(**options)
        try:
            return _table(browser, f"http://127.0.0.1:{server.server_port}/", worst, _rival(folder))
        finally:
            browser.close()
            server.shutdown()
            server.server_close()


def _table(browser, address, worst, rival):
    rows = []
    for name, path in (("bnlab", worst), ("plotly", rival)):
        if path is None:
            rows.append(["plotly", "not installed", "", ""])
            continue
        ours = name == "bnlab"
        size = path.stat().st_size
        target = verdict(size / 1000, 1000) if ours else ("", "")
        rows.append([f"{name}, {path.name}, kB", f"{size / 1000:.0f}", *target])
        for line, limit in (("as it is", 0.4), ("slow line and processor", 1.5)):
            seconds = _seconds(browser, address + path.name, slow="slow" in line)
            target = verdict(seconds, limit) if ours else ("", "")
            rows.append([f"{name}, to a moved slider, {line}, s", f"{seconds:.2f}", *target])
    middle, high = _key_times(browser, address + worst.name)
    rows.append(["bnlab, key to painted, p50 / p95 ms", f"{middle:.0f} / {high:.0f}", *verdict(high, 25)])
    return table(["page", "", "target", ""], rows)


def _seconds(browser, address, *, slow, repetitions=3):
    """Return the median seconds from the start of the navigation to a slider that has moved."""
    times = []
    for _ in range(repetitions):
        context = browser.new_context(viewport={"width": 1280, "height": 900})
        page = context.new_page()
        if slow:
            session = context.new_cdp_session(page)
            session.send("Network.enable")
            session.send("Network.emulateNetworkConditions", SLOW)
            session.send("Emulation.setCPUThrottlingRate", {"rate": 4})
        page.add_init_script(ALIVE)
        page.goto(address, timeout=180_000)
        page.wait_for_function("() => window.alive", timeout=180_000)
        times.append(page.evaluate("() => alive") / 1000)
        context.close()
    return statistics.median(times)


def _key_times(browser, address):
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    page = context.new_page()
    page.goto(address)
    page.evaluate(KEYS)
    for press in range(PRESSES):
        page.keyboard.press("ArrowLeft" if press % 2 else "ArrowRight")
        page.wait_for_function("(count) => times.length >= count", arg=press + 1)
    times = sorted(page.evaluate("() => times"))
    context.close()
    return statistics.median(times), times[int(0.95 * (len(times) - 1))]


def _rival(folder):
    """Write a page with the curves of the decay explorer as plotly draws them; None without plotly."""
    if importlib.util.find_spec("plotly") is None:
        return None
    import plotly.graph_objects as go

    means = np.random.default_rng(0).normal(-2.5, 0.9, 200)
    averages = [moving_average.trace(means, momentum=m) for m in np.linspace(0.5, 0.999, 51)]
    frames = [go.Frame(data=[go.Scatter(y=y)], traces=[1], name=str(k)) for k, y in enumerate(averages)]
    steps = [{"args": [[frame.name], {"mode": "immediate"}], "method": "animate"} for frame in frames]
    dots, line = go.Scatter(y=means, mode="markers"), go.Scatter(y=averages[40])
    figure = go.Figure(data=[dots, line], frames=frames, layout={"sliders": [{"active": 40, "steps": steps}]})
    path = folder / "plotly.html"
    path.write_text(figure.to_html(include_plotlyjs=True), encoding="utf-8")
    return path
