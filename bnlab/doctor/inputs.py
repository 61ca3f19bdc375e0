"""Watches what comes into the batch-norm layers of a Keras model while it is called.

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
from functools import partial
from typing import NamedTuple

import keras
import numpy as np
import tensorflow as tf

from bnlab import words
from bnlab.batch_norm import batch_moments
from bnlab.doctor.outputs import Disagreement
from bnlab.moments import merge_moments

_LARGER_BATCH = 32
VIEWS = "training", "batch", "inference"


class Moments(NamedTuple):
    """How many values a feature there were, their mean and their biased variance, shape (features,)."""

    count: int
    mean: np.ndarray
    variance: np.ndarray

    def merged(self, other):
        """Return the moments of both parts together."""
        return Moments(self.count + other.count, *merge_moments(*zip(self, other, strict=True)))


class Inputs(NamedTuple):
    """What came into a layer, in one of its calls a pass or in all.

    Pixels of one picture are alike, so it is examples that must be counted to say how sure a mean is.
    """

    values: Moments  # of all values of a feature; a picture has one a pixel
    means: Moments  # of the examples' means
    squares: Moments  # of the examples' mean squared distances from the batch mean; for the variance
    largest: int  # values a feature in the largest call
    shape: tuple  # of the input of the last call

    def merged(self, other):
        """Return the inputs of both parts together."""
        moments = (one.merged(two) for one, two in zip(self[:3], other[:3], strict=True))
        return Inputs(*moments, max(self.largest, other.largest), other.shape)


def arrays(*variables):
    """Return Keras variables or tensors as float64 arrays."""
    return [keras.ops.convert_to_numpy(keras.ops.cast(variable, "float64")) for variable in variables]


class Watched(NamedTuple):
    """What `watched` saw of a model."""

    model: keras.Layer
    layers: list  # its batch-norm layers
    views: dict  # {view: {layer: [Inputs of its first call a pass, of its second, ...]}}
    disagreement: float  # of the outputs in training mode and in inference, as in `Checkup`
    size: int  # examples a call
    tiny: set  # the layers that get one value a feature at the batch size asked for

    @property
    def called(self):
        """The layers that were called, in the order of their first calls."""
        return list(dict.fromkeys(layer for view in reversed(VIEWS) for layer in self.views[view]))


def watched(model, sample, batch_size):
    """Call the model on all batches of a sample in all views; a ValueError if no layer is called."""
    layers = built_layers(model, sample.part(0, batch_size), "x")
    tiny, size = set(), batch_size
    if size == 1:  # what follows a layer with one value a feature would be constant: measure it otherwise
        views, _ = _pass(model, layers, [sample.part(0, 1)])
        tiny = {layer for layer, calls in views["batch"].items() if calls[0].largest == 1}
        size = _LARGER_BATCH if tiny else size
    seen = Watched(model, layers, *_pass(model, layers, sample.batches(size)), size, tiny)
    if not seen.called:
        raise ValueError(
            f"model {model.name!r} calls none of its batch-norm layers on x; expected one or more"
        )
    return seen


def built_layers(model, x, name, aside=""):
    """Return the batch-norm layers at any depth; a model without weights gets them from a first call on x."""
    if not model.built or not all(layer.built for layer in _batch_norms(model)):
        with _told(model, x, name, aside):
            model(x, training=False)
    if not (layers := _batch_norms(model)):
        raise ValueError(
            f"model {model.name!r} has no batch-norm layer; expected a keras.layers.BatchNormalization in it"
        )
    return layers


def _batch_norms(model):
    return [one for one in model._flatten_layers() if isinstance(one, keras.layers.BatchNormalization)]


def _pass(model, layers, batches):
    """Return ({view: {layer: [Inputs a call]}}, disagreement) over all batches."""
    views, apart = {view: {} for view in VIEWS}, Disagreement()
    for x in batches:
        outputs = {}
        for view in VIEWS:
            found, outputs[view] = watch(model, layers, x, view)
            for layer, calls in found.items():
                before = views[view].get(layer, [])
                views[view][layer] = [a.merged(b) for a, b in zip(before, calls, strict=False)] + (
                    before[len(calls) :] + calls[len(before) :]
                )
        apart.add(outputs["batch"], outputs["inference"])
    return views, apart.largest()


def watch(model, layers, x, view, *, name="x", aside=""):
    """Call the model once on a batch, and note what comes into the layers.

    Returns ({layer: [Inputs of its first call, of its second, ...]}, the outputs of the model). A layer that
    was not called is not in it, nor is a call whose values are all masked. A ValueError if the model raises;
    it calls x by its name, and asks something aside.
    """
    found, lend = {}, view != "inference"
    with _told(model, x, name, aside), _calls_replaced(layers, found, lend=lend), keras.StatelessScope():
        outputs = model(x, training=view == "training")
    return found, outputs


@contextmanager
def _told(model, x, name, aside):
    """Say on which batch the model failed, in one sentence; the cause is kept for the traceback."""
    try:
        yield
    except Exception as error:
        shapes = ", ".join(str(np.shape(part)) for part in keras.tree.flatten(x))
        raise ValueError(
            f"model {model.name!r} cannot be called on {name} of shape {shapes}{aside} "
            f"({words.reason(error)})"
        ) from error


@contextmanager
def _calls_replaced(layers, found, *, lend):
    """Let each layer note what comes in, and normalize with that if its moments are lent to it.

    The Python of a `tf.function` must run too: once traced, it would call no layer any more.
    """
    eagerly = tf.config.functions_run_eagerly()
    try:
        tf.config.run_functions_eagerly(True)  # noqa: FBT003
        for layer in layers:  # past Keras, which would keep track of the attribute
            object.__setattr__(layer, "call", partial(_noting_call, layer, layer.call, found, lend))
        yield
    finally:
        tf.config.run_functions_eagerly(eagerly)
        for layer in layers:
            vars(layer).pop("call", None)


def _noting_call(layer, call, found, lend, inputs, **options):
    values, axis = arrays(inputs)[0], layer.axis
    if options.get("mask") is not None:
        if axis not in (-1, values.ndim - 1):
            raise ValueError(f"axis is {axis}; expected the last axis of an input that has a mask")
        values, axis = values[keras.ops.convert_to_numpy(options["mask"]).astype(bool)], -1
    if values.size:
        noted = _inputs(values, axis)
        found.setdefault(layer, []).append(noted)
        if lend:
            layer.moving_mean.assign(noted.values.mean)
            layer.moving_variance.assign(noted.values.variance)
    return call(inputs, **options | {"training": False})


def _inputs(values, axis):
    mean, variance = batch_moments(values, axis=axis)
    count = values.size // len(mean)
    examples = np.moveaxis(values, axis, -1).reshape(len(values), -1, len(mean))
    with np.errstate(over="ignore", invalid="ignore"):
        means = examples.mean(axis=1)
        squares = ((examples - mean) ** 2).mean(axis=1)
        rows = (Moments(len(values), *batch_moments(table)) for table in (means, squares))
        return Inputs(Moments(count, mean, variance), *rows, count, values.shape)
