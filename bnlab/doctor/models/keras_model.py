"""Calls a Keras 3 model while its batch-norm layers note what comes in, and changes nothing of it.

What is replaced for that is replaced for the calling thread only, so the model may be in use in others.
"""

from contextlib import contextmanager
from functools import cached_property

import keras
import numpy as np
import tensorflow as tf

from bnlab import words
from bnlab.doctor.models.keras_layers import Notes, initial, made_by_tensorflow, names
from bnlab.doctor.models.places import places
from bnlab.doctor.models.this_thread import replaced
from bnlab.doctor.models.unchanged import unchanged
from bnlab.doctor.norm import Norm, inputs_of

_BatchNorm = keras.layers.BatchNormalization
_Function = type(tf.function(lambda: None))


class KerasModel:
    """A Keras 3 model that can be watched.

    Attributes:
        layers: its batch-norm layers.
        names: {layer: its name, with the names of those around it where two layers share one}.
        norms: {layer: Norm} of those that were called.

    Args:
        model: a Keras 3 model or layer; if it has no weights yet, a first call on x builds it.
        x: inputs of one batch.
        name, aside: what to call x in an error, and what to ask there.

    Raises:
        ValueError: the model has no batch-norm layer, or cannot be called on x.
    """

    read_only = ""  # what to do instead of changing it, if it cannot be
    _kind, _expected = _BatchNorm, "keras.layers.BatchNormalization"

    def __init__(self, model, x, *, name="x", aside=""):
        self.model, self.name, self._x = model, model.name, x
        if not model.built:
            with self._watching({}), self._told(x, name, aside):
                model(x, training=False)
        self.layers = [layer for layer in model._flatten_layers() if isinstance(layer, self._kind)]
        if not self.layers:
            raise ValueError(
                f"model {self.name!r} has no batch-norm layer; expected a {self._expected} in it"
            )
        self.names = names(model, self.layers, self._inside)
        self.norms, self._bypassed = {}, set()

    def watch(self, x, view, *, name="x", aside=""):
        """Call the model once on a batch, and note what comes into the layers.

        Returns ({norm: [Inputs of its first call, of its second, ...]}, the outputs of the model). A layer
        that was not called is not in it, nor is a call whose values are all masked. A ValueError if the model
        raises; it calls x by its name, and asks something aside.
        """
        notes = _Notes(self.layers, lend=view != "inference")
        with self._watching(notes.replacements()), self._told(x, name, aside):
            outputs = self.model(x, training=view == "training")
        if notes.error:
            raise notes.error
        self._bypassed |= notes.entered - notes.reached
        for layer in notes.found.keys() - self.norms.keys():
            self.norms[layer] = _norm(layer, self.names[layer])
        return {self.norms[layer]: calls for layer, calls in notes.found.items()}, outputs

    def forget(self):
        """Read anew at the next call what the layers remember: it moves while a model trains."""
        self.norms.clear()

    def place(self, norm):
        """Return the Place of a layer in the model."""
        return self._places[self._layer_of(norm)]

    @cached_property
    def _places(self):
        with self._watching({}):
            return places(self.model, self._x)

    def _layer_of(self, norm):
        return next(layer for layer, one in self.norms.items() if one is norm)

    @staticmethod
    def _inside(layer):
        return layer._layers

    @property
    def not_called(self):
        """The names of the layers that were not called."""
        return [self.names[one] for one in self.layers if one not in self.norms and one not in self._bypassed]

    @property
    def by_themselves(self):
        """The names of those that were, but normalize in a `call` of their own: what, cannot be seen."""
        return [self.names[one] for one in self.layers if one not in self.norms and one in self._bypassed]

    @contextmanager
    def _watching(self, replacements):
        with unchanged(self.model), replaced({(_Function, "__call__"): _in_python} | replacements):
            yield

    @contextmanager
    def _told(self, x, name, aside):
        """Say on which batch the model failed, in one sentence; the cause is kept for the traceback."""
        try:
            yield
        except Exception as error:
            if "stateless scope" in str(error):
                raise ValueError(
                    f"model {self.name!r} makes variables in its call, so it cannot be looked at without "
                    "changing it; call it once on some inputs first"
                ) from error
            if isinstance(x, tuple) and not aside:
                aside = "; if it is (x, y), as for fit, give x alone"
            shapes = ", ".join(str(np.shape(part)) for part in keras.tree.flatten(x))
            raise ValueError(
                f"model {self.name!r} cannot be called on {name} of shape {shapes}{aside} "
                f"({words.reason(error)})"
            ) from error

    def replacements(self, norm, inputs):
        """Return [(variable, its new value)] that let the layer remember what came in."""
        layer = self._layer_of(norm)
        mean, variance = inputs.values.mean, inputs.values.variance
        pairs = [(layer.moving_mean, mean), (layer.moving_variance, variance)]
        if getattr(layer, "renorm", False):  # its next update starts from these, not from the variance
            std = np.sqrt(variance + layer.epsilon)
            pairs += [(layer.moving_stddev, std), (layer.renorm_mean, mean), (layer.renorm_stddev, std)]
        return pairs


def arrays(*variables):
    """Return Keras variables or tensors as float64 arrays."""
    return [keras.ops.convert_to_numpy(keras.ops.cast(variable, "float64")) for variable in variables]


def _norm(layer, name):
    mean, variance = arrays(layer.moving_mean, layer.moving_variance)
    return Norm(
        name,
        **{option: getattr(layer, option) for option in ("axis", "momentum", "epsilon", "trainable")},
        mean=mean,
        variance=variance,
        weights=tuple(arrays(*(one for one in (layer.gamma, layer.beta) if one is not None))),
        initial=initial(layer),
        dtype=layer.moving_mean.dtype,
    )


class _Notes(Notes):
    """Notes of one call of the model.

    Attributes:
        found: {layer: [Inputs of its first call, of its second, ...]}.
        error: what went wrong in noting; it is no fault of the model.
    """

    kind = _BatchNorm

    def __init__(self, layers, *, lend):
        super().__init__(layers, lend=lend)
        self.found, self.error = {}, None

    def _note(self, call, layer, inputs, training=None, mask=None):
        if layer not in self.layers:
            return call(layer, inputs, training=training, mask=mask)
        if tf.executing_eagerly():  # and not only for the shape of what comes out
            self.reached.add(layer)
            try:
                self._add(layer, inputs, mask)
            except Exception as error:  # told when the model is through
                self.error = self.error or error
        return call(layer, inputs, training=False, mask=mask)

    def _add(self, layer, inputs, mask):
        values, axis = arrays(inputs)[0], layer.axis
        if mask is not None:
            if axis not in (-1, values.ndim - 1):
                raise ValueError(
                    f"{layer.name}.axis is {axis}; expected the last axis of an input that has a mask"
                )
            values, axis = values[keras.ops.convert_to_numpy(mask).astype(bool)], -1
        if values.size:
            noted = inputs_of(values, axis)
            self.found.setdefault(layer, []).append(noted)
            if self.lend:
                layer.moving_mean.assign(noted.values.mean)
                layer.moving_variance.assign(noted.values.variance)


def _in_python(call, function, *arguments, **options):
    """Run the Python of a `tf.function`: once traced, it would call no layer any more."""
    if made_by_tensorflow(function):
        return call(function, *arguments, **options)
    return function.python_function(*arguments, **options)
