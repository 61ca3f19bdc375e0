"""Runs each notebook once for all tests that look at what it gives: on an older machine, with both faces."""

import json
import os
import platform

import export
import nbformat
import numpy as np
from filelock import FileLock

X86 = platform.machine() in {"x86_64", "AMD64"}


def older_machine():
    """Return an environment in which NumPy, OpenBLAS and TensorFlow compute as on an older machine."""
    settings = {
        "OMP_NUM_THREADS": "1",
        "TF_NUM_INTRAOP_THREADS": "1",
        "TF_NUM_INTEROP_THREADS": "1",
        "TF_ENABLE_ONEDNN_OPTS": "0",
    }
    if X86:
        newer_units = np.show_config(mode="dicts")["SIMD Extensions"].get("found", [])
        settings |= {"NPY_DISABLE_CPU_FEATURES": " ".join(newer_units), "OPENBLAS_CORETYPE": "Nehalem"}
    return os.environ | settings


def folder(tmp_path_factory):
    """Return where the recordings of this test run are, whichever of its processes asks."""
    base = tmp_path_factory.getbasetemp()
    return (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "recorded"


def notebook(path, tmp_path_factory):
    """Return a notebook that has been run, with the state of its widgets; who asks first runs it."""
    file = folder(tmp_path_factory) / path.name
    file.parent.mkdir(exist_ok=True)
    with FileLock(f"{file}.lock"):
        if not file.exists():
            run = export.run(path, environment=older_machine(), store_widget_state=True)
            file.with_suffix(".part").write_text(json.dumps(run), encoding="utf-8")
            file.with_suffix(".part").rename(file)
    return nbformat.from_dict(json.loads(file.read_text(encoding="utf-8")))
