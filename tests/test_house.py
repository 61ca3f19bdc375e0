"""The rules of the house that a test can hold; who may import whom is held by `make lint`.

The contract in pyproject.toml has the floors, from the top: so the last two are the maths and the cellar.
"""

import ast
import pkgutil
import re
import statistics
import subprocess
import sys
import tomllib
from pathlib import Path

import nbformat
import pytest

import bnlab

PACKAGE = Path(bnlab.__file__).parent
ROOT = PACKAGE.parent
FILES = sorted(PACKAGE.rglob("*.py"))
MODULES = [module.name for module in pkgutil.walk_packages(bnlab.__path__, "bnlab.")]
HEAVY = {"tensorflow", "keras", "tf_keras", "ipywidgets", "matplotlib.pyplot"}


def floors():
    """Return the floors of the import contract, each a list of names."""
    with (ROOT / "pyproject.toml").open("rb") as file:
        (contract,) = tomllib.load(file)["tool"]["importlinter"]["contracts"]
    return [re.findall(r"\w+", layer) for layer in contract["layers"]]


MATHS, CELLAR = floors()[-2:]
# Whatever else these may load, they leave the heavy ones alone; their folders with all that is in them.
LIGHT = [*MATHS, *CELLAR, "workers", "ward", "judging", "exercises"]


def _loaded(module):
    code = f"import sys, {module}; print(*sys.modules)"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, encoding="utf-8", timeout=120)
    assert run.returncode == 0, run.stderr
    assert module in run.stdout.split()
    return set(run.stdout.split())


@pytest.mark.parametrize("module", [name for name in MODULES if name.split(".")[1] in LIGHT])
def test_light_modules_leave_the_heavy_ones_alone(module):
    assert not _loaded(module) & (HEAVY | {"matplotlib"})


@pytest.mark.parametrize("module", [f"bnlab.{name}" for name in (*MATHS, *CELLAR)])
def test_the_maths_loads_numpy_alone(module):
    of_numpy = _loaded("numpy")
    others = {name.partition(".")[0] for name in _loaded(module) - of_numpy}
    assert others - sys.stdlib_module_names == {"bnlab"}


@pytest.mark.parametrize(
    ("module", "absent"),
    [
        ("bnlab", HEAVY | {"numpy", "matplotlib"}),
        ("bnlab.exercises", HEAVY | {"numpy", "matplotlib"}),
        ("bnlab.figures", HEAVY),
        ("bnlab.sliders", HEAVY - {"ipywidgets"}),
        ("bnlab.tensorflow_setup", {"ipywidgets", "matplotlib"}),
        ("bnlab.update_ops", {"ipywidgets"}),  # TensorFlow by itself loads Keras 3, which loads matplotlib
        # A reader's own program keeps its GPU and its settings.
        ("bnlab.checkup", {"ipywidgets", "bnlab.tensorflow_setup"}),
    ],
)
def test_others_load_what_they_are_about_and_no_more(module, absent):
    assert not _loaded(module) & absent


def test_the_root_holds_what_notebooks_import_and_the_cellar():
    cells = [
        cell.source
        for path in ROOT.glob("notebooks/*.ipynb")
        for cell in nbformat.read(path, as_version=4).cells
        if cell.cell_type == "code"
    ]
    lines = [line for source in cells for line in source.splitlines() if "import" in line and "bnlab" in line]
    known = set(re.findall(r"\w+", "\n".join(lines)))
    doors = {path.stem for path in PACKAGE.glob("[a-z]*.py")}
    assert doors - known == set(CELLAR)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.relative_to(PACKAGE).as_posix())
def test_a_file_is_short_and_has_no_chapters(path):
    lines = path.read_text(encoding="utf-8").splitlines()
    assert len(lines) <= 400
    assert [line for line in lines if re.match(r"\s*# ?([-=]{3}|.*-{5}$)", line)] == []


def _bodies():
    """Return {function: lines of its body, without the docstring}; what it holds inside counts too."""
    lengths = {}
    for path in FILES:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef):
                documented = ast.get_docstring(node) is not None
                body = node.body[1:] if documented else node.body
                first = body[0].lineno if body else node.end_lineno + 1
                lengths[f"{path.stem}.{node.name}:{node.lineno}"] = node.end_lineno - first + 1
    return lengths


def test_a_body_fits_on_a_screen_and_half_of_them_into_a_glance():
    lengths = _bodies()
    assert {name: length for name, length in lengths.items() if length > 40} == {}
    assert statistics.median(lengths.values()) <= 6


def test_every_folder_of_the_package_is_packaged():
    with (ROOT / "pyproject.toml").open("rb") as file:
        found = tomllib.load(file)["tool"]["setuptools"]["packages"]["find"]
    assert found == {"include": ["bnlab*"]}
    for path in FILES:
        assert (path.parent / "__init__.py").is_file()


def _without_encoding(tree):
    """Yield the lines that read or write text, of a file or a process, in the encoding of the machine."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            given = {one.arg: one.value for one in node.keywords}
            name = getattr(node.func, "attr", None) or getattr(node.func, "id", "")
            # Where in the call the encoding or the mode of binary files may stand, without its name.
            first = {"read_text": node.args, "write_text": node.args[1:]}.get(name)
            if isinstance(node.func, ast.Name) and name == "open":
                modes = [ast.unparse(one) for one in [*node.args[1:2], *given.values()]]
                first = [mode for mode in modes if "b" in mode]
            decoded = "text=True" in map(ast.unparse, node.keywords)
            if "encoding" not in given and (decoded or first == []):
                yield node.lineno


@pytest.mark.parametrize("folder", ["bnlab", "tools", "tests"])
def test_text_is_read_and_written_in_a_named_encoding(folder):
    """That of the machine is another one on Windows."""
    for path in (ROOT / folder).rglob("*.py"):
        name, text = path.relative_to(ROOT).as_posix(), path.read_text(encoding="utf-8")
        assert (name, list(_without_encoding(ast.parse(text)))) == (name, [])


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.relative_to(PACKAGE).as_posix())
def test_what_is_printed_is_ascii(path):
    """A console of Windows cannot write every letter, and print would raise."""
    nodes = list(ast.walk(ast.parse(path.read_text(encoding="utf-8"))))
    docstrings = [node.body[0].value for node in nodes if _documented(node)]
    strings = [node.value for node in nodes if isinstance(node, ast.Constant) and node not in docstrings]
    letters = {letter for string in strings if isinstance(string, str) for letter in string}
    drawn = {"\N{CHECK MARK}"} if path.name == "wiring.py" else set()
    assert {letter for letter in letters if not letter.isascii()} == drawn


def _documented(node):
    documented = ast.Module | ast.ClassDef | ast.FunctionDef
    return isinstance(node, documented) and ast.get_docstring(node) is not None
