"""Runs notebooks in place and brings them into the one form that git keeps.

    python tools/execute.py [notebook ...]        all of notebooks/ without arguments

Each notebook runs from the top in a fresh kernel, in its own folder. One that raises an error or
writes to stderr is refused: its file stays as it was, and the exit code is 1.
"""

import contextlib
import copy
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import nbclient
import nbformat
from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError

NOTEBOOKS = Path(__file__).resolve().parent.parent / "notebooks"
METADATA = {
    "kernelspec": {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"},
    "language_info": {"name": "python"},
}
WIDGET_VIEW = "application/vnd.jupyter.widget-view+json"
SECONDS_PER_CELL = 300


def read(path):
    """Return the notebook in a file; a cell without an id gets the same one in every run."""
    notebook = json.loads(path.read_text(encoding="utf-8"))
    _name_cells(notebook["cells"], path.stem)
    notebook["nbformat_minor"] = max(5, notebook["nbformat_minor"])
    return nbformat.reads(json.dumps(notebook), as_version=4)


def _name_cells(cells, name):
    # nbformat would fill in random ids, which differ between two runs.
    taken = set()
    for number, cell in enumerate(cells):
        wanted = cell.get("id") or re.sub(r"[^\w-]", "-", name, flags=re.ASCII)[:56]
        if "id" not in cell or wanted in taken:
            wanted = f"{wanted[:56]}-{number}"
        cell["id"] = wanted
        taken.add(wanted)


def run(notebook, folder, *, environment=None, store_widget_state=False):
    """Return a copy of the notebook, run from the top in a fresh kernel that was started in the folder.

    environment is that of the kernel; this process's own if None. The state of its widgets, with which
    they live on where no kernel is, goes into the metadata if that is asked.

    Raises:
        CellTimeoutError, DeadKernelError: the kernel gave no answer. A cell that raises is no exception
            here: the run ends at it, and the error is among its outputs.
    """
    executed = copy.deepcopy(notebook)
    client = nbclient.NotebookClient(
        executed,
        timeout=SECONDS_PER_CELL,
        kernel_name="python3",
        resources={"metadata": {"path": str(folder)}},
        store_widget_state=store_widget_state,
        record_timing=False,
    )
    with contextlib.suppress(CellExecutionError):  # `faults` finds it in the outputs
        client.execute(
            stderr=subprocess.DEVNULL, env=environment or os.environ
        )  # the kernel's own log; a cell's stderr is an output
    return executed


def faults(notebook):
    """Return a sentence for each output that must not be stored: an error, or text on stderr."""
    return [
        f"cell {number} {fault}"
        for number, cell in enumerate(notebook.cells, start=1)
        for output in cell.get("outputs", [])
        if (fault := _fault(output))
    ]


def _fault(output):
    if output.output_type == "error":
        return f"raised {output.ename}: {output.evalue}"
    if output.output_type == "stream" and output.name == "stderr":
        return f"wrote to stderr: {output.text.strip()}"
    return ""


def normalized(notebook):
    """Return a copy of the notebook without anything that depends on when, where and how it was saved."""
    cells, count = [], 0
    for cell in notebook.cells:
        kept = {key: cell[key] for key in ("id", "cell_type", "source")}
        kept["metadata"] = _cell_metadata(cell.metadata)
        if "attachments" in cell:
            kept["attachments"] = cell.attachments
        if cell.cell_type == "code":
            count += 1
            kept |= {"execution_count": count, "outputs": _outputs(cell.outputs, count)}
        cells.append(kept)
    return nbformat.from_dict(
        {"nbformat": 4, "nbformat_minor": 5, "metadata": copy.deepcopy(METADATA), "cells": cells}
    )


def _cell_metadata(metadata):
    kept = {key: metadata[key] for key in ("tags", "collapsed") if metadata.get(key)}
    if metadata.get("jupyter", {}).get("source_hidden"):
        kept["jupyter"] = {"source_hidden": True}
    return kept


def _outputs(outputs, count):
    kept = []
    for output in map(copy.deepcopy, outputs):
        if "data" in output:
            # The model it names lives in the kernel that has just ended; the picture and the words remain.
            output.data.pop(WIDGET_VIEW, None)
            output.metadata = {
                kind: {side: about[side] for side in ("width", "height")}
                for kind, about in output.metadata.items()
                if {"width", "height"} <= set(about)  # the size a picture takes on the page
            }
        if "execution_count" in output:
            output.execution_count = count
        if kept and _same_stream(kept[-1], output):
            kept[-1].text += output.text
        elif output.get("data") != {}:
            kept.append(output)
    return kept


def _same_stream(one, other):
    return one.output_type == other.output_type == "stream" and one.name == other.name


def as_text(notebook):
    """Return the text of the notebook's file, laid out as JupyterLab saves it."""
    return nbformat.writes(notebook, version=4, indent=1, ensure_ascii=False).rstrip("\n") + "\n"


def write(path, notebook):
    """Write a notebook to its file, if that changes it."""
    text = as_text(notebook)
    if text != path.read_text(encoding="utf-8"):
        path.write_text(text, encoding="utf-8", newline="\n")


def execute(path):
    """Run and normalize the notebook in a file; return what is wrong, and then leave the file as it was."""
    try:
        executed = run(read(path), path.resolve().parent)
    except (CellTimeoutError, DeadKernelError) as error:
        return [str(error).strip().splitlines()[0]]
    wrong = faults(executed)
    if not wrong:
        write(path, normalized(executed))
    return wrong


def main(arguments):
    """Execute the notebooks named, or all of them; return the exit code."""
    failed = False
    for path in [Path(name) for name in arguments] or sorted(NOTEBOOKS.glob("*.ipynb")):
        wrong = execute(path)
        failed |= bool(wrong)
        print(f"{path.name}: {'refused, file unchanged' if wrong else 'ok'}", flush=True)
        for sentence in wrong:
            print(f"    {sentence}", file=sys.stderr, flush=True)
    return int(failed)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
