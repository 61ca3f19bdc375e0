"""Means and variances: of the columns of a table, and of a whole from those of its parts.

A mean and a variance of each part are enough, if it also says how many examples it had. The variance of
the whole is more than the average of the variances, because the parts' means differ too:

    mean     = share_a mean_a     + share_b mean_b
    variance = share_a variance_a + share_b variance_b + share_a share_b (mean_a - mean_b)^2

A table has one row an example, one column a feature. It may be long: `map_rows` and `sum_rows` walk it in
blocks, so that a formula is written for the whole, costs the memory of a block and keeps its digits.
"""

import numpy as np

from bnlab import checks

# The most values of a block: what one operation writes to it is still in the cache when the next one reads
# it. The most rows: sums of blocks are added in float64, as a longer float32 sum drifts.
_VALUES, _ROWS = 1 << 16, 1 << 10


def map_rows(formula, *arguments):
    """Return the table that a formula makes of tables, row by row.

    Args:
        formula: formula(*blocks) -> block, in which each value is treated by itself and no block is changed.
        arguments: tables of one shape (rows, features), the first of them one, and vectors of shape
            (features,), which every row gets alike.

    Returns:
        A table of the shape and dtype of the first one; the vectors are rounded to that dtype first.
    """
    result = np.empty_like(arguments[0])
    for rows, blocks in _blocks(arguments):
        result[rows] = formula(*blocks)
    return result


def sum_rows(formula, *arguments):
    """Return the sums over all rows of what a formula makes of each, as `map_rows` takes it.

    Args:
        formula, arguments: as for `map_rows`, but the formula returns a tuple of blocks.

    Returns:
        An array with a row a sum, of shape (parts of the tuple, features), at least float64. No more than
        64 values are added up before they are added to others.
    """
    sums = 0
    for _, blocks in _blocks(arguments):
        sums = sums + np.array([_column_sums(part) for part in formula(*blocks)], _wide(blocks[0].dtype))
    return sums


def column_moments(table):
    """Return the mean and the biased variance of each column of a table, in its dtype and in two passes."""
    m = len(table)
    with np.errstate(over="ignore", invalid="ignore"):
        (total,) = sum_rows(lambda x: (x,), table)
        center = (total / m).astype(table.dtype)
        leftover, mean_square = _moments_about(center, table)
        # Where rounding moved the mean by a part of the spread (or past what a square can hold): again.
        off = (leftover**2 > mean_square / 1000) | np.isinf(mean_square)
        if off.any():
            center = np.where(off, center + leftover, center).astype(table.dtype)
            leftover, mean_square = _moments_about(center, table)
        variance = np.maximum(mean_square - leftover**2, 0)
        return (center + leftover).astype(table.dtype), variance.astype(table.dtype)


def _moments_about(center, table):
    """Return the means of table - center and of its square."""

    def powers(x, center):
        distance = x - center
        return distance, distance * distance

    return sum_rows(powers, table, center) / len(table)


def _wide(dtype):
    return np.promote_types(dtype, np.float64)


def _blocks(arguments):
    """Yield (which rows, the blocks) until all rows have been there."""
    table = arguments[0]
    height = max(1, min(len(table), _ROWS, _VALUES // table.shape[1]))
    # Laid out once, as the table is: a vector that NumPy broadcasts goes through a buffer, at twice the time.
    tables = [each if each.ndim == 2 else np.full_like(table[:height], each) for each in arguments]
    for start in range(0, len(table), height):
        rows = slice(start, min(start + height, len(table)))
        same = slice(0, rows.stop - start)
        yield (
            rows,
            [each[rows if given.ndim == 2 else same] for each, given in zip(tables, arguments, strict=True)],
        )


def _column_sums(block):
    """Return the sum of each column, put together from sums of 64 numbers at most: long ones round more."""
    if len(block) <= 64:
        # A product with ones is the same sum as block.sum(axis=0), at half the time.
        return np.ones(len(block), block.dtype) @ block
    rest = len(block) % 64
    if rest:
        return _column_sums(block[:-rest]) + _column_sums(block[-rest:])
    sums = _column_sums(block.reshape(64, -1))
    return _column_sums(sums.reshape(-1, block.shape[1]))


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
        checks.real(name, given).astype(np.float64)
        for name, given in (("counts", counts), ("means", means), ("variances", variances))
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
