"""Batches of one, of identical rows, of huge numbers: what comes out at the edges."""

import bnlab.tensorflow_setup  # noqa: F401 - first, so that the v1 layers are there

# isort: split
import keras
import numpy as np
import pytest
import tensorflow as tf
from batch_norm_cases import arrays, assert_unharmed, drawn_layer

from bnlab.batch_norm import BatchNorm, batch_moments, batch_norm_gradients, normalize


def test_a_batch_of_one_gives_beta_no_gradient_and_a_variance_that_decays():
    layer = BatchNorm(2, momentum=0.9)
    layer.beta = np.float32([0.3, -0.3])
    y = layer(np.float32([[5.0, -7e5]]), training=True)
    dx, dgamma, dbeta = layer.backward(np.float32([[2.0, 3.0]]))
    np.testing.assert_array_equal(y, [layer.beta])
    np.testing.assert_array_equal(dx, [[0, 0]])
    np.testing.assert_array_equal(dgamma, [0, 0])
    np.testing.assert_array_equal(dbeta, [2, 3])
    np.testing.assert_array_equal(layer.moving_variance, np.float32([0.9, 0.9]))


@pytest.mark.parametrize("distance", [1.0, 30.0, 1e6])
def test_a_batch_of_two_gives_plus_and_minus_one_whatever_the_values(distance):
    x = np.array([[4.0], [4.0 + distance]])
    half = distance / 2
    y = normalize(x, *batch_moments(x))
    exact = half / np.sqrt(half**2 + 1e-3)
    # x near 1e6 is a rounded number: half of it differs from its own by 2**-53 * 1e6 / 5e5.
    np.testing.assert_allclose(y, [[-exact], [exact]], rtol=1e-15, atol=0)
    assert abs(exact - 1) < 2e-3  # epsilon / 2 of the smallest variance, .25


def test_one_value_per_channel_gives_beta():
    x = np.arange(6, dtype="float32").reshape(1, 1, 1, 6)
    beta = np.linspace(-1, 1, 6, dtype="float32")
    np.testing.assert_array_equal(np.ravel(normalize(x, *batch_moments(x), beta=beta)), beta)


def test_float16_is_computed_in_float32():
    x = np.float16([[1000], [-1000]])
    mean, variance = batch_moments(x)
    y = normalize(x, mean, variance)
    dx, dgamma, dbeta = batch_norm_gradients(np.float16([[1], [3]]), x)
    assert mean.dtype == variance.dtype == dgamma.dtype == dbeta.dtype == np.float32
    assert variance == [1e6]  # float16 ends at 65504
    assert y.dtype == dx.dtype == np.float16
    np.testing.assert_array_equal(y, [[1], [-1]])

    layer = BatchNorm(1, momentum=0.0)
    np.testing.assert_array_equal(layer(x, training=True), [[1], [-1]])
    np.testing.assert_array_equal(layer(x, training=False), [[1], [-1]])
    assert layer.moving_variance.dtype == np.float32
    assert layer.moving_variance == [1e6]


def test_float16_layer_agrees_with_keras_3(rng):
    x = rng.normal(0, 300, (8, 3)).astype("float16")
    theirs = keras.layers.BatchNormalization(dtype="mixed_float16")
    y = BatchNorm(3)(x, training=True)
    # One unit in the last place of a float16 between 2 and 4.
    np.testing.assert_allclose(y, theirs(x, training=True), rtol=0, atol=2**-9)


def test_nan_goes_through_the_plain_functions_in_its_own_channel_only(rng):
    x, dy = rng.normal(size=(5, 3)), rng.normal(size=(5, 3))
    clean_mean, clean_variance = batch_moments(x)
    clean = normalize(x, clean_mean, clean_variance), *batch_norm_gradients(dy, x)
    x[2, 1] = np.nan
    mean, variance = batch_moments(x)
    assert np.isnan(mean).tolist() == np.isnan(variance).tolist() == [False, True, False]
    results = normalize(x, mean, variance), *batch_norm_gradients(dy, x)
    for result, expected in zip(results[:3], clean[:3], strict=True):
        assert np.isnan(result[..., 1]).all()
        np.testing.assert_array_equal(result[..., [0, 2]], expected[..., [0, 2]])
    np.testing.assert_array_equal(results[3], clean[3])  # dbeta does not see x


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 3e38])
def test_the_layer_refuses_a_poisoned_batch_in_training_and_names_the_features(rng, bad):
    layer = drawn_layer(rng, (4, 3), -1, "float32", momentum=1.0)
    x = rng.normal(size=(4, 3)).astype("float32")
    layer(x, training=True)
    before, poisoned = arrays(layer), x.copy()
    poisoned[3, 1] = bad  # 3e38 is finite, its square is not
    with pytest.raises(ValueError, match=r"^x has .* feature 1;.*expected"):
        layer(poisoned, training=True)
    assert_unharmed(layer, before)


def test_many_poisoned_features_are_named_in_short():
    x = np.full((2, 9), np.nan)
    with pytest.raises(ValueError, match=r"feature 0, 1, 2, 3, 4 and more;"):
        BatchNorm(9)(x, training=True)


def test_inference_lets_nan_through_and_stays_as_it_was(rng):
    layer = drawn_layer(rng, (4, 3), -1)
    before = arrays(layer)
    x = rng.normal(size=(4, 3))
    x[3, 1] = np.nan
    y = layer(x, training=False)
    assert np.isnan(y).sum() == 1
    assert np.isnan(y[3, 1])
    assert_unharmed(layer, before)


@pytest.mark.parametrize("rows", [2, 7, 1000, 10_000, 300_000])
@pytest.mark.parametrize("c", [0.1, 100, 1e4 + 0.1, 1e6 + 0.3])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_identical_inputs_give_exactly_themselves_zero_and_beta(c, rows, dtype):
    x = np.full((rows, 3), c, dtype)
    beta = np.full(3, -0.3, dtype)
    mean, variance = batch_moments(x)
    np.testing.assert_array_equal(mean, x[0])
    np.testing.assert_array_equal(variance, 0)
    y = normalize(x, mean, variance, gamma=np.full(3, 0.5), beta=beta)
    assert (y == beta).all()


def test_a_small_spread_on_a_large_mean_is_no_worse_than_tensorflow(rng):
    x = rng.normal(1e4, 0.01, (256, 16)).astype("float32")
    exact = x.astype("float64")
    exact = (exact - exact.mean(0)) / np.sqrt(exact.var(0) + 1e-3)
    y = normalize(x, *batch_moments(x))
    theirs = tf.nn.batch_normalization(x, *tf.nn.moments(x, [0]), None, None, 1e-3)
    assert np.abs(y - exact).max() <= np.abs(theirs - exact).max()
    # What is left: the mean itself, rounded to a float32 near 1e4, times 1 / sqrt(epsilon).
    assert np.abs(y - exact).max() <= 2**-11 / np.sqrt(1e-3)


def test_float32_sums_over_many_rows_keep_their_digits(rng):
    x = rng.standard_normal((200_000, 64), "float32") + np.float32(5)
    exact = x.astype("float64")
    exact = (exact - exact.mean(0)) / np.sqrt(exact.var(0) + 1e-3)
    y = normalize(x, *batch_moments(x))
    # Rounding the mean near 5 (2**-22), x - mean below 8 (2**-22), a factor and a product of
    # y below 8 (2**-22 each), and the variance, which repeats no error (2**-22): 5 * 2**-22.
    assert np.abs(y - exact).max() < 5 * 2**-22


@pytest.mark.parametrize("features", [1, 3, 64])
def test_float32_variance_of_two_values_keeps_its_digits(features):
    # All squares are equal, so the roundings of a long sum all go the same way.
    x = np.where(np.arange(100_000)[:, None] % 2, 0.1, -0.1) * np.ones(features)
    x = x.astype("float32")
    _, variance = batch_moments(x)
    # A sum of at most 1024 terms in float32 is off by 1024 * 2**-24 at the very worst.
    np.testing.assert_allclose(variance, x.astype("float64").var(0), rtol=1024 * 2**-24, atol=0)


@pytest.mark.parametrize(("x", "momentum", "stored"), [([0, 2], 0.5, 0.5), ([1, 2, 3, 4], 0.0, 1.25)])
def test_the_stored_variance_is_the_biased_one(x, momentum, stored):
    layer = BatchNorm(1, momentum=momentum)
    layer.moving_variance = np.zeros(1, "float32")
    layer(np.float32(x)[:, None], training=True)
    np.testing.assert_array_equal(layer.moving_variance, [stored])


def test_inference_uses_and_keeps_the_moving_statistics():
    layer = BatchNorm(1)
    layer.moving_mean, layer.moving_variance = np.array([10.0]), np.array([4.0])
    before = arrays(layer)
    y = layer(np.array([[10.0], [12.0]]), training=False)
    np.testing.assert_array_equal(y, [[0], [2 / np.sqrt(4.001)]])
    assert_unharmed(layer, before)


def test_a_training_call_weighs_the_old_statistics_with_momentum():
    layer = BatchNorm(1, momentum=0.75, dtype="float64")
    layer.moving_mean, layer.moving_variance = np.array([8.0]), np.array([4.0])
    layer(np.array([[0.0], [4.0]]), training=True)  # mean 2, variance 4
    np.testing.assert_array_equal(layer.moving_mean, [0.75 * 8 + 0.25 * 2])
    np.testing.assert_array_equal(layer.moving_variance, [4])
