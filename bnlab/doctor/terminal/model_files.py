"""Loads the model that the command line names, and says of what cannot be loaded what to do instead.

Nothing in a file is executed that Keras's safe mode would refuse. tf_keras, which reads what Keras 2 wrote
and Keras 3 does not, would run the code of a Lambda in an .h5 and import any module that a .keras names: so
`_runs_code` and `_foreign` look through the configuration first.
"""

import json
import os
import re
import tempfile
import zipfile
from pathlib import Path

from bnlab import words

_EXPECTED = "expected a .keras file, an .h5 or a SavedModel folder"
_OTHERS = {
    ".tflite": "a model of TensorFlow Lite",
    ".onnx": "a model in ONNX",
    ".pt": "a file of PyTorch",
    ".pth": "a file of PyTorch",
    ".pb": "a graph without a model",
}
_OF_KERAS = re.compile(
    r"builtins$|(tf_)?keras(\.src)?(\.(activations|constraints|engine|initializers|layers|losses|metrics|"
    r"mixed_precision|models|optimizers|regularizers)(\.\w+)*)?$"
)
_MATHS = re.compile(
    r"(compat\.v1\.)?((math|nn|linalg|image|signal|random|__operators__)\.)?"
    r"(?!\w*(load|file|print|py_func|numpy_func))\w+$",
    re.IGNORECASE,
)
_MISSING = re.compile(
    r"(?:Could not locate (?:class|function)|Unknown [\w ]+:|Cannot deserialize object of type) "
    r"['\"`]([\w>.]+)"
)


def refusal(path):
    """Return why there can be no model in a path, or None; Keras is not needed for that."""
    file = Path(path)
    if file.is_dir():
        if (file / "saved_model.pb").is_file():
            return None
        if (file / "checkpoint").is_file() or any(file.glob("*.index")):
            return _weights(path)
        return f"{path} is a folder without saved_model.pb; {_EXPECTED}"
    if Path(f"{path}.index").is_file() or re.search(r"\.(ckpt|index|weights\.h5|data-\d+-of-\d+)$", path):
        return _weights(path)
    if not file.is_file():
        return f"{path} is no file; expected a saved Keras model, such as model.keras"
    if file.name == "saved_model.pb":
        return f"{path} is a part of a SavedModel; expected its folder, {file.parent}"
    kind = _OTHERS.get(file.suffix.lower())
    return kind and f"{path} is {kind}; {_EXPECTED}"


def _weights(path):
    return (
        f"{path} has weights in it and no model; build the model in Python, load them into it, "
        "then print(checkup(model, x))"
    )


class NeedsScriptError(ValueError):
    """A model that can only be loaded beside the code of its classes, and the script that does it."""

    def __init__(self, told, script):
        super().__init__(told)
        self.script = script


def loaded_to_be_saved(path):
    """Return the model in a file, with its loss and optimizer, and whether it still has them."""
    import keras

    try:
        return keras.models.load_model(path, compile=True, safe_mode=True), True
    except Exception:  # a loss of one's own is no reason to cure no layer
        return loaded(path), False


def loaded(path):
    """Return the model in a file or folder, without its loss and optimizer; a ValueError says what to do."""
    if Path(path).is_dir():
        from bnlab.doctor.models import saved_model

        return saved_model.load(path)
    import keras

    try:
        return keras.models.load_model(path, compile=False, safe_mode=True)
    except Exception as error:
        version, config = _written(path)
        if config is None or version.startswith("3"):
            raise _advice(path, "keras", config, error) from error
    return _loaded_by_tf_keras(path, version, config)


def _loaded_by_tf_keras(path, version, config):
    if any(map(_runs_code, _nodes(config))):
        raise _unsafe(path)
    if names := _foreign(config):
        raise _custom(path, "tf_keras", names)
    import tf_keras

    try:
        return tf_keras.models.load_model(path, compile=False, safe_mode=True)
    except Exception as error:
        wrote = f"Keras {version or '2'} wrote it, and neither Keras 3 nor tf_keras reads it: "
        raise _advice(path, "tf_keras", config, error, wrote) from error


def _written(path):
    """Return the version of Keras that wrote a file, and the model's configuration, None if there is none."""
    import h5py

    try:
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as file:
                version, config = json.loads(file.read("metadata.json")), file.read("config.json")
                return version["keras_version"], json.loads(config)
        with h5py.File(path, "r") as file:
            return _text(file.attrs.get("keras_version", "")), json.loads(_text(file.attrs["model_config"]))
    except Exception:  # whatever is wrong, this is no model
        return "", None


def _text(attribute):
    return attribute.decode() if isinstance(attribute, bytes) else str(attribute)


def _nodes(config):
    """Yield all dicts in a configuration, at any depth."""
    if isinstance(config, dict):
        yield config
    if isinstance(config, (dict, list)):
        for part in config.values() if isinstance(config, dict) else config:
            yield from _nodes(part)


def _runs_code(node):
    """Say whether a part of a configuration is Python code, or calls what is no maths."""
    name = node.get("class_name")
    code = name in ("Lambda", "__lambda__", "TensorFlowOpLayer")
    code |= any(key.endswith("_type") and value == "lambda" for key, value in node.items())
    return code or (name == "TFOpLambda" and not _MATHS.match(node["config"]["function"]))


def _foreign(config):
    """Return the names of all classes and functions that a configuration has from elsewhere than Keras."""
    named = [node for node in _nodes(config) if "class_name" in node]
    foreign = [one for one in named if "module" in one and not _OF_KERAS.match(one["module"] or "")]
    registered = [one["class_name"] for one in named if ">" in one["class_name"]]
    return registered + [one.get("registered_name") or one["class_name"] for one in foreign]


def _advice(path, library, config, error, wrote=""):
    """Return the error that says why a file cannot be loaded and what to do instead."""
    told = str(error)
    if "safe_mode" in told:
        return _unsafe(path)
    if "No model config" in told:
        return ValueError(_weights(path))
    if names := _MISSING.findall(told):
        return _custom(path, library, _foreign(config) + names)
    cause = told.rpartition("Exception encountered: ")[2]  # before it stands a configuration, of any length
    cause = words.reason(Exception(cause)).removeprefix("Exception")
    instead = (
        "expected what model.save wrote"
        if config is None
        else "load it in Python, then print(checkup(model, x))"
    )
    return ValueError(
        f"{path} cannot be loaded as a Keras model ({wrote}{type(error).__name__}{cause}); {instead}"
    )


def _unsafe(path):
    return ValueError(
        f"{path} cannot be loaded as a Keras model (a Lambda in it is Python code, and none is run from a "
        "file); if you trust the file, load it in Python, then print(checkup(model, x))"
    )


def _custom(path, library, names):
    known = {name.rpartition(">")[2]: name for name in reversed(names)}
    missing = ", ".join(reversed(known))
    objects = ", ".join(f"{name!r}: {short}" for short, name in reversed(known.items()))
    return NeedsScriptError(
        f"{path} cannot be loaded as a Keras model (not Keras's own: {missing}); write a script that imports "
        "what is missing from your code, with a sample x",
        f"import {library}; from bnlab.checkup import checkup; from your_code import {missing}\n"
        f"model = {library}.models.load_model({path!r}, custom_objects={{{objects}}}, compile=False)\n"
        "print(checkup(model, x))",
    )


def cure_refusal(path, model):
    """Return why the cured model cannot be written to a path, or None; Keras is not needed for that."""
    folder = Path(path).parent
    if not path.endswith(".keras"):
        return f"--cure is {path}; expected a name that ends in .keras"
    if os.path.lexists(path):
        return f"--cure is {path}, which exists; expected a new name: nothing is overwritten"
    if not folder.is_dir():
        return f"--cure is {path}; expected a folder that exists, and {folder} does not"
    if Path(model).is_dir():
        return (
            f"{model} is a SavedModel, which can be judged but not changed; expected a .keras file or an .h5"
        )
    return None


def write(model, path):
    """Save a model under a new name: all of it or nothing, and never over a file that is there by then."""
    with tempfile.TemporaryDirectory(dir=Path(path).parent, prefix=".checkup-") as folder:
        whole = Path(folder, "model.keras")
        model.save(whole)
        new = os.rename if os.name == "nt" else os.link  # of the two ways that which refuses to overwrite
        try:
            new(whole, path)
        except FileExistsError:
            raise ValueError(f"--cure is {path}, which exists by now; nothing is overwritten") from None
