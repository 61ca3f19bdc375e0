"""Calls a Keras 3 model while its batch-norm layers note what comes in, and changes nothing of it.

No call changes a variable: all run in a stateless scope, which no assignment leaves, also after an error.
"""

from contextlib import contextmanager
from functools import partial

import keras
import numpy as np
import tensorflow as tf

from bnlab import words
from bnlab.doctor.norm import Norm, inputs_of


class KerasModel:
    """A Keras 3 model that can be watched.

    Args:
        model: a Keras 3 model or layer; if it has no weights yet, a first call on x builds it.
        x: inputs of one batch.
        name, aside: what to call x in an error, and what to ask there.

    Raises:
        ValueError: the model has no batch-norm layer, or cannot be called on x.
    """

    def __init__(self, model, x, *, name="x", aside=""):
        self.model, self.name = model, model.name
        if not model.built or not all(layer.built for layer in _batch_norms(model)):
            with self._told(x, name, aside):
                model(x, training=False)
        self.layers, self.norms = _batch_norms(model), {}
        if not self.layers:
            raise ValueError(
                f"model {self.name!r} has no batch-norm layer; "
                "expected a keras.layers.BatchNormalization in it"
            )

    def watch(self, x, view, *, name="x", aside=""):
        """Call the model once on a batch, and note what comes into the layers.

        Returns ({norm: [Inputs of its first call, of its second, ...]}, the outputs of the model). A layer
        that was not called is not in it, nor is a call whose values are all masked. A ValueError if the model
        raises; it calls x by its name, and asks something aside.
        """
        found, lend = {}, view != "inference"
        with (
            self._told(x, name, aside),
            _calls_replaced(self.layers, found, lend=lend),
            keras.StatelessScope(),
        ):
            outputs = self.model(x, training=view == "training")
        for layer in found.keys() - self.norms.keys():
            self.norms[layer] = _norm(layer)
        return {self.norms[layer]: calls for layer, calls in found.items()}, outputs

    @contextmanager
    def _told(self, x, name, aside):
        """Say on which batch the model failed, in one sentence; the cause is kept for the traceback."""
        try:
            yield
        except Exception as error:
            shapes = ", ".join(str(np.shape(part)) for part in keras.tree.flatten(x))
            raise ValueError(
                f"model {self.name!r} cannot be called on {name} of shape {shapes}{aside} "
                f"({words.reason(error)})"
            ) from error

    def replacements(self, norm, inputs):
        """Return [(variable, its new value)] that let the layer remember what came in."""
        layer = next(layer for layer, one in self.norms.items() if one is norm)
        mean, variance = inputs.values.mean, inputs.values.variance
        pairs = [(layer.moving_mean, mean), (layer.moving_variance, variance)]
        if getattr(layer, "renorm", False):  # its next update starts from these, not from the variance
            std = np.sqrt(variance + layer.epsilon)
            pairs += [(layer.moving_stddev, std), (layer.renorm_mean, mean), (layer.renorm_stddev, std)]
        return pairs


def arrays(*variables):
    """Return Keras variables or tensors as float64 arrays."""
    return [keras.ops.convert_to_numpy(keras.ops.cast(variable, "float64")) for variable in variables]


def _batch_norms(model):
    return [one for one in model._flatten_layers() if isinstance(one, keras.layers.BatchNormalization)]


def _norm(layer):
    mean, variance = arrays(layer.moving_mean, layer.moving_variance)
    return Norm(
        **{name: getattr(layer, name) for name in ("name", "axis", "momentum", "epsilon", "trainable")},
        mean=mean,
        variance=variance,
        weights=tuple(arrays(*(one for one in (layer.gamma, layer.beta) if one is not None))),
        initial=(
            _constant(layer.moving_mean_initializer, 0.0),
            _constant(layer.moving_variance_initializer, 1.0),
        ),
        dtype=layer.moving_mean.dtype,
    )


def _constant(initializer, usual):
    """Return the value an initializer gives to all features; the usual one if it draws them."""
    known = {"Zeros": 0.0, "Ones": 1.0, "Constant": getattr(initializer, "value", usual)}
    return known.get(type(initializer).__name__, usual)


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
        noted = inputs_of(values, axis)
        found.setdefault(layer, []).append(noted)
        if lend:
            layer.moving_mean.assign(noted.values.mean)
            layer.moving_variance.assign(noted.values.variance)
    return call(inputs, **options | {"training": False})
