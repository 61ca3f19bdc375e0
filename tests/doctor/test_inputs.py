"""What comes into a layer, in models of every kind and in all views."""

import re

import keras
import numpy as np
import pytest
from patients import Twice, dense_model, norm, problems, rows, settled

from bnlab.checkup import checkup, recalibrate
from bnlab.doctor.inputs import VIEWS, watched
from bnlab.doctor.models.keras_model import KerasModel
from bnlab.doctor.sample import sampled

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
    with pytest.raises(
        TypeError, match=r"^model is a builtins.str; expected a Keras 3 or tf_keras model, or a SavedModel"
    ):
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


class Recording(keras.Model):
    """Notes which batches it is called on, and in which mode."""

    def __init__(self):
        super().__init__()
        self.bn, self.calls = norm(dtype="float64", momentum=0.99), []

    def call(self, x, training=None):
        self.calls.append((len(x), bool(training)))
        return self.bn(x, training=training)


@pytest.mark.parametrize(
    ("batch_size", "lengths"),
    [(4, [4, 4, 2]), (3, [3, 3, 4]), (6, [6, 4]), (5, [5, 5]), (100, [10])],
)
def test_batches_are_of_the_size_asked_for(rng, batch_size, lengths):
    model, x = Recording(), rng.normal(size=(10, 3))
    model(x)
    model.calls.clear()
    assert checkup(model, x, batch_size=batch_size).batch_size == batch_size
    # In three views: training, without dropout, inference.
    assert model.calls == [(length, mode) for length in lengths for mode in (True, False, False)]


def test_a_tiny_batch_is_noticed_and_the_rest_measured_in_larger_ones(rng):
    model, x = Recording(), rng.normal(size=(70, 3))
    model(x)
    model.calls.clear()
    found = checkup(model, x, batch_size=1)
    assert [length for length, _ in model.calls] == [1] * 3 + [32] * 3 + [38] * 3
    assert found.batch_size == 1


def two_units(moving_mean, moving_variance, **options):
    inner = norm(dtype="float64", epsilon=0.5, momentum=0.9, **options)
    model = keras.Sequential([keras.Input((2,), dtype="float64"), inner])
    inner.moving_mean.assign(moving_mean)
    inner.moving_variance.assign(moving_variance)
    return model


X = np.array([[1.0, 2.0], [3.0, -1.0], [4.0, 0.5], [0.0, 7.0], [2.5, 2.5], [6.0, -3.0]])


def test_disagreement_by_hand():
    mean, variance = np.array([1.0, 2.0]), np.array([4.0, 0.25])
    gamma, beta = np.array([2.0, -1.0]), np.array([0.5, 3.0])
    model = two_units(mean, variance)
    model.layers[0].gamma.assign(gamma)
    model.layers[0].beta.assign(beta)
    mixed = X[[3, 2, 5, 4, 0, 1]]  # as every sample of six
    batches = [mixed[:4], mixed[4:]]
    training = np.concatenate([(b - b.mean(axis=0)) / np.sqrt(b.var(axis=0) + 0.5) for b in batches])
    training, inference = training * gamma + beta, (mixed - mean) / np.sqrt(variance + 0.5) * gamma + beta
    apart = np.sqrt(((training - inference) ** 2).sum() / ((training - training.mean(axis=0)) ** 2).sum())
    found = checkup(model, X, batch_size=4)
    assert found.disagreement == pytest.approx(apart, rel=1e-6)
    assert found.disagreement == pytest.approx(1.631163, abs=1e-6)


def test_disagreement_is_that_of_the_worst_output_and_0_for_constants():
    class Several(keras.Model):
        def __init__(self):
            super().__init__()
            self.bn = norm(dtype="float64")

        def call(self, x, training=None):
            y = self.bn(x, training=training)
            return {"constant": 0 * y, "same": x, "norm": y, "none": None}

    model = Several()
    model(X)
    alone = two_units([0, 0], [1, 1])
    alone.layers[0].epsilon = 1e-3
    assert checkup(model, X).disagreement == pytest.approx(checkup(alone, X).disagreement, rel=1e-9)
    assert checkup(model, X).disagreement > 0.5


def test_gap_and_ratio_by_hand():
    found = checkup(two_units([1.0, 2.0], [4.0, 0.25]), X, batch_size=6).layers[0]
    gaps = (np.array([1.0, 2.0]) - X.mean(axis=0)) / np.sqrt(X.var(axis=0) + 0.5)
    ratios = np.array([4.5, 0.75]) / (X.var(axis=0) + 0.5)
    np.testing.assert_allclose(found.gaps, gaps, rtol=1e-9)
    np.testing.assert_allclose(found.ratios, ratios, rtol=1e-9)
    low, high = sorted(abs(gaps))
    assert found.mean_gap == pytest.approx(0.1 * low + 0.9 * high, rel=1e-9)
    assert found.mean_gap == pytest.approx(0.779198, abs=1e-6)
    # Of two features, ordered by how far from 1, the ninth decile is the nearer one.
    assert found.variance_ratio == pytest.approx(min(ratios, key=lambda one: abs(np.log(one))), rel=1e-9)


@pytest.mark.parametrize("axis", [1, 2, 3, -1, -2, -3])
def test_an_axis_is_known_by_its_moments_where_all_are_of_one_length(rng, axis):
    x = rng.normal(size=(60, 4, 4, 4))
    x = x + 5 * np.moveaxis(np.arange(4.0).reshape(1, 1, 1, 4), -1, axis)
    model = keras.Sequential([keras.Input((4, 4, 4), dtype="float64"), norm(axis=axis, dtype="float64")])
    recalibrate(model, [x])
    kept = tuple({0, 1, 2, 3} - {axis % 4})
    np.testing.assert_allclose(model.layers[0].moving_mean, x.mean(axis=kept), rtol=1e-9)
    np.testing.assert_allclose(model.layers[0].moving_variance, x.var(axis=kept), rtol=1e-9)
    found = checkup(model, x).layers[0]
    np.testing.assert_allclose(found.gaps, 0, atol=1e-9)
    np.testing.assert_allclose(found.ratios, 1, atol=1e-9)


def test_masked_steps_do_not_count_by_either_name_of_the_last_axis(rng):
    x = rng.normal(4, 2, (80, 6, 3)).astype("float32")
    x[:, 4:] = 0
    for axis in (-1, 2):
        model = keras.Sequential([keras.Input((6, 3)), layers.Masking(), norm(axis=axis)])
        recalibrate(model, [x])
        found = checkup(model, x).layers[0]
        np.testing.assert_allclose(found.gaps, 0, atol=1e-5)
        np.testing.assert_allclose(model.layers[1].moving_mean, x[:, :4].mean(axis=(0, 1)), rtol=1e-5)
    wrong = keras.Sequential([keras.Input((6, 3)), layers.Masking(), norm(axis=1)])
    with pytest.raises(ValueError, match=r"axis is 1; expected the last axis of an input that has a mask"):
        checkup(wrong, x)


def test_what_is_seen_in_each_view(rng):
    """Dropout is on in the first, and in the last a layer meets what the one in front makes of its memory."""
    x = rng.normal(3, 1, (400, 2))
    inner = [layers.Dropout(0.5, dtype="float64"), norm("a", dtype="float64"), norm("b", dtype="float64")]
    model = keras.Sequential([keras.Input((2,), dtype="float64"), *inner])
    seen = watched(KerasModel(model, x), sampled(model, x), 200)
    first, second = (seen.model.norms[layer] for layer in model.layers[1:])
    variances = {view: seen.views[view][first][0].values.variance for view in VIEWS}
    np.testing.assert_allclose(variances["batch"], x.var(axis=0))
    np.testing.assert_allclose(variances["inference"], x.var(axis=0))
    assert (variances["training"] > 5).all()
    means = {view: seen.views[view][second][0].values.mean for view in VIEWS}
    np.testing.assert_allclose(means["batch"], 0, atol=1e-9)
    np.testing.assert_allclose(means["inference"], x.mean(axis=0) / np.sqrt(1.001), rtol=1e-6)
    assert seen.views["batch"][first][0].means.count == 400
    assert seen.views["batch"][first][0].largest == 200
