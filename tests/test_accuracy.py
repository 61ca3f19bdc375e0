"""How far the results are from the truth, which is computed in long double, and from TensorFlow's.

Each input is exact as it stands: it is drawn, rounded to its dtype, and only then handed to everybody. The
truth is the formula in long double (64 bits of mantissa on x86), in two passes.
"""

import bnlab.tensorflow_setup  # noqa: F401 - first, so that TensorFlow is quiet

# isort: split
import keras
import numpy as np
import pytest
import tensorflow as tf

from bnlab.batch_norm import batch_moments, batch_norm_gradients, normalize

EPSILON = 1e-3

SHAPES = pytest.mark.parametrize(
    ("shape", "axis"),
    [((7, 5), -1), ((256, 16), -1), ((3000, 8), -1), ((5, 300), 0), ((4, 8, 8, 6), -1), ((32, 3, 16), 1)],
    ids=["7 rows", "256 rows", "3000 rows", "transposed", "images", "channels first"],
)
OFFSETS = pytest.mark.parametrize("offset", [0, 1, 100, 1e4])
SPREADS = pytest.mark.parametrize("spread", [1e-5, 1e-2, 1, 30])
DTYPES = pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])


def _skip_without_a_wider_float(dtype):
    if dtype == "float64" and np.finfo(np.longdouble).nmant < 63:
        pytest.skip("long double is no longer than float64 on this machine")


def _draw(shape, axis, offset, spread, dtype):
    rng = np.random.default_rng(1)
    x = (offset + spread * rng.normal(size=shape)).astype(dtype)
    dy = rng.normal(size=shape).astype(dtype)
    parameters = "float32" if dtype == "float16" else dtype
    gamma = rng.uniform(0.5, 1.5, shape[axis]).astype(parameters)
    beta = rng.normal(size=shape[axis]).astype(parameters)
    return x, dy, gamma, beta


def _rows(array, axis):
    """Return a table in long double, one column a feature."""
    moved = np.moveaxis(np.asarray(array, np.longdouble), axis, -1)
    return moved.reshape(-1, moved.shape[-1])


def _truth(x, dy, gamma, beta, axis):
    x, dy = _rows(x, axis), _rows(dy, axis)
    gamma, beta = gamma.astype(np.longdouble), beta.astype(np.longdouble)
    mean = x.mean(0)
    mean += (x - mean).mean(0)
    variance = ((x - mean) ** 2).mean(0)
    deviation = np.sqrt(variance + np.longdouble(EPSILON))
    x_hat = (x - mean) / deviation
    dgamma, dbeta = (dy * x_hat).sum(0), dy.sum(0)
    dx = gamma / deviation * (dy - dbeta / len(x) - x_hat * dgamma / len(x))
    y = gamma * x_hat + beta
    return {"mean": mean, "variance": variance, "y": y, "dx": dx, "dgamma": dgamma, "dbeta": dbeta}


def _ours(x, dy, gamma, beta, axis):
    mean, variance = batch_moments(x, axis=axis)
    y = normalize(x, mean, variance, gamma=gamma, beta=beta, epsilon=EPSILON, axis=axis)
    dx, dgamma, dbeta = batch_norm_gradients(dy, x, gamma=gamma, epsilon=EPSILON, axis=axis)
    return {"mean": mean, "variance": variance, "y": y, "dx": dx, "dgamma": dgamma, "dbeta": dbeta}


def _errors(results, truth, axis):
    """Return the distance of each result from the truth, of the shape of the truth."""
    tables = {name: _rows(v, axis) if np.ndim(v) > 1 else v for name, v in results.items()}
    return {name: np.abs(table - truth[name]).astype(float) for name, table in tables.items()}


def _bounds(x, dy, gamma, beta, axis, truth, unit, unit_of_y):
    """Return for each result the largest error that rounding accounts for, feature by feature.

    `unit` is the largest relative error of one rounding, 2**-24 for float32. The condition number of x_hat is
    |mean| / deviation, with deviation = sqrt(variance + epsilon): the mean is handed over in the dtype of x,
    and its rounding moves all of x_hat by that many units. All else (a difference, the variance, a root, a
    quotient, a product; in a sum of up to 64 terms some sqrt(64) roundings, as they go both ways) is relative
    to x_hat itself, or to 1 where x_hat is smaller: 8 units of it.

    dx = gamma / deviation * (dy - mean(dy) - x_hat * mean(dy * x_hat)) holds x_hat twice, each time beside a
    factor no larger than the largest dy, once with the other x_hat in front.
    """
    x, dy = _rows(x, axis).astype(float), np.abs(_rows(dy, axis).astype(float))
    known = {name: np.abs(value).astype(float) for name, value in truth.items()}
    gamma, beta = np.abs(gamma).astype(float), np.abs(beta).astype(float)
    deviation = np.sqrt(known["variance"] + EPSILON)
    condition = known["mean"] / deviation
    x_hat = 1 + (np.abs(x - x.mean(0)) / deviation).max(0)
    off = unit * (condition + 8 * x_hat)
    y, dx = known["y"].max(0), known["dx"].max(0)
    return {
        "mean": unit * (known["mean"] + 8 * np.sqrt(known["variance"])),
        "variance": 8 * unit * known["variance"] + (unit * known["mean"]) ** 2,
        "y": gamma * off + unit * (y + beta) + unit_of_y * y,
        "dx": gamma / deviation * dy.max(0) * x_hat * (off + 8 * unit) + unit_of_y * dx,
        "dgamma": dy.sum(0) * off,
        "dbeta": dy.sum(0) * 8 * unit,
    }


@SHAPES
@OFFSETS
@SPREADS
@DTYPES
def test_errors_are_within_the_bound_of_the_condition_number(shape, axis, offset, spread, dtype):
    _skip_without_a_wider_float(dtype)
    given = _draw(shape, axis, offset, spread, dtype)
    truth = _truth(*given, axis)
    results = _ours(*given, axis)
    unit = np.finfo("float32" if dtype == "float16" else dtype).eps / 2
    unit_of_y = np.finfo(dtype).eps / 2 if dtype == "float16" else 0  # float16 results are rounded once more
    bounds = _bounds(*given, axis, truth, unit, unit_of_y)
    for name, error in _errors(results, truth, axis).items():
        worst = (error / np.where(bounds[name] > 0, bounds[name], np.inf)).max()
        assert worst <= 1, f"{name} is off by {worst:.3g} times its bound"
        assert not error[..., bounds[name] == 0].any()


def _tf_nn(x, dy, gamma, beta, axis):
    other = [a for a in range(x.ndim) if a != axis % x.ndim]
    wide = [x.shape[a] if a == axis % x.ndim else 1 for a in range(x.ndim)]
    sources = [tf.constant(array) for array in (x, gamma, beta)]
    with tf.GradientTape() as tape:
        tape.watch(sources)
        mean, variance = tf.nn.moments(sources[0], other, keepdims=True)
        scale, offset = (tf.reshape(source, wide) for source in sources[1:])
        y = tf.nn.batch_normalization(sources[0], mean, variance, offset, scale, EPSILON)
    return y, *tape.gradient(y, sources, output_gradients=tf.constant(dy))


def _keras_layer(x, dy, gamma, beta, axis):
    dtype = "mixed_float16" if x.dtype == np.float16 else x.dtype.name
    layer = keras.layers.BatchNormalization(axis=axis, epsilon=EPSILON, dtype=dtype)
    layer.build(x.shape)
    layer.gamma.assign(gamma)
    layer.beta.assign(beta)
    source = tf.constant(x)
    with tf.GradientTape() as tape:
        tape.watch(source)
        y = layer(source, training=True)
    return y, *tape.gradient(y, [source, layer.gamma, layer.beta], output_gradients=tf.constant(dy))


def _fused(x, dy, gamma, beta, axis):
    moved = np.moveaxis(x, axis, -1)
    images = (-1, 1, 1, moved.shape[-1])
    sources = [tf.constant(array) for array in (moved.reshape(images), gamma, beta)]
    none = np.empty(0, "float32")
    with tf.GradientTape() as tape:
        tape.watch(sources)
        y, *_ = tf.raw_ops.FusedBatchNormV3(
            x=sources[0], scale=sources[1], offset=sources[2], mean=none, variance=none, epsilon=EPSILON
        )
    dy = tf.constant(np.moveaxis(dy, axis, -1).reshape(images))
    dx, dgamma, dbeta = tape.gradient(y, sources, output_gradients=dy)
    back = [np.moveaxis(np.reshape(a, moved.shape), -1, axis) for a in (y, dx)]
    return *back, dgamma, dbeta


# Without tf.nn in float16, where its variance overflows; there is no fused operation for float64.
RIVALS = {
    "tf.nn": (_tf_nn, ["float32", "float64"]),
    "Keras": (_keras_layer, ["float16", "float32", "float64"]),
    "Fused": (_fused, ["float16", "float32"]),
}


@SHAPES
@pytest.mark.parametrize(
    ("theirs", "dtype"),
    [
        pytest.param(function, dtype, id=f"{name} {dtype}")
        for name, (function, dtypes) in RIVALS.items()
        for dtype in dtypes
    ],
)
def test_never_worse_than_tensorflow(shape, axis, dtype, theirs):
    """The root mean square of the errors of each result is compared, at all offsets and spreads.

    (The largest error would compare the luck of two single numbers.) Two things are allowed for. A unit in
    the last place of the largest number of the result: everybody's last rounding is off by up to half of it,
    in either direction, so below that nobody is nearer to the truth but by chance. And a hundredth of
    TensorFlow's own error: at a large offset that is the rounding of the mean, the same for everybody, and
    what else is rounded is small beside it, but not nothing.
    """
    _skip_without_a_wider_float(dtype)
    names = ("y", "dx", "dgamma", "dbeta")
    for offset in (0, 1, 100, 1e4):
        for spread in (1e-5, 1e-2, 1, 30):
            given = _draw(shape, axis, offset, spread, dtype)
            truth = _truth(*given, axis)
            results = _ours(*given, axis)
            ours = _errors(results, truth, axis)
            rival = dict(zip(names, map(np.asarray, theirs(*given, axis)), strict=True))
            for name, error in _errors(rival, truth, axis).items():
                last_place = np.spacing(np.abs(results[name]).max())
                mine, other = (np.sqrt(np.mean(e**2)) for e in (ours[name], error))
                assert mine <= 1.01 * other + last_place, (
                    f"{name} at {offset} +- {spread}: {mine} and {other}"
                )
