"""A checkup changes nothing of a model, nor does an error in it."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from patients import norm, rows

from bnlab.checkup import checkup

layers = keras.layers


def state(model):
    values = [variable.numpy() for variable in [*model.variables, *model.optimizer.variables]]
    flags = [(one.name, one.trainable, sorted(vars(one))) for one in model._flatten_layers()]
    return values, flags, model.compiled, tf.config.functions_run_eagerly()


def fitted(rng):
    inner = [keras.Input((8,)), layers.Dropout(0.5), layers.Dense(6), norm(), layers.GaussianNoise(1.0)]
    model = keras.Sequential([*inner, norm("frozen"), layers.Dense(1, activity_regularizer="l2")])
    model.compile("adam", "mse")
    model.get_layer("frozen").trainable = False
    model.fit(rows(rng, 32), np.ones(32), verbose=0)
    return model


@pytest.fixture(scope="module")
def unharmed():
    return fitted(np.random.default_rng(4))


def test_nothing_of_the_model_changes(rng):
    model, x = fitted(rng), rows(rng, 70)
    before, given = state(model), x.copy()
    first = checkup(model, x)
    for old, new in zip(before[0], state(model)[0], strict=True):
        np.testing.assert_array_equal(old, new)
    assert before[1:] == state(model)[1:]
    np.testing.assert_array_equal(x, given)
    assert str(checkup(model, x)) == str(first)
    model.fit(x, np.ones(70), verbose=0)


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (
            lambda x: x[:, :5],
            ValueError,
            r"model '.*' cannot be called on x of shape \(32, 5\) \(ValueError: ",
        ),
        (lambda x: np.where(x > 3, np.nan, x), ValueError, "x has NaN or infinity in it; expected finite"),
        (lambda x: x[:0], ValueError, r"x has shape \(0, 8\); expected two examples or more"),
        (lambda x: x[:1], ValueError, "x has 1 example; expected two or more"),
        (lambda x: [x[:1], x[:2]], ValueError, "x is ragged"),
        (lambda x: {"a": x[:4], "b": x[:5]}, ValueError, "x has parts of 4, 5 examples; expected as many"),
        (lambda _: 3.0, TypeError, "x has a .* in it; expected an array with an example a row"),
        (lambda _: None, TypeError, "x is a .*NoneType; expected an array of inputs"),
        (lambda _: "x.npz", TypeError, "x is a builtins.str; expected an array of inputs"),
        (iter, TypeError, "x is a .*; expected an array of inputs"),
        (
            lambda x: tf.data.Dataset.from_tensor_slices(x),
            TypeError,
            "x is a .*; expected an array of inputs",
        ),
        (lambda x: x.astype(object), TypeError, "x has objects in it; expected numbers"),
    ],
)
def test_unusable_x_changes_nothing(rng, unharmed, make, error, message):
    model, before = unharmed, state(unharmed)
    with pytest.raises(error, match=f"^{message}") as caught:
        checkup(model, make(rows(rng, 70)))
    assert "\n" not in str(caught.value)
    assert "\x1b" not in str(caught.value)
    for old, new in zip(before[0], state(model)[0], strict=True):
        np.testing.assert_array_equal(old, new)
    assert before[1:] == state(model)[1:]


class Failing(keras.Model):
    """Fails in training mode, behind its batch norm."""

    def __init__(self):
        super().__init__()
        self.bn = norm()

    def call(self, x, training=None):
        y = self.bn(x, training=training)
        if training and len(x) == 6:
            raise KeyboardInterrupt
        return y


def test_an_error_in_the_call_changes_nothing(rng):
    model, x = Failing(), rows(rng, 38)
    model(x)
    model.compile("sgd", "mse")
    model.optimizer.build(model.trainable_variables)
    before = state(model)
    with pytest.raises(KeyboardInterrupt):
        checkup(model, x[:6])
    assert all(map(np.array_equal, before[0], state(model)[0]))
    assert before[1:] == state(model)[1:]
