"""What the audit says of an empty collection, and of graphs that are not what they seem."""

import numpy as np
import pytest
from wiring import UPDATE_OPS, checked, collection, layer, minimize, moved, placeholder, tied

import bnlab.tensorflow_setup  # noqa: F401

# isort: split
import keras
import tensorflow as tf
import tf_keras

from bnlab.update_ops import audit

v1 = tf.compat.v1
pytestmark = pytest.mark.filterwarnings("ignore:`tf.layers")


def test_training_false_collects_nothing():
    found = checked(minimize(layer(placeholder(), training=False)))
    assert found.collected == ()
    assert "built with training=False, which is the default" in found.verdict
    assert found.mend.endswith("training=True)")


def test_a_loaded_checkpoint_is_no_update():
    y = layer(placeholder(), training=False)
    v1.train.Saver()
    for variable in v1.global_variables():
        variable.assign(variable.initial_value)
    assert "training=False" in audit(minimize(y)).verdict


@pytest.mark.parametrize("training", ["True", "placeholder"])
def test_a_layer_of_tf_keras_collects_nothing(training):
    flag = True if training == "True" else v1.placeholder_with_default(True, ())
    layer = tf_keras.layers.BatchNormalization(name="bn")
    train_op = minimize(layer(placeholder(), training=flag))
    found = checked(train_op)
    assert found.collected == ()
    assert "does not run the 2 updates of bn" in found.verdict
    assert "Keras (tf_keras) layers" in found.verdict
    names = {"tf": tf, "train_op": train_op, "layer": layer}
    exec(found.mend, names)
    assert moved(names["train_op"]) == {"bn/moving_mean", "bn/moving_variance"}
    assert "run with train_op all the same" in audit(names["train_op"]).verdict


def test_a_layer_of_keras_3_collects_nothing():
    found = checked(minimize(keras.layers.BatchNormalization(name="bn")(placeholder(), training=True)))
    assert "Keras 3 layers do not collect" in found.verdict
    assert "tf.compat.v1.layers.batch_normalization" in found.mend


def test_updates_tied_in_place_need_no_collection(graph):
    y = layer(placeholder())
    with tf.control_dependencies(collection()):
        train_op = minimize(tf.identity(y))
    graph.clear_collection(UPDATE_OPS)
    assert len(moved(train_op)) == 2
    assert "updates_collections=None: nothing to mend" in audit(train_op).verdict


def test_a_name_in_its_second_spelling_is_a_moving_statistic_too():
    """TensorFlow calls the second variable of a name moving_mean_1: a layer by hand, used twice."""
    x = placeholder()
    means = [v1.Variable(tf.zeros(3), trainable=False, name="moving_mean") for _ in range(2)]
    updates = [mean.assign(0.9 * mean + 0.1 * tf.reduce_mean(x, axis=0)) for mean in means]
    assert means[1].op.name == "moving_mean_1"
    y = v1.layers.dense(x, 3)
    with tf.control_dependencies(updates[:1]):
        train_op = minimize(y)
    assert moved(train_op) == {"moving_mean"}
    assert "does not run the 1 update of moving_mean_1, whose" in audit(train_op).verdict
    assert "does not run the 2 updates of moving_mean, moving_mean_1" in audit(minimize(y)).verdict
    with tf.control_dependencies(updates):
        train_op = minimize(y)
    assert moved(train_op) == {"moving_mean", "moving_mean_1"}
    assert "the 2 updates of moving_mean, moving_mean_1 run with train_op" in audit(train_op).verdict


def test_no_batch_norm_at_all():
    found = checked(minimize(v1.layers.dense(placeholder(), 3)))
    assert found.collected == ()
    assert "no variable of the graph is called moving_mean" in found.verdict


def test_another_graph_holds_the_updates(graph):
    layer(placeholder())
    with tf.Graph().as_default() as other:
        train_op = minimize(v1.layers.dense(placeholder(), 3))
    found = audit(train_op)
    assert found.collected == ()
    assert "2 updates are in the default graph" in found.verdict
    found = audit(train_op, graph=graph)
    assert len(found.collected) == len(found.forgotten) == 2
    assert "in another graph than train_op" in found.verdict
    found = audit(minimize(layer(placeholder())), graph=other)
    assert found.collected == ()
    assert "4 updates are in train_op's own graph" in found.verdict


def test_names_of_another_graph_do_not_count_as_run():
    train_op = tied()
    with tf.Graph().as_default() as twin:
        tied()
    assert len(audit(train_op).run) == 2
    assert audit(train_op, graph=twin).run == ()


def test_a_trace_shows_the_operations_that_were_found():
    """FULL_TRACE names what was executed; without the optimizers these are the operations reached."""
    x = placeholder()
    hidden = layer(x, name="first")
    first = collection()
    y = layer(hidden, name="second")
    with tf.control_dependencies(first):
        train_op = minimize(y)
    config = v1.ConfigProto()
    config.graph_options.rewrite_options.disable_meta_optimizer = True
    config.graph_options.optimizer_options.opt_level = v1.OptimizerOptions.L0
    options, metadata = v1.RunOptions(trace_level=v1.RunOptions.FULL_TRACE), v1.RunMetadata()
    with v1.Session(config=config) as session:
        session.run(v1.global_variables_initializer())
        session.run(train_op, {x: np.ones((4, 3))}, options=options, run_metadata=metadata)
    executed = {node.node_name for device in metadata.step_stats.dev_stats for node in device.node_stats}
    found = audit(train_op)
    assert len(found.run) == len(found.forgotten) == 2
    assert tuple(name for name in found.collected if name in executed) == found.run
