"""The floors of the package: what a module may import, read from its source and seen at run time."""

import ast
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import bnlab

PACKAGE = Path(bnlab.__file__).parent
FLOORS = {
    "batch_norm": 0,
    "moving_average": 0,
    "data": 0,
    "merging": 0,
    "folding": 0,
    "checkup_table": 0,
    "figures": 1,
    "overlays": 1,
    "tensorflow_setup": 1,
    "update_ops": 1,
    "workers": 1,
    "layer_inputs": 1,
    "layer_fit": 2,
    "checkup": 3,
    "ward": 4,
    "exercises.deadline": 0,
    "exercises.judging": 1,
    "sliders": 2,
}
# A module of exercises may ask all the others, when an answer is judged.
FLOORS |= {f"exercises.{path.stem}": 4 for path in PACKAGE.glob("exercises/[a-z]*.py")} | FLOORS
EXERCISES = [name for name in FLOORS if name.startswith("exercises.")]
BOTTOM = [name for name, floor in FLOORS.items() if floor == 0]
HEAVY = {"tensorflow", "keras", "tf_keras", "ipywidgets", "matplotlib.pyplot"}
# Whatever else a module may load, it must leave these alone.
ABSENT = {
    "bnlab": HEAVY | {"numpy", "matplotlib"},
    "bnlab.exercises": HEAVY | {"numpy", "matplotlib"},
    **{f"bnlab.{name}": HEAVY | {"matplotlib"} for name in EXERCISES},
    **{f"bnlab.{name}": HEAVY | {"matplotlib"} for name in BOTTOM},
    "bnlab.figures": HEAVY,
    "bnlab.overlays": HEAVY,
    "bnlab.tensorflow_setup": {"ipywidgets", "matplotlib"},
    "bnlab.update_ops": {"ipywidgets"},  # TensorFlow by itself loads Keras 3, which loads matplotlib
    "bnlab.workers": HEAVY | {"numpy", "matplotlib"},
    "bnlab.layer_inputs": {"ipywidgets"},
    "bnlab.layer_fit": {"ipywidgets"},
    "bnlab.checkup": {"ipywidgets"},
    "bnlab.ward": HEAVY | {"matplotlib"},
    "bnlab.sliders": HEAVY - {"ipywidgets"},
}


def test_every_module_has_a_floor():
    paths = [path.relative_to(PACKAGE).with_suffix("") for path in PACKAGE.rglob("*.py")]
    found = {".".join(path.parts) for path in paths if path.name != "__init__"}
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
    names, path = set(), PACKAGE / f"{name.replace('.', '/')}.py"
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{name} has a relative import, which this test cannot follow"
            assert all(alias.name != "*" for alias in node.names)
            if node.module in ("bnlab", "bnlab.exercises"):
                names |= {f"{node.module}.{alias.name}" for alias in node.names}
            else:
                names.add(node.module)
    return names


@pytest.mark.parametrize("name", FLOORS)
def test_a_module_imports_only_from_below_its_floor(name):
    ours = {other.removeprefix("bnlab.") for other in _imported(name) if other.startswith("bnlab.")}
    assert ours <= set(FLOORS)
    assert {other for other in ours if FLOORS[other] >= FLOORS[name]} == set()


@pytest.mark.parametrize("name", BOTTOM)
def test_the_bottom_floor_stands_on_numpy_and_python_alone(name):
    roots = {other.split(".")[0] for other in _imported(name)}
    assert roots - sys.stdlib_module_names <= {"numpy"}


@pytest.mark.parametrize("name", EXERCISES)
def test_exercises_stand_on_numpy_and_python_at_import(name):
    tree = ast.parse((PACKAGE / f"{name.replace('.', '/')}.py").read_text(encoding="utf-8"))
    tops = [node for node in tree.body if isinstance(node, ast.Import | ast.ImportFrom)]
    roots = {getattr(node, "module", None) or node.names[0].name for node in tops}
    assert {root.split(".")[0] for root in roots} - sys.stdlib_module_names <= {"numpy", "bnlab"}


@pytest.mark.parametrize("name", ["__init__", "exercises.__init__"])
def test_the_package_itself_imports_nothing(name):
    assert _imported(name) == set()


def test_every_folder_of_the_package_is_packaged():
    with (PACKAGE.parent / "pyproject.toml").open("rb") as file:
        packaged = tomllib.load(file)["tool"]["setuptools"]["packages"]
    folders = [path.parent.relative_to(PACKAGE.parent) for path in PACKAGE.rglob("__init__.py")]
    assert set(packaged) == {".".join(folder.parts) for folder in folders}
