"""Moments of a whole from the moments of its parts: batches of a data set, replicas of a batch.

A mean and a variance are enough to be merged, if each part also says how many examples it had. The
variance of the whole is more than the average of the variances, because the parts' means differ too:

    mean     = share_a mean_a     + share_b mean_b
    variance = share_a variance_a + share_b variance_b + share_a share_b (mean_a - mean_b)^2
"""

import numpy as np


def merge_moments(counts, means, variances):
    """Return the mean and the biased variance of the whole, from those of its parts.

    Neighbours are merged two by two until one part is left. Every term of the variance is positive, so
    nothing cancels, and equal means give exactly their value. The parts may be of any sizes, and their
    order does not matter but for rounding.

    Args:
        counts: examples in each part, shape (parts,), 0 or more. A part of 0 adds nothing, whatever its
            moments say.
        means, variances: moments of each part, shape (parts, features), in the units of the data and
            their square; the variances are the biased ones, which divide by the count.

    Returns:
        (mean, variance), each of shape (features,), float64, in the same units. NaN and infinity are let
        through, in their own feature only.

    Raises:
        TypeError, ValueError: values that are not real, shapes that do not fit together, a count that is
            negative or not finite, a negative variance, or no example at all.

    Source: the pairwise formula of Chan, Golub & LeVeque (1983), "Algorithms for Computing the Sample
    Variance", The American Statistician 37(3).
    """
    counts, means, variances = _checked(counts, means, variances)
    with np.errstate(over="ignore", invalid="ignore"):
        while len(counts) > 1:
            counts, means, variances = _merge_neighbours(counts, means, variances)
    return means[0], variances[0]


def _merge_neighbours(counts, means, variances):
    """Merge each part with the next one; the last of an odd number is left as it is."""
    pairs = len(counts) // 2 * 2
    a, b = slice(0, pairs, 2), slice(1, pairs, 2)
    totals = counts[a] + counts[b]
    share_a, share_b = (counts[a] / totals)[:, np.newaxis], (counts[b] / totals)[:, np.newaxis]
    apart = means[b] - means[a]
    # From the larger part: a share near 1 would round away what is small in it.
    merged_means = np.where(share_a < share_b, means[b] - share_a * apart, means[a] + share_b * apart)
    merged = share_a * variances[a] + share_b * variances[b] + share_a * share_b * apart**2
    return (
        np.concatenate([totals, counts[pairs:]]),
        np.concatenate([merged_means, means[pairs:]]),
        np.concatenate([merged, variances[pairs:]]),
    )


def _checked(counts, means, variances):
    """Return the parts that have examples, as float64 tables."""
    counts, means, variances = (
        _real(*given) for given in (("counts", counts), ("means", means), ("variances", variances))
    )
    if counts.ndim != 1:
        raise ValueError(f"counts has shape {counts.shape}; expected (parts,)")
    if means.ndim != 2 or len(means) != len(counts):
        raise ValueError(f"means has shape {means.shape}; expected ({len(counts)}, features), a row a count")
    if variances.shape != means.shape:
        raise ValueError(f"variances has shape {variances.shape}; expected {means.shape}, that of means")
    if not (np.isfinite(counts) & (counts >= 0)).all():
        raise ValueError(f"counts is {counts.tolist()}; expected finite numbers, 0 or more")
    filled = counts > 0
    if not filled.any():
        raise ValueError("counts has no example in any part; expected at least one")
    if (variances[filled] < 0).any():
        raise ValueError("variances has a negative value; expected 0 or more")
    return counts[filled], means[filled], variances[filled]


def _real(name, value):
    array = np.asarray(value)
    if array.dtype.kind not in "fiub":
        raise TypeError(f"{name} has dtype {array.dtype}; expected real numbers")
    return array.astype(np.float64)
