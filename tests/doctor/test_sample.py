"""What may be given as x, and what is refused."""

import pytest
import tensorflow as tf
from patients import dense_model, rows, settled

from bnlab.checkup import checkup


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
