"""What a batch-norm layer is and remembers, whoever made it, and what came into it.

The doctor's rooms speak of these; Keras 3, tf_keras and SavedModels each have a room that makes them.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from bnlab.batch_norm import batch_moments
from bnlab.moments import merge_moments


class Place(NamedTuple):
    """Where a layer stands in its model, as far as that is known; the defaults say nothing."""

    features_axis: int | None = None  # the axis on which the layers in front put their features
    moves: bool | None = None  # whether the memory moves where the model is called as `fit` calls it
    deaf: str = ""  # the class of the model if its `call` takes no `training`
    flag: tuple = ()  # what is called with a `training=` in the graph, as Python, and its value
    steps: bool = False  # in a TimeDistributed, alone or with others
    bias: str = ""  # the layer directly in front whose bias is of no use, as Python without it
    dropout: bool = False  # whether there is dropout in front, behind the batch norm before
    raw: bool = False  # whether the inputs of the model come in, and nothing that was learned


NOWHERE = Place()


@dataclass(frozen=True, eq=False)
class Norm:
    """A batch-norm layer as it was found; arrays are float64 of shape (features,)."""

    name: str
    axis: int  # that is kept
    momentum: float
    epsilon: float
    trainable: bool
    mean: np.ndarray  # what it remembers
    variance: np.ndarray
    weights: tuple = ()  # gamma and beta, where it has them
    initial: tuple = (0.0, 1.0)  # what it remembers before any step
    dtype: str = "float32"  # of what it remembers

    @property
    def statistics(self):
        """The moving mean and the moving variance."""
        return self.mean, self.variance


class Moments(NamedTuple):
    """How many values a feature there were, their mean and their biased variance, shape (features,)."""

    count: int
    mean: np.ndarray
    variance: np.ndarray

    def merged(self, other):
        """Return the moments of both parts together."""
        return Moments(self.count + other.count, *merge_moments(*zip(self, other, strict=True)))


class Inputs(NamedTuple):
    """What came into a layer, in one of its calls a pass or in all.

    Pixels of one picture are alike, so it is examples that must be counted to say how sure a mean is.
    """

    values: Moments  # of all values of a feature; a picture has one a pixel
    means: Moments  # of the examples' means
    squares: Moments  # of the examples' mean squared distances from the batch mean; for the variance
    largest: int  # values a feature in the largest call
    shape: tuple  # of the input of the last call

    def merged(self, other):
        """Return the inputs of both parts together."""
        moments = (one.merged(two) for one, two in zip(self[:3], other[:3], strict=True))
        return Inputs(*moments, max(self.largest, other.largest), other.shape)


def inputs_of(values, axis):
    """Return the Inputs of one call; values has an example a row."""
    examples = np.moveaxis(values, axis, -1).reshape(len(values), -1, values.shape[axis])
    places = examples.shape[1]  # as many in each example, so the moments of all come from theirs
    with np.errstate(over="ignore", invalid="ignore"):
        means = examples.mean(axis=1)
        centred = examples - means.mean(axis=0)
        squares = np.einsum("epf,epf->ef", centred, centred) / places
        rows = [Moments(len(values), *batch_moments(table)) for table in (means, squares)]
    moments = Moments(len(values) * places, rows[0].mean, rows[1].mean)
    return Inputs(moments, *rows, len(values) * places, values.shape)
