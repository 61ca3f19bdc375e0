"""What the exercises take for true of Keras and of v1 graphs is asked of them."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import bnlab.tensorflow_setup  # noqa: F401, the v1 layers
from bnlab.exercises import run_the_update_ops, set_the_training_flag, watch_a_moving_average_follow
from bnlab.judging import judge
from bnlab.update_ops import audit

v1 = tf.compat.v1


@pytest.mark.parametrize(
    ("momentum", "mistake"), [(0.997, None), (0.003, "the number copied"), (0.99, "the default")]
)
def test_a_keras_layer_is_judged_by_how_it_moves(momentum, mistake):
    layer = keras.layers.BatchNormalization(momentum=momentum)
    verdict = watch_a_moving_average_follow.follows_pytorch(layer)
    assert (verdict.right, verdict.mistake) == (mistake is None, mistake)
    assert not layer.built  # a copy was asked


def test_a_frozen_keras_layer_does_not_move():
    layer = keras.layers.BatchNormalization(momentum=0.997, trainable=False)
    assert watch_a_moving_average_follow.follows_pytorch(layer).mistake == "it does not move"


def test_the_four_calls_write_as_the_exercise_says():
    batch, truth = np.array([[1.0], [3.0]]), []
    calls = [
        lambda model: model.fit(batch, batch, verbose=0),
        lambda model: model.evaluate(batch, batch, verbose=0),
        lambda model: model(batch),
        lambda model: model(batch, training=True),
    ]
    for call in calls:
        model = keras.Sequential([keras.layers.BatchNormalization()])
        model.compile("sgd", "mse", run_eagerly=True)
        call(model)
        truth.append(bool(model.layers[0].moving_mean.numpy().any()))
    assert set_the_training_flag.writers(truth).right


def runs(tie):
    """Say whether the updates run with the train step when they are tied to this."""
    with tf.Graph().as_default():
        y = v1.layers.batch_normalization(v1.placeholder(tf.float32, (None, 3)), training=True)
        updates = v1.get_collection(v1.GraphKeys.UPDATE_OPS)

        def after_updates(tensor, name):
            if name != tie:
                return tensor
            with tf.control_dependencies(updates):
                return tf.identity(tensor)

        y = after_updates(y, "output")
        loss = after_updates(tf.reduce_mean(y**2), "loss")
        optimizer = v1.train.GradientDescentOptimizer(0.1)
        pairs = [
            (after_updates(slope, "gradients"), weight) for slope, weight in optimizer.compute_gradients(loss)
        ]
        with tf.control_dependencies(updates if tie == "step" else []):
            step = optimizer.apply_gradients(pairs)
        return not audit(step).forgotten


def test_the_four_ties_work_as_the_exercise_says():
    answer = [runs(tie) for tie in ("loss", "output", "gradients", "step")]
    assert run_the_update_ops.where_to_tie(answer).right


def test_one_statistic_moved_by_hand_is_not_both():
    def build(count):
        y = v1.layers.batch_normalization(v1.placeholder(tf.float32, (None, 3)), training=False)
        moving = [variable for variable in v1.global_variables() if "moving_" in variable.name]
        moves = [v1.assign(variable, variable + 0.5) for variable in moving[:count]]
        return [v1.train.GradientDescentOptimizer(0.1).minimize(tf.reduce_mean(y**2)), moves]

    assert run_the_update_ops.mended_step(lambda: build(1)).mistake == "nothing collected"
    assert run_the_update_ops.mended_step(lambda: build(2)).right


def test_an_exception_in_a_layer_is_not_laid_at_a_line_of_keras():
    verdict = judge(keras.layers.Dense(2), truth=lambda inputs: inputs, mistakes={}, inputs=[(np.ones(3),)])
    assert verdict.mistake == "an exception"
    assert "of your code" not in str(verdict)
