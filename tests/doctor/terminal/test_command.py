"""`python -m bnlab.checkup` on saved models: exit codes, and one clear line where it cannot look."""

import gc
import os
import subprocess
import sys
import warnings
from pathlib import Path

import keras
import numpy as np
import pytest

import bnlab
from bnlab.checkup import checkup, main, recalibrate

layers = keras.layers


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Saved models and inputs, of all kinds."""
    path = tmp_path_factory.mktemp("a folder")
    keras.utils.set_random_seed(2)
    x = np.random.default_rng(2).normal(3, 2, (200, 4)).astype("float32")
    model = keras.Sequential(
        [keras.Input((4,)), layers.Dense(5), layers.BatchNormalization(), layers.Dense(1)]
    )
    model.compile("adam", "mse")
    model.save(path / "ill.keras")
    recalibrate(model, [x])
    model.save(path / "healthy.keras")
    one, two = keras.Input((4,), name="one"), keras.Input((4,), name="two")
    both = keras.Model([one, two], layers.BatchNormalization()(layers.Add()([one, two])))
    both.save(path / "both.keras")
    keras.Sequential([keras.Input((4,)), layers.Dense(1)]).save(path / "plain.keras")
    unsafe = [keras.Input((4,)), layers.Lambda(lambda y: y + 1), layers.BatchNormalization()]
    keras.Sequential(unsafe).save(path / "unsafe.keras")
    (path / "text.keras").write_text("no model", encoding="utf-8")
    np.savez(path / "x.npz", pixels=x)
    np.savez(path / "xy.npz", y=np.ones(200), x=x)
    np.savez(path / "ab.npz", a=x, b=x)
    np.savez(path / "two.npz", one=x, two=x)
    np.savez(path / "apart.npz", near=x, x=x + 9)
    np.savez(path / "none.npz")
    np.savez(path / "nan.npz", np.where(x > 5, np.nan, x))
    np.savez(path / "wide.npz", np.ones((9, 7)))
    np.save(path / "x.npy", x)
    np.savez(path / "objects.npz", np.array([{}, None], dtype=object))
    (path / "text.npz").write_text("no arrays", encoding="utf-8")
    return path


def command(folder, *arguments, python=()):
    line = [sys.executable, *python, "-m", "bnlab.checkup", *arguments]
    root = str(Path(bnlab.__file__).parents[1])
    environment = os.environ | {"PYTHONPATH": root}
    return subprocess.run(
        line, cwd=folder, env=environment, capture_output=True, encoding="utf-8", timeout=120
    )


@pytest.mark.parametrize(("name", "code"), [("healthy", 0), ("ill", 1)])
def test_prints_the_checkup_from_another_folder(folder, name, code):
    run = command(folder, f"{name}.keras", "x.npz")
    assert run.returncode == code, run.stderr
    with np.load(folder / "x.npz") as stored:
        assert (
            run.stdout == f"{checkup(keras.models.load_model(folder / f'{name}.keras'), stored['pixels'])}\n"
        )
    assert run.stderr == ""


def test_unusable_is_one_line_and_exit_code_2(folder):
    run = command(folder, "healthy.keras", "nan.npz")
    assert run.returncode == 2
    assert run.stdout == ""
    assert run.stderr == "error: x has NaN or infinity in it; expected finite values\n"


@pytest.mark.parametrize(
    ("model", "data", "message"),
    [
        ("text.keras", "x.npz", "text.keras cannot be loaded as a Keras model ("),
        ("unsafe.keras", "x.npz", "unsafe.keras cannot be loaded as a Keras model ("),
        ("x.npz", "x.npz", "x.npz cannot be loaded as a Keras model ("),
        ("plain.keras", "x.npz", "has no batch-norm layer"),
        ("healthy.keras", "text.npz", "text.npz cannot be read as an .npz ("),
        ("healthy.keras", "objects.npz", "objects.npz cannot be read as an .npz ("),
        ("healthy.keras", "none.npz", "none.npz has no array in it; expected one"),
        ("healthy.keras", "ab.npz", "ab.npz has the arrays a, b; choose one with --array"),
        ("healthy.keras", "wide.npz", "cannot be called on x of shape (9, 7) ("),
        ("both.keras", "x.npz", "cannot be called on x of shape (32, 4) ("),
    ],
)
def test_what_cannot_be_looked_at(folder, monkeypatch, capfd, model, data, message):
    monkeypatch.chdir(folder)
    assert main([model, data]) == 2
    told = capfd.readouterr()
    assert told.out == ""
    assert told.err.startswith("error: ")
    assert message in told.err
    assert told.err.count("\n") == 1


@pytest.mark.parametrize(
    ("model", "arguments", "code"),
    [
        ("healthy.keras", ["xy.npz"], 0),
        ("healthy.keras", ["ab.npz", "--array", "b"], 0),
        ("healthy.keras", ["apart.npz", "--array", "near"], 0),
        ("healthy.keras", ["apart.npz", "--array", "x"], 1),
        ("healthy.keras", ["apart.npz"], 1),
        ("both.keras", ["two.npz", "--array", "one"], 2),
        ("healthy.keras", ["x.npy", "--batch-size", "64"], 0),
        ("healthy.keras", ["x.npz", "--batch-size", "1"], 1),
        ("both.keras", ["two.npz"], 1),
    ],
)
def test_which_array_is_used(folder, monkeypatch, capfd, model, arguments, code):
    monkeypatch.chdir(folder)
    assert main([model, *arguments]) == code
    told = capfd.readouterr()
    assert (told.err == "") == (code < 2)
    assert ("batch-norm layers" in told.out) == (code < 2)


@pytest.mark.parametrize(
    ("arguments", "size"), [([], 32), (["--batch-size", "64"], 64), (["--batch-size", "7"], 7)]
)
def test_the_batch_size_is_used(folder, monkeypatch, capfd, arguments, size):
    monkeypatch.chdir(folder)
    with np.load("x.npz") as stored:
        expected = checkup(keras.models.load_model("ill.keras"), stored["pixels"], batch_size=size)
    assert main(["ill.keras", "x.npz", *arguments]) == 1
    assert capfd.readouterr().out == f"{expected}\n"
    assert f"in batches of {size}. " in str(expected)


@pytest.mark.parametrize("size", ["0", "-1"])
def test_an_unusable_batch_size_is_one_line(folder, monkeypatch, capfd, size):
    monkeypatch.chdir(folder)
    assert main(["ill.keras", "x.npz", "--batch-size", size]) == 2
    assert capfd.readouterr() == ("", f"error: batch_size is {size}; expected 1 or more\n")


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="the system does not list open descriptors")
@pytest.mark.parametrize(
    ("model", "data"),
    [
        ("healthy.keras", "x.npz"),
        ("healthy.keras", "x.npy"),
        ("healthy.keras", "ab.npz"),
        ("healthy.keras", "text.npz"),
        ("healthy.keras", "objects.npz"),
        ("healthy.keras", "nan.npz"),
        ("healthy.keras", "wide.npz"),
        ("text.keras", "x.npz"),
        ("plain.keras", "x.npz"),
    ],
)
def test_no_descriptor_stays_open_and_stderr_is_back(folder, monkeypatch, capfd, model, data):
    monkeypatch.chdir(folder)
    main([model, data])
    gc.collect()
    gc.disable()  # what only a collection would close counts as open
    try:
        before = sorted(os.listdir("/proc/self/fd"))
        main([model, data])
        assert sorted(os.listdir("/proc/self/fd")) == before
    finally:
        gc.enable()
    capfd.readouterr()
    os.write(2, b"heard")
    assert capfd.readouterr().err == "heard"


def test_warnings_and_log_lines_of_a_model_stay_out(folder, monkeypatch, capfd):
    def noisy(*_, **__):
        warnings.warn("odd", stacklevel=1)
        os.write(2, b"log line")
        raise ValueError("no use")

    monkeypatch.chdir(folder)
    monkeypatch.setattr(keras.models, "load_model", noisy)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        assert main(["ill.keras", "x.npz"]) == 2
    assert capfd.readouterr() == (
        "",
        "error: ill.keras cannot be loaded as a Keras model (ValueError: no use); load it in Python, then "
        "print(checkup(model, x))\n",
    )
    assert not caught


@pytest.mark.parametrize(
    ("model", "data", "message"),
    [
        (
            "missing.keras",
            "x.npz",
            "missing.keras is no file; expected a saved Keras model, such as model.keras",
        ),
        (
            "healthy.keras",
            "missing.npz",
            "missing.npz is no file; expected an .npz with a sample of the inputs",
        ),
    ],
)
def test_what_is_no_file(folder, monkeypatch, capfd, model, data, message):
    monkeypatch.chdir(folder)
    with pytest.raises(SystemExit, match=r"^2$"):
        main([model, data])
    assert capfd.readouterr() == ("", f"error: {message}\n")


def test_wrong_usage(capsys):
    with pytest.raises(SystemExit, match=r"^2$"):
        main(["only-a-model.keras"])
    assert "usage: python -m bnlab.checkup" in capsys.readouterr().err


@pytest.mark.parametrize("arguments", [["missing.keras", "x.npz"], ["healthy.keras"], ["--help"]])
def test_what_needs_no_keras_is_told_without_it(folder, arguments):
    run = command(folder, *arguments, python=("-X", "importtime"))
    assert run.returncode == (0 if arguments == ["--help"] else 2)
    loaded = {line.split("|")[-1].strip() for line in run.stderr.splitlines() if "import time:" in line}
    assert "argparse" in loaded
    assert not loaded & {"keras", "tensorflow"}
