"""SavedModel folders are judged as the models that they were exported from, by their graphs alone."""

import keras
import numpy as np
import pytest
import tensorflow as tf
import tf_keras

from bnlab.checkup import checkup, recalibrate
from bnlab.doctor.models.saved_model import load

SPOILT = {"bn": (), "bn_2": ("not converged",), "last": ()}


def rows_model(layers, **options):
    return [
        layers.Dense(12),
        layers.BatchNormalization(momentum=0.8, name="bn", **options),
        layers.ReLU(),
        layers.Dense(9),
        layers.BatchNormalization(momentum=0.8, name="bn_2", scale=False, **options),
        layers.Dense(6),
        layers.BatchNormalization(momentum=0.8, name="last", center=False, **options),
    ]


def pictures_model(layers, **options):
    return [
        layers.Conv2D(6, 3),
        layers.BatchNormalization(momentum=0.8, name="bn", **options),
        layers.ReLU(),
        layers.BatchNormalization(momentum=0.8, name="bn_2", axis=1, center=False, **options),
        layers.Flatten(),
        layers.Dense(5),
        layers.BatchNormalization(momentum=0.8, name="last", center=False, scale=False, **options),
    ]


def settled(package, parts, x):
    """Return a model whose layers fit x, but for bn_2; the first five layers are a model in it."""
    model = package.Sequential(
        [package.Input(x.shape[1:]), package.Sequential(parts[:5], name="inside"), *parts[5:]]
    )
    rng = np.random.default_rng(1)
    for _ in range(25):
        model(x[rng.permutation(len(x))[:32]], training=True)
    bn_2 = next(layer for layer in model._flatten_layers() if layer.name == "bn_2")
    bn_2.moving_mean.assign(bn_2.moving_mean + 2)
    return model


def assert_alike(found, expected):
    """Compare two checkups of what ought to be one model."""
    assert {one.name: one.problems for one in found.layers} == SPOILT
    assert {one.name: one.problems[:1] for one in expected.layers} == SPOILT
    for one, other in zip(found.layers, expected.layers, strict=True):
        assert one.epsilon == pytest.approx(other.epsilon)
        np.testing.assert_allclose(one.gaps, other.gaps, atol=1e-3)
        np.testing.assert_allclose(one.ratios, other.ratios, rtol=1e-3)
    assert found.disagreement == pytest.approx(expected.disagreement, rel=1e-3)


@pytest.mark.parametrize(("parts", "policy"), [(pictures_model, "float32"), (rows_model, "mixed_float16")])
def test_exported_by_keras_3(rng, tmp_path, parts, policy):
    x = rng.normal(1, 2, (160, *((8,) if parts is rows_model else (6, 6, 3)))).astype("float32")
    model = settled(keras, parts(keras.layers, dtype=policy), x)
    model.export(tmp_path, verbose=False)
    found = checkup(load(tmp_path), x)
    if policy == "float32":
        assert_alike(found, checkup(model, x))
    else:
        assert {one.name: one.problems for one in found.layers} == SPOILT
    assert all(np.isnan(layer.momentum) and layer.trainable for layer in found.layers)


def test_saved_by_tf_keras(rng, tmp_path):
    x = rng.normal(1, 2, (160, 6, 6, 3)).astype("float32")
    model = settled(tf_keras, pictures_model(tf_keras.layers), x)
    model.get_layer("last").trainable = False
    model.save(tmp_path)
    saved = load(tmp_path)
    found = checkup(saved, x)
    assert_alike(found, checkup(model, x))
    assert [(layer.momentum, layer.trainable) for layer in found.layers] == [(0.8, True)] * 2 + [(0.8, False)]
    assert " ".join(str(found).split()).endswith("exported from, and export that again.")
    with pytest.raises(TypeError, match=r"^model is the SavedModel .* recalibrate the Keras model it was"):
        recalibrate(saved, [x])


class Plain(tf.Module):
    """No Keras: one norm of each spelling, the first one called on both inputs."""

    def __init__(self):
        super().__init__()
        self.mean, self.variance = tf.Variable([1.0, 2.0], name="first/mean"), tf.Variable([4.0, 9.0])

    @tf.function(input_signature=[tf.TensorSpec((None, 2), name="a"), tf.TensorSpec((None, 2), name="b")])
    def __call__(self, a, b):
        one, two = (
            tf.nn.batch_normalization(x, self.mean, self.variance, [1.0, 0.0], [2.0, 2.0], 0.5)
            for x in (a, b)
        )
        with tf.name_scope("fused"):
            y, *_ = tf.compat.v1.nn.fused_batch_norm(
                tf.reshape(one + two, (-1, 1, 1, 2)),
                [1.0, 1.0],
                [0.0, 0.0],
                mean=[1.0, 1.0],
                variance=[7.0, 8.0],
                epsilon=1e-3,
                is_training=False,
            )
        return {"y": y, "z": tf.math.rsqrt(self.variance + 0.5) * a}


def test_saved_without_keras(rng, tmp_path):
    tf.saved_model.save(Plain(), str(tmp_path))
    saved = load(tmp_path)
    first, fused = saved.layers
    np.testing.assert_array_equal([first.mean, first.variance], [[1, 2], [4, 9]])
    np.testing.assert_array_equal(first.weights, [[2, 2], [1, 0]])
    np.testing.assert_array_equal([fused.mean, fused.variance], [[1, 1], [7, 8]])
    assert (first.epsilon, fused.name) == (0.5, "fused")
    a, b = rng.normal(5, 1, (40, 2)).astype("float32"), rng.normal(-5, 1, (40, 2)).astype("float32")
    found, _ = saved.watch({"a": a, "b": b}, "batch")
    measured = [call.values for call in found[first]]
    assert len(measured) == 2
    np.testing.assert_allclose([one.mean for one in measured], [a.mean(axis=0), b.mean(axis=0)], rtol=1e-5)
    # As by hand: normalized with the batch, each call by itself, and added up.
    normal = sum((x - x.mean(axis=0)) / np.sqrt(x.var(axis=0) + 0.5) * 2 + [1, 0] for x in (a, b))
    np.testing.assert_allclose(found[fused][0].values.mean, normal.mean(axis=0), atol=1e-5)
    np.testing.assert_allclose(found[fused][0].values.variance, normal.var(axis=0), rtol=1e-4)
    seen, (y, _) = saved.watch([a, b], "inference")
    stored = sum((x - [1, 2]) / np.sqrt([4.5, 9.5]) * 2 + [1, 0] for x in (a, b))
    np.testing.assert_allclose(seen[fused][0].values.mean, stored.mean(axis=0), rtol=1e-4)
    np.testing.assert_allclose(y[:, 0, 0], (stored - 1) / np.sqrt([7.001, 8.001]), rtol=1e-4, atol=1e-4)
    assert checkup(saved, {"a": a, "b": b}).layers[0].problems == ("not one domain",)
    with pytest.raises(ValueError, match=r"cannot be called on x .* it takes a, b; expected a dict"):
        checkup(saved, a)


@pytest.mark.parametrize("frozen", [False, True])
def test_saved_by_version_1(rng, tmp_path, frozen):
    x = rng.normal(3, 2, (60, 4)).astype("float32")
    folder = str(tmp_path / "v1")
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        inputs = tf.compat.v1.placeholder(tf.float32, (None, 4), "x")
        with tf.compat.v1.variable_scope("net"):
            y = tf.compat.v1.layers.batch_normalization(inputs, name="bn", reuse=False)
        session.run(tf.compat.v1.global_variables_initializer())
        if frozen:
            graph_def = tf.compat.v1.graph_util.convert_variables_to_constants(
                session, session.graph_def, [y.op.name]
            )
        else:
            tf.compat.v1.saved_model.simple_save(session, folder, {"x": inputs}, {"y": y})
    if frozen:
        with tf.Graph().as_default(), tf.compat.v1.Session() as session:
            inputs, y = tf.import_graph_def(graph_def, return_elements=["x:0", f"{y.op.name}:0"], name="")
            tf.compat.v1.saved_model.simple_save(session, folder, {"x": inputs}, {"y": y})
    (layer,) = checkup(load(folder), x).layers
    assert (layer.name, layer.problems) == ("bn", ("never updated",))
    np.testing.assert_allclose(layer.gaps, -x.mean(axis=0) / np.sqrt(x.var(axis=0) + 1e-3), rtol=1e-4)


class Table(tf.Module):
    def __init__(self):
        super().__init__()
        keys = tf.lookup.KeyValueTensorInitializer(["a", "b", "c"], [3.0, 5.0, 8.0])
        self.table, self.mean = tf.lookup.StaticHashTable(keys, 0.0), tf.Variable([5.0])

    @tf.function(input_signature=[tf.TensorSpec((None,), tf.string)])
    def __call__(self, words):
        x = self.table.lookup(words)[:, None]
        return tf.nn.batch_normalization(x, self.mean, tf.constant([4.0]), None, None, 1e-3)


def test_text_and_a_table(tmp_path):
    tf.saved_model.save(Table(), str(tmp_path))
    found = checkup(load(tmp_path), np.array(["a", "b", "c", "a"] * 20))
    assert found.healthy, str(found)
    assert found.layers[0].gaps == pytest.approx((5 - 4.75) / np.sqrt(4.1875 + 1e-3))


class Reading(Table):
    @tf.function(input_signature=[tf.TensorSpec((None,), tf.string)])
    def __call__(self, words):
        return tf.strings.length(tf.io.read_file(words[0]))


class Nothing(Table):
    @tf.function(input_signature=[tf.TensorSpec((None, 1))])
    def __call__(self, x):
        return x * tf.math.rsqrt(self.mean + 1e-3)


def test_what_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"is no SavedModel; expected a folder with a saved_model.pb in it$"):
        load(tmp_path)
    (tmp_path / "saved_model.pb").write_bytes(b"no model")
    with pytest.raises(ValueError, match="cannot be loaded as a SavedModel"):
        load(tmp_path)
    for module, message in (
        (Reading(), "has the operations ReadFile, which reach outside the model"),
        (Nothing(), "has no batch-norm operation; expected one that is neither folded"),
        (tf.Module(), "has the signatures none; expected serving_default"),
    ):
        folder = str(tmp_path / type(module).__name__)
        tf.saved_model.save(module, folder)
        with pytest.raises(ValueError, match=message):
            load(folder)
