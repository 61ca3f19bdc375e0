"""Models and inputs for the tests of the doctor."""

import keras
import numpy as np

from bnlab.checkup import checkup

layers = keras.layers


def norm(name="bn", **options):
    return layers.BatchNormalization(**{"momentum": 0.8, "name": name} | options)


def dense_model(*, units=20, **options):
    """Two batch-norm layers behind Dense layers, on rows of 8."""
    return keras.Sequential(
        [
            keras.Input((8,)),
            layers.Dense(units, use_bias=False),
            norm("bn", **options),
            layers.ReLU(),
            layers.Dense(units, use_bias=False),
            norm("bn_2", **options),
            layers.Dense(3),
        ]
    )


def rows(rng, examples=200, features=8):
    return rng.normal(1, 2, (examples, features)).astype("float32")


def settled(model, x, *, steps=25, batch_size=32, seed=1):
    """Let the moving statistics settle, without changing a weight: what training does to them."""
    rng, parts = np.random.default_rng(seed), keras.tree.flatten(x)
    for _ in range(steps):
        chosen = rng.permutation(len(parts[0]))[:batch_size]
        model(keras.tree.map_structure(lambda part, rows=chosen: part[rows], x), training=True)
    return model


def problems(model, x, **options):
    return {layer.name: layer.problems for layer in checkup(model, x, **options).layers}


class Twice(keras.Model):
    """Calls one layer on two halves that are alike, and another one only in training."""

    def __init__(self):
        super().__init__()
        self.dense, self.bn, self.aside = layers.Dense(6), norm(), norm("aside")

    def call(self, x, training=None):
        y = self.bn(self.dense(x[:, :4]), training=training) * self.bn(
            self.dense(x[:, 4:]), training=training
        )
        return self.aside(y, training=True) if training else y
