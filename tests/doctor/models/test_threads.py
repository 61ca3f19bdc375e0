"""What other threads do with a model while this one looks at it."""

import threading

import keras
import numpy as np
import pytest
import tensorflow as tf
from patients import norm, rows, settled

from bnlab.checkup import checkup, recalibrate
from bnlab.doctor.models.this_thread import replaced

layers = keras.layers


class Traced(keras.Model):
    """Has a loss for each call, dropout, and a `tf.function` of its own around its batch norm."""

    def __init__(self):
        super().__init__()
        self.dense = layers.Dense(6, kernel_regularizer="l2", activity_regularizer="l2")
        self.drop, self.bn, self.head = layers.Dropout(0.3), norm(), layers.Dense(1)

    @tf.function
    def middle(self, x, training):
        return self.bn(self.drop(x, training=training), training=training)

    def call(self, x, training=False):
        return self.head(self.middle(self.dense(x), training))


def built(x):
    keras.utils.set_random_seed(1)
    model = Traced()
    model(x)
    model.compile("adam", "mse")
    return model


def fit(model, x):
    keras.utils.set_random_seed(5)
    model.fit(x, x.sum(axis=1), epochs=3, verbose=0)


def beside(work, look):
    """Do work in another thread, and look at least once meanwhile; return what the last look found."""
    other = threading.Thread(target=work)
    other.start()
    found = look()
    while other.is_alive():
        found = look()
    other.join()
    return found


def test_fit_learns_the_same_beside_checkups(rng):
    x = rows(rng, 300)
    alone, watched = built(x), built(x)
    fit(alone, x)
    beside(lambda: fit(watched, x), lambda: checkup(watched, x[:64]))
    for ours, theirs in zip(alone.get_weights(), watched.get_weights(), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    assert not tf.config.functions_run_eagerly()


def test_predict_answers_the_same_beside_checkups_and_recalibrating(rng):
    x = rows(rng, 300)
    model, answers = settled(built(x), x), []
    expected = model.predict(x, verbose=0)

    def work():
        answers.extend(model.predict(x, verbose=0) for _ in range(5))

    def look():
        checkup(model, x[:64])
        with pytest.raises(ValueError, match="batch 2 has NaN or infinity"):
            recalibrate(model, [x[:64], np.full((4, 8), np.nan)])

    beside(work, look)
    for answer in answers:
        np.testing.assert_array_equal(answer, expected)


def test_two_checkups_at_once_find_what_each_finds_alone(rng):
    x, found = rows(rng, 100), []
    one, two = built(x), settled(built(x), x)
    expected = str(checkup(one, x)), str(checkup(two, x))
    assert str(beside(lambda: found.append(str(checkup(two, x))), lambda: checkup(one, x))) == expected[0]
    assert found == [expected[1]]
    assert not tf.config.functions_run_eagerly()


class Greeter:
    def greet(self, name):
        return f"hello {name}"


def test_a_replaced_function_is_replaced_here_only_and_for_so_long_only():
    heard, greeter, original = [], Greeter(), vars(Greeter)["greet"]
    with replaced({(Greeter, "greet"): lambda greet, who, name: greet(who, name).upper()}):
        kept = greeter.greet
        assert kept("you") == "HELLO YOU"
        with replaced({(Greeter, "greet"): lambda _greet, _who, name: name}):
            assert greeter.greet("you") == "you"
        assert greeter.greet("you") == "HELLO YOU"
        other = threading.Thread(target=lambda: heard.append(greeter.greet("you")))
        other.start()
        other.join()
    assert heard == ["hello you"]
    assert kept("you") == "hello you"
    assert vars(Greeter)["greet"] is original
