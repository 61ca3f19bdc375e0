"""The exponential moving average against closed forms, TensorFlow and Keras; and bad input."""

import bnlab.tensorflow_setup  # noqa: F401 - first, so that the v1 layers are there

# isort: split
import keras
import numpy as np
import pytest
import tensorflow as tf

from bnlab import moving_average
from bnlab.batch_norm import BatchNorm, batch_moments
from bnlab.moving_average import (
    from_pytorch,
    half_life,
    initial_share,
    trace,
    update,
    weights,
)

# TensorFlow keeps 1 - decay in float32, so its decay is one that float32 has exactly.
EXACT_DECAY = 0.875
# Float64: some hundred steps that each round values below 10 once or twice, and forget as they go.
FLOAT64 = 1e-13
MOMENTA = pytest.mark.parametrize("momentum", [0.0, 0.5, 0.9, 0.99, 1.0])


@pytest.fixture
def rng():
    return np.random.default_rng(11)


@pytest.mark.parametrize(
    ("momentum", "half", "one_percent"), [(0.9, 6.6, 44), (0.99, 69, 459), (0.999, 693, 4603)]
)
def test_half_life_and_one_percent_point(momentum, half, one_percent):
    # Both figures are printed rounded: to one decimal below 10, and to a whole step (up).
    assert round(half_life(momentum), 1 if half < 10 else 0) == half
    assert initial_share(momentum, one_percent) < 0.01 * (1 + 1e-3)
    assert initial_share(momentum, one_percent - 1) > 0.01


@pytest.mark.parametrize(("momentum", "share"), [(0.99, 0.366), (0.999, 0.905)])
def test_share_of_the_initial_value_after_100_steps(momentum, share):
    assert round(initial_share(momentum, 100), 3) == share


@MOMENTA
def test_update_weighs_the_old_value_with_momentum(momentum):
    assert update(8.0, 2.0, momentum=momentum) == momentum * 8 + (1 - momentum) * 2


def test_update_at_the_ends():
    np.testing.assert_array_equal(update([1.0, 2.0], [3.0, 4.0], momentum=0), [3, 4])
    np.testing.assert_array_equal(update([1.0, 2.0], [3.0, 4.0], momentum=1), [1, 2])


def test_update_keeps_float32_and_promotes_integers():
    old, new = np.float32([0, 1]), np.float32([1, 1])
    assert update(old, new, momentum=0.9).dtype == np.float32
    np.testing.assert_array_equal(update([0, 1], [1, 1], momentum=0.5), [0.5, 1])


def test_nothing_changes_its_arguments(rng):
    values, old, new, initial = rng.normal(size=(4, 5, 3))
    before = [array.copy() for array in (values, old, new, initial)]
    update(old, new, momentum=0.9)
    for debias in (False, True):
        averages = trace(values, momentum=0.9, initial=initial[0], debias=debias)
        assert not np.shares_memory(averages, values)
    steps = np.arange(5)
    initial_share(0.9, steps)
    np.testing.assert_array_equal(steps, np.arange(5))
    for array, copy in zip((values, old, new, initial), before, strict=True):
        np.testing.assert_array_equal(array, copy)


@pytest.mark.parametrize("initial", [0.0, 3.5])
@MOMENTA
def test_trace_agrees_with_the_weights_written_out(rng, momentum, initial):
    values = rng.normal(size=30)
    averages = trace(values, momentum=momentum, initial=initial)
    for step in range(1, 31):
        expected = initial_share(momentum, step) * initial
        expected += weights(momentum, step) @ values[:step]
        assert averages[step - 1] == pytest.approx(expected, rel=0, abs=FLOAT64)


def test_trace_agrees_with_train_exponential_moving_average(rng):
    values = rng.normal(5, 1, (40, 3))
    variable = tf.Variable(values[0])
    average = tf.train.ExponentialMovingAverage(decay=EXACT_DECAY)
    theirs = []
    for value in values:  # its average starts at the variable's first value, not at 0
        variable.assign(value)
        average.apply([variable])
        theirs.append(average.average(variable).numpy())
    ours = trace(values, momentum=EXACT_DECAY, initial=values[0])
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=FLOAT64)


def test_trace_agrees_with_zero_debias_of_train_exponential_moving_average(rng):
    v1 = tf.compat.v1
    values = rng.normal(5, 1, 40)
    with tf.Graph().as_default(), v1.Session() as session:
        value = v1.placeholder(tf.float64, ())
        average = tf.train.ExponentialMovingAverage(decay=EXACT_DECAY, zero_debias=True)
        apply = average.apply([value])
        session.run(v1.global_variables_initializer())
        theirs = []
        for number in values:
            session.run(apply, {value: number})
            theirs.append(session.run(average.average(value)))
    ours = trace(values, momentum=EXACT_DECAY, debias=True)
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=FLOAT64)


def test_trace_of_batch_moments_is_what_keras_3_stores(rng):
    batches = rng.normal(2, 3, (25, 8, 4))
    layer = keras.layers.BatchNormalization(momentum=0.9, dtype="float64")
    stored = []
    for x in batches:
        layer(x, training=True)
        stored.append([layer.moving_mean.numpy(), layer.moving_variance.numpy()])
    means, variances = zip(*(batch_moments(x) for x in batches), strict=True)
    stored_means, stored_variances = zip(*stored, strict=True)
    np.testing.assert_allclose(trace(means, momentum=0.9), stored_means, rtol=0, atol=FLOAT64)
    np.testing.assert_allclose(
        trace(variances, momentum=0.9, initial=1), stored_variances, rtol=0, atol=FLOAT64
    )


def test_trace_of_batch_moments_is_what_our_layer_stores(rng):
    batches = rng.normal(2, 3, (25, 8, 4))
    layer = BatchNorm(4, momentum=0.9, dtype="float64")
    for x in batches:
        layer(x, training=True)
    means, variances = zip(*(batch_moments(x) for x in batches), strict=True)
    np.testing.assert_array_equal(trace(means, momentum=0.9)[-1], layer.moving_mean)
    np.testing.assert_array_equal(trace(variances, momentum=0.9, initial=1)[-1], layer.moving_variance)


@pytest.mark.parametrize("momentum", [0.0, 0.5, 0.99])
@pytest.mark.parametrize("initial", [0.0, -3.0])
def test_debias_is_the_weighted_mean_of_the_values_alone(rng, momentum, initial):
    values = rng.normal(size=30)
    averages = trace(values, momentum=momentum, initial=initial, debias=True)
    expected = [np.average(values[:step], weights=weights(momentum, step)) for step in range(1, 31)]
    # 1 - momentum**steps is .01 at the smallest, and magnifies the error by a hundred.
    np.testing.assert_allclose(averages, expected, rtol=0, atol=100 * FLOAT64)


def test_debias_of_a_constant_is_the_constant():
    averages = trace(np.full(20, 4.0), momentum=0.99, initial=100.0, debias=True)
    # The initial 100 is taken out again: 2**-52 * 100, magnified by 1 / (1 - .99), a few times.
    np.testing.assert_allclose(averages, 4, rtol=0, atol=10 * 100 * 100 * 2**-52)


def test_trace_of_features_is_the_trace_of_each(rng):
    values, initial = rng.normal(size=(10, 3)), rng.normal(size=3)
    together = trace(values, momentum=0.9, initial=initial)
    for feature in range(3):
        alone = trace(values[:, feature], momentum=0.9, initial=initial[feature])
        np.testing.assert_array_equal(together[:, feature], alone)


def test_trace_takes_lists_and_integers_and_no_steps():
    averages = trace([2, 4], momentum=0.5)
    assert averages.dtype == np.float64
    np.testing.assert_array_equal(averages, [1, 2.5])
    assert trace([], momentum=0.5).shape == (0,)
    assert trace(np.empty((0, 3)), momentum=0.5).shape == (0, 3)


@MOMENTA
@pytest.mark.parametrize("steps", [0, 1, 7, 500])
def test_weights_and_the_initial_share_add_up_to_one(momentum, steps):
    given = weights(momentum, steps)
    assert given.shape == (steps,)
    assert given.dtype == np.float64
    assert given.sum() + initial_share(momentum, steps) == pytest.approx(1, rel=0, abs=FLOAT64)


def test_weights_are_oldest_first():
    np.testing.assert_array_equal(weights(0.5, 3), [0.125, 0.25, 0.5])
    np.testing.assert_array_equal(weights(0, 3), [0, 0, 1])
    np.testing.assert_array_equal(weights(1, 3), [0, 0, 0])


@pytest.mark.parametrize("momentum", [0.1, 0.5, 0.9, 0.999])
def test_half_is_left_after_the_half_life(momentum):
    assert initial_share(momentum, half_life(momentum)) == pytest.approx(0.5, rel=1e-12)


def test_half_life_at_the_ends():
    assert half_life(0) == 0
    assert half_life(1) == np.inf
    assert half_life(0.5) == 1


def test_initial_share_is_what_is_left_of_the_initial_value_in_a_trace():
    steps = np.arange(1, 21)
    left = trace(np.zeros(20), momentum=0.9, initial=1.0)
    np.testing.assert_allclose(initial_share(0.9, steps), left, rtol=0, atol=FLOAT64)


def test_initial_share_has_the_shape_of_steps():
    assert type(initial_share(0.9, 3)) is float
    assert initial_share(0.9, [[1, 2]]).shape == (1, 2)
    assert initial_share(0.9, 0) == 1
    assert initial_share(0, 0) == 1
    assert initial_share(0, 1) == 0


def test_from_pytorch_turns_the_weight_of_the_new_into_that_of_the_old():
    assert from_pytorch(0.1) == 0.9
    assert from_pytorch(0) == 1
    assert from_pytorch(1) == 0
    # PyTorch documents x_new = (1 - momentum) * x_old + momentum * x_t.
    assert update(8.0, 2.0, momentum=from_pytorch(0.25)) == 0.75 * 8 + 0.25 * 2


CALLS = {
    "update": lambda momentum: update(0.0, 1.0, momentum=momentum),
    "trace": lambda momentum: trace([1.0], momentum=momentum),
    "weights": lambda momentum: weights(momentum, 3),
    "half_life": half_life,
    "initial_share": lambda momentum: initial_share(momentum, 3),
    "from_pytorch": from_pytorch,
}


def test_every_public_function_is_among_the_calls_below():
    public = {
        name
        for name, value in vars(moving_average).items()
        if callable(value)
        and getattr(value, "__module__", "") == moving_average.__name__
        and not name.startswith("_")
    }
    assert public == set(CALLS)


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
@pytest.mark.parametrize(
    ("momentum", "error"),
    [
        (-0.01, ValueError),
        (1.01, ValueError),
        (np.nan, ValueError),
        (np.inf, ValueError),
        (None, TypeError),
        ("0.9", TypeError),
        (True, TypeError),
        (1j, TypeError),
        (np.array([0.9]), TypeError),
    ],
)
def test_bad_momentum(call, momentum, error):
    with pytest.raises(error, match=r"^momentum is .*expected"):
        call(momentum)


@pytest.mark.parametrize(
    ("moving", "batch", "error", "begins"),
    [
        (np.ones(3), np.ones(2), ValueError, r"batch has shape \(2,\); expected \(3,\)"),
        (np.ones(3), 1.0, ValueError, r"batch has shape \(\); expected \(3,\)"),
        (np.ones(3), np.ones((1, 3)), ValueError, r"batch has shape \(1, 3\); expected \(3,\)"),
        (1j, 1.0, TypeError, r"moving has dtype complex128; expected real"),
        (1.0, "1", TypeError, r"batch has dtype <U1; expected real"),
        (1.0, None, TypeError, r"batch has dtype object; expected real"),
    ],
)
def test_bad_values_of_update(moving, batch, error, begins):
    with pytest.raises(error, match=f"^{begins}"):
        update(moving, batch, momentum=0.5)


@pytest.mark.parametrize(
    ("values", "options", "error", "begins"),
    [
        (3.0, {}, ValueError, r"values has shape \(\); expected one value a step"),
        (["a"], {}, TypeError, r"values has dtype <U1; expected real"),
        ([1j], {}, TypeError, r"values has dtype complex128; expected real"),
        ([1.0], {"initial": [1.0, 2.0]}, ValueError, r"initial has shape \(2,\); expected \(\)"),
        (np.ones((2, 3)), {"initial": [1.0]}, ValueError, r"initial has shape \(1,\); expected"),
        ([1.0], {"initial": None}, TypeError, r"initial has dtype object; expected real"),
        ([1.0], {"momentum": 1, "debias": True}, ValueError, r"momentum is 1; expected less"),
    ],
)
def test_bad_values_of_trace(values, options, error, begins):
    with pytest.raises(error, match=f"^{begins}"):
        trace(values, **{"momentum": 0.5, **options})


@pytest.mark.parametrize(
    ("steps", "error"),
    [(-1, ValueError), (2.0, TypeError), (None, TypeError), ("3", TypeError), (True, TypeError)],
)
def test_bad_steps_of_weights(steps, error):
    with pytest.raises(error, match=r"^steps is .*expected"):
        weights(0.9, steps)


@pytest.mark.parametrize(
    ("steps", "error"),
    [(-1, ValueError), ([1, -2], ValueError), (np.nan, ValueError), ("3", TypeError), (None, TypeError)],
)
def test_bad_steps_of_initial_share(steps, error):
    with pytest.raises(error, match=r"^steps (is|has) .*expected"):
        initial_share(0.9, steps)
