import subprocess
from pathlib import Path

import pytest
import quick

FILES = {
    "bnlab/words.py": "",
    "bnlab/doctor/fit.py": "",
    "bnlab/doctor/odd.py": "",
    "tests/test_words.py": "import bnlab",
    "tests/test_figures.py": "import subprocess",
    "tests/doctor/conftest.py": "import keras",
    "tests/doctor/patients.py": "",
    "tests/doctor/test_fit.py": "",
    "tests/doctor/test_sample.py": "",
    "tests/browser/test_pages.py": "",
}


def git(folder, *words):
    named = ["-c", "user.name=a", "-c", "user.email=a@example.org"]
    subprocess.run(["git", *named, *words], cwd=folder, check=True, capture_output=True)


@pytest.fixture
def checkout(tmp_path):
    for name, text in FILES.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text, encoding="utf-8")
    git(tmp_path, "init", "-q", "-b", "main")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-q", "-m", "all")
    return tmp_path


def chosen(root):
    return {path.as_posix() for path in quick.chosen(root)}


def test_an_unchanged_checkout_runs_what_needs_no_tensorflow_and_no_process(checkout):
    assert chosen(checkout) == {"tests/test_words.py"}


@pytest.mark.parametrize(
    ("change", "more"),
    [
        ("bnlab/doctor/fit.py", {"tests/doctor/test_fit.py"}),
        ("bnlab/doctor/odd.py", {"tests/doctor/test_fit.py", "tests/doctor/test_sample.py"}),
        ("tests/doctor/test_sample.py", {"tests/doctor/test_sample.py"}),
        ("tests/doctor/patients.py", {"tests/doctor/test_fit.py", "tests/doctor/test_sample.py"}),
        ("bnlab/figures.py", {"tests/test_figures.py"}),
        ("bnlab/words.py", set()),
        ("README.md", set()),
    ],
)
def test_a_change_runs_what_it_is_the_subject_of(checkout, change, more):
    (checkout / change).write_text("changed = True", encoding="utf-8")
    assert chosen(checkout) == {"tests/test_words.py"} | more


def test_what_the_branch_has_committed_is_a_change_too(checkout):
    git(checkout, "switch", "-q", "-c", "mine")
    (checkout / "bnlab/doctor/fit.py").write_text("changed = True", encoding="utf-8")
    git(checkout, "commit", "-q", "-a", "-m", "mine")
    assert chosen(checkout) == {"tests/test_words.py", "tests/doctor/test_fit.py"}


def test_without_git_nothing_counts_as_changed(checkout):
    (checkout / ".git").rename(checkout / "gone")
    assert chosen(checkout) == {"tests/test_words.py"}
    assert quick.changed(Path(checkout / "bnlab")) == []
