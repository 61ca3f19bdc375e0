"""Watches what comes into the batch-norm layers of a Keras model while it is called on a batch.

A layer meets its data in up to three ways, and they differ as soon as there is dropout or a layer behind
another one:

    "training"    training=True, so dropout and augmentation are on; layers normalize with the batch
    "batch"       training=False, but layers normalize with the batch all the same
    "inference"   training=False; layers normalize with their moving statistics

In the first two every layer takes the moments of the batch, also one that is frozen or called with
training=False: what the layers remember cannot spoil what comes into the next one. No call changes a
variable: all run in a stateless scope, which no assignment leaves, also after an error.
"""

from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial, reduce

import keras
import numpy as np
import tensorflow as tf

from bnlab.batch_norm import batch_moments
from bnlab.moments import merge_moments

VIEWS = "training", "batch", "inference"


@dataclass(frozen=True)
class Moments:
    """How many values a feature there were, their mean and their biased variance, shape (features,)."""

    count: int
    mean: np.ndarray
    variance: np.ndarray

    def merged(self, other):
        """Return the moments of both parts together."""
        parts = self, other
        moments = merge_moments(
            [part.count for part in parts],
            [part.mean for part in parts],
            [part.variance for part in parts],
        )
        return Moments(self.count + other.count, *moments)


@dataclass(frozen=True)
class Inputs:
    """What came into a layer, in one of its calls a pass or in all.

    Attributes:
        values: moments of all values of a feature; a picture has one a pixel.
        means: moments of the examples' means. Pixels of one picture are alike, so it is examples that
            must be counted to say how sure a mean is.
        squares: moments of the examples' mean squared distances from the batch mean; for the variance.
        largest: values a feature in the largest call.
        shape: of the input of the last call.
    """

    values: Moments
    means: Moments
    squares: Moments
    largest: int
    shape: tuple

    def merged(self, other):
        """Return the inputs of both parts together."""
        return Inputs(
            self.values.merged(other.values),
            self.means.merged(other.means),
            self.squares.merged(other.squares),
            max(self.largest, other.largest),
            other.shape,
        )


def batch_norm_layers(model):
    """Return the batch-norm layers in a model, at any depth; a ValueError if there is none."""
    layers = [one for one in model._flatten_layers() if isinstance(one, keras.layers.BatchNormalization)]
    if not layers:
        raise ValueError(
            f"model {model.name!r} has no batch-norm layer; expected a keras.layers.BatchNormalization in it"
        )
    return layers


def check_model(model):
    """Raise a TypeError if this is no Keras 3 model or layer."""
    if not isinstance(model, keras.Layer):
        raise TypeError(f"model is a {type_name(model)}; expected a Keras 3 model")


def type_name(value):
    """Return the full name of a value's type."""
    return f"{type(value).__module__}.{type(value).__qualname__}"


def arrays(*variables):
    """Return Keras variables or tensors as float64 arrays."""
    return [keras.ops.convert_to_numpy(keras.ops.cast(variable, "float64")) for variable in variables]


def merged(calls):
    """Return the Inputs of all calls together."""
    return reduce(lambda one, other: one.merged(other), calls)


def watch(model, layers, x, view):
    """Call the model once on a batch and note what comes into the layers.

    Args:
        model: a Keras 3 model with weights.
        layers: those of its batch-norm layers that are watched.
        x: one batch of inputs, of any structure that the model takes.
        view: one of VIEWS.

    Returns:
        (found, outputs): {layer: [Inputs of its first call, of its second, ...]} in the order of the
        calls, and what the model returned. A layer that was not called is not in it, nor is a call
        whose values are all masked.

    Raises:
        Whatever the model raises; then, too, the model is as it was.
    """
    found = {}
    with _calls_replaced(layers, found, lend=view != "inference"), _eager_functions(), keras.StatelessScope():
        outputs = model(x, training=view == "training")
    return found, outputs


@contextmanager
def _calls_replaced(layers, found, *, lend):
    """Let each layer note what comes in, and normalize with that if its moments are lent to it."""
    try:
        for layer in layers:  # past Keras, which would keep track of the attribute
            object.__setattr__(layer, "call", partial(_noting_call, layer, layer.call, found, lend))
        yield
    finally:
        for layer in layers:
            vars(layer).pop("call", None)


def _noting_call(layer, call, found, lend, inputs, **options):
    values = keras.ops.convert_to_numpy(keras.ops.cast(inputs, "float64"))
    axis = layer.axis
    if options.get("mask") is not None:
        values, axis = _unmasked(layer, values, keras.ops.convert_to_numpy(options["mask"])), -1
    if values.size:
        noted = _inputs(values, axis)
        found.setdefault(layer, []).append(noted)
        if lend:
            layer.moving_mean.assign(noted.values.mean)
            layer.moving_variance.assign(noted.values.variance)
    return call(inputs, **options | {"training": False})


def _unmasked(layer, values, mask):
    """Return the rows that a mask leaves, shape (rows, features)."""
    if layer.axis not in (-1, values.ndim - 1):
        raise ValueError(f"axis is {layer.axis}; expected the last axis of an input that has a mask")
    return values[mask.astype(bool)]


def _inputs(values, axis):
    mean, variance = batch_moments(values, axis=axis)
    count = values.size // len(mean)
    examples = np.moveaxis(values, axis, -1).reshape(len(values), -1, len(mean))
    with np.errstate(over="ignore", invalid="ignore"):
        means = examples.mean(axis=1)
        squares = ((examples - mean) ** 2).mean(axis=1)
        rows = (Moments(len(values), *batch_moments(table)) for table in (means, squares))
        return Inputs(Moments(count, mean, variance), *rows, count, values.shape)


@contextmanager
def _eager_functions():
    """Run the Python of a `tf.function` too: once traced, it would call no layer any more."""
    before = tf.config.functions_run_eagerly()
    tf.config.run_functions_eagerly(True)  # noqa: FBT003
    try:
        yield
    finally:
        tf.config.run_functions_eagerly(before)
