"""Finds the batch-norm operations of a graph, whose variables are constants in it, and their four arrays.

There are two spellings. One operation, FusedBatchNorm(V2/V3) with is_training=False; or, from
`tf.nn.batch_normalization` and so from every layer that is not fused,

    scale = rsqrt(variance + epsilon) * gamma
    y     = x * scale + (beta - mean * scale)

with gamma or beta left out, the sign at the mean or at the product, and casts and reshapes in between.
"""

from dataclasses import dataclass

import numpy as np
import tensorflow as tf

_FUSED = "FusedBatchNorm", "FusedBatchNormV2", "FusedBatchNormV3"
_SAME = "Identity", "Cast", "Reshape", "ExpandDims", "BroadcastTo"  # the same numbers come out
_SUM = "Add", "AddV2", "Sub", "BiasAdd"


@dataclass(frozen=True, eq=False)
class GraphNorm:
    """One call of a batch norm in a graph.

    Attributes:
        path: the name of its operation.
        x: the name of the tensor that it normalizes.
        mean, variance: where the graph has its statistics: (name of an operation, number of the input).
        constants: the names of the nodes that hold them; calls of one layer share theirs.
        statistics, weights: the moving mean and variance; gamma and beta, where it has them.
        axes: that are kept.
    """

    path: str
    x: str
    mean: tuple
    variance: tuple
    constants: tuple
    statistics: tuple
    weights: tuple
    epsilon: float
    axes: list
    dtype: str


def graph_norms(graph, inputs):
    """Return the GraphNorms of a tf.Graph, in the order of its nodes; inputs are the names of what is fed."""
    nodes = _Nodes(graph, inputs)
    found = (nodes.fused(node) or nodes.spelled_out(node) for node in nodes.by_name.values())
    return [norm for norm in found if norm]


class _Nodes:
    def __init__(self, graph, inputs):
        self.graph = graph
        self.by_name = {node.name: node for node in graph.as_graph_def().node}
        self.users = {}
        for node in self.by_name.values():
            for name in node.input:
                self.users.setdefault(_node_name(name), []).append(node)
        self.varying, ahead = set(), list(inputs)  # what depends on them
        while ahead:
            name = ahead.pop()
            if name not in self.varying:
                self.varying.add(name)
                ahead += [user.name for user in self.users.get(name, [])]

    def fused(self, node):
        """Return the GraphNorm of a node that is one operation, or None."""
        if node.op not in _FUSED or node.attr["is_training"].b:
            return None
        channels_last = node.attr["data_format"].s.decode().endswith("C")
        epsilon, weights = node.attr["epsilon"].f, [self.source(name) for name in node.input[1:3]]
        return self._norm(
            node, node.input[0], (node, 3), (node, 4), epsilon, weights, [-1 if channels_last else 1]
        )

    def spelled_out(self, node):
        """Return the GraphNorm of a node that is x * scale, or None."""
        if node.op != "Mul":
            return None
        for x, scale in (node.input, reversed(node.input)):
            found = self._scale(scale)
            if found and _node_name(x) in self.varying:
                return self._around(node, x, *found)
        return None

    def _around(self, product, x, root, gamma):
        """Return the GraphNorm whose x * scale this is, or None if no mean is taken away from it."""
        total = self._user(product)
        added = [name for name in total.input if _node_name(name) not in self.varying] if total else []
        found = self._mean(added[0], root) if len(added) == 1 else None
        under_root = self.source(root.input[0])
        if not found or under_root.op not in _SUM:
            return None
        terms = [self.source(name) for name in under_root.input]
        if not all(_is_constant(term) for term in terms):
            return None
        place = 1 if _array(terms[0]).size == 1 < _array(terms[1]).size else 0  # of the variance
        epsilon, mean, beta = float(_array(terms[1 - place]).item()), *found
        weights = [one for one in (gamma, beta) if one is not None]
        return self._norm(root, x, mean, (under_root, place), epsilon, weights, None)

    def _norm(self, node, x, mean, variance, epsilon, weights, axes):
        sources = [self.source(one.input[number]) for one, number in (mean, variance)]
        if not all(map(_is_constant, (*sources, *weights))):
            return None
        return GraphNorm(
            node.name,
            x if ":" in x else f"{x}:0",
            (mean[0].name, mean[1]),
            (variance[0].name, variance[1]),
            tuple(one.name for one in sources),
            tuple(map(_array, sources)),
            tuple(map(_array, weights)),
            epsilon,
            axes or self._axes(*variance),
            tf.as_dtype(sources[1].attr["dtype"].type).name,
        )

    def _axes(self, node, number):
        """Return the axes that statistics of this shape keep; a single feature is on the last one."""
        shape = self.graph.get_operation_by_name(node.name).inputs[number].shape
        return [axis for axis, size in enumerate(shape) if size > 1 and len(shape) > 1] or [-1]

    def _scale(self, name):
        """Return (the node of the root, that of gamma or None) if a tensor is rsqrt(...) * gamma."""
        node = self.source(name)
        if node.op == "Rsqrt":
            return node, None
        if node.op == "Mul":
            pair = [self.source(one) for one in node.input]
            for root, gamma in (pair, reversed(pair)):
                if root.op == "Rsqrt" and _is_constant(gamma):
                    return root, gamma
        return None

    def _mean(self, name, root):
        """Return (where the mean is, the node of beta or None) if a tensor is beta - mean * scale."""
        node = self.source(name)
        if node.op == "Neg":
            return self._mean(node.input[0], root)
        if node.op == "Mul":
            for number in (0, 1):
                found = self._scale(node.input[1 - number])
                if found and found[0] is root:
                    place = node, number
                    while (inner := self.source(place[0].input[place[1]])).op == "Neg":
                        place = inner, 0
                    return place, None
        if node.op in _SUM:
            for part, beta in (node.input[:2], node.input[1::-1]):
                if (found := self._mean(part, root)) and _is_constant(self.source(beta)):
                    return found[0], self.source(beta)
        return None

    def source(self, name):
        """Return the node that a tensor is from, past those that leave its numbers alone."""
        node = self.by_name[_node_name(name)]
        while node.op in _SAME:
            node = self.by_name[_node_name(node.input[0])]
        return node

    def _user(self, node):
        """Return the sum that takes what comes out of a node, or None."""
        users = self.users.get(node.name, [])
        while len(users) == 1 and users[0].op in _SAME:
            users = self.users.get(users[0].name, [])
        return users[0] if len(users) == 1 and users[0].op in _SUM else None


def _node_name(tensor):
    """Return the name of the node that a tensor comes from."""
    return tensor.lstrip("^").partition(":")[0]


def _is_constant(node):
    return node.op == "Const"


def _array(node):
    """Return a constant as a float64 array of shape (features,)."""
    return np.asarray(tf.make_ndarray(node.attr["value"].tensor), np.float64).ravel()
