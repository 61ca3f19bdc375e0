"""A placeholder that the updates alone need: the session asks for it, and the audit names it before."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from wiring import checked, collection, mended, minimize, moved, placeholder

import bnlab.tensorflow_setup  # noqa: F401

# isort: split
import tensorflow as tf
import tf_keras

from bnlab.update_ops import audit

v1 = tf.compat.v1
pytestmark = pytest.mark.filterwarnings("ignore:`tf.layers")
LEARNING = "keras_learning_phase:0"


def values(x):
    return np.random.default_rng(0).normal(3, 2, [size or 4 for size in x.shape])


def moves(train_op, x, feed=None):
    """Run a step that is fed x and nothing else."""
    return moved(train_op, {x: values(x)} | (feed or {}), everything=False)


def asks_for(train_op, x, name):
    with pytest.raises(tf.errors.InvalidArgumentError, match=f"placeholder tensor '{name}'"):
        moves(train_op, x)


def tied(y, updates):
    with tf.control_dependencies(updates):
        return minimize(y)


def dense():
    return v1.layers.Dense(3, name="dense"), (3,), (4, 3)


def convolution():
    return v1.layers.Conv2D(3, 2, name="conv"), (5, 5, 3), (4, 5, 5, 3)


@pytest.mark.parametrize("inner", [dense, convolution])
def test_v1_layers_called_on_a_keras_input_first(inner):
    first, of_input, own = inner()
    bn, x = v1.layers.BatchNormalization(name="bn"), v1.placeholder("float", own)
    there = tf_keras.Input(of_input)
    bn(first(there), training=True)
    y = bn(first(x), training=True)
    train_op = tied(y, collection())
    asks_for(train_op, x, "input_1")
    found = audit(train_op)
    assert found.unfed == ("input_1",)
    assert "needs input_1 to be fed for nothing but 2 updates of bn" in found.verdict
    assert moved(train_op) == {"bn/moving_mean", "bn/moving_variance"}  # "or feed it in each step"
    step = mended(found, y)
    assert moves(step, x) == {"bn/moving_mean", "bn/moving_variance"}
    after = audit(step)
    assert (after.unfed, len(after.run), len(after.forgotten)) == ((), 2, 2)
    assert "the others need input_1, which nothing in train_op does: nothing to mend" in after.verdict


def network(x, **options):
    with v1.variable_scope("net", **options):
        for name in ("a", "b"):
            x = v1.layers.dense(x, 3, name=f"dense_{name}")
            x = v1.layers.batch_normalization(x, training=True, name=f"bn_{name}")
    return x


@pytest.mark.parametrize("validation_first", [True, False])
@pytest.mark.parametrize("use_resource", [True, False])
def test_a_copy_for_validation_is_left_out_by_its_scope(validation_first, use_resource):
    val, x = v1.placeholder("float", (4, 3), "val"), placeholder()
    inputs = [val, x] if validation_first else [x, val]
    outputs = [network(inputs[0], use_resource=use_resource), network(inputs[1], reuse=True)]
    y = outputs[inputs.index(x)]
    for train_op in (tied(y, collection()), minimize(y)):
        found = audit(train_op)
        assert found.unfed == (("val",) if found.run else ())
        step = mended(found, y)
        assert len(moves(step, x)) == 4
        assert audit(step).verdict.endswith("nothing to mend.")


@pytest.mark.parametrize("use_resource", [True, False])
def test_calls_that_no_scope_tells_apart_are_left_out_by_name(use_resource):
    with v1.variable_scope("old", use_resource=use_resource):
        bn, val, x = v1.layers.BatchNormalization(name="bn"), placeholder(), placeholder()
        bn(val, training=True)
        y = bn(v1.layers.dense(x, 3), training=True)
    found = audit(tied(y, collection()))
    assert "AssignMovingAvg/" in found.mend
    step = mended(found, y)
    assert len(moves(step, x)) == 2
    assert audit(step).run == found.run[2:]


def test_the_wrong_call_alone_is_both_unfed_and_not_enough():
    val, x = placeholder(), placeholder()
    network(val)
    early = collection()
    y = network(x, reuse=True)
    found = audit(tied(y, early))
    assert found.unfed == ("Placeholder",)
    step = mended(found, y)
    assert len(moves(step, x)) == 4
    assert not audit(step).unfed


def test_the_other_network_of_a_gan_asks_for_its_own_data():
    real, noise = v1.placeholder("float", (4, 3), "real"), placeholder()
    with v1.variable_scope("generator"):
        fake = network(noise)
    with v1.variable_scope("critic"):
        y = network(fake)
    with v1.variable_scope("critic", reuse=True):
        network(real)
    own = v1.trainable_variables("generator")
    with tf.control_dependencies(collection()):
        train_op = minimize(y, var_list=own)
    asks_for(train_op, noise, "real")
    found = audit(train_op)
    assert found.unfed == ("real",)
    assert "scope='generator'" in found.mend
    step = mended(found, y, variables=own)
    assert len(moves(step, noise)) == 4
    assert "left to the step that trains it" in audit(step).verdict


def test_a_network_that_is_not_trained_at_all_is_left_out():
    network(tf_keras.Input((3,)))
    x = placeholder()
    y = v1.layers.dense(x, 3, name="head")
    found = audit(tied(y, collection()))
    assert found.unfed == ("input_1",)
    step = mended(found, y, variables=v1.trainable_variables("head"))
    assert moves(step, x) == set()
    assert not audit(step).unfed


@pytest.mark.parametrize("ties", [True, False])
def test_updates_of_no_other_call_want_a_call_of_ones_own(ties):
    bn, x = v1.layers.BatchNormalization(name="bn"), placeholder()
    bn(tf_keras.Input((3,)), training=True)
    y = bn(v1.layers.dense(x, 3), training=False)
    train_op = tied(y, collection()) if ties else minimize(y)
    found = audit(train_op)
    assert found.unfed == (("input_1",) if ties else ())
    assert "The only updates of bn need input_1 to be fed" in found.verdict
    assert len(moved(tied(y, collection()))) == 2  # "run them and feed it in each step"
    assert found.mend == "y = tf.compat.v1.layers.batch_normalization(x, training=True)"
    y = bn(v1.layers.dense(x, 3), training=True)  # "call the layer on your own x"
    step = mended(audit(tied(y, collection())), y)  # "and audit the step anew"
    assert len(moves(step, x)) == 2


def functional(shape, inner):
    there = tf_keras.Input(shape)
    bn = tf_keras.layers.BatchNormalization(name="bn")
    return tf_keras.Model(there, bn(inner(there)))


@pytest.mark.parametrize("training", [True, None])
@pytest.mark.parametrize("is_convolution", [False, True])
@pytest.mark.usefixtures("control_flow")
def test_a_tf_keras_model_on_its_own_input(training, is_convolution):
    """Its `updates` have those of the symbolic call too; without `training` they stand in a tf.cond."""
    inner = tf_keras.layers.Conv2D(3, 2) if is_convolution else tf_keras.layers.Dense(3)
    shape = (5, 5, 3) if is_convolution else (3,)
    model, x = functional(shape, inner), v1.placeholder("float", (4, *shape))
    y = model(x, training=training)
    both = {"bn/moving_mean", "bn/moving_variance"}
    train_op = tf.group(minimize(y), model.updates)
    asks_for(train_op, x, "input_1")
    for wired, unfed in ((train_op, ("input_1",)), (minimize(y), ())):
        found = audit(wired)
        assert found.unfed == unfed
        step = mended(found, y, layer=model, x=x)
        assert moves(step, x, {LEARNING: True}) == both
        after = audit(step)
        assert not after.unfed
        assert after.verdict.endswith("nothing to mend.")
        if training is None:
            assert moves(step, x) == set()
            assert "where keras_learning_phase:0 is fed True" in after.verdict
    assert "needs input_1 to be fed for nothing but 2 updates of bn" in audit(train_op).verdict


def test_a_tf_keras_model_that_trains_on_its_input_alone():
    model, x = functional((3,), tf_keras.layers.Dense(3)), placeholder()
    y = model(x, training=False)
    found = audit(minimize(y))
    assert "The only updates of bn need input_1 to be fed" in found.verdict
    names = {"layer": model, "x": x}
    exec(found.mend, names)
    y = names.pop("y")
    found = audit(minimize(y))
    assert "does not run the 2 updates of bn" in found.verdict
    assert len(moves(mended(found, y, **names), x)) == 2


@pytest.mark.filterwarnings("ignore:`layer.updates`")
def test_a_tf_keras_layer_from_elsewhere_lists_no_updates():
    with ThreadPoolExecutor() as pool:  # another thread has no default graph
        made_outside = pool.submit(tf_keras.layers.BatchNormalization, name="bn").result()
    y = made_outside(placeholder() @ v1.get_variable("w", (3, 3)), training=True)
    assert made_outside.updates == []
    found = audit(minimize(y))
    assert "2 updates of bn" in found.verdict
    assert "list them only if they were created in this graph" in found.verdict


def test_built_on_a_tensor_of_ones_own_it_needs_no_other():
    x = placeholder()
    there = tf_keras.Input(tensor=x)
    model = tf_keras.Model(there, tf_keras.layers.BatchNormalization(name="bn")(there, training=True))
    y = v1.layers.dense(model.output, 3)
    train_op = tf.group(minimize(y), model.updates)
    assert len(moves(train_op, x)) == 2
    assert audit(train_op).verdict.endswith("nothing to mend.")


def the_loss_needs_it_too(x):
    y = network(x)
    return y + network(placeholder(), reuse=True)


def it_has_a_default(x):
    y = network(x)
    network(v1.placeholder_with_default(tf.ones((4, 3)), (4, 3)), reuse=True)
    return y


def training_is_a_placeholder(x):
    training = v1.placeholder(tf.bool, ())
    return v1.layers.batch_normalization(v1.layers.dense(x, 3), training=training)


@pytest.mark.parametrize("twin", [the_loss_needs_it_too, it_has_a_default, training_is_a_placeholder])
@pytest.mark.usefixtures("control_flow")
def test_what_is_fed_anyway_is_nothing_to_mend(twin):
    found = audit(tied(twin(placeholder()), collection()))
    assert found.unfed == ()
    assert not found.forgotten
    assert found.verdict.endswith("nothing to mend.")


@pytest.mark.parametrize("step", [collection, lambda: tf.group(collection())])
def test_updates_that_are_all_that_is_run_are_fed_what_they_need(step):
    network(placeholder())
    found = checked(step())
    assert found.unfed == ()
    assert found.verdict.endswith("nothing to mend.")
