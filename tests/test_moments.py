"""Merged moments against NumPy's moments of the whole, over random partitions; and bad input."""

import numpy as np
import pytest

from bnlab.moments import merge_moments

# Float64 sums of some hundred values, whose means lie up to 100 spreads away from 0.
ROUNDING = 1e-12


def moments_of(parts):
    """Return what merge_moments takes; an empty part has no moments, so NaN."""
    counts = [len(part) for part in parts]
    with np.errstate(invalid="ignore"):
        means = [part.sum(axis=0) / np.float64(len(part)) for part in parts]
        variances = [
            ((part - mean) ** 2).sum(axis=0) / np.float64(len(part))
            for part, mean in zip(parts, means, strict=True)
        ]
    return counts, means, variances


def random_parts(rng):
    """Cut a random table into 1 to 20 parts of any sizes, some of them empty."""
    x = rng.normal(100 * rng.normal(size=3), rng.uniform(0.1, 5, 3), (rng.integers(1, 300), 3))
    cuts = np.sort(rng.integers(0, len(x) + 1, rng.integers(0, 20)))
    return x, np.split(x, cuts)


def test_a_thousand_random_partitions():
    rng = np.random.default_rng(5)
    for _ in range(1000):
        x, parts = random_parts(rng)
        mean, variance = merge_moments(*moments_of(parts))
        np.testing.assert_allclose(mean, x.mean(axis=0), rtol=ROUNDING, atol=ROUNDING)
        np.testing.assert_allclose(variance, x.var(axis=0), rtol=1e-10, atol=ROUNDING)


def test_the_order_of_the_parts_does_not_matter():
    rng = np.random.default_rng(6)
    for _ in range(100):
        _, parts = random_parts(rng)
        counts, means, variances = map(np.array, moments_of(parts))
        order = rng.permutation(len(parts))
        there = merge_moments(counts, means, variances)
        back = merge_moments(counts[order], means[order], variances[order])
        np.testing.assert_allclose(there, back, rtol=1e-11, atol=ROUNDING)


def test_merging_in_stages_is_merging_at_once():
    rng = np.random.default_rng(7)
    parts = [rng.normal(3, 2, (size, 4)) for size in (5, 1, 30, 8)]
    counts, means, variances = moments_of(parts)
    first = merge_moments(counts[:2], means[:2], variances[:2])
    staged = merge_moments([6, *counts[2:]], [first[0], *means[2:]], [first[1], *variances[2:]])
    np.testing.assert_allclose(staged, merge_moments(counts, means, variances), rtol=ROUNDING)


def test_the_average_of_the_variances_is_not_the_variance():
    mean, variance = merge_moments([2, 2], [[1.0], [12.0]], [[1.0], [4.0]])  # [0, 2] and [10, 14]
    assert (mean.tolist(), variance.tolist()) == ([6.5], [32.75])


def test_one_part_comes_back_as_it_was():
    mean, variance = merge_moments([3], [[0.1, 7.0]], [[0.3, 0.0]])
    assert (mean.tolist(), variance.tolist()) == ([0.1, 7.0], [0.3, 0.0])


def test_nothing_cancels_at_an_offset_of_1e8():
    rng = np.random.default_rng(8)
    x = 1e8 + rng.normal(size=(1000, 2))
    mean, variance = merge_moments(*moments_of(np.split(x, 100)))
    np.testing.assert_allclose(variance, (x - 1e8).var(axis=0), rtol=1e-6)
    np.testing.assert_allclose(mean, x.mean(axis=0), rtol=1e-14)


def test_equal_means_give_their_value_and_no_variance():
    for value in (0.1, 1e6 + 0.3, -7e-9):
        mean, variance = merge_moments([3, 4, 9, 1, 1], np.full((5, 1), value), np.zeros((5, 1)))
        assert (mean[0], variance[0]) == (value, 0)


def test_a_small_part_does_not_round_the_large_one_away():
    for order in (slice(None), slice(None, None, -1)):
        mean, variance = merge_moments(
            [1, 10**16][order], np.array([[1e16], [1.0]])[order], np.array([[1e16], [3.0]])[order]
        )
        assert mean[0] == 2
        # 1e-16 of a square of 1e32 is what the distance of the means adds, beside 4 of the spreads.
        np.testing.assert_allclose(variance, 1e16, rtol=1e-15)


def test_many_parts_keep_their_digits():
    rng = np.random.default_rng(9)
    x = rng.normal(1000, 1, (100_000, 1))
    mean, variance = merge_moments(np.ones(len(x)), x, np.zeros_like(x))
    np.testing.assert_allclose(mean, x.mean(), rtol=1e-14)
    np.testing.assert_allclose(variance, x.var(), rtol=1e-12)


def test_an_empty_part_adds_nothing():
    nothing = np.nan
    mean, variance = merge_moments([0, 2, 0], [[nothing], [1.0], [5.0]], [[nothing], [1.0], [-1.0]])
    assert (mean[0], variance[0]) == (1, 1)


def test_any_real_dtype_gives_float64_and_nothing_is_changed():
    counts = np.array([2, 2], np.uint8)
    means, variances = np.array([[200], [250]], np.uint8), np.array([[1], [2]], np.float16)
    before = means.copy(), variances.copy()
    mean, variance = merge_moments(counts, means, variances)
    assert mean.dtype == variance.dtype == np.float64
    assert (mean[0], variance[0]) == (225, 626.5)
    assert np.array_equal(means, before[0])
    assert np.array_equal(variances, before[1])
    single = np.ones((1, 1))
    mean, _ = merge_moments([1], single, single)
    mean += 1
    assert single[0, 0] == 1


def test_what_is_not_finite_stays_in_its_feature():
    mean, variance = merge_moments([1, 1], [[np.nan, 0.0, np.inf], [1.0, 2.0, np.inf]], np.zeros((2, 3)))
    assert np.isnan(mean[0])
    assert np.isnan(variance[0])
    assert (mean[1], variance[1]) == (1, 1)
    assert not np.isfinite(mean[2])


@pytest.mark.parametrize(
    ("counts", "means", "variances", "error", "message"),
    [
        ([[1]], [[1.0]], [[1.0]], ValueError, r"counts has shape \(1, 1\); expected \(parts,\)"),
        (3, [[1.0]], [[1.0]], ValueError, r"counts has shape \(\); expected"),
        ([1, 1], [[1.0]], [[1.0]], ValueError, r"means has shape \(1, 1\); expected \(2, features\)"),
        ([1, 1], [1.0, 2.0], [1.0, 2.0], ValueError, r"means has shape \(2,\); expected \(2, features\)"),
        ([1], [[1.0, 2.0]], [[1.0]], ValueError, r"variances has shape \(1, 1\); expected \(1, 2\)"),
        ([-1, 2], [[1.0]] * 2, [[1.0]] * 2, ValueError, r"counts is \[-1.0, 2.0\]; expected finite"),
        ([np.nan], [[1.0]], [[1.0]], ValueError, r"counts is \[nan\]; expected finite"),
        ([np.inf], [[1.0]], [[1.0]], ValueError, r"counts is \[inf\]; expected finite"),
        ([0, 0], [[1.0]] * 2, [[1.0]] * 2, ValueError, "counts has no example in any part"),
        ([], np.empty((0, 2)), np.empty((0, 2)), ValueError, "counts has no example in any part"),
        ([1], [[1.0]], [[-1e-9]], ValueError, "variances has a negative value; expected 0 or more"),
        (["1"], [[1.0]], [[1.0]], TypeError, "counts has dtype <U1; expected real numbers"),
        ([1], [[1j]], [[1.0]], TypeError, "means has dtype complex128; expected real numbers"),
        ([1], [[1.0]], [[None]], TypeError, "variances has dtype object; expected real numbers"),
    ],
)
def test_bad_input_is_named(counts, means, variances, error, message):
    with pytest.raises(error, match=f"^{message}"):
        merge_moments(counts, means, variances)
