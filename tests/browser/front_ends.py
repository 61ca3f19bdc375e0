"""Where a learner opens a notebook: how its server is started, how the notebook is run there and left."""

import re
import urllib.error
from contextlib import contextmanager
from dataclasses import dataclass

from explorers import Explorer, comes_true, promised
from servers import KERNEL_IDLE, NOTEBOOKS, code_cells

from bnlab import sliders

ERRORS = (
    ".jupyter-widgets-error, "
    '[data-mime-type="application/vnd.jupyter.stderr"], [data-mime-type="application/vnd.jupyter.error"]'
)
# A slow JupyterLab says so now and then, of cells that it scrolls out of sight. We remove no nodes.
ITS_OWN = "Failed to execute 'removeChild' on 'Node'"
OPEN = "path => void jupyterapp.commands.execute('docmanager:open', {path})"
LAID_OUT = """(name) => {
  const panel = jupyterapp.shell.currentWidget;
  return panel?.context?.path === name && panel.content.widgets.at(-1)?.node.offsetHeight > 0;
}"""
ALL_RAN = """() => {
  const panel = jupyterapp.shell.currentWidget;
  const cells = [...panel.content.model.cells];
  const outputs = cells.flatMap((cell) => (cell.type === "code" ? cell.outputs.toJSON() : []));
  const failed = outputs.find((output) => output.output_type === "error");
  if (failed) return `${failed.ename}: ${failed.evalue}`;
  const code = cells.filter((cell) => cell.type === "code" && cell.sharedModel.getSource().trim());
  const idle = panel.sessionContext.session.kernel.status === "idle";
  return idle && code.every((cell) => cell.executionCount);
}"""
AT_ITS_END = """() => {
  const last = jupyterapp.shell.currentWidget.content.widgets.at(-1);
  return last.node.getBoundingClientRect().y < innerHeight;
}"""


@dataclass(frozen=True)
class FrontEnd:
    """Where a learner opens a notebook.

    Attributes:
        name: what it is called.
        command: how its server is started, after `python -m`.
        token: the option of the server that sets the token.
        path: address of a notebook, with {0} for its path.
        runs_by_itself: the page comes with all cells run.
        keeps_its_page: one notebook after the other is opened in the same page.
        themes: names of the themes to look at, the usual one first.
        arrow: what an arrow key is called in Playwright, up to "Left" and "Right".
    """

    name: str
    command: tuple
    token: str
    path: str
    runs_by_itself: bool = False
    keeps_its_page: bool = False
    themes: tuple = ()
    arrow: str = "Arrow"

    def __str__(self):
        return self.name

    def open(self, page, server, notebook):
        """Open a notebook, run all its cells, and return once the last one has run."""
        if self.keeps_its_page and page.url.startswith(server.url):
            page.evaluate(OPEN, notebook.name)
        else:
            page.goto(f"{server.url}{self.path.format(notebook)}?token={server.token}", timeout=120_000)
        if self.runs_by_itself:
            return
        page.wait_for_function(KERNEL_IDLE, timeout=60_000, polling=100)
        page.wait_for_function(LAID_OUT, arg=notebook.name, timeout=60_000, polling=100)
        page.wait_for_function(KERNEL_IDLE, timeout=60_000, polling=100)
        page.errors.clear()  # those of a page on which nothing of ours has run
        page.get_by_role("menuitem", name="Run", exact=True).click()
        page.get_by_role("menuitem", name="Run All Cells", exact=True).click()
        ended = page.wait_for_function(ALL_RAN, timeout=180_000, polling=100).json_value()
        assert ended is True, f"{self}, {notebook.name}: {ended}"
        comes_true(page, AT_ITS_END, None, seconds=1)  # it goes to the last cell, or forgets to

    def leave(self, page, server):
        """Close a notebook and end its kernel."""
        if self.runs_by_itself:
            page.goto("about:blank")  # the page ends its kernel when it is left
            return
        for kernel in page.evaluate(
            "() => [...jupyterapp.serviceManager.kernels.running()].map((k) => k.id)"
        ):
            try:
                server.request(f"api/kernels/{kernel}", "DELETE")
            except urllib.error.HTTPError as error:
                if error.code != 404:
                    raise
        page.evaluate("() => jupyterapp.shell.currentWidget.dispose()")


_LAB = ("--allow-root", "--expose-app-in-browser")
# Not the extensions of JupyterLab that happen to be installed: some do not fit Voila, and say so.
_WIDGETS_ONLY = [
    f"--VoilaConfiguration.extension_allowlist={name}"
    for name in ("@jupyter-widgets/jupyterlab-manager", "@voila-dashboards/widgets-manager8")
]
FRONT_ENDS = (
    FrontEnd(
        "JupyterLab",
        ("jupyterlab", *_LAB),
        "--IdentityProvider.token",
        "lab/tree/{0.name}",
        keeps_its_page=True,
        themes=("JupyterLab Light", "JupyterLab Dark"),
    ),
    FrontEnd(
        "Notebook 7",
        ("notebook", *_LAB),
        "--IdentityProvider.token",
        "notebooks/{0.name}",
        arrow="Shift+Arrow",  # it goes to another cell on the plain key (jupyter/notebook#7716)
    ),
    FrontEnd("Voila", ("voila", *_WIDGETS_ONLY), "--token", "voila/render/{0.name}", runs_by_itself=True),
)


def second_controls(path):
    """Return the kinds of the explorers in a notebook that have second controls, as their docstrings say."""
    called = [name for source in code_cells(path) for name in re.findall(r"\b\w+_explorer\b", source)]
    return [name for name in called if "second control" in getattr(sliders, name).__doc__]


# JupyterLab shows every notebook; the others show those that have something to move.
CASES = [
    (front_end, path)
    for front_end in FRONT_ENDS
    for path in NOTEBOOKS
    if front_end is FRONT_ENDS[0] or promised(path)
]


class Opened:
    """A notebook in a front end, all cells run.

    Attributes:
        where: front end and notebook, for messages.
        explorers: those found on the page.
    """

    def __init__(self, page, front_end, path):
        self.page, self.front_end = page, front_end
        self.where = f"{front_end}, {path.name}"
        drawn = "() => explorers.find().filter((part) => explorers.look(part).background).length"
        expected = promised(path)
        assert comes_true(page, f"count => ({drawn})() >= count", expected, seconds=30), (
            f"{self.where}: {page.evaluate(drawn)} explorers on the page; its cells make {expected}"
        )
        parts = page.evaluate_handle("() => explorers.find()").get_properties().values()
        self.explorers = [Explorer(page, part.as_element(), self.where, front_end.arrow) for part in parts]
        with_controls = sum(bool(explorer.controls) for explorer in self.explorers)
        assert with_controls == len(second_controls(path)), (
            f"{self.where}: {with_controls} have second controls"
        )

    def in_turn(self):
        """Yield the explorers, each in view and standing still when its turn comes."""
        for explorer in self.explorers:
            explorer.ready()
            yield explorer


@contextmanager
def opened(front_end, path, server, context):
    """Yield a notebook in a front end, all cells run, with what the console called an error since."""
    page = context.pages[0]
    page.errors = []

    def listen(message):
        if message.type == "error" and message.location["url"].startswith(server.url):
            page.errors.append(message.text)

    def note(error):
        if ITS_OWN not in str(error):
            page.errors.append(str(error))

    page.on("console", listen)
    page.on("pageerror", note)
    try:
        front_end.open(page, server, path)
        yield Opened(page, front_end, path)
        front_end.leave(page, server)
    except BaseException:
        page.goto("about:blank")  # the next notebook begins afresh
        raise
    finally:
        page.remove_listener("console", listen)
        page.remove_listener("pageerror", note)
