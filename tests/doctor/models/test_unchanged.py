"""What Keras's own scope does not hold back: building, plain variables, losses, random numbers, marks."""

import random

import keras
import numpy as np
import pytest
import tensorflow as tf
from patients import norm, rows, settled

from bnlab.checkup import checkup, recalibrate

layers = keras.layers


class Busy(keras.Model):
    """Counts its calls in many ways, and has a layer that it never calls."""

    def __init__(self, *, fail=False):
        super().__init__()
        self.dense, self.bn = layers.Dense(4, activity_regularizer="l2"), norm()
        self.drop, self.never = layers.Dropout(0.5), norm("never")
        self.calls, self.many, self.held = tf.Variable(0), [tf.Variable(0)], {"a": tf.Variable([0.0])}
        self.module, self.generator = tf.Module(), tf.random.Generator.from_seed(1)
        self.module.count = tf.Variable(np.nan)
        self.seen, self.fail = keras.metrics.Mean(name="seen"), fail

    def build(self, _):
        self.count = self.add_weight(shape=(), dtype="int32", initializer="zeros", trainable=False)

    def call(self, x, training=False):
        self.count.assign_add(1)
        self.seen.update_state(x)
        for one in (self.calls, *self.many, *self.held.values()):
            one.assign_add(tf.ones_like(one))
        self.module.count.assign(3.0)
        noise = self.generator.normal(tf.shape(x)) + tf.random.normal(tf.shape(x)) * tf.random.normal(
            [8], seed=2
        )
        noise += tf.random.get_global_generator().normal([8]) + keras.random.normal([8])
        self.add_loss(tf.reduce_sum(noise))
        if self.fail and training:
            raise KeyboardInterrupt
        return self.bn(self.drop(self.dense(x + 0.01 * noise), training=training), training=training)


def state(model):
    plain = [model.calls, *model.many, *model.held.values(), model.module.count]
    generators = model.generator, tf.random.get_global_generator()
    values = [*model.variables, *model.seen.variables, *plain, *(one.state for one in generators)]
    losses = [np.asarray(one) for one in model.losses]
    marks = [(layer.name, layer._called, sorted(vars(layer))) for layer in model._flatten_layers()]
    return [np.asarray(value) for value in values] + losses, marks


def draws():
    """Return the next numbers of every global generator."""
    stream = tf.random.normal([3]), tf.random.normal([3], seed=2), keras.random.normal([3])
    return [np.asarray(one).tolist() for one in stream], np.random.random(), random.random()


def same(before, after):
    assert before[1] == after[1]
    for old, new in zip(before[0], after[0], strict=True):
        np.testing.assert_array_equal(old, new)


def test_nothing_changes_in_a_model_that_counts(rng):
    x, model = rows(rng, 70), Busy()
    model(x)
    before = state(model)
    checkup(model, x)
    same(before, state(model))
    with pytest.raises(ValueError, match="batch 2 has NaN"):
        recalibrate(model, [x, np.full((4, 8), np.nan)])
    same(before, state(model))
    recalibrate(model, [x])
    changed = {
        v.path for v, old in zip(model.variables, before[0], strict=False) if not np.array_equal(v, old)
    }
    assert changed == {model.bn.moving_mean.path, model.bn.moving_variance.path}


def test_nor_after_an_error(rng):
    x, model = rows(rng, 70), Busy(fail=True)
    model(x)
    before = state(model)
    with pytest.raises(KeyboardInterrupt):
        checkup(model, x)
    same(before, state(model))


def test_building_counts_nothing_and_gives_the_weights_their_first_values(rng):
    x, model = rows(rng, 70), Busy()
    checkup(model, x)
    values, _ = state(model)
    assert model.count.numpy() == model.calls.numpy() == model.seen.count.numpy() == 0
    assert model.drop.seed_generator.state.numpy()[1] == 0
    assert np.array_equal(model.bn.moving_variance, [1] * 4)
    assert not any(map(np.isnan, np.concatenate([np.ravel(one) for one in values[:9]])))
    assert model.losses == []
    model(x)
    assert model.count.numpy() == model.calls.numpy() == 1


def test_a_model_that_was_never_called_still_takes_new_call_arguments(rng):
    model = keras.Sequential([keras.Input((8,)), norm()])
    checkup(model, rows(rng, 40))
    model._register_call_context_args("phase")  # Keras refuses it once the model was called


@pytest.mark.parametrize("steps", [False, True])
def test_models_that_the_first_batch_builds(rng, steps):
    x = rows(rng, 48).reshape(-1, 2, 4) if steps else rows(rng, 48)
    inner = [layers.LSTM(3), norm()] if steps else [layers.Dense(3), norm(), layers.Dropout(0.5)]
    model = keras.Sequential([keras.Sequential(inner), layers.Dense(1)])
    found = checkup(model, x)
    assert [layer.problems for layer in found.layers] == [("never updated",)]
    kernel = next(weight for weight in model.weights if weight.name == "kernel").numpy()
    assert kernel.std() > 0.1
    assert str(checkup(model, x)) == str(found)


def test_what_can_be_built_only_by_changing_it_is_refused(rng):
    model = keras.Sequential([layers.LSTM(3, stateful=True), norm()], name="fresh")
    x = rows(rng, 70).reshape(-1, 2, 4)
    with pytest.raises(
        ValueError, match=r"^model 'fresh' makes variables .*; call it once on some inputs first$"
    ):
        checkup(model, x)
    model(x[:32])
    assert checkup(model, x).examples == 64


def test_the_random_numbers_that_follow_are_those_that_would_have(rng):
    x, model = rows(rng, 40), Busy()
    model(x)
    keras.utils.set_random_seed(4)
    draws()
    expected = draws()
    keras.utils.set_random_seed(4)
    draws()
    checkup(model, x)
    recalibrate(model, [x])
    assert draws() == expected


def test_variables_in_a_tuple_that_keras_tracks(rng):
    class Counting(keras.layers.Layer):
        def __init__(self):
            super().__init__()
            self.counters = (tf.Variable(1.0), [tf.Variable(2.0)])

        def call(self, x):
            self.counters[0].assign_add(1.0)
            return x

    model = keras.Sequential([keras.Input((8,)), Counting(), norm()])
    checkup(settled(model, rows(rng)), rows(rng))
    before = model.layers[0].counters[0].numpy()
    checkup(model, rows(rng))
    assert model.layers[0].counters[0].numpy() == before
