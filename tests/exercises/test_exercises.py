"""Every exercise: right answers in two styles, wrong ones recognised by name, nothing and nonsense.

The answers are in `answers`, a table a module of `bnlab.exercises`. An exercise without an entry fails, and
so does a mistake without a wrong answer that makes it.
"""

import ast
import importlib
import importlib.util
import inspect
import pkgutil
import textwrap
from pathlib import Path

import pytest

from bnlab import exercises
from bnlab.judging import verdicts

TABLES = Path(__file__).parent / "answers"
NOTEBOOKS = Path(__file__).parents[2] / "notebooks"
JUDGES = ("judge", "judge_value", "judge_proposal")


def modules():
    names = {info.name for info in pkgutil.iter_modules(exercises.__path__)}
    return {name: importlib.import_module(f"bnlab.exercises.{name}") for name in sorted(names)}


def public_functions(module):
    found = inspect.getmembers(module, inspect.isfunction)
    return {
        name: function
        for name, function in found
        if not name.startswith("_") and function.__module__ == module.__name__
    }


def table(name):
    path = TABLES / f"{name}.py"
    if not path.exists():
        return {}
    spec = importlib.util.spec_from_file_location(f"answers_{name}", path)
    loaded = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(loaded)
    return loaded.ANSWERS


MODULES = modules()
TABLED = {name: table(name) for name in MODULES}
EXERCISES = [(name, title) for name, module in MODULES.items() for title in public_functions(module)]
KNOWN = [(name, title) for name, title in EXERCISES if title in TABLED[name]]
RIGHT = [(*key, n) for key in KNOWN for n in range(len(TABLED[key[0]][key[1]]["right"]))]
WRONG = [(*key, mistake) for key in KNOWN for mistake in TABLED[key[0]][key[1]]["wrong"]]


def check(name, title, answer):
    more = TABLED[name][title].get("arguments", {})
    return public_functions(MODULES[name])[title](answer, **more)


@pytest.mark.parametrize(("name", "title"), EXERCISES)
def test_every_exercise_is_stated_and_has_answers(name, title):
    answers = TABLED[name].get(title)
    assert answers, f"answers/{name}.py has no entry for {title}"
    assert len(answers["right"]) >= 2
    assert len(answers["wrong"]) >= 3
    assert "Args:\n        answer: " in public_functions(MODULES[name])[title].__doc__


def test_a_notebook_and_its_exercises_have_one_name():
    notebooks = {path.stem[3:].replace("-", "_") for path in NOTEBOOKS.glob("*.ipynb")}
    assert set(MODULES) == notebooks - {"start_here"}


@pytest.mark.parametrize("name", MODULES)
def test_no_answers_are_left_over_and_three_exercises_are_there(name):
    assert set(TABLED[name]) == set(public_functions(MODULES[name]))
    assert len(TABLED[name]) >= 3


@pytest.mark.parametrize(("name", "title"), KNOWN)
def test_nothing_is_not_attempted_yet(name, title):
    for blank in (None, ..., lambda *anything: None):
        verdict = check(name, title, blank)
        assert (str(verdict), verdict.right, verdict.mistake) == ("not attempted yet", False, None)


@pytest.mark.parametrize(("name", "title", "number"), RIGHT)
def test_a_right_answer_is_right(name, title, number):
    verdict = check(name, title, TABLED[name][title]["right"][number])
    assert verdict.right, str(verdict)
    assert "\n" not in str(verdict)


@pytest.mark.parametrize(("name", "title", "mistake"), WRONG)
def test_a_wrong_answer_is_recognised_by_name(name, title, mistake):
    verdict = check(name, title, TABLED[name][title]["wrong"][mistake])
    assert not verdict.right
    assert verdict.mistake == mistake, str(verdict)
    assert str(verdict).startswith(f"not yet ({mistake}): ")
    assert "\n" not in str(verdict)
    assert len(str(verdict)) < 200


def faults_of(function):
    """Return the names in a function's `return "name", hint`."""
    found = ast.walk(ast.parse(textwrap.dedent(inspect.getsource(function))))
    pairs = [node for node in found if isinstance(node, ast.Tuple) and len(node.elts) == 2]
    return {
        name.value
        for name, hint in (pair.elts for pair in pairs)
        if isinstance(getattr(name, "value", None), str)
        and isinstance(hint, ast.Constant | ast.JoinedStr | ast.Name)
    }


@pytest.mark.parametrize(("name", "title"), KNOWN)
def test_every_mistake_that_it_knows_has_a_wrong_answer(name, title, monkeypatch):
    known = set()

    def spy(answer, **given):
        for kind in ("mistakes", "symptoms"):
            known.update(given.get(kind) or {})
        if "fault_of" in given:
            known.update(faults_of(given["fault_of"]))
        return verdicts.NOT_ATTEMPTED

    for judge in JUDGES:
        if hasattr(MODULES[name], judge):
            monkeypatch.setattr(MODULES[name], judge, spy)
    check(name, title, None)
    assert len(known) >= 3
    assert known - set(TABLED[name][title]["wrong"]) == set()


def fails(*anything):
    raise ZeroDivisionError("a slip")


@pytest.mark.parametrize(("name", "title"), KNOWN)
def test_an_answer_that_fails_is_told_kindly(name, title):
    for answer in (fails, "?", object(), {}):
        verdict = check(name, title, answer)
        assert not verdict.right
        assert str(verdict).startswith("not yet")
        assert "\n" not in str(verdict)
