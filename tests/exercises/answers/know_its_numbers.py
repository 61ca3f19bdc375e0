"""Right and wrong answers to the exercises of the seventh notebook."""

import math

import numpy as np


def one_pass(x):
    return np.maximum((x**2).mean(axis=0) - x.mean(axis=0) ** 2, 0)


def welford(x):
    mean, square = np.zeros(x.shape[1]), np.zeros(x.shape[1])
    for count, row in enumerate(x, start=1):
        delta = row - mean
        mean = mean + delta / count
        square = square + delta * (row - mean)
    return square / len(x)


def smallest(scatter):
    m = 1
    while scatter * math.sqrt(m) < 1 - 1e-9:
        m += 1
    return m


ANSWERS = {
    "saved_variance": {
        "right": [lambda x: one_pass(x - x[0]), lambda x: one_pass(x.astype(float)), welford],
        "wrong": {
            "standard deviation": lambda x: welford(x) ** 0.5,
            "Bessel": lambda x: (x - x[0]).var(0, ddof=1),
            "wrong axis": lambda x: np.var(x - x[0, 0], axis=1, dtype=np.float64),
            "mean not taken out": lambda x: np.mean((x - x[0]) ** 2, axis=0),
            "one-pass variance": one_pass,
            "a fixed offset": lambda x: one_pass(x - np.float32(10_000)),
            "changed its input": lambda x: one_pass(np.subtract(x, x[0], out=x)),
        },
    },
    "to_unbiased": {
        "right": [lambda v, m: v * m / (m - 1), lambda v, m: v / (1 - 1 / m)],
        "wrong": {
            "the wrong way": lambda v, m: v * (1 - 1 / m),
            "not multiplied back": lambda v, m: v / (m - 1),
            "unchanged": lambda v, m: v,
            "wrong arguments": lambda v: v,
        },
    },
    "batch_size": {
        "right": [smallest, lambda scatter: scatter**-2],
        "wrong": {
            "no root": lambda s: 1 / s,
            "root twice": lambda s: s**-0.5,
            "twice as many": lambda s: 2 * smallest(s),
        },
    },
    "loses_beta": {
        "right": [[1e6] * 4, np.full((2, 1), -3e7)],
        "wrong": {
            "one example": [1e6],
            "too large for float32": [1e39, 1e39],
            "both lose it": [1e6, 1e6 + 0.0625, 1e6],
            "near 0": [5.0, 5.0],
            "spread too wide": [1e6, 1e6 + 64],
            "not far enough": [5e3, 5e3],
            "not finite": [np.nan, 1.0],
        },
    },
}
