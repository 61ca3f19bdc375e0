"""What batch normalization promises for every input, tried on generated ones in float64."""

import numpy as np
import pytest

from bnlab.batch_norm import BatchNorm, batch_moments, batch_norm_gradients, normalize

pytest.importorskip("hypothesis", reason="Hypothesis is in the dev extra: pip install -e .[dev]")

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

# The same examples in each run, and nothing kept between runs.
steady = settings(derandomize=True, database=None, deadline=None, max_examples=60)

EPSILON = 1e-3
GAIN = 1 / np.sqrt(EPSILON)  # by how much normalize can magnify an error of x: 31.6


def numbers(largest):
    return st.floats(-largest, largest, allow_subnormal=False)


@st.composite
def batches(draw, *, largest=100.0, fewest=2, most=8, count=1):
    """Draw `count` arrays of one shape, fewest to most examples of 1 to 4 features."""
    shape = draw(st.integers(fewest, most)), draw(st.integers(1, 4))
    arrays = [draw(hnp.arrays(np.float64, shape, elements=numbers(largest))) for _ in range(count)]
    return arrays[0] if count == 1 else arrays


def tolerance(largest):
    """How far y may move when each x below `largest` and each mean is rounded once more, and so on.

    x, the mean and what is left of it are each off by 2**-53 * largest. That moves x - mean by four
    such steps and the deviation by no more; x_hat is below sqrt(8 - 1) = 2.6 for 8 examples, so the
    sum is magnified by (1 + 2.6) * GAIN.
    """
    return 4 * (1 + np.sqrt(7)) * GAIN * largest * 2**-53


def trained(x, **options):
    return normalize(x, *batch_moments(x), **options)


@steady
@given(batches(), numbers(1000))
def test_a_shift_of_all_inputs_changes_nothing(x, shift):
    np.testing.assert_allclose(trained(x + shift), trained(x), rtol=0, atol=tolerance(1100))


@steady
@given(batches(), numbers(10).filter(lambda scale: abs(scale) > 0.1))
def test_a_scale_of_all_inputs_changes_only_the_sign_if_epsilon_is_scaled_too(x, scale):
    # epsilon * scale**2 is below EPSILON for |scale| < 1, by which the rounding of scale * x shrinks
    # too: the tolerance stays that of x.
    y = trained(scale * x, epsilon=scale**2 * EPSILON)
    np.testing.assert_allclose(y, np.sign(scale) * trained(x), rtol=0, atol=tolerance(100))


@steady
@given(batches(), st.integers(-6, 6))
def test_a_scale_by_a_power_of_two_changes_not_one_bit(x, exponent):
    scale = 2.0**exponent
    y = trained(scale * x, epsilon=scale**2 * EPSILON)
    np.testing.assert_array_equal(y, trained(x))


@steady
@given(batches(), st.randoms(use_true_random=False))
def test_the_order_of_the_batch_does_not_matter(x, random):
    order = random.sample(range(len(x)), len(x))
    # A sum of 8 numbers below 100 in another order: three more roundings, of sums below 800.
    np.testing.assert_allclose(trained(x[order]), trained(x)[order], rtol=0, atol=tolerance(800))


@steady
@given(
    st.floats(-(2.0**100), 2.0**100, width=32),
    numbers(10),
    numbers(10),
    st.integers(1, 5000),
    st.sampled_from(["float32", "float64"]),
)
def test_a_constant_feature_gives_beta_to_the_last_bit(c, gamma, beta, examples, dtype):
    x = np.full((examples, 2), c, dtype)
    x[:, 1] = np.arange(examples) % 7  # a neighbour that is not constant
    beta = np.full(2, beta, dtype)
    mean, variance = batch_moments(x)
    assert mean[0] == x[0, 0]
    assert variance[0] == 0
    y = normalize(x, mean, variance, gamma=np.full(2, gamma), beta=beta)
    np.testing.assert_array_equal(y[:, 0], np.full(examples, beta[0]))


@steady
@given(batches(fewest=1, most=1, largest=1e100, count=3))
def test_a_batch_of_one_gives_beta_and_no_gradient(arrays):
    x, dy, beta = arrays
    np.testing.assert_array_equal(trained(x, beta=beta[0]), beta)
    np.testing.assert_array_equal(batch_norm_gradients(dy, x)[0], np.zeros_like(x))


@steady
@given(batches(), st.lists(batches(), max_size=2))
def test_with_momentum_0_inference_after_one_step_equals_training(x, earlier):
    layer = BatchNorm(x.shape[1], momentum=0.0, dtype="float64")
    for other in earlier:  # with momentum 0 the past leaves no trace
        layer(np.resize(other, (len(other), x.shape[1])), training=True)
    in_training = layer(x, training=True)
    np.testing.assert_array_equal(layer(x, training=False), in_training)


@steady
@given(batches(), st.floats(0, 1))
def test_inference_does_not_see_the_rest_of_the_batch(x, momentum):
    layer = BatchNorm(x.shape[1], momentum=momentum, dtype="float64")
    layer(x, training=True)
    together = layer(x, training=False)
    alone = [layer(row[None], training=False)[0] for row in x]
    np.testing.assert_array_equal(together, alone)


@steady
@given(batches(), numbers(2), numbers(2))
def test_training_output_has_mean_beta_and_a_spread_below_gamma(x, gamma, beta):
    features = x.shape[1]
    y = trained(x, gamma=np.full(features, gamma), beta=np.full(features, beta))
    slack = 2 * tolerance(100)  # |gamma| is 2 at most
    np.testing.assert_allclose(y.mean(axis=0), beta, rtol=0, atol=slack)
    assert (y.std(axis=0) <= abs(gamma) + slack).all()


@steady
@given(batches(count=2), numbers(2))
def test_the_gradient_of_a_batch_sums_to_zero(arrays, gamma):
    x, dy = arrays
    dx, _, _ = batch_norm_gradients(dy, x, gamma=np.full(x.shape[1], gamma))
    # dx is gamma * GAIN times a bracket. There x_hat is off by tolerance(100), times the mean of
    # dy * x_hat, below 100 * 2.6; and three terms below 100 * (1 + 1 + 7) are rounded. All 8 times.
    bracket = 260 * tolerance(100) + 3 * 900 * 2**-53
    np.testing.assert_allclose(dx.sum(axis=0), 0, rtol=0, atol=8 * 2 * GAIN * bracket)


@steady
@given(batches(count=2))
def test_the_gradient_is_blind_to_a_shift_of_all_outputs(arrays):
    x, dy = arrays
    shifted = batch_norm_gradients(dy + 1, x)[0]
    bracket = 260 * tolerance(100) + 3 * 900 * 2**-53  # as above, for dy and for dy + 1
    np.testing.assert_allclose(shifted, batch_norm_gradients(dy, x)[0], rtol=0, atol=2 * GAIN * bracket)


@steady
@given(batches(count=3), st.data())
def test_features_do_not_see_each_other(arrays, data):
    x, dy, others = arrays
    kept = data.draw(st.integers(0, x.shape[1] - 1))
    changed = others * 1e6
    changed[:, kept] = x[:, kept]
    results = [
        (trained(values), *batch_norm_gradients(dy, values), *batch_moments(values))
        for values in (x, changed)
    ]
    for one, two in zip(*results, strict=True):
        np.testing.assert_array_equal(one[..., kept], two[..., kept])


@steady
@given(batches(count=2))
def test_a_table_and_its_transpose_are_two_views_of_one_thing(arrays):
    x, dy = arrays
    np.testing.assert_array_equal(normalize(x.T, *batch_moments(x.T, axis=0), axis=0), trained(x).T)
    np.testing.assert_array_equal(
        batch_norm_gradients(dy.T, x.T, axis=0)[0], batch_norm_gradients(dy, x)[0].T
    )
