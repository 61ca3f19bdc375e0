"""What may be given as x, and what is refused."""

import numpy as np
import pytest
import tensorflow as tf
from patients import dense_model, rows, settled

from bnlab.checkup import checkup
from bnlab.doctor.sample import sampled


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
