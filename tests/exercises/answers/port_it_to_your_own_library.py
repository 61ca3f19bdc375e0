"""Right and wrong answers to the exercises of the sixth notebook."""

import numpy as np

from bnlab import batch_norm


def by_layer(dy, gamma, moving_variance):
    layer = batch_norm.BatchNorm(3, dtype="float64")
    layer.gamma, layer.moving_variance = gamma, moving_variance
    layer(np.zeros_like(dy), training=False)
    return layer.backward(dy)[0]


def by_feature(dy, gamma, moving_variance):
    return np.stack([dy[:, k] * gamma[k] / np.sqrt(moving_variance[k] + 1e-3) for k in range(3)], axis=1)


def centred_columns():
    dy = np.random.default_rng(0).normal(size=(8, 3))
    return dy - dy.mean(axis=0)


def plus_minus():
    return [[1.0, -2.0, 0.5], [-1.0, 2.0, -0.5]] + [[0.0] * 3] * 6


def running(batch, running_var, momentum, ddof=1, power=1.0):
    new = (((batch - batch.mean()) ** 2).sum() / (len(batch) - ddof)) ** power
    return running_var + momentum * (new - running_var)


def from_output(dy, y, gamma, beta, inverse_std):
    x_hat = (y - beta) / gamma
    dgamma, dbeta = (dy * x_hat).sum(0), dy.sum(0)
    return gamma * inverse_std * (dy - dbeta / len(y) - x_hat * dgamma / len(y))


def from_jacobian(dy, y, gamma, beta, inverse_std):
    m, dx = len(y), np.empty_like(y)
    for k in range(y.shape[1]):
        x_hat = (y[:, k] - beta[k]) / gamma[k]
        jacobian = np.eye(m) - np.full((m, m), 1 / m) - np.outer(x_hat, x_hat) / m
        dx[:, k] = gamma[k] * inverse_std[k] * jacobian @ dy[:, k]
    return dx


def wrong_axis(dy, y, gamma, beta, inverse_std):
    x_hat = (y - beta) / gamma
    terms = dy.mean(1)[:, None] + x_hat * (dy * x_hat).mean(1)[:, None]
    return gamma * inverse_std * (dy - terms)


def terms(dy, y, gamma, beta, inverse_std, mean, variance):
    x_hat = (y - beta) / gamma
    return gamma * inverse_std * (dy - mean * dy.mean(0) - variance * x_hat * (dy * x_hat).mean(0))


ANSWERS = {
    "inference_gradient": {
        "right": [by_layer, by_feature],
        "wrong": {
            "a way through the mean": lambda dy, g, v: by_feature(dy, g, v) - by_feature(dy, g, v).mean(0),
            "epsilon outside the root": lambda dy, g, v: g * dy / (v**0.5 + 0.001),
            "epsilon forgotten": lambda dy, g, v: g * dy / v**0.5,
            "gamma forgotten": lambda dy, g, v: by_feature(dy, np.ones(3), v),
            "divided by the variance": lambda dy, g, v: g / (0.001 + v) * dy,
            "wrong shape": lambda dy, g, v: by_feature(dy, g, v).sum(0),
        },
    },
    "hidden_bug": {
        "right": [centred_columns(), plus_minus()],
        "wrong": {
            "all zeros": np.zeros((8, 3)),
            "the same for all examples": np.tile([1.0, 2.0, 3.0], (8, 1)),
            "rows instead of columns": centred_columns()[:3].T.repeat([3, 3, 2], 0) @ (np.eye(3) - 1 / 3),
            "noticed": np.random.default_rng(0).normal(size=(8, 3)),
            "wrong shape": [1.0, -1.0],
        },
    },
    "running_variance": {
        "right": [running, lambda b, old, m: np.cov(b) * m + old - m * old],
        "wrong": {
            "biased": lambda b, old, m: running(b, old, m, ddof=0),
            "momentum of the old value": lambda b, old, m: running(b, old, 1 - m),
            "biased and swapped": lambda b, old, m: running(b, old, 1 - m, ddof=0),
            "standard deviation": lambda b, old, m: running(b, old, m, power=0.5),
            "no function": 1.1,
        },
    },
    "gradient_from_output": {
        "right": [from_output, from_jacobian],
        "wrong": {
            "mean term missing": lambda *given: terms(*given, mean=0, variance=1),
            "variance term missing": lambda *given: terms(*given, mean=1, variance=0),
            "y taken for x_hat": lambda dy, y, g, b, s: from_output(dy, y, np.ones(3), np.zeros(3), s) * g,
            "gamma forgotten": lambda dy, y, g, b, s: from_output(dy, y, g, b, s) / g,
            "sums for means": lambda *given: terms(*given, mean=len(given[0]), variance=len(given[0])),
            "wrong axis": wrong_axis,
            "wrong arguments": lambda dy, y: dy,
        },
    },
}
