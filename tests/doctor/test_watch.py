"""What Watch notes and says while a model trains, and that the training is the same to the last bit."""

import random

import keras
import numpy as np
import pytest
import tensorflow as tf
from patients import norm

from bnlab.checkup import Watch

layers = keras.layers


def watched_fit(model, x, *, every=100, **options):
    """Fit without learning anything, so that only the moving statistics move."""
    model.compile(keras.optimizers.SGD(0.0), "mse")
    watch = Watch(x, every=every)
    y = np.zeros((len(x), 3), "float32")
    model.fit(x, y, verbose=0, callbacks=[watch], **options)
    return watch


def images():
    """A model that its first batch builds, with augmentation and dropout."""
    front = [layers.Reshape((4, 4, 1)), layers.RandomFlip(), layers.Conv2D(3, 3), norm(), layers.Dropout(0.3)]
    return keras.Sequential([*front, layers.Flatten(), layers.Dense(1, activity_regularizer="l2")])


def nested():
    inner = keras.Sequential([keras.Input((16,)), layers.Dense(6), norm("inner"), layers.ReLU()])
    x = keras.Input((16,))
    return keras.Model(x, layers.Dense(1)(norm("outer")(layers.GaussianNoise(0.5)(inner(x)))))


class Subclassed(keras.Model):
    """Has a layer that it never calls."""

    def __init__(self):
        super().__init__()
        self.dense, self.bn, self.dropout = layers.Dense(5), norm(), layers.Dropout(0.5)
        self.head, self.unused = layers.Dense(1), norm("unused")

    def call(self, x, training=None):
        return self.head(self.dropout(self.bn(self.dense(x), training=training), training=training))


class Adversarial(keras.Model):
    """Has a step of its own, with two optimizers and noise."""

    def __init__(self):
        super().__init__()
        self.maker = keras.Sequential([keras.Input((3,)), layers.Dense(16), norm("makes")])
        self.critic = keras.Sequential([keras.Input((16,)), layers.Dense(6), norm("judges"), layers.Dense(1)])
        self.seeds, self.other = keras.random.SeedGenerator(5), keras.optimizers.SGD(0.1)

    def call(self, x, training=None):
        return self.critic(x, training=training)

    def train_step(self, data):
        noise = keras.random.normal((8, 3), seed=self.seeds)
        with tf.GradientTape(persistent=True) as tape:
            made = self.critic(self.maker(noise, training=True), training=True)
            critic_loss = tf.reduce_mean(made) - tf.reduce_mean(self.critic(data[0], training=True))
            maker_loss = -tf.reduce_mean(made)
        pairs = (self.optimizer, self.critic, critic_loss), (self.other, self.maker, maker_loss)
        for optimizer, part, loss in pairs:
            optimizer.apply(tape.gradient(loss, part.trainable_variables), part.trainable_variables)
        return {"loss": critic_loss}


def stopping():
    return keras.callbacks.EarlyStopping("val_loss", patience=0, baseline=0.0, restore_best_weights=True)


TRAININGS = {  # model, what `compile` and `fit` are given, and further callbacks
    "augmented, validated, stopped early": (images, {}, {"epochs": 3, "validation_split": 0.25}, [stopping]),
    "by XLA, several steps an execution": (nested, {"jit_compile": True, "steps_per_execution": 3}, {}, []),
    "eager": (Subclassed, {"run_eagerly": True, "metrics": ["mae"]}, {"epochs": 2}, []),
    "a step of its own": (Adversarial, {}, {"epochs": 2}, []),
}


def trained(make, compiled, fitted, others, *, every=None):
    """Return everything that two trainings, one after the other, leave behind, watched or not."""
    keras.utils.set_random_seed(8)
    x, y = np.random.default_rng(0).normal(size=(2, 40, 16)).astype("float32")
    model = make()
    model.compile(**{"optimizer": keras.optimizers.Adam(0.01), "loss": "mse"} | compiled)
    callbacks = [other() for other in others] + ([Watch(x, every=every)] if every else [])
    options = {"batch_size": 8, "verbose": 0, "callbacks": callbacks} | fitted
    courses = [model.fit(x, y[:, :1], **options).history for _ in range(2)]
    optimizers = [getattr(model, name) for name in ("optimizer", "other") if hasattr(model, name)]
    variables = [
        *model.variables,
        *model.metrics_variables,
        *(v for one in optimizers for v in one.variables),
    ]
    draws = random.random(), np.random.random(), keras.random.uniform((3,)), tf.random.uniform((3,))
    return courses, list(map(keras.ops.convert_to_numpy, [*variables, *draws]))


@pytest.mark.parametrize("name", TRAININGS)
def test_a_training_is_the_same_to_the_last_bit(name):
    alone, watched = trained(*TRAININGS[name]), trained(*TRAININGS[name], every=2)
    assert len(alone[1]) > 12
    np.testing.assert_equal(watched, alone)
