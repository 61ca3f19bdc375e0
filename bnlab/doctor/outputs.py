"""How far the outputs of a model in training mode lie from those in inference."""

from itertools import zip_longest

import keras
import numpy as np
import tensorflow as tf

from bnlab.batch_norm import batch_moments
from bnlab.moments import merge_moments


class Disagreement:
    """Adds up, batch by batch, how far two sets of outputs lie apart and how far the first spreads."""

    def __init__(self):
        self.spreads, self.squares, self.left_out = {}, {}, set()

    def add(self, ours, theirs):
        """Add the outputs of one batch. One that is no array of numbers, or not of one shape, is left out."""
        pairs = zip_longest(keras.tree.flatten(ours), keras.tree.flatten(theirs))
        for number, pair in enumerate(pairs):
            if all(map(_numbers, pair)) and pair[0].shape == pair[1].shape:
                self._add(number, *map(_rows, pair))
            else:
                self.left_out.add(number)

    def _add(self, number, ours, theirs):
        key = number, ours.shape[1]
        with np.errstate(over="ignore", invalid="ignore"):
            spread = len(ours), *batch_moments(ours)
            self.squares[key] = self.squares.get(key, 0) + ((ours - theirs) ** 2).sum()
        if not np.isfinite(spread[2]).all():
            self.squares[key] = np.nan
        elif before := self.spreads.get(key):
            moments = merge_moments(*zip(before, spread, strict=True))
            self.spreads[key] = before[0] + spread[0], *moments
        else:
            self.spreads[key] = spread

    def largest(self):
        """Return the root mean square of the differences over the standard deviation, of the worst output."""
        counted = [key for key in self.squares if key[0] not in self.left_out]
        return max(map(self._ratio, counted), default=0.0)

    def _ratio(self, key):
        square = self.squares[key]
        if not np.isfinite(square):
            return np.inf
        total = self.spreads[key][0] * self.spreads[key][2].sum()
        return float(np.sqrt(square / total)) if total else (np.inf if square else 0.0)


def _numbers(output):
    """Say whether this is a dense array of real numbers, with an example a row."""
    if not isinstance(output, tf.Tensor | tf.Variable | np.ndarray):
        return False
    dtype = tf.as_dtype(output.dtype)
    return len(output.shape) > 0 < np.prod(output.shape) and (
        dtype.is_floating or dtype.is_integer or dtype.is_bool
    )


def _rows(output):
    values = keras.ops.convert_to_numpy(keras.ops.cast(output, "float64"))
    return values.reshape(len(values), -1)
