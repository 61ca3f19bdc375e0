"""Exercises of the fourth notebook, "Run the update ops": who runs the updates of a v1 graph.

TensorFlow is imported when an answer is judged, not before.
"""

from dataclasses import dataclass

import numpy as np

from bnlab.judging import UnfitError, judge_proposal, judge_value


def mended_step(answer):
    """Judge a function that builds a graph with batch norm and a train step that forgets no update.

    Args:
        answer: answer() -> the train step, or what `session.run` shall be given for one. It is called with a
            new graph as the default one, and the step is run once, with random numbers for the placeholders.
    """

    def fault(build):
        seen = _run_once(build)
        updates, run = len(seen.updates_of), len(seen.run_of)
        if not updates and not seen.moved:
            hint = "the layer collects no updates: is it a v1 layer, and in which mode was it built?"
            return "nothing collected", hint
        if not seen.learned:
            return "no train step", "the step was run, and no weight has moved"
        if run == updates:
            return None
        if run:
            hint = f"{run} of {updates} collected updates run; which ones did you leave out?"
            return "some forgotten", hint
        if seen.tied:
            return "tied to something else", "something waits for the updates; does the train step need that?"
        if seen.looks == [0]:
            return "collected too early", "the collection was read, and there was nothing in it yet"
        if seen.looks:
            return "collected and not used", "the updates were collected; who runs them?"
        return "forgotten", "the weights have moved, the statistics have not"

    return judge_proposal(answer, fault_of=fault, seconds=15.0)


def where_to_tie(answer):
    """Judge four booleans: do the updates run with the train step, if they are tied to this tensor?

    Args:
        answer: one boolean each for the loss, the output of the layer, the gradients, and the train step
            itself. The first three are passed through `tf.identity` inside `tf.control_dependencies(updates)`
            and then used as before, for the loss y**2 of the output y.
    """
    mistakes = {
        "the loss too": ([1, 1, 1, 1], "do the gradients need the value of the loss?"),
        "the step alone": ([0, 0, 0, 1], "does the step need gradients, and these the output?"),
        "not the output": ([0, 0, 1, 1], "what is the gradient of y**2 made of?"),
        "not the gradients": ([0, 1, 0, 1], "what does the train step do with the gradients?"),
    }
    hint = "what must be computed before the step can be done?"
    return judge_value(answer, truth=[0, 1, 1, 1], mistakes=mistakes, otherwise=hint)


def half_of_them(answer):
    """Judge a graph of the reader's own, whose train step runs the updates of half of its layers.

    Args:
        answer: answer() -> a train step. Two or more batch-norm layers are built in training mode, and a step
            runs both updates of one half of them and none of the others, as in a GAN.
    """

    def fault(build):
        seen = _run_once(build)
        updates, run = len(seen.updates_of), len(seen.run_of)
        if not updates:
            return "nothing collected", "no layer was built in training mode"
        if not seen.learned:
            return "no train step", "the step was run, and no weight has moved"
        if len(set(seen.updates_of)) < 2:
            return "one layer", "half of one layer is none; build more layers"
        if run == updates:
            return "all run", "the step runs all of them; how do you get at those of one scope?"
        if any(seen.run_of.count(layer) < seen.updates_of.count(layer) for layer in seen.run_of):
            return "half a layer", "of some layer one statistic moves and the other does not"
        if 2 * run != updates:
            return "not half", f"{run} of {updates} updates run"
        return None

    return judge_proposal(answer, fault_of=fault, seconds=15.0)


@dataclass
class _StepRun:
    """What came of a train step: which updates there are, and what a single run of it changed."""

    updates_of: list  # the layer of each collected update
    run_of: list  # the layer of each update that runs
    looks: list  # how many updates each look into the collection found
    tied: bool  # whether anything in the graph waits for an update
    moved: bool  # whether the run has changed all moving variables, of which there are some
    learned: bool


def _run_once(build):
    if not callable(build):
        raise UnfitError("no function", "the function itself is expected, not what it returns")
    import tensorflow as tf

    import bnlab.tensorflow_setup  # noqa: F401
    from bnlab.update_ops import audit

    class WatchingGraph(tf.Graph):
        looks = ()

        def get_collection(self, name, scope=None):
            found = super().get_collection(name, scope)
            if name == tf.compat.v1.GraphKeys.UPDATE_OPS:
                self.looks += (len(found),)
            return found

    graph = WatchingGraph()
    with graph.as_default():
        step = build()
        if step is None:
            raise UnfitError("returned None", "nothing came back; is a `return` missing?")
        looks = list(graph.looks)
        found = audit(step)
        moving, weights = _changes(tf, graph, step)
    layers = [variable.rpartition("/")[0] for variable in found.variables]
    owners = dict(zip(found.collected, layers, strict=True))
    return _StepRun(
        updates_of=layers,
        run_of=[owners[name] for name in found.run],
        looks=looks,
        tied=any(_waits(op, owners) for op in graph.get_operations()),
        moved=bool(moving) and all(moving),
        learned=any(weights),
    )


def _waits(op, updates):
    """Say whether an operation outside of a layer's own assignments waits for one of the updates."""
    scope = op.name.rpartition("/")[0]
    return any(one.name in updates and one.name.rpartition("/")[0] != scope for one in op.control_inputs)


def _changes(tf, graph, step):
    """Run the step once; say of each moving variable, and of each weight, whether it was changed."""
    v1, feed = tf.compat.v1, {}
    for op in graph.get_operations():
        if op.type in ("Placeholder", "PlaceholderWithDefault"):
            feed[op.outputs[0]] = _batch_for(op.outputs[0])
    moving = [variable for variable in v1.global_variables() if "moving_" in variable.name]
    variables = [*moving, *v1.trainable_variables()]
    with v1.Session(graph=graph) as session:
        session.run(v1.global_variables_initializer())
        before = session.run(variables)
        session.run(step, feed)
        pairs = zip(before, session.run(variables), strict=True)
    changed = [not np.array_equal(*pair) for pair in pairs]
    return changed[: len(moving)], changed[len(moving) :]


def _batch_for(placeholder):
    """Return random numbers, of eight examples where the shape is open; True for a flag."""
    known = placeholder.shape.as_list() if placeholder.shape.rank else []
    shape, kind = [size or 8 for size in known], placeholder.dtype.as_numpy_dtype
    return (
        np.ones(shape, kind)
        if kind == np.bool_
        else (3 * np.random.default_rng(0).random(shape)).astype(kind)
    )
