"""Dtypes, layouts and memory of what goes in and comes out; arrays that are assigned."""

import tracemalloc

import numpy as np
import pytest
from batch_norm_cases import (
    FLOAT32,
    FLOAT64,
    MODES,
    SHAPES,
    arrays,
    assert_unharmed,
    drawn_layer,
    other_axes,
    parameters,
)

from bnlab.batch_norm import BatchNorm, batch_moments, batch_norm_gradients, normalize


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", "longdouble"])
@MODES
def test_y_and_dx_have_the_dtype_of_x_and_the_statistics_that_of_the_layer(rng, dtype, training):
    x = rng.normal(size=(5, 3)).astype(dtype)
    layer = BatchNorm(3)
    y = layer(x, training=training)
    dx, _, _ = layer.backward(y)
    assert y.dtype == dx.dtype == np.dtype(dtype)
    assert {array.dtype for array in arrays(layer).values()} == {np.dtype("float32")}


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
    others = tuple(other_axes(x.shape, axis))
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
    gamma, beta = parameters(rng, shape[axis])
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
    layer = drawn_layer(rng, shape, axis)
    x, dy = (100 * rng.normal(size=shape)).astype(dtype), rng.normal(size=shape)
    given = [x, dy, layer.gamma, layer.beta, layer.moving_mean, layer.moving_variance]
    before = [array.copy() for array in given]
    y = layer(x, training=training)
    dx, _, _ = layer.backward(dy)
    for array, copy in zip(given, before, strict=True):
        np.testing.assert_array_equal(array, copy)  # an update makes new arrays, too
    assert not np.shares_memory(y, x)
    assert not np.shares_memory(dx, dy)


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
    layer = drawn_layer(rng, (4, 3), -1)
    setattr(layer, name, value)
    before = arrays(layer)
    with pytest.raises(error, match=rf"^{name} has .*expected"):
        layer(rng.normal(size=(4, 3)), training=training)
    assert_unharmed(layer, before)


@MODES
def test_a_negative_moving_variance_is_named(rng, training):
    layer = drawn_layer(rng, (4, 3), -1)
    layer.moving_variance = [1, -0.5, 1]
    before = arrays(layer)
    with pytest.raises(ValueError, match=r"^moving_variance is negative in feature 1; expected"):
        layer(rng.normal(size=(4, 3)), training=training)
    assert_unharmed(layer, before)


@pytest.mark.parametrize("name", ["moving_mean", "moving_variance"])
def test_a_statistic_poisoned_elsewhere_is_not_blamed_on_x(rng, name):
    layer = drawn_layer(rng, (4, 3), -1)
    setattr(layer, name, [1, np.nan, 1])
    before = arrays(layer)
    with pytest.raises(ValueError, match=rf"^{name} is not finite in feature 1; expected"):
        layer(rng.normal(size=(4, 3)), training=True)
    assert_unharmed(layer, before)


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
