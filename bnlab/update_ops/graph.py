"""Walks a v1 graph: what a fetch depends on, which variable an operation writes, what stands in a loop."""

import re

import tensorflow as tf

VARIABLES = {"VarHandleOp", "VariableV2", "Variable"}
MOVING = re.compile(r"(^|/)moving_(mean|variance)(_\d+)?$")
_PASSES_A_VARIABLE_ON = {"Identity", "RefIdentity", "Switch", "RefSwitch", "Enter", "RefEnter"}
_LEADS_OUT = {"Exit", "RefExit", "Merge", "RefMerge"}
_RUNS_FUNCTIONS = {"If", "While"}  # their Stateless kin assigns to nothing


def reached(fetches, *, around=()):
    """Return the names of all operations that the fetches depend on, themselves included.

    This is what a session runs. What is named in `around` is not entered. A list instead of recursion:
    real graphs are thousands deep.
    """
    names, waiting = set(), list(fetches)
    while waiting:
        op = waiting.pop()
        if op.name not in names and op.name not in around:
            names.add(op.name)
            waiting += _before(op)
    return names


def _before(op):
    return [tensor.op for tensor in op.inputs] + op.control_inputs


def collection(graph):
    """Return {operation: its name in the collection}; it may also hold tensors, and one twice."""
    items = graph.get_collection(tf.compat.v1.GraphKeys.UPDATE_OPS)
    return {item if isinstance(item, tf.Operation) else item.op: item.name for item in items}


def writes(op):
    """Return the name of the variable that the operation itself assigns to, or None."""
    if re.search("Assign|Apply|Scatter", op.type) and op.inputs:
        return _variable_behind(op.inputs[0])
    return None


def _variable_behind(tensor):
    """Follow a variable's handle back to it: a tf.cond hands it through a Switch or as an argument."""
    op = tensor.op
    while op.type in _PASSES_A_VARIABLE_ON:
        op = op.inputs[0].op
    for outer, inner in getattr(op.graph, "captures", ()):
        if inner.op is op:
            return _variable_behind(outer)
    return op.name if op.type in VARIABLES else None


def _handles(op):
    """Return the variables that a tf.cond or loop gets as inputs, to read or to write."""
    behind = [_variable_behind(tensor) for tensor in op.inputs if tensor.dtype == tf.resource]
    return [name for name in behind if name]


def targets(op):
    """Return the variables a collected operation updates, itself or through a tf.cond or tf.group."""
    found, names, waiting = [], set(), [op]
    for op in waiting:
        written = [writes(op)] if writes(op) else _handles(op) if op.type in _RUNS_FUNCTIONS else []
        found += written
        if not written:
            waiting += [other for other in _before(op) if other.name not in names]
            names.update(other.name for other in _before(op))
    return tuple(dict.fromkeys(found))


def body_of(op, home):
    """Return what stands for the body or branch around an operation, or None if it is in the graph itself.

    An old-style tf.cond or loop is marked by a context; one of today has a graph of its own.
    """
    return op._get_control_flow_context() or (None if op.graph is home else op.graph)


def in_home(op, home):
    """Return the operations of the graph through which an operation is run: itself, or the loop around it."""
    if op.graph is home:
        return [op]
    return [outer for caller in _callers(op.graph) for outer in in_home(caller, home)]


def runs(op, home, names):
    """Say whether the operation is run where those of these names are; in a body, if its results need it."""
    if op.graph is home:
        return op.name in names
    callers = [caller for caller in _callers(op.graph) if runs(caller, home, names)]
    return bool(callers) and op.name in reached(_results(op.graph))


def _results(function):
    return [tensor.op for tensor in function.outputs] + function.control_outputs


def _callers(function):
    outer = getattr(function, "outer_graph", None)
    return [op for op in outer.get_operations() if function.name in _functions(op)] if outer else []


def _functions(op):
    attributes = op.op_def.attr if op.type in _RUNS_FUNCTIONS else ()
    return [op.get_attr(attribute.name).name for attribute in attributes if attribute.type == "func"]


def held_from_outside(op, fetches, names):
    """Say whether something outside of its old-style body depends on it, or a session fetches it."""
    return op in fetches or any(
        op in _before(other)
        for other in op.graph.get_operations()
        if other.name in names and not other._get_control_flow_context() and other.type not in _LEADS_OUT
    )


def uncollected(graph):
    """Return {operation: is it complete} for what moves a moving statistic on: writes what depends on it.

    That tells an update from an initializer and from the loading of a checkpoint. What stands in a
    tf.cond or loop is complete if the results of that need it, as they do where the layer builds the tf.cond.
    """
    library = {function.signature.name: function for function in graph.as_graph_def().library.function}
    led_out = reached(op for op in graph.get_operations() if op.type in _LEADS_OUT)
    found = {}
    for op in graph.get_operations():
        if op.type in _RUNS_FUNCTIONS:
            bodies = [library[name] for name in _functions(op)]
            if any(map(MOVING.search, _handles(op))) and any(map(_assigns, bodies)):
                found[op] = any(map(_assigns_for_results, bodies))
        elif _moves_on(op):
            found[op] = not op._get_control_flow_context() or op.name in led_out
    return found


def _moves_on(op):
    name = writes(op) or ""
    return bool(MOVING.search(name)) and name in reached(tensor.op for tensor in op.inputs[1:])


def _assigns(function):
    return any("Assign" in node.op for node in function.node_def)


def _assigns_for_results(function):
    nodes = {node.name: node for node in function.node_def}
    waiting, names = [*function.ret.values(), *function.control_ret.values()], set()
    for reference in waiting:
        name = reference.lstrip("^").partition(":")[0]
        if name in nodes and name not in names:
            names.add(name)
            waiting += nodes[name].input
    return any("Assign" in nodes[name].op for name in names)
