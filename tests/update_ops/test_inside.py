"""Updates in the body of a loop or the branch of a condition: nothing outside can wait for them."""

import pytest
from wiring import checked, collection, minimize, moved, placeholder

import bnlab.tensorflow_setup  # noqa: F401

# isort: split
import tensorflow as tf
import tf_keras

from bnlab.update_ops import audit

v1 = tf.compat.v1
pytestmark = [pytest.mark.filterwarnings("ignore:`tf.layers"), pytest.mark.usefixtures("control_flow")]
BOTH = {"bn/moving_mean", "bn/moving_variance"}


def untouched(y):
    return y


def normalized(h):
    return v1.layers.batch_normalization(h, training=True, name="bn", reuse=v1.AUTO_REUSE)


def loop(x, tie, layer=normalized):
    return tf.while_loop(lambda i, _: i < 3, lambda i, h: (i + 1, tie(layer(h))), (0, x))[1]


def mapped(x, tie, layer=normalized):
    return tf.map_fn(lambda h: tie(layer(h)), tf.stack([x, x]))


def branch(x, tie, layer=normalized):
    return tf.cond(v1.placeholder_with_default(True, (), "is_new"), lambda: tie(layer(x)), lambda: x)


def build(where, tie, **options):
    """Return the output of a layer in a body, with weights and another layer in front of it."""
    h = v1.layers.batch_normalization(v1.layers.dense(placeholder(), 3), training=True, name="front")
    return where(h, tie, **options)


def split(mend):
    """Return the lines for the body and those for after it, without the comments that say so."""
    inside, _, outside = mend.partition("# outside, after it:\n")
    return inside, outside


def following(lines, **names):
    def tie(y):
        known = {"tf": tf, "y": y} | names
        exec(lines, known)
        return known["y"]

    return tie


@pytest.mark.parametrize("where", [loop, mapped, branch])
def test_the_lines_that_mend_it_do(where):
    found = checked(minimize(build(where, untouched)))
    assert not found.run
    assert "updates of bn are inside a tf.while_loop, tf.map_fn or tf.cond" in found.verdict
    inside, outside = split(found.mend)
    with tf.Graph().as_default():
        loss = tf.reduce_sum(build(where, following(inside)) ** 3)
        names = {"tf": tf, "loss": loss, "optimizer": v1.train.GradientDescentOptimizer(0.1)}
        exec(outside, names)
        after = checked(names["train_op"])
        assert len(after.run) == 4
        assert after.verdict.endswith("nothing to mend.")


@pytest.mark.parametrize("where", [loop, mapped])
def test_a_step_that_waits_for_a_loop_raises(where, control_flow):
    y = build(where, untouched)
    if control_flow:
        with pytest.raises(ValueError, match="Operation name"), tf.control_dependencies(collection()):
            minimize(y)
        return
    with tf.control_dependencies(collection()):
        train_op = minimize(y)
    with pytest.raises(tf.errors.InvalidArgumentError, match="different frames"):
        moved(train_op)
    assert "updates of bn are inside" in audit(train_op).verdict


def test_a_step_that_waits_for_a_branch_is_skipped_with_it(control_flow):
    y = build(branch, untouched)
    if control_flow:
        return  # cannot be built, as above
    with tf.control_dependencies(collection()):
        train_op = minimize(y)
    is_new = v1.get_default_graph().get_tensor_by_name("is_new:0")
    weights = v1.trainable_variables()[0]
    with v1.Session() as session:
        session.run(v1.global_variables_initializer())
        before = session.run(weights)
        session.run(train_op, {is_new: False, "Placeholder:0": [[1.0, 2.0, 4.0]] * 4})
        assert (session.run(weights) == before).all()
    assert "skips what does when the branch is not taken" in audit(train_op).verdict


@pytest.mark.parametrize("where", [loop, mapped, branch])
def test_keras_layers_in_a_body(where):
    def keras_step(tie):
        layer = tf_keras.layers.BatchNormalization(name="bn")
        layer.build((None, 3))
        h = v1.layers.dense(placeholder(), 3)
        return minimize(where(h, tie(layer), layer=lambda h: layer(h, training=True)))

    train_op = keras_step(lambda _: untouched)
    found = audit(train_op)
    assert moved(train_op) == set()
    assert "run with train_op" not in found.verdict
    assert "training=False" not in found.verdict
    with tf.Graph().as_default():
        train_op = keras_step(lambda layer: following(found.mend, layer=layer))
        assert len(moved(train_op)) == 2
        assert audit(train_op).verdict.endswith("nothing to mend.")


def test_a_loop_beside_the_layer_changes_nothing():
    y = v1.layers.batch_normalization(v1.layers.dense(placeholder(), 3), training=True, name="bn")
    y = loop(y, untouched, layer=tf.nn.relu)
    assert not checked(minimize(y)).run
    with tf.control_dependencies(collection()):
        train_op = minimize(y)
    found = checked(train_op)
    assert len(found.run) == 2
    assert found.verdict.endswith("nothing to mend.")
