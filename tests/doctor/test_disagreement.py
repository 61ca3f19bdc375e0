"""Outputs that cannot be compared are left out of the disagreement, and the layers judged all the same."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from patients import norm, rows, settled

from bnlab.checkup import checkup
from bnlab.doctor.outputs import Disagreement

layers = keras.layers


class Telling(keras.Model):
    """Returns its numbers, and something else that is made of them."""

    def __init__(self, tell):
        super().__init__()
        self.bn, self.tell = norm(), tell

    def call(self, x, training=False):
        y = self.bn(x, training=training)
        told = self.tell(y)
        return {"numbers": y} | ({} if told is None else {"told": told})


TOLD = {
    "text": lambda y: tf.strings.as_string(y),
    "a length of its own": lambda y: tf.boolean_mask(y, y[:, 0] > 0.1),
    "nothing": lambda y: tf.boolean_mask(y, y[:, 0] > np.inf),
    "ragged": lambda y: tf.RaggedTensor.from_tensor(y),
    "sparse": lambda y: tf.sparse.from_dense(y),
    "complex": lambda y: tf.cast(y, "complex64"),
    "a number": lambda y: tf.reduce_sum(y),
    "a word": lambda _: "done",
    "every second time": lambda y, calls=[]: calls.append(y) or (y if len(calls) % 2 else None),
}


@pytest.mark.parametrize("tell", TOLD.values(), ids=TOLD)
def test_an_output_that_is_no_table_of_numbers_is_left_out(rng, tell):
    x = rows(rng)
    model, plain = Telling(tell), Telling(lambda _: None)
    for one in (model, plain):
        settled(one, x, steps=3)
    found, expected = checkup(model, x), checkup(plain, x)
    assert found.disagreement == expected.disagreement > 0.1
    assert [layer.problems for layer in found.layers] == [("not converged",)]


def test_one_batch_that_cannot_be_compared_leaves_the_output_out(rng):
    apart, y = Disagreement(), rng.normal(size=(9, 2))
    apart.add([y, y], [2 * y, y])
    assert apart.largest() > 0.5
    apart.add([y, y], [y[:5], y])
    assert apart.largest() == 0
