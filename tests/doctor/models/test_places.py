"""Where a batch-norm layer stands, in models that are built in every way."""

import threading

import keras
import numpy as np
import pytest
from patients import norm, problems, rows, settled
from placed import HandsOn, Silenced, TakesIt, TakesNone, sequence

from bnlab.checkup import checkup
from bnlab.doctor.models.places import places
from bnlab.doctor.norm import NOWHERE

layers = keras.layers


def place(model, *shape):
    """Return the Place of the layer bn, on inputs of a shape."""
    x = np.ones((2, *shape), "float32")
    if not model.built:
        model(x)
    return next(one for layer, one in places(model, x).items() if layer.name == "bn")


class Chain(keras.Model):
    """Calls its parts one after another."""

    def __init__(self, *parts, **options):
        super().__init__(**options)
        self.parts = parts

    def call(self, x, training=None):  # noqa: ARG002 - Keras looks for it
        for part in self.parts:
            x = part(x)
        return x

    def get_config(self):
        return {"parts": [keras.saving.serialize_keras_object(part) for part in self.parts]}

    @classmethod
    def from_config(cls, config):
        return cls(*map(keras.saving.deserialize_keras_object, config["parts"]))


def functional(*parts, shape):
    given = y = keras.Input(shape)
    for part in parts:
        y = part(y)
    return keras.Model(given, y)


def nested(*parts, shape):
    first, *others = parts
    inner = sequence(first, shape=shape)
    return functional(inner, functional(*others, shape=inner.output_shape[1:]), shape=shape)


def subclassed(*parts, shape):  # noqa: ARG001
    return Chain(*parts)


BUILDS = {
    "Sequential": sequence,
    "functional": functional,
    "nested": nested,
    "subclassed": subclassed,
    "functional around a subclass": lambda *parts, shape: functional(Chain(*parts), shape=shape),
}


@pytest.mark.parametrize("saved", [False, True], ids=["", "saved"])
@pytest.mark.parametrize("build", BUILDS.values(), ids=BUILDS)
def test_every_way_of_building(tmp_path, build, saved):
    def found(*parts, shape):
        model = build(*parts, shape=shape)
        if saved:
            model(np.ones((2, *shape)))
            model.save(tmp_path / "model.keras")
            model = keras.models.load_model(tmp_path / "model.keras", custom_objects={"Chain": Chain})
        return place(model, *shape)

    bare, picture = {"use_bias": False}, (6, 6, 3)
    alone = found(layers.Dense(4), layers.Dropout(0.5), norm(), layers.ReLU(), shape=(5,))
    assert alone == NOWHERE._replace(features_axis=-1, moves=True, dropout=True)
    directly = found(layers.Conv2D(3, 3), norm(), layers.Dropout(0.5), shape=picture)
    assert directly.dropout is False
    assert directly.bias == "Conv2D(filters, kernel_size, use_bias=False)"
    first = layers.Conv2D(6, 3, data_format="channels_first", **bare)
    assert found(first, layers.ReLU(), norm(axis=1), shape=picture).features_axis == 1
    assert found(layers.Conv2D(6, 3), layers.MaxPooling2D(), norm(axis=1), shape=picture).features_axis == -1


@pytest.mark.parametrize(
    ("layer", "shape", "axis"),
    [
        (layers.Conv1D(4, 2), (5, 3), -1),
        (layers.Conv3D(4, 2, data_format="channels_first"), (3, 4, 4, 4), 1),
        (layers.Conv2DTranspose(4, 2), (5, 5, 3), -1),
        (layers.SeparableConv2D(4, 2, data_format="channels_first"), (3, 5, 5), 1),
        (layers.DepthwiseConv2D(2), (5, 5, 3), -1),
        (layers.Conv2D(4, 2, groups=2), (5, 5, 4), -1),
        (layers.SpectralNormalization(layers.Conv2D(4, 2)), (5, 5, 3), -1),
        (layers.TimeDistributed(layers.Conv2D(4, 2, data_format="channels_first")), (4, 3, 5, 5), 2),
        (layers.Dense(4), (5, 3), -1),
        (layers.Embedding(9, 4), (5,), -1),
        (layers.Bidirectional(layers.LSTM(4, return_sequences=True)), (5, 3), -1),
        (layers.Identity(), (5, 3), None),
    ],
    ids=lambda value: getattr(value, "name", ""),
)
def test_which_axis_has_the_features(layer, shape, axis):
    assert place(sequence(layer, norm(), shape=shape), *shape).features_axis == axis


def attention(x):
    return layers.Add()([x, layers.MultiHeadAttention(2, 3)(x, x)])


@pytest.mark.parametrize(
    ("between", "axis"),
    [
        *[(layers.Activation(name), -1) for name in ("gelu", "silu", "mish", "hard_swish", "softmax")],
        *[(layers.PReLU(), -1), (layers.GaussianNoise(1.0), -1), (layers.LayerNormalization(), -1)],
        *[(layers.ZeroPadding1D(2), -1), (layers.AveragePooling1D(2), -1), (layers.UpSampling1D(2), -1)],
        (attention, -1),
        (lambda x: keras.ops.relu(x) * x + 1, -1),
        (lambda x: layers.Concatenate()([x, layers.ReLU()(x)]), -1),
        (layers.Permute((2, 1)), None),
        (layers.Reshape((4, 6)), None),
        (lambda x: keras.ops.swapaxes(x, 1, 2), None),
        # The gate is (steps, 1), the data that it is for are not known.
        (lambda x: layers.Dense(1)(x) * layers.Permute((2, 1))(layers.Reshape((4, 6))(x)), None),
    ],
)
def test_through_what_an_axis_is_followed(between, axis):
    given = keras.Input((6, 4))
    model = keras.Model(given, norm(axis=1)(between(layers.Conv1D(4, 1)(given))))
    assert place(model, 6, 4).features_axis == axis


@pytest.mark.parametrize(
    ("before", "axis", "right"),
    [
        ([layers.Conv2D(32, 3, padding="same", use_bias=False)], 1, -1),
        ([layers.Conv2D(16, 3, use_bias=False)], 2, -1),
        ([layers.DepthwiseConv2D(3, use_bias=False), layers.ReLU()], 1, -1),
        ([layers.Conv2D(4, 3, use_bias=False, data_format="channels_first")], -1, 1),
        ([layers.Reshape((32, 96)), layers.Dense(4, use_bias=False)], 1, -1),
    ],
    ids=["32 of 32", "axis 2", "depthwise", "channels first", "a sequence"],
)
def test_wrong_axis_and_its_healthy_twin(rng, before, axis, right):
    x = rng.normal(size=(16, 32, 32, 3)).astype("float32")
    found = checkup(sequence(*before, norm(axis=axis), shape=x.shape[1:]), x)
    assert "wrong axis" in found.layers[0].problems
    assert f"BatchNormalization(axis={right})" in str(found)
    assert "wrong axis" not in problems(sequence(*before, norm(axis=right), shape=x.shape[1:]), x)["bn"]


@pytest.mark.parametrize("axis", [1, -3])
@pytest.mark.parametrize(("side", "filters"), [(8, 16), (6, 7)])
def test_wrong_axis_in_both_its_spellings(rng, axis, side, filters):
    x = rng.normal(size=(64, side, side, 2)).astype("float32")

    def found(axis):
        inner = [layers.Conv2D(filters, 3), norm(axis=axis)]
        return problems(settled(keras.Sequential([keras.Input((side, side, 2)), *inner]), x), x)["bn"]

    assert found(axis) == ("wrong axis",)
    assert found(-1) == found(3) == ()


def test_axis_1_without_a_convolution_or_with_one_of_channels_first_is_right(rng):
    x = rng.normal(size=(64, 6, 6, 6)).astype("float32")
    assert problems(settled(keras.Sequential([keras.Input((6, 6, 6)), norm(axis=1)]), x), x)["bn"] == ()
    same = [keras.Input((6, 6, 6)), layers.Conv2D(4, 3), layers.Permute((3, 1, 2)), norm(axis=1)]
    assert problems(settled(keras.Sequential(same), x), x)["bn"] == ()


def test_channels_first_axis_on_channels_last_data(rng):
    x = rng.normal(size=(100, 8, 8, 1)).astype("float32")
    model = keras.Sequential([keras.Input((8, 8, 1)), layers.Conv2D(16, 3), norm(axis=1)])
    found = checkup(settled(model, x), x)
    assert found.layers[0].problems == ("wrong axis",)
    assert not found.healthy
    assert "axis=-1" in str(found)


def test_a_bias_is_of_no_use_only_directly_in_front_and_for_one_layer_alone():
    given, dense, shared = keras.Input((5,)), layers.Dense(4), norm()

    def bias(make):
        return place(keras.Model(given, make()), 5).bias

    def used_by(*others):
        y = layers.Dense(4)(given)
        return [other(y) for other in others]

    assert bias(lambda: norm()(layers.Dense(4)(given))) == "Dense(units, use_bias=False)"
    for make in (
        lambda: norm()(layers.Dense(4, use_bias=False)(given)),
        lambda: norm()(layers.Dense(4, "relu")(given)),
        lambda: norm()(layers.ReLU()(layers.Dense(4)(given))),
        lambda: [norm()(dense(given)), dense(-given)],
        lambda: shared(layers.Dense(4)(given)) + shared(layers.Dense(4)(given)),
        lambda: used_by(norm(), layers.ReLU()),
        lambda: used_by(layers.ReLU(), norm()),
        lambda: [(y := layers.Dense(4)(given)), norm()(y)],
    ):
        assert bias(make) == ""


def test_dropout_counts_up_to_the_batch_norm_before():
    parts = [layers.Dropout(0.5), layers.Dense(4), norm("first"), layers.Dense(4), norm()]
    model = sequence(*parts, shape=(5,))
    found = {layer.name: one.dropout for layer, one in places(model, np.ones((2, 5))).items()}
    assert found == {"first": True, "bn": False}
    assert not place(sequence(layers.Dropout(0.0), norm(), shape=(5,)), 5).dropout


def test_a_flag_in_the_graph_is_seen_and_does_what_is_said_of_it(rng, tmp_path):
    x, given, base = rows(rng), keras.Input((8,)), sequence(norm(), shape=(8,))
    at_base = keras.Model(given, base(given, training=False))
    outer = keras.Model(given, at_base(given))
    at_layer = keras.Model(given, norm()(given, training=True))
    at_layer.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert [place(one, 8).flag for one in (base, at_base, outer)] == [(), *[("base", False)] * 2]
    assert [place(one, 8).flag for one in (at_layer, loaded)] == [("BatchNormalization()", True)] * 2

    mean = base.layers[0].moving_mean
    outer(x)
    assert not mean.numpy().any()
    outer.compile(keras.optimizers.SGD(0.0), "mse")
    outer.fit(x, x, verbose=0)
    assert mean.numpy().all()
    np.testing.assert_allclose(at_layer(x).numpy().mean(axis=0), 0, atol=1e-5)
    assert abs(at_layer.predict(x, verbose=0).mean(axis=0)).min() > 0.1
    assert checkup(sequence(loaded, shape=(8,)), x).layers[0].remarks == ("flag fixed",)
    loaded.trainable = False
    assert checkup(loaded, x).layers[0].remarks == ()


def test_what_keeps_training_mode_from_a_layer():
    known = {model: place(model(), 8) for model in (TakesNone, TakesIt, Silenced, HandsOn)}
    assert {model: (one.moves, one.deaf) for model, one in known.items()} == {
        TakesNone: (False, "TakesNone"),
        TakesIt: (True, ""),
        Silenced: (False, ""),
        HandsOn: (True, ""),
    }
    assert place(functional(TakesNone(), shape=(8,)), 8).moves
    assert not place(functional(Silenced(), shape=(8,)), 8).moves


def test_time_distributed_alone_and_around_a_model():
    for inner in (norm(), sequence(layers.Dense(3), norm())):
        assert place(sequence(layers.TimeDistributed(inner), shape=(4, 8)), 4, 8).steps
    assert not place(sequence(layers.TimeDistributed(layers.Dense(3)), norm(), shape=(4, 8)), 4, 8).steps


class InPython(keras.Model):
    """Looks at numbers, which placeholders have none of."""

    def __init__(self):
        super().__init__()
        self.bn = norm()

    def call(self, x, training=None):
        return self.bn(x, training=training) * float(keras.ops.max(x))


def test_where_nothing_can_be_known_nothing_is_said():
    assert place(InPython(), 5) == NOWHERE


def test_nothing_changes_and_other_threads_note_nothing():
    model = sequence(layers.Dropout(0.5), layers.Dense(4), norm(), shape=(5,))
    before, original = [one.numpy() for one in model.variables], keras.Layer.__call__
    seen = []

    class Aside(keras.Layer):
        def call(self, x):
            worker = threading.Thread(target=lambda: seen.append(model(np.ones((3, 5)), training=False)))
            worker.start()
            worker.join()
            return x

    around = functional(Aside(), model, shape=(5,))
    seen.clear()
    assert place(around, 5).bias
    assert [one.shape for one in seen] == [(3, 4)]
    assert keras.Layer.__call__ is original
    for old, new in zip(before, model.variables, strict=True):
        np.testing.assert_array_equal(old, new)
