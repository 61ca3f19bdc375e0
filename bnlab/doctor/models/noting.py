"""Notes, in a graph of TensorFlow, what comes into a batch-norm layer whenever the graph runs."""

import numpy as np
import tensorflow as tf

from bnlab.doctor.norm import inputs_of


def noted(inputs, axes, calls, *, mask=None):
    """Return the mean and the biased variance of a tensor, and append its Inputs to calls, at every run.

    Args:
        inputs: a tensor with an example a row.
        axes: those that are kept; the features of several are counted in one row.
        calls: a list.
        mask: a tensor of flags; what is masked does not count. The kept axis is the last one then.

    Returns:
        Two tensors of shape (features,), float64; 0 and 1 where all is masked.
    """

    def note(values, *masks):
        values, axis = _with_one_axis(values, axes)
        features = values.shape[axis]
        for flags in masks:
            values, axis = values[flags.astype(bool)], -1
        if not values.size:
            return np.zeros(features), np.ones(features)
        calls.append(inputs_of(values, axis))
        return calls[-1].values[1:]

    masks = [] if mask is None else [mask]
    return tf.numpy_function(note, [tf.cast(inputs, tf.float64), *masks], [tf.float64, tf.float64])


def _with_one_axis(values, axes):
    """Return the values and the axis of their features, which is the last one if there were several."""
    if len(axes) == 1:
        return values, axes[0]
    last = np.moveaxis(values, axes, range(-len(axes), 0))
    return last.reshape(*last.shape[: -len(axes)], -1), -1
