"""The maths against central differences, TensorFlow, Keras 3 and the v1 layer; and bad input."""

import bnlab.tensorflow_setup  # noqa: F401 - first, so that the v1 layers are there

# isort: split
import tracemalloc

import keras
import numpy as np
import pytest
import tensorflow as tf

from bnlab.batch_norm import BatchNorm, batch_moments, batch_norm_gradients, normalize

v1 = tf.compat.v1
pytestmark = pytest.mark.filterwarnings("ignore:.tf.layers.*deprecated:UserWarning")

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


@pytest.fixture
def rng():
    return np.random.default_rng(7)


def _parameters(rng, features, dtype="float64"):
    gamma = rng.uniform(0.5, 1.5, features).astype(dtype)
    beta = rng.normal(size=features).astype(dtype)
    return gamma, beta


def _layer(rng, shape, axis, dtype="float64", **options):
    layer = BatchNorm(shape[axis], axis=axis, dtype=dtype, **options)
    layer.gamma, layer.beta = _parameters(rng, shape[axis], dtype)
    layer.moving_mean = rng.normal(size=shape[axis]).astype(dtype)
    layer.moving_variance = rng.uniform(0.5, 2, shape[axis]).astype(dtype)
    return layer


def _arrays(layer):
    return {
        name: np.array(getattr(layer, name)) for name in ("gamma", "beta", "moving_mean", "moving_variance")
    }


def _assert_unharmed(layer, before):
    for name, array in before.items():
        assert np.asarray(getattr(layer, name)).tobytes() == array.tobytes(), name


def _other_axes(shape, axis):
    return [a for a in range(len(shape)) if a != axis % len(shape)]


def _along(values, shape, axis):
    """Give values of shape (features,) the shape that broadcasts against x."""
    wide = np.ones(len(shape), int)
    wide[axis] = -1
    return np.reshape(values, wide)


# ---- against tf.nn ---------------------------------------------------------------------------


@SHAPES
@pytest.mark.parametrize(("dtype", "tolerance"), [("float64", FLOAT64), ("float32", FLOAT32)])
def test_moments_and_normalize_agree_with_tf_nn(rng, shape, axis, dtype, tolerance):
    x = rng.normal(1, 2, shape).astype(dtype)
    gamma, beta = _parameters(rng, shape[axis], dtype)
    tf_mean, tf_variance = tf.nn.moments(x, _other_axes(shape, axis), keepdims=True)
    tf_y = tf.nn.batch_normalization(
        x, tf_mean, tf_variance, _along(beta, shape, axis), _along(gamma, shape, axis), 1e-3
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
    gamma, beta = _parameters(rng, shape[axis])
    sources = [tf.constant(array) for array in (x, gamma, beta)]
    with tf.GradientTape() as tape:
        tape.watch(sources)
        moments = tf.nn.moments(sources[0], _other_axes(shape, axis), keepdims=True)
        scale, offset = (tf.reshape(source, _along(gamma, shape, axis).shape) for source in sources[1:])
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


# ---- against Keras 3 -------------------------------------------------------------------------


@SHAPES
@pytest.mark.parametrize(("dtype", "tolerance"), [("float64", FLOAT64), ("float32", FLOAT32)])
def test_layer_agrees_with_keras_3_over_several_calls(rng, shape, axis, dtype, tolerance):
    ours = _layer(rng, shape, axis, dtype, momentum=0.9)
    theirs = keras.layers.BatchNormalization(axis=axis, momentum=0.9, dtype=dtype)
    theirs.build(shape)
    theirs.set_weights(list(_arrays(ours).values()))
    for training in (True, False, True, True, False):
        x = rng.normal(1, 2, shape).astype(dtype)
        y = ours(x, training=training)
        np.testing.assert_allclose(y, theirs(x, training=training), rtol=0, atol=tolerance)
        for mine, keras_weight in zip(_arrays(ours).values(), theirs.get_weights(), strict=True):
            np.testing.assert_allclose(mine, keras_weight, rtol=0, atol=tolerance)


def test_defaults_are_those_of_keras_3():
    ours, theirs = BatchNorm(3), keras.layers.BatchNormalization()
    theirs.build((None, 3))
    assert (ours.axis, ours.momentum, ours.epsilon) == (
        theirs.axis,
        theirs.momentum,
        theirs.epsilon,
    )
    for mine, keras_weight in zip(_arrays(ours).values(), theirs.get_weights(), strict=True):
        assert mine.dtype == keras_weight.dtype
        np.testing.assert_array_equal(mine, keras_weight)


# ---- against the v1 layer --------------------------------------------------------------------


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
    layer = _layer(rng, shape, axis, dtype, momentum=0.9)
    batches = [rng.normal(1, 2, shape).astype(dtype) for _ in range(3)]
    in_training, in_inference, statistics = _run_v1_layer(batches, axis, _arrays(layer).values(), fused=fused)

    for x, y in zip(batches, in_training, strict=True):
        exactly = FLOAT64 if dtype == "float64" else FLOAT32
        np.testing.assert_allclose(layer(x, training=True), y, rtol=0, atol=exactly)
    np.testing.assert_allclose(layer.moving_mean, statistics[0], rtol=0, atol=tolerance)
    np.testing.assert_allclose(layer.moving_variance, statistics[1], rtol=0, atol=tolerance)
    # The statistics enter y through a slope below gamma * |x - mean| / variance = 1.5 * 10 / .5.
    np.testing.assert_allclose(layer(batches[0], training=False), in_inference, rtol=0, atol=30 * tolerance)


def test_the_v1_layer_in_two_dimensions_stores_the_biased_variance(rng):
    x = rng.normal(1, 2, (6, 3)).astype("float32")
    layer = _layer(rng, x.shape, -1, "float32", momentum=0.9)
    _, _, statistics = _run_v1_layer([x], -1, _arrays(layer).values())
    layer(x, training=True)
    np.testing.assert_allclose(layer.moving_variance, statistics[1], rtol=0, atol=FLOAT32)


@pytest.mark.parametrize("axis", [-1, 1], ids=["channels last", "channels first"])
def test_the_fused_v1_layer_stores_the_unbiased_variance_and_is_the_same_otherwise(rng, axis):
    shape, momentum = (2, 3, 4, 5), 0.9
    x = rng.normal(1, 2, shape).astype("float32")
    examples = x.size // shape[axis]
    layer = _layer(rng, shape, axis, "float32", momentum=momentum)
    before = layer.moving_variance
    in_training, _, statistics = _run_v1_layer([x], axis, _arrays(layer).values())

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


# ---- gradients -------------------------------------------------------------------------------

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
    layer = _layer(rng, shape, axis)
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
    layer = _layer(rng, shape, axis, dtype)
    x, dy = rng.normal(1, 2, shape).astype(dtype), rng.normal(size=shape).astype(dtype)
    sources = [tf.constant(array) for array in (x, layer.gamma, layer.beta)]
    with tf.GradientTape() as tape:
        tape.watch(sources)
        if training:
            moments = tf.nn.moments(sources[0], _other_axes(shape, axis), keepdims=True)
        else:
            moments = [
                _along(layer.moving_mean, shape, axis),
                _along(layer.moving_variance, shape, axis),
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
    layer = _layer(rng, shape, axis, epsilon=0.1)
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
    layer = _layer(rng, (6, 3), -1)
    x, dy = rng.normal(size=(6, 3)), rng.normal(size=(6, 3))
    layer(x, training=training)
    expected = layer.backward(dy)
    layer.gamma *= 7
    layer.moving_mean += 7
    layer.moving_variance = 7 * layer.moving_variance
    for ours, theirs in zip(layer.backward(dy), expected, strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_backward_changes_nothing(rng):
    layer = _layer(rng, (6, 3), -1)
    x, dy = rng.normal(size=(6, 3)), rng.normal(size=(6, 3))
    layer(x, training=True)
    before, x_before, dy_before = _arrays(layer), x.copy(), dy.copy()
    layer.backward(dy)
    _assert_unharmed(layer, before)
    np.testing.assert_array_equal(x, x_before)
    np.testing.assert_array_equal(dy, dy_before)


# ---- edges -----------------------------------------------------------------------------------


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
    layer = _layer(rng, (4, 3), -1, "float32", momentum=1.0)
    x = rng.normal(size=(4, 3)).astype("float32")
    layer(x, training=True)
    before, poisoned = _arrays(layer), x.copy()
    poisoned[3, 1] = bad  # 3e38 is finite, its square is not
    with pytest.raises(ValueError, match=r"^x has .* feature 1;.*expected"):
        layer(poisoned, training=True)
    _assert_unharmed(layer, before)


def test_many_poisoned_features_are_named_in_short():
    x = np.full((2, 9), np.nan)
    with pytest.raises(ValueError, match=r"feature 0, 1, 2, 3, 4 and more;"):
        BatchNorm(9)(x, training=True)


def test_inference_lets_nan_through_and_stays_as_it_was(rng):
    layer = _layer(rng, (4, 3), -1)
    before = _arrays(layer)
    x = rng.normal(size=(4, 3))
    x[3, 1] = np.nan
    y = layer(x, training=False)
    assert np.isnan(y).sum() == 1
    assert np.isnan(y[3, 1])
    _assert_unharmed(layer, before)


# ---- numerics --------------------------------------------------------------------------------


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
    before = _arrays(layer)
    y = layer(np.array([[10.0], [12.0]]), training=False)
    np.testing.assert_array_equal(y, [[0], [2 / np.sqrt(4.001)]])
    _assert_unharmed(layer, before)


def test_a_training_call_weighs_the_old_statistics_with_momentum():
    layer = BatchNorm(1, momentum=0.75, dtype="float64")
    layer.moving_mean, layer.moving_variance = np.array([8.0]), np.array([4.0])
    layer(np.array([[0.0], [4.0]]), training=True)  # mean 2, variance 4
    np.testing.assert_array_equal(layer.moving_mean, [0.75 * 8 + 0.25 * 2])
    np.testing.assert_array_equal(layer.moving_variance, [4])


# ---- dtypes and layouts ----------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", "longdouble"])
@MODES
def test_y_and_dx_have_the_dtype_of_x_and_the_statistics_that_of_the_layer(rng, dtype, training):
    x = rng.normal(size=(5, 3)).astype(dtype)
    layer = BatchNorm(3)
    y = layer(x, training=training)
    dx, _, _ = layer.backward(y)
    assert y.dtype == dx.dtype == np.dtype(dtype)
    assert {array.dtype for array in _arrays(layer).values()} == {np.dtype("float32")}


@pytest.mark.parametrize("dtype", ["int8", "uint8", "int64", "bool"])
def test_integers_are_promoted_as_for_a_mean(rng, dtype):
    x = rng.integers(0, 2 if dtype == "bool" else 100, (6, 3)).astype(dtype)
    exact = x.astype("float64")
    mean, variance = batch_moments(x)
    assert mean.dtype == variance.dtype == np.float64 == np.mean(x, axis=0).dtype
    np.testing.assert_allclose(mean, exact.mean(0), rtol=1e-15)
    np.testing.assert_allclose(variance, exact.var(0), rtol=1e-14)
    y = normalize(x, mean, variance)
    assert y.dtype == np.float64
    np.testing.assert_array_equal(y, normalize(exact, mean, variance))
    assert batch_norm_gradients(y, x)[0].dtype == np.float64


@SHAPES
def test_a_negative_axis_is_the_same_axis(rng, shape, axis):
    other = axis - len(shape) if axis >= 0 else axis + len(shape)
    x, dy = rng.normal(size=shape), rng.normal(size=shape)
    for one, two in zip(batch_moments(x, axis=axis), batch_moments(x, axis=other), strict=True):
        np.testing.assert_array_equal(one, two)
    moments = batch_moments(x, axis=axis)
    np.testing.assert_array_equal(normalize(x, *moments, axis=axis), normalize(x, *moments, axis=other))
    for one, two in zip(
        batch_norm_gradients(dy, x, axis=axis),
        batch_norm_gradients(dy, x, axis=other),
        strict=True,
    ):
        np.testing.assert_array_equal(one, two)


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_axis_is_the_axis_that_is_kept(rng, axis):
    x = rng.normal(size=(3, 4, 5))
    mean, variance = batch_moments(x, axis=axis)
    others = tuple(_other_axes(x.shape, axis))
    np.testing.assert_allclose(mean, x.mean(others), rtol=0, atol=FLOAT64)
    np.testing.assert_allclose(variance, x.var(others), rtol=0, atol=FLOAT64)
    y = normalize(x, mean, variance, axis=axis)
    assert y.shape == x.shape
    np.testing.assert_allclose(y.mean(others), 0, rtol=0, atol=FLOAT64)


LAYOUTS = {
    "every second row": lambda x: np.repeat(x, 2, axis=0)[::2],
    "reversed": lambda x: x[::-1].copy()[::-1],
    "Fortran order": np.asfortranarray,
    "transposed": lambda x: x.T.copy().T,
    "read-only": lambda x: np.broadcast_to(x, x.shape),
    "nested lists": lambda x: x.tolist(),
}


@SHAPES
@pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS)
def test_the_layout_in_memory_does_not_matter(rng, shape, axis, layout):
    x, dy = rng.normal(1, 2, shape), rng.normal(size=shape)
    gamma, beta = _parameters(rng, shape[axis])
    results = []
    for given_x, given_dy in ((x, dy), (layout(x), layout(dy))):
        layer = BatchNorm(shape[axis], axis=axis, dtype="float64")
        layer.gamma, layer.beta = gamma, beta
        y = layer(given_x, training=True)
        results.append((y, *layer.backward(given_dy), layer.moving_mean, layer.moving_variance))
    for plain, laid_out in zip(*results, strict=True):
        np.testing.assert_allclose(laid_out, plain, rtol=0, atol=FLOAT64)  # sums may be reordered


@SHAPES
@MODES
@pytest.mark.parametrize("dtype", ["float16", "float64", "int64"])
def test_the_arguments_are_not_changed(rng, shape, axis, training, dtype):
    layer = _layer(rng, shape, axis)
    x, dy = (100 * rng.normal(size=shape)).astype(dtype), rng.normal(size=shape)
    given = [x, dy, layer.gamma, layer.beta, layer.moving_mean, layer.moving_variance]
    before = [array.copy() for array in given]
    y = layer(x, training=training)
    dx, _, _ = layer.backward(dy)
    for array, copy in zip(given, before, strict=True):
        np.testing.assert_array_equal(array, copy)  # an update makes new arrays, too
    assert not np.shares_memory(y, x)
    assert not np.shares_memory(dx, dy)


# ---- assigned arrays -------------------------------------------------------------------------


def test_lists_may_be_assigned_and_an_update_does_not_round_them_to_integers():
    layer = BatchNorm(2, momentum=0.5)
    layer.gamma, layer.beta = [2, 2], [1, 1]
    layer.moving_mean, layer.moving_variance = [0, 0], [1, 1]
    x = np.float32([[0, 1], [2, 2]])  # means 1 and 1.5, variances 1 and .25
    np.testing.assert_allclose(
        layer(x, training=True), 2 * normalize(x, *batch_moments(x)) + 1, rtol=0, atol=FLOAT32
    )
    np.testing.assert_array_equal(layer.moving_mean, [0.5, 0.75])
    np.testing.assert_array_equal(layer.moving_variance, [1, 0.625])
    assert layer.moving_mean.dtype == layer.moving_variance.dtype == np.float32


@MODES
@pytest.mark.parametrize("name", ["gamma", "beta", "moving_mean", "moving_variance"])
@pytest.mark.parametrize(
    ("value", "error"),
    [
        (np.ones(2), ValueError),
        (np.ones((1, 3)), ValueError),
        (1.0, ValueError),
        ([], ValueError),
        (np.ones(3, complex), TypeError),
        (["a", "b", "c"], TypeError),
        ([1, None, 3], TypeError),
    ],
    ids=["too short", "a row", "a number", "empty", "complex", "strings", "objects"],
)
def test_a_bad_assigned_array_is_named(rng, training, name, value, error):
    layer = _layer(rng, (4, 3), -1)
    setattr(layer, name, value)
    before = _arrays(layer)
    with pytest.raises(error, match=rf"^{name} has .*expected"):
        layer(rng.normal(size=(4, 3)), training=training)
    _assert_unharmed(layer, before)


@MODES
def test_a_negative_moving_variance_is_named(rng, training):
    layer = _layer(rng, (4, 3), -1)
    layer.moving_variance = [1, -0.5, 1]
    before = _arrays(layer)
    with pytest.raises(ValueError, match=r"^moving_variance is negative in feature 1; expected"):
        layer(rng.normal(size=(4, 3)), training=training)
    _assert_unharmed(layer, before)


@pytest.mark.parametrize("name", ["moving_mean", "moving_variance"])
def test_a_statistic_poisoned_elsewhere_is_not_blamed_on_x(rng, name):
    layer = _layer(rng, (4, 3), -1)
    setattr(layer, name, [1, np.nan, 1])
    before = _arrays(layer)
    with pytest.raises(ValueError, match=rf"^{name} is not finite in feature 1; expected"):
        layer(rng.normal(size=(4, 3)), training=True)
    _assert_unharmed(layer, before)


# ---- bad input -------------------------------------------------------------------------------

X, ONE, DY = np.arange(12.0).reshape(4, 3), np.ones(3), np.ones((4, 3))
BAD_X = {  # id: x, axis, error, how the message begins
    "no example": (np.empty((0, 3)), -1, ValueError, r"x has shape \(0, 3\)"),
    "no pixel": (np.empty((2, 0, 4, 3)), -1, ValueError, r"x has shape \(2, 0, 4, 3\)"),
    "no feature": (np.empty((4, 0)), -1, ValueError, r"x has shape \(4, 0\)"),
    "one axis": (np.ones(3), -1, ValueError, r"x has shape \(3,\)"),
    "a number": (3.0, -1, ValueError, r"x has shape \(\)"),
    "axis too large": (X, 2, ValueError, r"axis is 2; expected -2 to 1"),
    "axis too small": (X, -3, ValueError, r"axis is -3; expected -2 to 1"),
    "complex": (X + 1j, -1, TypeError, r"x has dtype complex128"),
    "strings": (X.astype(str), -1, TypeError, r"x has dtype <U"),
    "objects": (X.astype(object), -1, TypeError, r"x has dtype object"),
    "dates": (X.astype("M8[s]"), -1, TypeError, r"x has dtype datetime64"),
}
BAD_X_CASES = pytest.mark.parametrize(("x", "axis", "error", "begins"), BAD_X.values(), ids=BAD_X.keys())
BAD_AXIS = pytest.mark.parametrize("axis", [None, 1.0, True, (0, 1), "last"])
BAD_EPSILON = pytest.mark.parametrize(
    ("epsilon", "error"),
    [
        (-1e-3, ValueError),
        (np.nan, ValueError),
        (np.inf, ValueError),
        ("small", TypeError),
        (None, TypeError),
        (True, TypeError),
        (1j, TypeError),
    ],
)
BAD_MOMENTUM = pytest.mark.parametrize(
    ("momentum", "error"),
    [
        (-0.1, ValueError),
        (1.01, ValueError),
        (np.nan, ValueError),
        (None, TypeError),
        ("0.9", TypeError),
        (True, TypeError),
    ],
)


@BAD_X_CASES
def test_bad_x_for_the_functions(x, axis, error, begins):
    features = np.ones(np.shape(x)[axis]) if np.ndim(x) > 1 and axis == -1 else ONE
    for call in (
        lambda: batch_moments(x, axis=axis),
        lambda: normalize(x, features, features, axis=axis),
        lambda: batch_norm_gradients(np.ones(np.shape(x)), x, axis=axis),
    ):
        with pytest.raises(error, match=f"^{begins}") as caught:
            call()
        assert "expected" in str(caught.value)


@MODES
@BAD_X_CASES
def test_bad_x_leaves_the_layer_unharmed(rng, x, axis, error, begins, training):
    layer = _layer(rng, (4, 3), -1)
    layer.axis = axis
    before = _arrays(layer)
    with pytest.raises(error, match=f"^{begins}") as caught:
        layer(x, training=training)
    assert "expected" in str(caught.value)
    _assert_unharmed(layer, before)


@MODES
def test_a_feature_count_that_does_not_match_leaves_the_layer_unharmed(rng, training):
    layer = _layer(rng, (4, 3), -1)
    before = _arrays(layer)
    for shape in ((4, 2), (4, 1), (3, 4)):
        with pytest.raises(ValueError, match=rf"^x has {shape[1]} features on axis -1; expected 3"):
            layer(np.ones(shape), training=training)
    _assert_unharmed(layer, before)


@BAD_AXIS
def test_an_axis_that_is_no_whole_number(axis):
    with pytest.raises(TypeError, match=r"^axis is .*expected a whole number"):
        batch_moments(X, axis=axis)
    with pytest.raises(TypeError, match=r"^axis is .*expected a whole number"):
        BatchNorm(3, axis=axis)


@pytest.mark.parametrize("name", ["mean", "variance", "gamma", "beta"])
@pytest.mark.parametrize(
    ("value", "error"),
    [
        (np.ones(2), ValueError),
        (np.ones((1, 3)), ValueError),
        (np.ones((3, 1)), ValueError),
        (1.0, ValueError),
        (np.ones(3, complex), TypeError),
        (["a", "b", "c"], TypeError),
    ],
)
def test_bad_statistics_and_parameters_of_normalize(name, value, error):
    given = {"mean": ONE, "variance": ONE, "gamma": ONE, "beta": ONE, name: value}
    with pytest.raises(error, match=rf"^{name} has .*expected"):
        normalize(X, given["mean"], given["variance"], gamma=given["gamma"], beta=given["beta"])
    if name == "gamma":
        with pytest.raises(error, match=rf"^{name} has .*expected"):
            batch_norm_gradients(DY, X, gamma=value)


def test_negative_variance_is_named_with_its_features():
    with pytest.raises(ValueError, match=r"^variance is negative in feature 0, 2; expected"):
        normalize(X, ONE, [-1e-9, 0, -2])


@BAD_EPSILON
def test_bad_epsilon(epsilon, error):
    for call in (
        lambda: normalize(X, ONE, ONE, epsilon=epsilon),
        lambda: batch_norm_gradients(DY, X, epsilon=epsilon),
        lambda: BatchNorm(3, epsilon=epsilon),
    ):
        with pytest.raises(error, match=r"^epsilon is .*expected a"):
            call()


@MODES
@BAD_EPSILON
def test_a_bad_assigned_epsilon_leaves_the_layer_unharmed(rng, epsilon, error, training):
    layer = _layer(rng, (4, 3), -1)
    layer.epsilon = epsilon
    before = _arrays(layer)
    with pytest.raises(error, match=r"^epsilon is .*expected a"):
        layer(X, training=training)
    _assert_unharmed(layer, before)


def test_no_epsilon_and_no_variance_leave_nothing_to_divide_by(rng):
    x = X.copy()
    x[:, 1] = 5
    with pytest.raises(ValueError, match=r"^epsilon is 0 and variance is 0 in feature 1; expected"):
        normalize(x, *batch_moments(x), epsilon=0)
    layer = _layer(rng, (4, 3), -1, epsilon=0)
    before = _arrays(layer)
    with pytest.raises(ValueError, match=r"^epsilon is 0 and variance is 0 in feature 1; expected"):
        layer(x, training=True)
    _assert_unharmed(layer, before)
    layer(X, training=True)  # epsilon 0 is fine where there is a spread


@BAD_MOMENTUM
def test_bad_momentum(rng, momentum, error):
    with pytest.raises(error, match=r"^momentum is .*expected"):
        BatchNorm(3, momentum=momentum)
    layer = _layer(rng, (4, 3), -1)
    layer.momentum = momentum
    before = _arrays(layer)
    with pytest.raises(error, match=r"^momentum is .*expected"):
        layer(X, training=True)
    _assert_unharmed(layer, before)


@pytest.mark.parametrize(
    ("features", "error"),
    [(0, ValueError), (-1, ValueError), (2.0, TypeError), (None, TypeError), (True, TypeError)],
)
def test_bad_features(features, error):
    with pytest.raises(error, match=r"^features is .*expected"):
        BatchNorm(features)


@pytest.mark.parametrize("dtype", ["int32", "complex64", "U3", object, bool])
def test_bad_dtype(dtype):
    with pytest.raises(TypeError, match=r"^dtype is .*expected a floating dtype"):
        BatchNorm(3, dtype=dtype)


@pytest.mark.parametrize("training", [None, 1, 0, "yes", np.array([True]), tf.constant(True)])
def test_training_that_is_not_a_bool_leaves_the_layer_unharmed(rng, training):
    layer = _layer(rng, (4, 3), -1)
    before = _arrays(layer)
    with pytest.raises(TypeError, match=r"^training is .*expected True or False"):
        layer(X, training=training)
    _assert_unharmed(layer, before)


def test_training_has_no_default_and_no_position(rng):
    layer = _layer(rng, (4, 3), -1)
    before = _arrays(layer)
    with pytest.raises(TypeError, match="training"):
        layer(X)
    with pytest.raises(TypeError, match="positional"):
        layer(X, True)
    _assert_unharmed(layer, before)


def test_numpy_bools_are_bools(rng):
    layer = _layer(rng, (4, 3), -1)
    np.testing.assert_array_equal(layer(X, training=np.False_), layer(X, training=False), strict=True)


@pytest.mark.parametrize(
    ("dy", "error", "begins"),
    [
        (np.ones((3, 4)), ValueError, r"dy has shape \(3, 4\); expected \(4, 3\)"),
        (np.ones(3), ValueError, r"dy has shape \(3,\); expected \(4, 3\)"),
        (1.0, ValueError, r"dy has shape \(\); expected \(4, 3\)"),
        (1j * DY, TypeError, r"dy has dtype complex128; expected real"),
        (DY.astype(str), TypeError, r"dy has dtype <U.*; expected real"),
    ],
)
def test_bad_dy(rng, dy, error, begins):
    with pytest.raises(error, match=f"^{begins}"):
        batch_norm_gradients(dy, X)
    for training in (True, False):
        layer = _layer(rng, (4, 3), -1)
        layer(X, training=training)
        before, good = _arrays(layer), layer.backward(DY)
        with pytest.raises(error, match=f"^{begins}"):
            layer.backward(dy)
        _assert_unharmed(layer, before)
        for again, expected in zip(layer.backward(DY), good, strict=True):
            np.testing.assert_array_equal(again, expected)


def test_backward_before_a_call(rng):
    layer = _layer(rng, (4, 3), -1)
    before = _arrays(layer)
    with pytest.raises(ValueError, match=r"^backward needs a call of the layer before it; dy"):
        layer.backward(DY)
    _assert_unharmed(layer, before)


@MODES
def test_a_failed_call_leaves_backward_with_the_last_good_one(rng, training):
    layer = _layer(rng, (4, 3), -1)
    x, dy = rng.normal(size=(4, 3)), rng.normal(size=(4, 3))
    layer(x, training=training)
    expected = layer.backward(dy)
    for bad, error in ((np.full((4, 3), np.nan), ValueError), (x + 1j, TypeError)):
        with pytest.raises(error, match=r"^x has"):
            layer(bad, training=True)
    with pytest.raises(TypeError, match="training"):
        layer(2 * x, training=1)
    for ours, theirs in zip(layer.backward(dy), expected, strict=True):
        np.testing.assert_array_equal(ours, theirs)


# ---- memory ----------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(4096, 1024), (64, 32, 32, 64)])
@pytest.mark.parametrize(
    "call",
    [
        lambda x: normalize(x, *batch_moments(x)),
        lambda x: batch_norm_gradients(x, x),
        lambda x: BatchNorm(x.shape[-1])(x, training=True),
    ],
    ids=["forward", "gradients", "layer"],
)
def test_beside_the_output_there_are_only_blocks(shape, call):
    x = np.random.default_rng(0).normal(size=shape).astype("float32")
    tracemalloc.start()
    try:
        call(x)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < x.nbytes + 4 * 2**20  # the blocks have half a MB each
