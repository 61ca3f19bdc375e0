"""Batch normalization, line by line from Ioffe & Szegedy (2015), arXiv:1502.03167.

There is one formula, `normalize`, and two sets of statistics to put into it:

    training     normalize(x, *batch_moments(x))
    inference    normalize(x, moving_mean, moving_variance)

`BatchNorm` only remembers: it keeps the moving statistics and picks one of the two lines. Every
function sees its input as a table, one row an example (or a pixel of one), one column a feature.
"""

import numpy as np

from bnlab import checks, moving_average, words
from bnlab.moments import column_moments, map_rows, sum_rows


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
    return column_moments(_as_rows("x", x, axis))


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
    return _from_rows(_normalize(rows, mean, variance, gamma, beta, epsilon), x, axis)


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
    rows, dy_rows = _as_rows("x", x, axis), _gradient_rows(dy, x, axis)
    dx, dgamma, dbeta = _gradients(dy_rows, rows, *column_moments(rows), gamma, epsilon, training=True)
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
        features = checks.whole_number("features", features, least=1)
        dtype = np.dtype(dtype)
        if dtype.kind != "f":
            raise TypeError(f"dtype is {dtype}; expected a floating dtype such as 'float32'")
        checks.whole_number("axis", axis, what=_AN_AXIS)
        checks.momentum(momentum)
        checks.epsilon(epsilon)
        self.features, self.axis, self.dtype = features, axis, dtype
        self.momentum, self.epsilon = momentum, epsilon
        self.gamma, self.beta = np.ones(features, dtype), np.zeros(features, dtype)
        self.moving_mean, self.moving_variance = np.zeros(features, dtype), np.ones(features, dtype)
        self._last = None

    def __call__(self, x, *, training):
        """Return the normalized x, of its shape and dtype; with training=True, move the statistics once."""
        training = checks.flag("training", training)
        rows = _as_rows("x", x, self.axis)
        self._check_arrays(rows.shape[1])
        remembered = self.moving_mean, self.moving_variance
        mean, variance = column_moments(rows) if training else remembered
        moved = self._moved(mean, variance) if training else remembered
        y = _from_rows(_normalize(rows, mean, variance, self.gamma, self.beta, self.epsilon), x, self.axis)
        self.moving_mean, self.moving_variance = moved  # only now, when nothing can fail any more
        self._last = x, training, np.array(self.gamma), np.array(mean), np.array(variance)
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
        rows, dy_rows = _as_rows("x", x, self.axis), _gradient_rows(dy, x, self.axis)
        dx, *others = _gradients(dy_rows, rows, mean, variance, gamma, self.epsilon, training=training)
        return _from_rows(dx, x, self.axis), *others

    def _check_arrays(self, features):
        if features != self.features:
            raise ValueError(f"x has {features} features on axis {self.axis}; expected {self.features}")
        checks.momentum(self.momentum)
        for name in ("gamma", "beta", "moving_mean", "moving_variance"):
            checks.per_feature(name, getattr(self, name), features)
        checks.none_negative("moving_variance", self.moving_variance)

    def _moved(self, mean, variance):
        """Return the moving statistics after this batch, if it leaves them finite."""
        for name in ("moving_mean", "moving_variance"):
            ill = ~np.isfinite(getattr(self, name))
            if ill.any():
                raise ValueError(
                    f"{name} is not finite in feature {words.features(ill)}; expected finite numbers"
                )
        with np.errstate(over="ignore", invalid="ignore"):
            moved = [
                moving_average.update(old, new, momentum=self.momentum).astype(self.dtype)
                for old, new in ((self.moving_mean, mean), (self.moving_variance, variance))
            ]
        # Judged by the batch too: with momentum 1 a NaN batch would leave no trace in what is stored.
        bad = ~np.isfinite([mean, variance, *moved]).all(axis=0)
        if bad.any():
            raise ValueError(
                f"x has NaN, infinity or too large values in feature {words.features(bad)}; one such batch "
                "would stay in the moving statistics, so expected finite values with a variance that "
                f"{self.dtype} can hold"
            )
        return moved


# The formulas, on tables: x and dy have a row an example, all else is one value a feature.


def _normalize(x, mean, variance, gamma, beta, epsilon):
    """Return gamma * (x - mean) / sqrt(variance + epsilon) + beta."""
    mean, variance, gamma, beta = _vectors(x, mean=mean, variance=variance, gamma=gamma, beta=beta)
    scale = gamma / checks.root(variance, epsilon, dtype=x.dtype)  # rounded once: it is in every row
    return map_rows(lambda x, mean, scale, beta: (x - mean) * scale + beta, x, mean, scale, beta)


def _gradients(dy, x, mean, variance, gamma, epsilon, *, training):
    """Return dx, dgamma and dbeta; in inference the statistics do not depend on x.

    x_hat is multiplied out, (x - mean) * inverse_std: its second factor is the same in every row.
    """
    mean, variance, gamma, _ = _vectors(x, mean=mean, variance=variance, gamma=gamma, beta=None)
    inverse_std = 1 / checks.root(variance, epsilon, dtype=x.dtype)
    scale, m = gamma * inverse_std, len(x)

    def sums(dy, x, mean):
        centred = x - mean
        return dy, dy * centred, centred

    dbeta, dy_centred, centred = sum_rows(sums, dy, x, mean)
    left = centred / m if training else 0  # what rounding left in the mean of the batch
    dgamma = inverse_std * (dy_centred - left * dbeta)
    slope = scale * inverse_std * dgamma / m

    def dx_in_training(dy, x, mean, mean_dy, scale, slope):
        return scale * (dy - mean_dy) - slope * (x - mean)

    if training:
        dx = map_rows(dx_in_training, dy, x, mean, dbeta / m, scale, slope)
    else:
        dx = map_rows(lambda dy, scale: scale * dy, dy, scale)
    return dx, dgamma.astype(x.dtype), dbeta.astype(x.dtype)


# Between the arrays of a caller and the tables of the formulas.

_AN_AXIS = "a whole number, the axis that is kept"


def _as_rows(name, x, axis):
    """Return x as a table (examples, features) in the dtype to compute in."""
    array = checks.real(name, x)
    if array.ndim < 2:
        raise ValueError(
            f"{name} has shape {array.shape}; expected at least two axes, such as (examples, features)"
        )
    if not -array.ndim <= checks.whole_number("axis", axis, what=_AN_AXIS) < array.ndim:
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


def _gradient_rows(dy, x, axis):
    if np.shape(dy) != np.shape(x):
        raise ValueError(f"dy has shape {np.shape(dy)}; expected {np.shape(x)}, the shape of x")
    return _as_rows("dy", dy, axis).astype(_compute_dtype(np.asarray(x).dtype), copy=False)


def _from_rows(rows, x, axis):
    """Return the table in the shape of x again, and in its dtype if that is a floating one."""
    array = np.asarray(x)
    moved_shape = np.moveaxis(array, axis, -1).shape
    dtype = array.dtype if array.dtype.kind == "f" else rows.dtype
    with np.errstate(over="ignore"):  # a float16 result may be out of its range: inf says so
        return np.moveaxis(rows.reshape(moved_shape), -1, axis).astype(dtype, copy=False)


def _vectors(x, **given):
    """Return what has one value a feature, in the dtype of the table x; gamma and beta may be None."""
    features = x.shape[1]
    usual = {"gamma": np.ones(features), "beta": np.zeros(features)}
    given |= {name: usual[name] for name in usual if given[name] is None}
    return [checks.per_feature(*each, features).astype(x.dtype, copy=False) for each in given.items()]
