"""Published numbers, recomputed by NumPy alone and by TensorFlow's real v1 layer.

The first is the post "tensorflow の batch normalize に関して" (ie_test, 2018): two neurons learn
x**3 + 1, and the post prints everything before its tenth step. The second is a Dense layer, batch
norm and a leaky ReLU that see identical rows, with what inference gives after N steps.
"""

import bnlab.tensorflow_setup  # noqa: F401 - first, so that the v1 layers are there

# isort: split
import numpy as np
import pytest
import tensorflow as tf

from bnlab.batch_norm import BatchNorm, batch_moments, normalize
from bnlab.data import cubic_batches
from bnlab.moving_average import trace

v1 = tf.compat.v1
pytestmark = pytest.mark.filterwarnings("ignore:.tf.layers.*deprecated:UserWarning")

PRINTED = {
    "x": [0.6108869734438016, 0.9130110532378982, 0.9666063677707588],
    "w": 0.9991983,
    "b": 1.0,
    "gamma": 0.9833956,
    "beta": 0.12067804,
    "w2": 1.2562904,
    "b2": 1.5393883,
    "moving_mean": 0.9730693,
    "moving_variance": 0.41279468,
    "hidden": [1.6103973, 1.9122791, 1.9658315],
    "bn": [1.0949917, 1.5564928, 1.638361],
}
WEIGHTS = "w", "b", "gamma", "beta", "w2", "b2"
# The numbers were printed in float32, with up to eight digits, by another version of TensorFlow.
AS_PRINTED = 1e-6
FOUR_DECIMALS = 0.5e-4


def _sigmoid(x):
    return 1 / (1 + np.exp(-x))


def _run_numpy(*, training=True, updates=1, dtype="float64"):
    """Run nine steps of the post's program; return what it prints next and all hidden batches."""
    w, b, w2, b2 = np.ones((4, 1), dtype)
    layer = BatchNorm(1, momentum=0.9, dtype=dtype)
    hidden_batches = []
    for step, (x, target) in enumerate(cubic_batches(10)):
        x, target = x.astype(dtype), target.astype(dtype)
        hidden = x * w + b
        hidden_batches.append(hidden)
        if step == 9:
            break
        for _ in range(updates):
            bn = layer(hidden, training=training)
        activation = _sigmoid(bn)
        f = _sigmoid(activation * w2 + b2)
        df = np.sign(f - target) / f.size  # the loss is mean(abs(target - f))
        dlogit = df * f * (1 - f)
        dhidden, dgamma, dbeta = layer.backward(dlogit * w2 * activation * (1 - activation))
        w, b = w - 0.5 * np.sum(dhidden * x), b - 0.5 * np.sum(dhidden)
        w2, b2 = w2 - 0.5 * np.sum(dlogit * activation), b2 - 0.5 * np.sum(dlogit)
        layer.gamma, layer.beta = layer.gamma - 0.5 * dgamma, layer.beta - 0.5 * dbeta
    bn = layer(hidden, training=False)
    printed = {"x": x, "w": w, "b": b, "w2": w2, "b2": b2, "hidden": hidden, "bn": bn}
    for name in ("gamma", "beta", "moving_mean", "moving_variance"):
        printed[name] = getattr(layer, name)
    return printed, hidden_batches


def _run_tensorflow(*, training=True, tied=True):
    """Run nine steps of the post's program with the v1 layer and return what it prints next."""
    with tf.Graph().as_default(), v1.Session() as session:
        x, target = (v1.placeholder(tf.float32, (None, 1)) for _ in range(2))
        is_training = v1.placeholder_with_default(False, ())
        w, b = v1.Variable(tf.ones([1, 1])), v1.Variable(tf.ones([1]))
        hidden = tf.matmul(x, w) + b
        bn = v1.layers.batch_normalization(hidden, training=is_training, momentum=0.9)
        gamma, beta, moving_mean, moving_variance = v1.global_variables()[2:]
        w2, b2 = v1.Variable(tf.ones([1, 1])), v1.Variable(tf.ones([1]))
        f = tf.sigmoid(tf.matmul(tf.sigmoid(bn), w2) + b2)
        loss = tf.reduce_mean(tf.abs(target - f))
        updates = v1.get_collection(v1.GraphKeys.UPDATE_OPS)
        assert len(updates) == 2
        with tf.control_dependencies(updates if tied else []):
            train = v1.train.GradientDescentOptimizer(0.5).minimize(loss)
        # The post fetches the updates as well as tying them.
        fetched = [train, updates] if tied else train
        printed = {"x": x, "w": w, "b": b, "w2": w2, "b2": b2, "hidden": hidden, "bn": bn}
        printed |= {"gamma": gamma, "beta": beta}
        printed |= {"moving_mean": moving_mean, "moving_variance": moving_variance}
        session.run(v1.global_variables_initializer())
        *steps, last = cubic_batches(10)
        for values, targets in steps:
            session.run(fetched, {x: values, target: targets, is_training: training})
        return session.run(printed, {x: last[0]})


RUNS = pytest.mark.parametrize(
    "run",
    [
        lambda **options: _run_numpy(**options)[0],
        lambda **options: _run_numpy(dtype="float32", **options)[0],
        _run_tensorflow,
    ],
    ids=["NumPy float64", "NumPy float32", "TensorFlow"],
)


def _assert_close(result, expected, tolerance):
    for name, value in expected.items():
        ours = np.ravel(result[name])
        np.testing.assert_allclose(ours, np.ravel(value), rtol=0, atol=tolerance, err_msg=name)


@RUNS
def test_the_numbers_printed_before_the_tenth_step(run):
    _assert_close(run(), PRINTED, AS_PRINTED)


def test_the_open_task_moving_mean_is_the_moving_average_of_the_batch_means():
    _, (*batches, _) = _run_numpy()
    means, variances = zip(*(batch_moments(hidden) for hidden in batches), strict=True)
    averages = {
        "moving_mean": trace(means, momentum=0.9)[-1],
        "moving_variance": trace(variances, momentum=0.9, initial=1)[-1],
    }
    _assert_close(averages, {name: PRINTED[name] for name in averages}, AS_PRINTED)


def test_bessels_correction_would_miss_the_moving_variance():
    _, (*batches, _) = _run_numpy()
    unbiased = [np.var(hidden, axis=0, ddof=1) for hidden in batches]
    stored = trace(unbiased, momentum=0.9, initial=1)[-1]
    # Nothing is left to doubt: n / (n - 1) is 1.5 for a batch of three.
    assert stored - PRINTED["moving_variance"] == pytest.approx(1.3e-2, rel=0, abs=0.05e-2)


def test_the_closing_formula_of_the_post_has_another_epsilon():
    arguments = [np.ravel(PRINTED[name]) for name in ("moving_mean", "moving_variance")]
    options = {name: np.ravel(PRINTED[name]) for name in ("gamma", "beta")}
    hidden = np.reshape(PRINTED["hidden"], (3, 1))
    as_run = normalize(hidden, *arguments, **options, epsilon=1e-3)
    as_written = normalize(hidden, *arguments, **options, epsilon=1e-5)
    _assert_close({"bn": as_run}, {"bn": PRINTED["bn"]}, AS_PRINTED)
    _assert_close({"bn": as_written}, {"bn": [1.0961594, 1.5582135, 1.6401797]}, AS_PRINTED)


def test_updates_that_run_twice_a_step_would_miss_both_statistics():
    twice, _ = _run_numpy(updates=2)
    expected = {"moving_mean": 1.3463, "moving_variance": 0.1851}
    _assert_close(twice, expected, FOUR_DECIMALS)


def test_forgotten_updates_change_no_weight_and_all_of_inference():
    tied, forgotten = _run_tensorflow(), _run_tensorflow(tied=False)
    for name in WEIGHTS:
        assert forgotten[name].tobytes() == tied[name].tobytes(), name
    assert forgotten["moving_mean"] == 0
    assert forgotten["moving_variance"] == 1
    _assert_close(forgotten, {"bn": [1.7035, 2.0003, 2.0529]}, FOUR_DECIMALS)


@RUNS
def test_training_left_false_learns_other_weights(run):
    result = run(training=False)
    expected = {"w": 1.0344, "b": 1.0641, "gamma": 1.0966, "beta": 0.0615, "w2": 1.3462}
    _assert_close(result, {**expected, "b2": 1.4104}, FOUR_DECIMALS)
    assert result["moving_mean"] == 0
    assert result["moving_variance"] == 1


def test_b_stays_one_because_the_gradient_of_a_batch_sums_to_zero():
    # Nine steps of rate .5 that each add three gradients below 1 with rounding 2**-53.
    np.testing.assert_allclose(_run_numpy()[0]["b"], 1, rtol=0, atol=9 * 0.5 * 3 * 2**-53)


# What the layer in front gives in its two units. The first is the published 1.2965 times
# sqrt(1 + epsilon); the second does not reach the first.
ROW = [1.2965 * np.sqrt(1.001), -0.5]
TARGETS = [0.7, -0.2]
INFERENCE = {  # steps: with the updates, without them
    0: (1.2965, 1.2965),
    10: (1.6888, 1.7524),
    100: (1.4837, 1.9965),
    1000: (0.7017, 1.9965),
}


def _leaky(y):
    return np.where(y >= 0, y, 0.2 * y)


def _identical_rows_by_numpy():
    x, targets = np.tile(ROW, (4, 1)), np.tile(TARGETS, (4, 1))
    layer, results = BatchNorm(2, dtype="float64"), {}
    for step in range(1001):
        if step in INFERENCE:
            forgetful = BatchNorm(2, dtype="float64")
            forgetful.gamma, forgetful.beta = layer.gamma, layer.beta
            outputs = [_leaky(one(x, training=False))[0, 0] for one in (layer, forgetful)]
            results[step] = dict(zip(("run", "not run"), outputs, strict=True))
        y = layer(x, training=True)
        dy = 2 * (_leaky(y) - targets) / x.size * np.where(y >= 0, 1, 0.2)
        dx, dgamma, dbeta = layer.backward(dy)
        np.testing.assert_array_equal(dx, 0)  # so the layer in front learns nothing
        np.testing.assert_array_equal(dgamma, 0)
        layer.beta = layer.beta - 0.1 * dbeta
    return results, _leaky(y)[0, 0]


def _identical_rows_by_tensorflow(*, tied):
    with tf.Graph().as_default(), v1.Session() as session:
        is_training = v1.placeholder(tf.bool, ())
        kernel = v1.Variable(tf.constant([ROW], tf.float32))  # a dense layer whose input is 1
        hidden = tf.matmul(tf.ones([4, 1]), kernel)
        bn = v1.layers.batch_normalization(hidden, training=is_training)
        output = tf.maximum(bn, 0.2 * bn)
        loss = tf.reduce_mean((output - tf.constant([TARGETS])) ** 2)
        updates = v1.get_collection(v1.GraphKeys.UPDATE_OPS)
        assert len(updates) == 2
        with tf.control_dependencies(updates if tied else []):
            train = v1.train.GradientDescentOptimizer(0.1).minimize(loss)
        session.run(v1.global_variables_initializer())
        results = {}
        for step in range(1001):
            if step in INFERENCE:
                inference = session.run(output, {is_training: False})[0, 0]
                results[step] = inference, session.run(output, {is_training: True})[0, 0]
            session.run(train, {is_training: True})
        return results


def test_identical_rows_by_numpy():
    results, in_training = _identical_rows_by_numpy()
    for step, expected in INFERENCE.items():
        _assert_close(results[step], dict(zip(results[step], expected, strict=True)), FOUR_DECIMALS)
    assert round(in_training, 4) == 0.7


def test_identical_rows_by_tensorflow():
    tied, forgotten = (_identical_rows_by_tensorflow(tied=tied) for tied in (True, False))
    for step, expected in INFERENCE.items():
        results = {"run": tied[step][0], "not run": forgotten[step][0]}
        _assert_close(results, dict(zip(results, expected, strict=True)), FOUR_DECIMALS)
        assert tied[step][1] == forgotten[step][1]  # in training mode the updates do not show
    assert round(float(tied[1000][1]), 4) == 0.7
