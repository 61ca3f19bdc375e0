"""The networks that the limits of the doctor come from: small, of many kinds, seeded, trained on digits."""

import bnlab.tensorflow_setup  # noqa: F401, I001 - it has to come first
from collections.abc import Callable
from functools import reduce
from itertools import count
from typing import NamedTuple

import keras
import numpy as np
from keras.layers import Conv1D, Conv2D, Dense, DepthwiseConv2D, Dropout, Flatten, ReLU, SeparableConv2D
from keras.layers import GlobalAveragePooling1D as Mean1D
from keras.layers import GlobalAveragePooling2D as Mean2D
from keras.optimizers import SGD, Adam

from bnlab.data import digits
from bnlab.moving_average import half_life

STEPS = 600
DIGITS = digits()
AVERAGE = DIGITS.x_train.mean(axis=0)


class Setting(NamedTuple):
    """How a network is trained."""

    optimizer: str
    batch_size: int
    momentum: float
    policy: str = "float32"

    def __str__(self):
        """Return it as the table has it."""
        return " ".join(map(str, self)).removesuffix(" float32")


SETTINGS = [Setting("adam", 32, 0.99), Setting("sgd", 8, 0.9), Setting("sgd", 128, 0.99)]
MORE = [*SETTINGS, Setting("adam", 128, 0.9), Setting("adam", 32, 0.9, "mixed_float16")]
LOW = [Setting("sgd", 32, momentum) for momentum in (0.6, 0.4, 0.1)]


class Architecture(NamedTuple):
    """A kind of network, where n() is batch norm, and how to train it; if it is ill, which limit tells."""

    shape: tuple
    parts: Callable
    settings: list
    tells: str = ""


def _run(parts, x):
    return reduce(lambda y, part: part(y), parts, x)


def _around(*parts):
    """Return a residual block: what comes in is added to what the parts make of it."""
    return lambda x: keras.layers.Add()([x, _run(parts, x)])


def _twice(first, second, *parts):
    """Return a block that calls the same layers on two domains."""
    return lambda x: keras.layers.Concatenate()([_run(parts, first(x)), _run(parts, second(x))])


def _beside(second):
    """Return the parts of a network with one batch-norm layer for the pixels and another version of them."""
    return lambda n: [_twice(lambda x: x, second, Dense(32), n(), ReLU())]


PIXELS, ROWS, IMAGES = (64,), (8, 8), (8, 8, 1)
# Laid out by hand, to be read row by row. The shared ones come as healthy and ill twins.
# fmt: off
ARCHITECTURES = {
    "pixels": Architecture(PIXELS, lambda n: [n(), Dense(48), n(), ReLU()], SETTINGS),
    "dense": Architecture(PIXELS, lambda n: [Dense(48), n(), ReLU(), Dense(32), n(), ReLU()], MORE + LOW),
    "deep": Architecture(PIXELS, lambda n: [one for _ in "abcde" for one in (Dense(24), n(), ReLU())], MORE),
    "wide": Architecture(PIXELS, lambda n: [Dense(512), ReLU(), n(), Dense(64), ReLU(), n()], SETTINGS),
    "tanh": Architecture(PIXELS, lambda n: [Dense(40, "tanh"), n(), Dense(40), n()], SETTINGS),
    "dropout": Architecture(
        PIXELS, lambda n: [part for _ in "ab" for part in (Dropout(0.4), Dense(48), n(), ReLU())], MORE),
    "residual": Architecture(
        PIXELS,
        lambda n: [Dense(32), n(), _around(ReLU(), Dense(32), n(), ReLU(), Dense(32), n()), ReLU()], MORE),
    "rows": Architecture(
        ROWS, lambda n: [Conv1D(24, 3), n(), ReLU(), Conv1D(24, 3), n(), ReLU(), Mean1D()], SETTINGS),
    "images": Architecture(
        IMAGES, lambda n: [Conv2D(12, 3), n(), ReLU(), Conv2D(24, 3), n(), ReLU(), Mean2D()], SETTINGS),
    "relu first": Architecture(
        IMAGES, lambda n: [Conv2D(12, 3), ReLU(), n(), Conv2D(24, 3), ReLU(), n(), Flatten()], SETTINGS),
    "depthwise": Architecture(
        IMAGES,
        lambda n: [Conv2D(16, 3), n(), ReLU(), DepthwiseConv2D(3), n(), ReLU(), Flatten()], SETTINGS),
    "separable": Architecture(
        IMAGES,
        lambda n: [Conv2D(16, 3), n(), ReLU(), SeparableConv2D(24, 3), n(), ReLU(), Flatten()], SETTINGS),
    "image residual": Architecture(
        IMAGES,
        lambda n: [Conv2D(16, 3), n(), _around(ReLU(), Conv2D(16, 3, padding="same"), n()), ReLU(), Mean2D()],
        SETTINGS),
    "two halves": Architecture(
        IMAGES,
        lambda n: [_twice(lambda x: x[:, :4], lambda x: x[:, 4:], Conv2D(16, 3), n(), ReLU(), Flatten())],
        SETTINGS),
    "odd and even": Architecture(
        PIXELS,
        lambda n: [_twice(lambda x: x[:, ::2], lambda x: x[:, 1::2], Dense(32), n(), ReLU())], SETTINGS),
    "half the contrast": Architecture(PIXELS, _beside(lambda x: (x - AVERAGE) / 2 + AVERAGE), SETTINGS),
    "a little brighter": Architecture(PIXELS, _beside(lambda x: x + 0.2), SETTINGS),
    "two domains: contrast": Architecture(
        PIXELS, _beside(lambda x: (x - AVERAGE) / 4 + AVERAGE), SETTINGS, "calls_log_ratio"),
    "two domains: brightness": Architecture(PIXELS, _beside(lambda x: x + 0.8), SETTINGS, "calls_gap"),
    "two domains: inverted": Architecture(PIXELS, _beside(lambda x: 1 - x), SETTINGS, "calls_gap"),
}
# fmt: on
NETWORKS = [(name, setting) for name, kind in ARCHITECTURES.items() for setting in kind.settings]


def build(architecture, setting):
    """Return an untrained network, compiled, whose batch-norm layers are named norm_1, norm_2 and so on."""
    numbers, policy = count(1), keras.config.dtype_policy()

    def norm():
        return keras.layers.BatchNormalization(momentum=setting.momentum, name=f"norm_{next(numbers)}")

    keras.config.set_dtype_policy(setting.policy)
    try:
        x = keras.Input(ARCHITECTURES[architecture].shape)
        parts = ARCHITECTURES[architecture].parts(norm)
        model = keras.Model(x, Dense(10, dtype="float32")(_run(parts, x)))
    finally:
        keras.config.set_dtype_policy(policy)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile({"adam": Adam(1e-3), "sgd": SGD(0.05)}[setting.optimizer], loss, jit_compile=False)
    return model


def trained(architecture, setting, *, steps=STEPS, seed=0):
    """Return a trained network, and the weights it had when half of the initial statistics was left."""
    keras.utils.set_random_seed(seed)
    model, x = build(architecture, setting), inputs(architecture, DIGITS.x_train)
    rng, size = np.random.default_rng(seed), setting.batch_size
    rows = np.concatenate([rng.permutation(len(x)) for _ in range(1 + steps * size // len(x))])[
        : steps * size
    ]
    few = max(1, round(half_life(setting.momentum))) * size
    young = _fitted(model, x, rows[:few], size).get_weights()
    return _fitted(model, x, rows[few:], size), young


def inputs(architecture, x):
    """Return digits in the shape that a network takes."""
    return x.reshape(-1, *ARCHITECTURES[architecture].shape)


def _fitted(model, x, rows, batch_size):
    model.fit(x[rows], DIGITS.y_train[rows], batch_size=batch_size, shuffle=False, verbose=0)
    return model
