"""Right and wrong answers to the exercises of the ninth notebook."""

from types import SimpleNamespace

import numpy as np


class Statistic:
    """A moving statistic with a copy on each replica; who asks gets the first one."""

    def __init__(self, copies):
        self.assign_copies(copies)

    def assign_copies(self, copies):
        values = [SimpleNamespace(numpy=copy.copy) for copy in copies]
        self.value = SimpleNamespace(values=values)

    def numpy(self):
        return self.value.values[0].numpy()

    def assign(self, value):
        self.assign_copies([np.array(value)] * len(self.value.values))


def replicate(parts):
    """Stand in for a layer of Keras on several devices."""
    moments = Statistic(parts.mean(axis=1)), Statistic(parts.var(axis=1))
    layer = SimpleNamespace(moving_mean=moments[0], moving_variance=moments[1], variables=[None, *moments])
    return layer, None


def copies(layer):
    moving = layer.moving_mean, layer.moving_variance
    return [np.array([copy.numpy() for copy in one.value.values]) for one in moving]


def storing(variance_of, mean_of=lambda means, variances: means.mean(0)):
    def mend(layer):
        found = copies(layer)
        layer.moving_mean.assign(mean_of(*found))
        layer.moving_variance.assign(variance_of(*found))

    return mend


def merged(means, variances):
    return (variances + means**2).mean(0) - means.mean(0) ** 2


def pairwise(layer):
    means, variances = copies(layer)
    count, mean, variance = 1, means[0], variances[0]
    for other_mean, other_variance in zip(means[1:], variances[1:], strict=True):
        share, apart = 1 / (count + 1), other_mean - mean
        variance = (1 - share) * variance + share * other_variance + share * (1 - share) * apart**2
        mean, count = mean + share * apart, count + 1
    for moving, value in zip(layer.variables[-2:], (mean, variance), strict=True):
        moving.assign(value)


def mean_first(layer):
    means, variances = copies(layer)
    layer.moving_mean.assign(means.mean(0))
    means, _ = copies(layer)
    layer.moving_variance.assign(variances.mean(0) + means.var(0))


def variance_alone(layer):
    layer.moving_variance.assign(merged(*copies(layer)))


def file_is_missing():
    import os
    import pathlib

    if '"index": 1' in os.environ["TF_CONFIG"]:
        pathlib.Path("weights-of-last-week.h5").read_bytes()


def no_memory():
    import json
    import os

    index = json.loads(os.environ["TF_CONFIG"])["task"]["index"]
    if index:
        raise MemoryError("a batch of 10 GB does not fit")
    return index


def all_fail():
    raise ValueError("the labels start at 1")


def says_nothing():
    import os

    if '"index": 1' in os.environ["TF_CONFIG"]:
        os._exit(3)


def hangs():
    import time

    time.sleep(60)


def uses_the_notebook():
    return np.zeros(3)


def full_disk():
    import os

    if '"index": 1' in os.environ["TF_CONFIG"]:
        raise SystemExit("the disk is full")


def returns():
    return 1


ANSWERS = {
    "stored_variances": {
        "right": [[1, 5, 14], np.array([1.0, 5.0, 14.0])],
        "wrong": {
            "average for merged": (1, 5, 5),
            "distances alone": [1, 5, 9],
            "Keras averages too": [5, 5, 14],
            "frameworks swapped": [5, 1, 14],
            "Bessel": [2, 10, 18.667],
            "incomplete": [1, None, 14],
            "wrong type": 14,
        },
    },
    "fair_hand": {
        "right": [[0, 3, 5, 6], np.array([7.0, 4.0, 2.0, 1.0])],
        "wrong": {
            "sorted": [0, 1, 2, 3],
            "means apart": [0, 1, 2, 7],
            "too narrow": [2, 3, 4, 5],
            "too wide": [0, 1, 6, 7],
            "not four": [[0, 3, 5, 6], [1, 2, 4, 7]],
            "not of the batch": [3.5, 3.5, 3.5, 3.5],
            "one number twice": [0, 0, 7, 7],
        },
    },
    "mended_layer": {
        "arguments": {"replicate": replicate},
        "right": [storing(merged), pairwise],
        "wrong": {
            "nothing assigned": lambda layer: merged(*copies(layer)),
            "average of the variances": mean_first,
            "distances alone": storing(lambda means, variances: means.var(0)),
            "Bessel": storing(
                lambda means, variances: merged(means, variances) + means.var(0, ddof=1) - means.var(0)
            ),
            "mean left alone": variance_alone,
            "wrong shape": storing(lambda means, variances: variances),
        },
    },
    "failing_worker": {
        "right": [file_is_missing, no_memory],
        "wrong": {
            "name not defined": uses_the_notebook,
            "too slow": hangs,
            "worker 0 too": all_fail,
            "nobody fails": returns,
            "without a word": says_nothing,
            "shown above": full_disk,
            "no source": len,
            "no function": "the disk is full",
        },
    },
}
