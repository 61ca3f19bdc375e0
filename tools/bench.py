"""Measures what the project promises, and prints each figure beside its target.

    python tools/bench.py [notebooks] [speed] [imports] [memory] [sliders] [pages] [watch]

Without arguments it measures all of it.

Everything a figure is compared with is measured in the same run: an empty notebook, a plain copy, the
layers of TensorFlow. A machine that is busy or slow is busy or slow for both.
"""

import os
import pkgutil
import platform
import re
import statistics
import subprocess
import sys
import tempfile
import time
import tomllib
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import bench_pages
import bench_sliders
import bench_speed
import bench_watch
import nbclient
import nbformat
import numpy as np
from tables import table, verdict

import bnlab

ROOT = Path(__file__).resolve().parent.parent
NOTEBOOKS = ROOT / "notebooks"
MEGABYTE = 1024  # in the kB of /proc


def uses_tensorflow(path):
    """Tell whether the notebook's code imports TensorFlow, by itself or through the package."""
    cells = nbformat.read(path, as_version=4).cells
    code = "\n".join(cell.source for cell in cells if cell.cell_type == "code")
    loads = r"^\s*(import|from)\b[^#\n]*\b(tensorflow|tensorflow_setup|keras|update_ops)\b"
    return bool(re.search(loads, code, flags=re.MULTILINE))


# Seconds of the notebooks under nbval ----------------------------------------------------------------


def notebook_seconds():
    """Return the table of seconds per notebook and in all, over a floor of notebooks that do nothing."""
    with tempfile.TemporaryDirectory() as folder:
        _write_notebook(Path(folder) / "plain.ipynb", "pass")
        _write_notebook(Path(folder) / "tensorflow.ipynb", "import tensorflow")
        floors, floor_total = _pytest_seconds(folder)
    spent, total = _pytest_seconds(NOTEBOOKS)
    once = floor_total - sum(floors.values())
    rows, floor_sum = [], once
    for name, seconds in sorted(spent.items()):
        floor = floors["tensorflow" if uses_tensorflow(NOTEBOOKS / f"{name}.ipynb") else "plain"]
        floor_sum += floor
        rows.append([name, f"{seconds:.1f}", f"{floor:.1f}", f"{seconds / floor:.2f}", "", ""])
    rows.append(["(start of pytest)", f"{total - sum(spent.values()):.1f}", f"{once:.1f}", "", "", ""])
    ratio = total / floor_sum
    rows.append(["all", f"{total:.1f}", f"{floor_sum:.1f}", f"{ratio:.2f}", *verdict(ratio, 2)])
    return table(["pytest --nbval notebooks", "s", "floor s", "ratio", "target", ""], rows)


def _write_notebook(path, source):
    nbformat.write(nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source)]), path)


def _pytest_seconds(folder):
    """Return the seconds of each notebook, with its kernel's start and end, and those of the whole run."""
    with tempfile.TemporaryDirectory() as reports:
        report = Path(reports) / "report.xml"
        flags = ["--nbval", "--nbval-current-env", "-q", "-p", "no:cacheprovider"]
        command = [sys.executable, "-m", "pytest", *flags, f"--junit-xml={report}", str(folder)]
        start = time.perf_counter()
        done = subprocess.run(command, cwd=folder, capture_output=True, encoding="utf-8", check=False)
        total = time.perf_counter() - start
        if done.returncode:
            sys.exit(
                f"The notebooks in {Path(folder).name} fail, so their seconds mean nothing:\n{done.stdout}"
            )
        seconds = {}
        for case in ElementTree.parse(report).iter("testcase"):
            name = case.get("classname").removesuffix(".ipynb").rpartition(".")[2]
            seconds[name] = seconds.get(name, 0.0) + float(case.get("time"))
    return seconds, total


# Seconds of an import --------------------------------------------------------------------------------


def imports():
    """Return the table of import seconds in a fresh interpreter, NumPy's beside those of each module."""
    names = sorted(module.name for module in pkgutil.iter_modules(bnlab.__path__))
    seconds = _import_seconds(["sys", "numpy", *(f"bnlab.{name}" for name in names)])
    bare, maths = seconds.pop("sys"), _maths()
    rows = []
    for module, spent in seconds.items():
        target = verdict(spent - bare, 0.15) if module.removeprefix("bnlab.") in maths else ("", "")
        rows.append([module, f"{spent - bare:.2f}", *target])
    return table(["import, without Python's own start", "s", "target", ""], rows)


def _maths():
    """Return the modules of the last two floors of the import contract, which need NumPy alone."""
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    (contract,) = settings["tool"]["importlinter"]["contracts"]
    return set(re.findall(r"\w+", " ".join(contract["layers"][-2:])))


def _import_seconds(modules, *, repetitions=5):
    """Return the median seconds of a fresh interpreter that imports each; they take turns."""
    times = {module: [] for module in modules}
    for _ in range(repetitions):
        for module in modules:
            start = time.perf_counter()
            subprocess.run([sys.executable, "-c", f"import {module}"], capture_output=True, check=True)
            times[module].append(time.perf_counter() - start)
    return {module: statistics.median(spent) for module, spent in times.items()}


# Memory of the kernels -------------------------------------------------------------------------------


def memory():
    """Return the table of the peak memory of each notebook's kernel."""
    rows = []
    for path in sorted(NOTEBOOKS.glob("*.ipynb")):
        peak = _peak_megabytes(path)
        limit = 750 if uses_tensorflow(path) else 150
        rows.append([path.stem, f"{peak:.0f}", *verdict(peak, limit)])
    return table(["kernel", "peak MB", "target", ""], rows)


def _peak_megabytes(path):
    """Return the largest resident memory that a kernel had in running the notebook (Linux only)."""
    client = nbclient.NotebookClient(
        nbformat.read(path, as_version=4),
        timeout=300,
        kernel_name="python3",
        resources={"metadata": {"path": str(path.parent)}},
    )
    with client.setup_kernel(stderr=subprocess.DEVNULL):
        for number, cell in enumerate(client.nb.cells):
            client.execute_cell(cell, number)
        status = Path(f"/proc/{client.km.provisioner.pid}/status").read_text(encoding="utf-8")
    return int(re.search(r"VmHWM:\s*(\d+)", status)[1]) / MEGABYTE


PARTS = {
    "notebooks": notebook_seconds,
    "speed": bench_speed.speed,
    "imports": imports,
    "memory": memory,
    "sliders": bench_sliders.sliders,
    "pages": bench_pages.pages,
    "watch": bench_watch.watch,
}


def main(arguments):
    """Print the parts named, or all of them."""
    unknown = set(arguments) - set(PARTS)
    if unknown:
        sys.exit(f"There is no part {', '.join(sorted(unknown))}; choose from {', '.join(PARTS)}")
    print(f"Python {platform.python_version()}, NumPy {np.__version__}, {os.cpu_count()} CPUs")
    for name in arguments or PARTS:
        print(f"\n{PARTS[name]()}", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
