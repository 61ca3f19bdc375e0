"""What a path holds: a model that can be looked at, or a sentence that says what to do instead."""

import json
import sys
import types
import zipfile

import h5py
import keras
import numpy as np
import pytest
import tf_keras

from bnlab.checkup import checkup, main
from bnlab.doctor.terminal import model_files

layers, legacy = keras.layers, tf_keras.layers


class Mine(layers.Layer):
    """A layer that nobody registered."""

    def call(self, x):
        return x


@keras.saving.register_keras_serializable(package="shop")
class Sold(Mine):
    """A registered one."""


class MineOfKeras2(legacy.Layer):
    def call(self, x):
        return x


def net(*more):
    return keras.Sequential([keras.Input((4,)), *more, layers.BatchNormalization()])


def legacy_net(*more, shape=(4,)):
    return tf_keras.Sequential([legacy.Input(shape), *more, legacy.BatchNormalization()])


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Models of Keras 3 and of Keras 2, in all of their formats."""
    path = tmp_path_factory.mktemp("models")
    for name in ("plain.h5", "plain.hdf5", "plain.keras"):
        net().save(path / name)
    net().save_weights(path / "plain.weights.h5")
    for name in ("own.keras", "own.h5"):
        net(Mine(), Sold()).save(path / name)
        net(layers.Lambda(lambda y: y + 1)).save(path / f"lambda_{name}")
    for name in ("legacy.h5", "legacy.keras"):
        legacy_net(legacy.DepthwiseConv2D(3), shape=(8, 8, 3)).save(path / name)
        legacy_net(legacy.Lambda(lambda y: y + 1)).save(path / f"lambda_{name}")
        legacy_net(MineOfKeras2()).save(path / f"own_{name}")
    legacy_net().save_weights(path / "renamed.h5")
    legacy_net().save_weights(path / "checkpoint" / "ckpt")
    inputs = legacy.Input((4,))
    maths = tf_keras.Model(inputs, legacy.BatchNormalization()(2 * inputs[:, :2]))
    maths.save(path / "maths.h5")
    for name in ("a.onnx", "a.tflite", "a.pt", "a.pth", "a.pb", "saved_model.pb", "x.ckpt"):
        (path / name).touch()
    (path / "empty").mkdir()
    np.savez(path / "x.npz", x=np.random.default_rng(0).normal(3, 2, (200, 4)))
    return path


@pytest.mark.parametrize("name", ["plain.h5", "plain.hdf5", "plain.keras"])
def test_keras_3_is_loaded_as_such(folder, name):
    path = str(folder / name)
    assert model_files.refusal(path) is None
    assert isinstance(model_files.loaded(path), keras.Sequential)


@pytest.mark.parametrize("name", ["legacy.h5", "legacy.keras", "maths.h5"])
def test_what_only_tf_keras_reads_is_loaded_with_it(folder, name):
    path = str(folder / name)
    with pytest.raises((TypeError, ValueError)):
        keras.models.load_model(path, compile=False)
    model = model_files.loaded(path)
    stored = tf_keras.models.load_model(path)
    for ours, theirs in zip(model.get_weights(), stored.get_weights(), strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_a_saved_model_is_left_to_its_own_room(folder, monkeypatch):
    room = types.ModuleType("bnlab.doctor.models.saved_model")
    room.load = lambda path: ("loaded", path)
    monkeypatch.setitem(sys.modules, room.__name__, room)
    monkeypatch.setattr("bnlab.doctor.models.saved_model", room, raising=False)
    path = folder / "a_saved_model"
    path.mkdir()
    (path / "saved_model.pb").touch()
    assert model_files.refusal(str(path)) is None
    assert model_files.loaded(str(path)) == ("loaded", str(path))


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("plain.weights.h5", "has weights in it and no model; build the model in Python, load them"),
        ("checkpoint", "has weights in it and no model"),
        ("checkpoint/ckpt", "has weights in it and no model"),
        ("checkpoint/ckpt.index", "has weights in it and no model"),
        ("checkpoint/ckpt.data-00000-of-00001", "has weights in it and no model"),
        ("x.ckpt", "has weights in it and no model"),
        (
            "empty",
            "is a folder without saved_model.pb; expected a .keras file, an .h5 or a SavedModel folder",
        ),
        ("saved_model.pb", "is a part of a SavedModel; expected its folder, "),
        ("a.pb", "is a graph without a model; expected a .keras file"),
        ("a.tflite", "is a model of TensorFlow Lite; expected a .keras file"),
        ("a.onnx", "is a model in ONNX; expected a .keras file"),
        ("a.pt", "is a file of PyTorch; expected a .keras file"),
        ("a.pth", "is a file of PyTorch; expected a .keras file"),
        ("missing.keras", "is no file; expected a saved Keras model, such as model.keras"),
    ],
)
def test_what_is_seen_from_outside(folder, name, told):
    assert model_files.refusal(str(folder / name)).startswith(f"{folder / name} {told}")


@pytest.mark.parametrize("name", ["own.keras", "own.h5"])
def test_the_script_for_classes_of_ones_own_runs(folder, monkeypatch, capfd, name):
    monkeypatch.chdir(folder)
    monkeypatch.delitem(keras.saving.get_custom_objects(), "shop>Sold")
    assert main([name, "x.npz"]) == 2
    line, *script = capfd.readouterr().err.splitlines()
    assert line.startswith(f"error: {name} cannot be loaded as a Keras model (not Keras's own: ")
    assert "Mine" in line
    assert len(script) == 3
    code = types.ModuleType("your_code")
    code.Mine, code.Sold = Mine, Sold
    monkeypatch.setitem(sys.modules, "your_code", code)
    with np.load("x.npz") as stored:
        exec("\n".join(one.strip() for one in script), {"x": stored["x"]})
        expected = checkup(net(), stored["x"])
    assert capfd.readouterr().out.count("never updated") == str(expected).count("never updated")


@pytest.mark.parametrize("name", ["own_legacy.h5", "own_legacy.keras"])
def test_a_class_of_keras_2_is_missed_by_name(folder, name):
    with pytest.raises(model_files.NeedsScriptError, match=r"\(not Keras's own: MineOfKeras2\)") as caught:
        model_files.loaded(str(folder / name))
    assert caught.value.script.startswith("import tf_keras; from bnlab.checkup import checkup; ")
    assert "custom_objects={'MineOfKeras2': MineOfKeras2}, compile=False)" in caught.value.script


@pytest.mark.parametrize(
    "name", ["lambda_own.keras", "lambda_own.h5", "lambda_legacy.h5", "lambda_legacy.keras"]
)
def test_a_lambda_is_not_run(folder, name):
    with pytest.raises(
        ValueError, match=r"\(a Lambda in it is Python code.*if you trust the file, load"
    ) as told:
        model_files.loaded(str(folder / name))
    assert "safe_mode" not in str(told.value)


def test_weights_under_another_name_are_told_from_a_model(folder):
    with pytest.raises(ValueError, match=r"renamed\.h5 has weights in it and no model; build the model"):
        model_files.loaded(str(folder / "renamed.h5"))


def crafted(folder, name, change):
    """Save a model of Keras 2 whose configuration was changed by hand."""
    path = folder / name
    source = folder / f"legacy{path.suffix}"
    if path.suffix == ".h5":
        path.write_bytes(source.read_bytes())
        with h5py.File(path, "a") as file:
            config = json.loads(file.attrs["model_config"])
            change(config["config"]["layers"][1])
            file.attrs["model_config"] = json.dumps(config)
        return str(path)
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(path, "w") as new:
        for member in old.namelist():
            content = old.read(member)
            if member == "config.json":
                config = json.loads(content)
                change(config["config"]["layers"][1])
                content = json.dumps(config)
            new.writestr(member, content)
    return str(path)


@pytest.mark.parametrize("suffix", [".h5", ".keras"])
@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"activation": {"class_name": "__lambda__", "config": {"value": "4w"}}}, "a Lambda in it is"),
        ({"residual_function_type": "lambda"}, "a Lambda in it is"),
        (
            {
                "activation": {
                    "class_name": "function",
                    "config": "run_me",
                    "module": "trap",
                    "registered_name": "run_me",
                }
            },
            r"not Keras's own: run_me\)",
        ),
        (
            {
                "activation": {
                    "class_name": "function",
                    "config": "get_file",
                    "module": "keras.utils",
                    "registered_name": "get_file",
                }
            },
            r"not Keras's own: get_file\)",
        ),
    ],
)
def test_nothing_is_run_that_safe_mode_would_refuse(folder, monkeypatch, suffix, change, told):
    trap = types.ModuleType("trap")
    trap.run_me = lambda *_, **__: pytest.fail("it was run")
    monkeypatch.setitem(sys.modules, "trap", trap)
    monkeypatch.setattr(tf_keras.models, "load_model", trap.run_me)
    path = crafted(folder, f"crafted{suffix}", lambda layer: layer["config"].update(change))
    with pytest.raises(ValueError, match=told):
        model_files.loaded(path)


@pytest.mark.parametrize(
    ("function", "runs"),
    [
        ("math.multiply", False),
        ("__operators__.getitem", False),
        ("concat", False),
        ("compat.v1.nn.conv2d", False),
        ("io.write_file", True),
        ("compat.v1.write_file", True),
        ("load_op_library", True),
        ("compat.v1.py_func", True),
        ("numpy_function", True),
        ("print", True),
        ("keras.utils.get_file", True),
        ("raw_ops.WriteFile", True),
    ],
)
def test_an_operation_in_a_model_of_keras_2_is_maths(function, runs):
    node = {"class_name": "TFOpLambda", "config": {"function": function}}
    assert model_files._runs_code(node) == runs


def test_both_loaders_have_failed_on_a_broken_file_of_keras_2(folder):
    path = crafted(folder, "broken.h5", lambda layer: layer["config"].update(kernel_size=-1))
    with pytest.raises(
        ValueError, match=r"Keras 2\.\d+\.\d+ wrote it, and neither Keras 3 nor tf_keras reads it"
    ):
        model_files.loaded(path)
