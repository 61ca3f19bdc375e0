"""How far the outputs of a model in training mode lie from those in inference."""

import math

import keras
import numpy as np

from bnlab.moments import merge_moments


class Disagreement:
    """Adds up, batch by batch, how far two sets of outputs lie apart and how far the first spreads."""

    def __init__(self):
        self.spreads, self.squares = {}, {}

    def add(self, ours, theirs):
        """Add the outputs of one batch, of one structure; what is no batch of numbers does not count."""
        pairs = zip(keras.tree.flatten(ours), keras.tree.flatten(theirs), strict=True)
        for number, pair in enumerate(pairs):
            if all(part is not None and np.ndim(part) for part in pair):
                self._add(number, *(_rows(part) for part in pair))

    def _add(self, number, ours, theirs):
        with np.errstate(over="ignore", invalid="ignore"):
            mean = ours.mean(axis=0)
            spread = len(ours), mean, ((ours - mean) ** 2).mean(axis=0)
            self.squares[number] = self.squares.get(number, 0) + ((ours - theirs) ** 2).sum()
        if np.isfinite(spread[2]).all():
            before = self.spreads.get(number)
            same = before is not None and before[1].shape == mean.shape
            self.spreads[number] = _merged(before, spread) if same else before or spread
        else:
            self.squares[number] = np.nan

    def largest(self):
        """Return the root mean square of the differences over the standard deviation, of the worst output."""
        return max(map(self._ratio, self.squares), default=0.0)

    def _ratio(self, number):
        square, spread = self.squares[number], self.spreads.get(number)
        if spread is None or not np.isfinite(square):
            return math.inf
        total = spread[0] * spread[2].sum()
        return float(np.sqrt(square / total)) if total else (math.inf if square else 0.0)


def _merged(one, other):
    return one[0] + other[0], *merge_moments(*zip(one, other, strict=True))


def _rows(output):
    values = keras.ops.convert_to_numpy(keras.ops.cast(output, "float64"))
    return values.reshape(len(values), -1)
