"""Right and wrong answers to the exercises of the first notebook."""

import numpy as np


def reads_the_formula(x, y):
    return "training" if np.abs(x / np.sqrt(1.001) - y).max() > 1e-6 else "inference"


def compares_differences(x, y):
    for column in range(x.shape[1]):
        if abs(y[0, column] * np.sqrt(1 + 1e-3) - x[0, column]) > 1e-5:
            return "training"
    return "inference"


def on_its_side(x, gamma, beta):
    y = np.empty_like(x)
    for row in range(len(x)):
        y[row] = (x[row] - np.mean(x[row])) / np.sqrt(np.var(x[row]) + 0.001)
    return gamma.reshape(-1, 1) * y + beta.reshape(-1, 1)


def transposed(x, gamma, beta):
    rows = x.T
    mean = rows.mean(axis=0)
    variance = ((rows - mean) ** 2).mean(axis=0)
    return (gamma * (rows - mean) * (variance + 1e-3) ** -0.5 + beta).T


def side(x, gamma, beta, mean=None, root=None, scale=None, shift=None):
    mean = np.mean(x, 1) if mean is None else mean
    root = np.sqrt(np.var(x, 1) + 1e-3) if root is None else root
    scale = gamma if scale is None else scale
    shift = beta if shift is None else shift
    return ((x.T - mean) / root * scale + shift).T


def wrong_axis(x, gamma, beta):
    y = (x - x.mean(0)) / np.sqrt(x.var(0) + 1e-3)
    return (y.T * gamma + beta).T


ANSWERS = {
    "pair": {
        "right": [1, 0.9999998],
        "wrong": {
            "only centred": 50,
            "not normalized": 100,
            "divided by the whole distance": 0.5,
            "divided by the variance": 0.02,
            "Bessel": 0.707,
            "no value": lambda: 1.0,
        },
    },
    "mode_of": {
        "right": [reads_the_formula, compares_differences],
        "wrong": {
            "modes swapped": lambda x, y: (
                "inference" if reads_the_formula(x, y) == "training" else "training"
            ),
            "looks at the mean alone": lambda x, y: "training" if abs(y.mean()) < 1e-5 else "inference",
            "looks at the spread alone": lambda x, y: "training" if abs(y.std() - 1) < 0.05 else "inference",
            "looks for zeros": lambda x, y: "inference" if y.any() else "training",
        },
    },
    "side_by_side": {
        "right": [on_its_side, transposed],
        "wrong": {
            "wrong axis": wrong_axis,
            "one mean for all features": lambda x, g, b: side(x, g, b, x.mean(), np.sqrt(x.var() + 1e-3)),
            "epsilon outside the root": lambda x, g, b: side(x, g, b, root=x.std(1) + 1e-3),
            "epsilon forgotten": lambda x, g, b: side(x, g, b, root=x.std(1)),
            "divided by the variance": lambda x, g, b: side(x, g, b, root=x.var(1) + 1e-3),
            "Bessel": lambda x, g, b: side(x, g, b, root=np.sqrt(np.cov(x).diagonal() + 1e-3)),
            "gamma forgotten": lambda x, g, b: side(x, g, b, scale=1),
            "beta forgotten": lambda x, g, b: side(x, g, b, shift=0),
            "wrong shape": lambda x, g, b: on_its_side(x, g, b).T,
        },
    },
    "half_spread": {
        "right": [[0.0, 0.0365], np.array([[1.0], [1.0], [1.0387], [1.0387]])],
        "wrong": {
            "one example": [3.0],
            "identical examples": [2.0, 2.0, 2.0],
            "a spread of one half goes in": [0.0, 1.0],
            "the root of epsilon": [0.0, 2 * np.sqrt(0.001)],
            "epsilon instead of its root": [0.0, 0.002],
            "too wide": [1, 2, 3],
            "too narrow": [0.0, 0.01],
            "not finite": [0.0, np.inf],
            "wrong type": "0, 1",
        },
    },
}
