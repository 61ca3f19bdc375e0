"""Patients that are ill by their place in a model: each is (x, model, what follows the line)."""

import keras
import numpy as np
from patients import norm, rows, settled

layers = keras.layers


def sequence(*parts, shape=(8,)):
    return keras.Sequential([keras.Input(shape), *parts])


def fitted(model, x):
    """Let `fit` settle the moving statistics, without changing a weight."""
    model.compile(keras.optimizers.SGD(0.0), "mse")
    model.fit(x, np.zeros((len(x), 3)), epochs=6, verbose=0)
    return model


class TakesNone(keras.Model):
    """Has no `training` in its `call`."""

    def __init__(self):
        super().__init__()
        self.bn, self.last = norm(), layers.Dense(3)

    def call(self, x):
        return self.last(self.bn(x))


class TakesIt(TakesNone):
    """Hands nothing on: Keras does."""

    def call(self, x, training=None):  # noqa: ARG002 - Keras looks for it
        return super().call(x)


class Silenced(TakesNone):
    """Says training=False, whatever it is given."""

    def call(self, x, training=None):  # noqa: ARG002 - that is the illness
        return self.last(self.bn(x, training=False))


class HandsOn(TakesNone):
    """Says what it is given."""

    def call(self, x, training=None):
        return self.last(self.bn(x, training=training))


def deaf(rng):
    x = rows(rng)
    return x, fitted(TakesNone(), x), lambda: fitted(TakesIt(), x)


def silenced(rng):
    x = rows(rng)
    return x, fitted(Silenced(), x), lambda: fitted(HandsOn(), x)


def step_by_step(rng):
    x = np.concatenate([rows(rng)[:, None], 4 * rows(rng)[:, None] + 10], axis=1)

    def model(layer):
        return settled(sequence(layer, shape=(2, 8)), x, steps=60)

    return x, model(layers.TimeDistributed(norm())), lambda: model(norm())


def flagged(rng):
    x = rows(rng)

    def model(**options):
        given, base = keras.Input((8,)), sequence(norm(), layers.ReLU())
        return settled(keras.Model(given, base(given, **options)), x)

    return x, model(training=False), model


def biased(rng):
    x = rows(rng)

    def model(**options):
        return settled(sequence(layers.Dense(6, **options), norm(), layers.ReLU()), x)

    return x, model(), lambda: model(use_bias=False)


def dropped(rng):
    x = rows(rng)

    def model(*parts):
        return settled(sequence(layers.Dense(6, use_bias=False), *parts, layers.Dense(3)), x, steps=60)

    return x, model(layers.Dropout(0.5), norm()), lambda: model(norm(), layers.Dropout(0.5))


def rows_for_channels(rng):
    x = rng.normal(size=(100, 8, 8, 1)).astype("float32")

    def model(axis):
        inner = [layers.Conv2D(16, 3, use_bias=False), norm(axis=axis)]
        return settled(keras.Sequential([keras.Input((8, 8, 1)), *inner]), x, steps=60)

    return x, model(1), lambda: model(-1)
