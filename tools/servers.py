"""Runs a real Jupyter server to test or to measure: on loopback, with a token, in folders of its own."""

import json
import os
import secrets
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import nbformat

ROOT = Path(__file__).resolve().parents[1]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("[0-9]*.ipynb"))
# Of JupyterLab and Notebook 7, started with --expose-app-in-browser: the open notebook can be run.
KERNEL_IDLE = (
    "() => window.jupyterapp?.shell?.currentWidget?.sessionContext?.session?.kernel?.status === 'idle'"
)
# What would ask a host outside, or ask the reader, at the first start.
QUIET = {
    "@jupyterlab/apputils-extension/notification": '{"fetchNews": "false", "checkForUpdates": false}',
}


class Server:
    """A front end that serves a copy of the notebooks, without their outputs.

    Args:
        command: what follows `python -m` up to the options of the front end.
        token_option: the option that sets the token.
        folder: an empty folder: configuration, data and notebooks are put in there.
        kernel_of: function of a notebook's file name that returns the command of its kernel, with
            "{connection_file}" in it; None for the usual kernel.
        settings: {extension: JSON} of settings of the reader's own.

    Attributes:
        url: address of the server, with a slash at the end.
        token: what the browser has to show.
    """

    def __init__(self, command, token_option, folder, *, kernel_of=None, settings=None):
        self.token = secrets.token_hex(16)
        self.url = f"http://127.0.0.1:{_free_port()}/"
        self._log = folder / "server.log"
        notebooks = folder / "notebooks"
        shutil.copytree(ROOT / "notebooks", notebooks, ignore=shutil.ignore_patterns(".*"))
        for path in notebooks.glob("*.ipynb"):
            kernel = "python3"
            if kernel_of:
                kernel = path.stem
                _install(folder / "data" / "kernels" / kernel, kernel_of(path.name))
            _clear(path, kernel)
        for name, text in (QUIET | (settings or {})).items():
            file = folder / "config" / "lab" / "user-settings" / f"{name}.jupyterlab-settings"
            file.parent.mkdir(parents=True)
            file.write_text(text, encoding="utf-8")
        port = self.url.split(":")[2].strip("/")
        options = ["--no-browser", f"--port={port}", f"{token_option}={self.token}"]
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", *command, *options],
                cwd=notebooks,
                env=_environment(folder),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        try:
            self._wait(60)
        except BaseException:
            self.stop()
            raise

    def stop(self):
        """End the server; it ends its kernels."""
        self._process.terminate()
        try:
            self._process.wait(20)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def request(self, path, method="GET"):
        """Return what the server answers, as bytes."""
        headers = {"Authorization": f"token {self.token}"}
        request = urllib.request.Request(self.url + path, method=method, headers=headers)
        with urllib.request.urlopen(request, timeout=10) as answer:
            return answer.read()

    def log(self):
        """Return the end of what the server has said."""
        return self._log.read_text(errors="replace", encoding="utf-8")[-3000:]

    def _wait(self, seconds):
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if self._process.poll() is not None:
                raise RuntimeError(f"the server ended at its start:\n{self.log()}")
            try:
                self.request("")
            except urllib.error.HTTPError:
                return  # it answers
            except OSError:
                time.sleep(0.1)
            else:
                return
        raise RuntimeError(f"the server did not answer within {seconds} seconds:\n{self.log()}")


def code_cells(path):
    """Return the source of each code cell of a notebook that is not empty."""
    cells = nbformat.read(path, as_version=4).cells
    return [cell.source for cell in cells if cell.cell_type == "code" and cell.source.strip()]


def _clear(path, kernel):
    """Name its kernel in a notebook and take the outputs out: what a test sees comes from its own run."""
    notebook = nbformat.read(path, as_version=4)
    notebook.metadata.kernelspec = {"name": kernel, "display_name": kernel, "language": "python"}
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
    nbformat.write(notebook, path)


def _install(folder, command):
    """Write down in a new folder how the kernel with its name is started."""
    folder.mkdir(parents=True)
    told = {"argv": command, "display_name": folder.name, "language": "python"}
    (folder / "kernel.json").write_text(json.dumps(told), encoding="utf-8")


def _environment(folder):
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("JUPYTER", "IPYTHON"))}
    own = {
        "JUPYTER_CONFIG_DIR": folder / "config",
        "JUPYTER_DATA_DIR": folder / "data",
        "JUPYTER_RUNTIME_DIR": folder / "runtime",
        "IPYTHONDIR": folder / "ipython",
        "PYTHONPATH": os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")])),
    }
    return kept | {name: str(value) for name, value in own.items()}


def _free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
