"""Layers, steps and sessions for the audit; what `session.run` moves is the truth it is held to."""

import numpy as np

import bnlab.tensorflow_setup  # noqa: F401

# isort: split
import tensorflow as tf

from bnlab.update_ops import audit

v1 = tf.compat.v1
UPDATE_OPS = v1.GraphKeys.UPDATE_OPS


def collection(scope=None):
    return v1.get_collection(UPDATE_OPS, scope)


def placeholder(features=3):
    return v1.placeholder(tf.float32, (4, features))


def layer(x, *, training=True, **options):
    return v1.layers.batch_normalization(v1.layers.dense(x, 3), training=training, **options)


def minimize(y, **options):
    return v1.train.GradientDescentOptimizer(0.1).minimize(tf.reduce_sum(y**3), **options)


def mended(found, y, **names):
    """Follow the lines of an audit; return the train step that they make."""
    optimizer = v1.train.GradientDescentOptimizer(0.1)
    names |= {"tf": tf, "optimizer": optimizer, "loss": tf.reduce_sum(y**3)}
    exec(found.mend, names)
    return names["train_op"]


def moved(train_op, feed=None, *, everything=True):
    """Run one step; return the names of the moving statistics that are not what they were.

    It is fed random numbers for everything that has no default, or what is in `feed` alone.
    """
    graph = v1.get_default_graph()
    variables = [v for v in v1.global_variables() if "moving_" in v.name]
    feeds = {op.outputs[0] for op in graph.get_operations() if op.type == "Placeholder"}
    random = np.random.default_rng(0)
    shapes = {x: [size or 4 for size in x.shape] for x in feeds if everything and x.dtype == tf.float32}
    values = {x: random.normal(3, 2, shape) for x, shape in shapes.items()} | (feed or {})
    with v1.Session() as session:
        session.run(v1.global_variables_initializer())
        before = session.run(variables)
        session.run(train_op, values)
        after = session.run(variables)
    changed = [not np.array_equal(*pair) for pair in zip(before, after, strict=True)]
    return {v.op.name for v, has_changed in zip(variables, changed, strict=True) if has_changed}


def predicted(found):
    return {v for op, v in zip(found.collected, found.variables, strict=True) if op in found.run}


def checked(train_op, feed=None, **options):
    """Audit, and hold the audit to its own rules and to what a step does."""
    found = audit(train_op, **options)
    assert set(found.run) | set(found.forgotten) == set(found.collected)
    assert len(found.run) + len(found.forgotten) == len(found.collected)
    assert [name for name in found.collected if name in found.run] == list(found.run)
    assert predicted(found) == moved(train_op, feed)
    assert found.verdict in " ".join(str(found).split())
    return found


def tied():
    y = layer(placeholder())
    with tf.control_dependencies(collection()):
        return minimize(y)


def forgotten():
    return minimize(layer(placeholder()))
