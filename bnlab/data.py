"""Real digits that ship with the package, and the small seeded stream of a published experiment."""

import random
from importlib import resources
from typing import NamedTuple

import numpy as np

from bnlab import checks

_TRAIN = 1197


class Digits(NamedTuple):
    """Images as rows of 64 numbers in [0, 1] (float32), labels 0 to 9 (int64)."""

    x_train: np.ndarray
    y_train: np.ndarray
    x_test: np.ndarray
    y_test: np.ndarray


def digits():
    """Return 1,797 handwritten digits of 8 x 8 pixels: the first 1,197 to train on, the last 600 to test.

    The order is that of the source. Its last digits are the harder ones, so accuracies are a few points
    lower than with a shuffled split. Each call returns fresh arrays.

    Returns:
        Digits(x_train, y_train, x_test, y_test) with x of shape (m, 64), float32, ink in [0, 1]
        (dimensionless: 0 to 16 counted ink dots, divided by 16), and y of shape (m,).

    Source: E. Alpaydin & C. Kaynak (1998), "Optical Recognition of Handwritten Digits", UCI Machine
    Learning Repository, doi:10.24432/C50P49, test part; licence CC BY 4.0. The same numbers as
    scikit-learn's `load_digits`, stored as bytes.
    """
    with resources.files("bnlab").joinpath("digits.npz").open("rb") as file, np.load(file) as stored:
        x = stored["images"].reshape(-1, 64).astype(np.float32) / 16
        y = stored["labels"].astype(np.int64)
    return Digits(x[:_TRAIN], y[:_TRAIN], x[_TRAIN:], y[_TRAIN:])


def cubic_batches(steps, *, batch_size=3, seed=0):
    """Yield `steps` batches (x, x**3 + 1) with x drawn evenly from [0, 1).

    Args:
        steps: how many batches, 0 or more.
        batch_size: examples a batch, 1 or more.
        seed: of Python's own generator, whose numbers are the same on every machine.

    Yields:
        (x, y), each of shape (batch_size, 1), float64, dimensionless.

    Raises:
        TypeError, ValueError: steps is no whole number or negative; batch_size is none or below 1.

    Source: the post "tensorflow の batch normalize に関して" (ie_test, 2018), which trains a network of two
    neurons on this stream with seed 0.
    """
    checks.whole_number("steps", steps, least=0)
    checks.whole_number("batch_size", batch_size, least=1)
    return _cubic_batches(steps, batch_size, random.Random(seed))


def _cubic_batches(steps, batch_size, generator):
    for _ in range(steps):
        x = np.array([[generator.random()] for _ in range(batch_size)])
        yield x, x**3 + 1
