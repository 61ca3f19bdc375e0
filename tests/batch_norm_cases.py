"""What the tests of the maths share: shapes, tolerances, and a layer with drawn arrays."""

import numpy as np
import pytest

from bnlab.batch_norm import BatchNorm

SHAPES = pytest.mark.parametrize(
    ("shape", "axis"),
    [((6, 3), -1), ((2, 3, 4, 5), -1), ((2, 3, 4, 5), 1), ((4, 4, 4), 1), ((4, 4), 0)],
    ids=["2-D", "4-D", "channels first", "equal lengths", "a square on its side"],
)
MODES = pytest.mark.parametrize("training", [True, False], ids=["training", "inference"])

# In float64 a result below 10 that went through some ten roundings, amplified by no more than
# 1 / sqrt(epsilon) = 32: 10 * 10 * 32 * 2**-53 = 4e-13.
FLOAT64 = 1e-12
# The same in float32, without the amplification, as the variances here are near 4: 100 * 2**-24.
FLOAT32 = 6e-6
# The v1 layer keeps 1 - momentum in float32 even for float64 data: 2**-24 of statistics below 10.
FLOAT32_MOMENTUM = 6e-7


def parameters(rng, features, dtype="float64"):
    gamma = rng.uniform(0.5, 1.5, features).astype(dtype)
    beta = rng.normal(size=features).astype(dtype)
    return gamma, beta


def drawn_layer(rng, shape, axis, dtype="float64", **options):
    layer = BatchNorm(shape[axis], axis=axis, dtype=dtype, **options)
    layer.gamma, layer.beta = parameters(rng, shape[axis], dtype)
    layer.moving_mean = rng.normal(size=shape[axis]).astype(dtype)
    layer.moving_variance = rng.uniform(0.5, 2, shape[axis]).astype(dtype)
    return layer


def arrays(layer):
    return {
        name: np.array(getattr(layer, name)) for name in ("gamma", "beta", "moving_mean", "moving_variance")
    }


def assert_unharmed(layer, before):
    for name, array in before.items():
        assert np.asarray(getattr(layer, name)).tobytes() == array.tobytes(), name


def other_axes(shape, axis):
    return [a for a in range(len(shape)) if a != axis % len(shape)]


def along(values, shape, axis):
    """Give values of shape (features,) the shape that broadcasts against x."""
    wide = np.ones(len(shape), int)
    wide[axis] = -1
    return np.reshape(values, wide)
