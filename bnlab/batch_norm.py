"""Batch normalization, line by line from Ioffe & Szegedy (2015), arXiv:1502.03167.

There is one formula, `normalize`, and two sets of statistics to put into it:

    training     normalize(x, *batch_moments(x))
    inference    normalize(x, moving_mean, moving_variance)

`BatchNorm` only remembers: it keeps the moving statistics and picks one of the two lines. Every
function sees its input as a table, one row an example (or a pixel of one), one column a feature.
"""

from numbers import Integral, Real

import numpy as np

# The most rows and values of a block. Sums of blocks are added in float64, as a longer float32 sum drifts;
# and what one operation writes to a block is still in the cache when the next one reads it.
_ROWS, _BLOCK = 1 << 10, 1 << 17


def batch_moments(x, *, axis=-1):
    """Return the mean and the biased variance of each feature over the batch.

        mean     = 1/m sum_i x_i
        variance = 1/m sum_i (x_i - mean)^2

    The variance divides by m, not by m - 1: the batch is all there is to normalize, not a sample to
    judge a population by. It is summed from centred values, in two passes: E[x^2] - E[x]^2 loses all
    digits as soon as the mean is large beside the spread. What rounding leaves in the mean is measured
    and put back, so that identical inputs give exactly their value and exactly 0.

    Args:
        x: real array with at least two axes, such as (m, features) or (n, height, width, features).
        axis: the axis that is kept, the feature axis.

    Returns:
        (mean, variance), each of shape (features,), in the units of x and their square. They have the
        dtype of x; float32 for float16 (the variance of +-1000 overflows float16); float64 for integers.

    Raises:
        TypeError, ValueError: x is not real, has no example or fewer than two axes; axis is out of range.

    Source: algorithm 1 of the paper, lines 1 and 2; `tf.nn.moments`. The correction is the two-pass
    algorithm of Chan, Golub & LeVeque (1983).
    """
    return _row_moments(_as_rows("x", x, axis))


def normalize(x, mean, variance, *, gamma=None, beta=None, epsilon=1e-3, axis=-1):
    """Return gamma * (x - mean) / sqrt(variance + epsilon) + beta, feature by feature.

    The centred form is evaluated as it stands. The factored form x * s + (beta - mean * s), which
    frameworks prefer, loses beta entirely for a constant input of 1e6 in float32.

    Args:
        x: real array with at least two axes.
        mean, variance: shape (features,). Those of the batch in training, the moving ones in inference.
        gamma, beta: shape (features,), the learned scale and offset; 1 and 0 if None.
        epsilon: keeps the root away from 0; in the units of the variance, inside the root.
        axis: the axis that is kept, the feature axis.

    Returns:
        y, of the shape and dtype of x (float64 for integers). float16 is computed in float32.

    Raises:
        TypeError, ValueError: a shape that does not match x, a negative variance, epsilon negative or not
            finite, or variance + epsilon equal to 0. NaN is let through, in its own feature only.

    Source: algorithm 1 of the paper, lines 3 and 4; `tf.nn.batch_normalization`.
    """
    rows = _as_rows("x", x, axis)
    scale = _scale(gamma, variance, epsilon, rows)
    mean = _per_feature("mean", mean, rows)
    beta = np.zeros_like(mean) if beta is None else _per_feature("beta", beta, rows)
    y = np.empty_like(rows)
    for y_block, x_block, means, scales, betas in _blocks(y, rows, vectors=(mean, scale, beta)):
        np.subtract(x_block, means, out=y_block)
        y_block *= scales
        y_block += betas
    return _from_rows(y, x, axis)


def batch_norm_gradients(dy, x, *, gamma=None, epsilon=1e-3, axis=-1):
    """Return the gradients of the training-mode forward pass, where the statistics depend on x.

        dbeta  = sum_i dy_i
        dgamma = sum_i dy_i * x_hat_i
        dx_i   = gamma / sqrt(variance + epsilon) * (dy_i - mean(dy) - x_hat_i * mean(dy * x_hat))

    Each x_i moves the mean and the variance of the whole batch; the two subtracted terms are what comes
    back through them. They make dx sum to 0 over the batch, so nothing reaches a bias in front of the layer.

    Args:
        dy: gradient of the loss by the output, of the shape of x.
        x: the input of the forward pass, real, with at least two axes.
        gamma: shape (features,); 1 if None.
        epsilon: as in the forward pass, in the units of the variance.
        axis: the axis that is kept, the feature axis.

    Returns:
        (dx, dgamma, dbeta): dx of the shape and dtype of x, the others of shape (features,).

    Raises:
        TypeError, ValueError: as `normalize`; dy is not real or not of the shape of x.

    Source: section 3 of the paper, simplified; `tf.GradientTape` gives the same.
    """
    rows = _as_rows("x", x, axis)
    dy_rows = _gradient_rows(dy, x, rows, axis)
    mean, variance = _row_moments(rows)
    inverse_std, scale = (_scale(slope, variance, epsilon, rows) for slope in (None, gamma))
    x_hat, dgamma, dbeta = _parameter_gradients(dy_rows, rows, mean, inverse_std)
    vectors = dbeta / len(rows), dgamma / len(rows), scale
    dx = x_hat  # in its memory: each block of x_hat is read once more, to become that of dx
    for dx_block, dy_block, mean_dy, mean_dy_x_hat, scales in _blocks(dx, dy_rows, vectors=vectors):
        dx_block *= mean_dy_x_hat
        np.subtract(dy_block - mean_dy, dx_block, out=dx_block)
        dx_block *= scales
    return _from_rows(dx, x, axis), dgamma, dbeta


class BatchNorm:
    """A batch-norm layer: two learned vectors, two remembered ones and a flag.

    `layer(x, training=True)` normalizes with the statistics of x and moves the moving ones towards them:

        moving_mean     = momentum * moving_mean     + (1 - momentum) * batch_mean
        moving_variance = momentum * moving_variance + (1 - momentum) * batch_variance

    `layer(x, training=False)` normalizes with the moving statistics and changes nothing.

    Args:
        features: length of the feature axis.
        axis: the axis that is kept, the feature axis.
        momentum: weight of the old value, dimensionless, in [0, 1]. PyTorch's is one minus it.
        epsilon: keeps the root away from 0; in the units of the variance.
        dtype: floating dtype of the four arrays.

    Attributes:
        gamma, beta: the learned scale (initially 1) and offset (initially 0), shape (features,).
        moving_mean, moving_variance: the remembered statistics (initially 0 and 1), shape (features,).
            All four are plain arrays and may be assigned; a list will do too. An update stores the moving
            ones in dtype.

    Raises:
        TypeError, ValueError: an argument out of its range; in a call, whatever `normalize` raises, and in
            training also NaN or infinity in x. After an error the layer is as it was before.

    Source: algorithm 2 of the paper; behaves like `keras.layers.BatchNormalization`, which stores the
    biased variance too.
    """

    def __init__(self, features, *, axis=-1, momentum=0.99, epsilon=1e-3, dtype="float32"):
        if isinstance(features, bool) or not isinstance(features, Integral):
            raise TypeError(f"features is {features!r}; expected a whole number")
        if features < 1:
            raise ValueError(f"features is {features}; expected 1 or more")
        dtype = np.dtype(dtype)
        if dtype.kind != "f":
            raise TypeError(f"dtype is {dtype}; expected a floating dtype such as 'float32'")
        if isinstance(axis, bool) or not isinstance(axis, Integral):
            raise TypeError(f"axis is {axis!r}; expected a whole number, the axis that is kept")
        _check_momentum(momentum)
        _check_epsilon(epsilon)
        self.features, self.axis, self.dtype = int(features), axis, dtype
        self.momentum, self.epsilon = momentum, epsilon
        self.gamma, self.beta = np.ones(features, dtype), np.zeros(features, dtype)
        self.moving_mean, self.moving_variance = np.zeros(features, dtype), np.ones(features, dtype)
        self._last = None

    def __call__(self, x, *, training):
        """Return the normalized x, of its shape and dtype; with training=True, move the statistics once."""
        if not isinstance(training, bool | np.bool_):
            raise TypeError(f"training is {training!r}; expected True or False")
        self._check_arrays(_as_rows("x", x, self.axis))
        mean, variance = self.moving_mean, self.moving_variance
        if training:
            mean, variance = batch_moments(x, axis=self.axis)
            moved = self._moved_statistics(mean, variance)
        y = normalize(
            x, mean, variance, gamma=self.gamma, beta=self.beta, epsilon=self.epsilon, axis=self.axis
        )
        if training:  # only now, when nothing can fail any more
            self.moving_mean, self.moving_variance = moved
        self._last = x, bool(training), np.array(self.gamma), np.array(mean), np.array(variance)
        return y

    def backward(self, dy):
        """Return (dx, dgamma, dbeta) of the last call, in the mode it was made in.

        In training mode these are `batch_norm_gradients`. In inference mode the statistics are constants:

            dx = dy * gamma / sqrt(moving_variance + epsilon),  dgamma = sum(dy * x_hat),  dbeta = sum(dy)

        Args:
            dy: gradient of the loss by the output, of the shape of x. The x of that call is read again, so
                it must not have been changed in place.

        Raises:
            ValueError: there was no call yet, or dy is not of the shape of x.
        """
        if self._last is None:
            raise ValueError("backward needs a call of the layer before it; dy belongs to an output")
        x, training, gamma, mean, variance = self._last
        if training:
            return batch_norm_gradients(dy, x, gamma=gamma, epsilon=self.epsilon, axis=self.axis)
        rows = _as_rows("x", x, self.axis)
        dy_rows = _gradient_rows(dy, x, rows, self.axis)
        inverse_std, scale = (_scale(slope, variance, self.epsilon, rows) for slope in (None, gamma))
        mean = _per_feature("moving_mean", mean, rows)
        _, dgamma, dbeta = _parameter_gradients(dy_rows, rows, mean, inverse_std)
        dx = dy_rows * scale
        return _from_rows(dx, x, self.axis), dgamma, dbeta

    def _check_arrays(self, rows):
        if rows.shape[1] != self.features:
            raise ValueError(f"x has {rows.shape[1]} features on axis {self.axis}; expected {self.features}")
        _check_momentum(self.momentum)
        for name in ("gamma", "beta", "moving_mean", "moving_variance"):
            _per_feature(name, getattr(self, name), rows)
        negative = np.asarray(self.moving_variance) < 0
        if negative.any():
            raise ValueError(
                f"moving_variance is negative in feature {_listed(negative)}; expected 0 or more"
            )

    def _moved_statistics(self, mean, variance):
        for name in ("moving_mean", "moving_variance"):
            ill = ~np.isfinite(getattr(self, name))
            if ill.any():
                raise ValueError(f"{name} is not finite in feature {_listed(ill)}; expected finite numbers")
        with np.errstate(over="ignore", invalid="ignore"):
            moved = [
                (self.momentum * np.asarray(old) + (1 - self.momentum) * new).astype(self.dtype)
                for old, new in ((self.moving_mean, mean), (self.moving_variance, variance))
            ]
        # Judged by the batch too: with momentum 1 a NaN batch would leave no trace in what is stored.
        bad = ~(np.isfinite(mean) & np.isfinite(variance) & np.isfinite(moved[0]) & np.isfinite(moved[1]))
        if bad.any():
            raise ValueError(
                f"x has NaN, infinity or too large values in feature {_listed(bad)}; one such batch would "
                f"stay in the moving statistics, so expected finite values with a variance that {self.dtype} "
                "can hold"
            )
        return moved


def _as_rows(name, x, axis):
    """Return x as a table (examples, features) in the dtype to compute in."""
    array = np.asarray(x)
    if array.dtype.kind not in "fiub":
        raise TypeError(f"{name} has dtype {array.dtype}; expected real numbers")
    if array.ndim < 2:
        raise ValueError(
            f"{name} has shape {array.shape}; expected at least two axes, such as (examples, features)"
        )
    if isinstance(axis, bool) or not isinstance(axis, Integral):
        raise TypeError(f"axis is {axis!r}; expected a whole number, the axis that is kept")
    if not -array.ndim <= axis < array.ndim:
        raise ValueError(
            f"axis is {axis}; expected {-array.ndim} to {array.ndim - 1} for {name} of shape {array.shape}"
        )
    if array.size == 0:
        raise ValueError(f"{name} has shape {array.shape}; expected at least one example and one feature")
    table = np.moveaxis(array, axis, -1).reshape(-1, array.shape[axis])
    return table.astype(_compute_dtype(array.dtype), copy=False)


def _compute_dtype(dtype):
    if dtype == np.float16:
        return np.dtype("float32")
    return dtype if dtype.kind == "f" else np.dtype("float64")


def _from_rows(rows, x, axis):
    """Return the table in the shape of x again, and in its dtype if that is a floating one."""
    array = np.asarray(x)
    moved_shape = np.moveaxis(array, axis, -1).shape
    dtype = array.dtype if array.dtype.kind == "f" else rows.dtype
    with np.errstate(over="ignore"):  # a float16 result may be out of its range: inf says so
        return np.moveaxis(rows.reshape(moved_shape), -1, axis).astype(dtype, copy=False)


def _row_moments(rows):
    """Return the mean and the biased variance of each column."""
    with np.errstate(over="ignore", invalid="ignore"):
        mean = _row_mean(rows)
        leftover, mean_square = _centred_moments(rows, mean)
        # Where rounding moved the mean by a part of the spread (or past what a square can hold): again.
        off = (leftover**2 > mean_square / 1000) | np.isinf(mean_square)
        if off.any():
            mean = np.where(off, mean + leftover, mean).astype(rows.dtype)
            leftover, mean_square = _centred_moments(rows, mean)
        variance = np.maximum(mean_square - leftover**2, 0)
        return (mean + leftover).astype(rows.dtype), variance.astype(rows.dtype)


def _centred_moments(rows, center):
    """Return the mean of rows - center and the mean of its square."""
    sums, square_sums = _zeros(2, rows)
    for block, centers in _blocks(rows, vectors=[center]):
        centred = block - centers
        sums += _column_sums(centred)
        square_sums += _column_sums(np.square(centred, out=centred))
    return sums / len(rows), square_sums / len(rows)


def _row_mean(rows):
    (sums,) = _zeros(1, rows)
    for start in range(0, len(rows), _ROWS):
        sums += _column_sums(rows[start : start + _ROWS])
    return (sums / len(rows)).astype(rows.dtype)


def _parameter_gradients(dy_rows, rows, mean, inverse_std):
    """Return x_hat, dgamma and dbeta: the normalized rows, and the sums of dy * x_hat and of dy."""
    x_hat = np.empty_like(rows)
    dgamma, dbeta = _zeros(2, rows)
    for block, x_block, dy, means, scales in _blocks(x_hat, rows, dy_rows, vectors=(mean, inverse_std)):
        np.subtract(x_block, means, out=block)
        block *= scales
        dgamma += _column_sums(dy * block)
        dbeta += _column_sums(dy)
    return x_hat, dgamma.astype(rows.dtype), dbeta.astype(rows.dtype)


def _zeros(count, rows):
    """Return vectors to add the sums of blocks in."""
    return np.zeros((count, rows.shape[1]), _wide(rows))


def _wide(rows):
    return np.promote_types(rows.dtype, np.float64)


def _blocks(*tables, vectors=()):
    """Yield some rows of each table at a time, and each vector as a table of as many equal rows."""
    rows, features = tables[0].shape
    height = max(1, min(rows, _ROWS, _BLOCK // features))
    # Laid out once: a vector that NumPy broadcasts goes through a buffer, which doubles the time.
    repeated = [np.full((height, features), vector) for vector in vectors]
    for start in range(0, rows, height):
        blocks = [table[start : start + height] for table in tables]
        yield *blocks, *(table[: len(blocks[0])] for table in repeated)


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


def _gradient_rows(dy, x, rows, axis):
    if np.shape(dy) != np.shape(x):
        raise ValueError(f"dy has shape {np.shape(dy)}; expected {np.shape(x)}, the shape of x")
    return _as_rows("dy", dy, axis).astype(rows.dtype, copy=False)


def _per_feature(name, value, rows):
    array, features = np.asarray(value), rows.shape[1]
    if array.dtype.kind not in "fiub":
        raise TypeError(f"{name} has dtype {array.dtype}; expected real numbers")
    if array.shape != (features,):
        raise ValueError(f"{name} has shape {array.shape}; expected ({features},), one value a feature of x")
    return array.astype(rows.dtype, copy=False)


def _scale(gamma, variance, epsilon, rows):
    """Return gamma / sqrt(variance + epsilon), rounded once: what is off here is off in every row."""
    _check_epsilon(epsilon)
    variance = _per_feature("variance", variance, rows)
    if (variance < 0).any():
        raise ValueError(f"variance is negative in feature {_listed(variance < 0)}; expected 0 or more")
    gamma = 1 if gamma is None else _per_feature("gamma", gamma, rows)
    under_root = variance.astype(_wide(rows)) + epsilon
    zero = under_root.astype(rows.dtype) == 0
    if zero.any():
        raise ValueError(
            f"epsilon is {epsilon} and variance is 0 in feature {_listed(zero)}; expected their sum above 0"
        )
    return (gamma / np.sqrt(under_root)).astype(rows.dtype)


def _check_epsilon(epsilon):
    if isinstance(epsilon, bool) or not isinstance(epsilon, Real):
        raise TypeError(f"epsilon is {epsilon!r}; expected a number")
    if not 0 <= epsilon < np.inf:  # false for NaN too
        raise ValueError(f"epsilon is {epsilon}; expected a finite number, 0 or more")


def _check_momentum(momentum):
    if isinstance(momentum, bool) or not isinstance(momentum, Real):
        raise TypeError(f"momentum is {momentum!r}; expected a number")
    if not 0 <= momentum <= 1:
        raise ValueError(f"momentum is {momentum}; expected 0 to 1, the weight of the old value")


def _listed(mask):
    """Name the features of a mask, the first five of them."""
    numbers = np.flatnonzero(mask)
    return ", ".join(map(str, numbers[:5])) + (" and more" if len(numbers) > 5 else "")
