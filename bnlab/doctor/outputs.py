"""How far the outputs of a model in training mode lie from those in inference."""

import keras
import numpy as np

from bnlab.batch_norm import batch_moments
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
                self._add(number, *map(_rows, pair))

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
        return max(map(self._ratio, self.squares), default=0.0)

    def _ratio(self, key):
        square = self.squares[key]
        if not np.isfinite(square):
            return np.inf
        total = self.spreads[key][0] * self.spreads[key][2].sum()
        return float(np.sqrt(square / total)) if total else (np.inf if square else 0.0)


def _rows(output):
    values = keras.ops.convert_to_numpy(keras.ops.cast(output, "float64"))
    return values.reshape(len(values), -1)
