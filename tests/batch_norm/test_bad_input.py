"""Bad input is named, and leaves a layer as it was."""

import bnlab.tensorflow_setup  # noqa: F401 - first, so that the v1 layers are there

# isort: split
import numpy as np
import pytest
import tensorflow as tf
from batch_norm_cases import MODES, arrays, assert_unharmed, drawn_layer

from bnlab.batch_norm import BatchNorm, batch_moments, batch_norm_gradients, normalize

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
    layer = drawn_layer(rng, (4, 3), -1)
    layer.axis = axis
    before = arrays(layer)
    with pytest.raises(error, match=f"^{begins}") as caught:
        layer(x, training=training)
    assert "expected" in str(caught.value)
    assert_unharmed(layer, before)


@MODES
def test_a_feature_count_that_does_not_match_leaves_the_layer_unharmed(rng, training):
    layer = drawn_layer(rng, (4, 3), -1)
    before = arrays(layer)
    for shape in ((4, 2), (4, 1), (3, 4)):
        with pytest.raises(ValueError, match=rf"^x has {shape[1]} features on axis -1; expected 3"):
            layer(np.ones(shape), training=training)
    assert_unharmed(layer, before)


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
    layer = drawn_layer(rng, (4, 3), -1)
    layer.epsilon = epsilon
    before = arrays(layer)
    with pytest.raises(error, match=r"^epsilon is .*expected a"):
        layer(X, training=training)
    assert_unharmed(layer, before)


def test_no_epsilon_and_no_variance_leave_nothing_to_divide_by(rng):
    x = X.copy()
    x[:, 1] = 5
    with pytest.raises(ValueError, match=r"^epsilon is 0 and variance is 0 in feature 1; expected"):
        normalize(x, *batch_moments(x), epsilon=0)
    layer = drawn_layer(rng, (4, 3), -1, epsilon=0)
    before = arrays(layer)
    with pytest.raises(ValueError, match=r"^epsilon is 0 and variance is 0 in feature 1; expected"):
        layer(x, training=True)
    assert_unharmed(layer, before)
    layer(X, training=True)  # epsilon 0 is fine where there is a spread


@BAD_MOMENTUM
def test_bad_momentum(rng, momentum, error):
    with pytest.raises(error, match=r"^momentum is .*expected"):
        BatchNorm(3, momentum=momentum)
    layer = drawn_layer(rng, (4, 3), -1)
    layer.momentum = momentum
    before = arrays(layer)
    with pytest.raises(error, match=r"^momentum is .*expected"):
        layer(X, training=True)
    assert_unharmed(layer, before)


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
    layer = drawn_layer(rng, (4, 3), -1)
    before = arrays(layer)
    with pytest.raises(TypeError, match=r"^training is .*expected True or False"):
        layer(X, training=training)
    assert_unharmed(layer, before)


def test_training_has_no_default_and_no_position(rng):
    layer = drawn_layer(rng, (4, 3), -1)
    before = arrays(layer)
    with pytest.raises(TypeError, match="training"):
        layer(X)
    with pytest.raises(TypeError, match="positional"):
        layer(X, True)
    assert_unharmed(layer, before)


def test_numpy_bools_are_bools(rng):
    layer = drawn_layer(rng, (4, 3), -1)
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
        layer = drawn_layer(rng, (4, 3), -1)
        layer(X, training=training)
        before, good = arrays(layer), layer.backward(DY)
        with pytest.raises(error, match=f"^{begins}"):
            layer.backward(dy)
        assert_unharmed(layer, before)
        for again, expected in zip(layer.backward(DY), good, strict=True):
            np.testing.assert_array_equal(again, expected)


def test_backward_before_a_call(rng):
    layer = drawn_layer(rng, (4, 3), -1)
    before = arrays(layer)
    with pytest.raises(ValueError, match=r"^backward needs a call of the layer before it; dy"):
        layer.backward(DY)
    assert_unharmed(layer, before)


@MODES
def test_a_failed_call_leaves_backward_with_the_last_good_one(rng, training):
    layer = drawn_layer(rng, (4, 3), -1)
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
