"""Keeps a Keras 3 model as it is while it is called.

Keras's `StatelessScope` holds back every assignment to a Keras variable. The rest is here: plain
`tf.Variable`s, the losses of the last call, TensorFlow's random numbers, the mark that a layer was called.
"""

import random
from contextlib import contextmanager

import keras
import numpy as np
import tensorflow as tf
from tensorflow.python.framework import random_seed
from tensorflow.python.ops import stateful_random_ops

from bnlab.doctor.models.this_thread import replaced


@contextmanager
def unchanged(model):
    """Keep the model and TensorFlow's random generators as they are, also after an error.

    Not put back is what a call does in Python: attributes that it counts in, draws from the generators of
    Python and NumPy, which other threads use as well. Nor are lookup tables.
    """
    draws = random.Random("watched")  # not the numbers of a small seed that somebody has set
    ours = {
        (keras.Layer, "_clear_losses"): lambda _original, _layer: None,
        (random_seed, "get_seed"): lambda _original, _seed: tuple(draws.sample(range(2**31), 2)),
    }
    with replaced(ours):
        fresh = [layer for layer in model._flatten_layers() if not layer._called]
        values = [(variable, variable.numpy()) for variable in _plain_variables(model)]
        try:
            with keras.StatelessScope():
                yield
        finally:
            for variable, value in values:
                if not np.array_equal(variable.numpy(), value):
                    variable.assign(value)
            for layer in fresh:
                layer._called = False


def _plain_variables(model):
    """Return the `tf.Variable`s that a model holds beside Keras's own, also in lists, dicts and modules."""
    found, seen, ahead = [], set(), [model, stateful_random_ops.global_generator]
    while ahead:
        one = ahead.pop()
        if id(one) in seen or isinstance(one, keras.Variable):
            continue
        seen.add(id(one))
        if isinstance(one, tf.Variable):
            found.append(one)
        elif isinstance(one, dict):
            ahead += one.values()
        elif isinstance(one, list | tuple | set):
            ahead.extend(one)  # what Keras tracks as a tuple refuses to be added to a list
        elif isinstance(one, tf.__internal__.tracking.AutoTrackable):  # layers, modules, generators
            ahead += vars(one).values()
    return found
