"""Batch norms with a `call` of their own are measured where Keras's takes the moments."""

import re

import keras
import numpy as np
import pytest
from patients import norm, problems, rows, settled

from bnlab.checkup import checkup, recalibrate

layers = keras.layers


class Scaled(layers.BatchNormalization):
    def call(self, inputs, training=None, mask=None):
        return super().call(inputs=2 * inputs + 1, training=training, mask=mask)


class Twofold(Scaled):
    def call(self, inputs, training=None, mask=None):
        return -super().call(inputs, training, mask)


class ByItself(layers.BatchNormalization):
    def call(self, inputs, training=None):
        if training:
            self.moving_mean.assign(0.9 * self.moving_mean + 0.1 * keras.ops.mean(inputs, axis=0))
        return inputs - self.moving_mean


def model_with(*inner, name="odd"):
    return keras.Sequential([keras.Input((8,)), layers.Dense(6), *inner, layers.Dense(2)], name=name)


@pytest.mark.parametrize("kind", [Scaled, Twofold])
def test_what_the_call_makes_of_its_input_is_what_is_measured(rng, kind):
    x = rows(rng)
    layer = kind(momentum=0.8, name="bn")
    model = settled(model_with(layer), x)
    assert checkup(model, x).healthy
    before = model(x).numpy()
    recalibrate(model, [x])
    seen = 2 * (x @ model.layers[0].kernel.numpy()) + 1
    np.testing.assert_allclose(layer.moving_mean, seen.mean(axis=0), atol=1e-4)
    np.testing.assert_allclose(layer.moving_variance, seen.var(axis=0), rtol=1e-4)
    np.testing.assert_allclose(model(x), before, atol=0.5)
    assert problems(model, 5 * x) == {"bn": ("not converged",)}


def test_one_that_normalizes_by_itself_is_named_and_left_alone(rng):
    x = rows(rng)
    own, usual = ByItself(name="own"), norm()
    model = settled(model_with(own, usual), x)
    found = checkup(model, x)
    assert [layer.name for layer in found.layers] == ["bn"]
    assert (found.not_called, found.by_themselves) == ((), ("own",))
    assert "Not looked at, as their own call normalizes: own." in re.sub(r"\s+", " ", str(found))
    kept = [weight.numpy() for weight in own.weights]
    recalibrate(model, [2 * x])
    assert all(map(np.array_equal, kept, (weight.numpy() for weight in own.weights)))
    assert checkup(model, 2 * x).healthy


def test_no_other_is_an_error(rng):
    x, model = rows(rng), model_with(ByItself(name="own"))
    for look in (lambda: checkup(model, x), lambda: recalibrate(model, [x])):
        with pytest.raises(
            ValueError, match=r"^layers own of model 'odd' normalize in a call of their own; exp"
        ):
            look()


@pytest.mark.parametrize("options", [{"renorm": True}, {"synchronized": True}])
def test_renorm_and_synchronized(rng, options):
    x = rows(rng)
    model = settled(model_with(norm(**options)), x, steps=60)
    assert checkup(model, x).healthy
    recalibrate(model, [3 * x])
    assert checkup(model, 3 * x).healthy
    assert problems(model, x) == {"bn": ("not converged",)}


def test_layers_of_one_name_are_told_apart_by_where_they_are(rng):
    def block(name):
        return keras.Sequential([layers.Dense(4), norm("bn"), layers.ReLU()], name=name)

    x = rows(rng)
    model = settled(model_with(block("encoder"), block("decoder"), norm("last")), x)
    model.get_layer("decoder").layers[1].moving_mean.assign([9] * 4)
    assert problems(model, x) == {"encoder/bn": (), "decoder/bn": ("not converged",), "last": ()}
    model.get_layer("encoder").layers[0].kernel.assign(np.full((6, 4), np.nan))
    with pytest.raises(ValueError, match=r"^batch 1 gives layer 'encoder/bn' NaN"):
        recalibrate(model, [x])
