"""Models of tf_keras are judged and recalibrated like those of Keras 3, and left as they are."""

import threading

import numpy as np
import pytest
import tensorflow as tf
import tf_keras
from patients import problems, rows

from bnlab.batch_norm import batch_moments, normalize
from bnlab.checkup import checkup, recalibrate

layers = tf_keras.layers
FLOAT32 = 2e-5  # of float32 activations of a few units


@pytest.fixture(autouse=True)
def seeded():
    tf_keras.utils.set_random_seed(3)


def norm(name="bn", **options):
    return layers.BatchNormalization(**{"momentum": 0.8, "name": name} | options)


def settled(model, x, *, steps=25):
    rng = np.random.default_rng(1)
    for _ in range(steps):
        model(x[rng.permutation(len(x))[:32]], training=True)
    return model


def block(shape):
    """Layers for rows or pictures, with two norms."""
    if len(shape) == 1:
        return [layers.Dense(12), norm(), layers.ReLU(), layers.Dense(9), norm("bn_2"), layers.Dense(2)]
    middle = [norm(), layers.ReLU(), layers.DepthwiseConv2D(3), norm("bn_2")]
    return [layers.Conv2D(6, 3), *middle, layers.Flatten(), layers.Dense(2)]


class Subclassed(tf_keras.Model):
    def __init__(self, shape):
        super().__init__()
        self.parts = block(shape)

    def call(self, x, training=None):
        for part in self.parts:
            x = part(x, training=training) if "bn" in part.name else part(x)
        return x


def chained(shape):
    inputs = outputs = tf_keras.Input(shape)
    for part in block(shape):
        outputs = part(outputs)
    return tf_keras.Model(inputs, outputs)


def sequential(shape):
    return tf_keras.Sequential([tf_keras.Input(shape), *block(shape)])


def nested(shape):
    inputs = tf_keras.Input(shape)
    return tf_keras.Model(inputs, layers.Dense(1)(sequential(shape)(inputs)))


def not_built(shape):
    return tf_keras.Sequential(block(shape))


def inner(model, name):
    return next(layer for layer in model._flatten_layers() if layer.name == name)


@pytest.mark.parametrize(
    ("build", "shape"),
    [(sequential, (8,)), (chained, (6, 6, 3)), (nested, (8,)), (Subclassed, (6, 6, 3)), (not_built, (8,))],
)
def test_the_one_that_is_spoilt_is_named_and_mended(rng, build, shape):
    x = rng.normal(1, 2, (160, *shape)).astype("float32")
    model = build(shape)
    assert problems(model, x) == {"bn": ("never updated",), "bn_2": ("never updated",)}
    assert problems(settled(model, x), x) == {"bn": (), "bn_2": ()}
    inner(model, "bn").moving_mean.assign_add(np.full(inner(model, "bn").moving_mean.shape, 30))
    assert problems(model, x) == {"bn": ("not converged",), "bn_2": ()}
    recalibrate(model, [x[:80], x[80:]])
    assert problems(model, x) == {"bn": (), "bn_2": ()}


@pytest.mark.parametrize(
    ("axis", "options"),
    [
        (3, {}),
        (1, {}),
        (2, {}),
        ([3, 1], {}),
        (-1, {"fused": False}),
        (-1, {"synchronized": True}),
        (-1, {"renorm": True}),
        (-1, {"scale": False, "center": False, "dtype": "float64"}),
    ],
)
def test_what_is_measured_is_what_comes_in(rng, axis, options):
    x = rng.normal(0, 1, (40, 4, 3, 5)).astype("float32") + np.arange(60).reshape(4, 3, 5)
    layer = norm(axis=axis, fused=options.pop("fused", axis in (1, 3) or None), **options)
    model = tf_keras.Sequential([tf_keras.Input(x.shape[1:]), layer])
    recalibrate(model, [x[:12], x[12:]])
    kept = sorted(layer.axis)
    last = np.moveaxis(x, kept, range(-len(kept), 0)).astype(float)
    mean, variance = batch_moments(last.reshape(-1, np.prod(last.shape[-len(kept) :])))
    np.testing.assert_allclose(layer.moving_mean.numpy().ravel(), mean, rtol=FLOAT32)
    np.testing.assert_allclose(layer.moving_variance.numpy().ravel(), variance, rtol=1e-4)
    assert problems(model, x) == {"bn": ()}


def by_hand(model, batches):
    """Return what comes into the second norm, each batch normalized by itself."""
    w, b, gamma, beta, _, _, w2, b2, *_ = [part.astype(float) for part in model.get_weights()]
    hidden = [batch.astype(float) @ w + b for batch in batches]
    normal = [normalize(one, *batch_moments(one), gamma=gamma, beta=beta) for one in hidden]
    return np.concatenate([np.maximum(one, 0) @ w2 + b2 for one in normal])


def test_the_second_sees_each_batch_normalized_by_itself(rng):
    model, x = sequential((8,)), rows(rng)
    first, second = inner(model, "bn"), inner(model, "bn_2")
    first.gamma.assign(rng.uniform(0.5, 2, 12))
    first.beta.assign(rng.normal(size=12))
    parts = np.split(x, [50, 81])
    recalibrate(model, parts)
    mean, variance = batch_moments(by_hand(model, parts))
    np.testing.assert_allclose(second.moving_mean.numpy(), mean, atol=FLOAT32)
    np.testing.assert_allclose(second.moving_variance.numpy(), variance, rtol=1e-4)


@pytest.mark.parametrize("kind", [layers.BatchNormalization, tf.compat.v1.keras.layers.BatchNormalization])
def test_frozen_is_measured_too(rng, kind):
    model, x = tf_keras.Sequential([tf_keras.Input((8,)), kind(trainable=False, name="bn")]), rows(rng)
    assert problems(model, x) == {"bn": ("frozen but stale",)}
    recalibrate(model, [x])
    assert problems(model, x) == {"bn": ()}
    assert not model.layers[0].trainable


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16", "float64"])
def test_precision(rng, policy):
    x = rng.normal(1, 2, (100, 6, 6, 3)).astype("float32")
    tf_keras.mixed_precision.set_global_policy(policy)
    try:
        model = settled(sequential((6, 6, 3)), x)
    finally:
        tf_keras.mixed_precision.set_global_policy("float32")
    assert problems(model, x) == {"bn": (), "bn_2": ()}


def test_masked_steps_do_not_count(rng):
    model = tf_keras.Sequential([tf_keras.Input((6, 3)), layers.Masking(), norm()])
    x = rng.normal(4, 2, (30, 6, 3)).astype("float32")
    x[:, 4:] = 0
    x[10:20] = 0  # a batch in which nothing counts
    recalibrate(model, [x[:10], x[10:20], x[20:]])
    mean, _ = batch_moments(x[np.any(x, axis=-1)].astype(float))
    np.testing.assert_allclose(inner(model, "bn").moving_mean.numpy(), mean, rtol=FLOAT32)


class Own(layers.BatchNormalization):
    def call(self, inputs, training=None):
        return super().call(3 * inputs, training=training)


class Aside(layers.BatchNormalization):
    def call(self, inputs):
        return inputs - self.moving_mean


class Busy(tf_keras.Model):
    """Has whatever moves when a model is called, and an own kind of norm."""

    def __init__(self):
        super().__init__()
        self.bn, self.own = norm(), Own(name="own", momentum=0.8)
        self.drop, self.dense = layers.Dropout(0.3), layers.Dense(4, activity_regularizer="l2")
        self.calls = tf.Variable(0, trainable=False)
        self.generator = tf.random.Generator.from_seed(7)
        self.wait = lambda: None

    def call(self, x, training=None):
        self.wait()
        self.calls.assign_add(1)
        if tf.reduce_sum(x) > 1e9:  # as autograph has it
            x = -x
        y = self.own(self.dense(self.drop(self.inside(x, training), training=training)), training=training)
        self.add_metric(tf.reduce_mean(y), name="mean")
        self.add_loss(tf.reduce_mean(y))
        return y + 1e-3 * self.generator.normal([])

    @tf.function
    def inside(self, x, training):
        return self.bn(x, training=training)


def busy(rng):
    model, x = Busy(), rows(rng)
    settled(model, x)
    model.compile("adam", "mse")
    model.train_on_batch(x, np.ones((200, 4)))
    model(x[:5])  # leaves losses
    return model, x


def state(model):
    plain = [model.calls, model.generator.state, *model.optimizer.variables, *model.metrics[0].variables]
    seeds = [tf.random.get_global_generator().state]
    return (
        [one.numpy() for one in (*model.variables, *plain, *seeds)],
        [id(loss) for loss in model.losses],
        [(one.name, one.trainable, sorted(vars(one))) for one in model._flatten_layers()],
        tf.config.functions_run_eagerly(),
    )


def assert_same(before, after):
    assert all(map(np.array_equal, before[0], after[0]))
    assert before[1:] == after[1:]


def test_nothing_of_the_model_changes(rng):
    model, x = busy(rng)
    before = state(model)
    assert before[1]
    found = checkup(model, x)
    assert found.healthy, str(found)
    assert_same(before, state(model))
    assert str(checkup(model, x)) == str(found)
    with pytest.raises(ValueError, match=r"^model 'busy' cannot be called on x of shape \(32, 5\) \("):
        checkup(model, x[:, :5])
    assert_same(before, state(model))
    with pytest.raises(ValueError, match="batch 2 has NaN"):
        recalibrate(model, [x, np.full_like(x, np.nan)])
    assert_same(before, state(model))
    recalibrate(model, [x])
    changed = [
        one.name
        for one, old, new in zip(model.variables, before[0], state(model)[0], strict=False)
        if not np.array_equal(old, new)
    ]
    assert {name.split("/")[-1] for name in changed} == {"moving_mean:0", "moving_variance:0"}
    model.train_on_batch(x, np.ones((200, 4)))


def test_other_threads_call_the_model_as_it_is(rng):
    model, x = settled(Busy(), rows(rng)), rows(rng)
    entered, done, ours = threading.Event(), threading.Event(), threading.get_ident()

    def wait():
        if threading.get_ident() != ours:
            entered.set()
            assert done.wait(60)

    model.wait, found = wait, []
    plain = model.own(x[:, :4], training=True).numpy()
    moved = model.own.moving_mean.numpy()
    thread = threading.Thread(target=lambda: found.append(checkup(model, x)))
    thread.start()
    assert entered.wait(60)
    np.testing.assert_array_equal(model.own(x[:, :4], training=True), plain)
    assert not np.array_equal(model.own.moving_mean, moved)
    moved = model.own.moving_mean.numpy()
    done.set()
    thread.join()
    np.testing.assert_array_equal(model.own.moving_mean, moved)
    assert [layer.name for layer in found[0].layers] == ["bn", "own"]


def test_what_cannot_be_looked_at(rng):
    x = rows(rng)
    with pytest.raises(ValueError, match=r"^model 'plain' has no batch-norm layer; expected a tf_keras"):
        checkup(tf_keras.Sequential([layers.Dense(2)], name="plain"), x)

    class Lazy(Busy):
        def call(self, x, training=None):
            return self.own(x, training=training) if training else self.bn(x)

    model = Lazy()
    model(x)
    with pytest.raises(ValueError, match="it makes variables in its call; call it once on some inputs first"):
        checkup(model, x)
    assert not model.own.weights
    with pytest.raises(ValueError, match=r"axis is .1.; expected the last axis of an input that has a mask"):
        checkup(tf_keras.Sequential([layers.Masking(), norm(axis=1)]), x.reshape(-1, 4, 2))
