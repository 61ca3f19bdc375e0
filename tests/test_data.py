"""The digits against scikit-learn's copy, and the cubic stream against its published numbers."""

import random
import socket

import numpy as np
import pytest

from bnlab.data import cubic_batches, digits


def test_digits_are_those_of_scikit_learn_in_order():
    datasets = pytest.importorskip(
        "sklearn.datasets", reason="scikit-learn is in the dev extra: pip install -e .[dev]"
    )
    theirs, ours = datasets.load_digits(), digits()
    np.testing.assert_array_equal(16 * np.concatenate([ours.x_train, ours.x_test]), theirs.data)
    np.testing.assert_array_equal(np.concatenate([ours.y_train, ours.y_test]), theirs.target)


def test_digits_shapes_dtypes_and_range():
    x_train, y_train, x_test, y_test = digits()
    assert (x_train.shape, y_train.shape) == ((1197, 64), (1197,))
    assert (x_test.shape, y_test.shape) == ((600, 64), (600,))
    for x in (x_train, x_test):
        assert x.dtype == np.float32
        assert (x.min(), x.max()) == (0, 1)
    for y in (y_train, y_test):
        assert y.dtype == np.int64
        assert set(y.tolist()) == set(range(10))


def test_digits_are_fresh_in_each_call():
    kept = [array.copy() for array in digits()]
    for array in digits():
        array += 1  # writable, and nobody else's
    for array, expected in zip(digits(), kept, strict=True):
        np.testing.assert_array_equal(array, expected)


def test_digits_need_no_network(monkeypatch):
    def refuse(*_):
        raise OSError("this test allows no connection")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    assert len(digits().x_train) == 1197


def test_cubic_batches_are_the_published_ones():
    *_, (x, y) = cubic_batches(10)
    assert x.tolist() == [[0.6108869734438016], [0.9130110532378982], [0.9666063677707588]]
    np.testing.assert_array_equal(y, x**3 + 1)


@pytest.mark.parametrize(("batch_size", "seed"), [(1, 0), (4, 5)])
def test_cubic_batches_draw_from_pythons_generator_in_order(batch_size, seed):
    batches = list(cubic_batches(6, batch_size=batch_size, seed=seed))
    generator = random.Random(seed)
    assert len(batches) == 6
    for x, y in batches:
        assert x.shape == y.shape == (batch_size, 1)
        assert x.dtype == y.dtype == np.float64
        assert x.ravel().tolist() == [generator.random() for _ in range(batch_size)]


def test_cubic_batches_leave_the_shared_generator_alone():
    random.seed(3)
    before = random.getstate()
    assert list(cubic_batches(0)) == []
    assert len(list(cubic_batches(2))) == 2
    assert random.getstate() == before


@pytest.mark.parametrize(
    ("arguments", "error", "begins"),
    [
        ({"steps": -1}, ValueError, "steps is -1; expected 0 or more"),
        ({"steps": 2.5}, TypeError, r"steps is 2\.5; expected a whole number"),
        ({"steps": None}, TypeError, "steps is None; expected a whole number"),
        ({"steps": 3, "batch_size": 0}, ValueError, "batch_size is 0; expected 1 or more"),
        ({"steps": 3, "batch_size": "3"}, TypeError, "batch_size is '3'; expected a whole number"),
        ({"steps": 3, "batch_size": True}, TypeError, "batch_size is True; expected a whole"),
    ],
)
def test_cubic_batches_refuse_bad_input_at_the_call(arguments, error, begins):
    with pytest.raises(error, match=f"^{begins}"):
        cubic_batches(**arguments)
