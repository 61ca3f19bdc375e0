"""Recalibrated statistics against NumPy, for each kind of model and of batches."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from recalibrated import FLOAT64, Subclassed, assert_fits, batches_of, by_hand, dense_model, statistics

from bnlab.batch_norm import batch_moments, normalize
from bnlab.checkup import recalibrate

layers = keras.layers


def test_stacked_layers_see_their_batch_normalized_by_itself(rng):
    model, x = dense_model(), rng.normal(2, 3, (100, 5)).astype("float32")
    assert recalibrate(model, batches_of(x)) is None
    first, second = by_hand(model, batches_of(x))
    assert_fits(model.get_layer("bn"), first)
    assert_fits(model.get_layer("bn_2"), second)


def test_float64_is_exact_to_rounding(rng):
    keras.config.set_floatx("float64")  # of inputs; the policy is that of layers
    keras.config.set_dtype_policy("float64")
    try:
        model, x = dense_model(), rng.normal(2, 3, (100, 5))
    finally:
        keras.config.set_floatx("float32")
        keras.config.set_dtype_policy("float32")
    recalibrate(model, batches_of(x))
    first, second = by_hand(model, batches_of(x))
    assert_fits(model.get_layer("bn"), first, tolerance=FLOAT64)
    assert_fits(model.get_layer("bn_2"), second, tolerance=FLOAT64)


def test_one_batch_makes_inference_equal_to_training(rng):
    model, x = dense_model(), rng.normal(2, 3, (100, 5)).astype("float32")
    in_training = keras.models.clone_model(model)
    in_training.set_weights(model.get_weights())
    recalibrate(model, [x])
    np.testing.assert_allclose(model(x), in_training(x, training=True), atol=1e-4)


def test_functional_nested_and_shared(rng):
    shared = layers.BatchNormalization(name="shared")
    inner_in = keras.Input((4,))
    inner = keras.Model(inner_in, shared(layers.Dense(3, name="inside")(inner_in)), name="inner")
    a, b = keras.Input((4,), name="a"), keras.Input((3,), name="b")
    model = keras.Model([a, b], inner(a) * shared(b))
    one = rng.normal(1, 2, (30, 4)).astype("float32")
    two = rng.normal(-5, 1, (30, 3)).astype("float32")
    recalibrate(model, [[one[:10], two[:10]], [one[10:], two[10:]]])
    assert_fits(shared, np.concatenate([inner.get_layer("inside")(one), two]))
    measured = statistics(shared)
    shared.moving_mean.assign(np.zeros(3))
    recalibrate(model, iter([{"a": one, "b": two}]))
    np.testing.assert_allclose(statistics(shared), measured, atol=1e-4)


def test_subclassed_model_and_layer(rng):
    model, x = Subclassed(), rng.normal(3, 2, (60, 4)).astype("float32")
    model(x, training=True)
    kept = statistics(model.head)
    recalibrate(model, (x[:20], x[20:]))
    assert_fits(model.block.norm[0], x)
    normal = [normalize(part, *batch_moments(part)) for part in (x[:20], x[20:])]
    assert_fits(model.own, np.concatenate([model.dense(part) for part in normal]))
    assert all(map(np.array_equal, kept, statistics(model.head)))


def test_a_model_without_weights_is_built_by_the_first_batch(rng):
    x = rng.normal(3, 2, (60, 4)).astype("float32")
    sequential = keras.Sequential([layers.BatchNormalization(name="bn"), layers.Dense(2)])
    recalibrate(sequential, [x[:30], x[30:]])
    assert_fits(sequential.get_layer("bn"), x)
    subclassed = Subclassed()
    recalibrate(subclassed, [x])
    assert_fits(subclassed.block.norm[0], x)


def test_a_layer_by_itself(rng):
    layer, x = layers.BatchNormalization(), rng.normal(3, 2, (60, 4)).astype("float32")
    recalibrate(layer, [x[:1], x[1:]])
    assert_fits(layer, x)


class Compiled(Subclassed):
    @tf.function
    def call(self, x, training=False):
        return super().call(x, training)


def test_a_call_that_was_traced_before(rng):
    model, x = Compiled(), rng.normal(3, 2, (60, 4)).astype("float32")
    model(x)
    assert not tf.config.functions_run_eagerly()
    recalibrate(model, [x])
    assert_fits(model.block.norm[0], x)
    assert not tf.config.functions_run_eagerly()


@pytest.mark.parametrize("dimensions", [2, 3, 4, 5])
@pytest.mark.parametrize("axis", [-1, 1])
def test_two_to_five_dimensions_and_channels_first(rng, dimensions, axis):
    x = rng.normal(2, 3, (24, *(6, 5, 4, 3)[: dimensions - 1])).astype("float32")
    x += np.arange(x.shape[axis]).reshape([-1 if i == axis % dimensions else 1 for i in range(dimensions)])
    model = keras.Sequential([keras.Input(x.shape[1:]), layers.BatchNormalization(axis=axis)])
    recalibrate(model, np.split(x, [3, 10]))
    assert_fits(model.layers[0], x, axis=axis)


def test_convolutions_pictures_and_steps(rng):
    model = keras.Sequential([keras.Input((8, 8, 2)), layers.Conv2D(3, 3), layers.BatchNormalization()])
    x = rng.normal(2, 3, (20, 8, 8, 2)).astype("float32")
    recalibrate(model, [x[:12], x[12:]])
    assert_fits(model.layers[1], model.layers[0](x))
    inner = layers.BatchNormalization()
    steps = keras.Sequential([keras.Input((7, 4)), layers.TimeDistributed(inner)])
    x = rng.normal(2, 3, (20, 7, 4)).astype("float32")
    recalibrate(steps, [x[:12], x[12:]])
    assert_fits(inner, x)


def test_masked_steps_do_not_count(rng):
    layer = layers.BatchNormalization()
    model = keras.Sequential([keras.Input((6, 3)), layers.Masking(), layer])
    x = rng.normal(4, 2, (30, 6, 3)).astype("float32")
    x[:, 4:] = 0
    x[10:20] = 0  # a batch in which nothing counts
    recalibrate(model, [x[:10], x[10:20], x[20:]])
    assert_fits(layer, x[np.any(x, axis=-1)])


def test_sparse_batches(rng):
    x = rng.normal(2, 3, (60, 4)).astype("float32")
    inputs, layer = keras.Input((4,), sparse=True), layers.BatchNormalization()
    dense = layers.Dense(3)
    recalibrate(keras.Model(inputs, layer(dense(inputs))), [tf.sparse.from_dense(x)])
    assert_fits(layer, dense(x))


def test_dropout_is_off_and_its_generator_stays(rng):
    layer, dropout = layers.BatchNormalization(), layers.Dropout(0.5, seed=1)
    model = keras.Sequential([keras.Input((4,)), dropout, layer])
    before = dropout.seed_generator.state.numpy()
    x = rng.normal(2, 3, (50, 4)).astype("float32")
    recalibrate(model, [x])
    assert_fits(layer, x)
    assert np.array_equal(dropout.seed_generator.state.numpy(), before)


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
def test_mixed_precision(rng, policy):
    layer = layers.BatchNormalization(dtype=policy)
    model = keras.Sequential([keras.Input((4,)), layer])
    x = rng.normal(300, 3, (50, 4)).astype("float32")
    recalibrate(model, [x[:20], x[20:]])
    assert_fits(layer, tf.cast(tf.cast(x, policy[6:]), tf.float64))


def test_renorm_starts_its_next_update_from_the_new_statistics(rng):
    layer = layers.BatchNormalization(renorm=True, momentum=1.0)
    model = keras.Sequential([keras.Input((4,)), layer])
    x = rng.normal(3, 2, (50, 4)).astype("float32")
    recalibrate(model, [x])
    model(x, training=True)
    assert_fits(layer, x)


class OnePass:
    """Batches that can be read once, and count how often they were."""

    def __init__(self, batches):
        self.batches, self.started = batches, 0

    def __iter__(self):
        self.started += 1
        assert self.started == 1
        return iter(self.batches)


def test_one_pass_over_any_iterable(rng):
    x = rng.normal(2, 3, (100, 5)).astype("float32")
    parts = batches_of(x)
    dataset = tf.data.Dataset.from_tensor_slices((x, np.zeros(100))).batch(25)
    quarters = np.split(x, 4)
    for batches, same in (
        (OnePass(parts), parts),
        ((part for part in parts), parts),
        ([(part, "labels") for part in parts], parts),
        ([tf.constant(part) for part in parts], parts),
        (dataset, quarters),
        (np.stack(quarters), quarters),
    ):
        model = dense_model()
        recalibrate(model, batches)
        first, second = by_hand(model, same)
        assert_fits(model.get_layer("bn"), first)
        assert_fits(model.get_layer("bn_2"), second)


def test_the_order_of_the_batches_does_not_matter(rng):
    x = rng.normal(2, 3, (100, 5)).astype("float32")
    there, back = dense_model(), dense_model()
    back.set_weights(there.get_weights())
    recalibrate(there, batches_of(x))
    recalibrate(back, batches_of(x)[::-1])
    for a, b in zip(there.get_weights(), back.get_weights(), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-6)


def test_many_batches_of_one_for_a_single_layer(rng):
    layer = layers.BatchNormalization()
    model = keras.Sequential([keras.Input((2,)), layer])
    x = rng.normal(2, 3, (200, 2)).astype("float32")
    recalibrate(model, (row[np.newaxis] for row in x))
    assert_fits(layer, x)
