"""Networks as people build and train them, all healthy: what the doctor must not call ill."""

import bnlab.tensorflow_setup  # noqa: F401, I001 - it has to come first
from collections.abc import Callable
from functools import reduce
from itertools import count
from typing import NamedTuple

import calibration_data as data
import keras
import numpy as np
from calibration_adversaries import adversaries, discriminator_of, generator_of
from calibration_networks import Setting
from keras import layers
from keras.layers import Concatenate, Conv1D, Conv2D, Conv2DTranspose, Conv3D, Dense, Dropout, Flatten, ReLU
from keras.layers import GlobalAveragePooling1D as Mean1D
from keras.layers import GlobalAveragePooling2D as Mean2D

SETTINGS = [Setting("adam", 32, 0.99), Setting("adam", 8, 0.9), Setting("adam", 128, 0.99)]
HALF = [Setting("adam", 32, 0.99, "mixed_float16"), Setting("adam", 128, 0.9, "mixed_float16")]

ADVERSE = [Setting("adam", 32, 0.8), Setting("adam", 64, 0.9)]


class Kind(NamedTuple):
    """A kind of network: what it is trained on, and build(norm, shape) of the model."""

    data: Callable
    build: Callable
    settings: list = SETTINGS
    steps: int = 600
    part: Callable = None  # (Trained) -> Trained, of the part of the model that is looked at


def _run(x, *parts):
    return reduce(lambda y, part: part(y), parts, x)


def _plain(*parts):
    """Return the builder of a chain with four or ten classes at its end; parts are of (norm)."""

    def build(n, shape):
        x = keras.Input(shape)
        return keras.Model(
            x, Dense(10, dtype="float32")(_run(x, *[part for one in parts for part in one(n)]))
        )

    return build


def _dense(units, activation=ReLU, **options):
    return lambda n: [Dense(units, **options), n(), activation()]


def _conv(filters, conv=Conv2D, **options):
    return lambda n: [conv(filters, 3, padding="same", use_bias=False, **options), n(), ReLU()]


def _only(*made):
    return lambda _: [one() for one in made]


def _u_net(n, shape):
    x = keras.Input(shape)
    wide = _run(x, *_conv(8)(n), *_conv(8)(n))
    narrow = _run(wide, layers.MaxPooling2D(), *_conv(16)(n))
    deep = _run(narrow, layers.MaxPooling2D(), *_conv(32)(n))
    up = Concatenate()([_run(deep, Conv2DTranspose(16, 2, 2), n(), ReLU()), narrow])
    up = Concatenate()([_run(up, *_conv(16)(n), Conv2DTranspose(8, 2, 2), n(), ReLU()), wide])
    return keras.Model(x, _run(up, *_conv(8)(n), Conv2D(1, 1, activation="sigmoid", dtype="float32")))


def _autoencoder(n, shape):
    x = keras.Input(shape)
    code = _run(x, *_dense(32)(n), Dense(8), n())
    return keras.Model(x, _run(code, *_dense(32)(n), Dense(64, "sigmoid", dtype="float32")))


def _attention(n, shape):
    x = keras.Input(shape)
    y = _run(x, Dense(16), n())
    y = n()(y + layers.MultiHeadAttention(2, 8)(y, y))
    y = n()(y + _run(y, Dense(32, "relu"), Dense(16)))
    return keras.Model(x, _run(y, Mean1D(), Dense(10, dtype="float32")))


def _inception(n, shape):
    x = keras.Input(shape)
    y = _run(x, *_conv(8)(n))
    ways = [_run(y, Conv2D(6, size, padding="same"), n(), ReLU()) for size in (1, 3, 5)]
    return keras.Model(
        x, _run(Concatenate()(ways), *_conv(16, strides=2)(n), Mean2D(), Dense(10, dtype="float32"))
    )


def _squeezed(n, shape):
    """Return a network with a squeeze-and-excitation gate, and norms behind a swish, as EfficientNet has."""
    x = keras.Input(shape)
    y = _run(x, Conv2D(16, 3, use_bias=False), n(), layers.Activation("swish"))
    y = _run(y, layers.DepthwiseConv2D(3, use_bias=False), n(), layers.Activation("swish"))
    gate = _run(y, layers.GlobalAveragePooling2D(keepdims=True), Conv2D(4, 1, activation="swish"))
    y = _run(y * Conv2D(16, 1, activation="sigmoid")(gate), Conv2D(24, 1, use_bias=False), n())
    return keras.Model(x, _run(y, Mean2D(), Dense(10, dtype="float32")))


class Residual(keras.Model):
    """A residual network as a subclass, with its blocks in a list."""

    def __init__(self, n):
        super().__init__()
        self.first = Conv2D(16, 3, padding="same")
        self.blocks = [keras.Sequential([n(), ReLU(), Conv2D(16, 3, padding="same")]) for _ in range(4)]
        self.last, self.head = n(), Dense(10, dtype="float32")

    def call(self, x, training=None):
        """Return ten logits."""
        y = self.first(x)
        for block in self.blocks:
            y = y + block(y, training=training)
        return self.head(keras.ops.mean(keras.ops.relu(self.last(y, training=training)), axis=(1, 2)))


def _residual(n, shape):
    model = Residual(n)
    model(np.zeros((2, *shape), "float32"))
    return model


def _embedded(*parts):
    def build(n, shape):
        x = keras.Input(shape, dtype="int32")
        y = _run(layers.Embedding(150, 16)(x), *[part for one in parts for part in one(n)])
        return keras.Model(x, Dense(10, dtype="float32")(y))

    return build


def _norm(n):
    return [n()]


# Laid out by hand, to be read row by row.
# fmt: off
KINDS = {
    "U-Net": Kind(data.masks, _u_net),
    "generator": Kind(data.noise, adversaries, ADVERSE, part=generator_of),
    "discriminator": Kind(data.noise, adversaries, ADVERSE, part=discriminator_of),
    "Conv1D": Kind(data.series, _plain(_conv(16, Conv1D), _conv(24, Conv1D), _only(Mean1D))),
    "LSTM": Kind(data.series, _plain(_norm, _only(lambda: layers.LSTM(24)), _norm)),
    "GRU": Kind(data.drifting, _plain(
        _only(lambda: layers.GRU(16, return_sequences=True)), _norm, _only(lambda: layers.GRU(16)), _norm)),
    "attention": Kind(data.series, _attention),
    "residual subclass": Kind(data.images, _residual),
    "wide ReLU in front": Kind(data.pixels, _plain(
        _only(lambda: Dense(512, "relu")), _norm, _only(lambda: Dense(512, "relu")), _norm)),
    "heavy tails": Kind(data.heavy_tails, _plain(_norm, _dense(32))),
    "heavy tails in Dense": Kind(data.heavy_tails, _plain(_dense(32), _dense(32))),
    "bag of words": Kind(data.words, _plain(_norm, _dense(32))),
    "bag of words in Dense": Kind(data.words, _plain(_dense(64), _dense(32))),
    "seldom flags": Kind(data.flags, _plain(_norm, _dense(32))),
    "framed": Kind(data.framed, _plain(_norm, _dense(48))),
    "dropout": Kind(data.pixels, _plain(
        _only(lambda: Dropout(0.2)), _dense(64), _only(lambda: Dropout(0.5)), _dense(64))),
    "half precision": Kind(data.images, _plain(_conv(16), _conv(24), _only(Flatten), _dense(32)), HALF),
    "autoencoder": Kind(data.themselves, _autoencoder),
    "embeddings": Kind(data.sentences, _embedded(_norm, _only(Mean1D), _dense(32)), steps=1000),
    "embeddings, convolved": Kind(
        data.sentences, _embedded(_conv(24, Conv1D), _only(layers.GlobalMaxPooling1D), _norm), steps=1000),
    "table": Kind(data.table, _plain(_norm, _dense(64), _dense(32))),
    "raw table": Kind(data.table, _plain(_dense(64), _dense(32))),
    "inception": Kind(data.scenes, _inception),
    "squeeze and excitation": Kind(data.scenes, _squeezed),
    "volumes": Kind(data.volumes, _plain(_conv(8, Conv3D), _conv(8, Conv3D), _only(Flatten), _dense(16))),
    "VGG, ReLU first": Kind(data.scenes, _plain(
        lambda n: [Conv2D(16, 3, activation="relu"), n(), layers.MaxPooling2D()],
        lambda n: [Conv2D(32, 3, activation="relu"), n(), Mean2D()])),
}
# fmt: on
ZOO = [(name, setting) for name, kind in KINDS.items() for setting in kind.settings]


class Trained(NamedTuple):
    """A network after `fit`, and its examples; it has seen the first three quarters of them."""

    model: keras.Model
    x: np.ndarray
    y: np.ndarray

    @property
    def known(self):
        """How many examples it was trained on."""
        return len(self.x) * 3 // 4


def trained(name, setting, *, seed=0):
    """Return a network of a kind as Trained."""
    kind = KINDS[name]
    keras.utils.set_random_seed(seed)
    rng = np.random.default_rng(seed)
    network = Trained(*_built(kind, setting, *kind.data(rng)))
    size = kind.steps * setting.batch_size
    rows = [rng.permutation(network.known) for _ in range(1 + size // network.known)]
    rows = np.concatenate(rows)[:size]
    x, y = network.x[rows], network.y[rows]
    network.model.fit(x, y, batch_size=setting.batch_size, shuffle=False, verbose=0)
    return kind.part(network) if kind.part else network


def _built(kind, setting, x, y):
    """Return an untrained model, compiled, x and y; its batch-norm layers are norm_1, norm_2 ..."""
    numbers, policy = count(1), keras.config.dtype_policy()

    def norm():
        return layers.BatchNormalization(momentum=setting.momentum, name=f"norm_{next(numbers)}")

    keras.config.set_dtype_policy(setting.policy)
    try:
        model = kind.build(norm, x.shape[1:])
    finally:
        keras.config.set_dtype_policy(policy)
    classes = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.Adam(1e-3), classes if y.ndim == 1 else "mse", jit_compile=False)
    return model, x, y
