"""Judges a train step by its updates: the first verdict that fits, and the lines that mend it."""

import tensorflow as tf

from bnlab import words
from bnlab.update_ops import graph as graphs
from bnlab.update_ops import lines

_CONDITIONALS = {"If", "StatelessIf", "Merge"}

_VERDICTS = {
    "all run": (
        "All {count} collected updates run with train_op, so the moving statistics follow the batches"
        "{condition}: nothing to mend."
    ),
    "others not needed": (
        "train_op runs {run} of the {count} collected updates, so the moving statistics follow the batches"
        "{condition}; the others need {unfed}, which nothing in train_op does: nothing to mend."
    ),
    "inside": (
        "The updates of {layers} are inside a tf.while_loop, tf.map_fn or tf.cond, and nothing outside may "
        "depend on them or fetch them: a session raises an error, or skips what does when the branch is not "
        "taken. What the body or branch returns must depend on them:"
    ),
    "unfed": (
        "train_op needs {unfed} to be fed for nothing but {number} of {layers}, which are of another "
        "call than that of the loss, as on a Keras Input; a session that is not fed it raises "
        "InvalidArgumentError. Feed it in each step, or leave these updates out{what_x_is}:"
    ),
    "only unfed": (
        "The only updates of {layers} need {unfed} to be fed, which nothing else in train_op does; a session "
        "that runs them and is not fed it raises InvalidArgumentError. Run them and feed it in each step, or "
        "if they are of a call on other data, as on a Keras Input, call the layer on your own x and audit "
        "the step anew:"
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
        "The collection is empty, but the {number} of {layers} run with train_op all the same, as "
        "they do with updates_collections=None{condition}: nothing to mend."
    ),
    "keras": (
        "The collection is empty, and train_op does not run the {number} of {layers}, whose moving "
        "statistics {state}: {name} layers do not collect their updates{listed}{what_x_is}:"
    ),
    "left": (
        "The collection is empty, and train_op trains no layer of those that have updates: the moving "
        "statistics of {layers} are left to the step that trains it, such as the other one of a GAN."
    ),
}
_WHAT_X_IS = " (x is the tensor that the layer or model of the loss is called on)"


def judged(updates, home):
    """Return the verdict on what was collected, and the lines that mend it."""
    numbers = {"count": len(updates), "run": sum(update.runs for update in updates)}
    if not any(graphs.in_home(update.op, home) for update in updates):
        return _VERDICTS["other graph"].format(**numbers), ""
    own = [update for update in updates if update.trained]
    others = [update for update in updates if not update.trained]
    fed = [update for update in own if not update.unfed]
    astray = [update for update in updates if update.astray and (update.runs or update in fed)]
    outside = [update for update in fed if not graphs.body_of(update.op, home)]
    mend = lines.step(outside, updates, lines.PARTIAL_STEP if others else lines.PLAIN_STEP)
    for kind, affected, mending in (
        ("inside", _together(astray, home), None),
        ("only unfed", _stuck([update for update in own if update.unfed], fed), lines.V1_LAYER),
        ("unfed", [update for update in updates if update.runs and update.unfed], mend),
        ("forgotten", _stuck(fed, [update for update in updates if update.runs]), mend),
        ("partly forgotten", [update for update in fed if not update.runs], mend),
        ("others run too", [update for update in others if update.runs], mend),
        ("others do not run", others, ""),
        ("others not needed", [update for update in own if not update.runs], ""),
    ):
        if affected:
            if kind == "inside":
                mending = lines.inside(affected, updates, mend)
            return _sentence(kind, affected, condition=_condition(updates), **numbers), mending
    return _VERDICTS["all run"].format(condition=_condition(updates), **numbers), ""


def _sentence(kind, affected, **values):
    """Return the verdict with the layers that are affected and the placeholders that they need."""
    return _VERDICTS[kind].format(
        layers=_layers([name for update in affected for name in update.variables]),
        unfed=words.names(list(dict.fromkeys(name for update in affected for name in update.unfed))),
        number=f"{len(affected)} update{'s' * (len(affected) != 1)}",
        **{"what_x_is": "", **values},
    )


def _stuck(updates, moving):
    """Return those whose variables none of the moving ones writes to; a layer used twice has two for each."""
    moved = {name for update in moving for name in update.variables}
    return [update for update in updates if moved.isdisjoint(update.variables)]


def _together(updates, home):
    """Return those that stand in the same body as the first of them."""
    return [
        update for update in updates if graphs.body_of(update.op, home) is graphs.body_of(updates[0].op, home)
    ]


def _condition(updates):
    return ", where `training` is fed True" if any(map(_is_conditional, updates)) else ""


def _is_conditional(update):
    near = [update.op, *(tensor.op for tensor in update.op.inputs)]
    return not graphs.writes(update.op) and any(op.type in _CONDITIONALS for op in near)


def _layers(variables):
    """Name the layers of these variables, the first four of them."""
    return words.names(list(dict.fromkeys(name.rpartition("/")[0] or name for name in variables)) or ["?"])


def judged_empty(step, updates):
    """Return the verdict on an empty collection, whatever updates there are: why, as far as graphs show."""
    default = tf.compat.v1.get_default_graph()
    for where, elsewhere in (("train_op's own graph", step.graph), ("the default graph", default)):
        count = len(graphs.collection(elsewhere))
        if count:
            return _VERDICTS["collected elsewhere"].format(count=count, where=where), ""
    if not step.moving:
        return _VERDICTS["no layer"], ""
    if not updates:
        return _VERDICTS["not training"].format(layers=_layers(step.moving)), lines.V1_LAYER
    return _judged_keras(updates)


def _judged_keras(updates):
    """Return the verdict on updates that no collection holds."""
    own = [update for update in updates if update.trained]
    fed = [update for update in own if not update.unfed]
    running = [update for update in updates if update.runs]
    # Keras 3 writes the new value, tf_keras subtracts a difference and lists its updates.
    is_3 = all(update.op.type == "AssignVariableOp" for update in updates)
    name = "Keras 3" if is_3 else "Keras (tf_keras)"
    step = lines.KERAS_STEP if len(fed) < len(updates) else lines.KERAS_GROUP
    mend = lines.V1_LAYER if is_3 else step
    listed = "" if is_3 else ", and list them only if they were created in this graph"
    what_x_is = _WHAT_X_IS if mend == lines.KERAS_STEP else ""
    waiting = [update for update in fed if not update.runs]
    stay = "stay at their initial 0 and 1"
    for kind, affected, mending, state in (
        ("inside", [update for update in fed if update.astray], lines.KERAS_INSIDE, ""),
        ("only unfed", _stuck([update for update in own if update.unfed], fed), lines.KERAS_CALL, ""),
        ("unfed", [update for update in running if update.unfed], mend, ""),
        ("keras", _stuck(fed, running), mend, stay),
        ("keras", waiting, mend, "follow only some of the batches that the layer is used on"),
        ("in place", running, "", ""),
    ):
        if affected:
            values = {"condition": _learning_phase(affected), "name": name, "listed": listed}
            return _sentence(kind, affected, state=state, what_x_is=what_x_is, **values), mending
    return _sentence("left", updates), ""


def _learning_phase(updates):
    phase = any("keras_learning_phase" in graphs.reached([update.op]) for update in updates)
    return ", where keras_learning_phase:0 is fed True" if phase else _condition(updates)
