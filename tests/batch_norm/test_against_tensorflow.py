"""The maths against TensorFlow, Keras 3 and the v1 layer."""

import bnlab.tensorflow_setup  # noqa: F401 - first, so that the v1 layers are there

# isort: split
import keras
import numpy as np
import pytest
import tensorflow as tf
from batch_norm_cases import (
    FLOAT32,
    FLOAT32_MOMENTUM,
    FLOAT64,
    SHAPES,
    along,
    arrays,
    drawn_layer,
    other_axes,
    parameters,
)

from bnlab.batch_norm import BatchNorm, batch_moments, batch_norm_gradients, normalize

v1 = tf.compat.v1
pytestmark = pytest.mark.filterwarnings("ignore:.tf.layers.*deprecated:UserWarning")


@SHAPES
@pytest.mark.parametrize(("dtype", "tolerance"), [("float64", FLOAT64), ("float32", FLOAT32)])
def test_moments_and_normalize_agree_with_tf_nn(rng, shape, axis, dtype, tolerance):
    x = rng.normal(1, 2, shape).astype(dtype)
    gamma, beta = parameters(rng, shape[axis], dtype)
    tf_mean, tf_variance = tf.nn.moments(x, other_axes(shape, axis), keepdims=True)
    tf_y = tf.nn.batch_normalization(
        x, tf_mean, tf_variance, along(beta, shape, axis), along(gamma, shape, axis), 1e-3
    )

    mean, variance = batch_moments(x, axis=axis)
    y = normalize(x, mean, variance, gamma=gamma, beta=beta, axis=axis)

    assert mean.shape == variance.shape == (shape[axis],)
    np.testing.assert_allclose(mean, np.ravel(tf_mean), rtol=0, atol=tolerance)
    np.testing.assert_allclose(variance, np.ravel(tf_variance), rtol=0, atol=tolerance)
    np.testing.assert_allclose(y, tf_y, rtol=0, atol=tolerance)


@SHAPES
@pytest.mark.parametrize("epsilon", [1e-7, 1e-2, 0.3, 5.0])
def test_any_epsilon_agrees_with_tf_nn(rng, shape, axis, epsilon):
    x, dy = rng.normal(1, 2, shape), rng.normal(size=shape)
    gamma, beta = parameters(rng, shape[axis])
    sources = [tf.constant(array) for array in (x, gamma, beta)]
    with tf.GradientTape() as tape:
        tape.watch(sources)
        moments = tf.nn.moments(sources[0], other_axes(shape, axis), keepdims=True)
        scale, offset = (tf.reshape(source, along(gamma, shape, axis).shape) for source in sources[1:])
        expected = tf.nn.batch_normalization(sources[0], *moments, offset, scale, epsilon)
    slopes = tape.gradient(expected, sources, output_gradients=tf.constant(dy))

    y = normalize(x, *batch_moments(x, axis=axis), gamma=gamma, beta=beta, epsilon=epsilon, axis=axis)
    layer = BatchNorm(shape[axis], axis=axis, epsilon=epsilon, dtype="float64")
    layer.gamma, layer.beta = gamma, beta

    np.testing.assert_allclose(y, expected, rtol=0, atol=FLOAT64)
    np.testing.assert_allclose(layer(x, training=True), expected, rtol=0, atol=FLOAT64)
    plain = batch_norm_gradients(dy, x, gamma=gamma, epsilon=epsilon, axis=axis)
    for ours in (plain, layer.backward(dy)):
        for mine, theirs in zip(ours, slopes, strict=True):
            np.testing.assert_allclose(mine, theirs, rtol=0, atol=FLOAT64)


@SHAPES
def test_gamma_and_beta_default_to_one_and_zero(rng, shape, axis):
    x = rng.normal(1, 2, shape)
    moments = batch_moments(x, axis=axis)
    ones, zeros = np.ones(shape[axis]), np.zeros(shape[axis])
    np.testing.assert_array_equal(
        normalize(x, *moments, axis=axis), normalize(x, *moments, gamma=ones, beta=zeros, axis=axis)
    )


@SHAPES
@pytest.mark.parametrize(("dtype", "tolerance"), [("float64", FLOAT64), ("float32", FLOAT32)])
def test_layer_agrees_with_keras_3_over_several_calls(rng, shape, axis, dtype, tolerance):
    ours = drawn_layer(rng, shape, axis, dtype, momentum=0.9)
    theirs = keras.layers.BatchNormalization(axis=axis, momentum=0.9, dtype=dtype)
    theirs.build(shape)
    theirs.set_weights(list(arrays(ours).values()))
    for training in (True, False, True, True, False):
        x = rng.normal(1, 2, shape).astype(dtype)
        y = ours(x, training=training)
        np.testing.assert_allclose(y, theirs(x, training=training), rtol=0, atol=tolerance)
        for mine, keras_weight in zip(arrays(ours).values(), theirs.get_weights(), strict=True):
            np.testing.assert_allclose(mine, keras_weight, rtol=0, atol=tolerance)


def test_defaults_are_those_of_keras_3():
    ours, theirs = BatchNorm(3), keras.layers.BatchNormalization()
    theirs.build((None, 3))
    assert (ours.axis, ours.momentum, ours.epsilon) == (
        theirs.axis,
        theirs.momentum,
        theirs.epsilon,
    )
    for mine, keras_weight in zip(arrays(ours).values(), theirs.get_weights(), strict=True):
        assert mine.dtype == keras_weight.dtype
        np.testing.assert_array_equal(mine, keras_weight)


def _run_v1_layer(batches, axis, weights, *, fused=None):
    """Feed the real v1 layer; return its outputs in both modes and its moving statistics."""
    with tf.Graph().as_default(), v1.Session() as session:
        x = v1.placeholder(batches[0].dtype, batches[0].shape)
        training = v1.placeholder(tf.bool, ())
        y = v1.layers.batch_normalization(x, axis=axis, momentum=0.9, training=training, fused=fused)
        updates = v1.get_collection(v1.GraphKeys.UPDATE_OPS)
        assert len(updates) == 2
        for variable, value in zip(v1.global_variables(), weights, strict=True):
            variable.load(value, session)
        in_training = [session.run([y, updates], {x: b, training: True})[0] for b in batches]
        in_inference = session.run(y, {x: batches[0], training: False})
        return in_training, in_inference, session.run(v1.global_variables())[2:]


@SHAPES
@pytest.mark.parametrize(
    ("dtype", "fused", "tolerance"),
    [("float64", None, FLOAT32_MOMENTUM), ("float32", False, FLOAT32)],
)
def test_layer_agrees_with_the_v1_layer_that_is_not_fused(rng, shape, axis, dtype, fused, tolerance):
    layer = drawn_layer(rng, shape, axis, dtype, momentum=0.9)
    batches = [rng.normal(1, 2, shape).astype(dtype) for _ in range(3)]
    in_training, in_inference, statistics = _run_v1_layer(batches, axis, arrays(layer).values(), fused=fused)

    for x, y in zip(batches, in_training, strict=True):
        exactly = FLOAT64 if dtype == "float64" else FLOAT32
        np.testing.assert_allclose(layer(x, training=True), y, rtol=0, atol=exactly)
    np.testing.assert_allclose(layer.moving_mean, statistics[0], rtol=0, atol=tolerance)
    np.testing.assert_allclose(layer.moving_variance, statistics[1], rtol=0, atol=tolerance)
    # The statistics enter y through a slope below gamma * |x - mean| / variance = 1.5 * 10 / .5.
    np.testing.assert_allclose(layer(batches[0], training=False), in_inference, rtol=0, atol=30 * tolerance)


def test_the_v1_layer_in_two_dimensions_stores_the_biased_variance(rng):
    x = rng.normal(1, 2, (6, 3)).astype("float32")
    layer = drawn_layer(rng, x.shape, -1, "float32", momentum=0.9)
    _, _, statistics = _run_v1_layer([x], -1, arrays(layer).values())
    layer(x, training=True)
    np.testing.assert_allclose(layer.moving_variance, statistics[1], rtol=0, atol=FLOAT32)


@pytest.mark.parametrize("axis", [-1, 1], ids=["channels last", "channels first"])
def test_the_fused_v1_layer_stores_the_unbiased_variance_and_is_the_same_otherwise(rng, axis):
    shape, momentum = (2, 3, 4, 5), 0.9
    x = rng.normal(1, 2, shape).astype("float32")
    examples = x.size // shape[axis]
    layer = drawn_layer(rng, shape, axis, "float32", momentum=momentum)
    before = layer.moving_variance
    in_training, _, statistics = _run_v1_layer([x], axis, arrays(layer).values())

    y = layer(x, training=True)
    _, variance = batch_moments(x, axis=axis)

    np.testing.assert_allclose(y, in_training[0], rtol=0, atol=FLOAT32)
    np.testing.assert_allclose(layer.moving_mean, statistics[0], rtol=0, atol=FLOAT32)
    unbiased = variance * examples / (examples - 1)
    np.testing.assert_allclose(
        statistics[1], momentum * before + (1 - momentum) * unbiased, rtol=0, atol=FLOAT32
    )
    # The two kinds are told apart: they differ by hundreds of tolerances here.
    assert ((statistics[1] - layer.moving_variance) > 500 * FLOAT32).all()
