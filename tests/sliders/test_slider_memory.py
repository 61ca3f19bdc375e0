"""An afternoon of sliding leaves the kernel as large as it was."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

SESSION = """
import gc, os, sys
from pathlib import Path
import numpy as np
from bnlab import sliders

def megabytes():
    gc.collect()
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6

def play(explorer, moves, rebuilds):
    for move in range(moves):
        explorer.slider.index = move % len(explorer.slider.options)
    for rebuild in range(rebuilds):
        explorer.controls["debias"].value = not explorer.controls["debias"].value
        gc.collect()  # what is left is held by something; when Python collects is its own business

means = np.random.default_rng(0).normal(size=200)
explorer = sliders.decay_explorer(means)
play(explorer, 200, 20)  # until the allocator holds what one rebuild needs
before = megabytes()
play(explorer, 2000, 50)
print(megabytes() - before, "matplotlib.pyplot" in sys.modules)
"""


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="memory is read from /proc, as on Linux")
def test_2000_moves_and_50_rebuilds_leave_the_memory_flat_and_no_figure_open():
    # malloc keeps freed blocks for itself in one arena a thread; one arena makes the figure repeatable.
    environment = os.environ | {"MALLOC_ARENA_MAX": "1"}
    done = subprocess.run(
        [sys.executable, "-c", SESSION], env=environment, capture_output=True, encoding="utf-8", check=True
    )
    grown, pyplot = done.stdout.split()
    assert float(grown) < 5
    assert pyplot == "False"
