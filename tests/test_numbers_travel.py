"""The stored outputs hold on a machine with an older processor and one thread, not only on this one."""

import os
import subprocess
import sys

import execute
import pytest
import recorded
from servers import NOTEBOOKS


def run(code, environment):
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, env=environment, capture_output=True, check=True, encoding="utf-8")
    return done.stdout.strip()


@pytest.mark.skipif(not recorded.X86, reason="which units a processor lacks is known here of x86 alone")
def test_the_older_machine_rounds_differently():
    """Else the next test would compare a machine with itself."""
    code = (
        "import numpy as np; x = np.random.default_rng(0).normal(size=(64, 64)); print((x @ x).sum().hex())"
    )
    assert run(code, recorded.older_machine()) != run(code, os.environ)


def words(notebook):
    """Return what each cell gives; of a picture, its words."""
    cells = execute.normalized(notebook).cells
    for output in (output for cell in cells for output in cell.get("outputs", [])):
        if "image/png" in output.get("data", {}):
            output.data = {"text/plain": output.data["text/plain"]}
    return {cell.id: cell.outputs for cell in cells if cell.cell_type == "code"}


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_prints_the_same_on_an_older_machine(path, tmp_path_factory):
    notebook = recorded.notebook(path, tmp_path_factory)
    assert execute.faults(notebook) == []
    stored, older = words(execute.read(path)), words(notebook)
    assert older.keys() == stored.keys()
    for cell, outputs in stored.items():
        assert older[cell] == outputs, f"cell {cell}"
