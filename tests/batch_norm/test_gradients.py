"""The gradients against central differences and TensorFlow."""

import bnlab.tensorflow_setup  # noqa: F401 - first, so that the v1 layers are there

# isort: split
import numpy as np
import pytest
import tensorflow as tf
from batch_norm_cases import (
    FLOAT32,
    FLOAT64,
    MODES,
    SHAPES,
    along,
    arrays,
    assert_unharmed,
    drawn_layer,
    other_axes,
)

from bnlab.batch_norm import batch_moments, batch_norm_gradients, normalize

# Central differences of step h = 1e-5 in float64: truncation h**2 * f''' / 6, some 1e-10 times a
# third derivative below 100, plus rounding 2**-53 * |loss| / h = 1e-16 * 50 / 1e-5.
STEP, DIFFERENCES = 1e-5, 1e-8


def _central_differences(loss, array):
    gradient = np.empty_like(array)
    for index in np.ndindex(array.shape):
        values = []
        for step in (STEP, -STEP):
            moved = array.copy()
            moved[index] += step
            values.append(loss(moved))
        gradient[index] = (values[0] - values[1]) / (2 * STEP)
    return gradient


@SHAPES
@MODES
def test_backward_agrees_with_central_differences(rng, shape, axis, training):
    layer = drawn_layer(rng, shape, axis)
    x, dy = rng.normal(1, 2, shape), rng.normal(size=shape)
    gamma, beta = layer.gamma, layer.beta
    moving = layer.moving_mean, layer.moving_variance

    def loss(x, gamma, beta):
        moments = batch_moments(x, axis=axis) if training else moving
        return np.sum(dy * normalize(x, *moments, gamma=gamma, beta=beta, axis=axis))

    layer(x, training=training)
    dx, dgamma, dbeta = layer.backward(dy)

    expected = (
        _central_differences(lambda moved: loss(moved, gamma, beta), x),
        _central_differences(lambda moved: loss(x, moved, beta), gamma),
        _central_differences(lambda moved: loss(x, gamma, moved), beta),
    )
    for ours, theirs in zip((dx, dgamma, dbeta), expected, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=DIFFERENCES)


@SHAPES
@MODES
@pytest.mark.parametrize(("dtype", "tolerance"), [("float64", FLOAT64), ("float32", 4 * FLOAT32)])
def test_backward_agrees_with_gradient_tape(rng, shape, axis, training, dtype, tolerance):
    # In float32 dgamma and dbeta sum up to 40 products below 10: four times the tolerance.
    layer = drawn_layer(rng, shape, axis, dtype)
    x, dy = rng.normal(1, 2, shape).astype(dtype), rng.normal(size=shape).astype(dtype)
    sources = [tf.constant(array) for array in (x, layer.gamma, layer.beta)]
    with tf.GradientTape() as tape:
        tape.watch(sources)
        if training:
            moments = tf.nn.moments(sources[0], other_axes(shape, axis), keepdims=True)
        else:
            moments = [
                along(layer.moving_mean, shape, axis),
                along(layer.moving_variance, shape, axis),
            ]
        wide = tf.ones(len(shape), tf.int32).numpy()
        wide[axis] = shape[axis]
        gamma, beta = (tf.reshape(source, wide) for source in sources[1:])
        y = tf.nn.batch_normalization(sources[0], *moments, beta, gamma, layer.epsilon)
    expected = tape.gradient(y, sources, output_gradients=tf.constant(dy))

    layer(x, training=training)
    for ours, theirs in zip(layer.backward(dy), expected, strict=True):
        assert ours.dtype == dtype
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=tolerance)


@SHAPES
def test_backward_in_training_is_batch_norm_gradients(rng, shape, axis):
    layer = drawn_layer(rng, shape, axis, epsilon=0.1)
    x, dy = rng.normal(1, 2, shape), rng.normal(size=shape)
    layer(x, training=True)
    expected = batch_norm_gradients(dy, x, gamma=layer.gamma, epsilon=0.1, axis=axis)
    for ours, theirs in zip(layer.backward(dy), expected, strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_gradients_without_gamma_are_those_of_gamma_one(rng):
    x, dy = rng.normal(size=(5, 3)), rng.normal(size=(5, 3))
    expected = batch_norm_gradients(dy, x, gamma=np.ones(3))
    for ours, theirs in zip(batch_norm_gradients(dy, x), expected, strict=True):
        np.testing.assert_array_equal(ours, theirs)


@MODES
def test_backward_is_of_the_call_even_if_the_layer_changes_after_it(rng, training):
    layer = drawn_layer(rng, (6, 3), -1)
    x, dy = rng.normal(size=(6, 3)), rng.normal(size=(6, 3))
    layer(x, training=training)
    expected = layer.backward(dy)
    layer.gamma *= 7
    layer.moving_mean += 7
    layer.moving_variance = 7 * layer.moving_variance
    for ours, theirs in zip(layer.backward(dy), expected, strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_backward_changes_nothing(rng):
    layer = drawn_layer(rng, (6, 3), -1)
    x, dy = rng.normal(size=(6, 3)), rng.normal(size=(6, 3))
    layer(x, training=True)
    before, x_before, dy_before = arrays(layer), x.copy(), dy.copy()
    layer.backward(dy)
    assert_unharmed(layer, before)
    np.testing.assert_array_equal(x, x_before)
    np.testing.assert_array_equal(dy, dy_before)
