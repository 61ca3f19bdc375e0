"""What may be given as x, and what is refused."""

from collections import namedtuple

import keras
import numpy as np
import pytest
import tensorflow as tf
from patients import dense_model, norm, rows, settled

from bnlab.checkup import checkup
from bnlab.doctor.sample import sampled

layers = keras.layers
Pair = namedtuple("Pair", ["a", "b"])


class Frame:
    """A table that is no array and can be made one, as in pandas."""

    def __init__(self, values):
        self.values, self.shape = values, values.shape

    def __array__(self, dtype=None, copy=None):
        return self.values

    def __getitem__(self, column):
        raise KeyError(column)


def test_what_may_be_given_as_x(rng):
    x = rows(rng)
    model = settled(dense_model(), x)
    for given in (
        x[:50].tolist(),
        list(x[:50]),
        tf.constant(x[:50]),
        x[:50].astype("float64"),
        x[:33],
        x[:9],
        tuple(x[:9]),
        [x],
        (x, x[:, :1]),
        (x, x, None),
        Pair(x, None),
        tf.Variable(x),
        keras.Variable(x),
        np.ma.array(x),
        x.astype("float16"),
        Frame(x),
    ):
        assert checkup(model, given).healthy
    assert checkup(model, tf.cast(x[:50], "bfloat16")).healthy
    for size in (2, 7, 1000):
        assert checkup(model, x[:60], batch_size=size).healthy


def test_a_rest_of_one_example_is_no_tiny_batch(rng):
    x = rows(rng, 65)
    assert checkup(settled(dense_model(), x), x).healthy


@pytest.mark.parametrize("batch_size", [0, -3, 2.5, True, "32"])
def test_unusable_batch_size(rng, batch_size):
    with pytest.raises((TypeError, ValueError), match=r"^batch_size is .*; expected "):
        checkup(dense_model(), rows(rng), batch_size=batch_size)


def test_batches_go_over_every_example_once_mixed_and_the_same_every_time(rng):
    x = {"a": rng.normal(size=(23, 2)), "b": np.arange(23), "c": tf.range(23)}
    found = sampled(None, x)
    for size in (1, 2, 4, 8, 23, 50):
        parts = list(found.batches(size))
        rows = np.concatenate([part["b"] for part in parts])
        np.testing.assert_array_equal(np.sort(rows), x["b"])
        assert sum(rows == x["b"]) < 5
        for name, values in x.items():
            again = np.concatenate([part[name] for part in sampled(None, x).batches(size)])
            np.testing.assert_array_equal(again, np.asarray(values)[rows])
        assert all(size / 2 <= len(part["b"]) < 1.5 * size for part in parts) or len(parts) == 1


@pytest.mark.parametrize("where", [0, 1500, 2999])
def test_one_nan_in_many_is_found_in_every_part(where):
    x = [np.zeros((3000, 2)), np.zeros((3000, 1), "float32")]
    for part in x:
        part[where] = np.nan
        with pytest.raises(ValueError, match=r"^x has NaN or infinity in it; expected finite values$"):
            sampled(None, x)
        part[where] = 0
    assert sampled(None, x).examples == 3000


def joined(structure):
    a, b = keras.Input((2,), name="a"), keras.Input((3,), name="b")
    structure = keras.tree.map_structure({"a": a, "b": b}.get, structure)
    return keras.Model(structure, norm()(layers.Concatenate()([a, b])))


@pytest.mark.filterwarnings("ignore:The structure of `inputs`")
@pytest.mark.parametrize(
    "structure",
    [["a", "b"], {"a": "a", "b": "b"}, {"a": "a", "in": ["b"]}, [{"a": "a"}, {"b": "b"}], Pair("a", "b")],
)
def test_several_inputs_in_the_structure_of_the_model_or_as_a_list(rng, structure):
    a, b = rng.normal(1, 2, (40, 2)).astype("float32"), rng.normal(3, 1, (40, 3)).astype("float32")
    model, lists = joined(structure), {"a": list(a), "b": list(b)}
    expected = str(checkup(model, [a, b]))
    given = [keras.tree.map_structure(named.get, structure) for named in ({"a": a, "b": b}, lists)]
    for x in (*given, (a, b), [a.tolist(), b.tolist()], ((a, b), a), (given[0], a)):
        assert str(checkup(model, x)) == expected
    if isinstance(structure, dict) and "b" in structure:
        assert str(checkup(model, [{"a": one, "b": two} for one, two in zip(a, b, strict=True)])) == expected
    with pytest.raises(ValueError, match=r"^x has 3 parts; expected 2, one for each input of the model$"):
        checkup(model, (a, b, a))


class Dataset(keras.utils.PyDataset):
    def __len__(self):
        return 1

    def __getitem__(self, number):
        raise IndexError(number)


@pytest.mark.parametrize(
    ("x", "message"),
    [
        (Dataset(), r"x is a test_sample.Dataset; expected .*: x, y = dataset\[0\]"),
        ((one for one in [1]), r"x is a builtins.generator; expected an array .*: x, y = next\(generator\)"),
        ({1, 2}, r"x is a builtins.set; expected an array .*: x, y = next\(iter\(loader\)\)"),
        (
            tf.ragged.constant([[1.0], []]),
            r"x is ragged; expected rows of one length, as x.to_tensor\(\) makes",
        ),
        (tf.sparse.from_dense([[1.0], [0.0]]), r"x is sparse; expected a dense array"),
        (
            np.ma.masked_less([[1.0], [9.0]], 3),
            "x has masked values; expected an array with a number for each",
        ),
        (np.zeros((4, 8), "datetime64[s]"), r"x has dtype datetime64\[s\]; expected numbers or text"),
        (np.zeros(4, [("a", "f4")]), r"x has dtype .*; expected numbers or text"),
        (np.full((4, 8), complex(0, np.nan)), "x has NaN or infinity in it"),
        ([None, 3], "x has objects in it; expected numbers"),
    ],
)
def test_what_is_refused_says_what_to_give(x, message):
    with pytest.raises((TypeError, ValueError), match=f"^{message}"):
        checkup(dense_model(), x)


def test_x_and_y_for_a_model_that_takes_any_structure(rng):
    class Model(keras.Model):
        def __init__(self):
            super().__init__()
            self.bn = norm()

        def call(self, x):
            return self.bn(keras.ops.matmul(x, keras.ops.ones((8, 8))))

    with pytest.raises(
        ValueError, match=r"of shape \(32, 8\), \(32, 1\); if it is \(x, y\), as for fit, give x"
    ):
        checkup(Model(), (rows(rng), rows(rng)[:, :1]))


@pytest.mark.parametrize("make", [tf.constant, np.array, list, lambda x: np.array(x, object)])
def test_text(make):
    words = layers.TextVectorization(output_sequence_length=4)
    words.adapt(["a b c", "d e"])
    inner = [words, layers.Embedding(10, 3), norm()]
    model = keras.Sequential([keras.Input((), dtype="string"), *inner])
    assert checkup(model, make(["a b", "c d e"] * 20)).layers[0].problems == ("never updated",)


def test_a_batch_size_that_the_model_was_built_for(rng):
    x = rows(rng, 70).reshape(70, 2, 4)
    inputs = keras.Input(batch_shape=(16, 2, 4))
    model = keras.Model(inputs, norm()(layers.LSTM(3, stateful=True)(inputs)))
    found = checkup(model, x, batch_size=1)
    assert (found.examples, found.batch_size) == (64, 16)
    assert len(sampled(model, x).part(0, 16)) == 16
    with pytest.raises(
        ValueError, match=r"^x has 15 examples; expected 16 or more, a batch of the model's own"
    ):
        checkup(model, x[:15])
    sequential = keras.Sequential([layers.Dense(2), norm()])
    sequential(x[:1])  # which notes the 1
    assert checkup(sequential, x).examples == 70


def test_x_that_is_sorted_says_no_more_than_x_that_is_not(rng):
    x = rows(rng, 300)
    x = x[np.argsort(x[:, 0])]
    model = settled(dense_model(), x)
    ordered, mixed = checkup(model, x), checkup(model, rng.permutation(x))
    assert ordered.healthy
    assert ordered.disagreement == pytest.approx(mixed.disagreement, rel=0.2)
