"""The command line of `bnlab.checkup`: what it is given, where that is loaded from, and quiet meanwhile.

Keras is imported only when a model is loaded, so what is wrong in the line itself is told at once.
"""

import argparse
import os
import sys
import warnings
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from bnlab import words


def given(arguments=None):
    """Return what is on the command line; leave with exit code 2 if it is no use."""
    parser = argparse.ArgumentParser(
        prog="python -m bnlab.checkup",
        description="Say which batch-norm layers of a saved Keras model are ill. "
        "Exit code 0: healthy, 1: ill, 2: it could not be looked at.",
    )
    parser.add_argument("model", help="a model.keras file (or .h5), loaded in safe mode")
    parser.add_argument("data", help="an .npz or .npy file with a sample of the inputs")
    parser.add_argument("--array", help="the array of the .npz to use, if there are several")
    parser.add_argument("--batch-size", type=int, default=32, help="examples a call, as in training (32)")
    asked = parser.parse_args(arguments)
    if not Path(asked.model).is_file():
        sys.exit(_refused(f"{asked.model} is no file; expected a saved Keras model, such as model.keras"))
    if not Path(asked.data).is_file():
        sys.exit(_refused(f"{asked.data} is no file; expected an .npz with a sample of the inputs"))
    return asked


def run(asked, checkup):
    """Print what `checkup` finds, and return the exit code."""
    try:
        with _quiet():
            model = _loaded_model(asked.model)
            x = _loaded_inputs(asked.data, asked.array, model)
            found = checkup(model, x, batch_size=asked.batch_size)
    except (OSError, TypeError, ValueError) as error:
        return _refused(error)
    print(found)
    return 0 if found.healthy else 1


def _refused(error):
    print("error:", " ".join(str(error).split()), file=sys.stderr)
    return 2


@contextmanager
def _quiet():
    """Keep warnings and TensorFlow's log lines out of the output."""
    with warnings.catch_warnings(), open(os.devnull, "w", encoding="utf-8") as nothing:
        warnings.simplefilter("ignore")
        sys.stderr.flush()
        real = os.dup(2)
        os.dup2(nothing.fileno(), 2)
        try:
            yield
        finally:
            sys.stderr.flush()
            os.dup2(real, 2)
            os.close(real)


def _loaded_model(path):
    import keras

    try:
        return keras.models.load_model(path, compile=False, safe_mode=True)
    except Exception as error:
        raise ValueError(f"{path} cannot be loaded as a Keras model ({words.reason(error)})") from error


def _loaded_inputs(path, name, model):
    try:
        with open(path, "rb") as file:
            stored = np.load(file, allow_pickle=False)
            if isinstance(stored, np.ndarray):
                return stored
            arrays = {key: stored[key] for key in stored.files}
    except Exception as error:
        raise ValueError(f"{path} cannot be read as an .npz ({words.reason(error)})") from error
    return _chosen(arrays, path, name, model)


def _chosen(arrays, path, name, model):
    """Return the array that was asked for, the only one, x, or one for each input of the model."""
    if not arrays:
        raise ValueError(f"{path} has no array in it; expected one, as np.savez(path, x=x) writes it")
    inputs = [one.name for one in getattr(model, "inputs", None) or []]
    if name is None and len(inputs) > 1 and set(inputs) <= set(arrays):
        return {key: arrays[key] for key in inputs}
    key = name or (next(iter(arrays)) if len(arrays) == 1 else "x")
    if key not in arrays:
        raise ValueError(f"{path} has the arrays {', '.join(arrays)}; choose one with --array, or call it x")
    return arrays[key]
