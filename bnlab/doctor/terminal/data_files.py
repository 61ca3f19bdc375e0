"""Reads the sample of inputs that the command line names: arrays of NumPy, or a folder of images."""

from pathlib import Path

import numpy as np

from bnlab import words

MOST_IMAGES = 600
_SUFFIXES = {".png", ".jpg", ".jpeg", ".gif", ".bmp"}  # what Keras's loader looks for
_COLORS = {1: "grayscale", 3: "rgb", 4: "rgba"}


def refusal(path):
    """Return why there can be no sample in a path, or None; Keras is not needed for that."""
    if Path(path).is_dir():
        if not any(one.suffix.lower() in _SUFFIXES for one in Path(path).rglob("*")):
            return f"{path} is a folder without images; expected PNG or JPEG files in it, or an .npz"
    elif not Path(path).is_file():
        return f"{path} is no file; expected an .npz with a sample of the inputs"
    return None


def loaded(path, name, model, scale=1.0):
    """Return the inputs in a file, of those the array `name`, or the images in a folder; times `scale`."""
    if Path(path).is_dir():
        x = _images(path, model)
    else:
        x = _arrays(path, name, [one.name for one in getattr(model, "inputs", None) or []])
    if scale == 1:
        return x
    return {key: part * scale for key, part in x.items()} if isinstance(x, dict) else x * scale


def _arrays(path, name, inputs):
    with open(path, "rb") as file:
        stored = _read(path, np.load, file, allow_pickle=False)
        if isinstance(stored, np.ndarray):
            return stored
        chosen = _chosen(path, stored.files, name, inputs)
        if isinstance(chosen, str):
            return _read(path, stored.__getitem__, chosen)
        return {key: _read(path, stored.__getitem__, key) for key in chosen}


def _read(path, read, *arguments, **options):
    try:
        return read(*arguments, **options)
    except Exception as error:
        raise ValueError(
            f"{path} cannot be read as an .npz ({words.reason(error)}); np.savez('x.npz', x=x) writes one"
        ) from error


def _chosen(path, names, name, inputs):
    """Return the name of the array asked for, the only one or x; or of one for each input of the model."""
    if not names:
        raise ValueError(f"{path} has no array in it; expected one, as np.savez(path, x=x) writes it")
    if name is None and len(inputs) > 1 and set(inputs) <= set(names):
        return inputs
    key = name or (names[0] if len(names) == 1 else "x")
    if key not in names:
        raise ValueError(f"{path} has the arrays {', '.join(names)}; choose one with --array, or call it x")
    return key


def _images(folder, model):
    """Return images in the size and colors of the model's input, with values 0 to 255."""
    import keras

    options = _options(folder, model)
    try:
        images = keras.utils.image_dataset_from_directory(
            folder, labels=None, batch_size=None, seed=0, verbose=False, **options
        )
        return np.stack(list(images.take(MOST_IMAGES).as_numpy_iterator()))
    except Exception as error:
        raise ValueError(f"{folder} has an image that cannot be read ({words.reason(error)})") from error


def _options(folder, model):
    """Return what Keras's loader of images needs to know of the model's input."""
    shapes = [tuple(one.shape) for one in getattr(model, "inputs", None) or []]
    for shape in shapes if len(shapes) == 1 and len(shapes[0]) == 4 else []:
        last = shape[3] in _COLORS
        height, width, channels = shape[1:] if last else (*shape[2:], shape[1])
        if height and width and channels in _COLORS:
            return {
                "image_size": (height, width),
                "color_mode": _COLORS[channels],
                "data_format": "channels_last" if last else "channels_first",
            }
    raise ValueError(
        f"{folder} is a folder of images, and the model takes {', '.join(map(str, shapes)) or 'any shape'}; "
        "expected one input of fixed height and width with 1, 3 or 4 channels, or an .npz"
    )
