"""Measures in a real browser how an explorer keeps up, beside the usual `interact` with an inline picture.

Both show the same data in one JupyterLab, first over loopback as it is, then through a proxy that
delays each direction by 75 ms, which is what a distant server feels like. The floor is measured in the
same browser: a key press that swaps one SVG path and nothing else.
"""

import socket
import statistics
import sys
import tempfile
import threading
import time
from contextlib import contextmanager
from pathlib import Path

import chromium
import nbformat
from servers import KERNEL_IDLE, Server
from tables import table, verdict

DELAY = 0.075  # seconds each way
PRESSES, DRAG_SECONDS = 40, 3.0

DATA = """import numpy as np
from bnlab import moving_average, sliders
means = np.random.default_rng(0).normal(-2.5, 0.9, 200)
momenta = np.linspace(0.5, 0.999, 51)"""
OURS = "sliders.decay_explorer(means)"
PEERS = """import ipywidgets
import matplotlib.pyplot as plt

@ipywidgets.interact(index=ipywidgets.IntSlider(value=25, min=0, max=50))
def follow(index):
    average = moving_average.trace(means, momentum=momenta[index])
    plt.figure(figsize=(6.4, 3.6))
    plt.plot(means, "o", ms=3, color="0.6")
    plt.plot(average, lw=2)
    plt.title(f"momentum {momenta[index]:.3f}")
    plt.show()"""
SCRIPT = """
window.bench = {
  // What a slider shows: the number of its value, and a picture that is new whenever it changes.
  state(root) {
    const svg = root.querySelector('svg[role="img"]'), image = root.querySelector("img");
    return {
      value: root.querySelector(".noUi-handle").getAttribute("aria-valuenow"),
      picture: svg ? svg.getAttribute("aria-label") : image?.complete && image.naturalWidth ? image.src : "",
    };
  },
  // Milliseconds from the next key press to the first painted picture that differs; -1 after two seconds.
  arm(root) {
    this.answer = new Promise((done) => {
      const before = this.state(root).picture;
      const pressed = (event) => {
        root.removeEventListener("keydown", pressed, true);
        const start = event.timeStamp;
        const look = () => {
          const picture = this.state(root).picture;
          if (picture && picture !== before)
            requestAnimationFrame(() => setTimeout(() => done(performance.now() - start)));
          else if (performance.now() - start > 2000) done(-1);
          else requestAnimationFrame(look);
        };
        look();
      };
      root.addEventListener("keydown", pressed, true);
    });
  },
  watch(root) {
    this.values = new Set(); this.pictures = new Set(); this.on = true;
    const look = () => {
      const now = this.state(root);
      this.values.add(now.value);
      if (now.picture) this.pictures.add(now.picture);
      if (this.on) requestAnimationFrame(look);
    };
    look();
  },
  unwatch() { this.on = false; return [this.values.size, this.pictures.size]; },
  // A slider of nothing but a handle and a path, for the floor.
  plain() {
    const root = document.createElement("div");
    root.id = "plain";
    root.innerHTML = '<div class="noUi-handle" tabindex="0" aria-valuenow="0">|</div>' +
      '<svg role="img" width="640" height="360"><path fill="none" stroke="black"/></svg>';
    Object.assign(root.style, {position: "fixed", top: 0, left: 0, zIndex: 9999, background: "white"});
    const handle = root.firstChild, svg = root.lastChild;
    let turn = 0;
    handle.addEventListener("keydown", () => {
      turn += 1;
      const points = [...Array(200).keys()].map((x) => `${3 * x},${180 + 150 * Math.sin((x + turn) / 20)}`);
      svg.firstChild.setAttribute("d", "M" + points.join(" L"));
      svg.setAttribute("aria-label", `turn ${turn}`);
    });
    document.body.append(root);
    return root;
  },
};
"""


@contextmanager
def delayed(port, delay):
    """Yield a loopback port that leads to `port`, with all bytes `delay` seconds late in each direction."""
    entrance = socket.create_server(("127.0.0.1", 0))

    def carry(source, target):
        # One thread reads and notes when each piece is due, another sends it then: a delay, not a throttle.
        pieces, ready = [], threading.Condition()

        def send():
            while True:
                with ready:
                    ready.wait_for(lambda: pieces)
                    due, piece = pieces.pop(0)
                time.sleep(max(0.0, due - time.monotonic()))
                try:
                    target.sendall(piece) if piece else target.shutdown(socket.SHUT_WR)
                except OSError:
                    return
                if not piece:
                    return

        threading.Thread(target=send, daemon=True).start()
        piece = b"first"
        while piece:
            try:
                piece = source.recv(65536)
            except OSError:
                piece = b""
            with ready:
                pieces.append((time.monotonic() + delay, piece))
                ready.notify()

    def accept():
        while True:
            try:
                client, _ = entrance.accept()
            except OSError:
                return
            server = socket.create_connection(("127.0.0.1", port))
            for ends in ((client, server), (server, client)):
                threading.Thread(target=carry, args=ends, daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    try:
        yield entrance.getsockname()[1]
    finally:
        entrance.close()


def write_notebook(path):
    """Write the notebook to measure: the data, our explorer, and the same picture made with interact."""
    cells = [nbformat.v4.new_code_cell(source) for source in (DATA, OURS, PEERS)]
    notebook = nbformat.v4.new_notebook(cells=cells)
    notebook.metadata.kernelspec = {"name": "python3", "display_name": "Python 3", "language": "python"}
    nbformat.write(notebook, path)


def open_and_run(page, url, token):
    """Run all cells; return the parts of the page with the two sliders, and seconds to our first picture."""
    page.goto(f"{url}lab/workspaces/bench/tree/bench.ipynb?token={token}", timeout=60_000)
    page.wait_for_function(KERNEL_IDLE, timeout=60_000)
    page.evaluate(SCRIPT)
    page.get_by_role("menuitem", name="Run", exact=True).click()
    start = time.perf_counter()
    page.get_by_role("menuitem", name="Run All Cells", exact=True).click()
    page.wait_for_selector('.jp-OutputArea svg[role="img"]', timeout=60_000)
    first_picture = time.perf_counter() - start
    page.wait_for_function("() => document.querySelectorAll('.noUi-handle').length === 2", timeout=60_000)
    page.wait_for_function("() => [...document.querySelectorAll('.jp-OutputArea-output img')].length >= 2")
    outputs = page.query_selector_all(".jp-CodeCell:has(.noUi-handle) .jp-Cell-outputArea")
    return outputs, first_picture


def press_times(page, root):
    """Return milliseconds from key press to painted picture; a press without a picture counts 2,000."""
    handle, times = root.query_selector(".noUi-handle"), []
    handle.scroll_into_view_if_needed()
    handle.focus()
    for number in range(PRESSES):
        page.evaluate("root => bench.arm(root)", root)
        page.keyboard.press("ArrowRight" if number // 10 % 2 == 0 else "ArrowLeft")
        elapsed = page.evaluate("() => bench.answer")
        times.append(elapsed if elapsed >= 0 else 2000.0)
        page.wait_for_timeout(30)
    return times


def painted_share(page, root):
    """Drag over the whole track; return the share of the slider's values that got a picture of their own."""
    handle, track = root.query_selector(".noUi-handle"), root.query_selector(".noUi-target")
    box = track.bounding_box()
    handle.focus()
    page.keyboard.press("Home")
    page.wait_for_timeout(700)
    grip = handle.bounding_box()
    y = grip["y"] + grip["height"] / 2
    page.mouse.move(grip["x"] + grip["width"] / 2, y)
    page.mouse.down()
    page.evaluate("root => bench.watch(root)", root)
    start, steps = time.perf_counter(), 150
    for step in range(1, steps + 1):
        page.mouse.move(box["x"] + box["width"] * step / steps, y)
        wait = start + DRAG_SECONDS * step / steps - time.perf_counter()
        if wait > 0:
            page.wait_for_timeout(1000 * wait)
    page.wait_for_timeout(50)
    values, pictures = page.evaluate("() => bench.unwatch()")
    page.mouse.up()
    page.wait_for_timeout(1500)  # a picture that is late must not be counted with the next measurement
    return min(1.0, pictures / values)


def percentile_95(times):
    """Return the value that 95% of the times do not exceed."""
    return statistics.quantiles(times, n=20)[-1]


def measure(browser, url, token):
    """Return the rows of one line to the server, the floor's times, and seconds to the first picture."""
    page = browser.new_page(viewport={"width": 1280, "height": 1000})
    traffic = {"bytes": 0}

    def count(socket_):
        for event in ("framesent", "framereceived"):
            socket_.on(event, lambda payload: traffic.update(bytes=traffic["bytes"] + len(payload)))

    page.on("websocket", count)
    (ours, peers), first_picture = open_and_run(page, url, token)
    rows = []
    for name, root in (("our explorer", ours), ("interact, inline figure", peers)):
        traffic["bytes"] = 0
        times = press_times(page, root)
        page.wait_for_timeout(500)
        moved = traffic["bytes"] / PRESSES
        rows.append((name, times, painted_share(page, root), moved))
    floor = press_times(page, page.evaluate_handle("() => bench.plain()").as_element())
    page.close()
    return rows, floor, first_picture


def report(line, rows, floor, first_picture):
    """Return the table of one line to the server, each figure of ours beside its target."""
    limit = max(25.0, percentile_95(floor) + 1.5 * 1000 / 60)
    cells = [("floor: one SVG path swapped", *_milliseconds(floor), "", "", "", "")]
    for name, times, share, moved in rows:
        judged = verdict(percentile_95(times), limit) if name.startswith("our") else ("", "")
        cells.append((name, *_milliseconds(times), f"{share:.0%}", f"{moved:,.0f}", *judged))
    header = (line, "p50 ms", "p95 ms", "values painted", "bytes a move", "target p95", "")
    painted = "met" if rows[0][2] >= 1 else "missed"
    return (
        f"{table(header, cells)}\n"
        f"values painted in a drag, target 100%: {painted}\n"
        f"first picture {first_picture:.2f} s after Run All, target 1.5: "
        f"{'met' if first_picture <= 1.5 else 'missed'}"
    )


def _milliseconds(times):
    return f"{statistics.median(times):.0f}", f"{percentile_95(times):.0f}"


def sliders():
    """Return both tables, or end with one line that says what is missing."""
    options = chromium.launch_options()
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        sys.exit("The sliders need Playwright: pip install -e '.[dev]'")
    if options is None:
        sys.exit(f"The sliders need a Chromium: none of {', '.join(chromium.NAMES)} was found")
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        command = ("jupyterlab", "--allow-root", "--expose-app-in-browser")
        server = Server(command, "--IdentityProvider.token", Path(folder))
        try:
            write_notebook(Path(folder) / "notebooks" / "bench.ipynb")
            browser = playwright.chromium.launch(**options)
            port = int(server.url.rsplit(":", 1)[1].strip("/"))
            near = report("local", *measure(browser, server.url, server.token))
            with delayed(port, DELAY) as far:
                address = f"http://127.0.0.1:{far}/"
                distant = report("150 ms round trip", *measure(browser, address, server.token))
            browser.close()
        finally:
            server.stop()
    return f"{near}\n\n{distant}"
