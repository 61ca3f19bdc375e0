"""What comes into a layer, in models of every kind and in all views."""

import re

import keras
import numpy as np
import pytest
from patients import Twice, dense_model, norm, problems, rows, settled

from bnlab.checkup import checkup, recalibrate

layers = keras.layers


def test_statistics_that_were_averaged_under_dropout_fit(rng):
    x = rows(rng)
    model = keras.Sequential([keras.Input((8,)), layers.Dropout(0.8), norm()])
    found = checkup(settled(model, x, batch_size=200), x, batch_size=200)
    assert found.healthy, str(found)
    recalibrate(model, [x])  # and so do those without it
    assert checkup(model, x).healthy


def test_statistics_behind_a_layer_that_was_frozen_fit(rng):
    model, x = dense_model(), rows(rng)
    first = model.get_layer("bn")
    first.moving_mean.assign(rng.normal(0, 9, 20))
    first.trainable = False
    settled(model, x)
    assert problems(model, x) == {"bn": ("frozen but stale",), "bn_2": ()}
    first.trainable = True
    assert problems(model, x) == {"bn": ("not converged",), "bn_2": ()}


def functional():
    first, second = keras.Input((8,), name="first"), keras.Input((4, 2), name="second")
    inner = keras.Sequential([keras.Input((8,)), layers.Dense(9), norm("inner", scale=False), layers.ReLU()])
    shared = norm("shared", center=False)
    y = layers.Add()([shared(inner(first)), shared(inner(layers.Flatten()(second)))])
    return keras.Model([first, second], layers.Dense(2)(y))


def test_functional_nested_shared_and_two_inputs(rng):
    x = [rows(rng), rows(rng).reshape(-1, 4, 2)]
    model = settled(functional(), x)
    found = checkup(model, x)
    assert [layer.name for layer in found.layers] == ["inner", "shared"]
    assert [layer.features for layer in found.layers] == [9, 9]
    assert found.healthy, str(found)
    assert checkup(model, {"first": x[0], "second": x[1]}).healthy


def test_subclassed_and_a_layer_for_training_only(rng):
    x = rows(rng)
    found = checkup(settled(Twice(), x), x)
    assert [layer.name for layer in found.layers] == ["bn", "aside"]
    assert found.healthy, str(found)


@pytest.mark.parametrize("dimensions", [2, 3, 4, 5])
@pytest.mark.parametrize("axis", [-1, 1])
def test_two_to_five_dimensions_and_channels_first(rng, dimensions, axis):
    x = rng.normal(2, 3, (200, *(6, 5, 4, 3)[: dimensions - 1])).astype("float32")
    model = keras.Sequential([keras.Input(x.shape[1:]), norm(axis=axis)])
    assert checkup(settled(model, x), x).healthy
    assert problems(model, 5 * x)["bn"] == ("not converged",)


@pytest.mark.parametrize("policy", ["float32", "mixed_float16", "mixed_bfloat16", "float16", "float64"])
def test_precision(rng, policy):
    x = rows(rng)
    keras.config.set_dtype_policy(policy)
    try:
        model = settled(dense_model(), x)
        fresh = dense_model()
    finally:
        keras.config.set_dtype_policy("float32")
    assert checkup(model, x).healthy
    assert set(problems(fresh, x).values()) == {("never updated",)}


def test_wrappers_renorm_steps_and_whole_numbers(rng):
    x = rng.integers(0, 9, (300, 5))
    model = keras.Sequential(
        [
            keras.Input((5,), dtype="int32"),
            layers.Embedding(9, 6),
            layers.TimeDistributed(keras.Sequential([layers.Dense(7), norm("steps")])),
            layers.Flatten(),
            norm("renorm", renorm=True),
            layers.Dense(2),
        ]
    )
    assert checkup(settled(model, x), x).healthy


def test_an_ill_layer_does_not_infect_the_next(rng):
    x = rows(rng)
    model = settled(dense_model(), x)
    model.get_layer("bn").moving_mean.assign_add(np.full(20, 50))
    assert problems(model, x) == {"bn": ("not converged",), "bn_2": ()}


def test_no_model_no_batch_norm_and_none_called(rng):
    with pytest.raises(TypeError, match=r"^model is a builtins.str; expected a Keras 3 model$"):
        checkup("model.keras", rows(rng))
    plain = keras.Sequential([keras.Input((8,)), layers.Dense(2)], name="plain")
    with pytest.raises(ValueError, match=r"^model 'plain' has no batch-norm layer"):
        checkup(plain, rows(rng))

    class Aside(Twice):
        def call(self, x):
            return self.dense(x)

    with pytest.raises(ValueError, match="calls none of its batch-norm layers on x; expected one or more"):
        checkup(Aside(), rows(rng))


def test_a_layer_that_is_not_called_is_named(rng):
    class Half(Twice):
        def call(self, x, training=None):
            return self.bn(x, training=training)

    found = checkup(settled(Half(), rows(rng)), rows(rng))
    assert [layer.name for layer in found.layers] == ["bn"]
    assert found.not_called == ("aside",)
    assert "Not called on these inputs: aside." in re.sub(r"\s+", " ", str(found))
