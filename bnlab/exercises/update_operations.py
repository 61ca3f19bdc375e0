"""Exercises of the fourth notebook, "Run the update ops": who runs the updates of a v1 graph.

TensorFlow is imported when an answer is judged, not before.
"""

from dataclasses import dataclass

import numpy as np

from bnlab.exercises.judging import UnfitError, judge_proposal, judge_value


def mended_step(answer):
    """Judge a function that builds a graph with batch norm and a train step that forgets no update.

    Args:
        answer: answer() -> the train step, or what `session.run` shall be given for one. It is called with a
            new graph as the default one, and the step is run once, with random numbers for the placeholders.

    Returns:
        Verdict.
    """
    faults = {
        "no batch norm": (lambda seen: not seen.layers, "no variable of the graph is called moving_mean"),
        "nothing collected": (
            lambda seen: seen.collected == 0 and seen.moved < 1,
            "the layer collects no updates: is it a v1 layer, and in which mode was it built?",
        ),
        "no train step": (lambda seen: not seen.learned, "the step was run, and no weight has moved"),
        "some forgotten": (
            lambda seen: 0 < seen.run < seen.collected,
            lambda seen: (
                f"{seen.run} of {seen.collected} collected updates run; which ones did you leave out?"
            ),
        ),
        "tied to something else": (
            lambda seen: seen.run == 0 < seen.collected and seen.tied,
            "something waits for the updates; does the train step need that?",
        ),
        "collected too early": (
            lambda seen: seen.run == 0 < seen.collected and seen.looks == [0],
            "the collection was read, and there was nothing in it yet",
        ),
        "collected and not used": (
            lambda seen: seen.run == 0 < seen.collected and seen.looks,
            "the updates were collected; who runs them?",
        ),
        "forgotten": (
            lambda seen: seen.run == 0 < seen.collected,
            "the weights have moved, the statistics have not",
        ),
    }
    return judge_proposal(answer, read=_run_once, faults=faults, seconds=15.0)


def where_to_tie(answer):
    """Judge four booleans: do the updates run with the train step, if they are tied to this tensor?

    Args:
        answer: one boolean each for the loss, the output of the layer, the gradients, and the train step
            itself. The first three are passed through `tf.identity` inside `tf.control_dependencies(updates)`
            and then used as before, for the loss y**2 of the output y.

    Returns:
        Verdict.
    """
    mistakes = {
        "the loss too": ([1, 1, 1, 1], "do the gradients need the value of the loss?"),
        "the step alone": ([0, 0, 0, 1], "does the step need gradients, and these the output?"),
        "the loss alone": ([1, 0, 0, 0], "a session runs what the train step needs; does it need the loss?"),
        "all but the step": ([1, 1, 1, 0], "which of these is the wiring that never fails?"),
        "not the output": ([0, 0, 1, 1], "what is the gradient of y**2 made of?"),
        "not the gradients": ([0, 1, 0, 1], "what does the train step do with the gradients?"),
        "loss and step": ([1, 0, 0, 1], "which of the four does the train step have to compute?"),
        "none": ([0, 0, 0, 0], "then no network would ever remember anything"),
    }
    return judge_value(
        answer,
        truth=[0, 1, 1, 1],
        mistakes=mistakes,
        otherwise="what must be computed before the step can be done?",
    )


def half_of_them(answer):
    """Judge a graph of the reader's own, whose train step runs the updates of half of its layers.

    Args:
        answer: answer() -> a train step. Two or more batch-norm layers are built in training mode, and a step
            runs both updates of one half of them and none of the others, as in a GAN.

    Returns:
        Verdict.
    """

    def whole_layers(seen):
        return all(seen.run_of.count(layer) == seen.updates_of.count(layer) for layer in set(seen.run_of))

    faults = {
        "nothing collected": (lambda seen: seen.collected == 0, "no layer was built in training mode"),
        "no train step": (lambda seen: not seen.learned, "the step was run, and no weight has moved"),
        "one layer": (
            lambda seen: len(set(seen.updates_of)) < 2,
            "half of one layer is none; build more layers",
        ),
        "none run": (lambda seen: seen.run == 0, "the step runs none of the updates"),
        "all run": (
            lambda seen: seen.run == seen.collected,
            "the step runs all of them; how do you get at those of one scope?",
        ),
        "half a layer": (
            lambda seen: not whole_layers(seen),
            "of some layer one statistic moves and the other does not",
        ),
        "not half": (
            lambda seen: 2 * seen.run != seen.collected,
            lambda seen: f"{seen.run} of {seen.collected} updates run",
        ),
    }
    return judge_proposal(answer, read=_run_once, faults=faults, seconds=15.0)


@dataclass
class _Seen:
    """What came of a train step: counts of updates, and what a single run of it changed."""

    layers: int  # moving variables in the graph
    collected: int
    run: int
    updates_of: list  # the layer of each collected update
    run_of: list  # the layer of each update that runs
    looks: list  # how many updates each look into the collection found
    tied: bool  # whether anything in the graph waits for an update
    moved: float  # the share of the moving variables that the run has changed
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
        moving, weights, changed = _changes(tf, graph, step)
    owners = {
        name: variable.rpartition("/")[0]
        for name, variable in zip(found.collected, found.variables, strict=True)
    }
    updates = set(found.collected)
    return _Seen(
        layers=len(moving),
        collected=len(found.collected),
        run=len(found.run),
        updates_of=list(owners.values()),
        run_of=[owners[name] for name in found.run],
        looks=looks,
        tied=any(_waits(op, updates) for op in graph.get_operations()),
        moved=sum(map(changed, moving)) / max(1, len(moving)),
        learned=any(map(changed, weights)),
    )


def _waits(op, updates):
    """Say whether an operation outside of a layer's own assignments waits for one of the updates."""
    scope = op.name.rpartition("/")[0]
    return any(one.name in updates and one.name.rpartition("/")[0] != scope for one in op.control_inputs)


def _changes(tf, graph, step):
    """Run the step once; return the moving variables, the weights, and which were changed."""
    v1, rng, feed = tf.compat.v1, np.random.default_rng(0), {}
    for op in graph.get_operations():
        if op.type in ("Placeholder", "PlaceholderWithDefault"):
            tensor = op.outputs[0]
            shape = [
                8 if size is None else size for size in (tensor.shape.as_list() if tensor.shape.rank else [])
            ]
            kind = tensor.dtype.as_numpy_dtype
            feed[tensor] = np.ones(shape, kind) if kind == np.bool_ else (3 * rng.random(shape)).astype(kind)
    moving = [variable for variable in v1.global_variables() if "moving_" in variable.name]
    weights = v1.trainable_variables()
    with v1.Session(graph=graph) as session:
        session.run(v1.global_variables_initializer())
        before = session.run([*moving, *weights])
        session.run(step, feed)
        after = session.run([*moving, *weights])
    pairs = zip([*moving, *weights], before, after, strict=True)
    differs = {variable.name: not np.array_equal(old, new) for variable, old, new in pairs}
    return moving, weights, lambda variable: differs[variable.name]
