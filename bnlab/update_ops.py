"""Reads a v1 graph and says which collected update operations a train step really runs.

A v1 batch-norm layer does not update its moving statistics by itself. It puts the updates into the
collection `tf.compat.v1.GraphKeys.UPDATE_OPS`, and `session.run` executes what its fetches depend on,
no more. So the question has an answer before any training: is the update among the things that
`train_op` depends on? `audit` walks the graph and sees.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from textwrap import indent

import tensorflow as tf

from bnlab import words

_VARIABLES = {"VarHandleOp", "VariableV2", "Variable"}
_PASSES_A_VARIABLE_ON = {"Identity", "RefIdentity", "Switch", "RefSwitch", "Enter", "RefEnter"}
_CONDITIONALS = {"If", "StatelessIf", "Merge"}
_MOVING = re.compile(r"(^|/)moving_(mean|variance)(_\d+)?$")

_VERDICTS = {
    "all run": (
        "All {count} collected updates run with train_op, so the moving statistics follow the batches"
        "{condition}: nothing to mend."
    ),
    "forgotten": (
        "train_op runs {run} of the {count} collected updates, so the moving statistics of {layers} stay "
        "at their initial 0 and 1 and inference will be wrong: after the last layer is built, in the same "
        "graph (read earlier or elsewhere, the collection lacks updates), make train_op depend on them:"
    ),
    "partly forgotten": (
        "train_op runs {run} of the {count} collected updates, so the moving statistics of {layers} follow "
        "only some of the batches that the layer is used on: make train_op depend on all of its updates:"
    ),
    "others run too": (
        "train_op runs {run} of the {count} collected updates, also those of {layers}, which it does not "
        "train: if another step trains it, as in a GAN, run in each step the updates of its own scope:"
    ),
    "others do not run": (
        "train_op runs {run} of the {count} collected updates, those of all layers it trains: the moving "
        "statistics of {layers} are left to the step that trains it, such as the other one of a GAN."
    ),
    "other graph": (
        "The {count} collected updates are in another graph than train_op, and a session runs one graph, so "
        "none of them can run: build layers and train_op in the same `with graph.as_default():`."
    ),
    "collected elsewhere": (
        "The collection is empty in the graph that was read, and {count} updates are in {where}: layers, "
        "train_op and tf.compat.v1.get_collection belong in the same `with graph.as_default():`."
    ),
    "no layer": (
        "The collection is empty, and no variable of the graph is called moving_mean or moving_variance: its "
        "layers are in another graph, are no v1 batch norm, or are written by hand and keep their updates."
    ),
    "not training": (
        "The collection is empty, and nothing updates the moving statistics of {layers}: built with "
        "training=False, which is the default, it uses their initial 0 and 1 in training too:"
    ),
    "in place": (
        "The collection is empty, but the {count} updates of {layers} run with train_op all the same, as "
        "they do with updates_collections=None: nothing to mend."
    ),
    "keras": (
        "The collection is empty, and train_op does not run the {count} updates of {layers}, whose moving "
        "statistics stay at their initial 0 and 1: {name} layers do not collect their updates:"
    ),
}
_V1_LAYER = "y = tf.compat.v1.layers.batch_normalization(x, training=True)"


@dataclass(frozen=True)
class UpdateAudit:
    """What `audit` found. All names are operation names, in collection order, without duplicates.

    Attributes:
        collected: the operations in the collection.
        run: those of them that `session.run(train_op)` executes.
        forgotten: the others.
        variables: what each of `collected` writes to, such as "bn/moving_mean"; "?" if it is unclear.
        verdict: one sentence, what will go wrong.
        mend: the lines of code that mend it, or "".

    `str()` is a table, the verdict and the lines.
    """

    collected: tuple[str, ...]
    run: tuple[str, ...]
    forgotten: tuple[str, ...]
    variables: tuple[str, ...]
    verdict: str
    mend: str = ""

    def __str__(self):
        """Return the table, the verdict and the lines that mend it."""
        runs = ("yes" if name in self.run else "no" for name in self.collected)
        rows = zip(self.collected, self.variables, runs, strict=True)
        table = words.table([("update operation", "variable", "runs"), *rows])
        parts = [table] * bool(self.collected) + [words.wrapped(self.verdict)]
        if self.mend:
            parts.append(indent(self.mend, "    "))
        return "\n\n".join(parts)


def audit(train_op, *, graph=None):
    """Say which of the collected update operations `session.run(train_op)` executes, without running it.

    The data and control inputs of train_op are followed to the end. An update runs if it is among them.
    An update inside a `tf.cond` counts as run if the `tf.cond` is; it writes only where `training` is fed
    True, and the verdict says so.

    Args:
        train_op: an operation, a tensor, a variable's assignment or the name of one; or a list, tuple
            or dict of them, as `session.run` takes it, such as `[train_op, update_ops]`.
        graph: where the collection is read, a `tf.Graph`; that of train_op if None.

    Returns:
        UpdateAudit; print it.

    Raises:
        TypeError: train_op is eager, None, a Keras model or something else that no session can run;
            graph is not a graph.
        ValueError: train_op is empty, names nothing, or its parts are in different graphs.

    Source: the pruning of `tf.compat.v1.Session.run`; the note on `training` in the documentation of
    `tf.compat.v1.layers.batch_normalization`.
    """
    if graph is not None and not isinstance(graph, tf.Graph):
        raise TypeError(f"graph is {_shown(graph)}; expected a tf.Graph or None")
    fetches = list(_operations(train_op, graph))
    home = _only_graph(fetches)
    reached = _reached(fetches)
    training = _Training(home, reached)
    updates = [
        _Update(op, _targets(op), op.graph is home and op.name in reached, training.covers(op))
        for op in _collection(home if graph is None else graph)
    ]
    verdict, mend = _judge(updates, home) if updates else _judge_nothing(home, reached)
    return UpdateAudit(
        collected=tuple(update.op.name for update in updates),
        run=tuple(update.op.name for update in updates if update.runs),
        forgotten=tuple(update.op.name for update in updates if not update.runs),
        variables=tuple(", ".join(update.variables) or "?" for update in updates),
        verdict=verdict,
        mend=mend,
    )


@dataclass(frozen=True)
class _Update:
    op: tf.Operation
    variables: tuple[str, ...]
    runs: bool
    trained: bool


def _operations(train_op, graph):
    """Yield the operations of everything that a session would fetch for train_op."""
    if isinstance(train_op, (list, tuple, Mapping)):
        parts = train_op.values() if isinstance(train_op, Mapping) else train_op
        for part in parts:
            yield from _operations(part, graph)
    elif isinstance(train_op, str):
        yield _named_operation(train_op, graph or tf.compat.v1.get_default_graph())
    else:
        yield _operation(train_op)


def _operation(value):
    op = value if isinstance(value, tf.Operation) else getattr(value, "op", None)
    if not isinstance(op, tf.Operation):  # an eager tensor has no op, that of an eager variable is None
        raise TypeError(
            f"train_op is {_shown(value)}; expected an operation, a tensor or a variable's assignment "
            "of a v1 graph"
        )
    return op


def _named_operation(name, graph):
    try:
        element = graph.as_graph_element(name)
    except (KeyError, ValueError):
        raise ValueError(
            f"train_op is {name!r}, which names nothing in the graph; expected the name of an operation"
        ) from None
    return _operation(element)


def _only_graph(fetches):
    graphs = {id(op.graph): op.graph for op in fetches}
    if len(graphs) != 1:
        raise ValueError(
            f"train_op has operations of {len(graphs)} graphs; expected one, as a session runs one graph"
            if graphs
            else "train_op is empty; expected at least one operation"
        )
    return fetches[0].graph


def _shown(value):
    text = " ".join(repr(value).split())
    return f"{text[:60]}{'...' if len(text) > 60 else ''} ({type(value).__name__})"


def _reached(fetches):
    """Return the names of all operations that the fetches depend on, themselves included.

    This is what a session runs. A list instead of recursion: real graphs are thousands deep.
    """
    names, waiting = set(), list(fetches)
    while waiting:
        op = waiting.pop()
        if op.name not in names:
            names.add(op.name)
            waiting += [tensor.op for tensor in op.inputs]
            waiting += op.control_inputs
    return names


def _collection(graph):
    """Return the collected operations; a collection may also hold tensors, and one twice."""
    items = graph.get_collection(tf.compat.v1.GraphKeys.UPDATE_OPS)
    operations = [_operation(item) for item in items]
    return list({op.name: op for op in operations}.values())


def _writes(op):
    """Return the name of the variable that the operation itself assigns to, or None."""
    if re.search("Assign|Apply|Scatter", op.type) and op.inputs:
        return _variable_behind(op.inputs[0])
    return None


def _variable_behind(tensor):
    """Follow a variable's handle back to it: an old-style tf.cond hands it through a Switch."""
    op = tensor.op
    while op.type in _PASSES_A_VARIABLE_ON:
        op = op.inputs[0].op
    return op.name if op.type in _VARIABLES else None


def _handles(op):
    """Return the variables that a tf.cond gets as inputs, to read or to write in a branch."""
    behind = [_variable_behind(tensor) for tensor in op.inputs if tensor.dtype == tf.resource]
    return [name for name in behind if name]


def _targets(op):
    """Return the variables a collected operation updates, itself or through a tf.cond or tf.group."""
    targets, names, waiting = [], set(), [op]
    for op in waiting:
        written = [_writes(op)] if _writes(op) else _handles(op) if op.type == "If" else []
        targets += written
        if not written:
            around = [tensor.op for tensor in op.inputs] + op.control_inputs
            waiting += [other for other in around if other.name not in names]
            names.update(other.name for other in around)
    return tuple(dict.fromkeys(targets))


class _Training:
    """Which variables a train step writes to, the moving statistics apart, and so which layers it trains."""

    def __init__(self, graph, reached):
        operations = graph.get_operations()
        names = [op.name for op in operations if op.type in _VARIABLES]
        self.learned = [name for name in names if not _MOVING.search(name)]
        self.trained = {_writes(op) for op in operations if op.name in reached}.intersection(self.learned)

    def covers(self, update):
        """Say whether the layer of this update is trained; a step trains one of the networks of a GAN.

        The layer's own gamma and beta tell. A layer without them is judged by the scope around it.
        """
        scope = "".join(_targets(update)[:1])
        while scope and self.trained:
            scope = scope.rpartition("/")[0]
            inside = {name for name in self.learned if name.startswith(scope + "/" if scope else "")}
            if inside:
                return bool(inside & self.trained)
        return True


def _judge(updates, home):
    """Return the verdict on what was collected, and the lines that mend it."""
    numbers = {"count": len(updates), "run": sum(update.runs for update in updates)}
    if all(update.op.graph is not home for update in updates):
        return _VERDICTS["other graph"].format(**numbers), ""
    own = [update for update in updates if update.trained]
    others = [update for update in updates if not update.trained]
    for kind, affected, mend in (
        ("forgotten", _stuck(own, updates), _mend(own, others)),
        ("partly forgotten", [update for update in own if not update.runs], _mend(own, others)),
        ("others run too", [update for update in others if update.runs], _mend(own, others)),
        ("others do not run", others, ""),
    ):
        if affected:
            names = [name for update in affected for name in update.variables]
            return _VERDICTS[kind].format(layers=_layers(names), **numbers), mend
    condition = ", where `training` is fed True" if any(map(_is_conditional, updates)) else ""
    return _VERDICTS["all run"].format(condition=condition, **numbers), ""


def _stuck(own, updates):
    """Return the updates of variables that no update moves; a layer used twice has two for each."""
    moved = {name for update in updates if update.runs for name in update.variables}
    return [update for update in own if not update.runs and moved.isdisjoint(update.variables)]


def _is_conditional(update):
    near = [update.op, *(tensor.op for tensor in update.op.inputs)]
    return not _writes(update.op) and any(op.type in _CONDITIONALS for op in near)


def _layers(variables):
    """Name the layers of these variables, the first four of them."""
    return words.names(list(dict.fromkeys(name.rpartition("/")[0] or name for name in variables)) or ["?"])


def _mend(own, others):
    scope = _scope_of(own, others)
    collection = "tf.compat.v1.GraphKeys.UPDATE_OPS" + (f", scope={scope!r}" if scope else "")
    return (
        f"update_ops = tf.compat.v1.get_collection({collection})\n"
        "with tf.control_dependencies(update_ops):\n"
        "    train_op = optimizer.minimize(loss)"
    )


def _scope_of(own, others):
    """Return the scope that tells these updates from the others, or None.

    It is compared as TensorFlow does, by the beginning of the name, so that "critic" also finds
    "critic_1/...", a second use of the layers.
    """
    first = own[0].op.name.split("/")[0] if own and others else ""
    for scope in (first, first + "/"):
        if [update for update in own + others if update.op.name.startswith(scope)] == own:
            return scope
    return None


def _judge_nothing(home, reached):
    """Return the verdict on an empty collection: why it is empty, as far as the graphs show."""
    default = tf.compat.v1.get_default_graph()
    for where, elsewhere in (("train_op's own graph", home), ("the default graph", default)):
        count = len(_collection(elsewhere))
        if count:
            return _VERDICTS["collected elsewhere"].format(count=count, where=where), ""
    variables = [op.name for op in home.get_operations() if op.type in _VARIABLES]
    layers = _layers(filter(_MOVING.search, variables))
    updates = _uncollected_updates(home)
    if not any(map(_MOVING.search, variables)):
        return _VERDICTS["no layer"], ""
    if not updates:
        return _VERDICTS["not training"].format(layers=layers), _V1_LAYER
    if all(op.name in reached for op in updates):
        return _VERDICTS["in place"].format(layers=layers, count=len(updates)), ""
    # Keras 3 writes the new value, tf_keras subtracts a difference and lists its updates.
    name, mend = (
        ("Keras 3", _V1_LAYER)
        if all(op.type == "AssignVariableOp" for op in updates)
        else ("Keras (tf_keras)", "train_op = tf.group(train_op, layer.updates)")
    )
    return _VERDICTS["keras"].format(layers=layers, count=len(updates), name=name), mend


def _uncollected_updates(graph):
    """Return the operations that move a moving statistic on: what they write depends on what it was.

    That tells an update from an initializer and from the loading of a checkpoint.
    """
    return [op for op in graph.get_operations() if _moves_on(op)]


def _moves_on(op):
    if op.type == "If":
        return any(map(_MOVING.search, _handles(op))) and _assigns_in_a_branch(op)
    name = _writes(op) or ""
    return bool(_MOVING.search(name)) and name in _reached(tensor.op for tensor in op.inputs[1:])


def _assigns_in_a_branch(op):
    branches = {op.get_attr("then_branch").name, op.get_attr("else_branch").name}
    functions = op.graph.as_graph_def().library.function
    bodies = (function for function in functions if function.signature.name in branches)
    return any("Assign" in node.op for body in bodies for node in body.node_def)
