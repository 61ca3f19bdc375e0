"""The stored outputs hold on a machine with an older processor and one thread, not only on this one."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

NOTEBOOKS = Path(__file__).resolve().parent.parent / "notebooks"


def older_machine():
    """Return an environment in which NumPy, OpenBLAS and TensorFlow compute as on an older machine."""
    newer_units = np.show_config(mode="dicts")["SIMD Extensions"].get("found", [])
    return os.environ | {
        "NPY_DISABLE_CPU_FEATURES": " ".join(newer_units),
        "OPENBLAS_CORETYPE": "Nehalem",
        "OMP_NUM_THREADS": "1",
        "TF_NUM_INTRAOP_THREADS": "1",
        "TF_NUM_INTEROP_THREADS": "1",
        "TF_ENABLE_ONEDNN_OPTS": "0",
    }


def run(code, environment):
    command = [sys.executable, "-c", code]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout.strip()


def test_the_older_machine_rounds_differently():
    """Else the next test would compare a machine with itself."""
    code = (
        "import numpy as np; x = np.random.default_rng(0).normal(size=(64, 64)); print((x @ x).sum().hex())"
    )
    assert run(code, older_machine()) != run(code, os.environ)


@pytest.mark.timeout(1200)
def test_every_notebook_prints_the_same_on_an_older_machine():
    command = [sys.executable, "-m", "pytest", "--nbval", str(NOTEBOOKS), "-q", "-p", "no:cacheprovider"]
    done = subprocess.run(command, env=older_machine(), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-6000:]
