"""The lists of what is installed say the same, wherever a reader is at home."""

import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parent.parent
BINDER = ROOT / "binder"
SCRIPTS = [BINDER / "postBuild", BINDER / "start"]
BY_NAME = {"ids": lambda path: path.name}
posix = pytest.mark.skipif(os.name != "posix", reason="bash and the rights of files")


def requirements(path):
    """Return the lines of a list, without what they say of the machine."""
    lines = path.read_text(encoding="utf-8").splitlines()
    return [line.partition(";")[0] for line in lines if line and not line.startswith("#")]


PACKAGE, *LEARNERS = requirements(ROOT / "requirements.txt")


def commands(script):
    lines = script.read_text(encoding="utf-8").splitlines()
    return [line for line in lines if line and not line.startswith("#")]


def test_pip_meets_the_package_first_and_every_other_line_has_an_upper_bound():
    assert PACKAGE == "-e ."
    assert all(re.fullmatch(r"[\w-]+>=[\d.]+,<[\d.]+", line) for line in LEARNERS), LEARNERS


def test_uv_installs_the_same_list():
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    assert {*settings["project"]["dependencies"], *settings["dependency-groups"]["dev"]} == set(LEARNERS)


def test_conda_leaves_the_list_to_pip():
    found = yaml.safe_load((ROOT / "environment.yml").read_text(encoding="utf-8"))
    python, *_, packages = found["dependencies"]
    assert python == "python=3.12"
    assert packages == {"pip": ["-r requirements.txt"]}


def test_the_container_installs_the_list_and_opens_the_start_page():
    lines = (ROOT / ".devcontainer" / "devcontainer.json").read_text(encoding="utf-8").splitlines()
    found = json.loads("\n".join(line for line in lines if not line.strip().startswith("//")))
    assert found["image"].endswith(":3.12")
    assert ".venv/bin/python -m pip install -r requirements.txt" in found["postCreateCommand"]
    assert found["customizations"]["vscode"]["settings"]["python.defaultInterpreterPath"].endswith(
        "/.venv/bin/python"
    )
    [opened] = found["customizations"]["codespaces"]["openFiles"]
    assert (ROOT / opened).name == "00-start-here.ipynb"
    assert (ROOT / opened).exists()


MACHINES = {
    "32 bits": "sys.maxsize = 2**31 - 1",
    "Darwin x86_64": "platform.system, platform.machine = lambda: 'Darwin', lambda: 'x86_64'",
    "Windows ARM64": "platform.system, platform.machine = lambda: 'Windows', lambda: 'ARM64'",
    "3.14.0": "sys.version_info = (3, 14, 0)",
}


@pytest.mark.skipif(not shutil.which("make") or os.name == "nt", reason="make and sh are not here")
@pytest.mark.parametrize("found", MACHINES)
def test_make_refuses_in_one_line_where_tensorflow_has_no_wheel(tmp_path, found):
    for name in ("Makefile", "pyproject.toml", "requirements.txt"):
        shutil.copy(ROOT / name, tmp_path)
    python = tmp_path / "python"
    patched = f"import sys, platform; {MACHINES[found]}; exec(sys.argv[1])"
    python.write_text(f'#!/bin/sh\nexec "{sys.executable}" -c "{patched}" "$2"\n', encoding="utf-8")
    python.chmod(0o755)
    made = subprocess.run(
        ["make", "lab", f"PYTHON={python}"], cwd=tmp_path, capture_output=True, encoding="utf-8", check=False
    )
    assert made.returncode != 0
    [line] = made.stderr.splitlines()
    assert "bnlab needs Python 3.11, 3.12 or 3.13 of 64 bits, and no Intel Mac" in line
    assert found in line
    assert not (tmp_path / ".venv").exists()


def test_binder_has_the_list_with_the_small_wheel_and_flat():
    small = [re.sub(r"^tensorflow(?=[<>=])", "tensorflow-cpu", line) for line in LEARNERS]
    wanted = [line for line in small if not line.startswith("tf-keras")]
    assert requirements(BINDER / "requirements.txt") == wanted


def test_post_build_installs_the_rest_and_nothing_that_it_depends_on():
    [tf_keras] = [line for line in LEARNERS if line.startswith("tf-keras")]
    install = "python -m pip install --no-cache-dir --no-deps"
    installs = [line for line in commands(SCRIPTS[0]) if "pip install" in line]
    assert installs == [f'{install} "{tf_keras}"', f"{install} -e ."]


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
    for name in ("requirements.txt", "pyproject.toml", "environment.yml"):
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
