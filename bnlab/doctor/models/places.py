"""Finds where the batch-norm layers of a Keras 3 model stand: what is in front of them, and what calls them.

The model is called once as `fit` calls it, on placeholders in a graph of its own, so nothing is computed and
no variable moves. Every layer notes what it is given and what it returns, and from the input of a batch-norm
layer the operations of the graph lead back to those. So it does not matter how the model was built.
"""

import inspect
from typing import NamedTuple

import keras
import numpy as np
import tensorflow as tf

from bnlab.doctor.models.this_thread import replaced
from bnlab.doctor.norm import Place


def _classes(names):
    return tuple(getattr(keras.layers, name) for name in names.split())


_NORM = keras.layers.BatchNormalization
_CONVOLUTIONS = _classes(
    "Conv1D Conv2D Conv3D Conv1DTranspose Conv2DTranspose Conv3DTranspose SeparableConv1D SeparableConv2D "
    "DepthwiseConv1D DepthwiseConv2D"
)
_WITH_BIAS = (keras.layers.Dense, *_CONVOLUTIONS)
_FEATURES_LAST = _classes("Dense Embedding LSTM GRU SimpleRNN Bidirectional MultiHeadAttention")
_DROPOUTS = _classes("Dropout AlphaDropout GaussianDropout GaussianNoise")
# Through these, and through operations on each number by itself, an axis stays what it is.
_AXES_KEPT = _DROPOUTS + _classes(
    "MaxPooling1D MaxPooling2D MaxPooling3D AveragePooling1D AveragePooling2D AveragePooling3D "
    "ZeroPadding1D ZeroPadding2D ZeroPadding3D Cropping1D Cropping2D Cropping3D "
    "UpSampling1D UpSampling2D UpSampling3D Concatenate "
    "BatchNormalization LayerNormalization GroupNormalization RMSNormalization UnitNormalization"
)
_OF_EACH_NUMBER = (
    "Abs Add AddN AddV2 BiasAdd Cast Elu Erf Exp Identity IdentityN LeakyRelu Log Log1p Maximum Minimum Mul "
    "Neg Pow RealDiv Relu Relu6 Rsqrt SelectV2 Selu Sigmoid Softmax Softplus Softsign Sqrt Square "
    "StopGradient Sub Tanh"
)


def places(model, x):
    """Return {batch-norm layer: Place} of a built Keras 3 model; x is a batch of its inputs.

    A model that cannot be called on placeholders is known by the nodes that it was built of, or not at all.
    """
    norms = [one for one in model._flatten_layers() if isinstance(one, _NORM)]
    try:
        trace = _traced(model, x, norms)
    except Exception:  # whatever the `call` of a stranger raises there
        trace = _Trace(set(), [], set())
    known = {"deaf": "" if model._call_has_training_arg else type(model).__name__}
    flags, steps = _flags(model), _in_time_distributed(model)
    return {
        norm: trace.place(norm)._replace(flag=flags.get(norm, ()), steps=norm in steps, **known)
        for norm in norms
    }


def _flags(model):
    """Return {batch-norm layer: (what is called with a `training=` in the graph of the model, its value)}."""
    flags = {}
    for graph in model._flatten_layers():
        nodes = graph._nodes_by_depth.values() if isinstance(graph, keras.Function) else ()
        for node in (node for depth in nodes for node in depth if isinstance(node.operation, keras.Layer)):
            value = node.arguments.kwargs.get("training")
            for one in node.operation._flatten_layers() if value is not None else ():
                called = "BatchNormalization()" if one is node.operation else "base"
                flags.setdefault(one, (called, value))  # of several, the outermost counts
    return flags


def _in_time_distributed(model):
    around = [one for one in model._flatten_layers() if isinstance(one, keras.layers.TimeDistributed)]
    return {one for wrapper in around for one in wrapper._flatten_layers()}


def _traced(model, x, norms):
    calls, options = [], {"training": True} if model._call_has_training_arg else {}
    graph = tf.__internal__.FuncGraph("places")
    with _noting(calls), keras.StatelessScope() as scope, graph.as_default():
        outputs = model(keras.tree.map_structure(_placeholder, x), **options)
    moved = {norm for norm in norms if scope.get_current_value(norm.moving_mean) is not None}
    return _Trace({one.name for one in _tensors(outputs)}, calls, moved)


def _placeholder(part):
    return tf.compat.v1.placeholder(getattr(part, "dtype", "float32"), np.shape(part))


def _tensors(structure):
    return [one for one in keras.tree.flatten(structure) if isinstance(one, tf.Tensor)]


class _Call(NamedTuple):
    """One call of a layer, with tensors of the graph."""

    layer: object
    inputs: list
    outputs: list  # that it made
    uses: tuple  # by how many operations the first input was used before the call, and after it


def _noting(calls):
    """Let all layers note their calls in this thread; those inside a layer come before its own."""

    def noting_call(original, layer, *args, **options):
        inputs = _tensors((args, options))
        before = _uses(inputs)
        outputs = original(layer, *args, **options)
        made = [one for one in _tensors(outputs) if not any(one is given for given in inputs)]
        calls.append(_Call(layer, inputs, made, (before, _uses(inputs))))
        return outputs

    return replaced({(keras.Layer, "__call__"): noting_call})


def _uses(inputs):
    return len(inputs[0].consumers()) if inputs else 0


class _Trace:
    """What was noted while the model was called."""

    def __init__(self, outputs, calls, moved):
        self.outputs, self.moved = outputs, moved  # names of tensors; layers whose statistics moved
        self.of, self.behind = {}, {}  # {layer: its calls}, {name of a tensor: the calls that returned it}
        for call in calls:
            self.of.setdefault(call.layer, []).append(call)
            for tensor in call.outputs:
                self.behind.setdefault(tensor.name, []).append(call)

    def place(self, norm):
        """Return what the graph tells of the Place of a batch-norm layer."""
        calls = self.of.get(norm, [])
        axes = {axis for call in calls for axis in self._features_axes(call.inputs[0])}
        return Place(
            features_axis=axes.pop() if len(axes) == 1 else None,
            moves=norm in self.moved if calls or norm in self.moved else None,
            bias=self._bias(calls[0]) if len(calls) == 1 else "",
            dropout=any(
                isinstance(layer, _DROPOUTS)
                for call in calls
                for layer in self._in_front(call.inputs[0], until=_NORM)
            ),
            raw=bool(calls)
            and not any(_learns(one) for call in calls for one in self._in_front(call.inputs[0])),
        )

    def _features_axes(self, tensor):
        """Return the axes that the layers in front, back to the first that makes features, have them on."""
        axes, ahead, seen = set(), [tensor], set()
        while ahead:
            one = ahead.pop()
            if one.name in seen or one.shape.rank != tensor.shape.rank:
                continue
            seen.add(one.name)
            layers = [call.layer for call in self.behind.get(one.name, [])]
            made = [axis for axis in map(_features_axis, layers) if axis is not None]
            if made:
                axes.add(made[0])
            elif kept := [
                call for call in self.behind.get(one.name, []) if isinstance(call.layer, _AXES_KEPT)
            ]:
                ahead += kept[0].inputs
            elif one.op.type in _OF_EACH_NUMBER.split():
                ahead += [part for part in one.op.inputs if part.shape == one.shape]
        return axes

    def _bias(self, call):
        """Return the layer that gives its bias to this call alone, as Python without it; "" if none does."""
        tensor = call.inputs[0]
        made = self.behind.get(tensor.name, [None])[0]
        alone = (
            call.uses[0] == 0 and call.uses[1] == len(tensor.consumers()) and tensor.name not in self.outputs
        )
        if not (made and alone and isinstance(made.layer, _WITH_BIAS) and len(self.of[made.layer]) == 1):
            return ""
        linear = made.layer.activation is keras.activations.linear
        there = _features_axis(made.layer) % tensor.shape.rank == call.layer.axis % tensor.shape.rank
        return _without_bias(made.layer) if made.layer.use_bias and linear and there else ""

    def _in_front(self, tensor, until=()):
        """Yield the layers that a tensor went through, the nearest first, back to those of one kind."""
        ahead, seen = [tensor], set()
        while ahead:
            one = ahead.pop()
            layers = [call.layer for call in self.behind.get(one.name, [])]
            yield from layers
            if one.name not in seen and not any(isinstance(layer, until) for layer in layers):
                ahead += one.op.inputs
            seen.add(one.name)


def _learns(layer):
    return bool(layer.weights) and not isinstance(layer, keras.layers.Normalization)


def _features_axis(layer):
    """Return the axis on which a layer puts the features that it makes, or None if it makes none."""
    if isinstance(layer, keras.layers.TimeDistributed):
        axis = _features_axis(layer.layer)
        return axis + 1 if axis == 1 else axis
    if isinstance(layer, _CONVOLUTIONS):
        return 1 if layer.data_format == "channels_first" else -1
    return -1 if isinstance(layer, _FEATURES_LAST) else None


def _without_bias(layer):
    """Return how a layer of its kind is made without a bias, as Python."""
    kind = next(one for one in _WITH_BIAS if isinstance(layer, one))
    given = inspect.signature(kind).parameters.values()
    needed = [one.name for one in given if one.default is one.empty and one.kind is not one.VAR_KEYWORD]
    return f"{kind.__name__}({', '.join([*needed, 'use_bias=False'])})"
