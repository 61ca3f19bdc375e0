"""Models that were trained well are healthy at any seed, and one wrong feature of many is enough."""

import keras
import numpy as np
import pytest
from patients import dense_model, norm, problems, rows, settled

from bnlab.checkup import checkup, recalibrate
from bnlab.data import digits

layers = keras.layers
DIGITS = digits()


def trained(inner, *, seed, shape, steps=5, **options):
    keras.utils.set_random_seed(seed)
    model = keras.Sequential([keras.Input(shape), *inner, layers.Dense(10)])
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.Adam(5e-3), loss)
    model.fit(DIGITS.x_train.reshape(-1, *shape), DIGITS.y_train, epochs=steps, verbose=0, **options)
    return model


@pytest.mark.parametrize("seed", range(3))
def test_trained_behind_dropout_is_healthy(seed):
    inner = [layers.Dropout(0.4), layers.Dense(32), norm(), layers.ReLU(), layers.Dropout(0.4)]
    model = trained([*inner, layers.Dense(24), norm("bn_2"), layers.ReLU()], seed=seed, shape=(64,))
    for x in (DIGITS.x_train[:100], DIGITS.x_train[::4], DIGITS.x_test[:200]):
        found = checkup(model, x)
        assert found.healthy, str(found)
    inverted = checkup(model, 1 - DIGITS.x_train[:100])
    assert inverted.layers[0].problems == ("not converged",)


@pytest.mark.parametrize("seed", range(2))
def test_trained_convolutions_are_healthy(seed):
    inner = [layers.Conv2D(8, 3, use_bias=False), norm(momentum=0.95), layers.ReLU(), layers.Conv2D(12, 3)]
    inner += [norm("bn_2", momentum=0.95), layers.ReLU(), layers.GlobalAveragePooling2D()]
    model = trained(inner, seed=seed, shape=(8, 8, 1), steps=4, batch_size=16)
    x = DIGITS.x_train.reshape(-1, 8, 8, 1)
    for part in (x[:100], x[200:500]):
        found = checkup(model, part)
        assert found.healthy, str(found)
        assert found.disagreement < 1


def test_data_that_are_standard_need_no_update(rng):
    model = keras.Sequential([keras.Input((6,)), norm()])
    assert checkup(model, rng.normal(size=(200, 6))).healthy
    assert problems(model, rng.normal(0.6, 1, (200, 6)))["bn"] == ("never updated",)


def test_features_that_hardly_ever_fire_are_not_called_dead(rng):
    x = np.where(rng.random((2000, 40)) < 0.01, rng.uniform(1, 3, (2000, 40)), 0).astype("float32")
    model = keras.Sequential([keras.Input((40,)), norm(momentum=0.99)])
    settled(model, x, steps=400)
    sample = x[:100]
    assert (sample.max(axis=0) == 0).any()
    assert checkup(model, sample).healthy


@pytest.mark.parametrize("which", ["moving_mean", "moving_variance"])
def test_one_feature_of_many_is_enough(rng, which):
    x = rows(rng)
    model = settled(dense_model(units=200), x)
    variable = getattr(model.get_layer("bn"), which)
    wrong = np.where(np.arange(200) == 7, 40 if which == "moving_mean" else 1e-4, variable.numpy())
    variable.assign(wrong)
    assert problems(model, x) == {"bn": ("not converged",), "bn_2": ()}


def test_recalibration_in_small_batches_and_in_depth(rng):
    deep = [keras.Input((8,))]
    for number in range(6):
        deep += [layers.Dense(16), norm(f"bn_{number}"), layers.ReLU(), layers.Dropout(0.3)]
    model, x = keras.Sequential([*deep, layers.Dense(2)]), rows(rng)
    assert set(problems(model, x).values()) == {("never updated",)}
    recalibrate(model, np.split(x, 25))
    found = checkup(model, x)
    assert found.healthy, str(found)


def test_gap_and_ratio_are_those_of_the_formula(rng):
    x = rows(rng, 64, 1)
    found = checkup(keras.Sequential([keras.Input((1,)), norm(epsilon=0.5)]), x).layers[0]
    assert found.mean_gap == pytest.approx(abs(x.mean()) / np.sqrt(x.var() + 0.5), rel=1e-5)
    assert found.variance_ratio == pytest.approx(1.5 / (x.var() + 0.5), rel=1e-5)
