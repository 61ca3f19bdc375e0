"""Times the maths forward and backward beside TensorFlow, Keras and PyTorch, as multiples of a plain copy."""

import functools
import importlib.util
import statistics
import time

import numpy as np
from tables import table, verdict

from bnlab.batch_norm import batch_moments, batch_norm_gradients, normalize

EPSILON = 1e-3
# The most multiples of a copy that forward may take, for each shape.
LIMITS = {(256, 1024): 3.5, (64, 56, 56, 64): 6.0}
READING = (
    "bnlab keeps the code that reads like the paper: three operations on centred values, and a variance in\n"
    "two passes. 1 MB fits into the cache, so there a copy is quick beside them; one compiled pass would be\n"
    "faster."
)
# The longer name is kept apart: its time has a forward pass in it, as a tape has to see one.
FORWARD, GRADIENTS = "forward, ", "forward + gradients, "


def speed():
    """Return the tables of times and errors of the package and of the frameworks, one for each shape."""
    tables = [_speed_at(shape, limit) for shape, limit in LIMITS.items()]
    return "\n\n".join([*tables, READING])


def _speed_at(shape, limit):
    x, dy, gamma, beta = _inputs(shape)
    calls = _calls(x, dy, gamma, beta)
    times = _interleaved(calls, seconds=10.0)
    errors = _errors({name: call for name, call in calls.items() if name.startswith(FORWARD)}, x, gamma, beta)
    return f"{_time_table(shape, times, limit)}\n\n{_error_table(errors)}"


def _time_table(shape, times, limit):
    rows = []
    for name, seconds in times.items():
        multiple = seconds / times["np.copyto"]
        target = verdict(multiple, limit) if name == f"{FORWARD}bnlab" else ("", "")
        rows.append([name, f"{seconds * 1e3:.3f}", f"{multiple:.1f}", *target])
    return table([f"{shape} float32", "ms", "x copyto", "target", ""], rows)


def _error_table(errors):
    """Return the errors of y; those of the package are to be no larger than the smallest of the others."""
    mine, rows = f"{FORWARD}bnlab", []
    for column, name in enumerate(["root mean square", "largest"]):
        nearest = min(error[column] for who, error in errors.items() if who != mine)
        for who, error in errors.items():
            target = verdict(error[column], nearest) if who == mine else ("", "")
            rows.append([f"{name}, {who.removeprefix(FORWARD)}", f"{error[column]:.2e}", *target])
    return table(["error of y", "", "target", ""], rows)


def _inputs(shape):
    rng = np.random.default_rng(0)
    x = (rng.standard_normal(shape) * 2 + 3).astype("float32")
    dy = rng.standard_normal(shape).astype("float32")
    gamma, beta = rng.uniform(0.5, 1.5, (2, shape[-1])).astype("float32")
    return x, dy, gamma, beta


def _calls(x, dy, gamma, beta):
    """Return a function without arguments for each thing to time; those that normalize return y."""
    copy = np.empty_like(x)
    calls = {"np.copyto": lambda: np.copyto(copy, x), "batch_moments": lambda: batch_moments(x)}

    def forward():
        return normalize(x, *batch_moments(x), gamma=gamma, beta=beta, epsilon=EPSILON)

    def gradients():
        return forward(), batch_norm_gradients(dy, x, gamma=gamma, epsilon=EPSILON)

    calls |= {f"{FORWARD}bnlab": forward, f"{GRADIENTS}bnlab": gradients}
    calls |= _tensorflow_calls(x, dy, gamma, beta)
    if importlib.util.find_spec("torch"):
        calls |= _pytorch_calls(x, dy, gamma, beta)
    return calls


def _tensorflow_calls(x, dy, gamma, beta):
    import bnlab.tensorflow_setup  # noqa: F401, I001 - it has to come first
    import keras
    import tensorflow as tf

    x, dy, gamma, beta = map(tf.constant, (x, dy, gamma, beta))
    images = (-1, *(1,) * (4 - x.ndim), *x.shape[1:])
    x_images, dy_images = (tf.reshape(tensor, images) for tensor in (x, dy))
    fused = functools.partial(
        tf.raw_ops.FusedBatchNormV3,
        x=x_images,
        scale=gamma,
        offset=beta,
        mean=np.empty(0, "float32"),
        variance=np.empty(0, "float32"),
        epsilon=EPSILON,
        is_training=True,
    )
    layer = keras.layers.BatchNormalization(epsilon=EPSILON)
    layer.build(x.shape)
    layer.gamma.assign(gamma)
    layer.beta.assign(beta)

    def tf_nn():
        mean, variance = tf.nn.moments(x, list(range(x.ndim - 1)))
        return tf.nn.batch_normalization(x, mean, variance, beta, gamma, EPSILON)

    forwards = {
        "tf.nn": (tf_nn, x, dy),
        "FusedBatchNormV3": (lambda: fused().y, x_images, dy_images),
        "Keras 3 layer": (lambda: layer(x, training=True), x, dy),
    }

    def with_gradients(forward, source, upstream):
        with tf.GradientTape() as tape:
            tape.watch([source, gamma, beta])
            y = forward()
        parameters = layer.trainable_variables if forward is forwards["Keras 3 layer"][0] else [gamma, beta]
        return tape.gradient(y, [source, *parameters], output_gradients=upstream)

    return {f"{FORWARD}{name}": forward for name, (forward, *_) in forwards.items()} | {
        f"{GRADIENTS}{name}": functools.partial(with_gradients, *each) for name, each in forwards.items()
    }


def _pytorch_calls(x, dy, gamma, beta):
    import torch

    # PyTorch keeps axis 1; channels_last is the same memory as ours, seen with the axes in its order.
    x, dy = (torch.from_numpy(np.moveaxis(array, -1, 1)).requires_grad_() for array in (x, dy))
    parameters = [torch.from_numpy(array).requires_grad_() for array in (gamma, beta)]
    batch_norm = torch.nn.functional.batch_norm

    def forward():
        with torch.no_grad():
            y = batch_norm(x, None, None, *parameters, training=True, eps=EPSILON)
        return np.moveaxis(y.numpy(), 1, -1)

    def gradients():
        y = batch_norm(x, None, None, *parameters, training=True, eps=EPSILON)
        return torch.autograd.grad(y, [x, *parameters], dy.detach())

    return {f"{FORWARD}PyTorch": forward, f"{GRADIENTS}PyTorch": gradients}


def _interleaved(calls, *, seconds):
    """Return the median seconds of each call; they take turns, so a slow moment hits them all."""
    times = {name: [] for name in calls}
    for call in calls.values():
        call()  # the first call of each also plans and allocates
    end = time.perf_counter() + seconds
    while time.perf_counter() < end or len(times["np.copyto"]) < 9:
        for name, call in calls.items():
            start = time.perf_counter()
            call()
            times[name].append(time.perf_counter() - start)
    return {name: statistics.median(spent) for name, spent in times.items()}


def _errors(forwards, x, gamma, beta):
    """Return for each y its errors against extended precision: (root mean square, largest)."""
    results = {name: np.asarray(forward()).reshape(x.shape) for name, forward in forwards.items()}
    squares, largest = dict.fromkeys(results, 0.0), dict.fromkeys(results, 0.0)
    for feature in range(x.shape[-1]):  # one at a time: the whole of it would need 16 bytes a number
        column = x[..., feature].astype(np.longdouble)
        centred = column - column.mean()
        truth = centred / np.sqrt((centred**2).mean() + EPSILON) * gamma[feature] + beta[feature]
        for name, result in results.items():
            error = np.abs(result[..., feature] - truth)
            squares[name] += float((error**2).mean()) / x.shape[-1]
            largest[name] = max(largest[name], float(error.max()))
    return {name: (squares[name] ** 0.5, largest[name]) for name in results}
