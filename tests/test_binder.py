import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
BINDER = ROOT / "binder"
SCRIPTS = [BINDER / "postBuild", BINDER / "start"]
BY_NAME = {"ids": lambda path: path.name}
posix = pytest.mark.skipif(os.name != "posix", reason="bash and the rights of files")


def requirements(path):
    lines = (line.partition("#")[0].strip() for line in path.read_text(encoding="utf-8").splitlines())
    return [line for line in lines if line]


def in_post_build(line):
    return line == "-e ." or line.startswith("tf-keras")


def commands(script):
    lines = script.read_text(encoding="utf-8").splitlines()
    return [line for line in lines if line and not line.startswith("#")]


def test_requirements_are_the_learners_as_a_flat_list_with_the_small_wheel():
    learners = requirements(ROOT / "requirements.txt")
    small = [re.sub(r"^tensorflow(?=[<>=])", "tensorflow-cpu", line) for line in learners]
    assert requirements(BINDER / "requirements.txt") == [line for line in small if not in_post_build(line)]
    assert "tensorflow-cpu" in (BINDER / "requirements.txt").read_text(encoding="utf-8")
    assert not any(line.startswith("-") for line in requirements(BINDER / "requirements.txt"))


def test_post_build_installs_the_rest_and_nothing_that_it_depends_on():
    rest = filter(in_post_build, requirements(ROOT / "requirements.txt"))
    install = "python -m pip install --no-cache-dir --no-deps"
    wanted = [f"{install} {line if line == '-e .' else repr(line)}" for line in rest]
    installs = [line.replace('"', "'") for line in commands(SCRIPTS[0]) if "pip install" in line]
    assert installs == wanted
    assert len(wanted) == 2


def test_runtime_is_the_python_that_the_service_knows_by_this_name():
    assert (BINDER / "runtime.txt").read_text(encoding="utf-8") == "python-3.12\n"


@posix
@pytest.mark.parametrize("script", SCRIPTS, **BY_NAME)
def test_scripts_stop_at_the_first_failure(script):
    assert script.read_text(encoding="utf-8").startswith("#!/bin/bash\n")
    assert commands(script)[0] == "set -euo pipefail"
    assert os.access(script, os.X_OK)
    assert subprocess.run(["bash", "-n", script], check=False).returncode == 0


@posix
def test_start_sets_the_environment_and_becomes_the_server():
    start = BINDER / "start"
    assert commands(start)[-1] == 'exec "$@"'
    shown = subprocess.run([start, "env"], capture_output=True, encoding="utf-8", check=True).stdout
    for line in ("TF_USE_LEGACY_KERAS=1", "TF_CPP_MIN_LOG_LEVEL=3", "OMP_NUM_THREADS=1"):
        assert line in shown.splitlines()
    assert subprocess.run([start, "sh", "-c", "exit 7"], check=False).returncode == 7


@pytest.fixture
def dockerfile(tmp_path, monkeypatch):
    reason = "jupyter-repo2docker is not installed; it is in the dev extra"
    app = pytest.importorskip("repo2docker.app", reason=reason)
    for name in ("requirements.txt", "pyproject.toml"):
        shutil.copy(ROOT / name, tmp_path)
    shutil.copytree(BINDER, tmp_path / "binder")
    monkeypatch.chdir(tmp_path)
    packs = (pack("base-image") for pack in app.Repo2Docker().buildpacks)
    pack = next(pack for pack in packs if pack.detect())
    assert type(pack).__name__ == "PythonBuildPack"
    pack.platform = "linux/amd64"
    return pack.render()


def test_dockerfile_installs_before_it_copies_so_that_an_edit_keeps_the_layer(dockerfile):
    steps = [
        "environment-2epy-2d3-2e12",  # Python 3.12, in the spelling of a build context
        "COPY --chown=1000:1000 src/binder/requirements.txt ${REPO_DIR}/binder/requirements.txt",
        '/bin/pip install --no-cache-dir -r "binder/requirements.txt"',
        "COPY --chown=1000:1000 src/ ${REPO_DIR}/",
        "RUN ./binder/postBuild",
        'ENV R2D_ENTRYPOINT="${REPO_DIR}/binder/start"',
    ]
    places = [dockerfile.find(step) for step in steps]
    assert -1 not in places, dict(zip(steps, places, strict=True))
    assert places == sorted(places)


def test_dockerfile_installs_nothing_else(dockerfile):
    assert dockerfile.count("pip install") == 1


def test_scripts_run_where_git_turns_line_ends_into_those_of_windows(tmp_path):
    """Clone as Git for Windows does (`core.autocrlf`), with the attributes of this checkout."""
    source, clone = tmp_path / "source", tmp_path / "clone"
    shutil.copytree(BINDER, source / "binder")
    shutil.copy(ROOT / ".gitattributes", source)
    git = ["git", "-c", "user.name=a", "-c", "user.email=a@example.org", "-c", "core.autocrlf=true"]
    for words in (["init", "-q"], ["add", "."], ["commit", "-q", "-m", "all"]):
        subprocess.run([*git, *words], cwd=source, check=True)
    subprocess.run([*git, "clone", "-q", str(source), str(clone)], check=True)
    for script in SCRIPTS:
        assert b"\r" not in (clone / "binder" / script.name).read_bytes()
