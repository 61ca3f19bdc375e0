"""Models for the tests of recalibrating, and what their statistics should be."""

import keras
import numpy as np

from bnlab.batch_norm import batch_moments, normalize

# Float32 activations of a few units, and float32 moving statistics.
FLOAT32 = 2e-5
# Float64 throughout, except for the root in Keras's factored form.
FLOAT64 = 1e-12

layers = keras.layers


def batches_of(x, sizes=(40, 7, 1, 52)):
    return np.split(x, np.cumsum(sizes)[:-1])


def statistics(layer):
    return [layer.moving_mean.numpy(), layer.moving_variance.numpy()]


def assert_fits(layer, values, *, axis=-1, tolerance=FLOAT32):
    """Compare what the layer remembers with the moments of all the values that came in."""
    mean, variance = batch_moments(np.asarray(values, np.float64), axis=axis)
    scale = max(1, np.abs(mean).max(), variance.max())
    np.testing.assert_allclose(layer.moving_mean.numpy(), mean, rtol=0, atol=tolerance * scale)
    np.testing.assert_allclose(layer.moving_variance.numpy(), variance, rtol=0, atol=tolerance * scale)


def dense_model(**options):
    model = keras.Sequential(
        [
            keras.Input((5,)),
            layers.Dense(4, name="first"),
            layers.BatchNormalization(name="bn", **options),
            layers.ReLU(),
            layers.Dense(3, name="second"),
            layers.BatchNormalization(name="bn_2", **options),
        ]
    )
    stir(model)
    return model


def stir(model):
    """Give gammas, betas and moving statistics values that no formula mistakes for the initial ones."""
    rng = np.random.default_rng(1)
    for variable in model.weights:
        if variable.dtype != "string" and variable.name in ("gamma", "moving_variance"):
            variable.assign(rng.uniform(0.5, 2, variable.shape))
        elif variable.name in ("beta", "moving_mean"):
            variable.assign(rng.normal(size=variable.shape))


def by_hand(model, batches):
    """Return what comes into the two layers of `dense_model`, each batch normalized by itself."""
    w, b, gamma, beta, _, _, w2, b2, *_ = [w.astype(float) for w in model.get_weights()]
    first, second = [], []
    for batch in batches:
        hidden = batch.astype(float) @ w + b
        y = normalize(hidden, *batch_moments(hidden), gamma=gamma, beta=beta)
        first.append(hidden)
        second.append(np.maximum(y, 0) @ w2 + b2)
    return np.concatenate(first), np.concatenate(second)


class Block(layers.Layer):
    def __init__(self):
        super().__init__()
        self.norm = [layers.BatchNormalization(name="in_a_list")]

    def call(self, x):
        return self.norm[0](x)


class Subclassed(keras.Model):
    """Takes no flag, says training=False to one of its layers, and has a layer for training only."""

    def __init__(self):
        super().__init__()
        self.block, self.own = Block(), layers.BatchNormalization(name="own")
        self.dense, self.head = layers.Dense(3), layers.BatchNormalization(name="head")

    def call(self, x, training=False):
        y = self.own(self.dense(self.block(x)), training=False)
        return self.head(y) if training else y
