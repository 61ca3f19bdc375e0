"""The audit is a prediction, so each wiring is also run: what `session.run` moved is the truth."""

import dataclasses
from types import SimpleNamespace

import numpy as np
import pytest

import bnlab.tensorflow_setup  # noqa: F401

# isort: split
import keras
import tensorflow as tf
import tf_keras

from bnlab.update_ops import audit

v1 = tf.compat.v1
pytestmark = pytest.mark.filterwarnings("ignore:`tf.layers")
UPDATE_OPS = v1.GraphKeys.UPDATE_OPS
EAGER = tf.Variable(1.0)
EAGER_VALUES = [EAGER, EAGER + 1.0, EAGER.assign_sub(1.0), keras.Sequential()]


@pytest.fixture(autouse=True)
def graph():
    with tf.Graph().as_default() as graph:
        yield graph


def collection(scope=None):
    return v1.get_collection(UPDATE_OPS, scope)


def placeholder(features=3):
    return v1.placeholder(tf.float32, (4, features))


def layer(x, *, training=True, **options):
    return v1.layers.batch_normalization(v1.layers.dense(x, 3), training=training, **options)


def minimize(y, **options):
    return v1.train.GradientDescentOptimizer(0.1).minimize(tf.reduce_sum(y**3), **options)


def moved(train_op, feed=None):
    """Run one step; return the names of the moving statistics that are not what they were."""
    graph = v1.get_default_graph()
    variables = [v for v in v1.global_variables() if "moving_" in v.name]
    feeds = {op.outputs[0] for op in graph.get_operations() if op.type == "Placeholder"}
    random = np.random.default_rng(0)
    values = {x: random.normal(3, 2, x.shape) for x in feeds if x.dtype == tf.float32} | (feed or {})
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


def fetched():
    return [minimize(layer(placeholder())), collection()]


def both():
    return {"train": tied(), "updates": tuple(collection())}


def grouped():
    return tf.group(fetched())


def applied():
    optimizer = v1.train.AdamOptimizer(0.1)
    gradients = optimizer.compute_gradients(tf.reduce_sum(layer(placeholder())))
    with tf.control_dependencies(collection()):
        return optimizer.apply_gradients(gradients, global_step=v1.train.get_or_create_global_step())


def old_variables():
    with v1.variable_scope("old", use_resource=False):
        return tied()


def images():
    y = v1.layers.batch_normalization(v1.placeholder(tf.float32, (2, 4, 4, 3)), training=True)
    with tf.control_dependencies(collection()):
        return minimize(y)


def loss_tensor():
    y = layer(placeholder())
    with tf.control_dependencies(collection()):
        return tf.identity(y)


def grouped_in_the_collection():
    train_op = minimize(layer(placeholder()))
    update = tf.group(collection())
    v1.get_default_graph().clear_collection(UPDATE_OPS)
    v1.add_to_collection(UPDATE_OPS, update)
    return [train_op, update]


@pytest.mark.parametrize("wire", [tied, fetched, both, grouped, applied, old_variables, images, loss_tensor])
def test_updates_that_run(wire):
    found = checked(wire())
    assert len(found.run) == 2
    assert not found.forgotten
    assert found.verdict.startswith("All 2 collected updates run with train_op")
    assert found.verdict.endswith("nothing to mend.")
    assert not found.mend


def test_a_group_in_the_collection_names_all_its_variables():
    train_op = grouped_in_the_collection()
    found = audit(train_op)
    assert found.variables == ("batch_normalization/moving_mean, batch_normalization/moving_variance",)
    assert found.run == found.collected
    assert len(moved(train_op)) == 2


def forgotten():
    return minimize(layer(placeholder()))


def collected_early():
    early = collection()
    y = layer(placeholder())
    with tf.control_dependencies(early):
        return minimize(y)


def collected_in_another_graph():
    y = layer(placeholder())
    with tf.Graph().as_default():
        elsewhere = collection()
    with tf.control_dependencies(elsewhere):
        return minimize(y)


def tied_to_the_loss():
    loss = tf.reduce_sum(layer(placeholder()) ** 3)
    with tf.control_dependencies(collection()):
        loss = tf.identity(loss)
    return v1.train.GradientDescentOptimizer(0.1).minimize(loss)  # its gradient does not need the value


def old_variables_forgotten():
    with v1.variable_scope("old", use_resource=False):
        return forgotten()


@pytest.mark.parametrize(
    "wire",
    [
        forgotten,
        collected_early,
        collected_in_another_graph,
        tied_to_the_loss,
        old_variables_forgotten,
    ],
)
def test_updates_that_do_not_run(wire):
    found = checked(wire())
    assert not found.run
    assert len(found.forgotten) == 2
    assert "runs 0 of the 2 collected updates" in found.verdict
    assert "stay at their initial 0 and 1" in found.verdict
    assert "after the last layer is built, in the same graph" in found.verdict


def test_the_lines_that_mend_it_do():
    loss = tf.reduce_sum(layer(placeholder()) ** 3)
    optimizer = v1.train.GradientDescentOptimizer(0.1)
    found = checked(optimizer.minimize(loss))
    names = {"tf": tf, "optimizer": optimizer, "loss": loss}
    exec(found.mend, names)
    assert not checked(names["train_op"]).forgotten


def test_collected_between_two_layers_forgets_the_second():
    hidden = layer(placeholder(), name="first")
    early = collection()
    y = layer(hidden, name="second")
    with tf.control_dependencies(early):
        train_op = minimize(y)
    found = checked(train_op)
    assert [name.split("/")[0] for name in found.run] == ["first", "first"]
    assert [name.split("/")[0] for name in found.forgotten] == ["second", "second"]
    assert "the moving statistics of second stay" in found.verdict


def test_a_reused_layer_has_two_updates_for_each_variable():
    x, other = placeholder(), placeholder()
    v1.layers.batch_normalization(x, training=True, name="bn")
    once = collection()
    y = v1.layers.batch_normalization(other, training=True, name="bn", reuse=True)
    found = checked([minimize(y), collection()])
    assert found.variables == ("bn/moving_mean", "bn/moving_variance") * 2
    half = checked([minimize(y), once])
    assert (half.run, half.forgotten) == (found.run[:2], found.run[2:])
    assert "the moving statistics of bn follow only some of the batches" in half.verdict


def gan():
    """Return the updates and the train op of each network."""
    with v1.variable_scope("generator"):
        fake = layer(placeholder(2))
    with v1.variable_scope("critic"):
        on_fake = layer(fake, name="bn")
    with v1.variable_scope("critic", reuse=True):
        on_real = v1.layers.batch_normalization(
            v1.layers.dense(placeholder(), 3, name="dense"), training=True, name="bn"
        )
    loss = on_fake - on_real
    return {
        name: lambda updates, name=name: _after(updates, loss, v1.trainable_variables(name))
        for name in ("generator", "critic")
    }


def _after(updates, loss, variables):
    with tf.control_dependencies(updates):
        return minimize(loss, var_list=variables)


def test_the_other_network_of_a_gan_is_left_to_its_own_step():
    step = gan()
    found = checked(step["generator"](collection("generator")))
    assert [name.split("/")[0] for name in found.run] == ["generator"] * 2
    assert [name.split("/")[0] for name in found.forgotten] == ["critic"] * 2 + ["critic_1"] * 2
    assert "the moving statistics of critic/bn are left to the step that trains it" in found.verdict
    assert not found.mend
    assert (
        "of generator/batch_normalization are left" in checked(step["critic"](collection("critic"))).verdict
    )


def test_a_gan_that_forgets_is_told_the_scope():
    step = gan()
    found = checked(step["generator"]([]))
    assert "of generator/batch_normalization stay at their initial 0 and 1" in found.verdict
    assert "scope='generator'" in found.mend
    found = checked(step["critic"]([]))
    assert "of critic/bn stay at their initial 0 and 1" in found.verdict
    found = checked(step["critic"](collection("critic/")))
    assert "critic/bn follow only some of the batches" in found.verdict
    assert "scope='critic'" in found.mend


def test_a_gan_that_runs_all_updates_in_each_step_is_told_so():
    found = checked(gan()["generator"](collection()))
    assert not found.forgotten
    assert "also those of critic/bn, which it does not train" in found.verdict
    assert "scope='generator'" in found.mend


@pytest.mark.parametrize("name", ["critic", "generator"])
def test_a_layer_without_gamma_and_beta_is_judged_by_its_scope(name):
    for scope in ("critic", "generator"):
        with v1.variable_scope(scope):
            y = layer(placeholder(), center=False, scale=False)
    found = checked(minimize(y))  # trains the generator
    assert "generator/batch_normalization stay" in found.verdict
    assert name in " ".join(found.forgotten)


@pytest.mark.parametrize("fed", [True, False])
@pytest.mark.parametrize("version_2", [True, False])
def test_training_as_a_placeholder(version_2, fed):
    was_version_2 = v1.control_flow_v2_enabled()
    (v1.enable_control_flow_v2 if version_2 else v1.disable_control_flow_v2)()
    try:
        training = v1.placeholder(tf.bool, ())
        y = layer(placeholder(), training=training)
    finally:
        (v1.enable_control_flow_v2 if was_version_2 else v1.disable_control_flow_v2)()
    assert not audit(minimize(y)).run
    with tf.control_dependencies(collection()):
        train_op = minimize(y)
    found = audit(train_op)
    assert predicted(found) == {"batch_normalization/moving_mean", "batch_normalization/moving_variance"}
    assert moved(train_op, {training: fed}) == (predicted(found) if fed else set())
    assert "where `training` is fed True" in found.verdict


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


def test_an_update_collected_twice_is_listed_once():
    train_op = forgotten()
    before = audit(train_op).collected
    for op in collection():
        v1.add_to_collection(UPDATE_OPS, op)
    assert audit(train_op).collected == before


@pytest.mark.parametrize("use_resource", [True, False])
def test_assignments_tensors_and_names_are_train_ops(use_resource):
    with v1.variable_scope("scope", use_resource=use_resource):
        y = layer(placeholder())
        step = v1.get_variable("step", (), use_resource=use_resource)
    with tf.control_dependencies(collection()):
        assignment, without_value = step.assign_sub(1.0), step.assign(1.0, read_value=False)
    for train_op in (assignment, without_value, [assignment], assignment.op.name):
        assert len(audit(train_op).run) == 2
    v1.add_to_collection(UPDATE_OPS, assignment)
    assert audit([y, assignment]).variables[-1] == "scope/step"
    assert audit([y, y.name, step]).run == ()


def test_a_deep_graph_needs_no_recursion():
    y = layer(placeholder())
    for _ in range(3000):
        y = tf.identity(y)
    with tf.control_dependencies([*collection(), y]):
        assert len(audit(tf.no_op()).run) == 2


def test_nothing_is_added_to_the_graph(graph):
    train_op = tied()
    graph.finalize()
    assert len(audit(train_op).run) == 2


def test_the_text_is_a_table_and_a_verdict():
    text = str(audit(forgotten()))
    lines = text.splitlines()
    assert lines[0].split("  ")[0] == "update operation"
    assert lines[1].split() == [
        "batch_normalization/AssignMovingAvg/AssignSubVariableOp",
        "batch_normalization/moving_mean",
        "no",
    ]
    assert lines[2].split()[1:] == ["batch_normalization/moving_variance", "no"]
    assert text.endswith(
        "    with tf.control_dependencies(update_ops):\n        train_op = optimizer.minimize(loss)"
    )
    assert max(map(len, lines)) < 110


def test_the_result_cannot_be_changed():
    found = audit(forgotten())
    with pytest.raises(dataclasses.FrozenInstanceError):
        found.run = ()


@pytest.mark.parametrize(
    "train_op",
    [None, 3, np.ones(2), SimpleNamespace(op=3), *EAGER_VALUES, keras.Input((3,)), {"train": None}],
)
def test_what_no_session_runs_is_a_type_error(train_op):
    with pytest.raises(TypeError, match=r"^train_op is .*; expected an operation, .* of a v1 graph$"):
        audit(train_op)


@pytest.mark.parametrize("name", ["no/such/operation", "none:0", "none:0:0", "", "^none"])
def test_a_name_of_nothing_is_a_value_error(name):
    with pytest.raises(ValueError, match=r"^train_op is '.*', which names nothing in the graph; expected"):
        audit(name)


@pytest.mark.parametrize("nothing", [[], (), {}, {"train": []}])
def test_nothing_is_a_value_error(nothing):
    with pytest.raises(ValueError, match=r"^train_op is empty; expected at least one"):
        audit(nothing)


def test_two_graphs_are_a_value_error():
    here = tf.no_op()
    with tf.Graph().as_default(), pytest.raises(ValueError, match=r"^train_op has operations of 2 graphs"):
        audit([here, tf.no_op()])


@pytest.mark.parametrize("bad_graph", ["graph", 3, tf.Graph])
def test_a_bad_graph_is_a_type_error(bad_graph):
    with pytest.raises(TypeError, match=r"^graph is .*; expected a tf.Graph or None$"):
        audit(tf.no_op(), graph=bad_graph)
