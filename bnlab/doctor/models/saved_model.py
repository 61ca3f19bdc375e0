"""Reads the batch-norm operations of a SavedModel folder, and watches what comes into them.

A SavedModel is a graph and no layers: nothing of a Python class is left, dropout is gone. So it can be judged
and not recalibrated. Its default signature is watched, on a copy in which all variables are constants.
"""

import json
import re
from functools import partial
from pathlib import Path

import numpy as np
import tensorflow as tf
from tensorflow.core.protobuf import saved_model_pb2
from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

from bnlab import words
from bnlab.doctor.models.graph_norms import graph_norms
from bnlab.doctor.models.keras_model import KerasModel
from bnlab.doctor.models.noting import noted
from bnlab.doctor.norm import NOWHERE, Norm

# Operations that reach outside: files of the machine, and Python that a graph only refers to.
_OUTSIDE = re.compile(
    r".*PyFunc.*|ReadFile|WriteFile|MatchingFiles|.*Reader(V2)?|.*(TextLine|TFRecord|Length)Dataset.*"
)
_NOT_NAMES = re.compile(r"(Stateful)?PartitionedCall(_\d+)?|batchnorm(_\d+)?")


def load(folder):
    """Return the SavedModel of a folder: from Keras 3's `export`, tf_keras's `save` or `tf.saved_model.save`.

    Raises:
        ValueError: folder holds no SavedModel, one without a default signature, or with operations that read
            or write files or run Python; the message says which.
    """
    file = Path(folder) / "saved_model.pb"
    if not file.is_file():
        raise ValueError(f"{folder} is no SavedModel; expected a folder with a saved_model.pb in it")
    try:
        described = saved_model_pb2.SavedModel.FromString(file.read_bytes())
        outside = sorted(filter(_OUTSIDE.fullmatch, _operations(described)))
        loaded = None if outside else tf.saved_model.load(str(folder))
    except Exception as error:
        raise ValueError(f"{folder} cannot be loaded as a SavedModel ({words.reason(error)})") from error
    if outside:
        raise ValueError(f"{folder} has the operations {words.names(outside)}, which reach outside the model")
    return SavedModel(Path(folder).resolve().name, _default(loaded, folder), _configs(Path(folder)), loaded)


def _operations(described):
    """Return the kinds of all operations in a SavedModel, also of those in its functions."""
    graphs = [one.graph_def for one in described.meta_graphs]
    functions = [function for graph in graphs for function in graph.library.function]
    return {node.op for graph in graphs for node in graph.node} | {
        node.op for function in functions for node in function.node_def
    }


def _default(loaded, folder):
    """Return the signature that is served by default."""
    signatures = loaded.signatures
    usual = [name for name in ("serving_default", "serve", *signatures) if name in signatures]
    if not usual or (usual[0] not in ("serving_default", "serve") and len(signatures) > 1):
        raise ValueError(
            f"{folder} has the signatures {words.names(list(signatures)) or 'none'}; expected "
            "serving_default, serve, or only one"
        )
    return signatures[usual[0]]


def _configs(folder):
    """Return {layer name: config} of the batch norms that tf_keras describes beside the graph, if it does."""
    file = folder / "keras_metadata.pb"
    text = file.read_bytes().decode("utf-8", "ignore") if file.is_file() else ""
    configs, decoder = {}, json.JSONDecoder()
    for match in re.finditer(r'\{"name": ', text):  # a record a layer, as JSON
        layer, _ = decoder.raw_decode(text, match.start())
        if layer.get("class_name") in ("BatchNormalization", "SyncBatchNormalization"):
            configs[layer["name"]] = layer["config"]
    return configs


class SavedModel:
    """A SavedModel that can be watched, and not be changed.

    Attributes:
        name: of the folder.
        inputs: what its signature takes, a tf.TensorSpec each, with its name.
        layers: its batch norms, as Norms. momentum is NaN and trainable True where the folder does not say.
        read_only: the sentence that says where advice is to be followed.
    """

    read_only = (
        "This is a SavedModel, which cannot be changed: follow these lines in the Keras model that it was "
        "exported from, and export that again."
    )
    not_called = by_themselves = ()
    _told = KerasModel._told

    def __init__(self, name, signature, configs, loaded):
        self.name, self._loaded = name, loaded  # which owns the tables that the graph refers to
        self.inputs = [
            tf.TensorSpec(spec.shape, spec.dtype, key)
            for key, spec in sorted(signature.structured_input_signature[1].items())
        ]
        self._frozen = convert_variables_to_constants_v2(
            signature, lower_control_flow=False, aggressive_inlining=True
        )
        self._order = list(signature._arg_keywords)  # of the frozen graph's inputs
        self._tables = {inner.name: outer for outer, inner in signature.graph.captures}
        self._graph_def = self._frozen.graph.as_graph_def()
        found = graph_norms(self._frozen.graph, [tensor.op.name for tensor in self._frozen.inputs])
        if not found:
            raise ValueError(
                f"model {name!r} has no batch-norm operation; expected one that is neither folded into the "
                "weights nor inside a loop"
            )
        self._calls = list(zip(_norms(found, _variables(signature), configs), found, strict=True))
        self.layers = list(dict.fromkeys(norm for norm, _ in self._calls))
        self.norms, self._graphs = {norm: norm for norm in self.layers}, {}

    def watch(self, x, view, *, name="x", aside=""):
        """Run the signature once on a batch, and note what comes into the norms: see `KerasModel.watch`.

        In the views "training" and "batch" alike, norms take the moments of the batch. What a mask left out
        in training counts here: the graph does not have it.
        """
        with self._told(x, name, aside):
            lend = view != "inference"
            if lend not in self._graphs:
                self._graphs[lend] = self._traced(lend)
            graph, notes = self._graphs[lend]
            for _, calls in notes:
                calls.clear()
            outputs, _ = graph(*self._fed(x))
        found = {}
        for norm, calls in notes:
            found[norm] = found.get(norm, []) + calls
        return {norm: calls for norm, calls in found.items() if calls}, outputs

    def place(self, _norm):
        """Return the Place of a norm in the model: nothing is known of it."""
        return NOWHERE

    def _fed(self, x):
        """Return the tensors that the signature takes, in its order."""
        specs = {spec.name: spec for spec in self.inputs}
        parts = x if isinstance(x, list | tuple | dict) else [x]
        if not isinstance(parts, dict):
            parts = dict(zip(specs, parts, strict=len(specs) == len(parts)))
        if parts.keys() != specs.keys():
            raise ValueError(f"it takes {words.names(list(specs))}; expected a dict with an array for each")
        return [_cast(parts[one], specs[one]) for one in self._order]

    def _traced(self, lend):
        """Return the signature as a function whose norms note what comes in, and what they note."""
        notes = [(norm, []) for norm, _ in self._calls]
        specs = [tf.TensorSpec(one.shape, one.dtype) for one in self._frozen.inputs[: len(self._order)]]
        return tf.compat.v1.wrap_function(partial(self._call, notes, lend), specs), notes

    def _call(self, notes, lend, *inputs):
        graph, moments = tf.compat.v1.get_default_graph(), []
        names = [tensor.name for tensor in self._frozen.inputs]
        tables = [graph.capture(self._tables[name]) for name in names[len(inputs) :]]
        fed = dict(zip(names, [*inputs, *tables], strict=True))
        outputs = [tensor.name for tensor in self._frozen.outputs]
        outputs = tf.graph_util.import_graph_def(self._graph_def, fed, outputs, name="model")
        for (_, one), (_, calls) in zip(self._calls, notes, strict=True):
            places = [
                (graph.get_operation_by_name(f"model/{name}"), at) for name, at in (one.mean, one.variance)
            ]
            x = fed[one.x] if one.x in fed else graph.get_tensor_by_name(f"model/{one.x}")
            measured = noted(x, one.axes, calls)
            moments += measured
            for (operation, at), value in zip(places, measured, strict=True):
                old = operation.inputs[at]
                if lend:  # in place of what it remembers, also where the graph was made in one piece
                    operation._update_input(at, tf.cast(tf.reshape(value, old.shape), old.dtype))
        return outputs, moments  # for which the norms have to note


def _cast(part, spec):
    part = tf.convert_to_tensor(part)
    return part if part.dtype == tf.string else tf.cast(part, spec.dtype)


def _variables(signature):
    """Return {name of a node: name of the variable that is a constant there once frozen}."""
    names = {id(variable.handle): variable.name.partition(":")[0] for variable in signature.variables}
    return {
        inner.op.name: names[id(outer)] for outer, inner in signature.graph.captures if id(outer) in names
    }


def _norms(found, variables, configs):
    """Return the Norm of each GraphNorm, the same one for those that share their statistics."""
    paths = {one.constants: _path(one, variables) for one in found}
    lasts, norms = [path.rpartition("/")[2] for path in paths.values()], {}
    for one in found:
        path = paths[one.constants]
        last = path.rpartition("/")[2]
        norms.setdefault(
            one.constants, _norm(one, last if lasts.count(last) == 1 else path, configs.get(last, {}))
        )
    return [norms[one.constants] for one in found]


def _path(one, variables):
    """Return a name with those around it: as its variables have it, or else as its operation has it."""
    variable = variables.get(one.constants[1], "")
    parts = variable.split("/")[:-1] or [
        part for part in one.path.split("/")[:-1] if not _NOT_NAMES.fullmatch(part)
    ]
    return "/".join(parts) or one.path


def _norm(one, name, config):
    return Norm(
        name,
        one.axes[0] if len(one.axes) == 1 else -1,
        config.get("momentum", np.nan),
        one.epsilon,
        config.get("trainable", True),
        *one.statistics,
        one.weights,
        dtype=one.dtype,
    )
