"""Prints which tests to run after a small change, for `make quick`: no browser, no notebook, little waiting.

    python tools/quick.py

All test files that need neither TensorFlow nor another process, and of the others those of what has changed
since the branch left the main one: the files themselves, those beside a changed helper, and those named after
a changed file, as `tests/doctor/test_fit.py` is after `bnlab/doctor/fit.py`, or else after its folder.
"""

import re
import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SLOW = re.compile(
    r"\b(tensorflow|tensorflow_setup|keras|tf_keras|torch|onnx|update_ops|checkup|subprocess|execute)\b"
)


def is_slow(path, tests):
    """Tell whether a test file, or what is set up for its folder, imports or starts what takes seconds."""
    setups = (folder / "conftest.py" for folder in path.parents if folder.is_relative_to(tests))
    texts = [one.read_text(encoding="utf-8") for one in (path, *setups) if one.exists()]
    return any(SLOW.search(text) for text in texts)


def changed(root):
    """Return the files of a checkout that differ from where its branch left the main one, as paths in it."""
    start = "HEAD"
    for other in ("@{upstream}", "main"):
        found = _git(root, "merge-base", "HEAD", other)
        if found:
            [start] = found
            break
    new = _git(root, "ls-files", "--others", "--exclude-standard")
    return [Path(name) for name in _git(root, "diff", "--name-only", start) + new]


def _git(root, *words):
    """Return the lines that git says; none where it is missing or knows no answer."""
    try:
        done = subprocess.run(["git", *words], cwd=root, capture_output=True, encoding="utf-8", check=False)
    except OSError:
        return []
    return done.stdout.splitlines() if done.returncode == 0 else []


def of(change, tests):
    """Return those of the test files that a changed file is the subject of; all are paths from the top."""
    if change.parts[0] == "tests":
        helper = change.suffix == ".py" and not change.name.startswith("test_")
        return [test for test in tests if test == change or (helper and test.is_relative_to(change.parent))]
    if change.suffix != ".py":
        return []
    named = [test for test in tests if change.stem in (*test.parts, test.stem.removeprefix("test_"))]
    return named or [test for test in tests if change.parent.name in test.parts]


def chosen(root):
    """Return the test files to run, as paths from the top."""
    tests = root / "tests"
    files = [path for path in sorted(tests.rglob("test_*.py")) if tests / "browser" not in path.parents]
    slow = [path.relative_to(root) for path in files if is_slow(path, tests)]
    meant = {test for change in changed(root) for test in of(change, slow)}
    return [path for path in (file.relative_to(root) for file in files) if path not in slow or path in meant]


if __name__ == "__main__":
    print(*(path.as_posix() for path in chosen(ROOT)), sep="\n")
