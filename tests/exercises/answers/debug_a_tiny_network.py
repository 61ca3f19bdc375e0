"""Right and wrong answers to the exercises of the fifth notebook."""

import math

import numpy as np


def solve(row):
    root = row["gamma"] * (row["hidden"][0] - row["moving_mean"]) / (row["bn"][0] - row["beta"])
    return root**2 - row["moving_variance"]


def search(row):
    low, high = 0.0, 1.0
    for _ in range(60):
        middle = (low + high) / 2
        root = math.sqrt(row["moving_variance"] + middle)
        bn = row["gamma"] * (row["hidden"][-1] - row["moving_mean"]) / root + row["beta"]
        low, high = (middle, high) if bn > row["bn"][-1] else (low, middle)
    return low


def under_root(row):
    return solve(row) + row["moving_variance"]


def twice_by_loop(momentum, times):
    left = 1.0
    for _ in range(times):
        left *= momentum
    return left


def grown(shift, momentum, steps):
    average = 0.0
    for _ in range(steps):
        average = momentum * average + (1 - momentum) * shift
    return average


def changed(row, **values):
    return solve(row | values)


ANSWERS = {
    "epsilon_of": {
        "right": [solve, search],
        "wrong": {
            "root not squared": lambda row: under_root(row) ** 0.5 - row["moving_variance"] ** 0.5,
            "variance left in": under_root,
            "gamma forgotten": lambda row: changed(row, gamma=1),
            "beta forgotten": lambda row: changed(row, beta=0),
            "mean of the batch": lambda row: changed(row, moving_mean=sum(row["hidden"]) / 3),
            "changed its input": lambda row: row.pop("gamma"),
        },
    },
    "innocent_momentum": {
        "right": [lambda momentum, times: momentum**times, twice_by_loop],
        "wrong": {
            "the new share raised": lambda m, n: 1 - twice_by_loop(1 - m, n),
            "multiplied": lambda m, n: sum([m] * n),
            "the new share multiplied": lambda m, n: 1 - n + n * m,
            "root for power": lambda m, n: math.exp(math.log(m) / n),
            "no function": 0.81,
        },
    },
    "growth": {
        "right": [grown, lambda shift, momentum, steps: shift - shift * momentum**steps],
        "wrong": {
            "all of it": lambda s, m, n: s,
            "what is left of the start": lambda s, m, n: s - grown(s, m, n),
            "momentum swapped": lambda s, m, n: grown(s, 1 - m, n),
            "steps added up": lambda s, m, n: n * grown(s, m, 1),
        },
    },
    "twin": {
        "right": [
            {"w": -2.0, "b": 7.0, "gamma": -1.5, "beta": 0.25},
            {"w": np.float64(-2), "b": np.array([-3.0]), "gamma": -1.5, "beta": 0.25},
        ],
        "wrong": {
            "the same w": {"w": 2.0, "b": 5.0, "gamma": 1.5, "beta": 0.25},
            "the same b": {"w": -2.0, "b": 1.0, "gamma": -1.5, "beta": 0.25},
            "mirror image": {"w": -2.0, "b": 5.0, "gamma": 1.5, "beta": 0.25},
            "beta moved": {"w": -2.0, "b": 5.0, "gamma": -1.5, "beta": -3.75},
            "gamma makes up for w": {"w": 4.0, "b": 5.0, "gamma": 0.75, "beta": 0.25},
            "stretched": {"w": 4.0, "b": 5.0, "gamma": 1.5, "beta": 0.25},
            "another function": {"w": 3.0, "b": 0.0, "gamma": 3.0, "beta": 1.0},
            "not four variables": {"w": 1.0},
        },
    },
}
