"""What recalibrating must leave as it was, and does in every error."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from recalibrated import Subclassed, assert_fits, batches_of, by_hand, dense_model, statistics

from bnlab.checkup import recalibrate

NAN, INFINITY = np.full((4, 5), np.nan, "float32"), np.full((4, 5), np.inf, "float32")
GOOD = np.arange(20, dtype="float32").reshape(4, 5) % 7

layers = keras.layers


def state(model):
    """Return everything that recalibrating might change: values, flags and settings."""
    found = {id(v): v.numpy() for v in model.variables}
    if model.compiled:
        found |= {id(v): v.numpy() for v in model.optimizer.variables}
    flags = [(id(one), one.trainable, sorted(vars(one))) for one in model._flatten_layers()]
    momenta = [one.momentum for one in model._flatten_layers() if hasattr(one, "momentum")]
    return found, flags, momenta, tf.config.functions_run_eagerly()


def changed(before, after):
    """Return the ids of the variables that differ; all else must be equal."""
    assert before[1:] == after[1:]
    assert before[0].keys() == after[0].keys()
    return {key for key, value in before[0].items() if not np.array_equal(value, after[0][key])}


def moving(model):
    norms = [one for one in model._flatten_layers() if isinstance(one, layers.BatchNormalization)]
    return {id(variable) for one in norms for variable in (one.moving_mean, one.moving_variance)}


def fitted_model(rng):
    model = dense_model(momentum=0.9)
    model.compile(keras.optimizers.Adam(), "mse")
    model.fit(rng.normal(size=(32, 5)), rng.normal(size=(32, 3)), verbose=0)
    return model


def test_only_the_moving_statistics_change(rng):
    model, x = fitted_model(rng), rng.normal(4, 1, (100, 5)).astype("float32")
    before = state(model)
    recalibrate(model, [x])
    assert changed(before, state(model)) == moving(model)
    model.fit(rng.normal(size=(32, 5)), rng.normal(size=(32, 3)), verbose=0)  # and goes on training


@pytest.mark.parametrize("frozen", ["model", "bn"])
def test_frozen_layers_are_measured_too_and_stay_frozen(rng, frozen):
    model, x = fitted_model(rng), rng.normal(4, 1, (100, 5)).astype("float32")
    (model if frozen == "model" else model.get_layer("bn")).trainable = False
    before = state(model)
    recalibrate(model, batches_of(x))
    assert changed(before, state(model)) == moving(model)
    first, second = by_hand_frozen(model, batches_of(x))
    assert_fits(model.get_layer("bn"), first)
    assert_fits(model.get_layer("bn_2"), second)
    in_inference = model(x).numpy()
    assert np.array_equal(model(x, training=True), in_inference) == (frozen == "model")


def by_hand_frozen(model, batches):
    """Do as `by_hand`: freezing sorts the weights anew, so name them."""
    twin = dense_model()
    for mine, theirs in zip(model.layers, twin.layers, strict=True):
        theirs.set_weights([v.numpy() for v in _in_order(mine)])
    return by_hand(twin, batches)


def _in_order(layer):
    order = "kernel", "bias", "gamma", "beta", "moving_mean", "moving_variance"
    return sorted(layer.weights, key=lambda variable: order.index(variable.name))


def test_the_generator_may_use_the_model(rng):
    model, x = fitted_model(rng), rng.normal(4, 1, (100, 5)).astype("float32")
    before = model(x).numpy()

    def batches():
        for part in np.split(x, 4):
            assert np.array_equal(model(x), before)
            yield part

    recalibrate(model, batches())
    assert not np.allclose(model(x), before)


def failing(good, bad):
    yield good
    raise bad


@pytest.mark.parametrize(
    ("batches", "message"),
    [
        ([GOOD, NAN], r"batch 2 has NaN or infinity in it; expected finite values"),
        ([INFINITY], r"batch 1 has NaN or infinity"),
        ([GOOD, (NAN, None)], r"batch 2 has NaN or infinity"),
        ([GOOD, GOOD[:0]], r"batch 2 has shape \(0, 5\); expected at least one example"),
        ([], r"batches is empty; expected one batch or more"),
        (iter(()), r"batches is empty"),
        ([GOOD, GOOD[:, :4]], r"model '.*' cannot be called on batch 2 of shape \(4, 4\) \(ValueError: "),
        (GOOD, r"model '.*' cannot be called on batch 1 of shape \(5,\); batches is one array: should it"),
        (["four"], r"batch 1 has shape \(\); expected at least one example"),
        ([GOOD, 1e30 * GOOD], r"batch 2 gives layer 'bn' NaN, infinity or too large values in feature 0, 1"),
        ([GOOD[:1]], r"batches have one value a feature each for layer 'bn'"),
        ([GOOD[:1], GOOD[1:2]], r"batches have one value a feature each for layer 'bn'"),
    ],
)
def test_after_an_error_nothing_has_changed(rng, batches, message):
    model = fitted_model(rng)
    before = state(model)
    with pytest.raises(ValueError, match=f"^{message}") as caught:
        recalibrate(model, batches)
    assert "\n" not in str(caught.value)
    assert not changed(before, state(model))
    x = rng.normal(4, 1, (100, 5)).astype("float32")
    recalibrate(model, [x])
    assert changed(before, state(model)) == moving(model)


@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError("no disk"), ZeroDivisionError])
def test_an_error_of_the_batches_comes_through(rng, error):
    model = fitted_model(rng)
    before = state(model)
    with pytest.raises(error if isinstance(error, type) else type(error)):
        recalibrate(model, failing(GOOD, error))
    assert not changed(before, state(model))


class Failing(Subclassed):
    """Fails behind its first batch-norm layer, from the second batch on, as often as `fails` says."""

    def __init__(self, error):
        super().__init__()
        self.error, self.calls = error, 0

    def call(self, x):
        y = self.block(x)
        if len(x) == 3:
            raise self.error
        return y


@pytest.mark.parametrize("error", [RuntimeError("two\nlines"), AssertionError(), KeyboardInterrupt()])
def test_an_error_in_the_call_changes_nothing(rng, error):
    model, x = Failing(error), rng.normal(size=(8, 4)).astype("float32")
    model(x)
    before = state(model)
    expected = ValueError if isinstance(error, Exception) else KeyboardInterrupt
    with pytest.raises(expected) as caught:
        recalibrate(model, [x, x[:3]])
    assert not changed(before, state(model))
    if expected is ValueError:
        assert "cannot be called on batch 2 of shape (3, 4)" in str(caught.value)
        assert "\n" not in str(caught.value)


def test_nan_that_the_model_makes_is_named_by_its_layer(rng):
    model = fitted_model(rng)
    kernel = model.get_layer("second").kernel
    kernel.assign(np.where(np.arange(3) == 1, np.nan, kernel.numpy()))
    before = statistics(model.get_layer("bn"))
    with pytest.raises(ValueError, match=r"^batch 1 gives layer 'bn_2' NaN, .* in feature 1; expected"):
        recalibrate(model, [GOOD])
    assert all(map(np.array_equal, before, statistics(model.get_layer("bn"))))


def test_a_variance_that_float16_cannot_hold(rng):
    model = keras.Sequential([keras.Input((2,)), layers.BatchNormalization(dtype="float16", name="bn")])
    with pytest.raises(ValueError, match=r"^batch 1 gives layer 'bn' .*; expected .* float16 can hold$"):
        recalibrate(model, [1000 * rng.normal(size=(50, 2))])
    assert np.array_equal(statistics(model.layers[0]), [[0, 0], [1, 1]])


@pytest.mark.parametrize("model", [None, "model.keras", keras.layers.Dense])
def test_what_is_no_model_is_a_type_error(model):
    with pytest.raises(
        TypeError, match=r"^model is a .*; expected a Keras 3 or tf_keras model, or a SavedModel"
    ):
        recalibrate(model, [GOOD])


@pytest.mark.parametrize("batches", [None, 3, {"a": GOOD}, "batches"])
def test_batches_that_cannot_be_iterated_are_a_type_error(rng, batches):
    with pytest.raises(TypeError, match=r"^batches is a .*; expected an iterable of batches, such as \[x\]$"):
        recalibrate(fitted_model(rng), batches)


@pytest.mark.parametrize("build", [True, False])
def test_no_batch_norm_layer(build):
    model = keras.Sequential([layers.Dense(2), layers.LayerNormalization()], name="plain")
    if build:
        model.build((None, 5))
    with pytest.raises(ValueError, match=r"^model 'plain' has no batch-norm layer; expected"):
        recalibrate(model, [GOOD])


def test_a_layer_that_is_never_reached_is_left_and_none_reached_is_an_error():
    class Aside(Subclassed):
        def call(self, x):
            return self.dense(x)

    model = Aside()
    model(GOOD)
    with pytest.raises(ValueError, match="calls none of its batch-norm layers"):
        recalibrate(model, [GOOD])
