"""Recalibrated statistics against NumPy, for each kind of model; and what must stay as it was."""

import bnlab.tensorflow_setup  # noqa: F401 - first, so that the v1 layers are there

# isort: split
import keras
import numpy as np
import pytest
import tensorflow as tf
import tf_keras

from bnlab.batch_norm import batch_moments, normalize
from bnlab.checkup import recalibrate

# Float32 activations of a few units, and float32 moving statistics.
FLOAT32 = 2e-5
# Float64 throughout, except for the root in Keras's factored form.
FLOAT64 = 1e-12
layers = keras.layers


@pytest.fixture
def rng():
    keras.utils.set_random_seed(3)
    return np.random.default_rng(3)


def batches_of(x, sizes=(40, 7, 1, 52)):
    return np.split(x, np.cumsum(sizes)[:-1])


def statistics(layer):
    return [layer.moving_mean.numpy(), layer.moving_variance.numpy()]


def assert_fits(layer, values, *, axis=-1, tolerance=FLOAT32):
    """Compare what the layer remembers with the moments of all the values that came in."""
    mean, variance = batch_moments(np.asarray(values, np.float64), axis=axis)
    scale = max(1, np.abs(mean).max(), variance.max())
    np.testing.assert_allclose(layer.moving_mean.numpy(), mean, rtol=0, atol=tolerance * scale)
    np.testing.assert_allclose(layer.moving_variance.numpy(), variance, rtol=0, atol=tolerance * scale)


def dense_model(**options):
    model = keras.Sequential(
        [
            keras.Input((5,)),
            layers.Dense(4, name="first"),
            layers.BatchNormalization(name="bn", **options),
            layers.ReLU(),
            layers.Dense(3, name="second"),
            layers.BatchNormalization(name="bn_2", **options),
        ]
    )
    stir(model)
    return model


def stir(model):
    """Give gammas, betas and moving statistics values that no formula mistakes for the initial ones."""
    rng = np.random.default_rng(1)
    for variable in model.weights:
        if variable.dtype != "string" and variable.name in ("gamma", "moving_variance"):
            variable.assign(rng.uniform(0.5, 2, variable.shape))
        elif variable.name in ("beta", "moving_mean"):
            variable.assign(rng.normal(size=variable.shape))


def by_hand(model, batches):
    """Return what comes into the two layers of `dense_model`, each batch normalized by itself."""
    w, b, gamma, beta, _, _, w2, b2, *_ = [w.astype(float) for w in model.get_weights()]
    first, second = [], []
    for batch in batches:
        hidden = batch.astype(float) @ w + b
        y = normalize(hidden, *batch_moments(hidden), gamma=gamma, beta=beta)
        first.append(hidden)
        second.append(np.maximum(y, 0) @ w2 + b2)
    return np.concatenate(first), np.concatenate(second)


# ---- kinds of models -------------------------------------------------------------------------


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


class Block(layers.Layer):
    def __init__(self):
        super().__init__()
        self.norm = [layers.BatchNormalization(name="in_a_list")]

    def call(self, x):
        return self.norm[0](x)


class Subclassed(keras.Model):
    """Takes no flag, says training=False to one of its layers, and has a layer for training only."""

    def __init__(self):
        super().__init__()
        self.block, self.own = Block(), layers.BatchNormalization(name="own")
        self.dense, self.head = layers.Dense(3), layers.BatchNormalization(name="head")

    def call(self, x, training=False):
        y = self.own(self.dense(self.block(x)), training=False)
        return self.head(y) if training else y


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


# ---- what batches may be ---------------------------------------------------------------------


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


# ---- what stays as it was --------------------------------------------------------------------


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


NAN, INFINITY = np.full((4, 5), np.nan, "float32"), np.full((4, 5), np.inf, "float32")
GOOD = np.arange(20, dtype="float32").reshape(4, 5) % 7


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
    with pytest.raises(ValueError, match=r"^batch 1 gives layer 'bn' .*; expected .* that float16 can hold|"):
        recalibrate(model, [1000 * rng.normal(size=(50, 2))])
    assert np.array_equal(statistics(model.layers[0]), [[0, 0], [1, 1]])


@pytest.mark.parametrize("model", [None, "model.keras", tf_keras.Sequential(), keras.layers.Dense])
def test_what_is_no_keras_3_model_is_a_type_error(model):
    with pytest.raises(TypeError, match=r"^model is a .*; expected a Keras 3 model$"):
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
