"""Every row of the illnesses: found, told, and gone after its line is followed."""

import re

import keras
import numpy as np
import pytest
from patients import Twice, dense_model, norm, problems, rows, settled

from bnlab.checkup import checkup, recalibrate

layers = keras.layers


def test_never_updated_and_not_built(rng):
    for model in (dense_model(), keras.Sequential([layers.Dense(9), norm(), layers.Dense(9), norm("bn_2")])):
        found = checkup(model, rows(rng))
        assert [layer.problems for layer in found.layers] == [("never updated",)] * 2
        assert not found.healthy
    assert checkup(Twice(), rows(rng)).layers[0].problems == ("never updated",)


def test_never_updated_from_initial_values_of_its_own(rng):
    initial = {
        "moving_mean_initializer": keras.initializers.Constant(0.5),
        "moving_variance_initializer": "zeros",
    }
    assert problems(dense_model(**initial), rows(rng))["bn"] == ("never updated",)


@pytest.mark.parametrize(("momentum", "steps"), [(0.99, 20), (0.99, 60), (0.999, 100)])
def test_not_converged_and_cured(rng, momentum, steps):
    x = 3 * rows(rng)
    model = settled(dense_model(momentum=momentum), x, steps=steps)
    found = checkup(model, x)
    assert [layer.problems for layer in found.layers] == [("not converged",)] * 2
    recalibrate(model, np.split(x, 5))
    after = checkup(model, x)
    assert after.healthy
    assert after.disagreement < found.disagreement


def test_one_bad_batch_is_not_finite_in_its_layers_only(rng):
    x = rows(rng)
    model = settled(dense_model(), x)
    mean = model.get_layer("bn").moving_mean
    mean.assign(np.where(np.arange(20) == 4, np.nan, mean.numpy()))
    found = checkup(model, x)
    assert [layer.problems for layer in found.layers] == [("not finite",), ()]
    assert found.disagreement == np.inf
    assert "recalibrate(model, batches)" in str(found)
    recalibrate(model, np.split(x, 4))
    assert checkup(model, x).healthy


def test_spoilt_weights_are_not_finite_and_not_curable(rng):
    x = rows(rng)
    model = settled(dense_model(), x)
    kernel = model.layers[0].kernel
    kernel.assign(np.where(np.arange(20) == 4, np.inf, kernel.numpy()))
    found = checkup(model, x)
    assert [layer.problems for layer in found.layers] == [("not finite",)] * 2
    assert "load_weights" in str(found)


def test_dead_features_are_named(rng):
    x = rows(rng)
    model = dense_model()
    kernel = model.layers[0].kernel
    kernel.assign(kernel.numpy() * (np.arange(20) != 4))
    settled(model, x, steps=50)
    found = checkup(model, x)
    assert found.layers[0].problems == ("dead feature",)
    assert found.layers[0].dead == (4,)
    assert found.layers[1].problems == ()
    assert "feature 4 of bn" in re.sub(r"\s+", " ", str(found))


def test_tiny_batch(rng):
    x = rows(rng, 64)
    model = settled(dense_model(), x)
    assert problems(model, x, batch_size=1) == {"bn": ("tiny batch",), "bn_2": ("tiny batch",)}
    pictures = rng.normal(size=(40, 4, 4, 3)).astype("float32")
    conv = settled(keras.Sequential([keras.Input((4, 4, 3)), layers.Conv2D(4, 2), norm()]), pictures)
    assert problems(conv, pictures, batch_size=1) == {"bn": ()}
    starved = settled(dense_model(), x, batch_size=1, steps=60)
    assert problems(starved, x, batch_size=1)["bn"] == ("tiny batch",)


def test_torch_momentum_is_told_with_the_number_to_write(rng):
    x = rows(rng)
    found = checkup(settled(dense_model(momentum=0.1), x), x)
    assert [layer.problems for layer in found.layers] == [("torch momentum",)] * 2
    assert "BatchNormalization(momentum=0.9)" in str(found)


@pytest.mark.parametrize("change", [lambda x: -x, lambda x: x + 6, lambda x: 5 * x])
def test_frozen_on_other_data(rng, change):
    x = rows(rng)
    model = settled(dense_model(), x)
    model.get_layer("bn").trainable = False
    assert checkup(model, x).healthy
    found = problems(model, change(x))
    assert found["bn"] == ("frozen but stale",)
    model.trainable = False
    recalibrate(model, np.split(change(x), 4))
    assert checkup(model, change(x)).healthy


def test_of_a_layer_frozen_from_the_start_nothing_else_is_said(rng):
    model = dense_model()
    model.trainable = False
    assert problems(model, rows(rng))["bn"] == ("frozen but stale",)


def test_a_shared_layer_on_two_domains(rng):
    one, two = keras.Input((8,)), keras.Input((8,))
    shared = norm("shared")
    model = keras.Model([one, two], layers.Add()([shared(one), shared(two)]))
    alike = [rows(rng), rows(rng)]
    assert checkup(settled(model, alike), alike).healthy
    apart = [rows(rng), 4 * rows(rng) + 10]
    found = checkup(settled(model, apart), apart)
    assert found.layers[0].problems == ("not one domain",)
    assert "give each a layer of its own" in re.sub(r"\s+", " ", str(found))
    recalibrate(model, [apart])
    assert not checkup(model, apart).healthy  # no one set of statistics fits both


def test_channels_first_axis_on_channels_last_data(rng):
    x = rng.normal(size=(100, 8, 8, 1)).astype("float32")
    model = keras.Sequential([keras.Input((8, 8, 1)), layers.Conv2D(16, 3), norm(axis=1)])
    found = checkup(settled(model, x), x)
    assert found.layers[0].problems == ("wrong axis",)
    assert not found.healthy
    assert "axis=-1" in str(found)
