"""Calls a tf_keras (Keras 2) model while its batch-norm layers note what comes in, and changes nothing of it.

tf_keras has no stateless scope. So a call is traced as a graph, as `fit` and `predict` do it, and the graph
runs on copies of the variables: counters, seeds and metrics move there and nowhere else.
"""

from contextlib import contextmanager
from functools import partial

import numpy as np
import tensorflow as tf
from tf_keras.src.layers.normalization.batch_normalization import BatchNormalizationBase as _BatchNorm

from bnlab.doctor.models.keras_layers import Notes, initial, made_by_tensorflow
from bnlab.doctor.models.keras_model import KerasModel
from bnlab.doctor.models.noting import noted
from bnlab.doctor.models.this_thread import replaced
from bnlab.doctor.norm import NOWHERE, Norm

_Function = type(tf.function(lambda: None))


class TfKerasModel(KerasModel):
    """A tf_keras model that can be watched.

    Attributes, arguments, errors: as of `KerasModel`.

    `recalibrate` stores the biased variance here too. The fused layer (4-D) averages the unbiased one of its
    batches; over all the data they differ by one part in the number of values a feature.
    """

    _kind, _expected = _BatchNorm, "tf_keras.layers.BatchNormalization"

    def __init__(self, model, x, *, name="x", aside=""):
        super().__init__(model, x, name=name, aside=aside)
        self._graphs, self._copies = {}, {}

    def watch(self, x, view, *, name="x", aside=""):
        """Call the model once on a batch, and note what comes into the layers: see `KerasModel.watch`."""
        with self._told(x, name, aside):
            x = tf.nest.map_structure(tf.convert_to_tensor, x)
            graph, notes = self._traced(x, view)
            notes.clear()
            outputs = graph(x)
        found = notes.found()
        self._bypassed |= notes.entered - notes.reached
        for layer in found.keys() - self.norms.keys():
            self.norms[layer] = _norm(layer, self.names[layer])
        return {self.norms[layer]: calls for layer, calls in found.items()}, outputs

    def _traced(self, x, view):
        """Return the graph of a call on inputs of such shapes, of any number of examples, and its notes."""
        specs = tf.nest.map_structure(lambda part: tf.TensorSpec((None, *part.shape[1:]), part.dtype), x)
        key = view, str(specs)
        if key not in self._graphs:
            notes = _Notes(self.layers, lend=view != "inference")
            with self._watching(notes.replacements()):
                call = tf.function(partial(_call, self.model, view == "training"))
                graph = call.get_concrete_function(specs)
            graph.set_external_captures([self._copy(one) for one in graph.captured_inputs])
            self._graphs[key] = graph, notes
        return self._graphs[key]

    def _copy(self, captured):
        """Return the handle of a copy, if this is that of a variable."""
        described = captured._handle_data.shape_and_type if captured.dtype == tf.resource else ()
        if not described:  # a constant, or a table
            return captured
        key = captured.ref()
        if key not in self._copies:
            value = tf.raw_ops.ReadVariableOp(resource=captured, dtype=described[0].dtype)
            self._copies[key] = tf.Variable(value, trainable=False)
        return self._copies[key].handle

    def place(self, _norm):
        """Return the Place of a layer in the model: nothing is known of it."""
        return NOWHERE

    @contextmanager
    def _watching(self, replacements):
        with _same_losses(self.model), replaced(replacements):
            yield

    @staticmethod
    def _inside(layer):
        return layer._flatten_layers(recursive=False, include_self=False)

    def replacements(self, norm, inputs):
        """Return [(variable, its new value)] that let the layer remember what came in."""
        pairs = super().replacements(norm, inputs)
        return [(variable, np.reshape(value, variable.shape)) for variable, value in pairs]


def _call(model, training, x):
    tf.compat.v1.set_random_seed(0)  # of this graph alone: dropout falls alike in every checkup
    with tf.variable_creator_scope(_no_variable):
        return model(x, training=training)


def _no_variable(*_, **__):
    raise ValueError("it makes variables in its call; call it once on some inputs first")


@contextmanager
def _same_losses(model):
    """Put the losses of the last call back after this one."""
    before = [(layer, list(layer._eager_losses)) for layer in model._flatten_layers()]
    try:
        yield
    finally:
        for layer, losses in before:
            layer._eager_losses = losses


def _norm(layer, name):
    axes = _axes(layer)
    return Norm(
        name,
        axes[0] if len(axes) == 1 else -1,
        **{name: getattr(layer, name) for name in ("momentum", "epsilon", "trainable")},
        mean=_features(layer.moving_mean),
        variance=_features(layer.moving_variance),
        weights=tuple(_features(one) for one in (layer.gamma, layer.beta) if one is not None),
        initial=initial(layer),
        dtype=layer.moving_mean.dtype.name,
    )


def _axes(layer):
    """Return the axes that a built layer keeps; its weights have them in this order."""
    return sorted(layer.axis)


def _features(variable):
    return variable.numpy().astype(float).ravel()


class _Notes(Notes):
    """Notes of a graph, taken whenever it runs."""

    kind = _BatchNorm

    def __init__(self, layers, *, lend):
        super().__init__(layers, lend=lend)
        self._calls = []

    def replacements(self):
        """Return what to replace: beside the calls, those that `model.save` left, and traced functions."""
        saved = [layer for layer in self.layers if "call" in vars(layer)]
        return {
            **{(layer, "call"): partial(_of_class, layer) for layer in saved},
            **super().replacements(),
            (_Function, "__call__"): _traced_anew,
        }

    def _note(self, call, layer, inputs, training=None, mask=None):
        if layer not in self.layers:
            return call(layer, inputs, training=training, mask=mask)
        self.reached.add(layer)
        calls, axes = [], _axes(layer)
        self._calls.append((layer, calls))
        if layer.fused:  # ignores it
            mask = None
        if mask is not None and axes != [len(inputs.shape) - 1]:
            raise ValueError(f"axis is {axes}; expected the last axis of an input that has a mask")
        moments = noted(inputs, axes, calls, mask=mask)
        return _normalized(layer, inputs, moments) if self.lend else call(layer, inputs, training=False)

    def clear(self):
        """Forget what was noted."""
        for _, calls in self._calls:
            calls.clear()

    def found(self):
        """Return {layer: [Inputs of its first call, of its second, ...]}, without what was not called."""
        found = {}
        for layer, calls in self._calls:
            if calls:
                found[layer] = found.get(layer, []) + calls
        return found


def _of_class(layer, _call, *arguments, **options):
    """Call the `call` of the class: `model.save` leaves the same one in the layer itself."""
    return type(layer).call(layer, *arguments, **options)


def _normalized(layer, inputs, moments):
    """Return what the layer makes of its inputs with these moments."""
    shape = [size if axis in layer.axis else 1 for axis, size in enumerate(inputs.shape)]
    values = (*moments, layer.beta, layer.gamma)
    wide = [one if one is None else tf.reshape(tf.cast(one, tf.float64), shape) for one in values]
    outputs = tf.nn.batch_normalization(tf.cast(inputs, tf.float64), *wide, layer.epsilon)
    return tf.cast(outputs, layer.compute_dtype)


def _traced_anew(call, function, *arguments, **options):
    """Trace the Python of a `tf.function` again: as traced before, it would call no layer any more."""
    if made_by_tensorflow(function):
        return call(function, *arguments, **options)
    context = tf.__internal__.autograph.control_status_ctx()
    return tf.__internal__.autograph.tf_convert(function.python_function, context)(*arguments, **options)
