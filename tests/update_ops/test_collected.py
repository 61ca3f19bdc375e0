"""The audit is a prediction, so each wiring is also run: what `session.run` moved is the truth."""

import pytest
from wiring import (
    UPDATE_OPS,
    checked,
    collection,
    forgotten,
    layer,
    mended,
    minimize,
    moved,
    placeholder,
    predicted,
    tied,
)

import bnlab.tensorflow_setup  # noqa: F401

# isort: split
import tensorflow as tf

from bnlab.update_ops import audit

v1 = tf.compat.v1
pytestmark = pytest.mark.filterwarnings("ignore:`tf.layers")


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
    y = layer(placeholder())
    assert not checked(mended(checked(minimize(y)), y)).forgotten


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
    y = v1.layers.batch_normalization(x, training=True, name="bn")
    once = collection()
    y += v1.layers.batch_normalization(other, training=True, name="bn", reuse=True)
    found = checked([minimize(y), collection()])
    assert found.variables == ("bn/moving_mean", "bn/moving_variance") * 2
    assert not checked(mended(checked([minimize(y), once]), y)).forgotten
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
    return {"loss": loss} | {
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


@pytest.mark.parametrize("who", ["generator", "critic"])
@pytest.mark.parametrize("updates", ["", "generator", "critic/", "critic", "neither"])
def test_a_step_of_a_gan_that_is_mended_needs_no_more(who, updates):
    found = checked(gan()[who](collection(updates)))
    if found.mend:
        with tf.Graph().as_default():
            build = gan()
            step = mended(found, build["loss"], variables=v1.trainable_variables(who))
            after = checked(step)
    else:
        after = found
    assert {name.split("/")[0].split("_")[0] for name in after.run} == {who}
    assert not after.mend


@pytest.mark.parametrize("name", ["critic", "generator"])
def test_a_layer_without_gamma_and_beta_is_judged_by_its_scope(name):
    for scope in ("critic", "generator"):
        with v1.variable_scope(scope):
            y = layer(placeholder(), center=False, scale=False)
    found = checked(minimize(y))  # trains the generator
    assert "generator/batch_normalization stay" in found.verdict
    assert name in " ".join(found.forgotten)


@pytest.mark.parametrize("fed", [True, False])
@pytest.mark.usefixtures("control_flow")
def test_training_as_a_placeholder(fed):
    training = v1.placeholder(tf.bool, ())
    y = layer(placeholder(), training=training)
    assert not audit(minimize(y)).run
    with tf.control_dependencies(collection()):
        train_op = minimize(y)
    found = audit(train_op)
    assert predicted(found) == {"batch_normalization/moving_mean", "batch_normalization/moving_variance"}
    assert moved(train_op, {training: fed}) == (predicted(found) if fed else set())
    assert "where `training` is fed True" in found.verdict
