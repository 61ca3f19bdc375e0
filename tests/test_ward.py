"""Each patient of the ward has the bug that the eleventh notebook finds in it, and no other."""

import bnlab.tensorflow_setup  # noqa: F401

# isort: split
import keras
import numpy as np
import pytest
import tensorflow as tf

from bnlab import data, moving_average, update_ops
from bnlab.batch_norm import batch_moments
from bnlab.ward import Ward

pytestmark = pytest.mark.filterwarnings("ignore:`tf.layers")

STEPS = 200
DIGITS = data.digits()
X = DIGITS.x_train.astype(float)
PICKS = np.random.default_rng(0).integers(0, len(X), (STEPS, 32))


def train(model, x, labels, steps=STEPS, *, training=True):
    loss_of = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    optimizer, trail = keras.optimizers.SGD(0.5), [model.get_weights()]

    @tf.function
    def step(x, labels):
        with tf.GradientTape() as tape:
            loss = loss_of(labels, model(x, training=training))
        optimizer.apply(tape.gradient(loss, model.trainable_variables), model.trainable_variables)

    for pick in PICKS[:steps]:
        step(x[pick], labels[pick])
        trail.append(model.get_weights())
    return trail


@pytest.fixture(scope="module", autouse=True)
def float64():
    before = keras.config.floatx(), keras.config.dtype_policy()
    keras.config.set_floatx("float64")
    keras.config.set_dtype_policy("float64")  # once another test has set one, floatx alone does not count
    yield
    keras.config.set_floatx(before[0])
    keras.config.set_dtype_policy(before[1])


@pytest.fixture(scope="module")
def trail():
    keras.utils.set_random_seed(0)
    norm = keras.layers.BatchNormalization(momentum=0.9)
    layers = [keras.layers.Input((64,)), keras.layers.Dense(32), norm, keras.layers.ReLU()]
    return train(keras.Sequential([*layers, keras.layers.Dense(10)]), X, DIGITS.y_train)


@pytest.fixture(scope="module")
def ward(trail):
    return Ward(train, trail, PICKS)


def collected():
    return tf.compat.v1.get_collection(tf.compat.v1.GraphKeys.UPDATE_OPS)


def test_a_ties_its_step_to_no_update_and_learns_all_the_same(ward, trail):
    a, mended = ward.a(), ward.graph(collected)
    audit = update_ops.audit(a.train_op)
    assert (len(audit.collected), audit.run, a.tied_to) == (2, (), [])
    assert np.array_equal(a.moving, [np.zeros(32), np.ones(32)])
    inference, in_training = a.accuracy
    assert in_training - inference > 0.2
    assert mended.accuracy[1] == in_training  # forgetting changes no weight
    # The same weights and the same batches as the healthy network: so the same memory.
    np.testing.assert_allclose(mended.moving, trail[STEPS][4:6], rtol=1e-5)


def test_what_a_graph_shows_is_of_the_mode_that_it_says(ward):
    a = ward.a()
    np.testing.assert_array_equal(a.hidden[0], a.hidden[1])
    # gamma cancels: in inference by the initial variance of 1, in training by that of the batch.
    ratio = a.normal[1].std(axis=0) / a.normal[0].std(axis=0)
    np.testing.assert_allclose(ratio, np.sqrt(1.001 / (a.hidden[0].var(axis=0) + 0.001)), rtol=1e-6)


def test_b_reads_the_collection_before_there_is_anything_in_it(ward):
    b = ward.b()
    assert (len(b.tied_to), len(b.collected)) == (0, 2)
    assert len(update_ops.audit(b.train_op).forgotten) == 2


def test_c_was_trained_on_negatives_without_the_flag(ward):
    model, trail = ward.c()
    assert len(trail) == STEPS + 1
    norm = model.layers[1]
    assert np.array_equal(norm.moving_mean, np.zeros(32))
    assert np.array_equal(norm.moving_variance, np.ones(32))
    model.set_weights(trail[0])
    expected = train(model, 1 - X, DIGITS.y_train, training=False)[-1]
    for mine, theirs in zip(trail[-1], expected, strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=1e-9, atol=1e-12)
    assert not np.array_equal(trail[0][0], trail[-1][0])


def test_d_remembers_200_steps_with_a_momentum_of_999(ward, trail):
    d = ward.d()
    assert d.layers[1].momentum == 0.999
    for mine, healthy in zip(
        [*d.get_weights()[:4], *d.get_weights()[6:]], [*trail[200][:4], *trail[200][6:]], strict=True
    ):
        np.testing.assert_array_equal(mine, healthy)
    batches = [batch_moments(X[pick] @ w[0] + w[1]) for pick, w in zip(PICKS, trail, strict=False)]
    means, variances = (np.array(moments) for moments in zip(*batches, strict=True))
    weights, left = moving_average.weights(0.999, STEPS), moving_average.initial_share(0.999, STEPS)
    np.testing.assert_allclose(d.layers[1].moving_mean, weights @ means, rtol=1e-12)
    np.testing.assert_allclose(d.layers[1].moving_variance, weights @ variances + left, rtol=1e-12)
    assert len(ward.slow_memories) == STEPS + 1
    np.testing.assert_array_equal(ward.slow_memories[0], [np.zeros(32), np.ones(32)])


def test_e_is_frozen_but_for_its_head(ward, trail):
    e = ward.e()
    assert [layer.trainable for layer in e.layers] == [False, False, True, True]
    assert all(map(np.array_equal, e.get_weights(), trail[200]))


def test_f_has_nan_in_its_memory_and_nowhere_else(ward):
    before = X.copy()
    finite = [np.isfinite(weight).all() for weight in ward.f().get_weights()]
    assert finite == [True, True, True, True, False, False, True, True]
    assert np.array_equal(ward.x_train, before)  # the bad batch was a copy


def test_g_serves_two_domains_with_one_norm(ward):
    g = ward.g(lambda x: 0.2 * x + 0.8)
    norms = [layer for layer in g.layers if isinstance(layer, keras.layers.BatchNormalization)]
    assert len(norms) == 1
    hidden = [view @ g.get_weights()[0] + g.get_weights()[1] for view in (X, 0.2 * X + 0.8)]
    mean, variance = batch_moments(np.concatenate(hidden))
    np.testing.assert_allclose(norms[0].moving_mean, mean, rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(norms[0].moving_variance, variance, rtol=1e-9)


def test_h_normalizes_the_rows_of_a_picture(ward):
    original, h = ward.h()
    assert (original.layers[2].axis, h.layers[2].axis) == (-1, 1)
    assert (original.layers[2].gamma.shape, h.layers[2].gamma.shape) == ((8,), (6,))
    assert original.layers[1].output.shape == h.layers[1].output.shape == (None, 6, 6, 8)
