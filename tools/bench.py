"""Measures what the project promises, and prints each figure beside its target.

    python tools/bench.py [notebooks] [speed] [imports] [memory] [sliders]     all five without arguments

Everything a figure is compared with is measured in the same run: an empty notebook, a plain copy, the
layers of TensorFlow. A machine that is busy or slow is busy or slow for both.
"""

import functools
import os
import pkgutil
import platform
import re
import statistics
import subprocess
import sys
import tempfile
import time
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import bench_sliders
import nbclient
import nbformat
import numpy as np
from tables import table, verdict

import bnlab
from bnlab.batch_norm import batch_moments, normalize

ROOT = Path(__file__).resolve().parent.parent
NOTEBOOKS = ROOT / "notebooks"
SHAPES = [(256, 1024), (64, 56, 56, 64)]
FLOOR_0 = {"bnlab.batch_norm", "bnlab.moving_average", "bnlab.data"}
EPSILON = 1e-3
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
    rows.append(["all", f"{total:.1f}", f"{floor_sum:.1f}", f"{ratio:.2f}", *verdict(ratio, 1.5)])
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
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
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


# Speed and accuracy of the maths ---------------------------------------------------------------------


def speed():
    """Return the tables of times and errors of the package and of TensorFlow, one for each shape."""
    return "\n\n".join(_speed_at(shape) for shape in SHAPES)


def _speed_at(shape):
    x, gamma, beta = _inputs(shape)
    calls = _calls(x, gamma, beta)
    times = _interleaved(calls, seconds=6.0)
    return f"{_time_table(shape, times)}\n\n{_error_table(_errors(calls, x, gamma, beta))}"


def _time_table(shape, times):
    """Return the times as multiples of a plain copy; normalize is to be ahead of the Keras layer."""
    multiples = {name: seconds / times["np.copyto"] for name, seconds in times.items()}
    limit = multiples["Keras layer, eager"]
    limit = min(limit, 3.5) if shape == SHAPES[0] else limit
    rows = []
    for name, multiple in multiples.items():
        target = verdict(multiple, limit) if name == "normalize" else ("", "")
        rows.append([name, f"{times[name] * 1e3:.3f}", f"{multiple:.1f}", *target])
    return table([f"{shape} float32", "ms", "x copyto", "target", ""], rows)


def _error_table(errors):
    """Return the errors of y; those of normalize are to be no larger than the smaller of TensorFlow's."""
    rows = []
    for column, name in enumerate(["root mean square", "largest"]):
        nearest = min(error[column] for who, error in errors.items() if who != "normalize")
        for who, error in errors.items():
            target = verdict(error[column], nearest) if who == "normalize" else ("", "")
            rows.append([f"{name}, {who}", f"{error[column]:.2e}", *target])
    return table(["error of y", "", "target", ""], rows)


def _inputs(shape):
    rng = np.random.default_rng(0)
    x = (rng.standard_normal(shape) * 2 + 3).astype("float32")
    gamma, beta = rng.uniform(0.5, 1.5, (2, shape[-1])).astype("float32")
    return x, gamma, beta


def _calls(x, gamma, beta):
    """Return a function without arguments for each thing to time; those that normalize return y."""
    import bnlab.tensorflow_setup  # noqa: F401, I001 - it has to come first
    import keras
    import tensorflow as tf

    copy, tensor = np.empty_like(x), tf.constant(x)
    fused = functools.partial(
        tf.raw_ops.FusedBatchNormV3,
        x=tf.reshape(tensor, (-1, *(1,) * (4 - x.ndim), *x.shape[1:])),
        scale=gamma,
        offset=beta,
        mean=np.empty(0, "float32"),
        variance=np.empty(0, "float32"),
        epsilon=EPSILON,
        is_training=True,
    )
    layer = keras.layers.BatchNormalization(epsilon=EPSILON)
    layer.build(x.shape)
    layer.gamma.assign(gamma)
    layer.beta.assign(beta)
    return {
        "np.copyto": lambda: np.copyto(copy, x),
        "batch_moments": lambda: batch_moments(x),
        "normalize": lambda: normalize(x, *batch_moments(x), gamma=gamma, beta=beta, epsilon=EPSILON),
        "FusedBatchNormV3": lambda: fused().y,
        "Keras layer, eager": lambda: layer(tensor, training=True),
    }


def _interleaved(calls, *, seconds):
    """Return the median seconds of each call; they take turns, so a slow moment hits them all."""
    times = {name: [] for name in calls}
    for call in calls.values():
        call()  # the first call of each also plans and allocates
    end = time.perf_counter() + seconds
    while time.perf_counter() < end or len(times["np.copyto"]) < 9:
        for name, call in calls.items():
            start = time.perf_counter()
            call()
            times[name].append(time.perf_counter() - start)
    return {name: statistics.median(spent) for name, spent in times.items()}


def _errors(calls, x, gamma, beta):
    """Return for each y its errors against extended precision: (root mean square, largest)."""
    results = {
        name: np.asarray(calls[name]()).reshape(x.shape)
        for name in ("normalize", "FusedBatchNormV3", "Keras layer, eager")
    }
    squares, largest = dict.fromkeys(results, 0.0), dict.fromkeys(results, 0.0)
    for feature in range(x.shape[-1]):  # one at a time: the whole of it would need 16 bytes a number
        column = x[..., feature].astype(np.longdouble)
        centred = column - column.mean()
        truth = centred / np.sqrt((centred**2).mean() + EPSILON) * gamma[feature] + beta[feature]
        for name, result in results.items():
            error = np.abs(result[..., feature] - truth)
            squares[name] += float((error**2).mean()) / x.shape[-1]
            largest[name] = max(largest[name], float(error.max()))
    return {name: (squares[name] ** 0.5, largest[name]) for name in results}


# Seconds of an import --------------------------------------------------------------------------------


def imports():
    """Return the table of import seconds in a fresh interpreter, NumPy's beside those of each module."""
    names = sorted(module.name for module in pkgutil.iter_modules(bnlab.__path__))
    seconds = _import_seconds(["sys", "numpy", *(f"bnlab.{name}" for name in names)])
    bare = seconds.pop("sys")
    rows = []
    for module, spent in seconds.items():
        target = verdict(spent - bare, 0.15) if module in FLOOR_0 else ("", "")
        rows.append([module, f"{spent - bare:.2f}", *target])
    return table(["import, without Python's own start", "s", "target", ""], rows)


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
        status = Path(f"/proc/{client.km.provisioner.pid}/status").read_text()
    return int(re.search(r"VmHWM:\s*(\d+)", status)[1]) / MEGABYTE


PARTS = {
    "notebooks": notebook_seconds,
    "speed": speed,
    "imports": imports,
    "memory": memory,
    "sliders": bench_sliders.sliders,
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
