"""The doctor on every family of keras.applications that has batch norm: seconds, memory, and whom it names.

Nothing is downloaded for it, so the weights are random, and the statistics are those of random pictures.
"""

import bnlab.tensorflow_setup  # noqa: F401, I001 - it has to come first
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from typing import NamedTuple

import keras
import numpy as np

from bnlab import words
from bnlab.checkup import checkup, recalibrate

SIZE, EXAMPLES, BATCH = 96, 64, 32
# Of each family the smallest member and the deepest that takes no more than minutes.
FAMILIES = {
    "DenseNet": ("DenseNet121", "DenseNet201"),
    "EfficientNet": ("EfficientNetB0", "EfficientNetB4"),
    "EfficientNetV2": ("EfficientNetV2B0", "EfficientNetV2S"),
    "InceptionV3": ("InceptionV3",),
    "InceptionResNetV2": ("InceptionResNetV2",),
    "MobileNet": ("MobileNet",),
    "MobileNetV2": ("MobileNetV2",),
    "MobileNetV3": ("MobileNetV3Small", "MobileNetV3Large"),
    "NASNet": ("NASNetMobile",),
    "ResNet": ("ResNet50", "ResNet152"),
    "ResNetV2": ("ResNet50V2", "ResNet152V2"),
    "Xception": ("Xception",),
}
NAMES = [name for family in FAMILIES.values() for name in family]
SPOILS = {
    "means up by two deviations": lambda mean, variance: (mean + 2 * np.sqrt(variance + 1e-3), variance),
    "variances 9 times as large": lambda mean, variance: (mean, 9 * variance),
    "variances a ninth": lambda mean, variance: (mean, variance / 9),
    "0 and 1": lambda mean, variance: (0 * mean, 0 * variance + 1),
}


class Row(NamedTuple):
    """What came out for one network; `wrong` says where others were named than the one that was spoilt."""

    network: str
    layers: int
    seconds: float  # of one checkup
    megabytes: int  # of the process at its largest, with TensorFlow in it
    alarms: list  # (layer, words) of the healthy network
    named: int  # of `trials` spoilt layers exactly that one was named
    trials: int
    wrong: list  # (layer, spoil, who was named)


def pictures(rng, examples, size):
    """Return smooth random pictures, shape (examples, size, size, 3), in 0 to 255."""
    coarse = rng.uniform(0, 255, (examples, 6, 6, 3)).astype("float32")
    return np.clip(keras.ops.convert_to_numpy(keras.ops.image.resize(coarse, (size, size))), 0, 255)


def examined(name, *, trials=3, seed=0):
    """Return the Row of a network."""
    keras.utils.set_random_seed(seed)
    rng = np.random.default_rng(seed)
    shape = {"input_shape": (SIZE, SIZE, 3), "include_top": False, "pooling": "avg"}
    model = getattr(keras.applications, name)(weights=None, **shape)
    recalibrate(model, (pictures(rng, BATCH, SIZE) for _ in range(4)))
    x = pictures(rng, EXAMPLES, SIZE)
    start = time.perf_counter()
    healthy = checkup(model, x, batch_size=BATCH)
    seconds = time.perf_counter() - start
    wrong = [found for _ in range(trials) if (found := _wrongly_named(model, x, rng))]
    import resource  # which Windows has not; it reads the table all the same

    megabytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    return Row(
        name, len(healthy.layers), seconds, megabytes, _ill(healthy), trials - len(wrong), trials, wrong
    )


def _ill(found):
    return [(layer.name, layer.problems) for layer in found.layers if layer.problems]


def _wrongly_named(model, x, rng):
    """Spoil one layer; return None if it alone is named, else (layer, spoil, who was named)."""
    norms = [one for one in model._flatten_layers() if isinstance(one, keras.layers.BatchNormalization)]
    layer, spoil = norms[rng.integers(len(norms))], list(SPOILS)[rng.integers(len(SPOILS))]
    before = [layer.moving_mean.numpy(), layer.moving_variance.numpy()]
    for variable, value in zip(
        (layer.moving_mean, layer.moving_variance), SPOILS[spoil](*before), strict=True
    ):
        variable.assign(value)
    named = _ill(checkup(model, x, batch_size=BATCH))
    layer.moving_mean.assign(before[0])
    layer.moving_variance.assign(before[1])
    return None if [name for name, _ in named] == [layer.name] else (layer.name, spoil, named)


def main(names):
    """Print a table of the networks of these names, or of all, each looked at in a process of its own."""
    heads = ["network", "layers", "seconds", "peak MB", "exact", "false alarms and misses"]
    rows = []
    for name in names or NAMES:
        with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
            row = pool.submit(examined, name).result()
        odd = [*row.alarms, *row.wrong]
        rows.append([row.network, str(row.layers), f"{row.seconds:.1f}", str(row.megabytes)])
        rows[-1] += [f"{row.named} of {row.trials}", "; ".join(map(str, odd)) or "-"]
        print(*rows[-1], flush=True)
    print(words.table([heads, *rows]))
