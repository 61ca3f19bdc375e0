"""The floors of the package: what a module may import, read from its source and seen at run time."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import bnlab

PACKAGE = Path(bnlab.__file__).parent
FLOORS = {
    "batch_norm": 0,
    "moving_average": 0,
    "data": 0,
    "figures": 1,
    "overlays": 1,
    "tensorflow_setup": 1,
    "update_ops": 1,
    "sliders": 2,
}
BOTTOM = [name for name, floor in FLOORS.items() if floor == 0]
HEAVY = {"tensorflow", "keras", "tf_keras", "ipywidgets", "matplotlib.pyplot"}
# Whatever else a module may load, it must leave these alone.
ABSENT = {
    "bnlab": HEAVY | {"numpy", "matplotlib"},
    **{f"bnlab.{name}": HEAVY | {"matplotlib"} for name in BOTTOM},
    "bnlab.figures": HEAVY,
    "bnlab.overlays": HEAVY,
    "bnlab.tensorflow_setup": {"ipywidgets", "matplotlib"},
    "bnlab.update_ops": {"ipywidgets"},  # TensorFlow by itself loads Keras 3, which loads matplotlib
    "bnlab.sliders": HEAVY - {"ipywidgets"},
}


def test_every_module_has_a_floor():
    found = {path.stem for path in PACKAGE.glob("*.py")} - {"__init__"}
    assert found == set(FLOORS)


@pytest.mark.parametrize("module", ABSENT)
def test_importing_a_module_leaves_the_heavy_ones_alone(module):
    code = f"import sys, {module}; print(*sys.modules)"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert run.returncode == 0, run.stderr
    loaded = set(run.stdout.split())
    assert module in loaded
    assert not loaded & ABSENT[module]


def _imported(name):
    """Return the full names of what a module's source imports, at its top and inside functions."""
    names = set()
    for node in ast.walk(ast.parse((PACKAGE / f"{name}.py").read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{name} has a relative import, which this test cannot follow"
            assert all(alias.name != "*" for alias in node.names)
            if node.module == "bnlab":
                names |= {f"bnlab.{alias.name}" for alias in node.names}
            else:
                names.add(node.module)
    return names


@pytest.mark.parametrize("name", FLOORS)
def test_a_module_imports_only_from_below_its_floor(name):
    ours = {other.split(".")[1] for other in _imported(name) if other.startswith("bnlab.")}
    assert ours <= set(FLOORS)
    assert {other for other in ours if FLOORS[other] >= FLOORS[name]} == set()


@pytest.mark.parametrize("name", BOTTOM)
def test_the_bottom_floor_stands_on_numpy_and_python_alone(name):
    roots = {other.split(".")[0] for other in _imported(name)}
    assert roots - sys.stdlib_module_names <= {"numpy"}


def test_the_package_itself_imports_nothing():
    assert _imported("__init__") == set()
