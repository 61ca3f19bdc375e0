"""Keras's own BatchNormalization cases, run with BatchNorm in the place of its layer.

The cases are imported from the wheel, where `batch_normalization_test.py` lies beside the layer. `Twin` takes
the layer's place in that module: it hands each call to BatchNorm and to the real layer, and compares outputs
and stored statistics before it returns BatchNorm's. So a case has to hold for BatchNorm, call by call.
"""

import bnlab.tensorflow_setup  # noqa: F401 - first, so that Keras finds TensorFlow as it should be

# isort: split
import types
import unittest

import keras
import numpy as np
import pytest
import tensorflow as tf

from bnlab.batch_norm import BatchNorm

pytestmark = pytest.mark.outside

# In float64: some ten roundings of numbers below 60 that are magnified by less than 10: 60 * 100 * 2**-53.
TOLERANCE = 7e-13

RUN = {"test_correctness", "test_trainable_behavior", "test_masked_broadcast_normalization"}
LEFT_OUT = {
    "test_bn_basics": "is about the Layer class: counts of weights and losses, regularizers, saving",
    "test_input_fully_masked": "needs masks; BatchNorm has none, its batch is all rows there are",
    "test_bachnorm_ignore_masked_values": "needs masks",
    "test_large_value_within_autocast_scope": "is about Keras variables under autocasting",
    "test_renorm_basics": "needs batch renormalization, another algorithm (Ioffe 2017)",
    "test_renorm_invalid_clipping_keys": "needs batch renormalization",
    "test_renorm_stddev_initializer": "needs batch renormalization",
    "test_renorm_inference": "needs batch renormalization",
    "test_renorm_correctness": "needs batch renormalization",
    "test_serialization": "needs batch renormalization, and saving",
}


@pytest.fixture(scope="module")
def cases(request):
    # The module marks a case of its own, which --strict-markers has to know.
    request.config.addinivalue_line("markers", "requires_trainable_backend: a mark of Keras's cases")
    return pytest.importorskip(
        "keras.src.layers.normalization.batch_normalization_test",
        reason="this wheel of Keras comes without its tests",
    )


@pytest.fixture(scope="module")
def methods(cases):
    """Return the methods of each case, one for each set of its parameters."""
    found = {}
    for method in unittest.TestLoader().getTestCaseNames(cases.BatchNormalizationTest):
        found.setdefault(method.rstrip("0123456789"), []).append(method)
    return found


class Twin:
    """Keras's layer as far as the cases look at it: BatchNorm does the work, the real layer checks it."""

    calls = 0

    def __init__(self, axis=-1, momentum=0.99, epsilon=1e-3, **initializers):
        self.theirs = keras.layers.BatchNormalization(
            axis=axis, momentum=momentum, epsilon=epsilon, dtype="float64", **initializers
        )
        self.options = {"axis": axis, "momentum": momentum, "epsilon": epsilon, "dtype": "float64"}
        self.ours, self.trainable = None, True

    def build(self, shape):
        self.theirs.build(shape)
        self.ours = BatchNorm(shape[self.options["axis"]], **self.options)
        for name, value in zip(self.names, self.theirs.get_weights(), strict=True):
            setattr(self.ours, name, value)

    names = ("gamma", "beta", "moving_mean", "moving_variance")
    gamma, beta, moving_mean, moving_variance = (
        property(lambda self, name=name: getattr(self.ours, name)) for name in names
    )

    @property
    def trainable_weights(self):
        return [self.gamma, self.beta] if self.trainable else []

    @property
    def weights(self):
        return [getattr(self, name) for name in self.names]

    @property
    def non_trainable_weights(self):
        return self.weights[len(self.trainable_weights) :]

    def __call__(self, x, *, training, mask=None):
        assert mask is None or np.all(mask), "a mask that hides something is left out"
        x = np.asarray(x, "float64")
        if self.ours is None:
            self.build(x.shape)
        self.theirs.trainable = self.trainable
        expected = self.theirs(x, training=training)
        # Keras: trainable=False means inference.
        y = self.ours(x, training=training and self.trainable)
        np.testing.assert_allclose(y, expected, rtol=TOLERANCE, atol=TOLERANCE)
        for ours, theirs in zip(self.weights, self.theirs.get_weights(), strict=True):
            np.testing.assert_allclose(ours, theirs, rtol=TOLERANCE, atol=TOLERANCE)
        Twin.calls += 1
        return y


@pytest.fixture
def twin(monkeypatch, cases):
    layers = types.SimpleNamespace(BatchNormalization=Twin, Masking=keras.layers.Masking)
    monkeypatch.setattr(cases, "layers", layers)
    monkeypatch.setattr(Twin, "calls", 0)
    return Twin


def test_each_case_of_keras_is_run_or_left_out_for_a_reason(methods):
    assert set(methods) >= RUN
    assert set(methods) <= RUN | set(LEFT_OUT)  # an older Keras has fewer


@pytest.mark.parametrize("case", sorted(RUN))
def test_case_of_keras(twin, cases, methods, case):
    for method in methods[case]:
        before, result = twin.calls, unittest.TestResult()
        cases.BatchNormalizationTest(method).run(result)
        assert result.testsRun == 1
        for _, problem in result.errors + result.failures + result.skipped:
            pytest.fail(f"{method}: {problem}")
        assert twin.calls > before  # the case did look at BatchNorm


@pytest.mark.parametrize("training", [True, False], ids=["training", "inference"])
@pytest.mark.parametrize("axis", [-1, 1])
@pytest.mark.parametrize("shape", [(5, 2, 3), (5, 3, 3, 2), (2, 3), (2, 4, 4, 3)])
def test_gradients_at_the_shapes_of_keras(shape, axis, training):
    rng = np.random.default_rng(3)
    x, dy = rng.normal(5, 10, shape), rng.normal(size=shape)
    twin = Twin(axis=axis)
    twin.build(shape)
    gamma, beta = rng.uniform(0.5, 1.5, (2, shape[axis]))
    twin.ours.gamma, twin.ours.beta = gamma, beta
    twin.theirs.gamma.assign(gamma)
    twin.theirs.beta.assign(beta)
    source = tf.constant(x)
    with tf.GradientTape() as tape:
        tape.watch(source)
        y = twin.theirs(source, training=training)
    expected = tape.gradient(
        y, [source, twin.theirs.gamma, twin.theirs.beta], output_gradients=tf.constant(dy)
    )
    twin.ours(x, training=training)
    for ours, theirs in zip(twin.ours.backward(dy), expected, strict=True):
        # Sums of up to 45 products below 100.
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=10 * TOLERANCE)
